"""Nearest segments: the exact search by its definition, and the index against the exact search."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.stores import _ann
from retriever.types import Halves, Ids, Matrix, Ranking

DIMENSION = 32


def unit(generator: np.random.Generator, rows: int, dimension: int = DIMENSION) -> Matrix:
    values: Matrix = generator.standard_normal((rows, dimension)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values


def by_definition(
    query: Matrix, rows: Halves, segment: Ids, depth: int, allowed: _ann.Mask | None, dead: _ann.Mask | None
) -> list[tuple[int, float]]:
    best: dict[int, float] = {}
    for number, row in enumerate(rows.astype(np.float64)):
        owner = int(segment[number])
        if (allowed is None or allowed[owner]) and (dead is None or not dead[number]):
            best[owner] = max(best.get(owner, -2.0), float(row @ query.astype(np.float64)))
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))[:depth]


def agree(ranking: Ranking, expected: list[tuple[int, float]]) -> None:
    assert ranking.scores.tolist() == pytest.approx([score for _, score in expected], abs=1e-6)
    assert len(set(ranking.segments.tolist())) == len(ranking)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 60), depth=st.integers(1, 20), masks=st.booleans())
def test_exact_agrees_with_its_definition(seed: int, count: int, depth: int, masks: bool) -> None:
    generator = np.random.default_rng(seed)
    rows = unit(generator, count, 4).astype(np.float16)
    segment = np.sort(generator.integers(0, 15, count))
    allowed = generator.random(15) < 0.6 if masks else None
    dead = generator.random(count) < 0.3 if masks else None
    queries = unit(generator, 2, 4)
    for query, ranking in zip(queries, _ann.exact(queries, rows, segment, depth, allowed, dead), strict=True):
        agree(ranking, by_definition(query, rows, segment, depth, allowed, dead))


def test_exact_goes_on_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    rows, segment, query = unit(generator, 500).astype(np.float16), np.arange(500) // 3, unit(generator, 1)
    whole = _ann.exact(query, rows, segment, 50)[0]
    monkeypatch.setattr(_ann, "_BLOCK", 7)
    blocks = _ann.exact(query, rows, segment, 50)[0]
    assert blocks.segments.tolist() == whole.segments.tolist()


def test_ties_go_to_the_lower_segment() -> None:
    rows = np.zeros((40, 2), np.float16)
    rows[:, 0] = 1
    segment = np.arange(40)[::-1].copy()
    ranking = _ann.exact(np.array([[1, 0]], np.float32), rows, segment, 3)[0]
    assert ranking.segments.tolist() == [0, 1, 2]


def test_no_queries_have_no_rankings() -> None:
    rows = np.zeros((3, 2), np.float16)
    assert _ann.exact(np.zeros((0, 2), np.float32), rows, np.arange(3), 3) == []


class Library:
    """Rows around a few hundred centres, several a segment, with an index over all but the last."""

    def __init__(self, folder: Path, rows: int = 12_000, covered: int = 11_000) -> None:
        self.generator = np.random.default_rng(4)
        centres = unit(self.generator, 300)
        near = centres[self.generator.integers(0, 300, rows)] + 0.15 * self.generator.standard_normal((rows, DIMENSION))
        near /= np.linalg.norm(near, axis=1, keepdims=True)
        self.rows = near.astype(np.float16)
        self.segment = np.arange(rows) // 3
        self.queries = unit(self.generator, 8) * 0.3 + centres[:8]
        self.queries /= np.linalg.norm(self.queries, axis=1, keepdims=True)
        self.path = folder / "rows.faiss"
        _ann.Index.build(self.rows[:covered], self.path)
        self.index = _ann.Index.open(self.path)

    def compare(self, depth: int, allowed: _ann.Mask | None = None, dead: _ann.Mask | None = None) -> float:
        """Share of the exact answers that the index finds, its scores being exact."""
        arguments = (self.queries, self.rows, self.segment, depth, allowed, dead)
        share = []
        for found, best in zip(self.index.nearest(*arguments), _ann.exact(*arguments), strict=True):
            assert len(found) == len(best)
            exact = dict(zip(best.segments.tolist(), best.scores.tolist(), strict=True))
            both = [segment for segment in found.segments.tolist() if segment in exact]
            scores = dict(zip(found.segments.tolist(), found.scores.tolist(), strict=True))
            assert [scores[segment] for segment in both] == pytest.approx([exact[s] for s in both], abs=1e-6)
            share.append(len(both) / len(best) if len(best) else 1.0)
        return float(np.mean(share))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    pytest.importorskip("faiss")
    return Library(tmp_path_factory.mktemp("index"))


def test_the_index_finds_what_the_exact_search_finds(library: Library) -> None:
    assert library.compare(10) >= 0.98
    assert library.compare(200) >= 0.95


def test_rows_behind_the_index_are_searched(library: Library) -> None:
    library.queries[0] = library.rows[-1].astype(np.float32)
    assert (
        library.index.nearest(library.queries, library.rows, library.segment, 5)[0].segments[0] == library.segment[-1]
    )


def test_dead_rows_are_not_found(library: Library) -> None:
    dead = library.generator.random(len(library.rows)) < 0.4
    assert library.compare(20, dead=dead) >= 0.95
    alive = set(library.segment[~dead].tolist())
    for ranking in library.index.nearest(library.queries, library.rows, library.segment, 50, None, dead):
        assert set(ranking.segments.tolist()) <= alive


def test_rows_may_lie_in_another_order_than_their_segments(library: Library) -> None:
    """As where media got a space one after the other, and not in the order of their numbers."""
    numbers = library.generator.permutation(library.segment[-1] + 1)
    segment = numbers[library.segment]
    dead = library.generator.random(len(library.rows)) < 0.2
    order = np.argsort(segment, kind="stable")
    rising = library.index.nearest(library.queries, library.rows, library.segment, 50, None, dead)
    mixed = library.index.nearest(library.queries, library.rows, segment, 50, None, dead, order)
    for one, other in zip(rising, mixed, strict=True):
        assert numbers[one.segments].tolist() == other.segments.tolist()
        assert one.scores.tolist() == other.scores.tolist()


@pytest.mark.parametrize("share", [0.7, 0.3, 0.01, 0.0])
def test_a_filter_does_not_starve(library: Library, share: float) -> None:
    allowed = library.generator.random(library.segment[-1] + 1) < share
    assert library.compare(50, allowed) >= 0.95


def test_segments_of_many_rows_do_not_starve(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    generator = np.random.default_rng(5)
    query = unit(generator, 1)
    near = query + 0.01 * generator.standard_normal((6_000, DIMENSION))  # one segment has all the best rows
    rows = np.concatenate([near, unit(generator, 2_000)])
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    segment = np.concatenate([np.zeros(6_000, np.int64), np.arange(1, 2_001)])
    _ann.Index.build(rows, tmp_path / "one")
    found = _ann.Index.open(tmp_path / "one").nearest(query.astype(np.float32), rows, segment, 300)[0]
    assert len(found) == 300
    assert found.segments[0] == 0


def test_an_index_of_several_lists_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(_ann, "_ONE_LIST_UP_TO", 8_000)
    monkeypatch.setattr(_ann, "_PROBES", 30)
    library = Library(tmp_path)
    assert library.index.engine.nlist == 104
    assert library.compare(10) >= 0.95
    assert library.compare(1_000) >= 0.9


def test_an_index_grows_without_learning_again(tmp_path: Path, library: Library) -> None:
    _ann.Index.build(library.rows, tmp_path / "grown", library.index)
    grown = _ann.Index.open(tmp_path / "grown")
    assert (library.index.count, grown.count) == (11_000, 12_000)
    before, after = (
        index.nearest(library.queries, library.rows, library.segment, 10) for index in (library.index, grown)
    )
    shared = [len(set(a.segments.tolist()) & set(b.segments.tolist())) for a, b in zip(before, after, strict=True)]
    assert np.mean(shared) >= 9


def test_an_index_that_cannot_be_written_leaves_nothing(library: Library, tmp_path: Path) -> None:
    place = tmp_path / "taken"
    place.mkdir()
    with pytest.raises(OSError, match="taken"):
        _ann.Index.build(library.rows, place, library.index)
    assert list(tmp_path.iterdir()) == [place]


def test_any_dimension_has_an_index(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    generator = np.random.default_rng(6)
    rows, query = unit(generator, 6_000, 7).astype(np.float16), unit(generator, 1, 7)
    _ann.Index.build(rows, tmp_path / "seven")
    found = _ann.Index.open(tmp_path / "seven").nearest(query, rows, np.arange(6_000), 20)[0]
    assert found.segments.tolist() == _ann.exact(query, rows, np.arange(6_000), 20)[0].segments.tolist()


def test_few_rows_deserve_no_index() -> None:
    assert not _ann.worthwhile(_ann.FLAT_UP_TO)


def test_without_faiss_there_is_no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ann, "find_spec", lambda name: None)
    assert not _ann.worthwhile(10**6)
