"""Where members are installed, and how folders lie to each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extlib_repair import layout
from extlib_repair.model import Member, SitePath

FOLDERS = st.lists(st.sampled_from(["a", "b", "lib", "numpy.libs", "..."]), max_size=5).map(
    lambda parts: SitePath("/".join(parts))
)


@pytest.mark.parametrize(
    ("member", "place"),
    [
        ("_top.so", "_top.so"),
        ("pkg/sub/_deep.so", "pkg/sub/_deep.so"),
        ("demo.libs/libx.so", "demo.libs/libx.so"),
        ("demo-1.0.data/platlib/pkg/_m.so", "pkg/_m.so"),
        ("demo-1.0.data/purelib/_m.so", "_m.so"),
        ("pkg/x.data/platlib/_m.so", "pkg/x.data/platlib/_m.so"),
        ("odd.data", "odd.data"),
    ],
)
def test_members_are_installed_at_the_root_or_below_it(member: str, place: str) -> None:
    assert layout.installed(Member(member)) == place


@pytest.mark.parametrize(
    ("place", "files"),
    [
        ("_top.pyd", ["_top/__init__.py"]),
        (
            "a/b/_e.cp311.pyd",
            ["a/b/_e/__init__.py", "a/b/__init__.py", "a/__init__.py", "a/_distributor_init.py"],
        ),
        (
            "a/plain",
            ["a/plain/__init__.py", "a/__init__.py", "a/_distributor_init.py"],
        ),
    ],
)
def test_what_runs_before_a_module_is_loaded(place: str, files: list[str]) -> None:
    assert list(layout.loaded_before(SitePath(place))) == files


@pytest.mark.parametrize(
    "member",
    [
        "demo-1.0.data/scripts/prog",
        "demo-1.0.data/data/lib/libx.so",
        "demo-1.0.data/headers/x.h",
        "demo-1.0.data/platlib",
    ],
)
def test_other_schemes_have_no_fixed_place(member: str) -> None:
    assert layout.installed(Member(member)) is None


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("demo-1.0.data/scripts/prog", True),
        ("demo-1.0.data/scripts/sub/prog", False),
        ("demo-1.0.data/data/prog", False),
        ("demo/scripts/prog", False),
    ],
)
def test_a_script_stands_right_in_the_scripts_scheme(member: str, expected: bool) -> None:  # noqa: FBT001
    assert layout.is_script(Member(member)) is expected


def test_folder_and_basename_split_a_path() -> None:
    assert (layout.folder("a/b/c.so"), layout.basename("a/b/c.so")) == ("a/b", "c.so")
    assert (layout.folder("c.so"), layout.basename("c.so")) == ("", "c.so")


@pytest.mark.parametrize(
    ("origin", "target", "steps"),
    [
        ("numpy/linalg", "scipy_openblas64/lib", "../../scipy_openblas64/lib"),
        ("", "scipy_openblas64/lib", "scipy_openblas64/lib"),
        ("a/b", "a", ".."),
        ("a", "a/b", "b"),
        ("a/b", "a/c", "../c"),
        ("ab", "a", "../a"),
        ("a", "a", ""),
    ],
)
def test_relative_goes_up_to_what_is_common_and_down(origin: str, target: str, steps: str) -> None:
    assert layout.relative(SitePath(origin), SitePath(target)) == steps


@pytest.mark.parametrize(
    ("origin", "steps", "place"),
    [
        ("a/b", "../../c", "c"),
        ("a", "./x/.//y/", "a/x/y"),
        ("a", "..", ""),
        ("a", "../..", None),
        ("a", "../../a", None),
        ("", "..", None),
    ],
)
def test_walk_never_leaves_site_packages(origin: str, steps: str, place: str | None) -> None:
    assert layout.walk(SitePath(origin), steps) == place


@given(origin=FOLDERS, target=FOLDERS)
def test_walking_the_relative_steps_arrives(origin: SitePath, target: SitePath) -> None:
    assert layout.walk(origin, layout.relative(origin, target)) == target
