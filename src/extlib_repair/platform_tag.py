"""The platform tag of a consumer: it cannot promise more than its providers do. Pure.

Leaving a library out lowers the tag that auditwheel computes, since the library's own needs are no
longer counted: a wheel that is manylinux_2_27 with OpenBLAS inside becomes manylinux1 without.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from extlib_repair import tags
from extlib_repair.model import Finding, Libc, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from extlib_repair.model import Image, Provider, WheelFacts


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What the user says about the platform tag."""

    stated: str = ""
    """A tag that must hold (``--plat``), or the empty string."""

    keep: bool = False
    """Leave the tags as they are (auditwheel's ``--no-update-tags``)."""


def platforms(
    facts: WheelFacts, used: Sequence[Provider], promise: Promise
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Return the platform tags that a consumer of these providers can have, and why."""
    own = c_library(facts.name.platforms, facts.image_map.values())
    result = facts.name.platforms
    findings: list[Finding] = []
    for provider in used:
        images = (library.image for library in provider.libraries.values())
        other = c_library(provider.platforms, images)
        if own is not None and other is not None and own is not other:
            findings.append(_other_c_library(own, provider, other))
            continue
        floor = _floor(provider, result)
        if floor is None:
            continue
        wanted = tags.raised(result, floor)
        stated = tags.parse(promise.stated).version
        if stated is not None and floor.version is not None and stated < floor.version:
            findings.append(_too_low(provider, floor.tag, promise.stated))
        elif set(wanted) != set(result):
            if promise.keep:
                findings.append(_too_low(provider, floor.tag, ".".join(result)))
            else:
                findings.append(_raised(result, wanted, provider))
                result = wanted
    return result, tuple(findings)


def hint(facts: WheelFacts, providers: Sequence[Provider]) -> str:
    """Return the tag to tell an engine that cannot see the C library; mostly the empty string.

    A binary that needs nothing but Python and the provider does not name a C library. With the
    provider left out auditwheel has nothing to go by and refuses the wheel (auditwheel 6.8.2).
    """
    if c_library(facts.name.platforms, facts.image_map.values()) is not None:
        return ""
    floors = (_floor(provider, facts.name.platforms) for provider in providers)
    return next((floor.tag for floor in floors if floor is not None), "")


def c_library(platforms: Sequence[str], images: Iterable[Image]) -> Libc | None:
    """Return the C library that a wheel is for: by its tags, else by what its images need."""
    stated = {p.libc for p in map(tags.parse, platforms) if p.libc is not None}
    if stated:
        return stated.pop()
    needed = {name for image in images for name in image.needed}
    if any(name.startswith("libc.musl-") for name in needed):
        return Libc.MUSL
    return Libc.GLIBC if "libc.so.6" in needed else None


def _floor(provider: Provider, platforms: Sequence[str]) -> tags.Platform | None:
    """Return the lowest promise of a provider for the consumer's architecture."""
    own = {tags.parse(tag).arch for tag in platforms}
    return tags.lowest(tuple(t for t in provider.platforms if tags.parse(t).arch in own))


def _raised(old: Sequence[str], new: Sequence[str], provider: Provider) -> Finding:
    return Finding(
        code="platform-tag",
        severity=Severity.NOTE,
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


def _other_c_library(own: Libc, provider: Provider, other: Libc) -> Finding:
    return Finding(
        code="other-c-library",
        severity=Severity.ERROR,
        message=f"the wheel is for {own}, and {provider.label} ({provider.source}) for {other}",
        hint="give the provider's wheel for the consumer's platform: --provider-wheel FILE",
    )
