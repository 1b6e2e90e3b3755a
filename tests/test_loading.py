"""Where a loader would find what binaries need: the measured cases, and the corners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from facts import LIB64, OPENBLAS64, SITE64, elf, library, provider, wheel

from extlib_repair import shipped
from extlib_repair.loading import Found, Loading, Supplier
from extlib_repair.model import Kind, Libc, Member, RunPathKind, SitePath

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import Image, Provider

RPATH, RUNPATH = RunPathKind.RPATH, RunPathKind.RUNPATH
SYSTEM = shipped.names().system_libraries
NOBODY, THE_SYSTEM = Found(supplier=Supplier.NOBODY), Found(supplier=Supplier.SYSTEM)
EXTENSION, MIDDLE = "demo/_e.so", "demo.libs/libmid.so.2"
LIBS, PROVIDED = "$ORIGIN/../demo.libs", "$ORIGIN/../scipy_openblas64/lib"


def here(place: str) -> Found:
    return Found(supplier=Supplier.WHEEL, place=SitePath(place))


def there(place: str, project: str = "scipy-openblas64") -> Found:
    return Found(supplier=Supplier.PROVIDER, place=SitePath(place), project=project)


def loading(
    of: dict[str, Image],
    *providers: Provider,
    libc: Libc = Libc.GLIBC,
    files: Sequence[str] = (),
) -> Loading:
    return Loading(wheel(of, files=files), providers or (OPENBLAS64,), SYSTEM, libc)


def found(
    of: dict[str, Image], member: str, name: str, *providers: Provider, libc: Libc = Libc.GLIBC
) -> Found:
    return loading(of, *providers, libc=libc).found[Member(member)][name]


def shared(
    needed: Sequence[str] = (),
    search: Sequence[str] = (),
    style: RunPathKind = RPATH,
    name: str = "",
    arch: str = "x86_64",
) -> Image:
    return elf(needed, search, kind=Kind.SHARED_LIBRARY, style=style, name=name, arch=arch)


CHAINS = {
    "RPATH is inherited": (([LIBS, PROVIDED], RPATH), ([], RPATH), True, True),
    "RUNPATH is not": (([LIBS, PROVIDED], RUNPATH), ([], RPATH), False, True),
    "own RUNPATH switches inherited RPATH off": (
        ([LIBS, PROVIDED], RPATH),
        (["$ORIGIN"], RUNPATH),
        False,
        True,
    ),
    "own RPATH does not": (([LIBS, PROVIDED], RPATH), (["$ORIGIN"], RPATH), True, True),
    "RUNPATH at each link": (([LIBS], RUNPATH), ([PROVIDED], RUNPATH), True, True),
    "no path to the provider": (([LIBS], RPATH), (["$ORIGIN"], RPATH), False, False),
}
"""Extension -> vendored library -> provider: run paths of the two, found by glibc, by musl."""


@pytest.mark.parametrize("libc", Libc)
@pytest.mark.parametrize("case", CHAINS)
def test_the_chain_loads_as_it_was_measured(case: str, libc: Libc) -> None:
    (first, style), (second, own_style), on_glibc, on_musl = CHAINS[case]
    of = {
        EXTENSION: elf(["libmid.so.2"], first, style=style),
        MIDDLE: shared([LIB64], second, own_style, "libmid.so.2"),
    }

    loads = on_glibc if libc is Libc.GLIBC else on_musl

    assert found(of, EXTENSION, "libmid.so.2", libc=libc) == here(MIDDLE)
    assert found(of, MIDDLE, LIB64, libc=libc) == (there(SITE64) if loads else NOBODY)


def test_without_a_run_path_nothing_but_the_system_is_found() -> None:
    of = {EXTENSION: elf([LIB64, "libmid.so.2", "libc.so.6"]), MIDDLE: shared()}

    assert loading(of).found[Member(EXTENSION)] == {
        LIB64: NOBODY,
        "libmid.so.2": NOBODY,
        "libc.so.6": THE_SYSTEM,
    }


@pytest.mark.parametrize("style", [RPATH, RUNPATH])
def test_every_run_path_serves_the_image_that_has_it(style: RunPathKind) -> None:
    of = {EXTENSION: elf([LIB64], [PROVIDED], style=style)}

    assert found(of, EXTENSION, LIB64) == there(SITE64)


def test_the_first_folder_that_has_the_file_wins() -> None:
    of = {EXTENSION: elf([LIB64], [LIBS, PROVIDED]), f"demo.libs/{LIB64}": shared()}

    assert found(of, EXTENSION, LIB64) == here(f"demo.libs/{LIB64}")


def test_the_images_own_run_path_comes_before_an_inherited_one() -> None:
    of = {
        EXTENSION: elf(["libmid.so.2"], [LIBS, "$ORIGIN"]),
        MIDDLE: shared(["libx.so"], ["$ORIGIN/own"], name="libmid.so.2"),
        "demo/libx.so": shared(),
        "demo.libs/own/libx.so": shared(),
    }

    assert found(of, MIDDLE, "libx.so") == here("demo.libs/own/libx.so")


def test_run_paths_are_inherited_from_all_who_loaded_and_past_those_without() -> None:
    of = {
        EXTENSION: elf(["liba.so"], [LIBS, PROVIDED]),
        "demo.libs/liba.so": shared(["libb.so"]),
        "demo.libs/libb.so": shared(["libc0.so"]),
        "demo.libs/libc0.so": shared([LIB64]),
    }

    assert found(of, "demo.libs/libc0.so", LIB64) == there(SITE64)


def test_a_run_path_is_inherited_from_the_first_who_needed_the_library() -> None:
    of = {
        EXTENSION: elf(["liba.so", "libb.so"], [LIBS], style=RUNPATH),
        "demo.libs/liba.so": shared(["libmid.so.2"], ["$ORIGIN"], RUNPATH),
        "demo.libs/libb.so": shared(["libmid.so.2"], ["$ORIGIN", PROVIDED]),
        MIDDLE: shared([LIB64], name="libmid.so.2"),
    }

    assert found(of, MIDDLE, LIB64) == NOBODY


LATE = {
    EXTENSION: elf(["liba.so", "libb.so"], [LIBS], style=RUNPATH),
    "demo.libs/liba.so": shared([], name="liba.so"),
    "demo.libs/libb.so": shared(["liba.so"], name="libb.so"),
}


@pytest.mark.parametrize("libc", Libc)
def test_a_library_that_is_loaded_already_satisfies_its_name(libc: Libc) -> None:
    assert found(LATE, "demo.libs/libb.so", "liba.so", libc=libc) == here("demo.libs/liba.so")


def test_a_library_answers_to_its_soname_for_glibc_and_not_for_musl() -> None:
    of = {
        EXTENSION: elf(["libfile.so", "libb.so"], [LIBS], style=RUNPATH),
        "demo.libs/libfile.so": shared(name="libname.so.1"),
        "demo.libs/libb.so": shared(["libname.so.1"]),
    }

    on_glibc = found(of, "demo.libs/libb.so", "libname.so.1")
    on_musl = found(of, "demo.libs/libb.so", "libname.so.1", libc=Libc.MUSL)

    assert on_glibc == here("demo.libs/libfile.so")
    assert on_musl == NOBODY


def test_a_providers_library_that_is_loaded_already_satisfies_its_name() -> None:
    of = {
        EXTENSION: elf([LIB64, "libmid.so.2"], [LIBS, PROVIDED], style=RUNPATH),
        MIDDLE: shared([LIB64]),
    }

    assert found(of, MIDDLE, LIB64) == there(SITE64)


def test_a_provider_reaches_its_own_libraries_and_they_are_loaded_then() -> None:
    both = provider(
        "both",
        {"both/liba.so": library(needed=["libb.so", "libc.so.6"]), "both/libb.so": library()},
    )
    of = {
        EXTENSION: elf(["liba.so", "libmid.so.2"], [LIBS, "$ORIGIN/../both"], style=RUNPATH),
        MIDDLE: shared(["libb.so"]),
    }

    assert found(of, MIDDLE, "libb.so", both) == there("both/libb.so", "both")


@pytest.mark.parametrize("libc", Libc)
def test_an_image_that_names_itself_finds_itself(libc: Libc) -> None:
    of = {
        EXTENSION: elf(["libself.so"], [LIBS]),
        "demo.libs/libself.so": shared(["libself.so"], name="libself.so"),
        "demo/_own.so": elf(["_own.so"], name="_own.so"),
    }

    assert found(of, "demo.libs/libself.so", "libself.so", libc=libc) == here(
        "demo.libs/libself.so"
    )
    assert found(of, "demo/_own.so", "_own.so") == here("demo/_own.so")


def test_a_cycle_ends() -> None:
    of = {
        "demo.libs/liba.so": shared(["libb.so"], ["$ORIGIN"], name="liba.so"),
        "demo.libs/libb.so": shared(["liba.so"], name="libb.so"),
    }

    result = loading(of)

    assert list(result.missing()) == []
    assert result.found[Member("demo.libs/libb.so")] == {"liba.so": here("demo.libs/liba.so")}


@pytest.mark.parametrize(
    ("member", "entry"),
    [
        ("demo-1.0.data/platlib/demo/_e.so", LIBS),
        ("demo-1.0.data/purelib/_e.so", "$ORIGIN/demo.libs"),
        ("_e.so", "${ORIGIN}/demo.libs/"),
        ("demo/a/b/_e.so", "$ORIGIN/../.././../demo.libs"),
    ],
)
def test_run_paths_count_from_the_installed_place(member: str, entry: str) -> None:
    of = {member: elf(["libmid.so.2"], [entry]), MIDDLE: shared()}

    assert found(of, member, "libmid.so.2") == here(MIDDLE)


def test_the_depth_in_the_archive_does_not_count() -> None:
    member = "demo-1.0.data/platlib/demo/_e.so"
    of = {member: elf(["libmid.so.2"], ["$ORIGIN/../../../demo.libs"]), MIDDLE: shared()}

    assert found(of, member, "libmid.so.2") == NOBODY


def test_a_library_below_data_platlib_is_found_where_it_is_installed() -> None:
    of = {
        EXTENSION: elf(["libmid.so.2"], [LIBS]),
        "demo-1.0.data/platlib/demo.libs/libmid.so.2": shared(),
    }

    assert found(of, EXTENSION, "libmid.so.2") == here(MIDDLE)


@pytest.mark.parametrize(
    "entry",
    ["/build/lib", "$ORIGIN/../../demo.libs", "", ".", "demo.libs", "$LIB", "$ORIGIN/../elsewhere"],
)
def test_entries_that_leave_site_packages_or_miss_find_nothing(entry: str) -> None:
    of = {EXTENSION: elf(["libmid.so.2"], [entry]), MIDDLE: shared()}

    assert found(of, EXTENSION, "libmid.so.2") == NOBODY


@pytest.mark.parametrize(
    "member", ["demo-1.0.data/scripts/prog", "demo-1.0.data/data/bin/prog", "demo-1.0.data/x/prog"]
)
def test_no_run_path_leads_from_a_script_to_site_packages(member: str) -> None:
    entries = [PROVIDED, "$ORIGIN/../../scipy_openblas64/lib", "$ORIGIN/../lib/site-packages"]
    of = {member: elf([LIB64, "libc.so.6"], entries, kind=Kind.EXECUTABLE)}

    assert loading(of).found[Member(member)] == {LIB64: NOBODY, "libc.so.6": THE_SYSTEM}


def test_programs_and_data_lie_in_a_fixed_way_to_each_other() -> None:
    of = {
        "demo-1.0.data/scripts/prog": elf(["libx.so"], ["$ORIGIN/../lib"], kind=Kind.EXECUTABLE),
        "demo-1.0.data/data/lib/libx.so": shared(["liby.so"], ["$ORIGIN"]),
        "demo-1.0.data/data/lib/liby.so": shared(),
    }

    result = loading(of).found

    assert result[Member("demo-1.0.data/scripts/prog")] == {"libx.so": here("{prefix}/lib/libx.so")}
    assert result[Member("demo-1.0.data/data/lib/libx.so")] == {
        "liby.so": here("{prefix}/lib/liby.so")
    }


def test_an_image_without_a_place_may_name_itself() -> None:
    member = "demo-1.0.data/headers/libx.so"

    assert found({member: shared(["libx.so"], name="libx.so")}, member, "libx.so") == Found(
        supplier=Supplier.WHEEL
    )


@pytest.mark.parametrize(
    "name",
    [
        "libc.so.6",
        "libm.so.6",
        "libstdc++.so.6",
        "libgcc_s.so.1",
        "libz.so.1",
        "libGL.so.1",
        "ld-linux-x86-64.so.2",
        "ld-linux-aarch64.so.1",
        "ld64.so.2",
        "ld64.so.1",
        "ld-linux.so.2",
        "ld-linux-armhf.so.3",
        "ld-linux-riscv64-lp64d.so.1",
        "libc.musl-x86_64.so.1",
        "ld-musl-aarch64.so.1",
    ],
)
def test_the_system_supplies(name: str) -> None:
    assert found({EXTENSION: elf([name])}, EXTENSION, name) == THE_SYSTEM


@pytest.mark.parametrize(
    "name",
    ["libopenblas.so.0", "libgfortran.so.5", "ld-linux", "ldx.so.2", "libc.so.7", "libpng16.so.16"],
)
def test_the_system_does_not_supply(name: str) -> None:
    assert found({EXTENSION: elf([name])}, EXTENSION, name) == NOBODY


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("libc.musl-x86_64.so.1", THE_SYSTEM),
        ("libc.so", THE_SYSTEM),
        ("libz.so.1", THE_SYSTEM),
        ("libm.so.6", THE_SYSTEM),
        ("libstdc++.so.6", NOBODY),
        ("libgcc_s.so.1", NOBODY),
        ("libX11.so.6", NOBODY),
    ],
)
def test_a_system_with_musl_has_little_more_than_musl(name: str, result: Found) -> None:
    assert found({EXTENSION: elf([name])}, EXTENSION, name, libc=Libc.MUSL) == result


def test_musl_takes_no_part_of_the_c_library_from_a_wheel() -> None:
    of = {EXTENSION: elf(["libm.so.6"], [LIBS]), "demo.libs/libm.so.6": shared()}

    assert found(of, EXTENSION, "libm.so.6", libc=Libc.MUSL) == THE_SYSTEM
    assert found(of, EXTENSION, "libm.so.6") == here("demo.libs/libm.so.6")


def test_a_file_of_another_architecture_is_passed_by_with_glibc_alone() -> None:
    of = {
        EXTENSION: elf(["libx.so"], ["$ORIGIN/32", "$ORIGIN/64"]),
        "demo/32/libx.so": shared(arch="i686"),
        "demo/64/libx.so": shared(),
    }

    assert found(of, EXTENSION, "libx.so") == here("demo/64/libx.so")
    assert found(of, EXTENSION, "libx.so", libc=Libc.MUSL) == NOBODY


@pytest.mark.parametrize("libc", Libc)
@pytest.mark.parametrize("is_text", [False, True])
def test_what_cannot_be_loaded_is_in_the_way(libc: Libc, is_text: bool) -> None:  # noqa: FBT001
    of = {EXTENSION: elf(["libx.so"], ["$ORIGIN", LIBS]), "demo.libs/libx.so": shared()}
    if not is_text:
        of["demo/libx.so"] = elf(kind=Kind.OTHER)

    result = loading(of, libc=libc, files=["demo/libx.so"] if is_text else [])

    assert result.found[Member(EXTENSION)] == {"libx.so": NOBODY}


def test_debug_files_are_not_loaded() -> None:
    result = loading({"demo/_e.debug": elf(["libgone.so"], kind=Kind.OTHER)})

    assert result.found == {Member("demo/_e.debug"): {}}
    assert list(result.missing()) == []


def test_libraries_that_nobody_needs_are_loaded_for_themselves() -> None:
    of = {"demo/plugin.so": shared([LIB64, "libgone.so"], [PROVIDED])}

    assert loading(of).found[Member("demo/plugin.so")] == {
        LIB64: there(SITE64),
        "libgone.so": NOBODY,
    }


def test_a_library_that_another_one_loads_is_not_loaded_for_itself() -> None:
    of = {
        "demo/a/libbase.so": shared(["libcore.so"]),
        "demo/a/libcore.so": shared(["libbase.so"]),
        "demo/plugin.so": shared(["libbase.so"], ["$ORIGIN/a"]),
    }

    assert list(loading(of).missing()) == []


def test_an_image_must_load_in_every_way_that_it_is_reached() -> None:
    of = {
        "demo/_bad.so": elf(["libmid.so.2"], [LIBS]),
        "demo/_good.so": elf(["libmid.so.2"], [LIBS, PROVIDED]),
        "demo/_ugly.so": elf(["libmid.so.2"], [LIBS, PROVIDED]),
        MIDDLE: shared([LIB64]),
    }

    assert list(loading(of).missing()) == [(MIDDLE, LIB64)]
    reordered = {m.replace("_bad", "_zzz"): image for m, image in of.items()}
    assert list(loading(reordered).missing()) == [(MIDDLE, LIB64)]


def test_the_one_that_cannot_find_a_library_is_named_and_no_other() -> None:
    of = {
        EXTENSION: elf([LIB64, "libmid.so.2"], [LIBS]),
        MIDDLE: shared([LIB64], [PROVIDED]),
    }

    assert list(loading(of).missing()) == [(EXTENSION, LIB64)]


def test_two_names_of_one_file_load_it_once() -> None:
    of = {
        EXTENSION: elf(["libx.so", "libx.so.1"], [LIBS]),
        "demo.libs/libx.so": shared(["libgone.so"], name="libx.so.1"),
    }

    result = loading(of)

    assert result.found[Member(EXTENSION)]["libx.so.1"] == here("demo.libs/libx.so")
    assert list(result.missing()) == [("demo.libs/libx.so", "libgone.so")]


def test_a_provider_at_the_root_of_site_packages_is_found() -> None:
    root = provider("root", {"libroot.so": library()})

    assert found({"_e.so": elf(["libroot.so"], ["$ORIGIN"])}, "_e.so", "libroot.so", root) == there(
        "libroot.so", "root"
    )


def test_what_is_missing_comes_in_the_order_of_members_and_needs() -> None:
    of = {"demo/_b.so": elf(["z.so", "a.so"]), "demo/_a.so": elf(["m.so", "libc.so.6"])}

    assert list(loading(of).missing()) == [
        ("demo/_a.so", "m.so"),
        ("demo/_b.so", "z.so"),
        ("demo/_b.so", "a.so"),
    ]
