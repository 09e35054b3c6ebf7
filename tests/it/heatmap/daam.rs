//! `--like daam`: the arithmetic of that tool, for people who compare.

#![allow(clippy::excessive_precision)]

use prompt_to_prompt::attention::Place;
use prompt_to_prompt::edit::Grid;
use prompt_to_prompt::heatmap::daam::bicubic;
use prompt_to_prompt::heatmap::{Heatmap, MapSpec};
use prompt_to_prompt::sample::Heads;

use super::look;
use crate::common::relative;
use crate::laws::{Lab, STEPS};

/// `torch.nn.functional.interpolate(x[None, None], size=(5, 7), mode="bicubic")` of torch 2.
#[test]
fn enlarging_is_torchs() {
    let small = Grid::new((3, 4), vec![0., 1., 4., 2., 3., 0., 1., 5., 2., 6., 0., 1.]);
    #[rustfmt::skip]
    let torchs = [
        -0.425316, -0.012713, 0.869369, 3.063251, 4.288057, 2.786056, 1.456419,
        1.340774, 0.708409, 0.114409, 1.394000, 3.065137, 3.434400, 3.505974,
        3.297651, 1.916272, 0.125456, -0.156250, 1.275057, 3.698524, 5.396866,
        2.505181, 3.154196, 3.701360, 1.736001, 0.162188, 1.672616, 3.025565,
        1.440462, 3.906269, 6.616880, 3.611250, -0.363455, -0.036922, 0.686642,
    ];
    assert!(relative(&bicubic(&small, (5, 7)).values, &torchs) < 1e-6);
}

/// Every head of every layer but the middle's and an eighth's summed over the steps, enlarged by itself,
/// cut below zero; the mean of these. 64 cells on the longer side.
#[test]
fn like_daam_is_the_mean_of_enlarged_heads() {
    let lab = Lab::new();
    let job = lab.job(vec![]);
    let only_cat = MapSpec {
        words: vec!["cat".into()],
        ..MapSpec::default()
    };
    let see = |spec: &MapSpec| look(&lab.folder, &lab.model, &job, spec).1;
    let merged = see(&only_cat.clone().like_daam());
    assert_eq!(merged.len(), 1);
    assert_eq!(merged[0].grid.size, (48, 64), "the picture is 96 x 128");
    let sites = lab.folder.unet.sites((12, 16));
    let of_daam = |layer: &usize| sites[*layer].place != Place::Mid && sites[*layer].downscale < 8;
    assert!(merged[0].layers.len() > 5 && merged[0].layers.iter().all(of_daam));
    let mut maps: Vec<Heatmap> = vec![];
    for &layer in &merged[0].layers {
        maps.extend(see(&MapSpec {
            layer: Some(layer),
            heads: Heads::Each,
            ..only_cat.clone()
        }));
    }
    let (count, mut cut, mut sum) = (maps.len() as f32, 0, vec![0.0f32; 48 * 64]);
    for map in maps {
        let enlarged = bicubic(&map.grid.map(|mean| mean * STEPS as f32), (48, 64));
        for (sum, value) in sum.iter_mut().zip(enlarged.values) {
            *sum += value.max(0.0) / count;
            cut += usize::from(value < 0.0);
        }
    }
    assert!(cut > 0, "there is something to cut");
    assert!(relative(&merged[0].grid.values, &sum) < 1e-5);
}
