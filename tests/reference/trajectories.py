"""Trajectories of the Prompt-to-Prompt reference, written out from its description with literal maps.

Writes tests/fixtures/trajectories/cases.json and NAME.safetensors. The model is tests/fixtures/mini-sd
with its query projections times SHARPNESS: as it stands, that model's attention is so sharp that in
PyTorch a change of 1e-9 in the start noise ends 5 % away in float64, and float32 ends 14 % from float64,
so free-running trajectories of it cannot be compared across machines. Tamed, float32 and float64 agree to 1e-6 and every edit shows.

usage: python tests/reference/trajectories.py            writes the fixtures (float64)
       python tests/reference/trajectories.py FOLDER     instead holds this script against trajectories
           recorded from the reference's own classes, each step from the recorded latents before it

Needs torch, diffusers, transformers, safetensors.
"""
import json
import pathlib
import sys

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

HERE = pathlib.Path(__file__).parent.parent
MODEL = HERE / "fixtures" / "mini-sd"
OUT = HERE / "fixtures" / "trajectories"
SHARPNESS = 0.3
LAYERS = 5  # of cross-attention at 16x16
N = 77
EXTRA = [
    {"name": "replace-reweight", "prompts": ["a photo of a cat on a chair", "a photo of a tiger on a chair"],
     "kind": "replace+reweight", "cross_replace_steps": [0.1, 0.7], "self_replace_steps": [0.2, 0.6],
     "equalizer": [["tiger", "chair"], [2, -0.5]], "steps": 8, "guidance": 5.0, "seed": 11},
    {"name": "refine-three-reweight", "prompts": ["a cat", "a big fluffy cat", "a cat on a red mat"],
     "kind": "refine+reweight", "cross_replace_steps": {"default_": 0.9, "fluffy": [0.3, 0.6]},
     "self_replace_steps": 0.5, "equalizer": [["fluffy"], [3]], "steps": 8, "guidance": 7.5, "seed": 12},
    {"name": "refine-deletion", "prompts": ["a big red cat on a mat", "a cat on a mat"], "kind": "refine",
     "cross_replace_steps": 1.0, "self_replace_steps": 0.4, "steps": 8, "guidance": 7.5, "seed": 13},
    {"name": "replace-shorter", "prompts": ["a lasagne on a plate", "a burger on a plate"], "kind": "replace",
     "cross_replace_steps": 0.6, "self_replace_steps": 1.0, "steps": 7, "guidance": 3.0, "seed": 14},
    # Three prompts, where the reference's own local blend fails: a mask per edit.
    {"name": "blend-three", "prompts": ["a cat on a chair", "a tiger on a chair", "a cat on a hippopotamus"],
     "kind": "replace", "cross_replace_steps": 0.8, "self_replace_steps": 0.3,
     "local_blend": ["cat", "tiger", "hippopotamus"], "start_blend": 0.2, "threshold": [0.45, 0.3],
     "steps": 8, "guidance": 7.5, "seed": 15},
    {"name": "blend-keep-latents", "prompts": ["a photo of a cat on a chair", "a photo of a tiger on a chair"],
     "kind": "replace", "cross_replace_steps": 0.8, "self_replace_steps": 0.3, "local_blend": ["cat", "tiger"],
     "substruct_words": ["chair", "chair"], "start_blend": 0.3, "threshold": [0.2, 0.8], "inject_latents": 0.3,
     "steps": 8, "guidance": 7.5, "seed": 16},
]


class Text:
    """Token ids and the reference's lookup of words."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def ids(self, prompt):
        return self.tokenizer(prompt, padding="max_length", max_length=N, truncation=True).input_ids

    def real(self, prompt):
        return self.tokenizer.encode(prompt)

    def word_tokens(self, prompt, places):
        words = prompt.split(" ")
        pieces = [self.tokenizer.decode([i]).strip("#") for i in self.real(prompt)][1:-1]
        found, walked, word = [], 0, 0
        for i, piece in enumerate(pieces):
            walked += len(piece)
            if word in places:
                found.append(i + 1)
            if word < len(words) and walked >= len(words[word]):
                word, walked = word + 1, 0
        return found

    def find(self, prompt, word):
        return self.word_tokens(prompt, [i for i, w in enumerate(prompt.split(" ")) if w == word])


def replace_mapper(text, source, edited):
    a, b = source.split(" "), edited.split(" ")
    changed = [i for i in range(len(b)) if a[i] != b[i]]
    pairs = [(text.word_tokens(source, [i]), text.word_tokens(edited, [i])) for i in changed]
    m = torch.zeros(N, N, dtype=torch.float64)
    i = j = k = 0
    while i < N and j < N:
        if k < len(pairs) and pairs[k][0][0] == i:
            s, t = pairs[k]
            for x, p in enumerate(s):
                for y, q in enumerate(t):
                    m[p, q] = float(x == y) if len(s) == len(t) else 1 / len(t)
            i, j, k = i + len(s), j + len(t), k + 1
        else:
            m[i if k < len(pairs) else j, j] = 1
            i, j = i + 1, j + 1
    return m


def refine_mapper(text, source, edited):
    """As a matrix, and the alphas. Gap 0, match 1, mismatch -1; ties: left, up, diagonal."""
    x, y = text.real(source), text.real(edited)
    best = [[0] * (len(y) + 1) for _ in range(len(x) + 1)]
    for i in range(1, len(x) + 1):
        for j in range(1, len(y) + 1):
            hit = 1 if x[i - 1] == y[j - 1] else -1
            best[i][j] = max(best[i][j - 1], best[i - 1][j], best[i - 1][j - 1] + hit)
    m, alphas = torch.zeros(N, N, dtype=torch.float64), torch.ones(N, dtype=torch.float64)
    alphas[: len(y)] = 0
    i, j = len(x), len(y)
    while i > 0 or j > 0:
        if i == 0 or (j > 0 and best[i][j] == best[i][j - 1]):
            j -= 1
        elif j == 0 or best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            m[i, j], alphas[j] = 1, 1
    for j in range(len(y), N):
        m[j, j] = 1
    return m, alphas


def bounds(window, rows):
    a, b = window if isinstance(window, (list, tuple)) else (0, window)
    return int(a * rows), int(b * rows)


class Blend:
    """Local blend, after a step: what lies outside of the words is put back."""

    def __init__(self, text, case):
        prompts, self.calls, self.sums = case["prompts"], 0, 0
        stable = "stable" in case.get("local_blend_flavour", "")
        self.start = int(case.get("start_blend", 0 if stable else 0.2) * case["steps"])
        self.threshold = case.get("threshold", [0.3, 0.3])
        self.words = self.columns(text, prompts, case["local_blend"])
        self.kept = self.columns(text, prompts, case["substruct_words"]) if "substruct_words" in case else None

    def columns(self, text, prompts, words):
        alpha = torch.zeros(len(prompts), N, dtype=torch.float64)
        for i, (prompt, word) in enumerate(zip(prompts, words)):
            alpha[i, text.find(prompt, word)] = 1
        return alpha

    def mask(self, columns, threshold, pool, size):
        maps = (self.sums * columns[:, None, None].to(self.sums)).sum(-1)[:, None]
        if pool:
            maps = torch.nn.functional.max_pool2d(maps, 3, 1, 1)
        maps = torch.nn.functional.interpolate(maps, size=size)
        mask = maps / maps.amax((2, 3), keepdim=True) > threshold
        return mask[:1] | mask

    def __call__(self, x, maps):
        self.sums, self.calls = self.sums + maps, self.calls + 1
        if self.calls <= self.start:
            return x
        mask = self.mask(self.words, self.threshold[0], True, x.shape[2:])
        if self.kept is not None:
            mask &= ~self.mask(self.kept, self.threshold[1], False, x.shape[2:])
        return torch.where(mask, x, x[:1])


class Controller:
    """What happens to the conditional half's maps, on literal maps."""

    def __init__(self, text, case):
        source, edits = case["prompts"][0], case["prompts"][1:]
        self.kind, self.step, steps = case["kind"], 0, case["steps"]
        windows = case.get("cross_replace_steps", 0)
        windows = windows if isinstance(windows, dict) else {"default_": windows}
        self.gate = torch.zeros(steps + 1, len(edits), N, dtype=torch.float64)
        ordered = {"default_": windows.get("default_", 1.0), **{k: v for k, v in windows.items() if k != "default_"}}
        for word, window in ordered.items():
            a, b = bounds(window, steps + 1)
            for e, edit in enumerate(edits):
                columns = slice(None) if word == "default_" else text.find(edit, word)
                self.gate[:, e, columns] = 0
                self.gate[a:b, e, columns] = 1
        self.self_window = bounds(case.get("self_replace_steps", 0), steps)
        if "replace" in self.kind:
            self.maps = torch.stack([replace_mapper(text, source, e) for e in edits])
        if "refine" in self.kind:
            pairs = [refine_mapper(text, source, e) for e in edits]
            self.maps, self.alphas = (torch.stack(x) for x in zip(*pairs))
        self.equalizer = torch.ones(N, dtype=torch.float64)
        for word, factor in zip(*case.get("equalizer", ([], []))):
            self.equalizer[text.find(edits[0], word)] = factor

    def __call__(self, maps, cross):
        """maps: [rows, heads, pixels, tokens]"""
        base, own = maps[:1], maps[1:]
        if self.kind == "none":
            return maps
        if not cross:
            a, b = self.self_window
            inject = maps.shape[2] <= 16 * 16 and a <= self.step < b
            return torch.cat([base, base.expand_as(own)]) if inject else maps
        new = base.expand_as(own)
        if "replace" in self.kind:
            new = torch.einsum("hpw,ewn->ehpn", base[0], self.maps.to(maps))
        if "refine" in self.kind:
            gathered = torch.einsum("hpw,ewn->ehpn", base[0], self.maps.to(maps))
            alphas = self.alphas[:, None, None].to(maps)
            new = gathered * alphas + own * (1 - alphas)
        new = new * self.equalizer.to(maps)
        gate = self.gate[self.step][:, None, None].to(maps)
        return torch.cat([base, new * gate + own * (1 - gate)])


class Literal:
    """An attention processor that writes its maps out."""

    def __init__(self, run):
        self.run = run

    def __call__(self, attn, hidden, encoder_hidden_states=None, **_):
        cross = encoder_hidden_states is not None
        seen = encoder_hidden_states if cross else hidden
        split = lambda x: x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        q, k, v = split(attn.to_q(hidden)), split(attn.to_k(seen)), split(attn.to_v(seen))
        maps = (q @ k.transpose(-1, -2) * attn.scale).softmax(-1)
        half = maps.shape[0] // 2
        edited = self.run["controller"](maps[half:], cross)
        if cross and maps.shape[2] == 16 * 16:
            self.run["maps"].append(edited.mean(1))
        out = torch.cat([maps[:half], edited]) @ v
        return attn.to_out[0](out.transpose(1, 2).flatten(2))


class Model:
    def __init__(self, dtype, sharpness, folder=MODEL):
        self.unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
        for name, p in self.unet.named_parameters():
            if "to_q" in name:
                p.mul_(sharpness)
        self.unet, self.dtype, self.run = self.unet.to(dtype), dtype, {}
        self.unet.set_attn_processor(Literal(self.run))
        self.encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder").to(dtype)
        self.scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
        self.text = Text(CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"))

    def sample(self, case, recorded=None):
        """Final latents, mean 16x16 token maps, and with `recorded` each step's distance from it."""
        rows = len(case["prompts"])
        ids = torch.tensor([self.text.ids(p) for p in [""] * rows + case["prompts"]])
        context = self.encoder(ids)[0]
        side = self.unet.config.sample_size
        noise = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(case["seed"]))
        x = noise.to(self.dtype).expand(rows, -1, -1, -1)
        self.run.update(controller=Controller(self.text, case), maps=[])
        blend = Blend(self.text, case) if "local_blend" in case else lambda x, _: x
        copied = int(case.get("inject_latents", 0) * case["steps"])
        self.scheduler.set_timesteps(case["steps"])
        far = []
        for step, t in enumerate(self.scheduler.timesteps):
            self.run["controller"].step = step
            uncond, cond = self.unet(torch.cat([x, x]), t, context).sample.chunk(2)
            x = self.scheduler.step(uncond + case["guidance"] * (cond - uncond), t, x).prev_sample
            if step + 1 < copied:  # the step counts as done by then
                x = x[:1].expand_as(x)
            x = blend(x, torch.stack(self.run["maps"][-LAYERS:]).sum(0).unflatten(1, (16, 16)))
            if recorded is not None:
                want = recorded[step].to(self.dtype)
                far.append(max(((x[r] - want[r]).norm() / want[r].norm()).item() for r in range(rows)))
                x = want
        maps = torch.stack(self.run["maps"]).mean(0).unflatten(1, (16, 16))
        return x, maps, far


def check(folder):
    model = Model(torch.float64, 1.0)
    for case in json.loads((folder / "cases.json").read_text()):
        recorded = load_file(folder / (case["name"] + ".safetensors"))
        _, _, far = model.sample(case, recorded["step_latents"])
        print(f"{case['name']:22}", " ".join(f"{x:.0e}" for x in far))


def write():
    OUT.mkdir(exist_ok=True)
    parity = json.loads((HERE / "fixtures" / "parity" / "cases.json").read_text())
    model = Model(torch.float64, SHARPNESS)
    for case in parity + EXTRA:
        x, maps, _ = model.sample(case)
        edit = ((x[1:] - x[:1]).norm() / x[:1].norm()).item()
        print(f"{case['name']:22} the edit moves the latents by {edit:.0%}")
        tensors = {"final_latents": x.float(), "token_maps_16": maps[:, :, :, :16].float()}
        save_file({k: v.contiguous() for k, v in tensors.items()}, OUT / (case["name"] + ".safetensors"))
    (OUT / "cases.json").write_text(json.dumps(parity + EXTRA, indent=1) + "\n")


torch.set_grad_enabled(False)
if __name__ == "__main__":
    check(pathlib.Path(sys.argv[1])) if len(sys.argv) > 1 else write()
