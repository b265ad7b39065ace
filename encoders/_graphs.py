"""Networks on the one CPU runtime, and what their conversion makes, kept between runs.

OpenVINO is that runtime, by measurement (`benchmarks/runtimes.py`).  The networks are built here from plain arrays,
operation by operation: nothing has to be traced, so neither torch nor a model file format is needed to run them.

    arrays = kept("efficientnet", key, make)     # made once a machine, then read from the cache folder
    network = compiled(graph(arrays))
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from encoders._cache import cache_folder

log = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]

BATCHES = (16, 4, 1)  # more than 16 gain nothing on a few cores


_threads: dict[str, int] = {}
"""What this process has been told of its share of the machine."""


@lru_cache(maxsize=1)
def _core() -> ov.Core:
    return ov.Core()


def keep_to(cores: int) -> None:
    """From now on networks are compiled for so many cores: others are at work on the rest."""
    _threads["INFERENCE_NUM_THREADS"] = cores


def compiled(model: ov.Model, precision: str = "f32") -> ov.CompiledModel:
    """A graph ready to run on all cores of this process, in float32 on every machine.

    Without the hint OpenVINO calculates in bfloat16 wherever the processor can, so that one library would get
    different numbers on different machines.  Who wants that says `bf16`, and gets it where the processor has it.
    """
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    return _core().compile_model(model, "CPU", hints | _threads)


def opened(file: Path) -> ov.Model:
    """A graph that `openvino.save_model` wrote.

    Raises:
        RuntimeError: it is none.
    """
    return _core().read_model(file)


def batches(count: int) -> Iterator[slice]:
    """`count` rows in batches of few sizes: the runtime keeps memory for every size it has met."""
    start = 0
    for size in BATCHES:
        while count - start >= size:
            yield slice(start, start + size)
            start += size


def kept(name: str, key: str, make: Callable[[], Mapping[str, NDArray[Any]]]) -> Arrays:
    """The arrays that `make` gives, from the cache folder if they were made before.

    Args:
        name: for people who look into the folder.
        key: says all that the arrays depend on: hashes of the weights, and the revision of the code that converts.
        make: called where the folder has no sound file of that key.

    A damaged file is made again; a folder that cannot be written costs time at every start, and a warning.
    """
    file = cache_folder() / f"{name}-{sha256(key.encode()).hexdigest()[:16]}.safetensors"
    found = _read(file)
    if found is not None:
        return found
    made = dict(make())
    try:
        _write(file, made)
    except OSError as error:
        log.warning(
            "%s cannot be kept (%s), so it is converted at every start: set REELSEEK_CACHE to a folder that can be "
            "written",
            file,
            error.strerror,
        )
    return made


def _read(file: Path) -> Arrays | None:
    """The arrays of a file, or None where there is none or its content is not what was written."""
    try:
        content = file.read_bytes()
        digest, body = content[:32], content[32:]
        return load(body) if sha256(body).digest() == digest else None
    except (OSError, SafetensorError):
        return None


def _write(file: Path, arrays: Arrays) -> None:
    """Write beside, then rename: whoever reads meanwhile sees the whole file or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # `save` writes memory as it lies: the numbers of an array that is laid out otherwise would come back in disorder.
    body = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    with NamedTemporaryFile(dir=file.parent, delete=False) as stream:
        try:
            stream.write(sha256(body).digest())
            stream.write(body)
            stream.flush()
            os.fsync(stream.fileno())
            os.replace(stream.name, file)
        except BaseException:
            with suppress(OSError):
                os.unlink(stream.name)
            raise
