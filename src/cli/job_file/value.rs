//! Converts a TOML value to the values of a flag. Owns which TOML types a key accepts. It must never judge the value
//! itself: the flag's parser does.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::vocabulary::{Key, Shape, Takes};

/// The span of a value that is not accepted, the cause, and the cure.
pub type Wrong = (Range<usize>, String, String);

/// The values of a key's flag. Relative paths start from `folder`.
pub fn values(key: &Key, value: &Spanned<DeValue>, folder: &Path) -> Result<Vec<String>, Wrong> {
    if let Takes::Switch(given_when) = key.takes {
        return match value.get_ref() {
            DeValue::Boolean(on) if *on == given_when => Ok(vec![String::new()]),
            DeValue::Boolean(_) => Ok(vec![]),
            _ => Err(wrong(key, value, "write true or false")),
        };
    }
    let mut values = match value.get_ref() {
        DeValue::Array(items) => {
            let items: Result<Vec<String>, Wrong> =
                items.iter().map(|item| scalar(key, item)).collect();
            many(key, value, items?)?
        }
        DeValue::Table(table) => per_word(key, value, table, folder)?,
        _ => vec![scalar(key, value)?],
    };
    if matches!(key.shape, Shape::File | Shape::Path) {
        values = values
            .iter()
            .map(|path| resolve(key, path, folder))
            .collect();
    }
    Ok(values)
}

/// A single value as text for a flag.
pub fn scalar(key: &Key, value: &Spanned<DeValue>) -> Result<String, Wrong> {
    match value.get_ref() {
        DeValue::String(text) if text.contains('\0') => {
            Err(wrong(key, value, "leave the NUL character out"))
        }
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Float(_) | DeValue::Integer(_) if key.shape == Shape::Prompt => {
            Err(wrong(key, value, &cure(key)))
        }
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map(|n| n.to_string())
            .map_err(|_| wrong(key, value, "write the number in decimal")),
        DeValue::Boolean(_) => Err(wrong(key, value, &cure(key))),
        _ => Err(wrong(key, value, &cure(key))),
    }
}

/// A list of values as values of the key's flag.
fn many(key: &Key, value: &Spanned<DeValue>, items: Vec<String>) -> Result<Vec<String>, Wrong> {
    match (key.takes, key.shape) {
        (Takes::Many, _) => Ok(items),
        (_, Shape::List) => Ok(vec![items.join(",")]),
        _ => Err((
            value.span(),
            format!("`{}` takes one value, not several", key.name),
            format!("to try each, put it under [job.grid]: {} = [...]", key.name),
        )),
    }
}

/// The values of a table: `{ red = 2 }`, or `{ file = "prompts.txt" }` for prompts.
fn per_word(
    key: &Key,
    value: &Spanned<DeValue>,
    table: &DeTable,
    folder: &Path,
) -> Result<Vec<String>, Wrong> {
    match key.shape {
        Shape::Prompt => prompts(key, value, table, folder),
        Shape::Words | Shape::WordsOrDefault => table
            .iter()
            .map(|(word, of)| {
                let text = scalar(key, of)?;
                match word.get_ref().as_ref() {
                    "default" if key.shape == Shape::WordsOrDefault => Ok(text),
                    word => Ok(format!("{word}={text}")),
                }
            })
            .collect(),
        _ => Err(wrong(key, value, &cure(key))),
    }
}

/// The prompts of a file, if the key takes that many.
fn prompts(
    key: &Key,
    value: &Spanned<DeValue>,
    table: &DeTable,
    folder: &Path,
) -> Result<Vec<String>, Wrong> {
    let lines = lines(key, value, table, folder)?;
    match (lines.len(), key.takes) {
        (2.., Takes::One) => Err((
            value.span(),
            format!("`{}`: the file has {} prompts", key.name, lines.len()),
            "to draw each, put it under [job.grid]".to_owned(),
        )),
        _ => Ok(lines),
    }
}

/// The prompts of a file: one per line, without blank lines.
pub fn lines(
    key: &Key,
    value: &Spanned<DeValue>,
    table: &DeTable,
    folder: &Path,
) -> Result<Vec<String>, Wrong> {
    let entry = table.iter().next().filter(|_| table.len() == 1);
    let file = entry.filter(|(name, _)| name.get_ref() == "file");
    let name = file.and_then(|(_, path)| path.get_ref().as_str());
    let Some(name) = name.filter(|name| !name.contains('\0')) else {
        let form = format!("write {} = {{ file = \"prompts.txt\" }}", key.name);
        return Err(wrong(key, value, &form));
    };
    let refused = |cause: String, cure: &str| (value.span(), cause, cure.to_owned());
    let text = std::fs::read_to_string(folder.join(name)).map_err(|e| {
        let cause = format!("`{}`: cannot read {name}: {e}", key.name);
        let cure = "paths start from the job file's folder; the text must be UTF-8";
        refused(cause, cure)
    })?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    if lines.is_empty() {
        let cause = format!("`{}`: {name} has no prompt", key.name);
        Err(refused(cause, "write one prompt per line"))
    } else {
        Ok(lines)
    }
}

/// A path of a job file. A relative path starts from the folder of the file, not from the working directory.
fn resolve(key: &Key, path: &str, folder: &Path) -> String {
    // An inline picture is not a path.
    if path.starts_with("data:") {
        return path.to_owned();
    }
    let beside = folder.join(path);
    // A model may be a name instead of a path. The path of a LoRA may end in `=SCALE`.
    let plain = path.rsplit_once('=').map_or(path, |(plain, _)| plain);
    if key.shape == Shape::File || beside.exists() || folder.join(plain).exists() {
        beside.to_string_lossy().into_owned()
    } else {
        path.to_owned()
    }
}

/// The error for a value that the key does not accept.
fn wrong(key: &Key, value: &Spanned<DeValue>, cure: &str) -> Wrong {
    let kind = match value.get_ref() {
        DeValue::String(text) => format!("{:?}", text.as_ref()),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
    };
    let cause = format!("`{}` cannot be {kind}", key.name);
    (value.span(), cause, cure.to_owned())
}

/// An example of the key's value, as a cure.
pub fn cure(key: &Key) -> String {
    let name = &key.name;
    match key.shape {
        Shape::Prompt => format!("write {name} = \"a big red car\""),
        Shape::File | Shape::Path => format!("write {name} = \"path\""),
        Shape::Words => format!("write {name} = {{ red = 2 }} or {name} = \"red=2\""),
        Shape::WordsOrDefault => {
            format!("write {name} = 0.8 or {name} = {{ default = 0.8, car = 0.4 }}")
        }
        Shape::List => format!("write {name} = [\"...\", \"...\"] or a text with commas"),
        Shape::Whole => "write a whole number".to_owned(),
        Shape::Plain => {
            if key.choices.is_empty() {
                "write a number or a text".to_owned()
            } else {
                format!("use one of {}", key.choices.join(", "))
            }
        }
    }
}
