"""Jobs that people see and steer: from other processes, while they run, and after they were killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from libraries import contents
from reels import write_reel

from api import schemas
from indexer.jobs import standing
from retriever.stores import local

CHILD = Path(__file__).with_name("jobs_child.py")
LIMIT = 60.0  # seconds that a test waits for something at most
SLOW = 0.5  # seconds a chapter, where a test has to be quicker than the run
CHAPTERS = 40


class Desk:
    """A working folder with clips, and a terminal to run commands in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clips = folder, folder / "clips"
        self._children: list[subprocess.Popen[str]] = []

    def start(self, *words: str, slow: float = 0.0, crash_at: str = "") -> "subprocess.Popen[str]":
        child = subprocess.Popen(
            [sys.executable, str(CHILD), *words, "--library", "lib"],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SLOW": str(slow), "REELSEEK_CRASH_AT": crash_at, "OMP_NUM_THREADS": "1"},
        )
        self._children.append(child)
        return child

    def run(self, *words: str) -> tuple[int, str, str]:
        child = self.start(*words)
        out, err = child.communicate(timeout=LIMIT)
        return child.returncode, out, err

    def asked(self, *words: str) -> tuple[int, Any]:
        code, out, err = self.run(*words, "--json")
        assert out, err
        return code, json.loads(out)

    def jobs(self) -> list[dict[str, Any]]:
        """As `reelseek jobs list --all --json` has them, in no time."""
        store = local.build(self.folder / "lib")
        try:
            return [schemas.job(one) for one in standing(store)]
        finally:
            store.close()

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT
        while not holds():
            assert time.monotonic() < end, "it does not come to that"
            time.sleep(0.02)

    def checkpoints(self) -> int:
        return len(list((self.folder / "lib" / "staging").glob("*/chapter-*.npz")))

    def held(self) -> dict[str, Any]:
        """What the library holds; nothing is begun or leased."""
        store = local.build(self.folder / "lib")
        try:
            with store.snapshot() as snapshot:
                found = contents(snapshot)
            assert store.catalog.staged() == []
            assert store.catalog.leased() == {}
            return found
        finally:
            store.close()

    def close(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.communicate()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def long(desk: Desk) -> Desk:
    """One media of forty chapters, and a short one behind it."""
    write_reel(desk.clips / "a.synthetic", *["red", "blue", "green", "white"] * (CHAPTERS // 4), seconds=4.0)
    write_reel(desk.clips / "b.synthetic", "green", "black")
    return desk


def undisturbed(desk: Desk, tmp_path: Path) -> dict[str, Any]:
    """What indexing the same clips gives where nothing happens meanwhile."""
    other = Desk(tmp_path / "undisturbed")
    other.folder.mkdir()
    code, _, err = other.run("index", str(desk.clips))
    assert code == 0, err
    return other.held()


def test_a_run_is_paused_from_elsewhere_and_resumed_where_it_stopped(long: Desk, tmp_path: Path) -> None:
    running = long.start("index", "clips", slow=SLOW)
    long.until(lambda: long.checkpoints() >= 2)
    (job,) = long.jobs()
    assert (job["state"], job["counts"]["files"]) == ("running", 2)
    assert f":{running.pid}:" in job["by"]
    code, told = long.asked("jobs", "pause", job["id"][:5])
    assert (code, told["jobs"][0]["state"], told["jobs"][0]["by"]) == (0, "paused", "")
    _, said = running.communicate(timeout=LIMIT)
    assert running.returncode == 0
    assert said.splitlines()[-1] == (
        f"job {job['id']} is paused: reelseek jobs resume {job['id']} goes on where it stopped"
    )
    assert long.run("jobs", "pause", job["id"])[0] == 0, "twice is fine"
    kept = long.checkpoints()
    assert 2 <= kept < CHAPTERS
    before = {path: path.stat().st_mtime_ns for path in (long.folder / "lib" / "staging").glob("*/chapter-*.npz")}
    resuming = long.start("jobs", "resume", job["id"], slow=SLOW)
    long.until(lambda: long.checkpoints() > kept)
    after = {path: path.stat().st_mtime_ns for path in (long.folder / "lib" / "staging").glob("*/chapter-*.npz")}
    assert before.items() <= after.items(), "what was encoded is not encoded again"
    resuming.kill()
    code, _, said = long.run("jobs", "resume", job["id"])
    assert code == 0, said
    (job,) = long.jobs()
    assert (job["state"], job["counts"]["indexed"], job["counts"]["files"]) == ("done", 2, 2)
    assert long.held() == undisturbed(long, tmp_path)
    assert long.run("jobs", "list")[0] == 3, "it is over"
    code, _, said = long.run("jobs", "resume", job["id"])
    assert (code, said.strip()) == (0, f"job {job['id']} is done")


def test_a_run_that_was_killed_is_interrupted_and_goes_on(long: Desk, tmp_path: Path) -> None:
    running = long.start("index", "clips", "--tag", "sea", slow=SLOW)
    long.until(lambda: long.checkpoints() >= 2)
    running.kill()
    running.communicate()
    (job,) = long.jobs()
    assert (job["state"], job["by"], job["request"]["paths"]) == ("interrupted", "", [str(long.clips)])
    code, _, said = long.run("jobs", "resume", job["id"])
    assert code == 0, said
    found = long.held()
    assert {media["media"].metadata.tags for media in found["media"].values()} == {("sea",)}
    assert long.jobs()[0]["state"] == "done"


@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [
        "store-create-locked",
        "staging-after-checkpoint:3",
        "pipeline-before-commit",
        "pipeline-after-commit",
        "store-add-written",
    ],
)
def test_killed_at_a_named_point_a_job_is_interrupted_or_was_never_there(
    desk: Desk, point: str, tmp_path: Path
) -> None:
    write_reel(desk.clips / "a.synthetic", "red", "blue", "green", "white")
    write_reel(desk.clips / "b.synthetic", "green", "black")
    running = desk.start("index", "clips", crash_at=point)
    running.communicate(timeout=LIMIT)
    assert running.returncode == -signal.SIGKILL
    if point == "store-create-locked":
        assert desk.run("index", "clips")[0] == 0
    else:
        (job,) = desk.jobs()
        assert job["state"] == "interrupted"
        code, _, said = desk.run("jobs", "resume", job["id"])
        assert code == 0, said
    assert [job["state"] for job in desk.jobs()] == ["done"]
    assert desk.held() == undisturbed(desk, tmp_path)


@pytest.mark.slow
def test_however_and_however_often_a_job_is_stopped_it_ends_the_same(desk: Desk, tmp_path: Path) -> None:
    """Killed, interrupted and paused at moments drawn over the length of a run, one job goes on to its end."""
    write_reel(desk.clips / "a.synthetic", *["red", "blue", "green", "white"] * 3)
    write_reel(desk.clips / "b.synthetic", "green", "black")
    write_reel(desk.clips / "bad.synthetic", "red", crash_at=1)
    dice = random.Random(6)
    child = desk.start("index", "clips", slow=0.1)
    desk.until(lambda: (desk.folder / "lib" / "catalog.sqlite").exists() and bool(desk.jobs()))
    (job,) = desk.jobs()
    for _ in range(8):
        time.sleep(dice.uniform(0.0, 2.0))
        match dice.choice(["kill", "keyboard", "pause"]):
            case "kill":
                child.kill()
            case "keyboard":
                child.send_signal(signal.SIGINT)
            case "pause":
                assert desk.run("jobs", "pause", job["id"])[0] == 0
        child.communicate(timeout=LIMIT)
        child = desk.start("jobs", "resume", job["id"], slow=0.1)
    child.communicate(timeout=LIMIT)
    assert child.returncode == 0
    assert [each["state"] for each in desk.jobs()] == ["done"]
    assert desk.held() == undisturbed(desk, tmp_path)


def test_the_keyboard_interrupts_and_nothing_is_left_leased(long: Desk) -> None:
    running = long.start("index", "clips", slow=SLOW)
    long.until(lambda: long.checkpoints() >= 2)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=LIMIT)
    assert (running.returncode, said.splitlines()[-1]) == (130, "reelseek: stopped; what was committed stays")
    (job,) = long.jobs()
    assert job["state"] == "interrupted"
    assert long.checkpoints() >= 2


@pytest.mark.parametrize(
    "how", ["running", pytest.param("killed", marks=pytest.mark.slow), pytest.param("paused", marks=pytest.mark.slow)]
)
def test_a_cancelled_run_leaves_no_staged_row(long: Desk, how: str) -> None:
    write_reel(long.clips / "0.synthetic", "blue")  # is committed long before
    running = long.start("index", "clips", "--jobs", "1", slow=SLOW)
    long.until(lambda: long.checkpoints() >= 2)
    (job,) = long.jobs()
    if how == "killed":
        running.kill()
        running.communicate()
    elif how == "paused":
        assert long.run("jobs", "pause", job["id"])[0] == 0
    code, told = long.asked("jobs", "cancel", job["id"])
    assert (code, told["jobs"][0]["state"]) == (0, "cancelled")
    _, said = running.communicate(timeout=LIMIT) if how != "killed" else ("", "")
    if how == "running":
        assert running.returncode == 0
        assert said.splitlines()[-1].startswith(f"job {job['id']} was cancelled")
    found = long.held()
    assert [Path(media["media"].path).name for media in found["media"].values()] == ["0.synthetic"]
    assert long.asked("jobs", "cancel", job["id"])[1]["jobs"][0]["state"] == "cancelled"
    code, _, said = long.run("jobs", "resume", job["id"])
    assert (code, len(said.splitlines())) == (1, 1)
    assert "was cancelled" in said


def test_two_runs_are_two_jobs_and_one_that_works_is_left_alone(long: Desk) -> None:
    running = long.start("index", "clips", slow=SLOW)
    long.until(lambda: long.checkpoints() >= 1)
    (job,) = long.jobs()
    code, _, said = long.run("jobs", "resume", job["id"])
    assert code == 0
    assert f"job {job['id']} is running (" in said
    assert long.run("index", "clips/b.synthetic")[0] == 0
    assert [each["state"] for each in long.jobs()] == ["running", "done"]
    assert long.run("jobs", "cancel", job["id"])[0] == 0
    running.communicate(timeout=LIMIT)


def test_watching_ends_with_a_wish_or_the_keyboard(desk: Desk) -> None:
    write_reel(desk.clips / "a.synthetic", "red")
    os.utime(desk.clips / "a.synthetic", (1, 1))
    watching = desk.start("index", "clips", "--watch", "--every", "0.2", "--prune")
    desk.until(
        lambda: (desk.folder / "lib").exists() and [each["counts"].get("indexed") for each in desk.jobs()] == [1]
    )
    (desk.clips / "a.synthetic").rename(desk.clips / "c.synthetic")
    other = write_reel(desk.folder / "b.synthetic", "blue")
    os.utime(other, (1, 1))
    other.rename(desk.clips / "b.synthetic")
    desk.until(lambda: desk.jobs()[0]["counts"]["indexed"] == 2)
    (desk.clips / "b.synthetic").unlink()
    desk.until(lambda: desk.jobs()[0]["counts"]["pruned"] == 1)
    assert desk.jobs()[0]["state"] == "running"
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=LIMIT)
    assert watching.returncode == 0, said
    assert [Path(media["media"].path).name for media in desk.held()["media"].values()] == ["c.synthetic"]
    (job,) = desk.jobs()
    assert (job["state"], job["counts"]["renamed"]) == ("done", 1)


# ---------------------------------------------------------------------------------------------------- embedding again

HUES = ("reembed", "--model", "hues", "--jobs", "1")


@pytest.fixture
def made(long: Desk) -> Desk:
    """A library of the two, and a job that is done."""
    code, _, said = long.run("index", "clips")
    assert code == 0, said
    return long


def embedding(desk: Desk) -> dict[str, Any]:
    (job,) = [job for job in desk.jobs() if job["request"]["kind"] == "reembed"]
    return job


def switched(desk: Desk) -> dict[str, Any]:
    code, _, said = desk.run("reembed", "--search", "new")
    assert code == 0, said
    return desk.held()


@pytest.mark.slow
def test_embedding_again_is_a_job_that_is_paused_killed_and_resumed(made: Desk, tmp_path: Path) -> None:
    before = made.held()
    running = made.start(*HUES, slow=SLOW)
    made.until(lambda: made.checkpoints() >= 2)
    job = embedding(made)
    assert (job["state"], job["counts"]["files"], job["request"]["paths"]) == ("running", 2, [])
    assert f":{running.pid}:" in job["by"]
    code, out, _ = made.run("jobs", "list")
    assert code == 0
    assert "all media again, pack offline" in out
    assert "reembed: all media" in made.run("jobs", "show", job["id"])[1]
    assert made.run("jobs", "pause", job["id"])[0] == 0
    _, said = running.communicate(timeout=LIMIT)
    assert running.returncode == 0, said
    assert said.splitlines()[-1].startswith(f"job {job['id']} is paused: reelseek jobs resume {job['id']}")
    kept = made.checkpoints()
    assert 2 <= kept < CHAPTERS

    resuming = made.start("jobs", "resume", job["id"], slow=SLOW)
    made.until(lambda: made.checkpoints() > kept)
    stamps = {path: path.stat().st_mtime_ns for path in (made.folder / "lib" / "staging").glob("*/chapter-*.npz")}
    resuming.kill()
    _, said = resuming.communicate()
    assert "2 files to embed" in said
    assert embedding(made)["state"] == "interrupted"

    again = made.start(*HUES, slow=SLOW)  # asked for anew it is the same job
    made.until(lambda: made.checkpoints() > len(stamps))
    now = {path: path.stat().st_mtime_ns for path in (made.folder / "lib" / "staging").glob("*/chapter-*.npz")}
    assert stamps.items() <= now.items(), "what was encoded is not encoded again"
    again.kill()
    code, _, said = made.run("jobs", "resume", job["id"])
    assert code == 0, said
    job = embedding(made)
    assert (job["state"], job["counts"]["indexed"], job["counts"]["files"]) == ("done", 2, 2)
    assert made.held() == before, "until somebody says so the old one is searched"
    other = Desk(tmp_path / "other")
    other.folder.mkdir()
    assert other.run("index", str(made.clips))[0] == other.run(*HUES)[0] == 0
    assert switched(made) == switched(other)


def test_embedding_again_that_is_cancelled_leaves_the_library_as_it_was(made: Desk) -> None:
    before = made.held()
    running = made.start(*HUES, slow=SLOW)
    made.until(lambda: made.checkpoints() >= 2)
    job = embedding(made)
    assert made.asked("jobs", "cancel", job["id"])[1]["jobs"][0]["state"] == "cancelled"
    _, said = running.communicate(timeout=LIMIT)
    assert said.splitlines()[-1].startswith(f"job {job['id']} was cancelled")
    assert made.held() == before
    code, _, said = made.run("jobs", "resume", job["id"])
    assert (code, "was cancelled" in said, "reelseek reembed" in said) == (1, True, True)
    assert made.run("reembed", "--drop", "new")[0] == 0
    assert made.held() == before


def test_what_failed_to_be_embedded_is_tried_again_by_its_job(made: Desk) -> None:
    (made.clips / "b.synthetic").rename(made.folder / "away")
    code, found = made.asked(*HUES)
    assert (code, [Path(one["path"]).name for one in found["run"]["failed"]]) == (0, ["b.synthetic"])
    assert (found["run"]["job"], found["run"]["stopped"]) == (embedding(made)["id"], "")
    (made.folder / "away").rename(made.clips / "b.synthetic")
    code, told = made.asked("jobs", "retry", found["run"]["job"])
    assert (code, [job["counts"]["indexed"] for job in told["jobs"]]) == (0, [1])
    assert made.asked("reembed", "--status")[1]["lacking"] == []


def test_what_is_no_way_to_another_model_is_no_job(made: Desk) -> None:
    before = made.jobs()
    code, _, said = made.run("reembed", "--pack", "offline")
    assert (code, len(said.splitlines())) == (1, 1)
    assert "is of recipe" in said
    assert made.jobs() == before
    assert made.run("jobs", "retry", "--quarantined")[0] == 3, "there is nothing of it to try again"
