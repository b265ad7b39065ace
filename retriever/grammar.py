"""How a query hangs together: what comes after what, what must not be there, and what is to be seen, heard, said, read.

    read("a dog barks, then a man laughs within 20s").clauses     # two clauses; .links has the relation and the limit
    read("a street without cars -rain heard:music^2")             # one clause of four terms, two of them unwanted
    read('image:cat.jpg outdoors THEN sound:"my bark.wav"')       # examples in the place of words

Words in capitals always bind: A THEN B, A BEFORE B, A AFTER B, A WHILE B, NOT A.  In small letters they bind by the
rules below where a sentence can be meant so, and whoever wants the words themselves puts them into quotes.  Nothing
here knows of filters or of libraries; places in errors are those of the text that was handed in.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from retriever.errors import QueryError
from retriever.types import Modality, parse_seconds

MOST_CLAUSES = 8
"""Parts of one query: more than these nobody can have meant, and each is a search of its own."""
MOST_WEIGHT = 100.0

_BINDING = frozenset("then before after while followed not no without within".split())  # noqa: SIM905
_BRACKETS = frozenset("()")

FIELDS = {
    "seen": Modality.VISION,
    "heard": Modality.SOUND,
    "said": Modality.SPEECH,
    "written": Modality.TEXT,
}
EXAMPLES = ("image", "sound", "clip", "like")
"""Fields whose value names something to compare with: files, and a moment of the library."""


class Relation(StrEnum):
    """How a clause stands to the one before it."""

    THEN = "then"
    WHILE = "while"


@dataclass(frozen=True, slots=True)
class Link:
    """Between two clauses: the second begins no more than `within` seconds after the first one's end."""

    relation: Relation
    within: float = math.inf


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that is asked for, or must not be there."""

    said: str  # as it was typed, quotation marks included
    modality: Modality | None = None  # None: in whichever way
    weight: float = 1.0
    unwanted: bool = False
    exact: bool = False  # its phrases must be there, word for word
    example: str = ""  # one of EXAMPLES, of which `said` is the value: nothing of it is words

    @property
    def sentence(self) -> str:
        """What is compared by meaning."""
        return "" if self.example else quoted(self.said)[0]

    @property
    def phrases(self) -> tuple[str, ...]:
        """Its quoted parts."""
        return () if self.example else quoted(self.said)[1]

    def __str__(self) -> str:
        if self.example:
            value = self.said if _BARE.fullmatch(self.said) else f'"{self.said}"'
            return f"{'-' if self.unwanted else ''}{self.example}:{value}" + self._weighed
        name = next((f"{field}:" for field, modality in FIELDS.items() if modality is self.modality), "")
        loose = not name and not _BRACKETS & set(self.said) and _binding(self.said)
        sign = "-" if self.unwanted else "+" if loose or (self.weight != 1 and not name) else ""
        text = f"({self.said})" if (sign or name) and not self.exact else self.said
        return f"{sign}{name}{text}" + self._weighed

    @property
    def _weighed(self) -> str:
        return "" if self.weight == 1 else f"^{self.weight:g}"


@dataclass(frozen=True, slots=True)
class Clause:
    """What is asked of one and the same moment."""

    terms: tuple[Term, ...]
    together: bool = False  # seen and heard in the same second

    def __str__(self) -> str:
        single = self.terms[:-2] if self.together else self.terms
        said = [
            f"+({term.said})" if place and term == Term(term.said) else str(term) for place, term in enumerate(single)
        ]
        return " ".join([*said, f"both({self.terms[-2].said}, {self.terms[-1].said})"] if self.together else said)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A query without its filters."""

    clauses: tuple[Clause, ...]
    links: tuple[Link, ...] = ()  # one fewer
    ruled: bool = False  # words in small letters were taken for more than words

    @property
    def is_told(self) -> bool:
        """Whether it is a sentence that tells steps one after another, as people do, and not a formula: its parts lean
        on one another (`he stands up`), so the whole says more of what is meant than each of them."""
        shown = any(term.example for clause in self.clauses for term in clause.terms if not term.unwanted)
        return self.ruled and len(self.clauses) > 1 and not shown

    @property
    def told(self) -> str:
        """All that such a sentence tells of, without what must not be there, and in no order: that is for the steps to
        say, and one vector for all of it would only guess."""
        parts = [" ".join(term.sentence for term in clause.terms if not term.unwanted) for clause in self.clauses]
        return " and ".join(sorted(parts))

    @property
    def is_plain(self) -> bool:
        """Whether it is one wanted thing, in whichever way: what any search asks."""
        (first, *others) = self.clauses
        return not others and first.terms == (Term(first.terms[0].said),)

    def __str__(self) -> str:
        """The query with every rule spelled out: read again, it means the same."""
        if self.ruled and len(self.clauses) > 1:
            softly = self._spelled(str)
            try:
                again = read(softly)
            except QueryError:
                again = None
            if again and (again.clauses, again.links, again.ruled) == (self.clauses, self.links, True):
                return softly
        return self._spelled(str.upper)

    def _spelled(self, way: Callable[[str], str]) -> str:
        parts = [str(self.clauses[0])]
        for link, clause in zip(self.links, self.clauses[1:], strict=True):
            limit = way(f" within {link.within:g}s") if math.isfinite(link.within) else ""
            parts.append(f"{way(link.relation)} {clause}{limit}")
        return " ".join(parts)


# ------------------------------------------------------------------------------------------------------------- pieces


class _Kind(StrEnum):
    WORD = "word"
    QUOTE = "quote"
    FIELD = "field"
    SIGN = "sign"
    BOTH = "both"
    OPEN = "open"  # a ( behind a sign or a field
    END = "end"  # the ) of one of these two
    WEIGHT = "weight"


@dataclass(frozen=True, slots=True)
class _Piece:
    kind: _Kind
    start: int
    end: int
    text: str
    shut: bool = False  # in quotes: no word of it binds

    @property
    def low(self) -> str:
        return self.text.lower().rstrip(",;")


_PIECES = re.compile(
    r"""
      (?P<both>    (?<!\S) both\( )
    | (?P<field>   (?<![\w:]) (?:(?:seen|heard|said|written): | (?:image|sound|clip|like):(?=[^\s)])) )
    | (?P<quote>   ["“”„] [^"“”„]* ["“”„] )
    | (?P<sign>    (?<!\S) [+-] (?=[^\s+-]) )
    | (?P<weight>  (?<=\S) \^ \d+ (?:\.\d+)? (?!\S) )
    | (?P<word>    (?: (?!\^\d+(?:\.\d+)?(?!\S)) [^\s"“”„()] )+ | [()"“”„] )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_BARE = re.compile(r"[\w./~@:+-]+")
"""The value of an example that needs no quotes."""
_SINGLE = re.compile(r"(?<!\w)['‘]([^'‘’]*(?:\w['’]\w[^'‘’]*)*)['’](?!\w)")


def _pieces(text: str) -> Iterator[_Piece]:
    shut = [found.span() for found in _SINGLE.finditer(text)]
    depth = 0
    before: _Piece | None = None
    for found in _PIECES.finditer(text):
        kind, (start, end) = _Kind(found.lastgroup or ""), found.span()
        opens = found.group() == "(" and before and before.end == start and before.kind in (_Kind.SIGN, _Kind.FIELD)
        if opens:
            kind = _Kind.OPEN
        elif found.group() == ")" and depth:
            kind = _Kind.END
        depth += (kind in (_Kind.BOTH, _Kind.OPEN)) - (kind is _Kind.END)
        if kind is _Kind.WEIGHT and not 0 < float(found.group()[1:]) <= MOST_WEIGHT:
            raise wrong(start, found.group(), f"a weight is above 0 and at most {MOST_WEIGHT:g}")
        before = _Piece(kind, start, end, found.group(), any(lo <= start < hi for lo, hi in shut))
        yield before


def wrong(place: int, said: str, why: str) -> QueryError:
    """An error that points at a character, counted from 1."""
    return QueryError(f"the query cannot be read at character {place + 1}, {said[:40]!r}: {why}")


def _binding(text: str) -> bool:
    """Whether anything in a text could be taken for more than words, beside whatever else."""
    pieces = list(_pieces(text))
    marked = any(piece.kind not in (_Kind.WORD, _Kind.QUOTE) for piece in pieces)
    return marked or any(piece.low in _BINDING for piece in pieces)


# -------------------------------------------------------------------------------------------------------------- links

_THEN_NOT_AFTER = frozenset("back since by until till now even just only if".split())  # noqa: SIM905
"""Words before which `then` is a time, and no step: back then, by then."""
_WHILE_NOT_AFTER = frozenset("a the little short long once good quite every".split())  # noqa: SIM905
_BEGINS = frozenset(
    """a an the this that these those some someone somebody something people he she it they we you his her their its
    another one two three men women children""".split()  # noqa: SIM905
)
"""Words that a part of a sentence with a doer begins with."""
_NO_DOING = frozenset("is was this its his us yes as thus gas bus less class glass dress grass news".split())  # noqa: SIM905
_DOING = re.compile(r"[a-z]{2,}(?:ing|ed|[^su\W]s)")
"""Words that may say what somebody does.  Nouns in the plural pass as well: `after the fireworks` is a step too."""


def _binds(pieces: Sequence[_Piece], at: int) -> tuple[str, int] | None:
    """The relation that begins at a piece, and how many pieces it takes; None: it is a word."""
    piece = pieces[at]
    if piece.kind is not _Kind.WORD or piece.shut:
        return None
    word, loud = piece.low, piece.text.rstrip(",;") in ("THEN", "BEFORE", "AFTER", "WHILE")
    before, behind = pieces[:at], pieces[at + 1 :]
    if word in ("then", "before", "after", "while") and loud:
        return word, 1
    if not _says(before) or not _says(behind):
        return None
    last = before[-1].low
    if word == "followed" and behind[0].low == "by" and _says(behind[1:]):
        return "then", 2
    if word == "then" and (last not in _THEN_NOT_AFTER or _a_part(behind, ing=False)):
        return "then", 1
    if word == "while" and last not in _WHILE_NOT_AFTER and (_a_part(behind, ing=True) or _a_pair(behind)):
        return "while", 1
    if word == "after" and behind[0].low == "another" and last == "one":
        return None
    if word in ("before", "after") and _a_part(behind, ing=False) and _a_part(before, ing=True):
        return word, 1
    return None


def _says(pieces: Sequence[_Piece]) -> bool:
    """Whether there is anything to search for."""
    return any(piece.kind in (_Kind.WORD, _Kind.QUOTE) and any(map(str.isalnum, piece.text)) for piece in pieces)


def _a_part(pieces: Sequence[_Piece], *, ing: bool) -> bool:
    """Whether these begin a part of a sentence in which somebody does something; `ing`: or just a doing."""
    words = [piece.low for piece in pieces if piece.kind is _Kind.WORD]
    if pieces and pieces[0].kind is _Kind.FIELD:
        return True
    if not words:
        return bool(pieces) and pieces[0].kind is _Kind.QUOTE
    doing = any(_DOING.fullmatch(word) and word not in _NO_DOING for word in words[1:])
    return (words[0] in _BEGINS and doing) or (ing and (words[0].endswith("ing") or doing))


def _a_pair(pieces: Sequence[_Piece]) -> bool:
    """Whether these begin with somebody, and go on."""
    return len(pieces) > 1 and pieces[0].low in _BEGINS


# ------------------------------------------------------------------------------------------------------------- reading

_UNITS = {"s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1, "min": 60, "mins": 60, "minute": 60, "minutes": 60}
_TIME = re.compile(r"(\d+(?:\.\d+)?)(s|sec|secs|seconds?|mins?|minutes?)?", re.IGNORECASE)
_HELPERS = frozenset(
    "is are was were am be been do does did has have had can could will would should must may might or if why".split()  # noqa: SIM905
)
"""Words behind which `not` belongs to a doing: is not smiling."""


def read(text: str) -> Sentence:
    """
    Raises:
        QueryError: it points at the character that cannot be read.
    """
    pieces = list(_pieces(text))
    clauses: list[list[_Piece]] = [[]]
    relations: list[str] = []
    ruled = False
    at = depth = 0
    while at < len(pieces):
        piece = pieces[at]
        depth += (piece.kind in (_Kind.BOTH, _Kind.OPEN)) - (piece.kind is _Kind.END)
        found = None if depth else _binds(pieces, at)
        if found is None or not (_says(clauses[-1]) or piece.text.isupper()):
            clauses[-1].append(piece)
            at += 1
            continue
        _hold_both_sides(piece, clauses[-1], pieces[at + found[1] :])
        ruled |= not piece.text.isupper()
        clauses[-1] = _trimmed(clauses[-1])
        relations.append(found[0])
        clauses.append([])
        at += found[1]
    if len(clauses) > MOST_CLAUSES:
        start = clauses[MOST_CLAUSES][0].start
        raise wrong(start, text[start:], f"a query has at most {MOST_CLAUSES} parts; ask for fewer")
    limits, parts = [], []
    for place, clause in enumerate(clauses):
        rest, limit = _limited(clause) if place else (clause, math.inf)
        limits.append(limit)
        parts.append(rest)
    made = [_clause(part, text) for part in parts]
    ruled |= any(quietly for _, quietly in made)
    links = [
        Link(Relation.WHILE if name == "while" else Relation.THEN, limit)
        for name, limit in zip(relations, limits[1:], strict=True)
    ]
    return _in_order([clause for clause, _ in made], relations, links, ruled)


def _hold_both_sides(piece: _Piece, before: Sequence[_Piece], behind: Sequence[_Piece]) -> None:
    for side, name in ((before, "before"), (behind, "behind")):
        if not _says(side):
            raise wrong(piece.start, piece.text, f"it wants something {name} it; in quotes it is a word")


def _trimmed(pieces: list[_Piece]) -> list[_Piece]:
    """Without the `and` or the comma that stood before a link; all of it where nothing else is there."""
    kept = list(pieces)
    while kept and kept[-1].kind is _Kind.WORD and kept[-1].low in ("and", "but", ""):
        kept = kept[:-1]
    if not _says(kept):
        kept = list(pieces)
        while kept and kept[-1].kind is _Kind.WORD and not kept[-1].low:
            kept = kept[:-1]
    if kept and kept[-1].kind is _Kind.WORD:
        kept[-1] = replace(kept[-1], text=kept[-1].text.rstrip(",;"))
    return kept if _says(kept) else pieces


def _limited(pieces: list[_Piece]) -> tuple[list[_Piece], float]:
    """The clause without its `within 30 s`, and the limit."""
    depth = 0
    for at, piece in enumerate(pieces[:-1]):
        depth += (piece.kind in (_Kind.BOTH, _Kind.OPEN)) - (piece.kind is _Kind.END)
        if not depth and piece.kind is _Kind.WORD and piece.low == "within" and not piece.shut:
            seconds, taken = _time(pieces[at + 1 :])
            if taken:
                return pieces[:at] + pieces[at + 1 + taken :], seconds
            if piece.text == "WITHIN":
                raise wrong(piece.start, piece.text, "it wants a time, such as 30s or 1:30")
    return pieces, math.inf


def _time(pieces: Sequence[_Piece]) -> tuple[float, int]:
    """A time, and how many pieces it takes; none takes none."""
    said = pieces[0].low
    if ":" in said:
        try:
            return parse_seconds(said), 1
        except ValueError:
            return 0.0, 0
    found = _TIME.fullmatch(said)
    if not found:
        return 0.0, 0
    unit, taken = found[2], 1
    if unit is None and len(pieces) > 1 and pieces[1].low in _UNITS:
        unit, taken = pieces[1].low, 2
    return float(found[1]) * _UNITS[(unit or "s").lower()], taken


def _in_order(clauses: list[Clause], relations: Sequence[str], links: list[Link], ruled: bool) -> Sentence:
    """`A after B` is B then A: whoever asks with `after` says first what comes last."""
    order = list(range(len(clauses)))
    for at, relation in enumerate(relations):
        if relation == "after":
            order[at], order[at + 1] = order[at + 1], order[at]
    return Sentence(tuple(clauses[place] for place in order), tuple(links), ruled)


# --------------------------------------------------------------------------------------------------------------- terms


def _clause(pieces: Sequence[_Piece], text: str) -> tuple[Clause, bool]:
    """A clause, and whether a word in small letters was taken for a `not`."""
    terms: list[Term] = []
    pairs: list[Term] = []
    free: list[_Piece] = []
    quietly = False
    at = 0
    while at < len(pieces):
        piece = pieces[at]
        if piece.kind is _Kind.BOTH:
            if pairs:
                raise wrong(
                    piece.start, text[piece.start :], "one both(…) is enough for one moment: join them with THEN"
                )
            pairs, at = _inside(pieces, at, text)
        elif piece.kind in (_Kind.SIGN, _Kind.FIELD):
            term, at = _marked(pieces, at, text)
            terms.append(term)
        elif (skip := _denies(pieces, at, free)) is not None:
            quietly |= not piece.text.isupper()
            free, start = _trimmed(free), at + skip
            if pieces[start].kind is _Kind.FIELD:
                term, at = _marked(pieces, start, text)
            else:
                at = _end(pieces, start)
                term = _term(pieces[start:at], text)
            terms.append(replace(term, unwanted=True))
        elif piece.kind is not _Kind.WEIGHT and at + 1 < len(pieces) and pieces[at + 1].kind is _Kind.WEIGHT:
            terms.append(replace(_term([piece], text), weight=float(pieces[at + 1].text[1:])))
            at += 2
        else:
            free.append(piece)
            at += 1
    if _says(free):
        terms.insert(0, _term(free, text))
    terms += pairs
    if all(term.unwanted for term in terms):
        first = pieces[0].start if pieces else 0
        raise wrong(first, text[first:], "it says only what must not be there: add what is looked for")
    return Clause(tuple(terms), bool(pairs)), quietly


def _marked(pieces: Sequence[_Piece], at: int, text: str) -> tuple[Term, int]:
    """A term that begins with + or - or a field, and the place behind it."""
    begin = at
    unwanted = False
    if pieces[at].kind is _Kind.SIGN:
        unwanted = pieces[at].text == "-"
        at += 1
    modality = None
    far = False
    if at < len(pieces) and pieces[at].kind is _Kind.FIELD:
        field = pieces[at]
        if field.text[:-1].lower() in EXAMPLES:
            return _example(pieces, at, unwanted, text)
        modality = FIELDS[field.text[:-1].lower()]
        at += 1
        far = at < len(pieces) and pieces[at].start > field.end  # `seen: a dog on a beach`
    if at < len(pieces) and pieces[at].kind is _Kind.OPEN:
        start, end = at + 1, _shut(pieces, at, text)
        behind = end + 1
    else:
        start, end = at, _end(pieces, at) if far else min(at + 1, len(pieces))
        behind = end
    field_again = start < end and pieces[start].kind is _Kind.FIELD and pieces[start - 1].kind is _Kind.FIELD
    if field_again or not _says(pieces[start:end]):
        raise wrong(pieces[begin].start, text[pieces[begin].start :], "nothing to search for stands behind it")
    weight, behind = _weight(pieces, behind)
    exact = modality in (Modality.SPEECH, Modality.TEXT) and end == start + 1 and pieces[start].kind is _Kind.QUOTE
    term = replace(_term(pieces[start:end], text), modality=modality, unwanted=unwanted, exact=exact, weight=weight)
    return term, behind


def _weight(pieces: Sequence[_Piece], at: int) -> tuple[float, int]:
    """The weight that may stand here, and the place behind it."""
    if at < len(pieces) and pieces[at].kind is _Kind.WEIGHT:
        return float(pieces[at].text[1:]), at + 1
    return 1.0, at


def _example(pieces: Sequence[_Piece], at: int, unwanted: bool, text: str) -> tuple[Term, int]:
    """A term whose field, here, names something to compare with, and the place behind it."""
    field, name = pieces[at], pieces[at].text[:-1].lower()
    value = pieces[at + 1] if at + 1 < len(pieces) else field
    glued = at + 2 < len(pieces) and pieces[at + 2].start == value.end and pieces[at + 2].kind is not _Kind.WEIGHT
    said = value.text[1:-1] if value.kind is _Kind.QUOTE else value.text.rstrip(",;")
    if value.kind not in (_Kind.WORD, _Kind.QUOTE) or value.start > field.end or glued or not said.strip():
        wants = "MEDIA@START-END" if name == "like" else "a file"
        raise wrong(field.start, text[field.start :], f"{name}: wants {wants}, in quotes if it has spaces or brackets")
    weight, behind = _weight(pieces, at + 2)
    return Term(said, weight=weight, unwanted=unwanted, example=name), behind


def _shut(pieces: Sequence[_Piece], at: int, text: str) -> int:
    """Where what is opened here ends."""
    for place in range(at + 1, len(pieces)):
        if pieces[place].kind is _Kind.END:
            return place
        if pieces[place].kind is _Kind.FIELD and pieces[place].text[:-1].lower() in EXAMPLES:
            raise wrong(pieces[place].start, text[pieces[place].start :], "examples do not stand in brackets")
        if pieces[place].kind in (_Kind.BOTH, _Kind.OPEN):
            raise wrong(pieces[place].start, text[pieces[place].start :], "brackets do not stand in brackets")
    raise wrong(pieces[at].start, text[pieces[at].start :], f"{pieces[at].text} wants a ) behind it")


def _inside(pieces: Sequence[_Piece], at: int, text: str) -> tuple[list[Term], int]:
    """What is to be seen and heard in the same second: `both(a dog, barking)`, or `both(a dog barking)` for both."""
    start, end = at + 1, _shut(pieces, at, text)
    comma = next((place for place in range(start, end) if pieces[place].text.endswith(",")), -1)
    halves = [pieces[start:end]] * 2 if comma < 0 else [pieces[start : comma + 1], pieces[comma + 1 : end]]
    if not all(map(_says, halves)):
        wanted = "both(…) wants what is seen and what is heard, such as both(a dog, barking)"
        raise wrong(pieces[at].start, text[pieces[at].start :], wanted)
    seen, heard = (_term(_trimmed(list(half)), text) for half in halves)
    return [replace(seen, modality=Modality.VISION), replace(heard, modality=Modality.SOUND)], end + 1


def _denies(pieces: Sequence[_Piece], at: int, free: Sequence[_Piece]) -> int | None:
    """How many pieces a `not`, `without`, `with no`, `but no` takes; None: it is a word."""
    taken = _denial(pieces, at, free)
    if taken is None or not _says(pieces[at + taken : _end(pieces, at + taken)]):
        return None
    return taken


def _denial(pieces: Sequence[_Piece], at: int, free: Sequence[_Piece]) -> int | None:
    """The same, whatever stands behind it."""
    piece = pieces[at]
    if piece.kind is not _Kind.WORD or piece.shut or not _says(pieces[at + 1 :]):
        return None
    last = free[-1].low if free else ""
    word, behind = piece.low, pieces[at + 1].low
    if piece.text == "NOT":
        return 1
    if word == "without" and free:
        return 1
    if word == "not" and last and last not in _HELPERS and behind not in ("only", "just", "yet", "even"):
        return 1
    if word in ("with", "but", "and") and behind in ("no", "not") and free and _says(pieces[at + 2 :]):
        if behind == "no" and pieces[at + 2].low in ("one", "longer", "more"):
            return None
        return 2
    return None


def _end(pieces: Sequence[_Piece], at: int) -> int:
    """Where a term ends that goes on: before a sign, a field, another denial, or behind a comma."""
    for place in range(at, len(pieces)):
        piece = pieces[place]
        if place > at and (
            piece.kind in (_Kind.SIGN, _Kind.FIELD, _Kind.BOTH) or _denies(pieces, place, pieces[at:place]) is not None
        ):
            return place
        if piece.kind is _Kind.WORD and piece.text.endswith((",", ";")):
            return place + 1
    return len(pieces)


def _term(pieces: Sequence[_Piece], text: str) -> Term:
    """Words and quotes as one thing to search for, as they stand in the text."""
    said, end = "", None
    for piece in _trimmed(list(pieces)):
        said += (" " if end is not None and piece.start > end else "") + piece.text
        end = piece.end
    return Term(said)


_DOUBLE = re.compile(r'["“”„]([^"“”„]*)["“”„]')


def quoted(text: str) -> tuple[str, tuple[str, ...]]:
    """A text without its quotation marks, and what stood between them.  An apostrophe in a word is none of them."""
    phrases = [found.strip() for pattern in (_DOUBLE, _SINGLE) for found in pattern.findall(text)]
    sentence = " ".join(_SINGLE.sub(r" \1 ", _DOUBLE.sub(r" \1 ", text)).split())
    return sentence, tuple(phrase for phrase in phrases if phrase)
