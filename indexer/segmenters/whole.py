"""One segment, as long as its media."""

from collections.abc import Mapping

from indexer.ports import Segmenter
from retriever.types import TimeSpan, Tokens


class Whole:
    """Cuts nothing."""

    def segment(self, duration: float, tokens: Mapping[str, Tokens]) -> list[TimeSpan]:
        return [TimeSpan(0.0, duration)]


def build() -> Segmenter:
    return Whole()
