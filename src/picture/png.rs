//! Writes and reads PNG files with text chunks.
//! Owns the container and the encoding of texts. It must never know what a text means.

use std::io::{self, Cursor};

use image::{ImageBuffer, Pixel};
use png::text_metadata::{DECOMPRESSION_LIMIT, ITXtChunk, TEXtChunk};
use png::{
    BitDepth, ColorType, Compression, DecodeOptions, Decoder, DecodingError, Filter, Limits,
};

/// A text chunk with a keyword such as `parameters` or `Comment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextChunk {
    /// The keyword, 1 to 79 Latin-1 characters.
    pub keyword: String,
    /// The text, which is not limited to Latin-1.
    pub text: String,
}

impl TextChunk {
    /// A chunk with a keyword and a text.
    pub fn new(keyword: &str, text: impl Into<String>) -> Self {
        Self {
            keyword: keyword.to_owned(),
            text: text.into(),
        }
    }

    /// Whether a tEXt chunk can hold the text: printable Latin-1 characters and line breaks.
    fn is_latin1(&self) -> bool {
        let fits = |c: char| matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{ff}');
        self.text.chars().all(fits)
    }
}

/// Size and text chunks of a PNG file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// All text chunks.
    pub texts: Vec<TextChunk>,
}

impl Contents {
    /// The text of the first chunk with this keyword.
    pub fn text(&self, keyword: &str) -> Option<&str> {
        let found = self.texts.iter().find(|text| text.keyword == keyword);
        found.map(|found| &*found.text)
    }
}

/// Encodes a picture as a PNG file with eight bits per channel. Texts are written before the pixels: as tEXt
/// chunks if Latin-1 can hold them, else as iTXt chunks.
///
/// # Errors
///
/// An I/O error if the picture cannot be encoded.
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
        if text.is_latin1() {
            writer.write_text_chunk(&TEXtChunk::new(&*text.keyword, &*text.text))?;
        } else {
            // NUL is not allowed in text chunks.
            let clean = text.text.replace('\0', " ");
            writer.write_text_chunk(&ITXtChunk::new(&*text.keyword, clean))?;
        }
    }
    writer.write_image_data(picture.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

/// Reads size and texts of a PNG file, including texts after its pixels. The whole file is checked.
///
/// # Errors
///
/// A text that says what is wrong with the bytes and continues a sentence: "is not a PNG picture".
pub fn read(bytes: &[u8]) -> Result<Contents, String> {
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Err("is not a PNG picture".to_owned());
    }
    contents(bytes).map_err(|error| match error {
        DecodingError::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            "is damaged: it ends too early".to_owned()
        }
        DecodingError::LimitsExceeded => {
            "is too large: it has more data than a picture should have".to_owned()
        }
        error => format!("is damaged: {}", error.to_string().trim_end_matches('.')),
    })
}

fn contents(bytes: &[u8]) -> Result<Contents, DecodingError> {
    // A text with a wrong checksum is an error. By default the decoder would skip it silently.
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
