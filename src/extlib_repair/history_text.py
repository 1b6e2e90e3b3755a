"""A history as text: JSON that is always written alike, and a strict reader of it.

::

    {"schema": 1, "project": "...", "yanked": ["1.0"],
     "symbols": [["cblas_dgemm", "..."], ["..."]],
     "places": {"linux-glibc-x86_64": {
         "absent": ["0.9"],
         "wheels": [{"version": "1.0", "filename": "...", "platforms": [...], "purelib": false,
                     "libraries": [{"name": "...", "directory": "...", "own_name": "...",
                                    "needed": [...], "sha256": "...", "uuid": "..."}]}],
         "exports": {"libx.so": [[[["1.0", "1.2"], ["1.4", null]], [0, 5]]]}}}}

Symbols that always come and go together, in every library and at every place, stand together, and
exports count these groups from 0. A range that ends with null goes on to the newest release that
was looked at for the place.
"""

from __future__ import annotations

import itertools
import json
import lzma
import re
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from extlib_repair.errors import HistoryError
from extlib_repair.history import Chronicle, History, Library, Place, Range, Wheel, in_order
from extlib_repair.model import Libc, Project, SitePath, System, frozen_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from extlib_repair.history import Ranges

SCHEMA = 1
_MOST_TEXT = 1 << 28
"""More than any history has; damaged or hostile data must not fill the memory."""

_TOP = {"schema": int, "project": str, "yanked": list, "symbols": list, "places": dict}
_PLACE = {"absent": list, "wheels": list, "exports": dict}
_WHEEL = {"version": str, "filename": str, "platforms": list, "purelib": bool, "libraries": list}
_LIBRARY = {
    "name": str,
    "directory": str,
    "own_name": str,
    "needed": list,
    "sha256": str,
    "uuid": str,
}
_TYPE_NAMES = {
    int: "a number",
    str: "a string",
    dict: "an object",
    list: "a list",
    bool: "true or false",
}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UUID = re.compile(r"([0-9a-f]{2})*")


def pack(history: History) -> bytes:
    """Return a history as the content of a file, compressed with xz."""
    return lzma.compress(dump(history).encode(), preset=9 | lzma.PRESET_EXTREME)


def unpack(data: bytes, source: str) -> History:
    """Return the history in a file; raises :class:`HistoryError`, which names ``source``."""
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        text = decompressor.decompress(data, max_length=_MOST_TEXT)
    except lzma.LZMAError as error:
        raise _error(f"{source} is not an xz file: {error}") from None
    if not decompressor.eof or decompressor.unused_data:
        raise _error(f"{source}: the xz file does not end where it should")
    try:
        return parse(text.decode(), source)
    except UnicodeDecodeError:
        raise _error(f"{source}: the text is not UTF-8") from None


def dump(history: History) -> str:
    """Return a history as text."""
    groups = _groups(history)
    numbers = {group[0]: number for number, group in enumerate(groups)}
    data = {
        "schema": SCHEMA,
        "project": history.project,
        "yanked": in_order(history.yanked),
        "symbols": groups,
        "places": {place.key: _place_data(c, numbers) for place, c in history.places.items()},
    }
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"


def parse(text: str, source: str) -> History:
    """Return the history that a text states; raises :class:`HistoryError`."""
    try:
        stated = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise _error(f"{source} is not JSON: {error}") from None
    if isinstance(stated, dict) and isinstance(schema := stated.get("schema"), int):
        _demand(
            schema == SCHEMA,
            f"{source}: schema is {schema}, and {SCHEMA} is the one that is understood",
        )
    data = _checked(stated, _TOP, source)
    groups = _symbols(data["symbols"], f"{source}: symbols")
    places = {
        _place(key, f"{source}: places"): _chronicle(value, groups, f"{source}: places.{key}")
        for key, value in data["places"].items()
    }
    _demand(
        data["project"] == canonicalize_name(data["project"]),
        f"{source}: project {data['project']!r} is not the canonical name of a project",
    )
    return History(
        project=Project(data["project"]),
        yanked=frozenset(_versions(data["yanked"], f"{source}: yanked")),
        places=frozen_mapping(sorted(places.items(), key=lambda item: item[0].key)),
    )


def _groups(history: History) -> list[list[str]]:
    """Return the symbols that always come and go together, in their order."""
    seen: dict[str, list[tuple[Place, str, Ranges]]] = {}
    for place, chronicle in history.places.items():
        for library, exports in chronicle.exports.items():
            for ranges, names in exports.items():
                for name in names:
                    seen.setdefault(name, []).append((place, library, ranges))
    groups: dict[tuple[tuple[Place, str, Ranges], ...], list[str]] = {}
    for name in sorted(seen):
        groups.setdefault(tuple(seen[name]), []).append(name)
    return list(groups.values())


def _place_data(chronicle: Chronicle, numbers: Mapping[str, int]) -> dict[str, Any]:
    newest = chronicle.releases[-1] if chronicle.wheels else ""
    return {
        "absent": in_order(chronicle.absent),
        "wheels": [_wheel_data(wheel) for wheel in chronicle.wheels],
        "exports": {
            library: [
                [_ends(ranges, newest), sorted(numbers[n] for n in names if n in numbers)]
                for ranges, names in chronicle.exports[library].items()
            ]
            for library in sorted(chronicle.exports)
        },
    }


def _ends(ranges: Ranges, newest: str) -> list[list[str | None]]:
    return [[first, None if last == newest else last] for first, last in ranges]


def _wheel_data(wheel: Wheel) -> dict[str, Any]:
    return {
        "version": wheel.version,
        "filename": wheel.filename,
        "platforms": wheel.platforms,
        "purelib": wheel.purelib,
        "libraries": [
            {key: getattr(library, key) for key in _LIBRARY} for library in wheel.libraries
        ],
    }


def _place(key: str, where: str) -> Place:
    for system in System:
        for libc in (*Libc, None):
            start = f"{system}-{libc}-" if libc else f"{system}-"
            if (libc is None) is (system is not System.LINUX) and key.startswith(start):
                return Place(system, key.removeprefix(start), libc)
    raise _error(f"{where}: {key!r} is not the name of a platform family")


def _symbols(data: object, where: str) -> tuple[frozenset[str], ...]:
    groups = [_strings(row, f"{where}[{index}]") for index, row in enumerate(_list(data, where))]
    names = [name for group in groups for name in group]
    _demand(all(groups), f"{where}: a group is empty")
    _demand(len(set(names)) == len(names), f"{where}: names a symbol twice")
    return tuple(map(frozenset, groups))


def _chronicle(stated: object, groups: Sequence[frozenset[str]], where: str) -> Chronicle:
    data = _checked(stated, _PLACE, where)
    wheels = tuple(_wheel(row, f"{where}.wheels[{i}]") for i, row in enumerate(data["wheels"]))
    order = [(Version(wheel.version), wheel.filename) for wheel in wheels]
    _demand(order == sorted(set(order)), f"{where}: the wheels are not in order")
    absent = _versions(data["absent"], f"{where}.absent")
    releases = in_order(wheel.version for wheel in wheels)
    _demand(
        not set(absent) & set(releases), f"{where}.absent: names a release that has a wheel there"
    )
    held = {library.name for wheel in wheels for library in wheel.libraries}
    _demand(held == set(data["exports"]), f"{where}.exports: not the libraries of the wheels")
    return Chronicle(
        wheels=wheels,
        absent=frozenset(absent),
        exports=frozen_mapping(
            (name, _exports(data["exports"][name], releases, groups, f"{where}.exports.{name}"))
            for name in sorted(held)
        ),
    )


def _wheel(stated: object, where: str) -> Wheel:
    data = _checked(stated, _WHEEL, where)
    libraries = [
        _library(row, f"{where}.libraries[{i}]") for i, row in enumerate(data["libraries"])
    ]
    names = [library.name for library in libraries]
    _demand(names == sorted(set(names)), f"{where}: the libraries are not in order")
    return Wheel(
        version=_versions([data["version"]], f"{where}.version")[0],
        filename=data["filename"],
        platforms=_strings(data["platforms"], f"{where}.platforms"),
        purelib=data["purelib"],
        libraries=tuple(libraries),
    )


def _library(stated: object, where: str) -> Library:
    data = _checked(stated, _LIBRARY, where)
    _demand(bool(_SHA256.fullmatch(data["sha256"])), f"{where}.sha256: not a SHA-256")
    _demand(bool(_UUID.fullmatch(data["uuid"])), f"{where}.uuid: not hexadecimal")
    return Library(
        name=data["name"],
        directory=SitePath(data["directory"]),
        own_name=data["own_name"],
        needed=_strings(data["needed"], f"{where}.needed"),
        sha256=data["sha256"],
        uuid=data["uuid"],
    )


def _exports(
    data: object, releases: Sequence[str], groups: Sequence[frozenset[str]], where: str
) -> Mapping[Ranges, frozenset[str]]:
    found: dict[Ranges, frozenset[str]] = {}
    seen: set[int] = set()
    for index, row in enumerate(_list(data, where)):
        here = f"{where}[{index}]"
        _demand(isinstance(row, list) and len(row) == len(Range._fields), f"{here}: must be a pair")
        ranges, numbers = tuple(_ranges(row[0], releases, here)), _list(row[1], here)
        _demand(numbers and ranges not in found, f"{here}: is empty, or there twice")
        for number in numbers:
            _demand(
                type(number) is int and 0 <= number < len(groups),
                f"{here}: {number!r} is not the number of a group",
            )
            _demand(number not in seen, f"{here}: the group {number} is there twice")
            seen.add(number)
        found[ranges] = frozenset[str]().union(*(groups[number] for number in numbers))
    return frozen_mapping(found.items())


def _ranges(data: object, releases: Sequence[str], where: str) -> Iterator[Range]:
    """Yield ranges whose ends were looked at, in order, with a gap between every two."""
    _demand(data and releases, f"{where}: has no ranges")
    rank = {version: index for index, version in enumerate(releases)}
    before = -len(Range._fields)
    for row in _list(data, where):
        _demand(isinstance(row, list) and len(row) == len(Range._fields), f"{where}: not a range")
        first, last = row[0], releases[-1] if row[1] is None else row[1]
        for end in (first, last):
            _demand(
                isinstance(end, str) and end in rank, f"{where}: {end!r} was not looked at there"
            )
        _demand(before + 1 < rank[first] <= rank[last], f"{where}: the ranges are not in order")
        before = rank[last]
        yield Range(first, last)


def _versions(data: object, where: str) -> tuple[str, ...]:
    found = _strings(data, where)
    for version in found:
        try:
            normal = str(Version(version))
        except InvalidVersion:
            normal = ""
        _demand(version == normal, f"{where}: {version!r} is not a version in its normal form")
    _demand(found == in_order(found), f"{where}: the versions are not in order")
    return found


def _strings(data: object, where: str) -> tuple[str, ...]:
    found = _list(data, where)
    _demand(all(isinstance(item, str) for item in found), f"{where}: must be a list of strings")
    return tuple(found)


def _list(data: object, where: str) -> list[Any]:
    if not isinstance(data, list):
        raise _error(f"{where}: must be a list")
    return data


def _checked(data: object, keys: Mapping[str, type], where: str) -> Mapping[str, Any]:
    """Refuse what is not an object with exactly these keys, of these types."""
    if not isinstance(data, dict):
        raise _error(f"{where}: must be an object")
    for key in itertools.chain(data, keys):
        _demand(key in keys, f"{where}: unknown key {key!r}")
        _demand(key in data, f"{where}: the key {key!r} is missing")
        _demand(type(data[key]) is keys[key], f"{where}: {key} must be {_TYPE_NAMES[keys[key]]}")
    return data


def _demand(holds: object, message: str) -> None:
    if not holds:
        raise _error(message)


def _error(message: str) -> HistoryError:
    return HistoryError(message, hint="make it anew: extlib-repair providers learn")
