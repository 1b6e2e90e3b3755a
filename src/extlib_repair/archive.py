"""Zip archives: a strict reader, and a writer that copies compressed bytes as they are.

Wheels are untrusted. The reader takes only what every unpacker reads in the same way, so that what
was examined is what will be installed. The writer writes what the package index accepts: no data
descriptors, gaps, comments, or extra fields other than zip64.

Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3. The section numbers stand beside each
record.
"""

from __future__ import annotations

import dataclasses
import functools
import mmap
import struct
import zlib
from typing import IO, TYPE_CHECKING, Protocol, Self

from extlib_repair.errors import BadWheelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STORED, DEFLATED = 0, 8

_LOCAL = struct.Struct("<4sHHHHHIIIHH")  # 4.3.7
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")  # 4.3.12
_END = struct.Struct("<4sHHHHIIH")  # 4.3.16
_END64 = struct.Struct("<4sQHHIIQQQQ")  # 4.3.14
_LOCATOR64 = struct.Struct("<4sIQI")  # 4.3.15
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\3\4", b"PK\1\2", b"PK\5\6"
_END64_MAGIC, _LOCATOR64_MAGIC, _DESCRIPTOR_MAGIC = b"PK\6\6", b"PK\6\7", b"PK\7\x08"
_ZIP64_EXTRA = 1

_ENCRYPTED, _DESCRIPTOR, _UTF8 = 0x1, 0x8, 0x800
_LONGEST_COMMENT = 0xFFFF
_MOST_16, _MOST_32 = 0xFFFF, 0xFFFFFFFF
_UNIX = 3
_CHUNK = 1 << 20
_FIRST_CHUNK = 1 << 9

MOST_EXPANSION = 50
"""Largest accepted ratio of unpacked to packed size, for archives above :data:`SMALL`.

The package index uses the same figures (pypi/warehouse)."""

SMALL = 64 << 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A member of an archive, as its central directory describes it."""

    name: str
    method: int = DEFLATED
    time: int = 0
    """Date and time in the MS-DOS form, the date in the upper half."""

    crc: int = 0
    packed_size: int = 0
    size: int = 0
    attributes: int = 0
    """External attributes; the upper half is the Unix mode."""

    made_by: int = _UNIX
    """The system of the attributes."""

    offset: int = 0
    """Of the local header."""

    data_offset: int = 0

    @property
    def is_folder(self) -> bool:
        """Whether the entry stands for a folder."""
        return self.name.endswith("/")


class ArchiveReader:
    """An archive on disk, open for reading; a context manager.

    Raises :class:`BadWheelError` where the archive is damaged, or is one that unpackers could
    disagree about.
    """

    def __init__(self, path: Path, *, most_expansion: int = MOST_EXPANSION) -> None:
        self._path = path
        self._file = path.open("rb")
        try:
            self._map = self._mapped()
            with _damage(path):
                self.entries = tuple(self._read_entries())
                _refuse_names(self.entries)
                self._refuse_bomb(most_expansion)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()
        self._file.close()

    @functools.cached_property
    def by_name(self) -> dict[str, Entry]:
        """The entries by name."""
        return {entry.name: entry for entry in self.entries}

    def packed(self, entry: Entry, chunk: int = _CHUNK) -> Iterator[bytes]:
        """Yield the bytes of a member as they are stored."""
        for start in range(0, entry.packed_size, chunk):
            end = min(start + chunk, entry.packed_size)
            yield self._map[entry.data_offset + start : entry.data_offset + end]

    def read(self, entry: Entry) -> bytes:
        """Return the content of a member; its size and CRC are checked."""
        inflater = _inflater(entry)
        pieces = [*self._inflated(entry, inflater, entry.size + 1, _CHUNK)]
        if not inflater.eof or inflater.unused_data:
            raise self._damaged(entry, "its data does not end where the archive says")
        data = b"".join(pieces)
        if len(data) != entry.size or zlib.crc32(data) != entry.crc:
            raise self._damaged(entry, "its size or checksum is not what the archive states")
        return data

    def start(self, entry: Entry, size: int) -> bytes:
        """Return the first bytes of a member, without inflating the rest."""
        return b"".join(self._inflated(entry, _inflater(entry), size, _FIRST_CHUNK))

    def _inflated(
        self, entry: Entry, inflater: _Inflater, most: int, chunk: int
    ) -> Iterator[bytes]:
        for packed in self.packed(entry, chunk):
            try:
                data = inflater.decompress(packed, most)
            except zlib.error as error:
                raise self._damaged(entry, str(error)) from None
            yield data
            most -= len(data)
            if most <= 0:
                return

    def _damaged(self, entry: Entry, why: str) -> BadWheelError:
        return BadWheelError(f"{self._path.name}: {entry.name} is damaged: {why}")

    def _mapped(self) -> mmap.mmap:
        try:
            return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            raise BadWheelError(f"{self._path.name} is not a zip archive: it is empty") from None

    def _read_entries(self) -> list[Entry]:
        start, end, count = self._directory()
        entries = []
        at = start
        while at < end:
            entry, at = self._central(at)
            entries.append(entry)
        if at != end or len(entries) != count:
            raise _Damage("its directory does not hold the members that it counts")
        self._refuse_layout(entries, start)
        return entries

    def _directory(self) -> tuple[int, int, int]:
        """Return start, end and number of entries of the central directory."""
        data = self._map
        at = data.rfind(_END_MAGIC, max(0, len(data) - _END.size - _LONGEST_COMMENT))
        if at < 0 or at + _END.size > len(data):
            raise BadWheelError(f"{self._path.name} is not a zip archive")
        _, disk, first_disk, here, count, size, start, comment = _END.unpack_from(data, at)
        if at + _END.size + comment != len(data):
            raise _Damage("something follows its end")
        if disk or first_disk or here != count:
            raise _Damage("it is split over several files")
        end = at
        if _MOST_16 in (here, count) or _MOST_32 in (size, start):
            end, count, size, start = self._end64(at, (count, size, start))
        if start + size != end:
            raise _Damage("something stands before its first member or behind its directory")
        return start, end, count

    def _end64(self, at: int, small: tuple[int, int, int]) -> tuple[int, int, int, int]:
        """Return the position of the zip64 end record, and count, size and start from it."""
        locator = at - _LOCATOR64.size
        if locator < 0 or self._map[locator : locator + 4] != _LOCATOR64_MAGIC:
            return (at, *small)
        _, _, end, disks = _LOCATOR64.unpack_from(self._map, locator)
        if disks > 1 or end + _END64.size != locator or self._map[end : end + 4] != _END64_MAGIC:
            raise _Damage("its zip64 end record is not where it should be")
        _, _, _, _, _, _, here, count, size, start = _END64.unpack_from(self._map, end)
        if here != count:
            raise _Damage("it is split over several files")
        return end, count, size, start

    def _central(self, at: int) -> tuple[Entry, int]:
        fields = _CENTRAL.unpack_from(self._map, at)
        (magic, made_by, _, flags, method, clock, date, crc, packed, size) = fields[:10]
        (name_size, extra_size, comment_size, disk, _, attributes, offset) = fields[10:]
        if magic != _CENTRAL_MAGIC or disk not in (0, _MOST_16):
            raise _Damage("its directory is damaged")
        name_at = at + _CENTRAL.size
        extra_at = name_at + name_size
        end = extra_at + extra_size + comment_size
        name = _name(self._map[name_at:extra_at], flags)
        size, packed, offset = _zip64(
            self._map[extra_at : extra_at + extra_size], (size, packed, offset)
        )
        if flags & _ENCRYPTED:
            raise _Damage(f"{name} is encrypted")
        if method not in (STORED, DEFLATED):
            raise _Damage(f"{name} is compressed by method {method}; wheels use deflate or none")
        if method == STORED and size != packed:
            raise _Damage(f"{name} is stored, but its two sizes differ")
        entry = Entry(
            name=name,
            method=method,
            time=date << 16 | clock,
            crc=crc,
            packed_size=packed,
            size=size,
            attributes=attributes,
            made_by=made_by >> 8,
            offset=offset,
        )
        return self._located(entry, flags), end

    def _located(self, entry: Entry, flags: int) -> Entry:
        """Compare the local header with the directory's, and find the data."""
        fields = _LOCAL.unpack_from(self._map, entry.offset)
        magic, _, local_flags, method, _, _, crc, packed, size, name_size, extra_size = fields
        name_at = entry.offset + _LOCAL.size
        name = _name(self._map[name_at : name_at + name_size], local_flags)
        data_at = name_at + name_size + extra_size
        if magic != _LOCAL_MAGIC or name != entry.name or method != entry.method:
            raise _Damage(f"{entry.name} has another name or method in its own header")
        if (local_flags ^ flags) & (_ENCRYPTED | _DESCRIPTOR):
            raise _Damage(f"{entry.name} has other flags in its own header")
        if not local_flags & _DESCRIPTOR:
            extra = self._map[name_at + name_size : data_at]
            size, packed, _ = _zip64(extra, (size, packed, 0))
            if (crc, packed, size) != (entry.crc, entry.packed_size, entry.size):
                raise _Damage(f"{entry.name} has another size or checksum in its own header")
        return dataclasses.replace(entry, data_offset=data_at)

    def _refuse_layout(self, entries: list[Entry], directory: int) -> None:
        """Each member must end where the next begins, the last at the directory."""
        ordered = sorted(entries, key=lambda e: e.offset)
        if ordered and ordered[0].offset:
            raise _Damage("something stands before its first member")
        starts = [e.offset for e in ordered[1:]] + [directory]
        for entry, following in zip(ordered, starts, strict=True):
            end = entry.data_offset + entry.packed_size
            if end > following:
                raise _Damage(f"{entry.name} overlaps with what follows it")
            if end != following and following - end not in self._descriptor_sizes(entry, end):
                raise _Damage(f"something stands behind {entry.name} that belongs to no member")

    def _descriptor_sizes(self, entry: Entry, at: int) -> tuple[int, ...]:
        """Return the sizes (4.3.9) that a data descriptor behind a member can have."""
        _, _, flags, *_ = _LOCAL.unpack_from(self._map, entry.offset)
        if not flags & _DESCRIPTOR:
            return ()
        return (16, 24) if self._map[at : at + 4] == _DESCRIPTOR_MAGIC else (12, 20)

    def _refuse_bomb(self, most_expansion: int) -> None:
        unpacked = sum(entry.size for entry in self.entries)
        if unpacked > SMALL and unpacked > most_expansion * len(self._map):
            raise BadWheelError(
                f"{self._path.name} unpacks to {unpacked / len(self._map):.0f} times its size "
                f"({unpacked >> 20} MiB)",
                hint=f"if it is meant to, raise the limit: --most-expansion (now {most_expansion})",
            )


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Stored:
    """Inflates what is not compressed."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.unused_data = b""

    @property
    def eof(self) -> bool:
        return self._left == 0

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        data = data[:max_length]
        self._left -= len(data)
        return data


def _inflater(entry: Entry) -> _Inflater:
    if entry.method == STORED:
        return _Stored(entry.size)
    return zlib.decompressobj(-zlib.MAX_WBITS)


class _Damage(Exception):  # noqa: N818 - never leaves this module
    """A reason not to trust the archive; :class:`_damage` adds its name."""


class _damage:  # noqa: N801 - reads as a statement
    """Turn what goes wrong while an archive is read into one clear line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, _Damage):
            raise BadWheelError(
                f"{self._path.name} is not a trustworthy archive: {error}"
            ) from None
        if isinstance(error, struct.error):
            raise BadWheelError(
                f"{self._path.name} is a damaged archive: it ends too early"
            ) from None


def _name(raw: bytes, flags: int) -> str:
    """Decode a name: UTF-8 by its flag (4.4.4 bit 11), else ASCII.

    Without the flag the encoding is the unpacker's guess, and so is not taken.
    """
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        raise _Damage(f"the encoding of the name {raw!r} is not stated") from None
    if not name or any(ord(c) < 0x20 or ord(c) == 0x7F for c in name):  # noqa: PLR2004
        raise _Damage(f"the name {name!r} has control characters, or is empty")
    return name


def _refuse_names(entries: tuple[Entry, ...]) -> None:
    """Refuse names that leave the folder they are unpacked to, duplicates, and symlinks."""
    seen: set[str] = set()
    files = {entry.name for entry in entries if not entry.is_folder}
    for name in seen:
        parts = name.split("/")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in files:
                raise _Damage(f"{'/'.join(parts[:depth])} is both a file and a folder")


def _zip64(extra: bytes, sizes: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return size, packed size and offset, saturated ones from the zip64 field (4.5.3)."""
    values = list(sizes)
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        at += 4
        if at + length > len(extra):
            raise _Damage("an extra field runs past its end")
        if kind == _ZIP64_EXTRA:
            field = extra[at : at + length]
            for index, value in enumerate(values):
                if value == _MOST_32 and len(field) >= 8:  # noqa: PLR2004 - a 64-bit number
                    (values[index],) = struct.unpack_from("<Q", field)
                    field = field[8:]
        at += length
    return values[0], values[1], values[2]


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
        packed = data
        if entry.method == DEFLATED:
            deflater = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
            packed = deflater.compress(data) + deflater.flush()
        self._begin(
            dataclasses.replace(
                entry, crc=zlib.crc32(data), size=len(data), packed_size=len(packed)
            )
        )
        self._out.write(packed)

    def close(self) -> None:
        """Write the directory; the file itself stays open."""
        start = self._out.tell()
        for entry in self._written:
            self._out.write(_central_header(entry))
        size, count = self._out.tell() - start, len(self._written)
        if count >= _MOST_16 or size >= _MOST_32 or start >= _MOST_32:
            end = self._out.tell()
            self._out.write(
                _END64.pack(_END64_MAGIC, _END64.size - 12, 45, 45, 0, 0, count, count, size, start)
            )
            self._out.write(_LOCATOR64.pack(_LOCATOR64_MAGIC, 0, end, 1))
        count, size, start = min(count, _MOST_16), min(size, _MOST_32), min(start, _MOST_32)
        self._out.write(_END.pack(_END_MAGIC, 0, 0, count, count, size, start, 0))

    def _begin(self, entry: Entry) -> None:
        entry = dataclasses.replace(entry, offset=self._out.tell())
        self._written.append(entry)
        self._out.write(_local_header(entry))


def _local_header(entry: Entry) -> bytes:
    name, flags = _encoded_name(entry)
    size, packed, extra = entry.size, entry.packed_size, b""
    if max(size, packed) >= _MOST_32:
        extra = struct.pack("<HHQQ", _ZIP64_EXTRA, 16, size, packed)
        size = packed = _MOST_32
    return (
        _LOCAL.pack(
            _LOCAL_MAGIC,
            45 if extra else 20,
            flags,
            entry.method,
            entry.time & _MOST_16,
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
    large = [n for n in numbers if n >= _MOST_32]
    extra = struct.pack(f"<HH{len(large)}Q", _ZIP64_EXTRA, 8 * len(large), *large) if large else b""
    size, packed, offset = (min(n, _MOST_32) for n in numbers)
    needs = 45 if large else 20
    return (
        _CENTRAL.pack(
            _CENTRAL_MAGIC,
            entry.made_by << 8 | needs,
            needs,
            flags,
            entry.method,
            entry.time & _MOST_16,
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
    return entry.name.encode(), 0 if entry.name.isascii() else _UTF8
