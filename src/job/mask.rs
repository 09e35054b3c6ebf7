//! The user's own mask: a PNG whose white may change, brought to the latents' size.

use std::path::Path;

use image::ImageReader;
use image::imageops::{self, FilterType};
use sha2::{Digest, Sha256};

use crate::edit::Grid;
use crate::error::{Error, Result};

/// A mask as the sampler wants it.
pub(super) struct Mask {
    /// 1 where the picture may change, of the latents' size.
    pub grid: Grid,
    /// Over the pixels as used: where the file lies doesn't matter.
    pub sha256: String,
    pub warning: Option<String>,
}

/// Reads a mask. Each latent is the brightness around it, smoothly averaged, cut in the middle unless
/// edges are to be soft; what is transparent counts as black.
///
/// # Errors
/// Usage, where the file can't be read.
pub(super) fn load(path: &Path, (height, width): (usize, usize), soft: bool) -> Result<Mask> {
    let refused = |cause: String| {
        Error::usage(
            format!("cannot read the mask {}: {cause}", path.display()),
            "give a PNG picture, white where the picture may change",
        )
    };
    let reader = ImageReader::open(path).map_err(|e| refused(e.to_string()))?;
    let reader = reader
        .with_guessed_format()
        .map_err(|e| refused(e.to_string()))?;
    let picture = reader
        .decode()
        .map_err(|e| refused(e.to_string()))?
        .to_luma_alpha8();
    let grey =
        |pixel: &image::LumaA<u8>| f32::from(pixel[0]) * f32::from(pixel[1]) / (255.0 * 255.0);
    let (w, h) = picture.dimensions();
    let values: Vec<f32> = picture.pixels().map(grey).collect();
    let full = image::ImageBuffer::<image::Luma<f32>, _>::from_raw(w, h, values)
        .expect("a value per pixel");
    let small = imageops::resize(&full, width as u32, height as u32, FilterType::Triangle);
    let cut = |v: f32| match soft {
        true => v.clamp(0.0, 1.0),
        false => f32::from(u8::from(v > 0.5)),
    };
    let values: Vec<f32> = small.into_raw().into_iter().map(cut).collect();
    let shape = |w: f64, h: f64| w / h;
    let ratio = shape(w.into(), h.into()) / shape(width as f64, height as f64);
    let stretched = !(0.98..1.02).contains(&ratio);
    Ok(Mask {
        sha256: hash(&values),
        grid: Grid::new((height, width), values),
        warning: stretched.then(|| {
            format!(
                "the mask {} is {w}x{h}: it is stretched to the picture",
                path.display()
            )
        }),
    })
}

fn hash(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
