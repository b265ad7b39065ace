"""The runtimes tell nobody what is done with them."""

import os
import subprocess
import sys
from pathlib import Path

import hubs

import encoders

CHILD = """
import sys, traceback
told = open(sys.argv[1], "a", buffering=1)

def seen(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "os.fork"):
        told.write(f"{event} {args!r}\\n" + "".join(traceback.format_stack(limit=9)))

sys.addaudithook(seen)
import torch
from encoders import _converted, minilm
from encoders.recognizers import rapidocr
found = _converted.converted(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4)), (3, 4), torch.float32)
print(type(found).__name__)
import onnx, onnxruntime
shape = onnx.helper.make_tensor_value_info("x", 1, [1]), onnx.helper.make_tensor_value_info("y", 1, [1])
graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", *([one] for one in shape))
model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
print(type(onnxruntime.InferenceSession(model.SerializeToString())).__name__)
"""


ASKING = """
import sys
from api.sources import Hub
print(Hub(endpoint=sys.argv[1]).repository("tiny/clip").licence)
"""
QUIET = (
    *("CI", "TF_BUILD", "JENKINS_URL", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"),
    *("HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
)
"""Variables with which they would be silent anyway."""


def said(program: str, argument: str, home: Path, **more: str) -> list[str]:
    """The words that a program prints in a process of its own, with nothing in its home folder."""
    paths = {name: value for name, value in os.environ.items() if name not in QUIET}
    home.mkdir()
    paths |= {"HOME": str(home), "PYTHONPATH": str(Path(encoders.__file__).parents[1])} | more
    done = subprocess.run(
        [sys.executable, "-c", program, argument], env=paths, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_neither_an_import_nor_a_network_is_told_of(tmp_path: Path) -> None:
    """Nor is there a number in the home folder by which this machine is known.  ONNX Runtime's own sockets cannot be
    seen from here; that number, which it makes before it tells anything, can."""
    home, file = tmp_path / "home", tmp_path / "told.txt"
    assert said(CHILD, str(file), home) == ["Graph", "InferenceSession"]
    assert file.read_text() == ""
    assert [one for one in home.rglob("*") if one.is_file()] == []


def test_the_hub_is_asked_for_what_is_wanted_and_learns_of_versions_alone(tmp_path: Path) -> None:
    with hubs.running() as hub:
        hub.add("tiny/clip", {"tokenizer.json": b"{}"})
        assert said(ASKING, hub.address, tmp_path / "home", AI_AGENT="somebody", HF_ENDPOINT=hub.address) == ["mit"]
    (asked,) = hub.asked
    assert asked.path == "/api/models/tiny/clip"
    told = dict(one.strip().split("/") for one in asked.agent.split(";"))
    assert told.keys() == {"unknown", "hf_hub", "python"}  # `unknown` is the program that asks
