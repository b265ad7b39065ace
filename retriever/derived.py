"""What can be worked out again, kept beside a library so that it need not be.

    arrays = kept(folder, "calibration", key, make)   # made once, then read

Deleted, damaged or not writable: it is made again, and nothing else changes.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

_DIGEST = 32
"""Bytes of the SHA-256 that a file ends with."""
NEWEST = 4
"""Files of one name that stay; older ones belong to states of the library that are gone."""


def kept(folder: Path | None, name: str, key: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays that `make` gives, read from `folder` if they were made before for the same `key`; without a folder
    they are made each time."""
    if folder is None:
        return make()
    file = folder / f"{name}-{sha256(key.encode()).hexdigest()[:16]}.npz"
    found = _read(file)
    if found is not None:
        return found
    made = make()
    with suppress(OSError):  # a library that may only be read
        _write(file, made)
    return made


def _read(file: Path) -> Arrays | None:
    """None where there is no such file, or its content is not what was written.  What stands in a damaged archive can
    be anything, missing arrays too, so the digest at its end is asked and not the archive."""
    with suppress(OSError):
        content = file.read_bytes()
        body, digest = content[:-_DIGEST], content[-_DIGEST:]
        if sha256(body).digest() == digest:
            return dict(np.load(BytesIO(body), allow_pickle=False))
    return None


def _write(file: Path, arrays: Arrays) -> None:
    """Write beside, then rename: whoever reads meanwhile sees the whole file or none."""
    file.parent.mkdir(exist_ok=True)
    body = BytesIO()
    np.savez(body, allow_pickle=False, **arrays)
    with NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as stream:
        try:
            stream.write(body.getbuffer())
            stream.write(sha256(body.getbuffer()).digest())
            stream.flush()
            Path(stream.name).replace(file)
        except OSError:
            Path(stream.name).unlink(missing_ok=True)
            raise
    name = file.stem.rpartition("-")[0]
    for old in sorted(file.parent.glob(f"{name}-*.npz"), key=lambda one: one.stat().st_mtime)[:-NEWEST]:
        old.unlink(missing_ok=True)
