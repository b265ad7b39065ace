"""EfficientNet-Lite2 as an OpenVINO graph, built from the plain arrays of its weights.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019), the Lite variant: no
squeeze-and-excitation, ReLU6 for swish, stem and head not widened.  torch is imported by `read_weights` alone, which
runs once a machine: what it returns is kept by `_graphs.kept`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset14 as op

from retriever.types import Floats

SIDE = 260  # pixels; the resolution that Lite2 was trained for
EPSILON = 1e-3  # of its batch normalisation
SAME = "same_upper"  # TensorFlow's padding: an odd pixel goes to the right and the bottom


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of inverted-residual blocks; only the first of them strides."""

    blocks: int
    kernel: int
    stride: int


# Depths of B0 (1 2 2 3 3 4 1) times Lite2's depth factor 1.2, rounded up; first and last stage are not deepened.
STAGES = (
    Stage(1, 3, 1),
    Stage(3, 3, 2),
    Stage(3, 5, 2),
    Stage(4, 3, 2),
    Stage(4, 5, 1),
    Stage(5, 5, 2),
    Stage(1, 3, 1),
)


def read_weights(file: Path) -> dict[str, Floats]:
    """The arrays of a checkpoint as `NAME.weight` and `NAME.bias`, batch normalisation folded into its convolution."""
    import torch  # here, not above: once a machine it costs seconds, and never again

    state = {name: array.numpy() for name, array in torch.load(file, map_location="cpu", weights_only=True).items()}
    folded: dict[str, Floats] = {"_fc.weight": state["_fc.weight"], "_fc.bias": state["_fc.bias"]}
    for convolution, normalisation in _pairs(state):
        scale = state[f"{normalisation}.weight"] / np.sqrt(state[f"{normalisation}.running_var"] + EPSILON)
        folded[f"{convolution}.weight"] = state[f"{convolution}.weight"] * scale[:, None, None, None]
        folded[f"{convolution}.bias"] = state[f"{normalisation}.bias"] - state[f"{normalisation}.running_mean"] * scale
    return folded


def _pairs(state: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Each convolution and the normalisation behind it, by their names in the checkpoint."""
    behind = {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    yield from (("_conv_stem", "_bn0"), ("_conv_head", "_bn1"))
    for key in state:
        name = key.removesuffix(".weight")
        block, _, layer = name.rpartition(".")
        if name != key and layer in behind:
            yield name, f"{block}.{behind[layer]}"


def graph(weights: Mapping[str, Floats]) -> ov.Model:
    """Pictures `(N, 3, 260, 260)`, normalised → logits `(N, 1000)`."""

    def convolve(x: ov.Output, name: str, stride: int = 1, active: bool = True) -> ov.Output:
        kernel = weights[f"{name}.weight"]
        depthwise = kernel.shape[1] == 1
        shaped = kernel[:, None] if depthwise else kernel  # (groups, 1, 1, k, k) or (out, in, k, k)
        operator = op.group_convolution if depthwise else op.convolution
        y = operator(x, op.constant(shaped), [stride, stride], [0, 0], [0, 0], [1, 1], SAME)
        y = op.add(y, op.constant(weights[f"{name}.bias"][None, :, None, None]))
        return op.clamp(y, 0.0, 6.0) if active else y

    def block(x: ov.Output, name: str, stride: int, residual: bool) -> ov.Output:
        y = convolve(x, f"{name}._expand_conv") if f"{name}._expand_conv.weight" in weights else x
        y = convolve(y, f"{name}._depthwise_conv", stride)
        y = convolve(y, f"{name}._project_conv", active=False)
        return op.add(x, y) if residual else y

    pictures = op.parameter([-1, 3, SIDE, SIDE], np.float32, name="pictures")
    x = convolve(pictures, "_conv_stem", stride=2)
    number = 0
    for stage in STAGES:
        for position in range(stage.blocks):
            x = block(x, f"_blocks.{number}", stage.stride if position == 0 else 1, residual=position > 0)
            number += 1
    x = convolve(x, "_conv_head")
    features = op.reduce_mean(x, np.array([2, 3]))  # (N, 1280)
    classes = op.matmul(features, op.constant(weights["_fc.weight"]), False, True)
    return ov.Model([op.add(classes, op.constant(weights["_fc.bias"]))], [pictures], "efficientnet-lite2")
