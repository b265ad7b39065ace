"""What people see of an indexing run, on stderr: two levels of bars on a terminal, else a line a file."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TextIO

from api.terminal import Paint, counted, near, plain
from indexer.events import Advanced, Committed, Event, Load, Opened, Planned, SetAside, Summary, Warned, Watch
from retriever.types import Wish, clock

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

NAME_WIDTH = 28


@dataclass(frozen=True, slots=True)
class Work:
    """What a run does with files, in words."""

    do: str
    done: str
    aside: str  # if it cannot


INDEX = Work("index", "indexed", "set aside")
EMBED = Work("embed", "embedded", "failed")


@contextmanager
def watching(stream: TextIO | None = None, work: Work = INDEX) -> Iterator[Watch]:
    """A watcher that fits `stream` (stderr): bars for people, plain lines for logs."""
    target = stream or sys.stderr
    if not target.isatty() or os.environ.get("TERM") == "dumb":
        yield Lines(target, work)
        return
    bars = Bars.on(target, work)
    with bars.shown:
        yield bars


@dataclass(slots=True)
class Tally:
    """What a run has behind it."""

    files: int = 0
    done: int = 0
    frames: int = 0
    media_seconds: float = 0.0
    began: float = field(default_factory=monotonic)
    behind: dict[str, float] = field(default_factory=dict)  # open file → seconds of it behind us
    lengths: dict[str, float] = field(default_factory=dict)  # open file → seconds it has

    def count(self, event: Event) -> None:
        match event:
            case Planned(files=files):  # what was set aside before is none of these
                self.files, self.began, self.done = files, monotonic(), 0
            case Opened(path=path, duration=duration):
                self.lengths[path], self.behind[path] = duration, 0.0
            case Advanced(path=path, done=done, frames=frames):
                self.media_seconds += max(0.0, done - self.behind.get(path, 0.0))
                self.frames += frames
                self.behind[path] = done
            case Committed(path=path) | SetAside(path=path):
                self.done += 1
                self.behind.pop(path, None)
                self.lengths.pop(path, None)

    @property
    def times_realtime(self) -> float:
        """Seconds of media a second of ours."""
        return self.media_seconds / max(monotonic() - self.began, 1e-3)

    @property
    def files_done(self) -> float:
        """Whole files and the parts of open ones."""
        parts = (min(1.0, done / self.lengths[path]) for path, done in self.behind.items() if self.lengths.get(path))
        return self.done + sum(parts)


def shortened(path: str, width: int = NAME_WIDTH) -> str:
    """The file's name, its middle left out where it is too long."""
    name = plain(Path(path).name)
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


class Lines:
    """A line a file: for logs and pipes."""

    def __init__(self, stream: TextIO, work: Work) -> None:
        self._stream, self._tally, self._work = stream, Tally(), work

    def __call__(self, event: Event) -> None:
        self._tally.count(event)
        line = told(event, Paint(False), self._tally, self._work)
        if line:
            self._stream.write(line + "\n")
            self._stream.flush()


def told(event: Event, paint: Paint, tally: Tally, work: Work) -> str:
    """The line that stays of an event; most have none."""
    of = f"[{tally.done}/{tally.files}] " if tally.files else ""
    match event:
        case Planned(files=files, unchanged=unchanged, renamed=renamed):
            parts = [counted(files, "file") + f" to {work.do}", f"{unchanged:,} unchanged"]
            return ", ".join(parts + ([f"{renamed:,} renamed"] if renamed else []))
        case Committed(path=path):
            return f"{of}{paint.green(work.done)} {near(path)}"
        case SetAside(path=path, reason=reason):
            return f"{of}{paint.red(work.aside)} {near(path)}: {plain(_once(path, reason))}"
        case Warned(message=message):
            return f"{paint.marked('note')}: {plain(message)}" if paint.on else f"note: {plain(message)}"
    return ""


def _once(path: str, reason: str) -> str:
    """Without the path that it begins with, which stands before it."""
    return reason.removeprefix(path).lstrip(": ") if reason.startswith((f"{path} ", f"{path}: ")) else reason


class Bars:
    """A bar for the corpus and one for each open file."""

    def __init__(self, shown: "Progress", paint: Paint, work: Work) -> None:
        self.shown = shown
        self._paint, self._tally, self._work = paint, Tally(), work
        self._open: dict[str, TaskID] = {}
        self._corpus = shown.add_task("all files", total=None, note="")

    @classmethod
    def on(cls, stream: TextIO, work: Work) -> "Bars":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        shown = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(),
            console=Console(file=stream),
            expand=True,
            transient=True,
        )
        return cls(shown, Paint.for_stream(stream), work)

    def __call__(self, event: Event) -> None:
        self._tally.count(event)
        self._say(event)
        match event:
            case Planned(files=files):
                self.shown.update(self._corpus, total=max(files, 1))
            case Opened(path=path, duration=duration):
                self._open[path] = self.shown.add_task(f"  {shortened(path)}", total=duration, note="")
            case Advanced(path=path, done=done) if path in self._open:
                length = self._tally.lengths.get(path, done)
                self.shown.update(self._open[path], completed=done, note=f"{clock(done)} of {clock(length)}")
            case Committed(path=path) | SetAside(path=path) if path in self._open:
                self.shown.remove_task(self._open.pop(path))
        self.shown.update(self._corpus, completed=self._tally.files_done, note=self._note())

    def _note(self) -> str:
        tally = self._tally
        return f"{tally.done}/{tally.files} files · {tally.frames:,} frames · {tally.times_realtime:.1f}× realtime"

    def _say(self, event: Event) -> None:
        line = told(event, self._paint, self._tally, self._work)
        if line:
            from rich.text import Text

            self.shown.console.print(Text.from_ansi(line), soft_wrap=True)


def pace(load: Load) -> str:
    """Who set the pace of a run, and who waited for them."""
    waits = []
    for name, crew in load.crews.items():
        what = max(crew.waited, key=lambda what: crew.waited[what], default="")
        waits.append(f"{name} {100 * crew.idle:.0f} %" + (f" for {what}" if what else ""))
    ready = load.depths.get("chapters ready")
    depth = f"; {ready.mean:.1f} chapters were ready on average, {ready.largest:.0f} at most" if ready else ""
    return f"the {load.slowest} set the pace; waited: {', '.join(waits)}{depth}"


def closing(summary: Summary, work: Work = INDEX) -> list[str]:
    """The last lines of a run: what was done, how quickly, and every file that was set aside with its reason."""
    lines = []
    if summary.indexed:
        speed = summary.media_seconds / max(summary.wall_seconds, 1e-3)
        lines.append(
            f"{counted(len(summary.indexed), 'file')} {work.done} ({clock(summary.media_seconds)} of media, "
            f"{summary.frames:,} frames) in {summary.wall_seconds:.1f} s, {speed:.1f}× realtime"
        )
    elif not (summary.quarantined or summary.renamed or summary.pruned or summary.stopped):
        lines.append("nothing new" if summary.unchanged else "no media files there")
    if summary.stage_seconds:
        lines.append("  " + ", ".join(f"{stage} {spent:.1f} s" for stage, spent in summary.stage_seconds.items()))
    if summary.load.slowest:
        lines.append("  " + pace(summary.load))
    others = [f"{summary.unchanged:,} unchanged"] if summary.unchanged else []
    others += [f"{len(summary.renamed):,} renamed"] if summary.renamed else []
    others += [f"{len(summary.pruned):,} pruned"] if summary.pruned else []
    if others:
        lines.append("  " + ", ".join(others))
    if summary.quarantined:
        lines.append(f"{counted(len(summary.quarantined), 'file')} {work.aside}:")
        lines += [f"  {near(path)}: {plain(reason)}" for path, reason in summary.quarantined.items()]
    if summary.stopped is Wish.PAUSE:
        lines.append(f"job {summary.job} is paused: reelseek jobs resume {summary.job} goes on where it stopped")
    elif summary.stopped is Wish.CANCEL:
        lines.append(f"job {summary.job} was cancelled: what was committed stays, what it had begun is gone")
    return lines
