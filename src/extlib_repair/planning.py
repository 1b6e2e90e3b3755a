"""Facts + providers + options -> Plan. Pure: no file, no process, no clock, no host.

What is wrong with the wheel or with a provider becomes a finding: all are collected and shown
together. The plan is carried out only when none of them is an error.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from extlib_repair import (
    dependency,
    diagnosing,
    dll_search,
    dlls,
    dylibs,
    examined,
    graph,
    judging,
    layout,
    loader,
    loaders,
    oddities,
    platform_tag,
    reaching,
    symbols,
    tags,
)
from extlib_repair.linkage import Linkage
from extlib_repair.loader import Way
from extlib_repair.loading import is_system_library
from extlib_repair.model import (
    AddPackage,
    BinaryFacts,
    Chosen,
    EditBinary,
    Finding,
    Format,
    InsertLoader,
    Libc,
    Member,
    MoveToScripts,
    Part,
    Plan,
    SetExamined,
    SetPlatforms,
    SetRequirements,
    Severity,
    System,
    applied,
    frozen_mapping,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from extlib_repair.model import Edit, Provider, Shipped, WheelFacts

PROVIDER_CODES = frozenset(
    {
        "compatibility-version",
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

EDIT_CODES = frozenset(
    {
        "named-twice",
        "no-header-room",
        "no-place-for-loader",
        "signed-by-identity",
        "unreadable-source",
    }
)
"""Codes of errors that mean: this binary, or this Python file, cannot be edited."""

CODES = (
    PROVIDER_CODES
    | EDIT_CODES
    | judging.CODES
    | diagnosing.CODES
    | {
        "engine-not-tested",
        "engine-skipped-members",
        "engine-warned",
        "floor",
        "loader",
        "minimum-os",
        "no-fixed-place",
        "not-found",
        "nothing-provided",
        "other-python",
        "other-soname",
        "own-copy",
        "provider-incomplete",
        "purelib-provider",
        "record",
        "requirement-missing",
        "straight-name",
        "stray-run-path",
        "symbols-twice",
        "tag-too-permissive",
        "unexamined-releases",
        "unmatched-exclude",
    }
)
"""Codes of all findings."""

_HASH_AND_VERSION = re.compile(
    r"(-[0-9a-f]{8})?\.so(\.[0-9][\w.]*)?\Z"
    r"|(\.[0-9]+)*\.dylib\Z"
    r"|(-[0-9a-f]{32})?\.dll\Z"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user decides about the repair itself."""

    style: reaching.Style = dataclasses.field(default_factory=reaching.Style)
    promise: platform_tag.Promise = dataclasses.field(default_factory=platform_tag.Promise)
    add_needed: bool = False
    require_provided: bool = False
    resign: bool = False
    """Replace signatures of an identity by ad-hoc ones (Mach-O)."""

    drop_signature: bool = False
    """Take signatures off what must be edited (PE)."""

    loader: loaders.Mode = loaders.Mode.AUTO


def plan(facts: WheelFacts, chosen: Sequence[Chosen], options: Options, shipped: Shipped) -> Plan:
    """Return what to change in an engine's output so that it uses the providers.

    Without providers nothing is changed (apart from run paths that are to be sanitized), and what
    is found is reported.
    """
    providers = [c.provider for c in chosen]
    system = tags.system_of(facts.name.platforms)
    if system is System.MACOS:
        part = _of_dylibs(facts, providers, options)
    elif system is System.WINDOWS:
        part = _of_dlls(facts, providers, options, shipped)
    else:
        part = _of_elf(facts, providers, options, shipped)
    in_use = [c for c in chosen if c.provider in part.used]
    loading, of_loaders = _loaders(facts, part, in_use, options)
    requirements, of_requirements = _requirements(facts, in_use)
    platforms, of_platforms = platform_tag.platforms(facts, part.used, options.promise)
    findings = [*part.findings, *of_loaders, *of_requirements, *of_platforms]
    return Plan(
        edits=(
            *part.edits,
            *loading,
            *_changed(SetRequirements(requirements=requirements), facts.requirements),
            *_changed(SetPlatforms(platforms=platforms), facts.name.platforms),
            *_examined(facts, in_use),
        ),
        findings=tuple(sorted(findings, key=importance)),
        output=dataclasses.replace(facts.name, platforms=platforms),
    )


def _of_dylibs(facts: WheelFacts, providers: Sequence[Provider], options: Options) -> Part:
    """Return what is to be done about the Mach-O files of a wheel."""
    wishes = dylibs.Wishes(
        sanitize=options.style.sanitize, add_needed=options.add_needed, resign=options.resign
    )
    part = dylibs.part(facts, providers, wishes)
    unused = _unused(facts, providers, part.used, require=options.require_provided)

    def is_elsewhere(name: str) -> bool:
        of_others = any(layout.basename(name) in p.libraries for p in providers)
        return of_others or dylibs.is_system(name)

    odd = oddities.findings(facts, part.used, dylibs.install_name, is_elsewhere)
    return dataclasses.replace(part, findings=(*part.findings, *unused, *odd))


def _of_dlls(
    facts: WheelFacts, providers: Sequence[Provider], options: Options, shipped: Shipped
) -> Part:
    """Return what is to be done about the PE files of a wheel."""
    part = dlls.part(facts, providers, drop_signature=options.drop_signature)
    unused = _unused(facts, providers, part.used, require=options.require_provided)

    def is_elsewhere(name: str) -> bool:
        of_others = any(name in p.libraries for p in providers)
        return of_others or dll_search.is_system_library(name, shipped.windows_libraries)

    odd = oddities.findings(facts, part.used, lambda library: library.image.name, is_elsewhere)
    return dataclasses.replace(part, findings=(*part.findings, *unused, *odd))


def _loaders(
    facts: WheelFacts, part: Part, used: Sequence[Chosen], options: Options
) -> tuple[tuple[Edit, ...], tuple[Finding, ...]]:
    """Return the loaders of a wheel whose binaries are edited as planned."""
    edited = expected(facts, Plan(edits=part.edits, output=facts.name))
    way = _way(facts)
    kinds = {Way.WINDOWS: Format.PE, Way.MACOS: Format.MACHO}
    binaries = graph.of(edited, [c.provider for c in used], kinds.get(way, Format.ELF))
    requirements = {
        c.provider.project: c.provider.project + dependency.of(c.provider, c.request).specifier
        for c in used
    }
    wishes = loaders.Wishes(mode=options.loader, way=way, requirements=requirements)
    return loaders.part(edited, binaries, wishes)


def _way(facts: WheelFacts) -> Way:
    """Return how the system of a wheel can be made to find a library."""
    system = tags.system_of(facts.name.platforms)
    if system in (System.WINDOWS, System.MACOS):
        return Way(system.value)
    own = platform_tag.c_libraries(facts.name.platforms, facts.image_map.values())
    return Way.MUSL if own == {Libc.MUSL} else Way.GLIBC


def _of_elf(
    facts: WheelFacts, providers: Sequence[Provider], options: Options, shipped: Shipped
) -> Part:
    """Return what is to be done about the ELF files of a wheel."""
    c_names = shipped.c_names
    preloading = tuple(symbols.preloading(Linkage(facts.image_map, providers), providers, c_names))
    sure = [p for p in preloading if p.finding.severity is Severity.ERROR]
    additions = symbols.additions(sure) if options.add_needed else {}
    images = {m: applied(image, additions.get(m, ())) for m, image in facts.image_map.items()}
    linkage = Linkage(images, providers)
    used = linkage.used()
    reported = [p for p in preloading if not (options.add_needed and p in sure)]
    wanted = [p.provider for p in reported if p in sure]

    def is_elsewhere(name: str) -> bool:
        return name in linkage.libraries or is_system_library(name, shipped.system_libraries)

    edits, of_run_paths = reaching.edits(facts, linkage, options.style, additions)
    findings = (
        *(p.finding for p in reported),
        *_unused(facts, providers, [*used, *wanted], require=options.require_provided),
        *oddities.findings(facts, used, lambda library: library.name, is_elsewhere),
        *symbols.findings(linkage, providers, c_names, reported),
        *of_run_paths,
    )
    return Part(used=used, edits=edits, findings=findings)


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
        for member, needed in sorted(facts.needs)
        if (name := layout.basename(needed)) in provider.private and name not in carried
    )


def expected(facts: WheelFacts, plan: Plan) -> WheelFacts:
    """Return the facts that a wheel must have once the plan is carried out."""
    binaries = dict(facts.binaries)
    members = list(facts.members)
    sources = dict(facts.sources)
    requirements = facts.requirements
    name = facts.name
    text = facts.examined
    for edit in plan.edits:
        if isinstance(edit, EditBinary):
            old = binaries[edit.member]
            images = tuple(applied(image, edit.edits) for image in old.images)
            binaries[edit.member] = BinaryFacts(format=old.format, images=images)
        elif isinstance(edit, MoveToScripts):
            binaries[edit.target] = binaries.pop(edit.member)
            members.append(edit.target)
        elif isinstance(edit, InsertLoader):
            sources[edit.member] = loader.inserted(sources[edit.member], edit.lines)
        elif isinstance(edit, AddPackage):
            members.append(edit.member)
            sources[edit.member] = edit.text.encode()
        elif isinstance(edit, SetRequirements):
            requirements = edit.requirements
        elif isinstance(edit, SetPlatforms):
            name = dataclasses.replace(name, platforms=edit.platforms)
        else:
            text = edit.text
            members += {_examined_member(facts)} - set(members)
    return dataclasses.replace(
        facts,
        name=name,
        members=tuple(members),
        binaries=frozen_mapping(binaries.items()),
        requirements=requirements,
        examined=text,
        sources=frozen_mapping(sources.items()),
    )


def _examined_member(facts: WheelFacts) -> Member:
    return Member(f"{facts.dist_info}/{examined.FILE}")


def near_misses(names: Iterable[str], needed: Iterable[str]) -> tuple[str, ...]:
    """Return needed names that differ from some name only in the version or a repair tool's hash.

    >>> near_misses(["libfoo.so"], ["libfoo.so.5", "libfoo-0123abcd.so", "libc.so.6"])
    ('libfoo-0123abcd.so', 'libfoo.so.5')
    """
    exact = set(names)
    stems = {_stem(name) for name in exact}
    return tuple(sorted(name for name in set(needed) - exact if _stem(name) in stems))


def _stem(name: str) -> str:
    return _HASH_AND_VERSION.sub("", name)


def _unused(
    facts: WheelFacts, providers: Sequence[Provider], used: Collection[Provider], *, require: bool
) -> Iterator[Finding]:
    """Say which providers nothing needs, and which needed names come near to theirs."""
    needed = {layout.basename(name) for _, name in facts.needs}
    for provider in providers:
        if provider not in used:
            near = near_misses(provider.libraries, needed)
            yield Finding(
                code="nothing-provided",
                severity=Severity.ERROR if require else Severity.NOTE,
                message=f"nothing in the wheel needs what {provider.label} supplies "
                f"({', '.join(provider.libraries) or 'no library'})",
                hint=f"it needs {', '.join(near)}: near, but not the same" if near else "",
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


def _examined(facts: WheelFacts, used: Sequence[Chosen]) -> tuple[Edit, ...]:
    images = (image for binary in facts.binaries.values() for image in binary.images)
    imported = {name for image in images for i in image.imports for name in (i.key, i.name)}
    text = examined.as_json(used, imported) if used else facts.examined
    return () if text == facts.examined else (SetExamined(text=text),)


def importance(finding: Finding) -> tuple[int, str, str]:
    """Return a key that sorts findings: the worst last, then by member and code."""
    order = [Severity.NOTE, Severity.WARNING, Severity.ERROR]
    return order.index(finding.severity), finding.member or "", finding.code
