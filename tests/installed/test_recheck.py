"""``recheck`` asks of repaired wheels whether they would work with another provider release."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from wheels import make_wheel
from workbench import PLATFORM, TAG, Completed, Workshop, download, repair, run

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = "scipy-openblas64"
OLD, NEW = "0.3.33.201.0", "0.3.34.481.3"


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return download(tmp_path_factory.mktemp("older"), f"{PROJECT}=={OLD}")


@pytest.fixture(scope="module")
def consumers(tmp_path_factory: pytest.TempPathFactory, workshop: Workshop, older: Path) -> Path:
    """Two consumers repaired with the older release, and a wheel that never was."""
    folder = tmp_path_factory.mktemp("consumers")
    modules = {
        "fine": workshop.module("_mod"),
        "lost": workshop.module("_mod", "SYMBOL=scipy_cblas_icmax64_"),
    }
    for name, module in modules.items():
        files = {f"{name}/__init__.py": b"", f"{name}/_mod.so": module}
        wheel = make_wheel(folder / "built", files, name=name, tag=f"{TAG}-{TAG}-{PLATFORM}")
        done = repair(
            *(wheel, "--provided-by", PROJECT, "--provider-wheel", older, "-w", folder / "out"),
            env=workshop.env,
        )
        assert done.code == 0, done.err
    make_wheel(folder / "out", {"pure.py": b""}, name="pure", tag="py3-none-any")
    return folder / "out"


def recheck(*arguments: object) -> Completed:
    return run([sys.executable, "-m", "extlib_repair", "recheck", *arguments])


def one(consumers: Path, name: str) -> Path:
    (wheel,) = consumers.glob(f"{name}-*.whl")
    return wheel


def test_a_release_that_has_everything_is_good_and_fetched(consumers: Path) -> None:
    done = recheck(one(consumers, "fine"), "--against", f"{PROJECT}=={NEW}")

    assert done.code == 0, done.err
    assert f"good with {PROJECT} {NEW}" in done.out


def test_a_symbol_that_was_removed_is_named(consumers: Path) -> None:
    done = recheck(one(consumers, "lost"), "--against", f"{PROJECT}=={NEW}", "--json")

    assert done.code == 1
    errors = [f for f in json.loads(done.out)["findings"] if f["severity"] == "error"]
    assert [f["code"] for f in errors] == ["missing-symbols"]
    assert "scipy_cblas_icmax64_" in errors[0]["message"]


def test_a_wheel_file_is_taken_as_it_is(consumers: Path, openblas64: Path) -> None:
    done = recheck(one(consumers, "fine"), "--against", openblas64)

    assert done.code == 0, done.err


def test_every_consumer_in_a_folder_is_asked(consumers: Path, openblas64: Path) -> None:
    done = recheck("--all-consumers", consumers, "--against", openblas64, "--keep-going")

    assert done.code == 1
    assert "fine-1.0" in done.out
    assert "scipy_cblas_icmax64_" in done.err + done.out
    assert "pure" not in done.out + done.err


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--against", "scipy-openblas32==0.3.34.481.3"], "was repaired with scipy-openblas32", 2),
        (["--against", "not a name"], "--against 'not a name' is not a name", 2),
    ],
)
def test_a_folder_without_such_consumers_is_refused(
    arguments: list[str], said: str, code: int, consumers: Path
) -> None:
    done = recheck("--all-consumers", consumers, *arguments)

    assert done.code == code
    assert said in done.err


def test_a_release_that_there_is_not_is_told(consumers: Path) -> None:
    done = recheck(one(consumers, "fine"), "--against", f"{PROJECT}==99")

    assert done.code == 4
    assert f"pip finds no wheel of {PROJECT}==99" in done.err
