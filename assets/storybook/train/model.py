"""The storybook's parts: Stable Diffusion 1.x in miniature, as diffusers and transformers build it."""

import json
import os

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPTextConfig, CLIPTextModel

LENGTH = 77  # tokens of a prompt, as in CLIP
START, END = "<|startoftext|>", "<|endoftext|>"


def device():
    return "cuda" if torch.cuda.is_available() else "cpu"


def autoencoder(channels=(16, 32, 64, 64)):
    """f8, 4 latent channels, attention in the middle."""
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=channels,
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=True,
        latent_channels=4,
        sample_size=128,
    )


def unet(channels, width):
    """Cross-attention at 16 x 16 and 8 x 8; `width` is the text encoder's."""
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=4,
        down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        norm_num_groups=16,
    )


def text_encoder(tokenizer, width):
    end = tokenizer.token_to_id(END)
    config = CLIPTextConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=width,
        intermediate_size=width * 4,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.token_to_id(START),
        eos_token_id=end,
        pad_token_id=end,
        hidden_act="quick_gelu",
    )
    return CLIPTextModel(config)


def scheduler():
    """SD's: betas 0.00085 to 0.012, linear in their roots; eps-prediction."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def train_tokenizer(captions, path):
    """A byte-level BPE in CLIP's form, small: every word of the captions ends as one token."""
    tokenizer = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1600,
        special_tokens=[START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, end), (START, start), trim_offsets=False, add_prefix_space=False
    )
    os.makedirs(os.path.dirname(path), exist_ok=True)
    tokenizer.save(path)
    return tokenizer


def token_ids(tokenizer, texts):
    """-> int64 (n, 77): start, the words, end, and the end again up to the length."""
    out = np.full((len(texts), LENGTH), tokenizer.token_to_id(END), np.int64)
    for row, encoded in zip(out, tokenizer.encode_batch(list(texts))):
        ids = encoded.ids[:LENGTH]
        row[: len(ids)] = ids
    return torch.from_numpy(out)


def to_tensor(images):
    """uint8 (n, h, w, 3) -> float32 (n, 3, h, w) in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_images(tensor):
    """float (n, 3, h, w) in -1..1 -> uint8 (n, h, w, 3)."""
    scaled = (tensor.float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().byte().permute(0, 2, 3, 1).cpu().numpy()


def read_json(path):
    with open(path) as file:
        return json.load(file)
