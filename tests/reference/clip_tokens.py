"""Writes tests/fixtures/clip-tokens.json.gz: a thousand prompts and the ids that transformers' CLIPTokenizer gives
them, with CLIP's whole vocabulary (assets/clip), for tests/it/clip_tokens.rs: as CLIP's, whose pad is the end again,
and as OpenCLIP's, whose pad is `!`, which a prompt's own signs then become too. Only the first PADDED are padded.

usage: python tests/reference/clip_tokens.py
Needs transformers.
"""
import gzip
import json
import pathlib
import random
import tempfile

from transformers import CLIPTokenizer

HERE = pathlib.Path(__file__).parent.parent
MERGES = HERE.parent / "assets" / "clip" / "merges.txt.gz"
OUT = HERE / "fixtures" / "clip-tokens.json.gz"
PADDED = 40
WORDS = ["a", "an", "the", "photo", "of", "painting", "oil", "watercolor", "portrait", "landscape", "cat", "dog", "horse", "lion", "bicycle", "car", "castle", "river", "mountain", "forest", "beach", "city", "street", "night", "morning", "red", "green", "blue", "golden", "dark", "bright", "small", "big", "fluffy", "old", "young", "woman", "man", "king", "queen", "robot", "astronaut", "riding", "sitting", "standing", "running", "with", "without", "and", "or", "under", "over", "behind", "next", "to", "in", "on", "at", "cinematic", "lighting", "8k", "uhd", "masterpiece", "best", "quality", "highly", "detailed", "sharp", "focus", "bokeh", "trending", "artstation", "greg", "rutkowski", "antidisestablishmentarianism", "photorealistic", "hyperrealism", "chiaroscuro", "Kodachrome", "McDonald's", "it's", "we've", "they'll", "I'm", "don't", "can't", "1girl", "2024", "3.14", "50mm", "f/1.8", "#1", "C++", "state-of-the-art", "ice-cream", "café", "naïve", "façade", "Zürich"]
SIGNS = ["", "", "", ",", ".", "!", "?", ";", ":", "...", "!!", "?!", "(", ")", "((", "))", "[", "]", "{", "}", "<", ">",
         "\"", "'", "`", "~", "@", "#", "$", "%", "^", "&", "*", "-", "--", "_", "+", "=", "/", "\\", "|", "<3", ":)",
         "->", "//", "(:1.2)", "'s", "'S", "'ll", "’s", "“", "”", "…", "—", "–", "•", "™", "©", "°", "½", "€"]
UNICODE = ["猫", "東京の夜", "кошка на пляже", "القط", "חתול", "고양이", "แมว", "γάτα", "mèo", "बिल्ली", "çiçek", "Straße",
           "ﬁne", "İstanbul", "ǅ", "ß", "ẞ", "é", "e\u0301", "A\u030a", "Å", "ﷺ", "①", "Ⅷ", "𝓬𝓪𝓽", "𠮷", "\u200b", "\u00a0",
           "\u3000", "\u00ad", "\ufeff", "\u0301", "ñ", "n\u0303", "Ǖ", "ŉ", "½", "²", "٣", "१२", "ſ", "K", "Ω"]
EMOJI = ["😀", "🐱", "🔥", "❤️", "👩‍🚀", "👨‍👩‍👧‍👦", "🇩🇪", "👍🏽", "🏴‍☠️", "✨", "☃", "🫠", "1️⃣", "♥"]
FIXED = ["", " ", "a", "!", "!!!", "a  b\tc\nd", "<|startoftext|>", "a <|endoftext|> b", "<|endoftext|>", "A PHOTO OF A CAT",
         "don't DON'T Don'T", "x" * 70, "1234567890", "3d 4k", "hello world", "a.b.c", "\u0000a", "naïve café", "\n", "#hashtag"]


def tokenizer(folder, pad):
    merges = gzip.decompress(MERGES.read_bytes()).decode()
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    signs = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = signs + [s + "</w>" for s in signs] + ["".join(line.split()) for line in merges.splitlines()]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges)
    config = {"tokenizer_class": "CLIPTokenizer", "pad_token": pad, "model_max_length": 77, "bos_token": "<|startoftext|>",
              "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return CLIPTokenizer.from_pretrained(str(folder))


def prompts():
    dice, made = random.Random(10), list(FIXED)
    while len(made) < 1000:
        length = 200 if len(made) % 25 == 0 else dice.choice([1, 2, 4, 8, 12, 16, 20])
        out = []
        for _ in range(length):
            kind = dice.random()
            word = dice.choice(UNICODE if kind < 0.12 else EMOJI if kind < 0.18 else WORDS)
            word = dice.choice([str, str, str, str.upper, str.title])(word)
            out.append(word + dice.choice(SIGNS) if dice.random() < 0.4 else word)
        made.append(dice.choice([" ", " ", " ", "  ", "", ", "]).join(out))
    return made


def main():
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        clip, open_clip = tokenizer(pathlib.Path(one), "<|endoftext|>"), tokenizer(pathlib.Path(two), "!")
        assert len(clip) == 49408, len(clip)
        rows = []
        for i, prompt in enumerate(prompts()):
            row = {"prompt": prompt, "clip": clip(prompt)["input_ids"], "open_clip": open_clip(prompt)["input_ids"]}
            if i < PADDED:
                for key, made in (("clip", clip), ("open_clip", open_clip)):
                    row[key] = made(prompt, padding="max_length", max_length=77)["input_ids"]
            rows.append(json.dumps(row))
    OUT.write_bytes(gzip.compress("\n".join(rows).encode(), 9, mtime=0))
    print(len(rows), "prompts,", OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
