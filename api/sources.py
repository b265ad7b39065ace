"""Where a model's files lie, and what is told of it before anything is pulled.

    plan = found("ViT-B-32:laion2b_s34b_b79k", Hub())     # over the network, but no weights yet
    plan.remotes, plan.licence, plan.size

A tag of open_clip's list and an id of the Hugging Face hub are looked up on the hub, whose SHA-256 of each large file
becomes the pin.  Any other https address wants the SHA-256 from whoever names it.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from api.downloads import PATIENCE, Remote, read, size
from encoders._models import (
    BESIDE,
    CONFIG,
    HUB,
    SUFFIXES,
    TOKENIZER,
    WEIGHTS,
    Family,
    architectures,
    nearest,
    spelled,
    tags,
)
from retriever.errors import MissingExtra, PullError, UnknownModel

UNSTATED = "not stated"
WEIGHTS_OF = {".safetensors": "open_clip_model.safetensors"}
OTHERWISE = "open_clip_pytorch_model.bin"
"""What weights of an address are called here, by how the address ends."""
SETUP = ("mean", "std", "interpolation", "resize_mode")
"""What a tag says of preprocessing."""
CONTEXT = 77
"""Tokens of a text where a configuration does not say it."""
TRANSFORMERS = "config.json"
"""The configuration of a model of transformers, which names its family."""


@dataclass(frozen=True)
class Plan:
    """All that a pull would bring."""

    name: str
    family: Family
    source: str
    revision: str
    licence: str
    remotes: tuple[Remote, ...]
    made: Mapping[str, bytes] = field(default_factory=dict)  # files that are written here, by name
    facts: Mapping[str, int] = field(default_factory=dict)
    gated: bool = False

    @property
    def size(self) -> int:
        """Bytes, as far as they are known."""
        return sum(remote.size for remote in self.remotes) + sum(map(len, self.made.values()))


def found(name: str, hub: "Hub", url: str = "", sha256: str = "") -> Plan:
    """What pulling `name` would bring.

    Raises:
        UnknownModel: there is no such model.
        PullError: the source does not answer, or lacks files.
    """
    if url:
        return _of_address(name, hub, url, sha256)
    if name.startswith(HUB):
        return _of_hub(name, hub.repository(name.removeprefix(HUB)))
    architecture, colon, tag = spelled("openclip", name).partition(":")
    if not colon or f"{architecture}:{tag}" not in tags():
        raise _unknown(name, architecture)
    return _of_tag(architecture, tag, hub)


# ------------------------------------------------------------------------------------------------------------- the hub


@dataclass(frozen=True)
class Hub:
    """The Hugging Face hub, or a mirror: `HF_ENDPOINT`, as its own library reads it."""

    commit: str = ""  # of the model that is looked up; "" is the newest
    endpoint: str = field(default_factory=lambda: os.environ.get("HF_ENDPOINT") or "https://huggingface.co")

    def repository(self, name: str) -> "Repository":
        """
        Raises:
            MissingExtra: huggingface_hub is not installed.
            PullError: no answer, or no such repository.
        """
        try:
            from huggingface_hub import HfApi
            from huggingface_hub.errors import GatedRepoError, HFValidationError, HTTPError, RepositoryNotFoundError
        except ModuleNotFoundError as error:
            raise MissingExtra(f"pulling needs {error.name}: pip install 'reelseek[openclip]'") from error
        page = f"{self.endpoint}/{name}"
        try:
            info = HfApi(endpoint=self.endpoint).model_info(
                name, revision=self.commit or None, timeout=PATIENCE, files_metadata=True
            )
        except HFValidationError as error:
            raise UnknownModel(f"{name!r} is no name of the hub, wanted ORG/NAME") from error
        except GatedRepoError as error:
            raise PullError(
                f"{page} is gated: accept its terms there, log in with hf auth login, pull again"
            ) from error
        except RepositoryNotFoundError as error:
            raise UnknownModel(f"{page} is not there, or not open to you: look whether the name is right") from error
        except (HTTPError, OSError, ValueError, KeyError) as error:  # of its HTTP library, whichever that is by now
            why = str(error).partition("\n")[0] or type(error).__name__
            raise PullError(
                f"no answer from {urlsplit(self.endpoint).netloc} ({why}): look whether there is a network, pull again"
            ) from error
        return Repository(self.endpoint, name, info)


@dataclass(frozen=True)
class Repository:
    """A model on the hub, at the commit that its main branch has now."""

    endpoint: str
    name: str
    info: Any  # huggingface_hub's ModelInfo

    @property
    def page(self) -> str:
        return f"{self.endpoint}/{self.name}"

    @property
    def licence(self) -> str:
        card = self.info.card_data
        said = card and (card.get("license_name") or card.get("license"))
        return str(said or UNSTATED)

    @cached_property
    def files(self) -> dict[str, Any]:
        return {one.rfilename: one for one in self.info.siblings or ()}

    def remote(self, file: str, name: str = "") -> Remote:
        """A file of the repository, to be called `name` here."""
        from huggingface_hub.utils import build_hf_headers

        one = self.files[file]
        return Remote(
            name or file,
            f"{self.page}/resolve/{self.info.sha}/{file}",
            one.size or 0,
            one.lfs.sha256 if one.lfs else "",
            "" if one.lfs else one.blob_id or "",
            {key: value for key, value in build_hf_headers().items() if key.lower() == "authorization"},
        )

    def all_of(self, names: Sequence[str]) -> tuple[Remote, ...]:
        """Those that are there."""
        return tuple(self.remote(name) for name in names if name in self.files)

    def first(self, names: Sequence[str], name: str = "") -> Remote:
        """
        Raises:
            PullError: none of them is there.
        """
        for file in names:
            if file in self.files:
                return self.remote(file, name)
        raise PullError(f"{self.page} has none of {', '.join(names)}: reelseek reads no other layout")

    def config(self, file: str) -> dict[str, Any]:
        """
        Raises:
            PullError: it is no JSON object.
        """
        try:
            page = json.loads(read(self.remote(file)))
        except ValueError as error:
            raise PullError(f"{self.page}: {file} is not JSON ({error})") from error
        if not isinstance(page, dict):
            raise PullError(f"{self.page}: {file} is not a JSON object")
        return page

    def plan(
        self,
        name: str,
        family: Family,
        remotes: tuple[Remote, ...],
        facts: Mapping[str, int],
        made: Mapping[str, bytes],
    ) -> Plan:
        """What pulling a model of this repository would bring."""
        revision, gated = self.info.sha or "", bool(self.info.gated)
        return Plan(name, family, self.page, revision, self.licence, remotes, made, facts, gated)


def _of_hub(name: str, repository: Repository) -> Plan:
    """A model that is named by its place on the hub."""
    if CONFIG["openclip"] in repository.files:
        config = repository.config(CONFIG["openclip"])
        remotes = (repository.first(WEIGHTS["openclip"]), *repository.all_of(BESIDE["openclip"]))
        return _openclip(name, repository, config, remotes, {})
    if TRANSFORMERS in repository.files:
        config = repository.config(TRANSFORMERS)
        if (family := of_transformers(config)) is not None:
            remotes = (repository.first(WEIGHTS[family]), *repository.all_of(BESIDE[family]))
            return repository.plan(name, family, remotes, facts(family, config), {})
    raise PullError(
        f"{repository.page} is laid out neither for open_clip ({CONFIG['openclip']}) nor as a ClapModel or XCLIPModel"
    )


def _of_tag(architecture: str, tag: str, hub: Hub) -> Plan:
    """Weights that open_clip knows by a tag."""
    from open_clip import get_pretrained_cfg

    said = get_pretrained_cfg(architecture, tag)
    path = PurePosixPath(said["hf_hub"])
    names: Sequence[str] = WEIGHTS["openclip"]
    if alone := not said["hf_hub"].endswith("/"):  # ORG/NAME/FILE: others may lie beside it
        path, names = path.parent, (str(PurePosixPath(path.name).with_suffix(".safetensors")), path.name)
    repository = hub.repository(str(path))
    weights = repository.first(names)
    weights = repository.remote(weights.name, WEIGHTS_OF.get(PurePosixPath(weights.name).suffix, OTHERWISE))
    if alone or CONFIG["openclip"] not in repository.files:
        config = _configured(architecture, said)
        remotes, made = repository.all_of(TOKENIZER), {CONFIG["openclip"]: _page(config)}
    else:
        config = repository.config(CONFIG["openclip"])
        remotes, made = repository.all_of(BESIDE["openclip"]), {}
    return _openclip(f"{architecture}:{tag}", repository, config, (weights, *remotes), made)


def _openclip(
    name: str, repository: Repository, config: dict[str, Any], remotes: tuple[Remote, ...], made: dict[str, bytes]
) -> Plan:
    texts = _texts(config, Hub(endpoint=repository.endpoint), {remote.name for remote in remotes})
    return repository.plan(name, "openclip", (*remotes, *texts), openclip_facts(config), made)


def _texts(config: Mapping[str, Any], hub: Hub, here: set[str]) -> tuple[Remote, ...]:
    """The tokenizer, and the configuration of the text tower, where another repository has them."""
    text = config.get("model_cfg", config).get("text_cfg", {})
    remotes: tuple[Remote, ...] = ()
    tokenizer, tower = text.get("hf_tokenizer_name"), text.get("hf_model_name")
    if tokenizer and not here.intersection(TOKENIZER):
        remotes += hub.repository(tokenizer).all_of(TOKENIZER)
        if not remotes:
            raise PullError(f"{hub.endpoint}/{tokenizer} has no tokenizer, and the model needs one")
    if tower and "config.json" not in here:
        remotes += (hub.repository(tower).first(["config.json"]),)
    return remotes


# ----------------------------------------------------------------------------------------------------------- an address


def _of_address(name: str, hub: Hub, url: str, sha256: str) -> Plan:
    """Weights for an architecture of open_clip's list, under a tag that whoever pulls them chose."""
    architecture, colon, tag = spelled("openclip", name).partition(":")
    if architecture not in architectures() or not colon or not tag:
        raise _unknown(name, architecture, "with --url the name is ARCHITECTURE:TAG, the tag your own word")
    if f"{architecture}:{tag}" in tags():
        raise UnknownModel(f"{architecture}:{tag} is a tag of open_clip: choose another word for weights of an address")
    suffix = PurePosixPath(urlsplit(url).path).suffix
    if suffix not in SUFFIXES:
        raise PullError(f"{url} ends in {suffix or 'nothing'}, wanted one of {', '.join(SUFFIXES)}")
    remote = Remote(WEIGHTS_OF.get(suffix, OTHERWISE), url, sha256=sha256)
    remote = Remote(remote.name, url, size(remote), sha256)
    config = _configured(architecture, {})
    return Plan(
        name=f"{architecture}:{tag}",
        family="openclip",
        source=url,
        revision="",
        licence=UNSTATED,
        remotes=(remote, *_texts(config, hub, set())),
        made={CONFIG["openclip"]: _page(config)},
        facts=openclip_facts(config),
    )


# ---------------------------------------------------------------------------------------------------------- particulars


def _configured(architecture: str, tag: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as the hub has them, from open_clip's list of architectures and what it says of a tag."""
    model = json.loads(architectures()[architecture].read_text("utf-8"))
    if tag.get("quick_gelu"):  # trained so, whatever the architecture's file says: open_clip only warns
        model["quick_gelu"] = True
    return {"model_cfg": model, "preprocess_cfg": {key: tag[key] for key in SETUP if key in tag}}


def _page(config: Mapping[str, Any]) -> bytes:
    return (json.dumps(config, indent=1) + "\n").encode()


def of_tag(name: str) -> tuple[str, dict[str, int]]:
    """Where the weights of a tag lie, and what is known of them without a network."""
    from open_clip import get_pretrained_cfg

    architecture, _, tag = name.partition(":")
    path = PurePosixPath(get_pretrained_cfg(architecture, tag)["hf_hub"])
    return f"{Hub().endpoint}/{'/'.join(path.parts[:2])}", openclip_facts(_configured(architecture, {}))


def of_transformers(config: Mapping[str, Any]) -> Family | None:
    """The family of a configuration in transformers' layout."""
    families: Mapping[object, Family] = {"clap": "clap", "xclip": "xclip"}
    return families.get(config.get("model_type"))


def facts(family: Family, config: Mapping[str, Any]) -> dict[str, int]:
    """What the configuration of a model says."""
    if family == "openclip":
        return openclip_facts(config)
    return xclip_facts(config) if family == "xclip" else clap_facts(config)


def openclip_facts(config: Mapping[str, Any]) -> dict[str, int]:
    """What a configuration of open_clip says: dimension, tokens of a text, pixels of a side."""
    model = config.get("model_cfg", config)
    text, image = model.get("text_cfg", {}), model.get("vision_cfg", {}).get("image_size")
    side = max(image) if isinstance(image, list) else image
    said = {"dimension": model.get("embed_dim"), "context": text.get("context_length", CONTEXT), "image": side}
    return _numbers(said)


def clap_facts(config: Mapping[str, Any]) -> dict[str, int]:
    """What a configuration of a ClapModel says."""
    return _numbers({"dimension": config.get("projection_dim") or config.get("text_config", {}).get("projection_dim")})


def xclip_facts(config: Mapping[str, Any]) -> dict[str, int]:
    """What a configuration of an XCLIPModel says; what it does not is as in its first model, whose numbers
    transformers leaves out."""
    text, vision = (
        {**(config.get(f"{side}_config") or {}), **(config.get(f"{side}_config_dict") or {})}
        for side in ("text", "vision")
    )
    said = {
        "dimension": config.get("projection_dim", 512),
        "context": text.get("max_position_embeddings", CONTEXT),
        "image": vision.get("image_size", 224),
    }
    return _numbers(said)


def _numbers(said: Mapping[str, object]) -> dict[str, int]:
    return {name: value for name, value in said.items() if isinstance(value, int)}


def _unknown(name: str, architecture: str, way: str = "") -> UnknownModel:
    known = tags()
    if not known:
        return UnknownModel(f"there is no model {name!r}: pip install 'reelseek[openclip]' brings the list of tags")
    of_it = [one for one in known if one.startswith(f"{architecture}:")]
    close = of_it[:4] or nearest(name, known)
    hint = f"did you mean {' or '.join(close)}?" if close else "reelseek models list --known shows them"
    return UnknownModel(f"there is no model {name!r}: {way or hint}")
