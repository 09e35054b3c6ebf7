//! Output of `p2p explain`, as snapshots in `fixtures/explain`. `UPDATE_SNAPSHOTS=1 cargo test explain`
//! writes new snapshots; read the difference before you commit it.

use prompt_to_prompt::edit::{EditKind, Rules};
use prompt_to_prompt::job::{
    BlendWords, CrossSteps, EditSettings, Explanation, Job, Prepared, Preset, SchedulerName,
};
use prompt_to_prompt::message::Flags;
use serde_json::Value;

use crate::common::fixture;
use crate::parity::mini_sd;

fn edit(dst: &str) -> EditSettings {
    EditSettings {
        dst: Some(dst.to_owned()),
        ..EditSettings::default()
    }
}

fn job(src: &str, edits: Vec<EditSettings>) -> Job {
    Job {
        seed: 1,
        ..Job::new(src, edits)
    }
}

/// Warnings and plan, or the error, as the command prints them.
fn said(job: &Job) -> String {
    let folder = mini_sd();
    match Prepared::new(job, &folder) {
        Ok(prepared) => {
            let warnings = prepared.warnings.iter();
            let warnings = warnings.map(|w| format!("warning: {}\n", w.render(&Flags)));
            warnings.collect::<String>() + &Explanation::new(&prepared, &folder, false).to_string()
        }
        Err(error) => {
            let (cause, cure) = error.parts(&Flags);
            format!("error: {cause}\n  {cure}\n")
        }
    }
}

fn snapshot(name: &str, job: Job) {
    let path = fixture(&format!("explain/{name}.txt"));
    let said = said(&job);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &said).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        said, expected,
        "{name} changed; if the new text is right, set UPDATE_SNAPSHOTS=1"
    );
}

#[test]
fn swaps() {
    snapshot(
        "swap",
        job("a big red bicycle", vec![edit("a big red car")]),
    );
    snapshot(
        "fewer-tokens",
        job("a lasagne on a plate", vec![edit("a burger on a plate")]),
    );
    snapshot(
        "more-tokens",
        job("a cat on a chair", vec![edit("a hippopotamus on a chair")]),
    );
    snapshot(
        "punctuation",
        job(
            "a burger, fries and a cola",
            vec![edit("a lasagne, fries and a cola")],
        ),
    );
    snapshot(
        "case",
        job(
            "A Cat riding a Bicycle",
            vec![edit("a dog riding a bicycle")],
        ),
    );
    snapshot(
        "unicode",
        job("ein Café in München", vec![edit("ein Schloß in München")]),
    );
    snapshot(
        "emoji",
        job("a 🐱 on the beach", vec![edit("a 🐶 on the beach")]),
    );
}

#[test]
fn insertions_and_deletions() {
    snapshot(
        "insert-front",
        job("a castle", vec![edit("a pencil sketch of a castle")]),
    );
    snapshot(
        "insert-middle",
        job("a cat on a mat", vec![edit("a fluffy cat on a red mat")]),
    );
    snapshot(
        "insert-end",
        job("a castle", vec![edit("a castle in winter")]),
    );
    snapshot(
        "delete",
        job("a big red cat on a mat", vec![edit("a cat on a mat")]),
    );
    let moved = edit("a cat on a big beach");
    snapshot(
        "insert-and-delete",
        job("a red cat on a beach", vec![moved]),
    );
    snapshot(
        "a-comma-more",
        job("a cat on a mat", vec![edit("a cat, on a mat")]),
    );
    let both = "a lion riding a bicycle on the sunny beach";
    snapshot(
        "swap-and-insert",
        job("a cat riding a bicycle on the beach", vec![edit(both)]),
    );
}

#[test]
fn weights() {
    let weighted = |dst: Option<&str>, word: &str, factor| EditSettings {
        dst: dst.map(str::to_owned),
        weight: [(word.to_owned(), factor)].into(),
        ..EditSettings::default()
    };
    snapshot(
        "reweight",
        job("a fluffy dog", vec![weighted(None, "fluffy", -3.0)]),
    );
    let second = weighted(Some("a cat and a dog"), "a#2", 2.0);
    snapshot("repeated-words", job("a cat and a cat", vec![second]));
    let apart = EditSettings {
        weight_steps: Some("0.5..1".parse().unwrap()),
        ..weighted(Some("soup with croutons"), "croutons", 3.0)
    };
    snapshot("weight-steps", job("soup", vec![apart]));
}

#[test]
fn nothing_to_do_and_too_much() {
    snapshot(
        "identical",
        job("a cat on a mat", vec![edit("a cat on a mat")]),
    );
    snapshot("too-long", job("a cat", vec![edit(&"very ".repeat(80))]));
    let shut = EditSettings {
        cross_steps: CrossSteps::all("0.301..0.309".parse().unwrap()),
        self_steps: Some("0".parse().unwrap()),
        ..edit("a dog on a mat")
    };
    snapshot("no-step", job("a cat on a mat", vec![shut]));
}

#[test]
fn windows() {
    let spec = EditSettings {
        cross_steps: CrossSteps {
            default: Some("0.2~0.4..0.6~0.8".parse().unwrap()),
            words: [("car".to_owned(), "steps:0..12".parse().unwrap())].into(),
        },
        self_steps: Some("0.1..0.3".parse().unwrap()),
        inject_latents: Some("0.1".parse().unwrap()),
        strength: Some(0.5),
        ..edit("a big red car")
    };
    let job = Job {
        scheduler: Some(SchedulerName::Pndm),
        guidance: Some(1.0),
        ..job("a big red bicycle", vec![spec])
    };
    snapshot("windows", job);
}

#[test]
fn blends() {
    let spec = EditSettings {
        blend: vec![BlendWords::Pair(
            vec!["squirrel".into()],
            vec!["lion".into()],
        )],
        blend_keep: vec!["burger".into()],
        blend_threshold: Some((0.3, 0.5)),
        blend_soft: true,
        ..edit("a lion eating a burger")
    };
    snapshot("blend", job("a squirrel eating a burger", vec![spec]));
    let preset = |preset, dst: &str| EditSettings {
        preset: Some(preset),
        ..edit(dst)
    };
    let free = preset(Preset::FreeShape, "a lion eating a burger");
    snapshot(
        "preset-free-shape",
        job("a squirrel eating a burger", vec![free]),
    );
    let style = preset(Preset::Style, "a watercolor painting of a squirrel");
    snapshot("preset-style", job("a squirrel", vec![style]));
}

#[test]
fn chains_and_several_edits() {
    let then = EditSettings {
        of: Some(0),
        ..edit("a fluffy dog")
    };
    let mut job = job("a cat", vec![edit("a dog"), then, edit("a lion")]);
    job.baseline = true;
    snapshot("chain", job.clone());
    job.baseline = false;
    job.control = false;
    snapshot("no-control", job);
    let morph = [0.0, 0.1, 1.0].map(|strength| EditSettings {
        strength: Some(strength),
        ..edit("a dog")
    });
    snapshot("morph", self::job("a cat", morph.to_vec()));
}

#[test]
fn the_reference_reads_otherwise() {
    let job = Job {
        rules: Rules::Reference,
        ..job("a lasagne on a plate", vec![edit("a burger on a plate")])
    };
    snapshot("compat-reference", job);
}

#[test]
fn the_plan_is_data_too() {
    let job = job("a cat", vec![edit("a big dog")]);
    let folder = mini_sd();
    let prepared = Prepared::new(&job, &folder).unwrap();
    let json = Explanation::new(&prepared, &folder, true).to_json();
    let plan: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&plan["schema"], &plan["seed"]),
        (&"p2p.explain/v1".into(), &Value::Null)
    );
    let edit = &plan["edits"][0];
    assert_eq!(edit["settings"]["edit"], EditKind::Refine.name());
    let big = &edit["tokens"][1];
    assert_eq!(
        (&big["text"], big["reads"].as_array().unwrap().len()),
        (&Value::from("big"), 0)
    );
    assert_eq!(edit["self_attention"]["steps"], serde_json::json!([1, 20]));
    // The work is the sum over the plans of all calls.
    assert_eq!(plan["work"]["conditional_rows"], 2);
    assert!(plan["work"]["denoise_gflop"].as_f64().unwrap() > 100.0);
}
