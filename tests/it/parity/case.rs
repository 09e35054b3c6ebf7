//! The golden cases of the reference, and the jobs that reproduce them.

use prompt_to_prompt::edit::{EditKind, Rules, Window};
use prompt_to_prompt::job::{BlendWords, CrossSteps, EditSettings, Job, SchedulerName};
use serde_json::Value;

use crate::common::json;

/// The cases of a fixture.
pub fn cases(path: &str) -> Vec<Value> {
    json(path).as_array().unwrap().clone()
}

/// The job that the command line makes of a case.
pub fn job(case: &Value) -> Job {
    let prompts: Vec<&str> = strings(&case["prompts"]).collect();
    let spec = edit(case);
    let edit = |(i, dst): (usize, &&str)| EditSettings {
        dst: Some((*dst).to_owned()),
        ..blended(case, i + 1, &spec)
    };
    let edits = prompts[1..].iter().enumerate().map(edit);
    Job {
        seed: case["seed"].as_u64().unwrap(),
        steps: Some(case["steps"].as_u64().unwrap() as usize),
        guidance: case["guidance"].as_f64(),
        scheduler: Some(SchedulerName::Ddim),
        rules: Rules::Reference,
        control: kind(case) != "none",
        ..Job::new(prompts[0], edits.collect())
    }
}

fn kind(case: &Value) -> &str {
    case["kind"].as_str().unwrap()
}

fn strings(array: &Value) -> impl Iterator<Item = &str> {
    array
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s.as_str().unwrap())
}

/// The settings that all edits of a case share.
fn edit(case: &Value) -> EditSettings {
    let kind = if kind(case).contains("refine") {
        EditKind::Refine
    } else {
        EditKind::Replace
    };
    EditSettings {
        edit: Some(kind.into()),
        self_steps: case.get("self_replace_steps").map(window),
        cross_steps: cross_steps(&case["cross_replace_steps"]),
        weight: weights(&case["equalizer"]).collect(),
        inject_latents: case.get("inject_latents").map(window),
        ..EditSettings::default()
    }
}

fn window(value: &Value) -> Window {
    match value.as_array() {
        Some(pair) => Window::new(pair[0].as_f64().unwrap(), pair[1].as_f64().unwrap()).unwrap(),
        None => Window::until(value.as_f64().unwrap()),
    }
}

/// One window, or a window for each word and `default_`.
fn cross_steps(value: &Value) -> CrossSteps {
    let mut steps = CrossSteps::default();
    match value {
        Value::Object(words) => {
            for (word, value) in words {
                if word == "default_" {
                    steps.default = Some(window(value));
                } else {
                    steps.words.insert(word.clone(), window(value));
                }
            }
        }
        Value::Null => {}
        value => steps.default = Some(window(value)),
    }
    steps
}

/// The factors of an equalizer: `[words, factors]`.
fn weights(equalizer: &Value) -> impl Iterator<Item = (String, f32)> {
    let pairs = equalizer.as_array().into_iter().flat_map(|pair| {
        let factors = pair[1].as_array().unwrap().iter();
        strings(&pair[0]).zip(factors.map(|x| x.as_f64().unwrap() as f32))
    });
    pairs.map(|(word, factor)| (word.to_owned(), factor))
}

/// `spec` with the blend of one row. The reference names one word per prompt.
fn blended(case: &Value, row: usize, spec: &EditSettings) -> EditSettings {
    let word = |key: &str, row: usize| case[key][row].as_str().map(str::to_owned);
    let words = |row| Vec::from_iter(word("local_blend", row));
    if words(0).is_empty() {
        return spec.clone();
    }
    let threshold = |i: usize| case["threshold"][i].as_f64().unwrap_or(0.3) as f32;
    let stable = case["local_blend_flavour"]
        .as_str()
        .unwrap_or("")
        .contains("stable");
    EditSettings {
        blend: vec![BlendWords::Pair(words(0), words(row))],
        blend_keep: Vec::from_iter(word("substruct_words", row)),
        blend_threshold: Some((threshold(0), threshold(1))),
        blend_from: Some(
            case["start_blend"]
                .as_f64()
                .unwrap_or(if stable { 0.0 } else { 0.2 }),
        ),
        ..spec.clone()
    }
}
