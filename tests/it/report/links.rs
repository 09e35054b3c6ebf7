//! How the report's page refers to pictures: links, embedded pictures, pages outside the folder.

use std::fs;

use prompt_to_prompt::error::Error;
use prompt_to_prompt::report::html::{Options, build, write};

use super::gallery::{Gallery, Made, manifest, picture};
use super::html::{between, page};

#[test]
fn the_page_asks_for_nothing_but_its_pictures() {
    let gallery = Gallery::new();
    let odd = "50% off? #1 & more: é";
    gallery.run(odd, &Made::default());
    let html = page(&gallery).html;
    assert!(!html.contains("http:") && !html.contains("https:") && !html.contains("//www"));
    assert_eq!(
        between(&html, " src=\"", "\""),
        ["source", "edited-1"]
            .map(|name| format!("50%25%20off%3F%20%231%20%26%20more%3A%20%C3%A9/{name}.png"))
    );
    let policy = between(
        &html,
        "http-equiv=\"Content-Security-Policy\" content=\"",
        "\"",
    )[0];
    assert!(
        policy.starts_with("default-src 'none'; img-src 'self' file:;"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!html.contains(" style=") && !html.contains(" onclick="));
}

#[test]
fn embedded_pictures_stand_in_the_page_once_and_are_pictures() {
    let gallery = Gallery::new();
    let two = Made::default();
    gallery.run("a", &two);
    // Two edits of one source.
    let mut value = manifest(&two, &["source.png", "edited-1.png", "edited-2.png"]);
    let second = value["edits"][0].clone();
    value["edits"].as_array_mut().unwrap().push(second);
    let mut drawn = value["pictures"][1].clone();
    (drawn["file"], drawn["edit"]) = ("edited-2.png".into(), 2.into());
    value["pictures"].as_array_mut().unwrap().push(drawn);
    gallery.write("a/manifest.json", value.to_string());
    gallery.write("a/edited-2.png", picture(16, 9, 9));
    gallery.heatmaps("a", &two);
    // A link to what is no picture must not end up in a file that is sent around.
    gallery.run("b", &two);
    gallery.write("b/edited-1.png", "root:x:0:0");
    let options = Options {
        embed: true,
        ..Options::default()
    };
    let page = build(gallery.folder(), &options).unwrap();
    let sources = between(&page.html, " src=\"", "\"");
    assert_eq!(sources.len(), 3);
    assert!(
        sources
            .iter()
            .all(|src| src.starts_with("data:image/png;base64,"))
    );
    assert_eq!(between(&page.html, "data-same=\"", "\""), ["0"]);
    let maps = between(&page.html, "data-map=\"", "\"");
    assert_eq!(maps.len(), 5 + 5 + 5); // the source's on both cards
    assert!(
        maps.iter()
            .all(|map| map.starts_with("data:image/png;base64,"))
    );
    assert!(!page.html.contains(".png\""), "nothing is linked to");
    assert_eq!(page.warnings.len(), 1, "{:?}", page.warnings);
    assert!(page.html.contains("img-src data:;"));
}

#[test]
fn a_page_elsewhere_links_to_the_pictures_and_replaces_only_pages() {
    let gallery = Gallery::new();
    gallery.run("out/a", &Made::default());
    fs::create_dir(gallery.path("pages")).unwrap();
    let (path, _) = write(
        &gallery.path("out"),
        Some(&gallery.path("pages/r.html")),
        false,
    )
    .unwrap();
    let html = fs::read_to_string(&path).unwrap();
    assert_eq!(between(&html, " src=\"", "\"")[0], "../out/a/source.png");
    // Again, and beside the runs.
    write(&gallery.path("out"), Some(&path), false).unwrap();
    let (path, page) = write(&gallery.path("out"), None, false).unwrap();
    assert_eq!(path, gallery.path("out/report.html"));
    assert_eq!(fs::read_to_string(path).unwrap(), page.html);
    assert!(page.html.contains("<h1>out</h1>"));
    let picture = gallery.path("out/a/source.png");
    let before = fs::read(&picture).unwrap();
    let refused = write(&gallery.path("out"), Some(&picture), false);
    assert!(matches!(refused, Err(Error::Usage(_))), "{refused:?}");
    assert_eq!(fs::read(&picture).unwrap(), before);
}
