//! The strip: pictures side by side on white, each with its label and prompt under it.
//! Owns layout, line breaking and drawing of text; it must never know what the pictures show or
//! which of them is the source.
//!
//! The font travels in the binary, so a strip has the same pixels on every machine. A character the
//! font lacks is drawn as the font's empty box, never left out.

use ab_glyph::{Font, FontRef, GlyphId, PxScaleFont, ScaleFont, point};
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

/// Smaller pictures are enlarged to at least this width: a prompt needs the room.
const MIN_WIDTH: u32 = 256;
const MAX_LINES: usize = 6;
const MARGIN: u32 = 16;
const GAP: u32 = 16;
const GROUND: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([64, 64, 64]);

/// One picture of the strip and the words under it.
#[derive(Debug, Clone, Copy)]
pub struct Panel<'a> {
    pub picture: &'a RgbImage,
    /// A short bold line such as "source"; none takes no room if no panel has one.
    pub label: &'a str,
    /// The prompt. Wrapped; from the seventh line on it is cut with an ellipsis.
    pub caption: &'a str,
}

/// The panels from left to right. Pictures are expected to have one size; a smaller one stands
/// centred at the top of its cell.
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

/// By a whole factor, smoothly: at 2x and more, doubled pixels would look like the model's fault.
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

/// What stands under the pictures, broken into lines.
struct Texts {
    label_face: Face,
    caption_face: Face,
    labels: Vec<String>,
    captions: Vec<Vec<String>>,
}

impl Texts {
    fn new(panels: &[Panel], width: u32) -> Self {
        // In proportion to the picture, but readable on small ones and calm on large ones.
        let size = (width as f32 / 17.0).clamp(16.0, 26.0);
        let label_face = Face::new(dejavu::sans::bold(), size);
        let caption_face = Face::new(dejavu::sans::regular(), size);
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

    /// Pixels between the pictures' lower edge and the lower margin.
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
            // A touch more than a line sets the label apart.
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

/// A font at a size.
struct Face(PxScaleFont<FontRef<'static>>);

impl Face {
    fn new(bytes: &'static [u8], size: f32) -> Self {
        let font = FontRef::try_from_slice(bytes).expect("the font in the binary is whole");
        Self(font.into_scaled(size))
    }

    fn line_height(&self) -> f32 {
        (self.0.height() * 1.15).round()
    }

    /// The glyphs of `text` with their distances from its left edge, and its width.
    fn place(&self, text: &str) -> (Vec<(GlyphId, f32)>, f32) {
        let mut glyphs: Vec<(GlyphId, f32)> = Vec::new();
        let mut x = 0.0;
        for c in text.chars() {
            let glyph = self.0.glyph_id(c);
            if let Some((last, _)) = glyphs.last() {
                x += self.0.kern(*last, glyph);
            }
            glyphs.push((glyph, x));
            x += self.0.h_advance(glyph);
        }
        (glyphs, x)
    }

    fn fits(&self, text: &str, width: f32) -> bool {
        self.place(text).1 <= width
    }

    /// Breaks `text` at spaces, and words that are wider than a line anywhere; at most `max` lines.
    fn wrap(&self, text: &str, width: f32, max: usize) -> Vec<String> {
        let text = text.replace(char::is_control, " ");
        let mut lines: Vec<String> = Vec::new();
        let mut open = String::new();
        for word in text.split_whitespace() {
            let joined = [open.as_str(), word].join(if open.is_empty() { "" } else { " " });
            if self.fits(&joined, width) {
                open = joined;
                continue;
            }
            lines.extend(Some(open).filter(|line| !line.is_empty()));
            open = self.break_word(word, width, max, &mut lines);
            if lines.len() > max {
                break;
            }
        }
        lines.extend(Some(open).filter(|line| !line.is_empty()));
        if lines.len() > max {
            lines.truncate(max);
            lines[max - 1] = self.with_ellipsis(&lines[max - 1], width);
        }
        lines
    }

    /// Pushes full lines of `word` and answers the part that does not fill one. Past `max` lines
    /// nobody reads on.
    fn break_word(&self, word: &str, width: f32, max: usize, lines: &mut Vec<String>) -> String {
        let mut open = String::new();
        for c in word.chars() {
            open.push(c);
            if open.chars().nth(1).is_some() && !self.fits(&open, width) {
                open.pop();
                lines.push(std::mem::replace(&mut open, c.to_string()));
                if lines.len() > max {
                    break;
                }
            }
        }
        open
    }

    fn with_ellipsis(&self, line: &str, width: f32) -> String {
        let mut line = line.to_string();
        while !line.is_empty() && !self.fits(&format!("{line}…"), width) {
            line.pop();
        }
        format!("{}…", line.trim_end())
    }

    /// Draws one line centred on `centre`, its upper edge at `top`.
    fn draw(&self, sheet: &mut RgbImage, line: &str, centre: f32, top: f32) {
        let (glyphs, width) = self.place(line);
        // Whole pixels for the line, fractions between its letters: even spacing, sharp stems.
        let left = (centre - width / 2.0).round();
        let baseline = (top + self.0.ascent()).round();
        for (id, x) in glyphs {
            let glyph = id.with_scale_and_position(self.0.scale(), point(left + x, baseline));
            if let Some(outline) = self.0.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|dx, dy, coverage| {
                    let at = (corner.x as i64 + dx as i64, corner.y as i64 + dy as i64);
                    blend(sheet, at, coverage);
                });
            }
        }
    }
}

/// Mixes ink into a pixel; what falls outside the sheet is cut.
fn blend(sheet: &mut RgbImage, (x, y): (i64, i64), coverage: f32) {
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
        return;
    };
    if let Some(pixel) = sheet.get_pixel_mut_checked(x, y) {
        for (channel, ink) in pixel.0.iter_mut().zip(INK.0) {
            let ground = f32::from(*channel);
            *channel = (ground + (f32::from(ink) - ground) * coverage.min(1.0)).round() as u8;
        }
    }
}
