//! How attention becomes a mask, on small grids.

use prompt_to_prompt::edit::blend::Thresholds;
use prompt_to_prompt::edit::{Grid, Region, Rules};
use prompt_to_prompt::error::Result;

/// A grid from lines of text: a digit is a tenth, a dot is zero.
fn grid(rows: &[&str]) -> Grid {
    let value = |c: char| c.to_digit(10).unwrap_or(0) as f32 / 10.0;
    let values = rows.iter().flat_map(|row| row.chars().map(value)).collect();
    Grid::new((rows.len(), rows[0].len()), values)
}

fn region(words: &[usize], keep: &[usize]) -> Region {
    Region {
        words: [vec![], words.to_vec()],
        keep: [vec![], keep.to_vec()],
        ..Region::default()
    }
}

/// The mask of a region if the attention of token 1 of the edited prompt is `word` and that of token 2 `other`.
fn mask(region: &Region, rules: Rules, word: &Grid, other: &Grid) -> Grid {
    let attention = |side: usize, tokens: &[usize]| -> Result<Option<Grid>> {
        assert_eq!(side, 1);
        Ok(Some(if tokens == [1] {
            word.clone()
        } else {
            other.clone()
        }))
    };
    region.mask(word.size, rules, attention).unwrap()
}

/// A mask as lines of text: `#` is 1, `.` is 0, `+` is between the two.
fn shape(grid: &Grid) -> Vec<String> {
    let cell = |v: &f32| {
        if *v == 1.0 {
            '#'
        } else if *v == 0.0 {
            '.'
        } else {
            '+'
        }
    };
    grid.values
        .chunks(grid.size.1)
        .map(|row| row.iter().map(cell).collect())
        .collect()
}

#[test]
fn a_word_covers_the_cells_above_a_share_of_its_peak() {
    // 2 of 9 is less than 0.3. The neighbours of cells above the threshold belong to the word too.
    let word = grid(&["......", ".9....", "....2.", "......", ".....4"]).map_to(0.8);
    let got = mask(&region(&[1], &[]), Rules::Ours, &word, &word);
    assert_eq!(
        shape(&got),
        ["###...", "###...", "###...", "....##", "....##"]
    );
}

trait MapTo {
    fn map_to(self, peak: f32) -> Self;
}

impl MapTo for Grid {
    /// Scales the grid to a peak of `37 * peak`. Only shares of the peak matter to a mask.
    fn map_to(mut self, peak: f32) -> Self {
        let largest = self.values.iter().copied().fold(0.0, f32::max);
        self.values
            .iter_mut()
            .for_each(|v| *v *= 37.0 * peak / largest);
        self
    }
}

#[test]
fn kept_words_are_cut_out_without_their_neighbours() {
    let word = grid(&[".....", ".999.", ".....", "....."]);
    let other = grid(&[".....", "...9.", ".....", "....9"]);
    let got = mask(&region(&[1], &[2]), Rules::Ours, &word, &other);
    assert_eq!(shape(&got), ["#####", "###.#", "#####", "....."]);
    // Without words that may change, the edit acts everywhere but at the kept word.
    let got = mask(&region(&[], &[2]), Rules::Ours, &word, &other);
    assert_eq!(shape(&got), ["#####", "###.#", "#####", "####."]);
}

#[test]
fn words_of_both_prompts_are_united_and_intersected_with_the_users_mask() {
    let (old, new) = (
        grid(&["9....", ".....", "....."]),
        grid(&["....9", ".....", "....."]),
    );
    let mut region = Region {
        words: [vec![3], vec![1]],
        ..Region::default()
    };
    let attention = |side: usize, _: &[usize]| Ok(Some([&old, &new][side].clone()));
    let got = region.mask((3, 5), Rules::Ours, attention).unwrap();
    assert_eq!(shape(&got), ["##.##", "##.##", "....."]);
    region.mask = Some(grid(&["00011", "11111", "11111"]).map_to(1.0 / 37.0));
    let got = region.mask((3, 5), Rules::Ours, attention).unwrap();
    assert_eq!(shape(&got), ["...##", "##.##", "....."]);
    let alone = Region {
        mask: region.mask.clone(),
        ..Region::default()
    };
    assert!(alone.is_somewhere() && !Region::default().is_somewhere());
    assert!(self::region(&[1], &[]).is_somewhere() && self::region(&[], &[1]).is_somewhere());
    let got = alone.mask((3, 5), Rules::Ours, attention).unwrap();
    assert_eq!(shape(&got), ["...##", "#####", "#####"]);
}

#[test]
fn a_word_of_negative_weight_covers_the_cells_that_it_pushes() {
    let word = grid(&["1111", "1911", "1111"]);
    let negative = Grid::new(word.size, word.values.iter().map(|v| -v).collect());
    let region = Region {
        thresholds: Thresholds {
            words: 0.5,
            ..Thresholds::default()
        },
        ..region(&[], &[1])
    };
    let got = mask(&region, Rules::Ours, &negative, &negative);
    assert_eq!(shape(&got), ["####", "#.##", "####"]);
    // The reference divides by the largest value, which is the one nearest to zero. All cells are then above the
    // threshold.
    let got = mask(&region, Rules::Reference, &negative, &negative);
    assert_eq!(shape(&got), ["....", "....", "...."]);
    // As a word that may change it is dilated like a word of positive weight.
    let wide = grid(&["11111", "11911", "11111", "11111"]);
    let pushed = Grid::new(wide.size, wide.values.iter().map(|v| -v).collect());
    let region = Region {
        words: [vec![], vec![1]],
        keep: Default::default(),
        ..region
    };
    let got = mask(&region, Rules::Ours, &pushed, &pushed);
    assert_eq!(shape(&got), [".###.", ".###.", ".###.", "....."]);
    assert_eq!(got, mask(&region, Rules::Ours, &wide, &wide));
}

#[test]
fn without_attention_the_mask_is_zero() {
    let nothing = Grid::full((2, 3), 0.0);
    for rules in [Rules::Ours, Rules::Reference] {
        let got = mask(&region(&[1], &[]), rules, &nothing, &nothing);
        assert_eq!(got, nothing);
    }
    let never = region(&[1], &[])
        .mask((2, 3), Rules::Ours, |_, _| Ok(None))
        .unwrap();
    assert_eq!(never, nothing);
}

/// The expected values are those of torch.nn.functional.interpolate, modes "nearest" and "bilinear"
/// (align_corners false).
#[test]
fn grids_grow_as_in_torch() {
    let small = Grid::new((2, 3), vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(
        small.nearest((3, 5)).values,
        [0., 0., 1., 1., 2., 0., 0., 1., 1., 2., 3., 3., 4., 4., 5.]
    );
    let expected = [
        0.0, 0.4, 1.0, 1.6, 2.0, 1.5, 1.9, 2.5, 3.1, 3.5, 3.0, 3.4, 4.0, 4.6, 5.0,
    ];
    let got = small.bilinear((3, 5)).values;
    assert!(
        got.iter()
            .zip(expected)
            .all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6),
        "{got:?}"
    );
}

#[test]
fn soft_edges_fade_around_the_threshold() {
    let word = grid(&["0...........9"]);
    let soft = Region {
        thresholds: Thresholds {
            words: 0.5,
            soft: true,
            ..Thresholds::default()
        },
        ..region(&[1], &[])
    };
    let attention = |_: usize, _: &[usize]| Ok(Some(word.clone()));
    let got = soft.mask((1, 130), Rules::Ours, attention).unwrap();
    assert!(got.values.is_sorted());
    let fading = got.values.iter().filter(|v| **v > 0.0 && **v < 1.0).count();
    assert!((4..12).contains(&fading), "{fading} cells fade");
    assert_eq!((got.values[0], got.values[129]), (0.0, 1.0));
}

/// Kept words are not dilated, so the mask shows the ramp cell by cell.
#[test]
fn a_soft_edge_fades_from_half_to_one_and_a_half_thresholds() {
    let word = Grid::new((1, 7), vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0]);
    let kept = |keep: f32| {
        let region = Region {
            thresholds: Thresholds {
                keep,
                soft: true,
                ..Thresholds::default()
            },
            ..region(&[], &[1])
        };
        mask(&region, Rules::Ours, &word, &word).values
    };
    let expected = [1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0];
    let got = kept(0.4);
    let near = |(a, b): (&f32, f32)| (a - b).abs() < 1e-6;
    assert!(got.iter().zip(expected).all(near), "{got:?}");
    assert_eq!(kept(0.0), [0.0; 7], "a threshold of zero has no ramp");
}
