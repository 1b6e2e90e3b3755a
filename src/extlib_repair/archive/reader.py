"""A strict reader of zip archives.

Wheels are untrusted: the reader takes only what every unpacker reads in the same way, so that what
was examined is what will be installed.
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

from extlib_repair.archive.format import (
    CENTRAL,
    CENTRAL_MAGIC,
    DEFLATED,
    DESCRIPTOR_MAGIC,
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
    STORED,
    UTF8,
    ZIP64_EXTRA,
    Entry,
)
from extlib_repair.errors import BadWheelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_UNICODE_PATH_EXTRA = 0x7075  # 4.6.9
_DESCRIPTOR = 0x8
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # the content, strongly; the directory (4.4.4)
_PATCH = 0x20  # the content is a difference to another file
_NEWEST = 63  # the newest version that unpackers know (4.4.3.2)
_LONGEST_COMMENT = 0xFFFF
_LONGEST_DESCRIPTOR = 24
_DRIVE = re.compile(r"[A-Za-z]:")
_FILE_KINDS = (0, stat.S_IFREG)  # 0: not stated
_FOLDER_KINDS = (*_FILE_KINDS, stat.S_IFDIR)
_CHUNK = 1 << 20
_FIRST_CHUNK = 1 << 9
_HINT = "was it downloaded or copied completely? build it again, or fetch it anew"

MOST_EXPANSION = 50
"""Largest accepted ratio of unpacked to packed size, for archives above :data:`SMALL`.

The package index uses the same figures (pypi/warehouse)."""

SMALL = 64 << 20


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
        return BadWheelError(f"{self._path.name}: {entry.name} is damaged: {why}", hint=_HINT)

    def _mapped(self, file: IO[bytes]) -> mmap.mmap:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            raise BadWheelError(
                f"{self._path.name} is not a zip archive: it is empty", hint=_HINT
            ) from None

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
        at = data.rfind(END_MAGIC, max(0, len(data) - END.size - _LONGEST_COMMENT))
        if at < 0 or at + END.size > len(data):
            raise BadWheelError(f"{self._path.name} is not a zip archive", hint=_HINT)
        _, disk, first_disk, here, count, size, start, comment = END.unpack_from(data, at)
        if at + END.size + comment != len(data):
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
        locator = at - LOCATOR64.size
        if locator < 0 or self._map[locator : locator + 4] != LOCATOR64_MAGIC:
            return (at, *small)
        _, disk, end, disks = LOCATOR64.unpack_from(self._map, locator)
        if end + END64.size != locator or self._map[end : end + 4] != END64_MAGIC:
            raise _Damage("its zip64 end record is not where it should be")
        fields = END64.unpack_from(self._map, end)
        _, length, _, _, own_disk, first_disk, here, *large = fields
        if disk or own_disk or first_disk or disks > 1 or here != large[0]:
            raise _Damage("it is split over several files")
        if length != END64.size - 12:  # it does not count its first two fields
            raise _Damage("its zip64 end record has a part that nobody knows")
        saturated = (MOST_16, MOST_32, MOST_32)
        if any(s not in (v, most) for s, v, most in zip(small, large, saturated, strict=True)):
            raise _Damage("its two end records do not agree")
        count, size, start = large
        return end, count, size, start

    def _central(self, at: int) -> tuple[Entry, int]:
        fields = CENTRAL.unpack_from(self._map, at)
        (magic, made_by, needs, flags, method, clock, date, crc, packed, size) = fields[:10]
        (name_size, extra_size, comment_size, disk, _, attributes, offset) = fields[10:]
        if magic != CENTRAL_MAGIC:
            raise _Damage("its directory is damaged")
        if disk:
            raise _Damage("it is split over several files")
        name_at = at + CENTRAL.size
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
        fields = LOCAL.unpack_from(self._map, entry.offset)
        magic, _, local_flags, method, _, _, crc, packed, size, name_size, extra_size = fields
        name_at = entry.offset + LOCAL.size
        extra_at = name_at + name_size
        data_at = extra_at + extra_size
        if magic != LOCAL_MAGIC:
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
        _, _, flags, *_ = LOCAL.unpack_from(self._map, entry.offset)
        if not flags & _DESCRIPTOR:
            return (b"",)
        long = struct.pack("<IQQ", entry.crc, entry.packed_size, entry.size)
        short = long[:8] + long[12:16]
        return short, DESCRIPTOR_MAGIC + short, long, DESCRIPTOR_MAGIC + long

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
                f"{self._path.name} is not a trustworthy archive: {error}",
                hint="repack it with a current build tool; the package index would refuse it too",
            ) from None
        if isinstance(error, struct.error):
            raise BadWheelError(
                f"{self._path.name} is a damaged archive: it ends too early", hint=_HINT
            ) from None


def _name(raw: bytes, flags: int) -> str:
    """Decode a name: UTF-8 by its flag (4.4.4 bit 11), else ASCII.

    Without the flag the encoding is the unpacker's guess, and so is not taken.
    """
    try:
        name = raw.decode("utf-8" if flags & UTF8 else "ascii")
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
        if kind in fields and kind in (ZIP64_EXTRA, _UNICODE_PATH_EXTRA):
            raise _Damage(f"{name} has an extra field twice")
        fields[kind] = extra[at : at + length]
        at += length
    if fields.get(_UNICODE_PATH_EXTRA, bytes(5) + name.encode())[5:] != name.encode():
        raise _Damage(f"{name} has another name in an extra field")
    numbers = _numbers(fields.get(ZIP64_EXTRA, b""), sizes)
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
    if len(numbers) == sizes.count(MOST_32):
        numbers = [numbers.pop(0) if n == MOST_32 else n for n in sizes]
    if any(s not in (MOST_32, n) for s, n in zip(sizes, numbers, strict=False)):
        return None
    missing = sizes[len(numbers) :]
    if MOST_32 in missing:
        return None
    numbers += missing
    return numbers[0], numbers[1], numbers[2]
