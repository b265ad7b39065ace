"""Manifests, and a few lines of each published format.

The lines are as published, with their sources: MSRVTT_JSFUSION_test.csv (JSFusion, first row), MSRVTT_data.json (the
README of MSR-VTT), AudioCaps train.csv (its first row), esc50.csv (its first row), Charades-STA test (its first
rows), the example of QVHighlights in moment_detr's data/README.md.  Others have the published columns and keys.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from retriever.errors import BenchmarkError
from retriever.evaluation import _formats, benchmarks
from retriever.evaluation.benchmarks import Task, load, names, read, read_moments


def written(folder: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def pairs(task: Task) -> list[tuple[str, list[str]]]:
    """Each question with the names of its media."""
    return [(text, [task.media[c] for c in columns]) for text, columns in zip(task.queries, task.relevant, strict=True)]


# ------------------------------------------------------------------------------------------------------------ manifests


@pytest.mark.parametrize("name", names())
def test_a_manifest_says_all_that_is_wanted(name: str) -> None:
    manifest = load(name)
    assert manifest.title
    assert manifest.licence
    assert manifest.protocol
    assert all(split.queries >= split.media for split in manifest.splits.values()) or name == "esc50"
    for one in manifest.published:
        assert one["method"]
        assert one["source"]
        assert "unconfirmed" not in one["source"]
        assert all(1 <= one[key] <= 100 for key in one if key.startswith(("R@", "R1@", "mAP", "mIoU")))
        assert sorted(recalls := [one[f"R@{k}"] for k in (1, 5, 10) if f"R@{k}" in one]) == recalls


def test_the_folder_is_the_list() -> None:
    wanted = {"msrvtt_1ka", "msrvtt_full", "msvd", "lsmdc", "didemo", "vatex", "activitynet", "charades"}
    wanted |= {"audiocaps", "clotho", "esc50", "charades_sta", "qvhighlights", "toy"}
    assert set(names()) >= wanted
    with pytest.raises(BenchmarkError, match=r"no benchmark 'msvtt'.*did you mean 'ms"):
        load("msvtt")
    with pytest.raises(BenchmarkError, match="msvd has no split 'dev': it has train, val, test"):
        load("msvd").split("dev")


MANIFEST = """
title = "Mine"
task = "retrieval"
licence = "mine"
default = "test"
protocol = "one caption"
traps = []
published = []
[splits.test]
format = "jsonl"
file = "mine.jsonl"
count_queries = 2
count_media = 2
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('licence = "mine"', "", "mine.toml has no 'licence'"),
        ('"jsonl"', '"parquet"', "has the format 'parquet'; it wants one of"),
        ('"retrieval"', '"poetry"', "has the task 'poetry'; it wants retrieval or moments"),
        ("count_media = 2", "", "has no 'count_media'"),
        ("traps = []", "traps = [", "is no TOML"),
    ],
)
def test_a_manifest_that_cannot_be(old: str, new: str, complaint: str) -> None:
    with pytest.raises(BenchmarkError, match=complaint):
        benchmarks.parse("mine", MANIFEST.replace(old, new))


def test_a_benchmark_of_ones_own(tmp_path: Path) -> None:
    written(
        tmp_path, {"mine.jsonl": '{"media": "a.mp4", "captions": ["x", "y"]}\n\n{"media": "b", "captions": ["z"]}\n'}
    )
    task = read(benchmarks.parse("mine", MANIFEST), "test", tmp_path)
    assert pairs(task) == [("x", ["a"]), ("y", ["a"]), ("z", ["b"])]
    assert task.notes == ("mine test: 3 questions here, 2 published",)


# -------------------------------------------------------------------------------------------------------------- formats


def test_msrvtt_1ka(tmp_path: Path) -> None:
    written(
        tmp_path,
        {
            "MSRVTT_JSFUSION_test.csv": "key,vid_key,video_id,sentence\n"
            "ret0,msr9770,video9770,a person is connecting something to system\n",
            "MSRVTT_train.9k.csv": "video_id\nvideo0\n",
            "MSRVTT_data.json": {
                "videos": [{"video_id": "video0", "split": "train"}, {"video_id": "video7010", "split": "test"}],
                "sentences": [
                    {"video_id": "video0", "caption": "a car is shown", "sen_id": 0},
                    {"video_id": "video7010", "caption": "a girl sings", "sen_id": 1},
                ],
            },
        },
    )
    task = read(load("msrvtt_1ka"), "", tmp_path)
    assert pairs(task) == [("a person is connecting something to system", ["video9770"])]
    assert task.notes == (
        "msrvtt_1ka test: 1 questions here, 1,000 published",
        "msrvtt_1ka test: 1 media here, 1,000 published",
    )
    assert pairs(read(load("msrvtt_1ka"), "train_9k", tmp_path)) == [("a car is shown", ["video0"])]
    assert pairs(read(load("msrvtt_full"), "test", tmp_path)) == [("a girl sings", ["video7010"])]


def test_msvd(tmp_path: Path) -> None:
    told = {"vid_a": ["a man is singing", ["a", "man", "sings"]], "vid_b": ["a cat"]}
    written(tmp_path, {"captions_msvd.json": told, "test_list.txt": "vid_a\n"})
    assert pairs(read(load("msvd"), "test", tmp_path)) == [("a man is singing", ["vid_a"]), ("a man sings", ["vid_a"])]


def test_lsmdc(tmp_path: Path) -> None:
    name = "1012_Unbreakable_00.05.16.065-00.05.21.941"
    line = f'{name}\t00.05.16.065\t00.05.21.941\t00.05.16.065\t00.05.21.941\tSOMEONE says "no and, turns.\n'
    written(tmp_path, {"LSMDC16_challenge_1000_publictect.csv": line})
    assert pairs(read(load("lsmdc"), "", tmp_path)) == [('SOMEONE says "no and, turns.', [name])]


def test_didemo(tmp_path: Path) -> None:
    def entry(video: str, said: str) -> dict[str, object]:
        return {"video": video, "description": said, "times": [[0, 0]], "annotation_id": 1, "num_segments": 6}

    told = [
        entry("12@N00_1_a.mov", "a dog runs"),
        entry("9@N01_2_b.avi", "not listed"),
        entry("12@N00_1_a.mov", "it sits"),
    ]
    written(tmp_path, {"test_data.json": told, "test_list.txt": "12@N00_1_a.mov\n"})
    assert pairs(read(load("didemo"), "", tmp_path)) == [("a dog runs it sits", ["12@N00_1_a"])]
    written(tmp_path, {"test_list.txt": "12@N00_1_a\nabsent\n"})
    with pytest.raises(BenchmarkError, match=r"test_list.txt:2: absent is not in test_data.json"):
        read(load("didemo"), "", tmp_path)


def test_vatex(tmp_path: Path) -> None:
    official = [{"videoID": "Ptf_2VRj-V0_000122_000132", "enCap": ["one", "two"], "chCap": ["三"]}]
    written(tmp_path, {"vatex_training_v1.0.json": official, "ref_captions.json": {"v_1": ["a"], "v_2": ["b"]}})
    assert pairs(read(load("vatex"), "official_train", tmp_path)) == [
        ("one", ["Ptf_2VRj-V0_000122_000132"]),
        ("two", ["Ptf_2VRj-V0_000122_000132"]),
    ]
    np.save(tmp_path / "tst_names.npy", np.array(["v_2"]))
    assert pairs(read(load("vatex"), "test", tmp_path)) == [("b", ["v_2"])]
    np.save(tmp_path / "tst_names.npy", np.array(["v_2", None], object))
    with pytest.raises(BenchmarkError, match="not a plain array of names"):
        read(load("vatex"), "test", tmp_path)


def test_activitynet(tmp_path: Path) -> None:
    told = {
        "v_uqiMw7tQ1Cc": {"duration": 55.15, "timestamps": [[0.28, 55.15], [13, 54]], "sentences": ["One.", " Two."]}
    }
    written(tmp_path, {"val_1.json": told})
    assert pairs(read(load("activitynet"), "", tmp_path)) == [("One. Two.", ["v_uqiMw7tQ1Cc"])]


def test_charades(tmp_path: Path) -> None:
    head = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length"
    row = '0BH84,FZTQ,Bedroom,6,6,Yes,"A person walks, then sits.",chair,Someone sits.,c059 0.00 4.10,24.83'
    written(tmp_path, {"Charades_v1_test.csv": f"{head}\n{row}\n"})
    assert pairs(read(load("charades"), "", tmp_path)) == [("A person walks, then sits.", ["0BH84"])]


def test_audiocaps(tmp_path: Path) -> None:
    rows = "audiocap_id,youtube_id,start_time,caption\n91139,r1nicOVtvkQ,130,A woman talks nearby as water pours\n"
    written(tmp_path, {"train.csv": rows})
    assert pairs(read(load("audiocaps"), "train", tmp_path)) == [
        ("A woman talks nearby as water pours", ["r1nicOVtvkQ_130"])
    ]


def test_clotho(tmp_path: Path) -> None:
    rows = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\nSantaMotor v1.0.wav,a,b,c,d,e\n"
    written(tmp_path, {"clotho_captions_evaluation.csv": rows})
    task = read(load("clotho"), "", tmp_path)
    assert task.queries == ("a", "b", "c", "d", "e")
    assert task.media == ("SantaMotor v1.0",)


def test_esc50(tmp_path: Path) -> None:
    rows = (
        "filename,fold,target,category,esc10,src_file,take\n1-100032-A-0.wav,1,0,dog,True,100032,A\n"
        "1-100038-A-14.wav,1,14,chirping_birds,False,100038,A\n1-110389-A-0.wav,1,0,dog,True,110389,A\n"
    )
    written(tmp_path, {"meta/esc50.csv": rows})
    assert pairs(read(load("esc50"), "", tmp_path)) == [
        ("This is a sound of dog.", ["1-100032-A-0", "1-110389-A-0"]),
        ("This is a sound of chirping birds.", ["1-100038-A-14"]),
    ]


def test_charades_sta(tmp_path: Path) -> None:
    rows = "3MSZA 24.3 30.4##person turn a light on.\nAMT7R 4.3 12.5##a person is putting a picture onto the wall.\n"
    written(tmp_path, {"charades_sta_test.txt": rows})
    found, notes = read_moments(load("charades_sta"), "", tmp_path)
    assert [(one.id, one.media, one.windows) for one in found] == [
        ("1", "3MSZA", ((24.3, 30.4),)),
        ("2", "AMT7R", ((4.3, 12.5),)),
    ]
    assert notes[0] == "charades_sta test: 2 questions here, 3,720 published"
    written(tmp_path, {"charades_sta_test.txt": rows + "3MSZA 30.4 24.3##backwards\n"})
    with pytest.raises(BenchmarkError, match=r"charades_sta_test.txt:3: the window is \['30.4', '24.3'\]"):
        read_moments(load("charades_sta"), "", tmp_path)


def test_qvhighlights(tmp_path: Path) -> None:
    line = {
        "qid": 8737,
        "query": "A family is playing basketball together on a green court outside.",
        "duration": 126,
        "vid": "bP5KfdFJzC4_660.0_810.0",
        "relevant_windows": [[0, 16]],
        "relevant_clip_ids": [0, 1, 2, 3, 4, 5, 6, 7],
        "saliency_scores": [[4, 1, 1], [4, 1, 1], [4, 2, 1], [4, 3, 2], [4, 3, 2], [4, 3, 3], [4, 3, 3], [4, 3, 2]],
    }
    written(tmp_path, {"highlight_val_release.jsonl": json.dumps(line) + "\n"})
    (one,), _ = read_moments(load("qvhighlights"), "", tmp_path)
    assert (one.id, one.media, one.windows) == ("8737", "bP5KfdFJzC4_660.0_810.0", ((0.0, 16.0),))
    with pytest.raises(BenchmarkError, match="asks for moments, not for media: reelseek eval moments"):
        read(load("qvhighlights"), "", tmp_path)


# ------------------------------------------------------------------------------------------------------------ bad input


def test_a_folder_laid_out_wrongly_says_what_was_looked_for(tmp_path: Path) -> None:
    written(tmp_path, {"other.csv": ""})
    with pytest.raises(BenchmarkError, match=r"does not hold MSRVTT_JSFUSION_test.csv \(it holds other.csv\)"):
        read(load("msrvtt_1ka"), "", tmp_path)
    with pytest.raises(BenchmarkError, match="is no folder; --annotations wants the folder that holds"):
        read(load("msrvtt_1ka"), "", tmp_path / "nowhere")
    written(tmp_path, {"captions_msvd.json": {"a": ["b"]}, "raw-captions.pkl": "…"})
    with pytest.raises(BenchmarkError, match=r"does not hold test_list.txt"):
        read(load("msvd"), "", tmp_path)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("key,vid_key,video_id,sentence\nret0,msr1,video1,\n", r"test.csv:2: the caption of video1 is empty"),
        ("key,vid_key,video_id,sentence\nr,m,v,fine\nret0,msr1\n", r"test.csv:3: 2 columns; it wants 4"),
        (
            "key,vid_key,video\nret0,msr1,video1\n",
            r"test.csv:1: no column '(sentence|video_id)' \(there are key, vid_key",
        ),
        ("key,vid_key,video_id,sentence\n", r"the split has no captions"),
        ("", r"test.csv:1: no column .* \(there are none\)"),
    ],
)
def test_a_table_with_a_mistake_names_the_line(tmp_path: Path, rows: str, complaint: str) -> None:
    written(tmp_path, {"MSRVTT_JSFUSION_test.csv": rows})
    with pytest.raises(BenchmarkError, match=complaint):
        read(load("msrvtt_1ka"), "", tmp_path)


@pytest.mark.parametrize(
    ("whole", "complaint"),
    [
        (
            {"videos": [], "sentences": [{"video_id": "video3", "caption": "x"}]},
            "sentence 1: video3 is none of the file",
        ),
        (
            {"videos": [{"video_id": "v", "split": "test"}], "sentences": [{"video_id": "v"}]},
            "sentence 1: 'caption' is None",
        ),
        ({"videos": []}, "no list 'sentences'"),
        ('{"videos": [\n', ":2: no JSON"),
    ],
)
def test_json_with_a_mistake_says_where(tmp_path: Path, whole: object, complaint: str) -> None:
    written(tmp_path, {"MSRVTT_data.json": whole})
    with pytest.raises(BenchmarkError, match=complaint):
        read(load("msrvtt_full"), "test", tmp_path)


def test_a_list_that_names_unknown_media(tmp_path: Path) -> None:
    written(tmp_path, {"captions_msvd.json": {"a": ["b"]}, "test_list.txt": "a\nzz\n"})
    with pytest.raises(BenchmarkError, match=r"test_list.txt:2: zz has no captions in captions_msvd.json"):
        read(load("msvd"), "test", tmp_path)


def test_text_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_bytes(b"key,vid_key,video_id,sentence\nr,m,v,caf\xe9\n")
    with pytest.raises(BenchmarkError, match="is not UTF-8 text"):
        read(load("msrvtt_1ka"), "", tmp_path)


def test_names_lose_the_ending_of_a_file_and_nothing_else() -> None:
    assert _formats.stem("a/clip.mp4") == "clip"
    assert _formats.stem("12@N00_1_a.mov") == "12@N00_1_a"
    assert _formats.stem("1012_Unbreakable_00.05.16.065-00.05.21.941") == "1012_Unbreakable_00.05.16.065-00.05.21.941"


def test_only_the_same_questions_have_the_same_digest() -> None:
    one = benchmarks.asked([("a", "x"), ("b", "y")])
    assert one.digest == benchmarks.asked([("a", "x"), ("b", "y")]).digest
    assert one.digest != benchmarks.asked([("b", "y"), ("a", "x")]).digest
    assert one.digest != benchmarks.asked([("a", "x"), ("b", "x")]).digest
