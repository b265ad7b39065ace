"""ILA through our encoder: what its equations say, step by step, and what becomes of classes and texts."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
import towers
import towers_ila
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from towers_ila import FILE, KINETICS, LABELS, NAMES, PLAN

from encoders import _ila, _towers, ila
from encoders._clips import Clips, clips
from encoders._converted import Graph
from encoders._ila import Plan, by_frame, nearness
from retriever.errors import MissingWeights, WrongCheckpoint
from retriever.types import Modality, Picture, Sound, Stretch, Text

SAME = 1e-4
State = Mapping[str, torch.Tensor]
PLANS = {"ssv2": PLAN, "kinetics": KINETICS}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Classes of made-up models are nobody's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REELSEEK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", params=PLANS)
def plan(request: pytest.FixtureRequest) -> Plan:
    return PLANS[request.param]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a classifier."""
    made = tmp_path_factory.mktemp("ila") / "ssv2"
    towers_ila.folder(made)
    return made


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model with a text tower."""
    made = tmp_path_factory.mktemp("ila") / "kinetics"
    towers_ila.folder(made, KINETICS)
    return made


def built(folder: Path, **how: str) -> Clips:
    return ila.build(fakes.HashingSentences(), str(folder), **{"device": "cpu", "runtime": "torch"} | how)


def here(device: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device: the towers run on the CPU only")
    return device


def stretch(count: int, seed: int = 0, start: float = 0.0) -> Stretch:
    """A frame a second."""
    return Stretch(towers.frames(count, 40, 56, seed), towers.seconds(count) + start)


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


# ------------------------------------------------------------------------------------------------ the equations, slowly


def linear(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return (
        centred / (centred**2).mean(dim=-1, keepdim=True).add(1e-5).sqrt() * state[f"{name}.weight"]
        + state[f"{name}.bias"]
    )


def conv(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(
        x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2, groups=x.shape[1] // weight.shape[1]
    )


def batch_norm(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    mean, variance, weight, bias = (
        state[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def clip_block(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    """A layer of CLIP `(L, D)`, with torch's own attention."""
    attention = torch.nn.MultiheadAttention(x.shape[-1], x.shape[-1] // 64).eval()
    inner = f"{name}.attn."
    attention.load_state_dict({key.removeprefix(inner): value for key, value in state.items() if key.startswith(inner)})
    said = norm(state, f"{name}.ln_1", x)
    x = x + attention(said, said, said, need_weights=False)[0]
    wide = linear(state, f"{name}.mlp.c_fc", norm(state, f"{name}.ln_2", x))
    return x + linear(state, f"{name}.mlp.c_proj", wide * torch.sigmoid(1.702 * wide))


def count(point: float, place: float) -> float:
    """How much a patch counts, along one axis."""
    far = abs(place - point)
    return 1.0 if far <= 0.25 else max(0.0, 1 - (far - 0.25) * 1.5)


def mask(point: torch.Tensor, grid: int) -> torch.Tensor:
    """`(grid, grid)`: rows are y, columns x."""
    x, y = point.tolist()
    places = [2 * number / (grid - 1) - 1 for number in range(grid)]
    return torch.tensor([[count(y, row) * count(x, column) for column in places] for row in places])


def interaction(state: State, name: str, pair: torch.Tensor) -> torch.Tensor:
    """Two frames `(1, 2D, grid, grid)`, seen together."""
    if f"{name}.0.weight" in state:  # Something-Something v2
        x = batch_norm(state, f"{name}.1", conv(state, f"{name}.0", pair)).relu()
        return batch_norm(state, f"{name}.4", conv(state, f"{name}.3", x)).relu()
    deep, point = f"{name}.0.depthwise_conv", f"{name}.0.pointwise_conv"
    x = batch_norm(state, f"{deep}.1", conv(state, f"{deep}.0", pair)).relu()
    x = batch_norm(state, f"{point}.1", conv(state, f"{point}.0", x)).relu()
    return batch_norm(state, f"{name}.2", conv(state, f"{name}.1", x)).relu()


def two_points(state: State, name: str, seen: torch.Tensor) -> torch.Tensor:
    """Of the earlier and of the later frame, x and y."""
    x = F.max_pool2d(batch_norm(state, f"{name}.1", conv(state, f"{name}.0", seen)), 2).relu()
    x = F.max_pool2d(batch_norm(state, f"{name}.5", conv(state, f"{name}.4", x)), 2).relu()
    x = x.amax(dim=(-2, -1))[0]  # (128,)
    halves = []
    for half in range(2):  # each point is found by half of the channels
        first, second = state[f"{name}.10.weight"][..., 0], state[f"{name}.12.weight"][..., 0]
        mine = slice(32 * half, 32 * half + 32)
        hidden = (first[mine] @ x[64 * half : 64 * half + 64] + state[f"{name}.10.bias"][mine]).relu()
        two = slice(2 * half, 2 * half + 2)
        halves.append(second[two] @ hidden + state[f"{name}.12.bias"][two])
    return 0.75 * torch.tanh(torch.stack(halves))


def aligned_block(state: State, name: str, frames: list[torch.Tensor], grid: int) -> list[torch.Tensor]:
    """Every frame `(places, D)` of a clip through one block."""
    said = [norm(state, f"{name}.message_ln", linear(state, f"{name}.message_fc", frame)) for frame in frames]
    maps = [one[1:].T.reshape(1, -1, grid, grid) for one in said]
    inner = f"{name}.message_attn"
    near: list[list[torch.Tensor]] = [[] for _ in frames]  # what pairs say of each frame
    seen: list[list[torch.Tensor]] = [[] for _ in frames]
    for early, late in pairwise(range(len(frames))):
        both = interaction(state, f"{inner}.interactive_block", torch.cat([maps[early], maps[late]], dim=1))
        points = two_points(state, f"{inner}.prediction_block", both)
        for frame, point, channels in ((early, points[0], both[0, :128]), (late, points[1], both[0, 128:])):
            near[frame].append(mask(point, grid))
            seen[frame].append(channels)
    together = [sum(several) / len(several) for several in seen]
    kernel, out = state[f"{inner}.conv.weight"][..., 0, 0], []
    for number, frame in enumerate(frames):
        over_time = state[f"{inner}.conv.bias"].view(-1, 1, 1).repeat(1, grid, grid)
        for tap, other in enumerate(range(number - 1, number + 2)):
            if 0 <= other < len(frames):
                over_time = over_time + torch.einsum("oc,chw->ohw", kernel[:, :, tap], together[other])
        patches = said[number][1:] * (sum(near[number]) / len(near[number])).reshape(-1, 1)
        aligned = torch.cat([said[number][:1], patches])
        features = torch.cat([said[number][:1], linear(state, f"{inner}.fc", over_time.flatten(1).T)])
        x = frame + linear(state, f"{name}.temporal_skip_align_fc", aligned)
        out.append(clip_block(state, name, x + linear(state, f"{name}.temporal_skip_fc", features)))
    return out


def slowly(state: State, plan: Plan, clip: torch.Tensor) -> torch.Tensor:
    """A clip `(T, 3, h, w)` as logits, or as its row."""
    frames = []
    for picture in clip:
        patches = [
            (state["visual.conv1.weight"] * picture[:, top : top + plan.patch, left : left + plan.patch]).sum((1, 2, 3))
            for top in range(0, plan.side, plan.patch)
            for left in range(0, plan.side, plan.patch)
        ]
        x = torch.stack([state["visual.class_embedding"], *patches]) + state["visual.positional_embedding"]
        frames.append(norm(state, "visual.ln_pre", x))
    for layer in range(plan.layers):
        frames = aligned_block(state, f"visual.transformer.resblocks.{layer}", frames, plan.grid)
    rows = norm(state, "visual.ln_post", torch.stack([frame[0] for frame in frames])) @ state["visual.proj"]
    x = rows + state["mit.positional_embedding"][0]
    for layer in range(plan.integration):
        x = clip_block(state, f"mit.resblocks.{layer}", x)
    mean = (x + rows).mean(dim=0)
    if not plan.classes:
        return mean
    return linear(state, "mit.classify_head.2", norm(state, "mit.classify_head.0", mean / mean.norm()))


# -------------------------------------------------------------------------------------------------------------- parity


@pytest.mark.parametrize("frames", [2, 4, 5])
def test_the_network_answers_as_its_equations_do(plan: Plan, frames: int) -> None:
    plan = replace(plan, frames=frames)
    made = towers_ila.network(plan)
    clips = torch.randn(2, frames, 3, plan.side, plan.side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours = made.sight()(clips)
        theirs = torch.stack([slowly(made.state_dict(), plan, clip) for clip in clips])
    np.testing.assert_allclose(ours, theirs, rtol=SAME, atol=SAME)
    assert (theirs[0] - theirs[1]).abs().max() > 100 * SAME  # it does see something


def test_texts_are_read_as_clip_reads_them() -> None:
    made = towers_ila.network(KINETICS)
    text = {"context_length": KINETICS.context, "vocab_size": _ila.WORDS, "width": KINETICS.text_width}
    theirs = open_clip.CLIP(
        KINETICS.dimension,
        {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
        {**text, "heads": KINETICS.text_width // 64, "layers": KINETICS.text_layers},
        quick_gelu=True,
    ).eval()
    own = {name: value for name, value in made.state_dict().items() if name.startswith(_ila.TEXTS)}
    assert not theirs.load_state_dict(own, strict=False).unexpected_keys
    tokens = open_clip.tokenizer.SimpleTokenizer(context_length=KINETICS.context)(["a dog plays", "", "red " * 40])
    with torch.inference_mode():
        np.testing.assert_allclose(made.encode_text(tokens), theirs.encode_text(tokens), atol=SAME)


def test_a_clip_is_what_its_frames_and_pixels_make_it(folder: Path) -> None:
    found, one = built(folder), stretch(3)
    cut = clips(one.spans, PLAN.frames)
    pixels = PLAN.preprocessing.pixels(one.frames, torch.device("cpu"), torch.float32)
    state = torch.load(folder / FILE, weights_only=True)["model"]
    with torch.inference_mode():
        logits = torch.stack([slowly(state, PLAN, pixels[frames]) for frames in cut.frames])
    chances = logits.softmax(dim=-1).numpy()
    tokens = found.encode_clips([one])[0]
    for labels, kept, row in zip(tokens.labels, tokens.probabilities, chances, strict=True):
        best = [number for number in np.argsort(-row) if row[number] >= 0.05 or number == row.argmax()]
        assert list(labels) == [NAMES[number] for number in best]
        np.testing.assert_allclose(kept[: len(best)], row[best], atol=SAME)


def test_pixels_are_those_of_the_authors_test() -> None:
    setup = PLAN.preprocessing
    np.testing.assert_allclose(np.multiply(setup.mean, 255), [123.675, 116.28, 103.53])
    np.testing.assert_allclose(np.multiply(setup.std, 255), [58.395, 57.12, 57.375])
    assert (setup.size, setup.mode, setup.interpolation) == ((32, 32), "shortest", "bilinear")


# --------------------------------------------------------------------------------------------------------------- masks

grids = st.integers(2, 25)
coordinates = st.floats(-0.75, 0.75, width=32)


@given(coordinates, coordinates, grids)
def test_patches_count_by_their_distance(x: float, y: float, grid: int) -> None:
    near = nearness(torch.tensor([x, y]), grid).numpy()
    places = np.linspace(-1, 1, grid)
    far = np.maximum(abs(places[:, None] - y), abs(places[None, :] - x))
    assert near.shape == (grid, grid)
    assert near.min() >= 0
    assert near.max() <= 1
    np.testing.assert_allclose(near[far <= 0.25 - 1e-6], 1)
    np.testing.assert_allclose(near[far >= 11 / 12 + 1e-6], 0)
    np.testing.assert_allclose(near, mask(torch.tensor([x, y]), grid), atol=1e-5)


@given(coordinates, coordinates, grids)
def test_a_mirrored_point_has_the_mirrored_mask(x: float, y: float, grid: int) -> None:
    points = torch.tensor([[x, y], [-x, y], [x, -y], [y, x]])
    near, across, down, turned = nearness(points, grid)
    np.testing.assert_allclose(across, near.flip(1), atol=1e-5)
    np.testing.assert_allclose(down, near.flip(0), atol=1e-5)
    np.testing.assert_allclose(turned, near.T, atol=1e-5)


def test_x_goes_along_a_row() -> None:
    near = nearness(torch.tensor([0.75, 0.0]), 9)
    assert near[4].argmax() > 4
    assert near[:, 7].argmax() in (3, 4, 5)


@given(st.integers(2, 9), st.integers(0, 1000))
def test_what_two_pairs_say_of_a_frame_is_averaged(frames: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    earlier, later = torch.rand(2, 3, frames - 1, 5, generator=draw)
    merged = by_frame(earlier, later)
    assert merged.shape == (3, frames, 5)
    for frame in range(frames):
        said = [earlier[:, frame]] if frame < frames - 1 else []
        said += [later[:, frame - 1]] if frame else []
        np.testing.assert_allclose(merged[:, frame], torch.stack(said).mean(dim=0), rtol=1e-6)


@pytest.mark.parametrize("separable", [False, True])
def test_a_predictor_that_begins_at_zero_looks_at_the_middle(separable: bool) -> None:
    alignment = _ila.Alignment(replace(PLAN, separable=separable)).eval()
    torch.nn.init.zeros_(alignment.prediction_block[-2].weight)
    torch.nn.init.zeros_(alignment.prediction_block[-2].bias)
    with torch.inference_mode():
        points = alignment.points(alignment.seen(torch.randn(2, PLAN.frames, PLAN.grid**2, PLAN.width)))
    assert points.shape == (2, PLAN.frames - 1, 2, 2)
    assert not points.any()


def test_no_point_lies_beyond_three_quarters() -> None:
    alignment = _ila.Alignment(PLAN).eval()
    torch.nn.init.constant_(alignment.prediction_block[-2].bias, 100.0)
    with torch.inference_mode():
        points = alignment.points(alignment.seen(torch.randn(1, PLAN.frames, PLAN.grid**2, PLAN.width)))
    np.testing.assert_allclose(points, 0.75)


# -------------------------------------------------------------------------------------------------------- what is seen


def test_the_order_of_frames_matters(plan: Plan) -> None:
    made = towers_ila.network(plan)
    clip = torch.randn(1, plan.frames, 3, plan.side, plan.side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        forth, back = made.sight()(torch.cat([clip, clip.flip(1)]))
        frames = made.visual(torch.cat([clip, clip.flip(1)]))
    assert (forth - back).abs().max() > 10 * SAME
    assert (frames[0] - frames[1].flip(0)).abs().max() > 10 * SAME  # even before frames are brought together


def test_a_stretch_does_not_depend_on_its_neighbours(folder: Path) -> None:
    found = built(folder)
    several = [stretch(9), stretch(1, 1, 40), stretch(4, 2, 50), Stretch(towers.frames(0, 8, 8), np.zeros((0, 2)))]
    together = found.encode_clips(several)
    assert [len(tokens) for tokens in together] == [5, 1, 2, 0]
    for one, tokens in zip(several, together, strict=True):
        alone = found.encode_clips([one])[0]
        np.testing.assert_allclose(alone.rows, tokens.rows, atol=SAME)
        np.testing.assert_array_equal(alone.spans, tokens.spans)
        assert alone.labels == tokens.labels


def test_tokens_cover_their_stretch(folder: Path) -> None:
    tokens = built(folder).encode_clips([stretch(9, start=100)])[0]
    assert tokens.rows.shape == (5, fakes.DIMENSION)
    assert tokens.rows.dtype == tokens.norms.dtype == np.float32
    assert tokens.spans[0, 0] == 100
    assert tokens.spans[-1, 1] == 109
    np.testing.assert_array_equal(tokens.spans[1:, 0], tokens.spans[:-1, 1])
    np.testing.assert_allclose(np.linalg.norm(tokens.rows, axis=1), 1, atol=SAME)


@pytest.mark.parametrize("size", [(32, 32), (40, 71), (97, 31), (1, 1), (3, 300)])
def test_frames_of_every_size_are_seen(folder: Path, size: tuple[int, int]) -> None:
    (tokens,) = built(folder).encode_clips([Stretch(towers.frames(2, *size), towers.seconds(2))])
    assert np.isfinite(tokens.rows).all()


def test_a_still_is_a_clip_in_which_nothing_moves(folder: Path) -> None:
    found, frames = built(folder), towers.frames(1, 50, 70)
    (tokens,) = found.encode_clips([Stretch(frames, np.array([[0.0, 1.0]]))])
    asked = found.encode_query(Picture(frames[0]))
    assert asked is not None
    np.testing.assert_allclose(asked, tokens.rows[0], atol=SAME)


def test_bfloat16_is_near(folder: Path) -> None:
    exact, rough = (built(folder, precision=name).encode_clips([stretch(6)])[0] for name in ("fp32", "bf16"))
    assert cosines(exact.rows, rough.rows).min() > 0.99  # of what a bridge makes of logits that are 1 % off


# ---------------------------------------------------------------------------------------------------- classes and texts


def test_it_knows_who_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ila, "network", lambda published: pytest.fail("built the network"))
    found = built(folder)
    assert found.space.name == "ila→hashing"
    assert found.space.modality == found.modality == Modality.VISION
    assert found.space.query_side == f"hashing:{fakes.HashingSentences.digest[:12]}"
    assert found.space.dimension == found.texts.dimension == fakes.DIMENSION
    assert found.space.media_side == f"ila→hashing:{found.digest[:12]}"
    assert found.model == str(folder)
    assert found.side == 32


def test_it_is_asked_in_words_and_not_in_sound(folder: Path) -> None:
    found = built(folder)
    np.testing.assert_array_equal(
        found.encode_query(Text("holding it")), fakes.HashingSentences().encode(["holding it"])[0]
    )
    assert found.encode_query(Sound(np.zeros(100, np.float32), 48_000)) is None


def test_the_name_of_what_is_seen_is_the_nearest(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        made: Any = towers_ila.network()
        torch.nn.init.constant_(made.mit.classify_head[2].bias, 0.0)
        made.mit.classify_head[2].bias.data[number] = 20.0
        towers_ila.folder(tmp_path / str(number), made=made)
        found = built(tmp_path / str(number))
        tokens = found.encode_clips([stretch(4)])[0]
        assert set(tokens.labels) == {(name,)}
        likeness = found.texts.encode(NAMES) @ tokens.rows.T
        assert (likeness.argmax(axis=0) == number).all()


def test_names_may_stand_a_line_each(folder: Path, tmp_path: Path) -> None:
    towers_ila.folder(tmp_path)
    wanted = built(folder).encode_clips([stretch(3)])[0]
    (tmp_path / LABELS).unlink()
    (tmp_path / "labels.txt").write_text("\n".join(NAMES) + "\n\n")
    found = built(tmp_path)
    assert found.encode_clips([stretch(3)])[0].labels == wanted.labels
    assert found.digest != built(folder).digest


def test_a_table_may_be_in_any_order(folder: Path, tmp_path: Path) -> None:
    towers_ila.folder(tmp_path)
    rows = [f'{number},"{name}"' for number, name in enumerate(NAMES)]
    (tmp_path / LABELS).write_bytes("\r\n".join(["﻿id,name", *reversed(rows)]).encode())
    wanted = built(folder).encode_clips([stretch(3)])[0]
    assert built(tmp_path).encode_clips([stretch(3)])[0].labels == wanted.labels


def test_other_names_are_another_space(folder: Path, tmp_path: Path) -> None:
    towers_ila.folder(tmp_path)
    (tmp_path / LABELS).write_text("id,name\n0,running\n1,jumping\n2,swimming\n")
    found = built(tmp_path)
    assert found.space.id != built(folder).space.id
    assert set(found.encode_clips([stretch(3)])[0].labels[0]) <= {"running", "jumping", "swimming"}


def test_with_a_text_tower_it_has_a_space_of_its_own(kinetics: Path) -> None:
    found = built(kinetics)
    assert (found.space.name, found.texts.name, found.space.dimension) == ("ila", "ila", KINETICS.dimension)
    assert found.space.query_side == found.space.media_side == f"ila:{found.digest[:12]}"
    assert found.texts.digest == found.digest
    asked = found.texts.encode(["a dog plays", "", "x" * 500, "half a pair \udcff"])
    np.testing.assert_allclose(np.linalg.norm(asked, axis=1), 1, atol=SAME)
    np.testing.assert_allclose(found.texts.encode(["a dog plays"])[0], asked[0], atol=SAME)
    (tokens,) = found.encode_clips([stretch(4)])
    assert tokens.rows.shape == (2, KINETICS.dimension)
    assert tokens.labels == ()
    np.testing.assert_allclose(found.encode_query(Text("a dog plays")), asked[0], atol=SAME)


# --------------------------------------------------------------------------------------------------------- conversion


def test_openvino_answers_as_torch_does(plan: Plan, folder: Path, kinetics: Path) -> None:
    place = folder if plan.classes else kinetics
    found, slow = built(place, runtime="auto"), built(place)
    several = [stretch(11), stretch(1, 1)]
    for ours, wanted in zip(found.encode_clips(several), slow.encode_clips(several), strict=True):
        assert cosines(ours.rows, wanted.rows).min() > 1 - SAME
    assert isinstance(found._towers._sense, Graph)
    if not plan.classes:  # texts go on after the media tower was let go
        np.testing.assert_allclose(found.texts.encode(["a dog"]), slow.texts.encode(["a dog"]), atol=SAME)


def test_where_openvino_cannot_torch_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*of: object) -> None:
        raise RuntimeError("no such operation\nand more")

    monkeypatch.setattr("encoders._converted._traced", broken)
    assert len(built(folder, runtime="auto").encode_clips([stretch(4)])[0]) == 2
    assert "OpenVINO cannot run this model (no such operation): torch does" in caplog.text


@pytest.mark.parametrize("precision", ["fp32", "auto", "fp16"])
def test_a_gpu_answers_as_the_cpu_does(folder: Path, kinetics: Path, precision: str) -> None:
    here("cuda")
    for place in (folder, kinetics):
        gpu, cpu = built(place, device="cuda", precision=precision), built(place)
        wanted = cpu.encode_clips([stretch(9)])[0].rows
        assert cosines(gpu.encode_clips([stretch(9)])[0].rows, wanted).min() > 0.99
        assert cosines(gpu.texts.encode(["a dog"]), cpu.texts.encode(["a dog"])).min() > 0.999
        assert gpu.space == cpu.space


# --------------------------------------------------------------------------------------------------------------- forms


def test_every_form_of_a_checkpoint_answers_alike(folder: Path, tmp_path: Path) -> None:
    wanted = built(folder).encode_clips([stretch(4)])[0]
    state: dict[str, torch.Tensor] = torch.load(folder / FILE, weights_only=True)["model"]
    (tmp_path / LABELS).write_text((folder / LABELS).read_text())
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "several.pt")
    torch.save(state, tmp_path / "bare.bin")
    save_file(state, tmp_path / "plain.safetensors")
    texts = {name: value for name, value in towers_ila.network(KINETICS).state_dict().items() if "mit" not in name}
    unused = {name: value for name, value in texts.items() if not name.startswith("visual")}
    torch.save({"model": {**unused, "logit_scale": torch.ones(()), **state}}, tmp_path / "whole.pth")
    for file in ("several.pt", "bare.bin", "plain.safetensors", "whole.pth"):
        tokens = built(tmp_path / file).encode_clips([stretch(4)])[0]
        np.testing.assert_allclose(tokens.rows, wanted.rows, atol=SAME, err_msg=file)
        assert tokens.labels == wanted.labels


def test_prompts_after_a_look_at_the_clip_are_left_out(kinetics: Path, tmp_path: Path) -> None:
    state = torch.load(kinetics / FILE, weights_only=True)["model"]
    prompts = {"prompts_generator.alpha": torch.ones(64), "prompts_visual_ln.bias": torch.ones(64)}
    torch.save({"model": {**state, **prompts, "prompts_visual_proj": torch.ones(64, 64)}}, tmp_path / "with.pth")
    np.testing.assert_array_equal(
        built(tmp_path / "with.pth").encode_clips([stretch(3)])[0].rows,
        built(kinetics).encode_clips([stretch(3)])[0].rows,
    )


def test_own_weights_stand_beside_a_folder(folder: Path, tmp_path: Path) -> None:
    towers_ila.save(towers_ila.network(seed=1), tmp_path / "mine.pth")
    mine = ila.build(fakes.HashingSentences(), str(folder), str(tmp_path / "mine.pth"), device="cpu", runtime="torch")
    assert mine.digest != built(folder).digest
    ours, theirs = (one.encode_clips([stretch(2)])[0].probabilities for one in (mine, built(folder)))
    assert abs(ours - theirs).max() > 0.01


# ----------------------------------------------------------------------------------------------------------- bad input


def refusal(kind: type[Exception], folder: Path) -> str:
    with pytest.raises(kind) as caught:
        built(folder).encode_clips([stretch(1)])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def test_without_names_a_classifier_is_refused(tmp_path: Path) -> None:
    towers_ila.folder(tmp_path)
    (tmp_path / LABELS).unlink()
    said = refusal(MissingWeights, tmp_path)
    assert f"has no labels.csv or labels.txt: wanted the names of the 3 classes of {FILE}" in said


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (LABELS, b"id,name\n0,one\n1,two\n", "names 2 classes, the classifier in best.pth has 3"),
        (LABELS, b"0,one\n1,two\n2,three\n", "the header is not id,name"),
        (LABELS, b"", "the header is not id,name"),
        (LABELS, b"id,name\n0,one\n1,two\n1,three\n", "the ids are not 0 to 2, each once"),
        (LABELS, b"id,name\n0,one\nx,two\n2,three\n", "cannot be read"),
        (LABELS, b"id,name\n0,one\n1\n2,three\n", "a class has no name"),
        (LABELS, b"id,name\n0,\xff\n", "cannot be read"),
        ("labels.txt", b"one\ntwo\nthree\nfour\n", "names 4 classes, the classifier in best.pth has 3"),
        ("labels.txt", b"one\n\nthree\n", "a class has no name"),
    ],
)
def test_names_that_are_none_are_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    towers_ila.folder(tmp_path)
    (tmp_path / LABELS).unlink()
    (tmp_path / name).write_bytes(content)
    refused = refusal(WrongCheckpoint, tmp_path)
    assert said in refused
    assert name in refused


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"visual.conv1.weight": None}, "it wants a weight visual.conv1.weight of 4 dimensions and has none"),
        ({"visual.proj": torch.ones(3)}, "it wants a weight visual.proj of 2 dimensions and has one of 3"),
        ({"mit.positional_embedding": torch.ones(1, 1, 128)}, "frames 1, wanted 2 or more"),
        ({"mit.classify_head.2.weight": torch.ones(1, 128)}, "classes 1, wanted 2 or more"),
        ({"mit.classify_head.2.weight": None}, "it wants a weight positional_embedding of 2 dimensions and has none"),
        ({"mit.classify_head.2.bias": None}, "it wants a weight mit.classify_head.2.bias"),
        ({"visual.positional_embedding": torch.ones(16, 128)}, "places 16, wanted one more than a square"),
        ({"visual.positional_embedding": torch.ones(5, 128)}, "places 5, wanted one more than a square of 16 up"),
        ({"visual.conv1.weight": torch.ones(100, 3, 8, 8)}, "width 100, wanted a multiple of 64"),
        ({"mit.classify_head.2.weight": torch.zeros(3, 128)}, "has a classifier of zeros or of no numbers"),
        ({"mit.classify_head.2.bias": torch.full((3,), torch.nan)}, "has a classifier of zeros or of no numbers"),
        ({"visual.ln_pre.bias": None}, "is of another architecture than ILA: it lacks visual.ln_pre.bias"),
        ({"visual.colour": torch.ones(3)}, "it has visual.colour besides"),
        ({"visual.proj": torch.ones(128, 64)}, "is of another architecture than ILA: its mit."),
        (
            {"visual.transformer.resblocks.1.message_attn.fc.weight": torch.ones(128, 64)},
            "its visual.transformer.resblocks.1.message_attn.fc.weight is 128×64, wanted 128×128",
        ),
    ],
)
def test_another_architecture_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    towers_ila.folder(tmp_path)
    state = torch.load(tmp_path / FILE, weights_only=True)["model"] | change
    torch.save({name: value for name, value in state.items() if value is not None}, tmp_path / FILE)
    assert said in refusal(WrongCheckpoint, tmp_path)


def test_a_tower_of_texts_with_other_words_is_refused(tmp_path: Path) -> None:
    towers_ila.folder(tmp_path, KINETICS)
    state = torch.load(tmp_path / FILE, weights_only=True)["model"]
    torch.save(state | {"token_embedding.weight": torch.ones(100, 128)}, tmp_path / FILE)
    assert "words 100, wanted the 49408 of CLIP's tokenizer" in refusal(WrongCheckpoint, tmp_path)


def test_what_is_no_checkpoint_is_named(folder: Path, tmp_path: Path) -> None:
    whole = (folder / FILE).read_bytes()
    for name, content in (("torn.pth", whole[: len(whole) // 2]), ("text.pt", b"hello"), ("empty.bin", b"")):
        (tmp_path / name).write_bytes(content)
        assert name in refusal(WrongCheckpoint, tmp_path / name)
    towers.openclip_folder(tmp_path / "clip", towers.CLIP)
    said = refusal(WrongCheckpoint, tmp_path / "clip")
    assert "is not of ILA: it wants a weight mit.positional_embedding" in said


def test_the_same_weights_are_read_back(plan: Plan, tmp_path: Path) -> None:
    wanted = towers_ila.folder(tmp_path, plan).state_dict()
    found: Any = built(tmp_path)
    read = found._towers.read_network().state_dict()
    assert read.keys() == wanted.keys()
    for name, value in read.items():
        np.testing.assert_array_equal(value, wanted[name])
    assert isinstance(found._towers, _towers.Towers)
