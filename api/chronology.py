"""Judging whether a library understands the order of two events, with controls beside it.

    document = judged(library, Path("set"), seeds=3, tell=say)

Every sentence and its twin are asked of one media alone, so nothing but that media and the sentence counts.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.altered import altered, shuffled
from api.asking import OTHERS, Asker
from api.service import Library
from retriever.errors import BenchmarkError
from retriever.evaluation import order, report
from retriever.evaluation.order import Alone, Stitched, Told, Trials
from retriever.evaluation.report import Document
from retriever.query import Query
from retriever.types import Filter, Moment

Tell = Callable[[str], None]
Score = Callable[[str, int], float]
"""Of a sentence on the media at this place of the set."""

WITHIN = (1, 5, 10)
"""Places among which a part is to be found alone: the first, and as many as a search shows."""
SHOWN = 3
"""Media that a complaint names."""


def judged(library: Library, folder: Path, seeds: int, tell: Tell) -> Document:
    """Judge a library of stitched media by their set.

    Raises:
        BenchmarkError: the set cannot be read, or media of it are not in the library.
    """
    stitched = order.read_set(folder)
    keys = _keys(library, folder, stitched)
    asker = Asker(library.searcher)
    steps = _trials(stitched, lambda text, at: asker.score(text, keys[at]), order.PHRASINGS)
    tell(f"{len(steps):,} sentences asked in steps")
    alone = _alone(asker, stitched, keys)
    tell("each part asked alone")
    tried = {
        "steps": steps,
        "one vector": _trials(stitched, _one_vector(asker, stitched, keys), order.PHRASINGS),
        "text only": _trials(stitched, _text_only(asker, stitched, keys), order.PHRASINGS),
    }
    tell("each sentence asked as one vector, and of media that have nothing to do with it")
    shuffles = [_shuffled(library, stitched, keys, seed, tell) for seed in range(1, seeds + 1)]
    if shuffles:
        tried["frames shuffled"] = order.joined(shuffles)
    masks = {"all": np.ones(len(stitched), bool), **{f"kept_{within}": alone.kept(within) for within in WITHIN}}
    rows = [row for asked, trials in tried.items() for row in _rows(asked, trials, stitched, masks)]
    return {
        "set": str(folder),
        "library": str(library.path),
        "pairs": len({one.pair for one in stitched}),
        "media": len(stitched),
        "parts_alone": {
            "right_side": _share(alone.side),
            "found": [_found(stitched, alone, within) for within in WITHIN],
        },
        "read_as_steps": [{"phrasing": name, "share": share} for name, share in _read(stitched).items()],
        "measures": {of: _headline(tried, stitched, mask) for of, mask in masks.items()},
        "rows": rows,
        "shuffles": seeds,
    }


def _found(stitched: Sequence[Stitched], alone: Alone, within: int) -> Document:
    """Shares of media, and of pairs with all of their media, whose parts are found alone."""
    kept = alone.kept(within)
    lost = {one.pair for one, there in zip(stitched, kept, strict=True) if not there}
    pairs = {one.pair for one in stitched}
    return {
        "within": within,
        "ranked": _share(alone.ranks <= within),
        "media_kept": _share(kept),
        "pairs_kept": round(1 - len(lost) / len(pairs), 6),
    }


def _share(found: NDArray[np.bool_]) -> float:
    return round(float(found.mean()), 6)


def _keys(library: Library, folder: Path, stitched: Sequence[Stitched]) -> list[str]:
    held = {path: media.key for media in library.media() for path in media.paths}
    paths = [(folder / one.media).absolute() for one in stitched]
    found = [held.get(str(path)) or held.get(str(path.resolve())) for path in paths]
    gone = [one.media for one, key in zip(stitched, found, strict=True) if key is None]
    if gone:
        raise BenchmarkError(
            f"{len(gone):,} of {len(stitched):,} media of {folder} are not in the library {library.path} "
            f"({', '.join(gone[:SHOWN])}): bring them with --index, or with reelseek index {folder / 'media'}"
        )
    return [key for key in found if key is not None]


def _trials(stitched: Sequence[Stitched], score: Score, phrasings: Collection[str]) -> Trials:
    rows = [
        (score(true, at), score(false, at), at, one.pair, phrasing)
        for at, one in enumerate(stitched)
        for phrasing, (true, false) in one.queries.items()
        if phrasing in phrasings
    ]
    names = {pair: number for number, pair in enumerate(dict.fromkeys(one.pair for one in stitched))}
    return Trials(
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows], np.int64),
        np.array([names[row[3]] for row in rows], np.int64),
        np.array([row[4] for row in rows], np.str_),
    )


def _alone(asker: Asker, stitched: Sequence[Stitched], keys: Sequence[str]) -> Alone:
    """Each part as a plain question: of the whole set, and of its own media."""
    parts = list(dict.fromkeys(text for one in stitched for text in (one.before, one.after)))
    scores = asker.plain(parts, keys)  # (P, M)
    holds = np.array([[text in (one.before, one.after) for one in stitched] for text in parts])
    best = np.where(holds, scores, -np.inf).max(axis=1)
    better = (np.where(holds, -np.inf, scores) >= best[:, None]).sum(axis=1)
    ranks = dict(zip(parts, np.where(np.isfinite(best), 1.0 + better, np.inf).tolist(), strict=True))
    side = [
        all(
            (moment := asker.moment(Query(text, text), frozenset({key}))) is not None
            and (_peak(moment) < one.join) is early
            for text, early in ((one.before, True), (one.after, False))
        )
        for one, key in zip(stitched, keys, strict=True)
    ]
    worse = [max(ranks[one.before], ranks[one.after]) for one in stitched]
    return Alone(np.array(worse), np.array(side, bool))


def _peak(moment: Moment) -> float:
    """The second that a moment was found for: the middle of what its weightiest reason saw best."""
    return moment.evidence[0].spans[0].middle if moment.evidence else moment.span.middle


def _one_vector(asker: Asker, stitched: Sequence[Stitched], keys: Sequence[str]) -> Score:
    known: dict[tuple[str, int], float] = {}
    for at, (one, key) in enumerate(zip(stitched, keys, strict=True)):
        texts = list(dict.fromkeys(text for twins in one.queries.values() for text in twins))
        for text, score in zip(texts, asker.plain(texts, [key])[:, 0].tolist(), strict=True):
            known[text, at] = score
    return lambda text, at: known[text, at]


def _text_only(asker: Asker, stitched: Sequence[Stitched], keys: Sequence[str]) -> Score:
    """The mean over media that show neither of the two events, the same ones for all sentences of a pair."""
    others: dict[str, list[str]] = {}
    for number, one in enumerate(stitched):
        if one.pair not in others:
            ours = {one.before, one.after}
            strange = [
                key
                for key, other in zip(keys, stitched, strict=True)
                if other.kind == one.kind and not ours & {other.before, other.after}
            ]
            rng = np.random.default_rng(number)
            others[one.pair] = [strange[at] for at in rng.permutation(len(strange))[:OTHERS]]
    known: dict[tuple[str, str], float] = {}

    def score(text: str, at: int) -> float:
        pair = stitched[at].pair
        if (pair, text) not in known:
            known[pair, text] = asker.mean(text, others[pair]) if others[pair] else -np.inf
        return known[pair, text]

    return score


def _shuffled(library: Library, stitched: Sequence[Stitched], keys: Sequence[str], seed: int, tell: Tell) -> Trials:
    with altered(library, shuffled(seed), Filter(media=frozenset(keys))) as searcher:
        asker = Asker(searcher)
        found = _trials(stitched, lambda text, at: asker.score(text, keys[at]), order.CHRONOLOGY)
    tell(f"{len(found):,} sentences asked of shuffled frames, seed {seed}")
    return found


# ------------------------------------------------------------------------------------------------------------ documents


def _read(stitched: Sequence[Stitched]) -> dict[str, float]:
    """The share of sentences, by phrasing, that the query language takes for the two steps they are."""
    found: dict[str, list[bool]] = {}
    for one in stitched:
        for phrasing, (true, false) in one.queries.items():
            right = order.is_read(true, one.before, one.after) and order.is_read(false, one.after, one.before)
            found.setdefault(phrasing, []).append(right)
    return {phrasing: round(float(np.mean(each)), 6) for phrasing, each in found.items()}


def _rows(
    asked: str, trials: Trials, stitched: Sequence[Stitched], masks: Mapping[str, NDArray[np.bool_]]
) -> list[Document]:
    kinds = np.array([one.kind for one in stitched])[trials.media]
    rows = []
    for of, media in masks.items():
        for kind in ("all", *order.KINDS):
            for phrasing in dict.fromkeys(trials.phrasings.tolist()):
                mask = media[trials.media] & (trials.phrasings == phrasing) & ((kinds == kind) | (kind == "all"))
                told = order.summary(trials.only(mask))
                if told:
                    rows.append({"asked": asked, "phrasing": phrasing, "kind": kind, "of": of, **_told(told)})
    return rows


def _told(told: Told) -> Document:
    return {
        "trials": told.trials,
        "media": told.media,
        "pairs": told.pairs,
        "accuracy": report.estimate(told.accuracy),
        "joint": report.estimate(told.joint) if told.joint else None,
        "ties": round(told.ties, 6),
    }


def _headline(tried: dict[str, Trials], stitched: Sequence[Stitched], kept: NDArray[np.bool_]) -> Document:
    """The measures by their names."""
    kinds = np.array([one.kind for one in stitched])

    def of(asked: str, phrasings: Sequence[str], kind: str = "") -> Document | None:
        trials = tried.get(asked)
        if trials is None:
            return None
        mask = kept[trials.media] & np.isin(trials.phrasings, phrasings)
        if kind:
            mask &= kinds[trials.media] == kind
        told = order.summary(trials.only(mask))
        return _told(told) if told else None

    then = tried["steps"]
    then = then.only(kept[then.media] & np.isin(then.phrasings, order.CHRONOLOGY))
    turned = order.summary(then.by_media())
    return {
        "chronology": of("steps", order.CHRONOLOGY),
        "test_of_time": of("steps", order.TEST_OF_TIME),
        "test_of_time_capitals": of("steps", order.TEST_OF_TIME_LOUD),
        "stitched_sounds": of("steps", order.CHRONOLOGY, order.KINDS[1]),
        "by_media": _told(turned) if turned else None,
        "one_vector": of("one vector", order.CHRONOLOGY),
        "text_only": of("text only", order.CHRONOLOGY),
        "frames_shuffled": of("frames shuffled", order.CHRONOLOGY),
    }
