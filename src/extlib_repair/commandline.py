"""argv, sorted: the verb, the wheels, our options, and what is the engine's.

Our options are recognised by their full names anywhere in the line. What is not ours goes to the
engine as it stands, so that ``auditwheel repair`` can be replaced by ``extlib-repair repair``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from extlib_repair.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HELP = """\
usage: extlib-repair [repair] [OPTIONS] [ENGINE OPTIONS] WHEEL...
       extlib-repair show [OPTIONS] WHEEL...
       extlib-repair check [OPTIONS] WHEEL...
       extlib-repair verify [OPTIONS] WHEEL...
       extlib-repair recheck WHEEL... --against NAME==VERSION
       extlib-repair doctor [--python PYTHON | DIR]
       extlib-repair providers learn NAME [--versions SPEC] [--wheels DIR] [-o FILE]
       extlib-repair demo

Repair wheels that use native libraries of other wheels: leave those out, point the binaries at the
place where the other wheel installs them, and depend on that wheel. Whatever nobody provides is
copied in by auditwheel (Linux), delocate (macOS) or delvewheel (Windows): the options of each are
accepted as they are, for its wheels.

repair (the default) writes repaired wheels; show prints what each binary needs, who supplies it and
where it will be found; check says with exit code 0 or 1 whether a repaired wheel keeps its
promises, without running anything; verify installs it into a fresh environment, imports it there
and looks whether every provided library is loaded once, from its provider; recheck says whether a
repaired wheel would work with another release of its provider; doctor looks at what is installed
for a Python (default: the first "python" on PATH) or in a site-packages folder: native libraries
that are there several times, and repaired wheels whose provider is missing, out of range, shadowed,
too old or damaged; providers learn writes down what the releases of a provider supply.

  --provided-by NAME[SPEC]   a wheel that supplies libraries, for example scipy-openblas64 or
                             'scipy-openblas64>=0.3.30'; without SPEC a lower bound is computed
                             (repeatable)
  --provider-wheel FILE      take the provider from this wheel file (repeatable)
  --provider-python PYTHON   take it from what is installed for this interpreter; otherwise: each
                             "python" on PATH, then the one that runs extlib-repair
  --fetch                    download the provider's wheel with pip when it is nowhere else
  --policy FILE              what a provider supplies (TOML; repeatable)
  --built-against [NAME==]VERSION
                             the provider release that the wheel was built against
  --require-provided         fail when a named provider supplies nothing that the wheel needs
  --runpath                  write DT_RUNPATH instead of DT_RPATH
  --sanitize-rpaths          remove run path entries that leave site-packages from every binary
  --add-needed               name the provider's library in binaries that use its symbols without
                             naming it (built for preloading)
  --resign                   replace the signature of an identity by an ad-hoc one (macOS)
  --loader auto|always|never
                             put a few lines of Python into the package that find the provider where
                             the run path does not lead (Windows: always). always: also in front of
                             a module that lies in no package
  --drop-signature           take the signature off Windows binaries that must be edited
  --find-links DIR           verify: install from this folder of wheels too (repeatable)
  --python PYTHON            verify: with this interpreter; otherwise with the first "python" on
                             PATH that the wheel is for, or ours. doctor: look at what is installed
                             for this one
  --against WHAT             recheck: NAME==VERSION of a provider, whose wheel is fetched for the
                             consumer, or a wheel file (repeatable)
  --all-consumers DIR        recheck: all wheels in a folder that were repaired with that provider
  --import NAME              verify: import this module, instead of all extension modules
                             (repeatable)
  --run COMMAND              verify: run this command in the environment afterwards; it must succeed
  --install REQUIREMENT      verify: install this too, for example pytest (repeatable)
  --compare WHEEL            verify: the wheel from before the repair: what cannot be imported there
                             either is no failure
  --versions SPEC            providers learn: only these releases, for example '>=0.3.30'
  --wheels DIR               providers learn: from this folder of wheels, and not from the index
  -o, --output FILE          providers learn: write here (default NAME.json.xz); what is in the file
                             is kept, and not asked for again
  --dry-run                  print the plan and write nothing
  --keep-going               go on with the next wheel after a failure
  --most-expansion N         accept archives that unpack to N times their size (default 50)
  -w, --wheel-dir DIR        where the repaired wheel goes (default wheelhouse)
  --config FILE              read [tool.extlib-repair] of this file instead of ./pyproject.toml; it
                             has the same keys as the options above, but for those of verify
                             and providers
  --json                     show, check, verify, doctor, --dry-run: results as JSON
  -v, --verbose              show what the engine says
  --debug                    show a traceback when something goes wrong
  -V, --version              print the version
  -h, --help                 print this

exit codes: 0 done, 1 error findings, 2 usage or policy, 3 not a valid wheel or binary, 4 the
provider does not fit, 5 the engine failed, 6 a binary cannot be edited, 7 cannot write, 70 a bug
"""

VERBS = ("repair", "show", "check", "verify", "recheck", "doctor", "providers", "demo")

OF_VERIFY = frozenset({"--find-links", "--python", "--import", "--run", "--install", "--compare"})
"""What only ``verify`` understands, and ``doctor`` of it ``--python``."""

OF_RECHECK = frozenset({"--against", "--all-consumers"})
"""What only ``recheck`` understands."""

OF_PROVIDERS = frozenset({"--versions", "--wheels", "--output"})
"""What only ``providers`` understands; behind another verb it is the engine's."""

VALUED = (
    OF_VERIFY
    | OF_RECHECK
    | OF_PROVIDERS
    | frozenset(
        {
            "--provided-by",
            "--provider-wheel",
            "--provider-python",
            "--policy",
            "--built-against",
            "--most-expansion",
            "--wheel-dir",
            "--config",
            "--loader",
        }
    )
)
FLAGS = frozenset(
    {
        "--require-provided",
        "--runpath",
        "--sanitize-rpaths",
        "--add-needed",
        "--dry-run",
        "--fetch",
        "--resign",
        "--drop-signature",
        "--keep-going",
        "--json",
        "--verbose",
        "--debug",
        "--version",
        "--help",
    }
)
_SHORT = {
    "-w": "--wheel-dir",
    "-o": "--output",
    "-v": "--verbose",
    "-V": "--version",
    "-h": "--help",
}
_SHORTEST_WHEEL_DIR = "--w"


@dataclasses.dataclass(slots=True)
class Line:
    """A command line, sorted."""

    verb: str = "repair"
    wheels: list[Path] = dataclasses.field(default_factory=list)
    values: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    flags: set[str] = dataclasses.field(default_factory=set)
    engine: list[str] = dataclasses.field(default_factory=list)

    def all(self, option: str) -> list[str]:
        """Return the values of an option that can be repeated."""
        return self.values.get(option, [])

    def last(self, option: str, default: str) -> str:
        """Return the last value of an option."""
        return self.values.get(option, [default])[-1]

    def add(self, values: Mapping[str, Sequence[str]], flags: frozenset[str]) -> None:
        """Add what is stated elsewhere, where this line says nothing."""
        for option, stated in values.items():
            self.values.setdefault(option, list(stated))
        self.flags |= flags


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
        elif ours and _takes_value(line.verb, option):
            line.values.setdefault(option, []).append(_value(option, equals, value, rest))
        elif ours and option in FLAGS and not equals:
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


def refuse_nothing_to_do(line: Line) -> None:
    """Refuse a line without a wheel, and words that its verb does not know."""
    stray = next((word for word in line.engine if not word.startswith("-")), "")
    if stray and not line.wheels:
        raise UsageError(
            f"{stray!r} is neither a wheel (*.whl) nor one of {', '.join(VERBS)}",
            hint="extlib-repair --help",
        )
    if not line.wheels:
        raise UsageError("no wheel is given", hint="extlib-repair --help")
    if line.verb != "repair" and line.engine:
        raise UsageError(
            f"{line.verb} does not know {line.engine[0]!r}", hint="extlib-repair --help"
        )
    for option in sorted(OF_RECHECK & line.values.keys()):
        if line.verb != "recheck":
            raise UsageError(f"{option} is for recheck, and not for {line.verb}")
    for option in sorted(OF_VERIFY & line.values.keys()):
        if line.verb != "verify":
            also = " and doctor" if option == "--python" else ""
            raise UsageError(f"{option} is for verify{also}, and not for {line.verb}")


def refuse_nothing_against(line: Line) -> None:
    """Refuse a line of ``recheck`` that does not say what to check, or against what."""
    if not line.all("--against"):
        raise UsageError(
            "recheck needs --against: another release of the provider",
            hint="--against NAME==VERSION, or a wheel file",
        )
    if not line.all("--all-consumers"):
        refuse_nothing_to_do(line)


def folder_of_doctor(line: Line) -> Path | None:
    """Return the folder that ``doctor`` is to look at, or None; raises UsageError."""
    words = [*map(str, line.wheels), *line.engine]
    option = next((word for word in line.engine if word.startswith("-")), "")
    if option or len(words) > 1:
        raise UsageError(
            f"doctor does not know {option!r}"
            if option
            else f"doctor looks at one folder, and {words[1]!r} is a second",
            hint="extlib-repair --help",
        )
    if words and line.all("--python"):
        raise UsageError(
            "doctor looks at an interpreter or at a folder",
            hint="leave out --python, or the folder",
        )
    return Path(words[0]) if words else None


def learned_of(line: Line) -> str:
    """Return the project that ``providers learn`` is about; raises UsageError."""
    words = [*line.engine, *map(str, line.wheels)]
    option = next((word for word in words if word.startswith("-")), "")
    if option:
        raise UsageError(f"providers does not know {option!r}", hint="extlib-repair --help")
    if len(words) != len(("learn", "NAME")) or words[0] != "learn":
        raise UsageError(
            "providers takes 'learn' and the name of one project", hint="extlib-repair --help"
        )
    return words[1]


def _takes_value(verb: str, option: str) -> bool:
    """Whether an option of ours is followed by a value."""
    return option in VALUED and (verb == "providers" or option not in OF_PROVIDERS)


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
