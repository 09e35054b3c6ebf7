//! The sampler with a fake denoiser, whose numbers are known: starts, text states that change during a
//! run, errors.

use candle_core::{DType, Device, Tensor};
use prompt_to_prompt::attention::{AttentionHook, NoHook};
use prompt_to_prompt::edit::{MapEdit, TokenMap, Window};
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::job::SchedulerName;
use prompt_to_prompt::model::{
    AddedConditions, Denoiser, DenoiserCall, Eps, PromptStates, TextSchedule,
};
use prompt_to_prompt::sample::noise::{TorchRng, randn};
use prompt_to_prompt::sample::{
    Controller, Ddim, Euler, RowEdit, Sampler, Scheduler, Start, lockstep,
};
use prompt_to_prompt::setting::Setting;

use crate::common::numbers;
use crate::laws::{moves, rows};
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

/// A clone counts as the same states unless its picture size was changed.
#[test]
fn states_for_another_size_are_other_states() {
    let mut sized = states(&[1.0]);
    sized.added = Some(AddedConditions {
        pooled: Tensor::zeros((1, 2), DType::F32, &Device::Cpu).unwrap(),
        sizes: [64, 64, 0, 0, 64, 64],
    });
    let distinct = |other: &PromptStates| {
        let text = TextSchedule::from(sized.clone()).then(1, other.clone());
        text.unwrap().states().len()
    };
    assert_eq!(distinct(&sized), 1);
    let mut cropped = sized.clone();
    cropped.added.as_mut().unwrap().sizes[2] = 8;
    assert_eq!(distinct(&cropped), 2);
}

/// The lockstep loop runs with a denoiser of a few lines.
#[test]
fn the_sampler_needs_no_unet() {
    /// Adds a number per row.
    struct Fake(Tensor);
    impl Denoiser for Fake {
        fn rows(&self) -> usize {
            self.0.dims()[0]
        }

        fn eps(&mut self, call: &DenoiserCall, _: &mut dyn AttentionHook) -> Result<Eps> {
            let shift = self.0.reshape(((), 1, 1, 1))?;
            let cond = call.latents.broadcast_add(&shift)?;
            Ok(Eps { cond, uncond: None })
        }
    }
    let mut fake = Fake(Tensor::from_vec(numbers(1, 2), 2, &Device::Cpu).unwrap());
    let mut ddim = Ddim::new(&mini_sd().scheduler, 3);
    let noise = Tensor::from_vec(randn(1, 64), (1, 4, 4, 4), &Device::Cpu).unwrap();
    let sampler = Sampler::new(&mut fake, &mut ddim, 1.0, Start::Noise(noise)).unwrap();
    let mut seen = vec![];
    let edit = MapEdit::replace(TokenMap::identity(77));
    let row = RowEdit::new(edit, vec![Window::ALL; 77], Window::ALL);
    let mut controller = Controller::plain(2, 3, 77);
    controller.rows[1] = Some(row);
    let out = lockstep(sampler, &controller, &mut [], &mut |step, _| {
        seen.push(step);
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, [1, 2, 3]);
    let rows = rows(&out.latents);
    moves(&rows[1], &rows[0]);
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
