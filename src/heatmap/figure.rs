//! The figure of all heatmaps: beside its picture the words of each prompt, or a row a word and a
//! column a step (the paper's figure of maps over time). Owns what stands where; how a sheet is
//! drawn is `report`'s.

use image::{Rgb, RgbImage};

use super::draw::{Style, ringed};
use super::write::{Maps, row_name};
use super::{Heat, ScaleBy, Steps};
use crate::report::sheet::{Cell, ColourBar, Row, Sheet, fit};
use crate::sample::Shown;

/// Maps beside each other, next to their picture.
const WIDE: usize = 9;
/// Pixels of the longer side of a cell, and of the width that a word wants.
const CELL: f64 = 96.0;
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

    /// The picture, then its words, in lines of equal length below each other.
    fn by_word(&self, style: &Style) -> Vec<Row> {
        let block = |heat: &Heat| (heat.row, heat.group, heat.head);
        let blocks = || self.heats.chunk_by(|a, b| block(a) == block(b));
        let longest = blocks().map(<[Heat]>::len).max().unwrap_or(1);
        let wide = longest.div_ceil(longest.div_ceil(WIDE));
        let mut rows = vec![];
        let mut last = None;
        for heats in blocks() {
            for (i, line) in heats.chunks(wide).enumerate() {
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

    /// The picture, then a row a word, a column a step.
    fn over_time(&self, style: &Style, frames: &[usize]) -> (Vec<String>, Vec<Row>) {
        let mut heats: Vec<&Heat> = self.heats.iter().collect();
        heats.retain(|heat| frames.contains(&heat.frame));
        let line = |heat: &Heat| (heat.row, heat.group, heat.head, heat.index);
        heats.sort_by_key(|heat| (line(heat), heat.frame));
        let mut last = None;
        let rows = heats.chunk_by(|a, b| line(a) == line(b)).map(|word| {
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

    fn map(&self, style: &Style, heat: &Heat) -> RgbImage {
        let map = style.heatmap(&heat.grid, self.scale(heat));
        match heat.from {
            Some(at) => ringed(map, at),
            None => map,
        }
    }

    /// A row's picture at a cell's size, with the place that looks.
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

    fn caption(&self, heat: &Heat) -> String {
        match self.is_beyond(heat) {
            true => format!("{} 0–{:.2}", heat.label, self.scale(heat).high),
            false => heat.label.clone(),
        }
    }

    /// What the row is, where there are several kinds.
    fn heading(&self, heat: &Heat) -> String {
        let mut heading = vec![];
        heading.extend(self.row_label(heat.row));
        if self.groups_apart() {
            heading.push(self.selection.groups[heat.group].label.clone());
        }
        heading.extend(heat.head.map(|head| format!("head {head}")));
        heading.join(" ")
    }

    /// Which row it is, where that is not plain: also whether its maps are what the edit made of them.
    fn row_label(&self, row: usize) -> Option<String> {
        let own = self.spec.shown == Shown::Own && row > 0;
        match (own, self.rows().count() > 1) {
            (true, _) => Some(format!("{} (own)", row_name(row))),
            (false, true) => Some(row_name(row)),
            (false, false) => None,
        }
    }

    fn titles(&self) -> Vec<String> {
        let title = |row: usize| match (self.row_label(row), &self.picture(row).caption) {
            (Some(label), caption) => format!("{label}: {caption}"),
            (None, caption) => caption.clone(),
        };
        self.rows().map(title).collect()
    }

    fn bar(&self) -> ColourBar {
        let scale = self.shared;
        let colours = (0..256).map(|i| self.look.colormap.colour(i as f32 / 255.0));
        ColourBar {
            low: format!("{:.3}", scale.low),
            high: format!("{:.3}", scale.high),
            colours: colours.collect::<Vec<Rgb<u8>>>(),
        }
    }

    /// In the picture's shape, and where that is narrow larger, for the word below it.
    fn cell(&self) -> (u32, u32) {
        let (w, h) = self.style().size;
        let usual = CELL / f64::from(w.max(h));
        let scale = (NARROW / f64::from(w)).clamp(usual, 2.0 * usual);
        let side = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).max(1);
        (side(w), side(h))
    }
}

/// At most `most` of `count`, evenly, first and last among them.
fn thinned(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    (0..most).map(|i| i * (count - 1) / (most - 1)).collect()
}
