//! `exp` and the error function as polynomials of plain f32 operations, and softmax.
//!
//! No function of the platform's maths library is used, so that every machine computes the same values. Loops
//! that the compiler vectorizes use plain f32 operations; loops over `lanes.rs` use fused ones. This file never
//! knows what a layer is.
#![allow(unsafe_code, reason = "softmax loads and stores whole vectors")]

use std::ops::Range;

use super::form::{by_form, wide};
use super::lanes::{LANES, Lanes};

/// ln 2 as a sum of two parts, so that `x - n ln 2` keeps its low bits.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// 1.5 * 2^23. A float plus this constant is rounded to an integer in the low bits of the mantissa.
const ROUND: f32 = 12_582_912.0;
/// Coefficients of `(e^r - 1 - r) / r^2`, from the highest power down (`expf` of the Cephes library).
const EXP: [f32; 6] = [
    1.987_569_2e-4,
    1.398_2e-3,
    8.333_452e-3,
    4.166_579_6e-2,
    0.166_666_65,
    0.5,
];

/// `exp(x)`, with a relative error below 2e-7. Below -87 the result is 0.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let clamped = x.clamp(-87.0, 88.0);
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let p = EXP[1..].iter().fold(EXP[0], |p, c| p * r + c);
    let y = p * r * r + r + 1.0;
    // The low bits of `rounded` are the integer: shifted up, they are the exponent.
    let scale = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { y * scale }
}

/// The error function, with an absolute error below 2e-7 (Abramowitz & Stegun 7.1.26).
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

/// `x * sigmoid(scale * x)`: SiLU with scale 1, the quick GELU of CLIP with scale 1.702.
#[inline(always)]
pub fn swish(x: f32, scale: f32) -> f32 {
    x / (1.0 + exp(-scale * x))
}

/// Softmax without its last division. Replaces the scores in each line of `stride` floats by their
/// exponentials, and writes the factor that each line must be multiplied by to `inverse`.
///
/// The first line sees `seen.start` scores. Each following line sees one more, up to `seen.end`. The
/// exponentials of the scores that a line does not see are 0.
///
/// # Panics
/// If `stride` is no multiple of 16, if a line is shorter than `seen.end`, if `seen.end` is 0, or if there are
/// fewer lines than factors.
pub fn softmax_lines(scores: &mut [f32], stride: usize, seen: Range<usize>, inverse: &mut [f32]) {
    assert!(stride.is_multiple_of(LANES), "a line is whole vectors");
    assert!((1..=stride).contains(&seen.end), "a line holds all scores");
    // SAFETY: a line is at least one whole vector, as checked above.
    unsafe { softmax_unchecked(scores, stride, seen, inverse) }
}

by_form! {
    /// # Safety
    /// `seen.end` must not be 0.
    unsafe fn softmax_unchecked = softmax_in(scores: &mut [f32], stride: usize, seen: Range<usize>, inverse: &mut [f32])
}

#[inline(always)]
unsafe fn softmax_in<L: Lanes>(
    lanes: L,
    scores: &mut [f32],
    stride: usize,
    seen: Range<usize>,
    inverse: &mut [f32],
) {
    let whole = seen.end.next_multiple_of(LANES);
    for (i, inverse) in inverse.iter_mut().enumerate() {
        let line = &mut scores[i * stride..][..whole];
        let visible = (seen.start + i).min(seen.end);
        line[visible..].fill(f32::NEG_INFINITY);
        // SAFETY: the length of the line is a multiple of 16 and not 0.
        *inverse = unsafe { exponentials(lanes, line) };
        line[visible..].fill(0.0);
    }
}

/// Replaces each score of a line by `exp(score - max)`, and returns one over the sum of the exponentials.
///
/// # Safety
/// The length of the line must be a multiple of 16 and not 0.
#[inline(always)]
unsafe fn exponentials<L: Lanes>(lanes: L, line: &mut [f32]) -> f32 {
    let (scores, n) = (line.as_mut_ptr(), line.len());
    // SAFETY: `n` is a multiple of 16 and at least 16.
    unsafe {
        let mut high = lanes.load(scores);
        for at in (LANES..n).step_by(LANES) {
            high = lanes.max(high, lanes.load(scores.add(at)));
        }
        let mut parts = [0f32; LANES];
        lanes.store(parts.as_mut_ptr(), high);
        let max = parts
            .into_iter()
            .fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b });
        // Sixteen partial sums on every machine, so that the order of additions is the same everywhere.
        let mut sums = lanes.splat(0.0);
        for at in (0..n).step_by(LANES) {
            let e = exp_lanes(
                lanes,
                lanes.sub(lanes.load(scores.add(at)), lanes.splat(max)),
            );
            sums = lanes.add(sums, e);
            lanes.store(scores.add(at), e);
        }
        lanes.store(parts.as_mut_ptr(), sums);
        1.0 / parts.into_iter().sum::<f32>()
    }
}

/// [`exp`] of sixteen floats that are at most 0, with fused operations.
#[inline(always)]
fn exp_lanes<L: Lanes>(lanes: L, x: L::V) -> L::V {
    let x = lanes.max(x, lanes.splat(-87.0));
    let rounded = lanes.fma(x, lanes.splat(std::f32::consts::LOG2_E), lanes.splat(ROUND));
    let n = lanes.sub(rounded, lanes.splat(ROUND));
    let r = lanes.fma(n, lanes.splat(-LN2_HIGH), x);
    let r = lanes.fma(n, lanes.splat(-LN2_LOW), r);
    let mut p = lanes.splat(EXP[0]);
    p = lanes.fma(p, r, lanes.splat(EXP[1]));
    p = lanes.fma(p, r, lanes.splat(EXP[2]));
    p = lanes.fma(p, r, lanes.splat(EXP[3]));
    p = lanes.fma(p, r, lanes.splat(EXP[4]));
    p = lanes.fma(p, r, lanes.splat(EXP[5]));
    let y = lanes.fma(lanes.mul(p, r), r, lanes.add(r, lanes.splat(1.0)));
    lanes.mul(y, lanes.power_of_two(rounded))
}

wide! {
    /// Computes `to = x * factor`, or `to += x * factor` if `keep`.
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
