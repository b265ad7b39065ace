"""The inner loops of a folded head, compiled, each with its plain twin.

Halves are widened in the register: the bits are sign-extended and moved thirteen places up, two copies of the sign
are cleared, and the missing 2^112 (see `retriever.kernels`) stands half in the question and half in the token's factor.
The loops let go of Python's lock and are split over threads of our own: numba's own threads end the process where two
of Python's threads enter them at once, unless OpenMP or TBB happens to be there.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from retriever.heads import EPSILON
from retriever.rerankers._ragged import MOST
from retriever.types import Floats, Ids

HALF_BIAS = np.float32(2.0**56)
"""The root of 2^112: once in the question, once in the token's factor."""
LANES = 16
"""Questions that stand side by side in a register or two."""
PARTS = 4
"""Numbers that a candidate's look leaves: text · z, |z|², 1/σ of the second normalisation, 1/σ of the third."""
SCALARS = 6
"""Numbers of a question beside its two vectors: what the map adds to either, and c, ⟨Γ₃t, e⟩, ⟨t, β₃⟩, gate."""

_THREADS = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
_BESIDE = ThreadPoolExecutor(max(1, _THREADS - 1), thread_name_prefix="reelseek-rerank")
_ALONE = 192
"""Candidates that are looked at on one thread: waking another costs more than they do."""
_EPSILON = np.float32(EPSILON)
_LEAST = np.float32(1e-30)
_SIGN_AND_VALUE = np.int32(-0x70000001)
"""0x8FFFFFFF: clears the copies of the sign."""

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function as machine code, kept on disk; sums may be taken in any order."""
    options = {"nogil": True, "cache": True, "fastmath": {"reassoc", "contract", "nsz", "arcp"}, "error_model": "numpy"}
    return cast(F, numba.njit(**options)(function))


def exact(function: F) -> F:
    """The same, in the order that is written."""
    return cast(F, numba.njit(nogil=True, cache=True, error_model="numpy")(function))


def in_parts(kernel: Callable[..., None], count: int, *fixed: Any, alone: int = _ALONE) -> None:
    """`kernel(begin, end, *fixed)` over 0 to `count`, a part for each thread where it is more than `alone`."""
    if count <= alone or _THREADS == 1:
        kernel(0, count, *fixed)
        return
    bounds = [count * place // _THREADS for place in range(_THREADS + 1)]
    others = [_BESIDE.submit(kernel, *pair, *fixed) for pair in pairwise(bounds[1:])]
    kernel(0, bounds[1], *fixed)
    for other in others:
        other.result()


def widened(number: Any) -> Any:
    """A stored number as a single: int16 is the bits of a half, 2^112 too small; others are what they say."""
    raise NotImplementedError("only inside compiled code")


def _widened(number: Any) -> Any:
    def bits(number: Any) -> Any:
        return np.int32((np.int32(number) << np.int32(13)) & _SIGN_AND_VALUE).view(np.float32)

    def value(number: Any) -> Any:
        return np.float32(number)

    return bits if number == numba.types.int16 else value


overload(widened)(_widened)


@compiled
def ask(matrix: Floats, added: Floats, scaled: NDArray[np.bool_], text: Floats, out: Floats) -> None:
    """What a text `(D,)` asks of every candidate, into `out` `(R,)`: `matrix` `(R, D)` times text, over the text's
    deviation where `scaled` `(R,)`, plus `added` `(R,)`."""
    width = text.shape[0]
    mean = np.float32(0)
    for d in range(width):
        mean += text[d]
    mean /= np.float32(width)
    spread = np.float32(0)
    for d in range(width):
        spread += (text[d] - mean) * (text[d] - mean)
    scale = np.float32(1) / np.sqrt(spread / np.float32(width) + _EPSILON)
    for row in range(matrix.shape[0]):
        total = np.float32(0)
        for d in range(width):
            total += matrix[row, d] * text[d]
        out[row] = (total * scale if scaled[row] else total) + added[row]


def ask_plain(matrix: Floats, added: Floats, scaled: NDArray[np.bool_], text: Floats, out: Floats) -> None:
    """The twin of `ask`."""
    out[:] = (matrix @ text) / np.where(scaled, np.sqrt(text.var() + _EPSILON), 1) + added


@compiled
def _exponential(number: Any) -> Any:
    """e to a number up to zero, within 2e-7 of it; Cephes' polynomial (Moshier 1989, expf)."""
    number = max(number, np.float32(-87))
    whole = np.floor(number * np.float32(1.44269504088896341) + np.float32(0.5))
    rest = number - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
    series = np.float32(1.9875691500e-4)
    series = series * rest + np.float32(1.3981999507e-3)
    series = series * rest + np.float32(8.3334519073e-3)
    series = series * rest + np.float32(4.1665795894e-2)
    series = series * rest + np.float32(1.6666665459e-1)
    series = series * rest + np.float32(5.0000001201e-1)
    series = series * rest * rest + rest + np.float32(1)
    return series * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled
def look(
    begin: int,
    end: int,
    rows: NDArray[Any],
    offsets: Ids,
    factors: Floats,
    record: Floats,
    places: Ids,
    asked: Floats,
    constants: Floats,
    width: int,
    attention: Floats,
    parts: Floats,
) -> None:
    """One question at candidates `begin:end`: the attention of their tokens `(N,)` and their `parts` `(V, 4)`.

    `rows` `(N, Da)` are float32, int8, or halves as int16; `factors` `(N, 2)` a token's norm over deviation and one
    over deviation; `record` what `Folded.record` says, from `places` `(V + 1,)`; `asked` p₁, p₂ and `SCALARS`; `width`
    the D of the normalisations.
    """
    length = rows.shape[1]
    first, second = asked[:length], asked[length : 2 * length]
    rest = asked[2 * length :]
    weights = np.empty(MOST, np.float32)
    projected = np.empty(MOST, np.float32)
    products = np.empty(MOST * (MOST + 1) // 2, np.float32)
    over = np.float32(1) / np.float32(width)
    for candidate in range(begin, end):
        start = offsets[candidate]
        count = offsets[candidate + 1] - start
        if count == 0:
            parts[candidate, 0] = -np.inf
            parts[candidate, 1] = np.float32(1)
            parts[candidate, 2] = np.float32(0)
            parts[candidate, 3] = np.float32(0)
            continue
        highest = np.float32(-3e38)
        for f in range(count):
            row = rows[start + f]
            one = np.float32(0)
            two = np.float32(0)
            for d in range(length):
                number = widened(row[d])
                one += number * first[d]
                two += number * second[d]
            gain, lift = factors[start + f, 0], factors[start + f, 1]
            weights[f] = one * gain + lift * rest[0]
            projected[f] = two * gain + lift * rest[1]
            highest = max(highest, weights[f])
        total = np.float32(0)
        for f in range(count):
            weights[f] = _exponential(weights[f] - highest)
            total += weights[f]
        total = np.float32(1) / total
        raw = np.float32(0)
        for f in range(count):
            weights[f] *= total
            raw += weights[f] * projected[f]
            attention[start + f] = weights[f]
        size = 0
        for f in range(count):
            for g in range(f + 1):
                products[size + g] = weights[f] * weights[g]
            size += f + 1
        own = record[places[candidate] : places[candidate + 1]]
        outer = np.float32(0)
        inner = np.float32(0)
        pooled = np.float32(0)
        for k in range(size):
            outer += own[k] * products[k]
            inner += own[size + k] * products[k]
            pooled += own[2 * size + k] * products[k]
        v = np.float32(0)
        w = np.float32(0)
        z = np.float32(0)
        for f in range(count):
            v += own[3 * size + f] * weights[f]
            w += own[3 * size + count + f] * weights[f]
            z += own[3 * size + 2 * count + f] * weights[f]
        at_two = np.float32(1) / np.sqrt(max(outer, np.float32(0)) * over + _EPSILON)
        spread = (inner * at_two + np.float32(2) * v) * at_two + constants[0]
        at_three = np.float32(1) / np.sqrt(max(spread, np.float32(0)) * over + _EPSILON)
        parts[candidate, 0] = ((raw + rest[2]) * at_two + rest[3]) * at_three + rest[4]
        square = (pooled * at_two + np.float32(2) * w) * at_two + constants[1]
        square = (square * at_three + np.float32(2) * (z * at_two + constants[2])) * at_three + constants[3]
        parts[candidate, 1] = max(square, _LEAST)
        parts[candidate, 2] = at_two
        parts[candidate, 3] = at_three


@compiled
def look_at(
    chosen: Ids,
    rows: NDArray[Any],
    offsets: Ids,
    factors: Floats,
    record: Floats,
    places: Ids,
    asked: Floats,
    constants: Floats,
    width: int,
    attention: Floats,
    parts: Floats,
) -> None:
    """`look` at the candidates `chosen` alone."""
    for one in chosen:
        look(one, one + 1, rows, offsets, factors, record, places, asked, constants, width, attention, parts)


def look_plain(
    begin: int,
    end: int,
    rows: NDArray[Any],
    offsets: Ids,
    factors: Floats,
    record: Floats,
    places: Ids,
    asked: Floats,
    constants: Floats,
    width: int,
    attention: Floats,
    parts: Floats,
) -> None:
    """The twin of `look`, over rows in single precision."""
    length = rows.shape[1]
    rest = asked[2 * length :].astype(np.float64)
    for candidate in range(begin, end):
        start, stop = offsets[candidate : candidate + 2]
        count = stop - start
        if not count:
            parts[candidate] = -np.inf, 1, 0, 0
            continue
        own = rows[start:stop].astype(np.float64)
        gain, lift = factors[start:stop].astype(np.float64).T
        logits = own @ asked[:length] * gain + lift * rest[0]
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        raw = weights @ (own @ asked[length : 2 * length] * gain + lift * rest[1])
        tables = record[places[candidate] : places[candidate + 1]].astype(np.float64)
        below = np.outer(weights, weights)[np.tril_indices(count)]
        outer, inner, pooled = tables[: 3 * len(below)].reshape(3, -1) @ below
        v, w, z = tables[3 * len(below) :].reshape(3, count) @ weights
        at_two = 1 / np.sqrt(outer / width + EPSILON)
        spread = inner * at_two**2 + 2 * v * at_two + constants[0]
        at_three = 1 / np.sqrt(spread / width + EPSILON)
        attention[start:stop] = weights
        square = (pooled * at_two**2 + 2 * w * at_two + constants[1]) * at_three**2
        square += 2 * (z * at_two + constants[2]) * at_three + constants[3]
        parts[candidate] = ((raw + rest[2]) * at_two + rest[3]) * at_three + rest[4], square, at_two, at_three


@compiled
def pairs(
    begin: int,
    end: int,
    products: Floats,
    offsets: Ids,
    factors: Floats,
    record: Floats,
    places: Ids,
    rests: Floats,
    constants: Floats,
    width: int,
    parts: Floats,
) -> None:
    """Many questions at candidates `begin:end`, `LANES` of them at a time: `products` `(N, 2, Q)` of tokens and p₁, p₂
    become, in the first half, the attention; `rests` `(SCALARS, Q)`; `parts` `(V, 4, Q)`; Q in whole `LANES`."""
    weights = np.empty((MOST, LANES), np.float32)
    sums = np.empty((8, LANES), np.float32)
    over = np.float32(1) / np.float32(width)
    for candidate in range(begin, end):
        start = offsets[candidate]
        count = offsets[candidate + 1] - start
        own = record[places[candidate] : places[candidate + 1]]
        size = count * (count + 1) // 2
        for left in range(0, products.shape[2], LANES):
            if count == 0:
                for q in range(LANES):
                    parts[candidate, 0, left + q] = -np.inf
                    parts[candidate, 1, left + q] = np.float32(1)
                    parts[candidate, 2, left + q] = np.float32(0)
                    parts[candidate, 3, left + q] = np.float32(0)
                continue
            sums[:] = np.float32(0)
            for q in range(LANES):
                sums[7, q] = np.float32(-3e38)
            for f in range(count):
                gain, lift = factors[start + f, 0], factors[start + f, 1]
                for q in range(LANES):
                    weights[f, q] = products[start + f, 0, left + q] * gain + lift * rests[0, left + q]
                    sums[7, q] = max(sums[7, q], weights[f, q])
            for f in range(count):
                for q in range(LANES):
                    weights[f, q] = _exponential(weights[f, q] - sums[7, q])
                    sums[6, q] += weights[f, q]
            for q in range(LANES):
                sums[7, q] = np.float32(1) / sums[6, q]
                sums[6, q] = np.float32(0)
            for f in range(count):
                gain, lift = factors[start + f, 0], factors[start + f, 1]
                v, w, z = own[3 * size + f], own[3 * size + count + f], own[3 * size + 2 * count + f]
                for q in range(LANES):
                    weight = weights[f, q] * sums[7, q]
                    weights[f, q] = weight
                    products[start + f, 0, left + q] = weight
                    sums[6, q] += weight * (products[start + f, 1, left + q] * gain + lift * rests[1, left + q])
                    sums[3, q] += weight * v
                    sums[4, q] += weight * w
                    sums[5, q] += weight * z
            k = 0
            for f in range(count):
                for g in range(f + 1):
                    one, two, three = own[k], own[size + k], own[2 * size + k]
                    k += 1
                    for q in range(LANES):
                        product = weights[f, q] * weights[g, q]
                        sums[0, q] += one * product
                        sums[1, q] += two * product
                        sums[2, q] += three * product
            for q in range(LANES):
                at_two = np.float32(1) / np.sqrt(max(sums[0, q], np.float32(0)) * over + _EPSILON)
                spread = (sums[1, q] * at_two + np.float32(2) * sums[3, q]) * at_two + constants[0]
                at_three = np.float32(1) / np.sqrt(max(spread, np.float32(0)) * over + _EPSILON)
                along = ((sums[6, q] + rests[2, left + q]) * at_two + rests[3, left + q]) * at_three
                square = (sums[2, q] * at_two + np.float32(2) * sums[4, q]) * at_two + constants[1]
                cross = np.float32(2) * (sums[5, q] * at_two + constants[2])
                parts[candidate, 0, left + q] = along + rests[4, left + q]
                parts[candidate, 1, left + q] = max((square * at_three + cross) * at_three + constants[3], _LEAST)
                parts[candidate, 2, left + q] = at_two
                parts[candidate, 3, left + q] = at_three


@exact
def alone(parts: Floats, length: np.float32, out: Floats) -> None:
    """Cosines `(V,)` out of `parts` `(V, 4)` for a text of this length."""
    for candidate in range(parts.shape[0]):
        out[candidate] = parts[candidate, 0] / np.sqrt(parts[candidate, 1]) / length


def alone_plain(parts: Floats, length: np.float32, out: Floats) -> None:
    """The twin of `alone`."""
    out[:] = parts[:, 0] / np.sqrt(parts[:, 1]) / length


@compiled
def meeting(
    begin: int,
    end: int,
    seen: Floats,
    seen_offsets: Ids,
    heard: Floats,
    heard_offsets: Ids,
    cross: Floats,
    places: Ids,
    seen_parts: Floats,
    heard_parts: Floats,
    constants: Floats,
    out: Floats,
) -> None:
    """z_v · z_a of candidates `begin:end` into `out` `(V,)`, from the attentions of both blocks and the `cross` record:
    F × M, then four vectors."""
    for candidate in range(begin, end):
        first, other = seen_offsets[candidate], heard_offsets[candidate]
        count = seen_offsets[candidate + 1] - first
        sounds = heard_offsets[candidate + 1] - other
        out[candidate] = np.float32(0)
        if count == 0 or sounds == 0:
            continue
        own = cross[places[candidate] : places[candidate + 1]]
        both = np.float32(0)
        for f in range(count):
            inner = np.float32(0)
            for m in range(sounds):
                inner += own[f * sounds + m] * heard[other + m]
            both += seen[first + f] * inner
        base = count * sounds
        v_e = np.float32(0)
        v_b = np.float32(0)
        for f in range(count):
            v_e += own[base + f] * seen[first + f]
            v_b += own[base + count + f] * seen[first + f]
        base += 2 * count
        a_e = np.float32(0)
        a_b = np.float32(0)
        for m in range(sounds):
            a_e += own[base + m] * heard[other + m]
            a_b += own[base + sounds + m] * heard[other + m]
        v2, v3 = seen_parts[candidate, 2], seen_parts[candidate, 3]
        a2, a3 = heard_parts[candidate, 2], heard_parts[candidate, 3]
        total = (both * v2 * a2 + v_e * v2 + a_e * a2 + constants[0]) * v3 * a3
        out[candidate] = total + (v_b * v2 + constants[1]) * v3 + (a_b * a2 + constants[2]) * a3 + constants[3]


def meeting_plain(
    begin: int,
    end: int,
    seen: Floats,
    seen_offsets: Ids,
    heard: Floats,
    heard_offsets: Ids,
    cross: Floats,
    places: Ids,
    seen_parts: Floats,
    heard_parts: Floats,
    constants: Floats,
    out: Floats,
) -> None:
    """The twin of `meeting`."""
    for candidate in range(begin, end):
        a = seen[seen_offsets[candidate] : seen_offsets[candidate + 1]].astype(np.float64)
        b = heard[heard_offsets[candidate] : heard_offsets[candidate + 1]].astype(np.float64)
        own = cross[places[candidate] : places[candidate + 1]].astype(np.float64)
        out[candidate] = 0
        if len(a) and len(b):
            both, seen_e, seen_b, heard_e, heard_b = np.split(own, np.cumsum([len(a) * len(b), len(a), len(a), len(b)]))
            v2, v3 = seen_parts[candidate, 2:]
            a2, a3 = heard_parts[candidate, 2:]
            out[candidate] = (
                (a @ both.reshape(len(a), len(b)) @ b * v2 * a2 + seen_e @ a * v2 + heard_e @ b * a2 + constants[0])
                * (v3 * a3)
                + (seen_b @ a * v2 + constants[1]) * v3
                + (heard_b @ b * a2 + constants[2]) * a3
                + constants[3]
            )


@exact
def together(
    seen: Floats,
    heard: Floats,
    cross: Floats,
    silent: NDArray[np.bool_],
    gates: Floats,
    length: np.float32,
    out: Floats,
) -> None:
    """Cosines `(V,)` of z_v + g z_a; where it is `silent`, of z_v alone, by the very operations of `alone`."""
    for candidate in range(seen.shape[0]):
        along, square = seen[candidate, 0], seen[candidate, 1]
        if not silent[candidate]:
            gate = np.float32(1) / (np.float32(1) + np.exp(-gates[candidate]))
            along = along + gate * heard[candidate, 0]
            square = square + gate * (np.float32(2) * cross[candidate] + gate * heard[candidate, 1])
            square = max(square, _LEAST)
        out[candidate] = along / np.sqrt(square) / length


def together_plain(
    seen: Floats,
    heard: Floats,
    cross: Floats,
    silent: NDArray[np.bool_],
    gates: Floats,
    length: np.float32,
    out: Floats,
) -> None:
    """The twin of `together`."""
    gate = np.where(silent, 0, 1 / (1 + np.exp(-gates.astype(np.float64))))
    along = seen[:, 0] + gate * np.where(silent, 0, heard[:, 0])
    square = seen[:, 1] + 2 * gate * cross + gate**2 * heard[:, 1]
    out[:] = along / np.sqrt(square) / length


@compiled
def meetings(
    begin: int,
    end: int,
    seen: Floats,
    seen_offsets: Ids,
    heard: Floats,
    heard_offsets: Ids,
    cross: Floats,
    places: Ids,
    seen_parts: Floats,
    heard_parts: Floats,
    constants: Floats,
    out: Floats,
) -> None:
    """`meeting` for many questions: what `pairs` left, attention `(N, 2, Q)` and parts `(V, 4, Q)`; `out` `(V, Q)`.

    The twin is `meeting_plain`, a question at a time.
    """
    sums = np.empty((6, LANES), np.float32)
    for candidate in range(begin, end):
        first, other = seen_offsets[candidate], heard_offsets[candidate]
        count = seen_offsets[candidate + 1] - first
        sounds = heard_offsets[candidate + 1] - other
        own = cross[places[candidate] : places[candidate + 1]]
        base = count * sounds
        last = base + 2 * count
        for left in range(0, seen.shape[2], LANES):
            sums[:] = np.float32(0)
            if count > 0 and sounds > 0:
                for f in range(count):
                    sums[5, :] = np.float32(0)
                    for m in range(sounds):
                        entry = own[f * sounds + m]
                        for q in range(LANES):
                            sums[5, q] += entry * heard[other + m, 0, left + q]
                    by_e, by_b = own[base + f], own[base + count + f]
                    for q in range(LANES):
                        weight = seen[first + f, 0, left + q]
                        sums[0, q] += weight * sums[5, q]
                        sums[1, q] += weight * by_e
                        sums[2, q] += weight * by_b
                for m in range(sounds):
                    by_e, by_b = own[last + m], own[last + sounds + m]
                    for q in range(LANES):
                        weight = heard[other + m, 0, left + q]
                        sums[3, q] += weight * by_e
                        sums[4, q] += weight * by_b
                for q in range(LANES):
                    v2, v3 = seen_parts[candidate, 2, left + q], seen_parts[candidate, 3, left + q]
                    a2, a3 = heard_parts[candidate, 2, left + q], heard_parts[candidate, 3, left + q]
                    total = (sums[0, q] * v2 * a2 + sums[1, q] * v2 + sums[3, q] * a2 + constants[0]) * v3 * a3
                    one = (sums[2, q] * v2 + constants[1]) * v3
                    sums[0, q] = total + one + (sums[4, q] * a2 + constants[2]) * a3 + constants[3]
            for q in range(LANES):
                out[candidate, left + q] = sums[0, q]
