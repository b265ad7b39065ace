"""What a folded head keeps of candidates, kept beside a library so that it is made once a head.

    ready = prepared(folder, pool, [snapshot.tokens(numbers, space) for space in pool.head.token_spaces])

The key is the head's digest and the tokens themselves, so that nothing stale is ever read; of older ones the newest
few stay (`retriever.derived`).
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from retriever.derived import Arrays, kept
from retriever.rerankers._folding import Prepared, restored
from retriever.rerankers._ragged import Ragged
from retriever.rerankers.textpool import TextPool
from retriever.types import RaggedTokens

_VERSION = 1
"""Of the tables; another number makes them anew."""


def prepared(folder: Path | None, pool: TextPool, tokens: Sequence[RaggedTokens]) -> Prepared:
    """Candidates made ready for this head: read from `folder` (a library's `derived`) if they were made before."""

    def make() -> Arrays:
        return pool.prepare_ragged(tokens).arrays()

    arrays = kept(folder, "headrecord", _key(pool, tokens), make)
    return restored(arrays, [Ragged.of(own) for own in tokens])


def _key(pool: TextPool, tokens: Sequence[RaggedTokens]) -> str:
    summed = sha256()
    for own in tokens:
        for array in (own.rows, own.offsets, own.norms):
            summed.update(f"{array.dtype}{array.shape}".encode())
            summed.update(np.ascontiguousarray(array).view(np.uint8).data)
    return f"{_VERSION} {pool.head.digest} {summed.hexdigest()}"
