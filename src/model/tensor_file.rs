//! Safetensors on disk, one file or the shards of an index: their headers, and tensors as they are asked
//! for. Nothing is mapped or kept: a mapped file would stand in memory beside what is made of it. Knows no
//! model.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use candle_core::safetensors::Load;
use candle_core::{Device, Tensor};
use safetensors::tensor::{Metadata, TensorInfo, TensorView};

use super::weight_files::{damaged, pieces};
use crate::error::{Error, Result};
use crate::hub::Cached;

#[derive(Debug)]
pub struct TensorFile {
    pub path: PathBuf,
    /// For people.
    pub name: String,
    /// One, or all that the index at `path` names.
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
    /// `path` is a safetensors file, or an index of some.
    ///
    /// Errors: model, where one is not whole.
    pub fn open(path: &Path, name: &str) -> Result<Self> {
        let paths = pieces(path, name)?;
        let shard = |piece: &PathBuf| {
            let (file, metadata, start) = open(piece).map_err(|e| {
                let wrong =
                    Cached::of(piece).filter(|cached| matches!(cached.is_right(piece), Ok(false)));
                match wrong {
                    Some(cached) => damaged(&cached),
                    None if piece == path => torn(name, &e),
                    None => torn(&piece.display().to_string(), &e),
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

    /// Where a tensor is, and what the header says of it.
    fn find(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        let mut shards = self.shards.iter();
        shards.find_map(|shard| Some((shard, shard.metadata.info(name)?)))
    }

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

    /// Bytes of a tensor; 0 where there is none.
    pub fn bytes(&self, name: &str) -> u64 {
        let (from, to) = self.find(name).map_or((0, 0), |(_, i)| i.data_offsets);
        (to - from) as u64
    }

    /// A tensor's type, such as `f16`; empty where there is none.
    pub fn dtype(&self, name: &str) -> String {
        let dtype = self.find(name).map(|(_, info)| info.dtype);
        dtype.map_or_else(String::new, |dtype| dtype.to_string().to_lowercase())
    }

    /// What the header says beside the tensors.
    pub fn note(&self, key: &str) -> Option<&str> {
        let mut notes = self
            .shards
            .iter()
            .filter_map(|s| s.metadata.metadata().as_ref());
        notes.find_map(|notes| notes.get(key)).map(String::as_str)
    }

    /// A tensor, or some of it along its first dimension, as it is stored.
    ///
    /// # Panics
    /// Where there is no such tensor or it has fewer rows.
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

/// That a file is no safetensors file.
pub(super) fn torn(name: &str, why: &str) -> Error {
    let first = why.lines().next().unwrap_or_default();
    Error::model(
        format!("{name} is not a whole safetensors file: {first}"),
        "it was cut short or is of another kind; fetch it again",
    )
}

/// A file's header, checked against its length.
fn open(path: &Path) -> std::result::Result<(std::fs::File, Metadata, u64), String> {
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
    Ok((file, metadata, start))
}
