"""ELF under the laws: how its fixtures are edited, and which of them cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend import Backend
from elf_files import FILES, IN_PLACE, PATCHELF, REFUSED, SLACK, WITHOUT_TABLE

from extlib_repair.binary import elf, elf_edit
from extlib_repair.model import AddNeeded, BinaryEdit, BinaryFacts, RunPath, RunPathKind, SetRunPath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.errors import CannotEditError

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

NO_ROOM = {
    *{"crowded.so", "extension.so", "lld.so", "mold.so", "no_exports.so", "program", "sysv.so"},
    *{"libother.so", "libprov.so", "libver.so.1", "pages_64k.so"},
    *{"relr.so", "verdef.so"},
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


def _read(data: bytes) -> BinaryFacts:
    facts = elf.read(data)
    assert len(facts.images) == 1
    return facts


def _expect_refusal(name: str, _: Sequence[BinaryEdit], error: CannotEditError) -> None:
    assert REFUSED in RUNGS[name]
    assert error.exit_code == 6
    assert error.hint


HEADERS = 64 + 9 * 56
"""Where the file header and nine program headers end."""

BACKEND = Backend(
    read=_read,
    examine=_read,
    edit=elf_edit.edit,
    edit_freely=elf_edit.edit,
    files=FILES,
    edits=EDITS,
    richest="add and set",
    expect_refusal=_expect_refusal,
    starts=(b"\x7fELF\x02\x01", b"\x7fELF\x01\x02"),
    # Half of the damage in the headers.
    zones=(slice(HEADERS), slice(None)),
)
