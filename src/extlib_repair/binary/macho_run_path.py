"""Mach-O: what names and run path entries lead to, and what leads to a library.

Entries are judged from the *installed* place of the file (``@loader_path`` is the folder of the
image that holds the load command, dyld(1)), and joined without asking the file system.

Source: ``Loader::expandAtLoaderPath``, ``Loader::expandAtExecutablePath`` and
``Loader::forEachResolvedAtPathVar`` of dyld-1378 (``dyld/Loader.cpp``).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from extlib_repair import layout
from extlib_repair.binary import run_path
from extlib_repair.model import Signature, applied

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from extlib_repair.model import BinaryEdit, Image, SitePath

LOADER_PATH = "@loader_path"
SYSTEM = ("/usr/lib/", "/System/")
"""How the names of the system's libraries begin."""

_HERE = re.compile(r"@loader_path(?P<rest>/.*)?", re.DOTALL)
_PROGRAM = re.compile(r"@executable_path(/.*)?", re.DOTALL)


class Stray(StrEnum):
    """Why an entry must not be in a wheel."""

    ABSOLUTE = "is absolute"
    OUTSIDE = "leaves site-packages"
    PROGRAM = "depends on the place of the program"
    NOWHERE = "is nothing that dyld looks up"


def target(entry: str, at: SitePath) -> SitePath | Stray:
    """Return the place below site-packages that an entry of an image at ``at`` leads to.

    A needed name that begins with ``@loader_path/`` is judged the same way. dyld expands neither
    ``@rpath`` nor relative names in a run path.
    """
    match = _HERE.fullmatch(entry)
    if match is not None:
        place = layout.walk(layout.folder(at), match["rest"] or "")
        return Stray.OUTSIDE if place is None else place
    if entry.startswith("/"):
        return Stray.ABSOLUTE
    return Stray.PROGRAM if _PROGRAM.fullmatch(entry) else Stray.NOWHERE


def entry_to(at: SitePath, directory: SitePath) -> str:
    """Return the entry with which an image at ``at`` finds the files in a folder.

    delocate throws a bare ``@loader_path`` away (matthew-brett/delocate#255), hence the slash.
    """
    return f"{LOADER_PATH}/{layout.relative(layout.folder(at), directory)}"


def name_of(at: SitePath, library: SitePath) -> str:
    """Return the needed name with which an image at ``at`` opens a library without a run path."""
    steps = layout.relative(layout.folder(at), layout.folder(library))
    return "/".join(part for part in (LOADER_PATH, steps, layout.basename(library)) if part)


def cleaned(entries: Sequence[str], at: SitePath) -> tuple[str, ...]:
    """Return the entries that may stay, each folder once."""
    return run_path.cleaned(entries, lambda entry: target(entry, at))


_DYLIB_SIZE, _RPATH_SIZE, _SIGNATURE_SIZE = 24, 12, 16
"""Of the structs in ``mach-o/loader.h``, before the name."""


def growth(image: Image, edits: Iterable[BinaryEdit]) -> int:
    """Return by how many bytes edits make the load commands grow; negative when they shrink.

    To be compared with :attr:`Image.header_room`, before anything is edited. It holds for load
    commands as linkers write them, without slack.
    """
    wanted = applied(image, edits)
    signature = image.signature is Signature.NONE and wanted.signature is not Signature.NONE
    return _size(wanted) - _size(image) + _SIGNATURE_SIZE * signature


def _size(image: Image) -> int:
    align = 4 if image.arch in {"i386", "arm", "ppc"} else 8
    names = [(name, _DYLIB_SIZE) for name in image.needed]
    names += [(entry, _RPATH_SIZE) for entry in image.search]
    sizes = [fixed + len(name.encode("utf-8", "surrogatepass")) + 1 for name, fixed in names]
    return sum(size + -size % align for size in sizes)
