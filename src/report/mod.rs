//! The output of a run: pictures, the strip, the output folder, the report page, messages on stderr.
//! Owns files and the terminal. It must never know attention, edits or how a picture is computed.

pub mod atomic;
pub mod command;
pub mod console;
pub mod downloads;
pub mod face;
pub mod html;
pub mod output;
pub mod sheet;
pub mod strip;
pub mod xmp;

pub use crate::picture::{png, rgb as picture};
pub use crate::slug;
