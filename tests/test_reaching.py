"""How every binary of a consumer reaches the libraries that it needs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from facts import (
    DGEMM64,
    LIB32,
    LIB64,
    OPENBLAS32,
    OPENBLAS64,
    codes,
    elf,
    library,
    planned,
    provider,
    wheel,
)

from extlib_repair.model import (
    AddNeeded,
    EditBinary,
    Format,
    Kind,
    Member,
    MoveToScripts,
    RunPath,
    RunPathKind,
    SetRunPath,
)

if TYPE_CHECKING:
    from extlib_repair.model import Image, Plan, Provider

RPATH, RUNPATH = RunPathKind.RPATH, RunPathKind.RUNPATH


def edits_of(plan: Plan) -> list[EditBinary | MoveToScripts]:
    return [e for e in plan.edits if isinstance(e, EditBinary | MoveToScripts)]


def written(
    member: str,
    image: Image,
    *providers: Provider,
    style: RunPathKind = RPATH,
    sanitize: bool = False,
    files: tuple[str, ...] = (),
) -> tuple[str, ...] | None:
    """Return the run path that the only binary of a wheel is given, or None."""
    plan = planned(
        wheel({member: image}, files=files),
        *(providers or (OPENBLAS64,)),
        style=style,
        sanitize=sanitize,
    )
    for edit in edits_of(plan):
        assert isinstance(edit, EditBinary)
        assert edit.member == member
        (change,) = edit.edits
        assert isinstance(change, SetRunPath)
        return change.run_path.entries if change.run_path else ()
    return None


@pytest.mark.parametrize(
    ("member", "entry"),
    [
        ("_top.so", "$ORIGIN/scipy_openblas64/lib"),
        ("demo/_e.so", "$ORIGIN/../scipy_openblas64/lib"),
        ("demo/a/b/c/_e.so", "$ORIGIN/../../../../scipy_openblas64/lib"),
        ("demo.libs/libmid-01234567.so.2", "$ORIGIN/../scipy_openblas64/lib"),
        ("demo-1.0.data/platlib/demo/_e.so", "$ORIGIN/../scipy_openblas64/lib"),
        ("demo-1.0.data/platlib/_e.so", "$ORIGIN/scipy_openblas64/lib"),
        ("demo-1.0.data/purelib/demo/sub/_e.so", "$ORIGIN/../../scipy_openblas64/lib"),
    ],
)
def test_the_run_path_leads_from_the_installed_place_to_the_provider(
    member: str, entry: str
) -> None:
    assert written(member, elf([LIB64])) == (entry,)


def test_a_library_beside_the_image_or_at_the_root_is_reached() -> None:
    beside = provider("beside", {"demo/libx.so": library()})
    root = provider("root", {"libx.so": library()})

    assert written("demo/_e.so", elf(["libx.so"]), beside) == ("$ORIGIN",)
    assert written("demo/_e.so", elf(["libx.so"]), root) == ("$ORIGIN/..",)


def test_two_providers_are_two_entries_in_the_order_of_need() -> None:
    assert written("demo/_e.so", elf([LIB32, LIB64]), OPENBLAS64, OPENBLAS32) == (
        "$ORIGIN/../scipy_openblas32/lib",
        "$ORIGIN/../scipy_openblas64/lib",
    )


def test_two_libraries_of_one_folder_are_one_entry() -> None:
    both = provider("both", {"both/liba.so": library(), "both/libb.so": library()})

    assert written("demo/_e.so", elf(["liba.so", "libb.so"]), both) == ("$ORIGIN/../both",)


def test_dt_rpath_is_the_default_and_dt_runpath_is_written_on_request() -> None:
    facts = wheel({"demo/_e.so": elf([LIB64], ["$ORIGIN"], style=RUNPATH)})
    entries = ("$ORIGIN", "$ORIGIN/../scipy_openblas64/lib")

    for style in (RPATH, RUNPATH):
        assert edits_of(planned(facts, OPENBLAS64, style=style)) == [
            EditBinary(
                member=Member("demo/_e.so"),
                edits=(SetRunPath(run_path=RunPath(entries=entries, kind=style)),),
            )
        ]


def test_only_binaries_that_need_the_provider_are_edited() -> None:
    facts = wheel({"demo/_e.so": elf([LIB64]), "demo/_other.so": elf(["libc.so.6"], ["$ORIGIN"])})

    assert [e.member for e in edits_of(planned(facts, OPENBLAS64))] == ["demo/_e.so"]


def test_a_vendored_library_alone_can_need_the_provider() -> None:
    facts = wheel(
        {
            "demo/_e.so": elf(["libmid.so.2"], ["$ORIGIN/../demo.libs"], imports=["mid"]),
            "demo.libs/libmid.so.2": library(["mid"], needed=[LIB64]),
        }
    )

    plan = planned(facts, OPENBLAS64)

    assert [e.member for e in edits_of(plan)] == ["demo.libs/libmid.so.2"]
    assert codes(plan.findings) == []


def test_an_image_that_reaches_the_provider_already_is_left_alone() -> None:
    assert written("demo/_e.so", elf([LIB64], ["$ORIGIN/../scipy_openblas64/lib"])) is None
    assert written("demo/_e.so", elf([LIB64], ["${ORIGIN}/.././scipy_openblas64/lib/"])) is None


@pytest.mark.parametrize(
    "stray",
    [
        "/build/lib",
        "/",
        "$ORIGIN/../..",
        "$ORIGIN/../../outside",
        "",
        ".",
        "lib",
        "$LIB",
        "$ORIGINAL/x",
    ],
)
def test_entries_that_leave_site_packages_go_from_edited_binaries(stray: str) -> None:
    assert written("demo/_e.so", elf([LIB64], [stray, "$ORIGIN", stray])) == (
        "$ORIGIN",
        "$ORIGIN/../scipy_openblas64/lib",
    )


def test_the_same_folder_under_two_spellings_stays_once() -> None:
    assert written("demo/_e.so", elf([LIB64], ["$ORIGIN/x", "${ORIGIN}/./x/", "$ORIGIN/y"])) == (
        "$ORIGIN/x",
        "$ORIGIN/y",
        "$ORIGIN/../scipy_openblas64/lib",
    )


def test_a_run_path_beside_a_dt_runpath_goes_with_the_edit() -> None:
    image = elf([LIB64], ["$ORIGIN/../scipy_openblas64/lib"], style=RUNPATH, ignored=["/build/lib"])

    assert written("demo/_e.so", image, style=RUNPATH) == ("$ORIGIN/../scipy_openblas64/lib",)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("/build/lib", "is absolute"),
        ("$ORIGIN/../../x", "leaves site-packages"),
        ("", "depends on the current folder"),
    ],
)
@pytest.mark.parametrize("ignored", [False, True])
def test_in_other_binaries_such_entries_are_reported(
    entry: str,
    why: str,
    ignored: bool,  # noqa: FBT001
) -> None:
    image = (
        elf(["libc.so.6"], ["$ORIGIN"], style=RUNPATH, ignored=[entry])
        if ignored
        else elf(["libc.so.6"], [entry, "$ORIGIN"])
    )

    plan = planned(wheel({"demo/_e.so": image}))

    assert edits_of(plan) == []
    assert codes(plan.findings) == ["warning stray-run-path"]
    assert plan.findings[0].message == f"the run path entry {entry!r} {why}"


def test_sanitizing_takes_them_out_of_every_binary() -> None:
    mixed = elf(["libc.so.6"], ["/build/lib", "$ORIGIN/x"], style=RUNPATH)
    alone = elf(["libc.so.6"], ["/build/lib"])
    plan = planned(
        wheel(
            {"demo/_a.so": mixed, "demo/_b.so": alone, "demo-1.0.data/data/bin/prog": alone},
        ),
        sanitize=True,
    )

    assert edits_of(plan) == [
        EditBinary(
            member=Member("demo-1.0.data/data/bin/prog"), edits=(SetRunPath(run_path=None),)
        ),
        EditBinary(
            member=Member("demo/_a.so"),
            edits=(SetRunPath(run_path=RunPath(entries=("$ORIGIN/x",), kind=RUNPATH)),),
        ),
        EditBinary(member=Member("demo/_b.so"), edits=(SetRunPath(run_path=None),)),
    ]
    assert plan.findings == ()


def test_sanitizing_leaves_clean_binaries_alone() -> None:
    plan = planned(
        wheel({"demo/_a.so": elf(["libc.so.6"], ["$ORIGIN"]), "demo/_b.so": elf(["libc.so.6"])}),
        sanitize=True,
    )

    assert edits_of(plan) == []


WRONG_DEPTH = {
    "demo-1.0.data/platlib/demo/_e.so": elf(["libp.so"], ["$ORIGIN/../../../demo.libs"]),
    "demo.libs/libp.so": library(),
}


def test_the_engines_wrong_depth_is_mended_where_a_provider_is_named() -> None:
    plan = planned(wheel(WRONG_DEPTH), OPENBLAS64)

    assert edits_of(plan) == [
        EditBinary(
            member=Member("demo-1.0.data/platlib/demo/_e.so"),
            edits=(SetRunPath(run_path=RunPath(entries=("$ORIGIN/../demo.libs",), kind=RPATH)),),
        )
    ]
    assert codes(plan.findings) == ["note nothing-provided"]


def test_the_engines_wrong_depth_is_reported_where_none_is() -> None:
    plan = planned(wheel(WRONG_DEPTH))

    assert plan.edits == ()
    assert codes(plan.findings) == ["warning stray-run-path"]


def test_the_engines_wrong_depth_is_mended_beside_a_provider() -> None:
    member = "demo-1.0.data/platlib/demo/_e.so"
    image = elf([LIB64, "libp.so"], ["$ORIGIN/../../../demo.libs", "/build", "$ORIGIN/../../up"])

    assert written(member, image, files=("demo.libs/libp.so",)) == (
        "$ORIGIN/../demo.libs",
        "$ORIGIN/../scipy_openblas64/lib",
    )


PROGRAM = Member("demo-1.0.data/scripts/prog")


def program(*, kind: Kind = Kind.EXECUTABLE) -> Image:
    return elf([LIB64], ["/build/lib"], imports=[DGEMM64], kind=kind)


def test_a_program_that_needs_the_provider_moves_below_site_packages() -> None:
    target = Member("demo.scripts/prog")
    plan = planned(wheel({PROGRAM: program()}), OPENBLAS64)

    assert codes(plan.findings) == []
    assert edits_of(plan) == [
        MoveToScripts(member=PROGRAM, target=target),
        EditBinary(
            member=target,
            edits=(
                SetRunPath(
                    run_path=RunPath(entries=("$ORIGIN/../scipy_openblas64/lib",), kind=RPATH)
                ),
            ),
        ),
    ]


def test_a_program_that_needs_nothing_stays() -> None:
    plan = planned(wheel({PROGRAM: elf(["libc.so.6"], kind=Kind.EXECUTABLE)}), OPENBLAS64)

    assert edits_of(plan) == []


@pytest.mark.parametrize(
    ("member", "kind"),
    [
        ("demo-1.0.data/data/lib/libx.so", Kind.SHARED_LIBRARY),
        ("demo-1.0.data/data/bin/prog", Kind.EXECUTABLE),
        ("demo-1.0.data/scripts/libx.so", Kind.SHARED_LIBRARY),
    ],
)
def test_what_has_no_fixed_place_cannot_need_the_provider(member: str, kind: Kind) -> None:
    plan = planned(wheel({member: program(kind=kind)}), OPENBLAS64)

    assert edits_of(plan) == []
    assert codes(plan.findings) == ["error no-fixed-place"]


def test_what_has_no_fixed_place_is_judged_all_the_same() -> None:
    image = elf(["libc.so.6"], ["/build/lib", "$ORIGIN/../lib"], kind=Kind.EXECUTABLE)

    assert codes(planned(wheel({PROGRAM: image})).findings) == ["warning stray-run-path"]


@pytest.mark.parametrize(
    ("search", "copy", "refused"),
    [
        (["$ORIGIN/../demo.libs"], f"demo.libs/{LIB64}", True),
        (["$ORIGIN/.."], LIB64, True),
        ([], f"scipy_openblas64/lib/{LIB64}", True),
        (["$ORIGIN/../scipy_openblas64/lib", "$ORIGIN"], f"demo/{LIB64}", False),
        (["$ORIGIN/../demo.libs"], f"demo/{LIB64}", False),
        (["/demo.libs"], f"demo.libs/{LIB64}", False),
    ],
)
def test_a_copy_that_the_loader_would_find_first_is_an_error(
    search: list[str],
    copy: str,
    refused: bool,  # noqa: FBT001
) -> None:
    plan = planned(wheel({"demo/_e.so": elf([LIB64], search)}, files=[copy]), OPENBLAS64)

    assert codes(plan.findings) == (["error own-copy"] if refused else [])


def test_a_copy_behind_a_mended_entry_is_an_error() -> None:
    member = "demo-1.0.data/platlib/demo/_e.so"
    image = elf([LIB64], ["$ORIGIN/../../../demo.libs"])

    plan = planned(wheel({member: image}, files=[f"demo.libs/{LIB64}"]), OPENBLAS64)

    assert codes(plan.findings) == ["error own-copy"]


def test_an_added_library_is_reached_too() -> None:
    member = Member("demo/_e.so")
    facts = wheel({member: elf(["libc.so.6"], ["$ORIGIN"], imports=[DGEMM64])})

    plan = planned(facts, OPENBLAS64, add_needed=True)

    assert codes(plan.findings) == []
    assert edits_of(plan) == [
        EditBinary(
            member=member,
            edits=(
                AddNeeded(library=LIB64),
                SetRunPath(
                    run_path=RunPath(
                        entries=("$ORIGIN", "$ORIGIN/../scipy_openblas64/lib"), kind=RPATH
                    )
                ),
            ),
        )
    ]


def test_a_library_is_added_even_where_the_run_path_is_right() -> None:
    member = Member("demo/_e.so")
    image = elf(["libc.so.6"], ["$ORIGIN/../scipy_openblas64/lib"], imports=[DGEMM64])

    assert edits_of(planned(wheel({member: image}), OPENBLAS64, add_needed=True)) == [
        EditBinary(member=member, edits=(AddNeeded(library=LIB64),))
    ]


def test_a_file_for_another_system_is_left_alone() -> None:
    """Such as a Mach-O file among the data of a Linux wheel."""
    image = dataclasses.replace(elf([LIB64], ["/build/lib"]), format=Format.MACHO)

    found = planned(wheel({"demo/data/_e.so": image}), OPENBLAS64, sanitize=True)

    assert [edit for edit in found.edits if isinstance(edit, EditBinary)] == []
    assert "warning stray-run-path" not in codes(found.findings)
