//! The files of CLIP's tokenizer, which every Stable Diffusion model uses, made from the merges that are compiled
//! into the binary. Single-file checkpoints have no tokenizer. Never tokenises a text.

use std::io::Read;

use serde_json::{Map, Value};

const MERGES: &[u8] = include_bytes!("../../../assets/clip/merges.txt.gz");
const END_OF_WORD: &str = "</w>";

/// The content of `merges.txt` in CLIP's repositories.
pub fn merges() -> String {
    let mut text = String::from("#version: 0.2\n");
    let mut packed = flate2::read::GzDecoder::new(MERGES);
    let read = packed.read_to_string(&mut text);
    read.expect("the embedded merges can be decompressed");
    text
}

/// The content of `vocab.json`: all bytes, all bytes at the end of a word, the result of each merge, the begin and
/// the end token.
pub fn vocabulary(merges: &str) -> Vec<u8> {
    let bytes = byte_characters();
    let ends = bytes.iter().map(|c| format!("{c}{END_OF_WORD}"));
    let merged = merges.lines().skip(1).map(|line| line.replace(' ', ""));
    let special = ["<|startoftext|>", "<|endoftext|>"].map(str::to_owned);
    let tokens = bytes.iter().map(char::to_string).chain(ends);
    let tokens = tokens.chain(merged).chain(special);
    let ids = tokens.enumerate().map(|(id, token)| (token, id.into()));
    Value::from(Map::from_iter(ids)).to_string().into_bytes()
}

/// The character that represents each byte, in the order of CLIP's ids. Printable bytes come first and represent
/// themselves.
fn byte_characters() -> Vec<char> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !printable(byte));
    let stand_in = others.zip(256u32..).filter_map(|(_, c)| char::from_u32(c));
    let own = (0..=u8::MAX).filter(printable).map(char::from);
    own.chain(stand_in).collect()
}
