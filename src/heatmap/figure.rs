//! The figure with all heatmaps, `attn/grid.png`. It shows each picture beside the maps of its words, or has a
//! row for each word and a column for each step (like the paper's figure of maps over time). Owns the
//! layout. It must never know how a sheet is drawn, which `report::sheet` does.

use image::{Rgb, RgbImage};

use super::draw::{Style, ringed};
use super::write::{Maps, row_name};
use super::{Heatmap, ScaleBy, Steps};
use crate::report::sheet::{Cell, ColourBar, Row, Sheet, fit};
use crate::sample::Shown;

/// Largest number of maps in a line.
const WIDE: usize = 9;
/// Length of a cell's longer side in pixels.
const CELL: f64 = 96.0;
/// Width in pixels below which a cell is too narrow for the word below it.
const NARROW: f64 = 88.0;

impl Maps<'_> {
    pub(super) fn figure(&self) -> Sheet {
        let style = Style {
            size: self.cell(),
            ..self.style()
        };
        let (columns, rows) = match self.spec.steps {
            Steps::In(_) => (vec![], self.by_word(&style)),
            Steps::Each => self.over_time(&style, &thinned(self.selection.frames.len(), WIDE)),
            Steps::At(_) => {
                let all = Vec::from_iter(0..self.selection.frames.len());
                self.over_time(&style, &all)
            }
        };
        Sheet {
            note: None,
            title: self.titles(),
            columns,
            rows,
            bar: (self.look.scale == ScaleBy::Shared).then(|| self.bar()),
            cell: style.size,
        }
    }

    /// Rows with the picture followed by its words, in lines of equal length.
    fn by_word(&self, style: &Style) -> Vec<Row> {
        let block = |heat: &Heatmap| (heat.row, heat.group, heat.head);
        let blocks = || self.heatmaps.chunk_by(|a, b| block(a) == block(b));
        let longest = blocks().map(<[Heatmap]>::len).max().unwrap_or(1);
        let wide = longest.div_ceil(longest.div_ceil(WIDE));
        let mut rows = vec![];
        let mut last = None;
        for heatmaps in blocks() {
            for (i, line) in heatmaps.chunks(wide).enumerate() {
                let maps = line.iter().map(|heat| Cell {
                    picture: self.map(style, heat),
                    caption: self.caption(heat),
                });
                let row = line[0].row;
                let first = last.replace(row) != Some(row);
                let picture = first.then(|| self.lead(row, style));
                rows.push(Row {
                    heading: if i == 0 {
                        self.heading(&line[0])
                    } else {
                        String::new()
                    },
                    cells: std::iter::once(picture).chain(maps.map(Some)).collect(),
                });
            }
        }
        rows
    }

    /// The column labels and the rows: a row for each word, and a column for each step after the picture.
    fn over_time(&self, style: &Style, frames: &[usize]) -> (Vec<String>, Vec<Row>) {
        let mut heatmaps: Vec<&Heatmap> = self.heatmaps.iter().collect();
        heatmaps.retain(|heat| frames.contains(&heat.frame));
        let line = |heat: &Heatmap| (heat.row, heat.group, heat.head, heat.index);
        heatmaps.sort_by_key(|heat| (line(heat), heat.frame));
        let mut last = None;
        let rows = heatmaps.chunk_by(|a, b| line(a) == line(b)).map(|word| {
            let row = word[0].row;
            let first = last.replace(row) != Some(row);
            let picture = first.then(|| self.lead(row, style));
            let maps = word.iter().map(|heat| Cell {
                picture: self.map(style, heat),
                caption: String::new(),
            });
            Row {
                heading: format!("{} {}", self.heading(word[0]), self.caption(word[0])),
                cells: std::iter::once(picture).chain(maps.map(Some)).collect(),
            }
        });
        let rows = rows.collect();
        let label = |frame: &usize| self.selection.frames[*frame].label.clone();
        let labels = std::iter::once(String::new()).chain(frames.iter().map(label));
        (labels.collect(), rows)
    }

    fn map(&self, style: &Style, heat: &Heatmap) -> RgbImage {
        let map = style.heatmap(&heat.grid, self.scale(heat));
        match heat.from {
            Some(at) => ringed(map, at),
            None => map,
        }
    }

    /// The picture of a row at the size of a cell. A ring marks the pixel whose self-attention is shown.
    fn lead(&self, row: usize, style: &Style) -> Cell {
        let picture = fit(&self.picture(row).image, style.size);
        Cell {
            picture: match self.spec.pixel {
                Some(at) => ringed(picture, at),
                None => picture,
            },
            caption: String::new(),
        }
    }

    fn caption(&self, heat: &Heatmap) -> String {
        if self.is_beyond(heat) {
            format!("{} 0–{:.2}", heat.label, self.scale(heat).high)
        } else {
            heat.label.clone()
        }
    }

    /// The heading of a line: the parts that differ between lines.
    fn heading(&self, heat: &Heatmap) -> String {
        let mut heading = vec![];
        heading.extend(self.row_label(heat.row));
        if self.groups_apart() {
            heading.push(self.selection.groups[heat.group].label.clone());
        }
        heading.extend(heat.head.map(|head| format!("head {head}")));
        heading.join(" ")
    }

    /// The name of a row if there are several, and a mark if its maps are those before the edit.
    fn row_label(&self, row: usize) -> Option<String> {
        let own = self.spec.shown == Shown::Own && row > 0;
        if own {
            Some(format!("{} (own)", row_name(row)))
        } else {
            (self.rows().count() > 1).then(|| row_name(row))
        }
    }

    fn titles(&self) -> Vec<String> {
        let title = |row: usize| match (self.row_label(row), &self.picture(row).caption) {
            (Some(label), caption) => format!("{label}: {caption}"),
            (None, caption) => caption.clone(),
        };
        self.rows().map(title).collect()
    }

    /// The bar that shows the shared scale.
    fn bar(&self) -> ColourBar {
        let scale = self.shared;
        let colours = (0..256).map(|i| self.look.colormap.colour(i as f32 / 255.0));
        ColourBar {
            low: format!("{:.3}", scale.low),
            high: format!("{:.3}", scale.high),
            colours: colours.collect::<Vec<Rgb<u8>>>(),
        }
    }

    /// Size of a cell, with the picture's aspect ratio. Narrow cells are larger, so that their word fits.
    fn cell(&self) -> (u32, u32) {
        let (w, h) = self.style().size;
        let usual = CELL / f64::from(w.max(h));
        let scale = (NARROW / f64::from(w)).clamp(usual, 2.0 * usual);
        let side = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).max(1);
        (side(w), side(h))
    }
}

/// At most `most` indices below `count`, evenly spaced, including the first and the last.
fn thinned(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    (0..most).map(|i| i * (count - 1) / (most - 1)).collect()
}
