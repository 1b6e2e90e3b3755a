"""Which providers a consumer has: found for a repair, or as they were examined at one."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from extlib_repair import examined, fetching, policy, provider, tags
from extlib_repair.errors import (
    ProviderMismatchError,
    ProviderNotFoundError,
    UsageError,
)
from extlib_repair.model import Chosen, Libc, Project, ProviderRequest, System
from extlib_repair.platform_tag import c_libraries

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from extlib_repair.model import Provider, WheelFacts


def for_repair(
    facts: WheelFacts, requests: Sequence[ProviderRequest], sources: provider.Sources
) -> tuple[Chosen, ...]:
    """Find the provider of every request; none for a wheel of no platform.

    Raises what :func:`provider.find` raises, and :class:`UsageError`.
    """
    projects = [request.project for request in requests]
    doubled = {project for project in projects if projects.count(project) > 1}
    if doubled:
        raise UsageError(
            f"--provided-by names {', '.join(sorted(doubled))} twice",
            hint="one specifier can hold several bounds: 'NAME>=1,<2'",
        )
    if facts.project in projects:
        raise _is_provider(facts)
    provider.check_sources(projects, sources)
    return _found(facts, requests, sources)


def _found(
    facts: WheelFacts, requests: Sequence[ProviderRequest], sources: provider.Sources
) -> tuple[Chosen, ...]:
    platforms = [tags.parse(tag) for tag in facts.name.platforms]
    system, arch = platforms[0].system, platforms[0].arch
    if system is System.ANY:
        return ()
    chosen = tuple(
        Chosen(provider=_one(facts, request, sources, system, arch), request=request)
        for request in requests
    )
    _refuse_rivals([choice.provider for choice in chosen])
    return chosen


def _one(
    facts: WheelFacts,
    request: ProviderRequest,
    sources: provider.Sources,
    system: System,
    arch: str,
) -> Provider:
    """Find one provider; the index is asked last, and only if it may be."""
    try:
        return provider.find(request.project, sources, system, arch)
    except (ProviderNotFoundError, ProviderMismatchError):
        if not sources.fetch:
            raise
    with tempfile.TemporaryDirectory(prefix="extlib-repair-") as folder:
        from_index = dataclasses.replace(sources, wheels=(fetched(facts, request, Path(folder)),))
        return provider.find(request.project, from_index, system, arch)


def fetched(facts: WheelFacts, request: ProviderRequest, folder: Path) -> Path:
    """Download the provider's wheel for a consumer into an empty folder.

    Raises :class:`ProviderNotFoundError`.
    """
    own = c_libraries(facts.name.platforms, facts.image_map.values())
    libc = Libc.MUSL if own == {Libc.MUSL} else Libc.GLIBC
    return fetching.fetch(request, facts.name, libc, folder)


def for_check(
    facts: WheelFacts, requests: Sequence[ProviderRequest], sources: provider.Sources
) -> tuple[Chosen, ...]:
    """Return the providers as they were examined when the consumer was repaired.

    Where provider wheels or a Python are named, what they hold is taken instead: would the consumer
    work with that? Without either, and for wheels that were never repaired, there are none.
    """
    is_provider = f"{facts.dist_info}/{policy.OWN_FILE}" in facts.members
    if is_provider or facts.project in policy.built_in_projects():
        raise _is_provider(facts)
    known = {choice.provider.project: choice for choice in _known(facts)}
    named = {project: _as_required(choice) for project, choice in known.items()}
    for request in requests:
        if request.specifier or request.project not in named:
            named[request.project] = _in_range(request, facts.requirements)
    provider.check_sources(named, sources)
    if sources.python is None:
        given = provider.projects_of_wheels(sources)
        named = {project: request for project, request in named.items() if project in given}
    found = _found(facts, tuple(named.values()), sources)
    return tuple({**known, **{choice.provider.project: choice for choice in found}}.values())


def _known(facts: WheelFacts) -> tuple[Chosen, ...]:
    return examined.parse(facts.examined) if facts.examined else ()


def _as_required(choice: Chosen) -> ProviderRequest:
    """Return a request for what the consumer requires already, whatever is examined now."""
    request = choice.request
    floor = request.built_against or choice.provider.version
    specifier = request.specifier or f">={Version(floor).public}"
    return dataclasses.replace(request, specifier=specifier, built_against="")


def _in_range(request: ProviderRequest, requirements: Iterable[str]) -> ProviderRequest:
    """Return a request with the range that the consumer has, where the user states none."""
    ranges = (_range(line, request.project) for line in requirements)
    specifier = request.specifier or next(filter(None, ranges), "")
    return dataclasses.replace(request, specifier=specifier, built_against="")


def _range(line: str, project: Project) -> str:
    """Return the versions that a requirement allows; empty where it does not always hold."""
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return ""
    same = Project(canonicalize_name(requirement.name)) == project and not requirement.marker
    return str(requirement.specifier) if same else ""


def _is_provider(facts: WheelFacts) -> UsageError:
    return UsageError(
        f"{facts.name.filename} is a provider itself, and not a consumer of one",
        hint="name the wheel that uses its library",
    )


def _refuse_rivals(providers: Sequence[Provider]) -> None:
    """Refuse two libraries of one name: no loader can tell them apart."""
    owners: dict[str, Provider] = {}
    for one in providers:
        for name in one.libraries:
            if name in owners:
                raise ProviderMismatchError(
                    f"both {owners[name].label} and {one.label} supply {name}",
                    hint="name one of them",
                )
            owners[name] = one
