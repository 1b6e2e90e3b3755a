"""Mach-O under the laws: how its fixtures are edited, and which of them cannot be."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from backend import Backend
from macho_files import BUILD, FILES, PROVIDER, with_two_directories

from extlib_repair.binary import codesign, macho, macho_edit
from extlib_repair.binary.macho_run_path import growth
from extlib_repair.model import (
    AddNeeded,
    BinaryEdit,
    Kind,
    RenameNeeded,
    RunPath,
    RunPathKind,
    SetRunPath,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.errors import CannotEditError

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


def _examine(data: bytes) -> None:
    macho.read(data)
    codesign.problems(data)


def _expect_refusal(name: str, edits: Sequence[BinaryEdit], error: CannotEditError) -> None:
    images = macho.read(ALL[name]).images
    assert error.exit_code == 6
    if name == "object.o":
        assert images[0].kind is Kind.OTHER
    else:
        assert name in NO_ROOM
        assert any(growth(i, edits) > i.header_room for i in images)
        assert "-headerpad_max_install_names" in str(error.hint)


COMMANDS = slice(1608)
"""The header and what most load commands take."""

BACKEND = Backend(
    read=macho.read,
    examine=_examine,
    edit=macho_edit.edit,
    edit_freely=functools.partial(macho_edit.edit, resign=True),
    files=ALL,
    edits=EDITS,
    richest="all",
    expect_refusal=_expect_refusal,
    starts=(
        b"\xcf\xfa\xed\xfe",
        b"\xfe\xed\xfa\xce",
        b"\xca\xfe\xba\xbe\0\0\0\1",
        b"\xca\xfe\xba\xbf\0\0\0\1",
    ),
    # Most of the damage in load commands, some in tables and the signature, which comes last.
    zones=(COMMANDS, COMMANDS, slice(-4096 - 1500, None), slice(-700, None), slice(None)),
)
