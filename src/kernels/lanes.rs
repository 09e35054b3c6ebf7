//! Vectors of sixteen floats in three forms: one AVX-512 register, two AVX2 registers, or a plain array.
//!
//! A kernel that is generic over [`Lanes`] computes the same operations in the same order in every form.
//! Its result has the same bits on every machine that has a fused multiply-add instruction.
//! This file never knows what a matrix is.
#![allow(
    unsafe_code,
    reason = "vector instructions and loads through raw pointers"
)]

/// Floats per vector, on every machine.
pub const LANES: usize = 16;

/// Operations on vectors of sixteen floats. Every operation works lane by lane.
///
/// A value of an implementing type is a proof that the processor supports the instructions of this form.
/// That is why the arithmetic methods are safe.
pub trait Lanes: Copy {
    /// A vector of sixteen floats.
    type V: Copy;
    /// The tile of a matrix product that fills the registers: rows, and vectors per row.
    const TILE: (usize, usize);
    /// Rows of a tile that is three vectors wide, if such a tile fits into the registers.
    const THREE: Option<usize>;

    /// A vector with `x` in every lane.
    fn splat(self, x: f32) -> Self::V;
    /// Loads sixteen floats.
    ///
    /// # Safety
    /// Sixteen floats must be readable at `from`.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// Stores sixteen floats.
    ///
    /// # Safety
    /// Sixteen floats must be writable at `to`.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger one of `a` and `b`.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Two to the power of `n`, where `biased` is `1.5 * 2^23 + n` and `n` is an integer.
    fn power_of_two(self, biased: Self::V) -> Self::V;
    /// `a * b + c`. Rounds once if the machine has a fused instruction, otherwise twice.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
}

/// The form for every machine: plain arrays, which the compiler turns into NEON instructions on aarch64.
#[derive(Clone, Copy)]
pub struct Portable;

impl Lanes for Portable {
    type V = [f32; LANES];
    const TILE: (usize, usize) = (4, 1);
    const THREE: Option<usize> = None;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::V {
        // SAFETY: the caller guarantees sixteen readable floats. An array has the alignment of its elements.
        unsafe { *from.cast() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: Self::V) {
        // SAFETY: the caller guarantees sixteen writable floats. An array has the alignment of its elements.
        unsafe { *to.cast() = v }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn power_of_two(self, biased: Self::V) -> Self::V {
        biased.map(|x| f32::from_bits((x.to_bits() << 23).wrapping_add(127 << 23)))
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Without the instruction, `mul_add` is a slow call into the maths library.
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

/// The forms for x86-64. Each one is a token without size. Its only constructor is `unsafe` and requires
/// that the processor supports the instructions. The methods must be inlined into a function that enables
/// the features (`by_form!`), else each instruction becomes a function call.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    /// Two AVX2 registers, with FMA. A value proves that the processor supports both.
    #[derive(Clone, Copy)]
    pub struct Avx2(());

    impl Avx2 {
        /// Makes the token.
        ///
        /// # Safety
        /// The processor must support AVX2 and FMA.
        #[inline(always)]
        pub unsafe fn assume_supported() -> Self {
            Self(())
        }
    }

    impl Lanes for Avx2 {
        type V = [__m256; 2];
        // 12 registers of sums, 2 of the right operand, 1 of the left operand: 15 of 16.
        const TILE: (usize, usize) = (6, 1);
        const THREE: Option<usize> = None;

        #[inline(always)]
        fn splat(self, x: f32) -> Self::V {
            // SAFETY: `self` proves AVX2 and FMA.
            unsafe { [_mm256_set1_ps(x); 2] }
        }
        #[inline(always)]
        unsafe fn load(self, from: *const f32) -> Self::V {
            // SAFETY: `self` proves AVX2 and FMA. The caller guarantees sixteen readable floats.
            unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32, v: Self::V) {
            // SAFETY: `self` proves AVX2 and FMA. The caller guarantees sixteen writable floats.
            unsafe {
                _mm256_storeu_ps(to, v[0]);
                _mm256_storeu_ps(to.add(8), v[1]);
            }
        }
        #[inline(always)]
        fn add(self, a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX2 and FMA.
            unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn sub(self, a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX2 and FMA.
            unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn mul(self, a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX2 and FMA.
            unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn max(self, a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX2 and FMA.
            unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
        }
        #[inline(always)]
        fn power_of_two(self, biased: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX2 and FMA.
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
        fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX2 and FMA.
            unsafe {
                [
                    _mm256_fmadd_ps(a[0], b[0], c[0]),
                    _mm256_fmadd_ps(a[1], b[1], c[1]),
                ]
            }
        }
    }

    /// One AVX-512 register. A value proves that the processor supports AVX-512 F.
    #[derive(Clone, Copy)]
    pub struct Avx512(());

    impl Avx512 {
        /// Makes the token.
        ///
        /// # Safety
        /// The processor must support AVX-512 F.
        #[inline(always)]
        pub unsafe fn assume_supported() -> Self {
            Self(())
        }
    }

    impl Lanes for Avx512 {
        type V = __m512;
        // 28 registers of sums, 2 of the right operand, the left operand straight from memory: 30 of 32.
        const TILE: (usize, usize) = (14, 2);
        const THREE: Option<usize> = Some(9);

        #[inline(always)]
        fn splat(self, x: f32) -> Self::V {
            // SAFETY: `self` proves AVX-512 F.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(self, from: *const f32) -> Self::V {
            // SAFETY: `self` proves AVX-512 F. The caller guarantees sixteen readable floats.
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32, v: Self::V) {
            // SAFETY: `self` proves AVX-512 F. The caller guarantees sixteen writable floats.
            unsafe { _mm512_storeu_ps(to, v) }
        }
        #[inline(always)]
        fn add(self, a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX-512 F.
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        fn sub(self, a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX-512 F.
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        fn mul(self, a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX-512 F.
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        fn max(self, a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX-512 F.
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        fn power_of_two(self, biased: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX-512 F.
            unsafe {
                let shifted = _mm512_slli_epi32::<23>(_mm512_castps_si512(biased));
                _mm512_castsi512_ps(_mm512_add_epi32(shifted, _mm512_set1_epi32(127 << 23)))
            }
        }
        #[inline(always)]
        fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            // SAFETY: `self` proves AVX-512 F.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
    }
}
