"""What can be stitched, and which pairs are drawn."""

from collections import Counter
from pathlib import Path

import pytest

from api import ordering
from api.ordering import Event
from retriever.errors import BenchmarkError
from retriever.types import Media, MediaKind, TimeSpan


def event(name: str, kind: MediaKind = MediaKind.VIDEO, group: str = "") -> Event:
    return Event(Media(name, (f"/{name}",), kind, 10.0, "r"), f"something {name}", TimeSpan(0, 4), group)


def test_captions_become_parts_of_a_sentence() -> None:
    for caption, said in (
        ("A dog catches a frisbee.", "a dog catches a frisbee"),
        ("  Two   birds… ", "two birds"),
        ("NASA launches", "NASA launches"),
        ("I am here", "I am here"),
        ("Paris at night!", "paris at night"),
    ):
        assert ordering.worded(caption) == said


def test_what_is_shown_is_the_middle() -> None:
    media = Media("m", ("/m",), MediaKind.VIDEO, 10.0, "r")
    assert ordering._middle(TimeSpan(0, 10), media, 4) == TimeSpan(3, 7)
    assert ordering._middle(TimeSpan(8, 99), media, 4) == TimeSpan(8, 10)
    assert ordering._middle(TimeSpan(20, 30), media, 4).length < ordering.LEAST_SECONDS  # no such stretch: left out


def test_every_media_is_used_about_equally_often_and_no_pair_twice() -> None:
    events = [event(name) for name in "abcdef"]
    drawn = ordering.pairs(events, 9, seed=1)
    assert len({frozenset(one.media.key for one in pair) for pair in drawn}) == 9
    counts = Counter(one.media.key for pair in drawn for one in pair)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert ordering.pairs(events, 9, seed=1) == drawn
    assert ordering.pairs(events, 9, seed=2) != drawn
    assert len(ordering.pairs(events, 99, seed=1)) == 15


def test_only_media_of_one_kind_and_of_two_groups_are_paired() -> None:
    films = [event("a", group="x"), event("b", group="x"), event("c")]
    sounds = [event("d", MediaKind.SOUND), event("e", MediaKind.SOUND)]
    drawn = ordering.pairs([*films, *sounds], 99, seed=0)
    found = {frozenset(one.media.key for one in pair) for pair in drawn}
    assert found == {frozenset("ac"), frozenset("bc"), frozenset("de")}
    with pytest.raises(BenchmarkError, match="usable are 1 video, 1 sound"):
        ordering.pairs([films[0], sounds[0]], 1, seed=0)


def test_a_list_that_is_not_there() -> None:
    class Nobody:
        def media(self) -> list[Media]:
            return []

    with pytest.raises(BenchmarkError, match=r"name the caption file .* or a \.txt file"):
        ordering.trained_on(Nobody(), [Path("/no/head")])  # type: ignore[arg-type]
