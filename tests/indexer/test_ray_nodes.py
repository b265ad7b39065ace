"""Two nodes of Ray on this machine, one of which is lost."""

import os
from collections.abc import Iterator
from pathlib import Path

import farm
import pytest
from ray.cluster_utils import Cluster
from reels import write_reel

from indexer.events import Advanced, Event, Warned
from indexer.executors import _cluster
from indexer.executors import ray as executor

NODES = {"num_cpus": 2, "object_store_memory": _cluster.STORE_BYTES, "include_dashboard": False}


@pytest.fixture(scope="module", autouse=True)
def by_itself() -> Iterator[None]:
    with farm.by_itself():
        yield


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """One node."""
    monkeypatch.setenv("RAY_ADDRESS", os.environ.get("RAY_ADDRESS", ""))  # Ray changes it
    with _cluster.alone():
        cluster = Cluster(initialize_head=True, head_node_args=NODES)
        yield cluster
        cluster.shutdown()


@pytest.mark.slow
def test_a_node_that_comes_is_used_and_when_it_is_lost_nothing_is(cluster: Cluster, tmp_path: Path) -> None:
    """Both in one: it takes Ray a while to bring a node up."""
    field = farm.Farm(tmp_path)
    colours = ["red", "blue", "green", "white"]
    for number in range(6):
        write_reel(field.clips / f"{number}.synthetic", *[colours[number % 4]] * (number + 2), seconds=4.0)
    log, second, lost = tmp_path / "encoded", [], False

    def at(event: Event) -> None:
        nonlocal lost
        if not isinstance(event, Advanced):
            return
        if not second:
            second.append(cluster.add_node(**NODES))
        elif not lost and len({line.split()[2] for line in log.read_text().splitlines()}) == 2:
            cluster.remove_node(second[0], allow_graceful=False)
            lost = True

    summary = field.index("ray", executor.build(farm.making(slow=0.4, log=str(log)), cluster.address), at)
    assert lost, "nobody worked on the second node"
    assert len(summary.indexed) == 6
    assert any(isinstance(event, Warned) and "is lost" in event.message for event in field.said)
    assert len(farm.kept(field)) == len(set(farm.kept(field))) == 27
    assert field.held("ray") == field.undisturbed()
    field.close()
