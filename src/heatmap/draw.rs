//! Grids as coloured pictures. Owns colours, scales and enlarging; knows no words.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma, Rgb, RgbImage};

use crate::edit::Grid;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colormap {
    #[default]
    Viridis,
    Turbo,
    Inferno,
    Gray,
}

impl Colormap {
    pub fn colour(self, share: f32) -> Rgb<u8> {
        let at = f64::from(share.clamp(0.0, 1.0));
        let gradient = match self {
            Self::Viridis => colorous::VIRIDIS,
            Self::Turbo => colorous::TURBO,
            Self::Inferno => colorous::INFERNO,
            Self::Gray => return Rgb([(at * 255.0).round() as u8; 3]),
        };
        Rgb(gradient.eval_continuous(at).into_array())
    }
}

/// The values that are darkest and brightest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    pub low: f32,
    pub high: f32,
}

impl Scale {
    /// From zero to the largest of all values; a negative one (a word of negative weight) widens it.
    pub fn of<'a>(grids: impl IntoIterator<Item = &'a Grid>) -> Self {
        let values = grids.into_iter().flat_map(|grid| grid.values.iter());
        let (low, high) = values.fold((0f32, 0f32), |(low, high), v| (low.min(*v), high.max(*v)));
        Self { low, high }
    }

    /// From the least to the largest value of one grid.
    pub fn within(grid: &Grid) -> Self {
        let least = grid.values.iter().copied().reduce(f32::min);
        let most = grid.values.iter().copied().reduce(f32::max);
        Self {
            low: least.unwrap_or(0.0),
            high: most.unwrap_or(0.0),
        }
    }

    /// The value of what draws no attention.
    fn rest(self) -> f32 {
        0f32.clamp(self.low, self.high)
    }

    fn share(self, value: f32) -> f32 {
        match self.high - self.low {
            spread if spread > 0.0 => (value - self.low) / spread,
            _ => 0.0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enlarge {
    #[default]
    Bicubic,
    Nearest,
}

/// How grids become pictures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    pub colormap: Colormap,
    pub enlarge: Enlarge,
    /// `(width, height)`
    pub size: (u32, u32),
}

fn buffer(grid: &Grid) -> ImageBuffer<Luma<f32>, Vec<f32>> {
    let (h, w) = grid.size;
    ImageBuffer::from_raw(w as u32, h as u32, grid.values.clone()).expect("a value per cell")
}

impl Style {
    /// The grid's values at the picture's pixels, as shares of the scale.
    fn shares(&self, grid: &Grid, scale: Scale) -> ImageBuffer<Luma<f32>, Vec<f32>> {
        let small = buffer(&grid.clone().map(|v| scale.share(v)));
        let filter = match self.enlarge {
            Enlarge::Bicubic => FilterType::CatmullRom,
            Enlarge::Nearest => FilterType::Nearest,
        };
        imageops::resize(&small, self.size.0, self.size.1, filter)
    }

    pub fn heatmap(&self, grid: &Grid, scale: Scale) -> RgbImage {
        let shares = self.shares(grid, scale);
        RgbImage::from_fn(self.size.0, self.size.1, |x, y| {
            self.colormap.colour(shares.get_pixel(x, y)[0])
        })
    }

    /// The picture, tinted the more the further a value is from drawing no attention; what draws none
    /// stays as it is.
    pub fn overlay(&self, picture: &RgbImage, grid: &Grid, scale: Scale) -> RgbImage {
        let shares = self.shares(grid, scale);
        let rest = scale.share(scale.rest());
        let furthest = rest.max(1.0 - rest);
        RgbImage::from_fn(self.size.0, self.size.1, |x, y| {
            let share = shares.get_pixel(x, y)[0].clamp(0.0, 1.0);
            let (ground, tint) = (picture.get_pixel(x, y), self.colormap.colour(share));
            // Some of the ground is left even at the peak.
            let opacity = 0.75 * (share - rest).abs() / furthest;
            mixed(*ground, tint, opacity)
        })
    }
}

fn mixed(ground: Rgb<u8>, tint: Rgb<u8>, opacity: f32) -> Rgb<u8> {
    let mix =
        |i: usize| f32::from(ground[i]) + opacity * (f32::from(tint[i]) - f32::from(ground[i]));
    Rgb([0, 1, 2].map(|i| mix(i).round() as u8))
}

/// The picture with a ring around the place at shares `(x, y)` of it: white between two of black, so that
/// it shows on any ground.
pub fn ringed(mut picture: RgbImage, (x, y): (f32, f32)) -> RgbImage {
    let (w, h) = picture.dimensions();
    let middle = (x * w as f32, y * h as f32);
    let width = (w.min(h) as f32 / 64.0).max(1.0);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let (dx, dy) = (x as f32 + 0.5 - middle.0, y as f32 + 0.5 - middle.1);
        // In widths of a line, from the white ring's middle.
        let off = (dx.hypot(dy) - 3.5 * width).abs() / width;
        if off < 1.5 {
            *pixel = Rgb([if off < 0.5 { 255 } else { 0 }; 3]);
        }
    }
    picture
}
