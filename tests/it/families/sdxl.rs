//! Features of Stable Diffusion XL only: transformers of several blocks, pooled embeddings, empty negative prompts.

use candle_core::{DType, Device, Tensor};
use prompt_to_prompt::attention::{AttentionHook, AttentionKind, NoHook, Site, SitePlan};
use prompt_to_prompt::job::{Job, Prepared, run};
use prompt_to_prompt::sample::{Columns, Heads, Recorder, Recording, Shown};

use super::{DST, Family, SIZE, SRC, draw, job};
use crate::laws::{edit, moves};
use crate::parity::flat;

/// Recording changes no bit.
#[test]
fn heatmaps_of_sdxl_are_recorded() {
    let family = Family::new("sdxl");
    let folder = family.open().unwrap();
    let model = folder.load().unwrap();
    let job = job(vec![edit(DST)]);
    let prepared = Prepared::new(&job, &folder).unwrap();
    let sites = folder.unet.sites(prepared.latent_size);
    let cross = AttentionKind::Cross;
    let layout = folder.unet.layout_downscale();
    assert_eq!(layout, 4);
    let at_layout = sites
        .iter()
        .filter(|s| s.kind == cross && s.downscale == layout);
    let mut recorder = Recorder::new(Recording {
        kind: cross,
        sites: at_layout.map(|site| (site.index, 0)).collect(),
        frames: std::iter::once(0..4).collect(),
        heads: Heads::Mean,
        shown: Shown::Used,
        columns: vec![Columns::All; 2],
    });
    let watched = run(&prepared, &model, &mut [&mut recorder], &mut |_| Ok(())).unwrap();
    let plain = draw(&job, &folder, &model);
    assert_eq!(flat(&watched.latents), flat(&plain.latents));
}

/// A hook that records every site it is asked about.
#[derive(Default)]
struct SiteLog(std::sync::Mutex<Vec<Site>>);

impl AttentionHook for SiteLog {
    fn plan(&self, site: &Site) -> SitePlan<'_> {
        self.0.lock().unwrap().push(*site);
        SitePlan::Plain
    }
}

#[test]
fn sites_of_sdxl_equal_those_that_a_hook_gets() {
    let family = Family::new("sdxl");
    let folder = family.open().unwrap();
    let model = folder.load().unwrap();
    let tokens = folder.tokenizer.encode(SRC).unwrap();
    let text = model
        .unet
        .read(model.text_encoders.read(&tokens, SIZE, None).unwrap())
        .unwrap();
    let latents = Tensor::zeros((1, 4, 9, 13), DType::F32, &Device::Cpu).unwrap();
    let mut hook = SiteLog::default();
    model.unet.forward(&latents, 7, &text, &mut hook).unwrap();
    let sites = folder.unet.sites((9, 13));
    // Two levels have attention, with 2 and 3 blocks per transformer: one transformer down, two up, one in the middle.
    assert_eq!(sites.len(), 2 * (2 + 3 + 3 + 2 * 3 + 2 * 2));
    assert_eq!(sites, hook.0.into_inner().unwrap());
    assert!(sites.iter().all(|site| site.downscale > 1));
}

/// A UNet with pooled embeddings in its time embedding shares no computation between the halves.
#[test]
fn guided_halves_of_sdxl_are_each_alone() {
    let family = Family::new("sdxl");
    let folder = family.open().unwrap();
    let model = folder.load().unwrap();
    let read = |prompt| {
        let tokens = folder.tokenizer.encode(prompt).unwrap();
        model
            .unet
            .read(model.text_encoders.read(&tokens, SIZE, None).unwrap())
            .unwrap()
    };
    let (uncond, cond) = (read("a red house"), read(SRC));
    let latents = &family.golden()["unet.latents"].narrow(0, 0, 1).unwrap();
    let alone = |text| flat(&model.unet.forward(latents, 500, text, &mut NoHook).unwrap());
    let both = model
        .unet
        .forward_guided(latents, 500, &uncond, &cond, &mut NoHook);
    let (first, second) = both.unwrap();
    assert_eq!(
        [flat(&first), flat(&second)],
        [alone(&uncond), alone(&cond)]
    );
    moves(&flat(&first), &flat(&second));
}

/// An empty negative prompt becomes zeros where the model's index says so, or else the text states of no words.
#[test]
fn the_index_decides_what_an_empty_negative_prompt_is() {
    let drawn = |zeros: bool, negative: &str| {
        let index = serde_json::json!({ "force_zeros_for_empty_prompt": zeros });
        let family = Family::new("sdxl").with("model_index.json", &index);
        let folder = family.open().unwrap();
        let model = folder.load().unwrap();
        let tokens = folder.tokenizer.encode(negative).unwrap();
        let read = model
            .text_encoders
            .read_negative(&tokens, SIZE, None)
            .unwrap();
        let added = read.added.unwrap();
        let job = Job {
            negative_prompt: negative.to_owned(),
            ..job(vec![])
        };
        let latents = flat(&draw(&job, &folder, &model).latents);
        (
            flat(&read.context),
            flat(&added.pooled),
            latents,
            model.configs_sha256,
        )
    };
    let (context, pooled, zeros, config) = drawn(true, "");
    assert!(context.iter().chain(&pooled).all(|x| *x == 0.0));
    let (context, _, words, other) = drawn(false, "");
    assert!(context.iter().any(|x| *x != 0.0));
    moves(&zeros, &words);
    assert_ne!(config, other, "the index is not part of the configs' hash");
    assert_eq!(drawn(true, "a red house").2, drawn(false, "a red house").2);
}
