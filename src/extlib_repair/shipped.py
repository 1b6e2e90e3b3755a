"""Reads the names that are shipped as data: of the C libraries, the systems, the providers."""

from __future__ import annotations

import functools
import re
import tomllib
from importlib import resources

from extlib_repair import policy
from extlib_repair.model import Family, Shipped, System, frozen_mapping


@functools.cache
def names() -> Shipped:
    """Return everything that is shipped."""
    return Shipped(
        c_names=_lines("c-library-names.txt"),
        system_libraries=_lines("system-libraries.txt"),
        windows_libraries=_lines("windows-libraries.txt"),
        suppliers=frozen_mapping(
            (library.name, rules.project)
            for rules in policy.all_built_in()
            for library in rules.libraries
            if library.system in (System.LINUX, System.MACOS, System.WINDOWS)
        ),
    )


@functools.cache
def families() -> tuple[Family, ...]:
    """Return the families of libraries that are known; the first that matches counts."""
    return tuple(
        Family(
            name=row["name"],
            files=re.compile("|".join(f"(?:{pattern})" for pattern in row["files"])),
            symbols=frozenset(row.get("symbols", ())),
            threads=row.get("threads", False),
        )
        for row in tomllib.loads(_text("families.toml"))["families"]
    )


def _lines(name: str) -> frozenset[str]:
    """Return the lines of a data file that are neither empty nor comments."""
    lines = _text(name).splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _text(name: str) -> str:
    return (resources.files("extlib_repair") / "data" / name).read_text(encoding="utf-8")
