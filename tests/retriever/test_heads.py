"""A head is kept as it is, and what is no head says why."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
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
    ],
)
def test_a_card_that_is_wrong_says_where(change: dict[str, object], said: str, tmp_path: Path) -> None:
    xpool().save(tmp_path)
    card = json.loads((tmp_path / "head.json").read_text("utf-8"))
    (tmp_path / "head.json").write_text(json.dumps(card | change), "utf-8")
    with pytest.raises(HeadError, match=said):
        Head.load(tmp_path)


def test_a_card_that_is_not_json_says_so(tmp_path: Path) -> None:
    xpool().save(tmp_path)
    (tmp_path / "head.json").write_text("{", "utf-8")
    with pytest.raises(HeadError, match="is not JSON"):
        Head.load(tmp_path)


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


def test_torn_weights_are_refused(tmp_path: Path) -> None:
    xpool().save(tmp_path)
    whole = (tmp_path / "head.safetensors").read_bytes()
    (tmp_path / "head.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HeadError, match="cannot be read as safetensors"):
        Head.load(tmp_path)


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


def published(own: Block) -> dict[str, object]:
    """The keys as the authors' model names them, with some of the CLIP that stands beside."""
    names = {"cross_attn.q_proj": "q", "cross_attn.k_proj": "k", "cross_attn.v_proj": "v", "cross_attn.out_proj": "o"}
    state: dict[str, object] = {
        "clip.logit_scale": torch.tensor(4.6),
        "clip.visual_projection.weight": torch.ones(2, 2),
    }
    for name, short in {**names, "linear_proj": "l"}.items():
        state[f"pool_frames.{name}.weight"] = torch.from_numpy(getattr(own, f"w{short}").copy())
        state[f"pool_frames.{name}.bias"] = torch.from_numpy(getattr(own, f"b{short}").copy())
    for number in (1, 2, 3):
        state[f"pool_frames.layer_norm{number}.weight"] = torch.from_numpy(getattr(own, f"ln{number}_g").copy())
        state[f"pool_frames.layer_norm{number}.bias"] = torch.from_numpy(getattr(own, f"ln{number}_b").copy())
    return state


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


def test_keys_of_the_block_that_are_missing_or_too_many_are_named(tmp_path: Path) -> None:
    state = published(block())
    del state["pool_frames.linear_proj.bias"]
    state["pool_frames.pos.weight"] = torch.ones(2)
    torch.save(state, tmp_path / "odd.pth")
    said = r"missing pool_frames\.linear_proj\.bias; unknown pool_frames\.pos\.weight"
    with pytest.raises(HeadError, match=said):
        Head.from_xpool(tmp_path / "odd.pth")


class Harmful:
    """What a pickle could run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run by a checkpoint",))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(HeadError, match="cannot be read as a torch checkpoint of weights alone"):
        Head.from_xpool(tmp_path / "harmful.pth")
    assert capsys.readouterr().out == ""


def test_what_is_no_checkpoint_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("no checkpoint", "utf-8")
    with pytest.raises(HeadError, match="cannot be read as a torch checkpoint"):
        Head.from_xpool(tmp_path / "text.pth")
    with pytest.raises(HeadError, match=r"none\.pth cannot be read"):
        Head.from_xpool(tmp_path / "none.pth")
    torch.save(torch.ones(2), tmp_path / "tensor.pth")
    with pytest.raises(HeadError, match="holds a Tensor, wanted the weights by name"):
        Head.from_xpool(tmp_path / "tensor.pth")
