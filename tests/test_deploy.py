"""What stands in `deploy/`: it is not run here, so at least it says what it should."""

import re
import tomllib
from pathlib import Path

import yaml

from api.main import COMMANDS
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
    for name in ("indexer", "api"):
        ours = services[name]
        assert ours["depends_on"].keys() == nodes.keys()
        verb, *words = ours["command"]
        assert verb in COMMANDS.names()
        assert Address.parse(words[words.index("--library") + 1]).host in nodes
        assert {name.removeprefix("REELSEEK_").lower() for name in ours["environment"]} <= set(NAMES)
        assert "catalog:/catalog" in ours["volumes"]
        assert ours["build"]["dockerfile"] == "deploy/Containerfile"
    assert services["api"]["ports"] == ["127.0.0.1:8000:8000"]


def test_the_container_has_what_its_commands_need() -> None:
    lines = (DEPLOY / "Containerfile").read_text()
    wanted = set(re.findall(r"'\.\[([\w,]+)\]'", lines)[0].split(","))
    assert wanted == {"offline", "qdrant", "serve"}
    extras = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert wanted <= extras.keys()
    assert "USER reelseek" in lines


def test_the_options_of_that_cluster_can_be_read() -> None:
    options = Options.read(DEPLOY / "qdrant.toml")
    assert options.replication_factor == options.write_consistency_factor == 2
    assert options.shard_number % 3 == 0
