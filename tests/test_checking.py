"""Each promise that a repaired wheel gives, broken by a small change of good facts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from facts import (
    C_NAMES,
    DGEMM64,
    LIB64,
    OPENBLAS64,
    PROV,
    chosen,
    codes,
    elf,
    library,
    macho,
    macos_wheel,
    planned,
    provider,
    wheel,
)

from extlib_repair import checking, examined, planning, shipped
from extlib_repair.loading import Supplier
from extlib_repair.model import (
    BinaryFacts,
    Finding,
    Format,
    Member,
    RunPathKind,
    Shipped,
    frozen_mapping,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extlib_repair.model import Chosen, Image, Provider, WheelFacts

SHIPPED = dataclasses.replace(shipped.names(), c_names=C_NAMES)
EXTENSION, MIDDLE = "demo/sub/_e.so", "demo.libs/libmid.so.2"
UNREPAIRED = wheel(
    {
        EXTENSION: elf(
            [LIB64, "libmid.so.2", "libc.so.6"], ["$ORIGIN/../../demo.libs"], imports=[DGEMM64]
        ),
        MIDDLE: library(["mid"], needed=[LIB64, "libc.so.6"]),
    },
    platforms=["manylinux_2_17_x86_64", "manylinux2014_x86_64"],
    requires=["numpy>=2"],
)
GOOD = planning.expected(UNREPAIRED, planned(UNREPAIRED, OPENBLAS64))


def check(
    facts: WheelFacts,
    choices: Sequence[Chosen] | None = None,
    problems: Sequence[str] = (),
    names: Shipped = SHIPPED,
) -> tuple[Finding, ...]:
    known = examined.parse(facts.examined) if facts.examined else ()
    return checking.findings(facts, known if choices is None else choices, names, problems)


def with_image(member: str, change: Callable[[Image], Image]) -> WheelFacts:
    image = change(GOOD.image_map[Member(member)])
    one = BinaryFacts(format=Format.ELF, images=(image,))
    return dataclasses.replace(
        GOOD, binaries=frozen_mapping({**GOOD.binaries, Member(member): one}.items())
    )


def with_search(member: str, *entries: str) -> WheelFacts:
    path = elf(search=entries).run_path
    return with_image(member, lambda image: dataclasses.replace(image, run_path=path))


def requiring(*lines: str) -> WheelFacts:
    return dataclasses.replace(GOOD, requirements=lines)


def tagged(*platforms: str) -> WheelFacts:
    return dataclasses.replace(GOOD, name=dataclasses.replace(GOOD.name, platforms=platforms))


def test_a_repaired_wheel_is_good() -> None:
    assert check(GOOD) == ()
    assert GOOD.requirements == ("numpy>=2", "scipy-openblas64>=0.3.30")
    assert GOOD.name.platforms == ("manylinux_2_27_x86_64",)


def test_a_wheel_that_needs_no_provider_is_good() -> None:
    of = {
        EXTENSION: elf(["libmid.so.2"], ["$ORIGIN/../../demo.libs"], imports=["mid", "gone"]),
        MIDDLE: library(["mid"]),
    }

    assert check(wheel(of)) == ()


BROKEN: dict[str, tuple[WheelFacts, list[str], str]] = {
    "a run path that leaves site-packages": (
        with_search(EXTENSION, "$ORIGIN/../../demo.libs", "$ORIGIN/../../../scipy_openblas64/lib"),
        ["error not-found"],
        EXTENSION,
    ),
    "a run path of the wrong depth": (
        with_search(EXTENSION, "$ORIGIN/../../demo.libs", "$ORIGIN/../scipy_openblas64/lib"),
        ["error not-found"],
        EXTENSION,
    ),
    "no run path to the vendored library": (
        with_search(EXTENSION, "$ORIGIN/../../scipy_openblas64/lib"),
        ["error not-found"],
        EXTENSION,
    ),
    "a tag that is too permissive": (
        tagged("manylinux_2_17_x86_64"),
        ["error tag-too-permissive"],
        "",
    ),
    "one tag of two that is too permissive": (
        tagged("manylinux_2_17_x86_64", "manylinux_2_27_x86_64"),
        ["error tag-too-permissive"],
        "",
    ),
    "no requirement": (requiring("numpy>=2"), ["error requirement-missing"], ""),
    "a requirement under an extra": (
        requiring("scipy-openblas64>=0.3.30 ; extra == 'fast'"),
        ["error requirement-missing"],
        "",
    ),
    "a requirement under a marker": (
        requiring("scipy-openblas64>=0.3.30 ; python_version < '3.12'"),
        ["error requirement-missing"],
        "",
    ),
    "a requirement without a floor": (
        requiring("scipy-openblas64"),
        ["error requirement-missing"],
        "",
    ),
    "a requirement of another range": (
        requiring("scipy-openblas64>=0.4"),
        ["error conflicting-requirement"],
        "",
    ),
    "a symbol that the provider lacks": (
        with_image(
            EXTENSION,
            lambda i: dataclasses.replace(i, imports=elf(imports=["scipy_new64_"]).imports),
        ),
        ["error missing-symbols"],
        EXTENSION,
    ),
    "a symbol of nobody": (
        with_image(
            EXTENSION, lambda i: dataclasses.replace(i, imports=elf(imports=["gone"]).imports)
        ),
        ["error unknown-symbols"],
        EXTENSION,
    ),
    "another architecture": (
        with_image(EXTENSION, lambda i: dataclasses.replace(i, arch="i686")),
        ["error not-found", "error other-architecture"],
        EXTENSION,
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_promise_is_the_one_finding(case: str) -> None:
    facts, expected, member = BROKEN[case]

    found = check(facts)

    assert codes(found) == expected
    assert {f.member or "" for f in found} == {member}


@pytest.mark.parametrize("entries", [(), ("$ORIGIN",), ("/usr/lib",)])
def test_a_vendored_library_reaches_the_provider_by_itself_or_by_inheritance(
    entries: tuple[str, ...],
) -> None:
    """The extension's DT_RPATH leads there too; where it has DT_RUNPATH, nothing does."""
    inherits = with_search(MIDDLE, *entries)
    image = inherits.image_map[Member(EXTENSION)]
    path = elf(search=image.search, style=RunPathKind.RUNPATH).run_path
    one = BinaryFacts(
        format=Format.ELF,
        images=(dataclasses.replace(image, run_path=path, needed=("libmid.so.2",)),),
    )
    alone = dataclasses.replace(
        inherits, binaries=frozen_mapping({**inherits.binaries, Member(EXTENSION): one}.items())
    )

    assert codes(check(inherits)) == []
    assert [(f.code, f.member) for f in check(alone)] == [("not-found", MIDDLE)]


def test_a_provider_of_another_architecture_is_the_one_finding() -> None:
    image = dataclasses.replace(library([DGEMM64]), arch="aarch64")
    foreign = provider(
        "scipy-openblas64", {f"scipy_openblas64/lib/{LIB64}": image}, version="0.3.30"
    )

    assert set(codes(check(GOOD, [chosen(foreign)]))) == {"error other-architecture"}


def release(version: str, *exports: str) -> Provider:
    path = f"scipy_openblas64/lib/{LIB64}"
    made = provider("scipy-openblas64", {path: library(exports)}, version=version)
    return dataclasses.replace(made, policy=OPENBLAS64.policy)


def test_a_release_that_lacks_a_symbol_is_the_one_finding() -> None:
    found = check(GOOD, [chosen(release("0.3.31", "scipy_other64_"), ">=0.3.30")])

    assert codes(found) == ["error missing-symbols"]
    assert DGEMM64 in found[0].message


def test_a_release_without_the_library_is_not_found() -> None:
    moved = provider("scipy-openblas64", {f"elsewhere/{LIB64}": library([DGEMM64])})

    found = check(GOOD, [chosen(moved, ">=0.3")])

    assert "error not-found" in codes(found)


def test_an_own_copy_that_is_found_first_is_the_one_finding() -> None:
    copy = Member(f"demo.libs/{LIB64}")
    one = BinaryFacts(format=Format.ELF, images=(library([DGEMM64]),))
    facts = dataclasses.replace(
        GOOD,
        members=(*GOOD.members, copy),
        binaries=frozen_mapping({**GOOD.binaries, copy: one}.items()),
    )

    assert {(f.code, str(f.severity), f.member) for f in check(facts)} == {
        ("own-copy", "error", EXTENSION)
    }


def test_problems_of_the_record_are_findings_one_by_one() -> None:
    found = check(GOOD, problems=["RECORD lacks demo/a.py", "RECORD does not fit demo/b.py"])

    assert [(f.code, str(f.severity), f.message) for f in found] == [
        ("record", "error", "RECORD lacks demo/a.py"),
        ("record", "error", "RECORD does not fit demo/b.py"),
    ]


EXCLUDED = dataclasses.replace(
    GOOD,
    examined="",
    requirements=("numpy>=2",),
    binaries=UNREPAIRED.binaries,
)


def test_what_plain_exclude_makes_is_not_found_and_the_provider_is_named() -> None:
    found = check(EXCLUDED)

    assert [(f.code, f.member, f.hint) for f in found] == [
        ("not-found", MIDDLE, "repair it with --provided-by scipy-openblas64"),
        ("not-found", EXTENSION, "repair it with --provided-by scipy-openblas64"),
    ]
    assert found[0].message == (
        f"needs {LIB64}, which the loader finds neither in the wheel, nor where a provider "
        "installs it, nor in the system"
    )


def test_what_nobody_is_known_to_supply_has_a_general_hint() -> None:
    found = check(wheel({EXTENSION: elf(["libfoo.so.5"])}))

    assert [(f.code, f.hint) for f in found] == [
        ("not-found", "repair it with --provided-by NAME, the wheel that supplies it")
    ]


def test_warnings_stay_and_notes_go() -> None:
    facts = with_search(MIDDLE, "$ORIGIN/../scipy_openblas64/lib", "/usr/lib")
    stray = dataclasses.replace(
        facts,
        binaries=frozen_mapping(
            {
                **GOOD.binaries,
                Member("demo/_x.so"): BinaryFacts(
                    format=Format.ELF, images=(elf(["libc.so.6"], ["/build"]),)
                ),
            }.items()
        ),
        members=(*GOOD.members, Member("demo/_x.so")),
    )

    assert codes(check(stray)) == ["warning stray-run-path"]
    assert check(GOOD, [chosen(OPENBLAS64, ">=0.3")]) == ()


def test_findings_end_with_the_errors() -> None:
    facts = dataclasses.replace(
        EXCLUDED,
        binaries=frozen_mapping(
            {
                **EXCLUDED.binaries,
                Member("demo/_x.so"): BinaryFacts(
                    format=Format.ELF, images=(elf(["libc.so.6"], ["/build"]),)
                ),
            }.items()
        ),
    )

    assert codes(check(facts, problems=["x"])) == [
        "warning stray-run-path",
        "error record",
        "error not-found",
        "error not-found",
    ]


MUSL = {"demo/_e.so": elf(["libstdc++.so.6", "libc.musl-x86_64.so.1"])}


@pytest.mark.parametrize(
    ("platform", "supplier"),
    [
        ("manylinux_2_28_x86_64", Supplier.SYSTEM),
        ("musllinux_1_2_x86_64", Supplier.NOBODY),
        ("linux_x86_64", Supplier.NOBODY),
    ],
)
def test_the_loader_is_the_one_of_the_wheels_c_library(platform: str, supplier: Supplier) -> None:
    result = checking.loading(wheel(MUSL, platforms=[platform]), (), SHIPPED)

    assert result.found[Member("demo/_e.so")]["libstdc++.so.6"].supplier is supplier


MACOS_NAME = "@rpath/libprov.dylib"
MACOS_UNREPAIRED = macos_wheel(
    {"demo/_e.so": macho([MACOS_NAME], imports={MACOS_NAME: ["prov_add"]})}
)


def test_a_repaired_macos_wheel_keeps_its_promises() -> None:
    good = planning.expected(MACOS_UNREPAIRED, planned(MACOS_UNREPAIRED, PROV))

    assert check(good) == ()


def test_a_macos_wheel_without_its_run_path_is_found_in_dylds_words() -> None:
    (found,) = check(MACOS_UNREPAIRED)

    assert (found.code, found.member) == ("not-found", "demo/_e.so")
    assert found.message == (
        f"Library not loaded: {MACOS_NAME}; Referenced from: demo/_e.so; "
        "Reason: no LC_RPATH's found"
    )
