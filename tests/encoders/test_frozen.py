"""Frozen in Time through our encoder: what the paper says that it answers, from files as its authors publish them."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import towers
import towers_frozen
from safetensors.torch import save_file
from towers_frozen import FILE, SIZES, stretch_of
from transformers import BertTokenizer, DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

from encoders import _frozen, _towers
from encoders._clips import Clips, clips
from encoders._frozen import FrozenInTime, sizes_of
from encoders._models import locate
from encoders.frozen import build
from retriever.errors import DeviceError, MissingWeights, WrongCheckpoint
from retriever.types import Modality, Picture, Sound, Stretch, Text

SAME = 1e-5
erf = np.vectorize(math.erf)
QUESTIONS = ["a dog plays", "the red square", "", "rain", "a cat runs in the street " * 9]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversion takes seconds; where it makes no difference it is left out."""
    monkeypatch.setattr(_towers, "converted", lambda module, shape, dtype: module)


class Made:
    """A model, and its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = towers_frozen.folder(folder)

    @property
    def file(self) -> Path:
        return self.folder / FILE


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("frozen") / "tiny")


@pytest.fixture
def found(made: Made, eager: None) -> Clips:
    return build(str(made.file), device="cpu")


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Path:
    """The folder, to be changed."""
    return Path(shutil.copytree(made.folder, tmp_path / "copy"))


def here(device: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device: the towers run on the CPU only")
    return device


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


# --------------------------------------------------------------------------------------------------- the tower, by hand


class Slow:
    """The video tower of one clip, a token at a time, from the names and numbers of the weights alone."""

    def __init__(self, model: FrozenInTime, *, onto_input: bool = True) -> None:
        self.weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
        self.onto_input = onto_input
        self.width = 64  # of a head

    def dense(self, row: np.ndarray, name: str) -> np.ndarray:
        return self.weights[f"{name}.weight"] @ row + self.weights[f"{name}.bias"]

    def normed(self, row: np.ndarray, name: str) -> np.ndarray:
        plain = (row - row.mean()) / np.sqrt(row.var() + 1e-6)
        return plain * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def tokens(self, clip: np.ndarray) -> tuple[list[tuple[int, int]], list[np.ndarray]]:
        """Where each token stands, as frame and place, and what it is; the class token is at (-1, -1)."""
        kernel, bias = (self.weights[f"video_model.patch_embed.proj.{part}"] for part in ("weight", "bias"))
        places, moments = (self.weights[f"video_model.{part}_embed"][0] for part in ("pos", "temporal"))
        where, rows = [(-1, -1)], [self.weights["video_model.cls_token"][0, 0] + places[0]]
        size = kernel.shape[-1]
        for frame, picture in enumerate(clip):
            for place in range(len(places) - 1):
                y, x = divmod(place, picture.shape[-1] // size)
                patch = picture[:, y * size : (y + 1) * size, x * size : (x + 1) * size]
                row = np.array([(one * patch).sum() for one in kernel]) + bias
                where.append((frame, place))
                rows.append(row + places[1 + place] + moments[frame])
        return where, rows

    def attended(self, where: list[tuple[int, int]], rows: list[np.ndarray], name: str, same: int) -> list[np.ndarray]:
        """`same` is 0 where patches of one frame see one another, 1 where those of one place do."""
        parts = [np.split(self.dense(row, f"{name}.qkv"), 3) for row in rows]
        answers = []
        for here, (query, _, _) in zip(where, parts, strict=True):
            seen = [i for i, there in enumerate(where) if i == 0 or here[0] < 0 or here[same] == there[same]]
            row = np.zeros_like(query)
            for head in range(0, len(query), self.width):
                part = slice(head, head + self.width)
                scores = np.array([query[part] @ parts[i][1][part] for i in seen]) * self.width**-0.5
                shares = np.exp(scores - scores.max())
                row[part] = sum(share * parts[i][2][part] for share, i in zip(shares / shares.sum(), seen, strict=True))
            answers.append(self.dense(row, f"{name}.proj"))
        return answers

    def __call__(self, clip: np.ndarray) -> np.ndarray:
        """`(frames, 3, side, side)` → `(D,)`."""
        where, rows = self.tokens(clip)
        for number in range(SIZES.depth):
            block = f"video_model.blocks.{number}"
            time = self.attended(where, [self.normed(row, f"{block}.norm3") for row in rows], f"{block}.timeattn", 1)
            both = [row + more for row, more in zip(rows, time, strict=True)]
            space = self.attended(where, [self.normed(row, f"{block}.norm1") for row in both], f"{block}.attn", 0)
            base = rows if self.onto_input else both
            rows = [row + more for row, more in zip(base, space, strict=True)]
            for i, row in enumerate(rows):
                wide = self.dense(self.normed(row, f"{block}.norm2"), f"{block}.mlp.fc1")
                rows[i] = row + self.dense(wide * 0.5 * (1 + erf(wide / 2**0.5)), f"{block}.mlp.fc2")
        return self.dense(self.normed(rows[0], "video_model.norm"), "vid_proj.0")


def noise(count: int, frames: int) -> torch.Tensor:
    return torch.randn(count, frames, 3, SIZES.side, SIZES.side, generator=torch.Generator().manual_seed(2))


def seen(model: FrozenInTime, pixels: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        rows: np.ndarray = model.vid_proj(model.video_model(pixels)).numpy()
    return rows


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_the_tower_is_that_of_the_paper(made: Made, frames: int) -> None:
    """All frames, fewer, and one alone, as the authors show pictures."""
    pixels = noise(2, frames)
    wanted = np.stack([Slow(made.model)(clip.double().numpy()) for clip in pixels])
    np.testing.assert_allclose(seen(made.model, pixels), wanted, rtol=1e-4, atol=1e-4)


def test_space_is_added_to_what_came_into_the_block(made: Made) -> None:
    """To add it to what time attention made of that, as TimeSformer does, gives another answer."""
    pixels = noise(1, 4)
    other = Slow(made.model, onto_input=False)(pixels[0].double().numpy())
    assert np.abs(seen(made.model, pixels)[0] - other).max() > 0.1


def test_order_counts(made: Made) -> None:
    pixels = noise(1, 4)
    assert cosines(seen(made.model, pixels), seen(made.model, pixels.flip(1)))[0] < 0.999


def test_a_clip_does_not_depend_on_its_neighbours(made: Made) -> None:
    pixels = noise(5, 4)
    together = seen(made.model, pixels)
    for place in range(5):
        np.testing.assert_allclose(seen(made.model, pixels[place : place + 1])[0], together[place], atol=SAME)


# -------------------------------------------------------------------------------------------------------------- parity


def by_hand(made: Made, stretch: Stretch) -> np.ndarray:
    """Each clip of a stretch through the network, without anything of ours in between but the cut and the pixels."""
    pixels = build(str(made.file), device="cpu")._towers.preprocessing.pixels
    cut = clips(stretch.spans, SIZES.frames)
    ready = pixels(stretch.frames, torch.device("cpu"), torch.float32)
    return np.concatenate([seen(made.model, ready[frames][None]) for frames in cut.frames])


def test_clips_are_encoded_as_the_network_does_it_on_openvino(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    stretch = stretch_of(40)
    (tokens,) = build(str(made.folder), device="cpu", precision="fp32").encode_clips([stretch])
    wanted = by_hand(made, stretch)
    assert len(tokens) == 10
    assert cosines(tokens.rows, wanted).min() >= 0.999
    np.testing.assert_allclose(tokens.norms, np.linalg.norm(wanted, axis=1), rtol=1e-2)
    np.testing.assert_allclose(np.linalg.norm(tokens.rows, axis=1), 1, atol=SAME)
    assert "OpenVINO" not in caplog.text  # it took the tower over


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_bfloat16_is_near(made: Made, runtime: str) -> None:
    stretch = stretch_of(20)
    one = build(str(made.file), device="cpu", precision="bf16", runtime=runtime)
    (tokens,) = one.encode_clips([stretch])
    assert cosines(tokens.rows, by_hand(made, stretch)).min() > 0.999
    plain = build(str(made.file), device="cpu", precision="fp32", runtime=runtime)
    assert cosines(one.texts.encode(QUESTIONS), plain.texts.encode(QUESTIONS)).min() > 0.999


def test_pixels_are_the_middle_of_the_frame_at_imagenets_levels(found: Clips) -> None:
    frame = np.zeros((1, SIZES.side, 3 * SIZES.side, 3), np.uint8)
    frame[:, :, SIZES.side : 2 * SIZES.side] = (255, 0, 128)
    pixels = found._towers.preprocessing.pixels(frame, torch.device("cpu"), torch.float32)[0]
    wanted = (np.array([1, 0, 128 / 255]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert pixels.shape == (3, SIZES.side, SIZES.side)
    np.testing.assert_allclose(pixels.amin((1, 2)), wanted, atol=SAME)
    np.testing.assert_allclose(pixels.amax((1, 2)), wanted, atol=SAME)


def test_texts_are_encoded_as_transformers_does(made: Made, found: Clips) -> None:
    state = made.model.state_dict()
    theirs = DistilBertModel(
        DistilBertConfig(vocab_size=32, max_position_embeddings=16, dim=128, n_layers=2, n_heads=2, hidden_dim=64)
    ).eval()
    theirs.load_state_dict({k.removeprefix("text_model."): v for k, v in state.items() if k.startswith("text_model.")})
    tokenize = PreTrainedTokenizerFast.from_pretrained(str(made.folder))
    for question in QUESTIONS:
        said = tokenize(question, truncation=True, max_length=16, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            first = theirs(**said).last_hidden_state[:, 0].relu()
            wanted = (first @ state["txt_proj.1.weight"].T + state["txt_proj.1.bias"]).numpy()
        np.testing.assert_allclose(found.texts.encode([question]), wanted / np.linalg.norm(wanted), atol=SAME)


def test_a_text_does_not_depend_on_its_neighbours(found: Clips) -> None:
    together = found.texts.encode(QUESTIONS * 5)
    for place, question in enumerate(QUESTIONS):
        np.testing.assert_allclose(found.texts.encode([question])[0], together[place + 10], atol=SAME)


def test_a_long_text_is_cut_at_the_last_position(found: Clips) -> None:
    long = "a dog runs " * 30
    np.testing.assert_allclose(found.texts.encode([long]), found.texts.encode([long + "in rain"]), atol=SAME)
    assert found.texts.encode([]).shape == (0, SIZES.dimension)


@pytest.mark.parametrize("text", ["", " ", "half a pair \udcff", "🦜", "\0", "x" * 5_000, "[SEP] [MASK]"])
def test_no_text_breaks_it(found: Clips, text: str) -> None:
    assert np.linalg.norm(found.texts.encode([text])[0]) == pytest.approx(1, abs=SAME)


# ----------------------------------------------------------------------------------------------------------- stretches


def test_every_stretch_has_tokens_over_all_of_it(found: Clips) -> None:
    """Still ones, short ones, long ones, and one of nothing, all at once."""
    still = Stretch(towers.frames(1, 40, 40), np.array([[0.0, 7.0]]))
    nothing = Stretch(np.zeros((0, 32, 32, 3), np.uint8), np.zeros((0, 2)))
    given = [stretch_of(30), still, nothing, stretch_of(1, hop=0.2), stretch_of(3, hop=0.3)]
    for stretch, tokens in zip(given, found.encode_clips(given), strict=True):
        assert tokens.rows.shape == (len(tokens), SIZES.dimension)
        assert tokens.rows.dtype == np.float32
        if not len(stretch.frames):
            assert len(tokens) == 0
            continue
        assert (tokens.norms > 0).all()
        assert (tokens.spans[0, 0], tokens.spans[-1, 1]) == (stretch.spans[0, 0], stretch.spans[-1, 1])
        np.testing.assert_array_equal(tokens.spans[1:, 0], tokens.spans[:-1, 1])


def test_stretches_do_not_depend_on_one_another(found: Clips) -> None:
    given = [stretch_of(21, seed) for seed in range(3)]
    for stretch, together in zip(given, found.encode_clips(given), strict=True):
        (alone,) = found.encode_clips([stretch])
        np.testing.assert_allclose(alone.rows, together.rows, atol=SAME)
        np.testing.assert_array_equal(alone.spans, together.spans)
    assert found.encode_clips([]) == []


def test_what_stands_still_is_encoded_once(found: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    whole = _frozen.SpaceTime.forward

    def counted(self: Any, pixels: torch.Tensor) -> torch.Tensor:
        encoded.append(len(pixels))
        return whole(self, pixels)

    monkeypatch.setattr(_frozen.SpaceTime, "forward", counted)
    still = Stretch(towers.frames(1, 40, 40), np.array([[0.0, 60.0]]))
    (tokens,) = found.encode_clips([still])
    assert (len(tokens), sum(encoded)) == (30, 1)
    np.testing.assert_array_equal(tokens.rows, np.repeat(tokens.rows[:1], 30, axis=0))


def test_a_picture_asks_as_a_clip_that_stands_still(found: Clips) -> None:
    frame = towers.frames(1, 50, 70)
    asked = found.encode_query(Picture(frame[0]))
    assert asked is not None
    (tokens,) = found.encode_clips([Stretch(frame, np.array([[3.0, 5.0]]))])
    np.testing.assert_allclose(asked, tokens.rows[0], atol=SAME)


def test_it_is_asked_in_words_and_not_in_sound(found: Clips) -> None:
    asked = found.encode_query(Text("a dog"))
    assert asked is not None
    np.testing.assert_allclose(asked, found.texts.encode(["a dog"])[0], atol=SAME)
    assert found.encode_query(Sound(np.zeros(100, np.float32), 48_000)) is None


def test_frames_and_spans_go_together(found: Clips) -> None:
    with pytest.raises(ValueError, match="2 frames, 1 spans"):
        found.encode_clips([Stretch(towers.frames(2, 20, 20), np.array([[0.0, 1.0]]))])


def test_the_space_names_both_sides(found: Clips) -> None:
    assert found.space.modality == found.modality == Modality.VISION
    assert found.space.name == found.texts.name == "frozen"
    assert found.space.query_side == found.space.media_side == f"frozen:{found.digest[:12]}"
    assert found.texts.digest == found.digest
    assert found.space.dimension == found.texts.dimension == SIZES.dimension
    assert found.side == SIZES.side
    assert "4of8s" in found.space.preprocessing


@pytest.mark.usefixtures("eager")
def test_numbers_that_overflow_are_said(copied: Path, made: Made) -> None:
    state = made.model.state_dict()
    save_file(state | {"vid_proj.0.bias": torch.full((SIZES.dimension,), torch.inf)}, copied / "one.safetensors")
    with pytest.raises(DeviceError, match=r"overflows in torch\.float32"):
        build(str(copied / "one.safetensors"), device="cpu").encode_clips([stretch_of(2)])


@pytest.mark.parametrize("precision", ["fp32", "auto", "fp16"])
def test_a_gpu_answers_as_the_cpu_does(made: Made, precision: str) -> None:
    gpu = build(str(made.file), device=here("cuda"), precision=precision)
    stretch = stretch_of(40)
    (tokens,) = gpu.encode_clips([stretch])
    assert cosines(tokens.rows, by_hand(made, stretch)).min() > 0.999
    cpu = build(str(made.file), device="cpu")
    assert cosines(gpu.texts.encode(QUESTIONS), cpu.texts.encode(QUESTIONS)).min() > 0.999
    assert gpu.space == cpu.space


# --------------------------------------------------------------------------------------------------------------- files


def test_a_file_and_its_folder_are_one_model(made: Made, copied: Path) -> None:
    named = [build(str(one), device="cpu") for one in (made.file, made.folder, copied / FILE)]
    assert len({one.digest for one in named}) == 1
    assert len({one.space for one in named}) == 1
    assert [one.model for one in named] == [str(made.file), str(made.folder), str(copied / FILE)]


def test_other_weights_and_other_words_are_another_model(made: Made, copied: Path) -> None:
    first = build(str(made.file), device="cpu").digest
    (copied / "vocab.txt").write_text("a\n")
    second = build(str(copied / FILE), device="cpu").digest
    towers_frozen.save(towers_frozen.model(replace(SIZES, frames=2)), copied / FILE)
    assert len({first, second, build(str(copied), device="cpu").digest}) == 3


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("form", ["safetensors", "plain", "half", "leftovers"])
def test_every_form_of_weights_answers_alike(made: Made, copied: Path, found: Clips, form: str) -> None:
    state = made.model.state_dict()
    file = copied / f"{form}.{'safetensors' if form == 'safetensors' else 'pth'}"
    more = {
        "video_model.head.weight": torch.zeros(1000, SIZES.dim),
        "video_model.pre_logits.fc.bias": torch.zeros(3),
        "video_model.fc.weight": torch.zeros(2, 2),
        "text_model.embeddings.position_ids": torch.arange(16)[None],
    }
    if form == "safetensors":
        save_file({f"module.{name}": value for name, value in (state | more).items()}, file)
    elif form == "plain":
        torch.save(state, file)
    elif form == "half":
        torch.save({"state_dict": {name: value.half() for name, value in state.items()}}, file)
    else:
        towers_frozen.save(made.model, file, **{f"module.{name}": value for name, value in more.items()})
    other, stretch = build(str(file), device="cpu"), stretch_of(9)
    rows = [one.encode_clips([stretch])[0].rows for one in (found, other)]
    assert cosines(*rows).min() > (0.9999 if form == "half" else 1 - SAME)
    assert cosines(found.texts.encode(QUESTIONS), other.texts.encode(QUESTIONS)).min() > 0.9999
    assert other.digest != found.digest


def test_who_it_is_stands_in_the_header(made: Made, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(made.model.state_dict(), copied / "one.safetensors")
    monkeypatch.setattr(_frozen, "tensors", lambda file: pytest.fail("read the weights"))
    assert build(str(copied / "one.safetensors"), device="cpu").space.dimension == SIZES.dimension


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("sizes", [replace(SIZES, dim=32, text_dim=48, frames=1), replace(SIZES, depth=1, patch=16)])
def test_models_of_other_sizes_are_read_from_their_shapes(tmp_path: Path, sizes: Any) -> None:
    """Towers narrower than a head have one; a model of one frame sees pictures."""
    model = towers_frozen.folder(tmp_path / "m", sizes)
    assert sizes_of({name: value.shape for name, value in model.state_dict().items()}) == sizes
    one = build(str(tmp_path / "m"), device="cpu")
    (tokens,) = one.encode_clips([stretch_of(12)])
    assert tokens.rows.shape == (3, sizes.dimension)
    assert one.texts.encode(["a dog"]).shape == (1, sizes.dimension)


def test_the_authors_own_sizes_are_found() -> None:
    """Of ViT-B/16 at 224 pixels with four frames, and distilbert-base-uncased; no number is made for it."""
    with torch.device("meta"):
        published = _frozen.Sizes(4, 224, 16, 768, 12, 3072, 30522, 512, 768, 6, 3072, 256)
        model = FrozenInTime(published)
    assert sizes_of({name: value.shape for name, value in model.state_dict().items()}) == published
    assert {model.video_model.blocks[0].attn.heads, model.text_model.config.n_heads} == {12}
    assert sum(one.numel() for one in model.video_model.parameters()) == 114_168_576


# ------------------------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("named", ["nowhere.pth", "{}/nowhere.pth.tar", "{}/nowhere", "~/nowhere/"])
def test_a_place_where_nothing_is_is_said(tmp_path: Path, named: str) -> None:
    with pytest.raises(MissingWeights, match=r"nowhere.* is neither a file nor a folder: name a file that ends in"):
        build(named.format(tmp_path), device="cpu")


def test_several_files_of_weights_are_not_chosen_from(made: Made, copied: Path) -> None:
    shutil.copy(copied / FILE, copied / "second.pth")
    with pytest.raises(MissingWeights, match=r"several files of weights, frozen\.pth\.tar, second\.pth: name one"):
        build(str(copied), device="cpu")
    assert build(str(copied / "second.pth"), device="cpu").digest == build(str(made.file), device="cpu").digest


@pytest.mark.parametrize("named", ["file", "folder"])
def test_without_a_tokenizer_its_files_are_asked_for(copied: Path, named: str) -> None:
    """At once, and not when it is searched: with them the model is another one."""
    for file in copied.glob("*.json"):
        file.unlink()
    model = copied / FILE if named == "file" else copied
    with pytest.raises(MissingWeights, match=r"distilbert-base-uncased: put its tokenizer\.json or vocab\.txt into"):
        build(str(model), device="cpu")


@pytest.mark.parametrize(
    ("file", "said"),
    [("tokenizer.json", "cannot be read as a tokenizer"), ("vocab.txt", r"cannot be read .*it lacks \[UNK\], \[CLS\]")],
)
def test_a_tokenizer_that_is_none_is_said(copied: Path, file: str, said: str) -> None:
    (copied / "tokenizer.json").unlink()
    (copied / file).write_text("{}\n")
    with pytest.raises(WrongCheckpoint, match=said):
        build(str(copied), device="cpu").texts.encode(["a dog"])


def test_the_tokenizer_of_another_model_is_said(copied: Path) -> None:
    (copied / "tokenizer.json").unlink()
    words = [*_frozen.OWN, *(f"word{number}" for number in range(40))]
    (copied / "vocab.txt").write_text("\n".join(words))
    with pytest.raises(WrongCheckpoint, match=r"vocab\.txt has 45 words, the weights know 32"):
        build(str(copied), device="cpu").texts.encode(["a dog"])


def test_a_list_of_words_alone_is_the_tokenizer_of_bert(copied: Path) -> None:
    """As transformers makes it of the same list: lower case, no accents, pieces of words, and its marks as written."""
    (copied / "tokenizer.json").unlink()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "run", "##s", "cafe", "!", "好", "rain"]
    (copied / "vocab.txt").write_text("\n".join(words))
    tokenize = _frozen.tokenizer(_frozen.tower(locate("frozen", str(copied))))
    theirs = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    said = ["A DOG runs!", "Café", "好好", "rain[SEP]rain", "dogs", "", "a " * 50]
    numbers, mask = tokenize(said)
    wanted = theirs(said, truncation=True, max_length=16, padding=True)
    np.testing.assert_array_equal(numbers, wanted["input_ids"])
    np.testing.assert_array_equal(mask, wanted["attention_mask"])


def changed(state: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    """The weights with something wrong."""
    video = "video_model"
    changes: dict[str, dict[str, Any]] = {
        "no frames": {f"{video}.temporal_embed": None},
        "no blocks": {name: None for name in state if ".blocks." in name},
        "no square": {f"{video}.pos_embed": torch.zeros(1, 16, SIZES.dim)},
        "no dimension": {"vid_proj.0.weight": torch.zeros(SIZES.dim)},
        "oblong patches": {f"{video}.patch_embed.proj.weight": torch.zeros(SIZES.dim, 3, 8, 4)},
        "odd width": {f"{video}.pos_embed": torch.zeros(1, 17, 131)},
        "lacking": {f"{video}.blocks.1.timeattn.qkv.bias": None, f"{video}.norm.weight": None},
        "besides": {"audio_model.weight": torch.zeros(2)},
        "other shapes": {f"{video}.blocks.1.attn.proj.weight": torch.zeros(3, 3)},
    }
    return {name: value for name, value in (state | changes[how]).items() if value is not None}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no frames", r"is none of Frozen in Time: it lacks video_model\.temporal_embed; name a file"),
        ("no blocks", r"it lacks video_model\.blocks\.0\.mlp\.fc1\.weight"),
        ("no square", r"video_model\.pos_embed has 16 rows, wanted one and a square number"),
        ("no dimension", r"vid_proj\.0\.weight is 128, wanted 2 dimensions"),
        ("oblong patches", r"its patches are 8×4 pixels, wanted squares"),
        ("odd width", r"a tower is 131 wide, wanted a multiple of 64"),
    ],
)
@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_another_kind_of_model_is_refused_when_it_is_named(
    made: Made, copied: Path, how: str, said: str, form: str
) -> None:
    file = copied / f"other.{form}"
    (save_file if form == "safetensors" else torch.save)(changed(made.model.state_dict(), how), file)
    with pytest.raises(WrongCheckpoint, match=said):
        build(str(file), device="cpu")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("lacking", r"it lacks video_model\.blocks\.1\.timeattn\.qkv\.bias, video_model\.norm\.weight"),
        ("besides", r"it has audio_model\.weight besides"),
        ("other shapes", r"its video_model\.blocks\.1\.attn\.proj\.weight is 3×3, wanted 128×128"),
    ],
)
def test_weights_that_do_not_fit_are_named(made: Made, copied: Path, how: str, said: str) -> None:
    torch.save(changed(made.model.state_dict(), how), copied / "other.pth")
    one = build(str(copied / "other.pth"), device="cpu")
    for _ in range(2):  # the second time as the first
        with pytest.raises(WrongCheckpoint, match=said):
            one.encode_clips([stretch_of(2)])


@pytest.mark.parametrize("form", ["pth.tar", "safetensors"])
def test_a_torn_file_is_said(made: Made, copied: Path, form: str) -> None:
    whole = copied / "whole.safetensors"
    save_file(made.model.state_dict(), whole)
    torn = copied / f"torn.{form}"
    content = (whole if form == "safetensors" else copied / FILE).read_bytes()
    torn.write_bytes(content[: len(content) // 2])
    with pytest.raises(WrongCheckpoint, match="copy it again"):
        build(str(torn), device="cpu")
