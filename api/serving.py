"""What a served library has at hand: the library, threads that answer, uploads, jobs, small pictures, figures."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from api import quotas, roots, stages, strays
from api.courier import Courier
from api.crew import Crew
from api.errands import Errands
from api.ground import Ground
from api.guesses import Guesses
from api.indexing import Asked
from api.keys import Ring
from api.metering import Meters
from api.outward import Rules
from api.parcels import Parcels
from api.parts import HERE as HERE_WORKERS
from api.parts import ModelChoice
from api.seats import Seats
from api.service import Library
from api.spans import Spans
from api.stages import Line
from api.thumbnails import Thumbnails
from api.turns import Turns
from api.uploads import Shown, Uploads
from api.uploads import folder as uploads_folder
from api.workshop import Workshop
from indexer.jobs import Standing
from indexer.policy import Policy
from retriever.lending import Lender
from retriever.notices import Hook
from retriever.recent import Recent
from retriever.settings import Settings
from retriever.types import Metadata, RunState

ASKERS, ASKING_WAIT = 2, 64
"""Questions that are answered at a time, and that may wait."""
LATEST_S = 0.25
"""Seconds after which a question is to be begun: whoever would wait longer is told so at once."""
ANSWERS = 256
"""Answers that are kept for who asks the same.  A result with many lines takes ten kilobytes of memory: with as many
results as an answer that is kept may have, they are 77 MB at most."""
READERS, READING_WAIT = 4, 256
ARRIVALS, ARRIVAL_WAIT = 4, 256
"""Media that were sent and are stored and hashed at a time, and that wait: a slow disk takes long over large ones, and
whoever only looks is not to wait for it.  The line is long, since whoever is turned away has sent in vain."""
CUTTERS, CUTTING_WAIT = 2, 8
"""Clips that are cut at a time: each may take minutes, and nobody else is to wait for them."""
DRAWERS, DRAWING_WAIT = 1, 256
"""Small pictures that are drawn at a time, by the one decoder of `Thumbnails`, and that wait: a page asks for many."""
RUNNERS, RUNNING_WAIT, RUNNING_EACH = 4, 16, 3
"""Media that are fetched, or looked for, at a time, those that wait, and those of one key: fewer than there are at a
time."""
FOLLOWERS, FOLLOWERS_EACH = 64, 16
"""Streams of events that are open at once, and those of one key."""
HERE = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
"""Names of this machine for itself."""


@dataclass(slots=True)
class Serving:
    """Made when the server starts, closed when it ends."""

    library: Library
    settings: Settings
    uploads: Uploads
    parcels: Parcels
    workshop: Workshop
    thumbnails: Thumbnails
    models: ModelChoice
    roots: tuple[Path, ...]  # below which files of this machine may be indexed on demand
    ring: Ring
    ground: Ground  # of the library
    lender: Lender
    courier: Courier
    rules: Rules  # where addresses may lead that people name
    guesses: Guesses = field(default_factory=Guesses)
    meters: Meters = field(default_factory=Meters)
    answers: Recent[Hashable, dict[str, Any]] = field(default_factory=lambda: Recent(ANSWERS))
    asking: Turns = field(default_factory=lambda: Line("asking", ASKERS, ASKING_WAIT, LATEST_S))
    reading: Turns = field(default_factory=lambda: Turns("reading", READERS, READING_WAIT))
    arriving: Turns = field(default_factory=lambda: Turns("arriving", ARRIVALS, ARRIVAL_WAIT))
    drawing: Turns = field(default_factory=lambda: Turns("drawing", DRAWERS, DRAWING_WAIT))
    cutting: Turns = field(default_factory=lambda: Turns("cutting", CUTTERS, CUTTING_WAIT))
    errands: Errands = field(default_factory=lambda: Errands(RUNNERS, RUNNING_WAIT, RUNNING_EACH))
    following: Seats = field(
        default_factory=lambda: Seats("following", FOLLOWERS, FOLLOWERS_EACH, f"follows {FOLLOWERS_EACH} jobs already")
    )
    crew: Crew | None = None  # who answers questions; none: this process
    spans: Spans | None = None  # where traces go
    ready: bool = False

    @classmethod
    def of(
        cls, opened: Callable[[], Library], settings: Settings, models: ModelChoice, spans: Spans | None = None
    ) -> "Serving":
        """`opened` opens the library: here once for those who ask, and once for whoever carries jobs out."""
        below = roots.named(settings.roots)
        library = opened()
        folder = uploads_folder(settings, library.path)
        uploads, parcels = Uploads(folder, settings.most_bytes), Parcels(folder, settings.most_bytes)
        library.searcher.examples = Shown(library.searcher.examples, uploads.file_of)
        lender = stages.watch(library.searcher)
        store, rules = library.store, Rules.of(settings.allow_networks)
        made = cls(
            library,
            settings,
            uploads,
            parcels,
            Workshop(opened, spans),
            Thumbnails(store),
            models,
            below,
            Ring(store),
            Ground(library.path.absolute()),
            lender,
            Courier(store, rules),
            rules,
            spans=spans,
        )
        if settings.processes > 1:
            made.crew = Crew(settings, settings.processes)
            made.asking = Line("asking", settings.processes, ASKING_WAIT, LATEST_S)
        folders, landings = uploads.sweep()
        strays.landed(store, landings)
        quotas.left(store, folders)
        made.meters.remember(sentences=library.sentences, answers=made.answers)
        return made

    def wanted(
        self, paths: tuple[str, ...], metadata: Metadata | None, prune: bool = False, hook: Hook | None = None
    ) -> Standing:
        """Register an indexing job, done as the newest one was that came to its end: a library is of one recipe.
        `hook` is told what comes of it.

        Raises:
            BadSettings, MissingExtra, WeightsError: as `Workshop.register`.
        """
        made = self.settings
        asked = Asked(paths, made.pack, made.budget, made.sampling, models=self.models)
        for found in reversed(self.library.jobs()):
            if found.record.state is RunState.DONE:
                asked = replace(Asked.of(found.record.asked), paths=paths, only=(), every=0.0, workers=HERE_WORKERS)
                break
        policy = Policy(made.tries, made.most_seconds, made.most_bytes, made.least_free)
        asked = replace(asked, metadata=metadata, prune=prune, policy=policy, jobs=made.jobs)
        return self.workshop.register(self.library, asked, hook)

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a key: there is none, and nobody else's machine comes this far."""
        here = self.settings.host in HERE and not self.settings.public_url
        return here and self.ring.is_empty()

    def warm(self) -> None:
        """Ask once, so that the first person need not wait for models and levels of chance."""
        with self.library.store.snapshot() as snapshot:
            there = len(snapshot.spaces) > 0
        if there:
            self.library.search("anything at all", limit=1)
        if self.crew:
            self.crew.start()
        self.ready = True

    def close(self) -> None:
        """Those who are at work finish."""
        self.ready = False
        self.asking.close()
        if self.crew:
            self.crew.close()
        for turns in (self.reading, self.arriving, self.drawing, self.cutting, self.errands):
            turns.close()
        self.workshop.close()
        self.courier.close()
        self.thumbnails.close()
        self.lender.close()
        self.uploads.clear()
        self.library.close()
        if self.spans:
            self.spans.close()
