"""Every word the storybook knows, and what it draws.

Two worlds share one vocabulary file: `pocket` is what two CPU cores learn to draw clearly in an
afternoon, `full` wants a GPU. A smaller world drawn well is worth more than a large one drawn as
blobs, so anything marked FULL is left out of `pocket`.
"""

from dataclasses import dataclass

POCKET, FULL = "pocket", "full"


@dataclass(frozen=True)
class Thing:
    """One noun. `icon` names a Fluent emoji, or a drawing of `sprites.py` after '@'."""

    icon: str
    tier: str = POCKET
    recolour: bool = True  # may a colour word stand before it?
    animal: bool = False  # may it ride, and hold food?
    head: bool = False  # the icon is only a head: sprites.py draws a body below
    seat: float | None = None  # a vehicle: how deep a rider sits in it, as a share of its height
    food: bool = False  # may an animal hold it?
    synonyms: tuple[str, ...] = ()


THINGS = {
    "bicycle": Thing("bicycle", seat=0.42, synonyms=("bike",)),
    "car": Thing("automobile", seat=0.62),
    "bus": Thing("bus", seat=0.72),
    "motorcycle": Thing("motorcycle", seat=0.45, synonyms=("motorbike",)),
    "tractor": Thing("tractor", seat=0.62),
    "train": Thing("locomotive", recolour=False),
    "boat": Thing("sailboat", seat=0.3, synonyms=("sailboat",)),
    "rocket": Thing("rocket"),
    "cat": Thing("cat-face", animal=True, head=True),
    "dog": Thing("dog-face", animal=True, head=True),
    "lion": Thing("lion", animal=True, head=True, recolour=False),
    "bear": Thing("bear", animal=True, head=True),
    "rabbit": Thing("rabbit-face", animal=True, head=True, synonyms=("bunny",)),
    "panda": Thing("panda", animal=True, head=True, recolour=False),
    "frog": Thing("frog", animal=True, head=True, recolour=False),
    "squirrel": Thing("chipmunk", animal=True, recolour=False),
    "castle": Thing("castle"),
    "house": Thing("house"),
    "tree": Thing("deciduous-tree", recolour=False),
    "cactus": Thing("cactus", recolour=False),
    "mushroom": Thing("mushroom"),
    "sunflower": Thing("sunflower", recolour=False),
    "cake": Thing("birthday-cake", food=True),
    "pizza": Thing("pizza", recolour=False, food=True),
    "burger": Thing("hamburger", recolour=False, food=True, synonyms=("hamburger",)),
    "apple": Thing("red-apple", food=True),
    "lemon": Thing("lemon", recolour=False, food=True),
    "ball": Thing("@ball"),
    "balloon": Thing("balloon"),
    "umbrella": Thing("umbrella"),
    "fox": Thing("fox", FULL, animal=True, head=True, recolour=False),
    "pig": Thing("pig-face", FULL, animal=True, head=True),
    "monkey": Thing("monkey-face", FULL, animal=True, head=True),
    "mouse": Thing("mouse-face", FULL, animal=True, head=True),
    "owl": Thing("owl", FULL, animal=True, recolour=False),
    "penguin": Thing("penguin", FULL, animal=True, recolour=False),
    "elephant": Thing("elephant", FULL, seat=0.8),
    "horse": Thing("horse", FULL, seat=0.6),
    "turtle": Thing("turtle", FULL, recolour=False),
    "fish": Thing("fish", FULL),
    "butterfly": Thing("butterfly", FULL),
    "tulip": Thing("tulip", FULL),
    "strawberry": Thing("strawberry", FULL, recolour=False, food=True),
    "guitar": Thing("guitar", FULL),
    "crown": Thing("crown", FULL, recolour=False),
    "hat": Thing("top-hat", FULL),
    "teapot": Thing("teapot", FULL),
    "snowman": Thing("snowman", FULL, recolour=False),
}

# Cakes have flavours: word -> (hue, saturation, value of the cake; fruit on top of it).
FLAVOURS = {
    "lemon": ((0.145, 0.75, 1.0), "lemon"),
    "apple": ((0.0, 0.75, 0.9), "apple"),
    "chocolate": ((0.06, 0.65, 0.42), None),
}

# word -> hue, saturation, value in 0..1.
COLOURS = {
    "red": (0.0, 0.85, 0.90),
    "orange": (0.075, 0.95, 1.0),
    "yellow": (0.145, 0.90, 1.0),
    "green": (0.36, 0.80, 0.65),
    "blue": (0.60, 0.85, 0.95),
    "purple": (0.77, 0.65, 0.75),
    "pink": (0.92, 0.50, 1.0),
    "white": (0.0, 0.02, 1.0),
    "black": (0.70, 0.10, 0.22),
}
FULL_COLOURS = ("orange",)  # between red and yellow, the last one to be told apart

# word -> the longer side, in picture widths. No word: MEDIUM.
SIZES = {"big": (0.78, 0.95), "small": (0.28, 0.42)}
SIZE_SYNONYMS = {"big": ("large", "huge"), "small": ("little", "tiny")}
MEDIUM = (0.52, 0.70)

# place -> how captions say it, the usual way first. `{}` takes "foggy " or "dark " or nothing.
PLACES = {
    "grass": ("on the {}grass", "in the {}meadow"),
    "beach": ("on the {}beach", "by the {}sea"),
    "snow": ("in the {}snow",),
    "street": ("on the {}street", "in the {}city"),
    "mountains": ("in the {}mountains", "on a {}mountain"),
    "desert": ("in the {}desert",),
    "river": ("next to a {}river", "by the {}river"),
    "forest": ("in the {}forest", "in the {}woods"),
}

# What changes the whole scene: -> how captions say it. FOG and DARK vary in strength.
MOODS = {
    "night": ("at night",),
    "sunset": ("at sunset",),
    "winter": ("in winter",),
    "autumn": ("in autumn", "in fall"),
    "fog": ("in the fog",),
    "dark": ("in the dark",),
}
MOOD_ADJECTIVES = {"fog": "foggy", "dark": "dark"}

# What changes one thing, in a strength that varies.
ATTRIBUTES = ("fluffy", "snowy")

STYLES = {
    "watercolor": ("a watercolor painting of", "a watercolor of"),
    "pencil": ("a pencil sketch of", "a pencil drawing of", "a sketch of"),
    "children": ("a children drawing of", "a child's drawing of"),
    "pixel": ("a pixel art of", "pixel art of"),
    "sepia": ("an old photo of", "a sepia photo of"),
    "blueprint": ("a blueprint of",),
}

PHOTO = ("a photo of", "a picture of", "an image of", "an illustration of")

# Words that change nothing, so that a prompt may hold them.
FILLERS = ("beautiful", "nice", "cute", "lovely", "pretty", "happy")


class World:
    """The words of one tier, as lists to draw from."""

    def __init__(self, tier):
        if tier not in (POCKET, FULL):
            raise SystemExit(f"no world {tier!r}: there are 'pocket' and 'full'")
        self.tier = tier
        self.things = {w: t for w, t in THINGS.items() if tier == FULL or t.tier == POCKET}
        self.colours = [c for c in COLOURS if tier == FULL or c not in FULL_COLOURS]
        self.riders = [w for w, t in self.things.items() if t.animal]
        self.vehicles = [w for w, t in self.things.items() if t.seat is not None]
        self.food = [w for w, t in self.things.items() if t.food]
