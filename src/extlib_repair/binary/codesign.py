"""Code signatures of Mach-O files: what kind they are, and ad-hoc ones made anew.

An ad-hoc signature holds hashes and nobody's name, so that an edit can renew it: only the hashes
of the pages that changed, in every code directory, and no byte elsewhere. Where there is nothing to
renew, a whole signature is written.

Sources: xnu's ``osfmk/kern/cs_blobs.h`` and ``bsd/kern/ubc_subr.c``; Apple's technical note TN3126.
"""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from extlib_repair.binary.macho_fat import slices
from extlib_repair.binary.macho_file import SEGMENT_NUMBERS, FileType, Lc, MachO, Segment
from extlib_repair.errors import BadBinaryError, CannotEditError
from extlib_repair.model import Signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_EMBEDDED = 0xFADE0CC0  # CSMAGIC_EMBEDDED_SIGNATURE, a SuperBlob
_DIRECTORY = 0xFADE0C02
_REQUIREMENTS = 0xFADE0C01
_WRAPPER = 0xFADE0B01  # CSMAGIC_BLOBWRAPPER, around CMS

_SLOT_DIRECTORY, _SLOT_REQUIREMENTS, _SLOT_CMS = 0, 2, 0x10000
_SLOT_ALTERNATES = range(0x1000, 0x1005)
_MAY_BE_ABSENT = frozenset({1, 3})
"""Special slots of files beside the binary: Info.plist, CodeResources."""

_CS_ADHOC = 0x2
_EMPTY_WRAPPER = 8
_MOST_BLOBS = 64

_HASHES: dict[int, tuple[int, Callable[[bytes], bytes]]] = {
    1: (20, lambda data: hashlib.sha1(data, usedforsecurity=False).digest()),
    2: (32, lambda data: hashlib.sha256(data).digest()),
    3: (20, lambda data: hashlib.sha256(data).digest()[:20]),
    4: (48, lambda data: hashlib.sha384(data).digest()),
}
"""By ``hashType``: size and function."""

_HEADER = ">IIIIIIIIIBBBBI"
_SCATTERED, _LONG_LIMIT = 0x20100, 0x20300
"""Versions from which on the fields at 44 and 56 exist."""

COMMAND_SIZE = 16
"""The size of LC_CODE_SIGNATURE."""

ALIGNMENT = 16
"""Where linkers put a signature."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """One part of a signature: its slot, where it stands in the slice, its length."""

    slot: int
    at: int
    size: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A CodeDirectory: one table of hashes."""

    at: int
    """Where it stands in the slice."""

    flags: int
    hashes: int
    """Where the hash of page 0 stands in the slice; those of special slots stand before it."""

    identifier: bytes
    special: int
    pages: int
    limit: int
    """Where the hashed bytes end."""

    hash_size: int
    hash_type: int
    page_size: int
    scattered: bool

    def page(self, data: bytes | bytearray, index: int) -> bytes:
        """Return the bytes of a page; the last one is cut at the limit."""
        start = index * self.page_size
        return bytes(data[start : min(start + self.page_size, self.limit)])

    @property
    def is_whole(self) -> bool:
        """Whether there is a hash of a known kind for every page up to the limit."""
        if self.hash_type not in _HASHES:
            return False
        size, _ = _HASHES[self.hash_type]
        complete = self.pages == -(-self.limit // self.page_size)
        return size == self.hash_size and complete and not self.scattered


def kind(file: MachO) -> Signature:
    """Return who signed a slice; raises :class:`BadBinaryError` for what is no signature."""
    if file.first(Lc.CODE_SIGNATURE) is None:
        return Signature.NONE
    found = blobs(file)
    tuple(directories(file))
    signed = any(b.slot == _SLOT_CMS and b.size > _EMPTY_WRAPPER for b in found)
    return Signature.IDENTITY if signed else Signature.AD_HOC


def blobs(file: MachO) -> tuple[Blob, ...]:
    """Return the parts of a slice's signature; none where there is no signature."""
    place = file.linkedit(Lc.CODE_SIGNATURE)
    if place is None:
        return ()
    start, size = place
    magic, length, count = _numbers(file, ">III", start, start + size)
    if magic != _EMBEDDED or length > size or count > _MOST_BLOBS:
        raise BadBinaryError("the code signature of the Mach-O file is damaged")
    found = []
    for index in range(count):
        slot, offset = _numbers(file, ">II", start + 12 + 8 * index, start + length)
        _, blob_size = _numbers(file, ">II", start + offset, start + length)
        if offset + blob_size > length:
            raise BadBinaryError("a part of the Mach-O file's code signature runs past its end")
        found.append(Blob(slot=slot, at=start + offset, size=blob_size))
    return tuple(found)


def _numbers(file: MachO, layout: str, at: int, end: int) -> tuple[int, ...]:
    if at + struct.calcsize(layout) > end:
        raise BadBinaryError("the code signature of the Mach-O file is cut off")
    return struct.unpack_from(layout, file.data, at)


def directories(file: MachO) -> Iterator[Directory]:
    """Yield every code directory; old systems read the first, newer ones the best hash."""
    for blob in blobs(file):
        if blob.slot == _SLOT_DIRECTORY or blob.slot in _SLOT_ALTERNATES:
            yield _directory(file, blob)


def _directory(file: MachO, blob: Blob) -> Directory:
    end = blob.at + blob.size
    (
        magic,
        _,
        version,
        flags,
        hashes,
        identifier,
        special,
        pages,
        limit,
        hash_size,
        hash_type,
        _,
        shift,
        _,
    ) = _numbers(file, _HEADER, blob.at, end)
    scatter = _numbers(file, ">I", blob.at + 44, end)[0] if version >= _SCATTERED else 0
    if version >= _LONG_LIMIT:
        limit = _numbers(file, ">Q", blob.at + 56, end)[0] or limit
    name_end = file.data.find(b"\0", blob.at + identifier, end)
    inside = special * hash_size <= hashes and hashes + pages * hash_size <= blob.size
    if magic != _DIRECTORY or not inside or name_end < 0 or limit > len(file.data):
        raise BadBinaryError("a code directory of the Mach-O file is damaged")
    return Directory(
        at=blob.at,
        flags=flags,
        hashes=blob.at + hashes,
        identifier=file.data[blob.at + identifier : name_end],
        special=special,
        pages=pages,
        limit=limit,
        hash_size=hash_size,
        hash_type=hash_type,
        page_size=1 << (shift & 63) if shift else max(limit, 1),
        scattered=bool(scatter),
    )


def problems(data: bytes) -> tuple[str, ...]:
    """Return what macOS would find wrong with the signatures of a file, slice by slice.

    No signature is no problem here; :attr:`Image.signature` says whether there is one.
    """
    return tuple(
        f"{part.arch}: {problem}"
        for part in slices(data)
        if isinstance(part, MachO)
        for problem in _problems(part)
    )


def _problems(file: MachO) -> Iterator[str]:
    place = file.linkedit(Lc.CODE_SIGNATURE)
    if place is None:
        return
    start, size = place
    if start % ALIGNMENT:
        yield "the signature is not aligned to 16 bytes"
    linkedit = _linkedit(file)
    if linkedit is None or not (
        start + size == linkedit.fileoff + linkedit.filesize == len(file.data)
    ):
        yield "the signature does not end __LINKEDIT and the file"
    parts = {blob.slot: file.data[blob.at : blob.at + blob.size] for blob in blobs(file)}
    tables = tuple(directories(file))
    if not tables:
        yield "the signature has no code directory"
    for table in tables:
        yield from _directory_problems(file, table, parts, start)


def _directory_problems(
    file: MachO, table: Directory, parts: dict[int, bytes], start: int
) -> Iterator[str]:
    if table.limit != start:
        yield "the hashed bytes do not reach the signature"
    if not table.is_whole:
        yield "the hashes are of an unknown kind, or not as many as pages"
        return
    _, digest = _HASHES[table.hash_type]
    for index in range(table.pages):
        at = table.hashes + index * table.hash_size
        if file.data[at : at + table.hash_size] != digest(table.page(file.data, index)):
            yield f"the hash of page {index} is wrong"
    for slot in range(1, table.special + 1):
        at = table.hashes - slot * table.hash_size
        found = file.data[at : at + table.hash_size]
        wanted = digest(parts[slot]) if slot in parts else bytes(table.hash_size)
        if found != wanted and (slot in parts or slot not in _MAY_BE_ABSENT):
            yield f"the hash of special slot {slot} is wrong"


def renew(old: MachO, out: bytearray, touched: int) -> bool:
    """Renew the hashes of the pages that cover the first ``touched`` bytes; False if impossible.

    ``out`` is the edited slice; nothing but hashes is changed.
    """
    place = old.linkedit(Lc.CODE_SIGNATURE)
    tables = tuple(directories(old))
    if place is None or not tables:
        return False
    limit = place[0]
    if touched > limit or not all(
        t.is_whole and t.limit == limit and t.flags & _CS_ADHOC for t in tables
    ):
        return False
    for table in tables:
        _, digest = _HASHES[table.hash_type]
        for index in range(-(-touched // table.page_size)):
            at = table.hashes + index * table.hash_size
            out[at : at + table.hash_size] = digest(table.page(out, index))
    return True


def _identifier(file: MachO) -> bytes:
    """Return the identifier that the signature of a slice has."""
    return next((table.identifier for table in directories(file)), b"") or _made_up(file)


def _made_up(file: MachO) -> bytes:
    """Return an identifier like those that codesign makes up."""
    uuid = file.first(Lc.UUID)
    name = PurePosixPath(file.name).name.partition(".")[0] or "unnamed"
    return f"{name}-55554944{uuid.raw[8:24].hex() if uuid else ''}".encode(errors="replace")


def signed(file: MachO) -> bytes:
    """Return a slice with a whole new ad-hoc signature, and the old one's identifier.

    The load command must be there, with room in its header for it (see ``macho_edit``).
    """
    command = file.first(Lc.CODE_SIGNATURE)
    linkedit = _linkedit(file)
    assert command is not None
    if linkedit is None or linkedit.fileoff + linkedit.filesize != len(file.data):
        raise CannotEditError(
            "the Mach-O file has bytes behind __LINKEDIT, where its signature must stand",
            hint="strip it, or let Apple's codesign sign it before the repair",
        )
    start, _ = file.numbers(command, "II")
    identifier = _identifier(file) if start else _made_up(file)
    if not start:
        start = len(file.data) + -len(file.data) % ALIGNMENT
    out = bytearray(file.data[:start].ljust(start, b"\0"))
    size = _signature_size(start, identifier)
    struct.pack_into(file.order + "II", out, command.at + 8, start, size)
    _stretch(file, out, linkedit, start + size)
    out += _signature(file, bytes(out), identifier).ljust(size, b"\0")
    return bytes(out)


def _linkedit(file: MachO) -> Segment | None:
    return next((s for s in file.segments if s.name == b"__LINKEDIT"), None)


def _stretch(file: MachO, out: bytearray, linkedit: Segment, end: int) -> None:
    """Let __LINKEDIT reach up to an end, in the file and in memory."""
    filesize = end - linkedit.fileoff
    page = 0x4000 if file.arch.startswith("arm64") else 0x1000
    vmsize = max(linkedit.vmsize, filesize + -filesize % page)
    word = file.order + ("Q" if file.wide else "I")
    width = struct.calcsize(word)
    at = linkedit.at + SEGMENT_NUMBERS
    struct.pack_into(word, out, at + width, vmsize)
    struct.pack_into(word, out, at + 3 * width, filesize)


_NEW_VERSION = 0x20400
_NEW_HEADER_SIZE = 88
_NEW_SHIFT = 12
_NEW_SPECIAL = 2
_SHA256 = 2


def _signature_size(limit: int, identifier: bytes) -> int:
    pages = -(-limit // (1 << _NEW_SHIFT))
    directory = _NEW_HEADER_SIZE + len(identifier) + 1 + 32 * (_NEW_SPECIAL + pages)
    size = 12 + 3 * 8 + directory + 12 + _EMPTY_WRAPPER
    return size + -size % ALIGNMENT


def _signature(file: MachO, hashed: bytes, identifier: bytes) -> bytes:
    """Return a SuperBlob: a code directory, no requirements, no CMS, as codesign writes it."""
    requirements = struct.pack(">III", _REQUIREMENTS, 12, 0)
    special = hashlib.sha256(requirements).digest() + bytes(32)
    pages = [
        hashlib.sha256(hashed[at : at + (1 << _NEW_SHIFT)]).digest()
        for at in range(0, len(hashed), 1 << _NEW_SHIFT)
    ]
    hash_offset = _NEW_HEADER_SIZE + len(identifier) + 1 + len(special)
    text = next((s for s in file.segments if s.name == b"__TEXT"), None)
    numbers = (
        *(_DIRECTORY, hash_offset + 32 * len(pages), _NEW_VERSION, _CS_ADHOC),
        *(hash_offset, _NEW_HEADER_SIZE, _NEW_SPECIAL, len(pages), len(hashed)),
        *(32, _SHA256, 0, _NEW_SHIFT, 0),
        *(0, 0, 0, 0),  # scatter, team, spare, long limit
        *((text.fileoff, text.filesize) if text else (0, 0)),
        int(file.filetype == FileType.EXECUTE),  # CS_EXECSEG_MAIN_BINARY
    )
    header = struct.pack(_HEADER + "IIIQQQQ", *numbers)
    directory = header + identifier + b"\0" + special + b"".join(pages)
    parts = {
        _SLOT_DIRECTORY: directory,
        _SLOT_REQUIREMENTS: requirements,
        _SLOT_CMS: struct.pack(">II", _WRAPPER, _EMPTY_WRAPPER),
    }
    at = 12 + 8 * len(parts)
    index = b""
    for slot, part in parts.items():
        index += struct.pack(">II", slot, at)
        at += len(part)
    return struct.pack(">III", _EMBEDDED, at, len(parts)) + index + b"".join(parts.values())
