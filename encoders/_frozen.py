"""Frozen in Time (Bain et al., ICCV 2021): its network, and its weights and tokenizer from files that are here.

The authors publish one file a model, such as `cc-webvid2m-4f_stformer_b_16_224.pth.tar`; the modules here have the
names that are in it.  All sizes are read from the shapes of its weights.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isqrt
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention
from transformers import DistilBertConfig, DistilBertModel

from encoders._checkpoints import fill, first_line
from encoders._models import Files
from encoders._pixels import Preprocessing
from encoders._unpickling import SEVERAL, tensors
from retriever.errors import MissingWeights, WrongCheckpoint

FAMILY = "Frozen in Time"
REVISION = "1"
"""Of what is calculated here from the same weights."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, as the authors take them (data_loader/transforms.py)."""
HEAD = 64  # numbers in a head of attention, in both towers
EPSILON = 1e-6  # of layer normalisation in the video tower
COLOURS = 3
LEFT = ("video_model.head.", "video_model.pre_logits.", "video_model.fc.", "text_model.embeddings.position_ids")
"""Weights that no vector depends on: of a classifier of pictures, and a count that transformers before 4.31 saved."""
WORDS = ("tokenizer.json", "vocab.txt")
"""Each holds all of the tokenizer of distilbert-base-uncased; where both are there, the first is read."""
UNKNOWN, ENDS = "[UNK]", ("[CLS]", "[SEP]")
OWN = (UNKNOWN, *ENDS, "[PAD]", "[MASK]")
"""Words of BERT's own."""

Numbered = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Texts as token numbers `(N, L)`, and a mask `(N, L)` that has 1 where a token stands, 0 on padding."""
Tokenize = Callable[[Sequence[str]], Numbered]
Shapes = Mapping[str, Sequence[int]]


# ---------------------------------------------------------------------------------------------------------- the network


class Attention(nn.Module):
    """Attention divided into groups of patches: each patch sees its group and the class token, and the class
    token sees all."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = _heads(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor, frames: int, *, over_time: bool) -> torch.Tensor:
        """`x` `(B, 1 + frames × places, D)`: the class token, then the patches frame by frame.

        A group is a frame, or over time a place: the patches there in all frames.
        """
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)  # (B, 1 + patches, H, D/H) each

        def groups(rows: torch.Tensor) -> torch.Tensor:  # (B, groups, members, H, D/H)
            by_frame = torch.unflatten(rows[:, 1:], 1, (frames, -1))
            return by_frame.transpose(1, 2) if over_time else by_frame

        def and_first(rows: torch.Tensor) -> torch.Tensor:  # (B, groups, 1 + members, H, D/H)
            grouped = groups(rows)
            return torch.cat([rows[:, None, :1].expand(-1, grouped.shape[1], -1, -1, -1), grouped], dim=2)

        first = _attended(query[:, None, :1], key[:, None], value[:, None])[:, 0]  # (B, 1, H, D/H)
        rest = _attended(groups(query), and_first(key), and_first(value))
        patches = (rest.transpose(1, 2) if over_time else rest).flatten(1, 2)  # (B, patches, H, D/H)
        joined: torch.Tensor = self.proj(torch.cat([first, patches], dim=1).flatten(2))
        return joined


def _attended(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention of `(B, groups, members, H, D/H)`; in four dimensions in between, which have the fast kernels."""
    count = query.shape[1]
    query, key, value = (rows.flatten(0, 1).transpose(1, 2) for rows in (query, key, value))
    return torch.unflatten(scaled_dot_product_attention(query, key, value).transpose(1, 2), 0, (-1, count))


class Perceptron(nn.Module):
    """Two layers."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.fc2(gelu(self.fc1(x)))
        return rows


class Block(nn.Module):
    """Over time, over space, and each token by itself."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim, EPSILON) for _ in range(3))
        self.attn, self.timeattn = Attention(dim), Attention(dim)
        self.mlp = Perceptron(dim, hidden)

    def forward(self, x: torch.Tensor, frames: int) -> torch.Tensor:
        over_time = x + self.timeattn(self.norm3(x), frames, over_time=True)
        x = x + self.attn(self.norm1(over_time), frames, over_time=False)  # onto what came in, not onto `over_time`
        rows: torch.Tensor = x + self.mlp(self.norm2(x))
        return rows


class Patches(nn.Module):
    """Pictures cut into squares."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(COLOURS, dim, patch, patch)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """`(N, 3, h, w)` → `(N, places, D)`."""
        rows: torch.Tensor = self.proj(pictures).flatten(2).transpose(1, 2)
        return rows


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the shapes of a model's weights say of it."""

    frames: int  # at most
    side: int  # pixels
    patch: int  # pixels
    dim: int  # as the next three: of the video tower
    depth: int
    hidden: int
    words: int  # as the next four: of the text tower
    positions: int
    text_dim: int
    text_depth: int
    text_hidden: int
    dimension: int  # of both towers' vectors

    @property
    def places(self) -> int:
        """Patches of a frame."""
        return (self.side // self.patch) ** 2

    @property
    def distilbert(self) -> DistilBertConfig:
        return DistilBertConfig(
            vocab_size=self.words,
            max_position_embeddings=self.positions,
            dim=self.text_dim,
            n_layers=self.text_depth,
            n_heads=_heads(self.text_dim),
            hidden_dim=self.text_hidden,
        )


class SpaceTime(nn.Module):
    """The video tower: a ViT whose blocks look along time first."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + sizes.places, sizes.dim))
        self.temporal_embed = nn.Parameter(torch.zeros(1, sizes.frames, sizes.dim))
        self.patch_embed = Patches(sizes.dim, sizes.patch)
        self.blocks = nn.ModuleList(Block(sizes.dim, sizes.hidden) for _ in range(sizes.depth))
        self.norm = nn.LayerNorm(sizes.dim, EPSILON)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """`(B, frames, 3, side, side)` → `(B, D)`; fewer frames than the model knows are the first ones."""
        frames = clips.shape[1]
        patches = self.patch_embed(clips.flatten(0, 1)).unflatten(0, (-1, frames))  # (B, F, P, D)
        patches = patches + self.pos_embed[:, None, 1:] + self.temporal_embed[:, :frames, None]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(patches.shape[0], -1, -1)
        x = torch.cat([first, patches.flatten(1, 2)], dim=1)
        for block in self.blocks:
            x = block(x, frames)
        rows: torch.Tensor = self.norm(x[:, 0])
        return rows


class FrozenInTime(nn.Module):
    """Both towers."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.video_model = SpaceTime(sizes)
        self.vid_proj = nn.Sequential(nn.Linear(sizes.dim, sizes.dimension))
        self.text_model = DistilBertModel(sizes.distilbert)
        self.txt_proj = nn.Sequential(nn.ReLU(), nn.Linear(sizes.text_dim, sizes.dimension))

    def read(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Texts `(B, L)` → `(B, dimension)`."""
        said = self.text_model(input_ids=tokens, attention_mask=mask).last_hidden_state[:, 0]
        rows: torch.Tensor = self.txt_proj(said)
        return rows


def _heads(dim: int) -> int:
    """The published models have heads of 64 numbers, which weights do not tell; narrower towers have one head."""
    return max(1, dim // HEAD)


# ------------------------------------------------------------------------------------------------------------ its files


class Weights:
    """A file of weights: the shapes at once, the numbers when they are taken.

    Those of safetensors stand in its header.  A checkpoint of torch has no such thing: it is read here, once, and its
    numbers are kept until they are taken.
    """

    def __init__(self, file: Path) -> None:
        """
        Raises:
            WrongCheckpoint: it cannot be read.
        """
        self.file = file
        whole = None if file.suffix == ".safetensors" else self.take()
        self.shapes: Shapes = _header(file) if whole is None else {name: value.shape for name, value in whole.items()}

    def take(self) -> dict[str, torch.Tensor]:
        """By name, without those that are not needed; read again each time, as a run from a kept graph needs none."""
        return {name: value for name, value in tensors(self.file).items() if not name.startswith(LEFT)}


def _header(file: Path) -> Shapes:
    try:
        with safe_open(file, "pt") as opened:
            return {name.removeprefix(SEVERAL): opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WrongCheckpoint(f"{file} cannot be read as safetensors ({error}): copy it again") from error


def sizes_of(shapes: Shapes) -> Sizes:
    """
    Raises:
        KeyError: a weight that tells one is missing.
        ValueError: one has a shape that none of the family has.
    """
    video, text = "video_model", "text_model"
    positions = _shape(shapes, f"{video}.pos_embed", 3)
    patch = _shape(shapes, f"{video}.patch_embed.proj.weight", 4)
    along = isqrt(max(0, positions[1] - 1))
    if not along or along**2 != positions[1] - 1:
        raise ValueError(f"{video}.pos_embed has {positions[1]} rows, wanted one and a square number")
    if patch[2] != patch[3]:
        raise ValueError(f"its patches are {patch[2]}×{patch[3]} pixels, wanted squares")
    words = _shape(shapes, f"{text}.embeddings.word_embeddings.weight", 2)
    found = Sizes(
        frames=_shape(shapes, f"{video}.temporal_embed", 3)[1],
        side=along * patch[2],
        patch=patch[2],
        dim=positions[2],
        depth=_numbered(shapes, f"{video}.blocks"),
        hidden=_shape(shapes, f"{video}.blocks.0.mlp.fc1.weight", 2)[0],
        words=words[0],
        positions=_shape(shapes, f"{text}.embeddings.position_embeddings.weight", 2)[0],
        text_dim=words[1],
        text_depth=_numbered(shapes, f"{text}.transformer.layer"),
        text_hidden=_shape(shapes, f"{text}.transformer.layer.0.ffn.lin1.weight", 2)[0],
        dimension=_shape(shapes, "vid_proj.0.weight", 2)[0],
    )
    for dim in (found.dim, found.text_dim):
        if dim % _heads(dim):
            raise ValueError(f"a tower is {dim} wide, wanted a multiple of {HEAD}")
    return found


def _shape(shapes: Shapes, name: str, dimensions: int) -> Sequence[int]:
    shape = shapes[name]
    if len(shape) != dimensions or not all(shape):
        raise ValueError(f"{name} is {'×'.join(map(str, shape)) or 'one number'}, wanted {dimensions} dimensions")
    return shape


def _numbered(shapes: Shapes, of: str) -> int:
    """How many blocks there are, whatever their numbers."""
    return len({found[1] for name in shapes if (found := re.match(rf"{re.escape(of)}\.(\d+)\.", name))})


@dataclass(frozen=True)
class Tower:
    """What is known of a model before its network is made."""

    files: Files
    weights: Weights
    sizes: Sizes
    words: Path  # the tokenizer

    @property
    def preprocessing(self) -> Preprocessing:
        """The shorter side is fitted, and the middle seen."""
        return Preprocessing((self.sizes.side, self.sizes.side), MEAN, STD, "bilinear", "shortest", 0)

    @property
    def digest(self) -> str:
        """Of weights, tokenizer, and of what is done with them and with pixels."""
        return sha256(f"{self.files.digest} {self.preprocessing} {REVISION}".encode()).hexdigest()


def tower(files: Files) -> Tower:
    """The model of these files.

    Raises:
        MissingWeights: no tokenizer is beside them.  It is wanted here and not only by the first text, since the
            tokenizer is a part of what a space is.
        WrongCheckpoint: the weights cannot be read, or are none of the family.
    """
    assert files.folder is not None
    words = next((files.folder / name for name in WORDS if (files.folder / name).is_file()), None)
    if words is None:
        raise MissingWeights(
            f"{files.name} has no tokenizer beside it, wanted that of distilbert-base-uncased: put its "
            f"{' or '.join(WORDS)} into {files.folder}"
        )
    weights = Weights(files.weights)
    try:
        return Tower(files, weights, sizes_of(weights.shapes), words)
    except KeyError as error:
        complaint = f"it lacks {error.args[0]}"
    except ValueError as error:
        complaint = str(error)
    raise WrongCheckpoint(f"{files.weights} is none of {FAMILY}: {complaint}; name a file of its authors' layout")


def network(found: Tower) -> FrozenInTime:
    """The model with its weights, in float32 on the CPU.

    Raises:
        WrongCheckpoint: the weights are of another architecture.
    """
    model = FrozenInTime(found.sizes)
    fill(model, found.weights.take(), found.files.weights, FAMILY)
    return model


def tokenizer(found: Tower) -> Tokenize:
    """The model's own tokenizer; a text longer than the model's positions is cut.

    By `tokenizers` and not by transformers' AutoTokenizer, which wants a config.json to know whose files these are.

    Raises:
        WrongCheckpoint: its file is not such, or of another model.
    """
    try:
        made = Tokenizer.from_file(str(found.words)) if found.words.suffix == ".json" else _wordpiece(found.words)
        made.enable_truncation(found.sizes.positions)
        made.enable_padding()  # the mask hides it
    except Exception as error:  # tokenizers raises Exception itself on a file that is not its own
        raise WrongCheckpoint(f"{found.words} cannot be read as a tokenizer ({first_line(error)})") from error
    if (count := made.get_vocab_size()) > found.sizes.words:
        raise WrongCheckpoint(
            f"{found.words} has {count:,} words, the weights know {found.sizes.words:,}: put that of "
            "distilbert-base-uncased there"
        )

    def tokenize(sentences: Sequence[str]) -> Numbered:
        said = made.encode_batch(list(sentences))
        numbers = np.array([one.ids for one in said], np.int64)
        return numbers, np.array([one.attention_mask for one in said], np.int64)

    return tokenize


def _wordpiece(file: Path) -> Tokenizer:
    """BERT's in lower case (Devlin et al. 2019), from its list of words, one a line."""
    made = Tokenizer(WordPiece.from_file(str(file), unk_token=UNKNOWN))
    own = {word: number for word in OWN if (number := made.token_to_id(word)) is not None}
    if lacking := [word for word in (UNKNOWN, *ENDS) if word not in own]:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    made.add_special_tokens(list(own))
    made.normalizer = BertNormalizer(lowercase=True)
    made.pre_tokenizer = BertPreTokenizer()
    first, last = ((word, own[word]) for word in ENDS)
    made.post_processor = BertProcessing(last, first)
    return made
