//! The sheet: headings keep to their own column and row.

use image::{Rgb, RgbImage};
use prompt_to_prompt::report::sheet::{Cell, Row, Sheet};

const SIDE: u32 = 128;
const WHITE: Rgb<u8> = Rgb([255; 3]);

fn sheet(columns: &[&str]) -> RgbImage {
    let cell = || {
        Some(Cell {
            picture: RgbImage::new(SIDE, SIDE),
            caption: String::new(),
        })
    };
    Sheet {
        note: None,
        title: vec![],
        columns: columns.iter().map(|text| (*text).to_owned()).collect(),
        rows: vec![Row {
            heading: String::new(),
            cells: columns.iter().map(|_| cell()).collect(),
        }],
        bar: None,
        cell: (SIDE, SIDE),
    }
    .draw()
}

#[test]
fn long_headings_of_columns_stand_above_their_own_pictures() {
    let long = "a \"bear\", on the beach at night, in the style of a woodcut";
    let (drawn, short) = (sheet(&[long, long]), sheet(&["0.2", "0.4"]));
    assert_eq!(drawn.width(), short.width());
    assert!(drawn.height() > short.height(), "a line for each part");
    let ink = |columns: std::ops::Range<u32>| {
        let above = drawn.height() - short.height();
        columns
            .into_iter()
            .any(|x| (0..above).any(|y| *drawn.get_pixel(x, 16 + y) != WHITE))
    };
    let gap = 16 + SIDE..16 + SIDE + 8;
    assert!(!ink(gap), "headings run into each other");
    assert!(
        !ink(0..16) && !ink(drawn.width() - 16..drawn.width()),
        "a heading is cut"
    );
    assert!(ink(16..16 + SIDE), "there is a heading");
}
