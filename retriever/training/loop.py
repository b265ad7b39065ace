"""Train a head over cached embeddings, and choose the checkpoint on media that were held out for that.

    trained = train(pairs, Options("xpool", epochs=10), device("auto"), folder=Path("head/training"))
    trained.model.head(query_space, token_spaces, trained.card).save(Path("head"))

The recipe is X-Pool's (Gorti et al. 2022, §4.2: symmetric InfoNCE, AdamW with decay 0.2, warm-up over a tenth and a
cosine, clipping at 1, dropout 0.3) with five changes: a learning rate for cached embeddings; decay on matrices alone;
what a caption is true of is no negative; negatives are mined; and what is chosen is chosen on a slice of train, never
on a test set.
Everything random follows from the seed and the number of the step, so a run that goes on ends as one never stopped.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from retriever.errors import TrainingError
from retriever.training import checkpoints
from retriever.training.batches import Batch, Batches, Padded, Pairs, split
from retriever.training.losses import contrastive
from retriever.training.model import SHUT_GATE, Dropout, TextPool, Tokens
from retriever.types import Floats, Ids

REVISION = 2
"""Of what a step does; a state of another one cannot be gone on from."""
JUDGED = 2000
"""Held-out captions, at most, that a checkpoint is judged by."""
FLOATS_AT_ONCE = 1 << 24
"""Of pooled vectors, when many texts are scored against many items."""
GATE_PACE = 30.0
"""The gate's learning rate by that of all else: its weights start at zero and have to grow to tens, since texts have
length one."""
STRIDE = 1_000_003
"""Between the seeds of two runs; steps are counted within."""


@dataclass(frozen=True)
class Options:
    """How to train: the recipe that stands in `head.json`."""

    family: str = "xpool"
    epochs: int = 10
    batch_size: int = 32
    lr: float = 3e-4
    seed: int = 24
    holdout: float = 0.1  # of the media
    patience: int = 3  # epochs without a better one, after which it stops
    decay: float = 0.2  # of matrices; biases, gains and the scale do not decay
    warmup: float = 0.1  # of all steps
    clip: float = 1.0  # greatest norm of a gradient
    dropout: float = 0.3  # of the residual map
    modality_dropout: float = 0.2  # of videos whose audio is taken away (tefal)
    hard: int = 16  # mined negatives a batch


@dataclass(frozen=True)
class Advanced:
    """A step is done."""

    epoch: int
    step: int  # within all epochs
    steps: int
    loss: float


@dataclass(frozen=True)
class Judged:
    """An epoch is done, and was judged on held-out media.  Epoch 0 is the head before training."""

    epoch: int
    loss: float | None  # mean over the epoch
    recall: float  # R@1 of held-out captions among held-out items
    reciprocal: float  # mean reciprocal rank
    best: bool


Watch = Callable[[Advanced | Judged], None]


class Grade(NamedTuple):
    """How good a head is on held-out captions; the greater is the better, ties of R@1 by the second."""

    recall: float
    reciprocal: float


@dataclass(frozen=True)
class Trained:
    """The head that was chosen, and how it came about."""

    model: TextPool
    card: dict[str, Any]


def device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:1` …

    Raises:
        TrainingError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"device {name!r} cannot be used here: --device wants auto, cpu or cuda") from error
    return chosen


def train(
    pairs: Pairs,
    options: Options,
    where: torch.device,
    *,
    folder: Path | None = None,
    resume: bool = False,
    watch: Watch = lambda event: None,
) -> Trained:
    """Train on `pairs`; its state is kept in `folder` after every epoch, and taken up from there with `resume`.

    Raises:
        TrainingError: too little to train on, a loss that is no number, or a state of another run.
    """
    run = _Run(pairs, options, where)
    if folder is not None:
        if resume:
            run.take_up(folder)
        else:
            checkpoints.discard(folder)
    if not run.history:
        run.judge(0, None, watch)
    while run.goes_on():
        run.epoch(watch)
        if folder is not None:
            checkpoints.save(folder, len(run.history) - 1, run.state())
    return run.finished()


class _Run:
    """One training, from one epoch to the next."""

    def __init__(self, pairs: Pairs, options: Options, where: torch.device) -> None:
        self.options, self.where = options, where
        self.train, self.held = split(pairs, options.holdout, options.seed)
        self.digest = pairs.digest
        heard = pairs.audio.rows.shape[2] if pairs.audio is not None and options.family == "tefal" else None
        mapped = not pairs.comparable
        self.model = TextPool.start(options.family, pairs.texts.shape[1], heard, options.seed, mapped=mapped).to(where)
        self.batches = Batches(self.train, options.batch_size, options.hard, options.seed)
        self.held = self.held.only(_drawn(len(self.held), JUDGED, options.seed))
        self.data = Cached.of(self.train, where)
        self.steps = max(1, options.epochs * len(self.batches))
        named = list(self.model.named_parameters())
        gate = [value for name, value in named if name.startswith("gate.")]
        matrices = [value for name, value in named if value.ndim > 1 and not name.startswith("gate.")]
        others = [value for name, value in named if value.ndim <= 1 and not name.startswith("gate.")]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": options.decay, "pace": 1.0},
                {"params": others, "weight_decay": 0.0, "pace": 1.0},
                {"params": gate, "weight_decay": 0.0, "pace": GATE_PACE},
            ][: 3 if gate else 2],
            lr=options.lr,
        )
        self.history: list[dict[str, Any]] = []
        self.best = 0
        self.best_weights: dict[str, Tensor] = {}

    def goes_on(self) -> bool:
        behind = len(self.history) - 1
        return behind < self.options.epochs and behind - self.best < self.options.patience

    def epoch(self, watch: Watch) -> None:
        number = len(self.history)
        losses = []
        for at, batch in enumerate(self.batches.epoch(number)):
            step = (number - 1) * len(self.batches) + at
            losses.append(self._step(step, batch))
            if not math.isfinite(losses[-1]):
                raise TrainingError(
                    f"the loss is {losses[-1]} in step {step + 1} of epoch {number}: train with a smaller --lr"
                )
            watch(Advanced(number, step + 1, self.steps, losses[-1]))
        self.judge(number, float(np.mean(losses)), watch)

    def _step(self, step: int, batch: Batch) -> float:
        options = self.options
        for group in self.optimizer.param_groups:
            group["lr"] = group["pace"] * options.lr * pace(step, self.steps, options.warmup)
        draw = torch.Generator(self.where).manual_seed(options.seed * STRIDE + step)
        texts, frames, audio = self.data.batch(batch)
        if audio is not None:
            heard = torch.rand(len(audio.mask), generator=draw, device=self.where) >= options.modality_dropout
            audio = Tokens(audio.rows, audio.mask & heard[:, None])
        self.model.train()
        dropout = Dropout(options.dropout, draw) if options.dropout else None
        scores = self.model(texts, frames, audio, dropout)
        skip = torch.from_numpy(batch.skip).to(self.where)
        loss = contrastive(scores, skip, self.model.temperature())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), options.clip)
        self.optimizer.step()
        return float(loss.item())

    def judge(self, number: int, loss: float | None, watch: Watch) -> None:
        grade = judged(self.model, self.held, self.where)
        before = self.history[self.best] if self.history else None
        better = before is None or grade > Grade(before["recall_at_1"], before["mrr"])
        self.history.append({"epoch": number, "loss": loss, "recall_at_1": grade.recall, "mrr": grade.reciprocal})
        if better:
            self.best = number
            self.best_weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        watch(Judged(number, loss, *grade, better))

    def state(self) -> checkpoints.State:
        arrays = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        arrays |= {f"best.{name}": value for name, value in self.best_weights.items()}
        for number, kept in self.optimizer.state_dict()["state"].items():
            arrays |= {f"optimizer.{number}.{name}": value for name, value in kept.items()}
        facts = {
            "revision": REVISION,
            "options": asdict(self.options),
            "data": self.digest,
            "best": self.best,
            "history": self.history,
        }
        return checkpoints.State({name: value.clone() for name, value in arrays.items()}, facts)

    def take_up(self, folder: Path) -> None:
        """Go on from what is kept in `folder`, if anything is."""
        state = checkpoints.load(folder)
        if state is None:
            return
        own, kept_facts = {"revision": REVISION, "data": self.digest}, state.facts
        ours: dict[str, Any] = {**own, **asdict(self.options)}
        theirs: dict[str, Any] = {name: kept_facts.get(name) for name in own} | dict(kept_facts.get("options") or {})
        other = [f"{name} was {theirs.get(name)!r}" for name in ours if theirs.get(name) != ours[name]]
        if other:
            raise TrainingError(
                f"{folder} holds the state of another run ({', '.join(other)}): "
                "use the same options and data, or train without --resume"
            )
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
        kept: dict[int, dict[str, Tensor]] = {}
        try:
            for name, value in state.arrays.items():
                kind, _, rest = name.partition(".")
                parts[kind][rest] = value
            for name, value in parts["optimizer"].items():
                number, _, what = name.partition(".")
                kept.setdefault(int(number), {})[what] = value
            self.best, self.history = int(state.facts["best"]), list(state.facts["history"])
            self.model.load_state_dict(parts["model"])
            whole = self.optimizer.state_dict()
            self.optimizer.load_state_dict({"state": kept, "param_groups": whole["param_groups"]})
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{folder} does not fit this head ({error!r}): train without --resume") from error
        self.best_weights = {name: value.to(self.where) for name, value in parts["best"].items()}

    def finished(self) -> Trained:
        """The best checkpoint; the gate stays shut where what is heard does not help on held-out media."""
        self.model.load_state_dict(self.best_weights)
        self.model.eval()
        chosen = self.history[self.best]
        card: dict[str, Any] = {
            "recipe": asdict(self.options),
            "data": {
                "digest": self.digest,
                "captions": len(self.train),
                "media": len(np.unique(self.train.media)),
                "held_out_captions": len(self.held),
                "held_out_media": len(np.unique(self.held.media)),
            },
            "chosen": {"by": "R@1, then mean reciprocal rank, on held-out media of train", **chosen},
            "history": self.history,
        }
        if self.options.family == "tefal":
            deaf = judged(self.model, self.held.silent(), self.where)
            helps = Grade(chosen["recall_at_1"], chosen["mrr"]) > deaf
            if not helps:
                self.model.set_gate(SHUT_GATE)
            card["audio"] = {"gate": "open" if helps else "shut", "without": deaf._asdict()}
        return Trained(self.model, card)


@dataclass(frozen=True)
class Cached:
    """Pairs as tensors on the device, tokens in half precision."""

    texts: Tensor
    frames: tuple[Tensor, Tensor]
    audio: tuple[Tensor, Tensor] | None

    @classmethod
    def of(cls, pairs: Pairs, where: torch.device) -> "Cached":
        def both(part: Padded) -> tuple[Tensor, Tensor]:
            return torch.from_numpy(part.rows).to(where), torch.from_numpy(part.norms).to(where)

        texts = torch.from_numpy(np.ascontiguousarray(pairs.texts, np.float32)).to(where)
        return cls(texts, both(pairs.frames), both(pairs.audio) if pairs.audio else None)

    def batch(self, batch: Batch) -> tuple[Tensor, Tokens, Tokens | None]:
        """Texts `(B, D)` and tokens of its C items."""
        items = torch.from_numpy(batch.items).to(self.texts.device)
        captions = torch.from_numpy(batch.captions).to(self.texts.device)
        return self.texts[captions], *self.tokens(items)

    def tokens(self, items: Tensor | slice) -> tuple[Tokens, Tokens | None]:
        """Of these items: frames, and audio where there is any."""
        frames = _wide(*self.frames, items)
        return frames, _wide(*self.audio, items) if self.audio else None


def _wide(rows: Tensor, norms: Tensor, items: Tensor | slice) -> Tokens:
    lengths = norms[items]
    return Tokens(rows[items].float() * lengths[..., None], lengths > 0)


def scored(model: TextPool, pairs: Pairs, where: torch.device) -> Floats:
    """Every caption against every item, `(N, V)`."""
    data = Cached.of(pairs, where)
    count, texts = len(pairs.owners), data.texts
    found = np.empty((len(texts), count), np.float32)
    wide = max(1, min(count, 64))
    tall = max(1, FLOATS_AT_ONCE // (wide * 2 * texts.shape[1]))
    model.eval()
    with torch.no_grad():
        for left in range(0, count, wide):
            frames, audio = data.tokens(slice(left, left + wide))
            for top in range(0, len(texts), tall):
                part = model(texts[top : top + tall], frames, audio)
                found[top : top + tall, left : left + wide] = part.cpu().numpy()
    return found


def judged(model: TextPool, pairs: Pairs, where: torch.device) -> Grade:
    """R@1 and mean reciprocal rank of captions among items; other items that a caption is true of take no place.  Ties
    count half."""
    ranks = ranked(scored(model, pairs, where), pairs)
    return Grade(float(np.mean(ranks < 1.5)), float(np.mean(1 / ranks)))


def ranked(scores: Floats, pairs: Pairs, captions: Ids | None = None) -> Floats:
    """The rank of each caption's item, from 1: 1 + greater ones + half of equal ones, other items that it is true of
    left out.  `scores` `(N, V)` has a row for each of `captions` `(N,)`, or for all."""
    asked = np.arange(len(scores)) if captions is None else captions
    own = scores[np.arange(len(scores)), pairs.items[asked]][:, np.newaxis]
    if np.isnan(scores).any():
        raise TrainingError("a score is not a number: train with a smaller --lr")
    others = ~pairs.true(asked, np.arange(len(pairs.owners)))
    greater = np.sum((scores > own) & others, axis=1)
    equal = np.sum((scores == own) & others, axis=1)
    ranks: Floats = (1 + greater + equal / 2).astype(np.float32)
    return ranks


def pace(step: int, steps: int, warmup: float) -> float:
    """The share of the learning rate: rising over the first part, then a half cosine down to zero."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2


def _drawn(count: int, most: int, seed: int) -> Ids:
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 3]).permutation(count)[:most])
