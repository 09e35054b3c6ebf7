"""Trains the autoencoder on crops of rendered scenes."""


import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

import model
import questions
from loop import Run, rate
from world import draw

CROP = 64
TEST = 256  # scenes at the end of the set are never trained on


def pyramid(a, b):
    """Differences of two pictures band by band -> (detail, colour).

    Detail: Laplacian bands, absolute. Colour: the coarse levels, squared; without it rare colours
    are washed out, since no single pixel of them is far wrong.
    """
    detail = colour = 0
    for level in range(4):
        small_a, small_b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        if level < 3:
            band_a = a - F.interpolate(small_a, scale_factor=2)
            band_b = b - F.interpolate(small_b, scale_factor=2)
            detail = detail + (band_a - band_b).abs().mean()
        colour = colour + (small_a - small_b).square().mean()
        a, b = small_a, small_b
    return detail, colour


def train(directory, out, steps, batch=16, lr=2e-3, init=None, decoder_only=False):
    """`decoder_only` leaves the latents as they are, and with them every UNet trained on them."""
    device = model.device()
    images = np.load(f"{directory}/images.npy", mmap_mode="r")
    vae = AutoencoderKL.from_pretrained(init).float() if init else model.autoencoder()
    vae.to(device)
    if decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    trained = [p for p in vae.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([{"params": trained, "peak": lr}], lr=lr, betas=(0.9, 0.99), weight_decay=1e-3)
    run = Run(f"{out}/vae{'-decoder' if decoder_only else ''}.pt", vae, [optimizer])
    random = np.random.default_rng(run.step)
    torch.manual_seed(run.step)
    while run.step < steps:
        pick = np.sort(random.integers(0, len(images) - TEST, batch))
        y, x = random.integers(0, images.shape[1] - CROP + 1, 2)
        real = model.to_tensor(np.stack([images[i, y : y + CROP, x : x + CROP] for i in pick])).to(device)
        if random.random() < 0.5:
            real = real.flip(-1)
        with torch.autocast(device, torch.bfloat16):
            latent = vae.encode(real).latent_dist
            made = vae.decode(latent.sample()).sample
        made = made.float()
        detail, colour = pyramid(real, made)
        kl = latent.kl().float().mean() / latent.mean[0].numel()
        plain = (real - made).abs().mean()
        losses = {"l1": plain.detach(), "colour": colour.detach(), "kl": kl.detach()}
        run.update(plain + 0.6 * detail + 2 * colour + 1e-4 * kl, rate(run.step, steps), losses)
    run.finished()
    vae.eval()
    if not decoder_only:
        with torch.no_grad():
            latents = vae.encode(model.to_tensor(images[-TEST:]).to(device)).latent_dist.mean
        vae.register_to_config(scaling_factor=float(1 / latents.std()))
    vae.save_pretrained(f"{out}/vae")


@torch.no_grad()
def reconstruction(folder, world, count):
    """Mean PSNR in dB of renders through encoder and decoder."""
    vae = AutoencoderKL.from_pretrained(f"{folder}/vae").float().eval()
    values = []
    for scene in questions.scenes(world, count):
        real = model.to_tensor(draw(scene)[None])
        made = vae.decode(vae.encode(real).latent_dist.mean).sample.clamp(-1, 1)
        values.append(float(-10 * torch.log10(((real - made) / 2).square().mean())))
    return float(np.mean(values))
