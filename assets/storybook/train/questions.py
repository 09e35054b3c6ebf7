"""What the evaluation asks for: scenes and edits the model has not seen as combinations."""

from dataclasses import replace

import numpy as np

from world import Scene, held_out, sample
from world.scenes import RIDES, Noun
from world.vocabulary import MOODS, PLACES, STYLES

FIRST = 50_000_000  # seeds from here on are the evaluation's


def scenes(world, count):
    """Held-out combinations, of every kind that training saw."""
    found, seed = [], FIRST
    while len(found) < count:
        scene = sample(world, seed)
        if held_out(scene):
            found.append(scene)
        seed += 1
    return found


def lone(world, rng, words=None, colour=0.4):
    """One thing in a place, in daylight."""
    words = words or list(world.things)
    word = words[rng.integers(len(words))]
    paint = world.things[word].recolour and rng.random() < colour
    place = list(PLACES)[rng.integers(len(PLACES))]
    return Scene((Noun(word, world.colours[rng.integers(len(world.colours))] if paint else None),), place=place)


def swaps(world, count):
    """(scene, the same with another thing): a colour stays if both things take colours."""
    rng, pairs = np.random.default_rng(1), []
    while len(pairs) < count:
        scene = lone(world, rng)
        other = list(world.things)[rng.integers(len(world.things))]
        noun = scene.nouns[0]
        if other == noun.word or (noun.colour and not world.things[other].recolour):
            continue
        pairs.append((scene, replace(scene, nouns=(replace(noun, word=other),))))
    return pairs


def restyled(world, count):
    rng, pairs = np.random.default_rng(2), []
    for i in range(count):
        scene = lone(world, rng)
        pairs.append((scene, replace(scene, style=list(STYLES)[i % len(STYLES)])))
    return pairs


def weighed(world, count):
    """(scene, the word to weigh): each of a strength that varies."""
    rng, found = np.random.default_rng(3), []
    for i in range(count):
        scene = lone(world, rng, colour=0.25)
        kind = ("fluffy", "snowy", "fog", "dark")[i % 4]
        if kind in MOODS:
            found.append((replace(scene, mood=kind), kind))
        else:
            place = "grass" if scene.place == "snow" else scene.place
            noun = replace(scene.nouns[0], attribute=kind)
            found.append((replace(scene, nouns=(noun,), place=place), kind))
    return found


def riders(count):
    """Cats and dogs on bicycles, in turn."""
    places = list(PLACES)
    nouns = [(Noun(word), Noun("bicycle")) for word in ("cat", "dog")]
    return [Scene(nouns[i % 2], RIDES, places[i // 2 % len(places)]) for i in range(count)]
