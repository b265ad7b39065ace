"""What can be set: flag > environment (`REELSEEK_…`) > TOML file > default, under the same name everywhere.

    settings = resolve(flags={"limit": "5"}, environ=os.environ, file=Path("reelseek.toml")).settings

Each default lives here and nowhere else.  Unknown keys are refused, and all complaints come at once.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from retriever.errors import BadSettings
from retriever.stores._address import without_secrets

PREFIX = "REELSEEK_"
CONFIG = "REELSEEK_CONFIG"
"""Names the TOML file."""
NO_SETTINGS = frozenset(
    {
        CONFIG,
        "REELSEEK_API_KEY",
        "REELSEEK_CACHE",
        "REELSEEK_CATALOG_PASSWORD",
        "REELSEEK_OFFLINE",
        "REELSEEK_QDRANT_API_KEY",
        "REELSEEK_QDRANT_URL",
        "REELSEEK_CRASH_AT",
        "REELSEEK_SHARED_MEDIA",
    }
)
"""Variables with our prefix that are none: this machine's cache of weights, that nothing may be pulled, three secrets
that no output may show, and three of the tests."""
FILE_NAME = "reelseek.toml"

Parse = Callable[[str], Any]


def _text(raw: str) -> str:
    if not raw.strip() or "\0" in raw:
        raise ValueError("some text")
    return raw


def _maybe(raw: str) -> str:
    return _text(raw) if raw else ""


def _catalog(raw: str) -> str:
    if (found := re.match(r"([a-zA-Z][\w+.-]*)://", raw)) and found[1] not in ("postgres", "postgresql"):
        raise ValueError("a folder, or postgresql://USER@HOST/DATABASE: no other database keeps one")
    if re.match(r"postgres(ql)?:", raw) and re.search(r"//[^@]*:[^@]*@|password=", raw):
        raise ValueError("postgresql://USER@HOST/DATABASE, and the password in REELSEEK_CATALOG_PASSWORD")
    return _maybe(raw)


def _whole(least: int, most: int) -> Parse:
    def parse(raw: str) -> int:
        try:
            number = int(raw)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return number

    return parse


def _share(raw: str) -> float:
    try:
        number = float(raw)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:  # also refuses nan
        raise ValueError("a number from 0 to 1")
    return number


def _amount(raw: str) -> float:
    try:
        number = float(raw)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError("a number of seconds, 0 or more")
    return number


def _processors(raw: str) -> float:
    try:
        number = float(raw)
    except ValueError:
        number = 0.0
    if not 0.01 <= number <= 1024:
        raise ValueError("a number of processors from 0.01 to 1024")
    return number


def size(raw: str) -> int:
    """Bytes, as people write them.

    Raises:
        ValueError: what it wants.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([kmgt]?)b?", raw.strip().lower())
    if not found:
        raise ValueError("a size such as 500MB, 1.5GB or a number of bytes")
    return int(float(found[1]) * 1000 ** " kmgt".index(found[2] or " "))


def shown_size(number: int) -> str:
    """Bytes as `size` reads them, to the byte."""
    for letter, one in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number and number % one == 0:
            return f"{number // one}{letter}B"
    return str(number)


def _one_of(*names: str) -> Parse:
    def parse(raw: str) -> str:
        if raw not in names:
            raise ValueError(" or ".join(names))
        return raw

    return parse


def _origin(raw: str) -> str:
    """Scheme, host and port, without a slash behind."""
    if not raw:
        return raw
    found = re.fullmatch(r"(https?://(?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?)/?", raw.strip())
    if not found:
        raise ValueError("an address without a path, such as https://clips.example.org")
    return found[1].lower()


def _networks(raw: str) -> str:
    for one in map(str.strip, raw.split(",") if raw else ()):
        try:
            whole = ip_network(one, strict=False)
        except ValueError as error:
            raise ValueError("networks with commas between, such as 10.1.0.0/16,127.0.0.1") from error
        if "/" in one and ip_address(one.partition("/")[0]) != whole.network_address:
            raise ValueError(f"the network that {one} is in, {whole}, or that address alone")
    return raw


def _device(raw: str) -> str:
    kind, _, number = raw.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (":" in raw and not (kind == "cuda" and number.isdecimal())):
        raise ValueError("auto, cpu, cuda, cuda:N or mps")
    return raw


def _prompts(raw: str) -> str:
    if raw not in ("plain", "photos") and not all("{}" in one for one in raw.split("|")):
        raise ValueError("plain, photos, or sentences with {} in each, and | between them")
    return raw


def _setting(default: Any, parse: Parse, about: str) -> Any:
    return field(default=default, metadata={"parse": parse, "about": about})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, each with its one default."""

    library: str = _setting("reelseek-library", _text, "folder of the library, or http(s)://HOST:6333/NAME in Qdrant")
    store: str = _setting("local", _text, "plug-in that keeps a library in a folder")
    store_catalog: str = _setting(
        "", _catalog, "catalog of a library in Qdrant: a folder, if not the usual one, or postgresql://…"
    )
    pack: str = _setting("offline", _text, "recipe by which media are indexed")
    budget: float = _setting(0.0, _share, "share of the frames that are encoded, the most telling; 0: as the pack says")
    sampling: str = _setting(
        "",
        _maybe,
        "frames that are looked at: keyframes, fixed(2), adaptive(2, 0.01, 4), uniform(8); none: as the pack says",
    )
    model: str = _setting("", _maybe, "model of pictures and texts for the pack openclip: NAME:TAG, hf-hub:…, folder")
    checkpoint: str = _setting("", _maybe, "file of weights for that model")
    sound_model: str = _setting("", _maybe, "model of sounds and texts for the pack openclip: hf-hub:…, folder")
    sound_checkpoint: str = _setting("", _maybe, "file of weights for that model")
    video_model: str = _setting(
        "", _maybe, "model of clips beside the frames, PLUGIN:MODEL: frozen:FILE, xclip:hf-hub:…, ila:FOLDER"
    )
    device: str = _setting("auto", _device, "where those models run: auto, cpu, cuda, cuda:N or mps")
    precision: str = _setting("auto", _one_of("auto", "fp32", "bf16", "fp16"), "numbers that they calculate with")
    runtime: str = _setting(
        "auto", _one_of("auto", "torch", "compile", "openvino"), "what runs them: auto is openvino on a CPU, else torch"
    )
    prompts: str = _setting("plain", _prompts, "sentences around a question to them: plain, photos, or 'a {}|the {}'")
    jobs: int = _setting(0, _whole(0, 256), "decoders at work at once; 0: as many as there are processors")
    executor: str = _setting("local", _text, "plug-in that carries the work out: local, or ray on a cluster")
    ray_address: str = _setting(
        "", _maybe, "Ray cluster of the executor ray: auto, HOST:6379; none: a Ray of this machine, for this run"
    )
    ray_cpus: float = _setting(1.0, _processors, "processors of each of its encode actors")
    ray_gpus: float = _setting(0.0, _share, "share of a GPU of each of them, such as 0.25; 0: none")
    tries: int = _setting(
        3, _whole(1, 100), "tries of a file that kills its decoder or keeps it waiting, over all runs"
    )
    most_seconds: float = _setting(0.0, _amount, "longest media that is taken, in seconds; 0: any")
    most_bytes: int = _setting(0, size, "largest file that is taken, such as 20GB; 0: any")
    least_free: int = _setting(1_000_000_000, size, "room that stays free on the library's disk, such as 5GB; 0: none")
    every: float = _setting(10.0, _amount, "seconds between two looks of --watch")
    host: str = _setting("127.0.0.1", _text, "name or address that `serve` listens at")
    port: int = _setting(8000, _whole(0, 65_535), "port that `serve` listens at; 0: one that is free")
    processes: int = _setting(
        1, _whole(1, 256), "processes of `serve` that answer questions, each on a core; 1: the server itself"
    )
    allow_urls: str = _setting("no", _one_of("no", "yes"), "whether media may be sent by their address on the web")
    allow_networks: str = _setting(
        "", _networks, "networks that are not public, to which such addresses and webhooks may lead: 10.1.0.0/16"
    )
    public_url: str = _setting(
        "", _origin, "address that people know a server by, if a proxy is before it: https://clips.example.org"
    )
    trusted_proxies: str = _setting(
        "", _networks, "addresses and networks of proxies, with , between, that may say for whom they ask: 127.0.0.1"
    )
    log: str = _setting("plain", _one_of("plain", "json"), "lines of `serve` on standard error: plain, or json")
    log_level: str = _setting(
        "auto",
        _one_of("auto", "debug", "info", "warning", "error"),
        "least that is told: every request is info; auto is that for json, and warning for plain",
    )
    uploads: str = _setting("", _maybe, "folder of media that are sent; none: `uploads` in the library's folder")
    roots: str = _setting("", _maybe, "folders with : between them, of which `serve` indexes files on demand")
    reranker: str = _setting("maxsim", _text, "plug-in that looks at the candidates' tokens")
    head: str = _setting("", _maybe, "folder of a trained head that looks in its place")
    adapter: str = _setting("", _maybe, "folder of an adapter that changes the question for the first stage")
    moment_head: str = _setting("", _maybe, "folder of a trained head that says where moments begin and end")
    by: str = _setting("moment", _one_of("moment", "video"), "what a result is: a moment, or a video")
    limit: int = _setting(10, _whole(1, 1000), "most results shown")
    copies: str = _setting(
        "collapse",
        _one_of("collapse", "show"),
        "footage that is there several times: collapse into one result, or show",
    )
    most_per_media: int = _setting(0, _whole(0, 1000), "most results of one media; 0: no cap")
    depth: int = _setting(200, _whole(1, 10_000), "candidates looked at closely")
    min_confidence: float = _setting(
        0.9, _share, "least confidence of a result; 0.9: one in ten questions without an answer here gets one"
    )


NAMES = tuple(f.name for f in fields(Settings))


def about(name: str) -> str:
    """What a setting is, on one line, with its default."""
    found = next(f for f in fields(Settings) if f.name == name)
    default: Any = found.default
    if found.metadata["parse"] is size:
        default = shown_size(default)
    return f"{found.metadata['about']} (default: {default if default != '' else 'none'})"


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings, and where each came from: `flag`, `environment`, the name of a file, or `default`."""

    settings: Settings
    origins: Mapping[str, str]

    def as_toml(self) -> str:
        """A file that says the same again."""
        lines = []
        for name in NAMES:
            value = getattr(self.settings, name)
            lines.append(f"{name} = {_toml(value)}  # {self.origins[name]}")
        return "\n".join(lines) + "\n"


def resolve(flags: Mapping[str, str | None], environ: Mapping[str, str], file: Path | None = None) -> Resolved:
    """Settings from flags (None: not given), environment and file.

    `file` None looks at `REELSEEK_CONFIG`, then for `reelseek.toml` in the working folder; neither need be there.

    Raises:
        BadSettings: one line a complaint, all of them.
    """
    complaints: list[str] = []
    chosen: dict[str, Any] = {}
    origins = dict.fromkeys(NAMES, "default")
    layers = (
        _from_file(_file(file, environ), complaints),
        _from_environment(environ),
        [("flag", f"--{name.replace('_', '-')}", name, raw) for name, raw in flags.items() if raw is not None],
    )
    for layer in layers:
        for origin, shown, name, raw in layer:
            value = _value(shown, name, raw, complaints)
            if value is not None:
                chosen[name], origins[name] = value, origin
    if complaints:
        raise BadSettings("\n".join(complaints))
    return Resolved(Settings(**chosen), origins)


def judged(name: str, raw: Any) -> Any:
    """The value of one setting that somebody names in Python.

    Raises:
        BadSettings: it cannot be one.
    """
    complaints: list[str] = []
    value = _value(name, name, raw, complaints)
    if complaints:
        raise BadSettings(complaints[0])
    return value


Given = tuple[str, str, str, Any]  # origin, name as the person wrote it, name of the setting, value


def _file(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    if named is not None:
        return named
    if environ.get(CONFIG):
        return Path(environ[CONFIG])
    usual = Path(FILE_NAME)
    return usual if usual.is_file() else None


def _from_file(file: Path | None, complaints: list[str]) -> list[Given]:
    if file is None:
        return []
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        complaints.append(f"{file} cannot be read: {error.strerror}; name a TOML file with --config")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        complaints.append(f"{file} is not TOML: {error}")
    else:
        return [(str(file), f"{file}: {name}", name, raw) for name, raw in table.items()]
    return []


def _from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in NO_SETTINGS:
            yield "environment", variable, variable.removeprefix(PREFIX).lower(), environ[variable]


def _value(shown: str, name: str, raw: Any, complaints: list[str]) -> Any:
    """The value, or None and a complaint."""
    setting = next((f for f in fields(Settings) if f.name == name), None)
    if setting is None:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(NAMES)}"
        complaints.append(f"{shown} is no setting: {hint}")
        return None
    try:
        if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
            raise ValueError("text or a number")
        return setting.metadata["parse"](str(raw))
    except ValueError as wanted:
        told = without_secrets(raw) if isinstance(raw, str) and "://" in raw else raw
        complaints.append(f"{shown} is {told!r}; it wants {wanted}")
        return None


def _toml(value: Any) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'
    return str(value)
