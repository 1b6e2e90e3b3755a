"""A strict reader of zip archives.

Wheels are untrusted: the reader takes only what every unpacker reads in the same way, so that what
was examined is what will be installed.

It reads with bounded memory, and not through a memory map: the pages of a map count as the
process's own, and a file that shrinks meanwhile would kill it (SIGBUS).
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import re
import stat
import struct
import zlib
from typing import TYPE_CHECKING, Any, Self

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
_PACKED_CHUNK = 1 << 18  # what of it is left is copied each time that a chunk has come out of it
_FIRST_CHUNK = 1 << 9
_WRONG_END = "its data does not end where the archive says"
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
        self._file = path.open("rb")
        try:
            self._size = os.fstat(self._file.fileno()).st_size
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
        self._file.close()

    @functools.cached_property
    def by_name(self) -> dict[str, Entry]:
        """The entries by name."""
        return {entry.name: entry for entry in self.entries}

    def packed(self, entry: Entry, chunk: int = _CHUNK) -> Iterator[bytes]:
        """Yield the bytes of a member as they are stored."""
        for start in range(0, entry.packed_size, chunk):
            size = min(chunk, entry.packed_size - start)
            yield self._at(entry.data_offset + start, size)

    def stream(self, entry: Entry) -> Iterator[bytes]:
        """Yield the content of a member in pieces of at most 1 MiB.

        Its end, size and CRC are checked on the way, and known to be right only when the last piece
        has been taken. Raises :class:`BadWheelError`.
        """
        size = crc = 0
        for data in self._pieces(entry, _PACKED_CHUNK, _CHUNK):
            size += len(data)
            if size > entry.size:
                raise self._damaged(entry, _WRONG_END)
            crc = zlib.crc32(data, crc)
            yield data
        if (size, crc) != (entry.size, entry.crc):
            raise self._damaged(entry, "its size or checksum is not what the archive states")

    def read(self, entry: Entry) -> bytes:
        """Return the content of a member; it is checked as in :meth:`stream`."""
        data = io.BytesIO()  # hands over its own bytes, where joining would need twice the memory
        data.writelines(self.stream(entry))
        return data.getvalue()

    def start(self, entry: Entry, size: int) -> bytes:
        """Return the first bytes of a member, without inflating the rest."""
        start = b""
        for data in self._pieces(entry, _FIRST_CHUNK, size):
            start += data
            if len(start) >= size:
                break
        return start[:size]

    def _pieces(self, entry: Entry, chunk: int, most: int) -> Iterator[bytes]:
        """Yield the content: read ``chunk`` bytes at a time, inflate to ``most`` at a time."""
        if entry.method == STORED:
            yield from self.packed(entry, chunk)
            return
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        left = entry.packed_size
        for packed in self.packed(entry, chunk):
            if inflater.eof:
                break
            left -= len(packed)
            data = self._inflated(entry, inflater, packed, most)
            yield data
            while len(data) == most:  # more may wait, in the input or in the inflater
                data = self._inflated(entry, inflater, inflater.unconsumed_tail, most)
                yield data
        if left or not inflater.eof or inflater.unused_data:
            raise self._damaged(entry, _WRONG_END)

    def _inflated(
        self, entry: Entry, inflater: zlib._Decompress, packed: bytes, most: int
    ) -> bytes:
        try:
            return inflater.decompress(packed, most)
        except zlib.error as error:
            raise self._damaged(entry, str(error)) from None

    def _damaged(self, entry: Entry, why: str) -> BadWheelError:
        return BadWheelError(f"{self._path.name}: {entry.name} is damaged: {why}", hint=_HINT)

    def _at(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes at an offset of the file, fewer where it ends."""
        self._file.seek(offset)
        return self._file.read(size)

    def _unpacked(self, record: struct.Struct, offset: int) -> tuple[Any, ...]:
        """Return the fields of a record; raises :class:`struct.error` where the file ends in it."""
        return record.unpack(self._at(offset, record.size))

    def _read_entries(self) -> list[Entry]:
        start, end, count = self._directory()
        listed = []
        at = start
        while at < end:
            entry, flags, at = self._central(at)
            listed.append((entry, flags))
        if at != end or len(listed) != count:
            raise _Damage("its directory does not hold the members that it counts")
        entries = [self._located(entry, flags) for entry, flags in listed]
        self._refuse_layout(entries, start)
        return entries

    def _directory(self) -> tuple[int, int, int]:
        """Return start, end and number of entries of the central directory."""
        if not self._size:
            raise BadWheelError(f"{self._path.name} is not a zip archive: it is empty", hint=_HINT)
        tail_at = max(0, self._size - END.size - _LONGEST_COMMENT)
        tail = self._at(tail_at, END.size + _LONGEST_COMMENT)
        found = tail.rfind(END_MAGIC)
        if found < 0 or found + END.size > len(tail):
            raise BadWheelError(f"{self._path.name} is not a zip archive", hint=_HINT)
        _, disk, first_disk, here, count, size, start, comment = END.unpack_from(tail, found)
        at = tail_at + found
        if at + END.size + comment != self._size:
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
        if locator < 0 or self._at(locator, 4) != LOCATOR64_MAGIC:
            return (at, *small)
        _, disk, end, disks = self._unpacked(LOCATOR64, locator)
        if end + END64.size != locator or self._at(end, 4) != END64_MAGIC:
            raise _Damage("its zip64 end record is not where it should be")
        fields = self._unpacked(END64, end)
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

    def _central(self, at: int) -> tuple[Entry, int, int]:
        """Return an entry of the directory, its flags, and where the next one stands."""
        fields = self._unpacked(CENTRAL, at)
        (magic, made_by, needs, flags, method, clock, date, crc, packed, size) = fields[:10]
        (name_size, extra_size, comment_size, disk, _, attributes, offset) = fields[10:]
        if magic != CENTRAL_MAGIC:
            raise _Damage("its directory is damaged")
        if disk:
            raise _Damage("it is split over several files")
        name_at = at + CENTRAL.size
        extra_at = name_at + name_size
        end = extra_at + extra_size + comment_size
        name = _name(self._at(name_at, name_size), flags)
        extra = self._at(extra_at, extra_size)
        size, packed, offset = _extra(extra, (size, packed, offset), name)
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
        return entry, flags, end

    def _located(self, entry: Entry, flags: int) -> Entry:
        """Compare the local header with the directory's, and find the data."""
        if entry.offset > self._size:
            raise _Damage(f"{entry.name} should stand behind its end")
        fields = self._unpacked(LOCAL, entry.offset)
        magic, _, local_flags, method, _, _, crc, packed, size, name_size, extra_size = fields
        name_at = entry.offset + LOCAL.size
        extra_at = name_at + name_size
        data_at = extra_at + extra_size
        if magic != LOCAL_MAGIC:
            raise _Damage(f"{entry.name} has no header of its own")
        name = _name(self._at(name_at, name_size), local_flags)
        if name != entry.name or method != entry.method:
            raise _Damage(f"{entry.name} has another name or method in its own header")
        if (local_flags ^ flags) & (_ENCRYPTED | _PATCH | _DESCRIPTOR):
            raise _Damage(f"{entry.name} has other flags in its own header")
        extra = self._at(extra_at, extra_size)
        size, packed, _ = _extra(extra, (size, packed, 0), name)
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
            between = self._at(end, min(following - end, _LONGEST_DESCRIPTOR + 1))
            if between not in self._descriptors(entry):
                raise _Damage(f"what stands behind {entry.name} is not what should follow it")

    def _descriptors(self, entry: Entry) -> tuple[bytes, ...]:
        """Return what may stand behind a member: nothing, or a data descriptor (4.3.9).

        With or without a signature, with short or long sizes.
        """
        _, _, flags, *_ = self._unpacked(LOCAL, entry.offset)
        if not flags & _DESCRIPTOR:
            return (b"",)
        long = struct.pack("<IQQ", entry.crc, entry.packed_size, entry.size)
        short = long[:8] + long[12:16]
        return short, DESCRIPTOR_MAGIC + short, long, DESCRIPTOR_MAGIC + long

    def _refuse_bomb(self, most_expansion: int) -> None:
        unpacked = sum(entry.size for entry in self.entries)
        if unpacked > SMALL and unpacked > most_expansion * self._size:
            raise BadWheelError(
                f"{self._path.name} unpacks to {unpacked / self._size:.0f} times its size "
                f"({unpacked >> 20} MiB)",
                hint=f"if it is meant to, raise the limit: --most-expansion (now {most_expansion})",
            )


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
