"""A block folded: behind the softmax everything is affine in the attention but for two normalisations.

What those need of a candidate are three small tables of products between its tokens, so the wide maps run once a token
when a candidate is made ready, never for a question.  Exact.

With n the standardised token, h = Γ₁n + β₁, B = Wo Wv, P "take off the mean", M = (I + Wl) Γ₂, T = P M P:
o = B h + b, u = T o, e = P ((I + Wl) β₂ + bl).  A token's part in the score is linear in it, so that a question is two
vectors, p₁ for the attention and p₂ for the score, and both are one matrix times the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever import kernels
from retriever.derived import Arrays
from retriever.heads import EPSILON, Block, Head
from retriever.rerankers import _kernels
from retriever.rerankers._ragged import MOST, Ragged, singles
from retriever.types import Floats, Ids, Matrix, Vector

_AT_ONCE = 128
"""Candidates that are made ready at a time: 128 × 16 × 3 vectors of 512 singles are 12 MB."""
_QUESTIONS = 512
_TILE = 96
"""Questions and candidates of one block of all pairs: 96 × 16 tokens × 2 × 512 singles are 6 MB."""
_ROWS = 4096
"""Rows that are rounded to bytes at a time."""
_TINY = np.float32(1e-20)
_LEAST = np.float32(1e-30)
_NONE = np.zeros(0, np.float32)
SHORTLIST = 50
"""Candidates that are looked at again in halves where bytes came first."""


@dataclass(frozen=True, slots=True)
class Side:
    """Candidates made ready for one block."""

    tokens: Ragged
    rows: NDArray[
        Any
    ]  # (N, Da) as the kernels read them: halves as int16, float32 or int8; shares memory with `tokens`
    factors: Floats  # (N, 2) norm over deviation, one over deviation
    record: Floats  # the tables, one candidate after the other
    places: Ids  # (V + 1,) where they begin

    def __len__(self) -> int:
        return len(self.places) - 1


@dataclass(frozen=True, slots=True)
class FoldedBlock:
    """What of a block does not depend on a candidate, worked out once in double precision."""

    width: int
    asks: Matrix  # (2 Da + 6, D): times a text it is p₁, p₂ and `SCALARS`
    scaled: NDArray[np.bool_]  # (2 Da + 6,) where the row is for the standardised text
    added: Floats  # (2 Da + 6,)
    tables: Matrix  # (2 D, D) a standardised token to Po and u
    offset: Floats  # (2 D,)
    gain: Floats  # (D,) Γ₃
    shift: Floats  # (D,) β₃
    e: Floats  # (D,)
    constants: Floats  # (4,) ‖e‖², ‖Γ₃e‖², ⟨Γ₃β₃, e⟩, ‖β₃‖²
    mapped: tuple[Matrix, Floats] | None  # tokens into the width

    @classmethod
    def of(cls, block: Block, mapped: tuple[Matrix, Floats] | None = None, gate: Floats | None = None) -> "FoldedBlock":
        """`gate` `(D,)` is what the gate makes of the text."""
        at = {name: array.astype(np.float64) for name, array in block.arrays().items()}
        width = block.dimension
        both = at["wo"] @ at["wv"]
        linear = np.eye(width) + at["wl"]
        turn = _centred(_centred((linear * at["ln2_g"]).T).T)  # T = P M P
        base = both @ at["ln1_b"] + at["wo"] @ at["bv"] + at["bo"]
        inner = both * at["ln1_g"]
        e = linear @ at["ln2_b"] + at["bl"]
        e -= e.mean()
        keys = at["wk"].T * (at["ln1_g"][:, None] / np.sqrt(width))  # Γ₁ Wkᵀ / √D
        one = _centred(_centred((keys @ at["wq"] * at["ln1_g"]).T).T)
        added = keys @ (at["wq"] @ at["ln1_b"] + at["bq"])
        added -= added.mean()
        two = _centred((turn @ inner).T * at["ln3_g"])
        maps, lift = np.eye(width), np.zeros(width)
        if mapped is not None:
            maps, lift = mapped[0].astype(np.float64), mapped[1].astype(np.float64)
        rows: list[NDArray[np.float64]] = [
            maps.T @ one,
            maps.T @ two,
            lift @ one,
            lift @ two,
            at["ln3_g"] * (turn @ base),
            at["ln3_g"] * e,
        ]
        rows += [at["ln3_b"], np.zeros(width) if gate is None else gate.astype(np.float64)]
        length = maps.shape[1]
        asks = np.vstack(rows)
        constant = np.zeros(len(asks))
        constant[:length] = maps.T @ added
        constant[2 * length] = lift @ added
        scaled = np.zeros(len(asks), np.bool_)
        scaled[:length] = scaled[2 * length] = True
        weighted = at["ln3_g"] * e
        constants = np.array([e @ e, weighted @ weighted, weighted @ at["ln3_b"], at["ln3_b"] @ at["ln3_b"]])
        return cls(
            width,
            asks.astype(np.float32),
            scaled,
            constant.astype(np.float32),
            np.vstack([_centred(inner), turn @ inner]).astype(np.float32),
            np.concatenate([base - base.mean(), turn @ base]).astype(np.float32),
            block.ln3_g,
            block.ln3_b,
            e.astype(np.float32),
            constants.astype(np.float32),
            mapped,
        )

    def standard(self, tokens: Ragged, begin: int, end: int) -> tuple[Matrix, Floats]:
        """Rows `begin:end` standardised, `(N, D)`, and one over their deviation, `(N,)`."""
        rows = tokens.wide(begin, end)
        if self.mapped is not None:
            rows = rows @ self.mapped[0].T + self.mapped[1]
        rows = rows - rows.mean(axis=1, keepdims=True)
        over = 1 / np.sqrt(np.vecdot(rows, rows) / np.float32(self.width) + np.float32(EPSILON))
        return rows * over[:, None], over

    def parts(self, standard: Matrix) -> tuple[Matrix, Matrix]:
        """Po and u of standardised tokens, `(N, D)` each."""
        both = standard @ self.tables.T + self.offset
        return both[:, : self.width], both[:, self.width :]

    def ask(self, texts: Matrix) -> Matrix:
        """`(Q, 2 Da + 6)`: what each text `(Q, D)` asks of every candidate."""
        deviation = np.sqrt(texts.var(axis=1, keepdims=True) + np.float32(EPSILON))
        return np.asarray((texts @ self.asks.T) / np.where(self.scaled, deviation, 1) + self.added, np.float32)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Candidates made ready for one head; `rough` are the same in bytes, for a first look."""

    sides: tuple[Side, ...]  # one a block
    silent: NDArray[np.bool_]  # (V,) where there is nothing to hear
    gates: Floats  # (V,) what a candidate itself gives to the gate
    cross: Floats  # products between what is seen and what is heard, one candidate after the other
    places: Ids  # (V + 1,)
    rough: tuple[Side, ...] = ()

    def __len__(self) -> int:
        return len(self.silent)

    def in_bytes(self) -> "Prepared":
        """With a first look at bytes, from which the `SHORTLIST` best are scored again: half the memory is read, the
        best are as good as exact, the others nearly."""
        return replace(self, rough=tuple(map(in_bytes, self.sides)))

    def arrays(self) -> Arrays:
        """All but the tokens, to be kept; `restored` takes them back."""
        own = {"silent": self.silent, "gates": self.gates, "cross": self.cross, "places": self.places}
        for number, one in enumerate(self.sides):
            own |= {f"factors{number}": one.factors, f"record{number}": one.record, f"places{number}": one.places}
        return own


def restored(arrays: Arrays, tokens: Sequence[Ragged]) -> Prepared:
    """What `Prepared.arrays` gave, with the same tokens beside."""
    sides = tuple(
        Side(own, _as_read(own), arrays[f"factors{number}"], arrays[f"record{number}"], arrays[f"places{number}"])
        for number, own in enumerate(tokens)
    )
    return Prepared(sides, arrays["silent"], arrays["gates"], arrays["cross"], arrays["places"])


class Folded:
    """A head, folded."""

    def __init__(self, head: Head) -> None:
        heard = None if head.gate is None else head.gate.weight[2 * head.dimension :]
        maps = (None, head.audio_map)
        self.blocks = tuple(
            FoldedBlock.of(block, mapped, gate)
            for block, mapped, gate in zip(head.blocks, maps, (heard, None), strict=False)
        )
        self._gate = head.gate
        if len(self.blocks) == 2:
            seen, sound = self.blocks
            a, b = seen.gain * seen.e, sound.gain * sound.e
            products = [a @ b, a @ sound.shift, b @ seen.shift, seen.shift @ sound.shift]
            self._constants = np.array(products, np.float32)

    def prepare(self, frames: Ragged, sounds: Ragged | None = None) -> Prepared:
        """What a question needs of candidates, made once."""
        count = len(frames)
        if len(self.blocks) == 1 or sounds is None:
            sides: tuple[Side, ...] = (side(self.blocks[0], frames),)
            return Prepared(sides, np.ones(count, np.bool_), np.zeros(count, np.float32), _NONE, np.zeros(1, np.int64))
        if len(sounds) != count:
            raise ValueError(f"frames are of {count} candidates, sounds of {len(sounds)}")
        sides = (side(self.blocks[0], frames), side(self.blocks[1], sounds))
        silent = (sounds.counts == 0) | (frames.counts == 0)
        return Prepared(sides, silent, self._gates(frames, sounds), *self._cross(frames, sounds))

    def score(self, text: Vector, ready: Prepared) -> Floats:
        """`(V,)` for one text `(D,)`; -inf without frames."""
        text = np.ascontiguousarray(text, np.float32)
        length = np.float32(np.linalg.norm(text))
        asked = []
        for block in self.blocks[: len(ready.sides)]:
            out = np.empty(len(block.asks), np.float32)
            _kernels.ask(block.asks, block.added, block.scaled, text, out)
            asked.append(out)
        if not ready.rough:
            return self._finished(asked, self._looks(asked, ready.sides), ready, length)
        looks = self._looks(asked, ready.rough)
        scores = self._finished(asked, looks, ready, length)
        few = min(SHORTLIST, len(scores))
        best = np.argpartition(scores, len(scores) - few)[len(scores) - few :] if few else np.zeros(0, np.int64)
        for one, (attention, parts), own, block in zip(asked, looks, ready.sides, self.blocks, strict=False):
            raised = _raised(one, own)
            _kernels.look_at(
                best, own.rows, own.tokens.offsets, own.factors, own.record, own.places, raised, block.constants,
                block.width, attention, parts,
            )  # fmt: skip
        return self._finished(asked, looks, ready, length)

    def many(self, texts: Matrix, ready: Prepared) -> Floats:
        """`(Q, V)` for texts `(Q, D)`, a block of either at a time."""
        scores = np.empty((len(texts), len(ready)), np.float32)
        for begin in range(0, len(texts), _QUESTIONS):
            some = texts[begin : begin + _QUESTIONS].astype(np.float32)
            lengths = np.linalg.norm(some, axis=1)
            filled = np.zeros((-len(some) % _kernels.LANES, texts.shape[1]), np.float32)
            asked = [block.ask(np.concatenate([some, filled])) for block in self.blocks[: len(ready.sides)]]
            for first in range(0, len(ready), _TILE):
                last = min(first + _TILE, len(ready))
                block = self._tile(asked, ready, first, last)[:, : len(some)] / lengths
                scores[begin : begin + len(some), first:last] = block.T
        return scores

    def _looks(self, asked: list[Floats], sides: tuple[Side, ...]) -> list[tuple[Floats, Floats]]:
        """Attention `(N,)` and parts `(V, 4)` of each block."""
        looks = []
        for one, own, block in zip(asked, sides, self.blocks, strict=False):
            attention = np.empty(len(own.rows), np.float32)
            parts = np.empty((len(own), _kernels.PARTS), np.float32)
            _kernels.in_parts(
                _kernels.look, len(own), own.rows, own.tokens.offsets, own.factors, own.record, own.places,
                _raised(one, own), block.constants, block.width, attention, parts,
            )  # fmt: skip
            looks.append((attention, parts))
        return looks

    def _finished(
        self, asked: list[Floats], looks: list[tuple[Floats, Floats]], ready: Prepared, length: np.float32
    ) -> Floats:
        scores = np.empty(len(ready), np.float32)
        if len(looks) == 1:
            _kernels.alone(looks[0][1], length, scores)
            return scores
        (seen, seen_parts), (heard, heard_parts) = looks
        crossed = np.empty(len(ready), np.float32)
        _kernels.in_parts(
            _kernels.meeting, len(ready), seen, ready.sides[0].tokens.offsets, heard, ready.sides[1].tokens.offsets,
            ready.cross, ready.places, seen_parts, heard_parts, self._constants, crossed,
        )  # fmt: skip
        gates = ready.gates + asked[0][-1] if self._gate is not None else np.full(len(ready), np.inf, np.float32)
        _kernels.together(seen_parts, heard_parts, crossed, ready.silent, gates, length, scores)
        return scores

    def _tile(self, asked: list[Matrix], ready: Prepared, begin: int, end: int) -> Matrix:
        """text · z / |z| of candidates `begin:end`, `(V', Q)`."""
        looks = [
            _pairs(one, own, block, begin, end)
            for one, own, block in zip(asked, ready.sides, self.blocks, strict=False)
        ]
        along, square = looks[0][1][:, 0], looks[0][1][:, 1]
        if len(looks) == 1 or ready.silent[begin:end].all():
            return np.asarray(along / np.sqrt(square), np.float32)
        (seen, seen_parts, seen_ends), (heard, heard_parts, heard_ends) = looks
        crossed = np.empty(along.shape, np.float32)
        _kernels.in_parts(
            _kernels.meetings, end - begin, seen, seen_ends, heard, heard_ends, ready.cross,
            ready.places[begin : end + 1], seen_parts, heard_parts, self._constants, crossed, alone=1,
        )  # fmt: skip
        loud = ~ready.silent[begin:end, None]
        gate = np.ones((1, 1), np.float32)
        if self._gate is not None:
            gate = kernels.logistic(ready.gates[begin:end, None] + asked[0][:, -1])
        together = np.where(loud, along + gate * heard_parts[:, 0], along)
        length = np.where(loud, square + gate * (2 * crossed + gate * heard_parts[:, 1]), square)
        return np.asarray(together / np.sqrt(np.maximum(length, _LEAST)), np.float32)

    def _gates(self, frames: Ragged, sounds: Ragged) -> Floats:
        """The gate's bias, and its weights times a candidate's mean frame and mean sound."""
        found = np.zeros(len(frames), np.float32)
        if self._gate is None:
            return found
        by_frame, by_sound, _ = np.split(self._gate.weight, 3)
        constant = self._gate.bias
        if (mapped := self.blocks[1].mapped) is not None:
            constant, by_sound = constant + float(by_sound @ mapped[1]), by_sound @ mapped[0]
        for tokens, weight in ((frames, by_frame), (sounds, by_sound)):
            for begin in range(0, len(tokens), _AT_ONCE):
                end = min(begin + _AT_ONCE, len(tokens))
                values = tokens.wide(tokens.offsets[begin], tokens.offsets[end]) @ weight
                owner = np.repeat(np.arange(end - begin), tokens.counts[begin:end])
                sums = np.bincount(owner, values, end - begin) / np.maximum(tokens.counts[begin:end], 1)
                found[begin:end] += sums.astype(np.float32)
        return found + np.float32(constant)

    def _cross(self, frames: Ragged, sounds: Ragged) -> tuple[Floats, Ids]:
        """Products between what is seen and what is heard: F M + 2 F + 2 M numbers a candidate that has both."""
        seen, heard = self.blocks
        f, m = frames.counts, sounds.counts
        sizes = np.where((f > 0) & (m > 0), f * m + 2 * f + 2 * m, 0)
        places = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        cross = np.empty(places[-1], np.float32)
        for begin in range(0, len(frames), _AT_ONCE):
            end = min(begin + _AT_ONCE, len(frames))
            a, b = (
                block.parts(block.standard(tokens, tokens.offsets[begin], tokens.offsets[end])[0])[1] * block.gain
                for block, tokens in ((seen, frames), (heard, sounds))
            )
            a_to = np.stack([a @ (heard.gain * heard.e), a @ heard.shift])
            b_to = np.stack([b @ (seen.gain * seen.e), b @ seen.shift])
            for one in range(begin, end):
                if sizes[one]:
                    i = slice(*(frames.offsets[one : one + 2] - frames.offsets[begin]))
                    j = slice(*(sounds.offsets[one : one + 2] - sounds.offsets[begin]))
                    own = ((a[i] @ b[j].T).ravel(), a_to[:, i].ravel(), b_to[:, j].ravel())
                    cross[places[one] : places[one + 1]] = np.concatenate(own)
        return cross, places


def side(folded: FoldedBlock, tokens: Ragged) -> Side:
    """Candidates made ready: 3 F (F + 1) / 2 + 3 F numbers each, and two a token.  Tokens are not copied."""
    counts = tokens.counts
    if counts.max(initial=0) > MOST:
        raise ValueError(f"a candidate has at most {MOST} tokens, got {counts.max()}")
    places = np.concatenate([[0], np.cumsum(3 * (counts * (counts + 1)) // 2 + 3 * counts)]).astype(np.int64)
    record = np.empty(places[-1], np.float32)
    factors = np.empty((len(tokens.rows), 2), np.float32)
    for begin in range(0, len(tokens), _AT_ONCE):
        end = min(begin + _AT_ONCE, len(tokens))
        first, last = tokens.offsets[begin], tokens.offsets[end]
        standard, over = folded.standard(tokens, first, last)
        factors[first:last, 0], factors[first:last, 1] = over * tokens.norms[first:last], over
        out, u = folded.parts(standard)
        weighted = u * folded.gain
        vectors = np.stack([u @ folded.e, weighted @ (folded.gain * folded.e), weighted @ folded.shift])
        for count in np.unique(counts[begin:end]):
            if count:
                chosen = begin + np.flatnonzero(counts[begin:end] == count)
                which = (tokens.offsets[chosen] - first)[:, None] + np.arange(count)
                grams = [_triangle(rows[which]) for rows in (out, u, weighted)]
                tables = np.concatenate([*grams, *vectors[:, which]], axis=1)
                record[places[chosen][:, None] + np.arange(tables.shape[1])] = tables
    if tokens.rows.dtype == np.float16:
        factors[:, 0] *= _kernels.HALF_BIAS
    return Side(tokens, _as_read(tokens), factors, record, places)


def in_bytes(ready: Side) -> Side:
    """The same candidates with rows of int8, each with its own scale: half the bytes to read, and not exact."""
    rows = np.empty(ready.rows.shape, np.int8)
    factors = ready.factors.copy()
    if ready.rows.dtype == np.int16:
        factors[:, 0] /= _kernels.HALF_BIAS
    for begin in range(0, len(rows), _ROWS):
        wide = singles(ready.tokens.rows[begin : begin + _ROWS])
        scale = np.maximum(np.abs(wide).max(axis=1), _TINY) / np.float32(127)
        rows[begin : begin + _ROWS] = np.rint(wide / scale[:, None])
        factors[begin : begin + _ROWS, 0] *= scale
    return Side(ready.tokens, rows, factors, ready.record, ready.places)


def _as_read(tokens: Ragged) -> NDArray[Any]:
    """Rows as the kernels take them: halves as their bits."""
    return tokens.rows.view(np.int16) if tokens.rows.dtype == np.float16 else tokens.rows


def _centred(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each column's mean taken off: P times `rows`."""
    return np.asarray(rows - rows.mean(axis=0), np.float64)


def _triangle(rows: Floats) -> Matrix:
    """Products between the tokens of each candidate `(V, F, D)`: `(V, F (F + 1) / 2)`, the lower triangle row by row,
    what stands beside the diagonal doubled, as both of its places count."""
    count = rows.shape[1]
    gram = rows @ rows.transpose(0, 2, 1)
    down, across = np.tril_indices(count)
    return np.asarray(gram[:, down, across] * np.where(down == across, 1, 2).astype(np.float32), np.float32)


def _raised(asked: Floats, own: Side) -> Floats:
    """A question for the kernels: over halves half of what their bits lack stands in it."""
    if own.rows.dtype != np.int16:
        return asked
    raised = asked.copy()
    raised[: 2 * own.rows.shape[1]] *= _kernels.HALF_BIAS
    return raised


def _pairs(asked: Matrix, own: Side, block: FoldedBlock, begin: int, end: int) -> tuple[Floats, Floats, Ids]:
    """Attention `(N, 2, Q)` (its first half), parts `(V, 4, Q)` and offsets of candidates `begin:end`."""
    first, last = own.tokens.offsets[begin], own.tokens.offsets[end]
    length, count = own.rows.shape[1], len(asked)
    questions = asked[:, : 2 * length].reshape(count, 2, length).transpose(1, 0, 2).reshape(2 * count, length)
    if own.rows.dtype == np.int16:
        questions = questions / _kernels.HALF_BIAS
    products = (singles(own.tokens.rows[first:last]) @ questions.T).reshape(-1, 2, count)
    rests = np.ascontiguousarray(asked[:, 2 * length :].T)
    offsets = own.tokens.offsets[begin : end + 1] - first
    places = own.places[begin : end + 1]
    parts = np.empty((end - begin, _kernels.PARTS, count), np.float32)

    _kernels.in_parts(
        _kernels.pairs, end - begin, products, offsets, own.factors[first:last], own.record, places, rests,
        block.constants, block.width, parts, alone=1,
    )  # fmt: skip
    return products, parts, offsets
