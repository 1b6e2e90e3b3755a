"""What is to be done about every Mach-O file of a consumer."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest
from facts import MARKED, PROV, codes, dylib, macho, macos_provider, macos_wheel, planned, policy
from hypothesis import given
from hypothesis import strategies as st
from macho_files import FILES, LOADED

from extlib_repair import binary, dylibs, examined, planning
from extlib_repair.binary import macho_edit, macho_run_path
from extlib_repair.layout import basename
from extlib_repair.model import (
    AddNeeded,
    EditBinary,
    Finding,
    Image,
    Member,
    Plan,
    RenameNeeded,
    RunPath,
    RunPathKind,
    SetRunPath,
    Signature,
    WheelFacts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import BinaryEdit, Provider

MODULE = "demo/_e.so"
SYSTEM = "/usr/lib/libSystem.B.dylib"
BUILD = "/build/lib/libprov.dylib"
NAME = "@rpath/libprov.dylib"
STRAIGHT = "@loader_path/../prov/lib/libprov.dylib"
ENTRY = "@loader_path/../prov/lib"
RENAME = RenameNeeded(old=BUILD, new=NAME)
FAT = macos_provider(
    "prov",
    dylib(["prov_add"], name=NAME, arch="x86_64"),
    dylib(["prov_add", "prov_sub"], name=NAME),
    platforms=["macosx_11_0_universal2"],
)
USER = macho([BUILD, SYSTEM], imports={BUILD: ["prov_add"]})


def run_path(*entries: str) -> SetRunPath:
    made = RunPath(entries=entries, kind=RunPathKind.LC_RPATH)
    return SetRunPath(run_path=made if entries else None)


def edited(plan: Plan) -> dict[str, tuple[BinaryEdit, ...]]:
    return {edit.member: edit.edits for edit in plan.edits if isinstance(edit, EditBinary)}


def plan_of(
    image: Image | Sequence[Image],
    *providers: Provider,
    member: str = MODULE,
    files: Sequence[str] = (),
    platforms: Sequence[str] = ("macosx_11_0_arm64",),
    sanitize: bool = False,
    add_needed: bool = False,
    resign: bool = False,
) -> Plan:
    return planned(
        macos_wheel({member: image}, files=files, platforms=platforms),
        *(providers or (PROV,)),
        sanitize=sanitize,
        add_needed=add_needed,
        resign=resign,
    )


def found(plan: Plan, code: str) -> Finding:
    (one,) = (finding for finding in plan.findings if finding.code == code)
    return one


def again(facts: WheelFacts, *providers: Provider) -> tuple[object, ...]:
    """Return the edits of a second plan, for what the first one makes."""
    plan = planned(facts, *providers)
    assert plan.errors == ()
    return planned(planning.expected(facts, plan), *providers).edits


@pytest.mark.parametrize(
    "needed",
    [BUILD, "@loader_path/../../libprov.dylib", "libprov.dylib", STRAIGHT, "/DLC/libprov.dylib"],
)
def test_the_needed_name_becomes_the_providers_with_a_run_path(needed: str) -> None:
    plan = plan_of(macho([needed, SYSTEM], imports={needed: ["prov_add"]}))

    assert edited(plan) == {MODULE: (RenameNeeded(old=needed, new=NAME), run_path(ENTRY))}
    assert codes(plan.findings) == []


def test_a_name_that_is_right_already_gets_the_run_path_alone() -> None:
    assert edited(plan_of(macho([NAME]))) == {MODULE: (run_path(ENTRY),)}


@pytest.mark.parametrize(
    ("member", "entry"),
    [
        ("_top.so", "@loader_path/prov/lib"),
        ("demo/_e.so", "@loader_path/../prov/lib"),
        ("demo/a/b/c/_e.so", "@loader_path/../../../../prov/lib"),
        ("demo-1.0.data/platlib/demo/_e.so", "@loader_path/../prov/lib"),
        ("demo-1.0.data/purelib/demo/sub/_e.so", "@loader_path/../../prov/lib"),
    ],
)
def test_the_run_path_leads_from_the_installed_place(member: str, entry: str) -> None:
    assert edited(plan_of(USER, member=member)) == {member: (RENAME, run_path(entry))}


@pytest.mark.parametrize("entry", [ENTRY, "@loader_path/.././prov/lib/"])
def test_what_is_right_already_is_left_alone(entry: str) -> None:
    plan = plan_of(macho([NAME], [entry], {NAME: ["prov_add"]}))

    assert edited(plan) == {}
    assert codes(plan.findings) == []


@pytest.mark.parametrize(
    "image",
    [
        USER,
        macho([BUILD, SYSTEM], ["/build/lib", "@loader_path/.dylibs"]),
        macho([NAME]),
        (macho([BUILD], arch="x86_64"), macho([SYSTEM], ["/build"])),
    ],
)
def test_planning_again_changes_nothing_more(image: Image | Sequence[Image]) -> None:
    assert again(macos_wheel({MODULE: image}, platforms=["macosx_11_0_universal2"]), FAT) == ()


@pytest.mark.parametrize(
    ("needed", "search"),
    [
        ("@loader_path/.dylibs/libprov.dylib", ()),
        (NAME, ("/build/lib", "@loader_path/.dylibs/")),
    ],
)
def test_a_copy_in_the_wheel_stays_the_wheels(needed: str, search: tuple[str, ...]) -> None:
    plan = plan_of(macho([needed], search), files=["demo/.dylibs/libprov.dylib"])

    assert edited(plan) == {}
    assert "note nothing-provided" in codes(plan.findings)


def test_a_copy_elsewhere_in_the_wheel_changes_nothing() -> None:
    plan = plan_of(USER, files=["demo/other/libprov.dylib"])

    assert edited(plan) == {MODULE: (RENAME, run_path(ENTRY))}


@pytest.mark.parametrize("folder", ["/usr/lib", "/System/Library/Frameworks/X.framework"])
def test_the_systems_libraries_are_not_the_providers(folder: str) -> None:
    plan = plan_of(macho([f"{folder}/libprov.dylib"]))

    assert edited(plan) == {}
    assert codes(plan.findings) == ["note nothing-provided"]


def test_names_of_others_stay() -> None:
    assert edited(plan_of(macho(["@rpath/libother.dylib", "/x/libprov.1.dylib"]))) == {}


def test_absolute_run_paths_go_from_what_is_edited() -> None:
    image = macho([BUILD], ["/opt/lib", "@loader_path/x", "@loader_path/../..", "@rpath/y"])

    assert edited(plan_of(image)) == {MODULE: (RENAME, run_path("@loader_path/x", ENTRY))}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("/opt/lib", "is absolute"),
        ("@loader_path/../..", "leaves site-packages"),
        ("@executable_path/x", "depends on the place of the program"),
    ],
)
def test_absolute_run_paths_of_others_are_reported(entry: str, why: str) -> None:
    plan = plan_of(macho([SYSTEM], [entry, "@loader_path/x"]))

    assert edited(plan) == {}
    finding = found(plan, "stray-run-path")
    assert (finding.member, finding.severity) == (MODULE, "warning")
    assert finding.message == f"the run path entry {entry!r} {why}"


@pytest.mark.parametrize("providers", [(), (PROV,)])
def test_absolute_run_paths_of_others_go_on_request(providers: tuple[Provider, ...]) -> None:
    facts = macos_wheel(
        {
            "demo/_a.so": macho([SYSTEM], ["/opt/lib"]),
            "demo/_b.so": macho([SYSTEM], ["/opt/lib", "@loader_path/x"]),
            "demo/_c.so": macho([SYSTEM], ["@loader_path/x"]),
        }
    )

    plan = planned(facts, *providers, sanitize=True)

    assert edited(plan) == {
        "demo/_a.so": (run_path(),),
        "demo/_b.so": (run_path("@loader_path/x"),),
    }
    assert planned(planning.expected(facts, plan), *providers, sanitize=True).edits == ()


def test_a_missing_symbol_names_the_slice() -> None:
    symbols = {BUILD: ["prov_add", "prov_sub"]}
    both = [macho([BUILD], imports=symbols, arch=arch) for arch in ("x86_64", "arm64")]

    plan = plan_of(both, FAT, platforms=["macosx_11_0_universal2"])

    assert codes(plan.findings) == ["error missing-symbols"]
    assert found(plan, "missing-symbols").message == (
        "imports 1 symbol (x86_64) that prov 1.0 does not export: prov_sub"
    )


def test_only_what_is_said_to_be_the_providers_is_looked_for_there() -> None:
    image = macho([BUILD, SYSTEM], imports={BUILD: ["prov_add"], SYSTEM: ["malloc"], "": ["gone"]})

    assert codes(plan_of(image).findings) == []


def test_a_weak_import_can_be_missing() -> None:
    image = macho([BUILD], imports={BUILD: ["prov_new"]}, weak=["prov_new"])

    assert codes(plan_of(image).findings) == []


def test_a_provider_that_reexports_may_have_it_from_there() -> None:
    core = "@loader_path/libcore.dylib"
    library = dylib(["prov_add"], name=NAME, needed=[core], reexported=[core])

    plan = plan_of(macho([BUILD], imports={BUILD: ["core_add"]}), macos_provider("prov", library))

    assert codes(plan.findings) == ["warning provider-incomplete", "warning missing-symbols"]


def test_a_slice_that_the_provider_lacks_is_an_error() -> None:
    plan = plan_of((macho([BUILD], arch="x86_64"), macho([BUILD])))

    assert codes(plan.findings) == ["error other-architecture"]
    assert found(plan, "other-architecture").message == (
        "is for x86_64, and libprov.dylib of prov 1.0 for arm64"
    )


def test_slices_with_different_needs_are_edited_together() -> None:
    uses = macho([BUILD, SYSTEM], ["/build"], {BUILD: ["prov_add"]}, arch="x86_64")
    does_not = macho([SYSTEM], ["@loader_path/x"])

    plan = plan_of((uses, does_not), FAT, platforms=["macosx_11_0_universal2"])

    assert edited(plan) == {MODULE: (RENAME, run_path("@loader_path/x", ENTRY))}
    assert codes(plan.findings) == []


def test_slices_that_spell_the_name_differently_are_renamed_each() -> None:
    images = (macho(["/a/libprov.dylib"], arch="x86_64"), macho(["/b/libprov.dylib"]))

    (edits,) = edited(plan_of(images, FAT, platforms=["macosx_11_0_universal2"])).values()

    assert edits == (
        RenameNeeded(old="/a/libprov.dylib", new=NAME),
        RenameNeeded(old="/b/libprov.dylib", new=NAME),
        run_path(ENTRY),
    )


def test_two_libraries_of_one_folder_are_one_entry() -> None:
    more = macos_provider("more", dylib(name="@rpath/libm.dylib"), path="prov/lib/libm.dylib")

    assert edited(plan_of(macho([BUILD, "/x/libm.dylib"]), PROV, more)) == {
        MODULE: (
            RENAME,
            RenameNeeded(old="/x/libm.dylib", new="@rpath/libm.dylib"),
            run_path(ENTRY),
        )
    }


SMALL = macho(["@rpath/a/libprov.dylib"], header_room=24)


def test_without_room_for_both_the_file_is_named_straight() -> None:
    plan = plan_of(SMALL)

    (edits,) = edited(plan).values()
    assert edits == (RenameNeeded(old="@rpath/a/libprov.dylib", new=STRAIGHT), run_path())
    assert codes(plan.findings) == ["note straight-name"]
    assert "no room for a run path" in found(plan, "straight-name").message


def test_a_straight_name_for_want_of_room_is_left_alone() -> None:
    full = macho([STRAIGHT], imports={STRAIGHT: ["prov_add"]}, header_room=0)

    plan = plan_of(full)

    assert edited(plan) == {}
    assert codes(plan.findings) == []


def test_without_any_room_the_numbers_are_told() -> None:
    plan = plan_of(dataclasses.replace(SMALL, header_room=8))

    assert edited(plan) == {}
    assert codes(plan.findings) == ["error no-header-room"]
    finding = found(plan, "no-header-room")
    assert finding.message == (
        "needs 40 bytes more for its load commands (arm64), and its header has room for 8"
    )
    assert finding.hint == "link it with -headerpad_max_install_names"


def test_the_fullest_slice_counts() -> None:
    images = (
        macho([BUILD], arch="x86_64", header_room=0),
        macho([BUILD], header_room=4096),
    )

    plan = plan_of(images, FAT, platforms=["macosx_11_0_universal2"])

    assert "(x86_64), and its header has room for 0" in found(plan, "no-header-room").message


def test_a_run_path_that_goes_makes_room() -> None:
    image = macho([NAME], ["/a/long/enough/folder/of/the/build"], header_room=0)

    assert edited(plan_of(image)) == {MODULE: (run_path(ENTRY),)}


def test_a_signature_of_somebody_is_not_broken() -> None:
    signed = dataclasses.replace(USER, signature=Signature.IDENTITY)

    plan = plan_of(signed)

    assert edited(plan) == {}
    assert codes(plan.findings) == ["error signed-by-identity"]
    assert "--resign" in found(plan, "signed-by-identity").hint


def test_a_signature_of_somebody_is_replaced_on_request() -> None:
    signed = dataclasses.replace(USER, signature=Signature.IDENTITY)

    plan = plan_of(signed, resign=True)

    (edit,) = (e for e in plan.edits if isinstance(e, EditBinary))
    assert edit == EditBinary(member=Member(MODULE), edits=(RENAME, run_path(ENTRY)), resign=True)
    assert [e.get("resign") for e in json.loads(plan.as_json())["edits"] if "member" in e] == [True]
    assert plan.errors == ()


def test_a_signature_of_somebody_stays_where_nothing_is_edited() -> None:
    signed = macho([NAME], [ENTRY], signature=Signature.IDENTITY)

    assert codes(plan_of(signed).findings) == []


def test_flat_lookups_of_the_providers_symbols_are_preloading() -> None:
    plan = plan_of(macho([SYSTEM], imports={"": ["prov_add", "PyErr_Clear"]}), MARKED)

    assert edited(plan) == {}
    assert "error preloading" in codes(plan.findings)
    assert found(plan, "preloading").message == (
        "uses 1 symbol of prov 1.0 but does not name its library, so that it only loads after it: "
        "prov_add"
    )


def test_the_library_is_added_on_request() -> None:
    facts = macos_wheel({MODULE: macho([SYSTEM], imports={"": ["prov_add"]})})

    plan = planned(facts, MARKED, add_needed=True)

    assert edited(plan) == {MODULE: (AddNeeded(library=NAME), run_path(ENTRY))}
    assert codes(plan.findings) == []
    assert planned(planning.expected(facts, plan), MARKED, add_needed=True).edits == ()


def test_flat_lookups_are_fine_beside_the_providers_name() -> None:
    image = macho([NAME], [ENTRY], {"": ["prov_add"]})

    assert codes(plan_of(image, MARKED).findings) == []


@pytest.mark.parametrize(
    ("image", "one"),
    [
        (macho(imports={"": ["prov_add"]}, weak=["prov_add"]), MARKED),
        (macho(imports={"": ["prov_add"]}), PROV),
        (macho(imports={"": ["other"]}), MARKED),
    ],
)
def test_other_flat_lookups_are_nobodys(image: Image, one: Provider) -> None:
    assert codes(plan_of(image, one).findings) == ["note nothing-provided"]


NEWER = macos_provider("prov", dylib(["prov_add"], name=NAME, compatibility=(2, 1, 0)))


def asking(
    version: tuple[int, int, int], minimum_os: tuple[int, int, int] | None = (11, 0, 0)
) -> Image:
    asked = {BUILD: version, SYSTEM: (9, 9, 9)}
    return macho([BUILD, SYSTEM], asking=asked, minimum_os=minimum_os)


@pytest.mark.parametrize("minimum_os", [None, (10, 13, 0), (11, 7, 0), (12, 0, 0), (26, 0, 0)])
def test_an_older_compatibility_version_is_refused_where_dyld_compares_them(
    minimum_os: tuple[int, int, int] | None,
) -> None:
    plan = plan_of(asking((2, 1, 1), minimum_os), NEWER)

    compares = minimum_os is None or minimum_os < (12, 0, 0)
    finding = found(plan, "compatibility-version")
    assert finding.severity == ("error" if compares else "note")
    assert "requires libprov.dylib version 2.1.1 or later (arm64)" in finding.message
    assert "prov 1.0 provides version 2.1.0" in finding.message


@pytest.mark.parametrize("version", [(0, 0, 0), (2, 0, 9), (2, 1, 0)])
def test_a_compatibility_version_that_the_provider_has_is_no_matter(
    version: tuple[int, int, int],
) -> None:
    assert codes(plan_of(asking(version), NEWER).findings) == []


def test_a_library_under_two_names_cannot_become_the_provider() -> None:
    plan = plan_of(macho(["/a/libprov.dylib", "/b/libprov.dylib"], [ENTRY]))

    assert edited(plan) == {}
    assert codes(plan.findings) == ["error named-twice"]
    assert "under two names" in found(plan, "named-twice").message


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (macho([NAME, NAME], [ENTRY]), NAME),
        (macho([BUILD, SYSTEM, SYSTEM]), SYSTEM),
        (macho([NAME], [ENTRY, ENTRY, "@loader_path/"], header_room=0), ""),
        (macho([SYSTEM], ["@loader_path/", "@loader_path/"]), "@loader_path/"),
    ],
)
def test_what_a_linker_named_twice_is_a_warning_unless_the_edit_ends_it(
    image: Image, name: str
) -> None:
    twice = [f.message for f in plan_of(image).findings if f.code == "named-twice"]

    text = (
        f"names {name} twice, which dyld refuses in files that are made with the SDK of macOS 26 "
        "or later"
    )
    assert twice == ([text] if name else [])


def test_flat_lookups_of_one_slice_are_not_excused_by_the_name_in_another() -> None:
    images = (macho([BUILD], arch="x86_64"), macho([SYSTEM], imports={"": ["prov_add"]}))
    marked = dataclasses.replace(FAT, policy=policy("prov", "prov_"))
    universal = ["macosx_11_0_universal2"]

    assert codes(plan_of(images, marked, platforms=universal).findings) == ["error preloading"]
    added = plan_of(images, marked, platforms=universal, add_needed=True)
    assert codes(added.findings) == []
    assert edited(added) == {MODULE: (RENAME, AddNeeded(library=NAME), run_path(ENTRY))}


@pytest.mark.parametrize(
    ("entries", "is_own"), [((ENTRY, "@loader_path"), False), (("@loader_path", ENTRY), True)]
)
def test_of_an_own_copy_and_the_providers_file_the_first_in_the_run_path_counts(
    entries: tuple[str, ...], *, is_own: bool
) -> None:
    plan = plan_of(macho([NAME], entries, {NAME: ["gone"]}), files=["demo/libprov.dylib"])

    assert codes(plan.findings) == (
        ["note nothing-provided"] if is_own else ["error missing-symbols"]
    )


@pytest.mark.parametrize(
    ("name", "is_odd"), [(NAME, False), ("/DLC/libprov.dylib", True), ("@rpath/libp.dylib", True)]
)
def test_a_provider_that_is_called_otherwise_is_not_matched_when_it_is_loaded(
    name: str, *, is_odd: bool
) -> None:
    plan = plan_of(USER, macos_provider("prov", dylib(["prov_add"], name=name)))

    assert codes(plan.findings) == (["warning other-soname"] if is_odd else [])


@pytest.mark.parametrize(
    ("needed", "is_odd"),
    [
        ("@loader_path/../.dylibs/libgfortran.5.dylib", False),
        ("/usr/lib/libc++.1.dylib", False),
        ("@rpath/libswiftCore.dylib", False),
        ("@rpath/libmore.dylib", False),
        ("@rpath/libgcc_s.1.1.dylib", True),
    ],
)
def test_what_a_provider_needs_and_does_not_carry_is_told(needed: str, *, is_odd: bool) -> None:
    library = dylib(["prov_add"], name=NAME, needed=[needed])
    one = dataclasses.replace(
        macos_provider("prov", library), carried=frozenset({"libgfortran.5.dylib"})
    )
    more = macos_provider("more", dylib(name="@rpath/libmore.dylib"), path="m/libmore.dylib")

    found = codes(plan_of(USER, one, more).findings)

    assert ("warning provider-incomplete" in found) is is_odd


def test_a_private_copy_of_the_provider_is_recognised_in_every_slice() -> None:
    private = "libgfortran-0123abcd.5.dylib"
    images = (macho([f"@rpath/{private}"], arch="x86_64"), macho([SYSTEM]))
    one = dataclasses.replace(PROV, private=frozenset({private}))

    (finding,) = planning.private_library_findings(macos_wheel({MODULE: images}), [one])

    assert (finding.code, finding.member) == ("private-library", MODULE)


def test_a_near_miss_in_any_slice_is_named() -> None:
    images = (macho(["/b/libprov.1.dylib"], arch="x86_64"), macho([SYSTEM]))

    assert found(plan_of(images), "nothing-provided").hint == (
        "it needs libprov.1.dylib: near, but not the same"
    )


def test_there_is_no_run_path_from_outside_of_site_packages() -> None:
    facts = macos_wheel(
        {"demo-1.0.data/scripts/prog": USER, "demo-1.0.data/scripts/alone": macho([SYSTEM])}
    )

    plan = planned(facts, PROV)

    assert edited(plan) == {}
    assert codes(plan.findings) == ["error no-fixed-place"]
    assert found(plan, "no-fixed-place").member == "demo-1.0.data/scripts/prog"


def test_consumers_need_a_library_by_its_file_name() -> None:
    (named_otherwise,) = macos_provider("p", dylib(name="/DLC/libprov.dylib")).libraries.values()

    assert dylibs.install_name(named_otherwise) == NAME


OF_FIXTURES = macos_provider(
    "scipy-openblas64",
    *binary.read(FILES["libprov.dylib"]).images,
    path="scipy_openblas64/lib/libprov.dylib",
    platforms=["macosx_11_0_universal2"],
    rules=policy("scipy-openblas64", "scipy_", "64_"),
)


@pytest.mark.parametrize("name", LOADED)
def test_the_plan_for_a_real_file_is_carried_out_and_holds(name: str) -> None:
    def of(data: bytes) -> WheelFacts:
        images = binary.read(data).images
        return macos_wheel({f"demo/{name}": images}, platforms=["macosx_11_0_universal2"])

    facts = of(FILES[name])
    plan = planned(facts, OF_FIXTURES, add_needed=True)
    changes = edited(plan).get(f"demo/{name}", ())

    assert plan.errors == ()
    assert bool(changes) == ("libprov.dylib" in needed_of(facts))
    written = of(macho_edit.edit(FILES[name], changes))
    assert written.binaries == planning.expected(facts, plan).binaries
    assert edited(planned(written, OF_FIXTURES, add_needed=True)) == {}


def needed_of(facts: WheelFacts) -> set[str]:
    images = (image for of in facts.binaries.values() for image in of.images)
    return {basename(name) for image in images for name in image.needed}


NEEDED = st.lists(
    st.sampled_from([BUILD, NAME, STRAIGHT, "@loader_path/libown.dylib", SYSTEM, "libx.dylib"]),
    unique_by=basename,
)
SEARCH = st.lists(st.sampled_from(["/build", ENTRY, "@loader_path", "@loader_path/.dylibs/"]))


@st.composite
def slices(draw: st.DrawFn) -> tuple[Image, ...]:
    made = []
    for arch in draw(st.sampled_from([("arm64",), ("x86_64",), ("x86_64", "arm64")])):
        needed = draw(NEEDED)
        asked = {library: ["prov_add"] for library in ["", *needed] if draw(st.booleans())}
        made.append(
            macho(
                needed,
                draw(SEARCH),
                asked,
                arch=arch,
                header_room=draw(st.sampled_from([0, 8, 24, 48, 4096])),
                signature=draw(st.sampled_from([Signature.NONE, Signature.AD_HOC])),
            )
        )
    return tuple(made)


@given(
    st.dictionaries(st.sampled_from([MODULE, "_top.so", "demo/a/_deep.so"]), slices(), min_size=1),
    st.booleans(),
    st.booleans(),
)
def test_planning_again_with_what_was_written_changes_nothing(
    of: dict[str, tuple[Image, ...]],
    add_needed: bool,  # noqa: FBT001
    sanitize: bool,  # noqa: FBT001
) -> None:
    one = dataclasses.replace(FAT, policy=MARKED.policy)
    facts = macos_wheel(of, platforms=["macosx_10_13_universal2"], files=["demo/libown.dylib"])
    plan = planned(facts, one, add_needed=add_needed, sanitize=sanitize)
    if plan.errors:
        return

    repaired = with_less_room(facts, plan)
    known = examined.parse(repaired.examined) if repaired.examined else ()

    assert planned(repaired, *known, add_needed=add_needed, sanitize=sanitize).edits == ()
    for found_in in repaired.binaries.values():
        for image in found_in.images:
            assert image.header_room >= 0


def with_less_room(facts: WheelFacts, plan: Plan) -> WheelFacts:
    """Return the repaired facts; what load commands grew by is room that is gone."""
    changes = edited(plan)
    repaired = planning.expected(facts, plan)
    return dataclasses.replace(
        repaired,
        binaries={
            member: dataclasses.replace(
                after,
                images=tuple(
                    dataclasses.replace(
                        new,
                        header_room=old.header_room
                        - macho_run_path.growth(old, changes.get(member, ())),
                    )
                    for old, new in zip(facts.binaries[member].images, after.images, strict=True)
                ),
            )
            for member, after in repaired.binaries.items()
        },
    )
