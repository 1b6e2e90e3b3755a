"""Fixtures of the real tests: the providers from PyPI, fresh environments, compiled consumers."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from workbench import Environment, Workshop, checked, download


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    checked([sys.executable, "-m", "venv", tmp_path / "venv"])
    return Environment(tmp_path / "venv")


@pytest.fixture(scope="session")
def openblas64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest scipy-openblas64 wheel for this platform."""
    return download(tmp_path_factory.mktemp("openblas64"), "scipy-openblas64")


@pytest.fixture(scope="session")
def openblas_lib(openblas64: Path) -> Path:
    """The folder with the provider's library, as a build would see it."""
    root = openblas64.parent / "unpacked"
    with zipfile.ZipFile(openblas64) as archive:
        for name in archive.namelist():
            if name.endswith(".so"):
                target = root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
    return root / "scipy_openblas64" / "lib"


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, openblas_lib: Path) -> Workshop:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not there")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("the headers of this Python are not there")
    return Workshop(tmp_path_factory.mktemp("workshop"), openblas_lib)
