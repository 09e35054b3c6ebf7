//! The laws for everything that acts beside attention: local blend, masks, chains, strength, copied latents,
//! windows with ramps, negative prompts of edits. All tests use the lab model of `laws.rs`.

use std::path::PathBuf;

use image::{GrayImage, Luma};
use prompt_to_prompt::edit::{EditKind, Window};
use prompt_to_prompt::job::{
    BlendWords, CrossSteps, EditSettings, Job, MaskSource, Prepared, SchedulerName,
};

use crate::common::relative;
use crate::laws::{Lab, REFINED, SRC, SWAP, edit, everywhere, moves, weighted};
use crate::literal::literal_run;

/// `spec` with the blend settings of `blend`, from the start of the run.
fn blended(spec: EditSettings, blend: EditSettings) -> EditSettings {
    EditSettings {
        blend: blend.blend,
        blend_keep: blend.blend_keep,
        blend_threshold: blend.blend_threshold,
        blend_soft: blend.blend_soft,
        mask: blend.mask,
        blend_from: Some(0.0),
        ..spec
    }
}

/// A blend by one word of the source prompt and one of the edited prompt.
fn words(base: &str, edited: &str) -> EditSettings {
    EditSettings {
        blend: vec![BlendWords::Pair(vec![base.into()], vec![edited.into()])],
        ..EditSettings::default()
    }
}

/// A mask file. Its left part, up to `share` of the width, is white.
fn mask_file(folder: &tempfile::TempDir, share: f32) -> PathBuf {
    let (w, h) = (64, 48);
    let white = |x: u32| (x as f32) < share * w as f32;
    let path = folder.path().join(format!("mask-{share}.png"));
    let picture = GrayImage::from_fn(w, h, |x, _| Luma([if white(x) { 255 } else { 0 }]));
    picture.save(&path).unwrap();
    path
}

fn masked(spec: EditSettings, mask: PathBuf) -> EditSettings {
    let mask = Some(MaskSource::File(mask));
    blended(
        spec,
        EditSettings {
            mask,
            ..EditSettings::default()
        },
    )
}

#[test]
fn a_mask_of_zeros_is_the_source_and_one_of_ones_changes_nothing() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    let [black, half, white] = [0.0, 0.5, 1.0].map(|share| mask_file(&folder, share));
    let specs = vec![
        edit(SWAP),
        masked(edit(SWAP), black),
        masked(edit(SWAP), white),
        masked(edit(SWAP), half),
    ];
    let rows = lab.run(&lab.job(specs));
    moves(&rows[1], &rows[0]);
    assert_eq!(rows[2], rows[0], "a black mask gives the source");
    assert_eq!(rows[3], rows[1], "a white mask gives the edit");
    // Under the half mask the right half equals the source to the bit, and the left half differs.
    let (w, differs) = (16, |i: &usize| rows[4][*i] != rows[0][*i]);
    let (left, right): (Vec<usize>, Vec<usize>) = (0..rows[0].len()).partition(|i| i % w < w / 2);
    assert!(!right.iter().any(differs));
    assert!(left.iter().filter(|i| differs(i)).count() > left.len() / 2);
}

#[test]
fn outside_of_its_words_an_edit_equals_its_source() {
    let lab = Lab::new();
    let blend = EditSettings {
        blend_threshold: Some((0.6, 0.3)),
        ..words("cat", "hippopotamus")
    };
    let job = lab.job(vec![edit(SWAP), blended(edit(SWAP), blend)]);
    let outcome = lab.outcome(&job);
    let mask = outcome.masks[1].as_ref().unwrap();
    let inside = mask.pixels().filter(|p| p[0] == 255).count() as f64 / mask.len() as f64;
    assert!(
        (0.02..0.98).contains(&inside),
        "{inside} of the picture is inside the mask"
    );
    let rows = crate::laws::rows(&outcome.latents);
    moves(&rows[2], &rows[0]);
    for (i, (got, source)) in rows[2].iter().zip(&rows[0]).enumerate() {
        let (x, y) = (i as u32 % 16, i as u32 / 16 % 12);
        if mask.get_pixel(8 * x, 8 * y)[0] == 0 {
            assert_eq!(got, source, "at {x}, {y}");
        }
    }
    // The manifest measures the same in the pictures.
    let change = outcome.manifest.edits[1].change.unwrap();
    assert!(change.inside.unwrap().mean_abs > change.outside.unwrap().mean_abs);
}

#[test]
fn strength_scales_the_whole_edit() {
    let lab = Lab::new();
    let strong = |strength| EditSettings {
        strength: Some(strength),
        ..edit(SWAP)
    };
    let specs = vec![
        edit(SWAP),
        strong(0.0),
        strong(0.5),
        strong(1.0),
        strong(1.5),
    ];
    let rows = lab.run(&lab.job(specs));
    moves(&rows[1], &rows[0]);
    assert_eq!(rows[2], rows[0], "strength 0 gives the source");
    assert_eq!(rows[4], rows[1], "strength 1 gives the edit");
    let far = |row: usize| relative(&rows[row], &rows[0]);
    assert!(0.05 < far(3) / far(1) && far(3) < far(1) && far(1) < far(5));
}

#[test]
fn copied_latents_are_the_source() {
    let lab = Lab::new();
    let copied = |window: &str| EditSettings {
        inject_latents: Some(window.parse().unwrap()),
        ..edit(SWAP)
    };
    let specs = vec![edit(SWAP), copied("1"), copied("0"), copied("0.5")];
    let rows = lab.run(&lab.job(specs));
    moves(&rows[1], &rows[0]);
    assert_eq!((&rows[2], &rows[3]), (&rows[0], &rows[1]));
    let far = |row: usize| relative(&rows[row], &rows[0]);
    assert!(0.0 < far(4) && far(4) < far(1));
}

/// Law 7 for an edit of an edit, windows with ramps, and factors with their own window.
#[test]
fn chains_fades_and_late_factors_equal_the_method_written_out() {
    let lab = Lab::new();
    let specs = vec![
        EditSettings {
            self_steps: Some("0.2~0.9".parse().unwrap()),
            cross_steps: CrossSteps::all("0.3~1".parse().unwrap()),
            ..weighted(edit(SWAP), "hippopotamus", 1.5)
        },
        EditSettings {
            of: Some(0),
            weight_steps: Some("0.5..1".parse().unwrap()),
            ..weighted(edit("a photo of a hippopotamus on a red chair"), "red", 2.0)
        },
        EditSettings {
            of: Some(1),
            self_steps: Some("0.5..0.6~1".parse().unwrap()),
            ..edit("a sketch of a hippopotamus on a red chair")
        },
    ];
    let job = lab.job(specs);
    let prepared = Prepared::new(&job, &lab.folder).unwrap();
    let got = lab.run(&job);
    let expected = literal_run(&lab, &prepared).latents;
    assert_eq!((got.len(), expected.len()), (4, 4));
    for row in 0..4 {
        let far = relative(&got[row], &expected[row]);
        assert!(far < 1e-5, "row {row}: {far:e}");
        if row > 0 {
            moves(&got[row], &got[row - 1]);
        }
    }
}

/// A first edit that changes nothing does not change the second one. The strength of the second edit is measured
/// from the first.
#[test]
fn an_edit_of_an_edit_starts_from_the_first_edit() {
    let lab = Lab::new();
    let then = |spec: EditSettings| EditSettings {
        of: Some(0),
        ..spec
    };
    let rows = lab.run(&lab.job(vec![
        everywhere(edit(SRC)),
        edit(REFINED),
        then(edit(REFINED)),
    ]));
    assert_eq!(rows[1], rows[0]);
    moves(&rows[2], &rows[0]);
    assert_eq!(rows[3], rows[2]);
    let none = then(EditSettings {
        strength: Some(0.0),
        ..edit("a photo of a hippopotamus on a red chair")
    });
    let rows = lab.run(&lab.job(vec![edit(SWAP), none]));
    moves(&rows[1], &rows[0]);
    assert_eq!(
        rows[2], rows[1],
        "an edit without strength equals the first edit, not the source"
    );
}

/// A factor that the first edit has applied is not applied again by the second.
#[test]
fn a_factor_acts_once_along_a_chain() {
    let lab = Lab::new();
    let chain = |factor: f32| {
        let first = weighted(everywhere(edit(SWAP)), "chair", 3.0);
        let then = EditSettings {
            of: Some(0),
            ..weighted(everywhere(edit(SWAP)), "chair", factor)
        };
        lab.run(&lab.job(vec![first, then]))
    };
    let (same, more) = (chain(3.0), chain(2.0));
    assert_eq!(same[2], same[1]);
    moves(&more[2], &more[1]);
}

/// An edit of an edit with the same prompt and settings equals the first edit, whenever its factors act. Borrowed
/// attention is re-weighted already, the row's own attention is not.
#[test]
fn an_edit_into_the_same_prompt_changes_nothing_whatever_its_windows() {
    let lab = Lab::new();
    let spec = |of: Option<usize>| EditSettings {
        of,
        weight_steps: Some("0.5..1".parse().unwrap()),
        cross_steps: CrossSteps::all(Window::until(0.5)),
        self_steps: Some(Window::until(0.25)),
        ..weighted(edit(SWAP), "chair", -1.0)
    };
    let rows = lab.run(&lab.job(vec![spec(None), spec(Some(0))]));
    moves(&rows[1], &rows[0]);
    let far = relative(&rows[2], &rows[1]);
    assert!(far < 1e-5, "{far:e}");
    let plain = EditSettings {
        weight: Default::default(),
        weight_steps: None,
        ..spec(None)
    };
    moves(&lab.run(&lab.job(vec![plain]))[1], &rows[1]);
}

/// Strength 0 and masks of zeros and ones are exact under every scheduler, and in chains.
#[test]
fn edits_without_effect_change_nothing_under_every_scheduler() {
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    let [black, white] = [0.0, 1.0].map(|share| mask_file(&folder, share));
    let none = EditSettings {
        strength: Some(0.0),
        ..edit(REFINED)
    };
    let then = |spec: EditSettings| EditSettings {
        of: Some(0),
        ..spec
    };
    let specs = vec![
        edit(SWAP),
        none.clone(),
        masked(edit(SWAP), black.clone()),
        masked(edit(SWAP), white),
        then(none),
        then(masked(edit(REFINED), black)),
    ];
    for scheduler in SchedulerName::ALL {
        let job = Job {
            scheduler: Some(scheduler),
            ..lab.job(specs.clone())
        };
        let rows = lab.run(&job);
        moves(&rows[1], &rows[0]);
        assert_eq!(
            (&rows[2], &rows[3], &rows[4]),
            (&rows[0], &rows[0], &rows[1]),
            "{scheduler}"
        );
        assert_eq!(
            (&rows[5], &rows[6]),
            (&rows[1], &rows[1]),
            "{scheduler}, chained"
        );
    }
}

/// Law 5 with blends, negative prompts, strength and copied latents at once.
#[test]
fn blended_and_scaled_edits_together_equal_each_alone() {
    let lab = Lab::new();
    let negative = |spec: EditSettings, prompt: &str| EditSettings {
        negative_prompt: Some(prompt.to_owned()),
        ..spec
    };
    let keep = EditSettings {
        blend_keep: vec!["chair".into()],
        blend_threshold: Some((0.1, 0.9)),
        blend_soft: true,
        ..words("cat", "cat")
    };
    let specs = [
        blended(
            edit(SWAP),
            EditSettings {
                blend_threshold: Some((0.1, 0.3)),
                ..words("cat", "hippopotamus")
            },
        ),
        negative(edit(SWAP), "a dog"),
        blended(edit(REFINED), keep),
        EditSettings {
            strength: Some(1.3),
            inject_latents: Some(Window::until(0.25)),
            ..edit(SWAP)
        },
    ];
    for scheduler in [
        SchedulerName::Ddim,
        SchedulerName::Pndm,
        SchedulerName::EulerA,
    ] {
        let job = |edits| Job {
            scheduler: Some(scheduler),
            ..lab.job(edits)
        };
        let together = lab.run(&job(specs.to_vec()));
        for (i, spec) in specs.iter().enumerate() {
            moves(&together[i + 1], &together[0]);
            let alone = lab.run(&job(vec![spec.clone()]));
            assert_eq!(alone[1], together[i + 1], "{scheduler}, edit {i}");
            assert_eq!(alone[0], together[0], "{scheduler}: law 1");
        }
    }
}

#[test]
fn a_negative_prompt_without_guidance_gives_a_warning() {
    let lab = Lab::new();
    for (guidance, negative, warned) in [
        (1.0, "a red chair", true),
        (0.0, "a red chair", true),
        (3.0, "a red chair", false),
        (1.0, "", false),
    ] {
        let job = Job {
            guidance: Some(guidance),
            negative_prompt: negative.to_owned(),
            ..lab.job(vec![edit(SWAP)])
        };
        let warnings = Prepared::new(&job, &lab.folder).unwrap().warnings;
        let warnings = warnings.iter().map(ToString::to_string);
        let warnings = warnings.collect::<Vec<_>>().join(" ");
        assert_eq!(
            warnings.contains("`negative_prompt` has no effect"),
            warned,
            "{warnings}"
        );
    }
}

#[test]
fn negative_prompts_may_differ() {
    let lab = Lab::new();
    let own = EditSettings {
        negative_prompt: Some("a red chair".to_owned()),
        ..edit(SWAP)
    };
    let job = lab.job(vec![edit(SWAP), own]);
    let rows = lab.run(&job);
    moves(&rows[2], &rows[1]);
    let everyone = Job {
        negative_prompt: "a red chair".to_owned(),
        ..lab.job(vec![edit(SWAP)])
    };
    // A negative prompt of the whole job also changes the source.
    moves(&lab.run(&everyone)[0], &rows[0]);
}

#[test]
fn a_mixed_edit_swaps_and_adds() {
    let lab = Lab::new();
    let both = "a photo of a dog on a red chair";
    let kinds = [EditKind::Mixed, EditKind::Refine];
    let specs = kinds.map(|kind| EditSettings {
        edit: Some(kind.into()),
        ..edit(both)
    });
    let rows = lab.run(&lab.job([specs.to_vec(), vec![edit(both)]].concat()));
    moves(&rows[1], &rows[2]);
    assert_eq!(rows[3], rows[1], "mixed is what auto chooses here");
}
