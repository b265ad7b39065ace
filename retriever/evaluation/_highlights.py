"""How well scores of clips point at what people found striking (QVHighlights: Lei et al. 2021; from its description).

found = judge(truth, scores)      # {"Fair": {"HIT@1": …, "mAP": …}, "Good": …, "VeryGood": …}

A media is cut into clips of two seconds; each clip that has to do with the question has a score from 0 to 4 of each of
three people, all others have 0.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from retriever.errors import BenchmarkError
from retriever.evaluation._formats import CLIP_SECONDS, Moments, lines, record
from retriever.evaluation.measures import Estimate, Numbers, interval

LEAST = {"Fair": 2, "Good": 3, "VeryGood": 4}
"""The score from which on a clip counts as a highlight."""


def judge(truth: Sequence[Moments], predictions: Mapping[str, Numbers]) -> dict[str, dict[str, Estimate]]:
    """HIT@1: somebody found the clip with the highest score to be a highlight.  mAP: average precision of all clips by
    score, the mean over people, then over questions.  A question without scores counts 0.

    Raises:
        BenchmarkError: scores for a question that nobody asks.
    """
    strangers = sorted(set(predictions) - {one.id for one in truth})
    if strangers:
        raise BenchmarkError(f"there is an answer to question {strangers[0]!r}, which the benchmark does not ask")
    given = [(_given(one), predictions.get(one.id)) for one in truth]
    found = {}
    for name, least in LEAST.items():
        hits = np.array([0.0 if scores is None else hit(people >= least, scores) for people, scores in given])
        precision = np.array([0.0 if scores is None else _mean(people >= least, scores) for people, scores in given])
        found[name] = {"HIT@1": interval(hits), "mAP": interval(precision)}
    return found


def _given(one: Moments) -> Numbers:
    """What people gave each clip `(C, P)`."""
    people = len(one.saliency[0]) if one.saliency else 1
    found = np.zeros((int(one.duration / CLIP_SECONDS), people))
    if one.clips:
        found[list(one.clips)] = one.saliency
    return found


def hit(right: np.ndarray, scores: Numbers) -> float:
    """Whether anybody `(C, P)` likes the clip that scores `(C',)` like best, the first of equal ones."""
    best = int(np.argmax(scores))
    return float(right[best].any()) if best < len(right) else 0.0


def _mean(right: np.ndarray, scores: Numbers) -> float:
    fitted = np.zeros(len(right))
    fitted[: len(scores)] = scores[: len(right)]  # as published: what is too long is cut, what is too short is 0
    return float(np.mean([average_precision(each, fitted) for each in right.T]))


def average_precision(right: np.ndarray, scores: Numbers) -> float:
    """Of clips `(C,)`: the mean, over the shares of highlights that a threshold can reach, of the best precision there
    or beyond.  Clips of one score come together, as one step.  Without a highlight 0; where all are, 1."""
    total = int(right.sum())
    if total in (0, len(right)):
        return float(total > 0)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last clip of each score
    hits = np.cumsum(right[order])[ends]
    precision = hits / (ends + 1)
    reached = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(np.append(0, hits)) > 0
    return float(reached[steps].mean())


def read(path: Path) -> dict[str, Numbers]:
    """Scores of clips by question, of the lines that have some: {"qid": …, "pred_saliency_scores": [score, …]}.

    Raises:
        BenchmarkError: with the line.
    """
    found: dict[str, Numbers] = {}
    for number, line in lines(path):
        where = f"{path}:{number}"
        one = record(line, where)
        if "pred_saliency_scores" not in one:
            continue
        try:
            scores = np.array([float(score) for score in one["pred_saliency_scores"]])
        except (TypeError, ValueError) as error:
            raise BenchmarkError(f"{where}: 'pred_saliency_scores' wants a list of numbers") from error
        if not len(scores) or not np.isfinite(scores).all():
            raise BenchmarkError(f"{where}: 'pred_saliency_scores' wants one number or more, none of them infinite")
        found[str(one.get("qid"))] = scores
    return found
