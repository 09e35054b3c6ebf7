"""Writes tests/fixtures/model-golden.safetensors and tokens-golden.json with diffusers and transformers.

Run from the repository's root: python tests/reference/model.py
Inputs come from torch generators with fixed seeds and are stored beside the outputs.

mini-sd's enlarged queries and keys make its attention so sharp that diffusers' own f32 result is 5e-4 to 2e-3
away from its f64 result. So there are two references for it: "eps64", in f64, to compare errors with, and
"soft", f32 with the queries' weights times SOFT, where the same structure is well-conditioned.
"""
import json
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

MODELS = {"mini-sd": "tests/fixtures/mini-sd", "storybook": "assets/storybook"}
SOFT = 0.0625  # a power of two: the product is exact, here and in the test
TEXT = {
    "mini-sd": ["a photo of a cat riding a bicycle", ""],
    "storybook": ["a big red bicycle on the beach", ""],
}
GRIDS = {"mini-sd": [(64, 64, 981), (40, 40, 1), (9, 13, 501)],
         "storybook": [(16, 16, 981), (16, 16, 1), (7, 10, 501)]}
PROMPTS = [
    "", "a", "a photo of a cat", "A Photo Of A CAT", "a  cat\tand\na dog", "  leading and trailing  ",
    "it's the dog's bone", "I'm, you're, we've, they'll, he'd, don't", "rock'n'roll", "'''", "''s", "O'Neill's",
    "a cat, a dog; a bird: three!", "what?!", "...", "a...b", "(masterpiece:1.2), [best] {quality}",
    "hello-world", "snake_case_word", "C++ & C#", "50% off @ $9.99", "3 cats 42 dogs 1234567890", "2nd 3rd 100th",
    "1/2 cup", "e=mc^2", "http://example.com/a?b=c", "user@example.com", "#hashtag", "a|b|c", "\\backslash\\",
    "antidisestablishmentarianism", "supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis",
    "xqzzyvvk wqrtpl", "caf\u00e9 na\u00efve r\u00e9sum\u00e9", "cafe\u0301 (decomposed)", "\u00dcber stra\u00dfe", "\u0130stanbul",
    "\u041c\u043e\u0441\u043a\u0432\u0430 \u043d\u043e\u0447\u044c\u044e", "\u6771\u4eac\u30bf\u30ef\u30fc", "\u0627\u0644\u0642\u0627\u0647\u0631\u0629", "\u0939\u093f\u0928\u094d\u0926\u0940", "\ud55c\uad6d\uc5b4", "\u03b1\u03b2\u03b3 \u03a3\u03a3",
    "a \U0001f600 face", "\U0001f468\u200d\U0001f469\u200d\U0001f467 family", "\u2764\ufe0f heart", "\U0001f1ef\U0001f1f5 flag", "\u201csmart quotes\u201d \u2014 dash", "na\u00efve\u2019s",
    "\u00bd cup \u00b2 \u2167", "full\u3000width\uff21\uff22\uff23", "no\u00a0break\u200bspace", "tab\there", "\u2028line", "a <|endoftext|> b",
    "<|startoftext|>twice", "< |endoftext| >", "a teddy bear and a bear's cub", "digital art, trending on artstation, 8k, hdr",
    "a squirrel eating a burger", "painting of a lion in the style of van gogh", "one two three four five six seven eight nine ten eleven twelve",
    "x" * 60, "1" * 40, "!" * 30, "a b c d e f g h i j k l m n o p q r s t u v w x y z",
]


def soften(unet, factor):
    for key, weight in unet.named_parameters():
        if key.endswith("to_q.weight"):
            weight.mul_(factor)
    return unet


def main():
    torch.set_grad_enabled(False)
    out = {}
    for name, folder in MODELS.items():
        unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=torch.float32)
        vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32)
        text = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", torch_dtype=torch.float32)
        tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
        ids = torch.tensor(tokenizer(TEXT[name], padding="max_length", max_length=77)["input_ids"])
        states = text(ids).last_hidden_state
        out[f"{name}.ids"], out[f"{name}.text"] = ids.to(torch.int32), states
        for i, (h, w, t) in enumerate(GRIDS[name]):
            latents = torch.randn((2, 4, h, w), generator=torch.Generator().manual_seed(i))
            out[f"{name}.unet{i}.latents"] = latents
            out[f"{name}.unet{i}.timestep"] = torch.tensor([float(t)])
            out[f"{name}.unet{i}.eps"] = unet(latents, t, states).sample
            if name == "mini-sd":
                out[f"{name}.unet{i}.eps64"] = unet.double()(latents.double(), t, states.double()).sample.float()
                out[f"{name}.unet{i}.soft"] = soften(unet.float(), SOFT)(latents, t, states).sample
                soften(unet, 1 / SOFT)
        latents = 0.5 * torch.randn((1, 4, 4, 7), generator=torch.Generator().manual_seed(9))
        out[f"{name}.vae.latents"] = latents
        out[f"{name}.vae.picture"] = vae.decode(latents / vae.config.scaling_factor).sample
    save_file({k: v.contiguous() for k, v in out.items()}, "tests/fixtures/model-golden.safetensors")

    tokenizer = CLIPTokenizer.from_pretrained(MODELS["mini-sd"], subfolder="tokenizer")
    rows = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt)["input_ids"]
        rows.append({"prompt": prompt, "ids": ids})
        assert len(ids) <= 77, prompt
    with open("tests/fixtures/tokens-golden.json", "w") as file:
        json.dump(rows, file, indent=0)


if __name__ == "__main__":
    main()
