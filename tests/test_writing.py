"""Writing a plan down, what is left when that fails, and reading the output back."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from archives import upload_problems
from wheels import dist_info, make_wheel, read_wheel, record_line

from extlib_repair import loader, planning, verifying, writing
from extlib_repair.errors import BadWheelError, CannotEditError, CannotWriteError
from extlib_repair.model import (
    AddNeeded,
    AddPackage,
    EditBinary,
    InsertLoader,
    Member,
    MoveToScripts,
    Plan,
    RunPath,
    RunPathKind,
    SetPlatforms,
    SetRequirements,
    SetRunPath,
    SitePath,
)
from extlib_repair.wheelfile import WheelFile, parse_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import FrameType

    from extlib_repair.model import Edit

LINUX = "demo-1.0-cp311-cp311-linux_x86_64.whl"
MANYLINUX = "demo-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"
INFO = "demo-1.0.dist-info"
RUN_PATH = RunPath(entries=("$ORIGIN/../prov.libs",), kind=RunPathKind.RPATH)
WORDS = b" ".join(random.Random(3).choices([b"spam", b"eggs", b"ham"], k=2000))
FILES = {
    "demo/__init__.py": WORDS,
    "demo/b.txt": WORDS[::-1],
    "demo/z.bin": random.Random(4).randbytes(3000),
}


def plan_of(*edits: Edit, output: str = LINUX) -> Plan:
    return Plan(edits=edits, output=parse_name(output))


REQUIREMENTS = SetRequirements(requirements=("prov>=2",))
METADATA_ONLY = plan_of(REQUIREMENTS)


def packed_loosely(path: Path) -> Path:
    """Pack a wheel anew in a way that our writer does not, so that copied bytes are known."""
    with zipfile.ZipFile(path) as archive:
        members = [(i, archive.read(i)) for i in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in members:
            archive.writestr(info, data, zipfile.ZIP_DEFLATED, 1)
    return path


def packed_bytes(path: Path) -> dict[str, bytes]:
    """Return the compressed bytes of every member."""
    data = path.read_bytes()
    found = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            lengths = struct.unpack_from("<HH", data, info.header_offset + 26)
            start = info.header_offset + 30 + sum(lengths)
            found[info.filename] = data[start : start + info.compress_size]
    return found


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def carried_out(plan: Plan, path: Path, folder: Path, level: int = -1) -> Path:
    """Do as the pipeline does: write, read back, publish."""
    with WheelFile(path) as wheel, writing.staging(folder) as stage:
        expected = planning.expected(wheel.facts(), plan)
        staged = writing.apply(plan, wheel, stage, level=level)
        verifying.verify(staged, expected)
        return writing.publish(staged, folder)


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., bytes]:
    """Compile a little C, without the C library."""
    if sys.platform != "linux" or shutil.which("gcc") is None:
        pytest.skip("no gcc that makes ELF files")

    def compiled(*options: str) -> bytes:
        folder = tmp_path / "compiler"
        folder.mkdir()
        source, out = folder / "source.c", folder / "out"
        source.write_text("int answer(void) { return 42; }\nvoid _start(void) { }\n")
        subprocess.run(["gcc", "-nostdlib", "-o", out, source, *options], check=True)
        return out.read_bytes()

    return compiled


@pytest.fixture
def library(build: Callable[..., bytes]) -> bytes:
    """A shared library with a run path as long as the one it gets."""
    run_path = f"-Wl,--disable-new-dtags,-rpath,/{'x' * 40}"
    return build("-shared", "-fPIC", "-Wl,-soname,libanswer.so", run_path)


def test_what_does_not_change_is_copied_as_compressed_bytes(tmp_path: Path) -> None:
    source = packed_loosely(make_wheel(tmp_path / "in", FILES))

    target = carried_out(METADATA_ONLY, source, tmp_path / "out")

    before, after = packed_bytes(source), packed_bytes(target)
    changed = {f"{INFO}/METADATA", f"{INFO}/RECORD"}
    assert {n for n in after if before[n] != after[n]} == changed
    assert names(target) == names(source)
    assert upload_problems(target) == []


def test_requirements_and_record_are_changed(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", FILES)

    target = carried_out(METADATA_ONLY, source, tmp_path / "out")

    metadata = (
        b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: prov>=2\n\nDescription.\n"
    )
    files = read_wheel(target)
    lines = "".join(record_line(n, files[n]) for n in names(target)[:-1])

    assert files[f"{INFO}/METADATA"] == metadata
    assert files[f"{INFO}/RECORD"].decode() == f"{lines}{INFO}/RECORD,,\n"


def test_platforms_are_written_into_the_name_and_into_wheel(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", FILES)
    plan = plan_of(SetPlatforms(platforms=("manylinux_2_17_x86_64",)), output=MANYLINUX)

    target = carried_out(plan, source, tmp_path / "out")

    assert target.name == MANYLINUX
    assert read_wheel(target)[f"{INFO}/WHEEL"] == (
        b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\n"
        b"Tag: cp311-cp311-manylinux_2_17_x86_64\n"
    )
    assert read_wheel(target)[f"{INFO}/METADATA"] == read_wheel(source)[f"{INFO}/METADATA"]


def test_both_are_changed_in_one_go(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", FILES)
    platforms = SetPlatforms(platforms=("manylinux_2_17_x86_64",))

    target = carried_out(plan_of(platforms, REQUIREMENTS, output=MANYLINUX), source, tmp_path)

    assert b"Requires-Dist: prov>=2\n" in read_wheel(target)[f"{INFO}/METADATA"]
    assert b"-manylinux_2_17_x86_64\n" in read_wheel(target)[f"{INFO}/WHEEL"]


def test_tags_in_wheel_that_are_not_those_of_the_file_name_are_corrected(tmp_path: Path) -> None:
    tag = "py2.py3-none-linux_x86_64.manylinux1_x86_64"
    source = make_wheel(tmp_path / "in", FILES, tag=tag)
    wheel = f"Wheel-Version: 1.0\nTag: {tag}\nRoot-Is-Purelib: false\n".encode()
    changed_wheel(source, {f"{INFO}/WHEEL": wheel})

    target = carried_out(plan_of(REQUIREMENTS, output=source.name), source, tmp_path / "out")

    assert read_wheel(target)[f"{INFO}/WHEEL"] == (
        b"Wheel-Version: 1.0\n"
        b"Tag: py2-none-linux_x86_64\nTag: py2-none-manylinux1_x86_64\n"
        b"Tag: py3-none-linux_x86_64\nTag: py3-none-manylinux1_x86_64\n"
        b"Root-Is-Purelib: false\n"
    )


def changed_wheel(path: Path, changes: Mapping[str, bytes | None], *, first: bool = False) -> Path:
    """Write a wheel anew with other members; None takes one away."""
    files = read_wheel(path)
    order = {**changes, **files} if first else files
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**order, **changes}.items():
            if data is not None:
                archive.writestr(zipfile.ZipInfo(name), data)
    return path


def test_record_moves_to_the_end_and_its_signatures_go(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", FILES)
    record = read_wheel(source)[f"{INFO}/RECORD"]
    signatures = {f"{INFO}/RECORD.jws": b"{}", f"{INFO}/RECORD.p7s": b"p"}
    changed_wheel(
        source,
        {
            f"{INFO}/RECORD": f"{INFO}/RECORD.jws,,\n".encode() + record,
            **signatures,
            "demo/sub/RECORD.jws": b"no signature",
        },
        first=True,
    )
    rows = record + record_line("demo/sub/RECORD.jws", b"no signature").encode()
    changed_wheel(source, {f"{INFO}/RECORD": rows}, first=True)

    target = carried_out(METADATA_ONLY, source, tmp_path / "out")

    assert names(target) == [
        "demo/sub/RECORD.jws",
        "demo/__init__.py",
        "demo/b.txt",
        "demo/z.bin",
        f"{INFO}/METADATA",
        f"{INFO}/WHEEL",
        f"{INFO}/RECORD",
    ]
    assert b"RECORD.p7s" not in read_wheel(target)[f"{INFO}/RECORD"]


def test_record_is_completed_where_the_old_one_is_not(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", FILES)
    sha512 = base64.urlsafe_b64encode(hashlib.sha512(FILES["demo/z.bin"]).digest()).rstrip(b"=")
    rows = [f"demo/z.bin,sha512={sha512.decode()},3000", "demo/__init__.py,,", "gone.py,,"]
    changed_wheel(source, {f"{INFO}/RECORD": "\n".join(rows).encode(), 'a,b"c.txt': b"1"})

    target = carried_out(METADATA_ONLY, source, tmp_path / "out")

    files = read_wheel(target)
    assert files[f"{INFO}/RECORD"].decode() == "".join(
        [
            record_line("demo/z.bin", files["demo/z.bin"]),
            record_line("demo/__init__.py", files["demo/__init__.py"]),
            record_line(f"{INFO}/METADATA", files[f"{INFO}/METADATA"]),
            record_line("demo/b.txt", files["demo/b.txt"]),
            record_line(f"{INFO}/WHEEL", files[f"{INFO}/WHEEL"]),
            record_line('"a,b""c.txt"', b"1"),
            f"{INFO}/RECORD,,\n",
        ]
    )


def test_the_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", FILES)

    one = carried_out(METADATA_ONLY, source, tmp_path / "one")
    two = carried_out(METADATA_ONLY, source, tmp_path / "two")

    assert one.read_bytes() == two.read_bytes()


def test_a_second_run_gives_the_same_bytes(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", FILES)

    one = carried_out(METADATA_ONLY, source, tmp_path / "one")
    two = carried_out(METADATA_ONLY, one, tmp_path / "two")

    assert one.read_bytes() == two.read_bytes()


def test_the_level_of_compression_is_used(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", FILES)

    target = carried_out(METADATA_ONLY, source, tmp_path / "out", level=0)

    assert b"Requires-Dist: prov>=2\n" in packed_bytes(target)[f"{INFO}/METADATA"]


def test_a_binary_is_edited(library: bytes, tmp_path: Path) -> None:
    source = packed_loosely(make_wheel(tmp_path / "in", {**FILES, "demo/x.so": library}))
    edit = EditBinary(member=Member("demo/x.so"), edits=(SetRunPath(run_path=RUN_PATH),))

    target = carried_out(plan_of(edit), source, tmp_path / "out")

    with WheelFile(source) as before, WheelFile(target) as after:
        old = before.facts().image_map[Member("demo/x.so")]
        new = after.facts().image_map[Member("demo/x.so")]
    assert old.search == ("/" + "x" * 40,)
    assert new.search == ("$ORIGIN/../prov.libs",)
    assert (new.name, new.exports) == ("libanswer.so", old.exports)
    changed = {"demo/x.so", f"{INFO}/RECORD"}
    assert {n for n, b in packed_bytes(source).items() if packed_bytes(target)[n] != b} == changed
    assert upload_problems(target) == []


PROGRAM, MOVED = Member("demo-1.0.data/scripts/run"), Member("demo.scripts/run")


@pytest.mark.parametrize("mode", [0o100755, 0o100600, 0o644, 0])
def test_an_executable_is_moved_and_a_starter_takes_its_place(
    mode: int, build: Callable[..., bytes], tmp_path: Path
) -> None:
    program = build(f"-Wl,--disable-new-dtags,-rpath,/{'x' * 40}")
    source = make_wheel(tmp_path / "in", {**FILES, PROGRAM: program})
    with zipfile.ZipFile(source) as archive:
        members = [(i, archive.read(i)) for i in archive.infolist()]
    with zipfile.ZipFile(source, "w") as archive:
        for info, data in members:
            info.external_attr = mode << 16 if info.filename == PROGRAM else info.external_attr
            archive.writestr(info, data)
    plan = plan_of(
        MoveToScripts(member=PROGRAM, target=MOVED),
        EditBinary(member=MOVED, edits=(SetRunPath(run_path=None),)),
    )

    target = carried_out(plan, source, tmp_path / "out")

    with WheelFile(target) as wheel:
        assert wheel.facts().image_map[MOVED].run_path is None
        assert PROGRAM not in wheel.facts().binaries
    with zipfile.ZipFile(target) as archive:
        assert archive.getinfo(MOVED).external_attr == 0o100755 << 16
        assert archive.getinfo(MOVED).date_time == (2024, 1, 1, 0, 0, 0)
        assert archive.read(PROGRAM).startswith(b"#!python\n")
        assert b"program = 'demo.scripts/run'" in archive.read(PROGRAM)
    assert upload_problems(target) == []


def broken(kind: type[Exception], plan: Plan, source: Path, folder: Path) -> str:
    """Carry out a plan that cannot be; return the message when nothing is left of it."""
    before = sorted(folder.iterdir())
    with pytest.raises(kind) as caught, WheelFile(source) as wheel, writing.staging(folder) as to:
        writing.apply(plan, wheel, to)
    assert sorted(folder.iterdir()) == before
    return str(caught.value)


DAMAGED = Member("demo/damaged.so")
NEEDED = (AddNeeded(library="libprov.so"),)


def test_nothing_is_left_when_a_binary_cannot_be_edited(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, {**FILES, DAMAGED: b"\x7fELF, cut off"})

    message = broken(
        CannotEditError, plan_of(EditBinary(member=DAMAGED, edits=NEEDED)), source, tmp_path
    )

    assert message.startswith("demo/damaged.so: ")
    assert [p.name for p in tmp_path.iterdir()] == [LINUX]


@pytest.mark.parametrize(
    "edit",
    [
        EditBinary(member=Member("demo/gone"), edits=NEEDED),
        MoveToScripts(member=Member("demo/gone"), target=Member("demo/to")),
        InsertLoader(member=Member("demo/gone"), lines=""),
    ],
)
def test_an_edit_of_a_member_that_is_not_there_is_refused(edit: Edit, tmp_path: Path) -> None:
    source = make_wheel(tmp_path, FILES)

    message = broken(CannotEditError, plan_of(edit), source, tmp_path)

    assert message == f"demo/gone: {LINUX} does not hold it"


def test_a_move_to_a_taken_place_is_refused(tmp_path: Path) -> None:
    one, two = Member("demo-1.0.data/scripts/run"), Member("demo-1.0.data/scripts/sub/run")
    source = make_wheel(tmp_path, {one: b"1", two: b"2"})
    plan = plan_of(MoveToScripts(member=one, target=MOVED), MoveToScripts(member=two, target=MOVED))

    message = broken(CannotEditError, plan, source, tmp_path)

    assert message == (
        "demo-1.0.data/scripts/run cannot move to demo.scripts/run: its place is taken"
    )


BLOCK = loader.block(
    SitePath("demo/__init__.py"),
    "demo 1.0",
    [loader.Sought(library="prov.dll", directory=SitePath("prov/lib"), requirement="prov>=1.0")],
    loader.Way.WINDOWS,
)


def test_a_loader_goes_into_a_python_file_and_a_package_beside_a_module(tmp_path: Path) -> None:
    init, package = Member("demo/__init__.py"), Member("_top/__init__.py")
    before = b'"""Doc."""\r\nimport os\r\n'
    files = {init: before, "demo/_e.bin": EMPTY_ELF, "_top.bin": EMPTY_ELF}
    source = make_wheel(tmp_path / "in", files, tag="cp311-cp311-win_amd64")
    edits = (
        InsertLoader(member=init, lines=BLOCK),
        AddPackage(member=package, text="x = 1\n"),
    )

    target = carried_out(plan_of(*edits, output=source.name), source, tmp_path / "out")

    written = read_wheel(target)
    assert written[init] == loader.inserted(before, BLOCK)
    assert written[package] == b"x = 1\n"
    assert upload_problems(target) == []


def test_a_package_in_a_taken_place_is_refused(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, FILES)
    plan = plan_of(AddPackage(member=Member("demo/__init__.py"), text=""))

    message = broken(CannotEditError, plan, source, tmp_path)

    assert message == "demo/__init__.py cannot be added: its place is taken"


def test_nothing_is_left_when_record_cannot_be_read(tmp_path: Path) -> None:
    source = changed_wheel(make_wheel(tmp_path, FILES), {f"{INFO}/RECORD": b"a,b\n"})

    message = broken(BadWheelError, METADATA_ONLY, source, tmp_path)

    assert message == "RECORD has a line that does not have three fields"


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_target_that_is_a_file_cannot_be_written(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(CannotWriteError) as caught, writing.staging(tmp_path / "file" / below):
        pass

    assert str(caught.value).startswith(f"cannot write to {tmp_path / 'file' / below}: ")
    assert caught.value.exit_code == 7


def test_an_output_whose_place_is_a_folder_cannot_be_written(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", FILES)
    (tmp_path / "out" / LINUX / "full").mkdir(parents=True)

    with pytest.raises(CannotWriteError) as caught:
        carried_out(METADATA_ONLY, source, tmp_path / "out")

    assert str(caught.value).startswith(f"cannot write to {tmp_path / 'out'}: ")
    assert [p.name for p in (tmp_path / "out").iterdir()] == [LINUX]


def test_an_error_without_a_name_of_the_system_is_shown_too(tmp_path: Path) -> None:
    message = "the disk is on fire"

    with pytest.raises(CannotWriteError, match=message), writing.staging(tmp_path):
        raise OSError(message)


def test_nothing_changes_where_the_plan_changes_nothing(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", FILES)

    target = carried_out(plan_of(), source, tmp_path / "out")

    assert read_wheel(target) == read_wheel(source)


def test_the_private_folder_stands_beside_the_output_and_goes_away(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there yet"

    with writing.staging(folder) as stage:
        (stage / "half.whl").write_bytes(b"half")
        parent = stage.parent

    assert parent == folder
    assert [*folder.iterdir()] == []


def test_publishing_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / LINUX).write_bytes(b"new")
    (tmp_path / LINUX).write_bytes(b"old and longer")

    target = writing.publish(tmp_path / "in" / LINUX, tmp_path)

    assert target == tmp_path / LINUX
    assert target.read_bytes() == b"new"
    assert [*(tmp_path / "in").iterdir()] == []


def test_a_wheel_is_copied_as_it_is(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", FILES)

    copy = writing.copy(source, tmp_path)

    assert copy == tmp_path / LINUX
    assert copy.read_bytes() == source.read_bytes()


# --- Killed, and no room ------------------------------------------------------------------------


class Killed:
    """A trace function that kills the process at the n-th line that it runs in our own modules."""

    def __init__(self, line: int) -> None:
        self._left = line

    def __call__(self, frame: FrameType, event: str, _: object) -> Killed | None:
        name = frame.f_code.co_filename
        if "extlib_repair" not in name or not name.endswith(OURS):
            return None
        if event == "line":
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


OURS = ("writing.py", "verifying.py", "writer.py", "reader.py", "wheelfile.py")


def killed(line: int, source: Path, folder: Path) -> bool:
    """Carry a plan out in a process that ends at that line; False when it came to its end."""
    child = os.fork()
    if not child:
        sys.settrace(Killed(line))
        carried_out(METADATA_ONLY, source, folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_killed_at_any_line_there_is_the_complete_wheel_or_none(tmp_path: Path) -> None:
    source, folder = make_wheel(tmp_path / "in", FILES), tmp_path / "out"
    before = source.read_bytes()
    complete = carried_out(METADATA_ONLY, source, tmp_path / "other").read_bytes()
    line = 1
    seen: set[bool] = set()

    while killed(line, source, folder):
        outputs = [*folder.glob("*.whl")] if folder.exists() else []
        assert [path.read_bytes() for path in outputs] in ([], [complete])
        assert source.read_bytes() == before
        seen.add(bool(outputs))
        for path in outputs:
            path.unlink()
        line += 17

    assert line > 1000
    assert False in seen
    assert carried_out(METADATA_ONLY, source, folder).read_bytes() == complete


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("size", [0, 1, 1000, 4000])
def test_without_room_there_is_no_output(size: int, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    source = make_wheel(tmp_path / "in", FILES)
    before = source.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(CannotWriteError) as caught:
            carried_out(METADATA_ONLY, source, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert str(caught.value) == f"cannot write to {tmp_path / 'out'}: File too large"
    assert [*(tmp_path / "out").iterdir()] == []
    assert source.read_bytes() == before


# --- Reading back -------------------------------------------------------------------------------


def verified(source: Path, tampered: Path) -> None:
    """Compare a wheel with the facts of another."""
    with WheelFile(source) as wheel:
        expected = wheel.facts()
    verifying.verify(tampered, expected)


def tampered(folder: Path, changes: Mapping[str, bytes | None], record: str = "") -> Path:
    """Return a wheel with other members and a RECORD that fits, or lists what is given."""
    path = make_wheel(folder, FILES, requires=["a"])
    files = {n: d for n, d in {**read_wheel(path), **changes}.items() if d is not None}
    del files[f"{INFO}/RECORD"]
    lines = "".join(record_line(n, d) for n, d in files.items())
    listed = record or f"{lines}{INFO}/RECORD,,\n"
    return changed_wheel(path, {**changes, f"{INFO}/RECORD": listed.encode()})


def original(folder: Path) -> Path:
    return make_wheel(folder, FILES, requires=["a"])


RIGHT_RECORD = dist_info(FILES, "demo", "1.0", "cp311-cp311-linux_x86_64", ["a"])[
    f"{INFO}/RECORD"
].decode()
EMPTY_ELF = (
    b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQI6H", 1, 62, 1, 0, 0, 0, 0, 64, *[0] * 5)
)

DIFFERENCES: dict[str, tuple[Mapping[str, bytes | None], str, str]] = {
    "a missing member": ({"demo/z.bin": None}, "", "its set of members did not read back"),
    "a member too many": ({"demo/new": b""}, "", "its set of members did not read back"),
    "another requirement": (
        {f"{INFO}/METADATA": b"Name: demo\nRequires-Dist: b\n"},
        "",
        "its list of requirements did not read back",
    ),
    "no requirement": (
        {f"{INFO}/METADATA": b"Name: demo\n"},
        "",
        "its list of requirements did not read back",
    ),
    "another tag": (
        {f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_17_x86_64\n"},
        "",
        "its set of tags in WHEEL did not read back",
    ),
    "a binary too many": (
        {"demo/z.bin": EMPTY_ELF},
        "",
        "its set of binaries did not read back",
    ),
    "another content": ({}, RIGHT_RECORD.replace(",3000", ",3001"), "not describe demo/z.bin"),
    "another digest": ({}, RIGHT_RECORD.replace("sha256=", "sha256=A", 1), "demo/__init__.py"),
    "no digest": (
        {},
        f"{RIGHT_RECORD}".replace(RIGHT_RECORD.split("\n")[2], "demo/z.bin,,"),
        "z.bin",
    ),
    "a file that RECORD does not list": (
        {},
        RIGHT_RECORD.partition("\n")[2],
        "its list of files in RECORD did not read back",
    ),
    "a file that is only in RECORD": (
        {},
        f"gone.py,,\n{RIGHT_RECORD}",
        "its list of files in RECORD did not read back",
    ),
    "a file that RECORD lists twice": (
        {},
        RIGHT_RECORD.partition("\n")[0] + "\n" + RIGHT_RECORD,
        "its list of files in RECORD did not read back",
    ),
}


@pytest.mark.parametrize(
    ("changes", "record", "phrase"), DIFFERENCES.values(), ids=DIFFERENCES.keys()
)
def test_an_output_that_is_not_as_planned_is_refused(
    changes: Mapping[str, bytes | None], record: str, phrase: str, tmp_path: Path
) -> None:
    other = tampered(tmp_path / "other", changes, record)

    with pytest.raises(CannotWriteError) as caught:
        verified(original(tmp_path), other)

    assert str(caught.value).startswith(f"{LINUX} was written, but ")
    assert phrase in str(caught.value)
    assert "this is a defect of extlib-repair: please report it" in (caught.value.hint or "")


def test_the_same_wheel_is_as_planned(tmp_path: Path) -> None:
    verified(original(tmp_path), tampered(tmp_path / "other", {}))
    verified(original(tmp_path), tampered(tmp_path / "other", {}, RIGHT_RECORD))


def test_another_file_name_is_refused(tmp_path: Path) -> None:
    other = original(tmp_path).rename(tmp_path / MANYLINUX)

    with pytest.raises(CannotWriteError, match="its file name did not read back"):
        verified(original(tmp_path), other)


def test_a_binary_that_was_not_edited_is_refused(library: bytes, tmp_path: Path) -> None:
    member = Member("demo/x.so")
    source = make_wheel(tmp_path, {member: library})
    plan = plan_of(EditBinary(member=member, edits=(SetRunPath(run_path=RUN_PATH),)))
    with WheelFile(source) as wheel:
        expected = planning.expected(wheel.facts(), plan)

    with pytest.raises(CannotWriteError, match=r"its facts of demo/x\.so did not read back"):
        verifying.verify(source, expected)


def test_a_member_that_was_damaged_before_is_found(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", FILES)
    data = bytearray(source.read_bytes())
    at = data.index(FILES["demo/z.bin"][:64])  # noise does not shrink: deflate stores it
    data[at] ^= 1
    source.write_bytes(data)

    with pytest.raises(BadWheelError, match=r"demo/z\.bin is damaged: its size or checksum"):
        carried_out(METADATA_ONLY, source, tmp_path / "out")

    assert [*(tmp_path / "out").iterdir()] == []


def test_a_wheel_that_the_user_lets_expand_is_not_refused_as_output(tmp_path: Path) -> None:
    source = make_wheel(tmp_path / "in", {"zeros": bytes(65 << 20)})

    with WheelFile(source, most_expansion=2000) as wheel:
        target = writing.apply(METADATA_ONLY, wheel, tmp_path)
        verifying.verify(target, planning.expected(wheel.facts(), METADATA_ONLY))

    assert target.stat().st_size < 1 << 20


def test_a_temporary_folder_without_room_is_said_to_be_one() -> None:
    with (
        pytest.raises(CannotWriteError, match="cannot write to the temporary folder") as caught,
        writing.workspace() as folder,
    ):
        (folder / "no" / "such").write_bytes(b"")

    assert caught.value.exit_code == 7
    assert not folder.exists()


def test_every_problem_of_a_record_is_said(tmp_path: Path) -> None:
    files = {"a.py": b"a", "b.py": b"b", "c.py": b"c", "d.py": b"d", "e.py": b"e"}
    wheel = make_wheel(tmp_path, files)
    record = read_wheel(wheel)["demo-1.0.dist-info/RECORD"].decode().splitlines()
    kept = [row for row in record if not row.startswith(("a.py", "b.py", "c.py", "d.py"))]
    wrong = record_line("b.py", b"x").rstrip()
    lines = [*kept, wrong, wrong, "c.py,,1", "gone.py,sha256=x,1", "d.py,sha512=x,", ""]
    changed = tmp_path / "out" / wheel.name
    changed.parent.mkdir()
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            data = "\n".join(lines).encode() if name.endswith("RECORD") else old.read(name)
            new.writestr(name, data)
        new.writestr("demo-1.0.dist-info/RECORD.jws", b"{}")

    with WheelFile(changed) as file:
        problems = list(verifying.record_problems(file))

    assert problems == [
        "RECORD does not list a.py",
        "RECORD lists gone.py, which is not there",
        "RECORD lists b.py twice",
        "RECORD has another digest of b.py",
        "RECORD has another digest of b.py",
        "RECORD has no digest of c.py",
    ]
