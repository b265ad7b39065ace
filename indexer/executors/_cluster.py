"""A Ray cluster: one of this machine for the length of a run, or one that is there already."""

import logging
import os
import secrets
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import ray
from ray._private import ray_constants, worker

from retriever.errors import PluginError

AUTO = "auto"
CLIENT = "ray://"
PORT, CLIENT_PORT = 6379, 10001
STORE_BYTES = 100 << 20
"""Of the object store of a Ray of our own: no picture passes through it."""
PATIENCE = 5.0
"""Seconds that a cluster's address may take to answer: Ray itself would try for minutes."""

logger = logging.getLogger(__name__)


@contextmanager
def joined(address: str, cpus: int) -> Iterator[None]:
    """Be a driver of the cluster at `address`; without one, of a Ray that this process starts over the processors of
    this machine, as if there were `cpus` at least, that listens on the loopback alone, and that ends with the block.
    Where this process is a driver already, that cluster is taken, and stays.

    Raises:
        PluginError: nobody answers at the address, or not as Ray does.
    """
    if ray.is_initialized():
        yield
        return
    with _hushed(), _as_driver(address, cpus):
        yield


@contextmanager
def _as_driver(address: str, cpus: int) -> Iterator[None]:
    if address:
        _answers(address)
        with _told(address):
            _start(address=address)
        try:
            yield
        finally:
            ray.shutdown()
        return
    with alone():
        _start(
            address="local",
            num_cpus=max(processors(), cpus),
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
        )
        try:
            yield
        finally:
            ray.shutdown()


def _start(**how: Any) -> None:
    with warnings.catch_warnings():  # earlier versions foretell that they will hide no GPUs: these we do not rely on
        warnings.filterwarnings("ignore", message=".*no longer override accelerator", category=FutureWarning)
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **how)


def processors() -> int:
    """Of this machine, as far as this process may use them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _hushed() -> Iterator[None]:
    """What nodes complain of goes to the log: Ray would print it to standard output, where a document may be going."""
    aloud = worker.print_to_stdstream
    worker.print_to_stdstream = lambda data, **_: logger.debug("%s", data)
    try:
        yield
    finally:
        worker.print_to_stdstream = aloud


@contextmanager
def alone() -> Iterator[None]:
    """What a Ray of our own is started with, and only that."""
    said = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join(os.path.abspath(place) for place in sys.path),  # workers find what we found
        "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN", _token()),  # else Ray writes one into the home folder
    }
    before = {name: os.environ.get(name) for name in (*said, "RAY_AUTH_MODE")}  # which Ray sets
    # Ray's servers listen to the whole network unless it takes itself for a machine that can be part of no cluster.
    clusters, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    os.environ.update(said)
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@cache
def _token() -> str:
    """Ray reads it once a process."""
    return secrets.token_hex(32)


def _answers(address: str) -> None:
    """
    Raises:
        PluginError: this is no address, or nobody listens there.
    """
    if address == AUTO:
        return
    usual = CLIENT_PORT if address.startswith(CLIENT) else PORT
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port or usual
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme not in ("", "ray") or parts.path or parts.username:
        raise PluginError(f"--ray-address is {address!r}; it wants auto, HOST:{PORT} or ray://HOST:{CLIENT_PORT}")
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except OSError as error:
        raise _nobody(address, str(error.strerror or error)) from error


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Whatever Ray says of why it cannot be joined, on one line."""
    try:
        yield
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise _nobody(address, " ".join(str(error).split())[:200]) from error


def _nobody(address: str, why: str) -> PluginError:
    return PluginError(
        f"--ray-address is {address}, and no Ray cluster can be joined there ({why}): start one with `ray start "
        "--head`, have its token here if it wants one, or leave the address out for a Ray of this machine"
    )
