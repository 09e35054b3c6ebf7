//! Runs that begin with latents rather than noise, at any call, and text states that change during a
//! run: with a fake denoiser, whose numbers are known, and with the miniature, to the bit.

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::{AttentionHook, NoHook, Site, Tap};
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::job::{Prepared, SchedulerName, conditioning, starting_noise};
use prompt_to_prompt::model::{
    Components, Conditioning, Denoiser, DenoiserCall, Eps, PromptStates, TextSchedule,
};
use prompt_to_prompt::sample::noise::TorchRng;
use prompt_to_prompt::sample::{
    AttentionObserver, EditPlan, Euler, Sampler, Scheduler, Start, lockstep,
};
use prompt_to_prompt::setting::Setting;

use crate::common::{numbers, relative};
use crate::laws::{Lab, REFINED, SRC, STEPS, SWAP, edit, moves, rows};
use crate::parity::{flat, mini_sd};

/// Predicts the first number of the text states that hold at a call, for every pixel of a row.
struct Fake {
    text: TextSchedule,
    /// Call and timestep of each prediction.
    asked: Vec<(usize, usize)>,
}

impl Fake {
    fn new(text: TextSchedule) -> Self {
        Self {
            text,
            asked: vec![],
        }
    }
}

impl Denoiser for Fake {
    fn rows(&self) -> usize {
        self.text.at(0).rows().unwrap()
    }

    fn eps(&mut self, call: &DenoiserCall, _: &mut dyn AttentionHook) -> Result<Eps> {
        self.asked.push((call.index, call.timestep));
        let states = &self.text.at(call.index).context;
        let number = states.narrow(1, 0, 1)?.narrow(2, 0, 1)?;
        let cond = number.unsqueeze(3)?.broadcast_as(call.latents.shape())?;
        Ok(Eps {
            cond: cond.contiguous()?,
            uncond: None,
        })
    }
}

/// Subtracts the prediction from the latents at each call.
struct Subtracts(Vec<usize>);

impl Scheduler for Subtracts {
    fn timesteps(&self) -> &[usize] {
        &self.0
    }

    fn init_noise_sigma(&self) -> f64 {
        4.0
    }

    fn step(&mut self, _: usize, predicted: &Tensor, latents: &Tensor) -> Result<Tensor> {
        Ok((latents - predicted)?)
    }
}

/// Text states of a token and a channel, a number for each row.
fn states(numbers: &[f32]) -> PromptStates {
    let shape = (numbers.len(), 1, 1);
    Tensor::from_slice(numbers, shape, &Device::Cpu)
        .unwrap()
        .into()
}

fn latents(numbers: &[f32]) -> Tensor {
    Tensor::from_slice(numbers, (numbers.len(), 1, 1, 1), &Device::Cpu).unwrap()
}

#[test]
fn noise_is_scaled_and_shared_and_latents_are_taken_as_they_are() {
    let first = |start: Start| {
        let mut fake = Fake::new(states(&[1.0, 2.0]).into());
        let mut scheduler = Subtracts(vec![9, 5, 1]);
        let sampler = Sampler::new(&mut fake, &mut scheduler, 1.0, start).unwrap();
        flat(sampler.latents())
    };
    assert_eq!(first(Start::Noise(latents(&[0.5]))), [2.0, 2.0]);
    assert_eq!(first(Start::Noise(latents(&[0.5, 1.0]))), [2.0, 4.0]);
    let given = |numbers: &[f32]| Start::Latents {
        latents: latents(numbers),
        first_call: 1,
    };
    assert_eq!(first(given(&[0.5])), [0.5, 0.5]);
    assert_eq!(first(given(&[0.5, 1.0])), [0.5, 1.0]);
}

#[test]
fn a_run_makes_the_calls_from_its_first_one_on() {
    let mut fake = Fake::new(states(&[1.0]).into());
    let mut scheduler = Subtracts(vec![9, 5, 1]);
    let start = Start::Latents {
        latents: latents(&[7.0]),
        first_call: 1,
    };
    let mut sampler = Sampler::new(&mut fake, &mut scheduler, 1.0, start).unwrap();
    assert_eq!(sampler.steps(), 3);
    while !sampler.done() {
        sampler.step(&mut NoHook).unwrap();
    }
    assert_eq!(flat(sampler.latents()), [5.0]);
    assert_eq!(fake.asked, [(1, 5), (2, 1)]);
}

#[test]
fn a_start_outside_of_the_run_is_refused() {
    let refused = |rows: &[f32], first_call| {
        let mut fake = Fake::new(states(&[1.0, 2.0]).into());
        let mut scheduler = Subtracts(vec![9, 5, 1]);
        let start = Start::Latents {
            latents: latents(rows),
            first_call,
        };
        Sampler::new(&mut fake, &mut scheduler, 1.0, start).err()
    };
    assert!(refused(&[1.0], 2).is_none());
    let error = refused(&[1.0], 3).unwrap();
    assert_eq!(error.cause(), "a run of 3 denoiser calls has no call 3");
    assert!(refused(&[1.0, 2.0, 3.0], 0).is_some(), "a row too many");
}

#[test]
fn text_states_hold_from_their_first_call_on() {
    let text = TextSchedule::from(states(&[1.0, 10.0]))
        .then(1, states(&[2.0, 20.0]))
        .unwrap()
        .then(3, states(&[3.0, 30.0]))
        .unwrap();
    let mut fake = Fake::new(text);
    let mut scheduler = Subtracts(vec![9, 7, 5, 3, 1]);
    let start = Start::Noise(latents(&[0.0]));
    let mut sampler = Sampler::new(&mut fake, &mut scheduler, 1.0, start).unwrap();
    let mut seen = vec![];
    while !sampler.done() {
        sampler.step(&mut NoHook).unwrap();
        seen.push(flat(sampler.latents())[0]);
    }
    assert_eq!(seen, [-1.0, -3.0, -5.0, -8.0, -11.0]);
    assert_eq!(flat(sampler.latents()), [-11.0, -110.0]);
}

#[test]
fn text_states_out_of_order_or_of_another_shape_are_refused() {
    let text = TextSchedule::from(states(&[1.0])).then(2, states(&[2.0]));
    let text = text.unwrap();
    for call in [0, 1, 2] {
        let refused = text.clone().then(call, states(&[3.0]));
        assert!(matches!(refused, Err(Error::Usage(_))), "call {call}");
    }
    assert!(text.clone().then(3, states(&[3.0, 4.0])).is_err());
    assert!(text.then(3, states(&[3.0])).is_ok());
}

/// Every latent of a run on the miniature: before the first call and after each one.
fn walk(lab: &Lab, text: &Conditioning, scheduler: SchedulerName, start: Start) -> Vec<Tensor> {
    let rng = TorchRng::new(7);
    let mut scheduler = scheduler.build(&lab.model.scheduler, STEPS, rng).unwrap();
    let mut denoiser = lab.model.denoiser(text).unwrap();
    let mut sampler = Sampler::new(&mut *denoiser, &mut *scheduler, 5.0, start).unwrap();
    let mut seen = vec![sampler.latents().clone()];
    while !sampler.done() {
        sampler.step(&mut NoHook).unwrap();
        seen.push(sampler.latents().clone());
    }
    seen
}

/// The text states of two prompts, a row each, and the start noise.
fn texts(lab: &Lab) -> ([Conditioning; 2], Tensor) {
    let job = lab.job(vec![]);
    let prepared = Prepared::new(&job, &lab.folder).unwrap();
    let noise = starting_noise(&prepared).unwrap();
    let of = |src: &str| {
        let mut job = lab.job(vec![]);
        src.clone_into(&mut job.src);
        let prepared = Prepared::new(&job, &lab.folder).unwrap();
        conditioning(&prepared, &lab.model).unwrap()
    };
    ([of(SRC), of(SWAP)], noise)
}

fn latents_of(seen: &[Tensor]) -> Vec<Vec<f32>> {
    seen.iter().map(flat).collect()
}

/// Up to the change the run is the plain one; after it the run is one that goes on from there with the
/// other text.
#[test]
fn a_text_that_changes_is_two_runs_in_one() {
    let lab = Lab::new();
    let ([first, second], noise) = texts(&lab);
    let (ddim, change) = (SchedulerName::Ddim, 2);
    let changed = Conditioning {
        cond: first
            .cond
            .clone()
            .then(change, second.cond.at(0).clone())
            .unwrap(),
        uncond: first.uncond.clone(),
    };
    let plain = walk(&lab, &first, ddim, Start::Noise(noise.clone()));
    let got = walk(&lab, &changed, ddim, Start::Noise(noise));
    let goes_on = Start::Latents {
        latents: plain[change].clone(),
        first_call: change,
    };
    let rest = walk(&lab, &second, ddim, goes_on);
    assert_eq!((got.len(), rest.len()), (STEPS + 1, STEPS - change + 1));
    let (got, plain, rest) = (latents_of(&got), latents_of(&plain), latents_of(&rest));
    moves(&got[STEPS], &plain[STEPS]);
    assert_eq!(got[..=change], plain[..=change]);
    assert_eq!(got[change..], rest);
}

/// The unconditional half has a schedule of its own, as null-text inversion needs it.
#[test]
fn the_unconditional_half_changes_by_itself() {
    let lab = Lab::new();
    let ([text, other], noise) = texts(&lab);
    let null = text.uncond.clone().unwrap();
    let changed = Conditioning {
        cond: text.cond.clone(),
        uncond: Some(null.then(1, other.cond.at(0).clone()).unwrap()),
    };
    let replaced = Conditioning {
        cond: text.cond.clone(),
        uncond: Some(other.cond.at(0).clone().into()),
    };
    let run = |text: &Conditioning, start: Start| walk(&lab, text, SchedulerName::Ddim, start);
    let plain = run(&text, Start::Noise(noise.clone()));
    let got = latents_of(&run(&changed, Start::Noise(noise)));
    let goes_on = Start::Latents {
        latents: plain[1].clone(),
        first_call: 1,
    };
    moves(&got[STEPS], &flat(&plain[STEPS]));
    assert_eq!(got[1..], latents_of(&run(&replaced, goes_on)));
}

/// A clone of earlier states counts as the same states, whose keys and values are computed once. A copy
/// with tensors of its own counts as other states, with the same result.
#[test]
fn states_that_come_back_are_the_same_states() {
    let lab = Lab::new();
    let ([first, second], noise) = texts(&lab);
    let (a, b) = (first.cond.at(0).clone(), second.cond.at(0).clone());
    let run = |back: &PromptStates| {
        let mut cond = TextSchedule::from(a.clone()).then(1, b.clone()).unwrap();
        cond = cond
            .then(2, back.clone())
            .unwrap()
            .then(3, b.clone())
            .unwrap();
        let distinct = cond.states().len();
        let text = Conditioning { cond, uncond: None };
        let start = Start::Noise(noise.clone());
        let seen = walk(&lab, &text, SchedulerName::Ddim, start);
        (distinct, latents_of(&seen))
    };
    let copy = PromptStates::from(a.context.copy().unwrap());
    let ((two, clones), (three, copies)) = (run(&a), run(&copy));
    assert_eq!((two, three), (2, 3));
    assert_eq!(clones, copies);
}

/// Every solver goes on from a later call: at first order, since it has no history.
#[test]
fn every_scheduler_begins_anywhere() {
    let lab = Lab::new();
    let ([text, _], noise) = texts(&lab);
    for name in SchedulerName::ALL {
        println!("{name}");
        let whole = walk(&lab, &text, name, Start::Noise(noise.clone()));
        for first_call in 0..name.calls(STEPS) {
            let start = Start::Latents {
                latents: whole[first_call].clone(),
                first_call,
            };
            let rest = walk(&lab, &text, name, start);
            assert_eq!(rest.len(), whole.len() - first_call);
            let (got, want) = (flat(rest.last().unwrap()), flat(whole.last().unwrap()));
            let far = relative(&got, &want);
            let exact =
                matches!(name, SchedulerName::Ddim | SchedulerName::Euler) || first_call == 0;
            println!("from call {first_call}: {far:.1e}");
            assert!(
                far < if exact { 1e-12 } else { 0.5 },
                "{name} from {first_call}: {far}"
            );
        }
    }
}

/// PLMS makes its first step twice. A run that begins with the second time has no step to make again: its
/// first call leaves the latents alone, and the next one is at the same timestep.
#[test]
fn plms_from_its_second_call_is_plms_from_its_third() {
    let config = mini_sd().scheduler;
    let run = |first_call| {
        let mut fake = Fake::new(states(&[0.3]).into());
        let rng = TorchRng::new(0);
        let mut pndm = SchedulerName::Pndm.build(&config, 5, rng).unwrap();
        let start = Start::Latents {
            latents: latents(&[1.5]),
            first_call,
        };
        let mut sampler = Sampler::new(&mut fake, &mut *pndm, 1.0, start).unwrap();
        while !sampler.done() {
            sampler.step(&mut NoHook).unwrap();
        }
        flat(sampler.latents())
    };
    assert_eq!(run(1), run(2));
    assert_ne!(run(2), run(3));
}

/// Notes the calls that it is told of.
struct Calls(Vec<usize>);

impl AttentionObserver for Calls {
    fn wants(&self, _: &Site) -> Option<Tap> {
        None
    }

    fn at(&mut self, call: usize) {
        self.0.push(call);
    }

    fn begin(&mut self, _: &EditPlan) -> Result<()> {
        Ok(())
    }

    fn observe(&mut self, _: &Site, _: usize, _: &Tensor) -> Result<()> {
        Ok(())
    }
}

/// A lockstep run from a later call: windows, observers and reports count from the run's first call.
#[test]
fn edits_keep_their_calls_in_a_run_that_begins_late() {
    let lab = Lab::new();
    let job = lab.job(vec![edit(SWAP), edit(REFINED)]);
    let prepared = Prepared::new(&job, &lab.folder).unwrap();
    let text = conditioning(&prepared, &lab.model).unwrap();
    let noise = starting_noise(&prepared).unwrap();
    let run = |start: Start| {
        let mut ddim = SchedulerName::Ddim
            .build(&lab.model.scheduler, STEPS, TorchRng::new(0))
            .unwrap();
        let mut denoiser = lab.model.denoiser(&text).unwrap();
        let sampler =
            Sampler::new(&mut *denoiser, &mut *ddim, prepared.run.guidance, start).unwrap();
        let (mut calls, mut seen) = (Calls(vec![]), vec![]);
        let finished = lockstep(
            sampler,
            &prepared.controller,
            &mut [&mut calls],
            &mut |step, latents| {
                seen.push((step, latents.clone()));
                Ok(())
            },
        );
        (rows(&finished.unwrap().latents), calls.0, seen)
    };
    let (whole, _, seen) = run(Start::Noise(noise));
    moves(&whole[1], &whole[0]);
    let (_, after_one) = &seen[0];
    let (rest, calls, seen) = run(Start::Latents {
        latents: after_one.clone(),
        first_call: 1,
    });
    assert_eq!(rest, whole);
    assert_eq!(calls, [1, 2, 3]);
    assert_eq!(
        seen.iter().map(|(step, _)| *step).collect::<Vec<_>>(),
        [2, 3, 4]
    );
}

/// The error names the step and the settings that help.
#[test]
fn latents_that_are_not_finite_name_their_step() {
    let mut fake = Fake::new(states(&[f32::MAX]).into());
    let mut euler = Euler::new(&mini_sd().scheduler, 4);
    let start = Start::Noise(latents(&numbers(1, 1)));
    let mut sampler = Sampler::new(&mut fake, &mut euler, 1.0, start).unwrap();
    let error = (0..4)
        .find_map(|_| sampler.step(&mut NoHook).err())
        .unwrap();
    assert!(
        error.cause().contains("after step 1 of 4, computed in f32"),
        "{error}"
    );
    let named = error.report().cure;
    let named = |setting: Setting| named.to_string().contains(&format!("`{}`", setting.name()));
    assert!(
        [Setting::Guidance, Setting::Weight, Setting::Lora]
            .into_iter()
            .all(named)
    );
}
