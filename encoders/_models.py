"""Which files a model is made of, and that they are what was pinned.  Nothing here downloads.

    files = locate("openclip", "ViT-B-32:laion2b_s34b_b79k")     # pulled before by `reelseek models pull`
    files = locate("openclip", "ViT-B-32", "mine.safetensors")   # a built-in architecture and own weights
    files = locate("openclip", "tower/")                         # a folder laid out as on the hub
    files = locate("clap", "hf-hub:laion/clap-htsat-unfused")

`models.lock` in the cache folder says what was pulled, from where, and the SHA-256 of every file.
"""

import difflib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import file_digest, sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from encoders._cache import cache_folder
from retriever.errors import AlteredWeights, MissingWeights, UnknownModel

Family = Literal["openclip", "clap", "frozen", "xclip", "ila"]

HUB = "hf-hub:"
FOLDER = "local-dir:"
"""What open_clip writes before names of the hub, and before folders."""
VERSION = 1
"""Of `models.lock`."""
CONFIG: Mapping[Family, str] = {
    "openclip": "open_clip_config.json",
    "clap": "config.json",
    "xclip": "config.json",
}
"""What a folder holds beside weights; a family that is not here reads all from the weights' shapes."""
WEIGHTS: Mapping[Family, tuple[str, ...]] = {
    "openclip": ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin"),
    "clap": ("model.safetensors", "pytorch_model.bin"),
    "xclip": ("model.safetensors", "pytorch_model.bin"),
}
"""File names of the hub's layouts, the best first; a family that is not here reads the one file of weights there is."""
ALONE: tuple[Family, ...] = ("frozen", "xclip", "ila")
"""Families whose authors publish one file: it may be named instead of a folder.  X-CLIP's needs nothing beside it."""
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".tar")
"""What a file of weights may end in."""
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
HUB_PAGES = ("open_clip_config.json", "config.json", "preprocessor_config.json", *TOKENIZER)
LABELS = ("labels.csv", "labels.txt")
BESIDE: Mapping[Family, tuple[str, ...]] = {
    "openclip": HUB_PAGES,
    "clap": HUB_PAGES,
    "frozen": TOKENIZER,
    "xclip": HUB_PAGES,
    "ila": LABELS,
}
"""Files beside the weights that change what a model answers."""


@dataclass(frozen=True)
class Files:
    """What a model is read from."""

    name: str  # as people wrote it, in its one spelling; of a folder its whole path
    architecture: str  # of open_clip's own list; "" where the folder holds the configuration
    folder: Path | None  # has CONFIG and the tokenizer; None for an architecture of open_clip's own list
    weights: Path
    digest: str  # SHA-256 over weights, configuration and tokenizer; paths are not in it


@dataclass(frozen=True)
class Pinned:
    """A model that was pulled: one entry of `models.lock`."""

    family: Family
    folder: str  # its name in the models folder
    source: str  # where it came from, for people
    revision: str  # commit of the hub, or ""
    licence: str  # what the source says, or "not stated"
    pulled: str  # date, ISO 8601
    files: Mapping[str, str]  # name → SHA-256
    size: int  # bytes together
    facts: Mapping[str, int] = field(default_factory=dict)  # dimension, context, image: those that are known

    def path(self) -> Path:
        return models_folder() / self.folder

    def check(self, name: str) -> None:
        """Check every file (once a process, unless it changes).

        Raises:
            MissingWeights: a file is gone.
            AlteredWeights: a file is not the one that was pulled.
        """
        for file, wanted in self.files.items():
            if not (self.path() / file).is_file():
                raise MissingWeights(f"{self.path() / file} is gone: reelseek models pull {name} brings it again")
            if (found := _sum(self.path() / file)) != wanted:
                raise AlteredWeights(
                    f"{self.path() / file} has SHA-256 {found[:12]}…, {lock_file().name} says {wanted[:12]}…: "
                    f"reelseek models pull {name} brings it again"
                )


def models_folder() -> Path:
    return cache_folder() / "models"


def lock_file() -> Path:
    return cache_folder() / "models.lock"


def pinned() -> dict[str, Pinned]:
    """What was pulled, by name.

    Raises:
        AlteredWeights: `models.lock` is not what reelseek writes.
    """
    try:
        text = lock_file().read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise AlteredWeights(
            f"{lock_file()} cannot be read ({error}): mend it, or move it away and pull again"
        ) from error
    try:
        page = json.loads(text)
        if page["version"] != VERSION:
            raise ValueError(f"version {page['version']!r}, this reelseek reads {VERSION}")
        return {name: _entry(entry) for name, entry in page["models"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AlteredWeights(
            f"{lock_file()} is not what reelseek writes ({error}): move it away and pull its models again"
        ) from error


def _entry(entry: dict[str, Any]) -> Pinned:
    one = Pinned(**entry)
    for name in (one.folder, *one.files):
        if name in ("", ".", "..") or Path(name).name != name:
            raise ValueError(f"{name!r} is no name of a file")
    if one.family not in get_args(Family):
        raise ValueError(f"family {one.family!r}")
    return one


def spelled(family: Family, model: str) -> str:
    """The one spelling of a name: `ViT-B/32:WebLi` is `ViT-B-32:webli`, and CLAP's names are the hub's."""
    if model.startswith(HUB):
        return model.rstrip("/")
    if family != "openclip":
        return f"{HUB}{model}" if re.fullmatch(r"[\w.-]+/[\w.-]+", model) else model
    architecture, colon, tag = model.partition(":")
    return architecture.replace("/", "-") + colon + tag.lower().replace("-", "_")


def locate(family: Family, model: str, checkpoint: str = "") -> Files:
    """The files of a model.

    Args:
        model: a tag (`ARCHITECTURE:TAG`) or id (`hf-hub:ORG/NAME`) that was pulled, a folder in the hub's layout, for
            openclip an architecture alone, or for a family of `ALONE` the authors' file.
        checkpoint: a file of weights to be read instead of those that came with the model.

    Raises:
        UnknownModel: there is no such model; the nearest names are told.
        MissingWeights: it is not pulled, or files are missing; the message has the way out.
        AlteredWeights: a file is not the one that was pulled.
    """
    own = _checkpoint(checkpoint) if checkpoint else None
    if family in ALONE and (file := Path(model).expanduser()).is_file():
        return _by_itself(family, file.absolute())
    if (folder := _folder(family, model)) is not None:
        return _in(family, str(folder.absolute()), folder, own)
    name, held = spelled(family, model), pinned()
    if family == "openclip" and (config := _built_in(name)) is not None:
        if own is not None:
            return _bare(name, config, own)
        name = _only_tag(name, held)
    if name not in held:
        raise _absent(family, name, held, own)
    if (one := held[name]).family != family:
        raise UnknownModel(f"{name} is a model of the family {one.family}, wanted one of {family}")
    one.check(name)
    return _in(family, name, one.path(), own)


def _folder(family: Family, model: str) -> Path | None:
    """The folder that is meant, if one is."""
    said = model.removeprefix(FOLDER)
    folder = Path(said).expanduser()
    if folder.is_dir() and (said != model or family != "openclip" or _built_in(model) is None):
        return folder
    a_file = family in ALONE and folder.suffix in SUFFIXES
    if a_file or said != model or said.startswith(("/", "./", "../", "~")) or said.endswith(os.sep):
        if family in ALONE:
            raise MissingWeights(
                f"{folder} is neither a file nor a folder: name a file that ends in {', '.join(SUFFIXES)}, or a folder "
                "that holds one"
            )
        raise MissingWeights(f"{folder} is not a folder: name one that holds {CONFIG[family]} and weights")
    return None


def _in(family: Family, name: str, folder: Path, own: Path | None) -> Files:
    """A folder in the hub's layout."""
    if family in CONFIG and not (folder / CONFIG[family]).is_file():
        raise MissingWeights(
            f"{folder} has no {CONFIG[family]}, wanted that, its tokenizer, and one of {', '.join(WEIGHTS[family])}"
        )
    weights = own or _weights(family, folder)
    parts = {file: _sum(folder / file) for file in BESIDE[family] if (folder / file).is_file()}
    return Files(name, "", folder, weights, _digest({**parts, "weights": _sum(weights)}))


def _weights(family: Family, folder: Path) -> Path:
    """The file of weights in a folder."""
    if family in WEIGHTS:
        found = [folder / file for file in WEIGHTS[family] if (folder / file).is_file()][:1]
        way = f"wanted one of {', '.join(WEIGHTS[family])}: name a file with --checkpoint"
    else:
        found = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())
        way = f"wanted a file that ends in {', '.join(SUFFIXES)}"
    if not found:
        raise MissingWeights(f"{folder} has no weights, {way}")
    if len(found) > 1:
        raise MissingWeights(
            f"{folder} has several files of weights, {', '.join(file.name for file in found)}: name one"
        )
    return found[0]


def _by_itself(family: Family, file: Path) -> Files:
    """A file of the authors, and what lies beside it that the family reads."""
    if file.suffix not in SUFFIXES:
        raise MissingWeights(f"{file} is named as a model; a file of weights ends in {', '.join(SUFFIXES)}")
    if family in CONFIG:  # the layout of a folder is another one
        return Files(str(file), "", None, file, _digest({"weights": _sum(file)}))
    return _in(family, str(file), file.parent, file)


def _bare(name: str, config: Path, own: Path) -> Files:
    """An architecture of open_clip's own list, with own weights."""
    repository = json.loads(config.read_text("utf-8")).get("text_cfg", {}).get("hf_tokenizer_name")
    if repository:
        raise MissingWeights(
            f"the architecture {name} needs the tokenizer of {repository}, which a checkpoint does not hold: put "
            f"{CONFIG['openclip']}, tokenizer.json and the weights into a folder and name that, or pull one of its tags"
        )
    return Files(name, name, None, own, _digest({"config": _sum(config), "weights": _sum(own)}))


def _checkpoint(said: str) -> Path:
    file = Path(said).expanduser()
    if not file.is_file():
        raise MissingWeights(f"--checkpoint is {file}, which is no file: name one that ends in {', '.join(SUFFIXES)}")
    if file.suffix not in SUFFIXES:
        raise MissingWeights(f"--checkpoint is {file.name}, wanted a file that ends in {', '.join(SUFFIXES)}")
    return file


def architectures() -> dict[str, Path]:
    """open_clip's own list: name → configuration, found without importing it."""
    spec = find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(next(iter(spec.submodule_search_locations))) / "model_configs"
    return {file.stem: file for file in sorted(folder.glob("*.json"))}


def tags() -> list[str]:
    """`ARCHITECTURE:TAG` of all weights that open_clip knows a source of; none if it is not installed."""
    if find_spec("open_clip") is None:
        return []
    import open_clip  # here: it brings torch, and only who mistyped a name needs the list

    return [f"{architecture}:{tag}" for architecture, tag in open_clip.list_pretrained()]


def _built_in(name: str) -> Path | None:
    return architectures().get(name)


def _only_tag(architecture: str, held: Mapping[str, Pinned]) -> str:
    """The pulled tag of an architecture that was named alone."""
    here = [name for name in held if name.startswith(f"{architecture}:")]
    if len(here) == 1:
        return here[0]
    if here:
        raise MissingWeights(f"{architecture} was pulled with several weights: name one of {', '.join(sorted(here))}")
    known = [name for name in tags() if name.startswith(f"{architecture}:")]
    way = f"reelseek models pull {known[0]}" if known else "pull some with reelseek models pull --url"
    others = f" (there are also {', '.join(known[1:4])})" if known[1:] else ""
    raise MissingWeights(f"{architecture} has no weights here: {way}{others}, or name a file with --checkpoint")


def _absent(family: Family, name: str, held: Mapping[str, Pinned], own: Path | None) -> Exception:
    """Why a name that is not among the pulled cannot be had."""
    architecture = name.partition(":")[0]
    if own is not None and family == "openclip" and _built_in(architecture):
        return MissingWeights(
            f"{name} is not pulled; with --checkpoint name the architecture alone, {architecture}, or pull {name} first"
        )
    known = tags() if family == "openclip" and not name.startswith(HUB) else []
    if name in known or name.startswith(HUB):
        return MissingWeights(f"{name} is not pulled: reelseek models pull {name}")
    names = [*known, *(architectures() if known else ()), *(one for one, pin in held.items() if pin.family == family)]
    close = nearest(name, names)
    hint = f"did you mean {' or '.join(close)}?" if close else "reelseek models list shows those that are pulled"
    return UnknownModel(f"there is no {family} model {name!r}: {hint}")


def nearest(name: str, names: list[str]) -> list[str]:
    """Up to three names that look like it, whatever the case of their letters."""
    lowered = {one.lower(): one for one in names}
    return [lowered[one] for one in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]


def _digest(parts: Mapping[str, str]) -> str:
    """Of files by what they are for."""
    return sha256("".join(f"{name} {parts[name]}\n" for name in sorted(parts)).encode()).hexdigest()


def _sum(file: Path) -> str:
    """SHA-256 of a file.

    Raises:
        AlteredWeights: it cannot be read.
    """
    try:
        stat = file.stat()
        return _read(file.resolve(), stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise AlteredWeights(f"{file} cannot be read ({error.strerror}): look who may, or bring it again") from error


@lru_cache(maxsize=256)
def _read(file: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file.  Size and time belong to the key, so a file that changed is read again."""
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()
