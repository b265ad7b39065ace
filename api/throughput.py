"""How fast a model is on this machine: measured when asked, then told on its card.

    rate = measured("openclip", NAME, ModelChoice(device="cpu"))    # some seconds of work
    known(NAME)                                                     # every one that was measured here, by setting

What is measured is what indexing does with media that are decoded already: from frames or samples to tokens.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from socket import gethostname
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from api.models import LOCKS
from api.parts import ModelChoice
from encoders._cache import cache_folder
from encoders._models import models_folder
from retriever import wholes
from retriever.stores._lock import CommitLock, Work
from retriever.types import Sound, Stretch

FRAMES, HEARD, SHOWN = 32, 20, 16  # frames, seconds of sound, seconds of film
RUNS, SECONDS = 3, 2.0  # at least
WIDE = 16 / 9
NOTING = Work("a change of throughput.json", 60.0)


@dataclass(frozen=True, slots=True)
class Rate:
    """What one setting did, as a median of several runs."""

    device: str
    precision: str
    runtime: str
    rate: float
    unit: str  # of the rate, such as `frames/s`
    measured: str  # date, ISO 8601
    host: str
    digest: str  # of the model


def measured(family: str, model: str, choice: ModelChoice) -> Rate:
    """Time the media side of a model in this setting, and remember it.

    Raises:
        MissingExtra, WeightsError, DeviceError: it cannot be had here.
    """
    encoder = choice.build(family, model, "")
    amount, unit, work = _work(encoder)
    work()  # reads the weights
    times: list[float] = []
    while len(times) < RUNS or sum(times) < SECONDS:
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    rate = Rate(
        choice.device,
        choice.precision,
        choice.runtime,
        round(amount / median(times), 2),
        unit,
        datetime.now(UTC).date().isoformat(),
        gethostname(),
        encoder.digest,
    )
    _noted(encoder.model, rate)
    return rate


def known(model: str) -> list[Rate]:
    """What was measured of a model on this machine, the newest last."""
    return [rate for rate in _all().get(model, []) if rate.host == gethostname()]


def _work(encoder: Any) -> tuple[float, str, Callable[[], object]]:
    """How much one run has to do, in what unit, and the run."""
    noise = np.random.default_rng(0)
    if hasattr(encoder, "encode_sound"):
        sound = Sound(noise.normal(0, 0.1, HEARD * encoder.rate).astype(np.float32), encoder.rate)
        return HEARD, "seconds of sound/s", lambda: encoder.encode_sound(sound)
    count = FRAMES if hasattr(encoder, "encode_frames") else 2 * SHOWN
    pixels = noise.integers(0, 256, (count, encoder.side, round(WIDE * encoder.side), 3), np.uint8)
    spans = np.stack([np.arange(count), np.arange(count) + 1], axis=1) / 2
    if hasattr(encoder, "encode_frames"):
        return FRAMES, "frames/s", lambda: encoder.encode_frames(pixels, spans)
    return SHOWN, "seconds of film/s", lambda: encoder.encode_clips([Stretch(pixels, spans)])


def _file() -> Path:
    return cache_folder() / "throughput.json"


def _all() -> dict[str, list[Rate]]:
    """Nothing where nothing was measured, or by another version."""
    try:
        page = json.loads(_file().read_text("utf-8"))
        return {name: [Rate(**rate) for rate in rates] for name, rates in page.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _noted(model: str, rate: Rate) -> None:
    """One rate a setting and a host; those of other weights go."""
    locks = models_folder() / LOCKS
    locks.mkdir(parents=True, exist_ok=True)
    with CommitLock(locks / "throughput.lock").held(NOTING):
        everything = _all()
        setting = rate.device, rate.precision, rate.runtime, rate.host
        others = [
            one
            for one in everything.get(model, [])
            if (one.device, one.precision, one.runtime, one.host) != setting and one.digest == rate.digest
        ]
        everything[model] = [*others, rate]
        page = {name: [asdict(one) for one in rates] for name, rates in sorted(everything.items())}
        wholes.write(_file(), (json.dumps(page, indent=1, ensure_ascii=False) + "\n").encode())
