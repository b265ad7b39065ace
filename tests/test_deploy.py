"""What stands in `deploy/`: it is not run here, so at least it says what it should."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import yaml
from fastapi.routing import APIRoute

from api.main import COMMANDS
from api.routes.health import routes
from retriever.settings import Settings
from retriever.stores._address import API_KEY, CATALOG_PASSWORD, Address, Options
from retriever.stores._postgres import Server

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
        assert set(ours["environment"]) == {"REELSEEK_STORE_CATALOG", CATALOG_PASSWORD, "XDG_DATA_HOME"}
        assert "catalog:/catalog" in ours["volumes"]
        assert ours["build"]["dockerfile"] == "deploy/Containerfile"
    assert services["api"]["ports"] == ["127.0.0.1:8000:8000"]


def test_several_coordinators_have_one_catalog_and_nothing_else_in_common() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    postgres, coordinator = services["postgres"], services["coordinator"]
    assert postgres["profiles"] == coordinator["profiles"] == ["coordinators"]
    assert "ports" not in postgres
    assert postgres["environment"]["POSTGRES_PASSWORD"] == coordinator["environment"][CATALOG_PASSWORD]
    default = re.fullmatch(r"\$\{STORE_CATALOG:-(.*)\}", coordinator["environment"]["REELSEEK_STORE_CATALOG"])
    assert default
    server = Server.parse(default[1], "clips", {CATALOG_PASSWORD: "x"})
    assert server.asked["host"] in services
    assert server.asked["user"] == postgres["environment"]["POSTGRES_USER"]
    assert server.asked["dbname"] == postgres["environment"]["POSTGRES_DB"]
    assert server.asked["sslmode"] == "disable", "no TLS between containers"
    assert coordinator["command"][0] == "index"
    assert coordinator["command"][2:] == services["indexer"]["command"][2:]
    assert f"{coordinator['command'][1]}:ro" in coordinator["volumes"][0]
    assert coordinator["volumes"][0] in services["api"]["volumes"], "what it indexes can be played"
    options = f"./qdrant.toml:{services['api']['environment']['XDG_DATA_HOME']}/reelseek/catalogs/qdrant.toml:ro"
    assert all(options in services[name]["volumes"] for name in ("indexer", "api", "coordinator"))
    assert {"postgres", "qdrant-1"} == coordinator["depends_on"].keys()
    own = {volume.partition(":")[0] for volume in coordinator["volumes"] if volume.endswith(":/catalog")}
    assert not own & {volume.partition(":")[0] for volume in services["indexer"]["volumes"]}


def test_images_are_of_one_version_and_services_say_when_they_are_ready() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    (base,) = re.findall(r"^FROM (\S+)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    for image in {base, *(service["image"] for service in services.values() if "image" in service)}:
        assert re.search(r":(\$\{\w+:-)?v?\d+\.\d+(\.\d+)?(-slim)?\}?$", image), image
    for name, service in services.items():
        assert ("healthcheck" in service) == (name not in ("indexer", "coordinator")), "those end"
        assert all(services[other].get("healthcheck") for other in service.get("depends_on", ()))
    paths = {route.path for route in routes.routes if isinstance(route, APIRoute)}
    assert any(f"127.0.0.1:8000{path}'" in services["api"]["healthcheck"]["test"][-1] for path in paths)


def test_every_volume_that_is_named_is_used_and_every_variable_is_a_setting() -> None:
    page = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    mounted = {each.partition(":")[0] for service in page["services"].values() for each in service["volumes"]}
    assert {name for name in mounted if name[0] not in "./$"} == page["volumes"].keys()
    settings = {f"REELSEEK_{field.name.upper()}" for field in fields(Settings)}
    said = {name for service in page["services"].values() for name in service.get("environment", {})}
    assert {name for name in said if name.startswith("REELSEEK_")} <= {*settings, CATALOG_PASSWORD, API_KEY}


def test_nothing_goes_into_the_image_but_what_is_installed() -> None:
    lines = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    told = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())
    packages = {name.partition(".")[0] for name in told["tool"]["setuptools"]["packages"]}
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == {"LICENSE", "README.md", "pyproject.toml", *packages}


def test_the_container_has_what_its_commands_need() -> None:
    lines = (DEPLOY / "Containerfile").read_text()
    wanted = set(re.findall(r"'\.\[([\w,]+)\]'", lines)[0].split(","))
    assert wanted == {"offline", "qdrant", "postgres", "serve"}
    extras = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert wanted <= extras.keys()
    assert "USER reelseek" in lines


def test_the_options_of_that_cluster_can_be_read() -> None:
    options = Options.read(DEPLOY / "qdrant.toml")
    assert options.replication_factor == options.write_consistency_factor == 2
    assert options.shard_number % 3 == 0
