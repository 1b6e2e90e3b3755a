"""delvewheel behind our adapter, on any host: its own output, and its traps."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING, NamedTuple

import pytest
from wheels import make_wheel, read_wheel
from workbench import checked, download, repair, run

from extlib_repair.engines import delvewheel
from extlib_repair.errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from workbench import Completed

    from extlib_repair.engines import Result

TARGET = "x86_64-w64-mingw32"
PLAIN = "cp312-cp312-win_amd64"
ABI3 = "cp39-abi3-win_amd64"
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
EXPORT = "__declspec(dllexport) int {name}_value(void)"
IMPORT = "__declspec(dllimport) int {name}_value(void); "
BARE = ("-shared", "-nostdlib", "-Wl,-e,0")
"""No run-time library: nothing is needed but what a test names, and linking takes no time."""


class Foundry:
    """Makes DLLs and extension modules for Windows.

    None is ever loaded; ``libprov.dll`` stands for what a provider supplies, and ``libmid.dll``
    needs it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "python.def").write_text("LIBRARY python312.dll\nEXPORTS\nPyModule_Create2\n")
        checked([f"{TARGET}-dlltool", "-d", folder / "python.def", "-l", folder / "libpython.a"])
        self.libraries = folder / "dlls"
        self.libraries.mkdir()
        for name, needed in (("priv", ()), ("prov", ()), ("mid", ("prov",))):
            self._build(self.libraries / f"lib{name}.dll", EXPORT.format(name=name), needed, "-s")

    def module(self, *needed: str, options: tuple[str, ...] = ("-s",)) -> bytes:
        """Compile an extension module that needs these libraries, and Python's."""
        target = self.folder / "_ext.pyd"
        function = "__declspec(dllexport) void *PyInit__ext(void)"
        self._build(target, function, needed, *options, self.folder / "libpython.a", python=True)
        return target.read_bytes()

    def _build(
        self,
        target: Path,
        function: str,
        needed: tuple[str, ...],
        *options: object,
        python: bool = False,
    ) -> None:
        calls = "".join(f" + {name}_value()" for name in needed)
        value = f"(char *)PyModule_Create2(0, 1013){calls}" if python else f"1{calls}"
        declared = "".join(IMPORT.format(name=name) for name in needed)
        declared += "__declspec(dllimport) void *PyModule_Create2(void *, int); " if python else ""
        source = self.folder / "source.c"
        source.write_text(f"{declared}{function} {{ return {value}; }}\n")
        libraries = [self.libraries / f"lib{name}.dll" for name in needed]
        checked([f"{TARGET}-gcc", *BARE, source, "-o", target, *libraries, *options])


@pytest.fixture(scope="module")
def foundry(tmp_path_factory: pytest.TempPathFactory) -> Foundry:
    if shutil.which(f"{TARGET}-gcc") is None:
        pytest.skip("mingw-w64's gcc is not there")
    return Foundry(tmp_path_factory.mktemp("foundry"))


class Bench(NamedTuple):
    """Folders of one test."""

    folder: Path
    foundry: Foundry

    @property
    def libraries(self) -> Path:
        return self.foundry.libraries

    def wheel(self, files: Mapping[str, bytes], tag: str = PLAIN) -> Path:
        return make_wheel(self.folder / "in", files, tag=tag)

    def package(self, *needed: str, tag: str = PLAIN) -> Path:
        files = {"demo/__init__.py": b"", "demo/_ext.pyd": self.foundry.module(*needed)}
        return self.wheel(files, tag)

    def run(self, wheel: Path, *options: object, leave_out: tuple[str, ...] = ()) -> Result:
        arguments = delvewheel.parse([str(option) for option in options])
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        return delvewheel.run(wheel, dataclasses.replace(arguments, leave_out=leave_out), out)

    def fails(self, wheel: Path, *options: object, leave_out: tuple[str, ...] = ()) -> EngineError:
        with pytest.raises(EngineError) as caught:
            self.run(wheel, *options, leave_out=leave_out)
        assert not list((self.folder / "out").iterdir())
        return caught.value

    def theirs(self, wheel: Path, *options: object, env: Mapping[str, str] = EPOCH) -> Path:
        """Return what delvewheel makes of a wheel by itself."""
        out = self.folder / "theirs"
        env = {"PYTHONHASHSEED": "0", **env}
        checked([sys.executable, "-m", "delvewheel", "repair", *options, "-w", out, wheel], env)
        (written,) = out.iterdir()
        return written


@pytest.fixture
def bench(tmp_path: Path, foundry: Foundry, monkeypatch: pytest.MonkeyPatch) -> Bench:
    for name, value in EPOCH.items():
        monkeypatch.setenv(name, value)
    return Bench(tmp_path, foundry)


def described(path: Path) -> tuple[str, list[tuple[object, ...]]]:
    """Return the name and the members of a wheel."""
    with zipfile.ZipFile(path) as archive:
        members: list[tuple[object, ...]] = [
            (i.filename, archive.read(i), i.external_attr, i.date_time) for i in archive.infolist()
        ]
    return path.name, members


def dlls(wheel: Path) -> list[str]:
    """Return the DLLs of a wheel, without the hashes in their names."""
    names = [name for name in read_wheel(wheel) if name.endswith(".dll")]
    return sorted(
        f"{n.rpartition('-')[0]}.dll" if "-" in n.rpartition("/")[2] else n for n in names
    )


def needed(wheel: Path, member: str, folder: Path) -> set[str]:
    """Return what delvewheel finds that a member needs."""
    target = folder / "looked-at"
    target.write_bytes(read_wheel(wheel)[member])
    return set(checked([sys.executable, "-m", "delvewheel", "needed", target]).split())


# With no provider: delvewheel's own output


def package(bench: Bench) -> tuple[Path, list[object]]:
    return bench.package("priv", "mid"), ["--add-path", bench.libraries]


def abi3(bench: Bench) -> tuple[Path, list[object]]:
    return bench.package("priv", tag=ABI3), ["--add-path", bench.libraries, "-L", ".dlls"]


def top_level(bench: Bench) -> tuple[Path, list[object]]:
    files = {"_ext.cp312-win_amd64.pyd": bench.foundry.module("priv")}
    return bench.wheel(files), ["--add-path", bench.libraries]


def namespace(bench: Bench) -> tuple[Path, list[object]]:
    files = {"ns/sub/__init__.py": b'"""Sub."""\n', "ns/sub/_ext.pyd": bench.foundry.module("priv")}
    return bench.wheel(files), ["--add-path", bench.libraries, "--namespace-pkg", "ns"]


def data_scheme(bench: Bench) -> tuple[Path, list[object]]:
    folder = "demo-1.0.data/platlib/demo"
    files = {f"{folder}/__init__.py": b"x = 1\n", f"{folder}/_ext.pyd": bench.foundry.module("mid")}
    return bench.wheel(files), ["--add-path", bench.libraries]


def custom_patch(bench: Bench) -> tuple[Path, list[object]]:
    files = {"demo/__init__.py": b"x = 1\r\n# delvewheel: patch\r\nfrom demo import _ext\r\n"}
    files["demo/_ext.pyd"] = bench.foundry.module("priv")
    return bench.wheel(files), ["--add-path", bench.libraries, "--custom-patch"]


def no_mangling(bench: Bench) -> tuple[Path, list[object]]:
    return bench.package("mid", "priv"), ["--add-path", bench.libraries, "--no-mangle-all"]


def excluding(bench: Bench) -> tuple[Path, list[object]]:
    options = ["--add-path", bench.libraries, "--exclude", "LIBPROV*", "--no-mangle", "libpriv.dll"]
    return bench.package("priv", "mid"), options


def copies_of_its_own(bench: Bench) -> tuple[Path, list[object]]:
    files = {"demo/__init__.py": b"", "demo/_ext.pyd": bench.foundry.module("mid")}
    files["demo/libmid.dll"] = (bench.libraries / "libmid.dll").read_bytes()
    return bench.wheel(files), ["--ignore-in-wheel", "--with-m", "--add-path", bench.libraries]


def analyzing_them_too(bench: Bench) -> tuple[Path, list[object]]:
    wheel, _ = copies_of_its_own(bench)
    return wheel, ["--ignore-existing", "--analyze-existing", "--add-path", bench.libraries]


def nothing_to_vendor(bench: Bench) -> tuple[Path, list[object]]:
    return bench.package(), []


def from_the_index(bench: Bench) -> tuple[Path, list[object]]:
    options = ("--platform", "win_amd64", "--python-version", "3.12")
    return download(bench.folder / "in", "markupsafe", *options), []


CASES: dict[str, Callable[[Bench], tuple[Path, list[object]]]] = {
    function.__name__.replace("_", " "): function
    for function in (
        package,
        abi3,
        top_level,
        namespace,
        data_scheme,
        custom_patch,
        no_mangling,
        excluding,
        copies_of_its_own,
        analyzing_them_too,
        nothing_to_vendor,
        from_the_index,
    )
}


@pytest.mark.parametrize("case", CASES)
def test_without_a_provider_the_output_is_delvewheels_own(case: str, bench: Bench) -> None:
    wheel, options = CASES[case](bench)
    theirs = bench.theirs(wheel, *options)

    ours = bench.run(wheel, *options).wheel

    assert described(ours) == described(theirs)


@pytest.mark.parametrize("case", ["package", "top level", "nothing to vendor"])
def test_so_is_that_of_the_whole_command(case: str, bench: Bench) -> None:
    wheel, options = CASES[case](bench)
    theirs = bench.theirs(wheel, *options)

    done = repair("repair", "-w", bench.folder / "ours", wheel, *options, env=EPOCH)

    assert done.code == 0, done.err
    assert described(bench.folder / "ours" / wheel.name) == described(theirs)


@pytest.mark.parametrize(
    ("case", "member", "copies"),
    [
        ("package", "demo.libs", ["libmid", "libpriv", "libprov"]),
        ("abi3", "demo.dlls", ["libpriv"]),
        ("top level", "demo-1.0.data/platlib", ["libpriv"]),
        ("namespace", "demo.libs", ["libpriv"]),
        ("excluding", "demo.libs", ["libmid", "libpriv"]),
        ("copies of its own", "demo.libs", ["libprov"]),
        ("nothing to vendor", "", []),
    ],
)
def test_the_fixtures_make_delvewheel_work(
    case: str, member: str, copies: list[str], bench: Bench
) -> None:
    """The comparison above is not one of wheels that nothing was done to."""
    wheel, options = CASES[case](bench)

    found = dlls(bench.run(wheel, *options).wheel)

    own = ["demo/libmid.dll"] if case == "copies of its own" else []
    assert found == sorted([*own, *(f"{member}/{name}.dll" for name in copies)])


@pytest.mark.parametrize("case", ["package", "abi3", "top level"])
def test_without_an_epoch_only_the_command_line_is_missing(
    case: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would show our private folder: another one in every run, and nobody's business."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    wheel, options = CASES[case](bench)
    theirs = read_wheel(bench.theirs(wheel, *options, env={}))

    ours = read_wheel(bench.run(wheel, *options).wheel)

    info = "demo-1.0.dist-info"
    assert list(ours) == list(theirs)
    assert {name for name in ours if ours[name] != theirs[name]} == {
        f"{info}/DELVEWHEEL",
        f"{info}/RECORD",
    }
    version, arguments = theirs[f"{info}/DELVEWHEEL"].splitlines(keepends=True)
    assert arguments.startswith(b"Arguments: ")
    assert ours[f"{info}/DELVEWHEEL"] == version
    assert str(bench.folder).encode() not in b"".join(ours.values())


def test_the_output_is_the_same_in_every_run(bench: Bench) -> None:
    """delvewheel writes names in the order of a set (the file of the load order, abi3)."""
    wheel, options = bench.package("priv", "mid", tag=ABI3), ["--add-path", bench.libraries]
    first = described(bench.run(wheel, *options).wheel)

    assert all(described(bench.run(wheel, *options).wheel) == first for _ in range(2))


# Options


@pytest.mark.skipif(os.pathsep != ":", reason="this host separates paths as Windows does")
@pytest.mark.parametrize("separator", [":", ";"])
def test_lists_are_separated_as_on_windows_and_as_on_this_host(
    separator: str, bench: Bench
) -> None:
    folders = [bench.folder / "empty", bench.libraries]
    paths = separator.join(map(str, folders))
    kept = separator.join(["libprov.dll", "libpriv.dll"])

    ours = bench.run(bench.package("priv", "mid"), "--add-path", paths, "--exclude", kept).wheel

    assert dlls(ours) == ["demo.libs/libmid.dll"]
    names = needed(ours, "demo/_ext.pyd", bench.folder)
    assert {"libpriv.dll", "python312.dll"} < names


def test_an_asterisk_in_the_path_of_a_wheel_is_no_pattern(bench: Bench) -> None:
    wheel, _ = nothing_to_vendor(bench)
    for folder in ("a*b", "axb"):
        (bench.folder / folder).mkdir()
        shutil.copy(wheel, bench.folder / folder)

    ours = bench.run(bench.folder / "a*b" / wheel.name)

    assert "repairing " + str(bench.folder / "a*b") in ours.log
    assert "axb" not in ours.log


# Provided libraries


def test_a_provided_library_stays_out_in_any_case(bench: Bench) -> None:
    options = ["--add-path", bench.libraries]
    result = bench.run(bench.package("prov", "priv"), *options, leave_out=("LibProv.DLL",))

    assert dlls(result.wheel) == ["demo.libs/libpriv.dll"]
    assert "libprov.dll" in needed(result.wheel, "demo/_ext.pyd", bench.folder)
    assert "libprov.dll" in result.matched


def test_a_provided_library_of_a_private_one_stays_out(bench: Bench) -> None:
    wheel, options = package(bench)

    ours = bench.run(wheel, *options, leave_out=("libprov.dll",)).wheel

    assert dlls(ours) == ["demo.libs/libmid.dll", "demo.libs/libpriv.dll"]
    (middle,) = (name for name in read_wheel(ours) if "libmid" in name)
    assert needed(ours, middle, bench.folder) == {"libprov.dll"}


def test_where_all_is_provided_the_wheel_is_only_copied(bench: Bench) -> None:
    wheel = bench.package("prov")

    ours = bench.run(wheel, leave_out=("libprov.dll", "other.dll")).wheel

    assert ours.read_bytes() == wheel.read_bytes()


@pytest.mark.parametrize("name", ["libprov", "prov.dll", "libprov.dll.1", "libpro[uv].dll"])
def test_a_part_of_a_name_leaves_nothing_out(name: str, bench: Bench) -> None:
    wheel, options = package(bench)

    assert len(dlls(bench.run(wheel, *options, leave_out=(name,)).wheel)) == 3


def test_a_copy_of_what_is_provided_cannot_be_asked_for(bench: Bench) -> None:
    with pytest.raises(UsageError, match="asks for a copy of what a provider supplies"):
        bench.run(bench.package(), "--include", "libprov.dll", leave_out=("libprov.dll",))


# Its traps


def test_a_wheel_that_was_repaired_is_passed_on_as_it_is(bench: Bench) -> None:
    """delvewheel writes nothing, and ends well."""
    wheel, options = package(bench)
    repaired = bench.theirs(wheel, *options)

    again = bench.run(repaired, *options)

    assert again.wheel.name == wheel.name
    assert again.wheel.read_bytes() == repaired.read_bytes()
    assert "has already repaired this wheel" in again.log


def test_a_name_with_a_build_number_is_kept(bench: Bench) -> None:
    wheel, options = package(bench)
    numbered = wheel.with_name(f"demo-1.0-2-{PLAIN}.whl")
    wheel.rename(numbered)

    assert bench.run(numbered, *options).wheel.name == numbered.name


def test_a_missing_library_is_named_with_the_member_that_needs_it(bench: Bench) -> None:
    error = bench.fails(bench.package("mid"), "--exclude", "libprov.dll")

    assert str(error) == (
        "delvewheel: libmid.dll could not be found: demo/_ext.pyd, or a DLL that it needs, "
        "asks for it"
    )
    assert error.hint is not None
    assert "--provided-by" in error.hint
    assert "Traceback" in error.log


def test_a_library_to_include_that_is_missing_is_named(bench: Bench) -> None:
    error = bench.fails(bench.package(), "--include", "libnone.dll")

    assert str(error) == "delvewheel: libnone.dll not found"
    assert error.hint == "name the folder that holds it with --add-path"


def test_a_binary_for_another_machine_is_named(bench: Bench) -> None:
    error = bench.fails(bench.package(tag="cp312-cp312-win32"))

    assert str(error).startswith("delvewheel: demo/_ext.pyd has a CPU architecture that is not ")


def test_an_overlay_leads_to_strip(bench: Bench) -> None:
    files = {"demo/__init__.py": b"", "demo/_ext.pyd": bench.foundry.module("priv", options=())}
    wheel = bench.wheel(files)
    options = ["--add-path", bench.libraries, "--test", "not_enough_padding"]

    error = bench.fails(wheel, *options)

    assert str(error) == (
        "delvewheel: Unable to rename the dependencies of _ext.pyd because this DLL does not "
        "contain enough internal padding to fit the new dependency names, and it contains an "
        "overlay"
    )
    assert error.hint is not None
    assert error.hint.startswith("--strip")
    assert dlls(bench.run(wheel, *options, "--no-mangle", "libpriv.dll").wheel)


def test_a_damaged_binary_is_named(bench: Bench) -> None:
    data = bytearray(bench.foundry.module("priv"))
    start = int.from_bytes(data[0x3C:0x40], "little")
    data[start : start + 2] = b"XX"
    error = bench.fails(bench.wheel({"demo/__init__.py": b"", "demo/_ext.pyd": bytes(data)}))

    assert str(error).startswith("delvewheel: demo/_ext.pyd: ")


def test_a_file_that_cannot_be_patched_is_named(bench: Bench) -> None:
    files = {"demo/__init__.py": b'"""Doc.""" ; x = 1\n'}
    files["demo/_ext.pyd"] = bench.foundry.module("priv")
    error = bench.fails(bench.wheel(files), "--add-path", bench.libraries)

    assert str(error).startswith("delvewheel: demo/__init__.py: ")


def test_what_delvewheel_warns_of_is_shown(bench: Bench) -> None:
    """It makes a namespace package a package of its own."""
    wheel, options = namespace(bench)

    (finding,) = bench.run(wheel, *options[:2]).findings

    assert finding.message.startswith("delvewheel: ns does not contain __init__.py.")


# The whole command


def told(bench: Bench, wheel: Path, *options: object) -> Completed:
    return repair("-w", bench.folder / "out", wheel, "--add-path", bench.libraries, *options)


def test_failures_of_the_command_have_their_exit_codes(bench: Bench) -> None:
    wheel = bench.package("mid")

    missing = repair("-w", bench.folder / "out", wheel)
    deleting = told(bench, wheel, "--extract-dir", bench.folder)
    two = told(bench, bench.package(tag="py3-none-win32.win_amd64"))

    assert [(done.code, "Traceback" in done.err) for done in (missing, deleting, two)] == [
        (5, False),
        (2, False),
        (2, False),
    ]
    assert "libmid.dll could not be found" in missing.err
    assert not (bench.folder / "out").exists()


@pytest.mark.parametrize(
    ("pattern", "warned"),
    [
        ("libprov.dll", False),
        ("LibPro*", False),
        ("KERNEL?", None),
        ("libprow.dll", True),
        ("prov*", True),
    ],
)
def test_a_pattern_that_matches_nothing_is_a_warning(
    pattern: str, bench: Bench, *, warned: bool | None
) -> None:
    done = told(bench, bench.package("priv", "mid"), "--exclude", pattern)

    assert done.code == (2 if warned is None else 0), done.err
    assert (f"--exclude {pattern} matches nothing" in done.err) is bool(warned)


def test_the_line_of_cibuildwheel_works(bench: Bench) -> None:
    """``delvewheel repair -w {dest_dir} {wheel}``, with the DLLs found through PATH."""
    wheel = bench.package("priv")
    env = {"PATH": f"{bench.libraries}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "extlib_repair", "repair", "-w", bench.folder / "out", wheel]

    done = run(command, {**env, **EPOCH})

    assert done.code == 0, done.err
    assert dlls(bench.folder / "out" / wheel.name) == ["demo.libs/libpriv.dll"]
