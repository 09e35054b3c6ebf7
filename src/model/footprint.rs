//! About how much memory a model's runs take, from configs and the headers of weight files: known before
//! anything is loaded. Owns the factors, which are measured and rounded up (`examples/bench`). Never knows how
//! much memory there is.

use candle_core::{DType, Device};

use super::ModelFolder;
use super::component::Component;
use super::components::LARGE;
use super::weights::Weights;
use crate::error::Result;
use crate::kernels::Packing;

/// Bytes of the binary, of threads' scratch, of vocabularies, and of what the allocator holds back.
const BASE: f64 = 170e6;
/// Bytes of a graphics card's context.
const CARD_BASE: f64 = 600e6;
/// Packed weights of a UNet relative to plain f32: convolution kernels are larger in transformed form.
const PACKED: f64 = 1.35;
/// Packed weights of a UNet with the large tiles.
const PACKED_LARGE: f64 = 1.55;
/// Weights whose kernels are transformed on demand, with room for one layer's kernels.
const PACKED_ON_DEMAND: f64 = 1.1;
/// Packed weights of a VAE relative to plain f32.
const PACKED_VAE: f64 = 2.5;
/// A row with its unconditional half, in units of one f32 activation at the latents' size.
const ROW: f64 = 12.0;
/// What candle's own operations copy, in the same units, however many rows there are.
const PLAIN: f64 = 70.0;
/// Decoding a picture, in units of one f32 activation at the picture's size.
const DECODE: f64 = 6.0;
/// Decoding a picture in bands, in the same units.
const TILED: f64 = 2.0;
/// Bytes of the bands in work.
const BANDS: f64 = 300e6;

/// The choices that decide how much memory a run takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryOptions {
    /// The dtype of the UNet.
    pub dtype: DType,
    /// Whether pictures are decoded in bands of rows.
    pub vae_tiling: bool,
    /// Whether convolutions use the large tiles.
    pub fast: bool,
    /// Whether kernels are transformed on demand, and components are loaded one at a time.
    pub low_memory: bool,
    /// Whether there is a single run, for which components of a large model are loaded one at a time anyway.
    pub single: bool,
}

/// The memory of a run where UNet and VAE compute, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Footprint {
    base: f64,
    weights: WeightBytes,
    /// Denoising, however many rows there are.
    denoise: f64,
    /// Each row, with its unconditional half.
    row: f64,
    /// Decoding one picture.
    decode: f64,
    /// Whether memory holds one component at a time.
    one_at_a_time: bool,
}

/// Bytes of the weights of each component.
#[derive(Debug, Clone, Copy, PartialEq)]
struct WeightBytes {
    text_encoders: f64,
    unet: f64,
    vae: f64,
}

impl Footprint {
    /// Bytes of a run with `rows` rows, the source included.
    pub fn of(&self, rows: usize) -> u64 {
        let WeightBytes {
            text_encoders: text,
            unet,
            vae,
        } = self.weights;
        let denoising = self.denoise + self.row * rows as f64;
        let peak = if self.one_at_a_time {
            text.max(unet + denoising).max(vae + self.decode)
        } else {
            text + unet + vae + denoising.max(self.decode)
        };
        (self.base + peak) as u64
    }

    /// How many rows fit into `bytes`; 0 where not even one does.
    pub fn rows_in(&self, bytes: u64) -> usize {
        if self.of(1) > bytes {
            return 0;
        }
        let WeightBytes {
            text_encoders: text,
            unet,
            vae,
        } = self.weights;
        let others = if self.one_at_a_time { 0.0 } else { text + vae };
        let free = bytes as f64 - self.base - unet - others - self.denoise;
        ((free / self.row) as usize).max(1)
    }
}

impl ModelFolder {
    /// The memory of one run after another, for latents of `(height, width)`.
    ///
    /// # Errors
    /// [`Error::Model`](crate::error::Error::Model) where a weight file is missing or damaged.
    pub fn footprint(&self, latents: (usize, usize)) -> Result<Footprint> {
        self.footprint_with(latents, self.memory_options(Packing::default(), false))
    }

    /// The memory options of the model's own compute choice, for one run (`single`) or many.
    pub fn memory_options(&self, packing: Packing, single: bool) -> MemoryOptions {
        MemoryOptions {
            dtype: self.compute.dtype,
            vae_tiling: self.compute.vae_tiling,
            fast: packing.large_tiles,
            low_memory: packing.on_demand,
            single,
        }
    }

    /// The memory of a run with given options, for latents of `(height, width)`.
    ///
    /// # Errors
    /// See [`footprint`](Self::footprint).
    pub fn footprint_with(
        &self,
        (height, width): (usize, usize),
        options: MemoryOptions,
    ) -> Result<Footprint> {
        let own_kernels = self.compute.device.is_cpu() && options.dtype == DType::F32;
        let latents = (height * width) as f64;
        let pixels = latents * self.vae.factor().pow(2) as f64;
        let bytes = |channels: &[usize]| 4.0 * channels.first().copied().unwrap_or(0) as f64;
        let unit = latents * bytes(&self.unet.block_out_channels);
        let picture = pixels * bytes(&self.vae.block_out_channels);
        let decode = DECODE * picture;
        Ok(Footprint {
            base: if self.on_a_card() { CARD_BASE } else { BASE },
            weights: self.weight_bytes(options)?,
            denoise: if own_kernels { 0.0 } else { PLAIN * unit },
            row: ROW * unit,
            decode: if options.vae_tiling {
                decode.min(TILED * picture + BANDS)
            } else {
                decode
            },
            one_at_a_time: options.low_memory || (options.single && self.unet_bytes()? >= LARGE),
        })
    }

    /// Whether the device has memory of its own, which text encoders do not use.
    fn on_a_card(&self) -> bool {
        matches!(self.compute.device, Device::Cuda(_))
    }

    fn weight_bytes(&self, options: MemoryOptions) -> Result<WeightBytes> {
        let (mut text, mut unet, mut vae) = (0.0, 0.0, 0.0);
        for (component, file) in self.weight_files()? {
            let parameters = Weights::open(&self.files, &file)?.parameters() as f64;
            match component {
                Component::Unet => unet = parameters,
                Component::Vae => vae = parameters,
                _ => text += parameters,
            }
        }
        let cpu = self.compute.device.is_cpu();
        let packed = |factor: f64| {
            4.0 * if options.low_memory {
                PACKED_ON_DEMAND
            } else {
                factor
            }
        };
        Ok(WeightBytes {
            text_encoders: if self.on_a_card() { 0.0 } else { 4.0 * text },
            unet: match (cpu, options.dtype) {
                (true, DType::F32) if options.fast => unet * packed(PACKED_LARGE),
                (true, DType::F32) => unet * packed(PACKED),
                (_, dtype) => unet * dtype.size_in_bytes() as f64,
            },
            vae: vae * if cpu { packed(PACKED_VAE) } else { 4.0 },
        })
    }
}
