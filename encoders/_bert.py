"""A BERT encoder with a sentence on top, as an OpenVINO graph built from the plain arrays of its weights.

Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (2019); the mean over its tokens, of length one,
as sentence: Reimers and Gurevych, "Sentence-BERT" (2019).
"""

from collections.abc import Mapping

import numpy as np
import openvino as ov
from openvino import opset14 as op

from retriever.types import Floats

LAYERS = 6
HEADS = 12
WIDTH = 384
EPSILON = 1e-12  # of its layer normalisation
FAR_BELOW = np.float32(-1e4)  # added to an attention score, it leaves exactly nothing of it


def graph(weights: Mapping[str, Floats]) -> ov.Model:
    """Token numbers `(N, L)` and mask `(N, L)` (1 where a token stands, 0 on padding) → sentences `(N, 384)`."""

    def constant(name: str) -> ov.Output:
        return op.constant(weights[name])

    def dense(x: ov.Output, name: str) -> ov.Output:
        return op.add(op.matmul(x, constant(f"{name}.weight"), False, True), constant(f"{name}.bias"))

    def normed(x: ov.Output, name: str) -> ov.Output:
        plain = op.mvn(x, np.array([-1]), True, EPSILON, "inside_sqrt")
        return op.add(op.multiply(plain, constant(f"{name}.weight")), constant(f"{name}.bias"))

    def heads(x: ov.Output) -> ov.Output:  # (N, L, WIDTH) → (N, HEADS, L, WIDTH / HEADS)
        return op.transpose(op.reshape(x, [0, 0, HEADS, WIDTH // HEADS], True), [0, 2, 1, 3])

    def layer(x: ov.Output, bias: ov.Output, name: str) -> ov.Output:
        query, key, value = (heads(dense(x, f"{name}.attention.self.{role}")) for role in ("query", "key", "value"))
        seen = op.transpose(op.scaled_dot_product_attention(query, key, value, bias), [0, 2, 1, 3])
        joined = dense(op.reshape(seen, [0, 0, WIDTH], True), f"{name}.attention.output.dense")
        x = normed(op.add(x, joined), f"{name}.attention.output.LayerNorm")
        wide = op.gelu(dense(x, f"{name}.intermediate.dense"), "erf")
        return normed(op.add(x, dense(wide, f"{name}.output.dense")), f"{name}.output.LayerNorm")

    tokens = op.parameter([-1, -1], np.int64, name="tokens")
    mask = op.parameter([-1, -1], np.float32, name="mask")
    bias = op.unsqueeze(op.multiply(op.subtract(np.float32(1), mask), FAR_BELOW), [1, 2])  # (N, 1, 1, L)
    length = op.gather(op.shape_of(tokens), np.array([1]), np.int64(0))
    places = op.slice(constant("embeddings.position_embeddings.weight"), [0], length, [1], [0])
    x = op.gather(constant("embeddings.word_embeddings.weight"), tokens, np.int64(0))
    x = op.add(op.add(x, places), op.constant(weights["embeddings.token_type_embeddings.weight"][0]))
    x = normed(x, "embeddings.LayerNorm")
    for number in range(LAYERS):
        x = layer(x, bias, f"encoder.layer.{number}")
    total = op.reduce_sum(op.multiply(x, op.unsqueeze(mask, [2])), np.array([1]))
    mean = op.divide(total, op.reduce_sum(mask, np.array([1]), True))
    return ov.Model([op.normalize_l2(mean, [1], EPSILON, "max")], [tokens, mask], "bert-sentences")
