"""PE: read the facts of a Windows binary.

Imports and exports come from the tables that Windows' loader walks. An import by ordinal is called
``#7``; every export has such a name beside its own.

Sources: Microsoft's "PE Format" specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extlib_repair.binary.pe_file import Characteristic, PeFile
from extlib_repair.model import BinaryFacts, Format, Image, Import, Kind, Signature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extlib_repair.binary.pe_file import Exports

_MODULE = ("PyInit_", "PyInitU_", "PyModExport_")

_ARCH = {0x14C: "x86", 0x8664: "amd64", 0xAA64: "arm64"}
"""IMAGE_FILE_MACHINE_* ("Machine Types")."""

_NOT_LOADED = frozenset({1, 9, 10, 11, 12, 13, 14, 16})
"""IMAGE_SUBSYSTEM_* ("Windows Subsystem") of what no process loads: drivers, Windows CE, EFI,
Xbox, boot applications."""


def read(data: bytes) -> BinaryFacts:
    """Return the facts of a PE file; raises :class:`BadBinaryError`."""
    return BinaryFacts(format=Format.PE, images=(image_of(PeFile(data)),))


def image_of(file: PeFile) -> Image:
    """Return the facts of a file."""
    arch = _ARCH.get(file.machine, f"machine-{file.machine:#x}")
    signature = Signature.IDENTITY if file.certificates else Signature.NONE
    if file.subsystem in _NOT_LOADED:
        return Image(format=Format.PE, kind=Kind.OTHER, arch=arch, signature=signature)
    exports = frozenset(_exported(file.exports))
    at_once = {d.name for d in file.imports if not d.delayed}
    return Image(
        format=Format.PE,
        kind=_kind(file, exports),
        arch=arch,
        name=text(file.exports.name) if file.exports else "",
        needed=tuple(dict.fromkeys(text(d.name) for d in file.imports)),
        delayed=frozenset(text(d.name) for d in file.imports if d.name not in at_once),
        imports=frozenset(_imported(file)),
        exports=exports,
        load_flags=file.load_flags,
        signature=signature,
    )


def text(name: bytes) -> str:
    """Return a name as text; its bytes can be had back."""
    return name.decode("utf-8", "surrogateescape")


def _kind(file: PeFile, exports: frozenset[str]) -> Kind:
    if any(name.startswith(_MODULE) for name in exports):
        return Kind.EXTENSION_MODULE
    if file.characteristics & Characteristic.DLL:
        return Kind.SHARED_LIBRARY
    return Kind.EXECUTABLE


def _exported(exports: Exports | None) -> Iterator[str]:
    if exports is not None:
        yield from map(text, exports.names)
        yield from (f"#{ordinal}" for ordinal in exports.functions)


def _imported(file: PeFile) -> Iterator[Import]:
    for descriptor in file.imports:
        library = text(descriptor.name)
        for symbol in file.imported(descriptor):
            name = f"#{symbol}" if isinstance(symbol, int) else text(symbol)
            yield Import(name, library=library)
