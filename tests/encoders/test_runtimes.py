"""What runs a media tower: all runtimes give the same rows, and what was converted once is kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
import towers

from encoders import _converted, _openclip, _towers
from encoders._converted import GRAPHS, Graph, converted, keep, kept
from encoders.openclip import OpenClip, build
from retriever.errors import DeviceError

SAME = 1e-4
FRAMES, SECONDS = towers.frames(5, 40, 40), towers.seconds(5)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny tower, and a place of its own for graphs."""
    monkeypatch.setattr(_towers, "kept", kept)
    monkeypatch.setattr(_converted, "graphs_folder", lambda: tmp_path / "graphs")
    towers.openclip_folder(tmp_path / "tower", towers.CLIP)
    return tmp_path / "tower"


def opened(folder: Path, **options: str) -> OpenClip:
    return build(str(folder), **{"device": "cpu", "precision": "fp32", **options})


def rows(encoder: OpenClip) -> np.ndarray:
    return encoder.encode_frames(FRAMES, SECONDS).rows


def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_openclip, "network", lambda tower: pytest.fail("read the weights"))


@pytest.mark.parametrize("runtime", ["auto", "openvino", "compile"])
def test_every_runtime_gives_the_rows_of_torch(folder: Path, runtime: str) -> None:
    np.testing.assert_allclose(rows(opened(folder, runtime=runtime)), rows(opened(folder, runtime="torch")), atol=SAME)


@pytest.mark.parametrize("runtime", ["torch", pytest.param("compile", marks=pytest.mark.slow), "openvino"])
def test_bf16_is_near(folder: Path, runtime: str) -> None:
    exact, rough = rows(opened(folder, runtime="torch")), rows(opened(folder, runtime=runtime, precision="bf16"))
    assert (exact * rough).sum(axis=1).min() > 0.999


def test_what_cannot_be_compiled_runs_as_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(module: object) -> object:
        def run(probe: object) -> None:
            raise RuntimeError("no compiler\nat all")

        return run

    monkeypatch.setattr(torch, "compile", failing)
    np.testing.assert_array_equal(rows(opened(folder, runtime="compile")), rows(opened(folder, runtime="torch")))
    assert "torch cannot compile this model (no compiler): it runs as it is" in caplog.text


def test_openvino_is_for_cpus(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="runtime is 'fast', wanted one of auto, torch, compile, openvino"):
        opened(folder, runtime="fast")
    monkeypatch.setattr("encoders.openclip.device_of", lambda name: torch.device("cuda", 0))
    with pytest.raises(DeviceError, match="runtime openvino on cuda:0: it runs on CPUs; take --device cpu"):
        opened(folder, runtime="openvino")


def test_a_tower_is_converted_once_a_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rows(opened(folder))
    unread(monkeypatch)
    np.testing.assert_array_equal(rows(opened(folder)), first)


def test_other_weights_and_another_precision_are_other_graphs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(opened(folder))
    rows(opened(folder, precision="bf16"))
    with (folder / "open_clip_config.json").open("a") as page:
        page.write(" ")
    rows(opened(folder))
    assert len(list((folder.parent / "graphs").iterdir())) == 3


@pytest.mark.parametrize("name", ["graph.xml", "graph.bin", "sum"])
@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_damaged_graph_is_made_again(folder: Path, name: str, harm: str) -> None:
    first = rows(opened(folder))
    (graph,) = (folder.parent / "graphs").iterdir()
    if harm == "gone":
        (graph / name).unlink()
    else:
        (graph / name).write_bytes((graph / name).read_bytes()[:-1])
    np.testing.assert_array_equal(rows(opened(folder)), first)
    (graph,) = (folder.parent / "graphs").iterdir()
    assert (graph / "sum").read_text() == _converted._sum(graph)


def test_where_nothing_can_be_kept_it_still_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folder.parent / "graphs").write_text("a file")
    assert len(rows(opened(folder))) == 5
    assert "set REELSEEK_CACHE" in caplog.text


def test_those_used_last_stay(folder: Path) -> None:
    module = torch.nn.Linear(3, 3).eval().requires_grad_(False)
    graphs = folder.parent / "graphs"
    for number in range(GRAPHS + 2):
        graph = converted(module, (3,), torch.float32)
        assert isinstance(graph, Graph)
        keep(graph, f"{number}")
        assert kept("0", torch.float32) is not None  # used, so it stays
    assert len(list(graphs.iterdir())) == GRAPHS
    assert kept("1", torch.float32) is None
    assert kept(f"{GRAPHS + 1}", torch.float32) is not None
