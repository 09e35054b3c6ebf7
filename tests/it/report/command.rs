//! From settings to a command line: each form of value, what is left out, and what no line says.

use prompt_to_prompt::report::command::command_line;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn settings_become_flags() {
    let settings = json!({
        "src": "a red cat",
        "seed": u64::MAX,
        "steps": 30,
        "guidance": 5.0,
        "negative_prompt": "rain, snow",
        "metadata": false,
        "fast": true,
        "compat": null,
        "model": "storybook",
        "edit": [{
            "dst": "a red dog",
            "edit": "replace",
            "weight": { "red": 2.0, "teddy bear": -0.5 },
            "cross_steps": { "default": "0..0.8", "dog": "0..0.4" },
            "self_steps": "0..0.4",
            "blend": ["cat:dog", "auto"],
            "blend_keep": ["red"],
            "blend_threshold": [0.3, 0.25],
        }],
    });
    assert_eq!(
        command_line(&settings).unwrap(),
        "p2p edit --src 'a red cat' --dst 'a red dog' --weight 'red=2' --weight 'teddy bear=-0.5' \
         --cross-steps 0..0.8 --cross-steps 'dog=0..0.4' --self-steps 0..0.4 --blend cat:dog --blend auto \
         --blend-keep red --blend-threshold '0.3,0.25' --edit replace --seed 18446744073709551615 \
         --steps 30 --guidance 5 --negative-prompt 'rain, snow' --no-metadata --fast"
    );
}

#[test]
fn a_chain_is_one_line_where_its_edits_are_set_alike() {
    let chain = |second: f64| {
        json!({ "src": "a", "edit": [
            { "dst": "b", "strength": 0.5 }, { "then": "c", "strength": second },
        ] })
    };
    assert_eq!(
        command_line(&chain(0.5)).unwrap(),
        "p2p edit --src a --dst b --then c --strength 0.5"
    );
    assert_eq!(command_line(&chain(0.6)), None);
}

#[test]
fn an_edit_that_wants_another_negative_prompt_than_its_source_is_no_line() {
    let own = json!({ "src": "a", "negative_prompt": "x", "edit": [{ "dst": "b", "negative_prompt": "y" }] });
    assert_eq!(command_line(&own), None);
}

#[test]
fn a_picture_alone_is_a_heatmap_s() {
    let picture = json!({ "src": "a cat", "edit": [], "seed": 3, "model": "mini" });
    assert_eq!(
        command_line(&picture).unwrap(),
        "p2p heatmap --prompt 'a cat' --seed 3 --model mini"
    );
}

proptest! {
    /// A shell reads back what was meant, whatever the prompt.
    #[test]
    fn a_shell_reads_the_prompts_back(src in "[^\0]{0,40}", dst in "-?[^\0]{0,40}") {
        let line = command_line(&json!({ "src": src, "edit": [{ "dst": dst }] })).unwrap();
        let words = shlex::split(&line).unwrap();
        let value = |name: &str| {
            let at = words.iter().position(|w| w == name).map(|at| words[at + 1].clone());
            at.or_else(|| Some(words.iter().find_map(|w| w.strip_prefix(&format!("{name}=")))?.to_owned()))
        };
        prop_assert_eq!(value("--src"), Some(src));
        prop_assert_eq!(value("--dst"), Some(dst));
    }
}
