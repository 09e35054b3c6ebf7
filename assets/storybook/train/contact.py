"""The contact sheet of the README: headline edits over seeds 0 to 7, none left out."""

import numpy as np
from PIL import Image, ImageDraw

from editor import Editor

EDITS = [
    ("a big red bicycle", "a big red car", []),
    ("a cat riding a bicycle on the beach", "a dog riding a bicycle on the beach", []),
    ("a lemon cake", "an apple cake", []),
    ("a pizza on the grass", "a cake on the grass", []),
    ("a squirrel with a burger", "a lion with a burger", []),
    ("a house on a mountain", "a house on a mountain in autumn", []),
    ("a house on a mountain", "a house on a mountain in winter", []),
    (
        "a castle next to a river",
        "a children drawing of a castle next to a river",
        ["--cross-steps", "0.5", "--self-steps", "0.2"],
    ),
    ("a fluffy red ball", None, ["--weight", "fluffy=-2"]),
]
SEEDS = range(8)
CELL, TEXT = 128, 14


def contact(path, folder, binary):
    editor = Editor(binary, folder)
    jobs = [
        {"source": a, "edits": [b] if b else [], "seed": seed, "flags": flags} for a, b, flags in EDITS for seed in SEEDS
    ]
    runs = iter(editor.run_all(jobs))
    row = CELL + TEXT
    paper = Image.new("RGB", (len(SEEDS) * (2 * CELL + 6) - 6, len(EDITS) * (row + 4) - 4), "white")
    draw = ImageDraw.Draw(paper)
    for y, (source, edit, flags) in enumerate(EDITS):
        words = f'"{source}"  ->  ' + (f'"{edit}" ' if edit else "") + " ".join(flags)
        draw.text((2, y * (row + 4) + 1), words, fill="black")
        for x in range(len(SEEDS)):
            run = next(runs)
            both = np.concatenate([run["source"], run["edited-1"]], 1)
            paper.paste(Image.fromarray(both), (x * (2 * CELL + 6), y * (row + 4) + TEXT))
    paper.save(path, quality=88)
