"""A UNet of Stable Diffusion 1.5's size with random weights, and diffusers' output for one input.

    python tests/reference/full_size.py DIR      # 3.4 GB, outside of the repository
    cargo run --release --example bench -- --check DIR [--fast]
"""

import sys

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from bench_torch import SD15


@torch.no_grad()
def main(folder):
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**SD15).eval()
    unet.save_pretrained(f"{folder}/unet", safe_serialization=True)
    latents, text = torch.randn(1, 4, 64, 64), torch.randn(1, 77, 768)
    eps = unet(latents, 500, encoder_hidden_states=text).sample
    save_file({"latents": latents, "text": text, "eps": eps}, f"{folder}/golden.safetensors")


if __name__ == "__main__":
    main(sys.argv[1])
