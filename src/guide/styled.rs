//! Markdown for a terminal that shows styles: bold headings, coloured code, no link targets. Owns the few
//! marks that guides use; it must never read a file or know which terminal there is.

const BOLD: &str = "\x1b[1m";
const CODE: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// The text of a guide with ANSI styles in place of Markdown's marks. Line breaks stay where they are.
pub fn styled(markdown: &str) -> String {
    let mut text = String::new();
    let mut in_code = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if in_code {
            text += &format!("    {CODE}{line}{PLAIN}\n");
        } else if line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim_start();
            text += &format!("{BOLD}{heading}{PLAIN}\n");
        } else if !defines_link(line) {
            text += &format!("{}\n", marks(line));
        }
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// Whether the line is a link's target, such as `[blend]: blend.md`.
fn defines_link(line: &str) -> bool {
    line.starts_with('[') && line.contains("]: ")
}

/// The line with its inline marks replaced: code, bold text, and links, which name a guide.
fn marks(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(['`', '*', '[']) {
        let (before, from) = rest.split_at(start);
        text += before;
        let mark = ["**", "`", "["]
            .into_iter()
            .find(|mark| from.starts_with(mark));
        let close = if mark == Some("[") { Some("]") } else { mark };
        let inside = mark
            .zip(close)
            .and_then(|(open, close)| from[open.len()..].split_once(close));
        let Some((inside, after)) = inside else {
            text += &from[..1];
            rest = &from[1..];
            continue;
        };
        text += &match mark {
            Some("**") => format!("{BOLD}{inside}{PLAIN}"),
            // The address follows in parentheses.
            Some("[") if after.starts_with('(') => format!("{inside} "),
            Some("[") => format!("{CODE}p2p guide {inside}{PLAIN}"),
            _ => format!("{CODE}{inside}{PLAIN}"),
        };
        rest = after;
    }
    text + rest
}
