//! How far two pictures of one size are apart, byte by byte.

use image::RgbImage;

/// Between a picture and its repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelDifference {
    /// The largest of each channel, red, green, blue, of 255.
    pub largest: [u8; 3],
    /// Bytes that are not the same, of all.
    pub bytes: (usize, usize),
}

impl PixelDifference {
    /// `None` where the sizes differ.
    pub fn between(a: &RgbImage, b: &RgbImage) -> Option<Self> {
        if a.dimensions() != b.dimensions() {
            return None;
        }
        let (mut largest, mut differing) = ([0; 3], 0usize);
        for (a, b) in a.pixels().zip(b.pixels()) {
            for (channel, largest) in largest.iter_mut().enumerate() {
                let far = a[channel].abs_diff(b[channel]);
                *largest = far.max(*largest);
                differing += usize::from(far > 0);
            }
        }
        Some(Self {
            largest,
            bytes: (differing, a.as_raw().len()),
        })
    }

    /// Share of the bytes that are not the same.
    pub fn share(&self) -> f64 {
        self.bytes.0 as f64 / self.bytes.1.max(1) as f64
    }

    pub fn is_none(&self) -> bool {
        self.largest == [0; 3]
    }
}
