"""Tiny real towers: models of open_clip and CLAP with random weights, saved in every form that is read."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast, RobertaConfig

from encoders._models import Files

WORDS = [
    "a",
    "the",
    "of",
    "dog",
    "cat",
    "bird",
    "red",
    "blue",
    "square",
    "circle",
    "plays",
    "runs",
    "sings",
    "on",
    "in",
    "street",
    "music",
    "rain",
    "speech",
    "high",
    "low",
    "tone",
    "noise",
]

CLIP: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 2},
}
"""Laid out as ViT-B-32 is, with CLIP's own tokenizer."""

SIGLIP: dict[str, Any] = {
    "embed_dim": 64,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {"image_size": 32, "timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "none"},
    "text_cfg": {
        "context_length": 12,
        "vocab_size": 32,
        "hf_tokenizer_name": "nobody/tiny",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 32,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
    },
}
"""Laid out as ViT-B-16-SigLIP is: the last place of the padded text is what counts."""

HUGGING: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": CLIP["vision_cfg"],
    "text_cfg": {
        "context_length": 12,
        "hf_model_name": "nobody/tiny-roberta",
        "hf_tokenizer_name": "nobody/tiny",
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "mlp",
    },
}
"""With a text tower from transformers, as the xlm-roberta models have."""

COCA: dict[str, Any] = {
    "embed_dim": 24,
    "custom_text": True,
    "vision_cfg": {**CLIP["vision_cfg"], "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "text_cfg": {**CLIP["text_cfg"], "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
"""Laid out as coca_ViT-B-32 is: its captions are not asked for."""

PIXELS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "squash"}


def tokenizer(folder: Path, *, ends: bool = True) -> None:
    """A tokenizer of few words: pads with 1, ends with 2."""
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *WORDS]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    template = "$A </s>" if ends else "<s> $A </s>"
    made.post_processor = processors.TemplateProcessing(single=template, special_tokens=[("<s>", 0), ("</s>", 2)])
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", bos_token="<s>"
    ).save_pretrained(str(folder))


def openclip_model(config: dict[str, Any], folder: Path | None = None) -> torch.nn.Module:
    """The library's own model, weights as a seed makes them."""
    config = deepcopy(config)
    torch.manual_seed(0)
    custom = config.pop("custom_text", False) or "hf_model_name" in config["text_cfg"]
    if "hf_model_name" in config["text_cfg"]:
        config["text_cfg"] |= {"hf_model_name": str(folder), "hf_model_pretrained": False}
    kind = open_clip.CLIP if not custom else open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    model: torch.nn.Module = kind(**config)
    return model.eval()


def openclip_folder(folder: Path, config: dict[str, Any], setup: dict[str, Any] | None = None) -> torch.nn.Module:
    """A folder laid out as on the hub; returns its model."""
    folder.mkdir(parents=True)
    page = {"model_cfg": config, "preprocess_cfg": PIXELS if setup is None else setup}
    (folder / "open_clip_config.json").write_text(json.dumps(page))
    if "hf_tokenizer_name" in config["text_cfg"]:
        tokenizer(folder)
    if "hf_model_name" in config["text_cfg"]:
        RobertaConfig(
            vocab_size=32,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=20,
        ).save_pretrained(folder)
    model = openclip_model(config, folder)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model


def frames(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blocks of colour under noise: edges and texture, which scaling treats differently."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (count, 8, 8, 3))
    coarse = blocks[:, np.arange(height) * 8 // height][:, :, np.arange(width) * 8 // width]
    return (coarse + rng.normal(0, 25, coarse.shape)).clip(0, 255).astype(np.uint8)


def seconds(count: int) -> np.ndarray:
    return np.stack([np.arange(count), np.arange(count) + 1], axis=1).astype(np.float64)


def clap_model(*, fused: bool = False) -> ClapModel:
    """A CLAP of about 100,000 weights that hears 10 s at 48 kHz."""
    torch.manual_seed(0)
    audio = {
        "spec_size": 256,
        "patch_size": 16,
        "patch_stride": [16, 16],
        "depths": [1, 1],
        "num_attention_heads": [1, 2],
        "patch_embeds_hidden_size": 16,
        "hidden_size": 32,
        "projection_dim": 24,
        "enable_fusion": fused,
        "fusion_type": "aff_2d" if fused else None,
        "aff_block_r": 2,
    }
    text = {
        "vocab_size": 32,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
        "projection_dim": 24,
    }
    return ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=24)).eval()


def clap_folder(folder: Path, *, fused: bool = False) -> ClapModel:
    """A folder as transformers saves it."""
    model = clap_model(fused=fused)
    model.save_pretrained(folder)
    ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc").save_pretrained(folder)
    tokenizer(folder, ends=False)
    return model


def files(folder: Path) -> Files:
    """Of a folder, without asking who else may have it."""
    return Files(str(folder), "", folder, folder / "open_clip_model.safetensors", "0" * 64)
