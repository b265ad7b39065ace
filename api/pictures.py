"""A picture for each moment: its frame, or the shape of its sound.

They are made in a child process (`api/sketch.py`), since decoders are what hostile files are aimed at: a file that
crashes one costs its own picture and no other.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import api
from retriever.types import MediaKind, Modality, Moment, TimeSpan

SECONDS_FOR_ALL = 60.0
SECONDS_FOR_ONE = 3.0
LONGEST_SHAPE = 120.0
"""Seconds of sound that are drawn at most; of a longer file those around the moment."""
NO_PICTURE = "<p>no picture: {}</p>"


def drawn(moments: Sequence[Moment]) -> dict[str, str]:
    """HTML by `Moment.ref`: an image with its data inside, an inline SVG, or a line that says why there is none."""
    wanted = {moment.ref: json.dumps(_request(moment)) for moment in moments}
    replies = _replies(list(wanted.values()))
    return {ref: _html(json.loads(reply)) for ref, reply in zip(wanted, replies, strict=True)}


def tiles(moments: Sequence[Moment], size: tuple[int, int]) -> dict[str, NDArray[np.uint8]]:
    """The same as pixels `(H, W, 3)` of one `size` (width, height), by `Moment.ref`; nothing where there is none."""
    wanted = {moment.ref: json.dumps({**_request(moment), "tile": size}) for moment in moments}
    replies = [json.loads(reply) for reply in _replies(list(wanted.values()))]
    shape = (size[1], size[0], 3)
    drawn = {ref: reply["pixels"] for ref, reply in zip(wanted, replies, strict=True) if "pixels" in reply}
    return {ref: np.frombuffer(base64.b64decode(data), np.uint8).reshape(shape) for ref, data in drawn.items()}


def best_second(moment: Moment) -> float:
    """Where to look: in the middle of what was seen or read most, else of the moment."""
    pieces = [piece for piece in moment.evidence if piece.modality in (Modality.VISION, Modality.TEXT) and piece.spans]
    if not pieces:
        return moment.span.middle
    return max(pieces, key=lambda piece: piece.share).spans[0].middle


def shape_span(moment: Moment) -> TimeSpan:
    """The stretch of sound that is drawn around a moment."""
    length = max(moment.media.duration, moment.end_s)
    if length <= LONGEST_SHAPE:
        return TimeSpan(0.0, length)
    start = min(max(0.0, moment.span.middle - LONGEST_SHAPE / 2), length - LONGEST_SHAPE)
    return TimeSpan(start, start + LONGEST_SHAPE)


def _request(moment: Moment) -> dict[str, object]:
    media = moment.media
    if media.kind is MediaKind.SOUND:
        around = shape_span(moment)
        return {
            "sound": media.path,
            "around": (around.start, around.end),
            "moment": (moment.start_s, moment.end_s),
        }
    return {"frame": media.path, "second": 0.0 if media.kind is MediaKind.IMAGE else best_second(moment)}


def _replies(requests: Sequence[str]) -> list[str]:
    """A reply a request, in order.  A child that dies or hangs loses the one it was at; another does the rest."""
    replies: list[str] = []
    while len(replies) < len(requests):
        replies += _from_child(requests[len(replies) :])
        if len(replies) < len(requests):
            replies.append(json.dumps({"error": "its decoder died or took too long"}))
    return replies


def _from_child(requests: Sequence[str]) -> list[str]:
    limit = SECONDS_FOR_ALL + SECONDS_FOR_ONE * len(requests)
    command = [sys.executable, "-P", "-m", "api.sketch"]  # -P: what lies in the working folder is not ours
    home = str(Path(api.__file__).parents[1])  # and these very packages, whatever else is installed
    paths = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    text = "".join(f"{request}\n" for request in requests)
    try:
        output = subprocess.run(
            command,
            input=text.encode(),
            capture_output=True,
            timeout=limit,
            env={**os.environ, "PYTHONPATH": paths},
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as late:
        output = late.stdout or b""
    return output.decode("ascii", "replace").split("\n")[:-1]  # what follows the last line end is half a reply


def _html(reply: dict[str, str]) -> str:
    if "jpeg" in reply:
        return f'<img alt="" src="data:image/jpeg;base64,{escape(reply["jpeg"])}">'
    if "svg" in reply:
        return reply["svg"]  # numbers only, made by us
    return NO_PICTURE.format(escape(reply["error"]))
