//! CLIP's tokenizer, which every Stable Diffusion model reads prompts with: its files, from the merges
//! compiled into the binary. Checkpoints come without one.

use std::io::Read;

use serde_json::{Map, Value};

const MERGES: &[u8] = include_bytes!("../../../assets/clip/merges.txt.gz");
const END_OF_WORD: &str = "</w>";

/// `merges.txt`, as CLIP repositories have it.
pub fn merges() -> String {
    let mut text = String::from("#version: 0.2\n");
    let mut packed = flate2::read::GzDecoder::new(MERGES);
    let read = packed.read_to_string(&mut text);
    read.expect("the embedded merges are whole");
    text
}

/// `vocab.json`: the bytes, the same at the end of a word, what each merge makes, begin and end.
pub fn vocabulary(merges: &str) -> Vec<u8> {
    let bytes = byte_signs();
    let ends = bytes.iter().map(|sign| format!("{sign}{END_OF_WORD}"));
    let merged = merges.lines().skip(1).map(|line| line.replace(' ', ""));
    let special = ["<|startoftext|>", "<|endoftext|>"].map(str::to_owned);
    let tokens = bytes.iter().map(char::to_string).chain(ends);
    let tokens = tokens.chain(merged).chain(special);
    let ids = tokens.enumerate().map(|(id, token)| (token, id.into()));
    Value::from(Map::from_iter(ids)).to_string().into_bytes()
}

/// The sign that stands for each byte, in the order of CLIP's ids: printable ones first, as themselves.
fn byte_signs() -> Vec<char> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !printable(byte));
    let stand_in = others.zip(256u32..).filter_map(|(_, c)| char::from_u32(c));
    let own = (0..=u8::MAX).filter(printable).map(char::from);
    own.chain(stand_in).collect()
}
