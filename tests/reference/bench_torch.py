"""The works of `examples/bench` in PyTorch and diffusers, alternating with ours in one run.

    cargo build --release --example bench
    python tests/reference/bench_torch.py [--repeat 3] [--ours "ARGS"] [--json FILE] [NAME..]

Each denoising step runs with attention maps materialised as the Prompt-to-Prompt reference does
(einsum, softmax, einsum; maps up to 32x32 of the conditional half are kept, and edited where the work
says so) and with scaled_dot_product_attention. Random weights: times don't depend on them. Medians and
half the distance between quartiles; peaks of memory are of separate processes (--memory).
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

BENCH = os.path.join(os.path.dirname(__file__), "../../target/release/examples/bench")
SD15 = dict(
    sample_size=64, block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768,
    attention_head_dim=8, layers_per_block=2,
)
VAE = dict(
    block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    sample_size=512,
)


class Maps:
    """An attention processor that does what the reference does."""

    def __init__(self, store):
        self.store = store

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        store, seen = self.store, hidden_states if encoder_hidden_states is None else encoder_hidden_states
        split = attn.head_to_batch_dim
        q, k, v = split(attn.to_q(hidden_states)), split(attn.to_k(seen)), split(attn.to_v(seen))
        maps = (torch.einsum("bid,bjd->bij", q, k) * attn.scale).softmax(dim=-1)
        half = maps.shape[0] // 2
        if store.guided and maps.shape[1] <= 32**2:
            cond = maps[half:]
            store.kept.append(cond.clone())
            if store.edited:
                per_row = cond.reshape(-1, attn.heads, *cond.shape[1:])
                if encoder_hidden_states is not None:
                    per_row[1:] = torch.einsum("hpw,wn->hpn", per_row[0], store.mapper)
                elif maps.shape[1] <= 16**2:
                    per_row[1:] = per_row[0]
                maps[half:] = per_row.reshape_as(cond)
        out = torch.einsum("bij,bjd->bid", maps, v)
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(out)))


class Store:
    def __init__(self):
        self.kept, self.guided, self.edited, self.mapper = [], False, False, torch.eye(77)


class Torch:
    def __init__(self, names):
        torch.manual_seed(0)
        self.store = Store()
        if any("step" in name for name in names):
            self.unet = UNet2DConditionModel(**SD15).eval()
            self.sdpa = dict(self.unet.attn_processors)
            self.maps = {name: Maps(self.store) for name in self.sdpa}
        if any("vae" in name for name in names):
            self.vae = AutoencoderKL(**VAE).eval()
        if any("text" in name for name in names):
            config = CLIPTextConfig(
                vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                num_attention_heads=12,
            )
            self.text = CLIPTextModel(config).eval()

    @torch.no_grad()
    def run(self, name, how):
        """Seconds of one work."""
        if "step" in name:
            rows = int(name.split(", ")[1].split()[0])
            self.unet.set_attn_processor(dict(self.maps if how == "maps" else self.sdpa))
            self.store.guided, self.store.edited = rows > 1, "edited" in name
            x, text = torch.randn(rows, 4, 64, 64), torch.randn(rows, 77, 768)
            work = lambda: self.unet(x, 500, encoder_hidden_states=text).sample
        elif "vae" in name:
            x = torch.randn(1, 4, 64, 64)
            work = lambda: self.vae.decode(x).sample
        else:
            ids = torch.arange(77)[None]
            work = lambda: self.text(ids).last_hidden_state
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        self.store.kept.clear()
        return seconds


class Ours:
    def __init__(self, args):
        self.process = subprocess.Popen(
            [BENCH, "--serve", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, name):
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline().split()[0])


def memory(name, how):
    """Peak MiB of a process that does one work three times."""
    if how in ("maps", "sdpa"):
        torch_side = Torch([name])
        for _ in range(3):
            torch_side.run(name, how)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    else:
        args = how.split()[1:]
        lines = (name + "\n") * 3
        out = subprocess.run([BENCH, "--serve", *args], input=lines, capture_output=True, text=True)
        peak = int(out.stdout.splitlines()[-1].split()[1])
    print(f"{name}: {how}: {peak} MiB")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=["sd15 step, 4 rows", "sd15 edited step, 4 rows", "sd15 vae", "sd15 text"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--ours", action="append", help="options of the bench; several are compared")
    parser.add_argument("--json")
    parser.add_argument("--memory", help="maps, sdpa, or 'ours OPTIONS': only this peak")
    args = parser.parse_args()
    if args.memory:
        for name in args.names:
            memory(name, args.memory)
        return
    torch_side = Torch(args.names)
    ours = {f"ours {options}".strip(): Ours(options.split()) for options in args.ours or [""]}
    found = {}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in args.names:
        ways = {how: lambda how=how: torch_side.run(name, how) for how in (["maps", "sdpa"] if "step" in name else ["torch"])}
        ways |= {how: lambda bench=bench: bench.run(name) for how, bench in ours.items()}
        seconds = {how: [] for how in ways}
        for turn in range(args.repeat + 1):
            for how, work in ways.items():
                taken = work()
                if turn > 0:  # the first warms up
                    seconds[how].append(taken)
        found[name] = seconds
        for how, all_ in seconds.items():
            quartiles = statistics.quantiles(all_, n=4) if len(all_) > 1 else all_ * 3
            line = f"{name}: {how}: {statistics.median(all_):.3f} s +- {(quartiles[2] - quartiles[0]) / 2:.3f}"
            for base in ways:
                if how.startswith("ours") and not base.startswith("ours"):
                    ratio = statistics.median(b / a for a, b in zip(all_, seconds[base]))
                    line += f", {ratio:.2f}x {base}"
            print(line, flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    sys.exit(main())
