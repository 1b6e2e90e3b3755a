"""The platform tag of a consumer: it cannot promise more than its providers do. Pure.

Leaving a library out lowers the tag that auditwheel computes, since the library's own needs are no
longer counted: a wheel that is manylinux_2_27 with OpenBLAS inside becomes manylinux1 without.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from extlib_repair import tags
from extlib_repair.model import Finding, Libc, Severity, System

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from extlib_repair.model import Image, Member, Provider, WheelFacts


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What the user says about the platform tag."""

    stated: str = ""
    """A tag that must hold (``--plat``), or the empty string."""

    default: str = ""
    """A tag that is usual here (``AUDITWHEEL_PLAT`` of the manylinux images)."""

    keep: bool = False
    """Leave the tags as they are (auditwheel's ``--no-update-tags``)."""


def platforms(
    facts: WheelFacts, used: Sequence[Provider], promise: Promise
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Return the platform tags that a consumer of these providers can have, and why."""
    if tags.system_of(facts.name.platforms) is System.MACOS:
        raised, of_providers = _macos(facts.name.platforms, used, promise)
        return raised, (*of_providers, *_too_new(facts, raised))
    own = c_libraries(facts.name.platforms, facts.image_map.values())
    result = facts.name.platforms
    findings: list[Finding] = []
    for provider in used:
        images = (library.image for library in provider.libraries.values())
        other = c_libraries(provider.platforms, images)
        if own and other and own.isdisjoint(other):
            findings.append(_other_c_library(own, provider, other))
            continue
        result, found = _raise_to(result, provider, promise)
        findings += found
    return result, tuple(findings)


def _macos(
    platforms: tuple[str, ...], used: Sequence[Provider], promise: Promise
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Return the tags of a macOS wheel: no older system than its providers have."""
    result = platforms
    findings: list[Finding] = []
    for provider in used:
        for arch in sorted({tags.parse(tag).arch for tag in platforms}):
            floor = _macos_floor(provider, arch)
            if floor is None:
                findings.append(_other_machine(provider, arch))
                continue
            wanted = tags.raised_macos(result, floor, arch)
            if set(wanted) == set(result):
                continue
            if promise.keep:
                findings.append(_too_low(provider, floor.tag, ".".join(result)))
            else:
                findings.append(_raised(result, wanted, provider, Severity.NOTE))
                result = wanted
    return result, tuple(findings)


def _macos_floor(provider: Provider, arch: str) -> tags.Platform | None:
    """Return the least that a provider asks of a system: by its tags, and by its libraries."""
    lowest = tags.lowest_macos(provider.platforms, arch)
    slices = [s for li in provider.libraries.values() for s in li.slices]
    fitting = [s for s in slices if s.arch in tags.machines(arch)]
    needed = max((tags.macos_needed(s.minimum_os, s.arch, arch) for s in fitting), default=(0, 0))
    if lowest is None or needed <= (lowest.version or (0, 0)):
        return lowest
    major, minor = needed
    return tags.parse(f"macosx_{major}_{minor}_{arch}")


def _too_new(facts: WheelFacts, platforms: Sequence[str]) -> Iterator[Finding]:
    """Warn of binaries that are for newer systems than the tags promise."""
    for member, binary in sorted(facts.binaries.items()):
        for image in binary.images:
            for tag in map(tags.parse, platforms):
                needed = tags.macos_needed(image.minimum_os, image.arch, tag.arch)
                if image.arch in tags.machines(tag.arch) and needed > (tag.version or (0, 0)):
                    yield _is_too_new(member, image, needed, tag)


def _is_too_new(
    member: Member, image: Image, needed: tuple[int, int], tag: tags.Platform
) -> Finding:
    return Finding(
        code="minimum-os",
        severity=Severity.WARNING,
        member=member,
        message=f"is for macOS {needed[0]}.{needed[1]} and later ({image.arch}), and the wheel "
        f"promises {tag.tag}",
        hint="set MACOSX_DEPLOYMENT_TARGET when you build",
    )


def _other_machine(provider: Provider, arch: str) -> Finding:
    return Finding(
        code="other-architecture",
        severity=Severity.ERROR,
        message=f"the wheel is for {arch}, and {provider.label} for "
        f"{', '.join(provider.platforms)}",
        hint="give the provider's wheel for the consumer's platform: --provider-wheel FILE; "
        "universal2 needs universal2, since pip installs one wheel of a provider",
    )


def _raise_to(
    platforms: tuple[str, ...], provider: Provider, promise: Promise
) -> tuple[tuple[str, ...], list[Finding]]:
    """Return the tags with one provider, and what is to be said of them."""
    floors = _floors(provider, platforms)
    if not floors:
        promised = any(tags.parse(tag).libc for tag in platforms)
        return platforms, [_says_nothing(platforms, provider)] if promised else []
    stated = tags.parse(promise.stated)
    too_high = [floor.tag for floor in floors if tags.below(stated, floor)]
    if too_high:
        return platforms, [_too_low(provider, too_high[0], promise.stated)]
    wanted = tuple(sorted({tag for floor in floors for tag in tags.raised(platforms, floor)}))
    if set(wanted) == set(platforms):
        return platforms, []
    if promise.keep:
        return platforms, [_too_low(provider, floors[0].tag, ".".join(platforms))]
    default = tags.parse(promise.default)
    passes = any(tags.below(default, floor) for floor in floors)
    severity = Severity.WARNING if passes else Severity.NOTE
    return wanted, [_raised(platforms, wanted, provider, severity)]


def hint(facts: WheelFacts, providers: Sequence[Provider]) -> str:
    """Return the tag to tell an engine that cannot see the C library; mostly the empty string.

    A binary that needs nothing but Python and the provider does not name a C library. With the
    provider left out auditwheel has nothing to go by and refuses the wheel (auditwheel 6.8.2).
    """
    if c_libraries(facts.name.platforms, facts.image_map.values()):
        return ""
    floors = (floor for p in providers for floor in _floors(p, facts.name.platforms))
    return next((floor.tag for floor in floors), "")


def c_libraries(platforms: Sequence[str], images: Iterable[Image]) -> frozenset[Libc]:
    """Return the C libraries that a wheel is for: by its tags, else by what its images need."""
    stated = {p.libc for p in map(tags.parse, platforms) if p.libc is not None}
    if stated:
        return frozenset(stated)
    needed = {name for image in images for name in image.needed}
    if any(name.startswith("libc.musl-") for name in needed):
        return frozenset({Libc.MUSL})
    return frozenset({Libc.GLIBC} if "libc.so.6" in needed else ())


def _floors(provider: Provider, platforms: Sequence[str]) -> list[tags.Platform]:
    """Return the lowest promise of a provider for each C library, for the wheel's architecture."""
    own = {tags.parse(tag).arch for tag in platforms}
    fitting = tuple(tag for tag in provider.platforms if tags.parse(tag).arch in own)
    lowest = (tags.lowest(fitting, libc) for libc in Libc)
    return [floor for floor in lowest if floor is not None]


def _raised(
    old: Sequence[str], new: Sequence[str], provider: Provider, severity: Severity
) -> Finding:
    return Finding(
        code="platform-tag",
        severity=severity,
        message=f"the platform tag becomes {'.'.join(new)} (was {'.'.join(old)}): {provider.label} "
        "promises no more",
    )


def _too_low(provider: Provider, floor: str, stated: str) -> Finding:
    return Finding(
        code="platform-tag",
        severity=Severity.ERROR,
        message=f"{stated} is promised, and {provider.label} needs {floor}",
        hint="promise less, or give a release of the provider that promises as much",
    )


def _says_nothing(platforms: Sequence[str], provider: Provider) -> Finding:
    stated = ".".join(provider.platforms) or "nothing"
    return Finding(
        code="platform-tag",
        severity=Severity.WARNING,
        message=f"{provider.label} is tagged {stated}, which does not say how old a C library may "
        f"be: {'.'.join(platforms)} may promise too much",
        hint="examine the provider's wheel from a package index, which has to say it",
    )


def _other_c_library(own: Iterable[Libc], provider: Provider, other: Iterable[Libc]) -> Finding:
    return Finding(
        code="other-c-library",
        severity=Severity.ERROR,
        message=f"the wheel is for {' and '.join(sorted(own))}, and {provider.label} "
        f"({provider.source}) for {' and '.join(sorted(other))}",
        hint="give the provider's wheel for the consumer's platform: --provider-wheel FILE",
    )
