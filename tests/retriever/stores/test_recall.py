"""What an index finds is measured where it is built, and it looks as far as it has to."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from libraries import entry

from api import checks, parts
from retriever.calibration import background
from retriever.errors import DiskFull, MissingWeights
from retriever.settings import Settings
from retriever.stores import _ann, _gpu, _recall, local
from retriever.types import Halves, Matrix

faiss = pytest.importorskip("faiss")
DIMENSION = 24


def unit(seed: int, rows: int, dimension: int = DIMENSION) -> Matrix:
    made = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


ROWS: Halves = unit(1, 9_000).astype(np.float16)
SEGMENT = np.arange(len(ROWS)) // 2


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ninety lists of which eleven are looked at: among directions that lie nowhere near one another, too few."""
    for name, value in (("ONE_LIST_UP_TO", 1_000), ("PROBES", 1), ("LEAST_SCANNED", 1), ("OVERFETCH", 1)):
        monkeypatch.setattr(_ann, f"_{name}", value)
    monkeypatch.setattr(_ann, "_LEAST_FETCHED", 100)


def built(path: Path, rows: Halves = ROWS, **others: object) -> _ann.Index:
    _recall.build(rows, SEGMENT[: len(rows)], path, **others)  # type: ignore[arg-type]
    return _ann.Index.open(path)


def shares(index: _ann.Index, queries: Matrix, own: np.ndarray | None = None) -> tuple[float, float]:
    """Recall at 10 and at the depth of a search, by the definition."""
    depth, found = _recall.DEPTH, []
    ranked = index.nearest(queries, ROWS, SEGMENT, depth + 1)
    exact = _ann.exact(queries, ROWS, SEGMENT, depth + 1)
    for number, (one, best) in enumerate(zip(ranked, exact, strict=True)):
        lists = [[s for s in each.segments.tolist() if own is None or s != own[number]] for each in (one, best)]
        found.append([len(set(lists[0][:k]) & set(lists[1][:k])) / k for k in (10, depth)])
    ten, all_of = np.mean(found, axis=0).tolist()
    return ten, all_of


def test_what_is_measured_is_what_is_found(tmp_path: Path, narrow: None) -> None:
    index = built(tmp_path / "x")
    assert index.measured
    rows = np.unique(np.linspace(0, len(ROWS) - 1, 200).round().astype(int))
    ten, all_of = shares(index, ROWS[rows].astype(np.float32), SEGMENT[rows])
    assert index.measured.ten == pytest.approx(ten)
    assert index.measured.all == pytest.approx(all_of)
    assert (index.measured.questions, index.measured.sentences, index.measured.rows) == (200, False, len(ROWS))


def test_an_index_looks_wider_until_it_finds_enough(
    tmp_path: Path, narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = built(tmp_path / "wide")
    assert wide.measured
    assert wide.measured.ten >= _recall.TARGET
    assert wide.measured.lists > 1
    monkeypatch.setattr(_recall, "TARGET", 0.0)
    plain = built(tmp_path / "plain")
    assert plain.measured
    assert (plain.measured.lists, plain.measured.fetched) == (1, 1)
    assert plain.measured.ten < 0.98
    others = unit(5, 100)
    assert shares(plain, others)[0] < shares(wide, others)[0]
    assert shares(wide, others)[0] >= 0.95  # that is no accident of the questions


def test_where_no_width_is_enough_every_row_is_scored(
    tmp_path: Path, narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_recall, "TARGET", 1.1)
    monkeypatch.setattr(_recall, "_QUESTIONS", 50)
    index = built(tmp_path / "x")
    assert index.measured
    assert (index.measured.usable, index.measured.lists, index.measured.fetched) == (
        False,
        16,
        16,
    )  # eleven of ninety, and all
    others = unit(6, 20)
    for found, best in zip(
        index.nearest(others, ROWS, SEGMENT, 50), _ann.exact(others, ROWS, SEGMENT, 50), strict=True
    ):
        assert found.segments.tolist() == best.segments.tolist()
        assert found.scores.tolist() == best.scores.tolist()


def test_of_equal_rows_any_are_the_best(tmp_path: Path) -> None:
    rows = np.repeat(unit(2, 3), 1_200, axis=0).astype(np.float16)
    index = built(tmp_path / "x", rows)
    assert index.measured
    assert index.measured.ten == index.measured.all == 1


def test_sentences_are_asked_where_somebody_can_say_them(tmp_path: Path) -> None:
    said: list[tuple[Sequence[str], str]] = []

    def encode(sentences: Sequence[str], side: str) -> Matrix:
        said.append((sentences, side))
        return unit(3, len(sentences))

    index = built(tmp_path / "x", encode=encode, side="words:1")
    assert index.measured
    assert index.measured.sentences
    ((sentences, side),) = said
    assert (len(sentences), len(set(sentences)), side) == (200, 200, "words:1")
    assert set(sentences) <= set(background().sentences)
    assert index.measured.ten == pytest.approx(shares(index, unit(3, 200))[0])


def test_where_nobody_can_say_them_rows_are_asked(tmp_path: Path) -> None:
    def refuses(sentences: Sequence[str], side: str) -> Matrix:
        raise MissingWeights("no weights: pull them")

    def other(sentences: Sequence[str], side: str) -> Matrix:
        return unit(3, len(sentences), DIMENSION + 1)

    for encode in (refuses, other):
        index = built(tmp_path / "x", encode=encode)
        assert index.measured
        assert not index.measured.sentences


def test_what_grew_little_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = built(tmp_path / "a", ROWS[:6_000])
    second = built(tmp_path / "b", ROWS[:7_000], older=first)
    third = built(tmp_path / "c", ROWS, older=second)
    assert (first.count, second.count, third.count) == (6_000, 7_000, 9_000)
    assert second.measured == first.measured
    assert third.measured
    assert third.measured.rows == 9_000
    monkeypatch.setattr(_recall, "TARGET", 1.1)
    monkeypatch.setattr(_recall, "_QUESTIONS", 50)
    hopeless = built(tmp_path / "d", ROWS[:8_000], older=_ann.Index.open(tmp_path / "a"))
    assert hopeless.measured
    assert not hopeless.measured.usable
    monkeypatch.setattr(_recall, "TARGET", 0.5)
    again = built(tmp_path / "e", ROWS, older=hopeless)  # measured again though it grew little
    assert again.measured
    assert again.measured.usable


def test_codes_that_would_fill_the_memory_stay_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = built(tmp_path / "memory")
    monkeypatch.setattr(_ann, "_room", lambda: 10_000)
    index = built(tmp_path / "disk")
    assert (in_memory.on_disk, index.on_disk, index.count) == (False, True, len(ROWS))
    assert not index.serves(len(ROWS) + 1)
    assert index.measured
    assert index.measured.ten >= _recall.TARGET
    others = unit(7, 50)
    assert shares(index, others)[0] >= 0.95
    grown = _ann.Index.open(tmp_path / "disk", mapped=False)
    assert grown.serves(len(ROWS) + 1)
    built(tmp_path / "more", np.concatenate([ROWS[:-1], ROWS[-1:]]), older=grown)


@given(tail=st.binary(max_size=60), cut=st.integers(0, 40))
def test_a_note_that_cannot_be_read_is_none(tmp_path_factory: pytest.TempPathFactory, tail: bytes, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "note"
    path.write_bytes(tail[:cut] + tail + len(tail).to_bytes(8, "little") + b"reelseek")
    assert _ann.note(path) is None
    path.write_bytes(tail)
    assert _ann.note(path) is None


# ----------------------------------------------------------------------------------------------------------------- GPUs


def pretend(monkeypatch: pytest.MonkeyPatch, gpus: int) -> list[object]:
    """A faiss that has so many GPUs, which are the processor; returns what was lent to them."""
    lent: list[object] = []

    def to_gpus(index: object, options: SimpleNamespace) -> object:
        assert options.shard
        lent.append(index)
        return index

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: gpus, raising=False)
    monkeypatch.setattr(faiss, "GpuMultipleClonerOptions", SimpleNamespace, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", to_gpus, raising=False)
    return lent


def test_without_gpus_the_index_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lent = pretend(monkeypatch, 0)
    assert shares(built(tmp_path / "x"), unit(8, 20))[0] >= 0.95
    assert lent == []


def test_a_copy_on_gpus_is_asked_but_for_filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: None) -> None:
    index = built(tmp_path / "x")
    lent = pretend(monkeypatch, 2)
    others = unit(9, 50)
    allowed = np.arange(SEGMENT[-1] + 1) % 2 == 0
    (found,) = index.nearest(others[:1], ROWS, SEGMENT, 20, allowed)
    assert lent == []
    assert (found.segments % 2 == 0).all()
    assert shares(index, others)[0] >= 0.95
    (copy,) = lent
    assert (copy.ntotal, copy.nlist) == (len(ROWS), index.engine.nlist)  # type: ignore[attr-defined]
    assert shares(index, others)[0] >= 0.95
    assert len(lent) == 1


def test_a_gpu_without_room_leaves_it_to_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = built(tmp_path / "x")
    pretend(monkeypatch, 1)

    def full(*given: object) -> object:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", full)
    assert shares(index, unit(8, 20))[0] >= 0.95


def test_a_real_gpu_finds_what_the_processor_finds(tmp_path: Path, narrow: None) -> None:
    if not _gpu.count():
        pytest.skip("no CUDA device: faiss finds none")
    index = built(tmp_path / "x")
    assert index.lent.engine(index.engine, ROWS) is not None
    assert shares(index, unit(9, 50))[0] >= 0.95


# ------------------------------------------------------------------------------------------------------------ libraries


@pytest.fixture
def library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> local.LocalStore:
    """Small, but with indexes all the same."""
    monkeypatch.setattr(_ann, "FLAT_UP_TO", 8)
    store = local.build(folder)
    for key in "abcdef":
        store.add(entry(key))
    return store


def test_the_doctor_tells_what_indexes_find(
    library: local.LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.refresh()
    settings = Settings(library=str(folder))
    told = list(checks.indexes(settings))
    assert [check.name.startswith("index of ") for check in told] == [True, True]
    assert all("recall@10 1.000" in check.found and "36 of 36 rows" in check.found for check in told)
    assert not any(check.problem for check in told)
    monkeypatch.setattr(_recall, "TARGET", 1.1)
    library.delete(["a"])
    library.compact()
    told = list(checks.indexes(settings))
    assert all("every row is scored" in check.problem and "reelseek compact" in check.fix for check in told)
    assert all("16 × the rows" in check.found for check in told)


def test_a_store_that_measures_is_given_who_says_sentences(folder: Path) -> None:
    store = parts.store("local", folder, create=True)
    assert isinstance(store, local.LocalStore)
    assert store.encode is not None
    assert store.encode(["a dog"], "").shape == (1, 384)
    store.close()
    parts.store("memory", folder, create=True).close()


def test_an_index_of_an_earlier_version_is_measured(library: local.LocalStore, folder: Path) -> None:
    library.refresh()
    before = sorted((folder / "index").iterdir())
    for path in before:
        _ann.Index.open(path)
        content = path.read_bytes()
        told = len(content) - int.from_bytes(content[-16:-8], "little") - 16
        path.write_bytes(content[:told])
    library.close()
    again = local.build(folder)
    (first, _) = checks.indexes(Settings(library=str(folder)))
    assert "not measured" in first.found
    assert not first.problem
    with again.snapshot() as snapshot:
        space = next(iter(snapshot.spaces))
        assert len(snapshot.nearest(unit(1, 1, snapshot.spaces[space].dimension), space, 3)[0]) == 3
    again.refresh()
    assert sorted((folder / "index").iterdir()) == before
    assert all("recall@10" in check.found for check in checks.indexes(Settings(library=str(folder))))
    assert all(index.measured for index in map(again._index, named(again)))
    again.close()


def named(store: local.LocalStore) -> list[str]:
    with store.snapshot() as snapshot:
        return [name for name, _ in snapshot.view.indexes.values()]


def test_indexes_keep_up_while_media_are_added(
    library: local.LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "BEHIND", 20)
    monkeypatch.setattr(local, "_REST", 0)

    def covered() -> list[int]:
        with library.snapshot() as snapshot:
            return [rows for _, rows in snapshot.view.indexes.values()]

    assert covered() == []
    library.add(entry("g"))
    assert covered() == [42, 42]
    library.add(entry("h"))  # six more are not worth it
    assert covered() == [42, 42]
    monkeypatch.setattr(local, "_REST", 1e9)
    library.add(entry("i", segments=12))
    assert covered() == [72, 72]
    library.add(entry("j", segments=30))  # it rests
    assert covered() == [72, 72]
    library.refresh()
    assert covered() == [132, 132]
    assert local.problems(folder) == []


def test_an_index_that_finds_no_room_costs_no_media(
    library: local.LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(local, "BEHIND", 20)
    monkeypatch.setattr(_recall, "build", full)
    library.add(entry("g"))
    with library.snapshot() as snapshot:
        assert snapshot.counts()["media"] == 7
    with pytest.raises(DiskFull):
        library.refresh()


def test_an_index_on_the_disk_takes_more_rows(
    library: local.LocalStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ann, "_room", lambda: 0)
    monkeypatch.setattr(_ann, "_CODED_FROM", 0)
    library.add(entry("m", segments=360))
    library.refresh()
    assert all(index is not None and index.on_disk for index in map(library._index, named(library)))
    library.add(entry("n", segments=60))
    library.refresh()
    found = [library._index(name) for name in named(library)]
    assert all(index is not None and index.on_disk and index.count == 876 for index in found)
    assert local.problems(folder) == []
