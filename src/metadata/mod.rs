//! The metadata a picture carries in its PNG: what it was drawn from, for us to repeat and for other tools
//! to read; and the stories that other tools write.
//!
//! Owns what the text chunks say. How they are kept in a file is `report::png`'s, what determines a
//! picture [`PictureSettings`]'.

mod a1111;
mod comfyui;
mod difference;
mod info;
mod invokeai;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use difference::PixelDifference;
pub use info::Info;

use crate::error::{Error, Result};
use crate::job::{ModelId, PictureRole, PictureSettings};
use crate::report::png::{Contents, TextChunk};
use crate::report::xmp::ai_mark;

/// The chunk that holds our own JSON.
pub const KEYWORD: &str = "p2p";
const SCHEMA: &str = "p2p.edit/v1";

/// Everything that determines a picture's pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    pub schema: String,
    pub generator: Generator,
    /// The family of kernels, within which bits agree: `x86-fma`, `portable`, `plain`, `cuda` or `metal`.
    pub kernels: String,
    pub model: ModelId,
    pub role: PictureRole,
    /// The generator that turns the seed into noise.
    pub rng: String,
    pub settings: PictureSettings,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generator {
    pub name: String,
    pub version: String,
}

impl Generator {
    /// This program.
    pub fn here() -> Self {
        Self {
            name: "p2p".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl Metadata {
    /// Of a picture drawn here and now by this [`family`](crate::kernels::family) of kernels.
    pub fn new(
        model: &ModelId,
        kernels: &str,
        role: PictureRole,
        settings: &PictureSettings,
    ) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            generator: Generator::here(),
            kernels: kernels.to_owned(),
            model: model.clone(),
            role,
            rng: "torch-cpu".to_owned(),
            settings: settings.clone(),
        }
    }

    /// What its PNG carries: A1111's block, our JSON, the mark of what a model made.
    pub fn texts(&self) -> Vec<TextChunk> {
        vec![
            TextChunk::new(a1111::KEYWORD, a1111::write(self)),
            TextChunk::new(KEYWORD, self.to_json()),
            ai_mark(),
        ]
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data with string keys")
    }

    fn parse(json: &str) -> Result<Self> {
        let unusable = |cause: String, cure: &str| {
            let cause = format!("the picture's p2p metadata cannot be used: {cause}");
            Error::usage(cause, cure)
        };
        let refused = |cause: String| {
            let cure = "a newer p2p may have written it; `p2p --version` says which this is";
            unusable(cause, cure)
        };
        let value: Value = serde_json::from_str(json).map_err(|e| {
            let cure = "it was cut or changed on its way: take the picture as it was written";
            unusable(format!("it is no JSON ({e})"), cure)
        })?;
        let schema = value.get("schema").and_then(Value::as_str);
        if schema != Some(SCHEMA) {
            let schema = schema.unwrap_or("missing");
            return Err(refused(format!("its schema is {schema}, not {SCHEMA}")));
        }
        serde_json::from_value(value).map_err(|e| refused(e.to_string()))
    }

    /// Why the same settings may give other bits here, by these kernels, if they may.
    pub fn drawn_otherwise(&self, kernels: &str) -> Option<String> {
        let (there, here) = (&self.generator, &Generator::here());
        if there != here {
            return Some(format!(
                "it was drawn by {} {}, this is {} {}",
                there.name, there.version, here.name, here.version
            ));
        }
        (self.kernels != kernels).then(|| {
            format!(
                "it was drawn with the {} kernels, these are the {kernels}",
                self.kernels
            )
        })
    }
}

/// What another tool tells.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignMetadata {
    pub tool: &'static str,
    pub prompt: String,
    pub negative_prompt: String,
    /// Under the tool's own names.
    pub settings: Map<String, Value>,
}

/// The metadata in a PNG.
#[derive(Debug, Clone, PartialEq)]
pub enum PictureMetadata {
    Ours(Box<Metadata>),
    Foreign(ForeignMetadata),
}

impl PictureMetadata {
    /// Ours before another's, `None` where nobody tells anything.
    ///
    /// Errors: a metadata of ours that cannot be read.
    pub fn in_png(png: &Contents) -> Result<Option<Self>> {
        if let Some(json) = png.text(KEYWORD) {
            return Ok(Some(Self::Ours(Box::new(Metadata::parse(json)?))));
        }
        let foreign = png
            .text(a1111::KEYWORD)
            .map(a1111::read)
            .or_else(|| invokeai::read(png))
            .or_else(|| comfyui::read(png));
        Ok(foreign.map(Self::Foreign))
    }

    pub fn tool(&self) -> &str {
        match self {
            Self::Ours(metadata) => &metadata.generator.name,
            Self::Foreign(foreign) => foreign.tool,
        }
    }

    /// What the picture shows.
    pub fn prompt(&self) -> &str {
        match self {
            Self::Ours(metadata) => metadata.settings.prompt(),
            Self::Foreign(foreign) => &foreign.prompt,
        }
    }

    pub fn negative_prompt(&self) -> &str {
        match self {
            Self::Ours(metadata) => metadata.settings.negative_prompt(),
            Self::Foreign(foreign) => &foreign.negative_prompt,
        }
    }
}
