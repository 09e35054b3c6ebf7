//! From noise to latents: schedulers, the controller's plan for each step, the lockstep loop, and those
//! who watch it. It knows rows and steps, and must never know files, prompts as text, or the command line.

mod lockstep;
pub mod noise;
mod plan;
mod recorder;
mod rows;
mod rows_of;
mod sampler;
mod scheduler;
mod word_sums;

pub use lockstep::{AttentionObserver, Lockstep, StepPlan};
pub use plan::{Controller, EditPlan, LateFactors, RowEdit, Sum};
pub use recorder::{Columns, Heads, Recorded, Recorder, Recording, Shown};
pub use rows_of::RowsOf;
pub use sampler::{Finished, Sampler, Start, lockstep};
pub use scheduler::{Ddim, DpmPp2m, Euler, EulerA, Pndm, Scheduler, SchedulerName, UniPc};
pub use word_sums::WordSums;
