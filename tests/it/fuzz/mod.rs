//! Damaged and random inputs for everything that reads files or prompts: no input may end in a panic.
//! Owns the inputs: real ones as seeds, and how they are damaged. `targets.rs` says what is read.
//!
//! `P2P_FUZZ_CASES=1000000 cargo test --release --test it -- fuzz::prompts` runs a target for longer.

mod targets;

use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::common::fixture;

/// Inputs of each target, unless `P2P_FUZZ_CASES` says otherwise.
const CASES: u32 = 300;

/// One change of an input.
#[derive(Debug, Clone)]
enum Damage {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    /// A part of the input is inserted again somewhere else.
    Repeat(prop::sample::Index, usize, prop::sample::Index),
    Cut(prop::sample::Index),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let at = |index: &prop::sample::Index, bytes: &Vec<u8>| index.index(bytes.len() + 1);
        match self {
            Self::Replace(place, byte) => {
                if let Some(old) = bytes.get_mut(place.index(usize::MAX) % 4096) {
                    *old = *byte;
                }
            }
            Self::Insert(place, more) => {
                let at = at(place, bytes);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove(place, count) => {
                let at = at(place, bytes);
                let end = (at + count).min(bytes.len());
                bytes.drain(at..end);
            }
            Self::Repeat(from, count, to) => {
                let from = at(from, bytes);
                let part = bytes[from..(from + count).min(bytes.len())].to_vec();
                let to = at(to, bytes);
                bytes.splice(to..to, part);
            }
            Self::Cut(place) => {
                let at = at(place, bytes);
                bytes.truncate(at);
            }
        }
    }
}

fn damage(words: &'static [&'static str]) -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    let word = prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec());
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(place, byte)| Damage::Replace(place, byte)),
        (index(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(place, more)| Damage::Insert(place, more)),
        (index(), word).prop_map(|(place, word)| Damage::Insert(place, word)),
        (index(), 1..40usize).prop_map(|(place, count)| Damage::Remove(place, count)),
        (index(), 1..60usize, index()).prop_map(|(from, n, to)| Damage::Repeat(from, n, to)),
        index().prop_map(Damage::Cut),
    ]
}

/// Seeds with up to eight changes, and now and then bytes of no seed.
fn inputs(seeds: Vec<Vec<u8>>, words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let damaged = (
        prop::sample::select(seeds),
        prop::collection::vec(damage(words), 0..9),
    );
    let damaged = damaged.prop_map(|(mut bytes, changes)| {
        changes.iter().for_each(|change| change.apply(&mut bytes));
        bytes
    });
    prop_oneof![
        9 => damaged,
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ]
}

fn fuzz(target: fn(&[u8]), seeds: Vec<Vec<u8>>, words: &'static [&'static str]) {
    assert!(!seeds.is_empty());
    let cases = std::env::var("P2P_FUZZ_CASES");
    let cases = cases.map_or(CASES, |cases| cases.parse().expect("a number of inputs"));
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let start = std::time::Instant::now();
    let result = TestRunner::new(config).run(&inputs(seeds, words), |bytes| {
        target(&bytes);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    println!("{cases} inputs in {:.1} s", start.elapsed().as_secs_f64());
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Files of a folder of the repository.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = std::fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<_> = paths.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    let read = |path: &std::path::PathBuf| std::fs::read(path).expect("a file");
    paths.iter().map(read).collect()
}

/// The header of a safetensors file.
fn header(file: &str) -> Vec<u8> {
    let bytes = std::fs::read(fixture(file)).expect("a fixture");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    bytes[8..8 + length as usize].to_vec()
}

/// What metadata of each tool looks like.
const TEXTS: [&str; 5] = [
    "qa cat, (dog:1.2)\nNegative prompt: blurry, \"x\"\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1, \
     Size: 512x512, Model: \"a, b\", Lora hashes: \"x: 1, y: 2\", Version: v1.7.0",
    "p{\"schema\":\"p2p.edit/v1\",\"generator\":{\"name\":\"p2p\",\"version\":\"0.1.0\"},\"settings\":{\"prompt\":\"a\"}}",
    "r{\"positive_prompt\":\"a cat\",\"negative_prompt\":\"\",\"seed\":1,\"steps\":30,\"model\":{\"name\":\"x\"}}",
    "s{\"model_weights\":\"x\",\"image\":{\"prompt\":[{\"prompt\":\"a cat [dog]\",\"weight\":1.0}],\"seed\":3}}",
    "t{\"3\":{\"class_type\":\"KSampler\",\"inputs\":{\"seed\":1,\"steps\":20,\"cfg\":7,\"positive\":[\"6\",0],\
     \"negative\":[\"7\",0],\"model\":[\"4\",0]}},\"4\":{\"class_type\":\"CheckpointLoaderSimple\",\"inputs\":\
     {\"ckpt_name\":\"x\"}},\"6\":{\"class_type\":\"CLIPTextEncode\",\"inputs\":{\"text\":\"a cat\",\"clip\":[\"4\",1]}},\
     \"7\":{\"class_type\":\"CLIPTextEncode\",\"inputs\":{\"text\":[\"6\",0]}}}",
];

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "-1",
    "1e999",
    "18446744073709551615",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\0",
    "Steps: ",
    "Negative prompt: ",
    "[\"6\",0]",
    "\"inputs\"",
    "\"class_type\"",
    "\u{e9}",
];

#[test]
fn png_files() {
    let mut seeds = files("tests/fixtures/mini-sd", ".png");
    let picture = image::RgbImage::new(2, 2);
    for text in TEXTS {
        let chunk = prompt_to_prompt::picture::png::TextChunk::new("parameters", &text[1..]);
        seeds.push(prompt_to_prompt::picture::png::encode(&picture, &[chunk]).expect("a PNG"));
    }
    fuzz(
        targets::png_file,
        seeds,
        &[
            "IHDR", "tEXt", "zTXt", "iTXt", "IDAT", "IEND", "\0", "p2p\0",
        ],
    );
}

#[test]
fn png_texts() {
    fuzz(targets::png_texts, texts(&TEXTS), JSON);
}

#[test]
fn safetensors_headers() {
    const WORDS: &[&str] = &[
        "\"shape\":[",
        "\"dtype\":\"BF16\"",
        "\"F8_E4M3\"",
        "[0,4]",
        "[18446744073709551615,2]",
        "__metadata__",
        "4294967296",
        "-1",
        "0",
        "{",
        "}",
        "\"weight_map\"",
    ];
    let mut headers = texts(&[
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}",
        "{\"__metadata__\":{\"x\":\"y\"},\"a\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]},\
         \"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[8,10]}}",
        "{\"model.diffusion_model.input_blocks.0.0.weight\":{\"dtype\":\"F16\",\"shape\":[0,4,3,3],\
         \"data_offsets\":[0,0]}}",
    ]);
    headers.push(header("lora/sd1-kohya.safetensors"));
    fuzz(
        |header| targets::safetensors_header(&targets::with_length(header, 64)),
        headers.clone(),
        WORDS,
    );
    // The length itself is damaged, too.
    let whole = headers
        .iter()
        .map(|header| targets::with_length(header, 16));
    fuzz(targets::safetensors_header, whole.collect(), WORDS);
}

#[test]
fn lora_names() {
    let mut seeds = vec![];
    for file in ["lora/sd1-kohya.safetensors", "lora/sd1-peft.safetensors"] {
        let header: serde_json::Value = serde_json::from_slice(&header(file)).expect("JSON");
        let line = |(name, entry): (&String, &serde_json::Value)| {
            let dims: Vec<String> = entry["shape"].as_array().map_or(vec![], |dims| {
                dims.iter().map(ToString::to_string).collect()
            });
            format!("{name} {}", dims.join(" "))
        };
        let lines: Vec<String> = header
            .as_object()
            .expect("an object")
            .iter()
            .map(line)
            .collect();
        seeds.extend(lines.chunks(12).map(|lines| lines.join("\n").into_bytes()));
    }
    const WORDS: &[&str] = &[
        "lora_unet_",
        "lora_te1_",
        ".lora_down.weight",
        ".lora_up.weight",
        ".alpha",
        ".dora_scale",
        ".hada_w1_a",
        "lora_A",
        "lora_B",
        "_",
        ".",
        "\n",
        " 4 4",
        " 0 0",
        "text_model",
        "diffusion_model.",
        "transformer.",
    ];
    fuzz(targets::lora_names, seeds, WORDS);
}

#[test]
fn prompts() {
    const WORDS: &[&str] = &[
        "\n",
        " ",
        "#2",
        "red ",
        "cat",
        "\u{e9}",
        "e\u{301}",
        "\u{1f1e9}\u{1f1ea}",
        "\u{0130}",
        "\u{df}",
        "\u{200d}",
        "'s",
        "<|endoftext|>",
        "<|startoftext|>",
        "...",
        "\u{4e2d}\u{6587}",
        "\u{fffd}",
        "\u{a0}",
        "\r",
        "\u{fb01}",
    ];
    let seeds = texts(&[
        "a big red bicycle\na big red car\ncar",
        "a cat sitting on a cat\na dog sitting on a cat\ncat#2",
        "Un caf\u{e9}, s'il vous pla\u{ee}t!\nun th\u{e9} s'il te plait\n!",
        "a photo of a house\na childrens drawing of a house at night, 4k\nchildrens drawing",
    ]);
    fuzz(targets::prompts, seeds, WORDS);
}

/// Job files are read by the program, so that a process starts for each.
#[test]
fn job_files() {
    const WORDS: &[&str] = &[
        "[[job]]\n",
        "[[job.edit]]\n",
        "[defaults]\n",
        "grid = { seed = \"1..3\" }\n",
        "\n",
        "\"",
        "'''",
        "= ",
        "include = \"input.toml\"\n",
        "{seed}",
        "src = \"a cat\"\n",
        "dst = [\"a dog\"]\n",
        "\\u0000",
        "#",
        "[",
        "]",
        "cross_steps = { cat = 0.5 }\n",
        "99999999999999999999",
        "-1",
        "1e999",
        "nan",
        "\u{feff}",
        "\r\n",
        "\u{e9}",
    ];
    let mut seeds = files("tests/jobs", ".toml");
    seeds.extend(files("tests/jobs/valid", ".toml"));
    fuzz(job_file, seeds, WORDS);
}

fn job_file(bytes: &[u8]) {
    let folder = targets::scratch();
    std::fs::write(folder.path().join("input.toml"), bytes).expect("room for the input");
    let output = Command::new(env!("CARGO_BIN_EXE_p2p"))
        .args(["job", "check", "input.toml"])
        .env("HF_HUB_OFFLINE", "1")
        .current_dir(folder.path())
        .output()
        .expect("p2p starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(
        matches!(code, Some(0..=4)) && !said.contains("panicked"),
        "{code:?}: {said}"
    );
}
