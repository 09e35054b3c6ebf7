//! The names of tensors in single-file checkpoints, and the names of the same tensors in diffusers: pure functions
//! over names, shapes and configs. Never reads a tensor.

use std::collections::HashMap;
use std::ops::Range;

use crate::model::unet_config::UNetConfig;
use crate::model::unet_shape::{LayerShape, Sizes, UNetShape};

/// Where a tensor is stored in a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTensor {
    /// The name in the checkpoint.
    pub name: String,
    /// The range of the first dimension. `None` for the whole tensor.
    pub rows: Option<Range<usize>>,
    /// The shape in diffusers.
    pub dims: Vec<usize>,
    /// Whether the checkpoint stores the transposed matrix.
    pub transposed: bool,
}

/// Where tensors are stored, by their names in diffusers.
pub type KeyMap = HashMap<String, StoredTensor>;

/// Names of modules in diffusers and in checkpoints. A module that is not listed has the same name in both.
#[derive(Debug, Clone, Default)]
pub struct Renames {
    to_diffusers: HashMap<String, String>,
    from_diffusers: HashMap<String, String>,
}

impl Renames {
    fn new(pairs: Vec<(String, String)>) -> Self {
        Self {
            to_diffusers: pairs.iter().map(|(d, c)| (c.clone(), d.clone())).collect(),
            from_diffusers: pairs.into_iter().collect(),
        }
    }

    /// The name in diffusers for a name in a checkpoint, which is given without the component's prefix.
    pub fn to_diffusers(&self, name: &str) -> String {
        renamed(&self.to_diffusers, name)
    }

    /// The name in a checkpoint for a name in diffusers.
    pub fn from_diffusers(&self, name: &str) -> String {
        renamed(&self.from_diffusers, name)
    }

    /// The names of a UNet's modules.
    pub fn unet(config: &UNetConfig) -> Self {
        let shape = UNetShape::new(config);
        let mut pairs = owned(&[
            ("conv_in", "input_blocks.0.0"),
            ("time_embedding.linear_1", "time_embed.0"),
            ("time_embedding.linear_2", "time_embed.2"),
            ("add_embedding.linear_1", "label_emb.0.0"),
            ("add_embedding.linear_2", "label_emb.0.2"),
            ("conv_norm_out", "out.0"),
            ("conv_out", "out.2"),
        ]);
        let mut add = |block: &str, layers: &[LayerShape]| {
            for (i, layer) in layers.iter().enumerate() {
                pairs.extend(unet_layer(layer, &format!("{block}.{i}")));
            }
        };
        for (i, layers) in shape.input.iter().enumerate() {
            add(&format!("input_blocks.{}", i + 1), layers);
        }
        add("middle_block", &shape.middle);
        for (i, layers) in shape.output.iter().enumerate() {
            add(&format!("output_blocks.{i}"), layers);
        }
        Self::new(pairs)
    }

    /// The names of a VAE's modules. `layers` is the number of residual blocks in each level of the encoder.
    pub fn vae(levels: usize, layers: usize) -> Self {
        let mut pairs = vec![];
        for half in ["encoder", "decoder"] {
            pairs.push((format!("{half}.conv_norm_out"), format!("{half}.norm_out")));
            let middle = format!("{half}.mid_block");
            for i in 0..2 {
                let resnet = format!("{middle}.resnets.{i}");
                pairs.extend(vae_resnet(resnet, format!("{half}.mid.block_{}", i + 1)));
            }
            for (diffusers, checkpoint) in VAE_ATTENTION {
                let attention = format!("{middle}.attentions.0.{diffusers}");
                pairs.push((attention, format!("{half}.mid.attn_1.{checkpoint}")));
            }
        }
        for level in 0..levels {
            let (down, up) = (level, levels - 1 - level);
            for j in 0..=layers {
                let resnet = format!("encoder.down_blocks.{level}.resnets.{j}");
                pairs.extend(vae_resnet(resnet, format!("encoder.down.{down}.block.{j}")));
                let resnet = format!("decoder.up_blocks.{level}.resnets.{j}");
                pairs.extend(vae_resnet(resnet, format!("decoder.up.{up}.block.{j}")));
            }
            pairs.push((
                format!("encoder.down_blocks.{level}.downsamplers.0.conv"),
                format!("encoder.down.{down}.downsample.conv"),
            ));
            pairs.push((
                format!("decoder.up_blocks.{level}.upsamplers.0.conv"),
                format!("decoder.up.{up}.upsample.conv"),
            ));
        }
        Self::new(pairs)
    }

    /// The names of the modules of a text encoder that OpenCLIP wrote.
    pub fn open_clip(layers: usize) -> Self {
        let mut pairs = owned(&[
            (
                "text_model.embeddings.token_embedding.weight",
                "token_embedding.weight",
            ),
            (
                "text_model.embeddings.position_embedding.weight",
                "positional_embedding",
            ),
            ("text_model.final_layer_norm", "ln_final"),
            ("text_projection.weight", "text_projection"),
        ]);
        for i in 0..layers {
            for (diffusers, checkpoint) in OPEN_CLIP_LAYER {
                pairs.push((
                    format!("text_model.encoder.layers.{i}.{diffusers}"),
                    format!("transformer.resblocks.{i}.{checkpoint}"),
                ));
            }
        }
        Self::new(pairs)
    }
}

const RESNET: [(&str, &str); 6] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

const VAE_ATTENTION: [(&str, &str); 5] = [
    ("group_norm", "norm"),
    ("to_q", "q"),
    ("to_k", "k"),
    ("to_v", "v"),
    ("to_out.0", "proj_out"),
];

/// Modules of one layer. OpenCLIP stores queries, keys and values in one tensor, `in_proj_*`, which [`key_map`]
/// splits.
const OPEN_CLIP_LAYER: [(&str, &str); 6] = [
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("self_attn.out_proj", "attn.out_proj"),
    ("self_attn", "attn"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
];

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    pairs.iter().map(owned).collect()
}

/// A layer of the UNet, whose name in a checkpoint is `stored`.
fn unet_layer(layer: &LayerShape, stored: &str) -> Vec<(String, String)> {
    let name = &layer.name;
    match &layer.sizes {
        Sizes::Resnet(_) => RESNET
            .iter()
            .map(|(d, c)| (format!("{name}.{d}"), format!("{stored}.{c}")))
            .collect(),
        Sizes::Transformer(..) => vec![(name.clone(), stored.to_owned())],
        Sizes::Downsample(_) => vec![(name.clone(), format!("{stored}.op"))],
        Sizes::Upsample(_) => vec![(name.clone(), format!("{stored}.conv"))],
    }
}

fn vae_resnet(diffusers: String, checkpoint: String) -> [(String, String); 2] {
    let shortcut = format!("{diffusers}.conv_shortcut");
    [
        (shortcut, format!("{checkpoint}.nin_shortcut")),
        (diffusers, checkpoint),
    ]
}

/// A name whose longest listed module is replaced.
fn renamed(names: &HashMap<String, String>, name: &str) -> String {
    let mut end = name.len();
    loop {
        if let Some(other) = names.get(&name[..end]) {
            return format!("{other}{}", &name[end..]);
        }
        match name[..end].rfind('.') {
            Some(dot) => end = dot,
            None => return name.to_owned(),
        }
    }
}

/// The tensors whose names begin with `prefix`, by their names in diffusers.
pub fn key_map(prefix: &str, renames: &Renames, shapes: &HashMap<String, Vec<usize>>) -> KeyMap {
    let mut map = KeyMap::new();
    for (name, dims) in shapes {
        let Some(inner) = name.strip_prefix(prefix) else {
            continue;
        };
        let stored = |rows, dims: Vec<usize>, transposed| StoredTensor {
            name: name.clone(),
            rows,
            dims,
            transposed,
        };
        let diffusers = renames.to_diffusers(inner);
        if let Some((module, kind)) = diffusers.split_once(".in_proj_") {
            let third = dims.first().map_or(0, |rows| rows / 3);
            for (i, projection) in ["q_proj", "k_proj", "v_proj"].iter().enumerate() {
                let (rows, mut dims) = (i * third..(i + 1) * third, dims.clone());
                dims.iter_mut().take(1).for_each(|rows| *rows = third);
                map.insert(
                    format!("{module}.{projection}.{kind}"),
                    stored(Some(rows), dims, false),
                );
            }
        } else if inner == "text_projection" {
            let dims = dims.iter().rev().copied().collect();
            map.insert(diffusers, stored(None, dims, true));
        } else {
            map.insert(diffusers, stored(None, dims.clone(), false));
        }
    }
    map
}

/// Gives a VAE's attention layers the shapes of linear layers. Checkpoints store them as 1x1 convolutions.
pub fn flatten_attention(map: &mut KeyMap) {
    for (name, stored) in map.iter_mut() {
        if name.contains(".attentions.") && stored.dims.ends_with(&[1, 1]) {
            stored.dims.truncate(2);
        }
    }
}
