"""delocate (macOS), called through its command line, on any host.

The child is :mod:`extlib_repair.engines.delocate_driver`, which tells delocate what its command
line cannot say. The traps that are handled here: every failure is a traceback; the message of a
missing library names neither it nor the file that needs it; ``--exclude`` is a substring test that
also hits the wheel's own files; the output can have another name than the input; several tags come
in an order that changes from run to run.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import tempfile
from typing import TYPE_CHECKING, NoReturn

from extlib_repair import process
from extlib_repair.engines import Arguments, Result, refuse_strays
from extlib_repair.errors import EngineError, UnsupportedError, UsageError
from extlib_repair.model import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "delocate"

NOTICE = "extlib-repair: "
"""How the driver's own lines begin."""

_DRIVER = "extlib_repair.engines.delocate_driver"
_EXCLUDED = re.compile(
    r"^INFO:delocate\.cmd\.common:(?P<path>.*) excluded because of exclude (?P<rule>.*) rule\.$",
    re.MULTILINE,
)
_MISSING = re.compile(r"^(?P<name>\S.*) not found:\n  Needed by: (?P<file>.*)$", re.MULTILINE)
_BINARIES = (".so", ".dylib")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"options for delocate: {message}", hint="see: delocate-wheel --help")


def parse(tokens: Sequence[str]) -> Arguments:
    """Read delocate-wheel's options, abbreviations included, to learn what concerns us too.

    Options that only newer versions know pass through, with a value that follows them.
    """
    parser = _Parser(prog="delocate-wheel", add_help=False)
    parser.add_argument("-v", "--verbose", action="count")
    parser.add_argument("-d", "--dylibs-only", action="store_true")
    parser.add_argument("-e", "--exclude", action="append", default=[])
    parser.add_argument("--executable-path")
    parser.add_argument("--ignore-missing-dependencies", action="store_true")
    parser.add_argument("--sanitize-rpaths", action="store_true")
    parser.add_argument("--no-sanitize-rpaths", action="store_true")
    parser.add_argument("-L", "--lib-sdir")
    parser.add_argument("-w", "--wheel-dir")
    parser.add_argument("-k", "--check-archs", action="store_true")
    parser.add_argument("--require-archs")
    parser.add_argument("--require-target-macos-version")
    known, unknown = parser.parse_known_args(list(tokens))
    refuse_strays(unknown)
    return Arguments(
        tokens=tuple(tokens), excluded=tuple(glob.escape(rule) for rule in known.exclude)
    )


def run(wheel: Path, arguments: Arguments, folder: Path) -> Result:
    """Repair a wheel; see :class:`extlib_repair.engines.Engine`."""
    if os.sep != "/":
        raise UnsupportedError(
            "delocate writes this host's path separators into the wheel, which macOS does not know",
            hint="repair macOS wheels on Linux or macOS",
        )
    command = [process.python(), "-P", "-m", _DRIVER, *arguments.leave_out, "--"]
    # -v makes delocate say which rule left out what.
    command += [*arguments.tokens, "-v", "-w", str(folder), str(wheel.absolute())]
    # delocate writes tags in the order of a set.
    done = process.run(command, env={"PYTHONHASHSEED": "0"})
    if done.returncode:
        raise EngineError(f"delocate: {_why(done)}", hint=_hint(done), log=done.stderr)
    written = sorted(folder.glob("*.whl"))
    if len(written) != 1:
        raise EngineError(f"delocate ended well, and wrote {len(written)} wheels", log=done.stderr)
    hits = _hits(done.stderr)
    return Result(
        wheel=written[0],
        log=done.stderr + done.stdout,
        matched=_matched(hits, arguments),
        findings=(*_notices(done.stderr), *_skipped(hits)),
    )


def _hits(log: str) -> list[tuple[str, str]]:
    """Return every path that one of the user's rules excluded, with the rule."""
    return [(m["path"], m["rule"][1:-1]) for m in _EXCLUDED.finditer(log)]


def _matched(hits: Sequence[tuple[str, str]], arguments: Arguments) -> frozenset[str]:
    """Return the rules that excluded a library: what a provider supplies is never looked for."""
    rules = {rule for path, rule in hits if not _is_own(path)}
    for pattern in arguments.excluded:
        rule = _unescaped(pattern)
        if any(rule in name for name in arguments.leave_out):
            rules.add(rule)
    return frozenset(rules)


def _unescaped(pattern: str) -> str:
    """Return the string that :func:`glob.escape` was given."""
    return re.sub(r"\[([?*[])\]", r"\1", pattern)


def _skipped(hits: Sequence[tuple[str, str]]) -> tuple[Finding, ...]:
    """Warn of a rule that hides the wheel's own binaries from delocate."""
    own: dict[str, set[str]] = {}
    for path, rule in hits:
        if _is_own(path) and path.endswith(_BINARIES):
            own.setdefault(rule, set()).add(_own(path))
    return tuple(
        Finding(
            code="engine-skipped-members",
            severity=Severity.WARNING,
            message=f"--exclude {rule} made delocate skip binaries of the wheel itself, so that "
            f"what they need is not copied in: {_some(members)}",
            hint="delocate leaves out every path that holds these letters, the wheel's own too: "
            "give more of the library's file name",
        )
        for rule, members in sorted(own.items())
    )


def _some(members: set[str]) -> str:
    """Return the first of some names, and how many there are."""
    more = f" and {len(members) - 1} more" if len(members) > 1 else ""
    return f"{min(members)}{more}"


def _notices(log: str) -> tuple[Finding, ...]:
    """Return what the driver has to say."""
    lines = [line.removeprefix(NOTICE) for line in log.splitlines() if line.startswith(NOTICE)]
    return tuple(
        Finding(code="engine-not-tested", severity=Severity.WARNING, message=line) for line in lines
    )


def _why(done: process.Completed) -> str:
    """Return the reason of a failure in one line."""
    missing = sorted({(m["name"], _own(m["file"])) for m in _MISSING.finditer(done.stderr)})
    if missing and "Could not find all dependencies" in done.last_words:
        name, member = missing[0]
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        return f"{name}, which {member} needs, could not be found{more}"
    return _own(done.raised)


def _hint(done: process.Completed) -> str:
    notices = _notices(done.stderr)
    if notices:
        return notices[0].message
    if _MISSING.search(done.stderr):
        return (
            "if another wheel supplies it, name that with --provided-by; else put its folder into "
            "DYLD_LIBRARY_PATH, or go on without it with --ignore-missing-dependencies"
        )
    return "run with -v to see everything that delocate says"


def _temporary() -> str:
    """Return a pattern for the folder in which delocate unpacks a wheel."""
    return re.escape(os.path.realpath(tempfile.gettempdir())) + r"/[^/\s]+/wheel/"


def _is_own(path: str) -> bool:
    return re.match(_temporary(), path) is not None


def _own(text: str) -> str:
    """Return a text in which the wheel's files have their names in the wheel."""
    return re.sub(_temporary(), "", text)
