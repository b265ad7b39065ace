"""What a folded head keeps of candidates is made once, and is never another's."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pools import HEARD, WIDTH, array, ragged, tefal, tokens, xpool

from retriever.derived import NEWEST
from retriever.heads import Head
from retriever.rerankers._records import prepared
from retriever.rerankers.textpool import TextPool
from retriever.types import Floats, RaggedTokens

made: list[str] = []


class Counted(TextPool):
    """Tells how often candidates are made ready."""

    def prepare_ragged(self, tokens: Sequence[RaggedTokens]):
        made.append(self.head.digest)
        return super().prepare_ragged(tokens)


@pytest.fixture(autouse=True)
def _nothing_made_yet() -> Iterator[None]:
    made.clear()
    yield
    made.clear()


def held(seed: int, *widths: int) -> list[RaggedTokens]:
    """Twenty candidates, a few of them with more tokens than a head looks at."""
    draw = np.random.default_rng(seed)
    return [ragged(tokens(draw, 20, 24, width, fewest=place)) for place, width in enumerate(widths)]


def asked(pool: TextPool, folder: Path | None, candidates: list[RaggedTokens], count: int = 1) -> Floats:
    texts = array(np.random.default_rng(99), count, WIDTH)
    return pool.score_prepared(texts, prepared(folder, pool, candidates))


@pytest.mark.parametrize(
    ("head", "widths"),
    [(xpool, (WIDTH,)), (tefal, (WIDTH, HEARD)), (tefal, (WIDTH,))],
    ids=["xpool", "tefal", "tefal, frames alone"],
)
def test_made_once_and_read_as_it_was(
    head: Callable[[np.random.Generator], Head], widths: tuple[int, ...], tmp_path: Path
) -> None:
    pool, candidates = Counted(head(np.random.default_rng(1))), held(2, *widths)
    first, again, once_more = (asked(pool, tmp_path / "derived", candidates, 9) for _ in range(3))
    assert len(made) == 1
    assert first.tobytes() == again.tobytes() == once_more.tobytes()
    assert (
        first.tobytes()
        == pool.score_prepared(array(np.random.default_rng(99), 9, WIDTH), pool.prepare_ragged(candidates)).tobytes()
    )


def test_without_a_folder_it_is_made_each_time() -> None:
    pool, candidates = Counted(xpool(np.random.default_rng(1))), held(2, WIDTH)
    assert asked(pool, None, candidates).tobytes() == asked(pool, None, candidates).tobytes()
    assert len(made) == 2


def test_a_head_with_one_number_changed_is_another(tmp_path: Path) -> None:
    head, candidates = tefal(np.random.default_rng(1)), held(2, WIDTH, HEARD)
    assert head.gate
    changed = [replace(head, gate=replace(head.gate, bias=-0.25))]
    for number, name in ((0, "wq"), (0, "ln3_b"), (1, "wv")):
        own = head.blocks[number]
        array = getattr(own, name).copy()
        array.flat[0] += 0.5
        blocks = list(head.blocks)
        blocks[number] = replace(own, **{name: array})
        changed.append(replace(head, blocks=tuple(blocks)))
    asked(Counted(head), tmp_path, candidates)
    for other in changed:
        assert (
            asked(Counted(other), tmp_path, candidates).tobytes() == asked(Counted(other), None, candidates).tobytes()
        )
    assert made == [head.digest, *(other.digest for other in changed for _ in range(2))]


def test_the_same_head_under_another_name_reads_what_was_made(tmp_path: Path) -> None:
    head, candidates = xpool(np.random.default_rng(1)), held(2, WIDTH)
    asked(Counted(head), tmp_path, candidates)
    asked(Counted(replace(head, options={"epochs": 3})), tmp_path, candidates)
    assert len(made) == 1


def shorter(tokens: RaggedTokens) -> RaggedTokens:
    """The same tokens, but the first two candidates are cut elsewhere."""
    offsets = tokens.offsets.copy()
    offsets[1] += -1 if offsets[1] > 1 else 1
    return replace(tokens, offsets=offsets)


def turned(tokens: RaggedTokens) -> RaggedTokens:
    rows = tokens.rows.copy()
    rows[-1, -1] += np.float16(0.25)
    return replace(tokens, rows=rows)


def longer(tokens: RaggedTokens) -> RaggedTokens:
    norms = tokens.norms.copy()
    norms[0] = np.nextafter(norms[0], np.float32(100))
    return replace(tokens, norms=norms)


def swapped(tokens: RaggedTokens) -> RaggedTokens:
    return replace(tokens, rows=tokens.rows[::-1].copy())


@pytest.mark.parametrize("change", [shorter, turned, longer, swapped])
@pytest.mark.parametrize("space", [0, 1])
def test_other_tokens_never_get_what_was_made_of_these(
    change: Callable[[RaggedTokens], RaggedTokens], space: int, tmp_path: Path
) -> None:
    pool, candidates = Counted(tefal(np.random.default_rng(1))), held(2, WIDTH, HEARD)
    before = asked(pool, tmp_path, candidates)
    others = list(candidates)
    others[space] = change(others[space])
    assert asked(pool, tmp_path, others).tobytes() == asked(pool, None, others).tobytes()
    assert asked(pool, tmp_path, candidates).tobytes() == before.tobytes()
    assert len(made) == 3


@pytest.mark.parametrize("damage", ["empty", "cut off", "another kind", "a bit turned over"])
def test_a_damaged_file_is_made_anew(damage: str, tmp_path: Path) -> None:
    pool, candidates = Counted(xpool(np.random.default_rng(1))), held(2, WIDTH)
    whole = asked(pool, tmp_path, candidates)
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    if damage == "a bit turned over":
        data[len(data) // 2] ^= 1
    file.write_bytes({"empty": b"", "cut off": data[:-100], "another kind": b"no archive"}.get(damage, data))
    assert asked(pool, tmp_path, candidates).tobytes() == whole.tobytes()
    assert asked(pool, tmp_path, candidates).tobytes() == whole.tobytes()
    assert len(made) == 2
    assert list(tmp_path.iterdir()) == [file]


def test_only_the_newest_stay(tmp_path: Path) -> None:
    pool = Counted(xpool(np.random.default_rng(1)))
    beside = tmp_path / "calibration-0123456789abcdef.npz"
    beside.write_bytes(b"another's")
    kept: list[Path] = []
    for seed in range(NEWEST + 3):
        asked(pool, tmp_path, held(seed, WIDTH))
        (new,) = set(tmp_path.glob("headrecord-*.npz")) - set(kept)
        os.utime(new, (seed, seed))  # file systems tell times too coarsely
        kept.append(new)
    assert set(tmp_path.iterdir()) == {beside, *kept[-NEWEST:]}
    asked(pool, tmp_path, held(NEWEST + 2, WIDTH))
    assert len(made) == NEWEST + 3
    asked(pool, tmp_path, held(0, WIDTH))
    assert len(made) == NEWEST + 4


def test_where_nothing_can_be_kept_scores_are_the_same(tmp_path: Path) -> None:
    pool, candidates = Counted(xpool(np.random.default_rng(1))), held(2, WIDTH)
    (tmp_path / "file").write_text("no folder")
    assert asked(pool, tmp_path / "file", candidates).tobytes() == asked(pool, None, candidates).tobytes()
