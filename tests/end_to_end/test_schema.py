"""docs/schema.md tells the truth: its examples have the shape of what the commands print."""

import pytest
from documents import documented, fits, printed_by, shape

from api.main import COMMANDS


def test_every_command_is_documented():
    assert set(documented()) == {*COMMANDS.names(), "--print-config"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("search", ["blue", "--min-confidence", "0"]),
        ("report", ["{out}/page.html", "blue", "--min-confidence", "0"]),
        ("media", []),
        ("stats", []),
        ("doctor", []),
        ("export", ["{out}/exported"]),
        ("compact", []),
        ("upgrade", []),
        ("eval", ["retrieval", "--benchmark", "toy"]),
        ("--print-config", []),
    ],
)
def test_the_page_tells_what_a_command_prints(kept, tmp_path, capsys, name, words):
    printed = printed_by(name, *(word.format(out=tmp_path) for word in words), capsys=capsys)
    assert fits(shape(printed), shape(documented()[name]))


def test_the_page_tells_what_writing_commands_print(no_weights, media, capsys):
    (media / "empty.mp4").touch()
    writing = (
        ("index", ["clips"]),
        ("media", ["--quarantined"]),
        ("jobs", ["list", "--all"]),
        ("delete", ["clips/tone.wav"]),
    )
    for name, words in writing:
        printed = printed_by(name, *words, capsys=capsys)
        assert fits(shape(printed), shape(documented()[name])), name
