"""The one place where the parts meet: a recipe's names become encoders, a space's query side a sentence encoder.

What is missing or altered drops its modality, loudly, and never stops the rest.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from indexer.encoding import Encoders
from indexer.recipe import Recipe
from retriever.errors import MissingExtra, SpaceMismatch, StoreUnavailable, WeightsError
from retriever.looking import Looking
from retriever.ports import EncodeSentences, SentenceEncoder, Store
from retriever.registry import Registry
from retriever.types import Matrix, Modality

ENCODERS = Registry("encoders")
RECOGNIZERS = Registry("encoders.recognizers")
STORES = Registry("retriever.stores")
SEGMENTERS = Registry("indexer.segmenters")
EXECUTORS = Registry("indexer.executors")
RERANKERS = Registry("retriever.rerankers")

DIGEST_LETTERS = 12
"""Letters of a digest that a space's query side keeps."""
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


def encoders(recipe: Recipe) -> Encoders:
    """All that a recipe names, as far as this machine has it."""
    shared = sentences(recipe.sentences)
    missing: dict[Modality, str] = {}
    return Encoders(
        shared,
        vision=_built(ENCODERS, recipe, Modality.VISION, missing, shared),
        sound=_built(ENCODERS, recipe, Modality.SOUND, missing, shared),
        speech=_built(RECOGNIZERS, recipe, Modality.SPEECH, missing),
        text=_built(RECOGNIZERS, recipe, Modality.TEXT, missing),
        missing=missing,
    )


def _built(
    registry: Registry, recipe: Recipe, modality: Modality, missing: dict[Modality, str], *given: Any
) -> Mapping[str, Any]:
    """The plug-ins of one modality by name; the reasons of those that cannot be had go into `missing`."""
    made, reasons = {}, []
    for name in recipe.names(modality):
        try:
            made[name] = registry.load(name).build(*given)
        except (MissingExtra, WeightsError) as error:
            reasons.append(str(error))
    if reasons:
        missing[modality] = "; ".join(reasons)
    return made


def query_side(side: str) -> SentenceEncoder:
    """The encoder of a library's questions, from `Space.query_side` (`minilm:3fa9…`).

    Raises:
        SpaceMismatch: this machine has other weights of that name.
    """
    name, _, digest = side.partition(":")
    encoder = sentences(name)
    if encoder.digest[:DIGEST_LETTERS] != digest:
        raise SpaceMismatch(
            f"this library's questions need {side}, this machine has {name}:{encoder.digest[:DIGEST_LETTERS]}: "
            "install the version that made the library, or index again into another --library"
        )
    return encoder


def asking(library: Store, recipe: Recipe) -> EncodeSentences:
    """What turns sentences into vectors for the questions of `library`, loaded when the first one comes."""
    loaded: list[SentenceEncoder] = []

    def encode(texts: Sequence[str]) -> Matrix:
        if not loaded:
            with library.snapshot() as snapshot:
                sides = sorted({space.query_side for space in snapshot.spaces.values()})
            loaded.extend([query_side(side) for side in sides] or [sentences(recipe.sentences)])
        return loaded[0].encode(texts)

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
