"""Arithmetic over rows stored in half precision, and over ragged segments, each with its plain twin.

numpy widens halves one by one, several nanoseconds each, and multiplies them even slower, so nothing here calculates
in float16.  A half becomes a single by moving its bits (IEEE 754-2008 §3.6): sign to the top, exponent and fraction
three places below it.  What is missing then is the difference of the exponents' biases,
2^(127-15), which is multiplied into the query once and not into every row.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from retriever.types import Floats, Halves, Ids, Matrix, RaggedTokens

_BLOCK = 256
"""Rows widened at a time: 256 × 384 singles are 384 KB, which stays in a core's cache; measured against 32 to 4096."""
_SOME, _MANY = 8, 64
"""Queries from which matrix products pay, and from which they do so in one piece: that takes threads, and threads that
wait for each other make a block of few queries up to a hundred times slower while something else runs."""
_ALONE = 1 << 18
"""Products of numbers that OpenBLAS leaves to one thread (65,536 × `GEMM_MULTITHREAD_THRESHOLD`, which is 4)."""
_TILE = 16
"""Queries that are multiplied at a time where it takes no threads."""
_BIAS = np.float32(2.0**112)
"""127 - 15: the exponent biases of single and half."""
_SIGN_AND_VALUE = np.int32(-0x70000001)
"""0x8FFFFFFF: clears the three copies of the sign that widening leaves."""


def cosines(rows: Halves, query: Floats) -> Floats:
    """Products `(N,)` of finite unit rows `(N, D)` with one query `(D,)`."""
    return products(rows, query[np.newaxis])[:, 0]


def asked(tokens: RaggedTokens, queries: Matrix) -> RaggedTokens:
    """The same tokens, ready for `relevance` to these queries `(Q, D)`: rows are widened once for all of them."""
    near = np.ascontiguousarray(products(tokens.rows, queries).T)
    return replace(tokens, near={query.tobytes(): column for query, column in zip(queries, near, strict=True)})


def relevance(tokens: RaggedTokens, query: Floats) -> Floats:
    """Products `(N,)` of all tokens with one query `(D,)`."""
    known = tokens.near.get(query.tobytes())
    return cosines(tokens.rows, query) if known is None else known


def cosines_plain(rows: Halves, query: Floats) -> Floats:
    """The twin of `cosines`, by its definition."""
    scores: Floats = rows.astype(np.float32) @ query.astype(np.float32)
    return scores


def products(rows: Halves, queries: Matrix) -> Floats:
    """Products `(N, Q)` of finite rows `(N, D)` with several queries `(Q, D)` of lengths up to one."""
    scores = np.empty((len(rows), len(queries)), np.float32)
    raised = np.ascontiguousarray(queries * _BIAS, np.float32)  # (Q, D)
    for begin, block in _lowered(rows):
        out = scores[begin : begin + len(block)]
        if len(queries) < _SOME:
            np.vecdot(block[:, np.newaxis], raised, out=out)
        elif len(queries) < _MANY:
            _piecewise(block, raised, out)
        else:
            np.matmul(block, raised.T, out=out)
    return scores


def _piecewise(rows: Matrix, queries: Matrix, out: Matrix) -> None:
    """`rows @ queries.T`, so little of it at a time that it takes no threads."""
    few = max(1, _ALONE // (_TILE * rows.shape[1]))
    whole = len(rows) - len(rows) % few
    stacked, stacks = rows[:whole].reshape(-1, few, rows.shape[1]), out[:whole].reshape(-1, few, len(queries))
    for begin in range(0, len(queries), _TILE):
        columns = slice(begin, begin + _TILE)
        np.matmul(stacked, queries[columns].T, out=stacks[:, :, columns])
        np.matmul(rows[whole:], queries[columns].T, out=out[whole:, columns])


def singles(rows: Halves) -> Matrix:
    """The rows `(N, D)` in single precision, exactly; the twin is `rows.astype(np.float32)`."""
    wide = np.empty(rows.shape, np.float32)
    for begin, block in _lowered(rows):
        np.multiply(block, _BIAS, out=wide[begin : begin + len(block)])
    return wide


def segment_max(values: Floats, offsets: Ids) -> Floats:
    """The largest of `values` `(N,)` in each segment `offsets[i]:offsets[i + 1]`, `(S,)`; -inf where it is empty."""
    best = np.full(len(offsets) - 1, -np.inf, np.float32)
    filled = offsets[1:] > offsets[:-1]
    if filled.any():
        best[filled] = np.maximum.reduceat(values[: offsets[-1]], offsets[:-1][filled])
    return best


def segment_max_plain(values: Floats, offsets: Ids) -> Floats:
    """The twin of `segment_max`, by its definition."""
    return np.array([max(values[start:end], default=-np.inf) for start, end in pairwise(offsets)], np.float32)


def segment_top_mean(values: Floats, offsets: Ids, most: int) -> Floats:
    """The mean of the `most` largest values of each segment `(S,)`, of all where there are fewer; -inf if none."""
    if most < 1:
        raise ValueError(f"the mean of the largest values needs at least one of them, got {most}")
    counts = np.diff(offsets)
    left = values[offsets[0] : offsets[-1]].copy()  # whatever was counted becomes -inf
    bounds = offsets - offsets[0]
    owner = np.repeat(np.arange(len(counts)), counts)
    sums = np.zeros(len(counts), np.float64)
    for place in range(min(most, int(counts.max(initial=0)))):
        largest = segment_max(left, bounds)
        able = counts > place
        sums[able] += largest[able]
        equal = np.flatnonzero(left == largest[owner])
        first = np.flatnonzero(np.diff(owner[equal], prepend=-1))  # of each segment's largest ones
        left[equal[first]] = -np.inf
    return np.where(counts > 0, sums / np.clip(counts, 1, most), -np.inf).astype(np.float32)


def segment_top_mean_plain(values: Floats, offsets: Ids, most: int) -> Floats:
    """The twin of `segment_top_mean`, by its definition."""
    tops = [sorted(values[start:end].tolist(), reverse=True)[:most] for start, end in pairwise(offsets)]
    return np.array([sum(top) / len(top) if top else -np.inf for top in tops], np.float32)


def _lowered(rows: Halves) -> Iterator[tuple[int, Matrix]]:
    """Blocks of rows with the first row's number, as singles that are 2^112 too small.  The next block overwrites."""
    bits = rows.view(np.int16)
    words: NDArray[np.int32] = np.empty((min(_BLOCK, len(rows)), rows.shape[1]), np.int32)
    for begin in range(0, len(rows), _BLOCK):
        halves = bits[begin : begin + _BLOCK]
        block = words[: len(halves)]
        np.copyto(block, halves)  # the sign is copied to the left
        np.left_shift(block, 13, out=block)
        np.bitwise_and(block, _SIGN_AND_VALUE, out=block)
        yield begin, block.view(np.float32)


def rising(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers of any shape, each once, in order `(M,)`: `np.unique` without what it takes to find out what to do, which
    is most of its time for a few dozen."""
    ordered = np.sort(values, axis=None)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def logistic(numbers: Floats) -> Floats:
    """1 / (1 + e^-x); where that e would not fit into single precision, next to nothing."""
    return np.asarray(1 / (1 + np.exp(np.minimum(-numbers, 88))), np.float32)
