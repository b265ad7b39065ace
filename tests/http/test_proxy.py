"""A server behind a proxy that has the certificate, on the same machine: who may ask, by which name, from where."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from proxies import NAME, Front, fronting
from serving import Served, problem, serving

from api import Library, keys
from retriever.settings import Settings


@pytest.fixture
def key(folder: Path) -> str:
    with Library.open("lib") as library:
        library.index([folder / "clips"], jobs=1)
        return keys.make(library.store, "phone", "write")[1]


class _Named(httpx.HTTPTransport):
    """Knows where that name leads; the name is no more than what the certificate is of."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = NAME
        return super().handle_request(request)


@contextmanager
def browsing(front: Front) -> Iterator[httpx.Client]:
    """A browser on a page of the proxy, whose certificate it believes."""
    transport = _Named(verify=ssl.create_default_context(cafile=str(front.certificate)))
    headers = {"host": NAME, "origin": f"https://{NAME}"}
    with httpx.Client(base_url=front.url, transport=transport, headers=headers, timeout=60) as client:
        yield client


@pytest.mark.parametrize("renames", [False, True], ids=["by its name", "by that of the server"])
def test_the_page_works_through_a_proxy(folder: Path, key: str, renames: bool, tmp_path: Path) -> None:
    opened = partial(Library.open, folder / "lib")
    settings = Settings(public_url=f"https://{NAME}", trusted_proxies="127.0.0.1")
    with serving(opened, settings) as served, fronting(port(served), tmp_path, renames=renames) as front:
        _asked(front, key, renames)


def _asked(front: Front, key: str, renames: bool) -> None:
    with browsing(front) as browser:
        assert browser.get("/").is_success
        problem(browser.get("/v1/media"), 401)
        begun = browser.post("/v1/session", json={"key": key})
        assert begun.is_success, begun.text
        assert "secure" in begun.headers["set-cookie"].lower()
        assert browser.post("/v1/search", json={"query": "red"}).is_success
        problem(browser.post("/v1/search", json={"query": "red"}, headers={"origin": "https://evil.example"}), 403)
        if not renames:
            problem(browser.get("/v1/media", headers={"host": "evil.example"}), 421)


def port(served: Served) -> int:
    found = httpx.URL(served.url).port
    assert found
    return found


def test_without_the_setting_it_is_another_host(folder: Path, key: str, tmp_path: Path) -> None:
    opened = partial(Library.open, folder / "lib")
    with serving(opened) as served, fronting(port(served), tmp_path) as front, browsing(front) as browser:
        told = problem(browser.get("/v1/media"), 421)
    assert "public_url" in told["detail"]


def test_a_server_without_keys_is_no_one_elses_through_a_proxy(shared: Served, tmp_path: Path) -> None:
    """The proxy asks from this machine and by its name: nothing else would tell it from whoever sits there."""
    with fronting(port(shared), tmp_path, renames=True) as front, browsing(front) as browser:
        told = problem(browser.get("/v1/media"), 403)
        assert "whoever runs it can make keys" in told["detail"]
        problem(browser.post("/v1/search", json={"query": "red"}, headers={"origin": "http://127.0.0.1"}), 403)
    for header in ("x-forwarded-for", "x-real-ip", "forwarded"):
        problem(shared.client.get("/v1/media", headers={header: "for=192.0.2.7"}), 403)
    assert shared.client.get("/v1/media").is_success


def test_wrong_keys_are_counted_by_who_is_behind_the_proxy(folder: Path, key: str) -> None:
    settings = Settings(host="127.0.0.1", trusted_proxies="127.0.0.1,10.0.0.0/8")
    with serving(partial(Library.open, folder / "lib"), settings) as served:
        for number in range(20):
            problem(tries(served, f"rs_{number:08x}_wrong", "203.0.113.9"), 401)
        problem(tries(served, "rs_beefbeef_wrong", "203.0.113.9"), 429)
        problem(tries(served, "rs_beefbeef_wrong", "203.0.113.9, 10.1.2.3"), 429)  # a second proxy, believed too
        problem(tries(served, key, "203.0.113.9"), 429)
        assert tries(served, key, "203.0.113.10").is_success
        problem(tries(served, "rs_beefbeef_wrong", "198.51.100.1, 203.0.113.9"), 429)  # what a client says itself


def test_who_is_not_named_cannot_say_for_whom_it_asks(folder: Path, key: str) -> None:
    with serving(partial(Library.open, folder / "lib"), Settings(trusted_proxies="192.0.2.1")) as served:
        for number in range(20):
            problem(tries(served, f"rs_{number:08x}_wrong", f"203.0.113.{number}"), 401)
        problem(tries(served, "rs_beefbeef_wrong", "203.0.113.99"), 429)


def tries(served: Served, key: str, address: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}", "x-forwarded-for": address}
    return served.client.get("/v1/media", headers=headers)


# ---------------------------------------------------------------------------------------------------------- guesses


def test_who_was_right_here_is_listened_to_whatever_others_do(folder: Path, key: str) -> None:
    """One address is that of all people behind a proxy which hides theirs."""
    with Library.open("lib") as library:
        other = keys.make(library.store, "tablet", "search")[1]
    with serving(partial(Library.open, folder / "lib")) as served:
        assert asks(served, key).is_success
        for number in range(20):
            problem(asks(served, f"rs_{number:08x}_wrong"), 401)
        problem(asks(served, "rs_beefbeef_wrong"), 429)
        problem(asks(served, other), 429)  # nobody knows it here yet
        assert asks(served, key).is_success
        problem(asks(served, key[:-1]), 401)  # known, and wrong all the same


def asks(served: Served, key: str) -> httpx.Response:
    return served.client.get("/v1/media", headers={"authorization": f"Bearer {key}"})


def test_one_key_that_many_addresses_guess_is_let_be(folder: Path, key: str) -> None:
    id = key.split("_")[1]
    with serving(partial(Library.open, folder / "lib"), Settings(trusted_proxies="127.0.0.1")) as served:
        assert tries(served, key, "192.0.2.200").is_success
        for number in range(100):
            problem(tries(served, f"rs_{id}_wrong", f"203.0.113.{number}"), 401)
        problem(tries(served, f"rs_{id}_wrong", "198.51.100.1"), 429)
        problem(tries(served, f"rs_{id}_wrong", "198.51.100.2"), 429)
        problem(tries(served, "rs_beefbeef_wrong", "198.51.100.3"), 401)
        assert tries(served, key, "192.0.2.200").is_success
