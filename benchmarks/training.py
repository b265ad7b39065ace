"""Does training a head help, what does distillation bring, and how long does an epoch take?

python benchmarks/training.py                    # made-up events over five seeds, distillation, speed on a slice
python benchmarks/training.py --full             # speed over all 180,000 captions

A class is a random direction of a subspace that texts, frames and sounds share; an event is its class with a deviation
of its own.  A video has 4 events on 2 frames each, and 4 frames of nothing, all in random order; most have 2 sounds as
well.  Every vector also has a large part in nuisance directions that say nothing (one set for each modality; a video's
own and a frame's own), and noise.  A caption tells one event, blurred; three in ten tell a sound, which no frame shows.
No class and no video is in both train and test.  The oracle knows which frames belong together and which directions say
nothing.  Intervals are 95 % of Student's t over seeds, all of which draw classes, videos and captions anew.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import machine
import numpy as np
from numpy.typing import NDArray

from api import Library, parts
from retriever.adapters import Adapter
from retriever.training import distil
from retriever.training.batches import Padded, Pairs
from retriever.training.loop import Options, device, ranked, scored, train
from retriever.training.model import TextPool
from retriever.types import Filter, Floats, Ids, Matrix, Modality

Recalls = tuple[float, float, float]
CPU = device("cpu")
SEEDS = 5
STUDENT = 2.776
"""The 97.5 % point of Student's t with four degrees of freedom: five seeds."""
VIDEOS, CLASSES, CAPTIONS = 1_200, 300, 6
TEST_VIDEOS, TEST_CLASSES = 400, 100
ASKED = 2
"""Captions more of each video, for questions to a library that an adapter was distilled on."""
EPOCHS = 8
SPEED_VIDEOS, SPEED_CAPTIONS, SPEED_WIDTH, SPEED_FRAMES = 9_000, 20, 512, 12
SLICE = 10_000
"""Captions of the speed table where not all are wanted."""

# ------------------------------------------------------------------------------------------------------ made-up events


@dataclass(frozen=True)
class World:
    """What all sets of one seed share: the encoders' directions, not the classes."""

    content: Matrix  # (D, r): where meaning lies
    nuisance: Matrix  # (D, n): where none lies
    heard: Floats  # (D,): what tells a caption of a sound

    WIDTH = 128
    MEANING = 32
    NUISANCE = 24

    @classmethod
    def drawn(cls, draw: np.random.Generator) -> "World":
        whole, _ = np.linalg.qr(draw.standard_normal((cls.WIDTH, cls.WIDTH)))
        return cls(whole[:, : cls.MEANING], whole[:, cls.MEANING : cls.MEANING + cls.NUISANCE], whole[:, -1])

    def seen(self, meaning: Floats, style: Floats, draw: np.random.Generator) -> Matrix:
        """Encoded: meanings `(N, r)` with a style `(N, n)` and noise, of length one."""
        own = draw.standard_normal(style.shape) * OWN / np.sqrt(self.NUISANCE)
        noise = draw.standard_normal((len(meaning), self.WIDTH)) * NOISE / np.sqrt(self.WIDTH)
        return unit(meaning @ self.content.T + (style + own) @ self.nuisance.T + noise)


STYLE, OWN, NOISE = 0.4, 0.4, 0.8
"""Lengths of a video's nuisance, of a vector's own, and of noise beside a meaning of length one."""
DEVIATION, BLUR = 0.8, 0.7
"""Lengths of what is particular to an event beside its class, and of what a caption gets wrong."""
EVENTS, FRAMES_EACH, BLANK = 4, 2, 4
MARK = 0.5
"""Length of the direction that captions of sounds have in common: they say that something is heard."""
SOUNDS, WINDOWS_EACH, HEARD_SHARE = 2, 3, 0.85
SOUND_CAPTIONS = 0.3


def unit(rows: np.ndarray) -> Matrix:
    return (rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)).astype(np.float32)


@dataclass(frozen=True)
class Made:
    """Made-up videos with captions, and what only the oracle knows."""

    pairs: Pairs
    of_sound: np.ndarray  # (N,) bool
    events: Ids  # (V, F + M): which event each token belongs to; -1 none; sounds after frames
    world: World


def made(world: World, videos: int, classes: int, captions: int, draw: np.random.Generator) -> Made:
    """`videos` of `classes` classes of their own, half of them sights, half sounds; `captions` a video."""
    kinds = unit(draw.standard_normal((2, classes, World.MEANING)))

    def happened(kind: int, each: int) -> Floats:
        chosen = kinds[kind][draw.integers(0, classes, (videos, each))]
        apart = draw.standard_normal(chosen.shape) * DEVIATION / np.sqrt(World.MEANING)
        return unit(chosen + apart)

    sights, sounds = happened(0, EVENTS), happened(1, SOUNDS)
    style = {name: STYLE * unit(draw.standard_normal((videos, World.NUISANCE))) for name in ("frame", "sound")}
    longest = EVENTS * FRAMES_EACH + BLANK
    windows = SOUNDS * WINDOWS_EACH
    shown = np.concatenate([np.repeat(np.arange(EVENTS), FRAMES_EACH), np.full(BLANK, -1)])
    events = np.full((videos, longest + windows), -1, np.int64)
    frames = np.zeros((videos, longest, World.WIDTH), np.float16)
    audio = np.zeros((videos, windows, World.WIDTH), np.float16)
    for video in range(videos):
        events[video, :longest] = draw.permutation(shown)
        meaning = np.where(events[video, :longest, None] >= 0, sights[video][events[video, :longest]], 0)
        frames[video] = world.seen(meaning, np.tile(style["frame"][video], (longest, 1)), draw)
        events[video, longest:] = np.repeat(np.arange(SOUNDS), WINDOWS_EACH)
        meaning = sounds[video][events[video, longest:]]
        audio[video] = world.seen(meaning, np.tile(style["sound"][video], (windows, 1)), draw)
    there = draw.random(videos) < HEARD_SHARE
    items = np.repeat(np.arange(videos), captions)
    of_sound = (draw.random(len(items)) < SOUND_CAPTIONS) & there[items]
    told = np.where(
        of_sound[:, None],
        sounds[items, draw.integers(0, SOUNDS, len(items))],
        sights[items, draw.integers(0, EVENTS, len(items))],
    )
    blurred = unit(told + draw.standard_normal(told.shape) * BLUR / np.sqrt(World.MEANING))
    style_of_text = STYLE * unit(draw.standard_normal((len(items), World.NUISANCE)))
    texts = unit(world.seen(blurred, style_of_text, draw) + MARK * of_sound[:, None] * world.heard)
    events[~there, longest:] = -1
    pairs = Pairs(
        texts,
        np.arange(len(items)),
        items,
        Padded(frames, np.ones((videos, longest), np.float32)),
        Padded(audio, np.repeat(there[:, None], windows, axis=1).astype(np.float32)),
        np.arange(videos),
    )
    return Made(pairs, of_sound, events, world)


def mean_pool(pairs: Pairs) -> Floats:
    """Cosine with the mean of all tokens of a video: what a first stage does."""
    return np.maximum.reduce([pairs.texts @ rows.T for rows in pairs.first_stage()])


def oracle(some: Made) -> Floats:
    """The best event of a video, its tokens averaged, in the directions that mean something."""
    pairs, longest = some.pairs, some.pairs.frames.rows.shape[1]
    assert pairs.audio is not None
    texts = unit(pairs.texts @ some.world.content)
    best = np.full((len(texts), len(pairs.owners)), -np.inf, np.float32)
    for part, events in ((pairs.frames, some.events[:, :longest]), (pairs.audio, some.events[:, longest:])):
        meaning = part.rows.astype(np.float32) @ some.world.content  # (V, F, r)
        for event in range(max(EVENTS, SOUNDS)):
            chosen = (events == event)[..., None]
            rows = unit(np.sum(meaning * chosen, axis=1))
            best = np.maximum(best, np.where(chosen.any(axis=1)[:, 0], texts @ rows.T, -np.inf))
    return best


def by_sense(found: Mapping[str, Floats], pairs: Pairs, of_sound: NDArray[np.bool_]) -> dict[str, Recalls]:
    """R@1 of each method: of all captions, of those of sights, of those of sounds."""
    return {
        name: (recall(scores, pairs), recall(scores, pairs, ~of_sound), recall(scores, pairs, of_sound))
        for name, scores in found.items()
    }


def recall(scores: Floats, pairs: Pairs, which: np.ndarray | None = None) -> float:
    """R@1 in %, of the captions that `which` names."""
    right = ranked(scores, pairs) < 1.5
    return 100 * float(np.mean(right if which is None else right[which]))


# ---------------------------------------------------------------------------------------------------------- real clips

JOINED = 600, 400
"""Joined videos to learn from and to be asked for."""
PARTS = 4
"""Groups of clips to learn from: a video is of one group, so that the clips which choose the checkpoint are new."""
SIGHTS, HEARD, TOKENS_EACH = 3, 1, 4
"""Clips in a joined video that are seen and that are heard, and tokens of each at most."""


@dataclass(frozen=True)
class Clip:
    """One real clip: its captions as the encoder has them, and its tokens."""

    texts: Matrix  # (C, D)
    rows: Matrix  # (F, D) as a head sees them: row times norm


def clips(media: Path, at: Path) -> tuple[list[Clip], list[Clip]]:
    """What is seen, and what is heard: each a clip's captions with the tokens of one modality.  A clip with a picture
    is never one that is heard, so that no caption of a sound is answered by a picture."""
    entries = [json.loads(line) for line in (media / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    with Library.open(at) as library:
        library.index([media])
        encode = parts.asking(library.store)
        with library.store.snapshot() as snapshot:
            keys = {Path(one.path).stem: one.key for one in snapshot.media()}
            spaces = {one.modality: one for one in snapshot.spaces.values()}
            found: dict[Modality, list[Clip]] = {Modality.VISION: [], Modality.SOUND: []}
            for entry in entries:
                modality = Modality.VISION if entry["kind"] == "video" else Modality.SOUND
                numbers = snapshot.numbers(Filter(media=frozenset({keys[entry["id"]]})))
                tokens = snapshot.tokens(numbers, spaces[modality].id)
                texts = [query["text"] for query in entry["queries"] if query["relevant"]] + entry["captions"]
                if len(tokens.rows):
                    wide = tokens.rows.astype(np.float32) * tokens.norms[:, None]
                    found[modality].append(Clip(encode(texts, spaces[modality].query_side), wide))
    return found[Modality.VISION], found[Modality.SOUND]


def joined(
    seen: list[Clip], heard: list[Clip], videos: int, groups: int, draw: np.random.Generator
) -> tuple[Pairs, Ids, Ids]:
    """Videos of several clips joined, those of a video from one of `groups`; one caption each, of a sight or of a
    sound.  With it, which clip each caption is of `(N,)`, and which clips each video is made of `(V, k)`."""
    width = seen[0].rows.shape[1]
    both = [*seen, *heard]
    frames: list[tuple[Matrix, Floats]] = []
    audio: list[tuple[Matrix, Floats]] = []
    texts, of, made_of = [], [], []
    for video in range(videos):
        sights = draw.choice(np.arange(video % groups, len(seen), groups), SIGHTS, replace=False)
        sounds = len(seen) + draw.choice(np.arange(video % groups, len(heard), groups), HEARD, replace=False)
        for chosen, sets in ((sights, frames), (sounds, audio)):
            rows = np.concatenate([_few(both[clip].rows) for clip in chosen])
            norms = np.linalg.norm(rows, axis=1)
            sets.append(((rows / norms[:, None]).astype(np.float16), norms.astype(np.float32)))
        asked = draw.choice(sounds if draw.random() < SOUND_CAPTIONS else sights)
        texts.append(both[asked].texts[draw.integers(len(both[asked].texts))])
        of.append(asked)
        made_of.append([*sights, *sounds])
    every = np.arange(videos)
    clip = np.array(of, np.int64)
    also = np.array([(one, video) for video, chosen in enumerate(made_of) for one in chosen], np.int64)
    audible = Padded.of(audio, width)
    shown = Padded.of(frames, width)
    pairs = Pairs(unit(np.stack(texts)), clip, every, shown, audible, every.copy(), also, groups=every % groups)
    return pairs, clip, np.array(made_of, np.int64)


def _few(rows: Matrix) -> Matrix:
    """The middle ones of equal bins."""
    kept = min(TOKENS_EACH, len(rows))
    chosen: Matrix = rows[(2 * np.arange(kept) + 1) * len(rows) // (2 * kept)]
    return chosen


def one_split(seen: list[Clip], heard: list[Clip], seed: int) -> dict[str, Recalls]:
    """R@1 as in `one_seed`.  Half of the clips are learnt from, the others asked for; other videos that hold the clip
    which a caption is of take no place."""
    draw = np.random.default_rng(seed)
    halves: list[list[list[Clip]]] = []
    for some in (seen, heard):
        order = draw.permutation(len(some))
        cut = len(some) // 2
        halves.append([[some[place] for place in part] for part in (order[:cut], order[cut:])])
    learn, _, _ = joined(halves[0][0], halves[1][0], JOINED[0], PARTS, draw)
    pairs, clip, made_of = joined(halves[0][1], halves[1][1], JOINED[1], 1, draw)
    of_sound = clip >= len(halves[0][1])
    whole = [unit(one.rows.mean(axis=0)) for one in (*halves[0][1], *halves[1][1])]
    near = pairs.texts @ np.stack(whole).T  # (N, clips)
    found = {
        "mean pool of frames": mean_pool(pairs.silent()),
        "mean pool": mean_pool(pairs),
        "untrained pooling": scored(TextPool("xpool", pairs.texts.shape[1]), pairs, CPU),
    }
    for family in ("xpool", "tefal"):
        options = Options(family, epochs=EPOCHS, seed=seed)
        found[f"trained {family}"] = scored(train(learn, options, CPU).model, pairs, CPU)
    found["oracle"] = near[:, made_of].max(axis=2)
    return by_sense(found, pairs, of_sound)


# ---------------------------------------------------------------------------------------------------------- the tables


def one_seed(seed: int) -> dict[str, Recalls]:
    """R@1 of each method: of all captions, of those of sights, of those of sounds."""
    draw = np.random.default_rng(seed)
    world = World.drawn(draw)
    learn = made(world, VIDEOS, CLASSES, CAPTIONS, draw)
    test = made(world, TEST_VIDEOS, TEST_CLASSES, 2, draw)
    pairs = test.pairs
    options = Options(epochs=EPOCHS, seed=seed)
    found = {
        "mean pool of frames": mean_pool(pairs.silent()),
        "mean pool": mean_pool(pairs),
        "untrained pooling": scored(TextPool("xpool", World.WIDTH), pairs, CPU),
    }
    for family in ("xpool", "tefal"):
        trained = train(learn.pairs, replace(options, family=family), CPU)
        found[f"trained {family}"] = scored(trained.model, pairs, CPU)
    found["oracle"] = oracle(test)
    return by_sense(found, pairs, test.of_sound)


COMPARED = (
    ("trained xpool", "mean pool of frames", 0),
    ("trained xpool", "mean pool", 0),
    ("trained tefal", "mean pool", 0),
    ("trained tefal", "trained xpool", 2),
)
"""Which method is held against which, and over which captions; X-Pool hears nothing, as the mean of frames."""


def table(title: str, seeds: list[dict[str, Recalls]]) -> None:
    print(f"\n## {title}, {len(seeds)} seeds, R@1 in %\n")
    print("| method | all captions | of sights | of sounds |\n|---|---|---|---|")
    for name in seeds[0]:
        print(f"| {name} | " + " | ".join(interval([seed[name][part] for seed in seeds]) for part in range(3)) + " |")
    print()
    for one, other, part in COMPARED:
        gaps = [seed[one][part] - seed[other][part] for seed in seeds]
        print(f"{one} less {other}, {('all', 'sights', 'sounds')[part]}: {interval(gaps)}")


def interval(values: list[float]) -> str:
    half = STUDENT * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.1f} ± {half:.1f}"


def distillation() -> None:
    """An adapter learns on captions of a library's videos, and is measured by others that ask of the same library:
    that is what it is for.  Head and adapter have seen none of those."""
    draw = np.random.default_rng(77)
    whole = made(World.drawn(draw), VIDEOS, CLASSES, CAPTIONS + ASKED, draw).pairs
    new = np.arange(len(whole)) % (CAPTIONS + ASKED) >= CAPTIONS
    learn, test = whole.only(np.flatnonzero(~new)), whole.only(np.flatnonzero(new))
    print(f"\n## distillation: first stage over {VIDEOS:,} videos, {len(test):,} captions\n")
    print("| teacher | measure | before | after |\n|---|---|---|---|")
    for family in ("xpool", "tefal"):
        teacher = train(learn, Options(family, epochs=EPOCHS), CPU).model
        adapter = distil.distil(learn, teacher, distil.Options(), CPU).adapter
        told = [
            distil.measured(one, test, np.arange(len(test)), test.first_stage())
            for one in (Adapter.identity("", World.WIDTH), adapter)
        ]
        for name in told[0]:
            print(f"| {family} | {name} | {told[0][name]:.3f} | {told[1][name]:.3f} |")


def speed(captions: int) -> None:
    draw = np.random.default_rng(1)
    rows = unit(draw.standard_normal((SPEED_VIDEOS, SPEED_FRAMES, SPEED_WIDTH))).astype(np.float16)
    items = np.sort(draw.permutation(SPEED_VIDEOS * SPEED_CAPTIONS)[:captions] // SPEED_CAPTIONS)
    texts = unit(draw.standard_normal((captions, SPEED_WIDTH)))
    frames = Padded(rows, np.ones((SPEED_VIDEOS, SPEED_FRAMES), np.float32))
    pairs = Pairs(texts, np.arange(captions), items, frames, None, np.arange(SPEED_VIDEOS))
    print(f"\n## one epoch, {SPEED_VIDEOS:,} videos of {SPEED_FRAMES} × {SPEED_WIDTH}, {captions:,} captions\n")
    for hard in (0, Options().hard):
        begun = perf_counter()
        train(pairs, Options("xpool", epochs=1, hard=hard), CPU)
        spent = perf_counter() - begun
        whole = spent * SPEED_VIDEOS * SPEED_CAPTIONS / captions / 60
        print(f"{hard} mined negatives: {spent / 60:.1f} minutes, {captions / spent:,.0f} captions/s, ", end="")
        print(f"{whole:.0f} minutes for all {SPEED_VIDEOS * SPEED_CAPTIONS:,}; judging before and after counted in")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, default=Path(__file__).parents[2] / "shared" / "media")
    parser.add_argument("--library", type=Path, help="of those clips; kept, and brought up to date")
    parser.add_argument("--full", action="store_true", help="speed over all captions, no slice")
    args = parser.parse_args()
    print(machine.describe())
    table(f"made-up events: {TEST_VIDEOS} test videos", [one_seed(seed) for seed in range(1, SEEDS + 1)])
    if (args.media / "manifest.jsonl").is_file():
        with tempfile.TemporaryDirectory() as folder:
            seen, heard = clips(args.media, args.library or Path(folder) / "library")
            table(
                f"joined real clips: {len(seen)} with pictures, {len(heard)} sounds, {JOINED[1]} test videos",
                [one_split(seen, heard, seed) for seed in range(1, SEEDS + 1)],
            )
    else:
        print(f"\nno labelled clips in {args.media}: joined real clips are left out")
    distillation()
    speed(SPEED_VIDEOS * SPEED_CAPTIONS if args.full else SLICE)


if __name__ == "__main__":
    main()
