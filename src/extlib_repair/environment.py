"""What is installed for an interpreter, or in a folder -> Environment. Reads, and changes nothing.

Distributions are known by their ``.dist-info`` folders, their files by RECORD
(https://packaging.python.org/en/latest/specifications/recording-installed-packages/). Python files
are not looked at, except where a loader can stand; extension modules only in consumers that were
repaired.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from extlib_repair import binary, examined, layout, loader, metadata, process
from extlib_repair.errors import BadBinaryError, BadWheelError, UsageError
from extlib_repair.model import (
    Distribution,
    Environment,
    InstalledFile,
    Kind,
    Project,
    SitePath,
    frozen_mapping,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from extlib_repair.metadata import RecordRow
    from extlib_repair.model import Image

_ASK = """
import json, sys
try:
    from importlib.util import find_spec
    pip = find_spec("pip") is not None
except Exception:
    pip = True
try:
    import site
    user = site.getusersitepackages()
except Exception:
    user = ""
import sysconfig
homes = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
print(json.dumps([sys.executable, [p for p in sys.path if p], homes, user, pip]))
"""
"""What an interpreter is asked; it may be as old as Python 3.6."""

_LIBRARY = re.compile(r".+\.(so(\.[0-9][\w.]*)?|dylib|dll)", re.IGNORECASE)
_MODULE = re.compile(r".+\.((cpython|pypy|graalpy|abi)[\w-]*)\.so", re.IGNORECASE)
"""Extension modules that say so in their names: nobody carries a copy of them."""

_NO_BINARY = "it is no binary"
"""So are linker scripts, which are called like libraries."""

_LARGEST = 1 << 29
"""Libraries of more bytes than this (CUDA's) are known by name and size only."""


def of_python(stated: str | None) -> Environment:
    """Return what is installed for an interpreter: the one that is named, else the first on PATH.

    Raises :class:`UsageError` when it cannot be asked.
    """
    python = (shutil.which(stated) or stated) if stated else next(process.pythons_on_path(), "")
    python = python or process.python()
    executable, path, homes, user, has_pip = _answer(python)
    folders = tuple(dict.fromkeys(entry for entry in map(_plain, path) if Path(entry).is_dir()))
    name = executable or python
    quoted = f'"{name}"' if " " in name else name
    return _environment(
        name=name,
        folders=folders,
        installer=f"{quoted} -m pip install" if has_pip else f"uv pip install --python {quoted}",
        homes={_plain(user): "--user", **dict.fromkeys(map(_plain, homes), "")},
    )


def _answer(python: str) -> list[Any]:
    """Return what an interpreter says of itself."""
    try:
        done = process.run([python, "-c", _ASK])
    except OSError as error:
        raise UsageError(
            f"{python} cannot be run: {error.strerror}", hint="--python takes an interpreter"
        ) from None
    try:
        *_, last_line = ["", *done.stdout.splitlines()]
        answer: list[Any] = json.loads(last_line)
    except ValueError:
        raise UsageError(
            f"{python} does not say where it looks for modules: {done.last_words}",
            hint="--python takes an interpreter",
        ) from None
    return answer


def of_folder(folder: Path) -> Environment:
    """Return what is installed in a folder; raises :class:`UsageError` when nothing is."""
    if not any(folder.glob("*.dist-info")):
        what = "holds no .dist-info folder" if folder.is_dir() else "is no folder"
        raise UsageError(
            f"{folder} {what}", hint="a site-packages folder, or that of pip install --target"
        )
    whole = _plain(str(folder.absolute()))
    return _environment(name=whole, folders=(whole,), installer="python -m pip install")


def _plain(path: str) -> str:
    """Return a path with ``/``, as it stands otherwise."""
    return path.replace(os.sep, "/").rstrip("/") if path else ""


def _environment(
    name: str, folders: tuple[str, ...], installer: str, homes: Mapping[str, str] | None = None
) -> Environment:
    distributions: list[Distribution] = []
    libraries: list[InstalledFile] = []
    for folder in folders:
        for info in sorted(Path(folder).glob("*.dist-info")):
            one = _Reader(folder, info)
            if one.project:
                distributions.append(one.distribution())
                libraries += one.libraries()
    return Environment(
        name=name,
        installer=installer,
        homes=frozen_mapping((homes or {}).items()),
        is_folder=homes is None,
        folders=folders,
        distributions=tuple(distributions),
        libraries=tuple(libraries),
        cores=_cores(),
    )


def _cores() -> int:
    """Return how many cores this process may use, which is what OpenBLAS and OpenMP count."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Reader:
    """Reads one distribution."""

    def __init__(self, folder: str, info: Path) -> None:
        self._folder = folder
        self._info = info
        self._metadata = self._text("METADATA")
        self.project = Project(canonicalize_name(metadata.header(self._metadata, "Name")))
        self.version = metadata.header(self._metadata, "Version")
        self._rows = self._record()

    def distribution(self) -> Distribution:
        """Return what it is; of a repaired one, also what its binaries and loaders hold."""
        text = self._text(examined.FILE).decode("utf-8", "replace")
        return Distribution(
            folder=self._folder,
            project=self.project,
            version=self.version,
            requirements=metadata.requirements(self._metadata),
            platforms=metadata.platforms(self._text("WHEEL")),
            files=frozenset(SitePath(row.path) for row in self._rows),
            examined=text,
            images=frozen_mapping(self._images() if text else ()),
            loads=frozenset(self._loads() if text else ()),
        )

    def libraries(self) -> Iterator[InstalledFile]:
        """Yield the shared libraries; what cannot be read counts by its name."""
        for row in self._rows:
            name = layout.basename(row.path)
            if not _LIBRARY.fullmatch(name) or _MODULE.fullmatch(name):
                continue
            file = _file(self._path(row), self.project, self.version, row)
            if file is not None and file.damage != _NO_BINARY and _is_library(file):
                yield file

    def _images(self) -> Iterator[tuple[SitePath, tuple[Image, ...]]]:
        for row in self._rows:
            if not row.path.endswith((".py", ".pyc", ".pyi", ".h", ".txt")):
                file = _file(self._path(row), self.project, self.version, row)
                if file is not None and file.images:
                    yield SitePath(row.path), file.images

    def _loads(self) -> Iterator[str]:
        for row in self._rows:
            if layout.basename(row.path) in (layout.INIT, layout.HOOK):
                block = loader.found(_bytes(Path(self._path(row))))
                yield from loader.libraries(block) if block else ()

    def _path(self, row: RecordRow) -> str:
        """Return the full path of a file; a data file lies beside or above the folder."""
        path = f"{self._folder}/{row.path}"
        return _plain(os.path.normpath(path)) if row.path.startswith("..") else path

    def _text(self, name: str) -> bytes:
        return _bytes(self._info / name)

    def _record(self) -> tuple[RecordRow, ...]:
        """Return the rows of RECORD; where it cannot be read, there are none."""
        try:
            rows = metadata.record_rows(self._text("RECORD"))
        except BadWheelError:
            return ()
        return tuple(row._replace(path=row.path.replace("\\", "/")) for row in rows)


def look(environment: Environment, paths: Iterable[str]) -> dict[str, InstalledFile]:
    """Return the files that are there, by their paths."""
    owners = {f"{d.folder}/{place}": d for d in environment.distributions for place in d.files}
    known = {file.path: file for file in environment.libraries}
    found = {}
    for path in paths:
        owner = owners.get(path)
        file = known.get(path) or _file(
            path, owner.project if owner else "", owner.version if owner else ""
        )
        if file is not None:
            found[path] = file
    return found


def _file(
    path: str, project: str, version: str, row: RecordRow | None = None
) -> InstalledFile | None:
    """Return the facts of a file; None where there is none, or where it is no binary at all.

    What should be a library by its name and is none, is a damaged one.
    """
    try:
        status = Path(path).stat()
        data = _contents(path, status.st_size) if stat.S_ISREG(status.st_mode) else None
    except OSError:
        return None
    if data is None:
        return None
    images, damage = _images(data) if status.st_size <= _LARGEST else ((), "")
    if row is not None and row.size.isdecimal() and int(row.size) != status.st_size:
        damage = f"it has {status.st_size} bytes, and RECORD says {row.size}"
    return InstalledFile(
        path=path,
        project=project,
        version=version,
        size=status.st_size,
        node=(status.st_dev, status.st_ino),
        sha256=hashlib.sha256(data).hexdigest() if images else "",
        images=images,
        damage=damage,
    )


def _contents(path: str, size: int) -> bytes | None:
    """Return the bytes of a binary, of a giant the first; None for what nobody would load."""
    with Path(path).open("rb") as file:
        start = file.read(binary.MAGIC_SIZE)
        if binary.sniff(start) is None:
            return start if _LIBRARY.fullmatch(layout.basename(path)) else None
        return start + file.read() if size <= _LARGEST else start


def _images(data: bytes) -> tuple[tuple[Image, ...], str]:
    """Return what a file holds, and what is wrong with it."""
    if binary.sniff(data[: binary.MAGIC_SIZE]) is None:
        return (), _NO_BINARY
    try:
        return binary.read(data).images, ""
    except BadBinaryError as error:
        return (), str(error)


def _is_library(file: InstalledFile) -> bool:
    """Whether a file is a shared library, or cannot be read but is one by its name."""
    return not file.images or any(i.kind is Kind.SHARED_LIBRARY for i in file.images)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
