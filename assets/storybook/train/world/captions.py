"""Captions: what a scene shows, in the usual words or in others that mean the same."""

from .vocabulary import FILLERS, MOOD_ADJECTIVES, MOODS, PHOTO, PLACES, SIZE_SYNONYMS, STYLES, THINGS

# relation -> how captions say it, the usual way first.
RELATIONS = {
    "rides": ("riding", "riding", "riding", "on"),
    "drives": ("riding", "driving", "in"),
    "holds": ("with", "with", "eating", "holding"),
    "beside": ("and", "next to", "beside", "near"),
}
DRIVEN = ("car", "bus", "tractor", "boat")


class Plain:
    """Chance that always takes the usual way: for captions that shall be read, not learned from."""

    def random(self):
        return 1.0

    def integers(self, n):
        return 0


def say(scene, rng=None):
    """A caption of `scene`. Without `rng` the plainest one; with it, one of its paraphrases."""
    rng = rng or Plain()
    nouns = [phrase(n, rng) for n in scene.nouns]
    text = nouns[0]
    if len(nouns) == 2:
        relation = scene.relation
        if relation == "rides" and scene.nouns[1].word in DRIVEN:
            relation = "drives"
        text = f"{text} {pick(rng, RELATIONS[relation])} {nouns[1]}"
    where = setting(scene, rng)
    lead = start(scene, rng)
    if where and not lead and rng.random() < 0.12:
        return f"{where}, {text}"
    text = f"{text} {where}" if where else text
    return f"{lead} {text}" if lead else text


def pick(rng, ways, usual=0.65):
    """The first of `ways` mostly, any of them otherwise."""
    if rng.random() < 1 - usual:
        return ways[rng.integers(len(ways))]
    return ways[0]


def phrase(item, rng):
    words = []
    if item.size:
        words.append(pick(rng, (item.size, *SIZE_SYNONYMS[item.size])))
    if item.attribute:
        words.append(item.attribute)
    if rng.random() < 0.04:
        words.insert(0, FILLERS[rng.integers(len(FILLERS))])
    if item.colour:
        words.append(item.colour)
    if item.flavour:
        words.append(item.flavour)
    words.append(pick(rng, (item.word, *THINGS[item.word].synonyms), 0.8))
    chance = rng.random()
    if chance < 0.08:
        return " ".join(words)
    if chance < 0.16:
        return " ".join(["the", *words])
    return " ".join(["an" if words[0][0] in "aeiou" else "a", *words])


def setting(scene, rng):
    parts, adjective = [], ""
    mood = scene.mood
    if mood in MOOD_ADJECTIVES and scene.place and rng.random() < 0.5:
        adjective, mood = MOOD_ADJECTIVES[mood] + " ", None
    if scene.place:
        parts.append(pick(rng, PLACES[scene.place]).format(adjective))
    if mood:
        parts.append(pick(rng, MOODS[mood]))
    return " ".join(parts)


def start(scene, rng):
    if scene.style:
        return pick(rng, STYLES[scene.style])
    if rng.random() < 0.3:
        lead = pick(rng, PHOTO)
        return lead.removeprefix("a ") if rng.random() < 0.1 else lead
    return ""
