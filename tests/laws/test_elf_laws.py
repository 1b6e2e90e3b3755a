"""The laws of reading and editing (docs/internals.md), for ELF.

1. No edits change nothing.
2. Reading an edited file gives the facts with the edits applied, and nothing else differs.
3. Editing twice is editing once.
4. Whatever the bytes are: facts or a refusal; never another exception, never a hang.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import struct
from typing import TYPE_CHECKING

import pytest
from elf_files import FILES, LONG, WITHOUT_TABLE, Reading, second_reading
from hypothesis import given, settings
from hypothesis import strategies as st

from extlib_repair.binary import elf, elf_edit
from extlib_repair.binary.elf_file import Dt, ElfFile, Pt
from extlib_repair.errors import BadBinaryError, CannotEditError
from extlib_repair.model import (
    AddNeeded,
    BinaryEdit,
    Image,
    RenameNeeded,
    RunPath,
    RunPathKind,
    SetRunPath,
    applied,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROVIDER = "$ORIGIN/../provider/lib"


def run_path(*entries: str, kind: RunPathKind = RunPathKind.RPATH) -> SetRunPath:
    return SetRunPath(run_path=RunPath(entries=entries, kind=kind))


EDITS: dict[str, tuple[BinaryEdit, ...]] = {
    "rpath": (run_path(PROVIDER),),
    "runpath": (run_path(PROVIDER, kind=RunPathKind.RUNPATH),),
    "short": (run_path("$ORIGIN", kind=RunPathKind.RUNPATH),),
    "long": (run_path(PROVIDER, "$ORIGIN/" + 60 * "x"),),
    "no run path": (SetRunPath(run_path=None),),
    "no entries": (run_path(),),
    "bytes": (run_path("$ORIGIN/é", "$ORIGIN/\udcff"),),
    "add": (AddNeeded(library="libadded.so.1"),),
    "add two": (AddNeeded(library="libzz.so"), AddNeeded(library="libaa.so")),
    "add known": (AddNeeded(library="libprov.so"),),
    "add and set": (AddNeeded(library="libadded.so.1"), run_path(PROVIDER)),
    "add and remove": (AddNeeded(library="libadded.so.1"), SetRunPath(run_path=None)),
    "set twice": (run_path("/a/b/c"), run_path(PROVIDER)),
    "a name that exists": (AddNeeded(library="prov_add"), run_path("libprov.so")),
}

IN_PLACE, SLACK, PATCHELF, REFUSED = "in place", "slack", "patchelf", "refused"

NO_ROOM = {
    *{"crowded.so", "extension.so", "lld.so", "mold.so", "no_exports.so", "program", "sysv.so"},
    *{"libother.so", "libprov.so", "libver.so.1", "pages_64k.so"},
}
OLD_PATH_HAS_ROOM = {
    *{"both.so", "lld_long.so", "long_rpath.so", "long_runpath.so", "program_pie"},
    *(name for name in FILES if name.startswith("versions.") and name != "versions.so"),
}
RUNGS = {
    **dict.fromkeys(FILES, (SLACK, SLACK)),
    **dict.fromkeys(NO_ROOM, (PATCHELF, PATCHELF)),
    **dict.fromkeys(OLD_PATH_HAS_ROOM, (IN_PLACE, PATCHELF)),
    # patchelf reads sections.
    "crowded_no_sections.so": (REFUSED, REFUSED),
    "no_exports_no_sections.so": (REFUSED, REFUSED),
    "long_no_sections.so": (IN_PLACE, REFUSED),
    # Not one DT_NULL: an entry can be replaced, but none can be added.
    "no_spare.so": (REFUSED, REFUSED),
    "no_spare_long.so": (IN_PLACE, REFUSED),
    **dict.fromkeys(WITHOUT_TABLE, (REFUSED, REFUSED)),
}
"""How each file gets a run path to a provider, and how another needed name."""


def image(data: bytes) -> Image:
    (found,) = elf.read(data).images
    return found


def rung(data: bytes, edits: Sequence[BinaryEdit]) -> str:
    try:
        edited = elf_edit.edit(data, edits)
    except CannotEditError:
        return REFUSED
    if len(edited) != len(data):
        return PATCHELF
    moved = ElfFile(edited).value(Dt.STRTAB) != ElfFile(data).value(Dt.STRTAB)
    return SLACK if moved else IN_PLACE


@pytest.mark.parametrize("name", FILES)
def test_no_edits_change_nothing(name: str) -> None:
    assert elf_edit.edit(FILES[name], ()) == FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_the_cheapest_rung_that_holds_is_used(name: str) -> None:
    data = FILES[name]

    assert (rung(data, EDITS["rpath"]), rung(data, EDITS["add"])) == RUNGS[name]


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("name", FILES)
def test_an_edited_file_says_what_was_asked_for_and_nothing_else_differs(
    name: str, edits: tuple[BinaryEdit, ...]
) -> None:
    data = FILES[name]
    if (edited := edited_or_none(name, edits)) is None:
        return

    assert image(edited) == applied(image(data), edits)
    assert elf_edit.edit(edited, edits) == edited
    # pyelftools stumbles over names that are no UTF-8.
    if name not in WITHOUT_TABLE and edits != EDITS["bytes"]:
        assert second_reading(edited) == second_applied(second_reading(data), edits)
        assert dynamic_rest(edited) == dynamic_rest(data)
    if len(edited) == len(data):
        assert set(differences(data, edited)) <= set(may_differ(data, edited))


def edited_or_none(name: str, edits: tuple[BinaryEdit, ...]) -> bytes | None:
    """Edit; None where that is refused, which must be expected."""
    try:
        return elf_edit.edit(FILES[name], edits)
    except CannotEditError as refusal:
        error = refusal
    assert REFUSED in RUNGS[name]
    assert error.exit_code == 6
    assert error.hint
    return None


def second_applied(reading: Reading, edits: Sequence[BinaryEdit]) -> Reading:
    for change in edits:
        assert not isinstance(change, RenameNeeded)
        if isinstance(change, AddNeeded):
            if change.library not in reading.needed:
                reading = dataclasses.replace(reading, needed=(change.library, *reading.needed))
            continue
        reading = dataclasses.replace(reading, rpath=None, runpath=None)
        if change.run_path is not None and change.run_path.entries:
            text = ":".join(change.run_path.entries)
            if change.run_path.kind is RunPathKind.RPATH:
                reading = dataclasses.replace(reading, rpath=text)
            else:
                reading = dataclasses.replace(reading, runpath=text)
    return reading


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
    edited = edited_or_none(name, edits)
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
        edited = edited_or_none(name, edits)
        assert edited is None or ElfFile(edited).is_loadable


GENTLE = settings(max_examples=150, deadline=dt.timedelta(seconds=5))
names = st.sampled_from(sorted(FILES))
wishes = st.sampled_from(sorted(EDITS))
HEADERS = 64 + 9 * 56


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A fixture with a few bytes, or whole words, overwritten: half of them in the headers."""
    data = bytearray(FILES[draw(names)])
    words = st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
    for _ in range(draw(st.integers(1, 4))):
        end = draw(st.sampled_from([HEADERS, len(data)]))
        at = draw(st.integers(0, min(end, len(data)) - 8))
        if draw(st.booleans()):
            struct.pack_into("<Q", data, at, draw(words))
        else:
            data[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


def read_or_refused(data: bytes) -> Image | None:
    try:
        return image(data)
    except BadBinaryError:
        return None


def edit_or_refused(data: bytes, edits: Sequence[BinaryEdit]) -> None:
    try:
        edited = elf_edit.edit(data, edits)
    except (BadBinaryError, CannotEditError):
        return
    assert edited == data or image(edited) == applied(image(data), edits)


@GENTLE
@given(name=names, share=st.floats(0, 1), wish=wishes)
def test_a_truncated_file_gives_facts_or_a_refusal(name: str, share: float, wish: str) -> None:
    data = FILES[name][: int(share * len(FILES[name]))]

    read_or_refused(data)
    edit_or_refused(data, EDITS[wish])


@GENTLE
@given(data=damaged(), wish=wishes)
def test_a_damaged_file_gives_facts_or_a_refusal(data: bytes, wish: str) -> None:
    read_or_refused(data)
    edit_or_refused(data, EDITS[wish])


@GENTLE
@given(data=st.binary(max_size=400))
def test_random_bytes_behind_the_magic_give_facts_or_a_refusal(data: bytes) -> None:
    for start in (b"\x7fELF\x02\x01", b"\x7fELF\x01\x02"):
        read_or_refused(start + data)
        edit_or_refused(start + data, EDITS["add and set"])


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
