"""How few steps suffice: swaps by every scheduler at several step counts, against 50 of DDIM."""

import numpy as np

import classifier
import questions
from classifier import Labels
from editor import Editor
from evaluate import compare, edit_all
from world import World

COUNTS = (5, 8, 10, 15, 20, 30, 50)
SCHEDULERS = ("ddim", "pndm", "dpm++2m", "unipc", "euler", "euler-a")


def psnr(a, b):
    error = (a.astype(float) - b) / 255
    return float(-10 * np.log10(max((error**2).mean(), 1e-6)))


def steps(folder, binary, judge_path, tier, count=48):
    world, judge = World(tier), classifier.load(judge_path, tier)
    labels, pairs = Labels(world), questions.swaps(world, count)
    new = [labels.things.index(b.nouns[0].word) for _, b in pairs]
    print("| scheduler | steps | new object shown | PSNR outside, dB | places overlap | PSNR to 50 DDIM steps, dB |\n|---|---|---|---|---|---|")
    best = None
    for scheduler, asked in [("ddim", 50), *((s, n) for s in SCHEDULERS for n in COUNTS if (s, n) != ("ddim", 50))]:
        editor = Editor(binary, folder, ["--steps", asked, "--scheduler", scheduler])
        runs = edit_all(editor, pairs)
        best = best or runs
        kept, answers = compare(judge, runs)
        shown = float(np.mean(answers[0]["things"].argmax(1) == new))
        near = float(np.mean([psnr(run["edited-1"], other["edited-1"]) for run, other in zip(runs, best)]))
        print(f"| {scheduler} | {asked} | {shown:.2f} | {kept['outside'][0]:.1f} | {kept['overlap'][0]:.2f} | {near:.1f} |", flush=True)
