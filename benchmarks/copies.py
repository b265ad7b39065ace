"""How well copies of footage are told from other footage: recall by kind of copy, and false merges.

Every clip is written again in several ways with ffmpeg (which has to be there), at most 30 s of it: encoded with few
bits, at half the size, between bars, cropped by 10 %, brighter, mirrored, and its middle third.  All are indexed with
the default pack, vision and sound only.  Moments are the clips' own segments and random ones of 3 and 6 s; the moment
of a copy is up to 0.7 s off at both ends.  Long videos hold known parts of clips.

`another take` is the nearest to one that there is: one half of a clip against the other, as if they were two media.
Thresholds were chosen on the *choose* half of the clips (by a hash of their names); *report* is the other.

python benchmarks/copies.py --media DIR --work DIR     # DIR has manifest.jsonl and the clips; the work folder is kept
"""

import argparse
import json
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import product
from pathlib import Path
from time import process_time

import machine
import numpy as np

from api import Library, parts
from indexer import pipeline, recipe, sources
from indexer.executors import local as executor
from indexer.run import Run
from retriever import copies, processes
from retriever.copies import Alignment, Cells, Footage
from retriever.duplicates import duplicates
from retriever.ports import Snapshot
from retriever.types import Filter, MediaKind, Modality, TimeSpan

HALVES = ("choose", "report")
LONGEST = 30.0
EVEN = "scale=trunc(iw/2)*2:trunc(ih/2)*2"
SEEN = {
    "few bits": ("null", "40"),
    "half size": ("scale=trunc(iw/4)*2:trunc(ih/4)*2", "26"),
    "bars above": ("pad=iw:trunc(ih*1.3333/2)*2:0:(oh-ih)/2", "26"),
    "bars beside": ("pad=trunc(iw*1.3333/2)*2:ih:(ow-iw)/2:0", "26"),
    "cropped": ("crop=trunc(iw*0.9/2)*2:trunc(ih*0.9/2)*2", "26"),
    "brighter": ("eq=brightness=0.08:contrast=1.25", "26"),
    "mirrored": ("hflip", "26"),
    "middle third": ("null", "26"),
}
"""A filter, and how hard H.264 saves (`-crf`)."""
HEARD = {
    "few bits": ("-b:a", "32k", "-ac", "1"),
    "16 kHz": ("-ar", "16000", "-b:a", "48k"),
    "quieter": ("-af", "volume=0.4", "-b:a", "96k"),
    "middle third": ("-b:a", "96k"),
}
RATE = 15
"""Frames a second of the long videos, by which their parts are told."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two moments, what they are to each other, and how they lie best."""

    kind: str
    clips: tuple[str, str]
    found: Alignment | None
    right: float | None  # the offset, where it is known

    def half(self) -> str | None:
        """None where the two are of different halves."""
        halves = {half(clip) for clip in self.clips}
        return halves.pop() if len(halves) == 1 else None


def half(clip: str) -> str:
    return HALVES[int(sha256(clip.encode()).hexdigest(), 16) % 2]


# ----------------------------------------------------------------------------------------------------------- the copies


def written(media: Path, out: Path) -> None:
    """All copies of all clips, those that are not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    commands = []
    for line in (media / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        clip, third = media / entry["file"], entry["duration_s"] / 3
        seen = entry["kind"] == "video"
        for kind, how in (SEEN if seen else HEARD).items():
            cut = ["-ss", f"{third}", "-t", f"{third}"] if kind == "middle third" else ["-t", f"{LONGEST}"]
            name = f"{clip.stem}-{kind.replace(' ', '_')}"
            if seen:
                save = ["-vf", f"{how[0]},{EVEN}", "-c:v", "libx264", "-preset", "veryfast", "-crf", how[1]]
                target, options = out / f"{name}.mp4", [*save, "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "64k"]
            else:
                target, options = out / f"{name}.mp3", ["-vn", "-c:a", "libmp3lame", *how]
            if not target.exists():
                commands.append(["ffmpeg", "-v", "error", "-nostdin", "-i", str(clip), *cut, *options, str(target)])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda command: subprocess.run(command, check=True), commands))


def index(at: Path, folders: Sequence[Path]) -> None:
    chosen = replace(recipe.pack("offline"), speech=(), text=())
    store = parts.store("local", at, create=True)
    segmenter = parts.SEGMENTERS.load(chosen.segmenter).build()
    encoders = parts.encoders(chosen, parts.AS_MADE)
    run = Run(chosen, encoders, store, segmenter, processes.me(), lambda event: None, parts.decoders(0))
    done = pipeline.index(sources.found(folders), run, executor.build())
    print(f"{len(done.indexed)} indexed, {done.unchanged} unchanged, {len(done.quarantined)} set aside")
    store.close()


# ------------------------------------------------------------------------------------------------------------ the pairs


class Clips:
    """Moments of all clips, and how they lie to those of copies and of others."""

    def __init__(self, library: Snapshot, folder: Path) -> None:
        self.library = library
        self.apart = copies.strangers(library)
        self.named = {Path(media.path).stem: media for media in library.media()}
        self.draw = np.random.default_rng(0)
        self.folder = folder
        self.clips = [name for name in self.named if "-" not in name and not name.startswith("sl")]
        self.moments = {clip: self._moments(clip) for clip in self.clips}

    def _moments(self, clip: str) -> list[TimeSpan]:
        media = self.named[clip]
        numbers = self.library.numbers(Filter(media=frozenset({media.key})))
        spans = [TimeSpan(*span) for span in self.library.segments(numbers).spans.tolist()]
        for length in (3.0, 6.0):
            for _ in range(2 if media.duration > length + 1 else 0):
                start = float(self.draw.uniform(0, media.duration - length))
                spans.append(TimeSpan(start, start + length))
        return spans

    def footage(self, wanted: Sequence[tuple[str, TimeSpan]]) -> list[Footage | None]:
        return copies.filmed(self.library, [(self.named[name].key, span) for name, span in wanted], self.apart)

    def true(self) -> Iterator[Pair]:
        """Copies: each clip's moments against the same of all of its copies, and of the long videos."""
        wanted: list[tuple[str, str, TimeSpan, str, TimeSpan, float]] = []
        for name in self.named:
            clip, _, kind = name.partition("-")
            for span in self.moments[clip] if kind else []:
                ahead = -self.named[clip].duration / 3 if kind == "middle_third" else 0.0
                wanted += self._again(kind.replace("_", " "), clip, span, name, 0.0, ahead)
        for line in (self.folder / "long" / "long_spec.jsonl").read_text(encoding="utf-8").splitlines():
            spec, at = json.loads(line), 0.0
            name = Path(spec["video"]).stem
            for part in spec["segments"]:
                held = TimeSpan(part["start"], part["start"] + part["frames"] / RATE)
                for span in self.moments[part["id"]] if part["video"] else []:
                    if held.shared(span) >= 0.7 * span.length:
                        wanted += self._again("in a long video", part["id"], span, name, at, at - held.start)
                at += part["frames"] / RATE
        first = self.footage([(clip, span) for _, clip, span, *_ in wanted])
        second = self.footage([(name, span) for *_, name, span, _ in wanted])
        for (kind, clip, *_, ahead), one, other in zip(wanted, first, second, strict=True):
            if one and other:
                yield Pair(kind, (clip, clip), copies.laid(one, other, self.apart), ahead)

    def _again(
        self, kind: str, clip: str, span: TimeSpan, name: str, least: float, ahead: float
    ) -> Iterator[tuple[str, str, TimeSpan, str, TimeSpan, float]]:
        start = max(least, span.start + ahead + float(self.draw.uniform(-0.7, 0.7)))
        end = min(self.named[name].duration, span.end + ahead + float(self.draw.uniform(-0.7, 0.7)))
        if end - start >= 1 and self._judged(clip) is self._judged(name):
            yield kind, clip, span, name, TimeSpan(start, end), ahead

    def _judged(self, name: str) -> MediaKind:
        return self.named[name].kind

    def false(self) -> Iterator[Pair]:
        """All pairs of moments of different clips of one half."""
        wanted = [(clip, span) for clip in self.clips for span in self.moments[clip]]
        held = self.footage(wanted)
        for place, ((clip, _), one) in enumerate(zip(wanted, held, strict=True)):
            for (second, _), other in zip(wanted[place + 1 :], held[place + 1 :], strict=True):
                if one and other and clip != second and half(clip) == half(second):
                    kind = "different sounds" if MediaKind.SOUND in (one.media.kind, other.media.kind) else "different"
                    yield Pair(kind, (clip, second), copies.laid(one, other, self.apart), None)

    def media(self) -> Iterator[Pair]:
        """All pairs of media of different clips of one half, copies too, each as one moment."""
        names = [name for name in self.named if not name.startswith("sl")]
        wanted = [(name, TimeSpan(0, min(self.named[name].duration, copies.LONGEST))) for name in names]
        held = self.footage(wanted)
        for place, (name, one) in enumerate(zip(names, held, strict=True)):
            for second, other in zip(names[place + 1 :], held[place + 1 :], strict=True):
                clips = name.partition("-")[0], second.partition("-")[0]
                if one and other and clips[0] != clips[1] and half(clips[0]) == half(clips[1]):
                    yield Pair("whole media of different clips", clips, copies.laid(one, other, self.apart), None)

    def takes(self) -> Iterator[Pair]:
        """Halves of one clip as if they were two media."""
        for clip in self.clips:
            media = self.named[clip]
            (whole,) = self.footage([(clip, TimeSpan(0, min(media.duration, copies.LONGEST)))])
            if whole is None or whole.count < 12:
                continue
            cut = whole.count // 2
            halves = [
                replace(
                    whole,
                    media=replace(media, key=f"{media.key}-{start}"),
                    span=TimeSpan(0, cut * copies.STEP),
                    start=0.0,
                    cells={space: Cells.of(held.rows[start : start + cut]) for space, held in whole.cells.items()},
                )
                for start in (0, cut)
            ]
            kind = "another take" if media.kind is MediaKind.VIDEO else "more of a sound"
            yield Pair(kind, (clip, clip), copies.laid(*halves, self.apart), None)


# ---------------------------------------------------------------------------------------------------------- the tables


def merged(pair: Pair) -> bool:
    return pair.found is not None and pair.found.met >= copies.MEETS and copies._same(pair.found)


@contextmanager
def bars(near: float, seen: float, heard: float, brief: float) -> Iterator[None]:
    """Other thresholds for a while."""
    before = copies.NEAR, copies.CONCORD, copies.BRIEF
    copies.NEAR, copies.CONCORD, copies.BRIEF = near, {Modality.VISION: seen, Modality.SOUND: heard}, brief
    try:
        yield
    finally:
        copies.NEAR, copies.CONCORD, copies.BRIEF = before


def rate(pairs: Sequence[Pair]) -> str:
    hits = sum(merged(pair) for pair in pairs)
    return f"{hits / len(pairs):.2f} ({len(pairs)})" if hits * 2 > len(pairs) else f"{hits} of {len(pairs):,}"


def chosen(*pairs: Sequence[Pair]) -> None:
    """The grid on the choose half: copies first, then what is none."""
    halves = [[pair for pair in some if pair.half() == HALVES[0]] for some in pairs]
    print(f"\n## thresholds on the choose half: {', '.join(f'{len(some):,}' for some in halves)} pairs\n")
    print("| nearness | concord | of sounds | brief | copies found | moments | other takes | media |")
    print("|---|---|---|---|---|---|---|---|")
    for near, brief, seen, more in product((0.5, 0.65, 0.75), (0.0, 0.5, 1.0), (0.3, 0.4), (0.0, 0.1)):
        with bars(near, seen, seen + more, brief):
            found, *others = ([merged(pair) for pair in some] for some in halves)
        wrong = " | ".join(str(sum(some)) for some in others)
        print(f"| {near} | {seen:.1f} | {seen + more:.1f} | {brief} | {np.mean(found):.3f} | {wrong} |")


def told(pairs: Sequence[Pair]) -> None:
    print("\n## moments merged, at the thresholds of retriever/copies.py\n")
    print("| kind | choose | report | offset right |\n|---|---|---|---|")
    for kind in dict.fromkeys(pair.kind for pair in pairs):
        ours = [pair for pair in pairs if pair.kind == kind]
        cells = [rate([pair for pair in ours if pair.half() == name]) for name in HALVES]
        known = [abs(pair.found.offset - pair.right) <= 0.76 for pair in ours if pair.found and pair.right is not None]
        print(f"| {kind} | {' | '.join(cells)} | {f'{np.mean(known):.2f}' if known else '–'} |")


def worst(pairs: Sequence[Pair], wrong: Sequence[Pair]) -> None:
    print("\n## by clip\n")
    missed = [pair.clips[0] for pair in pairs if not merged(pair)]
    often = sorted(set(missed), key=lambda clip: -missed.count(clip))[:10]
    totals = [pair.clips[0] for pair in pairs]
    print("missed most: " + ", ".join(f"{clip} {missed.count(clip)} of {totals.count(clip)}" for clip in often))
    print("merged wrongly: " + (", ".join(sorted({"/".join(pair.clips) for pair in wrong if merged(pair)})) or "none"))


def listed(library: Snapshot, folder: Path) -> None:
    """`reelseek copies` over the whole library: how many pairs of media are right, and how many of the copies of each
    kind are tied to the clip that they were made of."""
    held = [
        {part["id"] for part in json.loads(line)["segments"]} | {Path(json.loads(line)["video"]).stem}
        for line in (folder / "long" / "long_spec.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    begun = process_time()
    pairs = [tuple(sorted(Path(it.path).stem for it in (pair.one, pair.other))) for pair in duplicates(library)]
    took = process_time() - begun
    clips = [[name.partition("-")[0] for name in pair] for pair in pairs]
    long = [any(name.startswith("sl") for name in pair) for pair in clips]
    right = [one == other or any({one, other} <= parts for parts in held) for one, other in clips]
    print("\n## media that `reelseek copies` ties together\n")
    print(f"{len(pairs):,} pairs, {took:.0f} s of one core for {library.counts()['segments']:,} segments")
    for name, of_long in (("with long videos", True), ("without", False)):
        ours = [good for good, is_long in zip(right, long, strict=True) if is_long is of_long]
        print(f"{name}: {sum(ours):,} right, {len(ours) - sum(ours)} wrong")
    named = [Path(media.path).stem for media in library.media()]
    kinds: dict[str, list[bool]] = {}
    for clip, _, kind in (name.partition("-") for name in named):
        if kind:
            kinds.setdefault(kind.replace("_", " "), []).append((clip, f"{clip}-{kind}") in pairs)
    print("tied to their clip: " + ", ".join(f"{kind} {sum(hits)} of {len(hits)}" for kind, hits in kinds.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path(__file__).parents[2] / "shared" / "media")
    parser.add_argument("--work", type=Path, required=True, help="copies and the library are kept here")
    args = parser.parse_args()
    if not (args.media / "manifest.jsonl").is_file():
        parser.error(f"{args.media} has no manifest.jsonl")
    print(machine.describe())
    written(args.media, args.work / "copies")
    index(args.work / "library", [args.media, args.work / "copies"])
    with Library.open(args.work / "library", create=False) as library, library.store.snapshot() as snapshot:
        clips = Clips(snapshot, args.media)
        print("strangers:", ", ".join(f"{one.modality} {one.cosine:.3f}" for one in clips.apart.values()))
        with bars(0.5, 0, 0, 0):  # what is less near than the least of the grid is not laid side by side
            true, false, takes, media = (list(some()) for some in (clips.true, clips.false, clips.takes, clips.media))
        listed(snapshot, args.media)
    sounds = [pair for pair in true if pair.found and Modality.VISION not in pair.found.figures]
    print(
        f"{len(true):,} copies ({len(sounds):,} by sound alone), {len(false) + len(media):,} pairs of different clips"
    )
    chosen(true, false, takes, media)
    told([*true, *false, *takes, *media])
    worst(true, [*false, *takes, *media])


if __name__ == "__main__":
    main()
