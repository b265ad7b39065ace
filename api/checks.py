"""What `reelseek doctor` looks at.  Nothing here downloads or changes anything; every problem names its fix."""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, metadata, version

from api import parts
from encoders._weights import CARDS, Card
from indexer import recipe
from retriever.errors import DeviceError, MissingExtra, StoreUnavailable, WeightsError, WrongRecipe
from retriever.settings import Settings
from retriever.stores._address import is_address
from retriever.stores._format import refuse_foreign
from retriever.stores._health import refuse_network

PACK_EXTRAS = ("cpu", "concepts", "soundevents", "minilm", "whisper", "rapidocr")
"""What the default pack needs beside the base: the parts of the extra `offline`."""
LEAST_ROOM = 1_000_000_000  # bytes: below this a run over a few hours of video may fill the disk
CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "gif", "aac", "mp3", "opus", "vorbis", "flac")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.  With no `problem` it is fine; with one there is a `fix`."""

    name: str
    found: str
    problem: str = ""
    fix: str = ""


def everything(settings: Settings) -> Iterator[Check]:
    yield python()
    yield from packages()
    yield engine()
    yield from (weights(card) for card in CARDS)
    yield codecs()
    yield from library(settings)


def python() -> Check:
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return Check("python", found)


def packages() -> Iterator[Check]:
    """The base, and what each plug-in of the default pack needs."""
    wanted: dict[str, list[str]] = {}
    for line in metadata("reelseek").get_all("Requires-Dist") or []:
        name, extra = requirement(line)
        if extra == "" or extra in PACK_EXTRAS:
            wanted.setdefault(extra, []).append(name)
    for extra, names in sorted(wanted.items()):
        have = {name: installed(name) for name in sorted(set(names))}
        found = ", ".join(f"{name} {release}" for name, release in have.items() if release)
        lacking = [name for name, release in have.items() if not release]
        if extra == "cpu":
            continue  # `engine` looks at this one: the gpu extra serves as well
        what = f"reelseek[{extra}]" if extra else "reelseek"
        if lacking:
            yield Check(what, found, f"{', '.join(lacking)} not installed", f"pip install '{what}'")
        else:
            yield Check(what, found)


def requirement(line: str) -> tuple[str, str]:
    """`av<19,>=16; extra == "cpu"` as name and extra."""
    name = re.match(r"[\w.-]+", line)
    extra = re.search(r"extra\s*==\s*['\"]([\w.-]+)['\"]", line)
    return name[0] if name else "", extra[1] if extra else ""


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def engine() -> Check:
    """Two builds of faiss overwrite each other's files: whichever came last half works."""
    builds = {found.metadata["Name"]: found.version for found in distributions() if _is_faiss(found.name)}
    shown = ", ".join(f"{name} {release}" for name, release in sorted(builds.items()))
    if not builds:
        return Check("faiss", "none", "no build of faiss", "pip install 'reelseek[cpu]' (or 'reelseek[gpu]')")
    if len(builds) > 1:
        fix = f"pip uninstall -y {' '.join(sorted(builds))}, then pip install 'reelseek[cpu]' or 'reelseek[gpu]'"
        return Check("faiss", shown, "several builds in one environment", fix)
    return Check("faiss", shown)


def _is_faiss(name: str) -> bool:
    return name.lower().replace("_", "-").startswith("faiss-")


def weights(card: Card) -> Check:
    """Found, and bit for bit what was pinned."""
    about = f"{card.package} {card.version}, licence: {card.licence}; {card.carries}"
    try:
        for file in card.files:
            card.path(file)
    except WeightsError as error:
        problem, _, fix = str(error).rpartition(": ")
        return Check(f"weights {card.plugin}", about, problem, fix)
    return Check(f"weights {card.plugin}", about)


def codecs() -> Check:
    try:
        import av
        from av.codec.codec import UnknownCodecError
    except ImportError as error:
        return Check("ffmpeg", "none", str(error), "pip install --force-reinstall av")
    lacking = []
    for name in CODECS:
        try:
            av.Codec(name, "r")
        except UnknownCodecError:
            lacking.append(name)
    numbers = ".".join(map(str, av.library_versions["libavcodec"]))
    found = f"libavcodec {numbers} in av {av.__version__}"
    if lacking:
        return Check("ffmpeg", found, f"cannot decode {', '.join(lacking)}", "pip install --force-reinstall av")
    return Check("ffmpeg", found)


def library(settings: Settings) -> Iterator[Check]:
    """The library that the settings name, or the place where it would come to lie."""
    try:
        folder = parts.home(settings.store, settings.library, settings.store_catalog).absolute()
    except (MissingExtra, StoreUnavailable) as error:
        problem, _, fix = str(error).rpartition(": ")
        yield Check("library", settings.library, problem, fix)
        return
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        refuse_network(there)
    except StoreUnavailable as error:
        yield Check(
            "place", str(there), str(error).partition(": ")[0], "choose another with --library or REELSEEK_LIBRARY"
        )
    else:
        yield Check("place", str(there))
    free = shutil.disk_usage(there).free
    room = f"{free / 1e9:.1f} GB free"
    if free < LEAST_ROOM:
        yield Check("room", room, "nearly full", "make room, or choose another --library")
    else:
        yield Check("room", room)
    shown = settings.library if is_address(settings.library) else str(folder)
    if not folder.is_dir() and not is_address(settings.library):
        try:
            refuse_foreign(folder)
        except StoreUnavailable as error:  # a file is there, or where a folder above it would be
            problem, _, fix = str(error).rpartition(": ")
            yield Check("library", shown, problem, fix)
        else:
            yield Check("library", f"none at {folder} yet")
        return
    found = parts.problems(settings.store, settings.library, settings.store_catalog)
    for problem in found:
        what, _, fix = problem.rpartition(": ")
        yield Check("library", shown, what or problem, fix if what else "see the message")
    if not found:
        yield Check("library", shown)
        yield from indexes(settings)
        yield from models(settings)


def indexes(settings: Settings) -> Iterator[Check]:
    """How much of the exact answer each index was found to find when it was built."""
    for one in parts.indexes(settings.store, settings.library, settings.store_catalog):
        name, known = f"index of {one.space}", one.measured
        if known is None:
            yield Check(name, f"{one.rows:,} of {one.of:,} rows, not measured (reelseek compact measures it)")
            continue
        kind = "questions" if known.sentences else "rows of its own"
        found = (
            f"recall@10 {known.ten:.3f}, recall@{known.depth} {known.all:.3f} over {known.questions} {kind}; "
            f"{one.rows:,} of {one.of:,} rows"
        )
        if known.lists > 1 or known.fetched > 1:
            found += f"; looks at {known.lists} × the lists and {known.fetched} × the rows to find so much"
        if known.usable:
            yield Check(name, found)
        else:
            problem = "it misses too much however far it looks, so every row is scored, which takes longer"
            yield Check(name, found, problem, f"reelseek compact --library {settings.library} learns another")


def models(settings: Settings) -> Iterator[Check]:
    """Those that the library was made with: are they where they were, and what they were?"""
    opened = parts.store(settings.store, settings.library, create=False, catalog=settings.store_catalog)
    try:
        made, two = opened.catalog.recipe(), opened.catalog.reembedding()
        with opened.snapshot() as snapshot:
            media, lacking = snapshot.counts()["media"], len(snapshot.lacking())
    finally:
        opened.close()
    if two:
        found = f"old {two.old.digest}, new {two.new.digest} of {media - lacking:,} of {media:,} media"
        yield Check("recipes", f"{found}; searched: {two.searched} (reelseek reembed --status)")
    texts = [one.recipe for one in (two.old, two.new)] if two else [made[1]] if made else []
    for text in texts:
        try:
            made_by = recipe.of(text)
        except WrongRecipe as error:
            problem, _, fix = str(error).rpartition(": ")
            yield Check("recipe", settings.library, problem, fix)
            continue
        chosen = parts.ModelChoice.of(settings)
        # A model that the settings name is one of two recipes, at most.
        choices = (chosen, chosen.unnamed()) if two else (chosen,)
        for model in made_by.models:
            tried = [_model(made_by, model, choice) for choice in choices]
            yield next((check for check in tried if not check.problem), tried[0])


def _model(made_by: recipe.Recipe, model: recipe.Model, chosen: parts.ModelChoice) -> Check:
    name, checkpoint = chosen.place(made_by, model)
    about = f"{name} {checkpoint}".strip()
    try:
        same = chosen.build(model.plugin, name, checkpoint).digest == model.digest
    except (MissingExtra, WeightsError, DeviceError) as error:
        problem, _, fix = str(error).rpartition(": ")
        return Check(f"model {model.plugin}", about, problem or str(error), fix if problem else "see the message")
    fix = f"name the model that made it with {parts.flags(made_by, model.plugin)}"
    return Check(f"model {model.plugin}", about, *(() if same else ("not the weights that made this library", fix)))
