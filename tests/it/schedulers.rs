//! Each scheduler against diffusers' own: timesteps and sigmas, where a walk through an exact denoiser
//! ends for step counts from 1 to 1000, and whole trajectories of the calmed miniature.
//! `tests/reference/schedulers.py` wrote the fixtures.

use prompt_to_prompt::message::Flags;

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::{AttentionHook, NoHook};
use prompt_to_prompt::edit::{Rules, Window};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::{EditSpec, Job, Prepared, SchedulerName, conditioning, run};
use prompt_to_prompt::model::{
    Components, Denoiser, DenoiserCall, Eps, Prediction, SchedulerConfig, Spacing,
};
use prompt_to_prompt::sample::noise::TorchRng;
use prompt_to_prompt::sample::{DpmPp2m, Euler, EulerA, Sampler, Scheduler, Start, UniPc};
use serde_json::Value;

use crate::common::{fixture, json, relative};
use crate::laws::Lab;
use crate::parity::{flat, mini_sd};

const SEED: u64 = 21;
const STEPS: usize = 8;
const FEW: usize = 3;
/// Rows, columns.
const SIZE: (usize, usize) = (12, 20);
const SRC: &str = "a photo of a cat on a chair";
const DST: &str = "a photo of a tiger on a chair";
const MEAN: f64 = 0.5;
const SPREAD: f64 = 0.25;

fn start((h, w): (usize, usize)) -> (Tensor, TorchRng) {
    let mut rng = TorchRng::new(SEED);
    let noise = rng.randn(4 * h * w);
    let noise = Tensor::from_vec(noise, (1, 4, h, w), &Device::Cpu).unwrap();
    (noise, rng)
}

/// Knows the noise exactly, for data that are normal with `MEAN` and `SPREAD`: the flow of the fixtures.
struct Exact(Vec<f32>, Prediction);

impl Exact {
    fn alpha(&self, timestep: usize) -> f64 {
        f64::from(self.0[timestep.min(self.0.len() - 1)])
    }

    /// How many deviations a value at a noise level lies off the mean, which the flow never changes.
    fn deviations(alpha: f64, x: f32) -> f64 {
        (f64::from(x) - alpha.sqrt() * MEAN) / (alpha * SPREAD * SPREAD + 1.0 - alpha).sqrt()
    }
}

impl Denoiser for Exact {
    fn rows(&self) -> usize {
        1
    }

    fn eps(&mut self, call: &DenoiserCall, _: &mut dyn AttentionHook) -> Result<Eps> {
        let (latents, alpha) = (call.latents, self.alpha(call.timestep));
        let variance = alpha * SPREAD * SPREAD + 1.0 - alpha;
        let slope = (1.0 - alpha).sqrt() / variance;
        let noise = latents.affine(slope, -slope * alpha.sqrt() * MEAN)?;
        let cond = match self.1 {
            Prediction::Epsilon => noise,
            // v = alpha noise - sigma x_0
            Prediction::Velocity => ((noise - (latents * (1.0 - alpha).sqrt())?)? / alpha.sqrt())?,
        };
        Ok(Eps { cond, uncond: None })
    }
}

/// Walks `rows` equal rows through an exact denoiser. The latents before the last call, as the denoiser
/// is shown them, and after it.
fn flow(scheduler: &mut dyn Scheduler, config: &SchedulerConfig, rows: usize) -> [Tensor; 2] {
    let mut exact = Exact(config.alphas_cumprod(), config.prediction_type);
    let (noise, _) = start((2, 2));
    let mut latents = noise
        .broadcast_as((rows, 4, 2, 2))
        .unwrap()
        .contiguous()
        .unwrap();
    latents = (latents * scheduler.init_noise_sigma()).unwrap();
    let mut shown = latents.clone();
    for (step, t) in scheduler.timesteps().to_vec().into_iter().enumerate() {
        shown = scheduler.scale_input(step, &latents).unwrap();
        let call = DenoiserCall {
            index: step,
            timestep: t,
            rows: 0..rows,
            latents: &shown,
        };
        let eps = exact.eps(&call, &mut NoHook).unwrap();
        latents = scheduler.step(step, &eps.cond, &latents).unwrap();
    }
    [shown, latents]
}

fn build(name: SchedulerName, config: &SchedulerConfig, steps: usize) -> Box<dyn Scheduler> {
    name.build(config, steps, start((2, 2)).1).unwrap()
}

/// A list of the fixtures: all of it, or its ends, and its sum.
fn check_list(what: &str, got: &[f64], golden: &Value) {
    let ends: Vec<f64> = serde_json::from_value(golden["ends"].clone()).unwrap();
    assert_eq!(got.len() as u64, golden["len"], "{what}");
    let half = ends.len().div_ceil(2);
    let tail = got.len() - (ends.len() - half);
    for (got, want) in got[..half].iter().chain(&got[tail..]).zip(&ends) {
        // An alpha may differ in its last bit.
        assert!(
            (got - want).abs() <= 1e-6 * want,
            "{what}: {got} is not {want}"
        );
    }
    let (sum, want) = (got.iter().sum::<f64>(), golden["sum"].as_f64().unwrap());
    assert!((sum - want).abs() <= 1e-7 * want, "{what}: sum {sum}");
}

fn sigmas(name: SchedulerName, config: &SchedulerConfig, steps: usize) -> Option<Vec<f64>> {
    let rng = TorchRng::new(0);
    let sigmas = match name {
        SchedulerName::Ddim | SchedulerName::Pndm => return None,
        SchedulerName::DpmPp2m => DpmPp2m::new(config, steps).unwrap().sigmas().to_vec(),
        SchedulerName::UniPc => UniPc::new(config, steps).unwrap().sigmas().to_vec(),
        SchedulerName::Euler => Euler::new(config, steps).sigmas().to_vec(),
        SchedulerName::EulerA => EulerA::new(config, steps, rng).sigmas().to_vec(),
    };
    Some(sigmas)
}

fn check_schedule(case: &Value, config: &SchedulerConfig) {
    let name: SchedulerName = case["name"].as_str().unwrap().parse().unwrap();
    let steps = case["steps"].as_u64().unwrap() as usize;
    let mut config = config.clone();
    if let Some(offset) = case["steps_offset"].as_u64() {
        config.steps_offset = offset as usize;
        config.set_alpha_to_one = case["set_alpha_to_one"].as_bool().unwrap();
    }
    if case["prediction_type"] == "v_prediction" {
        config.prediction_type = Prediction::Velocity;
    }
    if case["timestep_spacing"] == "trailing" {
        config.timestep_spacing = Spacing::Trailing;
    }
    let what = format!(
        "{name}, {steps} steps, offset {}, {:?}, {:?}",
        config.steps_offset, config.prediction_type, config.timestep_spacing
    );
    if case["timesteps"]["len"] != name.calls(steps) {
        // Odd in diffusers: rounding makes one timestep more, which is -1.
        assert!(
            config.timestep_spacing == Spacing::Trailing && steps == 998,
            "{what}"
        );
        return;
    }
    let fails = case["end"].is_null();
    if fails && matches!(name, SchedulerName::DpmPp2m | SchedulerName::UniPc) {
        assert!(
            name.build(&config, steps, TorchRng::new(0)).is_err(),
            "{what}"
        );
        return;
    }
    let mut scheduler = build(name, &config, steps);
    assert_eq!(scheduler.timesteps().len(), name.calls(steps), "{what}");
    let [_, end] = flow(&mut *scheduler, &config, 1);
    if fails {
        // diffusers reads past its table; ours has no noise to remove there.
        assert!(flat(&end).iter().all(|x| x.is_finite()), "{what}");
        return;
    }
    let timesteps: Vec<f64> = scheduler.timesteps().iter().map(|t| *t as f64).collect();
    check_list(&what, &timesteps, &case["timesteps"]);
    if let Some(sigmas) = sigmas(name, &config, steps) {
        check_list(&what, &sigmas, &case["sigmas"]);
    }
    let far = scheduler.init_noise_sigma() / case["init_noise_sigma"].as_f64().unwrap() - 1.0;
    assert!(
        far.abs() < 1e-6,
        "{what}: the start noise is off by {far:.1e}"
    );
    let want: Vec<f32> = serde_json::from_value(case["end"].clone()).unwrap();
    let far = relative(&flat(&end), &want);
    assert!(far < 1e-5, "{what}: the flow ends {far:.1e} off");
}

#[test]
fn schedules_and_flows_equal_diffusers() {
    let (cases, config) = (json("schedulers/schedules.json"), mini_sd().scheduler);
    let cases = cases.as_array().unwrap();
    cases.iter().for_each(|case| check_schedule(case, &config));
}

/// How far the flow strays on its way to the last timestep, in deviations.
fn strays(name: SchedulerName, steps: usize, config: &SchedulerConfig) -> f64 {
    let exact = Exact(config.alphas_cumprod(), config.prediction_type);
    let mut scheduler = build(name, config, steps);
    let [end, _] = flow(&mut *scheduler, config, 1);
    let alpha = |t: Option<&usize>| exact.alpha(*t.unwrap());
    let timesteps = scheduler.timesteps();
    let (first, last) = (alpha(timesteps.first()), alpha(timesteps.last()));
    let (noise, end) = (flat(&start((2, 2)).0), flat(&end));
    let stray = |(noise, end): (&f32, &f32)| {
        (Exact::deviations(last, *end) - Exact::deviations(first, *noise)).powi(2)
    };
    (noise.iter().zip(&end).map(stray).sum::<f64>() / end.len() as f64).sqrt()
}

/// Independent of any implementation: more steps stray less, and higher orders less than DDIM.
#[test]
fn solvers_converge_to_the_exact_flow() {
    let config = mini_sd().scheduler;
    let ddim = strays(SchedulerName::Ddim, 20, &config);
    // The ancestral one ends elsewhere in the same distribution.
    for name in &SchedulerName::ALL[..5] {
        let [few, many, most] = [20, 80, 998].map(|steps| strays(*name, steps, &config));
        println!("{name}: {few:.1e} {many:.1e} {most:.1e}");
        assert!(few < 0.2 && many < 0.05 && most < 0.005, "{name}");
        let first_order = matches!(name, SchedulerName::Ddim | SchedulerName::Euler);
        assert!(
            first_order || few < ddim / 2.0,
            "{name}: {few} is not below {ddim}"
        );
    }
    for name in [
        SchedulerName::Ddim,
        SchedulerName::Pndm,
        SchedulerName::Euler,
    ] {
        assert!(strays(name, 1000, &config) < 0.005, "{name}");
    }
}

/// Fresh noise goes to every row alike, comes from the generator that was given, and comes again.
#[test]
fn ancestral_noise_is_shared_by_rows_and_repeats() {
    let config = mini_sd().scheduler;
    let draw = |rng: TorchRng| {
        let mut scheduler = EulerA::new(&config, 5, rng);
        let [_, end] = flow(&mut scheduler, &config, 3);
        let rows: Vec<Vec<f32>> = (0..3).map(|r| flat(&end.get(r).unwrap())).collect();
        assert!(rows.iter().all(|row| *row == rows[0]));
        rows[0].clone()
    };
    let (_, rng) = start((2, 2));
    let first = draw(rng.clone());
    assert_eq!(first, draw(rng));
    assert_ne!(
        first,
        draw(TorchRng::new(SEED)),
        "the start noise is not drawn again"
    );
}

/// The lab of the laws, with solvers.
impl Lab {
    /// The fixtures' two rows, or the source alone.
    fn solved(&self, scheduler: SchedulerName, steps: usize, edits: usize) -> Job {
        let edit = EditSpec {
            dst: Some(DST.to_owned()),
            ..EditSpec::default()
        };
        Job {
            src: SRC.to_owned(),
            edits: vec![edit; edits],
            negative_prompt: String::new(),
            seed: SEED,
            steps: Some(steps),
            guidance: Some(7.5),
            width: Some(8 * SIZE.1),
            height: Some(8 * SIZE.0),
            scheduler: Some(scheduler),
            self_res: None,
            rules: Rules::Ours,
            control: false,
            baseline: false,
            draw_source: true,
            fast: false,
        }
    }

    /// The latents before the first and after each call.
    fn walk(&self, job: &Job) -> Vec<Tensor> {
        let prepared = Prepared::new(job, &self.folder).unwrap();
        let text = conditioning(&prepared, &self.model).unwrap();
        let (noise, rng) = start(SIZE);
        let mut scheduler = prepared
            .scheduler
            .build(&self.model.scheduler, prepared.steps, rng)
            .unwrap();
        let mut denoiser = self.model.denoiser(&text).unwrap();
        let (guidance, start) = (prepared.guidance, Start::Noise(noise));
        let mut sampler = Sampler::new(&mut *denoiser, &mut *scheduler, guidance, start).unwrap();
        assert_eq!(sampler.steps(), prepared.controller.clock.calls);
        let mut seen = vec![sampler.latents().clone()];
        while !sampler.done() {
            sampler.step(&mut NoHook).unwrap();
            seen.push(sampler.latents().clone());
        }
        seen
    }

    /// The way users' runs go, with the calls it told of.
    fn run_telling(&self, job: &Job) -> (Tensor, Vec<usize>) {
        let prepared = Prepared::new(job, &self.folder).unwrap();
        let mut told = vec![];
        let outcome = run(job, &prepared, &self.model, &mut [], &mut |call| {
            told.push(call);
            Ok(())
        });
        let outcome = outcome.unwrap();
        assert_eq!(outcome.manifest.scheduler, prepared.scheduler.name());
        (outcome.latents, told)
    }
}

/// Every state of eight steps, and the end of three by the way of a user's run.
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
    let (few, told) = lab.run_telling(&lab.solved(name, FEW, 1));
    near("three steps", &few, &golden["few"]);
    assert_eq!(told, (1..=name.calls(FEW)).collect::<Vec<_>>());
    let (alone, _) = lab.run_telling(&lab.solved(name, FEW, 0));
    let source = few.get(0).unwrap();
    assert_eq!(
        flat(&alone),
        flat(&source),
        "{name}: a row felt its neighbour"
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

/// Ours counts windows in calls: a window over the whole run covers the call that PLMS adds. The
/// reference counts self-attention in steps, and leaves it out.
#[test]
fn windows_cover_the_calls_of_the_run() {
    let folder = mini_sd();
    let edit = EditSpec {
        dst: Some(DST.to_owned()),
        cross_steps: Some(Window::until(1.0)),
        self_steps: Some(Window::until(1.0)),
        ..EditSpec::default()
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
        assert_eq!((prepared.steps, prepared.controller.clock.calls), (50, 51));
        let plan = prepared.controller.plan(50);
        (plan.cross[1][0].0, plan.self_attention[1][0].0)
    };
    assert_eq!(last(Rules::Ours), (0, 0));
    assert_eq!(last(Rules::Reference), (0, 1));
}

#[test]
fn names_are_read_as_people_write_them() {
    let spellings = [
        ("ddim DDIM DDIMScheduler", SchedulerName::Ddim),
        ("pndm plms PNDMScheduler PLMS", SchedulerName::Pndm),
        (
            "dpm++2m dpm++ dpmpp_2m DPM++_2M DPMSolverMultistepScheduler",
            SchedulerName::DpmPp2m,
        ),
        ("unipc UniPC UniPCMultistepScheduler", SchedulerName::UniPc),
        ("euler Euler EulerDiscreteScheduler", SchedulerName::Euler),
        (
            "euler-a euler_a Euler_A EulerAncestralDiscreteScheduler",
            SchedulerName::EulerA,
        ),
    ];
    for (texts, name) in spellings {
        for text in texts.split(' ') {
            assert_eq!(text.parse::<SchedulerName>().unwrap(), name, "{text}");
        }
    }
    let parse = |text: &str| text.parse::<SchedulerName>().unwrap();
    assert_eq!(parse("DPM++ 2M"), SchedulerName::DpmPp2m);
    assert_eq!(parse("Euler a"), SchedulerName::EulerA);
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let all = "use one of ddim, pndm, dpm++2m, unipc, euler, euler-a";
    for (text, near) in [
        ("heun", None),
        ("", None),
        ("pndn", Some("pndm")),
        ("eulerb", Some("euler")),
        ("DPM++ 2M Karras", Some("dpm++2m")),
        ("plmss", Some("pndm")),
    ] {
        let error = text.parse::<SchedulerName>().unwrap_err();
        let (cause, cure) = error.parts(&Flags);
        assert_eq!(cause, format!("\"{text}\" is not a scheduler"));
        let near = near.map_or(String::new(), |near| format!("did you mean {near}? "));
        assert_eq!(cure, format!("{near}{all}"), "{text}");
    }
}
