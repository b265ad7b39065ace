"""Segments of one length, whatever they show: the baseline that any other segmenter has to beat."""

from collections.abc import Mapping

from indexer.ports import Segmenter
from indexer.segmenters._lengths import SHORTEST
from retriever.types import TimeSpan, Tokens


class Fixed:
    """Cuts every `seconds`; what would be left over and too short belongs to the last segment."""

    def __init__(self, seconds: float) -> None:
        if not seconds >= SHORTEST:
            raise ValueError(f"a segment lasts at least {SHORTEST:g} seconds, got {seconds:g}")
        self._seconds = seconds

    def segment(self, duration: float, tokens: Mapping[str, Tokens]) -> list[TimeSpan]:
        cuts = max(0, int((duration - SHORTEST) / self._seconds))
        edges = [number * self._seconds for number in range(cuts + 1)]
        return [TimeSpan(start, end) for start, end in zip(edges, [*edges[1:], duration], strict=True)]


def build(seconds: float = 10.0) -> Segmenter:
    return Fixed(seconds)
