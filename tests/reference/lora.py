"""Writes tests/fixtures/lora: LoRA files for the miniatures, and the weights that diffusers and PEFT make of them.

NAME.safetensors         a LoRA: `sd1-peft` as diffusers saves it, `sd1-kohya` and `sdxl-kohya` as kohya's tools do,
                         the latter with a checkpoint's names for the UNet's blocks
NAME-fused.safetensors   the tensors that change, float32, after `load_lora_weights` and `fuse_lora(SCALE)`

usage: python tests/reference/lora.py
Needs torch, diffusers, transformers, peft, safetensors.
"""
import pathlib
import shutil
import tempfile

import diffusers
import torch
from safetensors.torch import save_file
from single_file import renamed, unet_modules

HERE = pathlib.Path(__file__).parent.parent
FIXTURES = HERE / "fixtures"
OUT = FIXTURES / "lora"
SCALE, RANK, ALPHA, LOUD = 0.8, 3, 2.0, 0.2
UNET = ("attn1.to_q", "attn2.to_k", "attn2.to_out.0", "ff.net.0.proj")
SD1 = (*UNET, "proj_in", "conv1", "conv_shortcut", "downsamplers.0.conv")  # 1x1 and 3x3 convolutions
TEXT = ("q_proj", "out_proj", "fc1")
BLOCKS = ("down_blocks.1.", "mid_block.")  # of the UNet: fixtures stay small


def folder_of(name, place):
    """A miniature, completed with the files that its fixture shares with others."""
    shutil.copytree(FIXTURES / name, place, dirs_exist_ok=True)
    for part in ("tokenizer", "tokenizer_2"):
        if name != "mini-sd" and (place / part).is_dir():
            shutil.copytree(FIXTURES / "families" / "tokenizer", place / part, dirs_exist_ok=True)
    vae = "vae/diffusion_pytorch_model.safetensors"
    shutil.copy(FIXTURES / "mini-sd" / vae, place / vae)
    return place


def layers(module, endings):
    return [(name, layer) for name, layer in module.named_modules()
            if name.endswith(endings) and (endings is TEXT or name.startswith(BLOCKS)) and isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d))]


def factors(layer, generator):
    out, into, *kernel = layer.weight.shape
    down = torch.randn(RANK, into, *kernel, generator=generator) * LOUD
    up = torch.randn(out, RANK, *[1 for _ in kernel], generator=generator) * LOUD
    return down.half(), up.half()


def text_name(name):
    return name if name.startswith("text_model.") else "text_model." + name


def components(pipe, endings):
    yield "unet", pipe.unet, endings
    yield "text_encoder", pipe.text_encoder, TEXT
    if getattr(pipe, "text_encoder_2", None) is not None:
        yield "text_encoder_2", pipe.text_encoder_2, TEXT


def peft_file(pipe, generator):
    tensors = {}
    for part, module, endings in components(pipe, SD1):
        for name, layer in layers(module, endings):
            name = name if part == "unet" else text_name(name)
            down, up = factors(layer, generator)
            tensors |= {f"{part}.{name}.lora_A.weight": down, f"{part}.{name}.lora_B.weight": up}
    return tensors


def kohya_file(pipe, generator, endings, modules):
    prefixes = {"unet": "lora_unet", "text_encoder_2": "lora_te2",
                "text_encoder": "lora_te1" if modules else "lora_te"}
    tensors = {}
    for part, module, chosen in components(pipe, endings):
        for name, layer in layers(module, chosen):
            name = renamed(name, modules) if part == "unet" else text_name(name)
            name = f"{prefixes[part]}_{name.replace('.', '_')}"
            down, up = factors(layer, generator)
            tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up,
                        f"{name}.alpha": torch.tensor(ALPHA)}
    return tensors


def weights(pipe):
    return {f"{part}.{name if part == 'unet' else text_name(name)}": tensor.clone()
            for part, module, _ in components(pipe, ()) for name, tensor in module.state_dict().items()
            if ".lora_" not in name}


def make(name, fixture, file):
    with tempfile.TemporaryDirectory() as place:
        place = folder_of(fixture, pathlib.Path(place))
        pipe = diffusers.DiffusionPipeline.from_pretrained(str(place), torch_dtype=torch.float32)
        before = weights(pipe)
        save_file(file(pipe), OUT / f"{name}.safetensors")
        pipe.load_lora_weights(str(OUT), weight_name=f"{name}.safetensors")
        pipe.fuse_lora(lora_scale=SCALE, components=[part for part, *_ in components(pipe, ())])
        pipe.unload_lora_weights()
        after = weights(pipe)
        assert set(before) == set(after), sorted(set(before) ^ set(after))[:5]
        changed = {n: t.contiguous() for n, t in after.items() if not torch.equal(t, before[n])}
        added = sum(".lora_down." in n or ".lora_A." in n for n in file(pipe))
        assert len(changed) == added, (len(changed), added)
        save_file(changed, OUT / f"{name}-fused.safetensors")
        print(name, len(changed), "tensors changed")


def main():
    OUT.mkdir(exist_ok=True)
    seeded = lambda: torch.Generator().manual_seed(8)
    make("sd1-peft", "mini-sd", lambda pipe: peft_file(pipe, seeded()))
    make("sd1-kohya", "mini-sd", lambda pipe: kohya_file(pipe, seeded(), SD1, []))
    make("sdxl-kohya", "families/sdxl",
         lambda pipe: kohya_file(pipe, seeded(), UNET, unet_modules(dict(pipe.unet.config))))


if __name__ == "__main__":
    main()
