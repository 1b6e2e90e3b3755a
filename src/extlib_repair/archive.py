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
import re
import stat
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
_ZIP64_EXTRA = 1  # 4.5.3
_UNICODE_PATH_EXTRA = 0x7075  # 4.6.9

_DESCRIPTOR, _UTF8 = 0x8, 0x800
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # the content, strongly; the directory (4.4.4)
_PATCH = 0x20  # the content is a difference to another file
_NEWEST = 63  # the newest version that unpackers know (4.4.3.2)
_LONGEST_COMMENT = 0xFFFF
_LONGEST_DESCRIPTOR = 24
_DRIVE = re.compile(r"[A-Za-z]:")
_FILE_KINDS = (0, stat.S_IFREG)  # 0: not stated
_FOLDER_KINDS = (*_FILE_KINDS, stat.S_IFDIR)
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
        with path.open("rb") as file:  # the map outlives it
            self._map = self._mapped(file)
        try:
            with _damage(path):
                self.entries = tuple(self._read_entries())
                _refuse_names(self.entries)
                self._refuse_bomb(most_expansion)
        except BaseException:
            self._map.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()

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

    def _mapped(self, file: IO[bytes]) -> mmap.mmap:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
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
        end, count, size, start = self._end64(at, (count, size, start))
        if start + size != end:
            raise _Damage("something stands before its first member or behind its directory")
        return start, end, count

    def _end64(self, at: int, small: tuple[int, int, int]) -> tuple[int, int, int, int]:
        """Return the position of the zip64 end record, and count, size and start from it.

        Some readers use that record wherever it is, others only for what does not fit the small
        one: the two must agree.
        """
        locator = at - _LOCATOR64.size
        if locator < 0 or self._map[locator : locator + 4] != _LOCATOR64_MAGIC:
            return (at, *small)
        _, disk, end, disks = _LOCATOR64.unpack_from(self._map, locator)
        if end + _END64.size != locator or self._map[end : end + 4] != _END64_MAGIC:
            raise _Damage("its zip64 end record is not where it should be")
        fields = _END64.unpack_from(self._map, end)
        _, length, _, _, own_disk, first_disk, here, *large = fields
        if disk or own_disk or first_disk or disks > 1 or here != large[0]:
            raise _Damage("it is split over several files")
        if length != _END64.size - 12:  # it does not count its first two fields
            raise _Damage("its zip64 end record has a part that nobody knows")
        saturated = (_MOST_16, _MOST_32, _MOST_32)
        if any(s not in (v, most) for s, v, most in zip(small, large, saturated, strict=True)):
            raise _Damage("its two end records do not agree")
        count, size, start = large
        return end, count, size, start

    def _central(self, at: int) -> tuple[Entry, int]:
        fields = _CENTRAL.unpack_from(self._map, at)
        (magic, made_by, needs, flags, method, clock, date, crc, packed, size) = fields[:10]
        (name_size, extra_size, comment_size, disk, _, attributes, offset) = fields[10:]
        if magic != _CENTRAL_MAGIC:
            raise _Damage("its directory is damaged")
        if disk:
            raise _Damage("it is split over several files")
        name_at = at + _CENTRAL.size
        extra_at = name_at + name_size
        end = extra_at + extra_size + comment_size
        name = _name(self._map[name_at:extra_at], flags)
        size, packed, offset = _extra(
            self._map[extra_at : extra_at + extra_size], (size, packed, offset), name
        )
        if needs & 0xFF > _NEWEST:
            raise _Damage(f"{name} needs an unpacker that does not exist yet")
        if flags & (_ENCRYPTED | _PATCH):
            raise _Damage(f"{name} is encrypted, or is no file of its own")
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
        if entry.offset > len(self._map):
            raise _Damage(f"{entry.name} should stand behind its end")
        fields = _LOCAL.unpack_from(self._map, entry.offset)
        magic, _, local_flags, method, _, _, crc, packed, size, name_size, extra_size = fields
        name_at = entry.offset + _LOCAL.size
        extra_at = name_at + name_size
        data_at = extra_at + extra_size
        if magic != _LOCAL_MAGIC:
            raise _Damage(f"{entry.name} has no header of its own")
        name = _name(self._map[name_at:extra_at], local_flags)
        if name != entry.name or method != entry.method:
            raise _Damage(f"{entry.name} has another name or method in its own header")
        if (local_flags ^ flags) & (_ENCRYPTED | _PATCH | _DESCRIPTOR):
            raise _Damage(f"{entry.name} has other flags in its own header")
        size, packed, _ = _extra(self._map[extra_at:data_at], (size, packed, 0), name)
        found, wanted = (crc, packed, size), (entry.crc, entry.packed_size, entry.size)
        later = bool(local_flags & _DESCRIPTOR)
        if any(f != w and not (later and f == 0) for f, w in zip(found, wanted, strict=True)):
            raise _Damage(f"{entry.name} has another size or checksum in its own header")
        return dataclasses.replace(entry, data_offset=data_at)

    def _refuse_layout(self, entries: list[Entry], directory: int) -> None:
        """Each member must end where the next begins, the last at the directory."""
        ordered = sorted(entries, key=lambda e: e.offset)
        starts = [*(e.offset for e in ordered), directory]
        if starts[0]:
            raise _Damage("something stands before its first member")
        for entry, following in zip(ordered, starts[1:], strict=True):
            end = entry.data_offset + entry.packed_size
            if end > following:
                raise _Damage(f"{entry.name} overlaps with what follows it")
            between = self._map[end : min(following, end + _LONGEST_DESCRIPTOR + 1)]
            if between not in self._descriptors(entry):
                raise _Damage(f"what stands behind {entry.name} is not what should follow it")

    def _descriptors(self, entry: Entry) -> tuple[bytes, ...]:
        """Return what may stand behind a member: nothing, or a data descriptor (4.3.9).

        With or without a signature, with short or long sizes.
        """
        _, _, flags, *_ = _LOCAL.unpack_from(self._map, entry.offset)
        if not flags & _DESCRIPTOR:
            return (b"",)
        long = struct.pack("<IQQ", entry.crc, entry.packed_size, entry.size)
        short = long[:8] + long[12:16]
        return short, _DESCRIPTOR_MAGIC + short, long, _DESCRIPTOR_MAGIC + long

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
        raise _Damage(f"the name {raw!r} is neither ASCII nor marked and valid UTF-8") from None
    if not name or any(ord(c) < 0x20 or ord(c) == 0x7F for c in name):  # noqa: PLR2004
        raise _Damage(f"the name {name!r} has control characters, or is empty")
    return name


def _refuse_names(entries: tuple[Entry, ...]) -> None:
    """Refuse names that leave the folder they are unpacked to, duplicates, and symlinks."""
    seen: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        _refuse_entry(entry)
        path = entry.name.removesuffix("/")
        if path in seen:
            raise _Damage(f"{path} is there twice")
        seen.add(path)
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    both = folders.intersection(entry.name for entry in entries)
    if both:
        raise _Damage(f"{min(both)} is both a file and a folder")


def _refuse_entry(entry: Entry) -> None:
    """Refuse what does not stay in its folder, or is neither a file nor a folder.

    Installers cut names apart (``.data`` folders), so each part is looked at, not only the first.
    """
    name = entry.name
    parts = name.removesuffix("/").split("/")
    if "\\" in name or any(p in ("", ".", "..") or _DRIVE.match(p) for p in parts):
        raise _Damage(f"{name} is not a plain path below the folder it is unpacked to")
    kinds = _FOLDER_KINDS if entry.is_folder else _FILE_KINDS
    if stat.S_IFMT(entry.attributes >> 16) not in kinds:
        raise _Damage(f"{name} is a symlink, or another special file")
    if entry.is_folder and entry.size:
        raise _Damage(f"{name} is a folder with content")


def _extra(extra: bytes, sizes: tuple[int, int, int], name: str) -> tuple[int, int, int]:
    """Return size, packed size and offset, saturated ones from the zip64 field.

    Refuses what some readers take and others do not: a second field, and another name (4.6.9).
    """
    fields: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        at += 4
        if at + length > len(extra):
            raise _Damage(f"an extra field of {name} runs past its end")
        if kind in fields and kind in (_ZIP64_EXTRA, _UNICODE_PATH_EXTRA):
            raise _Damage(f"{name} has an extra field twice")
        fields[kind] = extra[at : at + length]
        at += length
    if fields.get(_UNICODE_PATH_EXTRA, bytes(5) + name.encode())[5:] != name.encode():
        raise _Damage(f"{name} has another name in an extra field")
    numbers = _numbers(fields.get(_ZIP64_EXTRA, b""), sizes)
    if numbers is None:
        raise _Damage(f"the zip64 field of {name} does not fit its header")
    return numbers


def _numbers(field: bytes, sizes: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """Return the sizes with those of a zip64 field (4.5.3); None where they contradict.

    It holds the numbers that are saturated in the header. Bazel writes the others too, which some
    readers then use: they must be the same.
    """
    if len(field) % 8 or len(field) > 8 * len(sizes):
        return None
    numbers = list(struct.unpack(f"<{len(field) // 8}Q", field))
    if len(numbers) == sizes.count(_MOST_32):
        numbers = [numbers.pop(0) if n == _MOST_32 else n for n in sizes]
    if any(s not in (_MOST_32, n) for s, n in zip(sizes, numbers, strict=False)):
        return None
    missing = sizes[len(numbers) :]
    if _MOST_32 in missing:
        return None
    numbers += missing
    return numbers[0], numbers[1], numbers[2]


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
