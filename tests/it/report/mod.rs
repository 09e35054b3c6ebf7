//! Tests of `src/report/`, a file for each part, on real folders and without a model.

mod browser;
mod browser_loading;
mod chromium;
mod command;
mod console;
mod gallery;
mod html;
mod links;
mod output;
mod picture;
mod sheet;
mod slug;
mod strip;
