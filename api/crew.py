"""Processes that answer questions beside the server: one process of Python computes on one core at a time.

    crew = Crew(settings, 4)
    crew.start()                                   # returns when all of them can answer
    told = crew.ask(query, wanted, first, most)    # from as many threads as there are processes
    crew.close()

Each has the library open, and answers one question at a time; question and answer are lines of JSON on its pipes.  One
that dies is replaced, and its question asked of another; one that says nothing is stopped.  They end with the server,
however that ends, since nobody writes to their pipes any more.
"""

import json
import logging
import os
import select
import selectors
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from threading import Lock
from time import monotonic
from typing import IO, Any

from api.logs import tell
from api.problems import Problem
from api.trails import Passed, Trail, stage
from retriever import errors
from retriever.errors import ReelseekError, StoreUnavailable
from retriever.settings import Settings
from retriever.types import Filter

LOG = logging.getLogger("reelseek.crew")
COMMAND = (sys.executable, "-P", "-m", "api._crew_child")  # -P: what lies in the working folder is not ours
START_S = 120.0
"""Seconds until one has to be able to answer: it reads models."""
ANSWER_S = 60.0
"""Seconds until a question has to be taken, and then until its answer has to be there."""
LEAVE_S = 10.0
"""Seconds that they have to end."""
TRIES = 3
"""Of one question, each by another process: some may have died of something else just before."""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, as `api.answering.told` makes it."""

    document: dict[str, Any]
    lasts: bool  # whether the same question to the same state of the library has the same answer
    generation: str  # of the library when it was answered


class Crew:
    """So many processes over the library that `settings` name."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._settings, self._count = settings, count
        self._free: SimpleQueue[_Hand] = SimpleQueue()
        self._hands: set[_Hand] = set()
        self._guard = Lock()
        self._over = False

    def start(self) -> None:
        """
        Raises:
            ReelseekError: as whoever opens the library; none of them stays.
        """
        try:
            begun = [self._begun() for _ in range(self._count)]
            for hand in begun:
                hand.wait()
                self._free.put(hand)
        except BaseException:
            self.close()
            raise

    def ask(self, query: str, wanted: Mapping[str, Any], first: int, most: int) -> Told:
        """What `api.answering.told` says of this, by whoever is free.

        Raises:
            ReelseekError: as that.
            Problem: those who were asked died of it, or did not answer.
        """
        line = _line({"query": query, "wanted": {**wanted, "where": _jsonable(wanted["where"])}, "span": [first, most]})
        for _ in range(TRIES):
            hand = self._free.get()
            try:
                answer = hand.ask(line)
            except _Silent as error:  # who knows for how long others would be silent
                self._replace(hand, error)
                break
            except _Lost as error:
                self._replace(hand, error)
                continue
            except BaseException as error:  # whoever asks next would hear this answer
                self._replace(hand, error)
                raise
            self._free.put(hand)
            return _read(answer)
        raise Problem(503, "no answer", "whoever was asked died of it, or did not answer in time")

    def close(self) -> None:
        """End them all; nobody is to ask any more."""
        with self._guard:
            self._over, hands = True, list(self._hands)
        for hand in hands:
            hand.leave()
        until = monotonic() + LEAVE_S
        for hand in hands:
            hand.end(max(0.0, until - monotonic()))

    def _begun(self) -> "_Hand":
        hand = _Hand(self._settings, max(1, _cores() // self._count))
        with self._guard:
            self._hands.add(hand)
        return hand

    def _replace(self, lost: "_Hand", why: BaseException) -> None:
        """Another one in the place of one that cannot be asked; it may still be starting when it is asked first."""
        lost.end()
        with self._guard:
            self._hands.discard(lost)
        if self._over:
            return
        told = {"process": lost.process, "reason": lost.fate(why)}
        try:
            self._free.put(self._begun())
        except OSError as error:  # no memory, no files: whoever asks this one tries again to replace it
            tell(LOG, logging.WARNING, "process", state="lacking", **told, error=str(error))
            self._free.put(lost)
        else:
            tell(LOG, logging.WARNING, "process", state="replaced", **told)


class _Lost(Exception):
    """It died."""


class _Silent(_Lost):
    """It says nothing."""


class _Hand:
    """One process."""

    def __init__(self, settings: Settings, cores: int) -> None:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(COMMAND, bufsize=0, stdin=pipe, stdout=pipe, env=environment)
        self._ready = False
        self._said = b""
        with suppress(BrokenPipeError):
            self._say(_line({"settings": asdict(settings), "cores": cores}))

    @property
    def process(self) -> int:
        """Its number."""
        return self._process.pid

    def fate(self, why: BaseException) -> str:
        """What became of one that has ended, of which nobody had an answer, and `why`."""
        code = self._process.returncode
        match why:
            case _Silent():
                return "it did not answer in time"
            case _Lost(__cause__=ReelseekError() as error):
                return f"it could not start: {error}"
            case _Lost() if code is not None and code < 0:
                return f"it was ended by signal {-code}"
            case _Lost():
                return f"it ended by itself, with {code}"
        return f"its answer was not waited for: {type(why).__name__}"

    @property
    def _in(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def wait(self) -> None:
        """Until it can answer.

        Raises:
            ReelseekError: why it cannot.
        """
        if not self._ready:
            try:
                with stage("start"):
                    told = json.loads(self._line(START_S))
            except _Lost as error:
                raise StoreUnavailable("a process that is to answer did not start: see what it says") from error
            if "error" in told:
                raise _error(told)
            self._ready = True

    def ask(self, line: bytes) -> bytes:
        """
        Raises:
            _Lost: there is no answer.
        """
        try:
            self.wait()
            self._say(line)
        except (ReelseekError, BrokenPipeError, ValueError) as error:  # the last: it was ended, and nothing replaced it
            raise _Lost from error
        return self._line(ANSWER_S)

    def _say(self, line: bytes) -> None:
        """A pipe holds less than the longest question, and whoever hangs does not read."""
        with selectors.DefaultSelector() as ready:
            ready.register(self._in, selectors.EVENT_WRITE)
            while line:
                if not ready.select(ANSWER_S):
                    raise _Silent
                line = line[os.write(self._in.fileno(), line[: select.PIPE_BUF]) :]  # so much it takes without waiting

    def _line(self, seconds: float) -> bytes:
        """What it says next."""
        out = self._process.stdout
        assert out is not None
        with selectors.DefaultSelector() as ready:
            ready.register(out, selectors.EVENT_READ)
            while b"\n" not in self._said:
                if not ready.select(seconds):
                    raise _Silent
                block = os.read(out.fileno(), 1 << 20)
                if not block:
                    raise _Lost
                self._said += block
        line, _, self._said = self._said.partition(b"\n")
        return line

    def leave(self) -> None:
        """It ends when it has answered."""
        with suppress(OSError):
            self._in.close()

    def end(self, patience: float = 0.0) -> None:
        """It is no more when this returns; it has so many seconds to see to that itself."""
        self.leave()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=True).encode() + b"\n"


def _jsonable(where: Filter) -> dict[str, Any]:
    return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in asdict(where).items()}


def _read(answer: bytes) -> Told:
    told = json.loads(answer)
    if trail := Trail.here():
        trail.join(told["seconds"], [Passed(*one) for one in told["passed"]])
    if "error" in told:
        raise _error(told)
    return Told(told["document"], told["lasts"], told["generation"])


def _error(told: Mapping[str, str]) -> ReelseekError:
    """An error of ours, as it was raised over there."""
    kind = getattr(errors, told["kind"], ReelseekError)
    made: ReelseekError = kind(told["error"])
    return made
