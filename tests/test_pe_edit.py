"""PE files that change: where new names go, what stays, what is refused."""

from __future__ import annotations

import struct

import pytest
from pe_files import (
    BOUND,
    CERTIFICATE,
    DELAY,
    FILES,
    IAT,
    IMPORT,
    INITIALIZED,
    LOAD_CONFIG,
    PRIVATE,
    PROVIDER,
    PYTHON,
    READ,
    START,
    WRITE,
    Content,
    assembled,
    changed,
    directory,
    directory_at,
    header_at,
    optional_at,
    patched,
    second_reading,
    second_structure,
    section_rows,
)

from extlib_repair import binary
from extlib_repair.binary import pe
from extlib_repair.binary.pe_edit import edit
from extlib_repair.binary.pe_file import PeFile
from extlib_repair.errors import CannotEditError
from extlib_repair.model import (
    AddNeeded,
    BinaryEdit,
    ClearLoadFlags,
    DropSignature,
    Image,
    RenameNeeded,
    RunPath,
    SetRunPath,
    Signature,
    applied,
)

EXTENSION = FILES["extension.pyd"]
LONGER = "libscipy_openblas64_.dll"


def image(data: bytes) -> Image:
    (found,) = pe.read(data).images
    return found


def rename(old: str, new: str) -> RenameNeeded:
    return RenameNeeded(old=old, new=new)


def refusal(data: bytes, *edits: BinaryEdit) -> CannotEditError:
    with pytest.raises(CannotEditError) as caught:
        edit(data, edits)
    assert caught.value.exit_code == 6
    return caught.value


def span(start: int, size: int) -> set[int]:
    return set(range(start, start + size))


def checksum_of(data: bytes) -> set[int]:
    """Return where the checksum stands, after pefile has found it right."""
    assert second_structure(data).verify_checksum()
    return span(optional_at(data) + 64, 4)


# --- In place -----------------------------------------------------------------------------------


@pytest.mark.parametrize("new", ["l.dll", "provide.dll", "libprov.DLL"])
@pytest.mark.parametrize("name", ["extension.pyd", "extension_x86.pyd", "arm64.pyd"])
def test_a_name_that_is_not_longer_stands_where_the_old_one_stood(name: str, new: str) -> None:
    data = FILES[name]
    at = data.index(PROVIDER.encode() + b"\0")

    edited = edit(data, [rename(PROVIDER, new)])

    assert len(edited) == len(data)
    assert edited[at : at + len(PROVIDER) + 1] == new.encode().ljust(len(PROVIDER) + 1, b"\0")
    checksum = checksum_of(edited) if PeFile(data).checksum else set()
    assert changed(data, edited) <= span(at, len(PROVIDER)) | checksum
    assert image(edited) == applied(image(data), [rename(PROVIDER, new)])


@pytest.mark.parametrize("name", ["delayed.pyd", "delayed_x86.pyd", "arm64.pyd"])
def test_the_name_of_a_delayed_library_is_replaced_too(name: str) -> None:
    edited = edit(FILES[name], [rename(PRIVATE, "p.dll")])

    assert image(edited).delayed == {"p.dll"} == second_reading(edited).delayed
    assert PRIVATE.encode() not in edited


def test_a_library_that_is_listed_twice_is_renamed_twice() -> None:
    content = Content()
    thunks, name, other = content.thunks(["one"]), content.text("a.dll"), content.text("a.dll")
    imports = content.imports([(thunks, name, thunks), (thunks, other, thunks)])
    data = assembled(content, directories={IMPORT: imports})

    for new in ("b.dll", "a-longer.dll"):
        edited = edit(data, [rename("a.dll", new)])
        assert image(edited).needed == (new,)
        assert second_reading(edited).needed == (new,)


def test_descriptors_may_share_a_name_that_is_replaced() -> None:
    content = Content()
    thunks, name = content.thunks(["one"]), content.text("a.dll")
    imports = content.imports([(thunks, name, thunks), (thunks, name, thunks)])
    data = assembled(content, directories={IMPORT: imports})
    at, _ = PeFile(data).place(name)

    assert changed(data, edit(data, [rename("a.dll", "b.dll")])) == {at}
    assert image(edit(data, [rename("a.dll", "longer.dll")])).needed == ("longer.dll",)


def names_of_a_shared_end() -> tuple[bytes, int]:
    """Return a file in which one name is the end of another, and the place of the longer one."""
    content = Content()
    thunks, name = content.thunks(["one"]), content.text("lib-a.dll")
    imports = content.imports([(thunks, name, thunks), (thunks, name + 4, thunks)])
    data = assembled(content, directories={IMPORT: imports})
    return data, PeFile(data).place(name)[0]


@pytest.mark.parametrize("old", ["lib-a.dll", "a.dll"])
def test_a_name_whose_bytes_another_name_uses_stays_where_it_is(old: str) -> None:
    data, at = names_of_a_shared_end()

    edited = edit(data, [rename(old, "b.dll")])

    assert image(edited).needed == tuple(
        "b.dll" if name == old else name for name in ("lib-a.dll", "a.dll")
    )
    assert not changed(data, edited) & span(at, 10)


def test_the_name_of_an_export_directory_is_not_overwritten() -> None:
    content = Content()
    thunks, name = content.thunks(["one"]), content.text("a.dll")
    imports = content.imports([(thunks, name, thunks)])
    exports = content.exporting([START], {"x": 0})
    struct.pack_into("<I", content.data, exports - START + 12, name)
    data = assembled(content, directories={IMPORT: imports, 0: exports})

    edited = edit(data, [rename("a.dll", "b.dll")])

    assert (image(edited).name, image(edited).needed) == ("a.dll", ("b.dll",))


@pytest.mark.parametrize("index", [IAT, 2, 6])
def test_a_name_in_another_directory_is_not_overwritten(index: int) -> None:
    data = FILES["extension.pyd"]
    file = PeFile(data)
    name = next(d for d in file.imports if d.name == PROVIDER.encode())
    data = patched(data, directory_at(data, index), "II", name.name_rva - 8, 16)

    edited = edit(data, [rename(PROVIDER, "l.dll")])

    assert image(edited).needed == (PRIVATE, "l.dll", PYTHON)
    assert PROVIDER.encode() in edited


def test_a_directory_that_leads_nowhere_is_in_nobodys_way() -> None:
    data = patched(EXTENSION, directory_at(EXTENSION, 9), "II", 0x7FFFFFFF, 16)

    assert PROVIDER.encode() not in edit(data, [rename(PROVIDER, "l.dll")])


# --- Into slack ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["extension.pyd", "extension_x86.pyd", "unstripped.pyd"])
def test_a_longer_name_goes_behind_the_data_of_a_section(name: str) -> None:
    data = FILES[name]
    edited = edit(data, [rename(PROVIDER, LONGER)])
    at = edited.index(LONGER.encode() + b"\0")
    field = next(d.name_field for d in PeFile(data).imports if d.name == PROVIDER.encode())

    assert len(edited) == len(data)
    assert not any(data[at : at + len(LONGER) + 1])
    (row,) = [
        row for row in section_rows(data) if changed(data[row : row + 40], edited[row : row + 40])
    ]
    size, _, raw_size, offset = struct.unpack_from("<IIII", edited, row + 8)
    (old_size,) = struct.unpack_from("<I", data, row + 8)
    assert (at, size) == (offset + old_size, old_size + len(LONGER) + 1)
    assert size <= raw_size
    allowed = span(field, 4) | span(row + 8, 4) | span(at, len(LONGER)) | checksum_of(edited)
    assert changed(data, edited) <= allowed
    assert image(edited) == applied(image(data), [rename(PROVIDER, LONGER)])


def sections_with_room(*flags: int, room: int = 0x80) -> bytes:
    """Return a file with a section for each of the flags, and room behind the data of each."""
    first = Content()
    imports = first.importing({"a.dll": ["one"], "b.dll": ["two"]})
    rest = [Content(start=START * (index + 2)) for index in range(len(flags) - 1)]
    for content in (first, *rest):
        content.put(b"x" * (0x200 - room - len(content.data)), 1)
    data = assembled(first, *rest, directories={IMPORT: imports})
    for row, flag in zip(section_rows(data), flags, strict=True):
        data = patched(data, row + 36, "I", flag)
    return data


def section_of(data: bytes, text: str) -> int:
    """Return in which section a text stands."""
    at = data.index(text.encode())
    for index, row in enumerate(section_rows(data)):
        _, _, size, offset = struct.unpack_from("<IIII", data, row + 8)
        if offset <= at < offset + size:
            return index
    raise AssertionError(text)


CODE, DISCARDABLE, EXECUTE, BSS = 0x20, 0x02000000, 0x20000000, 0x80


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ((INITIALIZED | READ,), 0),
        ((INITIALIZED | READ | WRITE, INITIALIZED | READ), 1),
        ((INITIALIZED | READ, INITIALIZED | READ | WRITE), 0),
        ((INITIALIZED | READ | WRITE,), 0),
        ((INITIALIZED | READ | CODE, INITIALIZED | READ | WRITE), 1),
        ((INITIALIZED | READ | EXECUTE, INITIALIZED | READ | WRITE), 1),
        ((INITIALIZED | READ | DISCARDABLE, INITIALIZED | READ | WRITE), 1),
        ((INITIALIZED, INITIALIZED | READ | WRITE), 1),
        ((READ | BSS, INITIALIZED | READ | WRITE), 1),
        ((INITIALIZED | READ | EXECUTE,), 1),  # a new one
    ],
)
def test_sections_are_chosen_by_what_they_hold(flags: tuple[int, ...], chosen: int) -> None:
    data = sections_with_room(*flags)

    edited = edit(data, [rename("a.dll", LONGER)])

    assert image(edited).needed == (LONGER, "b.dll")
    assert section_of(edited, LONGER) == chosen
    assert len(section_rows(edited)) == max(len(flags), chosen + 1)


def test_names_go_into_the_first_room_that_holds_them() -> None:
    data = sections_with_room(INITIALIZED | READ, INITIALIZED | READ)
    first, second = "a" * 100 + ".dll", "b" * 100 + ".dll"

    edited = edit(data, [rename("a.dll", first), rename("b.dll", second)])

    assert (section_of(edited, first), section_of(edited, second)) == (0, 1)
    assert len(section_rows(edited)) == 2
    assert image(edited).needed == second_reading(edited).needed == (first, second)


@pytest.mark.parametrize(("size", "sections"), [(0x7F, 1), (0x80, 2)])
def test_a_room_is_filled_to_the_last_byte(size: int, sections: int) -> None:
    edited = edit(sections_with_room(INITIALIZED | READ), [rename("a.dll", "a" * size)])

    assert len(section_rows(edited)) == sections
    assert image(edited).needed == ("a" * size, "b.dll")


def only_room_is_not_free(data: bytes) -> None:
    edited = edit(data, [rename("a.dll", LONGER)])
    assert section_of(edited, LONGER) == 1
    assert len(section_rows(edited)) == 2


def test_bytes_that_are_not_zero_are_no_room() -> None:
    data = sections_with_room(INITIALIZED | READ)

    only_room_is_not_free(patched(data, len(data) - 1, "B", 1))


def test_bytes_that_a_table_uses_are_no_room() -> None:
    """The zeros that end the list of libraries stand behind the section's VirtualSize."""
    content = Content()
    imports = content.importing({"a.dll": ["one"]})
    data = assembled(content, directories={IMPORT: imports}, virtual_size=len(content.data) - 8)

    only_room_is_not_free(data)


@pytest.mark.parametrize("index", [2, 10])
def test_bytes_of_a_directory_are_no_room(index: int) -> None:
    data = sections_with_room(INITIALIZED | READ)

    only_room_is_not_free(patched(data, directory_at(data, index), "II", START + 0x1F0, 16))


def test_bytes_of_symbols_are_no_room() -> None:
    data = sections_with_room(INITIALIZED | READ)
    at = header_at(data) + 12

    only_room_is_not_free(patched(data, at, "II", len(data) - 18 - 0x20, 1))


def test_bytes_of_another_section_are_no_room() -> None:
    data = sections_with_room(INITIALIZED | READ, INITIALIZED | READ)
    first, second = section_rows(data)
    (offset,) = struct.unpack_from("<I", data, first + 20)
    shared = patched(data, second + 16, "II", 0x200, offset)  # the raw data of the first, again
    shared = patched(shared, second + 36, "I", READ)[:-0x200]

    edited = edit(shared, [rename("a.dll", LONGER)])

    assert section_of(edited, LONGER) == 2


def test_a_room_ends_with_the_pages_of_its_section() -> None:
    content = Content()
    imports = content.importing({"a.dll": ["one"]})
    content.put(bytes(0x1000 + 0x200 - len(content.data)), 1)
    data = assembled(content, directories={IMPORT: imports}, virtual_size=0x1000)

    edited = edit(data, [rename("a.dll", LONGER)])

    assert section_of(edited, LONGER) == 1


def test_a_section_without_a_virtual_size_is_full() -> None:
    data = sections_with_room(INITIALIZED | READ)
    (row,) = section_rows(data)

    only_room_is_not_free(patched(data, row + 8, "I", 0))


def test_old_delay_imports_lead_to_new_names_by_address() -> None:
    content = Content(wide=False)
    delayed = content.delaying({"a.dll": ["one"]}, base=0x10000000)
    data = assembled(content, directories={DELAY: delayed}, wide=False, machine=0x14C)

    edited = edit(data, [rename("a.dll", LONGER)])

    assert image(edited).needed == (LONGER,) == second_reading(edited).needed


# --- Into a new section -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["full.pyd", "full_unstripped.pyd"])
def test_without_slack_a_section_is_added(name: str) -> None:
    data = FILES[name]

    edited = edit(data, [rename(PROVIDER, LONGER), rename(PRIVATE, "private-" + LONGER)])

    checksum_of(edited)
    old, new = second_structure(data), second_structure(edited)
    (*_, last) = new.sections
    assert new.FILE_HEADER.NumberOfSections == old.FILE_HEADER.NumberOfSections + 1
    assert (last.Name, last.Characteristics) == (b".extlib\0", INITIALIZED | READ)
    assert last.Misc_VirtualSize == len(LONGER) * 2 + len("private-") + 2
    assert last.VirtualAddress == old.OPTIONAL_HEADER.SizeOfImage
    assert new.OPTIONAL_HEADER.SizeOfImage == old.OPTIONAL_HEADER.SizeOfImage + 0x1000
    assert (last.PointerToRawData % 0x200, last.SizeOfRawData) == (0, 0x200)
    assert last.PointerToRawData + 0x200 == len(edited)
    added = new.OPTIONAL_HEADER.SizeOfInitializedData - old.OPTIONAL_HEADER.SizeOfInitializedData
    assert added == 0x200
    assert not any(edited[len(data) : last.PointerToRawData])
    fields = set().union(*(span(d.name_field, 4) for d in PeFile(data).imports))
    row = span(section_rows(edited)[-1], 40)
    numbers = span(header_at(data) + 6, 2) | span(optional_at(data) + 8, 4)
    numbers |= span(optional_at(data) + 56, 4)
    assert changed(data, edited) <= fields | row | numbers | checksum_of(edited)
    assert image(edited).needed == second_reading(edited).needed


def test_what_does_not_fit_into_slack_goes_into_a_new_section() -> None:
    long, huge = "l" * 50 + ".dll", "h" * 400 + ".dll"

    edited = edit(EXTENSION, [rename(PROVIDER, huge), rename(PRIVATE, long)])

    assert section_of(edited, long) < len(section_rows(EXTENSION))
    assert section_of(edited, huge) == len(section_rows(EXTENSION))


def test_a_name_may_need_more_than_a_page() -> None:
    huge = "h" * 5000

    edited = edit(FILES["full.pyd"], [rename(PROVIDER, huge)])

    old, new = (second_structure(data).OPTIONAL_HEADER for data in (FILES["full.pyd"], edited))
    assert new.SizeOfImage == old.SizeOfImage + 0x2000
    assert image(edited).needed == (PRIVATE, huge, PYTHON)


def test_zeros_behind_the_last_section_are_nobodys() -> None:
    data = FILES["full.pyd"] + bytes(5)

    edited = edit(data, [rename(PROVIDER, LONGER)])

    assert (len(edited) - len(FILES["full.pyd"])) == 0x400
    checksum_of(edited)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tight.pyd", "link it again with room for one more section header"),
        ("full_overlay.pyd", "data that is appended to the file, as installers do"),
    ],
)
def test_without_room_a_longer_name_is_refused(name: str, hint: str) -> None:
    error = refusal(FILES[name], rename(PROVIDER, LONGER))

    assert "no room for a longer name" in str(error)
    assert str(error.hint).startswith(hint)
    assert image(edit(FILES[name], [rename(PROVIDER, "l.dll")])).needed == (
        PRIVATE,
        "l.dll",
        PYTHON,
    )


def test_an_overlay_stays_where_there_is_room_in_a_section() -> None:
    data = FILES["overlay.pyd"]

    edited = edit(data, [rename(PROVIDER, LONGER)])

    assert len(edited) == len(data)
    assert edited.endswith(b"appended by an installer")
    checksum_of(edited)


FULL = FILES["full.pyd"]


@pytest.mark.parametrize(
    "data",
    [
        # headers end with the last section header
        patched(FULL, optional_at(FULL) + 60, "I", section_rows(FULL)[-1] + 40),
        # a directory stands behind the section headers
        patched(FULL, directory_at(FULL, 2), "II", section_rows(FULL)[-1] + 60, 16),
        # alignments
        patched(FULL, optional_at(FULL) + 32, "I", 0x200),
        patched(FULL, optional_at(FULL) + 36, "I", 0x20000),
        patched(FULL, optional_at(FULL) + 32, "I", 1 << 31),
    ],
)
def test_headers_that_cannot_take_a_section_are_refused(data: bytes) -> None:
    assert "no room for a longer name" in str(refusal(data, rename(PROVIDER, LONGER)))


def test_a_file_cannot_have_a_hundred_sections() -> None:
    content = Content()
    imports = content.importing({"a.dll": ["one"]})
    content.put(bytes(0x200 - len(content.data)), 1)
    rest = [Content(start=START * (index + 2)) for index in range(95)]
    data = assembled(content, *rest, directories={IMPORT: imports}, headers_size=0x2000)

    assert "no room for a longer name" in str(refusal(data, rename("a.dll", LONGER)))


def test_imports_in_the_header_have_no_section_to_grow() -> None:
    content = Content(start=0x300)
    imports = content.importing({"a.dll": ["one"]})
    data = bytearray(assembled(directories={IMPORT: imports}))
    data[0x300 : 0x300 + len(content.data)] = content.data

    assert "no room for a longer name" in str(refusal(bytes(data), rename("a.dll", LONGER)))
    assert image(edit(bytes(data), [rename("a.dll", "b.dll")])).needed == ("b.dll",)


# --- Load flags, signatures, checksums ----------------------------------------------------------


@pytest.mark.parametrize(("name", "within"), [("flags.pyd", 78), ("flags_x86.pyd", 54)])
def test_load_flags_are_cleared(name: str, within: int) -> None:
    data = FILES[name]
    at, _ = PeFile(data).place(directory(data, LOAD_CONFIG)[0])

    edited = edit(data, [ClearLoadFlags()])

    assert image(edited).load_flags == 0
    assert changed(data, edited) <= span(at + within, 2) | checksum_of(edited)
    assert edit(EXTENSION, [ClearLoadFlags()]) == EXTENSION


SIGNED = FILES["signed.pyd"]


def test_a_signed_file_is_left_alone() -> None:
    error = refusal(SIGNED, rename(PROVIDER, "l.dll"))

    assert str(error) == "the PE file is signed, and an edit would break the signature"
    assert error.hint == "--drop-signature takes the signature away"
    assert edit(SIGNED, [rename("libother.dll", "l.dll"), ClearLoadFlags()]) == SIGNED


def test_a_signature_is_taken_off() -> None:
    assert edit(SIGNED, [DropSignature()]) == EXTENSION
    assert edit(EXTENSION, [DropSignature()]) == EXTENSION


@pytest.mark.parametrize("new", ["l.dll", LONGER])
@pytest.mark.parametrize("name", ["signed.pyd", "signed_full.pyd"])
def test_a_signature_is_taken_off_before_names_change(name: str, new: str) -> None:
    edited = edit(FILES[name], [rename(PROVIDER, new), DropSignature()])

    unsigned = {"signed.pyd": EXTENSION, "signed_full.pyd": FILES["full.pyd"]}[name]
    assert edited == edit(unsigned, [rename(PROVIDER, new)])
    assert image(edited).signature is Signature.NONE


def test_a_signature_that_is_not_at_the_end_stays() -> None:
    assert "does not stand at its end" in str(refusal(SIGNED + b"more", DropSignature()))
    inside = patched(SIGNED, directory_at(SIGNED, CERTIFICATE), "II", 0x600, len(SIGNED) - 0x600)
    assert "does not stand at its end" in str(refusal(inside, DropSignature()))
    assert len(edit(SIGNED + bytes(8), [DropSignature()])) == len(EXTENSION)


def test_no_checksum_stays_none() -> None:
    data = FILES["no_checksum.pyd"]

    edited = edit(data, [rename(PROVIDER, LONGER)])

    assert second_structure(edited).OPTIONAL_HEADER.CheckSum == 0
    assert changed(edited, edit(EXTENSION, [rename(PROVIDER, LONGER)])) <= span(
        optional_at(data) + 64, 4
    )


def test_a_wrong_checksum_stays_when_nothing_changes() -> None:
    data = patched(EXTENSION, optional_at(EXTENSION) + 64, "I", 0x1234)

    assert edit(data, [rename("libother.dll", "l.dll")]) == data
    checksum_of(edit(data, [rename(PROVIDER, "l.dll")]))


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([SetRunPath(run_path=RunPath(entries=("..",)))], "cannot have a run path"),
        ([AddNeeded(library="libx.dll")], "cannot be made to need another library"),
        ([rename(PROVIDER, "")], "'' cannot be stored as a name"),
        ([rename(PROVIDER, "a\0b")], "cannot be stored as a name"),
        ([rename(PROVIDER, "a\ud800b")], "cannot be stored as bytes"),
        ([rename(PROVIDER, PRIVATE)], "would need libpriv.dll twice"),
        (
            [rename(PROVIDER, "t"), rename(PRIVATE, PROVIDER), rename("t", PRIVATE)],
            "contradict each other",
        ),
    ],
)
def test_what_a_file_cannot_hold_is_refused(edits: list[BinaryEdit], message: str) -> None:
    assert message in str(refusal(EXTENSION, *edits))


@pytest.mark.parametrize(
    "edits", [(), (SetRunPath(run_path=None),), (AddNeeded(library=PROVIDER),)]
)
def test_what_holds_already_changes_nothing(edits: tuple[BinaryEdit, ...]) -> None:
    assert edit(EXTENSION, edits) == EXTENSION


def test_a_name_that_is_known_in_another_spelling_is_not_meant() -> None:
    assert edit(EXTENSION, [rename(PROVIDER.upper(), LONGER)]) == EXTENSION


def test_what_no_process_loads_is_not_edited() -> None:
    driver = patched(SIGNED, optional_at(SIGNED) + 68, "H", 1)

    assert "not one that a process loads" in str(refusal(driver, DropSignature()))


def test_bound_imports_are_refused_for_their_old_names() -> None:
    data = FILES["flags.pyd"]
    bound = patched(data, directory_at(data, BOUND), "II", section_rows(data)[-1] + 48, 16)

    assert "bound to the addresses" in str(refusal(bound, rename(PROVIDER, "l.dll")))
    assert image(edit(bound, [ClearLoadFlags()])).load_flags == 0


def test_an_edit_that_would_change_something_else_is_refused() -> None:
    """The name field of one descriptor is what another table reads as an import."""
    content = Content()
    thunks, name = content.thunks([7]), content.text("a.dll")
    row = content.start + len(content.data) + -len(content.data) % 8
    imports = content.imports([(row + 12, name, thunks)])
    assert imports == row
    struct.pack_into("<I", content.data, row + 16 - START, 0x80000000)
    data = assembled(content, directories={IMPORT: imports})

    assert "would not say what was asked for" in str(refusal(data, rename("a.dll", LONGER)))


def test_an_edit_that_would_damage_the_file_is_refused() -> None:
    """The lookup table begins with the name field; two bytes are left, where no import fits."""
    content = Content(wide=False)
    name = content.text("a.dll")
    imports = content.imports([(START + 8 + 12, name, 0x80000007)])
    assert imports == START + 8
    content.put(b"x" * (0x1FE - len(content.data)), 1)
    data = assembled(content, wide=False, machine=0x14C, directories={IMPORT: imports})

    assert {i.name for i in image(data).imports} == {"dll", "#7"}
    assert "would be damaged by the edit" in str(refusal(data, rename("a.dll", "b")))


def test_editing_goes_to_the_backend_of_the_format() -> None:
    edits = [rename(PROVIDER, LONGER)]

    assert binary.edit(EXTENSION, edits, resign=True) == edit(EXTENSION, edits)
