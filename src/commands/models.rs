//! `p2p models`: what the hub's cache holds, what is fetched into it and what is removed.

use std::path::Path;
use std::time::SystemTime;

use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::format;
use prompt_to_prompt::hub::{
    Cache, HubSettings, MAIN, Name, Snapshot, StoredModel, aliases, named, nearest_alias,
    redirected,
};
use prompt_to_prompt::model::{ModelSource, Need, STORYBOOK, family_of};
use prompt_to_prompt::report::console::Console;
use serde_json::{Value, json};

use super::open::fetch;
use super::print;
use crate::cli::ModelsCommand;

pub fn models(command: &ModelsCommand, console: &Console) -> Result<()> {
    let cache = HubSettings::from_env().cache()?;
    match command {
        ModelsCommand::Ls { json: true } => print(&format!("{:#}\n", listed_as_json(&cache))),
        ModelsCommand::Ls { .. } => print(&listed(&cache)),
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
    let (name, said) = name_of(model)?;
    let stored = stored(cache, model)?;
    let revision = revision.or(said.as_deref()).unwrap_or(MAIN);
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
    let (name, said) = name_of(model)?;
    // What is here and called the same is not meant.
    let page = Path::new(model).exists().then(|| {
        let revision = revision.as_deref().or(said.as_deref());
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
    let (name, said) = name_of(model)?;
    if let Some(file) = &name.file {
        let id = &name.id;
        return Err(Error::usage(
            format!("{file} is a file of {id}: models go whole, or by --revision"),
            format!("p2p models rm {id} removes all of it"),
        ));
    }
    let stored = stored(cache, model)?;
    let revision = revision.or(said.as_deref());
    let only = revision.map(|revision| snapshot(&stored, revision));
    let only = only.transpose()?;
    let removal = cache.removal(&stored, only);
    let (id, bytes) = (&stored.id, format::bytes(removal.bytes));
    match (only, &*stored.snapshots) {
        (Some(only), [_]) => console.note(format!(
            "{} is all that the cache has of {id}: the model goes whole",
            revisions(only)
        )),
        (Some(only), _) if only.revisions.len() > 1 => {
            console.note(format!("{} are one commit", only.revisions.join(" and ")));
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
            format!("another process fetches {id} at this moment"),
            "wait for it or end it, and give the same command",
        ));
    }
    cache.remove(&removal)?;
    print(&format!("{id}: {bytes} freed\n"))
}

/// What is named, a model or a file of one, and the revision that its address says.
///
/// Errors: usage, where it is no name of the hub.
fn name_of(model: &str) -> Result<(Name, Option<String>)> {
    if model == STORYBOOK {
        return Err(Error::usage(
            format!("{model} is embedded: there is nothing to fetch or to take away"),
            "give OWNER/NAME, or an alias that p2p models ls lists",
        ));
    }
    match named(model) {
        Some(found) => Ok(found),
        None => Err(Error::usage(
            match model {
                "" => "an empty name is no model of the hub".to_owned(),
                model => format!("{model} is no model of the hub"),
            },
            match nearest_alias(model) {
                Some(near) => format!("did you mean {near}? p2p models ls lists the short names"),
                None => "give OWNER/NAME, or an alias that p2p models ls lists".to_owned(),
            },
        )),
    }
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
        format!("p2p models ls says what is; p2p models pull {model} fetches it"),
    )
}

fn snapshot<'s>(stored: &'s StoredModel, revision: &str) -> Result<&'s Snapshot> {
    stored.snapshot(revision).ok_or_else(|| {
        let there: Vec<String> = stored.snapshots.iter().map(revisions).collect();
        Error::model(
            format!("revision {revision} of {} is not in the cache", stored.id),
            match there.is_empty() {
                true => format!(
                    "fetch it: p2p models pull {} --revision {revision}",
                    stored.id
                ),
                false => format!("these are: {}", there.join("; ")),
            },
        )
    })
}

/// `main 451f4fe`
fn revisions(snapshot: &Snapshot) -> String {
    let commit = snapshot.commit.chars().take(7).collect::<String>();
    let names = snapshot.revisions.iter().map(String::as_str);
    names.chain([&*commit]).collect::<Vec<_>>().join(" ")
}

fn family(stored: &StoredModel) -> Option<&'static str> {
    let mut snapshots = stored.snapshots.iter();
    snapshots.find_map(|snapshot| family_of(&snapshot.folder))
}

fn listed(cache: &Cache) -> String {
    let all = cache.stored();
    let head = ["MODEL", "REVISION", "SIZE", "USED", "FAMILY"].map(str::to_owned);
    let row = |stored: &StoredModel| {
        let snapshots: Vec<String> = stored.snapshots.iter().map(revisions).collect();
        [
            stored.id.clone(),
            snapshots.join(", "),
            format::bytes(stored.bytes),
            ago(stored.used.max(stored.modified)),
            match stored.incomplete {
                (0, _) => family(stored).unwrap_or("").to_owned(),
                (n, bytes) => format!("{n} cut short at {}: pull it again", format::bytes(bytes)),
            },
        ]
    };
    let rows: Vec<[String; 5]> = all.iter().map(row).collect();
    let mut text = match rows.is_empty() {
        true => format!("no models in {}\n", cache.root.display()),
        false => {
            let bytes = all.iter().map(|stored| stored.bytes).sum();
            let whole = table(&[&[head], &*rows].concat());
            format!(
                "{whole}{} in {}\n",
                format::bytes(bytes),
                cache.root.display()
            )
        }
    };
    let head = ["ALIAS", "MODEL", "", ""].map(str::to_owned);
    let there = |id: &str| all.iter().any(|stored| stored.id == id);
    let alias = aliases().iter().map(|alias| {
        let there = if there(&alias.id) { "in the cache" } else { "" };
        let cells = [&*alias.alias, &alias.id, there, &alias.notes];
        cells.map(str::to_owned)
    });
    text += "\n";
    text += &table(&[head].into_iter().chain(alias).collect::<Vec<_>>());
    text
}

/// Columns as wide as their widest cell.
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

fn listed_as_json(cache: &Cache) -> Value {
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
    let alias = |alias: &prompt_to_prompt::hub::Alias| {
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
        "models": all.iter().map(model).collect::<Vec<_>>(),
        "aliases": aliases().iter().map(alias).collect::<Vec<_>>(),
    })
}
