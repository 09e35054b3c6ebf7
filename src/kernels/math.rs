//! `exp` and the error function as polynomials of plain f32 operations, and softmax.
//!
//! No platform libm, so that every machine computes these the same; plain f32 operations where the
//! compiler spreads a loop over lanes, fused ones where `lanes.rs` does.

use std::ops::Range;

use super::form::{by_form, wide};
use super::lanes::{LANES, Lanes};

/// ln 2 in two parts, so that x - n ln 2 keeps its low bits.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Adding 1.5 * 2^23 rounds to an integer in the low mantissa bits.
const ROUND: f32 = 12_582_912.0;
/// `(e^r - 1 - r) / r^2`, from the highest power down (Cephes' expf).
const EXP: [f32; 6] = [
    1.987_569_2e-4,
    1.398_2e-3,
    8.333_452e-3,
    4.166_579_6e-2,
    0.166_666_65,
    0.5,
];

/// `exp(x)`, relative error below 2e-7; 0 below -87.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let clamped = x.clamp(-87.0, 88.0);
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let p = EXP[1..].iter().fold(EXP[0], |p, c| p * r + c);
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

by_form! {
    /// Softmax without its last division: exponentials of the scores in each line of `stride`, in place,
    /// and per line what to multiply them by. The first line sees `seen.start` scores and each after it
    /// one more, up to `seen.end`; up to there the others become 0.
    ///
    /// # Safety
    /// `stride` must be a multiple of 16 and no less than `seen.end`.
    pub unsafe fn softmax_lines = softmax_in(scores: &mut [f32], stride: usize, seen: Range<usize>, inverse: &mut [f32])
}

#[inline(always)]
unsafe fn softmax_in<L: Lanes>(
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
        // SAFETY: the line is whole vectors.
        *inverse = unsafe { exponentials::<L>(line) };
        line[visible..].fill(0.0);
    }
}

/// Exponentials of each score of a line of whole vectors less the largest, and one over their sum.
#[inline(always)]
unsafe fn exponentials<L: Lanes>(line: &mut [f32]) -> f32 {
    let (scores, n) = (line.as_mut_ptr(), line.len());
    // SAFETY: `n` is a multiple of 16.
    unsafe {
        let mut high = L::load(scores);
        for at in (LANES..n).step_by(LANES) {
            high = L::max(high, L::load(scores.add(at)));
        }
        let mut lanes = [0f32; LANES];
        L::store(lanes.as_mut_ptr(), high);
        let max = lanes
            .into_iter()
            .fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b });
        // The same sixteen partial sums on every machine.
        let mut sums = L::splat(0.0);
        for at in (0..n).step_by(LANES) {
            let e = exp_lanes::<L>(L::sub(L::load(scores.add(at)), L::splat(max)));
            sums = L::add(sums, e);
            L::store(scores.add(at), e);
        }
        L::store(lanes.as_mut_ptr(), sums);
        1.0 / lanes.into_iter().sum::<f32>()
    }
}

/// [`exp`] of sixteen numbers up to 0, with fused operations.
#[inline(always)]
fn exp_lanes<L: Lanes>(x: L::V) -> L::V {
    let x = L::max(x, L::splat(-87.0));
    let rounded = L::fma(x, L::splat(std::f32::consts::LOG2_E), L::splat(ROUND));
    let n = L::sub(rounded, L::splat(ROUND));
    let r = L::fma(n, L::splat(-LN2_HIGH), x);
    let r = L::fma(n, L::splat(-LN2_LOW), r);
    let mut p = L::splat(EXP[0]);
    p = L::fma(p, r, L::splat(EXP[1]));
    p = L::fma(p, r, L::splat(EXP[2]));
    p = L::fma(p, r, L::splat(EXP[3]));
    p = L::fma(p, r, L::splat(EXP[4]));
    p = L::fma(p, r, L::splat(EXP[5]));
    let y = L::fma(L::mul(p, r), r, L::add(r, L::splat(1.0)));
    L::mul(y, L::power_of_two(rounded))
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
