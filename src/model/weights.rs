//! Tensors of one safetensors file by name, in the dtype and on the device that layers compute with. Owns the
//! reading of weight files, and the errors that name a tensor and its file. Never loads another format than
//! safetensors.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::safetensors::{Load, SliceSafetensors};
use candle_core::{DType, Device, Shape, Tensor};
use sha2::{Digest, Sha256};

use super::checkpoint::CheckpointSection;
use super::files::{FileSource, ModelFiles};
use super::lora::Additions;
use super::tensor_file::{TensorFile, not_safetensors};
use super::weight_files::{damaged, shards_at};
use crate::error::{Error, Result};
use crate::format::hex;
use crate::hub::Cached;
use crate::kernels::Packing;

/// A view of a file's tensors below a prefix, and how layers store them.
#[derive(Clone)]
pub struct Weights {
    file: Arc<File>,
    prefix: String,
    packing: Packing,
    additions: Arc<Additions>,
    device: Device,
    dtype: DType,
}

struct File {
    name: String,
    tensors: Tensors,
}

enum Tensors {
    Section(Arc<CheckpointSection>),
    Bytes(SliceSafetensors<'static>),
    /// Any tensor of any shape, to measure models of sizes whose weights are not at hand.
    Random,
}

impl Weights {
    /// Opens a weight file of a model, or the index of its shards.
    ///
    /// # Errors
    /// [`Error::Model`] where the file is missing, damaged or no safetensors file.
    pub fn open(files: &ModelFiles, path: &str) -> Result<Self> {
        let name = files.name(path);
        let tensors = match files.source(path)? {
            FileSource::File(path) => {
                Tensors::Section(CheckpointSection::whole(TensorFile::open(&path, &name)?).into())
            }
            FileSource::Section(section) => Tensors::Section(section),
            FileSource::Bytes(bytes) => {
                let slices = SliceSafetensors::new(bytes);
                Tensors::Bytes(slices.map_err(|e| not_safetensors(&name, &e.to_string()))?)
            }
            FileSource::Text(_) => return Err(not_safetensors(&name, "it is text")),
        };
        Ok(Self::of(File { name, tensors }))
    }

    fn of(file: File) -> Self {
        Self {
            file: Arc::new(file),
            prefix: String::new(),
            packing: Packing::default(),
            additions: Arc::default(),
            device: Device::Cpu,
            dtype: DType::F32,
        }
    }

    /// Seeded random weights for any model, about as large as PyTorch initialises them. They serve to measure
    /// a model, not to draw.
    pub fn random() -> Self {
        Self::of(File {
            name: "random weights".to_owned(),
            tensors: Tensors::Random,
        })
    }

    /// These weights with what LoRAs add to them.
    pub(super) fn with_additions(self, additions: Arc<Additions>) -> Self {
        Self { additions, ..self }
    }

    /// Every tensor's name and shape.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let names = match &self.file.tensors {
            Tensors::Section(section) => section.names(),
            Tensors::Bytes(t) => t.tensors().into_iter().map(|(name, _)| name).collect(),
            Tensors::Random => vec![],
        };
        let shape = |name: String| Some((self.dims(&name)?, name));
        let shapes = names.into_iter().filter_map(shape);
        shapes.map(|(dims, name)| (name, dims)).collect()
    }

    /// These weights, for layers that store them in another way.
    pub fn packed_as(self, packing: Packing) -> Self {
        Self { packing, ..self }
    }

    /// How layers store the weights.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// These weights on another device and in another dtype. The default is f32 on the CPU.
    pub fn on(self, device: &Device, dtype: DType) -> Self {
        let device = device.clone();
        Self {
            device,
            dtype,
            ..self
        }
    }

    /// The device and the dtype of the tensors.
    pub fn placement(&self) -> (Device, DType) {
        (self.device.clone(), self.dtype)
    }

    /// The tensors whose names begin with `name.`, without that prefix.
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        let prefix = match self.prefix.as_str() {
            "" => name.to_string(),
            prefix => format!("{prefix}.{name}"),
        };
        Self {
            prefix,
            ..self.clone()
        }
    }

    fn path(&self, name: &str) -> String {
        self.pp(name).prefix
    }

    /// Whether there is a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.dims(name).is_some()
    }

    /// How many parameters all tensors have together.
    pub fn parameters(&self) -> usize {
        let count = |shape: &[usize]| shape.iter().product::<usize>();
        match &self.file.tensors {
            Tensors::Section(section) => section.parameters(),
            Tensors::Bytes(t) => t
                .tensors()
                .iter()
                .map(|(_, view)| count(view.shape()))
                .sum(),
            Tensors::Random => 0,
        }
    }

    /// A tensor's shape. `None` where there is no such tensor.
    pub fn dims(&self, name: &str) -> Option<Vec<usize>> {
        let path = self.path(name);
        match &self.file.tensors {
            Tensors::Section(section) => section.dims(&path),
            Tensors::Bytes(t) => Some(t.get(&path).ok()?.shape().to_vec()),
            Tensors::Random => None,
        }
    }

    /// A tensor, with what LoRAs add to it.
    ///
    /// # Errors
    /// [`Error::Model`] where the tensor is missing, or of another shape than the config says.
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        let (shape, path, file) = (shape.into(), self.path(name), &self.file.name);
        if let Tensors::Random = &self.file.tensors {
            return self.placed(random(&path, &shape)?);
        }
        let mismatch = |cause: String| {
            Error::model(
                cause,
                "the weights and the config.json beside them are not of one model; fetch both again",
            )
        };
        let Some(dims) = self.dims(name) else {
            return Err(mismatch(format!("{file} has no tensor {path}")));
        };
        let wanted = shape.dims();
        if dims != wanted {
            return Err(mismatch(format!(
                "{path} in {file} is {dims:?}, but the config asks for {wanted:?}"
            )));
        }
        let loaded = match &self.file.tensors {
            Tensors::Section(section) => section.read(&path)?,
            Tensors::Bytes(t) => t.get(&path)?.load(&Device::Cpu)?,
            Tensors::Random => unreachable!("handled above"),
        };
        let tensor = loaded.to_dtype(DType::F32)?;
        self.placed(self.additions.add_to(&path, tensor)?)
    }

    fn placed(&self, tensor: Tensor) -> Result<Tensor> {
        Ok(tensor.to_dtype(self.dtype)?.to_device(&self.device)?)
    }
}

/// Uniform random weights whose variance is one over the inputs. Norms get ones, biases zeros.
fn random(path: &str, shape: &Shape) -> Result<Tensor> {
    let dims = shape.dims();
    if dims.len() == 1 {
        let constant = if path.contains("norm") && path.ends_with("weight") {
            1.0
        } else {
            0.0
        };
        return Ok(Tensor::full(constant, dims, &Device::Cpu)?.to_dtype(DType::F32)?);
    }
    let inputs: usize = dims[1..].iter().product();
    let bound = (3.0 / inputs as f32).sqrt();
    let mut state = path.bytes().fold(1u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3)
    });
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * bound
    };
    Ok(Tensor::from_vec(
        (0..shape.elem_count()).map(next).collect(),
        dims,
        &Device::Cpu,
    )?)
}

/// SHA-256 over whole files, one after another, in hex. A file that holds several components counts once, an
/// index counts as its shards.
pub fn sha256(files: &ModelFiles, paths: &[String]) -> Result<String> {
    let mut hash = Sha256::new();
    let mut seen: HashSet<PathBuf> = HashSet::new();
    for path in paths {
        match files.source(path)? {
            FileSource::Bytes(bytes) => hash.update(bytes),
            FileSource::Text(text) => hash.update(&text),
            FileSource::File(file) => {
                let shards = shards_at(&file, &files.name(path))?;
                shards
                    .iter()
                    .try_for_each(|shard| update(&mut hash, shard))?;
            }
            FileSource::Section(section) if seen.insert(section.file.path.clone()) => {
                update(&mut hash, &section.file.path)?;
            }
            FileSource::Section(_) => {}
        }
    }
    Ok(hex(hash.finalize()))
}

/// SHA-256 of one file, in hex.
pub fn file_sha256(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    update(&mut hash, path)?;
    Ok(hex(hash.finalize()))
}

/// Adds a file's bytes to a hash. A file in the hub's cache is named by its own hash, so damage since the
/// download shows here.
fn update(hash: &mut Sha256, path: &Path) -> Result<()> {
    let failed = |e| {
        Error::model(
            format!("cannot read {}: {e}", path.display()),
            "check the disk",
        )
    };
    let cached = Cached::of(path);
    let mut own = cached.as_ref().map(|_| Sha256::new());
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut piece).map_err(failed)?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        if let Some(own) = &mut own {
            own.update(&piece[..read]);
        }
    }
    match cached.zip(own.map(|own| hex(own.finalize()))) {
        Some((cached, own)) if cached.differs(&own) => Err(damaged(&cached)),
        _ => Ok(()),
    }
}
