//! Short names of well-known models, and ids that left the hub. Both are data, in `assets/models.json`.
//! Owns the reading of that file; it must never ask the hub.

use std::sync::LazyLock;

use serde::Deserialize;

use super::name::{MAIN, Name};
use crate::format::nearest;

/// A short name for a model of the hub.
#[derive(Debug, Clone, Deserialize)]
pub struct Alias {
    /// The short name, such as `sd15`.
    pub alias: String,
    /// The repository, `owner/name`.
    pub id: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// A few words about the model.
    pub notes: String,
}

/// An id that old tutorials use and that left the hub.
#[derive(Debug, Deserialize)]
struct Moved {
    from: String,
    to: String,
    /// A month, such as `2024-08`.
    since: String,
}

#[derive(Debug, Deserialize)]
struct KnownModels {
    aliases: Vec<Alias>,
    moved: Vec<Moved>,
}

static KNOWN_MODELS: LazyLock<KnownModels> = LazyLock::new(|| {
    let text = include_str!("../../assets/models.json");
    serde_json::from_str(text).expect("a test reads this file")
});

/// All aliases.
pub fn aliases() -> &'static [Alias] {
    &KNOWN_MODELS.aliases
}

/// The alias with a name, whatever its letter case.
pub fn alias(name: &str) -> Option<&'static Alias> {
    let mut aliases = aliases().iter();
    aliases.find(|alias| alias.alias.eq_ignore_ascii_case(name))
}

/// The model or file of the hub that a text names, and the revision if the text contains one. The text is an
/// alias, `owner/name`, `owner/name/file`, or the address of the page of either.
pub fn named(text: &str) -> Option<(Name, Option<String>)> {
    if let Some(alias) = alias(text) {
        let revision = Some(&alias.revision).filter(|revision| *revision != MAIN);
        return Some((Name::parse(&alias.id)?, revision.cloned()));
    }
    let plain = || Some((Name::parse(text.trim_end_matches('/'))?, None));
    Name::of_page(text).or_else(plain)
}

/// The alias that is most similar to a name, if one is similar enough for "did you mean".
pub fn nearest_alias(name: &str) -> Option<&'static str> {
    nearest(name, aliases().iter().map(|alias| &*alias.alias))
}

/// The successor of a repository that left the hub, and a note to users about it.
pub fn redirected(id: &str) -> Option<(&'static str, String)> {
    let mut moved = KNOWN_MODELS.moved.iter();
    let moved = moved.find(|moved| moved.from.eq_ignore_ascii_case(id))?;
    let Moved { from, to, since } = moved;
    let line = format!("{from} left the hub in {since}: using {to} instead");
    Some((to, line))
}
