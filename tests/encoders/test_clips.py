"""How a stretch of frames is cut into clips; pure, but for the towers' bookkeeping at the end."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders._clips import HOP, LENGTH, Clips, ClipTowers, clips, shown
from encoders._pixels import Preprocessing
from encoders._texts import Texts
from retriever.types import Matrix, Picture, Sound, Stretch, Text, Times

INSTANT = 1e-9


def frames(edges: list[float]) -> Times:
    """Frames that are on show from each edge to the next."""
    return np.stack([edges[:-1], edges[1:]], axis=1)


@st.composite
def stretches(draw: st.DrawFn) -> Times:
    """Spans of frames as samplers give them: side by side, from a twentieth of a second to some seconds each."""
    start = draw(st.sampled_from([0.0, 0.02, 59.99, 60.0, 61.3, 36_000.0]))
    lengths = draw(st.lists(st.floats(0.05, 5.0), min_size=1, max_size=60))
    return frames(np.concatenate([[start], start + np.cumsum(lengths)]).tolist())


@given(stretches(), st.sampled_from([1, 4, 8, 16]))
def test_tokens_cover_a_stretch_side_by_side(spans: Times, count: int) -> None:
    cut = clips(spans, count)
    assert cut.spans[0, 0] == spans[0, 0]
    assert cut.spans[-1, 1] == spans[-1, 1]
    np.testing.assert_array_equal(cut.spans[1:, 0], cut.spans[:-1, 1])
    lengths = np.diff(cut.spans, axis=1)
    assert lengths.max() < 2 * HOP
    assert lengths.min() > HOP / 2 - 1e-6 or len(cut.spans) == 1


@given(stretches(), st.sampled_from([1, 4, 8, 16]))
def test_a_clip_shows_what_is_around_its_token(spans: Times, count: int) -> None:
    cut = clips(spans, count)
    start, end = spans[0, 0], spans[-1, 1]
    assert cut.frames.shape == (len(cut.spans), count)
    np.testing.assert_allclose(np.diff(cut.windows, axis=1)[:, 0], min(LENGTH, end - start), rtol=1e-6)
    assert (cut.windows[:, 0] >= start - 1e-6).all()
    assert (cut.windows[:, 1] <= end + 1e-6).all()
    assert (cut.windows[:, 0] <= cut.spans[:, 0] + INSTANT).all() or end - start > LENGTH
    middles = cut.spans.mean(axis=1)
    assert ((cut.windows[:, 0] <= middles) & (middles <= cut.windows[:, 1])).all()
    assert (np.diff(cut.frames, axis=1) >= 0).all()
    times = cut.windows[:, :1] + (np.arange(count) + 0.5) * np.diff(cut.windows, axis=1) / count
    on_show = spans[cut.frames]  # (W, T, 2)
    assert (on_show[..., 0] <= times + 1e-6).all()
    assert (times <= on_show[..., 1] + 1e-6).all()


@given(stretches(), st.integers(1, 20))
def test_tokens_lie_on_the_clock_of_the_media(spans: Times, hops: int) -> None:
    """What a chapter has does not depend on where it begins, but for its two ends."""
    inner = clips(spans, 4).spans[:-1, 1]
    np.testing.assert_allclose(inner / HOP, np.round(inner / HOP), atol=1e-6)
    later = clips(spans + hops * HOP, 4)
    np.testing.assert_allclose(later.spans, clips(spans, 4).spans + hops * HOP, atol=1e-6)


def test_a_minute_is_thirty_tokens() -> None:
    cut = clips(frames(np.arange(60, 120.5, 0.5).tolist()), 8)
    np.testing.assert_array_equal(cut.spans[:3], [[60, 62], [62, 64], [64, 66]])
    np.testing.assert_array_equal(cut.windows[[0, 2, 15, 29]], [[60, 68], [61, 69], [87, 95], [112, 120]])
    np.testing.assert_array_equal(cut.frames[15], np.arange(55, 70, 2))
    assert len(cut.spans) == 30


def test_no_frames_no_clips() -> None:
    cut = clips(np.zeros((0, 2)), 8)
    assert cut.spans.shape == cut.windows.shape == (0, 2)
    assert cut.frames.shape == (0, 8)


def test_before_the_first_frame_it_is_shown_too() -> None:
    assert shown(np.array([[1.0, 2.0], [2.0, 3.0]]), np.array([[0.0, 1.0], [1.99, 2.0]])).tolist() == [[0, 0], [0, 1]]


# --------------------------------------------------------------------------------------------------------- bookkeeping


class Mean(torch.nn.Module):
    """What the colours are, frame by frame: a clip that is told by the order of its frames."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean(dim=(3, 4)).flatten(1) + 2


class Towers(ClipTowers):
    shapes: list[int]

    def __init__(self, count: int) -> None:
        setup = Preprocessing.read({"mean": [0, 0, 0], "std": [1, 1, 1], "resize_mode": "squash"}, 4)
        super().__init__("mean", setup, count, torch.device("cpu"), torch.float32, "torch")
        self.batches.most = 4
        self.encoded = 0

    def read_network(self) -> torch.nn.Module:
        return Mean()

    def read_tokenizer(self) -> None:
        raise AssertionError("nobody asked for it")

    def media_tower(self, network: torch.nn.Module) -> torch.nn.Module:
        return network

    def drop_media_tower(self, network: torch.nn.Module) -> None:
        raise AssertionError("torch needs it")

    def media_rows(self, count: int, inputs: object) -> Matrix:
        self.encoded += count
        return super().media_rows(count, inputs)  # type: ignore[arg-type]


def made(count: int = 4) -> Clips:
    texts = Texts("mean", "0" * 64, 3 * count, lambda texts: np.ones((len(texts), 3 * count), np.float32))
    return Clips("mean", Towers(count), texts, "1" * 64)


def film(colours: list[int], start: float = 0.0, size: tuple[int, int] = (6, 8)) -> Stretch:
    """A frame a second, each of one shade."""
    pixels = np.array(colours, np.uint8)[:, None, None, None] * np.ones((1, *size, 3), np.uint8)
    return Stretch(pixels, frames([start + second for second in range(len(colours) + 1)]))


def rows(encoder: Clips, stretch: Stretch, count: int) -> Matrix:
    """The plain way: clip by clip."""
    cut = clips(stretch.spans, count)
    raw = np.stack([np.repeat(stretch.frames[few].mean(axis=(1, 2, 3)) / 255 + 2, 3) for few in cut.frames])
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 255), max_size=30), max_size=4), st.sampled_from([1, 3, 8]))
def test_several_stretches_are_what_each_is_alone(shades: list[list[int]], count: int) -> None:
    encoder = made(count)
    films = [film(each, 10.0 * place, (6 + place, 8)) for place, each in enumerate(shades)]
    together = encoder.encode_clips(films)
    assert len(together) == len(films)
    for tokens, one in zip(together, films, strict=True):
        assert len(tokens) == len(clips(one.spans, count).spans)
        if len(tokens):
            np.testing.assert_allclose(tokens.rows, rows(encoder, one, count), atol=1e-5)
            np.testing.assert_array_equal(tokens.spans, clips(one.spans, count).spans)


def test_what_shows_nothing_new_is_encoded_once() -> None:
    encoder = made()
    still = Stretch(np.zeros((1, 4, 4, 3), np.uint8), np.array([[0.0, 60.0]]))
    assert len(encoder.encode_clips([still])[0]) == 30
    assert encoder._towers.encoded == 1  # type: ignore[attr-defined]


def test_a_clip_encoder_is_asked_in_words_and_pictures() -> None:
    encoder = made()
    picture = np.full((5, 5, 3), 128, np.uint8)
    asked = encoder.encode_query(Picture(picture))
    assert asked is not None
    (tokens,) = encoder.encode_clips([Stretch(picture[None], np.array([[0.0, 1.0]]))])
    np.testing.assert_array_equal(asked, tokens.rows[0])
    words = encoder.encode_query(Text("anything"))
    assert words is not None
    np.testing.assert_allclose(np.linalg.norm(words), 1, atol=1e-6)
    assert encoder.encode_query(Sound(np.zeros(9, np.float32), 16_000)) is None


def test_frames_and_spans_go_together() -> None:
    with pytest.raises(ValueError, match="2 frames, 1 spans"):
        made().encode_clips([Stretch(np.zeros((2, 4, 4, 3), np.uint8), np.array([[0.0, 1.0]]))])


def test_how_clips_are_cut_belongs_to_the_space() -> None:
    assert made(4).space.preprocessing != made(8).space.preprocessing
    assert made().space.media_side == "mean:111111111111"
    assert made().space.query_side == "mean:000000000000"
