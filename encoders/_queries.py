"""What may be asked of an encoder, whichever it is."""

from collections.abc import Callable

import numpy as np

from retriever.ports import SentenceEncoder
from retriever.types import Part, Picture, Pictures, Text, Times, Tokens, Vector


def asked_of_frames(
    part: Part, sentences: SentenceEncoder, encode_frames: Callable[[Pictures, Times], Tokens]
) -> Vector | None:
    """A text as a sentence, a picture as the one frame that it is; of sounds frames know nothing."""
    if isinstance(part, Picture):
        token: Vector = encode_frames(part.pixels[None], np.array([[0.0, 1.0]])).rows[0]
        return token
    return asked_in_words(part, sentences)


def asked_in_words(part: Part, sentences: SentenceEncoder) -> Vector | None:
    """A text as a sentence; of all else nothing is known."""
    if isinstance(part, Text):
        sentence: Vector = sentences.encode([part.text])[0]
        return sentence
    return None
