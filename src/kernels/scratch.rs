//! Memory that tasks on several threads work in: the scratch of each thread, and one output for all tasks.
//! This file never knows what the floats mean.
#![allow(
    unsafe_code,
    reason = "tasks on several threads write disjoint parts of one slice"
)]

use std::cell::RefCell;
use std::marker::PhantomData;

/// A slice that tasks on several threads write to, each task to a part of its own.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    first: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: `Shared` stands for a `&mut [f32]`, which can move to another thread. Access is possible only
// through `slice`, whose callers guarantee disjoint parts.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above. A `&Shared` gives no access beyond `slice`.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Borrows `slice` for as long as any copy of the result lives.
    pub fn new(slice: &'a mut [f32]) -> Self {
        Self {
            first: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// The part `offset..offset + len` of the slice.
    ///
    /// # Panics
    /// If the part reaches beyond the end of the slice.
    ///
    /// # Safety
    /// No other part that is in use at the same time may overlap this one.
    pub unsafe fn slice(self, offset: usize, len: usize) -> &'a mut [f32] {
        let inside = offset <= self.len && len <= self.len - offset;
        assert!(inside, "{offset} + {len} of {} floats", self.len);
        // SAFETY: the part lies inside the borrowed slice, and the caller guarantees that nobody else
        // uses it.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(offset), len) }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(vec![]) };
}

/// Lends the scratch of this thread to `f`, cut into `N` parts of the given lengths in floats. The content
/// of the parts is unspecified.
pub fn with_scratch<const N: usize, R>(
    lens: [usize; N],
    f: impl FnOnce([&mut [f32]; N]) -> R,
) -> R {
    // The scratch is taken out while it is lent: a nested call gets a scratch of its own, not a panic.
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
