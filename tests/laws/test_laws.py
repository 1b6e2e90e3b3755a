"""The laws of reading and editing (docs/internals.md), for every format of binaries.

1. No edits change nothing.
2. Reading an edited file gives the facts with the edits applied. That nothing else differs is
   held against other readers in the file of each format.
3. Editing twice is editing once.
4. Whatever the bytes are: facts or a refusal; never another exception, never a hang.
"""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

import elf_backend
import macho_backend
import pe_backend
import pytest
from backend import GENTLE, Backend, all_applied
from hypothesis import given
from hypothesis import strategies as st

from extlib_repair.errors import BadBinaryError, CannotEditError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import BinaryEdit

BACKENDS = {
    "ELF": elf_backend.BACKEND,
    "Mach-O": macho_backend.BACKEND,
    "PE": pe_backend.BACKEND,
}

every_format = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
every_file = pytest.mark.parametrize(
    ("backend", "name"),
    [
        pytest.param(backend, name, id=f"{label}-{name}")
        for label, backend in BACKENDS.items()
        for name in backend.files
    ],
)
every_edit_of_every_file = pytest.mark.parametrize(
    ("backend", "name", "edits"),
    [
        pytest.param(backend, name, edits, id=f"{label}-{name}-{wish}")
        for label, backend in BACKENDS.items()
        for name in backend.files
        for wish, edits in backend.edits.items()
    ],
)


@every_file
def test_no_edits_change_nothing(backend: Backend, name: str) -> None:
    assert backend.edit(backend.files[name], ()) == backend.files[name]


@every_edit_of_every_file
def test_an_edited_file_says_what_was_asked_for(
    backend: Backend, name: str, edits: tuple[BinaryEdit, ...]
) -> None:
    edited = backend.edited_or_none(name, edits)

    if edited is not None:
        assert backend.read(edited) == all_applied(backend.read(backend.files[name]), edits)


@every_edit_of_every_file
def test_editing_twice_is_editing_once(
    backend: Backend, name: str, edits: tuple[BinaryEdit, ...]
) -> None:
    edited = backend.edited_or_none(name, edits)

    if edited is not None:
        assert backend.edit(edited, edits) == edited


WORDS = (0, 1, 24, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
"""Nothing, little, the size of a small header, and limits of numbers."""


def names(backend: Backend) -> st.SearchStrategy[str]:
    return st.sampled_from(sorted(backend.files))


def wishes(backend: Backend) -> st.SearchStrategy[str]:
    return st.sampled_from(sorted(backend.edits))


@st.composite
def damaged(draw: st.DrawFn, backend: Backend) -> bytes:
    """A fixture with a few bytes, or whole words, overwritten."""
    data = bytearray(backend.files[draw(names(backend))])
    for _ in range(draw(st.integers(1, 4))):
        start, end, _ = draw(st.sampled_from(backend.zones)).indices(len(data))
        at = draw(st.integers(start, end - 8))
        if draw(st.booleans()):
            struct.pack_into("<Q", data, at, draw(st.sampled_from(WORDS)))
        else:
            data[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


def survives(backend: Backend, data: bytes, wish: str) -> None:
    """Read and edit: facts or a refusal."""
    with contextlib.suppress(BadBinaryError):
        backend.examine(data)
    edit_or_refused(backend, data, backend.edits[wish])


def edit_or_refused(backend: Backend, data: bytes, edits: Sequence[BinaryEdit]) -> None:
    try:
        edited = backend.edit_freely(data, edits)
    except (BadBinaryError, CannotEditError):
        return
    assert edited == data or backend.read(edited) == all_applied(backend.read(data), edits)


@every_format
@GENTLE
@given(drawn=st.data(), share=st.floats(0, 1))
def test_a_truncated_file_gives_facts_or_a_refusal(
    backend: Backend, drawn: st.DataObject, share: float
) -> None:
    data = backend.files[drawn.draw(names(backend))]

    survives(backend, data[: int(share * len(data))], drawn.draw(wishes(backend)))


@every_format
@GENTLE
@given(drawn=st.data())
def test_a_damaged_file_gives_facts_or_a_refusal(backend: Backend, drawn: st.DataObject) -> None:
    survives(backend, drawn.draw(damaged(backend)), drawn.draw(wishes(backend)))


@every_format
@GENTLE
@given(data=st.binary(max_size=400))
def test_random_bytes_behind_the_magic_give_facts_or_a_refusal(
    backend: Backend, data: bytes
) -> None:
    for start in backend.starts:
        survives(backend, start + data, backend.richest)
