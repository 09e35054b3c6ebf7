"""Trained parts -> one diffusers folder in f16, which diffusers loads as it stands."""

import json
import os
import re
import shutil

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

import model

TOKENIZER = {
    "tokenizer_class": "CLIPTokenizer",
    "model_max_length": model.LENGTH,
    "bos_token": model.START,
    "eos_token": model.END,
    "unk_token": model.END,
    "pad_token": model.END,
    "do_lower_case": True,
}
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
LIMIT = 32 << 20  # bytes of weights: they are compiled into the binary


def write_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.write("\n")


def recommend(out, **values):
    """Sets values of p2p.json, which `p2p` reads beside the model; the others stay."""
    path = f"{out}/p2p.json"
    write_json(path, (model.read_json(path) if os.path.exists(path) else {}) | values)


def export(source, out, captions):
    """`source` is where the trainings wrote; an existing `out` keeps what else it holds."""
    os.makedirs(f"{out}/tokenizer", exist_ok=True)
    parts = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}
    for part, kind in parts.items():
        kind.from_pretrained(f"{source}/{part}").half().save_pretrained(f"{out}/{part}")
        config = model.read_json(f"{out}/{part}/config.json")
        config.pop("_name_or_path", None)  # where it was trained is nobody's business
        write_json(f"{out}/{part}/config.json", config)
    model.scheduler().save_pretrained(f"{out}/scheduler")
    shutil.copy(f"{source}/tokenizer/tokenizer.json", f"{out}/tokenizer/tokenizer.json")
    bpe = model.read_json(f"{source}/tokenizer/tokenizer.json")["model"]
    write_json(f"{out}/tokenizer/vocab.json", bpe["vocab"])
    merges = [m if isinstance(m, str) else " ".join(m) for m in bpe["merges"]]
    with open(f"{out}/tokenizer/merges.txt", "w") as file:
        file.write("#version: 0.2\n" + "\n".join(merges) + "\n")
    write_json(f"{out}/tokenizer/tokenizer_config.json", TOKENIZER)
    write_json(f"{out}/model_index.json", INDEX)
    recommend(out, words=sorted({w for text in captions for w in re.findall(r"[a-z']+", text.lower())}))
    weights = sum(
        os.path.getsize(os.path.join(folder, name))
        for folder, _, names in os.walk(out)
        for name in names
        if name.endswith(".safetensors")
    )
    print(f"{out}: {weights / (1 << 20):.1f} MiB of weights")
    if weights > LIMIT:
        raise SystemExit(f"the weights are larger than {LIMIT >> 20} MiB, which is what a binary may carry")
