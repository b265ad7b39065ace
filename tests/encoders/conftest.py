"""No encoder goes to the network, whatever is missing; and every tower is converted anew."""

import socket

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*address: object) -> None:
        raise AssertionError("nothing here may go to the network")

    monkeypatch.setattr(socket.socket, "connect", refused)


@pytest.fixture(autouse=True)
def no_graph_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test which changes the conversion is not answered from the last one."""
    from encoders import _towers

    monkeypatch.setattr(_towers, "kept", lambda key, dtype: None)
