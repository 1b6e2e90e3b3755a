"""How a Windows consumer uses a provider's DLLs: symbols, and which Python files load them. Pure.

Windows has no run path: nothing in a binary says where what it needs lies, so that a few lines of
Python (:mod:`extlib_repair.loader`) load the provider's DLL before any extension module that needs
it. A PE image says from which library each symbol comes; names of files are compared without regard
to case, as Windows compares them.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from extlib_repair import layout, loader, wording
from extlib_repair.errors import CannotEditError
from extlib_repair.model import (
    AddPackage,
    ClearLoadFlags,
    DropSignature,
    EditBinary,
    Finding,
    Format,
    InsertLoader,
    Kind,
    Part,
    Severity,
    Signature,
    frozen_mapping,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from extlib_repair.model import (
        BinaryEdit,
        Edit,
        Image,
        Member,
        Project,
        Provider,
        ProviderLibrary,
        SitePath,
        WheelFacts,
    )


class Graph:
    """The images of a wheel and the libraries of its providers, by what needs what."""

    def __init__(self, images: Mapping[Member, Image], providers: Sequence[Provider]) -> None:
        self.images: Mapping[Member, Image] = frozen_mapping(
            (member, image) for member, image in images.items() if image.kind is not Kind.OTHER
        )
        self.libraries: Mapping[str, tuple[Provider, ProviderLibrary]] = frozen_mapping(
            (name.lower(), (provider, library))
            for provider in providers
            for name, library in provider.libraries.items()
        )
        self.files: Mapping[str, Member] = frozen_mapping(
            (layout.basename(member).lower(), member) for member in sorted(self.images)
        )
        self._reached = {member: frozenset(self._walk(member)) for member in self.images}

    def uses(self, member: Member) -> tuple[tuple[str, Provider, ProviderLibrary], ...]:
        """Return the needed names of an image that a provider supplies."""
        needed = self.images[member].needed
        return tuple((n, *self.libraries[n.lower()]) for n in needed if n.lower() in self.libraries)

    def reach(self, member: Member) -> frozenset[Member]:
        """Return an image and everything of the wheel that it brings in."""
        return self._reached[member]

    @functools.cached_property
    def roots(self) -> frozenset[Member]:
        """What is opened by itself: modules, programs, and libraries that no other image needs."""
        needed = {m for root, reached in self._reached.items() for m in reached - {root}}
        return frozenset(
            member
            for member, image in self.images.items()
            if image.kind is not Kind.SHARED_LIBRARY or member not in needed
        )

    def importers(self) -> Mapping[Member, frozenset[str]]:
        """Return what must be loaded before each root, as the providers call it."""
        wanted = {
            root: frozenset(
                library.name for m in self.reach(root) for _, _, library in self.uses(m)
            )
            for root in self.roots
        }
        return frozen_mapping((root, names) for root, names in wanted.items() if names)

    def _walk(self, start: Member) -> Iterator[Member]:
        waiting, seen = [start], {start}
        while waiting:
            member = waiting.pop()
            yield member
            for name in self.images[member].needed:
                own = self.files.get(name.lower())
                if own is not None and own not in seen and name.lower() not in self.libraries:
                    seen.add(own)
                    waiting.append(own)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user decides about the binaries, and what the loader shall name."""

    requirements: Mapping[Project, str]
    """Project -> the requirement that METADATA states."""

    drop_signature: bool = False


def part(facts: WheelFacts, providers: Sequence[Provider], wishes: Wishes) -> Part:
    """Return the edits and findings for the PE files of a wheel, and for its Python files."""
    pe = {member: i for member, i in facts.image_map.items() if i.format is Format.PE}
    graph = Graph(pe, providers)
    used: dict[Project, Provider] = {}
    edits: list[Edit] = []
    findings: list[Finding] = []
    for member, image in sorted(graph.images.items()):
        for needed, provider, library in graph.uses(member):
            used[provider.project] = provider
            findings += _of_use(member, image, needed, provider, library)
        wanted, found = _wanted(graph, member, wishes)
        findings += found
        edits += [EditBinary(member=member, edits=wanted)] if wanted else []
    made, found = _loaders(facts, graph, wishes)
    findings += (*found, *_own_copies(graph))
    return Part(used=tuple(used.values()), edits=(*edits, *made), findings=tuple(findings))


def _of_use(
    member: Member, image: Image, needed: str, provider: Provider, library: ProviderLibrary
) -> Iterator[Finding]:
    """Report another machine, and symbols that the provider's library does not export."""
    if image.arch != library.image.arch:
        yield wording.other_architecture(member, image, provider, library)
        return
    asked = {symbol.name for symbol in image.imports if symbol.library == needed}
    missing = asked - library.image.exports
    if missing:
        yield wording.missing_symbols(member, provider, missing)


def _wanted(
    graph: Graph, member: Member, wishes: Wishes
) -> tuple[tuple[BinaryEdit, ...], list[Finding]]:
    """Return the edits of a binary: flags that keep Windows from searching added folders go."""
    image = graph.images[member]
    if not image.load_flags or not graph.uses(member):
        return (), []
    if image.signature is not Signature.IDENTITY:
        return (ClearLoadFlags(),), []
    if wishes.drop_signature:
        return (DropSignature(), ClearLoadFlags()), []
    return (), [wording.signed_by_identity(member, "have it taken off: --drop-signature")]


def _loaders(facts: WheelFacts, graph: Graph, wishes: Wishes) -> tuple[list[Edit], list[Finding]]:
    """Return the edits that put loaders where they come before what needs a provider."""
    importers = graph.importers()
    placement = loader.places(facts, importers)
    consumer = f"{facts.name.distribution} {facts.name.version}"
    edits: list[Edit] = []
    findings: list[Finding] = []
    for member, names in sorted(placement.files.items()):
        lines = loader.block(_place(member), consumer, _sought(graph, names, wishes))
        made, found = _inserted(member, facts.sources[member], lines)
        edits += made
        findings += found
    for shim in placement.shims:
        sought = _sought(graph, shim.names, wishes)
        text = loader.package(_place(shim.member), consumer, sought, shim.module_file)
        edits.append(AddPackage(member=shim.member, text=text))
    findings += [
        Finding(
            code="no-place-for-loader",
            severity=Severity.ERROR,
            member=member,
            message=f"needs {', '.join(sorted(importers[member]))}, and {refusal.reason}",
            hint=refusal.hint,
        )
        for member, refusal in sorted(placement.refused.items())
    ]
    return edits, findings


def _inserted(member: Member, source: bytes, lines: str) -> tuple[list[Edit], list[Finding]]:
    """Return the edit of a Python file; none where it has these lines already."""
    try:
        if loader.inserted(source, lines) == source:
            return [], []
    except CannotEditError as error:
        unreadable = Finding(
            code="unreadable-source",
            severity=Severity.ERROR,
            member=member,
            message=f"cannot take the loader: {error}",
            hint=error.hint or "",
        )
        return [], [unreadable]
    return [InsertLoader(member=member, lines=lines)], []


def _place(member: Member) -> SitePath:
    place = layout.installed(member)
    assert place is not None, "loaders are placed below site-packages"
    return place


def _sought(graph: Graph, names: Iterable[str], wishes: Wishes) -> tuple[loader.Sought, ...]:
    found = [graph.libraries[name.lower()] for name in sorted(names)]
    return tuple(
        loader.Sought(
            library=library.name,
            directory=library.directory,
            requirement=wishes.requirements[provider.project],
        )
        for provider, library in found
    )


def _own_copies(graph: Graph) -> Iterator[Finding]:
    """Warn of files of a provider's name: what the loader has loaded is taken before them."""
    used = {library.name for m in graph.images for _, _, library in graph.uses(m)}
    for name in sorted(used):
        own = graph.files.get(name.lower())
        if own is not None:
            yield Finding(
                code="own-copy",
                severity=Severity.WARNING,
                member=own,
                message="has the name of the provider's file, and is not used: the loader loads "
                "that one first",
                hint="leave this file out of the wheel, or do not name the provider",
            )
