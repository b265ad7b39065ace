"""Documents of runs, TREC files, spans."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.errors import BenchmarkError
from retriever.evaluation import _highlights, _spans, _trec, report
from retriever.evaluation._formats import Moments
from retriever.evaluation.measures import Ranked, Truth
from retriever.evaluation.report import Run

SCORES = np.array([[0.9, 0.2, 0.1], [0.3, 0.8, 0.0], [0.1, 0.7, 0.9]], np.float32)
TRUTH = Truth.of([[0], [0], [1]], 3)


BESIDE = {"controls": {"chance": {"R@1": 1 / 3, "mean_rank": 2.0}}, "first_stage": {"depth": 7, "recall": 2 / 3}}


def run(missing: list[int]) -> Run:
    return Run(TRUTH, SCORES, np.isin(np.arange(3), missing))


def value(told: dict, name: str) -> float:
    return told["measures"][name]["value"]


# ----------------------------------------------------------------------------------------------------------------- runs


def test_without_missing_media_both_ways_of_counting_are_one() -> None:
    told = run([]).both_ways()
    for direction in report.DIRECTIONS:
        assert told[direction]["all"] == told[direction]["available"]
    assert value(told["text_to_media"]["all"], "R@1") == pytest.approx(1 / 3, abs=1e-6)
    assert value(told["media_to_text"]["all"], "R@1") == pytest.approx(1 / 2)


def test_a_missing_media_is_a_miss_or_left_out() -> None:
    told = run([1]).both_ways()
    forth, back = told["text_to_media"], told["media_to_text"]
    assert (forth["all"]["questions"], forth["available"]["questions"]) == (3, 2)
    assert (forth["all"]["candidates"], forth["available"]["candidates"]) == (3, 2)
    assert value(forth["all"], "R@1") == pytest.approx(2 / 3, abs=1e-6)  # 0.8 of the missing one stands in no way
    assert value(forth["available"], "R@1") == 1
    assert (back["all"]["questions"], back["available"]["questions"]) == (2, 1)
    assert value(back["all"], "R@1") == pytest.approx(1 / 2)
    assert value(back["available"], "R@1") == 1


def test_if_all_of_them_are_missing_nobody_asks() -> None:
    told = run([0, 1]).both_ways()
    assert told["text_to_media"]["available"] == {"questions": 0, "candidates": 1, "measures": {}, "pessimistic": {}}
    assert value(told["text_to_media"]["all"], "R@100") == 0
    document = {**told, **BESIDE, "missing": ["a", "b"]}
    assert report.rows(document, "text_to_media")[0][3] == "–"


def test_the_table_has_shares_in_percent() -> None:
    document = {**run([1]).both_ways(), **BESIDE, "missing": ["b"]}
    rows = {row[0]: row for row in report.rows(document, "text_to_media")}
    assert rows["R@1"][1].startswith("66.7 [")
    assert rows["R@1"][2] == "66.7"
    assert rows["median rank"][2] == "1.0"
    assert rows["mAP"][2] == ""
    assert rows["R@1"][4] == "33.3"
    assert rows["mAP"][4] == ""
    assert list(rows)[4:7] == ["R@100", "first stage R@7", "median rank"]
    assert rows["first stage R@7"][1] == "66.7"
    assert report.head(document, "text_to_media")[1:] == ("all", "pessimistic", "available only", "chance")
    assert all(len(row) == 5 for row in rows.values())
    back = report.rows(document, "media_to_text")
    assert {len(row) for row in back} == {len(report.head(document, "media_to_text"))} == {4}
    assert "first stage R@7" not in {row[0] for row in back}


def test_published_numbers_say_which_way_they_go() -> None:
    published = [
        {"method": "one", "R@1": 5.0, "source": "a paper"},
        {"method": "other", "R@1": 7.0, "mean_rank": 2, "media_to_text": True, "source": "a page"},
    ]
    assert report.published_head(published) == ("published", "R@1", "mean rank", "source")
    assert report.published_rows(published) == [
        ("one", "5.0", "–", "a paper"),
        ("other, media → text", "7.0", "2", "a page"),
    ]


def kept(path: Path, **whole: object) -> Path:
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path


def test_two_runs_are_compared_by_question(tmp_path: Path) -> None:
    one = report.read(kept(tmp_path / "one.json", digest="d", ranks=[1, 1, 2, None]))
    other = report.read(kept(tmp_path / "other.json", digest="d", ranks=[1, 6, 2, None]))
    document = report.compared(one, other)
    assert document["questions"] == 4
    assert document["measures"]["R@1"] == {"one": 0.5, "other": 0.25, "difference": 0.25, "p": 1.0}
    assert document["measures"]["MRR"]["difference"] == pytest.approx((1 - 1 / 6) / 4, abs=1e-6)
    assert report.compared_rows(document)[0] == ("R@1", "50.0", "25.0", "+25.0", "1.0000")
    with pytest.raises(BenchmarkError, match=r"other questions \(d and e\)"):
        report.compared(one, report.read(kept(tmp_path / "e.json", digest="e", ranks=[1, 1, 1, 1])))


@pytest.mark.parametrize(
    "whole", [{"ranks": [1]}, {"digest": "d"}, {"digest": "d", "ranks": [0]}, {"digest": "d", "ranks": ["x"]}]
)
def test_what_is_no_run_is_refused(tmp_path: Path, whole: dict) -> None:
    with pytest.raises(BenchmarkError, match=r"one\.json"):
        report.read(kept(tmp_path / "one.json", **whole))


# ----------------------------------------------------------------------------------------------------------------- TREC


def test_trec_files_come_back(tmp_path: Path) -> None:
    questions, documents = ["q1", "q2", "q3"], _trec.identifiers(["a", "b b", "c"])
    scores = SCORES.copy()
    scores[0, 2] = -np.inf
    _trec.write_run(tmp_path / "run", scores, questions, documents)
    _trec.write_qrels(tmp_path / "qrels", TRUTH, questions, documents)
    assert (tmp_path / "run").read_text().splitlines()[0] == "q1 Q0 a 1 0.899999976 reelseek"
    assert (tmp_path / "qrels").read_text().splitlines()[2] == "q3 0 b_b 1"
    read, truth = _trec.matrix(_trec.read_run(tmp_path / "run"), _trec.read_qrels(tmp_path / "qrels"))
    np.testing.assert_array_equal(read.astype(np.float32), scores)
    assert np.array_equal(Ranked.of(read, truth).ranks, Ranked.of(scores, TRUTH).ranks)


def test_a_trec_run_finds_only_what_it_names() -> None:
    qrels = {"q1": {"a": 1, "b": 0}, "q2": {"b": 1}, "q3": {"c": 1}}
    run = {"q1": {"b": 2.0, "a": 1.0}, "q2": {"a": 1.0}, "unjudged": {"a": 1.0}}
    scores, truth = _trec.matrix(run, qrels)
    assert Ranked.of(scores, truth).ranks.tolist() == [2, np.inf, np.inf]


def test_trec_files_with_a_mistake_name_the_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content, complaint in (
        ("q1 Q0 a 1 0.5 x\nq1 Q0 a\n", r"file:2: 3 fields; it wants 6"),
        ("q1 Q0 a 1 high x\n", r"file:1: the score is 'high'"),
        ("q1 Q0 a 1 nan x\n", r"file:1: the score is 'nan'"),
        ("q1 Q0 a 1 1 x\nq1 Q0 a 2 1 x\n", r"file:2: a stands there twice for q1"),
        ("q1 Q0 caf\xe9 1 1 x\n", r"file is not UTF-8 text \(byte 9\)"),
    ):
        file.write_text(content, encoding="latin-1")
        with pytest.raises(BenchmarkError, match=complaint):
            _trec.read_run(file)
    file.write_text("q1 0 a yes\n")
    with pytest.raises(BenchmarkError, match=r"file:1: the relevance is 'yes'"):
        _trec.read_qrels(file)
    with pytest.raises(BenchmarkError, match="no relevant document"):
        _trec.matrix({}, {"q1": {"a": 0}})
    with pytest.raises(BenchmarkError, match="alike but for their spaces"):
        _trec.identifiers(["a b", "a_b"])


# ---------------------------------------------------------------------------------------------------------------- spans


def asked(name: str, *windows: tuple[float, float]) -> Moments:
    return Moments(name, "video", "words", windows, "file:1")


def test_spans_by_hand() -> None:
    truth = [asked("1", (0, 10)), asked("2", (0, 4), (10, 20)), asked("3", (5, 6))]
    predictions = {
        "1": [(5, 10, 0.1), (0, 8, 0.9)],  # sorted first: 8/10
        "2": [(12, 20, 0.9), (0, 2, 0.8)],  # fits the second window: 8/10; then 2/4
    }
    judged = _spans.judge(truth, predictions)
    np.testing.assert_allclose(judged.best, [[0.8, 0.8], [0.8, 0.8], [0.0, 0.0]])
    summary = judged.summary()
    assert summary["R1@0.7"].value == pytest.approx(2 / 3)
    assert summary["mIoU"].value == pytest.approx(1.6 / 3)
    np.testing.assert_allclose(judged.precision[0], [1.0] * 7 + [0.0] * 3)  # .5 to .8
    np.testing.assert_allclose(judged.precision[1], [1.0] + [0.5] * 6 + [0.0] * 3)
    np.testing.assert_allclose(judged.precision[2], 0)


def test_five_answers_are_looked_at_and_not_a_sixth() -> None:
    wrong = [(50.0, 60.0, score) for score in (9, 8, 7, 6, 5)]
    truth = [asked("1", (0, 10)), asked("2", (0, 10))]
    judged = _spans.judge(truth, {"1": [*wrong[:4], (0, 6, 1)], "2": [*wrong, (0, 10, 1)]})
    np.testing.assert_allclose(judged.best, [[0, 0.6], [0, 0]])
    summary = judged.summary()
    assert list(summary) == [
        *(f"R{k}@{iou}" for k in (1, 5) for iou in (0.3, 0.5, 0.7)),
        "mIoU",
        "mAP",
        "mAP@0.5",
        "mAP@0.75",
    ]
    assert (summary["R1@0.5"].value, summary["R5@0.5"].value, summary["R5@0.7"].value) == (0, 0.5, 0)


def test_a_window_is_found_once_and_late_precision_is_what_is_still_reached() -> None:
    overlap = _spans.overlaps([(0, 10, 3), (0, 10, 2), (20, 30, 1)], [(0, 10), (20, 30)])
    assert _spans.average_precision(overlap, 0.5) == pytest.approx((1 + 2 / 3) / 2)
    behind = _spans.overlaps([(50, 60, 3), (0, 10, 2), (20, 30, 1)], [(0, 10), (20, 30)])
    assert _spans.average_precision(behind, 0.5) == pytest.approx((2 / 3 + 2 / 3) / 2)  # not 1/2 and 2/3
    assert _spans.average_precision(_spans.overlaps([], [(0, 1)]), 0.5) == 0


def test_predictions_are_read_and_mistakes_name_the_line(tmp_path: Path) -> None:
    file = tmp_path / "predictions"
    file.write_text('{"qid": 7, "pred_relevant_windows": [[0, 4, 0.5]]}\n')
    assert _spans.read_predictions(file) == {"7": [(0.0, 4.0, 0.5)]}
    with pytest.raises(BenchmarkError, match="question '7', which the benchmark does not ask"):
        _spans.judge([asked("1", (0, 1))], _spans.read_predictions(file))
    for line, complaint in (
        ('{"qid": 7}', "it wants"),
        ('{"qid": 7, "pred_relevant_windows": [[0, 4]]}', "it wants"),
        ('{"qid": 7, "pred_relevant_windows": [[4, 0, 1]]}', "the window is"),
        ('{"qid": 7, "pred_relevant_windows": [[0, NaN, 1]]}', "the window is"),
        ("nothing", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"qid": 7, "pred_relevant_windows": 3}', "it wants"),
    ):
        file.write_text('{"qid": 1, "pred_relevant_windows": []}\n' + line + "\n")
        with pytest.raises(BenchmarkError, match=f"predictions:2: .*{complaint}"):
            _spans.read_predictions(file)
    file.write_text('{"qid": 1, "pred_relevant_windows": []}\n' * 2)
    with pytest.raises(BenchmarkError, match="predictions:2: question 1 is answered a second time"):
        _spans.read_predictions(file)


# ----------------------------------------------------------------------------------------------------------- highlights


def test_precision_of_clips_by_hand() -> None:
    right = np.array([True, False, True, False])
    assert _highlights.average_precision(right, np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx((1 + 2 / 3) / 2)
    assert _highlights.average_precision(right, np.array([1.0, 4.0, 3.0, 2.0])) == pytest.approx(1 / 2)  # 1/2, 2/4
    # Both highlights have one score: a threshold finds both or none, so there is one step, not two.
    assert _highlights.average_precision(right, np.array([2.0, 1.0, 2.0, 1.0])) == 1
    assert _highlights.average_precision(right, np.array([1.0, 2.0, 1.0, 1.0])) == pytest.approx(2 / 4)
    assert _highlights.average_precision(np.zeros(3, bool), np.zeros(3)) == 0
    assert _highlights.average_precision(np.ones(3, bool), np.zeros(3)) == 1


def test_a_best_clip_behind_the_end_is_no_hit() -> None:
    right = np.array([[True], [False]])
    assert _highlights.hit(right, np.array([1.0, 0.0, 0.5])) == 1
    assert _highlights.hit(right, np.array([0.0, 0.0, 0.5])) == 0
    assert _highlights.hit(right, np.array([1.0, 1.0])) == 1  # the first of equal ones


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=12))
def test_what_holds_of_any_clips(clips: list[tuple[bool, int]]) -> None:
    right, scores = np.array([one for one, _ in clips]), np.array([float(score) for _, score in clips])
    found = _highlights.average_precision(right, scores)
    assert 0 <= found <= 1
    assert _highlights.average_precision(right, 3 * scores - 1) == pytest.approx(found)
    assert _highlights.average_precision(right, right.astype(float)) == float(right.any())


# ----------------------------------------------------------------------------- the published evaluations, step by step


def plainly_clips(right: list[bool], scores: list[float]) -> float:
    """A point a threshold; of the points at or beyond each recall the best precision; the mean over recalls."""
    if not any(right) or all(right):
        return float(any(right))
    points: dict[float, float] = {}
    for threshold in sorted(set(scores)):
        chosen = [hit for hit, score in zip(right, scores, strict=True) if score >= threshold]
        recall = sum(chosen) / sum(right)
        points[recall] = max(points.get(recall, 0.0), sum(chosen) / len(chosen))
    recalls = [recall for recall in points if recall > 0]
    return sum(max(points[other] for other in points if other >= recall) for recall in recalls) / len(recalls)


def plainly_windows(answers: list[tuple[float, float]], truth: list[tuple[float, float]], threshold: float) -> float:
    """Answers in order take the window they overlap most of those that are left; the area under what precision is still
    reached."""

    def iou(one: tuple[float, float], other: tuple[float, float]) -> float:
        shared = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
        union = (one[1] - one[0]) + (other[1] - other[0]) - shared
        return shared / union if union else 0.0

    taken: set[int] = set()
    hits: list[bool] = []
    for answer in answers:
        by_overlap = sorted(range(len(truth)), key=lambda at: -iou(answer, truth[at]))
        first = next((at for at in by_overlap if iou(answer, truth[at]) >= threshold and at not in taken), None)
        hits.append(first is not None)
        taken |= set() if first is None else {first}
    found = 0.0
    for place, hit in enumerate(hits):
        if hit:
            found += max(sum(hits[: end + 1]) / (end + 1) for end in range(place, len(hits))) / len(truth)
    return found


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=12))
def test_clips_are_judged_as_published(clips: list[tuple[bool, int]]) -> None:
    right, scores = [one for one, _ in clips], [float(score) for _, score in clips]
    found = _highlights.average_precision(np.array(right), np.array(scores))
    assert found == pytest.approx(plainly_clips(right, scores))


windows = st.tuples(st.integers(0, 20), st.integers(1, 10)).map(lambda one: (float(one[0]), float(one[0] + one[1])))


@given(
    st.lists(windows, max_size=6), st.lists(windows, min_size=1, max_size=4, unique=True), st.sampled_from((0.5, 0.7))
)
def test_windows_are_judged_as_published(
    answers: list[tuple[float, float]], truth: list[tuple[float, float]], threshold: float
) -> None:
    scored = [(start, end, float(-place)) for place, (start, end) in enumerate(answers)]
    found = _spans.average_precision(_spans.overlaps(scored, truth), threshold)
    assert found == pytest.approx(plainly_windows(answers, truth, threshold))
