"""No engine: for wheels without any binary, where there is nothing to vendor."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from extlib_repair.engines import Arguments, Result, refuse_strays

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "none"


def parse(tokens: Sequence[str]) -> Arguments:
    """Accept options of any engine: with several wheels they are meant for the others."""
    refuse_strays(tokens)
    return Arguments(tokens=tuple(tokens))


def run(wheel: Path, arguments: Arguments, folder: Path) -> Result:  # noqa: ARG001 - common shape
    """Copy the wheel."""
    return Result(wheel=Path(shutil.copyfile(wheel, folder / wheel.name)), log="")
