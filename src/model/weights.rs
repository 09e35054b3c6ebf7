//! Tensors of one safetensors file by name, as f32. Owns the mapping of weight files into memory and
//! the errors that name a tensor and its file. Nothing but safetensors is ever loaded.

use std::sync::Arc;

use candle_core::safetensors::{Load, MmapedSafetensors, SliceSafetensors};
use candle_core::{DType, Device, Shape, Tensor};
use sha2::{Digest, Sha256};

use super::files::{Files, Source};
use crate::error::{Error, Result};

/// A view into a file's tensors, below a prefix.
#[derive(Clone)]
pub struct Weights {
    file: Arc<File>,
    prefix: String,
}

struct File {
    name: String,
    tensors: Tensors,
}

enum Tensors {
    Mapped(MmapedSafetensors),
    Bytes(SliceSafetensors<'static>),
}

impl Weights {
    pub fn open(files: &Files, path: &str) -> Result<Self> {
        let name = files.name(path);
        let torn = |e: candle_core::Error| {
            Error::model(
                format!("{name} is not a whole safetensors file: {}", first_line(&e)),
                "it was cut short or is of another kind; fetch it again",
            )
        };
        let tensors = match files.source(path)? {
            // SAFETY: the map is read only while this process runs; a file that another process
            // shortens meanwhile is the known risk of every mapped weight file.
            Source::File(path) => {
                Tensors::Mapped(unsafe { MmapedSafetensors::new(path) }.map_err(torn)?)
            }
            Source::Bytes(bytes) => Tensors::Bytes(SliceSafetensors::new(bytes).map_err(torn)?),
        };
        Ok(Self {
            file: Arc::new(File { name, tensors }),
            prefix: String::new(),
        })
    }

    /// The tensors below `name.`.
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        let prefix = match self.prefix.as_str() {
            "" => name.to_string(),
            prefix => format!("{prefix}.{name}"),
        };
        Self {
            file: self.file.clone(),
            prefix,
        }
    }

    fn path(&self, name: &str) -> String {
        self.pp(name).prefix
    }

    pub fn has(&self, name: &str) -> bool {
        self.dims(name).is_some()
    }

    /// A tensor's shape, where there is such a tensor.
    pub fn dims(&self, name: &str) -> Option<Vec<usize>> {
        let path = self.path(name);
        let view = match &self.file.tensors {
            Tensors::Mapped(t) => t.get(&path).ok(),
            Tensors::Bytes(t) => t.get(&path).ok(),
        };
        view.map(|v| v.shape().to_vec())
    }

    /// A tensor as f32 on the CPU.
    ///
    /// Errors: it is missing, or of another shape than the model's config says.
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        let (shape, path, file) = (shape.into(), self.path(name), &self.file.name);
        let Some(dims) = self.dims(name) else {
            return Err(Error::model(
                format!("{file} has no tensor {path}"),
                "the weights and the config.json beside them are not of one model; fetch both again",
            ));
        };
        if dims != shape.dims() {
            return Err(Error::model(
                format!(
                    "{path} in {file} is {dims:?}, but the config asks for {:?}",
                    shape.dims()
                ),
                "the weights and the config.json beside them are not of one model; fetch both again",
            ));
        }
        let loaded = match &self.file.tensors {
            Tensors::Mapped(t) => t.load(&path, &Device::Cpu),
            Tensors::Bytes(t) => t.get(&path).and_then(|view| view.load(&Device::Cpu)),
        };
        Ok(loaded?.to_dtype(DType::F32)?)
    }
}

fn first_line(e: &candle_core::Error) -> String {
    let text = e.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// SHA-256 over whole files, one after another, in hex.
pub fn sha256(files: &Files, paths: &[String]) -> Result<String> {
    let mut hash = Sha256::new();
    for path in paths {
        match files.source(path)? {
            Source::Bytes(bytes) => hash.update(bytes),
            Source::File(path) => {
                let read = std::fs::File::open(&path)
                    .and_then(|mut file| std::io::copy(&mut file, &mut hash));
                read.map_err(|e| {
                    Error::model(
                        format!("cannot read {}: {e}", path.display()),
                        "check the disk",
                    )
                })?;
            }
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
