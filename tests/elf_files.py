"""The ELF fixtures, and pyelftools as the second, independent reader of ELF files."""

from __future__ import annotations

import dataclasses
import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from extlib_repair.binary import elf_edit
from extlib_repair.binary.elf_file import Dt, ElfFile
from extlib_repair.errors import CannotEditError
from extlib_repair.model import AddNeeded, Image, Import, RunPathKind, SetRunPath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import BinaryEdit

FOLDER = Path(__file__).parent / "fixtures" / "elf"
SUMS = {
    name: digest
    for digest, name in (
        line.split() for line in (FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
}
FILES = {name: (FOLDER / name).read_bytes() for name in SUMS}
WITHOUT_TABLE = {"object.o", "program_pie.debug", "short.debug", "static_program"}
"""Files without a dynamic table."""

IN_PLACE, SLACK, PATCHELF, REFUSED = "in place", "slack", "patchelf", "refused"
"""The ways to make an edit; one of them is not to."""

LONG = "/build/deps/openblas-0.3.30/installation/prefix/lib"


_NUMBERS = {"VER_NDX_LOCAL": 0, "VER_NDX_GLOBAL": 1}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What pyelftools finds, in its own words."""

    name: str
    needed: tuple[str, ...]
    rpath: str | None
    runpath: str | None
    imports: frozenset[tuple[str, str, str, bool]]
    exports: frozenset[str]
    versions: tuple[str, ...]


@functools.lru_cache(maxsize=8)
def second_reading(data: bytes) -> Reading:
    """Read a dynamic table, and by its sections the symbols."""
    elf: Any = ELFFile(io.BytesIO(data))
    tags: list[Any] = []
    for segment in elf.iter_segments("PT_DYNAMIC"):
        assert isinstance(segment, DynamicSegment)
        tags = list(segment.iter_tags())
    imports, exports, versions = _symbols(elf)
    return Reading(
        name=next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), ""),
        needed=tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
        rpath=next((tag.rpath for tag in tags if tag.entry.d_tag == "DT_RPATH"), None),
        runpath=next((tag.runpath for tag in tags if tag.entry.d_tag == "DT_RUNPATH"), None),
        imports=imports,
        exports=exports,
        versions=versions,
    )


def second_names(data: bytes) -> tuple[set[str], set[str]]:
    """Return the names of imports and exports as the hash tables lead to them, without sections."""
    elf: Any = ELFFile(io.BytesIO(data))
    (segment,) = elf.iter_segments("PT_DYNAMIC")
    symbols = [s for s in segment.iter_symbols() if s.name]
    undefined = {s.name for s in symbols if s.entry.st_shndx == "SHN_UNDEF"}
    return undefined, {s.name for s in symbols} - undefined


def agree(found: Image, data: bytes) -> None:
    """Hold what we read against what pyelftools reads."""
    second = second_reading(data)
    assert (found.name, found.needed) == (second.name, second.needed)
    assert found.imports == {Import(*fields) for fields in second.imports}
    assert found.exports == second.exports
    assert sorted(found.versions) == sorted(second.versions)
    used = second.runpath if second.runpath is not None else second.rpath
    assert (":".join(found.search) or None) == (used or None)
    if used is not None:
        assert found.run_path is not None
        rpath_counts = second.runpath is None
        assert (found.run_path.kind is RunPathKind.RPATH) is rpath_counts
        ignored = "" if rpath_counts else second.rpath or ""
        assert ":".join(found.ignored_run_path) == ignored


def second_applied(reading: Reading, edits: Sequence[BinaryEdit]) -> Reading:
    """Return what pyelftools must find after the edits."""
    for change in edits:
        if isinstance(change, AddNeeded):
            if change.library not in reading.needed:
                reading = dataclasses.replace(reading, needed=(change.library, *reading.needed))
            continue
        assert isinstance(change, SetRunPath)
        reading = dataclasses.replace(reading, rpath=None, runpath=None)
        if change.run_path is not None and change.run_path.entries:
            text = ":".join(change.run_path.entries)
            if change.run_path.kind is RunPathKind.RPATH:
                reading = dataclasses.replace(reading, rpath=text)
            else:
                reading = dataclasses.replace(reading, runpath=text)
    return reading


def rung(data: bytes, edits: Sequence[BinaryEdit]) -> str:
    """Say how the edits are made."""
    try:
        edited = elf_edit.edit(data, edits)
    except CannotEditError:
        return REFUSED
    if len(edited) != len(data):
        return PATCHELF
    moved = ElfFile(edited).value(Dt.STRTAB) != ElfFile(data).value(Dt.STRTAB)
    return SLACK if moved else IN_PLACE


def _symbols(elf: Any) -> tuple[frozenset[tuple[str, str, str, bool]], frozenset[str], Any]:
    table = elf.get_section_by_name(".dynsym")
    if table is None:
        return frozenset(), frozenset(), ()
    required = {
        aux.entry.vna_other: (aux.name, need.name)
        for need, auxes in _versions(elf, ".gnu.version_r")
        for aux in auxes
    }
    defined = {
        entry.entry.vd_ndx: (next(auxes).name, entry.entry.vd_flags)
        for entry, auxes in _versions(elf, ".gnu.version_d")
    }
    marks = elf.get_section_by_name(".gnu.version")
    imports, exports = set(), set()
    for index, symbol in enumerate(table.iter_symbols()):
        mark = marks.get_symbol(index).entry.ndx if marks is not None else 1
        number = _NUMBERS[mark] if isinstance(mark, str) else mark
        binding = symbol.entry.st_info.bind
        if not symbol.name or binding == "STB_LOCAL" or symbol.entry.st_info.type == "STT_SECTION":
            continue
        if symbol.entry.st_shndx == "SHN_UNDEF":
            version, library = required.get(number & 0x7FFF, ("", ""))
            imports.add((symbol.name, version, library, binding == "STB_WEAK"))
        elif number & 0x7FFF:
            label, flags = defined.get(number & 0x7FFF, ("", 1))
            if not flags & 1:
                exports.add(f"{symbol.name}@{label}")
            if flags & 1 or not number & 0x8000:
                exports.add(symbol.name)
    return frozenset(imports), frozenset(exports), tuple(name for name, _ in defined.values())


def _versions(elf: Any, section: str) -> Any:
    found = elf.get_section_by_name(section)
    return found.iter_versions() if found is not None else ()
