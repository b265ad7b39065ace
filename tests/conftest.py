"""What many tests share."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

SHARED_MEDIA = Path(os.environ.get("REELSEEK_SHARED_MEDIA", Path(__file__).parents[2] / "shared" / "media"))


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """The folder of real labelled clips that lies beside a developer's checkout; absent elsewhere."""
    if not (SHARED_MEDIA / "manifest.jsonl").is_file():
        pytest.skip("shared media: the folder of labelled clips is not beside this checkout")
    return SHARED_MEDIA


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
