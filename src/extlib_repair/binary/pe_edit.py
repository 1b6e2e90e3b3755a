"""PE: rename needed libraries, clear load flags, take signatures off.

A new name stands where the old one stood, if it is not longer and nothing else uses those bytes;
else in zero bytes that a section has in the file but not in memory; else in a new section. Every
other byte stays, but for the numbers that lead there, and the checksum.

Sources: Microsoft's "PE Format" specification, whose sections are named below.
"""

from __future__ import annotations

import collections
import dataclasses
import struct
from typing import TYPE_CHECKING

from extlib_repair.binary import pe
from extlib_repair.binary.pe_file import (
    SECTION_SIZE,
    Directory,
    PeFile,
    SectionFlag,
    checksum,
)
from extlib_repair.errors import BadBinaryError, CannotEditError
from extlib_repair.model import DropSignature, Kind, Signature, applied

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extlib_repair.binary.pe_file import Descriptor, Section
    from extlib_repair.model import BinaryEdit, Image

SIGNED_HINT = "--drop-signature takes the signature away"
ROOM_HINT = (
    "link it again with room for one more section header: a larger --file-alignment (GNU ld) or "
    "/FILEALIGN (Microsoft's linker) makes it"
)
OVERLAY_HINT = "data that is appended to the file, as installers do, must stay at its end"

_PAGE = 4096
_MOST_ALIGNMENT = 1 << 16
"""The largest "FileAlignment" of the specification."""

_LARGEST_IMAGE = 1 << 31
_MOST_SECTIONS = 96
"""What Windows took before Vista, and what other tools still take for the limit."""

_NEW_SECTION = b".extlib"
_NEW_FLAGS = SectionFlag.INITIALIZED_DATA | SectionFlag.READ
_UNUSABLE = SectionFlag.CODE | SectionFlag.EXECUTE | SectionFlag.DISCARDABLE

_WITH_NAMES_IN_THEM = frozenset({Directory.EXPORT, Directory.IMPORT, Directory.DELAY_IMPORT})
"""Directories that linkers let reach over names of needed libraries. What is really in them is
known, since it was read."""


def edit(data: bytes, edits: Sequence[BinaryEdit]) -> bytes:
    """Return the file with the edits applied; the same bytes when they hold already.

    Raises :class:`BadBinaryError` and :class:`CannotEditError`.
    """
    file = PeFile(data)
    image = pe.image_of(file)
    wanted = applied(image, edits)
    if wanted == image:
        return data
    _check(file, image, wanted, edits)
    edited = _written(file, image, wanted)
    try:
        found = pe.image_of(PeFile(edited))
    except BadBinaryError as error:
        raise CannotEditError(
            f"the PE file would be damaged by the edit: {error}",
            hint="this file is laid out in an unusual way: link it anew",
        ) from error
    if found != wanted:
        raise CannotEditError(
            "the edited PE file would not say what was asked for",
            hint="this file is laid out in an unusual way: link it anew",
        )
    return edited


def _check(file: PeFile, image: Image, wanted: Image, edits: Sequence[BinaryEdit]) -> None:
    """Refuse what the format cannot hold, or Windows would not load."""
    if image.kind is Kind.OTHER:
        raise CannotEditError(
            "the PE file is not one that a process loads",
            hint="only programs, libraries and extension modules can be edited",
        )
    if wanted.run_path != image.run_path:
        raise CannotEditError("a PE file cannot have a run path: Windows knows none")
    if len(wanted.needed) > len(image.needed):
        raise CannotEditError(
            "a PE file cannot be made to need another library",
            hint="on Windows, Python code loads it before",
        )
    if image.signature is Signature.IDENTITY and not any(
        isinstance(one, DropSignature) for one in edits
    ):
        raise CannotEditError(
            "the PE file is signed, and an edit would break the signature", hint=SIGNED_HINT
        )
    _check_names(wanted)
    if applied(wanted, edits) != wanted:
        raise CannotEditError("the edits of the PE file contradict each other")
    if wanted.needed != image.needed and file.directory(Directory.BOUND_IMPORT)[0]:
        # Old versions of Windows take the libraries from there, by their old names.
        raise CannotEditError(
            "the PE file is bound to the addresses of its libraries",
            hint="link it anew, without BIND; no version of Windows since 8 uses that",
        )


def _check_names(wanted: Image) -> None:
    for name in wanted.needed:
        if not name or "\0" in name:
            raise CannotEditError(f"{name!a} cannot be stored as a name in a PE file")
    twice = sorted(n for n, count in collections.Counter(wanted.needed).items() if count > 1)
    if twice:
        raise CannotEditError(
            f"the PE file would need {', '.join(twice)} twice",
            hint="two libraries of this file became one: link it with that one alone",
        )


def _encoded(name: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise CannotEditError(f"{name!a} cannot be stored as bytes") from None


def _written(file: PeFile, image: Image, wanted: Image) -> bytes:
    checked = bool(file.checksum)
    if wanted.signature is not image.signature:
        file = PeFile(_unsigned(file))
        pe.image_of(file)  # notes again what is read
    out = bytearray(file.data)
    if wanted.load_flags != image.load_flags:
        assert file.load_flags_at is not None
        struct.pack_into("<H", out, file.load_flags_at, wanted.load_flags)
    new_names = dict(zip(image.needed, map(_encoded, wanted.needed), strict=True))
    _rename(file, out, {_encoded(old): new for old, new in new_names.items()})
    if checked:
        struct.pack_into("<I", out, file.checksum_at, checksum(bytes(out), file.checksum_at))
    return bytes(out)


def _unsigned(file: PeFile) -> bytes:
    """Return the file without "The Attribute Certificate Table", which must be its last part."""
    assert file.certificates is not None
    start, end = file.certificates
    if start < file.content_end or file.data[end:].strip(b"\0"):
        raise CannotEditError(
            "the signature of the PE file does not stand at its end", hint=OVERLAY_HINT
        )
    out = bytearray(file.data[:start])
    struct.pack_into("<II", out, file.directories_at + 8 * Directory.CERTIFICATE, 0, 0)
    return bytes(out)


def _rename(file: PeFile, out: bytearray, new_names: dict[bytes, bytes]) -> None:
    """Write new names in place where that is possible, and elsewhere the others."""
    groups: dict[int, list[Descriptor]] = collections.defaultdict(list)
    for descriptor in file.imports:
        if new_names[descriptor.name] != descriptor.name:
            groups[descriptor.name_rva].append(descriptor)
    elsewhere = []
    for rva, group in groups.items():
        old, new = group[0].name, new_names[group[0].name]
        at, _ = file.place(rva)
        if len(new) <= len(old) and _is_alone(file, at, len(old) + 1, len(group)):
            out[at : at + len(old)] = new.ljust(len(old), b"\0")
        else:
            elsewhere.append((group, new))
    rooms = [_Room(section=s, at=start, end=end) for s, start, end in _slack(file)]
    homeless = [one for one in elsewhere if not _placed(out, rooms, *one)]
    for room in rooms:
        size = max(room.section.virtual_size, room.at - room.section.offset)
        struct.pack_into("<I", out, room.section.at + 8, size)
    if homeless:
        _append(file, out, homeless)


def _is_alone(file: PeFile, at: int, size: int, users: int) -> bool:
    """Whether only some descriptors, and they as a whole, use the bytes of a name."""
    end = at + size
    spans = [span for span in _spans(file) if span[0] < end and span[1] > at]
    return spans == [(at, end)] * users


def _spans(file: PeFile) -> Iterator[tuple[int, int]]:
    """Yield begin and end of everything in the file that is known to be used."""
    yield from file.taken
    for index, (rva, size) in enumerate(file.directories):
        if rva and size and index not in _WITH_NAMES_IN_THEM | {Directory.CERTIFICATE}:
            try:
                start, _ = file.place(rva)
            except BadBinaryError:  # none of ours, and used by nobody
                continue
            yield start, start + size


@dataclasses.dataclass(slots=True, kw_only=True)
class _Room:
    """Zero bytes of a section that are still free."""

    section: Section
    at: int
    end: int


def _slack(file: PeFile) -> list[tuple[Section, int, int]]:
    """Return where sections are filled up in the file: read-only ones first.

    These bytes are mapped already, with the section's last page, and nothing can ask for them: they
    lie behind its "VirtualSize". That is raised over what is put there.
    """
    found = []
    spans = list(_spans(file))
    for section in sorted(file.sections, key=lambda s: bool(s.flags & SectionFlag.WRITE)):
        flags = section.flags
        if flags & _UNUSABLE or flags & _NEW_FLAGS != _NEW_FLAGS or not section.virtual_size:
            continue
        start = section.offset + section.virtual_size
        end = section.offset + section.stored
        if start < end and _is_free(file, section, spans, start, end):
            found.append((section, start, end))
    return found


def _is_free(
    file: PeFile, own: Section, spans: Sequence[tuple[int, int]], start: int, end: int
) -> bool:
    others = [(s.offset, s.offset + s.raw_size) for s in file.sections if s is not own]
    used = [*spans, *others, *file.symbol_spans]
    return not any(file.data[start:end]) and not any(a < end and b > start for a, b in used)


def _placed(
    out: bytearray, rooms: Sequence[_Room], group: Sequence[Descriptor], name: bytes
) -> bool:
    """Put a name into the first room that can hold it; False where none can."""
    for room in rooms:
        if len(name) < room.end - room.at:
            out[room.at : room.at + len(name)] = name
            _lead(out, group, room.section.address + room.at - room.section.offset)
            room.at += len(name) + 1
            return True
    return False


def _lead(out: bytearray, group: Sequence[Descriptor], rva: int) -> None:
    for descriptor in group:
        struct.pack_into("<I", out, descriptor.name_field, rva + descriptor.base & 0xFFFFFFFF)


def _append(
    file: PeFile, out: bytearray, names: Sequence[tuple[Sequence[Descriptor], bytes]]
) -> None:
    """Add a section that holds names, behind all others; raise "SizeOfImage" over it."""
    size = sum(len(name) + 1 for _, name in names)
    address = _check_can_grow(file, size)
    raw_size = _aligned(size, file.file_alignment)
    offset = _aligned(len(out), file.file_alignment)
    out.extend(bytes(offset - len(out)))
    rva = address
    for group, name in names:
        _lead(out, group, rva)
        rva += len(name) + 1
    out += b"".join(name + b"\0" for _, name in names).ljust(raw_size, b"\0")
    row = struct.pack("<8s4I12xI", _NEW_SECTION, size, address, raw_size, offset, _NEW_FLAGS)
    out[file.sections_end : file.sections_end + SECTION_SIZE] = row
    struct.pack_into("<H", out, file.header_at + 6, len(file.sections) + 1)
    (data_size,) = file.unpack("I", file.optional_at + 8)
    struct.pack_into("<I", out, file.optional_at + 8, data_size + raw_size & 0xFFFFFFFF)
    end = _aligned(address + size, file.section_alignment)
    struct.pack_into("<I", out, file.optional_at + 56, end)


def _check_can_grow(file: PeFile, size: int) -> int:
    """Return where one more section would be mapped; refuse files that cannot have one."""
    end = file.sections_end + SECTION_SIZE
    address = _aligned(
        max([0, *(s.address + s.size for s in file.sections)]), file.section_alignment
    )
    starts = [s.offset for s in file.sections if s.raw_size]
    spans = [*_spans(file), *file.symbol_spans]
    if (
        end > min([file.headers_size, *starts])
        or any(file.data[file.sections_end : end])
        or any(a < end and b > file.sections_end for a, b in spans)
        or not 0 < len(file.sections) < _MOST_SECTIONS
        or file.section_alignment < _PAGE  # then RVAs are offsets
        or file.file_alignment > _MOST_ALIGNMENT
        or _aligned(address + size, file.section_alignment) > _LARGEST_IMAGE
    ):
        raise CannotEditError("the PE file has no room for a longer name", hint=ROOM_HINT)
    if any(file.data[file.content_end :]):
        raise CannotEditError(
            "the PE file has no room for a longer name, and cannot grow: data follows its sections",
            hint=OVERLAY_HINT,
        )
    return address


def _aligned(number: int, alignment: int) -> int:
    return number + -number % alignment
