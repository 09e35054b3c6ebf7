//! Reads InvokeAI's metadata: JSON under `invokeai_metadata` (version 3 and later), JSON under `sd-metadata`
//! (version 2), or a command line under `Dream` (version 1). Owns these formats. It must never know PNG files.

use serde_json::{Map, Value};

use super::ForeignMetadata;
use crate::report::png::Contents;

const TOOL: &str = "invokeai";

/// The metadata of a picture that InvokeAI saved.
pub(super) fn read(png: &Contents) -> Option<ForeignMetadata> {
    let json = |keyword| serde_json::from_str::<Value>(png.text(keyword)?).ok();
    json("invokeai_metadata")
        .and_then(|value| current(&value))
        .or_else(|| json("sd-metadata").and_then(|value| old(&value)))
        .or_else(|| dream(png.text("Dream")?))
}

/// Reads the format of version 3 and later.
fn current(value: &Value) -> Option<ForeignMetadata> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let mut settings = plain(value);
    settings.retain(|key, _| !key.ends_with("_prompt"));
    let model = value.get("model");
    let name = |model: &Value| {
        ["name", "model_name"]
            .iter()
            .find_map(|key| model.get(key).cloned())
    };
    if let Some(name) = model.and_then(name) {
        settings.insert("model".to_owned(), name);
    }
    Some(ForeignMetadata {
        tool: TOOL,
        prompt: text("positive_prompt")?.to_owned(),
        negative_prompt: text("negative_prompt").unwrap_or_default().to_owned(),
        settings,
    })
}

/// Reads the format of version 2, in which a prompt can be a list of weighted prompts.
fn old(value: &Value) -> Option<ForeignMetadata> {
    let image = value.get("image")?;
    let prompt = match image.get("prompt")? {
        Value::Array(parts) => {
            let parts = parts.iter().filter_map(|part| part.get("prompt")?.as_str());
            parts.collect::<Vec<_>>().join(" ")
        }
        prompt => prompt.as_str()?.to_owned(),
    };
    let mut settings = plain(image);
    settings.retain(|key, _| key != "prompt");
    if let Some(model) = value.get("model_weights") {
        settings.insert("model".to_owned(), model.clone());
    }
    Some(foreign(&prompt, settings))
}

/// Reads a command line: `"a cat" -s 50 -S 42 -W 512 -H 512 -C 7.5 -A k_lms`. `-s50` is valid too.
fn dream(command: &str) -> Option<ForeignMetadata> {
    let rest = command.trim().strip_prefix('"')?;
    // Quotes inside the prompt are not escaped.
    let end = rest.find("\" -").or_else(|| rest.rfind('"'))?;
    let (prompt, switches) = (&rest[..end], &rest[end + 1..]);
    let mut settings = Map::new();
    let mut words = switches.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let names = [
            ("-s", "steps"),
            ("-S", "seed"),
            ("-W", "width"),
            ("-H", "height"),
            ("-C", "cfg_scale"),
            ("-A", "sampler"),
            ("-m", "sampler"),
        ];
        let Some((switch, name)) = names.iter().find(|(switch, _)| word.starts_with(switch)) else {
            continue;
        };
        let value = match &word[switch.len()..] {
            "" => words
                .next_if(|next| !next.starts_with('-'))
                .unwrap_or_default(),
            value => value,
        };
        let number = serde_json::from_str(value).ok().filter(Value::is_number);
        settings.insert((*name).to_owned(), number.unwrap_or_else(|| value.into()));
    }
    Some(foreign(prompt, settings))
}

/// The values of an object that are strings, numbers or booleans.
fn plain(value: &Value) -> Map<String, Value> {
    let pairs = value.as_object().into_iter().flatten();
    let is_plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
    let plain = pairs.filter(|(_, value)| is_plain(value));
    plain
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Metadata of version 1 or 2, in which brackets inside the prompt contain the negative prompt.
fn foreign(prompt: &str, settings: Map<String, Value>) -> ForeignMetadata {
    let (mut wanted, mut unwanted) = (String::new(), vec![]);
    let mut rest = prompt;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((inside, behind)) = after.split_once(']') else {
            break;
        };
        wanted += before;
        unwanted.push(inside.trim());
        rest = behind;
    }
    wanted += rest;
    ForeignMetadata {
        tool: TOOL,
        prompt: wanted.trim().to_owned(),
        negative_prompt: unwanted.join(" "),
        settings,
    }
}
