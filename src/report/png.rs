//! PNG files with texts in them: pixels and texts in, bytes out, and back.
//! Owns the container and how a text is encoded; it must never know what a text says.

use std::io::{self, Cursor};

use image::{ImageBuffer, Pixel};
use png::text_metadata::{DECOMPRESSION_LIMIT, ITXtChunk, TEXtChunk};
use png::{
    BitDepth, ColorType, Compression, DecodeOptions, Decoder, DecodingError, Filter, Limits,
};

/// A text chunk: `parameters`, `Comment` ...
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextChunk {
    /// 1 to 79 Latin-1 characters.
    pub keyword: String,
    pub text: String,
}

impl TextChunk {
    pub fn new(keyword: &str, text: impl Into<String>) -> Self {
        Self {
            keyword: keyword.to_owned(),
            text: text.into(),
        }
    }

    /// What tEXt can hold; other tools read it as Latin-1, and this is all of it that is printable.
    fn is_latin1(&self) -> bool {
        let fits = |c: char| matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{ff}');
        self.text.chars().all(fits)
    }
}

/// What a PNG file holds beside its pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Pixels.
    pub width: u32,
    pub height: u32,
    pub texts: Vec<TextChunk>,
}

impl Contents {
    /// The text of the first chunk of this name.
    pub fn text(&self, keyword: &str) -> Option<&str> {
        let found = self.texts.iter().find(|text| text.keyword == keyword);
        found.map(|found| &*found.text)
    }
}

/// A PNG file of the picture, eight bits a channel. The texts stand before the pixels: tEXt where
/// Latin-1 holds them, else iTXt.
pub fn encode<P>(picture: &ImageBuffer<P, Vec<u8>>, texts: &[TextChunk]) -> io::Result<Vec<u8>>
where
    P: Pixel<Subpixel = u8>,
{
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(match P::CHANNEL_COUNT {
        1 => ColorType::Grayscale,
        2 => ColorType::GrayscaleAlpha,
        3 => ColorType::Rgb,
        _ => ColorType::Rgba,
    });
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    encoder.set_filter(Filter::Adaptive);
    let mut writer = encoder.write_header()?;
    for text in texts {
        match text.is_latin1() {
            true => writer.write_text_chunk(&TEXtChunk::new(&*text.keyword, &*text.text))?,
            // NUL is not allowed in either.
            false => {
                let clean = text.text.replace('\0', " ");
                writer.write_text_chunk(&ITXtChunk::new(&*text.keyword, clean))?
            }
        }
    }
    writer.write_image_data(picture.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

/// Size and texts of a PNG file, those behind its pixels too. The whole file is looked at.
///
/// # Errors
/// What is wrong with the bytes, as the end of a sentence: "is not a PNG picture".
pub fn read(bytes: &[u8]) -> Result<Contents, String> {
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Err("is not a PNG picture".to_owned());
    }
    contents(bytes).map_err(|error| match error {
        DecodingError::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            "is torn: it ends too early".to_owned()
        }
        DecodingError::LimitsExceeded => "holds more than a picture should".to_owned(),
        error => format!("is damaged: {}", error.to_string().trim_end_matches('.')),
    })
}

fn contents(bytes: &[u8]) -> Result<Contents, DecodingError> {
    // A text whose checksum is wrong is no text: better said than passed over.
    let mut options = DecodeOptions::default();
    options.set_skip_ancillary_crc_failures(false);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(Limits { bytes: 256 << 20 });
    let mut reader = decoder.read_info()?;
    reader.finish()?;
    let info = reader.info();
    let mut texts: Vec<TextChunk> = vec![];
    for chunk in &info.uncompressed_latin1_text {
        texts.push(TextChunk::new(&chunk.keyword, &*chunk.text));
    }
    for chunk in &info.utf8_text {
        let mut chunk = chunk.clone();
        chunk.decompress_text_with_limit(DECOMPRESSION_LIMIT)?;
        texts.push(TextChunk::new(&chunk.keyword, chunk.get_text()?));
    }
    for chunk in &info.compressed_latin1_text {
        let mut chunk = chunk.clone();
        chunk.decompress_text_with_limit(DECOMPRESSION_LIMIT)?;
        texts.push(TextChunk::new(&chunk.keyword, chunk.get_text()?));
    }
    Ok(Contents {
        width: info.width,
        height: info.height,
        texts,
    })
}
