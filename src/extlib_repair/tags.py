"""Platform tags: what system, C library, version and architecture one promises.

Sources: PEP 600 (manylinux_X_Y and the older aliases), PEP 656 (musllinux), and
https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from extlib_repair.model import Libc, System

if TYPE_CHECKING:
    from extlib_repair.model import MacVersion

_WHOLE_RELEASES = 11
"""The first macOS whose tags have the minor version 0."""

_ALIASES = {
    "manylinux1": (2, 5),
    "manylinux2010": (2, 12),
    "manylinux2014": (2, 17),
}
LEGACY = tuple(_ALIASES)
"""The names before PEP 600."""

_LINUX = re.compile(r"(?P<family>manylinux|musllinux)_(?P<major>\d+)_(?P<minor>\d+)_(?P<arch>.+)")
_OTHER = (
    (re.compile(r"macosx_(?P<major>\d+)_(?P<minor>\d+)_(?P<arch>.+)"), System.MACOS),
    (re.compile(r"linux_(?P<arch>.+)"), System.LINUX),
    (re.compile(r"win_(?P<arch>.+)"), System.WINDOWS),
    (re.compile(r"android_\d+_(?P<arch>.+)"), System.ANDROID),
    (re.compile(r"ios_\d+_\d+_(?P<arch>.+)"), System.IOS),
    (re.compile(r"(?:pyodide|pyemscripten|emscripten)_.*?(?P<arch>wasm32)"), System.PYODIDE),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What one platform tag promises."""

    tag: str
    system: System
    arch: str = ""
    libc: Libc | None = None
    """None for ``linux_*``, which does not say it, and outside Linux."""

    version: tuple[int, int] | None = None
    """The oldest C library, or macOS, that is enough; None where the tag does not say."""


def parse(tag: str) -> Platform:
    """Return what a platform tag promises; ``System.UNKNOWN`` for one that nobody knows."""
    if tag == "any":
        return Platform(tag=tag, system=System.ANY)
    if tag == "win32":
        return Platform(tag=tag, system=System.WINDOWS, arch="x86")
    legacy, _, legacy_arch = tag.partition("_")
    if legacy in _ALIASES and legacy_arch:
        return Platform(
            tag=tag,
            system=System.LINUX,
            arch=legacy_arch,
            libc=Libc.GLIBC,
            version=_ALIASES[legacy],
        )
    if match := _LINUX.fullmatch(tag):
        return Platform(
            tag=tag,
            system=System.LINUX,
            arch=match["arch"],
            libc=Libc.GLIBC if match["family"] == "manylinux" else Libc.MUSL,
            version=(int(match["major"]), int(match["minor"])),
        )
    for pattern, system in _OTHER:
        if match := pattern.fullmatch(tag):
            stated = match.groupdict()
            version = (int(stated["major"]), int(stated["minor"])) if "major" in stated else None
            return Platform(tag=tag, system=system, arch=match["arch"], version=version)
    return Platform(tag=tag, system=System.UNKNOWN)


def system_of(platforms: tuple[str, ...]) -> System:
    """Return the one system of a wheel's platform tags; ``System.UNKNOWN`` for a mixture."""
    systems = {parse(tag).system for tag in platforms}
    return systems.pop() if len(systems) == 1 else System.UNKNOWN


def lowest(platforms: tuple[str, ...], libc: Libc) -> Platform | None:
    """Return the least demanding of the tags that state a version of this C library, or None."""
    known = [p for p in map(parse, platforms) if p.libc is libc]
    return min(known, key=_version) if known else None


def below(platform: Platform, floor: Platform) -> bool:
    """Whether a tag promises more than ``floor``, in versions of the same C library."""
    return platform.libc is floor.libc and _version(platform) < _version(floor)


def raised(platforms: tuple[str, ...], floor: Platform) -> tuple[str, ...]:
    """Return tags that promise no more than ``floor`` does, in sorted order.

    Tags at or above the floor stay, as do those that state no version; tags of another C library
    go. The floor's own names take the place of the tags below it.
    """
    known = [parse(tag) for tag in platforms]
    kept = {p.tag for p in known if p.libc in (None, floor.libc) and not below(p, floor)}
    if any(below(p, floor) for p in known):
        kept |= set(_spellings(floor))
    return tuple(sorted(kept))


def holds_for(provider: Platform, arch: str) -> bool:
    """Whether a provider's tag is for all machines of a consumer's architecture.

    pip installs one wheel of a provider, so that universal2 needs universal2.
    """
    universal = provider.system is System.MACOS and provider.arch == "universal2"
    return universal or "" in (arch, provider.arch) or arch == provider.arch


def machines(arch: str) -> tuple[str, ...]:
    """Return the machines that an architecture of a platform tag stands for."""
    return ("arm64", "x86_64") if arch == "universal2" else (arch,)


def macos_needed(minimum: MacVersion | None, machine: str, arch: str) -> tuple[int, int]:
    """Return the macOS that a tag for ``arch`` must promise for a slice with a minimum OS.

    Since macOS 11 tags count whole releases only; and the arm64 slice of universal2, which no
    system before 11.0 could load, does not raise the tag. Source: delocate 0.13
    (``_calculate_minimum_wheel_name``), and the tags that packaging 26 computes for a system.
    """
    major, minor, _ = minimum or (0, 0, 0)
    oldest = (major, minor if major < _WHOLE_RELEASES else 0)
    is_free = arch == "universal2" and machine == "arm64" and oldest <= (_WHOLE_RELEASES, 0)
    return (0, 0) if is_free else oldest


def lowest_macos(platforms: tuple[str, ...], arch: str) -> Platform | None:
    """Return the least demanding macOS tag for an architecture, or None."""
    known = [p for p in map(parse, platforms) if p.system is System.MACOS and holds_for(p, arch)]
    return min(known, key=_version) if known else None


def raised_macos(platforms: tuple[str, ...], floor: Platform, arch: str) -> tuple[str, ...]:
    """Return macOS tags that promise for ``arch`` no older system than ``floor``, sorted."""
    major, minor = _version(floor)
    known = [parse(tag) for tag in platforms]
    raised_tags = {
        f"macosx_{major}_{minor}_{own.arch}"
        if own.arch == arch and is_older_macos(own, floor)
        else own.tag
        for own in known
    }
    return tuple(sorted(raised_tags))


def is_older_macos(platform: Platform, floor: Platform) -> bool:
    """Whether a macOS tag promises an older system than another."""
    return platform.system is System.MACOS and _version(platform) < _version(floor)


def _version(platform: Platform) -> tuple[int, int]:
    return platform.version or (0, 0)


def _spellings(platform: Platform) -> tuple[str, ...]:
    family = "manylinux" if platform.libc is Libc.GLIBC else "musllinux"
    major, minor = _version(platform)
    legacy = [name for name, version in _ALIASES.items() if version == platform.version]
    names = [f"{family}_{major}_{minor}", *(legacy if platform.libc is Libc.GLIBC else [])]
    return tuple(f"{name}_{platform.arch}" for name in names)
