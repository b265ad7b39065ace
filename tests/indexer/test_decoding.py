"""Decoding in a child: the same chapters whichever way one comes to them, and a run that outlives any file."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import filming
import media_files
import numpy as np
import pytest
from filming import number_of

from indexer import _child_process, _decoder_child
from indexer._chapters import Cutter, Tape, longer_side, shorter_side
from indexer._exchange import Pile, lifted
from indexer.decoding import Chapter, Decoder, Wanted
from indexer.media import synthetic
from indexer.sampling import Adaptive, Fixed, Keyframes, Uniform
from retriever.errors import CannotDecode, CannotOpen, DecodeTimeout, PluginError, UnknownPlugin
from retriever.types import MediaKind

RATE = 16_000
WANTED = Wanted("pyav", Fixed(2), 32, Fixed(1), 48, (RATE,), margin=0.5, chapter=4.0)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(limit_s=60) as one:
        yield one


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """15 s, ten numbered pictures a second, a keyframe every two seconds, and a tone that swells."""
    folder = tmp_path_factory.mktemp("film")
    swell = filming.tone(15.0) * np.linspace(0, 1, 15 * filming.RATE, dtype=np.float32)
    how = filming.Picture(options={"preset": "ultrafast", "bf": "2", "g": "20", "keyint_min": "20"})
    return filming.write(folder / "film.mp4", filming.film(150), how, filming.Sounded([(0.0, swell)], "aac", "stereo"))


def scripted(folder: Path, name: str = "script", **page: Any) -> Path:
    path = folder / f"{name}.synthetic"
    path.write_text(json.dumps({"size": [64, 32], "fps": 10, **page}))
    return path


def same(one: Chapter, other: Chapter) -> bool:
    """In every bit; how much was decoded for it is another matter."""
    return (
        (one.index, one.span, one.last, one.page_spans) == (other.index, other.span, other.last, other.page_spans)
        and np.array_equal(one.frames, other.frames)
        and np.array_equal(one.spans, other.spans)
        and all(np.array_equal(a, b) for a, b in zip(one.pages, other.pages, strict=True))
        and list(one.sounds) == list(other.sounds)
        and all(
            one.sounds[rate].start == other.sounds[rate].start
            and np.array_equal(one.sounds[rate].samples, other.sounds[rate].samples)
            for rate in one.sounds
        )
    )


# --------------------------------------------------------------------------------------------------- what chapters hold


def test_chapters_hold_what_was_wanted(decoder: Decoder, film: Path) -> None:
    chapters = list(decoder.chapters(film, WANTED))
    assert [chapter.index for chapter in chapters] == [0, 1, 2, 3]
    assert [chapter.last for chapter in chapters] == [False, False, False, True]
    assert [chapter.span.start for chapter in chapters] == [0, 4, 8, 12]
    assert [chapter.span.end for chapter in chapters[:-1]] == [4, 8, 12]
    assert chapters[-1].span.end == pytest.approx(15, abs=0.1)
    assert 45 <= sum(chapter.decoded for chapter in chapters) < 150  # some that nobody looks at are spared
    for chapter in chapters:
        middles = np.arange(chapter.span.start + 0.25, min(chapter.span.end, 15), 0.5)
        shown = [int(middle * 10 + 1e-6) for middle in middles]
        assert chapter.frames.shape == (len(middles), 32, 53, 3)
        assert chapter.frames.dtype == np.uint8
        assert [number_of(frame) for frame in chapter.frames] == shown
        assert chapter.spans[:, 0].tolist() == [middle - 0.25 for middle in middles]
        assert chapter.spans[:-1, 1].tolist() == chapter.spans[1:, 0].tolist()
        assert chapter.spans[-1, 1] == pytest.approx(chapter.span.end)
        assert [page.shape for page in chapter.pages] == [(29, 48, 3)] * len(chapter.page_spans)
        assert [number_of(page) for page in chapter.pages] == [int(start * 10 + 5) for start, _ in chapter.page_spans]


def test_sound_reaches_into_the_neighbours(decoder: Decoder, film: Path) -> None:
    first, second, *_, last = decoder.chapters(film, WANTED)
    assert (first.sounds[RATE].start, first.sounds[RATE].length) == (0, 4.5)
    assert (second.sounds[RATE].start, second.sounds[RATE].length) == (3.5, 5)
    assert np.array_equal(first.sounds[RATE].samples[-RATE:], second.sounds[RATE].samples[:RATE])
    assert last.sounds[RATE].start + last.sounds[RATE].length == pytest.approx(15, abs=0.1)


@pytest.mark.parametrize(
    "wanted",
    [
        WANTED,
        replace(WANTED, sampler=Adaptive(5, 0.02, 1), rates=(8_000, 44_100), margin=2.0),
        replace(WANTED, sampler=Uniform(7), page_sampler=None, chapter=3.1),
        replace(WANTED, sampler=Keyframes(), page_sampler=Keyframes(2)),
        replace(WANTED, sampler=None, page_sampler=None),
    ],
    ids=["fixed", "adaptive", "uniform", "keyframes", "sound"],
)
def test_a_chapter_is_the_same_come_to_or_begun_with(decoder: Decoder, film: Path, wanted: Wanted) -> None:
    walked = list(decoder.chapters(film, wanted))
    for first in range(len(walked)):
        begun = next(iter(decoder.chapters(film, wanted, first)))
        assert same(begun, walked[first])
    assert list(decoder.chapters(film, wanted, len(walked))) == []


@pytest.mark.parametrize("name", ["false_keyframes", "late_pictures", "unending", "variable_rate", "film_with_tone"])
def test_so_it_is_in_files_that_are_hard_to_jump_into(decoder: Decoder, name: str, tmp_path: Path) -> None:
    path = media_files.FILMS[name](tmp_path).path
    wanted = replace(WANTED, sampler=Fixed(10), chapter=1.1)
    walked = list(decoder.chapters(path, wanted))
    for first in (1, len(walked) - 1):
        assert same(next(iter(decoder.chapters(path, wanted, first))), walked[first])
    wanted = replace(wanted, sampler=Keyframes(10), page_sampler=None)
    walked = list(decoder.chapters(path, wanted))
    for first in (1, len(walked) - 1):
        assert same(next(iter(decoder.chapters(path, wanted, first))), walked[first])


def test_keyframes_alone_are_decoded_where_they_are_enough(decoder: Decoder, tmp_path: Path) -> None:
    """A keyframe every two seconds, twelve pictures a second."""
    path = media_files.FILMS["film_with_tone"](tmp_path).path
    keys = replace(WANTED, sampler=Keyframes(), page_sampler=None)
    few, all_ = (list(decoder.chapters(path, wanted)) for wanted in (keys, replace(keys, sampler=Fixed(1))))
    assert sum(one.decoded for one in few) < sum(one.decoded for one in all_) / 3
    assert [one.span for one in few] == [one.span for one in all_]
    spans = np.concatenate([one.spans for one in few])
    assert np.allclose(spans[1:, 0], spans[:-1, 1])


def test_decoding_twice_gives_the_same(decoder: Decoder, film: Path) -> None:
    once, again = (list(decoder.chapters(film, WANTED)) for _ in range(2))
    assert all(same(one, other) for one, other in zip(once, again, strict=True))


@pytest.mark.parametrize(
    "make", [*media_files.FILMS.values(), *media_files.STILLS.values(), *media_files.SOUNDS.values()]
)
def test_every_kind_of_file_comes_to_its_own_end(decoder: Decoder, make: Any, tmp_path: Path) -> None:
    sample = make(tmp_path)
    chapters = list(decoder.chapters(sample.path, WANTED))
    assert chapters[-1].last
    assert chapters[-1].span.end == pytest.approx(sample.end, abs=0.05)
    assert sum(len(chapter.frames) for chapter in chapters) == (
        round(sample.end * 2) if len(sample.times) > 1 else len(sample.times)
    )
    assert all((RATE in chapter.sounds) == (sample.tones is not None) for chapter in chapters)


def test_a_still_picture_is_one_chapter_with_one_frame(decoder: Decoder, tmp_path: Path) -> None:
    path = media_files.png(tmp_path).path
    assert decoder.probe(path).kind is MediaKind.IMAGE
    (chapter,) = decoder.chapters(path, WANTED)
    assert (chapter.span.start, chapter.span.end, chapter.last) == (0, 1, True)
    assert chapter.frames.shape == (1, 32, 53, 3)
    assert chapter.spans.tolist() == [[0, 1]]
    assert len(chapter.pages) == 1


def test_a_media_shorter_than_half_a_bin_has_a_picture_too(decoder: Decoder, tmp_path: Path) -> None:
    path = filming.write(tmp_path / "short.mkv", filming.film(1))
    (chapter,) = decoder.chapters(path, replace(WANTED, sampler=Fixed(0.1)))
    assert len(chapter.frames) == 1
    assert chapter.spans.tolist() == [[0, chapter.span.end]]


def test_nothing_wanted_is_nothing_decoded(decoder: Decoder, film: Path) -> None:
    chapters = list(decoder.chapters(film, replace(WANTED, sampler=None, page_sampler=None, rates=())))
    assert [chapter.decoded for chapter in chapters] == [0, 0, 0, 0]
    assert all(chapter.frames.shape == (0, 0, 0, 3) and not chapter.sounds for chapter in chapters)


def test_pictures_at_times(decoder: Decoder, film: Path) -> None:
    pictures = decoder.pictures(film, [0.0, 0.05, 7.31, 99.0], side=80)
    assert [picture.shape for picture in pictures] == [(48, 80, 3)] * 4
    assert [number_of(picture) for picture in pictures] == [0, 0, 73, 149]


def test_arrays_are_the_callers_own(decoder: Decoder, film: Path) -> None:
    chapter = next(iter(decoder.chapters(film, WANTED)))
    chapter.frames[...] = 0
    chapter.sounds[RATE].samples[...] = 0
    assert not chapter.frames.any()


# ------------------------------------------------------------------------------------------- files that end a decoder


def test_a_crash_costs_one_file_and_its_story_is_told(tmp_path: Path, film: Path) -> None:
    bad = scripted(tmp_path, scenes=[{"seconds": 20, "colour": [9, 9, 9]}], crash_at=9.0)
    with Decoder(limit_s=60) as decoder:
        chapters = decoder.chapters(bad, WANTED)
        assert [next(chapters).index, next(chapters).index] == [0, 1]
        with pytest.raises(CannotDecode, match=r"script\.synthetic: its decoder died \(SIGSEGV\)"):
            next(chapters)
        assert len(list(decoder.chapters(film, WANTED))) == 4


def test_a_hang_is_ended_at_the_limit(tmp_path: Path, film: Path) -> None:
    bad = scripted(tmp_path, scenes=[{"seconds": 20}], hang_at=5.0)
    with Decoder(limit_s=60) as decoder:
        assert decoder.probe(bad).duration == 20
        decoder.limit = 1.0
        chapters = decoder.chapters(bad, WANTED)
        assert next(chapters).index == 0
        with pytest.raises(DecodeTimeout, match=r"script\.synthetic: its decoder gave no answer in 1 s"):
            next(chapters)
        decoder.limit = 60
        assert len(list(decoder.chapters(film, WANTED))) == 4


@pytest.mark.parametrize("make", media_files.BAD.values(), ids=list(media_files.BAD))
def test_what_is_no_media_is_refused(decoder: Decoder, make: Any, tmp_path: Path) -> None:
    path = make(tmp_path)
    for ask in (lambda: decoder.probe(path), lambda: list(decoder.chapters(path, WANTED))):
        with pytest.raises((CannotOpen, CannotDecode), match=path.name):
            ask()


def test_a_stream_that_breaks_off_keeps_what_came(decoder: Decoder, tmp_path: Path) -> None:
    path = scripted(tmp_path, scenes=[{"seconds": 20}], tones=[{"start": 0, "end": 6}], break_at=5.0)
    chapters = list(decoder.chapters(path, WANTED))
    assert [len(chapter.frames) for chapter in chapters] == [8, 8, 8, 8, 8]  # its sound goes on to the end
    broken = scripted(tmp_path, "mute", scenes=[{"seconds": 20}], break_at=5.0)
    assert list(decoder.chapters(broken, WANTED))[-1].span.end == pytest.approx(5.0)


def test_a_reader_that_is_not_there_is_no_fault_of_the_file(decoder: Decoder, film: Path) -> None:
    with pytest.raises(UnknownPlugin, match="it has decord, pyav, synthetic"):
        decoder.probe(film, "opencv")


def test_a_name_can_be_anything(decoder: Decoder, film: Path, tmp_path: Path) -> None:
    for name in ("a b'c\"$(x);.mp4", "ü\n.mp4", os.fsdecode(b"\xff\xfe.mp4"), "-i.mp4", "concat:x.mp4"):
        path = tmp_path / name
        path.write_bytes(film.read_bytes())
        assert decoder.probe(path).width == 160


def test_left_in_the_middle_it_works_on(film: Path) -> None:
    with Decoder(limit_s=60) as decoder:
        for chapter in decoder.chapters(film, WANTED):
            assert chapter.index == 0
            break
        assert [chapter.index for chapter in decoder.chapters(film, WANTED)] == [0, 1, 2, 3]


def test_a_child_is_used_again_and_replaced_in_time(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_child_process, "FILES", 3)
    with Decoder(limit_s=60) as decoder:
        pids = []
        for _ in range(5):
            decoder.probe(film)
            pids.append(decoder.pid)
        assert len(set(pids[:3])) == 1
        assert len(set(pids[3:])) == 1
        assert pids[0] != pids[4]


def test_a_child_that_grows_is_replaced_in_the_midst_of_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chapter costs it 40 MB, of which it may keep 60: another one goes on after every third chapter."""
    monkeypatch.setattr(_child_process, "GROWTH", 60 << 20)
    page = {"scenes": [{"seconds": 26, "block": [9, 9, 9]}], "tones": [{"start": 3, "end": 22}]}
    honest, leaking = scripted(tmp_path, **page), scripted(tmp_path, "leaking", **page, leak=1 << 20)
    with Decoder(limit_s=60) as decoder:
        wanted = list(decoder.chapters(honest, WANTED))
        alone = decoder.pid
        chapters, pids = [], []
        for chapter in decoder.chapters(leaking, WANTED):
            chapters.append(chapter)
            pids.append(decoder.pid)
        assert [chapter.index for chapter in chapters] == list(range(7))
        assert all(same(one, other) for one, other in zip(chapters, wanted, strict=True))
        assert pids == [pid for pid in dict.fromkeys(pids) for _ in range(3)][:7]
        assert len(set(pids)) == 3
        assert pids[0] == alone
        decoder.probe(honest)
        assert decoder.pid == pids[-1], "what has hardly grown stays"


def test_a_child_that_does_not_start_is_no_fault_of_the_file(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with Decoder() as decoder, pytest.raises(PluginError, match="does not start"):
        decoder.probe(film)


def test_nothing_is_left_behind(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Decoder(limit_s=60) as decoder:
        kept = list(decoder.chapters(film, WANTED))
        assert [len(list(folder.iterdir())) for folder in tmp_path.iterdir()] == [0]
    assert list(tmp_path.iterdir()) == []
    assert all(chapter.frames.any() for chapter in kept)


def test_a_child_goes_when_its_parent_is_killed(tmp_path: Path) -> None:
    bad = scripted(tmp_path, scenes=[{"seconds": 20}], hang_at=1.0)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    code = (
        "import sys; from pathlib import Path; from indexer.decoding import *; from indexer.sampling import *\n"
        "decoder = Decoder(); decoder.probe(Path(sys.argv[1])); print(decoder.pid, flush=True)\n"
        "next(decoder.chapters(Path(sys.argv[1]), Wanted('pyav', Fixed(2), 32, None, 0, (), 0)))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(bad)], stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(temporary)}
    )
    with parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 60
    while _is_there(child) or any(temporary.iterdir()):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


def test_a_child_that_clears_up_is_not_hindered_by_what_it_still_decodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, removed, ended = tmp_path / "folder", shutil.rmtree, list[int]()
    folder.mkdir()

    def removing(which: Path, **how: bool) -> None:
        with pytest.raises(FileNotFoundError):  # as the main thread would meanwhile
            Pile(folder / "0-1.frames").add(np.zeros((8, 8, 3), np.uint8))
        removed(which, **how)

    monkeypatch.setattr(shutil, "rmtree", removing)
    monkeypatch.setattr(os, "_exit", ended.append)
    _decoder_child._listen(io.BytesIO(), SimpleQueue(), folder)
    assert ended == [0]
    assert list(tmp_path.iterdir()) == []


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b" Z " not in Path(f"/proc/{pid}/stat").read_bytes() if Path("/proc").is_dir() else True


def test_an_interrupt_for_the_parent_does_not_reach_the_child(film: Path) -> None:
    with Decoder(limit_s=60) as decoder:
        decoder.probe(film)
        assert decoder.pid
        assert os.getsid(decoder.pid) != os.getsid(0)
        assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def test_a_full_disk_is_no_fault_of_the_file(tmp_path: Path) -> None:
    def full() -> Iterator[dict[str, Any]]:
        yield {}
        raise OSError(errno.ENOSPC, "No space left on device")

    job = full()
    next(job)
    assert _decoder_child.answer_of(job, tmp_path / "folder")["error"] == "DiskFull"


# ------------------------------------------------------------------------------------------------------- small things


def test_a_pile_comes_back_as_it_was_laid(tmp_path: Path) -> None:
    arrays = [
        np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
        np.zeros((0, 5, 3), np.uint8),
        np.full((2, 2), 7, np.uint8),
    ]
    pile = Pile(tmp_path / "pile")
    for array in arrays:
        pile.add(array)
    pile.close()
    back = lifted(tmp_path / "pile", pile.shapes, np.uint8)
    assert [one.shape for one in back] == [one.shape for one in arrays]
    assert all(np.array_equal(one, other) for one, other in zip(arrays, back, strict=True))
    assert not (tmp_path / "pile").exists()


def test_wanted_survives_the_way_to_the_child() -> None:
    for wanted in (WANTED, replace(WANTED, sampler=None, page_sampler=Adaptive(1, 0.5, 9))):
        assert Wanted.from_plain(json.loads(json.dumps(wanted.plain()))) == wanted


@pytest.mark.parametrize("wrong", [{"chapter": 0}, {"margin": -1}, {"side": 0}, {"page_side": 0}])
def test_senseless_wishes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="it wants"):
        replace(WANTED, **wrong)  # type: ignore[arg-type]


def test_sizes_keep_the_aspect_and_stay_bounded() -> None:
    assert shorter_side(1280, 720, 260) == (462, 260)
    assert shorter_side(144, 176, 260) == (260, 318)
    assert shorter_side(100_000, 10, 260) == (1040, 1)
    assert longer_side(1920, 1080, 960) == (960, 540)
    assert longer_side(320, 240, 960) == (320, 240)


def test_a_tape_gives_windows_as_if_it_were_whole() -> None:
    whole = np.random.default_rng(0).random(1000, np.float32)
    for size in (1, 7, 400, 1000):
        tape = Tape(iter([whole[at : at + size] for at in range(0, 1000, size)]), rate=100, start=0.0)
        for start, end in ((-1.0, 2.5), (1.5, 4.0), (3.99, 9.0), (8.0, 12.0), (11.0, 12.0)):
            window = tape.window(start, end)
            assert np.array_equal(window.samples, whole[max(0, round(start * 100)) : round(end * 100)])
            assert window.start == max(0, round(start * 100)) / 100
        assert tape.ends_by(10.0)
        assert tape.end == 10.0


def test_the_child_cuts_what_the_cutter_cuts(decoder: Decoder, tmp_path: Path) -> None:
    """The same media, once through the child and once in this process."""
    scenes = [{"seconds": 3, "colour": [200, 0, 0], "block": [255, 255, 255]}, {"seconds": 2.5, "pattern": "noise"}]
    path = scripted(tmp_path, scenes=scenes, tones=[{"start": 1, "end": 5}])
    through = list(decoder.chapters(path, WANTED))
    with synthetic.build().open(path) as media:
        cuts = list(Cutter(media, WANTED, 0).chapters(tmp_path, 0))
    for cut, chapter in zip(cuts, through, strict=True):
        frames = lifted(tmp_path / f"0-{cut.index}.frames", cut.frames.pile.shapes, np.uint8)
        assert np.array_equal(np.array(frames), chapter.frames)
        assert (cut.span, cut.last, cut.frames.spans) == (
            chapter.span,
            chapter.last,
            [*map(tuple, chapter.spans.tolist())],
        )
        assert np.array_equal(cut.sounds[RATE].samples, chapter.sounds[RATE].samples)


@pytest.mark.parametrize(
    "page",
    ["", "[]", "{", '{"scenes": []}', '{"scenes": [{"colour": 1, "seconds": 0}]}', '{"speed": 1}',
     '{"scenes": [{"pattern": "tartan"}]}'],
)  # fmt: skip
def test_a_script_that_says_nothing_sensible_is_refused(decoder: Decoder, page: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.synthetic"
    path.write_text(page)
    with pytest.raises(CannotOpen, match=r"bad\.synthetic"):
        decoder.probe(path)
