"""Which Python can install a wheel. Each is asked itself, with our copy of packaging."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import packaging
from packaging import tags as python_tags

from extlib_repair import process, tags
from extlib_repair.errors import UsageError
from extlib_repair.model import System

if TYPE_CHECKING:
    from extlib_repair.model import WheelName

_ASK = """
import json, sys, sysconfig
answer = {"executable": sys.executable, "platform": sysconfig.get_platform()}
answer["name"] = sys.implementation.name.replace("cpython", "CPython")
answer["version"] = sys.version_info[:3]
if len(sys.argv) > 1:
    sys.path.append(sys.argv[1])
    from packaging.tags import sys_tags
    answer["tags"] = [str(tag) for tag in sys_tags()]
print(json.dumps(answer))
"""
_DEPTH = 2
"""``packaging/__init__.py`` lies so deep in the folder that is put on the interpreter's path."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python, and what it can install."""

    command: tuple[str, ...]
    """The words that start it: two for a Python for Windows under Wine."""

    name: str
    version: tuple[int, ...]
    tags: frozenset[str]

    @property
    def label(self) -> str:
        """Name, version and path, for messages."""
        return f"{self.name} {'.'.join(map(str, self.version))} ({self.command[-1]})"

    @property
    def is_foreign(self) -> bool:
        """Whether Wine runs it, so that nothing can be installed by itself."""
        return len(self.command) > 1

    def fits(self, wheel: WheelName) -> bool:
        """Whether it can install a wheel."""
        return not self.tags.isdisjoint(wheel.tags)

    def has_platform_of(self, wheel: WheelName) -> bool:
        """Whether some wheel of the same platforms could be installed."""
        return not {tag.rpartition("-")[2] for tag in self.tags}.isdisjoint(wheel.platforms)


def for_wheel(wheel: WheelName, stated: str) -> Interpreter | None:
    """Return the interpreter that is stated, or the first on PATH that fits a wheel, or ours.

    None for a wheel of another platform. Raises :class:`UsageError` for a wheel that cannot be
    installed although its platform is right.
    """
    if _is_for_wine(stated):
        candidates = [_under_wine(stated)] if _is_for_windows(wheel) and _wine() else []
    elif stated:
        candidates = [_stated(stated)]
    else:
        paths = dict.fromkeys((*process.pythons_on_path(), process.python()))
        candidates = [one for path in paths if isinstance(one := _asked((path,)), Interpreter)]
    for one in candidates:
        if one.fits(wheel):
            return one
    unfit = [one.label for one in candidates if one.has_platform_of(wheel)]
    if not unfit:
        return None
    raise UsageError(
        f"{wheel.filename} cannot be installed by {unfit[0]}",
        hint=f"it is for {'.'.join(wheel.pythons)}-{'.'.join(wheel.abis)}: name such an "
        "interpreter with --python",
    )


def _stated(python: str) -> Interpreter:
    # The user's own PATH decides what the words mean, not the one with our scripts in front.
    found = _asked((shutil.which(python) or python,))
    if isinstance(found, str):
        raise UsageError(
            f"--python {python} does not answer: {found}",
            hint="it takes the path of a Python interpreter, 3.8 or newer",
        )
    return found


@functools.cache
def _asked(command: tuple[str, ...]) -> Interpreter | str:
    """Return what an interpreter says of itself, or why it says nothing."""
    above = Path(packaging.__file__).resolve().parents[_DEPTH - 1]
    folder = () if len(command) > 1 else (str(above),)
    try:
        done = process.run([*command, "-I", "-c", _ASK, *folder])
        answer = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    except json.JSONDecodeError as error:
        return f"says something else: {error}"
    if answer is None:
        return done.raised
    version = tuple(answer["version"])
    return Interpreter(
        command=command if len(command) > 1 else (answer["executable"],),
        name=answer["name"],
        version=version,
        tags=frozenset(answer.get("tags") or _tags_of_windows(version, answer["platform"])),
    )


def _tags_of_windows(version: tuple[int, ...], platform: str) -> tuple[str, ...]:
    """Return the tags of a CPython for Windows, which need not be asked for each."""
    short = f"cp{version[0]}{version[1]}"
    platforms = [platform.replace("-", "_")]
    own = python_tags.cpython_tags(version[:2], [short], platforms)
    pure = python_tags.compatible_tags(version[:2], short, platforms)
    return tuple(map(str, (*own, *pure)))


def _is_for_wine(python: str) -> bool:
    """Whether a path is that of a program for Windows, on a host that is not Windows."""
    host = {tags.parse(platform).system for platform in python_tags.platform_tags()}
    return python.lower().endswith(".exe") and System.WINDOWS not in host


def _is_for_windows(wheel: WheelName) -> bool:
    return tags.system_of(wheel.platforms) is System.WINDOWS


def _wine() -> str | None:
    return process.find("wine")


def _under_wine(python: str) -> Interpreter:
    found = _asked((_wine() or "wine", str(Path(python).absolute())))
    if isinstance(found, str):
        raise UsageError(
            f"--python {python} does not answer under Wine: {found}",
            hint="it takes the path of a python.exe that Wine can run",
        )
    return found
