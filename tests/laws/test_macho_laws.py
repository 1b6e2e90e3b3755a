"""The laws of editing that are of Mach-O alone; those of every format are in ``test_laws.py``.

Of an edited file, all bytes between header and signature stay; two readers other than ours find
what ours does; every page hash is right, by two counts other than ours.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import pytest
from backend import GENTLE, all_applied
from hypothesis import given
from hypothesis import strategies as st
from lief_reader import third_reading
from macho_backend import ALL, BACKEND, EDITS, NO_ROOM, rename, run_path
from macho_files import (
    FILES,
    LOADED,
    PRIVATE,
    Reading,
    commands_end,
    patched,
    second_reading,
    signature_place,
    thin_parts,
    wrong_pages,
)

from extlib_repair.binary import codesign, macho, macho_edit, second_reader
from extlib_repair.binary.macho_run_path import growth
from extlib_repair.model import AddNeeded, BinaryEdit, Kind, Signature, applied

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("name", ALL)
def test_nothing_else_differs_and_every_hash_is_right(
    name: str, edits: tuple[BinaryEdit, ...]
) -> None:
    data = ALL[name]
    old = macho.read(data)
    edited = BACKEND.edited_or_none(name, edits)
    if edited is None:
        return

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
    edited = BACKEND.edited_or_none(name, edits)
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
    edited = BACKEND.edited_or_none(name, edits)
    if edited is None:
        return

    for before, after, facts in zip(
        third_reading(ALL[name]), third_reading(edited), macho.read(edited).images, strict=True
    ):
        assert after.names == second_reader.expected(facts)
        assert after == dataclasses.replace(before, names=after.names, imports=facts.imports)


def same_between_header_and_signature(old: bytes, new: bytes) -> bool:
    place = signature_place(old)
    end = place[0] if place else len(old)
    return new[commands_end_after(old, new) : end] == old[commands_end_after(old, new) : end]


def commands_end_after(old: bytes, new: bytes) -> int:
    return max(commands_end(old), commands_end(new))


@pytest.mark.parametrize("name", sorted(LOADED))
def test_growth_is_counted_before_the_edit(name: str) -> None:
    for edits in EDITS.values():
        edited = BACKEND.edited_or_none(name, edits)
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
        edited = BACKEND.edited_or_none(name, edits)
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
