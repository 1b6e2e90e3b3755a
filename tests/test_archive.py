"""Archives: what is refused, what is read, what is written."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest
from archives import (
    DESCRIPTOR,
    SATURATED,
    UTF8,
    Part,
    deflated,
    descriptor,
    extra,
    make,
    streamed,
    upload_problems,
    zip64,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from extlib_repair.archive import DEFLATED, STORED, ArchiveReader, ArchiveWriter, Entry
from extlib_repair.errors import BadWheelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

A = Part()
B = Part(name=b"b.txt", data=b"content of b\n")
STREAMED = Part(both={"flags": DESCRIPTOR}, local={"crc": 0, "packed": 0, "size": 0})
STORED_A = Part(method=0)
SHORT = (zlib.crc32(A.data), len(A.content()), len(A.data))


def with_descriptor(part: Part, after: bytes) -> Part:
    return Part(both=part.both, local=part.local, after=after)


def unicode_path(name: bytes) -> bytes:
    return extra(0x7075, struct.pack("<BI", 1, zlib.crc32(b"a.txt")) + name)


REFUSED_NAMES = {
    "absolute": b"/a",
    "parent": b"../a",
    "parent inside": b"a/../../b",
    "here": b"./a",
    "empty part": b"a//b",
    "empty part at the end": b"a//",
    "only a slash": b"/",
    "backslash": b"a\\b",
    "drive": b"C:/a",
    "drive without slash": b"c:a",
    "drive in the middle": b"d-1.data/platlib/C:/a",
}

DAMAGED = {
    **{
        name: (make(Part(name=raw)), "is not a plain path below the folder")
        for name, raw in REFUSED_NAMES.items()
    },
    "no name": (make(Part(name=b"")), "has control characters, or is empty"),
    "NUL in the name": (make(Part(name=b"a\0b")), "has control characters, or is empty"),
    "line end in the name": (make(Part(name=b"a\nb")), "has control characters, or is empty"),
    "DEL in the name": (make(Part(name=b"a\x7fb")), "has control characters, or is empty"),
    "name of unknown encoding": (
        make(Part(name=b"\x81.txt")),
        "the name b'\\x81.txt' is neither ASCII nor marked and valid UTF-8",
    ),
    "name marked as UTF-8 that is none": (
        make(Part(name=b"\x81.txt", both={"flags": UTF8})),
        "the name b'\\x81.txt' is neither ASCII nor marked and valid UTF-8",
    ),
    "twice the same name": (make(A, B, Part(data=b"x")), "a.txt is there twice"),
    "a file and a folder entry": (make(Part(name=b"a/", data=b""), Part(name=b"a")), "a is there"),
    "a file that is a folder": (
        make(Part(name=b"a/b"), Part(name=b"a/b/c/d")),
        "a/b is both a file and a folder",
    ),
    "a folder that becomes a file": (
        make(Part(name=b"a/b/c/d"), Part(name=b"a")),
        "a is both a file and a folder",
    ),
    "symlink": (make(Part(central={"attributes": 0o120777 << 16})), "a.txt is a symlink"),
    "symlink made on another system": (
        make(Part(central={"attributes": 0o120777 << 16, "made_by": 20})),
        "a.txt is a symlink",
    ),
    "device": (make(Part(central={"attributes": 0o020644 << 16})), "or another special file"),
    "file marked as a folder": (
        make(Part(central={"attributes": 0o040755 << 16})),
        "or another special file",
    ),
    "folder with content": (make(Part(name=b"a/")), "a/ is a folder with content"),
    "encrypted": (make(Part(both={"flags": 1})), "a.txt is encrypted"),
    "strongly encrypted": (make(Part(both={"flags": 0x41})), "a.txt is encrypted"),
    "masked headers": (make(Part(both={"flags": 0x2000})), "a.txt is encrypted"),
    "patch data": (make(Part(both={"flags": 0x20})), "is no file of its own"),
    "bzip2": (make(Part(both={"method": 12})), "a.txt is compressed by method 12"),
    "stored with two sizes": (
        make(Part(method=0, both={"size": 99})),
        "a.txt is stored, but its two sizes differ",
    ),
    "another name": (make(Part(local={"name": b"b.txt"})), "another name or method in its own"),
    "a longer name": (make(Part(local={"name": b"a.txt2"})), "another name or method in its own"),
    "another method": (make(Part(local={"method": 0})), "another name or method in its own"),
    "another encoding": (
        make(Part(name="ä".encode(), central={"flags": UTF8})),
        "is neither ASCII nor marked",
    ),
    "another size": (make(Part(local={"size": 12})), "another size or checksum in its own"),
    "another packed size": (make(Part(local={"packed": 12})), "another size or checksum in its"),
    "another checksum": (make(Part(local={"crc": 12})), "another size or checksum in its own"),
    "encrypted in one place": (make(Part(local={"flags": 1})), "a.txt has other flags in its own"),
    "patch in one place": (make(Part(local={"flags": 0x20})), "a.txt has other flags in its own"),
    "descriptor in one place": (
        make(Part(local={"flags": DESCRIPTOR}, after=descriptor(A))),
        "a.txt has other flags in its own",
    ),
    "no local header": (make(A).replace(b"PK\3\4", b"PK\3\5"), "a.txt has no header of its own"),
    "a version of the future": (make(Part(both={"needs": 64})), "that does not exist yet"),
    "two members that share their bytes": (
        make(A, Part(central={"offset": 0})),
        "overlaps with what follows it",
    ),
    "a member inside another": (
        make(Part(name=b"big", method=0, data=make(A)), Part(central={"offset": 33})),
        "big overlaps with what follows it",
    ),
    "a gap between members": (make(Part(after=b"\0" * 16), B), "what stands behind a.txt is not"),
    "a gap before the directory": (make(A, B, gap=b"\0"), "what stands behind b.txt is not"),
    "a member that the directory does not list": (
        make(A, gap=make(B)[:50]),
        "what stands behind a.txt is not",
    ),
    "a member that the directory's size leaves out": (
        make(A, B, end={"count": 1, "here": 1, "size": 51}),
        "behind its directory",
    ),
    "bytes in front": (make(A, prefix=b"MZ" * 20), "something stands before its first member"),
    "bytes in front that are not counted": (b"#!" + make(A), "before its first member"),
    "bytes in front of nothing": (make(prefix=b"MZ"), "something stands before its first member"),
    "bytes behind": (make(A, suffix=b"\n"), "something follows its end"),
    "another archive behind": (make(A) + make(B), "something stands before its first member"),
    "a comment shorter than stated": (make(A, end={"comment": 1}), "something follows its end"),
    "an end record in the comment": (
        make(A, comment=b"x" + make()),
        "before its first member or behind its directory",
    ),
    "a member too many in the count": (
        make(A, B, end={"count": 3, "here": 3}),
        "does not hold the members that it counts",
    ),
    "a member too few in the count": (
        make(A, B, end={"count": 1, "here": 1}),
        "does not hold the members that it counts",
    ),
    "a directory whose last entry is longer than it": (
        make(Part(central={"comment": 1})),
        "does not hold the members that it counts",
    ),
    "a directory of other records": (
        make(A).replace(b"PK\1\2", b"PK\1\3"),
        "its directory is damaged",
    ),
    "on disk 1": (make(A, end={"disk": 1}), "it is split over several files"),
    "directory on disk 1": (make(A, end={"first": 1}), "it is split over several files"),
    "some members on this disk": (make(A, B, end={"here": 1}), "it is split over several files"),
    "a member on disk 1": (make(Part(central={"disk": 1})), "it is split over several files"),
    "a member beyond the end": (
        make(Part(central={"offset": 10_000})),
        "a.txt should stand behind its end",
    ),
    "a member at the last byte": (make(Part(central={"offset": 100})), "it ends too early"),
    "a member at the end of all numbers": (
        make(Part(central={"offset": SATURATED, "extra": zip64((1 << 64) - 1)})),
        "a.txt should stand behind its end",
    ),
    "an extra field that is too long": (
        make(Part(central={"extra": extra(2, b"12")[:-1]})),
        "an extra field of a.txt runs past its end",
    ),
    "two zip64 fields": (
        make(Part(central={"extra": zip64(SHORT[2]) + zip64(SHORT[2]), "size": SATURATED})),
        "a.txt has an extra field twice",
    ),
    "another name in an extra field": (
        make(Part(both={"extra": unicode_path(b"evil.py")})),
        "a.txt has another name in an extra field",
    ),
    "another name in the local extra field": (
        make(Part(local={"extra": unicode_path(b"evil.py")})),
        "a.txt has another name in an extra field",
    ),
    "no zip64 field where one is due": (
        make(Part(central={"size": SATURATED})),
        "the zip64 field of a.txt does not fit its header",
    ),
    "a zip64 field without the last number": (
        make(Part(central={"offset": SATURATED, "extra": zip64(SHORT[2], SHORT[1])})),
        "the zip64 field of a.txt does not fit its header",
    ),
    "a zip64 field with other numbers": (
        make(Part(local={"extra": zip64(SHORT[2], 1)})),
        "the zip64 field of a.txt does not fit its header",
    ),
    "a zip64 field of half a number": (
        make(Part(local={"extra": extra(1, b"1234")})),
        "the zip64 field of a.txt does not fit its header",
    ),
    "a zip64 field with too many numbers": (
        make(Part(local={"extra": zip64(0, 0, 0, 0)})),
        "the zip64 field of a.txt does not fit its header",
    ),
    "a zip64 locator that points to nonsense": (
        make(A, locator={"at": 7}),
        "its zip64 end record is not where it should be",
    ),
    "a zip64 locator that points beyond all": (
        make(A, locator={"at": (1 << 64) - 1}),
        "its zip64 end record is not where it should be",
    ),
    "a zip64 end record of another kind": (
        make(A, end64={}).replace(b"PK\6\6", b"PK\6\5"),
        "its zip64 end record is not where it should be",
    ),
    "a zip64 end record on disk 1": (make(A, locator={"disk": 1}), "split over several files"),
    "a zip64 end record of two disks": (make(A, locator={"disks": 2}), "split over several files"),
    "a zip64 end record that is on disk 1": (make(A, end64={"disk": 1}), "split over several"),
    "a zip64 directory on disk 1": (make(A, end64={"first": 1}), "split over several files"),
    "some zip64 members on this disk": (make(A, end64={"here": 0}), "split over several files"),
    "a zip64 end record with more": (
        make(A, end64={"length": 45}),
        "its zip64 end record has a part that nobody knows",
    ),
    "end records of two counts": (
        make(A, B, end64={"count": 1, "here": 1}),
        "its two end records do not agree",
    ),
    "end records of two directories": (
        make(A, end64={"start": 0}),
        "its two end records do not agree",
    ),
    "no descriptor": (make(STREAMED), "what stands behind a.txt is not what should follow it"),
    "half a descriptor": (
        make(with_descriptor(STREAMED, descriptor(A)[:8])),
        "what stands behind a.txt is not what should follow it",
    ),
    "a descriptor with another size": (
        make(with_descriptor(STREAMED, descriptor(Part(data=b"x")))),
        "what stands behind a.txt is not what should follow it",
    ),
    "a descriptor, and other sizes in front": (
        make(Part(both={"flags": DESCRIPTOR}, local={"size": 5}, after=descriptor(A))),
        "a.txt has another size or checksum in its own header",
    ),
    "text": (b"PK is how a zip archive begins, but this is text.\n" * 3, "is not a zip archive"),
    "half an end record": (b"PK\5\6" + b"\0" * 17, "is not a zip archive"),
    "empty": (b"", "is not a zip archive: it is empty"),
}


@pytest.mark.parametrize(("data", "phrase"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_hostile_or_damaged_archive_is_refused(data: bytes, phrase: str, tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"
    path.write_bytes(data)

    with pytest.raises(BadWheelError) as caught:
        ArchiveReader(path)

    assert phrase in str(caught.value)
    assert str(caught.value).startswith("demo.whl ")
    assert caught.value.exit_code == 3


def test_a_refused_archive_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"
    path.write_bytes(make(A, suffix=b"x"))
    with pytest.raises(BadWheelError):
        ArchiveReader(path)

    path.unlink()  # an open file cannot be deleted on Windows

    assert not path.exists()


BROKEN = {
    "wrong checksum": (Part(both={"crc": 1}), "its size or checksum is not what"),
    "wrong checksum of a stored member": (
        Part(method=0, both={"crc": 1}),
        "its size or checksum is not what",
    ),
    "size too large": (Part(both={"size": 14}), "its size or checksum is not what"),
    "size too small": (Part(both={"size": 5}), "its data does not end where"),
    "bytes behind the stream": (
        Part(packed=deflated(A.data) + b"hidden"),
        "its data does not end where",
    ),
    "a second chunk behind the stream": (
        Part(packed=deflated(A.data) + bytes(1 << 20)),
        "its data does not end where",
    ),
    "a stream without end": (Part(packed=deflated(A.data)[:-1]), "its data does not end where"),
    "no stream": (Part(packed=b"", data=b""), "its data does not end where"),
    "no deflate stream": (Part(packed=b"\xff" * 9), "invalid block type"),
}


@pytest.mark.parametrize(("part", "phrase"), BROKEN.values(), ids=BROKEN.keys())
def test_a_damaged_member_is_refused_when_it_is_read(
    part: Part, phrase: str, tmp_path: Path
) -> None:
    path = tmp_path / "demo.whl"
    path.write_bytes(make(B, part))

    with ArchiveReader(path) as archive:
        assert archive.read(archive.by_name["b.txt"]) == b"content of b\n"
        with pytest.raises(BadWheelError) as caught:
            archive.read(archive.by_name["a.txt"])

    assert str(caught.value).startswith("demo.whl: a.txt is damaged: ")
    assert phrase in str(caught.value)


PIECE = 1 << 20
LARGE = {
    "zeros": Part(data=bytes(5 * PIECE)),
    "zeros that end with a piece": Part(data=bytes(3 * PIECE), method=0),
    "noise": Part(data=random.Random(7).randbytes(2 * PIECE + 1)),
    "stored": Part(data=random.Random(8).randbytes(2 * PIECE + 1), method=0),
    "nothing": Part(data=b""),
    "nothing stored": Part(data=b"", method=0),
}


@pytest.mark.parametrize("part", LARGE.values(), ids=LARGE.keys())
def test_a_member_is_read_in_pieces_of_bounded_size(part: Part, tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"
    path.write_bytes(make(part))

    with ArchiveReader(path) as archive:
        (entry,) = archive.entries
        pieces = [*archive.stream(entry)]
        whole = archive.read(entry)

    assert max(map(len, pieces), default=0) <= PIECE
    assert b"".join(pieces) == whole == part.data


def test_a_damaged_member_ends_its_stream(tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"
    lying = Part(data=bytes(5 * PIECE), both={"size": PIECE})
    path.write_bytes(make(lying, Part(name=b"b", data=bytes(PIECE), both={"crc": 1})))
    taken = {}

    with ArchiveReader(path) as archive:
        for entry in archive.entries:
            pieces = archive.stream(entry)
            taken[entry.name] = len(next(pieces))
            with pytest.raises(BadWheelError):
                b"".join(pieces)

    assert taken == {"a.txt": PIECE, "b": PIECE}


def test_an_archive_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"
    noise = random.Random(9).randbytes(1 << 20)
    path.write_bytes(make(Part(data=noise), Part(name=b"b", data=noise, method=0)))

    with ArchiveReader(path) as archive:
        path.write_bytes(path.read_bytes()[: 1 << 19])
        for entry in archive.entries:
            with pytest.raises(BadWheelError, match="is damaged"):
                archive.read(entry)


BOMB = 65 << 20


def test_a_bomb_is_refused_unless_the_limit_is_raised(tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"
    path.write_bytes(make(Part(data=bytes(BOMB))))

    with pytest.raises(BadWheelError, match=r"unpacks to 1\d\d\d times its size \(65 MiB\)") as bad:
        ArchiveReader(path)
    with ArchiveReader(path, most_expansion=1100) as archive:
        size = len(archive.read(archive.entries[0]))

    assert bad.value.hint == "if it is meant to, raise the limit: --most-expansion (now 50)"
    assert size == BOMB


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.comment = b"a comment of the archive"
        for name, data in files.items():
            info = zipfile.ZipInfo(name, (2023, 2, 3, 4, 5, 6))
            info.compress_type = method
            info.external_attr = 0o100755 << 16
            info.comment = b"a comment of the member"
            info.extra = extra(0xCAFE, b"1234")
            archive.writestr(info, data)
    return out.getvalue()


def forced_zip64() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.txt", "w", force_zip64=True) as file:
            file.write(A.data)
        archive.writestr("b.txt", B.data)
    return out.getvalue()


def with_folders() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.mkdir("d")
        archive.mkdir("d/e")
        archive.writestr("d/e/f", b"content of f\n")
        archive.writestr("g/h", b"")
    return out.getvalue()


SATURATED_SIZES: Mapping[str, int | bytes] = {
    "packed": SATURATED,
    "size": SATURATED,
    "extra": zip64(SHORT[2], SHORT[1]),
}
FILES = {
    "a.txt": A.data,
    "d/ä ö.txt": b"x" * 100_000,
    "d/c.bin": random.Random(1).randbytes(70_000),
}

GOOD = {
    "nothing": make(),
    "plain": make(A, B),
    "deflated": zipped(FILES),
    "stored": zipped(FILES, zipfile.ZIP_STORED),
    "streamed": streamed(FILES),
    "folders": with_folders(),
    "a folder that Java deflates": make(Part(name=b"d/", data=b"", central={"attributes": 16}), B),
    "forced zip64 fields": forced_zip64(),
    "zip64 fields in both headers": make(Part(both=SATURATED_SIZES), B),
    "a zip64 offset": make(A, Part(name=b"b", central={"offset": SATURATED, "extra": zip64(50)})),
    "zip64 fields that repeat the header, as Bazel writes them": make(
        Part(local={"extra": zip64(SHORT[2], SHORT[1])}), B
    ),
    "a zip64 end record": make(A, B, end64={}),
    "a zip64 end record that is needed": make(
        A,
        B,
        end64={},
        end={"here": 0xFFFF, "count": 0xFFFF, "size": SATURATED, "start": SATURATED},
    ),
    "a name with a second encoding": make(Part(both={"extra": unicode_path(b"a.txt")})),
    "the UTF-8 flag for an ASCII name": make(Part(central={"flags": UTF8})),
    "a long comment": make(A, comment=b"c" * 0xFFFF),
    "directory in another order": make(
        Part(central={"offset": 50, "name": b"b.txt", "crc": zlib.crc32(B.data)}),
        Part(
            name=b"b.txt",
            data=B.data,
            central={"offset": 0, "name": b"a.txt", "crc": SHORT[0]},
        ),
    ),
    **{
        f"descriptor {layout} {'with' if signed else 'without'} signature": make(
            with_descriptor(STREAMED, descriptor(A, layout, signed=signed)), B
        )
        for layout in ("<III", "<IQQ")
        for signed in (True, False)
    },
    "descriptor, and all numbers in front too": make(
        Part(both={"flags": DESCRIPTOR}, after=descriptor(A)), B
    ),
}


def contents(path: Path) -> dict[str, bytes]:
    """Read an archive with the code under test."""
    with ArchiveReader(path) as archive:
        return {e.name: archive.read(e) for e in archive.entries}


def other_contents(path: Path) -> dict[str, bytes]:
    """Read an archive with zipfile."""
    with zipfile.ZipFile(path) as archive:
        return {i.filename: archive.read(i) for i in archive.infolist()}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD.keys())
def test_a_good_archive_is_read_as_zipfile_reads_it(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"
    path.write_bytes(data)

    assert [*contents(path).items()] == [*other_contents(path).items()]


def copied(source: Path, target: Path) -> None:
    with ArchiveReader(source) as archive, target.open("wb") as out:
        writer = ArchiveWriter(out)
        for entry in archive.entries:
            writer.copy(archive, entry)
        writer.close()


def described(path: Path) -> list[tuple[object, ...]]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return [
            (i.filename, i.date_time, i.external_attr, i.create_system, archive.read(i))
            for i in archive.infolist()
        ]


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD.keys())
def test_a_copy_is_equal_and_follows_the_rules_of_the_index(data: bytes, tmp_path: Path) -> None:
    source, target = tmp_path / "source.whl", tmp_path / "target.whl"
    source.write_bytes(data)

    copied(source, target)

    assert described(target) == described(source)
    assert upload_problems(target) == []


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD.keys())
def test_a_copy_of_a_copy_is_the_same_file(data: bytes, tmp_path: Path) -> None:
    source, once, twice = (tmp_path / f"{name}.whl" for name in ("source", "once", "twice"))
    source.write_bytes(data)

    copied(source, once)
    copied(once, twice)

    assert twice.read_bytes() == once.read_bytes()


def test_a_copy_keeps_the_compressed_bytes(tmp_path: Path) -> None:
    source, target = tmp_path / "source.whl", tmp_path / "target.whl"
    source.write_bytes(make(A, Part(name=b"b", packed=b"not even deflate")))

    copied(source, target)

    with ArchiveReader(target) as archive:
        assert b"".join(archive.packed(archive.entries[1], chunk=3)) == b"not even deflate"


def test_the_start_of_a_member_is_read_without_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"
    noise = random.Random(2).randbytes(5000)
    path.write_bytes(
        make(
            Part(name=b"whole", data=noise),
            Part(name=b"stored", data=noise, method=0),
            Part(name=b"broken", data=noise, packed=deflated(noise)[:3000]),
            Part(name=b"short", data=b"xy"),
            Part(name=b"empty", data=b"", method=0),
        )
    )

    with ArchiveReader(path) as archive:
        starts = {e.name: archive.start(e, 4) for e in archive.entries}

    first = noise[:4]
    assert starts == {
        "whole": first,
        "stored": first,
        "broken": first,
        "short": b"xy",
        "empty": b"",
    }


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_a_member_is_written_with_its_date_and_mode(method: int, tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"
    time = ((2024 - 1980) << 9 | 5 << 5 | 6) << 16 | 7 << 11 | 8 << 5 | 5
    entry = Entry(name="d/ä.txt", method=method, time=time, attributes=0o100600 << 16)

    with path.open("wb") as out:
        writer = ArchiveWriter(out)
        writer.write(entry, b"new" * 100)
        writer.close()

    with zipfile.ZipFile(path) as archive:
        (info,) = archive.infolist()
        assert (info.filename, info.date_time) == ("d/ä.txt", (2024, 5, 6, 7, 8, 10))
        assert (info.external_attr, info.compress_type) == (0o100600 << 16, method)
        assert archive.read(info) == b"new" * 100
    assert upload_problems(path) == []


def test_more_members_than_a_small_end_record_can_count(tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"
    count = 0xFFFF

    with path.open("wb") as out:
        writer = ArchiveWriter(out)
        for number in range(count):
            writer.write(Entry(name=f"{number}", method=STORED), b"")
        writer.close()

    with ArchiveReader(path) as archive:
        assert len(archive.entries) == count
    with zipfile.ZipFile(path) as other:
        assert len(other.namelist()) == count
    assert upload_problems(path) == []


class Far(io.BytesIO):
    """A file that begins with 4 GiB which nobody reads or writes."""

    HOLE = 1 << 32

    def tell(self) -> int:
        return super().tell() + self.HOLE

    def seek(self, offset: int, whence: int = 0) -> int:
        return super().seek(offset if whence else offset - self.HOLE, whence) + self.HOLE


def test_offsets_beyond_4_gib_are_written() -> None:
    out = Far()

    writer = ArchiveWriter(out)
    writer.write(Entry(name="a.txt", attributes=0o100644 << 16), A.data)
    writer.write(Entry(name="b.txt"), B.data)
    writer.close()

    with zipfile.ZipFile(out) as archive:
        assert [i.header_offset - Far.HOLE for i in archive.infolist()] == [0, 50]
        assert archive.testzip() is None
        assert archive.read("b.txt") == B.data


def test_sizes_beyond_4_gib_are_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"
    huge = 5 << 30
    part = Part(both={"size": SATURATED, "extra": zip64(huge)})
    path.write_bytes(make(part))

    with ArchiveReader(path, most_expansion=1 << 40) as archive:
        (entry,) = archive.entries
        out = io.BytesIO()
        writer = ArchiveWriter(out)
        writer.copy(archive, entry)
        writer.close()

    assert entry.size == huge
    with zipfile.ZipFile(out) as other:
        assert other.infolist()[0].file_size == huge
        assert other.infolist()[0].compress_size == 15


# --- Laws ---------------------------------------------------------------------------------------

SMALL = {
    "plain": make(A, Part(name="ä".encode(), both={"flags": UTF8}, method=0)),
    "zip64": make(Part(both=SATURATED_SIZES), end64={}, comment=b"c"),
    "streamed": streamed({"a": b"aaaa", "b/c": b""}),
}


@pytest.mark.parametrize("data", SMALL.values(), ids=SMALL.keys())
def test_every_truncation_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"

    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(BadWheelError):
            ArchiveReader(path)


@pytest.mark.parametrize("data", SMALL.values(), ids=SMALL.keys())
def test_every_flipped_bit_is_refused_or_read_as_zipfile_reads_it(
    data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "demo.whl"
    refused = 0

    for position in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            found = contents(path)
        except BadWheelError:
            refused += 1
        else:
            assert found == other_contents(path), position

    assert refused > 6 * len(data)


NAMES = st.text(st.sampled_from("ab.-_ äß漢"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
MEMBERS = st.lists(
    st.tuples(NAMES, st.binary(max_size=200), st.sampled_from([0, 8]), st.booleans()),
    unique_by=lambda member: member[0],
    max_size=6,
)


@given(MEMBERS)
@settings(max_examples=100, deadline=None)
def test_whatever_zipfile_writes_is_read_and_copied(
    tmp_path_factory: pytest.TempPathFactory, members: Sequence[tuple[str, bytes, int, bool]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    source, target = folder / "any.whl", folder / "copy.whl"
    with zipfile.ZipFile(source, "w") as archive:
        for name, data, method, large in members:
            info = zipfile.ZipInfo(f"d/{name}")
            info.compress_type = method
            with archive.open(info, "w", force_zip64=large) as file:
                file.write(data)

    copied(source, target)

    assert [*contents(source).items()] == [*other_contents(source).items()]
    assert described(target) == described(source)
    assert upload_problems(target) == []


@given(st.sampled_from([*GOOD.values()]), st.lists(st.tuples(st.integers(0), st.integers(0, 255))))
@settings(max_examples=300, deadline=None)
def test_several_changed_bytes_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, changes: Sequence[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.whl"
    changed = bytearray(data)
    for position, value in changes:
        changed[-1 - position % min(len(data), 500)] = value
    path.write_bytes(changed)

    try:
        found = contents(path)
    except BadWheelError:
        found = None

    assert found is None or found == other_contents(path)


# --- The checker of the index's rules -----------------------------------------------------------

REJECTED = {
    "data descriptor": streamed({"a": b"a"}),
    "duplicate name": make(A, A),
    "names of headers and directory differ": make(Part(local={"name": b"b.txt"})),
    "sizes of header and directory differ": make(Part(central={"size": 5})),
    "comment of a member": make(Part(central={"comment": b"c"})),
    "unknown record": make(A, prefix=b"#!"),
    "wrong count of the directory": make(A, end={"here": 2, "count": 2}),
    "wrong size of the directory": make(A, end={"size": 50}),
    "wrong offset of the directory": make(A, end={"start": 49}),
    "split": make(A, end={"here": 0}),
    "zip64 extensible data": make(A, end64={"length": 45}),
    "no zip64 locator": make(A, end64={}).replace(b"PK\6\7", b"PK\6\5"),
    "zip64 locator points elsewhere": make(A, locator={"at": 5}),
    "length of the zip64 field": make(Part(local={"extra": extra(1, b"1234")})),
    "short zip64 field of a compressed member": make(Part(local={"extra": zip64(13)})),
    "broken extra field": make(Part(both={"extra": b"123"})),
    "duplicate extra field": make(Part(local={"extra": unicode_path(b"a") * 2})),
    "control character in a name": make(Part(name=b"a\x1f")),
    "name is not UTF-8": make(Part(local={"extra": unicode_path(b"\xff")})),
    "trailing data": make(A, suffix=b"x"),
    "compression method": make(Part(both={"method": 12})),
    "bomb": make(Part(both={"size": BOMB})),
}


@pytest.mark.parametrize(("problem", "data"), REJECTED.items(), ids=REJECTED.keys())
def test_the_checker_finds_what_breaks_a_rule(problem: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "demo.whl"
    path.write_bytes(data)

    assert problem in upload_problems(path)


@pytest.mark.parametrize("changes", [{"here": 3}, {"length": 60}, {"size": 1}, {"start": 1}])
def test_the_checker_looks_into_the_zip64_end_record(
    changes: Mapping[str, int], tmp_path: Path
) -> None:
    path = tmp_path / "demo.whl"
    path.write_bytes(make(A, end64=changes))

    assert upload_problems(path) != []


def test_the_checker_refuses_a_gap_and_a_large_file(tmp_path: Path) -> None:
    gap, large = tmp_path / "gap.whl", tmp_path / "large.whl"
    gap.write_bytes(make(Part(after=b"\0"), B))
    with large.open("wb") as file:
        file.truncate((100 << 20) + 1)

    assert "unknown record" in upload_problems(gap)
    assert upload_problems(large) == ["larger than 100 MiB"]
