"""Requests to addresses that somebody else named, who must not get at what only this machine can reach (SSRF).

    with outward.asked("GET", "https://cdn.example.org/a.mp4", Rules(), limit_s=600) as answer:
        for block in answer.blocks(): ...

A name is looked up once a hop, all of its addresses must be public, and the connection is made to one of these and to
nothing else, so that a name which answers otherwise the next time gains nothing (DNS rebinding).  Each redirection is
judged as the first address was.  No proxy, cookie or password of the environment goes along.
"""

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from socket import EAI_AGAIN, IPPROTO_TCP, SHUT_RDWR, create_connection, gaierror, getaddrinfo, socket
from threading import BoundedSemaphore, Event, Thread
from time import monotonic
from urllib.parse import quote, urljoin, urlsplit

from retriever.errors import ReelseekError

PORTS = frozenset({80, 443, 8080, 8443})
"""Of public addresses: where nothing but web servers listens."""
HOPS = 5
LOOK_UP_S, CONNECT_S, SILENCE_S = 10.0, 10.0, 15.0
"""Seconds to learn where a name leads, to get through, and between two pieces of an answer."""
LOOK_UPS = 32
"""Names that are looked up at once, those among them that nobody waits for any more: the system ends those when it
likes."""
LOOK_S = 0.5
"""Between two looks whether an answer is wanted still."""
LONGEST = 2_000
"""Characters of an address."""
BLOCK = 1 << 16
AGENT = "reelseek"
MOVED = frozenset({301, 302, 303, 307, 308})

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_GIVEN_OUT = ip_network("2000::/3")
"""All that is public of IPv6: https://www.iana.org/assignments/ipv6-address-space"""
_NAT64 = ip_network("64:ff9b::/96")
_SPECIAL = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",  # of the IETF; clouds have services in it
            "192.88.99.0/24",  # relays of 6to4
            "168.63.129.16/32",  # Azure's own services, behind an address that looks public
            "2001::/23",  # of the IETF, Teredo too
            "2002::/16",  # 6to4: an IPv4 address within
            "3fff::/20",  # for documents
        ),
    )
)
"""What Python's `is_global`, or its list of some years ago, lets pass: https://www.iana.org/assignments/iana-ipv4-special-registry"""


class NotAllowed(ReelseekError):
    """An address that is not asked, whoever names it."""


class NoAnswer(ReelseekError):
    """A server that cannot be reached, is too slow, or does not speak HTTP."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Where requests may go: to public addresses, and to those networks that whoever runs the server has named."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, text: str) -> "Rules":
        """From networks with commas between, as the settings have checked them."""
        return cls(tuple(ip_network(one.strip()) for one in text.split(",") if one.strip()))

    def allow(self, address: Address, port: int) -> bool:
        bare = _bare(address)
        if any(bare in network for network in self.networks):
            return True
        return port in PORTS and is_public(bare)


def is_public(address: Address) -> bool:
    """Whether it is an address of the internet, and of nothing nearer."""
    bare = _bare(address)
    if isinstance(bare, IPv6Address) and bare not in _GIVEN_OUT:
        return False
    near = bare.is_private or bare.is_loopback or bare.is_link_local or bare.is_multicast or bare.is_reserved
    return bare.is_global and not near and not bare.is_unspecified and not any(bare in one for one in _SPECIAL)


def _bare(address: Address) -> Address:
    """The IPv4 address that is meant by one of IPv6, where that is one in other clothes."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


@dataclass(frozen=True, slots=True)
class Target:
    """An address that may be asked, as far as its text goes."""

    scheme: str
    host: str
    port: int
    path: str  # with its question

    @classmethod
    def of(cls, url: str) -> "Target":
        """
        Raises:
            NotAllowed: it is none, or not of the web, or has a name or a password in it.
        """
        if len(url) > LONGEST or any(letter <= " " or letter in "\\\x7f" for letter in url):
            raise NotAllowed(f"the address is longer than {LONGEST:,} characters, or has blanks in it")
        try:
            split = urlsplit(url)
            port = split.port
            host = (split.hostname or "").rstrip(".").encode("idna").decode()
        except ValueError as error:
            raise NotAllowed("the address cannot be read: it wants https://HOST/PATH") from error
        if split.scheme not in ("http", "https") or not host or "%" in host:
            raise NotAllowed("the address is none of the web: it wants https://HOST/PATH")
        if "@" in split.netloc:
            raise NotAllowed("the address has a name or a password in it: name it without")
        path = quote(split.path or "/", safe="/%:@!$&'()*+,;=~") + (f"?{_asked(split.query)}" if split.query else "")
        return cls(split.scheme, host, port or (443 if split.scheme == "https" else 80), path)

    @property
    def shown(self) -> str:
        """Without what may be a secret."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def _asked(query: str) -> str:
    return quote(query, safe="/%:@!$&'()*+,;=~?")


@dataclass(slots=True)
class Answer:
    """What a server answers; its body is read once."""

    url: str  # that answered in the end
    status: int
    headers: Message
    _response: HTTPResponse
    _watch: "_Watch"

    def blocks(self) -> Iterator[bytes]:
        """
        Raises:
            NoAnswer: it breaks off, or takes too long.
        """
        wanted, came = self._response.length, 0
        with self._watch.translated():
            while block := self._response.read1(BLOCK):
                came += len(block)
                yield block
            self._watch.check()
            if wanted is not None and came != wanted:
                raise NoAnswer(f"{self._watch.shown} breaks off after {came:,} of {wanted:,} bytes")


@dataclass(slots=True)
class _Watch:
    """Ends a connection when its time is over, or nobody wants it any more, wherever its reader stands: in a header,
    too."""

    limit_s: float
    stopped: Callable[[], bool]
    shown: str = ""
    late: bool = False
    _sock: socket | None = None
    _done: Event = field(default_factory=Event)
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = monotonic() + self.limit_s
        Thread(target=self._watch, name="outward", daemon=True).start()

    def over(self, sock: socket) -> None:
        """This is the connection that ends then."""
        self._sock = sock
        self.check()

    def left(self) -> float:
        self.check()
        return max(0.1, self._until - monotonic())

    def check(self) -> None:
        if self.late:
            why = "is not waited for" if self.stopped() else f"takes longer than {self.limit_s:g} s"
            raise NoAnswer(f"{self.shown} {why}")

    def close(self) -> None:
        self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(min(LOOK_S, max(0.0, self._until - monotonic()))):
            if monotonic() >= self._until or self.stopped():
                return self._end()

    def _end(self) -> None:
        self.late = True
        if (sock := self._sock) is not None:
            with suppress(OSError):
                socket.shutdown(sock, SHUT_RDWR)  # of the plain socket: that of TLS would go on in the clear

    @contextmanager
    def translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, HTTPException, ValueError) as error:
            self.check()
            raise NoAnswer(f"{self.shown} {_told(error)}") from error


def _told(error: Exception) -> str:
    """What went wrong with a server, as people say it."""
    match error:
        case gaierror(errno=errno) if errno == EAI_AGAIN:
            return "cannot be looked up: the DNS gives no answer for now"
        case gaierror():
            return "cannot be looked up: the DNS knows no such name"
        case ssl.SSLCertVerificationError():
            return f"has a certificate that is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return "gives no answer: it does not speak TLS as it should"
        case TimeoutError():
            return "gives no answer: it is silent for too long"
        case ConnectionRefusedError():
            return "gives no answer: nobody listens there"
        case ConnectionError():  # `http.client` has some that are of HTTP, too
            return "gives no answer: it hangs up"
        case IncompleteRead():
            return "breaks off"
        case HTTPException():
            return "gives no answer: it does not speak HTTP"
        case OSError(strerror=str(why)) if why:
            return f"gives no answer: {why.lower()}"
        case _:
            return "gives no answer that can be read"


class _Line(HTTPConnection):
    """A connection over a socket that is there."""

    def __init__(self, target: Target, sock: socket) -> None:
        super().__init__(target.host, target.port)
        if target.scheme == "https":
            self.default_port = 443  # so that `Host` has no port where it need not
        self.sock = sock

    def connect(self) -> None:
        raise OSError("the connection is closed")  # never to another address


@contextmanager
def asked(
    method: str,
    url: str,
    rules: Rules,
    *,
    limit_s: float,
    stopped: Callable[[], bool] = lambda: False,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    hops: int = HOPS,
) -> Iterator[Answer]:
    """What the server at `url` answers, after at most so many redirections, all of it within `limit_s` seconds, and
    before `stopped` says that nobody wants it.

    Raises:
        NotAllowed: it may not be asked.
        NoAnswer: nobody answers, or too late.
    """
    watch = _Watch(limit_s, stopped)
    try:
        for hop in range(hops + 1):
            target = Target.of(url)
            watch.shown = target.shown
            with watch.translated():
                line = _Line(target, _connected(target, rules, watch))
            with closing(line):
                with watch.translated():
                    sent = {"User-Agent": AGENT, "Accept-Encoding": "identity", **(headers or {})}
                    line.request(method, target.path, body, sent)
                    response = line.getresponse()
                watch.check()
                if hops and response.status in MOVED and (further := response.headers.get("Location")):
                    if hop == hops:
                        raise NotAllowed(f"{target.shown} leads on and on: more than {hops} redirections")
                    with watch.translated():  # it may be no address at all
                        url = urljoin(url, further)
                    continue
                yield Answer(url, response.status, response.headers, response, watch)
                return
    finally:
        watch.close()


_looking = BoundedSemaphore(LOOK_UPS)


def _looked_up(target: Target, watch: _Watch) -> set[str]:
    """The addresses behind a name.  The system's own way to look it up cannot be ended, so somebody else waits for it.

    Raises:
        NoAnswer: the DNS takes too long, or has so many to answer already.
        OSError: there is no such name.
    """
    places = _looking
    if not places.acquire(blocking=False):
        raise NoAnswer(f"{target.shown} cannot be looked up: too many names wait for the DNS already")
    found: list[set[str] | OSError] = []
    done = Event()

    def look() -> None:
        try:
            entries = getaddrinfo(target.host, target.port, proto=IPPROTO_TCP)
            found.append({str(entry[4][0]) for entry in entries})
        except (OSError, ValueError) as error:
            found.append(error if isinstance(error, OSError) else OSError(str(error)))
        finally:
            places.release()
            done.set()

    Thread(target=look, name="outward-dns", daemon=True).start()
    until = monotonic() + LOOK_UP_S
    while not done.wait(min(LOOK_S, max(0.0, until - monotonic()))):
        watch.check()
        if monotonic() >= until:
            raise NoAnswer(f"{target.shown} cannot be looked up: the DNS takes longer than {LOOK_UP_S:g} s")
    if isinstance(answer := found[0], OSError):
        raise answer
    return answer


def _connected(target: Target, rules: Rules, watch: _Watch) -> socket:
    """A connection to one of the addresses of a name, all of which may be asked.

    Raises:
        NotAllowed: one of them may not.
        OSError: none of them answers.
    """
    found = _looked_up(target, watch)
    refused = [one for one in found if not rules.allow(ip_address(one.partition("%")[0]), target.port)]
    if refused or not found:  # which of them is not told: names of this network are no business of whoever asks
        raise NotAllowed(f"{target.shown} is no public address, or its port is not one of the web: it is not asked")
    last = OSError("no address")
    for place in sorted(found, key=lambda one: ":" in one):  # IPv4 first: it leads everywhere
        try:
            sock = create_connection((place, target.port), min(CONNECT_S, watch.left()))
        except OSError as error:
            last = error
            continue
        watch.over(sock)
        sock.settimeout(SILENCE_S)
        if target.scheme == "http":
            return sock
        try:
            wrapped = ssl.create_default_context().wrap_socket(sock, server_hostname=target.host)
        except BaseException:
            sock.close()
            raise
        watch.over(wrapped)
        return wrapped
    raise last
