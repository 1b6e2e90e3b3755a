"""Odd files, after the names of patchelf's own tests: edited, loaded, stripped, loaded again."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from elf_sites import ANSWER, TO_PROVIDER, VERY_LONG, Site, Target, found, lawful, run_path
from workbench import checked

from extlib_repair.binary import edit, read
from extlib_repair.binary.elf_file import Dt, ElfFile, Pt, Sht
from extlib_repair.errors import CannotEditError
from extlib_repair.model import AddNeeded, BinaryEdit, RunPathKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NATIVE = Target("x86_64", "gcc", packages="gcc libc6-dev binutils lld")
NOTE = """\
.section .note.{name},"a",%note
.balign 4
.long 4, {size}, 7
.asciz "odd"
{body}
.section .note.GNU-stack,"",%progbits
"""
EDITS: dict[str, tuple[BinaryEdit, ...]] = {
    "short": (run_path(TO_PROVIDER, kind=RunPathKind.RUNPATH),),
    "very long": (VERY_LONG,),
    "with a library": (AddNeeded(library="libm.so.6"), run_path(TO_PROVIDER)),
}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(NATIVE, tmp_path_factory.mktemp("oddities"))
    for name, size, body in (("one", 4, ".long 1"), ("two", 4, ".long 2"), ("none", 0, "")):
        text = NOTE.format(name=name, size=size, body=body)
        (site.folder / f"{name}.s").write_text(text, encoding="utf-8")
        site.compile("-c", f"{name}.s", "-o", f"{name}.o")
    many = "".join(f"int {'odd' * 30}_{i}(void) {{ return {i}; }}\n" for i in range(4000))
    (site.folder / "many.c").write_text(many, encoding="utf-8")
    site.compile("-c", "-fPIC", "-O0", "many.c", "-o", "many.o")
    site.compile("-c", "-fPIC", "-g", "-gz", "cons.c", "-o", "debug.o")
    return site


def linked(*options: str) -> Callable[[Site], bytes]:
    return lambda site: site.linked(options, site.libprov)


def copied(*options: str, start: tuple[str, ...] = ()) -> Callable[[Site], bytes]:
    """Link, and treat with objcopy."""

    def make(site: Site) -> bytes:
        path = site.folder / "odd.so"
        path.write_bytes(site.linked(start, site.libprov))
        (site.folder / "text").write_bytes(b"any bytes\0")
        command = [o.replace("FILE", str(site.folder / "text")) for o in options]
        checked(["objcopy", *command, path])
        return path.read_bytes()

    return make


def doubled(name: str) -> Callable[[Site], bytes]:
    """Link, and add a section with a name that is there already."""
    odd = ".odd" + name[4:]

    def make(site: Site) -> bytes:
        data = copied("--add-section", f"{odd}=FILE")(site)
        assert data.count(odd.encode() + b"\0") == 1
        return data.replace(odd.encode() + b"\0", name.encode() + b"\0")

    return make


def sections_backwards(site: Site) -> bytes:
    """Turn the section headers around, and the numbers that point at them."""
    data = bytearray(site.linked((), site.libprov))
    file = ElfFile(bytes(data))
    count = len(file.sections)
    rows = [list(struct.unpack_from("<IIQQQQIIQQ", data, s.at)) for s in file.sections]
    turned = {0: 0, **{i: count - i for i in range(1, count)}}
    for row in rows:
        row[6] = turned[row[6]]
        # sh_info is the number of a section with SHF_INFO_LINK only.
        row[7] = turned[row[7]] if row[2] & 0x40 else row[7]
    for index, row in enumerate(rows):
        struct.pack_into("<IIQQQQIIQQ", data, file.shoff + 64 * turned[index], *row)
    (names,) = struct.unpack_from("<H", data, 62)
    struct.pack_into("<H", data, 62, turned[names])
    for section in file.sections:
        if section.type in {2, Sht.DYNSYM}:
            for at in range(section.offset, section.offset + section.size, 24):
                (number,) = struct.unpack_from("<H", data, at + 6)
                struct.pack_into("<H", data, at + 6, turned.get(number, number))
    return bytes(data)


def with_bytes_behind(site: Site) -> bytes:
    return site.linked((), site.libprov) + bytes(range(256)) * 20


CONSUMERS: dict[str, Callable[[Site], bytes]] = {
    "big dynstr": linked("many.o"),
    "big dynstr, old hash table": linked("many.o", "-Wl,--hash-style=sysv", "-Wl,-s"),
    "big dynstr, lld": linked("many.o", "-fuse-ld=lld"),
    "no gnu hash": linked("-Wl,--hash-style=sysv"),
    "no rpath, no spare room": linked("-Wl,-z,noseparate-code", "-Wl,-z,norelro", "-Wl,-s"),
    "contiguous notes": linked("one.o", "two.o", "-Wl,--build-id=sha1"),
    "contiguous notes, lld": linked("-fuse-ld=lld", "one.o", "two.o", "-Wl,--build-id=sha1"),
    "an empty note": linked("none.o", "one.o"),
    "no notes at all": linked("-Wl,--build-id=none", "-Wl,-z,noseparate-code"),
    "headers tight, lld": linked("-fuse-ld=lld", "-Wl,--build-id=none", "-Wl,-z,norelro"),
    "dynamic table that cannot be written": linked("-fuse-ld=lld", "-Wl,-z,rodynamic"),
    "one page for all, lld": linked("-fuse-ld=lld", "-Wl,-z,noseparate-code"),
    "loadable segments apart, lld": linked("-fuse-ld=lld", "-Wl,-z,separate-loadable-segments"),
    "large pages": linked("-Wl,-z,max-page-size=0x200000"),
    "an address of its own, as prelink gives": linked("-Wl,-Ttext-segment=0x41000000"),
    "an odd start": linked("-Wl,-Ttext-segment=0x7000", "-Wl,-z,noseparate-code"),
    "no eh_frame header": linked("-Wl,--no-eh-frame-hdr"),
    "stack that can be executed": linked("-Wl,-z,execstack"),
    "symbolic": linked("-Wl,-Bsymbolic", "-Wl,-z,now", "-Wl,-z,nodelete"),
    "two run paths in one": linked("-Wl,-rpath,/a:/b", "-Wl,-rpath,/c"),
    "debugging information, compressed": linked("debug.o", "-Wl,--allow-multiple-definition"),
    "a section added": copied("--add-section", ".odd=FILE"),
    "a second dynstr": doubled(".dynstr"),
    "a second dynamic": doubled(".dynamic"),
    "dynstr renamed": copied("--rename-section", ".dynstr=.odd"),
    "hash renamed": copied("--rename-section", ".gnu.hash=.odd"),
    "symbols gone, debug link": copied("--strip-debug", "--add-gnu-debuglink=FILE"),
    "written again by objcopy": copied(),
    "written again by objcopy, from lld": copied(start=("-fuse-ld=lld",)),
    "sections backwards": sections_backwards,
    "bytes behind the end": with_bytes_behind,
}


UNREAD = {"dynstr renamed"}
"""objcopy forgets which section the symbols' names are in, and pyelftools wants to know."""

REFUSED = {("a second dynstr", "very long"), ("dynstr renamed", "very long")}
"""patchelf finds the strings by the name of their section."""


@pytest.mark.parametrize("name", CONSUMERS)
def test_odd_consumers_find_the_provider(site: Site, name: str) -> None:
    odd = CONSUMERS[name](site)
    for which, edits in EDITS.items():
        if (name, which) in REFUSED:
            with pytest.raises(CannotEditError, match="patchelf cannot make room"):
                edit(odd, edits)
            continue
        data = edit(odd, edits)

        if name not in UNREAD:
            lawful(odd, data, edits)
        assert site.answers({name: data}) == found([name])
        assert site.answers({name: data}, strip=True) == found([name])


def test_bytes_behind_the_end_of_the_file_survive(site: Site) -> None:
    odd = with_bytes_behind(site)
    for edits in EDITS.values():
        assert bytes(range(256)) * 20 in edit(odd, edits)


@pytest.mark.parametrize("options", [(), ("-fuse-ld=lld",)], ids=["ld", "lld"])
def test_a_file_grows_again_and_again(site: Site, options: tuple[str, ...]) -> None:
    data = site.linked(options, site.libprov)
    sizes = {"libm.so.6": 10, "libdl.so.2": 5_000, "librt.so.1": 20, "libutil.so.1": 80_000}
    for library, size in sizes.items():
        wanted = run_path(f"$ORIGIN/{size * 'x'}", TO_PROVIDER)
        data = edit(data, [AddNeeded(library=library), wanted])
    (image,) = read(data).images

    assert image.needed[:5] == (*reversed(sizes), "libprov.so")
    assert site.answers({"often": data}) == found(["often"])
    data = edit(data, [run_path(TO_PROVIDER)])
    # What patchelf leaves of lld's file, here four segments of which three are no longer used,
    # strip 2.40 packs so that no loader takes it: also when only patchelf was at work.
    assert site.answers({"often": data}, strip=not options) == found(["often"])


def without_gnu_hash(path: Path) -> None:
    checked(["strip", "--remove-section=.gnu.hash", path])


def no_buckets(path: Path) -> None:
    """Let the hash table have none: whoever looks up a name finds nothing."""
    data = bytearray(path.read_bytes())
    at = ElfFile(bytes(data)).offset(Dt.HASH)
    assert at is not None
    struct.pack_into("<I", data, at, 0)
    path.write_bytes(data)


def as_linked(path: Path) -> None:
    assert any(s.type == Pt.INTERP for s in ElfFile(path.read_bytes()).segments)


PROGRAMS: dict[str, tuple[tuple[str, ...], Callable[[Path], None]]] = {
    "no gnu hash": ((), without_gnu_hash),
    "no gnu hash, not PIE": (("-no-pie",), without_gnu_hash),
    "hash without buckets": (("-Wl,--hash-style=sysv",), no_buckets),
    "hash without buckets, not PIE": (("-no-pie", "-Wl,--hash-style=sysv"), no_buckets),
    "headers in the segment of the code": (
        ("-no-pie", "-Wl,-z,noseparate-code", "-Wl,-z,norelro"),
        as_linked,
    ),
    "tight program headers": (("-pie", "-fuse-ld=lld", "-Wl,--build-id=none"), as_linked),
    "tight program headers, not PIE": (("-no-pie", "-fuse-ld=lld"), as_linked),
    "low address": (("-no-pie", "-Wl,-Ttext-segment=0x40000"), as_linked),
    "high address": (("-no-pie", "-Wl,-Ttext-segment=0x41000000"), as_linked),
    "large pages": (("-no-pie", "-Wl,-z,max-page-size=0x200000"), as_linked),
    "contiguous notes": (("one.o", "two.o", "-Wl,--build-id=sha1"), as_linked),
    "empty note": (("none.o", "-no-pie"), as_linked),
    "bound at once": (("-Wl,-z,now", "-Wl,-z,relro"), as_linked),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_odd_programs_run(site: Site, name: str) -> None:
    options, treat = PROGRAMS[name]
    consumer = site.folder / "libcons.so"
    consumer.write_bytes(site.linked(["-Wl,-soname,libcons.so"], site.libprov))
    path = site.folder / "program"
    site.compile("program.c", *options, consumer, site.libprov, "-o", path)
    treat(path)
    odd = path.read_bytes()
    for extra in ((), VERY_LONG.run_path.entries if VERY_LONG.run_path else ()):
        edits: list[BinaryEdit] = [
            AddNeeded(library="libm.so.6"),
            run_path(*extra, "$ORIGIN", "$ORIGIN/prov/lib"),
        ]
        # DT_RPATH, which the libraries of a program inherit.
        path.write_bytes(edit(odd, edits))

        assert site.run("program") == f"{ANSWER}\n"
        site.strip([path])
        assert site.run("program") == f"{ANSWER}\n"


def test_a_program_with_no_addresses_below_it_cannot_grow(site: Site) -> None:
    site.compile("user.c", "-no-pie", "-Wl,-Ttext-segment=0x10000", "-o", "low")

    with pytest.raises(CannotEditError, match="virtual address space underrun"):
        edit((site.folder / "low").read_bytes(), [VERY_LONG])
