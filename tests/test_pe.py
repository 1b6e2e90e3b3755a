"""What is read from PE files: by hand for the fixtures, against pefile for all."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest
from pe_files import (
    BOUND,
    CERTIFICATE,
    DELAY,
    EXPORT,
    FILES,
    IMPORT,
    LOAD_CONFIG,
    PRIVATE,
    PROVIDER,
    PYTHON,
    START,
    SUMS,
    Content,
    assembled,
    directory,
    directory_at,
    header_at,
    optional_at,
    patched,
    second_reading,
    section_rows,
)
from workbench import download

from extlib_repair import binary
from extlib_repair.binary import pe, second_reader
from extlib_repair.binary.pe_file import PeFile, checksum
from extlib_repair.errors import BadBinaryError
from extlib_repair.model import Format, Image, Import, Kind, Signature

if TYPE_CHECKING:
    from pathlib import Path


def image(name: str) -> Image:
    return image_of(FILES[name])


def image_of(data: bytes) -> Image:
    (found,) = pe.read(data).images
    return found


@pytest.mark.parametrize("name", SUMS)
def test_fixtures_are_those_that_were_checked_in(name: str) -> None:
    assert hashlib.sha256(FILES[name]).hexdigest() == SUMS[name]


def agree(data: bytes) -> None:
    """Compare with pefile."""
    found, second = image_of(data), second_reading(data)
    assert (found.name, found.needed, found.delayed) == (
        second.name,
        second.needed,
        second.delayed,
    )
    assert {(i.name, i.library) for i in found.imports} == second.imports
    assert found.exports == second.exports
    assert (found.signature is Signature.IDENTITY) == second.is_signed


@pytest.mark.parametrize("name", FILES)
def test_fixtures_read_as_with_pefile(name: str) -> None:
    agree(FILES[name])


# --- The fixtures, by hand ----------------------------------------------------------------------

IMPORTS = {
    Import("scipy_cblas_ddot64_", library=PROVIDER),
    Import("scipy_openblas_data64_", library=PROVIDER),
    Import("#7", library=PROVIDER),
    Import("priv_answer", library=PRIVATE),
    Import("PyModule_Create2", library=PYTHON),
}


@pytest.mark.parametrize(
    ("name", "arch"),
    [
        ("extension.pyd", "amd64"),
        ("delayed.pyd", "amd64"),
        ("extension_x86.pyd", "x86"),
        ("delayed_x86.pyd", "x86"),
        ("arm64.pyd", "arm64"),
    ],
)
def test_an_extension_imports_each_symbol_from_its_library(name: str, arch: str) -> None:
    found = image(name)

    assert (found.format, found.kind, found.arch) == (Format.PE, Kind.EXTENSION_MODULE, arch)
    assert found.name == name.replace("_x86", "")
    assert set(found.needed) == {PROVIDER, PRIVATE, PYTHON}
    assert found.imports == IMPORTS
    assert found.exports == {"PyInit__core", "#1"}
    assert (found.signature, found.run_path) == (Signature.NONE, None)


def test_needed_names_stand_in_the_order_of_the_file_delayed_ones_last() -> None:
    assert image("extension.pyd").needed == (PRIVATE, PROVIDER, PYTHON)
    assert image("delayed.pyd").needed == (PROVIDER, PYTHON, PRIVATE)
    assert image("extension.pyd").delayed == set()
    assert image("delayed.pyd").delayed == {PRIVATE}
    assert image("delayed_x86.pyd").delayed == {PRIVATE}
    assert image("arm64.pyd").delayed == {PRIVATE}


@pytest.mark.parametrize("name", ["libprov.dll", "libprov_x86.dll", "libprov_arm64.dll"])
def test_a_provider_exports_functions_data_forwarders_and_ordinals(name: str) -> None:
    found = image(name)

    assert found.kind is Kind.SHARED_LIBRARY
    assert found.name == PROVIDER
    names = {export for export in found.exports if not export.startswith("#")}
    assert names == {
        "scipy_cblas_ddot64_",
        "scipy_openblas_data64_",
        "scipy_openblas_forwarded64_",
        "scipy_openblas_get_config64_",
    }
    assert "#7" in found.exports
    assert len(found.exports) == 9


def test_what_an_extension_imports_is_what_the_provider_exports() -> None:
    wanted = {i.name for i in image("extension.pyd").imports if i.library == PROVIDER}

    assert wanted <= image("libprov.dll").exports


def test_load_flags_are_read() -> None:
    assert image("extension.pyd").load_flags == 0
    assert image("flags.pyd").load_flags == 0x800
    assert image("flags_x86.pyd").load_flags == 0x800
    assert image("arm64.pyd").load_flags == 0x1000


@pytest.mark.parametrize("name", ["flags.pyd", "flags_x86.pyd"])
def test_a_load_configuration_that_ends_before_the_flags_has_none(name: str) -> None:
    data = FILES[name]
    file = PeFile(data)
    at, _ = file.place(directory(data, LOAD_CONFIG)[0])
    (size,) = struct.unpack_from("<I", data, at)

    assert image_of(patched(data, at, "I", size - 1)).load_flags == 0
    assert image_of(patched(data, at, "I", size + 200)).load_flags == 0x800


def test_a_certificate_is_a_signature() -> None:
    assert image("signed.pyd").signature is Signature.IDENTITY
    without_size = patched(
        FILES["signed.pyd"], directory_at(FILES["signed.pyd"], CERTIFICATE) + 4, "I", 0
    )
    assert image_of(without_size).signature is Signature.NONE


@pytest.mark.parametrize("name", ["program.exe", "program_x86.exe"])
def test_a_program_is_one(name: str) -> None:
    found = image(name)

    assert (found.kind, found.name, found.exports) == (Kind.EXECUTABLE, "", frozenset())
    assert found.needed == (PROVIDER,)


# --- Kinds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("export", ["PyInit_x", "PyInitU_x", "PyModExport_x"])
def test_extension_modules_are_known_by_what_they_export(export: str) -> None:
    content = Content()
    exports = content.exporting([START], {export: 0})

    assert image_of(assembled(content, directories={EXPORT: exports})).kind is (
        Kind.EXTENSION_MODULE
    )


@pytest.mark.parametrize("subsystem", [1, 9, 10, 11, 12, 13, 14, 16])
def test_what_no_process_loads_is_something_else(subsystem: int) -> None:
    data = assembled(Content(), subsystem=subsystem, directories={IMPORT: 0x7FFF0000})

    assert image_of(data) == Image(format=Format.PE, kind=Kind.OTHER, arch="amd64")


@pytest.mark.parametrize("subsystem", [0, 2, 3, 5, 7])
def test_libraries_for_processes_are_loaded(subsystem: int) -> None:
    data = assembled(Content(), subsystem=subsystem)

    assert image_of(data) == Image(format=Format.PE, kind=Kind.SHARED_LIBRARY, arch="amd64")


@pytest.mark.parametrize(
    ("machine", "arch"),
    [(0x14C, "x86"), (0x8664, "amd64"), (0xAA64, "arm64"), (0x1C4, "machine-0x1c4")],
)
def test_machines_are_called_as_in_platform_tags(machine: int, arch: str) -> None:
    assert image_of(assembled(Content(), machine=machine)).arch == arch


def test_a_file_with_resources_alone_is_read() -> None:
    content = Content()
    resources = content.put(bytes(64))
    data = assembled(content, directories={2: (resources, 64)}, wide=False, machine=0x14C)

    assert image_of(data) == Image(format=Format.PE, kind=Kind.SHARED_LIBRARY, arch="x86")


def test_a_managed_assembly_is_read() -> None:
    content = Content(wide=False)
    runtime = content.put(bytes(72))
    imports = content.importing({"mscoree.dll": ["_CorDllMain"]})
    data = assembled(
        content, wide=False, machine=0x14C, directories={IMPORT: imports, 14: (runtime, 72)}
    )

    assert image_of(data).imports == {Import("_CorDllMain", library="mscoree.dll")}


def test_a_file_without_sections_or_directories_is_read() -> None:
    assert image_of(assembled(directory_count=0)).needed == ()


# --- Tables -------------------------------------------------------------------------------------

both_widths = pytest.mark.parametrize("wide", [False, True])


@both_widths
def test_names_and_ordinals_are_imported(*, wide: bool) -> None:
    content = Content(wide=wide)
    imports = content.importing({"a.dll": ["one", 7, 0xFFFF], "c.dll": ["one"]})
    data = assembled(content, directories={IMPORT: imports}, wide=wide)

    found = image_of(data)

    assert found.needed == ("a.dll", "c.dll")
    assert found.imports == {
        Import("one", library="a.dll"),
        Import("#7", library="a.dll"),
        Import("#65535", library="a.dll"),
        Import("one", library="c.dll"),
    }
    agree(data)


def test_a_library_that_nothing_is_imported_from_is_needed() -> None:
    content = Content()
    imports = content.importing({"a.dll": [], "b.dll": ["one"]})
    data = assembled(content, directories={IMPORT: imports})

    assert image_of(data).needed == ("a.dll", "b.dll")
    assert second_reader.read(data) == tuple(map(second_reader.expected, pe.read(data).images))


@both_widths
def test_names_that_are_no_text_are_kept(*, wide: bool) -> None:
    content = Content(wide=wide)
    imports = content.importing({"l\udcffb.dll": ["one"]})

    found = image_of(assembled(content, directories={IMPORT: imports}, wide=wide))

    assert found.needed == ("l\udcffb.dll",)


def test_without_a_lookup_table_the_address_table_is_read() -> None:
    content = Content()
    thunks, name = content.thunks(["one"]), content.text("a.dll")
    imports = content.imports([(0, name, thunks)])

    found = image_of(assembled(content, directories={IMPORT: imports}))

    assert found.imports == {Import("one", library="a.dll")}


@pytest.mark.parametrize("row", [(START, 0, START), (START, START, 0)])
def test_the_list_of_imports_ends_where_windows_ends_it(row: tuple[int, int, int]) -> None:
    content = Content()
    thunks, name = content.thunks(["one"]), content.text("a.dll")
    imports = content.imports([(thunks, name, thunks), row, (thunks, name, thunks)])

    assert image_of(assembled(content, directories={IMPORT: imports})).needed == ("a.dll",)


def test_a_library_that_is_needed_in_two_ways_is_loaded_at_once() -> None:
    content = Content()
    imports = content.importing({"a.dll": ["one"], "b.dll": ["two"]})
    delayed = content.delaying({"b.dll": ["three"], "c.dll": ["four"]})

    found = image_of(assembled(content, directories={IMPORT: imports, DELAY: delayed}))

    assert found.needed == ("a.dll", "b.dll", "c.dll")
    assert found.delayed == {"c.dll"}
    assert Import("three", library="b.dll") in found.imports


def test_a_library_that_is_listed_twice_is_needed_once() -> None:
    content = Content()
    one, two, name = content.thunks(["one"]), content.thunks(["two"]), content.text("a.dll")
    imports = content.imports([(one, name, one), (two, name, two)])
    data = assembled(content, directories={IMPORT: imports})

    assert image_of(data).needed == ("a.dll",)
    assert {i.name for i in image_of(data).imports} == {"one", "two"}
    agree(data)


def test_old_delay_imports_hold_addresses() -> None:
    content = Content(wide=False)
    delayed = content.delaying({"a.dll": ["one", 7]}, base=0x10000000)
    data = assembled(content, directories={DELAY: delayed}, wide=False, machine=0x14C)

    found = image_of(data)

    assert (found.needed, set(found.delayed)) == (("a.dll",), {"a.dll"})
    assert found.imports == {Import("one", library="a.dll"), Import("#7", library="a.dll")}


def test_exports_without_a_name_without_an_address_and_out_of_order() -> None:
    content = Content()
    functions = [START, 0, START + 8, START + 16]
    exports = content.exporting(functions, {"a": 2, "gone": 1, "b": 0}, base=5, name="own.dll")
    data = assembled(content, directories={EXPORT: exports})

    found = image_of(data)

    assert found.exports == {"a", "b", "#5", "#7", "#8"}
    assert found.name == "own.dll"


def test_a_library_that_exports_nothing_and_has_no_name() -> None:
    content = Content()
    exports = content.exporting([], {}, name="")

    found = image_of(assembled(content, directories={EXPORT: exports}))

    assert (found.exports, found.name) == (frozenset(), "")


def test_more_exports_than_pefile_takes_by_itself() -> None:
    content = Content()
    names = {f"scipy_{number:05}_64_": number for number in range(10_084)}
    exports = content.exporting([START] * len(names), names)
    data = assembled(content, directories={EXPORT: exports})

    assert {name for name in image_of(data).exports if name[0] != "#"} == set(names)
    agree(data)


def test_exported_names_may_stand_in_several_sections() -> None:
    first, second = Content(), Content(start=0x3000)
    here, there = first.text("here"), second.text("there")
    pointers = first.put(struct.pack("<2I", here, there))
    indexes = first.put(struct.pack("<2H", 0, 0))
    addresses = first.put(struct.pack("<I", START))
    numbers = (here, 1, 1, 2, addresses, pointers, indexes)
    exports = first.put(struct.pack("<IIHH7I", 0, 0, 0, 0, *numbers))
    data = assembled(first, second, directories={EXPORT: exports})

    assert image_of(data).exports == {"here", "there", "#1"}


def test_tables_may_stand_in_the_header() -> None:
    content = Content(start=0x300)
    imports = content.importing({"a.dll": ["one"]})
    data = bytearray(assembled(directories={IMPORT: imports}))
    data[0x300 : 0x300 + len(content.data)] = content.data

    # Where the lookup table is in the header, Windows takes the address table: here, the same.
    assert image_of(bytes(data)).imports == {Import("one", library="a.dll")}


def test_sections_begin_at_whole_sectors() -> None:
    content = Content()
    imports = content.importing({"a.dll": ["one"]})
    data = assembled(content, directories={IMPORT: imports})
    (row,) = section_rows(data)
    (offset,) = struct.unpack_from("<I", data, row + 20)

    assert image_of(patched(data, row + 20, "I", offset + 16)) == image_of(data)


def test_sections_of_small_alignment_begin_anywhere() -> None:
    content = Content()
    imports = content.importing({"a.dll": ["one"]})
    data = assembled(
        content, directories={IMPORT: imports}, alignment=16, file_alignment=16, headers_size=0x410
    )

    assert image_of(data).needed == ("a.dll",)


def test_more_of_a_section_than_its_pages_is_not_mapped() -> None:
    """What stands behind the pages of "VirtualSize" is not found at the RVAs that follow."""
    first, second = Content(), Content(start=0x2000)
    first.put(b"x" * 0x1400)
    imports = second.importing({"a.dll": ["one"]})
    data = assembled(first, second, directories={IMPORT: imports}, virtual_size=0x1000)

    assert image_of(data).needed == ("a.dll",)
    agree(data)


# --- What is refused ----------------------------------------------------------------------------

EXTENSION = FILES["extension.pyd"]
OPTIONAL = optional_at(EXTENSION)


def refused(data: bytes) -> str:
    with pytest.raises(BadBinaryError) as caught:
        pe.read(data)
    with pytest.raises(BadBinaryError):
        binary.edit(data, [])
    return str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"MZ",
        b"MZ" + bytes(200),
        EXTENSION[:64],
        EXTENSION[: header_at(EXTENSION) + 3],
        patched(EXTENSION, 0x3C, "I", 0),
        patched(EXTENSION, 0x3C, "I", header_at(EXTENSION) + 1),
        patched(EXTENSION, 0x3C, "I", 1 << 28),
        patched(EXTENSION, 0x3C, "I", len(EXTENSION)),
        EXTENSION.replace(b"PE\0\0", b"NE\0\0"),
    ],
)
def test_a_file_without_a_pe_header_is_refused(data: bytes) -> None:
    assert refused(data) == "not a PE file: it has no PE header"


@pytest.mark.parametrize(
    ("at", "layout", "value", "message"),
    [
        (header_at(EXTENSION) + 6, "H", 0xFFFF, "65535 section headers do not fit"),
        (header_at(EXTENSION) + 20, "H", 100, "optional header of the PE file is too small"),
        (header_at(EXTENSION) + 20, "H", 0xE8, "16 data directories do not fit"),
        (OPTIONAL, "H", 0x107, "an optional header of the kind 0x107"),
        (OPTIONAL + 32, "I", 0, "not aligned to 0"),
        (OPTIONAL + 36, "I", 768, "not aligned to 768"),
        (section_rows(EXTENSION)[0] + 8, "I", 0x5000, "overlap in memory"),
        (section_rows(EXTENSION)[-1] + 8, "I", 0xFFFFFFFF, "overlap in memory"),
        (section_rows(EXTENSION)[0] + 16, "I", 0x100000, "a section is outside"),
        (section_rows(EXTENSION)[0] + 20, "I", 0x100000, "a section is outside"),
        (directory_at(EXTENSION, IMPORT), "I", 0x7FFFFFFF, "0x7fffffff is outside the sections"),
        (directory_at(EXTENSION, IMPORT), "I", 0x2010, "0x2010 is not stored"),
        (directory_at(EXTENSION, IMPORT), "I", 0x41F8, "a table at RVA 0x41f8 runs out"),
        (directory_at(EXTENSION, EXPORT), "I", 0x7FFFFFFF, "0x7fffffff is outside the sections"),
        (directory_at(EXTENSION, DELAY), "I", 0x7FFFFFFF, "0x7fffffff is outside the sections"),
        (directory_at(EXTENSION, LOAD_CONFIG), "I", 0x7FFFFFFF, "is outside the sections"),
        (directory_at(EXTENSION, CERTIFICATE), "Q", 1 << 44 | 16, "certificates are outside"),
    ],
)
def test_headers_that_make_no_sense_are_refused(
    at: int, layout: str, value: int, message: str
) -> None:
    assert message in refused(patched(EXTENSION, at, layout, value))


def test_a_file_that_ends_in_its_header_is_refused() -> None:
    assert "ends before offset" in refused(EXTENSION[: header_at(EXTENSION) + 20])


@pytest.mark.parametrize("share", range(1, 10))
def test_a_file_that_ends_early_is_refused(share: int) -> None:
    refused(EXTENSION[: len(EXTENSION) * share // 10])


@pytest.mark.parametrize(
    ("field", "layout", "value", "message"),
    [
        (20, "I", 1 << 31, "a table of 2147483648 rows does not fit"),
        (24, "I", 1 << 31, "a table of 2147483648 rows does not fit"),
        (24, "I", 2000, "runs out of the PE file"),
        (20, "I", 0, "leads to no function"),
        (12, "I", 0x41FF0, "outside the sections"),
        (28, "I", 0, "runs out of"),
    ],
)
def test_exports_that_make_no_sense_are_refused(
    field: int, layout: str, value: int, message: str
) -> None:
    at, _ = PeFile(EXTENSION).place(directory(EXTENSION, EXPORT)[0])
    data = patched(EXTENSION, at + field, layout, value)
    if message == "runs out of":
        data = patched(data, at + 20, "I", 1000)

    assert message in refused(data)


def unended(text: str) -> tuple[Content, int]:
    """Return a section whose last bytes are a string without an end."""
    content = Content()
    content.put(bytes(0x200 - len(text)))
    return content, content.put(text.encode(), 1)


def test_strings_without_an_end_are_refused() -> None:
    content, name = unended("a.dll")
    second = Content(start=0x2000)
    imports = second.imports([(second.thunks([1]), name, START)])
    data = assembled(content, second, directories={IMPORT: imports})

    assert refused(data) == "the string at RVA 0x11fb has no end in the PE file"


def test_exported_names_without_an_end_are_refused() -> None:
    content, name = unended("export")
    second = Content(start=0x2000)
    exports = second.exporting([START], {"x": 0})
    struct.pack_into("<I", second.data, 8, name)
    data = assembled(content, second, directories={EXPORT: exports})

    assert refused(data) == "the string at RVA 0x11fa has no end in the PE file"


def test_lists_of_imports_without_an_end_are_refused() -> None:
    content = Content()
    name = content.text("a.dll")
    imports = content.imports([(START + 0x1F8, name, START)])
    content.put(bytes(0x1F8 - len(content.data)))
    content.put(struct.pack("<Q", 1 << 63 | 7))

    assert "runs out of the PE file" in refused(assembled(content, directories={IMPORT: imports}))


@pytest.mark.parametrize("field", [4, 16])
def test_addresses_before_the_image_are_refused(field: int) -> None:
    content = Content(wide=False)
    delayed = content.delaying({"a.dll": ["one"]}, base=0x10000000)
    struct.pack_into("<I", content.data, delayed - START + field, 0x0FFFFFFF)

    data = assembled(content, directories={DELAY: delayed}, wide=False, machine=0x14C)

    assert refused(data) == "a delay import of the PE file lies before the image"


def test_tables_that_overlap_without_end_are_refused() -> None:
    """Ten thousand libraries, and each imports all of ten thousand symbols."""
    content = Content()
    thunks = content.thunks(range(1, 10_000))
    name = content.text("a.dll")
    imports = content.imports([(thunks, name, thunks)] * 10_000)

    assert "overlap beyond all measure" in refused(
        assembled(content, directories={IMPORT: imports})
    )


def test_names_that_overlap_without_end_are_refused() -> None:
    content = Content()
    name = content.text("x" * 50_000)
    pointers = content.put(struct.pack("<I", name) * 10_000)
    indexes = content.put(bytes(2 * 10_000))
    addresses = content.put(struct.pack("<I", START))
    numbers = (0, 1, 1, 10_000, addresses, pointers, indexes)
    exports = content.put(struct.pack("<IIHH7I", 0, 0, 0, 0, *numbers))

    assert "overlap beyond all measure" in refused(
        assembled(content, directories={EXPORT: exports})
    )


def test_the_place_of_symbols_is_looked_at_when_it_matters() -> None:
    data = patched(EXTENSION, header_at(EXTENSION) + 12, "II", len(EXTENSION), 1)

    assert image_of(data) == image("extension.pyd")
    with pytest.raises(BadBinaryError, match="ends before offset"):
        _ = PeFile(data).content_end


# --- Recognised by the first bytes --------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [64, binary.MAGIC_SIZE, None])
def test_pe_files_are_known_by_their_first_bytes(name: str, size: int | None) -> None:
    assert binary.sniff(FILES[name][:size]) is Format.PE


def test_reading_goes_to_the_backend_of_the_format() -> None:
    assert binary.read(EXTENSION) == pe.read(EXTENSION)
    assert binary.read(EXTENSION).format is Format.PE


@pytest.mark.parametrize(
    "start",
    [
        b"MZ",
        EXTENSION[:63],
        b"MZ and other letters of a text that is longer than the header of a program for DOS",
        b"MZ" + bytes(200),
        patched(EXTENSION[:64], 0x3C, "I", 2),
        patched(EXTENSION[:64], 0x3C, "I", 130),
        patched(EXTENSION[:64], 0x3C, "I", 1 << 28),
        EXTENSION.replace(b"PE\0\0", b"NE\0\0")[:1024],
    ],
)
def test_programs_for_dos_are_no_binaries(start: bytes) -> None:
    assert binary.sniff(start) is None


def test_the_smallest_header_is_taken() -> None:
    assert binary.sniff(b"MZ\0\0PE\0\0".ljust(0x3C, b"\0") + b"\x04\0\0\0") is Format.PE


# --- Checksums ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", sorted(set(FILES) - {"arm64.pyd", "libprov_arm64.dll", "no_checksum.pyd"})
)
def test_checksums_are_those_that_linkers_write(name: str) -> None:
    file = PeFile(FILES[name])

    assert file.checksum == checksum(file.data, file.checksum_at) != 0


def test_checksums_of_odd_lengths_and_of_nothing() -> None:
    assert checksum(bytes(9), 4) == 9
    assert checksum(b"\1\0\2\0\x77\x77\x77\x77\3", 4) == 6 + 9
    assert checksum(b"\xff\xff\1\0\x77\x77\x77\x77", 4) == 1 + 8
    assert checksum(b"\xff\xff\0\0\x77\x77\x77\x77", 4) == 0xFFFF + 8


# --- Real providers -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("project", "platform", "library", "arch", "exports"),
    [
        ("scipy-openblas64", "win_amd64", "libscipy_openblas64_.dll", "amd64", 10_084),
        ("scipy-openblas64", "win_arm64", "scipy_openblas_64.dll", "arm64", 10_108),
        ("scipy-openblas32", "win32", "libscipy_openblas.dll", "x86", 10_084),
    ],
)
def test_real_providers(
    tmp_path: Path, project: str, platform: str, library: str, arch: str, exports: int
) -> None:
    wheel = download(tmp_path, f"{project}==0.3.34.481.3", "--platform", platform)
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(f"{project.replace('-', '_')}/lib/{library}")

    found = image_of(data)
    agree(data)
    assert (found.kind, found.arch, found.name) == (Kind.SHARED_LIBRARY, arch, library)
    assert sum(not name.startswith("#") for name in found.exports) == exports
    assert (found.signature, found.load_flags, found.delayed) == (Signature.NONE, 0, frozenset())
    assert "KERNEL32.dll" in found.needed
    assert not directory(data, BOUND)[0]
