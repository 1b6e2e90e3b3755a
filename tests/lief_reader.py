"""LIEF as the third reader of Mach-O files: beside the names, what is bound to which library."""

from __future__ import annotations

import dataclasses
import io
from typing import Any, NamedTuple

from lief import MachO

from extlib_repair.binary import second_reader
from extlib_repair.model import Import, RunPath, RunPathKind

LC = MachO.LoadCommand.TYPE
RPATH_FIXED = 12
"""The size of ``struct rpath_command`` (``mach-o/loader.h``): the path follows."""


class Bind(NamedTuple):
    """An address that dyld writes, and the symbol that it looks up for it."""

    address: int
    symbol: str
    ordinal: int
    weak: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What LIEF finds in a slice.

    LIEF's ``imported_symbols`` are all undefined ones in the symbol table. Nothing binds some of
    them (``dyld_stub_binder`` beside chained fixups, any in an object file), and these have no
    library. Ours are what dyld binds, which LIEF calls ``bindings``; of the table, all that can be
    said is that an edit leaves it as it was.
    """

    names: second_reader.Reading
    imports: frozenset[Import]
    exports: frozenset[str]
    binds: tuple[Bind, ...]
    table: tuple[tuple[str, int], ...]
    """Name and library ordinal of every symbol, in order."""

    wrong_layout: str
    """What dyld would refuse by LIEF's ``check_layout``, if anything."""


def third_reading(data: bytes) -> tuple[Reading, ...]:
    file: Any = MachO.parse(io.BytesIO(data))  # bytes were a path to LIEF 0.16
    return tuple(map(_reading, file))


def _reading(image: Any) -> Reading:
    _, wrong = MachO.check_layout(image)
    return Reading(
        names=_names(list(image.libraries), tuple(map(_path, image.rpaths))),
        imports=frozenset(map(_import, image.bindings)),
        exports=frozenset(s.name.removeprefix("_") for s in image.exported_symbols),
        binds=tuple(
            Bind(b.address, b.symbol.name, b.library_ordinal, b.weak_import) for b in image.bindings
        ),
        table=tuple((s.name, s.library_ordinal) for s in image.symbols),
        wrong_layout=wrong,
    )


def _names(libraries: list[Any], entries: tuple[str, ...]) -> second_reader.Reading:
    needed = [d for d in libraries if d.command != LC.ID_DYLIB]
    present = {d.name for d in needed if d.command != LC.LOAD_WEAK_DYLIB}
    return second_reader.Reading(
        name=next((d.name for d in libraries if d.command == LC.ID_DYLIB), ""),
        needed=tuple(d.name for d in needed),
        weak_needed=frozenset(d.name for d in needed) - present,
        reexported=frozenset(d.name for d in needed if d.command == LC.REEXPORT_DYLIB),
        run_path=RunPath(entries=entries, kind=RunPathKind.LC_RPATH) if entries else None,
    )


def _path(rpath: Any) -> str:
    """Return a run path; LIEF gives its bytes alone when they are no UTF-8."""
    try:
        return str(rpath.path)
    except UnicodeDecodeError:
        raw = bytes(rpath.data)[RPATH_FIXED:]
        return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _import(bind: Any) -> Import:
    return Import(
        bind.symbol.name.removeprefix("_"),
        library=bind.library.name if bind.has_library else "",
        weak=bind.weak_import,
    )
