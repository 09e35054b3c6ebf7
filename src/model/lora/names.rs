//! What LoRA files call layers: diffusers and PEFT by the layer's path, kohya's tools with underscores,
//! after diffusers' names or the checkpoint's.

use std::collections::HashMap;

use serde_json::Value;

use crate::model::checkpoint::Renames;

/// What a tensor is to its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoraTensor {
    /// The first factor.
    Down,
    Up,
    /// Of which the rank is taken.
    Alpha,
}

const ROLES: [(&str, LoraTensor); 15] = [
    (".lora_down.weight", LoraTensor::Down),
    (".lora_up.weight", LoraTensor::Up),
    (".lora_A.weight", LoraTensor::Down),
    (".lora_B.weight", LoraTensor::Up),
    (".lora_A.default.weight", LoraTensor::Down),
    (".lora_B.default.weight", LoraTensor::Up),
    (".lora_A.default_0.weight", LoraTensor::Down),
    (".lora_B.default_0.weight", LoraTensor::Up),
    (".lora.down.weight", LoraTensor::Down),
    (".lora.up.weight", LoraTensor::Up),
    (".lora_linear_layer.down.weight", LoraTensor::Down),
    (".lora_linear_layer.up.weight", LoraTensor::Up),
    ("_lora.down.weight", LoraTensor::Down),
    ("_lora.up.weight", LoraTensor::Up),
    (".alpha", LoraTensor::Alpha),
];

/// A tensor's layer, as the file calls it, and what it is to that.
pub fn split(key: &str) -> Option<(String, LoraTensor)> {
    let role = |(ending, role): &(&str, LoraTensor)| Some((key.strip_suffix(ending)?, *role));
    let (layer, role) = ROLES.iter().find_map(role)?;
    // PEFT keeps an alpha's layer apart from its factors'.
    let layer = layer.strip_suffix(".lora").unwrap_or(layer);
    Some((layer.to_owned(), role))
}

/// What cannot be added as a product of two.
pub fn refused(key: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 12] = [
        ("dora_scale", "a DoRA"),
        ("lora_magnitude_vector", "a DoRA"),
        ("hada_", "a LoHa"),
        ("lokr_", "a LoKr"),
        ("lora_mid", "a LoCon of three factors"),
        ("oft_", "an OFT"),
        (".a1.weight", "a GLoRA"),
        (".diff", "a LoRA that replaces whole weights"),
        (".w_norm", "a LoRA that replaces norms"),
        (".b_norm", "a LoRA that replaces norms"),
        ("lora_B.bias", "a LoRA with biases"),
        ("emb_params", "a textual inversion"),
    ];
    // `.diff` begins the names of whole models too.
    let fits = |part: &str| match part {
        ".diff" => key.ends_with(".diff") || key.ends_with(".diff_b"),
        part => key.contains(part),
    };
    let found = KINDS.iter().find(|(part, _)| fits(part));
    found.map(|(_, kind)| *kind)
}

/// Weights of a component that a LoRA may add to, by what files may call their layers.
#[derive(Debug, Default)]
pub struct Targets {
    by_name: HashMap<String, (String, Vec<usize>)>,
}

/// What files put before the names of a component's layers: UNet, text encoder, second text encoder.
const PREFIXES: [&[&str]; 3] = [
    &["lora_unet_", "unet_", "base_model_model_", ""],
    &["lora_te_", "lora_te1_", "text_encoder_"],
    &["lora_te2_", "text_encoder_2_"],
];

impl Targets {
    /// Of a component's tensors, which a checkpoint may call otherwise.
    pub fn new(shapes: Vec<(String, Vec<usize>)>, renames: &Renames) -> Self {
        let mut by_name = HashMap::new();
        for (tensor, dims) in shapes {
            let Some(layer) = tensor.strip_suffix(".weight") else {
                continue;
            };
            if dims.len() < 2 {
                continue;
            }
            // Text encoders stand with and without it.
            let bare = layer.strip_prefix("text_model.").unwrap_or(layer);
            let names = [
                renames.from_diffusers(layer),
                bare.to_owned(),
                format!("text_model.{bare}"),
            ];
            for name in names {
                by_name.insert(flat(&name), (tensor.clone(), dims.clone()));
            }
        }
        Self { by_name }
    }

    /// A layer as a file calls it, if it is one of the `component`: its weight, and that one's shape.
    pub fn find(&self, component: usize, layer: &str) -> Option<(&str, &[usize])> {
        let name = flat(&layer.replace(".processor.", "."));
        let found = PREFIXES[component].iter().find_map(|prefix| {
            let name = name.strip_prefix(prefix)?;
            // An attention's output is a list of a layer and a dropout.
            let listed = || self.by_name.get(&format!("{name}_0"));
            self.by_name.get(name).or_else(listed)
        });
        found.map(|(tensor, dims)| (tensor.as_str(), dims.as_slice()))
    }
}

fn flat(name: &str) -> String {
    name.replace('.', "_")
}

/// What newer diffusers write beside the tensors, for a layer without an alpha of its own.
pub fn alpha(metadata: Option<&str>, layer: &str) -> Option<f64> {
    let config: Value = serde_json::from_str(metadata?).ok()?;
    let component = layer.split('.').next()?;
    let whole = config.get(format!("{component}.lora_alpha"));
    let pattern = config.get(format!("{component}.alpha_pattern"));
    let module = layer.strip_prefix(component)?.trim_start_matches('.');
    let own = pattern.and_then(Value::as_object).and_then(|own| {
        let fits = |(name, _): &(&String, &Value)| {
            module == name.as_str() || module.ends_with(&format!(".{name}"))
        };
        own.iter().find(fits).map(|(_, alpha)| alpha)
    });
    own.or(whole)?.as_f64()
}
