"""Fixtures of the real tests: the providers from PyPI, fresh environments, compiled consumers."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mingw import WindowsWorkshop
from wine import WindowsPython, install_for_windows, windows_python
from workbench import Environment, Workshop, checked, download

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.fixture(scope="session")
def windows() -> Iterator[WindowsPython]:
    """A CPython 3.12 for Windows, run by Wine."""
    with windows_python() as python:
        yield python


@pytest.fixture(scope="session")
def windows_openblas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest scipy-openblas64 wheel for Windows."""
    folder = tmp_path_factory.mktemp("windows-openblas")
    return download(folder, "scipy-openblas64", "--platform", "win_amd64")


@pytest.fixture(scope="session")
def windows_site(windows_openblas: Path) -> Path:
    """A folder with that provider installed, and with nothing else."""
    folder = windows_openblas.parent / "site"
    install_for_windows(folder, windows_openblas)
    return folder


@pytest.fixture(scope="session")
def windows_workshop(
    tmp_path_factory: pytest.TempPathFactory, windows: WindowsPython, windows_site: Path
) -> WindowsWorkshop:
    library = windows_site / "scipy_openblas64" / "lib"
    return WindowsWorkshop(tmp_path_factory.mktemp("mingw"), windows.libpython, library)
