//! `p2p models`: lists the models on this machine, downloads models of the hub and removes them. Owns the text
//! of these commands; it must never know the layout of the cache.

use std::path::Path;
use std::time::SystemTime;

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::format;
use prompt_to_prompt::hub::{
    Alias, Cache, HubSettings, MAIN, Name, Snapshot, StoredModel, aliases, named, nearest_alias,
    redirected,
};
use prompt_to_prompt::model::{ModelSource, Need, STORYBOOK, family_of, storybook_size};
use prompt_to_prompt::report::console::Console;
use serde_json::{Value, json};

use super::open::fetch;
use super::print;
use crate::cli::ModelsCommand;

/// Runs a command of `p2p models`.
///
/// # Errors
/// A usage error if a name is not one of the hub, a model error if the cache or the hub lacks the model.
pub fn models(command: &ModelsCommand, console: &Console) -> Result<()> {
    let cache = HubSettings::from_env().cache()?;
    match command {
        ModelsCommand::Ls { json: true } => print(&format!("{:#}\n", list_as_json(&cache))),
        ModelsCommand::Ls { .. } => print(&list(&cache)),
        ModelsCommand::Path { model, revision } => path(&cache, model, revision.as_deref()),
        ModelsCommand::Pull {
            model,
            revision,
            variant,
            ..
        } => pull(model, (revision.clone(), variant.clone()), console),
        ModelsCommand::Rm {
            model,
            revision,
            dry_run,
        } => remove(&cache, model, revision.as_deref(), *dry_run, console),
    }
}

fn path(cache: &Cache, model: &str, revision: Option<&str>) -> Result<()> {
    let (name, page_revision) = name_of(model)?;
    let stored = stored(cache, model)?;
    let revision = revision.or(page_revision.as_deref()).unwrap_or(MAIN);
    let snapshot = snapshot(&stored, revision)?;
    let path = match name.file {
        Some(file) => snapshot.folder.join(file),
        None => snapshot.folder.clone(),
    };
    if !path.exists() {
        return Err(not_cached(model, model));
    }
    print(&format!("{}\n", path.display()))
}

fn pull(
    model: &str,
    (revision, variant): (Option<String>, Option<String>),
    console: &Console,
) -> Result<()> {
    let (name, page_revision) = name_of(model)?;
    // A local file or folder of the same name is not meant: only the page's address is unambiguous.
    let page = Path::new(model).exists().then(|| {
        let revision = revision.as_deref().or(page_revision.as_deref());
        name.page(revision.unwrap_or(MAIN))
    });
    let source = ModelSource {
        revision,
        variant,
        ..ModelSource::named(page.as_deref().unwrap_or(model))
    };
    let path = fetch(&source, Need::Weights, console)?;
    print(&format!("{}\n", path.display()))
}

fn remove(
    cache: &Cache,
    model: &str,
    revision: Option<&str>,
    dry_run: bool,
    console: &Console,
) -> Result<()> {
    let (name, page_revision) = name_of(model)?;
    if let Some(file) = &name.file {
        let id = &name.id;
        return Err(Error::usage(
            format!(
                "{file} is a file of {id}, and only a whole model or one revision can be removed"
            ),
            format!("p2p models rm {id} removes the model"),
        ));
    }
    let stored = stored(cache, model)?;
    let revision = revision.or(page_revision.as_deref());
    let only = revision.map(|revision| snapshot(&stored, revision));
    let only = only.transpose()?;
    let removal = cache.removal(&stored, only);
    let (id, bytes) = (&stored.id, format::bytes(removal.bytes));
    match (only, &*stored.snapshots) {
        (Some(only), [_]) => console.note(format!(
            "{} is the only snapshot of {id}: removing the whole model",
            revisions(only)
        )),
        (Some(only), _) if only.revisions.len() > 1 => {
            console.note(format!(
                "{} are the same commit",
                only.revisions.join(" and ")
            ));
        }
        _ => {}
    }
    if dry_run {
        let paths = removal.paths.iter();
        let paths = paths.map(|path| format!("{}\n", path.display()));
        console.note(format!("{id}: {bytes} would be freed"));
        return print(&paths.collect::<String>());
    }
    if cache.is_busy(id) {
        return Err(Error::model(
            format!("another process is downloading {id}"),
            "wait for it or stop it, then run the same command again",
        ));
    }
    cache.remove(&removal)?;
    print(&format!("{id}: {bytes} freed\n"))
}

/// The model or file of the hub that a text names, and the revision if the text is the address of a page.
fn name_of(model: &str) -> Result<(Name, Option<String>)> {
    if model == STORYBOOK {
        return Err(Error::usage(
            format!("{model} is embedded in p2p: it has no files to download or to remove"),
            "give OWNER/NAME, or an alias that p2p models ls lists",
        ));
    }
    named(model).ok_or_else(|| {
        let cure = match nearest_alias(model) {
            Some(near) => format!("did you mean {near}? p2p models ls lists the aliases"),
            None => "give OWNER/NAME, or an alias that p2p models ls lists".to_owned(),
        };
        if model.is_empty() {
            Error::usage("the name of the model is empty", cure)
        } else {
            Error::usage(
                format!("{model} is not the name of a model of the hub"),
                cure,
            )
        }
    })
}

fn stored(cache: &Cache, model: &str) -> Result<StoredModel> {
    let id = name_of(model)?.0.id;
    let moved = || redirected(&id).and_then(|(to, _)| cache.stored_as(to));
    let stored = cache.stored_as(&id).or_else(moved);
    stored.ok_or_else(|| not_cached(&id, model))
}

fn not_cached(what: &str, model: &str) -> Error {
    Error::model(
        format!("{what} is not in the cache"),
        format!("p2p models pull {model} downloads it; p2p models ls lists the cached models"),
    )
}

fn snapshot<'s>(stored: &'s StoredModel, revision: &str) -> Result<&'s Snapshot> {
    stored.snapshot(revision).ok_or_else(|| {
        let cached: Vec<String> = stored.snapshots.iter().map(revisions).collect();
        let cure = if cached.is_empty() {
            format!(
                "download it: p2p models pull {} --revision {revision}",
                stored.id
            )
        } else {
            format!("the cached ones are: {}", cached.join("; "))
        };
        Error::model(
            format!("revision {revision} of {} is not in the cache", stored.id),
            cure,
        )
    })
}

/// The branches, tags and abbreviated commit of a snapshot: `main 451f4fe`.
fn revisions(snapshot: &Snapshot) -> String {
    let commit = snapshot.commit.chars().take(7).collect::<String>();
    let names = snapshot.revisions.iter().map(String::as_str);
    names.chain([&*commit]).collect::<Vec<_>>().join(" ")
}

fn family(stored: &StoredModel) -> Option<&'static str> {
    let mut snapshots = stored.snapshots.iter();
    snapshots.find_map(|snapshot| family_of(&snapshot.folder))
}

/// The text of `p2p models ls`: the models, where the cache is, and the aliases.
fn list(cache: &Cache) -> String {
    let all = cache.stored();
    let header = ["MODEL", "REVISION", "SIZE", "USED", "FAMILY"].map(str::to_owned);
    let (name, bytes) = (STORYBOOK.to_owned(), format::bytes(storybook_size()));
    let embedded = [
        name,
        "embedded".to_owned(),
        bytes,
        String::new(),
        String::new(),
    ];
    let models: Vec<_> = [header, embedded]
        .into_iter()
        .chain(all.iter().map(row))
        .collect();
    let header = ["ALIAS", "MODEL", "", ""].map(str::to_owned);
    let is_cached = |id: &str| all.iter().any(|stored| stored.id == id);
    let aliases = aliases().iter().map(|alias| {
        let state = if is_cached(&alias.id) {
            "in the cache"
        } else {
            ""
        };
        [&*alias.alias, &alias.id, state, &alias.notes].map(str::to_owned)
    });
    let aliases: Vec<_> = [header].into_iter().chain(aliases).collect();
    let root = cache.root.display();
    let total = if all.is_empty() {
        format!("no models in {root}")
    } else {
        let bytes = all.iter().map(|stored| stored.bytes).sum();
        format!("{} in {root}", format::bytes(bytes))
    };
    format!("{}{total}\n\n{}", table(&models), table(&aliases))
}

/// The line of a cached model.
fn row(stored: &StoredModel) -> [String; 5] {
    let snapshots: Vec<String> = stored.snapshots.iter().map(revisions).collect();
    [
        stored.id.clone(),
        snapshots.join(", "),
        format::bytes(stored.bytes),
        ago(stored.used.max(stored.modified)),
        match stored.incomplete {
            (0, _) => family(stored).unwrap_or("").to_owned(),
            (n, bytes) => format!(
                "{n} incomplete, {} so far: pull it again",
                format::bytes(bytes)
            ),
        },
    ]
}

/// Rows as text, each column as wide as its widest cell.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

/// The time since a file was used: `3 hours ago`.
fn ago(time: Option<SystemTime>) -> String {
    let passed = time.and_then(|time| SystemTime::now().duration_since(time).ok());
    let count = |n: u64, unit: &str| format!("{} ago", format::count(n as usize, unit));
    match passed.map(|passed| passed.as_secs() / 60) {
        None | Some(0) => "just now".to_owned(),
        Some(minutes) if minutes < 60 => count(minutes, "minute"),
        Some(minutes) if minutes < 48 * 60 => count(minutes / 60, "hour"),
        Some(minutes) => count(minutes / 60 / 24, "day"),
    }
}

/// The output of `p2p models ls --json`.
fn list_as_json(cache: &Cache) -> Value {
    let all = cache.stored();
    let seconds = |time: Option<SystemTime>| {
        let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        since.map(|since| since.as_secs())
    };
    let snapshot = |snapshot: &Snapshot| {
        json!({
            "commit": snapshot.commit,
            "revisions": snapshot.revisions,
            "path": snapshot.folder,
            "files": snapshot.files,
            "bytes": snapshot.bytes,
        })
    };
    let model = |stored: &StoredModel| {
        json!({
            "id": stored.id,
            "path": stored.folder,
            "bytes": stored.bytes,
            "family": family(stored),
            "modified": seconds(stored.modified),
            "used": seconds(stored.used),
            "incomplete": stored.incomplete.0,
            "snapshots": stored.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
        })
    };
    let alias = |alias: &Alias| {
        json!({
            "alias": alias.alias,
            "id": alias.id,
            "revision": alias.revision,
            "notes": alias.notes,
            "cached": all.iter().any(|stored| stored.id == alias.id),
        })
    };
    json!({
        "schema": "p2p.models/v1",
        "cache": cache.root,
        "embedded": [{ "id": STORYBOOK, "bytes": storybook_size() }],
        "models": all.iter().map(model).collect::<Vec<_>>(),
        "aliases": aliases().iter().map(alias).collect::<Vec<_>>(),
    })
}
