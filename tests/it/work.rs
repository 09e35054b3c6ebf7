//! Tests what is computed from the configs of a model alone: the attention sites, which must be those that a hook
//! meets in a forward pass, and the FLOP, which must be those of PyTorch's counter (`tests/reference/work.py`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use prompt_to_prompt::attention::{AttentionHook, Site, SitePlan};
use prompt_to_prompt::model::ModelFolder;
use serde::Deserialize;

use super::kernels::numbers;
use super::model::{TEXT, UNET, VAE, copy_of_mini_sd};

/// The counts of PyTorch for each model.
#[derive(Deserialize)]
struct Golden {
    models: BTreeMap<String, GoldenModel>,
}

/// The counts of one model.
#[derive(Deserialize)]
struct GoldenModel {
    /// The configs of a model that has no folder in the fixtures, by the folder of the config.
    #[serde(default)]
    configs: BTreeMap<String, serde_json::Value>,
    text: f64,
    cases: Vec<Case>,
}

/// The counts at one picture size.
#[derive(Deserialize)]
struct Case {
    /// Height and width of the latents.
    size: (usize, usize),
    unet: f64,
    /// The FLOP of each site: map, term, projections.
    sites: Vec<[f64; 3]>,
    vae: f64,
}

fn golden() -> BTreeMap<String, GoldenModel> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/work.json");
    let golden: Golden = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    golden.models
}

fn open(name: &str) -> ModelFolder {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    match name {
        "storybook" => ModelFolder::open(name).unwrap(),
        fixture => ModelFolder::open(fixtures.join(fixture).to_str().unwrap()).unwrap(),
    }
}

/// Opens a folder that has these configs and no weights.
fn without_weights(configs: &BTreeMap<String, serde_json::Value>) -> ModelFolder {
    let folder = copy_of_mini_sd();
    for weights in [UNET, VAE, TEXT] {
        std::fs::remove_file(folder.path().join(weights)).unwrap();
    }
    for (part, config) in configs {
        let path = folder.path().join(part).join("config.json");
        std::fs::write(path, config.to_string()).unwrap();
    }
    ModelFolder::open(folder.path().to_str().unwrap()).unwrap()
}

#[test]
fn work_is_what_pytorch_counts() {
    for (name, golden) in golden() {
        let folder = if golden.configs.is_empty() {
            open(&name)
        } else {
            without_weights(&golden.configs)
        };
        for case in golden.cases {
            let work = folder.work(case.size);
            let what = format!("{name} at {:?}", case.size);
            let sites = work.sites.iter().map(|s| [s.map, s.term, s.projections]);
            assert_eq!(sites.collect::<Vec<_>>(), case.sites, "{what}: sites");
            assert_eq!(work.unet_row, case.unet, "{what}: UNet");
            assert_eq!(work.vae_decode, case.vae, "{what}: VAE");
            assert_eq!(work.text, golden.text, "{what}: text encoder");
            let placed: Vec<Site> = work.sites.iter().map(|s| s.site).collect();
            assert_eq!(placed, folder.unet.sites(case.size), "{what}");
        }
    }
}

/// A hook that collects every site it is asked about.
#[derive(Default)]
struct Met(Mutex<Vec<Site>>);

impl AttentionHook for Met {
    fn plan(&self, site: &Site) -> SitePlan<'_> {
        self.0.lock().unwrap().push(*site);
        SitePlan::Plain
    }
}

#[test]
fn sites_are_those_that_a_hook_meets() {
    for name in ["storybook", "mini-sd"] {
        let folder = open(name);
        let unet = folder.load().unwrap().unet;
        let native = (folder.unet.sample_size, folder.unet.sample_size);
        for (h, w) in [native, (9, 11), (24, 16)] {
            let (latents, mut met) = (numbers(&[1, 4, h, w], 1), Met::default());
            let context = numbers(&[1, 77, folder.unet.cross_attention_dim], 2);
            let text = unet.read(&context).unwrap();
            unet.forward(&latents, 7, &text, &mut met).unwrap();
            assert_eq!(
                folder.unet.sites((h, w)),
                met.0.into_inner().unwrap(),
                "{name} {h}x{w}"
            );
            assert_eq!(folder.unet.sites((h, w)), unet.sites((h, w)));
        }
    }
}
