"""No encoder goes to the network, whatever is missing."""

import socket

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*address: object) -> None:
        raise AssertionError("nothing here may go to the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
