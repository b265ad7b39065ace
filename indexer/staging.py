"""Checkpoints of a media that is being encoded: a file a chapter, in the job's own folder, until the commit.

A checkpoint is there whole or not at all (written beside, synced, renamed), so whoever goes on after a crash goes on
with the first chapter that is not there.  Encoders other than those that wrote the folder start it anew.
"""

import errno
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.encoding import Encoded
from indexer.ports import Probe
from retriever.crashpoints import reached
from retriever.errors import DiskFull
from retriever.types import LABELS_KEPT, Line, MediaKind, Modality, Space, TimeSpan, Tokens, jsonable


@dataclass(frozen=True, slots=True)
class Staging:
    """The staging folder of one job."""

    folder: Path
    run: str = ""  # the indexing run that is at it; empty: none that anybody knows

    def begin(self, probe: Probe, spaces: Mapping[str, Space]) -> int:
        """Make the folder ready and return the first chapter that is still to do."""
        self.folder.mkdir(parents=True, exist_ok=True)  # somebody who took the job over may be through with it
        page = {"probe": jsonable(probe), "spaces": sorted(spaces)}
        held = self._head()
        if {name: held.get(name) for name in page} != page:
            for old in self.folder.glob("chapter-*.npz"):
                old.unlink()
        if held != {**page, "run": self.run}:
            _write_whole(self._job, json.dumps({**page, "run": self.run}).encode())
        number = 0
        while self._file(number).is_file():
            number += 1
        return number

    def keep(self, number: int, end: float, last: bool, encoded: Encoded) -> None:
        """Checkpoint one chapter, which ends at `end` seconds."""
        page = {
            "end": end,
            "last": last,
            "lines": [
                [line.span.start, line.span.end, line.text, str(line.modality), line.confidence]
                for line in encoded.lines
            ],
            "labels": {space: tokens.labels for space, tokens in encoded.tokens.items()},
        }
        arrays: dict[str, Any] = {"page": np.frombuffer(json.dumps(page).encode(), np.uint8)}
        for space, tokens in encoded.tokens.items():
            arrays |= {
                f"{space}/rows": tokens.rows,
                f"{space}/spans": tokens.spans,
                f"{space}/norms": tokens.norms,
                f"{space}/probabilities": tokens.probabilities,
            }
        whole = io.BytesIO()
        np.savez(whole, **arrays)
        reached("staging-before-checkpoint")
        _write_whole(self._file(number), whole.getvalue())
        reached("staging-after-checkpoint")

    def end(self) -> float | None:
        """Where the media ends, in seconds; None while its last chapter is not there."""
        *_, last = [None, *self._pages()]
        return float(last["end"]) if last and last["last"] else None

    def joined(self, spaces: Mapping[str, Space]) -> tuple[dict[str, Tokens], tuple[Line, ...]]:
        """All chapters, one after the other."""
        runs: dict[str, list[Tokens]] = {space: [] for space in spaces}
        lines: list[Line] = []
        for page, arrays in self._chapters():
            for space, labels in page["labels"].items():
                runs[space].append(
                    Tokens(
                        arrays[f"{space}/rows"],
                        arrays[f"{space}/spans"],
                        arrays[f"{space}/norms"],
                        tuple(tuple(names) for names in labels),
                        arrays[f"{space}/probabilities"].reshape(-1, LABELS_KEPT),
                    )
                )
            lines += [
                Line(TimeSpan(start, end), text, Modality(modality), confidence)
                for start, end, text, modality, confidence in page["lines"]
            ]
        tokens = {space: Tokens.joined(parts, spaces[space].dimension) for space, parts in runs.items()}
        return tokens, tuple(sorted(lines, key=lambda line: (line.span, line.modality, line.text)))

    def probe(self) -> Probe:
        """What `begin` was told."""
        told = self._head()["probe"]
        return Probe(**{**told, "kind": MediaKind(told["kind"])})

    def begun_by(self) -> str | None:
        """The run that was last at it; None: nobody came so far as to begin."""
        head = self._head()
        return head.get("run", "") if head else None  # earlier versions did not write it down

    @property
    def _job(self) -> Path:
        return self.folder / "job.json"

    def _head(self) -> dict[str, Any]:
        return json.loads(self._job.read_text()) if self._job.is_file() else {}

    def _file(self, number: int) -> Path:
        return self.folder / f"chapter-{number:05d}.npz"

    def _chapters(self) -> Iterator[tuple[dict[str, Any], Mapping[str, np.ndarray[Any, Any]]]]:
        number = 0
        while self._file(number).is_file():
            with np.load(self._file(number), allow_pickle=False) as arrays:
                yield json.loads(arrays["page"].tobytes()), arrays
            number += 1

    def _pages(self) -> Iterator[dict[str, Any]]:
        yield from (page for page, _ in self._chapters())


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, whatever happens.

    Raises:
        DiskFull: no room for it.
    """
    beside = path.with_suffix(f"{path.suffix}.{os.getpid()}.part")  # one who has lost the job may still write
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        beside.unlink(missing_ok=True)
        raise DiskFull(
            f"no room for {path}, which keeps what was encoded until now: make some and run the same again"
        ) from error
