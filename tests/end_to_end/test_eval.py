"""`reelseek eval`, from benchmark files to numbers."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from api import evaluation, exits
from api.main import main
from retriever.adapters import Adapter
from retriever.evaluation import _toy, benchmarks
from retriever.heads import Block, Head
from retriever.looking import Looking
from retriever.search import RERANKERS
from retriever.types import Floats, RaggedTokens, Vector

Captured = pytest.CaptureFixture[str]


def call(capsys: Captured, *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["eval", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def printed(capsys: Captured, *words: object) -> dict:
    code, out, err = call(capsys, *words, "--json")
    assert code == exits.OK, err
    return json.loads(out)


def value(document: dict, name: str, direction: str = "text_to_media", way: str = "all") -> float:
    return document[direction][way]["measures"][name]["value"]


# -------------------------------------------------------------------------------------------------------------- the toy


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the toy's run printed, with TREC files beside it."""
    folder = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with (folder / "toy.json").open("w", encoding="utf-8") as out:
            patch.setattr("sys.stdout", out)
            words = ["--benchmark", "toy", "--json", "--run-out", "toy.run", "--qrels-out", "toy.qrels"]
            assert main(["eval", "retrieval", *words]) == exits.OK
    return folder


def test_the_toy_runs_anywhere_and_searching_it_beats_chance(toy: Path):
    document = json.loads((toy / "toy.json").read_text())
    assert (document["questions"], document["media"], document["missing"]) == (120, 40, ["toy39"])
    chance = document["controls"]["chance"]
    assert chance["R@1"] == pytest.approx(1 / 40)
    for direction in ("text_to_media", "media_to_text"):
        assert value(document, "R@1", direction) > 5 * chance["R@1"]
        assert value(document, "R@1", direction, "available") > value(document, "R@1", direction)
    told = document["text_to_media"]["all"]["measures"]["R@1"]
    assert told["low"] < told["value"] < told["high"]


def test_the_first_stage_is_the_ceiling_and_shuffled_frames_change_nothing(toy: Path):
    document = json.loads((toy / "toy.json").read_text())
    assert document["first_stage"] == {"depth": 200, "recall": 117 / 120}  # all but the three of the missing media
    assert value(document, "R@100") <= document["first_stage"]["recall"]
    assert document["controls"]["shuffled"] == {"R@1": value(document, "R@1"), "moved": 0.0}


def test_a_shallow_first_stage_is_seen(capsys):
    document = printed(capsys, "retrieval", "--benchmark", "toy", "--depth", 3)
    assert document["first_stage"]["depth"] == 3
    assert document["first_stage"]["recall"] < 117 / 120
    assert value(document, "R@100") == pytest.approx(document["first_stage"]["recall"], abs=1e-6)
    assert document["ranks"].count(None) > 3  # what is not named is not found


def test_who_looks_can_be_chosen(tmp_path, capsys):
    Head("xpool", "", (_toy.SPACE.id,), (Block.identity(_toy.DIMENSION),)).save(tmp_path / "head")
    Adapter.identity("", _toy.DIMENSION).save(tmp_path / "adapter")
    found = {}
    for flag, chosen in (("reranker", "none"), ("head", tmp_path / "head"), ("adapter", tmp_path / "adapter")):
        document = printed(capsys, "retrieval", "--benchmark", "toy", f"--{flag}", chosen)
        found[flag] = value(document, "MRR")
        assert value(document, "R@1") > 5 * document["controls"]["chance"]["R@1"]
        assert document["controls"]["shuffled"]["moved"] < 1e-4  # none of them looks at positions
    assert len(set(found.values())) == 3
    Head("xpool", "", ("elsewhere",), (Block.identity(_toy.DIMENSION),)).save(tmp_path / "other")
    code, out, err = call(capsys, "retrieval", "--benchmark", "toy", "--head", tmp_path / "other")
    assert (code, out) == (exits.ERROR, "")
    assert "trained on the space elsewhere" in err


@dataclass(frozen=True)
class OfTheFirst:
    """A reranker that looks at positions: the first token of a segment is all it sees."""

    def rerank(self, view: Vector, tokens: RaggedTokens) -> tuple[Floats, Floats]:
        relevance = tokens.rows.astype(np.float32) @ view
        return relevance[tokens.offsets[:-1]], relevance


def test_shuffling_moves_whatever_looks_at_positions():
    blind, looking = RERANKERS.load("maxsim").build(), OfTheFirst()
    task, made = evaluation.toy(Looking(blind))
    view, space = _toy.encode([task.queries[0]])[0], _toy.SPACE.id
    with made.store.snapshot() as snapshot:
        tokens = {space: snapshot.tokens(snapshot.numbers(), space)}
    for reranker, moves in ((blind, False), (looking, True)):
        plain = Looking(reranker).look({space: view}, tokens, {})[space]
        shuffled = evaluation.Shuffled(reranker).look({space: view}, tokens, {})[space]
        assert np.array_equal(plain[0], shuffled[0]) is not moves
        np.testing.assert_array_equal(plain[1], shuffled[1])  # relevance comes back to its token


def test_the_table_is_for_people(capsys):
    code, out, err = call(capsys, "retrieval", "--benchmark", "toy")
    assert code == exits.OK
    for wanted in (
        "text → media",
        "media → text",
        "R@10",
        "pessimistic",
        "available only",
        "first stage R@200",
        "frames shuffled",
        "chance",
        "toy39",
    ):
        assert wanted in out
    assert "40 media of three events" in err


def test_a_run_compared_with_itself_and_with_its_trec_file(toy: Path, capsys):
    same = printed(capsys, "compare", toy / "toy.json", toy / "toy.json")
    assert (same["questions"], same["measures"]["R@1"]["difference"], same["measures"]["R@1"]["p"]) == (120, 0, 1)
    trec = printed(capsys, "compare", toy / "toy.run", toy / "toy.run", "--qrels", toy / "toy.qrels")
    assert trec["measures"]["R@1"]["one"] == same["measures"]["R@1"]["one"]
    code, out, _ = call(capsys, "compare", toy / "toy.json", toy / "toy.json")
    assert code == exits.OK
    assert "difference" in out
    code, _, err = call(capsys, "compare", toy / "toy.json", toy / "toy.run")
    assert code == exits.ERROR
    assert "toy.run is not what `reelseek eval retrieval --json` prints" in err


# ------------------------------------------------------------------------------------------------------- brought scores


@pytest.fixture
def brought(tmp_path: Path) -> tuple[Path, Path]:
    np.save(tmp_path / "sims.npy", np.array([[0.9, 0.2, 0.1], [0.3, 0.8, 0.8]], np.float32))
    (tmp_path / "truth.jsonl").write_text('{"relevant": [0]}\n{"relevant": [2]}\n')
    return tmp_path / "sims.npy", tmp_path / "truth.jsonl"


def test_scores_of_any_system_are_judged(brought, capsys):
    document = printed(capsys, "retrieval", "--scores", brought[0], "--truth", brought[1])
    assert document["ranks"] == [1, 1.5]
    assert value(document, "R@1") == 0.5
    assert document["text_to_media"]["all"]["pessimistic"]["mean_rank"] == 1.5
    assert value(document, "mean_rank") == 1.25
    assert document["media_to_text"]["all"]["questions"] == 2
    assert document["first_stage"] is None
    assert document["controls"]["shuffled"] is None
    code, out, _ = call(capsys, "retrieval", "--scores", brought[0], "--truth", brought[1])
    assert code == exits.OK
    assert "2 questions, 3 media" in out
    assert "scores were brought, not frames" in out


@pytest.mark.parametrize(
    ("scores", "truth", "complaint"),
    [
        (np.array([[1.0, np.nan]]), '{"relevant": [0]}', "question 1 for column 1 is not a number"),
        (np.array([[1.0, 2.0]]), '{"relevant": [0]}\n{"relevant": [1]}', "1 rows and .* 2 lines"),
        (np.array([[1.0, 2.0]]), '\n{"relevant": [2]}', "truth.jsonl:2: the columns are \\[2\\]"),
        (np.array([[1.0, 2.0]]), '{"relevant": []}', "truth.jsonl:1: the columns are \\[\\]"),
        (np.array([[1.0, 2.0]]), '{"relevant": [true]}', "truth.jsonl:1: the columns are"),
        (np.array([[1.0, 2.0]]), '{"right": [0]}', "truth.jsonl:1: .*it wants"),
        (np.array([[1.0, 2.0]]), "0", "truth.jsonl:1: '0'; it wants an object"),
        (np.array([[1.0, 2.0]]), '{"relevant": [0]', "truth.jsonl:1: no JSON"),
        (np.array([[1.0, 2.0]]), "[" * 100_000, "truth.jsonl:1: no JSON"),
        (np.array([[1.0, 2.0]]), '{"relevant": [0]} caf\xe9', "truth.jsonl is not UTF-8 text"),
        (np.array([1.0, 2.0]), '{"relevant": [0]}', "it wants numbers of shape"),
        (np.array([["a", "b"]]), '{"relevant": [0]}', "it wants numbers of shape"),
        (np.array([[1, None]], object), '{"relevant": [0]}', "is not a plain .npy array"),
    ],
)
def test_scores_with_a_mistake(tmp_path, capsys, scores, truth, complaint):
    np.save(tmp_path / "sims.npy", scores)
    (tmp_path / "truth.jsonl").write_text(truth, encoding="latin-1")
    code, out, err = call(capsys, "retrieval", "--scores", tmp_path / "sims.npy", "--truth", tmp_path / "truth.jsonl")
    assert (code, out) == (exits.ERROR, "")
    assert re.search(complaint, err)


def test_a_trec_run_is_judged_by_its_qrels(toy: Path, brought, capsys):
    ours = json.loads((toy / "toy.json").read_text())
    document = printed(capsys, "retrieval", "--scores", toy / "toy.run", "--truth", toy / "toy.qrels")
    assert (document["questions"], document["media"]) == (120, 40)
    for name in ("R@1", "R@10", "mean_rank", "MRR", "mAP", "nDCG"):
        assert value(document, name) == pytest.approx(value(ours, name), abs=1e-5)
    code, _, err = call(capsys, "retrieval", "--scores", toy / "toy.run", "--truth", brought[1])
    assert code == exits.ERROR
    assert "truth.jsonl:1: 2 fields; it wants 4: QUESTION 0 DOCUMENT RELEVANCE" in err


def test_files_for_other_programs_are_refused_before_the_work(brought, tmp_path, capsys):
    words = ("--scores", brought[0], "--truth", brought[1], "--run-out", tmp_path / "none" / "run")
    code, out, err = call(capsys, "retrieval", *words)
    assert (code, out) == (exits.ERROR, "")
    assert f"there is no folder {tmp_path / 'none'}" in err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"1,2\n3,4\n"])
def test_what_is_no_array(brought, capsys, content):
    brought[0].write_bytes(content)
    code, out, err = call(capsys, "retrieval", "--scores", brought[0], "--truth", brought[1])
    assert (code, out) == (exits.ERROR, "")
    assert "sims.npy is not a plain .npy array" in err
    assert "pickle" not in err.replace("pickled", "")  # no advice to load it unsafely


@pytest.mark.parametrize(
    "words", [[], ["--benchmark", "toy", "--scores", "a"], ["--scores", "a"], ["--benchmark", "msvd"], ["--truth", "t"]]
)
def test_wrong_usage_is_two(no_weights, capsys, words):
    code, _, err = call(capsys, "retrieval", *words)
    assert code == exits.USAGE
    assert "wants" in err


# ---------------------------------------------------------------------------------------------------- against a library


def annotated(folder: Path, *rows: tuple[str, str]) -> Path:
    lines = [f'ret{n},msr{n},{video},"{said}"' for n, (video, said) in enumerate(rows)]
    (folder / "MSRVTT_JSFUSION_test.csv").write_text("\n".join(["key,vid_key,video_id,sentence", *lines]) + "\n")
    return folder


def test_the_media_are_indexed_and_every_caption_asks(no_weights, media, tmp_path, capsys):
    # In a query, tag: and path: would be filters that nothing passes; in a caption they are words.
    folder = annotated(tmp_path, ("first", "red tag:holiday"), ("second", "green path:nowhere"), ("third", "yellow"))
    words = ("--benchmark", "msrvtt_1ka", "--annotations", folder, "--videos", media)
    document = printed(capsys, "retrieval", *words)
    assert (document["questions"], document["media"], document["missing"]) == (3, 3, ["third"])
    assert document["ranks"] == [1, 1, None]
    assert value(document, "R@1") == pytest.approx(2 / 3, abs=1e-6)
    assert value(document, "R@1", way="available") == 1
    assert document["notes"] == [
        "msrvtt_1ka test: 3 questions here, 1,000 published",
        "msrvtt_1ka test: 3 media here, 1,000 published",
    ]
    assert document["published"][0]["source"]
    code, out, err = call(capsys, "retrieval", *words)
    assert code == exits.OK
    assert "X-Pool" in out
    assert err.count("msrvtt_1ka test: 3 media here, 1,000 published") == 1
    assert "warning: msrvtt_1ka test: 3 media here" in err


def test_a_library_that_is_there_is_asked_as_it_is(kept, tmp_path, capsys):
    folder = annotated(tmp_path, ("first", "blue"), ("second", "green"))
    document = printed(capsys, "retrieval", "--benchmark", "msrvtt_1ka", "--annotations", folder)
    assert document["missing"] == []
    assert document["ranks"] == [1, 1]


def test_another_way_of_putting_questions_has_chance_levels_of_its_own(kept, tmp_path, capsys):
    # Kept as those of plain questions, they would be taken for them by every later search.
    folder = annotated(tmp_path, ("first", "blue"), ("second", "green"))
    words = ("retrieval", "--benchmark", "msrvtt_1ka", "--annotations", folder)
    printed(capsys, *words)
    plain = set(Path("lib/derived").glob("calibration-*"))
    assert plain
    printed(capsys, *words, "--prompts", "photos")
    assert set(Path("lib/derived").glob("calibration-*")) - plain


def test_films_come_before_what_lies_beside_them(tmp_path):
    for name in ("a.jpg", "a.mp4", "a.srt", "b.mov.part", "deep/c.WAV", "deep/c.json", "d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {stem: path.name for stem, path in evaluation.files(tmp_path).items()}
    assert found == {"a": "a.mp4", "c": "c.WAV", "b.mov": "b.mov.part", "d": "d"}


def test_a_file_may_be_called_in_several_ways():
    found = evaluation._stems("r1nicOVtvkQ_130", benchmarks.load("audiocaps"))
    assert found == ["r1nicOVtvkQ_130", "Yr1nicOVtvkQ_130", "r1nicOVtvkQ", "Yr1nicOVtvkQ"]


def test_media_that_are_nowhere_are_an_error_that_says_what_was_looked_for(kept, tmp_path, capsys):
    folder = annotated(tmp_path, ("video9770", "blue"))
    words = ("retrieval", "--benchmark", "msrvtt_1ka", "--annotations", folder)
    code, _, err = call(capsys, *words)
    assert code == exits.ERROR
    assert "none of the 1 media of msrvtt_1ka lies in the library lib; looked for video9770.*" in err
    code, _, err = call(capsys, *words, "--videos", tmp_path)
    assert code == exits.ERROR
    assert f"lies below {tmp_path}; looked for video9770.*" in err
    code, _, err = call(capsys, *words, "--videos", tmp_path / "none")
    assert code == exits.ERROR
    assert "it wants the folder that holds the benchmark's media" in err


# ----------------------------------------------------------------------------------------------------------- all others


def test_moments_are_judged(tmp_path, capsys):
    (tmp_path / "charades_sta_test.txt").write_text("3MSZA 24.0 30.0##person turn a light on.\nAMT7R 4 12##a person\n")
    (tmp_path / "found.jsonl").write_text('{"qid": 1, "pred_relevant_windows": [[24, 27, 0.9]]}\n')
    words = ("--benchmark", "charades_sta", "--annotations", tmp_path, "--predictions", tmp_path / "found.jsonl")
    document = printed(capsys, "moments", *words)
    assert document["unanswered"] == 1
    found = {name: told["value"] for name, told in document["measures"].items()}
    recalls = {"R1@0.3": 0.5, "R1@0.5": 0.5, "R1@0.7": 0, "R5@0.3": 0.5, "R5@0.5": 0.5, "R5@0.7": 0}
    precision = {"mAP": pytest.approx(0.05), "mAP@0.5": 0.5, "mAP@0.75": 0}
    assert found == {**recalls, "mIoU": 0.25, **precision}
    assert document["highlights"] is None
    assert [(one["length"], one["questions"]) for one in document["by_length"]] == [("short", 2)]
    code, out, _ = call(capsys, "moments", *words)
    assert code == exits.OK
    assert "Moment-DETR" in out


TRUTH = (
    {
        "qid": 1,
        "query": "a man opens a door",
        "vid": "v1_0.0_20.0",
        "duration": 20,
        "relevant_windows": [[0, 8], [10, 14]],
        "relevant_clip_ids": [0, 1],
        "saliency_scores": [[4, 2, 2], [2, 3, 1]],
    },
    {
        "qid": 2,
        "query": "a dog sleeps",
        "vid": "v2_0.0_20.0",
        "duration": 20,
        "relevant_windows": [[0, 20]],
        "relevant_clip_ids": [9],
        "saliency_scores": [[4, 4, 4]],
    },
)
FOUND = (
    {"qid": 1, "pred_relevant_windows": [[10, 14, 0.2], [0, 8, 0.9]], "pred_saliency_scores": [0.2, 0.9, *[0.1] * 8]},
    {"qid": 2, "pred_relevant_windows": [[0, 12, 0.9]], "pred_saliency_scores": [0.9, *[0.1] * 7, 0.5, 0.8]},
)


def jsonl(path: Path, lines) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_moments_and_highlights_of_any_file(tmp_path, capsys):
    truth, found = jsonl(tmp_path / "truth.jsonl", TRUTH), jsonl(tmp_path / "found.jsonl", FOUND)
    document = printed(capsys, "moments", "--truth", truth, "--predictions", found)
    told = {name: one["value"] for name, one in document["measures"].items()}
    assert (told["R1@0.5"], told["R1@0.7"]) == (1, 0.5)  # 12 of 20 seconds is .6
    assert told["mAP@0.5"] == 1
    assert told["mAP"] == pytest.approx((1 + 3 / 10) / 2)  # .5, .55 and .6 of ten thresholds
    short, middle = document["by_length"]
    assert (short["length"], middle["length"]) == ("short", "middle")
    assert (short["questions"], short["measures"]["mAP"]["value"]) == (1, 1)
    assert (middle["questions"], middle["measures"]["R1@0.5"]["value"]) == (1, 1)
    highlights = {name: {k: v["value"] for k, v in one.items()} for name, one in document["highlights"].items()}
    # Question 1: the best clip is the second one, which nobody gave a 4.  Question 2: the first one, which is none.
    assert highlights["Fair"]["HIT@1"] == 0.5
    assert highlights["VeryGood"]["HIT@1"] == 0
    # Fair of question 1: both, both, and for the third person the first alone, which comes second, as that of 2 does.
    assert highlights["Fair"]["mAP"] == pytest.approx(((1 + 1 + 0.5) / 3 + 0.5) / 2, abs=1e-6)
    # VeryGood of question 1: one person's first clip, which comes second; nobody else has any.
    assert highlights["VeryGood"]["mAP"] == pytest.approx((0.5 / 3 + 0.5) / 2, abs=1e-6)
    code, out, _ = call(capsys, "moments", "--truth", truth, "--predictions", found)
    assert code == exits.OK
    for shown in ("R1@0.7", "short", "middle", "HIT@1", "VeryGood"):
        assert shown in out


def test_scores_of_clips_alone_are_judged_as_well(tmp_path, capsys):
    lines = [{key: value for key, value in one.items() if key != "pred_relevant_windows"} for one in FOUND[:1]]
    truth, found = jsonl(tmp_path / "truth.jsonl", TRUTH), jsonl(tmp_path / "found.jsonl", lines)
    document = printed(capsys, "moments", "--truth", truth, "--predictions", found)
    assert document["unanswered"] == 1
    assert document["measures"]["R1@0.5"]["value"] == 0
    assert document["highlights"]["Fair"]["HIT@1"]["value"] == 0.5


@pytest.mark.parametrize(
    ("truth", "found", "complaint"),
    [
        ({"duration": -1}, {}, "'duration' is -1"),
        ({"relevant_clip_ids": [0]}, {}, "1 clips and 2 scores"),
        ({"relevant_clip_ids": [0, 10]}, {}, "clip 10 is none of the 10 that a media of 20 s has"),
        ({"saliency_scores": [["a"], [1]]}, {}, "wants a list of scores"),
        ({"saliency_scores": [[1, 2], [1]]}, {}, "of one length"),
        ({}, {"pred_saliency_scores": ["x"]}, "wants a list of numbers"),
        ({}, {"pred_saliency_scores": []}, "wants one number or more"),
        ({}, {"pred_relevant_windows": [[1, 2]]}, "it wants"),
        ({}, {"qid": 9}, "an answer to question '9'"),
    ],
)
def test_moments_with_a_mistake(tmp_path, capsys, truth, found, complaint):
    lines = jsonl(tmp_path / "truth.jsonl", [{**TRUTH[0], **truth}, TRUTH[1]])
    answers = jsonl(tmp_path / "found.jsonl", [{**FOUND[0], **found}])
    code, out, err = call(capsys, "moments", "--truth", lines, "--predictions", answers)
    assert (code, out) == (exits.ERROR, "")
    assert complaint in err


def test_moments_want_a_truth(no_weights, tmp_path, capsys):
    for words in ([], ["--benchmark", "qvhighlights"], ["--truth", "a", "--benchmark", "qvhighlights"]):
        code, _, err = call(capsys, "moments", *words, "--predictions", "found.jsonl")
        assert code == exits.USAGE
        assert "wants either --truth FILE" in err
    code, _, err = call(capsys, "moments", "--truth", tmp_path / "none", "--predictions", "found.jsonl")
    assert code == exits.ERROR
    assert "is no file" in err


def test_the_list_has_every_benchmark(capsys):
    document = printed(capsys, "list")
    by_name = {one["name"]: one for one in document["benchmarks"]}
    assert by_name["msrvtt_1ka"]["splits"][0] == {"name": "test", "questions": 1000, "media": 1000}
    code, out, _ = call(capsys, "list")
    assert code == exits.OK
    assert all(name in out for name in by_name)
    lines = out.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("lsmdc"))
    assert lines[place].split()[:5] == ["lsmdc", "retrieval", "test", "1,000", "1,000"]  # the default comes first
    assert lines[place + 1].split() == ["train", "101,079", "–"]  # clips that nobody counts
