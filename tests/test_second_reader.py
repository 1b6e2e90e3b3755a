"""pyelftools as the second reader of what was edited."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from elf_files import FILES, WITHOUT_TABLE
from wheels import make_wheel

from extlib_repair import verifying
from extlib_repair.binary import edit, elf, second_reader
from extlib_repair.errors import CannotWriteError
from extlib_repair.model import (
    AddNeeded,
    BinaryFacts,
    Format,
    Member,
    RunPath,
    RunPathKind,
    SetRunPath,
    frozen_mapping,
)
from extlib_repair.wheelfile import WheelFile

if TYPE_CHECKING:
    from pathlib import Path

    from extlib_repair.model import Image

MEMBER = Member("demo/x.so")
FILE = FILES["long_runpath.so"]
NEW = RunPath(entries=("$ORIGIN/../prov.libs", "$ORIGIN"), kind=RunPathKind.RPATH)
WITHOUT_ROOM = {
    "crowded_no_sections.so",
    "no_exports_no_sections.so",
    "no_spare.so",
    "no_spare_long.so",
}
"""Files that patchelf cannot enlarge either, or that nobody can give another needed name."""

HOLLOW = {"program_pie.debug", "short.debug"}
"""Files whose dynamic table is elsewhere: never edited, and pyelftools reads other bytes."""


def image_of(data: bytes) -> Image:
    (image,) = elf.read(data).images
    return image


@pytest.mark.parametrize("name", sorted(set(FILES) - HOLLOW))
def test_both_readers_agree(name: str) -> None:
    assert second_reader.read(FILES[name]) == second_reader.expected(image_of(FILES[name]))


@pytest.mark.parametrize("name", sorted(set(FILES) - WITHOUT_TABLE - WITHOUT_ROOM))
def test_both_readers_agree_on_what_was_edited(name: str) -> None:
    edited = edit(FILES[name], [SetRunPath(run_path=NEW), AddNeeded(library="libnew.so.1")])

    found = second_reader.read(edited)

    assert found == second_reader.expected(image_of(edited))
    assert found is not None
    assert (found.needed[0], found.run_path) == ("libnew.so.1", NEW)


def test_what_is_read() -> None:
    assert second_reader.read(FILES["both.so"]) == second_reader.Reading(
        needed=("libprov.so",),
        run_path=RunPath(
            entries=("/build/deps/openblas-0.3.30/installation/prefix/lib",),
            kind=RunPathKind.RUNPATH,
        ),
        ignored_run_path=("/old/rpath", "$ORIGIN"),
    )


@pytest.mark.parametrize("name", sorted(HOLLOW))
def test_a_file_whose_table_is_elsewhere_is_not_read(name: str) -> None:
    assert second_reader.read(FILES[name]) is None


def test_a_run_path_that_is_no_text_is_read() -> None:
    data = FILES["long_no_sections.so"].replace(b"/build/deps", b"/b\xfcild/d\xffps")

    found = second_reader.read(data)

    assert found == second_reader.expected(image_of(data))
    assert found is not None
    assert found.run_path is not None
    assert found.run_path.entries[0].startswith("/b\udcfcild/d\udcffps")


def test_an_empty_run_path_is_read() -> None:
    data = FILES["long_runpath.so"].replace(b"/build/deps", b"\0build/deps")

    found = second_reader.read(data)

    assert found == second_reader.expected(image_of(data))
    assert found is not None
    assert found.run_path == RunPath(entries=(), kind=RunPathKind.RUNPATH)


def unreadable_by_pyelftools() -> bytes:
    """Let the section headers, which loaders do not look at, stand behind the end of the file."""
    data = bytearray(FILE)
    struct.pack_into("<Q", data, 40, 0x7FFFFFFF)
    return bytes(data)


# --- In the place where it is asked -------------------------------------------------------------


def verified(folder: Path, data: bytes, seen: Image, edited: list[Member]) -> None:
    """Read a wheel back whose first reader is taken to have seen ``seen``."""
    path = make_wheel(folder, {MEMBER: data})
    facts = frozen_mapping([(MEMBER, BinaryFacts(format=Format.ELF, images=(seen,)))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WheelFile, "_binaries", lambda _: facts.items())
        with WheelFile(path) as wheel:
            expected = wheel.facts()
        verifying.verify(path, expected, edited)


WRONG: dict[str, AddNeeded | SetRunPath] = {
    "a needed name": AddNeeded(library="libother.so"),
    "a run path": SetRunPath(run_path=NEW),
    "no run path": SetRunPath(run_path=None),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_disagreement_is_refused(wrong: AddNeeded | SetRunPath, tmp_path: Path) -> None:
    seen = image_of(edit(FILE, [wrong]))

    with pytest.raises(CannotWriteError) as caught:
        verified(tmp_path, FILE, seen, [MEMBER])

    assert "names and run paths in demo/x.so, as pyelftools reads it, did not" in str(caught.value)
    assert caught.value.exit_code == 7


def test_agreement_is_no_news(tmp_path: Path) -> None:
    verified(tmp_path, FILE, image_of(FILE), [MEMBER])


def test_what_was_not_edited_is_not_asked_for(tmp_path: Path) -> None:
    verified(tmp_path, FILE, image_of(edit(FILE, [WRONG["a needed name"]])), [])


def test_what_pyelftools_cannot_read_is_not_refused(tmp_path: Path) -> None:
    data = unreadable_by_pyelftools()

    assert image_of(data) == image_of(FILE)
    assert second_reader.read(data) is None
    verified(tmp_path, data, image_of(data), [MEMBER])
