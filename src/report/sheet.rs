//! A sheet: pictures in rows and columns, with a title, headings, captions and a colour bar.
//! Owns its layout; it must never know what the pictures show.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::face::Face;

const MARGIN: u32 = 16;
const GAP: u32 = 8;
const TEXT: f32 = 16.0;
/// Pixels that the column of row headings may take, and lines of any heading.
const HEADINGS: (f32, usize) = (128.0, 4);
const GROUND: Rgb<u8> = Rgb([255, 255, 255]);
const BAR: (u32, u32) = (256, 12);

/// A picture and the words under it.
#[derive(Debug, Clone)]
pub struct Cell {
    pub picture: RgbImage,
    pub caption: String,
}

#[derive(Debug, Clone)]
pub struct Row {
    /// To the left; the column of headings takes no room if no row has one.
    pub heading: String,
    /// `None` stays empty.
    pub cells: Vec<Option<Cell>>,
}

/// What colours mean: from the left end to the right.
#[derive(Debug, Clone)]
pub struct ColourBar {
    pub low: String,
    pub high: String,
    /// Per pixel of its length.
    pub colours: Vec<Rgb<u8>>,
}

#[derive(Debug, Clone)]
pub struct Sheet {
    /// One below the other.
    pub title: Vec<String>,
    /// Above the columns; may be empty.
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    pub bar: Option<ColourBar>,
    /// Below everything: what the captions' numbers are.
    pub note: Option<String>,
    /// Pixels of a cell's picture: `(width, height)`.
    pub cell: (u32, u32),
}

/// Lines that a caption may take.
const CAPTION: usize = 2;

/// Where things stand.
struct Layout {
    left: u32,
    top: u32,
    step: (u32, u32),
    size: (u32, u32),
    title: Vec<String>,
    note: Vec<String>,
}

impl Sheet {
    pub fn draw(&self) -> RgbImage {
        let (bold, plain) = (Face::bold(TEXT), Face::regular(TEXT));
        let line = plain.line_height() as u32;
        let layout = self.layout(&bold, &plain, line);
        let mut sheet = RgbImage::from_pixel(layout.size.0, layout.size.1, GROUND);
        let middle = layout.size.0 as f32 / 2.0;
        for (i, text) in layout.title.iter().enumerate() {
            bold.draw(&mut sheet, text, middle, (MARGIN + i as u32 * line) as f32);
        }
        let centre = |column: usize| {
            (layout.left + column as u32 * layout.step.0) as f32 + self.cell.0 as f32 / 2.0
        };
        for (column, heading) in self.columns.iter().enumerate() {
            let lines = self.heading(&bold, heading);
            let top = layout.top - lines.len() as u32 * line - GAP / 2;
            for (j, text) in lines.iter().enumerate() {
                bold.draw(
                    &mut sheet,
                    text,
                    centre(column),
                    (top + j as u32 * line) as f32,
                );
            }
        }
        for (i, row) in self.rows.iter().enumerate() {
            let top = layout.top + i as u32 * layout.step.1;
            let lines = bold.wrap(&row.heading, HEADINGS.0, HEADINGS.1);
            let half = self.cell.1.saturating_sub(lines.len() as u32 * line) / 2;
            let middle = (MARGIN + layout.left - 2 * GAP) as f32 / 2.0;
            for (j, text) in lines.iter().enumerate() {
                let y = top + half + j as u32 * line;
                bold.draw(&mut sheet, text, middle, y as f32);
            }
            let cells = row.cells.iter().enumerate();
            for (column, cell) in cells.filter_map(|(i, cell)| Some((i, cell.as_ref()?))) {
                let left = layout.left + column as u32 * layout.step.0;
                let picture = fit(&cell.picture, self.cell);
                imageops::replace(&mut sheet, &picture, left.into(), top.into());
                let caption = plain.wrap(&cell.caption, self.cell.0 as f32, CAPTION);
                for (j, text) in caption.iter().enumerate() {
                    let y = top + self.cell.1 + 2 + j as u32 * line;
                    plain.draw(&mut sheet, text, centre(column), y as f32);
                }
            }
        }
        let bottom = layout.size.1 - MARGIN - line;
        let lines = layout.note.len() as u32;
        self.draw_bar(&mut sheet, &plain, bottom - lines * line);
        for (i, text) in layout.note.iter().enumerate() {
            let y = bottom - (lines - 1 - i as u32) * line;
            plain.draw(&mut sheet, text, middle, y as f32);
        }
        sheet
    }

    /// A column's heading in lines as wide as its pictures.
    fn heading(&self, bold: &Face, text: &str) -> Vec<String> {
        bold.wrap(text, self.cell.0 as f32, HEADINGS.1)
    }

    fn layout(&self, bold: &Face, plain: &Face, line: u32) -> Layout {
        let columns = self
            .rows
            .iter()
            .map(|row| row.cells.len())
            .max()
            .unwrap_or(0) as u32;
        let cells = self.rows.iter().flat_map(|row| row.cells.iter().flatten());
        let lines = |cell: &Cell| plain.wrap(&cell.caption, self.cell.0 as f32, CAPTION).len();
        let captions = cells.map(lines).max().unwrap_or(0) as u32;
        let headings = self
            .rows
            .iter()
            .flat_map(|row| bold.wrap(&row.heading, HEADINGS.0, HEADINGS.1));
        let headings = headings.map(|text| bold.width(&text)).fold(0.0, f32::max);
        let room = if headings > 0.0 {
            headings.ceil() as u32 + 2 * GAP
        } else {
            0
        };
        let left = MARGIN + room;
        let step = (self.cell.0 + GAP, self.cell.1 + GAP + captions * line);
        let width = left
            + (columns * step.0).max(if self.bar.is_some() { BAR.0 + 160 } else { 0 })
            + MARGIN;
        let room = (width - 2 * MARGIN) as f32;
        let wrapped = self
            .title
            .iter()
            .flat_map(|title| bold.wrap(title, room, 3));
        let title: Vec<String> = wrapped.collect();
        let columns = self
            .columns
            .iter()
            .map(|text| self.heading(bold, text).len());
        let head = (title.len() + columns.max().unwrap_or(0)) as u32 * line;
        let top = MARGIN + head + GAP;
        let note = self.note.iter().flat_map(|note| plain.wrap(note, room, 2));
        let note: Vec<String> = note.collect();
        let below = note.len() as u32 + u32::from(self.bar.is_some());
        let below = if below > 0 { below * line + GAP } else { 0 };
        let height = top + self.rows.len() as u32 * step.1 + below + MARGIN;
        Layout {
            left,
            top,
            step,
            size: (width, height),
            title,
            note,
        }
    }

    fn draw_bar(&self, sheet: &mut RgbImage, face: &Face, top: u32) {
        let Some(bar) = &self.bar else { return };
        let left = (sheet.width() - BAR.0) / 2;
        for x in 0..BAR.0 {
            let at = x as usize * bar.colours.len().saturating_sub(1) / (BAR.0 as usize - 1);
            if let Some(colour) = bar.colours.get(at) {
                (0..BAR.1).for_each(|y| sheet.put_pixel(left + x, top + 4 + y, *colour));
            }
        }
        face.draw(sheet, &bar.low, left as f32 - 40.0, top as f32);
        face.draw(sheet, &bar.high, (left + BAR.0) as f32 + 40.0, top as f32);
    }
}

/// Scaled to a cell's size.
pub fn fit(picture: &RgbImage, (width, height): (u32, u32)) -> RgbImage {
    if picture.dimensions() == (width, height) {
        return picture.clone();
    }
    imageops::resize(picture, width, height, FilterType::CatmullRom)
}
