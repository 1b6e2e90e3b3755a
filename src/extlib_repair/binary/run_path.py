"""What ELF and Mach-O run paths have in common."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from extlib_repair.model import SitePath


def cleaned(
    entries: Iterable[str],
    target: Callable[[str], SitePath | StrEnum],
    mend: Callable[[str], str | None] = lambda _: None,
) -> tuple[str, ...]:
    """Return the entries that may stay, each folder once; ``mend`` is asked about the others.

    ``target`` says to which folder an entry leads, or (a member of an enumeration) why to none.
    """
    kept: dict[str, str] = {}
    for entry in entries:
        kept_entry: str | None = entry
        place = target(entry)
        if isinstance(place, StrEnum):
            kept_entry = mend(entry)
            place = target(kept_entry) if kept_entry is not None else place
        if kept_entry is not None and not isinstance(place, StrEnum):
            kept.setdefault(place, kept_entry)
    return tuple(kept.values())
