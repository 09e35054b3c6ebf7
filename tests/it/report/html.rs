//! The report's page: the runs that it finds, its cards, and that no prompt becomes markup.

use std::fs;
use std::path::Path;

use prompt_to_prompt::error::Error;
use prompt_to_prompt::report::html::pictures::url;
use prompt_to_prompt::report::html::words::{PromptPiece, changes, pieces};
use prompt_to_prompt::report::html::{Options, Page, build};
use proptest::prelude::*;

use super::gallery::{Gallery, Made, manifest, picture};

pub(super) fn page(gallery: &Gallery) -> Page {
    build(gallery.folder(), &Options::default()).unwrap()
}

/// What stands between two marks, at each place.
pub(super) fn between<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let rest = text.split(from).skip(1);
    rest.map(|rest| rest.split(to).next().unwrap()).collect()
}

pub(super) fn cards(html: &str) -> usize {
    html.matches("<article").count()
}

#[test]
fn every_run_below_the_folder_is_a_card_in_the_order_of_names() {
    let gallery = Gallery::new();
    for name in ["job-10", "job-2", "deep/er/job-1", "job-2/inner"] {
        gallery.run(name, &Made::default());
    }
    gallery.run(".p2p-half-written", &Made::default());
    let page = page(&gallery);
    let names = between(&page.html, "<h2>", "</h2>");
    assert_eq!(names, ["deep/er/job-1", "job-2", "job-2/inner", "job-10"]);
    assert_eq!(page.warnings, Vec::<String>::new());
    assert_eq!(page.summary, "4 edits of 1 prompt, seed 4, storybook");
}

#[test]
fn what_is_torn_or_foreign_is_left_out_and_said() {
    let gallery = Gallery::new();
    gallery.run("good", &Made::default());
    gallery.write("torn/manifest.json", "{\"schema\": \"p2p.edit/v1\", \"sou");
    gallery.write("foreign/manifest.json", "{\"name\": \"an extension\"}");
    gallery.write(
        "newer/manifest.json",
        "{\"schema\": \"p2p.edit/v9\", \"source\": {}}",
    );
    gallery.run("lost", &Made::default());
    fs::remove_file(gallery.path("lost/edited-1.png")).unwrap();
    gallery.run("maps", &Made::default());
    gallery.write("maps/attn/index.json", "[]");
    let page = page(&gallery);
    assert_eq!(cards(&page.html), 2);
    let said = page.warnings.join("\n");
    for folder in [
        "torn/manifest.json",
        "foreign/manifest.json",
        "newer/manifest.json",
    ] {
        assert!(said.contains(folder), "{folder}: {said}");
    }
    assert!(said.contains("lost/edited-1.png is missing"), "{said}");
    assert!(said.contains("attn/index.json"), "{said}");
    assert_eq!(page.warnings.len(), 5, "{said}");
}

#[test]
fn a_chain_that_leads_nowhere_is_left_out() {
    let gallery = Gallery::new();
    gallery.run("a", &Made::default());
    for of in [0, 1, 7] {
        let mut value = manifest(&Made::default(), &[]);
        value["edits"][0]["of_edit"] = of.into();
        gallery.write(&format!("chain-{of}/manifest.json"), value.to_string());
    }
    let page = page(&gallery);
    assert_eq!((cards(&page.html), page.warnings.len()), (1, 3));
}

#[test]
fn a_folder_without_edits_is_an_error() {
    let gallery = Gallery::new();
    let none = build(gallery.folder(), &Options::default());
    assert!(matches!(none, Err(Error::Usage(_))), "{none:?}");
    let missing = build(&gallery.path("nowhere"), &Options::default());
    assert!(matches!(missing, Err(Error::Usage(_))), "{missing:?}");
}

#[test]
fn scripts_in_prompts_and_names_are_text() {
    let gallery = Gallery::new();
    let src = "<script>alert(1)</script>";
    let dst = "\"><img src=x onerror=alert(1)> </title></style> <!-- ]]> &lt; ' `";
    gallery.run(
        "<b>bold",
        &Made {
            src,
            dst,
            ..Made::default()
        },
    );
    gallery.heatmaps(
        "<b>bold",
        &Made {
            src,
            dst,
            ..Made::default()
        },
    );
    let html = page(&gallery).html;
    // Ours, and at the end.
    assert_eq!(html.matches("<script").count(), 1);
    for tag in ["<img src=x", "<b>", "<!--", "</title></style>"] {
        assert!(!html.contains(tag), "{tag}");
    }
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(html.contains("%3Cb%3Ebold/source.png"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a prompt holds, the page has the tags that it has with a plain one, and the text is all there.
    #[test]
    fn no_prompt_becomes_markup(prompt in "[\\PC<>&\"'/! -]{1,60}") {
        let tags = |prompt: &str| {
            let gallery = Gallery::new();
            gallery.run("a", &Made { src: prompt, dst: prompt, ..Made::default() });
            let html = page(&gallery).html;
            // A command has a span for each of its words, whose number depends on the prompt.
            let command = between(&html, "<pre id=\"command-1\">", "</pre>")[0].to_owned();
            let html = html.replace(&command, "");
            let words = command.replace("<span>", "").replace("</span>", "");
            (['<', '>', '"'].map(|sign| html.matches(sign).count()), words, html)
        };
        let ((plain, ..), (odd, words, html)) = (tags("x"), tags(&prompt));
        prop_assert_eq!(plain, odd, "{}", prompt);
        prop_assert!(!words.contains(['<', '>', '"']), "{}", words);
        let text = |html: &str| between(html, "data-side=\"after\">", "</dd>")[0].to_owned();
        let unescaped = text(&html)
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&amp;", "&");
        prop_assert_eq!(unescaped, prompt);
    }

    #[test]
    fn pieces_are_the_prompt(prompt in ".{0,60}", other in ".{0,60}", at in 0usize..60, n in 0usize..9) {
        let [changed, _] = changes(&prompt, &other);
        let pieces = pieces(&prompt, &changed, &[(0, at..at + n)]);
        let whole: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
        prop_assert_eq!(whole, prompt);
    }

    #[test]
    fn a_link_is_one_path(name in "\\PC{1,20}") {
        prop_assume!(!name.contains(['/', '\\']) && name != "." && name != "..");
        let link = url(Path::new(&name));
        prop_assert!(link.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.~%".contains(&c)), "{}", link);
        let back = percent_encoding::percent_decode_str(&link).decode_utf8().unwrap().into_owned();
        prop_assert_eq!(back, name);
    }
}

#[test]
fn words_that_the_other_prompt_lacks_are_marked() {
    let marked = |a: &str, b: &str| {
        let [removed, added] = changes(a, b);
        let words = |prompt: &str, changed: &[std::ops::Range<usize>]| -> Vec<String> {
            let marked = |piece: PromptPiece| piece.changed.then_some(piece.text);
            pieces(prompt, changed, &[])
                .into_iter()
                .filter_map(marked)
                .collect()
        };
        (words(a, &removed), words(b, &added))
    };
    let of = |words: &[&str]| words.iter().map(|w| w.to_string()).collect::<Vec<_>>();
    assert_eq!(
        marked("a Cat on the beach", "a dog on the red beach, at night"),
        (of(&["Cat"]), of(&["dog", "red", "at", "night"]))
    );
    assert_eq!(
        marked("a cat and a dog", "a dog and a cat").1,
        of(&["dog", "cat"])
    );
    assert_eq!(marked("a CAT,", "a cat"), (of(&[]), of(&[])));
    assert_eq!(marked("ça 🐱", "ça 🐶"), (of(&["🐱"]), of(&["🐶"])));
}

#[test]
fn words_with_a_heatmap_are_buttons() {
    let gallery = Gallery::new();
    let made = Made {
        src: "ein Zöö cat",
        dst: "ein Zöö dog",
        ..Made::default()
    };
    gallery.run("a", &made);
    assert!(!page(&gallery).html.contains("data-map"));
    gallery.heatmaps("a", &made);
    let html = page(&gallery).html;
    let words = between(
        &html,
        "title=\"Show the heatmap of this word\">",
        "</button>",
    );
    let mark = |word: &str| format!("<mark>{word}</mark>");
    assert_eq!(
        words,
        ["ein", "Zöö", &mark("cat"), "ein", "Zöö", &mark("dog")]
    );
    let maps = between(&html, "data-map=\"", "\"");
    assert_eq!(maps[0], "a/attn/source/00.png");
    assert_eq!(maps[5], "a/attn/edited-1/02.png");
    // A map that is gone leaves a word; one that leads out of the folder is none.
    fs::remove_file(gallery.path("a/attn/source/00.png")).unwrap();
    assert_eq!(page(&gallery).html.matches("data-map").count(), 5);
    let index = fs::read_to_string(gallery.path("a/attn/index.json")).unwrap();
    gallery.write("secret.png", picture(4, 0, 0));
    gallery.write(
        "a/attn/index.json",
        index.replace("attn/source/01.png", "../secret.png"),
    );
    assert_eq!(page(&gallery).html.matches("data-map").count(), 4);
}

#[test]
fn baseline_and_mask_can_be_shown_where_they_were_drawn() {
    let gallery = Gallery::new();
    gallery.run(
        "a",
        &Made {
            more: &["baseline-1.png", "mask-1.png"],
            ..Made::default()
        },
    );
    gallery.run("b", &Made::default());
    let html = page(&gallery).html;
    assert_eq!(
        between(&html, "data-src=\"", "\""),
        ["a/baseline-1.png", "a/mask-1.png"]
    );
    assert_eq!(html.matches("<fieldset").count(), 1);
}

/// A chain of a replacement and a refinement, which asked for its kind or didn't.
#[test]
fn what_no_line_says_is_rerun_from_its_picture() {
    let gallery = Gallery::new();
    let made = Made::default();
    let mut value = manifest(&made, &["source.png", "edited-1.png", "edited-2.png"]);
    let mut second = value["edits"][0].clone();
    (second["of_edit"], second["prompt"]) = (1.into(), "a wet dog".into());
    value["edits"].as_array_mut().unwrap().push(second);
    let mut drawn = value["pictures"][1].clone();
    (drawn["file"], drawn["edit"]) = ("edited-2.png".into(), 2.into());
    let mut then = drawn["settings"]["edit"][0].clone();
    then.as_object_mut().unwrap().remove("dst");
    (then["then"], then["edit"]) = ("a wet dog".into(), "refine".into());
    drawn["settings"]["edit"].as_array_mut().unwrap().push(then);
    value["pictures"].as_array_mut().unwrap().push(drawn);
    gallery.run("it's a", &made);
    gallery.write("it's a/edited-2.png", picture(16, 1, 1));
    gallery.write("it's a/manifest.json", value.to_string());
    let command = |gallery: &Gallery| {
        let html = page(gallery).html;
        between(&html, "id=\"command-2\">", "</pre>")[0]
            .replace("<span>", "")
            .replace("</span>", "")
    };
    let line = "p2p edit --src 'a cat on the beach' --dst 'a dog on the beach' --then 'a wet dog' ";
    assert!(command(&gallery).starts_with(line), "{}", command(&gallery));
    value["edits"][1]["kind_chosen_by"] = "user".into();
    gallery.write("it's a/manifest.json", value.to_string());
    assert_eq!(
        command(&gallery),
        "p2p rerun &quot;it's a/edited-2.png&quot;"
    );
}

/// All that tells it from its source, whose prompt is the same.
#[test]
fn what_a_word_weighs_stands_beside_the_prompt() {
    let gallery = Gallery::new();
    let made = Made::default();
    let mut value = manifest(&made, &["source.png", "edited-1.png"]);
    value["pictures"][1]["settings"]["edit"][0]["weight"] = serde_json::json!({ "<b>": 2.5 });
    gallery.run("a", &made);
    gallery.write("a/manifest.json", value.to_string());
    let html = page(&gallery).html;
    let weights = between(&html, "<small class=\"weight\">", "</small>");
    assert_eq!(weights, ["&lt;b&gt; × 2.5"]);
}

#[test]
fn an_edit_whose_source_was_not_drawn_is_shown_alone() {
    let gallery = Gallery::new();
    let mut value = manifest(&Made::default(), &["edited-1.png"]);
    value["edits"][0].as_object_mut().unwrap().remove("change");
    gallery.write("manifest.json", value.to_string());
    gallery.write("edited-1.png", picture(16, 1, 1));
    let html = page(&gallery).html;
    assert_eq!(between(&html, " src=\"", "\""), ["edited-1.png"]);
    assert!(
        html.contains("data-side=\"before\"")
            && !html.contains("type=\"range\" min=\"0\" max=\"100\"")
    );
}

#[test]
fn the_same_runs_give_the_same_page() {
    let gallery = Gallery::new();
    for seed in 0..5 {
        gallery.run(
            &format!("run-{seed}"),
            &Made {
                seed,
                ..Made::default()
            },
        );
    }
    assert_eq!(page(&gallery).html, page(&gallery).html);
}

#[test]
fn five_hundred_edits_are_a_small_page() {
    let gallery = Gallery::new();
    for seed in 0..500 {
        gallery.run(
            &format!("run-{seed}"),
            &Made {
                seed,
                ..Made::default()
            },
        );
    }
    let page = page(&gallery);
    assert_eq!(cards(&page.html), 500);
    assert!(page.html.len() < 2_000_000, "{} bytes", page.html.len());
}
