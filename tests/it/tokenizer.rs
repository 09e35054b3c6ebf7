//! Token ids against transformers' CLIPTokenizer, spans in the text, and the length limit.

use std::path::PathBuf;

use prompt_to_prompt::error::Error;
use prompt_to_prompt::model::{ModelFolder, Tokenizer};
use serde_json::Value;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn open(folder: impl AsRef<std::path::Path>) -> Tokenizer {
    ModelFolder::open(folder.as_ref().to_str().unwrap())
        .unwrap()
        .tokenizer
}

fn mini_sd() -> Tokenizer {
    open(fixtures().join("mini-sd"))
}

#[test]
fn ids_equal_those_of_transformers() {
    let tokenizer = mini_sd();
    let golden = std::fs::read(fixtures().join("tokens-golden.json")).unwrap();
    let golden: Vec<Value> = serde_json::from_slice(&golden).unwrap();
    assert!(golden.len() >= 60);
    for case in golden {
        let prompt = case["prompt"].as_str().unwrap();
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let tokens = tokenizer.encode(prompt).unwrap();
        assert_eq!(tokens.ids[..tokens.len], ids, "{prompt:?}");
        assert_eq!(tokens.ids.len(), 77);
        assert_eq!(
            (tokens.spans.len(), tokens.pieces.len()),
            (tokens.len - 2, tokens.len - 2)
        );
        for span in &tokens.spans {
            assert!(
                prompt.get(span.clone()).is_some_and(|s| !s.is_empty()),
                "{prompt:?} {span:?}"
            );
        }
    }
}

#[test]
fn spans_point_into_the_text_as_typed() {
    let tokens = mini_sd()
        .encode("A  Photo of  antidisestablishmentarianism, caf\u{e9}!")
        .unwrap();
    let at = |i: usize| &tokens.text[tokens.spans[i].clone()];
    assert_eq!((at(0), at(1), at(2)), ("A", "Photo", "of"));
    assert_eq!(tokens.pieces[1], "photo");
    let long: String = tokens.pieces[3..].concat();
    assert_eq!(long, "antidisestablishmentarianism,caf\u{e9}!");
    let joined: String = (3..tokens.spans.len()).map(at).collect();
    assert_eq!(joined, "antidisestablishmentarianism,caf\u{e9}!");
}

#[test]
fn the_embedded_models_tokenizer_json_is_read() {
    let tokens = open("storybook").encode("a big red bicycle").unwrap();
    assert_eq!((tokens.ids[0], tokens.ids[tokens.len - 1]), (0, 1));
    assert_eq!(tokens.pieces.concat(), "abigredbicycle");
}

#[test]
fn too_long_a_prompt_shows_what_would_be_cut() {
    let tokenizer = mini_sd();
    let fits = vec!["cat"; 75].join(" ");
    assert_eq!(tokenizer.encode(&fits).unwrap().len, 77);
    let error = tokenizer.encode(&format!("{fits} in the HAT")).unwrap_err();
    assert!(matches!(error, Error::Usage(_)));
    assert!(error.to_string().contains("\"in the HAT\""), "{error}");
}

#[test]
fn special_tokens_can_be_objects_and_the_padding_token_an_exclamation_mark() {
    let copy = super::model::copy_of_mini_sd();
    let file = copy.path().join("tokenizer/tokenizer_config.json");
    let config = r#"{"model_max_length": 1000000000000000019884624838656, "bos_token": {"content": "<|startoftext|>"}}"#;
    std::fs::write(file, config).unwrap();
    let map = r#"{"pad_token": "!", "eos_token": {"content": "<|endoftext|>", "lstrip": false}}"#;
    std::fs::write(copy.path().join("tokenizer/special_tokens_map.json"), map).unwrap();
    let tokens = open(copy.path()).encode("cat").unwrap();
    assert_eq!(
        (
            tokens.ids.len(),
            tokens.ids[0],
            tokens.ids[2],
            tokens.ids[3]
        ),
        (77, 49406, 49407, 0)
    );
}
