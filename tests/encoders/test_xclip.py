"""X-CLIP through our encoder: what the library answers where a window is a group, and what is cached elsewhere."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import towers
import towers_xclip
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoTokenizer, XCLIPModel

from encoders import _towers, _xclip, xclip
from encoders._clips import LENGTH, Clips, clips, shown
from encoders._converted import Graph
from encoders._pixels import Preprocessing
from encoders.xclip import build, grid
from retriever.errors import DeviceError, MissingWeights, WrongCheckpoint
from retriever.types import Modality, Picture, Sound, Stretch, Text, Tokens

SAME = 1e-5
NEAR = 1e-4  # of the library's numbers
COUNT = towers_xclip.FRAMES
STEP = LENGTH / COUNT
SIDE = towers_xclip.SIDE
QUESTIONS = ["a dog plays", "The red square, isn't it?", "", "rain " * 40, "🦜 and CAPITALS"]


class Made:
    """A model of the library, its folder, and the authors' file with the same weights."""

    def __init__(self, place: Path) -> None:
        self.folder, self.file = place / "hub", place / "k400.pth"
        self.model: Any = towers_xclip.folder(self.folder)
        towers_xclip.authors(self.file, self.model)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("xclip"))


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def found(request: pytest.FixtureRequest, made: Made) -> Clips:
    """Through OpenVINO on a CPU."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device: the towers run on the CPU only")
    return build(str(made.folder), device=request.param, precision="fp32")


@pytest.fixture(scope="module")
def eager(made: Made) -> Clips:
    return build(str(made.folder), device="cpu", runtime="torch")


@pytest.fixture
def as_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversion takes seconds; where it makes no difference it is left out."""
    monkeypatch.setattr(_towers, "converted", lambda module, shape, dtype: module)


def stretch(
    count: int, *, each: float = 1.0, start: float = 0.0, seed: int = 0, size: tuple[int, int] = (SIDE, SIDE)
) -> Stretch:
    """Frames that differ, each so many seconds on show."""
    begins = start + each * np.arange(count)
    return Stretch(towers.frames(count, *size, seed=seed), np.stack([begins, begins + each], axis=1))


def pixels(frames: np.ndarray) -> torch.Tensor:
    """Of one clip, by the library's own preprocessing: `(1, T, 3, h, w)`."""
    ready: torch.Tensor = towers_xclip.processor()(list(frames), return_tensors="pt")["pixel_values"]
    return ready


def video(model: Any, frames: np.ndarray) -> np.ndarray:
    """The library's answer about one clip `(D,)`."""
    with torch.inference_mode():
        said = model.get_video_features(pixel_values=pixels(frames))
    return np.asarray(getattr(said, "pooler_output", said)[0])


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.asarray((first * second).sum(axis=-1) / lengths)


def alike(first: Tokens, second: Tokens, atol: float = SAME) -> None:
    np.testing.assert_allclose(first.rows, second.rows, atol=atol)
    np.testing.assert_allclose(first.norms, second.norms, rtol=10 * atol)
    np.testing.assert_array_equal(first.spans, second.spans)


# -------------------------------------------------------------------------------------------------------------- parity


@pytest.mark.parametrize("size", [(SIDE, SIDE), (48, 64), (90, 51)])
def test_a_clip_is_encoded_as_the_library_does(found: Clips, made: Made, size: tuple[int, int]) -> None:
    clip = stretch(COUNT, each=STEP, size=size)
    (tokens,) = found.encode_clips([clip])
    theirs = video(made.model, clip.frames)
    assert cosines(tokens.rows, theirs[None]).min() > 0.9999
    if size == (SIDE, SIDE):  # elsewhere a pixel may be a level beside theirs
        np.testing.assert_allclose(tokens.rows, np.tile(theirs / np.linalg.norm(theirs), (4, 1)), atol=NEAR)
        np.testing.assert_allclose(tokens.norms, np.linalg.norm(theirs), rtol=NEAR)


def test_every_window_is_the_librarys_transformer_over_cached_frames(found: Clips, made: Made) -> None:
    clip = stretch(30)  # fifteen places on the grid: the last group is moved back by one
    (tokens,) = found.encode_clips([clip])
    places = clip.frames[[round(STEP * number + STEP / 2) for number in range(15)]]
    groups = {start: places[start : start + COUNT] for start in (0, 4, 8, 11)}
    with torch.inference_mode():
        kept = {
            start: made.model.visual_projection(made.model.vision_model(pixels(group)[0]).pooler_output)
            for start, group in groups.items()
        }
        for number, begin in enumerate([0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11]):
            wanted = []
            for place in range(begin, begin + COUNT):
                having = [start for start in groups if start <= place < start + COUNT]
                nearest = min(having, key=lambda start: (abs(start - begin), start))
                wanted.append(kept[nearest][place - nearest])
            row = made.model.mit(torch.stack(wanted)[None]).pooler_output[0].numpy()
            np.testing.assert_allclose(tokens.rows[number], row / np.linalg.norm(row), atol=NEAR, err_msg=str(number))
    for number, begin in ((0, 0), (6, 4), (10, 8), (14, 11)):  # these are groups, the last one too
        whole = video(made.model, places[begin : begin + COUNT])
        assert cosines(tokens.rows[number], whole) > 0.99999


def test_texts_are_encoded_as_the_library_does(eager: Clips, made: Made) -> None:
    tokenize = AutoTokenizer.from_pretrained(str(made.folder), local_files_only=True)
    said = tokenize(QUESTIONS, padding=True, truncation=True, max_length=16, return_tensors="pt")
    with torch.inference_mode():
        theirs = made.model.get_text_features(input_ids=said["input_ids"], attention_mask=said["attention_mask"])
    rows = np.asarray(getattr(theirs, "pooler_output", theirs))
    np.testing.assert_allclose(
        eager.texts.encode(QUESTIONS), rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=SAME
    )


def test_the_authors_file_answers_as_the_folder(eager: Clips, made: Made) -> None:
    theirs = build(str(made.file), device="cpu", runtime="torch")
    np.testing.assert_allclose(theirs.texts.encode(QUESTIONS), eager.texts.encode(QUESTIONS), atol=SAME)
    alike(theirs.encode_clips([stretch(21)])[0], eager.encode_clips([stretch(21)])[0])
    assert theirs.space.id != eager.space.id  # another file is another space, and never mixed with the first
    assert theirs.model == str(made.file)


class Block(nn.Module):
    """A layer with messages, in torch's own attention: a plain twin of the library's."""

    def __init__(self, state: dict[str, torch.Tensor], messages: bool) -> None:
        super().__init__()
        self.messages = messages
        width = state["ln_1.weight"].shape[0]
        for name in ("attn", *(["message_attn"] if messages else [])):
            setattr(self, name, nn.MultiheadAttention(width, width // 64, batch_first=True))
        for name in ("ln_1", "ln_2", *(["message_ln"] if messages else [])):
            setattr(self, name, nn.LayerNorm(width))
        if messages:
            self.message_fc = nn.Linear(width, width)
        self.mlp = nn.ModuleDict(
            {
                "c_fc": nn.Linear(width, state["mlp.c_fc.weight"].shape[0]),
                "c_proj": nn.Linear(state["mlp.c_fc.weight"].shape[0], width),
            }
        )
        self.load_state_dict(state)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """`(T, L, width)` with messages between the frames, else `(N, L, width)`."""
        length = seen.shape[1]
        if self.messages:
            message = self.message_fc(seen[:, 0])[None]
            heard = self.message_ln(message)
            message = message + self.message_attn(heard, heard, heard, need_weights=False)[0]
            seen = torch.cat([seen, message[0][:, None]], dim=1)
        normed = self.ln_1(seen)
        seen = (seen + self.attn(normed, normed, normed, need_weights=False)[0])[:, :length]
        inner = self.mlp["c_fc"](self.ln_2(seen))
        return seen + self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner))


def layers(state: dict[str, torch.Tensor], place: str, *, messages: bool) -> nn.Sequential:
    count = len({name.split("resblocks.")[1].split(".")[0] for name in state if name.startswith(place)})
    inner = [
        {name.removeprefix(f"{place}{n}."): one for name, one in state.items() if name.startswith(f"{place}{n}.")}
        for n in range(count)
    ]
    return nn.Sequential(*(Block(one, messages) for one in inner)).eval()


def plain(state: dict[str, torch.Tensor], frames: torch.Tensor) -> torch.Tensor:
    """Frames `(T, 3, h, w)` as a clip `(D,)`, with the authors' weights as they are named."""

    def norm(seen: torch.Tensor, name: str) -> torch.Tensor:
        return nn.functional.layer_norm(seen, seen.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    patches = nn.functional.conv2d(frames, state["visual.conv1.weight"], stride=16).flatten(2).transpose(1, 2)
    first = state["visual.class_embedding"].expand(len(frames), 1, -1)
    seen = norm(torch.cat([first, patches], dim=1) + state["visual.positional_embedding"], "visual.ln_pre")
    seen = layers(state, "visual.transformer.resblocks.", messages=True)(seen)
    rows = (norm(seen[:, 0], "visual.ln_post") @ state["visual.proj"])[None]
    return (layers(state, "mit.resblocks.", messages=False)(rows + state["mit.positional_embedding"]) + rows).mean(1)[0]


def test_the_authors_layout_means_what_we_read_in_it(made: Made) -> None:
    """Their names, matrices and heads through a network of our own, not through our renaming."""
    clip = stretch(COUNT, each=STEP)
    (tokens,) = build(str(made.file), device="cpu", runtime="torch").encode_clips([clip])
    with torch.inference_mode():
        wanted = plain(towers_xclip.theirs(made.model), pixels(clip.frames)[0]).numpy()
    np.testing.assert_allclose(tokens.rows[0], wanted / np.linalg.norm(wanted), atol=NEAR)
    np.testing.assert_allclose(tokens.norms[0], np.linalg.norm(wanted), rtol=NEAR)


@pytest.mark.usefixtures("as_is")
def test_bfloat16_is_near(made: Made, eager: Clips) -> None:
    rough = build(str(made.folder), device="cpu", precision="bf16", runtime="torch")
    clip = stretch(20)
    assert cosines(rough.encode_clips([clip])[0].rows, eager.encode_clips([clip])[0].rows).min() > 0.999
    assert cosines(rough.texts.encode(QUESTIONS), eager.texts.encode(QUESTIONS)).min() > 0.999


def test_bfloat16_on_openvino_is_near(made: Made, eager: Clips) -> None:
    rough = build(str(made.folder), device="cpu", precision="bf16")
    clip = stretch(12)
    assert cosines(rough.encode_clips([clip])[0].rows, eager.encode_clips([clip])[0].rows).min() > 0.999


def test_openvino_runs_it_and_says_nothing(made: Made, eager: Clips, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        own = build(str(made.folder), device="cpu")
        alike(own.encode_clips([stretch(20)])[0], eager.encode_clips([stretch(20)])[0], NEAR)
    towers_of: Any = own._towers
    assert isinstance(towers_of._sense, Graph)
    assert towers_of._network.vision_model is None  # it has its own copy of these weights
    assert caplog.records == []


@pytest.mark.usefixtures("as_is")
def test_where_openvino_cannot_torch_does(made: Made, eager: Clips) -> None:
    alike(build(str(made.folder), device="cpu").encode_clips([stretch(9)])[0], eager.encode_clips([stretch(9)])[0])


# ------------------------------------------------------------------------------------------------- messages and windows


def heard(found: Clips, frames: np.ndarray) -> np.ndarray:
    """What the frames of one group become: `(T, D)`."""
    inner: Any = found._towers
    rows = inner.media_rows(1, lambda few: inner.preprocessing.pixels(frames, inner.device, inner.own)[None])
    return np.asarray(rows.reshape(COUNT, -1))


def test_a_frame_hears_from_its_neighbours(eager: Clips) -> None:
    frames, others = towers.frames(COUNT, SIDE, SIDE), towers.frames(COUNT, SIDE, SIDE, seed=1)
    alone, together = heard(eager, frames), heard(eager, np.stack([*frames[:-1], others[0]]))
    apart = 1 - cosines(alone, together)
    assert apart[:-1].min() > 1e-4  # all but the exchanged frame itself show the same pixels


def test_frames_of_a_group_have_no_order_until_they_are_joined(eager: Clips) -> None:
    """Messages know nothing of time; the integration transformer does."""
    frames = towers.frames(COUNT, SIDE, SIDE)
    turned = list(reversed(range(COUNT)))
    np.testing.assert_allclose(heard(eager, frames)[turned], heard(eager, frames[turned]), atol=NEAR)
    ends = [stretch(COUNT, each=STEP).spans] * 2
    rows = [eager.encode_clips([Stretch(one, ends[0])])[0].rows[0] for one in (frames, frames[turned])]
    assert cosines(rows[0], rows[1]) < 1 - 1e-4


def test_frames_of_another_group_change_nothing_in_a_window_that_is_a_group(eager: Clips) -> None:
    clip = stretch(16)
    frames = clip.frames.copy()
    frames[8:] = towers.frames(8, SIDE, SIDE, seed=5)
    first, second = eager.encode_clips([clip, Stretch(frames, clip.spans)])
    np.testing.assert_allclose(first.rows[:2], second.rows[:2], atol=SAME)
    assert cosines(first.rows[3], second.rows[3]) < 1 - 1e-3  # a window over both


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many groups the heavy part got, batch by batch."""
    counts: list[int] = []
    own = xclip.Sight.forward

    def counting(self: Any, seen: torch.Tensor) -> torch.Tensor:
        counts.append(len(seen))
        return own(self, seen)

    monkeypatch.setattr(xclip.Sight, "forward", counting)
    return counts


def test_every_frame_is_encoded_once_whatever_the_windows(eager: Clips, encoded: list[int]) -> None:
    (tokens,) = eager.encode_clips([stretch(64)])
    assert len(tokens) == 32
    assert sum(encoded) * COUNT == 32


def test_a_last_group_that_is_not_full_is_moved_back(eager: Clips, encoded: list[int]) -> None:
    eager.encode_clips([stretch(60)])
    assert sum(encoded) == 8


def test_groups_of_several_stretches_share_batches(eager: Clips, encoded: list[int]) -> None:
    eager.encode_clips([stretch(8), stretch(8, seed=1), stretch(3, start=4, seed=2), stretch(8, seed=3)])
    assert encoded == [4]


def test_a_scene_that_stands_still_is_encoded_once(eager: Clips, encoded: list[int]) -> None:
    (tokens,) = eager.encode_clips([stretch(1, each=60)])
    assert len(tokens) == 30
    assert sum(encoded) == 1
    np.testing.assert_allclose(tokens.rows, tokens.rows[:1].repeat(30, axis=0), atol=SAME)


SPANS = st.tuples(
    st.floats(0, 200), st.lists(st.floats(0.05, 9), min_size=1, max_size=60), st.sampled_from([1, 4, 8, 16, 32])
)


@given(SPANS)
def test_groups_are_full_and_windows_are_neighbours(case: tuple[float, list[float], int]) -> None:
    start, lengths, count = case
    edges = start + np.concatenate([[0], np.cumsum(lengths)])
    spans = np.stack([edges[:-1], edges[1:]], axis=1)
    cut = clips(spans, count)
    own = grid(spans, cut.windows, count)
    assert own.frames.shape[1:] == own.group.shape[1:] == own.place.shape[1:] == (count,)
    assert len(own.group) == len(cut.spans)
    assert (np.diff(own.frames, axis=1) >= 0).all()
    assert own.place.min() >= 0
    assert own.place.max() < count
    taken = own.frames[own.group, own.place]  # (W, T)
    step = LENGTH / count
    numbers = np.arange(int(edges[0] / step) - 1, int(edges[-1] / step) + 2)
    times = (numbers + 0.5) * step
    times = times[(times >= edges[0]) & (times < edges[-1])]
    if len(times) < count:
        assert len(own.frames) == 1
        assert (own.group == 0).all()
        return
    on_grid = shown(spans, times)
    assert len(own.frames) == -(-len(times) // count)
    assert set(np.unique(own.frames)) == set(np.unique(on_grid))  # every frame on the grid, and no other
    for window, frames in zip(cut.windows, taken, strict=True):
        begin = min(int((times < window[0] - 1e-9).sum()), len(times) - count)
        expected = [on_grid[begin : begin + count]]
        if begin and abs(times[begin - 1] - window[0]) < 1e-6:  # on the border, where a rounding decides
            expected.append(on_grid[begin - 1 : begin - 1 + count])
        assert any((frames == one).all() for one in expected)


@given(st.sampled_from([4, 8, 16]), st.integers(0, 40))
def test_a_window_that_is_a_group_is_taken_from_it_alone(count: int, more: int) -> None:
    places = count + more
    step = LENGTH / count
    spans = np.stack([np.arange(places), np.arange(places) + 1], axis=1) * step
    begins = np.unique([*range(0, places - count + 1, count), places - count])
    windows = np.stack([begins * step, begins * step + LENGTH], axis=1)
    own = grid(spans, windows, count)
    np.testing.assert_array_equal(own.group, np.arange(len(begins))[:, None].repeat(count, axis=1))
    np.testing.assert_array_equal(own.place, np.arange(count)[None].repeat(len(begins), axis=0))


# ----------------------------------------------------------------------------------------------------------- contracts


@pytest.mark.parametrize(
    ("count", "each", "start"), [(1, 1.0, 0.0), (2, 0.5, 61.3), (3, 1.7, 60.0), (40, 0.25, 119.9), (7, 30.0, 3.3)]
)
def test_tokens_are_all_of_a_stretch(eager: Clips, count: int, each: float, start: float) -> None:
    (tokens,) = eager.encode_clips([stretch(count, each=each, start=start)])
    assert tokens.rows.shape == (len(tokens.spans), eager.space.dimension)
    assert tokens.rows.dtype == tokens.norms.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(tokens.rows, axis=1), 1, atol=SAME)
    assert tokens.spans[0, 0] == start
    assert tokens.spans[-1, 1] == pytest.approx(start + count * each)
    np.testing.assert_array_equal(tokens.spans[1:, 0], tokens.spans[:-1, 1])


def test_a_stretch_shorter_than_a_clip_is_shown_whole(eager: Clips, made: Made) -> None:
    short = stretch(2, each=1.5, start=61.2)
    (tokens,) = eager.encode_clips([short])
    theirs = video(made.model, short.frames[[0, 0, 1, 1]])
    assert cosines(tokens.rows, theirs[None]).min() > 0.9999


def test_a_stretch_does_not_depend_on_what_stands_beside_it(found: Clips) -> None:
    several = [
        stretch(20),
        Stretch(np.zeros((0, 8, 8, 3), np.uint8), np.zeros((0, 2))),
        stretch(3, start=60, seed=1, size=(40, 71)),
        stretch(33, seed=2, size=(97, 31)),
        stretch(1, seed=3, size=(1, 1)),
    ]
    together = found.encode_clips(several)
    for one, tokens in zip(several, together, strict=True):
        alike(found.encode_clips([one])[0], tokens)
    assert len(together[1]) == 0


def test_the_same_seconds_give_the_same_frames_wherever_a_stretch_begins(eager: Clips) -> None:
    whole = stretch(32)
    later = Stretch(whole.frames[8:], whole.spans[8:])
    first, second = eager.encode_clips([whole, later])
    np.testing.assert_allclose(first.rows[-12:][3:], second.rows[3:], atol=SAME)


def test_nothing_gives_nothing(found: Clips) -> None:
    assert found.encode_clips([]) == []
    empty = Stretch(np.zeros((0, 32, 32, 3), np.uint8), np.zeros((0, 2)))
    assert [len(tokens) for tokens in found.encode_clips([empty, empty])] == [0, 0]
    assert found.texts.encode([]).shape == (0, found.space.dimension)


def test_frames_and_spans_go_together(eager: Clips) -> None:
    with pytest.raises(ValueError, match="2 frames, 1 spans"):
        eager.encode_clips([Stretch(towers.frames(2, 20, 20), np.array([[0.0, 1.0]]))])


def test_a_picture_asks_as_its_still_answers(eager: Clips) -> None:
    frame = towers.frames(1, 50, 70)
    asked = eager.encode_query(Picture(frame[0]))
    assert asked is not None
    np.testing.assert_allclose(
        asked, eager.encode_clips([Stretch(frame, np.array([[0.0, 1.0]]))])[0].rows[0], atol=SAME
    )


def test_it_is_asked_in_words_and_not_in_sound(eager: Clips) -> None:
    asked = eager.encode_query(Text("a dog"))
    assert asked is not None
    np.testing.assert_allclose(asked, eager.texts.encode(["a dog"])[0], atol=SAME)
    assert eager.encode_query(Sound(np.zeros(100, np.float32), 48_000)) is None


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_sentence_does_not_depend_on_its_neighbours(made: Made, form: str) -> None:
    texts = build(str(getattr(made, form)), device="cpu").texts
    together = texts.encode(QUESTIONS * 8)
    for place in (0, 7, 23, 39):
        np.testing.assert_allclose(texts.encode([QUESTIONS[place % 5]])[0], together[place], atol=SAME)


@pytest.mark.parametrize("form", ["folder", "file"])
def test_no_text_breaks_it(made: Made, form: str) -> None:
    texts = build(str(getattr(made, form)), device="cpu").texts
    for text in ("", " ", "half a pair \udcff", "🦜", "\0", "x" * 5_000, "{}", "<|endoftext|> dog"):
        assert np.linalg.norm(texts.encode([text])[0]) == pytest.approx(1, abs=SAME), text


def test_the_space_names_both_sides(eager: Clips) -> None:
    assert eager.space.modality == eager.modality == Modality.VISION
    assert eager.texts.name == eager.space.name == "xclip"
    assert eager.digest == eager.texts.digest
    assert len(eager.digest) == 64
    assert eager.space.query_side == eager.space.media_side == f"xclip:{eager.digest[:12]}"
    assert eager.space.dimension == eager.texts.dimension == towers_xclip.DIMENSION
    assert "shortest32x32-bilinear-0.485,0.456,0.406" in eager.space.preprocessing
    assert f"{COUNT}of8s" in eager.space.preprocessing
    assert eager.side == SIDE


def test_who_a_folder_is_is_known_before_weights_are_read(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_xclip, "tensors", lambda path: pytest.fail("read the weights"))
    assert len(build(str(made.folder), device="cpu").texts.digest) == 64


def test_numbers_that_overflow_are_said(made: Made) -> None:
    broken = build(str(made.folder), device="cpu", runtime="torch")
    inner: Any = broken._towers
    inner._sense = lambda seen: torch.full((len(seen), COUNT * towers_xclip.DIMENSION), torch.inf)
    with pytest.raises(DeviceError, match=r"overflows in torch\.float32: take --precision bf16 or fp32"):
        broken.encode_clips([stretch(2)])


# --------------------------------------------------------------------------------------------------------------- forms


def test_every_form_of_weights_answers_alike(made: Made, eager: Clips, tmp_path: Path) -> None:
    wanted = eager.encode_clips([stretch(8)])[0].rows
    own, theirs = made.model.state_dict(), towers_xclip.theirs(made.model)
    counted = {"text_model.embeddings.position_ids": torch.arange(16)[None]}
    torch.save({**own, **counted}, tmp_path / "counted.bin")  # as transformers before 4.31
    torch.save({"model": {f"module.{name}": one for name, one in theirs.items()}}, tmp_path / "several.pth")
    torch.save({"model": {name: one.half() for name, one in theirs.items()}}, tmp_path / "half.pth")
    torch.save({name: one for name, one in own.items() if "prompts" not in name}, tmp_path / "bare.pt")
    save_file(theirs, tmp_path / "theirs.safetensors")
    for file in sorted(tmp_path.iterdir()):
        found = build(str(made.folder), str(file), device="cpu", runtime="torch")
        rows = found.encode_clips([stretch(8)])[0].rows
        np.testing.assert_allclose(rows, wanted, atol=0.02 if file.stem == "half" else SAME, err_msg=file.stem)
    for name in ("several.pth", "half.pth", "theirs.safetensors"):
        assert build(str(tmp_path / name), device="cpu").space.dimension == towers_xclip.DIMENSION


def test_the_architecture_of_a_file_is_in_its_shapes(made: Made) -> None:
    config = _xclip.configuration(towers_xclip.theirs(made.model))
    own = made.model.config
    for side in ("text_config", "vision_config"):
        said, wanted = getattr(config, side), getattr(own, side)
        for name in vars(wanted):
            if name.startswith(("hidden", "intermediate", "num_", "mit_", "image", "patch", "max_", "vocab", "layer")):
                assert getattr(said, name) == getattr(wanted, name), name
    assert config.projection_dim == own.projection_dim


def test_a_model_of_more_frames_has_a_finer_grid(tmp_path: Path) -> None:
    model = towers_xclip.model(16)
    towers_xclip.authors(tmp_path / "16.pth", model)
    found = build(str(tmp_path / "16.pth"), device="cpu", runtime="torch")
    clip = stretch(16, each=0.5)
    assert cosines(found.encode_clips([clip])[0].rows, video(model, clip.frames)[None]).min() > 0.9999


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        ({}, "shortest32x32-bilinear-0.485,0.456,0.406,0.229,0.224,0.225"),
        ({"size": 32, "crop_size": 32, "resample": 3}, "shortest32x32-bicubic"),
        ({"size": {"height": 32, "width": 32}, "do_center_crop": False}, "squash32x32-bilinear"),
        ({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}, "-0.5,0.5,0.5,0.25,0.25,0.25,"),
    ],
)
def test_pixels_are_as_the_preprocessor_says(page: dict[str, Any], wanted: str) -> None:
    assert wanted in str(Preprocessing.read(_xclip._setup(page, 32), 32))


def test_without_a_preprocessor_pixels_are_as_the_authors_have_them(made: Made, tmp_path: Path) -> None:
    folder = copied(made, tmp_path)
    (folder / "preprocessor_config.json").unlink()
    assert "shortest32x32-bilinear-0.485" in build(str(folder), device="cpu").space.preprocessing


# ----------------------------------------------------------------------------------------------------------- bad input


def copied(made: Made, place: Path) -> Path:
    folder = place / "copy"
    folder.mkdir()
    for file in made.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def refusal(model: Path, checkpoint: str = "", kind: type[Exception] = WrongCheckpoint) -> str:
    with pytest.raises(kind) as caught:
        build(str(model), checkpoint, device="cpu", runtime="torch").encode_clips([stretch(1)])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800
    return str(caught.value)


def test_weights_of_another_architecture_are_named(made: Made, tmp_path: Path) -> None:
    towers_xclip.authors(tmp_path / "longer.pth", towers_xclip.model(8))
    said = refusal(made.folder, str(tmp_path / "longer.pth"))
    assert "is of another architecture than" in said
    assert "its mit.position_embedding is 1×8×64, wanted 1×4×64" in said


def test_a_layer_that_is_missing_is_named(made: Made, tmp_path: Path) -> None:
    theirs = towers_xclip.theirs(made.model)
    torch.save({name: one for name, one in theirs.items() if ".message_fc." not in name}, tmp_path / "clip.pth")
    said = refusal(tmp_path / "clip.pth")
    assert "it lacks vision_model.encoder.layers.0.message_fc.bias" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mit.positional_embedding": None}, "it lacks 'mit.positional_embedding'"),
        ({"visual.positional_embedding": torch.zeros(16, 128)}, "15 patches are no square"),
        ({"visual.conv1.weight": torch.zeros(100, 3, 8, 8)}, "a width of 100 is no multiple of 64"),
        ({"visual.conv1.weight": torch.zeros(7)}, "is of another architecture than X-CLIP"),
    ],
)
def test_a_file_that_is_no_xclip_is_named(made: Made, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    theirs = {**towers_xclip.theirs(made.model), **change}
    torch.save({name: one for name, one in theirs.items() if one is not None}, tmp_path / "other.pth")
    told = refusal(tmp_path / "other.pth")
    assert said in told
    assert "other.pth" in told


def test_weights_without_the_folder_that_they_want(made: Made, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((made.folder / "model.safetensors").read_bytes())
    assert "name the folder that has them" in refusal(tmp_path / "model.safetensors")
    with pytest.raises(MissingWeights, match=r"has no config\.json"):
        build(str(tmp_path), device="cpu")


def test_a_torn_file_is_named(made: Made, tmp_path: Path) -> None:
    whole = made.file.read_bytes()
    (tmp_path / "torn.pth").write_bytes(whole[: len(whole) // 2])
    assert "torn.pth" in refusal(tmp_path / "torn.pth")
    folder = copied(made, tmp_path)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "model.safetensors cannot be read as safetensors" in refusal(folder)


def test_a_folder_without_a_tokenizer_says_so_when_it_is_asked(made: Made, tmp_path: Path) -> None:
    folder = copied(made, tmp_path)
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    found = build(str(folder), device="cpu", runtime="torch")
    assert len(found.encode_clips([stretch(1)])[0]) == 1  # media need none
    with pytest.raises(MissingWeights, match=r"no tokenizer beside it: put its tokenizer\.json there"):
        found.texts.encode(["a dog"])


def test_a_tokenizer_that_is_none_is_named(made: Made, tmp_path: Path) -> None:
    folder = copied(made, tmp_path)
    for name in ("tokenizer.json", "vocab.json"):
        (folder / name).write_text("[")
    with pytest.raises(WrongCheckpoint, match="its tokenizer cannot be read") as caught:
        build(str(folder), device="cpu", runtime="torch").texts.encode(["a dog"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("{", "config.json"),
        ("[]", "config.json"),
        ({"model_type": "clap"}, "model_type is 'clap', wanted 'xclip'"),
        ({"projection_dim": 32}, "mit_hidden_size is 64, projection_dim 32"),
        ({"projection_dim": "many"}, "config.json is none of an X-CLIP model"),
        ({"vision": {"image_size": [32, 32]}}, "image_size is [32, 32]"),
        ({"vision": {"num_frames": 0}}, "want at least 1"),
        ({"vision": {"num_attention_heads": 3}}, "a width of 128 is no multiple of 3 heads"),
        ({"vision": {"hidden_act": "none such"}}, "transformers cannot build it"),
    ],
)
def test_a_configuration_that_is_none_is_named(made: Made, tmp_path: Path, change: Any, said: str) -> None:
    folder = copied(made, tmp_path)
    file = folder / "config.json"
    if isinstance(change, dict):
        page = json.loads(file.read_text())
        page["vision_config"] |= change.pop("vision", {})
        change = json.dumps(page | change)
    file.write_text(change)
    assert said in refusal(folder)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("{", "preprocessor_config.json is none that reelseek reads"),
        ("[]", "preprocessor_config.json is none that reelseek reads"),
        ('{"size": {"shortest_edge": 64}, "crop_size": 32}', "frames of 32/64 pixels, wanted 32 throughout"),
        ('{"size": 32, "crop_size": 32, "resample": 1}', "resample is 1, wanted 2 or 3"),
        ('{"size": 32, "crop_size": 32, "do_center_crop": false}', "crops nothing"),
        ('{"size": 32, "crop_size": 32, "do_resize": false}', "wanted 32 throughout"),
        ('{"size": {"longest_edge": 32}, "crop_size": 32}', "preprocessor_config.json is none that reelseek reads"),
    ],
)
def test_a_preprocessor_that_is_none_is_named(made: Made, tmp_path: Path, page: str, said: str) -> None:
    folder = copied(made, tmp_path)
    (folder / "preprocessor_config.json").write_text(page)
    assert said in refusal(folder)


def test_the_library_reads_the_folder_too(made: Made) -> None:
    """So what is tested against is what lies there."""
    own = XCLIPModel.from_pretrained(str(made.folder), local_files_only=True).eval()
    kept = load_file(made.folder / "model.safetensors")
    assert all(torch.equal(own.state_dict()[name], one) for name, one in kept.items())
