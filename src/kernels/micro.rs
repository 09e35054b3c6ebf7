//! The inner loops of every matrix product: a block of the left operand times packed panels of the
//! right operand, added to a block of sums.
//!
//! Each sum is one chain of fused multiply-adds over ascending `k`, for every tile, block and form. Storing
//! a register between two blocks of `k` and loading it again loses nothing. That is why the bits of an
//! output depend neither on rows, nor on threads, nor on the width of the machine's vectors.
//! This file never knows what the sums are for.
#![allow(unsafe_code, reason = "the loops read and write through raw pointers")]

use super::form::by_form;
use super::lanes::{LANES, Lanes};

/// Terms of a sum that are taken at a time. A tile's panels of this many lines stay in the L1 cache.
pub const TERMS: usize = 256;

/// The left operand: a matrix that is read by rows.
#[derive(Clone, Copy)]
pub struct Lhs<'a> {
    /// The floats from the first row on.
    pub floats: &'a [f32],
    /// Floats from one row to the next.
    pub stride: usize,
    /// Number of rows.
    pub rows: usize,
}

/// The right operand: panels of sixteen columns, each `[k, 16]`.
#[derive(Clone, Copy)]
pub struct Panels<'a> {
    /// The floats from the first panel on.
    pub floats: &'a [f32],
    /// Number of panels.
    pub count: usize,
    /// Floats from one panel to the next.
    pub stride: usize,
}

/// The sums, `[rows, panels * 16]`.
pub struct Sums<'a> {
    /// The floats from the first row on.
    pub floats: &'a mut [f32],
    /// Floats from one row to the next.
    pub stride: usize,
}

/// Floats that `lines` lines of `len` floats span, if each line begins `stride` floats after the last one.
fn span(lines: usize, stride: usize, len: usize) -> usize {
    match lines {
        0 => 0,
        _ => (lines - 1) * stride + len,
    }
}

/// Computes `sums = lhs . panels` over `k` terms, or `sums += lhs . panels` if `go_on`.
///
/// # Panics
/// If an operand has fewer floats than its shape says.
pub fn accumulate(k: usize, lhs: Lhs, panels: Panels, sums: Sums, go_on: bool) {
    assert!(
        span(lhs.rows, lhs.stride, k) <= lhs.floats.len(),
        "the left operand is too short"
    );
    assert!(
        span(panels.count, panels.stride, k * LANES) <= panels.floats.len(),
        "the panels are too short"
    );
    assert!(
        span(lhs.rows, sums.stride, panels.count * LANES) <= sums.floats.len(),
        "the sums are too short"
    );
    let tile = Tile {
        k,
        left: lhs.floats.as_ptr(),
        left_stride: lhs.stride,
        right: panels.floats.as_ptr(),
        right_stride: panels.stride,
        sums: sums.floats.as_mut_ptr(),
        sums_stride: sums.stride,
        go_on,
    };
    // SAFETY: the operands have enough floats, as checked above, and `sums` is borrowed mutably.
    unsafe { accumulate_unchecked(tile, lhs.rows, panels.count) }
}

/// Pointers to a tile of sums and its operands.
#[derive(Clone, Copy)]
struct Tile {
    /// Terms of each sum.
    k: usize,
    left: *const f32,
    left_stride: usize,
    right: *const f32,
    right_stride: usize,
    sums: *mut f32,
    sums_stride: usize,
    /// Whether the products are added to the sums that are there.
    go_on: bool,
}

by_form! {
    /// # Safety
    /// `all.left` must have `rows` rows of `k` floats, `all.right` `count` panels of `k` lines, and
    /// `all.sums` `rows` rows of `16 * count` floats that nobody else uses.
    unsafe fn accumulate_unchecked = accumulate_in(all: Tile, rows: usize, count: usize)
}

#[inline(always)]
unsafe fn accumulate_in<L: Lanes>(lanes: L, all: Tile, rows: usize, count: usize) {
    for done in (0..all.k).step_by(TERMS) {
        let mut at = 0;
        while at < count {
            let across = match count - at {
                // A pair and a single vector would be slower: the single one has too few sums to hide
                // the latency of its instructions.
                3 if L::THREE.is_some() => 3,
                left => L::TILE.1.min(left),
            };
            // SAFETY: `done < k` and `at < count`, so the offsets stay inside what the caller guarantees.
            unsafe {
                let part = Tile {
                    k: TERMS.min(all.k - done),
                    left: all.left.add(done),
                    right: all.right.add(at * all.right_stride + done * LANES),
                    sums: all.sums.add(at * LANES),
                    go_on: all.go_on || done > 0,
                    ..all
                };
                match across {
                    3 => column::<L, 3>(lanes, part, rows),
                    2 => column::<L, 2>(lanes, part, rows),
                    _ => column::<L, 1>(lanes, part, rows),
                }
            }
            at += across;
        }
    }
}

/// Rows of a tile that is `N` vectors wide, or 0 if the form has no such tile.
#[inline(always)]
fn tall<L: Lanes, const N: usize>() -> usize {
    match N {
        3 => L::THREE.unwrap_or(0),
        n if n <= L::TILE.1 => L::TILE.0,
        _ => 0,
    }
}

/// Computes all rows of the columns of one tile.
///
/// # Safety
/// As for `accumulate_unchecked`, with `N` panels.
#[inline(always)]
unsafe fn column<L: Lanes, const N: usize>(lanes: L, all: Tile, count: usize) {
    let mut row = 0;
    while row < count {
        let rows = tall::<L, N>().min(count - row);
        // SAFETY: `rows` rows from `row` on lie inside both operands, whose size the caller guarantees.
        unsafe {
            let part = Tile {
                left: all.left.add(row * all.left_stride),
                sums: all.sums.add(row * all.sums_stride),
                ..all
            };
            macro_rules! rows {
                ($($m:literal)*) => {
                    match rows {
                        $($m => tile::<L, $m, N>(lanes, part),)*
                        _ => unreachable!("a tile has at most 14 rows"),
                    }
                };
            }
            rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        }
        row += rows;
    }
}

/// Computes one tile of `M` rows and `N` vectors.
///
/// # Safety
/// As for `accumulate_unchecked`, with `M` rows and `N` panels.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn tile<L: Lanes, const M: usize, const N: usize>(lanes: L, at: Tile) {
    if M > tall::<L, N>() {
        return; // Never called. This check keeps larger tiles out of the code of smaller forms.
    }
    // Index loops, no closures: the compiler would compile a closure, or an iterator over vectors, without
    // the features that the surrounding function enables.
    let mut acc = [[lanes.splat(0.0); N]; M];
    // SAFETY: the caller guarantees M rows, N panels and k terms.
    unsafe {
        if at.go_on {
            for i in 0..M {
                for j in 0..N {
                    acc[i][j] = lanes.load(at.sums.add(i * at.sums_stride + j * LANES));
                }
            }
        }
        for term in 0..at.k {
            let mut b = [lanes.splat(0.0); N];
            for j in 0..N {
                b[j] = lanes.load(at.right.add(j * at.right_stride + term * LANES));
            }
            for i in 0..M {
                let a = lanes.splat(*at.left.add(i * at.left_stride + term));
                for j in 0..N {
                    acc[i][j] = lanes.fma(a, b[j], acc[i][j]);
                }
            }
        }
        for i in 0..M {
            for j in 0..N {
                lanes.store(at.sums.add(i * at.sums_stride + j * LANES), acc[i][j]);
            }
        }
    }
}
