"""Scores a model folder through `p2p`: the table that a retraining is held to."""

import numpy as np
from scipy import ndimage

import classifier
import questions
from classifier import GRID, STRENGTHS, Labels, judge_pictures
from editor import Editor
from maps import pointing
from vae import reconstruction
from world import World, draw, say

FACTORS = (-2, -1, 0, 1, 2)


def chunks(items, size):
    return [items[i : i + size] for i in range(0, len(items), size)]


def generate(editor, texts):
    """One picture a prompt; a few prompts share a run, and so its seed."""
    groups = chunks(texts, 4)
    runs = editor.run_all(
        {"source": g[0], "edits": g[1:], "seed": i, "flags": ["--no-edit-control"] if g[1:] else []}
        for i, g in enumerate(groups)
    )
    names = ["source", "edited-1", "edited-2", "edited-3"]
    return np.stack([run[n] for run, g in zip(runs, groups) for n in names[: len(g)]])


def right(judge, labels, scenes, pictures):
    """Share of right answers by question, over the scenes that a question fits."""
    answers = judge_pictures(judge, pictures)
    hits = {k: [] for k in ("object", "both objects", "colour", "place", "mood", "style")}
    for i, scene in enumerate(scenes):
        target = labels.of(scene)
        asked = set(np.flatnonzero(target["things"]))
        order = np.argsort(-answers["things"][i])
        hits["object" if len(scene.nouns) == 1 else "both objects"].append(set(order[: len(asked)]) == asked)
        for head in ("colour", "place", "mood", "style"):
            if target[head] >= 0:
                hits[head].append(answers[head][i].argmax() == target[head])
    return {k: float(np.mean(v)) for k, v in hits.items() if v}


def masks(answers):
    return answers["mask"] > 0


def overlap(a, b):
    return float((a & b).sum() / max((a | b).sum(), 1))


def psnr_outside(picture, other, mask, other_mask):
    """PSNR in dB of what neither mask covers, with a margin of two cells."""
    covered = ndimage.binary_dilation(mask | other_mask, iterations=2)
    free = ~covered.repeat(128 // GRID, 0).repeat(128 // GRID, 1)
    if free.mean() < 0.05:
        return None
    error = (picture[free].astype(float) - other[free]) / 255
    return float(-10 * np.log10(max((error**2).mean(), 1e-6)))


def mean(values):
    return float(np.mean([v for v in values if v is not None]))


def compare(judge, runs):
    """What edits kept of their sources, with control and without; -> {measure: (with, without)}, answers."""
    sources = judge_pictures(judge, np.stack([r["source"] for r in runs]))
    kept, answers = {"outside": [], "overlap": []}, []
    for name in ("edited-1", "baseline-1"):
        found = judge_pictures(judge, np.stack([r[name] for r in runs]))
        here, there = masks(sources), masks(found)
        kept["outside"].append(
            mean(psnr_outside(r["source"], r[name], a, b) for r, a, b in zip(runs, here, there))
        )
        kept["overlap"].append(mean(overlap(a, b) for a, b in zip(here, there)))
        answers.append(found)
    return kept, answers


def edit_all(editor, pairs, flags=()):
    return editor.run_all(
        {"source": say(a), "edits": [say(b)], "seed": i, "flags": ["--baseline", *flags]}
        for i, (a, b) in enumerate(pairs)
    )


def swaps(editor, judge, labels, pairs, flags=()):
    runs = edit_all(editor, pairs, flags)
    kept, answers = compare(judge, runs)
    new = [labels.things.index(b.nouns[0].word) for _, b in pairs]
    kept["shown"] = [float(np.mean(a["things"].argmax(1) == new)) for a in answers]
    return kept


def refined(editor, judge, labels, pairs):
    runs = edit_all(editor, pairs, ["--cross-steps", "0.5", "--self-steps", "0.2"])
    kept, answers = compare(judge, runs)
    new = [labels.styles.index(b.style) for _, b in pairs]
    kept["style"] = [float(np.mean(a["style"].argmax(1) == new)) for a in answers]
    return kept


def weighed(editor, judge, asked):
    """Share of prompts whose attribute rises with its weight: by word, and on the whole."""
    rising = {}
    jobs = [
        {"source": say(scene), "seed": i, "flags": ["--weight", f"{word}={c}"]}
        for i, (scene, word) in enumerate(asked)
        for c in FACTORS
        if c != 1
    ]
    runs = chunks(editor.run_all(jobs), len(FACTORS) - 1)
    for (_, word), run in zip(asked, runs):
        pictures = [r["edited-1"] for r in run]
        pictures.insert(FACTORS.index(1), run[0]["source"])
        strength = judge_pictures(judge, np.stack(pictures))["strengths"][:, STRENGTHS.index(word)]
        steps = np.diff(strength)
        rising.setdefault(word, []).append(bool((steps > -0.03).all() and steps.sum() > 0.1))
    return {k: float(np.mean(v)) for k, v in rising.items()} | {"all": float(np.mean(np.concatenate(list(rising.values()))))}


def riders(editor, judge, labels, count):
    scenes = questions.riders(count)
    things = judge_pictures(judge, generate(editor, [say(s) for s in scenes]))["things"]
    cat, dog = labels.things.index("cat"), labels.things.index("dog")
    return float(np.mean([(t[cat] > t[dog]) == (s.nouns[0].word == "cat") for t, s in zip(things, scenes)]))


def table(folder, binary, judge_path, tier, share=1.0):
    """Prints the table. `share` of the questions asked, for a quick look."""
    world, judge = World(tier), classifier.load(judge_path, tier)
    labels, editor = Labels(world), Editor(binary, folder)

    def some(n):
        return max(8, int(n * share))

    def line(name, *values):
        print("| " + " | ".join([name, *(f"{v:.3f}" if isinstance(v, float) else str(v) for v in values)]) + " |", flush=True)

    scenes = questions.scenes(world, some(1000))
    rendered = right(judge, labels, scenes, np.stack([draw(s) for s in scenes]))
    drawn = right(judge, labels, scenes, generate(editor, [say(s) for s in scenes]))
    print(f"| {len(scenes)} held-out prompts | the model | the world's own renders |\n|---|---|---|")
    for key in rendered:
        line(key, drawn[key], rendered[key])
    line("cat or dog on a bicycle", riders(editor, judge, labels, some(64)), "")
    pairs = questions.swaps(world, some(200))
    kept = swaps(editor, judge, labels, pairs)
    blended = swaps(editor, judge, labels, pairs, ["--blend", "auto"])
    print(f"\n| {len(pairs)} swaps | with control | and blend | without |\n|---|---|---|---|")
    for name, key in (("new object shown", "shown"), ("PSNR outside both objects, dB", "outside"), ("overlap of the objects' places", "overlap")):
        line(name, kept[key][0], blended[key][0], kept[key][1])
    pairs = questions.restyled(world, some(96))
    kept = refined(editor, judge, labels, pairs)
    print(f"\n| {len(pairs)} refinements into a style, cross 0.5, self 0.2 | with control | without |\n|---|---|---|")
    line("style shown", *kept["style"])
    line("overlap of the object's place", *kept["overlap"])
    print("\n| | |\n|---|---|")
    asked = questions.weighed(world, some(80))
    for word, value in weighed(editor, judge, asked).items():
        line(f"re-weighting is monotone: {word}", value)
    line("pointing game", pointing(folder, world, some(300)))
    line("VAE PSNR, dB", reconstruction(folder, world, some(200)))
