"""Benchmarks of sentences against one another: what is read, and what is counted.

The lines are as published: caption_matching.json of TempCompass (its third and fourth video), ovbench.json of OVO-Bench
(its first entry; a forward entry as users of it show one), direction.json of TOMATO (its first question), and the
dataset card of TemporalBench (shortened).  MVBench's line has the keys that its readers use; the sentence is ours.
"""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.errors import BenchmarkError
from retriever.evaluation import benchmarks, temporal
from retriever.evaluation._temporal import Item


def written(folder: Path, name: str, content: object) -> Path:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def items(name: str, folder: Path, split: str = "") -> list[Item]:
    return benchmarks.read_items(benchmarks.load(name), split, folder)[0]


# -------------------------------------------------------------------------------------------------------------- formats

TWO = (
    "Which caption best describes this video?\nA. A person closes the door of the fridge with his left hand. \n"
    "B. A person closes the door of the fridge with his right hand.\n"
    "Answer with the option's letter from the given choices directly."
)


def test_temporalbench(tmp_path: Path) -> None:
    name = "short_video/Charades/EEVD3_start_11.4_end_16.9.mp4"
    line = {"idx": f"{name}_0", "video_name": name, "category": 6, "dataset": "Charades", "question": TWO, "GT": "B"}
    (one,) = items("temporalbench", written(tmp_path, "temporalbench_short_qa.json", [line]))
    assert one.options == (
        "A person closes the door of the fridge with his left hand.",
        "A person closes the door of the fridge with his right hand.",
    )
    assert (one.right, one.media, one.aspect, one.group) == (1, "EEVD3_start_11.4_end_16.9", "action effector", name)
    for change in ({"GT": "C"}, {"question": "Which?"}, {"question": TWO.replace("B. ", "C. ")}):
        with pytest.raises(BenchmarkError, match=r"entry 1: .*it wants lines A"):
            items("temporalbench", written(tmp_path, "temporalbench_short_qa.json", [{**line, **change}]))


ASKED = (
    "Which caption matches the video better?\nCaption A: The basketball is moving from right to left.\n"
    "Caption B: The basketball is moving from left to right."
)
LEFT, RIGHT = ASKED.split("\n")[1:]


def test_tempcompass_and_its_conflicts(tmp_path: Path) -> None:
    whole = {
        "1094590221": {"direction": [{"question": ASKED, "answer": LEFT}]},
        "1094590221_reverse": {"direction": [{"question": ASKED, "answer": RIGHT}]},
    }
    found = items("tempcompass", written(tmp_path, "caption_matching.json", whole))
    assert [(one.media, one.right, one.aspect) for one in found] == [
        ("1094590221", 0, "direction"),
        ("1094590221_reverse", 1, "direction"),
    ]
    assert found[0].options[1] == "The basketball is moving from left to right."
    assert found[0].twin == found[1].twin
    # The first sentence is liked more on both, and most on the first: right of two sentences once, of two media always.
    scores = [[0.9, 0.1], [0.8, 0.2]]
    told = temporal.summary(found, scores)
    assert told is not None
    assert told.pairs.value == 0.5
    assert temporal.conflicts(found, scores).value == 1  # type: ignore[union-attr]
    assert temporal.conflicts(found[:1], scores[:1]) is None
    whole["1094590221"]["direction"][0]["answer"] = "Caption C: neither."
    with pytest.raises(BenchmarkError, match="1094590221, direction, question 1: the answer 'Caption C"):
        items("tempcompass", written(tmp_path, "caption_matching.json", whole))


def test_ovobench(tmp_path: Path) -> None:
    seen = {
        "id": 0,
        "task": "EPM",
        "video": "/videos/Ego4D/clips/ec4a3ba3-eb00-4aa8-9b41-36043ece98f7.mp4",
        "realtime": 215,
        "question": "Who did I communicate to when chopping egg plants?",
        "answer": "a person with blue shirt",
        "options": ["a person with brown shirt", "a person with green shirt", "a person with blue shirt"],
        "gt": 2,
    }
    coming = {
        "id": 1468,
        "task": "CRR",
        "video": "MovieNet/tt0048028.mp4",
        "question": "What action does she take to the car?",
        "ask_time": 297,
        "clue_time": 308,
        "test_info": [{"realtime": 297, "type": 0}, {"realtime": 310, "type": 1}],
    }
    step = {"id": 3, "task": "SSR", "video": "c.mp4", "test_info": [{"realtime": 7, "step": "open the box", "type": 1}]}
    count = {
        "id": 4,
        "task": "REC",
        "video": "d.mp4",
        "activity": "jumping",
        "test_info": [{"realtime": 5, "count": 1}],
    }
    found = items("ovo_bench", written(tmp_path, "ovo_bench_new.json", [seen, coming, step, count]))
    assert [(one.id, one.until, one.present) for one in found] == [
        ("0", 215, None),
        ("1468/1", 297, False),
        ("1468/2", 310, True),
        ("3/1", 7, True),
    ]
    assert found[0].options[2] == "Who did I communicate to when chopping egg plants? a person with blue shirt"
    assert (found[0].right, found[0].media) == (2, "ec4a3ba3-eb00-4aa8-9b41-36043ece98f7")
    assert found[3].options == ("open the box",)
    assert [one.aspect for one in items("ovo_bench", tmp_path, "choice")] == ["EPM"]
    assert temporal.yet(found[1:3], [[0.1], [0.9]]).value == 1  # type: ignore[union-attr]
    assert temporal.summary(found[1:], [[0.1], [0.9], [0.5]]) is None
    for change, complaint in (({"gt": 3}, "the answer is 3 of 3 options"), ({"realtime": 0}, "'realtime' is 0")):
        with pytest.raises(BenchmarkError, match=complaint):
            items("ovo_bench", written(tmp_path, "ovo_bench_new.json", [{**seen, **change}]))


def test_tomato(tmp_path: Path) -> None:
    one = {
        "question": "In which direction(s) did the person's hand move?",
        "options": ["Not moving at all", "Left.", "Right."],
        "answer": 2,
        "key": "0231-04",
        "motion_type": "direction",
    }
    (found,) = items("tomato", written(tmp_path, "direction.json", {"0": one}), "direction")
    assert (found.media, found.right, found.aspect) == ("0231-04", 2, "direction")
    assert found.options[2] == "In which direction(s) did the person's hand move? Right."
    with pytest.raises(BenchmarkError, match="the answer is '2' of 3 options"):
        items("tomato", written(tmp_path, "direction.json", {"0": {**one, "answer": "2"}}), "direction")


def test_mvbench(tmp_path: Path) -> None:
    one = {
        "video": "sub/166583.webm",
        "question": "What is the action?",
        "candidates": ["Opening a box", "Closing a box"],
        "answer": "Closing a box",
    }
    (found,) = items("mvbench", written(tmp_path, "action_antonym.json", [one]), "action_antonym")
    assert (found.media, found.right, found.aspect) == ("166583", 1, "action_antonym")
    with pytest.raises(BenchmarkError, match="the answer 'Eating' is none of its 2 candidates"):
        items("mvbench", written(tmp_path, "action_antonym.json", [{**one, "answer": "Eating"}]), "action_antonym")
    with pytest.raises(BenchmarkError, match="it asks of a part of its video"):
        items("mvbench", written(tmp_path, "action_antonym.json", [{**one, "start": 1.0}]), "action_antonym")


def test_a_benchmark_of_another_kind() -> None:
    with pytest.raises(BenchmarkError, match="msvd asks no sentence against another: reelseek eval retrieval"):
        benchmarks.read_items(benchmarks.load("msvd"), "", Path())


# -------------------------------------------------------------------------------------------------------------- counted


def item(name: str, group: str, options: int = 2, right: int = 0) -> Item:
    return Item(name, group, "all", tuple("abcdefg"[:options]), right, name, group)


def test_counted_by_hand() -> None:
    asked = [item("1", "x"), item("2", "x", 3, 1), item("3", "y")]
    told = temporal.summary(asked, [[2, 1], [3, 2, 1], [1, 1]])
    assert told is not None
    assert told.items == 3
    assert told.pairs.value == pytest.approx(2 / 4)  # right; wrong and right; a tie
    assert told.questions.value == pytest.approx(1 / 3)
    assert told.groups.value == 0  # x has a wrong one, and y a tie
    assert told.ties == pytest.approx(1 / 4)
    assert temporal.summary(asked[:1], [[2, 1]]).groups.value == 1  # type: ignore[union-attr]


def test_the_mean_over_modes() -> None:
    found = temporal.by_mode({"a": 0.2, "b": 0.4, "c": 0.9}, {"one": ["a", "b"], "two": ["c"], "three": ["d"]})
    assert found == pytest.approx({"one": 0.3, "two": 0.9, "all": 0.6})
    assert temporal.by_mode({}, {"one": ["a"]}) == {}


@given(
    st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 4), min_size=2, max_size=4)), min_size=1, max_size=8)
)
def test_a_whole_is_never_more_than_its_parts(asked: list[tuple[int, list[int]]]) -> None:
    made = [item(str(at), str(group), len(scores)) for at, (group, scores) in enumerate(asked)]
    told = temporal.summary(made, [[float(score) for score in scores] for _, scores in asked])
    assert told is not None
    for found in (told.pairs, told.questions, told.groups):
        assert 0 <= found.low <= found.high <= 1
    if told.groups.value == 1:
        assert told.questions.value == told.pairs.value == 1
    if told.pairs.value == 0:
        assert told.questions.value == told.groups.value == 0
