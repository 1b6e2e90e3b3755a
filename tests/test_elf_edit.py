"""Files laid out so that a careless editor would break them."""

from __future__ import annotations

import struct

import pytest
from elf_files import FILES, LONG

from extlib_repair.binary import elf, elf_edit
from extlib_repair.binary.elf_edit import edit
from extlib_repair.binary.elf_file import Dt, ElfFile, Pt, Segment, Sht
from extlib_repair.errors import CannotEditError
from extlib_repair.model import (
    AddNeeded,
    BinaryEdit,
    ClearLoadFlags,
    Image,
    RenameNeeded,
    RunPath,
    RunPathKind,
    SetRunPath,
)

PROVIDER = "$ORIGIN/../provider/lib"
TO_PROVIDER = SetRunPath(run_path=RunPath(entries=(PROVIDER,)))
PLAIN = FILES["plain.so"]


def image(data: bytes) -> Image:
    (found,) = elf.read(data).images
    return found


def changed(data: bytes, layout: str, at: int, *values: int) -> bytes:
    out = bytearray(data)
    struct.pack_into(layout, out, at, *values)
    return bytes(out)


def with_entry(data: bytes, old: Dt, tag: int, value: int) -> bytes:
    file = ElfFile(data)
    (index,) = (i for i, e in enumerate(file.dynamic) if e.tag == old)
    return changed(data, "<qQ", file.dynamic_offset + 16 * index, tag, value)


def loads(data: bytes) -> list[Segment]:
    return [s for s in ElfFile(data).segments if s.type == Pt.LOAD]


def keeps_its_strings(old: bytes, new: bytes) -> bool:
    return ElfFile(old).value(Dt.STRTAB) == ElfFile(new).value(Dt.STRTAB)


def test_a_run_path_changes_its_kind_where_it_stands() -> None:
    data = FILES["long_runpath.so"]
    wanted = RunPath(entries=(LONG,), kind=RunPathKind.RPATH)
    edited = edit(data, [SetRunPath(run_path=wanted)])

    assert image(edited).run_path == wanted
    assert sum(a != b for a, b in zip(data, edited, strict=True)) == 1


def test_the_new_run_path_stands_where_the_old_one_stood_in_the_table() -> None:
    tags = [e.tag for e in ElfFile(FILES["long_rpath.so"]).dynamic]

    edited = edit(FILES["long_rpath.so"], [TO_PROVIDER])
    assert [e.tag for e in ElfFile(edited).dynamic] == tags


def test_of_two_run_paths_that_share_their_end_nothing_is_left() -> None:
    file = ElfFile(FILES["both.so"])
    shared = (file.value(Dt.RUNPATH) or 0) + len("/build/deps/")
    data = with_entry(file.data, Dt.RPATH, Dt.RPATH, shared)
    assert image(data).ignored_run_path == (LONG.removeprefix("/build/deps/"),)

    edited = edit(data, [TO_PROVIDER])
    assert image(edited).search == (PROVIDER,)
    assert b"openblas-0.3.30" not in edited


def test_a_run_path_that_is_also_the_name_of_a_needed_library_stays_there() -> None:
    file = ElfFile(FILES["long_runpath.so"])
    value = file.value(Dt.RUNPATH) or 0
    data = with_entry(file.data, Dt.NEEDED, Dt.NEEDED, value)

    assert image(edit(data, [SetRunPath(run_path=None)])).needed == (LONG,)


def test_a_name_that_exists_is_used_again() -> None:
    edited = edit(PLAIN, [AddNeeded(library="cons_answer")])

    assert image(edited).needed == ("cons_answer", "libprov.so")
    assert keeps_its_strings(PLAIN, edited)


def test_the_strings_move_again_with_every_edit_that_needs_room() -> None:
    once = edit(PLAIN, [TO_PROVIDER])
    twice = edit(once, [AddNeeded(library="libadded.so.1")])
    gone = edit(twice, [SetRunPath(run_path=None)])

    assert image(twice).search == (PROVIDER,)
    assert image(gone).needed == ("libadded.so.1", "libprov.so")
    assert PROVIDER.encode() not in ElfFile(gone).strings
    assert image(gone).imports == image(PLAIN).imports
    assert len(gone) == len(PLAIN)


def test_strings_go_into_executable_memory_only_where_nothing_else_has_room() -> None:
    moved = ElfFile(edit(PLAIN, [TO_PROVIDER])).value(Dt.STRTAB) or 0
    (segment,) = (s for s in loads(PLAIN) if s.vaddr <= moved < s.vaddr + 0x1000)
    assert not segment.executable

    full = PLAIN
    for segment in loads(PLAIN):
        if not segment.writable and not segment.executable:
            full = changed(full, "B", segment.offset + segment.filesz, 1)
    edited = edit(full, [TO_PROVIDER])
    moved = ElfFile(edited).value(Dt.STRTAB) or 0
    (segment,) = (s for s in loads(edited) if s.vaddr <= moved < s.vaddr + s.memsz)
    assert segment.executable


def test_room_ends_where_the_page_of_the_next_segment_begins_in_memory() -> None:
    """With large pages, the next segment's first page covers what the file leaves free."""
    data = PLAIN
    for segment in loads(PLAIN)[1:]:
        data = changed(data, "<Q", segment.at + 48, 0x200000)

    edited = edit(data, [TO_PROVIDER])
    assert not keeps_its_strings(data, edited)
    assert len(edited) > len(data)


def test_bytes_that_are_not_zero_are_no_room() -> None:
    data = PLAIN
    for segment in loads(PLAIN):
        data = changed(data, "B", segment.offset + segment.filesz, 0xCC)

    assert len(edit(data, [TO_PROVIDER])) > len(data)


def test_zeros_of_a_section_are_no_room() -> None:
    file = ElfFile(PLAIN)
    (first, *_) = loads(PLAIN)
    unused = next(s for s in file.sections if not s.addr and s.type == Sht.STRTAB)
    data = changed(PLAIN, "<QQ", unused.at + 24, first.filesz + 4, 0xC00)
    edited = edit(data, [TO_PROVIDER])

    assert not any(edited[first.filesz : 0x1000])
    assert image(edited).search == (PROVIDER,)


def test_strings_whose_section_is_not_listed_do_not_move() -> None:
    """``strip`` copies only what stands in a section."""
    file = ElfFile(PLAIN)
    (section,) = (s for s in file.sections if s.addr == file.value(Dt.STRTAB))
    data = changed(PLAIN, "<Q", section.at + 16, 0x8000)

    try:
        edited = edit(data, [TO_PROVIDER])
    except CannotEditError:
        return
    assert len(edited) > len(data)


def test_the_section_of_the_strings_moves_with_them() -> None:
    file = ElfFile(edit(PLAIN, [TO_PROVIDER]))
    (section,) = (s for s in file.sections if s.addr == file.value(Dt.STRTAB))

    assert section.offset == file.offset(Dt.STRTAB)
    assert section.size == len(file.strings)


def test_room_that_only_the_program_header_promises_is_not_used() -> None:
    """Behind the table stands the global offset table, whose zeros the loader fills."""
    file = ElfFile(PLAIN)
    assert file.dynamic_segment is not None
    size = file.dynamic_segment.filesz
    data = changed(PLAIN, "<QQ", file.dynamic_segment.at + 32, size + 64, size + 64)

    assert ElfFile(data).slots == file.slots == size // 16


def test_an_entry_that_is_not_zero_behind_the_last_is_not_used() -> None:
    file = ElfFile(FILES["short_no_sections.so"])
    used = len(file.dynamic)
    data = changed(file.data, "<QQ", file.dynamic_offset + 16 * (used + 2), 0, 0xDEAD)

    assert file.slots > used + 3
    assert ElfFile(data).slots == used + 2
    with pytest.raises(CannotEditError):
        edit(data, [AddNeeded(library="liba.so"), AddNeeded(library="libb.so")])
    edited = edit(data, [AddNeeded(library="liba.so")])
    assert image(edited).needed == ("liba.so", "libprov.so")
    assert struct.pack("<QQ", 0, 0xDEAD) in edited


def test_a_table_without_an_end_can_only_be_replaced_entry_by_entry() -> None:
    """``ld --spare-dynamic-tags=0`` writes such files; what follows the table ends it, by luck."""
    data = FILES["no_spare_long.so"]
    file = ElfFile(data)

    assert file.slots == len(file.dynamic)
    assert image(edit(data, [TO_PROVIDER])).search == (PROVIDER,)
    assert image(edit(data, [SetRunPath(run_path=None)])).run_path is None
    with pytest.raises(CannotEditError) as caught:
        edit(data, [AddNeeded(library="libadded.so")])
    assert caught.value.hint


def test_the_dynamic_table_is_where_its_address_is_loaded() -> None:
    """Loaders do not look at the offset in the program header."""
    file = ElfFile(PLAIN)
    assert file.dynamic_segment is not None
    data = changed(PLAIN, "<Q", file.dynamic_segment.at + 8, 0)

    assert image(data) == image(PLAIN)


def test_a_library_without_symbols_can_be_edited() -> None:
    data = with_entry(FILES["long_runpath.so"], Dt.SYMTAB, 0x6FFFF000, 0)
    assert image(data).imports == frozenset()

    assert image(edit(data, [TO_PROVIDER])).search == (PROVIDER,)


def test_an_unknown_architecture_is_not_edited() -> None:
    """MIPS has entries whose value depends on where they stand."""
    with pytest.raises(CannotEditError, match="machine-8") as caught:
        edit(changed(PLAIN, "<H", 18, 8), [TO_PROVIDER])
    assert caught.value.hint


@pytest.mark.parametrize("name", ["object.o", "static_program", "short.debug"])
def test_a_file_without_a_dynamic_table_is_not_edited(name: str) -> None:
    with pytest.raises(CannotEditError, match="no dynamic table") as caught:
        edit(FILES[name], [TO_PROVIDER])
    assert caught.value.hint

    assert edit(FILES[name], [SetRunPath(run_path=None)]) == FILES[name]


@pytest.mark.parametrize("name", ["long_runpath.so", "plain.so"])
@pytest.mark.parametrize("entry", ["/a:/b", "a\0b", ""])
def test_a_run_path_that_no_file_can_hold_is_refused(name: str, entry: str) -> None:
    with pytest.raises(CannotEditError, match="would not say what was asked for") as caught:
        edit(FILES[name], [SetRunPath(run_path=RunPath(entries=(entry,)))])
    assert caught.value.hint


def test_text_that_is_no_bytes_is_refused() -> None:
    with pytest.raises(CannotEditError, match="cannot be stored as bytes"):
        edit(PLAIN, [AddNeeded(library="lib\ud800.so")])


def test_empty_entries_that_mean_the_current_folder_survive() -> None:
    wanted = RunPath(entries=("$ORIGIN", "", "$ORIGIN/lib", ""))

    assert image(edit(PLAIN, [SetRunPath(run_path=wanted)])).run_path == wanted


def test_a_file_whose_code_would_have_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = FILES["crowded.so"]
    for section in ElfFile(data).sections:
        if section.type == Sht.PROGBITS and section.addr:
            damaged = changed(data, "B", section.offset, data[section.offset] ^ 1)
            monkeypatch.setattr(elf_edit, "grow", lambda _, *, grown=damaged, **_wishes: grown)
            with pytest.raises(CannotEditError, match="does not load"):
                edit(data, [TO_PROVIDER])


def test_a_file_that_lost_its_relocations_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = FILES["crowded.so"]
    damaged = with_entry(data, Dt.JMPREL, Dt.JMPREL, 0)
    monkeypatch.setattr(elf_edit, "grow", lambda _, **_wishes: damaged)

    with pytest.raises(CannotEditError, match="does not load"):
        edit(data, [TO_PROVIDER])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (RenameNeeded(old="libprov.so", new="libother.so"), "RenameNeeded is nothing"),
        (ClearLoadFlags(), "ClearLoadFlags is nothing"),
        (
            SetRunPath(run_path=RunPath(entries=(PROVIDER,), kind=RunPathKind.LC_RPATH)),
            "no LC_RPATH",
        ),
    ],
)
def test_edits_for_other_formats_are_refused(change: BinaryEdit, message: str) -> None:
    with pytest.raises(CannotEditError, match=message):
        edit(PLAIN, [change])
