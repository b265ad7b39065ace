"""The one place where the parts meet: a recipe's names become encoders, a space's query side a sentence encoder.

What is missing or altered drops its modality, loudly, and never stops the rest.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from indexer import recipe as recipes
from indexer.encoding import Encoders
from indexer.recipe import Model, Recipe
from retriever.errors import BadSettings, MissingExtra, SpaceMismatch, StoreUnavailable, WeightsError
from retriever.looking import Looking
from retriever.ports import EncodeSentences, SentenceEncoder, Store
from retriever.registry import Registry
from retriever.settings import Settings
from retriever.types import Matrix, Modality

ENCODERS = Registry("encoders")
RECOGNIZERS = Registry("encoders.recognizers")
STORES = Registry("retriever.stores")
SEGMENTERS = Registry("indexer.segmenters")
EXECUTORS = Registry("indexer.executors")
RERANKERS = Registry("retriever.rerankers")

TOWERS = {"openclip": Modality.VISION, "clap": Modality.SOUND}
"""Plug-ins that read any model of their family: a tower for media, and one for texts."""
WITHOUT = "soundevents"
"""What hears where no model of sounds was chosen."""
DIGEST_LETTERS = 12
"""Letters of a digest that a space's query side keeps."""
DEFAULT_PACK = Settings().pack
MOST_DECODERS = 4
"""Encoders share the processors with the decoders; more decoders than this only wait."""


def store(name: str, path: Path, *, create: bool) -> Store:
    """The library at `path`; `create` makes one where there is none.

    Raises:
        UnknownPlugin, StoreUnavailable, WrongFormat: see the store's own `build`.
    """
    built: Store = STORES.load(name).build(path, create=create)
    return built


def upgrade(name: str, path: Path) -> int:
    """Bring the library at `path` to the format of this version; returns the format that it had."""
    store_kind = STORES.load(name)
    if not hasattr(store_kind, "upgrade"):
        raise StoreUnavailable(f"a library in the store {name!r} has no format to upgrade")
    before: int = store_kind.upgrade(path)
    return before


def sentences(name: str) -> SentenceEncoder:
    """
    Raises:
        MissingExtra, MissingWeights, AlteredWeights: without it nothing can be searched.
    """
    built: SentenceEncoder = ENCODERS.load(name).build()
    return built


@dataclass(frozen=True, slots=True)
class Towers:
    """Which models a person chose, and where they run."""

    model: str = ""
    checkpoint: str = ""
    sound_model: str = ""
    sound_checkpoint: str = ""
    device: str = "auto"
    precision: str = "auto"

    def chosen(self, plugin: str) -> tuple[str, str]:
        """Model and checkpoint for one of `TOWERS`; empty where none was chosen."""
        if TOWERS[plugin] is Modality.VISION:
            return self.model, self.checkpoint
        return self.sound_model, self.sound_checkpoint

    def place(self, kept: Model) -> tuple[str, str]:
        """Where a library's model lies: as it was named when it was made, or as it was chosen now."""
        model, checkpoint = self.chosen(kept.plugin)
        return (model, checkpoint) if model else (kept.name, checkpoint or kept.checkpoint)

    @staticmethod
    def flags(plugin: str) -> tuple[str, str]:
        """What people say to choose one of `TOWERS`."""
        seen = TOWERS[plugin] is Modality.VISION
        return ("--model", "--checkpoint") if seen else ("--sound-model", "--sound-checkpoint")

    def build(self, plugin: str, model: str, checkpoint: str) -> Any:
        """The plug-in with this model; the same one again, as it holds a network.

        Raises:
            MissingExtra, WeightsError, DeviceError: as their names say.
        """
        return _tower(plugin, model, checkpoint, self.device, self.precision)


ANYWHERE = Towers()
"""No choice: the models that a library was made with, on the best device."""


@lru_cache(maxsize=4)
def _tower(plugin: str, model: str, checkpoint: str, device: str, precision: str) -> Any:
    return ENCODERS.load(plugin).build(model, checkpoint, device=device, precision=precision)


def recipe(pack: str, towers: Towers) -> Recipe:
    """The recipe of a pack, with the models that a person chose for it.

    Raises:
        BadSettings: no such pack, or it wants a model and has none, or has none to choose.
        MissingExtra, WeightsError: a model is not here; the message says how to get it.
    """
    made = recipes.pack(pack)
    wanted = [name for name in (*made.vision, *made.sound) if name in TOWERS]
    chosen = {plugin: towers.chosen(plugin) for plugin in TOWERS}
    idle = [plugin for plugin in TOWERS if any(chosen[plugin]) and plugin not in wanted]
    if idle:
        raise BadSettings(f"pack {pack!r} has no {TOWERS[idle[0]]} model to choose: take --pack openclip")
    if "openclip" in wanted and not chosen["openclip"][0]:
        raise BadSettings(
            f"pack {pack!r} wants a model: --model NAME:TAG (`reelseek models list` has those that are here, "
            "`reelseek models pull` brings one), or --model ARCHITECTURE --checkpoint FILE"
        )
    for plugin in wanted:
        if not chosen[plugin][0] and chosen[plugin][1]:
            raise BadSettings("--sound-checkpoint has weights: name their model with --sound-model")
    if "clap" in wanted and not chosen["clap"][0]:
        made = replace(made, sound=tuple(name if name != "clap" else WITHOUT for name in made.sound))
        wanted.remove("clap")
    models = [Model(plugin, *chosen[plugin], towers.build(plugin, *chosen[plugin]).texts.digest) for plugin in wanted]
    return replace(made, models=tuple(models))


def encoders(recipe: Recipe, towers: Towers = ANYWHERE) -> Encoders:
    """All that a recipe names, as far as this machine has it.

    Raises:
        MissingExtra, WeightsError, DeviceError: a model that was chosen cannot be had.
    """
    shared = sentences(recipe.sentences)
    missing: dict[Modality, str] = {}
    return Encoders(
        shared,
        vision=_built(ENCODERS, recipe, Modality.VISION, missing, shared) | _towers(recipe, Modality.VISION, towers),
        sound=_built(ENCODERS, recipe, Modality.SOUND, missing, shared) | _towers(recipe, Modality.SOUND, towers),
        speech=_built(RECOGNIZERS, recipe, Modality.SPEECH, missing),
        text=_built(RECOGNIZERS, recipe, Modality.TEXT, missing),
        missing=missing,
    )


def _towers(recipe: Recipe, modality: Modality, towers: Towers) -> dict[str, Any]:
    """Those of one modality, with the models of the recipe."""
    return {
        model.plugin: towers.build(model.plugin, model.name, model.checkpoint)
        for model in recipe.models
        if TOWERS[model.plugin] is modality
    }


def _built(
    registry: Registry, recipe: Recipe, modality: Modality, missing: dict[Modality, str], *given: Any
) -> dict[str, Any]:
    """The plug-ins of one modality by name, without towers; the reasons of those that cannot be had go into
    `missing`."""
    made, reasons = {}, []
    for name in recipe.names(modality):
        if name in TOWERS:
            continue
        try:
            made[name] = registry.load(name).build(*given)
        except (MissingExtra, WeightsError) as error:
            reasons.append(str(error))
    if reasons:
        missing[modality] = "; ".join(reasons)
    return made


def query_side(side: str, made_by: Recipe, towers: Towers = ANYWHERE) -> SentenceEncoder:
    """The encoder of a library's questions, from `Space.query_side` (`minilm:3fa9…`) and the recipe of the library.

    Raises:
        SpaceMismatch: this machine has other weights of that name.
        MissingExtra, WeightsError, DeviceError: it cannot be had here.
    """
    name, _, digest = side.partition(":")
    encoder = _texts(name, made_by, towers) if name in TOWERS else sentences(name)
    if encoder.digest[:DIGEST_LETTERS] != digest:
        raise SpaceMismatch(
            f"this library's questions need {side}, this machine has {name}:{encoder.digest[:DIGEST_LETTERS]}: "
            "install the version that made the library, or index again into another --library"
        )
    return encoder


def _texts(plugin: str, made_by: Recipe, towers: Towers) -> SentenceEncoder:
    """The text tower of the model that a library was made with; a model that was chosen now stands for it, wherever it
    lies."""
    kept = made_by.model(plugin)
    if kept is None:
        raise SpaceMismatch(
            f"this library does not say which model of {plugin} made it: index again into another --library"
        )
    encoder: SentenceEncoder = towers.build(plugin, *towers.place(kept)).texts
    return encoder


def asking(library: Store, towers: Towers = ANYWHERE) -> EncodeSentences:
    """What turns sentences into vectors for the questions of `library`, loaded when the first one comes."""
    loaded: dict[str, SentenceEncoder] = {}

    def encode(texts: Sequence[str], side: str) -> Matrix:
        if side not in loaded:
            held = library.catalog.recipe()
            made_by = recipes.of(held[1]) if held else recipes.pack(DEFAULT_PACK)
            loaded[side] = query_side(side, made_by, towers) if side else sentences(made_by.sentences)
        return loaded[side].encode(texts)

    return encode


def looking(reranker: str, head: str = "", adapter: str = "") -> Looking:
    """Who looks at candidates: a plug-in by name, with the head and the adapter in these folders, if any.

    Raises:
        UnknownPlugin, HeadError: as their names say.
    """
    from retriever.adapters import Adapter

    return Looking(
        RERANKERS.load(reranker).build(),
        RERANKERS.load("textpool").build(head) if head else None,
        Adapter.load(Path(adapter)) if adapter else None,
    )


def decoders(wanted: int) -> int:
    """Decoder children to run; 0 leaves the choice to us."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return wanted or max(1, min(MOST_DECODERS, free // 2))
