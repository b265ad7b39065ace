"""Tiny real X-CLIPs with random weights, in both layouts."""

import json
from pathlib import Path

import torch
from open_clip.tokenizer import SimpleTokenizer
from transformers import CLIPTokenizer, VideoMAEImageProcessor, XCLIPConfig, XCLIPModel

WORDS = 49408  # that CLIP's tokenizer knows
FRAMES = 4
SIDE = 32
DIMENSION = 64


def model(frames: int = FRAMES, *, seed: int = 0) -> XCLIPModel:
    """The library's own, as wide as the authors' heads want it.  Its places in time and its messages count, which
    weights as they are drawn would hardly show."""
    torch.manual_seed(seed)
    text = {
        "vocab_size": WORDS,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "max_position_embeddings": 16,
    }
    vision = {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "mit_hidden_size": DIMENSION,
        "mit_intermediate_size": 128,
        "mit_num_hidden_layers": 1,
        "mit_num_attention_heads": 1,
        "image_size": SIDE,
        "patch_size": 16,
        "num_frames": frames,
    }
    made = XCLIPModel(
        XCLIPConfig(text_config=text, vision_config=vision, projection_dim=DIMENSION, prompt_num_attention_heads=1)
    )
    with torch.no_grad():
        made.mit.position_embedding.normal_()
        for name, one in made.named_parameters():
            if name.endswith("bias"):
                one.normal_(std=0.02)
            elif name.startswith(("vision_model.encoder", "mit.encoder")) and one.dim() > 1:
                loud = 4 if "message_attn.out_proj" in name else 2 if "self_attn.out_proj" in name else 1
                one.normal_(std=loud * one.shape[1] ** -0.5)
    return made.eval()


def folder(path: Path, *, frames: int = FRAMES, words: bool = True) -> XCLIPModel:
    """A folder as it lies on the hub; returns its model."""
    made = model(frames)
    made.save_pretrained(path)
    processor().save_pretrained(path)
    if words:
        tokenizer(path)
    return made


def processor() -> VideoMAEImageProcessor:
    """As on the hub, where the means and spreads are ImageNet's."""
    return VideoMAEImageProcessor(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )


def tokenizer(path: Path) -> None:
    """CLIP's own, in the hub's files, made of open_clip's list."""
    held = SimpleTokenizer()
    pairs = sorted(held.bpe_ranks, key=held.bpe_ranks.__getitem__)
    words = {word: number for word, number in held.encoder.items() if number < WORDS - 2}
    words |= {"<|startoftext|>": WORDS - 2, "<|endoftext|>": WORDS - 1}
    (path / "vocab.json").write_text(json.dumps(words), "utf-8")
    (path / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, pairs)]) + "\n", "utf-8")
    CLIPTokenizer.from_pretrained(str(path), local_files_only=True).save_pretrained(str(path))


THEIRS = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm": "ln_final",
    "text_model.encoder.layers": "transformer.resblocks",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.embeddings.patch_embedding": "visual.conv1",
    "vision_model.pre_layernorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "vision_model.encoder.layers": "visual.transformer.resblocks",
    "mit.position_embedding": "mit.positional_embedding",
    "mit.encoder.layers": "mit.resblocks",
    "prompts_generator.layernorm": "prompts_generator.norm",
    "prompts_visual_layernorm": "prompts_visual_ln",
    "prompts_visual_projection": "prompts_visual_proj",
    ".self_attn.": ".attn.",
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
}
IN_LAYERS = {".mlp.fc1.": ".mlp.c_fc.", ".mlp.fc2.": ".mlp.c_proj."}


def theirs(model: XCLIPModel) -> dict[str, torch.Tensor]:
    """The weights under the authors' names."""
    state = model.state_dict()
    made: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        if name in ("visual_projection.weight", "text_projection.weight"):
            made[{"v": "visual.proj", "t": "text_projection"}[name[0]]] = value.t().contiguous()
            continue
        if "prompts_generator" not in name and (".k_proj." in name or ".v_proj." in name):
            continue
        new = name
        for ours, their in (THEIRS | IN_LAYERS).items():
            new = new.replace(ours, their)
        if "prompts_generator" not in name and ".q_proj." in name:
            value = torch.cat([state[name.replace("q_proj", one)] for one in ("q_proj", "k_proj", "v_proj")])
            new = new.replace(".q_proj.", ".in_proj_")
        made[new] = value
    return made


def authors(file: Path, model: XCLIPModel) -> None:
    """The same weights as the authors' training leaves them."""
    torch.save({"model": theirs(model), "max_accuracy": 80.4, "epoch": 29}, file)
