"""A PostgreSQL server for tests, of the binaries that `apt install postgresql` brings, in a folder of its own."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

USER, DATABASE, PASSWORD = "reelseek", "postgres", "s3cret"
MISSING = "no PostgreSQL: apt install postgresql"
_ROOM = 2_000_000_000


def binaries() -> Path | None:
    """Where `initdb` and `postgres` lie; Debian puts them on nobody's path."""
    places = [found.parent for found in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if on_path := shutil.which("initdb"):
        places.append(Path(on_path).resolve().parent)
    return max(places, default=None, key=lambda place: [int(part) for part in place.parts if part.isdigit()])


def _nobody() -> dict[str, object]:
    """PostgreSQL does not run as root: root starts it as somebody else."""
    return {"user": "nobody", "group": _group(), "extra_groups": []} if os.geteuid() == 0 else {}


def _group() -> int:
    return pwd.getpwnam("nobody").pw_gid


@dataclass
class Postgres:
    """One server; its superuser needs no password at the socket, and one over the network."""

    bin: Path
    folder: Path
    port: int  # over the network; and its socket is named by it
    place: str = ""  # an address of it, by its socket
    far: str = ""  # and over the network, where a password is wanted
    _process: "subprocess.Popen[bytes] | None" = None

    def make(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody", _group())
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            "initdb", "-D", "data", "-U", USER, "-A", "trust", "--auth-host=scram-sha-256", f"--pwfile={secret}",
            "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        self.place = f"postgresql://{USER}@/{DATABASE}?host={self.folder}&port={self.port}"
        self.far = f"postgresql://{USER}@127.0.0.1:{self.port}/{DATABASE}"

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [self.bin / program, *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={"LC_ALL": "C.UTF-8"},
            **_nobody(),  # type: ignore[call-overload]
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        settings = {
            "unix_socket_directories": self.folder,
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "max_connections": 300,
        }
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self.bin / "postgres",
                    *("-D", "data"),
                    *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={"LC_ALL": "C.UTF-8"},
                **_nobody(),  # type: ignore[call-overload]
            )
        until = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.place).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def stop(self, how: int = signal.SIGINT) -> None:
        """SIGINT ends it in order; with SIGQUIT it is as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def crash(self) -> None:
        self.stop(signal.SIGQUIT)

    def ask(self, text: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.place, autocommit=True) as own:
            found = own.execute(text, values or None)  # type: ignore[call-overload]
            return found.fetchall() if found.description else []

    def disconnect(self, name: str = "%") -> None:
        """End all sessions of a name, as an administrator may."""
        self.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()"
            " AND backend_type = 'client backend' AND application_name LIKE %s",
            name,
        )

    def clear(self) -> None:
        """Remove all libraries."""
        for (name,) in self.ask("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'reelseek%'"):
            with psycopg.connect(self.place, autocommit=True) as own:
                own.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(str(name))))


@contextmanager
def serving() -> Iterator[Postgres]:
    """A server for as long as the block runs."""
    found = binaries()
    assert found is not None, MISSING
    # In memory where there is room, since nobody cuts the power here; and the path of a socket has 107 bytes at most.
    memory = Path("/dev/shm")
    there = memory if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM else Path("/tmp")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=there))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = Postgres(found, folder, port)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)
