"""Trains text encoder and UNet on rendered scenes."""

import os

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from tokenizers import Tokenizer
from transformers import CLIPTextModel

import model
from loop import Run, rate

EMPTY = 0.1  # share of captions replaced by the empty one, for classifier-free guidance
GAMMA = 5.0  # of min-SNR weighting (Hang et al. 2023)
STILL = 0.1  # weight of `restless`


def encode(directory, vae_folder, scale):
    """Latents of all scenes, float16 (n, 4, 16, 16), scaled to unit spread; kept on disk."""
    path = f"{directory}/latents.npy"
    if not os.path.exists(path):
        vae = AutoencoderKL.from_pretrained(vae_folder).eval().to(model.device())
        images = np.load(f"{directory}/images.npy", mmap_mode="r")
        latents = np.zeros((len(images), 4, 16, 16), np.float16)
        with torch.no_grad(), torch.autocast(model.device(), torch.bfloat16):
            for i in range(0, len(images), 50):
                batch = model.to_tensor(images[i : i + 50]).to(model.device())
                latents[i : i + 50] = vae.encode(batch).latent_dist.mean.float().cpu().numpy()
                if i % 4000 == 0:
                    print(f"encoded {i} of {len(images)}", flush=True)
        np.save(path + ".part.npy", latents)
        os.replace(path + ".part.npy", path)
    return torch.from_numpy(np.load(path)).float() * scale


class PlainAttention:
    """Attention as two products: on a CPU, in bf16 and with heads this narrow, 1.4 times as fast to
    train as torch's fused one."""

    def __call__(self, attention, x, encoder_hidden_states=None, attention_mask=None, **_):
        context = x if encoder_hidden_states is None else encoder_hidden_states
        heads = attention.heads

        def split(layer, y):
            return layer(y).unflatten(-1, (heads, -1)).transpose(1, 2).flatten(0, 1)

        query, key, value = split(attention.to_q, x), split(attention.to_k, context), split(attention.to_v, context)
        scores = torch.baddbmm(query.new_empty(1, 1, 1), query, key.mT, beta=0, alpha=attention.scale)
        out = torch.bmm(scores.softmax(-1), value).unflatten(0, (-1, heads)).transpose(1, 2).flatten(2)
        return attention.to_out[0](out)


def restless(hidden, ids, end):
    """How much the positions from the end token on differ from prompt to prompt.

    Left alone, a small model writes the whole prompt into the seventy-odd padding positions and reads
    it from there; then replacing or weighing a *word's* attention changes little. Holding them still
    leaves what a word means at the word, which is what prompt-to-prompt edits.
    """
    padding = (ids == end)[..., None].float()
    count = padding.sum(0).clamp(min=1)
    mean = (hidden * padding).sum(0) / count
    return ((hidden - mean).square() * padding).sum() / (padding.sum() * hidden.shape[-1])


def start(out, captions, init, channels, width):
    """Tokenizer, text encoder and UNet: new, or from the diffusers folder `init`."""
    path = f"{out}/tokenizer/tokenizer.json"
    tokenizer = Tokenizer.from_file(path) if os.path.exists(path) else model.train_tokenizer(captions, path)
    text, unet = model.text_encoder(tokenizer, width), model.unet(channels, width)
    if init:
        unet.load_state_dict(UNet2DConditionModel.from_pretrained(f"{init}/unet").float().state_dict())
        adopt(text, tokenizer, init)
    return tokenizer, text, unet


def adopt(text, tokenizer, init):
    """`init`'s text encoder: layers as they are, embeddings for the tokens both vocabularies have."""
    old = CLIPTextModel.from_pretrained(f"{init}/text_encoder").float().state_dict()
    vocabulary = Tokenizer.from_file(f"{init}/tokenizer/tokenizer.json").get_vocab()
    name = next(k for k in old if k.endswith("token_embedding.weight"))
    table = text.state_dict()[name].clone()
    table *= old[name].std() / table.std()
    for token, row in tokenizer.get_vocab().items():
        if token in vocabulary:
            table[row] = old[name][vocabulary[token]]
    text.load_state_dict(old | {name: table})


def train(directory, out, steps, batch, channels, width, init=None, lr=1.2e-3, compiled=False):
    device = model.device()
    captions = model.read_json(f"{directory}/captions.json")
    scale = float(AutoencoderKL.load_config(f"{out}/vae")["scaling_factor"])
    latents = encode(directory, f"{out}/vae", scale).to(device)
    tokenizer, text, unet = start(out, captions, init, channels, width)
    ids = model.token_ids(tokenizer, captions).to(device)
    empty = model.token_ids(tokenizer, [""]).to(device)
    end = tokenizer.token_to_id(model.END)
    modules = torch.nn.ModuleDict({"unet": unet.to(memory_format=torch.channels_last), "text": text}).to(device)
    print(f"{sum(p.numel() for p in modules.parameters()) / 1e6:.2f} M parameters, {len(captions)} scenes", flush=True)
    forward = torch.compile(unet) if compiled else unet
    if device == "cpu":
        unet.set_attn_processor(PlainAttention())
        text.set_attn_implementation("eager")
    noise_schedule = model.scheduler()
    kept = noise_schedule.alphas_cumprod.to(device)
    optimizer = torch.optim.AdamW(
        [{"params": list(modules.parameters()), "peak": lr}], lr=lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    run = Run(f"{out}/unet.pt", modules, [optimizer])
    random = torch.Generator(device).manual_seed(1000 + run.step)
    while run.step < steps:
        pick = torch.randint(len(latents), (batch,), generator=random, device=device)
        clean, prompt = latents[pick], ids[pick].clone()
        prompt[torch.rand(batch, generator=random, device=device) < EMPTY] = empty
        t = torch.randint(1000, (batch,), generator=random, device=device)
        noise = torch.randn(clean.shape, generator=random, device=device)
        a = kept[t][:, None, None, None]
        noisy = (a.sqrt() * clean + (1 - a).sqrt() * noise).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            hidden = text(prompt).last_hidden_state
            guess = forward(noisy, t, hidden).sample.float()
        snr = kept[t] / (1 - kept[t])
        weight = snr.clamp(max=GAMMA) / snr
        loss = ((guess - noise).square().mean((1, 2, 3)) * weight).mean()
        still = restless(hidden.float(), prompt, end)
        run.update(loss + STILL * still, rate(run.step, steps), {"loss": loss.detach(), "still": still.detach()})
    run.finished()
    unet.save_pretrained(f"{out}/unet")
    text.save_pretrained(f"{out}/text_encoder")
    noise_schedule.save_pretrained(f"{out}/scheduler")
