"""Teach the first stage what the reranker knows, through the question alone.

    distilled = distil(pairs, teacher, Options(), device("auto"), query_space="minilm:3fa9…")
    distilled.adapter.save(Path("adapter"))

A residual adapter of the text is trained so that its cosines with what the first stage ranks (the mean vector of an
item, in each space that texts can be compared with; the best one counts) fall in the order of the head's scores.  The
candidates of a caption are those that the first stage finds with and without the adapter's help, its own item, and some
drawn at random; the loss is the divergence of their softmaxes (Liu et al. 2022, Trans-Encoder, with a list in place of
a pair).  Nothing is indexed again.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retriever.adapters import Adapter
from retriever.training.batches import Pairs, held_out
from retriever.training.loop import Cached, pace, ranked
from retriever.training.losses import listwise
from retriever.training.model import TextPool
from retriever.types import Floats, Ids, Matrix

DEPTHS = (50, 200)
"""Candidates of a first stage at which its recall is told."""
TEACHER_SCALE = 20.0
"""What the head's cosines are multiplied by before softmax."""
STUDENT_SCALE = 20.0
"""What the first stage's cosines are multiplied by."""


@dataclass(frozen=True)
class Options:
    """How an adapter is trained: the recipe that stands in `adapter.json`."""

    epochs: int = 10
    batch_size: int = 64
    lr: float = 1e-4
    seed: int = 24
    holdout: float = 0.1  # of the media
    decay: float = 0.1  # towards no change at all
    near: int = 100  # candidates from the first stage
    drawn: int = 28  # candidates at random


@dataclass(frozen=True)
class Judged:
    """An epoch is done; epoch 0 is before training."""

    epoch: int
    loss: float | None
    reciprocal: float  # mean reciprocal rank of held-out captions in the first stage
    best: bool


@dataclass(frozen=True)
class Distilled:
    """The adapter that was chosen, and the first stage without it and with it, on held-out captions."""

    adapter: Adapter
    before: dict[str, float]
    after: dict[str, float]


def distil(
    pairs: Pairs,
    teacher: TextPool,
    options: Options,
    where: torch.device,
    *,
    query_space: str = "",
    watch: Callable[[Judged], None] = lambda event: None,
) -> Distilled:
    """Train on all captions but those of held-out media; every item of `pairs` is a candidate throughout, those without
    a caption too.  The adapter is the best on held-out media, none at all (the identity) counted in.

    Raises:
        TrainingError: there are too few media to hold some out.
    """
    outside = held_out(pairs, options.holdout, options.seed)
    learn, held = np.flatnonzero(~outside), np.flatnonzero(outside)
    first = pairs.first_stage()
    width = pairs.texts.shape[1]
    student = nn.Linear(width, width).to(where)
    nn.init.zeros_(student.weight)
    nn.init.zeros_(student.bias)
    optimizer = torch.optim.AdamW(student.parameters(), lr=options.lr, weight_decay=options.decay)
    rows = [torch.from_numpy(one).to(where) for one in first]
    data = Cached.of(pairs, where)
    batches = math.ceil(len(learn) / options.batch_size)
    best = Adapter.identity(query_space, width)
    before = measured(best, pairs, held, first)
    chosen, at = before, 0
    watch(Judged(0, None, before["mrr"], True))
    for epoch in range(1, options.epochs + 1):
        draw = np.random.default_rng([options.seed, 4, epoch])
        losses = []
        for number, captions in enumerate(np.array_split(draw.permutation(learn), batches)):
            step = (epoch - 1) * batches + number
            for group in optimizer.param_groups:
                group["lr"] = options.lr * pace(step, options.epochs * batches, 0.1)
            candidates = torch.from_numpy(_candidates(_adapter(student), pairs, captions, first, options, draw))
            candidates = candidates.to(where)
            texts = data.texts[torch.from_numpy(captions).to(where)]
            with torch.no_grad():
                wanted = _taught(teacher, data, texts, candidates)
            moved = nn.functional.normalize(texts + student(texts), dim=1)
            near = torch.stack([torch.einsum("qd,qkd->qk", moved, one[candidates]) for one in rows]).amax(0)
            loss = listwise(near, wanted, STUDENT_SCALE, TEACHER_SCALE)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.item()))
        made = _adapter(student, query_space)
        now = measured(made, pairs, held, first)
        better = _worth(now) > _worth(chosen)
        if better:
            best, chosen, at = made, now, epoch
        watch(Judged(epoch, float(np.mean(losses)), now["mrr"], better))
    card: dict[str, Any] = {
        "recipe": asdict(options),
        "data": {"digest": pairs.digest, "captions": len(learn), "held_out_captions": len(held)},
        "chosen": {"by": f"recall at {DEPTHS} of the first stage, on held-out media", "epoch": at},
        "before": before,
        "after": chosen,
    }
    return Distilled(Adapter(query_space, best.weight, best.bias, card), before, chosen)


def _worth(told: dict[str, float]) -> tuple[float, float]:
    """What a first stage is for: that the right one is among those looked at; ties by where it stands."""
    return sum(told[f"recall_at_{depth}"] for depth in DEPTHS), told["mrr"]


def measured(adapter: Adapter, pairs: Pairs, captions: Ids, first: list[Matrix]) -> dict[str, float]:
    """Recall of the first stage over all items at some depths, and the mean reciprocal rank."""
    ranks = ranked(_near(adapter(pairs.texts[captions]), first), pairs, captions)
    found = {f"recall_at_{depth}": float(np.mean(ranks <= depth)) for depth in (1, 10, *DEPTHS)}
    return {**found, "mrr": float(np.mean(1 / ranks)) if len(ranks) else 0.0}


def _near(texts: Matrix, first: list[Matrix]) -> Floats:
    near: Floats = np.maximum.reduce([texts @ rows.T for rows in first])
    return near


def _candidates(
    adapter: Adapter, pairs: Pairs, captions: Ids, first: list[Matrix], options: Options, draw: np.random.Generator
) -> Ids:
    """Items `(B, K)` that a caption is compared with: its own, the nearest without the adapter and with it, half each,
    and some at random.  One that comes twice counts twice, on both sides alike."""
    count = len(pairs.owners)
    half = min(count, max(1, options.near // 2))
    texts = pairs.texts[captions]
    nearest = [np.argpartition(-_near(one, first), half - 1, axis=1)[:, :half] for one in (texts, adapter(texts))]
    random = draw.integers(0, count, (len(captions), options.drawn))
    return np.concatenate([pairs.items[captions, np.newaxis], *nearest, random], axis=1)


def _taught(teacher: TextPool, data: Cached, texts: Tensor, candidates: Tensor) -> Tensor:
    """The head's scores `(B, K)`: each item that comes up is looked at once, by all texts."""
    items, places = torch.unique(candidates, return_inverse=True)
    teacher.eval()
    parts = [teacher(texts, *data.tokens(some)) for some in items.split(64)]
    return torch.cat(parts, 1).gather(1, places)


def _adapter(student: nn.Linear, query_space: str = "") -> Adapter:
    weight, bias = (value.detach().cpu().numpy().copy() for value in (student.weight, student.bias))
    return Adapter(query_space, weight, bias)
