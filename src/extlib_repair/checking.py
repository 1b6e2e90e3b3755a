"""Does a repaired wheel keep its promises? The plan of a repair, over the repaired wheel. Pure.

A wheel that was repaired well needs no more edits, and its loader finds everything. So the check
plans once more, and turns what would have to be edited into findings; the binaries are left to the
model of the loader, which sees what really happens.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from extlib_repair import dll_search, dyld, layout, loader, planning, tags
from extlib_repair.loaders import Mode
from extlib_repair.loading import Loading
from extlib_repair.model import (
    AddPackage,
    ClearLoadFlags,
    EditBinary,
    Finding,
    InsertLoader,
    Libc,
    SetPlatforms,
    SetRequirements,
    Severity,
    System,
)
from extlib_repair.platform_tag import c_libraries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from extlib_repair.model import Chosen, Member, Plan, Shipped, WheelFacts


AnyLoading = Loading | dyld.Loading | dll_search.Loading


def loading(facts: WheelFacts, chosen: Sequence[Chosen], shipped: Shipped) -> AnyLoading:
    """Return where the loader finds what the binaries of a wheel need."""
    system = tags.system_of(facts.name.platforms)
    if system is System.MACOS:
        return dyld.Loading(facts, [c.provider for c in chosen])
    if system is System.WINDOWS:
        providers = [c.provider for c in chosen]
        return dll_search.Loading(facts, providers, shipped.windows_libraries)
    own = c_libraries(facts.name.platforms, facts.image_map.values())
    libc = Libc.MUSL if own == {Libc.MUSL} else Libc.GLIBC
    return Loading(facts, [c.provider for c in chosen], shipped.system_libraries, libc)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """The lines of a Python file that load provided libraries."""

    member: Member
    libraries: tuple[str, ...]
    is_first: bool
    """Nothing that does something stands before it."""

    is_current: bool
    """It is what a repair would write now."""


def loaders(facts: WheelFacts, chosen: Sequence[Chosen], shipped: Shipped) -> tuple[Loader, ...]:
    """Return the loaders of a wheel."""
    edits = planning.plan(facts, chosen, _options(facts), shipped).edits
    outdated = {edit.member for edit in edits if isinstance(edit, InsertLoader)}
    return tuple(
        Loader(
            member=member,
            libraries=loader.libraries(block),
            is_first=loader.comes_first(source),
            is_current=member not in outdated,
        )
        for member, source in sorted(facts.sources.items())
        if (block := loader.found(source)) is not None
    )


def findings(
    facts: WheelFacts,
    chosen: Sequence[Chosen],
    shipped: Shipped,
    record_problems: Iterable[str],
) -> tuple[Finding, ...]:
    """Return everything that is wrong with a repaired wheel, the worst last."""
    plan = planning.plan(facts, chosen, _options(facts), shipped)
    found = [f for f in plan.findings if f.severity is not Severity.NOTE]
    found += _of_loading(loading(facts, chosen, shipped), shipped)
    found += _of_edits(facts, plan)
    found += _of_record(record_problems)
    return tuple(sorted(found, key=planning.importance))


def _options(facts: WheelFacts) -> planning.Options:
    """Return what a repair would be told: where loaders are no must, none may be wanted."""
    is_windows = tags.system_of(facts.name.platforms) is System.WINDOWS
    has_some = any(loader.found(source) for source in facts.sources.values())
    return planning.Options(loader=Mode.AUTO if is_windows or has_some else Mode.NEVER)


def _of_loading(found: AnyLoading, shipped: Shipped) -> Iterator[Finding]:
    for member, name in found.missing():
        project = shipped.suppliers.get(layout.basename(name))
        yield Finding(
            code="not-found",
            severity=Severity.ERROR,
            member=member,
            message="; ".join(line.strip() for line in found.tried(member, name).splitlines()),
            hint=f"repair it with --provided-by {project or 'NAME, the wheel that supplies it'}",
        )


def _of_edits(facts: WheelFacts, plan: Plan) -> Iterator[Finding]:
    for edit in plan.edits:
        if isinstance(edit, InsertLoader | AddPackage):
            yield _of_loader(facts, edit.member)
        elif isinstance(edit, EditBinary) and ClearLoadFlags() in edit.edits:
            yield Finding(
                code="loader",
                severity=Severity.ERROR,
                member=edit.member,
                message="has DependentLoadFlags, so that Windows does not search the folders that "
                "a loader adds",
                hint="repair it again: they are cleared",
            )
        elif isinstance(edit, SetRequirements):
            missing = [line for line in edit.requirements if line not in facts.requirements]
            yield Finding(
                code="requirement-missing",
                severity=Severity.ERROR,
                message=f"does not require {', '.join(missing)}",
                hint="a line under an extra or a marker does not always hold",
            )
        elif isinstance(edit, SetPlatforms):
            yield Finding(
                code="tag-too-permissive",
                severity=Severity.ERROR,
                message=f"promises {'.'.join(facts.name.platforms)}; with its providers it can "
                f"promise {'.'.join(edit.platforms)}",
                hint="repair it again: the tag is raised to the provider's",
            )


def _of_loader(facts: WheelFacts, member: Member) -> Finding:
    """Say what is wrong with a loader that a repair would write."""
    source = facts.sources.get(member, b"")
    is_must = tags.system_of(facts.name.platforms) is System.WINDOWS
    block = loader.found(source)
    message = "has another loader than a repair writes now"
    if block is None:
        message = "has no loader, which must load the provider's library before what needs it"
    elif not loader.comes_first(source):
        message = "has code in front of its loader, which may need the provider's library"
    return Finding(
        code="loader",
        severity=Severity.ERROR if is_must else Severity.WARNING,
        member=member,
        message=message,
        hint="repair it again",
    )


def _of_record(problems: Iterable[str]) -> Iterator[Finding]:
    for problem in problems:
        yield Finding(
            code="record",
            severity=Severity.ERROR,
            message=problem,
            hint="something changed the wheel after it was repaired",
        )
