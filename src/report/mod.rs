//! What a run leaves behind and says: pictures, the strip, the output folder, the report, lines on stderr.
//! Owns files and the terminal; it must never know attention, edits or how a picture came about.

pub mod atomic;
pub mod command;
pub mod console;
pub mod downloads;
pub mod face;
pub mod html;
pub mod output;
pub mod picture;
pub mod png;
pub mod sheet;
pub mod slug;
pub mod strip;
pub mod xmp;
