//! Keys that are none: what may be meant, or where they belong.

use super::read::TableKind;
use super::vocabulary::{Vocabulary, nearest};

/// Cause and cure.
pub fn unknown(vocabulary: &Vocabulary, level: TableKind, name: &str) -> (String, String) {
    let cause = format!("there is no setting `{name}`");
    let own: &[&str] = match level {
        TableKind::Defaults => &["name", "folder"],
        TableKind::Job => &["name", "folder", "grid"],
        TableKind::Edit | TableKind::Grid => &[],
    };
    let positive = name
        .strip_prefix("no_")
        .and_then(|name| vocabulary.find(name));
    let cure = match (positive, name) {
        (Some(positive), _) => {
            let positive = &vocabulary.key(positive).name;
            format!("switches are positive: {positive} = false")
        }
        (_, "name" | "folder") if level == TableKind::Grid => {
            format!("{name} = \"{{seed}}\" under [[job]] has a name for each value of seed")
        }
        (_, "name" | "folder") => "it belongs to the whole job: move it up, under [[job]]".into(),
        (_, "grid") => "write [job.grid] below its [[job]]".into(),
        (_, "include" | "output") => "write it at the top, above every table".into(),
        _ if vocabulary.is_of_the_command(name) => {
            "it is a flag of the command line and no setting of a job: leave it out".into()
        }
        _ => nearest(name, own.iter().copied())
            .or_else(|| vocabulary.nearest(name))
            .unwrap_or_else(|| {
                "keys are the flags of `p2p edit` with underscores; `p2p job schema` lists them"
                    .into()
            }),
    };
    (cause, cure)
}

/// The same of keys at the top of a file.
pub fn unknown_at_the_top(vocabulary: &Vocabulary, name: &str) -> (String, String) {
    let cause = format!("there is no `{name}` at the top of a job file");
    let cure = match (vocabulary.find(name), name) {
        (Some(_), _) => format!("move it under [defaults] or [[job]]: {name} = ..."),
        (None, "grid") => "write [job.grid] below its [[job]]".into(),
        (None, _) => nearest(name, ["job", "defaults", "include", "output"])
            .unwrap_or_else(|| "write [defaults], [[job]], include or output".into()),
    };
    (cause, cure)
}
