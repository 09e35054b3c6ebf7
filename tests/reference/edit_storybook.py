"""The README's edit in PyTorch, with literal maps, to compare times and pictures with `p2p edit`.

usage: python tests/reference/edit_storybook.py SEED OUT.png [STEPS]     source and edit side by side
Prints its time without imports. The binary's --compat reference draws the same pictures to within a rounding of their pixels.

Needs torch, diffusers, transformers, safetensors, pillow, numpy.
"""
import pathlib
import sys
import time

import numpy
import torch
from diffusers import AutoencoderKL
from PIL import Image

from trajectories import Model

start = time.perf_counter()
STORYBOOK = pathlib.Path(__file__).parent.parent.parent / "assets" / "storybook"
case = {"prompts": ["a big red bicycle", "a big red car"], "kind": "replace", "cross_replace_steps": 0.8,
        "self_replace_steps": 0.6, "steps": int((sys.argv + ["30"])[3]), "guidance": 5.0, "seed": int(sys.argv[1])}
latents, _, _ = Model(torch.float32, 1.0, STORYBOOK).sample(case)
vae = AutoencoderKL.from_pretrained(STORYBOOK, subfolder="vae", torch_dtype=torch.float32)
pictures = (vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)
pixels = (pictures.permute(0, 2, 3, 1).numpy() * 255).astype(numpy.uint8)
Image.fromarray(numpy.concatenate(list(pixels), 1)).save(sys.argv[2])
print(f"{time.perf_counter() - start:.2f} s without imports")
