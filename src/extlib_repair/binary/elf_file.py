"""The structure of an ELF file: headers, segments, sections, the dynamic table, its strings.

The loader's view decides: segments and the dynamic table. Sections are read only where they help
and make sense, since they may be stripped or stale. 32 and 64 bits, both byte orders.

Sources: System V ABI (gABI) chapters 4 and 5, and the GNU extensions as in ``<elf.h>``.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
from enum import IntEnum
from typing import TYPE_CHECKING

from extlib_repair.errors import BadBinaryError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x7fELF"


class Type(IntEnum):
    """Values of ``e_type``."""

    REL = 1
    EXEC = 2
    DYN = 3
    CORE = 4


class Machine(IntEnum):
    """Values of ``e_machine`` that platform tags know, and one more with a special hash table."""

    I386 = 3
    PPC64 = 21
    S390 = 22
    ARM = 40
    X86_64 = 62
    AARCH64 = 183
    RISCV = 243
    LOONGARCH = 258
    ALPHA = 0x9026


class Pt(IntEnum):
    """Values of ``p_type``."""

    LOAD = 1
    DYNAMIC = 2
    INTERP = 3
    NOTE = 4


class Sht(IntEnum):
    """Values of ``sh_type``."""

    PROGBITS = 1
    STRTAB = 3
    HASH = 5
    NOBITS = 8
    DYNSYM = 11
    INIT_ARRAY = 14
    FINI_ARRAY = 15
    PREINIT_ARRAY = 16
    RELR = 19
    GNU_HASH = 0x6FFFFFF6
    VERDEF = 0x6FFFFFFD
    VERSYM = 0x6FFFFFFF


class Dt(IntEnum):
    """Values of ``d_tag``."""

    NULL = 0
    NEEDED = 1
    PLTRELSZ = 2
    HASH = 4
    STRTAB = 5
    SYMTAB = 6
    RELA = 7
    RELASZ = 8
    STRSZ = 10
    SONAME = 14
    RPATH = 15
    REL = 17
    RELSZ = 18
    PLTREL = 20
    JMPREL = 23
    RUNPATH = 29
    RELR = 36
    GNU_HASH = 0x6FFFFEF5
    CONFIG = 0x6FFFFEFA
    DEPAUDIT = 0x6FFFFEFB
    AUDIT = 0x6FFFFEFC
    VERSYM = 0x6FFFFFF0
    FLAGS_1 = 0x6FFFFFFB
    VERDEF = 0x6FFFFFFC
    VERNEED = 0x6FFFFFFE
    AUXILIARY = 0x7FFFFFFD
    USED = 0x7FFFFFFE
    FILTER = 0x7FFFFFFF


STRING_TAGS = frozenset(
    {
        Dt.NEEDED,
        Dt.SONAME,
        Dt.RPATH,
        Dt.RUNPATH,
        Dt.CONFIG,
        Dt.DEPAUDIT,
        Dt.AUDIT,
        Dt.AUXILIARY,
        Dt.USED,
        Dt.FILTER,
    }
)
"""Tags whose value is an offset into the dynamic string table."""

DF_1_PIE = 0x08000000

_MOST_STRINGS = 64
"""How many times the size of the file its names may add up to. Linkers share the ends of names, so
that more than once is normal; a hostile file could make it millions."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The struct formats of one class (32 or 64 bits), without the byte order."""

    word: int
    header: str
    segment: str
    section: str
    dynamic: str
    symbol: str
    rel: str
    rela: str
    symbol_shift: int
    """How far ``r_info`` is shifted to give the index of the symbol."""


SHAPES = {
    1: Shape(
        word=4,
        header="HHIIIIIHHHHHH",
        segment="IIIIIIII",  # type offset vaddr paddr filesz memsz flags align
        section="IIIIIIIIII",
        dynamic="iI",
        symbol="IIIBBH",  # name value size info other shndx
        rel="II",
        rela="IIi",
        symbol_shift=8,
    ),
    2: Shape(
        word=8,
        header="HHIQQQIHHHHHH",
        segment="IIQQQQQQ",  # type flags offset vaddr paddr filesz memsz align
        section="IIQQQQIIQQ",
        dynamic="qQ",
        symbol="IBBHQQ",  # name info other shndx value size
        rel="QQ",
        rela="QQq",
        symbol_shift=32,
    ),
}

_ARCH: dict[tuple[int, int, str], str] = {
    (Machine.I386, 1, "<"): "i686",
    (Machine.X86_64, 2, "<"): "x86_64",
    (Machine.ARM, 1, "<"): "armv7l",
    (Machine.AARCH64, 2, "<"): "aarch64",
    (Machine.PPC64, 2, "<"): "ppc64le",
    (Machine.PPC64, 2, ">"): "ppc64",
    (Machine.S390, 2, ">"): "s390x",
    (Machine.RISCV, 2, "<"): "riscv64",
    (Machine.LOONGARCH, 2, "<"): "loongarch64",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A program header, with the offset at which it stands."""

    type: int
    flags: int
    offset: int
    vaddr: int
    filesz: int
    memsz: int
    align: int
    at: int

    @property
    def writable(self) -> bool:
        """Whether the loader maps it for writing (PF_W)."""
        return bool(self.flags & 2)

    @property
    def executable(self) -> bool:
        """Whether the loader maps it for execution (PF_X)."""
        return bool(self.flags & 1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section header, with the offset at which it stands."""

    type: int
    addr: int
    offset: int
    size: int
    at: int


@dataclasses.dataclass(frozen=True, slots=True)
class Dynamic:
    """An entry of the dynamic table."""

    tag: int
    value: int


class ElfFile:
    """An ELF file in memory.

    Raises :class:`BadBinaryError`, from the constructor and from every method, where something
    points outside the file or does not make sense.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._read_in_strings = 0
        self.version_records = 0
        if data[:4] != MAGIC:
            raise BadBinaryError("not an ELF file")
        if len(data) < 16:  # noqa: PLR2004 - size of e_ident
            raise BadBinaryError("the ELF file ends in its first 16 bytes")
        elf_class, encoding = data[4], data[5]
        if elf_class not in SHAPES or encoding not in (1, 2):
            raise BadBinaryError(f"unknown ELF class {elf_class} or byte order {encoding}")
        self.elf_class = elf_class
        self.shape = SHAPES[elf_class]
        self.order = "<" if encoding == 1 else ">"
        (
            self.type,
            self.machine,
            _version,
            _entry,
            self.phoff,
            self.shoff,
            self.flags,
            _ehsize,
            self._phentsize,
            self._phnum,
            self._shentsize,
            self._shnum,
            _shstrndx,
        ) = self.unpack(self.shape.header, 16)
        self.segments = tuple(self._read_segments())
        self.sections = tuple(self._read_sections())
        self.dynamic_segment = next((s for s in self.segments if s.type == Pt.DYNAMIC), None)
        self.is_hollow = self.dynamic_segment is not None and self._is_hollow(self.dynamic_segment)
        self.dynamic = tuple(self._read_dynamic())

    @property
    def is_known(self) -> bool:
        """Whether platform tags have a name for the architecture."""
        return (self.machine, self.elf_class, self.order) in _ARCH

    @property
    def arch(self) -> str:
        """The architecture as platform tags spell it."""
        shape = (self.machine, self.elf_class, self.order)
        return _ARCH.get(shape, f"machine-{self.machine}")

    def unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        """Read a struct (format without byte order) at a file offset."""
        try:
            return struct.unpack_from(self.order + layout, self.data, offset)
        except (struct.error, OverflowError):
            raise BadBinaryError(f"the ELF file ends before offset {offset}") from None

    def table(self, layout: str, offset: int, size: int) -> Iterator[tuple[int, ...]]:
        """Read all whole structs in ``size`` bytes at a file offset."""
        width = struct.calcsize(self.order + layout)
        piece = self.slice(offset, size - size % width)
        return struct.iter_unpack(self.order + layout, piece)

    def slice(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes at a file offset."""
        if offset < 0 or size < 0 or offset + size > len(self.data):
            raise BadBinaryError(f"{size} bytes at offset {offset} are outside the ELF file")
        return self.data[offset : offset + size]

    def offset_of(self, address: int) -> int:
        """Translate an address to the offset of the byte that is loaded there."""
        for segment in self.segments:
            if (
                segment.type == Pt.LOAD
                and segment.vaddr <= address < segment.vaddr + segment.filesz
            ):
                return address - segment.vaddr + segment.offset
        raise BadBinaryError(f"address {address:#x} is not loaded from the ELF file")

    def value(self, tag: Dt) -> int | None:
        """Return the value of a dynamic tag, or None; of two entries, the loader uses the last."""
        return next((entry.value for entry in reversed(self.dynamic) if entry.tag == tag), None)

    def offset(self, tag: Dt) -> int | None:
        """Return the file offset that a dynamic tag's address stands for, or None."""
        address = self.value(tag)
        return None if address is None else self.offset_of(address)

    @functools.cached_property
    def strings(self) -> bytes:
        """The dynamic string table."""
        offset = self.offset(Dt.STRTAB)
        if offset is None:
            return b"\0"
        return self.slice(offset, self.value(Dt.STRSZ) or 0)

    def string(self, at: int) -> str:
        """Return the string at an offset of the string table.

        Names are bytes of no stated encoding; undecodable ones survive as surrogates.
        """
        end = self.strings.find(b"\0", at) if 0 <= at < len(self.strings) else -1
        if end < 0:
            raise BadBinaryError(f"offset {at} is outside the dynamic string table")
        self._read_in_strings += end - at
        if self._read_in_strings > _MOST_STRINGS * (len(self.data) + 1024):
            raise BadBinaryError("the names in the ELF file overlap beyond all measure")
        return self.strings[at:end].decode("utf-8", "surrogateescape")

    @property
    def dynamic_offset(self) -> int:
        """Where the dynamic table stands: the loader goes by its address, not by its offset."""
        assert self.dynamic_segment is not None
        return self.offset_of(self.dynamic_segment.vaddr)

    @property
    def slots(self) -> int:
        """How many entries the dynamic table has room for, the closing DT_NULL included.

        The room behind the last entry is zero, and no section begins in it: a program header can
        promise more than the linker set aside.
        """
        assert self.dynamic_segment is not None
        width = 2 * self.shape.word
        start = self.dynamic_offset
        used = start + len(self.dynamic) * width
        others = [s.offset for s in self.sections if s.type != Sht.NOBITS and s.size]
        end = min([start + self.dynamic_segment.filesz, *(at for at in others if at >= used)])
        tail = self.slice(used, end - used)
        return len(self.dynamic) + (len(tail) - len(tail.lstrip(b"\0"))) // width

    @property
    def is_loadable(self) -> bool:
        """Whether the loaded segments are as loaders demand: inside the file, aligned, in order."""
        end = 0
        for segment in self.segments:
            if segment.type != Pt.LOAD:
                continue
            inside = segment.offset + segment.filesz <= len(self.data)
            aligned = (segment.vaddr - segment.offset) % max(segment.align, 1) == 0
            if not inside or not aligned or segment.vaddr < end or segment.filesz > segment.memsz:
                return False
            end = segment.vaddr + segment.memsz
        return True

    def _read_segments(self) -> Iterator[Segment]:
        if self._phnum and self._phentsize != struct.calcsize(self.order + self.shape.segment):
            raise BadBinaryError(f"program headers of {self._phentsize} bytes do not exist")
        for index in range(self._phnum):
            at = self.phoff + index * self._phentsize
            values = self.unpack(self.shape.segment, at)
            if self.elf_class == 1:
                kind, offset, vaddr, _, filesz, memsz, flags, align = values
            else:
                kind, flags, offset, vaddr, _, filesz, memsz, align = values
            yield Segment(
                type=kind,
                flags=flags,
                offset=offset,
                vaddr=vaddr,
                filesz=filesz,
                memsz=memsz,
                align=align,
                at=at,
            )

    def _read_sections(self) -> Iterator[Section]:
        end = self.shoff + self._shnum * self._shentsize
        width = struct.calcsize(self.order + self.shape.section)
        if not self.shoff or end > len(self.data) or self._shentsize < width:
            return  # The loader does not look at them either.
        for index in range(self._shnum):
            at = self.shoff + index * self._shentsize
            _, kind, _, addr, offset, size, *_ = self.unpack(self.shape.section, at)
            yield Section(type=kind, addr=addr, offset=offset, size=size, at=at)

    def _read_dynamic(self) -> Iterator[Dynamic]:
        """Yield the entries before the first DT_NULL."""
        segment = self.dynamic_segment
        if segment is None or self.is_hollow:
            return
        for tag, value in self.table(self.shape.dynamic, self.dynamic_offset, segment.filesz):
            if tag == Dt.NULL:
                return
            yield Dynamic(tag, value)

    def _is_hollow(self, dynamic: Segment) -> bool:
        """Whether the bytes of the dynamic table are elsewhere.

        Files that hold only debugging information keep its program header: with size 0, or as it
        was, beside a section that is NOBITS (Intel's ``libiomp5.dbg``).
        """
        return not dynamic.filesz or any(
            s.type == Sht.NOBITS and s.addr == dynamic.vaddr and s.size for s in self.sections
        )
