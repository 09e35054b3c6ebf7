//! Writes heatmaps as files: a picture for each word, the grid of all words, the index, the raw tensors.
//! Owns the names of the files and the index's values. It must never know how grids are coloured, which
//! [`draw`](super::draw) does.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use image::RgbImage;
use safetensors::tensor::{Dtype, TensorView};

use super::draw::{Scale, Style, ringed};
use super::index::{Index, IndexEntry, LocatedWords, Raw};
use super::locate::{bounds, mask, part_at, peak, strongest};
use super::maps::{heatmaps, located, recorded};
use super::{Heatmap, Look, MapSpec, Resolution, ScaleBy, Selection};
use crate::attention::AttentionKind;
use crate::error::{Error, Result};
use crate::job::{Outcome, Picture, Prepared};
use crate::prompt::Tokens;
use crate::report::output::OutputFolder;
use crate::report::slug::slug;
use crate::report::xmp::ai_mark;
use crate::sample::{Columns, Recorded, Recorder, Shown};

/// The folder of all heatmap files, inside the output folder.
pub const FOLDER: &str = "attn";

/// The picture that shows all heatmaps, inside the output folder.
pub const GRID: &str = "attn/grid.png";
const INDEX: &str = "attn/index.json";
const RAW: &str = "attn/maps.safetensors";

/// The heatmaps of a finished run, ready to be written.
pub struct Maps<'a> {
    pub(super) spec: &'a MapSpec,
    pub(super) look: &'a Look,
    pub(super) selection: &'a Selection,
    pub(super) prepared: &'a Prepared,
    pub(super) outcome: &'a Outcome,
    recorded: Cow<'a, [Recorded]>,
    pub(super) heatmaps: Vec<Heatmap>,
    pub(super) shared: Scale,
}

/// The name of a row in files: `source`, `edited-1`.
pub(super) fn row_name(row: usize) -> String {
    match row {
        0 => "source".to_owned(),
        row => format!("edited-{row}"),
    }
}

impl<'a> Maps<'a> {
    /// Computes the heatmaps of a run from what its recorder kept.
    ///
    /// # Errors
    ///
    /// A usage error if self-attention is too large to decompose.
    /// Computes the heatmaps of a run from what its recorder kept.
    ///
    /// # Errors
    ///
    /// A usage error if self-attention is too large to decompose.
    pub fn new(
        (spec, look): (&'a MapSpec, &'a Look),
        selection: &'a Selection,
        prepared: &'a Prepared,
        outcome: &'a Outcome,
        recorder: &'a Recorder,
    ) -> Result<Self> {
        let recorded = recorded(spec, recorder, prepared.latent_size)?;
        let heatmaps = heatmaps(spec, selection, &recorded)?;
        // The special tokens draw most of the attention. A scale that includes them would hide the words.
        let words = heatmaps.iter().filter(|heat| !heat.special);
        let shared = Scale::of(words.map(|heat| &heat.grid));
        Ok(Self {
            spec,
            look,
            selection,
            prepared,
            outcome,
            recorded,
            heatmaps,
            shared,
        })
    }

    /// Writes all files of `attn/` and returns the picture of all heatmaps, for the terminal.
    ///
    /// # Errors
    ///
    /// A run error if a file cannot be written, a usage error if a word to locate draws no attention.
    pub fn write(&self, output: &mut OutputFolder) -> Result<RgbImage> {
        let mut index = self.index();
        let mut names = Names::default();
        for heat in &self.heatmaps {
            let name = names.unused(self.name(heat));
            index.maps.push(self.write_heat(output, heat, &name)?);
        }
        for heat in located(self.selection, &self.recorded)? {
            let (row, word) = (row_name(heat.row), plain(&heat.label));
            let name = names.unused(format!("{FOLDER}/{row}/located-{word}"));
            index
                .located
                .push(self.write_located(output, &heat, &name)?);
        }
        let grid = self.figure().draw();
        output.write_png(GRID, &grid, &[ai_mark()])?;
        if self.look.raw {
            output.write_bytes(RAW, &self.raw()?)?;
        }
        let json = serde_json::to_string_pretty(&index).expect("plain data with string keys");
        output.write_text(INDEX, &(json + "\n"))?;
        Ok(grid)
    }

    fn index(&self) -> Index {
        let merged = self.spec.resolution == Resolution::Merged;
        let prompts = self.prepared.row_prompts();
        let prompt = |row: usize| (row_name(row), prompts[row].0.text.clone());
        let tokens = |row| match &self.selection.recording.columns[row] {
            Columns::These(tokens) => Some((row_name(row), tokens.clone())),
            _ => None,
        };
        let raw = || Raw {
            file: RAW.to_owned(),
            shape: ["steps", "heads", "tokens", "h", "w"],
            tokens: self.rows().filter_map(tokens).collect(),
        };
        Index {
            schema: "p2p.maps/v1",
            kind: match self.spec.kind {
                AttentionKind::Cross => "cross",
                AttentionKind::SelfAttn => "self",
            },
            like: merged.then_some("daam"),
            edited_as: match self.spec.shown {
                Shown::Used => "injected",
                Shown::Own => "own",
            },
            scale: match self.look.scale {
                ScaleBy::Shared => "shared",
                ScaleBy::Token => "token",
            },
            values: if merged {
                "sum over steps, mean over layers and heads"
            } else {
                "mean over steps, layers and heads, where they are not apart"
            },
            prompts: self.rows().map(prompt).collect(),
            maps: vec![],
            located: vec![],
            raw: self.look.raw.then(raw),
        }
    }

    /// The rows of the run that are shown.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
        let columns = &self.selection.recording.columns;
        (0..columns.len()).filter(|row| columns[*row] != Columns::Nothing)
    }

    /// Whether there are several groups of layers, which files and headings then name.
    /// Whether there are several groups of layers, which files and headings then name.
    pub(super) fn groups_apart(&self) -> bool {
        self.selection.groups.len() > 1
    }

    /// The picture of a row.
    /// The picture of a row.
    pub(super) fn picture(&self, row: usize) -> &Picture {
        let mut pictures = self.outcome.pictures.iter();
        let picture = pictures.find(|picture| picture.row == row);
        picture.expect("a selection shows rows that are drawn")
    }

    pub(super) fn style(&self) -> Style {
        Style {
            colormap: self.look.colormap,
            enlarge: self.look.enlarge,
            size: (
                self.prepared.run.width as u32,
                self.prepared.run.height as u32,
            ),
        }
    }

    /// The colour scale of a heatmap.
    /// The colour scale of a heatmap.
    pub(super) fn scale(&self, heat: &Heatmap) -> Scale {
        match self.look.scale {
            ScaleBy::Token => Scale::within(&heat.grid),
            ScaleBy::Shared if self.is_beyond(heat) => Scale::of([&heat.grid]),
            ScaleBy::Shared => self.shared,
        }
    }

    /// Whether it is the map of a special token with values above the shared scale of the words.
    pub(super) fn is_beyond(&self, heat: &Heatmap) -> bool {
        let shared = self.look.scale == ScaleBy::Shared;
        shared && heat.special && Scale::of([&heat.grid]).high > self.shared.high
    }

    fn write_heat(
        &self,
        output: &mut OutputFolder,
        heat: &Heatmap,
        name: &str,
    ) -> Result<IndexEntry> {
        let (style, scale) = (self.style(), self.scale(heat));
        let (file, overlay) = (format!("{name}.png"), format!("{name}-overlay.png"));
        let picture = &self.picture(heat.row).image;
        let marked = |picture| match heat.from {
            Some(at) => ringed(picture, at),
            None => picture,
        };
        output.write_png(&file, &marked(style.heatmap(&heat.grid, scale)), &[])?;
        // The overlay shows the generated picture, so it is marked as generated. The heatmap is not.
        let shown = style.overlay(picture, &heat.grid, scale);
        output.write_png(&overlay, &marked(shown), &[ai_mark()])?;
        let values = &heat.grid.values;
        let (w, h) = (style.size.0 as f32, style.size.1 as f32);
        Ok(IndexEntry {
            file,
            overlay,
            row: row_name(heat.row),
            word: heat.label.clone(),
            tokens: heat.tokens.clone(),
            places: places(self.prepared.row_prompts()[heat.row].0, &heat.tokens),
            layers: heat.layers.clone(),
            steps: self.selection.frames[heat.frame].label.clone(),
            head: heat.head,
            singular_value: heat.singular_value,
            from: heat.from.map(|(x, y)| [(x * w) as u32, (y * h) as u32]),
            grid: [heat.grid.size.0, heat.grid.size.1],
            range: [scale.low, scale.high],
            mean: values.iter().sum::<f32>() / values.len() as f32,
            peak: peak(&heat.grid, style.size),
        })
    }

    /// A heatmap's path without extension: `attn/source/03-cat`. Groups, steps and heads are named only if
    /// there are several.
    fn name(&self, heat: &Heatmap) -> String {
        let mut path = vec![FOLDER.to_owned(), row_name(heat.row)];
        if self.groups_apart() {
            path.push(self.selection.groups[heat.group].label.replace(' ', "-"));
        }
        if self.selection.frames.len() > 1 {
            let call = self.selection.frames[heat.frame].calls.start;
            path.push(format!("step-{:03}", call + 1));
        }
        if let Some(head) = heat.head {
            path.push(format!("head-{head}"));
        }
        path.push(match self.spec.kind {
            AttentionKind::Cross => format!("{:02}-{}", heat.index, plain(&heat.label)),
            // The label already contains the number.
            AttentionKind::SelfAttn => plain(&heat.label),
        });
        path.join("/")
    }

    fn write_located(
        &self,
        output: &mut OutputFolder,
        heat: &Heatmap,
        name: &str,
    ) -> Result<LocatedWords> {
        let (file, (w, h)) = (format!("{name}.png"), self.style().size);
        let (threshold, rules) = (self.look.threshold, self.prepared.controller.rules());
        let mask = mask(heat, threshold, rules, self.prepared.latent_size)?;
        let mask = mask.nearest((h as usize, w as usize));
        let bytes = mask.values.iter().map(|v| (v * 255.0) as u8).collect();
        let picture = image::GrayImage::from_raw(w, h, bytes).expect("a value per pixel");
        output.write_png(&file, &picture, &[])?;
        let peak = strongest(&heat.grid, (w, h));
        Ok(LocatedWords {
            file,
            row: row_name(heat.row),
            word: heat.label.clone(),
            tokens: heat.tokens.clone(),
            places: places(self.prepared.row_prompts()[heat.row].0, &heat.tokens),
            threshold,
            share: mask.values.iter().sum::<f32>() / mask.values.len() as f32,
            peak,
            r#box: bounds(&part_at(&mask, peak)),
            mask_box: bounds(&mask),
        })
    }

    /// A safetensors file with a tensor `[steps, heads, tokens, h, w]` for each row and group, named
    /// `source/16x16`.
    fn raw(&self) -> Result<Vec<u8>> {
        let mut data: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
        let frames = self.selection.frames.len();
        let mut sums: Vec<_> = self.recorded.iter().collect();
        sums.sort_by_key(|r| (r.row, r.group, r.frame, r.head));
        for recorded in sums {
            let label = self.selection.groups[recorded.group]
                .label
                .replace(' ', "-");
            let mean = recorded
                .mean()?
                .permute((2, 0, 1))?
                .flatten_all()?
                .to_vec1::<f32>()?;
            let columns = mean.len() / (recorded.grid.0 * recorded.grid.1);
            let key = format!("{}/{label}", row_name(recorded.row));
            let entry = data.entry(key).or_insert_with(|| {
                (
                    vec![frames, 0, columns, recorded.grid.0, recorded.grid.1],
                    vec![],
                )
            });
            entry.0[1] += 1;
            entry.1.extend(mean.iter().flat_map(|v| v.to_le_bytes()));
        }
        let views = data.iter_mut().map(|(name, (shape, bytes))| {
            shape[1] /= frames.max(1);
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.clone(), view))
        });
        let views: std::result::Result<Vec<_>, _> = views.collect();
        let refused = |e| Error::run(format!("cannot encode the maps: {e}"), "please report this");
        safetensors::serialize(views.map_err(refused)?, None).map_err(refused)
    }
}

/// Ranges of tokens in their prompt, in characters. Successive tokens share a range.
fn places(prompt: &Tokens, tokens: &[usize]) -> Vec<[usize; 2]> {
    let characters = |bytes: usize| prompt.text[..bytes].chars().count();
    let spans = tokens.chunk_by(|a, b| a + 1 == *b).filter_map(|run| {
        // Special tokens are not part of the text.
        let span = |token: usize| prompt.spans.get(token.checked_sub(1)?);
        let (first, last) = (span(run[0])?, span(run[run.len() - 1])?);
        Some([characters(first.start), characters(last.end)])
    });
    spans.collect()
}

/// File names in use. Words of punctuation, and long phrases, can have the same file name.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn unused(&mut self, name: String) -> String {
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        let unused = names.find(|name| self.0.insert(name.clone()));
        unused.expect("there is always another number")
    }
}

/// A word as part of a file name.
fn plain(word: &str) -> String {
    if word.chars().any(char::is_alphanumeric) {
        slug(word, &[])
    } else {
        "sign".to_owned()
    }
}
