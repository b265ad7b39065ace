"""Media of a library that hold the same footage: what they are to each other, and where."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import zoo
from zoo import media

from retriever.duplicates import Pair, Tie, duplicates, groups
from retriever.types import Entry, Filter, Media, MediaKind, Segment, TimeSpan

WAVES = [(1.0, f"boat wave{number}") for number in (1, 2, 3, 1, 4, 2, 5, 3, 6, 1, 7, 4)]
ROCKS = [(1.0, f"hill rock{number}") for number in (3, 1, 4, 1, 5, 9, 2, 6, 5, 3)]


def found(entries: Sequence[Entry], where: Filter | None = None) -> list[Pair]:
    with zoo.library([*entries, *zoo.ZOO]).snapshot() as library:
        return list(duplicates(library, where or Filter()))


def told(pair: Pair) -> tuple[str, Tie, str, list[float]]:
    spans = [pair.span.start, pair.span.end, pair.elsewhere.start, pair.elsewhere.end]
    return pair.one.key, pair.relation, pair.other.key, spans


@pytest.mark.parametrize(
    ("other", "relation", "spans"),
    [
        (WAVES, Tie.COPY, [0, 12, 0, 12]),
        ([(20, "iron bridge"), *WAVES, (5, "tall tree")], Tie.PART, [0, 12, 20, 32]),
        ([(30, "iron bridge"), *WAVES[:10]], Tie.OVERLAP, [0, 10, 30, 40]),
    ],
    ids=["copy", "part", "overlap"],
)
def test_what_two_media_are_to_each_other(other, relation, spans) -> None:
    (pair,) = found([media("waves", seen=WAVES), media("xother", seen=other), media("rocks", seen=ROCKS)])
    one, kind, beside, where = told(pair)
    assert (one, kind, beside) == ("waves", relation, "xother")
    assert where == pytest.approx(spans, abs=0.5)
    assert pair.nearness > 0.8
    assert pair.concord > 0.6


def test_media_that_hang_together_are_one_group() -> None:
    entries = [
        media("film", seen=[*WAVES, *ROCKS]),
        media("waves", seen=WAVES),
        media("rocks", seen=ROCKS),
        media("talk1", seen=[(1.0, f"desk word{number}") for number in range(8)]),
        media("talk2", seen=[(1.0, f"desk word{number}") for number in range(8)]),
    ]
    large, small = groups(found(entries))
    assert [item.key for item in large.media] == ["film", "waves", "rocks"]
    assert {(pair.one.key, pair.relation) for pair in large.pairs} == {
        ("waves", Tie.PART),
        ("rocks", Tie.PART),
    }
    assert [item.key for item in small.media] == ["talk1", "talk2"]


def test_a_library_without_copies_has_no_groups() -> None:
    assert groups(found([media("waves", seen=WAVES), media("rocks", seen=ROCKS)])) == []


def test_only_media_that_pass_are_looked_at() -> None:
    entries = [media(name, seen=WAVES) for name in ("one", "two", "three")]
    assert len(found(entries)) == 3
    assert [told(pair)[::2][:2] for pair in found(entries, Filter(without=frozenset({"two"})))] == [("one", "three")]
    assert found(entries, Filter(media=frozenset({"one"}))) == []
    assert found([], Filter(media=frozenset({"nobody"}))) == []


def test_what_is_heard_is_asked_where_nothing_is_seen() -> None:
    """Silence is alike everywhere, and names nobody."""
    song = [(1.0, f"piano note{number}") for number in (1, 5, 3, 2, 6, 4, 1, 7)]
    entries = [
        media("song", heard=song),
        media("film", seen=ROCKS[:8], heard=song),
        media("quiet", seen=WAVES[:8], heard=[(8, "silence")]),
        media("mute", seen=[(8, "tall tree")], heard=[(8, "silence")]),
    ]
    assert [told(pair)[:3] for pair in found(entries)] == [("film", Tie.COPY, "song")]


def test_a_long_film_is_followed_to_its_end() -> None:
    rng = np.random.default_rng(3)
    scenes = [(1.0, f"boat wave{number}") for number in rng.integers(0, 12, 700)]
    (pair,) = found([media("long", seen=scenes), media("longer", seen=[(100, "iron bridge"), *scenes])])
    assert told(pair)[:3] == ("long", Tie.PART, "longer")
    assert pair.span.length > 690


def test_equal_pictures_are_copies() -> None:
    def picture(key: str, scene: str) -> Entry:
        made = media(key, seen=[(0.5, scene)])
        return replace(
            made,
            media=replace(made.media, kind=MediaKind.IMAGE, duration=1.0),
            segments=(Segment(TimeSpan(0, 1), still=True),),
        )

    (pair,) = found([picture("one", "red bus"), picture("two", "red bus"), picture("three", "green bus")])
    assert told(pair) == ("one", Tie.COPY, "two", [0, 1, 0, 1])


def test_groups_come_in_one_order_whatever_the_order_of_pairs() -> None:
    names = [f"m{number}" for number in range(7)]
    held = [Media(name, (f"/{name}",), MediaKind.VIDEO, 5.0, "r") for name in names]
    span = TimeSpan(0, 5)
    pairs = [Pair(one, other, span, span, 1, 1) for one, other in [*pairwise(held[:4]), *pairwise(held[4:])]]
    for order in (pairs, pairs[::-1]):
        assert [[item.key for item in group.media] for group in groups(order)] == [names[:4], names[4:]]
