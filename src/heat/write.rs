//! Heatmaps as files: a picture a word, the grid of all, an index, the numbers.
//! Owns the names and what the index says; how anything is coloured is `draw`'s.

use std::collections::BTreeMap;

use image::RgbImage;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;

use super::draw::{Scale, Style};
use super::maps::located;
use super::{Heat, Look, MapSpec, Resolution, ScaleBy, Selection};
use crate::attention::Kind;
use crate::edit::{Grid, Region};
use crate::error::{Error, Result};
use crate::job::{Outcome, Prepared};
use crate::prompt::Tokens;
use crate::report::output::OutputFolder;
use crate::report::slug::slug;
use crate::report::xmp::ai_mark;
use crate::sample::{Columns, Recorder, Shown};

/// The folder of all of it.
pub const FOLDER: &str = "attn";

/// What is drawn, and from what.
pub struct Maps<'a> {
    pub spec: &'a MapSpec,
    pub look: &'a Look,
    pub selection: &'a Selection,
    pub prepared: &'a Prepared,
    pub outcome: &'a Outcome,
    pub heats: &'a [Heat],
}

#[derive(Debug, Serialize)]
struct Index {
    schema: &'static str,
    kind: &'static str,
    /// `daam` where all layers are merged as it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    like: Option<&'static str>,
    /// Whether an edited row's maps are those it was made to use, or its `own`.
    edited_as: &'static str,
    /// `shared` or `token`.
    scale: &'static str,
    prompts: BTreeMap<String, String>,
    maps: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    located: Vec<Located>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Raw>,
}

/// What the numbers' tensors mean, each named by row and resolution or layer: `source/16x16`.
#[derive(Debug, Serialize)]
struct Raw {
    file: String,
    shape: [&'static str; 5],
    /// Per row, the tokens along the third axis; in self-attention it is the pixels looked at.
    tokens: BTreeMap<String, Vec<usize>>,
}

#[derive(Debug, Serialize)]
struct Entry {
    file: String,
    overlay: String,
    row: String,
    word: String,
    /// Tokens whose attention is summed.
    tokens: Vec<usize>,
    /// Where these stand in the prompt: from and to before, in characters.
    places: Vec<[usize; 2]>,
    layers: Vec<usize>,
    steps: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<usize>,
    /// `[height, width]`
    grid: [usize; 2],
    /// What the darkest and the brightest colour stand for.
    range: [f32; 2],
    mean: f32,
    /// Where it is largest: the cell's middle, in pixels of the picture.
    peak: [u32; 2],
}

#[derive(Debug, Serialize)]
struct Located {
    file: String,
    row: String,
    word: String,
    threshold: f32,
    /// Share of the picture.
    share: f32,
    /// Left, top, right, bottom in pixels, the last two beyond it; absent where it is nowhere.
    r#box: Option<[u32; 4]>,
}

/// `source`, `edited-1`.
pub(super) fn row_name(row: usize) -> String {
    match row {
        0 => "source".to_owned(),
        row => format!("edited-{row}"),
    }
}

impl Maps<'_> {
    /// Writes everything below `attn/`; the grid comes back, for a terminal.
    pub fn write(&self, output: &mut OutputFolder, recorder: &Recorder) -> Result<RgbImage> {
        let mut index = self.index();
        for heat in self.heats {
            index.maps.push(self.write_heat(output, heat)?);
        }
        if let Some(word) = &self.spec.locate {
            index.located = self.write_located(output, recorder, word)?;
        }
        let grid = self.figure().draw();
        output.write_png(&format!("{FOLDER}/grid.png"), &grid, &[ai_mark()])?;
        if self.look.raw {
            output.write_bytes(&format!("{FOLDER}/maps.safetensors"), &self.raw(recorder)?)?;
        }
        let json = serde_json::to_string_pretty(&index).expect("plain data with string keys");
        output.write_text(&format!("{FOLDER}/index.json"), &(json + "\n"))?;
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
        let raw = Raw {
            file: format!("{FOLDER}/maps.safetensors"),
            shape: [
                "steps",
                if merged { "layers" } else { "heads" },
                "tokens",
                "h",
                "w",
            ],
            tokens: self.rows().filter_map(tokens).collect(),
        };
        Index {
            schema: "p2p.maps/v1",
            kind: match self.spec.kind {
                Kind::Cross => "cross",
                Kind::SelfAttn => "self",
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
            prompts: self.rows().map(prompt).collect(),
            maps: vec![],
            located: vec![],
            raw: self.look.raw.then_some(raw),
        }
    }

    /// The rows that are shown.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
        let columns = &self.selection.recording.columns;
        (0..columns.len()).filter(|row| columns[*row] != Columns::Nothing)
    }

    pub(super) fn rows_apart(&self) -> bool {
        self.rows().count() > 1
    }

    pub(super) fn groups_apart(&self) -> bool {
        let first = self.heats.first().map(|heat| heat.group);
        self.heats.iter().any(|heat| Some(heat.group) != first)
    }

    pub(super) fn picture(&self, heat: &Heat) -> &RgbImage {
        let picture = self.outcome.picture(heat.row);
        picture.expect("a selection shows rows that are drawn")
    }

    pub(super) fn style(&self) -> Style {
        Style {
            colormap: self.look.colormap,
            enlarge: self.look.enlarge,
            size: (self.prepared.width as u32, self.prepared.height as u32),
        }
    }

    /// Begin and end draw most of all attention: words are measured against words.
    pub(super) fn scale(&self, heat: &Heat) -> Scale {
        if self.look.scale == ScaleBy::Token {
            return Scale::within(&heat.grid);
        }
        let text = |heat: &&Heat| !heat.special;
        let words = self.heats.iter().filter(text).map(|heat| &heat.grid);
        Scale::of(words)
    }

    fn write_heat(&self, output: &mut OutputFolder, heat: &Heat) -> Result<Entry> {
        let (style, scale) = (self.style(), self.scale(heat));
        let name = self.name(heat);
        let (file, overlay) = (format!("{name}.png"), format!("{name}-overlay.png"));
        output.write_png(&file, &style.heatmap(&heat.grid, scale), &[])?;
        // It shows the picture; the heatmap alone does not.
        let shown = style.overlay(self.picture(heat), &heat.grid, scale);
        output.write_png(&overlay, &shown, &[ai_mark()])?;
        let values = &heat.grid.values;
        Ok(Entry {
            file,
            overlay,
            row: row_name(heat.row),
            word: heat.label.clone(),
            tokens: heat.tokens.clone(),
            places: places(self.prepared.row_prompts()[heat.row].0, &heat.tokens),
            layers: heat.layers.clone(),
            steps: self.selection.frames[heat.frame].label.clone(),
            head: heat.head,
            grid: [heat.grid.size.0, heat.grid.size.1],
            range: [scale.low, scale.high],
            mean: values.iter().sum::<f32>() / values.len() as f32,
            peak: peak(&heat.grid, style.size),
        })
    }

    /// `attn/source/03-cat`; what there is only one of is not named.
    fn name(&self, heat: &Heat) -> String {
        let mut path = vec![FOLDER.to_owned(), row_name(heat.row)];
        if self.groups_apart() {
            path.push(self.selection.groups[heat.group].label.replace(' ', "-"));
        }
        if self.selection.frames.len() > 1 {
            path.push(format!("step-{:03}", heat.frame + 1));
        }
        if let Some(head) = heat.head {
            path.push(format!("head-{head}"));
        }
        path.push(format!("{:02}-{}", heat.index, plain(&heat.label)));
        path.join("/")
    }

    fn write_located(
        &self,
        output: &mut OutputFolder,
        recorder: &Recorder,
        word: &str,
    ) -> Result<Vec<Located>> {
        let latents = self.prepared.latent_size;
        let heats = located(self.spec, self.selection, recorder, latents)?;
        let (w, h) = self.style().size;
        let write = |heat: &Heat| {
            let file = format!(
                "{FOLDER}/{}/located-{}.png",
                row_name(heat.row),
                plain(word)
            );
            let mask = self.mask(heat)?.nearest((h as usize, w as usize));
            let bytes = mask.values.iter().map(|v| (v * 255.0) as u8).collect();
            let picture = image::GrayImage::from_raw(w, h, bytes).expect("a value per pixel");
            output.write_png(&file, &picture, &[])?;
            Ok(Located {
                file,
                row: row_name(heat.row),
                word: word.to_owned(),
                threshold: self.look.threshold,
                share: mask.values.iter().sum::<f32>() / mask.values.len() as f32,
                r#box: bounds(&mask),
            })
        };
        heats.iter().map(write).collect()
    }

    /// The mask that local blend would make of it.
    fn mask(&self, heat: &Heat) -> Result<Grid> {
        let mut region = Region {
            words: [vec![], heat.tokens.clone()],
            ..Region::default()
        };
        region.thresholds.words = self.look.threshold;
        let rules = self.prepared.controller.rules();
        region.mask(self.prepared.latent_size, rules, |_, _| {
            Ok(Some(heat.grid.clone()))
        })
    }

    /// Per row and resolution a tensor `[steps, heads, tokens, h, w]`, named `source/16x16`; where layers
    /// are merged they stand in the heads' place, each of them a mean over its heads.
    fn raw(&self, recorder: &Recorder) -> Result<Vec<u8>> {
        let mut data: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
        let frames = self.selection.frames.len();
        let mut sums: Vec<_> = recorder.recorded().iter().collect();
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

/// Where tokens stand in their prompt, those that follow each other as one.
fn places(prompt: &Tokens, tokens: &[usize]) -> Vec<[usize; 2]> {
    let characters = |bytes: usize| prompt.text[..bytes].chars().count();
    let spans = tokens.chunk_by(|a, b| a + 1 == *b).filter_map(|run| {
        // Begin, end and pads stand nowhere.
        let span = |token: usize| prompt.spans.get(token.checked_sub(1)?);
        let (first, last) = (span(run[0])?, span(run[run.len() - 1])?);
        Some([characters(first.start), characters(last.end)])
    });
    spans.collect()
}

/// A word as part of a file's name.
fn plain(word: &str) -> String {
    match word.chars().any(char::is_alphanumeric) {
        true => slug(word, &[]),
        false => "sign".to_owned(),
    }
}

fn peak(grid: &Grid, (width, height): (u32, u32)) -> [u32; 2] {
    let (h, w) = grid.size;
    let largest = |best: usize, i: usize| {
        if grid.values[i] > grid.values[best] {
            i
        } else {
            best
        }
    };
    let at = (0..grid.values.len()).fold(0, largest);
    let middle = |cell: usize, cells: usize, pixels: u32| {
        ((2 * cell + 1) * pixels as usize / (2 * cells)) as u32
    };
    [middle(at % w, w, width), middle(at / w, h, height)]
}

fn bounds(mask: &Grid) -> Option<[u32; 4]> {
    let (_, w) = mask.size;
    let inside: Vec<(u32, u32)> = (0..mask.values.len())
        .filter(|&i| mask.values[i] > 0.0)
        .map(|i| ((i % w) as u32, (i / w) as u32))
        .collect();
    Some([
        inside.iter().map(|p| p.0).min()?,
        inside.iter().map(|p| p.1).min()?,
        inside.iter().map(|p| p.0).max()? + 1,
        inside.iter().map(|p| p.1).max()? + 1,
    ])
}
