"""Mach-O: read the facts of every slice.

Exports come from the trie that dyld walks, imports from the binds that it makes; linkers disagree
with themselves in the symbol table, which is read where there is no other source.

Sources: Apple's ``mach-o/loader.h``, ``mach-o/nlist.h``, ``mach-o/fixup-chains.h``; dyld-1378
(``mach_o/ExportsTrie.cpp``, ``mach_o/BindOpcodes.cpp``, ``mach_o/ChainedFixups.cpp``).
"""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING

from extlib_repair.binary import codesign
from extlib_repair.binary.macho_fat import slices
from extlib_repair.binary.macho_file import (
    MH_TWOLEVEL,
    FileType,
    Lc,
    MachO,
    arch_name,
    version,
)
from extlib_repair.errors import BadBinaryError
from extlib_repair.model import BinaryFacts, Format, Image, Import, Kind, RunPath, RunPathKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extlib_repair.model import MacVersion

_MODULE = ("PyInit_", "PyInitU_", "PyModExport_")

_PLATFORM_MACOS = 1

# nlist.h
_N_STAB, _N_PEXT, _N_TYPE, _N_EXT = 0xE0, 0x10, 0x0E, 0x01
_N_WEAK_REF = 0x40
_SPECIAL_ORDINALS = range(253, 256)
"""Weak lookup, DYNAMIC_LOOKUP_ORDINAL, EXECUTABLE_ORDINAL."""

# loader.h: EXPORT_SYMBOL_FLAGS_*
_REEXPORT, _STUB_AND_RESOLVER = 0x08, 0x10

_LONGEST_NUMBER = 10
"""Bytes of a ULEB128 number of 64 bits."""

FLAT, WEAK_LOOKUP = -2, -3
"""BIND_SPECIAL_DYLIB_*: everywhere, and among weak definitions."""


def read(data: bytes) -> BinaryFacts:
    """Return the facts of a Mach-O file; raises :class:`BadBinaryError`."""
    images = [
        image_of(part)
        if isinstance(part, MachO)
        else Image(format=Format.MACHO, kind=Kind.OTHER, arch=arch_name(part.cputype, part.subtype))
        for part in slices(data)
    ]
    return BinaryFacts(format=Format.MACHO, images=tuple(images))


def image_of(file: MachO) -> Image:
    """Return the facts of one slice."""
    if not file.is_loadable:
        return Image(format=Format.MACHO, kind=Kind.OTHER, arch=file.arch, uuid=_uuid(file))
    exports = frozenset(map(_c_name, exported(file)))
    imports = frozenset(_imports(file, exports))
    dylibs = file.dylibs
    present = {d.name for d in dylibs if not d.weak}
    return Image(
        format=Format.MACHO,
        kind=_kind(file, exports),
        arch=file.arch,
        name=file.name,
        needed=tuple(d.name for d in dylibs),
        weak_needed=frozenset(d.name for d in dylibs) - present,
        reexported=frozenset(d.name for d in dylibs if d.reexported),
        run_path=RunPath(entries=file.rpaths, kind=RunPathKind.LC_RPATH) if file.rpaths else None,
        imports=imports,
        exports=exports,
        minimum_os=_minimum_os(file),
        compatibility=file.own.compatibility if file.own else (0, 0, 0),
        needed_compatibility=frozenset(
            (d.name, d.compatibility) for d in dylibs if any(d.compatibility)
        ),
        uuid=_uuid(file),
        signature=codesign.kind(file),
        header_room=file.header_room,
    )


def _kind(file: MachO, exports: frozenset[str]) -> Kind:
    if file.filetype == FileType.EXECUTE:
        return Kind.EXECUTABLE
    if any(name.startswith(_MODULE) for name in exports):
        return Kind.EXTENSION_MODULE
    return Kind.SHARED_LIBRARY


def _c_name(symbol: bytes) -> str:
    """Return a name as C spells it: compilers for macOS put ``_`` in front."""
    return symbol.removeprefix(b"_").decode("utf-8", "surrogateescape")


def _uuid(file: MachO) -> str:
    command = file.first(Lc.UUID)
    if command is None:
        return ""
    file.numbers(command, "QQ")
    return command.raw[8:24].hex()


def _minimum_os(file: MachO) -> MacVersion | None:
    """Return the oldest macOS; of the platforms of a zippered library, macOS counts."""
    versions = []
    for command in file.commands:
        if command.cmd == Lc.BUILD_VERSION:
            platform, minimum = file.numbers(command, "II")
            versions.append((platform != _PLATFORM_MACOS, minimum))
        elif command.cmd == Lc.VERSION_MIN_MACOSX:
            (minimum,) = file.numbers(command, "I")
            versions.append((False, minimum))
    if not versions:
        return None
    _, oldest = min(versions)
    return version(oldest)


def exported(file: MachO) -> frozenset[bytes]:
    """Return the symbols that others can bind to, as they are spelled in the file."""
    place = file.linkedit(Lc.EXPORTS_TRIE)
    info = file.first(Lc.DYLD_INFO_ONLY, Lc.DYLD_INFO)
    if place is None and info is not None:
        offset, size = file.numbers(info, "II", 40)
        place = offset, size
    if place is None:
        return frozenset(s.name for s in _symbols(file) if s.is_export)
    return frozenset(_trie_names(file, file.slice(*place)))


def _trie_names(file: MachO, trie: bytes) -> Iterator[bytes]:
    """Yield the names of an export trie.

    A node: the size of its own entry (0: no name ends here), the entry, the number of children
    (a byte), and for each child an edge that ends in NUL and the offset of its node.
    """
    todo = [(0, b"")] if trie else []
    seen = {0}
    while todo:
        at, prefix = todo.pop()
        numbers = _Numbers(trie, at)
        size = numbers.unsigned()
        if size:
            entry_end = numbers.at + size
            _check_entry(numbers, entry_end)
            numbers.at = entry_end
            yield prefix
        for _ in range(numbers.byte()):
            edge = numbers.string()
            child = numbers.unsigned()
            if child in seen:
                raise BadBinaryError("the export trie of the Mach-O file has a cycle")
            seen.add(child)
            file.spend(len(prefix) + len(edge))
            todo.append((child, prefix + edge))


def _check_entry(numbers: _Numbers, end: int) -> None:
    flags = numbers.unsigned()
    numbers.unsigned()
    if flags & _REEXPORT:
        numbers.string()
    elif flags & _STUB_AND_RESOLVER:
        numbers.unsigned()
    if numbers.at > end:
        raise BadBinaryError("an entry in the export trie of the Mach-O file has no end")


class _Numbers:
    """Reads numbers of variable length (ULEB128, DWARF 4 section 7.6) and strings."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def byte(self) -> int:
        """Read one byte."""
        if self.at >= len(self.data):
            raise BadBinaryError("a table of the Mach-O file ends too early")
        self.at += 1
        return self.data[self.at - 1]

    def unsigned(self) -> int:
        """Read a ULEB128 number; a SLEB128 number has the same length."""
        value = 0
        for position in range(_LONGEST_NUMBER):
            byte = self.byte()
            value |= (byte & 0x7F) << 7 * position
            if byte < 0x80:  # noqa: PLR2004
                return value
        raise BadBinaryError("a number in a table of the Mach-O file has no end")

    def string(self) -> bytes:
        """Read a string that ends in NUL."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise BadBinaryError("a table of the Mach-O file ends too early")
        start, self.at = self.at, end + 1
        return self.data[start:end]


@dataclasses.dataclass(frozen=True, slots=True)
class _Bind:
    """A symbol that dyld looks up: where (an ordinal), and whether it may be absent."""

    name: bytes
    ordinal: int
    weak: bool


def _imports(file: MachO, exports: frozenset[str]) -> Iterator[Import]:
    """Yield what others must define.

    What an image looks up in itself, or everywhere while it exports it, is never missing.
    """
    needed = [d.name for d in file.dylibs]
    for bind in set(_binds(file)):
        if bind.ordinal > len(needed):
            raise BadBinaryError(f"a symbol is imported from library number {bind.ordinal}")
        name = _c_name(bind.name)
        if bind.ordinal > 0:
            yield Import(name, library=needed[bind.ordinal - 1], weak=bind.weak)
        elif name not in exports:
            yield Import(name, weak=bind.weak)


def _binds(file: MachO) -> Iterator[_Bind]:
    fixups = file.linkedit(Lc.CHAINED_FIXUPS)
    if fixups is not None:
        yield from _chained(file, file.slice(*fixups))
        return
    info = file.first(Lc.DYLD_INFO_ONLY, Lc.DYLD_INFO)
    if info is not None:
        yield from _opcodes(file, file.numbers(info, "6I", 16))
        return
    for symbol in _symbols(file):
        if symbol.is_import:
            yield _Bind(symbol.name, symbol.ordinal, symbol.is_weak)


_CHAINED_IMPORT = {
    # format: layout, bits of the ordinal, position of the name's offset
    1: ("I", 8, 9),
    2: ("Ii", 8, 9),
    3: ("QQ", 16, 32),
}
"""DYLD_CHAINED_IMPORT, _ADDEND, _ADDEND64; the bit behind the ordinal means weak."""

_LAST_ORDINAL = {8: 0xF0, 16: 0xFFF0}
"""Larger ones are negative."""


def _chained(file: MachO, table: bytes) -> Iterator[_Bind]:
    """Yield the import table of ``struct dyld_chained_fixups_header``."""
    if len(table) < 28:  # noqa: PLR2004 - the size of the header
        raise BadBinaryError("the chained fixups of the Mach-O file end in their header")
    header = struct.unpack_from(file.order + "7I", table)
    _, _, imports, symbols, count, kind, compressed = header
    if kind not in _CHAINED_IMPORT or compressed:
        raise BadBinaryError(f"chained fixups of the format {kind}, {compressed} do not exist")
    layout, bits, name_position = _CHAINED_IMPORT[kind]
    width = struct.calcsize(file.order + layout)
    if imports + count * width > len(table) or symbols > len(table):
        raise BadBinaryError("the imports of the Mach-O file are outside its chained fixups")
    names = table[symbols:]
    rows = struct.iter_unpack(file.order + layout, table[imports : imports + count * width])
    for value, *_ in rows:
        ordinal = value & (1 << bits) - 1
        if ordinal > _LAST_ORDINAL[bits]:
            ordinal -= 1 << bits
        name = file.string(names, value >> name_position)
        yield _Bind(name, ordinal, bool(value >> bits & 1))


def _opcodes(file: MachO, places: tuple[int, ...]) -> Iterator[_Bind]:
    """Yield what the three streams of LC_DYLD_INFO bind: ordinary, weak, lazy.

    Most names of the weak stream are bound by the ordinary one, too, and only replaced there.
    """
    bind, weak, lazy = (
        _Stream(file, file.slice(*places[index : index + 2])) for index in (0, 2, 4)
    )
    found = {*bind.binds(ends=True), *lazy.binds(ends=False)}
    yield from found
    names = {b.name for b in found}
    for name in {b.name for b in weak.binds(ends=True)} - names:
        yield _Bind(name, WEAK_LOOKUP, weak=False)


class _Stream:
    """One stream of bind opcodes (``BIND_OPCODE_*``): a small machine that writes pointers."""

    def __init__(self, file: MachO, data: bytes) -> None:
        self._file = file
        self._numbers = _Numbers(data)
        self._name: bytes | None = None
        self._ordinal = 0
        self._weak = False

    def binds(self, *, ends: bool) -> Iterator[_Bind]:
        """Yield what is bound; opcode 0 ends a stream, and in the lazy one only an entry."""
        numbers = self._numbers
        while numbers.at < len(numbers.data):
            byte = numbers.byte()
            opcode, immediate = byte & 0xF0, byte & 0x0F
            if opcode == 0x00 and ends:
                return
            if opcode in _BIND_OPERANDS:
                for _ in range(_BIND_OPERANDS[opcode]):
                    numbers.unsigned()
                if self._name is None:
                    raise BadBinaryError("the Mach-O file binds a symbol without a name")
                yield _Bind(self._name, self._ordinal, self._weak)
            else:
                self._set(opcode, immediate)

    def _set(self, opcode: int, immediate: int) -> None:
        numbers = self._numbers
        if opcode == 0x10:  # noqa: PLR2004 - SET_DYLIB_ORDINAL_IMM
            self._ordinal = immediate
        elif opcode == 0x20:  # noqa: PLR2004 - SET_DYLIB_ORDINAL_ULEB
            self._ordinal = numbers.unsigned()
        elif opcode == 0x30:  # noqa: PLR2004 - SET_DYLIB_SPECIAL_IMM
            self._ordinal = immediate - 16 if immediate else 0
        elif opcode == 0x40:  # noqa: PLR2004 - SET_SYMBOL_TRAILING_FLAGS_IMM
            self._name = numbers.string()
            self._weak = bool(immediate & 1)
            self._file.spend(len(self._name))
        elif opcode in _OTHER_OPERANDS:
            if opcode != _THREADED or not immediate:
                for _ in range(_OTHER_OPERANDS[opcode]):
                    numbers.unsigned()
        else:
            raise BadBinaryError(f"the bind opcode {opcode:#x} of the Mach-O file does not exist")


_BIND_OPERANDS = {0x90: 0, 0xA0: 1, 0xB0: 0, 0xC0: 2}
"""DO_BIND, _ADD_ADDR_ULEB, _ADD_ADDR_IMM_SCALED, _ULEB_TIMES_SKIPPING_ULEB: their operands."""

_THREADED = 0xD0
_OTHER_OPERANDS = {0x00: 0, 0x50: 0, 0x60: 1, 0x70: 1, 0x80: 1, _THREADED: 1}
"""DONE (of an entry), SET_TYPE_IMM, SET_ADDEND_SLEB, SET_SEGMENT_AND_OFFSET_ULEB, ADD_ADDR_ULEB,
THREADED (its first form has an operand, its second none)."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Symbol:
    name: bytes
    type: int
    ordinal: int
    is_weak: bool

    @property
    def is_import(self) -> bool:
        return not self.type & (_N_TYPE | _N_PEXT)

    @property
    def is_export(self) -> bool:
        return bool(self.type & _N_TYPE) and not self.type & _N_PEXT


def _symbols(file: MachO) -> Iterator[_Symbol]:
    """Yield the external symbols of LC_SYMTAB (``struct nlist``, ``struct nlist_64``).

    Libraries are not told apart where the file has a flat namespace.
    """
    command = file.first(Lc.SYMTAB)
    if command is None:
        return
    offset, count, strings_at, strings_size = file.numbers(command, "4I")
    layout = file.order + ("IBBHQ" if file.wide else "IBBHI")
    table = file.slice(offset, count * struct.calcsize(layout))
    strings = file.slice(strings_at, strings_size)
    for name_at, kind, _, description, _ in struct.iter_unpack(layout, table):
        if kind & _N_STAB or not kind & _N_EXT:
            continue
        ordinal = description >> 8
        if ordinal in _SPECIAL_ORDINALS or not file.flags & MH_TWOLEVEL:
            ordinal = FLAT
        name = file.string(strings, name_at)
        yield _Symbol(name, kind, ordinal, bool(description & _N_WEAK_REF))
