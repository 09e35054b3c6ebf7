//! From noise to latents: schedulers, the controller's plan for each step, and the lockstep loop.
//! Knows rows and steps; never files, prompts as text, or the command line.

mod denoiser;
mod lockstep;
pub mod noise;
mod plan;
mod recorder;
mod rows;
mod rows_of;
mod sampler;
mod scheduler;
mod word_sums;

pub use denoiser::{Conditioning, Denoiser, Eps, Prompted};
pub use lockstep::{AttentionObserver, Lockstep, StepPlan};
pub use plan::{Controller, EditPlan, LateFactors, RowEdit, Sum};
pub use recorder::{Columns, Heads, Recorded, Recorder, Recording, Shown};
pub use rows_of::RowsOf;
pub use sampler::{Finished, Sampler, lockstep};
pub use scheduler::{Ddim, DpmPp2m, Euler, EulerA, Pndm, Scheduler, UniPc};
pub use word_sums::WordSums;
