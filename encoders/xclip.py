"""Clips and sentences in one space: X-CLIP, whose frames tell one another what they see (Ni et al., ECCV 2022).

    xclip = build("hf-hub:microsoft/xclip-base-patch32")    # pulled before with `reelseek models pull`
    xclip = build("k400_32_8.pth")                          # or the authors' file
    xclip.encode_clips([stretch]); xclip.texts.encode(["somebody dances"])

Theirs (§3.2; models/cct.py and mit.py of microsoft/VideoX): in every layer a frame makes a message of its class token,
the messages of T frames attend to each other, and each frame has its own beside its patches while these attend.  What
T frames have become goes through a small transformer with places in time, and its mean is the clip.

Ours: the two halves need not see the same frames.  Messages want pixels and are most of the work, so a stretch is cut
into groups of T neighbours on a grid of 8 s / T, and each frame on it is encoded once, in its group.  The small
transformer wants only what the frames became, which is kept: it runs over the T neighbours around the two seconds of
every token, across groups where they lie so, at next to no cost.  A window that is a group gives exactly the authors'
clip; any other is of frames that have heard from those of their own group.

A text is encoded without the video-specific prompts of §3.3: with them it would be another vector for every video.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from encoders import _xclip
from encoders._clips import LENGTH, Clips, ClipTowers, Cut, shown
from encoders._devices import Batches, device_of, dtype_of, sent
from encoders._models import locate
from encoders._texts import Texts
from encoders._xclip import Tokenize, Tower
from retriever.types import Floats, Ids, Matrix, Modality, Stretch, Times

MODALITY = Modality.VISION
KIND = "clips and texts"
NAME = "xclip"


@dataclass(frozen=True, slots=True)
class Grid:
    """The frames of one stretch that are encoded, and where each window finds its own among them."""

    frames: Ids  # (G, T) frames of each group, in order of time
    group: Ids  # (W, T) of each frame of each window
    place: Ids  # (W, T) and which of its group it is


def grid(spans: Times, windows: Times, count: int) -> Grid:
    """A stretch whose frames are on show during `spans` `(N, 2)`, for `windows` `(W, 2)` in it.

    The grid is the media's own, so the same seconds give the same frames wherever a stretch begins.  The last group is
    moved back until it is full; frames that two groups have then are taken from the one that is nearer to the window.
    A stretch with fewer than `count` places on the grid is one group at equal steps.
    """
    if not len(spans):
        nothing = np.zeros((0, count), np.int64)
        return Grid(nothing, nothing, nothing)
    step = LENGTH / count
    start, end = float(spans[0, 0]), float(spans[-1, 1])
    earliest, beyond = _at_or_after(np.array([start, end]), step)
    numbers = np.arange(earliest, beyond)
    if len(numbers) < count:
        times = start + (np.arange(count) + 0.5) * (end - start) / count
        begins = np.zeros(len(windows), np.int64)
    else:
        times = (numbers + 0.5) * step
        begins = (_at_or_after(windows[:, 0], step) - numbers[0]).clip(0, len(times) - count)
    first = np.minimum(np.arange(0, len(times), count), len(times) - count)  # (G,) of each group, on the grid
    wanted = begins[:, None] + np.arange(count)  # (W, T) places on the grid
    group, last = wanted // count, len(first) - 1
    nearer = np.abs(first[last] - begins)[:, None] < np.abs(first[group] - begins[:, None])
    group = np.where((wanted >= first[last]) & nearer, last, group)
    return Grid(shown(spans, times)[first[:, None] + np.arange(count)], group, wanted - first[group])


def _at_or_after(times: Times, step: float) -> Ids:
    """The first place on the grid, which is in the middle of every `step`, that is not before these times."""
    places: Ids = np.ceil(times / step - 0.5).astype(np.int64)
    return places


class XClipTowers(ClipTowers):
    """Both towers of an X-CLIP."""

    def __init__(self, tower: Tower, device: torch.device, dtype: torch.dtype, runtime: str = "auto") -> None:
        super().__init__(
            tower.files.name, tower.preprocessing, tower.frames, device, dtype, runtime=runtime, digest=tower.digest
        )
        self.tower = tower
        self.light = Batches(device)  # of windows, which need not be as few as groups of pictures

    def read_network(self) -> torch.nn.Module:
        network: torch.nn.Module = _xclip.network(self.tower)
        return network

    def read_tokenizer(self) -> Tokenize:
        return _xclip.tokenizer(self.tower)

    def media_tower(self, network: Any) -> torch.nn.Module:
        return Sight(network)

    def drop_media_tower(self, network: Any) -> None:
        network.vision_model = network.visual_projection = None

    def see(self, stretches: Sequence[Stretch], cuts: Sequence[Cut]) -> list[Matrix]:
        """Each stretch's clips as rows `(W, D)`, of the length that the network gives them.

        Groups of several stretches share batches, and one that shows the same frames as another is encoded once.
        """
        grids = [grid(one.spans, cut.windows, self.frames) for one, cut in zip(stretches, cuts, strict=True)]
        groups = super().see(stretches, [replace(cut, frames=one.frames) for cut, one in zip(cuts, grids, strict=True)])
        shape = (-1, self.frames, self.tower.dimension)
        windows = [rows.reshape(shape)[one.group, one.place] for rows, one in zip(groups, grids, strict=True)]
        ends = np.cumsum([len(few) for few in windows])
        return np.split(self.joined(np.concatenate(windows)), ends[:-1]) if windows else []

    def joined(self, windows: Floats) -> Matrix:
        """The integration transformer over what frames became, `(W, T, D)`, as `(W, D)`."""
        if not len(windows):
            return np.zeros((0, self.tower.dimension), np.float32)
        with self._lock:
            network: Any = self._read()
            join = network.mit
        return self._finite(
            # by its place: transformers 4 gives a plain tuple here
            self.light.run(len(windows), lambda few: join(sent(windows[few], self.device).to(self.own))[1])
        )

    def read(self, sentences: list[str]) -> Matrix:
        """Sentences as rows `(N, D)`."""
        model, tokenize = self.language()
        tokens = tokenize(sentences).numpy()

        def forward(few: slice) -> torch.Tensor:
            rows: torch.Tensor = model.text_projection(
                model.text_model(input_ids=sent(tokens[few], self.device)).pooler_output
            )
            return rows

        return self.text_rows(len(tokens), forward)


class Sight(torch.nn.Module):
    """What T frames become that tell one another what they see: `(N, T, 3, h, w)` → `(N, T · D)`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tower, self.projection = model.vision_model, model.visual_projection
        self.tower.loss_type = "ForCausalLM"  # tracing asks for every property, and this one warns where it is not set

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        seen = self.tower(pixel_values=pixels.flatten(0, 1)).pooler_output
        rows: torch.Tensor = self.projection(seen)
        return rows.reshape(pixels.shape[0], -1)


def build(
    model: str, checkpoint: str = "", *, device: str = "auto", precision: str = "auto", runtime: str = "auto"
) -> Clips:
    """The encoder of clips and sentences.

    Args:
        model, checkpoint: see `encoders._models.locate`; either may be the authors' file.
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, fp32, bf16 or fp16.
        runtime: auto, torch, compile or openvino.

    Raises:
        UnknownModel, MissingWeights, AlteredWeights, WrongCheckpoint, DeviceError: as their names say.
    """
    place = device_of(device)
    tower = _xclip.tower(locate("xclip", model, checkpoint))
    towers = XClipTowers(tower, place, dtype_of(precision, place), runtime)
    return Clips(NAME, towers, Texts(NAME, tower.digest, tower.dimension, towers.read), tower.digest)
