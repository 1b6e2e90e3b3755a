"""Which binaries of a wheel bring in which, and so need which provider's library. Pure.

Names of files are compared as the wheel's system compares them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from extlib_repair import layout
from extlib_repair.model import Format, Kind, frozen_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from extlib_repair.model import Image, Member, Provider, ProviderLibrary, WheelFacts


def of(facts: WheelFacts, providers: Sequence[Provider], kind: Format) -> Graph:
    """Return the graph of a wheel's binaries of one format."""
    return Graph(
        {member: b.images for member, b in facts.binaries.items() if b.format is kind}, providers
    )


class Graph:
    """The images of a wheel and the libraries of its providers, by what needs what."""

    def __init__(
        self, images: Mapping[Member, Sequence[Image]], providers: Sequence[Provider]
    ) -> None:
        self.images: Mapping[Member, tuple[Image, ...]] = frozen_mapping(
            (member, loaded)
            for member, slices in images.items()
            if (loaded := tuple(i for i in slices if i.kind is not Kind.OTHER))
        )
        formats = {image.format for loaded in self.images.values() for image in loaded}
        self._ignores_case = Format.PE in formats
        self.libraries: Mapping[str, tuple[Provider, ProviderLibrary]] = frozen_mapping(
            (self.key(name), (provider, library))
            for provider in providers
            for name, library in provider.libraries.items()
        )
        self.files: Mapping[str, Member] = frozen_mapping(
            (self.key(member), member) for member in sorted(self.images)
        )
        self._reached = {member: frozenset(self._walk(member)) for member in self.images}

    def key(self, name: str) -> str:
        """Return what is compared of a needed name, or of a path."""
        name = layout.basename(name)
        return name.lower() if self._ignores_case else name

    def uses(self, member: Member) -> tuple[tuple[str, Provider, ProviderLibrary], ...]:
        """Return the needed names of a binary that a provider supplies."""
        keys = ((name, self.key(name)) for name in self._needed(member))
        return tuple((name, *self.libraries[key]) for name, key in keys if key in self.libraries)

    def reach(self, member: Member) -> frozenset[Member]:
        """Return a binary and everything of the wheel that it brings in."""
        return self._reached[member]

    @functools.cached_property
    def roots(self) -> frozenset[Member]:
        """What is opened by itself: modules, programs, and libraries that no other binary needs."""
        needed = {m for root, reached in self._reached.items() for m in reached - {root}}
        return frozenset(
            member
            for member, images in self.images.items()
            if images[0].kind is not Kind.SHARED_LIBRARY or member not in needed
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

    def _needed(self, member: Member) -> dict[str, None]:
        return dict.fromkeys(name for image in self.images[member] for name in image.needed)

    def _walk(self, start: Member) -> Iterator[Member]:
        waiting, seen = [start], {start}
        while waiting:
            member = waiting.pop()
            yield member
            for key in map(self.key, self._needed(member)):
                own = self.files.get(key)
                if own is not None and own not in seen and key not in self.libraries:
                    seen.add(own)
                    waiting.append(own)
