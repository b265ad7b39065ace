"""Media files that came to harm: bytes of whole ones changed at random, and headers that claim what nobody has."""

import random
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import media_files
from filming import Picture, Sounded, film, tone, write

HEADS = (b"\x1aE\xdf\xa3", b"RIFF", b"fLaC", b"OggS", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"ID3\x04")
SIZES = {"width": 64, "height": 48}
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def whole(folder: Path) -> dict[str, bytes]:
    """Name → a small file of each kind."""
    shown = film(12, **SIZES)
    sound = [(0.0, tone(1.2))]
    films = {
        "h264.mp4": (Picture(), Sounded(sound), {}),
        "front.mov": (Picture(), Sounded(sound), {"movflags": "faststart"}),
        "parts.mp4": (Picture(), None, {"movflags": "frag_keyframe+empty_moov"}),
        "h264.mkv": (Picture(), Sounded(sound, "libmp3lame"), {}),
        "vp9.webm": (Picture("libvpx-vp9", options={"cpu-used": "8"}), Sounded(sound, "libopus"), {}),
        "mpeg4.avi": (Picture("mpeg4", options={}), Sounded(sound, "libmp3lame"), {}),
        "broadcast.ts": (Picture(), Sounded(sound, "mp2"), {}),
        "moving.gif": (Picture("gif", "rgb8", {}), None, {}),
    }
    for name, (how, heard, options) in films.items():
        write(folder / name, shown, how, heard, options)
    sounds = {
        "pcm.wav": "pcm_s16le",
        "layer3.mp3": "libmp3lame",
        "free.flac": "flac",
        "opus.ogg": "libopus",
        "plain.m4a": "aac",
    }
    for name, codec in sounds.items():
        write(folder / name, sound=Sounded(sound, codec))
    for make in media_files.STILLS.values():
        make(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


# ------------------------------------------------------------------------------------------------------------ at random

Harm = Callable[[bytearray, random.Random], None]


def flips(content: bytearray, dice: random.Random) -> None:
    for _ in range(dice.choice([1, 4, 32, 256])):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)


def noise(content: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(content))
    size = min(len(content) - at, dice.choice([8, 64, 1024]))
    content[at : at + size] = dice.randbytes(size)


def cut(content: bytearray, dice: random.Random) -> None:
    del content[dice.randrange(1, len(content)) :]


def drop(content: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(content))
    del content[at : at + dice.choice([1, 4, 100, 2000])]


def repeat(content: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(content))
    content[at:at] = content[at : at + dice.choice([4, 100, 2000])] * dice.choice([1, 20])


def extreme(content: bytearray, dice: random.Random) -> None:
    """Numbers as only a header has them, in a header or anywhere."""
    for _ in range(dice.choice([1, 3])):
        form = dice.choice(["B", ">H", "<H", ">I", "<I", ">Q", "<Q"])
        size = struct.calcsize(form)
        reach = dice.choice([64, 512, len(content)])
        at = dice.randrange(max(1, min(reach, len(content)) - size))
        content[at : at + size] = struct.pack(form, dice.choice(EXTREMES) & ((1 << 8 * size) - 1))


def head(content: bytearray, dice: random.Random) -> None:
    """The beginning is another's."""
    kind = dice.choice(HEADS)
    content[: len(kind)] = kind


HARMS: tuple[Harm, ...] = (flips, noise, cut, drop, repeat, extreme, extreme, head)


def harmed(kinds: Mapping[str, bytes], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of `count` files, each of which came to harm once or twice."""
    dice = random.Random(seed)
    for number in range(count):
        name = dice.choice(sorted(kinds))
        content = bytearray(kinds[name])
        for _ in range(dice.choice([1, 1, 2])):
            dice.choice(HARMS)(content, dice)
        yield f"{number:03d}-{name}", bytes(content) or b"\0"


# ------------------------------------------------------------------------------------------------------ what is claimed


def claiming(kinds: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files whose headers claim sizes, lengths and rates that cannot be."""
    for side in (20_000, 65_535, 0x7FFFFFFF):
        yield f"png-{side}.png", png(side, side)
    yield "png-strip.png", png(0x7FFFFFF, 1)
    yield "gif-large.gif", replaced(kinds["moving.gif"], 6, struct.pack("<HH", 65_535, 65_535))
    yield "bmp-large.bmp", bmp(1 << 30, 1 << 30)
    for rate, channels in ((0xFFFFFFFF, 1), (0x7FFFFFFF, 2), (1, 1), (7, 1), (48_000, 65_535), (0, 1), (48_000, 0)):
        yield f"wav-{rate}-{channels}.wav", wav(kinds["pcm.wav"], rate, channels)
    movie = kinds["h264.mp4"]
    for box, at, form in (
        ("mvhd", 16, ">II"),  # ticks a second, and ticks
        ("mdhd", 12, ">II"),
        ("tkhd", 76, ">II"),  # width, height
        ("stts", 4, ">I"),  # entries
        ("stsz", 8, ">I"),  # samples
        ("stsc", 4, ">I"),
        ("stco", 4, ">I"),
        ("avc1", 28, ">H"),  # width and height
    ):
        for number in (0, 1, 0x7FFFFFFF, 0xFFFFFFFF):
            for pair in ((1, number), (number, 1), (number, number)):
                numbers = pair if form == ">II" else (number & ((1 << 8 * struct.calcsize(form)) - 1),)
                begin = movie.index(box.encode()) + 4 + at
                yield f"{box}-{'-'.join(map(str, pair))}.mp4", replaced(movie, begin, struct.pack(form, *numbers))
                if form != ">II":
                    break
    lossless = kinds["free.flac"]
    for rate, samples in ((655_350, 1), (1, (1 << 36) - 1), (0, 5), (48_000, (1 << 36) - 1)):
        packed = (rate << 44) | (0 << 41) | (15 << 36) | samples
        yield f"flac-{rate}-{samples}.flac", replaced(lossless, 18, struct.pack(">Q", packed))
    for where in (b"\x44\x89\x88", b"\x2a\xd7\xb1", b"\xb0\x81", b"\xba\x81"):  # duration, scale, width, height
        for value in (b"\xff" * 8, b"\x7f\xf0" + bytes(6), b"\x7f" * 8, bytes(8)):
            film_ = kinds["vp9.webm"]
            begin = film_.find(where)
            if begin >= 0:
                size = film_[begin + len(where) - 1] & 0x7F if where[-1] & 0x80 else 4
                at = begin + len(where)
                yield f"webm-{where.hex()}-{value[:2].hex()}.webm", replaced(film_, at, value[: max(1, min(size, 8))])


def replaced(content: bytes, at: int, part: bytes) -> bytes:
    return content[:at] + part + content[at + len(part) :]


def png(width: int, height: int) -> bytes:
    """A PNG of these sides with data for a few lines of it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = chunk(b"IDAT", zlib.compress(bytes(200_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + lines + chunk(b"IEND", b"")


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 999, 0, 54, 40, width, height, 1, 24, *[0] * 6)


def wav(content: bytes, rate: int, channels: int) -> bytes:
    made = replaced(content, 22, struct.pack("<HI", channels, rate))
    return replaced(made, 28, struct.pack("<I", (rate * channels * 2) & 0xFFFFFFFF))
