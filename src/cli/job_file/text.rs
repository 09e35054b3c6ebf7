//! The text of a job file: reading it as UTF-8, and the mistakes in its TOML. Knows no keys.
//!
//! The TOML parser says where a mistake is and what it expected. What to write instead is found in the text
//! around that place, not in the parser's wording, which changes between its versions.

use std::ops::Range;
use std::path::Path;

/// A file that cannot be read as text.
pub struct Unread {
    /// One line that says why.
    pub cause: String,
    /// One line that says what to do.
    pub cure: &'static str,
    /// The text with replacement characters, and the byte of the first one.
    pub shown: Option<(String, usize)>,
}

/// Reads a job file.
///
/// # Errors
/// If the file cannot be read, or is not UTF-8.
pub fn load(path: &Path) -> Result<String, Unread> {
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|e| Unread {
        cause: format!("cannot read {name}: {e}"),
        cure: match e.kind() {
            std::io::ErrorKind::NotFound => "check the path; `p2p job init` writes an example",
            _ => "check the file",
        },
        shown: None,
    })?;
    String::from_utf8(bytes).map_err(|e| Unread {
        cause: format!("{name} is not UTF-8"),
        cure: "save it as UTF-8",
        // No byte before the first wrong one is replaced, so its position holds in the lossy text too.
        shown: Some((
            String::from_utf8_lossy(e.as_bytes()).into_owned(),
            e.utf8_error().valid_up_to(),
        )),
    })
}

/// A mistake in the TOML.
pub struct Fault {
    /// The bytes that are wrong.
    pub span: Range<usize>,
    /// One line that names the mistake.
    pub cause: String,
    /// One line that says what to write.
    pub cure: &'static str,
}

/// The mistakes of a text. A mistake that follows from an earlier one is left out: another one of the same line,
/// and duplicate keys of a table that is given twice.
pub fn faults(errors: &[toml::de::Error], text: &str) -> Vec<Fault> {
    let mut faults: Vec<Fault> = vec![];
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let duplicate = duplicate_key(text, &span);
        let follows = |before: &Fault| {
            let (from, to) = (
                before.span.start.min(span.start),
                before.span.start.max(span.start),
            );
            let between = text.get(from..to).unwrap_or_default();
            let same_line = !between.contains('\n');
            let header = line_around(text, from).0;
            let same_table = header.starts_with('[') && !between.contains("\n[");
            same_line || same_table && duplicate.is_some()
        };
        if faults.iter().any(follows) {
            continue;
        }
        let message = error.message().lines().next().unwrap_or_default();
        let cause = match duplicate {
            Some(key) => format!("duplicate key `{key}`"),
            None => message.to_owned(),
        };
        let cure = cure(text, &span, duplicate.is_some());
        faults.push(Fault { span, cause, cure });
    }
    faults
}

/// What to write at a mistake.
fn cure(text: &str, span: &Range<usize>, is_duplicate: bool) -> &'static str {
    if is_duplicate {
        return "leave one of them out";
    }
    let at = span.start.min(text.len());
    let (before, after) = line_around(text, at);
    let found = text.get(at..).and_then(|rest| rest.chars().next());
    let quotes = Quotes::of(before);
    if found == Some('\r') {
        return "end lines with a line feed, as editors do";
    }
    if found.is_some_and(|c| c.is_control() && c != '\n' && c != '\t') {
        return "leave control characters out; \\n and \\t stand for a line feed and a tab";
    }
    if quotes.open == Some('"') && (before.ends_with('\\') || found == Some('\\')) {
        return "write \\\\ for a backslash, or use single quotes, in which a backslash stands for itself";
    }
    if quotes.open.is_some() || is_inside_multiline(&text[..at]) {
        return "end the text with the quote that it begins with";
    }
    let line = before.trim_start();
    if line.starts_with('[') || after.trim_start().starts_with('[') && line.is_empty() {
        return "a table begins with [NAME], a table of a list with [[NAME]], each on a line of its own";
    }
    let Some(equals) = quotes.equals else {
        return "a line is KEY = VALUE, a key is made of letters, digits, _ and -; a comment begins with #";
    };
    let value = before[equals + 1..].trim_start();
    if value.starts_with(['[', '{']) || open_brackets(&text[..at]) {
        return "put one comma between two values, and close the list or table where it ends";
    }
    if value.is_empty() && found.is_none_or(|c| c == '\n') {
        return "write KEY = VALUE";
    }
    "put text in quotes; numbers have a point, as 0.8, and no unit; switches are true or false; a line holds one \
     key; a comment begins with #"
}

/// The part of a line before a byte, and the part from it on.
fn line_around(text: &str, at: usize) -> (&str, &str) {
    let at = (0..=at.min(text.len()))
        .rev()
        .find(|byte| text.is_char_boundary(*byte))
        .unwrap_or(0);
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
    (&text[start..at], &text[at..end])
}

/// The quotes of a line up to some place.
struct Quotes {
    /// The quote that is not closed.
    open: Option<char>,
    /// The first `=` outside of quotes.
    equals: Option<usize>,
}

impl Quotes {
    fn of(line: &str) -> Self {
        let (mut open, mut equals, mut escaped) = (None, None, false);
        for (at, c) in line.char_indices() {
            match open {
                Some('"') if c == '\\' && !escaped => {
                    escaped = true;
                    continue;
                }
                Some(quote) if c == quote && !escaped => open = None,
                None if c == '"' || c == '\'' => open = Some(c),
                None if c == '#' => break,
                None if c == '=' && equals.is_none() => equals = Some(at),
                _ => {}
            }
            escaped = false;
        }
        Self { open, equals }
    }
}

/// Whether a text ends inside of quotes that may span lines.
fn is_inside_multiline(text: &str) -> bool {
    let odd = |quotes: &str| text.matches(quotes).count() % 2 == 1;
    odd("\"\"\"") || odd("'''")
}

/// Whether a list or an inline table is open at the end of a text. Brackets of table headers open nothing.
fn open_brackets(text: &str) -> bool {
    let mut depth = 0i32;
    for line in text.lines() {
        if depth == 0 && line.trim_start().starts_with('[') {
            continue;
        }
        let mut open = None;
        for c in line.chars() {
            match open {
                Some(quote) if c == quote => open = None,
                Some(_) => {}
                None if c == '"' || c == '\'' => open = Some(c),
                None if c == '#' => break,
                None if "[{".contains(c) => depth += 1,
                None if "]}".contains(c) => depth -= 1,
                None => {}
            }
        }
    }
    depth > 0
}

/// The key or table at a span, where the same one stands before it: in the same table, or as the same header.
fn duplicate_key<'t>(text: &'t str, span: &Range<usize>) -> Option<&'t str> {
    let key = text.get(span.clone())?.trim();
    let is_key = |c: char| c.is_alphanumeric() || "_-.\"'".contains(c);
    if key.is_empty() || !key.chars().all(is_key) {
        return None;
    }
    let (before, after) = line_around(text, span.start);
    let rest = after.get(key.len()..)?.trim_start();
    let before = before.trim_start();
    let header = before.starts_with('[');
    let is_set = |line: &str| {
        let name = line.split('=').next().unwrap_or_default();
        line.contains('=') && name.trim() == key
    };
    let above = text[..span.start]
        .lines()
        .rev()
        .skip(usize::from(!before.is_empty()));
    let found = if header {
        let same = |line: &str| line.trim().trim_matches(['[', ']']).trim() == key || is_set(line);
        text[..span.start - before.len()].lines().any(same)
    } else if rest.starts_with(['=', '.']) || before.ends_with(['{', ',', ' ']) {
        let mut table = above.take_while(|line| !line.trim_start().starts_with('['));
        let inline = before.split(['{', ',']).any(is_set);
        inline || table.any(is_set)
    } else {
        false
    };
    found.then_some(key)
}
