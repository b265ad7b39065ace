"""A training run that can be taken up again: safetensors for arrays, JSON for the rest, never a pickle.

The JSON is written last and names the arrays' file, so a run that is killed while it writes goes on from the state
before.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from retriever.errors import TrainingError

VERSION = 1
"""Of the two files."""
CARD = "state.json"


@dataclass(frozen=True)
class State:
    """Where a run stands: arrays by name, and what else it needs, as JSON has it."""

    arrays: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def discard(folder: Path) -> None:
    """Forget the run that is kept there: what a new one writes must not be taken for a part of it.

    Raises:
        TrainingError: it cannot be deleted.
    """
    try:
        (folder / CARD).unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(f"{folder}: the state of an older run cannot be deleted: {error}") from error


def save(folder: Path, number: int, state: State) -> None:
    """Keep the state of a run, the `number`-th; the one before goes.

    Raises:
        TrainingError: it cannot be written.
    """
    name = f"state-{number:04}.safetensors"
    card = {"version": VERSION, "arrays": name, **state.facts}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({key: array.detach().cpu().contiguous() for key, array in state.arrays.items()}, folder / name)
        _synced(folder / name)
        part = folder / f"{CARD}.part"
        part.write_text(json.dumps(card, indent=1) + "\n", "utf-8")
        _synced(part)
        part.replace(folder / CARD)
        for old in folder.glob("state-*.safetensors"):
            if old.name != name:
                old.unlink()
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{folder}: the state of the run cannot be written: {error}") from error


def load(folder: Path) -> State | None:
    """What `save` kept; None where nothing was.

    Raises:
        TrainingError: a file is broken, missing, or of another version.
    """
    file = folder / CARD
    if not file.is_file():
        return None
    again = "train without --resume"
    try:
        card = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{file} cannot be read ({error}): {again}") from error
    version = card.get("version") if isinstance(card, dict) else None
    if version != VERSION:
        raise TrainingError(f"{file}: version is {version!r}, this reelseek reads {VERSION}: {again}")
    arrays = folder / Path(str(card.get("arrays"))).name
    try:
        return State(load_file(arrays), card)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{arrays} cannot be read as safetensors ({error}): {again}") from error


def _synced(file: Path) -> None:
    """On the disk, so that a rename behind it is never there without it."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
