"""Full-size Stable Diffusion models with random weights: the binary's latents against diffusers'.

    python tests/reference/full_families.py DIR FAMILY [--p2p BINARY] [--size 256]     # up to 6 GB, deleted after

FAMILY is sd15, sd21, sd-turbo, sdxl or sdxl-turbo. XL has half its transformer blocks, so that 24 GiB of memory do.
Every layer has its real width; the vocabulary is the miniatures'. Both run in float32, of weights that float16
holds: 2 steps, guided where the family is. Fails above 1e-4 relative, and where the same weights as a single-file
checkpoint (`single_file.py --write`) draw other latents than the folder, by a bit.
"""
import argparse
import gc
import json
import pathlib
import shutil
import subprocess

import diffusers
import torch
from bench_torch import SD15, VAE
from families import (
    DST,
    OUT,
    SEED,
    SRC,
    TRAILING,
    V,
    far,
    pipeline,
    rounded,
    save,
    scheduler,
    text_encoder,
    tokenizer,
)
from safetensors.torch import load_file
from single_file import write
from transformers import CLIPTextModel, CLIPTextModelWithProjection

BOUND, STEPS = 1e-4, 2
SINGLE = {"sd15": "sd1", "sd21": "sd2", "sd-turbo": "sd2", "sdxl": "sdxl", "sdxl-turbo": "sdxl"}
CLIP = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12,
        "hidden_act": "quick_gelu", "projection_dim": 768, "pad": "<|endoftext|>"}
OPEN_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 23,
          "hidden_act": "gelu", "projection_dim": 512, "pad": "!"}
OPEN_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32,
          "hidden_act": "gelu", "projection_dim": 1280, "pad": "!", "eos_token_id": 2}
SD21 = SD15 | {"attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024, "use_linear_projection": True}
SDXL = {
    "sample_size": 128, "block_out_channels": (320, 640, 1280), "layers_per_block": 2, "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20], "use_linear_projection": True, "transformer_layers_per_block": [1, 1, 5],
    "down_block_types": ["DownBlock2D"] + 2 * ["CrossAttnDownBlock2D"],
    "up_block_types": 2 * ["CrossAttnUpBlock2D"] + ["UpBlock2D"],
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 1280 + 6 * 256,
}
# UNet, text encoders, scheduler, guidance
FAMILIES = {
    "sd15": (SD15, [CLIP], ("ddim", {}), 7.5),
    "sd21": (SD21 | {"sample_size": 96, "upcast_attention": True}, [OPEN_H], ("ddim", V), 7.5),
    "sd-turbo": (SD21, [OPEN_H], ("euler", TRAILING), 1.0),
    "sdxl": (SDXL, [CLIP, OPEN_G], ("euler", {"timestep_spacing": "leading"}), 7.5),
    "sdxl-turbo": (SDXL | {"sample_size": 64}, [CLIP, OPEN_G], ("euler-a", TRAILING), 1.0),
}


def make(folder, unet, texts, solver):
    """Writes the folder; the pipeline of it."""
    torch.manual_seed(0)
    shared = OUT / "tokenizer"
    vocab = len(json.loads((shared / "vocab.json").read_text()))
    two = len(texts) == 2
    parts = {"unet": rounded(diffusers.UNet2DConditionModel(**unet)), "vae": rounded(diffusers.AutoencoderKL(**VAE))}
    for key, text, kind in zip(["", "_2"], texts, [CLIPTextModel, CLIPTextModelWithProjection]):
        parts["tokenizer" + key] = tokenizer(folder / f"tokenizer{key}", shared, text["pad"])
        for file in ("vocab.json", "merges.txt"):
            shutil.copy(shared / file, folder / f"tokenizer{key}")
        parts["text_encoder" + key] = text_encoder(kind, text, vocab)
    for name, part in parts.items():
        if not name.startswith("tokenizer"):
            (folder / name).mkdir()
            save(part, folder / name)
    pipe = pipeline(parts, two, scheduler(*solver))
    pipe.scheduler.save_config(folder / "scheduler")
    pipe.save_config(folder)
    return pipe


def drawn(pipe, prompt, size, guidance):
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(SEED)
    noise = torch.randn((1, 4, size // 8, size // 8), generator=generator)
    return pipe(prompt, height=size, width=size, num_inference_steps=STEPS, guidance_scale=guidance, latents=noise,
                output_type="latent", generator=generator).images


def ours(args, folder, guidance, solver, *model):
    """Latents of both rows from the binary."""
    latents = folder / "latents.safetensors"
    command = [args.p2p, "edit", *model, "--src", SRC, "--dst", DST, "--no-edit-control", "--seed", SEED,
               "--steps", STEPS, "--guidance", guidance, "--scheduler", solver[0], "--width", args.size,
               "--height", args.size, "--save-latents", latents, "--force", "-o", folder / "out"]
    subprocess.run([str(word) for word in command], check=True)
    return next(iter(load_file(latents).values()))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("folder", type=pathlib.Path)
    args.add_argument("family", choices=FAMILIES)
    args.add_argument("--p2p", default=pathlib.Path(__file__).parent / "../../target/release/p2p")
    args.add_argument("--size", type=int, default=256)
    args = args.parse_args()
    torch.set_grad_enabled(False)
    unet, texts, solver, guidance = FAMILIES[args.family]
    folder = args.folder / args.family
    folder.mkdir(parents=True)
    try:
        pipe = make(folder, unet, texts, solver)
        wanted = [drawn(pipe, prompt, args.size, guidance) for prompt in (SRC, DST)]
        del pipe
        gc.collect()
        rows = ours(args, folder, guidance, solver, "--model", folder)
        for i, prompt in enumerate((SRC, DST)):
            off = far(rows[i:i + 1], wanted[i])
            print(json.dumps({"family": args.family, "size": args.size, "prompt": prompt, "relative": f"{off:.1e}"}))
            assert off < BOUND
        moved = far(wanted[1], wanted[0])
        print(f"another word moves {moved:.1%}")
        assert moved > 100 * BOUND
        checkpoint = folder / "checkpoint.safetensors"
        write(SINGLE[args.family], folder, checkpoint)
        prediction = ["--prediction-type", solver[1].get("prediction_type", "epsilon")] if len(texts) == 1 else []
        same = ours(args, folder, guidance, solver, "--model", checkpoint, "--config", folder, "--tokenizer",
                    folder, *prediction)
        assert torch.equal(rows, same)
        print("as a single file the same, to the bit")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
