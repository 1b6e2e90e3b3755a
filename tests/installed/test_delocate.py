"""delocate behind our adapter, on a host without Apple's tools: its own output, and its traps."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import lzma
import os
import shutil
import stat
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from delocate import tools
from wheels import make_wheel, read_wheel
from workbench import download, repair, retried, run

from extlib_repair.binary import codesign, macho_fat
from extlib_repair.binary.macho_file import MachO
from extlib_repair.engines import apple_tools, delocate
from extlib_repair.errors import EngineError
from extlib_repair.model import Signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from extlib_repair.engines import Result

FIXTURES = Path(__file__).parents[1] / "fixtures" / "macho"
ARM64 = "cp311-cp311-macosx_14_0_arm64"
X86_64 = "cp311-cp311-macosx_11_0_x86_64"
BOTH = "cp311-cp311-macosx_14_0_universal2"
BUILD = "/build/deps/openblas-0.3.30/lib"
PROVIDED = "@rpath/libprov.dylib"

THEIRS = (
    "import delocate.tools; from extlib_repair.engines import apple_tools; "
    "delocate.tools._run = apple_tools.run; "
    "from delocate.cmd.delocate_wheel import main; main()"
)
"""delocate's own command line, on our stand-ins for Apple's tools."""

needs_stand_ins = pytest.mark.skipif(
    all(map(shutil.which, apple_tools.NAMES)), reason="Apple's tools are here"
)
pytestmark = needs_stand_ins


def fixture(name: str) -> bytes:
    return lzma.decompress((FIXTURES / f"{name}.xz").read_bytes())


def thin(data: bytes, arch: str) -> bytes:
    (found,) = (
        part.data
        for part in macho_fat.slices(data)
        if isinstance(part, MachO) and part.arch == arch
    )
    return found


class Bench(NamedTuple):
    """Folders of one test; the libraries are where delocate finds them by DYLD_LIBRARY_PATH."""

    folder: Path
    libraries: Path

    def put(self, *names: str, arch: str = "") -> None:
        for name in names:
            data = fixture(name)
            (self.libraries / name).write_bytes(thin(data, arch) if arch else data)

    def wheel(self, files: dict[str, bytes], tag: str = ARM64, name: str = "demo") -> Path:
        return make_wheel(self.folder / "in", files, tag=tag, name=name)

    def module(self, name: str = "chained_arm64.so", tag: str = ARM64) -> Path:
        return self.wheel({"demo/__init__.py": b"", "demo/_core.so": fixture(name)}, tag)

    def run(self, wheel: Path, *options: str, leave_out: tuple[str, ...] = ()) -> Result:
        arguments = delocate.parse(options)
        out = self.folder / "out"
        out.mkdir()
        return delocate.run(wheel, dataclasses.replace(arguments, leave_out=leave_out), out)

    def fails(self, wheel: Path, *options: str, leave_out: tuple[str, ...] = ()) -> EngineError:
        with pytest.raises(EngineError) as caught:
            self.run(wheel, *options, leave_out=leave_out)
        assert not list((self.folder / "out").iterdir())
        return caught.value


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    monkeypatch.setenv("DYLD_LIBRARY_PATH", str(libraries))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.delenv("MACOSX_DEPLOYMENT_TARGET", raising=False)
    return Bench(tmp_path, libraries)


def described(path: Path) -> tuple[str, list[tuple[object, ...]]]:
    """Return the name and the members of a wheel."""
    with zipfile.ZipFile(path) as archive:
        members: list[tuple[object, ...]] = [
            (i.filename, archive.read(i), i.external_attr, i.date_time) for i in archive.infolist()
        ]
    return path.name, members


def images(wheel: Path, member: str) -> dict[str, MachO]:
    parts = macho_fat.slices(read_wheel(wheel)[member])
    return {part.arch: part for part in parts if isinstance(part, MachO)}


def needed(wheel: Path, member: str) -> dict[str, tuple[str, ...]]:
    found = images(wheel, member)
    return {arch: tuple(d.name for d in image.dylibs) for arch, image in found.items()}


def rpaths(wheel: Path, member: str) -> dict[str, tuple[str, ...]]:
    return {arch: image.rpaths for arch, image in images(wheel, member).items()}


# With no provider: delocate's own output


def vendoring_arm64(bench: Bench) -> tuple[Path, list[str]]:
    bench.put("libprov.dylib", "libpriv.dylib", arch="arm64")
    return bench.module(), ["--require-archs", "arm64"]


def vendoring_x86_64(bench: Bench) -> tuple[Path, list[str]]:
    bench.put("libprov.dylib", "libpriv.dylib", arch="x86_64")
    return bench.module("opcodes_x86_64.so", X86_64), ["-k", "-L", ".libs"]


def vendoring_fat(bench: Bench) -> tuple[Path, list[str]]:
    bench.put("libprov.dylib", "libpriv.dylib")
    return bench.module("fat.so", BOTH), ["--require-archs", "universal2"]


def vendoring_a_chain(bench: Bench) -> tuple[Path, list[str]]:
    bench.put("libprov.dylib", "libpriv.dylib", "libreexporting.dylib")
    return bench.module("weak.so"), ["-d"]


def excluding(bench: Bench) -> tuple[Path, list[str]]:
    wheel, _ = vendoring_arm64(bench)
    return wheel, ["--exclude", "libprov", "--no-sanitize-rpaths"]


def ignoring_what_is_missing(bench: Bench) -> tuple[Path, list[str]]:
    bench.put("libpriv.dylib")
    return bench.module(), ["--ignore-missing-dependencies"]


def data_scheme(bench: Bench) -> tuple[Path, list[str]]:
    bench.put("libprov.dylib", "libpriv.dylib")
    files = {"demo-1.0.data/platlib/demo/_core.so": fixture("chained_arm64.so")}
    return bench.wheel({**files, "demo-1.0.data/scripts/tool": fixture("program")}, BOTH), []


def tag_from_the_environment(bench: Bench) -> tuple[Path, list[str]]:
    return vendoring_arm64(bench)[0], ["--require-target-macos-version", "15.0"]


def nothing_to_vendor_arm64(bench: Bench) -> tuple[Path, list[str]]:
    options = ("--platform", "macosx_11_0_arm64", "--python-version", "3.12")
    return download(bench.folder / "in", "markupsafe", *options), ["--require-archs", "arm64"]


def nothing_to_vendor_x86_64(bench: Bench) -> tuple[Path, list[str]]:
    options = ("--platform", "macosx_10_13_x86_64", "--python-version", "3.12")
    return download(bench.folder / "in", "markupsafe", *options), []


def already_repaired(bench: Bench) -> tuple[Path, list[str]]:
    options = ("--platform", "macosx_11_0_arm64", "--python-version", "3.12")
    return download(bench.folder / "in", "pillow", *options), []


CASES: dict[str, Callable[[Bench], tuple[Path, list[str]]]] = {
    function.__name__.replace("_", " "): function
    for function in (
        vendoring_arm64,
        vendoring_x86_64,
        vendoring_fat,
        vendoring_a_chain,
        excluding,
        ignoring_what_is_missing,
        data_scheme,
        tag_from_the_environment,
        nothing_to_vendor_arm64,
        nothing_to_vendor_x86_64,
        already_repaired,
    )
}


@pytest.mark.parametrize("case", CASES)
def test_without_a_provider_the_output_is_delocates_own(case: str, bench: Bench) -> None:
    wheel, options = CASES[case](bench)
    theirs = bench.folder / "theirs"
    command = [sys.executable, "-c", THEIRS, *options, "-w", theirs, wheel]
    done = run(command, {"PYTHONHASHSEED": "0"})
    assert done.code == 0, done.err

    ours = bench.run(wheel, *options).wheel

    assert [described(ours)] == [described(path) for path in theirs.iterdir()]


def test_the_fixtures_make_delocate_work(bench: Bench) -> None:
    """The comparison above is not one of wheels that nothing was done to."""
    wheel, options = vendoring_fat(bench)
    ours = bench.run(wheel, *options).wheel

    inside = ("@loader_path/.dylibs/libprov.dylib", "@loader_path/.dylibs/libpriv.dylib")
    system = ("/usr/lib/libSystem.B.dylib",)
    assert needed(ours, "demo/_core.so") == {
        "x86_64": system + inside[:1],
        "arm64": system + inside,
    }
    assert images(ours, "demo/.dylibs/libpriv.dylib")["arm64"].name == (
        "/DLC/demo/.dylibs/libpriv.dylib"
    )
    assert rpaths(ours, "demo/_core.so") == {"x86_64": (), "arm64": ()}


def test_what_is_written_is_what_macholib_reads(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second reader sees in the output what delocate is told of it."""
    wheel, options = vendoring_fat(bench)
    written = read_wheel(bench.run(wheel, *options).wheel)
    monkeypatch.setattr(tools, "_run", apple_tools.run)
    for member in ("demo/_core.so", "demo/.dylibs/libprov.dylib", "demo/.dylibs/libpriv.dylib"):
        file = tmp_path / Path(member).name
        file.write_bytes(written[member])

        names, paths, own = by_macholib(file)

        assert tools._get_install_names(file) == names
        assert tools._get_rpaths(file) == paths
        assert tools._get_install_ids(file) == own
        assert tools.get_archs(str(file)) == {"x86_64", "arm64"}


@pytest.mark.parametrize(
    ("name", "tag", "signed"),
    [
        ("unsigned_arm64.so", ARM64, True),  # the system demands it
        ("signed_x86_64.so", X86_64, True),
        ("bare_loader_path.so", X86_64, False),
    ],
)
def test_what_is_written_has_valid_signatures(
    name: str, tag: str, bench: Bench, *, signed: bool
) -> None:
    bench.put("libprov.dylib")
    written = bench.run(bench.module(name, tag)).wheel

    for member in ("demo/_core.so", "demo/.dylibs/libprov.dylib"):
        assert codesign.problems(read_wheel(written)[member]) == ()
    (image,) = images(written, "demo/_core.so").values()
    assert (codesign.kind(image) is not Signature.NONE) is signed


def by_macholib(
    file: Path,
) -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, str]]:
    numbers = importlib.import_module("macholib.mach_o")
    macho = importlib.import_module("macholib.MachO")

    def text(command: tuple[Any, Any, bytes]) -> str:
        return command[2].rstrip(b"\0").decode()

    names: dict[str, list[str]] = {}
    paths: dict[str, list[str]] = {}
    own: dict[str, str] = {}
    for header in macho.MachO(str(file)).headers:
        arch = numbers.CPU_TYPE_NAMES[header.header.cputype].lower()
        names[arch] = [name for _, _, name in header.walkRelocatables()]
        paths[arch] = [text(c) for c in header.commands if c[0].cmd == numbers.LC_RPATH]
        for command in header.commands:
            if command[0].cmd == numbers.LC_ID_DYLIB:
                own[arch] = text(command)
    return names, paths, own


# Provided libraries


@pytest.mark.parametrize("present", [False, True])
def test_a_provided_library_stays_out_present_or_absent(bench: Bench, *, present: bool) -> None:
    """delocate alone fails when an excluded library is absent (matthew-brett/delocate#207)."""
    bench.put("libpriv.dylib", *(["libprov.dylib"] if present else []))
    ours = bench.run(bench.module(), leave_out=("libprov.dylib",)).wheel

    private = "@loader_path/.dylibs/libpriv.dylib"
    assert needed(ours, "demo/_core.so")["arm64"][1:] == (PROVIDED, private)
    assert [n for n in read_wheel(ours) if n.endswith(".dylib")] == ["demo/.dylibs/libpriv.dylib"]


def test_a_provided_library_of_a_private_one_stays_out(bench: Bench) -> None:
    bench.put("libreexporting.dylib", "libpriv.dylib")

    ours = bench.run(bench.module("weak.so"), leave_out=("libprov.dylib",)).wheel

    assert PROVIDED in needed(ours, "demo/.dylibs/libreexporting.dylib")["arm64"]
    assert PROVIDED in needed(ours, "demo/_core.so")["arm64"]


@pytest.mark.parametrize("name", ["@rpath/libprov.dylib", "libprov.dylib"])
def test_an_install_name_counts_as_well_as_a_file_name(name: str, bench: Bench) -> None:
    bench.put("libpriv.dylib")

    assert bench.run(bench.module(), leave_out=(name,)).wheel.exists()


@pytest.mark.parametrize("name", ["libprov", "prov.dylib", "ibprov.dylib", "libprov.dylib.1", ""])
def test_a_part_of_a_name_leaves_nothing_out(name: str, bench: Bench) -> None:
    bench.put("libprov.dylib", "libpriv.dylib")

    ours = bench.run(bench.module(), leave_out=(name,)).wheel

    assert "demo/.dylibs/libprov.dylib" in read_wheel(ours)


def test_everything_left_out_is_no_failure_without_the_library(bench: Bench) -> None:
    ours = bench.run(bench.module("unsigned_arm64.so"), leave_out=("libprov.dylib",)).wheel

    assert read_wheel(ours)["demo/_core.so"] == fixture("unsigned_arm64.so")


# The traps


def test_trap_the_package_has_the_librarys_name(bench: Bench) -> None:
    """``-e libprov`` would match every path of this wheel: nothing would be repaired."""
    bench.put("libpriv.dylib")
    files = {"libprov/__init__.py": b"", "libprov/libprov_core.so": fixture("chained_arm64.so")}
    wheel = bench.wheel(files, name="libprov")

    ours = bench.run(wheel, leave_out=("libprov.dylib",))

    assert "libprov/.dylibs/libpriv.dylib" in read_wheel(ours.wheel)
    assert ours.findings == ()


def test_trap_exclude_hits_the_wheels_own_files_and_that_is_said(bench: Bench) -> None:
    ours = bench.run(bench.module(), "-e", "demo/")

    assert read_wheel(ours.wheel)["demo/_core.so"] == fixture("chained_arm64.so")
    (finding,) = ours.findings
    assert finding.code == "engine-skipped-members"
    assert finding.message.endswith("is not copied in: demo/_core.so")
    assert ours.matched == frozenset()


def test_trap_exclude_of_an_absent_library_fails_and_names_it(bench: Bench) -> None:
    bench.put("libpriv.dylib")

    error = bench.fails(bench.module(), "-e", "libprov.dylib")

    assert str(error) == (
        "delocate: @rpath/libprov.dylib, which demo/_core.so needs, could not be found"
    )
    assert "--provided-by" in str(error.hint)


def test_trap_exclude_that_hits_a_library_is_known(bench: Bench) -> None:
    wheel, options = excluding(bench)

    assert bench.run(wheel, *options).matched == {"libprov"}


def test_trap_absolute_run_paths_stay_where_nothing_is_copied_for_a_file(bench: Bench) -> None:
    """delocate's way, kept: removing them is the work of the step after the engine."""
    bench.put("libpriv.dylib")
    provided = ("libprov.dylib", "libpriv.dylib")

    ours = bench.run(bench.module(), leave_out=provided).wheel

    assert rpaths(ours, "demo/_core.so") == {"arm64": (BUILD,)}


def test_trap_a_bare_loader_path_is_no_sanitary_run_path_for_delocate(bench: Bench) -> None:
    """matthew-brett/delocate#255"""
    bench.put("libprov.dylib")

    ours = bench.run(bench.module("bare_loader_path.so", X86_64)).wheel

    assert rpaths(ours, "demo/_core.so") == {"x86_64": ()}


def test_trap_a_full_header_is_refused_and_never_written_over(bench: Bench) -> None:
    """delocate changes names before it deletes run paths, which would make room."""
    bench.put("libprov.dylib", "libpriv.dylib")
    files = {"demo/__init__.py": b"", "demo/a/b/_core.so": fixture("crowded_arm64.so")}

    error = bench.fails(bench.wheel(files))

    assert "demo/a/b/_core.so" in str(error)
    assert "headerpad" in f"{error} {error.hint}"


def test_trap_the_input_is_never_overwritten(bench: Bench) -> None:
    wheel, _ = vendoring_arm64(bench)
    before = hashlib.sha256(wheel.read_bytes()).digest()

    bench.run(wheel)

    assert hashlib.sha256(wheel.read_bytes()).digest() == before


@pytest.mark.parametrize(("target", "tag"), [("14.0", "14_0"), ("15.0", "15_0"), ("13.0", None)])
def test_trap_the_deployment_target_renames_the_wheel_or_refuses_it(
    target: str, tag: str | None, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, _ = vendoring_arm64(bench)
    monkeypatch.setenv("MACOSX_DEPLOYMENT_TARGET", target)
    if tag is None:
        error = bench.fails(wheel)

        assert "do not satisfy target MacOS version 13.0: demo/_core.so has a minimum" in str(error)
    else:
        assert bench.run(wheel).wheel.name == f"demo-1.0-cp311-cp311-macosx_{tag}_arm64.whl"


def test_trap_a_folder_of_copies_that_is_there_already(bench: Bench) -> None:
    bench.put("libprov.dylib", "libpriv.dylib")
    files = {"demo/__init__.py": b"", "demo/_core.so": fixture("chained_arm64.so")}

    error = bench.fails(bench.wheel({**files, "demo/.dylibs/x": b""}))

    assert "demo/.dylibs already exists in wheel but need to copy" in str(error)


def test_trap_a_java_class_has_the_magic_of_a_fat_file(bench: Bench) -> None:
    java = bytes.fromhex("cafebabe00000041") + b"\0\x10 a class"
    bench.put("libprov.dylib")
    files = {"demo/__init__.py": b"", "demo/A.class": java, "demo/_m.so": fixture("ready.so")}

    written = read_wheel(bench.run(bench.wheel(files)).wheel)

    assert "demo/.dylibs/libprov.dylib" in written
    assert written["demo/A.class"] == java


def stub(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\necho {name} of Apple >&2\nexit 1\n")
        (folder / name).chmod(stat.S_IRWXU)


def test_trap_some_tools_under_apples_names_are_not_apples(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LLVM's know other options, and one of them writes over code; LLVM has no codesign."""
    wheel, _ = vendoring_arm64(bench)
    stub(tmp_path, "otool", "install_name_tool", "lipo")
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))

    assert "demo/.dylibs/libpriv.dylib" in read_wheel(bench.run(wheel).wheel)


def test_where_all_of_apples_tools_are_they_are_called(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel, _ = vendoring_arm64(bench)
    stub(tmp_path, *apple_tools.NAMES)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))

    assert "otool of Apple" in str(bench.fails(wheel))


def test_another_delocate_runs_as_it_is_and_that_is_said(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", old]
    retried([*pip, "delocate==0.12.0"])
    paths = [str(old), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))

    error = bench.fails(vendoring_arm64(bench)[0], leave_out=("libprov.dylib",))

    assert "otool" in str(error)
    assert "delocate 0.12.0 runs as it is (0.13.0 was tested)" in str(error.hint)


# Through our command line


CIBUILDWHEEL = ("--require-archs", "arm64")


def test_the_line_of_cibuildwheel(bench: Bench) -> None:
    wheel, _ = vendoring_arm64(bench)
    out = bench.folder / "out"

    done = repair(*CIBUILDWHEEL, "-w", out, "-v", wheel)

    assert done.code == 0, done.err
    assert done.out == f"{out / wheel.name}\n"
    assert "Copying library" in done.err
    assert "demo/.dylibs/libprov.dylib" in read_wheel(out / wheel.name)


def test_the_line_of_cibuildwheel_where_an_architecture_is_missing(bench: Bench) -> None:
    bench.put("libprov.dylib", "libpriv.dylib", arch="x86_64")
    out = bench.folder / "out"

    done = repair(*CIBUILDWHEEL, "-w", out, "-v", bench.module("opcodes_x86_64.so", X86_64))

    assert done.code == 5
    assert "error: delocate: Some missing architectures in wheel" in done.err
    assert "Required arch arm64 missing from demo/_core.so" in done.err
    assert not out.exists()


def test_a_wheel_without_a_binary_of_its_architecture_is_refused(bench: Bench) -> None:
    wheel = bench.wheel({"demo/__init__.py": b""})

    done = repair(*CIBUILDWHEEL, "-w", bench.folder / "out", wheel)

    assert done.code == 5
    assert "Failed to find any binary with the required architecture: 'arm64'" in done.err
    assert not (bench.folder / "out").exists()
