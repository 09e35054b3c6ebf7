//! Law 10: the library reproduces golden trajectories of the reference implementation.
//! `tests/reference/pack_parity.py` and `tests/reference/trajectories.py` make the fixtures.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::AttentionHook;
use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::{Prepared, conditioning, starting_noise};
use prompt_to_prompt::model::{
    Components, Conditioning, Denoiser, DenoiserCall, Eps, Model, ModelFolder, PromptStates,
};
use prompt_to_prompt::sample::{
    Ddim, Recorded, Recorder, Recording, Sampler, Scheduler, Start, lockstep,
};
use serde_json::Value;

use crate::common::{fixture, relative};
use crate::model::{copy_of_mini_sd, rewrite};
use case::{cases, job};
use plan::check_plan;

mod case;
mod plan;

pub fn mini_sd() -> ModelFolder {
    ModelFolder::open(fixture("mini-sd").to_str().unwrap()).unwrap()
}

fn golden(name: &str) -> HashMap<String, Tensor> {
    let path = fixture(&format!("{name}.safetensors"));
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

/// mini-sd with its query projections times 0.3, as in `tests/reference/trajectories.py`.
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

/// A denoiser and scheduler that start every step from recorded latents instead of the step before.
struct Forced<'a> {
    unet: Mutex<Box<dyn Denoiser + 'a>>,
    ddim: Ddim,
    /// The latents before each step.
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

    fn recorder(&self, prepared: &Prepared) -> Recorder {
        let sites = self.folder.unet.sites(prepared.latent_size);
        Recorder::new(Recording::layout(&sites, 4, prepared.controller.rows.len()))
    }

    /// Checks noise, plan and text states of a case, then each recorded step from the latents before it, then
    /// the decoded pictures.
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
            let recorder = self.check_steps(name, &prepared, &conditioning, &noise, steps);
            assert_eq!(recorder.recorded().len(), prepared.controller.rows.len());
            let exact = &golden("parity/token_maps_float64")[name];
            for row in recorder.recorded() {
                check_token_maps(name, row, &recorded["token_maps_16"], exact);
            }
            self.check_decoded(name, &recorded["final_latents"], &recorded["decoded"]);
        }
    }

    /// Checks each step from the recorded latents before it, and returns the token maps of the run.
    fn check_steps(
        &self,
        name: &str,
        prepared: &Prepared,
        conditioning: &Conditioning,
        noise: &Tensor,
        recorded: &Tensor,
    ) -> Recorder {
        let first = noise.broadcast_as(recorded.get(0).unwrap().shape());
        let mut before = vec![first.unwrap().contiguous().unwrap()];
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
            // Three times the distance of float64 from the recorded float32.
            let bound = 2e-2 * 0.35f64.powi(step as i32 - 1) + 2e-5;
            near(name, &format!("step {step}"), after, &before[step], bound);
            Ok(())
        };
        let mut recorder = self.recorder(prepared);
        let watchers = &mut [&mut recorder as _];
        lockstep(sampler.unwrap(), &prepared.controller, watchers, check).unwrap();
        recorder
    }

    /// Runs a case without recorded latents and compares latents and token maps with the method written out in
    /// float64.
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
        let mut recorder = self.recorder(&prepared);
        let finished = lockstep(
            sampler,
            &prepared.controller,
            &mut [&mut recorder],
            &mut |_, _| Ok(()),
        )
        .unwrap();
        let latents = finished.latents;
        assert_eq!(recorder.recorded().len(), prepared.controller.rows.len());
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

    /// Compares decoded pictures with the golden ones, which hold every eighth pixel.
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

/// Compares the token maps of a row with those of the reference, in float32 (`maps`) and in float64 (`exact`).
fn check_token_maps(name: &str, recorded: &Recorded, maps: &Tensor, exact: &Tensor) {
    let (row, map) = (recorded.row, recorded.mean().unwrap());
    let what = format!("token maps of row {row}");
    let reference = maps.get(row).unwrap();
    // The bound is not 1e-4, because the recorded maps are float32 themselves. Compared with the same steps in
    // float64 (`tests/reference/token_maps.py`), the recorded maps are off by 5.1e-5 to 1.1e-4, ours by 4.5e-5
    // to 1.1e-4, and the two differ by 6.9e-5 to 1.2e-4. Only the cases of refine and blend exceed 1e-4, and
    // there the reference itself is 0.9e-4 to 1.1e-4 from float64. The comparison with float64 below is the
    // one that counts.
    near(name, &what, &map, &reference, 1.5e-4);
    let [map, reference] = [&map, &reference].map(|m| m.narrow(2, 0, 16).unwrap());
    let exact = exact.get(row).unwrap();
    let theirs = relative(&flat(&reference), &flat(&exact));
    println!("{name}: the reference's own {theirs:.1e}");
    let what = format!("{what}, float64");
    near(name, &what, &map, &exact, 1.5 * theirs);
}

/// Token ids, text states, noise, mappers, alphas and gates of the reference's own classes, and every step and
/// the token maps of five cases. mini-sd's attention is so sharp that whole trajectories end 15 % apart on two
/// machines with the same PyTorch, so only single steps can be compared.
#[test]
fn recorded_steps_of_the_reference_are_reproduced() {
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

/// Whole runs on mini-sd with calmer attention.
#[test]
fn trajectories_of_the_literal_method_are_reproduced() {
    check_trajectories(|name| {
        ["replace-multitoken", "refine-three-reweight", "blend-three"].contains(&name)
    });
}

#[test]
#[ignore = "eighteen whole runs with 64x64 latents: some minutes"]
fn all_trajectories_of_the_literal_method_are_reproduced() {
    check_trajectories(|_| true);
}
