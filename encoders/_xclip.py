"""An X-CLIP from files that are here: transformers' layout in a folder, or the authors' one file.

A folder of the hub says what it is in config.json.  The authors' file holds weights and nothing else that counts, so
the architecture is worked out from their shapes, and the tokenizer is CLIP's own, which open_clip brings along.  Both
become transformers' `XCLIPModel`.  Source of the layouts: microsoft/VideoX, X-CLIP/models/{xclip,cct,mit}.py;
transformers, modeling_x_clip.py.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from open_clip.tokenizer import SimpleTokenizer
from transformers import XCLIPConfig, XCLIPModel

from encoders import _transformers
from encoders._checkpoints import fill, first_line
from encoders._clipshapes import along, heads_of, layers_of
from encoders._models import CONFIG, Files
from encoders._pixels import Preprocessing
from encoders._unpickling import tensors
from retriever.errors import WrongCheckpoint

Tokenize = Callable[[list[str]], torch.Tensor]
"""Sentences as token numbers `(N, L)`.  The end of a text is its highest number, and nothing after it counts: the text
tower looks back only, and answers with what it has there.  So no mask is needed, whatever the padding is."""
Weights = dict[str, torch.Tensor]

SETUP = "preprocessor_config.json"
REVISION = "grid-1"
"""Of how frames are put into groups and windows (`encoders.xclip`)."""
IMAGENET: Mapping[str, Any] = {
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bilinear",
    "resize_mode": "shortest",
}
"""How the authors' weights want their pixels.  The shorter side becomes the network's, as in their test with three
crops and in what the hub says; their test with one crop scales it to 256 for 224, and sees less of a frame."""
BILINEAR, BICUBIC = 2, 3  # PIL's numbers
UNNEEDED = ("prompts_", "logit_scale", "input_resolution", "context_length", "vocab_size")
"""Weights that no vector here depends on, in both layouts.  Video-specific prompts change a text by the video that it
is compared with, so a text that has them cannot be kept: they belong to a reranker."""
COUNTED = "position_ids"  # counted up from 0: transformers before 4.31 saved them

RENAMED = (
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"^visual\.ln_pre\.", "vision_model.pre_layernorm."),
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^mit\.positional_embedding$", "mit.position_embedding"),
    (r"^mit\.resblocks\.", "mit.encoder.layers."),
    (r"\.attn\.", ".self_attn."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
"""The authors' names and transformers'."""
TURNED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
"""Matrices to be multiplied from the right there, linear maps here."""
TOGETHER = re.compile(r"(.+_attn)\.in_proj_(weight|bias)")
"""Queries, keys and values are one matrix there."""


@dataclass(frozen=True)
class Tower:
    """What is known of a model without its weights."""

    files: Files
    config: XCLIPConfig
    preprocessing: Preprocessing

    @property
    def dimension(self) -> int:
        return int(self.config.projection_dim)

    @property
    def frames(self) -> int:
        """That exchange messages."""
        return int(self.config.vision_config.num_frames)

    @property
    def digest(self) -> str:
        """Of weights, configuration, tokenizer, and of what happens to pixels and frames; no library's version is in
        it."""
        return sha256(f"{self.files.digest} {self.preprocessing} {REVISION}".encode()).hexdigest()


# ----------------------------------------------------------------------------------------------------- configurations


def tower(files: Files) -> Tower:
    """The model of these files.

    Raises:
        WrongCheckpoint: they are none of an X-CLIP.
    """
    return _of_folder(files) if files.folder is not None else _of_file(files)


def _of_folder(files: Files) -> Tower:
    """As config.json and preprocessor_config.json say."""
    assert files.folder is not None
    try:
        config = _checked(_transformers.configuration(XCLIPConfig, files))
    except Exception as error:  # transformers raises nearly anything on a file that is not its own
        raise WrongCheckpoint(
            f"{files.name}: {CONFIG['xclip']} is none of an X-CLIP model ({first_line(error)})"
        ) from error
    side = int(config.vision_config.image_size)
    file = files.folder / SETUP
    try:
        setup = _setup(json.loads(file.read_text("utf-8")), side) if file.is_file() else IMAGENET
        return Tower(files, config, Preprocessing.read(setup, side))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WrongCheckpoint(f"{file} is none that reelseek reads ({first_line(error)})") from error


def _of_file(files: Files) -> Tower:
    """As the shapes in the authors' file say."""
    weights = tensors(files.weights)
    if any(name.startswith("vision_model.") for name in weights):
        raise WrongCheckpoint(
            f"{files.name} has transformers' layout, which wants {CONFIG['xclip']} and a tokenizer beside it: name the "
            "folder that has them"
        )
    try:
        config = _checked(configuration(weights))
    except Exception as error:  # of shapes that are none of an X-CLIP
        said = f"it lacks {error}" if isinstance(error, KeyError) else first_line(error)
        raise WrongCheckpoint(
            f"{files.name} is of another architecture than X-CLIP in its authors' layout: {said}; name the right one"
        ) from error
    return Tower(files, config, Preprocessing.read(IMAGENET, int(config.vision_config.image_size)))


def _checked(config: XCLIPConfig) -> XCLIPConfig:
    """
    Raises:
        ValueError: no network can be made of it.
    """
    vision = config.vision_config
    if not isinstance(vision.image_size, int) or not isinstance(vision.patch_size, int):
        raise ValueError(f"image_size is {vision.image_size}, patch_size {vision.patch_size}, wanted whole numbers")
    if vision.mit_hidden_size != config.projection_dim:
        raise ValueError(f"mit_hidden_size is {vision.mit_hidden_size}, projection_dim {config.projection_dim}")
    if min(vision.num_frames, config.projection_dim, vision.image_size) < 1:
        raise ValueError("num_frames, projection_dim and image_size want at least 1")
    text = config.text_config
    for width, heads in (
        (vision.hidden_size, vision.num_attention_heads),
        (vision.mit_hidden_size, vision.mit_num_attention_heads),
        (text.hidden_size, text.num_attention_heads),
    ):
        if heads < 1 or width % heads:
            raise ValueError(f"a width of {width} is no multiple of {heads} heads")
    return config


def configuration(weights: Mapping[str, torch.Tensor]) -> XCLIPConfig:
    """Of the authors' weights, by their shapes.

    The activation has no shape: it is OpenAI's QuickGELU, in whose weights all of the authors' training begins.

    Raises:
        KeyError, IndexError, ValueError: these are not the weights of an X-CLIP.
    """
    width, _, patch, _ = weights["visual.conv1.weight"].shape
    patches, embed = weights["visual.positional_embedding"].shape[0] - 1, weights["visual.proj"].shape[1]
    side = along(patches)
    context, text_width = weights["positional_embedding"].shape
    return XCLIPConfig(
        projection_dim=embed,
        text_config={
            "vocab_size": weights["token_embedding.weight"].shape[0],
            "hidden_size": text_width,
            "intermediate_size": weights["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
            "num_hidden_layers": layers_of(weights, "transformer."),
            "num_attention_heads": heads_of(text_width),
            "max_position_embeddings": context,
        },
        vision_config={
            "hidden_size": width,
            "intermediate_size": weights["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
            "num_hidden_layers": layers_of(weights, "visual.transformer."),
            "num_attention_heads": heads_of(width),
            "mit_hidden_size": embed,
            "mit_intermediate_size": weights["mit.resblocks.0.mlp.c_fc.weight"].shape[0],
            "mit_num_hidden_layers": layers_of(weights, "mit."),
            "mit_num_attention_heads": heads_of(embed),
            "image_size": side * patch,
            "patch_size": patch,
            "num_frames": weights["mit.positional_embedding"].shape[1],
        },
    )


def _setup(page: Mapping[str, Any], side: int) -> dict[str, Any]:
    """What a VideoMAEImageProcessor does, in open_clip's words.

    Raises:
        ValueError: it is something else than what the frames of a network of `side` pixels may want here.
    """
    size, crop = page.get("size", side), page.get("crop_size", side)
    shorter = size if isinstance(size, int) else size.get("shortest_edge")
    sides = {shorter} if shorter else {size["height"], size["width"]}
    cropped = {crop} if isinstance(crop, int) else {crop["height"], crop["width"]}
    if page.get("do_center_crop", True) and shorter:
        sides |= cropped
    elif shorter:
        raise ValueError("it scales the shorter side and crops nothing, so frames have no one size")
    if sides != {side} or not page.get("do_resize", True):
        raise ValueError(f"it makes frames of {'/'.join(map(str, sorted(sides)))} pixels, wanted {side} throughout")
    if (way := page.get("resample", BILINEAR)) not in (BILINEAR, BICUBIC):
        raise ValueError(f"resample is {way}, wanted {BILINEAR} or {BICUBIC}")
    return {
        "mean": page.get("image_mean") or IMAGENET["mean"],
        "std": page.get("image_std") or IMAGENET["std"],
        "interpolation": "bilinear" if way == BILINEAR else "bicubic",
        "resize_mode": "shortest" if shorter else "squash",
    }


# ------------------------------------------------------------------------------------------------------------- the text


def tokenizer(found: Tower) -> Tokenize:
    """The model's own tokenizer; of the authors' file CLIP's, with which they train.

    Raises:
        MissingWeights, WrongCheckpoint: its files are not in the folder, or not such.
    """
    longest = int(found.config.text_config.max_position_embeddings)
    if found.files.folder is None:
        simple = SimpleTokenizer(context_length=longest)

        def tokenize(sentences: list[str]) -> torch.Tensor:
            numbers: torch.Tensor = simple(sentences)
            return numbers[:, : int(numbers.argmax(dim=1).max()) + 1]

        return tokenize
    made = _transformers.tokenizer(found.files)

    def tokenize_own(sentences: list[str]) -> torch.Tensor:
        said = made(sentences, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        numbers: torch.Tensor = said["input_ids"]
        return numbers

    return tokenize_own


# ---------------------------------------------------------------------------------------------------------- the weights


def network(found: Tower) -> XCLIPModel:
    """The model with its weights, in float32 on the CPU, less what no vector depends on.

    Raises:
        WrongCheckpoint: the weights cannot be read, or are of another architecture.
    """
    try:
        model = XCLIPModel(found.config)
    except Exception as error:  # of numbers that do not go together
        raise WrongCheckpoint(f"{found.files.name}: transformers cannot build it ({first_line(error)})") from error
    for part in ("prompts_generator", "prompts_visual_layernorm", "prompts_visual_projection", "logit_scale"):
        setattr(model, part, None)
    weights = tensors(found.files.weights)
    if "visual.proj" in weights:
        weights = from_authors(weights)
    kept = {
        name: value for name, value in weights.items() if not name.startswith(UNNEEDED) and not name.endswith(COUNTED)
    }
    fill(model, kept, found.files.weights, found.files.name)
    return model


def from_authors(weights: Mapping[str, torch.Tensor]) -> Weights:
    """The authors' weights under transformers' names; what has none keeps its own."""
    renamed: Weights = {}
    for name, value in weights.items():
        if name in TURNED:
            renamed[TURNED[name]] = value.t()
            continue
        for before, after in RENAMED:
            name = re.sub(before, after, name)
        if (one := TOGETHER.fullmatch(name)) is not None:
            attention, part = one.groups()
            for projection, third in zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=True):
                renamed[f"{attention}.{projection}.{part}"] = third
        else:
            renamed[name] = value
    return renamed
