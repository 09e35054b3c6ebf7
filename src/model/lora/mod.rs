//! LoRA files (Hu et al., 2022): small products that are added to a model's weights as these are read.
//! Owns which file adds what to which tensor. Never knows a layer.

mod merge;
mod names;

pub use merge::Additions;
pub use names::Targets;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::merge::Product;
use self::names::{LoraTensor, refused, split};
use super::checkpoint::{check_ending, file_name};
use super::source::LoraSource;
use super::tensor_file::TensorFile;
use super::weights::file_sha256;
use crate::error::{Error, Result};
use crate::hub::{Cached, Name};

/// What of a LoRA determines a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraId {
    /// Of the file, without its folder; of one of the hub the address of its page.
    pub name: String,
    pub sha256: String,
    pub scale: f64,
}

impl std::fmt::Display for LoraId {
    /// As `--lora` takes it, but for the folder of a file here.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.scale)
    }
}

/// What several LoRAs add, component by component: UNet, text encoder, second text encoder.
#[derive(Debug, Clone, Default)]
pub struct Loras {
    pub ids: Vec<LoraId>,
    pub components: [Arc<Additions>; 3],
}

impl Loras {
    /// `targets` are the model's components, in the same order.
    ///
    /// Errors: usage, where a file is no LoRA, of a kind that is not implemented, or of another model.
    pub fn open(sources: &[LoraSource], targets: &[Targets]) -> Result<Self> {
        let mut all = [(); 3].map(|()| Additions::default());
        let mut ids = vec![];
        for source in sources {
            let lora = Lora::open(source)?;
            lora.add(source.scale, targets, &mut all)?;
            ids.push(LoraId {
                name: match Cached::of(&source.path) {
                    Some(Cached {
                        id, commit, file, ..
                    }) => {
                        let file = Some(file);
                        Name { id, file }.page(&commit)
                    }
                    None => file_name(&source.path),
                },
                sha256: file_sha256(&source.path)?,
                scale: source.scale,
            });
        }
        let components = all.map(Arc::new);
        Ok(Self { ids, components })
    }
}

/// The tensors of a layer's product.
#[derive(Debug, Default)]
struct Factors {
    down: Option<String>,
    up: Option<String>,
    alpha: Option<String>,
}

/// What shows before it is read.
pub(super) fn check_file(path: &Path) -> Result<()> {
    check_ending(path)?;
    match path.is_file() {
        true => Ok(()),
        false => Err(Error::usage(
            format!("--lora {} is not a file", path.display()),
            "write --lora FILE or --lora FILE=SCALE, of a .safetensors file",
        )),
    }
}

struct Lora {
    file: Arc<TensorFile>,
    /// By the layer's name in the file.
    layers: BTreeMap<String, Factors>,
}

impl Lora {
    fn open(source: &LoraSource) -> Result<Self> {
        let shown = source.path.display().to_string();
        check_file(&source.path)?;
        let file = TensorFile::open(&source.path, &format!("--lora {shown}"))?;
        let mut keys: Vec<String> = file.shapes().into_keys().collect();
        keys.sort_unstable();
        let mut layers: BTreeMap<String, Factors> = BTreeMap::new();
        for key in keys {
            if let Some(kind) = refused(&key) {
                return Err(Error::usage(
                    format!("--lora {shown} is {kind} ({key}), which is not implemented"),
                    "take one of plain LoRA layers, or merge it into a checkpoint with the tool that made it",
                ));
            }
            let Some((layer, role)) = split(&key) else {
                return Err(Error::usage(
                    format!("--lora {shown} is no LoRA: it has a tensor {key}"),
                    "give a LoRA file; a whole model is given with --model",
                ));
            };
            let factors = layers.entry(layer).or_default();
            match role {
                LoraTensor::Down => factors.down = Some(key),
                LoraTensor::Up => factors.up = Some(key),
                LoraTensor::Alpha => factors.alpha = Some(key),
            }
        }
        let file = file.into();
        Ok(Self { file, layers })
    }

    fn add(&self, scale: f64, targets: &[Targets], all: &mut [Additions; 3]) -> Result<()> {
        let mut unknown = vec![];
        for (layer, factors) in &self.layers {
            let found = targets.iter().enumerate();
            let mut found = found.filter_map(|(i, t)| Some((i, t.find(i, layer)?)));
            let Some((i, (tensor, dims))) = found.next() else {
                unknown.push(layer.as_str());
                continue;
            };
            let product = self.product(layer, factors, scale)?;
            let numbers = |dims: &[usize]| dims.iter().product::<usize>();
            if numbers(&product.dims()) != numbers(dims) {
                return Err(self.other_model(format!(
                    "{layer} of {} is {:?}, {tensor} of the model {dims:?}",
                    self.file.name,
                    product.dims()
                )));
            }
            all[i].push(tensor, product);
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let some = unknown.iter().take(3).copied().collect::<Vec<_>>();
        Err(self.other_model(format!(
            "{} of the {} layers of {} are none of the model's, such as {}",
            unknown.len(),
            self.layers.len(),
            self.file.name,
            some.join(", ")
        )))
    }

    fn product(&self, layer: &str, factors: &Factors, scale: f64) -> Result<Product> {
        let (Some(down), Some(up)) = (&factors.down, &factors.up) else {
            let what = format!("{layer} of {} lacks one of its two factors", self.file.name);
            return Err(Error::usage(what, "fetch the file again"));
        };
        let dims = |name| self.file.dims(name).unwrap_or_default();
        let (d, u) = (dims(down), dims(up));
        let plain = u.len() >= 2 && d.len() >= 2 && u[2..].iter().all(|k| *k == 1);
        let rank = d.first().copied().unwrap_or_default();
        if !plain || rank == 0 || u[1] != rank {
            let what = format!(
                "{layer} of {}: {u:?} by {d:?} is no product",
                self.file.name
            );
            return Err(Error::usage(what, "take one of plain LoRA layers"));
        }
        let alpha = match &factors.alpha {
            Some(name) => {
                let alpha = self.file.read(name, None)?;
                let alpha = alpha.to_dtype(candle_core::DType::F64)?.flatten_all()?;
                alpha.to_vec1::<f64>()?.first().copied()
            }
            None => names::alpha(self.file.note("lora_adapter_metadata"), layer),
        };
        let factor = scale * alpha.map_or(1.0, |alpha| alpha / rank as f64);
        Ok(Product::new(&self.file, (up, down), factor as f32))
    }

    /// Which models it was made for, as far as its shapes tell.
    fn other_model(&self, cause: String) -> Error {
        let width = self.layers.iter().find_map(|(layer, factors)| {
            let key = layer.replace('.', "_");
            let reads_text = key.ends_with("attn2_to_k") || key.ends_with("attn2_processor_to_k");
            let down = factors.down.as_ref().filter(|_| reads_text)?;
            self.file.dims(down)?.get(1).copied()
        });
        let family = match width {
            Some(768) => "Stable Diffusion 1.x",
            Some(1024) => "Stable Diffusion 2.x",
            Some(2048) => "Stable Diffusion XL",
            _ => "another model",
        };
        Error::usage(
            cause,
            format!("it was made for {family}; take one that was made for this model's family"),
        )
    }
}
