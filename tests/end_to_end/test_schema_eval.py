"""docs/schema.md tells what the other kinds of `eval` and `make` print."""

import json
import re
from pathlib import Path
from typing import Any

import clips
import pytest
from documents import PAGE, documented, fits, shape

from api import exits
from api.main import main


def example(kind: str) -> Any:
    found = re.search(rf"^### eval {kind}$.*?```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert found, kind
    return json.loads(found[1])


def alike(printed: Any, told: Any) -> bool:
    """As `fits`; what is null on either side fits anything, and of measures the example shows some."""
    if printed is None or told is None:
        return True
    if isinstance(printed, dict) and isinstance(told, dict):
        known = set(told) <= set(printed) if any(name.startswith("R1@") for name in told) else set(told) == set(printed)
        return known and all(alike(printed[name], told[name]) for name in told)
    if isinstance(printed, list) and isinstance(told, list):
        return not printed or not told or alike(printed[0], told[0])
    return bool(fits(shape(printed), shape(told)))


def printed(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == exits.OK
    return json.loads(capsys.readouterr().out)


def written(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_page_tells_what_order_prints(no_weights: None, tmp_path: Path, capsys) -> None:
    (tmp_path / "clips").mkdir()
    for colour in ("red", "blue"):
        clips.film(tmp_path / "clips" / f"{colour}.mp4", [colour])
    assert main(["index", "clips"]) == exits.OK
    captions = [{"media": f"clips/{colour}.mp4", "caption": f"something {colour}"} for colour in ("red", "blue")]
    manifest = written(tmp_path / "captions.jsonl", *captions)
    made = printed(capsys, "make", "order-set", "--manifest", manifest, "--out", "set", "--pairs", 1)
    assert fits(shape(made), shape(documented()["make"]))
    told = printed(capsys, "eval", "order", "--set", "set", "--index", "--shuffles", 1)
    assert alike(told, example("order"))
    assert told["measures"]["all"]["chronology"]["trials"] == 2


def test_the_page_tells_what_absence_and_temporal_print(kept: Path, tmp_path: Path, capsys) -> None:
    asked = written(tmp_path / "asked.jsonl", {"text": "green", "relevant": ["second"]}, {"text": "x", "relevant": []})
    assert alike(printed(capsys, "eval", "absence", "--manifest", asked), example("absence"))
    question = {"question": "Which?\nA: red\nB: green", "answer": "B: green"}
    (tmp_path / "caption_matching.json").write_text(json.dumps({"second": {"order": [question]}}))
    words = ("eval", "temporal", "--benchmark", "tempcompass", "--annotations", tmp_path)
    assert alike(printed(capsys, *words), example("temporal"))


def test_the_page_tells_what_moments_prints(tmp_path: Path, capsys) -> None:
    line = {"qid": 1, "query": "x", "vid": "v", "duration": 4, "relevant_windows": [[0, 2]]}
    truth = written(tmp_path / "t.jsonl", {**line, "relevant_clip_ids": [0], "saliency_scores": [[4, 4, 4]]})
    found = {"qid": 1, "pred_relevant_windows": [[0, 2, 1]], "pred_saliency_scores": [1, 0]}
    told = printed(capsys, "eval", "moments", "--truth", truth, "--predictions", written(tmp_path / "f.jsonl", found))
    assert alike(told, example("moments"))
