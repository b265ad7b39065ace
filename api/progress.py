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

    files: int = 0  # to be worked on, as far as is known
    more: bool = False  # whether others may come
    looked_at: str = ""  # how many files were looked at, of how many
    told_at: int = 0  # how many were when a line last told of it
    done: int = 0
    frames: int = 0
    media_seconds: float = 0.0
    began: float = field(default_factory=monotonic)
    behind: dict[str, float] = field(default_factory=dict)  # open file → seconds of it behind us
    lengths: dict[str, float] = field(default_factory=dict)  # open file → seconds it has

    def count(self, event: Event) -> None:
        match event:
            case Planned(files=files, looked=looked, total=total, more=more):
                if not self.more:  # the first of its pass
                    self.began, self.done, self.told_at = monotonic(), 0, 0
                self.files, self.more = files, more
                self.looked_at = f"{looked:,} of {counted(total, 'file')} looked at"
            case Opened(path=path, duration=duration):
                self.lengths[path], self.behind[path] = duration, 0.0
            case Advanced(path=path, done=done, frames=frames):
                self.media_seconds += max(0.0, done - self.behind.get(path, 0.0))
                self.frames += frames
                self.behind[path] = done
            case Committed(path=path) | SetAside(path=path):
                self.done += not isinstance(event, SetAside) or event.planned
                self.behind.pop(path, None)
                self.lengths.pop(path, None)

    @property
    def of(self) -> str:
        """What is done of how many."""
        return f"{self.done:,} of {self.files:,} so far" if self.more else f"{self.done}/{self.files}"

    def tells(self, event: Planned) -> bool:
        """Whether people are told of what was looked at so far: when it is twice as much as the last time."""
        if tells := event.more and event.looked >= 2 * self.told_at:
            self.told_at = event.looked
        return tells

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
    of = f"[{tally.of}] " if tally.files else ""
    match event:
        case Planned(files=files, unchanged=unchanged, renamed=renamed, more=more):
            if more and not tally.tells(event):
                return ""
            begun = f"{tally.looked_at} so far: " if more else ""
            parts = [f"{files:,} to {work.do}" if more else counted(files, "file") + f" to {work.do}"]
            parts += [f"{unchanged:,} unchanged", *([f"{renamed:,} renamed"] if renamed else [])]
            return begun + ", ".join(parts)
        case Committed(path=path):
            return f"{of}{paint.green(work.done)} {near(path)}"
        case SetAside(path=path, reason=reason, planned=planned):
            return f"{of if planned else ''}{paint.red(work.aside)} {near(path)}: {plain(_once(path, reason))}"
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
            case Planned(files=files, more=more):
                self.shown.update(self._corpus, total=None if more else max(files, 1))
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
        files = f"{tally.of}, {tally.looked_at}" if tally.more else f"{tally.of} files"
        return f"{files} · {tally.frames:,} frames · {tally.times_realtime:.1f}× realtime"

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
            f"{counted(summary.indexed.total, 'file')} {work.done} ({clock(summary.media_seconds)} of media, "
            f"{summary.frames:,} frames) in {summary.wall_seconds:.1f} s, {speed:.1f}× realtime"
        )
    elif not (summary.quarantined.total or summary.renamed or summary.pruned or summary.stopped):
        lines.append("nothing new" if summary.unchanged else "no media files there")
    if summary.stage_seconds:
        lines.append("  " + ", ".join(f"{stage} {spent:.1f} s" for stage, spent in summary.stage_seconds.items()))
    if summary.load.slowest:
        lines.append("  " + pace(summary.load))
    others = [f"{summary.unchanged:,} unchanged"] if summary.unchanged else []
    others += [f"{summary.renamed.total:,} renamed"] if summary.renamed else []
    others += [f"{summary.pruned.total:,} pruned"] if summary.pruned else []
    if others:
        lines.append("  " + ", ".join(others))
    if aside := summary.quarantined.total:
        lines.append(f"{counted(aside, 'file')} {work.aside}:")
        lines += [f"  {near(path)}: {plain(reason)}" for path, reason in summary.quarantined.items()]
        lines += [f"  and {aside - len(summary.quarantined):,} more"] if aside > len(summary.quarantined) else []
    if summary.stopped is Wish.PAUSE:
        lines.append(f"job {summary.job} is paused: reelseek jobs resume {summary.job} goes on where it stopped")
    elif summary.stopped is Wish.CANCEL:
        lines.append(f"job {summary.job} was cancelled: what was committed stays, what it had begun is gone")
    return lines
