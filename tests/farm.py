"""Encoders without weights for actors on a cluster, made there by name, and folders of clips that they index."""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from time import monotonic, sleep
from typing import Any

import fakes
import psutil
from end_to_end.index_child import RECIPE
from libraries import contents

from indexer import jobs, pipeline, sources
from indexer.encoding import Encoders
from indexer.events import Advanced, Event, Summary
from indexer.executors import local as alone
from indexer.making import Making
from indexer.places import Place
from indexer.run import Run
from indexer.segmenters import surprise
from retriever import processes
from retriever.ports import Store
from retriever.stores import local
from retriever.types import Pictures, Times, Tokens


@contextmanager
def by_itself() -> Iterator[None]:
    """One file of tests at a time has a Ray: two would see each other's pictures, and want the same two cores."""
    with (Path(gettempdir()) / "reelseek-tests-ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Hands(fakes.Colours):
    """Colours seen by somebody who is slow, chokes on one colour, or is killed by it."""

    def __init__(self, page: Mapping[str, Any]) -> None:
        super().__init__()
        self.side = page.get("side", self.side)
        self.space = replace(self.space, media_side=page.get("weights", self.space.media_side))
        self._page = page

    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        began = monotonic()
        sleep(self._page.get("slow", 0.0))
        if self._is("chokes", frames):
            raise RuntimeError("no such colour")
        if self._is("dies", frames):
            os.kill(os.getpid(), signal.SIGKILL)
        tokens = super().encode_frames(frames, spans)
        if log := self._page.get("log"):
            with Path(log).open("a") as file:
                file.write(f"{began} {monotonic()} {os.getpid()} {len(os.sched_getaffinity(0))}\n")
        return tokens

    def _is(self, does: str, frames: Pictures) -> bool:
        colour = fakes.COLOURS.get(self._page.get(does, ""))
        return colour is not None and bool((frames[:, 0, 0] == colour).all(axis=1).any())


def encoders(page: Mapping[str, Any]) -> Encoders:
    if page.get("stillborn"):
        os.kill(os.getpid(), signal.SIGKILL)
    return Encoders(
        fakes.HashingSentences(),
        {"colours": Hands(page)},
        {"loudness": fakes.Loudness()},
        {"nospeech": fakes.NoSpeech()},
        {"subtitles": fakes.Subtitles()},
    )


def making(**page: Any) -> Making:
    return Making("farm", "encoders", page)


def actors(kind: str) -> list[psutil.Process]:
    """The actors of one class that a Ray of this process has."""
    return _below(lambda words: words[0].startswith(f"ray::{kind}"))


def _below(wanted: Callable[[list[str]], bool]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if (words := child.cmdline()) and wanted(words):
                found.append(child)
    return found


class Farm:
    """A folder of clips, and libraries that are made of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clips = folder, folder / "clips"
        self.said: list[Event] = []
        self.children: set[psutil.Process] = set()  # of decoders, that the last run was seen to have
        self._open: list[Store] = []

    def store(self, name: str) -> Store:
        self._open.append(local.build(self.folder / name))
        return self._open[-1]

    def index(
        self,
        name: str,
        by: Any,
        at: Callable[[Event], object] = lambda event: None,
        post: Callable[[Store], jobs.Post] | None = None,
        places: Sequence[Place] = (),
        **page: Any,
    ) -> Summary:
        """Index the clips, or what lies at these places, into a library; `at` hears of every event, and `page` says how
        the encoders here are."""

        def watch(event: Event) -> None:
            self.said.append(event)
            self.children |= set(_below(lambda words: "indexer._decoder_child" in words))
            at(event)

        self.said, self.children = [], set()
        store = self.store(name)
        run = Run(
            RECIPE,
            encoders(page),
            store,
            surprise.build(),
            processes.me(),
            watch,
            limit_s=3.0,
            post=post(store) if post else None,
        )
        return pipeline.index(sources.found(places or [self.clips]), run, by)

    def held(self, name: str) -> dict[str, Any]:
        """What a library holds; nothing is begun or leased."""
        store = self.store(name)
        assert store.catalog.staged() == []
        assert store.catalog.leased() == {}
        with store.snapshot() as snapshot:
            found = contents(snapshot)
        found["quarantined"] = {entry.path: entry.reason for entry in store.catalog.quarantined()}
        return found

    def undisturbed(self) -> dict[str, Any]:
        """What the clips give without Ray."""
        self.index("undisturbed", alone.build())
        return self.held("undisturbed")

    def close(self) -> None:
        for store in self._open:
            store.close()


def kept(field: Farm) -> list[tuple[str, float]]:
    """The chapters that the last run brought, by file and end."""
    return [(event.path, event.done) for event in field.said if isinstance(event, Advanced)]


def left_over(field: Farm) -> list[psutil.Process]:
    """Decoder children of the last run that are there after the moment that they take to go."""
    _, alive = psutil.wait_procs(field.children, timeout=60.0)
    return [child for child in alive if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
