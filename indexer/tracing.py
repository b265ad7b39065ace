"""What a run does, moment by moment: always summed up, and written down where somebody wants to look at it.

    with tracing.kept(Path("run.json")) as trace:
        with trace.span("store", "commit", file=name):
            ...

The file is a JSON array of Chrome's trace events ("Trace Event Format"), which chrome://tracing and Perfetto open: a
track for each who works, and curves of what waits.  Each event is one write, so a run that is killed leaves a file
that opens too; only the closing bracket is missing.  All times are those of one process's monotonic clock.
"""

import json
import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

from indexer.events import Depth, Load
from retriever.errors import BadSettings

MOST = 1_000_000
"""Events a file: about 150 MB, which a browser still opens."""
LEAST = 0.001
"""Seconds that a wait must take to be written down."""
STEP = 0.02
"""Seconds between two points of a curve that are written down."""
SAMPLE = 1.0
"""Seconds between two looks at how much memory there is in use."""
_START = b"[\n"


class Trace:
    """Takes events from any thread.  Without a file it only adds up."""

    def __init__(self, file: FileIO | None = None) -> None:
        self.load = Load()
        self._file = file
        self._began = monotonic()
        self._guard = Lock()
        self._tracks: dict[str, int] = {}
        self._levels: dict[str, tuple[float, float]] = {}  # name → value, and since when
        self._drawn: dict[str, float] = {}  # name → when a point of its curve was last written
        self._written = 0
        self._sampled = -SAMPLE
        self.failed = ""  # why nothing is written any more
        self._write({"name": "process_name", "ph": "M", "args": {"name": "reelseek index"}})

    @contextmanager
    def span(self, track: str, name: str, **said: object) -> Iterator[None]:
        """Whatever happens inside, as a bar on a track."""
        began = monotonic()
        try:
            yield
        finally:
            self.spent(track, name, began, monotonic(), **said)

    def spent(self, track: str, name: str, began: float, ended: float, **said: object) -> None:
        """The same for what is over, `began` and `ended` by `time.monotonic`."""
        if self._file is None:
            return
        with self._guard:
            self._write(
                {
                    "name": name,
                    "ph": "X",
                    "ts": self._at(began),
                    "dur": max(0, round((ended - began) * 1e6)),
                    "tid": self._track(track),
                    **({"args": said} if said else {}),
                }
            )

    def waited(self, crew: str, what: str, began: float, ended: float, track: str = "") -> None:
        """One of a crew had nothing to do for want of something; `track` is whose, if not the crew's."""
        with self._guard:
            waits = self.load.crew(crew).waited
            waits[what] = waits.get(what, 0.0) + max(0.0, ended - began)
        if ended - began >= LEAST:
            self.spent(track or crew, f"waits for {what}", began, ended)

    def on_duty(self, crew: str, seconds: float) -> None:
        """A crew could have worked for so many seconds, all of its members together."""
        with self._guard:
            self.load.crew(crew).seconds += seconds

    def change(self, name: str, by: float) -> None:
        """So many more of something wait."""
        with self._guard:
            self._level(name, self._levels.get(name, (0.0, 0.0))[0] + by)

    def level(self, name: str, value: float) -> None:
        """So many of something there are."""
        with self._guard:
            self._level(name, value)

    def memory(self, others: Iterable[int | None]) -> None:
        """Look, now and then, how many bytes this process and these others hold."""
        if monotonic() - self._sampled < SAMPLE:
            return
        self._sampled = monotonic()
        self.level("bytes of this process", resident_bytes(os.getpid()))
        self.level("bytes of decoders", sum(resident_bytes(pid) for pid in others if pid))

    def settle(self) -> None:
        """Add up to this instant what waits; nothing does afterwards, until somebody says so again."""
        with self._guard:
            for name in list(self._levels):
                self._level(name, 0.0)
            self._levels.clear()

    def close(self) -> None:
        with self._guard:
            if self._file:
                self._put(b"\n]\n")

    def _level(self, name: str, value: float) -> None:
        now = monotonic()
        before, since = self._levels.get(name, (0.0, now))
        self._levels[name] = value, now
        depth = self.load.depths.setdefault(name, Depth())
        depth.largest = max(depth.largest, value)
        depth.seconds += now - since
        depth.area += before * (now - since)
        if self._file and now - self._drawn.get(name, 0.0) >= STEP:
            self._drawn[name] = now
            self._write({"name": name, "ph": "C", "ts": self._at(now), "args": {"value": value}})

    def _track(self, name: str) -> int:
        if name not in self._tracks:
            self._tracks[name] = number = len(self._tracks) + 1
            self._write({"name": "thread_name", "ph": "M", "tid": number, "args": {"name": name}})
        return self._tracks[name]

    def _at(self, instant: float) -> int:
        return max(0, round((instant - self._began) * 1e6))  # microseconds

    def _write(self, event: dict[str, Any]) -> None:
        if self._file is None or self._written >= MOST:
            return
        line = json.dumps({"pid": 1, "tid": 0, **event}).encode()
        self._put((b",\n" if self._written else _START) + line)
        self._written += 1

    def _put(self, line: bytes) -> None:
        """No trace is worth a run: what cannot be written is given up."""
        if self._file is None:
            return
        try:
            self._file.write(line)
        except OSError as error:
            self.failed, self._file = f"{self._file.name} ends here: {error.strerror}", None


@contextmanager
def kept(file: Path | None) -> Iterator[Trace]:
    """A trace that is written to `file` as it happens; None: nowhere.

    Raises:
        BadSettings: it cannot be written, or something else than a trace is there.
    """
    if file is None:
        yield Trace()
        return
    with _opened(file) as stream:
        trace = Trace(stream)
        try:
            yield trace
        finally:
            trace.close()


def _opened(file: Path) -> FileIO:
    """Where nothing is, or another trace."""
    try:
        with suppress(FileNotFoundError), file.open("rb") as there:
            if there.read(len(_START) + 1) not in (b"", _START + b"{"):
                raise BadSettings(f"--profile is {file}; that is no trace, and is not written over: name another file")
        return FileIO(file, "w")
    except OSError as error:
        raise BadSettings(
            f"--profile is {file}; it wants a file that can be written ({error.strerror}): name another one"
        ) from error


def resident_bytes(pid: int) -> int:
    """Of a process; 0 where it is gone, or the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0
