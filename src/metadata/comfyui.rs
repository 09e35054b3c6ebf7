//! Reads ComfyUI's metadata: the executed graph under `prompt`, and the editor's form of it under `workflow`.
//! Owns the search for the texts and settings of a sampler. It knows the inputs of common nodes. In other
//! nodes it only follows links. It must never know PNG files.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::ForeignMetadata;
use crate::report::png::Contents;

/// Nodes `{ class_type, inputs }` by their id. An input is a value or a link `[id, output]`.
type Graph = Map<String, Value>;

/// Names of inputs that hold a text.
const TEXTS: [&str; 8] = [
    "text", "text_g", "text_l", "clip_l", "t5xxl", "prompt", "string", "value",
];

/// The metadata of a picture that ComfyUI saved.
pub(super) fn read(png: &Contents) -> Option<ForeignMetadata> {
    let json = |keyword| lenient(png.text(keyword)?);
    let run = json("prompt").and_then(|value| value.as_object().cloned());
    let graph = run.or_else(|| from_workflow(&json("workflow")?))?;
    let samplers = graph
        .values()
        .filter(|node| class(node).contains("Sampler"));
    for sampler in samplers {
        let told = |side| Search::new(&graph, side).texts(sampler);
        let prompt = told("positive");
        if !prompt.is_empty() {
            return Some(ForeignMetadata {
                tool: "comfyui",
                prompt: prompt.join("\n"),
                negative_prompt: told("negative").join("\n"),
                settings: settings(&graph, sampler),
            });
        }
    }
    // Without a known sampler, the texts of all encoders are the prompt.
    let encoders = graph
        .values()
        .filter(|node| class(node).contains("TextEncode"));
    let texts: Vec<&str> = encoders.flat_map(own_texts).collect();
    (!texts.is_empty()).then(|| ForeignMetadata {
        tool: "comfyui",
        prompt: texts.join("\n"),
        negative_prompt: String::new(),
        settings: Map::new(),
    })
}

/// Parses JSON as Python writes it, which allows NaN and infinities.
fn lenient(text: &str) -> Option<Value> {
    let strict = serde_json::from_str(text).ok();
    strict.or_else(|| {
        let (mut plain, mut quoted, mut escaped) = (String::new(), false, false);
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let odd = ["-Infinity", "Infinity", "NaN"];
            let odd = odd.iter().find(|odd| !quoted && rest.starts_with(**odd));
            let taken = odd.map_or(c.len_utf8(), |odd| odd.len());
            plain += odd.map_or(&rest[..taken], |_| "null");
            quoted ^= c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            rest = &rest[taken..];
        }
        serde_json::from_str(&plain).ok()
    })
}

fn class(node: &Value) -> &str {
    node.get("class_type").and_then(Value::as_str).unwrap_or("")
}

fn inputs(node: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let inputs = node.get("inputs").and_then(Value::as_object);
    inputs.into_iter().flatten()
}

fn own_texts(node: &Value) -> impl Iterator<Item = &str> {
    let texts = inputs(node).filter(|(key, _)| TEXTS.contains(&key.as_str()));
    let texts = texts.filter_map(|(_, value)| value.as_str());
    texts.filter(|text| !text.trim().is_empty())
}

/// Follows links from a node to the texts of one side, `positive` or `negative`.
struct Search<'a> {
    graph: &'a Graph,
    side: &'a str,
    /// Nodes already visited. A graph from an unknown source can have cycles.
    seen: HashSet<&'a str>,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph, side: &'a str) -> Self {
        let seen = HashSet::new();
        Self { graph, side, seen }
    }

    fn texts(mut self, sampler: &'a Value) -> Vec<&'a str> {
        let (mut found, mut todo) = (vec![], self.ahead(sampler));
        while let Some(id) = todo.pop() {
            let Some(node) = self.graph.get(id).filter(|_| self.seen.insert(id)) else {
                continue;
            };
            let new = own_texts(node).filter(|text| !found.contains(text));
            found.extend(new.collect::<Vec<_>>());
            todo.extend(self.ahead(node));
        }
        found
    }

    /// The nodes that a node takes its texts from: the inputs of the side if it has sides, else all inputs for
    /// conditioning. The first node to visit is the last of the list.
    fn ahead(&self, node: &'a Value) -> Vec<&'a str> {
        let link = |value: &'a Value| value.as_array()?.first()?.as_str();
        let links = |wanted: &dyn Fn(&str) -> bool| -> Vec<&'a str> {
            let wanted = inputs(node).filter(|(key, _)| wanted(key));
            wanted.filter_map(|(_, value)| link(value)).collect()
        };
        let sides = ["positive", "negative"];
        let has_sides = !links(&|key| sides.contains(&key)).is_empty();
        let mut ahead = if has_sides {
            links(&|key| key == self.side)
        } else if class(node).contains("Guider") && self.side == "negative" {
            // A guider without sides has no negative prompt.
            vec![]
        } else {
            links(&|key| key.starts_with("conditioning") || key == "guider" || TEXTS.contains(&key))
        };
        ahead.reverse();
        ahead
    }
}

/// The sampler's own values, the model and the size.
fn settings(graph: &Graph, sampler: &Value) -> Map<String, Value> {
    let is_plain = |value: &Value| value.is_string() || value.is_number();
    let own = inputs(sampler).filter(|(_, value)| is_plain(value));
    let mut settings: Map<String, Value> = own
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for (key, value) in graph.values().flat_map(inputs).filter(|(_, v)| is_plain(v)) {
        let name = match key.as_str() {
            "ckpt_name" | "unet_name" => "model",
            "width" | "height" => key,
            _ => continue,
        };
        settings.entry(name).or_insert_with(|| value.clone());
    }
    settings
}

/// Converts the editor's form to a graph. In this form links are in a list of their own, and values have no
/// names.
fn from_workflow(workflow: &Value) -> Option<Graph> {
    let list = |key: &str| workflow.get(key).and_then(Value::as_array);
    let links = list("links")?;
    // A link is `[id, from node, from output, to node, to input, type]`.
    let source = |link: &Value| {
        let found = links.iter().find(|known| known.get(0) == Some(link))?;
        Some(json!([found.get(1)?.to_string(), found.get(2)?]))
    };
    let node = |node: &Value| {
        let class = node.get("type")?.as_str()?;
        let slots = node.get("inputs").and_then(Value::as_array);
        let link = |slot: &Value| {
            let name = slot.get("name")?.as_str()?.to_owned();
            Some((name, source(slot.get("link")?)?))
        };
        let mut inputs: Map<String, Value> = widgets(class, node).collect();
        inputs.extend(slots.into_iter().flatten().filter_map(link));
        let node_id = node.get("id")?.to_string();
        Some((node_id, json!({ "class_type": class, "inputs": inputs })))
    };
    Some(list("nodes")?.iter().filter_map(node).collect())
}

/// The values of common nodes with their names. An empty name skips a value.
fn widgets(class: &str, node: &Value) -> impl Iterator<Item = (String, Value)> {
    let names: &[&str] = match class {
        "KSampler" => &[
            "seed",
            "",
            "steps",
            "cfg",
            "sampler_name",
            "scheduler",
            "denoise",
        ],
        "CheckpointLoaderSimple" => &["ckpt_name"],
        "EmptyLatentImage" => &["width", "height"],
        class if class.contains("TextEncode") => &["text"],
        _ => &[],
    };
    let values = node.get("widgets_values").and_then(Value::as_array);
    let values = values.into_iter().flatten().cloned();
    let named = names
        .iter()
        .zip(values)
        .filter(|(name, _)| !name.is_empty());
    named.map(|(name, value)| ((*name).to_owned(), value))
}
