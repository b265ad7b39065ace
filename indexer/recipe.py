"""How a media file is indexed: one frozen value, whose digest is stored with what it made.

A pack is a recipe with a name.  Two packs of equal content have equal digests: the name is for people.
"""

import json
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

from indexer import sampling
from retriever.errors import BadSettings, WrongRecipe
from retriever.types import Modality


@dataclass(frozen=True, slots=True)
class Model:
    """The model that a plug-in for many models reads."""

    plugin: str
    name: str  # as `reelseek models` knows it, or a folder
    checkpoint: str  # a file of weights, or ""
    digest: str  # of all that it is read from: what counts, wherever that lies


@dataclass(frozen=True, slots=True)
class Recipe:
    """Encoders by modality, sampling, segmentation and tokens kept.  Names are those of plug-ins."""

    pack: str
    sentences: str = "minilm"
    vision: tuple[str, ...] = ("concepts",)
    sound: tuple[str, ...] = ("soundevents",)
    speech: tuple[str, ...] = ("whisper",)
    text: tuple[str, ...] = ("rapidocr",)
    reader: str = "pyav"
    sampling: str = "adaptive(2)"  # frames shown to the vision encoders
    pages: str = "fixed(1)"  # frames read for words on screen
    segmenter: str = "surprise"
    representatives: int = 4  # first-stage rows a segment and space, beside the mean
    chapter: float = 60.0  # seconds of media between two checkpoints
    models: tuple[Model, ...] = ()
    clips: tuple[str, ...] = ()  # vision encoders that see several frames together, beside those of `vision`

    @property
    def text_form(self) -> str:
        """The recipe as JSON, keys sorted, without its name: what `of` reads."""
        return json.dumps(self._fields(), sort_keys=True)

    @property
    def digest(self) -> str:
        """Of all that media are indexed by; of a model its weights count, and not where they lie."""
        weights = [{"plugin": model.plugin, "digest": model.digest} for model in self.models]
        counted = self._fields() | ({"models": weights} if weights else {})
        return sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:16]

    def modality(self, plugin: str) -> Modality:
        """What one of the encoders is for."""
        return Modality.SOUND if plugin in self.sound else Modality.VISION

    def without_models(self, modality: Modality) -> "Recipe":
        """Where no model was chosen for a modality, what stands in for the plug-ins that would read one."""
        vision, sound = (
            tuple(STAND_INS.get(name, name) for name in names) if modality is own else names
            for own, names in ((Modality.VISION, self.vision), (Modality.SOUND, self.sound))
        )
        return replace(self, vision=vision, sound=sound)

    def within(self, budget: float) -> "Recipe":
        """With this share of two frames a second, those that tell most; 0 leaves the sampling as it is.

        Raises:
            BadSettings: so little is not enough, or it is more than all.
        """
        if budget == 0:
            return self
        sampler = f"salient(2, {float(budget)!r})"  # 1 and 1.0 are one recipe
        try:
            sampling.parse(sampler)
        except ValueError as error:
            raise BadSettings(str(error).replace("salient: ", "--", 1)) from error
        return replace(self, sampling=sampler)

    def sampled(self, text: str) -> "Recipe":
        """With another sampler of pictures; "" leaves it as it is.  With keyframes pages are read off those, too: for a
        single other picture all would have to be decoded.

        Raises:
            BadSettings: no such sampler.
        """
        if not text:
            return self
        try:
            sampler = sampling.parse(text)
        except ValueError as error:
            raise BadSettings(f"--sampling: {error}") from error
        return replace(self, sampling=str(sampler), pages=str(sampler) if sampler.keys else self.pages)

    def model(self, plugin: str) -> Model | None:
        """The one that a plug-in reads."""
        return next((model for model in self.models if model.plugin == plugin), None)

    def _fields(self) -> dict[str, Any]:
        """Without models and clips where there are none: recipes without them are older than these."""
        left_out = {"pack", *(name for name in ("models", "clips") if not getattr(self, name))}
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    def names(self, modality: Modality) -> tuple[str, ...]:
        """The plug-ins that serve one modality."""
        served: dict[Modality, tuple[str, ...]] = {
            Modality.VISION: (*self.vision, *self.clips),
            Modality.SOUND: self.sound,
            Modality.SPEECH: self.speech,
            Modality.TEXT: self.text,
        }
        return served[modality]


STAND_INS = {"openclip": "", "clap": "soundevents"}
"""Plug-ins that read a model which a person chooses, and who stands in where none was chosen: "" is nobody."""
PACKS = (Recipe("offline"), Recipe("openclip", vision=("openclip",), sound=("clap",)))


def pack(name: str) -> Recipe:
    """
    Raises:
        BadSettings: no pack of this name; the message lists them.
    """
    for recipe in PACKS:
        if recipe.pack == name:
            return recipe
    raise BadSettings(f"there is no pack {name!r}: the packs are {', '.join(recipe.pack for recipe in PACKS)}")


def of(text: str) -> Recipe:
    """The recipe whose `text_form` this is.

    Raises:
        WrongRecipe: it is none of this version.
    """
    try:
        said = json.loads(text)
        lists = {name: tuple(value) for name, value in said.items() if isinstance(value, list)}
        models = tuple(Model(**model) for model in said.get("models", ()))
        return Recipe("", **{**said, **lists, "models": models})
    except (ValueError, TypeError, AttributeError) as error:
        raise WrongRecipe(
            f"the library's recipe {text[:60]!r} is none that this reelseek reads ({error}): install the version that "
            "made the library, or index again into another --library"
        ) from error
