"""Writes tests/fixtures/work.json: the FLOP of forward passes as PyTorch counts them, for tests/it/work.rs.

Run from the repository's root: python tests/reference/work.py
Needs torch, diffusers, transformers. Models are built from configs on the meta device: no weights, nothing is
computed. Attention goes through plain products, since a counter sees only the operations it knows.

Of each attention layer there are three numbers: its map (queries, keys and their product), the product of the
map with the values, and the projections of values and of what comes out.
"""
import json

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel

TOKENS = 77
FOLDERS = {"storybook": "assets/storybook", "mini-sd": "tests/fixtures/mini-sd"}
SIZES = {  # latents, the native size first
    "storybook": [(16, 16), (9, 11), (24, 16)],
    "mini-sd": [(64, 64), (9, 11), (40, 64)],
    "sd-1.5": [(64, 64), (9, 11), (64, 96)],
    "uneven": [(9, 11)],
}
SD_15 = {
    "unet": {
        "act_fn": "silu", "attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280],
        "center_input_sample": False, "cross_attention_dim": 768,
        "down_block_types": 3 * ["CrossAttnDownBlock2D"] + ["DownBlock2D"], "downsample_padding": 1,
        "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2,
        "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4,
        "sample_size": 64, "up_block_types": ["UpBlock2D"] + 3 * ["CrossAttnUpBlock2D"],
    },
    "vae": {
        "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
        "down_block_types": 4 * ["DownEncoderBlock2D"], "in_channels": 3, "latent_channels": 4,
        "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3, "sample_size": 512,
        "up_block_types": 4 * ["UpDecoderBlock2D"],
    },
    "text_encoder": {
        "hidden_act": "quick_gelu", "hidden_size": 768, "intermediate_size": 3072, "layer_norm_eps": 1e-05,
        "max_position_embeddings": TOKENS, "model_type": "clip_text_model", "num_attention_heads": 12,
        "num_hidden_layers": 12, "vocab_size": 49408,
    },
}
# What none of the others has: lists per level, deep transformers, attention on some levels of one half only.
UNEVEN = {
    "unet": SD_15["unet"] | {
        "attention_head_dim": [2, 4, 8], "block_out_channels": [16, 32, 64], "cross_attention_dim": 24,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": [1, 3, 2], "transformer_layers_per_block": [2, 1, 3], "norm_num_groups": 8,
        "use_linear_projection": True,
    },
    "vae": SD_15["vae"] | {
        "block_out_channels": [16, 32], "down_block_types": 2 * ["DownEncoderBlock2D"],
        "up_block_types": 2 * ["UpDecoderBlock2D"], "norm_num_groups": 8, "mid_block_add_attention": False,
        "use_post_quant_conv": False,
    },
    "text_encoder": SD_15["text_encoder"] | {
        "hidden_size": 24, "intermediate_size": 80, "num_attention_heads": 2, "num_hidden_layers": 3,
    },
}


def configs_of(folder):
    def read(part):
        with open(f"{folder}/{part}/config.json") as file:
            return json.load(file)
    return {part: read(part) for part in ["unet", "vae", "text_encoder"]}


def count(run):
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        run()
    return {name: sum(by_op.values()) for name, by_op in counter.get_flop_counts().items()}, counter


def meta(*shape):
    return torch.zeros(shape, device="meta")


def unet_work(unet, size):
    context = meta(1, TOKENS, unet.config.cross_attention_dim)
    total, counter = count(lambda: unet(meta(1, 4, *size), 1, context))
    sites = []
    for name in total:  # in order of execution
        if name.endswith((".attn1", ".attn2")):
            part = {p: total[f"{name}.{p}"] for p in ["to_q", "to_k", "to_v", "to_out.0"]}
            ops = {str(op): flop for op, flop in counter.get_flop_counts()[name].items()}
            scores, carried = ops["aten.baddbmm"], ops["aten.bmm"]
            sites.append([part["to_q"] + part["to_k"] + scores, carried, part["to_v"] + part["to_out.0"]])
    return {"unet": total["Global"], "sites": sites}


def work(configs, sizes):
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(configs["unet"])
        vae = AutoencoderKL.from_config(configs["vae"])
        text = CLIPTextModel._from_config(CLIPTextConfig(**configs["text_encoder"]), attn_implementation="eager")
    unet.set_attn_processor(AttnProcessor())
    vae.set_attn_processor(AttnProcessor())
    ids = torch.zeros((1, TOKENS), dtype=torch.long, device="meta")
    out = {"text": count(lambda: text(ids))[0]["Global"], "cases": []}
    for size in sizes:
        decode = count(lambda: vae.decode(meta(1, 4, *size)))[0]["Global"]
        out["cases"].append({"size": size, **unet_work(unet, size), "vae": decode})
    return out


def main():
    models = {}
    for name, sizes in SIZES.items():
        given = {"sd-1.5": SD_15, "uneven": UNEVEN}.get(name)
        models[name] = work(given or configs_of(FOLDERS[name]), sizes)
        if given:
            models[name]["configs"] = given
    with open("tests/fixtures/work.json", "w") as file:
        json.dump({"torch": torch.__version__.split("+")[0], "models": models}, file)
        file.write("\n")


if __name__ == "__main__":
    main()
