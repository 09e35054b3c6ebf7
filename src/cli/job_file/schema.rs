//! The JSON Schema of job files, with which editors complete and check them. Every key has the help of its flag. It must
//! never know a single setting beyond what the vocabulary says.

use serde_json::{Map, Value, json};

use super::vocabulary::{Key, Shape, Takes, Vocabulary};

/// The schema, in draft 7, which editors of TOML support.
pub fn schema(vocabulary: &Vocabulary) -> Value {
    let all = || vocabulary.keys().iter();
    let settings: Map<String, Value> = all().map(property).collect();
    let of_edit = all().filter(|key| key.each_edit).map(property);
    let of_edit: Map<String, Value> = of_edit.collect();
    let grid: Map<String, Value> = all().map(axis).collect();
    let with = |more: Value, settings: &Map<String, Value>| {
        let mut all = more.as_object().cloned().unwrap_or_default();
        all.extend(settings.clone());
        all
    };
    let names = json!({
        "name": { "type": "string", "description": "Name of the job [default: made from its prompts and seed]" },
        "folder": { "type": "string", "description": "Folder of the job: a template with {name}, {src}, {dst}, {seed} and the keys of its grid [default: {name}]" },
    });
    let mut job = with(names.clone(), &settings);
    let kind = job.remove("edit").unwrap_or_default();
    job.insert(
        "edit".to_owned(),
        json!({ "anyOf": [kind, { "type": "array", "items": { "$ref": "#/definitions/edit" } }] }),
    );
    job.insert("grid".to_owned(), json!({ "$ref": "#/definitions/grid" }));
    let closed = |properties: Map<String, Value>| json!({ "type": "object", "properties": properties, "additionalProperties": false });
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Job file of p2p batch",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "output": { "type": "string", "description": "Output folder; -o overrides it" },
            "include": {
                "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
                "description": "Job files to include: their defaults apply here too, and their jobs come first",
            },
            "defaults": { "$ref": "#/definitions/defaults" },
            "job": { "type": "array", "items": { "$ref": "#/definitions/job" } },
        },
        "definitions": {
            "defaults": closed(with(names, &settings)),
            "job": closed(job),
            "edit": closed(of_edit),
            "grid": closed(grid),
        },
    })
}

/// A key and the schema of its value, with the help of its flag.
fn property(key: &Key) -> (String, Value) {
    let mut value = one(key);
    value["description"] = Value::from(key.about.clone());
    (key.name.clone(), value)
}

/// The schema of a key's value.
fn one(key: &Key) -> Value {
    let word =
        json!({ "type": "object", "additionalProperties": { "type": ["number", "string"] } });
    let scalar = json!({ "type": ["number", "string"] });
    let text = json!({ "type": "string" });
    let file = json!({ "type": "object", "properties": { "file": { "type": "string" } }, "required": ["file"], "additionalProperties": false });
    let list = |item: &Value| json!({ "type": "array", "items": item });
    let any = |of: &[Value]| json!({ "anyOf": of });
    match (key.takes, key.shape) {
        (Takes::Switch(_), _) => json!({ "type": "boolean" }),
        (Takes::Many, Shape::Prompt) => any(&[text.clone(), list(&text), file]),
        (_, Shape::Prompt) => any(&[text, file]),
        (Takes::Many, Shape::Path) => any(&[text.clone(), list(&text)]),
        (_, Shape::File | Shape::Path) => text,
        (_, Shape::Words | Shape::WordsOrDefault) => any(&[scalar.clone(), list(&scalar), word]),
        (Takes::Many, _) | (_, Shape::List) => any(&[scalar.clone(), list(&scalar)]),
        // Schedulers have many aliases. The schema lists the main names and accepts any text.
        _ if key.name == "scheduler" => any(&[json!({ "enum": key.choices }), text]),
        _ if !key.choices.is_empty() => json!({ "enum": key.choices }),
        _ => scalar,
    }
}

/// A key of a grid: a list of values, a range, or either for single words.
fn axis(key: &Key) -> (String, Value) {
    let several = json!({ "type": "array", "items": one(key), "minItems": 1 });
    let mut forms = vec![several, json!({ "type": "string" })];
    if super::grid::per_word(key) {
        let word = json!({ "anyOf": [{ "type": "array", "minItems": 1 }, { "type": "string" }] });
        forms.push(json!({ "type": "object", "additionalProperties": word }));
    }
    (key.name.clone(), json!({ "anyOf": forms }))
}
