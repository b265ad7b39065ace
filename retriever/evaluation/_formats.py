"""Annotation files as their authors publish them, into captions of media and moments of media.

A format is a function of a folder and of what a manifest says of a split; its name there is its name in `FORMATS`.
A person brings the files; nothing is downloaded, and nothing is unpickled (MSVD's `raw-captions.pkl` least of all).
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from retriever.errors import BenchmarkError

Options = Mapping[str, Any]
MEDIA_ENDINGS = frozenset(
    f".{ending}"
    for ending in (
        *("3gp", "avi", "flv", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "webm", "wmv"),
        *("aac", "flac", "m4a", "mp3", "ogg", "opus", "wav"),
    )
)
CLIP_SECONDS = 2
"""What QVHighlights calls a clip."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence, the media that it tells of, and where that stands (`file:line`)."""

    media: str
    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Moments:
    """A sentence and the spans of a media that it tells of."""

    id: str
    media: str
    text: str
    windows: tuple[tuple[float, float], ...]
    where: str
    duration: float = 0.0  # seconds; 0 where nobody says
    clips: tuple[int, ...] = ()  # those that people judged, two seconds each, from 0
    saliency: tuple[tuple[float, ...], ...] = ()  # of each of these clips what several people gave it, 0 to 4


def stem(name: str) -> str:
    """The name of a media without the ending of its file; dots that belong to it stay."""
    path = Path(name)
    return path.stem if path.suffix.lower() in MEDIA_ENDINGS else name


def found(folder: Path, name: str) -> Path:
    """
    Raises:
        BenchmarkError: the file is not there; the message says what was looked for and what there is.
    """
    file = folder / name
    if file.is_file():
        return file
    if not folder.is_dir():
        raise BenchmarkError(f"{folder} is no folder; --annotations wants the folder that holds {name}")
    there = sorted(one.name for one in folder.iterdir())
    shown = ", ".join(there[:8]) + (f" and {len(there) - 8} more" if len(there) > 8 else "") if there else "nothing"
    raise BenchmarkError(f"{folder} does not hold {name} (it holds {shown}); put the published file there")


def text(file: Path) -> str:
    """What a file says, without a byte order mark."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchmarkError(f"{file} is not UTF-8 text (byte {error.start})") from error


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers.  Only a line feed ends one: JSON may hold other separators."""
    return ((number, line) for number, line in enumerate(text(file).split("\n"), 1) if line.strip())


def document(file: Path) -> Any:
    try:
        return json.loads(text(file))
    except json.JSONDecodeError as error:
        raise BenchmarkError(f"{file}:{error.lineno}: no JSON ({error.msg}); bring the published file") from error
    except RecursionError as error:
        raise BenchmarkError(f"{file}: no JSON that can be read (nested too deeply)") from error


def record(line: str, where: str) -> Mapping[str, Any]:
    """The object that a line of JSON holds."""
    try:
        one = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "too deep or too long"
        raise BenchmarkError(f"{where}: no JSON ({reason}): {line[:40]!r}") from error
    if not isinstance(one, dict):
        raise BenchmarkError(f"{where}: {line[:40]!r}; it wants an object")
    return one


def array(file: Path) -> NDArray[Any]:
    """A .npy file; one that holds objects would have to be unpickled, and is refused."""
    try:
        with file.open("rb") as opened:
            made = np.load(opened, allow_pickle=False)
    except (ValueError, EOFError, BadZipFile, MemoryError) as error:
        reason = str(error).partition(" If ")[0].partition(" when ")[0]
        raise BenchmarkError(f"{file} is not a plain .npy array ({reason})") from error
    if not isinstance(made, np.ndarray):
        raise BenchmarkError(f"{file} is not a plain .npy array (it holds several)")
    return made


def listed(folder: Path, options: Options) -> dict[str, str] | None:
    """The media of a split's list, each with where it stands; None where all are meant.  `list` names a file, or the
    several that it may be: lines of text, CSV with a column `video_id`, a JSON list, or an array of names."""
    if "list" not in options:
        return None
    known = options["list"] if isinstance(options["list"], list) else [options["list"]]
    there = [name for name in known if (folder / name).is_file()]
    file = found(folder, there[0] if there else " or ".join(known))
    if file.suffix == ".csv":
        return {stem(row["video_id"]): where for row, where in _rows(file, {"needs": ["video_id"]})}
    if file.suffix == ".json":
        return {
            stem(str(name)): f"{file}: entry {number}" for number, name in enumerate(_items(document(file), file), 1)
        }
    if file.suffix == ".npy":
        names = array(file)
        if names.ndim != 1 or names.dtype.kind not in "US":
            raise BenchmarkError(f"{file} holds {names.dtype} {names.shape}; it wants a row of names")
        return {stem(name): f"{file}: entry {number}" for number, name in enumerate(names.astype(str).tolist(), 1)}
    return {stem(line.strip()): f"{file}:{number}" for number, line in lines(file)}


# --------------------------------------------------------------------------------------------------------------- tables


def table(folder: Path, options: Options) -> Iterator[Caption]:
    """Rows of a CSV file, or of one with tabs.  `media` and each of `captions` are templates over the columns;
    `columns` names them where the file has no heading; `spaces` has letters that stand for a space."""
    names = options["media"], *options["captions"]
    needs = {field for name in names for field in _fields(name)}
    for row, where in _rows(found(folder, options["file"]), {**options, "needs": sorted(needs)}):
        for template in options["captions"]:
            said = template.format_map({key: _spaced(value, options) for key, value in row.items()})
            yield Caption(stem(options["media"].format_map(row)), said, where)


def _spaced(value: str, options: Options) -> str:
    return value.translate({ord(letter): " " for letter in options.get("spaces", "")})


def _fields(template: str) -> list[str]:
    return [part.split("}")[0] for part in template.split("{")[1:]]


def _rows(file: Path, options: Options) -> Iterator[tuple[dict[str, str], str]]:
    """Each row by column, with where it stands."""
    tabs = options.get("delimiter", ",") == "\t"
    reader = csv.reader(
        io.StringIO(text(file), newline=""),
        delimiter=options.get("delimiter", ","),
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
    )
    columns = options.get("columns") or next(_parsed(reader, file), [])
    missing = [name for name in options["needs"] if name not in columns]
    if missing:
        raise BenchmarkError(f"{file}:1: no column {missing[0]!r} (there are {', '.join(columns) or 'none'})")
    for row in _parsed(reader, file):
        if row:
            where = f"{file}:{reader.line_num}"
            if len(row) != len(columns):
                raise BenchmarkError(f"{where}: {len(row)} columns; it wants {len(columns)}: {', '.join(columns)}")
            yield dict(zip(columns, row, strict=True)), where


def _parsed(reader: Any, file: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise BenchmarkError(f"{file}:{reader.line_num}: no CSV ({error}); is a quote left open?") from error


# ----------------------------------------------------------------------------------------------------------------- JSON


def msrvtt(folder: Path, options: Options) -> Iterator[Caption]:
    """`MSRVTT_data.json`: {videos: [{video_id, split}], sentences: [{video_id, caption, sen_id}]}.  A split is a
    `list` of ids or a `part` as the videos name it."""
    file = found(folder, options["file"])
    whole = document(file)
    videos = {
        _field(one, "video_id", f"{file}: video {n}"): one for n, one in enumerate(_list(whole, "videos", file), 1)
    }
    wanted = listed(folder, options)
    if wanted is None:
        wanted = {name: str(file) for name, one in videos.items() if one.get("split") == options["part"]}
    for name, where in wanted.items():
        if name not in videos:
            raise BenchmarkError(f"{where}: {name} is no video of {file.name}")
    for number, one in enumerate(_list(whole, "sentences", file), 1):
        where = f"{file}: sentence {number}"
        name = _field(one, "video_id", where)
        if name not in videos:
            raise BenchmarkError(f"{where}: {name} is none of the file's videos")
        if name in wanted:
            yield Caption(name, _field(one, "caption", where), where)


def captions(folder: Path, options: Options) -> Iterator[Caption]:
    """{media: [caption, …]}, with a `list` of the media of a split.  A caption may be a list of words."""
    file = found(folder, options["file"])
    whole = _mapping(document(file), file)
    told = {stem(name): said for name, said in whole.items()}
    wanted = listed(folder, options)
    for name, where in (dict.fromkeys(told, str(file)) if wanted is None else wanted).items():
        if name not in told:
            raise BenchmarkError(f"{where}: {name} has no captions in {file.name}")
        if not isinstance(told[name], list):
            raise BenchmarkError(f"{file}: {name}: it wants a list of captions")
        for number, one in enumerate(told[name], 1):
            place = f"{file}: {name}, caption {number}"
            words = one if isinstance(one, list) else [one]
            yield Caption(name, " ".join(_text(word, place) for word in words), place)


def vatex(folder: Path, options: Options) -> Iterator[Caption]:
    """[{videoID, enCap: [caption, …], chCap}]; the Chinese captions are left aside."""
    file = found(folder, options["file"])
    wanted, seen = listed(folder, options), set()
    for number, one in enumerate(_items(document(file), file), 1):
        name = _field(one, "videoID", f"{file}: entry {number}")
        seen.add(name)
        if wanted is None or name in wanted:
            for place, said in enumerate(_list(one, "enCap", f"{file}: entry {number}"), 1):
                where = f"{file}: entry {number}, caption {place}"
                yield Caption(name, _text(said, where), where)
    _all_seen(wanted, seen, file)


def paragraphs(folder: Path, options: Options) -> Iterator[Caption]:
    """ActivityNet Captions, {media: {duration, timestamps, sentences}}: all sentences of a media make one."""
    file = found(folder, options["file"])
    wanted, seen = listed(folder, options), set()
    for name, one in _mapping(document(file), file).items():
        where = f"{file}: {name}"
        seen.add(name)
        if wanted is None or name in wanted:
            said = [_text(sentence, where).strip() for sentence in _list(one, "sentences", where)]
            yield Caption(name, " ".join(said), where)
    _all_seen(wanted, seen, file)


def didemo(folder: Path, options: Options) -> Iterator[Caption]:
    """[{video, description, times, …}]: all descriptions of a media, in the order of the file, make one."""
    file = found(folder, options["file"])
    said: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for number, one in enumerate(_items(document(file), file), 1):
        where = f"{file}: entry {number}"
        name = stem(_field(one, "video", where))
        said.setdefault(name, []).append(_field(one, "description", where).strip())
        first.setdefault(name, where)
    wanted = listed(folder, options)
    for name, sentences in said.items():
        if wanted is None or name in wanted:
            yield Caption(name, " ".join(sentences), first[name])
    _all_seen(wanted, set(said), file)


def jsonl(folder: Path, options: Options) -> Iterator[Caption]:
    """Our own, for benchmarks that nobody published: a line a media, {"media": …, "captions": […]}."""
    file = found(folder, options["file"])
    for number, line in lines(file):
        where = f"{file}:{number}"
        one = record(line, where)
        for said in _list(one, "captions", where):
            yield Caption(stem(_field(one, "media", where)), _text(said, where), where)


# -------------------------------------------------------------------------------------------------------------- moments


def charades_sta(folder: Path, options: Options) -> Iterator[Moments]:
    """Lines `VIDEO START END##SENTENCE`."""
    file = found(folder, options["file"])
    for number, line in lines(file):
        where = f"{file}:{number}"
        place, mark, said = line.partition("##")
        fields = place.split()
        if not mark or len(fields) != 3:
            raise BenchmarkError(f"{where}: {line[:60]!r}; it wants VIDEO START END##SENTENCE")
        window = _window(fields[1:], where)
        yield Moments(str(number), fields[0], _text(said.strip(), where), (window,), where)


def highlights(folder: Path, options: Options) -> Iterator[Moments]:
    """QVHighlights, a line a question: {qid, query, vid, duration, relevant_windows, …}."""
    file = found(folder, options["file"])
    for number, line in lines(file):
        where = f"{file}:{number}"
        one = record(line, where)
        windows = tuple(_window(window, where) for window in _list(one, "relevant_windows", where))
        if not windows or "qid" not in one:
            raise BenchmarkError(f"{where}: no {'relevant_windows' if 'qid' in one else 'qid'}; it wants one")
        name, media, text = str(one["qid"]), _field(one, "vid", where), _field(one, "query", where)
        yield Moments(name, media, text, windows, where, *_saliency(one, where))


def _saliency(one: Mapping[str, Any], where: str) -> tuple[float, tuple[int, ...], tuple[tuple[float, ...], ...]]:
    """How long the media is, which of its clips were judged, and how."""
    duration = one.get("duration", 0.0)
    if not isinstance(duration, (int, float)) or isinstance(duration, bool) or not 0 <= duration < np.inf:
        raise BenchmarkError(f"{where}: 'duration' is {duration!r}; it wants seconds")
    if "saliency_scores" not in one:
        return float(duration), (), ()
    clips, given = _list(one, "relevant_clip_ids", where), _list(one, "saliency_scores", where)
    try:
        scores = tuple(tuple(float(score) for score in each) for each in given)
    except (TypeError, ValueError) as error:
        raise BenchmarkError(f"{where}: 'saliency_scores' wants a list of scores for each clip") from error
    sizes = {len(each) for each in scores}
    if len(scores) != len(clips) or len(sizes) > 1 or 0 in sizes:
        raise BenchmarkError(f"{where}: {len(clips)} clips and {len(scores)} scores; it wants as many, of one length")
    most = int(duration / CLIP_SECONDS)
    wrong = [clip for clip in clips if type(clip) is not int or not 0 <= clip < most]
    if wrong:
        raise BenchmarkError(f"{where}: clip {wrong[0]!r} is none of the {most} that a media of {duration:g} s has")
    return float(duration), tuple(clips), scores


FORMATS: Mapping[str, Callable[[Path, Options], Iterator[Caption]]] = {
    "table": table,
    "msrvtt": msrvtt,
    "captions": captions,
    "vatex": vatex,
    "paragraphs": paragraphs,
    "didemo": didemo,
    "jsonl": jsonl,
}
NEEDS: Mapping[str, tuple[str, ...]] = {"table": ("file", "media", "captions")}
"""What a manifest tells a format; all others only want `file`."""
MOMENT_FORMATS: Mapping[str, Callable[[Path, Options], Iterator[Moments]]] = {
    "charades_sta": charades_sta,
    "highlights": highlights,
}


# -------------------------------------------------------------------------------------------------------------- helpers


def _window(ends: Any, where: str) -> tuple[float, float]:
    try:
        start, end = (float(each) for each in ends)
    except (TypeError, ValueError):
        start, end = 0.0, -1.0
    if not 0 <= start <= end < np.inf:
        raise BenchmarkError(f"{where}: the window is {ends!r}; it wants a start and an end in seconds")
    return start, end


def _mapping(whole: Any, file: Path) -> Mapping[str, Any]:
    if not isinstance(whole, dict):
        raise BenchmarkError(f"{file}: a {type(whole).__name__} at the top; it wants an object by media")
    return whole


def _items(whole: Any, file: Path) -> Sequence[Any]:
    if not isinstance(whole, list):
        raise BenchmarkError(f"{file}: a {type(whole).__name__} at the top; it wants a list")
    return whole


def _list(one: Any, name: str, where: Path | str) -> Sequence[Any]:
    value = one.get(name) if isinstance(one, dict) else None
    if not isinstance(value, list):
        raise BenchmarkError(f"{where}: no list {name!r}; it wants one")
    return value


def _field(one: Any, name: str, where: str) -> str:
    value = one.get(name) if isinstance(one, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise BenchmarkError(f"{where}: {name!r} is {value!r}; it wants text")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BenchmarkError(f"{where}: the caption is {value!r}; it wants words")
    return value


def _all_seen(wanted: Mapping[str, str] | None, seen: set[str], file: Path) -> None:
    for name, where in (wanted or {}).items():
        if name not in seen:
            raise BenchmarkError(f"{where}: {name} is not in {file.name}")
