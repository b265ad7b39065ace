"""How well spans in time fit those that people marked (moment_detr: Lei et al. 2021; written from its description).

judged = judge(truth, predictions)      # {id: [(start, end, score), …]}
judged.summary(), by_length(truth, predictions)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from retriever.errors import BenchmarkError
from retriever.evaluation._formats import Moments, lines, record
from retriever.evaluation.measures import Estimate, Numbers, interval

OVERLAPS = (0.3, 0.5, 0.7)
DEPTHS = (1, 5)
THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
KEPT = 10
"""Answers of a question that precision looks at, the best ones."""
LENGTHS: Mapping[str, tuple[float, float]] = {"short": (0, 10), "middle": (10, 30), "long": (30, np.inf)}
"""Seconds of a moment: longer than the first, and no longer than the second.  QVHighlights has none above 150."""
Window = tuple[float, float, float]  # start, end, score


@dataclass(frozen=True, slots=True)
class Judged:
    """Of each question, in the order of the truth."""

    best: Numbers  # (Q, D) overlap of the best of the first 1 and 5 answers with any window; 0 without an answer
    precision: Numbers  # (Q, T) average precision by threshold

    def summary(self) -> dict[str, Estimate]:
        found = {
            f"R{depth}@{overlap}": interval((best >= overlap).astype(np.float64))
            for depth, best in zip(DEPTHS, self.best.T, strict=True)
            for overlap in OVERLAPS
        }
        precision = {
            f"mAP@{threshold}": interval(self.precision[:, THRESHOLDS.index(threshold)]) for threshold in (0.5, 0.75)
        }
        return {
            **found,
            "mIoU": interval(self.best[:, 0]),
            "mAP": interval(self.precision.mean(axis=1)),
            **precision,
        }


def judge(truth: Sequence[Moments], predictions: Mapping[str, Sequence[Window]]) -> Judged:
    """
    Raises:
        BenchmarkError: an answer to a question that nobody asks.
    """
    strangers = sorted(set(predictions) - {one.id for one in truth})
    if strangers:
        raise BenchmarkError(f"there is an answer to question {strangers[0]!r}, which the benchmark does not ask")
    best, precision = [], []
    for one in truth:
        answers = sorted(predictions.get(one.id, ()), key=lambda window: -window[2])[:KEPT]
        overlap = overlaps(answers, one.windows)  # (A, W)
        best.append([float(overlap[:depth].max(initial=0.0)) for depth in DEPTHS])
        precision.append([average_precision(overlap, threshold) for threshold in THRESHOLDS])
    return Judged(np.array(best), np.array(precision))


def by_length(
    truth: Sequence[Moments], predictions: Mapping[str, Sequence[Window]]
) -> dict[str, tuple[int, dict[str, Estimate]]]:
    """Of each length of moments how many questions have one, and the measures over these, held against the windows of
    that length alone, as the published evaluation does."""
    found = {}
    for name, (above, most) in LENGTHS.items():
        kept = [
            replace(one, windows=windows)
            for one in truth
            if (windows := tuple(each for each in one.windows if above < each[1] - each[0] <= most))
        ]
        if kept:
            asked = {one.id for one in kept}
            own = {name: windows for name, windows in predictions.items() if name in asked}
            found[name] = len(kept), judge(kept, own).summary()
    return found


def overlaps(answers: Sequence[Window], windows: Sequence[tuple[float, float]]) -> Numbers:
    """Intersection over union of each answer with each window `(A, W)`."""
    one = np.array([answer[:2] for answer in answers], np.float64).reshape(-1, 1, 2)
    other = np.array(windows, np.float64).reshape(1, -1, 2)
    shared = np.maximum(np.minimum(one[..., 1], other[..., 1]) - np.maximum(one[..., 0], other[..., 0]), 0)
    union = (one[..., 1] - one[..., 0]) + (other[..., 1] - other[..., 0]) - shared
    share: Numbers = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return share


def average_precision(overlap: Numbers, threshold: float) -> float:
    """Of answers in the order of rows: each takes the window it fits best of those still free, if it fits well
    enough.  Precision is what is still reached at that recall or beyond."""
    free = np.ones(overlap.shape[1], bool)
    hits = np.zeros(len(overlap), bool)
    for place, row in enumerate(overlap):
        best = int(np.argmax(np.where(free, row, -1)))
        if free[best] and row[best] >= threshold:
            free[best], hits[place] = False, True
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    reached = np.maximum.accumulate(precision[::-1])[::-1]
    return float(reached[hits].sum() / overlap.shape[1])


def read_predictions(path: Path) -> dict[str, list[Window]]:
    """A line a question, as QVHighlights hands them in: {"qid": …, "pred_relevant_windows": [[start, end, score], …]}.

    Raises:
        BenchmarkError: with the line.
    """
    found: dict[str, list[Window]] = {}
    for number, line in lines(path):
        where = f"{path}:{number}"
        one = record(line, where)
        try:
            name = str(one["qid"])
            given = one.get("pred_relevant_windows", [] if "pred_saliency_scores" in one else None)
            windows = [(float(start), float(end), float(score)) for start, end, score in given]
        except (ValueError, TypeError, KeyError) as error:
            wanted = '{"qid": …, "pred_relevant_windows": [[start, end, score], …]}'
            raise BenchmarkError(f"{where}: {line[:60]!r}; it wants {wanted}") from error
        if name in found:
            raise BenchmarkError(f"{where}: question {name} is answered a second time")
        wrong = [window for window in windows if not (np.isfinite(window).all() and 0 <= window[0] <= window[1])]
        if wrong:
            raise BenchmarkError(f"{where}: the window is {list(wrong[0])}; it wants a start, a later end and a score")
        found[name] = windows
    return found
