//! A source whose picture is not wanted stops once no edit needs it. No byte of the edits changes, and the
//! denoiser computes fewer rows. If something still needs the source, it runs to its end.

use std::ops::Range;

use candle_core::{Device, Tensor};
use prompt_to_prompt::attention::AttentionHook;
use prompt_to_prompt::edit::{MapEdit, TokenMap, Window};
use prompt_to_prompt::error::Result;
use prompt_to_prompt::heatmap::{MapSpec, Rows, Selection};
use prompt_to_prompt::job::{
    BlendWords, CrossSteps, EditSettings, Explanation, Job, Outcome, Prepared, SchedulerName, run,
};
use prompt_to_prompt::model::{Denoiser, DenoiserCall, Eps};
use prompt_to_prompt::sample::noise::randn;
use prompt_to_prompt::sample::{
    AttentionObserver, Controller, Ddim, Recorder, RowEdit, Sampler, Start, lockstep,
};

use crate::common::numbers;
use crate::laws::{Lab, REFINED, STEPS, SWAP, edit, everywhere, moves, rows, weighted};
use crate::parity::flat;

/// The edit with both windows closed after `share` of the run.
fn until(share: f64, spec: EditSettings) -> EditSettings {
    let window = Some(Window::until(share));
    EditSettings {
        cross_steps: window.map(CrossSteps::all).unwrap_or_default(),
        self_steps: window,
        ..spec
    }
}

/// The job without the source's picture.
fn unseen(job: &Job) -> Job {
    Job {
        draw_source: false,
        ..job.clone()
    }
}

fn source_calls(lab: &Lab, job: &Job) -> usize {
    let prepared = Prepared::new(job, &lab.folder).unwrap();
    prepared.controller.source_calls()
}

/// Checks that pictures, masks and latents of the edits are the same without the source.
fn same_edits(job: &Job, seen: &Outcome, unseen: &Outcome) {
    let edits = 1..=job.edits.len();
    assert!(unseen.picture(0).is_none());
    assert_eq!(unseen.pictures.len(), seen.pictures.len() - 1);
    for picture in &unseen.pictures {
        let other = &seen.pictures[picture.row];
        assert_eq!(picture.name, other.name);
        assert!(picture.image == other.image, "{}", picture.name);
    }
    let all = rows(&seen.latents);
    moves(&all[1], &all[0]);
    assert_eq!(rows(&unseen.latents), all[1..]);
    for (edit, (mask, other)) in edits.zip(unseen.masks.iter().zip(&seen.masks)) {
        assert!(mask.is_none() || mask == other, "edit {edit}");
    }
}

#[test]
fn a_stopped_source_changes_no_byte_of_the_edits() {
    let lab = Lab::new();
    let then = EditSettings {
        of: Some(0),
        ..until(1.0, edit("a photo of a fluffy hippopotamus on a chair"))
    };
    let late = EditSettings {
        weight_steps: Some(Window::ALL),
        ..until(0.25, weighted(edit(REFINED), "fluffy", 2.0))
    };
    let injected = EditSettings {
        inject_latents: Some(Window::until(0.5)),
        ..until(0.25, edit(SWAP))
    };
    let job = |edits: &[EditSettings]| lab.job(edits.to_vec());
    let base = job(&[until(0.5, edit(SWAP)), until(0.25, edit(REFINED))]);
    let cases = [
        ("two edits", base.clone(), 2),
        (
            "a chain that goes on",
            job(&[until(0.5, edit(SWAP)), then]),
            2,
        ),
        ("late factors", job(&[late]), 1),
        ("copied latents", job(&[injected]), 2),
        (
            "baselines",
            Job {
                baseline: true,
                ..base.clone()
            },
            2,
        ),
        (
            "without control",
            Job {
                control: false,
                ..base.clone()
            },
            0,
        ),
        (
            "guidance 1",
            Job {
                guidance: Some(1.0),
                ..base
            },
            2,
        ),
    ];
    for (name, job, calls) in cases {
        println!("{name}");
        assert_eq!(source_calls(&lab, &unseen(&job)), calls);
        assert_eq!(source_calls(&lab, &job), STEPS);
        let outcomes = [&job, &unseen(&job)].map(|job| lab.outcome(job));
        same_edits(&job, &outcomes[0], &outcomes[1]);
    }
}

#[test]
fn every_scheduler_continues_without_the_source() {
    let lab = Lab::new();
    for scheduler in SchedulerName::ALL {
        println!("{}", scheduler.name());
        let job = Job {
            scheduler: Some(scheduler),
            ..lab.job(vec![until(0.5, edit(SWAP))])
        };
        assert!(source_calls(&lab, &unseen(&job)) < scheduler.calls(STEPS));
        let outcomes = [&job, &unseen(&job)].map(|job| lab.outcome(job));
        same_edits(&job, &outcomes[0], &outcomes[1]);
    }
}

#[test]
fn the_source_runs_while_an_edit_needs_it() {
    let lab = Lab::new();
    let blended = EditSettings {
        blend: vec![BlendWords::Changed],
        ..until(0.25, edit(SWAP))
    };
    let weak = EditSettings {
        strength: Some(0.5),
        ..until(0.25, edit(SWAP))
    };
    for (name, spec) in [
        ("windows that stay open", everywhere(edit(SWAP))),
        ("local blend", blended),
        ("strength", weak),
    ] {
        println!("{name}");
        let job = lab.job(vec![spec, until(0.25, edit(REFINED))]);
        assert_eq!(source_calls(&lab, &unseen(&job)), STEPS);
        let outcomes = [&job, &unseen(&job)].map(|job| lab.outcome(job));
        same_edits(&job, &outcomes[0], &outcomes[1]);
        let blends = name == "local blend";
        assert_eq!(outcomes[1].masks[0].is_some(), blends);
        // Without the source's picture the change of an edit is unknown.
        let told = |outcome: &Outcome| outcome.manifest.edits.iter().any(|e| e.change.is_some());
        assert!(told(&outcomes[0]) && !told(&outcomes[1]));
    }
}

/// The change between two edits is known with and without the source's picture.
#[test]
fn the_change_of_a_chained_edit_is_reported() {
    let lab = Lab::new();
    let then = EditSettings {
        of: Some(0),
        ..until(0.5, edit("a photo of a fluffy hippopotamus on a chair"))
    };
    let job = lab.job(vec![until(0.5, edit(SWAP)), then]);
    let [seen, unseen] = [&job, &unseen(&job)].map(|job| lab.outcome(job).manifest.edits);
    assert_eq!(unseen[0].change, None);
    assert_eq!(unseen[1].change, seen[1].change);
    assert!(unseen[1].change.unwrap().inside.is_some());
}

/// Adds a number to each row, and records the rows of each call.
struct Fake {
    asked: Vec<Range<usize>>,
}

impl Denoiser for Fake {
    fn rows(&self) -> usize {
        3
    }

    fn eps(&mut self, call: &DenoiserCall, _: &mut dyn AttentionHook) -> Result<Eps> {
        let rows = call.rows.clone();
        assert_eq!(call.latents.dim(0)?, rows.len());
        let shift = numbers(1, 3)[rows.clone()].to_vec();
        let shift = Tensor::from_vec(shift, (rows.len(), 1, 1, 1), &Device::Cpu)?;
        self.asked.push(rows);
        Ok(Eps {
            cond: call.latents.broadcast_add(&shift)?,
            uncond: None,
        })
    }
}

#[test]
fn the_denoiser_computes_no_rows_of_a_stopped_source() {
    let lab = Lab::new();
    let edit = |open| {
        let replace = MapEdit::replace(TokenMap::identity(77));
        Some(RowEdit::new(replace, vec![open; 77], Window::until(0.2)))
    };
    let run = |keep_source| {
        let mut fake = Fake { asked: vec![] };
        let mut ddim = Ddim::new(&lab.model.scheduler, 5);
        let noise = Tensor::from_vec(randn(1, 64), (1, 4, 4, 4), &Device::Cpu).unwrap();
        let sampler = Sampler::new(&mut fake, &mut ddim, 1.0, Start::Noise(noise)).unwrap();
        let mut controller = Controller::plain(3, 5, 77);
        controller.rows[1] = edit(Window::until(0.4));
        controller.rows[2] = edit(Window::until(0.6));
        controller.keep_source = keep_source;
        let finished = lockstep(sampler, &controller, &mut [], &mut |_, _| Ok(()));
        let latents = finished.unwrap().latents;
        assert_eq!(latents.dim(0).unwrap(), 3);
        (flat(&latents.narrow(0, 1, 2).unwrap()), fake.asked)
    };
    let ((kept, all), (stopped, asked)) = (run(true), run(false));
    assert_eq!(all, vec![0..3; 5]);
    assert_eq!(asked, [0..3, 0..3, 0..3, 1..3, 1..3]);
    assert_eq!(kept, stopped);
}

/// Edited rows have the same maps with and without the source's picture. A recording of the source's own
/// maps keeps the source.
#[test]
fn heatmaps_are_those_of_a_whole_run() {
    let lab = Lab::new();
    let job = lab.job(vec![until(0.5, edit(SWAP)), until(0.25, edit(REFINED))]);
    let record = |job: &Job| {
        let prepared = Prepared::new(job, &lab.folder).unwrap();
        let sites = lab.folder.unet.sites(prepared.latent_size);
        let spec = MapSpec {
            rows: Rows::Edited,
            ..MapSpec::default()
        };
        let selection = Selection::new(&spec, &prepared, &sites).unwrap();
        let mut recorder = Recorder::new(selection.recording);
        let observers: &mut [&mut dyn AttentionObserver] = &mut [&mut recorder];
        run(&prepared, &lab.model, observers, &mut |_| Ok(())).unwrap();
        let sums = recorder.recorded().iter();
        Vec::from_iter(sums.map(|r| (r.row, r.count, flat(&r.sum))))
    };
    let edited = record(&job);
    assert_eq!(edited.len(), 2);
    assert_eq!(edited, record(&unseen(&job)));

    let mut prepared = Prepared::new(&unseen(&job), &lab.folder).unwrap();
    let sites = lab.folder.unet.sites(prepared.latent_size);
    let select = |prepared: &Prepared| Selection::new(&MapSpec::default(), prepared, &sites);
    assert!(select(&prepared).is_err(), "the source's maps, in part");
    prepared.controller.keep_source = true;
    assert!(select(&prepared).is_ok());
    assert_eq!(prepared.controller.source_calls(), STEPS);
}

#[test]
fn explain_counts_what_is_saved() {
    let lab = Lab::new();
    let job = lab.job(vec![until(0.5, edit(SWAP))]);
    let explain = |job: &Job| {
        let prepared = Prepared::new(job, &lab.folder).unwrap();
        Explanation::new(&prepared, &lab.folder, true)
    };
    let (seen, unseen) = (explain(&job), explain(&unseen(&job)));
    assert_eq!((seen.source_calls, unseen.source_calls), (4, 2));
    let row = lab.folder.work((12, 16)).unet_row / 1e9;
    // The source is left out of two calls, in both halves of guidance.
    let saved = seen.work.denoise_gflop - unseen.work.denoise_gflop;
    assert!((saved / (4.0 * row) - 1.0).abs() < 1e-9, "{saved}");
    assert_eq!(seen.work.decode_gflop, 2.0 * unseen.work.decode_gflop);
    assert!(!seen.to_string().contains("not drawn"));
    let said = unseen.to_string();
    assert!(
        said.contains("not drawn, stops after step 2 of 4"),
        "{said}"
    );
}

#[test]
fn a_job_that_draws_nothing_is_refused() {
    let lab = Lab::new();
    let nothing = unseen(&lab.job(vec![]));
    assert!(Prepared::new(&nothing, &lab.folder).is_err());
}
