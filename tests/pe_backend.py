"""PE under the laws: how its fixtures are edited, and which of them cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend import Backend
from pe_files import FILES, PRIVATE, PROVIDER, PYTHON

from extlib_repair.binary import pe, pe_edit
from extlib_repair.model import (
    BinaryEdit,
    ClearLoadFlags,
    DropSignature,
    Kind,
    RenameNeeded,
    SetRunPath,
    Signature,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.errors import CannotEditError

LONGER = "libscipy_openblas64_.dll"
HUGE = "lib" + 480 * "x" + ".dll"
"""A name for which no section has room; pefile reads up to 512 letters."""


def rename(old: str, new: str) -> RenameNeeded:
    return RenameNeeded(old=old, new=new)


EDITS: dict[str, tuple[BinaryEdit, ...]] = {
    "shorter": (rename(PROVIDER, "p.dll"),),
    "as long": (rename(PROVIDER, "libPROV.dll"),),
    "longer": (rename(PROVIDER, LONGER),),
    "two longer": (rename(PROVIDER, LONGER), rename(PRIVATE, f"private-{LONGER}")),
    "huge": (rename(PRIVATE, HUGE),),
    "one of each": (rename(PROVIDER, LONGER), rename(PYTHON, "python3.dll"), rename(PRIVATE, HUGE)),
    "bytes": (rename(PROVIDER, "lib\udcffé.dll"),),
    "to and fro": (rename(PROVIDER, "x.dll"), rename("x.dll", PROVIDER)),
    "unknown": (rename("libunknown.dll", LONGER), SetRunPath(run_path=None)),
    "flags": (ClearLoadFlags(),),
    "unsigned": (DropSignature(),),
    "all": (
        DropSignature(),
        ClearLoadFlags(),
        rename(PROVIDER, LONGER),
        rename(PRIVATE, f"private-{LONGER}"),
    ),
}

WITHOUT_ROOM = {"tight.pyd", "full_overlay.pyd"}
ALL = dict(FILES)


def _expect_refusal(name: str, edits: Sequence[BinaryEdit], error: CannotEditError) -> None:
    (image,) = pe.read(ALL[name]).images
    assert error.exit_code == 6
    assert error.hint
    if image.signature is Signature.IDENTITY and DropSignature() not in edits:
        assert "--drop-signature" in error.hint
        return
    assert image.kind is not Kind.OTHER
    grows = any(isinstance(e, RenameNeeded) and len(e.new) > len(e.old) for e in edits)
    huge = any(isinstance(e, RenameNeeded) and e.new == HUGE for e in edits)
    assert grows
    assert name in WITHOUT_ROOM or (huge and name == "overlay.pyd")


HEADERS = slice(0x400)

BACKEND = Backend(
    read=pe.read,
    examine=pe.read,
    edit=pe_edit.edit,
    edit_freely=pe_edit.edit,  # leave is given by an edit
    files=ALL,
    edits=EDITS,
    richest="all",
    expect_refusal=_expect_refusal,
    starts=(b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0\x64\x86\1\0", b"MZ" + bytes(58)),
    # The stub for DOS is nobody's business: most of the damage behind it.
    zones=(slice(0x80, 0x200), slice(0x80, 0x400), slice(0x400, None), HEADERS),
)
