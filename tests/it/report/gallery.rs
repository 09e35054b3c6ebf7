//! Folders of runs as `p2p edit` writes them, made up without a model: what the report's tests stand on.

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder for runs.
pub struct Gallery(TempDir);

/// A run with one edit; fields that a test is not about have defaults.
#[derive(Clone)]
pub struct Made<'a> {
    pub src: &'a str,
    pub dst: &'a str,
    pub seed: u64,
    /// Mean difference inside and outside.
    pub change: (f64, f64),
    /// Beside source and edit.
    pub more: &'a [&'a str],
    pub side: u32,
}

impl Default for Made<'_> {
    fn default() -> Self {
        Self {
            src: "a cat on the beach",
            dst: "a dog on the beach",
            seed: 4,
            change: (30.0, 2.0),
            more: &[],
            side: 16,
        }
    }
}

impl Gallery {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A run in the folder `name`, empty for the gallery's own.
    pub fn run(&self, name: &str, made: &Made) {
        let join = |file: &str| Path::new(name).join(file).to_str().unwrap().to_owned();
        let files = [&["source.png", "edited-1.png"], made.more].concat();
        for (i, file) in files.iter().enumerate() {
            self.write(&join(file), picture(made.side, made.seed as u8, i as u8));
        }
        let manifest = manifest(made, &files).to_string();
        self.write(&join("manifest.json"), manifest);
    }

    /// A heatmap for each word of both prompts of a run.
    pub fn heatmaps(&self, name: &str, made: &Made) {
        let mut maps = vec![];
        for (row, prompt) in [("source", made.src), ("edited-1", made.dst)] {
            let mut at = 0;
            for (i, word) in prompt.split(' ').enumerate() {
                let file = format!("attn/{row}/{i:02}.png");
                self.write(&format!("{name}/{file}"), picture(made.side, i as u8, 200));
                let length = word.chars().count();
                maps.push(json!({
                    "file": file, "row": row, "word": word, "grid": [4, 4],
                    "places": [[at, at + length]],
                }));
                at += length + 1;
            }
        }
        let index = json!({ "schema": "p2p.maps/v1", "kind": "cross", "maps": maps });
        self.write(&format!("{name}/attn/index.json"), index.to_string());
    }
}

pub fn picture(side: u32, red: u8, green: u8) -> Vec<u8> {
    let picture = RgbImage::from_fn(side, side, |x, y| Rgb([red, green, (x * y) as u8]));
    let mut png = std::io::Cursor::new(vec![]);
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

pub fn manifest(made: &Made, files: &[&str]) -> Value {
    let part =
        |share: f64, mean_abs: f64| json!({ "share": share, "mean_abs": mean_abs, "psnr": 20.5 });
    let settings = |edit: Value| {
        json!({
            "src": made.src, "negative_prompt": "", "seed": made.seed, "steps": 30, "guidance": 5.0,
            "width": made.side, "height": made.side, "scheduler": "ddim", "self_res": 1, "fast": false,
            "edit_control": true, "edit": [edit],
        })
    };
    let edit = json!({
        "dst": made.dst, "edit": "replace", "cross_steps": { "default": "0..0.8" }, "self_steps": "0..0.6",
    });
    let mut pictures = vec![
        json!({ "file": "source.png", "role": "source", "settings": { "src": made.src, "edit": [] } }),
        json!({ "file": "edited-1.png", "role": "edited", "edit": 1, "settings": settings(edit) }),
    ];
    if made.more.contains(&"baseline-1.png") {
        let settings = settings(json!({ "dst": made.dst }));
        pictures.push(json!({
            "file": "baseline-1.png", "role": "baseline", "edit": 1, "settings": settings,
        }));
    }
    json!({
        "schema": "p2p.edit/v1",
        "version": "0.1.0",
        "model": { "id": "storybook", "weights_sha256": "c0ffee", "configs_sha256": "beef" },
        "source": { "prompt": made.src, "tokens": [] },
        "edits": [{
            "prompt": made.dst,
            "negative_prompt": "",
            "edit": "replace",
            "kind_chosen_by": "prompts",
            "kind_chosen_because": "words are swapped one for one",
            "cross_steps": { "default": "0..0.8" },
            "self_steps": "0..0.6",
            "strength": 1.0,
            "alignment": [],
            "change": {
                "whole": part(1.0, made.change.0 * 0.2 + made.change.1 * 0.8),
                "inside": part(0.2, made.change.0),
                "outside": part(0.8, made.change.1),
            },
        }],
        "negative_prompt": "",
        "seed": made.seed,
        "rng": "torch-cpu",
        "steps": 30,
        "guidance": 5.0,
        "scheduler": "ddim",
        "width": made.side,
        "height": made.side,
        "self_res": 1,
        "edit_control": true,
        "fast": false,
        "pictures": pictures,
        "files": files,
        "timings": {},
    })
}
