"""How a Windows consumer uses a provider's DLLs: symbols, and what keeps them from loading. Pure.

Windows has no run path: nothing in a binary says where what it needs lies, so that the loader
(:mod:`extlib_repair.loaders`) loads the provider's DLL before any extension module that needs it. A
PE image says from which library each symbol comes; names of files are compared without regard
to case, as Windows compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extlib_repair import graph as graphs
from extlib_repair import wording
from extlib_repair.model import (
    ClearLoadFlags,
    DropSignature,
    EditBinary,
    Finding,
    Format,
    Part,
    Severity,
    Signature,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extlib_repair.graph import Graph
    from extlib_repair.model import (
        BinaryEdit,
        Edit,
        Image,
        Member,
        Project,
        Provider,
        ProviderLibrary,
        WheelFacts,
    )


def part(facts: WheelFacts, providers: Sequence[Provider], *, drop_signature: bool) -> Part:
    """Return the edits and findings for the PE files of a wheel."""
    graph = graphs.of(facts, providers, Format.PE)
    used: dict[Project, Provider] = {}
    edits: list[Edit] = []
    findings: list[Finding] = []
    for member, (image,) in sorted(graph.images.items()):
        for needed, provider, library in graph.uses(member):
            used[provider.project] = provider
            findings += _of_use(member, image, needed, provider, library)
        wanted, found = _wanted(graph, member, drop_signature=drop_signature)
        findings += found
        edits += [EditBinary(member=member, edits=wanted)] if wanted else []
    findings += _own_copies(graph)
    return Part(used=tuple(used.values()), edits=tuple(edits), findings=tuple(findings))


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
    graph: Graph, member: Member, *, drop_signature: bool
) -> tuple[tuple[BinaryEdit, ...], list[Finding]]:
    """Return the edits of a binary: flags that keep Windows from searching added folders go."""
    (image,) = graph.images[member]
    if not image.load_flags or not graph.uses(member):
        return (), []
    if image.signature is not Signature.IDENTITY:
        return (ClearLoadFlags(),), []
    if drop_signature:
        return (DropSignature(), ClearLoadFlags()), []
    return (), [wording.signed_by_identity(member, "have it taken off: --drop-signature")]


def _own_copies(graph: Graph) -> Iterator[Finding]:
    """Warn of files of a provider's name: what the loader has loaded is taken before them."""
    used = {library.name for m in graph.images for _, _, library in graph.uses(m)}
    for name in sorted(used):
        own = graph.files.get(graph.key(name))
        if own is not None:
            yield Finding(
                code="own-copy",
                severity=Severity.WARNING,
                member=own,
                message="has the name of the provider's file, and is not used: the loader loads "
                "that one first",
                hint="leave this file out of the wheel, or do not name the provider",
            )
