"""`reelseek jobs`, and what `reelseek index` leaves for it."""

import json
from dataclasses import replace
from pathlib import Path

import clips
import fakes
import pytest

from api import exits, parts
from api.main import main
from api.service import Library
from retriever.errors import WeightsError
from retriever.types import RunState, Wish

Captured = pytest.CaptureFixture[str]


def call(capsys: Captured, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def asked(capsys: Captured, *words: str) -> tuple[int, dict]:
    code, out, _ = call(capsys, *words, "--json")
    return code, json.loads(out)


def jobs(capsys: Captured) -> list[dict]:
    return asked(capsys, "jobs", "list", "--all")[1]["jobs"]


class Choking(fakes.Colours):
    def encode_frames(self, frames, spans):
        raise RuntimeError("out of memory")


@pytest.fixture
def choking(no_weights, media, capsys, monkeypatch) -> Path:
    """`first.mp4` and `second.mp4` are in quarantine, for want of memory that is there again."""
    whole = parts.encoders
    with monkeypatch.context() as patch:
        patch.setattr(parts, "encoders", lambda *given: replace(whole(*given), vision={"colours": Choking()}))
        assert call(capsys, "index", "clips", "--tag", "sea")[0] == exits.OK
    assert len(asked(capsys, "media", "--quarantined")[1]["quarantined"]) == 2
    return media


def test_every_run_is_a_job_and_done_ones_are_listed_when_asked(indexed, capsys):
    code, out, err = call(capsys, "jobs", "list")
    assert (code, out, err) == (exits.NOTHING, "", "0 jobs, 1 more with --all\n")
    code, out, _ = call(capsys, "jobs", "list", "--all")
    (job,) = jobs(capsys)
    assert code == exits.OK
    head, line = out.splitlines()
    assert head.split() == ["job", "state", "files", "asked", "paths"]
    assert line.split()[:3] == [job["id"], "done", "3/3"]
    assert job["request"]["paths"] == [str(indexed)]
    assert job["created_at"] <= job["began_at"] <= job["ended_at"]
    assert asked(capsys, "index", "clips")[1]["job"] == jobs(capsys)[-1]["id"]


def test_show_tells_all_of_one_by_the_beginning_of_its_id(indexed, capsys):
    (job,) = jobs(capsys)
    code, out, _ = call(capsys, "jobs", "show", job["id"][:4])
    assert code == exits.OK
    assert out.splitlines()[0].split() == ["job", job["id"]]
    assert "  clips" in out.splitlines()


@pytest.mark.parametrize("verb", ["show", "pause", "resume", "cancel", "retry"])
def test_an_unknown_id_is_one_clear_line(indexed, capsys, verb):
    code, out, err = call(capsys, "jobs", verb, "beef")
    assert (code, out) == (exits.ERROR, "")
    assert err == "reelseek: beef is no job of this library; `reelseek jobs list --all` lists them\n"


def test_a_wish_is_told_of_while_somebody_is_there_to_hear_it(indexed, capsys):
    with Library.open("lib") as library:
        (job,) = library.jobs()
        catalog = library.store.catalog
        catalog.write_run(replace(job.record, state=RunState.FAILED))
        catalog.wish(job.record.id, Wish.PAUSE)  # which came too late
        assert "is to pause" not in call(capsys, "jobs", "list")[1]
        catalog.lease(job.record.lease, "elsewhere:1:1", 60)
        assert "is to pause" in call(capsys, "jobs", "list")[1]


def test_numbers_are_those_so_far_while_files_are_looked_at(indexed, capsys):
    with Library.open("lib") as library:
        (job,) = library.jobs()
        assert (job.record.counts["looked"], job.record.counts["found"]) == (3, 3)
        counts = {**job.record.counts, "looked": 512, "found": 5000, "files": 340, "indexed": 12}
        library.store.catalog.write_run(replace(job.record, state=RunState.PAUSED, counts=counts))
    assert "12/340 so far, 512 of 5,000 files looked at" in call(capsys, "jobs", "list")[1]


def test_what_is_over_is_left_as_it_is(indexed, capsys):
    (job,) = jobs(capsys)
    for verb in ("pause", "cancel", "resume", "pause"):
        code, _, err = call(capsys, "jobs", verb, job["id"])
        assert (code, err) == (exits.OK, f"job {job['id']} is done\n")
    assert jobs(capsys) == [job]


def test_without_a_library_there_are_no_jobs(no_weights, capsys):
    code, out, err = call(capsys, "jobs", "list")
    assert (code, out, len(err.splitlines())) == (exits.ERROR, "", 1)
    assert not Path("lib").exists()


def test_what_cannot_be_asked_for_is_no_job(no_weights, media, capsys):
    assert call(capsys, "index", "nowhere")[0] == exits.ERROR
    assert call(capsys, "index", "clips", "--pack", "onlin")[0] == exits.USAGE
    assert jobs(capsys) == []


def test_a_run_that_fails_says_why_and_can_be_resumed(no_weights, media, capsys):
    code, _, err = call(capsys, "index", "clips", "--least-free", "1000000TB")
    assert (code, len(err.splitlines())) == (exits.ERROR, 2)
    assert "make room" in err.splitlines()[-1]
    (job,) = jobs(capsys)
    assert (job["state"], job["error"]) == ("failed", err.splitlines()[-1].removeprefix("reelseek: "))
    assert call(capsys, "jobs", "resume", job["id"])[0] == exits.ERROR, "the same was asked for again"
    assert call(capsys, "index", "clips", "--least-free", "1000000TB")[0] == exits.ERROR
    assert [each["id"] for each in jobs(capsys)] == [job["id"]], "which is the same job"
    (media / "list.jsonl").write_text("{")
    assert call(capsys, "index", "clips/list.jsonl")[0] == exits.ERROR
    (media / "list.jsonl").write_text('{"path": "tone.wav"}')
    code, told = asked(capsys, "jobs", "resume", jobs(capsys)[-1]["id"])
    assert (code, told["jobs"][0]["state"], told["jobs"][0]["error"]) == (exits.OK, "done", "")


def test_a_run_of_bad_files_alone_failed(no_weights, tmp_path, capsys):
    (tmp_path / "empty.mp4").touch()
    assert call(capsys, "index", "empty.mp4")[0] == exits.ERROR
    assert [(job["state"], job["error"]) for job in jobs(capsys)] == [("failed", "every file was set aside (1)")]


def test_files_of_a_job_are_taken_out_of_quarantine_and_tried_again(choking, capsys):
    (job,) = jobs(capsys)
    assert asked(capsys, "index", "clips")[1]["indexed"] == [], "their time has not come"
    code, told = asked(capsys, "jobs", "retry", job["id"])
    assert code == exits.OK
    (new,) = told["jobs"]
    assert (new["id"] != job["id"], new["state"], new["counts"]["indexed"]) == (True, "done", 2)
    assert [Path(path).name for path in new["request"]["only"]] == ["first.mp4", "second.mp4"]
    _, listed = asked(capsys, "media")
    assert ({tuple(item["metadata"]["tags"]) for item in listed["media"]}, listed["quarantined"]) == ({("sea",)}, [])
    assert call(capsys, "jobs", "retry", job["id"])[::2] == (exits.NOTHING, "nothing to try again\n")


def test_files_in_quarantine_are_tried_again_by_path(choking, capsys):
    code, told = asked(capsys, "jobs", "retry", "--quarantined", "clips/second.mp4")
    assert (code, told["jobs"][0]["counts"]["files"]) == (exits.OK, 1)
    assert [Path(item["path"]).name for item in asked(capsys, "media")[1]["quarantined"]] == ["first.mp4"]
    assert asked(capsys, "jobs", "retry", "--quarantined")[1]["jobs"][0]["counts"]["indexed"] == 1
    assert call(capsys, "jobs", "retry", "--quarantined")[0] == exits.NOTHING


def test_a_retry_keeps_what_a_list_said_of_a_file(no_weights, media, capsys, monkeypatch):
    Path("list.csv").write_text("path,title,tags\nclips/second.mp4,The second,a;b\n")
    whole = parts.encoders
    with monkeypatch.context() as patch:
        patch.setattr(parts, "encoders", lambda *given: replace(whole(*given), vision={"colours": Choking()}))
        assert call(capsys, "index", "list.csv")[0] == exits.ERROR
    assert call(capsys, "jobs", "retry", "--quarantined")[0] == exits.OK
    (item,) = asked(capsys, "media")[1]["media"]
    assert (item["metadata"]["title"], item["metadata"]["tags"]) == ("The second", ["a", "b"])


def test_a_job_that_the_library_refused_is_not_taken_for_a_retry(choking, capsys):
    assert call(capsys, "index", "clips", "--budget", "0.5")[0] == exits.ERROR
    old, refused = jobs(capsys)
    assert (refused["state"], "made with recipe" in refused["error"]) == ("failed", True)
    code, told = asked(capsys, "jobs", "retry", "--quarantined")
    assert (code, [(job["state"], job["counts"]["indexed"]) for job in told["jobs"]]) == (exits.OK, [("done", 2)])
    assert {tuple(item["metadata"]["tags"]) for item in asked(capsys, "media")[1]["media"]} == {("sea",)}, old["id"]


def test_a_retry_with_a_model_that_is_gone_leaves_quarantine_as_it_is(choking, capsys, monkeypatch):
    def gone(*_: object) -> None:
        raise WeightsError("the model is not here")

    monkeypatch.setattr(parts, "recipe", gone)
    assert call(capsys, "jobs", "retry", "--quarantined")[0] == exits.ERROR
    assert len(asked(capsys, "media", "--quarantined")[1]["quarantined"]) == 2
    assert len(jobs(capsys)) == 1


def test_a_file_of_no_job_leaves_quarantine_all_the_same(choking, capsys):
    with Library.open("lib") as library:
        (job,) = library.jobs()
        asked_for = {**json.loads(job.record.asked), "paths": ["/elsewhere"]}
        library.store.catalog.write_run(replace(job.record, asked=json.dumps(asked_for)))
    code, _, err = call(capsys, "jobs", "retry", "--quarantined")
    assert (code, len(err.splitlines())) == (exits.OK, 3)
    assert "clips/first.mp4 is of no job that is remembered" in err
    assert len(asked(capsys, "index", "clips")[1]["indexed"]) == 2


def test_a_job_of_a_newer_version_is_listed_and_not_resumed(indexed, capsys):
    with Library.open("lib") as library:
        (job,) = library.jobs()
        newer = {**json.loads(job.record.asked), "moods": ["happy"]}
        library.store.catalog.write_run(replace(job.record, id="0123", asked=json.dumps(newer), state=RunState.PAUSED))
    code, out, _ = call(capsys, "jobs", "list")
    assert (code, out.splitlines()[1].split()[:2]) == (exits.OK, ["0123", "paused"])
    code, _, err = call(capsys, "jobs", "resume", "0123")
    assert (code, len(err.splitlines())) == (exits.ERROR, 1)
    assert "asks for moods" in err


def test_retry_wants_one_or_the_other(indexed, capsys):
    for words in ([], ["beef", "--quarantined"]):
        code, out, err = call(capsys, "jobs", "retry", *words)
        assert (code, out, len(err.splitlines())) == (exits.USAGE, "", 1)


def test_limits_are_settings(no_weights, media, capsys, monkeypatch):
    monkeypatch.setenv("REELSEEK_MOST_SECONDS", "3")
    told = asked(capsys, "index", "clips")[1]["quarantined"]
    assert [Path(entry["path"]).name for entry in told] == ["first.mp4", "tone.wav"]
    assert "--most-seconds takes 3" in told[0]["reason"]
    assert len(asked(capsys, "index", "clips", "--most-seconds", "0")[1]["indexed"]) == 2
    assert call(capsys, "index", "clips", "--watch", "--every", "0")[0] == exits.USAGE


def test_the_jobs_are_python_too(no_weights, media):
    with Library.open("lib") as library:
        library.index([media])
        (job,) = library.jobs()
        assert library.job(job.record.id).state == "done"
        assert library.pause(job.record.id) == library.cancel(job.record.id) == job
        assert library.resume(job.record.id) == (job, None)
        assert library.retry() == ([], [])
        clips.film(media / "third.mp4", ["white"])
        assert [len(library.index([media]).indexed), len(library.jobs())] == [1, 2]


def test_a_pause_is_heard_while_files_are_listed(no_weights, media, capsys, monkeypatch):
    from indexer import jobs as posts
    from indexer import places

    monkeypatch.setattr(posts, "LOOK", 0.0)
    walked, seen = places.walked, []

    def walking(folder):
        for place, stat in walked(folder):
            seen.append(place)
            with Library.open("lib") as library:
                (job,) = library.jobs()
                library.store.catalog.wish(job.record.id, Wish.PAUSE)
            yield place, stat

    monkeypatch.setattr(places, "walked", walking)
    code, _, err = call(capsys, "index", "clips", "--prune")
    assert (code, len(seen)) == (exits.OK, 1)
    assert "is paused" in err
    monkeypatch.setattr(places, "walked", walked)
    (job,) = jobs(capsys)
    assert job["state"] == "paused"
    assert asked(capsys, "jobs", "resume", job["id"])[1]["jobs"][0]["counts"]["indexed"] == 3
