"""The laws of editing that are of ELF alone; those of every format are in ``test_laws.py``.

pyelftools, too, finds in an edited file what was asked for; nothing moves but what must; and what
moves is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from backend import GENTLE
from elf_backend import BACKEND, EDITS, RUNGS, run_path
from elf_files import FILES, LONG, REFUSED, WITHOUT_TABLE, rung, second_applied, second_reading
from hypothesis import given
from hypothesis import strategies as st

from extlib_repair.binary import elf, elf_edit
from extlib_repair.binary.elf_file import Dt, ElfFile, Pt, Sht
from extlib_repair.model import AddNeeded, BinaryEdit, Image, RunPathKind, applied

if TYPE_CHECKING:
    from collections.abc import Iterator


def image(data: bytes) -> Image:
    (found,) = elf.read(data).images
    return found


@pytest.mark.parametrize("name", FILES)
def test_the_cheapest_rung_that_holds_is_used(name: str) -> None:
    data = FILES[name]

    assert (rung(data, EDITS["rpath"]), rung(data, EDITS["add"])) == RUNGS[name]


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("name", FILES)
def test_another_reader_finds_what_was_asked_for_and_nothing_else_differs(
    name: str, edits: tuple[BinaryEdit, ...]
) -> None:
    data = FILES[name]
    if (edited := BACKEND.edited_or_none(name, edits)) is None:
        return

    # pyelftools stumbles over names that are no UTF-8.
    if name not in WITHOUT_TABLE and edits != EDITS["bytes"]:
        assert second_reading(edited) == second_applied(second_reading(data), edits)
        assert dynamic_rest(edited) == dynamic_rest(data)
    if len(edited) == len(data):
        assert set(differences(data, edited)) <= set(may_differ(data, edited))


def dynamic_rest(data: bytes) -> list[int]:
    """Return the tags other than those that are edited, in order."""
    edited = {Dt.NEEDED, Dt.RPATH, Dt.RUNPATH}
    return [e.tag for e in ElfFile(data).dynamic if e.tag not in edited]


def differences(old: bytes, new: bytes) -> Iterator[int]:
    return (i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)


def may_differ(old: bytes, new: bytes) -> Iterator[int]:
    """Yield the offsets of the dynamic table, its strings, and what says where they are."""
    for data in (old, new):
        file = ElfFile(data)
        if file.dynamic:
            yield from range(file.dynamic_offset, file.dynamic_offset + len(file.dynamic) * 16)
            at = file.offset(Dt.STRTAB) or 0
            yield from range(at, at + len(file.strings))
        for section in file.sections:
            if section.addr == file.value(Dt.STRTAB):
                yield from range(section.at, section.at + 64)
        yield from (s.at + i for s in file.segments if s.type == Pt.LOAD for i in range(56))


@pytest.mark.parametrize("edits", [EDITS["rpath"], EDITS["no run path"], EDITS["long"]])
@pytest.mark.parametrize("name", sorted(n for n in FILES if LONG.encode() in FILES[n]))
def test_the_path_of_the_build_machine_is_gone_from_the_file(
    name: str, edits: tuple[BinaryEdit, ...]
) -> None:
    edited = BACKEND.edited_or_none(name, edits)
    if edited is None:
        return

    if name == "tail_in_it.so":
        # The name of an import is its tail, so that it must stay; nothing points at it.
        assert "prov_add" in {i.name for i in image(edited).imports}
        assert LONG.encode() in edited
    else:
        assert LONG.encode() not in edited


@pytest.mark.parametrize("name", ["tail_in_it.so", "it_is_a_tail.so"])
def test_bytes_that_another_name_shares_are_not_overwritten(name: str) -> None:
    data = FILES[name]
    old = ElfFile(data)

    new = ElfFile(elf_edit.edit(data, EDITS["short"]))
    assert new.strings[: len(old.strings)] == old.strings
    assert new.value(Dt.STRTAB) != old.value(Dt.STRTAB)


def test_two_run_paths_become_one_also_where_the_file_must_grow() -> None:
    """patchelf alone leaves both."""
    edited = elf_edit.edit(FILES["both.so"], EDITS["long"])

    assert len(edited) > len(FILES["both.so"])
    assert [e.tag for e in ElfFile(edited).dynamic].count(Dt.RPATH) == 1
    assert image(edited).ignored_run_path == ()
    assert b"/old/rpath" not in edited


@pytest.mark.parametrize("name", sorted(set(FILES) - WITHOUT_TABLE))
def test_whatever_rung_was_used_the_segments_are_as_loaders_demand(name: str) -> None:
    for edits in EDITS.values():
        edited = BACKEND.edited_or_none(name, edits)
        assert edited is None or ElfFile(edited).is_loadable


SIZES = {Dt.RELR: 35, Dt.RELA: Dt.RELASZ, Dt.REL: Dt.RELSZ, Dt.JMPREL: Dt.PLTRELSZ}
"""Tags of relocations, with those that say how long they are."""


@pytest.mark.parametrize("name", sorted(set(FILES) - WITHOUT_TABLE))
def test_whatever_moves_the_loader_finds_the_same_relocations(name: str) -> None:
    for edits in EDITS.values():
        edited = BACKEND.edited_or_none(name, edits)
        assert edited is None or relocations(edited) == relocations(FILES[name])


def relocations(data: bytes) -> dict[Dt, bytes]:
    file = ElfFile(data)
    sizes = {entry.tag: entry.value for entry in file.dynamic}
    return {
        tag: file.slice(file.offset(tag) or 0, sizes[size])
        for tag, size in SIZES.items()
        if tag in sizes and size in sizes
    }


def test_version_definitions_that_patchelf_moves_are_found_at_their_new_place() -> None:
    """patchelf forgets to say where they are (NixOS/patchelf#664)."""
    data = FILES["verdef.so"]
    old, new = ElfFile(data), ElfFile(elf_edit.edit(data, EDITS["add and set"]))
    (before,), (after,) = (
        [s.addr for s in file.sections if s.type == Sht.VERDEF] for file in (old, new)
    )

    assert before != after
    assert (old.value(Dt.VERDEF), new.value(Dt.VERDEF)) == (before, after)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0:"), min_size=1, max_size=90)


@GENTLE
@given(
    name=st.sampled_from(sorted(n for n in FILES if REFUSED not in RUNGS[n])),
    entries=st.lists(texts, min_size=1, max_size=3),
    libraries=st.lists(texts, max_size=2),
    kind=st.sampled_from([RunPathKind.RPATH, RunPathKind.RUNPATH]),
)
def test_any_names_can_be_stored(
    name: str, entries: list[str], libraries: list[str], kind: RunPathKind
) -> None:
    added = [AddNeeded(library=library) for library in libraries]
    edits: list[BinaryEdit] = [*added, run_path(*entries, kind=kind)]
    if any(text.startswith("@") for text in (entries[0], *libraries)):
        return  # patchelf would read a file: refused, in test_grow.py.

    edited = elf_edit.edit(FILES[name], edits)
    assert image(edited) == applied(image(FILES[name]), edits)
