"""What platform tags promise, and how far a provider lowers the promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extlib_repair import tags
from extlib_repair.model import Libc, System

GLIBC, MUSL = Libc.GLIBC, Libc.MUSL


@pytest.mark.parametrize(
    ("tag", "system", "arch", "libc", "version"),
    [
        ("any", System.ANY, "", None, None),
        ("linux_x86_64", System.LINUX, "x86_64", None, None),
        ("manylinux1_i686", System.LINUX, "i686", GLIBC, (2, 5)),
        ("manylinux2010_x86_64", System.LINUX, "x86_64", GLIBC, (2, 12)),
        ("manylinux2014_aarch64", System.LINUX, "aarch64", GLIBC, (2, 17)),
        ("manylinux_2_27_x86_64", System.LINUX, "x86_64", GLIBC, (2, 27)),
        ("musllinux_1_2_armv7l", System.LINUX, "armv7l", MUSL, (1, 2)),
        ("macosx_11_0_arm64", System.MACOS, "arm64", None, (11, 0)),
        ("macosx_10_9_universal2", System.MACOS, "universal2", None, (10, 9)),
        ("win32", System.WINDOWS, "x86", None, None),
        ("win_amd64", System.WINDOWS, "amd64", None, None),
        ("win_arm64", System.WINDOWS, "arm64", None, None),
        ("android_24_arm64_v8a", System.ANDROID, "arm64_v8a", None, None),
        ("ios_13_0_arm64_iphoneos", System.IOS, "arm64_iphoneos", None, None),
        ("pyodide_2024_0_wasm32", System.PYODIDE, "wasm32", None, None),
        ("emscripten_3_1_58_wasm32", System.PYODIDE, "wasm32", None, None),
        ("plan9_386", System.UNKNOWN, "", None, None),
        ("manylinux2014", System.UNKNOWN, "", None, None),
        ("", System.UNKNOWN, "", None, None),
    ],
)
def test_a_tag_says_what_it_promises(
    tag: str, system: System, arch: str, libc: Libc | None, version: tuple[int, int] | None
) -> None:
    assert tags.parse(tag) == tags.Platform(
        tag=tag, system=system, arch=arch, libc=libc, version=version
    )


@pytest.mark.parametrize(
    ("platforms", "system"),
    [
        (("manylinux1_x86_64", "linux_x86_64"), System.LINUX),
        (("win_amd64",), System.WINDOWS),
        (("win_amd64", "linux_x86_64"), System.UNKNOWN),
        ((), System.UNKNOWN),
    ],
)
def test_a_mixture_of_systems_is_none(platforms: tuple[str, ...], system: System) -> None:
    assert tags.system_of(platforms) is system


def test_the_lowest_tag_is_that_of_the_oldest_c_library() -> None:
    platforms = ("manylinux_2_28_x86_64", "musllinux_1_1_x86_64", "manylinux2014_x86_64")

    assert tags.lowest(platforms, GLIBC) == tags.parse("manylinux2014_x86_64")
    assert tags.lowest(platforms, MUSL) == tags.parse("musllinux_1_1_x86_64")
    assert tags.lowest(("linux_x86_64", "any"), GLIBC) is None


@pytest.mark.parametrize(
    ("platforms", "floor", "expected"),
    [
        (
            ("manylinux1_x86_64", "manylinux_2_5_x86_64"),
            "manylinux_2_27_x86_64",
            ("manylinux_2_27_x86_64",),
        ),
        (
            ("manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64"),
            "manylinux_2_27_x86_64",
            ("manylinux_2_27_x86_64", "manylinux_2_28_x86_64"),
        ),
        (
            ("manylinux_2_5_x86_64",),
            "manylinux_2_17_x86_64",
            ("manylinux2014_x86_64", "manylinux_2_17_x86_64"),
        ),
        (
            ("manylinux_2_5_x86_64",),
            "manylinux2014_x86_64",
            ("manylinux2014_x86_64", "manylinux_2_17_x86_64"),
        ),
        (("manylinux2014_x86_64",), "manylinux_2_17_x86_64", ("manylinux2014_x86_64",)),
        (("manylinux_2_17_x86_64",), "manylinux2014_x86_64", ("manylinux_2_17_x86_64",)),
        (("musllinux_1_1_aarch64",), "musllinux_1_2_aarch64", ("musllinux_1_2_aarch64",)),
        (("linux_x86_64",), "manylinux_2_27_x86_64", ("linux_x86_64",)),
        (
            ("musllinux_1_2_x86_64", "manylinux_2_28_x86_64"),
            "manylinux_2_27_x86_64",
            ("manylinux_2_28_x86_64",),
        ),
        (
            ("musllinux_1_1_x86_64", "manylinux_2_28_x86_64"),
            "musllinux_1_2_x86_64",
            ("musllinux_1_2_x86_64",),
        ),
    ],
)
def test_tags_are_raised_to_the_floor(
    platforms: tuple[str, ...], floor: str, expected: tuple[str, ...]
) -> None:
    assert tags.raised(platforms, tags.parse(floor)) == expected


GLIBC_TAGS = st.sampled_from(
    ["manylinux1", "manylinux2010", "manylinux2014"]
    + [f"manylinux_2_{minor}" for minor in (5, 12, 17, 24, 27, 28, 34)]
).map(lambda family: f"{family}_x86_64")


@given(platforms=st.lists(GLIBC_TAGS, min_size=1).map(tuple), floor=GLIBC_TAGS)
def test_raising_never_lowers_and_twice_is_once(platforms: tuple[str, ...], floor: str) -> None:
    needed = tags.parse(floor)

    result = tags.raised(platforms, needed)

    lowest = tags.lowest(result, GLIBC)
    assert lowest is not None
    before = tags.lowest(platforms, GLIBC)
    assert before is not None
    assert lowest.version == max(before.version or (), needed.version or ())
    assert tags.raised(result, needed) == result


@pytest.mark.parametrize(
    ("tag", "arch", "holds"),
    [
        ("macosx_11_0_arm64", "arm64", True),
        ("macosx_11_0_arm64", "x86_64", False),
        ("macosx_11_0_arm64", "universal2", False),
        ("macosx_10_9_universal2", "arm64", True),
        ("macosx_10_9_universal2", "x86_64", True),
        ("macosx_10_9_universal2", "universal2", True),
        ("macosx_11_0_arm64", "", True),
        ("manylinux_2_28_x86_64", "x86_64", True),
        ("manylinux_2_28_x86_64", "aarch64", False),
        ("any", "x86_64", True),
    ],
)
def test_a_tag_is_for_all_machines_of_an_architecture(
    tag: str,
    arch: str,
    holds: bool,  # noqa: FBT001
) -> None:
    assert tags.holds_for(tags.parse(tag), arch) is holds


@pytest.mark.parametrize(
    ("platforms", "arch", "lowest"),
    [
        (("macosx_11_0_arm64", "macosx_10_13_x86_64"), "arm64", "macosx_11_0_arm64"),
        (("macosx_14_0_arm64", "macosx_11_0_arm64"), "arm64", "macosx_11_0_arm64"),
        (("macosx_10_9_universal2", "macosx_11_0_arm64"), "arm64", "macosx_10_9_universal2"),
        (("macosx_10_13_x86_64", "macosx_11_0_arm64"), "universal2", None),
        (("manylinux_2_28_x86_64", "any"), "x86_64", None),
    ],
)
def test_the_lowest_macos_of_an_architecture(
    platforms: tuple[str, ...], arch: str, lowest: str | None
) -> None:
    assert tags.lowest_macos(platforms, arch) == (tags.parse(lowest) if lowest else None)


@pytest.mark.parametrize(
    ("platforms", "floor", "arch", "expected"),
    [
        (("macosx_10_9_x86_64",), "macosx_10_13_x86_64", "x86_64", ("macosx_10_13_x86_64",)),
        (("macosx_14_0_arm64",), "macosx_11_0_arm64", "arm64", ("macosx_14_0_arm64",)),
        (("macosx_11_0_arm64",), "macosx_12_0_universal2", "arm64", ("macosx_12_0_arm64",)),
        (
            ("macosx_10_9_x86_64", "macosx_11_0_arm64"),
            "macosx_12_0_arm64",
            "arm64",
            ("macosx_10_9_x86_64", "macosx_12_0_arm64"),
        ),
        (
            ("macosx_10_9_x86_64", "macosx_10_15_x86_64"),
            "macosx_10_15_x86_64",
            "x86_64",
            ("macosx_10_15_x86_64",),
        ),
        (("linux_x86_64",), "macosx_11_0_arm64", "x86_64", ("linux_x86_64",)),
    ],
)
def test_macos_tags_are_raised_for_their_architecture(
    platforms: tuple[str, ...], floor: str, arch: str, expected: tuple[str, ...]
) -> None:
    assert tags.raised_macos(platforms, tags.parse(floor), arch) == expected
