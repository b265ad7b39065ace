"""The networks that are built by hand against the ones that their weights come from."""

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import onnxruntime
import pytest

from encoders import _efficientnet, _yamnet
from encoders._graphs import compiled, kept
from encoders._weights import CONCEPTS, SOUNDEVENTS
from encoders.concepts import CHECKPOINT, class_texts
from encoders.soundevents import class_texts as sound_texts

AUDIO_SCALE, AUDIO_ZERO = 0.047937885, 144  # of the 8-bit file: its initializers audio_scale and audio_zero_point


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of libraries that are not ours
def test_timm_agrees_on_efficientnet() -> None:
    import timm
    import torch

    file = CONCEPTS.path(CHECKPOINT)
    theirs = timm.create_model("tf_efficientnet_lite2").eval()
    arrays = torch.load(file, map_location="cpu", weights_only=True).values()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), arrays, strict=True)))
    pictures = np.random.default_rng(0).normal(size=(2, 3, 260, 260)).astype(np.float32)
    with torch.inference_mode():
        wanted = theirs(torch.from_numpy(pictures)).numpy()
    np.testing.assert_allclose(
        compiled(_efficientnet.graph(_efficientnet.read_weights(file)))(pictures)[0], wanted, atol=1e-3
    )


def test_yamnet_hears_what_its_8_bit_file_hears(tmp_path: Path) -> None:
    """Not the same numbers, since that file rounds between the layers, but nearly the same order of classes."""
    file = SOUNDEVENTS.path("data/YamNet_w8a8.onnx.zip")
    with ZipFile(file) as archive:
        for name in archive.namelist():
            if name.endswith((".onnx", ".data")):
                (tmp_path / Path(name).name).write_bytes(archive.read(name))
    theirs = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    patches = rng.normal(-3, 1, (6, 96, 64)) + 3 * np.sin(np.arange(96) / 9 * np.arange(1, 7)[:, None])[:, :, None]
    quantised = np.clip(np.round(patches / AUDIO_SCALE + AUDIO_ZERO), 0, 255).astype(np.uint8)
    weights = kept("yamnet", f"{SOUNDEVENTS.digest} 1", lambda: _yamnet.read_weights(file))
    ours = compiled(_yamnet.graph(weights))(patches.astype(np.float32))[0]
    for row, patch in zip(ours, quantised, strict=True):
        wanted = theirs.run(None, {"audio": patch[None, None]})[0][0].astype(np.float32)
        assert np.corrcoef(row, wanted)[0, 1] > 0.9


@pytest.mark.parametrize(("texts", "count"), [(class_texts, 1000), (sound_texts, 521)])
def test_every_class_has_its_words(texts: object, count: int) -> None:
    said = texts()  # type: ignore[operator]
    assert len(said.names) == count
    assert all(len(prompt) == count for prompt in said.prompts)
    assert all(name.strip() == name != "" and "\n" not in name for name in said.names)
