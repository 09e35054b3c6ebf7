//! The components of a pipeline: which there are, and the names of their folders and files in a diffusers
//! folder. The one place that knows these names; it must never know what a component computes.

use std::collections::BTreeMap;

/// A component of a pipeline in diffusers layout. Each has a folder of its own.
///
/// The order of the variants is the order in which weight files are hashed and LoRA layers are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The denoising network.
    Unet,
    /// The autoencoder between pixels and latents.
    Vae,
    /// The text encoder of every model.
    TextEncoder,
    /// The second text encoder of Stable Diffusion XL.
    TextEncoder2,
    /// The tokenizer of the text encoder.
    Tokenizer,
    /// The tokenizer of the second text encoder.
    Tokenizer2,
    /// The noise schedule.
    Scheduler,
}

/// A value for some of the components.
pub type ByComponent<T> = BTreeMap<Component, T>;

/// Files of a tokenizer. A folder has `tokenizer.json`, or `vocab.json` and `merges.txt`.
pub const TOKENIZER_FILES: [&str; 5] = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

/// The index of a diffusers folder.
pub const MODEL_INDEX: &str = "model_index.json";

impl Component {
    /// The text encoders, with the tokenizer of each.
    pub const TEXT_ENCODERS: [(Self, Self); 2] = [
        (Self::TextEncoder, Self::Tokenizer),
        (Self::TextEncoder2, Self::Tokenizer2),
    ];

    /// The components with weights, of a model with one text encoder or two.
    pub fn with_weights(has_second_encoder: bool) -> Vec<Self> {
        let mut all = vec![Self::Unet, Self::Vae, Self::TextEncoder];
        all.extend(has_second_encoder.then_some(Self::TextEncoder2));
        all
    }

    /// The folder's name.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Unet => "unet",
            Self::Vae => "vae",
            Self::TextEncoder => "text_encoder",
            Self::TextEncoder2 => "text_encoder_2",
            Self::Tokenizer => "tokenizer",
            Self::Tokenizer2 => "tokenizer_2",
            Self::Scheduler => "scheduler",
        }
    }

    /// The beginning of the weight files' names: `diffusion_pytorch_model`. `None` for a component without
    /// weights.
    pub fn weight_stem(self) -> Option<&'static str> {
        match self {
            Self::Unet | Self::Vae => Some("diffusion_pytorch_model"),
            Self::TextEncoder | Self::TextEncoder2 => Some("model"),
            Self::Tokenizer | Self::Tokenizer2 | Self::Scheduler => None,
        }
    }

    /// A file's path in the model's folder.
    pub fn path(self, file: &str) -> String {
        format!("{}/{file}", self.folder())
    }

    /// The path of the config.
    pub fn config(self) -> String {
        self.path(match self {
            Self::Tokenizer | Self::Tokenizer2 => "tokenizer_config.json",
            Self::Scheduler => "scheduler_config.json",
            _ => "config.json",
        })
    }

    /// The path of the weights where they are one plain file.
    ///
    /// # Panics
    /// When the component has no weights.
    pub fn weights(self) -> String {
        let stem = self.weight_stem().expect("a component with weights");
        self.path(&format!("{stem}.safetensors"))
    }
}
