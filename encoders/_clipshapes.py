"""What the shapes of OpenAI's CLIP, and of those that were made of it, say of a model's sizes."""

import re
from collections.abc import Mapping
from math import isqrt

import torch

HEAD_WIDTH = 64
"""Numbers of an attention head, in every CLIP that OpenAI published."""


def heads_of(width: int) -> int:
    """
    Raises:
        ValueError: a tower so wide has no whole number of heads.
    """
    if width % HEAD_WIDTH:
        raise ValueError(f"a width of {width} is no multiple of {HEAD_WIDTH}")
    return width // HEAD_WIDTH


def layers_of(weights: Mapping[str, torch.Tensor], place: str) -> int:
    """How many there are in the transformer whose weights begin with `place`."""
    found = re.compile(rf"{re.escape(place)}resblocks\.\d+\.ln_1\.weight")
    return len([name for name in weights if found.fullmatch(name)])


def along(patches: int) -> int:
    """Patches on a side of a picture that has so many.

    Raises:
        ValueError: they are no square.
    """
    side = isqrt(max(0, patches))
    if not side or side * side != patches:
        raise ValueError(f"{patches} patches are no square")
    return side
