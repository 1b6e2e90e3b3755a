"""pyelftools, macholib and pefile as the second readers of what was edited."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import macho_files
import pe_files
import pytest
from elf_files import FILES, WITHOUT_TABLE
from wheels import make_wheel

from extlib_repair import verifying
from extlib_repair.binary import edit, elf, read, second_reader
from extlib_repair.errors import CannotWriteError
from extlib_repair.model import (
    AddNeeded,
    BinaryFacts,
    ClearLoadFlags,
    Format,
    Member,
    RenameNeeded,
    RunPath,
    RunPathKind,
    SetRunPath,
    applied,
    frozen_mapping,
)
from extlib_repair.wheelfile import WheelFile

if TYPE_CHECKING:
    from pathlib import Path

    from extlib_repair.model import BinaryEdit, Image

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


def expected(data: bytes) -> tuple[second_reader.Reading, ...]:
    """Return what our own reader makes of a file, in the second reader's form."""
    return tuple(map(second_reader.expected, read(data).images))


@pytest.mark.parametrize("name", sorted(set(FILES) - HOLLOW))
def test_both_readers_agree(name: str) -> None:
    assert second_reader.read(FILES[name]) == expected(FILES[name])


@pytest.mark.parametrize("name", sorted(set(FILES) - WITHOUT_TABLE - WITHOUT_ROOM))
def test_both_readers_agree_on_what_was_edited(name: str) -> None:
    edited = edit(FILES[name], [SetRunPath(run_path=NEW), AddNeeded(library="libnew.so.1")])

    found = second_reader.read(edited)

    assert found == expected(edited)
    assert found is not None
    assert (found[0].needed[0], found[0].run_path) == ("libnew.so.1", NEW)


def test_what_is_read() -> None:
    assert second_reader.read(FILES["both.so"]) == (
        second_reader.Reading(
            needed=("libprov.so",),
            run_path=RunPath(
                entries=("/build/deps/openblas-0.3.30/installation/prefix/lib",),
                kind=RunPathKind.RUNPATH,
            ),
            ignored_run_path=("/old/rpath", "$ORIGIN"),
        ),
    )


@pytest.mark.parametrize("name", sorted(HOLLOW))
def test_a_file_whose_table_is_elsewhere_is_not_read(name: str) -> None:
    assert second_reader.read(FILES[name]) is None


def test_a_run_path_that_is_no_text_is_read() -> None:
    data = FILES["long_no_sections.so"].replace(b"/build/deps", b"/b\xfcild/d\xffps")

    found = second_reader.read(data)

    assert found == expected(data)
    assert found is not None
    assert found[0].run_path is not None
    assert found[0].run_path.entries[0].startswith("/b\udcfcild/d\udcffps")


def test_an_empty_run_path_is_read() -> None:
    data = FILES["long_runpath.so"].replace(b"/build/deps", b"\0build/deps")

    found = second_reader.read(data)

    assert found == expected(data)
    assert found is not None
    assert found[0].run_path == RunPath(entries=(), kind=RunPathKind.RUNPATH)


def unreadable_by_pyelftools() -> bytes:
    """Let the section headers, which loaders do not look at, stand behind the end of the file."""
    data = bytearray(FILE)
    struct.pack_into("<Q", data, 40, 0x7FFFFFFF)
    return bytes(data)


# --- Mach-O -------------------------------------------------------------------------------------

RPATHS = RunPath(entries=("@loader_path/../prov/lib",), kind=RunPathKind.LC_RPATH)


@pytest.mark.parametrize("name", sorted(macho_files.FILES))
def test_macholib_agrees(name: str) -> None:
    assert second_reader.read(macho_files.FILES[name]) == expected(macho_files.FILES[name])


@pytest.mark.parametrize(
    "name", sorted(name for name in macho_files.LOADED if not name.startswith("crowded"))
)
def test_macholib_agrees_on_what_was_edited(name: str) -> None:
    edits: list[BinaryEdit] = [
        RenameNeeded(old=macho_files.PRIVATE, new="@loader_path/../prov/lib/libpriv.dylib"),
        AddNeeded(library="@rpath/libnew.dylib"),
        SetRunPath(run_path=RPATHS),
    ]
    edited = edit(macho_files.FILES[name], edits)

    found = second_reader.read(edited)

    assert found == expected(edited)
    assert found is not None
    assert {one.run_path for one in found} == {RPATHS}
    assert {one.needed[-1] for one in found} == {"@rpath/libnew.dylib"}
    assert macho_files.PRIVATE not in {needed for one in found for needed in one.needed}


def test_what_is_read_of_a_slice() -> None:
    assert second_reader.read(macho_files.FILES["weak.so"]) == (
        second_reader.Reading(
            name="weak.so",
            needed=(
                macho_files.SYSTEM,
                macho_files.PROVIDER,
                macho_files.PRIVATE,
                "@rpath/libreexporting.dylib",
                "@rpath/libreexporting.dylib",
            ),
            weak_needed=frozenset({macho_files.PRIVATE}),
            reexported=frozenset({"@rpath/libreexporting.dylib"}),
        ),
    )


def test_every_slice_is_read() -> None:
    found = second_reader.read(macho_files.FILES["fat.so"])

    assert found is not None
    assert [(len(one.needed), one.run_path and one.run_path.entries) for one in found] == [
        (2, ("@loader_path",)),
        (3, (macho_files.BUILD,)),
    ]


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_slices_of_every_width_and_order_are_read(order: str, *, wide: bool) -> None:
    data = macho_files.assembled(
        macho_files.dylib("@rpath/a.dylib", order=order),
        macho_files.dylib("@rpath/b.dylib", 0x80000018, order),
        macho_files.dylib("@rpath/c.dylib", 0x8000001F, order),
        macho_files.dylib("@rpath/d.dylib", 0x20, order),
        macho_files.dylib("@rpath/e.dylib", 0x80000023, order),
        macho_files.rpath("@loader_path", order),
        arch="x86_64" if wide else "ppc",
        order=order,
        wide=wide,
    )

    found = second_reader.read(data)

    assert found == expected(data)
    assert found is not None
    assert found[0].needed == tuple(f"@rpath/{letter}.dylib" for letter in "abcde")


@pytest.mark.parametrize("flags", range(8))
def test_the_newer_command_for_libraries_is_read(flags: int) -> None:
    payload = struct.pack("<5I", 28, 0x1A741800, 0, 0, flags) + b"@rpath/libx.dylib\0"
    data = macho_files.assembled((0xC, payload), macho_files.dylib("@rpath/liby.dylib"))

    found = second_reader.read(data)

    assert found == expected(data)
    assert found is not None
    assert found[0].needed == ("@rpath/libx.dylib", "@rpath/liby.dylib")
    assert bool(found[0].weak_needed) == bool(flags & 1)
    assert bool(found[0].reexported) == bool(flags & 2)


def test_what_is_needed_in_both_ways_is_not_weak() -> None:
    data = macho_files.assembled(
        macho_files.dylib("@rpath/libx.dylib", 0x80000018), macho_files.dylib("@rpath/libx.dylib")
    )

    found = second_reader.read(data)

    assert found == expected(data)
    assert found is not None
    assert found[0].weak_needed == frozenset()


def test_a_name_that_is_no_text_is_read() -> None:
    data = macho_files.FILES["ready.so"].replace(b"@rpath/libprov", b"@rpath/l\xfcbprov")

    found = second_reader.read(data)

    assert found == expected(data)
    assert found is not None
    assert "@rpath/l\udcfcbprov.dylib" in found[0].needed


def test_a_load_command_of_the_future_is_passed_over() -> None:
    data = macho_files.assembled((0x7FFF, bytes(8)), macho_files.dylib("@rpath/libx.dylib"))

    assert second_reader.read(data) == expected(data)


def unreadable_by_macholib() -> bytes:
    """Put an archive beside a slice, which macholib does not know."""
    return macho_files.fat(
        macho_files.FILES["ready.so"], b"!<arch>\n" + bytes(56), archs=["arm64", "x86_64"]
    )


def test_what_macholib_cannot_read_is_not_compared() -> None:
    data = unreadable_by_macholib()

    assert len(expected(data)) == 2
    assert second_reader.read(data) is None


# --- PE -----------------------------------------------------------------------------------------


def test_what_is_read_of_a_windows_library() -> None:
    assert second_reader.read(pe_files.FILES["arm64.pyd"]) == (
        second_reader.Reading(
            name="arm64.pyd",
            needed=(pe_files.PROVIDER, pe_files.PYTHON, pe_files.PRIVATE),
            delayed=frozenset({pe_files.PRIVATE}),
            load_flags=0x1000,
        ),
    )
    assert second_reader.read(pe_files.FILES["signed.pyd"]) == (
        second_reader.Reading(
            name="extension.pyd",
            needed=(pe_files.PRIVATE, pe_files.PROVIDER, pe_files.PYTHON),
            signed=True,
        ),
    )


@pytest.mark.parametrize("name", ["flags.pyd", "flags_x86.pyd"])
def test_a_load_configuration_may_be_too_short_for_flags(name: str) -> None:
    data = pe_files.FILES[name]
    rva, _ = pe_files.directory(data, pe_files.LOAD_CONFIG)
    at = pe_files.second_structure(data).get_offset_from_rva(rva)
    shorter = pe_files.patched(data, at, "I", 40)

    found = second_reader.read(shorter)

    assert found == expected(shorter)
    assert found is not None
    assert found[0].load_flags == 0


def test_a_file_with_few_directories_is_read() -> None:
    content = pe_files.Content()
    imports = content.importing({"a.dll": ["one"]})
    data = pe_files.assembled(content, directories={pe_files.IMPORT: imports}, directory_count=2)

    assert second_reader.read(data) == expected(data) != ()


def test_what_pefile_cannot_read_is_not_compared() -> None:
    assert second_reader.read(b"MZ" + bytes(100)) is None


# --- In the place where it is asked -------------------------------------------------------------


def verified(folder: Path, data: bytes, seen: BinaryFacts, edited: list[Member]) -> None:
    """Read a wheel back whose first reader is taken to have seen ``seen``."""
    path = make_wheel(folder, {MEMBER: data})
    facts = frozen_mapping([(MEMBER, seen)])
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
    seen = read(edit(FILE, [wrong]))

    with pytest.raises(CannotWriteError) as caught:
        verified(tmp_path, FILE, seen, [MEMBER])

    assert "names and run paths in demo/x.so, as pyelftools reads it, did not" in str(caught.value)
    assert caught.value.exit_code == 7


def test_agreement_is_no_news(tmp_path: Path) -> None:
    verified(tmp_path, FILE, read(FILE), [MEMBER])


def test_what_was_not_edited_is_not_asked_for(tmp_path: Path) -> None:
    verified(tmp_path, FILE, read(edit(FILE, [WRONG["a needed name"]])), [])


def test_what_pyelftools_cannot_read_is_not_refused(tmp_path: Path) -> None:
    data = unreadable_by_pyelftools()

    assert image_of(data) == image_of(FILE)
    assert second_reader.read(data) is None
    verified(tmp_path, data, read(data), [MEMBER])


def test_a_disagreement_about_one_slice_is_refused(tmp_path: Path) -> None:
    data = macho_files.FILES["fat.so"]
    seen = read(data)
    last = applied(seen.images[1], [SetRunPath(run_path=RPATHS)])
    wrong = BinaryFacts(format=Format.MACHO, images=(seen.images[0], last))

    with pytest.raises(CannotWriteError) as caught:
        verified(tmp_path, data, wrong, [MEMBER])

    assert "names and run paths in demo/x.so, as macholib reads it, did not" in str(caught.value)
    verified(tmp_path, data, seen, [MEMBER])


def test_a_disagreement_about_a_windows_library_is_refused(tmp_path: Path) -> None:
    data = pe_files.FILES["flags.pyd"]
    seen = read(edit(data, [ClearLoadFlags()]))

    with pytest.raises(CannotWriteError) as caught:
        verified(tmp_path, data, seen, [MEMBER])

    assert "names and run paths in demo/x.so, as pefile reads it, did not" in str(caught.value)
    verified(tmp_path, data, read(data), [MEMBER])


def test_what_macholib_cannot_read_is_not_refused(tmp_path: Path) -> None:
    verified(tmp_path, unreadable_by_macholib(), read(unreadable_by_macholib()), [MEMBER])
