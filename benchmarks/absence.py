"""Is the best answer real?  What else is known of an answer than its score, and whether it tells absence better.

Every question of a half is asked as it is, and again without the media that answer it; captions, moments and sounds of
the manifest are asked as questions too.  A signal is worth what its AUROC is: the chance that a question with an answer
has more of it than one without.  Questions are asked as plain sentences (`reelseek eval absence` judges what the
library says in the end).  What is chosen is chosen on the *choose* half.

python benchmarks/absence.py --media DIR [--library LIB] [--order SET …] [--half choose]
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import machine
import numpy as np
from numpy.typing import NDArray
from quality import HALVES, Question, questions

from api import Library
from retriever.calibration import background
from retriever.doubt import Doubt, of_place
from retriever.fusion import log_sum
from retriever.ports import Snapshot
from retriever.scoring import Scored, Scorer
from retriever.types import EVERYTHING, Filter, Floats, Ids, Matrix
from retriever.words import query_words

DRAWS = 2000
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """One question, asked of some of the segments."""

    question: int
    allowed: Mask  # (S,)
    present: bool


@dataclass(frozen=True)
class Bed:
    """A library, and all that is asked of it."""

    library: Library
    snapshot: Snapshot
    asked: Sequence[tuple[str, frozenset[str], str]]  # text, keys of media that answer it, and the clip that it is of
    where: Filter = EVERYTHING

    @cached_property
    def numbers(self) -> Ids:
        return self.snapshot.numbers(self.where)

    @cached_property
    def media(self) -> Ids:
        """The media of each segment, as places in `keys`."""
        return np.unique(self.snapshot.segments(self.numbers).media, return_inverse=True)[1]

    @cached_property
    def keys(self) -> list[str]:
        return [one.key for one in self.snapshot.media_at(np.unique(self.snapshot.segments(self.numbers).media))]

    def _look(self, views: Mapping[str, Matrix], texts: Sequence[str]) -> list[Scored]:
        searcher = self.library.searcher
        scorer = Scorer(self.snapshot, searcher.looking, searcher.calibrator.of(self.snapshot).levels)
        return list(scorer.look(views, [query_words(text) for text in texts], self.numbers, self.where))

    @cached_property
    def scored(self) -> list[Scored]:
        texts = [text for text, _, _ in self.asked]
        return self._look(self.library.searcher.views(self.snapshot, texts), texts)

    @cached_property
    def rows(self) -> tuple[Matrix, Matrix]:
        """Questions and background, as the gate reads them."""
        known = self.library.searcher.calibrator.of(self.snapshot)
        side = known.levels.gate_side
        return self.library.searcher.views(self.snapshot, [text for text, _, _ in self.asked])[side], known.rows[side]

    @cached_property
    def chance(self) -> Matrix:
        """What the background finds in each segment, `(B, S)`."""
        known = self.library.searcher.calibrator.of(self.snapshot)
        return np.stack([one.fused for one in self._look(known.rows, background().sentences)])

    @cached_property
    def doubt(self) -> Doubt:
        return Doubt.of(self.rows[1])

    @cached_property
    def near(self) -> Matrix:
        """Cosines of questions and background, `(Q, B)`."""
        return self.rows[0] @ self.rows[1].T

    def cases(self) -> Iterator[Case]:
        everything = np.ones(len(self.numbers), bool)
        for number, (_, relevant, _) in enumerate(self.asked):
            there = np.isin(self.media, [place for place, key in enumerate(self.keys) if key in relevant])
            if there.any():
                yield Case(number, everything, True)
            yield Case(number, ~there, False)

    def best(self, case: Case) -> tuple[int, float]:
        heights = np.where(case.allowed, self.scored[case.question].fused, -np.inf)
        return int(heights.argmax()), float(heights.max())

    def by_media(self, case: Case) -> Floats:
        """The best score of each media, best first."""
        best = np.full(len(self.keys), -np.inf, np.float32)
        np.maximum.at(best, self.media, np.where(case.allowed, self.scored[case.question].fused, -np.inf))
        return np.sort(best[np.isfinite(best)])[::-1]

    def by_chance(self, case: Case) -> Floats:
        """What each sentence of the background finds best, `(B,)`."""
        best: Floats = self.chance[:, case.allowed].max(axis=1)
        return best


# ---------------------------------------------------------------------------------------------------------- the signals


def score(bed: Bed, case: Case) -> float:
    return bed.best(case)[1]


def spreads(bed: Bed, case: Case) -> float:
    """How many spreads it stands out of this question's other media."""
    found = bed.by_media(case)
    return float((found[0] - found[1:].mean()) / (found[1:].std() or 1.0))


def gap(place: int, part: float) -> Callable[[Bed, Case], float]:
    def less(bed: Bed, case: Case) -> float:
        found = bed.by_media(case)
        return float(found[0] - part * found[min(place, len(found) - 1)])

    return less


def like_it(sharp: float) -> Callable[[Bed, Case], float]:
    """Against the background near to the question, e^(sharp × cosine) of it."""

    def against(bed: Bed, case: Case) -> float:
        weights = np.exp(sharp * bed.near[case.question])
        weights /= weights.sum()
        chance = bed.by_chance(case)
        middle = float(weights @ chance)
        return (score(bed, case) - middle) / float(np.sqrt(weights @ (chance - middle) ** 2))

    return against


def foretold(bed: Bed, case: Case) -> float:
    """Less what a ridge map over the background foretells a question like it to find by chance."""
    rows, chance = bed.rows[1], bed.by_chance(case)
    inner = rows - rows.mean(axis=0)
    slopes = np.linalg.solve(inner.T @ inner + 10 * np.eye(inner.shape[1]), inner.T @ (chance - chance.mean()))
    return score(bed, case) - float((bed.rows[0][case.question] - rows.mean(axis=0)) @ slopes)


def by_source(bed: Bed, case: Case) -> float:
    """What its best source alone says, in the place of all their odds together."""
    asked = bed.scored[case.question]
    best = np.where(case.allowed, asked.scores, -np.inf).max(axis=1)
    return float((best + asked.gates).max())


def turned(bed: Bed, case: Case) -> float:
    """The share of the background that fits the segment less."""
    row, found = bed.best(case)
    return float((bed.chance[:, row] < found).mean()) + 1e-6 * found


def others(part: float, sharp: float) -> Callable[[Bed, Case], float]:
    """Less how well the background fits that segment: the mean of e^(score / sharp)."""

    def less(bed: Bed, case: Case) -> float:
        row, found = bed.best(case)
        fits = bed.chance[:, row] / np.float32(sharp)
        return found - part * sharp * float(log_sum(fits, axis=0) - np.log(len(fits)))

    return less


def alone(bed: Bed, case: Case) -> float:
    row, found = bed.best(case)
    return found - float(of_place(bed.scored[case.question], [row])[0])


def usual(bed: Bed, case: Case) -> float:
    return score(bed, case) - bed.doubt.of_question(bed.rows[0][case.question])


def doubted(bed: Bed, case: Case) -> float:
    return alone(bed, case) + usual(bed, case) - score(bed, case)


def all_three(bed: Bed, case: Case) -> float:
    return doubted(bed, case) + others(0.5, 0.5)(bed, case) - score(bed, case)


SIGNALS: Mapping[str, Callable[[Bed, Case], float]] = {
    "score alone": score,
    "spreads above its other media": spreads,
    "gap to the second": gap(1, 1.0),
    "less a quarter of the fifth": gap(4, 0.25),
    "background like the question, 5": like_it(5.0),
    "background like the question, 10": like_it(10.0),
    "less what is foretold": foretold,
    "best single source": by_source,
    "share of the background that fits less": turned,
    "less how others fit, 1 (0.5)": others(1.0, 0.5),
    "less how others fit, 1 (1)": others(1.0, 1.0),
    "less half of how others fit (0.5)": others(0.5, 0.5),
    "less standing alone": alone,
    "less nearness": usual,
    "less nearness and standing alone (shipped)": doubted,
    "all three": all_three,
}


# --------------------------------------------------------------------------------------------------------- the measures


@dataclass(frozen=True)
class Wins:
    """Of each pair of a question with an answer and one without, whether the first has more; and the clips of both."""

    table: NDArray[np.float64]  # (P, N)
    present: list[str]
    absent: list[str]

    @classmethod
    def of(cls, bed: Bed, signal: Callable[[Bed, Case], float]) -> "Wins":
        cases = list(bed.cases())
        values = np.array([signal(bed, case) for case in cases])
        there = np.array([case.present for case in cases])
        clips = [bed.asked[case.question][2] for case in cases]
        one, other = values[there][:, None], values[~there]
        return cls(
            (one > other) + 0.5 * (one == other),
            [clip for clip, present in zip(clips, there, strict=True) if present],
            [clip for clip, present in zip(clips, there, strict=True) if not present],
        )


def gain(found: Sequence[Wins], plain: Sequence[Wins]) -> str:
    """The mean gain over all sets, and its interval: clips are drawn, with all that is asked about them."""
    clips = sorted({clip for one in found for clip in (*one.present, *one.absent)})
    place = {clip: number for number, clip in enumerate(clips)}
    draw = np.random.default_rng(1)
    means = []
    for weights in draw.multinomial(len(clips), np.full(len(clips), 1 / len(clips)), DRAWS):
        parts = []
        for one, other in zip(found, plain, strict=True):
            ours = weights[[place[clip] for clip in one.present]]
            theirs = weights[[place[clip] for clip in one.absent]]
            parts.append((ours @ (one.table - other.table) @ theirs) / max(1, ours.sum() * theirs.sum()))
        means.append(np.mean(parts))
    value = np.mean([one.table.mean() - other.table.mean() for one, other in zip(found, plain, strict=True)])
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def report(beds: Mapping[str, Bed]) -> None:
    counts = [f"{name} ({len(bed.asked)})" for name, bed in beds.items()]
    print(f"\n| signal | {' | '.join(counts)} | mean gain |\n|---|{'---|' * (len(beds) + 1)}")
    plain = [Wins.of(bed, score) for bed in beds.values()]
    for name, signal in SIGNALS.items():
        found = [Wins.of(bed, signal) for bed in beds.values()]
        cells = " | ".join(f"{one.table.mean():.3f}" for one in found)
        print(f"| {name} | {cells} | {gain(found, plain) if signal is not score else ''} |", flush=True)


def labelled(media: Path, library: Library, half: str) -> dict[str, list[tuple[str, frozenset[str], str]]]:
    """What is asked of the clips, by where it comes from."""
    key = {Path(one.path).stem: one.key for one in library.media()}
    found: dict[str, list[tuple[str, frozenset[str], str]]] = {
        "questions": [
            (one.text, frozenset(key[stem] for stem in one.relevant), min(one.relevant, default=one.text))
            for one in questions(media)
            if one.half == half
        ]
    }
    for line in (media / "manifest.jsonl").read_text("utf-8").splitlines():
        clip = json.loads(line)
        stem = clip["id"]
        if Question("", "", (stem,)).half == half:
            said = {"captions": clip["captions"], "moments": [one["query"] for one in clip["moments"]]}
            for name, texts in (said | {"sounds": clip["sounds"]}).items():
                found.setdefault(name, []).extend((text, frozenset({key[stem]}), stem) for text in texts)
    return found


def joined(folder: Path, clips: Library, library: Library, half: str) -> list[tuple[str, frozenset[str], str]]:
    """The parts of an order set's media, by what they say: whatever has that part answers."""
    stems = {one.key: Path(one.path).stem for one in clips.media()}
    keys = {Path(one.path).stem: one.key for one in library.media()}
    holds: dict[str, set[str]] = {}
    said: dict[str, str] = {}
    for line in (folder / "set.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        for place, source in zip(("before", "after"), entry["sources"], strict=True):
            stem = stems[source["media"]]
            said[entry[place]] = stem
            holds.setdefault(stem, set()).add(keys[Path(entry["media"]).stem])
    picked = {text: stem for text, stem in said.items() if Question("", "", (stem,)).half == half}
    return [(text, frozenset(holds[stem]), stem) for text, stem in picked.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path(__file__).parents[2] / "shared" / "media")
    parser.add_argument("--library", type=Path, help="kept, and brought up to date")
    parser.add_argument("--order", type=Path, action="append", default=[], help="made by `reelseek make order-set`")
    parser.add_argument("--half", choices=HALVES, default=HALVES[0])
    args = parser.parse_args()
    if not (args.media / "queries.jsonl").is_file():
        parser.error(f"{args.media} has no queries.jsonl")
    print(machine.describe())
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        library = opened.enter_context(Library.open(args.library or folder / "library"))
        library.index([args.media])
        where = Filter(path=f"{args.media.absolute()}/s*")
        clips = opened.enter_context(library.store.snapshot())
        sets = labelled(args.media, library, args.half)
        beds = {name: Bed(library, clips, asked, where) for name, asked in sets.items()}
        for place in args.order:
            other = opened.enter_context(Library.open(place / "library", create=False))
            view = opened.enter_context(other.store.snapshot())
            beds[f"order: {place.name}"] = Bed(other, view, joined(place, library, other, args.half))
        print(f"\n## {args.half} half")
        report(beds)


if __name__ == "__main__":
    main()
