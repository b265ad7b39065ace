"""What is said about a run: one document for programs, rows of a table for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.errors import BenchmarkError
from retriever.evaluation import measures
from retriever.evaluation._formats import document as json_of
from retriever.evaluation.measures import Estimate, Numbers, Ranked, Scores, Truth

Document = dict[str, Any]
Row = tuple[str, ...]
DIRECTIONS = {"text_to_media": "text → media", "media_to_text": "media → text"}
SHOWN = (*(f"R@{depth}" for depth in measures.DEPTHS), "median_rank", "mean_rank", "MRR", "mAP", "nDCG")
SHARES = frozenset({*(f"R@{depth}" for depth in measures.DEPTHS), "MRR", "mAP", "nDCG"})


@dataclass(frozen=True)
class Run:
    """Scores of one system on one benchmark."""

    truth: Truth
    scores: Scores  # (Q, M)
    missing: NDArray[np.bool_]  # (M,) media that could not be had

    def ranked(self) -> Ranked:
        """Text to media; missing ones are misses."""
        return Ranked.of(self.scores, self.truth, missing=self.missing)

    def both_ways(self) -> dict[str, dict[str, Document]]:
        """Both directions, with missing media counted as misses (`all`) and left out altogether (`available`)."""
        whole = {
            "text_to_media": _told(self.ranked()),
            "media_to_text": _told(_lost(Ranked.of(self.scores.T, self.truth.flipped()), self.truth, self.missing)),
        }
        if not self.missing.any():
            return {direction: {"all": told, "available": told} for direction, told in whole.items()}
        there = ~self.missing
        asks = np.zeros(self.truth.queries, bool)
        asks[self.truth.rows[there[self.truth.columns]]] = True
        part = self.truth.only(asks, there)
        scores = self.scores[np.ix_(asks, there)]
        there_only = {
            "text_to_media": _told(Ranked.of(scores, part)),
            "media_to_text": _told(Ranked.of(scores.T, part.flipped())),
        }
        return {direction: {"all": told, "available": there_only[direction]} for direction, told in whole.items()}


def _lost(ranked: Ranked, truth: Truth, missing: NDArray[np.bool_]) -> Ranked:
    """Media ask, and the missing ones among them find nothing."""
    gone = missing[truth.flipped().asking]
    ranks = [np.where(gone, np.inf, each) for each in (ranked.ranks, ranked.pessimistic)]
    others = [np.where(gone, 0.0, each) for each in (ranked.precision, ranked.gain)]
    return Ranked(ranks[0], ranks[1], others[0], others[1], ranked.candidates)


def _told(ranked: Ranked) -> Document:
    """Every measure with its interval, and, with every tie lost, without one.  None where nobody asks."""
    if not len(ranked):
        return {"questions": 0, "candidates": ranked.candidates, "measures": {}, "pessimistic": {}}
    return {
        "questions": len(ranked),
        "candidates": ranked.candidates,
        "measures": {name: estimate(found) for name, found in measures.summary(ranked).items()},
        "pessimistic": {name: _round(value) for name, value in measures.ties_lost(ranked).items()},
    }


def estimate(found: Estimate) -> Document:
    return {"value": _round(found.value), "low": _round(found.low), "high": _round(found.high)}


def _round(value: float) -> float:
    return round(float(value), 6)


def ranks(found: Numbers) -> list[float | None]:
    """Of each question; null where no right answer was found."""
    return [None if np.isinf(rank) else float(rank) for rank in found]


# --------------------------------------------------------------------------------------------------------------- tables


def shown(name: str, value: float) -> str:
    """Shares in percent, as the literature has them."""
    return f"{value * 100:.1f}" if name in SHARES else f"{value:.1f}"


def rows(document: Document, direction: str) -> list[Row]:
    """A line a measure: with missing media as misses, with every tie lost, with missing media left out, and by chance.
    Recall of the first stage, which no reranking exceeds, stands below the others."""
    told = document[direction]
    found = []
    for name in SHOWN:
        if name in told["all"]["measures"]:
            lost = shown(name, told["all"]["pessimistic"][name]) if name in measures.BY_RANK else ""
            blind = document["controls"]["chance"].get(name)
            cells = [_cell(name, told["all"]), lost, _cell(name, told["available"])]
            cells.append("" if blind is None else shown(name, blind))
            found.append(_row(document, direction, name.replace("_", " "), *cells))
    first = document["first_stage"]
    if first and direction == "text_to_media":
        line = _row(document, direction, f"first stage R@{first['depth']}", f"{first['recall'] * 100:.1f}", "", "", "")
        found.insert(len(measures.DEPTHS), line)
    return found


def head(document: Document, direction: str) -> Row:
    return _row(document, direction, DIRECTIONS[direction], "all", "pessimistic", "available only", "chance")


def _row(document: Document, direction: str, name: str, told: str, lost: str, there: str, blind: str) -> Row:
    """Without the columns that say nothing: nothing is missing, or chance is known of the other direction."""
    return (
        *(name, told, lost),
        *([there] if document["missing"] else []),
        *([blind] if direction == "text_to_media" else []),
    )


def _cell(name: str, told: Document) -> str:
    found = told["measures"].get(name)
    if not found:
        return "–"
    return f"{shown(name, found['value'])} [{shown(name, found['low'])}, {shown(name, found['high'])}]"


def published_rows(published: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Numbers of others, in percent as they stand there."""
    names = list(dict.fromkeys(key for one in published for key in one if key not in _WORDS))
    return [(_method(one), *(str(one.get(name, "–")) for name in names), str(one["source"])) for one in published]


def _method(one: Mapping[str, Any]) -> str:
    return f"{one['method']}, {DIRECTIONS['media_to_text']}" if one.get("media_to_text") else str(one["method"])


def published_head(published: Sequence[Mapping[str, Any]]) -> Row:
    names = list(dict.fromkeys(key for one in published for key in one if key not in _WORDS))
    return ("published", *(name.replace("_", " ") for name in names), "source")


_WORDS = frozenset({"method", "source", "media_to_text"})


# ------------------------------------------------------------------------------------------------------------- two runs


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a run is needed to compare it with another."""

    digest: str  # of questions and answers; empty where the file does not know
    ranks: Numbers  # (Q,) text to media

    def ranked(self) -> Ranked:
        nothing = np.zeros_like(self.ranks)
        return Ranked(self.ranks, self.ranks, nothing, nothing, len(self.ranks))


def read(path: Path) -> Kept:
    """A document that `reelseek eval retrieval --json` printed.

    Raises:
        BenchmarkError: it is none.
    """
    try:
        whole = json_of(path)
        found = np.array([np.inf if rank is None else float(rank) for rank in whole["ranks"]], np.float64)
        digest = str(whole["digest"])
    except (BenchmarkError, ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(f"{path} is not what `reelseek eval retrieval --json` prints") from error
    if not len(found) or np.isnan(found).any() or (found < 1).any():
        raise BenchmarkError(f"{path}: `ranks` wants numbers from 1 on, or null for what is missing")
    return Kept(digest, found)


def compared(one: Kept, other: Kept) -> Document:
    """One run less the other, question by question.

    Raises:
        BenchmarkError: they did not answer the same questions.
    """
    if one.digest != other.digest:
        raise BenchmarkError(
            f"the runs answered other questions ({one.digest} and {other.digest}); a paired test wants the same ones"
        )
    first, second = one.ranked(), other.ranked()
    found = {}
    for name in measures.PAIRED:
        of = measures.MEASURES[name][0]
        a, b = of(first), of(second)
        difference = measures.paired(a, b)
        found[name] = {
            "one": _round(a.mean()),
            "other": _round(b.mean()),
            "difference": _round(difference.value),
            "p": _round(difference.p),
        }
    return {"questions": len(one.ranks), "measures": found}


def compared_rows(document: Document) -> list[Row]:
    return [
        (
            name,
            *(shown(name, told[key]) for key in ("one", "other")),
            f"{told['difference'] * 100:+.1f}",
            f"{told['p']:.4f}",
        )
        for name, told in document["measures"].items()
    ]
