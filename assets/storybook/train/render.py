"""Renders captioned scenes into DIR: images.npy, uint8 (n, 128, 128, 3), and captions.json."""

import json
import multiprocessing
import os
import sys

import numpy as np
from PIL import Image

from world import World, draw, held_out, sample, say


def one(task):
    tier, seed = task
    world = World(tier)
    while True:  # the next seed whose words are not kept for evaluation
        scene = sample(world, seed)
        if not held_out(scene):
            return draw(scene), say(scene, np.random.default_rng([seed, 2]))
        seed += 1 << 32


def main(directory, tier, count):
    os.makedirs(directory, exist_ok=True)
    images = np.lib.format.open_memmap(f"{directory}/images.npy.part", "w+", np.uint8, (count, 128, 128, 3))
    captions = []
    with multiprocessing.Pool() as pool:
        for i, (image, caption) in enumerate(pool.imap(one, ((tier, s) for s in range(count)), 64)):
            images[i] = image
            captions.append(caption)
            if i % 4000 == 0:
                print(f"{i} of {count} scenes", file=sys.stderr, flush=True)
    images.flush()
    with open(f"{directory}/captions.json", "w") as file:
        json.dump(captions, file)
    os.replace(f"{directory}/images.npy.part", f"{directory}/images.npy")


def sheet(path, tier, columns=12, rows=6):
    """Scenes 0 and on in one picture."""
    world, cell = World(tier), 132
    paper = Image.new("RGB", (columns * cell, rows * cell))
    for i in range(columns * rows):
        scene = sample(world, i)
        paper.paste(Image.fromarray(draw(scene)), (i % columns * cell, i // columns * cell))
        print(f"{i}: {say(scene, np.random.default_rng([i, 2]))}")
    paper.save(path)
