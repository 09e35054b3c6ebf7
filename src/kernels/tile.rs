//! Matrix products over tiles: the one place that calls the `gemm` crate and writes through raw
//! pointers from several threads.

use std::cell::RefCell;

use rayon::prelude::*;

/// Tokens and output channels of a tile. Large enough that packing an operand costs little beside
/// the product, small enough that a small picture still gives every core a tile.
const TOKENS: usize = 64;
const CHANNELS: usize = 256;

/// Strides of a matrix operand, in floats.
#[derive(Clone, Copy)]
pub struct Strides {
    pub row: usize,
    pub col: usize,
}

impl Strides {
    pub fn rows_of(cols: usize) -> Self {
        Self { row: cols, col: 1 }
    }
}

/// `dst = dst * keep + scale * lhs . rhs` on one thread; `keep` is 0 or 1.
///
/// # Safety
/// `dst`, `lhs`, `rhs` must be valid for `m x n`, `m x k`, `k x n` elements at their strides, and no
/// other thread may touch these elements of `dst`.
#[allow(clippy::too_many_arguments)]
pub unsafe fn product(
    (m, n, k): (usize, usize, usize),
    dst: *mut f32,
    dst_strides: Strides,
    keep: bool,
    lhs: *const f32,
    lhs_strides: Strides,
    rhs: *const f32,
    rhs_strides: Strides,
    scale: f32,
) {
    let signed = |s: Strides| (s.col as isize, s.row as isize);
    let ((dc, dr), (lc, lr), (rc, rr)) = (
        signed(dst_strides),
        signed(lhs_strides),
        signed(rhs_strides),
    );
    // SAFETY: the caller's promise, passed on.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst,
            dc,
            dr,
            keep,
            lhs,
            lc,
            lr,
            rhs,
            rc,
            rr,
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// A pointer that tiles on several threads write through, each its own part.
#[derive(Clone, Copy)]
pub struct Shared(*mut f32);

// SAFETY: users write disjoint parts; each says why.
unsafe impl Send for Shared {}
unsafe impl Sync for Shared {}

impl Shared {
    pub fn new(slice: &mut [f32]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// # Safety
    /// `offset` must lie inside the slice.
    pub unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(offset) }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(vec![]) };
}

/// Lends this thread's scratch, `len` floats of unspecified content.
pub fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    // Taken out while lent: a nested use gets a scratch of its own instead of a panic.
    let mut scratch = SCRATCH.with(RefCell::take);
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    let result = f(&mut scratch[..len]);
    SCRATCH.with(|cell| *cell.borrow_mut() = scratch);
    result
}

/// `[rows, m, k] . [k, n] + bias`, where `fill(row, first, tokens, lhs)` writes the left operand's
/// lines `first..first + tokens` of a row. Returns `[rows, m, n]`.
pub fn product_by_tiles(
    (rows, m, n, k): (usize, usize, usize, usize),
    weight: &[f32],
    bias: Option<&[f32]>,
    fill: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    assert_eq!(weight.len(), k * n);
    let mut out = vec![0f32; rows * m * n];
    let dst = Shared::new(&mut out);
    let (down, across) = (m.div_ceil(TOKENS), n.div_ceil(CHANNELS));
    (0..rows * down * across).into_par_iter().for_each(|tile| {
        let (row, rest) = (tile / (down * across), tile % (down * across));
        let (i, j) = (rest / across * TOKENS, rest % across * CHANNELS);
        let (tokens, channels) = (TOKENS.min(m - i), CHANNELS.min(n - j));
        with_scratch(tokens * k, |lhs| {
            fill(row, i, lhs);
            // SAFETY: the tile is tokens i.. and channels j.. of one row, inside `out`; no other
            // tile has both.
            unsafe {
                let first = dst.at((row * m + i) * n + j);
                if let Some(bias) = bias {
                    for t in 0..tokens {
                        let line = std::slice::from_raw_parts_mut(first.add(t * n), channels);
                        line.copy_from_slice(&bias[j..j + channels]);
                    }
                }
                product(
                    (tokens, channels, k),
                    first,
                    Strides::rows_of(n),
                    bias.is_some(),
                    lhs.as_ptr(),
                    Strides::rows_of(k),
                    weight[j..].as_ptr(),
                    Strides::rows_of(n),
                    1.0,
                );
            }
        });
    });
    out
}
