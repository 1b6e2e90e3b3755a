"""Small histories, made on the spot."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from extlib_repair import history
from extlib_repair.history import History, Library, Looked, Place, Wheel
from extlib_repair.model import Libc, Project, SitePath, System

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

PROJECT = Project("my-foo")
LIBRARY = "libfoo.so"
GLIBC = Place(System.LINUX, "x86_64", Libc.GLIBC)
MUSL = Place(System.LINUX, "aarch64", Libc.MUSL)
MACOS = Place(System.MACOS, "arm64")


def looked(
    version: str,
    exports: Mapping[str, AbstractSet[str]],
    place: Place = GLIBC,
    *,
    python: str = "py3",
    yanked: bool = False,
) -> Looked:
    """Return what a wheel says that holds these libraries."""
    filename = f"my_foo-{version}-{python}-none-{place.key}.whl"
    libraries = tuple(
        Library(
            name=name,
            directory=SitePath("my_foo/lib"),
            own_name=name,
            needed=("libm.so.6",),
            sha256=hashlib.sha256(f"{filename} {name}".encode()).hexdigest(),
            uuid="ab12" if place is GLIBC else "",
        )
        for name in sorted(exports)
    )
    return Looked(
        project=PROJECT,
        place=place,
        wheel=Wheel(
            version=version,
            filename=filename,
            platforms=("manylinux_2_17_x86_64",),
            purelib=yanked,
            libraries=libraries,
        ),
        exports={name: frozenset(names) for name, names in exports.items()},
        yanked=yanked,
    )


def simple(there: Mapping[str, AbstractSet[str]]) -> History:
    """Return the history of one library for glibc: version -> what it exports."""
    known = History(project=PROJECT)
    for version, names in there.items():
        known = history.add(known, looked(version, {LIBRARY: names}))
    return known
