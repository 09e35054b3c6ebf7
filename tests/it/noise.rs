//! Noise equals torch's. `tests/reference/noise.py` wrote the expected values.

use prompt_to_prompt::sample::noise::{TorchRng, randn};
use serde::Deserialize;

const TOLERANCE: f32 = 1e-6;

#[derive(Deserialize)]
struct Goldens {
    raw_modulo_2_31: Vec<Raw>,
    randn: Vec<Case>,
    consecutive: Vec<Run>,
}

#[derive(Deserialize)]
struct Raw {
    seed: u64,
    /// Draws 620 to 699.
    values: Vec<u32>,
}

#[derive(Deserialize)]
struct Case {
    seed: u64,
    #[serde(flatten)]
    draw: Draw,
}

#[derive(Deserialize)]
struct Run {
    seed: u64,
    draws: Vec<Draw>,
}

/// The first and last 20 values of a draw (all of a short one), and its sum.
#[derive(Deserialize)]
struct Draw {
    len: usize,
    ends: Vec<f32>,
    sum: f64,
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("../fixtures/noise.json")).unwrap()
}

fn assert_matches(values: &[f32], golden: &Draw, what: &str) {
    assert_eq!(values.len(), golden.len, "{what}");
    let half = golden.ends.len().min(20);
    let tail = golden.ends.len() - half;
    let ends = values[..half].iter().chain(&values[values.len() - tail..]);
    for (i, (ours, torch)) in ends.zip(&golden.ends).enumerate() {
        assert!(
            (ours - torch).abs() <= TOLERANCE,
            "{what}, end {i}: {ours} is not {torch}"
        );
    }
    let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
    let slack = f64::from(TOLERANCE) * golden.len as f64;
    assert!((sum - golden.sum).abs() <= slack, "{what}: sum {sum}");
}

#[test]
fn integers_are_exact_past_the_generators_first_refill() {
    for Raw { seed, values } in goldens().raw_modulo_2_31 {
        let mut rng = TorchRng::new(seed);
        let ours: Vec<u32> = (0..700).map(|_| rng.next_u32() % (1 << 31)).collect();
        assert_eq!(ours[620..], values, "seed {seed}");
    }
}

#[test]
fn randn_equals_torch_on_both_paths() {
    for Case { seed, draw } in goldens().randn {
        let what = format!("seed {seed}, length {}", draw.len);
        assert_matches(&randn(seed, draw.len), &draw, &what);
    }
}

#[test]
fn consecutive_draws_continue_the_generator() {
    for Run { seed, draws } in goldens().consecutive {
        let mut rng = TorchRng::new(seed);
        for (i, draw) in draws.iter().enumerate() {
            let what = format!("seed {seed}, draw {i} of length {}", draw.len);
            assert_matches(&rng.randn(draw.len), draw, &what);
        }
    }
}

#[test]
fn seeds_count_by_their_low_32_bits_and_nothing_drawn_is_nothing() {
    assert_eq!(randn((1 << 32) + 5, 40), randn(5, 40));
    assert!(randn(0, 0).is_empty());
}
