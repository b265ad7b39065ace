"""The trained weights of a text-conditioned reranker: what they are made of, and how they are kept.

    head = Head.load(Path("head/"))      # head.safetensors and head.json
    head = Head.from_xpool(Path("model_best.pth"), query_space, token_space)

A head says which query space and which token spaces it was trained on, and is of no use for any other.  Weights are
float32 and stand as `torch.nn.Linear` keeps them: y = x Wᵀ + b.  Sources: Gorti et al. 2022, X-Pool, §3; Ibrahimi et
al. 2023, TEFAL.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from retriever.errors import HeadError, SpaceMismatch
from retriever.types import Floats, Matrix, Space

VERSION = 1
"""Of the two files that a head is kept in."""
EPSILON = 1e-5
"""What layer normalisation adds to the variance."""
FAMILIES = {"xpool": 1, "tefal": 2}
"""Blocks of each family, which is its token spaces too."""
WEIGHTS, CARD = "head.safetensors", "head.json"
_MAPS = ("q", "k", "v", "o", "l")
_NORMS = ("ln1", "ln2", "ln3")


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One text-conditioned pooling of width D: what X-Pool is made of."""

    ln1_g: Floats  # (D,) gain of a layer normalisation
    ln1_b: Floats  # (D,) its bias
    ln2_g: Floats
    ln2_b: Floats
    ln3_g: Floats
    ln3_b: Floats
    wq: Matrix  # (D, D)
    bq: Floats  # (D,)
    wk: Matrix
    bk: Floats
    wv: Matrix
    bv: Floats
    wo: Matrix
    bo: Floats
    wl: Matrix  # the residual map after the second normalisation
    bl: Floats

    def __post_init__(self) -> None:
        width = self.ln1_g.size
        for name, array in self.arrays().items():
            _check(name, array, (width, width) if name.startswith("w") else (width,))

    @property
    def dimension(self) -> int:
        return self.ln1_g.size

    def arrays(self) -> dict[str, Floats]:
        """By name, in a fixed order."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def identity(cls, dimension: int) -> Self:
        """How training starts: every map leaves a vector as it is."""
        zeros, ones = np.zeros(dimension, np.float32), np.ones(dimension, np.float32)
        norms = {f"{name}_{part}": {"g": ones, "b": zeros}[part] for name in _NORMS for part in "gb"}
        maps = {
            f"{part}{name}": {"w": np.eye(dimension, dtype=np.float32), "b": zeros}[part]
            for name in _MAPS
            for part in "wb"
        }
        return cls(**norms, **maps)


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """How much of what is heard counts: the logistic function of w · [mean frame; mean audio; text] + b."""

    weight: Floats  # (3 D,)
    bias: float  # negative at the start

    def __post_init__(self) -> None:
        _check("gate.weight", self.weight, (self.weight.size,))
        if not math.isfinite(self.bias):
            raise HeadError(f"gate.bias is {self.bias}, wanted a finite number: train or export the head again")


@dataclass(frozen=True, eq=False)
class Head:
    """A trained head; `options` says how it was trained, how the checkpoint was chosen, and on what."""

    family: str  # "xpool" or "tefal"
    query_space: str  # `Space.query_side` of its libraries; "" is any
    token_spaces: tuple[str, ...]  # `Space.id`: one, or frames and then audio
    blocks: tuple[Block, ...]  # one, or frames' and then audio's
    audio_map: tuple[Matrix, Floats] | None = None  # (D, Da) and (D,): audio tokens into the width; None: as they are
    gate: Gate | None = None  # tefal only; None adds what is heard in full
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wanted = FAMILIES.get(self.family)
        if wanted is None:
            raise HeadError(f"head family {self.family!r} is unknown, wanted one of {', '.join(FAMILIES)}")
        if len(self.blocks) != wanted or len(self.token_spaces) != wanted:
            raise HeadError(
                f"a head of the family {self.family} has {wanted} blocks and token spaces, "
                f"got {len(self.blocks)} and {len(self.token_spaces)}"
            )
        width = self.dimension
        if any(block.dimension != width for block in self.blocks):
            raise HeadError(f"blocks of one head have one width, got {[block.dimension for block in self.blocks]}")
        if self.family == "xpool" and (self.audio_map is not None or self.gate is not None):
            raise HeadError("a head of the family xpool has neither audio_map nor gate: name the family tefal")
        if self.audio_map is not None:
            weight, bias = self.audio_map
            _check("audio_map.weight", weight, (width, *weight.shape[-1:]))
            _check("audio_map.bias", bias, (width,))
        if self.gate is not None:
            _check("gate.weight", self.gate.weight, (3 * width,))

    @property
    def dimension(self) -> int:
        """Of the text, and of all that is calculated."""
        return self.blocks[0].dimension

    @property
    def audio_dimension(self) -> int:
        """Of the audio tokens as they are stored."""
        return self.dimension if self.audio_map is None else self.audio_map[0].shape[1]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights and of what they are for; how they came about is not in it."""
        summed = sha256("\x1f".join((str(VERSION), self.family, self.query_space, *self.token_spaces)).encode())
        for name, array in self.arrays():
            summed.update(f"\x1e{name}{array.shape}".encode())
            summed.update(np.ascontiguousarray(array, "<f4").tobytes())
        return summed.hexdigest()

    def arrays(self) -> Iterator[tuple[str, Floats]]:
        """Every array by the name that it is kept under."""
        for number, block in enumerate(self.blocks):
            for name, array in block.arrays().items():
                yield f"blocks.{number}.{name}", array
        if self.audio_map is not None:
            yield from zip(("audio_map.weight", "audio_map.bias"), self.audio_map, strict=True)
        if self.gate is not None:
            yield "gate.weight", self.gate.weight
            yield "gate.bias", np.array([self.gate.bias], np.float32)

    def fits(self, query_side: str, spaces: Mapping[str, Space]) -> None:
        """Nothing, if the head was made for this query side and these spaces (by `Space.id`).

        Raises:
            SpaceMismatch: it was made for others; the message names both.
        """
        if self.query_space not in ("", query_side):
            raise SpaceMismatch(
                f"the head was trained on texts of {self.query_space}, this library is asked by {query_side}: "
                "train a head on this library, or search without --head"
            )
        widths = (self.dimension, self.audio_dimension)
        for name, width in zip(self.token_spaces, widths, strict=False):
            if name not in spaces:
                raise SpaceMismatch(
                    f"the head was trained on the space {name}, this library has "
                    f"{', '.join(sorted(spaces)) or 'none'}: train a head on this library, or search without --head"
                )
            if spaces[name].dimension != width:
                raise SpaceMismatch(
                    f"the head wants {width} numbers a token of {name}, this library has {spaces[name].dimension}: "
                    "train a head on this library, or search without --head"
                )

    def save(self, folder: Path) -> None:
        """Write both files into `folder`, which is made; the card last, so that a torn head is not taken for one."""
        card = {
            "version": VERSION,
            "family": self.family,
            "query_space": self.query_space,
            "token_spaces": list(self.token_spaces),
            "dimension": self.dimension,
            "digest": self.digest,
            "options": dict(self.options),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CARD).unlink(missing_ok=True)
            save_file({name: np.ascontiguousarray(array) for name, array in self.arrays()}, folder / WEIGHTS)
            (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False, default=str) + "\n", "utf-8")
        except (OSError, SafetensorError) as error:
            raise HeadError(f"{folder}: the head cannot be written: {error}") from error

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            HeadError: a file is missing or broken, of another version, or keys are missing or too many: all named.
        """
        card = _card(folder / CARD)
        try:
            arrays = load_file(folder / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise HeadError(
                f"{folder / WEIGHTS} cannot be read as safetensors ({error}): copy the head again"
            ) from error
        except (TypeError, AttributeError) as error:  # bfloat16 and such: numpy has no word for them
            raise HeadError(
                f"{folder / WEIGHTS} holds numbers that are not float32 ({error}): train or export the head again"
            ) from error
        family, spaces = card["family"], tuple(card["token_spaces"])
        if family not in FAMILIES:
            raise HeadError(f"{folder / CARD}: family is {family!r}, wanted one of {', '.join(FAMILIES)}")
        _names(folder / WEIGHTS, family, arrays)
        blocks = tuple(
            Block(**{one.name: arrays[f"blocks.{number}.{one.name}"] for one in fields(Block)})
            for number in range(FAMILIES[family])
        )
        mapped = (arrays["audio_map.weight"], arrays["audio_map.bias"]) if "audio_map.weight" in arrays else None
        gate = Gate(arrays["gate.weight"], float(arrays["gate.bias"].item())) if "gate.weight" in arrays else None
        head = cls(family, card["query_space"], spaces, blocks, mapped, gate, card["options"])
        if head.dimension != card["dimension"]:
            raise HeadError(
                f"{folder}: the weights are of {head.dimension} numbers, {CARD} says {card['dimension']}: "
                "the two files are not of one head, copy both again"
            )
        if head.digest != card["digest"]:
            raise HeadError(
                f"{folder}: the weights have the digest {head.digest[:12]}, {CARD} says {card['digest'][:12]}: "
                "the two files are not of one head, copy both again"
            )
        return head

    @classmethod
    def from_xpool(cls, path: Path, query_space: str = "", token_space: str = "") -> Self:
        """The pooling block of a checkpoint of the X-Pool authors' code, which holds a whole fine-tuned CLIP too.  What
        is not the block is counted in `options`.

        Raises:
            HeadError: no such checkpoint, or keys of the block are missing or too many: all named.
        """
        state = _checkpoint(path)
        ours = {name.removeprefix(_POOL): array for name, array in state.items() if name.startswith(_POOL)}
        missing, extra = sorted(set(_XPOOL) - set(ours)), sorted(set(ours) - set(_XPOOL))
        if missing or extra:
            raise HeadError(f"{path} is no X-Pool checkpoint: {_complaint(missing, extra, _POOL)}")
        arrays = {_XPOOL[name]: np.ascontiguousarray(array, np.float32) for name, array in ours.items()}
        options = {"from": "xpool", "file": path.name, "other_keys": len(state) - len(ours)}
        return cls("xpool", query_space, (token_space,), (Block(**arrays),), options=options)


_KINDS = {"family": str, "query_space": str, "token_spaces": list, "dimension": int, "digest": str, "options": dict}
"""What a card has to have."""
_SEVERAL = "module."
"""What stands before every name of a model that was saved as it was trained on several devices (DataParallel)."""
_POOL = "pool_frames."
_XPOOL = {
    **{
        f"cross_attn.{name}_proj.{part}": f"{part[0]}{short}"
        for name, short in (("q", "q"), ("k", "k"), ("v", "v"), ("out", "o"))
        for part in ("weight", "bias")
    },
    **{f"linear_proj.{part}": f"{part[0]}l" for part in ("weight", "bias")},
    **{
        f"layer_norm{n}.{part}": f"ln{n}_{short}" for n in (1, 2, 3) for part, short in (("weight", "g"), ("bias", "b"))
    },
}
"""Names of the authors' block, and ours."""


def _checkpoint(path: Path) -> dict[str, Floats]:
    """The arrays of a torch checkpoint, by name."""
    import torch  # here and not above: only an import of a checkpoint needs it, and searching must not load it

    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything on a file that is not its own
        # Not its words: of an UnpicklingError they are a page, and advise to let the file run what it likes.
        why = str(error).partition("\n")[0] if isinstance(error, OSError) else type(error).__name__
        raise HeadError(
            f"{path} cannot be read as a torch checkpoint of weights alone ({why}): save the state_dict with torch.save"
        ) from error
    state = held.get("state_dict", held) if isinstance(held, dict) else held
    if not isinstance(state, dict):
        raise HeadError(f"{path} holds a {type(state).__name__}, wanted the weights by name (a state_dict)")
    return {
        str(name).removeprefix(_SEVERAL): value.detach().float().numpy()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def _card(file: Path) -> dict[str, Any]:
    try:
        card = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise HeadError(f"{file.parent} is no head: {file.name} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise HeadError(f"{file} is not JSON ({error}): copy the head again") from error
    version = card.get("version") if isinstance(card, dict) else None
    if version != VERSION:
        raise HeadError(
            f"{file}: version is {version!r}, this reelseek reads {VERSION}: train or import the head again"
        )
    for name, kind in _KINDS.items():
        if not isinstance(card.get(name), kind):
            raise HeadError(f"{file}: {name} is {card.get(name)!r}, wanted a {kind.__name__}: copy the head again")
    if not all(isinstance(space, str) for space in card["token_spaces"]):
        raise HeadError(f"{file}: token_spaces is {card['token_spaces']!r}, wanted names: copy the head again")
    return dict(card)


def _names(file: Path, family: str, arrays: Mapping[str, Floats]) -> None:
    """Whether these are the arrays of this family: the map and the gate come whole or not at all."""
    wanted = {f"blocks.{number}.{one.name}" for number in range(FAMILIES[family]) for one in fields(Block)}
    if family == "tefal":
        for pair in ({"audio_map.weight", "audio_map.bias"}, {"gate.weight", "gate.bias"}):
            wanted |= pair if pair & set(arrays) else set()
    missing, extra = sorted(wanted - set(arrays)), sorted(set(arrays) - wanted)
    if missing or extra:
        raise HeadError(f"{file} is no head of the family {family}: {_complaint(missing, extra)}")
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise HeadError(f"{file}: {name} is {array.dtype}, wanted float32: train or export the head again")
    bias = arrays.get("gate.bias")
    if bias is not None and bias.size != 1:
        raise HeadError(f"{file}: gate.bias has {bias.size} numbers, wanted 1: train or export the head again")


def _complaint(missing: list[str], extra: list[str], prefix: str = "") -> str:
    said = [
        f"{what} {', '.join(prefix + name for name in names)}"
        for what, names in (("missing", missing), ("unknown", extra))
        if names
    ]
    return "; ".join(said)


def _check(name: str, array: Floats, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise HeadError(f"{name} has the shape {array.shape}, wanted {shape}: train or export the head again")
    if array.dtype != np.float32:
        raise HeadError(f"{name} is {array.dtype}, wanted float32: train or export the head again")
    if not np.isfinite(array).all():
        raise HeadError(f"{name} has numbers that are not finite: train or export the head again")
