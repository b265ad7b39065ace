"""What a run was asked for can be asked for again."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import indexing
from api.indexing import Asked
from api.parts import ModelChoice, Workers
from indexer.policy import Policy
from retriever.errors import WrongFormat
from retriever.types import Metadata

NAMES = st.text(st.characters(exclude_characters="\0"), max_size=10)


@given(
    st.builds(
        Asked,
        paths=st.lists(NAMES, max_size=3).map(tuple),
        pack=NAMES,
        budget=st.floats(0, 1),
        metadata=st.none() | st.builds(Metadata, title=NAMES, tags=st.lists(NAMES, max_size=3).map(tuple)),
        prune=st.booleans(),
        policy=st.builds(Policy, tries=st.integers(1, 9), most_seconds=st.floats(0, 1e6), most_bytes=st.integers(0)),
        models=st.builds(ModelChoice, model=NAMES, video_model=NAMES),
        every=st.floats(0, 1e6),
        workers=st.builds(
            Workers, executor=NAMES, ray_address=NAMES, ray_cpus=st.floats(0, 9), ray_gpus=st.floats(0, 1)
        ),
        only=st.lists(NAMES, max_size=3).map(tuple),
    )
)
def test_what_is_written_is_read(asked: Asked) -> None:
    assert Asked.of(asked.text) == asked
    assert asked.text.isascii()


def test_what_is_not_said_is_as_usual() -> None:
    assert Asked.of('{"paths": ["/a"]}') == Asked(("/a",))


@pytest.mark.parametrize(
    "told", [{"moods": 1}, {"policy": {"moods": 1}}, {"models": {"moods": 1}}, {"workers": {"moods": 1}}]
)
def test_what_nobody_knows_here_is_refused(told: dict[str, object]) -> None:
    with pytest.raises(WrongFormat, match="asks for moods"):
        Asked.of(json.dumps({"paths": [], **told}))


def test_models_that_are_files_are_named_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tower").mkdir()
    Path("weights.pt").touch()
    named = ModelChoice("tower", "weights.pt", "hf-hub:some/clap", "", "frozen:weights.pt", "cpu")
    assert indexing.settled(named) == ModelChoice(
        str(tmp_path / "tower"),
        str(tmp_path / "weights.pt"),
        "hf-hub:some/clap",
        "",
        f"frozen:{tmp_path / 'weights.pt'}",
        "cpu",
    )
    assert indexing.settled(ModelChoice("ViT-B-32:openai")) == ModelChoice("ViT-B-32:openai")


def test_a_job_covers_files_of_its_folders_and_of_its_lists(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\nfar/a.mp4\n")
    asked = Asked(indexing.absolute([tmp_path / "clips", tmp_path / "list.csv"]))
    inside = [str(tmp_path / name) for name in ("clips/deep/a.mp4", "far/a.mp4")]
    assert asked.covers([*inside, str(tmp_path / "clips2/a.mp4"), str(tmp_path / "far/b.mp4")]) == inside
