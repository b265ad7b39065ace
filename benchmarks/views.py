"""Three more ways to look at the tokens that a library has: do they find better than the default does?

*Joint*: the mean of what is seen and heard in the same second, as one more source (CoAVT's idea).  *Motion*: the
differences of neighbouring frames, against the words of a question that tell of motion (VDI's).  *Agreement*: whether
what is seen and heard in a second belong together (CACE-Net's), for questions of something seen and heard at once and
for spans.  Nothing is trained.  Questions are asked as plain sentences, and are those of the *choose* half, unless the
other one is asked for: it is for what has won there.

python benchmarks/views.py --media DIR [--library LIB] [--half choose]    # DIR as for quality.py
"""

import argparse
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import machine
import numpy as np
from _ground import KINDS, Ground, held
from numpy.typing import NDArray
from quality import HALVES, MEASURES, Question, captions, interval, paired, questions, ranks

from api import Library
from retriever.evaluation.absence import area
from retriever.evidence import DROP
from retriever.fusion import log_sum
from retriever.moments import Curve
from retriever.scoring import Scored
from retriever.types import Filter, Floats, Matrix, Modality, Times, TimeSpan

Scores = NDArray[np.float64]  # (Q, M) questions against media
SPLIT = 0.2
"""A question's gate is split where sight and sound have at least this share each."""
STEP = 1.0
"""Seconds that are seen and heard together."""
LARGE = 0.4
"""How far apart two frames are that differ plainly; of all neighbours in a segment three in ten are."""
LOW = np.float32(-30)
MOVING = re.compile(r"\w{2,}ing\b|\w{3,}[^s\W]s\b(?= (?:a|an|the|his|her|its|their|up|down|out|off|back|in|into|to)\b)")
"""A word that tells of motion, by its looks: `jumping`; `covers the`, `runs out`.  It takes `evening` for one."""


def seconds(ground: Ground) -> tuple[list[Matrix], list[Times]]:
    """By segment what is seen and what is heard, `(N, 2, D)`, in each second that has both; with those seconds."""
    rows, spans = [], []
    for segment in range(len(ground.numbers)):
        (sights, shown), (sounds, sounded) = (held(ground.tokens[kind], segment) for kind in KINDS)
        starts = np.zeros(0)
        if len(shown) and len(sounded):
            starts = np.arange(np.floor(max(shown.min(), sounded.min())), min(shown.max(), sounded.max()), STEP)
        pairs = [(_mean(sights, shown, at), _mean(sounds, sounded, at), at) for at in starts.tolist()]
        both = [(np.stack([one, other]), at) for one, other, at in pairs if one is not None and other is not None]
        rows.append(np.array([pair for pair, _ in both]).reshape(-1, 2, sights.shape[1]))
        spans.append(np.array([(at, at + STEP) for _, at in both]).reshape(-1, 2))
    return rows, spans


def _mean(rows: Matrix, spans: Times, at: float) -> Matrix | None:
    covers = (spans[:, 0] < at + STEP) & (spans[:, 1] > at)
    return _unit(rows[covers].mean(axis=0)) if covers.any() else None


def _unit(rows: Matrix) -> Matrix:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)


# ---------------------------------------------------------------------------------------------------------- the tables


@dataclass(frozen=True)
class Asked:
    """Questions, and what the default knows of them."""

    ground: Ground
    asked: Sequence[Question]

    @cached_property
    def scored(self) -> list[Scored]:
        return self.ground.asked([one.text for one in self.asked])

    @cached_property
    def rows(self) -> Matrix:
        return self.ground.rows([one.text for one in self.asked])

    @cached_property
    def odds(self) -> Matrix:
        """`(Q, K, S)` calibrated and gated."""
        return np.stack([one.scores + one.gates[:, None] for one in self.scored])

    @property
    def default(self) -> Matrix:
        return log_sum(self.odds, axis=1)

    def places(self, *kinds: Modality) -> list[int]:
        return [k for k, one in enumerate(self.scored[0].sources) if one.modality in kinds and one.space]

    def gate(self, kind: Modality) -> Floats:
        """`(Q,)` how likely each question means it."""
        return np.exp(np.array([one.gates[self.places(kind)[0]] for one in self.scored]))

    def beside(self, scores: Matrix, share: Floats, instead_of: Sequence[int] = ()) -> Matrix:
        """With one more source, `(Q, S)`, whose gate is this share `(Q,)`; where it knows anything, in the place of
        others."""
        odds = self.odds.copy()
        odds[:, list(instead_of)] = np.where(np.isfinite(scores)[:, None], LOW, odds[:, list(instead_of)])
        more = scores + np.log(np.maximum(share, 1e-12))[:, None].astype(np.float32)
        return log_sum(np.concatenate([odds, more[:, None]], axis=1), axis=1)

    def ranks(self, scores: Matrix) -> Scores:
        best = np.full((len(scores), len(self.ground.stems)), -np.inf)
        np.maximum.at(best.T, self.ground.columns, scores.T)
        return ranks(best, self.asked, self.ground.stems)


def table(title: str, of: Asked, methods: Mapping[str, Matrix], picked: NDArray[np.bool_] | None = None) -> None:
    """The first method is what the others are compared with."""
    chosen = np.ones(len(of.asked), bool) if picked is None else picked
    if not chosen.any():
        return
    print(f"\n### {title}: {chosen.sum()} questions\n")
    print("| source | R@1 | R@5 | MRR | MRR, less the first |\n|---|---|---|---|---|")
    found = {name: of.ranks(scores)[chosen] for name, scores in methods.items()}
    first = next(iter(found.values()))
    for name, rank in found.items():
        cells = [interval(measure(rank)) for measure in MEASURES.values()]
        print(f"| {name} | {' | '.join(cells)} | {'' if rank is first else paired(1 / rank, 1 / first)} |")


def joint(of: Asked) -> None:
    ground, (seen, heard) = of.ground, (of.gate(kind) for kind in KINDS)
    split = np.minimum(seen, heard) >= SPLIT
    pairs, _ = seconds(ground)
    methods = {"default": of.default}
    for weight in (0.5, 0.7):
        scores = ground.calibrated([weight * one[:, 0] + (1 - weight) * one[:, 1] for one in pairs], of.rows)
        instead = of.beside(scores, seen + heard, of.places(*KINDS))
        name = f"{weight:.0%} sight"
        methods |= {
            f"{name}, alone": scores,
            f"{name}, beside, as likely as sight or sound": of.beside(scores, (seen + heard) / 2),
            f"{name}, beside, as likely as both": of.beside(scores, 2 * np.minimum(seen, heard)),
            f"{name}, beside where the gate is split": of.beside(scores, np.where(split, (seen + heard) / 2, 0.0)),
            f"{name}, in the place of both": instead,
            f"{name}, in their place where the gate is split": np.where(split[:, None], instead, of.default),
        }
    there = np.isin(np.array([one.relevant[0] for one in of.asked]), ground.heard_and_seen)
    table("joint, all", of, methods)
    table("joint, whose clip is both seen and heard", of, methods, there)
    table("joint, whose gate is split", of, methods, split)


def moving(text: str) -> str:
    """The part of a question from its first word of motion on; all of it where none is found."""
    found = MOVING.search(text)
    return text[found.start() :] if found else text


def motion(of: Asked) -> None:
    ground, seen = of.ground, of.gate(Modality.VISION)
    tokens = ground.tokens[Modality.VISION]
    steps = [np.diff(held(tokens, segment)[0], axis=0) for segment in range(len(ground.numbers))]
    windows: Mapping[str, list[Matrix]] = {
        "each difference": steps,
        "large ones": [step[np.linalg.norm(step, axis=1) > LARGE] for step in steps],
        "mean of four": [_fours(step) for step in steps],
        "mean of the segment": [step.mean(axis=0, keepdims=True) if len(step) else step for step in steps],
    }
    phrases = [moving(one.text) for one in of.asked]
    told = ground.rows(phrases)
    methods = {"default": of.default}
    for name, parts in windows.items():
        for asked, rows in (("verbs", told), ("all words", of.rows)):
            scores = ground.calibrated(parts, rows)
            odds = of.odds.copy()
            odds[:, of.places(Modality.VISION)] += 0.25 * np.where(np.isfinite(scores), scores, 0)[:, None]
            methods[f"{name}, {asked}, alone"] = scores
            methods[f"{name}, {asked}, beside"] = of.beside(scores, seen)
            methods[f"{name}, {asked}, a quarter added to sight"] = log_sum(odds, axis=1)
    temporal = np.array([one.type == "temporal" for one in of.asked])
    cut = np.array([phrase != one.text for phrase, one in zip(phrases, of.asked, strict=True)])
    table("motion, all", of, methods)
    table("motion, temporal questions", of, methods, temporal)
    table("motion, temporal or with a word of motion", of, methods, temporal | cut)


def _fours(steps: Matrix) -> Matrix:
    """Means of neighbouring differences: what is farther apart in time differs by more than noise."""
    size = min(4, len(steps))
    means = [steps[at : at + size].mean(axis=0) for at in range(len(steps) - size + 1)] if size else []
    return np.array(means).reshape(-1, steps.shape[1])


# ----------------------------------------------------------------------------------------------------------- agreement


@dataclass(frozen=True)
class Agreement:
    """How well sight and sound of each second agree, in spreads above seconds of other media."""

    spans: list[Times]  # (N, 2) by segment
    heights: list[Floats]  # (N,)

    def at(self, segment: int, times: Times) -> Floats:
        """What is above chance at these times; 0 where one of the two is missing."""
        inside = (self.spans[segment][:, 0] <= times[:, None]) & (times[:, None] < self.spans[segment][:, 1])
        return np.asarray(inside @ np.maximum(self.heights[segment], 0), np.float32)


def agreement(ground: Ground) -> Agreement:
    """Cosines of sight and sound in a second, both less their mean over the library, against those of other media."""
    pairs, spans = seconds(ground)
    owner = np.repeat(ground.columns, [len(one) for one in pairs])
    rows = np.concatenate(pairs)
    sights, sounds = (_unit(rows[:, side] - rows[:, side].mean(axis=0)) for side in (0, 1))
    every = sights @ sounds.T
    same = owner[:, None] == owner
    own, within, others = np.diag(every), every[same & ~np.eye(len(owner), dtype=bool)], every[~same]
    print(f"\n### agreement: {len(own)} seconds of {len(np.unique(owner))} clips are seen and heard\n")
    print(f"mean cosine: same second {own.mean():.3f}, same clip {within.mean():.3f}, other clips {others.mean():.3f}")
    print(f"a second's own sound above another clip's: {area(own, others[:: max(1, len(others) // 5000)]).value:.3f}")
    heights = ((own - others.mean()) / others.std()).astype(np.float32)
    return Agreement(spans, np.split(heights, np.cumsum([len(one) for one in pairs])[:-1]))


def at_once(ground: Ground, media: Path, half: str) -> None:
    """Questions of something seen and something heard at once, put together of captions and sounds of one clip; then
    the labelled moments of such clips."""
    lines = (media / "manifest.jsonl").read_text("utf-8").splitlines()
    clips = [clip for line in lines if (clip := json.loads(line))["id"] in ground.heard_and_seen]
    clips = [clip for clip in clips if Question("", "", (clip["id"],)).half == half]
    made = [(clip["id"], one, other) for clip in clips for one in clip["captions"] for other in clip["sounds"]]
    of = Asked(ground, [Question(f"{one} + {other}", "both", (stem,)) for stem, one, other in made])
    seen = ground.asked([one for _, one, _ in made], Modality.VISION)
    heard = ground.asked([other for _, _, other in made], Modality.SOUND)
    agreeing = agreement(ground)
    curves = [
        (_curves(ground, one, KINDS[0]), _curves(ground, other, KINDS[1]))
        for one, other in zip(seen, heard, strict=True)
    ]
    methods = {"in the same second (default)": _paired(curves, agreeing, 0.0)}
    methods |= {f"and {part:g} of agreement": _paired(curves, agreeing, part) for part in (0.25, 0.5, 1.0)}
    sights, sounds = (np.stack([one.fused for one in each]) for each in (seen, heard))
    methods["in the same segment"] = -log_sum(-np.stack([sights, sounds]), axis=0)
    table("both(seen, heard)", of, methods | {"seen alone": sights, "heard alone": sounds})
    spans(ground, clips, agreeing)


def _curves(ground: Ground, scored: Scored, kind: Modality) -> list[Curve]:
    """Of each segment."""
    seen = scored.seen[ground.keys[kind]]
    cuts = [slice(*seen.tokens.offsets[at : at + 2].tolist()) for at in range(len(ground.numbers))]
    return [Curve.of(seen.tokens.spans[cut], seen.heights[cut]) for cut in cuts]


def _paired(asked: Sequence[tuple[list[Curve], list[Curve]]], agreeing: Agreement, part: float) -> Matrix:
    """The best second of each segment, `(Q, S)`: both odds, as a query of both has them."""
    best = np.full((len(asked), len(asked[0][0])), -np.inf, np.float32)
    for query, both in enumerate(asked):
        for segment, pair in enumerate(zip(*both, strict=True)):
            if all(len(curve.heights) for curve in pair):
                edges = np.unique(np.concatenate([curve.edges for curve in pair]))
                times = (edges[:-1] + edges[1:]) / 2
                heights = -log_sum(-np.stack([_at(curve, times) for curve in pair]), axis=0)
                best[query, segment] = (heights + part * agreeing.at(segment, times)).max()
    return best


def _at(curve: Curve, times: Times) -> Floats:
    place = np.searchsorted(curve.edges, times, side="right") - 1
    inside = (place >= 0) & (place < len(curve.heights))
    return np.where(inside, np.maximum(curve.heights[np.clip(place, 0, len(curve.heights) - 1)], LOW), LOW)


def spans(ground: Ground, clips: Sequence[Any], agreeing: Agreement) -> None:
    """Each moment in its own clip, with agreement added to the heights of all tokens."""
    said = [(clip["id"], one) for clip in clips for one in clip["moments"]]
    scored = ground.asked([one["query"] for _, one in said])
    print(f"\n### spans: {len(said)} moments\n\n| agreement | mIoU | less none |\n|---|---|---|")
    found: dict[float, Scores] = {}
    for part in (0.0, 0.25, 0.5, 1.0):
        overlaps = []
        for (stem, one), asked in zip(said, scored, strict=True):
            rows = np.flatnonzero(ground.columns == ground.stems.index(stem)).tolist()
            cuts = [
                (seen, slice(*seen.tokens.offsets[[rows[0], rows[-1] + 1]].tolist())) for seen in asked.seen.values()
            ]
            every = [seen.tokens.spans[cut] for seen, cut in cuts], [seen.heights[cut] for seen, cut in cuts]
            whole = Curve.of(*(np.concatenate(each) for each in every))
            bonus = sum(agreeing.at(row, (whole.edges[:-1] + whole.edges[1:]) / 2) for row in rows)
            span = Curve(whole.edges, whole.heights + np.float32(part) * bonus).around(0, np.inf, DROP)
            overlaps.append(TimeSpan(*span).iou(TimeSpan(one["start_s"], one["end_s"])) if span else 0.0)
        found[part] = np.array(overlaps)
        print(f"| {part:g} | {interval(found[part])} | {paired(found[part], found[0.0]) if part else ''} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path(__file__).parents[2] / "shared" / "media")
    parser.add_argument("--library", type=Path, help="kept, and brought up to date")
    parser.add_argument("--half", choices=HALVES, default=HALVES[0])
    args = parser.parse_args()
    if not (args.media / "queries.jsonl").is_file():
        parser.error(f"{args.media} has no queries.jsonl")
    print(machine.describe())
    with tempfile.TemporaryDirectory() as folder, Library.open(args.library or Path(folder) / "library") as library:
        library.index([args.media])
        with library.store.snapshot() as snapshot:
            ground = Ground(library, snapshot, Filter(path=f"{args.media.absolute()}/s*"))
            asked = [one for one in questions(args.media) if one.relevant and one.half == args.half]
            told = [one for one in captions(args.media, ground.stems) if one.half == args.half]
            for title, each in (("questions", asked), ("captions", told)):
                print(f"\n## {title}, {args.half} half")
                joint(Asked(ground, each))
                motion(Asked(ground, each))
            print(f"\n## seen and heard, {args.half} half")
            at_once(ground, args.media, args.half)


if __name__ == "__main__":
    main()
