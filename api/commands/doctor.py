"""Look whether all is well here: Python, packages, weights, decoders, the library and its place.

  reelseek doctor --library lib/

Prints what it found, and for each problem the fix.  Downloads and changes nothing.  The exit code is 1 if there is a
problem.
"""

import argparse
import sys

from api import exits
from api.commands import _common
from api.terminal import Paint, counted, plain, put, say


def arguments(parser: argparse.ArgumentParser) -> None:
    _common.settings_arguments(parser, "library", "store")
    _common.models_arguments(parser, _common.MOVED)
    _common.every_command(parser)


def run(args: argparse.Namespace) -> int:
    from api import checks, schemas

    found = list(checks.everything(_common.settings(args)))
    problems = [check for check in found if check.problem]
    if args.json:
        _common.put_json(schemas.doctor(found))
    else:
        paint = Paint.for_stream(sys.stdout)
        width = max(len(check.name) for check in found)
        for check in found:
            sign = paint.red("✗") if check.problem else paint.green("✓")
            put(f"{sign} {check.name.ljust(width)}  {plain(check.found)}")
            if check.problem:
                put(f"  {' ' * width}  {paint.red(plain(check.problem))}")
                put(f"  {' ' * width}  {paint.bold('fix: ' + plain(check.fix))}")
    say(f"{counted(len(problems), 'problem')}" if problems else "all is well")
    return exits.ERROR if problems else exits.OK
