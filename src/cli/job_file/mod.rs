//! Job files: TOML whose keys are the flags of the command line. [`read()`] turns a file into entries and a list
//! of all its problems; [`Entry::job_request`] turns an entry into a job to draw.

mod axes;
mod entry;
mod example;
mod grid;
mod name;
mod overrides;
mod problem;
mod read;
mod recorded;
mod schema;
mod tables;
mod text;
mod unknown;
mod unreadable;
mod value;
mod vocabulary;

pub use entry::{Entry, JobRequest};
pub use example::EXAMPLE;
pub use grid::{Axis, Value as AxisValue, axis_of};
pub use name::plain;
pub use overrides::{Base, Overrides};
pub use problem::{Problem, Sources};
pub use read::{JobFile, read};
pub use recorded::Repeat;
pub use schema::schema;
pub use vocabulary::{KeyValues, Vocabulary};
