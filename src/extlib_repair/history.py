"""What each release of a provider supplied, on every platform: the values, and questions to them.

Only what was looked at is in a history: a symbol's range ends at releases that were read, and what
lies between two of them was not. Symbols vanish and return, so that one has a list of ranges
(Debian's symbols files, deb-symbols(5), know one version per symbol). Exports differ between
platforms of one release, so that everything is kept by :class:`Place`.

:mod:`extlib_repair.history_text` writes histories down.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import Version

from extlib_repair import tags
from extlib_repair.model import Libc, System, frozen_mapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from extlib_repair.model import Project, SitePath


class Place(NamedTuple):
    """A platform family: what wheels are for, apart from the oldest version of the system."""

    system: System
    arch: str
    """As in platform tags; never ``universal2``, whose wheels are there for both machines."""

    libc: Libc | None = None

    @property
    def key(self) -> str:
        """The spelling in files and messages."""
        return "-".join(part for part in (self.system, self.libc, self.arch) if part)


class Range(NamedTuple):
    """Releases that follow each other among those that were looked at; both ends belong to it."""

    first: str
    last: str


Ranges = tuple[Range, ...]
"""In order, with a release between every two that does not belong to them."""

Exports = dict[Ranges, frozenset[str]]
"""The symbols that are there in exactly these ranges."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A library of one wheel."""

    name: str
    directory: SitePath
    own_name: str = ""
    """DT_SONAME, the install name, or the name in PE's export directory."""

    needed: tuple[str, ...] = ()
    sha256: str
    """Of the file as the wheel has it: repair tools put its beginning into the names of copies."""

    uuid: str = ""
    """ELF's build id or LC_UUID, which survives patching; empty where there is none."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel that was looked at."""

    version: str
    filename: str
    platforms: tuple[str, ...]
    purelib: bool = False
    libraries: tuple[Library, ...] = ()
    """Sorted by their names."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What one wheel says of one place."""

    project: Project
    place: Place
    wheel: Wheel
    exports: Mapping[str, frozenset[str]]
    """By the name of the library."""

    yanked: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Chronicle:
    """All that is known of one place."""

    wheels: tuple[Wheel, ...] = ()
    """By version and file name; one release can have several."""

    absent: frozenset[str] = frozenset()
    """Releases that have no wheel for this place."""

    exports: Mapping[str, Mapping[Ranges, frozenset[str]]] = dataclasses.field(default_factory=dict)
    """By the name of the library."""

    @property
    def releases(self) -> tuple[str, ...]:
        """The releases that were looked at, oldest first."""
        return in_order(wheel.version for wheel in self.wheels)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that is known of the releases of a provider."""

    project: Project
    yanked: frozenset[str] = frozenset()
    places: Mapping[Place, Chronicle] = dataclasses.field(default_factory=dict)

    def at(self, place: Place) -> Chronicle:
        """Return what is known of a place; an empty chronicle where nothing is."""
        return self.places.get(place, Chronicle())

    @property
    def releases(self) -> tuple[str, ...]:
        """All releases that were looked at, for any place, oldest first."""
        return in_order(v for chronicle in self.places.values() for v in chronicle.releases)

    def knows(self, version: str, place: Place) -> bool:
        """Whether a release was looked at for a place, or is known to have no wheel for it."""
        chronicle = self.at(place)
        return version in chronicle.releases or version in chronicle.absent


def in_order(versions: Iterable[str]) -> tuple[str, ...]:
    """Return versions without repetition in the order of PEP 440."""
    return tuple(sorted(set(versions), key=Version))


def places_of(platforms: Sequence[str], libc: Libc) -> tuple[Place, ...]:
    """Return the places that a wheel is for; ``libc`` is for tags that do not name one."""
    found = {
        Place(own.system, machine, (own.libc or libc) if own.system is System.LINUX else None)
        for own in map(tags.parse, platforms)
        if own.arch
        for machine in tags.machines(own.arch)
    }
    return tuple(sorted(found, key=lambda place: place.key))


def add(history: History, looked: Looked) -> History:
    """Return a history that also knows a wheel.

    The order of adding does not matter. A wheel that is there already is not added again. Of
    several wheels of one release for one place (one for each Python, say) only the symbols count
    that all of them export which hold the library: any of them may be what gets installed.
    """
    old = history.at(looked.place)
    yanked = history.yanked | ({looked.wheel.version} if looked.yanked else set())
    if looked.wheel.filename not in {wheel.filename for wheel in old.wheels}:
        old = _with_wheel(old, looked)
    return dataclasses.replace(_with_place(history, looked.place, old), yanked=frozenset(yanked))


def add_absent(history: History, place: Place, versions: Iterable[str]) -> History:
    """Return a history that also knows releases without a wheel for a place."""
    old = history.at(place)
    absent = old.absent | (set(versions) - set(old.releases))
    return _with_place(history, place, dataclasses.replace(old, absent=absent))


def exports_of(history: History, version: str, place: Place, library: str) -> frozenset[str] | None:
    """Return what a library exported; None when it was not looked at, or not there."""
    chronicle = history.at(place)
    if not _holders(chronicle, version, library):
        return None
    return _exports(chronicle, version, library)


def runs_with(history: History, place: Place, symbols: Iterable[str]) -> Ranges:
    """Return the ranges of releases in which libraries of the provider export all symbols.

    Nothing is asked of one library: a release may spread its symbols over several.
    """
    chronicle, wanted = history.at(place), frozenset(symbols)
    rank = _ranks(chronicle.releases)
    there: dict[str, set[int]] = {symbol: set() for symbol in wanted}
    for groups in chronicle.exports.values():
        for ranges, names in groups.items():
            for symbol in names & wanted:
                there[symbol] |= _covered(ranges, rank)
    everywhere = set(rank.values()).intersection(*there.values())
    return _ranges(everywhere, chronicle.releases)


def first_with(history: History, place: Place, symbols: Iterable[str]) -> str | None:
    """Return the first release with all symbols, or None when no release has them.

    They are there from this release on up to what :func:`removed_after` says of it.
    """
    runs = runs_with(history, place, symbols)
    return runs[0].first if runs else None


def removed_after(
    history: History, place: Place, symbols: Iterable[str], version: str
) -> str | None:
    """Return the first release behind ``version`` that lacks one of the symbols, or None."""
    chronicle = history.at(place)
    rank = _ranks(chronicle.releases)
    there = _covered(runs_with(history, place, symbols), rank)
    later = (v for v in chronicle.releases if Version(v) > Version(version))
    return next((v for v in later if rank[v] not in there), None)


def _with_place(history: History, place: Place, chronicle: Chronicle) -> History:
    places = sorted({**history.places, place: chronicle}.items(), key=lambda item: item[0].key)
    return dataclasses.replace(history, places=frozen_mapping(places))


def _with_wheel(old: Chronicle, looked: Looked) -> Chronicle:
    version = looked.wheel.version
    wheels = sorted([*old.wheels, looked.wheel], key=lambda w: (Version(w.version), w.filename))
    new = dataclasses.replace(old, wheels=tuple(wheels), absent=old.absent - {version})
    releases = new.releases
    exports = {}
    for library in sorted({*old.exports, *looked.exports}):
        there = _common(old, looked, library)
        exports[library] = frozen_mapping(
            _moved(old.exports.get(library, {}), version, there, releases).items()
        )
    return dataclasses.replace(new, exports=frozen_mapping(exports.items()))


def _common(old: Chronicle, looked: Looked, library: str) -> frozenset[str]:
    """Return what all wheels of a release that hold a library export of it."""
    version = looked.wheel.version
    own = looked.exports.get(library)
    if not _holders(old, version, library):
        return own or frozenset()
    before = _exports(old, version, library)
    return before if own is None else before & own


def _holders(chronicle: Chronicle, version: str, library: str) -> list[Wheel]:
    return [
        wheel
        for wheel in chronicle.wheels
        if wheel.version == version and any(lib.name == library for lib in wheel.libraries)
    ]


def _exports(chronicle: Chronicle, version: str, library: str) -> frozenset[str]:
    rank = _ranks(chronicle.releases)
    groups = chronicle.exports[library]
    found = (names for ranges, names in groups.items() if rank[version] in _covered(ranges, rank))
    return frozenset[str]().union(*found)


def _moved(
    groups: Mapping[Ranges, frozenset[str]],
    version: str,
    there: frozenset[str],
    releases: Sequence[str],
) -> Exports:
    """Return groups in which a release has these symbols and no others."""
    rank = _ranks(releases)
    known = frozenset[str]().union(*groups.values())
    moved: Exports = {}
    for ranges, names in [*groups.items(), ((), there - known)]:
        without = _covered(ranges, rank) - {rank[version]}
        for indices, part in (
            (without | {rank[version]}, names & there),
            (without, names - there),
        ):
            if part and indices:
                key = _ranges(indices, releases)
                moved[key] = moved.get(key, frozenset()) | part
    return dict(sorted(moved.items(), key=lambda item: _position(item[0], rank)))


def _ranks(releases: Sequence[str]) -> dict[str, int]:
    return {version: index for index, version in enumerate(releases)}


def _position(ranges: Ranges, rank: Mapping[str, int]) -> list[tuple[int, int]]:
    return [(rank[first], rank[last]) for first, last in ranges]


def _covered(ranges: Ranges, rank: Mapping[str, int]) -> set[int]:
    """Return the places in the order of releases that ranges cover."""
    return {i for first, last in ranges for i in range(rank[first], rank[last] + 1)}


def _ranges(indices: Iterable[int], releases: Sequence[str]) -> Ranges:
    """Return the ranges that cover these places in the order of releases, and no others."""
    return tuple(Range(releases[run[0]], releases[run[-1]]) for run in _runs(sorted(indices)))


def _runs(indices: Sequence[int]) -> Iterator[list[int]]:
    """Yield the runs of numbers that follow each other."""
    for _, run in itertools.groupby(enumerate(indices), lambda pair: pair[1] - pair[0]):
        yield [index for _, index in run]
