"""How a media file is indexed: one frozen value, whose digest is stored with what it made.

A pack is a recipe with a name.  Two packs of equal content have equal digests: the name is for people.
"""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256

from retriever.errors import BadSettings
from retriever.types import Modality


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

    @property
    def text_form(self) -> str:
        """The recipe as JSON, keys sorted, without its name: what the digest is of."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "pack"}, sort_keys=True)

    @property
    def digest(self) -> str:
        return sha256(self.text_form.encode()).hexdigest()[:16]

    def names(self, modality: Modality) -> tuple[str, ...]:
        """The plug-ins that serve one modality."""
        served: dict[Modality, tuple[str, ...]] = {
            Modality.VISION: self.vision,
            Modality.SOUND: self.sound,
            Modality.SPEECH: self.speech,
            Modality.TEXT: self.text,
        }
        return served[modality]


PACKS = (Recipe("offline"),)


def pack(name: str) -> Recipe:
    """
    Raises:
        BadSettings: no pack of this name; the message lists them.
    """
    for recipe in PACKS:
        if recipe.pack == name:
            return recipe
    raise BadSettings(f"there is no pack {name!r}: the packs are {', '.join(recipe.pack for recipe in PACKS)}")
