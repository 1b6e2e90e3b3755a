"""TOML -> Policy, and messages that name file and key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from extlib_repair import policy
from extlib_repair.errors import PolicyError
from extlib_repair.model import Policy, PolicyLibrary, Project, SitePath, System

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINUX, MACOS, WINDOWS = System.LINUX, System.MACOS, System.WINDOWS
TOP = 'schema = 1\nproject = "foo"\n'
LIBRARY = '[[libraries]]\nsystem = "linux"\ndirectory = "foo/lib"\nname = "libfoo.so"\n'


def test_a_whole_policy_is_read() -> None:
    text = (
        'schema = 1\nproject = "Scipy_OpenBLAS64"\n[symbols]\nprefix = "scipy_"\nsuffix = "64_"\n'
        '[[libraries]]\nsystem = "windows"\narchitectures = ["amd64"]\ndirectory = "a/b/"\n'
        'name = "x.dll"\n'
    )

    assert policy.parse(text, "x.toml") == Policy(
        project=Project("scipy-openblas64"),
        source="x.toml",
        symbol_prefix="scipy_",
        symbol_suffix="64_",
        libraries=(
            PolicyLibrary(
                name="x.dll",
                directory=SitePath("a/b"),
                system=WINDOWS,
                architectures=("amd64",),
            ),
        ),
    )


def test_symbols_and_architectures_may_be_left_out() -> None:
    found = policy.parse(TOP + LIBRARY, "x.toml")

    assert (found.symbol_prefix, found.symbol_suffix) == ("", "")
    assert found.libraries[0].architectures == ()
    assert not found.marks("anything")


@pytest.mark.parametrize("directory", ["", "foo", "foo/lib", "foo.libs/x-1/", "...", "a/..b"])
def test_a_directory_is_a_path_below_site_packages(directory: str) -> None:
    text = TOP + LIBRARY.replace("foo/lib", directory)

    assert policy.parse(text, "x.toml").libraries[0].directory == directory.rstrip("/")


BAD = {
    "not TOML": "schema = ",
    "no schema": 'project = "foo"\nlibraries = [1]',
    "another schema": 'schema = 2\nprojekt = "foo"',
    "schema of another type": 'schema = "1"\n',
    "schema that is true": "schema = true\nproject = 'foo'\nlibraries = [1]\n",
    "no project": "schema = 1\n" + LIBRARY,
    "project of another type": "schema = 1\nproject = 3\n",
    "no name of a project": 'schema = 1\nproject = "-foo"\n' + LIBRARY,
    "no libraries": TOP,
    "empty libraries": TOP + "libraries = []",
    "unknown key, near": TOP + "library = []\n",
    "unknown key, far": TOP + "zzz = 1\n" + LIBRARY,
    "unknown key of symbols": TOP + '[symbols]\nsufix = "64_"\n' + LIBRARY,
    "symbols of another type": TOP + "symbols = 3\n" + LIBRARY,
    "prefix of another type": TOP + "[symbols]\nprefix = ['a']\n" + LIBRARY,
    "library of another type": TOP + "libraries = [3]",
    "unknown key of a library": TOP + LIBRARY + LIBRARY + 'directori = "x"\n',
    "library without a name": TOP + LIBRARY.replace('name = "libfoo.so"\n', ""),
    "library without a directory": TOP + LIBRARY.replace('directory = "foo/lib"\n', ""),
    "library without a system": TOP + LIBRARY.replace('system = "linux"\n', ""),
    "unknown system": TOP + LIBRARY.replace("linux", "beos"),
    "absolute directory": TOP + LIBRARY.replace("foo/lib", "/foo/lib"),
    "directory that goes up": TOP + LIBRARY.replace("foo/lib", "foo/../../lib"),
    "directory with a dot": TOP + LIBRARY.replace("foo/lib", "./foo"),
    "directory with a gap": TOP + LIBRARY.replace("foo/lib", "foo//lib"),
    "directory with a backslash": TOP + LIBRARY.replace('"foo/lib"', r"'foo\lib'"),
    "directory on a drive": TOP + LIBRARY.replace("foo/lib", "C:/lib"),
    "empty name": TOP + LIBRARY.replace("libfoo.so", ""),
    "name in a folder": TOP + LIBRARY.replace("libfoo.so", "lib/libfoo.so"),
    "name that goes up": TOP + LIBRARY.replace("libfoo.so", ".."),
    "architectures of another type": TOP + LIBRARY + 'architectures = "x86_64"\n',
    "architectures that are no strings": TOP + LIBRARY + "architectures = [64]\n",
}


def test_every_message_names_file_and_key(golden: Callable[[str, str], None]) -> None:
    shown = []
    for name, text in BAD.items():
        with pytest.raises(PolicyError) as caught:
            policy.parse(text, "x.toml")
        hint = f"hint: {caught.value.hint}\n" if caught.value.hint else ""
        shown.append(f"# {name}\nerror: {caught.value}\n{hint}")

    assert all("x.toml" in text for text in shown)
    golden("errors/policy.txt", "\n".join(shown))


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "foo.toml"
    path.write_text(TOP + LIBRARY)

    found = policy.load(path)

    assert (found.project, found.source) == ("foo", str(path))


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "foo.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(PolicyError, match=r"^cannot read the policy .*foo\.toml: "):
        policy.load(path)


def test_two_policies_are_built_in_and_both_are_right() -> None:
    assert policy.built_in_projects() == ("scipy-openblas32", "scipy-openblas64")
    for project in policy.built_in_projects():
        found = policy.built_in(Project(project))

        assert found is not None
        assert (found.project, found.source) == (project, "built in")
    assert policy.built_in(Project("no-such-provider")) is None


# The files of release 0.3.34.481.3 on every platform that has a wheel, as they were listed.
PUBLISHED = [
    (LINUX, "x86_64", "libscipy_openblas64_.so", "libscipy_openblas.so"),
    (LINUX, "aarch64", "libscipy_openblas64_.so", "libscipy_openblas.so"),
    (MACOS, "arm64", "libscipy_openblas64_.dylib", "libscipy_openblas.dylib"),
    (MACOS, "x86_64", "libscipy_openblas64_.dylib", "libscipy_openblas.dylib"),
    (WINDOWS, "amd64", "libscipy_openblas64_.dll", "libscipy_openblas.dll"),
    (WINDOWS, "arm64", "scipy_openblas_64.dll", "scipy_openblas.dll"),
]


@pytest.mark.parametrize(("system", "arch", "name64", "name32"), PUBLISHED)
def test_built_in_policies_state_the_published_files(
    system: System, arch: str, name64: str, name32: str
) -> None:
    for bits, name in (("64", name64), ("32", name32)):
        rules = policy.built_in(Project(f"scipy-openblas{bits}"))
        assert rules is not None

        found = policy.libraries_for(rules, system, arch)

        assert [(li.directory, li.name) for li in found] == [(f"scipy_openblas{bits}/lib", name)]


def test_built_in_policies_know_how_symbols_are_spelled() -> None:
    ilp64 = policy.built_in(Project("scipy-openblas64"))
    lp64 = policy.built_in(Project("scipy-openblas32"))
    assert ilp64 is not None
    assert lp64 is not None

    assert [ilp64.marks(n) for n in ("scipy_dgemm_64_", "scipy_dgemm_", "dgemm_64_")] == [
        True,
        False,
        False,
    ]
    assert [lp64.marks(n) for n in ("scipy_dgemm_", "dgemm_", "scipy_")] == [True, False, False]


@pytest.mark.parametrize(
    ("stated", "asked", "found"),
    [
        ('"arm64", "x86_64"', "universal2", True),
        ('"universal2"', "universal2", True),
        ('"arm64"', "universal2", False),
        ('"arm64", "x86_64"', "arm64", True),
        ('"universal2"', "arm64", False),
    ],
)
def test_universal2_is_both_of_its_machines(stated: str, asked: str, *, found: bool) -> None:
    text = f"{TOP}{LIBRARY}architectures = [{stated}]\n".replace('"linux"', '"macos"')

    libraries = policy.libraries_for(policy.parse(text, "x.toml"), MACOS, asked)

    assert bool(libraries) is found


def test_a_system_without_an_entry_has_no_libraries() -> None:
    rules = policy.parse(TOP + LIBRARY, "x.toml")

    assert policy.libraries_for(rules, MACOS, "arm64") == ()
    assert [li.name for li in policy.libraries_for(rules, LINUX, "riscv64")] == ["libfoo.so"]
