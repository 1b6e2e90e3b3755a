"""How names are counted and listed in messages, and whose symbols are by their spelling. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from extlib_repair.model import Policy, Provider

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


def is_spelled_for(name: str, provider: Provider, providers: Iterable[Provider]) -> bool:
    """Whether a symbol's spelling says that it is this provider's.

    Where several policies could claim it (``scipy_`` and ``scipy_...64_``), the longest marks win.
    """
    policies = [p.policy for p in providers if p.policy is not None and p.policy.marks(name)]
    best = max(policies, key=_length_of_marks, default=None)
    return best is not None and best is provider.policy


def _length_of_marks(policy: Policy) -> int:
    return len(policy.symbol_prefix) + len(policy.symbol_suffix)
