"""Makes small media files on the spot, each with what a right reader must see and hear in it.

Pictures carry their own number as black and white columns, so a test can say which one it was shown whatever a codec
did to the shades; others have four quarters of four colours, so it can say which way is up.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

WIDTH, HEIGHT = 160, 96
BITS = 8  # columns of a numbered picture
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
MILLI = Fraction(1, 1000)
RATE = 48_000


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """`(H, W, 3)` with a column a bit, the highest at the left."""
    bits = [(number >> bit) & 1 for bit in reversed(range(BITS))]
    columns = np.array(bits)[np.arange(width) * BITS // width]  # (W,)
    return np.repeat(np.where(columns, 235, 20)[None, :, None].astype(np.uint8), height, axis=0).repeat(3, axis=2)


def number_of(pixels: Pixels) -> int | None:
    """The number that a picture carries; None if it is no numbered picture, or a damaged one."""
    width = pixels.shape[1]
    edges = np.linspace(0, width, BITS + 1)
    number = 0
    for left, right in pairwise(edges):
        column = pixels[:, int(left + (right - left) / 4) : max(int(right - (right - left) / 4), int(left) + 1)]
        shade = column.astype(np.float64)
        if not (shade.max() < 90 or shade.min() > 165):
            return None
        number = number * 2 + bool(shade.mean() > 128)
    return number


def quarters(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """Red, green, blue and white: top left, top right, bottom left, bottom right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, : width // 2] = BLUE
    pixels[height // 2 :, width // 2 :] = WHITE
    return pixels


def quarter_colours(pixels: Pixels) -> list[tuple[int, int, int]]:
    """The pure colours in the four quarters, in reading order."""
    height, width, _ = pixels.shape
    middles = [
        (height // 4, width // 4),
        (height // 4, -width // 4),
        (-height // 4, width // 4),
        (-height // 4, -width // 4),
    ]
    return [tuple(255 * int(shade > 127) for shade in pixels[row, column]) for row, column in middles]  # type: ignore[misc]


def tone(seconds: float, hertz: float = 440.0, rate: int = RATE, start: float = 0.0) -> NDArray[np.float32]:
    """Half as loud as can be."""
    places = start + np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * places)).astype(np.float32)


@dataclass(frozen=True)
class Picture:
    """How pictures are encoded."""

    codec: str = "libx264"
    layout: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "bf": "2", "g": "10"})
    pixel_aspect: Fraction | None = None
    turn: tuple[float, bool] | None = None  # degrees counter-clockwise, mirrored


LOSSLESS = Picture("ffv1", "yuv444p", {})


@dataclass(frozen=True)
class Sounded:
    """How sound is encoded, and where it begins.  Blocks of samples, each at its second."""

    blocks: Sequence[tuple[float, NDArray[np.float32]]]
    codec: str = "aac"
    layout: str = "mono"
    rate: int = RATE


def write(
    path: Path,
    pictures: Iterable[tuple[float, Pixels]] = (),
    how: Picture = Picture(),
    sound: Sounded | None = None,
    options: Mapping[str, str] | None = None,
    container: str | None = None,
    target: Any = None,
) -> Path:
    """Pictures at their seconds, and sound, as a file."""
    shown = list(pictures)
    with av.open(target or str(path), "w", format=container, options=dict(options or {})) as out:
        film = _film(out, shown[0][1], how) if shown else None
        track = _track(out, sound) if sound else None
        parcels: list[tuple[float, Any]] = []
        if film is not None:
            parcels += _encoded_pictures(film, shown)
        if track is not None and sound is not None:
            parcels += _encoded_sound(track, sound)
        for _, packet in sorted(parcels, key=lambda parcel: parcel[0]):
            out.mux(packet)
    return path


def _film(out: Any, first: Pixels, how: Picture) -> Any:
    film = out.add_stream(how.codec, rate=10, options=dict(how.options))
    film.height, film.width = first.shape[:2]
    film.pix_fmt = how.layout
    film.codec_context.time_base = MILLI
    if how.pixel_aspect:
        film.codec_context.sample_aspect_ratio = how.pixel_aspect
    if how.turn:
        film.set_display_rotation(how.turn[0], hflip=how.turn[1])
    return film


def _track(out: Any, sound: Sounded) -> Any:
    track = out.add_stream(sound.codec, rate=sound.rate)
    track.codec_context.layout = sound.layout
    return track


def _encoded_pictures(film: Any, shown: Sequence[tuple[float, Pixels]]) -> Iterator[tuple[float, Any]]:
    frames = []
    for second, pixels in shown:
        frame = av.VideoFrame.from_ndarray(pixels, "rgba" if pixels.shape[2] == 4 else "rgb24")
        frame.pts, frame.time_base = round(second * 1000), MILLI
        frames.append(frame)
    for frame in [*frames, None]:
        for packet in film.encode(frame):
            yield float((packet.dts if packet.dts is not None else packet.pts) * packet.time_base), packet


def _encoded_sound(track: Any, sound: Sounded) -> Iterator[tuple[float, Any]]:
    channels = track.codec_context.layout.nb_channels
    resampler = av.AudioResampler(track.codec_context.format, sound.layout, sound.rate, track.codec_context.frame_size)
    frames = []
    for second, samples in sound.blocks:
        frame = av.AudioFrame.from_ndarray(np.repeat(samples[None], channels, axis=0), "fltp", sound.layout)
        frame.sample_rate, frame.time_base = sound.rate, Fraction(1, sound.rate)
        frame.pts = round(second * sound.rate)
        frames += resampler.resample(frame)
    for frame in [*frames, *resampler.resample(None), None]:
        for packet in track.encode(frame):
            yield float(packet.pts * packet.time_base), packet


def film(count: int = 30, fps: float = 10.0, **size: int) -> list[tuple[float, Pixels]]:
    """`count` numbered pictures."""
    return [(number / fps, numbered(number, **size)) for number in range(count)]


# ------------------------------------------------------------------------------------------------------- good samples


@dataclass(frozen=True)
class Sample:
    """A file, and what is in it."""

    path: Path
    kind: str = "video"
    size: tuple[int, int] = (WIDTH, HEIGHT)  # as shown
    times: Sequence[float] = ()  # when each picture comes
    end: float = 0.0
    right: Callable[[int, Pixels], bool] = lambda number, pixels: number_of(pixels) == number
    tones: Sequence[tuple[float, float]] | None = None  # seconds at which a tone is on; None: no sound at all


def _filmed(path: Path, how: Picture, shown: Sequence[tuple[float, Pixels]] | None = None, **options: Any) -> Sample:
    shown = film() if shown is None else shown
    write(path, shown, how, **options)
    height, width = shown[0][1].shape[:2]
    return Sample(path, size=(width, height), times=[second for second, _ in shown], end=shown[-1][0] + 0.1)


def film_with_tone(folder: Path) -> Sample:
    sound = Sounded([(0.0, np.concatenate([np.zeros(RATE, np.float32), tone(1), np.zeros(RATE, np.float32)]))])
    made = _filmed(folder / "tone.mp4", Picture(), sound=sound)
    return Sample(made.path, size=made.size, times=made.times, end=3.0, tones=[(1.0, 2.0)])


def silent_track(folder: Path) -> Sample:
    made = _filmed(folder / "silent.mp4", Picture(), sound=Sounded([(0.0, np.zeros(3 * RATE, np.float32))]))
    return Sample(made.path, size=made.size, times=made.times, end=3.0, tones=[])


def no_sound(folder: Path) -> Sample:
    return _filmed(folder / "mute.mkv", Picture())


def variable_rate(folder: Path) -> Sample:
    seconds = (0.0, 0.04, 0.5, 0.6, 1.4, 1.5, 2.2, 2.24, 2.6)
    shown = [(second, numbered(number)) for number, second in enumerate(seconds)]
    made = _filmed(folder / "variable.mkv", Picture(), shown)
    return Sample(made.path, size=made.size, times=made.times, end=2.7)


def late_pictures(folder: Path) -> Sample:
    """Pictures begin half a second after the sound, and the container's clock does not begin at zero."""
    shown = [(5.5 + number / 10, numbered(number)) for number in range(20)]
    sound = Sounded([(5.0, np.concatenate([np.zeros(RATE, np.float32), tone(1.5)]))], "pcm_s16le")
    path = write(folder / "late.mkv", shown, Picture(), sound)
    return Sample(path, times=[second - 5.0 for second, _ in shown], end=2.5, tones=[(1.0, 2.5)])


def odd_size(folder: Path) -> Sample:
    return _filmed(folder / "odd.webm", Picture("libvpx", options={"cpu-used": "16"}), film(20, width=161, height=91))


def ten_bits(folder: Path) -> Sample:
    return _filmed(folder / "ten.mkv", Picture("ffv1", "yuv420p10le", {}))


def rotated(folder: Path) -> Sample:
    path = write(folder / "rotated.mp4", [(n / 10, quarters()) for n in range(20)], Picture(turn=(90, False)))
    upright = [GREEN, WHITE, RED, BLUE]
    return Sample(
        path, size=(HEIGHT, WIDTH), times=[n / 10 for n in range(20)], end=2.0,
        right=lambda _, pixels: quarter_colours(pixels) == upright,
    )  # fmt: skip


def mirrored(folder: Path) -> Sample:
    path = write(folder / "mirrored.mp4", [(n / 10, quarters()) for n in range(20)], Picture(turn=(180, True)))
    upright = [BLUE, WHITE, RED, GREEN]
    return Sample(
        path, times=[n / 10 for n in range(20)], end=2.0, right=lambda _, pixels: quarter_colours(pixels) == upright
    )


def wide_pixels(folder: Path) -> Sample:
    made = _filmed(folder / "wide.mkv", Picture(pixel_aspect=Fraction(2, 1)))
    return Sample(made.path, size=(2 * WIDTH, HEIGHT), times=made.times, end=made.end)


def half_clear(size: tuple[int, int] = (WIDTH, HEIGHT)) -> Pixels:
    """`(H, W, 4)`: white, the right half of it transparent."""
    pixels = np.full((size[1], size[0], 4), 255, np.uint8)
    pixels[:, size[0] // 2 :, 3] = 0
    return pixels


def _is_half_black(_: int, pixels: Pixels) -> bool:
    left, right = pixels[:, : pixels.shape[1] // 2 - 4], pixels[:, pixels.shape[1] // 2 + 4 :]
    return bool(left.min() > 200 and right.max() < 40)


def clear_film(folder: Path) -> Sample:
    how = Picture("libvpx-vp9", "yuva420p", {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0"})
    path = write(folder / "clear.webm", [(n / 10, half_clear()) for n in range(5)], how)
    return Sample(path, times=[n / 10 for n in range(5)], end=0.5, right=_is_half_black)


def moving_gif(folder: Path) -> Sample:
    return _filmed(folder / "moving.gif", Picture("gif", "rgb8", {}))


def unending(folder: Path) -> Sample:
    """What a browser records: no index, no duration, written to what could not be gone back in."""
    path = folder / "live.webm"
    with path.open("wb") as file:
        pipe = _Pipe(file)
        write(path, film(), Picture("libvpx", options={"cpu-used": "16"}), container="webm", target=pipe)
    return Sample(path, times=[second for second, _ in film()], end=3.0)


class _Pipe:
    """A file that can only be written on."""

    name = "pipe"

    def __init__(self, file: Any) -> None:
        self.write = file.write


def false_keyframes(folder: Path) -> Sample:
    """Each of its pictures claims to be a keyframe, and most lean on the one before: jumping into it gives rubbish."""
    honest, path = folder / "honest.mp4", folder / "false.mp4"
    shown = film(100)
    write(honest, shown, Picture("mpeg4", options={"g": "100", "bf": "0", "q": "3"}))
    with av.open(str(honest)) as source, av.open(str(path), "w") as out:
        track = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.is_keyframe = packet.is_keyframe or packet.pts * packet.time_base % 3 == 0
                packet.stream = track
                out.mux(packet)
    return Sample(path, times=[second for second, _ in shown], end=10.0)


def long_film(folder: Path) -> Sample:
    """A keyframe every two seconds, so that jumping is worth something."""
    how = Picture(options={"preset": "ultrafast", "bf": "2", "g": "20", "keyint_min": "20"})
    return _filmed(folder / "long.mp4", how, film(150))


FILMS: Mapping[str, Callable[[Path], Sample]] = {
    make.__name__: make
    for make in (
        film_with_tone, silent_track, no_sound, variable_rate, late_pictures, odd_size, ten_bits, rotated, mirrored,
        wide_pixels, clear_film, moving_gif, unending, false_keyframes, long_film,
    )
}  # fmt: skip


def _photo(path: Path, codec: str, layout: str, pixels: Pixels | None = None) -> Path:
    how = Picture(codec, layout, {})
    return write(path, [(0.0, quarters() if pixels is None else pixels)], how, container="image2")


def _is_quarters(_: int, pixels: Pixels) -> bool:
    return quarter_colours(pixels) == [RED, GREEN, BLUE, WHITE]


def _still(path: Path, right: Callable[[int, Pixels], bool] = _is_quarters, **more: Any) -> Sample:
    return Sample(path, "image", times=[0.0], end=1.0, right=right, **more)


def jpeg(folder: Path) -> Sample:
    return _still(_photo(folder / "photo.jpg", "mjpeg", "yuvj420p"))


def turned_jpeg(folder: Path) -> Sample:
    """As a camera held upright writes it: the sensor's pixels, and a note (EXIF orientation 6) to turn them by 90°."""
    plain = _photo(folder / "flat.jpg", "mjpeg", "yuvj420p").read_bytes()
    tags = struct.pack("<HHHII", 1, 0x0112, 3, 1, 6) + struct.pack("<I", 0)
    exif = b"Exif\0\0" + struct.pack("<2sHI", b"II", 42, 8) + tags
    path = folder / "turned.jpg"
    path.write_bytes(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:])
    upright = [BLUE, RED, WHITE, GREEN]
    return _still(path, lambda _, pixels: quarter_colours(pixels) == upright, size=(HEIGHT, WIDTH))


def png(folder: Path) -> Sample:
    return _still(_photo(folder / "photo.png", "png", "rgb24"))


def clear_png(folder: Path) -> Sample:
    return _still(_photo(folder / "clear.png", "png", "rgba", half_clear()), _is_half_black)


def webp(folder: Path) -> Sample:
    return _still(_photo(folder / "photo.webp", "libwebp", "yuv420p"))


def still_gif(folder: Path) -> Sample:
    return _still(write(folder / "still.gif", [(0.0, quarters())], Picture("gif", "rgb8", {})))


def percent_png(folder: Path) -> Sample:
    """A name that would stand for a whole series of pictures, were it told to FFmpeg."""
    _photo(folder / "photo1.png", "png", "rgb24", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    made = _photo(folder / "plain.png", "png", "rgb24")
    return _still(made.rename(folder / "photo%d.png"))


STILLS: Mapping[str, Callable[[Path], Sample]] = {
    make.__name__: make for make in (jpeg, turned_jpeg, png, clear_png, webp, still_gif, percent_png)
}


def _heard(path: Path, sound: Sounded, tones: Sequence[tuple[float, float]], end: float) -> Sample:
    write(path, sound=sound)
    return Sample(path, "sound", size=(0, 0), end=end, tones=tones)


_SECOND = np.zeros(RATE, np.float32)


def wav(folder: Path) -> Sample:
    blocks = [(0.0, np.concatenate([_SECOND, tone(1)]))]
    return _heard(folder / "tone.wav", Sounded(blocks, "pcm_s16le"), [(1.0, 2.0)], 2.0)


def stereo_mp3(folder: Path) -> Sample:
    blocks = [(0.0, np.concatenate([_SECOND, tone(1), _SECOND]))]
    return _heard(folder / "tone.mp3", Sounded(blocks, "libmp3lame", "stereo"), [(1.0, 2.0)], 3.0)


def opus(folder: Path) -> Sample:
    blocks = [(0.0, np.concatenate([_SECOND, tone(1), _SECOND]))]
    return _heard(folder / "tone.ogg", Sounded(blocks, "libopus"), [(1.0, 2.0)], 3.0)


def gap(folder: Path) -> Sample:
    """A recorder that paused: nothing at all between the seconds 1 and 2.5."""
    blocks = [(0.0, tone(1)), (2.5, tone(1, start=2.5))]
    return _heard(folder / "gap.mka", Sounded(blocks, "pcm_s16le"), [(0.0, 1.0), (2.5, 3.5)], 3.5)


def covered(folder: Path) -> Sample:
    """A song with its cover picture, which is no video."""
    cover = _photo(folder / "cover.png", "png", "rgb24").read_bytes()
    path = folder / "song.mp3"
    with av.open(str(path), "w") as out:
        track = out.add_stream("libmp3lame", rate=RATE)
        track.codec_context.layout = "mono"
        picture = out.add_stream("png")
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "rgb24"
        picture.disposition = Disposition.attached_pic
        out.start_encoding()
        packet = av.Packet(cover)
        packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, MILLI
        out.mux(packet)
        for _, packet in _encoded_sound(track, Sounded([(0.0, tone(2))], "libmp3lame")):
            out.mux(packet)
    return Sample(path, "sound", size=(0, 0), end=2.0, tones=[(0.0, 2.0)])


SOUNDS: Mapping[str, Callable[[Path], Sample]] = {make.__name__: make for make in (wav, stereo_mp3, opus, gap, covered)}


# ---------------------------------------------------------------------------------------------------------- bad files


def empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def text(folder: Path) -> Path:
    path = folder / "text.mp4"
    path.write_text("This is a letter, and no film at all.\n" * 50)
    return path


def headless(folder: Path) -> Path:
    """Cut off before the index at its end was written."""
    whole = write(folder / "whole.mp4", film()).read_bytes()
    path = folder / "headless.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    return path


def no_pictures(folder: Path) -> Path:
    """A container that announces pictures, and has none."""
    whole = write(folder / "some.mkv", film(5), LOSSLESS).read_bytes()
    path = folder / "none.mkv"
    path.write_bytes(whole[: whole.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    return path


def playlist(folder: Path) -> Path:
    target = write(folder / "listed.ts", film())
    path = folder / "playlist.mp4"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\n{target}\n#EXT-X-ENDLIST\n")
    return path


def concatenation(folder: Path) -> Path:
    target = write(folder / "part.mkv", film())
    path = folder / "parts.mp4"
    path.write_text(f"ffconcat version 1.0\nfile '{target}'\n")
    return path


def bomb(folder: Path) -> Path:
    """A small file that claims a picture of 60,000 × 60,000."""
    made = bytearray(_photo(folder / "small.png", "png", "rgb24").read_bytes())
    made[16:24] = struct.pack(">II", 60_000, 60_000)
    made[29:33] = struct.pack(">I", zlib.crc32(bytes(made[12:29])))
    path = folder / "bomb.png"
    path.write_bytes(made)
    return path


def tiled_photo(folder: Path) -> Path:
    """Two streams of pictures under a photo's brand: tiles, of which none is the photo."""
    path = folder / "tiles.heic"
    with av.open(str(path), "w", format="mp4") as out:
        streams = [_film(out, quarters(), Picture()) for _ in range(2)]
        for packet in [packet for stream in streams for _, packet in _encoded_pictures(stream, [(0.0, quarters())])]:
            out.mux(packet)
    made = path.read_bytes()
    path.write_bytes(made[:8] + b"heic" + made[12:])
    return path


def folder_as_file(folder: Path) -> Path:
    path = folder / "folder.mp4"
    path.mkdir()
    return path


def missing(folder: Path) -> Path:
    return folder / "missing.mp4"


BAD: Mapping[str, Callable[[Path], Path]] = {
    make.__name__: make
    for make in (
        empty, text, headless, no_pictures, playlist, concatenation, bomb, tiled_photo, folder_as_file, missing,
    )
}  # fmt: skip


# ----------------------------------------------------------------------------------------------------- damaged in part


def truncated(folder: Path) -> Path:
    """The first half of a film whose index stands in front."""
    whole = write(folder / "complete.mp4", film(60), options={"movflags": "faststart"}).read_bytes()
    path = folder / "truncated.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    return path


def corrupted(folder: Path) -> Path:
    """A film of which some bytes in the middle are others, with a keyframe every second."""
    noise = np.random.default_rng(0)
    shades = noise.integers(-15, 16, (60, HEIGHT, WIDTH, 1))  # so that pictures take more bytes than their index
    grainy = [
        (second, (pixels + shade).astype(np.uint8)) for (second, pixels), shade in zip(film(60), shades, strict=True)
    ]
    made = bytearray(write(folder / "sound.mp4", grainy).read_bytes())
    for place in range(len(made) // 3, len(made) // 2, 3000):
        made[place] ^= int(noise.integers(1, 256))
    path = folder / "corrupted.mp4"
    path.write_bytes(made)
    return path
