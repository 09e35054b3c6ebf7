"""Scenes: what is in a picture, drawn from chance, and the picture of it."""

import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from . import places, styles
from .sprites import fluffy, snowy, sprite
from .vocabulary import ATTRIBUTES, FLAVOURS, MEDIUM, MOODS, PLACES, SIZES, STYLES, THINGS

PICTURE = 128  # pixels
CANVAS = places.CANVAS
ALONE, RIDES, HOLDS, BESIDE = "alone", "rides", "holds", "beside"


@dataclass(frozen=True)
class Noun:
    """One thing and what is said of it."""

    word: str
    colour: str | None = None
    size: str | None = None
    attribute: str | None = None  # of ATTRIBUTES
    flavour: str | None = None  # of a cake
    strength: float = 0.5  # of the attribute, 0..1


@dataclass(frozen=True)
class Scene:
    nouns: tuple[Noun, ...]
    relation: str = ALONE  # how the second noun stands to the first
    place: str | None = None
    mood: str | None = None
    strength: float = 0.5  # of fog or dark, 0..1
    style: str | None = None
    seed: int = 0  # of everything that no word says: positions, hills, clouds


def held_out(scene):
    """One combination of words in ten is never trained on: evaluation asks for those."""
    words = [(n.word, n.colour, n.flavour) for n in scene.nouns]
    key = repr((words, scene.relation, scene.place, scene.mood, scene.style))
    return zlib.crc32(key.encode()) % 10 == 0


def choose(rng, items):
    return items[rng.integers(len(items))]


def noun(world, rng, word, alone):
    """`word` with the adjectives of chance; a thing among others gets fewer."""
    thing = world.things[word]
    colour = choose(rng, world.colours) if thing.recolour and rng.random() < (0.5 if alone else 0.3) else None
    flavour = None
    if word == "cake" and rng.random() < 0.5:
        colour, flavour = None, choose(rng, list(FLAVOURS))
    size = choose(rng, list(SIZES)) if alone and rng.random() < 0.35 else None
    attribute = choose(rng, ATTRIBUTES) if rng.random() < (0.25 if alone else 0.05) else None
    return Noun(word, colour, size, attribute, flavour, float(rng.random()))


def sample(world, seed):
    """A scene of chance."""
    rng = np.random.default_rng(seed)
    words = list(world.things)
    kind = rng.random()
    if kind < 0.64:
        relation, nouns = ALONE, [noun(world, rng, choose(rng, words), True)]
    elif kind < 0.82:
        relation = RIDES
        rider, vehicle = choose(rng, world.riders), choose(rng, world.vehicles)
        nouns = [noun(world, rng, rider, False), noun(world, rng, vehicle, False)]
    elif kind < 0.87:
        relation = HOLDS
        nouns = [noun(world, rng, choose(rng, world.riders), False), noun(world, rng, choose(rng, world.food), False)]
    else:
        relation = BESIDE
        nouns = [noun(world, rng, words[i], False) for i in rng.choice(len(words), 2, replace=False)]
    place = choose(rng, list(PLACES)) if rng.random() < 0.76 else None
    mood = choose(rng, list(MOODS)) if rng.random() < 0.38 else None
    style = choose(rng, list(STYLES)) if rng.random() < 0.36 else None
    if place == "snow" and mood in ("winter", "autumn"):
        mood = None  # snow says as much already, or the opposite
    return Scene(tuple(nouns), relation, place, mood, float(rng.random()), style, seed)


def picture_of(item, rng, mood):
    image = sprite(item.word, item.colour, item.flavour)
    if item.word == "tree" and mood == "autumn":
        image = autumn_leaves(image)
    if item.attribute == "fluffy":
        image = fluffy(image, rng, item.strength)
    elif item.attribute == "snowy":
        image = snowy(image, rng, item.strength)
    elif mood == "winter" and item.word in ("house", "castle", "tree"):
        image = snowy(image, rng, 0.35)
    return image


def autumn_leaves(image):
    pixels = np.asarray(image).astype(np.float32)
    leaf = (pixels[..., 1] > pixels[..., 0])[..., None]
    pixels[..., :3] = np.where(leaf, pixels[..., 1:2] / 160 * np.array([235.0, 120.0, 35.0]), pixels[..., :3])
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGBA")


class Stage:
    """A background on which things are put; it remembers where each one can be seen."""

    def __init__(self, image):
        self.image, self.masks = image.convert("RGBA"), []

    def put(self, thing, size, cx, foot):
        """`thing` with its longer side `size`, centred on `cx`, standing on `foot` (shares of the picture)."""
        scale = size * CANVAS / max(thing.size)
        width, height = max(4, int(thing.width * scale)), max(4, int(thing.height * scale))
        layer = Image.new("RGBA", self.image.size)
        layer.paste(thing.resize((width, height), Image.BILINEAR), (int(cx * CANVAS - width / 2), int(foot * CANVAS - height)))
        self.image.alpha_composite(layer)
        alpha = np.asarray(layer)[..., 3] > 128
        self.masks = [m & ~alpha for m in self.masks] + [alpha]


def arrange(stage, scene, rng, foot):
    first, *rest = ((n, picture_of(n, rng, scene.mood)) for n in scene.nouns)
    item, image = first
    if scene.relation == ALONE:
        size = rng.uniform(*SIZES.get(item.size, MEDIUM))
        margin = min(size / 2 * 0.9, 0.5)
        stage.put(image, size, np.clip(rng.normal(0.5, 0.1), margin, 1 - margin), foot)
        return
    other, other_image = rest[0]
    if scene.relation == BESIDE:
        sizes, gap = rng.uniform(0.38, 0.5, 2), rng.uniform(0.24, 0.27)
        side = choose(rng, (-1, 1))
        stage.put(image, sizes[0], 0.5 + side * gap, foot)
        stage.put(other_image, sizes[1], 0.5 - side * gap, foot)
    elif scene.relation == HOLDS:
        size, cx = rng.uniform(0.62, 0.76), rng.uniform(0.42, 0.58)
        stage.put(image, size, cx, foot)
        stage.put(other_image, size * 0.36, cx + rng.uniform(-0.02, 0.02), foot - size * 0.03)
    else:
        size, cx = rng.uniform(0.58, 0.72), rng.uniform(0.4, 0.6)
        height = other_image.height / max(other_image.size) * size
        seat = THINGS[other.word].seat
        stage.put(image, rng.uniform(0.44, 0.5), cx + rng.uniform(-0.03, 0.03), foot - height * seat)
        stage.put(other_image, size, cx, foot)


def draw(scene, masks=False):
    """-> uint8 (128, 128, 3); with `masks` also where each noun can be seen, bool (nouns, 128, 128)."""
    rng = np.random.default_rng([scene.seed, 1])
    image, ground = places.background(scene.place, scene.mood, rng)
    foot = ground or rng.uniform(0.82, 0.95)
    if scene.relation == RIDES:
        foot = max(foot, 0.88)
    stage = Stage(image)
    arrange(stage, scene, rng, foot)
    front = stage.image.convert("RGB")
    places.falling(front, scene.mood, scene.place, rng)
    pixels = np.asarray(front.resize((PICTURE, PICTURE), Image.BOX)).astype(np.float32) / 255
    if scene.mood == "night":
        pixels = np.where(np.any(stage_mask(stage), 0)[..., None], pixels * (0.72, 0.74, 0.88), pixels)
    elif scene.mood == "fog":
        pixels = places.fog(pixels, rng, scene.strength)
    elif scene.mood == "dark":
        pixels = places.dark(pixels, scene.strength)
    if scene.style:
        pixels = styles.STYLES[scene.style](pixels, rng)
    picture = (np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return (picture, stage_mask(stage)) if masks else picture


def stage_mask(stage):
    return np.stack([m[::2, ::2] for m in stage.masks])
