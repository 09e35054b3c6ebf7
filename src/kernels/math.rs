//! `exp` and the error function as polynomials of plain f32 operations, and the loops around them.
//!
//! No fused multiply-add and no platform libm, so every machine computes these the same; loops over
//! slices are compiled a second time for AVX2, which changes how many lanes work at once, not what
//! each lane computes.

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
    let n = (clamped * LOG2E + ROUND) - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_2e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 0.166_666_65;
    p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    let scale = f32::from_bits((((n as i32) + 127) << 23) as u32);
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

/// Compiles a function twice, once for AVX2, and picks at run time.
macro_rules! wide {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        pub fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { plain($($arg),*) }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the feature was just detected.
                    return unsafe { avx2($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}
pub(super) use wide;

/// Lanes of a sum: the same sixteen partial sums on every machine.
const LANES: usize = 16;

wide! {
    /// Softmax of each row of `cols` scores, in place.
    pub fn softmax_rows(scores: &mut [f32], cols: usize) {
        for row in scores.chunks_exact_mut(cols) {
            let mut high = [f32::NEG_INFINITY; LANES];
            let (body, tail) = row.split_at(cols / LANES * LANES);
            for chunk in body.chunks_exact(LANES) {
                for (h, &x) in high.iter_mut().zip(chunk) {
                    *h = if x > *h { x } else { *h };
                }
            }
            for (h, &x) in high.iter_mut().zip(tail) {
                *h = if x > *h { x } else { *h };
            }
            let max = high.into_iter().fold(f32::NEG_INFINITY, f32::max);
            let mut sums = [0f32; LANES];
            for chunk in row.chunks_mut(LANES) {
                for (s, x) in sums.iter_mut().zip(chunk) {
                    *x = exp(*x - max);
                    *s += *x;
                }
            }
            let sum: f32 = sums.into_iter().sum();
            let scale = 1.0 / sum;
            for x in row {
                *x *= scale;
            }
        }
    }
}
