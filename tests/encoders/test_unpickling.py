"""A checkpoint gives its tensors, and runs nothing of what else it holds."""

import argparse
import collections
import copyreg
import io
import os
import pickle
import resource
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from encoders._unpickling import Inert, inert, tensors
from retriever.errors import WrongCheckpoint

LAYOUTS = pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])


class Configuration:
    """What authors save along: of a class that the reader does not have."""

    def __init__(self) -> None:
        self.lines = {"lr": 3e-5}
        self.parsed = argparse.Namespace(device="0")


def weights() -> dict[str, torch.Tensor]:
    whole = torch.arange(24.0).reshape(4, 6)
    return collections.OrderedDict(
        matrix=whole,
        turned=whole.t(),
        part=whole[1:3, 2:5],
        half=torch.randn(3, 2).half(),
        brain=torch.randn(3).bfloat16(),
        counts=torch.arange(5),
        flags=torch.tensor([True, False]),
        one=torch.tensor(2.5),
        none=torch.zeros(0, 3),
        learned=torch.nn.Parameter(torch.randn(2, 2)),
        spread=torch.arange(3).expand((4, -1)),
    )


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return list(found) == list(wanted) and all(
        found[name].dtype == wanted[name].dtype and torch.equal(found[name], wanted[name]) for name in wanted
    )


@LAYOUTS
def test_a_checkpoint_with_objects_gives_the_same_tensors(tmp_path: Path, new: bool) -> None:
    file, wanted = tmp_path / "authors.pth", weights()
    held = {"arch": "x", "epoch": 3, "state_dict": wanted, "config": Configuration(), "optimizer": {"state": {}}}
    torch.save(held, file, _use_new_zipfile_serialization=new)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=True)
    assert same(tensors(file), wanted)


@LAYOUTS
def test_both_ways_of_reading_agree(tmp_path: Path, new: bool) -> None:
    file, wanted = tmp_path / "plain.pth", weights()
    torch.save(wanted, file, _use_new_zipfile_serialization=new)
    assert same(tensors(file), wanted)
    assert same(inert(file), wanted)


def test_a_model_that_was_trained_on_several_devices_loses_their_prefix(tmp_path: Path) -> None:
    torch.save({"state_dict": {"module.a": torch.ones(1), "module.b": torch.ones(2)}}, tmp_path / "a.pth")
    assert list(tensors(tmp_path / "a.pth")) == ["a", "b"]


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    assert torch.equal(tensors(tmp_path / "a.safetensors")["a"], torch.ones(2))


# -------------------------------------------------------------------------------------------------------- hostile files


def short(text: str) -> bytes:
    """A string as a pickle's opcode."""
    return pickle.BINUNICODE + len(text).to_bytes(4, "little") + text.encode()


def name(module: str, attribute: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def one(opcodes: bytes) -> bytes:
    """A tuple of one."""
    return opcodes + pickle.TUPLE1


RUN = name("os", "system")
HOSTILE: dict[str, Callable[[str], bytes]] = {
    "reduce": lambda line: RUN + one(short(line)) + pickle.REDUCE,
    "stack": lambda line: short("os") + short("system") + pickle.STACK_GLOBAL + one(short(line)) + pickle.REDUCE,
    "inst": lambda line: pickle.MARK + short(line) + pickle.INST + b"os\nsystem\n",
    "obj": lambda line: pickle.MARK + RUN + short(line) + pickle.OBJ,
    "class": lambda line: (
        short("subprocess") + short("getoutput") + pickle.STACK_GLOBAL + one(short(line)) + pickle.REDUCE
    ),
    "newobj": lambda line: name("marking", "OrderedDict") + one(short(line)) + pickle.NEWOBJ,
    "import": lambda line: name("marking", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE,
    "build": lambda line: name("marking", "Built") + pickle.EMPTY_TUPLE + pickle.NEWOBJ + short(line) + pickle.BUILD,
    "fill": lambda line: (
        name("marking", "Built") + pickle.EMPTY_TUPLE + pickle.NEWOBJ + short("a") + short(line) + pickle.SETITEM
    ),
    "append": lambda line: name("marking", "Built") + pickle.EMPTY_TUPLE + pickle.NEWOBJ + short(line) + pickle.APPEND,
    "nested": lambda line: (
        (pickle.EMPTY_LIST + pickle.MARK) * 200 + RUN + one(short(line)) + pickle.REDUCE + pickle.APPENDS * 200
    ),
    "through": lambda line: (
        name("operator", "methodcaller")
        + short("system")
        + short(line)
        + pickle.TUPLE2
        + pickle.REDUCE
        + one(name("importlib", "import_module") + one(short("os")) + pickle.REDUCE)
        + pickle.REDUCE
    ),
    "dotted": lambda line: (
        short("collections")
        + short("_sys.modules.get")
        + pickle.STACK_GLOBAL
        + one(short("os"))
        + pickle.REDUCE
        + pickle.POP
        + RUN
        + one(short(line))
        + pickle.REDUCE
    ),
    "extension": lambda line: pickle.EXT1 + b"\xf0" + one(short(line)) + pickle.REDUCE,
}
"""Opcodes that leave one object, and have a shell run a line on the way if they are trusted."""
ONLY_HERE: dict[str, Callable[[str], bytes]] = {
    "storage": lambda line: (
        pickle.MARK
        + short("storage")
        + RUN
        + short(line)
        + short("cpu")
        + pickle.BININT1
        + b"\x01"
        + pickle.TUPLE
        + pickle.BINPERSID
        + one(short(line))
        + pickle.REDUCE
    ),
    "rebuild": lambda line: (
        name("torch._utils", "_rebuild_from_type_v2")
        + pickle.MARK
        + RUN
        + RUN
        + one(short(line))
        + pickle.NONE
        + pickle.TUPLE
        + pickle.REDUCE
    ),
    "module": lambda line: name("torch", "os.system") + one(short(line)) + pickle.REDUCE,
    "defaults": lambda line: (
        name("torch._utils", "_rebuild_tensor_v2")
        + pickle.NONE
        + pickle.EMPTY_DICT
        + short("_does")
        + RUN
        + pickle.SETITEM
        + pickle.TUPLE2
        + pickle.BUILD
        + one(short(line))
        + pickle.REDUCE
    ),
    "kind": lambda line: (
        name("torch", "FloatStorage")
        + pickle.EMPTY_DICT
        + short("dtype")
        + RUN
        + pickle.SETITEM
        + pickle.BUILD
        + one(short(line))
        + pickle.REDUCE
    ),
}
"""The same through what the reader itself puts in the place of names."""


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that exists once anything of a hostile checkpoint was run."""
    marker = tmp_path / "marker"
    (tmp_path / "marking.py").write_text(
        f"import os\n"
        f"os.system('touch {marker}')\n"
        "class OrderedDict(dict): ...\n"
        "class Built:\n"
        "    def __setstate__(self, line): os.system(line)\n"
        "    def __setitem__(self, key, line): os.system(line)\n"
        "    def append(self, line): os.system(line)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return marker


@pytest.fixture
def extension() -> Iterator[None]:
    """A process that gave a number to a function, and has met it."""
    copyreg.add_extension(os.system.__module__, "system", 0xF0)
    pickle.loads(pickle.PROTO + b"\x02" + pickle.EXT1 + b"\xf0" + pickle.STOP)  # noqa: S301
    yield
    copyreg.remove_extension(os.system.__module__, "system", 0xF0)
    copyreg.clear_extension_cache()


def program(payload: bytes) -> bytes:
    """A pickle `{"state_dict": {}, "more": payload}`."""
    return (
        pickle.PROTO + b"\x04" + pickle.EMPTY_DICT + pickle.MARK
        + short("state_dict") + pickle.EMPTY_DICT + short("more") + payload
        + pickle.SETITEMS + pickle.STOP
    )  # fmt: skip


def zipped(pickled: bytes, file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/version", "3")


def legacy(pickled: bytes, file: Path) -> None:
    first = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    file.write_bytes(b"".join(first) + pickled + pickle.dumps([], 2))


@pytest.mark.parametrize("write", [zipped, legacy])
@pytest.mark.parametrize("way", [*HOSTILE, *ONLY_HERE])
def test_nothing_is_run(
    way: str, write: Callable[[bytes, Path], None], tmp_path: Path, marker: Path, extension: None
) -> None:
    file = tmp_path / "hostile.pth"
    write(program({**HOSTILE, **ONLY_HERE}[way](f"touch {marker}")), file)
    for read in (tensors, inert):
        with suppress(WrongCheckpoint):
            read(file)
    assert not marker.exists()
    assert "marking" not in sys.modules


@pytest.mark.parametrize("way", HOSTILE)
def test_what_is_called_hostile_is_so(way: str, marker: Path, extension: None) -> None:
    """Else the test above would show nothing."""
    with suppress(Exception):
        pickle.loads(program(HOSTILE[way](f"touch {marker}")))  # noqa: S301
    sys.modules.pop("marking", None)
    assert marker.exists()


def test_tensors_are_had_beside_what_is_hostile(tmp_path: Path, marker: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {marker}",)

    file, wanted = tmp_path / "both.pth", weights()
    torch.save({"state_dict": {**wanted, "tower": Hostile()}, "config": Hostile()}, file)
    assert same(tensors(file), wanted)
    assert isinstance(inert(file)["tower"], Inert)
    assert not marker.exists()


# --------------------------------------------------------------------------------------------------------- broken files


def described(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, held: int = 4) -> bytes:
    """A pickle of one tensor in a storage that says to hold `held` numbers."""

    class Storage: ...

    class Tensor:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, size, stride, False, {})

    class Writer(pickle.Pickler):
        def persistent_id(self, thing: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", held) if isinstance(thing, Storage) else None

    Writer(stream := io.BytesIO(), 2).dump({"a": Tensor()})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("pickled", "words"),
    [
        (described((5,), (1,)), "needs 5 numbers of a storage of 4"),
        (described((2, 2), (3, 1)), "needs 5 numbers"),
        (described((2,), (1,), offset=3), "needs 5 numbers"),
        (described((2,), (1,), held=5), "cut off: a storage of 20 bytes has 16"),
        (described((2,), (1,), held=2**62), "cut off"),
    ],
)
def test_a_tensor_stays_within_its_storage(tmp_path: Path, pickled: bytes, words: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/data/0", bytes(16))
    with pytest.raises(WrongCheckpoint, match=words):
        inert(tmp_path / "a.pth")


@pytest.mark.parametrize("write", [zipped, legacy])
def test_a_small_file_takes_little_memory(tmp_path: Path, write: Callable[[bytes, Path], None]) -> None:
    """Where a pickle keeps a thing for later is a number that it chooses."""
    kept = pickle.LONG_BINPUT + b"\xff\xff\xff\x7f"
    write(program(short("a") + kept), tmp_path / "a.pth")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (32 << 30, hard))  # so that a mistake is an error, and not the end of tests
    try:
        assert inert(tmp_path / "a.pth") == {}
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize("size", [(-1,), (True,), (2.0,), "ab"])
def test_a_size_that_is_none_makes_no_tensor(tmp_path: Path, size: Any) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("a/data.pkl", described(size, (1,)))
    assert isinstance(inert(tmp_path / "a.pth")["a"], Inert)


@LAYOUTS
def test_a_file_that_is_cut_off_is_told(tmp_path: Path, new: bool) -> None:
    file = tmp_path / "cut.pth"
    torch.save({"state_dict": weights(), "config": Configuration()}, file, _use_new_zipfile_serialization=new)
    whole = file.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 40):
        file.write_bytes(whole[:length])
        with pytest.raises(WrongCheckpoint, match=r"cut\.pth .*copy it again"):
            tensors(file)


def test_what_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_text("weights")
    (tmp_path / "a.safetensors").write_text("weights")
    torch.save([1, 2], tmp_path / "list.pth")
    with zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", described((4,), (1,)))
    for name_, words in (
        ("a.pth", "no checkpoint that torch wrote"),
        ("a.safetensors", "cannot be read as safetensors"),
        ("list.pth", "holds no weights by name"),
        ("b.pth", "compressed"),
        ("absent.pth", "No such file"),
    ):
        with pytest.raises(WrongCheckpoint, match=words):
            tensors(tmp_path / name_)
