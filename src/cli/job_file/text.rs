//! The text of a job file: read as UTF-8, and what is wrong with it as TOML, with a cure. Knows no keys.

use std::ops::Range;
use std::path::Path;

/// A file that has no text.
pub struct Unread {
    pub cause: String,
    pub cure: &'static str,
    /// What can be shown of it, and the byte that is to blame.
    pub shown: Option<(String, usize)>,
}

pub fn load(path: &Path) -> Result<String, Unread> {
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|e| Unread {
        cause: format!("cannot read {name}: {e}"),
        cure: match e.kind() {
            std::io::ErrorKind::NotFound => "check the path; `p2p job init` writes an example",
            _ => "check what stands there",
        },
        shown: None,
    })?;
    String::from_utf8(bytes).map_err(|e| Unread {
        cause: format!("{name} is not UTF-8"),
        cure: "save it as UTF-8",
        // Up to there no byte is replaced, so that the place holds.
        shown: Some((
            String::from_utf8_lossy(e.as_bytes()).into_owned(),
            e.utf8_error().valid_up_to(),
        )),
    })
}

/// What is wrong with a text as TOML, without what follows from something else that is: more about the
/// same line, and keys of a table that stands twice.
pub fn faults<'e>(errors: &'e [toml::de::Error], text: &str) -> Vec<(Range<usize>, &'e str)> {
    let mut faults: Vec<(Range<usize>, &str)> = vec![];
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let follows = |(before, of): &(Range<usize>, &str)| {
            let (from, to) = (before.start.min(span.start), before.start.max(span.start));
            let between = text.get(from..to).unwrap_or_default();
            let same_line = !between.contains('\n');
            let table = text[..from].rsplit('\n').next().unwrap_or_default();
            let same_table = table.starts_with('[') && !between.contains("\n[");
            same_line || same_table && [*of, error.message()] == ["duplicate key"; 2]
        };
        if !faults.iter().any(follows) {
            faults.push((span, error.message()));
        }
    }
    faults
}

/// What a message of the TOML parser contains, and what to do about it. The first that fits.
const CURES: [(&str, &str); 14] = [
    (
        "must be quoted",
        "put texts in quotes; numbers have a point, as 0.8, and no unit; switches are true or false",
    ),
    ("duplicate key", "leave one of them out"),
    ("cannot extend", "set it in one place only"),
    (
        "escape",
        "write \\\\ for a backslash, or take single quotes, in which it stands for itself",
    ),
    (
        "visible characters",
        "leave control characters out; \\n and \\t stand for a line's end and a tab",
    ),
    ("printable", "leave control characters out"),
    (
        "string, expected",
        "end the text with the quote that it begins with",
    ),
    ("unclosed", "close it where it ends"),
    (
        "unquoted key",
        "a key is made of letters, digits, _ and -, and = stands behind it",
    ),
    ("key with no value", "write KEY = VALUE"),
    (
        "unexpected key or value",
        "a line holds one key with its value; a comment begins with #, a decimal point is a point",
    ),
    ("extra assignment", "put a comma between two keys"),
    ("comma", "put one comma between two values"),
    (
        "carriage return",
        "end lines with a line feed, as editors do",
    ),
];

/// Cause and cure of what the TOML parser says about a part of `text`.
pub fn mend(message: &str, text: &str, span: &Range<usize>) -> (String, &'static str) {
    let line = message.lines().next().unwrap_or_default();
    let key = text.get(span.clone()).unwrap_or_default();
    let cause = match line {
        "duplicate key" => format!("duplicate key `{key}`"),
        _ => line.to_owned(),
    };
    let cure = CURES.iter().find(|(part, _)| line.contains(part));
    (cause, cure.map_or("mend the TOML here", |(_, cure)| cure))
}
