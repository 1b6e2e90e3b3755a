"""How every binary of a consumer reaches the libraries that it needs. Pure.

Entries are computed from the *installed* layout. In a binary that is edited anyway, entries that
lead out of site-packages go; in the others they are reported. A binary in a scheme without a fixed
place is judged from its place in the archive: what leaves that leaves every place.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from extlib_repair import layout, wording
from extlib_repair.binary import elf_run_path
from extlib_repair.model import (
    EditBinary,
    Finding,
    Format,
    Kind,
    Member,
    MoveToScripts,
    RunPath,
    RunPathKind,
    SetRunPath,
    Severity,
    SitePath,
    applied,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from extlib_repair.linkage import Linkage
    from extlib_repair.model import (
        AddNeeded,
        BinaryEdit,
        Edit,
        Image,
        ProviderLibrary,
        WheelFacts,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How run paths are written."""

    kind: RunPathKind = RunPathKind.RPATH
    sanitize: bool = False
    """Take entries that leave site-packages out of every binary."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A binary, where it will be installed, and what it needs of providers."""

    member: Member
    """In the archive that the engine left; run paths of the engine are relative to it."""

    target: Member
    at: SitePath
    image: Image
    needs: tuple[ProviderLibrary, ...]


def edits(
    facts: WheelFacts,
    linkage: Linkage,
    style: Style,
    additions: Mapping[Member, tuple[AddNeeded, ...]],
) -> tuple[tuple[Edit, ...], tuple[Finding, ...]]:
    """Return the edits of the binaries, and what is to be said of their run paths."""
    installed = frozenset(p for m in facts.members if (p := layout.installed(m)) is not None)
    made: list[Edit] = []
    findings: list[Finding] = []
    for member, image in sorted(linkage.images.items()):
        if image.format is not Format.ELF:
            continue
        needs = linkage.needs(member)
        place = _place(facts, member, image, needs)
        if place is None:
            findings.append(wording.no_fixed_place(member, (li.name for li in needs)))
            continue
        if place.target != member:
            made.append(MoveToScripts(member=member, target=place.target))
        changes: list[BinaryEdit] = [*additions.get(member, ())]
        wanted = _wanted(place, installed, style)
        may_change = bool(linkage.libraries) or style.sanitize
        if may_change and wanted is not None and applied(image, [wanted]) != image:
            changes.append(wanted)
        if changes:
            made.append(EditBinary(member=place.target, edits=tuple(changes)))
        if wanted is not None and needs:
            findings += _own_copies(place, applied(image, [wanted]).search, installed)
        if wanted not in changes:
            findings += _strays(place)
    return tuple(made), tuple(findings)


def _place(
    facts: WheelFacts, member: Member, image: Image, needs: tuple[ProviderLibrary, ...]
) -> _Place | None:
    """Return where a binary will be; None where it needs what no run path could lead to."""
    at, target = layout.installed(member), member
    if at is None and needs:
        if image.kind is not Kind.EXECUTABLE or not layout.is_script(member):
            return None
        target = Member(f"{facts.name.distribution}.scripts/{layout.basename(member)}")
    at = SitePath(target) if at is None else at
    return _Place(member=member, target=target, at=at, image=image, needs=needs)


def _wanted(place: _Place, installed: Collection[SitePath], style: Style) -> SetRunPath | None:
    """Return the run path to give to an image, or None where it keeps its own."""
    mender = _Mender(place, installed)
    cleaned = elf_run_path.cleaned(place.image.search, place.at, mender.entry)
    if place.needs:
        reached = {elf_run_path.target(entry, place.at) for entry in cleaned}
        directories = dict.fromkeys(library.directory for library in place.needs)
        new = (elf_run_path.entry_to(place.at, d) for d in directories if d not in reached)
        return SetRunPath(run_path=RunPath(entries=(*cleaned, *new), kind=style.kind))
    if mender.count or style.sanitize:
        kind = place.image.run_path.kind if place.image.run_path else style.kind
        return SetRunPath(run_path=RunPath(entries=cleaned, kind=kind) if cleaned else None)
    return None


class _Mender:
    """Corrects entries that the engine computed from the place in the archive.

    auditwheel does so for files below ``NAME.data/platlib``, which are installed at another depth:
    their vendored libraries are not found (seen with auditwheel 6.8.2).
    """

    def __init__(self, place: _Place, installed: Collection[SitePath]) -> None:
        self._place = place
        self._folders = {layout.folder(path) for path in installed}
        self.count = 0

    def entry(self, entry: str) -> str | None:
        """Return the entry that leads where this one was meant to, or None."""
        stored_at = SitePath(self._place.member)
        meant = elf_run_path.target(entry, stored_at)
        if stored_at == self._place.at or isinstance(meant, elf_run_path.Stray):
            return None
        if meant not in self._folders:
            return None
        self.count += 1
        return elf_run_path.entry_to(self._place.at, meant)


def _own_copies(
    place: _Place, entries: Collection[str], installed: Collection[SitePath]
) -> Iterator[Finding]:
    """Report copies in the wheel that the loader would find before the provider's file."""
    folders = [elf_run_path.target(entry, place.at) for entry in entries]
    for library in place.needs:
        before = folders[: folders.index(library.directory) + 1]
        copies = [copy for folder in before if (copy := _join(folder, library.name)) in installed]
        if copies:
            yield Finding(
                code="own-copy",
                severity=Severity.ERROR,
                member=place.target,
                message=f"would load {copies[0]} of its own wheel instead of the provider's file",
                hint="leave that file out of the wheel, or do not name the provider",
            )


def _join(folder: str, name: str) -> SitePath:
    return SitePath(f"{folder}/{name}".lstrip("/"))


def _strays(place: _Place) -> Iterator[Finding]:
    for entry in (*place.image.search, *place.image.ignored_run_path):
        why = elf_run_path.target(entry, place.at)
        if isinstance(why, elf_run_path.Stray):
            yield wording.stray_run_path(place.target, entry, why)
