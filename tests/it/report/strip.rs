//! The strip: its size, and that every character leaves a mark.

use image::{Rgb, RgbImage};
use prompt_to_prompt::report::strip::{Panel, strip};

fn picture(side: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| Rgb([x as u8, y as u8, 90]))
}

fn drawn(side: u32, label: &str, caption: &str) -> RgbImage {
    let picture = picture(side);
    strip(&[Panel {
        picture: &picture,
        label,
        caption,
    }])
}

/// Pixels that are not white below the picture.
fn ink(sheet: &RgbImage, side: u32) -> usize {
    let below = sheet.enumerate_pixels().filter(|(_, y, _)| *y >= 16 + side);
    below.filter(|(_, _, pixel)| pixel.0 != [255; 3]).count()
}

#[test]
fn small_pictures_grow_by_a_whole_factor_and_large_ones_stay() {
    assert_eq!(
        drawn(128, "", "").dimensions(),
        (16 + 256 + 16, 16 + 256 + 16)
    );
    assert_eq!(drawn(100, "", "").width(), 16 + 300 + 16);
    assert_eq!(drawn(512, "", "").width(), 16 + 512 + 16);
    let large = drawn(512, "", "a cat");
    assert_eq!(
        large.get_pixel(16 + 7, 16 + 9),
        &Rgb([7, 9, 90]),
        "untouched pixels"
    );
}

#[test]
fn panels_stand_side_by_side() {
    let picture = picture(256);
    let panel = |caption| Panel {
        picture: &picture,
        label: "source",
        caption,
    };
    let sheet = strip(&[panel("a cat"), panel("a dog"), panel("a fox")]);
    assert_eq!(sheet.width(), 16 + 3 * 256 + 2 * 16 + 16);
    assert_eq!(strip(&[]).dimensions(), (32, 32));
}

#[test]
fn missing_glyphs_leave_a_box() {
    assert_eq!(ink(&drawn(256, "", ""), 256), 0);
    for missing in ["猫", "🦩", "\u{10ffff}"] {
        assert!(ink(&drawn(256, "", missing), 256) > 10, "{missing:?}");
    }
}

#[test]
fn control_characters_count_as_spaces() {
    assert_eq!(
        drawn(256, "", "a\n\tcat\0sits\x1b"),
        drawn(256, "", "a cat sits")
    );
}

#[test]
fn long_captions_end_after_six_lines() {
    let height = |caption: &str| drawn(256, "", caption).height();
    let six = height(&"bicycle ".repeat(60));
    assert_eq!(six, height(&"bicycle ".repeat(600)));
    assert_eq!(
        six,
        height(&"b".repeat(5000)),
        "a word without end is broken"
    );
    assert!(six > height("bicycle") && six < 256 * 2);
}

#[test]
fn text_stays_within_its_panel() {
    let picture = picture(256);
    let panel = |caption| Panel {
        picture: &picture,
        label: "",
        caption,
    };
    let long = "W".repeat(400);
    let sheet = strip(&[panel(&long), panel("")]);
    let right = sheet
        .enumerate_pixels()
        .filter(|(x, y, _)| *x >= 16 + 256 + 6 && *y >= 16 + 256);
    assert!(right.into_iter().all(|(_, _, pixel)| pixel.0 == [255; 3]));
}
