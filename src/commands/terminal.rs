//! Pictures in the terminal: kitty's and iTerm2's protocols, sixel, else half-blocks of colour.
//! Owns whether there is one to print to and which of them it speaks. That is read from its name: a
//! terminal that is asked and doesn't answer would be waited for.

use std::io::IsTerminal;

use base64::{Engine, engine::general_purpose::STANDARD};
use icy_sixel::{DiffusionMethod, MethodForLargest, MethodForRep, PixelFormat, Quality};
use image::imageops::{self, FilterType};
use image::{DynamicImage, RgbImage};
use viuer::Config;

use super::print;
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::report::png;

/// A terminal that says it can do nothing.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Errors: usage, where stdout is no terminal or has been given away.
pub fn can_show(json: bool) -> Result<()> {
    if json || is_dumb() || !std::io::stdout().is_terminal() {
        return Err(Error::usage(
            "--show prints to a terminal, and stdout is none",
            "leave --show out and look at attn/grid.png; it doesn't go with JSON on stdout",
        ));
    }
    Ok(())
}

/// Terminals that show kitty's pictures, and those that show sixel; `viuer` knows those of iTerm2's.
const KITTY: [&str; 2] = ["kitty", "ghostty"];
const SIXEL: [&str; 6] = ["sixel", "foot", "mlterm", "yaft", "contour", "rlogin"];

/// Columns of a terminal that doesn't say.
const USUAL: u32 = 80;
/// Pixels that a column is taken to be wide.
const COLUMN: u32 = 8;
/// Bytes that kitty takes at once.
const CHUNK: usize = 4096;

/// Whether the terminal is known by one of these names.
fn is_one_of(names: &[&str]) -> bool {
    let says = |variable: &str| {
        let value = std::env::var(variable).unwrap_or_default().to_lowercase();
        names.iter().any(|name| value.contains(name))
    };
    says("TERM") || says("TERM_PROGRAM")
}

/// How a picture is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Sixel,
    Iterm,
    Kitty,
    HalfBlocks,
}

impl Protocol {
    /// What [`show`] speaks here.
    pub fn detect() -> Self {
        if is_one_of(&KITTY) {
            Self::Kitty
        } else if viuer::is_iterm_supported() {
            Self::Iterm
        } else if is_one_of(&SIXEL) {
            Self::Sixel
        } else {
            Self::HalfBlocks
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Sixel => "sixel",
            Self::Iterm => "iTerm2's protocol",
            Self::Kitty => "kitty's protocol",
            Self::HalfBlocks => "half-blocks",
        }
    }
}

pub fn show(picture: RgbImage) -> Result<()> {
    let columns = match viuer::terminal_size() {
        (0, _) => USUAL,
        (columns, _) => columns.into(),
    };
    match Protocol::detect() {
        Protocol::Kitty => print(&kitty(&picture, columns)?),
        Protocol::Sixel => print(&sixel(&picture, columns)?),
        protocol => {
            let here = Config {
                absolute_offset: false,
                use_kitty: false,
                use_iterm: protocol == Protocol::Iterm,
                width: Some(columns),
                ..Config::default()
            };
            let shown = viuer::print(&DynamicImage::ImageRgb8(picture), &here);
            shown.map(|_| ()).map_err(refused)
        }
    }
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::run(
        format!("the terminal did not take the picture: {error}"),
        "look at attn/grid.png in the output folder",
    )
}

/// A PNG in pieces, each but the last with `m=1`, the first with all else; `q=2`: no answer is wanted.
fn kitty(picture: &RgbImage, widest: u32) -> Result<String> {
    let encoded = STANDARD.encode(png::encode(picture, &[]).map_err(refused)?);
    let columns = widest.min(picture.width().div_ceil(COLUMN));
    let mut text = String::new();
    let (mut rest, mut keys) = (encoded.as_str(), format!("a=T,f=100,q=2,c={columns},"));
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(CHUNK.min(rest.len()));
        let more = u8::from(!after.is_empty());
        text += &format!("\x1b_G{keys}m={more};{piece}\x1b\\");
        (rest, keys) = (after, String::new());
    }
    Ok(text + "\n")
}

fn sixel(picture: &RgbImage, widest: u32) -> Result<String> {
    let width = picture.width().min(widest * COLUMN);
    let height = (picture.height() * width / picture.width()).max(1);
    let fitted = imageops::resize(picture, width, height, FilterType::Triangle);
    let encoded = icy_sixel::sixel_string(
        fitted.as_raw(),
        width as i32,
        height as i32,
        PixelFormat::RGB888,
        DiffusionMethod::Auto,
        MethodForLargest::Auto,
        MethodForRep::Auto,
        Quality::AUTO,
    );
    Ok(encoded.map_err(refused)? + "\n")
}
