//! `p2p man`: manual pages in roff, made from the help texts. Owns the sections that `clap_mangen` would fill
//! into paragraphs: the usage and the examples. It must never know what a command does.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::format::nearest;
use prompt_to_prompt::report::atomic::AtomicFile;

use super::doctor::VARIABLES;
use super::{print, print_bytes};
use crate::cli::{Cli, ManArgs};

/// Runs `p2p man`.
pub fn man(args: &ManArgs) -> Result<()> {
    let mut p2p = Cli::command().disable_help_subcommand(true);
    p2p.build();
    match &args.folder {
        Some(folder) => write_all(&p2p, folder),
        None => print_bytes(&page(find(&p2p, &args.command)?)),
    }
}

/// The command that `words` name, each word below the one before.
fn find<'a>(root: &'a Command, words: &[String]) -> Result<&'a Command> {
    words.iter().try_fold(root, |command, word| {
        command.find_subcommand(word).ok_or_else(|| {
            let name = command.get_bin_name().unwrap_or("p2p");
            let below: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let cure = match (nearest(word, below.iter().copied()), below.is_empty()) {
                (Some(near), _) => format!("did you mean \"{near}\"?"),
                (None, true) => "leave it out".to_owned(),
                (None, false) => format!("use one of {}", below.join(", ")),
            };
            Error::usage(format!("{name} has no command \"{word}\""), cure)
        })
    })
}

fn write_all(p2p: &Command, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| {
        Error::run(
            format!("cannot create {}: {e}", folder.display()),
            "choose a writable folder",
        )
    })?;
    let mut commands = vec![p2p];
    let mut paths = String::new();
    while let Some(command) = commands.pop() {
        let path = folder.join(format!("{}.1", name(command)));
        AtomicFile::create(&path)?.finish(&page(command))?;
        paths += &format!("{}\n", path.display());
        commands.extend(command.get_subcommands());
    }
    print(&paths)
}

/// The name of a command's page: `p2p-edit`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

fn page(command: &Command) -> Vec<u8> {
    let mut roff = vec![];
    write_page(command, &mut roff).expect("writing to memory");
    roff
}

fn write_page(command: &Command, out: &mut Vec<u8>) -> io::Result<()> {
    let page = Man::new(command.clone())
        // An empty argument would disappear, and the arguments after it would move up.
        .date(" ")
        .source(concat!("p2p ", env!("CARGO_PKG_VERSION")))
        .manual("p2p manual");
    page.render_title(out)?;
    page.render_name_section(out)?;
    synopsis(command).to_writer(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    let is_root = command.get_version().is_some();
    if command.has_subcommands() {
        page.render_subcommands_section(out)?;
    }
    after_help(command).to_writer(out)?;
    if is_root {
        environment().to_writer(out)?;
    } else {
        see_also(command).to_writer(out)?;
    }
    Ok(())
}

/// The usage line of the help. The default synopsis lists every option in brackets and fills a screen.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim().to_owned();
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let rest = usage.strip_prefix(name).unwrap_or_default().to_owned();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(name), roman(rest)]);
    roff
}

/// The text below the flags: paragraphs that begin with `Title:` and have unfilled lines, or `Title: text`.
fn after_help(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let text = command.get_after_help().map(|text| text.to_string());
    for paragraph in text.iter().flat_map(|text| text.split("\n\n")) {
        let (title, body) = paragraph.split_once(':').unwrap_or(("Notes", paragraph));
        roff.control("SH", [title.to_uppercase().as_str()]);
        match body.strip_prefix('\n') {
            None => {
                roff.text([roman(body.trim())]);
            }
            Some(lines) => {
                roff.control("nf", []);
                for line in lines.lines() {
                    roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
                }
                roff.control("fi", []);
            }
        }
    }
    roff
}

fn environment() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["ENVIRONMENT"]);
    for variable in VARIABLES {
        roff.control("TP", []);
        roff.text([bold(variable.name)]);
        roff.text([roman(variable.purpose)]);
    }
    roff
}

fn see_also(command: &Command) -> Roff {
    let name = name(command);
    let above = name.rsplit_once('-').map_or("p2p", |(above, _)| above);
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold(above), roman("(1)")]);
    roff
}
