"""Webhooks: whoever is told hears of what happens, signed, once, and again where it did not listen."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import clips
import pytest
from receivers import Receiver, listening
from serving import Served, problem, serving, strict

from api import Library, courier, hooks, keys, signing, wire
from api.client import ReelseekClient, WrongSignature, received
from api.main import main
from api.outward import Rules
from retriever.errors import BadSettings
from retriever.settings import Settings
from retriever.types import RunRecord, RunState

ROOT = Path(__file__).parents[2]
HERE = "127.0.0.1,::1"
SECRET = "whsec_" + "QUJD" * 10


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for minutes."""
    monkeypatch.setattr(courier, "LOOK_S", 0.02)
    monkeypatch.setattr(courier, "WAITS", (0.02, 0.02, 0.02))


@pytest.fixture
def told(folder: Path) -> Iterator[Served]:
    """A served library that may tell receivers of this machine."""
    with Library.open("lib") as library:
        library.index([folder / "clips"], jobs=1)
    settings = Settings(roots=str(folder / "clips"), allow_networks=HERE)
    with serving(partial(Library.open, folder / "lib"), settings) as served:
        yield served


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as found:
        yield found


def set_up(served: Served, url: str, **more: Any) -> tuple[str, str]:
    """Id and secret of a new webhook."""
    answer = served.client.post("/v1/webhooks", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    strict(wire.NewWebhook, answer.json())
    return answer.json()["webhook"]["id"], answer.json()["secret"]


def fared(served: Served, hook: str, state: str) -> dict[str, Any]:
    """The newest message to a webhook, once it is in that state."""
    while True:
        answer = served.client.get(f"/v1/webhooks/{hook}/deliveries").json()
        strict(wire.Deliveries, answer)
        if answer["deliveries"] and answer["deliveries"][0]["state"] == state:
            newest: dict[str, Any] = answer["deliveries"][0]
            return newest


def test_what_happens_is_told_and_can_be_trusted(told: Served, folder: Path, receiver: Receiver) -> None:
    _, secret = set_up(told, receiver.url)
    film = clips.film(folder / "clips" / "third.mp4", ["yellow"])
    job = told.client.post("/v1/jobs", json={"paths": [str(film)]}).json()["job"]["id"]
    came, done = receiver.wait(2)
    for message in (came, done):
        assert signing.verify(secret, message.headers, message.body) == message.id
        assert message.headers["content-type"] == "application/json"
    assert (came.said["type"], done.said["type"]) == ("media.indexed", "job.done")
    assert came.said["data"]["media"]["path"] == str(film)
    assert done.said["data"]["job"]["id"] == job
    assert done.said["data"]["job"]["state"] == "done"
    assert done.said["timestamp"].endswith("Z")
    told.client.delete(f"/v1/media/{came.said['data']['media']['id']}")
    gone = receiver.wait(3)[2].said
    assert (gone["type"], gone["data"]["media"]["path"]) == ("media.deleted", str(film))
    assert len({message.id for message in receiver.got}) == 3


def test_a_job_tells_whom_it_was_told_to(told: Served, folder: Path, receiver: Receiver) -> None:
    film = clips.film(folder / "clips" / "third.mp4", ["yellow"])
    made = told.client.post("/v1/jobs", json={"paths": [str(film)], "webhook": receiver.url}).json()
    strict(wire.Accepted, made)
    (message,) = receiver.wait(1)
    assert signing.verify(made["webhook"]["secret"], message.headers, message.body)
    assert message.said["data"]["job"]["id"] == made["job"]["id"]
    form = {"webhook": receiver.url, "webhook_secret": SECRET}
    bad = told.client.post("/v1/media", files={"file": ("bad.mp4", b"no film")}, data=form).json()
    strict(wire.Accepted, bad)
    assert bad["webhook"]["secret"] is None
    last = receiver.wait(2)[1]
    assert signing.verify(SECRET, last.headers, last.body)
    assert (last.said["type"], last.said["data"]["job"]["id"]) == ("job.failed", bad["job"]["id"])
    hook = next(one for one in told.client.get("/v1/webhooks").json()["webhooks"] if one["job"] == made["job"]["id"])
    assert hook["last"]["state"] in ("waiting", "delivered")
    assert "secret" not in hook


def test_a_collection_is_told_of_itself_alone(told: Served, folder: Path, receiver: Receiver) -> None:
    set_up(told, receiver.url, collection="news", events=["media.indexed", "job.done"])
    for number, collection in enumerate(("sport", "news")):
        film = clips.film(folder / "clips" / f"more{number}.mp4", ["yellow", ("red", "green")[number]])
        body = {"paths": [str(film)], "collection": collection}
        told.over(told.client.post("/v1/jobs", json=body).json()["job"]["id"])
    came, done = receiver.wait(2)
    assert came.said["data"]["media"]["metadata"]["collection"] == "news"
    assert done.said["data"]["job"]["request"]["metadata"]["collection"] == "news"


def test_who_does_not_listen_is_told_again_and_then_no_more(told: Served) -> None:
    with listening(500, (302, {"Location": "http://127.0.0.1/elsewhere"}), 204) as receiver:
        hook, secret = set_up(told, receiver.url)
        told.client.post(f"/v1/webhooks/{hook}/ping")
        messages = receiver.wait(3)
        assert len({message.id for message in messages}) == 1
        assert len({message.body for message in messages}) == 1
        for message in messages:
            signing.verify(secret, message.headers, message.body)
        last = fared(told, hook, "delivered")
        assert (last["tries"], last["status"], last["told"]) == (3, 204, "204, taken")
        receiver.answers[:] = [500] * 9
        told.client.post(f"/v1/webhooks/{hook}/ping")
        last = fared(told, hook, "failed")
        assert (last["tries"], last["told"]) == (4, "500, not taken; given up")
        receiver.answers.clear()
        again = told.client.post(f"/v1/webhooks/{hook}/deliveries/{last['id']}/again")
        strict(wire.Delivery, again.json())
        assert fared(told, hook, "delivered")["id"] == last["id"]


def test_where_no_job_came_about_nobody_waits_for_word_of_it(told: Served, folder: Path, receiver: Receiver) -> None:
    """Also where the catalog had the webhook already."""
    asked = {"paths": [str(folder / "clips")], "webhook": receiver.url}
    with closing(sqlite3.connect(folder / "lib" / "catalog.sqlite")) as catalog:
        catalog.execute("CREATE TRIGGER no_more BEFORE INSERT ON run BEGIN SELECT RAISE(ABORT, 'no more'); END")
        problem(told.client.post("/v1/jobs", json=asked), 500)
        catalog.execute("DROP TRIGGER no_more")
    assert told.client.get("/v1/webhooks").json()["webhooks"] == []
    job = told.client.post("/v1/jobs", json=asked).json()["job"]["id"]
    assert [one["job"] for one in told.client.get("/v1/webhooks").json()["webhooks"]] == [job]
    told.over(job)


def test_who_wants_no_more_is_left_alone(told: Served) -> None:
    with listening(410) as receiver:
        hook, _ = set_up(told, receiver.url)
        told.client.post(f"/v1/webhooks/{hook}/ping")
        assert fared(told, hook, "failed")["status"] == 410
        while told.client.get(f"/v1/webhooks/{hook}").json()["active"]:
            pass


def test_what_was_said_last_holds(told: Served, receiver: Receiver) -> None:
    """A receiver that wants no more switches its own address off, and undoes nothing that was said meanwhile."""
    with listening(410, 410) as gone:
        changes: list[tuple[dict[str, Any], bool]] = [({"events": ["job.done"]}, False), ({"url": receiver.url}, True)]
        for number, (change, active) in enumerate(changes):
            gone.stalls = threading.Event()
            hook, _ = set_up(told, gone.url)
            told.client.post(f"/v1/webhooks/{hook}/ping")
            gone.wait(number + 1)
            assert told.client.patch(f"/v1/webhooks/{hook}", json=change).status_code == 200
            gone.stalls.set()
            assert fared(told, hook, "failed")["status"] == 410
            now = told.client.get(f"/v1/webhooks/{hook}").json()
            assert now.items() >= (change | {"active": active}).items()
    told.client.post(f"/v1/webhooks/{hook}/ping")
    assert receiver.wait(1)[0].said["type"] == "ping"


def test_they_end_with_the_key_that_set_them(
    told: Served, receiver: Receiver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "KNOWN_S", 60.0)  # the server has not heard of it yet
    told.app.state.serving.ring._read = -1e9
    with Library.open("lib") as library:
        headers = {"authorization": f"Bearer {keys.make(library.store, 'boss', 'admin')[1]}"}
    hook = told.client.post("/v1/webhooks", json={"url": receiver.url}, headers=headers).json()["webhook"]["id"]
    told.client.post(f"/v1/webhooks/{hook}/ping", headers=headers)
    receiver.wait(1)
    assert main(["keys", "revoke", "boss"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("boss is no key any more\n", "1 webhook that was set with it ended, too\n")
    assert told.client.get("/v1/webhooks", headers=headers).json()["webhooks"] == []
    problem(told.client.post("/v1/webhooks", json={"url": receiver.url}, headers=headers), 401)
    with Library.open("lib") as library:
        assert library.store.catalog.notices.hooks() == []


def test_who_is_slow_holds_up_nobody_else(told: Served, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "PATIENCE_S", 0.5)
    with listening() as slow:
        slow.stalls = threading.Event()
        lazy, _ = set_up(told, slow.url)
        quick, _ = set_up(told, receiver.url)
        for hook in (lazy, lazy, quick):
            told.client.post(f"/v1/webhooks/{hook}/ping")
        receiver.wait(1)
        assert "takes longer than 0.5 s" in fared(told, lazy, "failed")["told"]


def test_nobody_of_this_network_is_told(own: Served) -> None:
    """Unless whoever started the server has named it."""
    for url in (
        "http://127.0.0.1:9/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest",
        "http://10.0.0.1/",
        "https://user:pass@example.org/",
        "ftp://example.org/",
        "https://93.184.216.34:22/",
        "javascript:alert(1)",
    ):
        assert problem(own.client.post("/v1/webhooks", json={"url": url}), 422)["detail"].startswith("webhook: ")
        problem(own.client.post("/v1/jobs", json={"paths": [str(Path("clips").absolute())], "webhook": url}), 422)
    hook, _ = set_up(own, "http://localhost:9/")  # where a name leads is seen when it is told
    own.client.post(f"/v1/webhooks/{hook}/ping")
    assert "is no public address" in fared(own, hook, "failed")["told"]


def test_what_can_be_heard_of_is_what_is_told() -> None:
    assert set(wire.EVENTS) == hooks.EVENTS
    assert hooks.kinds([]) == frozenset()


def test_only_who_rules_sets_them(told: Served, receiver: Receiver) -> None:
    hook, _ = set_up(told, receiver.url)
    with Library.open("lib") as library:
        writer = keys.make(library.store, "writer", "write")[1]
    headers = {"authorization": f"Bearer {writer}"}
    while told.client.get("/v1/session").status_code != 401:
        pass
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("GET", f"/{hook}"),
        ("PATCH", f"/{hook}"),
        ("DELETE", f"/{hook}"),
        ("POST", f"/{hook}/ping"),
        ("GET", f"/{hook}/deliveries"),
        ("POST", f"/{hook}/deliveries/x/again"),
    ):
        answer = told.client.request(method, f"/v1/webhooks{path}", json={"url": receiver.url}, headers=headers)
        problem(answer, 403)


def test_they_are_changed_switched_off_and_forgotten(told: Served, receiver: Receiver) -> None:
    hook, _ = set_up(told, receiver.url, secret=SECRET)
    at = f"/v1/webhooks/{hook}"
    changed = told.client.patch(at, json={"events": ["job.done"], "active": False}).json()
    strict(wire.Webhook, changed)
    assert (changed["events"], changed["active"]) == (["job.done"], False)
    told.client.post(f"{at}/ping")
    assert told.client.get(f"{at}/deliveries").json()["deliveries"][0]["state"] == "waiting"
    assert receiver.got == []
    told.client.patch(at, json={"active": True})
    assert receiver.wait(1)[0].said["type"] == "ping"
    for body, status in (({"events": ["x"]}, 422), ({"events": []}, 422), ({"url": "http://10.0.0.1"}, 422)):
        problem(told.client.patch(at, json=body), status)
    problem(told.client.post("/v1/webhooks", json={"url": receiver.url, "secret": "whsec_short"}), 422)
    assert told.client.delete(at).status_code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/ping"), ("GET", "/deliveries")):
        problem(told.client.request(method, at + path), 404)


def test_two_servers_tell_each_thing_once(told: Served, folder: Path, receiver: Receiver) -> None:
    settings = Settings(roots=str(folder / "clips"), allow_networks=HERE)
    with serving(partial(Library.open, folder / "lib"), settings) as second:
        hook, _ = set_up(told, receiver.url)
        for _ in range(10):
            for served in (told, second):
                served.client.post(f"/v1/webhooks/{hook}/ping")
        receiver.wait(20)
        film = clips.film(folder / "clips" / "third.mp4", ["yellow"])
        second.over(second.client.post("/v1/jobs", json={"paths": [str(film)]}).json()["job"]["id"])
        receiver.wait(22)
        while {one["state"] for one in told.client.get(f"/v1/webhooks/{hook}/deliveries").json()["deliveries"]} != {
            "delivered"
        }:
            pass
    assert len(receiver.got) == len({message.id for message in receiver.got}) == 22


KILLED = """
import os, signal, sys, threading
from functools import partial
from pathlib import Path
import pytest
from end_to_end.conftest import _in
from api import Library, courier, hooks
from api.outward import Rules
from retriever.errors import BadSettings
folder = Path(sys.argv[1])
_in(folder, pytest.MonkeyPatch())
courier.asked = lambda *rest, **more: os.kill(os.getpid(), signal.SIGKILL)
library = Library.open("lib")
hooks.ping(library.store, library.store.catalog.notices.hooks()[0])
courier.Courier(library.store, Rules()).start()
threading.Event().wait(60)
"""


def test_what_a_killed_server_was_about_to_tell_is_told_by_the_next(folder: Path, receiver: Receiver) -> None:
    with Library.open("lib") as library:
        library.store.catalog.notices.write_hook(hooks.make(receiver.url, Rules.of(HERE), secret=SECRET))
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    dead = subprocess.run([sys.executable, "-c", KILLED, str(folder)], env=paths, timeout=60, check=False)
    assert dead.returncode == -signal.SIGKILL
    assert receiver.got == []
    with serving(partial(Library.open, folder / "lib"), Settings(allow_networks=HERE)):
        (message,) = receiver.wait(1)
    signing.verify(SECRET, message.headers, message.body)


def test_what_cannot_be_told_silences_nothing_else(
    told: Served, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, _ = set_up(told, receiver.url)
    media = told.client.get("/v1/media").json()["media"]
    monkeypatch.setattr(hooks.schemas, "job", lambda found: 1 / 0)
    with Library.open("lib") as library:
        library.store.catalog.write_run(RunRecord("r", "{}", 1.0, RunState.DONE))
    told.client.delete(f"/v1/media/{media[0]['id']}")
    assert receiver.wait(1)[0].said["type"] == "media.deleted"
    told.client.post(f"/v1/webhooks/{hook}/ping")
    assert receiver.wait(2)[1].said["type"] == "ping"


def test_what_the_command_line_does_is_told_by_the_server(told: Served, folder: Path, receiver: Receiver) -> None:
    set_up(told, receiver.url, events=["media.indexed", "media.deleted"])
    film = clips.film(folder / "other.mp4", ["yellow", "blue"])
    with Library.open("lib") as library:
        library.index([film])
        library.delete(str(film))
    kinds = [message.said["type"] for message in receiver.wait(2 - 1)]
    assert set(kinds) <= {"media.indexed", "media.deleted"}
    while "media.deleted" not in {message.said["type"] for message in receiver.got}:
        pass


def test_a_backup_has_no_secret(told: Served, folder: Path, receiver: Receiver) -> None:
    _, secret = set_up(told, receiver.url)
    with Library.open("lib") as library:
        library.back_up("copy")
    assert secret.encode() not in b"".join(file.read_bytes() for file in Path("copy").glob("catalog*"))
    with Library.open("copy") as copy:
        assert copy.store.catalog.notices.hooks() == []


def test_the_client_sets_them_and_trusts_what_comes(told: Served, folder: Path, receiver: Receiver) -> None:
    film = clips.film(folder / "clips" / "third.mp4", ["yellow"])
    with ReelseekClient(told.url) as client:
        made = client.add_webhook(receiver.url, events=["media.indexed"])
        client.index([film], webhook=receiver.url, webhook_secret=SECRET)
        found = {}
        for message in receiver.wait(2):
            for secret in (made.secret, SECRET):
                with suppress(WrongSignature):
                    found[secret] = received(secret, message.headers, message.body)
        assert found[made.secret].data["media"]["path"] == str(film)
        assert (found[SECRET].type, found[SECRET].data["job"]["state"]) == ("job.done", "done")
        with pytest.raises(BadSettings, match="go together"):
            client.index([film], webhook=receiver.url)
        id = made.webhook.id
        assert client.change_webhook(id, events=["job.done"]).events == ["job.done"]
        message = client.ping(id)
        receiver.wait(3)
        while client.deliveries(id, limit=1)[0].state != "delivered":
            pass
        assert client.webhook(id).last
        client.deliver(id, message.id)
        assert receiver.wait(4)[3].id == message.id
        client.delete_webhook(id)
        assert [one.job for one in client.webhooks()] != [""]
        assert client.set_quota("collection", "a b/c", most_media=5).most_media == 5
        assert [one.name for one in client.quotas()] == ["a b/c"]
        assert client.quota() == []
        assert client.relocate(folder / "clips", folder / "clips", dry_run=True).there == 4


# -------------------------------------------------------------------------------------------------------- the signature


def test_a_signature_is_that_of_the_standard() -> None:
    """The example of https://github.com/standard-webhooks/standard-webhooks, libraries' tests."""
    told = signing.headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
    )
    assert told["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_was_changed_or_kept_for_long_is_not_trusted() -> None:
    body = b"{}"
    told = signing.headers(SECRET, "msg_1", 1_000, body)
    verify = partial(signing.verify, now=lambda: 1_010.0)
    assert verify(SECRET, {name.title(): value for name, value in told.items()}, body) == "msg_1"
    assert verify(SECRET, told | {"webhook-signature": "v2,x v1,é " + told["webhook-signature"]}, body)
    other = signing.secret()
    for secret, headers, text in (
        (other, told, body),
        (SECRET, told, b"{ }"),
        (SECRET, told | {"webhook-id": "msg_2"}, body),
        (SECRET, told | {"webhook-timestamp": "1001"}, body),
        (SECRET, told | {"webhook-timestamp": "soon"}, body),
        (SECRET, told | {"webhook-signature": "v1,"}, body),
        (SECRET, told | {"webhook-signature": told["webhook-signature"].replace("v1,", "v1a,")}, body),
        (SECRET, {}, body),
    ):
        with pytest.raises(signing.WrongSignature):
            verify(secret, headers, text)
    with pytest.raises(signing.WrongSignature, match="another time"):
        signing.verify(SECRET, told, body)
