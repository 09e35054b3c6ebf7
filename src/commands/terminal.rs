//! Pictures in the terminal: kitty's and iTerm2's protocols, sixel, else half-blocks of colour.
//! Owns whether there is one to print to; which of them it speaks is `viuer`'s to find out.

use std::io::IsTerminal;

use image::{DynamicImage, RgbImage};
use viuer::Config;

use prompt_to_prompt::error::{Error, Result};

/// Errors: usage, where stdout is no terminal or has been given away.
pub fn can_show(json: bool) -> Result<()> {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if json || dumb || !std::io::stdout().is_terminal() {
        return Err(Error::usage(
            "--show prints to a terminal, and stdout is none",
            "leave --show out and look at attn/grid.png, or keep stdout the terminal and ask for no JSON",
        ));
    }
    Ok(())
}

pub fn show(picture: RgbImage) -> Result<()> {
    let here = Config {
        absolute_offset: false,
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
