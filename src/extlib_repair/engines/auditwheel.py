"""auditwheel (Linux), called through its command line.

Its traps, each handled here: a failing repair leaves a broken wheel in the output folder; failures
are tracebacks as often as messages; Debian's patchelf is too old for it; ``--exclude`` takes
patterns, where we mean names; ``-v`` belongs before the sub-command.
"""

from __future__ import annotations

import argparse
import glob
import os
from typing import TYPE_CHECKING, NoReturn

from extlib_repair import process
from extlib_repair.engines import Arguments, Result, refuse_strays
from extlib_repair.errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "auditwheel"

_EXCLUDING = "Excluding "
_DEFAULT_LEVEL = -1


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"options for auditwheel: {message}", hint="see: auditwheel repair --help")


def parse(tokens: Sequence[str]) -> Arguments:
    """Read auditwheel's options, abbreviations included, to learn what concerns us too.

    Options that only newer versions know pass through, with a value that follows them.
    """
    parser = _Parser(prog="auditwheel repair", add_help=False)
    parser.add_argument("-z", "--zip-compression-level", type=int, dest="level")
    parser.add_argument("--plat", default="")
    parser.add_argument("-L", "--lib-sdir")
    parser.add_argument("--ldpaths")
    parser.add_argument("--patcher")
    parser.add_argument("--exclude", action="append", default=[])
    for flag in ("--strip", "--only-plat", "--disable-isa-ext-check", "--allow-pure-python-wheel"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--no-update-tags", action="store_true")
    known, unknown = parser.parse_known_args(list(tokens))
    refuse_strays(unknown)
    level = os.environ.get("AUDITWHEEL_ZIP_COMPRESSION_LEVEL", "")
    default = int(level) if level.isdigit() else _DEFAULT_LEVEL
    return Arguments(
        tokens=tuple(tokens),
        platform="" if known.plat == "auto" else known.plat,
        default_platform=os.environ.get("AUDITWHEEL_PLAT", ""),
        keep_platforms=known.no_update_tags,
        excluded=tuple(known.exclude),
        level=default if known.level is None else known.level,
    )


def run(wheel: Path, arguments: Arguments, folder: Path) -> Result:
    """Repair a wheel; see :class:`extlib_repair.engines.Engine`."""
    command = [process.python(), "-P", "-m", "auditwheel", "repair", *arguments.tokens]
    for name in arguments.leave_out:
        command += ["--exclude", glob.escape(name)]
    if arguments.platform_hint and not (arguments.platform or arguments.default_platform):
        command += ["--plat", arguments.platform_hint]
    done = process.run([*command, str(wheel.absolute()), "-w", str(folder)])
    if done.returncode:
        raise EngineError(f"auditwheel: {_last_words(done)}", hint=_hint(done), log=done.stderr)
    written = sorted(folder.glob("*.whl"))
    if len(written) != 1:
        raise EngineError(
            f"auditwheel ended well, and wrote {len(written)} wheels", log=done.stderr
        )
    lines = [line.partition(_EXCLUDING) for line in done.stderr.splitlines()]
    matched = frozenset(rest.strip() for _, said, rest in lines if said)
    return Result(wheel=written[0], log=done.stderr, matched=matched)


def _last_words(done: process.Completed) -> str:
    words = done.last_words
    for prefix in ("auditwheel: error: ", "ValueError: ", "RuntimeError: "):
        words = words.removeprefix(prefix)
    return words


def _hint(done: process.Completed) -> str | None:
    if "could not be located" in done.stderr:
        return (
            "if another wheel supplies it, name that with --provided-by; else set "
            "LD_LIBRARY_PATH, or leave it out with --exclude"
        )
    return "run with -v to see everything that auditwheel says"
