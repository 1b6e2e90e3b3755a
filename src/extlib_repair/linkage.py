"""Who, in a wheel and its providers, defines symbols for whom. Pure.

A loader binds an image's imports to the image that was opened and to everything that this one
needs, directly or not. So an image's scope is the union over all images of the wheel that reach it.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import TYPE_CHECKING

from extlib_repair import layout
from extlib_repair.model import Kind, Member, Project, frozen_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from extlib_repair.model import Image, Provider, ProviderLibrary


_C_LIBRARY = re.compile(
    r"lib(c|m|pthread|dl|rt|util|anl|resolv|nsl|mvec|BrokenLocale)\.so\.[0-9]+"
    r"|ld(64)?(-linux[\w-]*|64)?\.so\.[0-9]+"
    r"|libc\.musl-\w+\.so\.1|ld-musl-\w+\.so\.1|libc\.so"
)
_ALWAYS_VERSIONED = frozenset({"libstdc++.so.6", "libgcc_s.so.1", "libgcc_s.so.2", "libgcc_s.so.4"})
"""With glibc, every symbol of these carries a version: an import without one is not theirs."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The libraries that the loader binds an image's imports to."""

    others: tuple[Image, ...]
    """Images of the wheel itself, the importing one left out."""

    provided: tuple[ProviderLibrary, ...]
    """The libraries of providers."""

    unread: frozenset[str]
    """Needed names of libraries that nobody could read, and that could define anything."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Reached:
    """What loading one image brings in."""

    members: frozenset[Member]
    provided: frozenset[str]
    unread: frozenset[str]


class Linkage:
    """The images of a wheel, the libraries of its providers, and what needs what."""

    def __init__(self, images: Mapping[Member, Image], providers: Sequence[Provider]) -> None:
        self.images: Mapping[Member, Image] = frozen_mapping(
            (member, image) for member, image in images.items() if image.kind is not Kind.OTHER
        )
        self.libraries: dict[str, tuple[Provider, ProviderLibrary]] = {
            name: (provider, library)
            for provider in providers
            for name, library in provider.libraries.items()
        }
        self._members: dict[str, list[Member]] = {}
        for member in self.images:
            self._members.setdefault(layout.basename(member), []).append(member)
        needed = {name for image in self.images.values() for name in image.needed}
        self._on_musl = any(name.startswith("libc.musl-") for name in needed)
        self._reached = {member: self._reach(member) for member in self.images}

    @functools.cached_property
    def exports(self) -> frozenset[str]:
        """What the wheel's own binaries export, in anybody's scope or not."""
        return frozenset[str]().union(*(image.exports for image in self.images.values()))

    def needs(self, member: Member) -> tuple[ProviderLibrary, ...]:
        """Return the provided libraries that an image names."""
        names = self.images[member].needed
        return tuple(self.libraries[n][1] for n in dict.fromkeys(names) if n in self.libraries)

    def used(self) -> tuple[Provider, ...]:
        """Return the providers that any image names a library of."""
        users = (self.libraries[name][0] for m in self.images for name in self._named(m))
        return tuple({provider.project: provider for provider in users}.values())

    def scope(self, member: Member) -> Scope:
        """Return what an image's imports can bind to."""
        reaching = [r for r in self._reached.values() if member in r.members]
        members = frozenset[Member]().union(*(r.members for r in reaching)) - {member}
        provided = frozenset[str]().union(*(r.provided for r in reaching))
        return Scope(
            others=tuple(self.images[m] for m in sorted(members)),
            provided=tuple(self.libraries[name][1] for name in sorted(provided)),
            unread=frozenset[str]().union(*(r.unread for r in reaching)),
        )

    def providers_in_scope(self, member: Member) -> frozenset[Project]:
        """Return the projects whose libraries an image's imports can bind to."""
        return frozenset(
            self.libraries[name][0].project
            for reached in self._reached.values()
            if member in reached.members
            for name in reached.provided
        )

    def _named(self, member: Member) -> Iterator[str]:
        return (name for name in self.images[member].needed if name in self.libraries)

    def _reach(self, start: Member) -> _Reached:
        members: set[Member] = {start}
        provided: set[str] = set()
        unread: set[str] = set()
        queue = list(self.images[start].needed)
        while queue:
            name = queue.pop()
            if name in self.libraries:
                if name not in provided:
                    provided.add(name)
                    others = self.libraries[name][1].image.needed
                    queue += [other for other in others if other in self.libraries]
            elif name in self._members:
                new = [m for m in self._members[name] if m not in members]
                members.update(new)
                queue += [n for m in new for n in self.images[m].needed]
            else:
                unread |= set() if self._is_known(name) else {name}
        return _Reached(
            members=frozenset(members), provided=frozenset(provided), unread=frozenset(unread)
        )

    def _is_known(self, needed: str) -> bool:
        """Whether a needed name is a library whose names are all listed, or all carry a version."""
        versioned = needed in _ALWAYS_VERSIONED and not self._on_musl
        return versioned or _C_LIBRARY.fullmatch(needed) is not None
