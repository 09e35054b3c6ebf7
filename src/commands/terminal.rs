//! Prints pictures in the terminal with the protocols of kitty and iTerm2, with sixel, or in half-blocks.
//! Owns the choice of the protocol. It reads the terminal's name from environment variables, because a query
//! would have to wait for terminals that never answer. It must never know what the picture shows.

use std::io::IsTerminal;

use base64::{Engine, engine::general_purpose::STANDARD};
use icy_sixel::{DiffusionMethod, MethodForLargest, MethodForRep, PixelFormat, Quality};
use image::imageops::{self, FilterType};
use image::{DynamicImage, RgbImage};
use viuer::Config;

use super::print;
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::message;
use prompt_to_prompt::report::png;
use prompt_to_prompt::setting::Setting;

/// Whether the terminal has no capabilities (`TERM=dumb`).
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Checks that a picture can be printed. `json` says whether stdout is taken by JSON.
///
/// # Errors
///
/// A usage error if stdout is taken or is not a terminal.
pub fn can_show(json: bool) -> Result<()> {
    if json || is_dumb() || !std::io::stdout().is_terminal() {
        return Err(Error::usage(
            message![
                Setting::MapShow,
                " needs a terminal on stdout, without JSON"
            ],
            message!["leave ", Setting::MapShow, " out and open attn/grid.png"],
        )
        .about(Setting::MapShow));
    }
    Ok(())
}

/// Names of terminals with kitty's protocol.
const KITTY: [&str; 2] = ["kitty", "ghostty"];
/// Names of terminals with sixel. `viuer` detects those with iTerm2's protocol.
const SIXEL: [&str; 6] = ["sixel", "foot", "mlterm", "yaft", "contour", "rlogin"];

/// Assumed number of columns if the terminal's size is unknown.
const USUAL: u32 = 80;
/// Assumed width of a column in pixels.
const COLUMN: u32 = 8;
/// Largest number of bytes in one of kitty's escape sequences.
const CHUNK: usize = 4096;

/// Whether the terminal's name contains one of these names.
fn is_one_of(names: &[&str]) -> bool {
    let says = |variable: &str| {
        let value = std::env::var(variable).unwrap_or_default().to_lowercase();
        names.iter().any(|name| value.contains(name))
    };
    says("TERM") || says("TERM_PROGRAM")
}

/// How a picture is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Sixel,
    Iterm,
    Kitty,
    HalfBlocks,
}

impl Protocol {
    /// The protocol that [`show`] uses in this terminal.
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

    /// The protocol's name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sixel => "sixel",
            Self::Iterm => "iTerm2's protocol",
            Self::Kitty => "kitty's protocol",
            Self::HalfBlocks => "half-blocks",
        }
    }
}

/// Prints a picture, at most as wide as the terminal.
///
/// # Errors
///
/// A run error if the picture cannot be encoded or printed.
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
        format!("cannot print the picture in the terminal: {error}"),
        "open attn/grid.png in the output folder",
    )
}

/// A PNG in kitty's escape sequences. All but the last have `m=1`, and the first has the other keys. `q=2`
/// suppresses the terminal's answer.
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
