"""Which CPU runtime: the same networks on OpenVINO, onnxruntime and torch, by turns in one process.

    python benchmarks/runtimes.py            # all three networks
    python benchmarks/runtimes.py sentences  # one of: pictures, sentences, sounds

Prints, for each, the median time, how many times as long as OpenVINO in float32 it takes, and how close its numbers are
to torch's (least cosine over rows).  Where the processor has bfloat16, OpenVINO runs with that too.
torch and onnxruntime read exports of the libraries that the weights come from; the 8-bit YAMNet runs as its file says,
one look at a time.
"""

import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import timm
import torch
from machine import by_turns, describe, ratio
from safetensors.numpy import load_file
from transformers import BertModel

from encoders import _bert, _efficientnet, _yamnet
from encoders._weights import CONCEPTS, MINILM, SOUNDEVENTS
from encoders.concepts import CHECKPOINT
from retriever.types import Floats

# isort: split
import onnxruntime  # these two after `encoders`, beside which they tell nobody of this
import openvino as ov

RUNS = 7
Run = Callable[[], Floats]


def openvino(model: ov.Model, *inputs: np.ndarray) -> dict[str, Run]:
    """In float32, and in bfloat16 where the processor has it."""
    core = ov.Core()
    hints = ["f32"] + ["bf16"] * ("BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    runs: dict[str, Run] = {}
    for hint in hints:
        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
        network = core.compile_model(model, "CPU", config)
        runs[f"openvino {hint}"] = lambda network=network: network(list(inputs))[0]
    return runs


def exported(module: torch.nn.Module, names: Sequence[str], *inputs: np.ndarray) -> dict[str, Run]:
    """A torch module as it is, and through ONNX on onnxruntime."""
    tensors = tuple(torch.from_numpy(array) for array in inputs)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "network.onnx"
        torch.onnx.export(module, tensors, str(file), dynamo=False, input_names=list(names))
        session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    named = dict(zip(names, inputs, strict=True))

    def plain() -> Floats:
        with torch.inference_mode():
            return module(*tensors).numpy()

    return {"torch": plain, "onnxruntime": lambda: session.run(None, named)[0]}


def pictures() -> dict[str, Run]:
    """EfficientNet-Lite2 on 8 pictures."""
    file = CONCEPTS.path(CHECKPOINT)
    module = timm.create_model("tf_efficientnet_lite2", exportable=True).eval()
    arrays = torch.load(file, map_location="cpu", weights_only=True).values()
    module.load_state_dict(dict(zip(module.state_dict(), arrays, strict=True)))
    batch = np.random.default_rng(0).normal(size=(8, 3, 260, 260)).astype(np.float32)
    ours = openvino(_efficientnet.graph(_efficientnet.read_weights(file)), batch)
    return ours | exported(module, ["pictures"], batch)


class Sentence(torch.nn.Module):
    """The mean over BERT's tokens, of length one."""

    def __init__(self) -> None:
        super().__init__()
        self.bert = BertModel.from_pretrained(MINILM.folder() / "model", attn_implementation="eager").eval()

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = self.bert(tokens, mask).last_hidden_state
        return torch.nn.functional.normalize((states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True))


def sentences() -> dict[str, Run]:
    """MiniLM on one question of 14 tokens: what a search waits for."""
    rng = np.random.default_rng(0)
    tokens, mask = rng.integers(1000, 20_000, (1, 14)), np.ones((1, 14), np.float32)
    ours = openvino(_bert.graph(load_file(MINILM.path("model/model.safetensors"))), tokens, mask)
    return ours | exported(Sentence().eval(), ["tokens", "mask"], tokens, mask)


def sounds() -> dict[str, Run]:
    """YAMNet on 62 looks: 30 s of sound."""
    file = SOUNDEVENTS.path("data/YamNet_w8a8.onnx.zip")
    patches = np.random.default_rng(0).normal(-3, 2, (62, 96, 64)).astype(np.float32)
    coarse = np.clip(np.round(patches / 0.047937885 + 144), 0, 255).astype(np.uint8)  # the file's own scale and zero
    with tempfile.TemporaryDirectory() as folder, ZipFile(file) as archive:
        for name in archive.namelist():
            if name.endswith((".onnx", ".data")):
                (Path(folder) / Path(name).name).write_bytes(archive.read(name))
        session = onnxruntime.InferenceSession(f"{folder}/model.onnx", providers=["CPUExecutionProvider"])
        eight = ov.Core().compile_model(f"{folder}/model.onnx", "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    ours = openvino(_yamnet.graph(_yamnet.read_weights(file)), patches)
    return ours | {
        "openvino 8 bit": lambda: np.concatenate([eight(patch[None, None])[0] for patch in coarse]).astype(np.float32),
        "onnxruntime 8 bit": lambda: np.concatenate(
            [session.run(None, {"audio": patch[None, None]})[0] for patch in coarse]
        ).astype(np.float32),
    }


def cosine(first: Floats, second: Floats) -> float:
    """The least over rows, each less its own mean: logits all alike would agree by their level alone."""
    a, b = (rows - rows.mean(axis=1, keepdims=True) for rows in (first, second))
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def compare(title: str, contenders: dict[str, Run]) -> None:
    times = dict(zip(contenders, by_turns(list(contenders.values()), RUNS), strict=True))
    base = next(iter(times.values()))
    right = contenders.get("torch", next(iter(contenders.values())))()
    print(f"\n{title}")
    for name, run in contenders.items():
        shares = f"{ratio(times[name], base):6.2f} x openvino f32"
        print(f"  {name:18s} {1e3 * times[name].median:8.1f} ms {shares}   cosine {cosine(run(), right):.6f}")


def main(names: Sequence[str]) -> None:
    print(describe())
    for work in (pictures, sentences, sounds):
        if not names or work.__name__ in names:
            compare((work.__doc__ or "").strip(), work())


if __name__ == "__main__":
    main(sys.argv[1:])
