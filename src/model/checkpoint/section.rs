//! A component's tensors in a safetensors file, by diffusers' names, whatever the file calls them. Never knows
//! which component it is.

use std::collections::HashSet;

use candle_core::Tensor;

use super::names::KeyMap;
use crate::error::Result;
use crate::model::tensor_file::TensorFile;

/// The tensors of one component in a file.
#[derive(Debug)]
pub struct CheckpointSection {
    /// The file.
    pub file: std::sync::Arc<TensorFile>,
    /// `None` where the file has diffusers' names and holds this component only.
    map: Option<KeyMap>,
}

impl CheckpointSection {
    /// All tensors of a file by the file's own names.
    pub fn whole(file: impl Into<std::sync::Arc<TensorFile>>) -> Self {
        Self {
            file: file.into(),
            map: None,
        }
    }

    /// Some tensors of a file by other names.
    pub fn mapped(file: std::sync::Arc<TensorFile>, map: KeyMap) -> Self {
        Self {
            file,
            map: Some(map),
        }
    }

    /// A tensor's shape in diffusers. `None` where there is no such tensor.
    pub fn dims(&self, name: &str) -> Option<Vec<usize>> {
        match &self.map {
            None => self.file.dims(name).map(<[usize]>::to_vec),
            Some(map) => Some(map.get(name)?.dims.clone()),
        }
    }

    /// Every tensor's name.
    pub fn names(&self) -> Vec<String> {
        match &self.map {
            None => self.file.shapes().into_keys().collect(),
            Some(map) => map.keys().cloned().collect(),
        }
    }

    /// How many parameters all tensors have together.
    pub fn parameters(&self) -> usize {
        let count = |dims: &[usize]| dims.iter().product::<usize>();
        match &self.map {
            None => self.file.shapes().values().map(|dims| count(dims)).sum(),
            Some(map) => map.values().map(|stored| count(&stored.dims)).sum(),
        }
    }

    /// Bytes of all tensors on disk.
    pub fn bytes(&self) -> u64 {
        let names: HashSet<String> = match &self.map {
            None => self.file.shapes().into_keys().collect(),
            Some(map) => map.values().map(|stored| stored.name.clone()).collect(),
        };
        names.iter().map(|name| self.file.bytes(name)).sum()
    }

    /// A tensor in diffusers' shape, in the dtype of the file.
    ///
    /// # Panics
    /// When there is no such tensor.
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let Some(map) = &self.map else {
            return self.file.read(name, None);
        };
        let stored = &map[name];
        let tensor = self.file.read(&stored.name, stored.rows.clone())?;
        if stored.transposed {
            Ok(tensor.t()?.contiguous()?)
        } else {
            Ok(tensor.reshape(stored.dims.as_slice())?)
        }
    }
}
