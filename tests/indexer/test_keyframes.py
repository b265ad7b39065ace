"""Keyframes alone are those of a walk over everything, whatever the codec and the container make of the wish."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import filming
import numpy as np
import pytest
from filming import Picture
from hypothesis import given
from hypothesis import strategies as st

from indexer.decoding import Decoder, Wanted
from indexer.media import pyav
from indexer.media._footage import Footage
from indexer.media._sparing import spared
from indexer.media._tap import tapped
from indexer.sampling import Keyframes
from indexer.screen import Screen

X265 = "keyint=20:min-keyint=20:scenecut=0:log-level=none:pools=1"
FILMS = {
    "h264.mp4": Picture("libx264", options={"preset": "ultrafast", "bf": "2", "g": "20", "keyint_min": "20"}),
    "h264.mkv": Picture("libx264", options={"preset": "ultrafast", "bf": "2", "g": "20", "keyint_min": "20"}),
    "h264-open.mp4": Picture(
        "libx264", options={"preset": "veryfast", "bf": "3", "g": "20", "x264-params": "open-gop=1:scenecut=0"}
    ),
    "h264-open.mkv": Picture(
        "libx264", options={"preset": "veryfast", "bf": "3", "g": "20", "x264-params": "open-gop=1:scenecut=0"}
    ),
    "h264-intra.mp4": Picture("libx264", options={"preset": "ultrafast", "g": "1"}),
    "hevc.mp4": Picture("libx265", options={"preset": "ultrafast", "x265-params": f"{X265}:open-gop=0"}),
    "hevc-open.mkv": Picture("libx265", options={"preset": "medium", "x265-params": f"{X265}:open-gop=1:bframes=3"}),
    "vp8.webm": Picture("libvpx", options={"g": "20", "keyint_min": "20", "deadline": "realtime", "cpu-used": "8"}),
    "vp9.webm": Picture(
        "libvpx-vp9",
        options={"g": "20", "deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "9"},
    ),
    "vp9.mp4": Picture("libvpx-vp9", options={"g": "20", "deadline": "realtime", "cpu-used": "8"}),
    "av1.mp4": Picture("libsvtav1", options={"preset": "12", "g": "20", "svtav1-params": "lp=1"}),
    "av1.mkv": Picture("libsvtav1", options={"preset": "12", "g": "20", "svtav1-params": "lp=1"}),
    "mpeg4.mp4": Picture("mpeg4", options={"g": "20", "bf": "2"}),
    "mpeg4.avi": Picture("mpeg4", options={"g": "20", "bf": "2"}),
    "ffv1.mkv": Picture("ffv1", options={"g": "20"}),
    "mjpeg.avi": Picture("mjpeg", "yuvj420p", {}),
    "prores.mov": Picture("prores_ks", "yuv422p10le", {}),
}
COUNT, FPS = 100, 10.0
WANTED = Wanted("pyav", Keyframes(2), 32, None, 0, (), margin=0.0, chapter=3.0)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(limit_s=60) as one:
        yield one


@pytest.fixture(scope="module", params=FILMS)
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds, a keyframe every two, or nothing but keyframes."""
    how = FILMS[request.param]
    try:
        av.codec.Codec(how.codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"no encoder: this FFmpeg has no {how.codec}")
    return filming.write(tmp_path_factory.mktemp("film") / request.param, filming.film(COUNT), how)


def walked(path: Path) -> list[tuple[float, bytes]]:
    """The keyframes among all pictures."""
    with tapped(path, still=False) as tap:
        return [(picture.time, picture.rgb().tobytes()) for picture in tap.pictures() if picture.frame.key_frame]


def alone(path: Path, start: float) -> list[tuple[float, bytes]]:
    found = Footage(path).keyframes(start, COUNT / FPS)
    assert found is not None, "they are not trusted"
    return [(picture.time, picture.rgb().tobytes()) for picture in found]


def test_they_are_those_of_a_walk_from_wherever_one_begins(film: Path) -> None:
    keys = walked(film)
    assert len(keys) >= 5
    for start in (0.0, 3.0, 7.05):
        on_show = max((time for time, _ in keys if time <= start + 1e-6), default=0.0)
        assert alone(film, start) == [(time, pixels) for time, pixels in keys if time >= on_show]


def test_each_stays_until_the_next_one_and_the_last_to_the_end(film: Path) -> None:
    found = list(Footage(film).keyframes(0.0, COUNT / FPS) or [])
    with tapped(film, still=False) as tap:
        *_, last = tap.pictures()
    assert [one.end for one in found[:-1]] == [other.time for other in found[1:]]
    assert found[-1].end == pytest.approx(last.end, abs=1e-3)


def test_a_chapter_of_keyframes_is_the_same_come_to_or_begun_with(decoder: Decoder, film: Path) -> None:
    chapters = list(decoder.chapters(film, WANTED))
    for number in (1, len(chapters) - 1):
        begun = next(iter(decoder.chapters(film, WANTED, number)))
        assert np.array_equal(begun.frames, chapters[number].frames)
        assert np.array_equal(begun.spans, chapters[number].spans)
    assert sum(chapter.decoded for chapter in chapters) <= 2 * COUNT / FPS + len(chapters) + 2


def test_what_nobody_looks_at_is_not_decoded_where_no_picture_leans_on_another(film: Path) -> None:
    """At times that are not those of any picture, which would be looked at together with the one before."""
    middles = np.arange(0.625, COUNT / FPS, 1.25).tolist()

    def needed(start: float, end: float) -> bool:
        return any(start <= middle <= end for middle in middles)

    with tapped(film, still=False) as tap:
        free = tap.decoder.codec.intra_only
    shown = {}
    with pyav.build().open(film) as media:
        for way, pictures in {"all": media.frames(), "few": media.frames(needed=needed)}.items():
            screen = Screen(pictures)
            shown[way] = [frame.rgb().tobytes() for frame in map(screen.at, middles) if frame]
            screen.at(2 * COUNT / FPS)
    assert shown["few"] == shown["all"]
    assert not free or screen.pulled <= len(middles) + 2


def test_with_all_pictures_asked_for_none_is_spared(film: Path) -> None:
    with pyav.build().open(film) as media:
        every = [frame.time for frame in media.frames()]
        assert [frame.time for frame in media.frames(needed=lambda start, end: True)] == every
    assert len(every) >= COUNT - 1


@given(
    times=st.lists(st.integers(0, 60), min_size=1, max_size=20, unique=True).map(sorted),
    asked=st.lists(st.floats(0, 7), max_size=6),
)
def test_of_free_packets_those_on_show_when_somebody_looks_come(times: list[int], asked: list[float]) -> None:
    packets: list[Any] = [SimpleNamespace(pts=time) for time in times]

    def needed(start: float, end: float) -> bool:
        return any(start <= time <= end for time in asked)

    came = [packet.pts for packet in spared(iter(packets), needed, lambda ticks: ticks / 10)]
    assert came == sorted(set(came))
    for time in asked:
        on_show = [tick for tick in times if tick / 10 <= time] or times[:1]
        assert on_show[-1] in came
    assert {times[0], times[-1]} <= set(came)
    assert len(came) <= 2 * len(asked) + 2
