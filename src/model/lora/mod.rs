//! LoRA files (Hu et al., 2022): products of two small matrices that are added to a model's weights while these are
//! loaded. Owns which file adds what to which tensor. Never knows what a layer computes.

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
use super::component::ByComponent;
use super::source::LoraSource;
use super::tensor_file::TensorFile;
use super::weights::file_sha256;
use crate::error::{Error, Result};
use crate::hub::{Cached, Name};
use crate::message;
use crate::setting::Setting;

/// What identifies a LoRA in a picture's metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraId {
    /// The file's name without its folder, or the address of its page on the hub.
    pub name: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// The factor of what the LoRA adds.
    pub scale: f64,
}

impl std::fmt::Display for LoraId {
    /// `NAME=SCALE`, as the setting takes it; the folder of a file on this machine is missing.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.name, self.scale)
    }
}

/// What several LoRAs add to each component.
#[derive(Debug, Clone, Default)]
pub struct Loras {
    /// The LoRAs in the order in which they are added.
    pub ids: Vec<LoraId>,
    /// The products that are added to each component's weights.
    pub additions: ByComponent<Arc<Additions>>,
}

impl Loras {
    /// Opens LoRA files and finds the weights that they add to.
    ///
    /// # Errors
    /// [`Error::Usage`] about the LoRA, where a file is no LoRA, of a kind that is not supported, or of another
    /// model.
    pub fn open(sources: &[LoraSource], targets: &ByComponent<Targets>) -> Result<Self> {
        let mut all = ByComponent::<Additions>::new();
        let mut ids = vec![];
        for source in sources {
            let added =
                Lora::open(source).and_then(|lora| lora.add_to(targets, source.scale, &mut all));
            added.map_err(|error| error.about(Setting::Lora))?;
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
        let additions = all.into_iter().map(|(c, added)| (c, Arc::new(added)));
        Ok(Self {
            ids,
            additions: additions.collect(),
        })
    }
}

/// The names of a layer's tensors.
#[derive(Debug, Default)]
struct Factors {
    down: Option<String>,
    up: Option<String>,
    alpha: Option<String>,
}

/// Checks that a LoRA is a file and no pickle, before it is read.
pub(super) fn check_file(path: &Path) -> Result<()> {
    let about = |error: Error| error.about(Setting::Lora);
    check_ending(path).map_err(about)?;
    if path.is_file() {
        return Ok(());
    }
    let cause = message![Setting::Lora.to(path.display()), " is not a file"];
    let cure = message![
        "write ",
        Setting::Lora.to("FILE"),
        " or ",
        Setting::Lora.to("FILE=SCALE"),
        ", of a .safetensors file",
    ];
    Err(about(Error::usage(cause, cure)))
}

struct Lora {
    file: Arc<TensorFile>,
    /// By the layers' names in the file.
    layers: BTreeMap<String, Factors>,
}

impl Lora {
    fn open(source: &LoraSource) -> Result<Self> {
        let shown = source.path.display();
        check_file(&source.path)?;
        let file = TensorFile::open(&source.path, &shown.to_string())?;
        let mut keys: Vec<String> = file.shapes().into_keys().collect();
        keys.sort_unstable();
        let mut layers: BTreeMap<String, Factors> = BTreeMap::new();
        for key in keys {
            if let Some(kind) = refused(&key) {
                return Err(Error::usage(
                    message![
                        Setting::Lora.to(shown),
                        format!(" is {kind} ({key}), which is not supported"),
                    ],
                    "use one with plain LoRA layers, or merge it into a checkpoint with the tool that made it",
                ));
            }
            let Some((layer, role)) = split(&key) else {
                return Err(Error::usage(
                    message![
                        Setting::Lora.to(shown),
                        format!(" is no LoRA: it has a tensor {key}"),
                    ],
                    message![
                        "give a LoRA file; a whole model is given with ",
                        Setting::Model
                    ],
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

    /// Adds every layer's product to the weights of the component that has the layer.
    fn add_to(
        &self,
        targets: &ByComponent<Targets>,
        scale: f64,
        all: &mut ByComponent<Additions>,
    ) -> Result<()> {
        let mut unknown = vec![];
        for (layer, factors) in &self.layers {
            let mut found = targets.iter();
            let found = found.find_map(|(c, targets)| Some((*c, targets.find(layer)?)));
            let Some((component, (tensor, dims))) = found else {
                unknown.push(layer.as_str());
                continue;
            };
            let product = self.product(layer, factors, scale)?;
            let count = |dims: &[usize]| dims.iter().product::<usize>();
            if count(&product.dims()) != count(dims) {
                return Err(self.wrong_model(format!(
                    "{layer} of {} is {:?}, but {tensor} of the model is {dims:?}",
                    self.file.name,
                    product.dims()
                )));
            }
            all.entry(component).or_default().push(tensor, product);
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let examples = unknown.iter().take(3).copied().collect::<Vec<_>>();
        Err(self.wrong_model(format!(
            "the model lacks {} of the {} layers of {}, such as {}",
            unknown.len(),
            self.layers.len(),
            self.file.name,
            examples.join(", ")
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
                "{layer} of {}: {u:?} and {d:?} are not the factors of a product",
                self.file.name
            );
            return Err(Error::usage(what, "use one with plain LoRA layers"));
        }
        let alpha = match &factors.alpha {
            Some(name) => {
                let alpha = self.file.read(name, None)?;
                let alpha = alpha.to_dtype(candle_core::DType::F64)?.flatten_all()?;
                alpha.to_vec1::<f64>()?.first().copied()
            }
            None => names::alpha(self.file.metadata("lora_adapter_metadata"), layer),
        };
        let factor = scale * alpha.map_or(1.0, |alpha| alpha / rank as f64);
        Ok(Product::new(&self.file, (up, down), factor as f32))
    }

    /// The error that the file was made for another model. The width of its text layers tells the family.
    fn wrong_model(&self, cause: String) -> Error {
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
            format!("it was made for {family}; use one that was made for this model's family"),
        )
    }
}
