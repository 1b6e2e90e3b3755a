"""Plan -> wheel: unchanged members as compressed bytes, changed ones anew, RECORD last.

A wheel appears under its name complete or not at all: it is written into a private folder beside
its place, read again there, and moved.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from extlib_repair import binary, examined, loader, metadata
from extlib_repair.archive import ArchiveWriter, Entry
from extlib_repair.errors import BadBinaryError, CannotEditError, CannotWriteError
from extlib_repair.model import (
    AddPackage,
    EditBinary,
    InsertLoader,
    Member,
    MoveToScripts,
    SetExamined,
    SetRequirements,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extlib_repair.metadata import RecordRow
    from extlib_repair.model import Plan
    from extlib_repair.wheelfile import WheelFile

_PLAIN = (stat.S_IFREG | 0o644) << 16
_EXECUTABLE = (stat.S_IFREG | 0o755) << 16  # installers look at the kind too


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Give a private folder beside the output's place; it goes away in the end.

    A process that is killed leaves it behind. Its name begins with a dot, so that ``*`` and
    ``*.whl`` do not match it, and no later run deletes it: nothing that holds on every system and
    on shared folders tells such a folder from that of a run that is still at work.

    Raises :class:`CannotWriteError` for whatever the system refuses meanwhile.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".extlib-repair-", dir=folder) as private:
            yield Path(private)
    except OSError as error:
        raise CannotWriteError(f"cannot write to {folder}: {error.strerror or error}") from None


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """Give a private temporary folder; raises :class:`CannotWriteError` when there is no room."""
    try:
        with tempfile.TemporaryDirectory(prefix="extlib-repair-") as private:
            yield Path(private)
    except OSError as error:
        raise CannotWriteError(
            f"cannot write to the temporary folder {tempfile.gettempdir()}: "
            f"{error.strerror or error}",
            hint="TMPDIR names another one",
        ) from None


def publish(staged: Path, folder: Path) -> Path:
    """Move a complete file to its place, in one step."""
    target = folder / staged.name
    with staged.open("rb+") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())
    staged.replace(target)
    return target


def copy(source: Path, folder: Path) -> Path:
    """Copy a wheel as it is."""
    return Path(shutil.copyfile(source, folder / source.name))


def apply(plan: Plan, wheel: WheelFile, folder: Path, *, level: int = -1) -> Path:
    """Write the wheel that the plan describes into a folder; ``level`` is zlib's.

    Raises :class:`CannotEditError`, naming the member; what was written so far stays.
    """
    changes = _Changes(plan, wheel)
    target = folder / plan.output.filename
    with target.open("xb") as out:
        archive = ArchiveWriter(out)
        for entry, data in changes.entries():
            if data is None:
                archive.copy(wheel.archive, entry)
            else:
                archive.write(entry, data, level=level)
            del data  # a binary can be large, and the next one is read before this name is reused
        archive.close()
    return target


class _Changes:
    """The members of the output, one after the other."""

    def __init__(self, plan: Plan, wheel: WheelFile) -> None:
        self._plan = plan
        self._wheel = wheel
        self._edits = {e.member: e for e in plan.edits if isinstance(e, EditBinary)}
        self._loaders = {e.member: e.lines for e in plan.edits if isinstance(e, InsertLoader)}
        self._packages = {e.member: e.text for e in plan.edits if isinstance(e, AddPackage)}
        self._moves = {e.member: e.target for e in plan.edits if isinstance(e, MoveToScripts)}
        self._requirements = next(
            (e.requirements for e in plan.edits if isinstance(e, SetRequirements)), None
        )
        self._examined = next((e.text for e in plan.edits if isinstance(e, SetExamined)), None)
        self._rows: dict[str, RecordRow] = {}

    def entries(self) -> Iterator[tuple[Entry, bytes | None]]:
        """Yield every member with its new content, or None where it stays; RECORD last."""
        wheel = self._wheel
        record = wheel.dist_info_file("RECORD")
        members = [e for e in wheel.archive.entries if not metadata.is_signature(e.name)]
        names = [e.name for e in members if not e.is_folder]
        names += [*self._moves.values(), *self._packages]
        self._refuse(names)
        for entry in members:
            if entry.name != record:
                yield from self._entry(entry)
        for member, package in self._packages.items():
            yield self._new(member, package)
        text = wheel.dist_info_file(examined.FILE)
        if self._examined is not None and text not in names:
            names.append(text)
            yield self._new(text, self._examined)
        rows = metadata.record_rows(wheel.read(record))
        described = {row.path for row in rows if metadata.is_complete(row)} | {*self._rows, record}
        for name in names:
            if name not in described:
                self._rows[name] = wheel.record_row(name)
        data = metadata.record(metadata.updated_record(rows, self._rows, names))
        yield wheel.archive.by_name[record], data

    def _refuse(self, names: list[str]) -> None:
        """Refuse edits of members that are not there, and new ones where others are."""
        for member in (*self._moves, *self._edits, *self._loaders):
            if member not in names:
                raise CannotEditError(f"{member}: {self._wheel.path.name} does not hold it")
        for member in self._packages:
            if names.count(member) > 1:
                raise CannotEditError(f"{member} cannot be added: its place is taken")
        for member, target in self._moves.items():
            if names.count(target) > 1:
                raise CannotEditError(f"{member} cannot move to {target}: its place is taken")

    def _entry(self, entry: Entry) -> Iterator[tuple[Entry, bytes | None]]:
        member = Member(entry.name)
        if member in self._moves:
            target = self._moves[member]
            moved = Entry(name=target, method=entry.method, time=entry.time, attributes=_EXECUTABLE)
            yield self._changed(moved, self._edited(target, self._wheel.archive.read(entry)))
            yield self._changed(entry, loader.starter(target))
        elif member in self._edits:
            yield self._changed(entry, self._edited(member, self._wheel.archive.read(entry)))
        elif member in self._loaders:
            source = self._wheel.archive.read(entry)
            yield self._changed(entry, loader.inserted(source, self._loaders[member]))
        elif (data := self._metadata(member)) is not None:
            yield self._changed(entry, data)
        else:
            yield entry, None

    def _metadata(self, member: Member) -> bytes | None:
        """Return METADATA and WHEEL where they change.

        WHEEL changes whenever its tags are not those of the file name, which it must expand:
        maturin for one leaves them unexpanded.
        """
        wheel = self._wheel
        if member == wheel.dist_info_file("METADATA") and self._requirements is not None:
            return metadata.with_requirements(wheel.read(member), self._requirements)
        if member == wheel.dist_info_file(examined.FILE) and self._examined is not None:
            return self._examined.encode()
        if member == wheel.dist_info_file("WHEEL"):
            old, tags = wheel.read(member), self._plan.output.tags
            return metadata.with_tags(old, tags) if {*metadata.tags(old)} != {*tags} else None
        return None

    def _edited(self, member: Member, data: bytes) -> bytes:
        try:
            edit = self._edits.get(member)
            return binary.edit(data, edit.edits, resign=edit.resign) if edit else data
        except (CannotEditError, BadBinaryError) as error:
            raise CannotEditError(f"{member}: {error}", hint=error.hint) from None

    def _new(self, member: Member, text: str) -> tuple[Entry, bytes]:
        """Return a member that was not there, as old as METADATA."""
        beside = self._wheel.archive.by_name[self._wheel.dist_info_file("METADATA")]
        new = Entry(name=member, time=beside.time, attributes=_PLAIN)
        return self._changed(new, text.encode())

    def _changed(self, entry: Entry, data: bytes) -> tuple[Entry, bytes]:
        self._rows[entry.name] = metadata.record_row(entry.name, data)
        return entry, data
