"""Answers for other programs and for the eye: exports, strips and contact sheets of a real library."""

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest

from api import Library, exits
from api.main import main
from retriever.errors import NoSuchMedia, QueryError
from retriever.types import Modality

ASKED = ("blue", "--min-confidence", "0")


def test_a_search_exports_as_many_files_as_are_named(kept, tmp_path, capsys):
    names = [str(tmp_path / f"found{suffix}") for suffix in (".vtt", ".srt", ".csv", ".edl", ".json")]
    flags = [flag for name in names for flag in ("--export", name)]
    assert main(["search", *ASKED, *flags, "--json"]) == exits.OK
    out, err = capsys.readouterr()
    printed = json.loads(out)
    assert json.loads((tmp_path / "found.json").read_text()) == printed
    with (tmp_path / "found.csv").open(newline="", encoding="utf-8") as file:
        assert [row["ref"] for row in csv.DictReader(file)] == [one["ref"] for one in printed["moments"]]
    best = printed["moments"][0]["media"]
    ours = [one for one in printed["moments"] if one["media"] == best]
    assert (tmp_path / "found.vtt").read_text().count(" --> ") == len(ours)
    assert (tmp_path / "found.srt").read_text().count(" --> ") == len(ours)
    assert (tmp_path / "found.edl").read_text().count("* FROM CLIP NAME: ") == len(printed["moments"])
    assert all(f"export: {name}" in err.splitlines() for name in names)
    assert f"note: {names[0]}: cues are of {best['path']}: " in err


def test_a_wrong_suffix_is_told_before_anything_is_done(kept, tmp_path, capsys):
    for words in (["search", *ASKED, "--export", "a.doc"], ["report", "a.html", *ASKED, "--sheet", "a.gif"]):
        assert main(words) == exits.USAGE
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
    assert not Path("a.html").exists()


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_report_comes_with_a_contact_sheet(kept, tmp_path, capsys, suffix):
    sheet, page = tmp_path / f"sheet{suffix}", tmp_path / "page.html"
    assert main(["report", str(page), "blue", "green", "--min-confidence", "0", "--sheet", str(sheet)]) == exits.OK
    assert f"sheet: {sheet}, " in capsys.readouterr().err
    with av.open(str(sheet)) as picture:
        pixels = next(picture.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    blue = (pixels[..., 2] > 200) & (pixels[..., 0] < 60) & (pixels[..., 1] < 60)
    green = (pixels[..., 1] > 200) & (pixels[..., 0] < 60) & (pixels[..., 2] < 60)
    assert blue.sum() > 5000
    assert green.sum() > 5000


def test_a_report_shows_relevance_over_time(kept, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["search", *ASKED, "--report", str(page)]) == exits.OK
    text = page.read_text()
    assert 'class="lane vision"' in text
    assert 'aria-label="seen: most relevant at 0:02.0' in text, "where the film turns blue"
    assert 'class="here"' in text


def test_relevance_is_high_where_it_is_seen(kept):
    with Library.open("lib") as library:
        first, second = library.relevance("blue", "clips/first.mp4", "clips/second.mp4")
        seen = first.curves[Modality.VISION]  # red for two seconds, then blue
        middles = seen.edges[:-1] + np.diff(seen.edges) / 2
        assert seen.heights[middles > 2].min() > seen.heights[middles < 2].max()
        assert first.peak > second.peak
        assert first.peak == float(max(curve.heights.max() for curve in first.curves.values()))
        media = {item.key: item.path for item in library.media()}
        assert media[first.media].endswith("first.mp4")


def test_relevance_of_what_was_found_is_that_of_the_search(kept):
    """The moment lies where the curves are highest."""
    with Library.open("lib") as library:
        found = library.search("blue", min_confidence=0)
        strips = library.strips(found)
        assert set(strips) == {moment.media.key for moment in found}
        best = found[0]
        inside = max(curve.highest(best.start_s, best.end_s) for curve in strips[best.media.key].curves.values())
        assert inside == pytest.approx(strips[best.media.key].peak)


def test_relevance_of_several_terms_is_that_of_any_wanted_one(kept):
    with Library.open("lib") as library:
        (either,) = library.relevance("red then blue", "clips/first.mp4")
        (red,), (blue,) = (library.relevance(colour, "clips/first.mp4") for colour in ("red", "blue"))
        for half in ((0, 2), (2, 4)):
            both, *alone = (one.curves[Modality.VISION].highest(*half) for one in (either, red, blue))
            assert both == pytest.approx(max(alone), abs=1e-4)
        (heard,) = library.relevance("heard:tone", "clips/tone.wav")
        assert set(heard.curves) == {Modality.SOUND}


def test_relevance_of_nothing_is_refused(kept):
    with Library.open("lib") as library:
        with pytest.raises(NoSuchMedia):
            library.relevance("blue", "clips/nobody.mp4")
        with pytest.raises(QueryError):
            library.relevance("  ", "clips/first.mp4")
        assert library.relevance("blue") == []
