"""A trained moment head: what it answers, and how it is kept."""

import json
from pathlib import Path

import heights
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from retriever.errors import HeadError
from retriever.spanning import FAMILIES, LAYERS, MomentHead, allowed
from retriever.tracks import CHANNELS, MODALITIES, PARTS, REACH, WIDTH, Track


def made(family: str, seed: int = 0, width: int = 6) -> MomentHead:
    draw = np.random.default_rng(seed)
    if family == "spans":
        shapes = {"ends.weight": (2, width, 1), "ends.bias": (2,)}
        for layer in range(LAYERS):
            shapes[f"layers.{layer}.weight"] = (width, width if layer else len(CHANNELS), 5)
            shapes[f"layers.{layer}.bias"] = (width,)
    else:
        shapes = {"query.weight": (width, 1 + len(MODALITIES)), "key.weight": (width, len(PARTS))}
    arrays = {name: draw.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return MomentHead(family, arrays, {"recipe": {"seed": seed}})


@pytest.mark.parametrize("family", FAMILIES)
@given(seed=st.integers(0, 1000))
def test_an_answer_holds_its_peak_and_lies_in_its_track(family: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    whole = heights.track(draw, 200)
    count = int(draw.integers(1, 200))
    track = Track(5.0, 0.5, whole.heights[:, :count], whole.change[:, :count], whole.ends[:count])
    peak = int(draw.integers(count))
    start, end = made(family, seed).place(track, peak, 0.0, heights.SHARES)
    assert 5 <= start <= 5 + peak / 2 < end <= 5 + count / 2


def test_the_answer_is_what_overlaps_most_with_all_that_is_likely() -> None:
    """Against every span, one by one."""
    head, track = made("spans", 3), heights.track(np.random.default_rng(3), 30)
    view = track.view(12, 0.0, heights.SHARES)
    logits = np.where(allowed(view.known), head.logits(view), -np.inf).astype(np.float64)
    starts, ends = (np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in logits)
    spans = [(i, j + 1) for i in range(REACH + 1) if starts[i] > 0 for j in range(REACH, WIDTH) if ends[j] > 0]

    def expected(one: tuple[int, int]) -> float:
        total = 0.0
        for other in spans:
            shared = min(one[1], other[1]) - max(one[0], other[0])
            union = max(one[1], other[1]) - min(one[0], other[0])
            total += starts[other[0]] * ends[other[1] - 1] * shared / union
        return total

    best = max(spans, key=expected)
    assert expected(head.span(view)) >= expected(best) - 0.02  # the unlikely ones are left out


def test_what_nobody_could_have_seen_changes_nothing() -> None:
    """A head looks half a minute to each side, so a long film costs no more than a short one."""
    whole = heights.track(np.random.default_rng(1), 400)
    other = Track(0.0, 0.5, whole.heights.copy(), whole.change, whole.ends)
    other.heights[:2, 300:] += 9
    for family in FAMILIES:
        head = made(family)
        assert head.place(whole, 200, 0.0, heights.SHARES) == head.place(other, 200, 0.0, heights.SHARES)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_comes_back_as_it_was_kept(family: str, tmp_path: Path) -> None:
    head = made(family)
    head.save(tmp_path / "head")
    again = MomentHead.load(tmp_path / "head")
    assert (again.family, again.digest, again.options) == (family, head.digest, head.options)
    assert made(family, 1).digest != head.digest
    track = heights.track(np.random.default_rng(1))
    assert again.place(track, 40, 0.0, heights.SHARES) == head.place(track, 40, 0.0, heights.SHARES)


def _card(folder: Path, **changed: object) -> None:
    card = json.loads((folder / "moments.json").read_text("utf-8"))
    (folder / "moments.json").write_text(json.dumps({**card, **changed}), "utf-8")


def _weights(folder: Path, change: "dict[str, np.ndarray | None]") -> None:
    arrays = {**load_file(folder / "moments.safetensors"), **change}
    save_file({name: one for name, one in arrays.items() if one is not None}, folder / "moments.safetensors")


DAMAGES = {
    "no card": (lambda folder: (folder / "moments.json").unlink(), "is no moment head: moments.json cannot be read"),
    "no weights": (lambda folder: (folder / "moments.safetensors").unlink(), "cannot be read as safetensors"),
    "torn weights": (
        lambda folder: (folder / "moments.safetensors").write_bytes(
            (folder / "moments.safetensors").read_bytes()[:-40]
        ),
        "cannot be read as safetensors",
    ),
    "no json": (lambda folder: (folder / "moments.json").write_text("{"), "is not JSON"),
    "a list": (lambda folder: (folder / "moments.json").write_text("[]"), "version is None"),
    "a later version": (lambda folder: _card(folder, version=9), "version is 9, this reelseek reads 1"),
    "another family": (lambda folder: _card(folder, family="tefal"), "family is 'tefal', wanted spans or weak"),
    "the other family": (lambda folder: _card(folder, family="weak"), "missing key.weight"),
    "no options": (lambda folder: _card(folder, options=None), "options is None, wanted a dict"),
    "other sights": (lambda folder: _card(folder, sees=["vision"]), "looks at other things"),
    "another digest": (lambda folder: _card(folder, digest="0" * 64), "the two files are not of one head"),
    "other weights": (
        lambda folder: _weights(folder, {"ends.bias": np.ones(2, np.float32)}),
        "the two files are not of one head",
    ),
    "a missing array": (lambda folder: _weights(folder, {"ends.bias": None}), "missing ends.bias"),
    "one too many": (lambda folder: _weights(folder, {"more": np.ones(2, np.float32)}), "unknown more"),
    "halves": (lambda folder: _weights(folder, {"ends.bias": np.ones(2, np.float16)}), "ends.bias is float16 (2,)"),
    "another shape": (
        lambda folder: _weights(folder, {"ends.bias": np.ones(3, np.float32)}),
        "ends.bias is float32 (3,)",
    ),
    "no number": (
        lambda folder: _weights(folder, {"ends.bias": np.array([np.nan, 0], np.float32)}),
        "wanted finite float32 (2,)",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_head_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    made("spans").save(tmp_path / "head")
    act, told = DAMAGES[damage]
    act(tmp_path / "head")
    with pytest.raises(HeadError) as refused:
        MomentHead.load(tmp_path / "head")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(HeadError, match="the moment head cannot be written"):
        made("weak").save(tmp_path / "taken")
