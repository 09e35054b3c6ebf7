//! Metadata in PNG files: text chunks, our own metadata, differences between pictures.

mod foreign;

use foreign::comfy;

use candle_core::DType;
use image::{GrayImage, RgbImage};
use indexmap::IndexMap;
use prompt_to_prompt::edit::{EditKind, Rules};
use prompt_to_prompt::job::{
    CrossSteps, EditSettings, ModelId, PictureRole, PictureSettings, RunSettings,
};
use prompt_to_prompt::metadata::{Info, Metadata, PictureMetadata, PixelDifference};
use prompt_to_prompt::report::png::{self, TextChunk};
use proptest::prelude::*;
use serde_json::{Value, json};

fn picture() -> RgbImage {
    RgbImage::from_fn(9, 5, |x, y| image::Rgb([x as u8, y as u8, 90]))
}

fn with(texts: &[(&str, &str)]) -> Vec<u8> {
    let texts: Vec<TextChunk> = texts.iter().map(|(k, t)| TextChunk::new(k, *t)).collect();
    png::encode(&picture(), &texts).unwrap()
}

/// AttentionKind and content of each chunk.
fn chunks(png: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (mut chunks, mut rest) = (vec![], &png[8..]);
    while let [a, b, c, d, tail @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let kind = String::from_utf8_lossy(&tail[..4]).into_owned();
        chunks.push((kind, tail[4..4 + length].to_vec()));
        rest = &tail[4 + length + 4..];
    }
    chunks
}

/// What a picture with these texts tells, if anything.
fn found(texts: &[(&str, &str)]) -> Option<PictureMetadata> {
    PictureMetadata::in_png(&png::read(&with(texts)).unwrap()).unwrap()
}

/// Tool, prompt, negative prompt, settings.
fn foreign(texts: &[(&str, &str)]) -> (String, String, String, Value) {
    let Some(PictureMetadata::Foreign(foreign)) = found(texts) else {
        panic!("{texts:?} is not read");
    };
    (
        foreign.tool.to_owned(),
        foreign.prompt,
        foreign.negative_prompt,
        Value::Object(foreign.settings),
    )
}

fn metadata(src: &str, dst: &str, negative: &str, word: &str) -> Metadata {
    let model = ModelId {
        id: "story, book: 2".to_owned(),
        origin: None,
        weights_sha256: "0123456789abcdef".to_owned(),
        configs_sha256: "fedcba".to_owned(),
        overrides: Default::default(),
        loras: vec![],
    };
    let edit = EditSettings {
        dst: Some(dst.to_owned()),
        edit: Some(EditKind::Replace.into()),
        weight: IndexMap::from([(word.to_owned(), -1.5)]),
        cross_steps: CrossSteps {
            default: Some("0..0.8".parse().unwrap()),
            words: [(format!("{word} "), "steps:1..2".parse().unwrap())].into(),
        },
        strength: Some(0.1),
        ..EditSettings::default()
    };
    let run = RunSettings {
        src: src.to_owned(),
        negative_prompt: negative.to_owned(),
        seed: u64::MAX,
        steps: 30,
        guidance: 5.0,
        width: 9,
        height: 5,
        scheduler: "dpm++2m".parse().unwrap(),
        clip_skip: None,
        self_res: Some(1),
        rules: Rules::Ours,
        fast: false,
        dtype: DType::F32,
        vae_tiling: false,
    };
    let settings = PictureSettings {
        run,
        edit_control: Some(true),
        edit: vec![edit],
    };
    Metadata::new(&model, "x86-fma", PictureRole::Edited, &settings)
}

#[test]
fn without_texts_nothing_but_pixels_is_written() {
    let bytes = with(&[]);
    let kinds: Vec<String> = chunks(&bytes).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["IHDR", "IDAT", "IEND"]);
    let mut plain = std::io::Cursor::new(vec![]);
    let png = image::ImageFormat::Png;
    picture().write_to(&mut plain, png).unwrap();
    assert_eq!(bytes, plain.into_inner(), "as `image` writes it");
}

#[test]
fn texts_are_latin1_where_it_holds_them_and_else_unicode() {
    let bytes = with(&[("one", "été\nà"), ("two", "猫"), ("three", "\t")]);
    let chunks = chunks(&bytes);
    assert_eq!(
        chunks[1],
        ("tEXt".to_owned(), b"one\0\xe9t\xe9\n\xe0".to_vec())
    );
    let unicode = "two\0\0\0\0\0猫".as_bytes().to_vec();
    assert_eq!(chunks[2], ("iTXt".to_owned(), unicode));
    assert_eq!(
        chunks[3].0, "iTXt",
        "control characters mean nothing in Latin-1"
    );
    assert_eq!(chunks[4].0, "IDAT");
    let read = png::read(&bytes).unwrap();
    assert_eq!((read.width, read.height), (9, 5));
    assert_eq!(read.text("one"), Some("été\nà"));
    assert_eq!(read.text("two"), Some("猫"));
    assert_eq!(
        image::load_from_memory(&bytes).unwrap().to_rgb8(),
        picture()
    );
}

#[test]
fn compressed_and_late_texts_are_read_too() {
    let mut bytes = vec![];
    let mut encoder = ::png::Encoder::new(&mut bytes, 1, 1);
    encoder
        .add_ztxt_chunk("early".to_owned(), "é".repeat(99))
        .unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[7]).unwrap();
    let mut late = ::png::text_metadata::ITXtChunk::new("late", "猫".repeat(99));
    late.compressed = true;
    writer.write_text_chunk(&late).unwrap();
    writer.finish().unwrap();
    let read = png::read(&bytes).unwrap();
    assert_eq!(read.text("early"), Some(&*"é".repeat(99)));
    assert_eq!(read.text("late"), Some(&*"猫".repeat(99)));
}

#[test]
fn a_text_that_inflates_without_end_is_refused() {
    let mut bytes = vec![];
    let mut encoder = ::png::Encoder::new(&mut bytes, 1, 1);
    encoder
        .add_ztxt_chunk("bomb".to_owned(), " ".repeat(64 << 20))
        .unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[7]).unwrap();
    writer.finish().unwrap();
    assert!(bytes.len() < 1 << 20);
    assert!(png::read(&bytes).is_err());
}

#[test]
fn files_that_are_no_whole_png_are_named_so() {
    let whole = with(&[("parameters", "a cat")]);
    assert_eq!(png::read(b"GIF89a").unwrap_err(), "is not a PNG picture");
    assert_eq!(png::read(b"").unwrap_err(), "is not a PNG picture");
    for end in 8..whole.len() {
        let error = png::read(&whole[..end]).unwrap_err();
        assert_eq!(error, "is damaged: it ends too early", "{end} bytes");
    }
    let mut damaged = whole.clone();
    let place = whole.windows(5).position(|w| w == b"a cat").unwrap();
    damaged[place] = b'A';
    let error = png::read(&damaged).unwrap_err();
    assert!(error.starts_with("is damaged: "), "{error}");
}

#[test]
fn the_mark_says_that_a_model_made_it() {
    let texts = metadata("a cat", "a dog", "", "dog").texts();
    let bytes = png::encode(&picture(), &texts).unwrap();
    let chunks = chunks(&bytes);
    let (kind, mark) = &chunks[3];
    assert_eq!(kind, "iTXt");
    assert!(mark.starts_with(b"XML:com.adobe.xmp\0\0\0\0\0<?xpacket begin=\"\xef\xbb\xbf\""));
    let mark = String::from_utf8_lossy(mark);
    let uri = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";
    assert!(mark.contains(&format!(">{uri}</Iptc4xmpExt:DigitalSourceType>")));
    let contents = png::read(&bytes).unwrap();
    let info = Info::new(
        &contents,
        PictureMetadata::in_png(&contents).unwrap().unwrap(),
    );
    assert_eq!(info.source_type.as_deref(), Some("trainedAlgorithmicMedia"));
}

#[test]
fn stories_of_another_kind_are_refused_with_the_cause() {
    let said = |json: &str| {
        let contents = png::read(&with(&[("p2p", json), ("parameters", "a cat")])).unwrap();
        PictureMetadata::in_png(&contents).unwrap_err().to_string()
    };
    assert!(said("{").contains("EOF while parsing"), "{}", said("{"));
    assert!(said("[]").contains("its schema is missing"));
    assert!(said("{\"schema\": \"p2p.edit/v9\"}").contains("its schema is p2p.edit/v9"));
    let mut newer = json!(metadata("a", "b", "", "b"));
    newer["settings"]["colour"] = json!("blue");
    assert!(said(&newer.to_string()).contains("unknown field `colour`"));
}

#[test]
fn information_does_not_steer_the_terminal() {
    let contents = png::read(&with(&[("parameters", "a \u{1b}]0;cat\u{7}\u{9b}2J")])).unwrap();
    let info = Info::new(
        &contents,
        PictureMetadata::in_png(&contents).unwrap().unwrap(),
    );
    let plain = |c: char| !c.is_control() || c == '\n';
    assert!(info.to_string().chars().all(plain), "{info:?}");
}

#[test]
fn differences_are_counted_by_channel() {
    let (a, mut b) = (picture(), picture());
    assert!(PixelDifference::between(&a, &b).unwrap().is_none());
    b.put_pixel(1, 1, image::Rgb([1, 4, 90]));
    let difference = PixelDifference::between(&a, &b).unwrap();
    assert_eq!(difference.largest, [0, 3, 0]);
    assert_eq!(difference.bytes, (1, 9 * 5 * 3));
    assert_eq!(difference.share(), 1.0 / 135.0);
    let grey = image::DynamicImage::ImageLuma8(GrayImage::new(1, 1)).to_rgb8();
    assert_eq!(PixelDifference::between(&a, &grey), None);
}

/// Any text, odd ones more often than by chance.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,60}",
        "[a-z\"',:\\\\\n\r{}\\[\\]=#é猫🦩 ]{0,60}",
        "\\PC{0,20}\u{0}\\PC{0,20}",
    ]
}

proptest! {
    #[test]
    fn any_text_survives(text in any_text()) {
        let read = png::read(&with(&[("Comment", &text)])).unwrap();
        // NUL ends a text in PNG.
        prop_assert_eq!(read.text("Comment").unwrap(), text.replace('\0', " "));
    }

    #[test]
    fn any_story_survives(src in any_text(), dst in any_text(), no in any_text(), word in any_text()) {
        let metadata = metadata(&src, &dst, &no, &word);
        let bytes = png::encode(&picture(), &metadata.texts()).unwrap();
        let found = PictureMetadata::in_png(&png::read(&bytes).unwrap()).unwrap();
        prop_assert_eq!(found, Some(PictureMetadata::Ours(Box::new(metadata))));
    }

    #[test]
    fn prompts_survive_a1111s_block(dst in "[^\n\r]{1,60}", no in "[^\n\r]{0,60}") {
        // Its lines are trimmed, and one that begins so cannot be a prompt.
        let (dst, no) = (dst.trim().replace('\0', " "), no.trim().replace('\0', " "));
        let (dst, no) = (dst.trim(), no.trim());
        prop_assume!(!dst.is_empty() && !dst.starts_with("Negative prompt:"));
        let texts = metadata("a cat", dst, no, "cat").texts();
        let (_, prompt, negative, settings) = foreign(&[("parameters", &texts[0].text)]);
        prop_assert_eq!(prompt, dst);
        prop_assert_eq!(negative, no);
        prop_assert_eq!(&settings["Steps"], "30");
    }

    #[test]
    fn no_bytes_make_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        keep in any::<bool>(),
    ) {
        let mut texts = metadata("a cat", "a 猫", "", "猫").texts();
        texts.push(TextChunk::new("prompt", comfy().to_string()));
        let mut bytes = png::encode(&picture(), &texts).unwrap();
        for (place, byte) in &changes {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        if !keep {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(contents) = png::read(&bytes)
            && let Ok(Some(found)) = PictureMetadata::in_png(&contents)
        {
            let _ = Info::new(&contents, found).to_string();
        }
    }

    #[test]
    fn no_text_makes_it_panic(
        keyword in prop::sample::select(vec![
            "p2p", "parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Dream",
            "XML:com.adobe.xmp",
        ]),
        odd in any_text(),
        place in any::<prop::sample::Index>(),
    ) {
        let whole = match keyword {
            "p2p" => json!(metadata("a", "b", "", "b")).to_string(),
            "prompt" => comfy().to_string(),
            _ => "\"a cat\" -s 5 Steps: 3, Seed: 4, Size: 5x5".to_owned(),
        };
        let starts: Vec<usize> = whole.char_indices().map(|(at, _)| at).collect();
        let at = starts[place.index(starts.len())];
        for text in [odd.clone(), format!("{}{odd}{}", &whole[..at], &whole[at..])] {
            let contents = png::read(&with(&[(keyword, &text)])).unwrap();
            if let Ok(Some(found)) = PictureMetadata::in_png(&contents) {
                let info = Info::new(&contents, found);
                let _ = (info.to_string(), info.to_json());
            }
        }
    }
}
