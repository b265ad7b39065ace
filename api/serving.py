"""What a served library has at hand: the library, threads that answer, uploads, jobs, small pictures, figures."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from api.guesses import Guesses
from api.indexing import Asked
from api.keys import Ring
from api.metering import Meters
from api.parcels import Parcels
from api.parts import HERE as HERE_WORKERS
from api.parts import ModelChoice
from api.service import Library
from api.thumbnails import Thumbnails
from api.turns import Turns
from api.uploads import Shown, Uploads
from api.workshop import Workshop
from indexer.jobs import Standing
from indexer.policy import Policy
from retriever.lending import Lender
from retriever.settings import Settings
from retriever.types import Metadata, RunState

ASKERS, ASKING_WAIT = 2, 64
LATEST_S = 0.25
"""Seconds after which a question is to be begun: whoever would wait longer is told so at once."""
"""Questions that may wait: at 150 a second the last of them is answered within half a second."""
READERS, READING_WAIT = 4, 256
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
    lender: Lender
    guesses: Guesses = field(default_factory=Guesses)
    meters: Meters = field(default_factory=Meters)
    asking: Turns = field(default_factory=lambda: Turns("asking", ASKERS, ASKING_WAIT, LATEST_S))
    reading: Turns = field(default_factory=lambda: Turns("reading", READERS, READING_WAIT))
    ready: bool = False

    @classmethod
    def of(cls, opened: Callable[[], Library], settings: Settings, models: ModelChoice) -> "Serving":
        """`opened` opens the library: here once for those who ask, and once for whoever carries jobs out."""
        library = opened()
        folder = Path(settings.uploads).absolute() if settings.uploads else library.path.absolute() / "uploads"
        uploads, parcels = Uploads(folder, settings.most_bytes), Parcels(folder, settings.most_bytes)
        library.searcher.examples = Shown(library.searcher.examples, uploads.file_of)
        asks = library.searcher
        lender = Lender(library.store.snapshot, asks.encode, asks.looking, asks.cache, asks.asks)
        asks.calibrator = lender
        roots = tuple(Path(root).absolute() for root in settings.roots.split(":") if root)
        store = library.store
        return cls(
            library, settings, uploads, parcels, Workshop(opened), Thumbnails(store), models, roots, Ring(store), lender
        )

    def wanted(self, paths: tuple[str, ...], metadata: Metadata | None, prune: bool = False) -> Standing:
        """Register an indexing job, done as the newest one was that came to its end: a library is of one recipe.

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
        return self.workshop.register(self.library, asked)

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a key: there is none, and nobody else's machine comes this far."""
        return self.settings.host in HERE and self.ring.is_empty()

    def warm(self) -> None:
        """Ask once, so that the first person need not wait for models and levels of chance."""
        with self.library.store.snapshot() as snapshot:
            there = len(snapshot.spaces) > 0
        if there:
            self.library.search("anything at all", limit=1)
        self.ready = True

    def close(self) -> None:
        """Those who are at work finish."""
        self.ready = False
        self.asking.close()
        self.reading.close()
        self.workshop.close()
        self.thumbnails.close()
        self.lender.close()
        self.uploads.clear()
        self.library.close()
