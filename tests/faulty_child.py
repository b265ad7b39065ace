"""A process that indexes while something happens to it.

It is started once, imports what is slow to import, and forks for each request, so that a run costs little more than
its decoder child.  A request is a line of JSON: library, paths, and what is to happen; the answer is one, too.

Every step is counted that a run takes on the disk in the folder `below` which it is asked for, by default the library's
parent: files made, opened to be written, written, synced, renamed and removed, and transactions.  A fault comes at a
step of some number, so that whoever draws the number draws from all the places where something can happen.

kill     at this step, and so many seconds `after` it: the process is killed
power    at this step the current goes, and what the disk had by then is laid out `into` a folder (see `platters`)
full     from this one on of the steps that take room there is none, or `until` another one
decoder  at this order the decoder child is killed, and so many seconds `after` it
clock    steps with the seconds by which the clock is set forward from there on; step 0 is the beginning
meddle   this is done, one of MEDDLING, to the file `meddled` when a decoder child gets `order`
"""

import errno
import json
import math
import os
import resource
import selectors
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from end_to_end import index_child
from faulty import HUNG
from platters import Platter

from indexer import jobs, pipeline, sources
from indexer._child_process import Child
from indexer.events import Committed, Event
from indexer.executors import local as executor
from indexer.policy import Policy
from indexer.run import Run
from indexer.segmenters import surprise
from retriever import processes
from retriever.errors import ReelseekError
from retriever.stores import _ann, local

LIMIT = 120.0  # seconds that a run may take
TAKES_ROOM = frozenset({"make", "write", "sync", "mkdir", "commit"})
MEDDLING: Mapping[str, Callable[[Path], object]] = {
    "truncate": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "grow": lambda path: path.open("ab").write(b"more"),
    "delete": lambda path: path.unlink(),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "other": lambda path: path.with_suffix(".other").replace(path),
}


class Steps:
    """Hears of every step on the disk below a folder just before it is taken, and tells the fault."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.count = self.roomy = 0
        self.faults: list[Callable[[str], None]] = []
        self.synced: list[Callable[[str], None]] = []  # what is told of a path that was synced
        self._inside = threading.local()
        self._guard = threading.RLock()

    def listen(self) -> None:
        sys.addaudithook(self._audited)
        for name, what in (("pwrite", "write"), ("fsync", "sync"), ("fdatasync", "sync")):
            setattr(os, name, self._told(getattr(os, name), what))
        real, steps = sqlite3.connect, self

        class Connection(sqlite3.Connection):
            def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
                if statement == "COMMIT":
                    steps.hear("commit", steps.folder)
                cursor = super().execute(statement, *values)
                if statement == "COMMIT" or statement.startswith("PRAGMA journal_mode"):
                    (how,) = super().execute("PRAGMA synchronous").fetchone()
                    if how >= 2:  # FULL: SQLite has synced its log, and the names of its files
                        for file in Path(steps.folder).rglob("catalog.sqlite*"):
                            steps.settled(str(file))
                            steps.settled(str(file.parent))
                return cursor

        sqlite3.connect = lambda *given, **named: real(*given, factory=Connection, **named)  # type: ignore[assignment]

    def hear(self, what: str, path: str) -> None:
        if not path.startswith(self.folder) or getattr(self._inside, "fault", False):
            return
        self._inside.fault = True
        try:
            with self._guard:
                self.count += 1
                self.roomy += what in TAKES_ROOM
                for fault in self.faults:
                    fault(what)
        finally:
            self._inside.fault = False

    def settled(self, path: str) -> None:
        if path.startswith(self.folder):
            with self._guard:
                for told in self.synced:
                    told(path)

    def _audited(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(given[0], str | os.PathLike) and given[2] & (os.O_WRONLY | os.O_RDWR):
            path = os.path.abspath(given[0])
            self.hear("open" if os.path.exists(path) else "make", path)
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.rename"):
            folder = given[-1] if isinstance(given[-1], int) and event != "os.rename" else -1
            path = os.path.join(place_of(folder), given[0]) if folder >= 0 else os.path.abspath(given[0])
            self.hear(event[3:], path)
        elif event == "os.truncate" and isinstance(given[0], int):
            self.hear("truncate", place_of(given[0]))

    def _told(self, call: Callable[..., Any], what: str) -> Callable[..., Any]:
        def told(file: int, *rest: Any) -> Any:
            self.hear(what, place_of(file))
            done = call(file, *rest)
            if what == "sync":
                self.settled(place_of(file))
            return done

        return told


def place_of(file: int) -> str:
    """Where an open file lies."""
    if sys.platform == "darwin":
        import fcntl

        return fcntl.fcntl(file, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0").decode()
    return os.readlink(f"/proc/self/fd/{file}")


class Clock:
    """Time of day, as somebody sets it."""

    def __init__(self) -> None:
        self.shift = 0.0
        self._time = time.time

    def __call__(self) -> float:
        return self._time() + self.shift

    def install(self) -> None:
        """Everybody of ours who asks for the time of day asks here."""
        real = time.time
        time.time = self
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith(("indexer", "retriever")):
                for name, value in list(vars(module).items()):
                    if value is real:
                        setattr(module, name, self)


def full_disk(what: str) -> None:
    if what == "commit":
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die(after: float) -> None:
    """Now, or from within whatever is done then: nothing of ours runs on an alarm that nobody handles."""
    if after:
        signal.setitimer(signal.ITIMER_REAL, after)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def arm(steps: Steps, library: Path, fault: Mapping[str, Any]) -> None:
    def at(number: int, act: Callable[[], None]) -> None:
        def look(what: str) -> None:
            if steps.count == number:
                act()

        steps.faults.append(look)

    if "kill" in fault:
        at(fault["kill"], lambda: die(fault.get("after", 0.0)))
    if "power" in fault:
        platter = Platter(Path(steps.folder), Path(fault["into"]), fault["seed"])
        steps.synced.append(platter.settle)
        at(fault["power"], lambda: (platter.lay_out(), die(0.0))[0])
    if "full" in fault:
        first, last = fault["full"], fault.get("until", math.inf)

        def full(what: str) -> None:
            if what in TAKES_ROOM and first <= steps.roomy <= last:
                full_disk(what)

        steps.faults.append(full)
    if "clock" in fault:
        clock = Clock()
        clock.install()
        for number, shift in fault["clock"]:
            if number:
                at(number, lambda shift=shift: setattr(clock, "shift", shift))  # type: ignore[misc]
            else:
                clock.shift = shift


def orders(fault: Mapping[str, Any]) -> list[int]:
    """Count what decoder children are told to do, with what comes upon them or their files then."""
    counted, send = [0], Child.send

    def told(self: Child, page: dict[str, Any]) -> None:
        send(self, page)
        counted[0] += 1
        if counted[0] == fault.get("decoder"):
            late = threading.Timer(fault.get("after", 0.0), self.stop)
            late.daemon = True
            late.start()
        if "meddle" in fault and counted[0] == fault["order"]:
            MEDDLING[fault["meddle"]](Path(fault["meddled"]))

    Child.send = told  # type: ignore[method-assign]
    return counted


def carry_out(library: Path, paths: Sequence[Path], fault: Mapping[str, Any], tell: Callable[..., None]) -> None:
    if "temporary" in fault:
        tempfile.tempdir = fault["temporary"]
    steps = Steps(Path(fault.get("below", library.parent)))
    counted = orders(fault)
    arm(steps, library, fault)
    steps.listen()

    def watch(event: Event) -> None:
        if isinstance(event, Committed):
            tell(told=event.path)

    error = ""
    run = None
    encoders = index_child.encoders()
    if slow := fault.get("slow", 0.0):
        seen = encoders.vision["colours"]
        encode = seen.encode_frames
        seen.encode_frames = lambda *given: (time.sleep(slow), encode(*given))[1]  # type: ignore[method-assign]
        executor.BATCH_FRAMES = 1
    try:
        store = local.build(library)
        policy = Policy(tries=fault.get("tries", 3))
        run = Run(
            replace(index_child.RECIPE, **fault.get("recipe", {})),
            encoders,
            store,
            surprise.build(),
            processes.me(),
            watch,
            limit_s=fault.get("limit_s", 20.0),
            policy=policy,
        )
        record = jobs.register(store, json.dumps(fault.get("asked", "all")))
        with jobs.at_work(store, record, run.owner, run.summary) as post:
            run.post = post
            pipeline.index(sources.found(list(paths)), run, executor.build())
        store.close()
    except Exception as raised:  # noqa: BLE001 - the edge of a process
        error = f"{type(raised).__name__}: {raised}"
        if not isinstance(raised, ReelseekError):
            traceback.print_exc()
    tell(
        left=[str(path) for path in run.left] if run else [],
        quarantined=run.summary.quarantined if run else {},
        error=error,
        steps=steps.count,
        roomy=steps.roomy,
        orders=counted[0],
        most_bytes=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10,
    )
    if error:
        raise SystemExit(1)


def forked(request: str) -> dict[str, Any]:
    """One run in a process of its own; what it told, and how it ended."""
    library, paths, fault = json.loads(request)
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reads)
            os.dup2(2, 1)
            for command in fault.get("before", []):
                subprocess.run(command, check=True)

            def tell(**page: Any) -> None:
                os.write(writes, json.dumps(page).encode() + b"\n")

            carry_out(Path(library), [Path(path) for path in paths], fault, tell)
            for command in fault.get("behind", []):
                subprocess.run(command, check=True)
            status = 0
        finally:
            os._exit(status)
    os.close(writes)
    outcome: dict[str, Any] = {"told": []}
    until, rest = time.monotonic() + fault.get("patience", LIMIT), b""
    with selectors.DefaultSelector() as selector:
        selector.register(reads, selectors.EVENT_READ)
        while selector.select(max(0.0, until - time.monotonic())):
            read = os.read(reads, 1 << 16)
            if not read:
                break
            rest += read
        else:
            os.kill(child, signal.SIGKILL)
    os.close(reads)
    for line in rest.splitlines():
        page = json.loads(line)
        if told := page.pop("told", None):
            outcome["told"].append(told)
        outcome |= page
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return outcome | {"code": HUNG if time.monotonic() >= until else code}


def serve() -> None:
    _ann.FLAT_UP_TO = 4  # so that these small libraries have indexes, too
    if find_spec("faiss"):
        import_module("faiss")
    for request in sys.stdin:
        sys.stdout.write(json.dumps(forked(request)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
