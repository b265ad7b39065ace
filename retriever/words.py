"""Words as they are compared: how a line or a question is cut, folded and stemmed.

A *form* is a word without case, accents and apostrophes; a *stem* is a form without its English inflection.  Terms
match by stem, quoted phrases by form.  Text read off a screen loses spaces (SHOPPERSDRUGMART), so a long word of it
may hold several words of a question: `words_inside` says which.
"""

import re
import unicodedata
from collections.abc import Iterator

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

JOINED_FROM = 7
"""Letters from which a word on screen may be several that lost their space."""

_LINKS = ("", "of", "the", "and", "for", "to", "in", "on", "at")
"""What may stand between two terms of one joined word, since a question's terms come without function words."""

_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff"
"""Kana and Han, written without spaces."""
_WORD = re.compile(rf"[{_UNSPACED}]+|(?:[^\W_{_UNSPACED}]|[\u0300-\u036f]|(?<=\w)['’](?=\w))+")
_KANA_HAN = re.compile(f"[{_UNSPACED}]")
_QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”|«([^»]*)»')


def forms(text: str) -> list[str]:
    """The words of a text, folded, in order."""
    return [form for form, _, _ in _cut(unicodedata.normalize("NFKC", text))]


def query_words(text: str) -> WordQuery:
    """A question's terms and its "quoted phrases".  A quote that is not closed is an ordinary character."""
    phrases = tuple(dict.fromkeys(tuple(forms("".join(quoted))) for quoted in _QUOTED.findall(text)))
    rest = list(dict.fromkeys(forms(_QUOTED.sub(" ", text))))
    phrases = tuple(phrase for phrase in phrases if phrase)
    topical = [form for form in rest if form not in FUNCTION_WORDS]
    return WordQuery(tuple(topical if topical or phrases else rest), phrases)


def matched(words: WordQuery, text: str, modality: Modality = Modality.TEXT) -> tuple[str, ...]:
    """The words of a line that answer a question, as they stand there, in order, each once."""
    line = unicodedata.normalize("NFKC", text)
    cut = list(_cut(line))
    stems = {stem(term) for term in words.terms}
    hits = set()
    for place, (form, _, _) in enumerate(cut):
        if stem(form) in stems or (modality is Modality.TEXT and words_inside(words.terms, stem(form))):
            hits.add(place)
    line_forms = [form for form, _, _ in cut]
    for phrase in words.phrases:
        for place in range(len(cut) - len(phrase) + 1):
            if tuple(line_forms[place : place + len(phrase)]) == phrase:
                hits.update(range(place, place + len(phrase)))
        if modality is Modality.TEXT:
            hits.update(place for place, form in enumerate(line_forms) if phrase_inside(phrase, stem(form)))
    return tuple(dict.fromkeys(line[cut[place][1] : cut[place][2]] for place in sorted(hits)))


def words_inside(terms: tuple[str, ...], joined: str) -> frozenset[str]:
    """Which terms a word holds that may have lost its spaces.

    Chance finds short words in long ones (art in heart), so a term counts only in good company: two or more side by
    side (function words may stand between) that make up seven letters; or alone as the beginning (five letters of ten)
    or the end (six of twelve), where a word boundary is certain.
    """
    if len(joined) < JOINED_FROM:
        return frozenset()
    able = {form: term for term in terms for form in (term, stem(term)) if len(form) > 2 and form in joined}
    found: set[str] = set()
    for start in range(len(joined)):
        chain = _chain(joined, start, able)
        held = [able[piece] for piece in chain if piece in able]
        if (len(set(held)) > 1 and _letters(chain) >= JOINED_FROM) or (held and _alone(joined, start, chain[0])):
            found.update(held)
    return frozenset(found)


def phrase_inside(phrase: tuple[str, ...], joined: str) -> bool:
    """Whether a word that may have lost its spaces holds a phrase of several words."""
    together = "".join(phrase)
    return len(phrase) > 1 and len(together) >= JOINED_FROM and (together in joined or stem(together) in joined)


def _alone(joined: str, start: int, piece: str) -> bool:
    if start == 0:
        return len(piece) >= 5 and len(joined) >= 10 and len(joined) - len(piece) >= 3
    return start + len(piece) == len(joined) and len(piece) >= 6 and len(joined) >= 12


def _chain(joined: str, start: int, able: dict[str, str]) -> list[str]:
    """The terms side by side from `start` on, with what joins them, that reach farthest."""
    best: list[str] = []
    for piece in able:
        if joined.startswith(piece, start):
            end = start + len(piece)
            for link in _LINKS:
                if joined.startswith(link, end):
                    rest = _chain(joined, end + len(link), able)
                    chain = [piece, link, *rest] if rest else [piece]
                    best = max(best, chain, key=_letters)
    return best


def _letters(pieces: list[str]) -> int:
    return sum(map(len, pieces))


def _cut(line: str) -> Iterator[tuple[str, int, int]]:
    """Form, start and end of each word of a normalised line.  Han and kana, which have no spaces, come as pairs."""
    for found in _WORD.finditer(line):
        start, end = found.span()
        if _KANA_HAN.match(found[0]) and end - start > 1:
            yield from ((line[at : at + 2], at, at + 2) for at in range(start, end - 1))
            continue
        plain = unicodedata.normalize("NFKD", found[0].replace("'", "").replace("’", ""))
        form = "".join(letter for letter in plain if not unicodedata.combining(letter)).casefold()
        if form:
            yield form, start, end
