//! The output of `p2p info`: a picture's metadata as text and as JSON. Owns both formats. It must never read a file.

use std::fmt;

use serde_json::{Map, Value, json};

use super::{Metadata, PictureMetadata};
use crate::report::png::Contents;
use crate::report::xmp::source_type;

/// The metadata of a picture, with the properties of its PNG file.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The metadata.
    pub found: PictureMetadata,
    /// IPTC's digital source type, such as `trainedAlgorithmicMedia`.
    pub source_type: Option<String>,
}

impl Info {
    /// Combines the contents of a PNG with its metadata.
    pub fn new(png: &Contents, found: PictureMetadata) -> Self {
        Self {
            width: png.width,
            height: png.height,
            found,
            source_type: source_type(&png.texts).map(str::to_owned),
        }
    }

    /// Pretty JSON with a final newline.
    pub fn to_json(&self) -> String {
        let mut info = json!({
            "schema": "p2p.info/v1",
            "width": self.width,
            "height": self.height,
            "tool": self.found.tool(),
            "prompt": self.found.prompt(),
            "negative_prompt": self.found.negative_prompt(),
            "digital_source_type": self.source_type,
        });
        let (key, rest) = match &self.found {
            // Through text, which keeps the shortest form of each number.
            PictureMetadata::Ours(metadata) => {
                let metadata = serde_json::from_str(&metadata.to_json());
                ("metadata", metadata.expect("our own JSON"))
            }
            PictureMetadata::Foreign(foreign) => ("settings", json!(foreign.settings)),
        };
        info[key] = rest;
        let json = serde_json::to_string_pretty(&info).expect("plain data with string keys");
        json + "\n"
    }
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Lines::default();
        lines.add("prompt", self.found.prompt());
        match self.found.negative_prompt() {
            "" => {}
            negative => lines.add("negative prompt", negative),
        }
        match &self.found {
            PictureMetadata::Ours(metadata) => add_settings(metadata, &mut lines),
            PictureMetadata::Foreign(foreign) => lines.add_all(&foreign.settings, &[]),
        }
        lines.add("size", &format!("{}x{}", self.width, self.height));
        let tool = match &self.found {
            PictureMetadata::Ours(metadata) => {
                let generator = &metadata.generator;
                let (name, version) = (&generator.name, &generator.version);
                format!("{name} {version}, {} kernels", metadata.kernels)
            }
            PictureMetadata::Foreign(foreign) => foreign.tool.to_owned(),
        };
        lines.add("drawn by", &tool);
        if let Some(source_type) = &self.source_type {
            lines.add("marked as", source_type);
        }
        lines.fmt(f)
    }
}

/// Adds the settings, the model and its components.
fn add_settings(metadata: &Metadata, lines: &mut Lines) {
    let settings = metadata.settings.to_map();
    let source = metadata.settings.edit.is_empty();
    if !source {
        lines.add("source", &metadata.settings.run.src);
    }
    let edits: Vec<&Value> = settings["edit"].as_array().into_iter().flatten().collect();
    for (i, edit) in edits.iter().enumerate() {
        let last = i + 1 == edits.len();
        let name = |key: &str| match edits.len() {
            1 => key.to_owned(),
            _ => format!("edit {}: {key}", i + 1),
        };
        let pairs = edit.as_object().into_iter().flatten();
        // The prompt of the last edit is the prompt of the picture, which has a line already.
        let pairs = pairs.filter(|(key, _)| !(last && ["dst", "then"].contains(&key.as_str())));
        let pairs = pairs.map(|(key, value)| (name(key), value.clone()));
        lines.add_all(&pairs.collect(), &[]);
    }
    // These have lines of their own.
    let shown = ["src", "negative_prompt", "edit", "width", "height"];
    lines.add_all(&settings, &shown);
    lines.add("model", &metadata.model.id);
    if let Some(origin) = &metadata.model.origin {
        lines.add("revision", &origin.revision);
        let variant = origin.variant.iter();
        variant.for_each(|variant| lines.add("variant", variant));
    }
    for (flag, from) in &metadata.model.overrides {
        lines.add(&flag.replace('_', " "), from);
    }
    for lora in &metadata.model.loras {
        lines.add("lora", &lora.to_string());
    }
}

/// Names and values, in two columns.
#[derive(Default)]
struct Lines(Vec<(String, String)>);

impl Lines {
    fn add(&mut self, name: &str, value: &str) {
        self.0.push((printable(name), printable(value)));
    }

    fn add_all(&mut self, values: &Map<String, Value>, but: &[&str]) {
        for (name, value) in values {
            if !but.contains(&name.as_str()) {
                self.add(name, &plain(value));
            }
        }
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.chars().count()).max();
        let width = width.unwrap_or(0);
        for (name, value) in &self.0 {
            let mut rows = value.lines();
            writeln!(f, "{name:<width$}  {}", rows.next().unwrap_or_default())?;
            for row in rows {
                writeln!(f, "{:<width$}  {row}", "")?;
            }
        }
        Ok(())
    }
}

/// A value as text.
fn plain(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::String(text) if text.starts_with("data:") => "(inline)".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => joined(items.iter().map(plain).collect()),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| format!("{key} {}", plain(value));
            joined(entries.iter().map(entry).collect())
        }
        value => value.to_string(),
    }
}

/// Text without control characters, so that metadata from elsewhere cannot control the terminal.
fn printable(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\n' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}
