"""Facts + providers + options -> Plan, and what a wheel is once it is carried out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from facts import (
    DGEMM32,
    DGEMM64,
    LIB32,
    LIB64,
    OPENBLAS32,
    OPENBLAS64,
    PLAIN,
    chosen,
    codes,
    elf,
    library,
    planned,
    provider,
    wheel,
)

from extlib_repair import examined, planning
from extlib_repair.model import (
    AddNeeded,
    Kind,
    Member,
    Plan,
    SetExamined,
    SetPlatforms,
    SetRequirements,
    Severity,
    applied,
)

if TYPE_CHECKING:
    from extlib_repair.model import Image, WheelFacts

DEEP = "demo/a/b/_deep.so"
WHEELS = {
    "nested": {"demo/_e.so": elf([LIB64]), DEEP: elf([LIB64, LIB32], ["/build"])},
    "vendored": {
        "demo/_e.so": elf(["libmid.so"], ["$ORIGIN/../demo.libs"]),
        "demo.libs/libmid.so": library(needed=[LIB64]),
    },
    "platlib": {
        "demo-1.0.data/platlib/demo/_e.so": elf([LIB64, "libp.so"], ["$ORIGIN/../../../demo.libs"]),
        "demo.libs/libp.so": library(),
    },
    "program": {
        "demo-1.0.data/scripts/prog": elf([LIB64], kind=Kind.EXECUTABLE, imports=[DGEMM64])
    },
    "preloading": {"demo/_e.so": elf(["libc.so.6"], imports=[DGEMM64, DGEMM32])},
    "nothing": {"demo/_e.so": elf(["libc.so.6"], ["/build/lib"])},
}


@pytest.mark.parametrize("sanitize", [False, True])
@pytest.mark.parametrize("name", WHEELS)
def test_planning_twice_changes_nothing_more(name: str, sanitize: bool) -> None:  # noqa: FBT001
    facts = wheel(WHEELS[name], platforms=["manylinux_2_5_x86_64", "manylinux1_x86_64"])
    choices = [chosen(OPENBLAS64), chosen(OPENBLAS32, ">=0.3,<1")]

    plan = planned(facts, *choices, sanitize=sanitize, add_needed=True)
    again = planned(planning.expected(facts, plan), *choices, sanitize=sanitize, add_needed=True)

    assert plan.errors == ()
    assert again.edits == ()
    assert again.output == plan.output == planning.expected(facts, plan).name


def test_the_same_facts_give_the_same_plan() -> None:
    facts = wheel(WHEELS["nested"])

    assert planned(facts, OPENBLAS64, OPENBLAS32) == planned(facts, OPENBLAS64, OPENBLAS32)


def test_what_is_expected_has_the_edits_and_nothing_else() -> None:
    image = elf([LIB64], kind=Kind.EXECUTABLE)
    facts = wheel(
        {"demo-1.0.data/scripts/prog": image, "demo/_e.so": elf(["libc.so.6"])},
        platforms=["manylinux_2_5_x86_64"],
        requires=["numpy"],
    )

    plan = planned(facts, OPENBLAS64)
    expected = planning.expected(facts, plan)

    assert expected.members == (
        *facts.members,
        "demo.scripts/prog",
        "demo-1.0.dist-info/extlib-repair.json",
    )
    (choice,) = examined.parse(expected.examined)
    assert choice.provider.label == "scipy-openblas64 0.3.30"
    assert list(expected.binaries) == ["demo/_e.so", "demo.scripts/prog"]
    assert expected.image_map[Member("demo/_e.so")] == facts.image_map[Member("demo/_e.so")]
    assert expected.image_map[Member("demo.scripts/prog")].search == (
        "$ORIGIN/../scipy_openblas64/lib",
    )
    assert expected.requirements == ("numpy", "scipy-openblas64>=0.3.30")
    assert expected.name.filename == "demo-1.0-cp311-cp311-manylinux_2_27_x86_64.whl"


def test_adding_a_library_twice_is_adding_it_once() -> None:
    once = applied(elf(["libc.so.6"]), [AddNeeded(library=LIB64)])

    assert once.needed == (LIB64, "libc.so.6")
    assert applied(once, [AddNeeded(library=LIB64)]) == once


def test_without_providers_nothing_is_changed() -> None:
    facts = wheel({"demo/_e.so": elf(["libz.so.1"], ["$ORIGIN/../demo.libs"], imports=["gone"])})

    assert planned(facts) == Plan(output=facts.name)


def test_requirements_are_written_for_the_providers_that_are_used() -> None:
    facts = wheel(
        {"demo/_e.so": elf([LIB64])}, requires=["numpy>=2", "scipy-openblas64; extra=='x'"]
    )

    plan = planned(facts, chosen(OPENBLAS32), chosen(OPENBLAS64, " >= 0.3 "))

    assert SetRequirements(
        requirements=("numpy>=2", "scipy-openblas64; extra=='x'", "scipy-openblas64>= 0.3")
    ) in list(plan.edits)
    assert codes(plan.findings) == ["note nothing-provided", "note unexamined-releases"]


def test_a_requirement_that_is_there_is_no_edit() -> None:
    facts = wheel({"demo/_e.so": elf([LIB64])}, requires=["scipy-openblas64>=0.3.30"])

    assert not [e for e in planned(facts, OPENBLAS64).edits if isinstance(e, SetRequirements)]


def test_a_provider_that_is_used_through_a_vendored_library_only_is_required() -> None:
    plan = planned(wheel(WHEELS["vendored"]), OPENBLAS64)

    assert SetRequirements(requirements=("scipy-openblas64>=0.3.30",)) in plan.edits


def test_the_floor_may_be_what_the_consumer_was_built_against() -> None:
    facts = wheel({"demo/_e.so": elf([LIB64])})

    plan = planned(facts, chosen(OPENBLAS64, built_against="0.3.27"))

    assert SetRequirements(requirements=("scipy-openblas64>=0.3.27",)) in plan.edits


def test_an_unfit_release_writes_no_requirement() -> None:
    plan = planned(wheel({"demo/_e.so": elf([LIB64])}), chosen(OPENBLAS64, ">=9"))

    assert not [e for e in plan.edits if isinstance(e, SetRequirements)]
    assert codes(plan.findings) == ["error out-of-range"]
    assert [f.code for f in plan.errors] == ["out-of-range"]


@pytest.mark.parametrize(("require", "severity"), [(False, Severity.NOTE), (True, Severity.ERROR)])
def test_a_provider_that_nothing_needs_is_a_note_and_an_error_on_request(
    require: bool,  # noqa: FBT001
    severity: Severity,
) -> None:
    plan = planned(wheel({"demo/_e.so": elf(["libc.so.6"])}), OPENBLAS64, require=require)

    assert [(f.severity, f.message, f.hint) for f in plan.findings] == [
        (
            severity,
            f"nothing in the wheel needs what scipy-openblas64 0.3.30 supplies ({LIB64})",
            "",
        )
    ]


def test_a_provider_without_libraries_supplies_nothing() -> None:
    plan = planned(wheel({"demo/_e.so": elf(["libc.so.6"])}), provider("empty", {}))

    assert plan.findings[0].message == (
        "nothing in the wheel needs what empty 1.0 supplies (no library)"
    )


@pytest.mark.parametrize(
    "needed",
    ["libfoo.so", "libfoo.so.6", "libfoo-0123abcd.so.5", "libfoo.so.5.0.1"],
)
def test_a_needed_name_that_comes_near_is_named(needed: str) -> None:
    plan = planned(wheel({"demo/_e.so": elf([needed, "libc.so.6"])}), PLAIN)

    assert [f.hint for f in plan.findings] == [f"it needs {needed}: near, but not the same"]


@pytest.mark.parametrize(
    ("names", "needed", "near"),
    [
        (["libfoo.so"], ["libfoo.so"], ()),
        (["libfoo.so"], ["libfoo.so.5", "libfoobar.so", "libfo.so.5"], ("libfoo.so.5",)),
        (["lib.source.so"], ["lib.so.1", "lib.source.so.2"], ("lib.source.so.2",)),
        (["libfoo"], ["libfoo.so"], ("libfoo.so",)),
        (["*foo*"], ["libfoo.so"], ()),
        ([], ["libfoo.so"], ()),
    ],
)
def test_near_misses_differ_in_version_or_hash_alone(
    names: list[str], needed: list[str], near: tuple[str, ...]
) -> None:
    assert planning.near_misses(names, needed) == near


PRIVATE = provider(
    "scipy-openblas64",
    {f"scipy_openblas64/lib/{LIB64}": library()},
    private=["libgfortran-040039e1.so.5.0.0"],
)
FORTRAN: dict[str, Image] = {"demo/_e.so": elf([LIB64, "libgfortran-040039e1.so.5.0.0"])}


def test_a_private_library_of_the_provider_is_refused() -> None:
    findings = planning.private_library_findings(wheel(FORTRAN), [OPENBLAS32, PRIVATE])

    assert codes(findings) == ["error private-library"]
    assert findings[0].member == "demo/_e.so"


def test_a_wheel_may_carry_a_file_of_that_name_itself() -> None:
    facts = wheel(FORTRAN, files=["demo.libs/libgfortran-040039e1.so.5.0.0"])

    assert planning.private_library_findings(facts, [PRIVATE]) == ()


def test_the_plain_name_is_nobodys_private_library() -> None:
    facts = wheel({"demo/_e.so": elf([LIB64, "libgfortran.so.5"])})

    assert planning.private_library_findings(facts, [PRIVATE]) == ()


def test_findings_end_with_the_errors() -> None:
    facts: WheelFacts = wheel(
        {
            "demo/_a.so": elf([LIB64], imports=["gone"]),
            "demo/_b.so": elf(["libc.so.6"], ["/build"]),
        }
    )

    assert [str(f.severity) for f in planned(facts, OPENBLAS64, OPENBLAS32).findings] == [
        "note",
        "note",
        "warning",
        "error",
    ]


def test_tags_are_an_edit_and_name_the_output() -> None:
    plan = planned(wheel(WHEELS["nested"], platforms=["manylinux1_x86_64"]), OPENBLAS64)

    assert SetPlatforms(platforms=("manylinux_2_27_x86_64",)) in plan.edits
    assert plan.output.filename == "demo-1.0-cp311-cp311-manylinux_2_27_x86_64.whl"


def test_what_was_examined_is_the_last_edit_and_of_the_used_providers_alone() -> None:
    plan = planned(wheel({"demo/_e.so": elf([LIB64])}), OPENBLAS32, OPENBLAS64)

    last = plan.edits[-1]
    assert isinstance(last, SetExamined)
    assert [c.provider.project for c in examined.parse(last.text)] == ["scipy-openblas64"]


def test_nothing_is_examined_where_nothing_is_provided() -> None:
    plan = planned(wheel({"demo/_e.so": elf(["libc.so.6"])}), OPENBLAS64)

    assert plan.edits == ()


def test_the_member_of_what_was_examined_is_there_once() -> None:
    facts = wheel({"demo/_e.so": elf([LIB64])})
    repaired = planning.expected(facts, planned(facts, OPENBLAS64))
    newer = dataclasses.replace(OPENBLAS64, version="0.3.31")

    again = planning.expected(repaired, planned(repaired, newer))

    assert again.members == repaired.members
    assert again.examined != repaired.examined


def test_what_the_wheel_itself_does_wrong_is_not_the_providers_fault() -> None:
    assert {"own-copy", "no-fixed-place", "nothing-provided"}.isdisjoint(planning.PROVIDER_CODES)


def test_a_provider_of_purelib_kind_is_a_warning() -> None:
    pure = dataclasses.replace(OPENBLAS64, purelib=True)

    found = planned(wheel({"demo/_e.so": elf([LIB64], imports=[DGEMM64])}), pure)

    assert "warning purelib-provider" in codes(found.findings)
    assert found.errors == ()
