"""The fine-tuned CLIP of an X-Pool checkpoint, as a model that the encoder `openclip` reads.

    files = split_off(Path("model_best.pth"), Path("tower/"))    # a folder in the hub's layout
    clip, pool = split(Path("model_best.pth"))                   # or only the weights, and the names of the head's

The authors' code keeps `clip.*` beside `pool_frames.*`, and its CLIP is either OpenAI's own or a CLIPModel of Hugging
Face.  Both become the names of open_clip's CLIP; the architecture is worked out from the shapes.  Source of the
layouts: layer512/x-pool, model/clip_transformer.py; transformers, modeling_clip.py; openai/CLIP, model.py.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from encoders._clipshapes import HEAD_WIDTH, along, heads_of, layers_of
from encoders._models import CONFIG, WEIGHTS, Files, locate
from encoders._unpickling import tensors
from retriever.errors import WrongCheckpoint

Weights = dict[str, torch.Tensor]

CLIP, POOL = "clip.", "pool_frames."
"""What stands before the names of the two halves."""
PREPROCESSING = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
"""OpenAI's, which the authors keep."""
NO_WEIGHTS = re.compile(r".*position_ids|input_resolution|context_length|vocab_size|.*\.attn_mask|attn_mask")
"""Numbers that some versions of the two libraries keep beside the weights."""

TOWERS = {"text_model": "", "vision_model": "visual."}
"""Hugging Face's names of the towers, and ours."""
OUTSIDE = {
    "logit_scale": "logit_scale",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    **{
        f"{theirs}.{part}": f"{ours}.{part}"
        for theirs, ours in (
            ("text_model.final_layer_norm", "ln_final"),
            ("vision_model.pre_layrnorm", "visual.ln_pre"),  # spelled so in every checkpoint of theirs
            ("vision_model.post_layernorm", "visual.ln_post"),
        )
        for part in ("weight", "bias")
    },
}
"""Hugging Face's names outside of the layers, and ours."""
TURNED = {"text_projection.weight": "text_projection", "visual_projection.weight": "visual.proj"}
"""Linear maps there, matrices to be multiplied from the right here."""
INSIDE = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2"} | {
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
"""Hugging Face's names in a layer, and ours; queries, keys and values are one matrix here."""


def split(path: Path) -> tuple[Weights, list[str]]:
    """The weights of the CLIP in open_clip's names, float32, and the names of those of the head.

    Raises:
        WrongCheckpoint: it cannot be read, holds no CLIP, or one of another kind; names that are missing or too many.
    """
    held = tensors(path)
    inner = {
        name.removeprefix(CLIP): value.float()
        for name, value in held.items()
        if name.startswith(CLIP) and not NO_WEIGHTS.fullmatch(name.removeprefix(CLIP))
    }
    if not inner:
        raise WrongCheckpoint(f"{path} has no {CLIP}* among its {len(held):,} weights, wanted an X-Pool checkpoint")
    try:
        state = _renamed(inner) if any(name.startswith("text_model.") for name in inner) else inner
        wanted = _names(configuration(state)["model_cfg"])
    except (KeyError, IndexError, ValueError) as error:
        raise WrongCheckpoint(
            f"{path} holds a {CLIP}* that is no CLIP with a vision transformer ({error}): reelseek reads OpenAI's "
            "layout and Hugging Face's"
        ) from error
    missing, extra = sorted(wanted - set(state)), sorted(set(state) - wanted)
    if missing or extra:
        raise WrongCheckpoint(f"{path} holds a {CLIP}* that is no whole CLIP: {_complaint(missing, extra)}")
    return state, sorted(name for name in held if name.startswith(POOL))


def split_off(path: Path, folder: Path) -> Files:
    """Write the CLIP of a checkpoint into `folder`, as the encoder `openclip` reads it.

    Raises:
        WrongCheckpoint: see `split`; or the folder cannot be written.
    """
    state, _ = split(path)
    page = configuration(state)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG["openclip"]).unlink(
            missing_ok=True
        )  # the weights first, so that no torn model is taken for one
        save_file({name: value.contiguous() for name, value in state.items()}, folder / WEIGHTS["openclip"][0])
        (folder / CONFIG["openclip"]).write_text(json.dumps(page, indent=1) + "\n", "utf-8")
    except (OSError, SafetensorError) as error:
        raise WrongCheckpoint(f"{folder}: the CLIP of {path} cannot be written: {error}") from error
    return locate("openclip", str(folder))


def configuration(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """What open_clip wants to know of a CLIP, from the shapes of its weights.

    The activation has no shape: it is OpenAI's QuickGELU, in whose weights all of the authors' training begins.

    Raises:
        KeyError, IndexError, ValueError: these are not the weights of a CLIP with a vision transformer.
    """
    width, _, patch, _ = state["visual.conv1.weight"].shape
    places, embed = state["visual.positional_embedding"].shape[0], state["visual.proj"].shape[1]
    side = along(places - 1)
    context, text_width = state["positional_embedding"].shape
    return {
        "model_cfg": {
            "embed_dim": embed,
            "quick_gelu": True,
            "vision_cfg": {
                "image_size": side * patch,
                "layers": layers_of(state, "visual.transformer."),
                "width": width,
                "head_width": HEAD_WIDTH,
                "patch_size": patch,
                "mlp_ratio": _ratio(state, "visual."),
            },
            "text_cfg": {
                "context_length": context,
                "vocab_size": state["token_embedding.weight"].shape[0],
                "width": text_width,
                "heads": heads_of(text_width),
                "layers": layers_of(state, "transformer."),
                "mlp_ratio": _ratio(state, ""),
            },
        },
        "preprocess_cfg": PREPROCESSING,
    }


def _ratio(state: Mapping[str, torch.Tensor], tower: str) -> float:
    inner, width = state[f"{tower}transformer.resblocks.0.mlp.c_fc.weight"].shape
    return inner / width


def _renamed(theirs: Weights) -> Weights:
    """Weights of a CLIPModel in open_clip's names; what has none keeps its own."""
    ours: Weights = {}
    for name, value in theirs.items():
        layer = re.fullmatch(r"(text_model|vision_model)\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
        if name in TURNED:
            ours[TURNED[name]] = value.t()
        elif layer is None:
            ours[OUTSIDE.get(name, name)] = value
        else:
            tower, number, what, part = layer.groups()
            block = f"{TOWERS[tower]}transformer.resblocks.{number}."
            if what == "self_attn.q_proj":
                rest = [theirs[name.replace("q_proj", other)] for other in ("k_proj", "v_proj")]
                ours[f"{block}attn.in_proj_{part}"] = torch.cat([value, *rest])
            elif what not in ("self_attn.k_proj", "self_attn.v_proj"):
                ours[f"{block}{INSIDE.get(what, what)}.{part}"] = value
    return ours


def _names(model: Mapping[str, Any]) -> set[str]:
    """Names of all weights of such a CLIP."""
    norms = ("visual.ln_pre", "visual.ln_post", "ln_final")
    names = {*OUTSIDE.values(), *TURNED.values(), *(f"{norm}.{part}" for norm in norms for part in ("weight", "bias"))}
    for tower, side in (("", "text_cfg"), ("visual.", "vision_cfg")):
        for number in range(model[side]["layers"]):
            block = f"{tower}transformer.resblocks.{number}."
            for part in ("weight", "bias"):
                names |= {f"{block}attn.in_proj_{part}", *(f"{block}{what}.{part}" for what in INSIDE.values())}
    return names


def _complaint(missing: list[str], extra: list[str]) -> str:
    """Of each kind the first few."""
    return "; ".join(
        f"{what} {', '.join(names[:4])}{f' and {len(names) - 4} more' if names[4:] else ''}"
        for what, names in (("missing", missing), ("unknown", extra))
        if names
    )
