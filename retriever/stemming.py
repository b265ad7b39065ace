"""English inflection taken off a word, lightly."""

import re
from functools import lru_cache

_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "person",
    "feet": "foot",
    "teeth": "tooth",
    "geese": "goose",
    "mice": "mous",  # as mouse
    "knives": "knife",
    "wolves": "wolf",
    "loaves": "loaf",
    "buses": "bus",
    "gases": "gas",
}
"""Form → stem, where the rules below would miss."""


@lru_cache(maxsize=1 << 16)
def stem(form: str) -> str:
    """The form without plural, -ed, -ing and silent -e: steps 1 and 5 of Porter (1980), and a few irregular plurals.

    His other steps take off derivations (general, generation), which loses more than it finds in short lines.
    """
    if form in _IRREGULAR:
        return _IRREGULAR[form]
    if len(form) < 4 or not form.isascii() or not form.isalpha():
        return form
    return _tidied(_without_ending(_without_plural(form)))


def _without_plural(form: str) -> str:
    if form.endswith(("sses", "ies")):
        return form[:-2]
    return form[:-1] if form.endswith("s") and not form.endswith(("ss", "us", "is")) else form


def _without_ending(form: str) -> str:
    for ending in ("ing", "ed"):
        short = form.removesuffix(ending)
        if short != form and len(short) > 2 and re.search("[aeiouy]", short):
            return _mended(short)
    return form


def _mended(short: str) -> str:
    """Without its ending a word may lack an e (bak-ing, creat-ing) or have a letter twice (run-n-ing)."""
    if short.endswith(("at", "bl", "iz")) or (_measure(short) == 1 and _ends_short(short)):
        return short + "e"
    return short[:-1] if short[-1] == short[-2] and short[-1] not in "aeioulsz" else short


def _tidied(form: str) -> str:
    """Without a silent e or a second l, and i for y: city as in cities."""
    if form.endswith("e") and len(form) > 3:
        short = form[:-1]
        return short if _measure(short) > 1 or (_measure(short) == 1 and not _ends_short(short)) else form
    if form.endswith("ll") and _measure(form) > 1:
        return form[:-1]
    return form[:-1] + "i" if re.search("[aeiou].*[^aeiou]y$|^[^aeiou]+[^aeiou]y$", form) else form


def _measure(form: str) -> int:
    """Porter's m: how often a consonant follows a vowel."""
    return len(re.findall("(?:[aeiou]|(?<=[^aeiou])y)+[^aeiou]+", form))


def _ends_short(form: str) -> bool:
    """Porter's *o: consonant, vowel, consonant, the last not w, x or y."""
    return bool(re.search("[^aeiou][aeiouy][^aeiouwxy]$", form))
