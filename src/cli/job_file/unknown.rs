//! Messages for unknown keys: which key may be meant, or where the key belongs. It must never read a file.

use super::read::TableKind;
use super::vocabulary::{Vocabulary, nearest};

/// Cause and cure for an unknown key of a table. A key may be spelled like its flag: `cross-steps`, `--steps`.
pub fn unknown(vocabulary: &Vocabulary, level: TableKind, name: &str) -> (String, String) {
    let cause = format!("there is no setting `{name}`");
    let own: &[&str] = match level {
        TableKind::Defaults => &["name", "folder"],
        TableKind::Job => &["name", "folder", "grid"],
        TableKind::Edit | TableKind::Grid => &[],
    };
    let spelled = as_key(name);
    if spelled != name
        && let Some(key) = vocabulary.find(&spelled)
    {
        let cure = format!("write `{}`", vocabulary.key(key).name);
        return (cause, cure);
    }
    let positive = spelled
        .strip_prefix("no_")
        .and_then(|name| vocabulary.find(name));
    let cure = match (positive, name) {
        (Some(positive), _) => {
            let positive = &vocabulary.key(positive).name;
            format!("write {positive} = false: the names of switches are positive")
        }
        (_, "name" | "folder") if level == TableKind::Grid => {
            format!("write {name} = \"{{seed}}\" under [[job]] for a name with the value of seed")
        }
        (_, "name" | "folder") => "it belongs to the whole job: move it to [[job]]".into(),
        (_, "grid") => "write [job.grid] below its [[job]]".into(),
        (_, "include" | "output") => "write it at the top, above all tables".into(),
        _ if vocabulary.is_of_the_command(&spelled) => {
            "it is a flag of the command line, not a setting of a job: leave it out".into()
        }
        _ => nearest(&spelled, own.iter().copied())
            .or_else(|| vocabulary.nearest(&spelled))
            .unwrap_or_else(|| {
                "keys are the flags of `p2p edit` with underscores; `p2p job schema` lists them"
                    .into()
            }),
    };
    (cause, cure)
}

/// A name as a key is spelled: without the hyphens of a flag, and with underscores.
fn as_key(name: &str) -> String {
    name.trim_start_matches('-').replace('-', "_")
}

/// Cause and cure for an unknown key at the top of a file.
pub fn unknown_at_the_top(vocabulary: &Vocabulary, name: &str) -> (String, String) {
    let cause = format!("there is no `{name}` at the top of a job file");
    let spelled = as_key(name);
    let cure = match (vocabulary.find(&spelled), name) {
        (Some(_), _) => format!("move it to [defaults] or [[job]]: {spelled} = ..."),
        (None, "grid") => "write [job.grid] below its [[job]]".into(),
        (None, _) => nearest(name, ["job", "defaults", "include", "output"])
            .unwrap_or_else(|| "write [defaults], [[job]], include or output".into()),
    };
    (cause, cure)
}
