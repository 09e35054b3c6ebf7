"""Writes tests/fixtures/single/NAME.json.gz: which tensors of a diffusers folder make which tensor of a single-file
checkpoint, for tests/it/single_file.rs. NAME is a family at full size (sd1, sd2, sdxl) or a miniature of it
(mini-sd1, mini-sd2, mini-sdxl).

The names are those of diffusers' convert_diffusers_to_original_*.py, written out here; each list is then checked by
diffusers' own converter in the other direction (`diffusers.loaders.single_file_utils`, what `from_single_file` runs):
it must give back every tensor of the folder, name, shape and numbers.

usage: python tests/reference/single_file.py [--write NAME FOLDER FILE]
With --write: a folder in diffusers layout as a checkpoint FILE, by the list NAME.
Needs torch, diffusers, transformers, safetensors.
"""
import gzip
import json
import pathlib
import sys

import diffusers
import torch
import transformers
from diffusers.loaders import single_file_utils as converter
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent.parent
OUT = HERE / "fixtures" / "single"
FAMILIES = HERE.parent / "assets" / "families"
FOLDERS = {
    "sd1": FAMILIES / "sd1", "sd2": FAMILIES / "sd2", "sdxl": FAMILIES / "sdxl",
    "mini-sd1": HERE / "fixtures" / "mini-sd",
    "mini-sd2": HERE / "fixtures" / "families" / "sd2", "mini-sdxl": HERE / "fixtures" / "families" / "sdxl",
}
CLIP, OPEN_CLIP = "clip", "open_clip"
ENCODERS = {
    "sd1": [("text_encoder", CLIP, "cond_stage_model.transformer.")],
    "sd2": [("text_encoder", OPEN_CLIP, "cond_stage_model.model.")],
    "sdxl": [("text_encoder", CLIP, "conditioner.embedders.0.transformer."),
             ("text_encoder_2", OPEN_CLIP, "conditioner.embedders.1.model.")],
}
RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}


def unet_modules(config):
    """Modules of a UNet: diffusers' prefixes and the checkpoint's, longest first."""
    down, up, layers = config["down_block_types"], config["up_block_types"], config["layers_per_block"]
    pairs = [("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2"),
             ("add_embedding.linear_1", "label_emb.0.0"), ("add_embedding.linear_2", "label_emb.0.2"),
             ("conv_in", "input_blocks.0.0"), ("conv_norm_out", "out.0"), ("conv_out", "out.2")]

    def resnet(name, place):
        pairs.extend((f"{name}.{ours}", f"{place}.{theirs}") for ours, theirs in RESNET.items())

    for i in range(len(down)):
        for j in range(layers):
            place = f"input_blocks.{(layers + 1) * i + j + 1}"
            resnet(f"down_blocks.{i}.resnets.{j}", f"{place}.0")
            pairs.append((f"down_blocks.{i}.attentions.{j}", f"{place}.1"))
        pairs.append((f"down_blocks.{i}.downsamplers.0.conv", f"input_blocks.{(layers + 1) * (i + 1)}.0.op"))
    for i, kind in enumerate(up):
        for j in range(layers + 1):
            place = f"output_blocks.{(layers + 1) * i + j}"
            resnet(f"up_blocks.{i}.resnets.{j}", f"{place}.0")
            pairs.append((f"up_blocks.{i}.attentions.{j}", f"{place}.1"))
        after = 2 if "CrossAttn" in kind else 1
        pairs.append((f"up_blocks.{i}.upsamplers.0.conv", f"output_blocks.{(layers + 1) * i + layers}.{after}.conv"))
    resnet("mid_block.resnets.0", "middle_block.0")
    pairs.append(("mid_block.attentions.0", "middle_block.1"))
    resnet("mid_block.resnets.1", "middle_block.2")
    return pairs


def vae_modules(config):
    levels, layers = len(config["down_block_types"]), config["layers_per_block"]
    pairs = [("encoder.conv_norm_out", "encoder.norm_out"), ("decoder.conv_norm_out", "decoder.norm_out")]
    resnets = []
    for i in range(levels):
        back = levels - 1 - i
        resnets += [(f"encoder.down_blocks.{i}.resnets.{j}", f"encoder.down.{i}.block.{j}") for j in range(layers)]
        resnets += [(f"decoder.up_blocks.{i}.resnets.{j}", f"decoder.up.{back}.block.{j}") for j in range(layers + 1)]
        pairs.append((f"encoder.down_blocks.{i}.downsamplers.0.conv", f"encoder.down.{i}.downsample.conv"))
        pairs.append((f"decoder.up_blocks.{i}.upsamplers.0.conv", f"decoder.up.{back}.upsample.conv"))
    for half in ("encoder", "decoder"):
        resnets += [(f"{half}.mid_block.resnets.{i}", f"{half}.mid.block_{i + 1}") for i in range(2)]
        for names, theirs in ((("group_norm",), "norm"), (("to_q", "query"), "q"), (("to_k", "key"), "k"),
                              (("to_v", "value"), "v"), (("to_out.0", "proj_attn"), "proj_out")):
            pairs += [(f"{half}.mid_block.attentions.0.{ours}", f"{half}.mid.attn_1.{theirs}") for ours in names]
    pairs += [(f"{ours}.conv_shortcut", f"{theirs}.nin_shortcut") for ours, theirs in resnets]
    return pairs + resnets


OPEN_CLIP_MODULES = [("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("self_attn.out_proj", "attn.out_proj"),
                     ("self_attn", "attn"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")]
OPEN_CLIP_NAMES = {"text_model.embeddings.token_embedding.weight": "token_embedding.weight",
                   "text_model.embeddings.position_embedding.weight": "positional_embedding",
                   "text_model.final_layer_norm.weight": "ln_final.weight",
                   "text_model.final_layer_norm.bias": "ln_final.bias", "text_projection.weight": "text_projection"}


def renamed(name, modules):
    for ours, theirs in sorted(modules, key=lambda pair: -len(pair[0])):
        if name == ours or name.startswith(ours + "."):
            return theirs + name[len(ours):]
    return name


def open_clip_name(name):
    if name in OPEN_CLIP_NAMES:
        return OPEN_CLIP_NAMES[name]
    layer, rest = name.removeprefix("text_model.encoder.layers.").split(".", 1)
    return f"transformer.resblocks.{layer}." + renamed(rest, OPEN_CLIP_MODULES)


def rows(part, shapes, stored_name):
    """A list's rows: the checkpoint's name and shape, the part, the tensors of diffusers that make it, and how."""
    found = {}
    for name, shape in shapes.items():
        stored, how = stored_name(name), "same"
        if ".q_proj." in name or ".k_proj." in name or ".v_proj." in name:
            if "attn." in stored and "resblocks" in stored:
                for letter in "qkv":
                    stored = stored.replace(f".{letter}_proj.", ".in_proj_")
                how = "rows"
        elif stored.endswith("text_projection"):
            shape, how = shape[::-1], "transposed"
        elif part == "vae" and ".attentions." in name and len(shape) == 2:
            shape, how = [*shape, 1, 1], "flat"
        row = found.setdefault(stored, {"stored": stored, "dims": list(shape), "part": part, "names": [], "how": how})
        row["names"].append(name)
    for row in found.values():
        if row["how"] == "rows":
            row["names"].sort(key=lambda name: "qkv".index(name.split(".")[-2][0]))
            row["dims"][0] *= 3
    return list(found.values())


def config_of(folder, part):
    return json.loads((folder / part / "config.json").read_text())


def modules_of(folder, family):
    """Parts of a model with random numbers, f16: `(part, state dict, converter of diffusers, its name in a file)`."""
    torch.set_default_dtype(torch.float16)
    unet = config_of(folder, "unet")
    state = diffusers.UNet2DConditionModel.from_config(unet).state_dict()
    full = dict(diffusers.UNet2DConditionModel.from_config(unet).config)
    yield "unet", state, lambda c: converter.convert_ldm_unet_checkpoint(c, full), \
        lambda n: "model.diffusion_model." + renamed(n, unet_modules(unet))
    vae = config_of(folder, "vae")
    state = diffusers.AutoencoderKL.from_config(vae).state_dict()
    yield "vae", state, lambda c: converter.convert_ldm_vae_checkpoint(c, vae), \
        lambda n: "first_stage_model." + renamed(n, vae_modules(vae))
    for part, kind, prefix in ENCODERS[family]:
        config = transformers.CLIPTextConfig(**config_of(folder, part))
        projects = part == "text_encoder_2"
        model = (transformers.CLIPTextModelWithProjection if projects else transformers.CLIPTextModel)(config)
        # transformers 5 leaves `text_model.` out of a plain encoder's names; files have it.
        name = lambda n: n if n.startswith(("text_model.", "text_projection")) else "text_model." + n
        state = {name(n): tensor for n, tensor in model.state_dict().items()}
        if kind == CLIP:
            yield part, state, lambda c, prefix=prefix: converter.convert_ldm_clip_checkpoint(c, prefix), \
                lambda n, prefix=prefix: prefix + n
        else:
            yield part, state, \
                lambda c, model=model, prefix=prefix: converter.convert_open_clip_checkpoint(model, c, prefix), \
                lambda n, prefix=prefix: prefix + open_clip_name(n)


def stored_tensor(row, state):
    tensors = [state[name] for name in row["names"]]
    tensor = torch.cat(tensors) if row["how"] == "rows" else tensors[0]
    tensor = tensor.T if row["how"] == "transposed" else tensor
    # Only then: a vocabulary may be another than the list's.
    return (tensor.reshape(row["dims"]) if row["how"] == "flat" else tensor).contiguous()


def make(name):
    table = []
    for part, state, to_diffusers, stored_name in modules_of(FOLDERS[name], name.removeprefix("mini-")):
        state = {n: torch.full_like(t, i % 2039) for i, (n, t) in enumerate(sorted(state.items()))}
        found = rows(part, {n: list(t.shape) for n, t in state.items()}, stored_name)
        back = to_diffusers({row["stored"]: stored_tensor(row, state) for row in found})
        assert set(back) == set(state), (name, part, sorted(set(back) ^ set(state))[:6])
        for n, tensor in state.items():
            assert back[n].shape == tensor.shape and torch.equal(back[n], tensor), (name, n)
        print(f"{name} {part}: {len(found)} tensors, and back")
        table += found
    text = "\n".join(json.dumps(row) for row in sorted(table, key=lambda row: row["stored"]))
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def write(name, folder, file):
    folder = pathlib.Path(folder)
    lines = gzip.decompress((OUT / f"{name}.json.gz").read_bytes()).decode().splitlines()
    table, states = [json.loads(line) for line in lines], {}
    for part in {row["part"] for row in table}:
        (weights,) = (folder / part).glob("*.safetensors")
        state = load_file(weights)
        if "final_layer_norm.weight" in state:
            state = {"text_model." + n: tensor for n, tensor in state.items()}
        states[part] = state
    # A model of less depth has less.
    table = [row for row in table if states[row["part"]].keys() >= set(row["names"])]
    save_file({row["stored"]: stored_tensor(row, states[row["part"]]) for row in table}, file)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(*sys.argv[2:])
    else:
        for each in sys.argv[1:] or FOLDERS:
            make(each)
