//! The report in a browser: opened from disk, used with mouse, finger and keyboard.
//! The tests are skipped without Chromium, but fail where the environment variable `CI` is set.

use std::path::PathBuf;

use prompt_to_prompt::report::html::write;
use serde_json::json;

use super::chromium::Browser;
use super::gallery::{Gallery, Made};

pub(super) const FIRST: &str = "document.querySelector('.card:not([hidden])')";

/// Where the first card's slider stands, in percent.
fn slider(browser: &mut Browser) -> f64 {
    browser.number("Number(document.querySelector('.frame input').value)")
}

/// How much of the first card's width is the picture before, as painted.
fn painted(browser: &mut Browser) -> f64 {
    browser.number(
        "parseFloat(getComputedStyle(document.querySelector('.after')).clipPath.split(' ').pop())",
    )
}

/// The seeds of the cards that are shown, in order.
fn seeds(browser: &mut Browser) -> String {
    browser.text(
        "[...document.querySelectorAll('.card')].filter(c => c.checkVisibility())
            .map(c => c.dataset.seed).join(' ')",
    )
}

/// Types into a field of the bar, instead of what is there.
fn type_into(browser: &mut Browser, name: &str, text: &str) {
    browser.eval(&format!(
        "bar.elements.{name}.focus(); bar.elements.{name}.select()"
    ));
    browser.write(text);
}

fn choose(browser: &mut Browser, order: &str) {
    browser.eval(&format!(
        "bar.elements.sort.value = '{order}';
         bar.elements.sort.dispatchEvent(new Event('input', {{ bubbles: true }}))"
    ));
}

/// Nothing was complained of and nothing asked for but the page and the pictures beside it.
pub(super) fn assert_quiet(browser: &mut Browser, gallery: &Gallery) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let inside = format!("file://{}/", gallery.folder().display());
    for url in browser.requests() {
        assert!(url.starts_with(&inside), "{url}");
    }
}

/// `light` or `dark`, as a system would have it.
pub(super) fn prefer(browser: &mut Browser, scheme: &str) {
    let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
    browser.call(
        "Emulation.setEmulatedMedia",
        json!({ "features": features }),
    );
}

pub(super) fn report(gallery: &Gallery) -> PathBuf {
    write(gallery.folder(), None, false).unwrap().0
}

#[test]
fn the_slider_follows_mouse_finger_and_keys() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let gallery = Gallery::new();
    gallery.run("a", &Made::default());
    browser.open(&report(&gallery), 1200, 900);
    assert_eq!((slider(&mut browser), painted(&mut browser)), (50.0, 50.0));

    let [left, right] = [0.2, 0.7].map(|x| browser.place(".frame", x, 0.4));
    browser.mouse("mousePressed", left);
    assert_eq!((slider(&mut browser), painted(&mut browser)), (20.0, 20.0));
    browser.mouse("mouseMoved", right);
    assert_eq!((slider(&mut browser), painted(&mut browser)), (70.0, 70.0));
    browser.mouse("mouseReleased", right);
    browser.mouse("mouseMoved", left);
    assert_eq!(
        slider(&mut browser),
        70.0,
        "it follows a pressed mouse only"
    );

    // The pointer left the focus where the keys go on.
    browser.key("ArrowRight");
    assert_eq!((slider(&mut browser), painted(&mut browser)), (71.0, 71.0));
    browser.key("Home");
    assert_eq!(painted(&mut browser), 0.0);
    browser.key("End");
    assert_eq!(painted(&mut browser), 100.0);
    let said = browser.text("document.querySelector('.frame input').ariaValueText");
    assert_eq!(said, "100 % source, the rest edited");

    browser.touch("touchStart", Some(left));
    browser.touch("touchMove", Some(right));
    browser.touch("touchEnd", None);
    assert_eq!((slider(&mut browser), painted(&mut browser)), (70.0, 70.0));
    browser.touch("touchStart", Some(left));
    browser.touch("touchEnd", None);
    assert_eq!(painted(&mut browser), 20.0, "a tap");
    assert_quiet(&mut browser, &gallery);
}

#[test]
fn the_keyboard_alone_reaches_the_slider_and_shows_where() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let gallery = Gallery::new();
    gallery.run("a", &Made::default());
    browser.open(&report(&gallery), 1200, 900);
    let outline = "getComputedStyle(document.querySelector('.handle'), '::after').outlineStyle";
    assert_eq!(browser.text(outline), "none");
    browser.key("Tab"); // the theme
    browser.key("Tab");
    assert_eq!(browser.text("document.activeElement.type"), "range");
    assert_eq!(browser.text(outline), "solid");
    browser.key("ArrowLeft");
    assert_eq!(painted(&mut browser), 49.0);
}

#[test]
fn pictures_are_shown_under_the_policy_and_the_baseline_on_demand() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let gallery = Gallery::new();
    gallery.run(
        "50% off? #1",
        &Made {
            more: &["baseline-1.png", "mask-1.png"],
            ..Made::default()
        },
    );
    browser.open(&report(&gallery), 1200, 900);
    let shown = "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))
        .then(widths => widths.join(' '))";
    assert_eq!(browser.text(shown), "16 16");
    let asked = |browser: &Browser| {
        browser
            .requests()
            .iter()
            .any(|url| url.contains("baseline"))
    };
    assert!(!asked(&browser));
    browser.click(".views label:nth-of-type(2)");
    assert_eq!(browser.text(shown), "16 16");
    assert!(asked(&browser));
    assert_eq!(
        browser.text("document.querySelector('.after figcaption').textContent"),
        "without control"
    );
    browser.key("ArrowLeft");
    let src = browser.text("document.querySelector('.after img').src");
    assert!(src.ends_with("edited-1.png"), "{src}");
    assert_quiet(&mut browser, &gallery);
}

#[test]
fn a_word_shows_its_heatmap_to_pointer_focus_and_finger() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let gallery = Gallery::new();
    gallery.run("a", &Made::default());
    gallery.heatmaps("a", &Made::default());
    browser.open(&report(&gallery), 1200, 900);
    let heat =
        "[...document.querySelectorAll('.heat')].map(h => h.src.split('/attn/')[1]).join(' ')";
    assert_eq!(browser.text(heat), "");

    let cat = browser.place("[data-side=before] .word:nth-of-type(2)", 0.5, 0.5);
    let away = browser.place("h1", 0.5, 0.5);
    browser.mouse("mouseMoved", cat);
    assert_eq!(browser.text(heat), "source/01.png");
    let whole = "getComputedStyle(document.querySelector('.after')).display";
    assert_eq!(
        browser.text(whole),
        "none",
        "it covers the picture that it belongs to"
    );
    browser.mouse("mouseMoved", away);
    assert_eq!(browser.text(heat), "");

    // Pressed, it stays; another takes over while the pointer is on it.
    browser.click("[data-side=after] .word:nth-of-type(2)");
    browser.mouse("mouseMoved", away);
    assert_eq!(browser.text(heat), "edited-1/01.png");
    browser.mouse("mouseMoved", cat);
    assert_eq!(browser.text(heat), "source/01.png");
    browser.mouse("mouseMoved", away);
    assert_eq!(browser.text(heat), "edited-1/01.png");
    browser.key("Escape");
    assert_eq!(browser.text(heat), "");

    // One stop for the tab key in each prompt, the arrows inside.
    browser.eval("document.querySelector('.frame input').focus()");
    browser.key("Tab");
    assert_eq!(browser.text(heat), "source/00.png");
    browser.key("ArrowRight");
    assert_eq!(browser.text(heat), "source/01.png");
    browser.key("Tab");
    assert_eq!(browser.text(heat), "edited-1/00.png");
    browser.key("Tab");
    assert_eq!(browser.text(heat), "");

    browser.touch("touchStart", Some(cat));
    browser.touch("touchEnd", None);
    assert_eq!(browser.text(heat), "source/01.png");
    browser.touch("touchStart", Some(cat));
    browser.touch("touchEnd", None);
    assert_eq!(browser.text(heat), "");
    assert_quiet(&mut browser, &gallery);
}

/// The largest seed.
const LARGEST: u64 = u64::MAX;

/// Four edits of different seeds, prompts and changes.
fn four_edits() -> Gallery {
    let gallery = Gallery::new();
    let made = |seed, dst, change| Made {
        seed,
        dst,
        change,
        ..Made::default()
    };
    gallery.run("1", &made(3, "a dog on the beach", (30.0, 9.0)));
    gallery.run("2", &made(10, "a lion on the beach", (10.0, 1.0)));
    gallery.run("3", &made(LARGEST, "an owl on the beach", (20.0, 5.0)));
    gallery.run("4", &made(0, "a bear on the beach", (0.5, 0.1)));
    gallery
}

#[test]
fn filters_and_orders_work() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let (gallery, largest) = (four_edits(), LARGEST);
    browser.open(&report(&gallery), 1200, 900);
    let all = format!("3 10 {largest} 0");
    assert_eq!(seeds(&mut browser), all);

    for (order, expected) in [
        ("prompt", format!("0 3 10 {largest}")),
        ("seed", format!("0 3 10 {largest}")),
        ("inside-most", format!("3 {largest} 10 0")),
        ("inside-least", format!("0 10 {largest} 3")),
        ("outside-least", format!("0 10 {largest} 3")),
        ("outside-most", format!("3 {largest} 10 0")),
        ("place", all.clone()),
    ] {
        choose(&mut browser, order);
        assert_eq!(seeds(&mut browser), expected, "{order}");
    }

    let count = "document.getElementById('count').textContent";
    for (field, typed, expected) in [
        ("find", "BEACH dog", "3".to_owned()),
        ("find", "dog lion", String::new()),
        ("find", "<", String::new()),
        ("find", "", all.clone()),
        ("seed", "3, 10", "3 10".to_owned()),
        ("seed", "1..20", "3 10".to_owned()),
        ("seed", &largest.to_string(), largest.to_string()),
        ("seed", "x", String::new()),
        ("seed", " ", all.clone()),
        ("inside", "15", format!("3 {largest}")),
        ("outside", "6", largest.to_string()),
        ("inside", "", format!("10 {largest} 0")),
    ] {
        match typed {
            "" => {
                type_into(&mut browser, field, "0");
                browser.eval(&format!("bar.elements.{field}.value = ''; filter()"));
            }
            typed => type_into(&mut browser, field, typed),
        }
        assert_eq!(seeds(&mut browser), expected, "{field}: {typed}");
        let shown = expected.split_whitespace().count();
        assert_eq!(browser.text(count), format!("{shown} of 4"));
    }
    type_into(&mut browser, "find", "nothing like it");
    browser.click("#none button");
    assert_eq!(seeds(&mut browser), all);
    browser.eval("bar.elements.find.focus()");
    browser.key("Enter");
    assert_quiet(&mut browser, &gallery);
}

#[test]
fn scripts_in_prompts_do_not_run() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let gallery = Gallery::new();
    let src = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>";
    let dst = "\"><svg onload=\"window.hit = 1\"></article></main><!-- &lt;b&gt;";
    let made = Made {
        src,
        dst,
        ..Made::default()
    };
    gallery.run("<img src=x onerror=alert(1)>", &made);
    gallery.heatmaps("<img src=x onerror=alert(1)>", &made);
    gallery.run("plain", &Made::default());
    browser.open(&report(&gallery), 1200, 900);
    browser.click(".word:nth-of-type(2)");
    assert_eq!(browser.text("typeof window.hit"), "undefined");
    let prompt = |side: &str| format!("document.querySelector('[data-side={side}]').textContent");
    assert_eq!(browser.text(&prompt("before")), src);
    assert_eq!(browser.text(&prompt("after")), dst);
    assert_eq!(
        browser.number("document.querySelectorAll('main > .card').length"),
        2.0
    );
    assert_quiet(&mut browser, &gallery);
}

#[test]
fn the_command_is_copied() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let gallery = Gallery::new();
    gallery.run(
        "a",
        &Made {
            dst: "it's a dog",
            ..Made::default()
        },
    );
    browser.open(&report(&gallery), 1200, 900);
    let permissions = json!({ "permissions": ["clipboardReadWrite"] });
    browser.call("Browser.grantPermissions", permissions);
    browser.click("[data-copies]");
    let copied = browser.text("navigator.clipboard.readText()");
    assert!(
        copied.starts_with("p2p edit --src 'a cat on the beach' --dst \"it's a dog\""),
        "{copied}"
    );
    assert_eq!(
        browser.text("document.querySelector('[data-copies]').textContent"),
        "Copied"
    );
    assert_quiet(&mut browser, &gallery);
}

#[test]
fn light_and_dark_follow_the_system_and_the_button() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let gallery = Gallery::new();
    gallery.run("a", &Made::default());
    browser.open(&report(&gallery), 400, 800);
    let ground = "getComputedStyle(document.body).backgroundColor";
    prefer(&mut browser, "light");
    let light = browser.text(ground);
    prefer(&mut browser, "dark");
    let dark = browser.text(ground);
    assert_ne!(light, dark);
    let label = "new Promise(requestAnimationFrame).then(() => theme.textContent)";
    assert_eq!(browser.text(label), "Light");
    browser.click("#theme");
    assert_eq!(browser.text(ground), light);
    browser.click("#theme");
    assert_eq!(browser.text(ground), dark);
    assert_quiet(&mut browser, &gallery);
}
