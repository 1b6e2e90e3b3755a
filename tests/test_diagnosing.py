"""What is wrong with the consumers of an environment."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest
from environments import (
    HOME,
    OTHER,
    USER,
    There,
    consumer,
    environment,
    file,
    judged,
    of,
    provided,
)
from facts import (
    DGEMM64,
    DLL,
    LIB64,
    OPENBLAS32,
    OPENBLAS64,
    PLAIN,
    PROV,
    SITE64,
    WINDOWS,
    chosen,
    codes,
    dll,
    dylib,
    elf,
    library,
    macho,
    pe,
)

from extlib_repair import telling
from extlib_repair.model import Import, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import Finding, Image

RPATH = "@loader_path/../prov/lib"
MAC = macho(["@rpath/libprov.dylib"], [RPATH], {"@rpath/libprov.dylib": ["prov_add"]})


def only(found: Sequence[Finding]) -> Finding:
    (one,) = found
    return one


def test_a_consumer_whose_provider_is_where_its_run_path_leads_is_well() -> None:
    assert of(consumer(), provided(OPENBLAS64)) == ()


def test_what_extlib_repair_did_not_repair_is_not_judged() -> None:
    plain = dataclasses.replace(consumer().distribution, examined="")

    assert of(There(plain)) == ()


def test_a_consumer_that_a_second_one_of_its_name_hides_is_not_judged() -> None:
    hidden = consumer(folder=OTHER)

    assert codes(of(consumer(), hidden, provided(OPENBLAS64))) == []
    assert codes(of(hidden, consumer(), provided(OPENBLAS64))) == ["error provider-elsewhere"]


def test_a_missing_provider_is_installed_by_its_requirement() -> None:
    found = only(of(consumer()))

    assert (found.code, found.severity) == ("provider-missing", Severity.ERROR)
    assert found.hint == '/venv/bin/python -m pip install "scipy-openblas64>=0.3.30"'


def test_a_library_that_is_there_without_its_distribution_is_enough() -> None:
    assert of(consumer(), more=[file(f"{HOME}/{SITE64}", library([DGEMM64]))]) == ()
    old = of(consumer(), more=[file(f"{HOME}/{SITE64}", library())])
    assert codes(old) == ["error provider-too-old"]


def test_a_library_that_only_some_of_the_binaries_reach_is_not_enough() -> None:
    images = {"demo/_e.so": USER, "demo/deep/_f.so": USER}
    there = [file(f"{HOME}/{SITE64}", library([DGEMM64]))]

    assert codes(of(consumer(images=images), more=there)) == ["error provider-missing"]


def test_a_file_that_no_distribution_lists_is_judged_where_the_provider_has_its_own() -> None:
    there = provided(OPENBLAS64, library=library())
    unlisted = tuple(dataclasses.replace(f, project="", version="") for f in there.files)

    found = only(of(consumer(), dataclasses.replace(there, files=unlisted)))

    assert found.code == "provider-too-old"


def test_a_line_under_a_marker_and_a_damaged_one_say_nothing() -> None:
    requires = ("scipy-openblas64>9; extra=='x'", "not a (requirement", "numpy>2")
    there = consumer(chosen(OPENBLAS64, ">=0.3.1"), requires=requires)

    assert '"scipy-openblas64>=0.3.1"' in only(of(there)).hint


def test_a_release_out_of_range_is_replaced() -> None:
    found = only(of(consumer(), provided(OPENBLAS64, version="0.3.29")))

    assert found.code == "provider-out-of-range"
    assert "scipy-openblas64 0.3.29 is installed" in found.message
    assert '--force-reinstall --no-deps "scipy-openblas64>=0.3.30"' in found.hint


def test_a_version_that_cannot_be_compared_is_not_out_of_range() -> None:
    assert of(consumer(), provided(OPENBLAS64, version="local build")) == ()


def test_a_provider_in_another_folder_is_of_no_use_to_a_run_path() -> None:
    found = only(of(consumer(), provided(OPENBLAS64, folder=OTHER)))

    assert found.code == "provider-elsewhere"
    assert f"{OTHER}/{SITE64}" in found.message


def test_a_loader_finds_a_provider_in_another_folder() -> None:
    assert of(consumer(loads=[LIB64]), provided(OPENBLAS64, folder=OTHER)) == ()


def test_on_musl_a_loader_does_not_help() -> None:
    musl = dataclasses.replace(USER, needed=(LIB64, "libc.musl-x86_64.so.1"))
    there = consumer(images={"demo/_e.so": musl}, loads=[LIB64], platforms=["linux_x86_64"])
    lib = library([DGEMM64], needed=["libc.musl-x86_64.so.1"])

    found = of(there, provided(OPENBLAS64, folder=OTHER, library=lib))

    assert codes(found) == ["error provider-elsewhere"]


def test_a_binary_that_inherits_its_run_path_is_served_by_the_others() -> None:
    images = {"demo/_e.so": USER, "demo.libs/libm.so": elf([LIB64], imports=[DGEMM64])}

    assert of(consumer(images=images), provided(OPENBLAS64)) == ()


def test_a_provider_that_no_binary_needs_is_only_required() -> None:
    images = {"demo/_e.so": elf(["libc.so.6"])}

    assert codes(of(consumer(images=images))) == ["error provider-missing"]
    assert of(consumer(images=images), provided(OPENBLAS64, gone=True)) == ()


def test_an_absolute_run_path_that_leads_elsewhere_shadows_the_provider() -> None:
    image = elf([LIB64], ["/build/lib/", "$ORIGIN/../scipy_openblas64/lib"], [DGEMM64])
    stale = file(f"/build/lib/{LIB64}", library())

    found = only(of(consumer(images={"demo/_e.so": image}), provided(OPENBLAS64), more=[stale]))

    assert (found.code, found.severity) == ("provider-shadowed", Severity.ERROR)
    assert found.hint.endswith('--force-reinstall --no-deps "demo", or remove the file')


def test_entries_that_lead_nowhere_known_are_passed_by() -> None:
    image = elf([LIB64], ["lib", "$ORIGIN/../../..", "$ORIGIN/../scipy_openblas64/lib"], [DGEMM64])

    assert of(consumer(images={"demo/_e.so": image}), provided(OPENBLAS64)) == ()


def test_two_installed_copies_of_the_provider_are_a_warning() -> None:
    there = [provided(OPENBLAS64, folder=OTHER, version="0.3.31"), consumer(), provided(OPENBLAS64)]

    found = only(judged(environment(*there, folders=(OTHER, HOME))))

    assert (found.code, found.severity) == ("provider-shadowed", Severity.WARNING)


def test_one_file_under_two_paths_is_one_copy() -> None:
    near, far = provided(OPENBLAS64), provided(OPENBLAS64, folder=OTHER)
    same = tuple(dataclasses.replace(f, node=near.files[0].node) for f in far.files)

    assert of(dataclasses.replace(far, files=same), consumer(), near) == ()


def test_a_damaged_file_is_installed_anew() -> None:
    found = only(of(consumer(), provided(OPENBLAS64, damage="it has 3 bytes, and RECORD says 4")))

    assert found.code == "provider-damaged"
    assert found.message.endswith("damaged: it has 3 bytes, and RECORD says 4")


def test_a_file_of_unknown_contents_is_not_judged() -> None:
    there = provided(OPENBLAS64)
    giant = tuple(dataclasses.replace(f, images=()) for f in there.files)

    assert of(consumer(), dataclasses.replace(there, files=giant)) == ()


def test_a_file_that_got_lost_is_damage_and_one_that_never_was_is_another_release() -> None:
    lost = only(of(consumer(), provided(OPENBLAS64, gone=True)))
    never = only(of(consumer(), provided(OPENBLAS64, gone=True, recorded=False)))

    assert (lost.code, never.code) == ("provider-damaged", "provider-too-old")
    assert "is gone" in lost.message


def test_a_provider_for_another_system_does_not_have_the_file() -> None:
    there = provided(OPENBLAS64, gone=True, recorded=False, platforms=["macosx_11_0_arm64"])

    assert only(of(consumer(), there)).code == "provider-other-platform"


@pytest.mark.parametrize(
    "image",
    [
        elf(exports=[DGEMM64], arch="aarch64"),
        library([DGEMM64], needed=["libc.musl-x86_64.so.1"]),
        dylib([DGEMM64], name=LIB64, arch="x86_64"),
    ],
    ids=["architecture", "C library", "format"],
)
def test_a_file_for_another_platform_is_told_apart(image: Image) -> None:
    found = only(of(consumer(), provided(OPENBLAS64, library=image)))

    assert found.code == "provider-other-platform"


def test_the_first_missing_symbol_is_named() -> None:
    image = dataclasses.replace(USER, imports=frozenset({Import("b"), Import("a"), Import("c")}))
    old = dataclasses.replace(
        OPENBLAS64,
        libraries={
            LIB64: dataclasses.replace(OPENBLAS64.libraries[LIB64], image=library(["a", "b"]))
        },
    )

    found = only(
        of(
            consumer(old, images={"demo/_e.so": image}, requires=()),
            provided(OPENBLAS64, library=library(["a"]), version="0.3.29"),
        )
    )

    assert found.code == "provider-too-old"
    assert "imports 1 symbol that scipy-openblas64 0.3.29" in found.message
    assert "the first is b" in found.message
    assert found.hint.endswith('"scipy-openblas64>=0.3.30"')


def test_a_newer_release_that_lost_a_symbol_is_replaced_by_the_one_that_had_it() -> None:
    newer = provided(OPENBLAS64, library=library(["other"]), version="0.3.40")
    strange = provided(OPENBLAS64, library=library(["other"]), version="x y")

    assert only(of(consumer(), newer)).hint.endswith('"scipy-openblas64==0.3.30"')
    assert only(of(consumer(), strange)).hint.endswith('"scipy-openblas64>=0.3.30"')


def test_weak_imports_and_what_the_consumer_has_itself_are_not_missed() -> None:
    weak = dataclasses.replace(USER, imports=frozenset({Import(DGEMM64, weak=True)}))
    own = {"demo/_e.so": USER, "demo.libs/libown.so": library([DGEMM64])}

    assert of(consumer(images={"demo/_e.so": weak}), provided(OPENBLAS64, library=library())) == ()
    assert of(consumer(images=own), provided(OPENBLAS64, library=library())) == ()


def test_a_library_without_versions_satisfies_them_all() -> None:
    foo = "libfoo.so.5"
    versioned = Import("foo", "V_1", foo)
    image = elf([foo], ["$ORIGIN/../foo"], [versioned])
    then = elf(exports=["foo", "foo@V_1"], versions=["V_1"])
    known = dataclasses.replace(
        PLAIN, libraries={foo: dataclasses.replace(PLAIN.libraries[foo], image=then)}
    )
    there = consumer(known, images={"demo/_e.so": image}, requires=["plain-foo"])

    assert of(there, provided(PLAIN, library=elf(exports=["foo"]))) == ()
    other = provided(PLAIN, library=elf(exports=["foo", "foo@V_2"], versions=["V_2"]))
    assert codes(of(there, other)) == ["error provider-too-old"]


def test_every_provider_of_a_consumer_is_judged() -> None:
    image = elf([LIB64, "libscipy_openblas.so"], ["$ORIGIN/../scipy_openblas64/lib"])
    there = consumer(OPENBLAS64, OPENBLAS32, images={"demo/_e.so": image})

    found = of(there, provided(OPENBLAS64))

    assert [f.code for f in found] == ["provider-missing"]
    assert "libscipy_openblas.so of scipy-openblas32" in found[0].message


def test_what_was_examined_may_be_damaged() -> None:
    found = only(of(consumer(text="{}")))

    assert (found.code, found.hint) == ("record", "repair the wheel again")


@pytest.mark.parametrize(
    "image",
    [
        MAC,
        macho(["@loader_path/../prov/lib/libprov.dylib"]),
        macho(["@rpath/libprov.dylib"], ["/opt/lib", "@executable_path", RPATH]),
    ],
    ids=["run path", "straight name", "strays"],
)
def test_the_names_of_macos_lead_to_the_provider(image: Image) -> None:
    there = consumer(PROV, images={"demo/_e.so": image}, requires=["prov"])

    assert codes(of(there)) == ["error provider-missing"]
    assert of(there, provided(PROV)) == ()
    assert codes(of(there, provided(PROV, folder=OTHER))) == ["error provider-elsewhere"]


def test_every_slice_is_judged_and_a_name_that_leads_nowhere_is_not() -> None:
    fat = [MAC, dataclasses.replace(MAC, arch="x86_64")]
    there = consumer(PROV, images={"demo/_e.so": fat}, requires=["prov"])
    lost = macho(["/opt/lib/libprov.dylib"])

    assert codes(of(there, provided(PROV))) == ["error provider-other-platform"]
    assert of(consumer(PROV, images={"demo/_e.so": lost}, requires=[]), provided(PROV)) == ()


def test_on_windows_the_loader_looks_through_the_folders_without_regard_to_case() -> None:
    image = pe(["PROV.dll"], {"PROV.dll": ["prov_add"]})
    there = consumer(WINDOWS, images={"demo/_e.pyd": image}, loads=[DLL], platforms=["win_amd64"])

    assert codes(of(there)) == ["error provider-missing"]
    assert of(there, provided(WINDOWS, folder=OTHER)) == ()
    old = provided(WINDOWS, folder=OTHER, library=dll(["prov_sub"]), version="0.1")
    assert codes(of(there, old)) == ["error provider-too-old"]


def test_a_command_for_a_folder_states_the_platform_and_one_beside_the_path_the_folder() -> None:
    there = consumer(folder="/my site")
    folder = environment(there, folders=("/my site",), homes={}, is_folder=True)
    target = environment(there, folders=("/my site",))
    user = environment(there, folders=("/my site",), homes={"/my site": "--user"})

    hints = [only(judged(one)).hint for one in (folder, target, user)]

    options, wanted = '--target "/my site" --upgrade --no-deps', '"scipy-openblas64>=0.3.30"'
    for_folder = f"python -m pip install {options} --only-binary=:all: "
    for_folder += f"--platform manylinux_2_27_x86_64 --platform manylinux_2_28_x86_64 {wanted}"
    assert hints == [
        for_folder,
        f"/venv/bin/python -m pip install {options} {wanted}",
        f"/venv/bin/python -m pip install --user {wanted}",
    ]


def test_what_is_told_is_json_and_fits_a_terminal() -> None:
    where = environment(consumer(), provided(OPENBLAS64, version="0.3.29"))
    found = judged(where)
    data = telling.described(where, (), found)

    assert json.loads(json.dumps(data))["consumers"] == ["demo 1.0"]
    assert not data["ok"]
    lines = list(telling.text(data))
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "not all is well: see the errors above"
    assert list(telling.text(telling.described(where, (), ())))[-1] == "all is well"


def test_names_are_escaped() -> None:
    where = dataclasses.replace(environment(consumer(project="a\x1b[1m")), name="/\x1b[2J")

    assert "\x1b" not in "".join(telling.text(telling.described(where, (), judged(where))))
