//! Layers: a file imports only from layers below its own, and opens with what it owns.

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

pub fn all_sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
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
fn a_file_imports_only_from_floors_below_it() {
    for (file, text) in all_sources() {
        let module = file.split(['/', '.']).next().unwrap();
        if ["lib", "main", "cli", "commands"].contains(&module) {
            continue;
        }
        // Floor 4 stays readable on paper: it may use layer 0 only, and no tensor library.
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
    for (file, text) in all_sources() {
        assert!(
            text.starts_with("//!"),
            "{file} does not open with what it owns"
        );
        let lines = text.lines().count();
        assert!(
            lines <= 450,
            "{file} has {lines} lines: give a part of it a room of its own"
        );
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
