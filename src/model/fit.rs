//! Whether a run fits into memory, and which settings would make it fit. Owns the order in which cures are
//! tried. Never knows how a setting is spelt.

use candle_core::DType;

use super::ModelFolder;
use super::footprint::MemoryOptions;
use crate::error::Result;
use crate::format;
use crate::machine::Memory;
use crate::message;
use crate::message::{Message, Piece};
use crate::setting::Setting;

/// How large a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunSize {
    /// Rows, the source included.
    pub rows: usize,
    /// Height and width of the latents.
    pub latents: (usize, usize),
    /// Bytes of what the run keeps besides, such as attention maps.
    pub extra_bytes: u64,
}

impl RunSize {
    /// The picture's size as settings. `factor` is pixels per latent.
    fn settings(&self, factor: usize) -> Message {
        let (height, width) = self.latents;
        message![
            Setting::Width.to(factor * width),
            " ",
            Setting::Height.to(factor * height)
        ]
    }
}

impl ModelFolder {
    /// Checks that a run fits into the available memory.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::error::Error::Memory) whose cure is the first of these that makes the run fit,
    /// told by [`Report::about`](crate::error::Report::about):
    ///
    /// - the setting to add, `VaeTiling`, `LowMemory` or `Dtype`; the picture stays almost the same;
    /// - `Dst`, to draw fewer edits at once;
    /// - `Width`, to draw a smaller picture;
    /// - `None` where nothing helps but a smaller model or another machine.
    ///
    /// [`Error::Model`](crate::error::Error::Model) where a weight file is missing or damaged.
    pub fn fits(&self, size: RunSize, options: MemoryOptions, memory: Memory) -> Result<()> {
        let needed = self.needed(size, options)?;
        if needed <= memory.available {
            return Ok(());
        }
        let rows = size.rows;
        let what = format!("a run of {} at ", format::count(rows, "row"));
        let what = Message::from(what).then(size.settings(self.vae.factor()));
        let (cure, about) = self.cure(size, options, memory)?;
        memory
            .require(needed, what, cure)
            .map_err(|error| error.map(|report| crate::error::Report { about, ..report }))
    }

    fn needed(&self, size: RunSize, options: MemoryOptions) -> Result<u64> {
        let footprint = self.footprint_with(size.latents, options)?;
        Ok(footprint.of(size.rows) + size.extra_bytes)
    }

    /// The first cure that works, and the setting that it is about. Cures that change the picture least come
    /// first.
    fn cure(
        &self,
        size: RunSize,
        options: MemoryOptions,
        memory: Memory,
    ) -> Result<(Message, Option<Setting>)> {
        let savings = savings(options);
        for way in &savings {
            let needed = self.needed(size, *way)?;
            if needed <= memory.available {
                let added = added_settings(options, *way);
                let about = added.first().map(|(setting, _)| *setting);
                let cure = Message::from("add ").then(joined(&added));
                let cure = cure.then(format!(": then it needs about {}", format::bytes(needed)));
                return Ok((cure, about));
            }
        }
        let mut least = (self.needed(size, options)?, options);
        for way in savings {
            let needed = self.needed(size, way)?;
            if needed < least.0 {
                least = (needed, way);
            }
        }
        let (_, least) = least;
        let added = added_settings(options, least);
        let with = if added.is_empty() {
            Message::default()
        } else {
            joined(&added).after(" with ")
        };
        let footprint = self.footprint_with(size.latents, least)?;
        let rows = footprint.rows_in(memory.available.saturating_sub(size.extra_bytes));
        if rows > 1 {
            let edits = rows - 1;
            let cure = format!("draw at most {} at once", format::count(edits, "edit"));
            return Ok((Message::from(cure).then(with), Some(Setting::Dst)));
        }
        Ok(match self.smaller(size, least, memory)? {
            Some(smaller) => {
                let smaller = smaller.settings(self.vae.factor());
                let cure = with.after("draw it smaller").then(": ").then(smaller);
                (cure, Some(Setting::Width))
            }
            None => (
                "use a smaller model, or a machine with more memory".into(),
                None,
            ),
        })
    }

    /// The largest size of about the same shape that fits.
    fn smaller(
        &self,
        size: RunSize,
        options: MemoryOptions,
        memory: Memory,
    ) -> Result<Option<RunSize>> {
        // Latents that the UNet can halve down to its coarsest level.
        let step = self.unet.coarsest_downscale();
        let side = |side: usize, eighths: usize| (side * eighths / 8 / step * step).max(step);
        for eighths in (1..8).rev() {
            let (height, width) = size.latents;
            let latents = (side(height, eighths), side(width, eighths));
            let smaller = RunSize { latents, ..size };
            if self.needed(smaller, options)? <= memory.available {
                return Ok(Some(smaller));
            }
        }
        Ok(None)
    }
}

/// Options that save memory, from the one that costs least to all together.
fn savings(options: MemoryOptions) -> Vec<MemoryOptions> {
    let mut savings = vec![];
    let dtypes = match options.dtype {
        DType::F32 => vec![DType::F32, DType::BF16],
        dtype => vec![dtype],
    };
    for dtype in dtypes {
        for (vae_tiling, low_memory) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let way = MemoryOptions {
                dtype,
                vae_tiling: vae_tiling || options.vae_tiling,
                low_memory: low_memory || options.low_memory,
                ..options
            };
            if way != options && !savings.contains(&way) {
                savings.push(way);
            }
        }
    }
    savings
}

/// The settings that lead from some options to others.
fn added_settings(from: MemoryOptions, to: MemoryOptions) -> Vec<(Setting, Piece)> {
    let mut added = vec![];
    if to.vae_tiling != from.vae_tiling {
        added.push((Setting::VaeTiling, Setting::VaeTiling.to(true)));
    }
    if to.low_memory != from.low_memory {
        added.push((Setting::LowMemory, Setting::LowMemory.to(true)));
    }
    if to.dtype != from.dtype {
        added.push((Setting::Dtype, Setting::Dtype.to(to.dtype.as_str())));
    }
    added
}

/// Settings in a row, as a user types them.
fn joined(settings: &[(Setting, Piece)]) -> Message {
    let pieces = settings.iter().enumerate().flat_map(|(i, (_, piece))| {
        let space = (i > 0).then(|| Piece::from(" "));
        [space, Some(piece.clone())].into_iter().flatten()
    });
    pieces.collect()
}
