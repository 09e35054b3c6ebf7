//! The user's own mask: a PNG picture whose white areas may change, resized to the size of the latents. It is a file, or
//! an inline `data:` URI as in a picture's metadata. It must never know how a mask is applied.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage};
use sha2::{Digest, Sha256};

use crate::edit::Grid;
use crate::error::{Error, Result};
use crate::format::hex;
use crate::message;
use crate::message::Message;
use crate::picture::png;
use crate::setting::Setting;

const INLINE: &str = "data:image/png;base64,";

/// Where a mask comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskSource {
    /// The path of a picture.
    File(PathBuf),
    /// The bytes of a PNG file.
    Inline(Vec<u8>),
}

impl FromStr for MaskSource {
    type Err = Error;

    /// Parses a `data:` URI of a PNG, else a path.
    ///
    /// # Errors
    /// A usage error if the URI is not valid base64.
    fn from_str(text: &str) -> Result<Self> {
        let Some(inline) = text.strip_prefix(INLINE) else {
            return Ok(Self::File(text.into()));
        };
        let bytes = BASE64_STANDARD.decode(inline);
        bytes
            .map(Self::Inline)
            .map_err(|e| refused(message![Setting::Mask, format!(" after {INLINE}")], &e))
    }
}

impl fmt::Display for MaskSource {
    /// Writes the source as users type it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Inline(bytes) => write!(f, "{INLINE}{}", BASE64_STANDARD.encode(bytes)),
        }
    }
}

impl MaskSource {
    /// An inline mask from a grid. Loading it for latents of this size gives the same grid again.
    pub(super) fn inline(grid: &Grid) -> Self {
        let (height, width) = grid.size;
        let bytes = grid.values.iter().map(|v| (v * 255.0).round() as u8);
        let picture = GrayImage::from_raw(width as u32, height as u32, bytes.collect());
        let picture = picture.expect("a value per pixel");
        Self::Inline(png::encode(&picture, &[]).expect("memory takes every byte"))
    }

    fn name(&self) -> Message {
        match self {
            Self::File(path) => Setting::Mask.to(path.display()).into(),
            Self::Inline(_) => message!["the inline ", Setting::Mask],
        }
    }

    fn open(&self) -> Result<DynamicImage> {
        let picture = match self {
            Self::File(path) => std::fs::read(path)
                .map_err(|e| e.to_string())
                .and_then(|bytes| decode(&bytes)),
            Self::Inline(bytes) => decode(bytes),
        };
        picture.map_err(|cause| refused(self.name(), &cause))
    }
}

fn decode(bytes: &[u8]) -> std::result::Result<DynamicImage, String> {
    image::load_from_memory(bytes).map_err(|e| e.to_string())
}

fn refused(name: Message, cause: &dyn fmt::Display) -> Error {
    Error::usage(
        name.after("cannot read ").then(format!(": {cause}")),
        "give a PNG picture, white where the picture may change",
    )
    .about(Setting::Mask)
}

/// A mask for the sampler.
pub(super) struct Mask {
    /// A value for each latent: 1 where the picture may change, 0 where it must not.
    pub grid: Grid,
    /// The hash of the values, so that equal masks have equal hashes wherever their files are.
    pub sha256: String,
    /// A warning if the mask has another shape than the picture.
    pub warning: Option<Message>,
}

/// Reads a mask for latents of `(height, width)`. The value of a latent is the average brightness of its area, rounded
/// to 0 or 1 unless `soft` is set. Transparent pixels count as black.
///
/// # Errors
/// A usage error if the mask cannot be read.
pub(super) fn load(
    source: &MaskSource,
    (height, width): (usize, usize),
    soft: bool,
) -> Result<Mask> {
    let picture = source.open()?.to_luma_alpha8();
    let grey =
        |pixel: &image::LumaA<u8>| f32::from(pixel[0]) * f32::from(pixel[1]) / (255.0 * 255.0);
    let (w, h) = picture.dimensions();
    let values: Vec<f32> = picture.pixels().map(grey).collect();
    let full = image::ImageBuffer::<image::Luma<f32>, _>::from_raw(w, h, values)
        .expect("a value per pixel");
    let small = imageops::resize(&full, width as u32, height as u32, FilterType::Triangle);
    let cut = |v: f32| {
        if soft {
            // Steps of 1/255, so that metadata can store the mask as an 8-bit picture.
            (v.clamp(0.0, 1.0) * 255.0).round() / 255.0
        } else {
            f32::from(u8::from(v > 0.5))
        }
    };
    let values: Vec<f32> = small.into_raw().into_iter().map(cut).collect();
    let shape = |w: f64, h: f64| w / h;
    let ratio = shape(w.into(), h.into()) / shape(width as f64, height as f64);
    let stretched = !(0.98..1.02).contains(&ratio);
    Ok(Mask {
        sha256: hash(&values),
        grid: Grid::new((height, width), values),
        warning: stretched.then(|| {
            let shape = format!(" is {w}x{h}: it is stretched to the picture");
            source.name().then(shape)
        }),
    })
}

fn hash(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    hex(Sha256::digest(bytes))
}
