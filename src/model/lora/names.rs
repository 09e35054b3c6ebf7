//! The names of layers in LoRA files: diffusers and PEFT use the layer's path, kohya's tools join it with underscores,
//! by diffusers' names or those of checkpoints. Never reads a tensor.

use std::collections::HashMap;

use serde_json::Value;

use crate::model::checkpoint::Renames;
use crate::model::component::Component;

/// The role of a tensor in its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoraTensor {
    /// The factor that is applied first, `[rank, in]`.
    Down,
    /// The factor that is applied second, `[out, rank]`.
    Up,
    /// The scale of the product, which is divided by the rank.
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

/// The layer of a tensor, by its name in the file, and the tensor's role.
pub fn split(key: &str) -> Option<(String, LoraTensor)> {
    let role = |(ending, role): &(&str, LoraTensor)| Some((key.strip_suffix(ending)?, *role));
    let (layer, role) = ROLES.iter().find_map(role)?;
    // PEFT appends `.lora` to the layer of an alpha, but not to that of a factor.
    let layer = layer.strip_suffix(".lora").unwrap_or(layer);
    Some((layer.to_owned(), role))
}

/// The kind of a LoRA that is not a product of two factors, told from a tensor's name. `None` for a plain LoRA.
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
    // Names of whole models contain `.diff` as well.
    let fits = |text: &str| match text {
        ".diff" => key.ends_with(".diff") || key.ends_with(".diff_b"),
        text => key.contains(text),
    };
    let found = KINDS.iter().find(|(text, _)| fits(text));
    found.map(|(_, kind)| *kind)
}

/// The weights of a component that a LoRA may add to, by the names that files use for their layers.
#[derive(Debug)]
pub struct Targets {
    component: Component,
    by_name: HashMap<String, (String, Vec<usize>)>,
}

/// The prefixes of a component's layers in files. LoRAs do not change other components.
fn prefixes(component: Component) -> &'static [&'static str] {
    match component {
        Component::Unet => &["lora_unet_", "unet_", "base_model_model_", ""],
        Component::TextEncoder => &["lora_te_", "lora_te1_", "text_encoder_"],
        Component::TextEncoder2 => &["lora_te2_", "text_encoder_2_"],
        _ => &[],
    }
}

impl Targets {
    /// The targets among a component's tensors. `renames` has their names in checkpoints.
    pub fn new(component: Component, shapes: Vec<(String, Vec<usize>)>, renames: &Renames) -> Self {
        let mut by_name = HashMap::new();
        for (tensor, dims) in shapes {
            let Some(layer) = tensor.strip_suffix(".weight") else {
                continue;
            };
            if dims.len() < 2 {
                continue;
            }
            // Files name text encoders' layers with and without this prefix.
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
        Self { component, by_name }
    }

    /// The weight of a layer by its name in a file, and the weight's shape. `None` where the layer is not one of
    /// the component.
    pub fn find(&self, layer: &str) -> Option<(&str, &[usize])> {
        let name = flat(&layer.replace(".processor.", "."));
        let found = prefixes(self.component).iter().find_map(|prefix| {
            let name = name.strip_prefix(prefix)?;
            // In diffusers an attention's output is a list of a linear layer and a dropout.
            let listed = || self.by_name.get(&format!("{name}_0"));
            self.by_name.get(name).or_else(listed)
        });
        found.map(|(tensor, dims)| (tensor.as_str(), dims.as_slice()))
    }
}

fn flat(name: &str) -> String {
    name.replace('.', "_")
}

/// The alpha that newer versions of diffusers write in the file's metadata, for a layer without a tensor of its own.
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
