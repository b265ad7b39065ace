"""The one place where the parts meet: a recipe's names become encoders, a space's query side a sentence encoder.

What is missing or altered drops its modality, loudly, and never stops the rest.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np

from indexer import recipe as recipes
from indexer.encoding import Encoders
from indexer.making import Making
from indexer.ports import Executor
from indexer.recipe import Model, Recipe
from retriever.errors import (
    BadSettings,
    MissingExtra,
    MissingWeights,
    ReelseekError,
    SpaceMismatch,
    StoreUnavailable,
    UnknownModel,
    WeightsError,
)
from retriever.looking import Looking
from retriever.ports import EncodeSentences, SentenceEncoder, Store
from retriever.recent import Recent
from retriever.registry import Registry
from retriever.remembering import KEPT, Remembering, Rows
from retriever.settings import Settings
from retriever.sharing import Shared
from retriever.stores._address import Address, is_address, is_catalog_address
from retriever.stores._format import CATALOG
from retriever.types import Matrix, Modality, Sound, Stretch

ENCODERS = Registry("encoders")
RECOGNIZERS = Registry("encoders.recognizers")
STORES = Registry("retriever.stores")
SEGMENTERS = Registry("indexer.segmenters")
EXECUTORS = Registry("indexer.executors")
RERANKERS = Registry("retriever.rerankers")

NO_FILES = (
    "only a library in a folder is copied file by file: reelseek import copies any library into another one; Qdrant "
    "has snapshots of its own, and PostgreSQL pg_dump"
)
DIGEST_LETTERS = 12
"""Letters of a digest that a space's query side keeps."""
DEFAULT_PACK = Settings().pack
DEFAULT_STORE = Settings().store
DEFAULT_SENTENCES = recipes.pack(DEFAULT_PACK).sentences
MOST_DECODERS = 4
"""Encoders share the processors with the decoders; more decoders than this only wait."""


def store(name: str, path: Path | str, *, create: bool, catalog: str = "") -> Store:
    """The library at `path`; `create` makes one where there is none.  One with an address is in Qdrant whatever `name`
    says, and has its `catalog` in a folder of this machine or in PostgreSQL.

    Raises:
        UnknownPlugin, MissingExtra, StoreUnavailable, WrongFormat: see the store's own `build`.
    """
    kind, options = _kind(name, path, catalog)
    built: Store = kind.build(path if options else Path(path), create=create, **options)
    if hasattr(built, "encode"):  # a store that measures its indexes asks them what people ask
        built.encode = asking(built)
    return built


def upgrade(name: str, path: Path | str, catalog: str = "") -> int:
    """Bring the library at `path` to the format of this version; returns the format that it had."""
    kind, options = _kind(name, path, catalog)
    if not hasattr(kind, "upgrade"):
        raise StoreUnavailable(f"a library in the store {name!r} has no format to upgrade")
    before: int = kind.upgrade(path if options else Path(path), **options)
    return before


def problems(name: str, path: Path | str, catalog: str = "") -> list[str]:
    """What is wrong with the library at `path`, a line each."""
    kind, options = _kind(name, path, catalog)
    found: list[str] = kind.problems(path if options else Path(path), **options) if hasattr(kind, "problems") else []
    return found


def back_up(store: Store, to: Path) -> None:
    """Copy a library, as it is at this moment, into a new folder.

    Raises:
        StoreUnavailable: `to` holds something, the library is damaged, or its store keeps no files.
        DiskFull: nothing was written.
    """
    _copied_as_files(store).back_up(to)


def restore(store: Store, source: Path) -> None:
    """Make a library what its backup is, in one commit.

    Raises:
        StoreUnavailable, WrongFormat: there is no such backup, or it is damaged, or the store keeps no files.
        StoreLocked: somebody indexes into the library, or does long work on it.
        DiskFull: nothing was changed.
    """
    _copied_as_files(store).restore(source)


def _copied_as_files(store: Store) -> Any:
    if not hasattr(store, "back_up"):
        raise StoreUnavailable(NO_FILES)
    return store


def refuse_server(path: Path | str) -> None:
    """
    Raises:
        StoreUnavailable: a library at `path` keeps no files that could be put back: said before one is made there.
    """
    if is_address(path):
        raise StoreUnavailable(NO_FILES)


def indexes(name: str, path: Path | str, catalog: str = "") -> list[Any]:
    """What is known of the indexes of the library at `path`, where it has any of its own."""
    kind, options = _kind(name, path, catalog)
    return list(kind.indexes(Path(path))) if hasattr(kind, "indexes") and not options else []


def home(name: str, path: Path | str, catalog: str = "") -> Path:
    """The folder on this machine where the library at `path` keeps what is not in Qdrant, and what is derived."""
    kind, options = _kind(name, path, catalog) if is_address(path) else (None, {})
    folder: Path = kind.home(path, **options) if kind else Path(path)
    return folder


def same(path: Path | str, other: Path | str) -> bool:
    """Whether two names are of one library."""
    if is_address(path) and is_address(other):
        return Address.parse(path) == Address.parse(other)
    return not (is_address(path) or is_address(other)) and Path(path).resolve() == Path(other).resolve()


def catalog_of(path: Path | str, catalog: str, beside: Path | str) -> str:
    """Where the library at `path` has its catalog, if `catalog` was said of it and of the one at `beside`: a folder is
    of the latter, if that has an address, and a database of many."""
    if not is_address(path):
        return ""
    if is_catalog_address(catalog):
        return "" if (Address.parse(path).catalog / CATALOG).is_file() else catalog
    return "" if is_address(beside) else catalog


def _kind(name: str, path: Path | str, catalog: str) -> tuple[Any, dict[str, str | None]]:
    """The plug-in of a library, and what it wants to know beside where the library is."""
    if is_address(path):
        return STORES.load("qdrant"), {"catalog": catalog or None}
    return STORES.load(name), {}


def sentences(name: str) -> SentenceEncoder:
    """
    Raises:
        MissingExtra, MissingWeights, AlteredWeights: without it nothing can be searched.
    """
    built: SentenceEncoder = ENCODERS.load(name).build()
    return built


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which models a person chose for a pack that leaves the choice, and where they run."""

    model: str = ""  # of pictures and texts
    checkpoint: str = ""
    sound_model: str = ""  # of sounds and texts
    sound_checkpoint: str = ""
    video_model: str = ""  # of clips and texts: PLUGIN:MODEL
    device: str = "auto"
    precision: str = "auto"
    runtime: str = "auto"
    prompts: str = "plain"  # sentences around a question to a model of pictures

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(*(getattr(settings, field.name) for field in fields(cls)))

    def unnamed(self) -> Self:
        """The same, but for models: those that a library was made with."""
        return replace(self, model="", checkpoint="", sound_model="", sound_checkpoint="", video_model="")

    def chosen(self, modality: Modality) -> tuple[str, str]:
        """Model and checkpoint; empty where none was chosen."""
        if modality is Modality.VISION:
            return self.model, self.checkpoint
        return self.sound_model, self.sound_checkpoint

    def video(self) -> tuple[str, str]:
        """The plug-in and the model of clips; empty where none was chosen.

        Raises:
            BadSettings: it names no plug-in.
        """
        plugin, colon, model = self.video_model.partition(":")
        if self.video_model and not (plugin and colon and model):
            raise BadSettings(
                f"--video-model is {self.video_model!r}; it wants PLUGIN:MODEL, such as frozen:FILE, "
                "xclip:hf-hub:microsoft/xclip-base-patch32 or ila:FOLDER"
            )
        return plugin, model

    def place(self, made_by: Recipe, kept: Model) -> tuple[str, str]:
        """Where a library's model lies: as it was named when the library was made, or as it was chosen now."""
        if kept.plugin in made_by.clips:
            plugin, model = self.video()
            return (model, "") if plugin == kept.plugin else (kept.name, kept.checkpoint)
        model, checkpoint = self.chosen(made_by.modality(kept.plugin))
        return (model, checkpoint) if model else (kept.name, checkpoint or kept.checkpoint)

    def build(self, plugin: str, model: str, checkpoint: str) -> Any:
        """The plug-in with this model; the same one again, as it holds a network.

        Raises:
            MissingExtra, WeightsError, DeviceError: as their names say.
        """
        return _with_model(plugin, model, checkpoint, self.device, self.precision, self.runtime, self.prompts)


AS_MADE = ModelChoice()
"""No choice: the models that a library was made with, on the best device."""
FLAGS = {Modality.VISION: ("--model", "--checkpoint"), Modality.SOUND: ("--sound-model", "--sound-checkpoint")}
"""What people say to choose."""
VIDEO_FLAG = "--video-model"
CLIP_KINDS = ("clips", "clips and texts")
"""What plug-ins that see several frames together say of themselves; those without texts are handed sentences."""


def flags(made_by: Recipe, plugin: str) -> str:
    """What people say to choose the model of a plug-in."""
    return VIDEO_FLAG if plugin in made_by.clips else " or ".join(FLAGS[made_by.modality(plugin)])


@lru_cache(maxsize=4)
def _with_model(
    plugin: str, model: str, checkpoint: str, device: str, precision: str, runtime: str, prompts: str
) -> Any:
    module = ENCODERS.load(plugin)
    given = (sentences(DEFAULT_SENTENCES),) if module.KIND == "clips" else ()
    own = {"prompts": prompts} if module.KIND == "pictures and texts" else {}
    return module.build(*given, model, checkpoint, device=device, precision=precision, runtime=runtime, **own)


def recipe(pack: str, models: ModelChoice, budget: float = 0.0, sampling: str = "") -> Recipe:
    """The recipe of a pack, with the models that a person chose for it, and the share of frames to spend on it, or how
    they are sampled.

    Raises:
        BadSettings: no such pack, or it wants a model and has none, or has none to choose; no such budget or sampler,
            or both are given.
        MissingExtra, WeightsError: a model is not here; the message says how to get it.
    """
    if budget and sampling:
        raise BadSettings(f"--budget {budget:g} and --sampling {sampling} both say which frames: leave one out")
    made = recipes.pack(pack).within(budget).sampled(sampling)
    found: list[Model] = []
    for modality, (flag, weights) in FLAGS.items():
        model, checkpoint = models.chosen(modality)
        wanting = [name for name in made.names(modality) if name in recipes.STAND_INS]
        if not wanting and (model or checkpoint):
            raise BadSettings(f"pack {pack!r} has no {modality} model to choose: take --pack openclip")
        if checkpoint and not model:
            raise BadSettings(f"{weights} has weights: name their model with {flag}")
        if model:
            found += [_model(plugin, model, checkpoint, models) for plugin in wanting]
        elif all(recipes.STAND_INS[plugin] for plugin in wanting):
            made = made.without_models(modality)
        else:
            raise BadSettings(
                f"pack {pack!r} wants a model: {flag} NAME:TAG (`reelseek models list` has those that are here, "
                f"`reelseek models pull` brings one), or {flag} ARCHITECTURE {weights} FILE"
            )
    if models.video_model:
        plugin, model = models.video()
        _sees_clips(plugin)
        found.append(_model(plugin, model, "", models))
        made = replace(made, clips=(plugin,))
    if not found:
        _nothing_to_place(pack, models)
    return replace(made, models=tuple(found))


def _nothing_to_place(pack: str, models: ModelChoice) -> None:
    """
    Raises:
        BadSettings: somebody said where models run, and there is none that could run elsewhere.
    """
    for name in ("device", "precision", "runtime"):
        if (said := getattr(models, name)) != getattr(AS_MADE, name):
            raise BadSettings(
                f"--{name} is {said}, and pack {pack!r} has no model that could run so: its networks run on the CPU; "
                "leave it out, or choose a model (--pack openclip --model …, or --video-model …)"
            )


def tried(recipe: Recipe, encoders: Encoders) -> None:
    """Have each model that was chosen look at nothing once, so that weights of another architecture are told before a
    library is bound to them.

    Raises:
        WeightsError, DeviceError: as their names say.
    """
    dark = np.zeros((1, 64, 64, 3), np.uint8), np.array([[0.0, 1.0]])
    for name in recipe.vision:
        if recipe.model(name) and name in encoders.vision:
            encoders.vision[name].encode_frames(*dark)
    for name in recipe.clips:
        encoders.clips[name].encode_clips([Stretch(*dark)])
    for name in recipe.sound:
        if recipe.model(name) and name in encoders.sound:
            hearing = encoders.sound[name]
            hearing.encode_sound(Sound(np.zeros(hearing.rate, np.float32), hearing.rate))


def _sees_clips(plugin: str) -> None:
    """
    Raises:
        UnknownPlugin, MissingExtra: it is not there.
        BadSettings: it is another kind of plug-in.
    """
    kind = ENCODERS.load(plugin).KIND
    if kind not in CLIP_KINDS:
        raise BadSettings(f"{VIDEO_FLAG} names {plugin!r}, which encodes {kind}, not clips: name frozen, xclip or ila")


def _model(plugin: str, model: str, checkpoint: str, models: ModelChoice) -> Model:
    """As a recipe keeps it: by its weights, and by where they lie from whatever folder it is asked."""
    built = models.build(plugin, model, checkpoint)
    weights = str(Path(checkpoint).expanduser().absolute()) if checkpoint else ""
    return Model(plugin, built.model, weights, built.digest)


@dataclass(frozen=True, slots=True)
class Workers:
    """Who carries an indexing run out, and what a cluster gives to each who works there."""

    executor: str = "local"
    ray_address: str = ""
    ray_cpus: float = 1.0
    ray_gpus: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """
        Raises:
            BadSettings: a cluster is told of, and it is not to carry anything out.
        """
        made = cls(*(getattr(settings, field.name) for field in fields(cls)))
        if made.executor == HERE.executor and made != HERE:
            said = next(field.name for field in fields(cls) if getattr(made, field.name) != getattr(HERE, field.name))
            raise BadSettings(
                f"--{said.replace('_', '-')} is about a cluster, and --executor is {made.executor}: "
                "add --executor ray, or leave it out"
            )
        return made


HERE = Workers()


def executor(workers: Workers, recipe: Recipe, models: ModelChoice, jobs: int) -> Executor:
    """
    Raises:
        UnknownPlugin, MissingExtra: it cannot be had.
    """
    kind = EXECUTORS.load(workers.executor)
    if not getattr(kind, "FAR", False):
        here: Executor = kind.build()
        return here
    # `--device` is said of this machine; and Ray may show a node's GPUs to who was given none.
    models = replace(models, device="cuda" if workers.ray_gpus else "cpu")
    making = Making("api.parts", "encoders_of", {"recipe": recipe.text_form, "models": asdict(models)})
    far: Executor = kind.build(making, workers.ray_address, most=jobs, cpus=workers.ray_cpus, gpus=workers.ray_gpus)
    return far


def encoders_of(page: Mapping[str, Any]) -> Encoders:
    """As `encoders`, from plain text: on another machine."""
    return encoders(recipes.of(page["recipe"]), ModelChoice(**page["models"]))


def encoders(recipe: Recipe, models: ModelChoice = AS_MADE) -> Encoders:
    """All that a recipe names, as far as this machine has it.

    Raises:
        MissingExtra, WeightsError, DeviceError: a model that was chosen cannot be had.
    """
    shared = sentences(recipe.sentences)
    missing: dict[Modality, str] = {}
    return Encoders(
        shared,
        vision=_built(ENCODERS, recipe, Modality.VISION, missing, shared) | _with_models(recipe, recipe.vision, models),
        clips=_with_models(recipe, recipe.clips, models),
        sound=_built(ENCODERS, recipe, Modality.SOUND, missing, shared) | _with_models(recipe, recipe.sound, models),
        speech=_built(RECOGNIZERS, recipe, Modality.SPEECH, missing),
        text=_built(RECOGNIZERS, recipe, Modality.TEXT, missing),
        missing=missing,
    )


def _with_models(recipe: Recipe, names: Sequence[str], models: ModelChoice) -> dict[str, Any]:
    """Those of these plug-ins that read a model, with that of the recipe."""
    kept = [model for name in names if (model := recipe.model(name))]
    return {model.plugin: models.build(model.plugin, model.name, model.checkpoint) for model in kept}


def _built(
    registry: Registry, recipe: Recipe, modality: Modality, missing: dict[Modality, str], *given: Any
) -> dict[str, Any]:
    """The plug-ins of one modality that read no model, by name; the reasons of those that cannot be had go into
    `missing`."""
    made, reasons = {}, []
    for name in recipe.names(modality):
        if recipe.model(name):
            continue
        try:
            made[name] = registry.load(name).build(*given)
        except (MissingExtra, WeightsError) as error:
            reasons.append(str(error))
    if reasons:
        missing[modality] = "; ".join(reasons)
    return made


def query_side(side: str, made_by: Recipe, models: ModelChoice = AS_MADE) -> SentenceEncoder:
    """The encoder of a library's questions, from `Space.query_side` (`minilm:3fa9…`) and the recipe of the library.

    Raises:
        SpaceMismatch: this machine has other weights of that name.
        MissingExtra, WeightsError, DeviceError: it cannot be had here.
    """
    name, _, digest = side.partition(":")
    kept = made_by.model(name)
    encoder = _texts_of(kept, made_by, models) if kept else sentences(name)
    if encoder.digest[:DIGEST_LETTERS] != digest:
        way = f"name {kept.name}, as it was, with {flags(made_by, name)}" if kept else "take the version that made it"
        raise SpaceMismatch(
            f"this library's questions need {side}, this machine has {name}:{encoder.digest[:DIGEST_LETTERS]}: "
            f"{way}, or index again into another --library"
        )
    return encoder


def _texts_of(kept: Model, made_by: Recipe, models: ModelChoice) -> SentenceEncoder:
    """
    Raises:
        MissingExtra, WeightsError, DeviceError: it cannot be had here; the message has the flag for files that lie
            elsewhere by now.
    """
    try:
        texts: SentenceEncoder = models.build(kept.plugin, *models.place(made_by, kept)).texts
    except (MissingWeights, UnknownModel) as error:
        raise type(error)(
            f"{error}; if it lies elsewhere by now, say where with {flags(made_by, kept.plugin)}"
        ) from error
    return texts


def _asked_by(library: Store, side: str, models: ModelChoice) -> SentenceEncoder:
    """The encoder of one query side.  Of two recipes the one whose model it is has it, wherever that was named."""
    held, two = library.catalog.recipe(), library.catalog.reembedding()
    made_by = recipes.of(held[1]) if held else recipes.pack(DEFAULT_PACK)
    if not side:
        return sentences(made_by.sentences)
    if two is None:
        return query_side(side, made_by, models)
    name, _, digest = side.partition(":")
    both = [recipes.of(one.recipe) for one in (two.current, two.old, two.new)]
    both.sort(key=lambda one: not ((model := one.model(name)) and model.digest.startswith(digest)))
    refused: list[ReelseekError] = []
    for choice in (models, models.unnamed()):  # a model that is named now is one of the two, at most
        for one in both:
            try:
                return query_side(side, one, choice)
            except (SpaceMismatch, WeightsError) as error:
                refused.append(error)
    raise refused[0]


def asking(library: Store, models: ModelChoice = AS_MADE, recent: Rows | None = None) -> EncodeSentences:
    """What turns sentences into vectors for the questions of `library`, loaded when the first one comes.  Questions of
    several threads share batches, and those in `recent` are known."""
    loaded: dict[str, Remembering] = {}
    loading = Lock()
    rows: Rows = Recent(KEPT) if recent is None else recent

    def encode(texts: Sequence[str], side: str) -> Matrix:
        with loading:
            if side not in loaded:
                loaded[side] = Remembering(Shared(_asked_by(library, side, models)), rows)
        return loaded[side].encode(texts)

    return encode


def looking(reranker: str, head: str = "", adapter: str = "", moments: str = "") -> Looking:
    """Who looks at candidates: a plug-in by name, with the head, the adapter and the moment head in these folders, if
    any.

    Raises:
        UnknownPlugin, HeadError: as their names say.
    """
    from retriever.adapters import Adapter
    from retriever.spanning import MomentHead

    return Looking(
        RERANKERS.load(reranker).build(),
        RERANKERS.load("textpool").build(head) if head else None,
        Adapter.load(Path(adapter)) if adapter else None,
        MomentHead.load(Path(moments)) if moments else None,
    )


def decoders(wanted: int) -> int:
    """Decoder children to run; 0 leaves the choice to us."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return wanted or max(1, min(MOST_DECODERS, free // 2))
