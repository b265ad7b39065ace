"""Lost spaces found again: SHOPPERSDRUGMART was three words before it was read off a screen.

A run of letters is cut where the product of its words' probabilities is largest (Viterbi over word frequencies, as in
Norvig, Beautiful Data 2009, ch. 14).  A word's probability follows from its rank (Zipf); letters that are no word cost
the more the longer they are.
"""

import math
from functools import cache, lru_cache
from importlib.resources import files

SHORTEST = 7
"""Letters from which a word may be several."""

_LONGEST_WORD = 16
_KNOWN_SHARE = 0.6
"""Share of the letters that must lie in known words of three letters and more."""
_NATS_A_LETTER = 3.3  # log 26: an unknown letter says nothing
_NATS_UNKNOWN = 12.0  # that a word is one that nobody listed
_NATS_INFLECTED = 1.0  # that it has an ending which the list lacks
_SHORT = {
    word: 4.0 + 2.0 * (len(word) == 1)
    for word in "a i of in to is it on at by we my be me he up us or no so do go if an as am".split()  # noqa: SIM905
}
_ENDINGS = ("s", "es", "ed", "er", "ers", "ing")


@lru_cache(maxsize=1 << 16)
def split(form: str) -> tuple[str, ...]:
    """The words that a folded form holds, or none: it is a word itself, or nothing that we know."""
    if len(form) < SHORTEST or not (form.isascii() and form.isalpha()) or _cost(form) is not None:
        return ()
    pieces = _cheapest(form)
    known = sum(len(piece) for piece in pieces if len(piece) > 2 and _cost(piece) is not None)
    return tuple(pieces) if len(pieces) > 1 and known >= _KNOWN_SHARE * len(form) else ()


def _cheapest(form: str) -> list[str]:
    """The pieces of least total cost, by dynamic programming over the places between letters."""
    least = [0.0] + [math.inf] * len(form)
    begin = [0] * (len(form) + 1)
    for end in range(1, len(form) + 1):
        for start in range(max(0, end - _LONGEST_WORD), end):
            known = _cost(form[start:end])
            cost = least[start] + (_NATS_UNKNOWN + _NATS_A_LETTER * (end - start) if known is None else known)
            if cost < least[end]:
                least[end], begin[end] = cost, start
    pieces = []
    end = len(form)
    while end:
        pieces.append(form[begin[end] : end])
        end = begin[end]
    return pieces[::-1]


def _cost(piece: str) -> float | None:
    """-log probability of a known word, in nats; None for others."""
    if len(piece) < 3:
        return _SHORT.get(piece)
    costs = _listed()
    if piece in costs:
        return costs[piece]
    return min((costs[base] + _NATS_INFLECTED for base in _bases(piece) if base in costs), default=None)


def _bases(piece: str) -> list[str]:
    """What a word may have been before an ending: baker of bake, shopper of shop."""
    bases = []
    for ending in _ENDINGS:
        short = piece.removesuffix(ending)
        if short != piece and len(short) > 2:
            bases += [short, short + "e"]
            if short[-1] == short[-2]:
                bases.append(short[:-1])
    return bases


@cache
def _listed() -> dict[str, float]:
    words = [line for line in files("retriever").joinpath("english.txt").read_text("ascii").split("\n") if line]
    words = words[1:]  # the first line says where they come from
    scale = math.log(math.log(len(words)))
    return {word: math.log(rank + 20) + scale for rank, word in enumerate(words)}
