//! Pictures in the terminal: kitty's and iTerm2's protocols, sixel, else half-blocks of colour.
//! Owns whether there is one to print to; which of them it speaks is `viuer`'s to find out.

use std::io::IsTerminal;

use image::{DynamicImage, RgbImage};
use viuer::Config;

use prompt_to_prompt::error::{Error, Result};

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

/// Terminals that show kitty's pictures, and those that show sixel.
const KITTY: [&str; 2] = ["kitty", "ghostty"];
const SIXEL: [&str; 8] = [
    "sixel", "foot", "mlterm", "yaft", "contour", "wezterm", "mintty", "rlogin",
];

/// Whether the terminal is known by one of these names. `viuer` would ask the terminal itself, and wait
/// for ever on one that doesn't answer.
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
    /// What `viuer` tries first for [`show`] here. It still asks the terminal for sixel and kitty.
    pub fn detect() -> Self {
        if is_one_of(&SIXEL) {
            Self::Sixel
        } else if viuer::is_iterm_supported() {
            Self::Iterm
        } else if is_one_of(&KITTY) {
            Self::Kitty
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
    let here = Config {
        absolute_offset: false,
        use_kitty: is_one_of(&KITTY),
        use_sixel: is_one_of(&SIXEL),
        ..Config::default()
    };
    let shown = viuer::print(&DynamicImage::ImageRgb8(picture), &here);
    shown.map(|_| ()).map_err(|e| {
        Error::run(
            format!("the terminal did not take the picture: {e}"),
            "look at attn/grid.png in the output folder",
        )
    })
}
