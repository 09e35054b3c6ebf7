//! About how much memory a model's runs take, from configs and the headers of weight files: known
//! before anything is loaded. The factors are measured ones, rounded up (`examples/bench`).

use super::ModelFolder;
use super::weights::Weights;
use crate::error::Result;

/// Packed weights against plain f32: transformed kernels of convolutions are larger than themselves.
const PACKED: f64 = 1.6;
/// The binary, threads' scratch, and what the allocator keeps.
const BASE: f64 = 60e6;
/// Of a row with its unconditional half: in units of one activation at the latents' size.
const ROW: f64 = 12.0;
/// Of a picture's decoding: in units of one activation at the picture's size.
const DECODE: f64 = 6.0;

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Footprint {
    /// However many rows there are.
    pub fixed: f64,
    /// Each row, its unconditional half included.
    pub row: f64,
}

impl Footprint {
    /// Of a run with so many rows, the source included.
    pub fn of(&self, rows: usize) -> u64 {
        (self.fixed + self.row * rows as f64) as u64
    }

    /// Rows that fit into so many bytes: 0 where not even the weights do.
    pub fn rows_in(&self, bytes: u64) -> usize {
        ((bytes as f64 - self.fixed) / self.row).max(0.0) as usize
    }
}

impl ModelFolder {
    /// For latents of a size `(height, width)`.
    ///
    /// Errors: model, where a weight file is missing or torn.
    pub fn footprint(&self, (height, width): (usize, usize)) -> Result<Footprint> {
        let mut parameters = 0;
        for file in self.weight_files()? {
            parameters += Weights::open(&self.files, &file)?.parameters();
        }
        let latents = (height * width) as f64;
        let pixels = latents * self.vae.factor().pow(2) as f64;
        let bytes = |channels: &[usize]| 4.0 * channels.first().copied().unwrap_or(0) as f64;
        let decode = DECODE * pixels * bytes(&self.vae.block_out_channels);
        Ok(Footprint {
            fixed: BASE + PACKED * 4.0 * parameters as f64 + decode,
            row: ROW * latents * bytes(&self.unet.block_out_channels),
        })
    }
}
