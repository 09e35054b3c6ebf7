//! Text on pictures: measures text, breaks it into lines and draws it. Owns the font, which is part of the
//! binary, so that a line has the same pixels on every machine. It must never know what a text means.
//!
//! A character that the font lacks is drawn as the font's empty box, never left out.

use ab_glyph::{Font, FontRef, GlyphId, PxScaleFont, ScaleFont, point};
use image::{Rgb, RgbImage};

const INK: Rgb<u8> = Rgb([64, 64, 64]);

/// A font at a size.
pub struct Face(PxScaleFont<FontRef<'static>>);

impl Face {
    /// The bold font at `size` pixels.
    pub fn bold(size: f32) -> Self {
        Self::new(dejavu::sans::bold(), size)
    }

    /// The regular font at `size` pixels.
    pub fn regular(size: f32) -> Self {
        Self::new(dejavu::sans::regular(), size)
    }

    fn new(bytes: &'static [u8], size: f32) -> Self {
        let font = FontRef::try_from_slice(bytes).expect("the font in the binary is valid");
        Self(font.into_scaled(size))
    }

    /// Distance between two lines in pixels.
    pub fn line_height(&self) -> f32 {
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

    /// Width of a line in pixels.
    pub fn width(&self, line: &str) -> f32 {
        self.place(line).1
    }

    fn fits(&self, text: &str, width: f32) -> bool {
        self.width(text) <= width
    }

    /// Breaks `text` into at most `max` lines of `width` pixels, at spaces. Words that are wider than a line are
    /// broken anywhere. An ellipsis ends a text that is too long.
    pub fn wrap(&self, text: &str, width: f32, max: usize) -> Vec<String> {
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

    /// Breaks a wide word: pushes its full lines and returns the rest. It stops after `max` lines, because
    /// the others are cut off.
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

    /// Draws a line of text. Its horizontal centre is at `centre` and its upper edge at `top`, in pixels.
    pub fn draw(&self, sheet: &mut RgbImage, line: &str, centre: f32, top: f32) {
        let (glyphs, width) = self.place(line);
        // The line starts at a whole pixel, which makes stems sharp. Fractions between letters space them
        // evenly.
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

/// Mixes ink into a pixel. Pixels outside the sheet are ignored.
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
