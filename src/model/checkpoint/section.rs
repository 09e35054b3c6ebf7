//! A component's tensors in a safetensors file, under diffusers' names, whatever the file calls them.

use std::collections::HashSet;

use candle_core::Tensor;

use super::names::KeyMap;
use crate::error::Result;
use crate::model::tensor_file::TensorFile;

#[derive(Debug)]
pub struct CheckpointSection {
    pub file: std::sync::Arc<TensorFile>,
    /// `None` where the file has diffusers' names and nothing but this component.
    map: Option<KeyMap>,
}

impl CheckpointSection {
    /// All of a file, as it stands.
    pub fn whole(file: TensorFile) -> Self {
        Self {
            file: file.into(),
            map: None,
        }
    }

    /// The same of a file that is open.
    pub fn shared(file: std::sync::Arc<TensorFile>) -> Self {
        Self { file, map: None }
    }

    pub fn mapped(file: std::sync::Arc<TensorFile>, map: KeyMap) -> Self {
        Self {
            file,
            map: Some(map),
        }
    }

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

    /// Numbers in it.
    pub fn parameters(&self) -> usize {
        let count = |dims: &[usize]| dims.iter().product::<usize>();
        match &self.map {
            None => self.file.shapes().values().map(|dims| count(dims)).sum(),
            Some(map) => map.values().map(|stored| count(&stored.dims)).sum(),
        }
    }

    /// Bytes of it on disk.
    pub fn bytes(&self) -> u64 {
        let names: HashSet<String> = match &self.map {
            None => self.file.shapes().into_keys().collect(),
            Some(map) => map.values().map(|stored| stored.name.clone()).collect(),
        };
        names.iter().map(|name| self.file.bytes(name)).sum()
    }

    /// A tensor in diffusers' shape, of the type it is stored in.
    ///
    /// # Panics
    /// Where there is no such tensor.
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let Some(map) = &self.map else {
            return self.file.read(name, None);
        };
        let stored = &map[name];
        let tensor = self.file.read(&stored.name, stored.rows.clone())?;
        Ok(match stored.transposed {
            true => tensor.t()?.contiguous()?,
            false => tensor.reshape(stored.dims.as_slice())?,
        })
    }
}
