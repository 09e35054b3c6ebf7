"""The storybook's world: `draw(Scene)` is the picture, `say(Scene)` a caption of it."""

from .captions import say
from .scenes import Scene, draw, held_out, sample
from .vocabulary import World

__all__ = ["Scene", "World", "draw", "held_out", "sample", "say"]
