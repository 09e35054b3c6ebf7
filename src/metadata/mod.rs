//! The metadata of pictures, in text chunks of PNG files. Writes how a picture was drawn, for p2p and for other tools,
//! and reads the metadata of p2p, A1111, ComfyUI and InvokeAI.
//!
//! Owns the contents of the chunks. `report::png` owns their format in the file, and [`PictureSettings`] the settings
//! that determine a picture.

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

/// The keyword of the text chunk with the metadata of p2p as JSON.
pub const KEYWORD: &str = "p2p";
const SCHEMA: &str = "p2p.edit/v1";

/// Everything that determines a picture's pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Version of the JSON format: `p2p.edit/v1`.
    pub schema: String,
    /// The program that drew the picture.
    pub generator: Generator,
    /// The family of kernels: `x86-fma`, `portable`, `plain`, `cuda` or `metal`. Kernels of one family give the same bits.
    pub kernels: String,
    /// The model.
    pub model: ModelId,
    /// The kind of picture.
    pub role: PictureRole,
    /// The random number generator that makes noise from the seed.
    pub rng: String,
    /// The settings.
    pub settings: PictureSettings,
}

/// A program and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generator {
    /// Name of the program.
    pub name: String,
    /// Version of the program.
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
    /// The metadata of a picture that this program draws with this [`family`](crate::kernels::family) of kernels.
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

    /// The text chunks of the PNG: the parameters in the format of A1111, the metadata as JSON, and the mark of AI
    /// pictures.
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
            let cure = "it was cut or changed after it was written: use the original picture";
            unusable(format!("it is not valid JSON ({e})"), cure)
        })?;
        let schema = value.get("schema").and_then(Value::as_str);
        if schema != Some(SCHEMA) {
            let schema = schema.unwrap_or("missing");
            return Err(refused(format!("its schema is {schema}, not {SCHEMA}")));
        }
        serde_json::from_value(value).map_err(|e| refused(e.to_string()))
    }

    /// The reason if this program with these kernels may draw other bits from the same settings.
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

/// The metadata of another tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignMetadata {
    /// Name of the tool.
    pub tool: &'static str,
    /// The prompt.
    pub prompt: String,
    /// The negative prompt; empty if there is none.
    pub negative_prompt: String,
    /// The other settings, under the tool's own names.
    pub settings: Map<String, Value>,
}

/// The metadata of a PNG picture.
#[derive(Debug, Clone, PartialEq)]
pub enum PictureMetadata {
    /// Metadata of p2p.
    Ours(Box<Metadata>),
    /// Metadata of another tool.
    Foreign(ForeignMetadata),
}

impl PictureMetadata {
    /// The metadata of a PNG. Metadata of p2p is preferred to that of other tools. `None` if there is none.
    ///
    /// # Errors
    /// A usage error if the metadata of p2p cannot be read.
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

    /// Name of the tool that drew the picture.
    pub fn tool(&self) -> &str {
        match self {
            Self::Ours(metadata) => &metadata.generator.name,
            Self::Foreign(foreign) => foreign.tool,
        }
    }

    /// The prompt of the picture.
    pub fn prompt(&self) -> &str {
        match self {
            Self::Ours(metadata) => metadata.settings.prompt(),
            Self::Foreign(foreign) => &foreign.prompt,
        }
    }

    /// The negative prompt; empty if there is none.
    pub fn negative_prompt(&self) -> &str {
        match self {
            Self::Ours(metadata) => metadata.settings.negative_prompt(),
            Self::Foreign(foreign) => &foreign.negative_prompt,
        }
    }
}
