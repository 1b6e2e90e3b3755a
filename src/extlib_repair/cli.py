"""argv -> request; report -> text; error -> exit code. No decisions.

Our options are recognised by their full names anywhere in the line. What is not ours goes to the
engine as it stands, so that ``auditwheel repair`` can be replaced by ``extlib-repair repair``.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extlib_repair import __version__, reporting
from extlib_repair.errors import BUG_EXIT_CODE, ExtlibRepairError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extlib_repair.pipeline import Request

HELP = """\
usage: extlib-repair [repair] [OPTIONS] [ENGINE OPTIONS] WHEEL...
       extlib-repair demo

Repair wheels that use native libraries of other wheels: leave those out, point the binaries at the
place where the other wheel installs them, and depend on that wheel. Whatever nobody provides is
copied in by auditwheel, whose options are accepted as they are.

  --provided-by NAME[SPEC]   a wheel that supplies libraries, for example scipy-openblas64 or
                             'scipy-openblas64>=0.3.30'; without SPEC a lower bound is computed
                             (repeatable)
  --provider-wheel FILE      take the provider from this wheel file (repeatable)
  --provider-python PYTHON   take it from what is installed for this interpreter; otherwise: the
                             first "python" on PATH, then the one that runs extlib-repair
  --policy FILE              what a provider supplies (TOML; repeatable)
  --built-against [NAME==]VERSION
                             the provider release that the wheel was built against
  --require-provided         fail when a named provider supplies nothing that the wheel needs
  --runpath                  write DT_RUNPATH instead of DT_RPATH
  --sanitize-rpaths          remove run path entries that leave site-packages from every binary
  --add-needed               name the provider's library in binaries that use its symbols without
                             naming it (built for preloading)
  --keep-going               go on with the next wheel after a failure
  --most-expansion N         accept archives that unpack to N times their size (default 50)
  -w, --wheel-dir DIR        where the repaired wheel goes (default wheelhouse)
  -v, --verbose              show what the engine says
  --debug                    show a traceback when something goes wrong
  -V, --version              print the version
  -h, --help                 print this

exit codes: 0 done, 1 error findings, 2 usage or policy, 3 not a valid wheel or binary, 4 the
provider does not fit, 5 the engine failed, 6 a binary cannot be edited, 7 cannot write, 70 a bug
"""

VERBS = ("repair", "demo")

_VALUED = {
    "--provided-by",
    "--provider-wheel",
    "--provider-python",
    "--policy",
    "--built-against",
    "--most-expansion",
    "--wheel-dir",
}
_FLAGS = {
    "--require-provided",
    "--runpath",
    "--sanitize-rpaths",
    "--add-needed",
    "--keep-going",
    "--verbose",
    "--debug",
    "--version",
    "--help",
}
_SHORT = {"-w": "--wheel-dir", "-v": "--verbose", "-V": "--version", "-h": "--help"}
_SHORTEST_WHEEL_DIR = "--w"


@dataclasses.dataclass(slots=True)
class Line:
    """A command line, sorted."""

    verb: str = "repair"
    wheels: list[Path] = dataclasses.field(default_factory=list)
    values: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    flags: set[str] = dataclasses.field(default_factory=set)
    engine: list[str] = dataclasses.field(default_factory=list)

    def last(self, option: str, default: str) -> str:
        """Return the last value of an option."""
        return self.values.get(option, [default])[-1]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return run(arguments)
    except KeyboardInterrupt:
        reporting.say("interrupted")
        return 130
    except ExtlibRepairError as error:
        if "--debug" in arguments:
            raise
        reporting.show_error(error)
        return error.exit_code
    except Exception as error:
        if "--debug" in arguments:
            raise
        reporting.show_bug(error)
        return BUG_EXIT_CODE


def run(arguments: Sequence[str]) -> int:
    """Do what a command line says; failures are exceptions."""
    line = sort(arguments)
    if "--help" in line.flags:
        print(HELP, end="")
    elif "--version" in line.flags:
        print(f"extlib-repair {__version__}")
    elif line.verb == "demo":
        from extlib_repair import demo

        demo.run(reporting.say)
    else:
        return _repair(line)
    return 0


def sort(arguments: Sequence[str]) -> Line:
    """Tell our options, the wheels, and the engine's options apart; raises UsageError."""
    line = Line()
    rest = iter(arguments)
    verb_seen, ours = False, True
    for word in rest:
        option, equals, value = word.partition("=")
        option = _full_name(option)
        if word == "--" and ours:
            ours = False
        elif ours and option in _VALUED:
            line.values.setdefault(option, []).append(_value(option, equals, value, rest))
        elif ours and option in _FLAGS and not equals:
            line.flags.add(option)
        elif ours and word.startswith("-w") and not word.startswith("--"):
            line.values.setdefault("--wheel-dir", []).append(word[2:])
        elif word.endswith(".whl") and not word.startswith("-"):
            line.wheels.append(Path(word))
        elif word in VERBS and not verb_seen and not line.engine and not line.wheels:
            line.verb, verb_seen = word, True
        else:
            line.engine.append(word)
    return line


def _full_name(option: str) -> str:
    """Return our name of an option; the engines' abbreviations of ``--wheel-dir`` are one."""
    if option.startswith(_SHORTEST_WHEEL_DIR) and "--wheel-dir".startswith(option):
        return "--wheel-dir"
    return _SHORT.get(option, option)


def _value(option: str, equals: str, value: str, rest: Iterator[str]) -> str:
    if not equals:
        value = next(rest, "")
    if not value:
        raise UsageError(f"{option} needs a value", hint="extlib-repair --help")
    return value


def _repair(line: Line) -> int:
    from extlib_repair import pipeline

    if not line.wheels:
        stray = next((token for token in line.engine if not token.startswith("-")), "")
        raise UsageError(
            f"{stray!r} is neither a wheel (*.whl) nor one of {', '.join(VERBS)}"
            if stray
            else "no wheel is given",
            hint="extlib-repair --help",
        )
    request = _request(line)
    log = reporting.say if "--verbose" in line.flags else _silent
    first_failure = 0
    for wheel in line.wheels:
        try:
            report = pipeline.repair(wheel, request, reporting.show_finding, log)
        except ExtlibRepairError as error:
            if "--keep-going" not in line.flags:
                raise
            reporting.show_error(error)
            first_failure = first_failure or error.exit_code
        else:
            reporting.show_report(report)
    return first_failure


def _request(line: Line) -> Request:
    from extlib_repair import dependency, pipeline, provider, reaching
    from extlib_repair.archive import MOST_EXPANSION
    from extlib_repair.model import RunPathKind

    named = [dependency.parse_request(text) for text in line.values.get("--provided-by", [])]
    providers = dependency.with_built_against(named, line.values.get("--built-against", []))
    expansion = line.last("--most-expansion", str(MOST_EXPANSION))
    if not expansion.isdigit():
        raise UsageError(f"--most-expansion {expansion!r} is not a number", hint="for example: 200")
    return pipeline.Request(
        providers=providers,
        wheel_dir=Path(line.last("--wheel-dir", "wheelhouse")),
        engine_options=tuple(line.engine),
        sources=provider.Sources(
            wheels=tuple(map(Path, line.values.get("--provider-wheel", []))),
            python=line.last("--provider-python", "") or None,
            policies=tuple(map(Path, line.values.get("--policy", []))),
        ),
        style=reaching.Style(
            kind=RunPathKind.RUNPATH if "--runpath" in line.flags else RunPathKind.RPATH,
            sanitize="--sanitize-rpaths" in line.flags,
        ),
        add_needed="--add-needed" in line.flags,
        require_provided="--require-provided" in line.flags,
        most_expansion=int(expansion),
    )


def _silent(_: str) -> None:
    """Say nothing."""
