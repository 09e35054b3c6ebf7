//! `p2p info`: what a picture's metadata says.

use std::path::Path;

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::metadata::{Info, PictureMetadata};
use prompt_to_prompt::report::png::{self, Contents};
use prompt_to_prompt::report::xmp::source_type;

use super::print;
use crate::cli::InfoArgs;

pub fn info(args: &InfoArgs) -> Result<()> {
    let picture = PictureFile::open(&args.file)?;
    let info = Info::new(&picture.contents, picture.found);
    print(&match args.json {
        true => info.to_json(),
        false => info.to_string(),
    })
}

/// A picture with a metadata.
pub(super) struct PictureFile {
    pub bytes: Vec<u8>,
    pub contents: Contents,
    pub found: PictureMetadata,
}

impl PictureFile {
    /// Errors: usage, where it is no picture that tells something.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let bytes = std::fs::read(path)
            .map_err(|e| Error::usage(format!("cannot read {name}: {e}"), "give a PNG picture"))?;
        let contents = png::read(&bytes).map_err(|what| {
            Error::usage(
                format!("{name} {what}"),
                "give a PNG picture as the program that drew it has written it",
            )
        })?;
        let found = PictureMetadata::in_png(&contents)?.ok_or_else(|| {
            match source_type(&contents.texts) {
                // Strips and sheets show several pictures, each of which has a metadata of its own.
                Some(kind) => Error::usage(
                    format!("{name} says that it is {kind}, but not how it was drawn"),
                    "give a single picture, such as edited-1.png beside a strip",
                ),
                None => Error::usage(
                    format!("{name} says nothing of how it was drawn"),
                    "give a picture that was not stripped of its metadata, as --no-metadata does",
                ),
            }
        })?;
        Ok(Self {
            bytes,
            contents,
            found,
        })
    }
}
