//! Safetensors on disk, one file or the shards of an index: headers, and single tensors on request. Files
//! are read, not mapped: a mapped file would take memory beside the layers made of it. Never knows a model.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use candle_core::safetensors::Load;
use candle_core::{Device, Tensor};
use safetensors::tensor::{Metadata, TensorInfo, TensorView};

use super::weight_files::{damaged, shards_at};
use crate::error::{Error, Result};
use crate::hub::Cached;

/// The longest header in bytes that is read, as in the safetensors crate: a file must not make the program
/// allocate whatever length it claims.
const MAX_HEADER: u64 = 100_000_000;

/// An open safetensors file, or the shards of an index as one.
#[derive(Debug)]
pub struct TensorFile {
    /// The file or the index.
    pub path: PathBuf,
    /// The name that messages show.
    pub name: String,
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Shard {
    file: Mutex<std::fs::File>,
    metadata: Metadata,
    /// Bytes before the first tensor.
    start: u64,
}

impl TensorFile {
    /// Opens a safetensors file, or the shards of an index, and reads the headers.
    ///
    /// # Errors
    /// [`Error::Model`] where a file is missing, damaged or no safetensors file.
    pub fn open(path: &Path, name: &str) -> Result<Self> {
        let paths = shards_at(path, name)?;
        let shard = |shard: &PathBuf| {
            let (file, metadata, start) = open(shard).map_err(|e| {
                let wrong =
                    Cached::of(shard).filter(|cached| matches!(cached.is_right(shard), Ok(false)));
                match wrong {
                    Some(cached) => damaged(&cached),
                    None if shard == path => not_safetensors(name, &e),
                    None => not_safetensors(&shard.display().to_string(), &e),
                }
            })?;
            let file = Mutex::new(file);
            Ok(Shard {
                file,
                metadata,
                start,
            })
        };
        Ok(Self {
            path: path.to_owned(),
            name: name.to_owned(),
            shards: paths.iter().map(shard).collect::<Result<_>>()?,
        })
    }

    /// The shard that holds a tensor, and the header's entry.
    fn find(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        let mut shards = self.shards.iter();
        shards.find_map(|shard| Some((shard, shard.metadata.info(name)?)))
    }

    /// A tensor's shape. `None` where there is no such tensor.
    pub fn dims(&self, name: &str) -> Option<&[usize]> {
        Some(&self.find(name)?.1.shape)
    }

    /// Every tensor's name and shape.
    pub fn shapes(&self) -> HashMap<String, Vec<usize>> {
        let tensors = self.shards.iter().flat_map(|s| s.metadata.tensors());
        tensors
            .map(|(name, info)| (name, info.shape.clone()))
            .collect()
    }

    /// Bytes of a tensor; 0 where there is no such tensor.
    pub fn bytes(&self, name: &str) -> u64 {
        let (from, to) = self.find(name).map_or((0, 0), |(_, i)| i.data_offsets);
        (to - from) as u64
    }

    /// A tensor's dtype, such as `f16`; empty where there is no such tensor.
    pub fn dtype(&self, name: &str) -> String {
        let dtype = self.find(name).map(|(_, info)| info.dtype);
        dtype.map_or_else(String::new, |dtype| dtype.to_string().to_lowercase())
    }

    /// A value of the header's `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let mut all = self
            .shards
            .iter()
            .filter_map(|s| s.metadata.metadata().as_ref());
        all.find_map(|metadata| metadata.get(key))
            .map(String::as_str)
    }

    /// A tensor, or a range of its first dimension, in the dtype of the file.
    ///
    /// # Errors
    /// [`Error::Model`] where the disk fails.
    ///
    /// # Panics
    /// When there is no such tensor, or it has fewer rows.
    pub fn read(&self, name: &str, rows: Option<Range<usize>>) -> Result<Tensor> {
        let (shard, info) = self.find(name).expect("a tensor of the file");
        let mut shape = info.shape.clone();
        let (mut from, mut to) = info.data_offsets;
        if let Some(rows) = rows {
            let each = (to - from) / shape[0];
            (from, to) = (from + rows.start * each, from + rows.end * each);
            shape[0] = rows.len();
        }
        let bytes = shard.bytes_at(from, to).map_err(|e| {
            let what = format!("cannot read {name} of {}: {e}", self.name);
            Error::model(what, "check the disk, or fetch the file again")
        })?;
        let view = TensorView::new(info.dtype, shape, &bytes).map_err(candle_core::Error::wrap)?;
        Ok(view.load(&Device::Cpu)?)
    }
}

impl Shard {
    fn bytes_at(&self, from: usize, to: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; to - from];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.start + from as u64))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// The error that a file is damaged or no safetensors file.
pub(super) fn not_safetensors(name: &str, why: &str) -> Error {
    let first = why.lines().next().unwrap_or_default();
    Error::model(
        format!("{name} is not a whole safetensors file: {first}"),
        "the file was cut short or is of another kind; fetch it again",
    )
}

/// Opens a file and reads its header: the metadata, and where the tensors start.
fn open(path: &Path) -> std::result::Result<(std::fs::File, Metadata, u64), String> {
    let text = |e: std::io::Error| e.to_string();
    let mut file = std::fs::File::open(path).map_err(text)?;
    let whole = file.metadata().map_err(text)?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(text)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(format!(
            "its header claims {length} bytes, the limit is {MAX_HEADER}"
        ));
    }
    let start = length + 8;
    if start > whole {
        return Err("its header is longer than the file".to_owned());
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(text)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| e.to_string())?;
    let inside = |info: &&TensorInfo| {
        let (from, to) = info.data_offsets;
        from <= to && to as u64 <= whole - start
    };
    let all = metadata.tensors();
    if !all.values().all(inside) || metadata.data_len() as u64 != whole - start {
        return Err(format!(
            "it has {whole} bytes, its header says {}",
            start + metadata.data_len() as u64
        ));
    }
    Ok((file, metadata, start))
}
