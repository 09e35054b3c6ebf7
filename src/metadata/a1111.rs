//! Metadata in the format of A1111 (AUTOMATIC1111/stable-diffusion-webui): a text chunk `parameters` with the
//! prompt, the negative prompt and a line of settings. Most tools read or write it. The format has no place for
//! an edit, so it describes only the edited picture. Owns this format. It must never know PNG files.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::{ForeignMetadata, Metadata};
use crate::model::LoraId;

pub(super) const KEYWORD: &str = "parameters";
const NEGATIVE: &str = "Negative prompt:";

/// A1111's own pattern for `Key: value` on the last line.
static SETTING: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)"#;
    Regex::new(pattern).expect("the pattern is well formed")
});

/// The block for a picture that p2p draws.
pub(super) fn write(metadata: &Metadata) -> String {
    let settings = &metadata.settings;
    let negative = match settings.negative_prompt() {
        "" => String::new(),
        negative => format!("{NEGATIVE} {negative}\n"),
    };
    let run = &settings.run;
    let clip_skip = run.clip_skip.map(|n| format!("Clip skip: {n}, "));
    let hash = metadata.model.weights_sha256.get(..10).unwrap_or_default();
    let model = quote(&metadata.model.id);
    let Metadata { generator, .. } = metadata;
    // In A1111, the prompt names a LoRA by its file name without extension.
    let lora = |lora: &LoraId| {
        let name = lora.name.rsplit('/').next().unwrap_or_default();
        let name = name.trim_end_matches(".safetensors");
        format!(" <lora:{name}:{}>", lora.scale)
    };
    let loras: String = metadata.model.loras.iter().map(lora).collect();
    format!(
        "{prompt}{loras}\n{negative}Steps: {steps}, Sampler: {sampler}, CFG scale: {guidance}, Seed: {seed}, \
         Size: {width}x{height}, Model hash: {hash}, Model: {model}, {clip_skip}RNG: CPU, Version: {name} {version}",
        prompt = settings.prompt(),
        steps = run.steps,
        sampler = run.scheduler.metadata_name(),
        guidance = run.guidance,
        seed = run.seed,
        width = run.width,
        height = run.height,
        clip_skip = clip_skip.unwrap_or_default(),
        name = generator.name,
        version = generator.version,
    )
}

/// Writes a value as a JSON string if it has characters that would end it.
fn quote(value: &str) -> String {
    if value.contains([',', '\n', ':']) {
        Value::from(value).to_string()
    } else {
        value.to_owned()
    }
}

fn unquote(value: &str) -> String {
    let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
    let text = quoted.then(|| serde_json::from_str(value).ok()).flatten();
    text.unwrap_or_else(|| value.to_owned())
}

/// Parses a block like A1111 does. A text without settings is a prompt.
pub(super) fn read(block: &str) -> ForeignMetadata {
    let block = block.trim();
    let (mut lines, mut last) = match block.rsplit_once('\n') {
        Some((lines, last)) => (lines.split('\n').collect(), last),
        None => (vec![], block),
    };
    if SETTING.find_iter(last).count() < 3 {
        lines.push(last);
        last = "";
    }
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    let negative = lines.iter().position(|line| line.starts_with(NEGATIVE));
    let (prompt, negative) = lines.split_at(negative.unwrap_or(lines.len()));
    let negative = negative.join("\n");
    let negative = negative.strip_prefix(NEGATIVE).unwrap_or(&negative);
    let pair = |found: regex::Captures| {
        let value = unquote(found[2].trim());
        (found[1].to_owned(), Value::from(value))
    };
    ForeignMetadata {
        tool: "a1111",
        prompt: prompt.join("\n"),
        negative_prompt: negative.trim().to_owned(),
        settings: SETTING.captures_iter(last).map(pair).collect::<Map<_, _>>(),
    }
}
