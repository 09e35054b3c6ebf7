//! Laws 1-8 and 10 of the house, on a small seeded model: mini-sd at 128x96 pixels. Each first sees
//! to it that its edit moves the latents by more than 1 %, so that none holds because nothing happens.

use candle_core::{DType, Device, Tensor};
use prompt_to_prompt::attention::{AttentionHook, Carry, NoHook, Site, SitePlan, Term, attend};
use prompt_to_prompt::edit::{Acts, EditKind, MapEdit, Rules, TokenMap, Window, windows};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::{
    CrossSteps, EditSettings, Job, Outcome, Prepared, SchedulerName, conditioning, run,
    starting_noise,
};
use prompt_to_prompt::model::{Components, Denoiser, DenoiserCall, Eps, Model, ModelFolder};
use prompt_to_prompt::sample::noise::randn;
use prompt_to_prompt::sample::{
    AttentionObserver, Controller, Ddim, EditPlan, Recorder, RowEdit, Sampler, Start, lockstep,
};

use crate::common::{numbers, relative};
use crate::literal::{Literal, LiteralEdit};
use crate::parity::{calm_mini_sd, flat};

pub const STEPS: usize = 4;
pub const SRC: &str = "a photo of a cat on a chair";
pub const SWAP: &str = "a photo of a hippopotamus on a chair";
pub const REFINED: &str = "a photo of a fluffy cat on a red chair";

pub struct Lab {
    pub folder: ModelFolder,
    pub model: Model,
    _keep: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        let (folder, _keep) = calm_mini_sd();
        let model = folder.load().unwrap();
        Self {
            folder,
            model,
            _keep,
        }
    }

    pub fn job(&self, edits: Vec<EditSettings>) -> Job {
        Job {
            src: SRC.to_owned(),
            edits,
            negative_prompt: String::new(),
            seed: 5,
            steps: Some(STEPS),
            guidance: Some(5.0),
            width: Some(128),
            height: Some(96),
            scheduler: Some(SchedulerName::Ddim),
            self_res: None,
            rules: Rules::Ours,
            control: true,
            baseline: false,
            draw_source: true,
            fast: false,
        }
    }

    /// Final latents of source and edits, by the way that users' runs go.
    pub fn run(&self, job: &Job) -> Vec<Vec<f32>> {
        rows(&self.outcome(job).latents)
    }

    pub fn outcome(&self, job: &Job) -> Outcome {
        let prepared = Prepared::new(job, &self.folder).unwrap();
        run(&prepared, &self.model, &mut [], &mut |_| Ok(())).unwrap()
    }

    pub fn sample(&self, prepared: &Prepared, recorder: Option<&mut Recorder>) -> Vec<Vec<f32>> {
        let conditioning = conditioning(prepared, &self.model).unwrap();
        let mut ddim = Ddim::new(&self.model.scheduler, prepared.run.steps);
        let noise = starting_noise(prepared).unwrap();
        let mut denoiser = self.model.denoiser(&conditioning).unwrap();
        let start = Start::Noise(noise);
        let sampler = Sampler::new(&mut *denoiser, &mut ddim, prepared.run.guidance, start);
        let recorder = recorder.map(|recorder| recorder as &mut dyn AttentionObserver);
        let finished = lockstep(
            sampler.unwrap(),
            &prepared.controller,
            &mut Vec::from_iter(recorder),
            &mut |_, _| Ok(()),
        )
        .unwrap();
        rows(&finished.latents)
    }
}

pub fn rows(latents: &Tensor) -> Vec<Vec<f32>> {
    let row = |r| flat(&latents.get(r).unwrap());
    (0..latents.dim(0).unwrap()).map(row).collect()
}

/// An edit that any model draws in a moment.
pub fn small_job() -> Job {
    Job {
        steps: Some(2),
        seed: 3,
        width: Some(64),
        height: Some(64),
        ..Job::new("a cat on the beach", vec![edit("a dog on the beach")])
    }
}

pub fn edit(dst: &str) -> EditSettings {
    EditSettings {
        dst: Some(dst.to_owned()),
        ..EditSettings::default()
    }
}

pub fn everywhere(spec: EditSettings) -> EditSettings {
    let all = Some(Window::until(1.0));
    EditSettings {
        cross_steps: all.map(CrossSteps::all).unwrap_or_default(),
        self_steps: all,
        ..spec
    }
}

pub fn weighted(spec: EditSettings, word: &str, factor: f32) -> EditSettings {
    EditSettings {
        weight: [(word.to_owned(), factor)].into(),
        ..spec
    }
}

/// The edit does something: more than 1 % of the latents.
pub fn moves(edited: &[f32], unedited: &[f32]) {
    let far = relative(edited, unedited);
    assert!(
        far > 0.01,
        "the edit moves the latents by {far:.1e} only: the law would hold of itself"
    );
}

#[test]
fn law_1_the_source_row_is_a_solo_run_of_the_source() {
    let lab = Lab::new();
    let together = lab.run(&lab.job(vec![edit(SWAP), edit(REFINED)]));
    let solo = lab.run(&lab.job(vec![]));
    moves(&together[1], &together[0]);
    moves(&together[2], &together[0]);
    assert_eq!(together[0], solo[0]);
}

#[test]
fn law_2_without_an_edit_a_row_is_a_plain_run_of_its_prompt() {
    let lab = Lab::new();
    let closed = Some(Window::until(0.0));
    let none = EditSettings {
        cross_steps: closed.map(CrossSteps::all).unwrap_or_default(),
        self_steps: closed,
        ..edit(SWAP)
    };
    let uncontrolled = Job {
        control: false,
        ..lab.job(vec![edit(SWAP)])
    };
    let baseline = Job {
        baseline: true,
        ..lab.job(vec![edit(SWAP)])
    };
    let alone = Job {
        src: SWAP.to_owned(),
        ..lab.job(vec![])
    };
    let (alone, baseline) = (lab.outcome(&alone), lab.outcome(&baseline));
    let expected = &rows(&alone.latents)[0];
    moves(&rows(&baseline.latents)[1], expected);
    assert_eq!(lab.run(&lab.job(vec![none]))[1], *expected);
    assert_eq!(lab.run(&uncontrolled)[1], *expected);
    let picture = |outcome: &Outcome, i: usize| outcome.pictures[i].image.clone();
    assert_eq!(baseline.pictures[2].name, "baseline-1");
    assert_eq!(picture(&baseline, 2), picture(&alone, 0));
    assert_ne!(picture(&baseline, 1), picture(&alone, 0));
}

#[test]
fn law_3_the_same_prompt_replaced_by_itself_is_the_same_picture() {
    let lab = Lab::new();
    let rows = lab.run(&lab.job(vec![everywhere(edit(SRC)), edit(SWAP)]));
    moves(&rows[2], &rows[0]);
    assert_eq!(rows[0], rows[1]);
}

#[test]
fn law_4_weights_and_gates() {
    let lab = Lab::new();
    let weights = [1.0, 2.0].map(|factor| weighted(edit(SWAP), "hippopotamus", factor));
    let rows = lab.run(&lab.job([vec![edit(SWAP)], weights.to_vec()].concat()));
    moves(&rows[3], &rows[1]);
    assert_eq!(rows[1], rows[2], "a weight of 1 is no weight");
}

#[test]
fn law_5_edits_together_are_each_alone() {
    let lab = Lab::new();
    let edits = vec![
        edit(SWAP),
        weighted(edit(REFINED), "fluffy", 2.0),
        everywhere(edit(REFINED)),
    ];
    let together = lab.run(&lab.job(edits.clone()));
    for (i, spec) in edits.into_iter().enumerate() {
        moves(&together[i + 1], &together[0]);
        assert_eq!(
            lab.run(&lab.job(vec![spec]))[1],
            together[i + 1],
            "edit {i}"
        );
    }
}

#[test]
fn law_6_threads_change_no_bit() {
    let lab = Lab::new();
    let job = lab.job(vec![edit(SWAP), edit(REFINED)]);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| lab.run(&job))
    };
    let one = on(1);
    moves(&one[1], &one[0]);
    assert_eq!(one, on(2));
    assert_eq!(one, on(5));
}

/// Law 7 from end to end: the engine's run against a run on literal maps.
#[test]
fn law_7_the_run_equals_the_method_written_out() {
    let lab = Lab::new();
    let specs = vec![
        weighted(edit(SWAP), "hippopotamus", 1.5),
        EditSettings {
            cross_steps: CrossSteps {
                words: [("fluffy".into(), Window::until(0.5))].into(),
                ..CrossSteps::default()
            },
            ..edit(REFINED)
        },
    ];
    let job = lab.job(specs);
    let prepared = Prepared::new(&job, &lab.folder).unwrap();
    let got = lab.sample(&prepared, None);
    let expected = literal_run(&lab, &prepared).latents;
    moves(&expected[1], &expected[0]);
    assert_eq!((got.len(), expected.len()), (3, 3));
    for (got, expected) in got.iter().zip(&expected) {
        let far = relative(got, expected);
        assert!(far < 1e-5, "{far}");
    }
}

/// A run on literal maps.
pub struct LiteralRun {
    /// Final latents of every row.
    pub latents: Vec<Vec<f32>>,
    /// Per step and row, the mean edited maps at downscale 4.
    pub edited: Vec<Vec<Vec<f32>>>,
    /// The same before the edit.
    pub own: Vec<Vec<Vec<f32>>>,
}

pub fn literal_run(lab: &Lab, prepared: &Prepared) -> LiteralRun {
    let conditioning = conditioning(prepared, &lab.model).unwrap();
    let mut ddim = Ddim::new(&lab.model.scheduler, prepared.run.steps);
    let noise = starting_noise(prepared).unwrap();
    let mut denoiser = lab.model.denoiser(&conditioning).unwrap();
    let (guidance, start) = (prepared.run.guidance, Start::Noise(noise));
    let mut sampler = Sampler::new(&mut *denoiser, &mut ddim, guidance, start).unwrap();
    let mut hook = Literal {
        edits: vec![],
        self_res: prepared.controller.self_res,
        record_at: 4,
        recorded: vec![],
        own: vec![],
    };
    let none = vec![None; prepared.controller.rows.len()];
    let mean = |sum: &Option<Tensor>| flat(&(sum.as_ref().unwrap() / 5.0).unwrap()); // five sites
    let (mut edited, mut own) = (vec![], vec![]);
    let clock = &prepared.controller.clock;
    for step in 0..prepared.run.steps {
        let edit = |row: &RowEdit| {
            let gated = row
                .edit
                .clone()
                .gate(&windows::gate(&row.cross, step, clock));
            let late = row.late_factors.as_ref().map(|late| {
                let open = late.window.gate(step, clock, Acts::Cross);
                let now = |factors: &[f32]| -> Vec<f32> {
                    factors.iter().map(|f| open * f + 1.0 - open).collect()
                };
                (now(&late.borrowed), now(&late.own))
            });
            LiteralEdit {
                base: row.base,
                edit: late.map_or(gated.clone(), |(borrowed, own)| {
                    gated.reweight_apart(&borrowed, &own)
                }),
                self_share: row.self_window.gate(step, clock, Acts::SelfAttn).into(),
            }
        };
        let rows = prepared.controller.rows.iter();
        hook.edits = rows.map(|row| row.as_ref().map(edit)).collect();
        (hook.recorded, hook.own) = (none.clone(), none.clone());
        sampler.step(&mut hook).unwrap();
        edited.push(hook.recorded.iter().map(mean).collect());
        own.push(hook.own.iter().map(mean).collect());
    }
    LiteralRun {
        latents: rows(sampler.latents()),
        edited,
        own,
    }
}

/// Panics if it is ever handed a map.
struct Bomb;

impl AttentionHook for Bomb {
    fn observe(&mut self, _: &Site, _: usize, _: &Tensor) -> Result<()> {
        panic!("nobody asked")
    }

    fn rewrite(&mut self, _: &Site, _: Tensor) -> Result<Tensor> {
        panic!("nobody asked")
    }
}

#[test]
fn law_8_a_plain_hook_is_never_called_again() {
    let lab = Lab::new();
    let context = Tensor::from_vec(numbers(1, 77 * 24), (1, 77, 24), &Device::Cpu).unwrap();
    let latents = Tensor::from_vec(numbers(2, 4 * 64), (1, 4, 8, 8), &Device::Cpu).unwrap();
    let eps = |hook: &mut dyn AttentionHook| {
        flat(
            &lab.model
                .unet
                .forward(&latents, 500, &lab.model.unet.read(&context).unwrap(), hook)
                .unwrap(),
        )
    };
    assert_eq!(eps(&mut Bomb), eps(&mut NoHook));
}

#[test]
fn law_8_no_allocation_comes_near_a_map() {
    let (n, width) = (4096, 16);
    let tensor = |rows: usize, seed| {
        Tensor::from_vec(
            numbers(seed, rows * n * width),
            (rows, n, width),
            &Device::Cpu,
        )
        .unwrap()
    };
    let (q, k, v) = (tensor(1, 1), tensor(1, 2), tensor(2, 3));
    let mix = vec![vec![Term::own(0)], vec![Term::own(0)]];
    let largest = crate::allocations::largest_during(|| {
        attend(&q, &k, &v, 2, &SitePlan::Mix(&mix), None).unwrap();
    });
    let map = n * n * size_of::<f32>();
    assert!(
        largest < map / 8,
        "{largest} bytes at once; one map of one head has {map}"
    );
}

#[test]
fn law_10_compat_changes_nothing_in_a_same_length_swap() {
    let lab = Lab::new();
    // Windows on which both rules of rounding agree.
    let windows = EditSettings {
        cross_steps: CrossSteps::all(Window::until(0.5)),
        self_steps: Some(Window::until(0.5)),
        ..edit("a photo of a dog on a chair")
    };
    let ours = Job {
        self_res: Some(4),
        ..lab.job(vec![windows])
    };
    let reference = Job {
        rules: Rules::Reference,
        ..ours.clone()
    };
    let (a, b) = (lab.outcome(&ours), lab.outcome(&reference));
    moves(&rows(&a.latents)[1], &rows(&a.latents)[0]);
    assert_eq!(rows(&a.latents), rows(&b.latents));
    // The pictures differ by the reference's truncation, and by nothing else.
    let (a, b) = (a.pictures[1].image.as_raw(), b.pictures[1].image.as_raw());
    assert!(a.iter().zip(b).all(|(ours, theirs)| ours - theirs <= 1));
    assert_ne!(a, b);
}

/// A plan is plain data: what the engine will do can be read without running it.
#[test]
fn a_plan_can_be_read_and_compared() {
    let lab = Lab::new();
    let prepared = Prepared::new(
        &lab.job(vec![edit("a photo of a dog on a chair")]),
        &lab.folder,
    );
    let controller = prepared.unwrap().controller;
    let identity = TokenMap::identity(77);
    let plan = |cross: usize, self_map_of: usize| EditPlan {
        cross: vec![vec![(0, identity.clone())], vec![(cross, identity.clone())]],
        self_attention: vec![vec![(0, 1.0)], vec![(self_map_of, 1.0)]],
        self_res: 4,
    };
    // Defaults 0.8 and 0.4 of four steps.
    assert_eq!(controller.plan(0), plan(0, 0));
    assert_eq!(controller.plan(1), plan(0, 0));
    assert_eq!(controller.plan(2), plan(0, 1));
    assert_eq!(controller.plan(3), plan(0, 1));
    assert_eq!(Controller::plain(2, 4, 77).plan(0).cross, plan(1, 1).cross);
}

/// A denoiser of a few lines samples as well as a UNet: the loop knows neither.
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
    let lab = Lab::new();
    let mut fake = Fake(Tensor::from_vec(numbers(1, 2), 2, &Device::Cpu).unwrap());
    let mut ddim = Ddim::new(&lab.model.scheduler, 3);
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

#[test]
fn replace_and_refine_differ_where_they_should() {
    let lab = Lab::new();
    let kind = |kind: EditKind| EditSettings {
        edit: Some(kind.into()),
        ..everywhere(edit(SWAP))
    };
    let rows = lab.run(&lab.job(vec![kind(EditKind::Replace), kind(EditKind::Refine)]));
    moves(&rows[1], &rows[2]);
}

/// Guidance 1 needs no unconditional half; next to it, the half is there.
#[test]
fn guidance_one_is_the_limit_of_guidance() {
    let lab = Lab::new();
    let at = |guidance| {
        let job = Job {
            guidance: Some(guidance),
            ..lab.job(vec![edit(SWAP)])
        };
        lab.run(&job)
    };
    let (one, near, far) = (at(1.0), at(1.0 + 1e-7), at(3.0));
    assert!(relative(&one[1], &near[1]) < 1e-5);
    moves(&one[1], &far[1]);
}

/// What a plan or tensors of the wrong shape would read is refused, not read.
#[test]
fn attend_refuses_what_does_not_fit() {
    let tensor = |rows: usize, tokens: usize, width: usize| {
        Tensor::from_vec(
            numbers(1, rows * tokens * width),
            (rows, tokens, width),
            &Device::Cpu,
        )
        .unwrap()
    };
    let (q, k, v) = (tensor(1, 9, 8), tensor(1, 7, 8), tensor(1, 7, 8));
    let remap = |from: usize| Term {
        map_of: 0,
        carry: Carry::Remap(Tensor::zeros((from, 7), DType::F32, &Device::Cpu).unwrap()),
    };
    let with = |k: &Tensor, v: &Tensor, heads, mix: &[Vec<Term>]| {
        attend(&q, k, v, heads, &SitePlan::Mix(mix), None)
    };
    let own = [vec![Term::own(0)]];
    assert!(with(&k, &v, 2, &own).is_ok());
    assert!(with(&k, &v, 2, &[vec![remap(2)]]).is_err(), "a short remap");
    assert!(with(&tensor(1, 7, 4), &v, 2, &own).is_err(), "a narrow k");
    assert!(with(&k, &v, 3, &own).is_err(), "heads that don't divide");
    assert!(
        with(&k, &tensor(2, 7, 8), 2, &own).is_err(),
        "a row too many"
    );
    assert!(
        with(&k, &v, 2, &[vec![Term::own(7)]]).is_err(),
        "a map of a missing row"
    );
    assert!(with(&k, &v, 2, &[]).is_err(), "a plan of no rows");
}
