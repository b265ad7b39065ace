"""`reelseek COMMAND …`: every file in api/commands is a command, its docstring the help.

Exit codes: 0 found or done, 1 error, 2 wrong usage, 3 nothing found, 130 stopped by the keyboard, 141 nobody reads.
"""

import argparse
import ast
import difflib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from api.exits import ERROR, OK, STOPPED, UNREAD, USAGE
from api.terminal import Paint, plain, put, say
from retriever.errors import BadSettings, QueryError, ReelseekError
from retriever.registry import Registry

COMMANDS = Registry("api.commands")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.  Only bugs get past here as exceptions."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except SystemExit as leaving:  # argparse
        return leaving.code if isinstance(leaving.code, int) else USAGE
    except ReelseekError as error:
        _complain(str(error))
        return USAGE if isinstance(error, (BadSettings, QueryError)) else ERROR
    except BrokenPipeError:
        # Python would complain once more when it flushes at exit: https://docs.python.org/3/library/signal.html
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
        return ERROR
    except KeyboardInterrupt:
        _complain("stopped; what was committed stays")
        return STOPPED


def _dispatch(words: list[str]) -> int:
    if "--print-config" in words:
        return _print_config(words)
    if not words or words[0] in ("-h", "--help", "help"):
        (put if words else say)(_overview())
        return OK if words else USAGE
    if words[0] in ("-V", "--version"):
        from importlib.metadata import version  # a third of the time that --help takes

        put(f"reelseek {version('reelseek')}")
        return OK
    name = words[0]
    if name.startswith("-") or name not in COMMANDS.names():
        near = difflib.get_close_matches(name, COMMANDS.names(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(COMMANDS.names())}"
        _complain(f"there is no command {name!r}: {hint}")
        return USAGE
    command = COMMANDS.load(name)
    args = _parser(name, command).parse_args(words[1:])
    code = command.run(args)
    assert isinstance(code, int)
    return code


def _parser(name: str, command: ModuleType) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"reelseek {name}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.arguments(parser)
    return parser


def _overview() -> str:
    """The help page, from docstrings alone: no command is imported."""
    paint = Paint.for_stream(sys.stdout)
    lines = [
        f"{paint.bold('reelseek')}: search for moments in video, from what is seen, heard, said and written on screen.",
        "",
        "  reelseek index clips/ --library lib/",
        '  reelseek search "a parrot" --library lib/',
        "",
    ]
    width = max(map(len, COMMANDS.names()))
    lines += [f"  {paint.bold(name.ljust(width))}  {_first_line(name)}" for name in COMMANDS.names()]
    lines += [
        "",
        "reelseek COMMAND --help tells more; --json gives one JSON document on stdout (docs/schema.md).",
        "reelseek --print-config shows every setting and where it comes from.",
        "Exit codes: 0 found or done, 1 error, 2 wrong usage, 3 nothing found.",
    ]
    return "\n".join(lines)


def _first_line(name: str) -> str:
    source = (COMMANDS.folder() / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def _print_config(words: list[str]) -> int:
    """What is in force with these flags; all else on the line is left aside."""
    from api.commands import _common

    parser = argparse.ArgumentParser(prog="reelseek", add_help=False, allow_abbrev=False)
    _common.settings_arguments(parser, *_common.NAMES)
    _common.every_command(parser)
    args, _ = parser.parse_known_args(words)
    resolved = _common.resolved(args)
    if args.json:
        _common.put_json({"settings": _common.jsonable_settings(resolved)})
    else:
        put(resolved.as_toml().rstrip())
    return OK


def _complain(message: str) -> None:
    paint = Paint.for_stream(sys.stderr)
    for line in message.splitlines() or [""]:
        say(f"{paint.red('reelseek:')} {plain(line)}")


if __name__ == "__main__":
    sys.exit(main())
