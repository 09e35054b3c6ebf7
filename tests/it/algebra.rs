//! Law 4 and the closure of the edit family: `MapEdit` against attention maps written out.

use prompt_to_prompt::edit::{MapEdit, TokenMap};
use proptest::prelude::*;

use crate::common::numbers;

const T: usize = 9;
const PIXELS: usize = 5;

/// A map of `[PIXELS, T]`. Each row holds positive numbers that sum to 1.
fn softmax_map(seed: u64) -> Vec<f32> {
    let mut map: Vec<f32> = numbers(seed, PIXELS * T)
        .iter()
        .map(|x| (4.0 * x).exp())
        .collect();
    for row in map.chunks_mut(T) {
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= sum);
    }
    map
}

/// The definition of an edit: `P_src . B + P_own . diag(o)`.
fn apply(edit: &MapEdit, source: &[f32], own: &[f32]) -> Vec<f32> {
    let at = |pixel: usize, j: usize| -> f32 {
        let borrowed: f32 = (0..T)
            .map(|i| source[pixel * T + i] * edit.borrow.get(i, j))
            .sum();
        borrowed + own[pixel * T + j] * edit.own[j]
    };
    (0..PIXELS * T).map(|p| at(p / T, p % T)).collect()
}

fn close(a: &[f32], b: &[f32]) {
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() < 1e-6, "{x} differs from {y}");
    }
}

fn columns(map: &[f32], f: impl Fn(usize, f32) -> f32) -> Vec<f32> {
    map.iter().enumerate().map(|(i, &p)| f(i % T, p)).collect()
}

/// A mapper that swaps a word of one token for a word of two tokens.
fn mapper(seed: u64) -> TokenMap {
    let mut map = TokenMap::zero(T);
    let at = (seed % 5) as usize;
    for i in 0..T {
        if i < at {
            map.set(i, i, 1.0);
        } else if i == at {
            map.set(i, i, 0.5);
            map.set(i, i + 1, 0.5);
        } else if i + 1 < T {
            map.set(i, i + 1, 1.0);
        }
    }
    map
}

fn gates(seed: u64) -> Vec<f32> {
    numbers(seed, T)
        .iter()
        .map(|x| f32::from(u8::from(*x > 0.0)))
        .collect()
}

proptest! {
    #[test]
    fn replace_reweight_gate_equals_the_reference(seed in 0u64..1000) {
        let (source, own) = (softmax_map(seed), softmax_map(seed + 1));
        let (weights, gate) = (numbers(seed + 2, T), gates(seed + 3));
        let m = mapper(seed);
        let swapped = apply(&MapEdit::replace(m.clone()), &source, &own);
        let weighted = columns(&swapped, |j, p| p * weights[j]);
        let expected: Vec<f32> = weighted.iter().zip(&own).enumerate()
            .map(|(i, (e, o))| e * gate[i % T] + o * (1.0 - gate[i % T])).collect();
        let got = apply(&MapEdit::replace(m).reweight(&weights).gate(&gate), &source, &own);
        close(&got, &expected);
    }

    #[test]
    fn refine_mixes_own_and_gathered_columns(seed in 0u64..1000) {
        let (source, own, aligned) = (softmax_map(seed), softmax_map(seed + 1), gates(seed + 2));
        let gathered = apply(&MapEdit::replace(mapper(seed)), &source, &own);
        let expected: Vec<f32> = gathered.iter().zip(&own).enumerate()
            .map(|(i, (g, o))| g * aligned[i % T] + o * (1.0 - aligned[i % T])).collect();
        close(&apply(&MapEdit::refine(mapper(seed), &aligned), &source, &own), &expected);
    }

    #[test]
    fn soft_gates_compose_by_multiplying(seed in 0u64..1000) {
        let (source, own) = (softmax_map(seed), softmax_map(seed + 1));
        let soft = |s| numbers(s, T).iter().map(|x| x.abs()).collect::<Vec<f32>>();
        let (a, b) = (soft(seed + 2), soft(seed + 3));
        let both: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a * b).collect();
        let edit = MapEdit::replace(mapper(seed));
        close(
            &apply(&edit.clone().gate(&a).gate(&b), &source, &own),
            &apply(&edit.gate(&both), &source, &own),
        );
    }
}

#[test]
fn reweight_by_one_is_the_identity() {
    let edit = MapEdit::replace(mapper(3));
    assert_eq!(edit.clone().reweight(&[1.0; T]), edit);
}

#[test]
fn an_open_gate_is_the_edit_and_a_closed_one_is_none() {
    let edit = MapEdit::refine(mapper(3), &gates(1)).reweight(&numbers(2, T));
    assert_eq!(edit.clone().gate(&[1.0; T]), edit);
    let closed = edit.gate(&[0.0; T]);
    assert!(closed.is_none());
    assert_eq!(closed.own, MapEdit::none(T).own);
}

#[test]
fn bare_reweight_scales_the_sources_map() {
    let factors = numbers(1, T);
    let edit = MapEdit::replace(TokenMap::identity(T)).reweight(&factors);
    assert_eq!(edit.borrow.as_diagonal(), Some(factors));
    assert_eq!(edit.own, [0.0; T]);
}
