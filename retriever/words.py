"""Words as they are compared: how a line or a question is cut, folded and stemmed.

A *form* is a word without case, accents and apostrophes; a *stem* is a form without its English inflection.  Terms
match by stem, quoted phrases by form.  Text read off a screen loses spaces, and gets them back first (`spacing`).
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from retriever import spacing
from retriever.stemming import stem
from retriever.types import Modality, WordQuery

FUNCTION_WORDS = frozenset(
    """a an the this that these those such some any each every both either neither no not nor
    i me my mine myself you your yours yourself he him his himself she her hers herself it its itself
    we us our ours ourselves they them their theirs themselves one ones someone something somebody anyone anything
    who whom whose which what when where why how whether there here
    am is are was were be been being do does did doing done have has had having
    will would shall should can could may might must im youre hes shes its were theyre isnt arent wasnt dont doesnt
    of in on at by for with from to into onto upon over under off out up down about around between among through
    during before after above below behind near against across along as than
    and or but if then else so because while until though although just only very too also again""".split()  # noqa: SIM905 (a list of 150 lines says no more)
)
"""English words that say how others hang together.  They carry no topic, and a small library has too few lines to show
that by counting, so a question counts them only if it has nothing else."""

_MOST_JOINED = 3
"""Neighbouring terms that may be written as one word."""

_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff"
"""Kana and Han, written without spaces."""
_LETTERS = rf"[^\W_{_UNSPACED}]+"
_WORD = re.compile(rf"[{_UNSPACED}]+|{_LETTERS}(?:(?:[\u0300-\u036f]+|['’](?=\w))(?:{_LETTERS})?)*")
_KANA_HAN = re.compile(f"[{_UNSPACED}]")
_QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”|«([^»]*)»')


def forms(text: str) -> list[str]:
    """The words of a text, folded, in order."""
    return [form for form, _, _ in _cut(unicodedata.normalize("NFKC", text))]


def line_forms(text: str, modality: Modality) -> tuple[list[str], list[str]]:
    """The words of a line in order; and those that, on screen, were split because they had lost their spaces."""
    running: list[str] = []
    joined: list[str] = []
    for form in forms(text):
        pieces = spacing.split(form) if modality is Modality.TEXT else ()
        running.extend(pieces or [form])
        joined.extend([form] if pieces else [])
    return running, joined


def term_stems(terms: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Stem of each term → the stems that answer it: its own, and neighbours written as one (ice cream, icecream)."""
    found: dict[str, list[str]] = {stem(term): [stem(term)] for term in terms}
    for size in range(2, _MOST_JOINED + 1):
        for place in range(len(terms) - size + 1):
            run = terms[place : place + size]
            for term in run:
                found[stem(term)].append(stem("".join(run)))
    return {term: tuple(dict.fromkeys(stems)) for term, stems in found.items()}


def query_words(text: str) -> WordQuery:
    """A question's terms and its "quoted phrases".  A quote that is not closed is an ordinary character."""
    quoted = (tuple(forms("".join(groups))) for groups in _QUOTED.findall(text))
    phrases = tuple(dict.fromkeys(phrase for phrase in quoted if phrase))
    rest = list(dict.fromkeys(forms(_QUOTED.sub(" ", text))))
    topical = [form for form in rest if form not in FUNCTION_WORDS]
    return WordQuery(tuple(topical if topical or phrases else rest), phrases)


def asked_words(sentence: str, phrases: Sequence[str]) -> WordQuery:
    """The words of a sentence, and its quoted phrases, which count one by one as well as in a row."""
    cut = (tuple(forms(phrase)) for phrase in phrases)
    return WordQuery(query_words(sentence).terms, tuple(phrase for phrase in cut if phrase))


def matched(words: WordQuery, text: str, modality: Modality) -> tuple[str, ...]:
    """The words of a line that answer a question, as they stand there, in order, each once."""
    line = unicodedata.normalize("NFKC", text)
    if words.phrases:
        return _matched_in_a_row(words, line, modality)
    answering = _answering(words, modality)
    return tuple(dict.fromkeys(each for word in _WORD.findall(line) for each in answering[word]))


class _Answering(dict[str, tuple[str, ...]]):
    """Of the words of lines what answers a question, as it stands there; each is looked at once."""

    def __init__(self, words: WordQuery, modality: Modality) -> None:
        self._answers, _ = _answers(words)
        self._modality = modality

    def __missing__(self, word: str) -> tuple[str, ...]:
        cut = ((word[start:end], _pieces(form, self._modality)[1]) for form, start, end in _cut(word))
        found = tuple(written for written, every in cut if any(stem(one) in self._answers for one in every))
        self[word] = found
        return found


_answering = lru_cache(maxsize=16)(_Answering)  # those of the questions that are at work


def _matched_in_a_row(words: WordQuery, line: str, modality: Modality) -> tuple[str, ...]:
    """The same where phrases count as well, which stand in a row."""
    answers, as_one = _answers(words)
    running: list[tuple[str, int]] = []  # each form with the number of the word that it stands in
    as_written: list[str] = []
    hits: set[int] = set()
    for number, (form, start, end) in enumerate(_cut(line)):
        pieces, every = _pieces(form, modality)
        as_written.append(line[start:end])
        running += [(piece, number) for piece in pieces]
        if any(stem(one) in answers or one in as_one for one in every):
            hits.add(number)
    for phrase in words.phrases:
        for place in phrase_places(phrase, [form for form, _ in running]):
            hits.update(number for _, number in running[place : place + len(phrase)])
    return tuple(dict.fromkeys(as_written[number] for number in sorted(hits)))


@lru_cache(maxsize=256)
def _answers(words: WordQuery) -> tuple[frozenset[str], frozenset[str]]:
    """Stems that answer a question, and its phrases written as one word: asked of many lines, one after the other."""
    stems = (answer for each in term_stems(words.terms).values() for answer in each)
    return frozenset(stems), frozenset("".join(phrase) for phrase in words.phrases)


@lru_cache(maxsize=1 << 16)
def _pieces(form: str, modality: Modality) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A word of a line as `line_forms` has it, and the same with what was split."""
    running, joined = line_forms(form, modality)
    return tuple(running), (*running, *joined)


def phrase_places(phrase: tuple[str, ...], running: Sequence[str]) -> list[int]:
    """Where a phrase begins in a run of forms."""
    places = range(len(running) - len(phrase) + 1)
    return [place for place in places if tuple(running[place : place + len(phrase)]) == phrase]


def _cut(line: str) -> Iterator[tuple[str, int, int]]:
    """Form, start and end of each word of a normalised line.  Han and kana, which have no spaces, come as pairs."""
    for found in _WORD.finditer(line):
        word = found[0]
        start, end = found.span()
        if end - start > 1 and _KANA_HAN.match(word):
            yield from ((line[at : at + 2], at, at + 2) for at in range(start, end - 1))
        elif form := _folded(word):
            yield form, start, end


@lru_cache(maxsize=1 << 16)
def _folded(word: str) -> str:
    plain = unicodedata.normalize("NFKD", word.replace("'", "").replace("’", ""))
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).casefold()
