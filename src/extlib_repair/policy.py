"""TOML -> Policy, with messages that name the file and the key.

The schema (``docs/policies.md`` describes it for people)::

    schema = 1
    project = "scipy-openblas64"      # the provider's distribution

    [symbols]                         # optional: how its symbols are spelled
    prefix = "scipy_"
    suffix = "64_"

    [[libraries]]                     # one or more
    system = "linux"                  # linux, macos, windows, android
    architectures = ["x86_64"]        # optional, as in platform tags; default: all
    directory = "scipy_openblas64/lib"  # below site-packages
    name = "libscipy_openblas64_.so"  # the file's name, which is the needed name
"""

from __future__ import annotations

import difflib
import re
import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Any

from packaging.utils import InvalidName, canonicalize_name

from extlib_repair import tags
from extlib_repair.errors import PolicyError
from extlib_repair.model import Policy, PolicyLibrary, Project, SitePath, System

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

SCHEMA = 1

OWN_FILE = "extlib-repair.toml"
"""The name under which a provider carries its own policy in its ``.dist-info``."""

_SYSTEMS = (System.LINUX, System.MACOS, System.WINDOWS, System.ANDROID)
_TOP = {"schema": int, "project": str, "symbols": dict, "libraries": list}
_SYMBOLS = {"prefix": str, "suffix": str}
_LIBRARY = {"system": str, "architectures": list, "directory": str, "name": str}
_PART = re.compile(r"(?!\.{1,2}(/|$))[^/\\:]+")
_PATH = re.compile(rf"({_PART.pattern})(/{_PART.pattern})*/?")
_TYPE_NAMES = {int: "a number", str: "a string", dict: "a table", list: "a list"}


def parse(text: str, source: str) -> Policy:
    """Return the policy that a TOML text states; raises :class:`PolicyError`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{source} is not TOML: {error}") from None
    schema = data.get("schema")
    if isinstance(schema, int) and schema != SCHEMA:
        raise PolicyError(
            f"{source}: schema is {schema}, and {SCHEMA} is the one that is understood",
            hint="a newer extlib-repair may understand it",
        )
    _check(data, _TOP, source, required=("schema", "project", "libraries"))
    if not data["libraries"]:
        raise PolicyError(f"{source}: libraries is empty, and a policy states one or more")
    symbols = data.get("symbols", {})
    _check(symbols, _SYMBOLS, f"{source}: symbols")
    return Policy(
        project=_project(data["project"], source),
        source=source,
        libraries=tuple(
            _library(row, f"{source}: libraries[{index}]")
            for index, row in enumerate(data["libraries"])
        ),
        symbol_prefix=symbols.get("prefix", ""),
        symbol_suffix=symbols.get("suffix", ""),
    )


def load(path: Path) -> Policy:
    """Read a policy file; raises :class:`PolicyError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PolicyError(
            f"cannot read the policy {path}: {why}", hint="--policy takes the path of a TOML file"
        ) from None
    return parse(text, str(path))


def built_in(project: Project) -> Policy | None:
    """Return the policy that is shipped for a project, or None."""
    file = _shipped() / f"{project}.toml"
    return parse(file.read_text(encoding="utf-8"), "built in") if file.is_file() else None


def built_in_projects() -> tuple[Project, ...]:
    """Return the names of the projects that have a shipped policy."""
    names = (file.name for file in _shipped().iterdir())
    return tuple(sorted(Project(n.removesuffix(".toml")) for n in names if n.endswith(".toml")))


def all_built_in() -> tuple[Policy, ...]:
    """Return all shipped policies."""
    found = (built_in(project) for project in built_in_projects())
    return tuple(policy for policy in found if policy is not None)


def _shipped() -> Traversable:
    return resources.files("extlib_repair") / "policies"


def libraries_for(policy: Policy, system: System, arch: str) -> tuple[PolicyLibrary, ...]:
    """Return the libraries that a policy states for a platform."""
    return tuple(
        library
        for library in policy.libraries
        if library.system is system and _is_for(library, arch)
    )


def _is_for(library: PolicyLibrary, arch: str) -> bool:
    """Whether a library is stated for an architecture; for universal2, by both of its machines."""
    stated = library.architectures
    return not stated or arch in stated or set(tags.machines(arch)) <= set(stated)


def _project(name: str, source: str) -> Project:
    try:
        return Project(canonicalize_name(name, validate=True))
    except InvalidName:
        raise PolicyError(f"{source}: project {name!r} is not the name of a project") from None


def _library(row: object, where: str) -> PolicyLibrary:
    if not isinstance(row, dict):
        raise PolicyError(f"{where} must be a table")
    _check(row, _LIBRARY, where, required=("system", "directory", "name"))
    if row["system"] not in tuple(_SYSTEMS):
        raise PolicyError(f"{where}: system {row['system']!r} must be one of {', '.join(_SYSTEMS)}")
    if row["directory"] and not _PATH.fullmatch(row["directory"]):
        raise PolicyError(
            f"{where}: directory {row['directory']!r} must be a path below site-packages, with /"
        )
    if not _PART.fullmatch(row["name"]):
        raise PolicyError(f"{where}: name {row['name']!r} must be the name of a file, without /")
    architectures = row.get("architectures", [])
    if not all(isinstance(arch, str) for arch in architectures):
        raise PolicyError(f"{where}: architectures must be strings")
    return PolicyLibrary(
        name=row["name"],
        directory=SitePath(row["directory"].removesuffix("/")),
        system=System(row["system"]),
        architectures=tuple(architectures),
    )


def _check(
    table: Mapping[str, Any],
    known: Mapping[str, type],
    where: str,
    required: Sequence[str] = (),
) -> None:
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise PolicyError(
                f"{where}: unknown key {key!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}",
            )
        if not isinstance(value, known[key]) or isinstance(value, bool):
            raise PolicyError(f"{where}: {key} must be {_TYPE_NAMES[known[key]]}")
    for key in required:
        if key not in table:
            raise PolicyError(f"{where}: the key {key!r} is missing")
