"""Requests to addresses that somebody else named: where they may lead, and that they lead nowhere else."""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from servers import drip, saying, web

from api import outward
from api.outward import NoAnswer, NotAllowed, Rules, Target, asked, is_public

HERE = Rules.of("127.0.0.1, ::1")

NEAR = re.findall(
    r"\S+",
    """
127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 169.254.0.1
100.64.0.1 100.100.100.200 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1
240.0.0.1 255.255.255.255 168.63.129.16
:: ::1 fe80::1 fec0::1 fc00::1 fd00:ec2::254 ff02::1 2001:db8::1 2001::1 2001:0:53aa:64c:0:0:0:1 2002:7f00:1::
2002:808:808:: ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a00:1
64:ff9b:1::1 100::1 3fff::1 5f00::1 4000::1
""",
)
FAR = re.findall(
    r"\S+",
    """
1.1.1.1 8.8.8.8 93.184.216.34 172.32.0.1 2606:4700::1111 2a00:1450:4001::1 ::ffff:8.8.8.8 64:ff9b::808:808
""",
)


@pytest.mark.parametrize("address", NEAR)
def test_what_is_near_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not Rules().allow(ip_address(address), 443)


@pytest.mark.parametrize("address", FAR)
def test_what_is_of_the_internet_is(address: str) -> None:
    assert is_public(ip_address(address))
    assert Rules().allow(ip_address(address), 443)
    for port in (22, 25, 6333, 6379, 9200):
        assert not Rules().allow(ip_address(address), port)


def test_a_network_that_was_named_may_be_asked_at_any_port() -> None:
    rules = Rules.of("10.1.0.0/16,fd00::/8")
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1"):
        assert rules.allow(ip_address(address), 9_999)
    for address in ("10.2.0.1", "127.0.0.1", "::1"):
        assert not rules.allow(ip_address(address), 80)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org/a.mp4",
        "file:///etc/passwd",
        "ftp://example.org/a",
        "gopher://example.org/",
        "data:video/mp4;base64,AAAA",
        "http://",
        "http:///a",
        "http://user@example.org/",
        "https://user:pass@example.org/",
        "http://example.org@127.0.0.1/",
        "http://example.org\\@127.0.0.1/",
        "http://exam ple.org/",
        "http://example.org/\r\nX: y",
        "http://example.org/\0",
        "http://example.org:99999/",
        "http://example.org:x/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://" + "a" * 3_000,
        "http://" + "a" * 300 + ".org/",
    ],
)
def test_what_is_no_address_of_the_web(url: str) -> None:
    with pytest.raises(NotAllowed):
        Target.of(url)


def test_an_address_is_taken_apart() -> None:
    found = Target.of("HTTPS://München.example.:8443/a b".replace(" ", "%20") + "/ü?q=ä&sig=a%2Fb#part")
    assert (found.scheme, found.host, found.port) == ("https", "xn--mnchen-3ya.example", 8443)
    assert found.path == "/a%20b/%C3%BC?q=%C3%A4&sig=a%2Fb"
    assert "sig" not in found.shown


# ------------------------------------------------------------------------------------------------------- real servers


def got(url: str, rules: Rules = HERE, limit_s: float = 20.0, **more: Any) -> tuple[int, bytes]:
    with asked("GET", url, rules, limit_s=limit_s, **more) as answer:
        return answer.status, b"".join(answer.blocks())


def test_what_is_there_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody's business
    with web(files={"/a": b"x" * 200_000, "/b": b""}) as shelf:
        shelf.away["/old"] = "/a"
        for path, body in (("/a", shelf.files["/a"]), ("/b", b""), ("/old", shelf.files["/a"])):
            assert got(shelf.url + path) == (200, body)
        assert got(shelf.url + "/none")[0] == 404
        assert got(shelf.url + "/old", hops=0)[0] == 302


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1", "[::ffff:7f00:1]"]
)
def test_this_machine_is_not_asked(host: str) -> None:
    with web(files={"/a": b"secret"}) as shelf:
        port = shelf.url.rpartition(":")[2]
        for rules in (Rules(), Rules.of("10.0.0.0/8")):
            with pytest.raises((NotAllowed, NoAnswer)):
                got(f"http://{host}:{port}/a", rules)
        assert shelf.asked == []


@pytest.mark.parametrize(
    "to", ["http://[::1]:{port}/a", "http://169.254.169.254/a", "//10.0.0.1/a", "file:///etc/passwd"]
)
def test_a_redirection_leads_nowhere_else(to: str) -> None:
    rules = Rules.of("127.0.0.1")
    with web(files={"/a": b"secret"}) as shelf:
        shelf.away["/old"] = to.format(port=shelf.url.rpartition(":")[2])
        with pytest.raises(NotAllowed):
            got(f"{shelf.url}/old", rules)
        assert [path for _, path, _ in shelf.asked] == ["/old"]


def test_redirections_have_an_end() -> None:
    with web(files={}) as shelf:
        shelf.away["/a"] = "/a"
        with pytest.raises(NotAllowed, match="more than 5"):
            got(f"{shelf.url}/a")


def test_a_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it is the next time is nobody's business (DNS rebinding)."""
    answers, looked = [["127.0.0.1"], ["10.0.0.1"]], []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        looked.append(host)
        return [(0, 0, 0, "", (address, port)) for address in answers[min(len(looked), 2) - 1]]

    monkeypatch.setattr(outward, "getaddrinfo", getaddrinfo)
    with web(files={"/a": b"x"}) as shelf:
        port = shelf.url.rpartition(":")[2]
        assert got(f"http://rebound.example:{port}/a", Rules.of("127.0.0.1")) == (200, b"x")
        assert looked == ["rebound.example"]
        with pytest.raises(NotAllowed):
            got(f"http://rebound.example:{port}/a", Rules.of("127.0.0.1"))
    answers[1] = ["93.184.216.34", "127.0.0.1"]  # one of several is enough
    with pytest.raises(NotAllowed):
        got("http://both.example/a", Rules())
    answers[1] = []
    with pytest.raises(NotAllowed):
        got("http://none.example/a", Rules())


SLOW = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


def header(line: socket.socket) -> None:
    while True:
        line.sendall(b"X-Slow: 1\r\n")
        threading.Event().wait(0.2)


@pytest.mark.parametrize(
    "pieces", [(SLOW, drip), (b"HTTP/1.1 200 OK\r\n", header), (b"HTTP/1.1 100 Continue\r\n\r\n", drip)]
)
def test_who_is_slow_is_not_waited_for(pieces: Any) -> None:
    with saying(*pieces) as url, pytest.raises(NoAnswer, match=r"takes longer than 0\.5 s"):
        got(url, limit_s=0.5)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxxx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_who_speaks_otherwise_gives_no_answer(said: bytes) -> None:
    with saying(said) as url, pytest.raises(NoAnswer):
        got(url)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NoAnswer):
        got(f"http://127.0.0.1:{port}/")
    with pytest.raises(NoAnswer):
        got("http://no-such-host.invalid/")


def test_a_certificate_has_to_be_right() -> None:
    with web(files={"/a": b"x"}) as shelf, pytest.raises(NoAnswer, match="speak TLS"):
        got(shelf.url.replace("http:", "https:") + "/a")
    assert ssl.create_default_context().check_hostname


# ---------------------------------------------------------------------------------------------------------- the DNS


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A DNS that answers when the test is over."""
    over = threading.Event()
    monkeypatch.setattr(outward, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    yield
    over.set()


def test_a_dns_that_is_silent_is_not_waited_for(silent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outward, "LOOK_UP_S", 0.1)
    with pytest.raises(NoAnswer, match=r"443 cannot be looked up: the DNS takes longer than 0\.1 s"):
        got("https://slow.example/a")


def test_nor_is_it_by_somebody_who_goes_or_whose_time_is_up(silent: None) -> None:
    with pytest.raises(NoAnswer, match=r"takes longer than 0\.2 s"):
        got("https://slow.example/a", limit_s=0.2)
    with pytest.raises(NoAnswer, match="is not waited for"):
        got("https://slow.example/a", stopped=lambda: True)


def test_so_many_names_are_looked_up_at_once(silent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outward, "LOOK_UP_S", 0.1)
    monkeypatch.setattr(outward, "_looking", threading.BoundedSemaphore(2))
    for _ in range(2):
        with pytest.raises(NoAnswer, match="the DNS takes longer"):
            got("https://slow.example/a")
    with pytest.raises(NoAnswer, match="too many names wait for the DNS already"):
        got("https://slow.example/a")


# ------------------------------------------------------------------------------------------------------- plain words


def test_what_went_wrong_is_told_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = {f"http://127.0.0.1:{port}/": "gives no answer: nobody listens there"}
    with saying(b"") as hangs_up, saying(b"220 mail\r\n") as mail, web(files={"/a": b"x"}) as shelf:
        torn = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"
        with saying(torn) as breaks:
            told |= {
                hangs_up: "gives no answer: it hangs up",
                mail: "gives no answer: it does not speak HTTP",
                breaks: "breaks off",
                shelf.url.replace("http:", "https:"): "gives no answer: it does not speak TLS as it should",
            }
            for url, words in told.items():
                with pytest.raises(NoAnswer, match=rf"^https?://127\.0\.0\.1:\d+ {words}$"):
                    got(url)
    for number, words in ((socket.EAI_NONAME, "knows no such name"), (socket.EAI_AGAIN, "gives no answer for now")):

        def nameless(*_: Any, number: int = number, **__: Any) -> Any:
            raise socket.gaierror(number, "Name or service not known")

        monkeypatch.setattr(outward, "getaddrinfo", nameless)
        with pytest.raises(NoAnswer, match=rf"^http://no\.example:80 cannot be looked up: the DNS {words}$"):
            got("http://no.example/")
