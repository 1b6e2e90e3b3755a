"""Where Windows would find what the binaries of a wheel need, once all is installed. Pure.

A model over the installed layout. CPython opens an extension module with the flags that search its
own folder, the folders that were added (``os.add_dll_directory``), the program's and the system's,
and neither ``PATH`` nor the current folder (python/cpython#80266, Python 3.8). What is loaded
already under the wanted file name is taken before all that, without regard to case.

So a provider's library is found where a loader has loaded it. Folders that a package adds by itself
are not known here: a DLL of the wheel counts as found, wherever it lies.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from extlib_repair import graph, layout, loader
from extlib_repair.loading import Found, Supplier, place_of
from extlib_repair.model import Format

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from extlib_repair.model import Member, Provider, WheelFacts

_PYTHONS = re.compile(r"(python\d+t?(_d)?|libpypy[\d.]+-c|python-native|vcruntime140(_1)?)\.dll")
"""What the interpreters bring: CPython, PyPy, GraalPy, and the run time library of their C."""

_API_SETS = ("api-ms-", "ext-ms-")


def is_system_library(name: str, windows_libraries: frozenset[str]) -> bool:
    """Whether a needed name is one of the system's, of an API set, or the interpreter's."""
    small = name.lower()
    ours = _PYTHONS.fullmatch(small) is not None or small.startswith(_API_SETS)
    return ours or small in windows_libraries


class Loading:
    """What each binary of a wheel needs, and where Windows finds it."""

    def __init__(
        self,
        facts: WheelFacts,
        providers: Sequence[Provider],
        windows_libraries: frozenset[str],
    ) -> None:
        self._graph = graph.of(facts, providers, Format.PE)
        self._system = windows_libraries
        self._loaded = {m: loaded_before(facts, m) for m in self._graph.roots}
        self.found: dict[Member, dict[str, Found]] = {
            member: {name: self._find(member, name) for name in image.needed}
            for member, (image,) in self._graph.images.items()
        }
        self.found |= {m: {} for m in facts.binaries if m not in self.found}

    def missing(self) -> Iterator[tuple[Member, str]]:
        """Yield the needed names that nobody supplies, with the binary that needs them."""
        for member, needs in sorted(self.found.items()):
            for name, found in needs.items():
                if found.supplier is Supplier.NOBODY:
                    yield member, name

    def tried(self, member: Member, name: str) -> str:
        """Say that nobody supplies a needed name, and what would have to."""
        if name.lower() not in self._graph.libraries:
            return f"DLL load failed: neither the wheel nor Windows has {name}"
        late = ", ".join(self._roots_without(member, name))
        return f"DLL load failed: no loader has loaded {name} before {late}"

    def _find(self, member: Member, name: str) -> Found:
        small = name.lower()
        if small in self._graph.libraries:
            provider, library = self._graph.libraries[small]
            if any(self._roots_without(member, name)):
                return Found(supplier=Supplier.NOBODY)
            return Found(supplier=Supplier.PROVIDER, place=library.place, project=provider.project)
        own = self._graph.files.get(small)
        if own is not None:
            return Found(supplier=Supplier.WHEEL, place=place_of(own))
        if is_system_library(name, self._system):
            return Found(supplier=Supplier.SYSTEM)
        return Found(supplier=Supplier.NOBODY)

    def _roots_without(self, member: Member, name: str) -> Iterator[Member]:
        """Yield what can be opened first of all and reaches a binary, without its provider."""
        for root in sorted(self._graph.roots):
            if member in self._graph.reach(root) and name.lower() not in self._loaded[root]:
                yield root


def loaded_before(facts: WheelFacts, member: Member) -> frozenset[str]:
    """Return the provided libraries, in small letters, that loaders load before a module."""
    at = layout.installed(member)
    files = frozenset(layout.loaded_before(at)) if at is not None else frozenset()
    blocks = [
        loader.found(source) or ""
        for file, source in facts.sources.items()
        if layout.installed(file) in files
    ]
    return frozenset(name.lower() for block in blocks for name in loader.libraries(block))
