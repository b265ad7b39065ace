"""The capacity model of benchmarks/_capacity.py: more never needs less, and bytes are those of real libraries."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from libraries import entry

from retriever.stores import _ann, local


def _loaded() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "_capacity.py"
    spec = importlib.util.spec_from_file_location("_capacity", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for the names in annotations
    spec.loader.exec_module(module)
    return module


capacity = _loaded()

shapes = st.builds(capacity.Space, st.sampled_from([7, 16, 384, 512, 768]), st.floats(0.1, 10), st.floats(0.1, 3))
corpora = st.builds(
    capacity.Corpus,
    st.lists(shapes, min_size=1, max_size=4).map(tuple),
    st.floats(1, 30),
    st.floats(0.1, 4),
    st.floats(0, 2_000),
)
COSTS = capacity.Costs({"decode": 0.05, "encode": 0.2, "recognize": 0.3}, 0.03, 2e-11, 1e-10, 3e-11, 20_000)
NODE = capacity.Node()
PATIENCE = 0.1
FRAMES = 10_000.0
segments = st.integers(1, 10**10)


def need(corpus: object, count: int) -> object:
    return capacity.need(corpus, COSTS, NODE, count, PATIENCE, FRAMES)


@given(corpus=corpora, count=segments, more=st.integers(1, 10**9))
def test_more_segments_never_need_less(corpus, count, more):
    less, greater = need(corpus, count), need(corpus, count + more)
    for name in ("media_hours", "core_hours", "gpu_hours", "write_hours", "shards", "hot", "qdrant_memory"):
        assert getattr(less, name) <= getattr(greater, name)
    one, other = capacity.disk(corpus, count), capacity.disk(corpus, count + more)
    assert all(one[name] <= other[name] for name in one)
    assert capacity.scan_seconds(corpus, COSTS, 200_000) <= capacity.scan_seconds(corpus, COSTS, 200_000 * 10_000)


@given(corpus=corpora, count=st.integers(1, 10**8), times=st.integers(2, 100))
def test_hours_and_rows_grow_as_the_segments_do(corpus, count, times):
    one, many = need(corpus, count), need(corpus, times * count)
    for name in ("media_hours", "core_hours", "gpu_hours", "other_core_hours", "write_hours", "hot", "qdrant_int8"):
        assert getattr(many, name) == pytest.approx(times * getattr(one, name), rel=1e-6)
    less, more = capacity.disk(corpus, count), capacity.disk(corpus, times * count)
    for name in set(less) - {"indexes"}:
        assert more[name] == pytest.approx(times * less[name], rel=1e-6)


@given(corpus=corpora, count=segments)
def test_shards_fit_and_one_less_does_not(corpus, count):
    found = capacity.shards(corpus, COSTS, NODE, count, PATIENCE)

    def fits(parts: int) -> bool:
        held = capacity.disk(corpus, count / parts)
        return (
            held["indexes"] <= 0.5 * NODE.memory
            and sum(held.values()) <= 0.8 * NODE.disk
            and capacity.scan_seconds(corpus, COSTS, count / parts) <= PATIENCE
        )

    assert fits(found)
    assert found == 1 or not fits(found - 1)


def test_a_query_that_nothing_makes_quick_enough_is_told():
    corpus = capacity.Corpus((capacity.Space(384, 1, 1),), 10, 2, 100)
    with pytest.raises(ValueError, match="one centre"):
        capacity.shards(corpus, COSTS, NODE, 10**6, 1e-9)


def test_bytes_are_those_of_a_library(tmp_path):
    folder = tmp_path / "library"
    store = local.build(folder)
    for number in range(5):
        store.add(entry(f"m{number}", segments=40, lines=()))
    with store.snapshot() as snapshot:
        counts = snapshot.counts()
        shapes = []
        for key, space in snapshot.spaces.items():
            rows = len(snapshot.view.rows(key, "vectors"))
            shapes.append(capacity.Space(space.dimension, counts[f"tokens:{key}"] / 200, rows / 200))
    predicted = capacity.disk(capacity.Corpus(tuple(shapes), 4, 2, 0), 200)
    there = {name: sum(file.stat().st_size for file in (folder / name).iterdir()) for name in ("tokens", "segments")}
    assert predicted["tokens"] == pytest.approx(there["tokens"])
    assert predicted["segment table"] + predicted["first-stage rows"] + predicted["ranges"] == pytest.approx(
        there["segments"]
    )
    store.close()


@pytest.mark.parametrize(("rows", "dimension"), [(20_000, 48), (30_000, 16), (12_000, 7)])
def test_bytes_of_an_index_are_those_of_its_file(tmp_path, monkeypatch, rows, dimension):
    pytest.importorskip("faiss")
    monkeypatch.setattr(_ann, "_ONE_LIST_UP_TO", 25_000)
    made = np.random.default_rng(1).standard_normal((rows, dimension)).astype(np.float16)
    _ann.Index.build(made, tmp_path / "x")
    found = (tmp_path / "x").stat().st_size
    assert capacity.index_bytes(rows, dimension) == pytest.approx(found, rel=0.1)
