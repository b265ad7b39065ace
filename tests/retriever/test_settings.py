"""Flag over environment over file over default; every complaint at once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever import settings
from retriever.errors import BadSettings
from retriever.settings import Settings, about, judged, resolve, shown_size
from retriever.settings import size as read_size


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    file = tmp_path / "some.toml"
    file.write_text('limit = 3\nby = "video"\nmin_confidence = 0.5\n')
    return file


def test_nothing_given_is_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = resolve({}, {})
    assert found.settings == Settings()
    assert set(found.origins.values()) == {"default"}


def test_flag_over_environment_over_file_over_default(toml):
    found = resolve({"limit": "5"}, {"REELSEEK_LIMIT": "4", "REELSEEK_MIN_CONFIDENCE": "0.25", "PATH": "/bin"}, toml)
    assert (found.settings.limit, found.settings.min_confidence, found.settings.by) == (5, 0.25, "video")
    assert found.origins["limit"] == "flag"
    assert found.origins["min_confidence"] == "environment"
    assert found.origins["by"] == str(toml)
    assert found.origins["library"] == "default"


def test_the_file_is_found_by_its_name_or_by_the_environment(toml, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve({}, {}).settings.limit == Settings().limit
    assert resolve({}, {"REELSEEK_CONFIG": str(toml)}).settings.limit == 3
    (tmp_path / settings.FILE_NAME).write_text("limit = 7\n")
    assert resolve({}, {}).settings.limit == 7


def test_all_complaints_come_at_once(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text("limt = 3\ndepth = true\n[library]\nx = 1\n")
    with pytest.raises(BadSettings) as caught:
        resolve({"limit": "0", "by": "film"}, {"REELSEEK_MIN_CONFIDENCE": "nan", "REELSEEK_LIBARY": "x"}, file)
    lines = str(caught.value).splitlines()
    assert len(lines) == 7
    assert f"{file}: limt is no setting: did you mean limit?" in lines
    assert "REELSEEK_MIN_CONFIDENCE is 'nan'; it wants a number from 0 to 1" in lines
    assert "--by is 'film'; it wants moment or video" in lines


@pytest.mark.parametrize("text", ["limit = ", "\udcff"])
def test_a_file_that_is_no_toml_is_one_line(tmp_path, text):
    file = tmp_path / "bad.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadSettings, match="is not TOML"):
        resolve({}, {}, file)


def test_a_named_file_has_to_be_there(tmp_path):
    with pytest.raises(BadSettings, match="cannot be read"):
        resolve({}, {}, tmp_path / "none.toml")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_what_is_printed_can_be_read_again(tmp_path_factory, library):
    file = tmp_path_factory.mktemp("printed") / "again.toml"
    first = resolve({"library": library, "limit": "9"}, {"REELSEEK_CONFIG": ""})
    file.write_text(first.as_toml(), encoding="utf-8")
    assert resolve({}, {}, file).settings == first.settings


@pytest.mark.parametrize(
    ("raw", "size"),
    [("0", 0), ("1000", 1000), ("5 kB", 5000), ("1.5GB", 1_500_000_000), ("20g", 20 * 10**9), ("2TB", 2 * 10**12)],
)
def test_a_size_is_bytes_or_has_a_unit(raw, size):
    assert resolve({"most_bytes": raw}, {"REELSEEK_CONFIG": ""}).settings.most_bytes == size


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("least_free", "-1"),
        ("least_free", "1 GiB"),
        ("least_free", "much"),
        ("every", "-1"),
        ("every", "inf"),
        ("most_seconds", "nan"),
        ("most_seconds", "1:30"),
        ("tries", "0"),
    ],
)
def test_a_limit_that_cannot_be_is_one_line(name, raw):
    with pytest.raises(BadSettings, match="it wants a") as told:
        resolve({name: raw}, {"REELSEEK_CONFIG": ""})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (1, "1"), (1000, "1kB"), (1_500_000, "1500kB"), (5_000_000_001, "5000000001"), (2 * 10**12, "2TB")],
)
def test_a_size_is_shown_as_it_is_written(number, shown):
    assert shown_size(number) == shown
    assert read_size(shown) == number


def test_help_has_sizes_that_people_read():
    assert about("least_free").endswith("(default: 1GB)")
    assert about("most_bytes").endswith("(default: 0)")


@pytest.mark.parametrize(
    "raw", ["mysql://me@host/db", "sqlite:///catalog.db", "mysql://me:secret@host/db", "http://a/b"]
)
def test_a_catalog_is_kept_in_nothing_else(raw):
    for asked in (
        lambda: resolve({"store_catalog": raw}, {"REELSEEK_CONFIG": ""}),
        lambda: judged("store_catalog", raw),
    ):
        with pytest.raises(BadSettings, match=r"it wants a folder, or postgresql://") as told:
            asked()
        assert "\n" not in str(told.value)
        assert "secret" not in str(told.value)


def test_a_catalog_is_a_folder_or_in_postgresql():
    for raw in ("", "/srv/catalog", "catalogs/mine", "postgresql://me@host/db", "postgres://me@host/db", "a:b"):
        assert resolve({"store_catalog": raw}, {"REELSEEK_CONFIG": ""}).settings.store_catalog == raw
