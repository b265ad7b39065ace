"""Every compiled loop agrees with its plain twin, over real heads and candidates of any lengths."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pools import HEARD, WIDTH, array, tefal, xpool

from retriever.heads import Head
from retriever.rerankers import _kernels
from retriever.rerankers._folding import Folded, FoldedBlock, Prepared, Side, in_bytes
from retriever.rerankers._kernels import HALF_BIAS, LANES, PARTS
from retriever.rerankers._ragged import MOST, Ragged, singles
from retriever.types import Floats

SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.lists(st.integers(0, MOST), max_size=12)
KINDS = pytest.mark.parametrize("kind", ["halves", "singles", "bytes"])
ALL_LENGTHS = [*range(MOST + 1)]
Kernel = Callable[..., None]


def candidates(draw: np.random.Generator, counts: list[int], width: int = WIDTH, kind: str = "halves") -> Ragged:
    """Rows of length about one, and norms up to twelve beside."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows = array(draw, offsets[-1], width, by=1 / np.sqrt(width))
    norms = draw.uniform(0.5, 12, offsets[-1]).astype(np.float32)
    return Ragged(rows.astype(np.float16 if kind == "halves" else np.float32), offsets, norms)


def ready(draw: np.random.Generator, counts: list[int], kind: str) -> tuple[FoldedBlock, Side]:
    folded = Folded(xpool(draw))
    (own,) = folded.prepare(candidates(draw, counts, kind=kind)).sides
    return folded.blocks[0], in_bytes(own) if kind == "bytes" else own


def looked(
    kernel: Kernel, block: FoldedBlock, asked: Floats, own: Side, begin: int = 0, end: int | None = None
) -> tuple[Floats, Floats]:
    """Attention `(N,)` and parts `(V, 4)`; NaN where the kernel writes nothing."""
    rows, factors, asked = own.rows, own.factors.copy(), asked.copy()
    if rows.dtype == np.int16 and kernel is _kernels.look_plain:
        rows = singles(own.tokens.rows)
        factors[:, 0] /= HALF_BIAS
    elif rows.dtype == np.int16:
        asked[: 2 * rows.shape[1]] *= HALF_BIAS
    attention, parts = np.full(len(rows), np.nan, np.float32), np.full((len(own), PARTS), np.nan, np.float32)
    where = (begin, len(own) if end is None else end)
    kernel(
        *where, rows, own.tokens.offsets, factors, own.record, own.places, asked, block.constants, block.width,
        attention, parts,
    )  # fmt: skip
    return attention, parts


def agree(found: Floats, plain: Floats) -> None:
    """To single precision, by the greatest number beside: sums are taken in another order."""
    finite = plain[np.isfinite(plain)]
    np.testing.assert_allclose(found, plain, rtol=1e-4, atol=2e-6 * max(1.0, np.abs(finite).max(initial=0)))


def test_a_stored_half_is_widened_to_what_it_says_but_for_the_bias() -> None:
    @numba.njit
    def widen(stored: Any, out: Any) -> None:
        for place in range(len(stored)):
            out[place] = _kernels.widened(stored[place])

    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    wide = np.empty(len(halves), np.float32)
    widen(halves.view(np.int16), wide)
    np.testing.assert_array_equal(wide.astype(np.float64) * float(HALF_BIAS) ** 2, halves.astype(np.float64))
    for other in (np.arange(-128, 128, dtype=np.int8), np.linspace(-3, 3, 7, dtype=np.float32)):
        wide = np.empty(len(other), np.float32)
        widen(other, wide)
        np.testing.assert_array_equal(wide, other)


def test_the_exponential_is_within_what_it_promises() -> None:
    numbers = np.concatenate([-np.geomspace(1e-6, 87, 5_000), [0.0]]).astype(np.float32)
    found = np.array([_kernels._exponential(number) for number in numbers], np.float64)
    np.testing.assert_allclose(found, np.exp(numbers.astype(np.float64)), rtol=2e-7)
    assert _kernels._exponential(np.float32(0)) == 1
    assert 0 <= _kernels._exponential(np.float32(-1e30)) < 1e-37


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, mapped=st.booleans(), length=st.sampled_from([1e-3, 1.0, 10.0]))
def test_a_question_agrees_with_its_twin_and_with_many_at_once(seed: int, mapped: bool, length: float) -> None:
    draw = np.random.default_rng(seed)
    head = tefal(draw)
    block = Folded(head).blocks[int(mapped)]
    text = length * array(draw, WIDTH, around=0.1)
    given = (block.asks, block.added, block.scaled, text)
    found, plain = np.empty((2, len(block.asks)), np.float32)
    _kernels.ask(*given, found)
    _kernels.ask_plain(*given, plain)
    agree(found, plain)
    agree(found, block.ask(text[None])[0])


@KINDS
@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, counts=COUNTS)
@example(seed=1, counts=ALL_LENGTHS)
@example(seed=2, counts=[])
@example(seed=3, counts=[0])
@example(seed=4, counts=[1])
@example(seed=5, counts=[0, 0, MOST, 0])
def test_a_look_agrees_with_its_twin(kind: str, seed: int, counts: list[int]) -> None:
    draw = np.random.default_rng(seed)
    block, own = ready(draw, counts, kind)
    asked = block.ask(array(draw, 1, WIDTH))[0]
    attention, parts = looked(_kernels.look, block, asked, own)
    plain_attention, plain_parts = looked(_kernels.look_plain, block, asked, own)
    agree(attention, plain_attention)
    agree(parts, plain_parts)
    np.testing.assert_array_equal(np.isneginf(parts[:, 0]), np.array(counts, int) == 0)
    filled = own.tokens.offsets[:-1][np.array(counts, int) > 0]
    if len(filled):
        np.testing.assert_allclose(np.add.reduceat(attention, filled), 1, atol=1e-6)


@KINDS
def test_a_look_at_some_touches_no_other(kind: str) -> None:
    draw = np.random.default_rng(6)
    block, own = ready(draw, ALL_LENGTHS, kind)
    asked = block.ask(array(draw, 1, WIDTH))[0]
    attention, parts = looked(_kernels.look, block, asked, own)
    chosen = np.array([16, 0, 7, 1], np.int64)

    def look_at(_begin: int, _end: int, *rest: Any) -> None:
        _kernels.look_at(chosen, *rest)

    some_attention, some_parts = looked(look_at, block, asked, own)
    touched = np.isin(np.arange(len(own)), chosen)
    agree(some_parts[touched], parts[touched])
    assert np.isnan(some_parts[~touched]).all()
    owned = np.repeat(touched, own.tokens.counts)
    agree(some_attention[owned], attention[owned])
    assert np.isnan(some_attention[~owned]).all()


@pytest.mark.parametrize("kernel", [_kernels.look, _kernels.look_plain])
def test_a_part_of_the_candidates_is_looked_at_as_in_the_whole(kernel: Kernel) -> None:
    draw = np.random.default_rng(7)
    block, own = ready(draw, [3, 0, 16, 5, 1], "halves")
    asked = block.ask(array(draw, 1, WIDTH))[0]
    _, whole = looked(kernel, block, asked, own)
    _, part = looked(kernel, block, asked, own, 1, 4)
    np.testing.assert_array_equal(part[1:4], whole[1:4])
    assert np.isnan(part[[0, 4]]).all()


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, counts=COUNTS, groups=st.integers(1, 2))
@example(seed=1, counts=ALL_LENGTHS, groups=2)
@example(seed=2, counts=[], groups=1)
@example(seed=3, counts=[0], groups=1)
def test_many_questions_agree_with_the_twin_of_one(seed: int, counts: list[int], groups: int) -> None:
    draw = np.random.default_rng(seed)
    block, own = ready(draw, counts, "singles")
    asked = block.ask(array(draw, groups * LANES, WIDTH))
    attention, parts = paired(block, asked, own)
    for question, one in enumerate(asked):
        plain_attention, plain_parts = looked(_kernels.look_plain, block, one, own)
        agree(attention[:, 0, question], plain_attention)
        agree(parts[:, :, question], plain_parts)


def paired(block: FoldedBlock, asked: Floats, own: Side) -> tuple[Floats, Floats]:
    """Attention `(N, 2, Q)`, the first half of it, and parts `(V, 4, Q)`."""
    length = own.rows.shape[1]
    asks = asked[:, : 2 * length].reshape(len(asked), 2, length)
    products = np.ascontiguousarray(np.einsum("nd,qkd->nkq", singles(own.tokens.rows), asks))
    parts = np.full((len(own), PARTS, len(asked)), np.nan, np.float32)
    factors = own.factors.copy()
    if own.rows.dtype == np.int16:
        factors[:, 0] /= HALF_BIAS
    rests = np.ascontiguousarray(asked[:, 2 * length :].T)
    _kernels.pairs(
        0, len(own), products, own.tokens.offsets, factors, own.record, own.places, rests, block.constants, block.width,
        parts,
    )  # fmt: skip
    return products, parts


LENGTHS = st.floats(0.125, 12, width=32).map(np.float32)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, counts=COUNTS, length=LENGTHS)
def test_a_cosine_alone_agrees_with_its_twin(seed: int, counts: list[int], length: np.float32) -> None:
    draw = np.random.default_rng(seed)
    block, own = ready(draw, counts, "halves")
    _, parts = looked(_kernels.look, block, block.ask(array(draw, 1, WIDTH))[0], own)
    found, plain = np.empty((2, len(counts)), np.float32)
    _kernels.alone(parts, length, found)
    _kernels.alone_plain(parts, length, plain)
    np.testing.assert_allclose(found, plain, rtol=1e-6)


# ------------------------------------------------------------------------------------------------------- seen and heard

BOTH = st.lists(st.tuples(st.integers(0, MOST), st.integers(0, 5)), max_size=10)
EVERY_SILENCE = [(0, 0), (3, 0), (0, 4), (1, 1), (16, 5), (16, 16), (2, 1)]


def heard(draw: np.random.Generator, counts: list[tuple[int, int]]) -> tuple[Head, Folded, Prepared]:
    head = tefal(draw)
    folded = Folded(head)
    frames = candidates(draw, [seen for seen, _ in counts])
    return head, folded, folded.prepare(frames, candidates(draw, [sounds for _, sounds in counts], HEARD))


def meeting(kernel: Kernel, folded: Folded, ready: Prepared, looks: list[tuple[Floats, Floats]], out: Floats) -> None:
    (seen, seen_parts), (sound, sound_parts) = looks
    kernel(
        0, len(ready), seen, ready.sides[0].tokens.offsets, sound, ready.sides[1].tokens.offsets, ready.cross,
        ready.places, seen_parts, sound_parts, folded._constants, out,
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, counts=BOTH)
@example(seed=1, counts=EVERY_SILENCE)
@example(seed=2, counts=[])
def test_what_is_seen_meets_what_is_heard_as_in_the_twin(seed: int, counts: list[tuple[int, int]]) -> None:
    draw = np.random.default_rng(seed)
    _, folded, ready = heard(draw, counts)
    texts = array(draw, LANES, WIDTH)
    asked = [block.ask(texts) for block in folded.blocks]
    at_once = np.full((len(ready), LANES), np.nan, np.float32)
    both = [paired(block, one, own) for block, one, own in zip(folded.blocks, asked, ready.sides, strict=True)]
    meeting(_kernels.meetings, folded, ready, both, at_once)
    for question in range(LANES):
        looks = [
            looked(_kernels.look, block, one[question], own)
            for block, one, own in zip(folded.blocks, asked, ready.sides, strict=True)
        ]
        found, plain = np.full((2, len(ready)), np.nan, np.float32)
        meeting(_kernels.meeting, folded, ready, looks, found)
        meeting(_kernels.meeting_plain, folded, ready, looks, plain)
        agree(found, plain)
        agree(at_once[:, question], plain)
        assert not plain[ready.silent].any()


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, counts=BOTH, length=LENGTHS)
@example(seed=1, counts=EVERY_SILENCE, length=np.float32(1))
def test_a_cosine_of_both_agrees_with_its_twin_and_in_silence_with_that_of_one_to_the_bit(
    seed: int, counts: list[tuple[int, int]], length: np.float32
) -> None:
    draw = np.random.default_rng(seed)
    _, folded, ready = heard(draw, counts)
    text = array(draw, 1, WIDTH)
    looks = [
        looked(_kernels.look, block, block.ask(text)[0], own)
        for block, own in zip(folded.blocks, ready.sides, strict=True)
    ]
    crossed = np.empty(len(ready), np.float32)
    meeting(_kernels.meeting, folded, ready, looks, crossed)
    gates = draw.choice([-200, -3, 0, 2, 200], len(ready)).astype(np.float32)
    given = (looks[0][1], looks[1][1], crossed, ready.silent, gates, length)
    found, plain, alone = np.empty((3, len(ready)), np.float32)
    _kernels.together(*given, found)
    _kernels.together_plain(*given, plain)
    _kernels.alone(looks[0][1], length, alone)
    np.testing.assert_allclose(found, plain, rtol=2e-4, atol=2e-6)
    assert found[ready.silent].tobytes() == alone[ready.silent].tobytes()
    np.testing.assert_array_equal(np.isneginf(found), np.array([seen == 0 for seen, _ in counts], bool))


# -------------------------------------------------------------------------------------------------- bytes and threads


@pytest.mark.parametrize("kind", ["halves", "singles"])
def test_a_byte_is_within_half_a_step_of_what_it_stands_for(kind: str) -> None:
    draw = np.random.default_rng(8)
    _, own = ready(draw, ALL_LENGTHS, kind)
    own.tokens.rows[3] = 0
    rough = in_bytes(own)
    wide = singles(own.tokens.rows)
    steps = np.abs(wide).max(axis=1, keepdims=True) / 127
    assert rough.rows.dtype == np.int8
    assert (np.abs(rough.rows * steps - wide) <= steps * 0.501).all()
    lengths = own.factors[:, :1] / (HALF_BIAS if kind == "halves" else 1)
    np.testing.assert_allclose(rough.factors[:, :1], lengths * np.maximum(steps, 1e-22), rtol=1e-5, atol=1e-20)
    np.testing.assert_array_equal(rough.factors[:, 1], own.factors[:, 1])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 192, 193, 1_000])
@pytest.mark.parametrize("alone", [1, 192])
def test_every_candidate_falls_into_one_part(count: int, alone: int) -> None:
    times = np.zeros(count, int)

    def kernel(begin: int, end: int, step: int) -> None:
        times[begin:end] += step

    _kernels.in_parts(kernel, count, 3, alone=alone)
    assert (times == 3).all()


def test_what_goes_wrong_on_a_thread_is_told() -> None:
    def kernel(_begin: int, end: int) -> None:
        if end == 500:
            raise ValueError("the last part")

    with pytest.raises(ValueError, match="the last part"):
        _kernels.in_parts(kernel, 500)
