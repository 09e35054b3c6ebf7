//! Compares two pictures byte by byte. Owns this comparison. It must never know where the pictures come from.

use image::RgbImage;

/// The difference between two pictures of the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelDifference {
    /// The largest difference of the red, green and blue channel, from 0 to 255.
    pub largest: [u8; 3],
    /// Number of bytes that differ, and of all bytes.
    pub bytes: (usize, usize),
}

impl PixelDifference {
    /// Compares two pictures. `None` if their sizes differ.
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

    /// Share of the bytes that differ, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.bytes.0 as f64 / self.bytes.1.max(1) as f64
    }

    /// Whether the pictures are identical.
    pub fn is_none(&self) -> bool {
        self.largest == [0; 3]
    }
}
