"""Finds the steps, guidance and windows that serve a model, and stores them beside it as p2p.json."""

import numpy as np

import classifier
import questions
from classifier import Labels
from editor import Editor
from evaluate import generate, right, swaps
from export import recommend
from world import World, say

SAMPLING = [(steps, guidance) for steps in (20, 30) for guidance in (3.0, 4.0, 5.0, 7.5)]
WINDOWS = [(0.8, 0.4), (0.8, 0.2), (0.6, 0.4), (1.0, 0.4), (0.8, 0.6), (0.5, 0.2)]


def sweep(folder, binary, judge_path, tier, prompts=160, pairs=48):
    world, judge = World(tier), classifier.load(judge_path, tier)
    labels = Labels(world)
    scenes = questions.scenes(world, prompts)
    best = (-1.0, None)
    for steps, guidance in SAMPLING:
        editor = Editor(binary, folder, ["--steps", steps, "--guidance", guidance])
        scores = right(judge, labels, scenes, generate(editor, [say(s) for s in scenes]))
        score = float(np.mean(list(scores.values())))
        print(f"steps {steps} guidance {guidance}: {score:.3f}", {k: round(v, 3) for k, v in scores.items()}, flush=True)
        best = max(best, (score, (steps, guidance)))
    steps, guidance = best[1]
    editor = Editor(binary, folder, ["--steps", steps, "--guidance", guidance])
    asked, best = questions.swaps(world, pairs), (-1.0, None)
    for cross, self_ in WINDOWS:
        kept = swaps(editor, judge, labels, asked, ["--cross-steps", cross, "--self-steps", self_])
        # A swap that doesn't show is worth nothing; one that shows is worth what it keeps.
        score = kept["shown"][0] * (kept["outside"][0] / 30 + kept["overlap"][0])
        print(f"cross {cross} self {self_}: {score:.3f}", {k: [round(x, 3) for x in v] for k, v in kept.items()}, flush=True)
        best = max(best, (score, (cross, self_)))
    cross, self_ = best[1]
    found = {"steps": steps, "guidance": guidance, "cross_steps": cross, "self_steps": self_}
    recommend(folder, **found)
    print(found)
