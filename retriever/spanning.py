"""A trained moment head says where the moment around a peak begins and ends.  Scores and ranks are not its business.

    head = MomentHead.load(Path("moments/"))        # moments.safetensors and moments.json
    start, end = head.place(track, track.cell(12.25), rest, shares)

Two families.  `spans` runs a small stack of dilated convolutions over the cells around the peak, which end in logits of
a start and of an end for each cell (a span head as in LITA's relative time, Huang et al. 2024, with cells in place of
its hundred bins); its answer is the span that overlaps most with what these make likely.  `weak` was trained without
times: the question attends to the modalities of each window (as words do to proposals in VLANet: Ma et al. 2020, §3.3),
and the answer is the window that stands out most in what it attends to.

Weights are float32 and stand as torch keeps them; this file is their twin in numpy, so searching loads no torch.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from retriever.errors import HeadError
from retriever.tracks import (
    CHANNELS,
    MODALITIES,
    PARTS,
    REACH,
    WIDTH,
    Proposals,
    Track,
    View,
    channels,
    proposals,
)
from retriever.types import Floats
from retriever.windows import STEP, Mask, Numbers

VERSION = 1
"""Of the two files."""
WEIGHTS, CARD = "moments.safetensors", "moments.json"
FAMILIES = ("spans", "weak")
LAYERS = 4
"""Convolutions of the family `spans`; each looks twice as far as the one before."""
KERNEL = 5
"""Cells that a convolution sees at once."""
LIKELY = 16
"""Starts, and ends, among which the answer is looked for."""
NEVER = -1e4
"""Logit of a cell that cannot be a start or an end."""


@dataclass(frozen=True, eq=False)
class MomentHead:
    """Weights by name; `options` says how they were trained, and how good they are on media that were held out."""

    family: str
    arrays: Mapping[str, Floats]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise HeadError(f"moment head: family is {self.family!r}, wanted {' or '.join(FAMILIES)}")
        wanted = _shapes(self.family, self.arrays)
        missing, extra = sorted(set(wanted) - set(self.arrays)), sorted(set(self.arrays) - set(wanted))
        if missing or extra:
            said = [f"{what} {', '.join(names)}" for what, names in (("missing", missing), ("unknown", extra)) if names]
            raise HeadError(f"moment head of the family {self.family}: {'; '.join(said)}: train it again")
        for name, shape in wanted.items():
            array = self.arrays[name]
            if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
                raise HeadError(
                    f"moment head: {name} is {array.dtype} {array.shape}, wanted finite float32 {shape}: train it again"
                )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights and of what they look at; how they came about is not in it."""
        summed = sha256("\x1f".join((str(VERSION), self.family, *_sees())).encode())
        for name, array in sorted(self.arrays.items()):
            summed.update(f"\x1e{name}{array.shape}".encode())
            summed.update(np.ascontiguousarray(array, "<f4").tobytes())
        return summed.hexdigest()

    def place(self, track: Track, peak: int, rest: float, shares: Floats) -> tuple[float, float]:
        """Start and end in seconds of the moment around a cell of a track.

        Args:
            rest: height of what the rest of the library has to say to this question.
            shares: `(4,)` how likely it asks about each modality, as a logarithm.
        """
        view = track.view(peak, rest, shares)
        window = self.span(view) if self.family == "spans" else self.best(proposals(view), shares)
        return track.times(peak, window)

    # ------------------------------------------------------------------------------------------------------- spans

    def logits(self, view: View) -> Floats:
        """`(2, WIDTH)`: of a start in front of each cell, and of an end behind it.  The peak is in between."""
        seen = channels(view)
        known = seen[-1]
        hidden = np.zeros((0, WIDTH), np.float32)
        for layer in range(LAYERS):
            weight, bias = self.arrays[f"layers.{layer}.weight"], self.arrays[f"layers.{layer}.bias"]
            fresh = np.maximum(_convolved(hidden if layer else seen, weight, 2**layer) + bias[:, np.newaxis], 0)
            hidden = (fresh + hidden if layer else fresh) * known
        found = self.arrays["ends.weight"][:, :, 0] @ hidden + self.arrays["ends.bias"][:, np.newaxis]
        return np.where(allowed(known > 0), found, np.float32(NEVER))

    def span(self, view: View) -> tuple[int, int]:
        """The window `[first, last)` of cells that overlaps most, on average, with what start and end make likely."""
        starts, ends = (_likely(row) for row in self.logits(view).astype(np.float64))
        chances = starts[1][:, np.newaxis] * ends[1]  # (I, J) of each span
        first, last = starts[0], ends[0] + 1
        shared = (
            np.minimum.outer(last, last)[np.newaxis, :, np.newaxis] - np.maximum.outer(first, first)[:, None, :, None]
        )
        union = (
            np.maximum.outer(last, last)[np.newaxis, :, np.newaxis] - np.minimum.outer(first, first)[:, None, :, None]
        )
        expected = ((shared / union) * chances).sum(axis=(2, 3))  # (I, J) overlap of each answer
        row, column = np.unravel_index(np.argmax(expected), expected.shape)
        return int(first[row]), int(last[column])

    # -------------------------------------------------------------------------------------------------------- weak

    def scores(self, held: Proposals, shares: Floats) -> Floats:
        """`(P,)`: how far each window stands out in what the question attends to.

        Without training it attends most to the modality that is highest in a window; softly, so it can learn not to.
        """
        asked = self.arrays["query.weight"] @ question(shares)  # (d, 4)
        keys = held.parts @ self.arrays["key.weight"].T  # (P, 4, d)
        logits = (keys * asked.T).sum(axis=2) / math.sqrt(len(asked)) + held.parts[:, :, PARTS.index("over rest")]
        logits = np.where(held.parts[:, :, PARTS.index("known")] > 0, logits, np.float32(NEVER))
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        found: Floats = (weights * held.parts[:, :, PARTS.index("gain")]).sum(axis=1)
        return found

    def best(self, held: Proposals, shares: Floats) -> tuple[int, int]:
        """The window that answers best."""
        first, last = held.windows[int(np.argmax(self.scores(held, shares)))].tolist()
        return first, last

    # ------------------------------------------------------------------------------------------------------- files

    def save(self, folder: Path) -> None:
        """Write both files into `folder`, which is made; the card last, so that a torn head is not taken for one.

        Raises:
            HeadError: they cannot be written.
        """
        card = {"version": VERSION, "family": self.family, "digest": self.digest, "options": dict(self.options)}
        card["sees"] = _sees()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CARD).unlink(missing_ok=True)
            save_file({name: np.ascontiguousarray(array) for name, array in self.arrays.items()}, folder / WEIGHTS)
            (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")
        except (OSError, SafetensorError) as error:
            raise HeadError(f"{folder}: the moment head cannot be written: {error}") from error

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            HeadError: a file is missing or broken, of another version, or the two are not of one head.
        """
        card = _card(folder / CARD)
        again = "copy the head again"
        try:
            arrays = load_file(folder / WEIGHTS)
        except (OSError, SafetensorError, TypeError, AttributeError) as error:  # the last two: types numpy has not
            raise HeadError(f"{folder / WEIGHTS} cannot be read as safetensors ({error}): {again}") from error
        try:
            head = cls(card["family"], arrays, card["options"])
        except HeadError as error:
            raise HeadError(f"{folder}: {error}") from error
        if head.digest != card["digest"]:
            raise HeadError(
                f"{folder}: the weights have the digest {head.digest[:12]}, {CARD} says {card['digest'][:12]}: "
                f"the two files are not of one head, {again}"
            )
        return head


def question(shares: Floats) -> Floats:
    """`(1 + 4, 4)`: the question as a token a modality: how likely it asks about it, and which it is."""
    asked = np.clip(shares, -4, 0) / 4
    return np.concatenate([asked[np.newaxis], np.eye(len(MODALITIES))]).astype(np.float32)


def allowed(known: Mask) -> Mask:
    """`(2, WIDTH)` from `(WIDTH,)`: a moment begins at its peak or before, and ends there or behind, where something
    is known; at the peak it may always."""
    cells = np.arange(WIDTH)
    sides = np.stack([cells <= REACH, cells >= REACH])
    there: Mask = sides & (known | (cells == REACH))
    return there


def _likely(logits: Numbers) -> tuple[Numbers, Numbers]:
    """The cells with the greatest chances, rising, and the chances."""
    kept = np.sort(np.argsort(-logits, kind="stable")[:LIKELY])
    chances = np.exp(logits[kept] - logits[kept].max())
    return kept[chances > 0], chances[chances > 0] / chances.sum()


def _convolved(rows: Floats, weight: Floats, apart: int) -> Floats:
    """`(w, WIDTH)` from `(c, WIDTH)`: a convolution with taps `apart` cells from each other, zeros outside."""
    margin = KERNEL // 2 * apart
    padded = np.pad(rows, ((0, 0), (margin, margin)))
    taps = [weight[:, :, tap] @ padded[:, tap * apart : tap * apart + WIDTH] for tap in range(KERNEL)]
    found: Floats = np.sum(taps, axis=0)
    return found


def _sees() -> list[str]:
    """What a head looks at, in words: one that looked at something else is of no use."""
    return [*CHANNELS, *PARTS, f"{REACH} cells of {STEP} s"]


def _shapes(family: str, arrays: Mapping[str, Floats]) -> dict[str, tuple[int, ...]]:
    """The shapes that the arrays of a family have, by name; how wide it is the first of them says."""

    def width(name: str) -> int:
        return int(arrays[name].shape[0]) if name in arrays and arrays[name].ndim else 0

    if family == "spans":
        wide = width("layers.0.bias")
        shapes: dict[str, tuple[int, ...]] = {"ends.weight": (2, wide, 1), "ends.bias": (2,)}
        for layer in range(LAYERS):
            shapes[f"layers.{layer}.weight"] = (wide, wide if layer else len(CHANNELS), KERNEL)
            shapes[f"layers.{layer}.bias"] = (wide,)
        return shapes
    narrow = width("key.weight")
    return {"query.weight": (narrow, 1 + len(MODALITIES)), "key.weight": (narrow, len(PARTS))}


_KINDS = {"family": str, "digest": str, "options": dict, "sees": list}
"""What a card has to have."""


def _card(file: Path) -> dict[str, Any]:
    try:
        card = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise HeadError(f"{file.parent} is no moment head: {file.name} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise HeadError(f"{file} is not JSON ({error}): copy the head again") from error
    version = card.get("version") if isinstance(card, dict) else None
    if version != VERSION:
        raise HeadError(f"{file}: version is {version!r}, this reelseek reads {VERSION}: train the head again")
    for name, kind in _KINDS.items():
        if not isinstance(card.get(name), kind):
            raise HeadError(f"{file}: {name} is {card.get(name)!r}, wanted a {kind.__name__}: copy the head again")
    if card["sees"] != _sees():
        raise HeadError(f"{file}: the head looks at other things than this reelseek shows it: train it again")
    return dict(card)
