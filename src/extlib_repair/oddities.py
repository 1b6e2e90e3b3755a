"""What of a provider makes it less certain that a consumer will load. Pure.

None of this is the consumer's fault, and much of it cannot be judged from outside: warnings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from extlib_repair import layout
from extlib_repair.model import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from extlib_repair.model import Provider, ProviderLibrary, WheelFacts

_PYTHON_TAG = re.compile(r"(?:cp|py|pp)(?P<major>[23])(?P<minor>\d+)")


def findings(
    facts: WheelFacts,
    used: Iterable[Provider],
    own_name: Callable[[ProviderLibrary], str],
    is_elsewhere: Callable[[str], bool],
) -> Iterator[Finding]:
    """Report what is odd about the providers that a wheel uses.

    ``own_name`` says what a library should call itself; ``is_elsewhere`` whether a needed name is
    supplied by the system, or by another provider.
    """
    needed = {layout.basename(name) for _, name in facts.needs}
    for provider in used:
        yield from _installation(facts, provider)
        for name, library in sorted(provider.libraries.items()):
            if name in needed:
                yield from _of_name(provider, library, own_name(library))
                yield from _of_needs(provider, library, is_elsewhere)


def _installation(facts: WheelFacts, provider: Provider) -> Iterator[Finding]:
    if provider.purelib:
        yield _warning(
            "purelib-provider",
            f"{provider.label} installs as a pure library: where pure and platform libraries have "
            "folders of their own (Fedora, RHEL), no run path leads to it",
            "a release with Root-Is-Purelib: false has no such limit",
        )
    shut_out = [tag for tag in facts.name.pythons if not _allows(provider.requires_python, tag)]
    if shut_out:
        yield _warning(
            "other-python",
            f"{provider.label} requires Python {provider.requires_python}, and the wheel is for "
            f"{', '.join(shut_out)}: it cannot be installed there",
            "let the wheel require a Python that the provider allows, or give an older provider",
        )


def _allows(requires_python: str, tag: str) -> bool:
    """Whether a provider can be installed for a Python tag; one without a minor number says no."""
    match = _PYTHON_TAG.fullmatch(tag)
    try:
        allowed = SpecifierSet(requires_python)
    except InvalidSpecifier:
        return True
    if match is None:
        return True
    # The newest patch release that could be meant: a bound such as >=3.8.1 is met by some 3.8.
    return allowed.contains(f"{match['major']}.{match['minor']}.999")


def _of_name(provider: Provider, library: ProviderLibrary, expected: str) -> Iterator[Finding]:
    others = {image.name for image in library.slices} - {"", expected}
    if others:
        yield _warning(
            "other-soname",
            f"{library.name} of {provider.label} calls itself {', '.join(sorted(others))}: only "
            "the run path leads to it, loading it beforehand does not",
        )


def _of_needs(
    provider: Provider, library: ProviderLibrary, is_elsewhere: Callable[[str], bool]
) -> Iterator[Finding]:
    needed = dict.fromkeys(
        name for image in library.slices for name in image.needed if not is_elsewhere(name)
    )
    missing = [name for name in needed if layout.basename(name) not in provider.carried]
    if missing:
        yield _warning(
            "provider-incomplete",
            f"{library.name} of {provider.label} needs {', '.join(missing)}, which the provider "
            "does not carry: it loads only where the system happens to have it",
            "tell the provider's maintainers",
        )


def _warning(code: str, message: str, hint: str = "") -> Finding:
    return Finding(code=code, severity=Severity.WARNING, message=message, hint=hint)
