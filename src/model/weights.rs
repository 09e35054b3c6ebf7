//! Tensors of one safetensors file by name, as f32. Owns the reading of weight files and the
//! errors that name a tensor and its file. Nothing but safetensors is ever loaded.

use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::safetensors::{Load, SliceSafetensors};
use candle_core::{DType, Device, Shape, Tensor};
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use sha2::{Digest, Sha256};

use super::files::{Files, Source};
use crate::error::{Error, Result};
use crate::kernels::Keep;

/// Where the tensors of a file are.
struct Header {
    metadata: Metadata,
    /// Bytes before the first tensor.
    start: u64,
}

/// A view into a file's tensors, below a prefix, and how layers are to keep them.
#[derive(Clone)]
pub struct Weights {
    file: Arc<File>,
    prefix: String,
    keep: Keep,
}

struct File {
    name: String,
    tensors: Tensors,
}

enum Tensors {
    /// Read tensor by tensor: a mapped file would stand in memory beside what is made of it.
    File(Mutex<std::fs::File>, Header),
    Bytes(SliceSafetensors<'static>),
    /// Every tensor of every shape, for measuring sizes that nobody has weights of.
    Random,
}

impl Weights {
    pub fn open(files: &Files, path: &str) -> Result<Self> {
        let name = files.name(path);
        let torn = |e: &dyn std::fmt::Display| {
            let first = e.to_string();
            let first = first.lines().next().unwrap_or_default();
            Error::model(
                format!("{name} is not a whole safetensors file: {first}"),
                "it was cut short or is of another kind; fetch it again",
            )
        };
        let tensors = match files.source(path)? {
            Source::File(path) => {
                let (file, header) = open(&path).map_err(|e| torn(&e))?;
                Tensors::File(Mutex::new(file), header)
            }
            Source::Bytes(bytes) => {
                Tensors::Bytes(SliceSafetensors::new(bytes).map_err(|e| torn(&e))?)
            }
        };
        Ok(Self {
            file: Arc::new(File { name, tensors }),
            prefix: String::new(),
            keep: Keep::default(),
        })
    }

    /// Seeded numbers for whatever a model asks for, about as large as PyTorch initialises them: to
    /// measure a size, not to draw.
    pub fn random() -> Self {
        let file = File {
            name: "random weights".to_owned(),
            tensors: Tensors::Random,
        };
        Self {
            file: Arc::new(file),
            prefix: String::new(),
            keep: Keep::default(),
        }
    }

    /// The same, kept in another way.
    pub fn kept(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    pub fn keep(&self) -> Keep {
        self.keep
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
            keep: self.keep,
        }
    }

    fn path(&self, name: &str) -> String {
        self.pp(name).prefix
    }

    pub fn has(&self, name: &str) -> bool {
        self.dims(name).is_some()
    }

    /// Numbers in the file, of all its tensors.
    pub fn parameters(&self) -> usize {
        let count = |shape: &[usize]| shape.iter().product::<usize>();
        match &self.file.tensors {
            Tensors::File(_, header) => {
                let tensors = header.metadata.tensors();
                tensors.values().map(|info| count(&info.shape)).sum()
            }
            Tensors::Bytes(t) => t
                .tensors()
                .iter()
                .map(|(_, view)| count(view.shape()))
                .sum(),
            Tensors::Random => 0,
        }
    }

    /// A tensor's shape, where there is such a tensor.
    pub fn dims(&self, name: &str) -> Option<Vec<usize>> {
        let path = self.path(name);
        match &self.file.tensors {
            Tensors::File(_, header) => Some(header.metadata.info(&path)?.shape.clone()),
            Tensors::Bytes(t) => Some(t.get(&path).ok()?.shape().to_vec()),
            Tensors::Random => None,
        }
    }

    /// A tensor as f32 on the CPU.
    ///
    /// Errors: it is missing, or of another shape than the model's config says.
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        let (shape, path, file) = (shape.into(), self.path(name), &self.file.name);
        if let Tensors::Random = &self.file.tensors {
            return random(&path, &shape);
        }
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
            Tensors::File(of, header) => {
                let info = header.metadata.info(&path).expect("it has dimensions");
                let bytes = read(of, header, info).map_err(|e| {
                    let what = format!("cannot read {path} of {file}: {e}");
                    Error::model(what, "check the disk, or fetch the file again")
                })?;
                let view = TensorView::new(info.dtype, info.shape.clone(), &bytes);
                view.map_err(candle_core::Error::wrap)
                    .and_then(|view| view.load(&Device::Cpu))
            }
            Tensors::Bytes(t) => t.get(&path).and_then(|view| view.load(&Device::Cpu)),
            Tensors::Random => unreachable!("answered above"),
        };
        Ok(loaded?.to_dtype(DType::F32)?)
    }
}

/// Uniform numbers of a variance of one over the inputs; norms are left plain.
fn random(path: &str, shape: &Shape) -> Result<Tensor> {
    let dims = shape.dims();
    if dims.len() == 1 {
        let plain = if path.contains("norm") && path.ends_with("weight") {
            1.0
        } else {
            0.0
        };
        return Ok(Tensor::full(plain, dims, &Device::Cpu)?.to_dtype(DType::F32)?);
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

/// A file's header, checked against its length.
fn open(path: &std::path::Path) -> std::result::Result<(std::fs::File, Header), String> {
    let text = |e: std::io::Error| e.to_string();
    let mut file = std::fs::File::open(path).map_err(text)?;
    let whole = file.metadata().map_err(text)?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(text)?;
    let start = u64::from_le_bytes(length).saturating_add(8);
    if start > whole {
        return Err("its header is longer than the file".to_owned());
    }
    let mut header = vec![0; start as usize];
    file.rewind()
        .and_then(|()| file.read_exact(&mut header))
        .map_err(text)?;
    let metadata: Metadata = serde_json::from_slice(&header[8..]).map_err(|e| e.to_string())?;
    let inside = |info: &&TensorInfo| {
        let (from, to) = info.data_offsets;
        from <= to && to as u64 <= whole - start
    };
    let all = metadata.tensors();
    if !all.values().all(inside) || metadata.data_len() as u64 != whole - start {
        return Err(format!(
            "{whole} bytes, not the {} that its header says",
            start + metadata.data_len() as u64
        ));
    }
    Ok((file, Header { metadata, start }))
}

fn read(
    file: &Mutex<std::fs::File>,
    header: &Header,
    info: &TensorInfo,
) -> std::io::Result<Vec<u8>> {
    let (from, to) = info.data_offsets;
    let mut bytes = vec![0; to - from];
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(header.start + from as u64))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
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
