"""The Python interpreters of this machine: what is put into consumers runs on all of them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def pythons() -> list[Path]:
    """Return the running interpreter, those on PATH, and those that pyenv installed."""
    found = {Path(os.path.realpath(sys.executable)): Path(sys.executable)}
    for folder in map(Path, os.get_exec_path()):
        # pyenv's own stand-ins fail for a version that is not switched on.
        if folder.name != "shims":
            _add(found, folder.glob("python3.*"))
    _add(found, Path.home().glob(".pyenv/versions/3.*/bin/python3.*"))
    return sorted(found.values(), key=str)


def with_headers() -> list[Path]:
    """Return the interpreters for which extension modules can be compiled."""
    found = []
    for python in pythons():
        real = Path(os.path.realpath(python))
        headers = (real.parents[1] / "include").glob(f"{real.name}*/Python.h")
        found += [python] if any(headers) else []
    return found


def _add(found: dict[Path, Path], candidates: Iterable[Path]) -> None:
    for candidate in candidates:
        if re.fullmatch(r"python3\.\d+", candidate.name) and os.access(candidate, os.X_OK):
            found.setdefault(Path(os.path.realpath(candidate)), candidate)
