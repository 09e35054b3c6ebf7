//! The sums of weights and LoRA products, in f32 and in a fixed order, so that bits do not depend on threads. Never
//! knows names of layers in a LoRA file.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::error::Result;
use crate::model::tensor_file::TensorFile;

/// The products that are added to tensors, by the tensors' names.
#[derive(Debug, Default)]
pub struct Additions(HashMap<String, Vec<Product>>);

/// `factor * up @ down`; a convolution's kernel counts as further columns of `down`.
#[derive(Debug)]
pub struct Product {
    file: Arc<TensorFile>,
    up: String,
    down: String,
    factor: f32,
}

impl Additions {
    /// Adds a product to those of a tensor.
    pub fn push(&mut self, tensor: &str, product: Product) {
        self.0.entry(tensor.to_owned()).or_default().push(product);
    }

    /// A tensor of f32 on the CPU plus its products.
    pub fn add_to(&self, name: &str, tensor: Tensor) -> Result<Tensor> {
        let Some(products) = self.0.get(name) else {
            return Ok(tensor);
        };
        let dims = tensor.dims().to_vec();
        let mut sum: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        for product in products {
            product.add_to(&mut sum)?;
        }
        Ok(Tensor::from_vec(sum, dims, &Device::Cpu)?)
    }
}

impl Product {
    /// A product of two tensors of a file, `(up, down)`.
    pub fn new(file: &Arc<TensorFile>, (up, down): (&str, &str), factor: f32) -> Self {
        Self {
            file: file.clone(),
            up: up.to_owned(),
            down: down.to_owned(),
            factor,
        }
    }

    /// The shape of the product.
    pub fn dims(&self) -> Vec<usize> {
        let dims = |name: &str| self.file.dims(name).unwrap_or_default().to_vec();
        let (up, down) = (dims(&self.up), dims(&self.down));
        [&up[..1], &down[1..]].concat()
    }

    fn add_to(&self, sum: &mut [f32]) -> Result<()> {
        let read = |name: &str| -> Result<Vec<f32>> {
            let tensor = self.file.read(name, None)?.to_dtype(DType::F32)?;
            Ok(tensor.flatten_all()?.to_vec1()?)
        };
        let (up, down) = (read(&self.up)?, read(&self.down)?);
        let rows = self.dims()[0];
        let (rank, columns) = (up.len() / rows, sum.len() / rows);
        let out = sum.par_chunks_mut(columns).zip(up.par_chunks(rank));
        out.for_each(|(out, up)| {
            let mut row = vec![0f32; columns];
            for (weight, down) in up.iter().zip(down.chunks(columns)) {
                row.iter_mut().zip(down).for_each(|(r, d)| *r += weight * d);
            }
            let scaled = row.iter().map(|r| self.factor * r);
            out.iter_mut().zip(scaled).for_each(|(o, r)| *o += r);
        });
        Ok(())
    }
}
