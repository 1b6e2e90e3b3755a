"""The second readers: what pyelftools and macholib say of a binary that was edited.

Our own reader and our own editor could share a wrong idea of the format; these have been written
by others. A good file must never be refused because they cannot read it: what they cannot read is
not compared.

ELF: the loader's way is followed (program headers, the dynamic table), since sections may be stale
in a file that loads. Two limits of pyelftools are kept out of the way: it decodes names as strict
UTF-8 where there are no sections, so that names are cut out of the file here; and it counts symbols
by a hash table whose words it takes for 32 bits, which those of s390x are not, so that symbols are
not asked for.

Mach-O: macholib reads from files, and is handed bytes here. It does not know the newer form of the
commands that name libraries (``dylib_use_command`` of ``mach-o/loader.h``); where names begin is
taken from the command, and its flags from behind what macholib knows.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import struct
from typing import TYPE_CHECKING, Any

from extlib_repair.model import Format, RunPath, RunPathKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extlib_repair.model import Image


READERS = {Format.ELF: "pyelftools", Format.MACHO: "macholib"}
"""Who reads."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an edit can change in an image; the fields are those of :class:`Image`."""

    name: str = ""
    needed: tuple[str, ...] = ()
    weak_needed: frozenset[str] = frozenset()
    reexported: frozenset[str] = frozenset()
    run_path: RunPath | None = None
    ignored_run_path: tuple[str, ...] = ()


def expected(image: Image) -> Reading:
    """Return what :func:`read` should find in an image with these facts."""
    return Reading(
        name=image.name,
        needed=image.needed,
        weak_needed=image.weak_needed,
        reexported=image.reexported,
        run_path=image.run_path,
        ignored_run_path=image.ignored_run_path,
    )


def read(data: bytes) -> tuple[Reading, ...] | None:
    """Read the images of a file; None when the second reader cannot."""
    try:
        if data.startswith(b"\x7fELF"):
            return (_elf(data),)
        return tuple(map(_slice, _headers(data)))
    except Exception:  # noqa: BLE001 - of many types; our own reader has read the file by then
        return None


def _elf(data: bytes) -> Reading:
    from elftools.elf.dynamic import Dynamic
    from elftools.elf.elffile import ELFFile

    stream = io.BytesIO(data)
    elf: Any = ELFFile(stream)
    segment: Any = next(elf.iter_segments(type="PT_DYNAMIC"), None)
    if segment is None:
        return Reading()
    # Not the segment's own tags: they come with names, from a section's string table.
    at = next(elf.address_offsets(segment["p_vaddr"]))
    table: Any = Dynamic(stream, elf, _NoStrings(), at, not segment["p_filesz"])
    count = segment["p_filesz"] // elf.structs.Elf_Dyn.sizeof()
    tags = [(t["d_tag"], t["d_val"]) for t in itertools.islice(table.iter_tags(), count)]
    strings = next(elf.address_offsets(dict(tags)["DT_STRTAB"]))
    return _reading(tags, data, strings)


class _NoStrings:
    """A string table without strings, so that tags stay offsets."""

    def get_string(self, _: int) -> str:
        return ""


def _reading(tags: Sequence[tuple[str, int]], data: bytes, strings: int) -> Reading:
    """Look the names up; of two entries with the same tag, the loader uses the last."""
    last: Mapping[str, str] = {
        tag: _string(data, strings + value) for tag, value in tags if tag in _SINGLE
    }
    kind = RunPathKind.RUNPATH if RunPathKind.RUNPATH in last else RunPathKind.RPATH
    used = last.get(kind)
    ignored = last.get(RunPathKind.RPATH, "") if kind is RunPathKind.RUNPATH else ""
    return Reading(
        name=last.get("DT_SONAME", ""),
        needed=tuple(_string(data, strings + value) for tag, value in tags if tag == "DT_NEEDED"),
        run_path=None if used is None else RunPath(entries=_entries(used), kind=kind),
        ignored_run_path=_entries(ignored),
    )


_SINGLE = frozenset({"DT_SONAME", RunPathKind.RPATH.value, RunPathKind.RUNPATH.value})


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("utf-8", "surrogateescape")


def _entries(text: str) -> tuple[str, ...]:
    return tuple(text.split(":")) if text else ()


def _headers(data: bytes) -> list[Any]:
    """Return macholib's slices of a file in memory."""
    from macholib.MachO import MachO

    file: Any = MachO.__new__(MachO)
    file.filename, file.fat, file.headers = "", None, []
    file.allow_unknown_load_commands = True
    file.load(io.BytesIO(data))
    headers: list[Any] = file.headers
    return headers


def _slice(header: Any) -> Reading:  # noqa: ANN401 - macholib has no types
    name = ""
    entries: list[str] = []
    needed: list[str] = []
    weak: set[str] = set()
    strong: set[str] = set()
    reexported: set[str] = set()
    for load, fields, text in header.commands:
        what = load.get_cmd_name()
        if what == "LC_RPATH":
            entries.append(_text(text, fields.path - _RPATH_FIXED))
        elif what == "LC_ID_DYLIB":
            name = _text(text, fields.name - _DYLIB_FIXED)
        elif what in _DYLIBS:
            one = _text(text, fields.name - _DYLIB_FIXED)
            flags = _flags(header, fields, text) | _DYLIBS[what]
            needed.append(one)
            (weak if flags & _WEAK else strong).add(one)
            if flags & _REEXPORTED:
                reexported.add(one)
    return Reading(
        name=name,
        needed=tuple(needed),
        weak_needed=frozenset(weak - strong),
        reexported=frozenset(reexported),
        run_path=RunPath(entries=tuple(entries), kind=RunPathKind.LC_RPATH) if entries else None,
    )


_RPATH_FIXED, _DYLIB_FIXED = 12, 24
"""The sizes of ``struct rpath_command`` and ``struct dylib_command``."""

_WEAK, _REEXPORTED = 1, 2  # DYLIB_USE_WEAK_LINK, DYLIB_USE_REEXPORT
_DYLIBS = {
    "LC_LOAD_DYLIB": 0,
    "LC_LOAD_WEAK_DYLIB": _WEAK,
    "LC_REEXPORT_DYLIB": _REEXPORTED,
    "LC_LAZY_LOAD_DYLIB": 0,
    "LC_LOAD_UPWARD_DYLIB": 0,
}
"""Commands that name a needed library, and what they say of it."""

_USE_MARKER, _USE_FIXED = 0x1A741800, 28


def _flags(header: Any, fields: Any, text: bytes) -> int:  # noqa: ANN401
    """Return the flags of ``struct dylib_use_command``; 0 for the older form."""
    if fields.timestamp != _USE_MARKER or fields.name != _USE_FIXED:
        return 0
    (flags,) = struct.unpack_from(f"{header.endian}I", text)
    return int(flags)


def _text(text: bytes, at: int) -> str:
    """Return the string that begins somewhere behind the numbers of a command."""
    return text[at : text.index(b"\0", at)].decode("utf-8", "surrogateescape")
