"""PP-OCRv6: one network finds where something is written, another reads it.

Both run on ONNX Runtime: as fast as OpenVINO here and with a third of the memory.  Memory stays flat because the shapes
are few (the finder's sides are multiples of 32 with the longer one given, the reader's widths multiples of 160) and
nothing is kept from one run to the next: neither arena nor memory plans.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from rapidocr.ch_ppocr_det.utils import DBPostProcess
from rapidocr.utils.process_img import get_rotate_crop_image

from encoders._weights import RAPIDOCR
from retriever.types import Floats

Page = NDArray[np.uint8]
"""`(H, W, 3)` RGB."""
Corners = NDArray[np.float32]
"""`(4, 2)` x and y in pixels: the upper left corner of what is written, then clockwise."""

GRAIN = 32  # the finder's sides are multiples of this
HEIGHT = 48  # pixels of a line as the reader wants it
WIDTH = 160  # the reader's widths are multiples of this
WIDEST = 12 * WIDTH  # a longer line is squeezed
ENLARGED = 2.0  # a page is scaled up so far at most: beyond, nothing new is found


@dataclass(frozen=True, slots=True)
class Written:
    """A place where something seems to be written, cut out upright."""

    corners: Corners
    crop: Page


class Finder:
    """Finds written lines on a page."""

    def __init__(self, threads: int) -> None:
        self._network = network("models/PP-OCRv6_det_small.onnx", threads)
        self._boxes = DBPostProcess(thresh=0.3, box_thresh=0.5, unclip_ratio=1.6, use_dilation=True)  # PP-OCR's own

    def find(self, page: Page, side: int) -> list[Written]:
        """What is written on `page`, looked at with its longer side `side` pixels long."""
        height, width = page.shape[:2]
        scale = min(side / max(height, width), ENLARGED)
        size = [max(GRAIN, round(edge * scale / GRAIN) * GRAIN) for edge in (width, height)]
        pixels = _inputs(page, size[0], size[1])
        (chances,) = self._network.run(None, {"x": pixels[None]})  # (1, 1, h, w)
        quadrangles, _ = self._boxes(chances, (height, width))
        return [Written(corners, _upright(page, corners)) for corners in np.asarray(quadrangles, np.float32)]


class Reader:
    """Reads one written line."""

    def __init__(self, threads: int) -> None:
        self._network = network("models/PP-OCRv6_rec_small.onnx", threads)
        letters = self._network.get_modelmeta().custom_metadata_map["character"].splitlines()
        self._letters = np.array(["", *letters, " "])  # 0 is the blank of CTC (Graves et al. 2006)

    def read(self, crop: Page) -> tuple[str, float]:
        """Text and confidence from 0 to 1; ("", 0) where nothing can be read."""
        height, width = crop.shape[:2]
        wanted = min(WIDEST, max(1, round(width * HEIGHT / height)))
        pixels = np.zeros((3, HEIGHT, -(-wanted // WIDTH) * WIDTH), np.float32)
        pixels[:, :, :wanted] = _inputs(crop, wanted, HEIGHT)
        (chances,) = self._network.run(None, {"x": pixels[None]})  # (1, T, letters)
        best = chances[0].argmax(axis=1)  # (T,)
        first = best != np.concatenate(([0], best[:-1]))
        kept = np.flatnonzero(first & (best != 0))
        if not len(kept):
            return "", 0.0
        return "".join(self._letters[best[kept]]).strip(), float(chances[0, kept, best[kept]].mean())


def network(name: str, threads: int) -> onnxruntime.InferenceSession:
    """One of the networks of `rapidocr`, ready to run."""
    file: Path = RAPIDOCR.path(name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the processors too
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _inputs(pixels: Page, width: int, height: int) -> Floats:
    """`(h, w, 3)` RGB scaled to `(3, height, width)` BGR from -1 to 1."""
    shrinks = width * height < pixels.shape[0] * pixels.shape[1]
    scaled = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.ascontiguousarray(scaled[:, :, ::-1].transpose(2, 0, 1), np.float32) / 127.5 - 1


def _upright(page: Page, corners: Corners) -> Page:
    crop: Page = get_rotate_crop_image(page, corners)
    return crop
