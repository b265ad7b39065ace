"""What may be asked of frames, whoever encodes them."""

from collections.abc import Callable

import numpy as np

from retriever.ports import SentenceEncoder
from retriever.types import Part, Picture, Pictures, Text, Times, Tokens, Vector


def asked_of_frames(
    part: Part, sentences: SentenceEncoder, encode_frames: Callable[[Pictures, Times], Tokens]
) -> Vector | None:
    """A text as a sentence, a picture as the one frame that it is; of sounds frames know nothing."""
    if isinstance(part, Text):
        sentence: Vector = sentences.encode([part.text])[0]
        return sentence
    if isinstance(part, Picture):
        token: Vector = encode_frames(part.pixels[None], np.array([[0.0, 1.0]])).rows[0]
        return token
    return None
