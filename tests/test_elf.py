"""What is read from ELF files: by hand for the fixtures, against pyelftools for all."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from elf_files import FILES, LONG, SUMS, WITHOUT_TABLE, agree, second_names
from elftools.elf.elffile import ELFFile

from extlib_repair.binary import elf
from extlib_repair.binary.elf_file import Dt, ElfFile, Pt, Sht
from extlib_repair.errors import BadBinaryError
from extlib_repair.model import Image, Import, Kind, RunPath, RunPathKind


def image(name: str) -> Image:
    return image_of(FILES[name])


def image_of(data: bytes) -> Image:
    (found,) = elf.read(data).images
    return found


@pytest.mark.parametrize("name", SUMS)
def test_fixtures_are_those_that_were_checked_in(name: str) -> None:
    assert hashlib.sha256(FILES[name]).hexdigest() == SUMS[name]


WITH_SECTIONS = sorted(n for n in FILES if "no_sections" not in n and n not in WITHOUT_TABLE)


@pytest.mark.parametrize("name", WITH_SECTIONS)
def test_fixtures_read_as_with_pyelftools(name: str) -> None:
    agree(image(name), FILES[name])


def system_libraries() -> list[Path]:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return []
    importlib.import_module("ssl")
    mapped = {line.split(maxsplit=5)[-1] for line in maps.read_text("utf-8").splitlines()}
    libraries = {path for path in mapped if ".so" in path and Path(path).is_file()}
    folder = Path(sysconfig.get_path("platstdlib"), "lib-dynload")
    libraries.update(str(path) for path in sorted(folder.glob("*.so"))[:20])
    return [Path(path) for path in sorted(libraries)]


def test_libraries_of_this_system_read_as_with_pyelftools() -> None:
    paths = system_libraries()
    if not paths:
        pytest.skip("this system does not use ELF files")

    for path in paths:
        agree(image_of(path.read_bytes()), path.read_bytes())


def test_our_own_interpreter_is_an_executable() -> None:
    data = Path(sys.executable).resolve().read_bytes()
    if data[:4] != b"\x7fELF":
        pytest.skip("this system does not use ELF files")

    assert image_of(data).kind is Kind.EXECUTABLE


PROV_ADD = Import("prov_add")
USES_VERSIONS = {
    Import("ver", "VER_1", "libver.so.1"),
    Import("ver", "VER_2", "libver.so.1"),
    Import("ver_plain", "VER_1", "libver.so.1"),
    Import("other", "OTHER_1", "libother.so"),
    PROV_ADD,
}


@pytest.mark.parametrize(
    "name",
    sorted(
        n
        for n in FILES
        if n.startswith(("plain", "crowded", "gold", "lld", "mold", "short", "long"))
    ),
)
def test_whatever_the_linker_a_consumer_needs_and_imports_from_its_provider(name: str) -> None:
    if name in WITHOUT_TABLE:
        return
    found = image(name)

    assert found.kind is Kind.SHARED_LIBRARY
    assert found.arch == "x86_64"
    assert found.needed == ("libprov.so",)
    assert found.imports == {PROV_ADD}
    assert "cons_answer" in found.exports


@pytest.mark.parametrize(
    ("name", "run_path"),
    [
        ("plain.so", None),
        ("short.so", RunPath(entries=("$ORIGIN",), kind=RunPathKind.RUNPATH)),
        ("long_rpath.so", RunPath(entries=(LONG,), kind=RunPathKind.RPATH)),
        ("long_runpath.so", RunPath(entries=(LONG,), kind=RunPathKind.RUNPATH)),
        ("both.so", RunPath(entries=(LONG,), kind=RunPathKind.RUNPATH)),
    ],
)
def test_run_path_is_the_one_that_the_loader_uses(name: str, run_path: RunPath | None) -> None:
    assert image(name).run_path == run_path


def test_an_rpath_beside_a_runpath_is_ignored_by_the_loader() -> None:
    assert image("both.so").ignored_run_path == ("/old/rpath", "$ORIGIN")
    assert image("long_rpath.so").ignored_run_path == ()


def test_an_empty_run_path_has_no_entries() -> None:
    file = ElfFile(FILES["short.so"])
    data = with_value(FILES["short.so"], Dt.RUNPATH, 0)

    assert file.string(0) == ""
    assert image_of(data).run_path == RunPath(entries=(), kind=RunPathKind.RUNPATH)


def test_of_two_entries_with_one_tag_the_last_counts_as_in_glibc() -> None:
    file = ElfFile(FILES["both.so"])
    value = file.value(Dt.RPATH)
    data = with_value(FILES["both.so"], Dt.RPATH, value or 0, tag=Dt.RUNPATH)

    tags = [e.tag for e in ElfFile(data).dynamic if e.tag == Dt.RUNPATH]
    assert len(tags) == 2
    assert (
        ElfFile(data).value(Dt.RUNPATH)
        == [e.value for e in file.dynamic if e.tag in {Dt.RPATH, Dt.RUNPATH}][-1]
    )


def test_own_name_is_the_soname() -> None:
    assert image("plain.so").name == "plain.so"
    assert image("libver.so.1").name == "libver.so.1"
    assert image("lld.so").name == ""


@pytest.mark.parametrize(
    "arch", ["aarch64", "armv7l", "i686", "ppc64", "ppc64le", "riscv64", "s390x"]
)
def test_other_architectures_word_sizes_and_byte_orders_are_read_alike(arch: str) -> None:
    versions, sysv = image(f"versions.{arch}.so"), image(f"sysv_no_sections.{arch}.so")

    assert (versions.arch, sysv.arch) == (arch, arch)
    assert versions.needed == ("libver.so.1", "libother.so", "libprov.so")
    assert versions.search == (LONG,)
    assert versions.imports == USES_VERSIONS
    assert versions.exports == {"uses_all"}
    assert sysv.needed == ("libprov.so",)
    assert sysv.imports == {PROV_ADD}
    assert sysv.exports == {"cons_answer"}


def test_an_unknown_architecture_is_named_by_its_number() -> None:
    data = bytearray(FILES["plain.so"])
    struct.pack_into("<H", data, 18, 0xF00)

    assert image_of(bytes(data)).arch == "machine-3840"


def test_required_versions_name_their_library() -> None:
    assert image("versions.so").imports == USES_VERSIONS


def test_defined_versions_spell_the_exports() -> None:
    found = image("libver.so.1")

    assert found.versions == ("libver.so.1", "VER_1", "VER_2")
    assert found.exports == {
        "VER_1",
        "VER_1@VER_1",
        "VER_2",
        "VER_2@VER_2",
        "ver",
        "ver@VER_1",
        "ver@VER_2",
        "ver_plain",
        "ver_plain@VER_1",
    }


def test_an_old_version_is_exported_only_to_those_who_ask_for_it() -> None:
    file = ElfFile(FILES["libver.so.1"])
    marks = file.offset(Dt.VERSYM)
    assert marks is not None
    data = bytearray(file.data)
    hidden_too = [0x8000 | m if m > 1 else m for m in struct.unpack_from("<6H", data, marks)]
    struct.pack_into("<6H", data, marks, *hidden_too)

    assert image_of(bytes(data)).exports == {
        "VER_1@VER_1",
        "VER_2@VER_2",
        "ver@VER_1",
        "ver@VER_2",
        "ver_plain@VER_1",
    }


def test_weak_unique_protected_and_absolute_symbols_are_exports_hidden_ones_are_not() -> None:
    found = image("symbols.so")

    assert found.exports == {
        "sym_absolute",
        "sym_calls",
        "sym_data",
        "sym_global",
        "sym_protected",
        "sym_tls",
        "sym_tls_zeroed",
        "sym_unique",
        "sym_weak",
        "sym_zeroed",
    }
    assert found.imports == {
        Import("__tls_get_addr"),
        Import("sym_missing"),
        Import("sym_missing_data"),
        Import("sym_missing_weak", weak=True),
    }


def test_a_symbol_that_the_dynamic_table_calls_hidden_is_no_export() -> None:
    data = bytearray(FILES["libprov.so"])
    symbols = ElfFile(bytes(data)).offset(Dt.SYMTAB)
    assert symbols is not None
    data[symbols + 24 + 5] = 2  # st_other of the first symbol: STV_HIDDEN

    assert len(image_of(bytes(data)).exports) == 1


def test_imports_of_a_library_that_exports_nothing_are_found_without_sections() -> None:
    """GNU ld writes a DT_GNU_HASH that knows none of them."""
    names, _ = second_names(FILES["no_exports_no_sections.so"])

    assert names != {"prov_add", "prov_twice"}, "pyelftools has learnt it: compare with it"
    assert image("no_exports_no_sections.so") == image("no_exports.so")
    assert image("no_exports.so").imports == {PROV_ADD, Import("prov_twice")}


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("long_no_sections.so", "long_runpath.so"),
        ("short_no_sections.so", "short.so"),
        ("crowded_no_sections.so", "crowded.so"),
    ],
)
def test_facts_do_not_depend_on_sections(name: str, twin: str) -> None:
    assert image(name) == image(twin)


@pytest.mark.parametrize(
    "name",
    sorted(
        # pyelftools 0.33 reads words of 32 bits in the hash table of s390x, which has 64.
        n
        for n in FILES
        if ("sysv" in n or "no_sections" in n) and "s390x" not in n
    ),
)
def test_symbols_without_sections_are_those_that_pyelftools_finds_by_the_hash_table(
    name: str,
) -> None:
    imports, exports = second_names(FILES[name])
    found = image(name)

    assert found.exports == exports
    assert {i.name for i in found.imports} >= imports


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("plain.so", Kind.SHARED_LIBRARY),
        ("extension.so", Kind.EXTENSION_MODULE),
        ("program", Kind.EXECUTABLE),
        ("program_pie", Kind.EXECUTABLE),
        ("static_program", Kind.EXECUTABLE),
        ("object.o", Kind.OTHER),
        ("short.debug", Kind.OTHER),
        ("program_pie.debug", Kind.OTHER),
    ],
)
def test_kind(name: str, kind: Kind) -> None:
    assert image(name).kind is kind


def test_a_program_is_known_by_its_interpreter_where_the_linker_sets_no_flag() -> None:
    assert ElfFile(FILES["program_pie"]).value(Dt.FLAGS_1) is not None
    data = with_value(FILES["program_pie"], Dt.FLAGS_1, 0)

    assert image_of(data).kind is Kind.EXECUTABLE


def test_a_debugging_file_with_the_old_program_headers_is_never_loaded() -> None:
    """As objcopy of old, and Intel, write them."""
    file = ElfFile(FILES["short.so"])
    data = bytearray(file.data)
    assert file.dynamic_segment is not None
    (section,) = (s for s in file.sections if s.addr == file.dynamic_segment.vaddr)
    struct.pack_into("<I", data, section.at + 4, Sht.NOBITS)

    found = image_of(bytes(data))
    assert found.kind is Kind.OTHER
    assert found.needed == ()


def with_value(data: bytes, old: Dt, value: int, *, tag: Dt | None = None) -> bytes:
    """Change an entry of a 64-bit little-endian dynamic table."""
    file = ElfFile(data)
    (index,) = (i for i, e in enumerate(file.dynamic) if e.tag == old)
    out = bytearray(data)
    at = file.dynamic_offset + 16 * index
    struct.pack_into("<qQ", out, at, old if tag is None else tag, value)
    return bytes(out)


def changed(data: bytes, layout: str, at: int, *values: int) -> bytes:
    out = bytearray(data)
    struct.pack_into(layout, out, at, *values)
    return bytes(out)


PLAIN = FILES["plain.so"]
PT_GNU_STACK = 0x6474E551


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"MZ" + PLAIN, "not an ELF file"),
        (PLAIN[:10], "ends in its first 16 bytes"),
        (changed(PLAIN, "B", 4, 3), "unknown ELF class 3"),
        (changed(PLAIN, "B", 5, 0), "byte order 0"),
        (PLAIN[:40], "ends before offset 16"),
        (changed(PLAIN, "<H", 54, 55), "program headers of 55 bytes"),
        (changed(PLAIN, "<Q", 32, 2**64 - 1), "ends before offset"),
        (with_value(PLAIN, Dt.STRTAB, 1 << 40), "is not loaded"),
        (with_value(PLAIN, Dt.STRSZ, 1 << 40), "outside the ELF file"),
        (with_value(PLAIN, Dt.NEEDED, 1 << 20), "outside the dynamic string table"),
        (with_value(PLAIN, Dt.STRTAB, 0, tag=Dt.USED), "outside the dynamic string table"),
    ],
)
def test_nonsense_is_refused_with_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(BadBinaryError, match=message):
        elf.read(data)


def test_a_version_table_with_more_records_than_numbers_is_refused() -> None:
    file = ElfFile(FILES["versions.so"])
    at = file.offset(Dt.VERNEED)
    assert at is not None
    step = struct.pack("<HHIII", 1, 1, 0, 16, 16)
    padding = b"".join([step] * (1 << 19))
    data = changed(file.data, "<I", at + 12, len(file.data) - at) + padding

    with pytest.raises(BadBinaryError, match="endless version table"):
        elf.read(data)


def test_names_that_overlap_beyond_measure_are_refused() -> None:
    """100 000 symbols whose names are all the same megabyte."""
    file = ElfFile(FILES["sysv.so"])
    base, strings, symbols, table = 1 << 32, 4096, 1 << 21, file.offset(Dt.HASH)
    assert table is not None
    data = with_value(file.data, Dt.STRTAB, base + strings)
    data = with_value(data, Dt.STRSZ, 1_000_002)
    data = with_value(data, Dt.SYMTAB, base + symbols)
    data = changed(data, "<II", table, 1, 100_000)
    data = data.ljust(strings, b"\0") + b"\0" + b"x" * 1_000_000
    data = data.ljust(symbols, b"\0") + struct.pack("<IBBHQQ", 1, 0x10, 0, 0, 0, 0) * 100_000
    (stack,) = (s for s in file.segments if s.type == PT_GNU_STACK)
    data = changed(data, "<IIQQQQQ", stack.at, Pt.LOAD, 4, 0, base, base, len(data), len(data))

    with pytest.raises(BadBinaryError, match="overlap beyond all measure"):
        elf.read(data)


def test_reading_needs_no_program() -> None:
    """The reader is ours: it runs in an interpreter that finds nothing."""
    code = "import sys; from extlib_repair.binary import elf; elf.read(sys.stdin.buffer.read())"
    env = {"PATH": "", "PYTHONPATH": str(Path(elf.__file__).parents[2])}

    subprocess.run([sys.executable, "-c", code], input=PLAIN, env=env, check=True)


def second_build_id(data: bytes) -> str:
    """Return what pyelftools finds in the segments."""
    elf: Any = ELFFile(io.BytesIO(data))
    notes = [n for s in elf.iter_segments() if s["p_type"] == "PT_NOTE" for n in s.iter_notes()]
    return next((n["n_desc"] for n in notes if n["n_type"] == "NT_GNU_BUILD_ID"), "")


@pytest.mark.parametrize("name", sorted(set(FILES) - {"object.o"}))
def test_the_build_id_is_the_one_that_pyelftools_finds(name: str) -> None:
    assert elf.build_id(ElfFile(FILES[name])) == second_build_id(FILES[name])


def test_the_build_ids_of_this_system_are_those_that_pyelftools_finds() -> None:
    found = {path: path.read_bytes() for path in system_libraries()[:20]}
    ids = {path: elf.build_id(ElfFile(data)) for path, data in found.items()}

    assert any(ids.values())
    assert ids == {path: second_build_id(data) for path, data in found.items()}


def test_notes_that_make_no_sense_hold_no_build_id() -> None:
    libraries = (path.read_bytes() for path in system_libraries())
    data = next(one for one in libraries if second_build_id(one))
    note = next(s for s in ElfFile(data).segments if s.type == Pt.NOTE)
    beyond = ElfFile(data[: note.offset + 4] + b"\xff" * 8 + data[note.offset + 12 :])
    cut = ElfFile(data)
    cut.segments = tuple(dataclasses.replace(s, filesz=len(data)) for s in cut.segments)

    assert (elf.build_id(beyond), elf.build_id(cut)) == ("", "")
