"""What somebody without a shell is told: neither commands nor flags, but what is wrong and who can mend it."""

import ast
import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="fastapi: the extra serve is not installed")

from api import remedies
from api.remedies import OTHERS

API = Path(remedies.__file__).parent
ANSWERS = frozenset({"Problem", "answer"})
"""What is called with the words of an answer."""
OF_A_SHELL = re.compile(r"reelseek [a-z]|(?<![\w-])--[a-z]|pip install")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "3 media lack what recipe x makes: run the same reelseek reembed again, or take --search both",
            f"3 media lack what recipe x makes; {OTHERS}",
        ),
        ("a has no weights here: reelseek models pull b", f"a has no weights here; {OTHERS}"),
        ("serving needs x: pip install 'reelseek[serve]'", f"serving needs x; {OTHERS}"),
        ("x: it is damaged: see reelseek doctor", f"x: it is damaged; {OTHERS}"),
        ("--duration is 'soon'; it wants '<60'", "duration is 'soon'; it wants '<60'"),
        ("a has 5 bytes; --most-bytes takes 3", "a has 5 bytes; most_bytes takes 3"),
        ("or index again into another --library", "or index again into another library"),
        ("--after is 'x'\n--before is 'y'", "after is 'x'\nbefore is 'y'"),
        ("/srv/reelseek index/a.mp4 is not there", "/srv/reelseek index/a.mp4 is not there"),
        ("this reelseek reads 5", "this reelseek reads 5"),
        ("a--b - and -- c", "a--b - and -- c"),
        ("", ""),
    ],
)
def test_commands_and_flags_are_not_told(message: str, told: str) -> None:
    assert remedies.elsewhere(message) == told


def test_of_what_is_not_there_nobody_can_mend_anything() -> None:
    assert remedies.elsewhere("x is no job of this library; `reelseek jobs list` lists them", "") == (
        "x is no job of this library"
    )


def test_no_answer_is_written_for_a_shell() -> None:
    found = [
        f"{file.name}:{text.lineno}: {text.value}"
        for file in API.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "attr", getattr(call.func, "id", "")) in ANSWERS
        for text in ast.walk(call)
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and OF_A_SHELL.search(text.value)
    ]
    assert found == []
