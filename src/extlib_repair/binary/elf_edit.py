"""ELF: edit the run path and the needed names.

Three rungs, the first that holds:

1. the wanted strings exist already, or fit where the old run path stands and nobody else reads;
2. the string table moves, with the new strings, into zero bytes behind a segment that is not
   writable (the file keeps its length);
3. patchelf makes room (:mod:`extlib_repair.binary.grow`).

Which bytes are free is proved, not assumed: linkers let names share their ends.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING

from extlib_repair.binary import elf, grow
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
from extlib_repair.errors import CannotEditError
from extlib_repair.model import AddNeeded, BinaryEdit, RunPath, RunPathKind, SetRunPath

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAGS = {RunPathKind.RPATH: Dt.RPATH, RunPathKind.RUNPATH: Dt.RUNPATH}
_RUN_PATH_TAGS = frozenset({Dt.RPATH, Dt.RUNPATH})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    sets_run_path: bool
    run_path: RunPath | None
    """None for no run path at all; without meaning when it is not to be set."""

    added: tuple[str, ...]
    """Needed names to put in front, in this order."""

    @property
    def run_path_text(self) -> str | None:
        """The string to store, or None when none is."""
        if not self.sets_run_path or self.run_path is None:
            return None
        return ":".join(self.run_path.entries)


def edit(data: bytes, edits: Sequence[BinaryEdit]) -> bytes:
    """Return the file with the edits applied; the same bytes when they hold already.

    Raises :class:`BadBinaryError`, and :class:`CannotEditError` where no rung holds.
    """
    file = ElfFile(data)
    wanted = _wanted(file, edits)
    if _holds(file, wanted):
        return data
    if not file.dynamic:
        raise CannotEditError("the ELF file has no dynamic table")
    edited = _edited_here(file, wanted)
    if edited is None:
        edited = grow.grow(
            data,
            run_path=wanted.run_path,
            sets_run_path=wanted.sets_run_path,
            added=wanted.added,
        )
    if not _holds(ElfFile(edited), wanted):
        raise CannotEditError("the edited ELF file does not say what was asked for")
    return edited


def _wanted(file: ElfFile, edits: Sequence[BinaryEdit]) -> _Wanted:
    run_path: RunPath | None = None
    sets_run_path = False
    added: list[str] = []
    needed = _needed(file)
    for change in edits:
        match change:
            case SetRunPath():
                run_path, sets_run_path = change.run_path, True
            case AddNeeded(library=library):
                if library not in needed and library not in added:
                    added.append(library)
    if run_path is not None and not run_path.entries:
        run_path = None
    return _Wanted(sets_run_path=sets_run_path, run_path=run_path, added=tuple(added))


def _needed(file: ElfFile) -> frozenset[str]:
    return frozenset(file.string(e.value) for e in file.dynamic if e.tag == Dt.NEEDED)


def _holds(file: ElfFile, wanted: _Wanted) -> bool:
    if not _needed(file).issuperset(wanted.added):
        return False
    if not wanted.sets_run_path:
        return True
    tags = [e.tag for e in file.dynamic if e.tag in _RUN_PATH_TAGS]
    return elf.run_path(file) == wanted.run_path and len(tags) == (1 if wanted.run_path else 0)


def _edited_here(file: ElfFile, wanted: _Wanted) -> bytes | None:
    """Return the edited file of the same length, or None where it must grow."""
    replaced = _RUN_PATH_TAGS if wanted.sets_run_path else frozenset()
    kept = [e for e in file.dynamic if e.tag not in replaced]
    text = wanted.run_path_text
    if len(kept) + len(wanted.added) + (text is not None) >= file.slots:
        return None
    table = _Strings(file, replaced)
    names = table.place([_encoded(name) for name in wanted.added])
    run_path_at = table.place([] if text is None else [_encoded(text)])
    if not table.settle():
        return None
    if text is not None:
        assert wanted.run_path is not None
        position = next((i for i, e in enumerate(file.dynamic) if e.tag in replaced), len(kept))
        kept.insert(position, Dynamic(_TAGS[wanted.run_path.kind], run_path_at[0]))
    return table.write([Dynamic(Dt.NEEDED, at) for at in names] + kept)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class _Strings:
    """The string table of a file that is being edited, and where it will stand."""

    def __init__(self, file: ElfFile, replaced: frozenset[Dt]) -> None:
        self._file = file
        self._replaced = replaced
        self._table = bytearray(file.strings)
        self._free = self._free_runs()
        self._blanked = tuple(self._free)
        for start, end in self._free:
            self._table[start:end] = bytes(end - start)
        self._segment: Segment | None = None
        """The segment that the table moves to the end of."""

    def place(self, strings: Sequence[bytes]) -> list[int]:
        """Put strings into the table, behind its old end where nothing else does."""
        return [self._place(string) for string in strings]

    def settle(self) -> bool:
        """Find a place for the table; False where there is none."""
        if len(self._table) == len(self._file.strings):
            return True
        self._segment = self._roomy_segment(len(self._table))
        return self._segment is not None

    def _place(self, string: bytes) -> int:
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

    def _free_runs(self) -> list[tuple[int, int]]:
        """Return the places of the old run paths that nothing else reads.

        A run ends before the NUL that closes it. It is not free when another name starts in it, or
        when the string that ends in it starts before it.
        """
        file = self._file
        runs = []
        used = set(elf.name_offsets(file))
        used.update(
            e.value for e in file.dynamic if e.tag in STRING_TAGS and e.tag not in self._replaced
        )
        for entry in file.dynamic:
            if entry.tag not in self._replaced:
                continue
            start = entry.value
            end = start + len(_encoded(file.string(start)))
            alone = start > 0 and file.strings[start - 1] == 0
            if alone and end > start and not any(start <= at < end for at in used):
                runs.append((start, end))
        return sorted(set(runs))

    def _roomy_segment(self, size: int) -> Segment | None:
        """Return a loaded segment with this much proven room behind it, not executable first."""
        candidates = [
            s
            for s in self._file.segments
            if s.type == Pt.LOAD and not s.writable and s.filesz == s.memsz and s.filesz
        ]
        candidates.sort(key=lambda s: s.executable)
        return next((s for s in candidates if self._has_room(s, size)), None)

    def _has_room(self, segment: Segment, size: int) -> bool:
        """Whether so many unused zero bytes follow a segment, in the file and in memory."""
        file = self._file
        end, memory_end = segment.offset + segment.filesz, segment.vaddr + segment.memsz
        spans = [(s.offset, s.filesz) for s in file.segments]
        spans += [(s.offset, s.size) for s in file.sections if s.type != Sht.NOBITS]
        headers = len(file.segments) * struct.calcsize(file.order + file.shape.segment)
        sections = len(file.sections) * struct.calcsize(file.order + file.shape.section)
        spans += [(file.phoff, headers), (file.shoff, sections), (len(file.data), 1)]
        if any(start < end < start + size for start, size in spans):
            return False
        room = min(start for start, size in spans if size and start >= end) - end
        for other in file.segments:
            if other.type == Pt.LOAD and other.vaddr >= memory_end:
                page = max(other.align, 1)
                room = min(room, other.vaddr - other.vaddr % page - memory_end)
        return room >= size and not any(file.data[end : end + size])

    def write(self, entries: Sequence[Dynamic]) -> bytes:
        """Return the file with this dynamic table and the strings as placed."""
        file = self._file
        out = bytearray(file.data)
        if self._segment is None:
            address, place = file.value(Dt.STRTAB) or 0, file.offset(Dt.STRTAB) or 0
        else:
            address = self._segment.vaddr + self._segment.memsz
            place = self._segment.offset + self._segment.filesz
            self._enlarge(out, self._segment)
            self._move_section(out, address, place)
            old = file.offset(Dt.STRTAB) or 0
            for start, end in self._blanked:
                out[old + start : old + end] = bytes(end - start)
        out[place : place + len(self._table)] = self._table
        moved = {Dt.STRTAB: address, Dt.STRSZ: len(self._table)}
        assert file.dynamic_segment is not None
        packer = struct.Struct(file.order + file.shape.dynamic)
        rows = [
            packer.pack(e.tag, moved.get(e.tag, e.value))  # type: ignore[call-overload]
            for e in entries
        ]
        table = b"".join(rows).ljust(packer.size * file.slots, b"\0")
        start = file.dynamic_segment.offset
        out[start : start + len(table)] = self._with_old_tail(table, len(rows))
        return bytes(out)

    def _with_old_tail(self, table: bytes, count: int) -> bytes:
        """Keep what stands behind the DT_NULL entries, which is not ours."""
        file = self._file
        assert file.dynamic_segment is not None
        width = 2 * file.shape.word
        old = file.slice(file.dynamic_segment.offset, len(table))
        used = max(count, len(file.dynamic)) + 1
        return table[: used * width] + old[used * width :]

    def _enlarge(self, out: bytearray, segment: Segment) -> None:
        size = segment.filesz + len(self._table)
        word = "I" if self._file.elf_class == 1 else "Q"
        sizes_at = segment.at + (16 if self._file.elf_class == 1 else 32)
        struct.pack_into(self._file.order + word * 2, out, sizes_at, size, size)

    def _move_section(self, out: bytearray, address: int, place: int) -> None:
        section = self._section()
        if section is None:
            return
        word = "I" if self._file.elf_class == 1 else "Q"
        at = section.at + (12 if self._file.elf_class == 1 else 16)
        struct.pack_into(self._file.order + word * 3, out, at, address, place, len(self._table))

    def _section(self) -> Section | None:
        address = self._file.value(Dt.STRTAB)
        return next(
            (s for s in self._file.sections if s.type == Sht.STRTAB and s.addr == address), None
        )
