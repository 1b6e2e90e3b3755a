"""How messages list names, what is said for every format, whose symbols are by spelling. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extlib_repair.model import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from extlib_repair.model import Image, Member, Policy, Provider, ProviderLibrary

OTHER_BUILD = "build against this release of the provider, or give one that has them"
OTHER_WHEEL = "give the provider's wheel for the consumer's platform: --provider-wheel FILE"

_SHOWN = 10
"""How many names a message lists before it counts the rest."""


def count(names: Collection[str], noun: str) -> str:
    """Return a number with its noun."""
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"


def listed(names: Iterable[str]) -> str:
    """Return names in order; a number stands for the rest of many."""
    ordered = sorted(names)
    rest = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(ordered[:_SHOWN]) + rest


def missing_symbols(
    member: Member,
    provider: Provider,
    symbols: Collection[str],
    *,
    arch: str = "",
    severity: Severity = Severity.ERROR,
) -> Finding:
    """Say that a provider lacks what a binary imports."""
    of_slice = f" ({arch})" if arch else ""
    return Finding(
        code="missing-symbols",
        severity=severity,
        member=member,
        message=f"imports {count(symbols, 'symbol')}{of_slice} that {provider.label} does not "
        f"export: {listed(symbols)}",
        hint=OTHER_BUILD,
    )


def preloading(
    member: Member,
    provider: Provider,
    symbols: Collection[str],
    severity: Severity = Severity.ERROR,
) -> Finding:
    """Say that a binary uses a provider and does not name its library."""
    return Finding(
        code="preloading",
        severity=severity,
        member=member,
        message=f"uses {count(symbols, 'symbol')} of {provider.label} but does not name its "
        f"library, so that it only loads after it: {listed(symbols)}",
        hint="link it with the library, or have it added: --add-needed",
    )


def other_architecture(
    member: Member, image: Image, provider: Provider, library: ProviderLibrary
) -> Finding:
    """Say that a provider's library is for other machines than a binary."""
    others = ", ".join(one.arch for one in library.slices)
    return Finding(
        code="other-architecture",
        severity=Severity.ERROR,
        member=member,
        message=f"is for {image.arch}, and {library.name} of {provider.label} for {others}",
        hint=OTHER_WHEEL,
    )


def no_fixed_place(member: Member, libraries: Iterable[str]) -> Finding:
    """Say that no run path of a binary can lead to a provider."""
    return Finding(
        code="no-fixed-place",
        severity=Severity.ERROR,
        member=member,
        message=f"needs {', '.join(dict.fromkeys(libraries))}, and is installed where no run path "
        "leads to site-packages",
        hint="put it into a package of the wheel",
    )


def stray_run_path(member: Member, entry: str, why: str) -> Finding:
    """Say that a binary which is not edited has an entry that must not be in a wheel."""
    return Finding(
        code="stray-run-path",
        severity=Severity.WARNING,
        member=member,
        message=f"the run path entry {entry!r} {why}",
        hint="--sanitize-rpaths takes such entries away",
    )


def signed_by_identity(member: Member, way_out: str) -> Finding:
    """Say that a binary which must be edited is signed by somebody."""
    return Finding(
        code="signed-by-identity",
        severity=Severity.ERROR,
        member=member,
        message="is signed with an identity, which an edit would break",
        hint=f"sign after the repair, or {way_out}",
    )


def is_spelled_for(name: str, provider: Provider, providers: Iterable[Provider]) -> bool:
    """Whether a symbol's spelling says that it is this provider's.

    Where several policies could claim it (``scipy_`` and ``scipy_...64_``), the longest marks win.
    """
    policies = [p.policy for p in providers if p.policy is not None and p.policy.marks(name)]
    best = max(policies, key=_length_of_marks, default=None)
    return best is not None and best is provider.policy


def _length_of_marks(policy: Policy) -> int:
    return len(policy.symbol_prefix) + len(policy.symbol_suffix)
