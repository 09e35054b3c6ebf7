//! The pictures of a page: relative links, or data URIs if they are embedded.
//! Owns the escaping of names in links. It must never know what a picture shows.

use std::collections::HashMap;
use std::fs;
use std::io::Cursor;
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use image::imageops::{self, FilterType};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// All characters but those without a special meaning in URLs.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The source of an `<img>` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PictureLink {
    /// A relative URL.
    Link(String),
    /// A number, and the bytes as a data URI. Other places of the page refer to the number.
    Data(usize, String),
    /// The embedded picture with this number.
    Same(usize),
}

/// The pictures of one page.
pub struct Pictures<'a> {
    /// The folder that the page shows.
    root: &'a Path,
    /// Relative path from the page to the folder.
    way: &'a Path,
    embed: bool,
    /// Numbers of the pictures that are already embedded.
    embedded: HashMap<PathBuf, usize>,
}

impl<'a> Pictures<'a> {
    /// The pictures of a page that shows the folder `root`. `way` is the relative path from the page to it.
    pub fn new(root: &'a Path, way: &'a Path, embed: bool) -> Self {
        Self {
            root,
            way,
            embed,
            embedded: HashMap::new(),
        }
    }

    /// The source of the picture `file`, a path relative to the folder.
    ///
    /// # Errors
    ///
    /// A text that says why the picture cannot be shown.
    pub fn source(&mut self, file: &Path) -> Result<PictureLink, String> {
        if !self.embed {
            return self.link(file).map(PictureLink::Link);
        }
        if let Some(number) = self.embedded.get(file) {
            return Ok(PictureLink::Same(*number));
        }
        let bytes = self.read(file)?;
        let number = self.embedded.len();
        self.embedded.insert(file.to_owned(), number);
        Ok(PictureLink::Data(number, data_uri(&bytes)))
    }

    /// The URL of a picture that the page shows only once.
    ///
    /// # Errors
    ///
    /// A text that says why the picture cannot be shown.
    pub fn url(&self, file: &Path) -> Result<String, String> {
        if self.embed {
            self.read(file).map(|bytes| data_uri(&bytes))
        } else {
            self.link(file)
        }
    }

    /// The URL of a heatmap of `[height, width]` cells. An embedded heatmap is reduced to twice its cells, which
    /// the browser enlarges as smoothly.
    ///
    /// # Errors
    ///
    /// A text that says why the heatmap cannot be shown.
    pub fn heatmap(&self, file: &Path, [height, width]: [u32; 2]) -> Result<String, String> {
        if !self.embed {
            return self.link(file);
        }
        let bytes = self.read(file)?;
        let refused = |e| format!("{}: {e}", file.display());
        let full = image::load_from_memory_with_format(&bytes, ImageFormat::Png)
            .map_err(refused)?
            .to_rgb8();
        let (w, h) = (full.width().min(2 * width), full.height().min(2 * height));
        let small = imageops::resize(&full, w.max(1), h.max(1), FilterType::Triangle);
        let mut png = Cursor::new(vec![]);
        small
            .write_to(&mut png, ImageFormat::Png)
            .map_err(refused)?;
        Ok(data_uri(png.get_ref()))
    }

    fn link(&self, file: &Path) -> Result<String, String> {
        if self.root.join(file).is_file() {
            Ok(url(&self.way.join(file)))
        } else {
            Err(format!("{} is missing", file.display()))
        }
    }

    /// Reads a picture. Other files are refused: a page that is sent to others must not contain private files.
    fn read(&self, file: &Path) -> Result<Vec<u8>, String> {
        let bytes =
            fs::read(self.root.join(file)).map_err(|e| format!("{}: {e}", file.display()))?;
        if bytes.starts_with(PNG) {
            Ok(bytes)
        } else {
            Err(format!("{} is not a PNG file", file.display()))
        }
    }
}

/// A relative path as a URL. Characters that would start a scheme, a query or an anchor are escaped.
pub fn url(path: &Path) -> String {
    let part = |part: Component| match part {
        Component::Normal(name) => {
            Some(percent_encode(name.as_encoded_bytes(), ESCAPED).to_string())
        }
        Component::ParentDir => Some("..".to_owned()),
        _ => None,
    };
    let parts: Vec<String> = path.components().filter_map(part).collect();
    parts.join("/")
}

fn data_uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}
