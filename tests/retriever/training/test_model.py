"""The torch modules say what the heads say."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from retriever import heads
from retriever.heads import Block, Gate, Head
from retriever.rerankers import _plain
from retriever.training.model import FIRST_SCALE, MOST_SCALE, SHUT_GATE, Dropout, TextPool, Tokens

WIDTH, HEARD = 24, 10
DRAW = np.random.default_rng(5)


def _array(*shape: int, around: float = 0.0, by: float = 0.3) -> np.ndarray:
    return (around + by * DRAW.standard_normal(shape)).astype(np.float32)


def _block() -> Block:
    norms = {f"ln{n}_{part}": _array(WIDTH, around=float(part == "g")) for n in (1, 2, 3) for part in "gb"}
    maps = {f"{part}{name}": _array(*[WIDTH] * (2 if part == "w" else 1)) for name in "qkvol" for part in "wb"}
    return Block(**norms, **maps)


def _xpool() -> Head:
    return Head("xpool", "", ("seen",), (_block(),))


def _tefal(heard: int = HEARD) -> Head:
    mapped = None if heard == WIDTH else (_array(WIDTH, heard), _array(WIDTH))
    return Head("tefal", "", ("seen", "heard"), (_block(), _block()), mapped, Gate(_array(3 * WIDTH), -0.5))


def _tokens(count: int, longest: int, width: int, *, silent: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rows = _array(count, longest, width, by=10)
    mask = np.arange(longest) < DRAW.integers(1, longest + 1, (count, 1))
    if silent:
        mask[::2] = False
    return np.where(mask[..., None], rows, 0).astype(np.float32), mask


def _padded(part: tuple[np.ndarray, np.ndarray]) -> Tokens:
    return Tokens(torch.from_numpy(part[0]), torch.from_numpy(part[1]))


@pytest.mark.parametrize("make", [_xpool, _tefal, lambda: _tefal(WIDTH)], ids=["xpool", "mapped", "as it is"])
def test_scores_are_those_of_the_plain_form(make: Callable[[], Head]) -> None:
    head = make()
    text, frames, audio = _array(7, WIDTH), _tokens(9, 16, WIDTH), _tokens(9, 5, head.audio_dimension, silent=True)
    with torch.no_grad():
        found = TextPool.of(head)(torch.from_numpy(text), _padded(frames), _padded(audio)).numpy()
    np.testing.assert_allclose(found, _plain.scores(head, text, *frames, *audio), atol=1e-5)


@pytest.mark.parametrize("make", [_xpool, _tefal, lambda: _tefal(WIDTH)], ids=["xpool", "mapped", "as it is"])
def test_a_head_comes_back_from_the_module(make: Callable[[], Head]) -> None:
    head = make()
    assert TextPool.of(head).head("", head.token_spaces, {}).digest == head.digest


def test_training_starts_at_the_identity() -> None:
    made = TextPool.start("xpool", WIDTH).head("side", ("seen",), {})
    assert made.digest == Head("xpool", "side", ("seen",), (heads.Block.identity(WIDTH),)).digest


def test_silence_changes_nothing_to_the_bit() -> None:
    head = _tefal()
    alone = Head("xpool", "", ("seen",), head.blocks[:1])
    text, frames, audio = torch.from_numpy(_array(4, WIDTH)), _padded(_tokens(6, 3, WIDTH)), _tokens(6, 5, HEARD)
    silent = Tokens(torch.from_numpy(audio[0]), torch.zeros(6, 5, dtype=torch.bool))
    with torch.no_grad():
        assert torch.equal(TextPool.of(head)(text, frames, silent), TextPool.of(alone)(text, frames, None))


def test_a_shut_gate_lets_nothing_through() -> None:
    model = TextPool.of(_tefal())
    model.set_gate(SHUT_GATE)
    text, frames, audio = torch.from_numpy(_array(4, WIDTH)), _padded(_tokens(6, 3, WIDTH)), _tokens(6, 5, HEARD)
    with torch.no_grad():
        assert torch.allclose(model(text, frames, _padded(audio)), model(text, frames, None), atol=1e-7)


def test_padding_takes_no_part() -> None:
    model, text = TextPool.of(_xpool()), torch.from_numpy(_array(4, WIDTH))
    rows, mask = _tokens(6, 4, WIDTH)
    more = np.concatenate([rows, np.full_like(rows, 1e3)], axis=1)
    wider = np.concatenate([mask, np.zeros_like(mask)], axis=1)
    with torch.no_grad():
        assert torch.allclose(model(text, _padded((rows, mask)), None), model(text, _padded((more, wider)), None))


def test_every_parameter_learns() -> None:
    model = TextPool.of(_tefal())
    scores = model(torch.from_numpy(_array(4, WIDTH)), _padded(_tokens(6, 3, WIDTH)), _padded(_tokens(6, 5, HEARD)))
    (scores.square().sum() * model.temperature()).backward()
    still = {name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()}
    assert still == {"blocks.0.k.bias", "blocks.1.k.bias"}  # softmax cancels them
    assert all(value.grad is None or bool(value.grad.isfinite().all()) for value in model.parameters())


def test_a_video_without_audio_gives_finite_gradients() -> None:
    model = TextPool.of(_tefal())
    frames, audio = _padded(_tokens(6, 3, WIDTH)), _padded(_tokens(6, 5, HEARD, silent=True))
    model(torch.from_numpy(_array(4, WIDTH)), frames, audio).sum().backward()
    assert all(value.grad is None or bool(value.grad.isfinite().all()) for value in model.parameters())


def test_the_scale_is_clamped() -> None:
    model = TextPool.start("xpool", 4)
    assert model.scale.item() == pytest.approx(FIRST_SCALE)
    with torch.no_grad():
        model.scale.fill_(MOST_SCALE + 1)
    assert model.temperature().item() == pytest.approx(100)


def test_dropout_keeps_the_mean_and_repeats() -> None:
    drop = Dropout(0.3, torch.Generator().manual_seed(1))
    values = drop(torch.ones(100_000))
    assert values.mean().item() == pytest.approx(1, abs=0.02)
    assert (values == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(values, Dropout(0.3, torch.Generator().manual_seed(1))(torch.ones(100_000)))
