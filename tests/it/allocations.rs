//! An allocator that records its largest request and the peak of memory in use, per thread. Tests use it to check
//! that attention builds no full map.
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with counters.
struct Watching;

thread_local! {
    /// Bytes of the largest request of this thread since the last reset. It is per thread, because other tests run at
    /// the same time.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    /// Bytes that this thread has allocated and not freed since the last reset.
    static HELD: Cell<isize> = const { Cell::new(0) };
    /// The largest value of `HELD` since the last reset.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Records a request of `size` bytes.
fn remember(size: usize) {
    LARGEST.set(LARGEST.get().max(size));
    hold(size as isize);
}

/// Records `size` bytes more, or less if negative.
fn hold(size: isize) {
    HELD.set(HELD.get() + size);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        remember(layout.size());
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        remember(layout.size());
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is that of `System`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        remember(size);
        hold(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is that of `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is that of `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// The bytes of the largest request while `work` runs on one thread.
pub fn largest_during(work: impl FnOnce() + Send) -> usize {
    on_one_thread(|| {
        LARGEST.set(0);
        work();
        LARGEST.get()
    })
}

/// The peak of bytes in use while `work` runs on one thread, beyond those in use before.
pub fn peak_during(work: impl FnOnce() + Send) -> usize {
    on_one_thread(|| {
        HELD.set(0);
        PEAK.set(0);
        work();
        PEAK.get() as usize
    })
}

/// Runs `work` in a pool of one thread.
fn on_one_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    pool.install(work)
}
