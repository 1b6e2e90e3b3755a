"""Where dyld would find what the binaries of a macOS wheel need, once all is installed. Pure.

A model of dyld over the installed layout: consumer and providers in one site-packages, one process
for each architecture. Names below ``/usr/lib`` and ``/System`` are the system's. ``@rpath`` stands
for the run paths of the image, then of the one that loaded it, and so on to the first; and
``@loader_path`` in a run path for the folder of the image that owns it. A library that is loaded
already and has the wanted install name is taken without a look at the disk, unless it is wanted by
``@loader_path``. What an image needs is loaded before what those need in turn.

A provider is trusted to reach its own libraries.

Source: dyld-1378 (``Loader::forEachPath``, ``Loader::getLoader``,
``JustInTimeLoader::loadDependents``), whose words the messages use.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from extlib_repair import layout
from extlib_repair.binary import macho_run_path
from extlib_repair.binary.macho_run_path import Stray
from extlib_repair.loading import PREFIX, Found, Supplier, place_of
from extlib_repair.model import Format, Kind, SitePath

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from extlib_repair.model import (
        BinaryFacts,
        Image,
        Member,
        Provider,
        ProviderLibrary,
        WheelFacts,
    )

_SWIFT = "/usr/lib/swift/"
"""Where run paths lead to the system's libraries for Swift, which are named by ``@rpath``."""

_RPATH = "@rpath/"
_EXECUTABLE = "@executable_path"

_ALSO = {"arm64e": ("arm64",), "x86_64h": ("x86_64",)}
"""Architecture -> those whose images can be loaded, too, where a file has none of its own."""

_NO_SUCH_FILE = "no such file"
_NOT_MACHO = "not a mach-o file"
_NOT_LOADABLE = "unloadable mach-o file type"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _File:
    """A file of the installed layout."""

    found: Found
    member: Member | None
    """None for a provider's library."""

    slices: Mapping[str, Image] = dataclasses.field(default_factory=dict)
    """Architecture -> what dyld would load."""

    problem: str = _NOT_MACHO
    """Why there are no slices."""

    def image(self, arch: str) -> Image | None:
        """Return what a process of an architecture loads."""
        fitting = (self.slices.get(one) for one in _accepted(arch))
        return next((image for image in fitting if image is not None), None)

    def refusal(self, arch: str) -> str:
        """Say why a process of an architecture cannot load the file."""
        if not self.slices:
            return self.problem
        have = ",".join(self.slices)
        need = "' or '".join(_accepted(arch))
        said = "mach-o file, but is an incompatible"
        if len(self.slices) > 1:
            said = "fat file, but missing compatible"
        return f"{said} architecture (have '{have}', need '{need}')"


@dataclasses.dataclass(frozen=True, slots=True)
class _Link:
    """An image, and the chain of those that loaded it."""

    file: _File
    image: Image
    outer: _Link | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Process:
    """What is loaded so far into one process."""

    arch: str
    program: SitePath | None
    """Where the program is; a Python is nobody knows where."""

    named: dict[str, _File]
    """Install name -> the image that was loaded first under it."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Answer:
    """What became of a needed name."""

    found: Found
    file: _File | None = None
    reason: str = ""
    """Why nobody supplies it."""


class Loading:
    """What each binary of a wheel needs, and where dyld finds it."""

    def __init__(self, facts: WheelFacts, providers: Sequence[Provider]) -> None:
        self._wheel = {
            member: _file_of(member, facts.binaries.get(member)) for member in facts.members
        }
        self._files = {
            file.found.place: file for file in self._wheel.values() if file.found.place is not None
        }
        self._provided: dict[str, _File] = {}
        for provider in providers:
            for name, library in provider.libraries.items():
                file = _provided_file(provider, library)
                self._provided[name] = self._files[library.place] = file
        self._required: set[tuple[Member, str]] = set()
        self._reasons: dict[tuple[Member, str], str] = {}
        self.found: dict[Member, dict[str, Found]] = {member: {} for member in facts.binaries}
        """What nobody supplies stands here even where it may be absent (weak)."""

        for arch in sorted({arch for file in self._wheel.values() for arch in file.slices}):
            self._resolve(arch)

    def missing(self) -> Iterator[tuple[Member, str]]:
        """Yield the needed names without which dyld gives up, with the binary that needs them."""
        for member, needs in sorted(self.found.items()):
            for name in needs:
                if (member, name) in self._required:
                    yield member, name

    def tried(self, member: Member, name: str) -> str:
        """Say in dyld's words that nobody supplies a needed name, and where it was looked for."""
        return (
            f"Library not loaded: {name}\n  Referenced from: {member}\n"
            f"  Reason: {self._reasons[member, name]}"
        )

    def _resolve(self, arch: str) -> None:
        """Load every program and module; then the libraries that nobody has loaded so far.

        Of those, the ones that no binary names come first: they may load the others.
        """
        images = [
            (file, image)
            for _, file in sorted(self._wheel.items())
            if (image := file.image(arch)) is not None
        ]
        named = {layout.basename(name) for _, image in images for name in image.needed}
        reached: set[Member] = set()
        later: list[tuple[bool, _File, Image]] = []
        for file, image in images:
            if image.kind is Kind.SHARED_LIBRARY:
                later.append((bool(_names(file, image) & named), file, image))
            else:
                self._load(file, image, arch, reached)
        for _, file, image in sorted(later, key=lambda one: one[0]):
            if file.member not in reached:
                self._load(file, image, arch, reached)

    def _load(self, root: _File, image: Image, arch: str, reached: set[Member]) -> None:
        """Go through what one image brings in, in dyld's order."""
        program = root.found.place if image.kind is Kind.EXECUTABLE else None
        process = _Process(arch, program, {image.name: root})
        done: list[_File] = []
        waiting = [_Link(root, image, None)]
        while waiting:
            link = waiting.pop()
            if link.file in done:
                continue
            done.append(link.file)
            if link.file.member is not None:
                reached.add(link.file.member)
            waiting += reversed(list(self._dependents(link, process)))

    def _dependents(self, link: _Link, process: _Process) -> Iterator[_Link]:
        """Load what an image needs directly."""
        for name in link.image.needed:
            answer = self._answer(name, link, process)
            self._remember(link, name, answer)
            image = answer.file.image(process.arch) if answer.file is not None else None
            if answer.file is not None and image is not None:
                process.named.setdefault(image.name, answer.file)
                yield _Link(answer.file, image, link)

    def _remember(self, link: _Link, name: str, answer: _Answer) -> None:
        """Keep the worst answer: an image that is reached in two ways must load in both."""
        member = link.file.member
        if member is None:
            return
        answers = self.found[member]
        nobodys = answer.found.supplier is Supplier.NOBODY
        if name not in answers or nobodys:
            answers[name] = answer.found
        if nobodys:
            self._reasons.setdefault((member, name), answer.reason)
            if name not in link.image.weak_needed and (member, name) not in self._required:
                self._required.add((member, name))
                self._reasons[member, name] = answer.reason

    def _answer(self, name: str, link: _Link, process: _Process) -> _Answer:
        if link.file.member is None:
            file = self._provided.get(layout.basename(name))
            return _Answer(Found(supplier=Supplier.SYSTEM) if file is None else file.found, file)
        if name.startswith(macho_run_path.SYSTEM):
            return _Answer(Found(supplier=Supplier.SYSTEM))
        if name.startswith(("/", _RPATH)) and name in process.named:
            file = process.named[name]
            return _Answer(file.found, file)
        return self._search(name, link, process)

    def _search(self, name: str, link: _Link, process: _Process) -> _Answer:
        tried: dict[str, str] = {}
        for path, place in _candidates(name, link, process):
            if path.startswith(_SWIFT):
                return _Answer(Found(supplier=Supplier.SYSTEM))
            if isinstance(place, Stray):
                tried.setdefault(path, _NO_SUCH_FILE if place is Stray.ABSOLUTE else place)
                continue
            file = self._files.get(place)
            if file is not None and file.image(process.arch) is not None:
                return _Answer(file.found, file)
            tried.setdefault(place, _NO_SUCH_FILE if file is None else file.refusal(process.arch))
        places = ", ".join(f"'{path}' ({problem})" for path, problem in tried.items())
        reason = f"tried: {places}" if tried else "no LC_RPATH's found"
        return _Answer(Found(supplier=Supplier.NOBODY), reason=reason)


def _accepted(arch: str) -> tuple[str, ...]:
    return arch, *_ALSO.get(arch, ())


def _by_arch(images: Sequence[Image]) -> dict[str, Image]:
    return {
        image.arch: image
        for image in images
        if image.format is Format.MACHO and image.kind is not Kind.OTHER
    }


def _file_of(member: Member, facts: BinaryFacts | None) -> _File:
    found = Found(supplier=Supplier.WHEEL, place=place_of(member))
    if facts is None or facts.format is not Format.MACHO:
        return _File(found, member)
    return _File(found, member, _by_arch(facts.images), _NOT_LOADABLE)


def _provided_file(provider: Provider, library: ProviderLibrary) -> _File:
    found = Found(supplier=Supplier.PROVIDER, place=library.place, project=provider.project)
    return _File(found, None, _by_arch(library.slices))


def _names(file: _File, image: Image) -> set[str]:
    """Return the file names by which an image can be needed."""
    assert file.member is not None
    return {layout.basename(file.member), layout.basename(image.name)}


def _candidates(
    name: str, link: _Link, process: _Process
) -> Iterator[tuple[str, SitePath | Stray]]:
    """Yield where dyld looks for a needed name: the path as it is spelled, and the place."""
    if not name.startswith(_RPATH):
        yield _led(name, link, process)
        return
    owner: _Link | None = link
    while owner is not None:
        for entry in owner.image.search:
            path = f"{entry.removesuffix('/')}/{name.removeprefix(_RPATH)}"
            yield _led(path, owner, process)
        owner = owner.outer


def _led(path: str, owner: _Link, process: _Process) -> tuple[str, SitePath | Stray]:
    """Say where a path of an image leads; from below ``{prefix}`` none leaves it."""
    at = owner.file.found.place
    here = path
    if process.program is not None and f"{path}/".startswith(f"{_EXECUTABLE}/"):
        at = process.program
        here = macho_run_path.LOADER_PATH + path.removeprefix(_EXECUTABLE)
    place = macho_run_path.target(here, at or SitePath(""))
    if isinstance(place, Stray):
        return path, place
    if at is None or (at.startswith(f"{PREFIX}/") and not place.startswith(f"{PREFIX}/")):
        return path, Stray.OUTSIDE
    return path, place
