"""What is read from Mach-O files: by hand for the fixtures, against macholib for all."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest
from macho_files import (
    BUILD,
    FILES,
    LINKEDIT_AT,
    LOADED,
    PRIVATE,
    PROVIDER,
    SUMS,
    SYSTEM,
    assembled,
    command_at,
    dylib,
    fat,
    patched,
    rpath,
    second_reading,
    thin_parts,
)
from workbench import download

from extlib_repair import binary
from extlib_repair.binary import macho
from extlib_repair.errors import BadBinaryError
from extlib_repair.model import Format, Image, Import, Kind, RunPath, RunPathKind, Signature

if TYPE_CHECKING:
    from pathlib import Path


def image(name: str) -> Image:
    return image_of(FILES[name])


def image_of(data: bytes) -> Image:
    (found,) = macho.read(data).images
    return found


@pytest.mark.parametrize("name", SUMS)
def test_fixtures_are_those_that_were_checked_in(name: str) -> None:
    assert hashlib.sha256(FILES[name]).hexdigest() == SUMS[name]


@pytest.mark.parametrize("name", LOADED)
def test_load_commands_read_as_with_macholib(name: str) -> None:
    agree(LOADED[name])


def agree(data: bytes) -> None:
    """Compare with macholib: commands, and the names of symbols, by its symbol table."""
    for found, second in zip(macho.read(data).images, second_reading(data), strict=True):
        assert (found.name, found.needed) == (second.name, second.needed)
        assert found.search == second.rpaths
        assert found.exports == second.exports
        # Linkers list the helper of lazy binding also where nothing is bound lazily.
        assert {i.name for i in found.imports} | {"dyld_stub_binder"} == second.imports | {
            "dyld_stub_binder"
        }


DDOT = Import("scipy_cblas_ddot64_", library=PROVIDER)
EXTENSION_IMPORTS = {
    DDOT,
    Import("scipy_openblas_data64_", library=PROVIDER),
    Import("priv_answer", library=PRIVATE),
    Import("PyModule_Create2"),
}
STUB_BINDER = Import("dyld_stub_binder", library=SYSTEM)
"""A symbol of all files with lazy binding; its name has no underscore in front."""


@pytest.mark.parametrize(
    ("name", "arch", "minimum", "signature"),
    [
        ("chained_arm64.so", "arm64", (14, 0, 0), Signature.AD_HOC),
        ("opcodes_arm64.so", "arm64", (11, 0, 0), Signature.AD_HOC),
        ("chained_x86_64.so", "x86_64", (14, 0, 0), Signature.NONE),
        ("opcodes_x86_64.so", "x86_64", (11, 0, 0), Signature.NONE),
        ("old_x86_64.so", "x86_64", (10, 9, 0), Signature.NONE),
    ],
)
def test_an_extension_imports_each_symbol_from_its_library(
    name: str, arch: str, minimum: tuple[int, int, int], signature: Signature
) -> None:
    found = image(name)

    assert (found.format, found.kind) == (Format.MACHO, Kind.EXTENSION_MODULE)
    assert (found.arch, found.minimum_os, found.signature) == (arch, minimum, signature)
    assert found.needed == (SYSTEM, PROVIDER, PRIVATE)
    assert found.imports - {STUB_BINDER} == EXTENSION_IMPORTS
    assert found.exports == {"PyInit__core", "data", "pointer"}
    assert (found.name, len(found.uuid), found.header_room) == ("", 32, 1024)
    if name != "old_x86_64.so":
        assert found.run_path == RunPath(entries=(BUILD,), kind=RunPathKind.LC_RPATH)


@pytest.mark.parametrize("index", [0, 1])
def test_a_provider_exports_functions_data_weak_and_thread_local_symbols(index: int) -> None:
    found = macho.read(FILES["libprov.dylib"]).images[index]

    assert found.kind is Kind.SHARED_LIBRARY
    assert found.name == PROVIDER
    assert found.exports == {
        "scipy_cblas_ddot64_",
        "scipy_openblas_data64_",
        "scipy_openblas_get_config64_",
        "scipy_openblas_thread64_",
        "scipy_openblas_weak64_",
    }


def test_each_slice_of_a_fat_file_is_an_image_of_its_own() -> None:
    intel, arm = macho.read(FILES["fat.so"]).images

    assert intel == image("bare_loader_path.so")
    assert arm == image("chained_arm64.so")
    assert (intel.needed, arm.needed) == ((SYSTEM, PROVIDER), (SYSTEM, PROVIDER, PRIVATE))
    assert (intel.search, arm.search) == (("@loader_path",), (BUILD,))


@pytest.mark.parametrize("name", ["weak.so", "weak_opcodes.so"])
def test_weak_and_reexported_libraries_and_weak_imports_are_known(name: str) -> None:
    found = image(name)

    reexporting = "@rpath/libreexporting.dylib"
    assert found.needed == (SYSTEM, PROVIDER, PRIVATE, reexporting, reexporting)
    assert found.weak_needed == {PRIVATE}
    assert found.reexported == {reexporting}
    assert found.imports - {STUB_BINDER} == {
        DDOT,
        Import("priv_answer", library=PRIVATE, weak=True),
        Import("reexporting_own", library=reexporting),
    }


def test_in_a_flat_namespace_symbols_come_from_anywhere() -> None:
    assert Import("scipy_cblas_ddot64_") in image("flat.so").imports
    assert {i.library for i in image("flat.so").imports} == {""}


@pytest.mark.parametrize(("name", "room"), [("crowded_arm64.so", 32), ("crowded_x86_64.so", 32)])
def test_header_room_is_what_is_free(name: str, room: int) -> None:
    assert image(name).header_room == room


def test_bytes_that_are_not_zero_are_no_header_room() -> None:
    data = FILES["chained_arm64.so"]
    used = 32 + struct.unpack_from("<I", data, 20)[0]

    assert image_of(patched(data, used + 100, "B", 1)).header_room == 100


def test_sections_without_bytes_do_not_limit_the_room() -> None:
    code, zeroed = assembled(linkedit=b"x"), assembled(linkedit=b"x", content=0)

    assert image_of(zeroed).header_room - image_of(code).header_room == LINKEDIT_AT - 2048


def test_where_nothing_says_what_is_free_there_is_no_room() -> None:
    assert image_of(assembled(content=0)).header_room == 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("program", Kind.EXECUTABLE),
        ("chained_arm64.so", Kind.EXTENSION_MODULE),
        ("flat.so", Kind.SHARED_LIBRARY),
        ("object.o", Kind.OTHER),
    ],
)
def test_kind(name: str, kind: Kind) -> None:
    assert image(name).kind is kind


@pytest.mark.parametrize("arch", ["x86_64", "x86_64h", "arm64", "arm64e", "i386", "ppc", "cpu-77"])
def test_architectures_have_the_names_that_apples_tools_use(arch: str) -> None:
    assert image_of(assembled(arch=arch)).arch == arch


# What is written by hand: symbol tables, tries, binds.


def symbols(
    *entries: tuple[str, int, int], order: str = "<", wide: bool = True
) -> tuple[tuple[int, bytes], bytes]:
    """Return LC_SYMTAB and its contents for (name, type, description)."""
    names, table = b"\0", b""
    for name, kind, description in entries:
        row = (len(names), kind, 1, description, 0)
        table += struct.pack(order + ("IBBHQ" if wide else "IBBHI"), *row)
        names += name.encode() + b"\0"
    place = (LINKEDIT_AT, len(entries), LINKEDIT_AT + len(table), len(names))
    return (2, struct.pack(order + "4I", *place)), table + names


SYMBOLS = (
    ("_defined", 0x0F, 0),
    ("_private", 0x1F, 0),
    ("_local", 0x0E, 0),
    ("_debugging", 0x24 | 1, 0),
    ("_first", 0x01, 0x0100),
    ("_weak", 0x01, 0x0240),
    ("_flat", 0x01, 0xFE00),
    ("_of_the_program", 0x01, 0xFF00),
    ("_of_itself", 0x01, 0x0000),
)


@pytest.mark.parametrize(
    ("arch", "order", "wide"), [("i386", "<", False), ("ppc", ">", False), ("x86_64", "<", True)]
)
def test_the_symbol_table_is_read_where_there_is_nothing_better(
    arch: str, order: str, *, wide: bool
) -> None:
    command, linkedit = symbols(*SYMBOLS, order=order, wide=wide)
    commands = [dylib("/a", order=order), dylib("/b", order=order), rpath("/r", order=order)]
    found = image_of(
        assembled(*commands, command, linkedit=linkedit, arch=arch, order=order, wide=wide)
    )

    assert (found.arch, found.needed, found.search) == (arch, ("/a", "/b"), ("/r",))
    assert found.exports == {"defined"}
    assert found.imports == {
        Import("first", library="/a"),
        Import("weak", library="/b", weak=True),
        Import("flat"),
        Import("of_the_program"),
        Import("of_itself"),
    }


def test_ordinals_mean_nothing_in_a_flat_namespace() -> None:
    command, linkedit = symbols(("_first", 0x01, 0x0100))

    found = image_of(assembled(dylib("/a"), command, linkedit=linkedit, flags=0x5))
    assert found.imports == {Import("first")}


def with_info(*streams: bytes) -> bytes:
    """Return a library with these streams: bind, weak, lazy, exports."""
    place, table, linkedit = LINKEDIT_AT, struct.pack("<II", 0, 0), b""
    for stream in streams:
        table += struct.pack("<II", place + len(linkedit), len(stream))
        linkedit += stream
    table = table.ljust(40, b"\0")
    return assembled(dylib("/a"), dylib("/b"), (0x80000022, table), linkedit=linkedit)


def test_every_bind_opcode_is_understood() -> None:
    bind = b"".join(
        (
            b"\x11\x40_one\0\x51\x60\x7f\x72\x80\x01\x80\x08\x90",
            b"\x20\x02\x41_two\0\xa0\x10",
            b"\x3e\x40_flat\0\xb1",
            b"\x30\x40_own\0\x90",
            b"\x3f\x40_main\0\xc0\x02\x08",
            b"\xd0\x03\xd1",
            b"\x00\x40_behind_the_end\0\x90",
        )
    )
    weak = b"\x40_one\0\x90\x40_replaceable\0\x90\x48_strong\0\x00"
    lazy = b"\x72\x00\x11\x40_lazy\0\x90\x00\x72\x08\x12\x40_lazier\0\x90\x00\x00"

    assert image_of(with_info(bind, weak, lazy)).imports == {
        Import("one", library="/a"),
        Import("two", library="/b", weak=True),
        Import("flat"),
        Import("own"),
        Import("main"),
        Import("replaceable"),
        Import("lazy", library="/a"),
        Import("lazier", library="/b"),
    }


def trie(nodes: dict[str, bytes]) -> bytes:
    """Return an export trie: a root, and nodes right below it."""
    at = 2 + sum(len(name) + 2 for name in nodes)
    edges, bodies = b"", b""
    for name, body in nodes.items():
        edges += name.encode() + b"\0" + bytes([at + len(bodies)])
        bodies += body
    return bytes([0, len(nodes)]) + edges + bodies


LEAF = b"\x02\x00\x00\x00"
"""An ordinary entry and no children."""


def test_every_kind_of_export_is_understood() -> None:
    nodes = {
        "_plain": LEAF,
        "_again": b"\x03\x08\x01\x00\x00",  # re-exported under the same name
        "_resolved": b"\x03\x10\x05\x06\x00",  # a stub and a resolver
        "_weak": b"\x03\x04\x80\x01\x00",
        "no_underscore": LEAF,
        "_no_end": b"\x00\x00",
    }
    nodes["_parent"] = b"\x02\x00\x00\x01" + b"_child\0\x00"
    last = len(trie(nodes))
    nodes["_parent"] = b"\x02\x00\x00\x01" + b"_child\0" + bytes([last])

    assert image_of(with_info(b"", b"", b"", trie(nodes) + LEAF)).exports == {
        *{"plain", "again", "resolved", "weak", "no_underscore", "parent", "parent_child"}
    }


def test_what_an_image_exports_itself_is_not_missing() -> None:
    bind = b"\x3e\x40_a\0\x90\x11\x40_a\0\x90"

    found = image_of(with_info(bind, b"\x40_a\0\x90", b"", trie({"_a": LEAF})))
    assert found.exports == {"a"}
    assert found.imports == {Import("a", library="/a")}


def with_chains(
    kind: int, *imports: int, names: bytes = b"\0_x\0_y\0", compressed: int = 0
) -> bytes:
    layout = {1: "<I", 2: "<Ii", 3: "<QQ"}.get(kind, "<I")
    rows = b"".join(struct.pack(layout, i, *([0] * (len(layout) - 2))) for i in imports)
    header = (0, 0, 28, 28 + len(rows), len(imports), kind, compressed)
    table = struct.pack("<7I", *header) + rows + names
    command = 0x80000034, struct.pack("<II", LINKEDIT_AT, len(table))
    return assembled(dylib("/a"), dylib("/b"), command, linkedit=table)


@pytest.mark.parametrize("kind", [1, 2])
def test_chained_imports_of_32_bits(kind: int) -> None:
    data = with_chains(kind, 1 | 1 << 9, 2 | 1 << 8 | 4 << 9, 0xFE | 1 << 9)

    assert image_of(data).imports == {
        Import("x", library="/a"),
        Import("y", library="/b", weak=True),
        Import("x"),
    }


def test_chained_imports_of_64_bits() -> None:
    data = with_chains(3, 1 | 1 << 32, 2 | 1 << 16 | 4 << 32, 0xFFFE | 1 << 32)

    assert image_of(data).imports == {
        Import("x", library="/a"),
        Import("y", library="/b", weak=True),
        Import("x"),
    }


@pytest.mark.parametrize(
    ("commands", "minimum"),
    [
        ([], None),
        ([(0x32, struct.pack("<4I", 1, 0x000B0203, 0, 0))], (11, 2, 3)),
        ([(0x24, struct.pack("<II", 0x000A0F00, 0))], (10, 15, 0)),
        (
            [
                (0x32, struct.pack("<4I", 6, 0x000D0100, 0, 0)),
                (0x32, struct.pack("<4I", 1, 0x000E0000, 0, 0)),
            ],
            (14, 0, 0),
        ),
    ],
)
def test_the_minimum_is_that_of_macos(
    commands: list[tuple[int, bytes]], minimum: tuple[int, int, int] | None
) -> None:
    assert image_of(assembled(*commands)).minimum_os == minimum


COMPATIBILITY_AT = 20
"""``compatibility_version`` in ``struct dylib_command``."""


def test_compatibility_versions_are_read_of_the_library_and_of_what_it_needs() -> None:
    data = thin_parts(FILES["libpriv.dylib"])[0]
    own, needed = (command_at(data, cmd) + COMPATIBILITY_AT for cmd in (0xD, 0xC))

    found = image_of(patched(patched(data, own, "<I", 0x00010203), needed, "<I", 0x04D20506))

    assert found.compatibility == (1, 2, 3)
    assert found.needed_compatibility == {(SYSTEM, (1234, 5, 6))}


@pytest.mark.parametrize("name", LOADED)
def test_compatibility_versions_of_fixtures_are_their_linkers(name: str) -> None:
    for found in macho.read(LOADED[name]).images:
        assert found.compatibility == (0, 0, 0)
        assert found.needed_compatibility == {(SYSTEM, (1, 0, 0))}


def use(name: str, flags: int) -> tuple[int, bytes]:
    """Return a ``dylib_use_command``."""
    return 0xC, struct.pack("<5I", 28, 0x1A741800, 0, 0, flags) + name.encode() + b"\0"


def test_the_newer_command_for_libraries_says_in_its_flags_what_it_is() -> None:
    found = image_of(assembled(use("/weak", 1), use("/again", 2), use("/plain", 0)))

    assert found.needed == ("/weak", "/again", "/plain")
    assert found.weak_needed == {"/weak"}
    assert found.reexported == {"/again"}


def test_every_command_that_ordinals_count_is_a_need() -> None:
    kinds = (0xC, 0x80000018, 0x8000001F, 0x20, 0x80000023)
    commands = [dylib(f"/{cmd}", cmd) for cmd in kinds]

    found = image_of(assembled(dylib("/own", 0xD), *commands))
    assert found.needed == tuple(f"/{cmd}" for cmd in kinds)
    assert found.name == "/own"


def test_a_name_that_is_weak_once_and_once_not_must_be_there() -> None:
    assert image_of(assembled(dylib("/a"), dylib("/a", 0x80000018))).weak_needed == frozenset()


@pytest.mark.parametrize("wide", [False, True])
def test_both_kinds_of_fat_header_are_read(*, wide: bool) -> None:
    parts = thin_parts(FILES["fat.so"])

    assert macho.read(fat(*parts, wide=wide)) == macho.read(FILES["fat.so"])


def test_static_libraries_in_a_fat_file_are_nothing_to_load() -> None:
    library = b"!<arch>\n" + bytes(100)

    found = macho.read(fat(library, library, archs=["x86_64", "arm64"]))
    assert [(i.kind, i.arch) for i in found.images] == [
        (Kind.OTHER, "x86_64"),
        (Kind.OTHER, "arm64"),
    ]


def test_commands_that_do_not_fill_their_room_are_no_harm() -> None:
    shorter = image_of(patched(PLAIN, 16, "<I", 3))

    assert (shorter.needed, shorter.search) == (("/a",), ())


def test_a_segment_that_is_not_mapped_may_be_larger_in_the_file() -> None:
    """Go writes ``__DWARF`` so, dyld bears it."""
    numbers = struct.pack("<16sQQQQiiII", b"__DWARF", 0, 0, LINKEDIT_AT + 1, 50, 0, 0, 0, 0)
    data = assembled((0x19, numbers), linkedit=b"x") + bytes(50)

    assert image_of(data).arch == "x86_64"


JAVA = b"\xca\xfe\xba\xbe\0\0\0\x3d" + bytes(200)


def test_a_java_class_file_is_no_binary_and_not_read_as_one() -> None:
    assert binary.sniff(JAVA) is None
    with pytest.raises(BadBinaryError, match="Java class file"):
        binary.read(JAVA)


@pytest.mark.parametrize("name", FILES)
def test_files_are_known_by_their_first_bytes(name: str) -> None:
    data = FILES[name]

    assert binary.sniff(data[: binary.MAGIC_SIZE]) is Format.MACHO
    assert binary.sniff(data[:4]) is Format.MACHO
    assert binary.read(data) == macho.read(data)
    assert binary.edit(data, []) == data


PLAIN = assembled(dylib("/a"), rpath("/r"), (0x1B, bytes(16)))
TEXT, SECTION, LINKEDIT = 32, 104, 184
ARM = FILES["chained_arm64.so"]
TWO = fat(assembled(), assembled(arch="arm64"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"MZ" + PLAIN, "not a Mach-O file"),
        (PLAIN[:20], "ends before offset 28"),
        (PLAIN[:100], "bytes of load commands do not fit"),
        (patched(PLAIN, 20, "<I", 1 << 31), "bytes of load commands do not fit"),
        (patched(PLAIN, 16, "<I", 1 << 31), "ends before offset"),
        (patched(PLAIN, TEXT + 4, "<I", 4), "runs past the header"),
        (patched(PLAIN, TEXT + 4, "<I", 1 << 20), "runs past the header"),
        (patched(PLAIN, TEXT + 4, "<I", 154), "runs past the header"),
        (patched(PLAIN, TEXT + 64, "<I", 1 << 30), "sections do not fit"),
        (patched(PLAIN, LINKEDIT + 40, "<Q", 1 << 40), "a segment is outside"),
        (patched(PLAIN, TEXT + 32, "<Q", 100), "larger there than in memory"),
        (patched(PLAIN, LINKEDIT + 24, "<Q", 100), "segments .* overlap"),
        (patched(assembled(linkedit=b"x"), LINKEDIT + 40, "<Q", 100), "segments .* overlap"),
        (patched(PLAIN, TEXT + 48, "<Q", 100), "no segment .* holds its load commands"),
        (patched(PLAIN, SECTION + 48, "<I", 100), "overlap its code"),
        (patched(PLAIN, command_at(PLAIN, 0xC) + 8, "<I", 8), "has no end"),
        (patched(PLAIN, command_at(PLAIN, 0xC) + 8, "<I", 99), "has no end"),
        (assembled((0x8000001C, b"\x0c\0\0\0abcd")), "has no end"),
        (assembled((0x1B, bytes(8))), "ends before offset"),
        (patched(ARM, command_at(ARM, 0x1D) + 8, "<I", 1 << 30), "outside the Mach-O file"),
        (patched(ARM, command_at(ARM, 0x80000033) + 8, "<I", 1 << 30), "outside the Mach-O file"),
        (b"\xca\xfe\xba\xbe" + bytes(60), "with 0 slices"),
        (b"\xca\xfe\xba\xbe\0\0\0\x15" + bytes(600), "with 21 slices"),
        (b"\xca\xfe\xba\xbe\xff\xff\xff\xff" + bytes(60), "with 4294967295 slices"),
        (TWO[:30], "with 2 slices"),
        (patched(TWO, 16, ">I", 20), "a slice is outside"),
        (TWO[:-1], "a slice is outside"),
        (patched(TWO, 24, ">I", 60), "not aligned to 2\\^60"),
        (patched(TWO, 36, ">I", 4097), "slices .* overlap"),
        (fat(assembled(), assembled()), "two slices for one architecture"),
        (patched(TWO, 8, ">I", 7), "another architecture than the fat header says"),
        (fat(b"not a Mach-O file", archs=["arm64"]), "not a Mach-O file"),
        (with_info(b"\x13\x40_x\0\x90"), "library number 3"),
        (with_info(b"\x11\x90"), "without a name"),
        (with_info(b"\x40_x"), "ends too early"),
        (with_info(b"\xe0"), "opcode 0xe0"),
        (with_info(b"\x60" + b"\xff" * 11), "has no end"),
        (with_info(b"\x60\xff"), "ends too early"),
        (with_info(b"", b"", b"", b"\x00\x01_a\0\x00"), "cycle"),
        (with_info(b"", b"", b"", b"\x02\x10\x00\x00\x00"), "has no end"),
        (with_info(b"", b"", b"", b"\x00\x01_a\0\x7f"), "ends too early"),
        (with_chains(4, 1), "of the format 4, 0"),
        (with_chains(1, 1, compressed=1), "of the format 1, 1"),
        (with_chains(1, 1 | 900 << 9), "outside a string table"),
        (with_chains(1, 1 | 1 << 9, names=b"\0_x"), "outside a string table"),
        (with_chains(1, 3 | 1 << 9), "library number 3"),
        (patched(with_chains(1, 1), LINKEDIT_AT + 16, "<I", 1 << 30), "outside its chained"),
        (patched(with_chains(1, 1), LINKEDIT_AT + 12, "<I", 1 << 30), "outside its chained"),
        (
            assembled((0x80000034, struct.pack("<II", LINKEDIT_AT, 20)), linkedit=bytes(20)),
            "header",
        ),
    ],
)
def test_nonsense_is_refused_with_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(BadBinaryError, match=message):
        macho.read(data)


def test_names_that_overlap_beyond_measure_are_refused() -> None:
    """100 000 imports whose names are all the same 100 000 bytes."""
    data = with_chains(1, *([1 | 1 << 9] * 100_000), names=b"\0" + b"x" * 100_000 + b"\0")

    with pytest.raises(BadBinaryError, match="overlap beyond all measure"):
        macho.read(data)


def test_a_trie_whose_names_grow_beyond_measure_is_refused() -> None:
    """A chain of nodes: each adds some bytes to the names of all behind it."""
    chain = b""
    for _ in range(4000):
        child = len(chain) + 2 + 201 + 3
        number = bytes([child & 0x7F | 0x80, child >> 7 & 0x7F | 0x80, child >> 14])
        chain += b"\x00\x01" + b"x" * 200 + b"\0" + number
    chain += b"\x00\x00"

    with pytest.raises(BadBinaryError, match="overlap beyond all measure"):
        macho.read(with_info(b"", b"", b"", chain))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("platform", "arch", "exports", "signature"),
    [
        ("macosx_11_0_arm64", "arm64", 5114, Signature.AD_HOC),
        ("macosx_10_9_x86_64", "x86_64", 5149, Signature.NONE),
    ],
)
def test_real_providers(
    tmp_path: Path, platform: str, arch: str, exports: int, signature: Signature
) -> None:
    version = {"arm64": "0.3.34.481.3", "x86_64": "0.3.34.237.2"}[arch]
    wheel = download(tmp_path, f"scipy-openblas64=={version}", "--platform", platform)
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read("scipy_openblas64/lib/libscipy_openblas64_.dylib")

    found = image_of(data)
    agree(data)
    assert (found.arch, len(found.exports), found.signature) == (arch, exports, signature)
    assert "scipy_cblas_ddot64_" in found.exports
    assert found.name == "@rpath/libscipy_openblas64_.dylib"
    assert found.needed == (SYSTEM,)
    assert {i.library for i in found.imports} <= {SYSTEM, ""}
