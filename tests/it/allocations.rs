//! An allocator that remembers its largest request, for the law that no map is ever built, and how much
//! stood in memory at most.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Watching;

thread_local! {
    /// Largest request of this thread since the last reset: other tests run beside this one.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    /// Bytes that this thread holds, less those it held at the last reset, and their peak since.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn remember(size: usize) {
    LARGEST.set(LARGEST.get().max(size));
    hold(size as isize);
}

fn hold(size: isize) {
    HELD.set(HELD.get() + size);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        remember(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        remember(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        remember(size);
        hold(-(layout.size() as isize));
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// Bytes of the largest request while `work` runs, all of it on one thread.
pub fn largest_during(work: impl FnOnce() + Send) -> usize {
    on_one_thread(|| {
        LARGEST.set(0);
        work();
        LARGEST.get()
    })
}

/// Bytes at most that stand in memory beyond those before `work`, all of it on one thread.
pub fn peak_during(work: impl FnOnce() + Send) -> usize {
    on_one_thread(|| {
        HELD.set(0);
        PEAK.set(0);
        work();
        PEAK.get() as usize
    })
}

fn on_one_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    pool.install(work)
}
