"""A decoded chapter becomes tokens and lines, by every encoder that there is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from time import perf_counter
from typing import Any

import numpy as np

from indexer.decoding import Chapter
from indexer.quiet import quiet_cut
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


def encode(chapters: Sequence[Chapter], encoders: Encoders) -> list[Encoded]:
    """Chapters, of one file or of several, each as tokens by space and lines.

    Frames of equal size share a batch across files; a row does not depend on what stands beside it in the batch, so
    this gives what one chapter after the other would.
    """
    results = [Encoded() for _ in chapters]
    began = perf_counter()
    for vision in encoders.vision.values():
        for result, tokens in zip(results, _frames_together(vision, chapters), strict=True):
            result.tokens[vision.space.id] = tokens
    stretches = [Stretch(chapter.frames, chapter.spans) for chapter in chapters]
    for clips in encoders.clips.values():
        for result, tokens in zip(results, clips.encode_clips(stretches), strict=True):
            result.tokens[clips.space.id] = tokens
    per_chapter = (perf_counter() - began) / max(len(chapters), 1)
    for chapter, result in zip(chapters, results, strict=True):
        began = perf_counter()
        for sound in encoders.sound.values():
            result.tokens[sound.space.id] = _sound_tokens(sound, chapter)
        heard = perf_counter()
        _recognize(chapter, encoders, result)
        result.seconds = {"encode": per_chapter + heard - began, "recognize": perf_counter() - heard}
    return results


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


def _recognize(chapter: Chapter, encoders: Encoders, result: Encoded) -> None:
    for name, listener in encoders.speech.items():
        spoken = chapter.sounds.get(listener.rate)
        lines = listener.recognize(_between_words(spoken, chapter)) if spoken is not None else []
        _add_lines(name, listener, Modality.SPEECH, lines, encoders, result)
    for name, reader in encoders.text.items():
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
