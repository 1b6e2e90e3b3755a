"""The loaders of a consumer: which Python files get one, and what it says. Pure.

On Windows nothing else leads to a provider's DLL. Elsewhere the run path does, and the loader
serves where the two wheels are installed apart (:mod:`extlib_repair.loader.text`).
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import TYPE_CHECKING

from extlib_repair import layout, loader
from extlib_repair.errors import CannotEditError
from extlib_repair.loader import Way
from extlib_repair.model import AddPackage, Finding, InsertLoader, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from extlib_repair.graph import Graph
    from extlib_repair.model import Edit, Member, Project, SitePath, WheelFacts


class Mode(StrEnum):
    """Which consumers get a loader."""

    AUTO = "auto"
    """Those for Windows, and others where a Python file of theirs can hold it."""

    ALWAYS = "always"
    """All: a module that lies in no package gets a package in front of it."""

    NEVER = "never"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is decided about the loaders of a wheel."""

    mode: Mode
    way: Way
    requirements: Mapping[Project, str]
    """Project -> the requirement that METADATA states."""

    @property
    def must_have(self) -> bool:
        """Whether a binary without a loader is an error."""
        return self.mode is Mode.ALWAYS or (self.mode is Mode.AUTO and self.way is Way.WINDOWS)


def part(
    facts: WheelFacts, graph: Graph, wishes: Wishes
) -> tuple[tuple[Edit, ...], tuple[Finding, ...]]:
    """Return the edits that put loaders before what needs a provider, and what cannot be done."""
    importers = graph.importers()
    if wishes.mode is Mode.NEVER:
        return (), tuple(_unguarded(importers)) if wishes.way is Way.WINDOWS else ()
    placement = loader.places(facts, importers)
    texts = _Texts(facts, graph, wishes)
    edits: list[Edit] = []
    findings: list[Finding] = []
    for member, names in sorted(placement.files.items()):
        made, found = _inserted(member, facts.sources[member], texts.block(member, names), wishes)
        edits += made
        findings += found
    for shim in placement.shims:
        if wishes.must_have:
            edits.append(AddPackage(member=shim.member, text=texts.package(shim)))
        else:
            findings.append(_only_run_path(shim))
    findings += [
        _refused(member, names, placement.refused[member], wishes)
        for member, names in sorted(importers.items())
        if member in placement.refused
    ]
    return tuple(edits), tuple(findings)


class _Texts:
    """Makes the lines for the files of one wheel."""

    def __init__(self, facts: WheelFacts, graph: Graph, wishes: Wishes) -> None:
        self._consumer = f"{facts.name.distribution} {facts.name.version}"
        self._graph = graph
        self._wishes = wishes

    def block(self, member: Member, names: Iterable[str]) -> str:
        """Return the lines for a Python file."""
        return loader.block(
            _place(member), self._consumer, tuple(self._sought(names)), self._wishes.way
        )

    def package(self, shim: loader.Shim) -> str:
        """Return the package that stands in front of a module."""
        sought = tuple(self._sought(shim.names))
        place, way = _place(shim.member), self._wishes.way
        return loader.package(place, self._consumer, sought, shim.module_file, way)

    def _sought(self, names: Iterable[str]) -> Iterator[loader.Sought]:
        for name in sorted(names):
            provider, library = self._graph.libraries[self._graph.key(name)]
            yield loader.Sought(
                library=library.name,
                directory=library.directory,
                requirement=self._wishes.requirements[provider.project],
            )


def _place(member: Member) -> SitePath:
    place = layout.installed(member)
    assert place is not None, "loaders are placed below site-packages"
    return place


def _inserted(
    member: Member, source: bytes, lines: str, wishes: Wishes
) -> tuple[list[Edit], list[Finding]]:
    """Return the edit of a Python file; none where it has these lines already."""
    try:
        if loader.inserted(source, lines) == source:
            return [], []
    except CannotEditError as error:
        unreadable = Finding(
            code="unreadable-source",
            severity=Severity.ERROR if wishes.must_have else Severity.WARNING,
            member=member,
            message=f"cannot take the loader: {error}",
            hint=error.hint or "",
        )
        return [], [unreadable]
    return [InsertLoader(member=member, lines=lines)], []


def _refused(
    member: Member, names: Iterable[str], refusal: loader.Refusal, wishes: Wishes
) -> Finding:
    needs = f"needs {', '.join(sorted(names))}, and {refusal.reason}"
    if wishes.must_have:
        return Finding(
            code="no-place-for-loader",
            severity=Severity.ERROR,
            member=member,
            message=needs,
            hint=refusal.hint,
        )
    return Finding(
        code="no-place-for-loader",
        severity=Severity.NOTE,
        member=member,
        message=f"{needs}: only the run path leads there, so that both wheels must be installed "
        "in one site-packages",
    )


def _only_run_path(shim: loader.Shim) -> Finding:
    return Finding(
        code="no-place-for-loader",
        severity=Severity.NOTE,
        message=f"{shim.module_file} lies in no package: only the run path leads to "
        f"{', '.join(sorted(shim.names))}, so that both wheels must be installed in one "
        "site-packages",
        hint="--loader always puts a package with a loader in front of it",
    )


def _unguarded(importers: Mapping[Member, frozenset[str]]) -> Iterator[Finding]:
    for member, names in sorted(importers.items()):
        yield Finding(
            code="no-place-for-loader",
            severity=Severity.WARNING,
            member=member,
            message=f"needs {', '.join(sorted(names))}, which nothing loads: --loader never",
            hint="load it before the module is imported",
        )
