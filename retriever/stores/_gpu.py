"""An index on GPUs: where this build of faiss finds some, whole questions without a filter are scanned there.

GPUs do not scan the 4-bit codes of `_ann`, so a copy is made for them: the same lists around the same centres, with a
byte a number (FAISS's IVF with a scalar quantizer; Johnson et al. 2017).  Rows that it finds are scored exactly, as
those that the processor finds.  A question with a filter, and one that wants more than a GPU gives, is the processor's.
The first question waits for the copy.

**This has not been run on a GPU**: the tests hold the copy to the index on a processor, and a GPU is asked where there
is one.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from retriever import kernels
from retriever.types import Halves

MOST = 2_048
"""Rows that a GPU gives a question, and lists that it looks at: limits of faiss."""
_BLOCK = 65_536
"""Rows sent at a time."""
_TRAINED = 100_000
"""Rows from which the range of each number is learned."""


def count() -> int:
    """GPUs that faiss can use; builds for the processor alone have none."""
    import faiss

    return int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0


@dataclass(slots=True)
class Lent:
    """The copy of one index on GPUs, made when the first question comes; of several threads one makes it."""

    _engine: Any = None
    _asked: bool = False
    _guard: Lock = field(default_factory=Lock)

    def engine(self, index: Any, rows: Halves) -> Any:
        """What scans `rows` `(N, D)` in the place of `index`; None where there is no GPU, or it has no room."""
        with self._guard:
            if not self._asked:
                self._asked = True
                if count():
                    with suppress(RuntimeError):  # whatever faiss raises, a full GPU too
                        self._engine = _copied(index, rows)
            return self._engine


def _copied(index: Any, rows: Halves) -> Any:
    import faiss

    kind, centres = faiss.ScalarQuantizer.QT_8bit, faiss.clone_index(index.quantizer)
    small = faiss.IndexIVFScalarQuantizer(centres, index.d, index.nlist, kind, index.metric_type, False)
    small.train(kernels.singles(rows[:: max(1, len(rows) // _TRAINED)]))
    options = faiss.GpuMultipleClonerOptions()
    options.shard = True  # several GPUs hold a part each, and not all of it
    lent = faiss.index_cpu_to_all_gpus(small, options)
    for begin in range(0, len(rows), _BLOCK):
        lent.add(kernels.singles(rows[begin : begin + _BLOCK]))
    return lent
