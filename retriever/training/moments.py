"""Train a moment head over cached tokens, and choose the checkpoint on groups of media that were held out for that.

    trained = train(questions, Options("spans"))        # captions with their spans, or of all of a media
    trained.head.save(Path("moments"))

`spans` learns from times: of captions that have a span, and of films that are joined on the spot, where a stretch that
a caption is true of stands among stretches of other media; so captions of whole clips teach it too, and nowhere in a
film do moments lie by preference.  The loss is the cross-entropy of the start's cell and of the end's.

`weak` learns from captions and media alone (VLANet: Ma et al. 2020): each window around a media's peak stands out so
far in what the question attends to, a media as far as its best windows (a soft maximum), and InfoNCE tells the
caption's media from others, among them those that search takes for it most readily.  What it learns is which modality
to believe; how long a moment is stays as windows have it, since captions say nothing of that (a head that also learnt
to score lengths took ones that were far too short or too long).

Training takes seconds to a few minutes, so a run that was stopped is begun again.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from retriever import windows
from retriever.errors import TrainingError
from retriever.spanning import KERNEL, LAYERS, NEVER, MomentHead, allowed, question
from retriever.tracks import CHANNELS, MODALITIES, PARTS, REACH, SURROGATES, Track, View, channels, proposals
from retriever.training.loop import pace
from retriever.types import Floats, TimeSpan

SHORTEST, LONGEST = 2.0, 25.0
"""Seconds of a stretch of a joined film."""
MOST_JOINED = 5
"""Stretches of other media in one."""
CUT = {0: (2.0, 6.0), 1: (1.0, 4.0)}
"""How much more than on average a joined film changes, in what is seen and in what is heard, where it was joined: as
real joined films do, most of them."""
MARKED = 0.8
"""Share of such places where the segmenter is taken to have cut."""
FOUND = 0.5
"""Share of joined films that are kept although the highest cell lies outside of what the caption is true of: its peak
is then the highest inside, as when search looked at that candidate next."""
JUDGED = 200
"""Joined films that a checkpoint is judged by."""
WIDTH = 24
"""Of the convolutions (spans)."""
NARROW = 8
"""Numbers of a token of the question, and of a window in one modality (weak)."""
WEAK_PACE = 10.0
"""The weak head's learning rate by that of convolutions: it has some seventy weights, which have to outweigh odds."""
SHARP = 5.0
"""By how much scores of media are multiplied before training, which learns it too."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Options:
    """How to train: the recipe that stands in `moments.json`."""

    family: str = "spans"
    epochs: int = 20
    steps: int = 40  # an epoch
    batch_size: int = 32
    lr: float = 2e-3
    seed: int = 24
    holdout: float = 0.2  # of the groups of media
    patience: int = 5  # epochs without a better one, after which it stops
    decay: float = 0.01
    warmup: float = 0.1  # of all steps
    joined: float = 0.7  # share of examples that are films joined on the spot, where some captions have a span (spans)


class Sight(NamedTuple):
    """What a question finds in one media."""

    track: Track
    peak: int  # the cell that search would build its answer around
    group: int


@dataclass(frozen=True)
class Question:
    """A caption, what it finds in its media, and in others that it is not true of."""

    own: Sight
    others: tuple[Sight, ...]
    span: TimeSpan | None  # when it is true; None: all along
    rest: float
    shares: Floats  # (4,)

    def view(self, sight: Sight) -> View:
        return sight.track.view(sight.peak, self.rest, self.shares)

    @property
    def cells(self) -> tuple[int, int]:
        """Which cells of its own track it is true of, `[first, last)`, one at least."""
        track = self.own.track
        if self.span is None:
            return 0, len(track)
        first, last = (round((time - track.start) / track.step) for time in (self.span.start, self.span.end))
        first = min(max(0, first), len(track) - 1)
        return first, min(max(first + 1, last), len(track))


@dataclass(frozen=True)
class Example:
    """A track with the cells that a moment is, `[first, last)`, and the peak around which it is looked for."""

    question: Question
    track: Track
    peak: int
    first: int
    last: int

    def view(self) -> View:
        return self.track.view(self.peak, self.question.rest, self.question.shares)


@dataclass(frozen=True)
class Judged:
    """An epoch is done.  Epoch 0 is the head before training."""

    epoch: int
    loss: float | None  # mean over the epoch
    grade: float  # mean overlap on held-out media (spans), share of captions whose media comes first (weak)
    best: bool


Watch = Callable[[Judged], None]


@dataclass(frozen=True)
class Trained:
    head: MomentHead


# ------------------------------------------------------------------------------------------------------------ examples


def joined(question: Question, draw: np.random.Generator) -> Example | None:
    """A film in which what a caption is true of stands among stretches of other media; None where the draw makes one
    whose answer would not be built around it."""
    if not question.others:
        return None
    first, last = question.cells
    count = int(draw.integers(1, min(MOST_JOINED, len(question.others)) + 1))
    others = [question.others[at].track for at in draw.permutation(len(question.others))[:count]]
    place = int(draw.integers(0, count + 1))
    parts = [_stretch(track, 0, len(track), draw) for track in others]
    parts.insert(place, _stretch(question.own.track, first, last, draw))
    begin = sum(len(part) for part in parts[:place])
    film = _film(parts, draw)
    end = begin + len(parts[place])
    highest = film.heights.max(axis=0)
    peak = int(np.argmax(highest))
    if not begin <= peak < end:
        if draw.random() >= FOUND:
            return None
        peak = begin + int(np.argmax(highest[begin:end]))
    return Example(question, film, peak, begin, end) if np.isfinite(highest[peak]) else None


def _stretch(track: Track, first: int, last: int, draw: np.random.Generator) -> Track:
    """A part of `[first, last)`; short ones are as likely as long ones, by ratio."""
    wanted = math.exp(draw.uniform(math.log(SHORTEST), math.log(LONGEST)))
    length = min(max(1, round(wanted / windows.STEP)), last - first)
    begin = int(draw.integers(first, last - length + 1))
    kept = slice(begin, begin + length)
    return Track(0.0, windows.STEP, track.heights[:, kept], track.change[:, kept], track.ends[kept])


def _film(parts: Sequence[Track], draw: np.random.Generator) -> Track:
    heights, change, ends = (
        np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in ("heights", "change", "ends")
    )
    covers = [[bool(np.isfinite(row).any()) for row in part.heights[: len(CUT)]] for part in parts]
    places = np.cumsum([len(part) for part in parts])[:-1].tolist()
    for place, one, other in zip(places, covers, covers[1:], strict=False):
        ends[place] = draw.random() < MARKED
        for row, (low, high) in CUT.items():
            change[row, place] = draw.uniform(low, high) if one[row] and other[row] else 0.0
    return Track(0.0, windows.STEP, heights, change, ends)


def plain(question: Question) -> Example:
    """A caption with its own media."""
    return Example(question, question.own.track, question.own.peak, *question.cells)


class Sampler:
    """Examples without end, for the family `spans`."""

    def __init__(self, questions: Sequence[Question], options: Options, seed: Sequence[int]) -> None:
        self._questions = questions
        self._timed = [example for one in questions if one.span is not None if _inside(example := plain(one))]
        self._joined = options.joined if self._timed else 1.0
        self._draw = np.random.default_rng(list(seed))

    def __iter__(self) -> Iterator[Example]:
        misses = 0
        while misses < 1000:
            if self._draw.random() >= self._joined:
                yield self._timed[int(self._draw.integers(len(self._timed)))]
                continue
            found = joined(self._questions[int(self._draw.integers(len(self._questions)))], self._draw)
            misses = 0 if found else misses + 1
            if found:
                yield found
        raise TrainingError("no film can be joined of what the manifest names: name more media, of more groups")


def _inside(example: Example) -> bool:
    """Whether the answer is built around what is right: of another one nothing can be learnt."""
    return example.first <= example.peak < example.last


# -------------------------------------------------------------------------------------------------------------- models


class Spans(nn.Module):
    """Twin of `MomentHead.logits`, for batches `(B, CHANNELS, WIDTH)` → `(B, 2, WIDTH)`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(
                width if layer else len(CHANNELS), width, KERNEL, padding=KERNEL // 2 * 2**layer, dilation=2**layer
            )
            for layer in range(LAYERS)
        )
        self.ends = nn.Conv1d(width, 2, 1)

    def forward(self, seen: Tensor, possible: Tensor) -> Tensor:
        """`possible` `(B, 2, WIDTH)`: which cells can be starts and ends."""
        known = seen[:, -1:]
        hidden: Tensor | None = None
        for layer in self.layers:
            fresh = functional.relu(layer(seen if hidden is None else hidden))
            hidden = (fresh if hidden is None else fresh + hidden) * known
        assert hidden is not None
        logits: Tensor = self.ends(hidden)
        return logits.masked_fill(~possible, NEVER)


class Weak(nn.Module):
    """Twin of `MomentHead.scores`, for batches of windows.  It begins with what search believes without training."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(1 + len(MODALITIES), NARROW, bias=False)
        self.key = nn.Linear(len(PARTS), NARROW, bias=False)
        nn.init.zeros_(self.query.weight)

    def forward(self, asked: Tensor, parts: Tensor) -> Tensor:
        """`(B, V, P)` scores of P windows in each of V media, from questions `(B, 4, 5)` and parts
        `(B, V, P, 4, PARTS)`."""
        logits = torch.einsum("bmd,bvpmd->bvpm", self.query(asked), self.key(parts)) / math.sqrt(NARROW)
        logits = logits + parts[..., PARTS.index("over rest")]
        logits = logits.masked_fill(parts[..., PARTS.index("known")] <= 0, NEVER)
        scores: Tensor = (logits.softmax(-1) * parts[..., PARTS.index("gain")]).sum(-1)
        return scores


def head_of(model: nn.Module, family: str, options: dict[str, Any]) -> MomentHead:
    """The same weights for numpy."""
    arrays = {name: value.detach().cpu().numpy().astype(np.float32) for name, value in model.state_dict().items()}
    return MomentHead(family, arrays, options)


# ------------------------------------------------------------------------------------------------------------ training


def train(questions: Sequence[Question], options: Options, watch: Watch = lambda event: None) -> Trained:
    """On the CPU: there are some thousand weights.

    Raises:
        TrainingError: too little to train on, or a loss that is no number.
    """
    learnt, held = split(questions, options.holdout, options.seed)
    run = (_Spans if options.family == "spans" else _Weak)(learnt, held, options)
    history: list[dict[str, Any]] = []
    best, weights = 0, {name: value.clone() for name, value in run.model.state_dict().items()}
    for epoch in range(options.epochs + 1):
        loss = run.epoch(epoch) if epoch else None
        if loss is not None and not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} in epoch {epoch}: train with a smaller --lr")
        grade = run.grade()
        better = not history or grade > history[best]["grade"]
        history.append({"epoch": epoch, "loss": loss, "grade": grade})
        if better:
            best, weights = epoch, {name: value.clone() for name, value in run.model.state_dict().items()}
        watch(Judged(epoch, loss, grade, better))
        if epoch - best >= options.patience:
            break
    run.model.load_state_dict(weights)
    card = {
        "recipe": asdict(options),
        "data": {
            "captions": len(learnt),
            "groups": len({one.own.group for one in learnt}),
            "with_span": sum(one.span is not None for one in learnt),
            "held_out_captions": len(held),
            "held_out_groups": len({one.own.group for one in held}),
            "held_out_with_span": sum(one.span is not None for one in held),
        },
        "chosen": {"by": run.by, **history[best]},
        "history": history,
    }
    card["held_out"] = compared(head_of(run.model, options.family, {}), learnt, held, options)
    return Trained(head_of(run.model, options.family, card))


def split(questions: Sequence[Question], holdout: float, seed: int) -> tuple[list[Question], list[Question]]:
    """To learn from, and to choose by: no group is on both sides, among the others neither.

    Raises:
        TrainingError: there are too few groups for two parts.
    """
    groups = np.unique([one.own.group for one in questions])
    outside = set(np.random.default_rng([seed, 1]).permutation(groups)[: max(1, round(holdout * len(groups)))].tolist())
    if len(groups) - len(outside) < 2:
        raise TrainingError(
            f"captions of {len(groups)} groups of media leave {len(groups) - len(outside)} to train on; "
            "at least 2 are wanted: caption more media, of more groups"
        )

    def part(held: bool) -> Iterator[Question]:
        for one in questions:
            if (one.own.group in outside) is held:
                others = tuple(sight for sight in one.others if (sight.group in outside) is held)
                yield Question(one.own, others or one.others if held else others, one.span, one.rest, one.shares)

    return list(part(False)), list(part(True))


class _Spans:
    """Training of a span head."""

    by = "mean overlap with what is right, on held-out media"

    def __init__(self, learnt: Sequence[Question], held: Sequence[Question], options: Options) -> None:
        self._options = options
        torch.manual_seed(options.seed)
        self.model = Spans(WIDTH)
        self._examples = iter(Sampler(learnt, options, [options.seed, 2]))
        self._held = examples(held, options)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=options.lr, weight_decay=options.decay)

    def epoch(self, number: int) -> float:
        losses = []
        for step in range(self._options.steps):
            batch = [next(self._examples) for _ in range(self._options.batch_size)]
            views = [example.view() for example in batch]
            seen = torch.from_numpy(np.stack([channels(view) for view in views]))
            possible = torch.from_numpy(np.stack([allowed(view.known) for view in views]))
            first = torch.tensor([max(0, one.first - one.peak + REACH) for one in batch])
            last = torch.tensor([min(2 * REACH, one.last - 1 - one.peak + REACH) for one in batch])
            logits = self.model(seen, possible)
            loss = functional.cross_entropy(logits[:, 0], first) + functional.cross_entropy(logits[:, 1], last)
            _step(self._optimizer, loss, (number - 1) * self._options.steps + step, self._options)
            losses.append(float(loss.item()))
        return float(np.mean(losses))

    def grade(self) -> float:
        head = head_of(self.model, "spans", {})
        return float(np.mean([_overlap(_answer(head, example), example) for example in self._held]))


class _Weak:
    """Training of a head from captions without times."""

    by = "share of held-out captions whose media comes first among those it was not true of"

    def __init__(self, learnt: Sequence[Question], held: Sequence[Question], options: Options) -> None:
        self._options = options
        torch.manual_seed(options.seed)
        self.model = Weak()
        self._learnt, self._held = _Windows.of(learnt), _Windows.of(held)
        if not len(self._learnt.asked):
            raise TrainingError("no caption has another media to be told from: caption more media, of more groups")
        self._draw = np.random.default_rng([options.seed, 2])
        self._sharp = nn.Parameter(torch.tensor(math.log(SHARP)))
        own = [
            {"params": list(self.model.parameters()), "weight_decay": options.decay, "pace": WEAK_PACE},
            {"params": [self._sharp], "weight_decay": 0.0, "pace": WEAK_PACE},
        ]
        self._optimizer = torch.optim.AdamW(own, lr=options.lr)

    def epoch(self, number: int) -> float:
        losses = []
        for step in range(self._options.steps):
            batch = torch.from_numpy(self._draw.integers(len(self._learnt.asked), size=self._options.batch_size))
            scores = self._learnt.scores(self.model, batch, self._sharp)
            loss = functional.cross_entropy(scores, torch.zeros(len(batch), dtype=torch.long))
            _step(self._optimizer, loss, (number - 1) * self._options.steps + step, self._options)
            losses.append(float(loss.item()))
        return float(np.mean(losses))

    def grade(self) -> float:
        if not len(self._held.asked):
            return 0.0
        with torch.no_grad():
            scores = self._held.scores(self.model, torch.arange(len(self._held.asked)), self._sharp)
            chances = scores.softmax(1)[:, 0]
        return float((scores.argmax(1) == 0).float().mean() + 1e-3 * chances.mean())  # ties by how sure


class _Windows(NamedTuple):
    """The windows of each question's media, its own first."""

    asked: Tensor  # (N, 4, 5)
    parts: Tensor  # (N, V, P, 4, PARTS)
    there: Tensor  # (N, V, P)

    @classmethod
    def of(cls, questions: Sequence[Question]) -> "_Windows":
        kept = [one for one in questions if one.others]
        most = max((1 + len(one.others) for one in kept), default=1)
        parts = np.zeros((len(kept), most, SURROGATES, len(MODALITIES), len(PARTS)), np.float32)
        there = np.zeros((len(kept), most, SURROGATES), bool)
        asked = np.zeros((len(kept), len(MODALITIES), 1 + len(MODALITIES)), np.float32)
        for number, one in enumerate(kept):
            asked[number] = question(one.shares).T
            for place, sight in enumerate((one.own, *one.others)):
                held = proposals(one.view(sight))
                parts[number, place, : len(held.windows)] = held.parts
                there[number, place, : len(held.windows)] = True
        return cls(*(torch.from_numpy(array) for array in (asked, parts, there)))

    def scores(self, model: nn.Module, batch: Tensor, sharp: Tensor) -> Tensor:
        """`(B, V)`: of each media its best windows, by a soft maximum; very low where there is no media."""
        scores = model(self.asked[batch], self.parts[batch]) * sharp.exp()
        return torch.logsumexp(scores.masked_fill(~self.there[batch], NEVER), -1)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor, step: int, options: Options) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group.get("pace", 1.0) * options.lr * pace(step, options.epochs * options.steps, options.warmup)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


# ------------------------------------------------------------------------------------------------------------- judging


def examples(held: Sequence[Question], options: Options) -> list[Example]:
    """What a head is judged by: captions with their spans, and joined films, always the same ones."""
    draw = np.random.default_rng([options.seed, 3])
    films = (joined(one, draw) for _ in range(JUDGED) for one in [held[int(draw.integers(len(held)))]])
    found = [plain(one) for one in held if one.span is not None] + [film for film in films if film]
    if not found:
        raise TrainingError("nothing to judge a head by: captions with spans, or of more groups of media, are wanted")
    return found


def compared(
    head: MomentHead, learnt: Sequence[Question], held: Sequence[Question], options: Options
) -> dict[str, dict[str, Any]]:
    """Mean overlap and R1@0.5 on held-out media, beside answers that were not trained: by kind of example."""
    shares = np.array([_shares(one) for one in learnt if one.span is not None] or [(0.5, 1.0)])
    middle, length = shares.mean(axis=0).tolist()
    every = examples(held, options)
    kinds = {
        "captions": [one for one in every if one.track is one.question.own.track],
        "joined": [one for one in every if one.track is not one.question.own.track],
    }
    answers: dict[str, Callable[[Example], tuple[float, float]]] = {
        "head": lambda one: _answer(head, one),
        "windows": _windows,
        "whole": lambda one: (0.0, float(len(one.track))),
        "prior": lambda one: ((middle - length / 2) * len(one.track), (middle + length / 2) * len(one.track)),
    }
    found: dict[str, dict[str, Any]] = {}
    for kind, own in kinds.items():
        if own:
            found[kind] = {"examples": len(own)}
            for name, answer in answers.items():
                overlap = np.array([_overlap(answer(one), one) for one in own])
                found[kind][name] = {"miou": float(overlap.mean()), "r1@0.5": float((overlap >= 0.5).mean())}
    return found


def _shares(one: Question) -> tuple[float, float]:
    first, last = one.cells
    count = len(one.own.track)
    return (first + last) / 2 / count, (last - first) / count


def _answer(head: MomentHead, example: Example) -> tuple[float, float]:
    """First and last cell of the track."""
    start, end = head.place(example.track, example.peak, example.question.rest, example.question.shares)
    return (start - example.track.start) / example.track.step, (end - example.track.start) / example.track.step


def _windows(example: Example) -> tuple[float, float]:
    cells = example.track.cells(example.question.rest)
    ends: Bools = np.append(example.track.ends, False)
    first, last = windows.around(cells, example.peak, example.question.rest, ends).tolist()
    return first, last


def _overlap(span: tuple[float, float], example: Example) -> float:
    shared = max(0.0, min(span[1], example.last) - max(span[0], example.first))
    return shared / (span[1] - span[0] + example.last - example.first - shared)
