//! Law 10: the reference implementation's golden trajectories, met through the library.
//! `tests/reference/pack_parity.py` says where they come from.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::AttentionHook;
use prompt_to_prompt::edit::{EditKind, Rules, Window, align};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::{
    BlendWords, EditSettings, Job, Prepared, SchedulerName, conditioning, starting_noise,
};
use prompt_to_prompt::model::{
    Components, Conditioning, Denoiser, DenoiserCall, Eps, Model, ModelFolder, PromptStates,
};
use prompt_to_prompt::sample::{Ddim, Recorder, Recording, Sampler, Scheduler, Start, lockstep};
use serde_json::Value;

use crate::common::{fixture, json, relative};
use crate::model::{copy_of_mini_sd, rewrite};

pub fn mini_sd() -> ModelFolder {
    ModelFolder::open(fixture("mini-sd").to_str().unwrap()).unwrap()
}

fn golden(name: &str) -> HashMap<String, Tensor> {
    let path = fixture(&format!("{name}.safetensors"));
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

/// mini-sd with its query projections times 0.3, as `tests/reference/trajectories.py` has it.
pub fn calm_mini_sd() -> (ModelFolder, tempfile::TempDir) {
    let copy = copy_of_mini_sd();
    rewrite(
        copy.path(),
        "unet/diffusion_pytorch_model.safetensors",
        |name, tensor| {
            let calm = if name.contains("to_q") {
                (tensor * 0.3).unwrap()
            } else {
                tensor
            };
            Some((name, calm))
        },
    );
    (
        ModelFolder::open(copy.path().to_str().unwrap()).unwrap(),
        copy,
    )
}

fn near(case: &str, what: &str, got: &Tensor, want: &Tensor, bound: f64) {
    let far = relative(&flat(got), &flat(want));
    println!("{case}: {what} {far:.1e}");
    assert!(
        far <= bound,
        "{case}: {what} is off by {far:.1e}, more than {bound:.1e}"
    );
}

pub fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

fn window(value: &Value) -> Window {
    match value.as_array() {
        Some(pair) => Window::new(pair[0].as_f64().unwrap(), pair[1].as_f64().unwrap()).unwrap(),
        None => Window::until(value.as_f64().unwrap()),
    }
}

/// A golden case as the job that flags would make of it.
fn job(case: &Value) -> Job {
    let prompts: Vec<&str> = case["prompts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p.as_str().unwrap())
        .collect();
    let kind = case["kind"].as_str().unwrap();
    let mut spec = EditSettings {
        edit: Some(if kind.contains("refine") {
            EditKind::Refine.into()
        } else {
            EditKind::Replace.into()
        }),
        self_steps: case.get("self_replace_steps").map(window),
        ..EditSettings::default()
    };
    match &case["cross_replace_steps"] {
        Value::Object(words) => {
            for (word, value) in words {
                match word.as_str() {
                    "default_" => spec.cross_steps.default = Some(window(value)),
                    word => {
                        let words = &mut spec.cross_steps.words;
                        words.insert(word.to_owned(), window(value));
                    }
                }
            }
        }
        Value::Null => {}
        value => spec.cross_steps.default = Some(window(value)),
    }
    if let Some(equalizer) = case["equalizer"].as_array() {
        let pairs = equalizer[0]
            .as_array()
            .unwrap()
            .iter()
            .zip(equalizer[1].as_array().unwrap());
        spec.weight = pairs
            .map(|(word, x)| {
                (
                    word.as_str().unwrap().to_owned(),
                    x.as_f64().unwrap() as f32,
                )
            })
            .collect();
    }
    spec.inject_latents = case.get("inject_latents").map(window);
    let edit = |(i, dst): (usize, &&str)| EditSettings {
        dst: Some((*dst).to_owned()),
        ..blended(case, i + 1, &spec)
    };
    Job {
        src: prompts[0].to_owned(),
        edits: prompts[1..].iter().enumerate().map(edit).collect(),
        negative_prompt: String::new(),
        seed: case["seed"].as_u64().unwrap(),
        steps: Some(case["steps"].as_u64().unwrap() as usize),
        guidance: case["guidance"].as_f64(),
        width: None,
        height: None,
        scheduler: Some(SchedulerName::Ddim),
        clip_skip: None,
        self_res: None,
        rules: Rules::Reference,
        control: kind != "none",
        baseline: false,
        draw_source: true,
        fast: false,
    }
}

/// The reference names a word per prompt.
fn blended(case: &Value, row: usize, spec: &EditSettings) -> EditSettings {
    let word = |key: &str, row: usize| case[key][row].as_str().map(str::to_owned);
    let words = |row| Vec::from_iter(word("local_blend", row));
    if words(0).is_empty() {
        return spec.clone();
    }
    let threshold = |i: usize| case["threshold"][i].as_f64().unwrap_or(0.3) as f32;
    let stable = case["local_blend_flavour"]
        .as_str()
        .unwrap_or("")
        .contains("stable");
    EditSettings {
        blend: vec![BlendWords::Pair(words(0), words(row))],
        blend_keep: Vec::from_iter(word("substruct_words", row)),
        blend_threshold: Some((threshold(0), threshold(1))),
        blend_from: Some(
            case["start_blend"]
                .as_f64()
                .unwrap_or(if stable { 0.0 } else { 0.2 }),
        ),
        ..spec.clone()
    }
}

/// Starts every step from recorded latents, whatever came out of the step before.
struct Forced<'a> {
    unet: Mutex<Box<dyn Denoiser + 'a>>,
    ddim: Ddim,
    /// Before each step.
    recorded: &'a [Tensor],
    step: AtomicUsize,
}

impl Denoiser for &Forced<'_> {
    fn rows(&self) -> usize {
        self.unet.lock().unwrap().rows()
    }

    fn eps(&mut self, call: &DenoiserCall, hook: &mut dyn AttentionHook) -> Result<Eps> {
        let latents = &self.recorded[self.step.load(Ordering::Relaxed)];
        let call = DenoiserCall {
            latents,
            ..call.clone()
        };
        self.unet.lock().unwrap().eps(&call, hook)
    }
}

impl Scheduler for &Forced<'_> {
    fn timesteps(&self) -> &[usize] {
        self.ddim.timesteps()
    }

    fn step(&mut self, step: usize, eps: &Tensor, _: &Tensor) -> Result<Tensor> {
        self.step.store(step + 1, Ordering::Relaxed);
        self.ddim.clone().step(step, eps, &self.recorded[step])
    }
}

struct Bench {
    folder: ModelFolder,
    model: Model,
}

impl Bench {
    fn new(folder: ModelFolder) -> Self {
        let model = folder.load().unwrap();
        Self { folder, model }
    }

    /// What surrounds the trajectory, exactly; then each recorded step from the latents before it.
    fn check_recorded(&self, case: &Value) {
        let name = case["name"].as_str().unwrap();
        let (recorded, job) = (golden(&format!("parity/{name}")), job(case));
        let prepared = Prepared::new(&job, &self.folder).unwrap();
        let noise = starting_noise(&prepared).unwrap();
        near(name, "noise", &noise, &recorded["initial_latent"], 1e-6);
        check_plan(name, &prepared, &recorded);
        let conditioning = conditioning(&prepared, &self.model).unwrap();
        let halves = [conditioning.uncond.as_ref().unwrap(), &conditioning.cond];
        let both = halves.map(|half| half.at(0).clone());
        near(
            name,
            "text states",
            &PromptStates::cat(&both).unwrap().context,
            &recorded["context"],
            1e-5,
        );
        if let Some(steps) = recorded.get("step_latents") {
            let exact = &golden("parity/token_maps_float64")[name];
            let maps = [&recorded["token_maps_16"], exact];
            self.check_each_step(name, &prepared, &conditioning, &noise, steps, maps);
            self.check_decoded(name, &recorded["final_latents"], &recorded["decoded"]);
        }
    }

    fn check_each_step(
        &self,
        name: &str,
        prepared: &Prepared,
        conditioning: &Conditioning,
        noise: &Tensor,
        recorded: &Tensor,
        [maps, exact]: [&Tensor; 2],
    ) {
        let mut before = vec![
            noise
                .broadcast_as(recorded.get(0).unwrap().shape())
                .unwrap(),
        ];
        before[0] = before[0].contiguous().unwrap();
        before.extend((0..prepared.run.steps).map(|step| recorded.get(step).unwrap()));
        let forced = Forced {
            unet: Mutex::new(self.model.denoiser(conditioning).unwrap()),
            ddim: Ddim::new(&self.model.scheduler, prepared.run.steps),
            recorded: &before,
            step: AtomicUsize::new(0),
        };
        let (mut scheduler, mut denoiser) = (&forced, &forced);
        let start = Start::Noise(noise.clone());
        let sampler = Sampler::new(&mut denoiser, &mut scheduler, prepared.run.guidance, start);
        let check = &mut |step: usize, after: &Tensor| {
            // What float64 is away from the recorded float32, times three.
            let bound = 2e-2 * 0.35f64.powi(step as i32 - 1) + 2e-5;
            near(name, &format!("step {step}"), after, &before[step], bound);
            Ok(())
        };
        let sites = self.folder.unet.sites(prepared.latent_size);
        let rows = prepared.controller.rows.len();
        let mut recorder = Recorder::new(Recording::layout(&sites, 4, rows));
        lockstep(
            sampler.unwrap(),
            &prepared.controller,
            &mut [&mut recorder],
            check,
        )
        .unwrap();
        assert_eq!(recorder.recorded().len(), rows);
        for recorded in recorder.recorded() {
            let (row, map) = (recorded.row, recorded.mean().unwrap());
            let what = format!("token maps of row {row}");
            let reference = maps.get(row).unwrap();
            // Not 1e-4: the recorded maps are themselves float32. Against the same steps in float64
            // (`tests/reference/token_maps.py`) they are off by 5.1e-5 to 1.1e-4, ours by 4.5e-5 to
            // 1.1e-4, and the two from each other by 6.9e-5 to 1.2e-4; only refine and blend go above 1e-4,
            // where the reference itself is 0.9e-4 to 1.1e-4 from float64. So it is the truth that binds.
            near(name, &what, &map, &reference, 1.5e-4);
            let [map, reference] = [&map, &reference].map(|m| m.narrow(2, 0, 16).unwrap());
            let exact = exact.get(row).unwrap();
            let theirs = relative(&flat(&reference), &flat(&exact));
            println!("{name}: the reference's own {theirs:.1e}");
            near(
                name,
                &format!("{what}, float64"),
                &map,
                &exact,
                1.5 * theirs,
            );
        }
    }

    /// Runs a case freely and holds latents and token maps against the literal method in float64.
    fn check_trajectory(&self, case: &Value) {
        let name = case["name"].as_str().unwrap();
        let (golden, job) = (golden(&format!("trajectories/{name}")), job(case));
        let prepared = Prepared::new(&job, &self.folder).unwrap();
        let conditioning = conditioning(&prepared, &self.model).unwrap();
        let mut ddim = Ddim::new(&self.model.scheduler, prepared.run.steps);
        let (guidance, noise) = (prepared.run.guidance, starting_noise(&prepared).unwrap());
        let mut denoiser = self.model.denoiser(&conditioning).unwrap();
        let start = Start::Noise(noise);
        let sampler = Sampler::new(&mut *denoiser, &mut ddim, guidance, start).unwrap();
        let sites = self.folder.unet.sites(prepared.latent_size);
        let rows = prepared.controller.rows.len();
        let mut recorder = Recorder::new(Recording::layout(&sites, 4, rows));
        let finished = lockstep(
            sampler,
            &prepared.controller,
            &mut [&mut recorder],
            &mut |_, _| Ok(()),
        )
        .unwrap();
        let latents = finished.latents;
        assert_eq!(recorder.recorded().len(), rows);
        for recorded in recorder.recorded() {
            let (row, map) = (recorded.row, recorded.mean().unwrap());
            let (got, want) = (
                latents.get(row).unwrap(),
                golden["final_latents"].get(row).unwrap(),
            );
            near(name, &format!("row {row}"), &got, &want, 1e-5);
            let map = map.narrow(2, 0, 16).unwrap();
            let want = golden["token_maps_16"].get(row).unwrap();
            near(name, &format!("token maps of row {row}"), &map, &want, 1e-5);
        }
    }

    /// The stored pixels are every eighth.
    fn check_decoded(&self, name: &str, latents: &Tensor, golden: &Tensor) {
        let decoded = self.model.vae.decode(latents).unwrap();
        let (_, _, h, w) = golden.dims4().unwrap();
        let index = |n: usize| Tensor::arange_step(0u32, 8 * n as u32, 8, &Device::Cpu).unwrap();
        let picked = decoded
            .index_select(&index(h), 2)
            .unwrap()
            .index_select(&index(w), 3)
            .unwrap();
        let far = relative(&flat(&picked), &flat(golden));
        assert!(
            far < 1e-4,
            "{name}: the decoded pictures are off by {far:e}"
        );
    }
}

/// Token ids, mapper, alphas and the step gate.
fn check_plan(name: &str, prepared: &Prepared, golden: &HashMap<String, Tensor>) {
    let ids: Vec<u32> = prepared
        .row_prompts()
        .iter()
        .flat_map(|(t, _)| t.ids.clone())
        .collect();
    let expected: Vec<f32> = flat(
        &golden["token_ids"]
            .to_dtype(candle_core::DType::F32)
            .unwrap(),
    );
    assert_eq!(ids.len(), expected.len());
    assert!(
        ids.iter().zip(&expected).all(|(a, b)| *a as f32 == *b),
        "{name}: token ids differ"
    );
    for (i, edit) in prepared.edits.iter().enumerate() {
        let alignment = &edit.alignment;
        let Some(mapper) = golden.get("mapper") else {
            continue;
        };
        let mapper = mapper
            .get(i)
            .unwrap()
            .to_dtype(candle_core::DType::F32)
            .unwrap();
        match alignment.kind {
            EditKind::Replace => assert_eq!(flat(&mapper), alignment.map.weights(), "{name}"),
            EditKind::Refine | EditKind::Mixed => {
                let alphas = flat(&golden["alphas"].get(i).unwrap());
                assert_eq!(alphas, alignment.aligned, "{name}");
                assert_eq!(flat(&mapper), gather(alignment), "{name}");
            }
        }
    }
    if let Some(golden) = golden.get("cross_alpha") {
        for step in 0..prepared.run.steps {
            for (i, row) in prepared.controller.rows.iter().flatten().enumerate() {
                let gate = prompt_to_prompt::edit::windows::gate(
                    &row.cross,
                    step,
                    &prepared.controller.clock,
                );
                assert_eq!(
                    gate,
                    flat(&golden.get(step).unwrap().get(i).unwrap()),
                    "{name} {step}"
                );
            }
        }
    }
}

/// The source index each column reads, -1 for none: how the reference stores a refine mapper.
fn gather(alignment: &prompt_to_prompt::edit::Alignment) -> Vec<f32> {
    let column = |j| {
        alignment
            .map
            .column(j)
            .first()
            .map_or(-1.0, |(i, _)| *i as f32)
    };
    (0..alignment.map.n()).map(column).collect()
}

fn cases(path: &str) -> Vec<Value> {
    json(path).as_array().unwrap().clone()
}

/// Token ids, text states, noise, mappers, alphas and gates of the reference's own classes, and
/// every step and the token maps of five cases. mini-sd's attention is so sharp that its trajectories end 15 % apart
/// between two machines running the same PyTorch; a single step is as far as they can be compared.
#[test]
fn recorded_steps_of_the_reference_are_met() {
    let bench = Bench::new(mini_sd());
    cases("parity/cases.json")
        .iter()
        .for_each(|case| bench.check_recorded(case));
}

fn check_trajectories(wanted: impl Fn(&str) -> bool) {
    let (folder, _keep) = calm_mini_sd();
    let bench = Bench::new(folder);
    let all = cases("trajectories/cases.json");
    let wanted: Vec<&Value> = all
        .iter()
        .filter(|c| wanted(c["name"].as_str().unwrap()))
        .collect();
    assert!(!wanted.is_empty());
    wanted
        .into_iter()
        .for_each(|case| bench.check_trajectory(case));
}

/// Cases from start to end, on mini-sd with calmer attention.
#[test]
fn trajectories_of_the_literal_method_are_met() {
    check_trajectories(|name| {
        ["replace-multitoken", "refine-three-reweight", "blend-three"].contains(&name)
    });
}

#[test]
#[ignore = "eighteen whole runs of 64x64 latents: some minutes"]
fn all_trajectories_of_the_literal_method_are_met() {
    check_trajectories(|_| true);
}

/// 19 pairs of prompts: token ids, replace mappers (or the reference's refusal), refine gathers.
#[test]
fn aligner_matches_the_reference() {
    let tokenizer = mini_sd().tokenizer;
    for pair in json("parity/aligner.json").as_array().unwrap() {
        let encode = |key: &str| tokenizer.encode(pair[key].as_str().unwrap()).unwrap();
        let (source, edited) = (encode("source"), encode("edited"));
        for (tokens, key) in [(&source, "source_ids"), (&edited, "edited_ids")] {
            let ids: Vec<u64> = tokens.ids[..tokens.len]
                .iter()
                .map(|i| u64::from(*i))
                .collect();
            assert_eq!(serde_json::json!(ids), pair[key]);
        }
        match align(EditKind::Replace, &source, &edited, Rules::Reference) {
            Ok(a) => {
                let column = |j| a.map.column(j).into_iter().map(|(i, w)| (i, f64::from(w)));
                let ours: Vec<Vec<(usize, f64)>> = (0..77).map(|j| column(j).collect()).collect();
                let golden: Vec<Vec<(usize, f64)>> =
                    serde_json::from_value(pair["replace_columns"].clone()).unwrap();
                for (ours, golden) in ours.iter().zip(&golden) {
                    assert_eq!(ours.len(), golden.len(), "{pair}");
                    for (a, b) in ours.iter().zip(golden) {
                        assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-6, "{pair}");
                    }
                }
            }
            Err(_) => assert!(pair["replace_error"].is_string(), "{pair}"),
        }
        let a = align(EditKind::Refine, &source, &edited, Rules::Reference).unwrap();
        let golden: Vec<f32> = serde_json::from_value(pair["refine_gather"].clone()).unwrap();
        assert_eq!(gather(&a), golden, "{pair}");
        let golden: Vec<f32> = serde_json::from_value(pair["refine_alpha"].clone()).unwrap();
        assert_eq!(a.aligned, golden, "{pair}");
    }
}
