"""The Mach-O fixtures, macholib as the second reader, and a plain check of signatures."""

from __future__ import annotations

import dataclasses
import hashlib
import lzma
import os
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from macholib.mach_o import LC_RPATH
from macholib.MachO import MachO as SecondMachO
from macholib.SymbolTable import SymbolTable

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent / "fixtures" / "macho"
SUMS = {
    name: digest
    for digest, name in (
        line.split() for line in (FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
}
FILES = {name: lzma.decompress((FOLDER / f"{name}.xz").read_bytes()) for name in SUMS}
LOADED = {name: data for name, data in FILES.items() if name != "object.o"}
THIN = {name: data for name, data in LOADED.items() if data[:4] != b"\xca\xfe\xba\xbe"}

BUILD = "/build/deps/openblas-0.3.30/lib"
SYSTEM = "/usr/lib/libSystem.B.dylib"
PROVIDER, PRIVATE = "@rpath/libprov.dylib", "@rpath/libpriv.dylib"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What macholib finds in a slice, in its own words."""

    needed: tuple[str, ...]
    rpaths: tuple[str, ...]
    name: str
    rest: tuple[int, ...]
    """The numbers of all other commands, in their order."""

    imports: frozenset[str]
    exports: frozenset[str]


def second_reading(data: bytes) -> tuple[Reading, ...]:
    """Read with macholib, which wants a file."""
    handle, path = tempfile.mkstemp()
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        macho: Any = SecondMachO(path)
        return tuple(_reading(macho, header) for header in macho.headers)
    finally:
        Path(path).unlink()


def _reading(macho: Any, header: Any) -> Reading:
    needed, rpaths, name, rest = [], [], "", []
    for load, command, text in header.commands:
        if load.cmd == LC_RPATH:
            rpaths.append(_text(text))
        elif load.get_cmd_name() == "LC_ID_DYLIB":
            name = _text(text)
        elif hasattr(command, "compatibility_version"):
            needed.append(_text(text))
        else:
            rest.append(load.cmd)
    symbols: Any = SymbolTable(macho, header)
    return Reading(
        needed=tuple(needed),
        rpaths=tuple(rpaths),
        name=name,
        rest=tuple(rest),
        imports=frozenset(_text(n).removeprefix("_") for _, n in getattr(symbols, "undefsyms", [])),
        exports=frozenset(
            _text(n).removeprefix("_") for _, n in getattr(symbols, "extdefsyms", [])
        ),
    )


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def thin_parts(data: bytes) -> list[bytes]:
    """Cut a fat file up, with no help of ours."""
    if data[:4] not in {b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"}:
        return [data]
    wide = data[3] == 0xBF
    layout = ">IIQQII" if wide else ">IIIII"
    (count,) = struct.unpack_from(">I", data, 4)
    rows = struct.iter_unpack(layout, data[8 : 8 + count * struct.calcsize(layout)])
    return [data[row[2] : row[2] + row[3]] for row in rows]


def signature_place(part: bytes) -> tuple[int, int] | None:
    """Return where the signature of a little-endian slice stands."""
    for cmd, at in load_commands(part):
        if cmd == 0x1D:
            start, size = struct.unpack_from("<II", part, at + 8)
            return start, size
    return None


def load_commands(part: bytes) -> Iterator[tuple[int, int]]:
    """Yield number and place of the load commands of a little-endian slice."""
    at = 32 if part[0] == 0xCF else 28
    for _ in range(struct.unpack_from("<I", part, 16)[0]):
        cmd, size = struct.unpack_from("<II", part, at)
        yield cmd, at
        at += size


def commands_end(part: bytes) -> int:
    return int(struct.unpack_from("<I", part, 20)[0]) + (32 if part[0] == 0xCF else 28)


def wrong_pages(part: bytes) -> list[str]:
    """Say which hashes of a slice's code directories are wrong, counted without our code."""
    place = signature_place(part)
    if place is None:
        return []
    start, _ = place
    _, length, count = struct.unpack_from(">III", part, start)
    wrong = []
    for index in range(count):
        slot, offset = struct.unpack_from(">II", part, start + 12 + 8 * index)
        at = start + offset
        (magic, size) = struct.unpack_from(">II", part, at)
        assert offset + size <= length
        if magic != 0xFADE0C02:
            continue
        hashes, _, special, pages, limit = struct.unpack_from(">IIIII", part, at + 16)
        width, kind, _, shift = part[at + 36 : at + 40]
        digest = {1: hashlib.sha1, 2: hashlib.sha256}[kind]
        assert limit == start
        assert pages == (limit + (1 << shift) - 1) >> shift
        for page in range(pages):
            hashed = part[page << shift : min((page + 1) << shift, limit)]
            stored = at + hashes + page * width
            if part[stored : stored + width] != digest(hashed).digest():
                wrong.append(f"slot {slot}, page {page}")
        assert special in {0, 2}
    return wrong


def with_two_directories(part: bytes, *, shift: int = 12, cms: bytes = b"") -> bytes:
    """Replace the ad-hoc signature of a little-endian slice by one with SHA-1 and SHA-256.

    So codesign signs for old systems; with ``cms``, as if by an identity.
    """
    place = signature_place(part)
    assert place is not None
    start, _ = place
    sizes = {"sha1": 20, "sha256": 32}
    pages = (start + (1 << shift) - 1) >> shift
    lengths = {kind: 44 + 4 + 8 + size * (2 + pages) for kind, size in sizes.items()}
    count = 3 if not cms else 4
    size = 12 + 8 * count + sum(lengths.values()) + 12 + (8 + len(cms) if cms else 0)
    size += -size % 16
    out = bytearray(part[:start])
    (at,) = (at for cmd, at in load_commands(part) if cmd == 0x1D)
    struct.pack_into("<II", out, at + 8, start, size)
    linkedit = next(
        at for cmd, at in load_commands(part) if cmd == 0x19 and b"__LINKEDIT" in part[at : at + 24]
    )
    (fileoff,) = struct.unpack_from("<Q", out, linkedit + 40)
    struct.pack_into("<Q", out, linkedit + 48, start + size - fileoff)
    struct.pack_into("<Q", out, linkedit + 32, (start + size - fileoff + 0x3FFF) & ~0x3FFF)
    requirements = struct.pack(">III", 0xFADE0C01, 12, 0)
    blobs = [(0, _directory(bytes(out), "sha1", shift, requirements)), (2, requirements)]
    blobs.append((0x1000, _directory(bytes(out), "sha256", shift, requirements)))
    if cms:
        blobs.append((0x10000, struct.pack(">II", 0xFADE0B01, 8 + len(cms)) + cms))
    offset, index = 12 + 8 * len(blobs), b""
    for slot, blob in blobs:
        index += struct.pack(">II", slot, offset)
        offset += len(blob)
    body = b"".join(blob for _, blob in blobs)
    signature = struct.pack(">III", 0xFADE0CC0, offset, len(blobs)) + index + body
    return bytes(out) + signature.ljust(size, b"\0")


def _directory(hashed: bytes, kind: str, shift: int, requirements: bytes) -> bytes:
    digest = getattr(hashlib, kind)
    special: bytes = digest(requirements).digest() + bytes(digest().digest_size)
    pages: list[bytes] = [
        digest(hashed[at : at + (1 << shift)]).digest() for at in range(0, len(hashed), 1 << shift)
    ]
    start = 44 + 4 + 8
    number = 1 if kind == "sha1" else 2
    size = start + len(special) + sum(map(len, pages))
    header = struct.pack(
        ">IIIIIIIIIBBBBII",
        *(0xFADE0C02, size, 0x20100, 2, start + len(special), 48, 2, len(pages), len(hashed)),
        *(digest().digest_size, number, 0, shift, 0, 0),
    )
    return header + b"fixture\0" + special + b"".join(pages)


def patched(data: bytes, at: int, layout: str, *values: int) -> bytes:
    """Return the file with some numbers in another place of it."""
    out = bytearray(data)
    struct.pack_into(layout, out, at, *values)
    return bytes(out)


def command_at(part: bytes, number: int) -> int:
    """Return where the first load command of a kind stands."""
    return next(at for cmd, at in load_commands(part) if cmd == number)


LINKEDIT_AT = 4096
CPU = {
    "i386": (7, 3),
    "x86_64": (0x01000007, 3),
    "x86_64h": (0x01000007, 8),
    "arm64": (0x0100000C, 0),
    "arm64e": (0x0100000C, 0x80000002),
    "ppc": (18, 0),
    "cpu-77": (77, 0),
}


def assembled(
    *extra: tuple[int, bytes],
    linkedit: bytes = b"",
    arch: str = "x86_64",
    order: str = "<",
    wide: bool = True,
    filetype: int = 6,
    flags: int = 0x85,
    content: int = 2048,
) -> bytes:
    """Return a small Mach-O file: two segments, a section, and the load commands given.

    A command is its number and what follows its size; the contents of __LINKEDIT stand at 4096.
    """
    align = 8 if wide else 4
    word = order + ("QQQQiiII" if wide else "IIIIiiII")
    section = struct.pack(order + ("32sQQI" if wide else "32sIII"), b"__text", content, 0, content)
    section = section.ljust(80 if wide else 68, b"\0")
    number = 0x19 if wide else 1
    text = struct.pack(word, 0, LINKEDIT_AT, 0, LINKEDIT_AT, 5, 5, 1, 0)
    rest = struct.pack(word, LINKEDIT_AT, 1 << 26, LINKEDIT_AT, len(linkedit), 1, 1, 0, 0)
    commands = [
        (number, b"__TEXT".ljust(16, b"\0") + text + section),
        (number, b"__LINKEDIT".ljust(16, b"\0") + rest),
        *extra,
    ]
    table = b""
    for cmd, payload in commands:
        size = 8 + len(payload) + -len(payload) % align
        table += (struct.pack(order + "II", cmd, size) + payload).ljust(size, b"\0")
    magic = 0xFEEDFACF if wide else 0xFEEDFACE
    header = struct.pack(
        order + "7I", magic, *CPU[arch], filetype, len(commands), len(table), flags
    )
    start = header + bytes(4 if wide else 0) + table
    return start.ljust(LINKEDIT_AT, b"\0") + linkedit


def dylib(name: str, cmd: int = 0xC, order: str = "<") -> tuple[int, bytes]:
    """Return a command that names a library."""
    return cmd, struct.pack(order + "IIII", 24, 2, 0, 0) + name.encode() + b"\0"


def rpath(entry: str, order: str = "<") -> tuple[int, bytes]:
    return 0x8000001C, struct.pack(order + "I", 12) + entry.encode() + b"\0"


def fat(
    *parts: bytes, wide: bool = False, align: int = 12, archs: list[str] | None = None
) -> bytes:
    """Join slices; with the architectures given, or those in their headers."""
    out = struct.pack(">II", 0xCAFEBABF if wide else 0xCAFEBABE, len(parts))
    body = b""
    for index, part in enumerate(parts):
        body = body.ljust(len(body) + -len(body) % (1 << align), b"\0")
        cpu = CPU[archs[index]] if archs else struct.unpack_from("<II", part, 4)
        place = (4096 + len(body), len(part), align)
        out += struct.pack(">IIQQII" if wide else ">IIIII", *cpu, *place, *([0] if wide else []))
        body += part
    return out.ljust(4096, b"\0") + body
