//! Heatmaps as numbers: law 9 step by step, whose attention is shown, what is kept of it, and whether a
//! word's map points at the thing it names.

use candle_core::{Device, Tensor};
use nalgebra::{DMatrix, DVector};
use prompt_to_prompt::attention::{Kind, Site};
use prompt_to_prompt::edit::Window;
use prompt_to_prompt::heat::{Heat, MapSpec, Resolution, Rows, Selection, Steps, draw, heats};
use prompt_to_prompt::job::{EditSpec, Job, Outcome, Prepared, run};
use prompt_to_prompt::model::{Model, ModelFolder};
use prompt_to_prompt::sample::{Columns, Heads, Recorder, Recording, Shown};

use crate::common::relative;
use crate::laws::{Lab, REFINED, STEPS, SWAP, edit, everywhere, literal_run, moves, weighted};
use crate::parity::flat;

/// Three rows whose maps differ from their own in different ways, and a window that closes half-way.
fn job(lab: &Lab) -> Job {
    lab.job(vec![
        weighted(edit(SWAP), "hippopotamus", 1.5),
        EditSpec {
            cross_steps: Some(Window::until(0.5)),
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
    let literal = literal_run(&lab, &job, &prepared);
    let record = |shown| {
        let mut recorder = Recorder::new(Recording {
            shown,
            ..layout.clone()
        });
        (lab.sample(&job, &prepared, Some(&mut recorder)), recorder)
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

/// Self-attention is shown as injected where it is injected, and as the row's own where it is not.
#[test]
fn self_attention_is_shown_as_it_was_used() {
    let lab = Lab::new();
    let job = lab.job(vec![everywhere(edit(SWAP))]);
    let prepared = Prepared::new(&job, &lab.folder).unwrap();
    let sites = lab.folder.unet.sites(prepared.latent_size);
    let of = |downscale: usize, shown: Shown| {
        let here = |s: &&Site| s.kind == Kind::SelfAttn && s.downscale == downscale;
        let mut recorder = Recorder::new(Recording {
            kind: Kind::SelfAttn,
            sites: sites.iter().filter(here).map(|s| (s.index, 0)).collect(),
            frames: std::iter::once(0..STEPS).collect(),
            heads: Heads::Mean,
            shown,
            columns: vec![Columns::All; 2],
        });
        lab.sample(&job, &prepared, Some(&mut recorder));
        [0, 1].map(|row| means(&recorder, 0, row))
    };
    let (coarse, coarse_own) = (of(4, Shown::Used), of(4, Shown::Own));
    assert_eq!(coarse[0], coarse[1], "the source's, injected");
    moves(&coarse_own[1], &coarse_own[0]);
    let (fine, fine_own) = (of(2, Shown::Used), of(2, Shown::Own));
    assert_eq!(fine[1], fine_own[1], "finer than what is injected");
    moves(&fine[1], &fine[0]);
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
        lab.sample(&job, &prepared, Some(&mut recorder));
        let kept = recorder.recorded().iter().map(|r| r.sum.elem_count());
        let floats = kept.sum::<usize>();
        assert_eq!(selection.bytes(&sites), 4 * floats, "what is announced");
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
fn look(folder: &ModelFolder, model: &Model, job: &Job, spec: &MapSpec) -> (Outcome, Vec<Heat>) {
    let prepared = Prepared::new(job, folder).unwrap();
    let sites = folder.unet.sites(prepared.latent_size);
    let selection = Selection::new(spec, &prepared, &sites).unwrap();
    let mut recorder = Recorder::new(selection.recording.clone());
    let outcome = run(job, &prepared, model, &mut [&mut recorder], &mut |_| Ok(()));
    let heats = heats(spec, &selection, &recorder, prepared.latent_size).unwrap();
    (outcome.unwrap(), heats)
}

/// DAAM: every layer enlarged by itself to the latents' grid, what is below zero cut, and the mean.
#[test]
fn like_daam_is_the_mean_of_enlarged_layers() {
    let lab = Lab::new();
    let job = lab.job(vec![]);
    let only_cat = MapSpec {
        words: vec!["cat".into()],
        ..MapSpec::default()
    };
    let see = |spec: &MapSpec| look(&lab.folder, &lab.model, &job, spec).1;
    let merged = see(&only_cat.clone().like_daam());
    assert_eq!(merged.len(), 1);
    assert_eq!(merged[0].grid.size, (12, 16), "the latents' grid");
    let mut sum = vec![0.0f32; 12 * 16];
    for &layer in &merged[0].layers {
        let spec = MapSpec {
            layer: Some(layer),
            ..only_cat.clone()
        };
        let enlarged = draw::bicubic(&see(&spec)[0].grid, (12, 16));
        for (sum, value) in sum.iter_mut().zip(enlarged.values) {
            *sum += value.max(0.0) / merged[0].layers.len() as f32;
        }
    }
    assert!(merged[0].layers.len() > 5, "of several resolutions");
    assert!(relative(&merged[0].grid.values, &sum) < 1e-5);
}

/// The components are the singular vectors of the centred map: the first is what power iteration finds.
#[test]
fn components_are_singular_vectors() {
    let lab = Lab::new();
    let (job, spec) = (
        lab.job(vec![]),
        MapSpec {
            kind: Kind::SelfAttn,
            ..MapSpec::default()
        },
    );
    let prepared = Prepared::new(&job, &lab.folder).unwrap();
    let sites = lab.folder.unet.sites(prepared.latent_size);
    let selection = Selection::new(&spec, &prepared, &sites).unwrap();
    let mut recorder = Recorder::new(selection.recording.clone());
    lab.sample(&job, &prepared, Some(&mut recorder));
    let heats = heats(&spec, &selection, &recorder, prepared.latent_size).unwrap();
    let map = DMatrix::from_row_slice(12, 12, &means(&recorder, 0, 0));
    let centred = DMatrix::from_fn(12, 12, |i, j| map[(i, j)] - map.row(i).mean());
    let mut found = DVector::from_fn(12, |i, _| 1.0 + i as f32);
    for _ in 0..2000 {
        found = (centred.transpose() * (&centred * found)).normalize();
    }
    let shown = DVector::from_vec(heats[0].grid.values.clone());
    assert_eq!((shown.min(), shown.max()), (0.0, 1.0));
    // Equal up to the scale and the shift that showing takes.
    let apart = |v: DVector<f32>| (v.add_scalar(-v.mean())).normalize();
    let alike = apart(shown).dot(&apart(found)).abs();
    assert!(alike > 0.999, "{alike}");
}

/// The map of a pixel is its row of the attention, which sums to one over the picture.
#[test]
fn a_pixel_looks_at_all_of_the_picture_once() {
    let lab = Lab::new();
    let spec = MapSpec {
        kind: Kind::SelfAttn,
        pixel: Some((1.0, 0.5)),
        ..MapSpec::default()
    };
    let (_, heats) = look(&lab.folder, &lab.model, &lab.job(vec![]), &spec);
    assert_eq!(heats.len(), 1);
    assert_eq!((heats[0].index, heats[0].label.as_str()), (7, "from 3,1"));
    let sum: f32 = heats[0].grid.values.iter().sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
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
    let one: Vec<&Heat> = one.collect();
    assert_eq!(one.first().unwrap().label, "<begin>");
    assert_eq!(one.last().unwrap().label, "<pad>");
    let again = one.iter().find(|h| h.label == "hippopotamus").unwrap();
    assert!(relative(&again.grid.values, &hippopotamus.grid.values) < 1e-6);
    let text: f32 = one.iter().map(|h| h.grid.values[0]).sum();
    assert!(text < 1.0 && text > 0.1, "all but the other pads: {text}");
}

/// Colours that none of the backgrounds has, as a pixel shows them.
type Shows = fn([u8; 3]) -> bool;
const COLOURS: [(&str, Shows); 2] = [
    ("red", |[r, g, b]| r > 140 && r / 2 > g.max(b) / 2 + 30),
    ("purple", |[r, g, b]| {
        b > 100 && r > 80 && g < 110 && b / 2 > g / 2 + 20
    }),
];
const BACKGROUNDS: [&str; 2] = ["in the snow", "on the grass"];
const THINGS: [&str; 25] = [
    "ball",
    "balloon",
    "bear",
    "bicycle",
    "boat",
    "bunny",
    "bus",
    "cake",
    "car",
    "castle",
    "cat",
    "dog",
    "frog",
    "house",
    "lion",
    "motorcycle",
    "mushroom",
    "panda",
    "rocket",
    "squirrel",
    "tractor",
    "train",
    "umbrella",
    "cactus",
    "apple",
];

/// The share of `every`-th of 100 prompts in which the peak of the thing's map lies on the thing: on a
/// cell that shows its colour.
fn pointing(every: usize, steps: Option<usize>) -> f64 {
    let folder = ModelFolder::open("storybook").unwrap();
    let model = folder.load().unwrap();
    let prompts = COLOURS.iter().flat_map(|colour| {
        let things = THINGS
            .iter()
            .flat_map(|thing| BACKGROUNDS.map(|place| (thing, place)));
        things.map(move |(thing, place)| (colour, *thing, place))
    });
    let mut hits = vec![];
    for (i, ((colour, shows), thing, place)) in prompts.enumerate().step_by(every) {
        let job = Job {
            seed: i as u64,
            steps,
            ..Job::new(&format!("a {colour} {thing} {place}"), vec![])
        };
        let spec = MapSpec {
            words: vec![thing.into()],
            ..MapSpec::default()
        };
        let (outcome, heats) = look(&folder, &model, &job, &spec);
        let (grid, picture) = (&heats[0].grid, &outcome.pictures[0].image);
        let cells = 0..grid.values.len();
        let peak = cells.max_by(|a, b| grid.values[*a].total_cmp(&grid.values[*b]));
        let (x, y) = (peak.unwrap() % 16 * 8, peak.unwrap() / 16 * 8);
        let cell = (0..64).map(|i| picture.get_pixel((x + i % 8) as u32, (y + i / 8) as u32).0);
        let hit = cell.into_iter().any(shows);
        let share = picture.pixels().filter(|p| shows(p.0)).count() as f64 / (128.0 * 128.0);
        println!("{}: {hit}, the thing takes {share:.2}", job.src);
        hits.push(f64::from(u8::from(hit)));
    }
    hits.iter().sum::<f64>() / hits.len() as f64
}

#[test]
fn maps_point_at_what_they_name() {
    let share = pointing(13, Some(12));
    assert!(share >= 0.8, "{share}");
}

/// The figure in the README.
#[test]
#[ignore = "100 pictures: some minutes"]
fn maps_of_a_hundred_prompts_point_at_what_they_name() {
    let share = pointing(1, None);
    println!("{share} of 100");
    assert!(share >= 0.8, "{share}");
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
        let (_, heats) = look(&lab.folder, &lab.model, &lab.job(vec![]), &spec);
        let grid = |heat: &Heat| Tensor::new(heat.grid.values.as_slice(), &Device::Cpu).unwrap();
        heats.iter().map(grid).collect::<Vec<_>>()
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
    let (_, heats) = look(&lab.folder, &lab.model, &lab.job(vec![]), &spec);
    let sizes: Vec<(usize, usize)> = heats.iter().map(|heat| heat.grid.size).collect();
    assert_eq!(sizes, [(6, 8), (3, 4), (2, 2)]);
}
