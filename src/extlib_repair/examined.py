"""What was examined when a consumer was repaired: a JSON file in its ``.dist-info``. Pure.

With it ``check`` works where the provider is not, and a failure to load can be explained. It holds
the providers as they were seen, but of their exports only the ones that the consumer imports.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any, TypeVar

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from extlib_repair import layout
from extlib_repair.errors import BadWheelError
from extlib_repair.model import (
    Chosen,
    Format,
    Image,
    Kind,
    Policy,
    Project,
    Provider,
    ProviderLibrary,
    ProviderRequest,
    SitePath,
    frozen_mapping,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from extlib_repair.model import MacVersion

FILE = "extlib-repair.json"
"""The name in the consumer's ``.dist-info``."""

SCHEMA = 1

_Value = TypeVar("_Value")
_PATH = re.compile(r"(?!/)(?!(.*/)?\.{0,2}(/|\Z))[^\\]*")


def as_json(chosen: Iterable[Chosen], imported: Collection[str]) -> str:
    """Return the text for some providers and the symbols that a consumer imports."""
    data = {"schema": SCHEMA, "providers": [_described(choice, imported) for choice in chosen]}
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def parse(text: str) -> tuple[Chosen, ...]:
    """Return the providers that a text describes; raises :class:`BadWheelError`."""
    try:
        data = json.loads(text)
        schema = _typed(data, "schema", int)
        if schema == SCHEMA:
            return tuple(_chosen(row) for row in _typed(data, "providers", list))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadWheelError(
            f"{FILE} in the wheel is damaged: {type(error).__name__}: {error}",
            hint="repair the wheel again",
        ) from None
    raise BadWheelError(
        f"{FILE} has schema {schema}, and {SCHEMA} is the one that is understood",
        hint="a newer extlib-repair may understand it",
    )


def _described(choice: Chosen, imported: Collection[str]) -> dict[str, Any]:
    provider, request = choice.provider, choice.request
    policy = provider.policy
    return {
        "project": provider.project,
        "version": provider.version,
        "platforms": list(provider.platforms),
        "purelib": provider.purelib,
        "specifier": request.specifier,
        "built-against": request.built_against,
        "prefix": policy.symbol_prefix if policy else "",
        "suffix": policy.symbol_suffix if policy else "",
        "libraries": [
            _library(library, image, imported)
            for _, library in sorted(provider.libraries.items())
            for image in library.slices
        ],
    }


def _library(library: ProviderLibrary, image: Image, imported: Collection[str]) -> dict[str, Any]:
    """Return a row; a file of several slices has one for each, which share name and folder."""
    return {
        "name": library.name,
        "directory": library.directory,
        "soname": image.name,
        "format": image.format,
        "architecture": image.arch,
        "needed": list(image.needed),
        "versions": list(image.versions),
        "symbols": sorted(image.exports.intersection(imported)),
        **(_of_macho(image) if image.format is Format.MACHO else {}),
    }


def _of_macho(image: Image) -> dict[str, Any]:
    return {
        "reexported": sorted(image.reexported),
        "minimum-os": list(image.minimum_os or ()),
        "compatibility": list(image.compatibility),
    }


def _chosen(row: object) -> Chosen:
    libraries = _whole(map(_provider_library, _typed(row, "libraries", list)))
    project = _project(_typed(row, "project", str))
    policy = Policy(
        project=project,
        source=FILE,
        libraries=(),
        symbol_prefix=_typed(row, "prefix", str),
        symbol_suffix=_typed(row, "suffix", str),
    )
    provider = Provider(
        project=project,
        version=_version(_typed(row, "version", str)),
        platforms=_texts(row, "platforms"),
        libraries=frozen_mapping((library.name, library) for library in libraries),
        carried=frozenset(
            layout.basename(n) for li in libraries for image in li.slices for n in image.needed
        ),
        purelib=_typed(row, "purelib", bool),
        policy=policy if policy.symbol_prefix or policy.symbol_suffix else None,
        source="as examined when the wheel was repaired",
    )
    built_against = _typed(row, "built-against", str)
    request = ProviderRequest(
        project=project,
        specifier=_specifier(_typed(row, "specifier", str)),
        built_against=_version(built_against) if built_against else "",
    )
    return Chosen(provider=provider, request=request)


def _whole(rows: Iterable[ProviderLibrary]) -> tuple[ProviderLibrary, ...]:
    """Put the slices of each file together, in the order of their rows."""
    found: dict[SitePath, ProviderLibrary] = {}
    for row in rows:
        first = found.setdefault(row.place, row)
        if first is not row:
            found[row.place] = dataclasses.replace(first, more=(*first.more, row.image))
    return tuple(found.values())


def _provider_library(row: object) -> ProviderLibrary:
    kind = Format(_typed(row, "format", str))
    image = Image(
        format=kind,
        kind=Kind.SHARED_LIBRARY,
        arch=_typed(row, "architecture", str),
        name=_typed(row, "soname", str),
        needed=_texts(row, "needed"),
        exports=frozenset(_texts(row, "symbols")),
        versions=_texts(row, "versions"),
    )
    if kind is Format.MACHO:
        image = dataclasses.replace(
            image,
            reexported=frozenset(_texts(row, "reexported")),
            minimum_os=_mac_version(row, "minimum-os") if _typed(row, "minimum-os", list) else None,
            compatibility=_mac_version(row, "compatibility"),
        )
    name, directory = _typed(row, "name", str), _typed(row, "directory", str)
    if "/" in name or not _PATH.fullmatch(name) or (directory and not _PATH.fullmatch(directory)):
        raise ValueError(f"{directory!r} and {name!r} are no folder and no file in it")
    return ProviderLibrary(name=name, directory=SitePath(directory), image=image)


def _typed(row: object, key: str, kind: type[_Value]) -> _Value:
    """Return a value of a table; true and false are no numbers."""
    if not isinstance(row, dict):
        raise TypeError(f"{key!r} is looked for in what is no table")
    value = row[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{key!r} is a {type(value).__name__}")
    return value


def _texts(row: object, key: str) -> tuple[str, ...]:
    values = _typed(row, key, list)
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"{key!r} holds what is no text")
    return tuple(values)


def _mac_version(row: object, key: str) -> MacVersion:
    major, minor, patch = _typed(row, key, list)
    if not all(type(number) is int for number in (major, minor, patch)):
        raise TypeError(f"{key!r} holds what is no number")
    return major, minor, patch


def _project(name: str) -> Project:
    return Project(canonicalize_name(name, validate=True))


def _version(text: str) -> str:
    Version(text)
    return text


def _specifier(text: str) -> str:
    """Return a specifier all of whose versions can be compared."""
    for specifier in SpecifierSet(text):
        Version(specifier.version.removesuffix(".*"))
    return text
