"""Where a loader would find what the binaries of a wheel need, once all is installed. Pure.

A model of ld.so over the installed layout: consumer and providers in one site-packages. For an
image without DT_RUNPATH, the DT_RPATH of the image and of those that loaded it are searched;
DT_RUNPATH serves only the image that has it (ld.so(8)). A library that is loaded already satisfies
its name wherever it came from. musl makes no difference between the two kinds, does not look at
DT_SONAME, and is itself whatever is called like a part of the C library (ldso/dynlink.c).

A provider is trusted to reach its own libraries.
"""

from __future__ import annotations

import dataclasses
import re
from enum import StrEnum
from typing import TYPE_CHECKING

from extlib_repair import layout
from extlib_repair.binary import elf_run_path
from extlib_repair.model import Kind, Libc, Member, RunPathKind, SitePath

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from extlib_repair.model import Image, Provider, WheelFacts

_LOADER = re.compile(r"ld(64)?(-linux[\w-]*)?\.so\.[0-9]+|(ld|libc)[.-]musl-\w+\.so\.1")
_MUSL_ITSELF = re.compile(r"lib(c|pthread|rt|m|dl|util|xnet)\..*")
_BESIDE_MUSL = frozenset({"libz.so.1"})
"""All that a musllinux wheel may need from outside apart from musl (auditwheel's policies)."""

PREFIX = "{prefix}"
"""Stands for the folder that holds ``bin``; nobody knows how far it is from site-packages."""


class Supplier(StrEnum):
    """Who supplies a library."""

    WHEEL = "this wheel"
    PROVIDER = "provider"
    SYSTEM = "the system"
    NOBODY = "nobody"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where the loader finds a needed library."""

    supplier: Supplier
    place: SitePath | None = None
    """Below site-packages, or below ``{prefix}`` for programs and data; None for the system's
    libraries, for nobody's, and for an image without a place that names itself."""

    project: str = ""
    """The provider."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Loaded:
    """An image in a process, and the one that needed it."""

    member: Member | None
    """None for a provider's library."""

    image: Image
    at: SitePath | None
    loader: _Loaded | None


class Loading:
    """What each binary of a wheel needs, and where that is found."""

    def __init__(
        self,
        facts: WheelFacts,
        providers: Sequence[Provider],
        system_libraries: frozenset[str],
        libc: Libc = Libc.GLIBC,
    ) -> None:
        self._on_musl = libc is Libc.MUSL
        self._system = _BESIDE_MUSL if self._on_musl else system_libraries
        self._images = facts.image_map
        self._members = {
            place: member for member in facts.members if (place := place_of(member)) is not None
        }
        self._provided = {
            _join(library.directory, library.name): (provider, library)
            for provider in providers
            for library in provider.libraries.values()
        }
        self._places = {library.name: at for at, (_, library) in self._provided.items()}
        self._reached: set[Member] = set()
        self.found: dict[Member, dict[str, Found]] = {member: {} for member in self._images}
        self._resolve()

    def missing(self) -> Iterator[tuple[Member, str]]:
        """Yield the needed names that nobody supplies, with the binary that needs them."""
        for member, needs in sorted(self.found.items()):
            for name, found in needs.items():
                if found.supplier is Supplier.NOBODY:
                    yield member, name

    def tried(self, _: Member, name: str) -> str:
        """Say that nobody supplies a needed name."""
        return (
            f"needs {name}, which the loader finds neither in the wheel, nor where a provider "
            "installs it, nor in the system"
        )

    def _resolve(self) -> None:
        """Load every program and module; then the libraries that nobody has loaded so far.

        Of those, the ones that no binary names come first: they may load the others.
        """
        named = {name for image in self._images.values() for name in image.needed}
        ordered = sorted(self._images.items())
        for member, image in ordered:
            if image.kind in (Kind.EXTENSION_MODULE, Kind.EXECUTABLE):
                self._load(member)
        libraries = [(m, image) for m, image in ordered if image.kind is Kind.SHARED_LIBRARY]
        for member, _ in sorted(libraries, key=lambda one: bool(_names(*one) & named)):
            if member not in self._reached:
                self._load(member)

    def _load(self, member: Member) -> None:
        """Go through what one image brings in, in the loader's order."""
        root = _Loaded(member, self._images[member], place_of(member), None)
        queue = [root]
        known: dict[str, Found] = {}
        self._introduce(root.image, Found(supplier=Supplier.WHEEL, place=root.at), known)
        for one in queue:
            if one.member is not None:
                self._reached.add(one.member)
            for name in one.image.needed:
                found = known.get(name) or self._search(name, one)
                self._remember(one, name, found)
                if found.supplier is not Supplier.NOBODY:
                    known[name] = found
                self._enqueue(found, one, queue, known)

    def _introduce(self, image: Image, found: Found, known: dict[str, Found]) -> None:
        """Let an image that is loaded answer to its own name."""
        if image.name and not self._on_musl:
            known.setdefault(image.name, found)

    def _remember(self, one: _Loaded, name: str, found: Found) -> None:
        """Keep the worst answer: an image that is reached in two ways must load in both."""
        if one.member is None:
            return
        answers = self.found[one.member]
        if name not in answers or found.supplier is Supplier.NOBODY:
            answers[name] = found

    def _enqueue(
        self, found: Found, loader: _Loaded, queue: list[_Loaded], known: dict[str, Found]
    ) -> None:
        if found.place is None or any(one.at == found.place for one in queue):
            return
        if found.place in self._provided:
            image = self._of_provider(found.place)
            queue.append(_Loaded(None, image, found.place, loader))
        else:
            member = self._members[found.place]
            image = self._images[member]
            queue.append(_Loaded(member, image, found.place, loader))
        self._introduce(image, found, known)

    def _of_provider(self, place: SitePath) -> Image:
        """Return the image of a provider's library; of what it needs, what providers supply."""
        image = self._provided[place][1].image
        needed = tuple(name for name in image.needed if name in self._places)
        return dataclasses.replace(image, needed=needed)

    def _search(self, name: str, one: _Loaded) -> Found:
        if self._on_musl and _MUSL_ITSELF.fullmatch(name):
            return Found(supplier=Supplier.SYSTEM)
        if one.member is None:
            return self._found_at(self._places[name])
        for folder in self._folders(one):
            place = _join(folder, name)
            if place in self._provided or self._fits(place, one.image):
                return self._found_at(place)
            if self._is_in_the_way(place):
                return Found(supplier=Supplier.NOBODY)
        if is_system_library(name, self._system):
            return Found(supplier=Supplier.SYSTEM)
        return Found(supplier=Supplier.NOBODY)

    def _fits(self, place: SitePath, image: Image) -> bool:
        """Whether the wheel has a file there that can be loaded beside an image."""
        found = self._images.get(self._members.get(place, Member("")))
        return found is not None and found.kind is not Kind.OTHER and found.arch == image.arch

    def _is_in_the_way(self, place: SitePath) -> bool:
        """Whether the search ends at a file that does not fit.

        glibc passes by what is for another architecture, and musl nothing at all.
        """
        if place not in self._members:
            return False
        found = self._images.get(self._members[place])
        return self._on_musl or found is None or found.kind is Kind.OTHER

    def _found_at(self, place: SitePath) -> Found:
        if place not in self._provided:
            return Found(supplier=Supplier.WHEEL, place=place)
        project = self._provided[place][0].project
        return Found(supplier=Supplier.PROVIDER, place=place, project=project)

    def _folders(self, one: _Loaded) -> Iterator[SitePath]:
        """Yield the folders that are searched for what an image needs."""
        if _kind(one.image) is RunPathKind.RUNPATH and not self._on_musl:
            yield from _targets(one)
            return
        loader: _Loaded | None = one
        while loader is not None:
            if self._on_musl or _kind(loader.image) is RunPathKind.RPATH:
                yield from _targets(loader)
            loader = loader.loader


def is_system_library(name: str, system_libraries: Collection[str]) -> bool:
    """Whether a needed name is one of the system's libraries, or of any architecture's loaders."""
    return name in system_libraries or _LOADER.fullmatch(name) is not None


def place_of(member: Member) -> SitePath | None:
    """Return where a member is installed; programs and data lie below a folder of their own."""
    if layout.is_script(member):
        return SitePath(f"{PREFIX}/bin/{layout.basename(member)}")
    match member.split("/", maxsplit=2):
        case [folder, "data", rest] if folder.endswith(".data"):
            return SitePath(f"{PREFIX}/{rest}")
        case _:
            return layout.installed(member)


def _join(folder: str, name: str) -> SitePath:
    return SitePath(f"{folder}/{name}".lstrip("/"))


def _names(member: Member, image: Image) -> set[str]:
    """Return the names by which an image can be needed."""
    return {layout.basename(member), image.name}


def _kind(image: Image) -> RunPathKind | None:
    return image.run_path.kind if image.run_path else None


def _targets(one: _Loaded) -> Iterator[SitePath]:
    """Yield where the entries of an image lead; from below ``{prefix}`` they never leave it."""
    if one.at is None:
        return
    below_prefix = one.at.startswith(f"{PREFIX}/")
    for entry in one.image.search:
        folder = elf_run_path.target(entry, one.at)
        if isinstance(folder, elf_run_path.Stray):
            continue
        if not below_prefix or f"{folder}/".startswith(f"{PREFIX}/"):
            yield folder
