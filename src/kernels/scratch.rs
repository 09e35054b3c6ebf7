//! Memory that tasks on several threads work in: each thread's scratch, and one output for all.

use std::cell::RefCell;

/// A pointer that tasks on several threads write through, each its own part.
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
    /// `offset..offset + len` must lie inside the slice, and nobody else may use it meanwhile.
    pub unsafe fn slice<'a>(self, offset: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(offset), len) }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(vec![]) };
}

/// Lends this thread's scratch, cut into parts of `N` lengths, of unspecified content.
pub fn with_scratch<const N: usize, R>(
    lens: [usize; N],
    f: impl FnOnce([&mut [f32]; N]) -> R,
) -> R {
    // Taken out while lent: a nested use gets a scratch of its own instead of a panic.
    let mut scratch = SCRATCH.with(RefCell::take);
    let len = lens.iter().sum();
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    let mut rest = &mut scratch[..len];
    let parts = lens.map(|len| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(len);
        rest = after;
        part
    });
    let result = f(parts);
    SCRATCH.with(|cell| *cell.borrow_mut() = scratch);
    result
}
