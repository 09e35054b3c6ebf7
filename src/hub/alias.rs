//! Short names of well-known models, and ids that are gone from the hub: `assets/models.json`.

use std::sync::LazyLock;

use serde::Deserialize;

use super::name::{MAIN, Name};
use crate::format::nearest;

/// A short name, and what it stands for.
#[derive(Debug, Clone, Deserialize)]
pub struct Alias {
    pub alias: String,
    pub id: String,
    pub revision: String,
    pub notes: String,
}

/// An id of old tutorials.
#[derive(Debug, Deserialize)]
struct Moved {
    from: String,
    to: String,
    /// A month, `2024-08`.
    since: String,
}

#[derive(Debug, Deserialize)]
struct Known {
    aliases: Vec<Alias>,
    moved: Vec<Moved>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let text = include_str!("../../assets/models.json");
    serde_json::from_str(text).expect("a test reads it")
});

pub fn aliases() -> &'static [Alias] {
    &KNOWN.aliases
}

/// The alias of that name, in either case of letters.
pub fn alias(name: &str) -> Option<&'static Alias> {
    let mut aliases = aliases().iter();
    aliases.find(|alias| alias.alias.eq_ignore_ascii_case(name))
}

/// What a text names on the hub: an alias, `owner/name`, a file of it, or the address of either's page; and
/// the revision that it says.
pub fn named(text: &str) -> Option<(Name, Option<String>)> {
    if let Some(alias) = alias(text) {
        let revision = Some(&alias.revision).filter(|revision| *revision != MAIN);
        return Some((Name::parse(&alias.id)?, revision.cloned()));
    }
    let plain = || Some((Name::parse(text.trim_end_matches('/'))?, None));
    Name::of_page(text).or_else(plain)
}

/// The alias that a name is most like, where one is.
pub fn nearest_alias(name: &str) -> Option<&'static str> {
    nearest(name, aliases().iter().map(|alias| &*alias.alias))
}

/// Where a repository that is gone went, and a line that says so.
pub fn redirected(id: &str) -> Option<(&'static str, String)> {
    let mut moved = KNOWN.moved.iter();
    let moved = moved.find(|moved| moved.from.eq_ignore_ascii_case(id))?;
    let Moved { from, to, since } = moved;
    let line = format!("{from} is gone from the hub since {since}: {to} is taken instead");
    Some((to, line))
}
