"""Large wheels, and what is left of a repair that is killed or finds no room.

Files of gigabytes are deleted by the tests themselves: pytest keeps its folders for a while.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from archives import upload_problems
from wheels import DATE, dist_info, make_wheel, read_wheel
from workbench import checked, repair, run

from extlib_repair import planning, verifying, writing
from extlib_repair.model import (
    EditBinary,
    Member,
    Plan,
    RunPath,
    SetRequirements,
    SetRunPath,
)
from extlib_repair.wheelfile import WheelFile, parse_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="made for Linux")

NAME = "demo-1.0-cp311-cp311-linux_x86_64.whl"
MIB = 1 << 20
GIB = 1 << 30
ZEROS = bytes(4 * MIB)
MOST_MEMORY = 150 * MIB
"""Python, its modules and some buffers are a fifth of this."""


DEMO = Path(str(resources.files("extlib_repair") / "data" / "demo"))
PROVIDED = (
    *("--provided-by", "extlib-demo-matrix"),
    *("--provider-wheel", DEMO / "extlib_demo_matrix-1.0-py3-none-manylinux_2_17_x86_64.whl"),
)
DATED = {"SOURCE_DATE_EPOCH": "1700000000"}  # else the engine takes today's date
CONSUMER = DEMO / "extlib_demo-1.0-cp311-abi3-linux_x86_64.whl"


def demo_module() -> bytes:
    (module,) = (data for data in read_wheel(CONSUMER).values() if data[:4] == b"\x7fELF")
    return module


# --- Large wheels -------------------------------------------------------------------------------


class Sparse(io.FileIO):
    """A file in which zeros are holes, which take no room on the disk."""

    def write(self, data: Any) -> int:
        if data == ZEROS:
            return self.seek(len(ZEROS), os.SEEK_CUR) and len(ZEROS)
        return super().write(data) or 0


@contextlib.contextmanager
def large_wheel(
    folder: Path, members: Iterable[tuple[str, int, Iterable[bytes]]]
) -> Iterator[Path]:
    """Write a wheel of streamed members (name, method, pieces) and a binary behind them.

    The streamed members are missing in RECORD, which a repair completes.
    """
    path = folder / NAME
    with Sparse(path, "w") as out, zipfile.ZipFile(out, "w", compresslevel=1) as archive:
        for name, method, pieces in members:
            archive.compression = method
            with archive.open(name, "w", force_zip64=True) as file:
                for piece in pieces:
                    file.write(piece)
        files = {"demo/x.so": demo_module()}
        files |= dist_info(files, "demo", "1.0", "cp311-cp311-linux_x86_64")
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, DATE), data, zipfile.ZIP_DEFLATED)
    try:
        yield path
    finally:
        path.unlink()


@contextlib.contextmanager
def carried_out(source: Path) -> Iterator[Path]:
    """Edit the binary and METADATA as the pipeline does; yield the published wheel."""
    member = Member("demo/x.so")
    run_path = SetRunPath(run_path=RunPath(entries=("$ORIGIN/../prov.libs",)))
    plan = Plan(
        edits=(
            EditBinary(member=member, edits=(run_path,)),
            SetRequirements(requirements=("prov>=2",)),
        ),
        output=parse_name(source.name),
    )
    folder = source.parent / "out"
    with WheelFile(source, most_expansion=2000) as wheel, writing.staging(folder) as stage:
        expected = planning.expected(wheel.facts(), plan)
        staged = writing.apply(plan, wheel, stage)
        verifying.verify(staged, expected, [member])
        target = writing.publish(staged, folder)
    try:
        yield target
    finally:
        target.unlink()


def described(path: Path) -> dict[str, tuple[int, int, int]]:
    """Return what zipfile says of every member that a repair leaves alone."""
    with zipfile.ZipFile(path) as archive:
        return {
            i.filename: (i.CRC, i.file_size, i.compress_size)
            for i in archive.infolist()
            if ".dist-info/" not in i.filename and not i.filename.endswith(".so")
        }


def zeros(size: int) -> Iterator[bytes]:
    yield from (ZEROS for _ in range(size // len(ZEROS)))


def test_more_members_than_16_bits_count_are_kept(tmp_path: Path) -> None:
    files = {f"demo/{n % 100}/{n}.txt": str(n).encode() for n in range(70_000)}
    source = make_wheel(tmp_path, {**files, "demo/x.so": demo_module()})

    with carried_out(source) as target:
        read = read_wheel(target)
        problems = upload_problems(target)

    assert {name: data for name, data in read.items() if name in files} == files
    assert len(read) == len(files) + 4
    assert problems == []


def test_a_stored_member_above_4_gb_and_offsets_behind_it_are_kept(tmp_path: Path) -> None:
    size = 4 * GIB + len(ZEROS)
    with (
        large_wheel(tmp_path, [("demo/hole.bin", zipfile.ZIP_STORED, zeros(size))]) as source,
        carried_out(source) as target,
    ):
        before, after = described(source), described(target)
        with zipfile.ZipFile(target) as archive:
            offset = archive.getinfo("demo/x.so").header_offset
            small = [n for n in archive.namelist() if n != "demo/hole.bin"]
            contents = {name: archive.read(name) for name in small}

    assert before == after
    assert after["demo/hole.bin"][1:] == (size, size)
    assert offset > size
    assert b"$ORIGIN/../prov.libs\0" in contents["demo/x.so"]
    assert b"Requires-Dist: prov>=2\n" in contents["demo-1.0.dist-info/METADATA"]


def test_a_compressed_member_above_4_gb_is_kept(tmp_path: Path) -> None:
    size = 4 * GIB + len(ZEROS)
    with (
        large_wheel(tmp_path, [("demo/zeros.bin", zipfile.ZIP_DEFLATED, zeros(size))]) as source,
        carried_out(source) as target,
    ):
        before, after = described(source), described(target)
        with zipfile.ZipFile(target) as archive:
            contents = archive.read("demo-1.0.dist-info/RECORD").decode()

    assert before == after
    assert after["demo/zeros.bin"][1] == size
    assert after["demo/zeros.bin"][2] < 100 * MIB
    assert f",{size}\n" in contents


MEASURED = """
import sys
from extlib_repair import cli
code = cli.main(sys.argv[1:])
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
sys.exit(code)
"""
# Not getrusage: its peak is inherited from whoever started the process.


def test_a_wheel_of_1_gb_is_repaired_in_little_memory(tmp_path: Path) -> None:
    block = random.Random(1).randbytes(4 * MIB)
    noise = [("demo/a.bin", 120), ("demo/b.bin", 80), ("demo/c.bin", 50)]
    members = [
        *((name, zipfile.ZIP_STORED, [block] * count) for name, count in noise),
        ("demo/zeros.bin", zipfile.ZIP_DEFLATED, zeros(400 * MIB)),
    ]
    with large_wheel(tmp_path, members) as source:
        size = source.stat().st_size
        done = run(
            [sys.executable, "-c", MEASURED, source, *PROVIDED, "-z", "0", "-w", tmp_path / "out"],
            env={"TMPDIR": str(tmp_path)},
        )
        outputs = [*tmp_path.glob("out/*")]
        for output in outputs:
            output.unlink()

    assert done.code == 0, done.err
    assert size > 1000 * MIB
    assert len(outputs) == 1
    assert 1024 * int(done.out.splitlines()[-1]) < MOST_MEMORY


# --- The command line that is killed, or finds no room ------------------------------------------


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A consumer of the demo's provider, with 300 KB that do not shrink."""
    files = {"demo/_matrix.abi3.so": demo_module(), "demo/n": random.Random(5).randbytes(300_000)}
    return make_wheel(tmp_path / "in", files)


@pytest.fixture
def command(wheel: Path, tmp_path: Path) -> list[object]:
    return [wheel, *PROVIDED, "-w", tmp_path / "out"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Judge:
    """Knows what the folder of the output may hold: the complete wheel, or none."""

    def __init__(self, wheel: Path, command: Sequence[object], folder: Path) -> None:
        self._wheel, self._command, self._folder = wheel, command, folder
        self._before = digest(wheel)
        self._complete = self._repaired()

    def _repaired(self) -> str:
        done = repair(*self._command, env=DATED)
        assert done.code == 0, done.err
        (output,) = self._folder.glob("*.whl")
        made = digest(output)
        output.unlink()
        return made

    def judge(self) -> int:
        """Return how many wheels there are, and take them away."""
        outputs = [*self._folder.glob("*.whl")]
        assert [digest(path) for path in outputs] in ([], [self._complete])
        others = {*self._folder.iterdir()} - {*outputs}
        assert all(path.name.startswith(".extlib-repair-") for path in others)
        assert digest(self._wheel) == self._before
        for path in outputs:
            path.unlink()
        return len(outputs)

    def finish(self) -> None:
        """Whatever was left behind, the next run succeeds."""
        assert self._repaired() == self._complete


@pytest.fixture
def judge(wheel: Path, command: list[object], tmp_path: Path) -> Judge:
    return Judge(wheel, command, tmp_path / "out")


def test_killed_at_any_time_there_is_the_complete_wheel_or_none(
    command: list[object], judge: Judge, tmp_path: Path
) -> None:
    start = time.monotonic()
    judge.finish()
    usual = time.monotonic() - start
    env = {**os.environ, **DATED, "TMPDIR": str(tmp_path)}  # where the engine's folders stay behind

    for share in random.Random(6).choices(range(1, 100), k=30):
        words = [sys.executable, "-m", "extlib_repair", *map(str, command)]
        with subprocess.Popen(
            words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as child:
            time.sleep(usual * share / 100)
            child.kill()
        judge.judge()

    judge.finish()


KILLER = """
import os, resource, signal, sys

def watch(event, arguments):
    global left
    if event == "tempfile.mkdtemp" and ".extlib-repair-" in arguments[0] and size:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    if any(str(a).startswith(folder) for a in arguments[:2]):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

if "extlib_repair" in sys.orig_argv:  # and not the engine
    folder = os.environ["KILLER_FOLDER"]
    left = int(os.environ.get("KILLER_STEP", "0"))
    size = int(os.environ.get("KILLER_SIZE", "0"))
    deadly = "KILLER_SPARES" not in os.environ
    sys.addaudithook(watch)
"""
"""Ends the process at its n-th step in a folder (opening, renaming, deleting), or when a file that
it writes there becomes larger than a size."""


@pytest.fixture
def killer(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "killer").mkdir()
    (tmp_path / "killer" / "sitecustomize.py").write_text(KILLER)
    return {
        **DATED,
        "PYTHONPATH": str(tmp_path / "killer"),
        "KILLER_FOLDER": str(tmp_path / "out"),
    }


def test_killed_at_any_step_there_is_the_complete_wheel_or_none(
    command: list[object], judge: Judge, killer: dict[str, str]
) -> None:
    codes: list[int] = []
    found: list[int] = []

    while 0 not in codes:
        done = repair(*command, env={**killer, "KILLER_STEP": str(len(codes) + 1)})
        codes.append(done.code)
        found.append(judge.judge())

    assert {*codes[:-1]} == {-signal.SIGKILL}
    assert len(codes) > 8
    assert found == sorted(found)
    judge.finish()


@pytest.mark.parametrize("size", [1, 4095, 8192, 100_000, 300_000, 302_000])
def test_killed_while_it_writes_there_is_no_output(
    size: int, command: list[object], judge: Judge, killer: dict[str, str]
) -> None:
    done = repair(*command, env={**killer, "KILLER_SIZE": str(size)})

    assert done.code == -signal.SIGXFSZ
    assert judge.judge() == 0
    judge.finish()


def refused(done: Any, folder: Path, why: str) -> None:
    assert done.code == 7
    errors = [line for line in done.err.splitlines() if line.startswith("error:")]
    assert errors == [f"error: cannot write to {folder}: {why}"]
    assert "Traceback" not in done.err


@pytest.mark.parametrize("size", [1, 8192, 100_000, 302_000])
def test_a_file_that_cannot_grow_is_one_clear_line(
    size: int, command: list[object], judge: Judge, killer: dict[str, str], tmp_path: Path
) -> None:
    done = repair(*command, env={**killer, "KILLER_SIZE": str(size), "KILLER_SPARES": "1"})

    refused(done, tmp_path / "out", "File too large")
    assert [*(tmp_path / "out").iterdir()] == []
    judge.finish()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = run(["mount", "-t", "tmpfs", "-o", "size=64k", "extlib-repair", folder])
    if mounted.code:
        pytest.skip(f"only root can mount a small disk: {mounted.err.strip()}")
    yield folder
    checked(["umount", folder])


def test_a_full_disk_is_one_clear_line(wheel: Path, small_disk: Path) -> None:
    before = digest(wheel)

    done = repair(wheel, *PROVIDED, "-w", small_disk)

    refused(done, small_disk, "No space left on device")
    assert [*small_disk.iterdir()] == []
    assert digest(wheel) == before


def test_a_folder_that_nobody_can_write_is_one_clear_line(wheel: Path) -> None:
    done = repair(wheel, *PROVIDED, "-w", "/sys")

    assert done.code == 7
    assert "\nerror: cannot write to /sys: " in done.err


def test_a_file_in_the_place_of_the_folder_is_one_clear_line(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    done = repair(wheel, *PROVIDED, "-w", tmp_path / "file")

    refused(done, tmp_path / "file", "File exists")
    assert (tmp_path / "file").read_text() == "in the way"
