//! The parts of a run that need no denoising, against the reference: token ids, alignments, gates.

use std::collections::HashMap;

use candle_core::{DType, Tensor};
use prompt_to_prompt::edit::windows::gate;
use prompt_to_prompt::edit::{Alignment, EditKind, Rules, align};
use prompt_to_prompt::job::Prepared;
use prompt_to_prompt::prompt::Tokens;
use serde_json::Value;

use super::{flat, mini_sd};
use crate::common::json;

/// Checks token ids, mappers, alphas and step gates of a case.
pub fn check_plan(name: &str, prepared: &Prepared, golden: &HashMap<String, Tensor>) {
    let prompts = prepared.row_prompts();
    let ids = prompts.iter().flat_map(|(tokens, _)| &tokens.ids);
    let ids: Vec<f32> = ids.map(|id| *id as f32).collect();
    let expected = golden["token_ids"].to_dtype(DType::F32).unwrap();
    assert_eq!(ids, flat(&expected), "{name}: token ids");
    if let Some(mappers) = golden.get("mapper") {
        for (i, edit) in prepared.edits.iter().enumerate() {
            let mapper = mappers.get(i).unwrap().to_dtype(DType::F32).unwrap();
            match edit.alignment.kind {
                EditKind::Replace => {
                    assert_eq!(flat(&mapper), edit.alignment.map.weights(), "{name}");
                }
                EditKind::Refine | EditKind::Mixed => {
                    let alphas = flat(&golden["alphas"].get(i).unwrap());
                    assert_eq!(alphas, edit.alignment.aligned, "{name}");
                    assert_eq!(flat(&mapper), gather(&edit.alignment), "{name}");
                }
            }
        }
    }
    if let Some(golden) = golden.get("cross_alpha") {
        let clock = &prepared.controller.clock;
        for step in 0..prepared.run.steps {
            for (i, row) in prepared.controller.rows.iter().flatten().enumerate() {
                let expected = golden.get(step).unwrap().get(i).unwrap();
                let got = gate(&row.cross, step, clock);
                assert_eq!(got, flat(&expected), "{name} {step}");
            }
        }
    }
}

/// The source index that each column reads, -1 for none. The reference stores a refine mapper like this.
fn gather(alignment: &Alignment) -> Vec<f32> {
    let column = |j| {
        alignment
            .map
            .column(j)
            .first()
            .map_or(-1.0, |(i, _)| *i as f32)
    };
    (0..alignment.map.n()).map(column).collect()
}

/// 19 pairs of prompts: token ids, replace mappers (or the reference's error), refine gathers.
#[test]
fn aligner_matches_the_reference() {
    let tokenizer = mini_sd().tokenizer;
    for pair in json("parity/aligner.json").as_array().unwrap() {
        let encode = |key: &str| tokenizer.encode(pair[key].as_str().unwrap()).unwrap();
        let (source, edited) = (encode("source"), encode("edited"));
        for (tokens, key) in [(&source, "source_ids"), (&edited, "edited_ids")] {
            assert_eq!(serde_json::json!(tokens.ids[..tokens.len]), pair[key]);
        }
        check_replace(&source, &edited, pair);
        let a = align(EditKind::Refine, &source, &edited, Rules::Reference).unwrap();
        let golden: Vec<f32> = serde_json::from_value(pair["refine_gather"].clone()).unwrap();
        assert_eq!(gather(&a), golden, "{pair}");
        let golden: Vec<f32> = serde_json::from_value(pair["refine_alpha"].clone()).unwrap();
        assert_eq!(a.aligned, golden, "{pair}");
    }
}

fn check_replace(source: &Tokens, edited: &Tokens, pair: &Value) {
    let Ok(alignment) = align(EditKind::Replace, source, edited, Rules::Reference) else {
        assert!(pair["replace_error"].is_string(), "{pair}");
        return;
    };
    let golden: Vec<Vec<(usize, f32)>> =
        serde_json::from_value(pair["replace_columns"].clone()).unwrap();
    for (j, golden) in golden.iter().enumerate() {
        let ours = alignment.map.column(j);
        assert_eq!(ours.len(), golden.len(), "{pair}");
        for (a, b) in ours.iter().zip(golden) {
            assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-6, "{pair}");
        }
    }
}
