"""The platform tag of a consumer promises no more than its providers do."""

from __future__ import annotations

import dataclasses

import pytest
from facts import (
    LIB32,
    LIB64,
    OPENBLAS32,
    OPENBLAS64,
    PROV,
    codes,
    dylib,
    elf,
    library,
    macho,
    macos_provider,
    macos_wheel,
    planned,
    wheel,
)

from extlib_repair import platform_tag
from extlib_repair.model import Libc, SetPlatforms

MANYLINUX = {"demo/_e.so": elf([LIB64, "libc.so.6"])}
NAMELESS = {"demo/_e.so": elf([LIB64])}


def raised(
    *platforms: str,
    provided: tuple[str, ...],
    plat: str = "",
    keep: bool = False,
) -> tuple[tuple[str, ...], list[str]]:
    """Return the tags of a wheel that uses a provider with these tags, and the finding codes."""
    provider = dataclasses.replace(OPENBLAS64, platforms=provided)
    plan = planned(wheel(MANYLINUX, platforms=platforms), provider, plat=plat, keep=keep)
    return plan.output.platforms, codes(plan.findings)


@pytest.mark.parametrize(
    ("own", "provided", "expected"),
    [
        (
            ("manylinux1_x86_64", "manylinux_2_5_x86_64"),
            ("manylinux_2_27_x86_64", "manylinux_2_28_x86_64"),
            ("manylinux_2_27_x86_64",),
        ),
        (
            ("manylinux_2_5_x86_64",),
            ("manylinux2014_x86_64",),
            ("manylinux2014_x86_64", "manylinux_2_17_x86_64"),
        ),
        (("musllinux_1_1_x86_64",), ("musllinux_1_2_x86_64",), ("musllinux_1_2_x86_64",)),
        (
            ("manylinux_2_28_x86_64", "musllinux_1_2_x86_64"),
            ("manylinux_2_27_x86_64",),
            ("manylinux_2_28_x86_64",),
        ),
        (
            ("manylinux_2_5_x86_64", "musllinux_1_1_x86_64"),
            ("manylinux_2_27_x86_64", "musllinux_1_2_x86_64", "manylinux_2_5_i686"),
            ("manylinux_2_27_x86_64", "musllinux_1_2_x86_64"),
        ),
    ],
)
def test_tags_are_raised_to_the_lowest_of_the_provider_with_a_note(
    own: tuple[str, ...], provided: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert raised(*own, provided=provided) == (expected, ["note platform-tag"])


@pytest.mark.parametrize(
    ("own", "provided"),
    [
        ("manylinux_2_27_x86_64", "manylinux_2_27_x86_64"),
        ("manylinux_2_34_x86_64", "manylinux_2_27_x86_64"),
        ("manylinux2014_x86_64", "manylinux_2_17_x86_64"),
        ("manylinux_2_17_x86_64", "manylinux2014_x86_64"),
        ("musllinux_1_2_x86_64", "musllinux_1_1_x86_64"),
        ("linux_x86_64", "manylinux_2_27_x86_64"),
        ("linux_x86_64", "linux_x86_64"),
    ],
)
def test_tags_that_promise_no_more_stay(own: str, provided: str) -> None:
    assert raised(own, provided=(provided,)) == ((own,), [])


def test_the_highest_of_two_providers_counts() -> None:
    lower = dataclasses.replace(OPENBLAS32, platforms=("manylinux_2_17_x86_64",))
    facts = wheel({"demo/_e.so": elf([LIB32, LIB64])}, platforms=["manylinux_2_5_x86_64"])

    assert planned(facts, OPENBLAS64, lower).output.platforms == ("manylinux_2_27_x86_64",)
    assert planned(facts, lower, OPENBLAS64).output.platforms == ("manylinux_2_27_x86_64",)


@pytest.mark.parametrize("provided", [("linux_x86_64",), ("any",), ()])
def test_a_provider_that_states_no_c_library_is_a_warning(provided: tuple[str, ...]) -> None:
    assert raised("manylinux_2_17_x86_64", provided=provided) == (
        ("manylinux_2_17_x86_64",),
        ["warning platform-tag"],
    )


def test_a_provider_without_a_platform_tag_says_nothing() -> None:
    provider = dataclasses.replace(OPENBLAS64, platforms=())
    plan = planned(wheel(MANYLINUX), provider)

    assert [f.message for f in plan.findings if f.code == "platform-tag"] == [
        (
            "scipy-openblas64 0.3.30 is tagged nothing, which does not say how old a C library may "
            "be: manylinux_2_28_x86_64 may promise too much"
        )
    ]


def test_a_stated_tag_that_promises_more_is_an_error() -> None:
    assert raised(
        "manylinux_2_5_x86_64",
        "manylinux_2_17_x86_64",
        provided=("manylinux_2_27_x86_64",),
        plat="manylinux_2_17_x86_64",
    ) == (("manylinux_2_5_x86_64", "manylinux_2_17_x86_64"), ["error platform-tag"])


@pytest.mark.parametrize("plat", ["manylinux_2_27_x86_64", "manylinux_2_34_x86_64", "linux_x86_64"])
def test_a_stated_tag_that_promises_no_more_lets_others_be_raised(plat: str) -> None:
    assert raised("manylinux_2_5_x86_64", provided=("manylinux_2_27_x86_64",), plat=plat) == (
        ("manylinux_2_27_x86_64",),
        ["note platform-tag"],
    )


def test_tags_that_must_not_change_and_promise_more_are_an_error() -> None:
    own = ("manylinux_2_5_x86_64",)

    assert raised(*own, provided=("manylinux_2_27_x86_64",), keep=True) == (
        own,
        ["error platform-tag"],
    )


def test_tags_that_must_not_change_and_promise_no_more_are_fine() -> None:
    own = ("manylinux_2_28_x86_64",)

    assert raised(*own, provided=("manylinux_2_27_x86_64",), keep=True) == (own, [])


@pytest.mark.parametrize(
    ("own", "provided"),
    [
        ("manylinux_2_28_x86_64", "musllinux_1_2_x86_64"),
        ("musllinux_1_2_x86_64", "manylinux_2_28_x86_64"),
        ("linux_x86_64", "musllinux_1_2_x86_64"),
    ],
)
def test_another_c_library_is_an_error(own: str, provided: str) -> None:
    assert raised(own, provided=(provided,)) == ((own,), ["error other-c-library"])


def test_the_c_library_of_untagged_wheels_is_that_of_their_binaries() -> None:
    musl = dataclasses.replace(
        OPENBLAS64,
        platforms=("linux_x86_64",),
        libraries={
            name: dataclasses.replace(li, image=library(needed=["libc.musl-x86_64.so.1"]))
            for name, li in OPENBLAS64.libraries.items()
        },
    )

    assert codes(planned(wheel(MANYLINUX, platforms=["linux_x86_64"]), musl).findings) == [
        "error other-c-library"
    ]


def test_tags_become_an_edit_only_when_they_change() -> None:
    low = planned(wheel(MANYLINUX, platforms=["manylinux1_x86_64"]), OPENBLAS64)
    high = planned(wheel(MANYLINUX), OPENBLAS64)

    assert SetPlatforms(platforms=("manylinux_2_27_x86_64",)) in low.edits
    assert not [edit for edit in high.edits if isinstance(edit, SetPlatforms)]


@pytest.mark.parametrize(
    ("platforms", "needed", "libraries"),
    [
        (("manylinux_2_5_x86_64",), "libc.musl-x86_64.so.1", {Libc.GLIBC}),
        (("manylinux_2_5_x86_64", "musllinux_1_1_x86_64"), "", {Libc.GLIBC, Libc.MUSL}),
        (("linux_x86_64",), "libc.so.6", {Libc.GLIBC}),
        (("linux_x86_64",), "libc.musl-x86_64.so.1", {Libc.MUSL}),
        (("linux_x86_64",), "libm.so.6", set()),
    ],
)
def test_c_libraries_are_told_by_the_tags_else_by_what_is_needed(
    platforms: tuple[str, ...], needed: str, libraries: set[Libc]
) -> None:
    assert platform_tag.c_libraries(platforms, [elf([needed])]) == libraries


def test_an_engine_is_told_the_providers_tag_when_no_binary_names_a_c_library() -> None:
    assert platform_tag.hint(wheel(NAMELESS, platforms=["linux_x86_64"]), [OPENBLAS64]) == (
        "manylinux_2_27_x86_64"
    )


@pytest.mark.parametrize("platforms", [("linux_aarch64",), ("any",)])
def test_an_engine_is_told_nothing_when_no_provider_has_a_tag(platforms: tuple[str, ...]) -> None:
    assert platform_tag.hint(wheel(NAMELESS, platforms=platforms), [OPENBLAS64]) == ""


def test_an_engine_that_can_see_the_c_library_is_told_nothing() -> None:
    assert platform_tag.hint(wheel(MANYLINUX, platforms=["linux_x86_64"]), [OPENBLAS64]) == ""


@pytest.mark.parametrize(
    ("default", "severity"),
    [("manylinux2014_x86_64", "warning"), ("manylinux_2_28_x86_64", "note"), ("auto", "note")],
)
def test_passing_the_usual_tag_of_the_environment_is_a_warning(default: str, severity: str) -> None:
    facts = wheel({"demo/_e.so": elf([LIB64])}, platforms=("manylinux_2_5_x86_64",))

    found = planned(facts, OPENBLAS64, default=default)

    assert [f.severity for f in found.findings if f.code == "platform-tag"] == [severity]


MAC_MODULE = {"demo/_e.so": macho(["/build/lib/libprov.dylib"])}


def macos(
    *own: str, provided: tuple[str, ...], keep: bool = False
) -> tuple[tuple[str, ...], list[str]]:
    """Return the tags of a macOS wheel that uses a provider with these tags, and the codes."""
    one = dataclasses.replace(PROV, platforms=provided)
    plan = planned(macos_wheel(MAC_MODULE, platforms=own), one, keep=keep)
    return plan.output.platforms, codes(plan.findings)


@pytest.mark.parametrize(
    ("own", "provided", "expected"),
    [
        (("macosx_11_0_arm64",), ("macosx_12_0_arm64",), ("macosx_12_0_arm64",)),
        (("macosx_10_9_x86_64",), ("macosx_10_13_x86_64",), ("macosx_10_13_x86_64",)),
        (("macosx_11_0_arm64",), ("macosx_12_0_universal2",), ("macosx_12_0_arm64",)),
        (("macosx_10_9_universal2",), ("macosx_11_0_universal2",), ("macosx_11_0_universal2",)),
        (
            ("macosx_10_9_x86_64", "macosx_11_0_arm64"),
            ("macosx_10_9_x86_64", "macosx_12_0_arm64"),
            ("macosx_10_9_x86_64", "macosx_12_0_arm64"),
        ),
    ],
)
def test_macos_tags_are_raised_to_the_providers(
    own: tuple[str, ...], provided: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert macos(*own, provided=provided) == (expected, ["note platform-tag"])
    assert macos(*own, provided=provided, keep=True) == (own, ["error platform-tag"])


@pytest.mark.parametrize(
    ("own", "provided"),
    [
        ("macosx_12_0_arm64", "macosx_11_0_arm64"),
        ("macosx_11_0_arm64", "macosx_11_0_arm64"),
        ("macosx_11_0_arm64", "macosx_10_9_universal2"),
    ],
)
def test_macos_tags_that_promise_no_more_stay(own: str, provided: str) -> None:
    for keep in (False, True):
        assert macos(own, provided=(provided,), keep=keep) == ((own,), [])


@pytest.mark.parametrize(
    ("own", "provided"),
    [
        ("macosx_11_0_universal2", ("macosx_11_0_arm64",)),
        ("macosx_11_0_universal2", ("macosx_11_0_arm64", "macosx_10_9_x86_64")),
        ("macosx_11_0_arm64", ("macosx_10_9_x86_64",)),
    ],
)
def test_every_machine_of_a_macos_wheel_needs_the_provider(
    own: str, provided: tuple[str, ...]
) -> None:
    assert macos(own, provided=provided) == ((own,), ["error other-architecture"])


def test_the_newest_macos_of_two_providers_counts() -> None:
    newer = dataclasses.replace(PROV, platforms=("macosx_13_0_arm64",))
    older = dataclasses.replace(PROV, platforms=("macosx_12_0_arm64",))
    facts = macos_wheel(MAC_MODULE)

    for used in ([newer, older], [older, newer]):
        tags, _ = platform_tag.platforms(facts, used, platform_tag.Promise())
        assert tags == ("macosx_13_0_arm64",)


Version = tuple[int, int, int]


def with_slices(
    own: str, provided: str, consumers: dict[str, Version | None], providers: dict[str, Version]
) -> tuple[str, list[str]]:
    """Return tag and codes of a wheel whose slices, and whose provider's, have a minimum OS."""
    user = [
        macho(["/build/lib/libprov.dylib"], arch=arch, minimum_os=oldest)
        for arch, oldest in consumers.items()
    ]
    slices = [
        dylib(name="@rpath/libprov.dylib", arch=arch, minimum_os=oldest)
        for arch, oldest in providers.items()
    ]
    one = macos_provider("prov", *slices, platforms=[provided])
    plan = planned(macos_wheel({"demo/_e.so": user}, platforms=[own]), one)
    return plan.output.platforms[0], codes(plan.findings)


@pytest.mark.parametrize(
    ("machine", "oldest", "expected"),
    [
        ("arm64", (11, 0, 0), "macosx_11_0_arm64"),
        ("arm64", (11, 3, 0), "macosx_11_0_arm64"),
        ("arm64", (12, 3, 1), "macosx_12_0_arm64"),
        ("x86_64", (10, 9, 0), "macosx_10_9_x86_64"),
        ("x86_64", (10, 13, 4), "macosx_10_13_x86_64"),
    ],
)
def test_the_minimum_os_of_the_providers_slice_counts_as_well_as_its_tag(
    machine: str, oldest: Version, expected: str
) -> None:
    own = "macosx_11_0_arm64" if machine == "arm64" else "macosx_10_9_x86_64"

    tag, found = with_slices(own, own, {machine: None}, {machine: oldest})

    assert tag == expected
    assert found == ([] if expected == own else ["note platform-tag"])


@pytest.mark.parametrize(
    ("arm64", "x86_64", "expected"),
    [
        ((11, 0, 0), (10, 9, 0), "macosx_10_9_universal2"),
        ((11, 0, 0), (10, 13, 0), "macosx_10_13_universal2"),
        ((12, 0, 0), (10, 9, 0), "macosx_12_0_universal2"),
    ],
)
def test_the_first_macos_for_arm64_does_not_raise_universal2(
    arm64: Version, x86_64: Version, expected: str
) -> None:
    oldest = {"x86_64": x86_64, "arm64": arm64}
    universal = "macosx_10_9_universal2"

    tag, found = with_slices(universal, universal, {"x86_64": None, "arm64": None}, oldest)

    assert tag == expected
    assert found == ([] if expected == universal else ["note platform-tag"])


@pytest.mark.parametrize(
    ("own", "oldest", "warned"),
    [
        ("macosx_11_0_arm64", {"arm64": (11, 5, 0)}, False),
        ("macosx_11_0_arm64", {"arm64": (12, 0, 0)}, True),
        ("macosx_11_0_arm64", {"arm64": (11, 0, 0), "x86_64": (14, 0, 0)}, False),
        ("macosx_10_9_universal2", {"arm64": (11, 0, 0), "x86_64": (10, 9, 0)}, False),
        ("macosx_10_9_universal2", {"arm64": (11, 0, 0), "x86_64": (10, 13, 0)}, True),
    ],
)
def test_a_slice_that_is_for_newer_systems_than_the_tag_is_a_warning(
    own: str, oldest: dict[str, Version | None], *, warned: bool
) -> None:
    providers: dict[str, Version] = dict.fromkeys(oldest, (10, 9, 0))

    tag, found = with_slices(own, own, oldest, providers)

    assert tag == own
    assert found == (["warning minimum-os"] if warned else [])
