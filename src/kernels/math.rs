//! `exp` and the error function as polynomials of plain f32 operations, and softmax.
//!
//! No fused multiply-add and no platform libm, so every machine computes these the same.

use std::ops::Range;

use super::form::wide;
use super::lanes::LANES;

/// `exp(x)`, relative error below 2e-7; 0 below -87.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LOG2E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts, so that x - n ln 2 keeps its low bits.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 * 2^23 rounds to an integer in the low mantissa bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.0, 88.0);
    let rounded = clamped * LOG2E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_2e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 0.166_666_65;
    p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // The integer stands in the low bits already: shifted up it is an exponent.
    let scale = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { y * scale }
}

/// The error function, absolute error below 2e-7 (Abramowitz & Stegun 7.1.26).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let mut p = 1.061_405_4;
    p = p * t - 1.453_152_1;
    p = p * t + 1.421_413_8;
    p = p * t - 0.284_496_72;
    p = p * t + 0.254_829_6;
    let tail = p * t * exp(-a * a);
    (1.0 - tail).copysign(x)
}

/// `x * sigmoid(scale * x)`: SiLU with scale 1, CLIP's quick GELU with 1.702.
#[inline(always)]
pub fn swish(x: f32, scale: f32) -> f32 {
    x / (1.0 + exp(-scale * x))
}

/// Exponentials of each score less the largest of them, in place, and one over their sum.
#[inline(always)]
fn exponentials(row: &mut [f32]) -> f32 {
    let mut high = [f32::NEG_INFINITY; LANES];
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let (chunks, tail) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (h, &x) in high.iter_mut().zip(chunk) {
            *h = larger(x, *h);
        }
    }
    for (h, &x) in high.iter_mut().zip(tail) {
        *h = larger(x, *h);
    }
    let max = high.into_iter().fold(f32::NEG_INFINITY, larger);
    // The same sixteen partial sums on every machine.
    let mut sums = [0f32; LANES];
    let (chunks, tail) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (s, x) in sums.iter_mut().zip(chunk) {
            *x = exp(*x - max);
            *s += *x;
        }
    }
    for (s, x) in sums.iter_mut().zip(tail) {
        *x = exp(*x - max);
        *s += *x;
    }
    1.0 / sums.into_iter().sum::<f32>()
}

wide! {
    /// Softmax without its last division: exponentials of the scores in each line of `stride`, in place,
    /// and per line what to multiply them by. The first line sees `seen.start` scores and each after it
    /// one more, up to `seen.end`; up to there the others become 0.
    pub fn softmax_lines(scores: &mut [f32], stride: usize, seen: Range<usize>, inverse: &mut [f32]) {
        let lines = scores.chunks_exact_mut(stride).zip(inverse);
        for (i, (row, inverse)) in lines.enumerate() {
            let (visible, hidden) = row[..seen.end].split_at_mut((seen.start + i).min(seen.end));
            *inverse = exponentials(visible);
            hidden.fill(0.0);
        }
    }
}

wide! {
    /// `to = x * factor`, or added to it.
    pub fn scale_into(to: &mut [f32], x: &[f32], factor: f32, keep: bool) {
        if keep {
            for (y, x) in to.iter_mut().zip(x) {
                *y += x * factor;
            }
        } else {
            for (y, x) in to.iter_mut().zip(x) {
                *y = x * factor;
            }
        }
    }
}
