"""The structure of a PE file: headers, data directories, sections, the tables behind them.

PE32 and PE32+. What is read is kept in mind (:attr:`PeFile.taken`), so that an edit can see who
else uses some bytes.

Sources: Microsoft's "PE Format" specification, whose sections are named below, and the structures
of ``winnt.h`` and ``delayimp.h``. What Windows does with a file is said where it differs.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

from extlib_repair.errors import BadBinaryError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"MZ"
_SIGNATURE = b"PE\0\0"

_LFANEW_AT = 0x3C
_LEAST_LFANEW, _LFANEW_END = 4, 1 << 28
"""Where Windows looks for the PE header: behind the magic, in the first 256 MiB
(RTL_IMAGE_MAX_DOS_HEADER), at a multiple of 4."""

_COFF_SIZE = 20
_PE32, _PE32_PLUS = 0x10B, 0x20B
_DIRECTORIES = 16
"""IMAGE_NUMBEROF_DIRECTORY_ENTRIES: Windows reads no more, whatever NumberOfRvaAndSizes says."""

SECTION_SIZE = 40
_SECTOR = 512
"""Windows reads sections from whole sectors, and rounds PointerToRawData down to one."""

_EXPORTS_SIZE, _IMPORT_SIZE, _DELAY_SIZE = 40, 20, 32
_SYMBOL_SIZE = 18
_DELAY_BY_RVA = 1
"""``dlattrRva``: the older form, of 32 bits, has addresses where RVAs stand today."""

_MOST_READ = 16
"""How many times the size of the file what is read may add up to: tables could overlap without
end."""


class Directory(IntEnum):
    """Data directories ("Optional Header Data Directories")."""

    EXPORT = 0
    IMPORT = 1
    CERTIFICATE = 4
    DEBUG = 6
    LOAD_CONFIG = 10
    BOUND_IMPORT = 11
    IAT = 12
    DELAY_IMPORT = 13


class SectionFlag(IntFlag):
    """What a section holds and how it is mapped ("Section Flags")."""

    CODE = 0x20
    INITIALIZED_DATA = 0x40
    DISCARDABLE = 0x02000000
    EXECUTE = 0x20000000
    READ = 0x40000000
    WRITE = 0x80000000


class Characteristic(IntFlag):
    """What kind of file it is ("Characteristics" of the COFF header)."""

    DLL = 0x2000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A row of the section table, and where it stands."""

    address: int
    virtual_size: int
    offset: int
    raw_size: int
    stored: int
    """How many bytes of the file are mapped: no more than the pages of the section hold."""

    flags: int
    at: int

    @property
    def size(self) -> int:
        """How many bytes are mapped, before they are filled up to whole pages."""
        return self.virtual_size or self.raw_size

    @property
    def extent(self) -> int:
        """Up to where RVAs lead into the section."""
        return max(self.virtual_size, self.stored)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A library that a file imports from, in the words of one of the two tables."""

    name: bytes
    name_rva: int
    name_field: int
    """The offset of the number that leads to the name."""

    base: int
    """What is to be taken from such a number to get an RVA: 0, but for old delay imports."""

    names: int
    """The RVA of the table that says what is imported."""

    delayed: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """An export directory ("Export Directory Table")."""

    name: bytes
    functions: frozenset[int]
    """The ordinals under which there is something."""

    names: tuple[bytes, ...]
    """Sorted as in the file."""


def header_place(start: bytes) -> int | None:
    """Return where the PE header of a file with these first bytes must stand, if it can."""
    if start[:2] != MAGIC or len(start) < _LFANEW_AT + 4:
        return None
    at = int.from_bytes(start[_LFANEW_AT : _LFANEW_AT + 4], "little")
    return at if _LEAST_LFANEW <= at < _LFANEW_END and at % 4 == 0 else None


def is_pe(start: bytes) -> bool:
    """Whether the first bytes, 64 at least, promise a PE file.

    Programs for DOS and 16-bit Windows have the same magic; they are no binaries.
    """
    at = header_place(start)
    return at is not None and _SIGNATURE.startswith(start[at : at + 4])


class PeFile:
    """A PE file in memory.

    Raises :class:`BadBinaryError`, from the constructor and from every method, where something
    points outside the file or does not make sense.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.taken: list[tuple[int, int]] = []
        """Begin and end of everything that was read through an RVA."""

        self._read = 0
        at = header_place(data)
        if at is None or data[at : at + 4] != _SIGNATURE:
            raise BadBinaryError("not a PE file: it has no PE header")
        self.header_at = at
        self._read_coff_header()
        self._read_optional_header()
        self.sections = tuple(self._read_sections())

    def _read_coff_header(self) -> None:
        """Read "COFF File Header (Object and Image)"."""
        fields = self.unpack("HHIIIHH", self.header_at + 4)
        self.machine, count, _, symbols, symbol_count, optional_size, self.characteristics = fields
        self._symbols = (symbols, symbol_count)
        self.optional_at = self.header_at + 4 + _COFF_SIZE
        self.optional_size = optional_size
        self.sections_at = self.optional_at + optional_size
        self.sections_end = self.sections_at + count * SECTION_SIZE
        if self.sections_end > len(self.data):
            raise BadBinaryError(f"{count} section headers do not fit into the PE file")

    def _read_optional_header(self) -> None:
        """Read "Optional Header (Image Only)"."""
        (magic,) = self.unpack("H", self.optional_at)
        if magic not in {_PE32, _PE32_PLUS}:
            raise BadBinaryError(f"the PE file has an optional header of the kind {magic:#x}")
        self.wide = magic == _PE32_PLUS
        fixed = 112 if self.wide else 96
        if self.optional_size < fixed:
            raise BadBinaryError("the optional header of the PE file is too small")
        at = self.optional_at
        (self.image_base,) = self.unpack("Q", at + 24) if self.wide else self.unpack("I", at + 28)
        self.section_alignment, self.file_alignment = self.unpack("II", at + 32)
        self.image_size, self.headers_size, self.checksum = self.unpack("III", at + 56)
        (self.subsystem,) = self.unpack("H", at + 68)
        for alignment in (self.section_alignment, self.file_alignment):
            if not alignment or alignment & (alignment - 1):
                raise BadBinaryError(f"parts of PE files are not aligned to {alignment}")
        (count,) = self.unpack("I", at + fixed - 4)
        count = min(count, _DIRECTORIES)
        if fixed + 8 * count > self.optional_size:
            raise BadBinaryError(f"{count} data directories do not fit into the PE file's header")
        self.directories_at = at + fixed
        numbers = self.unpack(f"{2 * count}I", self.directories_at)
        self.directories = tuple(zip(numbers[::2], numbers[1::2], strict=True))

    def _read_sections(self) -> Iterator[Section]:
        """Read "Section Table (Section Headers)"; refuse what Windows does not map."""
        end = 0
        for at in range(self.sections_at, self.sections_end, SECTION_SIZE):
            size, address, raw_size, offset = self.unpack("IIII", at + 8)
            (flags,) = self.unpack("I", at + 36)
            if not offset:
                raw_size = 0
            if self.section_alignment >= _SECTOR:
                offset -= offset % _SECTOR
            pages = size + -size % self.section_alignment
            section = Section(
                address=address,
                virtual_size=size,
                offset=offset,
                raw_size=raw_size,
                stored=min(raw_size, pages) if size else raw_size,
                flags=flags,
                at=at,
            )
            if raw_size and offset + raw_size > len(self.data):
                raise BadBinaryError("a section is outside the PE file")
            if address < end or address + section.size > 1 << 32:
                raise BadBinaryError("sections of the PE file overlap in memory")
            end = address + section.size
            yield section

    @property
    def checksum_at(self) -> int:
        """The offset of the checksum."""
        return self.optional_at + 64

    def directory(self, which: Directory) -> tuple[int, int]:
        """Return place and size of a data directory; zeros where there is none."""
        return self.directories[which] if which < len(self.directories) else (0, 0)

    def unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        """Read a struct (format without byte order) at an offset."""
        width = struct.calcsize("<" + layout)
        if offset < 0 or offset + width > len(self.data):
            raise BadBinaryError(f"the PE file ends before offset {offset + width}")
        return struct.unpack_from("<" + layout, self.data, offset)

    def place(self, rva: int) -> tuple[int, int]:
        """Return the offset of what is mapped to an RVA, and up to which offset it goes on."""
        for section in self.sections:
            if section.address <= rva < section.address + section.extent:
                within = rva - section.address
                if within >= section.stored:
                    raise BadBinaryError(f"RVA {rva:#x} is not stored in the PE file")
                return section.offset + within, section.offset + section.stored
        end = min(self.headers_size, len(self.data))
        if rva >= end:
            raise BadBinaryError(f"RVA {rva:#x} is outside the sections of the PE file")
        return rva, end

    def _take(self, start: int, end: int) -> None:
        """Note that bytes were read; no two tables need the same ones many times."""
        self.taken.append((start, end))
        self._read += end - start
        if self._read > _MOST_READ * (len(self.data) + 1024):
            raise BadBinaryError("the tables of the PE file overlap beyond all measure")

    def numbers(self, layout: str, rva: int) -> tuple[int, ...]:
        """Read a struct at an RVA."""
        at, end = self.place(rva)
        width = struct.calcsize("<" + layout)
        if at + width > end:
            raise BadBinaryError(f"a table at RVA {rva:#x} runs out of the PE file")
        self._take(at, at + width)
        return struct.unpack_from("<" + layout, self.data, at)

    def string(self, rva: int) -> bytes:
        """Return the string at an RVA, up to its NUL."""
        at, limit = self.place(rva)
        end = self.data.find(b"\0", at, limit)
        if end < 0:
            raise BadBinaryError(f"the string at RVA {rva:#x} has no end in the PE file")
        self._take(at, end + 1)
        return self.data[at:end]

    def _strings(self, rvas: tuple[int, ...]) -> list[bytes]:
        """Return many strings, most often all in one section: ten thousand and more."""
        if not rvas:
            return []
        at, limit = self.place(min(rvas))
        distance = at - min(rvas)
        if max(rvas) + distance >= limit:
            return [self.string(rva) for rva in rvas]
        find, data, found = self.data.find, self.data, []
        for rva in rvas:
            start = rva + distance
            end = find(b"\0", start, limit)
            if end < 0:
                raise BadBinaryError(f"the string at RVA {rva:#x} has no end in the PE file")
            self._take(start, end + 1)
            found.append(data[start:end])
        return found

    @functools.cached_property
    def imports(self) -> tuple[Descriptor, ...]:
        """The libraries of "The .idata Section", then "Delay-Load Import Tables"."""
        return (*self._import_descriptors(), *self._delay_descriptors())

    def _import_descriptors(self) -> Iterator[Descriptor]:
        """Yield ``IMAGE_IMPORT_DESCRIPTOR``, up to one without a name.

        Windows looks at the place of the directory, never at its size.
        """
        rva, _ = self.directory(Directory.IMPORT)
        while rva:
            lookup, _, _, name, addresses = self.numbers("5I", rva)
            if not name or not addresses:
                return
            # Borland's linkers wrote no lookup table; the addresses are names until they are bound.
            names = lookup if lookup >= self.headers_size else addresses
            yield self._descriptor(rva + 12, name, 0, names, delayed=False)
            rva += _IMPORT_SIZE

    def _delay_descriptors(self) -> Iterator[Descriptor]:
        """Yield ``ImgDelayDescr``, up to one without a name."""
        rva, _ = self.directory(Directory.DELAY_IMPORT)
        while rva:
            attributes, name, _, _, names, _, _, _ = self.numbers("8I", rva)
            if not name:
                return
            base = 0 if attributes & _DELAY_BY_RVA or self.wide else self.image_base
            if min(name, names) < base:
                raise BadBinaryError("a delay import of the PE file lies before the image")
            yield self._descriptor(rva + 4, name - base, base, names - base, delayed=True)
            rva += _DELAY_SIZE

    def _descriptor(
        self, field: int, name: int, base: int, names: int, *, delayed: bool
    ) -> Descriptor:
        return Descriptor(
            name=self.string(name),
            name_rva=name,
            name_field=self.place(field)[0],
            base=base,
            names=names,
            delayed=delayed,
        )

    def imported(self, descriptor: Descriptor) -> Iterator[bytes | int]:
        """Yield what is imported from a library ("Import Lookup Table"): names, and ordinals."""
        at, limit = self.place(descriptor.names)
        layout, width = ("<Q", 8) if self.wide else ("<I", 4)
        by_ordinal = 1 << (8 * width - 1)
        while at + width <= limit:
            (value,) = struct.unpack_from(layout, self.data, at)
            self._take(at, at + width)
            at += width
            if not value:
                return
            if value & by_ordinal:
                yield value & 0xFFFF
            else:
                # Old delay imports have addresses here, too; a hint of 16 bits stands first.
                rva = value - descriptor.base
                self.numbers("H", rva)
                yield self.string(rva + 2)
        raise BadBinaryError("a list of imports runs out of the PE file")

    @functools.cached_property
    def exports(self) -> Exports | None:
        """What other images can bind to ("The .edata Section"), forwarders included."""
        rva, _ = self.directory(Directory.EXPORT)
        if not rva:
            return None
        numbers = self.numbers("IIHHIIIIIII", rva)
        name, base, function_count, name_count, functions, names, ordinals = numbers[4:]
        addresses = self._table("I", functions, function_count)
        indexes = self._table("H", ordinals, name_count)
        if indexes and max(indexes) >= function_count:
            raise BadBinaryError("an exported name of the PE file leads to no function")
        pointers = self._table("I", names, name_count)
        # A name whose function has no address is not exported.
        used = tuple(p for p, index in zip(pointers, indexes, strict=True) if addresses[index])
        return Exports(
            name=self.string(name) if name else b"",
            functions=frozenset(base + i for i, address in enumerate(addresses) if address),
            names=tuple(self._strings(used)),
        )

    def _table(self, item: str, rva: int, count: int) -> tuple[int, ...]:
        if count > len(self.data):
            raise BadBinaryError(f"a table of {count} rows does not fit into the PE file")
        return self.numbers(f"{count}{item}", rva) if count else ()

    @property
    def load_flags_at(self) -> int | None:
        """The offset of ``DependentLoadFlags``, or None: "The Load Configuration Structure".

        The structure grew with the versions of Windows, and says of itself how large it is.
        """
        rva, _ = self.directory(Directory.LOAD_CONFIG)
        if not rva:
            return None
        (size,) = self.numbers("I", rva)
        within = 78 if self.wide else 54
        if size < within + 2:
            return None
        self.numbers("H", rva + within)
        return self.place(rva + within)[0]

    @property
    def load_flags(self) -> int:
        """``DependentLoadFlags``: 0 where there are none."""
        at = self.load_flags_at
        return 0 if at is None else self.unpack("H", at)[0]

    @property
    def certificates(self) -> tuple[int, int] | None:
        """Where "The Attribute Certificate Table" begins and ends: the one table by file offset."""
        at, size = self.directory(Directory.CERTIFICATE)
        if not at or not size:
            return None
        if at + size > len(self.data):
            raise BadBinaryError("the certificates are outside the PE file")
        return at, at + size

    @property
    def symbol_spans(self) -> tuple[tuple[int, int], ...]:
        """Where "COFF Symbol Table" and "COFF String Table" begin and end.

        GNU ld leaves them in a file that was not stripped.
        """
        at, count = self._symbols
        if not at:
            return ()
        strings = at + count * _SYMBOL_SIZE
        (size,) = self.unpack("I", strings)
        return ((at, strings + max(4, size)),)

    @property
    def content_end(self) -> int:
        """Where sections and symbols end: what stands behind is not Windows' business."""
        ends = [s.offset + s.raw_size for s in self.sections if s.raw_size]
        return max([self.sections_end, *ends, *(end for _, end in self.symbol_spans)])


def checksum(data: bytes, at: int) -> int:
    """Return the checksum of a PE file whose checksum stands at an offset.

    Documented for ``CheckSumMappedFile``: the 16-bit words are added, with every carry added again,
    and the length of the file to that; the old checksum counts as 0. Adding so is counting modulo
    0xFFFF, of a number of which no word is lost.
    """
    number = int.from_bytes(data[:at] + bytes(4) + data[at + 4 :], "little")
    words = number % 0xFFFF or (0xFFFF if number else 0)
    return words + len(data) & 0xFFFFFFFF
