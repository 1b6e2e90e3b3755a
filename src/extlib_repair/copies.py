"""Native libraries that are there in several copies: by build, and by what they do. Pure.

Whole files cannot be compared: repair tools edit what they copy, each release in its own way. Which
build a copy is of, the linker's identifier says (ELF's build id, Mach-O's UUID). Where there is
none, a hashed name does: auditwheel and delvewheel put the beginning of the original's SHA-256
into it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from extlib_repair import layout
from extlib_repair.model import Finding, Format, Severity, System

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from extlib_repair.model import Environment, Family, InstalledFile, Policy


_HASH_LENGTH = 8
_LEAST = 100_000
"""Copies of unknown families that cost fewer bytes are not worth a line."""

_SYSTEMS = {Format.ELF: System.LINUX, Format.MACHO: System.MACOS, Format.PE: System.WINDOWS}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A file, and the project of a provider that could supply what it holds, if one is known."""

    file: InstalledFile
    supplier: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Several files that hold the same library, or that do the same."""

    name: str
    copies: tuple[Copy, ...]
    builds: int
    """How many different ones they are."""

    threads: bool = False

    @property
    def further_bytes(self) -> int:
        """What they take beyond one copy, at the least: the largest is the one."""
        sizes = sorted(copy.file.size for copy in self.copies)
        return sum(sizes[:-1])

    def further_threads(self, cores: int) -> int:
        """How many threads the copies beyond one can start: copies of a build in one place."""
        return (len(self.copies) - 1) * (cores - 1) if self.threads else 0


def find(
    libraries: Sequence[InstalledFile], families: Sequence[Family], policies: Sequence[Policy]
) -> tuple[Copies, ...]:
    """Return what is there several times: the known families, then equal builds of others."""
    files = list({file.node: file for file in reversed(libraries)}.values())[::-1]
    of_family = {file.path: family_of(file, families) for file in files}
    found = [
        _copies(family.name, members, policies, family)
        for family in families
        if len(members := [f for f in files if of_family[f.path] is family]) > 1
    ]
    rest = [file for file in files if of_family[file.path] is None]
    equal = (
        _copies(bare(layout.basename(same[0].path)), same, policies, None)
        for same in _grouped(rest, build)
        if len(same) > 1
    )
    return (*found, *(one for one in equal if one.further_bytes >= _LEAST))


def _copies(
    name: str, files: Sequence[InstalledFile], policies: Sequence[Policy], family: Family | None
) -> Copies:
    return Copies(
        name=name,
        copies=tuple(
            Copy(file=f, supplier=supplier(f, family, policies) if family else "") for f in files
        ),
        builds=len({build(file) for file in files}),
        threads=family is not None and family.threads,
    )


def family_of(file: InstalledFile, families: Iterable[Family]) -> Family | None:
    """Return the family of a library: by its file's name, else by its symbols."""
    known = tuple(families)
    name = bare(layout.basename(file.path))
    for family in known:
        if family.files.fullmatch(name):
            return family
    exports = _exports(file)
    return next((family for family in known if family.symbols & exports), None)


def supplier(file: InstalledFile, family: Family, policies: Iterable[Policy]) -> str:
    """Return the project whose library has the symbols of a copy, spelled as its policy says.

    Prefix and suffix tell builds with 32-bit from those with 64-bit integers, and from plain ones,
    which no provider supplies. The longest marks win.
    """
    marks = family.symbols & _exports(file)
    fitting = [
        policy
        for policy in policies
        if any(policy.marks(name) for name in marks) and _is_for(policy, file)
    ]
    best = max(fitting, key=lambda p: len(p.symbol_prefix) + len(p.symbol_suffix), default=None)
    return best.project if best else ""


def _is_for(policy: Policy, file: InstalledFile) -> bool:
    return any(
        library.system is _SYSTEMS[image.format]
        and (not library.architectures or image.arch in library.architectures)
        for image in file.images
        for library in policy.libraries
    )


def bare(name: str) -> str:
    """Return a file name in small letters without the hashes of repair tools.

    >>> bare("libgfortran-040039e1-0352e75f.so.5.0.0")
    'libgfortran.so.5.0.0'
    """
    small = name.lower()
    shorter = layout.REPAIR_HASH.sub("", small, count=1)
    return small if shorter == small else bare(shorter)


def build(file: InstalledFile) -> Hashable:
    """Return what two copies of one build have in common."""
    ids = tuple(sorted(image.uuid for image in file.images))
    if ids and all(ids):
        return ids
    name = layout.basename(file.path)
    stated = [a or b for a, b in layout.REPAIR_HASH.findall(name)]
    return bare(name), (stated[-1] if stated else file.sha256)[:_HASH_LENGTH] or file.size


def _exports(file: InstalledFile) -> frozenset[str]:
    return frozenset[str]().union(*(image.exports for image in file.images))


def _grouped(
    files: Iterable[InstalledFile], key: Callable[[InstalledFile], Hashable]
) -> Iterator[list[InstalledFile]]:
    groups: dict[Hashable, list[InstalledFile]] = {}
    for file in files:
        groups.setdefault(key(file), []).append(file)
    yield from groups.values()


def finding(found: Copies, environment: Environment) -> Finding:
    """Say what is there several times, what that costs, and what could replace it."""
    builds = "the same build" if found.builds == 1 else f"{found.builds} different builds"
    said = ", ".join(f"{c.file.label} ({megabytes(c.file.size)})" for c in found.copies)
    message = (
        f"{found.name} is there {len(found.copies)} times ({builds}): {said}; "
        f"{megabytes(found.further_bytes)} more than one copy takes"
    )
    if found.threads:
        further, cores = len(found.copies) - 1, environment.cores
        message += (
            f". Each further one that is used starts (cores - 1) threads, here {further} x "
            f"({cores} - 1) = {found.further_threads(cores)}"
        )
    return Finding(
        code="several-copies",
        severity=Severity.NOTE,
        message=message,
        hint=_replacement(found, environment),
    )


def _replacement(found: Copies, environment: Environment) -> str:
    """Say which providers could supply what the copies hold, and whether they are there."""
    installed = {d.project: d for d in environment.distributions}
    owners: dict[str, list[str]] = {}
    for copy in found.copies:
        if copy.file.project != copy.supplier:
            owners.setdefault(copy.supplier, []).append(copy.file.project)
    parts = []
    for project, users in owners.items():
        whose = ", ".join(dict.fromkeys(users))
        there = [d.label for name, d in installed.items() if name == project]
        where = f"{there[0]} is installed" if there else "not installed"
        parts.append(
            f"{project} could supply that of {whose} ({where})"
            if project
            else f"no provider is known for that of {whose}"
        )
    return "; ".join(parts)


def megabytes(size: int) -> str:
    """Return a size for people: millions of bytes."""
    return f"{size / 1e6:.1f} MB"
