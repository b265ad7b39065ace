"""Media on servers, from the command line and from a decoder child: what is indexed, how much is read, and what goes
wrong."""

import json
from collections.abc import Iterator
from pathlib import Path

import av
import clips
import media_files
import numpy as np
import pytest
import servers

from api import exits
from api.main import main
from indexer import _remote, places, waiting
from indexer.decoding import Decoder, Wanted
from indexer.media import pyav
from indexer.sampling import parse
from retriever.errors import CannotOpen, FileChanged, Unreachable

Captured = pytest.CaptureFixture[str]
SIDE, RATE, SECONDS, GROUP = 160, 25, 24, 50  # pixels, pictures a second, seconds, pictures a keyframe


@pytest.fixture(autouse=True)
def _apart() -> Iterator[None]:
    yield
    _remote.close()


@pytest.fixture(scope="module")
def snow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of noise with sound, a megabyte a second, its index at the end."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("snow") / "snow.mp4"
    options = {"g": str(GROUP), "preset": "ultrafast", "qp": "10", "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        film = container.add_stream("libx264", rate=RATE, options=options)
        film.width, film.height, film.pix_fmt = SIDE, SIDE, "yuv420p"
        tape = container.add_stream("aac", rate=16_000, layout="mono")
        for number in range(SECONDS * RATE):
            pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            container.mux(film.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            if number % RATE == 0:
                sound = rng.standard_normal((1, 16_000)).astype(np.float32) * 0.1
                frame = av.AudioFrame.from_ndarray(sound, format="flt", layout="mono")
                frame.sample_rate, frame.pts = 16_000, number // RATE * 16_000
                container.mux(tape.encode(frame))
        container.mux(film.encode(None))
        container.mux(tape.encode(None))
    return path


def wanted(sampler: str, rates: tuple[int, ...] = (), reader: str = "pyav") -> Wanted:
    return Wanted(reader, parse(sampler), 64, None, 0, rates, 5.0, 10.0)


def ran(capsys: Captured, *words: str, code: int = exits.OK) -> tuple[str, str]:
    got = main(list(words))
    out, err = capsys.readouterr()
    assert got == code, err
    return out, err


def summed(capsys: Captured, *words: str, code: int = exits.OK) -> dict:
    return json.loads(ran(capsys, "index", *words, "--json", code=code)[0])


def held(capsys: Captured) -> dict[str, str]:
    """Ids by path."""
    return {item["path"]: item["id"] for item in json.loads(ran(capsys, "media", "--json")[0])["media"]}


# ----------------------------------------------------------------------------------------------------- how much is read


@pytest.mark.parametrize(("sampler", "rates"), [("fixed(1)", (16_000,)), ("fixed(4)", ())])
def test_a_whole_decode_reads_about_once_through(snow: Path, sampler: str, rates: tuple[int, ...]) -> None:
    with servers.web(files={"/snow.mp4": snow.read_bytes()}) as shelf, Decoder() as decoder:
        place = places.of(f"{shelf.url}/snow.mp4")
        assert decoder.probe(place) == decoder.probe(snow)
        far = list(decoder.chapters(place, wanted(sampler, rates)))
        assert shelf.served <= 1.3 * snow.stat().st_size
        assert len(shelf.asked) < 60
        near = list(decoder.chapters(snow, wanted(sampler, rates)))
    assert len(far) == len(near) == 3
    for one, other in zip(far, near, strict=True):
        assert (one.span, one.decoded) == (other.span, other.decoded)
        assert np.array_equal(one.frames, other.frames)
        assert all(np.array_equal(one.sounds[rate].samples, other.sounds[rate].samples) for rate in rates)


def test_keyframes_alone_read_much_less_than_the_file(snow: Path) -> None:
    with servers.web(files={"/snow.mp4": snow.read_bytes()}) as shelf, Decoder() as decoder:
        far = list(decoder.chapters(places.of(f"{shelf.url}/snow.mp4"), wanted("keyframes")))
        assert sum(len(chapter.frames) for chapter in far) == SECONDS * RATE // GROUP
        assert shelf.served < 0.5 * snow.stat().st_size
        near = list(decoder.chapters(snow, wanted("keyframes")))
    assert all(np.array_equal(one.frames, other.frames) for one, other in zip(far, near, strict=True))


def test_pictures_here_and_there_read_little(snow: Path) -> None:
    with servers.web(files={"/snow.mp4": snow.read_bytes()}) as shelf, Decoder() as decoder:
        far = decoder.pictures(places.of(f"{shelf.url}/snow.mp4"), [20.0], 64)
        assert shelf.served < 0.5 * snow.stat().st_size
        assert np.array_equal(far[0], decoder.pictures(snow, [20.0], 64)[0])


# ------------------------------------------------------------------------------------------------------ what goes wrong


def test_an_object_that_changes_while_it_is_decoded_is_told_of(snow: Path) -> None:
    data = snow.read_bytes()
    with servers.web(files={"/snow.mp4": data}) as shelf, Decoder() as decoder:
        chapters = decoder.chapters(places.of(f"{shelf.url}/snow.mp4"), wanted("fixed(1)"))
        next(chapters)
        shelf.files["/snow.mp4"] = data[:-1] + b"\0"
        with pytest.raises(FileChanged, match=r"snow\.mp4 changed while it was being read"):
            list(chapters)


def test_a_server_that_goes_away_in_the_middle_is_no_end_of_the_film(
    snow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_remote, "PATIENCE", 1.0)
    with servers.web(files={"/snow.mp4": snow.read_bytes()}) as shelf:
        place = places.of(f"{shelf.url}/snow.mp4")
        with pyav.build().open(place) as media:
            shelf.fails, shelf.after = [503] * 1000, len(shelf.asked) + 4
            with pytest.raises(Unreachable, match=r"snow\.mp4: its server is out of order or busy \(503\)"):
                list(media.frames())
            with pytest.raises(Unreachable):
                list(media.sound(16_000))


def test_who_waits_for_a_server_says_so_and_ends_in_a_line(
    no_weights: None, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_remote, "PATIENCE", 1.0)
    monkeypatch.setattr(waiting, "SOON", 0.0)
    with servers.web(files={"/a.mp4": b"x"}) as shelf:
        shelf.fails = [503] * 1000
        _, said = ran(capsys, "index", f"{shelf.url}/a.mp4", f"{shelf.url}/b.mp4", code=exits.ERROR)
    waits = f"note: waits for {shelf.url}, which has not answered yet: it is asked for 1 s"
    assert said.splitlines()[0] == waits
    assert said.count("waits for") == 1
    assert "2 files set aside:" in said.splitlines()


def test_a_page_is_no_media_and_another_reader_says_what_it_cannot(snow: Path) -> None:
    page = b"<html><body>not here</body></html>"
    with servers.web(files={"/a.mp4": page, "/snow.mp4": snow.read_bytes()}) as shelf, Decoder() as decoder:
        with pytest.raises(CannotOpen, match=r"a\.mp4 is not media that can be read"):
            decoder.probe(places.of(f"{shelf.url}/a.mp4"))
        with pytest.raises(CannotOpen, match=r"is on a server, and decord reads files of this machine; use the pyav"):
            decoder.probe(places.of(f"{shelf.url}/snow.mp4"), "decord")
        with pytest.raises(CannotOpen, match="is not there: its server knows no such object"):
            decoder.probe(places.of(f"{shelf.url}/none.mp4"))


# ------------------------------------------------------------------------------------------------ from the command line


def test_an_address_is_indexed_found_cut_shown_and_known_again(no_weights, media, capsys, tmp_path):
    with servers.web(files={"/first.mp4": (media / "first.mp4").read_bytes()}) as shelf:
        url = f"{shelf.url}/first.mp4"
        assert summed(capsys, url)["indexed"] == [url]
        shelf.served = 0
        again = summed(capsys, url)
        assert (again["indexed"], again["unchanged"], shelf.served) == ([], 1, 0)
        found = json.loads(ran(capsys, "search", "blue", "--min-confidence", "0", "--json")[0])["moments"][0]
        assert found["media"]["path"] == url
        ran(capsys, "clip", url, "--out", "cut.mp4")
        assert (tmp_path / "cut.mp4").stat().st_size
        ran(capsys, "report", "found.html", "blue", "--min-confidence", "0")
        page = (tmp_path / "found.html").read_text()
        assert f'href="{url}#t=' in page
        assert "data:image/jpeg" in page
        shelf.files["/first.mp4"] = (media / "second.mp4").read_bytes()
        before = held(capsys)
        assert summed(capsys, url)["indexed"] == [url]
        assert held(capsys).keys() == before.keys()
        assert held(capsys) != before


def test_the_same_small_content_here_and_there_is_one_media(indexed, capsys):
    with servers.web(files={"/copy.mp4": (indexed / "first.mp4").read_bytes()}) as shelf:
        assert summed(capsys, f"{shelf.url}/copy.mp4")["renamed"] == [f"{shelf.url}/copy.mp4"]
    assert len(held(capsys)) == 3


def test_a_list_may_name_addresses_and_a_wrong_one_is_named_with_its_line(no_weights, media, capsys, tmp_path):
    with servers.web(files={"/first.mp4": (media / "first.mp4").read_bytes()}) as shelf:
        lines = [{"path": f"{shelf.url}/first.mp4", "title": "Far"}, {"path": "clips/second.mp4"}]
        (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert len(summed(capsys, "list.jsonl")["indexed"]) == 2
    (tmp_path / "list.jsonl").write_text('{"path": "clips/a.mp4"}\n{"path": "https://me:hunter2@host/a.mp4"}\n')
    _, err = ran(capsys, "index", "list.jsonl", code=exits.ERROR)
    assert "line 2: https://…@host/a.mp4 has a password in it" in err
    assert "hunter2" not in err
    with servers.web(files={"/list.jsonl": b"{}"}) as shelf:
        _, err = ran(capsys, "index", f"{shelf.url}/list.jsonl", code=exits.ERROR)
    assert "is on a server, and a list is read from a file" in err


def test_limits_hold_before_anything_is_read(no_weights, media, capsys):
    with servers.web(files={"/first.mp4": (media / "first.mp4").read_bytes()}) as shelf:
        told = summed(capsys, f"{shelf.url}/first.mp4", "--most-bytes", "100", code=exits.ERROR)
        assert "--most-bytes takes 100" in told["quarantined"][0]["reason"]
        assert shelf.served == 0
        assert summed(capsys, f"{shelf.url}/first.mp4")["indexed"] == [f"{shelf.url}/first.mp4"]


def test_what_a_server_refuses_is_set_aside_with_the_reason_and_tried_again(no_weights, media, capsys):
    files = {"/first.mp4": (media / "first.mp4").read_bytes()}
    with servers.web(files=files, fails=[403] * 4) as shelf:
        url = f"{shelf.url}/first.mp4"
        told = summed(capsys, url, str(media / "second.mp4"), code=exits.OK)
        assert [entry["path"] for entry in told["quarantined"]] == [url]
        assert "may not be read" in told["quarantined"][0]["reason"]
        assert summed(capsys, url)["indexed"] == [url]
    ran(capsys, "index", f"{shelf.url}/none.mp4", code=exits.ERROR)


@pytest.fixture(scope="module")
def buckets() -> Iterator[servers.Buckets]:
    with servers.s3() as running:
        running.client.create_bucket(Bucket="films")
        yield running


def test_a_bucket_is_indexed_watched_over_and_pruned(no_weights, media, capsys, buckets, monkeypatch):
    for name, value in buckets.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("first.mp4", "second.mp4", "tone.wav"):
        buckets.put("films", f"in/{name}", (media / name).read_bytes())
    buckets.put("films", "other/apart.mp4", (media / "first.mp4").read_bytes() + b"\0")
    root = "s3://films/in/"
    assert len(summed(capsys, root)["indexed"]) == 3
    assert summed(capsys, root)["unchanged"] == 3
    assert len(summed(capsys, "s3://films/other/apart.mp4")["indexed"]) == 1
    buckets.client.copy_object(Bucket="films", Key="in/moved.mp4", CopySource="films/in/second.mp4")
    for name in ("in/second.mp4", "in/tone.wav", "other/apart.mp4"):
        buckets.client.delete_object(Bucket="films", Key=name)
    monkeypatch.setattr(_remote, "PATIENCE", 0.5)
    with monkeypatch.context() as away:
        away.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        _remote.close()
        _, err = ran(capsys, "index", root, "--prune", code=exits.ERROR)
        assert "its server gives no answer" in err
        assert len(held(capsys)) == 4
        _remote.close()
    told = summed(capsys, root, "--prune")
    assert told["renamed"] == [f"{root}moved.mp4"]
    assert set(held(capsys)) == {f"{root}first.mp4", f"{root}moved.mp4", "s3://films/other/apart.mp4"}


def test_nothing_is_asked_for_but_what_somebody_named(no_weights, media, capsys):
    with servers.web(files={"/first.mp4": (media / "first.mp4").read_bytes()}) as shelf:
        assert summed(capsys, f"{shelf.url}/first.mp4")["indexed"]
        asked = len(shelf.asked)
        assert {path for _, path, _ in shelf.asked} == {"/first.mp4"}
        ran(capsys, "search", "blue", "--min-confidence", "0")
        ran(capsys, "media")
        summed(capsys, str(media / "second.mp4"))
        assert len(shelf.asked) == asked


def test_a_password_in_an_address_is_refused_and_not_repeated(no_weights, capsys):
    for text in ("https://me:hunter2@host/a.mp4", "s3://KEY:hunter2@films/a.mp4", "https://host/a.mp4?sig=hunter2"):
        out, err = ran(capsys, "index", text, code=exits.ERROR)
        assert "hunter2" not in out + err
        assert "environment" in err


def test_a_small_object_comes_whole_and_once(tmp_path: Path) -> None:
    path = clips.film(tmp_path / "small.mp4", ["red", "blue"])
    with servers.web(files={"/small.mp4": path.read_bytes()}) as shelf, Decoder() as decoder:
        (far,) = decoder.chapters(places.of(f"{shelf.url}/small.mp4"), wanted("fixed(1)"))
        assert len(far.frames) == 4
        assert shelf.served == path.stat().st_size


@pytest.mark.slow
def test_whatever_can_be_read_here_is_read_there_alike(tmp_path: Path) -> None:
    makers = {**media_files.FILMS, **media_files.STILLS, **media_files.SOUNDS}
    paths = [make(tmp_path).path for make in makers.values()]
    files = {f"/{path.name}": path.read_bytes() for path in paths}
    with servers.web(files=files) as shelf, Decoder() as decoder:
        for path in paths:
            place = places.of(f"{shelf.url}/{path.name}")
            probe = decoder.probe(path)
            assert decoder.probe(place) == probe, path.name
            rates = (16_000,) if probe.has_sound else ()
            for sampler in ("fixed(4)", "keyframes"):
                far = list(decoder.chapters(place, wanted(sampler, rates)))
                near = list(decoder.chapters(path, wanted(sampler, rates)))
                assert [one.span for one in far] == [one.span for one in near], path.name
                for one, other in zip(far, near, strict=True):
                    assert np.array_equal(one.spans, other.spans), path.name
                    assert np.array_equal(one.frames, other.frames), path.name
                    assert all(np.array_equal(one.sounds[rate].samples, other.sounds[rate].samples) for rate in rates)
