"""Several threads ask one open library at the same time: each gets its own answer, and they share the work."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import fakes
import pytest

from api import Library, parts
from retriever.calibrating import Calibration, Calibrator
from retriever.ports import Snapshot
from retriever.types import Answer, Matrix

QUESTIONS = [f"something {colour}" for colour in ("red", "green", "blue", "yellow")] * 6


class Slow(fakes.HashingSentences):
    """Waits at its gate, as a large model would, and counts its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[int] = []

    def encode(self, sentences: Sequence[str]) -> Matrix:
        self.batches.append(len(sentences))
        assert self.gate.wait(30)
        return super().encode(sentences)


def told(answer: Answer) -> list[tuple[str, float, float, float]]:
    return [(moment.media.key, moment.start_s, moment.end_s, moment.confidence) for moment in answer]


def test_threads_share_batches_and_get_their_own_answers(kept, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    monkeypatch.setattr(parts, "sentences", lambda name: slow)
    with Library.open("lib") as library:
        wanted = [told(library.search(question, min_confidence=0)) for question in QUESTIONS]
        assert len({str(one) for one in wanted}) == 4
        library.sentences.clear()  # or none of them would be encoded again
        slow.batches.clear()
        slow.gate.clear()
        with ThreadPoolExecutor(len(QUESTIONS)) as pool:
            futures = [pool.submit(library.search, question, min_confidence=0) for question in QUESTIONS]
            while not slow.batches:
                pass
            threading.Timer(1.0, slow.gate.set).start()  # till then the others come and wait
            assert [told(future.result(60)) for future in futures] == wanted
    assert sum(slow.batches) == len(QUESTIONS)
    assert len(slow.batches) < len(QUESTIONS) / 2


def test_threads_that_ask_first_calibrate_once(kept, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    whole = Calibrator.made

    def counted(self: Calibrator, library: Snapshot) -> Calibration:
        calls.append(1)
        return whole(self, library)

    monkeypatch.setattr(Calibrator, "made", counted)
    with Library.open("lib") as library, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda question: told(library.search(question, min_confidence=0)), QUESTIONS))
    assert len(calls) == 1
    assert answers[:4] == answers[4:8]
