//! What floor 6 writes and says, on real folders and without a model.
//! Owns the tests of `src/report/`, a file each.

mod console;
mod output;
mod picture;
mod slug;
mod strip;
