"""Zip archives made by hand, each field open to damage, and the package index's rules for them.

Nothing here uses the code under test. Layouts: PKWARE APPNOTE.TXT 4.3.7 to 4.3.16.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zipfile
import zlib
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

LOCAL = struct.Struct("<4sHHHHHIIIHH")
CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
END = struct.Struct("<4sHHHHIIH")
END64 = struct.Struct("<4sQHHIIQQQQ")
LOCATOR64 = struct.Struct("<4sIQI")
SATURATED = 0xFFFFFFFF
DESCRIPTOR, UTF8 = 0x8, 0x800

Fields = dict[str, int | bytes]


def deflated(data: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


def extra(kind: int, data: bytes) -> bytes:
    """Return an extra field."""
    return struct.pack("<HH", kind, len(data)) + data


def zip64(*numbers: int) -> bytes:
    """Return a zip64 extra field."""
    return extra(1, struct.pack(f"<{len(numbers)}Q", *numbers))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A member: what it should be, and what its two headers say instead."""

    name: bytes = b"a.txt"
    data: bytes = b"content of a\n"
    method: int = 8
    packed: bytes | None = None
    both: Mapping[str, int | bytes] = dataclasses.field(default_factory=dict)
    local: Mapping[str, int | bytes] = dataclasses.field(default_factory=dict)
    central: Mapping[str, int | bytes] = dataclasses.field(default_factory=dict)
    after: bytes = b""

    def fields(self, changes: Mapping[str, int | bytes], offset: int) -> Fields:
        content = self.content()
        return {
            "made_by": 3 << 8 | 20,
            "needs": 20,
            "flags": 0,
            "method": self.method,
            "time": 0,
            "date": (2024 - 1980) << 9 | 1 << 5 | 1,
            "crc": zlib.crc32(self.data),
            "packed": len(content),
            "size": len(self.data),
            "name": self.name,
            "extra": b"",
            "comment": b"",
            "disk": 0,
            "internal": 0,
            "attributes": 0o100644 << 16,
            "offset": offset,
            **self.both,
            **changes,
        }

    def content(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return deflated(self.data) if self.method == 8 else self.data


def headed(layout: struct.Struct, magic: bytes, fields: Fields, names: str) -> bytes:
    """Pack a header; names, extra fields and comments stand in it as their lengths."""
    values = [fields[name] for name in names.split()]
    tail = b"".join(v for v in values if isinstance(v, bytes))
    lengths = [len(v) if isinstance(v, bytes) else v for v in values]
    return layout.pack(magic, *lengths) + tail


def make(
    *parts: Part,
    prefix: bytes = b"",
    gap: bytes = b"",
    suffix: bytes = b"",
    comment: bytes = b"",
    end: Mapping[str, int] | None = None,
    end64: Mapping[str, int] | None = None,
    locator: Mapping[str, int] | None = None,
) -> bytes:
    """Return an archive; ``end64`` or ``locator`` give it a zip64 end record."""
    out = prefix
    directory = b""
    for part in parts:
        here = len(out)
        directory += headed(
            CENTRAL,
            b"PK\1\2",
            part.fields(part.central, here),
            "made_by needs flags method time date crc packed size name extra comment disk internal "
            "attributes offset",
        )
        out += headed(
            LOCAL,
            b"PK\3\4",
            part.fields(part.local, here),
            "needs flags method time date crc packed size name extra",
        )
        out += part.content() + part.after
    out += gap
    count, size, start = len(parts), len(directory), len(out)
    out += directory
    if end64 is not None or locator is not None:
        out += end_records64(len(out), (count, size, start), end64 or {}, locator or {})
    fields = {"disk": 0, "first": 0, "here": count, "count": count, "size": size, "start": start}
    fields |= {"comment": len(comment), **(end or {})}
    return out + END.pack(b"PK\5\6", *fields.values()) + comment + suffix


def end_records64(
    at: int, numbers: tuple[int, int, int], end64: Mapping[str, int], locator: Mapping[str, int]
) -> bytes:
    count, size, start = numbers
    fields = {"length": 44, "made_by": 45, "needs": 45, "disk": 0, "first": 0}
    fields |= {"here": count, "count": count, "size": size, "start": start, **end64}
    where = {"disk": 0, "at": at, "disks": 1, **locator}
    return END64.pack(b"PK\6\6", *fields.values()) + LOCATOR64.pack(b"PK\6\7", *where.values())


def descriptor(part: Part, layout: str = "<III", *, signed: bool = True) -> bytes:
    """Return the data descriptor of a member."""
    numbers = struct.pack(layout, zlib.crc32(part.data), len(part.content()), len(part.data))
    return (b"PK\x07\x08" if signed else b"") + numbers


def streamed(files: Mapping[str, bytes]) -> bytes:
    """Return what zipfile writes to a stream that cannot seek: data descriptors."""

    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise OSError

        def tell(self) -> int:
            raise OSError

    out = Stream()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


# --- The rules of the package index, pypi/warehouse, August 2026 -------------------------------

MOST_BYTES = 100 << 20
MOST_UNPACKED, MOST_RATIO = 64 << 20, 50


class Header(NamedTuple):
    """What a rule looks at in a local header or in an entry of the directory."""

    name: bytes
    flags: int
    method: int
    packed: int
    size: int
    extra: bytes
    comment: bytes = b""


def upload_problems(path: Path) -> list[str]:
    """Return why the package index would refuse an archive, read from front to end."""
    if path.stat().st_size > MOST_BYTES:
        return ["larger than 100 MiB"]
    return [*dict.fromkeys(Upload(path.read_bytes()).problems())]


class Upload:
    """Reads records as a streaming unpacker does: each signature follows the last record."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.locals: list[Header] = []
        self.centrals: list[Header] = []

    def problems(self) -> Iterator[str]:
        while self.data.startswith(b"PK\3\4", self.at):
            header = self.local()
            self.locals.append(header)
            yield from header_problems(header)
            if header.flags & DESCRIPTOR:
                yield "data descriptor"
                return
        start = self.at
        while self.data.startswith(b"PK\1\2", self.at):
            header = self.central()
            self.centrals.append(header)
            yield from header_problems(header)
            if header.comment:
                yield "comment of a member"
        seen = (len(self.centrals), self.at - start, start)
        large: tuple[int, int, int] | None = None
        if self.data.startswith(b"PK\6\6", self.at):
            large = yield from self.end64()
        if not self.data.startswith(b"PK\5\6", self.at):
            yield "unknown record"
            return
        yield from self.end(large, seen)
        yield from self.directory_problems()

    def local(self) -> Header:
        fields = LOCAL.unpack_from(self.data, self.at)
        _, _, flags, method, _, _, _, packed, size, name_size, extra_size = fields
        name, field = self.tail(LOCAL, name_size, extra_size)
        if packed == SATURATED:
            packed = struct.unpack_from("<Q", dict(extras(field))[1], 8)[0]
            size = struct.unpack_from("<Q", dict(extras(field))[1])[0]
        self.at += packed
        return Header(name, flags, method, packed, size, field)

    def central(self) -> Header:
        fields = CENTRAL.unpack_from(self.data, self.at)
        _, _, _, flags, method, _, _, _, packed, size, *lengths = fields[:13]
        name, field, comment = self.tail(CENTRAL, *lengths)
        numbers = dict(extras(field)).get(1, b"")
        if size == SATURATED:
            (size,), numbers = struct.unpack_from("<Q", numbers), numbers[8:]
        if packed == SATURATED:
            (packed,) = struct.unpack_from("<Q", numbers)
        return Header(name, flags, method, packed, size, field, comment)

    def tail(self, layout: struct.Struct, *lengths: int) -> list[bytes]:
        self.at += layout.size
        found = []
        for length in lengths:
            found.append(self.data[self.at : self.at + length])
            self.at += length
        return found

    def end64(self) -> Generator[str, None, tuple[int, int, int]]:
        start = self.at
        _, length, *_, here, count, size, offset = END64.unpack_from(self.data, self.at)
        if length != 44:
            yield "zip64 extensible data"
        if here != count:
            yield "split"
        self.at += length + 12
        if not self.data.startswith(b"PK\6\7", self.at):
            yield "no zip64 locator"
        elif LOCATOR64.unpack_from(self.data, self.at)[2] != start:
            yield "zip64 locator points elsewhere"
        self.at += LOCATOR64.size
        return count, size, offset

    def end(self, large: tuple[int, int, int] | None, seen: tuple[int, int, int]) -> Iterator[str]:
        _, _, _, here, count, size, start, comment = END.unpack_from(self.data, self.at)
        if here != count:
            yield "split"
        stated = large or (count, size, start)
        for what, found, wanted in zip(("count", "size", "offset"), stated, seen, strict=True):
            if found != wanted:
                yield f"wrong {what} of the directory"
        if self.at + END.size + comment != len(self.data):
            yield "trailing data"

    def directory_problems(self) -> Iterator[str]:
        for headers in (self.locals, self.centrals):
            if max(Counter(h.name for h in headers).values(), default=0) > 1:
                yield "duplicate name"
        if {h.name for h in self.locals} != {h.name for h in self.centrals}:
            yield "names of headers and directory differ"
        sizes = {h.name: (h.packed, h.size) for h in self.centrals}
        if any(sizes.get(h.name) not in (None, (h.packed, h.size)) for h in self.locals):
            yield "sizes of header and directory differ"
        unpacked = sum(h.size for h in self.centrals)
        if unpacked > MOST_UNPACKED and unpacked > MOST_RATIO * len(self.data):
            yield "bomb"


def header_problems(header: Header) -> Iterator[str]:
    if header.method not in (0, 8):
        yield "compression method"
    kinds = Counter(kind for kind, _ in extras(header.extra))
    if kinds[-1]:
        yield "broken extra field"
    if kinds[0x0001] > 1 or kinds[0x7075] > 1:
        yield "duplicate extra field"
    yield from name_problems(header.name)
    for kind, data in extras(header.extra):
        if kind == 1 and len(data) not in (0, 8, 16, 24, 28):
            yield "length of the zip64 field"
        if kind == 1 and len(data) == 8 and header.method:
            yield "short zip64 field of a compressed member"
        if kind == 0x7075:
            yield from name_problems(data[5:])


def name_problems(name: bytes) -> Iterator[str]:
    if any(byte < 0x20 or byte == 0x7F for byte in name):
        yield "control character in a name"
    try:
        name.decode()
    except UnicodeDecodeError:
        yield "name is not UTF-8"


def extras(field: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the extra fields, and number -1 for what is none."""
    while field:
        kind, length = struct.unpack_from("<HH", field) if len(field) >= 4 else (0, len(field))
        if len(field) < length + 4:
            yield -1, field
            return
        yield kind, field[4 : 4 + length]
        field = field[4 + length :]
