"""YAMNet as an OpenVINO graph in float32, built from the plain arrays of its 8-bit file.

Plakal and Ellis, "YAMNet" (TensorFlow models, AudioSet): MobileNet v1 (Howard et al. 2017) over log-mel patches of
0.96 s, 521 classes that do not exclude one another.

The file rounds the activations between layers to 8 bits, and its last scale is 0.76 of a logit: too coarse to rank by.
Its weights are on an 8-bit grid but stored as float32, so the same network without the rounding in between costs
nothing, takes batches, and tells the classes apart more finely.
"""

from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import openvino as ov
from openvino import opset14 as op

from retriever.types import Floats

FRAMES = 96  # of 10 ms
BANDS = 64
STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)  # of the first convolution, then of each depthwise one
FLOAT32 = 1  # ONNX's number for it


def read_weights(file: Path) -> dict[str, Floats]:
    """The arrays of the zipped ONNX file in order of the layers: `NUMBER.weight`, `NUMBER.bias`, `classes.…`."""
    import onnx  # here, not above: only the first start on a machine converts

    with ZipFile(file) as archive:
        names = {Path(name).name: name for name in archive.namelist()}
        content = onnx.load_model_from_string(archive.read(names["model.onnx"])).graph
        outside = archive.read(names["model.data"])
    arrays: dict[str, Floats] = {}
    for tensor in content.initializer:
        if tensor.data_type == FLOAT32:
            place = {entry.key: entry.value for entry in tensor.external_data}
            start, length = int(place.get("offset", 0)), int(place.get("length", 0))
            raw = outside[start : start + length] if place else onnx.numpy_helper.to_array(tensor).tobytes()
            arrays[tensor.name] = np.frombuffer(raw, np.float32).reshape(tuple(tensor.dims))
    layers: dict[str, Floats] = {}
    for number, node in enumerate(node for node in content.node if node.op_type == "Conv"):
        layers[f"{number}.weight"] = arrays[node.input[1].removesuffix("_qdq")]
        layers[f"{number}.bias"] = arrays[node.input[2]]
    layers["classes.weight"] = arrays["model.classifier.weight"]
    layers["classes.bias"] = arrays["model.classifier.bias"]
    return layers


def graph(weights: Mapping[str, Floats]) -> ov.Model:
    """Log-mel patches `(N, 96, 64)` → logits `(N, 521)`."""

    def convolve(x: ov.Output, number: int, stride: int) -> ov.Output:
        kernel = weights[f"{number}.weight"]
        depthwise = kernel.shape[1] == 1 and number > 0
        shaped = kernel[:, None] if depthwise else kernel  # (groups, 1, 1, 3, 3) or (out, in, k, k)
        operator = op.group_convolution if depthwise else op.convolution
        y = operator(x, op.constant(shaped), [stride, stride], [0, 0], [0, 0], [1, 1], "same_upper")
        return op.relu(op.add(y, op.constant(weights[f"{number}.bias"][None, :, None, None])))

    patches = op.parameter([-1, FRAMES, BANDS], np.float32, name="patches")
    x = convolve(op.unsqueeze(patches, [1]), 0, STRIDES[0])
    for block, stride in enumerate(STRIDES[1:]):
        x = convolve(x, 2 * block + 1, stride)
        x = convolve(x, 2 * block + 2, 1)
    means = op.reduce_mean(x, np.array([2, 3]))
    weight, bias = op.constant(weights["classes.weight"]), op.constant(weights["classes.bias"])
    return ov.Model([op.add(op.matmul(means, weight, False, True), bias)], [patches], "yamnet")
