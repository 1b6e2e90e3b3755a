"""Load commands that change: what stays, what is refused, and fat files laid out anew."""

from __future__ import annotations

import struct

import pytest
from macho_files import (
    BUILD,
    FILES,
    PRIVATE,
    PROVIDER,
    SYSTEM,
    assembled,
    dylib,
    fat,
    load_commands,
    patched,
    rpath,
    second_reading,
    thin_parts,
    wrong_pages,
)

from extlib_repair.binary import macho
from extlib_repair.binary.codesign import problems
from extlib_repair.binary.macho_edit import edit, rename
from extlib_repair.binary.macho_fat import pieces
from extlib_repair.errors import CannotEditError
from extlib_repair.model import (
    AddNeeded,
    BinaryEdit,
    Image,
    Import,
    Kind,
    RenameNeeded,
    RunPath,
    SetRunPath,
    Signature,
    applied,
)

ENTRY = "@loader_path/../prov/lib"
TO_PROVIDER = SetRunPath(run_path=RunPath(entries=(ENTRY,)))
NEW = "@rpath/libscipy_openblas64_.dylib"
EXTENSION = FILES["opcodes_x86_64.so"]


def image(data: bytes) -> Image:
    (found,) = macho.read(data).images
    return found


def order_of(data: bytes) -> list[int]:
    return [cmd for cmd, _ in load_commands(data)]


def test_a_new_run_path_stands_where_the_old_one_stood() -> None:
    edited = edit(EXTENSION, [TO_PROVIDER])

    assert image(edited).search == (ENTRY,)
    assert order_of(edited) == order_of(EXTENSION)
    assert BUILD.encode() not in edited


def test_the_first_run_path_of_a_file_stands_at_the_end() -> None:
    data = FILES["old_x86_64.so"]

    assert order_of(edit(data, [TO_PROVIDER])) == [*order_of(data), 0x8000001C]


def test_a_run_path_that_is_there_already_changes_nothing() -> None:
    data = FILES["ready.so"]
    kept = RunPath(entries=(ENTRY, BUILD))

    assert edit(data, [SetRunPath(run_path=kept)]) == data
    assert image(edit(data, [TO_PROVIDER])).search == (ENTRY,)


def test_of_equal_run_paths_one_is_left() -> None:
    data = assembled(rpath(ENTRY), dylib("/a"), rpath(ENTRY))
    assert image(data).search == (ENTRY, ENTRY)

    edited = edit(data, [TO_PROVIDER])
    assert image(edited).search == (ENTRY,)
    both = RunPath(entries=(ENTRY, "@loader_path/", ENTRY))
    assert image(edit(data, [SetRunPath(run_path=both)])).search == (ENTRY, "@loader_path/")


def test_a_renamed_library_keeps_its_place_and_its_symbols() -> None:
    edited = image(edit(EXTENSION, [RenameNeeded(old=PROVIDER, new=NEW)]))

    assert edited.needed == (SYSTEM, NEW, PRIVATE)
    assert Import("scipy_cblas_ddot64_", library=NEW) in edited.imports
    assert Import("priv_answer", library=PRIVATE) in edited.imports


@pytest.mark.parametrize("fixed", [24, 28])
def test_what_stands_before_the_name_is_kept(fixed: int) -> None:
    flags = struct.pack("<I", 1) if fixed == 28 else b""
    marker = 0x1A741800 if fixed == 28 else 77
    numbers = struct.pack("<IIII", fixed, marker, 0x00010203, 0x00040506) + flags
    data = assembled((0xC, numbers + b"/old\0"), dylib("/other"))

    edited = edit(data, [RenameNeeded(old="/old", new="/a/much/longer/name")])
    at = dict(reversed(list(load_commands(edited))))[0xC]
    assert edited[at + 8 : at + 8 + len(numbers)] == numbers
    assert image(edited).needed == ("/a/much/longer/name", "/other")
    assert bool(image(edited).weak_needed) is (fixed == 28)


def test_weak_and_reexported_libraries_stay_so_under_their_new_names() -> None:
    edited = image(
        edit(
            FILES["weak.so"],
            [
                RenameNeeded(old=PRIVATE, new="@rpath/weak"),
                RenameNeeded(old="@rpath/libreexporting.dylib", new="@rpath/again"),
            ],
        )
    )

    assert edited.weak_needed == {"@rpath/weak"}
    assert edited.reexported == {"@rpath/again"}
    assert edited.needed[-2:] == ("@rpath/again", "@rpath/again")


def test_an_added_library_comes_last_so_that_ordinals_stay() -> None:
    edited = edit(EXTENSION, [AddNeeded(library=NEW), AddNeeded(library=PROVIDER)])

    assert image(edited).needed == (SYSTEM, PROVIDER, PRIVATE, NEW)
    assert image(edited).imports == image(EXTENSION).imports
    at = [at for cmd, at in load_commands(edited) if cmd == 0xC][-1]
    assert struct.unpack_from("<IIII", edited, at + 8) == (24, 2, 0, 0)


@pytest.mark.parametrize("name", ["crowded_arm64.so", "crowded_x86_64.so"])
def test_without_room_the_refusal_has_the_numbers_and_the_remedy(name: str) -> None:
    with pytest.raises(CannotEditError) as caught:
        edit(FILES[name], [TO_PROVIDER])

    assert str(caught.value) == (
        "the load commands of the Mach-O file need 40 bytes more, and its header has 32 bytes of "
        "room"
    )
    assert "-headerpad_max_install_names" in str(caught.value.hint)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("name", ["crowded_arm64.so", "crowded_x86_64.so"])
def test_what_is_taken_away_pays_for_what_is_added(name: str) -> None:
    short = RunPath(entries=("@loader_path/x",))
    one = edit(FILES[name], [SetRunPath(run_path=short)])
    assert image(one).header_room == 0

    edits: list[BinaryEdit] = [SetRunPath(run_path=None), RenameNeeded(old=PROVIDER, new=NEW)]
    assert image(edit(one, edits)).header_room == 16


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([RenameNeeded(old=PROVIDER, new=PRIVATE)], f"need {PRIVATE} twice"),
        ([RenameNeeded(old=PROVIDER, new="")], "'' cannot be stored"),
        ([RenameNeeded(old=PROVIDER, new="a\0b")], "cannot be stored"),
        ([AddNeeded(library="\ud800")], "cannot be stored as bytes"),
        ([SetRunPath(run_path=RunPath(entries=("",)))], "'' cannot be stored"),
        (
            [RenameNeeded(old=PROVIDER, new=NEW), AddNeeded(library=PROVIDER)],
            "contradict each other",
        ),
        ([AddNeeded(library="\udcc3\udca9")], "would not say what was asked for"),
    ],
)
def test_what_no_file_can_hold_or_dyld_would_not_load_is_refused(
    edits: list[BinaryEdit], message: str
) -> None:
    with pytest.raises(CannotEditError, match=message):
        edit(EXTENSION, edits)


def test_what_is_not_loaded_is_not_edited() -> None:
    assert edit(FILES["object.o"], [SetRunPath(run_path=None)]) == FILES["object.o"]
    with pytest.raises(CannotEditError, match="not one that dyld loads"):
        edit(FILES["object.o"], [TO_PROVIDER])


def test_an_edit_that_would_damage_the_file_is_refused() -> None:
    """There is no room in memory behind __LINKEDIT for a signature."""
    behind = struct.pack("<16sQQQQiiII", b"__NEXT", (1 << 26) + 4096, 4096, 0, 0, 1, 1, 0, 0)
    data = assembled((0x19, behind), linkedit=b"x" * 40, arch="arm64")
    data = patched(data, 184 + 32, "<Q", 4096)
    data = patched(data, data.index(b"__NEXT") + 16, "<Q", 2 * 4096)

    assert image(data).signature is Signature.NONE
    with pytest.raises(CannotEditError, match="would be damaged by the edit: segments"):
        edit(data, [TO_PROVIDER])


@pytest.mark.parametrize(
    ("arch", "order", "wide"), [("i386", "<", False), ("ppc", ">", False), ("x86_64", "<", True)]
)
def test_other_word_sizes_and_byte_orders_are_edited_alike(
    arch: str, order: str, *, wide: bool
) -> None:
    commands = (dylib("/a", order=order), rpath("/r", order=order))
    data = assembled(*commands, arch=arch, order=order, wide=wide)
    edits: list[BinaryEdit] = [TO_PROVIDER, RenameNeeded(old="/a", new="/another")]
    edits.append(AddNeeded(library="/new"))

    edited = edit(data, edits)
    assert image(edited) == applied(image(data), edits)
    (reading,) = second_reading(edited)
    assert (reading.needed, reading.rpaths) == (("/another", "/new"), (ENTRY,))


def test_of_a_fat_file_only_the_slices_that_change_are_touched() -> None:
    data = FILES["fat.so"]

    edited = edit(data, [RenameNeeded(old=PRIVATE, new="@rpath/other")])
    (intel, arm), (new_intel, new_arm) = thin_parts(data), thin_parts(edited)
    assert new_intel == intel
    assert new_arm != arm
    assert wrong_pages(new_arm) == []
    assert len(edited) == len(data)


def test_each_slice_gets_what_it_lacks() -> None:
    edited = edit(FILES["fat.so"], [RenameNeeded(old=PROVIDER, new=NEW), TO_PROVIDER])

    intel, arm = macho.read(edited).images
    assert (intel.needed, arm.needed) == ((SYSTEM, NEW), (SYSTEM, NEW, PRIVATE))
    assert intel.search == arm.search == (ENTRY,)


def test_a_fat_file_with_one_full_header_is_refused() -> None:
    data = fat(FILES["old_x86_64.so"], FILES["crowded_arm64.so"], align=14)

    with pytest.raises(CannotEditError, match="32 bytes of room"):
        edit(data, [TO_PROVIDER])


@pytest.mark.parametrize("wide", [False, True])
def test_slices_behind_one_that_grows_move_and_keep_their_alignment(*, wide: bool) -> None:
    unsigned, intel = FILES["unsigned_arm64.so"], FILES["flat.so"]
    data = fat(unsigned, intel, wide=wide, align=6)

    edited = edit(data, [TO_PROVIDER])
    old, new = pieces(data) or (), pieces(edited) or ()
    assert new[0].offset == old[0].offset
    assert new[0].size > old[0].size
    assert [p.align for p in new] == [6, 6]
    assert new[1].offset == -(-(new[0].offset + new[0].size) // 64) * 64 > old[1].offset
    assert thin_parts(edited)[1] == edit(intel, [TO_PROVIDER])
    assert problems(edited) == ()
    arm, other = macho.read(edited).images
    assert (arm.signature, other.signature) == (Signature.AD_HOC, Signature.NONE)
    assert len(edited) == new[1].offset + new[1].size


def test_a_slice_that_grows_into_a_gap_moves_no_other() -> None:
    data = fat(FILES["unsigned_arm64.so"], FILES["flat.so"], align=14)

    edited = edit(data, [TO_PROVIDER])
    assert [p.offset for p in pieces(edited) or ()] == [p.offset for p in pieces(data) or ()]
    assert problems(edited) == ()


def test_slices_may_stand_in_another_order_than_their_rows() -> None:
    data = fat(FILES["unsigned_arm64.so"], FILES["flat.so"])
    rows = data[8:28], data[28:48]
    data = data[:8] + rows[1] + rows[0] + data[48:]

    intel, arm = macho.read(edit(data, [TO_PROVIDER])).images
    assert (intel.arch, arm.arch) == ("x86_64", "arm64")
    assert intel.search == arm.search == (ENTRY,)


def test_a_static_library_in_a_fat_file_stays_as_it_is() -> None:
    archive = b"!<arch>\n" + bytes(100)
    data = fat(archive, EXTENSION, archs=["arm64", "x86_64"])

    edited = edit(data, [TO_PROVIDER])
    assert thin_parts(edited)[0] == archive
    assert macho.read(edited).images[0].kind is Kind.OTHER
    assert macho.read(edited).images[1].search == (ENTRY,)


def test_the_install_name_can_be_changed() -> None:
    renamed = rename(FILES["libpriv.dylib"], "/DLC/pkg/.dylibs/libpriv.dylib")

    assert [i.name for i in macho.read(renamed).images] == ["/DLC/pkg/.dylibs/libpriv.dylib"] * 2
    assert problems(renamed) == ()
    assert rename(renamed, "/DLC/pkg/.dylibs/libpriv.dylib") == renamed
    assert rename(EXTENSION, "/new") == EXTENSION
    with pytest.raises(CannotEditError, match="cannot be stored"):
        rename(renamed, "")
