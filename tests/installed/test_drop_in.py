"""With no provider, the output is auditwheel's own: name, members, bytes, modes, order."""

from __future__ import annotations

import os
import stat
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from wheels import make_wheel
from workbench import PLATFORM, TAG, Workshop, download, repair, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
EXTENSION = f"{TAG}-{TAG}-{PLATFORM}"


def auditwheel(*arguments: object, env: dict[str, str]) -> None:
    done = run([sys.executable, "-m", "auditwheel", "repair", *arguments], env)
    assert done.code == 0, done.err


def described(folder: Path) -> list[tuple[str, list[tuple[object, ...]]]]:
    """Return name and members of every wheel in a folder."""
    found = []
    for path in sorted(folder.iterdir()):
        with zipfile.ZipFile(path) as archive:
            members: list[tuple[object, ...]] = [
                (i.filename, archive.read(i), i.external_attr, i.date_time)
                for i in archive.infolist()
            ]
        found.append((path.name, members))
    return found


def vendoring(folder: Path, workshop: Workshop) -> tuple[Path, list[str]]:
    module = workshop.module("_mod", "PRIVATE", link=("openblas", "private"))
    return make_wheel(folder, {"pkg/__init__.py": b"", "pkg/_mod.so": module}, tag=EXTENSION), []


def excluding(folder: Path, workshop: Workshop) -> tuple[Path, list[str]]:
    wheel, _ = vendoring(folder, workshop)
    return wheel, ["--exclude", "libscipy_openblas64_.so"]


def pure(folder: Path, _: Workshop) -> tuple[Path, list[str]]:
    wheel = make_wheel(folder, {"pkg/__init__.py": b"x = 1\n"}, tag="py3-none-any")
    return wheel, ["--allow-pure-python-wheel"]


def data_scheme(folder: Path, workshop: Workshop) -> tuple[Path, list[str]]:
    module = workshop.module("_mod", "PRIVATE", link=("openblas", "private"))
    files = {"demo-1.0.data/platlib/pkg/_mod.so": module, "demo-1.0.data/data/share/x": b"y"}
    return make_wheel(folder, files, tag=EXTENSION), []


def program(folder: Path, workshop: Workshop) -> tuple[Path, list[str]]:
    files = {"demo-1.0.data/scripts/multiply": workshop.program(), "pkg/__init__.py": b""}
    return make_wheel(folder, files, tag=f"py3-none-{PLATFORM}"), ["--strip", "-z", "9"]


def already_repaired(folder: Path, _: Workshop) -> tuple[Path, list[str]]:
    return download(folder, "markupsafe", "--platform", "manylinux_2_17_x86_64"), []


def other_architecture(folder: Path, _: Workshop) -> tuple[Path, list[str]]:
    return download(folder, "markupsafe", "--platform", "manylinux_2_17_aarch64"), []


def other_c_library(folder: Path, _: Workshop) -> tuple[Path, list[str]]:
    return download(folder, "markupsafe", "--platform", "musllinux_1_2_x86_64"), []


def platform_from_the_environment(folder: Path, workshop: Workshop) -> tuple[Path, list[str]]:
    return vendoring(folder, workshop)[0], ["--only-plat"]


CASES: dict[str, Callable[[Path, Workshop], tuple[Path, list[str]]]] = {
    "vendoring": vendoring,
    "excluding": excluding,
    "pure": pure,
    "data scheme": data_scheme,
    "program": program,
    "already repaired": already_repaired,
    "other architecture": other_architecture,
    "other C library": other_c_library,
    "platform from the environment": platform_from_the_environment,
}


@pytest.mark.parametrize("case", CASES)
def test_without_a_provider_the_output_is_the_engines_own(
    case: str, tmp_path: Path, workshop: Workshop
) -> None:
    wheel, options = CASES[case](tmp_path / "in", workshop)
    env = {**workshop.env, **EPOCH}
    if case == "platform from the environment":
        env["AUDITWHEEL_PLAT"] = "manylinux_2_28_x86_64"
        env["AUDITWHEEL_ZIP_COMPRESSION_LEVEL"] = "1"
    auditwheel(*options, wheel, "-w", tmp_path / "theirs", env=env)

    done = repair("repair", *options, "-w", tmp_path / "ours", wheel, env=env)

    assert done.code == 0, done.err
    assert described(tmp_path / "ours") == described(tmp_path / "theirs")
    assert "passed through" in done.err


def test_options_work_in_any_position_and_abbreviated(tmp_path: Path, workshop: Workshop) -> None:
    wheel, _ = vendoring(tmp_path / "in", workshop)
    env = {**workshop.env, **EPOCH}
    theirs = ["--plat", "manylinux_2_28_x86_64", "--excl", "libpriv*", "--only-plat"]
    auditwheel(wheel, *theirs, "--wheel-d", tmp_path / "theirs", env=env)
    orders = [
        ["-w", tmp_path / "o0", wheel, *theirs],
        [
            "--plat=manylinux_2_28_x86_64",
            wheel,
            "--excl=libpriv*",
            "--only-plat",
            f"-w{tmp_path}/o1",
        ],
        [*theirs, "--wheel-d", tmp_path / "o2", wheel],
        ["repair", *theirs, f"--wheel-dir={tmp_path}/o3", "--", wheel],
        ["-v", "repair", *theirs, "-w", tmp_path / "o4", wheel],
    ]

    for order in orders:
        assert repair(*order, env=env).code == 0

    outputs = [described(tmp_path / f"o{n}") for n in range(len(orders))]
    assert outputs == [described(tmp_path / "theirs")] * len(orders)


def test_several_wheels_stop_at_the_first_failure_unless_told_otherwise(
    tmp_path: Path, workshop: Workshop
) -> None:
    good, _ = vendoring(tmp_path / "in", workshop)
    bad = make_wheel(tmp_path / "in", {"pkg/x.py": b""}, name="bad", tag=f"{TAG}-{TAG}-{PLATFORM}")
    other, _ = already_repaired(tmp_path / "other", workshop)

    stopped = repair(good, bad, other, "-w", tmp_path / "stopped", env=workshop.env)
    went_on = repair(bad, good, other, "--keep-going", "-w", tmp_path / "on", env=workshop.env)

    assert stopped.code == went_on.code == 5
    assert [p.name.partition("-")[0] for p in (tmp_path / "stopped").iterdir()] == ["demo"]
    assert sorted(p.name.partition("-")[0] for p in (tmp_path / "on").iterdir()) == [
        "demo",
        "markupsafe",
    ]


def test_an_engine_that_fails_leaves_nothing_and_its_last_words(
    tmp_path: Path, workshop: Workshop
) -> None:
    wheel, _ = vendoring(tmp_path / "in", workshop)

    done = repair(wheel, "-w", tmp_path / "out")

    assert done.code == 5
    assert 'required library "libprivate.so.1" could not be located' in done.err or (
        'required library "libscipy_openblas64_.so" could not be located' in done.err
    )
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_wheel_is_never_moved_into_place_unrepaired(tmp_path: Path) -> None:
    """``linux_*`` without a binary: auditwheel refuses it, and so do we."""
    wheel = make_wheel(tmp_path, {"pkg/x.py": b""}, tag=f"py3-none-{PLATFORM}")

    done = repair(wheel, "-w", tmp_path / "out")

    assert done.code == 5
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("require", [False, True])
def test_a_wheel_that_needs_no_provider_is_passed_through_or_refused(
    tmp_path: Path, openblas64: Path, *, require: bool
) -> None:
    pure_wheel = make_wheel(tmp_path, {"pkg/__init__.py": b""}, tag="py3-none-any")
    other = download(tmp_path / "in", "markupsafe", "--platform", "manylinux_2_17_x86_64")
    options = ["--provided-by", "scipy-openblas64", "--provider-wheel", openblas64]
    options += ["--require-provided"] if require else []

    for wheel in (pure_wheel, other):
        done = repair(*options, wheel, "-w", tmp_path / "out")

        assert done.code == (1 if require else 0)
        assert "nothing in " in done.err
        assert done.out.count("\n") == (0 if require else 1)
    assert len(list(tmp_path.glob("out/*"))) == (0 if require else 2)


@pytest.mark.parametrize(
    ("pattern", "warned"),
    [("libprivate.so", True), ("libprivate.so.*", False), ("*/libprivate*", False)],
)
def test_a_pattern_that_matches_nothing_is_a_warning_that_names_near_misses(
    pattern: str, tmp_path: Path, workshop: Workshop, *, warned: bool
) -> None:
    wheel, _ = vendoring(tmp_path / "in", workshop)

    done = repair(wheel, "--exclude", pattern, "-w", tmp_path / "out", env=workshop.env)

    assert done.code == 0
    assert (f"--exclude {pattern} matches nothing" in done.err) is warned
    assert ("it needs libprivate.so.1" in done.err) is warned


def test_the_output_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, {"pkg/__init__.py": b""}, tag="py3-none-any")
    mask = os.umask(0o022)
    try:
        repair(wheel, "-w", tmp_path / "out")
    finally:
        os.umask(mask)

    assert stat.S_IMODE((tmp_path / "out" / wheel.name).stat().st_mode) == 0o644
