"""What stands in `deploy/`: it is not run here, so at least it says what it should."""

from pathlib import Path

import yaml

from retriever.settings import NAMES
from retriever.stores._address import Address, Options

DEPLOY = Path(__file__).parents[1] / "deploy"


def test_three_nodes_and_an_indexer_are_one_cluster() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    nodes = {name: service for name, service in services.items() if name.startswith("qdrant")}
    assert len(nodes) == 3
    assert len({node["image"] for node in nodes.values()}) == 1
    assert len({volume.partition(":")[0] for node in nodes.values() for volume in node["volumes"]}) == 3
    for name, node in nodes.items():
        assert node["environment"]["QDRANT__CLUSTER__ENABLED"] == "true"
        assert node["command"][-2:] == ["--uri", f"http://{name}:6335"]
        assert ("--bootstrap" in node["command"]) == (name != "qdrant-1")
        assert all(port.startswith("127.0.0.1:") for port in node.get("ports", ()))
    indexer = services["indexer"]
    assert indexer["depends_on"].keys() == nodes.keys()
    assert Address.parse(indexer["command"][-1]).host in nodes
    assert {name.removeprefix("REELSEEK_").lower() for name in indexer["environment"]} <= set(NAMES)
    assert "'.[offline,qdrant]'" in indexer["build"]["dockerfile_inline"]


def test_the_options_of_that_cluster_can_be_read() -> None:
    options = Options.read(DEPLOY / "qdrant.toml")
    assert options.replication_factor == options.write_consistency_factor == 2
    assert options.shard_number % 3 == 0
