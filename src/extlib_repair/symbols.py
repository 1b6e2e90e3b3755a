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

from extlib_repair import wording
from extlib_repair.model import AddNeeded, Finding, Severity
from extlib_repair.wording import OTHER_BUILD, count, is_spelled_for, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from extlib_repair.linkage import Linkage, Scope
    from extlib_repair.model import Image, Import, Member, Provider, ProviderLibrary

_PYTHON = re.compile(r"_?Py[A-Z_]\w*")


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
    image: Image,
    scope: Scope,
    provider: Provider,
    providers: Sequence[Provider],
    c_names: frozenset[str],
) -> Attribution:
    """Sort the imports of an image, as one of the providers sees them."""
    seen = _seen_by(provider, scope)
    names = frozenset(n for library in seen.provided for n in (library.name, library.image.name))
    elsewhere = frozenset[str]().union(*(other.exports for other in seen.others))
    found, missing, unknown = set(), set(), set()
    for symbol in image.imports:
        if _is_set_aside(symbol, names, c_names):
            continue
        if any(_defines(library, symbol) for library in seen.provided):
            found.add(symbol.key)
        elif symbol.library:
            missing.add(symbol.key)
        elif symbol.key in elsewhere:
            continue
        elif is_spelled_for(symbol.name, provider, providers):
            missing.add(symbol.key)
        else:
            unknown.add(symbol.key)
    return Attribution(
        provider=frozenset(found),
        doubled=frozenset(found & elsewhere),
        missing=frozenset(missing),
        unknown=frozenset(unknown),
    )


def _seen_by(provider: Provider, scope: Scope) -> Scope:
    """Return a scope in which the libraries of other providers are libraries like others."""
    foreign = [library.image for library in scope.provided if not _owns(provider, library)]
    return dataclasses.replace(
        scope,
        others=(*scope.others, *foreign),
        provided=tuple(library for library in scope.provided if _owns(provider, library)),
    )


def _owns(provider: Provider, library: ProviderLibrary) -> bool:
    return provider.libraries.get(library.name) is library


def _is_set_aside(symbol: Import, names: frozenset[str], c_names: frozenset[str]) -> bool:
    """Whether an import certainly is not the provider's, whose libraries have these names."""
    if symbol.weak or _PYTHON.fullmatch(symbol.name):
        return True
    if symbol.library:
        return symbol.library not in names
    return symbol.name in c_names


def _defines(library: ProviderLibrary, symbol: Import) -> bool:
    """Whether a loader binds a symbol to a library; one without versions satisfies them all."""
    image = library.image
    if symbol.key in image.exports:
        return True
    is_named = symbol.library in (library.name, image.name)
    return is_named and not image.versions and symbol.name in image.exports


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Preloading:
    """An image that uses a provider's symbols and does not name its library."""

    member: Member
    provider: Provider
    symbols: frozenset[str]
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
                scope, provided=(*scope.provided, *provider.libraries.values())
            )
            found = attribute(image, wider, provider, providers, c_names)
            wanted = (found.provider - found.doubled) | found.missing
            if wanted:
                marked = any(is_spelled_for(name, provider, providers) for name in wanted)
                yield _preloading(member, provider, wanted, sure=marked or not scope.unread)


def _preloading(
    member: Member, provider: Provider, wanted: frozenset[str], *, sure: bool
) -> Preloading:
    libraries = tuple(
        name for name, library in provider.libraries.items() if wanted & library.image.exports
    )
    return Preloading(
        member=member,
        provider=provider,
        symbols=wanted,
        libraries=libraries or tuple(provider.libraries)[:1],
        finding=wording.preloading(
            member, provider, wanted, Severity.ERROR if sure else Severity.WARNING
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
    linkage: Linkage,
    providers: Sequence[Provider],
    c_names: frozenset[str],
    reported: Iterable[Preloading] = (),
) -> Iterator[Finding]:
    """Report what the images that use a provider import and would not find there.

    Symbols that are ``reported`` already, as those of a provider that is not named, are left out.
    """
    known: dict[Member, frozenset[str]] = {}
    for one in reported:
        known[one.member] = known.get(one.member, frozenset()) | one.symbols
    for member, image in sorted(linkage.images.items()):
        projects = linkage.providers_in_scope(member)
        near = [provider for provider in providers if provider.project in projects]
        if not near:
            continue
        scope = linkage.scope(member)
        found = [attribute(image, scope, provider, providers, c_names) for provider in near]
        for provider, attribution in zip(near, found, strict=True):
            yield from _of_provider(member, provider, attribution)
        unknown = frozenset.intersection(*(attribution.unknown for attribution in found))
        yield from _unknown(
            member, near, unknown - known.get(member, frozenset()), scope, linkage.exports
        )
        yield from _other_architecture(member, image, linkage)


def _of_provider(member: Member, provider: Provider, found: Attribution) -> Iterator[Finding]:
    if found.missing:
        yield wording.missing_symbols(member, provider, found.missing)
    if found.doubled:
        yield Finding(
            code="symbols-twice",
            severity=Severity.NOTE,
            member=member,
            message=f"imports {count(found.doubled, 'symbol')} that both {provider.label} and "
            f"another library that it needs export: {listed(found.doubled)}",
        )


def _unknown(
    member: Member,
    near: Iterable[Provider],
    unknown: frozenset[str],
    scope: Scope,
    in_wheel: frozenset[str],
) -> Iterator[Finding]:
    """Report symbols of nobody; those that a binary out of reach exports may be preloaded."""
    nobody, out_of_reach = unknown - in_wheel, unknown & in_wheel
    labels = " nor ".join(provider.label for provider in near)
    if nobody:
        unread = ", ".join(sorted(scope.unread))
        yield Finding(
            code="unknown-symbols",
            severity=Severity.WARNING if unread else Severity.ERROR,
            member=member,
            message=f"imports {count(nobody, 'symbol')} that neither {labels} nor any other "
            f"library it needs exports: {listed(nobody)}",
            hint=f"they may come from what could not be read: {unread}" if unread else OTHER_BUILD,
        )
    if out_of_reach:
        yield Finding(
            code="unknown-symbols",
            severity=Severity.WARNING,
            member=member,
            message=f"imports {count(out_of_reach, 'symbol')} that only binaries of the wheel "
            f"export which it does not need: {listed(out_of_reach)}",
            hint="it only loads after them",
        )


def _other_architecture(member: Member, image: Image, linkage: Linkage) -> Iterator[Finding]:
    for library in linkage.needs(member):
        if library.image.arch != image.arch:
            provider, _ = linkage.libraries[library.name]
            yield wording.other_architecture(member, image, provider, library)
