//! The figure of all heatmaps: beside its picture the words of each prompt, or a row a word and a
//! column a step (the paper's figure of maps over time). Owns what stands where; how a sheet is
//! drawn is `report`'s.

use image::Rgb;

use super::draw::{Scale, Style};
use super::write::{Maps, row_name};
use super::{Heat, ScaleBy, Steps};
use crate::report::sheet::{Cell, ColourBar, Row, Sheet};

/// Cells beside each other.
const WIDE: usize = 10;
/// Pixels of the longer side of a cell.
const CELL: f64 = 96.0;

impl Maps<'_> {
    pub(super) fn figure(&self) -> Sheet {
        let style = Style {
            size: self.cell(),
            ..self.style()
        };
        let over_time = self.spec.steps == Steps::Each;
        let (columns, rows) = match over_time {
            true => self.over_time(&style),
            false => (vec![], self.by_word(&style)),
        };
        Sheet {
            title: self.titles(),
            columns,
            rows,
            bar: (self.look.scale == ScaleBy::Shared).then(|| self.bar()),
            cell: style.size,
        }
    }

    /// The picture, then its words.
    fn by_word(&self, style: &Style) -> Vec<Row> {
        let mut rows: Vec<Row> = vec![];
        let mut last = None;
        for heat in self.heats {
            let key = (heat.row, heat.group, heat.head);
            if last.replace(key) != Some(key) {
                rows.push(Row {
                    heading: self.heading(heat),
                    cells: vec![Cell {
                        picture: self.picture(heat).clone(),
                        caption: String::new(),
                    }],
                });
            } else if rows.last().is_some_and(|row| row.cells.len() >= WIDE) {
                rows.push(Row {
                    heading: String::new(),
                    cells: vec![],
                });
            }
            let row = rows.last_mut().expect("the first heat opens one");
            row.cells.push(Cell {
                picture: style.heatmap(&heat.grid, self.scale(heat)),
                caption: heat.label.clone(),
            });
        }
        rows
    }

    /// A row a word, a column a step: some of them, where they are many.
    fn over_time(&self, style: &Style) -> (Vec<String>, Vec<Row>) {
        let frames = thinned(self.selection.frames.len(), WIDE);
        let mut heats: Vec<&Heat> = self.heats.iter().collect();
        heats.retain(|heat| frames.contains(&heat.frame));
        let line = |heat: &Heat| (heat.row, heat.group, heat.head, heat.index);
        heats.sort_by_key(|heat| (line(heat), heat.frame));
        let rows = heats.chunk_by(|a, b| line(a) == line(b)).map(|word| Row {
            heading: format!("{} {}", self.heading(word[0]), word[0].label),
            cells: Vec::from_iter(word.iter().map(|heat| Cell {
                picture: style.heatmap(&heat.grid, self.scale(heat)),
                caption: String::new(),
            })),
        });
        let label = |frame: &usize| self.selection.frames[*frame].label.clone();
        (frames.iter().map(label).collect(), rows.collect())
    }

    /// What the row is, where there are several kinds.
    fn heading(&self, heat: &Heat) -> String {
        let mut heading = vec![];
        if self.rows_apart() {
            heading.push(row_name(heat.row));
        }
        if self.groups_apart() {
            heading.push(self.selection.groups[heat.group].label.clone());
        }
        heading.extend(heat.head.map(|head| format!("head {head}")));
        heading.join(" ")
    }

    fn titles(&self) -> Vec<String> {
        let prompts = self.prepared.row_prompts();
        let text = |row: usize| prompts[row].0.text.clone();
        match self.rows_apart() {
            true => self
                .rows()
                .map(|row| format!("{}: {}", row_name(row), text(row)))
                .collect(),
            false => self.rows().map(text).collect(),
        }
    }

    fn bar(&self) -> ColourBar {
        let scale = self.heats.first().map(|heat| self.scale(heat));
        let scale = scale.unwrap_or(Scale {
            low: 0.0,
            high: 0.0,
        });
        let colours = (0..256).map(|i| self.look.colormap.colour(i as f32 / 255.0));
        ColourBar {
            low: format!("{:.3}", scale.low),
            high: format!("{:.3}", scale.high),
            colours: colours.collect::<Vec<Rgb<u8>>>(),
        }
    }

    /// In the picture's shape.
    fn cell(&self) -> (u32, u32) {
        let (w, h) = self.style().size;
        let scale = CELL / f64::from(w.max(h));
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
