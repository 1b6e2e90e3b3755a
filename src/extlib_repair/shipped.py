"""Reads what is shipped as data: names of libraries and their symbols, providers' histories."""

from __future__ import annotations

import functools
import re
import tomllib
from importlib import resources
from typing import TYPE_CHECKING

from extlib_repair import history_text, policy
from extlib_repair.model import Family, Shipped, System, frozen_mapping

if TYPE_CHECKING:
    from extlib_repair.history import History
    from extlib_repair.model import Project


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


@functools.cache
def history(project: Project) -> History | None:
    """Return the history that is shipped for a provider, or None; made by ``providers learn``."""
    file = resources.files("extlib_repair") / "data" / "histories" / f"{project}.json.xz"
    return history_text.unpack(file.read_bytes(), "built in") if file.is_file() else None


def _lines(name: str) -> frozenset[str]:
    """Return the lines of a data file that are neither empty nor comments."""
    lines = _text(name).splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _text(name: str) -> str:
    return (resources.files("extlib_repair") / "data" / name).read_text(encoding="utf-8")
