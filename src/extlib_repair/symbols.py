"""Which of a consumer's imports are the provider's, and which of those it lacks. Pure.

ELF does not say from which library an import comes, so it is decided by elimination, in this
order: weak imports cannot fail; a version can name another library; Python's C API and the C
library are known; another library in reach may define the name. Of the rest, the provider's are
those that it exports, or that are spelled as its policy says. What remains is somebody's whom
nobody knows. (Tried on NumPy and SciPy for glibc and musl: nothing remains.)
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from extlib_repair.model import AddNeeded, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from extlib_repair.linkage import Linkage, Scope
    from extlib_repair.model import Image, Import, Member, Policy, Provider

_PYTHON = re.compile(r"_?Py[A-Z_]\w*")
_SHOWN = 10
"""How many symbols a message lists before it counts the rest."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """The imports of one image, sorted by who is known to define them."""

    provider: frozenset[str]
    """Exported by the provider."""

    doubled: frozenset[str]
    """Exported by the provider and by another library in reach."""

    missing: frozenset[str]
    """The provider's by their spelling or version, but not exported by it."""

    unknown: frozenset[str]
    """Defined by nobody who could be read."""


def attribute(
    image: Image, scope: Scope, policies: Collection[Policy], c_names: frozenset[str]
) -> Attribution:
    """Sort the imports of an image."""
    exported = frozenset().union(*(p.exports for p in scope.provided))
    elsewhere = frozenset().union(*(o.exports for o in scope.others))
    unversioned = any(not p.versions for p in scope.provided)
    provider, doubled, missing, unknown = set(), set(), set(), set()
    for symbol in image.imports:
        if _is_set_aside(symbol, scope.provided_names, c_names):
            continue
        if symbol.key in exported or (symbol.version and unversioned and symbol.name in exported):
            provider.add(symbol.key)
            if symbol.key in elsewhere:
                doubled.add(symbol.key)
        elif symbol.library:
            missing.add(symbol.key)
        elif symbol.key in elsewhere:
            continue
        elif any(policy.marks(symbol.name) for policy in policies):
            missing.add(symbol.key)
        else:
            unknown.add(symbol.key)
    return Attribution(
        provider=frozenset(provider),
        doubled=frozenset(doubled),
        missing=frozenset(missing),
        unknown=frozenset(unknown),
    )


def _is_set_aside(symbol: Import, provided_names: frozenset[str], c_names: frozenset[str]) -> bool:
    """Whether an import certainly is not the provider's."""
    if symbol.weak or _PYTHON.fullmatch(symbol.name):
        return True
    if symbol.library:
        return symbol.library not in provided_names
    return symbol.name in c_names


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preloading:
    """An image that uses a provider's symbols and does not name its library."""

    member: Member
    libraries: tuple[str, ...]
    finding: Finding


def preloading(
    linkage: Linkage, providers: Sequence[Provider], c_names: frozenset[str]
) -> Iterator[Preloading]:
    """Yield the images that use a provider's symbols without naming its library.

    They load only after something else has loaded it (``use_preloading=True`` of scipy-openblas).
    """
    for member, image in sorted(linkage.images.items()):
        near = linkage.providers_in_scope(member)
        scope = linkage.scope(member)
        for provider in providers:
            if provider.project in near:
                continue
            wider = dataclasses.replace(
                scope,
                others=(*scope.others, *scope.provided),
                provided=tuple(library.image for library in provider.libraries.values()),
            )
            policies = [provider.policy] if provider.policy else []
            found = attribute(image, wider, policies, c_names)
            wanted = (found.provider - found.doubled) | found.missing
            if wanted:
                marked = any(policy.marks(name) for policy in policies for name in wanted)
                yield _preloading(member, provider, wanted, sure=marked or not scope.unread)


def _preloading(
    member: Member, provider: Provider, wanted: frozenset[str], *, sure: bool
) -> Preloading:
    libraries = tuple(
        name for name, library in provider.libraries.items() if wanted & library.image.exports
    )
    return Preloading(
        member=member,
        libraries=libraries or tuple(provider.libraries)[:1],
        finding=Finding(
            code="preloading",
            severity=Severity.ERROR if sure else Severity.WARNING,
            member=member,
            message=f"uses {_count(wanted, 'symbol')} of {provider.label} but does not name its "
            f"library, so that it only loads after it: {_listed(wanted)}",
            hint="link it with the library, or have it added: --add-needed",
        ),
    )


def additions(found: Iterable[Preloading]) -> dict[Member, tuple[AddNeeded, ...]]:
    """Return the libraries to add, so that each image names what it uses."""
    result: dict[Member, tuple[AddNeeded, ...]] = {}
    for one in found:
        new = tuple(AddNeeded(library=name) for name in one.libraries)
        result[one.member] = result.get(one.member, ()) + new
    return result


def findings(
    linkage: Linkage, providers: Sequence[Provider], c_names: frozenset[str]
) -> Iterator[Finding]:
    """Report what the images that use a provider import and would not find there."""
    by_project = {provider.project: provider for provider in providers}
    for member, image in sorted(linkage.images.items()):
        near = sorted(linkage.providers_in_scope(member))
        if not near:
            continue
        scope = linkage.scope(member)
        rules = [p.policy for p in map(by_project.__getitem__, near) if p.policy]
        found = attribute(image, scope, rules, c_names)
        labels = " and ".join(by_project[project].label for project in near)
        yield from _misfits(member, labels, found, sure=not scope.unread)
        for library in linkage.needs(member):
            if library.image.arch != image.arch:
                yield Finding(
                    code="other-architecture",
                    severity=Severity.ERROR,
                    member=member,
                    message=f"is for {image.arch}, and {library.name} of {labels} for "
                    f"{library.image.arch}",
                )


def _misfits(member: Member, labels: str, found: Attribution, *, sure: bool) -> Iterator[Finding]:
    if found.missing:
        yield Finding(
            code="missing-symbols",
            severity=Severity.ERROR,
            member=member,
            message=f"imports {_count(found.missing, 'symbol')} that {labels} does not export: "
            f"{_listed(found.missing)}",
            hint="build against this release of the provider, or give one that has them",
        )
    if found.unknown:
        yield Finding(
            code="unknown-symbols",
            severity=Severity.ERROR if sure else Severity.WARNING,
            member=member,
            message=f"imports {_count(found.unknown, 'symbol')} that neither {labels} nor any "
            f"other library it needs exports: {_listed(found.unknown)}",
            hint="build against this release of the provider, or give one that has them"
            if sure
            else "they may come from a needed library that is not in the wheel",
        )
    if found.doubled:
        yield Finding(
            code="symbols-twice",
            severity=Severity.NOTE,
            member=member,
            message=f"imports {_count(found.doubled, 'symbol')} that both {labels} and a library "
            f"of the wheel export: {_listed(found.doubled)}",
        )


def _count(names: Collection[str], noun: str) -> str:
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    rest = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(ordered[:_SHOWN]) + rest
