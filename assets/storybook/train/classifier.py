"""The judge: a small network that reads from a picture what a caption would say of it.

Trained on the world's renders alone, it scores what a model drew: which things, the colour of a
lone one, place, mood and style, how fluffy, snowy, foggy or dark, and where the things are.
"""

import multiprocessing
import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import model
from world import World, draw, sample
from world.scenes import ALONE
from world.vocabulary import MOODS, PLACES, STYLES

GRID = 32  # cells a side of the mask: 4 pixels each
STRENGTHS = ("fluffy", "snowy", "fog", "dark")
COLOURLESS = ("pencil", "sepia", "blueprint")


class Labels:
    """What is asked of a picture, as numbers; `None` among the words is 'nothing said'."""

    def __init__(self, world):
        self.things = list(world.things)
        self.colours = list(world.colours)
        self.places = [None, *PLACES]
        self.moods = [None, *MOODS]
        self.styles = [None, *STYLES]

    def of(self, scene):
        things = np.zeros(len(self.things), np.float32)
        for item in scene.nouns:
            things[self.things.index(item.word)] = 1
        first = scene.nouns[0]
        asked = scene.relation == ALONE and first.colour and scene.style not in COLOURLESS
        strengths = [0.0] * len(STRENGTHS)
        for item in scene.nouns:
            if item.attribute:
                strengths[STRENGTHS.index(item.attribute)] = 0.2 + 0.8 * item.strength
        if scene.mood in STRENGTHS:
            strengths[STRENGTHS.index(scene.mood)] = 0.2 + 0.8 * scene.strength
        return {
            "things": things,
            "colour": self.colours.index(first.colour) if asked else -100,  # -100: not asked
            "place": self.places.index(scene.place),
            "mood": self.moods.index(scene.mood),
            "style": self.styles.index(scene.style),
            "strengths": np.array(strengths, np.float32),
        }


class Block(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)])
        self.skip = nn.Conv2d(inside, outside, 1, stride, bias=False)

    def forward(self, x):
        y = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.norms[1](self.second(y)) + self.skip(x))


class Judge(nn.Module):
    def __init__(self, labels):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 5, 2, 2, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.fine = Block(24, 32, 2)  # 32 x 32
        self.middle = Block(32, 64, 2)
        self.coarse = nn.Sequential(Block(64, 128, 2), Block(128, 192, 2))
        self.mask = nn.Conv2d(32 + 64, 1, 3, 1, 1)
        sizes = {
            "things": len(labels.things),
            "colour": len(labels.colours),
            "place": len(labels.places),
            "mood": len(labels.moods),
            "style": len(labels.styles),
            "strengths": len(STRENGTHS),
        }
        self.heads = nn.ModuleDict({k: nn.Linear(384, n) for k, n in sizes.items()})

    def forward(self, pictures):
        """(n, 3, 128, 128) in -1..1 -> logits by head; `mask` is (n, 32, 32)."""
        fine = self.fine(self.stem(pictures))
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        pooled = torch.cat([coarse.mean((2, 3)), coarse.amax((2, 3))], 1)
        wide = F.interpolate(middle, size=fine.shape[-2:], mode="bilinear")
        mask = self.mask(torch.cat([fine, wide], 1))[:, 0]
        return {k: head(pooled) for k, head in self.heads.items()} | {"mask": mask}


def one(task):
    tier, seed = task
    world = World(tier)
    scene = sample(world, seed)
    picture, masks = draw(scene, masks=True)
    shown = masks.any(0).reshape(GRID, 4, GRID, 4).mean((1, 3)) > 0.5
    return picture, shown, Labels(world).of(scene)


def render(tier, first, count):
    with multiprocessing.Pool() as pool:
        rows = pool.map(one, ((tier, first + s) for s in range(count)), 64)
    pictures = np.stack([r[0] for r in rows])
    targets = {k: torch.from_numpy(np.stack([r[2][k] for r in rows])) for k in rows[0][2]}
    return pictures, targets | {"mask": torch.from_numpy(np.stack([r[1] for r in rows])).float()}


def loss(out, target):
    shares = target["things"] / target["things"].sum(1, keepdim=True)
    total = 2 * F.cross_entropy(out["things"], shares)
    for head in ("colour", "place", "mood", "style"):
        if (target[head] >= 0).any():
            total = total + F.cross_entropy(out[head], target[head])
    total = total + 4 * F.mse_loss(out["strengths"], target["strengths"])
    return total + F.binary_cross_entropy_with_logits(out["mask"], target["mask"])


def blur(pictures, random):
    """What an autoencoder does to a picture, roughly: a classifier of crisp renders only is lost on it."""
    if random.random() < 0.3:
        return pictures
    sigma = random.uniform(0.4, 1.4)
    x = torch.arange(-3, 4, dtype=torch.float32, device=pictures.device)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, 7)
    padded = F.pad(pictures, (3, 3, 3, 3), mode="reflect")
    out = F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.mT, groups=3)
    return (out + random.uniform(0, 0.08) * torch.randn_like(out)).clamp(-1, 1)


def train(path, tier, count=30000, passes=9, batch=64):
    device, random = model.device(), np.random.default_rng(0)
    torch.manual_seed(0)
    labels = Labels(World(tier))
    pictures, targets = render(tier, 10_000_000, count)
    print(f"rendered {count} scenes", flush=True)
    judge = Judge(labels).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(judge.parameters(), 3e-3, weight_decay=0.02)
    steps = passes * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    for step in range(steps):
        pick = random.integers(0, count, batch)
        x = blur(model.to_tensor(pictures[pick]).to(device), random)
        with torch.autocast(device, torch.bfloat16):
            out = judge(x.contiguous(memory_format=torch.channels_last))
        value = loss({k: v.float() for k, v in out.items()}, {k: v[pick].to(device) for k, v in targets.items()})
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}  loss {value.item():.3f}", flush=True)
    torch.save(judge.state_dict(), path + ".part")
    os.replace(path + ".part", path)


def load(path, tier):
    judge = Judge(Labels(World(tier)))
    judge.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return judge.eval()


@torch.no_grad()
def judge_pictures(judge, pictures):
    """uint8 (n, 128, 128, 3) -> logits by head, as float arrays."""
    parts = [judge(model.to_tensor(pictures[i : i + 100])) for i in range(0, len(pictures), 100)]
    return {k: torch.cat([p[k] for p in parts]).numpy() for k in parts[0]}
