//! Whole runs of each scheduler against diffusers' trajectories of the calmed miniature, and the windows
//! of a run with more calls than steps. `tests/reference/schedulers.py` wrote the fixtures.

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::NoHook;
use prompt_to_prompt::edit::{Rules, Window};
use prompt_to_prompt::job::{
    CrossSteps, EditSettings, Job, Prepared, SchedulerName, conditioning, run,
};
use prompt_to_prompt::model::Components;
use prompt_to_prompt::sample::{Sampler, Start};

use crate::common::{fixture, relative};
use crate::laws::Lab;
use crate::parity::{flat, mini_sd};
use crate::schedulers::{SEED, start};

const STEPS: usize = 8;
const FEW: usize = 3;
/// Rows and columns of the latents.
const SIZE: (usize, usize) = (12, 20);
const SRC: &str = "a photo of a cat on a chair";
const DST: &str = "a photo of a tiger on a chair";

impl Lab {
    /// A job with the fixtures' two rows, or with the source alone.
    fn solved(&self, scheduler: SchedulerName, steps: usize, edits: usize) -> Job {
        let edit = EditSettings {
            dst: Some(DST.to_owned()),
            ..EditSettings::default()
        };
        Job {
            seed: SEED,
            steps: Some(steps),
            guidance: Some(7.5),
            width: Some(8 * SIZE.1),
            height: Some(8 * SIZE.0),
            scheduler: Some(scheduler),
            control: false,
            ..Job::new(SRC, vec![edit; edits])
        }
    }

    /// The latents before the first and after each call.
    fn walk(&self, job: &Job) -> Vec<Tensor> {
        let prepared = Prepared::new(job, &self.folder).unwrap();
        let text = conditioning(&prepared, &self.model).unwrap();
        let (noise, rng) = start(SIZE);
        let mut scheduler = prepared
            .run
            .scheduler
            .build(&self.model.scheduler, prepared.run.steps, rng)
            .unwrap();
        let mut denoiser = self.model.denoiser(&text).unwrap();
        let (guidance, start) = (prepared.run.guidance, Start::Noise(noise));
        let mut sampler = Sampler::new(&mut *denoiser, &mut *scheduler, guidance, start).unwrap();
        assert_eq!(sampler.steps(), prepared.controller.clock.calls);
        let mut seen = vec![sampler.latents().clone()];
        while !sampler.done() {
            sampler.step(&mut NoHook).unwrap();
            seen.push(sampler.latents().clone());
        }
        seen
    }

    /// A run as users start it. Returns the latents and the calls that were reported.
    fn run_reported(&self, job: &Job) -> (Tensor, Vec<usize>) {
        let prepared = Prepared::new(job, &self.folder).unwrap();
        let mut reported = vec![];
        let outcome = run(&prepared, &self.model, &mut [], &mut |call| {
            reported.push(call);
            Ok(())
        });
        let outcome = outcome.unwrap();
        assert_eq!(outcome.manifest.run.scheduler, prepared.run.scheduler);
        (outcome.latents, reported)
    }
}

/// Compares the latents after each of eight steps, and those after three steps of a user's run.
fn trajectories_equal(name: SchedulerName) {
    let lab = Lab::new();
    let golden = fixture(&format!("schedulers/{name}.safetensors"));
    let golden = candle_core::safetensors::load(golden, &Device::Cpu).unwrap();
    let near = |what: &str, got: &Tensor, want: &Tensor| {
        let far = relative(&flat(got), &flat(want));
        println!("{name}, {what}: {far:.1e}");
        assert!(far < 1e-5, "{name}, {what}: {far:.1e} off");
    };
    let seen = lab.walk(&lab.solved(name, STEPS, 1));
    assert_eq!(seen.len(), golden["all"].dim(0).unwrap());
    for (call, latents) in seen.iter().enumerate() {
        near(
            &format!("after {call} calls"),
            latents,
            &golden["all"].get(call).unwrap(),
        );
    }
    let (few, reported) = lab.run_reported(&lab.solved(name, FEW, 1));
    near("three steps", &few, &golden["few"]);
    assert_eq!(reported, (1..=name.calls(FEW)).collect::<Vec<_>>());
    let (alone, _) = lab.run_reported(&lab.solved(name, FEW, 0));
    let source = few.get(0).unwrap();
    assert_eq!(
        flat(&alone),
        flat(&source),
        "{name}: a neighbour changed the row"
    );
}

#[test]
fn ddim_trajectories_equal_diffusers() {
    trajectories_equal(SchedulerName::Ddim);
}

#[test]
fn pndm_trajectories_equal_diffusers() {
    trajectories_equal(SchedulerName::Pndm);
}

#[test]
fn dpm_trajectories_equal_diffusers() {
    trajectories_equal(SchedulerName::DpmPp2m);
}

#[test]
fn unipc_trajectories_equal_diffusers() {
    trajectories_equal(SchedulerName::UniPc);
}

#[test]
fn euler_trajectories_equal_diffusers() {
    trajectories_equal(SchedulerName::Euler);
}

#[test]
fn euler_a_trajectories_equal_diffusers() {
    trajectories_equal(SchedulerName::EulerA);
}

/// Our rules count windows in calls, so a window over the whole run covers the call that PLMS adds. The
/// reference's rules count self-attention in steps and leave that call out.
#[test]
fn windows_cover_the_calls_of_the_run() {
    let folder = mini_sd();
    let edit = EditSettings {
        dst: Some(DST.to_owned()),
        cross_steps: CrossSteps::all(Window::until(1.0)),
        self_steps: Some(Window::until(1.0)),
        ..EditSettings::default()
    };
    let lab = Lab::new();
    let last = |rules: Rules| {
        let job = Job {
            edits: vec![edit.clone()],
            rules,
            control: true,
            ..lab.solved(SchedulerName::Pndm, 50, 1)
        };
        let prepared = Prepared::new(&job, &folder).unwrap();
        assert_eq!(
            (prepared.run.steps, prepared.controller.clock.calls),
            (50, 51)
        );
        let plan = prepared.controller.plan(50);
        (plan.cross[1][0].0, plan.self_attention[1][0].0)
    };
    assert_eq!(last(Rules::Ours), (0, 0));
    assert_eq!(last(Rules::Reference), (0, 1));
}
