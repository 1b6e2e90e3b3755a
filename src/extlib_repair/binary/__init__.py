"""Binaries: recognise, read, edit; each format is one backend, imported when it is met."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extlib_repair.model import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import BinaryEdit, BinaryFacts

MAGIC_SIZE = 1024
"""How many first bytes :func:`sniff` looks at: 64 at least, and for PE better as many as lead to
its header, so that programs for DOS are told apart."""

_MAGIC = {
    b"\x7fELF": Format.ELF,
    **dict.fromkeys(
        (
            b"\xfe\xed\xfa\xce",
            b"\xce\xfa\xed\xfe",
            b"\xfe\xed\xfa\xcf",
            b"\xcf\xfa\xed\xfe",
            b"\xca\xfe\xba\xbe",
            b"\xca\xfe\xba\xbf",
        ),
        Format.MACHO,
    ),
}
_PE_MAGIC = b"MZ"


def sniff(start: bytes) -> Format | None:
    """Return the format that the first bytes of a file promise, or None.

    Java class files share the magic of fat Mach-O files, and programs for DOS that of PE. They are
    no binaries.
    """
    found = _format(start)
    if found is Format.MACHO:
        from extlib_repair.binary.macho_fat import is_java

        return None if is_java(start) else found
    if found is Format.PE:
        from extlib_repair.binary.pe_file import is_pe

        return found if is_pe(start) else None
    return found


def _format(start: bytes) -> Format | None:
    """Return the format that has such a magic."""
    return Format.PE if start[:2] == _PE_MAGIC else _MAGIC.get(start[:4])


def read(data: bytes) -> BinaryFacts:
    """Return the facts of a binary; raises :class:`BadBinaryError`."""
    found = _format(data)
    if found is Format.MACHO:
        from extlib_repair.binary import macho

        return macho.read(data)
    if found is Format.PE:
        from extlib_repair.binary import pe

        return pe.read(data)
    from extlib_repair.binary import elf

    return elf.read(data)


def edit(data: bytes, edits: Sequence[BinaryEdit], *, resign: bool = False) -> bytes:
    """Return the binary with the edits applied, the same bytes when they hold already.

    ``resign`` allows to replace an identity's signature by an ad-hoc one (Mach-O). Raises
    :class:`BadBinaryError` and :class:`CannotEditError`.
    """
    found = _format(data)
    if found is Format.MACHO:
        from extlib_repair.binary import macho_edit

        return macho_edit.edit(data, edits, resign=resign)
    if found is Format.PE:
        from extlib_repair.binary import pe_edit

        return pe_edit.edit(data, edits)
    from extlib_repair.binary import elf_edit

    return elf_edit.edit(data, edits)
