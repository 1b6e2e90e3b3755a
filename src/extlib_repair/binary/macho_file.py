"""The structure of a thin Mach-O file, or of one slice of a fat one: load commands, segments.

Of 32 and 64 bits, in both byte orders; fat files are ``macho_fat``.

Sources: Apple's ``mach-o/loader.h``, ``mach/machine.h``; what dyld demands of a file:
``mach_o/Header.cpp`` of dyld-1378.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
from enum import IntEnum
from typing import TYPE_CHECKING

from extlib_repair.errors import BadBinaryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extlib_repair.model import MacVersion

MAGIC = {
    b"\xfe\xed\xfa\xce": (">", False),  # MH_MAGIC
    b"\xce\xfa\xed\xfe": ("<", False),  # MH_CIGAM
    b"\xfe\xed\xfa\xcf": (">", True),  # MH_MAGIC_64
    b"\xcf\xfa\xed\xfe": ("<", True),  # MH_CIGAM_64
}
"""Byte order, and whether the file has 64 bits."""

_MOST_STRINGS = 16
"""How many times the size of the file its names may add up to."""


class Lc(IntEnum):
    """Load commands that are read here. LC_REQ_DYLD (0x80000000) is part of the number."""

    SYMTAB = 0x2
    LOAD_DYLIB = 0xC
    ID_DYLIB = 0xD
    SEGMENT = 0x1
    SEGMENT_64 = 0x19
    UUID = 0x1B
    CODE_SIGNATURE = 0x1D
    LAZY_LOAD_DYLIB = 0x20
    DYLD_INFO = 0x22
    VERSION_MIN_MACOSX = 0x24
    BUILD_VERSION = 0x32
    LOAD_WEAK_DYLIB = 0x80000018
    RPATH = 0x8000001C
    REEXPORT_DYLIB = 0x8000001F
    DYLD_INFO_ONLY = 0x80000022
    LOAD_UPWARD_DYLIB = 0x80000023
    EXPORTS_TRIE = 0x80000033
    CHAINED_FIXUPS = 0x80000034


NEEDS = frozenset(
    {
        Lc.LOAD_DYLIB,
        Lc.LOAD_WEAK_DYLIB,
        Lc.REEXPORT_DYLIB,
        Lc.LAZY_LOAD_DYLIB,
        Lc.LOAD_UPWARD_DYLIB,
    }
)
"""The commands that library ordinals count."""

DYLIB_FIXED = 24
"""The size of ``struct dylib_command``: the name follows."""

RPATH_FIXED = 12
"""The size of ``struct rpath_command``."""

_DYLIB_USE_MARKER = 0x1A741800
"""``struct dylib_use_command``: a marker in the place of the time stamp, and flags at 24."""

_DYLIB_USE_FIXED = 28


class FileType(IntEnum):
    """Values of ``filetype``."""

    EXECUTE = 2
    DYLIB = 6
    BUNDLE = 8


LOADABLE = frozenset(FileType)

MH_TWOLEVEL = 0x80

_ARCH = {
    7: "i386",
    0x01000007: "x86_64",
    12: "arm",
    0x0100000C: "arm64",
    0x0200000C: "arm64_32",
    18: "ppc",
    0x01000012: "ppc64",
}
_SPECIAL_ARCH = {(0x01000007, 8): "x86_64h", (0x0100000C, 2): "arm64e"}
SUBTYPE_MASK = 0x00FFFFFF  # CPU_SUBTYPE_MASK: the rest are capabilities


def version(number: int) -> MacVersion:
    """Return a version, which is stored as ``xxxx.yy.zz`` in one number."""
    return number >> 16, number >> 8 & 0xFF, number & 0xFF


def arch_name(cputype: int, subtype: int) -> str:
    """Return the name of an architecture as Apple's tools spell it."""
    special = _SPECIAL_ARCH.get((cputype, subtype & SUBTYPE_MASK))
    return special or _ARCH.get(cputype, f"cpu-{cputype}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A load command: its number, its bytes, where it stands in the slice."""

    cmd: int
    raw: bytes
    at: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A segment command, and the file offsets at which its sections begin."""

    name: bytes
    vmaddr: int
    vmsize: int
    fileoff: int
    filesize: int
    is_mapped: bool
    """Not so ``__LLVM``, and ``__DWARF`` of Go: without memory and without protection."""

    sections: tuple[int, ...]
    at: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dylib:
    """A command that names a library."""

    command: Command
    name: str
    fixed: int
    """Where the name begins; what stands before it must be kept."""

    weak: bool
    reexported: bool
    compatibility: MacVersion


_SEGMENT = {
    # segment: vmaddr vmsize fileoff filesize maxprot initprot nsects flags (the name is at 8);
    # length of a section, where its offset stands, where its flags stand
    Lc.SEGMENT: ("IIIIiiII", 68, 40, 56),
    Lc.SEGMENT_64: ("QQQQiiII", 80, 48, 64),
}
SEGMENT_NUMBERS = 24
"""Where the numbers of a segment command begin."""

_SECTION_TYPES_WITHOUT_BYTES = frozenset({0x1, 0xC, 0x12})
"""S_ZEROFILL, S_GB_ZEROFILL, S_THREAD_LOCAL_ZEROFILL."""


class MachO:
    """One slice, or a thin file, in memory.

    Raises :class:`BadBinaryError`, from the constructor and from every method, where something
    points outside the slice or does not make sense.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._read_in_strings = 0
        if data[:4] not in MAGIC:
            raise BadBinaryError("not a Mach-O file")
        self.order, self.wide = MAGIC[data[:4]]
        self.header_size = 32 if self.wide else 28
        _, self.cputype, self.subtype, self.filetype, count, size, self.flags = self.unpack(
            "7I", 0, len(data)
        )
        self.commands_end = self.header_size + size
        if self.commands_end > len(data):
            raise BadBinaryError(f"{size} bytes of load commands do not fit into the Mach-O file")
        self.commands = tuple(self._read_commands(count))
        self.segments = tuple(self._read_segments())
        if self.is_loadable:
            self._check_segments()

    @property
    def arch(self) -> str:
        """The architecture as Apple's tools spell it."""
        return arch_name(self.cputype, self.subtype)

    @property
    def is_loadable(self) -> bool:
        """Whether dyld loads such files: programs, libraries, bundles."""
        return self.filetype in LOADABLE

    def unpack(self, layout: str, offset: int, end: int) -> tuple[int, ...]:
        """Read a struct (format without byte order) at an offset, which must lie before an end."""
        width = struct.calcsize(self.order + layout)
        if offset < 0 or offset + width > min(end, len(self.data)):
            raise BadBinaryError(f"the Mach-O file ends before offset {offset + width}")
        return struct.unpack_from(self.order + layout, self.data, offset)

    def slice(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes at an offset."""
        if offset + size > len(self.data):
            raise BadBinaryError(f"{size} bytes at offset {offset} are outside the Mach-O file")
        return self.data[offset : offset + size]

    def spend(self, size: int) -> None:
        """Note how many bytes of names were read: they could overlap without end."""
        self._read_in_strings += size
        if self._read_in_strings > _MOST_STRINGS * (len(self.data) + 1024):
            raise BadBinaryError("the names in the Mach-O file overlap beyond all measure")

    def string(self, table: bytes, at: int) -> bytes:
        """Return the string at an offset of a table, up to its NUL."""
        end = table.find(b"\0", at) if at < len(table) else -1
        if end < 0:
            raise BadBinaryError(f"offset {at} is outside a string table of the Mach-O file")
        self.spend(end - at)
        return table[at:end]

    def first(self, *kinds: Lc) -> Command | None:
        """Return the first load command of some kinds, or None."""
        return next((c for c in self.commands if c.cmd in kinds), None)

    def numbers(self, command: Command, layout: str, at: int = 8) -> tuple[int, ...]:
        """Read a struct in a load command."""
        return self.unpack(layout, command.at + at, command.at + len(command.raw))

    def linkedit(self, *kinds: Lc) -> tuple[int, int] | None:
        """Return offset and size of what a ``struct linkedit_data_command`` points at."""
        command = self.first(*kinds)
        if command is None:
            return None
        offset, size = self.numbers(command, "II")
        self.slice(offset, size)
        return offset, size

    @functools.cached_property
    def dylibs(self) -> tuple[Dylib, ...]:
        """The libraries that ordinals count, in their order."""
        return tuple(self.dylib(c) for c in self.commands if c.cmd in NEEDS)

    @functools.cached_property
    def rpaths(self) -> tuple[str, ...]:
        """The LC_RPATH entries in their order."""
        return tuple(self._name(c, RPATH_FIXED)[0] for c in self.commands if c.cmd == Lc.RPATH)

    @functools.cached_property
    def own(self) -> Dylib | None:
        """The install name and its version (LC_ID_DYLIB), if there is one."""
        command = self.first(Lc.ID_DYLIB)
        return None if command is None else self.dylib(command)

    @property
    def name(self) -> str:
        """The install name, or the empty string."""
        return self.own.name if self.own else ""

    def dylib(self, command: Command) -> Dylib:
        """Read a command that names a library."""
        name, fixed = self._name(command, DYLIB_FIXED)
        weak, reexported = command.cmd == Lc.LOAD_WEAK_DYLIB, command.cmd == Lc.REEXPORT_DYLIB
        (marker,) = self.numbers(command, "I", 12)
        if marker == _DYLIB_USE_MARKER and fixed == _DYLIB_USE_FIXED:
            (flags,) = self.numbers(command, "I", 24)
            weak, reexported = weak or bool(flags & 1), reexported or bool(flags & 2)
        (compatibility,) = self.numbers(command, "I", 20)
        return Dylib(
            command=command,
            name=name,
            fixed=fixed,
            weak=weak,
            reexported=reexported,
            compatibility=version(compatibility),
        )

    @functools.cached_property
    def content_start(self) -> int:
        """Where the first byte stands that load commands must not overwrite.

        Sections count even when they are empty: linkers place labels there.
        """
        starts = [offset for s in self.segments for offset in s.sections]
        starts += [s.fileoff for s in self.segments if s.fileoff and s.filesize]
        return min(starts, default=self.commands_end)

    @functools.cached_property
    def header_room(self) -> int:
        """How many zero bytes stand between the load commands and the content."""
        room = self.data[self.commands_end : self.content_start]
        return len(room) - len(room.lstrip(b"\0"))

    def _name(self, command: Command, least: int) -> tuple[str, int]:
        """Return the string of a command (``union lc_str``), and where it begins in it."""
        (at,) = self.numbers(command, "I")
        end = command.raw.find(b"\0", at)
        if at < least or end < 0:
            raise BadBinaryError("a name in the load commands of the Mach-O file has no end")
        return command.raw[at:end].decode("utf-8", "surrogateescape"), at

    def _read_commands(self, count: int) -> Iterator[Command]:
        at = self.header_size
        for _ in range(count):
            cmd, size = self.unpack("II", at, self.commands_end)
            if size < 8 or size % 4 or at + size > self.commands_end:  # noqa: PLR2004
                raise BadBinaryError("a load command runs past the header of the Mach-O file")
            yield Command(cmd=cmd, raw=self.data[at : at + size], at=at)
            at += size

    def _read_segments(self) -> Iterator[Segment]:
        kind = Lc.SEGMENT_64 if self.wide else Lc.SEGMENT
        layout, width, offset_at, flags_at = _SEGMENT[kind]
        start = SEGMENT_NUMBERS + struct.calcsize(self.order + layout)
        for command in self.commands:
            if command.cmd != kind:
                continue
            numbers = self.numbers(command, layout, SEGMENT_NUMBERS)
            vmaddr, vmsize, fileoff, filesize, _, protection, count, _ = numbers
            if start + count * width > len(command.raw):
                raise BadBinaryError(f"{count} sections do not fit into their load command")
            sections = []
            for at in range(start, start + count * width, width):
                (offset,) = self.numbers(command, "I", at + offset_at)
                (flags,) = self.numbers(command, "I", at + flags_at)
                if offset and flags & 0xFF not in _SECTION_TYPES_WITHOUT_BYTES:
                    sections.append(offset)
            yield Segment(
                name=command.raw[8:24].rstrip(b"\0"),
                vmaddr=vmaddr,
                vmsize=vmsize,
                fileoff=fileoff,
                filesize=filesize,
                is_mapped=bool(vmsize or protection),
                sections=tuple(sections),
                at=command.at,
            )

    def _check_segments(self) -> None:
        """Refuse what dyld refuses (``validSegment``, ``validSemanticsSegments``)."""
        for segment in self.segments:
            if segment.fileoff + segment.filesize > len(self.data):
                raise BadBinaryError("a segment is outside the Mach-O file")
            if segment.filesize > segment.vmsize and segment.is_mapped:
                raise BadBinaryError("a segment of the Mach-O file is larger there than in memory")
        in_file = [(s.fileoff, s.filesize) for s in self.segments if s.filesize]
        in_memory = [(s.vmaddr, s.vmsize) for s in self.segments if s.vmsize]
        if overlap(in_file) or overlap(in_memory):
            raise BadBinaryError("segments of the Mach-O file overlap")
        if not any(s.fileoff == 0 and s.filesize >= self.commands_end for s in self.segments):
            raise BadBinaryError("no segment of the Mach-O file holds its load commands")
        if self.content_start < self.commands_end:
            raise BadBinaryError("the load commands of the Mach-O file overlap its code")


def overlap(spans: Sequence[tuple[int, int]]) -> bool:
    """Whether two of some spans (offset and size) share a byte."""
    end = 0
    for start, size in sorted(spans):
        if start < end:
            return True
        end = start + size
    return False
