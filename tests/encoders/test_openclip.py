"""open_clip's towers through our encoder: what the library answers, whatever form the weights have."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import towers
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import load_file, save_file

from encoders import _openclip, _towers, openclip
from encoders._models import Files
from encoders._pixels import LONG, MODES, WAYS, Preprocessing, by_axes, scaled
from encoders.openclip import PHOTOS, OpenClip, build
from retriever.errors import DeviceError, MissingWeights, WrongCheckpoint
from retriever.types import Modality, Picture, Sound, Text

SAME = 1e-5
CPU = torch.device("cpu")
CONFIGS = {"clip": towers.CLIP, "siglip": towers.SIGLIP, "roberta": towers.HUGGING, "coca": towers.COCA}
QUESTIONS = ["a dog plays", "the red square", "", "rain"]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversion takes seconds; where it makes no difference it is left out."""
    monkeypatch.setattr(_towers, "converted", lambda module, shape, dtype: module)


class Made:
    """A model of the library, and its folder."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self.model: Any = towers.openclip_folder(folder, config)


@pytest.fixture(scope="module", params=CONFIGS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("hub") / request.param, CONFIGS[request.param])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("hub") / "clip", towers.CLIP)


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def found(request: pytest.FixtureRequest, clip: Made) -> OpenClip:
    """Through OpenVINO on a CPU."""
    return build(str(clip.folder), device=here(request.param), precision="fp32")


def here(device: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device: the towers run on the CPU only")
    return device


def pil(model: Any, frames: np.ndarray, setup: dict[str, Any] = towers.PIXELS) -> torch.Tensor:
    """The library's own preprocessing, picture by picture."""
    cfg = PreprocessCfg(**(setup | {"size": model.visual.image_size}))
    own = image_transform_v2(cfg, is_train=False)
    return torch.stack([own(Image.fromarray(frame)) for frame in frames])


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


# -------------------------------------------------------------------------------------------------------------- parity


def test_frames_are_encoded_as_the_library_does(made: Made) -> None:
    frames = towers.frames(5, 90, 120)
    tokens = build(str(made.folder), device="cpu").encode_frames(frames, towers.seconds(5))
    with torch.inference_mode():
        theirs = made.model.encode_image(pil(made.model, frames), normalize=False).numpy()
    assert cosines(tokens.rows, theirs).min() > 0.999
    np.testing.assert_allclose(tokens.norms, np.linalg.norm(theirs, axis=1), rtol=0.02)
    np.testing.assert_allclose(np.linalg.norm(tokens.rows, axis=1), 1, atol=SAME)


def test_texts_are_encoded_as_the_library_does(made: Made) -> None:
    texts = build(str(made.folder), device="cpu").texts
    tokenize = open_clip.get_tokenizer(f"local-dir:{made.folder}")
    with torch.inference_mode():
        theirs = made.model.encode_text(tokenize(QUESTIONS), normalize=True).numpy()
    np.testing.assert_allclose(texts.encode(QUESTIONS), theirs, atol=SAME)


def test_text_is_padded_to_the_length_of_the_model(made: Made) -> None:
    """SigLIP was trained on its padding and loses most of its sense without."""
    tokens = _openclip.tokenizer(_openclip.tower(towers.files(made.folder)))(["a dog"])
    page = json.loads((made.folder / "open_clip_config.json").read_text())
    assert tokens.shape == (1, page["model_cfg"]["text_cfg"]["context_length"])


def test_siglip_answers_otherwise_without_its_padding(tmp_path: Path) -> None:
    model: Any = towers.openclip_folder(tmp_path / "siglip", towers.SIGLIP)
    padded = _openclip.tokenizer(_openclip.tower(towers.files(tmp_path / "siglip")))(["a dog"])
    assert (padded[0, -1], padded[0, 3]) == (1, 1)  # the place that counts is one of padding
    shuffled = padded.clone()
    shuffled[0, -1] = 2
    with torch.inference_mode():
        rows = model.encode_text(torch.cat([padded, shuffled]), normalize=True)
    assert rows[0] @ rows[1] < 0.999


@pytest.mark.usefixtures("eager")
def test_bfloat16_is_near(clip: Made) -> None:
    frames = towers.frames(3, 40, 40)
    rows = [
        OpenClip(openclip.OpenClipTowers(_openclip.tower(towers.files(clip.folder)), CPU, dtype))
        .encode_frames(frames, towers.seconds(3))
        .rows
        for dtype in (torch.float32, torch.bfloat16)
    ]
    assert cosines(*rows).min() > 0.999


# -------------------------------------------------------------------------------------------------------------- pixels


def across(picture: Image.Image, size: tuple[int, int], mode: str, interpolation: str) -> Image.Image:
    """A picture that is squashed, scaled along its rows first: as PIL did before its version 13, where it begins with
    the columns if these shrink much more (Pillow, pull request 9549)."""
    way = Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR
    return picture.resize((size[1], picture.height), way) if mode == "squash" else picture


@pytest.mark.parametrize("interpolation", WAYS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(48, 48), (40, 56), (56, 40)])
@pytest.mark.parametrize("frame", [(48, 48), (90, 160), (160, 90), (31, 20), (48, 85), (7, 50), (300, 301), (1, 1)])
def test_pixels_are_the_librarys(mode: str, interpolation: str, size: tuple[int, int], frame: tuple[int, int]) -> None:
    cfg = {"interpolation": interpolation, "resize_mode": mode, "fill_color": 7}
    own = image_transform_v2(PreprocessCfg(size=size, mean=(0, 0, 0), std=(1, 1, 1), **cfg), is_train=False)
    pictures = towers.frames(2, *frame)
    theirs = torch.stack([own(across(Image.fromarray(picture), size, mode, interpolation)) for picture in pictures])
    setup = Preprocessing.read({**cfg, "mean": [0, 0, 0], "std": [1, 1, 1]}, size)
    ours = setup.pixels(pictures, CPU, torch.float32)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-2)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("frame", "size"), [((97, 131), (48, 60)), ((20, 31), (48, 60)), ((48, 85), (48, 48))])
def test_devices_scale_alike(way: str, frame: tuple[int, int], size: tuple[int, int]) -> None:
    """What other devices do is here done on a CPU."""
    pictures = torch.from_numpy(towers.frames(2, *frame)).permute(0, 3, 1, 2)
    ours, others = scaled(pictures, *size, way).float(), by_axes(pictures, *size, way)
    assert (ours - others).abs().max() <= 2
    assert (ours - others).abs().mean() < 0.05


def test_mean_and_spread_are_the_models_own() -> None:
    black, white = np.zeros((1, 8, 8, 3), np.uint8), np.full((1, 8, 8, 3), 255, np.uint8)
    setup = Preprocessing.read({}, 8)
    cfg = image_transform_v2(PreprocessCfg(size=8), is_train=False)
    for picture in (black, white):
        np.testing.assert_allclose(
            setup.pixels(picture, CPU, torch.float32)[0], cfg(Image.fromarray(picture[0])), atol=SAME
        )


def test_a_very_long_frame_takes_no_memory_for_what_is_never_seen() -> None:
    setup = Preprocessing.read({}, 224)
    seen: list[tuple[int, ...]] = []
    picture = np.zeros((1, 1, 4000, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("encoders._pixels.scaled", lambda p, *size: seen.append(tuple(size[:2])) or scaled(p, *size))
        assert setup.pixels(picture, CPU, torch.float32).shape == (1, 3, 224, 224)
    assert seen == [(224, 224 * LONG)]


def test_a_way_of_scaling_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="resize_mode is 'stretch', wanted one of shortest, longest, squash"):
        Preprocessing.read({"resize_mode": "stretch"}, 32)


# ----------------------------------------------------------------------------------------------------------- contracts


@pytest.mark.parametrize("size", [(32, 32), (40, 71), (97, 31), (1, 1), (3, 700)])
def test_frames_of_every_size_become_tokens(found: OpenClip, size: tuple[int, int]) -> None:
    tokens = found.encode_frames(towers.frames(2, *size), towers.seconds(2))
    assert tokens.rows.shape == (2, found.space.dimension)
    assert tokens.rows.dtype == tokens.norms.dtype == np.float32
    assert (tokens.norms > 0).all()
    np.testing.assert_array_equal(tokens.spans, towers.seconds(2))


def test_a_frame_does_not_depend_on_its_neighbours(found: OpenClip) -> None:
    frames = towers.frames(21, 40, 50)
    together = found.encode_frames(frames, towers.seconds(21))
    for place in (0, 16, 20):
        alone = found.encode_frames(frames[place : place + 1], towers.seconds(1))
        np.testing.assert_allclose(alone.rows[0], together.rows[place], atol=SAME)
        np.testing.assert_allclose(alone.norms[0], together.norms[place], rtol=SAME)


def test_a_sentence_does_not_depend_on_its_neighbours(made: Made) -> None:
    texts = build(str(made.folder), device="cpu").texts
    together = texts.encode([*QUESTIONS, "a dog plays music in the street " * 20] * 4)
    for place in (0, 4, 19):
        alone = texts.encode([[*QUESTIONS, "a dog plays music in the street " * 20][place % 5]])
        np.testing.assert_allclose(alone[0], together[place], atol=SAME)


def test_nothing_gives_nothing(found: OpenClip) -> None:
    assert len(found.encode_frames(np.zeros((0, 32, 32, 3), np.uint8), np.zeros((0, 2)))) == 0
    assert found.texts.encode([]).shape == (0, found.space.dimension)


def test_frames_and_spans_go_together(found: OpenClip) -> None:
    with pytest.raises(ValueError, match="2 frames, 1 spans"):
        found.encode_frames(towers.frames(2, 20, 20), towers.seconds(1))


def test_a_picture_asks_as_its_frame_answers(found: OpenClip) -> None:
    frames = towers.frames(1, 50, 70)
    asked = found.encode_query(Picture(frames[0]))
    assert asked is not None
    np.testing.assert_allclose(asked, found.encode_frames(frames, towers.seconds(1)).rows[0], atol=SAME)


def test_it_is_asked_in_words_and_not_in_sound(found: OpenClip) -> None:
    asked = found.encode_query(Text("a dog"))
    assert asked is not None
    np.testing.assert_allclose(asked, found.texts.encode(["a dog"])[0], atol=SAME)
    assert found.encode_query(Sound(np.zeros(100, np.float32), 48_000)) is None


@pytest.mark.parametrize("text", ["", " ", "half a pair \udcff", "🦜", "\0", "x" * 5_000, "{}"])
def test_no_text_breaks_it(made: Made, text: str) -> None:
    row = build(str(made.folder), device="cpu").texts.encode([text])[0]
    assert np.linalg.norm(row) == pytest.approx(1, abs=SAME)


def test_prompts_are_averaged(clip: Made) -> None:
    plain = build(str(clip.folder), device="cpu").texts
    several = build(str(clip.folder), device="cpu", prompts="photos")
    mean = plain.encode([prompt.format("a dog") for prompt in PHOTOS]).mean(axis=0)
    np.testing.assert_allclose(several.texts.encode(["rain", "a dog"])[1], mean / np.linalg.norm(mean), atol=SAME)
    assert several.space == build(str(clip.folder), device="cpu").space


def test_the_space_names_both_sides(found: OpenClip) -> None:
    assert found.space.modality == found.modality == Modality.VISION
    assert found.texts.name == "openclip"
    assert len(found.texts.digest) == 64
    assert found.space.query_side == found.space.media_side == f"openclip:{found.texts.digest[:12]}"
    assert found.space.dimension == found.texts.dimension == towers.CLIP["embed_dim"]
    assert found.side == 32


def test_who_it_is_is_known_before_weights_are_read(clip: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_openclip, "network", lambda tower: pytest.fail("read the weights"))
    assert len(build(str(clip.folder), device="cpu").texts.digest) == 64


@pytest.mark.usefixtures("eager")
def test_where_memory_runs_out_batches_are_halved(clip: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = towers.frames(19, 32, 32)
    wanted = build(str(clip.folder), device="cpu").encode_frames(frames, towers.seconds(19))
    own = openclip._Sight.forward

    def small(self: Any, pixels: torch.Tensor) -> torch.Tensor:
        if len(pixels) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return own(self, pixels)

    monkeypatch.setattr(openclip._Sight, "forward", small)
    tokens = build(str(clip.folder), device="cpu").encode_frames(frames, towers.seconds(19))
    np.testing.assert_allclose(tokens.rows, wanted.rows, atol=SAME)


def test_numbers_that_overflow_are_said(clip: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_towers, "converted", lambda module, *of: lambda x: torch.full((len(x), 24), torch.inf))
    with pytest.raises(DeviceError, match=r"overflows in torch\.float32: take --precision bf16 or fp32"):
        build(str(clip.folder), device="cpu").encode_frames(towers.frames(1, 32, 32), towers.seconds(1))


# --------------------------------------------------------------------------------------------------------------- forms


def saved(model: Any, folder: Path) -> Iterator[tuple[str, Path]]:
    """The same weights in every form that trainers leave."""
    state = model.state_dict()
    save_file(state, folder / "plain.safetensors")
    torch.save(state, folder / "plain.pt")
    torch.save({"epoch": 3, "name": "run", "state_dict": state}, folder / "inside.pt")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, folder / "several.bin")
    torch.save({key: value for key, value in state.items() if key != "logit_scale"}, folder / "bare.pt")
    torch.save(
        {key: value.half() if value.is_floating_point() else value for key, value in state.items()}, folder / "half.pt"
    )
    for file in sorted(folder.iterdir()):
        yield file.stem, file


def test_every_form_of_weights_answers_alike(clip: Made, tmp_path: Path) -> None:
    wanted = build(str(clip.folder), device="cpu").texts.encode(QUESTIONS)
    digests = set()
    for form, file in saved(clip.model, tmp_path):
        texts = build(str(clip.folder), str(file), device="cpu").texts
        np.testing.assert_allclose(texts.encode(QUESTIONS), wanted, atol=0.02 if form == "half" else SAME, err_msg=form)
        digests.add(texts.digest)
    assert len(digests) == 6  # another file is another space, and never mixed with the first


def test_an_architecture_of_the_library_with_own_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tiny.safetensors"
    model: Any = towers.openclip_model(towers.CLIP)
    save_file(model.state_dict(), file)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "Tiny-8", towers.CLIP)
    found = OpenClip(
        openclip.OpenClipTowers(_openclip.tower(Files("Tiny-8", "Tiny-8", None, file, "1" * 64)), CPU, torch.float32)
    )
    tokens = open_clip.SimpleTokenizer(context_length=16)(QUESTIONS)
    with torch.inference_mode():
        np.testing.assert_allclose(found.texts.encode(QUESTIONS), model.encode_text(tokens, normalize=True), atol=SAME)
    assert "shortest32x32-bicubic-0.481455" in found.space.preprocessing


@pytest.mark.parametrize(
    ("architecture", "wanted"),
    [
        ("ViT-B-32", {}),
        ("ViT-B-16-SigLIP", {"resize_mode": "squash"}),
        ("MobileCLIP-S1", {"interpolation": "bilinear"}),
    ],
)
def test_own_weights_get_the_pixels_that_their_architecture_is_published_with(
    architecture: str, wanted: dict[str, str]
) -> None:
    usual = _openclip._usual(architecture)
    assert {key: usual[key] for key in wanted} == wanted


def test_names_of_before_the_text_tower_was_a_module(tmp_path: Path) -> None:
    """CLIP's flat names, read by an architecture that has a module for texts."""
    config = {**towers.CLIP, "custom_text": True}
    model: Any = towers.openclip_folder(tmp_path / "new", config)
    old = {key.removeprefix("text."): value for key, value in model.state_dict().items()}
    torch.save(old, tmp_path / "old.pt")
    ours = [build(str(tmp_path / "new"), file, device="cpu").texts for file in ("", str(tmp_path / "old.pt"))]
    np.testing.assert_allclose(ours[0].encode(QUESTIONS), ours[1].encode(QUESTIONS), atol=SAME)


# ----------------------------------------------------------------------------------------------------------- bad input


def refusal(folder: Path, file: Path) -> str:
    with pytest.raises(WrongCheckpoint) as caught:
        build(str(folder), str(file), device="cpu").texts.encode(["a dog"])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_of_another_architecture_are_named(clip: Made, tmp_path: Path) -> None:
    other: Any = towers.openclip_model(
        {**towers.CLIP, "custom_text": True, "vision_cfg": {**towers.CLIP["vision_cfg"], "layers": 3}}
    )
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    said = refusal(clip.folder, tmp_path / "other.safetensors")
    assert "is of another architecture than" in said
    assert "it lacks ln_final.bias, ln_final.weight" in said
    assert " more besides" in said
    assert len(said) < 600


def test_weights_of_another_size_are_named(clip: Made, tmp_path: Path) -> None:
    other: Any = towers.openclip_model({**towers.CLIP, "embed_dim": 40})
    save_file(other.state_dict(), tmp_path / "other.safetensors")
    assert "its text_projection is 8×40, wanted 8×24, and 1 more" in refusal(
        clip.folder, tmp_path / "other.safetensors"
    )


def test_weights_that_cannot_be_read_are_named(clip: Made, tmp_path: Path) -> None:
    for name, content in (("cut.safetensors", b"\x08\0\0"), ("text.pt", b"hello"), ("empty.bin", b"")):
        (tmp_path / name).write_bytes(content)
        assert name in refusal(clip.folder, tmp_path / name)


@pytest.mark.parametrize(
    "page",
    [
        "{",
        "[]",
        "{}",
        '{"model_cfg": {"embed_dim": 0, "vision_cfg": {}, "text_cfg": {}}}',
        '{"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": []}}',
        '{"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}}, "preprocess_cfg": {"resize_mode": "x"}}',
    ],
)
def test_a_configuration_that_is_none_is_named(tmp_path: Path, page: str) -> None:
    towers.openclip_folder(tmp_path / "m", towers.CLIP)
    (tmp_path / "m" / "open_clip_config.json").write_text(page)
    with pytest.raises(WrongCheckpoint, match=r"open_clip_config\.json"):
        build(str(tmp_path / "m"), device="cpu")


def test_a_configuration_that_cannot_be_built_is_named(clip: Made, tmp_path: Path) -> None:
    towers.openclip_folder(tmp_path / "m", towers.CLIP)
    page = {"model_cfg": {**towers.CLIP, "colour": "red"}}
    (tmp_path / "m" / "open_clip_config.json").write_text(json.dumps(page))
    with pytest.raises(WrongCheckpoint, match=r"open_clip cannot build it .*colour"):
        build(str(tmp_path / "m"), device="cpu").texts.encode(["a dog"])


@pytest.mark.parametrize(
    ("config", "missing", "said"),
    [
        (towers.SIGLIP, "tokenizer.json", "has no tokenizer beside it, wanted that of nobody/tiny"),
        (towers.HUGGING, "config.json", "has the text tower nobody/tiny-roberta, whose config.json is not beside it"),
    ],
)
def test_what_would_be_downloaded_is_asked_for(tmp_path: Path, config: dict[str, Any], missing: str, said: str) -> None:
    towers.openclip_folder(tmp_path / "m", config)
    for file in (tmp_path / "m").glob(missing):
        file.unlink()
    with pytest.raises(MissingWeights, match=said):
        build(str(tmp_path / "m"), device="cpu").texts.encode(["a dog"])


# --------------------------------------------------------------------------------------------------------- conversion


def test_where_openvino_cannot_torch_does(
    clip: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*of: object) -> None:
        raise RuntimeError("no such operation\nand more")

    monkeypatch.setattr("encoders._converted._traced", broken)
    tokens = build(str(clip.folder), device="cpu").encode_frames(towers.frames(2, 32, 32), towers.seconds(2))
    assert len(tokens) == 2
    assert "OpenVINO cannot run this model (no such operation): torch does" in caplog.text


def test_where_openvino_answers_otherwise_torch_does(
    clip: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("encoders._converted._traced", lambda *of: None)
    monkeypatch.setattr("encoders._converted.Graph", lambda *of: lambda x: torch.eye(len(x), 24))
    build(str(clip.folder), device="cpu").encode_frames(towers.frames(2, 32, 32), towers.seconds(2))
    assert "OpenVINO answers otherwise than torch" in caplog.text


# ----------------------------------------------------------------------------------------------------------------- GPU


@pytest.mark.parametrize("precision", ["fp32", "auto", "fp16"])
def test_a_gpu_answers_as_the_cpu_does(clip: Made, precision: str) -> None:
    gpu = build(str(clip.folder), device=here("cuda"), precision=precision)
    frames, cpu = towers.frames(40, 60, 80), build(str(clip.folder), device="cpu")
    wanted = cpu.encode_frames(frames, towers.seconds(40)).rows
    assert cosines(gpu.encode_frames(frames, towers.seconds(40)).rows, wanted).min() > 0.999
    assert cosines(gpu.texts.encode(QUESTIONS), cpu.texts.encode(QUESTIONS)).min() > 0.999
    assert gpu.space == cpu.space


def test_the_same_safetensors_are_read_back(clip: Made) -> None:
    state = load_file(clip.folder / "open_clip_model.safetensors")
    for key, value in _openclip.network(_openclip.tower(towers.files(clip.folder))).state_dict().items():
        np.testing.assert_array_equal(value, state[key])
