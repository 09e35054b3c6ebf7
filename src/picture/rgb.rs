//! Converts a decoded tensor to eight-bit pixels.
//! Owns the range, the clamp and the rounding. It must never know which model decoded the tensor or where the
//! picture is written.

use candle_core::{DType, Device, Tensor};
use image::RgbImage;

use crate::error::{Error, Result};
use crate::message;
use crate::setting::Setting;

/// How a channel value from 0 to 255 is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rounding {
    /// To the nearest integer, ties to even.
    #[default]
    Nearest,
    /// Towards zero, like the reference's `astype(np.uint8)`.
    Truncate,
}

impl Rounding {
    fn to_u8(self, channel: f32) -> u8 {
        match self {
            Self::Nearest => channel.round_ties_even() as u8,
            Self::Truncate => channel as u8,
        }
    }
}

/// Converts a decoded tensor `[3, h, w]` to a picture. Values are clamped to -1..1.
///
/// # Errors
///
/// [`Error::Run`] if a value is not finite, [`Error::Tensor`] if the shape is not `[3, h, w]`.
pub fn to_rgb(image: &Tensor, rounding: Rounding) -> Result<RgbImage> {
    let (channels, height, width) = image.dims3()?;
    if channels != 3 {
        return Err(candle_core::Error::Msg(format!(
            "a picture has 3 channels, this tensor {channels}"
        ))
        .into());
    }
    let pixels: Vec<f32> = image
        .permute((1, 2, 0))? // [h, w, 3]
        .to_dtype(DType::F32)?
        .to_device(&Device::Cpu)?
        .flatten_all()?
        .to_vec1()?;
    // A clamp would turn infinities white and NaN black, which would hide the error.
    if pixels.iter().any(|value| !value.is_finite()) {
        return Err(not_finite());
    }
    let bytes = pixels
        .iter()
        .map(|value| rounding.to_u8((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0))
        .collect();
    let picture = RgbImage::from_raw(width as u32, height as u32, bytes);
    Ok(picture.expect("the tensor holds h * w * 3 values"))
}

fn not_finite() -> Error {
    Error::run(
        "the picture, decoded in f32 after the last step, has values that are not finite",
        message![
            "lower ",
            Setting::Guidance,
            " or the factors of ",
            Setting::Weight,
            ", or check the model's weights"
        ],
    )
}
