//! About how much memory a model's runs take, from configs and the headers of weight files: known
//! before anything is loaded. The factors are measured ones, rounded up (`examples/bench`).

use candle_core::{DType, Device};

use super::ModelFolder;
use super::components::LARGE;
use super::weights::Weights;
use crate::error::Result;
use crate::kernels::Packing;

/// The binary, threads' scratch, vocabularies, and what the allocator keeps; of a graphics card its context.
const BASE: f64 = 170e6;
const CARD_BASE: f64 = 600e6;
/// Packed weights of a UNet and of a VAE against plain f32: transformed kernels of convolutions are larger
/// than themselves; late ones need room for a layer's.
const PACKED: f64 = 1.35;
const PACKED_LARGE: f64 = 1.55;
const LATE: f64 = 1.1;
const PACKED_VAE: f64 = 2.5;
/// Of a row with its unconditional half: in units of one f32 activation at the latents' size.
const ROW: f64 = 12.0;
/// The same of what candle's own operations copy, however many rows there are.
const PLAIN: f64 = 70.0;
/// Of a picture's decoding: in units of one f32 activation at the picture's size.
const DECODE: f64 = 6.0;
/// Of decoding in bands; and the bands that are worked on.
const TILED: f64 = 2.0;
const BANDS: f64 = 300e6;

/// What a run does to take less memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryOptions {
    /// Of the UNet.
    pub dtype: DType,
    pub vae_tiling: bool,
    /// `--fast`: the larger tiles.
    pub fast: bool,
    /// `--low-memory`: kernels are transformed when they are used, and parts are read in turn.
    pub low_memory: bool,
    /// Whether a large model's parts are read in turn in any case: where there is a single run.
    pub single: bool,
}

/// Bytes where UNet and VAE are computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Footprint {
    base: f64,
    /// Of text encoders, UNet and VAE.
    weights: [f64; 3],
    /// What denoising takes however many rows there are.
    denoise: f64,
    /// Each row, its unconditional half included.
    row: f64,
    /// One picture's decoding.
    decode: f64,
    /// Whether no two parts stand in memory at once.
    in_turn: bool,
}

impl Footprint {
    /// Of a run with so many rows, the source included.
    pub fn of(&self, rows: usize) -> u64 {
        let [text, unet, vae] = self.weights;
        let denoising = self.denoise + self.row * rows as f64;
        let most = match self.in_turn {
            true => text.max(unet + denoising).max(vae + self.decode),
            false => text + unet + vae + denoising.max(self.decode),
        };
        (self.base + most) as u64
    }

    /// Rows that fit into so many bytes: 0 where not even one does.
    pub fn rows_in(&self, bytes: u64) -> usize {
        if self.of(1) > bytes {
            return 0;
        }
        let [text, unet, vae] = self.weights;
        let beside = if self.in_turn { 0.0 } else { text + vae };
        let free = bytes as f64 - self.base - unet - beside - self.denoise;
        ((free / self.row) as usize).max(1)
    }
}

impl ModelFolder {
    /// Of runs one after another, for latents of a size `(height, width)`.
    ///
    /// Errors: model, where a weight file is missing or torn.
    pub fn footprint(&self, latents: (usize, usize)) -> Result<Footprint> {
        self.footprint_with(latents, self.memory_options(Packing::default(), false))
    }

    /// As the model is to be computed, its weights kept so, for a `single` run or many.
    pub fn memory_options(&self, packing: Packing, single: bool) -> MemoryOptions {
        MemoryOptions {
            dtype: self.compute.dtype,
            vae_tiling: self.compute.vae_tiling,
            fast: packing.large_tiles,
            low_memory: packing.on_demand,
            single,
        }
    }

    /// The same with another memory_options than the model's own.
    pub fn footprint_with(
        &self,
        (height, width): (usize, usize),
        memory_options: MemoryOptions,
    ) -> Result<Footprint> {
        let fast = self.compute.device.is_cpu() && memory_options.dtype == DType::F32;
        let latents = (height * width) as f64;
        let pixels = latents * self.vae.factor().pow(2) as f64;
        let bytes = |channels: &[usize]| 4.0 * channels.first().copied().unwrap_or(0) as f64;
        let unit = latents * bytes(&self.unet.block_out_channels);
        let picture = pixels * bytes(&self.vae.block_out_channels);
        let decode = DECODE * picture;
        Ok(Footprint {
            base: if self.on_a_card() { CARD_BASE } else { BASE },
            weights: self.weight_bytes(memory_options)?,
            denoise: if fast { 0.0 } else { PLAIN * unit },
            row: ROW * unit,
            decode: match memory_options.vae_tiling {
                true => decode.min(TILED * picture + BANDS),
                false => decode,
            },
            in_turn: memory_options.low_memory
                || (memory_options.single && self.unet_bytes()? >= LARGE),
        })
    }

    /// With memory of its own, where text encoders are not.
    fn on_a_card(&self) -> bool {
        matches!(self.compute.device, Device::Cuda(_))
    }

    /// Of text encoders, UNet and VAE.
    fn weight_bytes(&self, memory_options: MemoryOptions) -> Result<[f64; 3]> {
        let mut parameters = vec![];
        for file in self.weight_files()? {
            parameters.push(Weights::open(&self.files, &file)?.parameters() as f64);
        }
        let (unet, vae, text) = (parameters[0], parameters[1], &parameters[2..]);
        let cpu = self.compute.device.is_cpu();
        let packed = |factor: f64| match memory_options.low_memory {
            true => 4.0 * LATE,
            false => 4.0 * factor,
        };
        Ok([
            match self.on_a_card() {
                true => 0.0,
                false => 4.0 * text.iter().sum::<f64>(),
            },
            match (cpu, memory_options.dtype) {
                (true, DType::F32) if memory_options.fast => unet * packed(PACKED_LARGE),
                (true, DType::F32) => unet * packed(PACKED),
                (_, dtype) => unet * dtype.size_in_bytes() as f64,
            },
            vae * if cpu { packed(PACKED_VAE) } else { 4.0 },
        ])
    }
}
