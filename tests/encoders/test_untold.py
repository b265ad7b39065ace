"""The runtimes tell nobody what is done with them."""

import os
import subprocess
import sys
from pathlib import Path

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


def test_neither_an_import_nor_a_network_is_told_of(tmp_path: Path) -> None:
    """Nor is there a number in the home folder by which this machine is known.  ONNX Runtime's own sockets cannot be
    seen from here; that number, which it makes before it tells anything, can."""
    quiet = ("CI", "TF_BUILD", "JENKINS_URL", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    paths = {
        name: value for name, value in os.environ.items() if name not in quiet
    }  # where they would be silent anyway
    home, file = tmp_path / "home", tmp_path / "told.txt"
    home.mkdir()
    paths |= {"HOME": str(home), "PYTHONPATH": str(Path(encoders.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(file)], env=paths, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout.split()) == (0, ["Graph", "InferenceSession"]), done.stderr
    assert file.read_text() == ""
    assert [one for one in home.rglob("*") if one.is_file()] == []
