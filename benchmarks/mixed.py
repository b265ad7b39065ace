"""Whether a server stays as it is while all that it does is asked of it for a long time.

python benchmarks/mixed.py --at FOLDER --media demo/media                # 30 minutes; the library is made there, once
python benchmarks/mixed.py --at FOLDER --media demo/media --minutes 3    # a look

The server is `reelseek serve` in a process of its own, with the offline pack.  Whoever asks is this process, over
loopback: people search, play (byte ranges), look at small pictures and cut clips; somebody sends a small film that no
one has sent before, waits until it is indexed, and takes an older one out, with its file.  What is printed: how late
answers came and what else came than answers, by kind; memory and open files of the server and its children over time,
and how the last fifth of it compares with the first.  Of the server's memory that part is told apart which files are
mapped to (vectors, libraries): the system takes it back when it wants to.
"""

import argparse
import http.client
import io
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import _corpus
import av
import machine
import numpy as np
import psutil
import service

WARM_S = 60.0
"""Before anything is counted: models are read when the first film comes."""
LOOK_S = 2.0
"""Between two looks at the server."""
HELD = 10
"""Films that were sent and are there at once."""
PARTS = 5
"""Of the time, by which memory is told."""
BOUNDARY = "a-part-of-a-form"


@dataclass
class Told:
    """What came of one kind of request."""

    late: list[float] = field(default_factory=list)  # seconds, of those that were answered
    status: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Look:
    """A server and its children at one moment."""

    at: float  # seconds since it began
    bytes: int  # of the server
    mapped: int  # of these, bytes of files; 0 where the system does not tell
    children: int  # bytes of these
    files: int  # that the server has open
    children_files: int
    threads: int


class Load:
    """Whoever asks, in threads of their own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.told: dict[str, Told] = defaultdict(Told)
        self.looks: list[Look] = []
        self.jobs: Counter[str] = Counter()
        self._guard, self.over = threading.Lock(), threading.Event()

    def clear(self) -> None:
        with self._guard:
            self.told.clear()

    def ask(
        self, kind: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body; 0 is a line that broke."""
        begun = time.perf_counter()
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            line.request(method, path, body or None, headers or {})
            answer = line.getresponse()
            status, data = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            status, data = 0, b""
        finally:
            line.close()
        with self._guard:
            self.told[kind].status[status] += 1
            self.told[kind].late += [time.perf_counter() - begun] if 200 <= status < 300 else []
        return status, data

    def json(self, kind: str, method: str, path: str, document: object = None) -> dict[str, object]:
        body = json.dumps(document).encode() if document is not None else b""
        status, data = self.ask(kind, method, path, body, {"content-type": "application/json"} if body else None)
        found: dict[str, object] = json.loads(data) if 200 <= status < 300 else {}
        return found

    def repeated(self, work: Callable[[], None], pause: float) -> threading.Thread:
        def run() -> None:
            while not self.over.wait(pause):
                work()

        thread = threading.Thread(target=run)
        thread.start()
        return thread


def media(load: Load) -> list[dict[str, object]]:
    found = load.json("list", "GET", "/v1/media?limit=500").get("media", [])
    assert isinstance(found, list)
    return [one for one in found if "/uploads/" not in str(one["path"])]


def searching(load: Load, sentences: Iterator[str]) -> None:
    load.json("search", "POST", "/v1/search", {"query": next(sentences), "min_confidence": 0})


def playing(load: Load, there: list[dict[str, object]]) -> None:
    one, last = random.choice(there), random.randrange(1, 65_536)
    load.ask("range", "GET", f"/v1/media/{one['id']}/stream", headers={"Range": f"bytes=-{last}"})


def looking(load: Load, there: list[dict[str, object]]) -> None:
    seen = [one for one in there if one["kind"] == "video"]
    one = random.choice(seen)
    second = random.uniform(0, float(str(one["duration_s"])))
    load.ask("thumbnail", "GET", f"/v1/media/{one['id']}/thumbnail?t={second:.1f}&w=320")


def cutting(load: Load, there: list[dict[str, object]]) -> None:
    one = random.choice(there)
    if one["kind"] != "image":
        load.ask("clip", "GET", f"/v1/media/{one['id']}/clip?start=0&end=1")


def sending(load: Load, held: "deque[str]", numbers: Iterator[int]) -> None:
    """A film comes; with many there, one goes."""
    number = next(numbers)
    name = f"made-{number}.mp4"
    status, data = load.ask("upload", "POST", "/v1/media", _form(name, film(number)), _FORM)
    if status != 202:
        return
    job = json.loads(data)["job"]["id"]
    state = ""
    while state not in ("done", "failed", "cancelled") and not load.over.wait(0.2):
        state = str(load.json("job", "GET", f"/v1/jobs/{job}").get("state", state))
    load.jobs[state] += 1
    found = load.json("list", "GET", f"/v1/media?path={name}").get("media", [])
    assert isinstance(found, list)
    held.extend(str(one["id"]) for one in found)
    while len(held) > HELD:
        load.ask("delete", "DELETE", f"/v1/media/{held.popleft()}?file=1")


_FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def _form(name: str, data: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def film(number: int) -> bytes:
    """Two seconds that nobody has seen."""
    generator, kept = np.random.default_rng([int(time.time()), number]), io.BytesIO()
    with av.open(kept, "w", "mp4") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(10):
            picture = generator.integers(0, 256, (6, 8, 3), np.uint8).repeat(20, 0).repeat(20, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return kept.getvalue()


def look(server: psutil.Process, began: float) -> Look | None:
    """None: a child went while it was looked at."""
    try:
        own, files = server.memory_info(), server.num_fds()
        below = server.children(recursive=True)
        return Look(
            time.perf_counter() - began,
            own.rss,
            getattr(own, "shared", 0),
            sum(child.memory_info().rss for child in below),
            files,
            sum(child.num_fds() for child in below),
            server.num_threads(),
        )
    except psutil.Error:
        return None


def run(library: Path, minutes: float) -> None:
    sentences, numbers, held = cycle(_corpus.questions()), iter(range(1_000_000)), deque[str]()
    with service.served(library) as (port, server, cold):
        load = Load(port)
        there = media(load)
        print(f"ready after {cold:.1f} s; {len(there)} media, {minutes:g} minutes")
        threads = [
            load.repeated(lambda: searching(load, sentences), 0.25),
            load.repeated(lambda: searching(load, sentences), 0.25),
            load.repeated(lambda: playing(load, there), 0.05),
            load.repeated(lambda: looking(load, there), 0.2),
            load.repeated(lambda: cutting(load, there), 2.0),
            load.repeated(lambda: sending(load, held, numbers), 1.0),
        ]
        try:
            time.sleep(WARM_S)
            load.clear()
            began = time.perf_counter()
            while time.perf_counter() - began < 60 * minutes and server.is_running():
                time.sleep(LOOK_S)
                if found := look(server, began):
                    load.looks.append(found)
        finally:
            load.over.set()
            for thread in threads:
                thread.join()
    told(load)


def told(load: Load) -> None:
    print(f"{'':10}{'answers':>9}{'p50 ms':>9}{'p99 ms':>9}  else")
    for kind, one in sorted(load.told.items()):
        p50, p99 = (1000 * float(np.quantile(one.late or [np.nan], share)) for share in (0.5, 0.99))
        others = ", ".join(f"{count} x {status}" for status, count in sorted(one.status.items()) if status // 100 != 2)
        print(f"{kind:10}{len(one.late):>9,}{p50:>9.0f}{p99:>9.0f}  {others}")
    print("jobs: " + ", ".join(f"{count} {state}" for state, count in sorted(load.jobs.items())))
    parts = np.array_split(np.arange(len(load.looks)), PARTS)
    rows: dict[str, Callable[[Look], float]] = {
        "server MB": lambda one: one.bytes / 1e6,
        "its own MB": lambda one: (one.bytes - one.mapped) / 1e6,
        "mapped MB": lambda one: one.mapped / 1e6,
        "children MB": lambda one: one.children / 1e6,
        "all MB": lambda one: (one.bytes + one.children) / 1e6,
        "server files": lambda one: one.files,
        "child files": lambda one: one.children_files,
        "threads": lambda one: one.threads,
    }
    for name, value in rows.items():
        means = [float(np.mean([value(load.looks[place]) for place in part] or [np.nan])) for part in parts]
        shown = " ".join(f"{mean:8.0f}" for mean in means)
        print(f"{name:13}{shown}   last / first fifth {means[-1] / max(means[0], 1e-9):.3f}")
    errors = sum(count for one in load.told.values() for status, count in one.status.items() if not 200 <= status < 500)
    print(f"no answer, or an error of the server: {errors}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", type=Path, required=True, help="folder for the library")
    parser.add_argument("--media", type=Path, required=True, help="folder of media that it is made of")
    parser.add_argument("--minutes", type=float, default=30.0)
    args = parser.parse_args()
    print(machine.describe())
    args.at.mkdir(parents=True, exist_ok=True)
    library = (args.at / "mixed-library").absolute()
    made = [sys.executable, "-m", "api.main", "index", str(args.media.absolute()), "--library", str(library)]
    subprocess.run(made, check=True, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL)
    run(library, args.minutes)


if __name__ == "__main__":
    main()
