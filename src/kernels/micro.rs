//! The inner loops of every matrix product: a block of the left operand times packed panels of the
//! right one, added to a block of sums.
//!
//! Each sum is one chain of fused multiply-adds over `k`, ascending, whatever the tile, the block and
//! the form: a register that goes to memory between two blocks of `k` loses nothing. That is why an
//! output's bits depend on neither rows, threads nor the width of the machine's vectors.

use super::form::by_form;
use super::lanes::{LANES, Lanes};

/// Terms of a sum that are taken at a time: a tile's panels of so many lines stay in the first cache.
pub const TERMS: usize = 256;

/// A matrix to read by rows.
#[derive(Clone, Copy)]
pub struct Lhs {
    pub first: *const f32,
    /// Floats from a row to the next.
    pub stride: usize,
    pub rows: usize,
}

/// Panels of sixteen columns, each `[k, 16]`.
#[derive(Clone, Copy)]
pub struct Panels {
    pub first: *const f32,
    pub count: usize,
    /// Floats from a panel to the next.
    pub stride: usize,
}

/// Sums, `[rows, panels * 16]`.
#[derive(Clone, Copy)]
pub struct Sums {
    pub first: *mut f32,
    /// Floats from a row to the next, a multiple of 16.
    pub stride: usize,
}

by_form! {
    /// `sums = lhs . panels` over `k` terms, or `sums += ..` where `go_on`.
    ///
    /// # Safety
    /// `lhs` must have `rows` lines of `k`, `panels` `count` panels of `k` lines, `sums` `rows` lines of
    /// `16 * count`, and no other thread may touch the sums.
    pub unsafe fn accumulate = accumulate_in(k: usize, lhs: Lhs, panels: Panels, sums: Sums, go_on: bool)
}

#[inline(always)]
unsafe fn accumulate_in<L: Lanes>(k: usize, lhs: Lhs, panels: Panels, sums: Sums, go_on: bool) {
    for done in (0..k).step_by(TERMS) {
        let k = TERMS.min(k - done);
        let go_on = go_on || done > 0;
        // SAFETY: offsets stay inside what the caller promised.
        unsafe {
            let lhs = Lhs {
                first: lhs.first.add(done),
                ..lhs
            };
            let mut at = 0;
            while at < panels.count {
                let across = match panels.count - at {
                    // Rather than a pair and a single one, which would wait for its few registers.
                    3 if L::THREE.is_some() => 3,
                    left => L::TILE.1.min(left),
                };
                let right = panels.first.add(at * panels.stride + done * LANES);
                let to = Sums {
                    first: sums.first.add(at * LANES),
                    ..sums
                };
                match across {
                    3 => column::<L, 3>(k, lhs, right, panels.stride, to, go_on),
                    2 => column::<L, 2>(k, lhs, right, panels.stride, to, go_on),
                    _ => column::<L, 1>(k, lhs, right, panels.stride, to, go_on),
                }
                at += across;
            }
        }
    }
}

/// Rows of a tile of `N` vectors across; 0 where there is none.
#[inline(always)]
fn tall<L: Lanes, const N: usize>() -> usize {
    match N {
        3 => L::THREE.unwrap_or(0),
        n if n <= L::TILE.1 => L::TILE.0,
        _ => 0,
    }
}

/// All rows of one tile's columns.
#[inline(always)]
unsafe fn column<L: Lanes, const N: usize>(
    k: usize,
    lhs: Lhs,
    right: *const f32,
    apart: usize,
    sums: Sums,
    go_on: bool,
) {
    let mut row = 0;
    while row < lhs.rows {
        let rows = tall::<L, N>().min(lhs.rows - row);
        // SAFETY: `rows` lines from `row` on lie inside both; the caller's promise does the rest.
        unsafe {
            let left = lhs.first.add(row * lhs.stride);
            let to = sums.first.add(row * sums.stride);
            macro_rules! rows {
                ($($m:literal)*) => {
                    match rows {
                        $($m => tile::<L, $m, N>(k, left, lhs.stride, right, apart, to, sums.stride, go_on),)*
                        _ => unreachable!("a tile has at most 14 rows"),
                    }
                };
            }
            rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        }
        row += rows;
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments, clippy::needless_range_loop)]
unsafe fn tile<L: Lanes, const M: usize, const N: usize>(
    k: usize,
    left: *const f32,
    left_stride: usize,
    right: *const f32,
    apart: usize,
    sums: *mut f32,
    sums_stride: usize,
    go_on: bool,
) {
    if M > tall::<L, N>() {
        return; // never called; keeps larger tiles out of the smaller forms' code
    }
    // Index loops and no closures: a closure, or an iterator over vectors, would be compiled without
    // the features that the function around it enables.
    let mut acc = [[L::splat(0.0); N]; M];
    // SAFETY: the caller's promise for M rows, N panels and k terms.
    unsafe {
        if go_on {
            for i in 0..M {
                for j in 0..N {
                    acc[i][j] = L::load(sums.add(i * sums_stride + j * LANES));
                }
            }
        }
        for term in 0..k {
            let mut b = [L::splat(0.0); N];
            for j in 0..N {
                b[j] = L::load(right.add(j * apart + term * LANES));
            }
            for i in 0..M {
                let a = L::splat(*left.add(i * left_stride + term));
                for j in 0..N {
                    acc[i][j] = L::fma(a, b[j], acc[i][j]);
                }
            }
        }
        for i in 0..M {
            for j in 0..N {
                L::store(sums.add(i * sums_stride + j * LANES), acc[i][j]);
            }
        }
    }
}
