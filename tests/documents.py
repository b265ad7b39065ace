"""What commands print with `--json`, and what docs/schema.md says of it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from api.main import main

PAGE = Path(__file__).parents[1] / "docs" / "schema.md"
FREE = frozenset(
    {"kinds", "missing", "stage_s", "crews", "depths", "settings", "options", "before", "after", "request"}
)
"""Objects whose keys are data."""


def documented() -> dict[str, Any]:
    sections = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    examples = {}
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        examples[name] = json.loads(re.findall(r"```json\n(.*?)```", body, re.DOTALL)[0])
    return examples


def shape(value: Any, name: str = "") -> Any:
    """Keys and kinds, without the data."""
    if isinstance(value, dict):
        return "free" if name in FREE else {key: shape(inner, key) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def fits(printed: Any, told: Any) -> bool:
    """An empty list fits any list; else the shapes are equal."""
    if isinstance(printed, dict) and isinstance(told, dict):
        return printed.keys() == told.keys() and all(fits(printed[key], told[key]) for key in printed)
    if isinstance(printed, list) and isinstance(told, list):
        return not printed or not told or fits(printed[0], told[0])
    return bool(printed == told)


def printed_by(*words: str, capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert main([*words, "--json"]) in (0, 1)
    printed = capsys.readouterr()
    assert printed.out, printed.err
    return json.loads(printed.out)


def found(query: str, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """The moments that `search` gives, however unsure."""
    capsys.readouterr()
    assert main(["search", query, "--min-confidence", "0", "--json", *words]) in (0, 3)
    moments: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["moments"]
    return moments
