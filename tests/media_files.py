"""Small media files made on the spot, each with what a right reader must see and hear in it."""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from filming import (
    BLUE,
    GREEN,
    HEIGHT,
    LOSSLESS,
    MILLI,
    RATE,
    RED,
    WHITE,
    WIDTH,
    Picture,
    Pixels,
    Sounded,
    encoded_pictures,
    encoded_sound,
    film,
    film_stream,
    number_of,
    numbered,
    quarter_colours,
    quarters,
    tone,
    write,
)

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


def end_to_end(folder: Path) -> Sample:
    """Two recordings of a broadcast, one behind the other in a file: the second one's clock starts anew."""
    quiet = np.zeros(2 * RATE, np.float32)
    parts = []
    for name, numbers, loud in (("a.ts", range(20), tone(2)), ("b.ts", range(20, 40), quiet)):
        shown = [(place / 10, numbered(number)) for place, number in enumerate(numbers)]
        parts.append(write(folder / name, shown, Picture(), Sounded([(0.0, loud)], "mp2")).read_bytes())
    path = folder / "both.ts"
    path.write_bytes(b"".join(parts))
    late = 0.01  # what an encoder of sound needs before its first sample
    return Sample(path, times=[late + number / 10 for number in range(40)], end=4.02, tones=[(late, 2 + late)])


FILMS: Mapping[str, Callable[[Path], Sample]] = {
    make.__name__: make
    for make in (
        film_with_tone, silent_track, no_sound, variable_rate, late_pictures, odd_size, ten_bits, rotated, mirrored,
        wide_pixels, clear_film, moving_gif, unending, end_to_end, false_keyframes, long_film,
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
        for _, packet in encoded_sound(track, Sounded([(0.0, tone(2))], "libmp3lame")):
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
        streams = [film_stream(out, quarters(), Picture()) for _ in range(2)]
        for packet in [packet for stream in streams for _, packet in encoded_pictures(stream, [(0.0, quarters())])]:
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
