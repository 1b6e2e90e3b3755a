"""The line of ``Requires-Dist`` that a provider gets, and why it says what it says. Pure.

What the user states is written as it stands; otherwise there is a floor, with its reason: the
release that the consumer was built against, where it is stated, else the one that was examined.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from extlib_repair.errors import UsageError
from extlib_repair.model import Finding, Project, ProviderRequest, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import Provider

_NAME = re.compile(r"\s*(?P<name>[A-Za-z0-9][\w.-]*)\s*(?P<specifier>.*?)\s*", re.DOTALL)
_OLDEST = Version("0.dev0")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """What a consumer shall require of a provider."""

    specifier: str
    findings: tuple[Finding, ...] = ()


def parse_request(text: str, option: str = "--provided-by") -> ProviderRequest:
    """Read ``NAME[SPECIFIER]``, the value of an option; raises :class:`UsageError`."""
    match = _NAME.fullmatch(text)
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        first = str(error).splitlines()[0]
        raise UsageError(
            f"{option} {text!r} is not a name with a version specifier: {first}",
            hint=f"for example: {option} 'scipy-openblas64>=0.3.30'",
        ) from None
    if requirement.marker or requirement.extras or requirement.url or match is None:
        raise UsageError(
            f"{option} {text!r}: only a name and a version specifier are understood",
            hint="no extras, no markers, no address",
        )
    specifier = match["specifier"]
    if specifier.startswith("("):
        specifier = specifier[1:-1].strip()
    return ProviderRequest(
        project=Project(canonicalize_name(requirement.name)), specifier=specifier
    )


def with_built_against(
    requests: Sequence[ProviderRequest], texts: Sequence[str]
) -> tuple[ProviderRequest, ...]:
    """Enter ``--built-against [NAME==]VERSION`` into the requests; raises :class:`UsageError`."""
    stated: dict[Project, str] = {}
    for text in texts:
        name, equals, version = map(str.strip, text.rpartition("=="))
        if not equals and len(requests) != 1:
            raise UsageError(
                f"--built-against {text} does not say which provider is meant",
                hint="--built-against NAME==VERSION",
            )
        project = Project(canonicalize_name(name)) if equals else requests[0].project
        if project not in {r.project for r in requests}:
            raise UsageError(
                f"--built-against {text} names a project that --provided-by does not",
                hint=f"add --provided-by {project}",
            )
        stated[project] = _version(version, text)
    return tuple(
        dataclasses.replace(r, built_against=stated.get(r.project, r.built_against))
        for r in requests
    )


def _version(version: str, text: str) -> str:
    try:
        Version(version)
    except InvalidVersion:
        raise UsageError(
            f"--built-against {text}: {version!r} is not a version", hint="for example: 0.3.31.22.1"
        ) from None
    return version


def of(provider: Provider, request: ProviderRequest) -> Dependency:
    """Return the specifier for a provider that was examined, and what is to be said of it."""
    built = Version(request.built_against).public if request.built_against else ""
    if built and Version(built) > Version(provider.version):
        return _refused(
            "floor-above-examined",
            f"{provider.label} was examined, and the consumer was built against {built}",
            f"give a release from {built} on",
        )
    if request.specifier:
        return _stated(provider, request, built)
    examined = f"it is the release that was examined ({provider.source})"
    reason = "the consumer was built against it" if built else examined
    floor = built or Version(provider.version).public
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


def _stated(provider: Provider, request: ProviderRequest, built: str) -> Dependency:
    """Check the user's own specifier; it is written as it stands or not at all."""
    specifiers = SpecifierSet(request.specifier)
    if not specifiers.contains(provider.version, prereleases=True):
        return _refused(
            "out-of-range",
            f"{provider.label} was examined, which {request.project}{request.specifier} "
            "does not allow",
            "give a release in the range, or another range",
        )
    if _excludes_older(specifiers, built or provider.version):
        return Dependency(specifier=request.specifier)
    note = Finding(
        code="unexamined-releases",
        severity=Severity.NOTE,
        message=f"{request.project}{request.specifier} allows releases older than "
        f"{built or provider.version}, the one that was {'built against' if built else 'examined'}"
        ": nothing is known of them",
    )
    return Dependency(specifier=request.specifier, findings=(note,))


def _excludes_older(specifiers: SpecifierSet, floor: str) -> bool:
    """Whether some of the specifiers allows nothing older than the floor."""
    return any(_lower_bound(s) >= Version(Version(floor).public) for s in specifiers)


def _lower_bound(specifier: Specifier) -> Version:
    """Return the release below which a specifier allows nothing."""
    if specifier.operator in (">=", ">", "~=", "==", "==="):
        return Version(specifier.version.removesuffix(".*"))
    return _OLDEST


def merged(
    existing: Sequence[str], provider: Provider, specifier: str
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Return the requirements of a consumer with the provider in them.

    A line for the same project under an extra or another marker does not always hold, and so does
    not count.
    """
    lines = tuple(existing)
    own = {i: r for i, line in enumerate(lines) if (r := _same_project(line, provider.project))}
    for index, requirement in own.items():
        if not requirement.specifier.contains(provider.version, prereleases=True):
            return lines, (_conflict(lines[index], provider),)
    if any(r.url or _is_enough(r.specifier, SpecifierSet(specifier)) for r in own.values()):
        return lines, ()
    if not own:
        return (*lines, f"{provider.project}{specifier}"), ()
    index, requirement = next(iter(own.items()))
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    both = ",".join(s for s in (str(requirement.specifier), specifier) if s)
    return (*lines[:index], f"{requirement.name}{extras}{both}", *lines[index + 1 :]), ()


def _is_enough(existing: SpecifierSet, wanted: SpecifierSet) -> bool:
    """Whether what a consumer requires already holds what it shall require."""
    missing = [s for s in wanted if s not in set(existing)]
    return all(s.operator == ">=" and _excludes_older(existing, s.version) for s in missing)


def _same_project(line: str, project: Project) -> Requirement | None:
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return None
    if Project(canonicalize_name(requirement.name)) != project or requirement.marker is not None:
        return None
    return requirement


def _conflict(line: str, provider: Provider) -> Finding:
    return Finding(
        code="conflicting-requirement",
        severity=Severity.ERROR,
        message=f"the wheel already requires {line}, which does not allow the examined "
        f"{provider.label}",
        hint="give a release that it allows, or change the requirement in the project",
    )


def _refused(code: str, message: str, hint: str) -> Dependency:
    finding = Finding(code=code, severity=Severity.ERROR, message=message, hint=hint)
    return Dependency(specifier="", findings=(finding,))
