//! Whether a run fits into memory, and else by which flags it would. Knows what the flags are called, for
//! there is no other cure to name.

use candle_core::DType;

use super::ModelFolder;
use super::footprint::MemoryOptions;
use crate::error::Result;
use crate::format;
use crate::machine::Memory;

/// How large a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunSize {
    /// The source included.
    pub rows: usize,
    /// Of latents, `(height, width)`.
    pub latents: (usize, usize),
    /// Bytes that are kept besides, such as maps.
    pub kept: u64,
}

impl RunSize {
    /// Pixels, `--width` and `--height`.
    fn flags(&self, factor: usize) -> String {
        let (height, width) = self.latents;
        format!("--width {} --height {}", factor * width, factor * height)
    }
}

impl ModelFolder {
    /// That a run fits into the memory that is available.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::error::Error::Memory), which names the first way of sparing that would make it fit; model, where a weight
    /// file is missing or torn.
    pub fn fits(&self, size: RunSize, memory_options: MemoryOptions, memory: Memory) -> Result<()> {
        let needed = self.needed(size, memory_options)?;
        if needed <= memory.available {
            return Ok(());
        }
        let RunSize { rows, .. } = size;
        let what = format!(
            "a run of {} at {}",
            format::count(rows, "row"),
            size.flags(self.vae.factor())
        );
        memory.require(needed, &what, &self.cure(size, memory_options, memory)?)
    }

    fn needed(&self, size: RunSize, memory_options: MemoryOptions) -> Result<u64> {
        let footprint = self.footprint_with(size.latents, memory_options)?;
        Ok(footprint.of(size.rows) + size.kept)
    }

    /// What changes the picture least comes first.
    fn cure(&self, size: RunSize, memory_options: MemoryOptions, memory: Memory) -> Result<String> {
        let ways = ways(memory_options);
        for way in &ways {
            let needed = self.needed(size, *way)?;
            if needed <= memory.available {
                let flags = flags(memory_options, *way);
                return Ok(format!(
                    "add {flags}: then it needs about {}",
                    format::bytes(needed)
                ));
            }
        }
        let mut most = (self.needed(size, memory_options)?, memory_options);
        for way in ways {
            let needed = self.needed(size, way)?;
            if needed < most.0 {
                most = (needed, way);
            }
        }
        let most = most.1;
        let with = |flags: String| match flags.as_str() {
            "" => String::new(),
            flags => format!(" with {flags}"),
        };
        let flags = with(flags(memory_options, most));
        let footprint = self.footprint_with(size.latents, most)?;
        let rows = footprint.rows_in(memory.available.saturating_sub(size.kept));
        if rows > 1 {
            let edits = rows - 1;
            let edits = format::count(edits, "edit");
            return Ok(format!("draw at most {edits} at once{flags}"));
        }
        match self.smaller(size, most, memory)? {
            Some(smaller) => Ok(format!(
                "draw it smaller{flags}: {}",
                smaller.flags(self.vae.factor())
            )),
            None => Ok("use a smaller model, or a machine with more memory".to_owned()),
        }
    }

    /// The largest size of about the same shape that fits.
    fn smaller(
        &self,
        size: RunSize,
        memory_options: MemoryOptions,
        memory: Memory,
    ) -> Result<Option<RunSize>> {
        // Latents that the UNet can halve as often as it does.
        let step = self.unet.coarsest_downscale();
        let side = |side: usize, eighths: usize| (side * eighths / 8 / step * step).max(step);
        for eighths in (1..8).rev() {
            let (height, width) = size.latents;
            let latents = (side(height, eighths), side(width, eighths));
            let smaller = RunSize { latents, ..size };
            if self.needed(smaller, memory_options)? <= memory.available {
                return Ok(Some(smaller));
            }
        }
        Ok(None)
    }
}

/// Ways to spare more, from the one that costs least to all together.
fn ways(memory_options: MemoryOptions) -> Vec<MemoryOptions> {
    let mut ways = vec![];
    let dtypes = match memory_options.dtype {
        DType::F32 => vec![DType::F32, DType::BF16],
        dtype => vec![dtype],
    };
    for dtype in dtypes {
        for (vae_tiling, low_memory) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let way = MemoryOptions {
                dtype,
                vae_tiling: vae_tiling || memory_options.vae_tiling,
                low_memory: low_memory || memory_options.low_memory,
                ..memory_options
            };
            if way != memory_options && !ways.contains(&way) {
                ways.push(way);
            }
        }
    }
    ways
}

/// The flags that a way has beyond another.
fn flags(from: MemoryOptions, way: MemoryOptions) -> String {
    let flag = |differs: bool, flag: &str| differs.then(|| flag.to_owned());
    let dtype = format!("--dtype {}", way.dtype.as_str());
    let flags = [
        flag(way.vae_tiling != from.vae_tiling, "--vae-tiling"),
        flag(way.low_memory != from.low_memory, "--low-memory"),
        flag(way.dtype != from.dtype, &dtype),
    ];
    flags.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
