"""The laws of editing that are of PE alone; those of every format are in ``test_laws.py``.

Of an edited file, all bytes stay but names, the numbers that lead to them, load flags, and the
checksum, which is right; pefile finds what we do, and the same imports and exports as before.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING

import pytest
from backend import GENTLE, all_applied
from hypothesis import given
from hypothesis import strategies as st
from pe_backend import ALL, BACKEND, EDITS, WITHOUT_ROOM, rename
from pe_files import (
    CERTIFICATE,
    PRIVATE,
    PROVIDER,
    PYTHON,
    changed,
    directory,
    directory_at,
    header_at,
    optional_at,
    second_reading,
    second_structure,
    section_rows,
)

from extlib_repair.binary import pe, pe_edit, second_reader
from extlib_repair.binary.pe_file import PeFile
from extlib_repair.model import DropSignature, RenameNeeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import BinaryEdit

every_edit = pytest.mark.parametrize("edits", EDITS.values(), ids=EDITS)
every_file = pytest.mark.parametrize("name", ALL)


def span(start: int, size: int) -> set[int]:
    return set(range(start, start + size))


def may_change(data: bytes) -> set[int]:
    """Return the offsets that an edit may write to, as far as the file reached."""
    file = PeFile(data)
    places = span(optional_at(data) + 64, 4)  # the checksum
    for descriptor in file.imports:
        places |= span(descriptor.name_field, 4)
        places |= span(file.place(descriptor.name_rva)[0], len(descriptor.name))
    if file.load_flags_at is not None:
        places |= span(file.load_flags_at, 2)
    return places | slack(data) | growth(data) | span(directory_at(data, CERTIFICATE), 8)


def slack(data: bytes) -> set[int]:
    """Return the places behind "VirtualSize", and of the numbers that say it."""
    places = set()
    for row in section_rows(data):
        size, _, raw_size, offset = struct.unpack_from("<IIII", data, row + 8)
        if size < raw_size:
            places |= span(row + 8, 4) | span(offset + size, raw_size - size)
    return places


def growth(data: bytes) -> set[int]:
    """Return the places that say how large a file is: NumberOfSections, two sizes, the next row."""
    optional = optional_at(data)
    places = span(header_at(data) + 6, 2) | span(optional + 8, 4) | span(optional + 56, 4)
    return places | span(section_rows(data)[-1] + 40, 40)


@every_edit
@every_file
def test_nothing_else_differs(name: str, edits: tuple[BinaryEdit, ...]) -> None:
    data = ALL[name]
    edited = BACKEND.edited_or_none(name, edits)
    if edited is None:
        return

    unsigned = directory(data, CERTIFICATE)[0] if DropSignature() in edits else 0
    end = unsigned or len(data)
    assert changed(data[:end], edited) <= may_change(data)
    assert len(edited) >= end
    if len(edited) > end:
        assert len(section_rows(edited)) == len(section_rows(data)) + 1
    if edited == data:
        assert pe.read(data) == all_applied(pe.read(data), edits)
    elif PeFile(data).checksum:
        assert second_structure(edited).verify_checksum()
    else:
        assert PeFile(edited).checksum == 0


@every_edit
@every_file
def test_pefile_reads_an_edited_file_alike(name: str, edits: tuple[BinaryEdit, ...]) -> None:
    edited = BACKEND.edited_or_none(name, edits)
    if edited is None:
        return

    facts = pe.read(edited)
    assert second_reader.read(edited) == tuple(map(second_reader.expected, facts.images))
    if edits == EDITS["bytes"]:  # no name of a file to pefile
        return
    before, after = second_reading(ALL[name]), second_reading(edited)
    new = renamed(edits)
    assert after == dataclasses.replace(
        before,
        needed=tuple(new.get(n, n) for n in before.needed),
        delayed=frozenset(new.get(n, n) for n in before.delayed),
        imports=frozenset((symbol, new.get(n, n)) for symbol, n in before.imports),
        is_signed=before.is_signed and DropSignature() not in edits,
    )


def renamed(edits: Sequence[BinaryEdit]) -> dict[str, str]:
    """Return how libraries are called in the end."""
    names = {n: n for n in (PROVIDER, PRIVATE, PYTHON)}
    for edit in edits:
        if isinstance(edit, RenameNeeded):
            names = {old: edit.new if n == edit.old else n for old, n in names.items()}
    return names


@every_file
def test_pefile_reads_a_file_alike(name: str) -> None:
    assert second_reader.read(ALL[name]) == tuple(
        map(second_reader.expected, pe.read(ALL[name]).images)
    )


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)
CONSUMERS = sorted(
    name
    for name, data in ALL.items()
    if len(pe.read(data).images[0].needed) == 3
    and name not in WITHOUT_ROOM | {"signed.pyd", "signed_full.pyd"}
)


@GENTLE
@given(
    name=st.sampled_from(CONSUMERS), renamed=st.lists(texts, min_size=1, max_size=3, unique=True)
)
def test_any_names_can_be_stored(name: str, renamed: list[str]) -> None:
    edits = [
        rename(old, new) for old, new in zip((PROVIDER, PRIVATE, PYTHON), renamed, strict=False)
    ]

    edited = pe_edit.edit(ALL[name], edits)
    facts = pe.read(edited)
    assert facts == all_applied(pe.read(ALL[name]), edits)
    assert second_reader.read(edited) == tuple(map(second_reader.expected, facts.images))
