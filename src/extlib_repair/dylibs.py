"""How a macOS consumer uses a provider's libraries: names, symbols, run paths. Pure.

A Mach-O image says from which library each symbol comes (two-level namespace), so nothing has to be
decided by elimination. The needed name becomes the provider's ``@rpath`` install name, with a run
path to its folder: only that form lets dyld match an image that is already loaded (``Loader.cpp``
of dyld-1378). Where the header has no room for both, a straight ``@loader_path`` name is written.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from extlib_repair import layout, wording
from extlib_repair.binary import macho_run_path
from extlib_repair.model import (
    AddNeeded,
    EditBinary,
    Finding,
    Format,
    Part,
    RenameNeeded,
    RunPath,
    RunPathKind,
    SetRunPath,
    Severity,
    Signature,
    applied,
)
from extlib_repair.wording import is_spelled_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from extlib_repair.model import (
        BinaryEdit,
        Edit,
        Image,
        MacVersion,
        Member,
        Provider,
        ProviderLibrary,
        SitePath,
        WheelFacts,
    )

_BY_RUN_PATH = "@rpath/"
_UNVERSIONED_SINCE = (12, 0, 0)
"""The macOS since which dyld takes any compatibility version (dyld-940; up to dyld-852.2:
``ImageLoader.cpp``)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user decides about the binaries."""

    sanitize: bool = False
    add_needed: bool = False
    resign: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """A needed name of one slice that a provider supplies."""

    image: Image
    needed: str
    provider: Provider
    library: ProviderLibrary


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Binary:
    """A binary, where it will be installed, and what it uses of providers."""

    member: Member
    at: SitePath
    images: tuple[Image, ...]
    uses: tuple[_Use, ...]
    added: tuple[ProviderLibrary, ...]
    """Libraries that it uses without naming them."""

    @property
    def libraries(self) -> dict[str, ProviderLibrary]:
        """Everything that is used, by file name."""
        used = (*(use.library for use in self.uses), *self.added)
        return {library.name: library for library in used}


def part(facts: WheelFacts, providers: Sequence[Provider], wishes: Wishes) -> Part:
    """Return the edits and findings for the Mach-O files of a wheel; the same for every slice."""
    installed = frozenset(p for m in facts.members if (p := layout.installed(m)) is not None)
    used: dict[str, Provider] = {}
    edits: list[Edit] = []
    findings: list[Finding] = []
    for member, facts_of_binary in sorted(facts.binaries.items()):
        images = tuple(i for i in facts_of_binary.images if i.format is Format.MACHO)
        at = layout.installed(member)
        uses = tuple(u for image in images for u in _uses(image, at, providers, installed))
        findings += [finding for use in uses for finding in _of_use(member, use)]
        preloads = tuple(_preloads(member, images, uses, providers))
        findings += () if wishes.add_needed else [finding for finding, _ in preloads]
        added = [provider for _, provider in preloads] if wishes.add_needed else []
        used |= {p.project: p for p in (*(use.provider for use in uses), *added)}
        if at is None:
            findings += (
                [wording.no_fixed_place(member, (use.library.name for use in uses))] if uses else []
            )
            continue
        binary = _Binary(
            member=member,
            at=at,
            images=images,
            uses=uses,
            added=tuple(library for p in added for library in p.libraries.values()),
        )
        wanted, found = _wanted(binary, wishes)
        findings += (*found, *_doubles(binary, wanted))
        if wanted:
            edits.append(EditBinary(member=member, edits=wanted, resign=wishes.resign))
        else:
            findings += _strays(binary)
    return Part(used=tuple(used.values()), edits=tuple(edits), findings=tuple(findings))


def is_system(needed: str) -> bool:
    """Whether a needed name is one of the system's libraries, or of Swift's."""
    return needed.startswith((*macho_run_path.SYSTEM, "@rpath/libswift"))


def install_name(library: ProviderLibrary) -> str:
    """Return the name by which consumers need a library."""
    return f"{_BY_RUN_PATH}{library.name}"


def _uses(
    image: Image,
    at: SitePath | None,
    providers: Sequence[Provider],
    installed: frozenset[SitePath],
) -> Iterator[_Use]:
    """Yield the needed names that are a provider's, by the last part of the name."""
    for needed in dict.fromkeys(image.needed):
        for provider in () if needed.startswith(macho_run_path.SYSTEM) else providers:
            library = provider.libraries.get(layout.basename(needed))
            if library is None:
                continue
            places = _places(needed, image, at)
            first = next((p for p in places if p in installed or p == library.place), None)
            if first is None or first == library.place:
                yield _Use(image=image, needed=needed, provider=provider, library=library)


def _places(needed: str, image: Image, at: SitePath | None) -> Iterator[SitePath]:
    """Yield where dyld looks below site-packages, as far as the image itself says it.

    What leads to a file of the wheel itself is the wheel's, whatever it is called: delocate gives
    the libraries that it copies no names of their own.
    """
    if at is not None:
        entries = [f"{e}/" for e in image.search] if needed.startswith(_BY_RUN_PATH) else [""]
        for entry in entries:
            place = macho_run_path.target(entry + needed.removeprefix(_BY_RUN_PATH), at)
            if not isinstance(place, macho_run_path.Stray):
                yield place


def _of_use(member: Member, use: _Use) -> Iterator[Finding]:
    """Report where a slice lacks its provider's slice, or symbols that it says are from there."""
    image, provider = use.image, use.provider
    piece = use.library.slice_for(image.arch)
    if piece is None:
        yield wording.other_architecture(member, image, provider, use.library)
        return
    asked = {i.name for i in image.imports if i.library == use.needed and not i.weak}
    missing = asked - piece.exports
    if missing:
        severity = Severity.WARNING if piece.reexported else Severity.ERROR
        yield wording.missing_symbols(member, provider, missing, arch=image.arch, severity=severity)
    required = dict(image.needed_compatibility).get(use.needed, (0, 0, 0))
    if piece.compatibility < required:
        yield _incompatible(member, use, required, piece)


def _incompatible(member: Member, use: _Use, required: MacVersion, piece: Image) -> Finding:
    """Report a version that dyld refuses up to macOS 11, and has not looked at since."""
    text = (
        f"requires {use.library.name} version {_dotted(required)} or later ({use.image.arch}), and "
        f"{use.provider.label} provides version {_dotted(piece.compatibility)}"
    )
    if (use.image.minimum_os or (0, 0, 0)) >= _UNVERSIONED_SINCE:
        return Finding(
            code="compatibility-version",
            severity=Severity.NOTE,
            member=member,
            message=f"{text}; macOS 12 and later do not compare them",
        )
    return Finding(
        code="compatibility-version",
        severity=Severity.ERROR,
        member=member,
        message=text,
        hint="link it with the provider's library, or for macOS 12 and later",
    )


def _dotted(version: MacVersion) -> str:
    return ".".join(map(str, version))


def _preloads(
    member: Member,
    images: Iterable[Image],
    uses: Iterable[_Use],
    providers: Sequence[Provider],
) -> Iterator[tuple[Finding, Provider]]:
    """Yield providers whose symbols are looked up anywhere (flat), without naming a library."""
    for provider in providers:
        naming = [use.image for use in uses if use.provider is provider]
        silent = [image for image in images if not any(image is one for one in naming)]
        flat = {i.name for image in silent for i in image.imports if not i.library and not i.weak}
        wanted = {name for name in flat if is_spelled_for(name, provider, providers)}
        if wanted:
            yield wording.preloading(member, provider, wanted), provider


def _wanted(binary: _Binary, wishes: Wishes) -> tuple[tuple[BinaryEdit, ...], list[Finding]]:
    """Return the edits of a binary; none where it is right already or cannot be edited."""
    libraries = binary.libraries
    if not libraries and not wishes.sanitize:
        return (), []
    if one_of_two := [li.name for li in libraries.values() if _is_named_twice(binary, li)]:
        return (), [_named_twice(binary.member, one_of_two)]
    straight = {n: macho_run_path.name_of(binary.at, li.place) for n, li in libraries.items()}
    first = _edits(binary, {name: install_name(li) for name, li in libraries.items()})
    for edits, found in ((first, []), (_edits(binary, straight), [_note(binary.member)])):
        if all(_holds(image, edits) for image in binary.images):
            return (), []
        if any(i.signature is Signature.IDENTITY for i in binary.images) and not wishes.resign:
            way_out = "have the signature replaced by an ad-hoc one: --resign"
            return (), [wording.signed_by_identity(binary.member, way_out)]
        if all(macho_run_path.growth(i, edits) <= i.header_room for i in binary.images):
            return edits, found
    return (), [_no_room(binary, first)]


def _edits(binary: _Binary, names: Mapping[str, str]) -> tuple[BinaryEdit, ...]:
    """Return the edits that give libraries these names, with the run path that the names need."""
    renames = dict.fromkeys((use.needed, names[use.library.name]) for use in binary.uses)
    edits: list[BinaryEdit] = [RenameNeeded(old=old, new=new) for old, new in renames if old != new]
    edits += [AddNeeded(library=names[library.name]) for library in binary.added]
    entries = [entry for image in binary.images for entry in image.search]
    cleaned = macho_run_path.cleaned(entries, binary.at)
    reached = {macho_run_path.target(entry, binary.at) for entry in cleaned}
    by_run_path = [
        li for li in binary.libraries.values() if names[li.name].startswith(_BY_RUN_PATH)
    ]
    folders = dict.fromkeys(library.directory for library in by_run_path)
    new = tuple(macho_run_path.entry_to(binary.at, f) for f in folders if f not in reached)
    run_path = RunPath(entries=cleaned + new, kind=RunPathKind.LC_RPATH)
    return (*edits, SetRunPath(run_path=run_path if run_path.entries else None))


def _holds(image: Image, edits: Iterable[BinaryEdit]) -> bool:
    """Whether an image says already what edits would make it say; its signature does not count."""
    return dataclasses.replace(applied(image, edits), signature=image.signature) == image


def _is_named_twice(binary: _Binary, library: ProviderLibrary) -> bool:
    """Whether some slice needs a library under two names, which would become one."""
    users = [id(use.image) for use in binary.uses if use.library is library]
    return len(users) > len(set(users))


def _named_twice(member: Member, names: Iterable[str]) -> Finding:
    return Finding(
        code="named-twice",
        severity=Severity.ERROR,
        member=member,
        message=f"needs {', '.join(names)} under two names: they would become one, and dyld "
        "refuses a library that is named twice",
        hint="link it with that library once",
    )


def _doubles(binary: _Binary, edits: Iterable[BinaryEdit]) -> Iterator[Finding]:
    """Warn of equal names or run path entries that a linker left; edits leave none of their own.

    Source: ``Policy.cpp`` of dyld-1378; lld makes such files for re-exports.
    """
    lists = [(i.needed, i.search) for i in (applied(image, edits) for image in binary.images)]
    twice = {n for both in lists for names in both for n in names if names.count(n) > 1}
    if twice:
        yield Finding(
            code="named-twice",
            severity=Severity.WARNING,
            member=binary.member,
            message=f"names {', '.join(sorted(twice))} twice, which dyld refuses in files that "
            "are made with the SDK of macOS 26 or later",
            hint="link it with that library or run path once",
        )


def _strays(binary: _Binary) -> Iterator[Finding]:
    entries = dict.fromkeys(entry for image in binary.images for entry in image.search)
    for entry in entries:
        why = macho_run_path.target(entry, binary.at)
        if isinstance(why, macho_run_path.Stray):
            yield wording.stray_run_path(binary.member, entry, why)


def _note(member: Member) -> Finding:
    return Finding(
        code="straight-name",
        severity=Severity.NOTE,
        member=member,
        message="its header has no room for a run path: the provider's file is named straight, so "
        "that a copy of it that is loaded already from elsewhere is not taken",
        hint="link it with -headerpad_max_install_names",
    )


def _no_room(binary: _Binary, edits: Sequence[BinaryEdit]) -> Finding:
    worst = max(binary.images, key=lambda i: macho_run_path.growth(i, edits) - i.header_room)
    return Finding(
        code="no-header-room",
        severity=Severity.ERROR,
        member=binary.member,
        message=f"needs {macho_run_path.growth(worst, edits)} bytes more for its load commands "
        f"({worst.arch}), and its header has room for {worst.header_room}",
        hint="link it with -headerpad_max_install_names",
    )
