"""Facts + providers + options -> Plan. Pure: no file, no process, no clock, no host.

What is wrong with the wheel or with a provider becomes a finding: all are collected and shown
together. The plan is carried out only when none of them is an error.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from extlib_repair import dependency, layout, platform_tag, reaching, symbols
from extlib_repair.linkage import Linkage
from extlib_repair.model import (
    BinaryFacts,
    EditBinary,
    Finding,
    MoveToScripts,
    Plan,
    SetPlatforms,
    SetRequirements,
    Severity,
    applied,
    frozen_mapping,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from extlib_repair.model import Edit, Provider, ProviderRequest, WheelFacts

PROVIDER_CODES = frozenset(
    {
        "conflicting-requirement",
        "floor-above-examined",
        "missing-symbols",
        "other-architecture",
        "other-c-library",
        "out-of-range",
        "platform-tag",
        "preloading",
        "private-library",
        "unknown-symbols",
    }
)
"""Codes of errors that mean: this provider does not fit this consumer."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user decides about the repair itself."""

    style: reaching.Style = dataclasses.field(default_factory=reaching.Style)
    promise: platform_tag.Promise = dataclasses.field(default_factory=platform_tag.Promise)
    add_needed: bool = False
    require_provided: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A provider as it was found, with what the user said of it."""

    provider: Provider
    request: ProviderRequest


def plan(
    facts: WheelFacts, chosen: Sequence[Chosen], options: Options, c_names: frozenset[str]
) -> Plan:
    """Return what to change in an engine's output so that it uses the providers.

    Without providers nothing is changed (apart from run paths that are to be sanitized), and what
    is found is reported.
    """
    providers = [c.provider for c in chosen]
    preloading = tuple(symbols.preloading(Linkage(facts.image_map, providers), providers, c_names))
    additions = symbols.additions(preloading) if options.add_needed else {}
    images = {m: applied(image, additions.get(m, ())) for m, image in facts.image_map.items()}
    linkage = Linkage(images, providers)
    used = linkage.used()
    findings = [] if options.add_needed else [p.finding for p in preloading]
    findings += _unused(facts, providers, used, require=options.require_provided)
    findings += symbols.findings(linkage, providers, c_names)
    edits, of_run_paths = reaching.edits(facts, linkage, options.style, additions)
    requirements, of_requirements = _requirements(facts, [c for c in chosen if c.provider in used])
    platforms, of_platforms = platform_tag.platforms(facts, used, options.promise)
    findings += (*of_run_paths, *of_requirements, *of_platforms)
    return Plan(
        edits=(
            *edits,
            *_changed(SetRequirements(requirements=requirements), facts.requirements),
            *_changed(SetPlatforms(platforms=platforms), facts.name.platforms),
        ),
        findings=tuple(sorted(findings, key=_importance)),
        output=dataclasses.replace(facts.name, platforms=platforms),
    )


def private_library_findings(
    facts: WheelFacts, providers: Iterable[Provider]
) -> tuple[Finding, ...]:
    """Report needed names that are a provider's own private copies.

    This is asked before the engine runs, which would copy such a file into the wheel.
    """
    carried = {layout.basename(member) for member in facts.members}
    return tuple(
        Finding(
            code="private-library",
            severity=Severity.ERROR,
            member=member,
            message=f"needs {name}, which {provider.label} carries for its own use only; a later "
            "release may not have it",
            hint="build against the compiler's own library: the engine copies it into the wheel",
        )
        for provider in providers
        for member, image in sorted(facts.image_map.items())
        for name in image.needed
        if name in provider.private and name not in carried
    )


def expected(facts: WheelFacts, plan: Plan) -> WheelFacts:
    """Return the facts that a wheel must have once the plan is carried out."""
    binaries = dict(facts.binaries)
    members = list(facts.members)
    requirements = facts.requirements
    for edit in plan.edits:
        match edit:
            case EditBinary(member=member, edits=edits):
                old = binaries[member]
                images = tuple(applied(image, edits) for image in old.images)
                binaries[member] = BinaryFacts(format=old.format, images=images)
            case MoveToScripts(member=member, target=target):
                binaries[target] = binaries.pop(member)
                members.append(target)
            case SetRequirements(requirements=requirements):
                pass
            case SetPlatforms():
                pass
    return dataclasses.replace(
        facts,
        name=plan.output,
        members=tuple(members),
        binaries=frozen_mapping(binaries.items()),
        requirements=requirements,
    )


def near_misses(names: Iterable[str], needed: Iterable[str]) -> tuple[str, ...]:
    """Return needed names that differ from some name only in the version behind ``.so``.

    >>> near_misses(["libfoo.so"], ["libfoo.so.5", "libc.so.6"])
    ('libfoo.so.5',)
    """
    stems = {name.partition(".so")[0] for name in names}
    return tuple(sorted(n for n in needed if n.partition(".so")[0] in stems))


def _unused(
    facts: WheelFacts, providers: Sequence[Provider], used: Collection[Provider], *, require: bool
) -> Iterator[Finding]:
    """Say which providers nothing needs, and which needed names come near to theirs."""
    needed = {name for image in facts.image_map.values() for name in image.needed}
    for provider in providers:
        if provider not in used:
            near = near_misses(provider.libraries, needed)
            yield Finding(
                code="nothing-provided",
                severity=Severity.ERROR if require else Severity.NOTE,
                message=f"nothing in the wheel needs what {provider.label} supplies "
                f"({', '.join(provider.libraries) or 'no library'})",
                hint=f"it needs {', '.join(near)}, which is another name" if near else "",
            )


def _requirements(
    facts: WheelFacts, used: Sequence[Chosen]
) -> tuple[tuple[str, ...], list[Finding]]:
    requirements = facts.requirements
    findings: list[Finding] = []
    for choice in used:
        wanted = dependency.of(choice.provider, choice.request)
        findings += wanted.findings
        if wanted.specifier:
            requirements, found = dependency.merged(requirements, choice.provider, wanted.specifier)
            findings += found
    return requirements, findings


def _changed(edit: SetRequirements | SetPlatforms, old: tuple[str, ...]) -> tuple[Edit, ...]:
    new = edit.requirements if isinstance(edit, SetRequirements) else edit.platforms
    return () if new == old else (edit,)


def _importance(finding: Finding) -> tuple[int, str, str]:
    order = [Severity.NOTE, Severity.WARNING, Severity.ERROR]
    return order.index(finding.severity), finding.member or "", finding.code
