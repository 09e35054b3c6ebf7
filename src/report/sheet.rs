//! A sheet: pictures in rows and columns, with a title, headings, captions and a colour bar.
//! Owns its layout. It must never know what the pictures show.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::face::Face;

const MARGIN: u32 = 16;
const GAP: u32 = 8;
/// Size of all text in pixels.
const TEXT: f32 = 16.0;
/// Largest width of the row headings in pixels.
const HEADINGS_WIDTH: f32 = 128.0;
/// Largest number of lines of a heading.
const HEADING_LINES: usize = 4;
const GROUND: Rgb<u8> = Rgb([255, 255, 255]);
/// Width and height of the colour bar in pixels.
const BAR: (u32, u32) = (256, 12);

/// A picture with its caption.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The picture, which is scaled to the cell.
    pub picture: RgbImage,
    /// The text below it.
    pub caption: String,
}

/// A row of pictures.
#[derive(Debug, Clone)]
pub struct Row {
    /// The text to the left. If no row has a heading, headings take no space.
    pub heading: String,
    /// The cells of the row. `None` is an empty cell.
    pub cells: Vec<Option<Cell>>,
}

/// A bar that shows the meaning of colours.
#[derive(Debug, Clone)]
pub struct ColourBar {
    /// The value at the left end.
    pub low: String,
    /// The value at the right end.
    pub high: String,
    /// The colours from left to right.
    pub colours: Vec<Rgb<u8>>,
}

/// The contents of a sheet.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// The titles, one below the other.
    pub title: Vec<String>,
    /// The headings of the columns. May be empty.
    pub columns: Vec<String>,
    /// The rows from top to bottom.
    pub rows: Vec<Row>,
    /// The colour bar below the rows.
    pub bar: Option<ColourBar>,
    /// A note at the bottom, which explains the numbers in the captions.
    pub note: Option<String>,
    /// `(width, height)` of a cell's picture in pixels.
    pub cell: (u32, u32),
}

/// Largest number of lines of a caption.
const CAPTION: usize = 2;

/// Positions and sizes in pixels, and the wrapped texts.
struct Layout {
    left: u32,
    top: u32,
    step: (u32, u32),
    size: (u32, u32),
    title: Vec<String>,
    note: Vec<String>,
}

/// The fonts of a sheet and the height of their lines in pixels.
struct Fonts {
    bold: Face,
    plain: Face,
    line: u32,
}

impl Fonts {
    fn new() -> Self {
        let plain = Face::regular(TEXT);
        Self {
            bold: Face::bold(TEXT),
            line: plain.line_height() as u32,
            plain,
        }
    }
}

impl Sheet {
    /// Draws the sheet.
    pub fn draw(&self) -> RgbImage {
        let fonts = Fonts::new();
        let line = fonts.line;
        let layout = self.layout(&fonts.bold, &fonts.plain, line);
        let mut sheet = RgbImage::from_pixel(layout.size.0, layout.size.1, GROUND);
        let middle = layout.size.0 as f32 / 2.0;
        for (i, text) in layout.title.iter().enumerate() {
            let top = (MARGIN + i as u32 * line) as f32;
            fonts.bold.draw(&mut sheet, text, middle, top);
        }
        self.draw_columns(&mut sheet, &layout, &fonts);
        for (i, row) in self.rows.iter().enumerate() {
            let top = layout.top + i as u32 * layout.step.1;
            self.draw_row(&mut sheet, &layout, &fonts, row, top);
        }
        let bottom = layout.size.1 - MARGIN - line;
        let lines = layout.note.len() as u32;
        self.draw_bar(&mut sheet, &fonts.plain, bottom - lines * line);
        for (i, text) in layout.note.iter().enumerate() {
            let y = bottom - (lines - 1 - i as u32) * line;
            fonts.plain.draw(&mut sheet, text, middle, y as f32);
        }
        sheet
    }

    /// The horizontal centre of a column.
    fn centre(&self, layout: &Layout, column: usize) -> f32 {
        (layout.left + column as u32 * layout.step.0) as f32 + self.cell.0 as f32 / 2.0
    }

    fn draw_columns(&self, sheet: &mut RgbImage, layout: &Layout, fonts: &Fonts) {
        for (column, heading) in self.columns.iter().enumerate() {
            let lines = self.heading(&fonts.bold, heading);
            let top = layout.top - lines.len() as u32 * fonts.line - GAP / 2;
            for (j, text) in lines.iter().enumerate() {
                let y = (top + j as u32 * fonts.line) as f32;
                let centre = self.centre(layout, column);
                fonts.bold.draw(sheet, text, centre, y);
            }
        }
    }

    fn draw_row(&self, sheet: &mut RgbImage, layout: &Layout, fonts: &Fonts, row: &Row, top: u32) {
        let line = fonts.line;
        let lines = fonts.bold.wrap(&row.heading, HEADINGS_WIDTH, HEADING_LINES);
        let half = self.cell.1.saturating_sub(lines.len() as u32 * line) / 2;
        let middle = (MARGIN + layout.left - 2 * GAP) as f32 / 2.0;
        for (j, text) in lines.iter().enumerate() {
            let y = top + half + j as u32 * line;
            fonts.bold.draw(sheet, text, middle, y as f32);
        }
        let cells = row.cells.iter().enumerate();
        for (column, cell) in cells.filter_map(|(i, cell)| Some((i, cell.as_ref()?))) {
            let left = layout.left + column as u32 * layout.step.0;
            let picture = fit(&cell.picture, self.cell);
            imageops::replace(sheet, &picture, left.into(), top.into());
            let caption = fonts.plain.wrap(&cell.caption, self.cell.0 as f32, CAPTION);
            for (j, text) in caption.iter().enumerate() {
                let y = top + self.cell.1 + 2 + j as u32 * line;
                let centre = self.centre(layout, column);
                fonts.plain.draw(sheet, text, centre, y as f32);
            }
        }
    }

    /// The heading of a column, in lines as wide as its pictures.
    fn heading(&self, bold: &Face, text: &str) -> Vec<String> {
        bold.wrap(text, self.cell.0 as f32, HEADING_LINES)
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
            .flat_map(|row| bold.wrap(&row.heading, HEADINGS_WIDTH, HEADING_LINES));
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

/// The picture scaled to `(width, height)` pixels.
pub fn fit(picture: &RgbImage, (width, height): (u32, u32)) -> RgbImage {
    if picture.dimensions() == (width, height) {
        return picture.clone();
    }
    imageops::resize(picture, width, height, FilterType::CatmullRom)
}
