//! Heatmaps as numbers: law 9 step by step, whose attention is shown, what is kept of it.

mod daam;
mod drawing;
mod pixels;
mod pointing;

use candle_core::{Device, Tensor};
use prompt_to_prompt::edit::Window;
use prompt_to_prompt::heatmap::cost::Cost;
use prompt_to_prompt::heatmap::maps::recorded;
use prompt_to_prompt::heatmap::{
    Heatmap, Look, MapSpec, Resolution, Rows, Selection, Steps, heatmaps,
};
use prompt_to_prompt::job::{CrossSteps, EditSettings, Job, Outcome, Prepared, run};
use prompt_to_prompt::model::{Model, ModelFolder};
use prompt_to_prompt::sample::{Heads, Recorder, Recording, Shown};

use crate::common::relative;
use crate::laws::{Lab, REFINED, STEPS, SWAP, edit, literal_run, moves, weighted};
use crate::parity::flat;

/// Three rows whose maps differ from their own in different ways, and a window that closes half-way.
fn job(lab: &Lab) -> Job {
    lab.job(vec![
        weighted(edit(SWAP), "hippopotamus", 1.5),
        EditSettings {
            cross_steps: CrossSteps::all(Window::until(0.5)),
            ..edit(REFINED)
        },
    ])
}

fn each_step(recording: Recording) -> Recording {
    Recording {
        frames: (0..STEPS).map(|step| step..step + 1).collect(),
        ..recording
    }
}

/// The means that were recorded, by frame and row.
fn means(recorder: &Recorder, frame: usize, row: usize) -> Vec<f32> {
    let mut found = recorder.recorded().iter();
    let found = found.find(|r| (r.frame, r.row) == (frame, row));
    flat(&found.expect("it was recorded").mean().unwrap())
}

/// Law 9: the recorder's edited map is the mean of the literal edited maps, and its own map that of
/// the literal own maps, at every step.
#[test]
fn law_9_recorded_maps_are_the_literal_ones_step_by_step() {
    let lab = Lab::new();
    let job = job(&lab);
    let prepared = Prepared::new(&job, &lab.folder).unwrap();
    let sites = lab.folder.unet.sites(prepared.latent_size);
    let layout = each_step(Recording::layout(&sites, 4, 3));
    let literal = literal_run(&lab, &prepared);
    let record = |shown| {
        let mut recorder = Recorder::new(Recording {
            shown,
            ..layout.clone()
        });
        (lab.sample(&prepared, Some(&mut recorder)), recorder)
    };
    let (used_latents, used) = record(Shown::Used);
    let (own_latents, own) = record(Shown::Own);
    moves(&used_latents[1], &used_latents[0]);
    assert_eq!(used_latents, own_latents, "a look changes no bit");
    assert_eq!(used_latents, lab.run(&job), "a look changes no bit");
    for step in 0..STEPS {
        for row in 0..3 {
            let (edited, alone) = (&literal.edited[step][row], &literal.own[step][row]);
            assert!(relative(&means(&used, step, row), edited) < 1e-5);
            assert!(relative(&means(&own, step, row), alone) < 1e-5);
        }
        let far = relative(&literal.edited[step][1], &literal.own[step][1]);
        // The default window is 0.8 of four steps.
        assert_eq!(far > 0.01, step < 4, "step {step}: {far}");
    }
}

/// What is kept grows with tokens and pixels, not with steps or heads.
#[test]
fn memory_is_tokens_times_pixels() {
    let lab = Lab::new();
    let floats = |steps: usize, spec: &MapSpec| {
        let job = Job {
            steps: Some(steps),
            ..lab.job(vec![])
        };
        let prepared = Prepared::new(&job, &lab.folder).unwrap();
        let sites = lab.folder.unet.sites(prepared.latent_size);
        let selection = Selection::new(spec, &prepared, &sites).unwrap();
        let mut recorder = Recorder::new(selection.recording.clone());
        lab.sample(&prepared, Some(&mut recorder));
        let kept = recorder.recorded().iter().map(|r| r.sum.elem_count());
        let floats = kept.sum::<usize>();
        let cost = Cost::of(spec, &Look::default(), &selection, &prepared, &sites);
        assert_eq!(cost.bytes, 4 * floats, "what is announced");
        floats
    };
    let spec = MapSpec::default();
    let (tokens, pixels) = (8, 3 * 4);
    assert_eq!(floats(1, &spec), tokens * pixels);
    assert_eq!(floats(3, &spec), tokens * pixels);
    let one = MapSpec {
        words: vec!["cat".into()],
        ..spec.clone()
    };
    assert_eq!(floats(1, &one), pixels);
    let all = MapSpec {
        heads: Heads::Each,
        steps: Steps::Each,
        ..one.clone()
    };
    assert_eq!(floats(3, &all), 3 * 2 * pixels, "three steps, two heads");
}

/// A picture and its heatmaps, the way that users' runs go.
fn look(folder: &ModelFolder, model: &Model, job: &Job, spec: &MapSpec) -> (Outcome, Vec<Heatmap>) {
    let prepared = Prepared::new(job, folder).unwrap();
    let sites = folder.unet.sites(prepared.latent_size);
    let selection = Selection::new(spec, &prepared, &sites).unwrap();
    let mut recorder = Recorder::new(selection.recording.clone());
    let outcome = run(&prepared, model, &mut [&mut recorder], &mut |_| Ok(()));
    let recorded = recorded(spec, &recorder, prepared.latent_size).unwrap();
    (
        outcome.unwrap(),
        heatmaps(spec, &selection, &recorded).unwrap(),
    )
}

/// Every token's map together is 1 at each pixel, whatever the selection; a phrase is the sum of its
/// words, a word of several tokens of these.
#[test]
fn a_word_is_the_sum_of_its_tokens() {
    let lab = Lab::new();
    let see = |words: &[&str], special| {
        let spec = MapSpec {
            words: words.iter().map(|w| w.to_string()).collect(),
            rows: Rows::Both,
            special,
            ..MapSpec::default()
        };
        look(&lab.folder, &lab.model, &lab.job(vec![edit(SWAP)]), &spec).1
    };
    let named = see(
        &[
            "photo of a cat",
            "photo",
            "of",
            "cat",
            "hippopotamus",
            "HIPPOPOTAMUS",
        ],
        false,
    );
    let labels: Vec<(usize, &str)> = named.iter().map(|h| (h.row, h.label.as_str())).collect();
    let (both, source) = (["photo", "of"], ["photo of a cat", "photo", "of", "cat"]);
    let expected = source
        .map(|w| (0, w))
        .into_iter()
        .chain(both.map(|w| (1, w)));
    let expected: Vec<_> = expected.chain([(1, "hippopotamus")]).collect();
    assert_eq!(labels, expected);
    let hippopotamus = named.last().unwrap();
    assert!(hippopotamus.tokens.len() > 1, "several tokens, one map");
    let all = see(&[], true);
    let one = all.iter().filter(|h| h.row == 1);
    let one: Vec<&Heatmap> = one.collect();
    assert_eq!(one.first().unwrap().label, "<begin>");
    let pads = one.last().unwrap();
    assert_eq!(pads.label, format!("<{} pads>", pads.tokens.len()));
    assert!(pads.tokens.len() > 50, "all of them are one");
    let again = one.iter().find(|h| h.label == "hippopotamus").unwrap();
    assert!(relative(&again.grid.values, &hippopotamus.grid.values) < 1e-6);
    let all: f32 = one.iter().map(|h| h.grid.values[0]).sum();
    assert!(
        (all - 1.0).abs() < 1e-5,
        "a pixel looks at all tokens once: {all}"
    );
    let some = see(&["cat"], true);
    let labels: Vec<&str> = some.iter().map(|h| h.label.as_str()).collect();
    assert_eq!(
        labels[..3],
        ["<begin>", "cat", "<end>"],
        "beside chosen words too"
    );
}

/// A word that stands twice is one map, their sum, and says so; `#2` is the second alone.
#[test]
fn words_that_stand_twice_are_summed_and_said_so() {
    let lab = Lab::new();
    let job = Job::new("a cat and a Cat", vec![]);
    let job = Job {
        steps: Some(1),
        ..job
    };
    let see = |words: &[&str]| {
        let spec = MapSpec {
            words: words.iter().map(|w| w.to_string()).collect(),
            ..MapSpec::default()
        };
        let prepared = Prepared::new(&job, &lab.folder).unwrap();
        let sites = lab.folder.unet.sites(prepared.latent_size);
        let notes = Selection::new(&spec, &prepared, &sites)
            .unwrap()
            .words
            .notes();
        (look(&lab.folder, &lab.model, &job, &spec).1, notes)
    };
    let (both, notes) = see(&["cat"]);
    assert_eq!((both.len(), both[0].tokens.as_slice()), (1, &[2, 5][..]));
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("\"cat\" occurs 2 times") && notes[0].contains("tokens 2, 5"));
    let (each, notes) = see(&["cat#1", "cat#2"]);
    assert!(notes.is_empty(), "{notes:?}");
    let sum = each[0].grid.clone().zip(&each[1].grid, |a, b| a + b);
    assert!(relative(&both[0].grid.values, &sum.values) < 1e-6);
}

/// A list of moments is the steps in which they lie, each once, as recorded of each step.
#[test]
fn moments_are_steps() {
    let lab = Lab::new();
    let see = |steps| {
        let spec = MapSpec {
            words: vec!["cat".into()],
            steps,
            ..MapSpec::default()
        };
        look(&lab.folder, &lab.model, &lab.job(vec![]), &spec).1
    };
    let (each, some) = (see(Steps::Each), see(Steps::At(vec![1.0, 0.0, 0.5, 0.55])));
    let last = each.len() - 1;
    let expected = [0, each.len() / 2, last].map(|step| &each[step].grid);
    let got: Vec<_> = some.iter().map(|heat| &heat.grid).collect();
    assert_eq!(got, expected);
    assert_ne!(got[0], got[2]);
}

/// One head's map, and all heads' maps together, are the mean that is kept otherwise.
#[test]
fn heads_apart_are_the_mean_together() {
    let lab = Lab::new();
    let see = |heads| {
        let spec = MapSpec {
            words: vec!["cat".into()],
            heads,
            ..MapSpec::default()
        };
        let (_, heatmaps) = look(&lab.folder, &lab.model, &lab.job(vec![]), &spec);
        let grid = |heat: &Heatmap| Tensor::new(heat.grid.values.as_slice(), &Device::Cpu).unwrap();
        heatmaps.iter().map(grid).collect::<Vec<_>>()
    };
    let (mean, each, second) = (see(Heads::Mean), see(Heads::Each), see(Heads::One(1)));
    assert_eq!((mean.len(), each.len(), second.len()), (1, 2, 1));
    assert_eq!(flat(&each[1]), flat(&second[0]));
    moves(&flat(&each[0]), &flat(&each[1]));
    let together = (&each[0] + &each[1]).unwrap() / 2.0;
    assert!(relative(&flat(&together.unwrap()), &flat(&mean[0])) < 1e-5);
}

/// Resolutions apart: one map each; all in one file tree.
#[test]
fn resolutions_are_kept_apart() {
    let lab = Lab::new();
    let spec = MapSpec {
        words: vec!["cat".into()],
        resolution: Resolution::All,
        ..MapSpec::default()
    };
    let (_, heatmaps) = look(&lab.folder, &lab.model, &lab.job(vec![]), &spec);
    let sizes: Vec<(usize, usize)> = heatmaps.iter().map(|heat| heat.grid.size).collect();
    assert_eq!(sizes, [(6, 8), (3, 4), (2, 2)]);
}
