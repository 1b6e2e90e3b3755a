"""A writer of zip archives that copies compressed bytes as they are.

It writes what the package index accepts (pypi/warehouse): no data descriptors, gaps, comments, or
extra fields other than zip64.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from typing import IO, TYPE_CHECKING

from extlib_repair.archive.format import (
    CENTRAL,
    CENTRAL_MAGIC,
    DEFLATED,
    END,
    END64,
    END64_MAGIC,
    END_MAGIC,
    LOCAL,
    LOCAL_MAGIC,
    LOCATOR64,
    LOCATOR64_MAGIC,
    MOST_16,
    MOST_32,
    UTF8,
    ZIP64_EXTRA,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extlib_repair.archive.format import Entry
    from extlib_repair.archive.reader import ArchiveReader

_CHUNK = 1 << 20


class ArchiveWriter:
    """Writes an archive member by member into an open file."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._written: list[Entry] = []

    def copy(self, source: ArchiveReader, entry: Entry) -> None:
        """Write a member of another archive with its compressed bytes as they are."""
        self._begin(entry)
        for chunk in source.packed(entry):
            self._out.write(chunk)

    def write(self, entry: Entry, data: bytes, *, level: int = -1) -> None:
        """Write a member with this content; name, time and attributes are the entry's."""
        packed = [data] if entry.method != DEFLATED else [*_deflated(data, level)]
        packed_size = sum(map(len, packed))
        self._begin(
            dataclasses.replace(
                entry, crc=zlib.crc32(data), size=len(data), packed_size=packed_size
            )
        )
        self._out.writelines(packed)

    def close(self) -> None:
        """Write the directory; the file itself stays open."""
        start = self._out.tell()
        for entry in self._written:
            self._out.write(_central_header(entry))
        size, count = self._out.tell() - start, len(self._written)
        if count >= MOST_16 or size >= MOST_32 or start >= MOST_32:
            end = self._out.tell()
            self._out.write(
                END64.pack(END64_MAGIC, END64.size - 12, 45, 45, 0, 0, count, count, size, start)
            )
            self._out.write(LOCATOR64.pack(LOCATOR64_MAGIC, 0, end, 1))
        count, size, start = min(count, MOST_16), min(size, MOST_32), min(start, MOST_32)
        self._out.write(END.pack(END_MAGIC, 0, 0, count, count, size, start, 0))

    def _begin(self, entry: Entry) -> None:
        entry = dataclasses.replace(entry, offset=self._out.tell())
        self._written.append(entry)
        self._out.write(_local_header(entry))


def _deflated(data: bytes, level: int) -> Iterator[bytes]:
    """Yield compressed pieces: one whole would be there twice while zlib puts it together."""
    deflater = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    view = memoryview(data)
    for start in range(0, len(data), _CHUNK):
        yield deflater.compress(view[start : start + _CHUNK])
    yield deflater.flush()


def _local_header(entry: Entry) -> bytes:
    name, flags = _encoded_name(entry)
    size, packed, extra = entry.size, entry.packed_size, b""
    if max(size, packed) >= MOST_32:
        extra = struct.pack("<HHQQ", ZIP64_EXTRA, 16, size, packed)
        size = packed = MOST_32
    return (
        LOCAL.pack(
            LOCAL_MAGIC,
            45 if extra else 20,
            flags,
            entry.method,
            entry.time & MOST_16,
            entry.time >> 16,
            entry.crc,
            packed,
            size,
            len(name),
            len(extra),
        )
        + name
        + extra
    )


def _central_header(entry: Entry) -> bytes:
    name, flags = _encoded_name(entry)
    numbers = [entry.size, entry.packed_size, entry.offset]
    large = [n for n in numbers if n >= MOST_32]
    extra = struct.pack(f"<HH{len(large)}Q", ZIP64_EXTRA, 8 * len(large), *large) if large else b""
    size, packed, offset = (min(n, MOST_32) for n in numbers)
    needs = 45 if large else 20
    return (
        CENTRAL.pack(
            CENTRAL_MAGIC,
            entry.made_by << 8 | needs,
            needs,
            flags,
            entry.method,
            entry.time & MOST_16,
            entry.time >> 16,
            entry.crc,
            packed,
            size,
            len(name),
            len(extra),
            0,
            0,
            0,
            entry.attributes,
            offset,
        )
        + name
        + extra
    )


def _encoded_name(entry: Entry) -> tuple[bytes, int]:
    return entry.name.encode(), 0 if entry.name.isascii() else UTF8
