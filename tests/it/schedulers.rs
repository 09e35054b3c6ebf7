//! Each scheduler against diffusers' own: timesteps and sigmas, and the end of a run through an exact
//! denoiser for step counts from 1 to 1000. `tests/reference/schedulers.py` wrote the fixtures.

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::{AttentionHook, NoHook};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::SchedulerName;
use prompt_to_prompt::message::Flags;
use prompt_to_prompt::model::{Denoiser, DenoiserCall, Eps, Prediction, SchedulerConfig, Spacing};
use prompt_to_prompt::sample::noise::TorchRng;
use prompt_to_prompt::sample::{DpmPp2m, Euler, EulerA, Scheduler, UniPc};
use prompt_to_prompt::setting::Setting;
use serde_json::Value;

use crate::common::{json, relative};
use crate::parity::{flat, mini_sd};

pub const SEED: u64 = 21;
const MEAN: f64 = 0.5;
const SPREAD: f64 = 0.25;

/// The start noise `[1, 4, h, w]` and the generator after it.
pub fn start((h, w): (usize, usize)) -> (Tensor, TorchRng) {
    let mut rng = TorchRng::new(SEED);
    let noise = rng.randn(4 * h * w);
    let noise = Tensor::from_vec(noise, (1, 4, h, w), &Device::Cpu).unwrap();
    (noise, rng)
}

/// The exact noise prediction for normal data of mean `MEAN` and deviation `SPREAD`: the denoiser of the
/// fixtures.
struct Exact(Vec<f32>, Prediction);

impl Exact {
    fn alpha(&self, timestep: usize) -> f64 {
        f64::from(self.0[timestep.min(self.0.len() - 1)])
    }

    /// The distance of a value from the mean in deviations. The exact flow keeps it at every noise level.
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

/// Runs `rows` equal rows through the exact denoiser. Returns the denoiser's last input, and the latents
/// after the last call.
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

/// Compares a list with a fixture, which holds the list's ends (or all of it) and its sum.
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
        // diffusers' rounding makes one timestep too many here, -1.
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
        // diffusers reads past its table here. Our table ends, so there is no noise to remove.
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

/// The error of the flow at the last timestep, in deviations.
fn error(name: SchedulerName, steps: usize, config: &SchedulerConfig) -> f64 {
    let exact = Exact(config.alphas_cumprod(), config.prediction_type);
    let mut scheduler = build(name, config, steps);
    let [end, _] = flow(&mut *scheduler, config, 1);
    let alpha = |t: Option<&usize>| exact.alpha(*t.unwrap());
    let timesteps = scheduler.timesteps();
    let (first, last) = (alpha(timesteps.first()), alpha(timesteps.last()));
    let (noise, end) = (flat(&start((2, 2)).0), flat(&end));
    let square = |(noise, end): (&f32, &f32)| {
        (Exact::deviations(last, *end) - Exact::deviations(first, *noise)).powi(2)
    };
    (noise.iter().zip(&end).map(square).sum::<f64>() / end.len() as f64).sqrt()
}

/// Holds whatever the implementation: more steps have a smaller error, and higher orders a smaller one
/// than DDIM.
#[test]
fn solvers_converge_to_the_exact_flow() {
    let config = mini_sd().scheduler;
    let ddim = error(SchedulerName::Ddim, 20, &config);
    // The ancestral solver ends at other values of the same distribution.
    for name in &SchedulerName::ALL[..5] {
        let [few, many, most] = [20, 80, 998].map(|steps| error(*name, steps, &config));
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
        assert!(error(name, 1000, &config) < 0.005, "{name}");
    }
}

/// All rows get the same fresh noise. It comes from the given generator, so it repeats.
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
}

/// The names of the table, as settings and as A1111 spell them: each is read back, and stands for the
/// solver in serde.
#[test]
fn names_are_written_and_read_back() {
    let names = [
        ("ddim", "DDIM"),
        ("pndm", "PLMS"),
        ("dpm++2m", "DPM++ 2M"),
        ("unipc", "UniPC"),
        ("euler", "Euler"),
        ("euler-a", "Euler a"),
    ];
    for (solver, (name, metadata_name)) in SchedulerName::ALL.into_iter().zip(names) {
        assert_eq!(
            (solver.name(), solver.metadata_name()),
            (name, metadata_name)
        );
        for text in [name, metadata_name] {
            assert_eq!(text.parse::<SchedulerName>().unwrap(), solver);
        }
        assert_eq!(solver.to_string(), name);
        assert!(!solver.about().is_empty());
        let json = serde_json::to_string(&solver).unwrap();
        assert_eq!(json, format!("\"{name}\""));
        assert_eq!(
            serde_json::from_str::<SchedulerName>(&json).unwrap(),
            solver
        );
    }
    assert_eq!(SchedulerName::default(), SchedulerName::Ddim);
    let error = serde_json::from_str::<SchedulerName>("\"heun\"").unwrap_err();
    assert!(
        error.to_string().contains("use one of ddim, pndm"),
        "{error}"
    );
}

#[test]
fn plms_takes_a_call_more_than_its_steps() {
    for solver in SchedulerName::ALL {
        let more = usize::from(solver == SchedulerName::Pndm);
        assert_eq!(
            [1, 2, 50].map(|n| solver.calls(n)),
            [1, 2 + more, 50 + more]
        );
    }
}

/// The error names both settings, and the cure the largest number of steps that works.
#[test]
fn too_many_steps_are_answered_with_the_most_that_work() {
    let config = mini_sd().scheduler;
    for solver in [SchedulerName::DpmPp2m, SchedulerName::UniPc] {
        let build = |steps| solver.build(&config, steps, TorchRng::new(0)).map(|_| ());
        let error = build(1000).unwrap_err();
        assert_eq!(error.report().about, Some(Setting::Steps));
        let (cause, cure) = error.parts(&Flags);
        let told = format!("--steps 1000 --scheduler {solver}: too many steps to keep the model's");
        assert_eq!(cause, format!("{told} 1000 noise levels apart"));
        assert_eq!(cure, "use --steps 998 or --scheduler ddim");
        assert!(build(998).is_ok() && build(999).is_err());
    }
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
        assert_eq!(error.report().about, Some(Setting::Scheduler));
        assert_eq!(error.report().word.as_deref(), Some(text));
    }
}
