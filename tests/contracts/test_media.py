"""Every reader, over every kind of file: the right pictures and sounds, or a refusal in our own words."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import av
import media_files
import numpy as np
import pytest
from filming import number_of
from media_files import BAD, FILMS, SOUNDS, STILLS, Sample

from indexer.ports import Frame, Reader
from indexer.screen import Screen
from retriever.errors import CannotDecode, CannotOpen, MediaError, NoSuchStream
from retriever.registry import Registry
from retriever.types import MediaKind

READERS = Registry("indexer.media").names()
RATE = 16_000


def scripted(folder: Path) -> Sample:
    """What the synthetic reader reads, and nobody else."""
    path = folder / "scripted.synthetic"
    scenes = [{"seconds": 1, "colour": [255, 0, 0]}, {"seconds": 2, "colour": [0, 0, 255], "block": [0, 0, 255]}]
    page = {"size": [160, 96], "fps": 10, "scenes": scenes, "tones": [{"start": 1, "end": 2}]}
    path.write_text(json.dumps(page))
    return Sample(
        path,
        times=[number / 10 for number in range(30)],
        end=3.0,
        right=lambda number, pixels: bool((pixels == ((255, 0, 0) if number < 10 else (0, 0, 255))).all()),
        tones=[(1.0, 2.0)],
    )


SAMPLES: dict[str, Callable[[Path], Sample]] = {**FILMS, **STILLS, **SOUNDS, "scripted": scripted}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sample]:
    made: dict[str, Sample] = {}

    def sample(name: str) -> Sample:
        if name not in made:
            made[name] = SAMPLES[name](tmp_path_factory.mktemp(name))
        return made[name]

    return sample


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> Reader:
    build: Reader = Registry("indexer.media").load(request.param).build()
    return build


def said_well(error: MediaError, path: Path) -> bool:
    """On one line, with the file's name."""
    return "\n" not in str(error) and path.name in str(error)


@contextmanager
def or_refused(path: Path) -> Iterator[None]:
    """A reader may refuse, as long as it says so well."""
    try:
        yield
    except (CannotOpen, CannotDecode) as error:
        if not said_well(error, path):
            raise AssertionError(f"{error!r} does not say what is wrong with which file") from error


def test_a_reader_says_what_it_reads(reader: Reader) -> None:
    assert reader.reads
    assert reader.reads <= set(MediaKind)
    assert isinstance(reader.random_access, bool)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "scripted"])
def test_the_default_reader_refuses_nothing_that_is_whole(name: str, samples: Callable[[str], Sample]) -> None:
    with Registry("indexer.media").load("pyav").build().open(samples(name).path) as media:
        assert media.probe.kind == samples(name).kind


@pytest.mark.parametrize("name", SAMPLES)
def test_a_probe_tells_what_is_in_the_file(reader: Reader, name: str, samples: Callable[[str], Sample]) -> None:
    sample = samples(name)
    with or_refused(sample.path), reader.open(sample.path) as media:
        assert media.probe.kind == sample.kind
        assert media.probe.kind in reader.reads
        assert (media.probe.width, media.probe.height) == tuple(sample.size)
        assert media.probe.has_sound == (sample.tones is not None)
        assert media.probe.duration > 0


def shown_number(sample: Sample, time: float) -> int:
    """Which picture is on show at `time`."""
    return max(0, int(np.searchsorted(np.array(sample.times), time + 2e-3, "right")) - 1)


def check(sample: Sample, frame: Frame) -> int:
    """The frame is one of the sample's, whole, upright and in its shape; which one."""
    number = shown_number(sample, frame.time)
    assert frame.time == pytest.approx(sample.times[number], abs=2e-3)
    assert (frame.width, frame.height) == tuple(sample.size)
    assert frame.rgb().shape == (frame.height, frame.width, 3)
    assert sample.right(number, frame.rgb()), f"picture {number} of {sample.path.name} is wrong"
    assert sample.right(number, frame.rgb((128, 64))), f"picture {number} of {sample.path.name} is wrong when scaled"
    assert frame.gray((16, 12)).shape == (12, 16)
    return number


@pytest.mark.parametrize("name", [*FILMS, *STILLS, "scripted"])
def test_every_picture_comes_at_its_time(reader: Reader, name: str, samples: Callable[[str], Sample]) -> None:
    sample = samples(name)
    with or_refused(sample.path), reader.open(sample.path) as media:
        frames = list(media.frames())
        assert [check(sample, frame) for frame in frames] == list(range(len(sample.times)))
        assert all(frame.end > frame.time for frame in frames)
        assert frames[-1].end == pytest.approx(sample.end, abs=0.05)


@pytest.mark.parametrize("name", [*FILMS, *STILLS, "scripted"])
def test_from_any_start_come_the_one_on_show_and_all_after_it(
    reader: Reader, name: str, samples: Callable[[str], Sample]
) -> None:
    sample = samples(name)
    with or_refused(sample.path), reader.open(sample.path) as media:
        for start in (0.05, 7.0, 12.01, 100.0):
            numbers = [check(sample, frame) for frame in islice(media.frames(start), 8)]
            first = shown_number(sample, start)
            assert numbers == list(range(first, min(first + 8, len(sample.times))))


@pytest.mark.parametrize("name", [*FILMS, *STILLS, "scripted"])
@pytest.mark.parametrize("times", [(0.0,), (0.05, 0.05, 1.42), (2.5, 7.3, 9.95, 14.2, 99.0)])
def test_asked_for_times_it_shows_what_walking_shows(
    reader: Reader, name: str, times: tuple[float, ...], samples: Callable[[str], Sample]
) -> None:
    sample = samples(name)
    with or_refused(sample.path), reader.open(sample.path) as media:
        numbers = [check(sample, frame) for frame in media.frames_at(np.array(times))]
        assert numbers == [shown_number(sample, time) for time in times]


@pytest.mark.parametrize("name", [*FILMS, *STILLS, "scripted"])
def test_what_nobody_looks_at_may_be_spared_and_changes_nothing(
    reader: Reader, name: str, samples: Callable[[str], Sample]
) -> None:
    sample = samples(name)
    looked_at = [0.0, 0.33, 0.87, 1.05, 2.14, 2.95, 7.0, 14.86]
    with or_refused(sample.path), reader.open(sample.path) as media:
        screen = Screen(media.frames(0.0, lambda start, end: any(start <= time <= end for time in looked_at)))
        for time in looked_at:
            frame = screen.at(time)
            assert frame
            assert check(sample, frame) == shown_number(sample, time)
        assert screen.ends_by(1e6)
        assert screen.end == pytest.approx(sample.end, abs=0.05)
        assert screen.pulled <= len(sample.times)


@pytest.mark.parametrize("name", [*FILMS, *STILLS, "scripted"])
@pytest.mark.parametrize("start", [0.0, 0.05, 7.0, 100.0])
def test_where_keyframes_are_enough_others_may_be_left_out_and_none_is_wrong(
    reader: Reader, name: str, start: float, samples: Callable[[str], Sample]
) -> None:
    sample = samples(name)
    with or_refused(sample.path), reader.open(sample.path) as media:
        frames = list(media.frames(start, lambda start, end: True, keys=True))
        numbers = [check(sample, frame) for frame in frames]
        assert numbers == sorted(set(numbers))
        assert numbers[0] <= shown_number(sample, start)
        times = [frame.time for frame in frames]
        assert max(np.diff([*times, sample.end]), default=0.0) <= 11
        assert frames[-1].end == pytest.approx(sample.end, abs=0.05)


@pytest.mark.parametrize("name", SAMPLES)
def test_sound_lies_where_it_is_heard(reader: Reader, name: str, samples: Callable[[str], Sample]) -> None:
    sample = samples(name)
    with or_refused(sample.path), reader.open(sample.path) as media:
        if sample.tones is None:
            with pytest.raises(NoSuchStream):
                next(media.sound(RATE))
            return
        heard = np.concatenate(list(media.sound(RATE)))
        assert heard.dtype == np.float32
        assert len(heard) / RATE == pytest.approx(sample.end, abs=0.06)
        assert np.abs(heard).max(initial=0) <= 1.001
        loud = np.zeros(len(heard), bool)
        for start, end in sample.tones:
            loud[round(start * RATE) : round(end * RATE)] = True
        frames = len(heard) // 160  # of 10 ms; those at the edge of a tone are left out
        level = np.abs(heard[: frames * 160]).reshape(frames, 160).max(axis=1)
        share = loud[: frames * 160].reshape(frames, 160).mean(axis=1)
        inner = np.convolve((share == 0) | (share == 1), [1, 1, 1], "same") == 3
        edge = np.flatnonzero(np.diff((share > 0.5).astype(int)))
        inner[np.unique(np.clip((edge[:, None] + np.arange(-2, 4)).ravel(), 0, frames - 1))] = False
        assert level[inner & (share == 1)].min(initial=0.5) > 0.3
        assert level[inner & (share == 0)].max(initial=0.0) < 0.05


@pytest.mark.parametrize("name", ["film_with_tone", "gap", "opus", "stereo_mp3", "scripted"])
def test_sound_is_the_same_wherever_one_begins(reader: Reader, name: str, samples: Callable[[str], Sample]) -> None:
    with or_refused(samples(name).path), reader.open(samples(name).path) as media:
        for rate in (RATE, 44_100):
            whole = np.concatenate(list(media.sound(rate)))
            for start in (0.3, 1.7, 2.999):
                rest = [*media.sound(rate, start), np.zeros(0, np.float32)]
                assert np.array_equal(np.concatenate(rest), whole[round(start * rate) :])


@pytest.mark.parametrize("name", SOUNDS)
def test_sound_alone_has_no_pictures(reader: Reader, name: str, samples: Callable[[str], Sample]) -> None:
    path = samples(name).path
    with or_refused(path), reader.open(path) as media, pytest.raises(NoSuchStream):
        next(media.frames())


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_media_is_refused_in_one_line(reader: Reader, name: str, tmp_path: Path) -> None:
    path = BAD[name](tmp_path)
    with pytest.raises((CannotOpen, CannotDecode)) as caught, reader.open(path):
        pass
    assert said_well(caught.value, path)


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/x.mp4", "concat:a.mp4|b.mp4", "pipe:0", "photo%03d.jpg"])
def test_a_name_is_never_an_address(reader: Reader, name: str, tmp_path: Path) -> None:
    with pytest.raises(CannotOpen), reader.open(tmp_path / name):
        pass


@pytest.mark.parametrize("damage", [media_files.truncated, media_files.corrupted], ids=["truncated", "corrupted"])
def test_of_a_damaged_film_only_whole_pictures_are_shown(
    reader: Reader, damage: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = damage(tmp_path)
    with or_refused(path), reader.open(path) as media:
        frames = list(media.frames())
        assert frames
        assert [number_of(frame.rgb()) for frame in frames] == [round(frame.time * 10) for frame in frames]


def test_the_default_reader_keeps_what_came_of_a_damaged_film(tmp_path: Path) -> None:
    with Registry("indexer.media").load("pyav").build().open(media_files.corrupted(tmp_path)) as media:
        numbers = [number_of(frame.rgb()) for frame in media.frames()]
    assert numbers == [*range(20), *range(30, 60)]  # the keyframe at 20 is hit; the next one is whole


# ---------------------------------------------------------------------------------------------------------- real clips


@pytest.fixture(scope="module")
def greenish(shared_media: Path) -> dict[float, np.ndarray]:
    """Some pictures of a film that decodes green after a jump, from the plainest walk there is, by time."""
    with av.open(str(shared_media / "s027.mp4")) as container:
        return {
            float(frame.time): frame.to_ndarray(format="rgb24")[::8, ::8].astype(int)
            for number, frame in enumerate(islice(container.decode(video=0), 310))
            if number in (60, 300)
        }


def test_a_film_that_decodes_green_after_a_jump_does_not(
    reader: Reader, greenish: dict[float, np.ndarray], shared_media: Path
) -> None:
    path = shared_media / "s027.mp4"
    for times in ([*greenish], [*greenish][1:]):
        with or_refused(path), reader.open(path) as media:
            for time, frame in zip(times, media.frames_at(np.array(times)), strict=True):
                assert frame.time == pytest.approx(time)
                assert np.abs(frame.rgb()[::8, ::8].astype(int) - greenish[time]).mean() < 3


def real_clips(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_sparing_changes_nothing_in_real_clips(shared_media: Path) -> None:
    pyav = Registry("indexer.media").load("pyav").build()
    for clip in real_clips(shared_media):
        if clip["kind"] != "video":
            continue
        with pyav.open(shared_media / clip["file"]) as media:
            looked_at = np.arange(0.25, media.probe.duration, 0.5)
            whole = Screen(media.frames())
            spared = Screen(media.frames(0.0, lambda a, b, at=looked_at: bool(((at >= a) & (at <= b)).any())))
            for time in looked_at:
                one, other = whole.at(float(time)), spared.at(float(time))
                assert one
                assert other
                assert one.time == other.time
                assert np.array_equal(one.rgb(), other.rgb())
            assert whole.ends_by(1e6)
            assert spared.ends_by(1e6)
            assert whole.end == spared.end
            assert spared.pulled <= whole.pulled


@pytest.mark.slow
def test_keyframes_of_real_clips_are_the_pictures_that_walking_gives(shared_media: Path) -> None:
    pyav = Registry("indexer.media").load("pyav").build()
    fewer = 0
    for clip in real_clips(shared_media):
        if clip["kind"] != "video":
            continue
        with pyav.open(shared_media / clip["file"]) as media:
            keys = {frame.time: frame for frame in media.frames(0.0, None, keys=True)}
            walked = 0
            met = set[float]()
            for frame in media.frames():
                walked += 1
                if key := keys.get(frame.time):
                    assert np.array_equal(key.rgb(), frame.rgb())
                    met.add(frame.time)
            assert met == set(keys)
            assert max(key.end for key in keys.values()) == pytest.approx(media.probe.duration, abs=0.2)
            fewer += len(keys) < walked / 2
    assert fewer >= 10


@pytest.mark.slow
def test_times_rise_in_every_real_clip(shared_media: Path) -> None:
    pyav = Registry("indexer.media").load("pyav").build()
    for clip in real_clips(shared_media):
        with pyav.open(shared_media / clip["file"]) as media:
            assert media.probe.duration == pytest.approx(clip["duration_s"], abs=0.1)
            if clip["kind"] == "video":
                times = [frame.time for frame in media.frames()]
                assert times == sorted(set(times))
                assert times[-1] == pytest.approx(clip["duration_s"], abs=0.5)
            if media.probe.has_sound:
                length = sum(len(block) for block in media.sound(RATE)) / RATE
                assert length == pytest.approx(clip["duration_s"], abs=0.5)
