"""What many tests share."""

import gc
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from nursery import Nursery
    from postgres import Postgres

hypothesis.settings.register_profile("patient", deadline=None)  # how long an example takes is the machine's affair
if not os.environ.get("CI"):  # there hypothesis has settings of its own, which are as patient
    hypothesis.settings.load_profile("patient")

# What tests compute is small, and several workers share the cores: threads would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests, and all that the processes which they start import, are compiled once, not by each worker and each process.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Whoever reads a pipe has what was flushed, and no more: a workplace may have set this, people's terminals have not.
os.environ.pop("PYTHONUNBUFFERED", None)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever starts tests in the background of a script has them ignore interrupts, which all that they start inherits.
    signal.signal(signal.SIGINT, signal.default_int_handler)

MEMORY, ROOM = Path("/dev/shm"), 8 << 30
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    # Libraries sync what they write, and here nobody cuts the power: they need not wait for this machine's disk.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

SHARED_MEDIA = Path(os.environ.get("REELSEEK_SHARED_MEDIA", Path(__file__).parents[2] / "shared" / "media"))


ROOT = Path(__file__).parent
LONG = (
    "indexer/test_ray.py",
    "http/test_crew.py",
    "retriever/stores/test_postgres.py",
    "test_house.py",
    "end_to_end/test_jobs.py",
    "end_to_end/test_kills.py",
    "end_to_end/test_kills_reembed.py",
    "end_to_end/test_demo.py",
    "end_to_end/test_models_cli.py",
    "end_to_end/test_remote.py",
    "end_to_end/test_reembed.py",
    "end_to_end/test_qdrant_cli.py",
)
"""Files of few tests that take long: workers begin with them, so that none is left with one when all others end."""


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # files go to the workers as they are sorted here


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For workers: those of `LONG`, then whichever file has most tests."""
    if not hasattr(config, "workerinput"):
        return
    sizes = Counter(item.path for item in items)
    places = {ROOT / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: (places.get(item.path, len(LONG)), -sizes[item.path], item.path))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """A million objects of what was imported stay to the end: collections of garbage need not look at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """The folder of real labelled clips that lies beside a developer's checkout; absent elsewhere."""
    if not (SHARED_MEDIA / "manifest.jsonl").is_file():
        pytest.skip("shared media: the folder of labelled clips is not beside this checkout")
    return SHARED_MEDIA


@pytest.fixture(scope="session")
def postgres() -> Iterator["Postgres"]:
    """A PostgreSQL server, started once."""
    from postgres import MISSING, binaries, serving

    if binaries() is None:
        pytest.skip(MISSING)
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def nursery() -> Iterator["Nursery"]:
    """A process that scripts are forked from."""
    from nursery import opened

    with opened() as made:
        yield made


@pytest.fixture(scope="session", autouse=True)
def own_graphs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Graphs of the towers that tests make are kept apart, and drive none of this machine's out."""
    if find_spec("torch") is None or find_spec("openvino") is None:
        yield
        return
    from encoders import _converted

    folder = tmp_path_factory.mktemp("graphs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_converted, "graphs_folder", lambda: folder)
        yield


ALLOWED_SKIPS = tuple(
    line
    for line in (Path(__file__).parent / "allowed_skips.txt").read_text().splitlines()
    if line and not line.startswith("#")
)


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI=true, a skip that is not named as allowed fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") != "true" or reporter is None:
        return
    reasons = sorted({skip_reason(report) for report in reporter.stats.get("skipped", [])})
    unnamed = [reason for reason in reasons if not reason.startswith(ALLOWED_SKIPS)]
    if unnamed:
        reporter.write_line(f"skips that tests/allowed_skips.txt does not name: {unnamed}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
