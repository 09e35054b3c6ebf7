//! Runs of the miniature that begin with latents, at any call, and text states that change during a run:
//! equal to whole runs, to the bit.

use candle_core::Tensor;
use prompt_to_prompt::attention::{NoHook, Site, Tap};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::{Prepared, SchedulerName, conditioning, starting_noise};
use prompt_to_prompt::model::{Components, Conditioning, PromptStates, TextSchedule};
use prompt_to_prompt::sample::noise::TorchRng;
use prompt_to_prompt::sample::{AttentionObserver, EditPlan, Sampler, Start, lockstep};

use crate::common::relative;
use crate::laws::{Lab, REFINED, SRC, STEPS, SWAP, edit, moves, rows};
use crate::parity::flat;

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

/// Before the change the run equals a run of the first text. After it, the run equals a run of the second
/// text that starts from the latents at the change.
#[test]
fn a_changed_text_equals_two_runs() {
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

/// Every scheduler can start at a later call. Its first step is first order, since it has no history.
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

/// Records the calls that it observes.
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
