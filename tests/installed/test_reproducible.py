"""The same input gives the same bytes, and a second repair changes nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wheels import make_wheel, read_wheel
from workbench import PLATFORM, TAG, Workshop, repair

if TYPE_CHECKING:
    from pathlib import Path


def test_two_repairs_are_equal_bytes(tmp_path: Path, workshop: Workshop, openblas64: Path) -> None:
    module = workshop.module("_mod", "PRIVATE", link=("openblas", "private"))
    wheel = make_wheel(
        tmp_path, {"pkg/__init__.py": b"", "pkg/_mod.so": module}, tag=f"{TAG}-{TAG}-{PLATFORM}"
    )
    provided = ("--provided-by", "scipy-openblas64", "--provider-wheel", openblas64)
    env = {**workshop.env, "SOURCE_DATE_EPOCH": "1700000000"}

    outputs: list[Path] = []
    for folder in ("one", "two"):
        assert repair(wheel, *provided, "-w", tmp_path / folder, env=env).code == 0
        outputs += (tmp_path / folder).iterdir()

    assert outputs[0].name == outputs[1].name
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_a_second_repair_changes_nothing_more(
    tmp_path: Path, workshop: Workshop, openblas64: Path
) -> None:
    module = workshop.module("_mod", "PRIVATE", link=("openblas", "private"))
    wheel = make_wheel(tmp_path, {"_mod.so": module}, tag=f"{TAG}-{TAG}-{PLATFORM}")
    provided = ("--provided-by", "scipy-openblas64", "--provider-wheel", openblas64)

    repair(wheel, *provided, "-w", tmp_path / "one", env=workshop.env)
    (once,) = (tmp_path / "one").iterdir()
    done = repair(once, *provided, "-w", tmp_path / "two", env=workshop.env)
    (twice,) = (tmp_path / "two").iterdir()

    assert done.code == 0, done.err
    assert twice.name == once.name
    assert read_wheel(twice) == read_wheel(once)
