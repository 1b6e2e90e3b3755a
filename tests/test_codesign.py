"""Signatures: renewed in place, written where one is needed, refused where they are somebody's."""

from __future__ import annotations

import struct

import pytest
from macho_files import (
    FILES,
    PROVIDER,
    THIN,
    command_at,
    commands_end,
    load_commands,
    patched,
    signature_place,
    thin_parts,
    with_two_directories,
    wrong_pages,
)

from extlib_repair.binary import codesign, macho
from extlib_repair.binary.codesign import directories, problems
from extlib_repair.binary.macho_edit import edit, sign
from extlib_repair.binary.macho_file import MachO
from extlib_repair.errors import BadBinaryError, CannotEditError
from extlib_repair.model import RenameNeeded, RunPath, SetRunPath, Signature

EDITS = (
    RenameNeeded(old=PROVIDER, new="@rpath/libscipy_openblas64_.dylib"),
    SetRunPath(run_path=RunPath(entries=("@loader_path/../prov/lib",))),
)

SIGNED = FILES["chained_arm64.so"]
UNSIGNED = FILES["unsigned_arm64.so"]
TWICE = with_two_directories(SIGNED)
IDENTITY = with_two_directories(SIGNED, cms=b"\x30\x80" * 40)


def kind(data: bytes) -> Signature:
    (image,) = macho.read(data).images
    return image.signature


def start_of(data: bytes) -> int:
    place = signature_place(data)
    assert place is not None
    return place[0]


def directory_at(data: bytes, index: int = 0) -> int:
    return list(directories(MachO(data)))[index].at


@pytest.mark.parametrize(
    ("data", "signature"),
    [
        (SIGNED, Signature.AD_HOC),
        (TWICE, Signature.AD_HOC),
        (UNSIGNED, Signature.NONE),
        (IDENTITY, Signature.IDENTITY),
        (FILES["signed_x86_64.so"], Signature.AD_HOC),
        (FILES["opcodes_x86_64.so"], Signature.NONE),
    ],
)
def test_kind_of_signature(data: bytes, signature: Signature) -> None:
    assert kind(data) is signature
    assert problems(data) == ()
    assert wrong_pages(data) == []


@pytest.mark.parametrize(
    ("data", "directories_", "width"),
    [
        (SIGNED, 1, 32),
        (FILES["signed_x86_64.so"], 1, 32),
        (TWICE, 2, 52),
        (with_two_directories(SIGNED, shift=14), 2, 52),
    ],
    ids=["arm64", "x86_64", "two directories", "pages of 16 KiB"],
)
def test_a_renewed_signature_differs_in_the_hashes_of_the_first_page_alone(
    data: bytes, directories_: int, width: int
) -> None:
    edited = edit(data, EDITS)

    tables = list(directories(MachO(data)))
    assert len(tables) == directories_
    slots = {i for t in tables for i in range(t.hashes, t.hashes + t.hash_size)}
    assert len(slots) == width
    differ = {i for i, (a, b) in enumerate(zip(data, edited, strict=True)) if a != b}
    assert differ - set(range(commands_end(edited))) <= slots
    assert differ & slots
    assert wrong_pages(edited) == []


def test_without_the_renewal_the_hash_would_be_wrong() -> None:
    """The checkers can say no."""
    edited = bytearray(edit(SIGNED, EDITS))
    edited[start_of(SIGNED) :] = SIGNED[start_of(SIGNED) :]

    assert wrong_pages(bytes(edited)) == ["slot 0, page 0"]
    assert problems(bytes(edited)) == ("arm64: the hash of page 0 is wrong",)


def test_pages_without_a_size_are_one_page() -> None:
    at = directory_at(FILES["signed_x86_64.so"])
    data = patched(FILES["signed_x86_64.so"], at + 39, "B", 0)
    data = patched(data, at + 28, ">I", 1)

    edited = edit(data, EDITS)
    assert problems(edited) == ()


def test_an_unsigned_arm64_file_gets_a_signature() -> None:
    edited = edit(UNSIGNED, EDITS)

    assert kind(edited) is Signature.AD_HOC
    assert problems(edited) == ()
    assert wrong_pages(edited) == []
    start, size = signature_place(edited) or (0, 0)
    assert (start % 16, start + size) == (0, len(edited))
    assert edited[commands_end(edited) : len(UNSIGNED)] == UNSIGNED[commands_end(edited) :]
    (table,) = directories(MachO(edited))
    (image,) = macho.read(UNSIGNED).images
    assert table.identifier.decode() == f"unnamed-55554944{image.uuid}"


def test_an_unsigned_arm64_file_without_an_edit_stays_as_it_is() -> None:
    assert edit(UNSIGNED, [RenameNeeded(old="@rpath/absent", new="x")]) == UNSIGNED


@pytest.mark.parametrize("name", [n for n in THIN if "x86_64" in n and "signed" not in n])
def test_an_unsigned_x86_64_file_stays_unsigned(name: str) -> None:
    if name.startswith("crowded"):
        return
    edited = edit(THIN[name], EDITS)

    assert kind(edited) is Signature.NONE
    assert len(edited) == len(THIN[name])


def test_the_signature_of_an_identity_is_not_broken() -> None:
    with pytest.raises(CannotEditError, match="signed by an identity") as caught:
        edit(IDENTITY, EDITS)

    assert "--resign" in str(caught.value.hint)
    assert caught.value.exit_code == 6
    assert edit(IDENTITY, ()) == IDENTITY


def test_the_signature_of_an_identity_is_replaced_when_that_is_allowed() -> None:
    edited = edit(IDENTITY, EDITS, resign=True)

    assert kind(edited) is Signature.AD_HOC
    assert problems(edited) == ()
    assert wrong_pages(edited) == []
    assert [t.identifier for t in directories(MachO(edited))] == [b"fixture"]
    assert edit(edited, EDITS) == edited


@pytest.mark.parametrize(
    "changes",
    [
        [(32, ">I", start_of(SIGNED) - 16)],  # code limit
        [(37, "B", 9)],  # hash type
        [(36, "B", 0), (37, "B", 0)],  # no hash at all
        [(36, "B", 20)],  # hash size
        [(28, ">I", 1)],  # pages
        [(12, ">I", 0)],  # flags: not ad-hoc
        [(44, ">I", 1)],  # scattered
    ],
    ids=["limit", "type", "none", "size", "pages", "flags", "scattered"],
)
def test_a_signature_that_cannot_be_renewed_is_refused_and_replaced_when_allowed(
    changes: list[tuple[int, str, int]],
) -> None:
    data = SIGNED
    for offset, layout, value in changes:
        data = patched(data, directory_at(SIGNED) + offset, layout, value)

    with pytest.raises(CannotEditError, match="cannot be renewed") as caught:
        edit(data, EDITS)
    assert "--resign" in str(caught.value.hint)
    edited = edit(data, EDITS, resign=True)
    assert problems(edited) == ()
    assert wrong_pages(edited) == []


def test_a_signature_without_a_code_directory_cannot_be_renewed() -> None:
    data = patched(SIGNED, start_of(SIGNED) + 8, ">I", 0)

    assert problems(data) == ("arm64: the signature has no code directory",)
    with pytest.raises(CannotEditError, match="cannot be renewed"):
        edit(data, EDITS)
    (table,) = directories(MachO(edit(data, EDITS, resign=True)))
    assert table.identifier.startswith(b"unnamed-55554944")


def test_bytes_behind_the_last_segment_are_not_dropped_for_a_signature() -> None:
    with pytest.raises(CannotEditError, match="bytes behind __LINKEDIT"):
        edit(UNSIGNED + b"x", EDITS)


def test_without_a_last_segment_there_is_no_place_for_a_signature() -> None:
    data = patched(UNSIGNED, UNSIGNED.index(b"__LINKEDIT"), "10s", b"__OTHERSEG")  # type: ignore[arg-type]

    with pytest.raises(CannotEditError, match="bytes behind __LINKEDIT"):
        edit(data, EDITS)


@pytest.mark.parametrize("name", ["opcodes_x86_64.so", "chained_arm64.so", "program", "fat.so"])
def test_any_file_can_be_signed_anew(name: str) -> None:
    signed = sign(FILES[name])

    assert {i.signature for i in macho.read(signed).images} == {Signature.AD_HOC}
    assert problems(signed) == ()
    assert [wrong_pages(part) for part in thin_parts(signed)] == [[]] * len(thin_parts(signed))
    assert sign(signed) == signed


def test_the_main_binary_says_so_in_its_signature() -> None:
    for name, flags in (("program", 1), ("flat.so", 0)):
        signed = sign(FILES[name])
        assert struct.unpack_from(">Q", signed, directory_at(signed) + 80) == (flags,)


def test_a_file_without_text_and_uuid_is_signed_all_the_same() -> None:
    data = patched(UNSIGNED, UNSIGNED.index(b"__TEXT"), "6s", b"__NAME")  # type: ignore[arg-type]
    data = patched(data, command_at(data, 0x1B), "<I", 0x7B)

    signed = sign(data)
    assert problems(signed) == ()
    assert struct.unpack_from(">QQ", signed, directory_at(signed) + 64) == (0, 0)


@pytest.mark.parametrize("data", [FILES["object.o"]])
def test_what_is_not_loaded_is_not_signed(data: bytes) -> None:
    with pytest.raises(CannotEditError, match="can be signed"):
        sign(data)


SIGNATURE = start_of(SIGNED)
DIRECTORY = directory_at(SIGNED)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (patched(SIGNED, SIGNATURE, ">I", 0), "signature .* is damaged"),
        (patched(SIGNED, SIGNATURE + 4, ">I", 1 << 20), "signature .* is damaged"),
        (patched(SIGNED, SIGNATURE + 8, ">I", 1 << 20), "signature .* is damaged"),
        (patched(SIGNED, SIGNATURE + 4, ">I", 12), "cut off"),
        (patched(SIGNED, SIGNATURE + 16, ">I", 1 << 20), "cut off"),
        (patched(SIGNED, DIRECTORY + 4, ">I", 1 << 20), "runs past its end"),
        (patched(SIGNED, DIRECTORY, ">I", 0), "code directory .* is damaged"),
        (patched(SIGNED, DIRECTORY + 16, ">I", 1 << 20), "code directory .* is damaged"),
        (patched(SIGNED, DIRECTORY + 24, ">I", 1 << 20), "code directory .* is damaged"),
        (patched(SIGNED, DIRECTORY + 20, ">I", 1 << 20), "code directory .* is damaged"),
        (patched(SIGNED, DIRECTORY + 32, ">I", 1 << 30), "code directory .* is damaged"),
        (patched(SIGNED, command_at(SIGNED, 0x1D) + 12, "<I", 8), "cut off"),
    ],
)
def test_a_damaged_signature_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadBinaryError, match=message):
        macho.read(data)


def moved(data: bytes, by: int) -> bytes:
    """Let the signature of a file begin somewhere else."""
    start = start_of(data)
    place = command_at(data, 0x1D) + 8
    return patched(data[:start] + bytes(by) + data[start:], place, "<I", start + by)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (patched(SIGNED, 5000, "B", 1), "the hash of page 1 is wrong"),
        (patched(TWICE, directory_at(TWICE) + 56, "B", 0), "special slot 2"),
        (patched(TWICE, directory_at(TWICE, 1) + 56 + 32, "B", 7), None),
        (moved(SIGNED, 8), "not aligned to 16 bytes"),
        (moved(SIGNED, 16), "does not end __LINKEDIT"),
        (moved(SIGNED, 16), "do not reach the signature"),
        (patched(SIGNED, DIRECTORY + 37, "B", 9), "unknown kind"),
    ],
)
def test_problems_are_named(data: bytes, problem: str | None) -> None:
    found = "\n".join(problems(data))

    if problem is None:  # slot 1: Info.plist is a file of its own
        assert found == ""
    else:
        assert problem in found


def test_what_is_not_signed_has_no_problems() -> None:
    assert problems(UNSIGNED) == ()
    assert list(directories(MachO(UNSIGNED))) == []
    assert problems(FILES["libprov.dylib"]) == ()


def test_the_position_of_the_command_does_not_matter() -> None:
    edited = edit(SIGNED, EDITS)

    assert [cmd for cmd, _ in load_commands(edited)].count(0x1D) == 1
    assert codesign.kind(MachO(edited)) is Signature.AD_HOC
