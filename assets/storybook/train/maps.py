"""The pointing game: does a word's attention peak on the thing that it names?"""

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from tokenizers import Tokenizer
from transformers import CLIPTextModel

import model
import questions
from world import draw, say
from world.scenes import ALONE

TIMES = (200, 400, 600)  # noise levels at which maps are read


class Keep:
    """Attention that keeps its map: (rows, heads, pixels, tokens), averaged over heads."""

    def __init__(self, store):
        self.store = store

    def __call__(self, attention, x, encoder_hidden_states=None, attention_mask=None, **_):
        heads = attention.heads

        def split(layer, y):
            return layer(y).unflatten(-1, (heads, -1)).transpose(1, 2)

        query = split(attention.to_q, x)
        context = x if encoder_hidden_states is None else encoder_hidden_states
        map_ = (query @ split(attention.to_k, context).mT * attention.scale).softmax(-1)
        if encoder_hidden_states is not None:
            self.store.append(map_.mean(1))
        return attention.to_out[0]((map_ @ split(attention.to_v, context)).transpose(1, 2).flatten(2))


@torch.no_grad()
def pointing(folder, world, count):
    """Share of lone things whose word's map has its peak on them (renders, noised and looked at)."""
    scenes = [s for s in questions.scenes(world, count * 3) if s.relation == ALONE][:count]
    rendered = [draw(s, masks=True) for s in scenes]
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer/tokenizer.json")
    vae = AutoencoderKL.from_pretrained(f"{folder}/vae").float().eval()
    text = CLIPTextModel.from_pretrained(f"{folder}/text_encoder").float().eval()
    unet = UNet2DConditionModel.from_pretrained(f"{folder}/unet").float().eval()
    maps, hits = [], []
    unet.set_attn_processor(Keep(maps))
    kept, random = model.scheduler().alphas_cumprod, torch.Generator().manual_seed(0)
    for i in range(0, len(scenes), 50):
        texts = [say(s) for s in scenes[i : i + 50]]
        pictures = model.to_tensor(np.stack([p for p, _ in rendered[i : i + 50]]))
        clean = vae.encode(pictures).latent_dist.mean * vae.config.scaling_factor
        hidden = text(model.token_ids(tokenizer, texts)).last_hidden_state
        total = 0
        for t in TIMES:
            maps.clear()
            noise = torch.randn(clean.shape, generator=random)
            unet(kept[t].sqrt() * clean + (1 - kept[t]).sqrt() * noise, t, hidden)
            for map_ in maps:  # (rows, pixels, tokens) -> (rows, tokens, 16, 16)
                side = int(map_.shape[1] ** 0.5)
                grid = map_.mT.unflatten(-1, (side, side))
                total = total + torch.nn.functional.interpolate(grid, size=(16, 16), mode="bilinear")
        for row, scene, map_, (_, mask) in zip(range(len(texts)), scenes[i : i + 50], total, rendered[i : i + 50]):
            words = tokenizer.encode(texts[row]).tokens
            at = words.index(scene.nouns[0].word + "</w>")
            peak = int(map_[at].argmax())
            y, x = peak // 16 * 8, peak % 16 * 8
            hits.append(bool(mask[0][y : y + 8, x : x + 8].any()))
    return float(np.mean(hits))
