//! Fuzz targets: functions that hand any bytes to a reader of files or prompts and check what comes back. A target
//! fails by a panic. Errors are fine.
//!
//! Two drivers share this file: `tests/it/fuzz/mod.rs` (proptest, part of `cargo test`) and `fuzz/` (libFuzzer).

use std::path::{Path, PathBuf};

use prompt_to_prompt::edit::align::equalizer;
use prompt_to_prompt::edit::diff::changed_spans;
use prompt_to_prompt::edit::{EditKind, Rules, align};
use prompt_to_prompt::metadata::{Info, PictureMetadata};
use prompt_to_prompt::model::{
    LoraSource, ModelFiles, ModelFolder, ModelSource, STORYBOOK, Tokenizer, Weights,
};
use prompt_to_prompt::picture::png::{self, TextChunk};
use prompt_to_prompt::prompt::{Tokens, WordRef};

/// Keywords under which tools keep metadata.
const KEYWORDS: [&str; 7] = [
    "p2p",
    "parameters",
    "invokeai_metadata",
    "sd-metadata",
    "prompt",
    "workflow",
    "Comment",
];

/// Reads the bytes as a PNG file.
pub fn png_file(bytes: &[u8]) {
    let Ok(contents) = png::read(bytes) else {
        return;
    };
    if let Ok(Some(found)) = PictureMetadata::in_png(&contents) {
        assert!(!found.tool().is_empty());
        let (prompt, negative) = (found.prompt().len(), found.negative_prompt().len());
        let json = Info::new(&contents, found).to_json();
        let json: serde_json::Value = serde_json::from_str(&json).expect("info is JSON");
        assert!(json.is_object() && prompt + negative <= bytes.len() * 1100);
    }
}

/// Puts the bytes into the text chunks of a PNG file and reads that. The first byte chooses the keyword. A byte 0
/// starts the next chunk.
pub fn png_texts(bytes: &[u8]) {
    let picture = image::RgbImage::new(1, 1);
    let text = String::from_utf8_lossy(bytes);
    let chunk = |text: &str| {
        let first = text.chars().next()?;
        let keyword = KEYWORDS[first as usize % KEYWORDS.len()];
        Some(TextChunk::new(keyword, &text[first.len_utf8()..]))
    };
    let texts: Vec<TextChunk> = text.split('\0').filter_map(chunk).collect();
    let file = png::encode(&picture, &texts).expect("a picture of one pixel");
    let contents = png::read(&file).expect("a file that this program wrote");
    assert_eq!(contents.texts.len(), texts.len());
    png_file(&file);
}

/// A folder in memory, where the system has one, since a target writes a file for each input.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a temporary folder")
}

thread_local! {
    static FOLDER: tempfile::TempDir = scratch();
    static TOKENIZER: Tokenizer = ModelFolder::open(STORYBOOK).expect("the embedded model").tokenizer;
}

fn write(bytes: &[u8]) -> PathBuf {
    FOLDER.with(|folder| {
        let file = folder.path().join("input.safetensors");
        std::fs::write(&file, bytes).expect("room for the input");
        file
    })
}

/// Opens the bytes as weights of a component and as a single-file checkpoint. Reads all tensors that the header
/// promises.
pub fn safetensors_header(bytes: &[u8]) {
    let file = write(bytes);
    let files = ModelFiles::Folder(file.parent().expect("a folder").to_owned());
    if let Ok(weights) = Weights::open(&files, "input.safetensors") {
        let mut shapes = weights.shapes();
        shapes.sort();
        for (name, dims) in shapes {
            assert!(weights.has(&name));
            if let Ok(tensor) = weights.get(dims.clone(), &name) {
                assert_eq!(tensor.dims(), dims);
            }
        }
    }
    let opened = ModelFolder::open(file.to_str().expect("a path in UTF-8"));
    assert!(opened.is_err(), "a few bytes are no checkpoint");
}

/// A file whose header is the bytes: the length in front is right, and zeros follow.
pub fn with_length(header: &[u8], zeros: usize) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header, &vec![0; zeros]].concat()
}

/// Opens a miniature of Stable Diffusion 1 with a LoRA. The lines of the input are the names of its tensors, each
/// followed by its size if a space and two numbers follow.
pub fn lora_names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for line in text.lines() {
        let mut words = line.rsplitn(3, ' ');
        let sizes = (
            words.next().and_then(|n| n.parse::<u8>().ok()),
            words.next().and_then(|n| n.parse::<u8>().ok()),
        );
        let (name, dims) = match (sizes, words.next()) {
            ((Some(columns), Some(rows)), Some(name)) => (name, vec![rows, columns]),
            _ => (line, vec![]),
        };
        let size: usize = dims.iter().map(|n| usize::from(*n)).product();
        if name == "__metadata__" || header.contains_key(name) {
            continue;
        }
        let entry = serde_json::json!({
            "dtype": "F32", "shape": dims, "data_offsets": [end, end + 4 * size],
        });
        header.insert(name.to_owned(), entry);
        end += 4 * size;
    }
    let header = serde_json::Value::Object(header).to_string();
    let path = write(&with_length(header.as_bytes(), end));
    let model = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = [model.join("tests"), model.join("../tests")]
        .map(|tests| tests.join("fixtures/mini-sd"))
        .into_iter()
        .find(|folder| folder.is_dir())
        .expect("the miniature");
    let source = ModelSource {
        loras: vec![LoraSource { path, scale: 0.5 }],
        ..ModelSource::named(model.to_str().expect("a path in UTF-8"))
    };
    if let Ok(folder) = ModelFolder::open_source(&source) {
        assert_eq!(folder.loras().len(), 1);
    }
}

/// Lines of the input: the source prompt, the edited prompt, a word. Tokenizes both, looks the word up, and aligns
/// the prompts in every way.
pub fn prompts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or("");
    let [source, edited, word] = [line(), line(), line()];
    let (Some(source), Some(edited)) = (encode(source), encode(edited)) else {
        return;
    };
    let wanted = WordRef::new(word);
    for tokens in [&source, &edited] {
        let places = tokens.places(&wanted).concat();
        for token in tokens.find(&wanted) {
            assert!(places.contains(&token) && (1..tokens.eos()).contains(&token));
        }
        for word in tokens.words() {
            assert!(word.tokens.iter().all(|token| *token < tokens.eos()));
        }
    }
    for span in changed_spans(&source, &edited) {
        let _ = format!("{span:?}");
    }
    for rules in [Rules::Ours, Rules::Reference] {
        let (_, reason) = EditKind::choose(&source, &edited, rules);
        assert!(!reason.is_empty());
        for kind in [EditKind::Replace, EditKind::Refine, EditKind::Mixed] {
            if let Ok(alignment) = align(kind, &source, &edited, rules) {
                assert_eq!(alignment.aligned.len(), edited.ids.len());
                assert!(alignment.aligned.iter().all(|a| (0.0..=1.0).contains(a)));
            }
        }
        let factors = equalizer(&[(word.to_owned(), 2.0)], &edited, rules);
        assert_eq!(factors.len(), edited.ids.len());
    }
}

/// The tokens of a prompt that is not too long.
fn encode(text: &str) -> Option<Tokens> {
    let tokens = TOKENIZER.with(|tokenizer| tokenizer.encode(text)).ok()?;
    assert_eq!(tokens.text, text);
    assert_eq!(tokens.spans.len(), tokens.len - 2);
    for span in &tokens.spans {
        assert!(text.get(span.clone()).is_some(), "{text:?} {span:?}");
    }
    (0..tokens.ids.len()).for_each(|token| assert!(!tokens.label(token).is_empty()));
    Some(tokens)
}
