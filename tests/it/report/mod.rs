//! What floor 6 writes and says, on real folders and without a model.
//! Owns the tests of `src/report/`, a file each.

mod browser;
mod chromium;
mod command;
mod console;
mod gallery;
mod html;
mod output;
mod picture;
mod sheet;
mod slug;
mod strip;
