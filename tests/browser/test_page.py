"""The page in a real browser over a small library of colours and tones: what people do with it, what it promises."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clips
import fakes
import pytest
from browsing import opened, until
from serving import serving

from api import keys, parts
from api.main import main
from api.service import Library
from indexer.encoding import Encoders
from indexer.recipe import Recipe
from retriever.settings import Settings
from retriever.types import Line, Modality, Sound, TimeSpan

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = '<img src=x onerror="window.hacked=1">'
"""What would run if a name, a transcript or a caption became markup."""
EACH_S = 3.0
"""Seconds of each colour: a moment lasts while the browser is asked about it."""
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


class Captions(fakes.Subtitles):
    """Reads colours, and markup beside yellow."""

    digest = sha256(b"captions").hexdigest()

    def recognize(self, frames: Sequence[Any], spans: Sequence[tuple[float, float]]) -> list[Line]:
        found = super().recognize(frames, spans)
        return [replace(line, text=f"yellow {HOSTILE}") if line.text == "yellow" else line for line in found]


class Voice(fakes.NoSpeech):
    """Hears a sentence with markup in whatever is loud at its beginning."""

    digest = sha256(b"voice").hexdigest()

    def recognize(self, sound: Sound) -> list[Line]:
        if not len(sound.samples) or abs(sound.samples[:8_000]).max() < 0.1:
            return []
        return [Line(TimeSpan(0.0, 1.5), f"thank you {HOSTILE} for listening", Modality.SPEECH, 1.0)]


def _encoders(recipe: Recipe, models: parts.ModelChoice) -> Encoders:
    return Encoders(
        fakes.HashingSentences(),
        {"colours": fakes.Colours()},
        {"loudness": fakes.Loudness()},
        {"voice": Voice()},
        {"captions": Captions()},
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films of colours, a picture, two sounds, one with a hostile name, and one that is none."""
    folder = tmp_path_factory.mktemp("page")
    made = folder / "clips"
    made.mkdir()
    clips.film(made / "first.mp4", ["red", "blue", "green"], EACH_S)
    clips.film(made / "second.mp4", ["green", "white"], EACH_S)
    clips.film(made / f"{HOSTILE.replace('/', '')}.mp4", ["yellow", "black"])
    clips.tone(made / "tone.wav", [False, True])
    clips.tone(made / "thanks.wav", [True, False])
    clips.picture(made / "red.png", "red")
    (made / "<b onclick=alert(1)>broken.mp4").touch()
    return folder


@pytest.fixture(scope="module")
def server(corpus: Path) -> Iterator[str]:
    library = str(corpus / "lib")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "encoders", _encoders)
        patch.setattr(parts, "sentences", lambda name: fakes.HashingSentences())
        assert main(["index", str(corpus / "clips"), "--library", library]) == 0
        with serving(partial(Library.open, library), replace(Settings(), library=library)) as served:
            yield f"{served.url}/"


@pytest.fixture(scope="module")
def guarded(corpus: Path, server: str) -> Iterator[tuple[str, str]]:
    """A server that wants a key, and the key."""
    library = str(corpus / "guarded")
    assert main(["index", str(corpus / "clips" / "first.mp4"), "--library", library]) == 0
    with Library.open(library) as held:
        _, key = keys.make(held.store, "visitor", "search")
    with serving(partial(Library.open, library), replace(Settings(), library=library)) as served:
        yield f"{served.url}/", key


Visit = Callable[..., AbstractContextManager["Page"]]


@pytest.fixture
def visit(chromium: "Browser", server: str) -> Visit:
    """Opens a page at what stands behind "#"."""
    from contextlib import contextmanager

    @contextmanager
    def at(hash: str = "", **traits: Any) -> Iterator["Page"]:
        with opened(chromium, **traits) as page:
            page.goto(f"{server}#{hash}")
            yield page

    return at


def _clock(page: "Page") -> float:
    return float(page.evaluate("document.querySelector('video, audio').currentTime"))


def _playing(page: "Page") -> None:
    until(page, "(one => one && !one.paused && one.readyState > 2)(document.querySelector('video, audio'))")


def _drop(page: "Page", name: str, kind: str, data: bytes, event: str = "drop") -> None:
    """Let a file fall onto the page, or paste it."""
    page.evaluate(
        """([name, kind, data, event]) => {
            const held = new DataTransfer();
            held.items.add(new File([new Uint8Array(data)], name, { type: kind }));
            const made = event === "paste"
                ? new ClipboardEvent(event, { clipboardData: held, bubbles: true, cancelable: true })
                : new DragEvent(event, { dataTransfer: held, bubbles: true, cancelable: true });
            document.body.dispatchEvent(made);
        }""",
        [name, kind, list(data), event],
    )


# --------------------------------------------------------------------------------------------------------------- search


def test_a_search_shows_where_how_sure_and_why(visit: Visit) -> None:
    with visit() as page:
        page.fill("#query", "seen:blue")
        page.keyboard.press("Enter")
        card = page.locator("#list .moment").first
        card.wait_for()
        assert "first.mp4" in card.inner_text()
        assert re.search(r"0:0[23]\.\d–0:0[56]\.\d", card.locator(".path").inner_text())
        assert re.fullmatch(r"[a-z ]+ · (>99|\d\d?)%", card.locator(".sure").inner_text())
        assert card.locator(".why .vision").first.inner_text().startswith("seen")
        assert "blue" in card.locator(".label").first.inner_text()
        frame = card.locator(".picture img")
        frame.evaluate("one => one.decode()")
        assert frame.evaluate("one => one.naturalWidth") > 0
        assert "moment" in page.inner_text("#count")
        assert page.title().startswith("seen:blue")
        assert page.locator("#count").get_attribute("role") == "status"


def test_how_a_query_was_understood_is_shown(visit: Visit) -> None:
    with visit("q=red,+then+blue&sure=0") as page:
        page.wait_for_selector("#list .moment")
        assert page.inner_text("#understood").startswith("Understood as ")
        assert "then" in page.inner_text("#understood code")
        assert "In steps: 0:0" in page.locator("#list .moment").first.inner_text()


def test_words_that_were_said_and_written_are_marked(visit: Visit) -> None:
    with visit("q=said:thank&sure=0") as page:
        assert page.locator("#list mark").first.inner_text() == "thank"
    with visit("q=written:yellow&sure=0") as page:
        assert page.locator("#list mark").first.inner_text() == "yellow"


def test_filters_narrow_and_stay_in_the_address(visit: Visit) -> None:
    with visit("q=seen:red&sure=0") as page:
        page.wait_for_selector("#list .moment")
        page.click("#narrow summary")
        page.get_by_label("picture", exact=True).check()
        until(page, "document.querySelectorAll('#list .moment').length === 1")
        assert "red.png" in page.inner_text("#list")
        assert "kind=image" in page.url
        assert "set" in page.inner_text("#narrowed")
        page.reload()
        page.wait_for_selector("#list .moment")
        assert page.locator("#list .moment").count() == 1
        page.click("#narrow summary")
        page.click("#reset")
        until(page, "!location.hash.includes('kind')")
        page.select_option("[name=by]", "video")
        until(page, "document.querySelector('#count').textContent.includes('media')")


def test_more_moments_come_on_demand(visit: Visit) -> None:
    calls = []
    with visit() as page:
        page.on("request", lambda request: calls.append(request.post_data_json) if "search" in request.url else None)

        def small(route: Any) -> None:
            route.continue_(post_data={**route.request.post_data_json, "limit": 2})

        page.route("**/v1/search", small)
        page.goto(page.url.split("#")[0] + "#q=seen:green&sure=0")
        page.click("text=More moments")
        until(page, "document.querySelectorAll('#list .moment').length > 2")
        refs = page.eval_on_selector_all("#list .moment", "all => all.map(one => one.dataset.ref)")
        assert len(set(refs)) == len(refs)
        assert calls[1]["page"]


def test_nothing_here_is_said_plainly_with_the_misses_one_click_away(visit: Visit) -> None:
    with visit("q=seen:xyzzy&sure=0.99") as page:
        page.wait_for_selector("text=Nothing here")
        said = page.inner_text("#empty")
        assert "99% sure" in said
        assert re.search(r"about \d+ in 100 questions", said)
        assert page.inner_text("#count") == "Nothing found"
        assert page.locator("#list .moment").count() == 0
        page.click("#empty button")
        assert page.locator("#list .moment").count() > 0
        assert "near miss" in page.inner_text("#count")
        assert page.evaluate("document.activeElement.matches('.open')")


def test_a_wrong_query_is_underlined_where_it_goes_wrong(visit: Visit) -> None:
    with visit("q=red+both(blue") as page:
        assert "both(" in page.locator("#trouble u").inner_text()
        assert "wants a )" in page.inner_text("#trouble .bad")
        assert page.locator("#trouble").get_attribute("role") == "alert"
        assert page.locator("#query").get_attribute("aria-invalid") == "true"


@pytest.mark.parametrize("how", ["away", "busy"])
def test_a_server_that_is_away_or_busy_can_be_asked_again(visit: Visit, how: str) -> None:
    with visit() as page:
        busy = {"status": 503, "content_type": "application/problem+json", "body": '{"detail": "so many wait"}'}
        page.route("**/v1/search", lambda route: route.abort() if how == "away" else route.fulfill(**busy))
        page.fill("#query", "seen:blue")
        page.keyboard.press("Enter")
        said = page.locator("#trouble .bad").inner_text()
        assert ("cannot be reached" if how == "away" else "so many wait") in said
        page.unroute("**/v1/search")
        page.click("text=Try again")
        page.wait_for_selector("#list .moment")
        assert page.inner_text("#trouble") == ""


def test_a_library_with_keys_asks_for_one_and_keeps_it(chromium: "Browser", guarded: tuple[str, str]) -> None:
    address, key = guarded
    with opened(chromium) as page:
        page.goto(f"{address}#q=seen:blue&sure=0")
        page.wait_for_selector("#trouble >> text=a key is needed")
        assert "Bearer" not in page.inner_text("body")
        page.fill("#key", "rs_00000000_wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#wrong >> text=not one of this library")
        page.fill("#key", key)
        page.keyboard.press("Enter")
        page.locator("#list .open", has_text="first.mp4").first.click()
        assert not page.locator("#door").is_visible()
        _playing(page)
        page.locator("#list .picture img").first.evaluate("one => one.decode()")
        assert page.evaluate("document.cookie") == ""


# --------------------------------------------------------------------------------------------------------------- player


def test_a_moment_plays_from_its_beginning_and_stops_at_its_end(visit: Visit) -> None:
    with visit("q=seen:blue&sure=0") as page:
        page.locator("#list .open").first.click()
        _playing(page)
        ref = page.evaluate("new URLSearchParams(location.hash.slice(1)).get('m')")
        start, end = map(float, ref.split("@")[1].split("-"))
        assert (start, end) == pytest.approx((EACH_S, 2 * EACH_S), abs=0.6)
        assert start - 0.05 <= page.evaluate("document.querySelector('video').played.start(0)") < end
        assert start - 0.05 <= _clock(page) <= end
        page.wait_for_selector("#over:not([hidden])")
        assert page.evaluate("document.querySelector('video').paused")
        assert start <= _clock(page) <= end
        page.click("text=Play on")
        until(page, f"document.querySelector('video').currentTime > {end}")
        assert not page.locator("#over").is_visible() or _clock(page) > end
        page.click("#close")
        assert not page.locator("#stage").is_visible()
        assert "m=" not in page.url


def test_the_timeline_shows_each_modality_and_jumps(visit: Visit) -> None:
    with visit("q=blue&sure=0") as page:
        page.locator("#list .open", has_text="first.mp4").first.click()
        _playing(page)
        lanes = page.locator("#timeline .lanes")
        lanes.wait_for()
        assert "seen" in lanes.inner_text()
        assert "written" in lanes.inner_text()
        assert lanes.locator(".hill").count() == lanes.locator(".chance").count() >= 2
        moment, lane = lanes.locator(".here").bounding_box(), lanes.locator("svg").first.bounding_box()
        assert moment
        assert lane
        ref = page.evaluate("new URLSearchParams(location.hash.slice(1)).get('m')")
        start = float(ref.split("@")[1].split("-")[0])
        assert (moment["x"] - lane["x"]) / lane["width"] == pytest.approx(start / (3 * EACH_S), abs=0.01)
        page.mouse.click(lane["x"] + lane["width"] * 0.75, lane["y"] + 5)
        until(page, "document.querySelector('video').currentTime > 6.7")
        page.evaluate("document.querySelector('video').pause()")
        lanes.focus()
        page.keyboard.press("Home")
        until(page, "document.querySelector('video').currentTime === 0")
        page.keyboard.press("ArrowRight")
        until(page, "document.querySelector('[role=slider]').ariaValueText === '0:01.0 of 0:09.0'")


def test_a_frame_of_the_strip_plays_from_there(visit: Visit) -> None:
    with visit("q=seen:blue&sure=0") as page:
        frames = page.locator("#list .moment", has_text="first.mp4").first.locator(".frame")
        label = frames.last.get_attribute("aria-label") or ""
        second = float(label.rpartition(":")[2])
        frames.last.click()
        _playing(page)
        assert _clock(page) >= second - 0.06
        page.evaluate("document.querySelector('video').currentTime = 0")
        frames.last.click()
        until(page, f"document.querySelector('video').currentTime >= {second - 0.06}")


def test_sounds_and_pictures_have_players_of_their_own(visit: Visit) -> None:
    with visit("q=heard:tone&sure=0&kind=sound") as page:
        page.locator("#list .open", has_text="tone.wav").first.click()
        _playing(page)
        assert page.locator("#screen audio").count() == 1
        page.wait_for_selector("#timeline >> text=heard")
    with visit("q=seen:red&sure=0&kind=image") as page:
        page.locator("#list .open").first.click()
        page.locator("#screen img").evaluate("one => one.decode()")
        assert not page.locator("#clip").is_visible()


def test_a_file_that_no_browser_plays_is_played_as_a_clip(visit: Visit) -> None:
    with visit() as page:
        page.route("**/stream", lambda route: route.fulfill(status=200, content_type="video/mp4", body="not a film"))
        page.goto(page.url.split("#")[0] + "#q=seen:blue&sure=0")
        page.locator("#list .open", has_text="first.mp4").first.click()
        _playing(page)
        assert "exact=1" in page.evaluate("document.querySelector('video').src")
        until(page, "Number(document.querySelector('[role=slider]')?.ariaValueNow) > 2")
        page.wait_for_selector("#over:not([hidden])")


def test_a_link_leads_back_to_the_query_and_the_moment(visit: Visit) -> None:
    with visit("q=seen:blue&sure=0", permissions=["clipboard-read", "clipboard-write"]) as page:
        page.locator("#list .open").first.click()
        page.click("#copy")
        page.wait_for_selector("text=Link copied")
        link = page.evaluate("navigator.clipboard.readText()")
        now = page.inner_text("#now")
        ref = page.locator(".moment.now").get_attribute("data-ref")
        assert page.locator("#clip").get_attribute("href").startswith("/v1/media/")  # type: ignore[union-attr]
    with visit(link.split("#")[1]) as page:
        page.wait_for_selector("#stage:not([hidden])")
        page.wait_for_selector(".moment.now")
        until(page, f"document.querySelector('#now').innerText === {json.dumps(now)}")
        assert page.input_value("#query") == "seen:blue"
        start = float(ref.split("@")[1].split("-")[0])  # type: ignore[union-attr]
        until(page, f"document.querySelector('video').currentTime >= {start - 0.05}")
    with visit(f"t={ref}") as page:
        page.wait_for_selector("#stage:not([hidden])")
        until(page, f"document.querySelector('#now').innerText === {json.dumps(now)}")
    with visit("m=0000000000000000@1-2") as page:
        page.wait_for_selector("#fault:has-text('is no id of this library')")


def test_the_clip_is_offered_for_download(visit: Visit) -> None:
    with visit("q=seen:blue&sure=0") as page:
        page.locator("#list .open").first.click()
        with page.expect_download() as found:
            page.click("#clip")
        assert found.value.path().stat().st_size > 500


def test_a_media_whose_file_is_gone_is_said_to_be(visit: Visit) -> None:
    with visit() as page:

        def gone(route: Any) -> None:
            reply = route.fetch()
            said = reply.json()
            for moment in said["moments"]:
                moment["media"]["there"] = False
            route.fulfill(response=reply, json=said)

        page.route("**/v1/search", gone)
        page.goto(page.url.split("#")[0] + "#q=seen:blue&sure=0")
        card = page.locator("#list .moment").first
        assert "file is gone" in card.inner_text()
        card.locator(".open").click()
        page.wait_for_selector("#fault >> text=is gone")
        assert page.locator("#screen video").count() == 0


# ------------------------------------------------------------------------------------------------- examples and uploads


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_picture_that_is_dropped_or_pasted_is_searched_by(visit: Visit, corpus: Path, event: str) -> None:
    red = (corpus / "clips" / "red.png").read_bytes()
    with visit("sure=0") as page:
        _drop(page, "mine.png", "image/png", red, event)
        page.wait_for_selector("#list .moment")
        chip = page.locator("#terms .term")
        assert "picture mine.png" in chip.inner_text()
        assert re.search(r"q=image%3Aupload-\w+", page.url)
        assert "red.png" in page.locator("#list .moment").first.inner_text()
        page.locator("#list .open", has_text="first.mp4").first.click()
        page.wait_for_selector("#timeline .hill")
        page.fill("#query", "red")
        page.keyboard.press("Enter")
        until(page, "location.hash.includes('q=red+image')")
        chip.get_by_role("button").click()
        until(page, "!location.hash.includes('image')")


def test_a_sound_is_chosen_to_be_searched_by(visit: Visit, corpus: Path) -> None:
    with visit("sure=0") as page:
        page.set_input_files("#example", str(corpus / "clips" / "tone.wav"))
        page.wait_for_selector("#list .moment")
        assert "sound tone.wav" in page.inner_text("#terms")
        assert page.locator("#list .why .sound").count() > 0


def test_what_cannot_be_searched_by_is_said_at_the_search_box(visit: Visit) -> None:
    with visit("sure=0") as page:
        _drop(page, "notes.txt", "text/plain", b"not a film at all")
        page.wait_for_selector("#trouble .bad")
        assert page.locator("#list .moment").count() == 0


def test_more_like_this(visit: Visit) -> None:
    with visit("q=seen:green&sure=0") as page:
        first = page.locator("#list .moment").first
        ref = first.get_attribute("data-ref")
        first.get_by_role("button", name="More like this").click()
        until(page, "location.hash.includes('like')")
        until(page, "document.querySelector('#answer').ariaBusy === null")
        assert page.locator("#terms .term").inner_text().startswith("like ")
        assert page.locator("#list .moment").count() > 0
        assert page.locator("#list .moment").first.get_attribute("data-ref") != ref


def test_a_file_is_sent_indexed_listed_and_found(visit: Visit, tmp_path: Path) -> None:
    film = clips.film(tmp_path / "sent.mp4", ["white", "blue"])
    with visit("view=library") as page:
        page.wait_for_selector("#media .moment")
        before = page.locator("#media .moment").count()
        page.fill("#tags", "fresh, sent")
        page.set_input_files("#files", str(film))
        row = page.locator("#jobs li", has_text="sent.mp4")
        row.wait_for()
        row.locator("text=indexed").last.wait_for()
        page.wait_for_selector("text=it can be searched")
        until(page, f"document.querySelectorAll('#media .moment').length === {before + 1}")
        assert "fresh" in page.locator("#media .moment", has_text="sent.mp4").inner_text()
        page.fill("#named", "sent")
        until(page, "document.querySelectorAll('#media .moment').length === 1")
        page.goto(page.url.split("#")[0] + "#q=seen:white+tag:fresh&sure=0")
        page.locator("#list .moment", has_text="sent.mp4").first.wait_for()


def test_a_file_that_cannot_be_indexed_is_set_aside_with_the_reason(visit: Visit) -> None:
    with visit("view=library") as page:
        page.wait_for_selector("#media .moment")
        _drop(page, "none.mp4", "video/mp4", b"this is no film")
        page.locator("#jobs li", has_text="none.mp4").locator("text=set aside: ").wait_for()
        page.wait_for_selector("#aside >> text=none.mp4")
        assert page.evaluate("location.hash") == "#view=library"


def test_a_refused_upload_says_why(visit: Visit) -> None:
    full = {"status": 413, "content_type": "application/problem+json", "body": '{"detail": "at most 10 bytes"}'}
    with visit("view=library") as page:
        page.route("**/v1/media", lambda route: route.fulfill(**full))
        _drop(page, "large.mp4", "video/mp4", b"0" * 1000)
        page.locator("#jobs li", has_text="large.mp4").locator("text=at most 10 bytes").wait_for()


def test_the_library_lists_media_counts_and_what_was_set_aside(visit: Visit) -> None:
    with visit("view=library") as page:
        page.wait_for_selector("#media .moment")
        page.wait_for_selector("#asides:not([hidden])")
        page.wait_for_selector("#counts >> text=segments")
        assert re.search(r"\d+ media · 0:\d\d · \d+ segments · [\d.]+ [kM]B", page.inner_text("#counts"))
        assert "first.mp4" in page.inner_text("#media")
        assert "nothing" not in page.inner_text("#further")
        assert "<b onclick=alert(1)>broken.mp4" in page.inner_text("#aside")
        assert "is empty" in page.inner_text("#aside")
        page.locator("#media .open", has_text="first.mp4").click()
        _playing(page)
        until(page, "document.querySelector('video').currentTime > 0.3")
        page.evaluate("document.querySelector('video').pause()")
        assert not page.locator("#timeline .here").is_visible()


# ------------------------------------------------------------------------------------------------------------- promises


def test_the_keyboard_is_enough(visit: Visit) -> None:
    with visit("view=library") as page:
        page.wait_for_selector("#media .moment")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "query"
        page.keyboard.type("seen:green")
        page.keyboard.press("Enter")
        page.wait_for_selector("#list .moment >> nth=1")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        focused = "document.activeElement.closest('.moment').dataset.ref"
        refs = page.eval_on_selector_all("#list .moment", "all => all.map(one => one.dataset.ref)")
        assert page.evaluate(focused) == refs[1]
        page.keyboard.press("ArrowUp")
        assert page.evaluate(focused) == refs[0]
        page.keyboard.press("Enter")
        _playing(page)
        page.keyboard.press("Space")
        assert page.evaluate("document.querySelector('video').paused")
        page.keyboard.press("Space")
        _playing(page)
        page.locator("#toggle").focus()
        page.keyboard.press("Escape")
        assert not page.locator("#stage").is_visible()
        assert page.evaluate(focused) == refs[0]
        page.keyboard.press("ArrowUp")
        assert page.evaluate("document.activeElement.id") == "query"
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert page.locator("#guide").is_visible()
        page.keyboard.press("Escape")
        assert not page.locator("#guide").is_visible()
        page.go_back()


def test_names_transcripts_and_captions_are_text(visit: Visit) -> None:
    ways = (
        "q=seen:yellow&sure=0",
        "q=written:yellow&sure=0",
        "q=said:thank&sure=0",
        "view=library",
        f"q={HOSTILE}&sure=0",
    )
    for way in ways:
        with visit(way) as page:
            page.wait_for_selector(".moment")
            if "written" in way or "said" in way:
                assert HOSTILE in page.inner_text("#list")
            page.locator(".open").first.click()
            page.wait_for_selector("#stage:not([hidden])")
            page.wait_for_timeout(300)
            assert page.evaluate("window.hacked") is None
            assert page.locator("img[src=x], [onerror], [onclick]").count() == 0


VIEWS = ("", "q=seen:blue&sure=0", "q=seen:xyzzy&sure=0.99", "q=both(", "view=library")


@pytest.mark.parametrize("way", VIEWS)
def test_a_phone_shows_all_of_it_without_scrolling_sideways(visit: Visit, way: str) -> None:
    with visit(way, **PHONE) as page:
        page.wait_for_load_state("networkidle")
        wide = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        steps = ["#narrow summary", "#empty button", ".open"]
        for step in ["", *steps]:
            found = page.locator(step).first if step else None
            if found is not None and not found.is_visible():
                continue
            if found is not None:
                found.click()
                page.wait_for_timeout(200)
            scrolled, shown = page.evaluate(wide)
            assert scrolled <= shown == 360, step
            out = page.eval_on_selector_all(
                "button, input, select, a, .moment, #stage",
                "all => all.filter(one => one.checkVisibility() && one.getBoundingClientRect().right > 361)"
                ".map(one => one.outerHTML.slice(0, 80))",
            )
            assert out == []
        page.locator("#help").click()
        assert page.evaluate("document.querySelector('#guide').scrollWidth <= 360")


NAMELESS = """() => [...document.querySelectorAll("button, a, input, select, textarea, img, video, audio, summary,"
        + "dialog, [role=slider], [role=search], section, progress")].filter((one) => {
    if (one.type === "hidden" || one.type === "file") return false;
    const told = (id) => document.getElementById(id)?.textContent ?? "";
    const name = one.getAttribute("aria-label") ?? told(one.getAttribute("aria-labelledby")) ;
    if (one.tagName === "IMG") return !one.hasAttribute("alt");
    const label = [...(one.labels ?? [])].map((each) => each.textContent).join("");
    const text = one.matches("button, a, summary") ? one.textContent : "";
    return !(name || label || text).trim();
}).map((one) => one.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("way", VIEWS)
def test_everything_has_a_name_for_screen_readers(visit: Visit, way: str) -> None:
    with visit(way) as page:
        page.wait_for_load_state("networkidle")
        if page.locator(".open").first.is_visible():
            page.locator(".open").first.click()
            page.wait_for_selector("#timeline .lanes")
        assert page.evaluate(NAMELESS) == []
        doubles = "all => all.map(one => one.id).filter((id, place, ids) => ids.indexOf(id) !== place)"
        assert page.eval_on_selector_all("[id]", doubles) == []
        levels = page.eval_on_selector_all(
            "h1, h2, h3", "all => all.filter(one => one.checkVisibility()).map(one => Number(one.tagName[1]))"
        )
        assert all(level in (1, 2, 3) for level in levels)


def test_focus_can_be_seen(visit: Visit) -> None:
    with visit("q=seen:blue&sure=0") as page:
        page.wait_for_selector("#list .moment")
        page.locator("#query").focus()
        for _ in range(12):
            page.keyboard.press("Tab")
            drawn = page.evaluate(
                """(() => {
                    const one = document.activeElement;
                    const styles = [getComputedStyle(one), getComputedStyle(one, "::after"),
                        getComputedStyle(one.closest(".box") ?? one)];
                    return one === document.body || styles.some((style) => parseFloat(style.outlineWidth) >= 2
                        && style.outlineStyle !== "none");
                })()"""
            )
            assert drawn, page.evaluate("document.activeElement.outerHTML.slice(0, 100)")


def test_dark_and_light_and_still(visit: Visit) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        with visit("", color_scheme=scheme, reduced_motion="reduce") as page:
            grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            moving = "getComputedStyle(document.querySelector('progress')).animationName"
            assert page.evaluate(moving) == "none"
    assert len(grounds) == 2


@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_keeps_still_while_it_loads(visit: Visit, width: int) -> None:
    """No search is asked for twice, whatever the address says."""
    asked = []
    with visit("", viewport={"width": width, "height": 800}) as page:
        page.on("request", lambda request: asked.append(request.url) if "/v1/search" in request.url else None)
        page.goto(page.url.split("#")[0] + "#q=seen:blue&sure=0")
        page.locator("#list .open").first.click()
        _playing(page)
        page.go_back()
        page.wait_for_selector("#stage", state="hidden")
        page.go_forward()
        _playing(page)
        assert len(asked) == 1
