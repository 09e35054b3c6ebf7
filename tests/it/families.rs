//! Stable Diffusion 2.x, XL and their Turbo models, as miniatures with random weights, against diffusers'
//! own pipelines. `tests/reference/families.py` wrote the fixtures.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use prompt_to_prompt::attention::{AttentionHook, NoHook, Site, SitePlan};
use prompt_to_prompt::edit::{EditKind, Window};
use prompt_to_prompt::error::Error;
use prompt_to_prompt::job::{
    BlendSpec, BlendWords, EditSpec, Job, Outcome, Prepared, SchedulerName, run,
};
use prompt_to_prompt::model::{Model, ModelFolder};
use prompt_to_prompt::sample::{Columns, Heads, Recorder, Recording, Shown};
use serde::Deserialize;
use serde_json::Value;

use crate::common::{fixture, relative};
use crate::laws::{edit, everywhere, moves, rows, weighted};
use crate::parity::flat;

const SRC: &str = "a cat on the beach";
const DST: &str = "a dog on the beach";
const REFINED: &str = "a big cat on the beach";
const SEED: u64 = 31;
/// Pixels: height, width.
const SIZE: (usize, usize) = (96, 160);

/// A whole folder of a miniature: what the fixtures share is put in.
pub struct Family {
    pub name: &'static str,
    pub folder: tempfile::TempDir,
}

impl Family {
    pub fn new(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&fixture(&format!("families/{name}")), folder.path());
        for part in ["tokenizer", "tokenizer_2"] {
            if folder.path().join(part).is_dir() {
                copy(&fixture("families/tokenizer"), &folder.path().join(part));
            }
        }
        let vae = "vae/diffusion_pytorch_model.safetensors";
        let weights = fixture(&format!("mini-sd/{vae}"));
        std::fs::copy(weights, folder.path().join(vae)).unwrap();
        Self { name, folder }
    }

    /// With keys of a config set to other values.
    pub fn with(self, file: &str, changes: &Value) -> Self {
        let path = self.folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        std::fs::write(path, config.to_string()).unwrap();
        self
    }

    /// As Turbo models are shipped.
    pub fn turbo(self, class: &str) -> Self {
        let changes = serde_json::json!({ "_class_name": class, "timestep_spacing": "trailing" });
        self.with("scheduler/scheduler_config.json", &changes)
    }

    pub fn open(&self) -> Result<ModelFolder, Error> {
        ModelFolder::open(self.folder.path().to_str().unwrap())
    }

    fn golden(&self) -> HashMap<String, Tensor> {
        let path = fixture(&format!("families/{}-golden.safetensors", self.name));
        candle_core::safetensors::load(path, &Device::Cpu).unwrap()
    }

    fn cases(&self) -> Vec<Case> {
        let path = fixture(&format!("families/{}-cases.json", self.name));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to): (PathBuf, PathBuf) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        match from.is_dir() {
            true => copy(&from, &to),
            false => std::fs::write(to, std::fs::read(from).unwrap()).unwrap(),
        }
    }
}

/// What a pipeline was asked for.
#[derive(Deserialize)]
struct Case {
    scheduler: String,
    steps: usize,
    guidance: f64,
    negative_prompt: Option<String>,
    prompt: String,
    config: Value,
}

fn near(what: &str, got: &Tensor, want: &Tensor, bound: f64) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let far = relative(&flat(got), &flat(want));
    println!("{what}: {far:.1e}");
    assert!(far <= bound, "{what} is off by {far:.1e}");
}

fn ids(golden: &Tensor) -> Vec<Vec<u32>> {
    golden.to_dtype(DType::U32).unwrap().to_vec2().unwrap()
}

/// Text states, a summary where there is one, a UNet's prediction, a picture.
fn parts_equal_diffusers(name: &'static str) {
    let family = Family::new(name);
    let (folder, golden) = (family.open().unwrap(), family.golden());
    let model = folder.load().unwrap();
    let tokens = [SRC, ""].map(|prompt| folder.tokenizer.encode(prompt).unwrap());
    let states = tokens
        .each_ref()
        .map(|t| model.text_encoders.read(t, SIZE).unwrap());
    let states = prompt_to_prompt::model::PromptStates::cat(&states).unwrap();
    let wanted = ids(&golden["ids"]);
    for (tokens, wanted) in tokens.iter().zip(&wanted) {
        assert_eq!(&tokens.ids, wanted);
    }
    near(
        &format!("{name} text"),
        &states.context,
        &golden["text"],
        1e-5,
    );
    if let Some(pooled) = golden.get("pooled") {
        let added = states.added.as_ref().unwrap();
        near(&format!("{name} pooled"), &added.pooled, pooled, 1e-5);
        assert_ne!(ids(&golden["ids_2"]), wanted, "the pads are the same");
        let pads = ids(&golden["ids_2"])[0][tokens[0].len..].to_vec();
        assert!(
            pads.iter()
                .all(|id| *id == model.text_encoders.second.as_ref().unwrap().tokenizer.pad())
        );
    }
    let text = model.unet.read(states).unwrap();
    let latents = &golden["unet.latents"];
    let eps = model
        .unet
        .forward(latents, 501, &text, &mut NoHook)
        .unwrap();
    near(&format!("{name} unet"), &eps, &golden["unet.eps"], 1e-5);
    let picture = model.vae.decode(&golden["vae.latents"]).unwrap();
    near(
        &format!("{name} vae"),
        &picture,
        &golden["vae.picture"],
        1e-5,
    );
}

#[test]
fn sd2_equals_diffusers_part_by_part() {
    parts_equal_diffusers("sd2");
}

#[test]
fn sdxl_equals_diffusers_part_by_part() {
    parts_equal_diffusers("sdxl");
}

fn job(edits: Vec<EditSpec>) -> Job {
    Job {
        seed: SEED,
        steps: Some(4),
        width: Some(SIZE.1),
        height: Some(SIZE.0),
        ..Job::new(SRC, edits)
    }
}

fn draw(job: &Job, folder: &ModelFolder, model: &Model) -> Outcome {
    let prepared = Prepared::new(job, folder).unwrap();
    run(job, &prepared, model, &mut [], &mut |_| Ok(())).unwrap()
}

/// The way of a user's run, the scheduler's config as each case has it.
fn pipelines_equal_diffusers(name: &'static str) {
    let golden = Family::new(name).golden();
    for (i, case) in Family::new(name).cases().into_iter().enumerate() {
        let config = "scheduler/scheduler_config.json";
        let family = Family::new(name).with(config, &case.config);
        let folder = family.open().unwrap();
        let model = folder.load().unwrap();
        let job = Job {
            src: case.prompt,
            negative_prompt: case.negative_prompt.unwrap_or_default(),
            steps: Some(case.steps),
            guidance: Some(case.guidance),
            scheduler: Some(case.scheduler.parse().unwrap()),
            ..job(vec![])
        };
        let latents = draw(&job, &folder, &model).latents;
        let what = format!("{name} {i}, {} of {} steps", case.scheduler, case.steps);
        near(&what, &latents, &golden[&format!("case{i}")], 2e-5);
    }
}

#[test]
fn sd2_pipelines_equal_diffusers() {
    pipelines_equal_diffusers("sd2");
}

#[test]
fn sdxl_pipelines_equal_diffusers() {
    pipelines_equal_diffusers("sdxl");
}

/// Where the attention to "dog" or "cat" is more than so much of its peak.
fn confined(spec: EditSpec) -> EditSpec {
    EditSpec {
        blend: BlendSpec {
            words: vec![BlendWords::Pair(vec!["cat".into()], vec!["dog".into()])],
            threshold: Some((0.9, 0.9)),
            ..BlendSpec::default()
        },
        ..spec
    }
}

/// The laws that a new family could break: lockstep, blend, self-injection, heatmaps.
fn edits_obey_the_laws(family: &Family) {
    let folder = family.open().unwrap();
    let model = folder.load().unwrap();
    let swap = edit(DST);
    let refined = EditSpec {
        kind: Some(EditKind::Refine),
        ..edit(REFINED)
    };
    let closed = Some(Window::until(0.0));
    let free = EditSpec {
        cross_steps: closed,
        self_steps: closed,
        ..edit(DST)
    };
    let specs = vec![
        swap.clone(),
        confined(swap.clone()),
        refined,
        weighted(edit(DST), "beach", 3.0),
        free,
        everywhere(edit(SRC)),
    ];
    let all = rows(&draw(&job(specs.clone()), &folder, &model).latents);
    for i in 1..=5 {
        assert!(relative(&all[i], &all[0]) > 1e-3, "edit {i} does nothing");
    }
    assert_ne!(all[1], all[5], "nothing is injected");
    assert_ne!(all[1], all[4], "the weight does nothing");
    assert_eq!(all[6], all[0], "the same prompt, injected, is the source");
    let solo = rows(&draw(&job(vec![]), &folder, &model).latents);
    assert_eq!(solo[0], all[0], "the source row is a solo run");
    for (i, spec) in specs.into_iter().enumerate() {
        let alone = rows(&draw(&job(vec![spec]), &folder, &model).latents);
        assert_eq!(alone[1], all[i + 1], "edit {} depends on the others", i + 1);
    }
    let plain = Job {
        src: DST.to_owned(),
        ..job(vec![])
    };
    let plain = rows(&draw(&plain, &folder, &model).latents);
    assert_eq!(
        plain[0], all[5],
        "no edit: a plain run of the edited prompt"
    );
    // Local blend puts the source back somewhere, and not everywhere.
    let same = all[2].iter().zip(&all[0]).filter(|(a, b)| a == b).count();
    assert!(
        same > 0 && same < all[0].len(),
        "{same} of {} are the source's",
        all[0].len()
    );
}

#[test]
fn edits_of_sd2_obey_the_laws() {
    edits_obey_the_laws(&Family::new("sd2"));
    let v = serde_json::json!({ "prediction_type": "v_prediction" });
    edits_obey_the_laws(&Family::new("sd2").with("scheduler/scheduler_config.json", &v));
}

#[test]
fn edits_of_sdxl_obey_the_laws() {
    edits_obey_the_laws(&Family::new("sdxl"));
}

#[test]
fn edits_of_turbo_models_obey_the_laws() {
    edits_obey_the_laws(&Family::new("sd2").turbo("EulerDiscreteScheduler"));
    edits_obey_the_laws(&Family::new("sdxl").turbo("EulerAncestralDiscreteScheduler"));
}

/// Recording changes no bit, and a word's map is there.
#[test]
fn heatmaps_of_sdxl_are_recorded() {
    let family = Family::new("sdxl");
    let folder = family.open().unwrap();
    let model = folder.load().unwrap();
    let job = job(vec![edit(DST)]);
    let prepared = Prepared::new(&job, &folder).unwrap();
    let sites = folder.unet.sites(prepared.latent_size);
    let cross = prompt_to_prompt::attention::Kind::Cross;
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
    let watched = run(&job, &prepared, &model, &mut [&mut recorder], &mut |_| {
        Ok(())
    })
    .unwrap();
    let plain = draw(&job, &folder, &model);
    assert_eq!(flat(&watched.latents), flat(&plain.latents));
}

/// Keeps every site it is asked about.
#[derive(Default)]
struct Met(std::sync::Mutex<Vec<Site>>);

impl AttentionHook for Met {
    fn plan(&self, site: &Site) -> SitePlan<'_> {
        self.0.lock().unwrap().push(*site);
        SitePlan::Plain
    }
}

#[test]
fn sites_of_sdxl_are_those_that_a_hook_meets() {
    let family = Family::new("sdxl");
    let folder = family.open().unwrap();
    let model = folder.load().unwrap();
    let tokens = folder.tokenizer.encode(SRC).unwrap();
    let text = model
        .unet
        .read(model.text_encoders.read(&tokens, SIZE).unwrap())
        .unwrap();
    let latents = Tensor::zeros((1, 4, 9, 13), DType::F32, &Device::Cpu).unwrap();
    let mut met = Met::default();
    model.unet.forward(&latents, 7, &text, &mut met).unwrap();
    let sites = folder.unet.sites((9, 13));
    // Two levels with attention, of 2 and 3 blocks, once down, twice up, and the middle.
    assert_eq!(sites.len(), 2 * (2 + 3 + 3 + 2 * 3 + 2 * 2));
    assert_eq!(sites, met.0.into_inner().unwrap());
    assert!(sites.iter().all(|site| site.downscale > 1));
}

/// A UNet that sees the prompt in its time embedding shares nothing between the halves.
#[test]
fn guided_halves_of_sdxl_are_each_alone() {
    let family = Family::new("sdxl");
    let folder = family.open().unwrap();
    let model = folder.load().unwrap();
    let read = |prompt| {
        let tokens = folder.tokenizer.encode(prompt).unwrap();
        model
            .unet
            .read(model.text_encoders.read(&tokens, SIZE).unwrap())
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

/// An empty negative prompt is zeros where the model's index says so, else the states of no words.
#[test]
fn an_empty_negative_prompt_is_what_the_index_says() {
    let drawn = |zeros: bool, negative: &str| {
        let index = serde_json::json!({ "force_zeros_for_empty_prompt": zeros });
        let family = Family::new("sdxl").with("model_index.json", &index);
        let folder = family.open().unwrap();
        let model = folder.load().unwrap();
        let tokens = folder.tokenizer.encode(negative).unwrap();
        let read = model.text_encoders.read_negative(&tokens, SIZE).unwrap();
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
    assert_ne!(
        config, other,
        "the index counts among what determines a picture"
    );
    assert_eq!(drawn(true, "a red house").2, drawn(false, "a red house").2);
}

#[test]
fn a_turbo_model_is_known_by_its_scheduler() {
    let asked = Job {
        steps: None,
        guidance: None,
        ..job(vec![edit(DST)])
    };
    for (class, scheduler) in [
        ("EulerDiscreteScheduler", SchedulerName::Euler),
        ("EulerAncestralDiscreteScheduler", SchedulerName::EulerA),
    ] {
        let folder = Family::new("sd2").turbo(class).open().unwrap();
        let prepared = Prepared::new(&asked, &folder).unwrap();
        assert_eq!(prepared.scheduler, scheduler);
        assert_eq!((prepared.steps, prepared.guidance), (4, 1.0));
        assert!(!prepared.guided());
        assert_eq!(prepared.controller.clock.calls, 4);
        // What is asked for wins, and so does what the folder's own file recommends.
        let other = Job {
            steps: Some(2),
            scheduler: Some(SchedulerName::Ddim),
            ..asked.clone()
        };
        let prepared = Prepared::new(&other, &folder).unwrap();
        assert_eq!(
            (prepared.steps, prepared.scheduler),
            (2, SchedulerName::Ddim)
        );
    }
    // Neither spacing nor class alone makes one, nor v: such models want guidance.
    let config = "scheduler/scheduler_config.json";
    let trailing = serde_json::json!({ "timestep_spacing": "trailing" });
    let euler = serde_json::json!({ "_class_name": "EulerDiscreteScheduler" });
    let v = serde_json::json!({ "prediction_type": "v_prediction" });
    for family in [
        Family::new("sd2").with(config, &trailing),
        Family::new("sd2").with(config, &euler),
        Family::new("sd2")
            .turbo("EulerDiscreteScheduler")
            .with(config, &v),
    ] {
        let prepared = Prepared::new(&asked, &family.open().unwrap()).unwrap();
        assert_eq!(prepared.scheduler, SchedulerName::Ddim);
        assert_eq!((prepared.steps, prepared.guidance), (50, 7.5));
    }
    let turbo = Family::new("sd2").turbo("EulerDiscreteScheduler");
    std::fs::write(turbo.folder.path().join("p2p.json"), r#"{"steps": 1}"#).unwrap();
    let prepared = Prepared::new(&asked, &turbo.open().unwrap()).unwrap();
    assert_eq!((prepared.steps, prepared.guidance), (1, 1.0));
}

/// Few steps still have a beginning and an end, and a single one is both.
#[test]
fn windows_mean_something_at_one_to_four_steps() {
    let family = Family::new("sd2").turbo("EulerDiscreteScheduler");
    let folder = family.open().unwrap();
    let model = folder.load().unwrap();
    let until = |steps, cross: f64, itself: f64| {
        let spec = EditSpec {
            cross_steps: Some(Window::until(cross)),
            self_steps: Some(Window::until(itself)),
            ..edit(DST)
        };
        let job = Job {
            steps: Some(steps),
            guidance: None,
            ..job(vec![spec])
        };
        rows(&draw(&job, &folder, &model).latents).remove(1)
    };
    let quarters = [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| until(4, share, 0.0));
    for (i, one) in quarters.iter().enumerate() {
        for other in &quarters[..i] {
            assert_ne!(one, other, "two windows of four steps are the same");
        }
    }
    assert_eq!(
        until(4, 0.8, 0.4),
        until(4, 1.0, 0.5),
        "the defaults' steps"
    );
    assert_ne!(until(1, 0.8, 0.4), until(1, 0.0, 0.0), "one step is inside");
    for steps in [1, 2, 4] {
        let job = Job {
            steps: Some(steps),
            guidance: None,
            ..job(vec![edit(DST), confined(edit(DST))])
        };
        let drawn = rows(&draw(&job, &folder, &model).latents);
        assert!(
            relative(&drawn[1], &drawn[0]) > 1e-3,
            "{steps} steps: no swap"
        );
        assert_ne!(drawn[1], drawn[2], "{steps} steps: no blend");
        let same = drawn[2]
            .iter()
            .zip(&drawn[0])
            .filter(|(a, b)| a == b)
            .count();
        assert!(
            same > 0 && same < drawn[0].len(),
            "{steps} steps: {same} are the source's"
        );
    }
}

#[test]
fn guidance_zero_is_no_guidance() {
    let family = Family::new("sdxl");
    let folder = family.open().unwrap();
    let model = folder.load().unwrap();
    let at = |guidance| {
        let job = Job {
            guidance: Some(guidance),
            ..job(vec![edit(DST)])
        };
        assert_eq!(
            Prepared::new(&job, &folder).unwrap().guided(),
            guidance > 1.0
        );
        flat(&draw(&job, &folder, &model).latents)
    };
    assert_eq!(at(0.0), at(1.0));
    moves(&at(0.0), &at(7.5));
}

fn refused(family: &Family, parts: &[&str]) {
    let error = match family.open() {
        Err(error) => error,
        Ok(_) => panic!("{parts:?}: was opened"),
    };
    let said = error.to_string();
    assert!(matches!(error, Error::Model(_)), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let unet = "unet/config.json";
    let sd2 = |changes| Family::new("sd2").with(unet, &changes);
    let sdxl = |file, changes| Family::new("sdxl").with(file, &changes);
    use serde_json::json;
    refused(
        &sd2(json!({ "cross_attention_dim": 32 })),
        &["cross_attention_dim is 32", "write 24"],
    );
    refused(
        &sd2(json!({ "addition_embed_type": "text" })),
        &["addition_embed_type text"],
    );
    refused(
        &sd2(json!({ "addition_embed_type": "text_time" })),
        &["lacks the key addition_time_embed_dim"],
    );
    refused(
        &sd2(json!({ "attention_head_dim": [1, 2, 4] })),
        &["a list of 4"],
    );
    refused(
        &sdxl(unet, json!({ "addition_time_embed_dim": 16 })),
        &["projection_class_embeddings_input_dim is 68", "116"],
    );
    refused(&sdxl(unet, json!({ "a_new_key": 1 })), &["a_new_key"]);
    refused(
        &sdxl(
            unet,
            json!({ "reverse_transformer_layers_per_block": [3, 2, 1] }),
        ),
        &["reverse_transformer"],
    );
    refused(
        &sdxl(
            "model_index.json",
            json!({ "requires_aesthetics_score": true }),
        ),
        &["requires_aesthetics_score"],
    );
    refused(
        &sdxl("text_encoder_2/config.json", json!({ "a_new_key": 1 })),
        &["text_encoder_2", "a_new_key"],
    );
    let config = "scheduler/scheduler_config.json";
    refused(
        &Family::new("sd2").with(config, &json!({ "prediction_type": "sample" })),
        &["prediction_type sample"],
    );
    refused(
        &Family::new("sd2").with(config, &json!({ "timestep_spacing": "linspace" })),
        &["timestep_spacing linspace"],
    );
    // Another vocabulary: no token of an alignment would mean the same to both encoders.
    let other = Family::new("sdxl").with("tokenizer_2/vocab.json", &json!({ "zebra</w>": 605 }));
    refused(&other, &["tokenizer_2", "more than its pad"]);
}
