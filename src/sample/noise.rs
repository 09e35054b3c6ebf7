//! Seeded Gaussian noise, equal to `torch.randn` on the CPU, so that a seed gives the same picture here
//! and in a Python notebook.
//! Owns the order of the draws from the generator and their transform to normals. It must never know
//! devices or shapes: callers reshape the list.
//!
//! The integers are exact. The transform runs in f64 and rounds to f32 once. The platform's `ln` and `cos`
//! may differ in the last bit of an f64, and about one value in 2^28 shows that difference after rounding,
//! so machines agree. torch's vectorised f32 forms lie within 1e-6.

use std::f64::consts::TAU;

use rand_mt::Mt;

/// torch fills lists of at least this length in blocks of this length.
const BLOCK: usize = 16;
const HALF: usize = BLOCK / 2;

/// `len` standard normals from a fresh generator:
/// `torch.randn(len, generator=torch.Generator("cpu").manual_seed(seed))`.
///
/// Only the low 32 bits of `seed` count, as in torch.
///
/// ```
/// use prompt_to_prompt::sample::noise::randn;
///
/// // torch.randn(2, generator=torch.Generator("cpu").manual_seed(0))
/// let [a, b] = randn(0, 2)[..] else { unreachable!() };
/// assert!((a - 1.5410).abs() < 1e-4 && (b - -0.2934).abs() < 1e-4);
/// ```
pub fn randn(seed: u64, len: usize) -> Vec<f32> {
    TorchRng::new(seed).randn(len)
}

/// torch's CPU generator. Two draws equal two calls of `torch.randn`.
#[derive(Debug, Clone)]
pub struct TorchRng {
    engine: Mt,
    /// The scalar path makes normals in pairs and keeps the second one for its next draw, across calls.
    /// Block fills neither use nor drop it.
    spare: Option<f64>,
}

impl TorchRng {
    /// The generator of `torch.Generator("cpu").manual_seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self {
            // torch truncates the seed as well.
            engine: Mt::new(seed as u32),
            spare: None,
        }
    }

    /// The next raw 32-bit integer.
    pub fn next_u32(&mut self) -> u32 {
        self.engine.next_u32()
    }

    /// The next `len` standard normals.
    pub fn randn(&mut self, len: usize) -> Vec<f32> {
        if len >= BLOCK {
            self.fill_blocks(len)
        } else {
            (0..len).map(|_| self.scalar_normal() as f32).collect()
        }
    }

    /// Draws all uniforms, then transforms whole blocks in place. As in torch, a remainder is covered by one
    /// more block over the *last* 16 values with fresh uniforms, so some values are made twice.
    fn fill_blocks(&mut self, len: usize) -> Vec<f32> {
        let mut values: Vec<f32> = (0..len).map(|_| self.uniform24()).collect();
        values.chunks_exact_mut(BLOCK).for_each(box_muller);
        if !len.is_multiple_of(BLOCK) {
            let tail = &mut values[len - BLOCK..];
            tail.fill_with(|| self.uniform24());
            box_muller(tail);
        }
        values
    }

    fn scalar_normal(&mut self) -> f64 {
        if let Some(value) = self.spare.take() {
            return value;
        }
        let (u1, u2) = (self.uniform53(), self.uniform53());
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let (sin, cos) = (TAU * u1).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// Uniform in [0, 1) with the 24 bits an f32 can hold.
    fn uniform24(&mut self) -> f32 {
        (self.next_u32() & 0xff_ffff) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in [0, 1) with the 53 bits an f64 can hold; the high word is drawn first.
    fn uniform53(&mut self) -> f64 {
        let (high, low) = (u64::from(self.next_u32()), u64::from(self.next_u32()));
        ((high << 32 | low) & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }
}

/// Turns 16 uniforms into 16 normals in place (Box-Muller). Value `j` of the first half is paired with
/// value `j` of the second half.
fn box_muller(block: &mut [f32]) {
    let (first, second) = block.split_at_mut(HALF);
    for (a, b) in first.iter_mut().zip(second) {
        // In (0, 1], so the logarithm is finite; exact in f32, so also in f64.
        let u1 = 1.0 - f64::from(*a);
        let radius = (-2.0 * u1.ln()).sqrt();
        let (sin, cos) = (TAU * f64::from(*b)).sin_cos();
        *a = (radius * cos) as f32;
        *b = (radius * sin) as f32;
    }
}
