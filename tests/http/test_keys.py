"""Who may ask: keys, scopes, collections, rates, and requests that come twice."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import clips
import httpx
import pytest
from serving import CLEAR, Served, problem, serving

from api import Library, keys
from api.main import main
from retriever.settings import Settings
from retriever.types import Metadata


@pytest.fixture
def made(folder: Path) -> dict[str, str]:
    """A library with a collection `ours` and one `theirs`, and keys by name."""
    films = {"ours": ["red", "blue"], "theirs": ["green", "yellow"]}
    with Library.open("lib") as library:
        for collection, colours in films.items():
            film = clips.film(folder / f"{collection}.mp4", colours)
            library.index([film], metadata=Metadata(title=f"{collection}, secret", collection=collection))
        return {
            name: keys.make(library.store, name, scope, collection)[1]
            for name, scope, collection in (
                ("reader", "search", ""),
                ("writer", "write", ""),
                ("boss", "admin", ""),
                ("tenant", "write", "ours"),
            )
        }


@pytest.fixture
def locked(folder: Path, made: dict[str, str]) -> Iterator[Served]:
    settings = Settings(roots=str(folder / "clips"))
    with serving(partial(Library.open, folder / "lib"), settings) as served:
        yield served


def by(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def asks(served: Served, key: str, query: str = "red", **more: Any) -> httpx.Response:
    return served.client.post("/v1/search", json={"query": query, "min_confidence": 0, **more}, headers=by(key))


def operations(served: Served) -> list[tuple[str, str]]:
    """Everything that the server says it does."""
    described = served.client.get("/openapi.json").json()
    return [(method.upper(), path) for path, methods in described["paths"].items() for method in methods]


OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("POST", "/v1/session"), ("DELETE", "/v1/session")}
OPEN |= {("OPTIONS", "/v1/uploads")}
"""What needs no key, or is about getting one, or says how to send."""


def test_nothing_is_told_without_a_key(locked: Served) -> None:
    wrong = ("", "Bearer", "Bearer rs_beef_nothing", "Basic cm9vdDpyb290", f"Bearer {'x' * 5_000}")
    for method, path in operations(locked):
        if (method, path) in OPEN:
            continue
        at = re.sub(r"\{\w+\}", "beef", path)
        answer = locked.client.request(method, at, json={"query": "red"})
        assert answer.status_code == 401, (method, path)
        assert method == "HEAD" or problem(answer, 401)["title"] == "a key is needed"
        assert answer.headers["www-authenticate"] == "Bearer"
    for value in wrong:
        problem(locked.client.get("/v1/media", headers={"authorization": value}), 401)
    assert locked.client.get("/").status_code == 200  # the page, which has a place for one
    assert locked.client.get("/healthz").status_code == 200


def test_a_scope_is_what_a_key_may_do(locked: Served, made: dict[str, str]) -> None:
    reading, writing, ruling = by(made["reader"]), by(made["writer"]), by(made["boss"])
    (first, *_) = locked.client.get("/v1/media", headers=reading).json()["media"]
    at = f"/v1/media/{first['id']}"
    assert asks(locked, made["reader"]).status_code == 200
    for method, path, body in (
        ("PATCH", at, {"title": "x"}),
        ("DELETE", at, None),
        ("POST", "/v1/media", None),
        ("POST", "/v1/jobs/beef/pause", None),
    ):
        assert "scope write" in problem(locked.client.request(method, path, json=body, headers=reading), 403)["detail"]
    assert locked.client.patch(at, json={"title": "x"}, headers=writing).status_code == 200
    for headers in (reading, writing):
        problem(locked.client.post("/v1/jobs", json={"paths": ["/x"]}, headers=headers), 403)
        problem(locked.client.get("/metrics", headers=headers), 403)
    assert locked.client.post("/v1/jobs", json={"paths": [str(Path("clips").absolute())]}, headers=ruling).is_success
    assert locked.client.get("/metrics", headers=ruling).is_success


def test_a_tenant_sees_its_collection_and_nothing_else(locked: Served, made: dict[str, str]) -> None:
    """Of every part of the server, whatever is asked."""
    reading, tenant = by(made["reader"]), by(made["tenant"])
    everything = {
        one["metadata"]["collection"]: one for one in locked.client.get("/v1/media", headers=reading).json()["media"]
    }
    theirs, ours = everything["theirs"], everything["ours"]
    foreign = [one for one in locked.client.get("/v1/jobs", headers=reading).json()["jobs"] if "theirs" in str(one)]
    assert foreign
    said: list[httpx.Response] = []
    for query in (
        "green",
        f"like:{theirs['id']}@0-1",
        f"like:{theirs['path']}@0-1",
        "green in:theirs",
        f"media:{theirs['id']}",
    ):
        for more in ({}, {"filters": {"collection": "theirs"}}, {"filters": {"path": "theirs"}}, {"copies": "show"}):
            said.append(asks(locked, made["tenant"], query, **more))
    said.append(locked.client.get(f"/v1/similar/{theirs['id']}@0.00-1.00", headers=tenant))
    said.append(locked.client.post("/v1/search/batch", json={"searches": [{"query": "green"}]}, headers=tenant))
    for path in (
        "",
        "/stream",
        "/thumbnail",
        "/clip?start=0&end=1",
        "/transcript.vtt",
        "/written.vtt",
        "/timeline?query=a",
    ):
        said.append(problem_of(locked.client.get(f"/v1/media/{theirs['id']}{path}", headers=tenant), 404))
    said.append(problem_of(locked.client.patch(f"/v1/media/{theirs['id']}", json={"title": "x"}, headers=tenant), 404))
    said.append(problem_of(locked.client.delete(f"/v1/media/{theirs['id']}", headers=tenant), 404))
    for query in ({}, {"collection": "theirs"}, {"path": "theirs"}):
        said.append(locked.client.get("/v1/media", params=query, headers=tenant))
    for path in ("", "/events"):
        said.append(problem_of(locked.client.get(f"/v1/jobs/{foreign[0]['id']}{path}", headers=tenant), 404))
    for verb in ("pause", "resume", "cancel"):
        said.append(problem_of(locked.client.post(f"/v1/jobs/{foreign[0]['id']}/{verb}", headers=tenant), 404))
    for path in ("/v1/jobs", "/v1/quarantine", "/v1/library", "/v1/session"):
        said.append(locked.client.get(path, headers=tenant))
    asked_for = {theirs["id"], theirs["path"]}  # what came from the tenant itself comes back in its errors
    for answer in said:
        text = answer.text
        assert "theirs, secret" not in text
        if answer.is_success:
            assert not any(one in strip(text, answer) for one in asked_for), answer.request.url
    assert asks(locked, made["tenant"]).json()["moments"][0]["media"]["id"] == ours["id"]
    assert locked.client.get(f"/v1/media/{ours['id']}/stream", headers=tenant).is_success
    assert [one["id"] for one in locked.client.get("/v1/media", headers=tenant).json()["media"]] == [ours["id"]]
    assert (
        locked.client.get(f"/v1/media/{theirs['id']}", headers=reading).json()["metadata"]["title"] == "theirs, secret"
    )


def problem_of(answer: httpx.Response, status: int) -> httpx.Response:
    problem(answer, status)
    return answer


def strip(text: str, answer: httpx.Response) -> str:
    """Without the question itself, which an answer repeats."""
    document = answer.json()
    for one in document.get("answers", [document]):
        one.pop("query", None), one.pop("understood", None)
    return str(document)


def test_what_a_tenant_brings_is_in_its_collection(locked: Served, made: dict[str, str], tmp_path: Path) -> None:
    tenant = by(made["tenant"])
    film = {"file": ("new.mp4", clips.film(tmp_path / "new.mp4", ["yellow"]).read_bytes())}
    problem(locked.client.post("/v1/media", files=film, data={"collection": "theirs"}, headers=tenant), 403)
    answer = locked.client.post("/v1/media", files=film, headers=tenant)
    job = answer.json()["job"]
    assert job["request"]["metadata"]["collection"] == "ours"
    with locked.client.stream("GET", f"/v1/jobs/{job['id']}/events", headers=tenant) as told:
        assert '"done"' in told.read().decode().strip().splitlines()[-1]
    (new,) = (
        one for one in locked.client.get("/v1/media", headers=tenant).json()["media"] if one["path"].endswith("new.mp4")
    )
    assert new["metadata"]["collection"] == "ours"
    problem(locked.client.patch(f"/v1/media/{new['id']}", json={"collection": "theirs"}, headers=tenant), 403)
    for headers, text in ((tenant, b"no film"), (by(made["writer"]), b"none either")):
        bad = {"file": ("bad.mp4", text)}
        job = locked.client.post("/v1/media", files=bad, headers=headers).json()["job"]["id"]
        with locked.client.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as told:
            told.read()
    assert len(locked.client.get("/v1/quarantine", headers=tenant).json()["quarantined"]) == 1
    assert len(locked.client.get("/v1/quarantine", headers=by(made["reader"])).json()["quarantined"]) == 2


def test_a_page_keeps_a_key_where_no_script_finds_it(locked: Served, made: dict[str, str]) -> None:
    with httpx.Client(base_url=locked.url, timeout=60, verify=CLEAR) as browser:
        problem(browser.post("/v1/session", json={"key": "rs_beef_wrong"}), 401)
        begun = browser.post("/v1/session", json={"key": made["tenant"]})
        assert begun.json() == {"name": "tenant", "scopes": ["search", "write"], "collection": "ours"}
        cookie = begun.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert browser.get("/v1/media").is_success
        assert browser.get("/v1/session").json()["name"] == "tenant"
        evil = {"origin": "https://evil.example"}
        problem(browser.delete(f"/v1/media/{browser.get('/v1/media').json()['media'][0]['id']}", headers=evil), 403)
        assert browser.delete("/v1/session").status_code == 204
        problem(browser.get("/v1/media"), 401)


def test_a_revoked_key_is_none_and_the_last_one_opens_nothing_up(
    locked: Served, made: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "KNOWN_S", 0.0)
    assert asks(locked, made["reader"]).is_success
    assert main(["keys", "revoke", "reader"]) == 0
    problem(asks(locked, made["reader"]), 401)
    assert asks(locked, made["writer"]).is_success
    for name in ("writer", "boss", "tenant"):
        assert main(["keys", "revoke", name]) == 0
    assert locked.client.get("/v1/media").is_success  # of its own machine alone, as before
    locked.app.state.serving.settings = Settings(host="0.0.0.0")
    problem(locked.client.get("/v1/media"), 401)
    capsys.readouterr()


def test_who_guesses_is_not_listened_to(locked: Served, made: dict[str, str]) -> None:
    for number in range(20):
        problem(locked.client.get("/v1/media", headers=by(f"rs_{number:08x}_guess")), 401)
    assert problem(locked.client.get("/v1/media", headers=by("rs_beef_guess")), 429)["title"] == "too many wrong keys"
    problem(locked.client.post("/v1/session", json={"key": "rs_beef_guess"}), 429)


def test_a_key_asks_as_often_as_it_may(locked: Served, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library.open("lib") as library:
        slow = keys.make(library.store, "slow", "search", rate=0.5)[1]
    monkeypatch.setattr(keys, "KNOWN_S", -1.0)
    assert asks(locked, slow).is_success
    answer = asks(locked, slow)
    assert problem(answer, 429)["detail"] == "this key may ask 0.5 times a second"
    assert 1 <= int(answer.headers["retry-after"]) <= 2


# --------------------------------------------------------------------------------------------------- the command line


def test_keys_are_made_listed_and_revoked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "add", "phone", "--create", "--collection", "news", "--rate", "2.5"]) == 0
    text = capsys.readouterr().out.strip()
    assert re.fullmatch(r"rs_[0-9a-f]{8}_[\w-]{43}", text)
    assert main(["keys", "list"]) == 0
    told = capsys.readouterr().out
    assert "phone" in told
    assert "search, collection news, 2.5 a second" in told
    assert text not in told
    assert text.rpartition("_")[2].encode() not in b"".join(file.read_bytes() for file in Path("lib").glob("catalog*"))
    for words, complaint in (
        (["add", "phone"], "there is a key named 'phone' already"),
        (["add", "x", "--scope", "god"], "--scope is 'god'; it wants search, write, admin"),
        (["add", "x", "--rate", "fast"], "--rate is 'fast'"),
        (["add", "x", "--rate", "-1"], "--rate is -1"),
        (["add", " "], "a key wants a name"),
        (["add", "x", "--scope", "admin", "--collection", "news"], "leave one out"),
        (["revoke", "nobody"], "there is no key 'nobody'"),
    ):
        assert main(["keys", *words]) == 2
        assert complaint in capsys.readouterr().err
    assert main(["keys", "revoke", text.split("_")[1]]) == 0
    capsys.readouterr()
    assert main(["keys", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"keys": [], "quotas": []}
    assert main(["keys", "list"]) == 0
    assert capsys.readouterr().err.startswith("0 keys: ")


def test_elsewhere_nobody_is_served_without_a_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--create", "--host", "0.0.0.0"]) == 2
    assert "reelseek keys add NAME" in capsys.readouterr().err


def test_who_reads_keys_by_id_takes_as_long_for_each(folder: Path) -> None:
    """What is compared is always two digests."""
    with Library.open("lib") as library:
        key, text = keys.make(library.store, "a", "search")
        ring = keys.Ring(library.store)
        assert ring.of(text) == key
        secret = text.rpartition("_")[2]
        for wrong in (
            "",
            "_",
            "rs",
            f"xx_{key.id}_{secret}",
            f"rs__{secret}",
            f"rs_{key.id}_",
            f"rs_{key.id}_{secret[:-1]}",
        ):
            assert ring.of(wrong) is None


# ------------------------------------------------------------------------------------------- requests that come twice


def test_what_comes_twice_is_done_once(own: Served, folder: Path) -> None:
    film = clips.film(folder / "clips" / "third.mp4", ["yellow"])
    headers, body = {"idempotency-key": "one"}, {"paths": [str(film)]}
    first = own.client.post("/v1/jobs", json=body, headers=headers)
    own.over(first.json()["job"]["id"])
    again = own.client.post("/v1/jobs", json=body, headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())
    problem(own.client.post("/v1/jobs", json={"paths": [str(folder / "clips")]}, headers=headers), 422)
    problem(own.client.post("/v1/jobs", json=body, headers={"idempotency-key": "x" * 300}), 422)
    form = {"file": ("a.mp4", clips.film(folder / "other.mp4", ["yellow", "red"]).read_bytes())}
    sent = [own.client.post("/v1/media", files=form, headers={"idempotency-key": "two"}) for _ in range(2)]
    assert sent[0].json() == sent[1].json()
    assert len(list(Path("lib/uploads/media").glob("*/*"))) == 1


def test_what_failed_may_be_tried_again(own: Served, folder: Path) -> None:
    headers, film = {"idempotency-key": "one"}, folder / "clips" / "late.mp4"
    problem(own.client.post("/v1/jobs", json={"paths": [str(film)]}, headers=headers), 422)
    clips.film(film, ["yellow"])
    assert own.client.post("/v1/jobs", json={"paths": [str(film)]}, headers=headers).status_code == 202


def test_while_somebody_is_at_it_nobody_else_is(own: Served, folder: Path) -> None:
    body = {"paths": [str(folder / "clips")]}
    with Library.open("lib") as library:
        assert library.store.catalog.claim("", "one", "something else") is None
    problem(own.client.post("/v1/jobs", json=body, headers={"idempotency-key": "one"}), 422)
