"""Reads the output again, and compares it with what the plan promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extlib_repair import metadata
from extlib_repair.errors import CannotWriteError
from extlib_repair.wheelfile import WheelFile

if TYPE_CHECKING:
    from pathlib import Path

    from extlib_repair.model import WheelFacts


def verify(path: Path, expected: WheelFacts) -> None:
    """Read a wheel and compare it; raises :class:`CannotWriteError` at the first difference.

    A tool that reports success and leaves a needed name as it was makes wheels that install and
    then fail to load (pypa/auditwheel#722): so everything that was planned is read back.
    """
    with WheelFile(path) as wheel:
        found = wheel.facts()
        _same(path, "file name", found.name, expected.name)
        _same(path, "set of members", set(found.members), _without_signatures(expected))
        _same(path, "list of requirements", found.requirements, expected.requirements)
        for member, facts in expected.binaries.items():
            _same(path, f"facts of {member}", found.binaries.get(member), facts)
        tags = metadata.tags(wheel.read(wheel.dist_info_file("WHEEL")))
        _same(path, "set of tags in WHEEL", set(tags), set(expected.name.tags))
        _verify_record(path, wheel)


def _verify_record(path: Path, wheel: WheelFile) -> None:
    rows = metadata.record_rows(wheel.read(wheel.dist_info_file("RECORD")))
    members = {e.name for e in wheel.archive.entries if not e.is_folder}
    _same(path, "set of files in RECORD", {row.path for row in rows}, members)
    _same(path, "number of lines in RECORD", len(rows), len(members))
    for row in rows:
        if row.digest:
            _same(
                path,
                f"RECORD of {row.path}",
                row,
                metadata.record_row(row.path, wheel.read(row.path)),
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
