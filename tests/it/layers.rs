//! Rules that hold for every source file: imports from lower layers only, a header, at most 400 lines, one public
//! type per name, unsafe code in few places, plain words.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Modules by layer, lowest first (see the table in `lib.rs`).
const LAYERS: [&[&str]; 7] = [
    &[
        "error", "message", "setting", "format", "slug", "prompt", "machine", "device", "guide",
    ],
    &["kernels", "picture", "hub"],
    &["attention"],
    &["model"],
    &["edit"],
    &["sample"],
    &["job", "report", "heatmap", "metadata"],
];

/// Who may use whom on one layer.
const NEIGHBOURS: [(&str, &str); 18] = [
    ("error", "message"),
    ("error", "setting"),
    ("message", "setting"),
    ("setting", "message"),
    ("prompt", "error"),
    ("prompt", "format"),
    ("machine", "error"),
    ("machine", "message"),
    ("machine", "format"),
    ("device", "error"),
    ("device", "message"),
    ("device", "setting"),
    ("device", "machine"),
    ("report", "job"),
    ("heatmap", "job"),
    ("heatmap", "report"),
    ("metadata", "job"),
    ("metadata", "report"),
];

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|layer| layer.contains(&module));
    found.unwrap_or_else(|| {
        panic!("module {module} has no layer: name it in this test and in lib.rs")
    })
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// Names and texts of the Rust files in a folder of the repository.
fn sources_of(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths = vec![];
    sources(&root, &mut paths);
    let name = |p: &PathBuf| {
        p.strip_prefix(&root)
            .unwrap()
            .to_string_lossy()
            .replace('\\', "/")
    };
    paths
        .iter()
        .map(|p| (name(p), std::fs::read_to_string(p).unwrap()))
        .collect()
}

pub fn all_sources() -> Vec<(String, String)> {
    sources_of("src")
}

/// The modules named after `crate::` anywhere in a line of code.
fn imports(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or("");
    let named = code.split("crate::").skip(1);
    let word = |rest: &str| {
        rest.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    named
        .map(word)
        .filter(|module: &String| !module.is_empty())
        .collect()
}

#[test]
fn a_file_imports_only_from_layers_below_it() {
    for (file, text) in all_sources() {
        let module = file.split(['/', '.']).next().unwrap();
        if ["lib", "main", "cli", "commands"].contains(&module) {
            continue;
        }
        // `edit` stays readable on paper: it uses layer 0 only, and no tensor library.
        let highest = if module == "edit" { 1 } else { layer(module) };
        for line in text.lines() {
            for import in imports(line) {
                let below = import == module
                    || layer(&import) < highest
                    || NEIGHBOURS.contains(&(module, &import));
                assert!(
                    below,
                    "{file} (layer {}) must not use {import}: {line}",
                    layer(module)
                );
            }
            assert!(
                module != "edit" || !line.contains("candle"),
                "{file} must not use tensors: {line}"
            );
        }
    }
}
#[test]
fn a_file_opens_with_what_it_owns_and_stays_small() {
    for folder in ["src", "tests", "examples"] {
        for (file, text) in sources_of(folder) {
            assert!(
                text.starts_with("//!"),
                "{folder}/{file} does not open with what it owns"
            );
            let lines = text.lines().count();
            assert!(
                lines <= 400,
                "{folder}/{file} has {lines} lines, the limit is 400: split it by meaning"
            );
        }
    }
}

/// The name that a line declares as a public type.
fn public_type(line: &str) -> Option<&str> {
    let declared = line.trim_start().strip_prefix("pub ")?;
    let declared = declared.strip_prefix("unsafe ").unwrap_or(declared);
    let (kind, rest) = declared.split_once(' ')?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
    ["struct", "enum", "trait", "type", "union"]
        .contains(&kind)
        .then(|| &rest[..end.unwrap_or(rest.len())])
}

#[test]
fn no_two_public_types_have_one_name() {
    let mut types = BTreeMap::<String, Vec<String>>::new();
    for (file, text) in all_sources() {
        for name in text.lines().filter_map(public_type) {
            types.entry(name.to_owned()).or_default().push(file.clone());
        }
    }
    assert!(types.len() > 200, "only {} types were found", types.len());
    types.retain(|_, files| files.len() > 1);
    assert!(types.is_empty(), "one name for several types: {types:#?}");
}

#[test]
fn comments_name_layers_in_the_words_of_the_field() {
    for (file, text) in all_sources() {
        let comments = text.lines().filter(|line| {
            let line = line.trim_start();
            line.starts_with("///") || line.starts_with("//!")
        });
        for comment in comments {
            let text = comment.to_lowercase();
            let mut words = text.split(|c: char| !c.is_alphanumeric());
            assert!(
                !words.any(|word| ["floor", "floors", "house"].contains(&word)),
                "{file}: say \"layer\" or \"crate\": {comment}"
            );
        }
    }
}

#[test]
fn unsafe_stays_where_it_is_argued() {
    for (file, text) in all_sources() {
        let allowed =
            file.starts_with("kernels/") || file == "model/weights.rs" || file == "main.rs";
        let code = text.lines().filter_map(|l| l.split("//").next());
        assert!(
            allowed
                || !code
                    .into_iter()
                    .any(|l| l.contains("unsafe ") || l.contains("unsafe{")),
            "{file} has unsafe code"
        );
    }
}
