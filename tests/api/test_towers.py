"""The CLIP of an X-Pool checkpoint becomes a model of open_clip that answers the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from encoders._models import locate
from retriever.errors import WrongCheckpoint

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
transformers = pytest.importorskip("transformers")

from api.towers import configuration, split, split_off  # noqa: E402  both libraries first

CONTEXT, WORDS = 12, 100
SAME = 1e-4


def pool(width: int) -> dict[str, Any]:
    """The authors' block."""
    maps = [f"cross_attn.{name}_proj" for name in "qkv"] + ["cross_attn.out_proj", "linear_proj"]
    state = {f"pool_frames.{name}.weight": torch.eye(width) for name in maps}
    return state | {f"pool_frames.layer_norm{n}.weight": torch.ones(width) for n in (1, 2, 3)}


def checkpoint(file: Path, clip: dict[str, Any], **more: Any) -> Path:
    """As the authors' trainer saves."""
    state = {f"clip.{name}": value for name, value in clip.items()} | pool(24)
    torch.save({"arch": "CLIPTransformer", "epoch": 3, "state_dict": state, "monitor_best": 1.0, **more}, file)
    return file


def hugging_face(hidden_act: str = "quick_gelu") -> Any:
    common = {"num_hidden_layers": 2, "hidden_act": hidden_act}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={
            **common,
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_attention_heads": 1,
            "vocab_size": WORDS,
            "max_position_embeddings": CONTEXT,
            "bos_token_id": WORDS - 2,
            "eos_token_id": WORDS - 1,
            "pad_token_id": 1,
        },
        vision_config={
            **common,
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        projection_dim=24,
    )
    model = transformers.CLIPModel(config).eval()
    with torch.no_grad():  # so that a mistaken place shows
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


def openai() -> Any:
    """OpenAI's CLIP is what open_clip's began with, to the names."""
    torch.manual_seed(1)
    return open_clip.model.CLIP(
        embed_dim=24,
        vision_cfg={"image_size": 48, "layers": 3, "width": 64, "patch_size": 16},
        text_cfg={"context_length": CONTEXT, "vocab_size": WORDS, "width": 64, "heads": 1, "layers": 1},
        quick_gelu=True,
    ).eval()


def texts() -> Any:
    """Numbers of words; the last of a sentence is the largest, behind it is nothing."""
    tokens = torch.randint(2, WORDS - 2, (3, CONTEXT))
    tokens[:, 0] = WORDS - 2
    for row, end in enumerate((CONTEXT - 1, 5, 7)):
        tokens[row, end] = WORDS - 1
        tokens[row, end + 1 :] = 0
    return tokens


def features(answer: Any) -> Any:
    """transformers 5 wraps them."""
    return answer if isinstance(answer, torch.Tensor) else answer.pooler_output


def loaded(folder: Path) -> Any:
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return model.eval()


def test_a_clip_of_hugging_face_answers_the_same(tmp_path: Path) -> None:
    theirs = hugging_face()
    files = split_off(checkpoint(tmp_path / "model_best.pth", theirs.state_dict()), tmp_path / "tower")
    assert files == locate("openclip", str(tmp_path / "tower"))
    ours, pixels, tokens = loaded(tmp_path / "tower"), torch.randn(4, 3, 32, 32), texts()
    with torch.no_grad():
        wanted = features(theirs.get_image_features(pixel_values=pixels))
        assert torch.allclose(ours.encode_image(pixels), wanted, atol=SAME)
        wanted = features(theirs.get_text_features(input_ids=tokens))
        assert torch.allclose(ours.encode_text(tokens), wanted, atol=SAME)
        assert torch.equal(ours.logit_scale, theirs.logit_scale)


def test_a_clip_of_openai_answers_the_same(tmp_path: Path) -> None:
    theirs = openai()
    state = {name: value.half() for name, value in theirs.state_dict().items() if name != "attn_mask"}
    theirs.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)
    split_off(checkpoint(tmp_path / "model_best.pth", state), tmp_path / "tower")
    ours, pixels, tokens = loaded(tmp_path / "tower"), torch.randn(4, 3, 48, 48), texts()
    with torch.no_grad():
        assert torch.allclose(ours.encode_image(pixels), theirs.encode_image(pixels), atol=SAME)
        assert torch.allclose(ours.encode_text(tokens), theirs.encode_text(tokens), atol=SAME)


def test_the_activation_counts(tmp_path: Path) -> None:
    """Else the comparison above would not show whether it is the right one."""
    theirs = hugging_face("gelu")
    split_off(checkpoint(tmp_path / "model_best.pth", theirs.state_dict()), tmp_path / "tower")
    pixels = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        wanted = features(theirs.get_image_features(pixel_values=pixels))
        assert not torch.allclose(loaded(tmp_path / "tower").encode_image(pixels), wanted, atol=SAME)


def test_the_two_halves_are_told_apart(tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "a.pth", hugging_face().state_dict())
    clip, names = split(file)
    assert set(names) == set(pool(24))
    assert not any(name.startswith(("clip.", "pool_frames.")) for name in clip)
    assert {value.dtype for value in clip.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("architecture", "heads"), [("ViT-B-32-quickgelu", 8), ("ViT-B-16-quickgelu", 8), ("ViT-L-14-quickgelu", 12)]
)
def test_the_architecture_is_that_of_open_clips_list(architecture: str, heads: int) -> None:
    wanted = open_clip.get_model_config(architecture)
    with torch.device("meta"):
        state = open_clip.model.CLIP(**wanted).state_dict()
    found = configuration(state)["model_cfg"]
    assert found["text_cfg"]["heads"] == heads
    for side in ("vision_cfg", "text_cfg"):
        assert {name: found[side][name] for name in wanted[side]} == wanted[side]
        assert found[side]["mlp_ratio"] == 4.0
    assert (found["embed_dim"], found["quick_gelu"]) == (wanted["embed_dim"], True)


def test_numbers_beside_the_weights_do_no_harm(tmp_path: Path) -> None:
    state = hugging_face().state_dict() | {
        "text_model.embeddings.position_ids": torch.arange(CONTEXT)[None],
        "vision_model.embeddings.position_ids": torch.arange(17)[None],
    }
    split_off(checkpoint(tmp_path / "a.pth", state), tmp_path / "tower")
    state = openai().state_dict() | {"input_resolution": torch.tensor(48), "context_length": torch.tensor(12)}
    split_off(checkpoint(tmp_path / "b.pth", state), tmp_path / "other")


def test_a_checkpoint_that_holds_objects_too_is_read(tmp_path: Path) -> None:
    class Configuration:
        """Of the authors."""

    globals()["Configuration"] = Configuration
    Configuration.__qualname__ = "Configuration"
    clip, _ = split(checkpoint(tmp_path / "a.pth", openai().state_dict(), config=Configuration()))
    assert torch.equal(clip["visual.proj"], openai().state_dict()["visual.proj"])


def test_what_is_no_such_checkpoint_is_told(tmp_path: Path) -> None:
    whole = hugging_face().state_dict()
    torch.save({"state_dict": pool(24)}, tmp_path / "head.pth")
    with pytest.raises(WrongCheckpoint, match=r"has no clip\.\* among its 8 weights"):
        split(tmp_path / "head.pth")
    del whole["vision_model.encoder.layers.1.mlp.fc2.bias"]
    with pytest.raises(WrongCheckpoint, match=r"missing visual\.transformer\.resblocks\.1\.mlp\.c_proj\.bias$"):
        split(checkpoint(tmp_path / "a.pth", whole))
    with pytest.raises(WrongCheckpoint, match=r"unknown more\.weight"):
        split(checkpoint(tmp_path / "a.pth", hugging_face().state_dict() | {"more.weight": torch.ones(1)}))
    with pytest.raises(WrongCheckpoint, match="no CLIP with a vision transformer"):
        split(checkpoint(tmp_path / "a.pth", {"visual.layer1.0.conv1.weight": torch.ones(1)}))
    odd = openai().state_dict() | {"visual.positional_embedding": torch.ones(8, 64)}
    with pytest.raises(WrongCheckpoint, match="7 patches are no square"):
        split(checkpoint(tmp_path / "a.pth", odd))


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "tower").write_text("a file")
    with pytest.raises(WrongCheckpoint, match="cannot be written"):
        split_off(checkpoint(tmp_path / "a.pth", openai().state_dict()), tmp_path / "tower")


def test_the_page_is_what_open_clip_reads(tmp_path: Path) -> None:
    split_off(checkpoint(tmp_path / "a.pth", openai().state_dict()), tmp_path / "tower")
    page = json.loads((tmp_path / "tower" / "open_clip_config.json").read_text())
    assert page["preprocess_cfg"]["mean"] == list(open_clip.OPENAI_DATASET_MEAN)
    assert loaded(tmp_path / "tower").visual.preprocess_cfg["interpolation"] == "bicubic"
