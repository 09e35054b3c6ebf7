//! The strip: pictures side by side on white, with a label and a prompt below each.
//! Owns its layout. It must never know what the pictures show or which of them is the source.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::face::Face;

/// Smallest width of a picture in pixels. Smaller pictures are enlarged to make room for the prompt.
const MIN_WIDTH: u32 = 256;
/// Largest number of lines of a prompt.
const MAX_LINES: usize = 6;
const MARGIN: u32 = 16;
const GAP: u32 = 16;
const GROUND: Rgb<u8> = Rgb([255, 255, 255]);

/// One picture of the strip and the text below it.
#[derive(Debug, Clone, Copy)]
pub struct Panel<'a> {
    /// The picture.
    pub picture: &'a RgbImage,
    /// A short bold line such as "source". If no panel has a label, labels take no space.
    pub label: &'a str,
    /// The prompt. It is wrapped, and after six lines cut with an ellipsis.
    pub caption: &'a str,
}

/// Draws panels from left to right. Pictures should have the same size. A smaller picture is centred at the
/// top of its cell.
pub fn strip(panels: &[Panel]) -> RgbImage {
    let pictures: Vec<RgbImage> = panels.iter().map(|p| enlarge(p.picture)).collect();
    let cell_width = pictures.iter().map(RgbImage::width).max().unwrap_or(0);
    let cell_height = pictures.iter().map(RgbImage::height).max().unwrap_or(0);
    let texts = Texts::new(panels, cell_width);

    let count = panels.len() as u32;
    let width = 2 * MARGIN + count * cell_width + count.saturating_sub(1) * GAP;
    let height = 2 * MARGIN + cell_height + texts.height();
    let mut sheet = RgbImage::from_pixel(width, height, GROUND);
    for (index, picture) in pictures.iter().enumerate() {
        let left = MARGIN + index as u32 * (cell_width + GAP);
        let inset = (cell_width - picture.width()) / 2;
        imageops::replace(&mut sheet, picture, (left + inset).into(), MARGIN.into());
        let centre = left as f32 + cell_width as f32 / 2.0;
        texts.draw(&mut sheet, index, centre, (MARGIN + cell_height) as f32);
    }
    sheet
}

/// Enlarges a small picture smoothly by a whole factor. Visible square pixels would look like an error of the
/// model.
fn enlarge(picture: &RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    match MIN_WIDTH.div_ceil(width.max(1)) {
        1 => picture.clone(),
        factor => imageops::resize(
            picture,
            width * factor,
            height * factor,
            FilterType::CatmullRom,
        ),
    }
}

/// The texts below the pictures, broken into lines.
struct Texts {
    label_face: Face,
    caption_face: Face,
    labels: Vec<String>,
    captions: Vec<Vec<String>>,
}

impl Texts {
    fn new(panels: &[Panel], width: u32) -> Self {
        // The size grows with the picture, within limits that keep it readable and modest.
        let size = (width as f32 / 17.0).clamp(16.0, 26.0);
        let label_face = Face::bold(size);
        let caption_face = Face::regular(size);
        let one_line = |p: &Panel| label_face.wrap(p.label, width as f32, 1).pop();
        Self {
            labels: panels
                .iter()
                .map(|p| one_line(p).unwrap_or_default())
                .collect(),
            captions: panels
                .iter()
                .map(|p| caption_face.wrap(p.caption, width as f32, MAX_LINES))
                .collect(),
            label_face,
            caption_face,
        }
    }

    /// Height in pixels between the lower edge of the pictures and the lower margin.
    fn height(&self) -> u32 {
        let lines = self.captions.iter().map(Vec::len).max().unwrap_or(0);
        let text = self.label_height() + lines as f32 * self.caption_face.line_height();
        if text > 0.0 {
            GAP + text.ceil() as u32
        } else {
            0
        }
    }

    fn label_height(&self) -> f32 {
        if self.labels.iter().all(String::is_empty) {
            0.0
        } else {
            // Two more pixels separate the label from the prompt.
            self.label_face.line_height() + 2.0
        }
    }

    fn draw(&self, sheet: &mut RgbImage, index: usize, centre: f32, top: f32) {
        let mut y = top + GAP as f32;
        self.label_face.draw(sheet, &self.labels[index], centre, y);
        y += self.label_height();
        for line in &self.captions[index] {
            self.caption_face.draw(sheet, line, centre, y);
            y += self.caption_face.line_height();
        }
    }
}
