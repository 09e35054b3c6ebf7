//! How fast this machine multiplies and adds at best: what kernels are measured against.

use std::time::Instant;

use super::form::by_form;
use super::lanes::{LANES, Lanes};

/// FLOP per second of fused multiply-adds on registers alone, on all threads of the pool.
pub fn fma_peak() -> f64 {
    const ROUNDS: usize = 1 << 21;
    let once = || {
        let start = Instant::now();
        let flop = rayon::broadcast(|_| {
            // All different: equal chains would be computed once.
            let mut sums: [f32; 14 * LANES] = std::array::from_fn(|i| i as f32);
            // SAFETY: the sums are as long as the tallest tile asks.
            unsafe { spin(ROUNDS, sums.as_mut_ptr()) };
            std::hint::black_box(sums);
            (2 * LANES * ROUNDS * chains()) as f64
        });
        flop.iter().sum::<f64>() / start.elapsed().as_secs_f64()
    };
    (0..7).map(|_| once()).fold(0.0, f64::max)
}

/// Independent sums of the form in use.
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
    /// # Safety
    /// `sums` must hold `TILE.0` vectors.
    pub unsafe fn spin = spin_in(rounds: usize, sums: *mut f32)
}

#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn spin_in<L: Lanes>(rounds: usize, sums: *mut f32) {
    let (a, b) = (L::splat(0.999), L::splat(0.001));
    let mut acc = [L::splat(1.0); 14];
    for i in 0..L::TILE.0 {
        // SAFETY: the caller's promise.
        acc[i] = unsafe { L::load(sums.add(i * LANES)) };
    }
    for _ in 0..rounds {
        for i in 0..L::TILE.0 {
            acc[i] = L::fma(acc[i], a, b);
        }
    }
    for i in 0..L::TILE.0 {
        // SAFETY: the caller's promise.
        unsafe { L::store(sums.add(i * LANES), acc[i]) };
    }
}
