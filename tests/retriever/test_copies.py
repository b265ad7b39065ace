"""The same footage is known again, and what is only alike is not: the measure over made-up sequences of tokens."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever import copies
from retriever.copies import Alignment, Cells, Figures, Footage, Stranger, aligned, filmed, strangers
from retriever.types import Matrix, Media, MediaKind, Modality, Segment, TimeSpan

DIMENSION = 32
APART = {
    "seen": Stranger(Modality.VISION, 0.0),
    "seen too": Stranger(Modality.VISION, 0.0),
    "heard": Stranger(Modality.SOUND, 0.0),
}
seeds = st.integers(0, 10_000)


def drawn(seed: int, count: int = 40, changes: float = 0.7, scene: int | None = None) -> Matrix:
    """`(count, D)` rows that wander around a scene: what is there all the time, and what changes."""
    rng = np.random.default_rng(seed)
    there = np.random.default_rng(seed if scene is None else scene).standard_normal(DIMENSION)
    steps = rng.standard_normal((count, DIMENSION))
    for place in range(1, count):  # neighbours have half of it in common
        steps[place] = np.sqrt(0.5) * (steps[place - 1] + steps[place])
    return zoo.unit(there / np.linalg.norm(there) + changes * steps / np.sqrt(DIMENSION))


def noisy(rows: Matrix, seed: int, much: float = 0.2) -> Matrix:
    """As other encoding leaves them: noise, and a shift that all rows have in common."""
    rng = np.random.default_rng([seed, 1])
    noise = rng.standard_normal(rows.shape) + rng.standard_normal(rows.shape[1])
    return zoo.unit(rows + much * noise / np.sqrt(rows.shape[1]))


def footage(
    key: str,
    rows: Matrix,
    *,
    start: float = 0.0,
    span: TimeSpan | None = None,
    kind: MediaKind = MediaKind.VIDEO,
    spaces: Sequence[str] = ("seen",),
) -> Footage:
    end = start + len(rows) * copies.STEP
    media = Media(key, (f"/clips/{key}.mp4",), kind, end, "r")
    return Footage(media, span or TimeSpan(start, end), start, dict.fromkeys(spaces, Cells.of(rows)))


@given(seeds, st.integers(0, 15), st.integers(36, 60))
def test_a_part_is_found_where_it_was_cut_out(seed: int, skipped: int, count: int) -> None:
    rows = drawn(seed, count)
    whole = footage("whole", rows, start=7.0)
    part = footage("part", noisy(rows[skipped : skipped + 20], seed))
    found = aligned(part, whole, APART)
    assert found
    assert found.offset == pytest.approx(7.0 + skipped * copies.STEP)
    assert found.shared == TimeSpan(0, 20 * copies.STEP)


@given(seeds)
def test_what_is_alike_and_changes_otherwise_is_another_take(seed: int) -> None:
    """The same scene, as near as copies are, and at no offset the same changes."""
    one, other = drawn(seed, scene=seed, changes=0.5), drawn(seed + 20_000, scene=seed, changes=0.5)
    assert float((one @ other.T).mean()) > copies.NEAR
    assert aligned(footage("one", one), footage("other", other), APART) is None


@given(seeds, seeds)
def test_strangers_are_not_the_same(seed: int, second: int) -> None:
    assert aligned(footage("one", drawn(seed)), footage("other", drawn(second + 20_000)), APART) is None


@settings(deadline=None)
@given(seeds, st.integers(6, 40), st.integers(6, 40), st.booleans())
def test_which_of_two_comes_first_does_not_matter(seed: int, first: int, second: int, same: bool) -> None:
    rows = drawn(seed)
    one = footage("one", rows[:first])
    other = footage("other", noisy(rows if same else drawn(seed + 20_000), seed)[:second], start=3.0)
    there, back = aligned(one, other, APART), aligned(other, one, APART)
    assert (there is None) == (back is None)
    if there and back:
        assert back.offset == pytest.approx(-there.offset)
        assert back.shared.start == pytest.approx(there.shared.start + there.offset)


def test_what_stands_still_is_not_called_a_copy() -> None:
    """Nobody can tell it from another take."""
    rows = np.repeat(drawn(1, 1), 40, axis=0)
    assert aligned(footage("one", rows), footage("other", rows), APART) is None


def test_changes_as_small_as_those_of_encoding_say_nothing() -> None:
    """However well they agree: two takes by one camera have its flicker in common."""
    rows = drawn(1, changes=0.02)
    assert aligned(footage("one", rows), footage("other", rows), APART) is None


def test_what_is_brief_has_to_agree_more() -> None:
    figures = {Modality.VISION: Figures(nearness=0.9, concord=0.45)}

    def over(seconds: float) -> Alignment:
        return Alignment(0.0, TimeSpan(0, seconds), 1.0, figures)

    assert over(30).proves(Modality.VISION)
    assert not over(5).proves(Modality.VISION)
    assert not over(30).proves(Modality.SOUND)  # nobody heard anything


def test_a_shot_that_two_films_have_in_common_does_not_make_them_copies() -> None:
    shot = drawn(1, 16)
    one = footage("one", np.concatenate([shot, drawn(2, 24)]), span=TimeSpan(0, 8))
    other = footage("other", np.concatenate([drawn(3, 24), shot]), span=TimeSpan(12, 20))
    assert aligned(one, other, APART) is None
    assert aligned(footage("one", shot), footage("other", shot), APART)


def test_what_is_too_short_to_change_is_not_called_a_copy() -> None:
    rows = drawn(1, 3)
    assert aligned(footage("one", rows), footage("other", rows), APART) is None


def test_moments_that_do_not_meet_are_two_though_the_films_are_one() -> None:
    rows = drawn(1)
    one = footage("one", rows, span=TimeSpan(1, 4))
    assert aligned(one, footage("other", rows, span=TimeSpan(2, 5)), APART)
    assert aligned(one, footage("other", rows, span=TimeSpan(8, 11)), APART) is None


def test_of_several_places_that_are_alike_it_is_that_where_the_moments_meet() -> None:
    """What comes round again and again agrees with itself every time."""
    round_ = drawn(1, 8)
    one = footage("one", np.tile(round_, (2, 1)))
    for start in (0.0, 4.0, 8.0, 12.0):
        found = aligned(one, footage("other", np.tile(round_, (5, 1)), span=TimeSpan(start, start + 8)), APART)
        assert found
        assert (found.offset, found.met) == (start, 1.0)


def test_moments_of_one_media_are_never_copies() -> None:
    one = footage("one", drawn(1))
    assert aligned(one, one, APART) is None


def test_pictures_are_copies_of_equal_pictures_only() -> None:
    rows = drawn(1, 1)

    def of(key: str, rows: Matrix, kind: MediaKind = MediaKind.IMAGE) -> Footage:
        return footage(key, rows, span=TimeSpan(0, 1), kind=kind)

    assert aligned(of("one", rows), of("other", noisy(rows, 1, 0.05)), APART)
    assert aligned(of("one", rows), of("other", noisy(rows, 1, 0.5)), APART) is None
    assert aligned(of("one", rows), of("film", rows, MediaKind.VIDEO), APART) is None


def test_sound_decides_where_there_is_no_picture_and_supports_where_there_is() -> None:
    heard, still = drawn(1), np.repeat(drawn(2, 1), 40, axis=0)
    sound = footage("sound", heard, spaces=("heard",))
    assert aligned(sound, footage("copy", noisy(heard, 1), spaces=("heard",)), APART)

    def film(key: str, seen: Matrix, told: Matrix) -> Footage:
        made = footage(key, seen)
        return replace(made, cells={"seen": Cells.of(seen), "heard": Cells.of(told)})

    assert aligned(sound, film("film", drawn(3), heard), APART)  # its sound alone
    assert aligned(film("one", still, heard), film("other", noisy(still, 1, 0.1), heard), APART)
    assert aligned(film("one", drawn(3), heard), film("other", drawn(4), heard), APART) is None  # other pictures to it
    first, second = (np.repeat(drawn(seed, 1), 40, axis=0) for seed in (6, 7))
    early, late = (np.concatenate([first[:28], second[:12]]), np.concatenate([second[:12], first[:28]]))
    tune = drawn(8, changes=3.0)  # pictures are alike, too, but not while it is
    assert aligned(film("one", early, tune), film("other", late, tune), APART) is None
    dubbed = film("other", drawn(3), drawn(5))
    assert aligned(film("one", drawn(3), heard), dubbed, APART)


def test_several_spaces_of_one_modality_are_asked_together() -> None:
    rows = drawn(1)
    both = ("seen", "seen too")
    assert aligned(footage("one", rows, spaces=both), footage("other", noisy(rows, 1), spaces=both), APART)
    assert aligned(footage("one", rows), footage("other", rows, spaces=("seen too",)), APART) is None


def test_how_near_is_near_depends_on_the_library() -> None:
    """In a space where strangers are at 0.8, so is nobody's copy."""
    rows = drawn(1, scene=3)
    shifted, other = (zoo.unit(each + 2 * drawn(9, 1)) for each in (rows, drawn(2, scene=4)))
    narrow = {"seen": Stranger(Modality.VISION, 0.8)}
    assert aligned(footage("one", shifted), footage("other", noisy(shifted, 1, 0.02)), narrow)
    assert aligned(footage("one", shifted), footage("other", other), narrow) is None


# ------------------------------------------------------------------------------------------------------------ libraries


def test_a_library_says_how_far_strangers_are_apart() -> None:
    alike = [zoo.media(name, seen=[(10, f"{name} road sky")]) for name in ("one", "two", "three", "four")]
    with zoo.library(alike).snapshot() as narrow, zoo.library().snapshot() as wide:
        assert strangers(narrow)[zoo.SEEN.id].cosine > strangers(wide)[zoo.SEEN.id].cosine + 0.2
        assert strangers(wide).keys() == {zoo.SEEN.id, zoo.HEARD.id}
    with zoo.library(alike[:2]).snapshot() as few:
        assert strangers(few)[zoo.SEEN.id].cosine == 0


@pytest.mark.parametrize("count", [3, 6])
def test_copies_in_a_library_do_not_set_the_scale(count: int) -> None:
    same = [zoo.media(f"copy{number}", seen=[(10, "red bus")]) for number in range(count)]
    with zoo.library([*same, *zoo.ZOO]).snapshot() as library:
        assert strangers(library)[zoo.SEEN.id].cosine < 0.3


def test_a_library_of_copies_alone_is_not_believed_to_be_one_of_strangers() -> None:
    same = [zoo.media(f"copy{number}", seen=[(10, "red bus")], cut=20.0) for number in range(4)]
    with zoo.library(same).snapshot() as library:
        assert 0 < strangers(library)[zoo.SEEN.id].cosine <= copies.MOST_ALIKE


def test_footage_is_a_moment_with_what_lies_around_it() -> None:
    store = zoo.library([zoo.media("long", seen=[(30, "street"), (60, "parrot")]), *zoo.ZOO])
    picture = zoo.media("picture", seen=[(1, "parrot branch")])
    still = replace(picture, media=replace(picture.media, kind=MediaKind.IMAGE), segments=(_still(),))
    store.add(still)
    with store.snapshot() as library:
        apart = strangers(library)
        moments = [("long", TimeSpan(40, 44)), ("nobody", TimeSpan(0, 1)), ("picture", TimeSpan(0, 1))]
        around, nobody, one = filmed(library, moments, apart)
        (whole,) = filmed(library, [("long", TimeSpan(0, 90))], apart)
    assert around is not None
    assert (around.start, around.count) == (30.0, 48)
    rows = around.cells[zoo.SEEN.id].rows
    assert rows @ zoo.word("parrot") == pytest.approx(np.ones(48), abs=0.1)
    assert nobody is None
    assert one is not None
    assert one.is_still
    assert one.count == 1
    assert whole is not None
    assert (whole.start, whole.count) == (15.0, 120)  # a minute of it


def test_where_sound_begins_and_ends_is_left_aside() -> None:
    """Windows reach into silence there, and all sounds would change alike."""
    sounds = [
        zoo.media("hum", heard=[(0.5, "edge"), (6, "hum"), (0.5, "edge")], cut=2.0),
        zoo.media("click", heard=[(0.5, "edge")]),
        *zoo.ZOO,
    ]
    with zoo.library(sounds).snapshot() as library:
        moments = [("hum", TimeSpan(2, 4)), ("click", TimeSpan(0, 0.5))]
        hum, click = filmed(library, moments, strangers(library))
    assert hum is not None
    assert hum.count == 14
    assert hum.cells[zoo.HEARD.id].rows @ zoo.word("hum") == pytest.approx(np.ones(14), abs=0.1)
    assert click is not None  # there is nothing else of it
    assert click.cells[zoo.HEARD.id].rows @ zoo.word("edge") == pytest.approx(np.ones(1), abs=0.1)


def _still() -> Segment:
    return Segment(TimeSpan(0, 1), still=True)


@given(seeds, st.integers(1, 20), st.integers(1, 20), st.integers(1, 4))
def test_rows_that_meet_are_summed_as_their_twin_sums_them(seed: int, one: int, other: int, each: int) -> None:
    """Also where a token is on show for several rows."""
    rng = np.random.default_rng(seed)
    ours, theirs = (
        Cells(drawn(seed + count, count), np.sort(rng.integers(0, count, count * each))) for count in (one, other)
    )
    offsets = np.arange(1 - len(ours), len(theirs))
    fast = copies._meeting(ours, theirs, ours.tokens @ theirs.tokens.T, offsets)
    np.testing.assert_allclose(fast, copies._meeting_plain(ours, theirs, offsets), atol=1e-4)
    assert len(ours) == one * each
    np.testing.assert_array_equal(ours.rows, ours.tokens[ours.shown])
