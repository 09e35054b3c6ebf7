//! Draws grids of values as coloured pictures. Owns colours, scales and enlarging. It must never know words
//! or files.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma, Rgb, RgbImage};

use crate::edit::Grid;

/// The colours of a heatmap, from the lowest value to the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colormap {
    /// matplotlib's viridis.
    #[default]
    Viridis,
    /// Google's turbo.
    Turbo,
    /// matplotlib's inferno.
    Inferno,
    /// From black to white.
    Gray,
}

impl Colormap {
    /// The colour of a value, given as a share of the scale from 0 to 1.
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

/// The range of values that the colours show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The value with the first colour.
    pub low: f32,
    /// The value with the last colour.
    pub high: f32,
}

impl Scale {
    /// The scale from 0 to the largest value of all grids. Negative values, which words of negative weight
    /// have, extend it below 0.
    pub fn of<'a>(grids: impl IntoIterator<Item = &'a Grid>) -> Self {
        let values = grids.into_iter().flat_map(|grid| grid.values.iter());
        let (low, high) = values.fold((0f32, 0f32), |(low, high), v| (low.min(*v), high.max(*v)));
        Self { low, high }
    }

    /// The scale from the least to the largest value of one grid.
    pub fn within(grid: &Grid) -> Self {
        let least = grid.values.iter().copied().reduce(f32::min);
        let most = grid.values.iter().copied().reduce(f32::max);
        Self {
            low: least.unwrap_or(0.0),
            high: most.unwrap_or(0.0),
        }
    }

    /// The value that means no attention.
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

/// How a grid is enlarged to the size of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enlarge {
    /// Smoothly, with the Catmull-Rom kernel.
    #[default]
    Bicubic,
    /// In squares, one for each cell.
    Nearest,
}

/// How a grid is drawn as a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    /// The colours.
    pub colormap: Colormap,
    /// How cells become pixels.
    pub enlarge: Enlarge,
    /// `(width, height)` of the picture in pixels.
    pub size: (u32, u32),
}

fn buffer(grid: &Grid) -> ImageBuffer<Luma<f32>, Vec<f32>> {
    let (h, w) = grid.size;
    ImageBuffer::from_raw(w as u32, h as u32, grid.values.clone())
        .expect("a grid has a value for each cell")
}

impl Style {
    /// The grid's values at the picture's pixels, as shares of the scale from 0 to 1.
    fn shares(&self, grid: &Grid, scale: Scale) -> ImageBuffer<Luma<f32>, Vec<f32>> {
        let small = buffer(&grid.clone().map(|v| scale.share(v)));
        let filter = match self.enlarge {
            Enlarge::Bicubic => FilterType::CatmullRom,
            Enlarge::Nearest => FilterType::Nearest,
        };
        imageops::resize(&small, self.size.0, self.size.1, filter)
    }

    /// The grid as a coloured picture.
    pub fn heatmap(&self, grid: &Grid, scale: Scale) -> RgbImage {
        let shares = self.shares(grid, scale);
        RgbImage::from_fn(self.size.0, self.size.1, |x, y| {
            self.colormap.colour(shares.get_pixel(x, y)[0])
        })
    }

    /// The picture tinted with the grid's colours. The tint grows with the distance of a value from no
    /// attention, so pixels without attention keep their colour.
    pub fn overlay(&self, picture: &RgbImage, grid: &Grid, scale: Scale) -> RgbImage {
        let shares = self.shares(grid, scale);
        let rest = scale.share(scale.rest());
        let furthest = rest.max(1.0 - rest);
        RgbImage::from_fn(self.size.0, self.size.1, |x, y| {
            let share = shares.get_pixel(x, y)[0].clamp(0.0, 1.0);
            let (ground, tint) = (picture.get_pixel(x, y), self.colormap.colour(share));
            // The picture stays visible even at the peak.
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

/// The picture with a ring around the point `(x, y)`, given as shares of its width and height. The ring is
/// white between two black lines, so it is visible on any background.
pub fn ringed(mut picture: RgbImage, (x, y): (f32, f32)) -> RgbImage {
    let (w, h) = picture.dimensions();
    let middle = (x * w as f32, y * h as f32);
    let width = (w.min(h) as f32 / 64.0).max(1.0);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let (dx, dy) = (x as f32 + 0.5 - middle.0, y as f32 + 0.5 - middle.1);
        // Distance from the middle of the white line, in line widths.
        let off = (dx.hypot(dy) - 3.5 * width).abs() / width;
        if off < 1.5 {
            *pixel = Rgb([if off < 0.5 { 255 } else { 0 }; 3]);
        }
    }
    picture
}
