"""How many questions a server answers, how late, and what it does with more than it can.

python benchmarks/service.py --at FOLDER                        # 100,000 made-up segments (as search.py), kept there
python benchmarks/service.py --at FOLDER --segments 20000 --seconds 5
python benchmarks/service.py --library lib/ --processes 2       # one of yours; two processes answer

The server is `reelseek serve` with its usual settings, in a process of its own; whoever asks is this process, over
loopback, with distinct real sentences that the library was not made of, so nothing is answered from memory.  First as
many as come through with some always waiting, and beside that a few that are asked over and over; then at 60 % of
that, at random times, how late each is answered, from when it was to be asked; then three times as many as come
through.  The share of the processors that asking takes is printed: it is part of what both have together.
"""

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import _corpus
import _library
import machine
import numpy as np
import psutil

ASKERS = 4
"""Who always wait for an answer, when it is asked how many come through."""
AGAIN = 20
"""Questions that are asked over and over, to see what answers from memory are worth."""
PATIENT = 256
"""Who ask at their times, whether those before have an answer or not."""


@dataclass
class Asked:
    """What became of the questions of one round."""

    late: list[float] = field(default_factory=list)  # seconds, of those that were answered
    status: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.late) / max(self.seconds, 1e-9)

    def told(self) -> str:
        p50, p99 = (1000 * float(np.quantile(self.late or [np.nan], share)) for share in (0.5, 0.99))
        others = ", ".join(f"{count} × {status}" for status, count in sorted(self.status.items()) if status != 200)
        return f"{self.rate:.0f} a second, p50 {p50:.0f} ms, p99 {p99:.0f} ms{'; ' + others if others else ''}"


class Asker:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, sentence: str) -> int:
        body = json.dumps({"query": sentence, "min_confidence": 0})
        try:
            answer = self._asked(body)
        except (ConnectionError, http.client.HTTPException):  # it was idle for so long that the server hung up
            self._line.close()
            answer = self._asked(body)
        answer.read()
        return answer.status

    def _asked(self, body: str) -> http.client.HTTPResponse:
        self._line.request("POST", "/v1/search", body, {"content-type": "application/json"})
        return self._line.getresponse()


def closed(port: int, sentences: Iterator[str], seconds: float) -> Asked:
    """Some ask, each as soon as the one before is answered."""
    found, guard, until = Asked(), threading.Lock(), time.perf_counter() + seconds

    def ask() -> None:
        asker = Asker(port)
        while time.perf_counter() < until:
            with guard:
                sentence = next(sentences)
            begun = time.perf_counter()
            status = asker.ask(sentence)
            with guard:
                found.status[status] += 1
                found.late += [time.perf_counter() - begun] if status == 200 else []
            time.sleep(0.05 if status == 503 else 0)

    _together(ask, ASKERS)
    found.seconds = seconds
    return found


def open_ended(port: int, sentences: Iterator[str], rate: float, seconds: float) -> Asked:
    """They come at random times, so many a second, whoever waits already."""
    times = np.cumsum(np.random.default_rng(7).exponential(1 / rate, int(rate * seconds)))
    found, guard, turn = Asked(), threading.Lock(), iter(times.tolist())
    begun = time.perf_counter() + 0.2

    def ask() -> None:
        asker = Asker(port)
        while True:
            with guard:
                at = next(turn, None)
                if at is None:
                    return
                sentence = next(sentences)
            time.sleep(max(0.0, begun + at - time.perf_counter()))
            status = asker.ask(sentence)
            with guard:
                found.status[status] += 1
                found.late += [time.perf_counter() - begun - at] if status == 200 else []

    _together(ask, PATIENT)
    found.seconds = max(seconds, time.perf_counter() - begun)
    return found


def _together(work: object, count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def served(library: Path, *more: str) -> Iterator[tuple[int, psutil.Process, float]]:
    """Port and process of a server, and the seconds until it was ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "api.main", "serve", "--library", str(library), "--port", str(port)]
    command += ["--log-level", "error", *more]  # or each 503 would be a line
    home = str(Path(__file__).parents[1])
    begun = time.perf_counter()
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": home}) as server:
        try:
            while not _is_ready(port):
                if server.poll() is not None:
                    raise SystemExit("the server did not start")
                time.sleep(0.05)
            yield port, psutil.Process(server.pid), time.perf_counter() - begun
        finally:
            server.terminate()


def _is_ready(port: int) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", "/readyz")
        return line.getresponse().status == 200
    except OSError:
        return False
    finally:
        line.close()


def spent_by(process: psutil.Process, alone: bool = False) -> float:
    """Processor seconds of a process and its children."""
    every = [process, *([] if alone else process.children(recursive=True))]
    return sum(sum(one.cpu_times()[:2]) for one in every)


def report(library: Path, sentences: Sequence[str], seconds: float, processes: int) -> None:
    asked = cycle(sentences)
    with served(library, "--processes", str(processes)) as (port, server, cold):
        print(f"ready after {cold:.1f} s")
        closed(port, asked, min(seconds, 5))  # warm
        before, mine = spent_by(server), spent_by(psutil.Process(), alone=True)
        most = closed(port, asked, seconds)
        spent, own = spent_by(server) - before, spent_by(psutil.Process(), alone=True) - mine
        print(f"as many as come through, {ASKERS} waiting: {most.told()}")
        print(
            f"  processor: {1000 * spent / len(most.late):.1f} ms a question, asking {own / (own + spent):.0%} of all"
        )
        again = cycle(sentences[:AGAIN])
        print(f"  the same {AGAIN} again and again: {closed(port, again, min(seconds, 5)).told()}")
        held = server.memory_info().rss / 1e6
        print(f"at 60 %: {open_ended(port, asked, 0.6 * most.rate, seconds).told()}")
        print(f"at three times as many: {open_ended(port, asked, 3 * most.rate, seconds).told()}")
        begun = time.perf_counter()
        while any(Asker(port).ask(next(asked)) != 200 for _ in range(10)):
            time.sleep(0.05)
        print(f"as before after {time.perf_counter() - begun:.1f} s")
        print(f"memory {held:.0f} MB before, {server.memory_info().rss / 1e6:.0f} MB after")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _library.arguments(parser)
    parser.add_argument("--processes", type=int, default=1, help="that answer questions")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each round")
    args = parser.parse_args()
    print(machine.describe())
    library = _library.chosen(parser, args)
    report(library, _corpus.questions(), args.seconds, args.processes)


if __name__ == "__main__":
    main()
