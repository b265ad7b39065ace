"""Frames as a model of open_clip wants them, in batches on the device.

The library does this picture by picture with PIL, which scales along rows, rounds to whole levels, then along columns.
Here it is the same, so that pixels agree to one level of 255, and in rare places two.  (PIL 13 begins with the columns
where a tall frame is squashed, and gives a few pixels otherwise than before; here they stay.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from encoders._devices import sent
from retriever.types import Pictures

REVISION = "1"
"""Of what happens to pixels here."""
LONG = 8  # times as long as wide: what a frame has beyond is never seen where its middle is cropped
MODES = ("shortest", "longest", "squash")
WAYS = ("bicubic", "bilinear")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What open_clip calls `preprocess_cfg`."""

    size: tuple[int, int]  # height and width that the network takes
    mean: tuple[float, ...]  # a colour, of 0 to 1
    std: tuple[float, ...]
    interpolation: str  # one of WAYS
    mode: str  # one of MODES: which side of a frame is fitted, and the rest cropped or padded; or both, squashed
    fill: int  # level of what is padded

    @classmethod
    def read(cls, table: Mapping[str, Any], size: int | Sequence[int]) -> "Preprocessing":
        """From a configuration; what it does not say is as open_clip has it (CLIP's own).

        Raises:
            ValueError: a value is none that open_clip has.
        """
        height, width = (size, size) if isinstance(size, int) else size
        one = cls(
            size=(height, width),
            mean=_colours(table.get("mean") or (0.48145466, 0.4578275, 0.40821073)),
            std=_colours(table.get("std") or (0.26862954, 0.26130258, 0.27577711)),
            interpolation="bilinear" if table.get("interpolation") == "bilinear" else "bicubic",
            mode=table.get("resize_mode") or "shortest",
            fill=int(table.get("fill_color") or 0),
        )
        if one.mode not in MODES:
            raise ValueError(f"resize_mode is {one.mode!r}, wanted one of {', '.join(MODES)}")
        return one

    def __str__(self) -> str:
        height, width = self.size
        levels = ",".join(f"{value:g}" for value in (*self.mean, *self.std, self.fill))
        return f"{self.mode}{height}x{width}-{self.interpolation}-{levels}-{REVISION}"

    def pixels(self, frames: Pictures, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Frames `(N, H, W, 3)` as `(N, 3, h, w)`, channels last in memory."""
        pictures = sent(frames, device).permute(0, 3, 1, 2)
        if self.mode == "shortest":
            pictures = _cropped(pictures, *(LONG * min(pictures.shape[-2:]),) * 2)
        pictures = scaled(pictures, *self._fitted(*pictures.shape[-2:]), self._way)
        pictures = _cropped(_padded(pictures, *self.size, self.fill), *self.size)
        mean = torch.tensor(self.mean, device=device).view(3, 1, 1)
        std = torch.tensor(self.std, device=device).view(3, 1, 1)
        return pictures.float().mul_(1 / (255 * std)).sub_(mean / std).to(dtype)

    @property
    def _way(self) -> str:
        """open_clip forgets what was asked for where it fits the shorter side to what is no square."""
        return "bicubic" if self.mode == "shortest" and self.size[0] != self.size[1] else self.interpolation

    def _fitted(self, height: int, width: int) -> tuple[int, int]:
        """The size that a frame is scaled to; rounded as the library rounds."""
        wanted_height, wanted_width = self.size
        if self.mode == "squash":
            return self.size
        if self.mode == "shortest" and wanted_height == wanted_width:
            if height < width:
                return wanted_height, int(wanted_height * width / height)
            return int(wanted_width * height / width), wanted_width
        ratios = height / wanted_height, width / wanted_width
        ratio = max(ratios) if self.mode == "longest" else min(ratios)
        return max(1, round(height / ratio)), max(1, round(width / ratio))


def scaled(pictures: torch.Tensor, height: int, width: int, way: str) -> torch.Tensor:
    """Pictures `(N, 3, H, W)` of whole levels at another size, with antialiasing."""
    if pictures.shape[-2:] == (height, width):
        return pictures
    if pictures.device.type == "cpu":  # torch calculates there in whole levels, as PIL does
        return F.interpolate(pictures, (height, width), mode=way, antialias=True)
    return by_axes(pictures, height, width, way)


def by_axes(pictures: torch.Tensor, height: int, width: int, way: str) -> torch.Tensor:
    """The same in float32, for devices where torch does not scale whole levels."""
    pictures = pictures.float()
    for size in ((pictures.shape[-2], width), (height, width)):
        if pictures.shape[-2:] != size:
            pictures = F.interpolate(pictures, size, mode=way, antialias=True).round_().clamp_(0, 255)
    return pictures


def _padded(pictures: torch.Tensor, height: int, width: int, fill: int) -> torch.Tensor:
    """At least so large, the pictures in the middle."""
    more_height, more_width = (max(0, height - pictures.shape[-2]), max(0, width - pictures.shape[-1]))
    if not (more_height or more_width):
        return pictures
    sides = (more_width // 2, (more_width + 1) // 2, more_height // 2, (more_height + 1) // 2)
    return F.pad(pictures, sides, value=fill)


def _cropped(pictures: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """At most so large: the middle."""
    top = round(max(0, pictures.shape[-2] - height) / 2)
    left = round(max(0, pictures.shape[-1] - width) / 2)
    return pictures[..., top : top + height, left : left + width]


def _colours(values: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(values) if isinstance(values, Sequence) else (float(values),) * 3
