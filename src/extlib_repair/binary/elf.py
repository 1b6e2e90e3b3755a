"""ELF: read the facts of a binary, and say what it takes to reach a library.

Symbols are read with the loader's eyes: the dynamic symbol table, its string table and the version
tables, found through the dynamic table. This is about eighty times faster than pyelftools on
OpenBLAS, which stays the independent second reader.

Sources: System V ABI (gABI) chapter 5; symbol versions: Ulrich Drepper, "ELF Symbol Versioning",
and the Linux Standard Base, "Symbol Versioning"; notes: gABI chapter 5, "Note Section", and
``<elf.h>`` (NT_GNU_BUILD_ID).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from extlib_repair.binary.elf_file import DF_1_PIE, Dt, ElfFile, Machine, Pt, Sht, Type
from extlib_repair.errors import BadBinaryError
from extlib_repair.model import BinaryFacts, Format, Image, Import, Kind, RunPath, RunPathKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from extlib_repair.binary.elf_file import Segment

_STB_WEAK = 2
_BINDINGS = frozenset({1, _STB_WEAK, 10})  # STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE
_UNNAMED_TYPES = frozenset({3, 4})  # STT_SECTION, STT_FILE
_HIDDEN = frozenset({1, 2})  # STV_INTERNAL, STV_HIDDEN
_VERSION_MASK = 0x7FFF
_MOST_VERSION_RECORDS = 1 << 18
_VER_NDX_LOCAL = 0
_VER_FLG_BASE = 1
_NT_GNU_BUILD_ID = 3
_NOTE_HEAD = 12
"""Bytes of a note before its owner's name: two sizes and a type."""


def read(data: bytes) -> BinaryFacts:
    """Return the facts of an ELF file; raises :class:`BadBinaryError`."""
    file = ElfFile(data)
    imports, exports = _symbols(file)
    kind = _kind(file, exports)
    image = Image(
        format=Format.ELF,
        kind=kind,
        arch=file.arch,
        name="" if (soname := file.value(Dt.SONAME)) is None else file.string(soname),
        needed=tuple(file.string(e.value) for e in file.dynamic if e.tag == Dt.NEEDED),
        run_path=run_path(file),
        ignored_run_path=_ignored_run_path(file),
        imports=imports,
        exports=exports,
        versions=tuple(name for _, name, _ in _defined_versions(file)),
        uuid=build_id(file),
    )
    return BinaryFacts(format=Format.ELF, images=(image,))


def run_path(file: ElfFile) -> RunPath | None:
    """Return the run path that the loader uses: DT_RUNPATH, else DT_RPATH."""
    for tag, kind in ((Dt.RUNPATH, RunPathKind.RUNPATH), (Dt.RPATH, RunPathKind.RPATH)):
        value = file.value(tag)
        if value is not None:
            return RunPath(entries=_entries(file.string(value)), kind=kind)
    return None


def build_id(file: ElfFile) -> str:
    """Return the linker's hash over what it linked, or the empty string.

    patchelf keeps it, so that it tells of which build a copy is. No loader looks at it: notes that
    make no sense hold none.
    """
    try:
        notes = (note for s in file.segments if s.type == Pt.NOTE for note in _notes(file, s))
        return next((text.hex() for kind, text in notes if kind == _NT_GNU_BUILD_ID), "")
    except BadBinaryError:
        return ""


def _notes(file: ElfFile, segment: Segment) -> Iterator[tuple[int, bytes]]:
    """Yield type and contents of GNU's notes; name and contents are padded to the alignment."""
    data = file.slice(segment.offset, segment.filesz)
    align = 8 if segment.align == 8 else 4  # noqa: PLR2004 - the two that exist
    at = 0
    while at + _NOTE_HEAD <= len(data):
        name_size, size, kind = file.unpack("III", segment.offset + at)
        name_at = at + _NOTE_HEAD
        start = _padded(name_at + name_size, align)
        if data[name_at : name_at + name_size] == b"GNU\0":
            yield kind, data[start : start + size]
        at = _padded(start + size, align)


def _padded(size: int, align: int) -> int:
    return size + -size % align


def _ignored_run_path(file: ElfFile) -> tuple[str, ...]:
    value = file.value(Dt.RPATH)
    if value is None or file.value(Dt.RUNPATH) is None:
        return ()
    return _entries(file.string(value))


def _entries(text: str) -> tuple[str, ...]:
    return tuple(text.split(":")) if text else ()


def _kind(file: ElfFile, exports: frozenset[str]) -> Kind:
    if file.is_hollow:
        return Kind.OTHER
    interpreted = any(s.type == Pt.INTERP for s in file.segments)
    pie = (file.value(Dt.FLAGS_1) or 0) & DF_1_PIE
    if file.type == Type.EXEC or pie or (interpreted and file.value(Dt.SONAME) is None):
        return Kind.EXECUTABLE
    if file.type != Type.DYN or not file.dynamic:
        return Kind.OTHER
    if any(name.startswith(("PyInit_", "PyInitU_", "PyModExport_")) for name in exports):
        return Kind.EXTENSION_MODULE
    return Kind.SHARED_LIBRARY


def _symbols(file: ElfFile) -> tuple[frozenset[Import], frozenset[str]]:
    """Return imports and exports.

    An export is global, weak or unique, neither hidden nor internal, and not marked local by the
    version table. Symbol 0 is reserved.
    """
    table = file.offset(Dt.SYMTAB)
    if table is None:
        return frozenset(), frozenset()
    layout = file.shape.symbol
    count = _symbol_count(file)
    versions = _symbol_versions(file, count)
    required = _required_versions(file)
    defined = {index: name for index, name, base in _defined_versions(file) if not base}
    imports: set[Import] = set()
    exports: set[str] = set()
    size = count * struct.calcsize(file.order + layout)
    for index, values in enumerate(file.table(layout, table, size)):
        if file.elf_class == 1:
            name_at, _, _, info, other, section = values
        else:
            name_at, info, other, section, _, _ = values
        binding, kind = info >> 4, info & 0xF
        if not name_at or binding not in _BINDINGS or kind in _UNNAMED_TYPES:
            continue
        name = file.string(name_at)
        version = versions[index] if index < len(versions) else 1
        if not section:
            version_name, library = required.get(version & _VERSION_MASK, ("", ""))
            imports.add(Import(name, version_name, library, binding == _STB_WEAK))
        elif (other & 3) not in _HIDDEN and version & _VERSION_MASK != _VER_NDX_LOCAL:
            exports.update(_spellings(name, version, defined))
    return frozenset(imports), frozenset(exports)


def _spellings(name: str, version: int, defined: Mapping[int, str]) -> Iterator[str]:
    """Yield the names under which others can bind to an export.

    The high bit of a version index hides the symbol from those who do not ask for the version.
    """
    label = defined.get(version & _VERSION_MASK)
    if label:
        yield f"{name}@{label}"
    if version & ~_VERSION_MASK == 0 or not label:
        yield name


def _symbol_count(file: ElfFile) -> int:
    """Return how many entries the dynamic symbol table has.

    A section says it. Without sections: the hash tables, and the highest index that a relocation
    uses, since DT_GNU_HASH leaves out undefined symbols when a library exports nothing.
    """
    address = file.value(Dt.SYMTAB)
    width = struct.calcsize(file.order + file.shape.symbol)
    for section in file.sections:
        if section.type == Sht.DYNSYM and section.addr == address and section.size:
            return section.size // width
    return max(_count_in_hash(file), _count_in_gnu_hash(file), _count_in_relocations(file))


def _count_in_hash(file: ElfFile) -> int:
    offset = file.offset(Dt.HASH)
    if offset is None:
        return 0
    wide = file.machine == Machine.ALPHA or (file.machine == Machine.S390 and file.elf_class == 2)  # noqa: PLR2004
    return file.unpack("QQ" if wide else "II", offset)[1]


def _count_in_gnu_hash(file: ElfFile) -> int:
    """Walk to the end of the last chain; https://flapenguin.me/elf-dt-gnu-hash describes it."""
    offset = file.offset(Dt.GNU_HASH)
    if offset is None:
        return 0
    bucket_count, first, bloom_size, _ = file.unpack("IIII", offset)
    buckets = offset + 16 + bloom_size * file.shape.word
    highest = max((b for (b,) in file.table("I", buckets, bucket_count * 4)), default=0)
    if highest < first:
        return first
    chain = buckets + bucket_count * 4
    while not file.unpack("I", chain + (highest - first) * 4)[0] & 1:
        highest += 1
    return highest + 1


def _count_in_relocations(file: ElfFile) -> int:
    tables = [
        (Dt.RELA, file.value(Dt.RELASZ), file.shape.rela),
        (Dt.REL, file.value(Dt.RELSZ), file.shape.rel),
        (
            Dt.JMPREL,
            file.value(Dt.PLTRELSZ),
            file.shape.rela if file.value(Dt.PLTREL) == Dt.RELA else file.shape.rel,
        ),
    ]
    highest = 0
    for tag, size, layout in tables:
        offset = file.offset(tag) if size else None
        if offset is None or not size:
            continue
        for _, info, *_ in file.table(layout, offset, size):
            highest = max(highest, info >> file.shape.symbol_shift)
    return highest + 1


def _symbol_versions(file: ElfFile, count: int) -> tuple[int, ...]:
    offset = file.offset(Dt.VERSYM)
    if offset is None:
        return ()
    return tuple(version for (version,) in file.table("H", offset, count * 2))


def _required_versions(file: ElfFile) -> dict[int, tuple[str, str]]:
    """Return version index -> (version, library) from the DT_VERNEED table."""
    return {
        index & _VERSION_MASK: (file.string(name), file.string(library))
        for library, index, name in _version_needs(file)
    }


def _defined_versions(file: ElfFile) -> Iterator[tuple[int, str, bool]]:
    """Yield (version index, name, is the library's own name) from the DT_VERDEF table."""
    for index, flags, names in _version_definitions(file):
        yield index & _VERSION_MASK, file.string(names[0]), bool(flags & _VER_FLG_BASE)


def _version_needs(file: ElfFile) -> Iterator[tuple[int, int, int]]:
    """Yield (string of the library, version index, string of the version)."""
    for at, (_, _, library, first, _) in _chain(file, file.offset(Dt.VERNEED), "HHIII"):
        for _, (_, _, index, name, _) in _chain(file, at + first, "IHHII"):
            yield library, index, name


def _version_definitions(file: ElfFile) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Yield (version index, flags, strings: the version's own name, then its parents')."""
    for at, (_, flags, index, _, _, first, _) in _chain(file, file.offset(Dt.VERDEF), "HHHHIII"):
        yield index, flags, tuple(name for _, (name, _) in _chain(file, at + first, "II"))


def _chain(file: ElfFile, at: int | None, layout: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Walk records that give the distance to the next one in their last word, 0 in the last one.

    Like the loader, this does not look at the stated number of records. Version indices have 15
    bits, so a file with many more records is damaged.
    """
    while at is not None:
        file.version_records += 1
        if file.version_records > _MOST_VERSION_RECORDS:
            raise BadBinaryError("the ELF file has an endless version table")
        values = file.unpack(layout, at)
        yield at, values
        at = at + values[-1] if values[-1] else None


def name_offsets(file: ElfFile) -> Iterator[int]:
    """Yield every offset into the string table that symbols and versions use."""
    table = file.offset(Dt.SYMTAB)
    if table is not None:
        layout = file.shape.symbol
        size = _symbol_count(file) * struct.calcsize(file.order + layout)
        yield from (values[0] for values in file.table(layout, table, size))
    for library, _, name in _version_needs(file):
        yield from (library, name)
    for _, _, names in _version_definitions(file):
        yield from names
