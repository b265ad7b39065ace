"""A decoder child as its parent sees it: started, spoken to, waited for with a limit, and ended.

The child has a session of its own, so that a Ctrl-C meant for its parent does not reach it, and it goes by itself
when its parent is gone: its standard input ends then.
"""

import errno
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import IO, Any

import indexer
from retriever.errors import DecoderDied, DecodeTimeout, DiskFull, PluginError

START_LIMIT = 120.0
"""Seconds to start: two imports, on a machine that may have much else to do."""
FILES = 500
"""After so many jobs (a file is two: a probe and its chapters) a child is replaced, for what decoders lose of memory
here and there."""
GROWTH = 512 << 20
"""Or after growing by so many bytes since its first answer; in the midst of a file, since its first one about that."""
_PATIENCE = 2.0  # seconds that a child which was told to go may take
_READ = 1 << 16


class Child:
    """One process, and the folder that it shares with its parent."""

    def __init__(self) -> None:
        self.files = 0  # that it was given
        self._grown_from = 0
        self.bytes = 0  # resident, as it last told
        self._unread = b""
        self._folder, self._log = _room()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "indexer._decoder_child", self._folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(),
            start_new_session=True,
        )
        if not self._line(monotonic() + START_LIMIT):
            said = self._last_words()
            self.kill()
            raise PluginError(f"the decoder child does not start ({said}): run `reelseek doctor`")

    @property
    def folder(self) -> Path:
        return Path(self._folder.name)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    @property
    def is_spent(self) -> bool:
        return self.files >= FILES or self.bytes - self._grown_from > GROWTH

    def send(self, page: dict[str, Any]) -> None:
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it died: `receive` will say how
            self._process.stdin.write(json.dumps(page).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self, limit: float, path: str) -> dict[str, Any]:
        """The next line; `path` is what it is about.

        Raises:
            DecoderDied: as it says.
            DecodeTimeout: it said nothing for `limit` seconds, and was killed.
        """
        line = self._line(monotonic() + limit)
        if line is None:
            self.kill()
            raise DecodeTimeout(f"{path}: its decoder gave no answer in {limit:.0f} s and was stopped")
        if not line:
            self.kill()
            raise DecoderDied(f"{path}: its decoder died ({_how(self._process.returncode)})")
        page: dict[str, Any] = json.loads(line)
        if "bytes" in page:
            self.bytes = page["bytes"]
            self._grown_from = self._grown_from or self.bytes
        return page

    def stop(self) -> None:
        """End the process, from whichever thread; whoever waits for an answer hears that it died."""
        self._process.kill()

    def kill(self) -> None:
        self._process.kill()
        self.close()

    def close(self) -> None:
        """Let it go, and take its folder away."""
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()
        self._folder.cleanup()

    def _line(self, deadline: float) -> bytes | None:
        """Up to the next newline; empty at the end of all, None at the deadline."""
        assert self._process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline - monotonic())):
                    return None
                read = os.read(self._process.stdout.fileno(), _READ)
                if not read:
                    return b""
                self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _room() -> "tuple[tempfile.TemporaryDirectory[str], IO[bytes]]":
    """A folder for what comes out of a child, and a file for what it says of itself; both live as long as it does.

    Raises:
        DiskFull: no room for them.
    """
    folder = None
    try:
        folder = tempfile.TemporaryDirectory(prefix="reelseek-", ignore_cleanup_errors=True)
        return folder, tempfile.TemporaryFile()
    except OSError as error:
        if folder:
            folder.cleanup()
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(f"no room in {tempfile.gettempdir()}: make some, or set TMPDIR to another place") from error


def _environment() -> dict[str, str]:
    """The parent's, and these very packages even where they are not installed.  One thread a library is enough: the
    child does no mathematics."""
    home, paths = Path(indexer.__file__).parents[1], os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if home.name not in ("site-packages", "dist-packages"):  # those are found anyway, and behind Python's own
        paths = [str(home), *paths]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"it left with code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"{name}, perhaps for want of memory" if name == "SIGKILL" else name
