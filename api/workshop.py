"""The one who carries out jobs while the library is served: one after the other, in a thread of its own.

Jobs lie in the catalog, so one that was begun and not ended is taken up again by whoever serves next.
"""

import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from secrets import token_hex
from threading import Event, Thread
from time import monotonic, sleep, time

from api import heaps, indexing, quotas, strays
from api.deeds import Deeds
from api.indexing import Asked, settled
from api.outfits import Outfit
from api.service import Library
from api.spans import Spans
from indexer import jobs
from indexer.jobs import Standing
from retriever.errors import BadSettings, JobOver, ReelseekError
from retriever.notices import Hook
from retriever.types import RunRecord, RunState, Wish

LOG = logging.getLogger("reelseek.workshop")
LOOK_S = 0.5
"""Seconds between two looks for jobs that other processes have registered."""
REST_S = 300.0
"""Seconds without a job after which what jobs are done with is put away: models of the `offline` pack hold 290 MB, and
are there again in two seconds."""
PATIENCE_S = 30.0
"""Seconds that somebody who goes on with a job waits for whoever is about to stop it."""


class Workshop:
    """Takes jobs that nobody is at.  Other processes may register, pause and cancel them."""

    def __init__(self, library: Callable[[], Library], spans: Spans | None = None) -> None:
        """`spans` is where traces go."""
        self._open, self._spans = library, spans
        self._over, self._called = Event(), Event()
        self._at = ""  # the job at hand
        self._worker = Thread(target=self._work, name="workshop", daemon=True)

    def start(self) -> None:
        self._worker.start()

    def register(self, library: Library, asked: Asked, hook: Hook | None = None) -> Standing:
        """Write a job down; it is begun when those before it are done, and `hook` is told what comes of it.

        Raises:
            BadSettings, MissingExtra, WeightsError: its pack or model cannot be.
        """
        asked.recipe()
        text = replace(asked, models=settled(asked.models)).text
        if hook is None:
            record = jobs.register(library.store, text)
        else:  # a job of its own, and its hook is there before anybody can be done with it
            record = RunRecord(token_hex(4), text, time())
            library.store.catalog.write_run(record, replace(hook, job=record.id))
        return self.again(library, record)

    def again(self, library: Library, record: RunRecord) -> Standing:
        """Take up a job that was paused or failed."""
        found = jobs.named(library.store, record.id)
        if _watches(found):
            raise BadSettings(
                f"job {record.id} watches its folders and has no end, and a server does one job after the other; "
                "whoever runs it can go on with this one on its machine"
            )
        if found.record.state is RunState.CANCELLED:
            raise JobOver(f"job {record.id} was cancelled: ask for it anew")
        until = monotonic() + PATIENCE_S
        while found.by and _stops(found) and monotonic() < until:
            sleep(LOOK_S / 10)
            found = jobs.named(library.store, record.id)
        if not found.by and found.record.state is not RunState.QUEUED and not found.is_over:
            library.store.catalog.write_run(replace(found.record, state=RunState.QUEUED, error=""))
        self._called.set()
        return jobs.named(library.store, record.id)

    def close(self) -> None:
        """Stop within a batch.  The job at hand keeps what it has, and waits for whoever serves next."""
        self._over.set()
        self._called.set()
        if self._worker.is_alive():
            with self._open() as library:
                while self._worker.is_alive():
                    if self._at:
                        library.store.catalog.wish(self._at, Wish.PAUSE)
                    self._worker.join(0.2)

    def _work(self) -> None:
        said, outfit, last = "", Outfit(), monotonic()
        library: Library | None = None
        with ExitStack() as opened:
            while not self._over.is_set():
                try:
                    if library is None:
                        library = opened.enter_context(self._open())
                    waiting = [one for one in jobs.standing(library.store) if _waits(one)]
                    if waiting:
                        self._carry_out(library, waiting[0].record, outfit)
                        last = monotonic()
                        continue
                    said = ""
                    if monotonic() - last > REST_S and outfit.put_away():
                        heaps.tidy()
                except (ReelseekError, OSError) as error:  # the library is busy, its disk full: not for ever
                    if said != (said := str(error)):
                        LOG.warning("jobs wait: %s", error)
                except Exception as error:  # whatever it is, jobs that are taken on are to be done
                    if said != (said := repr(error)):
                        LOG.exception("jobs")
                self._called.wait(LOOK_S)
                self._called.clear()

    def _carry_out(self, library: Library, record: RunRecord, outfit: Outfit) -> None:
        self._at, error = record.id, ""
        deeds = Deeds(record.id, self._spans)
        try:
            indexing.resume(library.store, record.id, deeds, outfit)
        except (ReelseekError, OSError) as known:  # it is written down with the job, if that was begun
            error = str(known)
        except Exception as unknown:  # whatever a decoder or an encoder makes of a file: other jobs go on
            LOG.exception("job %s", record.id)
            outfit.put_away()  # the next one is not to begin with what this one may have left in disorder
            error = f"an error of ours: {type(unknown).__name__}: {unknown}"
        finally:
            self._at = ""
        self._weigh(library, record)
        left = jobs.named(library.store, record.id)
        self._clear(library, left)
        told = left.record
        if self._over.is_set() and told.state is RunState.PAUSED:
            told = replace(told, state=RunState.QUEUED, ended=None)
        elif error and _waits(left):  # it would be taken again and again; without one somebody goes on with it already
            told = replace(told, state=RunState.FAILED, error=told.error or error, ended=time())
        if told != left.record:
            library.store.catalog.write_run(told)
        deeds.end(told.state, told.counts, told.error or error)

    def _weigh(self, library: Library, record: RunRecord) -> None:
        try:
            quotas.weigh(library.store, Asked.of(record.asked).paths)
        except ReelseekError as error:
            LOG.warning("job %s: its length is not counted: %s", record.id, error)

    def _clear(self, library: Library, job: Standing) -> None:
        try:
            strays.left_by(library.store, job)
        except (ReelseekError, OSError) as error:
            LOG.warning("job %s: what was sent for it stays: %s", job.record.id, error)


def _stops(found: Standing) -> bool:
    """Somebody is at it still, and does no more of it: it is to pause, or has just been written down as stopped."""
    return found.record.wish is Wish.PAUSE or found.record.state is not RunState.RUNNING


def _waits(found: Standing) -> bool:
    """Nobody is at it, and it was not stopped by anybody: it is new, or whoever was at it has died.  It has an end."""
    left = found.record.state is RunState.QUEUED or found.state == jobs.INTERRUPTED
    return not found.by and left and not _watches(found)


def _watches(found: Standing) -> bool:
    """`index --watch`: it looks again and again."""
    return bool(json.loads(found.record.asked).get("every"))  # also of a job of a newer version
