"""Writes tests/fixtures/clip-skip-golden.safetensors: the text states that each clip skip reads, for
tests/it/clip_skip.rs. The models are the miniatures mini-sd, families/sd2 and families/sdxl.

NAME.N      the text states of clip skip N for two prompts: `[2, 77, channels]`, float32
NAME.pooled the pooled embeddings of families/sdxl: `[2, channels]`, float32

N counts as A1111 and ComfyUI do: 1 is the last layer. The states come from transformers' `hidden_states`, because
diffusers 0.42 with transformers 5 raises for `clip_skip` with Stable Diffusion 1. Stable Diffusion 1 and 2 apply the
final layer norm (diffusers' `StableDiffusionPipeline.encode_prompt`), Stable Diffusion XL does not
(`StableDiffusionXLPipeline.encode_prompt`). Token ids are those of the other golden files.

usage: python tests/reference/clip_skip.py, from the repository's root
Needs torch, transformers, safetensors.
"""
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

FIXTURES = pathlib.Path("tests/fixtures")
FAMILIES = FIXTURES / "families"


def encoder(folder, made):
    """A text encoder in float32, its final norm, and how many layers it has."""
    config = CLIPTextConfig(**json.loads((folder / "config.json").read_text()))
    model = made.from_pretrained(folder, config=config, torch_dtype=torch.float32).eval()
    norms = [module for name, module in model.named_modules() if name.endswith("final_layer_norm")]
    assert len(norms) == 1
    return model, norms[0], config.num_hidden_layers


def hidden(model, ids):
    """Hidden states: the embeddings, then the output of every layer before any final norm."""
    return model(ids, output_hidden_states=True).hidden_states


def main():
    torch.set_grad_enabled(False)
    out = {}
    single = {
        "mini-sd": (FIXTURES / "mini-sd", load_file(FIXTURES / "model-golden.safetensors")["mini-sd.ids"]),
        "sd2": (FAMILIES / "sd2", load_file(FAMILIES / "sd2-golden.safetensors")["ids"]),
    }
    for name, (folder, ids) in single.items():
        model, norm, layers = encoder(folder / "text_encoder", CLIPTextModel)
        states = hidden(model, ids.long())
        assert len(states) == layers + 1
        # The last one after the norm is what the model returns as its result.
        assert torch.equal(norm(states[-1]), model(ids.long()).last_hidden_state)
        for n in range(1, layers + 1):
            out[f"{name}.{n}"] = norm(states[-n]).contiguous()
    golden = load_file(FAMILIES / "sdxl-golden.safetensors")
    first, _, layers = encoder(FAMILIES / "sdxl/text_encoder", CLIPTextModel)
    second, _, layers_2 = encoder(FAMILIES / "sdxl/text_encoder_2", CLIPTextModelWithProjection)
    ids, ids_2 = golden["ids"].long(), golden["ids_2"].long()
    for n in range(1, min(layers, layers_2) + 1):
        out[f"sdxl.{n}"] = torch.cat([hidden(first, ids)[-n], hidden(second, ids_2)[-n]], -1)
    out["sdxl.pooled"] = second(ids_2).text_embeds
    # The other script's states are diffusers' own: SDXL reads the penultimate layer, SD 2 the last one.
    for name, n in (("sd2", 1), ("sdxl", 2)):
        text = load_file(FAMILIES / f"{name}-golden.safetensors")["text"]
        print(name, "against diffusers:", (out[f"{name}.{n}"] - text).abs().max().item())
    save_file(out, FIXTURES / "clip-skip-golden.safetensors")


if __name__ == "__main__":
    main()
