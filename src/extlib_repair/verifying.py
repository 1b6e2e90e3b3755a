"""Reads the output again, and compares it with what the plan promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extlib_repair import metadata
from extlib_repair.errors import CannotWriteError
from extlib_repair.wheelfile import WheelFile

if TYPE_CHECKING:
    from pathlib import Path

    from extlib_repair.metadata import RecordRow
    from extlib_repair.model import WheelFacts

_ANY_EXPANSION = 1 << 32
"""What was accepted as input is accepted as output."""


def verify(path: Path, expected: WheelFacts) -> None:
    """Read a wheel and compare it; raises :class:`CannotWriteError` at the first difference.

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
        tags = metadata.tags(wheel.read(wheel.dist_info_file("WHEEL")))
        _same(path, "set of tags in WHEEL", set(tags), set(expected.name.tags))
        _verify_record(path, wheel)


def _verify_record(path: Path, wheel: WheelFile) -> None:
    own = wheel.dist_info_file("RECORD")
    rows = metadata.record_rows(wheel.read(own))
    members = sorted(e.name for e in wheel.archive.entries if not e.is_folder)
    _same(path, "list of files in RECORD", sorted(row.path for row in rows), members)
    for row in rows:
        if row.path != own:
            _verify_row(path, row, wheel.read(row.path))


def _verify_row(path: Path, row: RecordRow, data: bytes) -> None:
    if row != metadata.record_row(row.path, data):
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
