//! The transforms of a tile's pixels and of its sums, sixteen channels at a time.

use crate::kernels::form::by_form;
use crate::kernels::lanes::{LANES, Lanes};

by_form! {
    /// `B^T d B` of a tile of pixels, `c` channels each, a null pixel being zero.
    ///
    /// # Safety
    /// Pixels that aren't null have `c` floats, a multiple of 16; `to` has as many for every point,
    /// `apart` floats from one to the next.
    pub unsafe fn transform_input = input_in(outputs: usize, pixels: &[*const f32; 36], c: usize, to: *mut f32, apart: usize)
}

by_form! {
    /// `A^T m A` of a tile's sums to `[outputs * outputs, width]`.
    ///
    /// # Safety
    /// Every point has `width` floats, a multiple of 16, `apart` floats from one to the next; `to` has
    /// room.
    pub unsafe fn transform_output = output_in(outputs: usize, sums: *const f32, apart: usize, width: usize, to: *mut f32)
}

#[inline(always)]
unsafe fn input_in<L: Lanes>(
    outputs: usize,
    pixels: &[*const f32; 36],
    c: usize,
    to: *mut f32,
    apart: usize,
) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match outputs {
            2 => input_tile::<L, 4>(pixels, c, to, apart),
            _ => input_tile::<L, 6>(pixels, c, to, apart),
        }
    }
}

#[inline(always)]
unsafe fn output_in<L: Lanes>(
    outputs: usize,
    sums: *const f32,
    apart: usize,
    width: usize,
    to: *mut f32,
) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match outputs {
            2 => output_tile::<L, 4, 2>(sums, apart, width, to),
            _ => output_tile::<L, 6, 4>(sums, apart, width, to),
        }
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn input_tile<L: Lanes, const S: usize>(
    pixels: &[*const f32; 36],
    c: usize,
    to: *mut f32,
    apart: usize,
) {
    let zero = L::splat(0.0);
    for channel in (0..c).step_by(LANES) {
        let mut half = [[zero; S]; S]; // B^T d
        for x in 0..S {
            let mut line = [zero; S];
            for y in 0..S {
                let pixel = pixels[y * S + x];
                if !pixel.is_null() {
                    // SAFETY: the caller's promise.
                    line[y] = unsafe { L::load(pixel.add(channel)) };
                }
            }
            let line = forward::<L, S>(line);
            for y in 0..S {
                half[y][x] = line[y];
            }
        }
        for y in 0..S {
            let line = forward::<L, S>(half[y]);
            for x in 0..S {
                // SAFETY: the caller's promise.
                unsafe { L::store(to.add((y * S + x) * apart + channel), line[x]) };
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn output_tile<L: Lanes, const S: usize, const O: usize>(
    sums: *const f32,
    apart: usize,
    width: usize,
    to: *mut f32,
) {
    let zero = L::splat(0.0);
    for channel in (0..width).step_by(LANES) {
        let mut half = [[zero; S]; O]; // A^T m
        for x in 0..S {
            let mut line = [zero; S];
            for y in 0..S {
                // SAFETY: the caller's promise.
                line[y] = unsafe { L::load(sums.add((y * S + x) * apart + channel)) };
            }
            let line = backward::<L, S, O>(line);
            for y in 0..O {
                half[y][x] = line[y];
            }
        }
        for y in 0..O {
            let line = backward::<L, S, O>(half[y]);
            for x in 0..O {
                // SAFETY: the caller's promise.
                unsafe { L::store(to.add((y * O + x) * width + channel), line[x]) };
            }
        }
    }
}

/// `B^T` times a line: of 4 for the smaller tile, of 6 for the larger.
#[inline(always)]
fn forward<L: Lanes, const S: usize>(d: [L::V; S]) -> [L::V; S] {
    let mut out = d;
    if S == 4 {
        out[0] = L::sub(d[0], d[2]);
        out[1] = L::add(d[1], d[2]);
        out[2] = L::sub(d[2], d[1]);
        out[3] = L::sub(d[1], d[3]);
        return out;
    }
    let (even, odd) = (times::<L>(-4.0, d[2], d[4]), times::<L>(-4.0, d[1], d[3]));
    let (near, far) = (L::sub(d[4], d[2]), L::sub(d[3], d[1]));
    out[0] = times::<L>(4.0, d[0], times::<L>(-5.0, d[2], d[4]));
    out[1] = L::add(even, odd);
    out[2] = L::sub(even, odd);
    out[3] = times::<L>(2.0, far, near);
    out[4] = times::<L>(-2.0, far, near);
    out[5] = times::<L>(4.0, d[1], times::<L>(-5.0, d[3], d[5]));
    out
}

/// `k x + plus`
#[inline(always)]
fn times<L: Lanes>(k: f32, x: L::V, plus: L::V) -> L::V {
    L::fma(L::splat(k), x, plus)
}

/// `A^T` times a line.
#[inline(always)]
fn backward<L: Lanes, const S: usize, const O: usize>(m: [L::V; S]) -> [L::V; O] {
    let mut out = [m[0]; O];
    if S == 4 {
        out[0] = L::add(L::add(m[0], m[1]), m[2]);
        out[1] = L::sub(L::sub(m[1], m[2]), m[3]);
        return out;
    }
    let (sum, difference) = (L::add(m[1], m[2]), L::sub(m[1], m[2]));
    let (sum2, difference2) = (L::add(m[3], m[4]), L::sub(m[3], m[4]));
    out[0] = L::add(L::add(m[0], sum), sum2);
    out[1] = times::<L>(2.0, difference2, difference);
    out[2] = times::<L>(4.0, sum2, sum);
    out[3] = L::add(times::<L>(8.0, difference2, difference), m[5]);
    out
}
