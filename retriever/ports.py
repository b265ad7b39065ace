"""The shapes that plug-ins have: small, with their invariants written down.

Nothing here is imported by name from a plug-in; a plug-in file offers one `build` that returns one of these.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from retriever.notices import Delivery, Happening, Hook
from retriever.quotas import Deposit, Quota, Short, Use, Whose
from retriever.types import (
    EVERYTHING,
    ApiKey,
    Entry,
    Example,
    FileStat,
    Filter,
    Floats,
    Held,
    Ids,
    Line,
    Matrix,
    Media,
    MediaKind,
    Metadata,
    Modality,
    Part,
    Pictures,
    Quarantined,
    RaggedTokens,
    Ranking,
    Reembedding,
    RunRecord,
    Searched,
    SegmentTable,
    Side,
    Sound,
    Space,
    Stretch,
    Times,
    TimeSpan,
    Tokens,
    Vector,
    Wish,
    WordQuery,
)

# ------------------------------------------------------------------------------------------------------------ encoders


class SentenceEncoder(Protocol):
    """Sentences become vectors.  `name` and `digest` (of weights and tokenizer) make the query side of a space."""

    name: str
    digest: str
    dimension: int

    def encode(self, sentences: Sequence[str]) -> Matrix:
        """`(N, D)` float32 of length one, a row a sentence, the same whatever stands beside it in the batch
        (to 1e-5).  No sentences give `(0, D)`."""
        ...


class QueryEncoder(Protocol):
    """The query side of one space."""

    space: Space
    modality: Modality

    def encode_query(self, part: Part) -> Vector | None:
        """`(D,)` of length one, or None: this space cannot answer such a part."""
        ...


class FrameEncoder(QueryEncoder, Protocol):
    """Frames become tokens.  `side` is the shorter side in pixels that frames should have when they come: smaller
    ones are scaled up, larger ones down, so the decoder may as well do it."""

    side: int

    def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
        """Frames `(N, H, W, 3)` RGB, shown during `spans` `(N, 2)`, as N tokens in the same order."""
        ...


class ClipEncoder(QueryEncoder, Protocol):
    """Several frames together become tokens, so that what moves can be told.  `side` is as a `FrameEncoder` has it."""

    side: int

    def encode_clips(self, stretches: Sequence[Stretch]) -> list[Tokens]:
        """Each stretch as tokens, in order of time, whose spans lie in it and together are all of it.  What stands
        beside a stretch changes nothing (to 1e-5); one without frames gives none."""
        ...


class SoundEncoder(QueryEncoder, Protocol):
    """Sound becomes tokens over windows.  `rate` is the samples a second that it wants; `margin` the seconds of sound
    around a span that its windows reach into."""

    rate: int
    margin: float

    def encode_sound(self, sound: Sound) -> Tokens:
        """Windows over all of `sound`, in order; their spans on the media's clock (`sound.start` counted in).  Sound
        shorter than one window is padded with silence and its span cut to the sound; no samples, no tokens."""
        ...


class SpeechRecognizer(Protocol):
    """Sound becomes spoken lines.  Music, noise and silence become none."""

    digest: str  # name and weights
    rate: int

    def recognize(self, sound: Sound) -> list[Line]:
        """Lines in order of time, on the media's clock, none empty, of modality SPEECH."""
        ...


class TextRecognizer(Protocol):
    """Frames become written lines."""

    digest: str
    side: int  # the longer side in pixels that frames should have at most when they come

    def recognize(self, frames: Sequence[Pictures], spans: Sequence[tuple[float, float]]) -> list[Line]:
        """What stands on each frame `(H, W, 3)`, merged through time: the same words on neighbouring frames are one
        line over all of them.  In order of time, none empty, of modality TEXT."""
        ...


# -------------------------------------------------------------------------------------------------------------- stores


class Snapshot(Protocol):
    """One unchanging view of a library.  Segment and media numbers mean nothing outside those of one numbering.

    Wherever a filter is given, what it excludes takes no place in the result: a filter never starves a ranking.
    """

    generation: str  # digest of the committed content that is searched: equal content, equal generation; never history
    numbering: int  # while it stays, no number comes to be another segment or media; what is put back has another
    spaces: Mapping[str, Space]  # those that are searched, by Space.id
    reembedding: Reembedding | None  # while a second recipe is held beside the first

    def media(self, where: Filter = EVERYTHING) -> Sequence[Media]:
        """By path."""
        ...

    def media_at(self, numbers: Ids) -> Sequence[Media]:
        """The media of these media numbers, in that order."""
        ...

    def nearest(self, queries: Matrix, space: str, depth: int, where: Filter = EVERYTHING) -> list[Ranking]:
        """For each row of `queries` `(Q, D)` the `depth` best segments by cosine of their best row in `space`.
        Shorter only where fewer segments pass.

        Raises:
            SpaceMismatch: the library has no such space, or the vectors have another dimension.
        """
        ...

    def matching(self, words: WordQuery, modality: Modality, depth: int, where: Filter = EVERYTHING) -> Ranking:
        """Segments by BM25 of their lines of one modality; a line belongs to the segment that its middle lies in.
        Nothing matches: empty."""
        ...

    def numbers(self, where: Filter = EVERYTHING) -> Ids:
        """Every segment that passes, `(S,)`: for walking through all of a library (export), never for a search.  The
        segments of one media stand together, in order of time."""
        ...

    def segments(self, numbers: Ids) -> SegmentTable: ...

    def tokens(self, numbers: Ids, space: str) -> RaggedTokens:
        """The tokens of these segments `(S,)`, in that order."""
        ...

    def lines(self, numbers: Ids) -> list[list[Line]]:
        """The lines of each of these segments."""
        ...

    def lines_over(self, spans: Sequence[tuple[str, TimeSpan]]) -> list[list[Line]]:
        """For each media, by its key, and span of it the lines that it overlaps, in order of time."""
        ...

    def counts(self) -> Mapping[str, int]:
        """media, segments, tokens, lines, bytes, and `tokens:SPACE` for each space that is searched; bytes are of
        all that is held."""
        ...

    def kinds(self, where: Filter = EVERYTHING) -> Mapping[MediaKind, tuple[int, float]]:
        """How many media of each kind there are, in the order of their names, and how many seconds they last."""
        ...

    def held(self) -> Mapping[str, Held]:
        """Every space that the library holds, by its id, whether it is searched or not."""
        ...

    def lacking(self, where: Filter = EVERYTHING) -> Sequence[tuple[Media, frozenset[str]]]:
        """Media that the new recipe of two has not made its own yet, in the order in which they came, and which of the
        spaces that it brings each of them lacks.  A media has a space also where it has no tokens in it."""
        ...

    def foreign(self) -> Sequence[Media]:
        """Media that only the new recipe of two has ever indexed, by path."""
        ...


class Catalog(Protocol):
    """What a library remembers beside its media: its recipe, runs, leases, quarantine, and files seen before.

    All of it survives a crash; each method is one transaction.
    """

    notices: "Notices"
    quotas: "Quotas"

    def recipe(self) -> tuple[str, str] | None:
        """Digest and JSON text of the recipe that the library is made with; None before the first commit."""
        ...

    def set_recipe(self, digest: str, text: str) -> None:
        """While two recipes are held, this renews the text of the one with this digest."""
        ...

    def reembedding(self) -> Reembedding | None:
        """The two recipes of a library that is on its way from one to another, and which of them is searched."""
        ...

    def stat(self, path: str) -> FileStat | None: ...

    def remember(self, path: str, stat: FileStat) -> None: ...

    def stats(self, paths: Sequence[str]) -> Mapping[str, FileStat]:
        """What is remembered of these paths, as `stat` has it; those of which nothing is are left out."""
        ...

    def remember_all(self, stats: Mapping[str, FileStat]) -> None:
        """As `remember` for each path, all in one step."""
        ...

    def owners(self, paths: Sequence[str]) -> Mapping[str, str]:
        """The keys of the media that have these paths; a path that no media has is left out."""
        ...

    def paths(self, after: str, most: int) -> Mapping[str, tuple[str, ...]]:
        """The paths of the first `most` media whose keys come after this one, by key and in their order; none: there
        are no others.  So whoever goes through all media has to hold few of them."""
        ...

    def forget(self, paths: Sequence[str]) -> None:
        """Drop what is remembered of these paths: stat and quarantine."""
        ...

    def quarantine(self, entry: Quarantined) -> None:
        """Shut a file away, in place of what was known of it."""
        ...

    def quarantined(self) -> list[Quarantined]:
        """By path."""
        ...

    def write_run(self, run: RunRecord, hook: Hook | None = None) -> None:
        """Keep a run, in place of what was kept under its id, but for what is wished of it: of a run that is there that
        stays.  Of many that are over, old ones are forgotten.  In the same step a hook is kept, as by `write_hook`."""
        ...

    def wish(self, run: str, wish: Wish) -> bool:
        """Say what is wanted of a run; False: there is none of this id."""
        ...

    def wished(self, run: str) -> Wish:
        """What is wanted of a run; of one that is not there, nothing."""
        ...

    def runs(self) -> list[RunRecord]:
        """In the order in which they were first kept."""
        ...

    def write_key(self, key: ApiKey) -> None:
        """Keep a key.

        Raises:
            BadSettings: another one has its name.
        """
        ...

    def forget_key(self, id: str) -> bool:
        """And the hooks that were set with it, in the same step.  False: there was none."""
        ...

    def api_keys(self) -> list[ApiKey]:
        """By name."""
        ...

    def claim(self, owner: str, token: str, request: str) -> tuple[str, str] | None:
        """Be the one who answers a request that may come twice; nothing older than a day is known, nor who died over
        it.  None: nobody has; else what was asked then, and the answer, empty while somebody is at it."""
        ...

    def settle(self, owner: str, token: str, answer: str) -> None:
        """Keep the answer to what was claimed; an empty one gives the claim back."""
        ...

    def lease(self, job: str, owner: str, seconds: float) -> bool:
        """Take or renew the lease of a job; False while another owner's lease runs.  A lease runs out by itself, and
        at once when its owner (`HOST:PID:START`) is a process of this host that is no more."""
        ...

    def release(self, job: str, owner: str) -> None: ...

    def leased(self) -> Mapping[str, str]:
        """Running leases: job → owner."""
        ...

    def staging(self, job: str) -> Path:
        """The folder where a job keeps its checkpoints; made if absent."""
        ...

    def staged(self) -> list[str]:
        """Jobs that have a staging folder."""
        ...

    def unstage(self, job: str) -> None:
        """Remove a job's staging folder and all in it."""
        ...


class Notices(Protocol):
    """Who is told when something happens, what happened, and what they were told.

    What happens to media and runs is kept with the transaction in which it does, while there is a hook; nobody is told
    twice of what two processes find here.
    """

    def write_hook(self, hook: Hook) -> bool:
        """Keep a hook, in place of what was kept under its id.  False: the key that set it is none any more, and
        nothing was kept."""
        ...

    def change_hook(self, id: str, change: Callable[[Hook], Hook]) -> Hook | None:
        """What `change` makes of a hook as it is now, whoever changes it meanwhile.  None: it was forgotten, and stays
        so."""
        ...

    def forget_hook(self, id: str) -> bool:
        """And what it was told, and would have been.  False: there was none."""
        ...

    def hooks(self) -> list[Hook]:
        """In the order in which they came."""
        ...

    def happenings(self, most: int) -> list[Happening]:
        """What nobody has been told of yet, oldest first."""
        ...

    def tell(self, happening: Happening | None, deliveries: Sequence[Delivery]) -> bool:
        """These are the messages about a happening, which is done with.  False: another process has said so before,
        and nothing was kept."""
        ...

    def claim(self, owner: str, seconds: float) -> tuple[Delivery, Hook] | None:
        """Be the one who sends the next message that is due, for so many seconds, or until this process ends; one at a
        time to each hook.  None: there is none."""
        ...

    def settle(self, delivery: Delivery) -> None:
        """How a message fared that was claimed; it is nobody's then."""
        ...

    def deliveries(self, hook: str, most: int) -> list[Delivery]:
        """Messages to a hook, newest first."""
        ...

    def again(self, hook: str, id: str) -> bool:
        """Send one anew, as if it never had been.  False: there is none, or somebody is at it."""
        ...

    def tidy(self) -> None:
        """Forget how messages ended a week ago, messages to nobody, hooks of single jobs that are long over, and those
        of keys that are none."""
        ...


class Quotas(Protocol):
    """Files that were sent, and how many may be."""

    def set(self, quota: Quota) -> None:
        """In place of the one that was; one without limits is none."""
        ...

    def all(self) -> list[tuple[Quota, Use]]: ...

    def use(self, kind: Whose, name: str) -> Use: ...

    def take(self, deposit: Deposit) -> Short | None:
        """Count a file, if all quotas have room for it: of two processes that count at once one comes first.  None: it
        is counted; else why not."""
        ...

    def moved(self, path: str, to: str) -> None:
        """A file lies elsewhere from now on.  If one that counts lies there, they are the same, which counts once."""
        ...

    def withdraw(self, path: str) -> None:
        """A file was not kept after all."""
        ...

    def gone(self, paths: Sequence[str]) -> None:
        """These files are no more; of the day's media they still count."""
        ...

    def lasts(self, seconds: Mapping[str, float]) -> None:
        """How long the media of these files are."""
        ...

    def deposits(self) -> list[Deposit]:
        """Files that lie there, as far as anybody knows, oldest first."""
        ...


class Store(Protocol):
    """A library.  Every writing method is one atomic commit: a crash leaves it done or not begun."""

    catalog: Catalog

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """The newest committed state; what it shows does not change while it is held, whoever writes."""
        ...

    def add(self, entry: Entry) -> None:
        """Commit one media; another entry of the same key is replaced in the same step.  A path names one media:
        another media that had one of these loses it in the same step, and goes with its last.

        Raises:
            SpaceMismatch: vectors that do not fit the space they are filed under.
            DiskFull: nothing was changed.
        """
        ...

    def delete(self, keys: Sequence[str]) -> int:
        """Take media out; returns how many were there."""
        ...

    def drop_paths(self, paths: Mapping[str, Sequence[str]]) -> list[str]:
        """These are paths of their media no more, by media key, all in one step; returns the keys of those that went
        with their last.  What another writer did since somebody looked stands: paths that a media has got by then stay,
        and so does it; what is not there is passed over."""
        ...

    def set_paths(self, paths: Mapping[str, Sequence[str]], before: Mapping[str, Sequence[str]] | None = None) -> None:
        """Other paths for the same contents, by media key, at least one each, all in one step (two files may have
        changed places); taken from whoever else had them, as by `add`.  `before` are those that whoever asks had read:
        what a media has got since, by another writer, it keeps behind them.

        Raises:
            NoSuchMedia: no media has this key.
        """
        ...

    def set_metadata(self, said: Mapping[str, Metadata]) -> None:
        """What is known of media from now on, by media key, all in one step.

        Raises:
            NoSuchMedia: no media has this key; nothing was changed.
        """
        ...

    def begin(self, old: Side, new: Side) -> None:
        """From now on the library may hold the spaces of two recipes, the old one being searched.  Begun again with the
        same two, whatever is searched, their spaces are joined to those that are known.

        Raises:
            WrongRecipe: it holds two others, or is not made with the old one.
        """
        ...

    def extend(self, entry: Entry) -> bool:
        """Commit more spaces of a media that is there: tokens and vectors of spaces that it lacks, over its segments.
        What it has stays, its numbers, paths, metadata and lines too; spaces of the entry that it has by now are left
        as they are.  `entry.media.recipe` is the new recipe of two, and `missing` what that one could not make.

        False: the media is gone, or is cut otherwise by now; nothing was changed.

        Raises:
            WrongRecipe: the library does not hold that recipe, or no longer.
            SpaceMismatch, DiskFull: as `add`.
        """
        ...

    def choose(self, searched: Searched) -> None:
        """Search the old recipe, the new one, or both from the next snapshot on; media are indexed with the old one
        only while it alone is searched.

        Raises:
            WrongRecipe: the library holds one recipe, or media lack the new one, which is wanted alone.
        """
        ...

    def drop(self, searched: Searched) -> None:
        """Take what only this recipe of two has made out of the library, give its room back, and be a library of the
        other recipe alone.  Where the new one goes, all is as before `begin`.

        Raises:
            WrongRecipe: the library holds one recipe, or this one is searched, or media would be left with nothing of
                the other one.
            StoreLocked: as `compact`.
        """
        ...

    def refresh(self) -> None:
        """Build what is derived where it is missing or lags far behind.  Cheap where nothing does; nobody waits."""
        ...

    def compact(self) -> None:
        """Give the room of deleted rows back, and rebuild what is derived.  Answers do not change.

        Raises:
            StoreLocked: somebody else does long work; the message says who and since when.
        """
        ...

    def close(self) -> None: ...


# ----------------------------------------------------------------------------------------------------------- rerankers


class Reranker(Protocol):
    """A query looks at the tokens of each candidate."""

    def rerank(self, view: Vector, tokens: RaggedTokens) -> tuple[Floats, Floats]:
        """Scores `(S,)` a segment and relevance `(N,)` a token.  A segment without tokens scores -inf."""
        ...


EncodeSentences = Callable[[Sequence[str], str], Matrix]
"""Sentences as the encoder of one query side (`Space.query_side`) has them: `(N, D)` of length one.  The empty side is
that of a library without spaces, which has no vectors to compare with: any encoder will do."""

ShowExample = Callable[[Snapshot, str, str], Example]
"""What a query shows instead of words, in the spaces that a snapshot searches: its kind is one of `grammar.EXAMPLES`,
its value is as it was typed.

Raises:
    QueryError: there is no such thing, or nothing of it that the library could compare.
    MediaError: the file cannot be used.
"""
