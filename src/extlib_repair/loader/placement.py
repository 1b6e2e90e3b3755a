"""Which Python files get the loader's lines. Pure.

Importing a module runs the ``__init__.py`` of every package around it first, the outermost one
first. So the lines may stand in any of these; they stand in the nearest, since a library that only
one part of a package needs is then loaded with that part.

Places in archives (:data:`~extlib_repair.model.Member`) are compared by where they are installed: a
package may be spread over the root and ``NAME.data/platlib``.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING

from extlib_repair import layout
from extlib_repair.loader import hook
from extlib_repair.model import Kind, Member, SitePath, frozen_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extlib_repair.model import WheelFacts

_EXTENSION_MODULES = (".pyd", ".so")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shim:
    """A package to be added, which stands before the extension module of its name."""

    member: Member
    """The ``__init__.py``."""

    module_file: str
    """The file name of the extension module, which lies beside the package."""

    names: frozenset[str]
    """The libraries that must be loaded before it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why no Python file is sure to run before a binary is loaded."""

    reason: str
    hint: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the loader's lines go."""

    files: Mapping[Member, frozenset[str]]
    """Python files of the wheel -> the names of the libraries that they load."""

    shims: tuple[Shim, ...]
    refused: Mapping[Member, Refusal]


_OUTSIDE = Refusal(
    reason="is installed outside site-packages, so that no Python file loads the provider for it",
    hint="put it into a package, or leave the provider out of the repair",
)
_PROGRAM = Refusal(
    reason="is a program: no Python file runs in its process before its libraries are loaded",
    hint="link it without the provider's library, or leave the provider out of the repair",
)
_NO_MODULE = Refusal(
    reason="lies in no package and is no extension module, so that no Python file is sure to run "
    "before it is loaded",
    hint="put it into a package that has an __init__.py",
)
_IS_INIT = Refusal(
    reason="is the __init__ of a package; Python prefers it to any __init__.py, so that nothing "
    "can run before it",
    hint="rename the extension module to _core and import it from an __init__.py",
)


def _in_the_way(rival: SitePath) -> Refusal:
    return Refusal(
        reason=f"lies in no package, and {rival} is in the way of a package that would stand "
        "before it",
        hint="put the module into a package that has an __init__.py",
    )


def places(facts: WheelFacts, importers: Mapping[Member, frozenset[str]]) -> Placement:
    """Return where the loader goes, for binaries and the names that must be loaded before them."""
    tree = _Tree(facts)
    files: dict[Member, frozenset[str]] = defaultdict(frozenset)
    shims: list[Shim] = []
    refused: dict[Member, Refusal] = {}
    for member, names in sorted(importers.items()):
        place = _place(tree, facts, member)
        if isinstance(place, Refusal):
            refused[member] = place
        elif isinstance(place, Shim):
            shims.append(dataclasses.replace(place, names=names))
        else:
            files[place] |= names
    return Placement(
        files=frozen_mapping(sorted(files.items())),
        shims=tuple(shims),
        refused=frozen_mapping(refused.items()),
    )


class _Tree:
    """The members of a wheel by the places where they are installed."""

    def __init__(self, facts: WheelFacts) -> None:
        self._members = {
            place: member for member in facts.members if (place := layout.installed(member))
        }
        self._sources = facts.sources
        self._extension_inits = {
            layout.folder(place) for place in self._members if _module(place) == "__init__"
        }

    def package(self, folder: SitePath) -> Member | None:
        """Return the ``__init__.py`` that Python runs for a folder, or None."""
        is_package = bool(folder) and folder not in self._extension_inits
        return self._members.get(SitePath(f"{folder}/{layout.INIT}")) if is_package else None

    def nearest(self, folder: SitePath) -> Member | None:
        """Return the ``__init__.py`` of the innermost package around the files of a folder."""
        while folder:
            init = self.package(folder)
            if init is not None:
                return init
            folder = layout.folder(folder)
        return None

    def hook_of(self, top: SitePath) -> Member | None:
        """Return the hook for distributors of a top-level package that imports it, or None."""
        init = self.package(top)
        if init is None or not hook.is_imported(self._sources.get(init, b""), top):
            return None
        return self._members.get(SitePath(f"{top}/{layout.HOOK}"))

    def rival(self, place: SitePath, package: SitePath) -> SitePath | None:
        """Return a file that forbids a package of an extension module's name, or None.

        That is another file of that module, or of a package that is one on Windows, which does not
        tell upper case from lower case, or whose ``__init__`` is an extension module.
        """
        lowered = package.casefold()
        is_taken = package in self._extension_inits
        for other in self._members:
            if other != place and _stem(other).casefold() == lowered:
                return other
            is_inside = other.casefold().startswith(f"{lowered}/")
            if is_inside and (is_taken or not other.startswith(f"{package}/")):
                return other
        return None


def _place(tree: _Tree, facts: WheelFacts, member: Member) -> Member | Shim | Refusal:
    """Return the file for one binary; the names of a shim are left empty."""
    place = layout.installed(member)
    if place is None:
        return _OUTSIDE
    if any(image.kind is Kind.EXECUTABLE for image in facts.binaries[member].images):
        return _PROGRAM
    top = SitePath(place.partition("/")[0])
    around = tree.hook_of(top) or tree.nearest(layout.folder(place))
    if around is not None:
        return around
    if _module(place) == "__init__":
        return _IS_INIT
    return _shim(tree, member, place) if _module(place) else _NO_MODULE


def _shim(tree: _Tree, member: Member, place: SitePath) -> Member | Shim | Refusal:
    """Return the package that stands before an extension module, or is to stand there."""
    package = _stem(place)
    rival = tree.rival(place, package)
    if rival is not None:
        return _in_the_way(rival)
    there = tree.package(package)
    if there is not None:
        return there
    scheme = member.removesuffix(place)
    return Shim(
        member=Member(f"{scheme}{package}/{layout.INIT}"),
        module_file=layout.basename(place),
        names=frozenset(),
    )


def _module(place: SitePath) -> str:
    """Return the name of an extension module, without its tag; empty for other files."""
    name = layout.basename(place)
    return name.partition(".")[0] if name.endswith(_EXTENSION_MODULES) else ""


def _stem(place: SitePath) -> SitePath:
    """Return the path of the package that would have an extension module's name."""
    folder = layout.folder(place)
    return SitePath(f"{folder}/{_module(place)}".lstrip("/"))
