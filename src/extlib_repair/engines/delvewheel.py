r"""delvewheel (Windows), called through its command line, on any host.

The traps that are handled here (delvewheel 1.9 to 1.13): for a wheel that it has repaired before it
writes nothing, and ends well; every failure but those of its options is a traceback; the message of
a missing DLL does not say who needs it; ``*`` in the path of a wheel is a pattern; the DELVEWHEEL
file that it writes shows its command line, which holds our private folder; lists are separated as
this host separates paths, so that ``a.dll;b.dll``, right on Windows, is one name elsewhere;
``--extract-dir`` empties a folder without asking.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import glob
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from extlib_repair import process
from extlib_repair.engines import Arguments, Result, refuse_strays
from extlib_repair.errors import EngineError, UnsupportedError, UsageError
from extlib_repair.model import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NAME = "delvewheel"

_NAMES = ("--include", "--exclude", "--no-mangle")
_FLAGS = (
    "--ignore-existing",
    "--analyze-existing",
    "--analyze-existing-exes",
    "--no-mangle-all",
    "--with-mangle",
    "--strip",
    "--custom-patch",
    "--no-diagnostic",
    "--include-symbols",
    "--include-imports",
)

_NO_NAME = re.compile(r'[<>:"/\\|?\x00-\x1f]')
"""What delvewheel accepts in no name of a DLL, and no pattern of names."""

_DRIVE = re.compile(r"[A-Za-z]:\\")
_MOST_VERBOSE = 2
_REPAIRED = re.compile(r"^[Dd]elvewheel .* has already repaired this wheel", re.MULTILINE)
_LEFT_OUT = re.compile(r"^External dependencies not to copy into the wheel are\n", re.MULTILINE)
_MISSING = re.compile(r"Unable to find library: (?P<name>.*)")
_STEP = re.compile(r"(?:analyzing .*?(?:extension module|DLL|EXE)|patching) (?P<member>.+)")
_BINARY = re.compile(r"\.(?:pyd|dll|exe)\b", re.IGNORECASE)
_WARNED = re.compile(r"^.*: UserWarning: (?P<message>.*)$", re.MULTILINE)
_HINTS = {
    "Unable to find library": "if another wheel supplies it, name that with --provided-by; else "
    "name its folder with --add-path, or go on without it with --exclude",
    "was run automatically": "--no-mangle NAME leaves the name of a DLL that it needs as it is",
    "contains an overlay": "--strip removes what GNU strip can remove of it; --no-mangle NAME "
    "leaves the name of a DLL that it needs as it is",
    "CPU architecture": "a wheel holds binaries of the one machine that its tag names",
    " comment not found": "with --custom-patch a Python file must have the line "
    "'# delvewheel: patch', before the first import of an extension module",
    "GNU strip": "install GNU binutils, or leave names as they are with --no-mangle NAME",
    ".dll not found": "name the folder that holds it with --add-path",
}
"""Words of a failure -> what to do; the first that is found counts."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"options for delvewheel: {message}", hint="see: delvewheel repair --help")


def parse(tokens: Sequence[str]) -> Arguments:
    """Read delvewheel-repair's options, abbreviations included, to learn what concerns us too.

    Options that only newer versions know pass through, with a value that follows them.
    """
    known, unknown = _read(tokens)
    refuse_strays(unknown)
    if known.extract_dir is not None:
        raise UsageError(
            f"--extract-dir {known.extract_dir}: delvewheel deletes that folder, with all that is "
            "in it, before it unpacks a wheel",
            hint="leave it out: each wheel is unpacked in a temporary folder of its own",
        )
    if known.with_mangle and not known.ignore_existing:
        raise UsageError("options for delvewheel: --with-mangle requires --ignore-existing")
    excluded = tuple(_separated(known.exclude))
    _refuse_both(_separated(known.include), excluded, "what --exclude leaves out")
    return Arguments(
        tokens=tuple(tokens),
        excluded=tuple(map(_pattern, excluded)),
        any_case=True,
    )


def _read(tokens: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = _Parser(prog="delvewheel repair", add_help=False)
    parser.add_argument("--add-path", action="append", default=[], type=_paths)
    parser.add_argument("--include", "--add-dll", action="append", default=[], type=_names)
    parser.add_argument("--exclude", "--no-dll", action="append", default=[], type=_patterns)
    parser.add_argument("--no-mangle", action="append", default=[], type=_patterns)
    parser.add_argument("--ignore-existing", "--ignore-in-wheel", action="store_true")
    parser.add_argument("-v", action="count", default=0)
    parser.add_argument("-w", "--wheel-dir")
    parser.add_argument("-L", "--lib-sdir")
    parser.add_argument("--extract-dir")
    parser.add_argument("--test")
    patching = parser.add_mutually_exclusive_group()
    patching.add_argument("--namespace-pkg")
    patching.add_argument("--custom-patch", action="store_true")
    mangling = parser.add_mutually_exclusive_group()
    mangling.add_argument("--no-mangle-all", action="store_true")
    mangling.add_argument("--with-mangle", action="store_true")
    for flag in ("--analyze-existing", "--analyze-existing-exes", "--strip", "--no-diagnostic"):
        parser.add_argument(flag, action="store_true")
    for flag in ("--include-symbols", "--include-imports"):
        parser.add_argument(flag, action="store_true")
    return parser.parse_known_args(list(tokens))


def _separated(values: Iterable[str]) -> Iterator[str]:
    """Yield the items of lists that are written for Windows, or for this host."""
    for value in values:
        separator = ";" if ";" in value or _DRIVE.match(value) else os.pathsep
        yield from filter(None, map(str.strip, value.split(separator)))


def _pattern(text: str) -> str:
    """Return one of delvewheel's patterns for :mod:`fnmatch`: brackets are letters."""
    return text.replace("[", "[[]")


def _paths(value: str) -> str:
    for path in _separated([value]):
        if os.pathsep in path:
            raise argparse.ArgumentTypeError(
                f"{path!r} cannot be searched on this host, where {os.pathsep!r} separates paths"
            )
    return value


def _patterns(value: str) -> str:
    for name in _separated([value]):
        if _NO_NAME.search(name):
            raise argparse.ArgumentTypeError(f"{name!r} is no name of a DLL")
    return value


def _names(value: str) -> str:
    if "*" in value:
        raise argparse.ArgumentTypeError(f"{value!r} must be names, without wildcards")
    return _patterns(value)


def _refuse_both(included: Iterable[str], patterns: Sequence[str], whose: str) -> None:
    """Refuse to copy in and to leave out the same DLL, which is a traceback of delvewheel."""
    for name in included:
        if any(
            fnmatch.fnmatchcase(name.lower(), _pattern(pattern).lower()) for pattern in patterns
        ):
            raise UsageError(
                f"--include {name} asks for a copy of {whose}", hint="say one or the other"
            )


def run(wheel: Path, arguments: Arguments, folder: Path) -> Result:
    """Repair a wheel; see :class:`extlib_repair.engines.Engine`.

    Raises also :class:`UsageError` and :class:`UnsupportedError`.
    """
    _refuse_several_platforms(wheel)
    known, unknown = _read(arguments.tokens)
    _refuse_both(_separated(known.include), arguments.leave_out, "what a provider supplies")
    command = [process.python(), "-P", "-m", "delvewheel", "repair", *_options(known), *unknown]
    command += [f"--exclude={name}" for name in arguments.leave_out]
    # Without it, the DELVEWHEEL file would show our folder, another one in every run.
    command += ["--no-diagnostic", "-w", str(folder), _literal(str(wheel.absolute()))]
    # Names are written in the order of a set; and they need not fit into a Windows code page.
    done = process.run(command, env={"PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8"})
    log = done.stdout + done.stderr
    if done.returncode:
        raise EngineError(f"delvewheel: {_why(done)}", hint=_hint(done), log=log)
    written = sorted(folder.glob("*.whl"))
    if not written and _REPAIRED.search(done.stdout):
        written = [Path(shutil.copyfile(wheel, folder / wheel.name))]
    if len(written) != 1:
        raise EngineError(f"delvewheel ended well, and wrote {len(written)} wheels", log=log)
    return Result(
        wheel=written[0],
        log=log,
        matched=_left_out(done.stdout),
        findings=tuple(_warnings(done.stderr)),
    )


def _refuse_several_platforms(wheel: Path) -> None:
    platforms = wheel.stem.rpartition("-")[2]
    if "." in platforms:
        raise UnsupportedError(
            f"{wheel.name} is for several platforms, and delvewheel repairs wheels for one",
            hint=f"build a wheel for each of {', '.join(sorted(set(platforms.split('.'))))}",
        )


def _options(known: argparse.Namespace) -> Iterator[str]:
    """Yield the user's options as delvewheel wants them on this host.

    It must say what it looks at, and leaves out.
    """
    values = vars(known)
    for option in ("--add-path", *_NAMES):
        items = list(_separated(values[_dest(option)]))
        if items:
            yield f"{option}={os.pathsep.join(items)}"
    if known.namespace_pkg is not None:
        yield f"--namespace-pkg={os.pathsep.join(_separated([known.namespace_pkg]))}"
    for option in ("--lib-sdir", "--test"):
        if values[_dest(option)] is not None:
            yield f"{option}={values[_dest(option)]}"
    yield from (flag for flag in _FLAGS if values[_dest(flag)])
    yield from ["-v"] * min(max(known.v, 1), _MOST_VERBOSE)


def _dest(option: str) -> str:
    """Return where argparse puts the value of an option."""
    return option.removeprefix("--").replace("-", "_")


def _literal(path: str) -> str:
    """Return a path that delvewheel, which takes ``*`` for a wildcard, finds."""
    return glob.escape(path) if "*" in path else path


def _left_out(said: str) -> frozenset[str]:
    """Return the names, in lower case, of needed DLLs that were not copied in.

    It says so only when others were.
    """
    match = _LEFT_OUT.search(said)
    if match is None:
        return frozenset()
    text, _, _ = said[match.end() :].partition("\ncopying ")
    return frozenset(map(str, ast.literal_eval(text)))


def _warnings(log: str) -> Iterator[Finding]:
    """Yield what delvewheel warns of, which can decide whether its output works."""
    for message in dict.fromkeys(m["message"] for m in _WARNED.finditer(log)):
        yield Finding(
            code="engine-warned", severity=Severity.WARNING, message=f"delvewheel: {message}"
        )


def _why(done: process.Completed) -> str:
    """Return the reason of a failure in one line."""
    message = re.sub(r"^\S.* repair: error: ", "", done.raised)
    member = _at(done.stdout)
    if (missing := _MISSING.search(message)) is not None:
        asking = f": {member}, or a DLL that it needs, asks for it" if member else ""
        return f"{missing['name']} could not be found{asking}"
    what, overlay, _ = message.partition("contains an overlay")
    if overlay:
        # Its lines are also broken at the hyphens of names.
        return re.sub(r"(?<=\w)- (?=\w)", "-", what + overlay)
    return f"{member}: {message}" if member and not _BINARY.search(message) else message


def _at(said: str) -> str:
    """Return the member that delvewheel was looking at in the end, or the empty string."""
    lines = said.splitlines()
    match = _STEP.fullmatch(lines[-1]) if lines else None
    return match["member"].replace("\\", "/") if match else ""


def _hint(done: process.Completed) -> str:
    for words, hint in _HINTS.items():
        if words in done.raised:
            return hint
    return "run with -v to see everything that delvewheel says"
