"""Files that become something else while they are read, or never were files: no run hangs, each costs itself alone."""

import os
import shutil
import socket
from pathlib import Path

import av
import numpy as np
import pytest
from faulty import HUNG, Faulty, held
from reels import write_reel

HOW = ("truncate", "delete", "pipe", "other", "empty", "grow", "folder", "device")
ORDER = 3
"""That a decoder gets then: the probe is the first, and the others are chapters."""


def grainy(path: Path, shade: int, seconds: int = 16) -> Path:
    """A film of so many megabytes that nobody has read all of it while it is worked on."""
    noise = np.random.default_rng(shade).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p"
        stream.bit_rate, stream.options = 10_000_000, {"qmin": "1", "qmax": "2"}
        for number in range(10 * seconds):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, number, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    grainy(folder / "film.mkv", 1)
    grainy(folder / "film.other", 2, seconds=5)
    return folder


@pytest.mark.parametrize("how", [*HOW[:3], *(pytest.param(how, marks=pytest.mark.slow) for how in HOW[3:])])
def test_a_file_that_becomes_another_costs_itself_alone(how: str, faulty: Faulty, films: Path, disk: Path) -> None:
    clips, whole = disk / "clips", disk / "whole"
    for folder in (clips, whole):
        folder.mkdir()
        shutil.copy2(films / "film.mkv", folder)
        shutil.copy2(films / "film.other", folder)
        write_reel(folder / "good.synthetic", "red", "green")
    film = clips / "film.mkv"
    outcome = faulty.index(disk / "lib", clips, meddle=how, meddled=film, order=ORDER, limit_s=10)
    assert outcome.code == 0, outcome
    assert outcome.told == [str(clips / "good.synthetic")]
    (reason,) = outcome.quarantined.values()
    assert str(film) in reason
    assert "\n" not in reason
    again = faulty.index(disk / "lib", clips, limit_s=10)
    assert again.code == 0, again
    assert again.told == ([str(film)] if how in ("truncate", "grow", "other") else [])
    if film.is_dir():
        film.rmdir()
    film.unlink(missing_ok=True)
    shutil.copy2(films / "film.mkv", film)
    last = faulty.index(disk / "lib", clips)
    assert (last.code, last.told, last.quarantined) == (0, [str(film)], {})
    assert faulty.index(disk / "undisturbed", whole).code == 0
    found, undisturbed = held(disk / "lib"), held(disk / "undisturbed")
    assert found["media"].keys() == undisturbed["media"].keys()
    for name in ("answers", "counts", "quarantined"):
        assert found[name] == undisturbed[name]


def test_what_is_no_file_is_refused_in_one_line_each(faulty: Faulty, disk: Path) -> None:
    clips = disk / "clips"
    good = write_reel(clips / "good.synthetic", "red")
    os.mkfifo(clips / "pipe.mp4")
    os.mkfifo(clips / "pipe.synthetic")
    (clips / "device.mp4").symlink_to("/dev/zero")
    (clips / "gone.mp4").symlink_to(clips / "nowhere.mp4")
    (clips / "round.mp4").symlink_to(clips / "round.mp4")
    (clips / "folder.mp4").mkdir()
    (clips / "empty.mp4").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(clips / "socket.mp4"))
        outcome = faulty.index(disk / "lib", clips)
        assert outcome.code != HUNG
        assert (outcome.code, outcome.told) == (0, [str(good)])
        names = {Path(path).name for path in outcome.quarantined}
        bad = ("pipe", "device", "gone", "round", "empty", "socket")
        assert names == {*(f"{name}.mp4" for name in bad), "pipe.synthetic"}
        assert all("\n" not in reason and path in reason for path, reason in outcome.quarantined.items())
        named = faulty.index(disk / "lib", clips / "pipe.mp4", clips / "device.mp4", asked="named")
        assert (named.code, len(named.quarantined)) == (0, 2)


def test_a_bad_file_that_is_there_twice_is_set_aside_twice_and_tried_once(faulty: Faulty, disk: Path) -> None:
    one = write_reel(disk / "clips" / "one.synthetic", "red", crash_at=1)
    two = write_reel(disk / "clips" / "two.synthetic", "red", crash_at=1)
    outcome = faulty.index(disk / "lib", disk / "clips")
    assert sorted(outcome.quarantined) == [str(one), str(two)]
    assert all(reason.startswith(f"{path}: its decoder died") for path, reason in outcome.quarantined.items())
    again = faulty.index(disk / "lib", disk / "clips")
    assert (again.quarantined, again.orders) == (outcome.quarantined, 0)
