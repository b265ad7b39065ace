"""Scripts of tests run as programs, without the second that a program takes to import what it needs.

A process is started once, imports what a script needs when it is first asked for, and forks for each request, so that
a kill costs milliseconds.  A request is a line of JSON: script, words, and the environment; the answer is one, too.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
LIMIT = 120  # seconds that a script may take


class Nursery:
    """The process that children are forked from, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE), str(HERE / "end_to_end")])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, script: Path, *words: str | Path, crash_at: str = "", **env: str) -> tuple[int, str]:
        """The code of a script, as `subprocess` has it, and what it said on standard error.  It is a script that does
        nothing when it is imported."""
        assert self._process.stdin
        assert self._process.stdout
        asked = [str(script), list(map(str, words)), {**env, "REELSEEK_CRASH_AT": crash_at}]
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        code, said = json.loads(self._process.stdout.readline())
        return code, said

    def close(self) -> None:
        self._process.communicate(timeout=60)


@contextmanager
def opened() -> Iterator[Nursery]:
    made = Nursery()
    try:
        yield made
    finally:
        made.close()


def _forked(script: str, words: list[str], env: dict[str, str]) -> tuple[int, str]:
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            status = 1
            try:
                os.dup2(os.open(os.devnull, os.O_RDWR), 0)
                os.dup2(0, 1)
                os.dup2(said.fileno(), 2)
                signal.alarm(LIMIT)
                os.environ.update(env)
                sys.argv = [script, *words]
                runpy.run_path(script, run_name="__main__")
                status = 0
            except BaseException:  # noqa: BLE001 - the edge of a process
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        return code, said.read().decode(errors="replace")


def serve() -> None:
    imported = set()
    for line in sys.stdin:
        script, words, env = json.loads(line)
        if script not in imported:
            runpy.run_path(script)
            imported.add(script)
        sys.stdout.write(json.dumps(_forked(script, words, env)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
