//! Sixteen floats at once, in three forms: one AVX-512 register, two AVX2 registers, a plain array.
//!
//! A kernel written over [`Lanes`] computes the same operations in the same order in every form, so
//! its bits agree wherever there is a fused multiply-add. Never knows a matrix.

/// Floats of a vector, on every machine.
pub const LANES: usize = 16;

/// Operations on sixteen floats. All are lane by lane.
pub trait Lanes: Copy {
    type V: Copy;
    /// The tile of a matrix product that fills the registers: rows, and vectors across.
    const TILE: (usize, usize);
    /// Rows of a tile of three vectors across, where one fits.
    const THREE: Option<usize>;

    fn splat(x: f32) -> Self::V;
    /// # Safety
    /// Sixteen floats must be readable at `from`.
    unsafe fn load(from: *const f32) -> Self::V;
    /// # Safety
    /// Sixteen floats must be writable at `to`.
    unsafe fn store(to: *mut f32, v: Self::V);
    fn add(a: Self::V, b: Self::V) -> Self::V;
    fn sub(a: Self::V, b: Self::V) -> Self::V;
    fn mul(a: Self::V, b: Self::V) -> Self::V;
    fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Two to the power of the integer in the low bits of `1.5 * 2^23 + n`.
    fn power_of_two(biased: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the machine can.
    fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
}

/// Plain arrays. The compiler makes NEON of them on aarch64.
#[derive(Clone, Copy)]
pub struct Portable;

impl Lanes for Portable {
    type V = [f32; LANES];
    const TILE: (usize, usize) = (4, 1);
    const THREE: Option<usize> = None;

    #[inline(always)]
    fn splat(x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: the caller's promise; arrays of floats have a float's alignment.
        unsafe { *from.cast() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { *to.cast() = v }
    }
    #[inline(always)]
    fn add(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn max(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn power_of_two(biased: Self::V) -> Self::V {
        biased.map(|x| f32::from_bits((x.to_bits() << 23).wrapping_add(127 << 23)))
    }
    #[inline(always)]
    fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Without the instruction `mul_add` is a slow call of the maths library.
        const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));
        std::array::from_fn(|i| {
            if FUSED {
                a[i].mul_add(b[i], c[i])
            } else {
                a[i] * b[i] + c[i]
            }
        })
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

/// The methods here run only inside functions that enable the features (`by_form!`), which a form's
/// being current vouches for.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    #[derive(Clone, Copy)]
    pub struct Avx2;

    impl Lanes for Avx2 {
        type V = [__m256; 2];
        // 12 sums, 2 of the right operand, 1 of the left: 15 of 16 registers.
        const TILE: (usize, usize) = (6, 1);
        const THREE: Option<usize> = None;

        #[inline(always)]
        fn splat(x: f32) -> Self::V {
            // SAFETY: see the module.
            unsafe { [_mm256_set1_ps(x); 2] }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self::V {
            // SAFETY: see the module, and the caller's promise.
            unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: Self::V) {
            // SAFETY: see the module, and the caller's promise.
            unsafe {
                _mm256_storeu_ps(to, v[0]);
                _mm256_storeu_ps(to.add(8), v[1]);
            }
        }
        #[inline(always)]
        fn add(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: see the module.
            unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn sub(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: see the module.
            unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn mul(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: see the module.
            unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn max(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: see the module.
            unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn power_of_two(biased: Self::V) -> Self::V {
            // SAFETY: see the module.
            unsafe {
                let one = _mm256_set1_epi32(127 << 23);
                let low = _mm256_slli_epi32::<23>(_mm256_castps_si256(biased[0]));
                let high = _mm256_slli_epi32::<23>(_mm256_castps_si256(biased[1]));
                [
                    _mm256_castsi256_ps(_mm256_add_epi32(low, one)),
                    _mm256_castsi256_ps(_mm256_add_epi32(high, one)),
                ]
            }
        }
        #[inline(always)]
        fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            // SAFETY: see the module.
            unsafe {
                [
                    _mm256_fmadd_ps(a[0], b[0], c[0]),
                    _mm256_fmadd_ps(a[1], b[1], c[1]),
                ]
            }
        }
    }

    #[derive(Clone, Copy)]
    pub struct Avx512;

    impl Lanes for Avx512 {
        type V = __m512;
        // 28 sums, 2 of the right operand, the left one straight from memory: 30 of 32 registers.
        const TILE: (usize, usize) = (14, 2);
        const THREE: Option<usize> = Some(9);

        #[inline(always)]
        fn splat(x: f32) -> Self::V {
            // SAFETY: see the module.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self::V {
            // SAFETY: see the module, and the caller's promise.
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: Self::V) {
            // SAFETY: see the module, and the caller's promise.
            unsafe { _mm512_storeu_ps(to, v) }
        }
        #[inline(always)]
        fn add(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: see the module.
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        fn sub(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: see the module.
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        fn mul(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: see the module.
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        fn max(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: see the module.
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        fn power_of_two(biased: Self::V) -> Self::V {
            // SAFETY: see the module.
            unsafe {
                let shifted = _mm512_slli_epi32::<23>(_mm512_castps_si512(biased));
                _mm512_castsi512_ps(_mm512_add_epi32(shifted, _mm512_set1_epi32(127 << 23)))
            }
        }
        #[inline(always)]
        fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            // SAFETY: see the module.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
    }
}
