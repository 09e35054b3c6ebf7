//! Self-attention: as used, its components, and where one pixel looks.

use nalgebra::{DMatrix, DVector};
use prompt_to_prompt::attention::{AttentionKind, Site};
use prompt_to_prompt::heatmap::{MapSpec, Selection, heatmaps};
use prompt_to_prompt::job::Prepared;
use prompt_to_prompt::sample::{Columns, Heads, Recorder, Recording, Shown};

use super::{look, means};
use crate::laws::{Lab, STEPS, SWAP, edit, everywhere, moves};

/// Self-attention is shown as injected where it is injected, and as the row's own where it is not.
#[test]
fn self_attention_is_shown_as_it_was_used() {
    let lab = Lab::new();
    let job = lab.job(vec![everywhere(edit(SWAP))]);
    let prepared = Prepared::new(&job, &lab.folder).unwrap();
    let sites = lab.folder.unet.sites(prepared.latent_size);
    let of = |downscale: usize, shown: Shown| {
        let here = |s: &&Site| s.kind == AttentionKind::SelfAttn && s.downscale == downscale;
        let mut recorder = Recorder::new(Recording {
            kind: AttentionKind::SelfAttn,
            sites: sites.iter().filter(here).map(|s| (s.index, 0)).collect(),
            frames: std::iter::once(0..STEPS).collect(),
            heads: Heads::Mean,
            shown,
            columns: vec![Columns::All; 2],
        });
        lab.sample(&prepared, Some(&mut recorder));
        [0, 1].map(|row| means(&recorder, 0, row))
    };
    let (coarse, coarse_own) = (of(4, Shown::Used), of(4, Shown::Own));
    assert_eq!(coarse[0], coarse[1], "the source's, injected");
    moves(&coarse_own[1], &coarse_own[0]);
    let (fine, fine_own) = (of(2, Shown::Used), of(2, Shown::Own));
    assert_eq!(fine[1], fine_own[1], "finer than what is injected");
    moves(&fine[1], &fine[0]);
}

/// The components are the singular vectors of the centred map: the first is what power iteration finds.
#[test]
fn components_are_singular_vectors() {
    let lab = Lab::new();
    let (job, spec) = (
        lab.job(vec![]),
        MapSpec {
            kind: AttentionKind::SelfAttn,
            ..MapSpec::default()
        },
    );
    let prepared = Prepared::new(&job, &lab.folder).unwrap();
    let sites = lab.folder.unet.sites(prepared.latent_size);
    let selection = Selection::new(&spec, &prepared, &sites).unwrap();
    let mut recorder = Recorder::new(selection.recording.clone());
    lab.sample(&prepared, Some(&mut recorder));
    let heatmaps = heatmaps(&spec, &selection, recorder.recorded()).unwrap();
    let map = DMatrix::from_row_slice(12, 12, &means(&recorder, 0, 0));
    let centred = DMatrix::from_fn(12, 12, |i, j| map[(i, j)] - map.row(i).mean());
    let mut found = DVector::from_fn(12, |i, _| 1.0 + i as f32);
    for _ in 0..2000 {
        found = (centred.transpose() * (&centred * found)).normalize();
    }
    let shown = DVector::from_vec(heatmaps[0].grid.values.clone());
    assert_eq!((shown.min(), shown.max()), (0.0, 1.0));
    // Equal up to the scale and the shift that showing takes.
    let apart = |v: DVector<f32>| (v.add_scalar(-v.mean())).normalize();
    let alike = apart(shown).dot(&apart(found.clone())).abs();
    assert!(alike > 0.999, "{alike}");
    // Numbered from 1, largest first, and what the map makes of its singular vector.
    assert_eq!(
        (heatmaps[0].index, heatmaps[0].label.as_str()),
        (1, "component 1")
    );
    let values = heatmaps.iter().map(|heat| heat.singular_value.unwrap());
    let values: Vec<f32> = values.collect();
    assert!(values.is_sorted_by(|a, b| a >= b) && values[0] > 0.0);
    let made = (&centred * &found).norm();
    assert!(
        (made / values[0] - 1.0).abs() < 1e-3,
        "{made} {}",
        values[0]
    );
}

/// The map of a pixel is its row of the attention, which sums to one over the picture.
#[test]
fn a_pixel_looks_at_all_of_the_picture_once() {
    let lab = Lab::new();
    let spec = MapSpec {
        kind: AttentionKind::SelfAttn,
        pixel: Some((1.0, 0.5)),
        ..MapSpec::default()
    };
    let (_, heatmaps) = look(&lab.folder, &lab.model, &lab.job(vec![]), &spec);
    assert_eq!(heatmaps.len(), 1);
    assert_eq!(
        (heatmaps[0].index, heatmaps[0].label.as_str()),
        (7, "from 1,0.5")
    );
    assert_eq!(
        heatmaps[0].from,
        Some((3.5 / 4.0, 1.5 / 3.0)),
        "the cell's middle"
    );
    let sum: f32 = heatmaps[0].grid.values.iter().sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
}
