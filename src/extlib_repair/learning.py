"""``providers learn``: the history of a provider, from a folder of wheels or from the index.

One wheel after the other is read, added and thrown away; what a history knows already is not asked
for again, so that a run that was cut off goes on where it ended. The index is asked through pip
(:mod:`extlib_repair.fetching`): one wheel per release and platform family, the one that pip takes.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from extlib_repair import fetching, history, history_text, provider, tags
from extlib_repair.errors import CannotWriteError, FetchingError, HistoryError, UsageError
from extlib_repair.history import History, Library, Looked, Place, Wheel
from extlib_repair.model import Libc, Project, System, frozen_mapping
from extlib_repair.wheelfile import WheelFile, parse_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from extlib_repair.model import Image, Provider

_Result = TypeVar("_Result")

PLACES = {
    Place(System.LINUX, "x86_64", Libc.GLIBC): "manylinux_2_5_x86_64",
    Place(System.LINUX, "aarch64", Libc.GLIBC): "manylinux_2_17_aarch64",
    Place(System.LINUX, "x86_64", Libc.MUSL): "musllinux_1_1_x86_64",
    Place(System.LINUX, "aarch64", Libc.MUSL): "musllinux_1_1_aarch64",
    Place(System.MACOS, "x86_64"): "macosx_10_9_x86_64",
    Place(System.MACOS, "arm64"): "macosx_11_0_arm64",
    Place(System.WINDOWS, "amd64"): "win_amd64",
    Place(System.WINDOWS, "arm64"): "win_arm64",
    Place(System.WINDOWS, "x86"): "win32",
}
"""What the index is asked for, with a platform tag of each."""

_PAUSES = (2, 10, 30)
"""Seconds before the index is asked again, each time that it failed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be learned, and where it is written."""

    project: Project
    file: Path
    """Extended if it is there; compressed where the name ends with ``.xz``."""

    releases: SpecifierSet = dataclasses.field(default_factory=SpecifierSet)
    folder: Path | None = None
    """A folder of wheels, instead of the index."""


def wanted(name: str, releases: str, folder: Path | None, file: str) -> Wanted:
    """Return what a command line asks for; raises :class:`UsageError`."""
    try:
        project = Project(canonicalize_name(name, validate=True))
    except InvalidName:
        raise UsageError(f"{name!r} is not the name of a project") from None
    try:
        spec = SpecifierSet(releases, prereleases=True)
    except InvalidSpecifier:
        raise UsageError(
            f"--versions {releases!r} is not a specifier", hint="for example: '>=0.3.30,<0.4'"
        ) from None
    if folder is not None and not folder.is_dir():
        raise UsageError(f"--wheels {folder} is not a folder", hint="is the path right?")
    where = Path(file or f"{project}.json.xz")
    if not where.parent.is_dir():
        raise UsageError(f"-o {where}: there is no folder {where.parent}")
    return Wanted(project=project, file=where, releases=spec, folder=folder)


def learn(wish: Wanted, tell: Callable[[str], None]) -> History:
    """Extend a history file, or make it; every step goes to ``tell``.

    Whatever ends it, what was learned so far is written.
    """
    known = _Known(wish)
    try:
        if wish.folder is None:
            _from_index(wish, known, tell)
        else:
            _from_folder(wish, wish.folder, known, tell)
    finally:
        known.save()
    return known.history


def read_wheel(path: Path, *, yanked: bool = False) -> tuple[Looked, ...]:
    """Return what a wheel says of each place that it is for."""
    with WheelFile(path) as wheel:
        found, digests = provider.supplied(wheel)
    return tuple(
        _looked(found, digests, path.name, place, yanked=yanked)
        for place in history.places_of(found.platforms, _libc(found))
    )


class _Known:
    """A history that grows, and its file."""

    def __init__(self, wish: Wanted) -> None:
        self._file = wish.file
        self.history = read(wish.file) if wish.file.exists() else History(project=wish.project)
        if self.history.project != wish.project:
            raise HistoryError(f"{wish.file} is the history of {self.history.project}")
        self._saved = self.history

    def add(self, path: Path, *, yanked: bool = False) -> None:
        """Add what a wheel says."""
        for looked in read_wheel(path, yanked=yanked):
            self.history = history.add(self.history, looked)

    def save(self) -> None:
        """Write what is new."""
        if self.history is not self._saved:
            write(self.history, self._file)
            self._saved = self.history


def read(file: Path) -> History:
    """Return the history in a file; raises :class:`HistoryError`."""
    try:
        data = file.read_bytes()
        if file.suffix == ".xz":
            return history_text.unpack(data, str(file))
        return history_text.parse(data.decode(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise HistoryError(f"cannot read the history {file}: {why}") from None


def write(known: History, file: Path) -> None:
    """Write a history file, whole or not at all; raises :class:`CannotWriteError`."""
    packed = file.suffix == ".xz"
    data = history_text.pack(known) if packed else history_text.dump(known).encode()
    try:
        with tempfile.TemporaryDirectory(prefix=".extlib-repair-", dir=file.parent) as private:
            staged = Path(private) / file.name
            staged.write_bytes(data)
            staged.replace(file)
    except OSError as error:
        raise CannotWriteError(f"cannot write {file}: {error.strerror or error}") from None


def _from_folder(wish: Wanted, folder: Path, known: _Known, tell: Callable[[str], None]) -> None:
    for path in sorted(folder.glob("*.whl")):
        name = parse_name(path.name)
        if Project(canonicalize_name(name.distribution)) != wish.project:
            continue
        if wish.releases.contains(name.version):
            tell(path.name)
            known.add(path)


def _from_index(wish: Wanted, known: _Known, tell: Callable[[str], None]) -> None:
    """Learn one platform family after the other, of those releases that any of them has."""
    listed = {place: _listed(wish, place) for place in PLACES}
    everywhere = history.in_order(version for there in listed.values() for version in there)
    if not everywhere:
        raise FetchingError(
            f"pip finds no wheel of {wish.project}{wish.releases} for any platform",
            hint="is the name right? pip's settings say which index is asked",
        )
    for place, there in listed.items():
        absent = set(everywhere) - set(there)
        known.history = history.add_absent(known.history, place, absent)
        for version in there:
            if not known.history.knows(version, place):
                tell(f"{wish.project} {version} {place.key}")
                _fetch(wish.project, version, place, known)
        known.save()


def _listed(wish: Wanted, place: Place) -> tuple[str, ...]:
    platform = tags.parse(PLACES[place])
    found = _retried(lambda: fetching.versions(wish.project, platform))
    return history.in_order(str(Version(v)) for v in found if wish.releases.contains(v))


def _fetch(project: Project, version: str, place: Place, known: _Known) -> None:
    def attempt() -> None:
        with tempfile.TemporaryDirectory(prefix="extlib-repair-") as private:
            path, yanked = fetching.download(
                project, version, tags.parse(PLACES[place]), Path(private)
            )
            known.add(path, yanked=yanked)

    _retried(attempt)
    if not known.history.knows(version, place):  # a wheel for any platform supplies no library
        known.history = history.add_absent(known.history, place, [version])


def _retried(ask: Callable[[], _Result]) -> _Result:
    """Ask the index, several times if it fails."""
    for pause in _PAUSES:
        try:
            return ask()
        except FetchingError:
            time.sleep(pause)
    try:
        return ask()
    except FetchingError as error:
        raise FetchingError(
            str(error), hint="what was learned is kept: the same command goes on from there"
        ) from None


def _looked(
    found: Provider, digests: Mapping[str, str], filename: str, place: Place, *, yanked: bool
) -> Looked:
    images = dict(_images(found, place))
    libraries = tuple(
        Library(
            name=name,
            directory=found.libraries[name].directory,
            own_name=image.name,
            needed=image.needed,
            sha256=digests[name],
            uuid=image.uuid,
        )
        for name, image in sorted(images.items())
    )
    return Looked(
        project=found.project,
        place=place,
        wheel=Wheel(
            version=str(Version(found.version)),
            filename=filename,
            platforms=found.platforms,
            purelib=found.purelib,
            libraries=libraries,
        ),
        exports=frozen_mapping((name, image.exports) for name, image in images.items()),
        yanked=yanked,
    )


def _images(found: Provider, place: Place) -> Iterator[tuple[str, Image]]:
    """Yield the libraries that are for a place, with the slice for its machine."""
    for name, library in found.libraries.items():
        if (image := library.slice_for(place.arch)) is not None:
            yield name, image


def _libc(found: Provider) -> Libc:
    """Return the C library of wheels whose tag does not say it: what their libraries need."""
    needed = (name for library in found.libraries.values() for name in library.image.needed)
    return Libc.MUSL if any(name.startswith("libc.musl-") for name in needed) else Libc.GLIBC
