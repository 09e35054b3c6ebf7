//! Makes the command line that draws a picture again from the picture's settings. Owns how keys become flags and how
//! they are quoted for a shell. It must never know what a setting does.

use serde_json::{Map, Number, Value};

use crate::message::ON_BY_DEFAULT;

/// The keys of prompts, and of the list of edits. They come first, in their own order.
const PROMPTS: [&str; 4] = ["src", "dst", "then", "edit"];
/// The default model.
const EMBEDDED: &str = "storybook";

type Table = Map<String, Value>;

/// The command line for settings, whose keys are the names of flags with underscores:
/// `{"src": .., "seed": 4, "edit": [{"dst": .., "weight": {"red": 2}}]}`. In a chain of edits the second and later
/// edits have the key `then` instead of `dst`. The command is `p2p edit`, or `p2p heatmap` if there is no edit.
///
/// `None` if no single command line draws the picture: the edits of a chain have different settings, or a text contains
/// a NUL character.
pub fn command_line(settings: &Value) -> Option<String> {
    let picture = settings.as_object()?;
    let edits: Vec<&Table> = match picture.get("edit") {
        Some(edits) => edits
            .as_array()?
            .iter()
            .map(Value::as_object)
            .collect::<Option<_>>()?,
        None => vec![],
    };
    let (command, prompt) = if edits.is_empty() {
        ("heatmap", "prompt")
    } else {
        ("edit", "src")
    };
    let mut line = vec!["p2p".to_owned(), command.to_owned()];
    flag(&mut line, prompt, picture.get("src")?);
    for (key, value) in edits.iter().flat_map(|edit| edit.iter()) {
        if PROMPTS[1..3].contains(&key.as_str()) {
            flag(&mut line, key, value);
        }
    }
    let shared = shared(&edits)?;
    let of_picture: Table = without_prompts(picture);
    let differs = |(key, value): (&String, &Value)| of_picture.get(key).is_some_and(|v| v != value);
    if shared.iter().any(differs) {
        return None;
    }
    let others = of_picture
        .iter()
        .filter(|(key, _)| !shared.contains_key(*key));
    for (key, value) in shared.iter().chain(others) {
        let default = value == "" || (key == "model" && value == EMBEDDED);
        if !default {
            flag(&mut line, key, value);
        }
    }
    shlex::try_join(line.iter().map(String::as_str)).ok()
}

/// The settings that all edits of a chain have in common. `None` if the edits differ.
fn shared(edits: &[&Table]) -> Option<Table> {
    let mut settings = edits.iter().map(|edit| {
        let mut own = without_prompts(edit);
        own.extend(
            edit.get("edit")
                .map(|kind| ("edit".to_owned(), kind.clone())),
        );
        own
    });
    let first = settings.next().unwrap_or_default();
    settings.all(|other| other == first).then_some(first)
}

/// The settings that are not prompts.
fn without_prompts(table: &Table) -> Table {
    let setting = |(key, _): &(&String, &Value)| !PROMPTS.contains(&key.as_str());
    let owned = |(key, value): (&String, &Value)| (key.clone(), value.clone());
    table.iter().filter(setting).map(owned).collect()
}

/// Adds the flag or flags of a setting.
fn flag(line: &mut Vec<String>, key: &str, value: &Value) {
    let name = key.replace('_', "-");
    match value {
        Value::Bool(on) if is_on_by_default(key) => {
            line.extend((!on).then(|| format!("--no-{name}")));
        }
        Value::Bool(on) => line.extend(on.then(|| format!("--{name}"))),
        Value::Null => {}
        Value::Array(values) if key == "blend_threshold" => {
            let values: Vec<String> = values.iter().map(text).collect();
            line.extend(valued(&name, values.join(",")));
        }
        Value::Array(values) => {
            line.extend(values.iter().flat_map(|v| valued(&name, text(v))));
        }
        Value::Object(words) => {
            let of_word = |(word, value): (&String, &Value)| match (key, word.as_str()) {
                ("cross_steps", "default") => text(value),
                (_, word) => format!("{word}={}", text(value)),
            };
            line.extend(words.iter().flat_map(|w| valued(&name, of_word(w))));
        }
        value => line.extend(valued(&name, text(value))),
    }
}

/// Whether a key is a switch that is on by default, so that its flag turns it off.
fn is_on_by_default(key: &str) -> bool {
    ON_BY_DEFAULT.iter().any(|setting| setting.name() == key)
}

/// A flag with its value. A value that begins with a hyphen is written behind `=`.
fn valued(name: &str, value: String) -> Vec<String> {
    if value.starts_with('-') {
        vec![format!("--{name}={value}")]
    } else {
        vec![format!("--{name}"), value]
    }
}

/// A value as users type it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => plain(number),
        other => other.to_string(),
    }
}

/// A number without a needless decimal point: `2` for 2.0.
fn plain(number: &Number) -> String {
    match number.as_f64() {
        Some(x) if !number.is_u64() && !number.is_i64() => x.to_string(),
        _ => number.to_string(),
    }
}
