"""The tensors of a checkpoint, whatever else it holds, with nothing of it run.

    weights = tensors(Path("cc-webvid2m-4f_stformer_b_16_224.pth.tar"))    # name → tensor

A torch checkpoint is a pickle, and a pickle is a program: it names functions and has them called.  `torch.load` with
`weights_only=True` refuses a file that names others than its own few.  Authors' checkpoints often do, because a
configuration was saved along; such a file is read here once more, with every name that is not a part of a tensor
replaced by a thing that takes anything and does nothing.  Even of torch's own functions none is called: what they were
to make is written down and made afterwards, within the bounds of what the file holds.

Source of the two layouts: torch/serialization.py, `_load` and `_legacy_load`.
"""

import copyreg
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from retriever.errors import WrongCheckpoint

STATE = ("state_dict", "model_state_dict", "model")
"""Under which key trainers keep the weights, where these are not the whole file."""
SEVERAL = "module."
"""What stands before every name of a model that was saved as it was trained on several devices (DataParallel)."""
MAGIC = 0x1950A86A20F9469CFC6C
"""First number of the layout before zip."""


def tensors(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint by name, on the CPU, in the precision that they have in the file.

    Raises:
        WrongCheckpoint: it is no checkpoint, is cut off, or has no weights.
    """
    held = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    found = {name: value for name, value in _state(held).items() if isinstance(value, torch.Tensor)}
    if not found:
        raise WrongCheckpoint(f"{path} holds no weights by name, wanted a state_dict saved with torch.save")
    if all(name.startswith(SEVERAL) for name in found):
        return {name.removeprefix(SEVERAL): value for name, value in found.items()}
    return found


def _safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WrongCheckpoint(f"{path} cannot be read as safetensors ({error}): copy it again") from error


def _torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WrongCheckpoint(f"{path} cannot be read ({error.strerror or error})") from error
    except Exception:  # noqa: BLE001  torch raises nearly anything on a file that is not its own
        return inert(path)


def _state(held: Any) -> dict[str, Any]:
    """The weights among all that was held."""
    if not isinstance(held, dict):
        return {}
    for key in STATE:
        inner = dict.get(held, key)
        if isinstance(inner, dict):
            return {str(name): value for name, value in dict.items(inner)}
    return {str(name): value for name, value in dict.items(held)}


def inert(path: Path) -> dict[str, Any]:
    """The checkpoint read with placeholders: its weights by name, and `Inert` for what is unknown.

    Raises:
        WrongCheckpoint: it is neither of torch's two layouts, or is cut off.
    """
    try:
        with path.open("rb") as stream:
            parts = _Zip(stream) if zipfile.is_zipfile(stream) else _Legacy(stream)
            return {name: _made(value, parts) for name, value in _state(parts.held).items()}
    except OSError as error:
        raise WrongCheckpoint(f"{path} cannot be read ({error.strerror or error})") from error
    except WrongCheckpoint as error:
        raise WrongCheckpoint(f"{path} {error}: copy it again, or save its state_dict alone") from error
    except Exception as error:  # a pickle that is not one raises nearly anything
        raise WrongCheckpoint(
            f"{path} is no checkpoint that torch wrote ({type(error).__name__}): copy it again"
        ) from error


# -------------------------------------------------------------------------------------------- what stands for things


class Inert:
    """What stands for everything unknown: may be called, built, filled and asked, and does nothing."""

    __slots__ = ()

    def __new__(cls, *_: object, **__: object) -> "Inert":
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __call__(self, *_: object, **__: object) -> "Inert":
        return Inert()

    def _ignored(self, *_: object) -> None: ...

    __setstate__ = __setitem__ = append = extend = add = _ignored


class _Named(dict[Any, Any]):
    """An OrderedDict: what torch keeps a state_dict in.  Attributes that were saved with it are left aside."""

    __slots__ = ()

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, _: object) -> None: ...


class _Kind(Inert):
    """A class of storages, and so a type of numbers."""

    __slots__ = ("dtype",)
    dtype: torch.dtype


def _kind(dtype: torch.dtype) -> _Kind:
    kind = object.__new__(_Kind)
    kind.dtype = dtype
    return kind


class _Stored(NamedTuple):
    """Numbers that the file holds."""

    dtype: torch.dtype
    key: str
    length: int  # in numbers, as the next
    begin: int = 0  # of a view


class _Described(NamedTuple):
    """A tensor that is to be made."""

    stored: _Stored
    offset: int  # all three in numbers
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Made:
    """A function that a pickle may have called.  Not a bare one: a pickle could set attributes of that."""

    __slots__ = ("_does",)

    def __init__(self, does: Callable[..., Any]) -> None:
        self._does = does

    def __call__(self, *arguments: Any) -> Any:
        return self._does(*arguments)

    def __setstate__(self, _: object) -> None: ...


@_Made
def _tensor(stored: Any = None, offset: Any = None, size: Any = None, stride: Any = None, *_: object) -> Any:
    """For torch's `_rebuild_tensor` and `_rebuild_tensor_v2`."""
    whole = isinstance(stored, _Stored) and _counts((offset,)) and _counts(size) and _counts(stride)
    return _Described(stored, offset, size, stride) if whole and len(size) == len(stride) else Inert()


@_Made
def _parameter(data: Any = None, *_: object) -> Any:
    """For torch's `_rebuild_parameter` and `_rebuild_parameter_with_state`."""
    return data if isinstance(data, _Described) else Inert()


@_Made
def _of_type(make: Any = None, _type: object = None, arguments: object = (), *_: object) -> Any:
    """For torch's `_rebuild_from_type_v2`: a tensor of a subclass, or with attributes."""
    return make(*arguments) if make in (_tensor, _parameter) and isinstance(arguments, tuple) else Inert()


@_Made
def _size(numbers: object = (), *_: object) -> Any:
    """For `torch.Size`."""
    return numbers if _counts(numbers) else Inert()


def _counts(value: object) -> bool:
    return isinstance(value, tuple) and all(type(one) is int and one >= 0 for one in value)


KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Named,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
    ("torch", "Size"): _size,
    **{
        ("torch", f"{name}Storage"): _kind(dtype)
        for name, dtype in {
            "Float": torch.float32,
            "Double": torch.float64,
            "Half": torch.float16,
            "BFloat16": torch.bfloat16,
            "Long": torch.int64,
            "Int": torch.int32,
            "Short": torch.int16,
            "Char": torch.int8,
            "Byte": torch.uint8,
            "Bool": torch.bool,
        }.items()
    },
}
"""All names of a pickle that mean something here, and what is put in their place: nothing of it is torch's."""


class _Reader(pickle._Unpickler):
    """A pickle read with those names alone.

    The reader in Python and not the one in C: there a file of twenty bytes can ask for a memo of any size.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream, encoding="utf-8", errors="replace")
        self.kinds: dict[str, torch.dtype] = {}  # of the storages that it named, by key

    def find_class(self, module: str, name: str, /) -> Any:
        return KNOWN.get((module, name), Inert)

    def persistent_load(self, pid: Any) -> Any:
        """What stands outside of the pickle: a storage, `("storage", class, key, device, count[, view])`."""
        match pid:
            case ("storage", _Kind(dtype=dtype), str(key), _, int(count)) | (
                "storage",
                _Kind(dtype=dtype),
                str(key),
                _,
                int(count),
                None,
            ):
                found = _Stored(dtype, key, count)
            case ("storage", _Kind(dtype=dtype), str(key), _, int(), (str(), int(offset), int(count))):
                found = _Stored(dtype, key, count, offset)
            case _:
                return Inert()
        if found.length < 0 or found.begin < 0:
            return Inert()
        self.kinds[found.key] = found.dtype
        return found


def _loaded(stream: IO[bytes]) -> Any:
    # Classes that a process gave numbers to (copyreg) are asked of `find_class` only while no cache knows them.
    copyreg.clear_extension_cache()
    return _Reader(stream).load()


# ------------------------------------------------------------------------------------------------------ the two layouts


class _Parts(Protocol):
    """A checkpoint: what its pickle held, and the bytes of its storages."""

    held: Any

    def read(self, key: str) -> bytearray: ...


def _made(value: Any, parts: _Parts) -> Any:
    """The tensor, where one is described."""
    if not isinstance(value, _Described):
        return value
    (dtype, key, count, skipped), offset, size, stride = value
    if 0 in size:
        return torch.empty(size, dtype=dtype)
    body, width = parts.read(key), dtype.itemsize
    if (skipped + count) * width > len(body):
        raise WrongCheckpoint(f"is cut off: a storage of {(skipped + count) * width:,} bytes has {len(body):,}")
    wanted = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
    if wanted > count:
        raise WrongCheckpoint(f"describes a tensor that needs {wanted:,} numbers of a storage of {count:,}")
    numbers = torch.frombuffer(body, dtype=dtype, count=count, offset=skipped * width)
    # Not copied: of a stride of zero a copy could be terabytes.
    return numbers.as_strided(size, stride, offset)


class _Zip:
    """Since torch 1.6: `NAME/data.pkl`, and a file `NAME/data/KEY` a storage, not compressed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._archive = zipfile.ZipFile(stream)
        pickles = [name for name in self._archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise WrongCheckpoint("is a zip file without one data.pkl")
        self._top = pickles[0].removesuffix("data.pkl")
        if f"{self._top}byteorder" in self._archive.namelist() and self._bytes("byteorder") != b"little":
            raise WrongCheckpoint("was written on a machine with the other order of bytes")
        self.held = _loaded(io.BytesIO(self._bytes("data.pkl")))

    def _bytes(self, name: str) -> bytes:
        entry = self._archive.getinfo(self._top + name)
        if entry.compress_type != zipfile.ZIP_STORED:  # torch never compresses, so there is no bomb to unpack
            raise WrongCheckpoint("has compressed parts, which torch never writes")
        return self._archive.read(entry)

    def read(self, key: str) -> bytearray:
        return bytearray(self._bytes(f"data/{key}"))


class _Legacy:
    """Before: five pickles (magic number, version, machine, object, keys), then a count and the numbers a key."""

    def __init__(self, stream: IO[bytes]) -> None:
        stream.seek(0)
        if _loaded(stream) != MAGIC:
            raise WrongCheckpoint("does not begin as a checkpoint does")
        _version, _machine = _loaded(stream), _loaded(stream)
        reader = _Reader(stream)
        self.held = reader.load()
        self._stream = stream
        self._places: dict[str, tuple[int, int]] = {}  # key → where its numbers begin, and their bytes
        for key in _keys(_loaded(stream), reader.kinds):
            (count,) = struct.unpack("<q", stream.read(8))
            begin, length = stream.tell(), count * reader.kinds[key].itemsize
            if count < 0:
                raise WrongCheckpoint(f"has a storage of {count:,} numbers")
            self._places[key] = begin, length
            stream.seek(length, io.SEEK_CUR)

    def read(self, key: str) -> bytearray:
        begin, length = self._places[key]
        self._stream.seek(begin)
        return bytearray(self._stream.read(length))


def _keys(said: object, kinds: Mapping[str, torch.dtype]) -> list[str]:
    """The storages in the order in which they follow."""
    if not isinstance(said, list) or not all(isinstance(key, str) and key in kinds for key in said):
        raise WrongCheckpoint("has storages that nothing names")
    return said
