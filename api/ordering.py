"""Order sets: real clips stitched in pairs, A then B and B then A, with sentences that the order alone decides.

    events = described(library, Path("captions.jsonl"))      # or what is said in the library, without captions
    made = write(pairs(events.found, 60, seed=0), Path("set"))

Two clips of one kind make two new files of the same frames and the same sound, so what tells them apart is when.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from api import keeping, training
from api.service import Library
from indexer import places
from indexer.ports import OpenMedia, Reader
from retriever.errors import BenchmarkError, ManifestError, MediaError
from retriever.evaluation import order
from retriever.registry import Registry
from retriever.types import Filter, Floats, Media, MediaKind, Modality, Pictures, TimeSpan

WIDTH, HEIGHT, FRAMES = 320, 240, 12  # of a stitched film; frames a second
RATE = 16_000  # samples a second of a stitched sound
SECONDS = 4.0
"""What is shown of each clip, its middle, at most."""
LEAST_SECONDS = 1.0
MOST_WORDS = 20
"""Words of an event: sentences of two longer ones nobody types."""
LEAST_WORDS = 3
"""Words of a spoken line that can stand for what happens."""
KEPT = 32
"""Clips that are held decoded: some 350 MB."""


@dataclass(frozen=True, slots=True)
class Event:
    """A stretch of a media, and what happens there, in words."""

    media: Media
    text: str
    span: TimeSpan
    group: str  # media of one group are not paired: they show the same


@dataclass(frozen=True, slots=True)
class Events:
    """What can be stitched, and how many were left out, by reason."""

    found: list[Event]
    left_out: dict[str, int]


# --------------------------------------------------------------------------------------------------------------- events


def described(library: Library, manifest: Path | None, apart: Sequence[Path] = (), seconds: float = SECONDS) -> Events:
    """One event a media: what its first usable caption in `manifest` says (lines as `reelseek train` reads them), or,
    without a manifest, its longest spoken line.  Media that a manifest of `apart` names are left out.

    Raises:
        ManifestError: a line is wrong, or no line names a media of the library.
        BenchmarkError: `apart` names a file that is not there.
    """
    taken = trained_on(library, apart)
    kept: dict[str, Event] = {}
    texts: set[str] = set()
    left_out: dict[str, set[str]] = {}
    for media, text, span, group in _captions(library, manifest) if manifest else _lines(library):
        event = Event(media, worded(text), _middle(span or TimeSpan(0.0, media.duration), media, seconds), group)
        why = _unusable(event, taken, texts) if media.key not in kept else ""
        if why:
            left_out.setdefault(why, set()).add(media.key)
        elif media.key not in kept:
            kept[media.key] = event
            texts.add(event.text.lower())
    counts = {why: len(keys - kept.keys()) for why, keys in left_out.items()}
    return Events(list(kept.values()), {why: count for why, count in counts.items() if count})


def trained_on(library: Library, lists: Sequence[Path]) -> frozenset[str]:
    """The keys of the media that these files name, as far as the library has them: captions as `reelseek train` reads
    them, or, in a file that ends in .txt, an id or a path a line.

    Raises:
        BenchmarkError: there is no such file.
    """
    found: set[str] = set()
    everything = library.media()
    for file in lists:
        if not file.is_file():
            raise BenchmarkError(
                f"--apart-from {file} is no file: a head does not name the media it was trained on, so name the "
                "caption file that `reelseek train` was given, or a .txt file with an id or a path a line"
            )
        named = training.Named(everything, file.parent)
        if file.suffix == ".txt":
            names = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        else:
            names = [line.media for line in training.captions(file)]
        found |= {media.key for name in names if (media := named(name))}
    return frozenset(found)


def worded(text: str) -> str:
    """A caption as a part of a sentence: without its last stop and its first capital."""
    said = " ".join(text.split()).rstrip(".!?…;, ")
    first = said.split(" ", 1)[0]
    small = first[:1] + first[1:].lower() == first and first not in ("I", "I'm", "I've", "I'd", "I'll")
    return said[:1].lower() + said[1:] if small else said


def _captions(library: Library, manifest: Path) -> Iterator[tuple[Media, str, TimeSpan | None, str]]:
    everything = library.media()
    named = training.Named(everything, manifest.parent)
    told = [(line, named(line.media)) for line in training.captions(manifest)]
    if not any(media for _, media in told):
        raise ManifestError(f"{manifest} names no media of this library: `reelseek media` lists what is there")
    return ((media, line.text, line.span, line.group) for line, media in told if media)


def _lines(library: Library) -> Iterator[tuple[Media, str, TimeSpan | None, str]]:
    """Spoken lines, the longest of each media first."""
    with library.store.snapshot() as snapshot:
        for media in snapshot.media():
            numbers = snapshot.numbers(Filter(media=frozenset({media.key})))
            lines = [line for each in snapshot.lines(numbers) for line in each if line.modality is Modality.SPEECH]
            for line in sorted(lines, key=lambda line: -len(line.text)):
                if len(line.text.split()) >= LEAST_WORDS:
                    yield media, line.text, line.span, ""


def _unusable(event: Event, taken: frozenset[str], texts: set[str]) -> str:
    """Why an event cannot be stitched; empty where it can."""
    words = len(event.text.split())
    if event.media.key in taken:
        return "trained on"
    if event.media.kind is MediaKind.IMAGE:
        return "an image has no time"
    if event.span.length < LEAST_SECONDS:
        return f"shorter than {LEAST_SECONDS:g} s"
    if words > MOST_WORDS or words < 1 or not order.usable(event.text):
        return "no text that can be a part of a sentence"
    if event.text.lower() in texts:
        return "said of another media as well"
    if places.is_address(event.media.path):
        return "it is on a server"
    if not Path(event.media.path).is_file():
        return "its file is gone"
    return ""


def _middle(span: TimeSpan, media: Media, seconds: float) -> TimeSpan:
    """The middle of a span, `seconds` long at most, within its media."""
    start, end = max(0.0, span.start), min(span.end, media.duration)
    if end - start <= 0:
        return TimeSpan(0.0, 1e-3)
    shown = min(seconds, end - start)
    begin = (start + end - shown) / 2
    return TimeSpan(begin, begin + shown)


# ---------------------------------------------------------------------------------------------------------------- pairs


def pairs(events: Sequence[Event], wanted: int, seed: int) -> list[tuple[Event, Event]]:
    """Pairs of one kind, films and sounds in the measure in which there are events of them.  No pair is drawn twice,
    and those whose media were used least come first.

    Raises:
        BenchmarkError: not even one pair can be made.
    """
    rng = np.random.default_rng(seed)
    by_kind = {kind: [one for one in events if one.media.kind.value == kind] for kind in order.KINDS}
    able = {kind: own for kind, own in by_kind.items() if len(own) > 1}
    if not able:
        found = ", ".join(f"{len(own)} {kind}" for kind, own in by_kind.items())
        raise BenchmarkError(
            f"two media of one kind are wanted, each with a text of its own; usable are {found}: "
            "bring captions with --manifest"
        )
    drawn: list[tuple[Event, Event]] = []
    left = sum(len(own) for own in able.values())
    for own in sorted(able.values(), key=len):  # what the fewer cannot give, the more do
        share = round((wanted - len(drawn)) * len(own) / left)
        drawn += _drawn(own, min(wanted - len(drawn), max(1, share)), rng)
        left -= len(own)
    return drawn


def _drawn(events: Sequence[Event], wanted: int, rng: np.random.Generator) -> list[tuple[Event, Event]]:
    possible = [(a, b) for a, b in combinations(events, 2) if not (a.group and a.group == b.group)]
    possible = [possible[at] for at in rng.permutation(len(possible))]
    used = dict.fromkeys((one.media.key for one in events), 0)
    found: list[tuple[Event, Event]] = []
    while possible and len(found) < wanted:
        at = min(range(len(possible)), key=lambda at: sum(used[one.media.key] for one in possible[at]))
        pair = possible.pop(at)
        found.append((pair[0], pair[1]) if rng.random() < 0.5 else (pair[1], pair[0]))
        for one in pair:
            used[one.media.key] += 1
    return found


# ------------------------------------------------------------------------------------------------------------ stitching


@dataclass(frozen=True, slots=True)
class _Shown:
    """The pictures and the sound of one event, in the common form."""

    frames: Pictures | None  # (N, HEIGHT, WIDTH, 3)
    sound: Floats | None  # (T,) at RATE

    @property
    def seconds(self) -> float:
        if self.frames is not None:
            return len(self.frames) / FRAMES
        return len(self.sound) / RATE if self.sound is not None else 0.0


def write(chosen: Sequence[tuple[Event, Event]], folder: Path, gap: float = 0.0) -> list[dict[str, Any]]:
    """Two files a pair below `folder`/media, and `set.jsonl`, which is written last; returns its lines.

    Raises:
        BenchmarkError: the folder holds a set already.
        MediaError: a clip cannot be read any more.
    """
    if (folder / order.SET).exists():
        raise BenchmarkError(f"{folder} holds an order set already: name another folder with --out")
    gap = round(gap * FRAMES) / FRAMES
    (folder / "media").mkdir(parents=True, exist_ok=True)
    seen: dict[str, _Shown] = {}
    lines: list[dict[str, Any]] = []
    for number, pair in enumerate(chosen, 1):
        for event in pair:
            if event.media.key not in seen:
                if len(seen) >= KEPT:
                    seen = {one.media.key: seen[one.media.key] for one in pair if one.media.key in seen}
                seen[event.media.key] = _shown(event)
        for letter, (first, second) in (("a", pair), ("b", pair[::-1])):
            name = f"{number:04d}{letter}"
            kind = first.media.kind.value
            file = Path("media") / f"{name}.{'mp4' if kind == MediaKind.VIDEO.value else 'wav'}"
            one, other = seen[first.media.key], seen[second.media.key]
            _stitch(folder / file, one, other, gap)
            lines.append(_line(name, f"{number:04d}", kind, file, (first, one), (second, other), gap))
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    keeping.text(folder / order.SET, text, "the set")
    return lines


def _line(
    name: str, pair: str, kind: str, file: Path, before: tuple[Event, _Shown], after: tuple[Event, _Shown], gap: float
) -> dict[str, Any]:
    (first, one), (second, other) = before, after
    spans = [[0.0, one.seconds], [one.seconds + gap, one.seconds + gap + other.seconds]]
    return {
        "id": name,
        "pair": pair,
        "kind": kind,
        "media": file.as_posix(),
        "before": first.text,
        "after": second.text,
        "join_s": round(one.seconds + gap / 2, 3),
        "spans": [[round(end, 3) for end in span] for span in spans],
        "sources": [
            {"media": event.media.key, "start_s": round(event.span.start, 3), "end_s": round(event.span.end, 3)}
            for event in (first, second)
        ],
        "queries": [
            {"phrasing": phrasing, "true": true, "false": false}
            for phrasing, (true, false) in order.twins(first.text, second.text).items()
        ],
    }


def _shown(event: Event) -> _Shown:
    reader: Reader = Registry("indexer.media").load("pyav").build()
    with reader.open(Path(event.media.path)) as media:
        film = event.media.kind is MediaKind.VIDEO
        frames = _frames(media, event.span) if film else None
        seconds = len(frames) / FRAMES if frames is not None else event.span.length
        sound = _sound(media, event.span.start, seconds) if media.probe.has_sound else None
    return _Shown(frames, sound)


def _frames(media: OpenMedia, span: TimeSpan) -> Pictures:
    """`FRAMES` a second, in the middle of a black picture of the common size."""
    times = span.start + np.arange(max(1, round(span.length * FRAMES))) / FRAMES
    found = np.zeros((len(times), HEIGHT, WIDTH, 3), np.uint8)
    for canvas, frame in zip(found, media.frames_at(times), strict=False):
        scale = min(WIDTH / frame.width, HEIGHT / frame.height)
        width, height = (max(2, round(side * scale)) for side in (frame.width, frame.height))
        top, left = (HEIGHT - height) // 2, (WIDTH - width) // 2
        canvas[top : top + height, left : left + width] = frame.rgb((width, height))
    return found


def _sound(media: OpenMedia, start: float, seconds: float) -> Floats:
    """The samples of a span; silence where the file has none."""
    found = np.zeros(round(seconds * RATE), np.float32)
    place = 0
    try:
        for block in media.sound(RATE, start):
            kept = block[: len(found) - place]
            found[place : place + len(kept)] = kept
            place += len(kept)
            if place == len(found):
                break
    except MediaError:
        if media.probe.kind is not MediaKind.VIDEO:
            raise  # a film without its sound is still a film
    return found


def _stitch(path: Path, one: _Shown, other: _Shown, gap: float) -> None:
    """One after the other, in a small common format."""
    sound = _with_sound(one, other, gap)
    with av.open(str(path), "w") as container:
        if one.frames is not None and other.frames is not None:
            film = container.add_stream("libx264", rate=FRAMES, options={"crf": "20", "preset": "veryfast"})
            film.width, film.height, film.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            heard = container.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
            black = np.zeros((round(gap * FRAMES), HEIGHT, WIDTH, 3), np.uint8)
            for picture in np.concatenate([one.frames, black, other.frames]):
                container.mux(film.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(film.encode(None))
        else:
            heard = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        if heard is not None and sound is not None:
            for frame in _audio(sound, str(heard.format.name), int(heard.codec_context.frame_size or 1024)):
                container.mux(heard.encode(frame))
            container.mux(heard.encode(None))


def _with_sound(one: _Shown, other: _Shown, gap: float) -> Floats | None:
    """The sound of both, silence where one has none; None where neither has any."""
    if one.sound is None and other.sound is None:
        return None
    parts = [
        shown.sound if shown.sound is not None else np.zeros(round(shown.seconds * RATE), np.float32)
        for shown in (one, other)
    ]
    return np.concatenate([parts[0], np.zeros(round(gap * RATE), np.float32), parts[1]])


def _audio(sound: NDArray[np.float32], form: str, size: int) -> Iterator[av.AudioFrame]:
    """Frames of samples as an encoder wants them."""
    whole = np.clip(sound * 32767, -32768, 32767).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    resampler = AudioResampler(format=form, layout="mono", rate=RATE, frame_size=size)
    yield from resampler.resample(frame)
    yield from resampler.resample(None)
