"""The PE fixtures, pefile as the second reader, and files that are put together by hand."""

from __future__ import annotations

import dataclasses
import lzma
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pefile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FOLDER = Path(__file__).parent / "fixtures" / "pe"
SUMS = {
    name: digest
    for digest, name in (
        line.split() for line in (FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
}
FILES = {name: lzma.decompress((FOLDER / f"{name}.xz").read_bytes()) for name in SUMS}

PROVIDER, PRIVATE, PYTHON = "libprov.dll", "libpriv.dll", "python312.dll"

EXPORT, IMPORT, CERTIFICATE, LOAD_CONFIG, BOUND, IAT, DELAY = 0, 1, 4, 10, 11, 12, 13
INITIALIZED, READ, WRITE = 0x40, 0x40000000, 0x80000000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What pefile finds."""

    name: str
    needed: tuple[str, ...]
    delayed: frozenset[str]
    imports: frozenset[tuple[str, str]]
    exports: frozenset[str]
    is_signed: bool


def second_reading(data: bytes) -> Reading:
    file: Any = pefile.PE(data=data, fast_load=True, max_symbol_exports=1 << 20)
    file.parse_data_directories([EXPORT, IMPORT, DELAY])
    at_once = getattr(file, "DIRECTORY_ENTRY_IMPORT", [])
    delayed = getattr(file, "DIRECTORY_ENTRY_DELAY_IMPORT", [])
    exports: Any = getattr(file, "DIRECTORY_ENTRY_EXPORT", None)
    symbols: list[Any] = exports.symbols if exports else []
    return Reading(
        name=file.get_string_at_rva(exports.struct.Name).decode() if exports else "",
        needed=tuple(dict.fromkeys(e.dll.decode() for e in (*at_once, *delayed))),
        delayed=frozenset(e.dll.decode() for e in delayed),
        imports=frozenset(
            (i.name.decode() if i.name else f"#{i.ordinal}", e.dll.decode())
            for e in (*at_once, *delayed)
            for i in e.imports
        ),
        exports=frozenset(
            (*(s.name.decode() for s in symbols if s.name), *(f"#{s.ordinal}" for s in symbols))
        ),
        is_signed=bool(file.OPTIONAL_HEADER.DATA_DIRECTORY[CERTIFICATE].Size),
    )


def second_structure(data: bytes) -> Any:
    """Return a file as pefile sees it: headers and sections alone."""
    return pefile.PE(data=data, fast_load=True)


def patched(data: bytes, at: int, layout: str, *values: int) -> bytes:
    """Return the file with some numbers in another place of it."""
    out = bytearray(data)
    struct.pack_into("<" + layout, out, at, *values)
    return bytes(out)


def header_at(data: bytes) -> int:
    return int(struct.unpack_from("<I", data, 0x3C)[0])


def optional_at(data: bytes) -> int:
    return header_at(data) + 24


def directory_at(data: bytes, index: int) -> int:
    """Return the offset of a data directory."""
    (magic,) = struct.unpack_from("<H", data, optional_at(data))
    return optional_at(data) + (112 if magic == 0x20B else 96) + 8 * index


def directory(data: bytes, index: int) -> tuple[int, int]:
    rva, size = struct.unpack_from("<II", data, directory_at(data, index))
    return rva, size


def section_rows(data: bytes) -> list[int]:
    """Return the offsets of the section headers."""
    (count,) = struct.unpack_from("<H", data, header_at(data) + 6)
    (size,) = struct.unpack_from("<H", data, header_at(data) + 20)
    start = optional_at(data) + size
    return list(range(start, start + 40 * count, 40))


def changed(old: bytes, new: bytes) -> set[int]:
    """Return the offsets at which two files differ, up to the end of the shorter one."""
    return {at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b}


START = 0x1000
"""The RVA of the first section of what is put together; it stands at the end of the headers."""


class Content:
    """What a section holds, piece by piece."""

    def __init__(self, *, wide: bool = True, start: int = START) -> None:
        self.wide = wide
        self.start = start
        self.data = bytearray()

    def put(self, data: bytes, align: int = 8) -> int:
        """Add some bytes; return their RVA."""
        self.data += bytes(-len(self.data) % align)
        self.data += data
        return self.start + len(self.data) - len(data)

    def text(self, text: str) -> int:
        return self.put(text.encode("utf-8", "surrogateescape") + b"\0", 1)

    def thunks(self, symbols: Iterable[str | int], base: int = 0) -> int:
        """Add a list of imports: names, and ordinals."""
        word, ordinal = ("Q", 1 << 63) if self.wide else ("I", 1 << 31)
        values = [
            symbol | ordinal
            if isinstance(symbol, int)
            else base + self.put(b"\1\0" + symbol.encode() + b"\0", 2)
            for symbol in symbols
        ]
        return self.put(struct.pack(f"<{len(values) + 1}{word}", *values, 0))

    def imports(self, libraries: Sequence[tuple[int, int, int]]) -> int:
        """Add descriptors: lookup table, name, address table."""
        rows = (struct.pack("<5I", names, 0, 0, name, iat) for names, name, iat in libraries)
        return self.put(b"".join(rows) + bytes(20))

    def importing(self, libraries: Mapping[str, Iterable[str | int]]) -> int:
        """Add a whole import table."""
        rows = []
        for library, symbols in libraries.items():
            thunks = self.thunks(symbols)
            rows.append((thunks, self.text(library), thunks))
        return self.imports(rows)

    def delaying(self, libraries: Mapping[str, Iterable[str | int]], base: int = 0) -> int:
        """Add a whole table of delay imports; with a base, in the old form with addresses."""
        rows = b""
        for library, symbols in libraries.items():
            names = base + self.thunks(symbols, base)
            name = base + self.text(library)
            rows += struct.pack("<8I", int(not base), name, 0, names, names, 0, 0, 0)
        return self.put(rows + bytes(32))

    def exporting(
        self,
        functions: Sequence[int],
        names: Mapping[str, int],
        *,
        base: int = 1,
        name: str = "x.dll",
        strings: Content | None = None,
    ) -> int:
        """Add an export directory; its strings may stand in another section."""
        into = strings or self
        addresses = self.put(struct.pack(f"<{len(functions)}I", *functions))
        pointers = self.put(struct.pack(f"<{len(names)}I", *map(into.text, names)))
        indexes = self.put(struct.pack(f"<{len(names)}H", *names.values()))
        own = into.text(name) if name else 0
        numbers = (own, base, len(functions), len(names), addresses, pointers, indexes)
        return self.put(struct.pack("<IIHH7I", 0, 0, 0, 0, *numbers))


def assembled(
    *contents: Content,
    directories: Mapping[int, int | tuple[int, int]] | None = None,
    wide: bool = True,
    machine: int = 0x8664,
    subsystem: int = 3,
    characteristics: int = 0x2022,
    flags: int = INITIALIZED | READ,
    base: int = 0x10000000,
    alignment: int = 0x1000,
    file_alignment: int = 0x200,
    headers_size: int = 0x400,
    virtual_size: int | None = None,
    directory_count: int = 16,
) -> bytes:
    """Return a small PE file with the sections given, one after another."""
    fixed = 112 if wide else 96
    rows, bodies, at, end = b"", b"", headers_size, START
    for content in contents:
        raw = bytes(content.data).ljust(len(content.data) + -len(content.data) % file_alignment)
        raw = bytes(content.data) + bytes(len(raw) - len(content.data))
        size = len(content.data) if virtual_size is None else virtual_size
        rows += struct.pack("<8s4I12xI", b".x", size, content.start, len(raw), at, flags)
        bodies += raw
        at += len(raw)
        end = content.start + max(size, len(raw))
    end += -end % alignment
    image = struct.pack("<Q", base) if wide else struct.pack("<II", 0, base)
    optional = struct.pack("<H22x", 0x20B if wide else 0x10B) + image
    optional += struct.pack(
        "<II16xIIIHH", alignment, file_alignment, end, headers_size, 0, subsystem, 0
    )
    optional = optional.ljust(fixed - 4, b"\0") + struct.pack("<I", directory_count)
    table = [(0, 0)] * 16
    for index, place in (directories or {}).items():
        table[index] = place if isinstance(place, tuple) else (place, 40)
    optional += b"".join(struct.pack("<II", *row) for row in table)
    numbers = (machine, len(contents), 0, 0, 0, len(optional), characteristics)
    start = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 64)
    head = start + b"PE\0\0" + struct.pack("<HHIIIHH", *numbers) + optional + rows
    return head.ljust(headers_size, b"\0") + bodies
