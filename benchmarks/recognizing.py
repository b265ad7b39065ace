"""How well and how fast speech and on-screen text are recognized.

speech    words found and words invented, over every clip of a folder; × realtime
text      lines read on every clip that has a picture, a page a second; milliseconds a page
engines   Whisper in int8 and float32, PP-OCR on ONNX Runtime and OpenVINO, each pair by turns
memory    resident memory while pages of a thousand sizes are read

python benchmarks/recognizing.py --media DIR speech text
python benchmarks/recognizing.py engines memory --pages 1000
"""

import argparse
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import cv2
import machine
import numpy as np
import psutil
from faster_whisper import WhisperModel

from encoders._weights import RAPIDOCR, WHISPER
from encoders.recognizers import rapidocr, whisper
from encoders.recognizers._ppocr import network
from indexer.decoding import Chapter, Decoder, Wanted
from indexer.sampling import Fixed
from retriever.errors import MediaError
from retriever.types import Line

# isort: split
import openvino  # after `encoders`, beside which it tells nobody of this

DIGITS = dict(enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]))
LOOKS = ((320, 192), (640, 352), (960, 544))  # width and height of a page as the finder gets it
LINES = (160, 320, 640)  # width of a line as the reader gets it


@dataclass(frozen=True, slots=True)
class Clip:
    """A file and what is known of it."""

    file: Path
    page: dict[str, Any]

    def chapters(self, decoder: Decoder, wanted: Wanted) -> list[Chapter]:
        try:
            return list(decoder.chapters(self.file, wanted))
        except MediaError:
            return []


def clips(media: Path) -> Iterator[Clip]:
    for line in (media / "manifest.jsonl").read_text().splitlines():
        page = json.loads(line)
        yield Clip(media / page["file"], page)


def words(text: str) -> list[str]:
    found = re.findall(r"[a-z0-9]+", text.casefold().replace("'", "").replace("’", ""))
    return [DIGITS.get(int(word), word) if word.isdecimal() else word for word in found]


def errors(said: list[str], found: list[str]) -> int:
    """Words put in, left out and changed (Levenshtein)."""
    row = list(range(len(found) + 1))
    for number, word in enumerate(said, 1):
        above, row = row, [number]
        for place, other in enumerate(found, 1):
            row.append(min(above[place] + 1, row[-1] + 1, above[place - 1] + (word != other)))
    return row[-1]


def show(lines: list[Line]) -> None:
    for line in lines:
        print(f"      {line.span}  {line.confidence:.2f}  {line.text}")


def speech(media: Path, decoder: Decoder) -> None:
    listener = whisper.build()
    wanted = Wanted("pyav", None, 0, None, 0, (listener.rate,), 0.0, 600.0)
    wrong = spoken = 0
    spent, busy, heard = ({True: 0.0, False: 0.0} for _ in range(3))  # seconds, with and without speech
    recalls, silent = [], 0
    print("\nspeech: clips with words where none are known, or with words of theirs missing")
    for clip in clips(media):
        for chapter in clip.chapters(decoder, wanted):
            sound = chapter.sounds.get(listener.rate)
            if sound is None or not len(sound.samples):
                continue
            began, work = perf_counter(), process_time()
            lines = listener.recognize(sound)
            said = words(clip.page["speech"] or "")
            spent[bool(said)] += perf_counter() - began
            busy[bool(said)] += (process_time() - work) / machine.cores()
            found = words(" ".join(line.text for line in lines))
            heard[bool(said)] += sound.length
            missed = errors(said, found)
            if said:
                wrong, spoken = wrong + missed, spoken + len(said)
                recalls.append(len(set(said) & set(found)) / len(set(said)))
            silent += not said and not found
            if missed:
                print(f"   {clip.page['id']} {clip.page['slug']}: {missed} wrong of {len(said)}; {clip.page['sounds']}")
                show(lines)
    print(f"{len(recalls)} clips with speech: word error rate {wrong / spoken:.3f}, words found {np.mean(recalls):.3f}")
    print(f"{silent} clips without known speech stayed without words")
    for has, name in ((True, "with speech"), (False, "without")):
        rate, alone = heard[has] / spent[has], heard[has] / busy[has]
        print(f"{name}: {heard[has]:.0f} s of sound at {rate:.1f} × realtime, {alone:.1f} × if all cores were free")


def text(media: Path, decoder: Decoder) -> None:
    eye = rapidocr.build()
    wanted = Wanted("pyav", None, 0, Fixed(1.0), eye.side, (), 0.0, 60.0)
    spent = busy = 0.0
    pages = 0
    print("\ntext: lines by clip")
    for clip in clips(media):
        lines: list[Line] = []
        for chapter in clip.chapters(decoder, wanted):
            began, work = perf_counter(), process_time()
            lines += eye.recognize(chapter.pages, chapter.page_spans)
            spent, busy, pages = (
                spent + perf_counter() - began,
                busy + process_time() - work,
                pages + len(chapter.pages),
            )
        if lines or clip.page["ocr"]:
            print(f"   {clip.page['id']} {clip.page['slug']}, known: {clip.page['ocr']}")
            show(lines)
    print(f"{pages} pages: {1e3 * spent / pages:.0f} ms a page, {1e3 * busy / pages:.0f} ms of processor time")


def engines() -> None:
    print("\nengines: milliseconds of processor time, and how many times as much the second takes")
    folder = WHISPER.path("model/model.bin").parent
    seconds = np.zeros((80, 3000), np.float32)
    models = [WhisperModel(str(folder), device="cpu", compute_type=kind, cpu_threads=2) for kind in ("int8", "float32")]
    compare("Whisper, 30 s: int8, float32", [lambda it=model: it.encode(seconds) for model in models])
    for name, shapes in (
        ("models/PP-OCRv6_det_small.onnx", [(1, 3, height, width) for width, height in LOOKS]),
        ("models/PP-OCRv6_rec_small.onnx", [(1, 3, 48, width) for width in LINES]),
    ):
        session = network(name, threads=2)
        model = openvino.Core().read_model(RAPIDOCR.path(name))
        for shape in shapes:
            pixels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            model.reshape(shape)
            other = openvino.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"}).create_infer_request()
            compare(
                f"{Path(name).stem} {shape}: ONNX Runtime, OpenVINO",
                [lambda s=session, p=pixels: s.run(None, {"x": p}), lambda o=other, p=pixels: o.infer([p])],
            )


def compare(name: str, works: list[Callable[[], object]]) -> None:
    """Processor time, not time on the clock: it stays what it is beside other work."""
    rounds = [[processor_time(work) for work in works] for _ in range(7)]
    first, second = np.median(rounds[1:], axis=0)
    print(f"   {name}: {1e3 * first:.0f}, {1e3 * second:.0f}, × {second / first:.2f}", flush=True)


def processor_time(work: Callable[[], object]) -> float:
    began = process_time()
    work()
    return process_time() - began


def memory(pages: int) -> None:
    """Pages of drawn sizes with drawn writing, so that both networks meet ever new shapes."""
    eye, random, process = rapidocr.build(), np.random.default_rng(0), psutil.Process()
    print("\nmemory: resident MB after so many pages of drawn sizes")
    for number in range(1, pages + 1):
        height, width = random.integers(100, 720), random.integers(200, 1280)
        page = np.full((height, width, 3), random.integers(0, 255), np.uint8)
        for line in range(int(random.integers(1, 4))):
            word = "".join(random.choice(list("ABCDEFGHIJKLMNOPRSTUVW "), int(random.integers(2, 20))))
            size = float(random.uniform(0.5, 2))
            cv2.putText(page, word, (10, 60 * (line + 1)), cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 2)
        eye.recognize([page], [(0.0, 1.0)])
        if number in (1, 10) or not number % max(1, pages // 10):
            print(f"   {number}: {process.memory_info().rss / 1e6:.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=["speech", "text", "engines", "memory"])
    parser.add_argument("--media", type=Path, help="folder of clips with manifest.jsonl, for speech and text")
    parser.add_argument("--pages", type=int, default=1000, help="pages of the memory run")
    arguments = parser.parse_args()
    if arguments.media is None and {"speech", "text"} & set(arguments.what):
        parser.error("speech and text want --media DIR")
    print(machine.describe())
    with Decoder() as decoder:
        if "speech" in arguments.what:
            speech(arguments.media, decoder)
        if "text" in arguments.what:
            text(arguments.media, decoder)
    if "engines" in arguments.what:
        engines()
    if "memory" in arguments.what:
        memory(arguments.pages)


if __name__ == "__main__":
    main()
