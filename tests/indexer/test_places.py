"""Where media lie: what an address is, what is asked of a server, and what of one that fails."""

import hashlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import servers
from hypothesis import given, settings
from hypothesis import strategies as st

import indexer
from indexer import _remote, places
from indexer.places import Address
from retriever.errors import CannotOpen, FileChanged, MediaError, MissingExtra, NotThere, Unreachable

SMALL, LARGE = 300_000, 5_000_000


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No server is remembered."""
    monkeypatch.setattr(_remote, "PATIENCE", 15.0)
    yield
    _remote.close()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a server."""
    monkeypatch.setattr(_remote, "PATIENCE", 1.0)
    monkeypatch.setattr(_remote, "SILENCE", 0.5)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def gone(paths: list[str], root: str) -> set[str]:
    return places.Missing(places.of(root)).among(paths)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


# ------------------------------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://Host.example/a/B.mp4", "https://host.example/a/B.mp4"),
        ("HTTP://host:8080/a.mp4?id=3&author=x", "http://host:8080/a.mp4?id=3&author=x"),
        ("s3://bucket/a b/c?#d.mp4", "s3://bucket/a b/c?#d.mp4"),
        ("gs://bucket/deep/", "gs://bucket/deep/"),
        ("s3:/bucket/a.mp4", "s3://bucket/a.mp4"),  # as pathlib leaves it
    ],
)
def test_an_address_is_kept_as_it_is_meant(text: str, shown: str) -> None:
    place = places.of(text)
    assert isinstance(place, Address)
    assert str(place) == places.named(text) == shown
    assert places.named(Path(text)) == shown.rstrip("/")
    assert places.of(str(place)) == place
    assert places.is_address(text)


def test_an_address_has_the_name_and_the_suffix_of_its_path() -> None:
    place = places.of("https://host/films/a.MP4?id=3.wav")
    assert (place.name, place.suffix) == ("a.MP4", ".MP4")
    assert (places.of("s3://bucket/").name, places.of("s3://bucket/x/").name) == ("bucket", "x")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ftp://host/a.mp4", r"ftp://host/a\.mp4 is no address that is read here: they begin with http, https, s3, gs"),
        ("file:///etc/passwd", "is no address that is read here"),
        ("https://user:hunter2@host/a.mp4", "has a password in it"),
        ("https://hunter2@host/a.mp4", "has a password in it"),
        ("https://user:hun/ter2@host/a.mp4", "names no file of a server"),
        ("s3://KEY:hunter2@bucket/a.mp4", "has a password in it"),
        ("s3://KEY:hunter2/a.mp4", "has a password in it"),
        ("https://host/a.mp4?X-Amz-Signature=hunter2", "has a key or a signature behind its question mark"),
        ("https://host/a.mp4?token=hunter2&id=1", "has a key or a signature behind its question mark"),
        ("https://host/a.mp4#t=hunter2", "without a #"),
        ("https:///a.mp4", "names no"),
        ("s3:///a.mp4", "names no"),
        ("http://host:port/a.mp4", "names no file of a server"),
        ("http://host/\0", "names no object"),
    ],
)
def test_what_is_no_address_or_holds_a_secret_is_refused_and_not_repeated(text: str, complaint: str) -> None:
    with pytest.raises(CannotOpen, match=complaint) as refused:
        places.of(text)
    assert "hunter2" not in str(refused.value)
    assert "ter2" not in str(refused.value)


@given(st.text(max_size=30).map(lambda text: f"s3://{text}") | st.text(max_size=40).map(lambda text: f"https://{text}"))
def test_whatever_follows_a_scheme_is_an_address_or_one_clear_line(text: str) -> None:
    try:
        place = places.of(text)
    except CannotOpen:
        pass
    else:
        assert isinstance(place, Address)
        assert places.of(str(place)) == place
        assert "@" not in place.host


def test_anything_else_is_a_path_from_here_or_from_a_folder_on(tmp_path: Path) -> None:
    assert places.of("films/a.mp4") == Path("films/a.mp4").absolute()
    assert places.of("films/a.mp4", tmp_path) == tmp_path / "films/a.mp4"
    assert places.of("C:/films") == Path("C:/films").absolute()
    assert places.of("odd:/films") == Path("odd:/films").absolute()


def test_what_lies_below_a_place() -> None:
    root = places.of("s3://bucket/films")
    inside = ["s3://bucket/films", "s3://bucket/films/a.mp4", "s3://bucket/films/deep/b.mp4"]
    outside = ["s3://bucket/films2/a.mp4", "s3://other/films/a.mp4", "gs://bucket/films/a.mp4", "/films/a.mp4"]
    assert [places.is_below(path, root) for path in inside] == [True] * 3
    assert [places.is_below(path, root) for path in outside] == [False] * 4
    assert places.is_below("/films/a.mp4", Path("/films"))
    assert not places.is_below("s3://films/a.mp4", Path("/films"))


def test_without_the_extra_an_address_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.delitem(sys.modules, "indexer._remote")
    monkeypatch.delattr(indexer, "_remote")
    with pytest.raises(MissingExtra, match=r"^s3://bucket/a\.mp4 needs fsspec: pip install 'reelseek\[remote\]'$"):
        places.stat_of(places.of("s3://bucket/a.mp4"))
    assert not places.is_gone(places.of("s3://bucket/a.mp4"))  # nobody can say
    assert gone(["s3://bucket/a.mp4"], "s3://bucket/") == set()


# ------------------------------------------------------------------------------------------------------------- identity


@pytest.mark.parametrize("size", [1, SMALL, 2 << 20])
def test_a_small_object_has_the_key_of_a_file_with_its_content(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_bytes(noise(size))
    with servers.web(files={"/a": noise(size)}) as shelf:
        assert places.key_of(places.of(f"{shelf.url}/a")) == places.key_of(tmp_path / "a")


def test_of_a_large_one_both_ends_are_read_and_the_key_follows_its_version() -> None:
    data = noise(LARGE)
    with servers.web(files={"/a": data}) as shelf:
        place = places.of(f"{shelf.url}/a")
        key = places.key_of(place)
        assert shelf.served == 2 << 20
        assert places.key_of(place) == key
        shelf.files["/a"] = data[: LARGE // 2] + b"\0" + data[LARGE // 2 + 1 :]  # in the middle: another ETag
        assert places.key_of(place) != key
        shelf.files["/a"] = data[:-1]
        assert places.key_of(place) != key


def test_an_object_of_which_no_version_is_told_is_read_whole_and_never_known_by_a_look() -> None:
    data = noise(LARGE)
    with servers.web(files={"/a": data}, etags=False, dates=False) as shelf:
        place = places.of(f"{shelf.url}/a")
        assert places.key_of(place) == sha(data)
        assert not places.same(places.stat_of(place), places.stat_of(place))


@pytest.mark.parametrize("told", [{"dates": False}, {"etags": False}, {}])
def test_a_look_tells_two_versions_apart(told: dict[str, bool]) -> None:
    with servers.web(files={"/a": noise(SMALL)}, **told) as shelf:
        place = places.of(f"{shelf.url}/a")
        before = places.stat_of(place)
        assert places.same(before, places.stat_of(place))
        assert shelf.served == 0
        shelf.files["/a"], shelf.written = noise(SMALL, 1), shelf.written + 1
        now = places.stat_of(place)
        assert not places.same(before, now)
        assert (before.size, before.mtime_ns) != (now.size, now.mtime_ns)  # all that some compare


def test_two_objects_of_one_size_and_time_have_two_keys_if_only_times_are_told() -> None:
    data, other = bytearray(noise(LARGE)), bytearray(noise(LARGE))
    other[LARGE // 2] ^= 1
    with servers.web(files={"/a": bytes(data), "/b": bytes(other)}, etags=False) as shelf:
        keys = {places.key_of(places.of(f"{shelf.url}/{name}")) for name in "ab"}
    assert len(keys) == 2


# -------------------------------------------------------------------------------------------------------------- reading


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, LARGE + 10), st.integers(0, 400_000)), max_size=12), st.booleans())
def test_whatever_is_read_is_what_is_there_and_comes_once(reads: list[tuple[int, int]], crowded: bool) -> None:
    data = noise(LARGE)
    with pytest.MonkeyPatch.context() as patch, servers.web(files={"/a": data}) as shelf:
        if crowded:  # a temporary file that holds a part of it
            patch.setattr(_remote, "KEPT", 1 << 20)
            patch.setattr(_remote, "WIDEST", 1 << 18)
        try:
            with places.opened(places.of(f"{shelf.url}/a")) as file:
                for start, length in reads:
                    assert file.seek(start) == file.tell() == start
                    assert file.read(length) == data[start : start + length]
                assert file.seek(-3, os.SEEK_END) == LARGE - 3
                assert file.readall() == data[-3:]
            assert crowded or shelf.served <= LARGE
        finally:
            _remote.close()


def test_who_reads_on_asks_seldom_and_who_jumps_reads_little() -> None:
    data = noise(12 << 20)
    with servers.web(files={"/a": data}) as shelf:
        with places.opened(places.of(f"{shelf.url}/a")) as file:
            while file.read(1 << 16):
                pass
        assert shelf.served == len(data)
        assert len(shelf.asked) < 20
        shelf.served = 0
        with places.opened(places.of(f"{shelf.url}/a?other")) as file:
            for start in range(0, len(data), 2 << 20):
                file.seek(start)
                file.read(1000)
        assert shelf.served < len(data) / 20


def test_a_file_that_could_not_be_kept_is_not_taken_for_one_that_was(monkeypatch: pytest.MonkeyPatch) -> None:
    data, write = noise(LARGE), os.pwrite

    def full(file: int, data: bytes, place: int) -> int:
        raise OSError(28, "No space left on device")

    with servers.web(files={"/a": data}) as shelf, places.opened(places.of(f"{shelf.url}/a")) as file:
        file.read(100)
        monkeypatch.setattr(os, "pwrite", full)
        file.seek(LARGE // 2)
        with pytest.raises(OSError, match="No space left"):
            file.read(100)
        monkeypatch.setattr(os, "pwrite", lambda file, data, place: write(file, data[:1000], place))  # bit by bit
        assert file.read(100) == data[LARGE // 2 :][:100]


def test_a_server_without_ranges_is_asked_for_all_of_a_small_file(monkeypatch: pytest.MonkeyPatch) -> None:
    data = noise(LARGE)
    for how in ({"ranges": False}, {"ranges": False, "etags": False, "dates": False}):
        with servers.web(files={"/a": data}, **how) as shelf:
            place = places.of(f"{shelf.url}/a")
            assert places.key_of(place) == sha(data)
            shelf.served = 0
            with places.opened(place) as file:
                file.seek(LARGE - 100)
                assert file.read(100) == data[-100:]
            with places.opened(place) as file:
                assert file.read(100) == data[:100]
            assert shelf.served == LARGE
            monkeypatch.setattr(_remote, "WHOLE", LARGE - 1)
            _remote.close()
            with pytest.raises(CannotOpen, match="its server gives no ranges; up to 4,999,999 are fetched whole"):
                places.opened(place).read(1)
            monkeypatch.undo()


# ------------------------------------------------------------------------------------------------------ what goes wrong


def refused(ask: Callable[[], object]) -> MediaError:
    with pytest.raises(MediaError) as error:
        ask()
    assert "\n" not in str(error.value)
    return error.value


def test_what_a_server_refuses_is_told_and_asked_once() -> None:
    with servers.web(files={"/empty": b"", "/a": b"x"}) as shelf:
        gone = refused(lambda: places.stat_of(places.of(f"{shelf.url}/none.mp4")))
        assert isinstance(gone, NotThere)
        assert places.is_gone(places.of(f"{shelf.url}/none.mp4"))
        shelf.fails = [403]
        denied = refused(lambda: places.stat_of(places.of(f"{shelf.url}/a")))
        assert (type(denied), "may not be read with the credentials" in str(denied)) == (CannotOpen, True)
        assert "is empty" in str(refused(lambda: places.key_of(places.of(f"{shelf.url}/empty"))))
        assert "is empty" in str(refused(lambda: places.opened(places.of(f"{shelf.url}/empty"))))
        assert len(shelf.asked) == 5


def test_a_busy_server_is_asked_again() -> None:
    data = noise(SMALL)
    with servers.web(files={"/a": data}, fails=[503, 429, 500]) as shelf:
        assert places.key_of(places.of(f"{shelf.url}/a")) == sha(data)
        shelf.torn = 1
        _remote.close()
        with places.opened(places.of(f"{shelf.url}/a")) as file:
            assert file.readall() == data


def test_a_server_that_stays_busy_is_left_alone_for_a_while(hurried: None) -> None:
    with servers.web(files={"/a": b"x", "/b": b"x"}, fails=[503] * 100) as shelf:
        busy = refused(lambda: places.stat_of(places.of(f"{shelf.url}/a")))
        assert isinstance(busy, Unreachable)
        assert "out of order or busy (503)" in str(busy)
        asked = len(shelf.asked)
        assert asked > 1
        assert isinstance(refused(lambda: places.stat_of(places.of(f"{shelf.url}/b"))), Unreachable)
        assert len(shelf.asked) == asked
        assert not places.is_gone(places.of(f"{shelf.url}/none"))  # nobody can say


def test_a_server_that_says_nothing_or_is_not_there_is_given_up(hurried: None) -> None:
    with servers.web(files={"/a": b"x"}, stalls=True) as shelf:
        assert isinstance(refused(lambda: places.stat_of(places.of(f"{shelf.url}/a"))), Unreachable)
    _remote.close()
    assert isinstance(refused(lambda: places.stat_of(places.of(f"{shelf.url}/a"))), Unreachable)


def test_an_object_that_changes_while_it_is_read_is_given_up() -> None:
    for matches in (True, False):  # whether the server looks at If-Match
        with servers.web(files={"/a": noise(LARGE)}, matches=matches) as shelf:
            place = places.of(f"{shelf.url}/a")
            file = places.opened(place)
            file.read(100)
            shelf.files["/a"] = noise(LARGE, 1)
            file.seek(LARGE // 2)
            for _ in range(2):
                assert isinstance(refused(lambda: file.read(100)), FileChanged)  # noqa: B023
            with places.opened(place) as again:
                assert again.read(100) == noise(LARGE, 1)[:100]


def test_an_object_that_becomes_shorter_or_goes_while_it_is_read_is_given_up() -> None:
    with servers.web(files={"/a": noise(LARGE), "/b": noise(LARGE)}, etags=False) as shelf:
        for name, after in (("/a", noise(SMALL)), ("/b", None)):
            file = places.opened(places.of(f"{shelf.url}{name}"))
            file.read(100)
            if after is None:
                del shelf.files[name]
            else:
                shelf.files[name] = after
            file.seek(LARGE - 100)
            assert isinstance(refused(lambda: file.read(100)), FileChanged | NotThere)  # noqa: B023


def test_servers_that_know_no_head_or_tell_no_size() -> None:
    data = noise(SMALL)
    with servers.web(files={"/a": data}, heads=False) as shelf:
        assert places.stat_of(places.of(f"{shelf.url}/a")).size == SMALL
        assert places.key_of(places.of(f"{shelf.url}/a")) == sha(data)
        assert shelf.served < SMALL + 10
    with servers.web(files={"/a": data}, lengths=False) as shelf:
        assert places.stat_of(places.of(f"{shelf.url}/a")).size == SMALL  # it says where a range lies
    with servers.web(files={"/a": data}, lengths=False, ranges=False) as shelf:
        unsized = refused(lambda: places.stat_of(places.of(f"{shelf.url}/a")))
        assert "does not say how many bytes it has" in str(unsized)


def test_redirections_are_followed_within_the_web_only() -> None:
    data = noise(SMALL)
    with servers.web(files={"/a": data}, away={"/b": "/a", "/c": "file:///etc/passwd", "/d": "/d"}) as shelf:
        assert places.key_of(places.of(f"{shelf.url}/b")) == sha(data)
        for name in "cd":
            place = places.of(f"{shelf.url}/{name}")
            assert "leads nowhere that can be read" in str(refused(lambda: places.stat_of(place)))  # noqa: B023


def test_a_signed_address_that_a_server_leads_to_is_not_repeated() -> None:
    with servers.web(away={"/a": "/b?X-Amz-Signature=hunter2"}) as shelf:
        assert "hunter2" not in str(refused(lambda: places.stat_of(places.of(f"{shelf.url}/a"))))


def test_a_file_is_gone_only_where_the_system_says_that_nothing_is_there(tmp_path: Path) -> None:
    file, loop = tmp_path / "a.mp4", tmp_path / "loop"
    file.write_bytes(b"x")
    loop.symlink_to(loop)
    lost = [str(tmp_path / "none.mp4"), str(file / "in_a_file.mp4"), str(tmp_path / "zero\0.mp4")]
    there = [str(file), str(loop / "a.mp4"), str(tmp_path / ("long" * 100))]  # nobody can look at two of them
    assert gone([*lost, *there], str(tmp_path)) == set(lost)
    assert [places.is_gone(places.of(path)) for path in there] == [False] * 3


# -------------------------------------------------------------------------------------------------------------- buckets


@pytest.fixture(scope="module")
def buckets() -> Iterator[servers.Buckets]:
    with servers.s3() as running:
        running.client.create_bucket(Bucket="films")
        yield running


@pytest.fixture
def s3(buckets: servers.Buckets, monkeypatch: pytest.MonkeyPatch) -> servers.Buckets:
    for name, value in buckets.environment.items():
        monkeypatch.setenv(name, value)
    return buckets


def test_a_prefix_is_walked_by_name_and_what_is_hidden_left_out(s3: servers.Buckets) -> None:
    names = ["walk/b.mp4", "walk/a.mp4", "walk/deep/q?#%20 .mp4", "walk/notes.txt", "walked/c.mp4"]
    hidden = ["walk/.x.mp4", "walk/.deep/y.mp4", "walk/folder/"]
    for name in (*names, *hidden):
        s3.put("films", name, name.encode())
    for text in ("s3://films/walk", "s3://films/walk/"):
        root = places.of(text)
        assert places.is_folder(root)
        assert not places.is_gone(root)
        found = list(places.walked(root))
        assert [str(place) for place, _ in found] == [f"s3://films/{name}" for name in sorted(names[:4])]
        assert all(seen and places.same(seen, places.stat_of(place)) for place, seen in found)
    with places.opened(places.of("s3://films/walk/deep/q?#%20 .mp4")) as file:
        assert file.readall() == names[2].encode()


def test_what_is_gone_of_a_prefix_is_what_its_listing_lacks(s3: servers.Buckets) -> None:
    for name in ("gone/a.mp4", "gone/b.mp4"):
        s3.put("films", name, b"x")
    known = ["s3://films/gone/a.mp4", "s3://films/gone/c.mp4", "s3://films/other/d.mp4", "/e.mp4"]
    assert gone(known, "s3://films/gone/") == {"s3://films/gone/c.mp4"}
    assert gone(known, "s3://nobucket/") == set()
    assert gone(["s3://nobucket/a.mp4"], "s3://nobucket/") == set()  # it is away, with all it had


def test_an_object_that_came_after_the_listing_is_not_gone(s3: servers.Buckets) -> None:
    s3.put("films", "late/a.mp4", b"x")
    missing, known = places.Missing(places.of("s3://films/late/")), ["s3://films/late/b.mp4", "s3://films/late/c.mp4"]
    assert missing.among(known) == set(known)
    s3.put("films", "late/b.mp4", b"x")  # by a driver that indexes there, too
    assert missing.among(known) == {"s3://films/late/c.mp4"}


def test_an_object_of_s3_is_known_by_its_content_wherever_it_lies(s3: servers.Buckets) -> None:
    data = noise(LARGE)
    for name in ("key/a.mp4", "key/moved.mp4"):
        s3.put("films", name, data)
    one, other = places.of("s3://films/key/a.mp4"), places.of("s3://films/key/moved.mp4")
    key = places.key_of(one)
    assert places.key_of(other) == key
    before = places.stat_of(one)
    s3.put("films", "key/a.mp4", data[: LARGE // 2] + b"\0" + data[LARGE // 2 + 1 :])
    assert not places.same(before, places.stat_of(one))
    assert places.key_of(one) != key


def test_an_object_of_s3_that_changes_while_it_is_read_is_given_up(s3: servers.Buckets) -> None:
    s3.put("films", "change.mp4", noise(LARGE))
    file = places.opened(places.of("s3://films/change.mp4"))
    assert file.read(100) == noise(LARGE)[:100]
    s3.put("films", "change.mp4", noise(LARGE, 1))
    file.seek(LARGE // 2)
    assert isinstance(refused(lambda: file.read(100)), FileChanged)


def test_a_bucket_or_an_object_that_is_not_there_and_credentials_that_are_not(
    s3: servers.Buckets, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for text in ("s3://nobucket/a.mp4", "s3://films/none.mp4", "s3://films/none"):
        assert isinstance(refused(lambda: places.stat_of(places.of(text))), NotThere)  # noqa: B023
        assert places.is_gone(places.of(text))
    assert isinstance(refused(lambda: list(places.walked(places.of("s3://nobucket/")))), NotThere)
    _remote.close()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "wants credentials" in str(refused(lambda: places.stat_of(places.of("s3://films/a.mp4"))))


def test_a_store_that_is_away_is_unreachable(
    hurried: None, monkeypatch: pytest.MonkeyPatch, buckets: servers.Buckets
) -> None:
    for name, value in buckets.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    assert isinstance(refused(lambda: places.stat_of(places.of("s3://films/a.mp4"))), Unreachable)
    assert gone(["s3://films/a.mp4"], "s3://films/") == set()


def test_objects_of_google_are_walked_known_and_read_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    data = noise(LARGE)
    with servers.google({"films": {"a/one.mp4": data, "a/.x.mp4": b"x", "ab/c.mp4": b"y"}}) as google:
        monkeypatch.setitem(fsspec.config.conf, "gs", {"endpoint_url": google.url, "token": "anon"})
        place = places.of("gs://films/a/one.mp4")
        (found,) = places.walked(places.of("gs://films/a"))
        assert found[0] == place
        assert found[1]
        assert places.same(found[1], places.stat_of(place))
        key = places.key_of(place)
        google.put("films", "b/moved.mp4", data)
        assert places.key_of(places.of("gs://films/b/moved.mp4")) == key
        file = places.opened(place)
        file.seek(LARGE // 2)
        assert file.read(1000) == data[LARGE // 2 :][:1000]
        google.put("films", "a/one.mp4", data[:-1])
        file.seek(0)
        assert isinstance(refused(lambda: file.read(100)), FileChanged)
        assert not places.same(found[1], places.stat_of(place))
        assert isinstance(refused(lambda: places.stat_of(places.of("gs://films/none.mp4"))), NotThere)


def test_nothing_is_held_of_an_object_but_what_was_read(tmp_path: Path) -> None:
    with servers.web(files={"/a": noise(LARGE)}) as shelf, places.opened(places.of(f"{shelf.url}/a")) as file:
        buffer = np.zeros(10, np.uint8)
        assert file.readinto(memoryview(buffer)) == 10
        assert bytes(buffer) == noise(LARGE)[:10]
        assert shelf.served == 1 << 16
