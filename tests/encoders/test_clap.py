"""CLAP's towers through our encoder: what transformers answers for the same window, on the media's own clock."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import towers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import AutoTokenizer, ClapFeatureExtractor

from encoders import _clap, _towers, clap
from encoders.clap import HOP, Clap, build
from retriever.errors import DeviceError, MissingWeights, WrongCheckpoint
from retriever.types import Modality, Picture, Sound, Text, Tokens

SAME = 1e-5
RATE = 48_000
WINDOW = 10 * RATE
CPU = torch.device("cpu")
QUESTIONS = ["a dog plays", "music in the rain", "", "speech"]


class Made:
    """A model of the library, its folder, and its feature extractor."""

    def __init__(self, folder: Path, *, fused: bool) -> None:
        self.folder = folder
        self.model: Any = towers.clap_folder(folder, fused=fused)
        self.extractor = ClapFeatureExtractor.from_pretrained(folder)

    def heard(self, samples: np.ndarray) -> np.ndarray:
        """The library's own row for one sound."""
        said = self.extractor(samples, sampling_rate=RATE, return_tensors="pt")
        with torch.inference_mode():
            rows: np.ndarray = self.model.get_audio_features(**said).pooler_output.numpy()
        return rows[0]


@pytest.fixture(scope="module", params=[False, True], ids=["unfused", "fused"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("clap") / "model", fused=request.param)


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def found(request: pytest.FixtureRequest, made: Made) -> Clap:
    """Through OpenVINO on a CPU."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device: the towers run on the CPU only")
    return build(str(made.folder), device=request.param, precision="fp32")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("clap") / "plain", fused=False)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversion takes seconds; where it makes no difference it is left out."""
    monkeypatch.setattr(_towers, "converted", lambda module, shape, dtype: module)


def hum(length: float, start: float = 0.0) -> Sound:
    """Tones that come and go, over some noise; the sample at one time is the same whatever `start` is."""
    first = round(start * RATE)
    times = np.arange(first, first + round(length * RATE)) / RATE
    rough = np.random.default_rng(0).normal(size=60 * RATE)[first : first + len(times)]
    tones = np.sin(2 * np.pi * 440 * times) * (np.sin(times) > 0) + np.sin(2 * np.pi * 1800 * times * (1 + times % 1))
    return Sound((0.2 * tones + 0.02 * rough).astype(np.float32), RATE, start)


# -------------------------------------------------------------------------------------------------------------- parity


@pytest.mark.parametrize("length", [10.0, 9.99, 4.0, 3.3, 0.5, 0.02])
def test_a_sound_is_heard_as_the_library_does(made: Made, found: Clap, length: float) -> None:
    sound = hum(length, start=1.0)
    asked = found.encode_query(sound)
    assert asked is not None
    assert asked @ made.heard(sound.samples) > 0.999


@pytest.mark.parametrize("number", [0, 1, 4, 7])
def test_a_token_is_the_librarys_row_for_its_window(made: Made, found: Clap, number: int) -> None:
    sound = hum(16)
    middle = number * HOP * RATE + HOP * RATE // 2
    window = sound.samples[max(0, middle - WINDOW // 2) : middle + WINDOW // 2]
    assert found.encode_sound(sound).rows[number] @ made.heard(window) > 0.999


@pytest.mark.parametrize("samples", [WINDOW, 100_000, 700], ids=str)
def test_features_are_the_librarys(made: Made, samples: int) -> None:
    wave = hum(10).samples[:samples]
    ear = _clap.tower(towers.files(made.folder)).ear
    theirs = made.extractor(wave, sampling_rate=RATE, return_tensors="np")["input_features"]
    ours = ear.features(ear.filled(wave)[None], CPU).numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
def test_short_sounds_are_filled_by_the_models_own_rule(plain: Made, tmp_path: Path, padding: str) -> None:
    plain.model.save_pretrained(tmp_path)
    extractor = ClapFeatureExtractor(truncation="rand_trunc", padding=padding)
    extractor.save_pretrained(tmp_path)
    wave = hum(3.7).samples
    theirs = extractor(wave, sampling_rate=RATE, return_tensors="np")["input_features"]
    ear = _clap.tower(towers.files(tmp_path)).ear
    np.testing.assert_allclose(ear.features(ear.filled(wave)[None], CPU), theirs, atol=1e-3)


def test_texts_are_encoded_as_the_library_does(made: Made) -> None:
    tokenize = AutoTokenizer.from_pretrained(made.folder)
    with torch.inference_mode():
        said = tokenize(QUESTIONS, padding=True, return_tensors="pt")
        theirs = made.model.get_text_features(said["input_ids"], said["attention_mask"]).pooler_output.numpy()
    np.testing.assert_allclose(build(str(made.folder), device="cpu").texts.encode(QUESTIONS), theirs, atol=SAME)


def test_a_long_text_counts_up_to_what_the_model_takes(made: Made) -> None:
    texts = build(str(made.folder), device="cpu").texts
    first = "dog " * 36  # of 40 places, two are the tokenizer's and two RoBERTa's
    np.testing.assert_allclose(texts.encode([first + "rain"]), texts.encode([first + "music " * 500]), atol=SAME)


def test_a_long_sound_asks_as_the_mean_of_its_windows(found: Clap) -> None:
    sound = hum(25)
    rows = [found.encode_query(Sound(sound.samples[at : at + WINDOW], RATE)) for at in (0, WINDOW, 15 * RATE)]
    mean = np.mean([row for row in rows if row is not None], axis=0)
    asked = found.encode_query(sound)
    assert asked is not None
    np.testing.assert_allclose(asked, mean / np.linalg.norm(mean), atol=SAME)


# ----------------------------------------------------------------------------------------------------------- contracts


@pytest.mark.parametrize("length", [0.001, 0.3, 2.0, 7.3])
@pytest.mark.parametrize("start", [0.0, 0.31, 1234.5])
def test_sound_is_covered_by_tokens_in_order(found: Clap, length: float, start: float) -> None:
    heard = Sound(hum(length).samples, RATE, start)
    tokens = found.encode_sound(heard)
    assert tokens.rows.shape == (len(tokens), found.space.dimension)
    assert tokens.rows.dtype == tokens.norms.dtype == np.float32
    assert (tokens.norms > 0).all()
    np.testing.assert_allclose(np.linalg.norm(tokens.rows, axis=1), 1, atol=SAME)
    assert tokens.spans[0, 0] == pytest.approx(start)
    assert tokens.spans[-1, 1] == pytest.approx(start + heard.length)
    assert (np.diff(tokens.spans, axis=1) > 0).all()
    np.testing.assert_allclose(tokens.spans[1:, 0], tokens.spans[:-1, 1])


@pytest.fixture(scope="module")
def whole(found: Clap) -> Tokens:
    """All of a sound of 30 s, encoded in one go."""
    return found.encode_sound(hum(30))


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 150), st.integers(20, 60))
def test_tokens_do_not_depend_on_where_encoding_began(found: Clap, whole: Tokens, begin: int, length: int) -> None:
    start, end = begin / 10, (begin + length) / 10
    first = max(0.0, start - found.margin)
    part = found.encode_sound(hum(end + found.margin - first, first))
    inside = [(tokens.spans.mean(axis=1) >= start) & (tokens.spans.mean(axis=1) < end) for tokens in (part, whole)]
    np.testing.assert_allclose(part.spans[inside[0]], whole.spans[inside[1]], atol=1e-9)
    np.testing.assert_allclose(part.rows[inside[0]], whole.rows[inside[1]], atol=SAME)


def test_every_segment_of_two_seconds_has_a_token(found: Clap) -> None:
    middles = found.encode_sound(hum(9)).spans.mean(axis=1)
    for start in np.arange(0, 6.9, 0.3):
        assert ((middles >= start) & (middles < start + 2)).any()


def test_a_sound_is_streamed_in_batches(found: Clap, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = found.encode_sound(hum(14))
    monkeypatch.setattr(clap, "STREAM", 3)
    np.testing.assert_allclose(found.encode_sound(hum(14)).rows, wanted.rows, atol=SAME)


def test_silence_is_a_token_too(found: Clap) -> None:
    tokens = found.encode_sound(Sound(np.zeros(3 * RATE, np.float32), RATE))
    np.testing.assert_allclose(np.linalg.norm(tokens.rows, axis=1), 1, atol=SAME)


def test_nothing_gives_nothing(found: Clap) -> None:
    nothing = Sound(np.zeros(0, np.float32), RATE, 3.0)
    assert len(found.encode_sound(nothing)) == 0
    assert found.encode_query(nothing) is None
    assert found.texts.encode([]).shape == (0, found.space.dimension)


def test_another_rate_is_refused(found: Clap) -> None:
    other = Sound(np.zeros(100, np.float32), 44_100)
    for ask in (found.encode_sound, found.encode_query):
        with pytest.raises(ValueError, match="clap hears 48000 samples a second, got 44100"):
            ask(other)


def test_it_is_asked_in_words_and_not_in_pictures(found: Clap) -> None:
    asked = found.encode_query(Text("a dog"))
    assert asked is not None
    np.testing.assert_allclose(asked, found.texts.encode(["a dog"])[0], atol=SAME)
    assert found.encode_query(Picture(np.zeros((8, 8, 3), np.uint8))) is None


@pytest.mark.parametrize("text", ["", " ", "half a pair \udcff", "🦜", "\0", "x" * 5_000])
def test_no_text_breaks_it(found: Clap, text: str) -> None:
    assert np.linalg.norm(found.texts.encode([text])[0]) == pytest.approx(1, abs=SAME)


def test_a_sentence_does_not_depend_on_its_neighbours(found: Clap) -> None:
    together = found.texts.encode([*QUESTIONS, "dog " * 100] * 4)
    for place in (0, 4, 19):
        alone = found.texts.encode([[*QUESTIONS, "dog " * 100][place % 5]])
        np.testing.assert_allclose(alone[0], together[place], atol=SAME)


def test_the_space_names_both_sides(found: Clap) -> None:
    assert found.space.modality == found.modality == Modality.SOUND
    assert found.texts.name == "clap"
    assert len(found.texts.digest) == 64
    assert found.space.query_side == found.space.media_side == f"clap:{found.texts.digest[:12]}"
    assert found.space.dimension == found.texts.dimension == 24
    assert (found.rate, found.margin) == (RATE, 5.0)


def test_who_it_is_is_known_before_weights_are_read(plain: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_clap, "network", lambda tower: pytest.fail("read the weights"))
    assert len(build(str(plain.folder), device="cpu").texts.digest) == 64


@pytest.mark.usefixtures("eager")
def test_where_memory_runs_out_batches_are_halved(plain: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = build(str(plain.folder), device="cpu").encode_sound(hum(12))
    own = clap._Hearing.forward

    def small(self: Any, features: torch.Tensor) -> torch.Tensor:
        if len(features) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return own(self, features)

    monkeypatch.setattr(clap._Hearing, "forward", small)
    tokens = build(str(plain.folder), device="cpu").encode_sound(hum(12))
    np.testing.assert_allclose(tokens.rows, wanted.rows, atol=SAME)


def test_numbers_that_overflow_are_said(plain: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_towers, "converted", lambda module, *of: lambda x: torch.full((len(x), 24), torch.nan))
    with pytest.raises(DeviceError, match=r"overflows in torch\.float32: take --precision bf16 or fp32"):
        build(str(plain.folder), device="cpu").encode_sound(hum(1))


# --------------------------------------------------------------------------------------------------------------- forms


def as_laion(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights under laion_clap's names, with what else stands in its files."""
    told: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if ".attention.self.query." in key:
            parts = [state[key.replace("query", part)] for part in ("query", "key", "value")]
            told[laion_name(key).replace(".query.", ".qkv.")] = torch.cat(parts)
        elif not (".attention.self.key." in key or ".attention.self.value." in key) or key.startswith("text_model"):
            told[laion_name(key)] = value
    told |= {"audio_branch.tscam_conv.weight": torch.zeros(3), "text_transform.sequential.0.weight": torch.zeros(2)}
    told |= {
        "audio_branch.spectrogram_extractor.stft.conv_real.weight": torch.zeros(2),
        "logit_scale_a": torch.ones(()),
    }
    return {f"module.{key}": value for key, value in told.items()}


def laion_name(key: str) -> str:
    pairs = [("text_model.", "text_branch."), ("audio_model.audio_encoder.", "audio_branch."), ("batch_norm.", "bn0.")]
    if key.startswith("audio_model"):
        pairs += [
            ("attention.output.dense", "attn.proj"),
            ("attention.self", "attn"),
            ("intermediate.dense", "mlp.fc1"),
        ]
        pairs += [("output.dense", "mlp.fc2"), ("layernorm_before", "norm1"), ("layernorm_after", "norm2")]
    pairs += [("projection.linear1", "projection.0"), ("projection.linear2", "projection.2")]
    for after, before in pairs:
        key = key.replace(after, before)
    return key


def saved(model: Any, folder: Path) -> Iterator[Path]:
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "plain.safetensors")
    torch.save(state, folder / "plain.pt")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, folder / "several.bin")
    counted = {key: value for key, value in state.items() if not key.endswith(("position_ids", "token_type_ids"))}
    torch.save(
        {key: value for key, value in counted.items() if "relative_position_index" not in key}, folder / "new.pt"
    )
    torch.save({"epoch": 3, "state_dict": as_laion(state)}, folder / "laion.pt")
    yield from sorted(folder.iterdir())


@pytest.mark.usefixtures("eager")
def test_every_form_of_weights_answers_alike(made: Made, tmp_path: Path) -> None:
    first = build(str(made.folder), device="cpu")
    wanted = first.encode_sound(hum(3)).rows, first.texts.encode(QUESTIONS)
    digests = set()
    for file in saved(made.model, tmp_path):
        other = build(str(made.folder), str(file), device="cpu")
        np.testing.assert_allclose(other.encode_sound(hum(3)).rows, wanted[0], atol=SAME, err_msg=file.name)
        np.testing.assert_allclose(other.texts.encode(QUESTIONS), wanted[1], atol=SAME, err_msg=file.name)
        digests.add(other.texts.digest)
    assert len(digests) == 5


def test_without_a_feature_extractors_file_the_librarys_settings_hold(made: Made, tmp_path: Path) -> None:
    made.model.save_pretrained(tmp_path)
    assert str(_clap.tower(towers.files(tmp_path)).ear) == str(_clap.tower(towers.files(made.folder)).ear)


# ----------------------------------------------------------------------------------------------------------- bad input


def refusal(folder: Path, file: Path) -> str:
    with pytest.raises(WrongCheckpoint) as caught:
        build(str(folder), str(file), device="cpu").texts.encode(["a dog"])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_of_another_architecture_are_named(plain: Made, tmp_path: Path) -> None:
    other = towers.clap_model(fused=True)
    save_file({key: value.contiguous() for key, value in other.state_dict().items()}, tmp_path / "other.safetensors")
    said = refusal(plain.folder, tmp_path / "other.safetensors")
    assert "is of another architecture than" in said
    assert "it has audio_model.audio_encoder.patch_embed.fusion_model." in said
    assert len(said) < 700


def test_weights_of_another_size_are_named(plain: Made, tmp_path: Path) -> None:
    state = dict(plain.model.state_dict())
    state["text_projection.linear2.weight"] = torch.zeros(30, 24)
    torch.save(state, tmp_path / "other.pt")
    assert "its text_projection.linear2.weight is 30×24, wanted 24×24" in refusal(plain.folder, tmp_path / "other.pt")


def test_weights_that_cannot_be_read_are_named(plain: Made, tmp_path: Path) -> None:
    for name, content in (("cut.safetensors", b"\x08\0\0"), ("text.pt", b"hello")):
        (tmp_path / name).write_bytes(content)
        assert name in refusal(plain.folder, tmp_path / name)


@pytest.mark.parametrize("page", ["{", "[]", '{"model_type": "bert"}', '{"model_type": "clap", "audio_config": 3}'])
def test_a_configuration_that_is_none_is_named(tmp_path: Path, page: str) -> None:
    towers.clap_folder(tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text(page)
    with pytest.raises(WrongCheckpoint, match=r"config\.json is none of a CLAP model") as caught:
        build(str(tmp_path / "m"), device="cpu")
    assert "\n" not in str(caught.value)


def test_a_feature_extractor_of_the_other_kind_is_named(tmp_path: Path) -> None:
    towers.clap_folder(tmp_path / "m")
    file = tmp_path / "m" / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"truncation": "fusion"}))
    with pytest.raises(WrongCheckpoint, match=r"enable_fusion is False, but .* says truncation 'fusion'"):
        build(str(tmp_path / "m"), device="cpu")


def test_a_missing_tokenizer_is_asked_for(tmp_path: Path) -> None:
    towers.clap_folder(tmp_path / "m")
    for file in (tmp_path / "m").glob("*token*"):
        file.unlink()
    with pytest.raises(MissingWeights, match=r"has no tokenizer beside it") as caught:
        build(str(tmp_path / "m"), device="cpu").texts.encode(["a dog"])
    assert "\n" not in str(caught.value)


def test_who_it_is_does_not_depend_on_versions_of_libraries(plain: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build(str(plain.folder), device="cpu").space
    monkeypatch.setattr("transformers.configuration_utils.__version__", "6.0.0")
    assert build(str(plain.folder), device="cpu").space == before
