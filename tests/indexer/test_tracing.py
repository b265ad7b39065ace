"""What a run did and when: a file that opens whatever happens, and sums that are right."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from io import FileIO
from itertools import pairwise
from pathlib import Path
from threading import Barrier
from threading import Event as Flag
from threading import enumerate as threads
from typing import Any

import fakes
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reels import write_reel

from indexer import lanes, pipeline, sources, tracing
from indexer.encoding import Encoded, Encoders, encode
from indexer.events import Crew, Event, Load, Opened
from indexer.executors import local as executor
from indexer.recipe import Recipe
from indexer.run import Run
from indexer.segmenters import fixed
from retriever import processes
from retriever.errors import BadSettings
from retriever.stores import memory
from retriever.types import Pictures, Sound, Times, Tokens

RECIPE = Recipe("fake", vision=("colours",), sampling="fixed(2)", pages="fixed(1)", chapter=4.0)


def run_over(folder: Path, trace: tracing.Trace, encoders: Encoders | None = None, **how: Any) -> Run:
    store = memory.build(folder.parent / "lib")
    usual = Encoders(
        fakes.HashingSentences(),
        {"colours": fakes.Colours()},
        {"loudness": fakes.Loudness()},
        {"nospeech": fakes.NoSpeech()},
        {"subtitles": fakes.Subtitles()},
    )
    said = how.pop("said", list[Event]())
    run = Run(
        RECIPE, encoders or usual, store, fixed.build(), processes.me(), said.append, limit_s=20.0, trace=trace, **how
    )
    pipeline.index(sources.found([folder]), run, executor.build())
    store.close()
    return run


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for name, colours in {"one": ["red", "blue", "green"], "two": ["white"], "three": ["black", "red"]}.items():
        write_reel(tmp_path / "clips" / f"{name}.synthetic", *colours)
    return tmp_path / "clips"


def tracks(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    found = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            found[names[event["tid"]]].append(event)
    return found


def test_a_run_is_told_track_by_track(clips: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    with tracing.kept(file) as trace:
        run = run_over(clips, trace, children=2)
    told = tracks(json.loads(file.read_text()))
    assert {"decoder 0", "decoder 1", "encode colours", "encode loudness", "recognize subtitles", "store"} <= set(told)
    decoded = [event for name in ("decoder 0", "decoder 1") for event in told[name] if event["name"] == "decode"]
    assert sorted(event["args"]["file"] for event in decoded) == ["one.synthetic"] * 3 + ["three.synthetic"] * 2 + [
        "two.synthetic"
    ]
    assert [event["name"] for event in told["store"]].count("commit") == 3
    for name, spans in told.items():
        for before, after in pairwise(sorted(spans, key=lambda span: (span["ts"], -span["dur"]))):
            end, nested = before["ts"] + before["dur"], after["ts"] + after["dur"] <= before["ts"] + before["dur"] + 2
            assert after["ts"] >= end - 2 or nested, f"on track {name} {before} runs into {after}"
    assert run.summary.load is trace.load


def test_curves_never_fall_below_zero_and_end_there(clips: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    with tracing.kept(file) as trace:
        run_over(clips, trace)
        events = [event for event in json.loads(file.read_text() + "]") if event["ph"] == "C"]
    assert {lanes.READY, lanes.BYTES, lanes.TICKETS} <= {event["name"] for event in events}
    assert all(event["args"]["value"] >= 0 for event in events)
    depths = trace.load.depths
    assert depths[lanes.BYTES].largest >= 64 * 48 * 3
    assert 1 <= depths[lanes.READY].largest <= 2 + 1, "the queue, and one that waits for room"
    assert all(0 <= depth.mean <= depth.largest for depth in depths.values())


def test_without_a_file_a_run_adds_up_all_the_same(clips: Path) -> None:
    run = run_over(clips, tracing.Trace(), children=2)
    load = run.summary.load
    assert set(load.crews) == {"decoders", "encoders", "store"}
    assert load.crews["decoders"].seconds == pytest.approx(2 * load.crews["encoders"].seconds, rel=0.2)
    assert all(0 <= crew.idle <= 1 for crew in load.crews.values())
    assert load.slowest in load.crews


def test_a_killed_process_leaves_a_file_that_opens(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom indexer import tracing\n"
        "with tracing.kept(Path(sys.argv[1])) as trace:\n"
        "    with trace.span('store', 'commit', file='a \"b\" \\udcff.mp4'): pass\n"
        "    trace.change('chapters ready', 2)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    home = Path(tracing.__file__).parents[1]
    died = subprocess.run([sys.executable, "-c", code, str(file)], env={**os.environ, "PYTHONPATH": str(home)})
    assert died.returncode == -signal.SIGKILL
    text = file.read_text()
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    events = json.loads(text + "]")  # as browsers read it
    assert [event["name"] for event in events if event["ph"] != "M"] == ["commit", "chapters ready"]


def test_a_full_disk_ends_the_trace_and_nothing_else(clips: Path, tmp_path: Path) -> None:
    class Full(FileIO):
        def write(self, content: Any, /) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Full(tmp_path / "run.json", "w") as file:
        trace = tracing.Trace(file)
        run = run_over(clips, trace)
        trace.close()
    assert len(run.summary.indexed) == 3
    assert "run.json ends here: No space left" in trace.failed


def test_a_trace_is_written_over_and_nothing_else_is(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    for _ in range(2):
        with tracing.kept(file) as trace:
            trace.level("files", 1)
    assert json.loads(file.read_text())
    for content in ("[1, 2]", "[\n[", "film"):
        file.write_text(content)
        with pytest.raises(BadSettings, match="is no trace"), tracing.kept(file):
            pass
        assert file.read_text() == content
    for place in (tmp_path, tmp_path / "nowhere" / "run.json"):
        with pytest.raises(BadSettings, match="a file that can be written"), tracing.kept(place):
            pass


def test_a_file_has_an_end_however_long_a_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "MOST", 20)
    file = tmp_path / "run.json"
    with tracing.kept(file) as trace:
        for _ in range(100):
            with trace.span("store", "commit"):
                pass
    assert len(json.loads(file.read_text())) == 20


@given(st.lists(st.tuples(st.floats(0.001, 10), st.integers(0, 9)), min_size=1, max_size=20))
def test_a_mean_is_over_time(steps: list[tuple[float, int]]) -> None:
    now = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "monotonic", lambda: now)
        trace = tracing.Trace()
        for seconds, value in steps:
            trace.level("files", value)
            now += seconds
        trace.settle()
    depth = trace.load.depths["files"]
    assert depth.largest == max(value for _, value in steps)
    assert depth.mean * depth.seconds == pytest.approx(sum(seconds * value for seconds, value in steps))
    assert depth.seconds == pytest.approx(sum(seconds for seconds, _ in steps))


def test_who_waits_least_sets_the_pace() -> None:
    load = Load({"decoders": Crew(4.0, {"room": 3.0}), "encoders": Crew(2.0, {"chapters": 0.1}), "store": Crew()})
    assert load.slowest == "encoders"
    assert (load.crews["decoders"].idle, Load().slowest, Crew().idle) == (0.75, "", 0.0)


# ------------------------------------------------------------------------------------------------- how stages overlap


def test_every_file_is_told_of_when_it_is_opened(clips: Path) -> None:
    said: list[Event] = []
    run_over(clips, tracing.Trace(), said=said)
    assert sorted(Path(event.path).stem for event in said if isinstance(event, Opened)) == ["one", "three", "two"]


def test_what_is_encoded_is_written_while_the_next_is_encoded(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that ends only when another batch has been begun: without overlap the run would stand still."""
    monkeypatch.setattr(executor, "BATCH_FRAMES", 1)
    begun, waited = [Flag() for _ in range(6)], []

    class Counting(fakes.Colours):
        calls = 0

        def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
            begun[self.calls].set()
            self.calls += 1
            return super().encode_frames(frames, spans)

    keep = Run.keep

    def slow(run: Run, *args: Any) -> bool:
        if len(waited) < 5:
            waited.append(begun[len(waited) + 1].wait(60))
        return keep(run, *args)

    monkeypatch.setattr(Run, "keep", slow)
    counting = Encoders(fakes.HashingSentences(), {"colours": Counting()})
    run = run_over(clips, tracing.Trace(), counting)
    assert waited == [True] * 5
    assert len(run.summary.indexed) == 3


def test_words_are_recognized_while_frames_are_encoded(clips: Path) -> None:
    """Each waits for the other: one after the other, they would wait in vain."""
    together = Barrier(2)

    class Meeting(fakes.Colours):
        def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
            together.wait(60)
            return super().encode_frames(frames, spans)

    class Reading(fakes.Subtitles):
        def recognize(self, frames: Any, spans: Any) -> list[Any]:
            together.wait(60)
            return super().recognize(frames, spans)

    one = clips / "one.synthetic"
    for other in clips.iterdir():
        if other != one:
            other.unlink()
    write_reel(one, "red")
    meeting = Encoders(fakes.HashingSentences(), {"colours": Meeting()}, text={"subtitles": Reading()})
    assert run_over(clips, tracing.Trace(), meeting).summary.quarantined == {}


def test_a_batch_that_fails_in_two_places_costs_its_files_and_no_other(clips: Path) -> None:
    class Choking(fakes.Subtitles):
        def recognize(self, frames: Any, spans: Any) -> list[Any]:
            if any((page[0, 0] == (255, 255, 255)).all() for page in frames):
                raise RuntimeError("no white today")
            return super().recognize(frames, spans)

    base = Encoders(fakes.HashingSentences(), {"colours": fakes.Colours()}, text={"subtitles": Choking()})
    summary = run_over(clips, tracing.Trace(), replace(base)).summary
    assert sorted(Path(path).stem for path in summary.indexed) == ["one", "three"]
    assert ["no white today" in reason for reason in summary.quarantined.values()] == [True]


def test_an_error_that_no_file_is_to_blame_for_ends_the_run(clips: Path) -> None:
    class Broken(fakes.Colours):
        def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
            raise KeyError("weights")

    with pytest.raises(KeyError, match="weights"):
        run_over(clips, tracing.Trace(), Encoders(fakes.HashingSentences(), {"colours": Broken()}))


def test_ctrl_c_does_not_wait_for_what_is_left_of_a_batch(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, stops, begun = list[str](), list[Flag](), Flag()

    def spied(*args: Any) -> list[Encoded]:
        stops.append(args[-1])
        return encode(*args)

    class First(fakes.Colours):
        def encode_frames(self, frames: Pictures, spans: Times) -> Tokens:
            asked.append("first")
            begun.set()
            assert stops[0].wait(60), "nobody stopped"
            return super().encode_frames(frames, spans)

    class Second(fakes.Loudness):
        def encode_sound(self, sound: Sound) -> Tokens:
            asked.append("second")
            return super().encode_sound(sound)

    class Keyboard(list[Event]):
        def append(self, event: Event) -> None:
            if isinstance(event, Opened):
                assert begun.wait(60)
                raise KeyboardInterrupt

    monkeypatch.setattr(executor, "encode", spied)
    encoders = Encoders(fakes.HashingSentences(), {"colours": First()}, {"loudness": Second()})
    with pytest.raises(KeyboardInterrupt):
        run_over(clips, tracing.Trace(), encoders, said=Keyboard())
    assert asked == ["first"]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No thread outlives its run."""
    yield
    names = {thread.name for thread in threads()}
    assert not [name for name in names if name.startswith(("lane-", "encoders", "recognizers"))]
