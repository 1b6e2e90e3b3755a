"""The laws of reading and editing (docs/internals.md), for Mach-O.

1. No edits change nothing.
2. Reading an edited file gives the facts with the edits applied, and nothing else differs: all
   bytes between header and signature, and every import and export.
3. Editing twice is editing once.
4. Whatever the bytes are: facts or a refusal; never another exception, never a hang.

After each edit, two readers other than ours find what ours does, and every page hash is right by
two counts other than ours.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lief_reader import third_reading
from macho_files import (
    BUILD,
    FILES,
    LOADED,
    PRIVATE,
    PROVIDER,
    Reading,
    commands_end,
    patched,
    second_reading,
    signature_place,
    thin_parts,
    with_two_directories,
    wrong_pages,
)

from extlib_repair.binary import codesign, macho, macho_edit, second_reader
from extlib_repair.binary.macho_run_path import growth
from extlib_repair.errors import BadBinaryError, CannotEditError
from extlib_repair.model import (
    AddNeeded,
    BinaryEdit,
    BinaryFacts,
    Image,
    Kind,
    RenameNeeded,
    RunPath,
    RunPathKind,
    SetRunPath,
    Signature,
    applied,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ENTRY = "@loader_path/../prov/lib"


def run_path(*entries: str) -> SetRunPath:
    return SetRunPath(run_path=RunPath(entries=entries, kind=RunPathKind.LC_RPATH))


def rename(old: str, new: str) -> RenameNeeded:
    return RenameNeeded(old=old, new=new)


EDITS: dict[str, tuple[BinaryEdit, ...]] = {
    "run path": (run_path(ENTRY),),
    "run paths": (run_path(ENTRY, BUILD, "@loader_path"),),
    "run path twice": (run_path(ENTRY, ENTRY),),
    "of another kind": (SetRunPath(run_path=RunPath(entries=(ENTRY,))),),
    "no run path": (SetRunPath(run_path=None),),
    "no entries": (run_path(),),
    "bytes": (run_path("@loader_path/é", "@loader_path/\udcff"),),
    "rename": (rename(PROVIDER, "@rpath/libscipy_openblas64_.dylib"),),
    "shorter": (rename(PROVIDER, "@rpath/l"),),
    "to and fro": (rename(PROVIDER, "@rpath/x"), rename("@rpath/x", PROVIDER)),
    "straight": (rename(PROVIDER, f"{ENTRY}/libprov.dylib"), SetRunPath(run_path=None)),
    "add": (AddNeeded(library="@rpath/libadded.dylib"),),
    "add known": (AddNeeded(library=PROVIDER),),
    "all": (
        rename(PROVIDER, "@rpath/libscipy_openblas64_.dylib"),
        AddNeeded(library="@rpath/libadded.dylib"),
        run_path(ENTRY),
    ),
}

SIGNED_TWICE = with_two_directories(FILES["chained_arm64.so"])
LARGE_PAGES = with_two_directories(FILES["signed_x86_64.so"], shift=14)
ALL = {**FILES, "two_directories.so": SIGNED_TWICE, "large_pages.so": LARGE_PAGES}
NO_ROOM = {"crowded_arm64.so", "crowded_x86_64.so"}


def image(data: bytes) -> Image:
    (found,) = macho.read(data).images
    return found


@pytest.mark.parametrize("name", ALL)
def test_no_edits_change_nothing(name: str) -> None:
    assert macho_edit.edit(ALL[name], ()) == ALL[name]


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("name", ALL)
def test_an_edited_file_says_what_was_asked_for_and_nothing_else_differs(
    name: str, edits: tuple[BinaryEdit, ...]
) -> None:
    data = ALL[name]
    old = macho.read(data)
    edited = edited_or_none(name, edits)
    if edited is None:
        return

    assert macho.read(edited) == all_applied(old, edits)
    assert macho_edit.edit(edited, edits) == edited
    assert codesign.problems(edited) == ()
    for before, after, facts in zip(thin_parts(data), thin_parts(edited), old.images, strict=True):
        assert same_between_header_and_signature(before, after)
        assert wrong_pages(after) == []
        if applied(facts, edits) == facts:
            assert after == before
        if facts.signature is not Signature.NONE or facts.arch != "arm64":
            assert len(after) == len(before)


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("name", ALL)
def test_macholib_reads_an_edited_file_alike(name: str, edits: tuple[BinaryEdit, ...]) -> None:
    edited = edited_or_none(name, edits)
    if edited is None or name == "object.o":
        return

    for before, after, facts in zip(
        second_reading(ALL[name]), second_reading(edited), macho.read(edited).images, strict=True
    ):
        assert (after.needed, after.rpaths) == (facts.needed, facts.search)
        assert without_signature(after) == dataclasses.replace(
            without_signature(before), needed=after.needed, rpaths=after.rpaths
        )


def without_signature(reading: Reading) -> Reading:
    return dataclasses.replace(reading, rest=tuple(n for n in reading.rest if n != 0x1D))


@pytest.mark.parametrize("name", ALL)
def test_lief_reads_a_file_as_we_do(name: str) -> None:
    for found, facts in zip(third_reading(ALL[name]), macho.read(ALL[name]).images, strict=True):
        assert found.names == second_reader.expected(facts)
        assert (found.imports, found.exports) == (facts.imports, facts.exports)
        assert not found.wrong_layout or facts.kind is Kind.OTHER  # dyld loads no such file


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("name", ALL)
def test_lief_reads_an_edited_file_alike(name: str, edits: tuple[BinaryEdit, ...]) -> None:
    edited = edited_or_none(name, edits)
    if edited is None:
        return

    for before, after, facts in zip(
        third_reading(ALL[name]), third_reading(edited), macho.read(edited).images, strict=True
    ):
        assert after.names == second_reader.expected(facts)
        assert after == dataclasses.replace(before, names=after.names, imports=facts.imports)


def all_applied(facts: BinaryFacts, edits: Sequence[BinaryEdit]) -> BinaryFacts:
    return dataclasses.replace(facts, images=tuple(applied(i, edits) for i in facts.images))


def edited_or_none(name: str, edits: Sequence[BinaryEdit]) -> bytes | None:
    """Edit; None where that is refused, which must be expected."""
    try:
        return macho_edit.edit(ALL[name], edits)
    except CannotEditError as refusal:
        error = refusal
    images = macho.read(ALL[name]).images
    assert error.exit_code == 6
    if name == "object.o":
        assert images[0].kind is Kind.OTHER
    else:
        assert name in NO_ROOM
        assert any(growth(i, edits) > i.header_room for i in images)
        assert "-headerpad_max_install_names" in str(error.hint)
    return None


def same_between_header_and_signature(old: bytes, new: bytes) -> bool:
    place = signature_place(old)
    end = place[0] if place else len(old)
    return new[commands_end_after(old, new) : end] == old[commands_end_after(old, new) : end]


def commands_end_after(old: bytes, new: bytes) -> int:
    return max(commands_end(old), commands_end(new))


@pytest.mark.parametrize("name", sorted(LOADED))
def test_growth_is_counted_before_the_edit(name: str) -> None:
    for edits in EDITS.values():
        edited = edited_or_none(name, edits)
        if edited is None:
            continue
        for before, after in zip(
            macho.read(ALL[name]).images, macho.read(edited).images, strict=True
        ):
            assert before.header_room - after.header_room == growth(before, edits)


def second_verdict(path: Path) -> list[str]:
    """Return what apple-platform-py finds wrong, but that nobody has signed it with a key."""
    apple: Any = pytest.importorskip("apple_platform")
    harmless = (
        "no cryptographic signature present",
        "Mach-O signature data not found",
        "CMS error: missing further values (at position 0)",
    )
    found = [str(problem["description"]) for problem in apple.verify_macho(os.fspath(path))]
    return [text for text in found if not text.endswith(harmless)]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(ALL) - {"object.o"}))
def test_a_second_implementation_finds_no_wrong_hash(name: str, tmp_path: Path) -> None:
    path = tmp_path / "edited"
    for edits in EDITS.values():
        edited = edited_or_none(name, edits)
        if edited is not None and edits != EDITS["bytes"]:  # names must be UTF-8 there
            path.write_bytes(edited)
            assert second_verdict(path) == []


@pytest.mark.slow
def test_the_second_implementation_does_find_wrong_hashes(tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(patched(FILES["chained_arm64.so"], 200, "B", 0xFF))

    assert [text.partition(";")[0] for text in second_verdict(path)] == [
        "code digest mismatch for entry 0"
    ]


GENTLE = settings(max_examples=150, deadline=dt.timedelta(seconds=5))
names = st.sampled_from(sorted(ALL))
wishes = st.sampled_from(sorted(EDITS))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A fixture with a few bytes or words overwritten: headers, tables, signatures."""
    data = bytearray(ALL[draw(names)])
    words = st.sampled_from([0, 1, 24, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
    tails = [4096 + 1500, len(data)]
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            at = draw(st.integers(0, min(1600, len(data) - 8)))
        else:
            start = max(0, len(data) - draw(st.sampled_from(tails)))
            at = draw(st.integers(start, len(data) - 8))
        if draw(st.booleans()):
            struct.pack_into("<Q", data, at, draw(words))
        else:
            data[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


def read_or_refused(data: bytes) -> BinaryFacts | None:
    try:
        facts = macho.read(data)
        codesign.problems(data)
    except BadBinaryError:
        return None
    return facts


def edit_or_refused(data: bytes, edits: Sequence[BinaryEdit]) -> None:
    try:
        edited = macho_edit.edit(data, edits, resign=True)
    except (BadBinaryError, CannotEditError):
        return
    assert edited == data or macho.read(edited) == all_applied(macho.read(data), edits)


@GENTLE
@given(name=names, share=st.floats(0, 1), wish=wishes)
def test_a_truncated_file_gives_facts_or_a_refusal(name: str, share: float, wish: str) -> None:
    data = ALL[name][: int(share * len(ALL[name]))]

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
    for start in (
        b"\xcf\xfa\xed\xfe",
        b"\xfe\xed\xfa\xce",
        b"\xca\xfe\xba\xbe\0\0\0\1",
        b"\xca\xfe\xba\xbf\0\0\0\1",
    ):
        read_or_refused(start + data)
        edit_or_refused(start + data, EDITS["all"])


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)


@GENTLE
@given(
    name=st.sampled_from(sorted(set(LOADED) - NO_ROOM - {"libreexporting.dylib"})),
    entries=st.lists(texts, min_size=1, max_size=3),
    libraries=st.lists(texts, max_size=2),
    renamed=texts,
)
def test_any_names_can_be_stored(
    name: str, entries: list[str], libraries: list[str], renamed: str
) -> None:
    added = [AddNeeded(library=library) for library in libraries if library != renamed]
    edits: list[BinaryEdit] = [rename(PRIVATE, renamed), *added, run_path(*entries)]

    edited = macho_edit.edit(LOADED[name], edits)
    assert macho.read(edited) == all_applied(macho.read(LOADED[name]), edits)
