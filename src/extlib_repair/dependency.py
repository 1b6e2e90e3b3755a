"""The line of ``Requires-Dist`` that a provider gets, and why it says what it says. Pure.

What the user states is written as it stands; otherwise there is a floor, with its reason: the
release that the consumer was built against, where it is stated, else the one that was examined.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from extlib_repair.errors import UsageError
from extlib_repair.model import Finding, Project, ProviderRequest, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import Provider

_NAME = re.compile(r"\s*(?P<name>[A-Za-z0-9][\w.-]*)\s*(?P<specifier>.*?)\s*", re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """What a consumer shall require of a provider."""

    specifier: str
    findings: tuple[Finding, ...] = ()


def parse_request(text: str) -> ProviderRequest:
    """Read ``NAME[SPECIFIER]``; raises :class:`UsageError`."""
    match = _NAME.fullmatch(text)
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        first = str(error).splitlines()[0]
        raise UsageError(
            f"--provided-by {text!r} is not a name with a version specifier: {first}",
            hint="for example: --provided-by 'scipy-openblas64>=0.3.30'",
        ) from None
    if requirement.marker or requirement.extras or requirement.url or match is None:
        raise UsageError(
            f"--provided-by {text!r}: only a name and a version specifier are understood",
            hint="no extras, no markers, no address",
        )
    return ProviderRequest(
        project=Project(canonicalize_name(requirement.name)), specifier=match["specifier"]
    )


def with_built_against(
    requests: Sequence[ProviderRequest], texts: Sequence[str]
) -> tuple[ProviderRequest, ...]:
    """Enter ``--built-against [NAME==]VERSION`` into the requests; raises :class:`UsageError`."""
    stated: dict[Project, str] = {}
    for text in texts:
        name, equals, version = text.rpartition("==")
        if not equals and len(requests) != 1:
            raise UsageError(
                f"--built-against {text} does not say which provider is meant",
                hint="--built-against NAME==VERSION",
            )
        project = Project(canonicalize_name(name)) if equals else requests[0].project
        if project not in {r.project for r in requests}:
            raise UsageError(f"--built-against {text} names a project that --provided-by does not")
        stated[project] = _version(version, text)
    return tuple(
        dataclasses.replace(r, built_against=stated.get(r.project, r.built_against))
        for r in requests
    )


def _version(version: str, text: str) -> str:
    try:
        Version(version)
    except InvalidVersion:
        raise UsageError(f"--built-against {text}: {version!r} is not a version") from None
    return version


def of(provider: Provider, request: ProviderRequest) -> Dependency:
    """Return the specifier for a provider that was examined, and what is to be said of it."""
    examined = Version(provider.version)
    if request.specifier:
        return _stated(provider, request, examined)
    floor, reason = examined.public, "it is the release that was examined"
    if request.built_against:
        floor, reason = Version(request.built_against).public, "the consumer was built against it"
    if Version(floor) > examined:
        return Dependency(
            specifier="",
            findings=(
                _error(
                    "floor-above-examined",
                    f"{provider.label} was examined, and the consumer was built against {floor}",
                    f"give a release from {floor} on",
                ),
            ),
        )
    return Dependency(
        specifier=f">={floor}",
        findings=(
            Finding(
                code="floor",
                severity=Severity.NOTE,
                message=f"requires {provider.project}>={floor}: {reason}",
            ),
        ),
    )


def _stated(provider: Provider, request: ProviderRequest, examined: Version) -> Dependency:
    """Check the user's own specifier; it is written as it stands or not at all."""
    specifiers = SpecifierSet(request.specifier)
    if not specifiers.contains(examined, prereleases=True):
        return Dependency(
            specifier="",
            findings=(
                _error(
                    "out-of-range",
                    f"{provider.label} was examined, which {request.project}{request.specifier} "
                    "does not allow",
                    "give a release in the range, or another range",
                ),
            ),
        )
    floor = request.built_against or provider.version
    findings: tuple[Finding, ...] = ()
    if not any(_excludes_older(s.operator, s.version, floor) for s in specifiers):
        what = "built against" if request.built_against else "examined"
        findings = (
            Finding(
                code="unexamined-releases",
                severity=Severity.NOTE,
                message=f"{request.project}{request.specifier} allows releases older than "
                f"{floor}, the one that was {what}: nothing is known of them",
            ),
        )
    return Dependency(specifier=request.specifier, findings=findings)


def _excludes_older(operator: str, version: str, floor: str) -> bool:
    """Whether a specifier allows nothing older than the floor."""
    if operator == "===":
        return True
    stated = Version(version.removesuffix(".*"))
    if operator in (">=", ">", "~="):
        return stated >= Version(floor)
    exact = operator == "==" and not version.endswith(".*")
    return exact or (operator == "==" and stated >= Version(floor))


def merged(
    existing: Sequence[str], provider: Provider, specifier: str
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Return the requirements of a consumer with the provider in them.

    A line for the same project under an extra or another marker does not always hold, and so does
    not count.
    """
    wanted = SpecifierSet(specifier)
    lines = list(existing)
    for index, line in enumerate(existing):
        requirement = _same_project(line, provider.project)
        if requirement is None:
            continue
        if requirement.url or set(wanted) <= set(requirement.specifier):
            return tuple(lines), ()
        if not requirement.specifier.contains(provider.version, prereleases=True):
            return tuple(lines), (
                _error(
                    "conflicting-requirement",
                    f"the wheel already requires {line}, which does not allow the examined "
                    f"{provider.label}",
                    "give a release that it allows, or change the requirement in the project",
                ),
            )
        extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        both = ",".join(s for s in (str(requirement.specifier), specifier) if s)
        lines[index] = f"{requirement.name}{extras}{both}"
        return tuple(lines), ()
    return (*lines, f"{provider.project}{specifier}"), ()


def _same_project(line: str, project: Project) -> Requirement | None:
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return None
    if Project(canonicalize_name(requirement.name)) != project or requirement.marker is not None:
        return None
    return requirement


def _error(code: str, message: str, hint: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, message=message, hint=hint)
