"""Started by a runner of tools, extlib-repair finds the provider of the Python that builds."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wheels import make_wheel
from workbench import PLATFORM, TAG, Environment, Workshop, run

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
RUNNERS = {
    "uvx": [SCRIPTS / "uvx", "--from", REPOSITORY, "extlib-repair"],
    "pipx": [SCRIPTS / "pipx", "run", "--spec", REPOSITORY, "extlib-repair"],
}


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_provider_of_the_building_python_is_found(
    runner: str, tmp_path: Path, workshop: Workshop, environment: Environment
) -> None:
    command: Sequence[object] = RUNNERS[runner]
    assert shutil.which(str(command[0])), "a dependency of the tests"
    environment.install("scipy-openblas64")
    wheel = make_wheel(
        tmp_path, {"pkg/_mod.so": workshop.module("_mod")}, tag=f"{TAG}-{TAG}-{PLATFORM}"
    )
    path = os.pathsep.join([str(environment.python.parent), "/usr/bin", "/bin"])
    env = {"PATH": path, "HOME": str(tmp_path), "UV_PYTHON": sys.executable}

    done = run([*command, wheel, "--provided-by", "scipy-openblas64", "-w", tmp_path / "out"], env)

    assert done.code == 0, done.err
    assert f"installed for {environment.python}" in done.err
    assert len(list((tmp_path / "out").iterdir())) == 1
