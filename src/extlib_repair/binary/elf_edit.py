"""ELF: edit the run path and the needed names.

Three rungs, the first that holds:

1. the wanted strings exist already, or fit where the old run path stands and nobody else reads;
2. the string table moves, with the new strings, into zero bytes behind a segment that is not
   writable (the file keeps its length);
3. patchelf makes room (:mod:`extlib_repair.binary.grow`).

Which bytes are free is proved, not assumed: linkers let names share their ends. What comes out of
any rung is read again and compared with what was asked for.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING

from extlib_repair.binary import elf
from extlib_repair.binary.elf_file import (
    STRING_TAGS,
    Dt,
    Dynamic,
    ElfFile,
    Pt,
    Section,
    Segment,
    Sht,
)
from extlib_repair.binary.grow import ADVICE, grow
from extlib_repair.errors import BadBinaryError, CannotEditError
from extlib_repair.model import AddNeeded, RunPathKind, SetRunPath, applied

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extlib_repair.model import BinaryEdit, RunPath

_TAGS = {RunPathKind.RPATH: Dt.RPATH, RunPathKind.RUNPATH: Dt.RUNPATH}
_RUN_PATH_TAGS = frozenset({Dt.RPATH, Dt.RUNPATH})

_TABLES = {
    Dt.RELR: Sht.RELR,
    Dt.VERDEF: Sht.VERDEF,
    Dt.HASH: Sht.HASH,
    Dt.GNU_HASH: Sht.GNU_HASH,
    Dt.VERSYM: Sht.VERSYM,
}
"""Tables of which a file has one at most, with the type of their section."""

_RELOCATIONS = {Dt.RELA: Dt.RELASZ, Dt.REL: Dt.RELSZ, Dt.JMPREL: Dt.PLTRELSZ}
_IMMOVABLE = frozenset({Sht.PROGBITS, Sht.INIT_ARRAY, Sht.FINI_ARRAY, Sht.PREINIT_ARRAY})
"""Sections with code and data, which code finds relative to itself."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    replaced: frozenset[Dt] = frozenset()
    """The tags of the old run path, when there is to be another one or none."""

    run_path: RunPath | None = None
    """What stands in their place."""

    added: tuple[str, ...] = ()
    """Needed names to put in front, as they shall stand."""


def edit(data: bytes, edits: Sequence[BinaryEdit]) -> bytes:
    """Return the file with the edits applied; the same bytes when they hold already.

    Raises :class:`BadBinaryError`, and :class:`CannotEditError` where no rung holds.
    """
    file = ElfFile(data)
    wanted = _wanted(file, edits)
    if _holds(file, wanted):
        return data
    if file.value(Dt.STRTAB) is None:
        raise CannotEditError(
            "the ELF file has no dynamic table, where run paths and needed names stand",
            hint="only programs and libraries that are linked dynamically can be edited",
        )
    if not file.is_known:
        raise CannotEditError(
            f"how to edit ELF files of the architecture {file.arch} is not known",
            hint="wheels of this architecture have no portable platform tag either",
        )
    (image,) = elf.read(data).images
    try:
        edited = _edited_here(file, wanted) or _grown(file, wanted)
        (found,) = elf.read(edited).images
    except BadBinaryError as error:
        raise CannotEditError(
            f"the ELF file would be damaged by the edit: {error}", hint=ADVICE
        ) from error
    if found != applied(image, edits):
        raise CannotEditError(
            "the edited ELF file would not say what was asked for",
            hint="a run path entry or library name that no ELF file can hold (with a colon, with "
            "a NUL)? otherwise this file is laid out in an unusual way: link it anew",
        )
    return edited


def _wanted(file: ElfFile, edits: Sequence[BinaryEdit]) -> _Wanted:
    wanted = _Wanted()
    needed = _needed(file)
    for change in edits:
        if isinstance(change, SetRunPath):
            if change.run_path and change.run_path.kind not in _TAGS:
                raise CannotEditError(f"ELF files have no {change.run_path.kind}")
            kept = change.run_path if change.run_path and change.run_path.entries else None
            wanted = dataclasses.replace(wanted, replaced=_RUN_PATH_TAGS, run_path=kept)
        elif not isinstance(change, AddNeeded):
            raise CannotEditError(f"{type(change).__name__} is nothing that is done to ELF files")
        elif change.library not in needed and change.library not in wanted.added:
            wanted = dataclasses.replace(wanted, added=(change.library, *wanted.added))
    return wanted


def _needed(file: ElfFile) -> frozenset[str]:
    return frozenset(file.string(e.value) for e in file.dynamic if e.tag == Dt.NEEDED)


def _holds(file: ElfFile, wanted: _Wanted) -> bool:
    if wanted.added:
        return False
    tags = [e.tag for e in file.dynamic if e.tag in wanted.replaced]
    if wanted.run_path is None:
        return not tags
    return elf.run_path(file) == wanted.run_path and len(tags) == 1


def _grown(file: ElfFile, wanted: _Wanted) -> bytes:
    """Return the file as patchelf makes it, with an empty run path to begin with.

    patchelf overwrites the old run path without asking who else reads these bytes, and changes
    only one of two run paths. What it makes is mended, and must still be whole.
    """
    empty = wanted.run_path and dataclasses.replace(wanted.run_path, entries=("",))
    emptied = _edited_here(file, dataclasses.replace(wanted, added=(), run_path=empty))
    edited = grow(
        emptied or file.data,
        run_path=wanted.run_path,
        sets_run_path=bool(wanted.replaced),
        added=wanted.added,
    )
    edited = _mended(file, edited)
    result = ElfFile(edited)
    loads = result.is_loadable or not file.is_loadable
    if result.slots == len(result.dynamic) or not loads or not _is_whole(file, result):
        raise CannotEditError("patchelf would make an ELF file that does not load", hint=ADVICE)
    return edited


def _mended(old: ElfFile, data: bytes) -> bytes:
    """Return the grown file with every table where the dynamic table says it is.

    patchelf moves what is in the way of its program headers, and does not update the entries for
    packed relocations and version definitions (NixOS/patchelf#664): the loader would read what
    stands at their old place now.
    """
    new = ElfFile(data)
    out = bytearray(data)
    packer = struct.Struct(new.order + new.shape.dynamic)
    moves = {}
    for tag, kind in _TABLES.items():
        before, after = ([s.addr for s in f.sections if s.type == kind] for f in (old, new))
        if len(after) == 1 and before == [new.value(tag)]:
            moves[int(tag)] = after[0]
    for index, entry in enumerate(new.dynamic):
        at = new.dynamic_offset + index * packer.size
        packer.pack_into(out, at, entry.tag, moves.get(entry.tag, entry.value))
    return bytes(out)


def _is_whole(old: ElfFile, new: ElfFile) -> bool:
    """Whether what the loader and the code read stands there, and says what it said before.

    patchelf 0.17 moves even the code of very small libraries out of the way, and says nothing.
    """
    return all(
        old.slice(old_place, size) == new.slice(new_place, size)
        for old_place, new_place, size in _pieces(old, new)
    )


def _pieces(old: ElfFile, new: ElfFile) -> Iterator[tuple[int, int, int]]:
    """Yield where a piece stands in the old file, where in the new one, and its size."""
    interpreter = {s.vaddr for s in old.segments if s.type == Pt.INTERP}
    for tag, size_tag in _RELOCATIONS.items():
        place, size = old.offset(tag) if old.value(size_tag) else None, old.value(size_tag)
        if place is not None and size:
            yield place, new.offset_of(new.value(tag) or 0), size
    for section in old.sections:
        for tag, kind in _TABLES.items():
            if section.type == kind and section.addr == old.value(tag):
                yield section.offset, new.offset_of(new.value(tag) or 0), section.size
        # The interpreter's name is data that code does not read.
        if section.type in _IMMOVABLE and section.addr not in {0, *interpreter} and section.size:
            yield section.offset, new.offset_of(section.addr), section.size


def _edited_here(file: ElfFile, wanted: _Wanted) -> bytes | None:
    """Return the edited file of the same length, or None where it must grow."""
    entries = [e for e in file.dynamic if e.tag not in wanted.replaced]
    count = len(entries) + len(wanted.added) + (wanted.run_path is not None)
    if count > max(file.slots - 1, len(file.dynamic)):
        return None
    table = _Strings(file, wanted.replaced)
    added = [Dynamic(Dt.NEEDED, table.place(name)) for name in wanted.added]
    if wanted.run_path is not None:
        at = table.place(":".join(wanted.run_path.entries))
        tags = [e.tag in wanted.replaced for e in file.dynamic]
        position = tags.index(True) if any(tags) else len(entries)
        entries.insert(position, Dynamic(_TAGS[wanted.run_path.kind], at))
    return table.write(added + entries)


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise CannotEditError(f"{text!a} cannot be stored as bytes") from None


class _Strings:
    """The string table of a file that is being edited."""

    def __init__(self, file: ElfFile, replaced: frozenset[Dt]) -> None:
        self._file = file
        self._table = bytearray(file.strings)
        self._blanked = self._unshared(replaced)
        self._free = list(self._blanked)
        for start, end in self._blanked:
            self._table[start:end] = bytes(end - start)

    def place(self, text: str) -> int:
        """Return the offset of a string, which is added where it is not there yet."""
        string = _encoded(text)
        if not string and self._table.startswith(b"\0"):
            return 0
        at = self._table.find(b"\0" + string + b"\0")
        if at >= 0:
            return at + 1
        for index, (start, end) in enumerate(self._free):
            if len(string) <= end - start:
                self._table[start : start + len(string)] = string
                self._free[index] = (min(start + len(string) + 1, end), end)
                return start
        self._table += string + b"\0"
        return len(self._table) - len(string) - 1

    def write(self, entries: Sequence[Dynamic]) -> bytes | None:
        """Return the file with this dynamic table and these strings; None where they do not fit."""
        file = self._file
        out = bytearray(file.data)
        old = file.offset(Dt.STRTAB)
        assert old is not None
        moved: dict[int, int] = {}
        if len(self._table) == len(file.strings):
            out[old : old + len(self._table)] = self._table
        else:
            segment = self._roomy_segment()
            if segment is None:
                return None
            moved = self._move_behind(out, segment)
            for start, end in self._blanked:
                out[old + start : old + end] = bytes(end - start)
        packer = struct.Struct(file.order + file.shape.dynamic)
        rows = [packer.pack(e.tag, moved.get(e.tag, e.value)) for e in entries]
        table = b"".join(rows).ljust(packer.size * len(file.dynamic), b"\0")
        out[file.dynamic_offset : file.dynamic_offset + len(table)] = table
        return bytes(out)

    def _unshared(self, replaced: frozenset[Dt]) -> tuple[tuple[int, int], ...]:
        """Return the places of the old run paths that nothing else reads.

        A place ends before the NUL that closes it. It is not free when another name starts in it,
        or when the string that ends in it starts before it.
        """
        file = self._file
        entries = [e for e in file.dynamic if e.tag in STRING_TAGS]
        used = set(elf.name_offsets(file)) if replaced else set()
        used.update(e.value for e in entries if e.tag not in replaced)
        places = set()
        for entry in entries:
            start = entry.value
            if entry.tag in replaced and file.strings[start - 1 : start] == b"\0":
                end = start + len(_encoded(file.string(start)))
                if end > start and not any(start <= at < end for at in used):
                    places.add((start, end))
        return tuple(sorted(places))

    def _roomy_segment(self) -> Segment | None:
        """Return a loaded segment with proven room behind it, not executable first.

        Where sections are listed, tools copy only what stands in one: the section of the strings
        must move with them.
        """
        if self._file.sections and self._section() is None:
            return None
        candidates = [
            s
            for s in self._file.segments
            if s.type == Pt.LOAD and not s.writable and s.filesz == s.memsz and s.filesz
        ]
        candidates.sort(key=lambda s: s.executable)
        return next((s for s in candidates if self._has_room(s)), None)

    def _has_room(self, segment: Segment) -> bool:
        """Whether enough unused zero bytes follow a segment, in the file and in memory."""
        file, size = self._file, len(self._table)
        end, memory_end = segment.offset + segment.filesz, segment.vaddr + segment.memsz
        free = file.data[end : end + size]
        if len(free) < size or any(free) or memory_end + size >> 8 * file.shape.word:
            return False
        if any(n and at < end + size and at + n > end for at, n in self._spans()):
            return False
        return not any(
            other.vaddr - other.vaddr % max(other.align, 1) < memory_end + size
            and other.vaddr + other.memsz > memory_end
            for other in file.segments
            if other.type == Pt.LOAD
        )

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Yield offset and length of everything that is known to stand in the file."""
        file = self._file
        for segment in file.segments:
            yield segment.offset, segment.filesz
        for section in file.sections:
            if section.type != Sht.NOBITS:
                yield section.offset, section.size
        yield file.phoff, len(file.segments) * struct.calcsize(file.order + file.shape.segment)
        # One header at least: a table whose length stands in its first header is not read.
        headers = max(len(file.sections), 1)
        yield file.shoff, headers * struct.calcsize(file.order + file.shape.section)

    def _move_behind(self, out: bytearray, segment: Segment) -> dict[int, int]:
        """Put the table behind a segment; return the dynamic values that say so."""
        file = self._file
        size = len(self._table)
        address, place = segment.vaddr + segment.memsz, segment.offset + segment.filesz
        out[place : place + size] = self._table
        is_32_bit = file.elf_class == 1
        word = file.order + ("I" if is_32_bit else "Q")
        sizes = (segment.filesz + size, segment.memsz + size)
        _pack(out, word, segment.at + (16 if is_32_bit else 32), *sizes)
        section = self._section()
        if section is not None:
            _pack(out, word, section.at + (12 if is_32_bit else 16), address, place, size)
        return {Dt.STRTAB: address, Dt.STRSZ: size}

    def _section(self) -> Section | None:
        address = self._file.value(Dt.STRTAB)
        sections = (s for s in self._file.sections if s.type == Sht.STRTAB)
        return next((s for s in sections if s.addr == address), None)


def _pack(out: bytearray, word: str, at: int, *values: int) -> None:
    struct.pack_into(word[0] + word[1] * len(values), out, at, *values)
