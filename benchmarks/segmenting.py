"""Do segments end where something new begins?

Reels are joined from clips whose joins are known: the long videos of the folder of clips (`long/long_spec.jsonl`), and
made-up ones, where the tokens of clips follow each other in a drawn order.  Only the joins are known: a cut inside a
clip counts as wrong, though something may well begin there, so a score is good for comparing and for nothing else.
`surprise` is compared with as many cuts at even distances, at random places, and with parts of itself switched off.

python benchmarks/segmenting.py --media DIR
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import machine
import numpy as np

from api import parts
from indexer import recipe
from indexer.decoding import Decoder
from indexer.encoding import Encoders, encode
from indexer.run import Run
from indexer.segmenters import fixed, surprise
from retriever import processes
from retriever.errors import MediaError
from retriever.stores import memory
from retriever.types import Tokens

WITHIN = 1.0  # seconds that a cut may lie from its join
LONGEST = 12.0  # seconds that a made-up reel takes of a clip


@dataclass(frozen=True, slots=True)
class Reel:
    """Tokens by space, and where its clips meet."""

    duration: float
    tokens: Mapping[str, Tokens]
    joins: Sequence[float]


def f1(found: Sequence[float], wanted: Sequence[float]) -> float:
    left = list(found)
    hits = 0
    for join in wanted:
        near = [cut for cut in left if abs(cut - join) <= WITHIN]
        if near:
            left.remove(min(near, key=lambda cut: abs(cut - join)))
            hits += 1
    return 2 * hits / max(1, len(found) + len(wanted))


def tokens_of(file: Path, run: Run, decoder: Decoder) -> tuple[float, dict[str, Tokens]]:
    """Duration and tokens of one file, encoded as an indexing run does it."""
    probe = decoder.probe(file)
    results = encode(list(decoder.chapters(file, run.wanted())), run.encoders)
    spaces = run.encoders.spaces
    joined = {name: Tokens.joined([it.tokens[name] for it in results], spaces[name].dimension) for name in spaces}
    return probe.duration, joined


def long_reels(media: Path, run: Run, decoder: Decoder) -> list[Reel]:
    reels = []
    for line in (media / "long" / "long_spec.jsonl").read_text().splitlines():
        page = json.loads(line)
        duration, tokens = tokens_of(media / "long" / page["video"], run, decoder)
        frames = np.cumsum([segment["frames"] for segment in page["segments"]])
        reels.append(Reel(duration, tokens, (frames[:-1] / frames[-1] * page["duration_s"]).tolist()))
    return reels


def made_reels(media: Path, run: Run, decoder: Decoder, count: int) -> list[Reel]:
    clips = []
    for line in (media / "manifest.jsonl").read_text().splitlines():
        page = json.loads(line)
        if page["kind"] == "video" and page["duration_s"] >= 3:
            try:
                clips.append(tokens_of(media / page["file"], run, decoder))
            except MediaError as error:
                print(error)
    return [joined(clips, run.encoders, np.random.default_rng(seed)) for seed in range(count)]


def joined(clips: Sequence[tuple[float, dict[str, Tokens]]], encoders: Encoders, random: np.random.Generator) -> Reel:
    """All clips in a drawn order, of each a drawn part from its beginning."""
    start, joins = 0.0, []
    pieces: dict[str, list[Tokens]] = {name: [] for name in encoders.spaces}
    for number in random.permutation(len(clips)):
        duration, tokens = clips[number]
        length = float(random.uniform(3, min(duration, LONGEST))) if duration > 3 else duration
        for name, part in tokens.items():
            kept = part.spans[:, 0] < length
            spans = part.spans[kept].clip(0, length) + start
            pieces[name].append(Tokens(part.rows[kept], spans, part.norms[kept]))
        start += length
        joins.append(start)
    spaces = encoders.spaces
    return Reel(start, {name: Tokens.joined(pieces[name], spaces[name].dimension) for name in spaces}, joins[:-1])


def report(name: str, reels: Sequence[Reel]) -> None:
    print(f"\n{name}: {len(reels)} reels, {sum(reel.duration for reel in reels):.0f} s, ", end="")
    print(f"{sum(len(reel.joins) for reel in reels)} joins")
    print(f"{'segmenter':34} {'F1':>5}  cuts")
    random = np.random.default_rng(0)
    rows: dict[str, list[tuple[float, int]]] = {}
    for reel in reels:
        began = perf_counter()
        spans = surprise.build().segment(reel.duration, reel.tokens)
        spent = perf_counter() - began
        cuts = {"surprise (the default)": [span.start for span in spans[1:]]}
        even = fixed.build(max(2.0, reel.duration / len(spans))).segment(reel.duration, reel.tokens)
        cuts["as many at even distances"] = [span.start for span in even[1:]]
        cuts["as many drawn"] = sorted(random.uniform(0, reel.duration, len(spans) - 1).tolist())
        for space in reel.tokens:
            alone = surprise.build().segment(reel.duration, {space: reel.tokens[space]})
            cuts[f"surprise, {space[:20]} alone"] = [span.start for span in alone[1:]]
        for gamma in (0.25, 0.5, 1.0, 1.5, 2.0):
            spans = surprise.build(gamma).segment(reel.duration, reel.tokens)
            cuts[f"surprise, gamma {gamma}"] = [span.start for span in spans[1:]]
        for row, found in cuts.items():
            rows.setdefault(row, []).append((f1(found, reel.joins), len(found)))
    for row, values in rows.items():
        print(f"{row:34} {np.mean([score for score, _ in values]):5.2f}  {sum(count for _, count in values)}")
    print(f"the last reel took {1e3 * spent:.0f} ms; lengths of its segments:", end=" ")
    edges = [0.0, *cuts["surprise (the default)"], reel.duration]
    print(" ".join(f"{q:.1f}" for q in np.quantile([b - a for a, b in pairwise(edges)], [0, 0.25, 0.5, 0.75, 1])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, required=True, help="folder of clips with manifest.jsonl and long/")
    parser.add_argument("--reels", type=int, default=8, help="made-up reels")
    parser.add_argument("--lines", action="store_true", help="with speech and on-screen text, as indexing does it")
    arguments = parser.parse_args()
    print(machine.describe())
    chosen = recipe.pack("offline")
    encoders = parts.encoders(chosen)
    if not arguments.lines:
        encoders = Encoders(encoders.sentences, vision=encoders.vision, sound=encoders.sound)
    run = Run(chosen, encoders, memory.build(), surprise.build(), processes.me(), lambda event: None)
    with Decoder() as decoder:
        report("long videos", long_reels(arguments.media, run, decoder))
        report("made-up reels", made_reels(arguments.media, run, decoder, arguments.reels))


if __name__ == "__main__":
    main()
