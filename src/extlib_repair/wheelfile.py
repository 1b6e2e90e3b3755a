"""A wheel on disk -> WheelFacts.

Refuses archives that must not be trusted (:mod:`extlib_repair.archive`) and wheels whose name,
``.dist-info`` folder and contents do not belong together. Source:
https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Self

from packaging.utils import (
    InvalidWheelFilename,
    canonicalize_name,
    canonicalize_version,
    parse_wheel_filename,
)

from extlib_repair import binary, examined, layout, metadata, tags
from extlib_repair.archive import MOST_EXPANSION, ArchiveReader, Entry
from extlib_repair.errors import BadBinaryError, BadWheelError
from extlib_repair.model import (
    BinaryFacts,
    Format,
    Member,
    Project,
    System,
    WheelFacts,
    WheelName,
    frozen_mapping,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class WheelFile:
    """A wheel, open for reading; a context manager.

    Raises :class:`BadWheelError` when it is opened, and :class:`BadBinaryError` by
    :meth:`facts`.
    """

    def __init__(self, path: Path, *, most_expansion: int = MOST_EXPANSION) -> None:
        self.path = path
        self.name = parse_name(path.name)
        if path.is_dir():
            raise BadWheelError(
                f"{path} is a folder, not a wheel", hint="name the wheels in it: FOLDER/*.whl"
            )
        try:
            self.archive = ArchiveReader(path, most_expansion=most_expansion)
        except OSError as error:
            raise BadWheelError(
                f"cannot read {path}: {error.strerror}", hint="is the path right?"
            ) from None
        try:
            self.dist_info = self._find_dist_info()
        except BaseException:
            self.archive.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.archive.__exit__()

    def read(self, member: str) -> bytes:
        """Return the content of a member; :class:`BadWheelError` when it is not there."""
        return self.archive.read(self._entry(member))

    def record_row(self, member: str) -> metadata.RecordRow:
        """Return the line that RECORD should have for a member, which is read piece by piece.

        Raises :class:`BadWheelError` when it is not there, or damaged.
        """
        entry = self._entry(member)
        digest = hashlib.sha256()
        for data in self.archive.stream(entry):
            digest.update(data)
        return metadata.record_row_of(member, digest.digest(), entry.size)

    def dist_info_file(self, name: str) -> Member:
        """Return the member path of a file in the ``.dist-info`` folder."""
        return Member(f"{self.dist_info}/{name}")

    def facts(self) -> WheelFacts:
        """Read everything that planning needs to know."""
        binaries = dict(self._binaries())
        return WheelFacts(
            name=self.name,
            project=Project(canonicalize_name(self.name.distribution)),
            dist_info=self.dist_info,
            members=tuple(Member(e.name) for e in self._files()),
            binaries=frozen_mapping(binaries.items()),
            requirements=metadata.requirements(self.read(self.dist_info_file("METADATA"))),
            examined=self.examined(),
            sources=frozen_mapping((m, self.read(m)) for m in self._sources(binaries)),
        )

    def examined(self) -> str:
        """Return what was examined when the wheel was repaired; empty for one that was not."""
        return self._text(examined.FILE)

    def _entry(self, member: str) -> Entry:
        entry = self.archive.by_name.get(member)
        if entry is None:
            raise BadWheelError(f"{self.path.name} has no {member}")
        return entry

    def _text(self, name: str) -> str:
        """Return a text in ``.dist-info``; empty where there is none."""
        member = self.dist_info_file(name)
        return self.read(member).decode("utf-8", "replace") if self._has(member) else ""

    def _has(self, member: Member) -> bool:
        return member in self.archive.by_name

    def _files(self) -> Iterator[Entry]:
        return (entry for entry in self.archive.entries if not entry.is_folder)

    def _binaries(self) -> Iterator[tuple[Member, BinaryFacts]]:
        """Read every member that begins like a binary, whatever it is called.

        One at a time: only facts stay.
        """
        for entry in self._files():
            found = binary.sniff(self.archive.start(entry, binary.MAGIC_SIZE))
            try:
                if self._is_binary(entry, found):
                    yield Member(entry.name), binary.read(self.archive.read(entry))
            except BadBinaryError as error:
                raise BadBinaryError(
                    f"{self.path.name}: {entry.name}: {error}",
                    hint="build it again; a file that is broken on purpose cannot be in a wheel "
                    "that is repaired",
                ) from None

    def _is_binary(self, entry: Entry, found: Format | None) -> bool:
        """Whether a member is read as a binary; raises :class:`BadBinaryError`.

        Windows' programs are data in the wheels of other systems: pip carries some.
        """
        if not self._is_for_windows:
            return found not in (None, Format.PE)
        if found is None and entry.name.lower().endswith((".pyd", ".dll")):
            raise BadBinaryError("not a PE file")
        return found is not None

    def _sources(self, binaries: Iterable[Member]) -> Iterator[Member]:
        """Yield the Python files that are loaded before a binary, and could hold the loader."""
        known = {layout.installed(Member(e.name)): Member(e.name) for e in self._files()}
        places = [place for m in binaries if (place := layout.installed(m)) is not None]
        wanted = {file for place in places for file in layout.loaded_before(place)}
        yield from (known[file] for file in sorted(wanted & known.keys()))

    @property
    def _is_for_windows(self) -> bool:
        return tags.system_of(self.name.platforms) is System.WINDOWS

    def _find_dist_info(self) -> str:
        folders = {e.name.split("/")[0] for e in self._files() if "/" in e.name}
        found = sorted(f for f in folders if f.endswith(".dist-info"))
        if len(found) != 1:
            listed = ", ".join(found) or "none"
            raise BadWheelError(
                f"{self.path.name} must hold one .dist-info folder, and holds {listed}",
                hint="an sdist or a plain zip file is not a wheel",
            )
        project, _, version = found[0].removesuffix(".dist-info").partition("-")
        own = (self.name.distribution, self.name.version)
        if _same_name(own) != _same_name((project, version)):
            raise BadWheelError(
                f"{self.path.name} holds {found[0]}: the names do not agree",
                hint="was the file renamed by hand?",
            )
        for name in ("METADATA", "WHEEL", "RECORD"):
            if f"{found[0]}/{name}" not in self.archive.by_name:
                raise BadWheelError(
                    f"{self.path.name} has no {found[0]}/{name}",
                    hint="build it again with a current build tool",
                )
        return found[0]


def parse_name(filename: str) -> WheelName:
    """Split a wheel's file name; raises :class:`BadWheelError`."""
    try:
        parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise BadWheelError(
            f"{filename} is not the name of a wheel: {error}",
            hint="NAME-VERSION(-BUILD)-PYTHON-ABI-PLATFORM.whl",
        ) from None
    distribution, version, *build, pythons, abis, platforms = filename[: -len(".whl")].split("-")
    return WheelName(
        distribution=distribution,
        version=version,
        build=build[0] if build else "",
        pythons=tuple(pythons.split(".")),
        abis=tuple(abis.split(".")),
        platforms=tuple(platforms.split(".")),
    )


def _same_name(pair: tuple[str, str]) -> tuple[str, str]:
    project, version = pair
    return canonicalize_name(project), canonicalize_version(version.replace("_", "-"))
