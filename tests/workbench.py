"""Tools of the real tests: processes, downloads, fresh environments, a compiler."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOURCES = Path(__file__).parent / "fixtures" / "consumer"
TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"
PLATFORM = "linux_x86_64"
FOREIGN_RUN_PATH = "/build/lib:/opt/outside:$ORIGIN/keepme"


@dataclasses.dataclass(frozen=True)
class Completed:
    """What a command said."""

    code: int
    out: str
    err: str


def run(
    command: Sequence[object], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Completed:
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "PATH": path, **(env or {})},
        cwd=cwd,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Completed(done.returncode, done.stdout, done.stderr)


def checked(
    command: Sequence[object], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    done = run(command, env, cwd)
    assert done.code == 0, f"{command}\n{done.out}\n{done.err}"
    return done.out


def retried(command: Sequence[object]) -> str:
    """Run a command that downloads: three tries, then a clear failure."""
    for pause in (2, 10):
        if run(command).code == 0:
            return checked(command)
        time.sleep(pause)
    return checked(command)


def download(folder: Path, requirement: str, *options: str) -> Path:
    """Download one wheel from PyPI, through pip's cache."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    retried([*command, "-d", folder, *options, requirement])
    (wheel,) = folder.glob("*.whl")
    return wheel


def repair(*arguments: object, env: Mapping[str, str] | None = None) -> Completed:
    """Run the command line in a process of its own."""
    return run([sys.executable, "-m", "extlib_repair", *arguments], env)


@dataclasses.dataclass(frozen=True)
class Environment:
    """A fresh virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @functools.cached_property
    def site_packages(self) -> Path:
        return Path(self.run("import sysconfig; print(sysconfig.get_path('platlib'))").strip())

    def install(self, *requirements: object) -> None:
        retried([self.python, "-m", "pip", "install", "-q", *requirements])

    def run(self, program: str, env: Mapping[str, str] | None = None) -> str:
        """Run a program, away from this folder and from build-time library paths."""
        clean = {"LD_LIBRARY_PATH": "", **(env or {})}
        return checked([self.python, "-c", program], clean, cwd=self.folder)


class Workshop:
    """Compiles consumers of scipy-openblas64, with a private and a middle library."""

    def __init__(self, folder: Path, openblas: Path) -> None:
        self.folder = folder
        self.openblas = openblas
        self._library("private", "libprivate.so.1")
        self._library("middle", "libmiddle.so.2", f"-L{openblas}", "-lscipy_openblas64_")

    @property
    def env(self) -> dict[str, str]:
        """Where the engine finds the libraries that nobody provides."""
        return {"LD_LIBRARY_PATH": f"{self.folder}:{self.openblas}"}

    def module(
        self,
        name: str,
        *defines: str,
        link: Sequence[str] = ("openblas",),
        extra: Sequence[str] = (),
    ) -> bytes:
        """Compile an extension module; ``link`` names what it is linked with."""
        libraries = {
            "openblas": [f"-L{self.openblas}", "-lscipy_openblas64_"],
            "private": [f"-L{self.folder}", "-l:libprivate.so.1"],
            "middle": [f"-L{self.folder}", "-l:libmiddle.so.2", f"-Wl,-rpath-link,{self.openblas}"],
        }
        command = ["gcc", "-shared", "-fPIC", f"-I{sysconfig.get_path('include')}"]
        command += [f"-D{define}" for define in (f"MODULE={name}", *defines)]
        command += [str(SOURCES / "module.c"), "-o", str(self.folder / f"{name}.so")]
        for what in link:
            command += libraries[what]
        checked([*command, *extra])
        return (self.folder / f"{name}.so").read_bytes()

    def program(self) -> bytes:
        target = self.folder / "program"
        libraries = [f"-L{self.openblas}", "-lscipy_openblas64_", "-Wl,-rpath,/build/lib"]
        checked(["gcc", SOURCES / "program.c", "-o", target, *libraries])
        return target.read_bytes()

    def _library(self, source: str, soname: str, *libraries: str) -> None:
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", SOURCES / f"{source}.c"]
        checked([*command, "-o", self.folder / soname, *libraries])
