"""How relevant every second of a media is, as a few small inline SVGs: a lane a modality, the moment marked.

Heights are logarithms of odds.  A dashed line is the level that the best answer to a question without an answer has in
the middle: what stays below it may be chance.  A lane is empty a few steps below that, and full at the highest point of
all lanes of all media of the answer: so lanes can be compared.
"""

from collections.abc import Mapping

import numpy as np

from api.show import PERCEIVED
from retriever.moments import Curve
from retriever.relevance import Relevance
from retriever.types import Floats, MediaKind, Modality, Moment, clock

CELLS = 240
"""Points of a lane at most: a screen shows no more."""
HIGH = 24
BELOW, ABOVE = 3.0, 1.0
"""Of the odds: what a lane shows below the level of chance, and above it at least.  With less noise looks like
mountains."""


def top_of(strips: Mapping[str, Relevance]) -> float:
    """Where lanes are full, for all media of an answer."""
    return max((max(one.peak, one.chance + ABOVE) for one in strips.values()), default=0.0)


def drawn(moment: Moment, strip: Relevance | None, top: float) -> str:
    """HTML; nothing for a still, and where nothing is known."""
    if strip is None or not strip.curves or moment.media.kind is MediaKind.IMAGE:
        return ""
    length = max(moment.media.duration, moment.end_s)
    lanes = "".join(
        _lane(modality, strip.curves[modality], strip.chance, top, length)
        for modality in Modality
        if modality in strip.curves
    )
    left, width = _share(moment.start_s, length), _share(moment.span.length, length)
    here = f'<i class="here" style="--from:{left:.2f};--long:{width:.2f}"></i>'
    axis = f"<span>{clock(0)}</span><span>relevance over time</span><span>{clock(length)}</span>"
    return f'<div class="strip"><div class="lanes">{lanes}{here}</div><div class="axis">{axis}</div></div>'


def _lane(modality: Modality, curve: Curve, chance: float, top: float, length: float) -> str:
    floor = chance - BELOW
    levels = lane(curve, floor, top, length)
    line = HIGH * (1 - BELOW / (top - floor))
    name = PERCEIVED[modality]
    best = int(np.argmax(curve.heights))
    sure = "" if curve.heights[best] > chance else ", no more than chance"
    told = f"{name}: most relevant at {clock(float(curve.edges[best]))}{sure}"
    return (
        f'<div class="lane {modality}"><span>{name}</span><svg viewBox="0 0 {len(levels)} {HIGH}" '
        f'preserveAspectRatio="none" role="img" aria-label="{told}"><path d="{_outline(levels)}"/>'
        f'<path class="chance" d="M0 {line:.1f}H{len(levels)}"/></svg></div>'
    )


def lane(curve: Curve, floor: float, top: float, length: float) -> Floats:
    """`(CELLS,)` or less: how full a lane is, from 0 to 1, over cells of equal length; of each the highest point."""
    count = max(1, min(CELLS, round(length / 0.1)))
    edges = np.linspace(0, length, count + 1)
    levels = np.full(count, -np.inf)
    first = np.clip(np.searchsorted(edges, curve.edges[:-1], "right") - 1, 0, count - 1)
    last = np.clip(np.searchsorted(edges, curve.edges[1:], "left"), 1, count)
    for start, end, height in zip(first.tolist(), last.tolist(), curve.heights.tolist(), strict=True):
        levels[start : max(end, start + 1)] = np.maximum(levels[start : max(end, start + 1)], height)
    shares: Floats = np.clip((levels - floor) / (top - floor), 0, 1).astype(np.float32)
    return shares


def _outline(levels: Floats) -> str:
    """Steps from the ground up, as an SVG path."""
    heights = [round(HIGH * (1 - level), 1) for level in levels.tolist()]
    path, shown = [f"M0 {HIGH}"], None
    for place, height in enumerate(heights):
        if height != shown:
            path.append(f"H{place}V{height:g}")
            shown = height
    return "".join([*path, f"H{len(heights)}V{HIGH}Z"])


def _share(seconds: float, length: float) -> float:
    return 100 * seconds / length
