"""Where dyld would find what binaries need: its rules one by one, and the fixtures."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from facts import elf, provider, wheel
from macho_files import FILES

from extlib_repair.binary import macho
from extlib_repair.dyld import Loading
from extlib_repair.loading import Found, Supplier
from extlib_repair.model import (
    BinaryFacts,
    Format,
    Image,
    Kind,
    Member,
    RunPath,
    RunPathKind,
    SitePath,
    frozen_mapping,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extlib_repair.model import Provider, WheelFacts

NOBODY, SYSTEM = Found(supplier=Supplier.NOBODY), Found(supplier=Supplier.SYSTEM)
LIBSYSTEM = "/usr/lib/libSystem.B.dylib"
EXTENSION, MIDDLE = "demo/_e.so", "demo/.dylibs/libmid.dylib"
NAME, SITE = "@rpath/libprov.dylib", "prov/lib/libprov.dylib"
DYLIBS, PROVIDED = "@loader_path/.dylibs", "@loader_path/../prov/lib"


def dylib(
    needed: Sequence[str] = (),
    search: Sequence[str] = (),
    name: str = "",
    *,
    kind: Kind = Kind.SHARED_LIBRARY,
    arch: str = "arm64",
    weak: Sequence[str] = (),
) -> Image:
    return Image(
        format=Format.MACHO,
        kind=kind,
        arch=arch,
        name=name,
        needed=tuple(needed),
        weak_needed=frozenset(weak),
        run_path=RunPath(entries=tuple(search), kind=RunPathKind.LC_RPATH) if search else None,
    )


def module(
    needed: Sequence[str] = (),
    search: Sequence[str] = (),
    *,
    arch: str = "arm64",
    weak: Sequence[str] = (),
) -> Image:
    return dylib(needed, search, kind=Kind.EXTENSION_MODULE, arch=arch, weak=weak)


def facts_of(of: Mapping[str, Image | Sequence[Image]], files: Sequence[str] = ()) -> WheelFacts:
    slices = {m: (i,) if isinstance(i, Image) else tuple(i) for m, i in of.items()}
    facts = wheel(
        {m: images[0] for m, images in slices.items()},
        platforms=["macosx_11_0_arm64"],
        files=files,
    )
    binaries = frozen_mapping(
        (Member(m), BinaryFacts(format=images[0].format, images=images))
        for m, images in slices.items()
    )
    return dataclasses.replace(facts, binaries=binaries)


PROV = provider("prov", {SITE: dylib([LIBSYSTEM], name=NAME)})
THERE = Found(supplier=Supplier.PROVIDER, place=SitePath(SITE), project="prov")


def loading(
    of: Mapping[str, Image | Sequence[Image]], *providers: Provider, files: Sequence[str] = ()
) -> Loading:
    return Loading(facts_of(of, files), providers or (PROV,))


def found(
    of: Mapping[str, Image | Sequence[Image]], member: str, name: str, *providers: Provider
) -> Found:
    return loading(of, *providers).found[Member(member)][name]


def here(place: str) -> Found:
    return Found(supplier=Supplier.WHEEL, place=SitePath(place))


def reason(
    of: Mapping[str, Image | Sequence[Image]],
    name: str,
    member: str = EXTENSION,
    files: Sequence[str] = (),
) -> str:
    """Return what dyld says of the one name that is missing."""
    result = loading(of, files=files)
    assert list(result.missing()) == [(member, name)]
    text = result.tried(Member(member), name)
    head = f"Library not loaded: {name}\n  Referenced from: {member}\n  Reason: "
    assert text.startswith(head)
    return text.removeprefix(head)


# --- Names that are no run path's ---------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [LIBSYSTEM, "/System/Library/Frameworks/Accelerate.framework/Versions/A/Accelerate"],
)
def test_the_system_supplies_what_lies_in_its_folders(name: str) -> None:
    assert found({EXTENSION: module([name])}, EXTENSION, name) == SYSTEM


@pytest.mark.parametrize("name", ["/usr/local/lib/libx.dylib", "/opt/lib/libx.dylib", "/usr/libx"])
def test_other_absolute_names_are_nobodys(name: str) -> None:
    assert reason({EXTENSION: module([name])}, name) == f"tried: '{name}' (no such file)"


def test_a_name_by_loader_path_is_opened_from_the_folder_of_the_image() -> None:
    of = {EXTENSION: module(["@loader_path/.dylibs/libmid.dylib"]), MIDDLE: dylib()}

    assert loading(of).found[Member(EXTENSION)] == {
        "@loader_path/.dylibs/libmid.dylib": here(MIDDLE)
    }


def test_a_provider_is_found_by_loader_path_too() -> None:
    name = f"{PROVIDED}/libprov.dylib"

    assert found({EXTENSION: module([name])}, EXTENSION, name) == THERE


def test_a_name_by_loader_path_that_leads_nowhere_is_told_with_the_place() -> None:
    name = "@loader_path/../else/libx.dylib"

    assert reason({EXTENSION: module([name])}, name) == "tried: 'else/libx.dylib' (no such file)"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("@loader_path/../../libx.dylib", "leaves site-packages"),
        ("@executable_path/../lib/libx.dylib", "depends on the place of the program"),
        ("libx.dylib", "is nothing that dyld looks up"),
    ],
)
def test_names_that_lead_to_no_place_of_site_packages(name: str, why: str) -> None:
    assert reason({EXTENSION: module([name])}, name) == f"tried: '{name}' ({why})"


# --- Run paths ----------------------------------------------------------------------------------


def test_a_run_path_leads_to_the_provider() -> None:
    of = {EXTENSION: module([NAME, LIBSYSTEM], [PROVIDED])}

    assert loading(of).found[Member(EXTENSION)] == {NAME: THERE, LIBSYSTEM: SYSTEM}
    assert list(loading(of).missing()) == []


@pytest.mark.parametrize("entry", [PROVIDED, f"{PROVIDED}/", "@loader_path/./../prov//lib"])
def test_the_spelling_of_an_entry_does_not_matter(entry: str) -> None:
    assert found({EXTENSION: module([NAME], [entry])}, EXTENSION, NAME) == THERE


@pytest.mark.parametrize("entry", ["@loader_path", "@loader_path/"])
def test_an_entry_can_be_the_folder_of_the_image_itself(entry: str) -> None:
    of = {EXTENSION: module(["@rpath/libx.dylib"], [entry]), "demo/libx.dylib": dylib()}

    assert found(of, EXTENSION, "@rpath/libx.dylib") == here("demo/libx.dylib")


@pytest.mark.parametrize(
    ("member", "entry"),
    [
        ("demo-1.0.data/platlib/demo/_e.so", PROVIDED),
        ("demo-1.0.data/purelib/_e.so", "@loader_path/prov/lib"),
        ("_e.so", "@loader_path/prov/lib"),
        ("demo/a/b/_e.so", "@loader_path/../../../prov/lib"),
    ],
)
def test_run_paths_count_from_the_installed_place(member: str, entry: str) -> None:
    assert found({member: module([NAME], [entry])}, member, NAME) == THERE


def test_without_a_run_path_there_is_nothing_to_try() -> None:
    of = {EXTENSION: module(["@rpath/libmid.dylib"]), MIDDLE: dylib()}

    assert reason(of, "@rpath/libmid.dylib") == "no LC_RPATH's found"


def test_the_first_entry_that_has_the_file_wins() -> None:
    of = {
        EXTENSION: module([NAME], ["@loader_path/empty", DYLIBS, PROVIDED]),
        "demo/.dylibs/libprov.dylib": dylib(name=NAME),
    }

    assert found(of, EXTENSION, NAME) == here("demo/.dylibs/libprov.dylib")


def test_all_that_was_tried_is_told_once_and_in_order() -> None:
    entries = [
        "/build/lib",
        "/build/lib/",
        PROVIDED,
        "@loader_path/../../x",
        "@executable_path/../lib",
        "@rpath/x",
        "lib",
    ]

    assert reason({EXTENSION: module(["@rpath/libx.dylib"], entries)}, "@rpath/libx.dylib") == (
        "tried: '/build/lib/libx.dylib' (no such file), "
        "'prov/lib/libx.dylib' (no such file), "
        "'@loader_path/../../x/libx.dylib' (leaves site-packages), "
        "'@executable_path/../lib/libx.dylib' (depends on the place of the program), "
        "'@rpath/x/libx.dylib' (is nothing that dyld looks up), "
        "'lib/libx.dylib' (is nothing that dyld looks up)"
    )


def test_run_paths_of_all_who_loaded_an_image_serve_it_the_innermost_first() -> None:
    of = {
        EXTENSION: module(["@rpath/liba.dylib"], [DYLIBS, PROVIDED]),
        "demo/.dylibs/liba.dylib": dylib(["@rpath/libb.dylib"], ["@loader_path"]),
        "demo/.dylibs/libb.dylib": dylib([NAME, "@rpath/libc.dylib"], ["@loader_path/own"]),
        "demo/.dylibs/libc.dylib": dylib(),
        "demo/.dylibs/own/libc.dylib": dylib(),
    }

    assert loading(of).found[Member("demo/.dylibs/libb.dylib")] == {
        NAME: THERE,
        "@rpath/libc.dylib": here("demo/.dylibs/own/libc.dylib"),
    }


def test_loader_path_in_an_inherited_run_path_is_the_folder_of_its_owner() -> None:
    of = {
        EXTENSION: module(["@loader_path/.dylibs/libmid.dylib"], [PROVIDED]),
        MIDDLE: dylib([NAME]),
    }

    assert found(of, MIDDLE, NAME) == THERE
    assert reason({**of, EXTENSION: dylib([], [PROVIDED])}, NAME, MIDDLE) == "no LC_RPATH's found"


def test_run_paths_are_not_handed_upwards() -> None:
    of = {
        EXTENSION: module(["@loader_path/.dylibs/libmid.dylib", "@rpath/libx.dylib"]),
        MIDDLE: dylib([], [PROVIDED, "@loader_path"]),
        "demo/.dylibs/libx.dylib": dylib(),
    }

    assert reason(of, "@rpath/libx.dylib") == "no LC_RPATH's found"


def test_swift_is_the_systems_by_its_run_path() -> None:
    swift = module(["@rpath/libswiftCore.dylib"], ["/usr/lib/swift"])

    assert found({EXTENSION: swift}, EXTENSION, "@rpath/libswiftCore.dylib") == SYSTEM


def test_the_systems_folder_as_a_run_path_supplies_nothing() -> None:
    of = {EXTENSION: module([NAME], ["/usr/lib"])}

    assert reason(of, NAME) == "tried: '/usr/lib/libprov.dylib' (no such file)"


# --- What is loaded already ---------------------------------------------------------------------

STRANGER = "demo/.dylibs/libstranger.dylib"


@pytest.mark.parametrize("name", [NAME, "/DLC/demo/.dylibs/libprov.dylib"])
def test_an_image_that_is_loaded_answers_to_its_install_name(name: str) -> None:
    of = {
        EXTENSION: module([f"{DYLIBS}/libstranger.dylib", f"{DYLIBS}/libmid.dylib"]),
        STRANGER: dylib(name=name),
        MIDDLE: dylib([name]),
    }

    assert found(of, MIDDLE, name) == here(STRANGER)


def test_it_is_taken_before_what_the_run_path_leads_to() -> None:
    of = {
        EXTENSION: module([f"{DYLIBS}/libstranger.dylib", NAME], [PROVIDED]),
        STRANGER: dylib(name=NAME),
    }

    assert found(of, EXTENSION, NAME) == here(STRANGER)


def test_a_name_by_loader_path_is_not_taken_from_what_is_loaded() -> None:
    name = "@loader_path/libprov.dylib"
    of = {
        EXTENSION: module([f"{DYLIBS}/libstranger.dylib", f"{DYLIBS}/libmid.dylib"]),
        STRANGER: dylib(name=name),
        MIDDLE: dylib([name]),
    }

    assert found(of, MIDDLE, name) == NOBODY


def test_the_first_image_of_two_with_one_install_name_is_taken() -> None:
    of = {
        EXTENSION: module(
            [f"{DYLIBS}/libone.dylib", f"{DYLIBS}/libtwo.dylib", "@rpath/libsame.dylib"]
        ),
        "demo/.dylibs/libone.dylib": dylib(name="@rpath/libsame.dylib"),
        "demo/.dylibs/libtwo.dylib": dylib(name="@rpath/libsame.dylib"),
    }

    assert found(of, EXTENSION, "@rpath/libsame.dylib") == here("demo/.dylibs/libone.dylib")


def test_what_an_image_needs_is_loaded_before_what_those_need() -> None:
    of = {
        EXTENSION: module([f"{DYLIBS}/libmid.dylib", f"{DYLIBS}/libstranger.dylib"]),
        MIDDLE: dylib([NAME]),
        STRANGER: dylib(name=NAME),
    }

    assert found(of, MIDDLE, NAME) == here(STRANGER)


def test_a_chain_is_that_of_the_image_that_is_gone_through_first() -> None:
    of = {
        EXTENSION: module([f"{DYLIBS}/libmid.dylib", f"{DYLIBS}/libstranger.dylib"]),
        MIDDLE: dylib(["@loader_path/libstranger.dylib"], ["@loader_path/../../prov/lib"]),
        STRANGER: dylib([NAME]),
    }

    assert found(of, STRANGER, NAME) == THERE


def test_an_image_may_name_itself() -> None:
    of = {MIDDLE: dylib(["@rpath/libmid.dylib"], name="@rpath/libmid.dylib")}

    assert found(of, MIDDLE, "@rpath/libmid.dylib") == here(MIDDLE)


def test_a_cycle_ends() -> None:
    of = {
        "demo/liba.dylib": dylib(["@loader_path/libb.dylib"]),
        "demo/libb.dylib": dylib(["@loader_path/liba.dylib"]),
    }

    assert list(loading(of).missing()) == []


# --- Providers ----------------------------------------------------------------------------------

BOTH = provider(
    "both",
    {
        "both/liba.dylib": dylib(
            ["@loader_path/libb.dylib", "@loader_path/.dylibs/libown.dylib", LIBSYSTEM],
            name="@rpath/liba.dylib",
        ),
        "both/libb.dylib": dylib(name="@rpath/libb.dylib"),
    },
)


def test_a_provider_reaches_its_own_libraries_and_they_are_loaded_then() -> None:
    of = {
        EXTENSION: module(["@loader_path/../both/liba.dylib", f"{DYLIBS}/libone.dylib"]),
        "demo/.dylibs/libone.dylib": dylib(["@loader_path/libmid.dylib"]),
        MIDDLE: dylib(["@rpath/libb.dylib"]),
    }

    assert found(of, MIDDLE, "@rpath/libb.dylib", BOTH) == Found(
        supplier=Supplier.PROVIDER, place=SitePath("both/libb.dylib"), project="both"
    )


def test_what_a_provider_brings_in_is_not_there_for_others_before_it_is_loaded() -> None:
    of = {
        EXTENSION: module(["@loader_path/../both/liba.dylib", "@rpath/libb.dylib"]),
    }

    assert found(of, EXTENSION, "@rpath/libb.dylib", BOTH) == NOBODY


def test_a_provider_at_the_root_of_site_packages_is_found() -> None:
    root = provider("root", {"libroot.dylib": dylib(name="@rpath/libroot.dylib")})
    of = {"_e.so": module(["@rpath/libroot.dylib"], ["@loader_path"])}

    assert found(of, "_e.so", "@rpath/libroot.dylib", root) == Found(
        supplier=Supplier.PROVIDER, place=SitePath("libroot.dylib"), project="root"
    )


# --- Weak needs ---------------------------------------------------------------------------------


def test_a_weak_need_may_be_absent() -> None:
    of = {EXTENSION: module([NAME, LIBSYSTEM], ["/build"], weak=[NAME])}

    result = loading(of)

    assert list(result.missing()) == []
    assert result.found[Member(EXTENSION)][NAME] == NOBODY
    assert "'/build/libprov.dylib' (no such file)" in result.tried(Member(EXTENSION), NAME)


def test_a_weak_need_that_is_there_is_found() -> None:
    assert found({EXTENSION: module([NAME], [PROVIDED], weak=[NAME])}, EXTENSION, NAME) == THERE


def test_what_is_weak_in_one_slice_is_missing_when_another_must_have_it() -> None:
    slices = [
        module([NAME], ["/weak"], arch="arm64", weak=[NAME]),
        module([NAME], ["/must"], arch="x86_64"),
    ]

    assert reason({EXTENSION: slices}, NAME) == "tried: '/must/libprov.dylib' (no such file)"


# --- Architectures ------------------------------------------------------------------------------


def test_every_slice_needs_a_slice_of_its_own_architecture() -> None:
    of = {EXTENSION: [module([NAME], [PROVIDED], arch=arch) for arch in ("x86_64", "arm64")]}

    assert reason(of, NAME) == (
        "tried: 'prov/lib/libprov.dylib' (mach-o file, but is an incompatible architecture "
        "(have 'arm64', need 'x86_64'))"
    )


def test_slices_may_need_different_libraries() -> None:
    of: dict[str, Image | Sequence[Image]] = {
        EXTENSION: [
            module([f"{DYLIBS}/libmid.dylib"], arch="x86_64"),
            module([NAME], [PROVIDED], arch="arm64"),
        ],
        MIDDLE: dylib(arch="x86_64"),
    }

    result = loading(of)

    assert list(result.missing()) == []
    assert result.found[Member(EXTENSION)] == {
        NAME: THERE,
        f"{DYLIBS}/libmid.dylib": here(MIDDLE),
    }


def test_a_file_of_another_architecture_is_passed_by() -> None:
    of: dict[str, Image | Sequence[Image]] = {
        EXTENSION: module(["@rpath/libx.dylib"], ["@loader_path/a", "@loader_path/b"]),
        "demo/a/libx.dylib": [dylib(arch="x86_64"), dylib(arch="i386")],
        "demo/b/libx.dylib": [dylib(arch="x86_64"), dylib(arch="arm64")],
    }

    assert found(of, EXTENSION, "@rpath/libx.dylib") == here("demo/b/libx.dylib")
    del of["demo/b/libx.dylib"]
    assert reason(of, "@rpath/libx.dylib") == (
        "tried: 'demo/a/libx.dylib' (fat file, but missing compatible architecture "
        "(have 'x86_64,i386', need 'arm64')), 'demo/b/libx.dylib' (no such file)"
    )


@pytest.mark.parametrize(("special", "plain"), [("arm64e", "arm64"), ("x86_64h", "x86_64")])
def test_a_special_architecture_takes_the_plain_one_and_not_the_other_way(
    special: str, plain: str
) -> None:
    name = f"{DYLIBS}/libmid.dylib"
    special_needs = {EXTENSION: module([name], arch=special), MIDDLE: dylib(arch=plain)}
    plain_needs = {EXTENSION: module([name], arch=plain), MIDDLE: dylib(arch=special)}

    assert found(special_needs, EXTENSION, name) == here(MIDDLE)
    assert f"(have '{special}', need '{plain}')" in reason(plain_needs, name)
    special_needs[MIDDLE] = dylib(arch="ppc")
    assert f"(have 'ppc', need '{special}' or '{plain}')" in reason(special_needs, name)


# --- Files that are no libraries ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (None, "not a mach-o file"),
        (elf(kind=Kind.SHARED_LIBRARY), "not a mach-o file"),
        (dylib(kind=Kind.OTHER), "unloadable mach-o file type"),
    ],
)
def test_what_cannot_be_loaded_is_passed_by_and_told(thing: Image | None, said: str) -> None:
    name = "@rpath/libx.dylib"
    place = "demo/libx.dylib"
    of: dict[str, Image | Sequence[Image]] = {EXTENSION: module([name], ["@loader_path", DYLIBS])}
    files = [place] if thing is None else []
    if thing is not None:
        of[place] = thing

    assert reason(of, name, files=files) == (
        f"tried: '{place}' ({said}), 'demo/.dylibs/libx.dylib' (no such file)"
    )
    of["demo/.dylibs/libx.dylib"] = dylib()
    result = loading(of, files=files)
    assert result.found[Member(EXTENSION)] == {name: here("demo/.dylibs/libx.dylib")}
    assert thing is None or result.found[Member(place)] == {}


# --- Programs and data --------------------------------------------------------------------------

SCRIPT = "demo-1.0.data/scripts/prog"


def test_the_place_of_a_program_is_known_to_all_that_it_loads() -> None:
    of = {
        SCRIPT: dylib(["@executable_path/../lib/libx.dylib"], kind=Kind.EXECUTABLE),
        "demo-1.0.data/data/lib/libx.dylib": dylib(
            ["@rpath/liby.dylib"], ["@executable_path/../lib/deep"]
        ),
        "demo-1.0.data/data/lib/deep/liby.dylib": dylib(),
    }

    result = loading(of)

    assert list(result.missing()) == []
    assert result.found[Member("demo-1.0.data/data/lib/libx.dylib")] == {
        "@rpath/liby.dylib": here("{prefix}/lib/deep/liby.dylib")
    }


@pytest.mark.parametrize("member", [SCRIPT, "demo-1.0.data/data/bin/prog"])
def test_no_path_leads_from_the_prefix_to_site_packages(member: str) -> None:
    of = {member: dylib([NAME], ["@loader_path/../../prov/lib"], kind=Kind.EXECUTABLE)}

    assert reason(of, NAME, member) == (
        "tried: '@loader_path/../../prov/lib/libprov.dylib' (leaves site-packages)"
    )


def test_an_image_without_a_place_finds_the_systems_libraries_only() -> None:
    member = "demo-1.0.data/headers/libx.dylib"
    of = {member: dylib([NAME, LIBSYSTEM], ["@loader_path", "/build"])}

    assert loading(of).found[Member(member)][LIBSYSTEM] == SYSTEM
    assert reason(of, NAME, member) == (
        "tried: '@loader_path/libprov.dylib' (leaves site-packages), "
        "'/build/libprov.dylib' (no such file)"
    )


# --- What is loaded for itself ------------------------------------------------------------------


def test_libraries_that_nobody_needs_are_loaded_for_themselves() -> None:
    of = {"demo/plugin.dylib": dylib([NAME, "@rpath/libgone.dylib"], [PROVIDED])}

    assert loading(of).found[Member("demo/plugin.dylib")] == {
        NAME: THERE,
        "@rpath/libgone.dylib": NOBODY,
    }


def test_a_library_that_another_one_loads_is_not_loaded_for_itself() -> None:
    of = {
        "demo/a/libbase.dylib": dylib(["@rpath/libcore.dylib"], name="@rpath/libbase.dylib"),
        "demo/a/libcore.dylib": dylib(name="@rpath/libcore.dylib"),
        "demo/plugin.dylib": dylib(["@rpath/libbase.dylib"], ["@loader_path/a"]),
    }

    assert list(loading(of).missing()) == []


def test_an_image_must_load_in_every_way_that_it_is_reached() -> None:
    name = f"{DYLIBS}/libmid.dylib"
    of = {
        "demo/_bad.so": module([name]),
        "demo/_good.so": module([name], [PROVIDED]),
        MIDDLE: dylib([NAME]),
    }

    assert list(loading(of).missing()) == [(MIDDLE, NAME)]
    reordered = {m.replace("_bad", "_zzz"): image for m, image in of.items()}
    assert list(loading(reordered).missing()) == [(MIDDLE, NAME)]


def test_what_is_missing_comes_in_the_order_of_members_and_needs() -> None:
    of = {
        "demo/_b.so": module(["@rpath/z.dylib", "@rpath/a.dylib"]),
        "demo/_a.so": module(["@rpath/m.dylib", LIBSYSTEM]),
    }

    assert list(loading(of).missing()) == [
        ("demo/_a.so", "@rpath/m.dylib"),
        ("demo/_b.so", "@rpath/z.dylib"),
        ("demo/_b.so", "@rpath/a.dylib"),
    ]


# --- The fixtures -------------------------------------------------------------------------------


def of_fixture(name: str, arch: str = "") -> Sequence[Image]:
    return [i for i in macho.read(FILES[name]).images if arch in {"", i.arch}]


def prov(arch: str) -> Provider:
    (image,) = of_fixture("libprov.dylib", arch)
    return provider("prov", {SITE: image})


def test_a_fixture_that_is_ready_finds_the_provider() -> None:
    of = {"demo/ready.so": of_fixture("ready.so")}

    assert list(loading(of, prov("arm64")).missing()) == []


def test_the_slices_of_a_fixture_have_needs_of_their_own() -> None:
    of = {
        "demo/fat.so": of_fixture("fat.so"),
        "demo/libprov.dylib": of_fixture("libprov.dylib", "x86_64"),
    }

    result = loading(of)

    assert list(result.missing()) == [
        ("demo/fat.so", NAME),
        ("demo/fat.so", "@rpath/libpriv.dylib"),
    ]
    assert result.tried(Member("demo/fat.so"), NAME).endswith(
        "Reason: tried: '/build/deps/openblas-0.3.30/lib/libprov.dylib' (no such file)"
    )


def test_a_fixture_may_lack_what_it_needs_weakly() -> None:
    of = {
        "demo/weak.so": of_fixture("weak.so"),
        "demo/libreexporting.dylib": of_fixture("libreexporting.dylib"),
    }

    assert list(loading(of, prov("arm64")).missing()) == [
        ("demo/libreexporting.dylib", NAME),
        ("demo/weak.so", NAME),
        ("demo/weak.so", "@rpath/libreexporting.dylib"),
    ]
