"""Sentences that several threads ask for at the same time, encoded together.

    encoder = Shared(encoder)      # a SentenceEncoder like the one in it
    encoder.encode(["a parrot"])   # from as many threads as there are

Whoever comes while nobody is at work works at once, and alone.  Whoever comes meanwhile waits, and the first of those
that wait takes all of them along: nothing is delayed in the hope of company, and the more ask, the larger the batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from retriever.ports import SentenceEncoder
from retriever.types import Matrix

MOST = 64
"""Sentences that are taken along at once."""


@dataclass(slots=True)
class _Asked:
    """The sentences of one caller, and what became of them."""

    sentences: Sequence[str]
    rows: Matrix | None = None
    error: Exception | None = None
    answered: bool = False


class Shared:
    """A `SentenceEncoder` around another, for several threads."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.name = encoder.name
        self.digest = encoder.digest
        self.dimension = encoder.dimension
        self._encoder = encoder
        self._waiting: list[_Asked] = []
        self._guard = Lock()  # of the list
        self._turn = Lock()  # of the encoder

    def encode(self, sentences: Sequence[str]) -> Matrix:
        """As the encoder within would, to the 1e-5 that batch mates may change."""
        own = _Asked(sentences)
        with self._guard:
            self._waiting.append(own)
        while not own.answered:
            with self._turn:
                if not own.answered:  # nobody took them along meanwhile
                    self._work(own)
        if own.error is not None:
            raise own.error
        assert own.rows is not None
        return own.rows

    def _work(self, own: _Asked) -> None:
        """Answer those that wait.  Who is interrupted leaves the others to the next."""
        taken = self._taken()
        try:
            self._answer(taken)
        finally:
            left = [one for one in taken if not one.answered and one is not own]
            with self._guard:
                self._waiting[:0] = left

    def _taken(self) -> list[_Asked]:
        """Those that have waited longest, `MOST` sentences or one caller's."""
        with self._guard:
            count, total = 1, len(self._waiting[0].sentences)
            while count < len(self._waiting) and total + len(self._waiting[count].sentences) <= MOST:
                total += len(self._waiting[count].sentences)
                count += 1
            taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _answer(self, asked: Sequence[_Asked]) -> None:
        """Encode for all of them.  Where that fails each is tried alone: an error is told to whom it belongs."""
        try:
            rows = self._encoder.encode([sentence for one in asked for sentence in one.sentences])
        except Exception as error:  # noqa: BLE001  it goes on in the thread that asked
            if len(asked) > 1:
                for one in asked:
                    self._answer([one])
            else:
                asked[0].error, asked[0].answered = error, True
            return
        start = 0
        for one in asked:
            one.rows, start = rows[start : start + len(one.sentences)], start + len(one.sentences)
            one.answered = True
