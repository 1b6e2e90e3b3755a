"""Reads the output again, and compares it with what the plan promises."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from extlib_repair import metadata
from extlib_repair.binary import second_reader
from extlib_repair.errors import CannotWriteError
from extlib_repair.wheelfile import WheelFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from extlib_repair.metadata import RecordRow
    from extlib_repair.model import BinaryFacts, Member, WheelFacts

_ANY_EXPANSION = 1 << 32
"""What was accepted as input is accepted as output."""


def verify(path: Path, expected: WheelFacts, edited: Iterable[Member] = ()) -> None:
    """Read a wheel and compare it; raises :class:`CannotWriteError` at the first difference.

    ``edited`` names the binaries that were edited, which a second reader reads too.

    A tool that reports success and leaves a needed name as it was makes wheels that install and
    then fail to load (pypa/auditwheel#722): so everything that was planned is read back.

    :class:`BadWheelError` means a member that was damaged in the input already: what is not changed
    is copied unread, and read here for the first time.
    """
    with WheelFile(path, most_expansion=_ANY_EXPANSION) as wheel:
        found = wheel.facts()
        _same(path, "file name", found.name, expected.name)
        _same(path, "set of members", set(found.members), _without_signatures(expected))
        _same(path, "list of requirements", found.requirements, expected.requirements)
        _same(path, "set of binaries", set(found.binaries), set(expected.binaries))
        for member, facts in expected.binaries.items():
            _same(path, f"facts of {member}", found.binaries[member], facts)
        _same(path, "set of Python files with a loader", found.sources, expected.sources)
        for member in edited:
            _verify_edited(path, member, wheel.read(member), expected.binaries[member])
        tags = metadata.tags(wheel.read(wheel.dist_info_file("WHEEL")))
        _same(path, "set of tags in WHEEL", set(tags), set(expected.name.tags))
        _verify_record(path, wheel)


def record_problems(wheel: WheelFile) -> Iterator[str]:
    """Yield what is wrong with the RECORD of a wheel, which is read whole."""
    own = wheel.dist_info_file("RECORD")
    rows = metadata.record_rows(wheel.read(own))
    listed = [row.path for row in rows]
    members = {e.name for e in wheel.archive.entries if not e.is_folder}
    for path in sorted(members - set(listed)):
        if not metadata.is_signature(path):
            yield f"RECORD does not list {path}"
    for path in sorted(set(listed) - members):
        yield f"RECORD lists {path}, which is not there"
    for path in sorted(path for path, count in Counter(listed).items() if count > 1):
        yield f"RECORD lists {path} twice"
    for row in rows:
        if row.path in members and row.path != own:
            yield from _row_problems(row, wheel.record_row(row.path))


def _row_problems(row: RecordRow, wanted: RecordRow) -> Iterator[str]:
    """Compare a line; digests of other kinds than SHA-256 are allowed and left alone."""
    if not row.digest:
        yield f"RECORD has no digest of {row.path}"
    elif row.digest.startswith("sha256=") and row.digest != wanted.digest:
        yield f"RECORD has another digest of {row.path}"
    if row.size not in ("", wanted.size):
        yield f"RECORD has another size of {row.path}"


def _verify_edited(path: Path, member: Member, data: bytes, facts: BinaryFacts) -> None:
    """Let the second reader have its say; what it cannot read, the first one has read."""
    found = second_reader.read(data)
    if found is not None:
        reader = second_reader.READERS[facts.format]
        what = f"list of names and run paths in {member}, as {reader} reads it,"
        _same(path, what, found, tuple(map(second_reader.expected, facts.images)))


def _verify_record(path: Path, wheel: WheelFile) -> None:
    own = wheel.dist_info_file("RECORD")
    rows = metadata.record_rows(wheel.read(own))
    members = sorted(e.name for e in wheel.archive.entries if not e.is_folder)
    _same(path, "list of files in RECORD", sorted(row.path for row in rows), members)
    for row in rows:
        if row.path != own:
            _verify_row(path, row, wheel.record_row(row.path))


def _verify_row(path: Path, row: RecordRow, wanted: RecordRow) -> None:
    if row != wanted:
        raise CannotWriteError(
            f"{path.name} was written, but RECORD does not describe {row.path}; it was thrown away",
            hint="if RECORD of the input is right, this is a defect of extlib-repair: please "
            "report it with the wheel",
        )


def _without_signatures(facts: WheelFacts) -> set[str]:
    return {member for member in facts.members if not metadata.is_signature(member)}


def _same(path: Path, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise CannotWriteError(
            f"{path.name} was written, but its {what} did not read back as planned; it was "
            "thrown away",
            hint="this is a defect of extlib-repair: please report it with the wheel",
        )
