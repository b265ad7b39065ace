"""How soon the page shows the first result after the key press, and how many bytes the page is.

python benchmarks/page.py --at FOLDER                  # 100,000 made-up segments (as service.py), kept there
python benchmarks/page.py --library lib/ --questions 20

The server is `reelseek serve` in a process of its own, the browser is this machine's Chromium: both share its
processors.  The time is the browser's own, from Enter in the search field until the frame in which the first result is
painted; questions are distinct real sentences, and every answer is shown however unsure (`sure=0`).
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import _corpus
import _library
import machine
from service import served

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGE = ("index.html", "app.js", "app.css", "icon.svg")
ARGUMENTS = ("--no-sandbox", "--mute-audio")
WARM = 5
"""Questions that are not counted."""
ASK = """question => new Promise(done => {
    const field = document.getElementById("query"), list = document.getElementById("list");
    field.value = question;
    list.replaceChildren();
    const begun = performance.now();
    new MutationObserver((_, watch) => {
        if (!list.querySelector("li.moment")) return;
        watch.disconnect();
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun)));
    }).observe(list, { childList: true });
    field.form.requestSubmit();
})"""
"""Milliseconds until the first result is painted: what follows a frame's callbacks is run after it."""


def asked(page: "Page", address: str, questions: Sequence[str]) -> list[float]:
    """Seconds of each question."""
    page.goto(f"{address}#sure=0")
    page.wait_for_selector("#query")
    return [page.evaluate(ASK, question) / 1000 for question in questions]


def report(library: Path, questions: Sequence[str]) -> None:
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        sys.exit("no Chromium: neither chromium nor chromium-browser is installed")
    with served(library) as (port, _, _), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        page = browser.new_page(locale="en-GB")
        times = asked(page, f"http://127.0.0.1:{port}/", questions)
        browser.close()
    print(f"from the key press to the first result: {machine.Times(tuple(times[WARM:]))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _library.arguments(parser)
    parser.add_argument("--questions", type=int, default=50)
    args = parser.parse_args()
    print(machine.describe())
    library = _library.chosen(parser, args)
    web = Path(__file__).parents[1] / "api" / "web"
    print(f"the page is {sum((web / name).stat().st_size for name in PAGE):,} bytes: {', '.join(PAGE)}")
    report(library, list(islice(_corpus.questions(), args.questions + WARM)))


if __name__ == "__main__":
    main()
