//! Laws 1 to 8 and 10 on the calmed miniature of Stable Diffusion at 128x96 pixels. Each test first checks
//! that its edit changes the latents by more than 1 %, so that no law holds because nothing happens.

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::{AttentionHook, NoHook, Site, SitePlan, Term, attend};
use prompt_to_prompt::edit::{EditKind, Rules, TokenMap, Window};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::job::{
    CrossSteps, EditSettings, Job, Outcome, Prepared, SchedulerName, conditioning, run,
    starting_noise,
};
use prompt_to_prompt::model::{Components, Model, ModelFolder};
use prompt_to_prompt::sample::{
    AttentionObserver, Controller, Ddim, EditPlan, Recorder, Sampler, Start, lockstep,
};

use crate::common::{numbers, relative};
use crate::literal::literal_run;
use crate::parity::{calm_mini_sd, flat};

pub const STEPS: usize = 4;
pub const SRC: &str = "a photo of a cat on a chair";
pub const SWAP: &str = "a photo of a hippopotamus on a chair";
pub const REFINED: &str = "a photo of a fluffy cat on a red chair";

/// The miniature, opened and loaded.
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

    /// A small deterministic job with these edits.
    pub fn job(&self, edits: Vec<EditSettings>) -> Job {
        Job {
            seed: 5,
            steps: Some(STEPS),
            guidance: Some(5.0),
            width: Some(128),
            height: Some(96),
            scheduler: Some(SchedulerName::Ddim),
            ..Job::new(SRC, edits)
        }
    }

    /// Final latents of source and edits of a run as users start it.
    pub fn run(&self, job: &Job) -> Vec<Vec<f32>> {
        rows(&self.outcome(job).latents)
    }

    /// The outcome of a run as users start it.
    pub fn outcome(&self, job: &Job) -> Outcome {
        let prepared = Prepared::new(job, &self.folder).unwrap();
        run(&prepared, &self.model, &mut [], &mut |_| Ok(())).unwrap()
    }

    /// Final latents of a run below the level of jobs.
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

/// The numbers of each row.
pub fn rows(latents: &Tensor) -> Vec<Vec<f32>> {
    let row = |r| flat(&latents.get(r).unwrap());
    (0..latents.dim(0).unwrap()).map(row).collect()
}

/// A job that any model draws quickly.
pub fn small_job() -> Job {
    Job {
        steps: Some(2),
        seed: 3,
        width: Some(64),
        height: Some(64),
        ..Job::new("a cat on the beach", vec![edit("a dog on the beach")])
    }
}

/// An edit to the prompt `dst` with default settings.
pub fn edit(dst: &str) -> EditSettings {
    EditSettings {
        dst: Some(dst.to_owned()),
        ..EditSettings::default()
    }
}

/// The edit with both windows open for the whole run.
pub fn everywhere(spec: EditSettings) -> EditSettings {
    let all = Some(Window::until(1.0));
    EditSettings {
        cross_steps: all.map(CrossSteps::all).unwrap_or_default(),
        self_steps: all,
        ..spec
    }
}

/// The edit with a factor for a word.
pub fn weighted(spec: EditSettings, word: &str, factor: f32) -> EditSettings {
    EditSettings {
        weight: [(word.to_owned(), factor)].into(),
        ..spec
    }
}

/// Checks that an edit changes the latents by more than 1 %.
pub fn moves(edited: &[f32], unedited: &[f32]) {
    let far = relative(edited, unedited);
    assert!(
        far > 0.01,
        "the edit changes the latents by {far:.1e} only: the law would hold for any engine"
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

/// Law 7 for a whole run: the engine against full attention maps.
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

/// A hook that panics when it gets a map.
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
    // Both rules round these windows alike.
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
    // The pictures differ only because the reference truncates brightness instead of rounding it.
    let (a, b) = (a.pictures[1].image.as_raw(), b.pictures[1].image.as_raw());
    assert!(a.iter().zip(b).all(|(ours, theirs)| ours - theirs <= 1));
    assert_ne!(a, b);
}

/// A plan is plain data, so an edit can be inspected without a run.
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
    // The default windows are 0.8 and 0.4 of the four steps.
    assert_eq!(controller.plan(0), plan(0, 0));
    assert_eq!(controller.plan(1), plan(0, 0));
    assert_eq!(controller.plan(2), plan(0, 1));
    assert_eq!(controller.plan(3), plan(0, 1));
    assert_eq!(Controller::plain(2, 4, 77).plan(0).cross, plan(1, 1).cross);
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

/// Guidance 1 is computed without the unconditional half, and equals the limit of a computation with it.
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
