"""Models on this machine: pulled, looked over, removed.

    plan = planned("ViT-B-32:laion2b_s34b_b79k")      # over the network, but no weights yet
    pull(plan, watch, waiting)                        # two processes that pull at once pull once
    for name, fault in verify(): ...

A model lies in a folder of the models folder once it is whole and checked, and counts as pulled once `models.lock`
says so.  What is under way lies beside, in `pulling-…`.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from re import sub

from api import sources
from api.downloads import Broken, Watch, fetch, unwritable
from api.sources import Plan
from encoders import _models
from encoders._models import Pinned, lock_file, models_folder, nearest, pinned
from retriever import wholes
from retriever.errors import PullError, StoreLocked, UnknownModel, WeightsError
from retriever.stores._lock import CommitLock, Work

OFFLINE = ("REELSEEK_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
YES = ("1", "true", "yes", "on")
AT_ONCE = Work("a pull", 0.0)
IN_TIME = Work("a pull", 24 * 3600.0)
NOTING = Work("a change of models.lock", 60.0)
LOCKS, COMING = ".locks", "pulling-"
"""In the models folder: the folder of locks, and what stands before the name of a folder that is not whole yet."""


def network_allowed() -> None:
    """
    Raises:
        PullError: a variable says that there is to be none.
    """
    for name in OFFLINE:
        if os.environ.get(name, "").lower() in YES:
            raise PullError(
                f"{name} is set, so nothing is pulled: unset it, or pull where there is a network and copy "
                f"{models_folder()} and {lock_file().name}"
            )


def pull(plan: Plan, watch: Watch, waiting: Callable[[], None]) -> Pinned:
    """Bring a model, unless it is here by now.  One that is pinned, but not as it was, is brought as it was.

    Args:
        watch: told of every piece of every file.
        waiting: called if another process is pulling this model.

    Raises:
        PullError: see `downloads.fetch`; or the weights cannot be read safely.
    """
    network_allowed()
    coming, folder = models_folder() / f"{COMING}{_slug(plan.name)}", models_folder() / _slug(plan.name)
    try:
        with _alone(plan.name, waiting):
            held = pinned().get(plan.name)
            if held is not None and is_sound(plan.name, held):
                return held
            _cleared(folder, coming)
            one = _whole(plan, coming, watch, held)
            os.replace(coming, folder)
            _synced(folder.parent)
            _noted(plan.name, one)
            return one
    except OSError as error:
        raise unwritable(models_folder(), error) from error


def is_sound(name: str, held: Pinned) -> bool:
    """Whether every file of it is as it was pulled."""
    try:
        held.check(name)
    except WeightsError:
        return False
    return True


def _whole(plan: Plan, coming: Path, watch: Watch, held: Pinned | None) -> Pinned:
    """All of a plan in `coming`, as it was pinned if it was.  Of a pull that failed nothing is left but what the next
    can go on with."""
    try:
        one = _brought(plan, coming, watch)
        if held is not None and (other := sorted(name for name, _ in held.files.items() ^ one.files.items())):
            raise PullError(
                f"{plan.source} has another {other[0]} than {lock_file().name} says: if that is meant, "
                f"reelseek models remove {plan.name} first"
            )
        return one
    except (Broken, KeyboardInterrupt):
        if not files_below(coming):
            coming.rmdir()
        raise
    except BaseException:
        shutil.rmtree(coming, ignore_errors=True)
        raise


def planned(name: str, url: str = "", sha256: str = "") -> Plan:
    """What pulling a model would bring; of one that is pinned, from where and as it was.

    Raises:
        UnknownModel, PullError: see `sources.found`.
    """
    held = pinned()
    for one in spellings(name):
        if (pin := held.get(one)) is None:
            continue
        if pin.revision:
            return sources.found(one, sources.Hub(pin.revision))
        weights = next(file for file in pin.files if file in _models.WEIGHTS[pin.family])
        return sources.found(one, sources.Hub(), pin.source, pin.files[weights])
    return sources.found(name, sources.Hub(), url, sha256)


def remove(name: str) -> tuple[str, int]:
    """Take a model away, and what a broken pull of it left.  Returns its name and the bytes that it had.

    Raises:
        UnknownModel: it is not here.
    """
    name = known(name, left=True)
    with _alone(name, lambda: None):
        held = pinned().get(name)
        folders = {_slug(name), f"{COMING}{_slug(name)}", held.folder if held else _slug(name)}
        size = sum(file.stat().st_size for folder in folders for file in files_below(models_folder() / folder))
        _noted(name, None)  # first, so that nobody finds half of it
        for folder in folders:
            shutil.rmtree(models_folder() / folder, ignore_errors=True)
        return name, size


def known(name: str, *, left: bool = False) -> str:
    """The name of a model that is here as the lock spells it.

    Args:
        left: also of one that was begun and is not whole.

    Raises:
        UnknownModel: it is not; the message has the nearest names.
    """
    held = pinned()
    for one in spellings(name):
        if one in held or (left and any((models_folder() / f"{way}{_slug(one)}").is_dir() for way in ("", COMING))):
            return one
    close = nearest(name, [*held, *_models.tags()])
    brought = "" if not close or close[0] in held else f" (reelseek models pull {close[0]} brings it)"
    hint = f"did you mean {' or '.join(close)}?{brought}" if close else "reelseek models list shows those that are"
    raise UnknownModel(f"{name} is not on this machine: {hint}")


def verify(name: str = "") -> Iterator[tuple[str, str]]:
    """Every model that is here, or one, and what is wrong with it: empty if nothing is.

    Raises:
        UnknownModel: it is not here.
    """
    held = pinned()
    for one in [known(name)] if name else sorted(held):
        try:
            held[one].check(one)
            yield one, ""
        except WeightsError as error:
            yield one, str(error)
    ours = {one.folder for one in held.values()} | {LOCKS}
    for folder in [] if name else sorted(models_folder().glob("*/")):
        if folder.name not in ours:
            yield (
                folder.name,
                f"{folder} is not in {lock_file().name}: it is being pulled, or that was stopped: pull it again",
            )


def spellings(name: str) -> tuple[str, ...]:
    """As whom a model may be here: what was said, and how each family spells it."""
    return name, _models.spelled("openclip", name), _models.spelled("clap", name)


# -------------------------------------------------------------------------------------------------------------- inside


def _brought(plan: Plan, coming: Path, watch: Watch) -> Pinned:
    """All files of a plan in `coming`, on the disk."""
    files = {remote.name: fetch(remote, coming, watch) for remote in plan.remotes}
    for name, body in plan.made.items():
        wholes.write(coming / name, body)
        files[name] = sha256(body).hexdigest()
    for file in files_below(coming):
        if file.name not in files:
            file.unlink()  # of an earlier pull, when the source had others
    weights = coming / plan.remotes[0].name
    _synced(coming)
    return Pinned(
        family=plan.family,
        folder=_slug(plan.name),
        source=plan.source,
        revision=plan.revision,
        licence=plan.licence,
        pulled=datetime.now(UTC).date().isoformat(),
        files=files,
        size=sum((coming / name).stat().st_size for name in files),
        facts={**plan.facts, "parameters": parameters(weights)},
    )


def parameters(weights: Path) -> int:
    """How many numbers a file of weights holds, which shows that it can be read safely.

    Raises:
        PullError: it cannot.
    """
    if weights.suffix == ".safetensors":
        return _header(weights)
    import torch  # here: a pull of safetensors needs none

    try:
        held = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything on a file that is not its own
        raise PullError(
            f"{weights.name} holds more than weights, or is none ({type(error).__name__}): reelseek runs nothing that "
            "comes in a file, so it was not kept; pull a model that has safetensors"
        ) from error
    state = held.get("state_dict", held) if isinstance(held, dict) else {}
    return sum(value.numel() for value in state.values() if isinstance(value, torch.Tensor))


def _header(weights: Path) -> int:
    """The count from the header of safetensors (https://huggingface.co/docs/safetensors): its length, then JSON."""
    try:
        with weights.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > weights.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        shapes = [tuple(map(int, entry["shape"])) for entry in header.values()]
        end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if end != weights.stat().st_size:
            raise ValueError(f"it has {weights.stat().st_size:,} bytes, its header tells of {end:,}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PullError(f"{weights.name} is not safetensors ({error}): it was not kept") from error
    return sum(math.prod(shape) for shape in shapes)


def _cleared(folder: Path, coming: Path) -> None:
    """A folder to pull into.  One that is whole, but was never noted, is looked over as if it were coming."""
    if folder.is_dir():
        shutil.rmtree(coming, ignore_errors=True)
        os.replace(folder, coming)
    coming.mkdir(parents=True, exist_ok=True)


@contextmanager
def _alone(name: str, waiting: Callable[[], None]) -> Iterator[None]:
    """No other process pulls or removes this model within the block."""
    locks = models_folder() / LOCKS
    locks.mkdir(parents=True, exist_ok=True)
    lock = CommitLock(locks / _slug(name))
    with ExitStack() as held:
        try:
            held.enter_context(lock.held(AT_ONCE))
        except StoreLocked:
            waiting()
            held.enter_context(lock.held(IN_TIME))
        yield


def _noted(name: str, one: Pinned | None) -> None:
    """Write one entry of `models.lock`, or take it out."""
    with CommitLock(models_folder() / LOCKS / "models.lock").held(NOTING):
        held = {key: asdict(value) for key, value in pinned().items() if key != name}
        if one is not None:
            held[name] = {**asdict(one), "files": dict(one.files), "facts": dict(one.facts)}
        page = {"version": _models.VERSION, "models": {key: held[key] for key in sorted(held)}}
        wholes.write(lock_file(), (json.dumps(page, indent=1, ensure_ascii=False) + "\n").encode())
        _synced(lock_file().parent)


def _synced(folder: Path) -> None:
    """The names of a folder on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _slug(name: str) -> str:
    """A name for a folder: readable, and another for every model."""
    return f"{sub(r'[^A-Za-z0-9._-]+', '-', name)}-{sha256(name.encode()).hexdigest()[:8]}"


def files_below(folder: Path) -> list[Path]:
    """All files in a folder, however deep."""
    return [file for file in folder.rglob("*") if file.is_file()]
