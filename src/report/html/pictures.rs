//! Where the page finds a picture: a link from its own place, or the bytes themselves.
//! Owns the escaping of names in links; it must never know what a picture shows.

use std::collections::HashMap;
use std::fs;
use std::io::Cursor;
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use image::imageops::{self, FilterType};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// All but what has no meaning anywhere in a link.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Where an `<img>` has its picture from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PictureLink {
    Link(String),
    /// The bytes as a data URI, and the number that the same picture has elsewhere on the page.
    Data(usize, String),
    /// The data under this number.
    Same(usize),
}

/// The pictures of one page.
pub struct Pictures<'a> {
    /// The folder that is shown.
    root: &'a Path,
    /// The way to it from where the page is.
    way: &'a Path,
    embed: bool,
    /// What stands in the page already.
    embedded: HashMap<PathBuf, usize>,
}

impl<'a> Pictures<'a> {
    pub fn new(root: &'a Path, way: &'a Path, embed: bool) -> Self {
        Self {
            root,
            way,
            embed,
            embedded: HashMap::new(),
        }
    }

    /// The picture `file`, a path below the root; why not, for people, where there is none.
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

    /// The URL of a picture that is shown once.
    pub fn url(&self, file: &Path) -> Result<String, String> {
        match self.embed {
            true => self.read(file).map(|bytes| data_uri(&bytes)),
            false => self.link(file),
        }
    }

    /// The URL of a heatmap of `grid` cells (height, width). Embedded it is no larger than the cells need: the
    /// browser enlarges it as smoothly.
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
        match self.root.join(file).is_file() {
            true => Ok(url(&self.way.join(file))),
            false => Err(format!("{} is missing", file.display())),
        }
    }

    /// Only pictures leave a machine in a page that is sent around.
    fn read(&self, file: &Path) -> Result<Vec<u8>, String> {
        let bytes =
            fs::read(self.root.join(file)).map_err(|e| format!("{}: {e}", file.display()))?;
        match bytes.starts_with(PNG) {
            true => Ok(bytes),
            false => Err(format!("{} is no PNG", file.display())),
        }
    }
}

/// A relative path as a link; nothing in it is taken for a scheme, a query or an anchor.
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
