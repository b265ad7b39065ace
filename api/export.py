"""A library in open formats, so that nobody is kept by one: JSON lines or Parquet, npy and WebVTT.

Of a library with two recipes what is searched is written, since that is one recipe's work.

library.json              recipe, spaces, generation; and the spaces that are held and were not written
media.jsonl               a line a media, as `reelseek media --json` has it, no number rounded
segments.jsonl            media, start_s, end_s, still
lines.jsonl               media, start_s, end_s, modality, confidence, text
tokens/SPACE.npy          (N, D) float16 rows of length one; no pickle
tokens/SPACE.jsonl        of each row: media, start_s, end_s, norm, labels
subtitles/ID.speech.vtt   spoken lines; ID.text.vtt has the written ones
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from api import schemas, tables
from retriever.ports import Snapshot, Store
from retriever.types import Filter, Line, Modality, RaggedTokens
from retriever.wholes import new_folder

VTT_BREAK = "\N{RIGHTWARDS ARROW}"


def write(store: Store, folder: Path, form: str = "jsonl") -> dict[str, Any]:
    """Write everything into `folder`, which must be new or empty: whole, or not at all.  `form` is of `tables.FORMS`.

    Raises:
        StoreUnavailable: the folder holds something already.
        BadSettings, MissingExtra: as `tables.checked`.
    """
    tables.checked(form)
    with new_folder(folder) as half, store.snapshot() as snapshot:
        counts = _everything(snapshot, half, form)
        _header(store, snapshot, half)
    return {"folder": str(folder), **counts}


def _header(store: Store, snapshot: Snapshot, folder: Path) -> None:
    made = store.catalog.recipe()
    page = {
        "format": 1,
        "recipe": {"digest": made[0], "text": made[1]} if made else None,
        "spaces": {key: schemas.space(space) for key, space in sorted(snapshot.spaces.items())},
        "generation": snapshot.generation,
        "left_out": sorted(snapshot.held().keys() - snapshot.spaces.keys()),
    }
    (folder / "library.json").write_text(json.dumps(page, indent=2) + "\n", encoding="utf-8")


def _everything(snapshot: Snapshot, folder: Path, form: str) -> dict[str, int]:
    (folder / "tokens").mkdir()
    (folder / "subtitles").mkdir()
    totals = {"media": 0, "segments": 0, "lines": 0, "tokens": 0}
    with ExitStack() as stack:
        put = {name: tables.written(folder / name, name, form, stack) for name in ("media", "segments", "lines")}
        spaces = [_Space(key, snapshot, folder, form, stack) for key in sorted(snapshot.spaces)]
        for item in snapshot.media():
            exact = {"duration_s": item.duration, "frame_rate": item.frame_rate}
            put["media"]({**schemas.one_media(item), **exact})
            numbers = snapshot.numbers(Filter(media=frozenset({item.key})))
            found = snapshot.segments(numbers)
            for (start, end), still in zip(found.spans.tolist(), found.still.tolist(), strict=True):
                put["segments"]({"media": item.key, "start_s": start, "end_s": end, "still": still})
            lines = [line for group in snapshot.lines(numbers) for line in group]
            for line in lines:
                exact = {"start_s": line.span.start, "end_s": line.span.end, "confidence": line.confidence}
                put["lines"]({"media": item.key, **schemas.line(line), **exact})
            _subtitles(lines, item.key, folder / "subtitles")
            totals["tokens"] += sum(space.add(item.key, snapshot.tokens(numbers, space.id)) for space in spaces)
            totals["media"] += 1
            totals["segments"] += len(numbers)
            totals["lines"] += len(lines)
    return totals


class _Space:
    """The tokens of one space: rows as one npy, what is known of each beside it."""

    def __init__(self, space: str, snapshot: Snapshot, folder: Path, form: str, stack: ExitStack) -> None:
        self.id = space
        self._rows, self._dimension = 0, snapshot.spaces[space].dimension
        path = folder / "tokens" / f"{space}.npy"
        self._put = tables.written(path.with_suffix(""), "tokens", form, stack)
        self._file = stack.enter_context(path.open("wb"))
        self._header()
        stack.callback(self._header)

    def _header(self) -> None:
        """First without rows, last with all of them: numpy leaves room for the number to grow in place."""
        self._file.seek(0)
        shape = (self._rows, self._dimension)
        np.lib.format.write_array_header_1_0(self._file, {"descr": "<f2", "fortran_order": False, "shape": shape})

    def add(self, media: str, tokens: RaggedTokens) -> int:
        self._file.write(np.ascontiguousarray(tokens.rows, "<f2").tobytes())
        for number, (start, end) in enumerate(tokens.spans.tolist()):
            names = tokens.labels[number] if len(tokens.labels) else ()
            labels = [
                {"name": name, "probability": float(chance)}
                for name, chance in zip(names, tokens.probabilities[number] if names else (), strict=False)
            ]
            fact = {"media": media, "start_s": start, "end_s": end, "norm": float(tokens.norms[number])}
            self._put({**fact, "labels": labels})
        self._rows += len(tokens.rows)
        return len(tokens.rows)


def _subtitles(lines: list[Line], key: str, folder: Path) -> None:
    for modality in (Modality.SPEECH, Modality.TEXT):
        cues = [line for line in lines if line.modality is modality]
        if cues:
            (folder / f"{key}.{modality}.vtt").write_text("\n".join(vtt(cues)), encoding="utf-8", errors="replace")


def vtt(lines: list[Line]) -> Iterator[str]:
    """WebVTT (https://www.w3.org/TR/webvtt1/): a cue's text may hold neither `-->`, nor a bare `&` or `<`."""
    yield "WEBVTT\n"
    for line in lines:
        words = " ".join(line.text.split()).replace("-->", VTT_BREAK)
        escaped = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        yield f"{_stamp(line.span.start)} --> {_stamp(line.span.end)}\n{escaped}\n"


def _stamp(seconds: float) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{thousandths:03d}"
