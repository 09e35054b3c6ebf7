//! CLIP's whole vocabulary, which is compiled into the binary: the ids of a thousand prompts against transformers'.
//! `tests/reference/clip_tokens.py` wrote the fixture.

use prompt_to_prompt::error::Error;
use prompt_to_prompt::model::Tokenizer;
use serde_json::Value;

use crate::common::json_lines;

/// Checks every prompt's ids, and that prompts over the limit are refused.
fn same_ids(tokenizer: &Tokenizer, key: &str) {
    let rows = json_lines("clip-tokens.json.gz");
    assert_eq!(rows.len(), 1000);
    let (mut too_long, mut padded) = (0, 0);
    for row in rows {
        let prompt = row["prompt"].as_str().unwrap();
        let ids: Vec<u32> = serde_json::from_value::<Vec<Value>>(row[key].clone())
            .unwrap()
            .iter()
            .map(|id| id.as_u64().unwrap() as u32)
            .collect();
        match tokenizer.encode(prompt) {
            Ok(tokens) if ids.len() == 77 => {
                padded += 1;
                assert_eq!(tokens.ids, ids, "{prompt:?}");
            }
            Ok(tokens) => assert_eq!(tokens.ids[..tokens.len], ids, "{prompt:?}"),
            Err(Error::Usage(report)) => {
                too_long += 1;
                assert!(ids.len() > 77, "{prompt:?}: {report}");
                let counted = format!("has {} tokens, but the model reads 75", ids.len() - 2);
                assert!(report.to_string().contains(&counted), "{report}");
            }
            Err(error) => panic!("{prompt:?}: {error}"),
        }
    }
    assert!(too_long > 20 && padded >= 20, "{too_long} {padded}");
}

#[test]
fn ids_of_clip_equal_those_of_transformers() {
    same_ids(&Tokenizer::clip("<|endoftext|>").unwrap(), "clip");
}

#[test]
fn ids_of_open_clip_equal_those_of_transformers() {
    same_ids(&Tokenizer::clip("!").unwrap(), "open_clip");
}
