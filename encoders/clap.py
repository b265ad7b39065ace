"""Sounds and sentences in one space: any CLAP model of transformers, fused or not.

    clap = build("hf-hub:laion/clap-htsat-unfused")     # pulled before with `reelseek models pull`
    clap.encode_sound(sound); clap.texts.encode(["a barking dog"])

A token every 2 s of the media's own clock, so the same sound gives the same tokens wherever the stretch that is encoded
begins.  A token stands for its 2 s, and is heard in a window of 10 s around them: a shorter hop than the window, since
segments may be of 2 s, and each has a token then.  What is absent from a window, at the media's two ends, is filled as
the model fills short sounds.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders import _clap
from encoders._clap import Tokenize, Tower
from encoders._devices import device_of, dtype_of, sent
from encoders._models import locate
from encoders._queries import asked_in_words
from encoders._texts import Texts, unit
from encoders._towers import Towers
from retriever.types import Floats, Matrix, Modality, Part, Sound, Space, Tokens, Vector

MODALITY = Modality.SOUND
KIND = "sounds and texts"
NAME = "clap"
HOP = 2  # seconds from token to token
STREAM = 64  # windows that are cut from a sound at a time: 123 MB


class ClapTowers(Towers):
    """Both towers of a CLAP."""

    def __init__(self, tower: Tower, device: torch.device, dtype: torch.dtype, runtime: str = "auto") -> None:
        super().__init__(tower.files.name, tower.digest, device, dtype, runtime)
        self.tower = tower

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tower.ear.shape

    def read_network(self) -> torch.nn.Module:
        network: torch.nn.Module = _clap.network(self.tower)
        return network

    def read_tokenizer(self) -> Tokenize:
        return _clap.tokenizer(self.tower)

    def media_tower(self, network: Any) -> torch.nn.Module:
        return _Hearing(network, fused=self.tower.ear.fused)

    def drop_media_tower(self, network: Any) -> None:
        network.audio_model = None

    def hear(self, windows: Floats) -> Matrix:
        """Windows `(N, samples)` as rows `(N, D)`, of the length that the network gives them."""
        ear = self.tower.ear
        return self.media_rows(len(windows), lambda few: ear.features(windows[few], self.device).to(self.own))

    def read(self, sentences: list[str]) -> Matrix:
        """Sentences as rows `(N, D)`."""
        model, tokenize = self.language()
        said = tokenize(sentences)
        tokens, mask = said["input_ids"].numpy(), said["attention_mask"].numpy()

        def forward(few: slice) -> torch.Tensor:
            spoken = model.text_model(
                input_ids=sent(tokens[few], self.device), attention_mask=sent(mask[few], self.device)
            )
            rows: torch.Tensor = model.text_projection(spoken.pooler_output)
            return rows

        return self.text_rows(len(tokens), forward)


class _Hearing(torch.nn.Module):
    """`get_audio_features` before it normalises.

    A fused model is told that each sound is longer than its window, as the library tells it of a sound that comes
    alone: in a batch it draws one by lot.
    """

    def __init__(self, model: Any, *, fused: bool) -> None:
        super().__init__()
        self.tower, self.projection = model.audio_model.audio_encoder, model.audio_projection
        self.fused = fused

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        longer = torch.ones(features.shape[0], 1, dtype=torch.bool, device=features.device) if self.fused else None
        heard = self.tower(features, is_longer=longer)
        rows: torch.Tensor = self.projection(heard.pooler_output)
        return rows


class Clap:
    """A `SoundEncoder`, and `texts` of the same space.  Both know who they are before any weight is read."""

    modality = MODALITY

    def __init__(self, towers: ClapTowers) -> None:
        tower = towers.tower
        self._towers = towers
        self.model = towers.model
        self.digest = tower.digest
        self.texts = Texts(NAME, tower.digest, tower.dimension, towers.read)
        self.rate = tower.ear.rate
        self.margin = tower.ear.length / 2 / self.rate
        self._hop = HOP * self.rate
        self.space = Space(
            name=NAME,
            modality=self.modality,
            dimension=tower.dimension,
            media_side=f"{NAME}:{tower.digest[:12]}",
            query_side=f"{NAME}:{tower.digest[:12]}",
            preprocessing=f"{HOP}s-{tower.ear}",
        )

    def encode_query(self, part: Part) -> Vector | None:
        """A text through the text tower; a sound as the mean of windows side by side; of pictures nothing is known.

        Raises:
            ValueError: a sound of another rate.
        """
        if isinstance(part, Sound) and len(part.samples):
            self._check(part)
            length = self._towers.tower.ear.length
            starts = np.minimum(np.arange(0, len(part.samples), length), max(0, len(part.samples) - length))
            mean = unit(self._heard(part.samples, starts, starts + length))[0].mean(axis=0, keepdims=True)
            whole: Vector = unit(mean)[0][0]
            return whole
        return asked_in_words(part, self.texts)

    def encode_sound(self, sound: Sound) -> Tokens:
        """Tokens over all of `sound`; each hears as much around its span as there is.

        Raises:
            ValueError: a sound of another rate.
        """
        self._check(sound)
        if not len(sound.samples):
            return Tokens.none(self.space.dimension)
        begin = round(sound.start * self.rate)
        end = begin + len(sound.samples)
        numbers = np.arange(begin // self._hop, -(-end // self._hop))
        starts = numbers * self._hop + (self._hop - self._towers.tower.ear.length) // 2 - begin
        rows, norms = unit(self._heard(sound.samples, starts, starts + self._towers.tower.ear.length))
        spans = np.stack([numbers * self._hop, (numbers + 1) * self._hop], axis=1) / self.rate
        return Tokens(rows, np.clip(spans, sound.start, sound.start + sound.length), norms)

    def _heard(self, samples: Floats, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Matrix:
        """Rows `(N, D)` of these stretches, few of which are copied at a time."""
        return np.concatenate([self._towers.hear(windows) for windows in self._windows(samples, starts, ends)])

    def _windows(self, samples: Floats, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Iterator[Floats]:
        filled = self._towers.tower.ear.filled
        for first in range(0, len(starts), STREAM):
            few = slice(first, first + STREAM)
            yield np.stack(
                [
                    filled(samples[max(0, start) : end].astype(np.float32))
                    for start, end in zip(starts[few], ends[few], strict=True)
                ]
            )

    def _check(self, sound: Sound) -> None:
        if sound.rate != self.rate:
            raise ValueError(f"{NAME} hears {self.rate} samples a second, got {sound.rate}")


def build(
    model: str, checkpoint: str = "", *, device: str = "auto", precision: str = "auto", runtime: str = "auto"
) -> Clap:
    """The encoder of sounds and sentences.

    Args:
        model, checkpoint: see `encoders._models.locate`; the checkpoint may be one of laion_clap.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        runtime: auto, torch, compile or openvino, see `encoders._towers`.

    Raises:
        UnknownModel, MissingWeights, AlteredWeights, WrongCheckpoint, DeviceError: as their names say.
    """
    place = device_of(device)
    tower = _clap.tower(locate("clap", model, checkpoint))
    return Clap(ClapTowers(tower, place, dtype_of(precision, place), runtime))
