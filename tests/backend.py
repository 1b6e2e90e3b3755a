"""What the laws of reading and editing (tests/laws) need to know of a format of binaries."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

from hypothesis import settings

from extlib_repair.errors import CannotEditError
from extlib_repair.model import applied

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from extlib_repair.model import BinaryEdit, BinaryFacts

GENTLE = settings(max_examples=150, deadline=dt.timedelta(seconds=5))
"""How often a law is tried with values at random."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A format: its reader and its editor, fixtures, and the edits that each of them undergoes."""

    read: Callable[[bytes], BinaryFacts]
    examine: Callable[[bytes], object]
    """Read all that is ever read of a file."""

    edit: Callable[[bytes, Sequence[BinaryEdit]], bytes]
    edit_freely: Callable[[bytes, Sequence[BinaryEdit]], bytes]
    """Edit with every leave that can be given."""

    files: Mapping[str, bytes]
    edits: Mapping[str, tuple[BinaryEdit, ...]]
    richest: str
    """The name of the edits that need most of a file."""

    expect_refusal: Callable[[str, Sequence[BinaryEdit], CannotEditError], None]
    """Fail unless these edits of this fixture had to be refused, and in this way."""

    starts: tuple[bytes, ...]
    """How files begin: random bytes follow."""

    zones: tuple[slice, ...]
    """Where damage is done, in each of them as often."""

    def edited_or_none(self, name: str, edits: Sequence[BinaryEdit]) -> bytes | None:
        """Edit; None where that is refused, which must be expected."""
        try:
            return self.edit(self.files[name], edits)
        except CannotEditError as refusal:
            self.expect_refusal(name, edits, refusal)
            return None


def all_applied(facts: BinaryFacts, edits: Sequence[BinaryEdit]) -> BinaryFacts:
    return dataclasses.replace(facts, images=tuple(applied(i, edits) for i in facts.images))
