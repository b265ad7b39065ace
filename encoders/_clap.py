"""A CLAP model from files that are here: transformers' layout, or a checkpoint of laion_clap beside its configuration.

What transformers' `ClapFeatureExtractor` does to one sound at a time in numpy is done here to a batch on the device.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

from encoders import _transformers
from encoders._checkpoints import fill, first_line
from encoders._devices import sent
from encoders._models import Files
from encoders._unpickling import tensors
from retriever.errors import WrongCheckpoint
from retriever.types import Floats

REVISION = "1"
"""Of what happens to samples here."""
LONGEST = 77  # tokens of a text, as laion_clap was trained
FLOOR = 1e-10  # of the energy in a band, before its logarithm
PIECES = 4  # spectrograms that a fused model takes: of all, and of three parts; of a window that fits, four times it
COUNTED = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")
"""What no training changes: it may be missing from a file."""
LEFT = (
    "audio_branch.spectrogram_extractor.",
    "audio_branch.logmel_extractor.",
    "audio_branch.tscam_conv.",
    "audio_branch.head.",
    "audio_transform.",
    "text_transform.",
    "logit_scale",
)
"""Weights of laion_clap's files that no vector depends on."""

Tokenize = Callable[[list[str]], Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Ear:
    """How sound is made into what a model hears: the settings of `ClapFeatureExtractor`."""

    rate: int  # samples a second
    length: int  # samples of a window
    frame: int  # samples of a Fourier transform
    step: int  # samples from one to the next
    padding: str  # of what is shorter: "repeatpad", "repeat" or "pad"
    fused: bool
    lowest: float  # Hz
    highest: float  # Hz
    bands: Floats  # (frame / 2 + 1, mels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of what the model takes: spectrograms, frames, mels."""
        return PIECES if self.fused else 1, self.length // self.step + 1, self.bands.shape[1]

    def __str__(self) -> str:
        kind = "fused" if self.fused else "unfused"
        bands = f"{self.bands.shape[1]}bands{self.lowest:g}-{self.highest:g}Hz"
        return f"{kind}-{self.padding}-{self.length}of{self.rate}-{self.frame}/{self.step}-{bands}-{REVISION}"

    def filled(self, samples: Floats) -> Floats:
        """At most a window of samples as exactly one, by the model's own rule."""
        times = self.length // len(samples)
        if self.padding == "repeat":
            return np.resize(samples, self.length)
        repeated = np.tile(samples, times) if self.padding == "repeatpad" else samples
        padded: Floats = np.pad(repeated, (0, self.length - len(repeated)))
        return padded

    def features(self, windows: Floats, device: torch.device) -> torch.Tensor:
        """Windows `(N, length)` as decibels in bands, `(N, *shape)` float32.

        The library calculates in float64 down to the floor: in float32, what is silent beside a loud tone is noise.
        """
        exact = torch.float32 if device.type == "mps" else torch.float64
        waves = sent(windows, device).to(exact)
        window = torch.hann_window(self.frame, dtype=exact, device=device)
        waves = torch.stft(waves, self.frame, self.step, window=window, pad_mode="reflect", return_complex=True)
        bands = torch.as_tensor(self.bands, dtype=exact, device=device)
        energy = bands.T @ (waves.real.square() + waves.imag.square())  # (N, mels, frames)
        decibels = energy.clamp_min(FLOOR).log10().mul(10).float()
        return decibels.transpose(1, 2)[:, None].expand(-1, self.shape[0], -1, -1)


@dataclass(frozen=True)
class Tower:
    """What is known of a model without its weights."""

    files: Files
    config: ClapConfig
    ear: Ear

    @property
    def dimension(self) -> int:
        return int(self.config.projection_dim)

    @property
    def digest(self) -> str:
        """Of weights, configuration, tokenizer, and of what happens to samples; no library's version is in it."""
        return sha256(f"{self.files.digest} {self.ear}".encode()).hexdigest()


def tower(files: Files) -> Tower:
    """The model of these files.

    Raises:
        WrongCheckpoint: its configuration is not one of CLAP.
    """
    try:
        config = _transformers.configuration(ClapConfig, files)
        return Tower(files, config, _ear(files, bool(config.audio_config.enable_fusion)))
    except Exception as error:  # transformers raises nearly anything on a file that is not its own
        raise WrongCheckpoint(f"{files.name}: config.json is none of a CLAP model ({first_line(error)})") from error


def _ear(files: Files, fused: bool) -> Ear:
    """By the feature extractor's file, or the library's own settings where there is none."""
    folder = files.folder
    assert folder is not None
    there = (folder / "preprocessor_config.json").is_file()
    made: Any = (
        ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)
        if there
        else ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc")
    )
    if (made.truncation == "fusion") != fused:
        raise ValueError(f"enable_fusion is {fused}, but preprocessor_config.json says truncation {made.truncation!r}")
    return Ear(
        rate=made.sampling_rate,
        length=made.nb_max_samples,
        frame=made.fft_window_size,
        step=made.hop_length,
        padding=made.padding,
        fused=fused,
        lowest=made.frequency_min,
        highest=made.frequency_max,
        bands=np.asarray(made.mel_filters if fused else made.mel_filters_slaney, np.float32),
    )


def tokenizer(found: Tower) -> Tokenize:
    """The model's own tokenizer.

    Raises:
        MissingWeights, WrongCheckpoint: its files are not in the folder, or not such.
    """
    config = found.config.text_config
    longest = min(LONGEST, config.max_position_embeddings - config.pad_token_id - 1)
    made = _transformers.tokenizer(found.files)

    def tokenize(sentences: Sequence[str]) -> Mapping[str, torch.Tensor]:
        said: Mapping[str, torch.Tensor] = made(
            list(sentences), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        return {key: said[key] for key in ("input_ids", "attention_mask")}

    return tokenize


def network(found: Tower) -> ClapModel:
    """The model with its weights, in float32 on the CPU.

    Raises:
        WrongCheckpoint: the weights cannot be read, or are of another architecture.
    """
    model = ClapModel(found.config)
    weights = tensors(found.files.weights)
    if any(key.startswith("audio_branch.") for key in weights):
        weights = from_laion(weights)
    own = model.state_dict()
    wanted = {key: value for key, value in own.items() if not key.endswith(COUNTED) and "logit_scale" not in key}
    given = {key: value for key, value in weights.items() if key in wanted or key not in own}
    given = {key: value for key, value in given.items() if not key.endswith(COUNTED)}
    spared = {key: value for key, value in own.items() if key not in wanted}
    fill(model, given | spared, found.files.weights, found.files.name)
    return model


RENAMED = (
    (r"^text_branch\.", "text_model."),
    (r"^audio_branch\.", "audio_model.audio_encoder."),
    (r"\.bn0\.", ".batch_norm."),
    (r"(_projection)\.0\.", r"\1.linear1."),
    (r"(_projection)\.2\.", r"\1.linear2."),
)
"""laion_clap's names and transformers'."""
RENAMED_IN_SOUND = (
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.", ".attention.self."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
)


def from_laion(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of laion_clap under transformers' names; query, key and value lie in one there."""
    renamed: dict[str, torch.Tensor] = {}
    for key, value in weights.items():
        if key.startswith(LEFT) or key.endswith("attn_mask"):
            continue
        for before, after in RENAMED + (RENAMED_IN_SOUND if key.startswith("audio_branch.") else ()):
            key = re.sub(before, after, key)
        if ".attention.self.qkv." in key:
            for part, name in zip(value.chunk(3), ("query", "key", "value"), strict=True):
                renamed[key.replace(".qkv.", f".{name}.")] = part
        else:
            renamed[key] = value
    return renamed
