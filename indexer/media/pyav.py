"""Reads any video, sound or picture that FFmpeg reads, through PyAV: the default."""

from collections.abc import Iterator
from contextlib import contextmanager

from indexer.media._footage import Footage
from indexer.media._listening import listen
from indexer.media._probing import probed
from indexer.places import Place
from indexer.ports import Frame, Needed, Probe
from retriever.types import Floats, MediaKind, Times


class PyavMedia:
    """One open file.  Each pass over it reads it anew: what one pass learnt or broke is nothing to the next."""

    def __init__(self, path: Place, probe: Probe) -> None:
        self.path = path
        self.probe = probe
        self._footage = Footage(path, still=probe.kind is MediaKind.IMAGE)

    def frames(self, start: float = 0.0, needed: Needed | None = None, keys: bool = False) -> Iterator[Frame]:
        found = self._footage.keyframes(start, self.probe.duration, needed) if keys else None
        return self._footage.walk(start, needed) if found is None else found

    def frames_at(self, times: Times) -> Iterator[Frame]:
        return self._footage.at(times)

    def sound(self, rate: int, start: float = 0.0) -> Iterator[Floats]:
        return listen(self.path, rate, start)


class PyavReader:
    """A `Reader` of everything."""

    reads = frozenset(MediaKind)
    random_access = True

    @contextmanager
    def open(self, path: Place) -> Iterator[PyavMedia]:
        yield PyavMedia(path, probed(path))


def build() -> PyavReader:
    return PyavReader()
