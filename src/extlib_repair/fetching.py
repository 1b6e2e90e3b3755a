"""``--fetch``: the provider's wheel from the package index, for the consumer's platform.

pip does it, so that its settings (index, credentials, certificates, cache) hold, and it checks the
digests that the index states. pip takes every ``--platform`` for one exact tag, and so is told all
of them, whatever their version: the consumer's own tag is only raised to the provider's later.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from extlib_repair import process, tags
from extlib_repair.errors import FetchingError, ProviderNotFoundError
from extlib_repair.model import Libc, System

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from extlib_repair.model import Project, ProviderRequest, WheelName

_NEWEST_GLIBC = 99
_NEWEST_MUSL = 9
_NEWEST_MACOS = 40
_OLDEST_NEW_MACOS = 11

_UNREACHED = re.compile(r"Could not fetch URL \S+: (?!404 )(.+) - skipping")
"""What pip says of an index that does not answer; 404 is the answer of one without the project."""


def fetch(request: ProviderRequest, consumer: WheelName, libc: Libc, folder: Path) -> Path:
    """Download the newest wheel in range for a consumer into an empty folder.

    Raises :class:`ProviderNotFoundError` with pip's last words.
    """
    requirement = f"{request.project}{request.specifier}"
    command = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--dest", str(folder), *_target(consumer, libc), requirement]
    done = process.run([python_with_pip(), *command])
    found = sorted(folder.glob("*.whl"))
    if done.returncode or len(found) != 1:
        raise ProviderNotFoundError(
            f"pip finds no wheel of {requirement} for {'.'.join(consumer.platforms)}: "
            f"{done.last_words}",
            hint="is the range right, and does the provider have wheels for that platform?",
        )
    return found[0]


def versions(project: Project, platform: tags.Platform) -> tuple[str, ...]:
    """Return the releases on the index that have a wheel for a platform.

    Raises :class:`FetchingError` when an index cannot be asked. pip then goes on with the others,
    and only with ``-vv`` says so: a release that it does not list could be taken for absent.
    """
    done = _ask_pip(["index", "versions", "-vv", project], platform)
    if unreached := _UNREACHED.search(done.stdout + done.stderr):
        raise FetchingError(f"pip cannot list the releases of {project}: {unreached[1]}")
    listed = re.search(r"^Available versions: (.+)$", done.stdout, re.MULTILINE)
    if done.returncode == 0 and listed is not None:
        return tuple(listed[1].strip().split(", "))
    if "No matching distribution" in done.last_words:
        return ()
    raise FetchingError(f"pip cannot list the releases of {project}: {done.last_words}")


def download(
    project: Project, version: str, platform: tags.Platform, folder: Path
) -> tuple[Path, bool]:
    """Download the wheel of one release for a platform; also say whether it is yanked.

    The folder must be empty. Raises :class:`FetchingError`.
    """
    words = ["download", "--quiet", "--no-deps", "--dest", str(folder), f"{project}=={version}"]
    done = _ask_pip(words, platform)
    found = sorted(folder.glob("*.whl"))
    if done.returncode or len(found) != 1:
        raise FetchingError(
            f"pip cannot download {project} {version} for {platform.tag}: {done.last_words}"
        )
    return found[0], "is a yanked version" in done.stderr


def _ask_pip(words: list[str], platform: tags.Platform) -> process.Completed:
    """Run pip for wheels of a platform, whatever Python they ask for; it keeps no copies."""
    options = ["--no-cache-dir", "--only-binary=:all:", "--ignore-requires-python"]
    for tag in _platforms(platform, platform.libc or Libc.GLIBC):
        options += ["--platform", tag]
    return process.run([python_with_pip(), "-m", "pip", *words, *options])


def python_with_pip() -> str:
    """Return an interpreter that has pip; runners of tools often make one without."""
    for python in (process.python(), *process.pythons_on_path()):
        if not process.run([python, "-m", "pip", "--version"]).returncode:
            return python
    raise ProviderNotFoundError(
        "pip is needed, and no Python on PATH has it",
        hint="download the provider's wheel yourself and give it with --provider-wheel",
    )


def _target(consumer: WheelName, libc: Libc) -> Iterator[str]:
    """Yield pip's options for everything that can be installed where the consumer can."""
    for platform in consumer.platforms:
        for tag in _platforms(tags.parse(platform), libc):
            yield from ("--platform", tag)
    python = consumer.pythons[0]
    if python.startswith("cp") and python[2:].isdecimal():
        yield from ("--implementation", "cp", "--python-version", f"{python[2]}.{python[3:]}")
        for abi in dict.fromkeys((*consumer.abis, python, "abi3", "none")):
            yield from ("--abi", abi)


def _platforms(own: tags.Platform, libc: Libc) -> Iterator[str]:
    if own.system is System.LINUX and (own.libc or libc) is Libc.MUSL:
        yield from (f"musllinux_1_{minor}_{own.arch}" for minor in range(1, _NEWEST_MUSL + 1))
    elif own.system is System.LINUX:
        yield from (f"manylinux_2_{minor}_{own.arch}" for minor in range(5, _NEWEST_GLIBC + 1))
        yield from (f"{name}_{own.arch}" for name in tags.LEGACY)
    elif own.system is System.MACOS:
        versions = [f"10_{minor}" for minor in range(4, 17)]
        versions += [f"{major}_0" for major in range(_OLDEST_NEW_MACOS, _NEWEST_MACOS + 1)]
        arches = dict.fromkeys((own.arch, "universal2"))
        yield from (f"macosx_{version}_{arch}" for version in versions for arch in arches)
    else:
        yield own.tag
