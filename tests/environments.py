"""Small environments, made on the spot: consumers, providers, and the files that are there."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from facts import DGEMM64, LIB64, OPENBLAS64, chosen, elf

from extlib_repair import diagnosing, examined
from extlib_repair.layout import basename
from extlib_repair.model import (
    Chosen,
    Distribution,
    Environment,
    Image,
    InstalledFile,
    Project,
    SitePath,
    frozen_mapping,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from extlib_repair.model import Finding, Provider

HOME, OTHER = "/venv/site-packages", "/other"
RUN_PATH = "$ORIGIN/../scipy_openblas64/lib"
USER = elf([LIB64, "libc.so.6"], [RUN_PATH], [DGEMM64])


@dataclasses.dataclass(frozen=True)
class There:
    """A distribution with the binaries that a loader can find."""

    distribution: Distribution
    files: tuple[InstalledFile, ...] = ()


def file(
    path: str,
    *images: Image,
    of: str = "",
    version: str = "1.0",
    size: int = 1_000_000,
    sha256: str = "",
    damage: str = "",
) -> InstalledFile:
    """Return a file; another path is another node."""
    return InstalledFile(
        path=path,
        project=of,
        version=version if of else "",
        size=size,
        node=(1, hash(path)),
        sha256=sha256,
        images=images,
        damage=damage,
    )


def consumer(
    *choices: Provider | Chosen,
    images: Mapping[str, Image | Sequence[Image]] | None = None,
    folder: str = HOME,
    requires: Sequence[str] = ("scipy-openblas64>=0.3.30",),
    platforms: Sequence[str] = ("manylinux_2_28_x86_64",),
    loads: Iterable[str] = (),
    text: str = "",
    project: str = "demo",
) -> There:
    """Return a consumer as a repair leaves it."""
    held = {"demo/_e.so": USER} if images is None else images
    slices = {p: (i,) if isinstance(i, Image) else tuple(i) for p, i in held.items()}
    providers = [c if isinstance(c, Chosen) else chosen(c) for c in choices or (OPENBLAS64,)]
    imported = {i.key for images in slices.values() for image in images for i in image.imports}
    there = Distribution(
        folder=folder,
        project=Project(project),
        version="1.0",
        requirements=tuple(requires),
        platforms=tuple(platforms),
        files=frozenset(map(SitePath, slices)),
        examined=text or examined.as_json(providers, imported),
        images=frozen_mapping((SitePath(p), i) for p, i in slices.items()),
        loads=frozenset(loads),
    )
    return There(there)


def provided(
    one: Provider,
    *,
    folder: str = HOME,
    version: str = "",
    library: Image | None = None,
    damage: str = "",
    gone: bool = False,
    recorded: bool = True,
    platforms: Sequence[str] | None = None,
) -> There:
    """Return an installed provider; all of its files hold ``library``, if that is given."""
    stated = version or one.version
    there = Distribution(
        folder=folder,
        project=one.project,
        version=stated,
        platforms=one.platforms if platforms is None else tuple(platforms),
        files=frozenset(li.place for li in one.libraries.values()) if recorded else frozenset(),
    )
    files = [
        file(
            f"{folder}/{li.place}",
            *([] if damage else [library] if library else li.slices),
            of=one.project,
            version=stated,
            damage=damage,
        )
        for li in one.libraries.values()
        if not gone
    ]
    return There(there, tuple(files))


def environment(
    *there: There,
    folders: Sequence[str] = (HOME, OTHER),
    homes: Mapping[str, str] | None = None,
    is_folder: bool = False,
    cores: int = 4,
) -> Environment:
    files = [file for one in there for file in one.files]
    return Environment(
        name="/venv/bin/python",
        installer="python -m pip install" if is_folder else "/venv/bin/python -m pip install",
        homes=frozen_mapping(({HOME: ""} if homes is None else homes).items()),
        is_folder=is_folder,
        folders=tuple(folders),
        distributions=tuple(one.distribution for one in there),
        libraries=tuple(files),
        cores=cores,
    )


def judged(where: Environment, *more: InstalledFile) -> tuple[Finding, ...]:
    """Return what is wrong; only the files that were asked for are looked at."""
    known = {one.path: one for one in (*where.libraries, *more)}
    return diagnosing.findings(
        where, {path: known[path] for path in diagnosing.asked(where) if path in known}
    )


def of(*there: There, more: Iterable[InstalledFile] = ()) -> tuple[Finding, ...]:
    return judged(environment(*there), *more)


def openblas(path: str, project: str, *marks: str, size: int, uuid: str = "") -> InstalledFile:
    """Return a copy of OpenBLAS."""
    image = dataclasses.replace(elf(exports=marks), uuid=uuid)
    return file(f"{HOME}/{path}", image, of=project, size=size, sha256=basename(path) * 3)


NUMPY = openblas(
    "numpy.libs/libscipy_openblas64_-4b78795a.so",
    "numpy",
    "scipy_openblas_get_config64_",
    size=24_000_000,
)
SCIPY = openblas(
    "scipy.libs/libscipy_openblas-5f890258.so",
    "scipy",
    "scipy_openblas_get_config",
    size=23_000_000,
)
