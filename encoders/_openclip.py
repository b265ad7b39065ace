"""A model of open_clip from files that are here: its configuration, tokenizer, and network.

The library's own `create_model` goes to the network wherever something is missing; this never does.  It knows the same
three classes, and the same old and foreign names of weights.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

from encoders._checkpoints import fill, first_line
from encoders._models import CONFIG, Files
from encoders._pixels import Preprocessing
from encoders._texts import has_words
from encoders._unpickling import tensors
from retriever.errors import MissingWeights, WrongCheckpoint

Tokenize = Callable[[list[str]], torch.Tensor]
"""Sentences as token numbers `(N, context length)`, padded to that length: SigLIP sees its padding, and answers badly
to less."""

UNNEEDED = ("logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size")
"""Weights that no vector depends on; trainers save them or not."""
POSITIONS = "embeddings.position_ids"  # counted up from 0: transformers before 4.31 saved them


@dataclass(frozen=True)
class Tower:
    """What is known of a model without its weights."""

    files: Files
    config: Mapping[str, Any]  # open_clip's model_cfg
    preprocessing: Preprocessing

    @property
    def dimension(self) -> int:
        return int(self.config["embed_dim"])

    @property
    def digest(self) -> str:
        """Of weights, configuration, tokenizer, and of what happens to pixels."""
        config = json.dumps(self.config, sort_keys=True)
        return sha256(f"{self.files.digest} {config} {self.preprocessing}".encode()).hexdigest()


def tower(files: Files) -> Tower:
    """The model of these files.

    Raises:
        WrongCheckpoint: its configuration is not one of open_clip.
    """
    if files.folder is None:
        config, setup = open_clip.get_model_config(files.architecture), _usual(files.architecture)
    else:
        config, setup = _written(files)
    try:
        size = config["vision_cfg"].get("image_size", 224)
        if not isinstance(config["text_cfg"], dict):
            raise ValueError("text_cfg is no table")
        found = Tower(files, config, Preprocessing.read(setup, size))
        if found.dimension < 1:
            raise ValueError(f"embed_dim is {found.dimension}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WrongCheckpoint(f"{files.name}: {CONFIG['openclip']} is none of open_clip ({error})") from error
    return found


def _written(files: Files) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration that lies beside the weights, and its preprocessing."""
    assert files.folder is not None
    file = files.folder / CONFIG["openclip"]
    try:
        page = json.loads(file.read_text("utf-8"))
        return page.get("model_cfg", page), page.get("preprocess_cfg", {})
    except (OSError, ValueError, AttributeError) as error:
        raise WrongCheckpoint(f"{file} cannot be read as a configuration of open_clip ({error})") from error


def _usual(architecture: str) -> dict[str, Any]:
    """How all published weights of an architecture want their pixels; where they differ, open_clip's own way."""
    published = [
        {key: cfg.get(key) for key in ("mean", "std", "interpolation", "resize_mode")}
        for tag in open_clip.pretrained.list_pretrained_tags_by_model(architecture)
        if (cfg := open_clip.get_pretrained_cfg(architecture, tag))
    ]
    return published[0] if published and all(one == published[0] for one in published) else {}


def tokenizer(found: Tower) -> Tokenize:
    """The model's own tokenizer.

    Raises:
        MissingWeights: its files are not in the folder.
    """
    text = found.config["text_cfg"]
    length = int(text.get("context_length") or open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
    options = dict(text.get("tokenizer_kwargs") or {})
    wanted = text.get("hf_tokenizer_name")
    if not wanted:
        simple: Tokenize = SimpleTokenizer(context_length=length, **options)
        return simple
    folder = found.files.folder
    if folder is None or not has_words(folder):
        raise MissingWeights(
            f"{found.files.name} has no tokenizer beside it, wanted that of {wanted}: put its tokenizer.json there, "
            "or pull the model with reelseek models pull"
        )
    mode = text.get("tokenizer_mode")
    try:
        own: Tokenize = HFTokenizer(
            str(folder), context_length=length, tokenizer_mode=mode, local_files_only=True, **options
        )
    except Exception as error:  # transformers raises nearly anything on a file that is not its own
        raise WrongCheckpoint(f"{folder}: its tokenizer cannot be read ({first_line(error)})") from error
    return own


def network(found: Tower) -> torch.nn.Module:
    """The model with its weights, in float32 on the CPU.

    Raises:
        MissingWeights: the configuration of a text tower from Hugging Face is not in the folder.
        WrongCheckpoint: the weights cannot be read, or are of another architecture.
    """
    model = _built(found)
    weights = _renamed(model, tensors(found.files.weights))
    fill(model, weights, found.files.weights, found.files.name)
    return model


def _built(found: Tower) -> torch.nn.Module:
    """The architecture with random weights."""
    config: dict[str, Any] = deepcopy(dict(found.config))
    vision, text = config["vision_cfg"], config["text_cfg"]
    if vision.get("timm_model_name"):
        vision["timm_model_pretrained"] = False
    if wanted := text.get("hf_model_name"):
        text["hf_model_pretrained"] = False
        text["hf_model_name"] = _text_tower(found.files, wanted)
    custom = config.pop("custom_text", False) or bool(wanted)
    kind = open_clip.CLIP if not custom else open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    try:
        built: torch.nn.Module = kind(**config)
    except (TypeError, ValueError, RuntimeError, KeyError, AssertionError) as error:
        raise WrongCheckpoint(f"{found.files.name}: open_clip cannot build it ({first_line(error)})") from error
    return built


def _text_tower(files: Files, wanted: str) -> str:
    """The folder with the configuration of a text tower: where transformers looks, so that it looks nowhere else."""
    if files.folder is None or not (files.folder / "config.json").is_file():
        raise MissingWeights(
            f"{files.name} has the text tower {wanted}, whose config.json is not beside it: put it there, or pull the "
            "model with reelseek models pull"
        )
    return str(files.folder)


def _renamed(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights under the names of this version, less those that are not needed, which stay as they are."""
    weights = convert_state_dict(model, weights)
    if not hasattr(model, "positional_embedding"):
        weights = convert_to_custom_text_state_dict(weights)
    wanted = model.state_dict()
    kept = {key: value for key, value in weights.items() if not (key in UNNEEDED or key.endswith(POSITIONS))}
    spared = {key: value for key, value in wanted.items() if key in UNNEEDED or key.endswith(POSITIONS)}
    return kept | spared
