"""Which pictures of a chapter are worth a heavy encoder."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import filming
import numpy as np
import pytest
from filming import number_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer import saliency
from indexer._exchange import Pile, lifted
from indexer.decoding import Decoder, Wanted
from indexer.recipe import Recipe
from indexer.saliency import RATE, SMALL, Bins, Glance, bands, chosen, owners, small
from indexer.sampling import Fixed, Salient, parse
from retriever.errors import BadSettings
from retriever.types import Sound

FPS = 2
budgets = st.floats(0.1, 1)
pictures = st.lists(st.sampled_from([0, 3, 4, 100, 250]), min_size=1, max_size=70)


def glance(shades: list[int], sound: Sound | None = None, start: float = 0.0, fps: float = FPS) -> Glance:
    """Plain grey pictures, the first bin at `start`."""
    times = start + (np.arange(len(shades)) + 0.5) / fps
    return Glance(times, np.array(shades, np.float64)[:, None, None, None] + np.zeros((SMALL, SMALL, 3)), sound)


def taken(sampler: Salient, seen: Glance) -> list[int]:
    return sorted(set(sampler.choose(seen).tolist()))


def noise(length: int, seed: int = 0, loud: float = 0.3) -> NDArray[np.float32]:
    return (loud * np.random.default_rng(seed).standard_normal(length)).clip(-1, 1).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------- the promise


@given(pictures, budgets)
def test_never_more_than_the_budget_and_one_in_each_stretch(shades: list[int], budget: float) -> None:
    found = taken(Salient(FPS, budget), glance(shades))
    assert len(found) == math.ceil(budget * len(shades) - 1e-9)
    assert {number // 10 for number in found} == set(range(math.ceil(len(shades) / 10)))


@given(st.floats(0.3, 8), st.floats(0.5, 20), st.floats(0, 1), st.integers(1, 60))
def test_whatever_the_floor(fps: float, floor: float, more: float, number: int) -> None:
    least = min(1.0, 1 / (fps * floor))
    sampler = Salient(fps, least + more * (1 - least), floor)
    found = taken(sampler, glance(list(range(number)), fps=fps))
    stretch = [math.floor((bin_ + 0.5) / fps / floor + 1e-9) for bin_ in range(number)]
    assert len(found) <= math.ceil(sampler.budget * number)
    assert {stretch[bin_] for bin_ in found} == set(stretch)


@given(pictures, budgets)
def test_each_bin_belongs_to_a_taken_one_and_borders_do_not_cross(shades: list[int], budget: float) -> None:
    owner = Salient(FPS, budget).choose(glance(shades))
    assert len(owner) == len(shades)
    assert (np.diff(owner) >= 0).all()
    assert np.array_equal(owner[owner], owner)


@given(pictures, budgets, st.integers(0, 600), st.booleans())
def test_a_chapter_is_the_same_wherever_it_lies(shades: list[int], budget: float, chapter: int, heard: bool) -> None:
    sound = noise(len(shades) * RATE // FPS)
    seen = [
        glance(shades, Sound(sound, RATE, start) if heard else None, start=start) for start in (0.0, 60.0 * chapter)
    ]
    one, other = (Salient(FPS, budget).choose(each) for each in seen)
    assert np.array_equal(one, other)


def test_the_whole_budget_is_everything() -> None:
    assert Salient(FPS, 1).choose(glance([7] * 50)).tolist() == list(range(50))


# ------------------------------------------------------------------------------------------------------ what it is for


def test_a_flash_of_another_picture_is_taken_at_the_least_budget() -> None:
    for at in range(10, 118):
        shades = [100] * 120
        shades[at : at + 2] = [180, 180]
        found = taken(Salient(FPS, 0.1), glance(shades))
        assert len(found) == 12
        assert {at, at + 1} & set(found)


def test_noise_in_a_still_picture_is_no_event() -> None:
    grain = np.random.default_rng(0).normal(100, 0.5, (120, SMALL, SMALL, 3))
    grain[70:72] += 40
    seen = replace(glance([0] * 120), pictures=grain)
    assert {70, 71} & set(taken(Salient(FPS, 0.1), seen))
    seen.pictures[70:72] -= 40
    gaps = np.diff(taken(Salient(FPS, 0.3), seen))
    assert gaps.max() <= 6  # of 120 by 36: as good as evenly


@pytest.mark.parametrize("hum", [0.0, 0.003])
def test_a_loud_event_in_front_of_a_still_picture_is_taken(hum: float) -> None:
    for second in (6, 23, 41, 58):
        samples = noise(60 * RATE, 1, hum)
        samples[second * RATE : (second + 1) * RATE] += noise(RATE, 2)
        found = taken(Salient(FPS, 0.1), glance([100] * 120, Sound(samples, RATE)))
        assert {2 * second, 2 * second + 1} & set(found)


def test_a_sound_counts_beside_pictures_that_change() -> None:
    shades = [100 + (number * 37) % 11 for number in range(120)]
    samples = noise(60 * RATE, 1, 0.003)
    samples[33 * RATE : 34 * RATE] += noise(RATE, 2)
    assert {66, 67} & set(taken(Salient(FPS, 0.2), glance(shades, Sound(samples, RATE))))


def test_a_burst_of_change_does_not_take_everything() -> None:
    shades = [100] * 120
    shades[40:60] = np.random.default_rng(0).integers(0, 256, 20).tolist()
    found = taken(Salient(FPS, 0.3), glance(shades))
    inside = [number for number in found if 40 <= number < 60]
    assert len(found) == 36
    assert 4 < len(inside) <= 20
    assert len(found) - len(inside) >= 16


def test_a_bin_belongs_to_whom_it_is_like() -> None:
    owner = Salient(FPS, 0.1).choose(glance([100] * 13 + [200] * 7))
    assert len(set(owner.tolist())) == 2
    assert len(set(owner[:13].tolist())) == len(set(owner[13:].tolist())) == 1


# ---------------------------------------------------------------------------------------------------------- its parts


def bins(points: list[tuple[float, ...]] | list[int], pace: float = 0.0) -> Bins:
    return Bins(np.array(points, np.float64).reshape(len(points), -1), pace * np.arange(len(points)))


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=30), st.integers(1, 30))
def test_the_farthest_comes_next(points: list[tuple[float, ...]], most: int) -> None:
    here = bins(points)
    nowhere = np.zeros(len(points), np.int64)
    kept = chosen(here, most, nowhere)
    assert len(kept) == min(most, len(points))
    assert kept[0] == 0
    before = chosen(here, most - 1, nowhere) if most > 1 else kept
    for added in set(kept.tolist()) - set(before.tolist()):
        far = np.min([here.away(one) for one in before], axis=0)
        assert far[added] == far.max()


def test_time_sets_apart_and_only_so_far() -> None:
    here = bins([5] * 40, pace=1.0)
    assert here.away(0)[:12].tolist() == [min(second, saliency.REACH) / saliency.PACE for second in range(12)]
    assert set(here.away(0)[10:]) == {saliency.REACH / saliency.PACE}


def test_more_stretches_than_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="one in each of 3 stretches"):
        chosen(bins([1, 2, 3]), 2, np.arange(3))


@given(st.lists(st.integers(0, 9), min_size=2, max_size=20), st.data())
def test_borders_are_the_best_that_there_are(shades: list[int], data: st.DataObject) -> None:
    here = bins(shades, pace=0.5)
    picks = data.draw(st.lists(st.integers(0, len(shades) - 1), min_size=1, max_size=5, unique=True).map(sorted))
    owner = owners(here, np.array(picks))
    for one, other in pairwise(picks):
        costs = [
            here.away(one, one, border).sum() + here.away(other, border, other).sum()
            for border in range(one + 1, other + 1)
        ]
        got = int((owner[one : other + 1] == one).sum())
        assert costs[got - 1] == pytest.approx(min(costs))


def test_small_pictures_are_means() -> None:
    whole = np.zeros((48, 64, 3), np.uint8)
    whole[:3, :2] = 200  # half of the first field
    assert small(whole)[0, 0].tolist() == [100, 100, 100]
    assert small(whole)[1:].max() == 0
    assert small(np.full((5, 1, 3), 9, np.uint8)).tolist() == np.full((SMALL, SMALL, 3), 9.0).tolist()


def test_bands_tell_low_from_high_and_silence_from_nothing() -> None:
    low, high = (filming.tone(1.0, hertz, RATE) for hertz in (200.0, 4000.0))
    heard = bands(Sound(np.concatenate([low, high]), RATE, 10.0), 10.25 + np.arange(6) / 2)
    assert heard[:2].argmax(axis=1).tolist() == [heard[0].argmax()] * 2
    assert heard[2:4].argmax(axis=1).min() > heard[0].argmax() + 3
    assert np.allclose(heard[4:], np.log10(saliency.QUIET))
    assert np.allclose(bands(Sound(np.zeros(0, np.float32), RATE), np.array([0.25])), np.log10(saliency.QUIET))


def test_samples_that_are_no_numbers_are_silence() -> None:
    samples = noise(10 * RATE)
    samples[::3], samples[1::3] = np.nan, np.inf
    assert np.isfinite(bands(Sound(samples, RATE), (np.arange(20) + 0.5) / 2)).all()


@pytest.mark.parametrize("places", [[], [0], [4], [1, 2], [0, 3, 4], [0, 1, 2, 3, 4]])
def test_a_pile_keeps_what_it_is_told_to(tmp_path: Path, places: list[int]) -> None:
    arrays = [np.full((2, number + 1), number, np.uint8) for number in range(5)]
    pile = Pile(tmp_path / "pile")
    for array in arrays:
        pile.add(array)
    pile.keep(places)
    pile.add(np.full((1, 1), 9, np.uint8))
    pile.keep(range(len(places) + 1))
    pile.close()
    assert (tmp_path / "pile").stat().st_size == sum(arrays[place].size for place in places) + 1
    kept = lifted(tmp_path / "pile", pile.shapes, np.uint8)
    for found, place in zip(kept, places, strict=False):
        assert np.array_equal(found, arrays[place])
    assert kept[-1].tolist() == [[9]]


# ---------------------------------------------------------------------------------------------------- as it is written


@pytest.mark.parametrize(
    ("text", "sampler"),
    [
        ("salient", Salient(2, 0.3, 5)),
        ("salient(2, 0.2)", Salient(2, 0.2, 5)),
        ("salient(fps=4, budget=0.05, floor=5)", Salient(4, 0.05, 5)),
        ("salient(2, 0.1)", Salient(2, 0.1)),
        ("salient(0.1, 1)", Salient(0.1, 1)),
    ],
)
def test_samplers_that_people_write(text: str, sampler: Salient) -> None:
    assert parse(text) == sampler
    assert parse(str(sampler)) == sampler


@pytest.mark.parametrize(
    "text", ["salient(2, 0.09)", "salient(2, 0)", "salient(2, 1.1)", "salient(2, nan)", "salient(0, 1)",
             "salient(2, 0.5, 0)", "salient(0.1, 0.5)"],
)  # fmt: skip
def test_too_little_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(ValueError, match="it wants"):
        parse(text)


def test_a_budget_is_part_of_the_recipe() -> None:
    plain = Recipe("offline")
    assert plain.within(0) == plain
    assert plain.within(1) == plain.within(1.0)
    assert len({plain.digest, plain.within(0.3).digest, plain.within(0.31).digest, plain.within(1).digest}) == 4
    assert parse(plain.within(0.3).sampling) == Salient(2, 0.3)


@pytest.mark.parametrize("budget", [0.05, -0.3, 1.5, math.nan, math.inf])
def test_a_budget_that_is_none_is_one_line(budget: float) -> None:
    with pytest.raises(BadSettings, match=r"^--budget is .*; it wants 0\.1 to 1, since one picture in every 5 s .*$"):
        Recipe("offline").within(budget)


# ------------------------------------------------------------------------------------------------------ in a decoder


WANTED = Wanted("pyav", Salient(FPS, 0.3), 32, None, 0, (), margin=0.5, chapter=10.0)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(limit_s=60) as one:
        yield one


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 s, five numbered pictures a second that change every second, and a tone that swells."""
    shown = [(number / 5, filming.numbered(number // 5 * 5)) for number in range(125)]
    swell = filming.tone(25.0) * np.linspace(0, 1, 25 * filming.RATE, dtype=np.float32)
    how = filming.Picture(options={"preset": "ultrafast", "bf": "2", "g": "20"})
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return filming.write(path, shown, how, filming.Sounded([(0.0, swell)], "aac", "stereo"))


def test_the_child_brings_some_of_what_it_would_have_brought(decoder: Decoder, film: Path) -> None:
    whole = list(decoder.chapters(film, replace(WANTED, sampler=Fixed(FPS))))
    some = list(decoder.chapters(film, WANTED))
    assert [len(chapter.frames) for chapter in whole] == [20, 20, 10]
    assert [len(chapter.frames) for chapter in some] == [6, 6, 3]
    for all_of_it, chapter in zip(whole, some, strict=True):
        assert chapter.spans[0, 0] == chapter.span.start
        assert chapter.spans[-1, 1] == pytest.approx(chapter.span.end)
        assert chapter.spans[:-1, 1].tolist() == chapter.spans[1:, 0].tolist()
        for frame, (start, end) in zip(chapter.frames, chapter.spans, strict=True):
            inside = (all_of_it.spans[:, 0] >= start - 1e-6) & (all_of_it.spans[:, 1] <= end + 1e-6)
            assert any(np.array_equal(frame, other) for other in all_of_it.frames[inside])
        assert len({number_of(frame) for frame in chapter.frames}) == len(chapter.frames)


@pytest.mark.parametrize("rates", [(), (16_000,), (8_000, 48_000)])
def test_it_is_the_same_come_to_or_begun_with_and_whatever_else_is_wanted(
    decoder: Decoder, film: Path, rates: tuple[int, ...]
) -> None:
    plain = list(decoder.chapters(film, WANTED))
    wanted = replace(WANTED, rates=rates, page_sampler=Salient(FPS, 0.2), page_side=40)
    walked = list(decoder.chapters(film, wanted))
    assert len(walked) == len(plain)
    for number, (one, other) in enumerate(zip(plain, walked, strict=True)):
        begun = next(iter(decoder.chapters(film, wanted, number)))
        assert list(other.sounds) == list(rates)
        for chapter in (begun, other):
            assert np.array_equal(chapter.spans[:, 0], one.spans[:, 0])  # sound has a say in where it ends
            assert np.array_equal(chapter.frames, one.frames)
        assert begun.page_spans == other.page_spans
        assert len(begun.pages) == (4, 4, 2)[number]


def scripted(folder: Path, **page: Any) -> Path:
    path = folder / "script.synthetic"
    path.write_text(json.dumps({"size": [64, 32], "fps": 10, **page}))
    return path


def test_what_is_only_heard_is_heard_without_an_encoder_of_sounds(decoder: Decoder, tmp_path: Path) -> None:
    path = scripted(
        tmp_path, scenes=[{"seconds": 60, "colour": [90, 90, 90]}], tones=[{"start": 33.0, "end": 34.0, "hertz": 700}]
    )
    (chapter,) = decoder.chapters(path, replace(WANTED, sampler=Salient(FPS, 0.1), chapter=60.0))
    middles = chapter.spans.mean(axis=1)
    assert len(chapter.frames) == 12
    assert any(np.allclose(chapter.spans[number], (33, 34)) for number in np.flatnonzero(abs(middles - 33.5) < 1))
    assert not chapter.sounds


def test_sound_that_cannot_be_decoded_does_not_matter(decoder: Decoder, film: Path, monkeypatch: Any) -> None:
    from indexer._chapters import Cutter
    from indexer.media import pyav
    from retriever.errors import CannotDecode

    def broken(*_: Any) -> Iterator[Any]:
        raise CannotDecode("not one sample")
        yield

    with pyav.build().open(film) as media:
        monkeypatch.setattr(type(media), "sound", broken)
        cuts = list(Cutter(media, WANTED, 0).chapters(film.parent, 0))
    assert [len(cut.frames.spans) for cut in cuts] == [6, 6, 3]


def test_a_still_picture_and_one_that_is_too_short_for_a_bin(decoder: Decoder, tmp_path: Path) -> None:
    short = filming.write(tmp_path / "short.mkv", filming.film(1))
    (chapter,) = decoder.chapters(short, replace(WANTED, sampler=Salient(0.1, 1)))
    assert chapter.spans.tolist() == [[0, chapter.span.end]]
    (chapter,) = decoder.chapters(short, WANTED)
    assert len(chapter.frames) == 1
