"""Fat Mach-O files: their header, and their slices, each of which is a file of its own.

32- and 64-bit fat headers. A thin file is taken for its only slice.

Sources: Apple's ``mach-o/fat.h``, ``mach/machine.h``.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING

from extlib_repair.binary.macho_file import SUBTYPE_MASK, MachO, overlap
from extlib_repair.errors import BadBinaryError

if TYPE_CHECKING:
    from collections.abc import Callable

FAT = {b"\xca\xfe\xba\xbe": False, b"\xca\xfe\xba\xbf": True}
"""FAT_MAGIC and FAT_MAGIC_64: whether offsets have 64 bits. Fat headers are big-endian."""

ARCHIVE = b"!<arch>\n"

_MOST_SLICES = 20
_JAVA = range(45, 256)
"""The major version of a Java class file, where a fat header has the number of slices (Java Virtual
Machine Specification, chapter 4: 45 is Java 1.0)."""

_MOST_ALIGNMENT = 15  # MAXSECTALIGN of Apple's lipo


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A row of a fat header (``struct fat_arch``, ``struct fat_arch_64``)."""

    cputype: int
    subtype: int
    offset: int
    size: int
    align: int


def is_java(start: bytes) -> bool:
    """Whether the first bytes are those of a Java class file, which shares its magic with fat."""
    if start[:4] != b"\xca\xfe\xba\xbe" or len(start) < 8:  # noqa: PLR2004
        return False
    return int.from_bytes(start[6:8], "big") in _JAVA


def pieces(data: bytes) -> tuple[Piece, ...] | None:
    """Return the rows of a fat header, checked; None for a thin file."""
    if data[:4] not in FAT:
        return None
    layout = ">IIQQII" if FAT[data[:4]] else ">IIIII"
    width = struct.calcsize(layout)
    count = int.from_bytes(data[4:8], "big")
    if is_java(data):
        raise BadBinaryError("a Java class file, not a Mach-O file (they share their magic)")
    end = 8 + count * width
    if not 0 < count <= _MOST_SLICES or end > len(data):
        raise BadBinaryError(f"a fat Mach-O file with {count} slices does not exist")
    rows = struct.iter_unpack(layout, data[8:end])
    found = tuple(
        Piece(cputype=c, subtype=s, offset=offset, size=size, align=align)
        for c, s, offset, size, align, *_ in rows
    )
    for piece in found:
        if piece.offset < end or piece.offset + piece.size > len(data):
            raise BadBinaryError("a slice is outside the fat Mach-O file")
        if piece.align > _MOST_ALIGNMENT:
            raise BadBinaryError(f"slices of Mach-O files are not aligned to 2^{piece.align}")
    if overlap([(p.offset, p.size) for p in found]):
        raise BadBinaryError("slices of the fat Mach-O file overlap")
    if len({(p.cputype, p.subtype & SUBTYPE_MASK) for p in found}) < count:
        raise BadBinaryError("the fat Mach-O file has two slices for one architecture")
    return found


def slices(data: bytes) -> tuple[MachO | Piece, ...]:
    """Return the slices of a file, a thin file being one; a static library stays a row."""
    rows = pieces(data)
    if rows is None:
        return (MachO(data),)
    found: list[MachO | Piece] = []
    for piece in rows:
        part = data[piece.offset : piece.offset + piece.size]
        if part.startswith(ARCHIVE):
            found.append(piece)
            continue
        file = MachO(part)
        if (file.cputype, file.subtype & SUBTYPE_MASK) != (
            piece.cputype,
            piece.subtype & SUBTYPE_MASK,
        ):
            raise BadBinaryError("a slice is for another architecture than the fat header says")
        found.append(file)
    return tuple(found)


def mapped(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return a file with a change made to every slice; the same bytes when nothing changes.

    Slices stay where they are unless one before them grows; their alignment is kept.
    """
    rows = pieces(data)
    if rows is None:
        return change(data)
    old = [data[p.offset : p.offset + p.size] for p in rows]
    new = [change(part) for part in old]
    if new == old:
        return data
    wide = FAT[data[:4]]
    order = sorted(range(len(rows)), key=lambda index: rows[index].offset)
    ends = [rows[index].offset for index in order[1:]] + [len(data)]
    out = bytearray(data[: rows[order[0]].offset])
    for index, end in zip(order, ends, strict=True):
        row, part = rows[index], new[index]
        at = row.offset
        if len(out) > at:
            at = len(out) + -len(out) % (1 << row.align)
        out = out.ljust(at, b"\0") + part
        if len(part) == row.size:
            out += data[row.offset + row.size : end]
        if wide:
            struct.pack_into(">QQ", out, 8 + index * 32 + 8, at, len(part))
        else:
            struct.pack_into(">II", out, 8 + index * 20 + 8, at, len(part))
    return bytes(out)
