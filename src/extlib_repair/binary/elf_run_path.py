"""ELF: what the entries of a run path lead to, and which entry leads to a library.

Entries are judged from the *installed* place of the file (``$ORIGIN`` is the folder of the image,
ld.so(8)), and joined without asking the file system.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from extlib_repair import layout
from extlib_repair.binary import run_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extlib_repair.model import SitePath

_ORIGIN = re.compile(r"\$(?:ORIGIN\b|\{ORIGIN\})(?P<rest>/.*)?", re.DOTALL)


class Stray(StrEnum):
    """Why an entry must not be in a wheel."""

    ABSOLUTE = "is absolute"
    OUTSIDE = "leaves site-packages"
    CURRENT_FOLDER = "depends on the current folder"


def target(entry: str, at: SitePath) -> SitePath | Stray:
    """Return the folder below site-packages that an entry of an image at ``at`` leads to.

    ``$LIB`` and ``$PLATFORM`` behind ``$ORIGIN`` are names like others here: what they become is
    the loader's secret.
    """
    if entry.startswith("/"):
        return Stray.ABSOLUTE
    match = _ORIGIN.fullmatch(entry)
    if match is None:
        return Stray.CURRENT_FOLDER
    place = layout.walk(layout.folder(at), match["rest"] or "")
    return Stray.OUTSIDE if place is None else place


def entry_to(at: SitePath, directory: SitePath) -> str:
    """Return the entry with which an image at ``at`` finds the files in a folder."""
    steps = layout.relative(layout.folder(at), directory)
    return f"$ORIGIN/{steps}" if steps else "$ORIGIN"


def cleaned(
    entries: Sequence[str], at: SitePath, mend: Callable[[str], str | None]
) -> tuple[str, ...]:
    """Return the entries that may stay, each folder once; ``mend`` is asked about the others."""
    return run_path.cleaned(entries, lambda entry: target(entry, at), mend)
