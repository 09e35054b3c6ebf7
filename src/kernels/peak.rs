//! The peak rate of multiply-adds of this machine: the figure that kernels are measured against. This file
//! never knows a kernel.
#![allow(unsafe_code, reason = "the loop loads and stores whole vectors")]

use std::time::Instant;

use super::form::by_form;
use super::lanes::{LANES, Lanes};

/// Rows of the tallest tile of all forms.
const TALLEST: usize = 14;

/// Measures the rate of fused multiply-adds on registers, on all threads of the pool, in FLOP per second.
pub fn fma_peak() -> f64 {
    const ROUNDS: usize = 1 << 21;
    let once = || {
        let start = Instant::now();
        let flop = rayon::broadcast(|_| {
            // All values differ: the compiler would compute equal chains only once.
            let mut sums: [f32; TALLEST * LANES] = std::array::from_fn(|i| i as f32);
            // SAFETY: the sums are as long as the tallest tile.
            unsafe { spin(ROUNDS, &mut sums) };
            std::hint::black_box(sums);
            (2 * LANES * ROUNDS * chains()) as f64
        });
        flop.iter().sum::<f64>() / start.elapsed().as_secs_f64()
    };
    (0..7).map(|_| once()).fold(0.0, f64::max)
}

/// Independent chains of multiply-adds that the current form runs.
fn chains() -> usize {
    use super::form::Form;
    match Form::current() {
        #[cfg(target_arch = "x86_64")]
        Form::Avx512 => super::lanes::Avx512::TILE.0,
        #[cfg(target_arch = "x86_64")]
        Form::Avx2 => super::lanes::Avx2::TILE.0,
        _ => super::lanes::Portable::TILE.0,
    }
}

by_form! {
    /// Runs `rounds` multiply-adds on each chain.
    ///
    /// # Safety
    /// No tile of the current form may be taller than `TALLEST`.
    unsafe fn spin = spin_in(rounds: usize, sums: &mut [f32; TALLEST * LANES])
}

#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn spin_in<L: Lanes>(lanes: L, rounds: usize, sums: &mut [f32; TALLEST * LANES]) {
    let sums = sums.as_mut_ptr();
    let (a, b) = (lanes.splat(0.999), lanes.splat(0.001));
    let mut acc = [lanes.splat(1.0); TALLEST];
    for i in 0..L::TILE.0 {
        // SAFETY: `i` is less than `TALLEST`, as the caller guarantees.
        acc[i] = unsafe { lanes.load(sums.add(i * LANES)) };
    }
    for _ in 0..rounds {
        for i in 0..L::TILE.0 {
            acc[i] = lanes.fma(acc[i], a, b);
        }
    }
    for i in 0..L::TILE.0 {
        // SAFETY: `i` is less than `TALLEST`, as the caller guarantees.
        unsafe { lanes.store(sums.add(i * LANES), acc[i]) };
    }
}
