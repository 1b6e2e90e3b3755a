"""The second readers: what pyelftools, macholib and pefile say of a binary that was edited.

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

PE: pefile gives back no names but those that it takes for file names of DOS, so that it leads to
them here, and the names are cut out of the file.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import struct
from typing import TYPE_CHECKING, Any

from extlib_repair.model import Format, RunPath, RunPathKind, Signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extlib_repair.model import Image


READERS = {Format.ELF: "pyelftools", Format.MACHO: "macholib", Format.PE: "pefile"}
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
    delayed: frozenset[str] = frozenset()
    load_flags: int = 0
    signed: bool = False
    """Of PE: whether there is a certificate."""


def expected(image: Image) -> Reading:
    """Return what :func:`read` should find in an image with these facts."""
    return Reading(
        name=image.name,
        needed=image.needed,
        weak_needed=image.weak_needed,
        reexported=image.reexported,
        run_path=image.run_path,
        ignored_run_path=image.ignored_run_path,
        delayed=image.delayed,
        load_flags=image.load_flags,
        signed=image.format is Format.PE and image.signature is not Signature.NONE,
    )


def read(data: bytes) -> tuple[Reading, ...] | None:
    """Read the images of a file; None when the second reader cannot."""
    try:
        if data.startswith(b"\x7fELF"):
            return (_elf(data),)
        if data.startswith(b"MZ"):
            return (_pe(data),)
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


def _pe(data: bytes) -> Reading:
    import pefile

    file: Any = pefile.PE(data=data, fast_load=True)
    file.parse_data_directories([_IMPORTS, _DELAYED], import_dllnames_only=True)
    at_once = _names(file, "DIRECTORY_ENTRY_IMPORT", "Name")
    delayed = _names(file, "DIRECTORY_ENTRY_DELAY_IMPORT", "szName")
    exports = _directory(file, _EXPORTS)
    return Reading(
        name=_name(file, file.get_dword_at_rva(exports + _NAME_AT)) if exports else "",
        needed=tuple(dict.fromkeys((*at_once, *delayed))),
        delayed=frozenset(delayed) - frozenset(at_once),
        load_flags=_load_flags(file),
        signed=bool(_directory(file, _CERTIFICATES)),
    )


_EXPORTS, _IMPORTS, _CERTIFICATES, _LOAD_CONFIG, _DELAYED = 0, 1, 4, 10, 13
"""IMAGE_DIRECTORY_ENTRY_*."""

_NAME_AT = 12  # in IMAGE_EXPORT_DIRECTORY
_FLAGS_AT = {0x10B: 54, 0x20B: 78}  # in IMAGE_LOAD_CONFIG_DIRECTORY32 and 64


def _directory(file: Any, index: int) -> int:  # noqa: ANN401 - pefile has no types
    """Return where a directory stands; 0 where there is none."""
    directories: list[Any] = file.OPTIONAL_HEADER.DATA_DIRECTORY
    return int(directories[index].VirtualAddress) if index < len(directories) else 0


def _load_flags(file: Any) -> int:  # noqa: ANN401
    """Return DependentLoadFlags: pefile knows them since 2024, by another name before."""
    config, within = _directory(file, _LOAD_CONFIG), _FLAGS_AT[file.PE_TYPE]
    if not config or file.get_dword_at_rva(config) < within + 2:
        return 0
    return int(file.get_word_at_rva(config + within))


def _names(file: Any, directory: str, field: str) -> list[str]:  # noqa: ANN401
    return [_name(file, getattr(entry.struct, field)) for entry in getattr(file, directory, [])]


def _name(file: Any, rva: int) -> str:  # noqa: ANN401
    return _string(file.__data__, file.get_offset_from_rva(rva))
