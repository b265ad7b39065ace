"""A sentence becomes moments: the whole way, over small made-up libraries whose truth is known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoo import DIMENSION, SAID, SEEN, ZOO, T, Words, library, media, unit

from retriever import calibrating, calibration
from retriever.adapters import Adapter
from retriever.errors import QueryError, SpaceMismatch
from retriever.grammar import read
from retriever.looking import Looking
from retriever.query import parse
from retriever.registry import Registry
from retriever.search import MISSES, Searcher
from retriever.stores import memory
from retriever.types import (
    Answer,
    Entry,
    Filter,
    Line,
    Matrix,
    Modality,
    TimeSpan,
)


@pytest.fixture(scope="module", autouse=True)
def _few_background_sentences() -> Iterator[None]:
    """Every seventh will do here, and is quicker."""
    whole = calibration.background()
    few = calibration.Background(whole.sentences[::7], whole.modalities[::7])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrating, "background", lambda: few)
        yield


@pytest.fixture(scope="module")
def zoo() -> Searcher:
    return Searcher(library(), Words())


def keys(answer: Answer) -> list[str]:
    return [moment.media.key for moment in answer]


def all_of(searcher: Searcher, query: str, **options: object) -> Answer:
    return searcher.search(query, min_confidence=0, **options)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- what is found


@pytest.mark.parametrize(
    ("query", "key", "modality"),
    [
        ("parrot branch", "parrot", Modality.VISION),
        ("pancake pan", "kitchen", Modality.VISION),
        ("piano concert", "concert", Modality.SOUND),
        ("never do it for free", "talk", Modality.SPEECH),
    ],
)
def test_each_modality_finds_what_is_its_own(zoo: Searcher, query: str, key: str, modality: Modality) -> None:
    best = all_of(zoo, query)[0]
    assert best.media.key == key
    assert best.evidence[0].modality is modality
    assert best.confidence > 0.9


def test_a_moment_is_where_it_happens_and_not_its_segment(zoo: Searcher) -> None:
    assert all_of(zoo, "parrot branch")[0].span == TimeSpan(5, 10)
    assert all_of(zoo, "piano concert")[0].span == TimeSpan(4, 10)  # over the cut at 5
    assert all_of(zoo, "never do it for free")[0].span == TimeSpan(1, 3)


def test_one_scene_found_twice_is_two_moments_that_do_not_overlap() -> None:
    twice = media("twice", seen=[(4, "parrot branch"), (12, "street crowd"), (4, "parrot branch")])
    answer = all_of(Searcher(library([*ZOO[1:], twice]), Words()), "parrot branch", limit=2)
    assert keys(answer) == ["twice", "twice"]
    assert sorted(moment.span for moment in answer) == [TimeSpan(0, 4), TimeSpan(16, 20)]


def test_a_token_that_crosses_a_cut_makes_no_second_moment() -> None:
    """Both segments hold a part of it, and the second one nothing else."""
    crossing = media("crossing", seen=[(4.5, "street crowd"), (1, "parrot branch"), (4.5, "street crowd")], cut=5.0)
    answer = all_of(Searcher(library([crossing, *ZOO[1:]]), Words()), "parrot branch", limit=3)
    assert [moment.span for moment in answer if moment.media.key == "crossing"] == [TimeSpan(4.5, 5.5)]


def test_by_video_names_each_media_once(zoo: Searcher) -> None:
    found = keys(all_of(zoo, "street crowd", by="video", limit=10))
    assert len(found) == len(set(found)) == len(ZOO)
    assert found[0] == "parrot"


def test_a_limit_is_kept_and_moments_come_best_first(zoo: Searcher) -> None:
    answer = all_of(zoo, "pan", limit=3)
    assert len(answer) == 3
    scores = [moment.score for moment in answer]
    assert scores == sorted(scores, reverse=True)


def test_every_span_lies_within_its_media(zoo: Searcher) -> None:
    for query in ("street", "pan", "gone", "silence"):
        for moment in all_of(zoo, query):
            assert 0 <= moment.start_s < moment.end_s <= moment.media.duration
            for evidence in moment.evidence:
                assert all(span.overlaps(moment.span) for span in evidence.spans)


def test_quoted_words_are_matched_as_words_and_shown(zoo: Searcher) -> None:
    best = all_of(zoo, 'somebody says "for free"')[0]
    assert best.media.key == "talk"
    assert {"for", "free"} <= set(best.evidence[0].words)


# ------------------------------------------------------------------------------------------------------ what is refused


def test_a_filter_narrows_and_never_starves(zoo: Searcher) -> None:
    assert set(keys(all_of(zoo, "parrot branch", where=Filter(media=frozenset({"tower"}))))) == {"tower"}
    assert "parrot" not in keys(all_of(zoo, "parrot branch", where=Filter(without=frozenset({"parrot"}))))
    assert keys(all_of(zoo, "street tag:birds", by="video")) == ["parrot"]


@pytest.mark.parametrize("query", ['"never do it for free"', "said:free", "never do it for free THEN the budget"])
def test_words_are_looked_for_only_in_what_passes(zoo: Searcher, query: str) -> None:
    assert "talk" in keys(all_of(zoo, query))
    assert "talk" not in keys(all_of(zoo, f"{query} tag:birds"))


def test_among_fewer_media_the_same_score_is_less_of_a_chance(zoo: Searcher) -> None:
    everywhere = all_of(zoo, "pancake", by="video", limit=1)[0]
    there = all_of(zoo, "pancake", by="video", limit=1, where=Filter(media=frozenset({"kitchen"})))[0]
    assert everywhere.media == there.media
    assert everywhere.confidence <= there.confidence <= 1


def test_what_is_not_there_is_not_answered_and_what_was_near_is_shown(zoo: Searcher) -> None:
    answer = zoo.search("submarine volcano")
    assert not len(answer)
    assert 1 <= len(answer.misses) <= MISSES
    assert all(moment.confidence < 0.9 for moment in answer.misses)
    assert 0 < answer.false_alarms < 0.2


def test_asking_for_no_confidence_answers_everything(zoo: Searcher) -> None:
    answer = all_of(zoo, "submarine volcano")
    assert len(answer)
    assert (answer.misses, answer.false_alarms) == ((), 1.0)


@pytest.mark.parametrize("query", ["", "  ", "tag:birds", "x" * 10_001])
def test_a_query_without_words_or_with_too_many_is_refused(zoo: Searcher, query: str) -> None:
    with pytest.raises(QueryError):
        zoo.search(query)


@pytest.mark.parametrize("options", [{"by": "shot"}, {"limit": 0}, {"depth": 0}])
def test_the_caller_s_slips_are_value_errors(zoo: Searcher, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"by|limit"):
        zoo.search("parrot", **options)  # type: ignore[arg-type]


def test_a_parsed_query_is_taken_too(zoo: Searcher) -> None:
    assert keys(zoo.search(parse("parrot branch"))) == keys(zoo.search("parrot branch"))


# ---------------------------------------------------------------------------------------------------------- the reasons


def test_shares_sum_to_one_and_the_weightiest_comes_first(zoo: Searcher) -> None:
    for query in ("pan", "street crowd", "piano concert", "the budget is gone"):
        for moment in all_of(zoo, query):
            shares = [evidence.share for evidence in moment.evidence]
            assert sum(shares) == pytest.approx(1, abs=1e-5)
            assert shares == sorted(shares, reverse=True)


def test_labels_name_what_was_seen(zoo: Searcher) -> None:
    (label,) = all_of(zoo, "parrot branch")[0].evidence[0].labels
    assert label.name == "parrot branch"
    assert label.probability == pytest.approx(0.8, abs=1e-3)


# -------------------------------------------------------------------------------------------------------- odd libraries


def test_an_empty_library_answers_nothing() -> None:
    for query, least in (("parrot", 0.9), ("parrot", 0.0), ("a parrot THEN a boat", 0.0)):
        answer = Searcher(memory.build(), Words()).search(query, min_confidence=least)
        assert (answer.moments, answer.misses, answer.false_alarms) == ((), (), 0.0)


@pytest.mark.parametrize("entries", [ZOO[:1], ZOO[4:], ZOO[2:4], [media("brief", seen=[(0.5, "parrot")])]])
def test_tiny_libraries_and_those_of_one_modality_work(entries: Sequence[Entry]) -> None:
    searcher = Searcher(library(entries), Words())
    for query in ("parrot branch", "the sound of rain", "someone says hello", "a sign that reads exit"):
        for moment in all_of(searcher, query):
            assert np.isfinite(moment.score)
            assert 0 <= moment.confidence <= 1


def test_words_alone_find_a_line_that_no_space_holds() -> None:
    bare = media("bare", seen=[(6, "wall")])
    line = Line(TimeSpan(1, 3), "the password is swordfish", Modality.TEXT, 0.9)
    entry = Entry(bare.media, bare.segments, bare.spaces, bare.tokens, bare.vectors, (line,))
    best = all_of(Searcher(library([entry, *ZOO]), Words()), "swordfish password")[0]
    assert best.media.key == "bare"
    assert best.evidence[0].words == ("password", "swordfish")
    assert best.evidence[0].spans == (TimeSpan(1, 3),)


@pytest.mark.parametrize("name", Registry("retriever.rerankers").names())
def test_every_reranker_finds_the_parrot(name: str) -> None:
    reranker = Registry("retriever.rerankers").load(name).build()
    assert keys(Searcher(library(), Words(), reranker).search("parrot branch"))[0] == "parrot"


def test_a_shallow_look_still_finds_the_best() -> None:
    assert keys(Searcher(library(), Words()).search("parrot branch", depth=1)) == ["parrot"]


# --------------------------------------------------------------------------------------------- what answers depend on


def seen_by_people(answer: Answer) -> list[tuple[str, float, float, float, float]]:
    return [
        (moment.media.key, moment.start_s, moment.end_s, round(moment.score, 3), round(moment.confidence, 3))
        for moment in answer
    ]


def test_answers_depend_on_the_content_and_not_on_its_history() -> None:
    other = library([media("gone", seen=[(30, "gone gone")]), *reversed(ZOO)])
    other.delete(["gone"])
    for query in ("parrot branch", "pan", "never do it"):
        one, two = (all_of(Searcher(store, Words()), query) for store in (library(), other))
        assert seen_by_people(one) == seen_by_people(two)


def test_answers_do_not_depend_on_what_was_asked_before(zoo: Searcher) -> None:
    before = seen_by_people(all_of(zoo, "parrot branch"))
    for query in ("street", "piano", "budget"):
        zoo.search(query)
    assert seen_by_people(all_of(zoo, "parrot branch")) == before


def test_new_content_is_found_at_once() -> None:
    store = library()
    searcher = Searcher(store, Words())
    assert "boat" not in keys(all_of(searcher, "sailing boat"))
    store.add(media("boat", seen=[(6, "sailing boat")]))
    assert keys(all_of(searcher, "sailing boat"))[0] == "boat"


def test_what_is_derived_is_kept_and_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    store, words = library(), Words()
    before = seen_by_people(all_of(Searcher(store, words, cache=tmp_path / "derived"), "pan"))
    asked = words.calls
    assert seen_by_people(all_of(Searcher(store, words, cache=tmp_path / "derived"), "pan")) == before
    assert words.calls == asked + 1  # the question, and no background
    for file in (tmp_path / "derived").iterdir():
        file.write_bytes(b"PK\x03\x04 damaged")
    assert seen_by_people(all_of(Searcher(store, words, cache=tmp_path / "derived"), "pan")) == before


def test_a_cache_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    nowhere = tmp_path / "missing" / "derived"
    assert keys(Searcher(library(), Words(), cache=nowhere).search("parrot branch"))[0] == "parrot"
    assert not nowhere.exists()


def test_old_states_are_forgotten(tmp_path: Path) -> None:
    store = library()
    searcher = Searcher(store, Words(), cache=tmp_path)
    for number in range(6):
        store.add(media(f"new{number}", seen=[(2, f"thing{number}")]))
        searcher.search("parrot")
    assert len(list(tmp_path.glob("calibration-*.npz"))) == 4
    assert len(list(tmp_path.glob("background-*.npz"))) == 1


# ---------------------------------------------------------------------------------------------------- terms and steps


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough here, and quicker."""
    monkeypatch.setattr(calibrating, "ASKED", 24)


@pytest.fixture(scope="module")
def days() -> Searcher:
    """The same scenes in several orders."""
    return Searcher(
        library(
            (
                *ZOO,
                media("forth", seen=[(4, "sailing boat"), (4, "iron bridge"), (4, "snow hill")]),
                media("back", seen=[(4, "snow hill"), (4, "iron bridge"), (4, "sailing boat")]),
                media("long", seen=[(4, "sailing boat"), (30, "office desk"), (4, "snow hill")]),
                media("loud", seen=[(6, "sailing boat")], heard=[(3, "silence"), (3, "ship horn")]),
            )
        ),
        Words(),
    )


def test_steps_are_found_in_their_order(days: Searcher) -> None:
    there, back = all_of(days, "sailing boat THEN snow hill"), all_of(days, "snow hill THEN sailing boat")
    assert set(keys(there)[:2]) == {"forth", "long"}
    assert keys(back)[0] == "back"
    assert [part.start for part in there[0].parts] in ([0, 8], [0, 34])
    assert there[0].span == TimeSpan(there[0].parts[0].start, there[0].parts[1].end)
    assert there[0].score > there[2].score + 1


def test_steps_on_both_sides_of_a_better_answer_are_no_other_answer() -> None:
    scenes = ("boat sky", "iron bridge", "sailing boat", "snow hill", "iron bridge", "hill sky")
    trip = media("trip", seen=[(4, scene) for scene in scenes])
    found = all_of(Searcher(library((*ZOO, trip)), Words()), "sailing boat THEN snow hill")
    spans = [one.span for one in found if one.media.key == "trip"]
    assert spans[0] == TimeSpan(8, 16)
    for place, span in enumerate(spans):
        assert all(span.shared(better) <= min(span.length, better.length) / 2 for better in spans[:place])


def test_a_limit_between_steps(days: Searcher) -> None:
    near = all_of(days, "sailing boat THEN snow hill WITHIN 10s")
    assert keys(near)[0] == "forth"
    assert near[0].score > near[1].score + 1


def test_all_steps_have_to_be_there(days: Searcher) -> None:
    """Two good ones do not make up for one that is nowhere."""
    assert keys(days.search("sailing boat THEN iron bridge THEN snow hill"))[:1] == ["forth"]
    answer = days.search("sailing boat THEN zebra crossing THEN snow hill")
    assert not len(answer)


def test_at_the_same_time_is_not_one_after_the_other(days: Searcher) -> None:
    assert keys(days.search("sailing boat WHILE ship horn"))[:1] == ["loud"]
    best = all_of(days, "both(sailing boat, ship horn)")[0]
    assert best.media.key == "loud"
    assert best.start_s >= 3
    assert {piece.modality for piece in best.evidence} == {Modality.VISION, Modality.SOUND}


def test_what_must_not_be_there_is_left_out(days: Searcher) -> None:
    plain = all_of(days, "pan")
    quiet = all_of(days, "pan -sizzling")
    assert keys(plain)[0] == keys(quiet)[0] == "kitchen"
    assert quiet[0].score < plain[0].score
    seen = days.search("seen:pan -heard:sizzling", min_confidence=0)
    assert seen[0].score < days.search("seen:pan", min_confidence=0)[0].score - 1


def test_a_field_leaves_the_other_ways_aside(days: Searcher) -> None:
    for query, modality in (("seen:pan", Modality.VISION), ("heard:pan", Modality.SOUND)):
        best = all_of(days, query)[0]
        assert best.media.key == "kitchen"
        assert [piece.modality for piece in best.evidence] == [modality]
    assert keys(days.search('said:"never do it"'))[:1] == ["talk"]
    assert not all_of(days, 'said:"never it do"')
    assert not all_of(days, 'written:"never do it"')


def test_one_media_answers_as_often_as_it_can(days: Searcher) -> None:
    """A film of many boats has them all, and not the first few."""
    scenes = [(4, "sailing boat"), (4, "iron bridge")] * 6
    searcher = Searcher(library((*ZOO, media("regatta", seen=scenes))), Words())
    found = [moment for moment in searcher.search("seen:(sailing boat)", min_confidence=0) if moment.score > 5]
    assert sorted(round(moment.start_s) for moment in found) == [0, 8, 16, 24, 32, 40]
    assert len(all_of(searcher, "seen:(sailing boat)")) >= 6
    assert len(searcher.search("seen:(sailing boat)", limit=4, min_confidence=0)) == 4
    assert len({*keys(searcher.search("seen:(sailing boat)", by="video", min_confidence=0))}) > 1


def test_what_a_library_has_none_of_is_not_found() -> None:
    """Nothing here can be heard."""
    searcher = Searcher(library((ZOO[0], ZOO[4])), Words())
    assert not searcher.search("heard:piano", min_confidence=0)
    assert not searcher.search("seen:tower THEN heard:piano", min_confidence=0)
    assert not searcher.search("both(tower, piano)", min_confidence=0)
    assert keys(searcher.search("seen:tower", min_confidence=0))[0] == "tower"


def test_weights_say_what_counts(days: Searcher) -> None:
    boats, desks = all_of(days, "boat^10 desk"), all_of(days, "boat desk^10")
    assert "boat" in str(boats[0].evidence[0].labels) or "boat" in str(boats[0].evidence[1].labels)
    assert boats[0].ref != desks[0].ref


def test_what_must_not_be_there_takes_away_by_its_weight(days: Searcher) -> None:
    scores = [all_of(days, f"pan -sizzling^{weight}")[0].score for weight in (0.5, 1, 2)]
    assert scores[0] > scores[1] + 0.1 > scores[2] + 0.2


def test_weights_count_by_chance_too() -> None:
    """A term that hardly counts makes a query no less likely to find something by chance than one without it."""
    looking = Looking(Registry("retriever.rerankers").load("maxsim").build())
    calibrator = calibrating.Calibrator(Words(), looking)
    with library().snapshot() as snapshot:
        known = calibrator.of(snapshot)

        def tail(query: str) -> np.ndarray:
            sentence = read(query)
            only = [None for clause in sentence.clauses for _ in clause.terms]
            return calibrator.tail(snapshot, known, sentence, only).best

        even, first, alone, less = (
            tail(query) for query in ("boat^1.5 desk^1.5", "boat^100 desk^0.001", "+boat", "+boat -a")
        )
    np.testing.assert_allclose(first, alone, atol=0.05)
    assert np.abs(even - alone).max() > 0.3
    np.testing.assert_array_equal(less, alone)  # what must not be there is taken to be nowhere


def test_chance_is_that_of_what_is_there_now() -> None:
    looking = Looking(Registry("retriever.rerankers").load("maxsim").build())
    kept, fresh = (calibrating.Calibrator(Words(), looking) for _ in range(2))
    store, sentence = library(ZOO[:2]), read("boat THEN desk")

    def tail(calibrator: calibrating.Calibrator) -> np.ndarray:
        with store.snapshot() as snapshot:
            return calibrator.tail(snapshot, calibrator.of(snapshot), sentence, [None, None]).best

    before = tail(kept)
    for entry in ZOO[2:]:
        store.add(entry)
    np.testing.assert_array_equal(tail(kept), tail(fresh))
    assert not np.array_equal(tail(kept), before)


def test_filters_hold_for_steps_too(days: Searcher) -> None:
    found = days.search("sailing boat THEN snow hill media:long", min_confidence=0)
    assert set(keys(found)) == {"long"}
    assert set(keys(days.search("sailing boat THEN snow hill tag:birds", min_confidence=0))) <= {"parrot"}


def test_an_empty_library_has_no_steps() -> None:
    for query in ("a boat THEN a hill", "seen:boat", "boat -hill"):
        assert not Searcher(library(()), Words()).search(query, min_confidence=0)


def test_chance_is_asked_once_a_way_of_perceiving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    whole = calibrating.Calibrator._asked

    def counted(self: calibrating.Calibrator, *of: Any) -> Any:
        made.append(str(of[-1]))
        return whole(self, *of)

    monkeypatch.setattr(calibrating.Calibrator, "_asked", counted)
    store = library()
    for _ in range(2):  # the second reads what the first has kept
        searcher = Searcher(store, Words(), cache=tmp_path / "derived")
        for query in ("a THEN b", "c d THEN e WITHIN 5s -f", "g^2 THEN h", "seen:a", "seen:b -c", "heard:a"):
            searcher.search(query)
    assert made == ["None", "vision", "sound"]


@pytest.mark.parametrize("shape", ["{} THEN {}", "+{} +{}"], ids=["steps", "terms"])
def test_chance_finds_an_order_as_often_as_it_is_said(shape: str) -> None:
    """Queries put together of what has nothing to do with the library pass as rarely as plain ones."""
    searcher = Searcher(library(), Words())
    draw = np.random.default_rng(0)
    words = [f"nothing{number}" for number in range(200)]
    alarms = [
        bool(len(searcher.search(shape.format(one, other), min_confidence=0.9)))
        for one, other in draw.choice(words, (60, 2))
    ]
    assert np.mean(alarms) < 0.3


# -------------------------------------------------------------------------------------------------- several query sides


def test_every_space_is_asked_by_its_own_encoder() -> None:
    """What is seen has a tower of its own, of another width; what is heard and said is asked in sentences."""
    wide = replace(SEEN, dimension=2 * DIMENSION, query_side="tower:1")
    asked: list[str] = []

    def encode(sentences: Sequence[str], side: str) -> Matrix:
        asked.append(side)
        rows = Words()(sentences)
        return _mirrored(rows) if side == wide.query_side else rows

    def widened(entry: Entry) -> Entry:
        def moved(parts: Mapping[str, T]) -> dict[str, T]:
            return {
                wide.id if key == SEEN.id else key: replace(one, rows=_mirrored(one.rows)) if key == SEEN.id else one
                for key, one in parts.items()
            }

        spaces = {
            wide.id if key == SEEN.id else key: wide if key == SEEN.id else one for key, one in entry.spaces.items()
        }
        return replace(entry, spaces=spaces, tokens=moved(entry.tokens), vectors=moved(entry.vectors))

    searcher = Searcher(library([widened(entry) for entry in ZOO]), encode)
    assert keys(all_of(searcher, "parrot branch"))[0] == "parrot"
    assert keys(all_of(searcher, "piano concert"))[0] == "concert"
    assert keys(all_of(searcher, "the budget is gone"))[0] == "talk"
    assert set(asked) == {SAID.query_side, wide.query_side}


def _mirrored(rows: np.ndarray) -> Matrix:
    return unit(np.concatenate([-rows, rows], axis=1))


def test_an_adapter_moves_the_questions_of_its_own_side_alone() -> None:
    turned = np.roll(np.eye(DIMENSION, dtype=np.float32), 1, axis=0) - np.eye(DIMENSION, dtype=np.float32)
    adapter = Adapter("tower:1", turned, np.zeros(DIMENSION, np.float32))
    looking = Looking(Registry("retriever.rerankers").load("maxsim").build(), adapter=adapter)
    views = Words()(["parrot"])
    np.testing.assert_array_equal(looking.asked(views, "words:1"), views)
    assert not np.allclose(looking.asked(views, "tower:1"), views)


def test_an_adapter_of_no_side_of_the_library_is_refused() -> None:
    looking = Looking(
        Registry("retriever.rerankers").load("maxsim").build(), adapter=Adapter.identity("elsewhere:1", DIMENSION)
    )
    with pytest.raises(SpaceMismatch, match="trained on texts of elsewhere:1"):
        Searcher(library(), Words(), looking).search("parrot")
