//! The transforms of the pixels and the sums of a tile, sixteen channels at a time. This file never knows
//! where in the picture the tile is.
#![allow(unsafe_code, reason = "the transforms load and store whole vectors")]

use crate::kernels::form::by_form;
use crate::kernels::lanes::{LANES, Lanes};

/// The pixels of an input tile by rows, `None` outside of the picture. A tile of 2x2 outputs has 4x4
/// pixels and uses the first 16 entries.
pub type Pixels<'a> = [Option<&'a [f32]>; 36];

/// Transforms the pixels of a tile: `B^T d B` per channel. A pixel that is `None` counts as zeros. The result of
/// point `p` is written to `to[p * apart..][..c]`.
///
/// # Panics
/// If `c` is no multiple of 16, if a pixel has fewer than `c` channels, or if `to` is too short.
pub fn transform_input(outputs: usize, pixels: &Pixels, c: usize, to: &mut [f32], apart: usize) {
    let last = ((outputs + 2) * (outputs + 2) - 1) * apart;
    assert!(c.is_multiple_of(LANES), "channels are whole vectors");
    assert!(
        pixels.iter().flatten().all(|pixel| pixel.len() >= c),
        "a pixel has all channels"
    );
    assert!(to.len() >= last + c, "there is room for every point");
    // SAFETY: checked above.
    unsafe { transform_input_unchecked(outputs, pixels, c, to, apart) }
}

/// Transforms the sums of a tile: `A^T m A` per channel. The sums of point `p` are `sums[p * apart..][..width]`.
/// The result is `[outputs * outputs, width]`.
///
/// # Panics
/// If `width` is no multiple of 16, or if `sums` or `to` is too short.
pub fn transform_output(outputs: usize, sums: &[f32], apart: usize, width: usize, to: &mut [f32]) {
    let last = ((outputs + 2) * (outputs + 2) - 1) * apart;
    assert!(width.is_multiple_of(LANES), "channels are whole vectors");
    assert!(sums.len() >= last + width, "there are sums of every point");
    assert!(
        to.len() >= outputs * outputs * width,
        "there is room for every output"
    );
    // SAFETY: checked above.
    unsafe { transform_output_unchecked(outputs, sums, apart, width, to) }
}

by_form! {
    /// # Safety
    /// As checked by [`transform_input`].
    unsafe fn transform_input_unchecked = input_in(outputs: usize, pixels: &Pixels, c: usize, to: &mut [f32], apart: usize)
}

by_form! {
    /// # Safety
    /// As checked by [`transform_output`].
    unsafe fn transform_output_unchecked = output_in(outputs: usize, sums: &[f32], apart: usize, width: usize, to: &mut [f32])
}

#[inline(always)]
unsafe fn input_in<L: Lanes>(
    lanes: L,
    outputs: usize,
    pixels: &Pixels,
    c: usize,
    to: &mut [f32],
    apart: usize,
) {
    // SAFETY: the contract of the caller.
    unsafe {
        match outputs {
            2 => input_tile::<L, 4>(lanes, pixels, c, to, apart),
            _ => input_tile::<L, 6>(lanes, pixels, c, to, apart),
        }
    }
}

#[inline(always)]
unsafe fn output_in<L: Lanes>(
    lanes: L,
    outputs: usize,
    sums: &[f32],
    apart: usize,
    width: usize,
    to: &mut [f32],
) {
    // SAFETY: the contract of the caller.
    unsafe {
        match outputs {
            2 => output_tile::<L, 4, 2>(lanes, sums, apart, width, to),
            _ => output_tile::<L, 6, 4>(lanes, sums, apart, width, to),
        }
    }
}

/// # Safety
/// As checked by [`transform_input`], for a tile of `S * S` pixels.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn input_tile<L: Lanes, const S: usize>(
    lanes: L,
    pixels: &Pixels,
    c: usize,
    to: &mut [f32],
    apart: usize,
) {
    let to = to.as_mut_ptr();
    let zero = lanes.splat(0.0);
    for channel in (0..c).step_by(LANES) {
        let mut half = [[zero; S]; S]; // B^T d
        for x in 0..S {
            let mut line = [zero; S];
            for y in 0..S {
                if let Some(pixel) = pixels[y * S + x] {
                    // SAFETY: a pixel has `c` floats, a multiple of 16.
                    line[y] = unsafe { lanes.load(pixel.as_ptr().add(channel)) };
                }
            }
            let line = forward::<L, S>(lanes, line);
            for y in 0..S {
                half[y][x] = line[y];
            }
        }
        for y in 0..S {
            let line = forward::<L, S>(lanes, half[y]);
            for x in 0..S {
                // SAFETY: `to` has `c` floats per point, a multiple of 16.
                unsafe { lanes.store(to.add((y * S + x) * apart + channel), line[x]) };
            }
        }
    }
}

/// # Safety
/// As checked by [`transform_output`], for a tile of `S * S` points and `O * O` outputs.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn output_tile<L: Lanes, const S: usize, const O: usize>(
    lanes: L,
    sums: &[f32],
    apart: usize,
    width: usize,
    to: &mut [f32],
) {
    let (sums, to) = (sums.as_ptr(), to.as_mut_ptr());
    let zero = lanes.splat(0.0);
    for channel in (0..width).step_by(LANES) {
        let mut half = [[zero; S]; O]; // A^T m
        for x in 0..S {
            let mut line = [zero; S];
            for y in 0..S {
                // SAFETY: `sums` has `width` floats per point, a multiple of 16.
                line[y] = unsafe { lanes.load(sums.add((y * S + x) * apart + channel)) };
            }
            let line = backward::<L, S, O>(lanes, line);
            for y in 0..O {
                half[y][x] = line[y];
            }
        }
        for y in 0..O {
            let line = backward::<L, S, O>(lanes, half[y]);
            for x in 0..O {
                // SAFETY: `to` has `width` floats per output, a multiple of 16.
                unsafe { lanes.store(to.add((y * O + x) * width + channel), line[x]) };
            }
        }
    }
}

/// `B^T` times a line of 4 or 6 values.
#[inline(always)]
fn forward<L: Lanes, const S: usize>(l: L, d: [L::V; S]) -> [L::V; S] {
    let mut out = d;
    if S == 4 {
        out[0] = l.sub(d[0], d[2]);
        out[1] = l.add(d[1], d[2]);
        out[2] = l.sub(d[2], d[1]);
        out[3] = l.sub(d[1], d[3]);
        return out;
    }
    let (even, odd) = (times(l, -4.0, d[2], d[4]), times(l, -4.0, d[1], d[3]));
    let (near, far) = (l.sub(d[4], d[2]), l.sub(d[3], d[1]));
    out[0] = times(l, 4.0, d[0], times(l, -5.0, d[2], d[4]));
    out[1] = l.add(even, odd);
    out[2] = l.sub(even, odd);
    out[3] = times(l, 2.0, far, near);
    out[4] = times(l, -2.0, far, near);
    out[5] = times(l, 4.0, d[1], times(l, -5.0, d[3], d[5]));
    out
}

/// `k * x + plus`
#[inline(always)]
fn times<L: Lanes>(lanes: L, k: f32, x: L::V, plus: L::V) -> L::V {
    lanes.fma(lanes.splat(k), x, plus)
}

/// `A^T` times a line of 4 or 6 values.
#[inline(always)]
fn backward<L: Lanes, const S: usize, const O: usize>(l: L, m: [L::V; S]) -> [L::V; O] {
    let mut out = [m[0]; O];
    if S == 4 {
        out[0] = l.add(l.add(m[0], m[1]), m[2]);
        out[1] = l.sub(l.sub(m[1], m[2]), m[3]);
        return out;
    }
    let (sum, difference) = (l.add(m[1], m[2]), l.sub(m[1], m[2]));
    let (sum2, difference2) = (l.add(m[3], m[4]), l.sub(m[3], m[4]));
    out[0] = l.add(l.add(m[0], sum), sum2);
    out[1] = times(l, 2.0, difference2, difference);
    out[2] = times(l, 4.0, sum2, sum);
    out[3] = l.add(times(l, 8.0, difference2, difference), m[5]);
    out
}
