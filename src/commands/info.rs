//! `p2p info`: prints the metadata of a picture. Owns how a picture file is opened; it must never load a model.

use std::path::Path;

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::metadata::{Info, PictureMetadata};
use prompt_to_prompt::report::png::{self, Contents};
use prompt_to_prompt::report::xmp::source_type;

use super::print;
use crate::cli::InfoArgs;

/// Runs `p2p info`.
///
/// # Errors
/// A usage error if the file is not a PNG picture with metadata.
pub fn info(args: &InfoArgs) -> Result<()> {
    let picture = PictureFile::open(&args.file)?;
    let info = Info::new(&picture.contents, picture.found);
    print(&if args.json {
        info.to_json()
    } else {
        info.to_string()
    })
}

/// A PNG picture with metadata.
pub(super) struct PictureFile {
    /// The bytes of the file.
    pub bytes: Vec<u8>,
    /// The size and the text chunks of the PNG.
    pub contents: Contents,
    /// The metadata.
    pub found: PictureMetadata,
}

impl PictureFile {
    /// Opens a picture.
    ///
    /// # Errors
    /// A usage error if the file cannot be read, is not a PNG, or has no metadata.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let bytes = std::fs::read(path)
            .map_err(|e| Error::usage(format!("cannot read {name}: {e}"), "give a PNG picture"))?;
        let contents = png::read(&bytes).map_err(|what| {
            Error::usage(
                format!("{name} {what}"),
                "give the PNG picture as the program that drew it wrote it",
            )
        })?;
        let found = PictureMetadata::in_png(&contents)?.ok_or_else(|| {
            match source_type(&contents.texts) {
                // Strips and sheets show several pictures, which have metadata of their own.
                Some(kind) => Error::usage(
                    format!("{name} is marked as {kind}, but has no metadata of how it was drawn"),
                    "give a single picture, such as edited-1.png beside a strip",
                ),
                None => Error::usage(
                    format!("{name} has no metadata of how it was drawn"),
                    "give a picture whose metadata was not removed; with --no-metadata p2p writes none",
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
