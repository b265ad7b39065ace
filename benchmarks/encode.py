"""How fast pictures, sounds and questions are encoded, and where the time goes.

    python benchmarks/encode.py              # pictures and sounds
    python benchmarks/encode.py pictures     # one of: pictures, sounds

ViT-B/32 of open_clip and CLAP's HTSAT-tiny, with random weights: they take as long as trained ones.  The plain loop is
the library's own: PIL (or the feature extractor) one by one, then torch in float32, 16 at a time.  All that is compared
runs by turns in one process.  Where a GPU is, a table by batch size follows; none has been run on one yet.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import open_clip
import torch
from machine import Times, by_turns, describe, peak_megabytes, ratio, timed
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

from encoders import clap, openclip
from retriever.types import Sound

ARCHITECTURE = "ViT-B-32"
RUNS = 5
BATCH = 16  # of the plain loop
FRAMES = 32
SIZE = (224, 398)  # a wide frame as the decoder gives it, its shorter side fitted
LARGE = (720, 1280)  # and as it lies in the file
LENGTH = 40  # seconds of sound
PLAINEST = "cpu fp32 openvino"
QUESTION = "a dog catches a frisbee"
GPU_BATCHES = (1, 4, 16, 64, 256)


def pictures_folder(folder: Path) -> Any:
    """The model, saved as on the hub."""
    config = open_clip.get_model_config(ARCHITECTURE)
    model = open_clip.CLIP(**config).eval()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return model


def sounds_folder(folder: Path) -> Any:
    """The model, saved as on the hub, with a tokenizer of a few words."""
    model = ClapModel(ClapConfig()).eval()
    model.save_pretrained(folder)
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    words = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *QUESTION.split()])}
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", unk_token="<unk>").save_pretrained(str(folder))
    return model


def picture_loop(model: Any, frames: np.ndarray) -> Callable[[], object]:
    own = open_clip.image_transform(model.visual.image_size, is_train=False)

    def run() -> None:
        with torch.inference_mode():
            for first in range(0, len(frames), BATCH):
                few = frames[first : first + BATCH]
                model.encode_image(torch.stack([own(Image.fromarray(frame)) for frame in few]))

    return run


def sound_loop(model: Any, wave: np.ndarray, rate: int) -> Callable[[], object]:
    extractor = ClapFeatureExtractor(truncation="rand_trunc")
    middles = range(rate, len(wave), clap.HOP * rate)
    windows = [wave[max(0, middle - 5 * rate) : middle + 5 * rate] for middle in middles]

    def run() -> None:
        with torch.inference_mode():
            for first in range(0, len(windows), BATCH):
                few = windows[first : first + BATCH]
                model.get_audio_features(**extractor(few, sampling_rate=rate, return_tensors="pt"))

    return run


def settings() -> Iterator[tuple[str, str, str]]:
    """Devices, precisions and runtimes that there are."""
    for precision in ("fp32", "bf16"):
        yield from (("cpu", precision, runtime) for runtime in ("openvino", "torch", "compile"))
    if torch.cuda.is_available():
        for precision in ("fp32", "bf16", "fp16"):
            yield from (("cuda", precision, runtime) for runtime in ("torch", "compile"))


def opened(build: Callable[..., Any], folder: Path, first: Callable[[Any], object]) -> dict[str, Any]:
    """The encoder in every setting, and how long it took to the first row; on OpenVINO a second time, from the graph
    that was kept."""
    made = {}
    for device, precision, runtime in settings():
        for again in ("", " again")[: 2 if runtime == "openvino" else 1]:
            begun = perf_counter()
            encoder = build(str(folder), device=device, precision=precision, runtime=runtime)
            known = perf_counter()
            encoder.texts.encode([QUESTION])
            read = perf_counter()
            first(encoder)
            name = f"{device} {precision} {runtime}"
            print(
                f"  {name + again:24s} known after {known - begun:.1f} s, first question {read - known:.1f} s, first "
                f"media {perf_counter() - read:.1f} s, peak memory so far {peak_megabytes():.0f} MB"
            )
        made[name] = encoder
    return made


def table(loop: Times, times: dict[str, Times], amount: float, unit: str) -> None:
    for name, one in {"plain loop": loop, **times}.items():
        print(f"  {name:24s} {amount / one.median:8.1f} {unit}   {ratio(loop, one):5.2f} x the plain loop")


def pictures(folder: Path) -> None:
    """ViT-B/32, pictures"""
    model = pictures_folder(folder)
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, *SIZE, 3)).astype(np.uint8)
    spans = np.stack([np.arange(FRAMES), np.arange(FRAMES) + 1], axis=1).astype(float)
    made = opened(openclip.build, folder, lambda encoder: encoder.encode_frames(frames[:1], spans[:1]))
    runs = {name: lambda encoder=encoder: encoder.encode_frames(frames, spans) for name, encoder in made.items()}
    tower, pixels = made[PLAINEST]._towers, torch.rand(BATCH, 3, 224, 224)
    with torch.inference_mode():
        loop, plain, converted, *rest = by_turns(
            [
                picture_loop(model, frames),
                lambda: model.encode_image(pixels),
                lambda: tower._sense(pixels),
                *runs.values(),
            ],
            RUNS,
        )
    table(loop, dict(zip(runs, rest, strict=True)), FRAMES, "pictures/s")
    print(f"  tower alone: OpenVINO {ratio(plain, converted):.2f} x torch, both fp32, {BATCH} at a time")
    setup = tower.tower.preprocessing
    for size in (SIZE, LARGE):
        some = np.zeros((BATCH, *size, 3), np.uint8)
        took = timed(lambda some=some: setup.pixels(some, torch.device("cpu"), torch.float32), RUNS)
        share = took.median / BATCH / (rest[0].median / FRAMES)
        print(f"  preprocessing of {size[1]}x{size[0]}: {1e3 * took.median / BATCH:.2f} ms, {share:.1%} of encoding")
    _questions(made)
    _by_batch(made, lambda encoder: encoder.encode_frames(frames, spans), FRAMES, "pictures/s")


def sounds(folder: Path) -> None:
    """CLAP, HTSAT-tiny, seconds of sound (a window of 10 s every 2 s)"""
    model = sounds_folder(folder)
    rate = 48_000
    wave = np.random.default_rng(0).normal(0, 0.1, LENGTH * rate).astype(np.float32)
    made = opened(clap.build, folder, lambda encoder: encoder.encode_sound(Sound(wave[:rate], rate)))
    runs = {name: lambda encoder=encoder: encoder.encode_sound(Sound(wave, rate)) for name, encoder in made.items()}
    loop, *rest = by_turns([sound_loop(model, wave, rate), *runs.values()], RUNS)
    table(loop, dict(zip(runs, rest, strict=True)), LENGTH, "s of sound/s")
    ear = made[PLAINEST]._towers.tower.ear
    windows = np.resize(wave, (4, ear.length))
    took = timed(lambda: ear.features(windows, torch.device("cpu")), RUNS).median / 4
    share = took / (rest[0].median / (LENGTH / clap.HOP))
    print(f"  spectrogram of a window: {1e3 * took:.1f} ms, {share:.1%} of encoding")
    _questions(made)
    _by_batch(made, lambda encoder: encoder.encode_sound(Sound(wave, rate)), LENGTH, "s of sound/s")


def _questions(made: dict[str, Any]) -> None:
    for name, encoder in made.items():
        print(f"  question, {name}: {timed(lambda encoder=encoder: encoder.texts.encode([QUESTION]), 20)}")


def _by_batch(made: dict[str, Any], run: Callable[[Any], object], amount: float, unit: str) -> None:
    """How a GPU scales; a CPU of a few cores does not."""
    for name, encoder in made.items():
        if "cuda" in name:
            for size in GPU_BATCHES:
                encoder._towers.batches.most = size
                took = timed(partial(run, encoder)).median
                print(f"  {name}, {size:3d} at a time: {amount / took:.1f} {unit}")


def main(names: Sequence[str]) -> None:
    print(describe())
    if torch.cuda.is_available():
        print(f"GPU: {torch.cuda.get_device_name()}")
    for work in (pictures, sounds):
        if not names or work.__name__ in names:
            print(f"\n{work.__doc__}")
            with tempfile.TemporaryDirectory() as folder:
                os.environ["REELSEEK_CACHE"] = str(Path(folder, "cache"))  # graphs of random weights are nobody's
                Path(folder, "model").mkdir()
                work(Path(folder, "model"))


if __name__ == "__main__":
    main(sys.argv[1:])
