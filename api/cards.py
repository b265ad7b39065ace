"""What is told of a model before it is used: a card.

card("ViT-B-32:laion2b_s34b_b79k"); cards()
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from api import models, sources
from api.sources import UNSTATED
from api.throughput import Rate, known
from encoders import _models
from encoders._models import Family, Pinned, pinned
from encoders._unpickling import tensors

BYTES_A_NUMBER = 4
"""In float32, in which models are read."""


@dataclass(frozen=True, slots=True)
class Card:
    """What is told of a model; 0 and "" are not known."""

    name: str
    family: Family
    place: str  # its folder here; "" if it is not on this machine
    source: str
    revision: str
    licence: str
    pulled: str
    size: int  # bytes of its files
    dimension: int
    context: int  # tokens of a text that count
    image: int  # pixels of a side
    parameters: int
    throughput: tuple[Rate, ...] = ()  # what was measured of it on this machine

    @property
    def memory(self) -> int:
        """Bytes of the weights when they are read; what a batch needs comes on top."""
        return self.parameters * BYTES_A_NUMBER


def card(name: str) -> Card:
    """Of a model that was pulled, of a folder in the hub's layout, of a tag of open_clip's list, or of a video model as
    `--video-model` names it.

    Raises:
        UnknownModel, MissingWeights: there is none of that name.
    """
    found = _card(name)
    measured = known(found.name) or known(str(Path(_placed(found)).absolute()))
    return replace(found, throughput=tuple(measured))


def _card(name: str) -> Card:
    held = pinned()
    plugin, colon, model = name.partition(":")
    if colon and plugin in _models.ALONE:
        return _of_video(plugin, model)
    if (folder := Path(name.removeprefix(_models.FOLDER)).expanduser()).is_dir():
        return _of_folder(folder)
    spelled = _models.spelled("openclip", name)
    if spelled in _models.tags() and spelled not in held:
        return _of_tag(spelled)
    name = models.known(name)
    return _of_pinned(name, held[name])


def here(name: str) -> Card | None:
    """Of a model that was pulled and is as it was; None else."""
    held = pinned()
    for one in models.spellings(name):
        if one in held and models.is_sound(one, held[one]):
            return _of_pinned(one, held[one])
    return None


def cards() -> list[Card]:
    """Of all that were pulled."""
    return [_of_pinned(name, one) for name, one in sorted(pinned().items())]


def _of_pinned(name: str, one: Pinned) -> Card:
    return Card(
        name,
        one.family,
        str(one.path()),
        one.source,
        one.revision,
        one.licence,
        one.pulled,
        one.size,
        **_facts(one.facts),
    )


def _of_folder(folder: Path) -> Card:
    family = _family(folder)
    files = _models.locate(family, str(folder))
    config = json.loads((folder / _models.CONFIG[family]).read_text("utf-8"))
    facts = sources.facts(family, config)
    size = sum(file.stat().st_size for file in models.files_below(folder))
    return Card(
        str(folder),
        family,
        str(folder),
        "",
        "",
        UNSTATED,
        "",
        size,
        **_facts({**facts, "parameters": models.parameters(files.weights)}),
    )


def _of_video(plugin: Family, model: str) -> Card:
    """Of a model of clips, whose weights say all that there is to say."""
    files = _models.locate(plugin, model)
    weights = tensors(files.weights)
    parameters = sum(value.numel() for value in weights.values() if value.is_floating_point())
    size = files.weights.stat().st_size
    name = f"{plugin}:{files.name}"
    return Card(
        name, plugin, str(files.weights.parent), "", "", UNSTATED, "", size, **_facts({"parameters": parameters})
    )


def _family(folder: Path) -> Family:
    """By the configuration that lies there; where there is none, `locate` says what is wanted."""
    if (folder / _models.CONFIG["openclip"]).is_file():
        return "openclip"
    try:
        page = json.loads((folder / sources.TRANSFORMERS).read_text("utf-8"))
        return sources.of_transformers(page) or "clap"
    except (OSError, ValueError, AttributeError):
        return "clap"


def _of_tag(name: str) -> Card:
    source, facts = sources.of_tag(name)
    return Card(name, "openclip", "", source, "", "told before it is pulled", "", 0, **_facts(facts))


def _placed(card: Card) -> str:
    """The name of a model as its encoder has it."""
    return card.name.removeprefix(f"{card.family}:")


def _facts(said: Mapping[str, int]) -> dict[str, Any]:
    return {key: said.get(key, 0) for key in ("dimension", "context", "image", "parameters")}
