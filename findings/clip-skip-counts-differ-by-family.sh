#!/usr/bin/env bash
# diffusers' `clip_skip` counts from another layer in each family.
#
# A1111 and ComfyUI count layers of the text encoder from the end: 1 is the last layer, 2 the one before it. The usual
# advice is "diffusers' clip_skip is one less". That holds for Stable Diffusion 1 and 2, where clip_skip=1 reads the
# penultimate layer. In the pipeline of Stable Diffusion XL, clip_skip=1 reads the third layer from the end: there the
# number is two less, clip_skip=0 is what the pipeline does anyway, and no value reads the last layer.
# The docstring is the same in both pipelines: "A value of 1 means that the output of the pre-final layer will be used".
#
# Versions: diffusers 0.35.2, transformers 4.57.6, torch 2.15.0 (CPU). Output seen:
#   Stable Diffusion:    clip_skip=None reads layer 1 from the end, with the final norm
#   Stable Diffusion:    clip_skip=1 reads layer 2 from the end, with the final norm
#   Stable Diffusion XL: clip_skip=None reads layer 2 from the end
#   Stable Diffusion XL: clip_skip=0 reads layer 2 from the end
#   Stable Diffusion XL: clip_skip=1 reads layer 3 from the end
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.15.0 diffusers==0.35.2 transformers==4.57.6

cat > "$folder/look.py" <<'PYTHON'
import json, os, sys
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

folder = sys.argv[1]
letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
words = letters + [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
with open(os.path.join(folder, "vocab.json"), "w") as file:
    json.dump({word: i for i, word in enumerate(words)}, file)
with open(os.path.join(folder, "merges.txt"), "w") as file:
    file.write("#version: 0.2\n")
tokenizer = CLIPTokenizer(os.path.join(folder, "vocab.json"), os.path.join(folder, "merges.txt"), model_max_length=16)

torch.manual_seed(0)
config = CLIPTextConfig(
    vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=6, num_attention_heads=2,
    max_position_embeddings=16, projection_dim=16,
    bos_token_id=len(words) - 2, eos_token_id=len(words) - 1,
)
plain = CLIPTextModel(config).eval()
projected = CLIPTextModelWithProjection(config).eval()
ids = tokenizer("a cat", padding="max_length", max_length=16, return_tensors="pt").input_ids


def layer_read(states, encoder, width):
    """The layer from the end, 1 the last, whose states these are; and whether the final norm was applied."""
    hidden = encoder(ids, output_hidden_states=True).hidden_states
    norm = encoder.text_model.final_layer_norm
    for n in range(1, len(hidden) + 1):
        if torch.allclose(states[..., :width], hidden[-n], atol=1e-6):
            return n, ""
        if torch.allclose(states[..., :width], norm(hidden[-n]), atol=1e-6):
            return n, ", with the final norm"
    return None, ""


lines = []
with torch.no_grad():
    sd = StableDiffusionPipeline(None, plain, tokenizer, None, None, None, None, requires_safety_checker=False)
    for skip in (None, 1):
        states = sd.encode_prompt("a cat", "cpu", 1, False, clip_skip=skip)[0]
        n, norm = layer_read(states, plain, 16)
        lines.append(f"Stable Diffusion:    clip_skip={skip} reads layer {n} from the end{norm}")
    xl = StableDiffusionXLPipeline(None, plain, projected, tokenizer, tokenizer, None, None)
    for skip in (None, 0, 1):
        states = xl.encode_prompt("a cat", device="cpu", do_classifier_free_guidance=False, clip_skip=skip)[0]
        n, norm = layer_read(states, plain, 16)
        lines.append(f"Stable Diffusion XL: clip_skip={skip} reads layer {n} from the end{norm}")
print("\n".join(lines))
PYTHON

seen=$("$folder/venv/bin/python" "$folder/look.py" "$folder" 2>/dev/null)
printf '%s\n' "$seen"
expected=$(sed -n '/Output seen:/,/^set/s/^#   //p' "$0")
if [ "$seen" != "$expected" ]; then
    echo "The behaviour changed." >&2
    exit 1
fi
