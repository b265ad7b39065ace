"""Each kernel against its plain twin, by turns.

python benchmarks/kernels.py
"""

from collections.abc import Callable
from functools import partial

import machine
import numpy as np

from retriever import kernels

DIMENSION = 384
ROWS = (1_000, 10_000, 144_000)
QUERIES = (16, 32)
MOST = 3
FACTS = np.dtype([("span", "f8", 2), ("norm", "f4"), ("label", "i4", 5), ("probability", "f4", 5)])
"""As of tokens in a store."""
TAKEN = (400, 40_000)


def main() -> None:
    print(machine.describe())
    generator = np.random.default_rng(0)
    for count in ROWS:
        wide = generator.standard_normal((count, DIMENSION), dtype=np.float32)
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
        rows, query = wide.astype(np.float16), wide[0].copy()
        print(f"{count:,} rows of {DIMENSION}:")
        compare("cosines", partial(kernels.cosines, rows, query), partial(kernels.cosines_plain, rows, query))
        for several in QUERIES:
            queries = wide[:several].copy()
            compare(
                f"products of {several}",
                partial(kernels.products, rows, queries),
                lambda rows=rows, queries=queries: rows.astype(np.float32) @ queries.T,
            )
        compare("singles", partial(kernels.singles, rows), partial(rows.astype, np.float32))
    facts = np.zeros(200_000, FACTS)
    for count in TAKEN:
        at = np.sort(generator.choice(len(facts), count, replace=False))
        print(f"{count:,} of {len(facts):,} rows of {FACTS.itemsize} bytes with fields:")
        compare("take", partial(facts.take, at), partial(facts.__getitem__, at))
    counts = generator.integers(0, 20, 5_000)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    values = generator.standard_normal(offsets[-1], dtype=np.float32)
    print(f"{len(counts):,} segments of {len(values):,} values:")
    compare(
        "segment_max",
        lambda: kernels.segment_max(values, offsets),
        lambda: kernels.segment_max_plain(values, offsets),
    )
    compare(
        "segment_top_mean",
        lambda: kernels.segment_top_mean(values, offsets, MOST),
        lambda: kernels.segment_top_mean_plain(values, offsets, MOST),
    )


def compare(name: str, fast: Callable[[], object], plain: Callable[[], object]) -> None:
    one, other = machine.by_turns([fast, plain], runs=9)
    print(
        f"  {name:17} {1e3 * one.median:8.2f} ms, its twin {1e3 * other.median:8.2f} ms: "
        f"{machine.ratio(other, one):.1f} × as quick"
    )


if __name__ == "__main__":
    main()
