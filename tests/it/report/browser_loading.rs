//! The report in a browser: what large pages and embedded pictures load, and screenshots for people.

use super::browser::{FIRST, assert_quiet, prefer, report};
use super::chromium::Browser;
use super::gallery::{Gallery, Made};
use prompt_to_prompt::report::html::write;
use std::path::PathBuf;

#[test]
fn five_hundred_cards_scroll_and_load_only_what_is_seen() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let gallery = Gallery::new();
    for seed in 0..500 {
        gallery.run(
            &format!("run-{seed}"),
            &Made {
                seed,
                side: 128,
                ..Made::default()
            },
        );
    }
    let report = report(&gallery);
    for width in [400, 1200, 2000] {
        browser.open(&report, width, 900);
        let pictures = browser.requests().len();
        assert!(
            pictures < 200,
            "{width} px: {pictures} requests before anything is scrolled"
        );
        let out = browser
            .number("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(out, 0.0, "{width} px: something sticks out");
    }
    // Scrolling to the end loads the last card's pictures. The page draws only the cards near the window.
    let before = browser.requests().len();
    let drawn = browser.text(
        "new Promise(done => {
            const step = y => {
                scrollTo(0, y);
                if (y < document.documentElement.scrollHeight)
                    requestAnimationFrame(() => step(y + 400));
                else {
                    const images = [...document.querySelectorAll('.card:last-of-type img')];
                    Promise.all(images.map(image => image.decode()))
                        .then(() => done(getComputedStyle(document.querySelector('.card')).contentVisibility));
                }
            };
            step(0);
        })",
    );
    assert_eq!(drawn, "auto");
    assert!(browser.requests().len() > before);
    let shown = "[...document.querySelectorAll('.card')].filter(c => c.checkVisibility()).length";
    browser.eval("bar.elements.seed.value = '490..499'; filter()");
    assert_eq!(browser.number(shown), 10.0);
    assert_eq!(browser.text(&format!("{FIRST}.dataset.seed")), "490");
    browser.eval(
        "bar.elements.seed.value = ''; filter(); bar.elements.sort.value = 'inside-most'; sort()",
    );
    assert_eq!(browser.number(shown), 500.0);
    assert_eq!(browser.text(&format!("{FIRST}.dataset.seed")), "0");
    assert_quiet(&mut browser, &gallery);
}

#[test]
fn embedded_pictures_are_shown_without_a_request() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let gallery = Gallery::new();
    gallery.run("a", &Made::default());
    gallery.heatmaps("a", &Made::default());
    let alone = Gallery::new();
    let page = alone.path("page.html");
    write(gallery.folder(), Some(&page), true).unwrap();
    browser.open(&page, 1200, 900);
    let loaded = "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))
        .then(widths => widths.join(' '))";
    assert_eq!(browser.text(loaded), "16 16");
    browser.click(".word");
    assert_eq!(
        browser.text(loaded),
        "16 8 16",
        "a heatmap no larger than it needs to be"
    );
    let files = browser
        .requests()
        .into_iter()
        .filter(|url| !url.starts_with("data:"));
    assert_eq!(files.count(), 1, "the page itself");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// `cargo test screenshots -- --ignored --nocapture` says where they are.
#[test]
#[ignore = "for eyes"]
fn screenshots() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let gallery = Gallery::new();
    let more = &["baseline-1.png", "mask-1.png"];
    for seed in 0..12 {
        let made = Made {
            seed: seed * 20,
            side: 128,
            more: if seed % 3 == 0 { more } else { &[] },
            ..Made::default()
        };
        let name = format!("run-{seed}");
        gallery.run(&name, &made);
        if seed % 2 == 0 {
            gallery.heatmaps(&name, &made);
        }
    }
    let report = report(&gallery);
    for (width, scheme) in [400, 1200, 2000]
        .into_iter()
        .flat_map(|w| [(w, "light"), (w, "dark")])
    {
        prefer(&mut browser, scheme);
        browser.open(&report, width, 1000);
        let file = format!("report-{width}-{scheme}.png");
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
        browser.screenshot(&file);
        println!("{}", file.display());
    }
}
