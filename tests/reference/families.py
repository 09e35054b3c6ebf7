"""Writes tests/fixtures/families: miniatures of Stable Diffusion 2.x and XL with random weights, and
the output of diffusers' own pipelines, for tests/it/families.rs.

NAME/                    a diffusers folder, weights in float16, without what both share: tokenizer/ (CLIP's form,
                         `storybook`'s words in CLIP's order: "!" is 0, the end is last) and mini-sd's VAE weights
NAME-golden.safetensors  token ids, text states, one UNet prediction, and for every case the latents that the
                         pipeline ends with
NAME-cases.json          the cases: prompts, scheduler, steps, guidance, size

Query projections are multiplied by SHARPNESS, so that trajectories are calm, and what text adds by LOUD, so that
prompts matter. Pipelines run in float32, as users run them; the script says how far float64 is from it.

usage: python tests/reference/families.py
Needs torch, diffusers, transformers, safetensors.
"""
import json
import pathlib
import shutil
import tempfile

import diffusers
import torch
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

HERE = pathlib.Path(__file__).parent.parent
OUT = HERE / "fixtures" / "families"
WORDS = HERE.parent / "assets" / "storybook" / "tokenizer"
VAE = HERE / "fixtures" / "mini-sd" / "vae"
SHARPNESS, LOUD = 1.0, 5.0
TOKENS = 77
SIZE = (96, 160)  # pixels: height, width; an odd grid at the coarsest level
SEED = 31
SRC, DST = "a cat on the beach", "a dog on the beach"
NEGATIVE = "a red house"
BEGIN, END = "<|startoftext|>", "<|endoftext|>"

SCHEDULE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "steps_offset": 1,
}
CLASSES = {
    "ddim": (diffusers.DDIMScheduler, {"set_alpha_to_one": False, "clip_sample": False}),
    "pndm": (diffusers.PNDMScheduler, {"set_alpha_to_one": False, "skip_prk_steps": True}),
    "dpm++2m": (diffusers.DPMSolverMultistepScheduler, {}),
    "unipc": (diffusers.UniPCMultistepScheduler, {}),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "euler-a": (diffusers.EulerAncestralDiscreteScheduler, {}),
}
V, TRAILING = {"prediction_type": "v_prediction"}, {"timestep_spacing": "trailing"}


def case(scheduler, steps=4, guidance=7.5, negative=None, prompt=SRC, **config):
    config = {"prediction_type": "epsilon", "timestep_spacing": "leading"} | config
    return {"scheduler": scheduler, "steps": steps, "guidance": guidance, "negative_prompt": negative,
            "prompt": prompt, "config": config}


FAMILIES = {
    "sd2": {
        "cases": [case(name, negative=NEGATIVE) for name in ("ddim", "pndm")]
        + [case(name, **V) for name in CLASSES]
        + [case("euler", steps, 0.0, **TRAILING) for steps in (1, 2, 4)]
        + [case("euler-a", 4, 0.0, **TRAILING)],
        "scheduler": ("pndm", {}),
        "unet": {
            "attention_head_dim": [1, 2, 4, 4], "block_out_channels": [16, 32, 32, 32], "cross_attention_dim": 24,
            "down_block_types": 3 * ["CrossAttnDownBlock2D"] + ["DownBlock2D"],
            "up_block_types": ["UpBlock2D"] + 3 * ["CrossAttnUpBlock2D"], "upcast_attention": True,
        },
        "text": {"hidden_size": 24, "intermediate_size": 96, "num_attention_heads": 2, "num_hidden_layers": 3,
                 "hidden_act": "gelu", "projection_dim": 32, "pad": "!"},
    },
    "sdxl": {
        "cases": [case("euler"), case("ddim", negative=NEGATIVE), case("dpm++2m", guidance=5.0)]
        + [case("euler-a", steps, 0.0, **TRAILING) for steps in (1, 4)],
        "scheduler": ("euler", {"timestep_spacing": "leading"}),
        "unet": {
            "attention_head_dim": [1, 2, 4], "block_out_channels": [16, 32, 32], "cross_attention_dim": 40,
            "down_block_types": ["DownBlock2D"] + 2 * ["CrossAttnDownBlock2D"],
            "up_block_types": 2 * ["CrossAttnUpBlock2D"] + ["UpBlock2D"],
            "transformer_layers_per_block": [1, 2, 3], "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 20 + 6 * 8,
        },
        "text": {"hidden_size": 16, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 3,
                 "hidden_act": "quick_gelu", "projection_dim": 16, "pad": END},
        "text_2": {"hidden_size": 24, "intermediate_size": 96, "num_attention_heads": 3, "num_hidden_layers": 4,
                   "hidden_act": "gelu", "projection_dim": 20, "pad": "!", "eos_token_id": 2},
    },
}


def tokenizer_files():
    """Storybook's words, in the order of CLIP's vocabulary."""
    folder = OUT / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    words = json.loads((WORDS / "vocab.json").read_text())
    words = [w for w in sorted(words, key=words.get) if w not in (BEGIN, END)] + [BEGIN, END]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}) + "\n")
    shutil.copy(WORDS / "merges.txt", folder / "merges.txt")
    return folder, len(words)


def tokenizer(folder, shared, pad):
    """As the hub has them: the pad is the end in one file and, for OpenCLIP, "!" in the other."""
    folder.mkdir(exist_ok=True)
    special = {"bos_token": BEGIN, "eos_token": END, "unk_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special | {"pad_token": pad}, indent=1) + "\n")
    rest = {"pad_token": END, "model_max_length": TOKENS, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special | rest, indent=1) + "\n")
    return CLIPTokenizer(str(shared / "vocab.json"), str(shared / "merges.txt"), bos_token=BEGIN, eos_token=END,
                         unk_token=END, pad_token=pad, model_max_length=TOKENS)


def rounded(model):
    """Random weights that float16 holds exactly."""
    for name, weight in model.named_parameters():
        if name.endswith("to_q.weight"):
            weight.mul_(SHARPNESS)
        if "attn2.to_out" in name or "attn2.to_k" in name or "add_embedding.linear_2" in name:
            weight.mul_(LOUD)
        if name.endswith("embeddings.token_embedding.weight"):
            weight.mul_(40)  # transformers' are small, and no norm follows the penultimate layer
        weight.copy_(weight.half().float())
    return model.eval()


def save(model, folder):
    model.save_pretrained(folder)
    weights = "model" if (folder / "model.safetensors").exists() else "diffusion_pytorch_model"
    halves = {name: w.half().contiguous() for name, w in model.state_dict().items()}
    save_file(halves, folder / f"{weights}.safetensors", {"format": "pt"})


def drop(path, key):
    config = json.loads(path.read_text())
    config.pop(key)
    path.write_text(json.dumps(config, indent=2) + "\n")


def text_encoder(made, settings, vocab):
    ends = {"bos_token_id": vocab - 2, "eos_token_id": vocab - 1, "pad_token_id": 1} | settings
    ends.pop("pad")
    return rounded(made(CLIPTextConfig(vocab_size=vocab, max_position_embeddings=TOKENS, **ends)))


def scheduler(name, changes):
    made, more = CLASSES[name]
    return made(**SCHEDULE, **more, **changes)


def pipeline(parts, two, made):
    if two:
        return diffusers.StableDiffusionXLPipeline(**parts, scheduler=made, add_watermarker=False)
    off = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return diffusers.StableDiffusionPipeline(**parts, scheduler=made, **off)


def end(pipe, case):
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(SEED)
    noise = torch.randn((1, 4, SIZE[0] // 8, SIZE[1] // 8), generator=generator).to(pipe.unet.dtype)
    return pipe(case["prompt"], height=SIZE[0], width=SIZE[1], num_inference_steps=case["steps"],
                guidance_scale=case["guidance"], negative_prompt=case["negative_prompt"], latents=noise,
                output_type="latent", generator=generator).images


def far(a, b):
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


def states(parts, two, out):
    """Token ids, what the UNet reads of two prompts, and one prediction of it."""
    pipe = pipeline(parts, two, scheduler("ddim", {}))
    prompts = [SRC, ""]
    keys = [""] + (["_2"] if two else [])
    for key in keys:
        cut = parts["tokenizer" + key](prompts, padding="max_length", max_length=TOKENS, return_tensors="pt")
        out[f"ids{key}"] = cut.input_ids.to(torch.int32)
    added = {}
    if two:
        text, _, pooled, _ = pipe.encode_prompt(prompts, do_classifier_free_guidance=False)
        out["pooled"] = pooled
        sizes = torch.tensor([[*SIZE, 0, 0, *SIZE]] * 2, dtype=torch.float32)
        added = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}}
    else:
        text, _ = pipe.encode_prompt(prompts, "cpu", 1, False)
    latents = torch.randn((2, 4, 9, 13), generator=torch.Generator().manual_seed(1))
    out |= {"text": text, "unet.latents": latents, "unet.eps": parts["unet"](latents, 501, text, **added).sample}
    latents = 0.5 * torch.randn((1, 4, 4, 7), generator=torch.Generator().manual_seed(9))
    vae = parts["vae"]
    out |= {"vae.latents": latents, "vae.picture": vae.decode(latents / vae.config.scaling_factor).sample}


def family(name, given, shared, vocab):
    two, folder = "text_2" in given, OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.manual_seed(7)
    unet = rounded(diffusers.UNet2DConditionModel(
        sample_size=128 if two else 64, layers_per_block=1, norm_num_groups=8, use_linear_projection=True,
        **given["unet"]))
    vae = diffusers.AutoencoderKL.from_pretrained(VAE)
    vae.register_to_config(scaling_factor=0.13025 if two else 0.18215)
    parts = {"unet": unet, "vae": vae, "tokenizer": tokenizer(folder / "tokenizer", shared, given["text"]["pad"]),
             "text_encoder": text_encoder(CLIPTextModel, given["text"], vocab)}
    if two:
        parts["tokenizer_2"] = tokenizer(folder / "tokenizer_2", shared, given["text_2"]["pad"])
        parts["text_encoder_2"] = text_encoder(CLIPTextModelWithProjection, given["text_2"], vocab)
    for part in ("unet", "text_encoder", "text_encoder_2"):
        if part in parts:
            save(parts[part], folder / part)
    vae.save_config(folder / "vae")
    drop(folder / "vae" / "config.json", "_name_or_path")
    pipe = pipeline(parts, two, scheduler(*given["scheduler"]))
    pipe.scheduler.save_config(folder / "scheduler")
    with tempfile.TemporaryDirectory() as whole:
        pipe.save_config(whole)
        shutil.copy(pathlib.Path(whole) / "model_index.json", folder)
    golden(name, given, parts, two)


def golden(name, given, parts, two):
    out = {}
    states(parts, two, out)
    for i, this in enumerate(given["cases"]):
        made = [pipeline(parts, two, scheduler(this["scheduler"], this["config"])) for _ in range(2)]
        made[0].unet.set_attn_processor(AttnProcessor())
        out[f"case{i}"] = end(made[0], this)
        other = far(end(made[0], this | {"prompt": DST}), out[f"case{i}"])
        apart = "-"
        if this["scheduler"] != "euler-a":  # whose noise depends on the type of number
            apart = f"{far(out[f'case{i}'], end(made[1].to(torch.float64), this)):.1e}"
            made[1].to(torch.float32)
        print(f"{name} {i} {this['scheduler']:8} {this['steps']} steps: another word moves {other:.0%}, "
              f"float64 is {apart} away")
        assert other > 0.02
    save_file({k: v.contiguous() for k, v in out.items()}, OUT / f"{name}-golden.safetensors")
    cases = "[\n" + ",\n".join(json.dumps(c) for c in given["cases"]) + "\n]\n"
    (OUT / f"{name}-cases.json").write_text(cases)


def main():
    torch.set_grad_enabled(False)
    shared, vocab = tokenizer_files()
    for name, given in FAMILIES.items():
        family(name, given, shared, vocab)


if __name__ == "__main__":
    main()
