"""Binaries: recognise, read, edit; each format is one backend, imported when it is met."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extlib_repair.model import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import BinaryEdit, BinaryFacts

MAGIC_SIZE = 4
"""How many first bytes :func:`sniff` looks at."""

_MAGIC = {b"\x7fELF": Format.ELF}


def sniff(start: bytes) -> Format | None:
    """Return the format that the first bytes of a file promise, or None."""
    return _MAGIC.get(start[:MAGIC_SIZE])


def read(data: bytes) -> BinaryFacts:
    """Return the facts of a binary; raises :class:`BadBinaryError`."""
    from extlib_repair.binary import elf

    return elf.read(data)


def edit(data: bytes, edits: Sequence[BinaryEdit]) -> bytes:
    """Return the binary with the edits applied, the same bytes when they hold already.

    Raises :class:`BadBinaryError` and :class:`CannotEditError`.
    """
    from extlib_repair.binary import elf_edit

    return elf_edit.edit(data, edits)
