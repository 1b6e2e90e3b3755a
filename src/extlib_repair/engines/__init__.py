"""Engines vendor the libraries that nobody provides. Which one a wheel wants, its tag decides.

An engine runs as a child process through its command line: the Python interfaces of the three
changed 39 times in their history, their options once.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

from extlib_repair.errors import UnsupportedError, UsageError
from extlib_repair.model import System

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from extlib_repair.model import Finding

_SPOKEN = {
    System.ANDROID: "Android",
    System.IOS: "iOS",
    System.PYODIDE: "Pyodide",
    System.UNKNOWN: "an unknown system, or several,",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What an engine is told: by the user, and by us."""

    tokens: tuple[str, ...] = ()
    """All of them, as they stand."""

    platform: str = ""
    """The platform tag that is insisted on."""

    default_platform: str = ""
    """The platform tag that the environment states."""

    keep_platforms: bool = False
    excluded: tuple[str, ...] = ()
    """Patterns of libraries that the user leaves out."""

    any_case: bool = False
    """Whether these patterns match in upper and lower case alike."""

    leave_out: tuple[str, ...] = ()
    """Exact names of libraries that a provider supplies."""

    platform_hint: str = ""
    """A tag for an engine that cannot find out about the C library by itself."""

    level: int = -1
    """zlib's compression level."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an engine left behind."""

    wheel: Path
    log: str
    matched: frozenset[str] = frozenset()
    """What the engine says that it left out: needed names, paths of files, or patterns."""

    findings: tuple[Finding, ...] = ()


class Engine(Protocol):
    """One engine; satisfied by the modules of this package."""

    NAME: str

    def parse(self, tokens: Sequence[str]) -> Arguments:
        """Read the options that are not ours; raises :class:`UsageError`."""

    def run(self, wheel: Path, arguments: Arguments, folder: Path) -> Result:
        """Repair a wheel into an empty folder.

        Raises :class:`EngineError` with the engine's last words.
        """


def refuse_strays(words: Sequence[str]) -> None:
    """Refuse a word that is no option and cannot be the value of one; raises UsageError."""
    for before, word in zip(["", *words], words, strict=False):
        if not word.startswith("-") and not before.startswith("-"):
            raise UsageError(
                f"{word!r} is neither a wheel (*.whl) nor an option", hint="extlib-repair --help"
            )


def engine_for(system: System, *, has_binaries: bool) -> Engine:
    """Return the engine for wheels of a system; raises :class:`UnsupportedError`."""
    if system is System.LINUX or (system is System.ANY and has_binaries):
        from extlib_repair.engines import auditwheel

        return auditwheel
    if system is System.MACOS:
        from extlib_repair.engines import delocate

        return delocate
    if system is System.WINDOWS:
        from extlib_repair.engines import delvewheel

        return delvewheel
    if system is System.ANY:
        from extlib_repair.engines import none

        return none
    raise UnsupportedError(
        f"wheels for {_SPOKEN.get(system, system)} are not handled by this version",
        hint="wheels for Linux (manylinux, musllinux, linux), macOS and Windows are",
    )
