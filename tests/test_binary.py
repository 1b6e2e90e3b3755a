import pytest
from elf_files import FILES

from extlib_repair import binary
from extlib_repair.binary import elf, elf_edit
from extlib_repair.errors import BadBinaryError
from extlib_repair.model import AddNeeded, Format


@pytest.mark.parametrize("name", FILES)
def test_elf_files_are_known_by_their_first_bytes(name: str) -> None:
    assert binary.sniff(FILES[name][: binary.MAGIC_SIZE]) is Format.ELF
    assert binary.sniff(FILES[name]) is Format.ELF


@pytest.mark.parametrize(
    "start", [b"", b"\x7fEL", b"#!/bin/sh\n", b"PK\x03\x04", b"!<arch>\n", b"ELF\x7f"]
)
def test_other_files_are_no_binaries(start: bytes) -> None:
    assert binary.sniff(start) is None


def test_reading_and_editing_go_to_the_backend_of_the_format() -> None:
    data, edits = FILES["plain.so"], [AddNeeded(library="libadded.so.1")]

    assert binary.read(data) == elf.read(data)
    assert binary.read(data).format is Format.ELF
    assert binary.edit(data, edits) == elf_edit.edit(data, edits)


def test_what_is_no_binary_is_refused() -> None:
    with pytest.raises(BadBinaryError, match="not an ELF file"):
        binary.read(b"#!/bin/sh\n")
    with pytest.raises(BadBinaryError, match="not an ELF file"):
        binary.edit(b"#!/bin/sh\n", [])
