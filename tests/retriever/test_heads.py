"""A head is kept as it is, and what is no head says why."""

import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pools import published
from safetensors.numpy import load_file, save_file

from retriever.errors import HeadError, SpaceMismatch
from retriever.heads import Block, Gate, Head
from retriever.types import Modality, Space

torch = pytest.importorskip("torch")
WIDTH = 6


def block(seed: int = 0, width: int = WIDTH) -> Block:
    generator = np.random.default_rng(seed)
    shapes = {one.name: (width, width) if one.name.startswith("w") else (width,) for one in fields(Block)}
    return Block(**{name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})


def xpool(query_space: str = "words:1") -> Head:
    return Head("xpool", query_space, ("frames-1",), (block(),), options={"seed": 3, "chosen": "best R@1 of held-out"})


def tefal() -> Head:
    mapped = (np.ones((WIDTH, 4), np.float32), np.zeros(WIDTH, np.float32))
    gate = Gate(np.arange(3 * WIDTH, dtype=np.float32), -2.0)
    return Head("tefal", "words:1", ("frames-1", "sounds-1"), (block(1), block(2)), mapped, gate)


@contextmanager
def refused(said: str) -> Iterator[None]:
    """With these words, in one line."""
    with pytest.raises(HeadError, match=said) as caught:
        yield
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("head", [xpool(), tefal()], ids=["xpool", "tefal"])
def test_kept_and_read_again_as_it_was(head: Head, tmp_path: Path) -> None:
    head.save(tmp_path / "head")
    read = Head.load(tmp_path / "head")
    assert read.digest == head.digest
    assert (read.family, read.query_space, read.token_spaces) == (head.family, head.query_space, head.token_spaces)
    assert dict(read.options) == dict(head.options)
    for (name, array), (other, again) in zip(head.arrays(), read.arrays(), strict=True):
        assert name == other
        np.testing.assert_array_equal(array, again)


def test_the_digest_is_of_weights_and_spaces_and_not_of_how_they_came_about() -> None:
    head = xpool()
    assert replace(head, options={}).digest == head.digest
    assert replace(head, query_space="words:2").digest != head.digest
    assert replace(head, token_spaces=("frames-2",)).digest != head.digest
    assert replace(head, blocks=(block(9),)).digest != head.digest


def test_the_identity_block_leaves_vectors_as_they_are() -> None:
    own = Block.identity(WIDTH)
    vector = np.arange(WIDTH, dtype=np.float32)
    for weight, bias in ((own.wq, own.bq), (own.wk, own.bk), (own.wv, own.bv), (own.wo, own.bo), (own.wl, own.bl)):
        np.testing.assert_array_equal(vector @ weight.T + bias, vector)
    np.testing.assert_array_equal(own.ln1_g * vector + own.ln1_b, vector)


def test_a_folder_that_is_no_head_says_so(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match=r"is no head: head\.json cannot be read"):
        Head.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version is 2, this reelseek reads 1"),
        ({"family": "other"}, "family is 'other', wanted one of xpool, tefal"),
        ({"query_space": None}, "query_space is None, wanted a str"),
        ({"digest": "0" * 64}, "the two files are not of one head"),
        ({"token_spaces": ["frames-1", "sounds-1"]}, "1 blocks and token spaces, got 1 and 2"),
        ({"token_spaces": [1]}, r"token_spaces is \[1\], wanted names"),
        ({"token_spaces": "frames-1"}, "token_spaces is 'frames-1', wanted a list"),
        ({"family": "tefal"}, r"no head of the family tefal: missing blocks\.1\.bk, .*blocks\.1\.wv"),
        ({"dimension": WIDTH + 1}, "the weights are of 6 numbers, head.json says 7: the two files are not of one head"),
        ({"dimension": "6"}, "dimension is '6', wanted a int"),
        ({"query_space": "words:2"}, "the two files are not of one head"),
        ({"options": []}, r"options is \[\], wanted a dict"),
    ],
)
def test_a_card_that_is_wrong_says_where(change: dict[str, object], said: str, tmp_path: Path) -> None:
    xpool().save(tmp_path)
    card = json.loads((tmp_path / "head.json").read_text("utf-8"))
    (tmp_path / "head.json").write_text(json.dumps(card | change), "utf-8")
    with refused(said):
        Head.load(tmp_path)


@pytest.mark.parametrize("left_out", ["version", "family", "query_space", "token_spaces", "dimension", "digest"])
def test_a_card_that_lacks_something_says_what(left_out: str, tmp_path: Path) -> None:
    xpool().save(tmp_path)
    card = json.loads((tmp_path / "head.json").read_text("utf-8"))
    del card[left_out]
    (tmp_path / "head.json").write_text(json.dumps(card), "utf-8")
    with refused(f"{left_out} is None, "):
        Head.load(tmp_path)


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (b"{", "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[1]", "version is None"),
        (b"null", "version is None"),
    ],
)
def test_a_card_that_is_no_card_says_so(card: bytes, said: str, tmp_path: Path) -> None:
    xpool().save(tmp_path)
    (tmp_path / "head.json").write_bytes(card)
    with refused(said):
        Head.load(tmp_path)


@pytest.mark.parametrize("width", [WIDTH, WIDTH + 2])
def test_a_card_beside_the_weights_of_another_head_is_refused(width: int, tmp_path: Path) -> None:
    xpool().save(tmp_path / "one")
    replace(xpool(), blocks=(block(8, width),)).save(tmp_path / "other")
    (tmp_path / "other" / "head.safetensors").replace(tmp_path / "one" / "head.safetensors")
    with refused("the two files are not of one head, copy both again"):
        Head.load(tmp_path / "one")


def test_keys_that_are_missing_or_too_many_are_named(tmp_path: Path) -> None:
    xpool().save(tmp_path)
    arrays = load_file(tmp_path / "head.safetensors")
    del arrays["blocks.0.wq"]
    arrays["blocks.0.wx"] = np.zeros(3, np.float32)
    save_file(arrays, tmp_path / "head.safetensors")
    with pytest.raises(HeadError, match=r"missing blocks\.0\.wq; unknown blocks\.0\.wx"):
        Head.load(tmp_path)


def test_half_a_gate_is_no_gate(tmp_path: Path) -> None:
    tefal().save(tmp_path)
    arrays = load_file(tmp_path / "head.safetensors")
    del arrays["gate.bias"]
    save_file(arrays, tmp_path / "head.safetensors")
    with pytest.raises(HeadError, match=r"missing gate\.bias"):
        Head.load(tmp_path)


def test_weights_of_another_width_or_kind_are_refused(tmp_path: Path) -> None:
    for name, array, said in (
        ("blocks.0.bq", np.zeros(WIDTH + 1, np.float32), r"bq has the shape \(7,\), wanted \(6,\)"),
        ("blocks.0.bq", np.zeros(WIDTH, np.float16), "bq is float16, wanted float32"),
        ("blocks.0.bq", np.full(WIDTH, np.nan, np.float32), "bq has numbers that are not finite"),
    ):
        xpool().save(tmp_path)
        arrays = load_file(tmp_path / "head.safetensors") | {name: array}
        save_file(arrays, tmp_path / "head.safetensors")
        with pytest.raises(HeadError, match=said):
            Head.load(tmp_path)


def test_weights_that_numpy_has_no_word_for_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for kind in ("bfloat16", "float8_e4m3fn"):
        xpool().save(tmp_path)
        arrays = load_file(tmp_path / "head.safetensors")
        arrays["blocks.0.bq"] = arrays["blocks.0.bq"].to(getattr(torch, kind))
        save_file(arrays, tmp_path / "head.safetensors")
        with refused(f"holds numbers that are not float32 .*{kind}"):
            Head.load(tmp_path)


def test_a_map_or_a_gate_of_no_shape_is_refused(tmp_path: Path) -> None:
    for change, said in (
        ({"audio_map.weight": np.array(1, np.float32)}, r"audio_map\.weight has the shape \(\)"),
        ({"audio_map.weight": np.ones(WIDTH, np.float32)}, r"audio_map\.weight has the shape \(6,\)"),
        ({"audio_map.bias": np.ones((1, WIDTH), np.float32)}, r"audio_map\.bias has the shape \(1, 6\)"),
        ({"gate.weight": np.array(1, np.float32)}, r"gate\.weight has the shape \(\)"),
        ({"gate.bias": np.ones(2, np.float32)}, r"gate\.bias has 2 numbers, wanted 1"),
        ({"gate.bias": np.array([np.inf], np.float32)}, r"gate\.bias is inf, wanted a finite number"),
    ):
        tefal().save(tmp_path)
        save_file(load_file(tmp_path / "head.safetensors") | change, tmp_path / "head.safetensors")
        with refused(said):
            Head.load(tmp_path)


@pytest.mark.parametrize("left", [0, 4, 8, 100, 0.5, -1])
def test_torn_weights_are_refused(left: float, tmp_path: Path) -> None:
    xpool().save(tmp_path)
    whole = (tmp_path / "head.safetensors").read_bytes()
    (tmp_path / "head.safetensors").write_bytes(whole[: int(len(whole) * left) if left == 0.5 else int(left)])
    with refused("cannot be read as safetensors"):
        Head.load(tmp_path)


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), file=st.sampled_from(["safetensors", "json"]))
def test_whatever_a_byte_becomes_the_head_is_refused_or_the_same(
    place: float, byte: int, file: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    head = tefal()
    head.save(folder)
    damaged = folder / f"head.{file}"
    data = bytearray(damaged.read_bytes())
    data[int(place * len(data))] = byte
    damaged.write_bytes(data)
    with suppress(HeadError):
        assert Head.load(folder).digest == head.digest


def test_a_head_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(HeadError, match="neither audio_map nor gate"):
        replace(xpool(), gate=Gate(np.zeros(3 * WIDTH, np.float32), 0.0))
    with pytest.raises(HeadError, match="blocks of one head have one width"):
        replace(tefal(), blocks=(block(1), block(2, WIDTH + 2)))
    with pytest.raises(HeadError, match=r"gate\.weight has the shape \(6,\), wanted \(18,\)"):
        replace(tefal(), gate=Gate(np.zeros(WIDTH, np.float32), 0.0))


def space(name: str, dimension: int) -> Space:
    return Space(name, Modality.VISION, dimension, "media", "words:1", "1")


def test_a_head_fits_the_spaces_that_it_was_trained_on_and_no_others() -> None:
    spaces = {"frames-1": space("frames", WIDTH), "sounds-1": space("sounds", 4)}
    tefal().fits("words:1", spaces)
    replace(xpool(), query_space="").fits("any:7", spaces)
    with pytest.raises(SpaceMismatch, match="trained on texts of words:1, this library is asked by words:2"):
        xpool().fits("words:2", spaces)
    with pytest.raises(SpaceMismatch, match="trained on the space sounds-1, this library has frames-1"):
        tefal().fits("words:1", {"frames-1": space("frames", WIDTH)})
    with pytest.raises(SpaceMismatch, match="wants 4 numbers a token of sounds-1, this library has 5"):
        tefal().fits("words:1", spaces | {"sounds-1": space("sounds", 5)})


# ------------------------------------------------------------------------------------------- the authors' checkpoints


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_authors_checkpoint_gives_its_block(wrapped: bool, tmp_path: Path) -> None:
    own, file = block(5), tmp_path / "model_best.pth"
    state = published(own)
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, file)
    head = Head.from_xpool(file, "openclip:1", "frames-1")
    assert head.family == "xpool"
    assert head.options["other_keys"] == 2
    for name, array in own.arrays().items():
        np.testing.assert_array_equal(head.blocks[0].arrays()[name], array)


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_checkpoint_saved_from_several_devices_gives_the_same_block(wrapped: bool, tmp_path: Path) -> None:
    state = {f"module.{name}": value for name, value in published(block(5)).items()}
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "several.pth")
    torch.save(published(block(5)), tmp_path / "one.pth")
    several, one = (Head.from_xpool(tmp_path / name) for name in ("several.pth", "one.pth"))
    assert several.digest == one.digest
    assert several.options["other_keys"] == 2


def test_a_checkpoint_in_halves_gives_singles(tmp_path: Path) -> None:
    state = {name: value.half() for name, value in published(block(5)).items()}
    torch.save(state, tmp_path / "halves.pth")
    np.testing.assert_allclose(Head.from_xpool(tmp_path / "halves.pth").blocks[0].wq, block(5).wq, rtol=1e-3)


@pytest.mark.parametrize("several", ["", "module."])
def test_keys_of_the_block_that_are_missing_or_too_many_are_named(several: str, tmp_path: Path) -> None:
    state = published(block())
    del state["pool_frames.linear_proj.bias"]
    state["pool_frames.pos.weight"] = torch.ones(2)
    torch.save({several + name: value for name, value in state.items()}, tmp_path / "odd.pth")
    with refused(r"missing pool_frames\.linear_proj\.bias; unknown pool_frames\.pos\.weight$"):
        Head.from_xpool(tmp_path / "odd.pth")


def test_a_block_of_odd_shapes_is_refused(tmp_path: Path) -> None:
    torch.save(published(block()) | {"pool_frames.cross_attn.q_proj.weight": torch.ones(3, 3)}, tmp_path / "odd.pth")
    with refused(r"wq has the shape \(3, 3\), wanted \(6, 6\)"):
        Head.from_xpool(tmp_path / "odd.pth")


class Harmful:
    """What a pickle could run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run by a checkpoint",))


@pytest.mark.parametrize("how", ["as torch saves", "as pickle does"])
def test_a_checkpoint_that_would_run_code_is_refused(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, held = tmp_path / "harmful.pth", {"state_dict": Harmful()}
    if how == "as torch saves":
        torch.save(held, file)
    else:
        file.write_bytes(pickle.dumps(held, protocol=2))
    with refused(r"cannot be read as a torch checkpoint of weights alone \(UnpicklingError\): save the state_dict"):
        Head.from_xpool(file)
    assert capsys.readouterr().out == ""


def test_what_is_no_checkpoint_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("no checkpoint", "utf-8")
    with refused("cannot be read as a torch checkpoint"):
        Head.from_xpool(tmp_path / "text.pth")
    with refused(r"none\.pth cannot be read .*No such file"):
        Head.from_xpool(tmp_path / "none.pth")
    torch.save(torch.ones(2), tmp_path / "tensor.pth")
    with refused("holds a Tensor, wanted the weights by name"):
        Head.from_xpool(tmp_path / "tensor.pth")
    torch.save(published(block()), tmp_path / "torn.pth")
    whole = (tmp_path / "torn.pth").read_bytes()
    (tmp_path / "torn.pth").write_bytes(whole[: len(whole) // 2])
    with refused("cannot be read as a torch checkpoint"):
        Head.from_xpool(tmp_path / "torn.pth")
