"""A span as a file of its own: the right pictures, upright, with their sound in step; whole or not at all."""

import errno
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import filming
import media_files
import numpy as np
import pytest
from filming import RATE, Picture, Sounded, number_of, quarter_colours, tone, write
from media_files import FILMS

from indexer import cutting
from indexer.cutting import cut
from indexer.media import _cutting, pyav
from retriever.errors import BadSettings, CannotDecode, DiskFull, NoSuchStream
from retriever.types import TimeSpan

FRAME = 0.1  # seconds that a picture of these films is on show
ENCODED = 0.025  # seconds by which encoders of sound smear an onset


def shown(path: Path) -> list[tuple[float, int | None]]:
    """When each picture comes, and its number."""
    with pyav.build().open(path) as media:
        return [(frame.time, number_of(frame.rgb())) for frame in media.frames()]


def numbers(path: Path) -> list[int | None]:
    return [number for _, number in shown(path)]


def loud(path: Path) -> tuple[float, float]:
    """When the tone begins and ends."""
    with pyav.build().open(path) as media:
        samples = np.concatenate(list(media.sound(16_000)))
    at = np.flatnonzero(np.abs(samples) > 0.1)
    return float(at[0]) / 16_000, float(at[-1] + 1) / 16_000


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds, ten numbered pictures a second, a keyframe a second, a tone in the second one."""
    return media_files.film_with_tone(tmp_path_factory.mktemp("film")).path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_copy_begins_at_the_keyframe_before_and_holds_the_span(film, tmp_path, suffix):
    out = tmp_path / f"cut{suffix}"
    made = cut(film, TimeSpan(1.25, 2.35), out)
    assert made.span.start == pytest.approx(1.0, abs=0.03)
    assert 2.35 <= made.span.end <= 2.35 + 3 * FRAME
    found = shown(out)
    assert [number for _, number in found][:14] == list(range(10, 24))
    assert len(found) <= 16, "of what lies behind the end no more than is leaned on"
    times = [when for when, _ in found]
    assert times[0] <= 0.03
    assert np.allclose(np.diff(times), FRAME, atol=1e-3)
    assert [(one.kind, one.codec) for one in made.streams] == [("video", "h264"), ("audio", "aac")]


def test_a_copy_changes_no_picture(film, tmp_path):
    out = tmp_path / "cut.mkv"
    cut(film, TimeSpan(1.0, 2.0), out)
    with pyav.build().open(film) as media, pyav.build().open(out) as copy:
        whole = [frame.rgb() for frame in media.frames()]
        cut_out = [frame.rgb() for frame in copy.frames()]
        assert len(cut_out) >= 10
        assert all(np.array_equal(one, whole[10 + at]) for at, one in enumerate(cut_out[:10]))


def test_an_encoders_signature_goes_along(film, tmp_path):
    """Decoders mend by it what old encoders did wrong: without it some such streams cannot be decoded."""
    for suffix in (".mp4", ".mkv"):
        out = tmp_path / f"cut{suffix}"
        cut(film, TimeSpan(1.25, 2.35), out)
        with av.open(str(out)) as made:
            first = next(packet for packet in made.demux(video=0) if packet.size)
            assert b"x264 - core" in bytes(first)
        assert numbers(out)[:14] == list(range(10, 24))


def test_shades_of_the_full_range_stay(tmp_path):
    source = write(tmp_path / "full.mkv", filming.film(20), Picture("mjpeg", "yuvj420p", {}))
    for suffix in (".mp4", ".webm"):
        out = tmp_path / f"cut{suffix}"
        cut(source, TimeSpan(0.5, 1.5), out, exact=True)
        with pyav.build().open(source) as media, pyav.build().open(out) as made:
            (whole,) = media.frames_at(np.array([0.55]))
            assert np.abs(whole.rgb().astype(int) - next(iter(made.frames())).rgb()).mean() < 3


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
def test_exact_has_exactly_the_pictures(film, tmp_path, suffix):
    out = tmp_path / f"cut{suffix}"
    made = cut(film, TimeSpan(1.25, 2.35), out, exact=True)
    assert (made.span.start, made.span.end) == pytest.approx((1.25, 2.35))
    found = shown(out)
    assert [number for _, number in found] == list(range(12, 24)), "12 is on show at 1.25"
    assert [when for when, _ in found] == pytest.approx([0.0, *np.arange(0.05, 1.1, 0.1)], abs=2e-3)
    with pyav.build().open(out) as media:
        assert media.probe.duration == pytest.approx(1.1, abs=0.06)


@pytest.mark.parametrize("exact", [False, True], ids=["copy", "exact"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_sound_stays_in_step(film, tmp_path, suffix, exact):
    out = tmp_path / f"cut{suffix}"
    cut(film, TimeSpan(0.55, 2.65), out, exact=exact)
    when = {number: at for at, number in shown(out)}
    start, end = loud(out)
    assert start - when[10] == pytest.approx(0, abs=ENCODED)
    assert end - when[20] == pytest.approx(0, abs=ENCODED)


def test_webm_too_is_in_step(film, tmp_path):
    out = tmp_path / "cut.webm"
    cut(film, TimeSpan(0.55, 2.65), out, exact=True)
    when = {number: at for at, number in shown(out)}
    assert loud(out)[0] - when[10] == pytest.approx(0, abs=ENCODED)


@pytest.mark.parametrize("exact", [False, True], ids=["copy", "exact"])
def test_pictures_that_come_after_the_sound_still_do(tmp_path, exact):
    source = FILMS["late_pictures"](tmp_path).path  # from 0.5 s on; the clock begins at 5 s, the tone at 1 s
    out = tmp_path / "cut.mp4"
    cut(source, TimeSpan(0.3, 2.05), out, exact=exact)
    when = {number: at for at, number in shown(out)}
    assert when[0] == pytest.approx(0.2, abs=0.01)
    assert loud(out)[0] == pytest.approx(0.7, abs=ENCODED)


def test_a_rate_that_varies_stays_so(tmp_path):
    source = FILMS["variable_rate"](tmp_path).path
    cut(source, TimeSpan(0.55, 2.21), tmp_path / "exact.mp4", exact=True)
    assert shown(tmp_path / "exact.mp4") == [
        (pytest.approx(when, abs=1e-3), number) for when, number in ((0, 2), (0.05, 3), (0.85, 4), (0.95, 5), (1.65, 6))
    ]
    cut(source, TimeSpan(0.55, 2.21), tmp_path / "copy.mp4")
    assert shown(tmp_path / "copy.mp4")[:5] == [
        (pytest.approx(when, abs=1e-3), number) for number, when in enumerate((0.0, 0.04, 0.5, 0.6, 1.4))
    ]


@pytest.mark.parametrize(
    ("suffix", "exact"), [(".mp4", False), (".mkv", False), (".mp4", True), (".mkv", True), (".webm", True)]
)
@pytest.mark.parametrize("name", ["rotated", "mirrored"])
def test_a_picture_lies_as_it_did(tmp_path, name, suffix, exact):
    sample = FILMS[name](tmp_path)
    out = tmp_path / f"cut{suffix}"
    cut(sample.path, TimeSpan(0.5, 1.5), out, exact=exact)
    with pyav.build().open(out) as media:
        assert (media.probe.width, media.probe.height) == sample.size
        first = next(iter(media.frames()))
        assert sample.right(0, first.rgb()), quarter_colours(first.rgb())


@pytest.mark.parametrize(("suffix", "exact"), [(".mp4", False), (".mkv", False), (".mp4", True), (".webm", True)])
def test_pixels_stay_as_wide_as_they_were(tmp_path, suffix, exact):
    sample = FILMS["wide_pixels"](tmp_path)
    out = tmp_path / f"cut{suffix}"
    cut(sample.path, TimeSpan(0.5, 1.5), out, exact=exact)
    with pyav.build().open(out) as media:
        assert (media.probe.width, media.probe.height) == sample.size


@pytest.mark.parametrize(("suffix", "exact"), [(".webm", False), (".mkv", False), (".mp4", True), (".webm", True)])
def test_what_is_transparent_stays_so_or_stands_on_black(tmp_path, suffix, exact):
    sample = FILMS["clear_film"](tmp_path)
    out = tmp_path / f"cut{suffix}"
    cut(sample.path, TimeSpan(0.1, 0.4), out, exact=exact)
    with pyav.build().open(out) as media:
        assert sample.right(0, next(iter(media.frames())).rgb())


def test_a_clock_that_starts_anew_is_one_clock(tmp_path):
    source = FILMS["end_to_end"](tmp_path).path  # two recordings of two seconds, the first with a tone
    cut(source, TimeSpan(1.5, 2.6), tmp_path / "copy.mp4")
    assert numbers(tmp_path / "copy.mp4")[:16] == list(range(10, 26))
    cut(source, TimeSpan(1.5, 2.6), tmp_path / "exact.mp4", exact=True)
    assert numbers(tmp_path / "exact.mp4") == list(range(14, 26))


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_sound_that_loses_nothing_is_cut_to_the_sample(film, tmp_path, suffix):
    out = tmp_path / f"cut{suffix}"
    made = cut(film, TimeSpan(0.75, 1.5), out)
    assert made.exact
    with pyav.build().open(out) as media:
        samples = np.concatenate(list(media.sound(RATE)))
    assert len(samples) == round(0.75 * RATE)
    assert loud(out)[0] == pytest.approx(0.25, abs=ENCODED)


@pytest.mark.parametrize(("suffix", "exact"), [(".m4a", False), (".m4a", True), (".mp3", True), (".ogg", True)])
def test_sound_alone(film, tmp_path, suffix, exact):
    out = tmp_path / f"cut{suffix}"
    made = cut(film, TimeSpan(0.75, 1.5), out, exact=exact)
    assert [one.kind for one in made.streams] == ["audio"]
    assert loud(out)[0] == pytest.approx(1.0 - made.span.start, abs=ENCODED)
    with pyav.build().open(out) as media:
        assert media.probe.duration == pytest.approx(0.75, abs=0.06)


def test_both_channels_stay(tmp_path):
    source = write(tmp_path / "stereo.mp3", sound=Sounded([(0.0, tone(2))], "libmp3lame", "stereo"))
    cut(source, TimeSpan(0.5, 1.5), tmp_path / "cut.wav")
    with av.open(str(tmp_path / "cut.wav")) as made:
        assert made.streams.audio[0].codec_context.channels == 2


def test_what_a_format_cannot_hold_is_said_with_the_way_out(film, tmp_path):
    for suffix in (".webm", ".mp3"):
        with pytest.raises(BadSettings, match=r"cannot hold .* add --exact") as caught:
            cut(film, TimeSpan(1, 2), tmp_path / f"cut{suffix}")
        assert (".mkv" in str(caught.value)) == (suffix == ".webm")
    with pytest.raises(BadSettings, match=r"'\.avi'; it wants \.mp4"):
        cut(film, TimeSpan(1, 2), tmp_path / "cut.avi")
    with pytest.raises(NoSuchStream, match="no sound"):
        cut(FILMS["no_sound"](tmp_path).path, TimeSpan(1, 2), tmp_path / "cut.wav")
    assert not list(tmp_path.glob("cut*"))
    assert not list(tmp_path.glob(".*"))


def test_nothing_is_written_over_unless_it_is_meant(film, tmp_path):
    out = tmp_path / "cut.mp4"
    out.write_text("mine")
    with pytest.raises(FileExistsError, match="--force"):
        cut(film, TimeSpan(1, 2), out)
    assert out.read_text() == "mine"
    cut(film, TimeSpan(1, 2), out, force=True)
    assert numbers(out)[0] == 10
    again = tmp_path / "again.mp4"
    again.hardlink_to(film)
    with pytest.raises(FileExistsError, match="the media itself"):
        cut(film, TimeSpan(1, 2), again, force=True)


def test_a_file_that_came_meanwhile_stays(film, tmp_path, monkeypatch):
    out = tmp_path / "cut.mp4"
    made = cutting._made

    def late(*given):
        out.write_text("somebody else's")
        return made(*given)

    monkeypatch.setattr(cutting, "_made", late)
    with pytest.raises(FileExistsError):
        cut(film, TimeSpan(1, 2), out)
    assert out.read_text() == "somebody else's"
    assert [file.name for file in tmp_path.iterdir()] == ["cut.mp4"]


@pytest.mark.parametrize("bad", ["text", "headless", "no_pictures", "playlist"])
def test_a_broken_file_is_one_line_and_leaves_nothing(tmp_path, bad):
    source = media_files.BAD[bad](tmp_path)
    with pytest.raises(Exception, match=source.name) as caught:
        cut(source, TimeSpan(0, 1), tmp_path / "out.mp4", exact=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.mp4").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["truncated", "corrupted"])
@pytest.mark.parametrize("exact", [False, True], ids=["copy", "exact"])
def test_of_a_damaged_file_what_is_there_is_cut(tmp_path, name, exact):
    source = getattr(media_files, name)(tmp_path)
    out = tmp_path / "out.mp4"
    try:
        cut(source, TimeSpan(0.5, 5.0), out, exact=exact)
    except CannotDecode:
        assert not out.exists()
    else:
        assert numbers(out)


def test_a_folder_that_cannot_be_written_is_told(film, tmp_path):
    with pytest.raises(OSError, match="cannot be written") as caught:
        cut(film, TimeSpan(1, 2), tmp_path / "nowhere" / "cut.mp4")
    assert caught.value.errno == errno.ENOENT


def test_a_full_disk_is_told(film, tmp_path, monkeypatch):
    half = tmp_path / "half"
    half.touch()

    def full() -> None:
        with _cutting.writing(half, "cut.mp4"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFull, match=r"no room for cut\.mp4"):
        full()


CRAMPED = """
import resource, sys
from pathlib import Path
from indexer.cutting import cut
from retriever.errors import DiskFull
from retriever.types import TimeSpan
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
try:
    cut(Path(sys.argv[1]), TimeSpan(0, 3), Path(sys.argv[2]), exact=len(sys.argv) > 3)
except DiskFull as error:
    print(error)
"""


@pytest.mark.parametrize("words", [[], ["exact"]], ids=["copy", "exact"])
def test_a_disk_that_fills_up_on_the_way_leaves_nothing(film, tmp_path, words):
    out = tmp_path / "cut.mkv"
    done = subprocess.run(
        [sys.executable, "-c", CRAMPED, str(film), str(out), *words], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"no room for {out}"), done.stderr
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from indexer.cutting import cut
from retriever.types import TimeSpan
print("begun", flush=True)
cut(Path(sys.argv[1]), TimeSpan(0, 24), Path(sys.argv[2]), exact=True)
"""


def _until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def test_a_kill_leaves_nothing(tmp_path):
    shown = filming.film(240, width=640, height=480)  # enough work to be killed in
    source = write(tmp_path / "long.mp4", shown, Picture(options={"preset": "ultrafast"}))
    into = tmp_path / "into"
    into.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(source), str(into / "cut.mp4")], stdout=subprocess.DEVNULL
    )
    assert _until(lambda: any(file.stat().st_size for file in into.iterdir()) or process.poll() is not None)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was at work till then"
    assert _until(lambda: not list(into.iterdir())), "its child takes the half file along"
