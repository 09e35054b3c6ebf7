//! Heatmaps as pixels: what an overlay leaves alone, whether a mark shows, which part of a mask is boxed.

use image::{Rgb, RgbImage};
use prompt_to_prompt::edit::Grid;
use prompt_to_prompt::heatmap::draw::{Colormap, Enlarge, Scale, Style, ringed};
use prompt_to_prompt::heatmap::locate::{bounds, part_at, strongest};

fn style() -> Style {
    Style {
        colormap: Colormap::Viridis,
        enlarge: Enlarge::Nearest,
        size: (4, 1),
    }
}

/// How far each pixel of a bright picture is moved by an overlay of these values.
fn moved(values: [f32; 4], scale: fn(&Grid) -> Scale) -> [i32; 4] {
    let (picture, grid) = (
        RgbImage::from_pixel(4, 1, Rgb([250, 240, 230])),
        Grid::new((1, 4), values.to_vec()),
    );
    let overlay = style().overlay(&picture, &grid, scale(&grid));
    let far = |x: u32| {
        let both = overlay
            .get_pixel(x, 0)
            .0
            .into_iter()
            .zip(picture.get_pixel(x, 0).0);
        both.map(|(a, b)| (i32::from(a) - i32::from(b)).abs()).sum()
    };
    [0, 1, 2, 3].map(far)
}

/// What draws no attention stays as it is, and more attention covers more.
#[test]
fn overlays_cover_by_value() {
    let shared = moved([0.0, 0.02, 0.1, 0.2], |grid| Scale::of([grid]));
    assert_eq!(shared[0], 0);
    assert!(0 < shared[1] && shared[1] < 45, "{shared:?}");
    assert!(shared[1] < shared[2], "{shared:?}");
    // A word of negative weight pushes below zero: zero is still nothing.
    let pushed = moved([0.0, -0.1, -0.2, -0.4], |grid| Scale::of([grid]));
    assert_eq!(pushed[0], 0);
    assert!(pushed[1] < pushed[2] && pushed[2] < pushed[3], "{pushed:?}");
    // On its own scale a word's least is nothing.
    let own = moved([0.5, 0.6, 0.7, 0.8], Scale::within);
    assert_eq!(own[0], 0);
    assert!(own[3] > 100, "{own:?}");
}

/// On black, white and gray, at any size, a ring has pixels far from the ground, and all around the place.
#[test]
fn marks_show_on_any_ground() {
    for (side, ground) in [(16, 0), (64, 128), (96, 255), (512, 0), (512, 255)] {
        let plain = RgbImage::from_pixel(side, side, Rgb([ground; 3]));
        let marked = ringed(plain.clone(), (0.5, 0.25));
        let changed = marked
            .enumerate_pixels()
            .filter(|(x, y, p)| *p != plain.get_pixel(*x, *y));
        let (mut x, mut y) = (vec![], vec![]);
        for (px, py, pixel) in changed {
            let far = pixel.0[0].abs_diff(ground);
            assert!(far >= 127 || ground == 128, "{far}");
            x.push(px);
            y.push(py);
        }
        let middle = |p: &[u32]| (p.iter().min().unwrap() + p.iter().max().unwrap()).div_ceil(2);
        assert_eq!((middle(&x), middle(&y)), (side / 2, side / 4));
        assert!(x.len() >= 16, "{side}: {}", x.len());
        let at = marked.get_pixel(side / 2, side / 4);
        assert_eq!(at, &Rgb([ground; 3]), "the place itself is left free");
    }
}

/// The box is that of the part that holds the peak; stray cells stay in the mask's.
#[test]
fn a_box_leaves_stray_cells_out() {
    #[rustfmt::skip]
    let mask = Grid::new((4, 5), vec![
        1., 0., 0., 0., 0.,
        0., 0., 1., 1., 0.,
        0., 0., 0., 1., 0.,
        0., 0., 0., 0., 1.,
    ]);
    let part = part_at(&mask, [3, 1]);
    assert_eq!(bounds(&part), Some([2, 1, 4, 3]));
    assert_eq!(bounds(&mask), Some([0, 0, 5, 4]));
    assert_eq!(bounds(&part_at(&mask, [1, 1])), None, "outside of it");
    let pushed = Grid::new((1, 3), vec![0.1, -0.9, 0.3]);
    assert_eq!(strongest(&pushed, (30, 10)), [15, 5]);
}
