"""A decoded chapter becomes tokens and lines, by every encoder that there is."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import groupby
from threading import Event
from time import perf_counter
from typing import Any

import numpy as np

from indexer.decoding import Chapter
from indexer.quiet import quiet_cut
from indexer.tracing import Trace
from retriever.ports import ClipEncoder, FrameEncoder, SentenceEncoder, SoundEncoder, SpeechRecognizer, TextRecognizer
from retriever.types import Line, Modality, Sound, Space, Stretch, TimeSpan, Tokens

MARGIN = 5.0
"""Seconds of sound around a chapter: as far as a cut between two spoken lines is looked for."""
LINES_REVISION = "lines-1"


@dataclass(frozen=True, slots=True)
class Encoders:
    """What a recipe asked for and this machine has, by plug-in name; `missing` says what it lacks, and why."""

    sentences: SentenceEncoder
    vision: Mapping[str, FrameEncoder] = field(default_factory=dict)
    sound: Mapping[str, SoundEncoder] = field(default_factory=dict)
    speech: Mapping[str, SpeechRecognizer] = field(default_factory=dict)
    text: Mapping[str, TextRecognizer] = field(default_factory=dict)
    missing: Mapping[Modality, str] = field(default_factory=dict)
    clips: Mapping[str, ClipEncoder] = field(default_factory=dict)

    @property
    def looking(self) -> Mapping[str, FrameEncoder | ClipEncoder]:
        """All that want pictures of one sampler."""
        return {**self.vision, **self.clips}

    @property
    def spaces(self) -> dict[str, Space]:
        """Every space that these encoders fill, by id."""
        own = [encoder.space for encoder in (*self.looking.values(), *self.sound.values())]
        spoken = [self.line_space(name, it, Modality.SPEECH) for name, it in self.speech.items()]
        written = [self.line_space(name, it, Modality.TEXT) for name, it in self.text.items()]
        return {space.id: space for space in (*own, *spoken, *written)}

    def line_space(self, name: str, recognizer: SpeechRecognizer | TextRecognizer, modality: Modality) -> Space:
        """The space of a recognizer's lines: its words, put into the sentence encoder's space."""
        query_side = f"{self.sentences.name}:{self.sentences.digest[:12]}"
        return Space(
            name=f"{name}→{self.sentences.name}",
            modality=modality,
            dimension=self.sentences.dimension,
            media_side=f"{name}:{recognizer.digest[:12]}+{query_side}",
            query_side=query_side,
            preprocessing=LINES_REVISION,
        )


@dataclass(slots=True)
class Encoded:
    """What became of one chapter."""

    tokens: dict[str, Tokens] = field(default_factory=dict)  # by space id
    lines: list[Line] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # encode, recognize


class Abandoned(Exception):
    """Nobody waits for what was to be encoded any more."""


def encode(
    chapters: Sequence[Chapter],
    encoders: Encoders,
    trace: Trace | None = None,
    beside: Executor | None = None,
    stop: Event | None = None,
) -> list[Encoded]:
    """Chapters, of one file or of several, each as tokens by space and lines.

    Frames of equal size share a batch across files; a row does not depend on what stands beside it in the batch, so
    this gives what one chapter after the other would.  Words are recognized at the same time in a thread of `beside`,
    which has one; without it, afterwards.

    Raises:
        Abandoned: `stop` was set meanwhile.
        RuntimeError, ValueError: an encoder's, over an input that it cannot take.
    """
    watched = _Watched(trace or Trace(), stop or Event())
    read: Future[list[Encoded]] | None = None
    if beside and (encoders.speech or encoders.text):
        read = beside.submit(_words, chapters, encoders, watched)
    try:
        results = _vectors(chapters, encoders, watched)
    finally:
        if read:  # nobody else may ask the recognizers meanwhile
            wait([read])
    for result, words in zip(results, read.result() if read else _words(chapters, encoders, watched), strict=True):
        result.tokens |= words.tokens
        result.lines += words.lines
        result.seconds |= words.seconds
    return results


@dataclass(frozen=True, slots=True)
class _Watched:
    """What an encoder does is seen in the trace, and does not begin once nobody waits for it."""

    trace: Trace
    stop: Event

    def span(self, track: str, name: str, **said: object) -> AbstractContextManager[None]:
        if self.stop.is_set():
            raise Abandoned
        return self.trace.span(track, name, **said)


def _vectors(chapters: Sequence[Chapter], encoders: Encoders, watched: "_Watched") -> list[Encoded]:
    """Frames, clips and sounds, as tokens."""
    results = [Encoded() for _ in chapters]
    began = perf_counter()
    for name, vision in encoders.vision.items():
        with watched.span(f"encode {name}", "frames", chapters=len(chapters), frames=_frames(chapters)):
            found = _frames_together(vision, chapters)
        for result, tokens in zip(results, found, strict=True):
            result.tokens[vision.space.id] = tokens
    stretches = [Stretch(chapter.frames, chapter.spans) for chapter in chapters]
    for name, clips in encoders.clips.items():
        with watched.span(f"encode {name}", "clips", chapters=len(chapters), frames=_frames(chapters)):
            found = clips.encode_clips(stretches)
        for result, tokens in zip(results, found, strict=True):
            result.tokens[clips.space.id] = tokens
    per_chapter = (perf_counter() - began) / max(len(chapters), 1)
    for chapter, result in zip(chapters, results, strict=True):
        began = perf_counter()
        for name, sound in encoders.sound.items():
            with watched.span(f"encode {name}", "sound", chapter=chapter.index):
                result.tokens[sound.space.id] = _sound_tokens(sound, chapter)
        result.seconds = {"encode": per_chapter + perf_counter() - began}
    return results


def _words(chapters: Sequence[Chapter], encoders: Encoders, watched: "_Watched") -> list[Encoded]:
    """What is said and written, as lines and their tokens."""
    results = [Encoded() for _ in chapters]
    for chapter, result in zip(chapters, results, strict=True):
        began = perf_counter()
        _recognize(chapter, encoders, result, watched)
        result.seconds = {"recognize": perf_counter() - began}
    return results


def _frames(chapters: Sequence[Chapter]) -> int:
    return sum(len(chapter.frames) for chapter in chapters)


def _frames_together(encoder: FrameEncoder, chapters: Sequence[Chapter]) -> list[Tokens]:
    found: list[Tokens] = [Tokens.none(encoder.space.dimension)] * len(chapters)
    filled = [number for number, chapter in enumerate(chapters) if len(chapter.frames)]
    by_shape = sorted(filled, key=lambda number: (chapters[number].frames.shape[1:], number))
    for _, group in groupby(by_shape, key=lambda number: chapters[number].frames.shape[1:]):
        members = list(group)
        frames = np.concatenate([chapters[number].frames for number in members])  # (N, H, W, 3)
        spans = np.concatenate([chapters[number].spans for number in members])  # (N, 2)
        tokens = encoder.encode_frames(frames, spans)
        ends = np.cumsum([len(chapters[number].frames) for number in members])
        for number, start, end in zip(members, [0, *ends[:-1]], ends, strict=True):
            found[number] = _rows(tokens, int(start), int(end))
    return found


def _rows(tokens: Tokens, start: int, end: int) -> Tokens:
    return Tokens(
        tokens.rows[start:end],
        tokens.spans[start:end],
        tokens.norms[start:end],
        tokens.labels[start:end],
        tokens.probabilities[start:end],
    )


def _sound_tokens(encoder: SoundEncoder, chapter: Chapter) -> Tokens:
    """The windows whose middle lies in the chapter; those over a border are the neighbour's just as well, once."""
    sound = chapter.sounds.get(encoder.rate)
    if sound is None or not len(sound.samples):
        return Tokens.none(encoder.space.dimension)
    return encoder.encode_sound(sound).within(_owned(chapter))


def _owned(chapter: Chapter) -> TimeSpan:
    """The chapter's own time: the last one has all that follows."""
    return TimeSpan(chapter.span.start, 1e12) if chapter.last else chapter.span


def _recognize(chapter: Chapter, encoders: Encoders, result: Encoded, watched: "_Watched") -> None:
    for name, listener in encoders.speech.items():
        spoken = chapter.sounds.get(listener.rate)
        with watched.span(f"recognize {name}", "speech", chapter=chapter.index):
            lines = listener.recognize(_between_words(spoken, chapter)) if spoken is not None else []
        _add_lines(name, listener, Modality.SPEECH, lines, encoders, result)
    for name, reader in encoders.text.items():
        with watched.span(f"recognize {name}", "pages", chapter=chapter.index, pages=len(chapter.pages)):
            lines = reader.recognize(chapter.pages, chapter.page_spans) if chapter.pages else []
        _add_lines(name, reader, Modality.TEXT, lines, encoders, result)


def _add_lines(
    name: str, recognizer: Any, modality: Modality, lines: list[Line], encoders: Encoders, result: Encoded
) -> None:
    space = encoders.line_space(name, recognizer, modality)
    lines = sorted(lines, key=lambda line: line.span.middle)  # a store files tokens by their middles
    rows = encoders.sentences.encode([line.text for line in lines])  # (N, D)
    spans = np.array([(line.span.start, line.span.end) for line in lines], np.float64).reshape(-1, 2)
    result.tokens[space.id] = Tokens(rows, spans, np.ones(len(lines), np.float32))
    result.lines += lines


def _between_words(sound: Sound, chapter: Chapter) -> Sound:
    """The chapter's sound, its borders moved to the quietest instants near by so that no word is cut.

    Each border is a function of the sound around it alone, so both neighbours find the same one.
    """
    start = quiet_cut(sound, chapter.span.start, MARGIN) if chapter.index else sound.start
    end = sound.start + sound.length if chapter.last else quiet_cut(sound, chapter.span.end, MARGIN)
    first = max(0, round((start - sound.start) * sound.rate))
    last = max(first, round((end - sound.start) * sound.rate))
    return Sound(sound.samples[first:last], sound.rate, sound.start + first / sound.rate)
