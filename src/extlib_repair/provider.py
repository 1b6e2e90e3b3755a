"""A provider's wheel, or its installed distribution -> Provider.

Looked for in this order: the wheels that the user names; then the distribution that is installed
in ``--provider-python``, or else for the first ``python`` on PATH that has it (in cibuildwheel the
target's), or else for the interpreter that runs us. Installed files are found by asking that
interpreter, and read here: it may be older than we support.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from extlib_repair import binary, layout, metadata, policy, process, tags
from extlib_repair.errors import (
    BadBinaryError,
    BadWheelError,
    PolicyError,
    ProviderMismatchError,
    ProviderNotFoundError,
    UsageError,
)
from extlib_repair.model import (
    Kind,
    Member,
    Policy,
    Project,
    Provider,
    ProviderLibrary,
    SitePath,
    System,
    frozen_mapping,
)
from extlib_repair.wheelfile import WheelFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence


_LIBRARY = re.compile(r".+\.(so(\.[0-9][\w.]*)?|dylib|dll)")
_HASHED = re.compile(r"[^.]+-[0-9a-f]{8}\..+|.+-[0-9a-f]{32}\.dll")
"""Names that repair tools make: auditwheel's 8 hex digits before the first dot, delvewheel's 32."""

_ASK = """
import json, sys
sys.path[:] = [p for p in sys.path if p]
try:
    from importlib import metadata
    d = metadata.distribution(sys.argv[1])
    print(json.dumps([str(d.locate_file("")), d.version or "", [str(f) for f in d.files or []]]))
except Exception as e:
    print(json.dumps(type(e).__name__ + ": " + str(e)))
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where to look for providers, and what is said about them."""

    wheels: tuple[Path, ...] = ()
    python: str | None = None
    policies: tuple[Path, ...] = ()
    fetch: bool = False
    """Ask the package index for what is nowhere else."""


class _Files(Protocol):
    """The files of a provider, by their path below site-packages."""

    project: Project
    version: str
    source: str

    @property
    def platforms(self) -> tuple[str, ...]: ...

    @property
    def paths(self) -> Collection[SitePath]: ...

    def read(self, path: SitePath) -> bytes: ...


def find(project: Project, sources: Sources, system: System, arch: str) -> Provider:
    """Return the provider for consumers of a platform.

    Raises :class:`ProviderNotFoundError` when it is nowhere, :class:`ProviderMismatchError` when
    what is there is for another platform or lacks what its policy states.
    """
    search = _Search(project, sources, system, arch)
    found = search.in_wheels() or search.in_pythons()
    if found is not None:
        return found
    if search.misfits:
        raise search.misfits[0]
    raise _not_found(project, search.tried)


class _Search:
    """Looks for one provider, and remembers why what was found does not fit."""

    def __init__(self, project: Project, sources: Sources, system: System, arch: str) -> None:
        self.misfits: list[ProviderMismatchError] = []
        self.tried: list[str] = []
        self._project = project
        self._sources = sources
        self._system = system
        self._arch = arch

    def in_wheels(self) -> Provider | None:
        """Return the first wheel of the project that fits."""
        for path in self._sources.wheels:
            with WheelFile(path) as wheel:
                files = _WheelFiles(wheel)
                found = self._fitting(files) if files.project == self._project else None
            if found is not None:
                return found
        return None

    def in_pythons(self) -> Provider | None:
        """Return the first installed distribution that fits; none if the user gave a wheel."""
        for python in () if self.misfits else _pythons(self._sources):
            files = _installed(self._project, python)
            if isinstance(files, str):
                self.tried.append(f"{python} ({files})")
            elif (found := self._fitting(files)) is not None:
                return found
        return None

    def _fitting(self, files: _Files) -> Provider | None:
        try:
            return _provider(files, self._sources, self._system, self._arch)
        except ProviderMismatchError as error:
            self.misfits.append(error)
            return None


def check_sources(projects: Iterable[Project], sources: Sources) -> None:
    """Refuse provider wheels and policies of projects that nobody named.

    Raises :class:`UsageError`, and what reading them raises.
    """
    named = set(projects)
    for path in sources.policies:
        stated = policy.load(path).project
        if stated not in named:
            raise UsageError(
                f"--policy {path.name} is about {stated}, which no --provided-by names",
                hint=f"add --provided-by {stated}",
            )
    for project, path in projects_of_wheels(sources).items():
        if project not in named:
            raise UsageError(
                f"--provider-wheel {path.name} is a wheel of {project}, which no --provided-by "
                "names",
                hint=f"add --provided-by {project}",
            )


def projects_of_wheels(sources: Sources) -> Mapping[Project, Path]:
    """Return the projects of the wheels that are named, each with one of them."""
    found: dict[Project, Path] = {}
    for path in sources.wheels:
        with WheelFile(path) as wheel:
            found[_WheelFiles(wheel).project] = path
    return found


def supplied(wheel: WheelFile) -> tuple[Provider, Mapping[str, str]]:
    """Return a wheel as a provider without a policy, and the SHA-256 of each of its libraries.

    What a policy states holds for the releases that it was written for, and not for all.
    """
    files = _WheelFiles(wheel)
    _refuse_bad_version(files, files.source)
    found = _assembled(files, None, dict(_libraries_of_record(files)))
    digests = (
        (name, hashlib.sha256(files.read(library.place)).hexdigest())
        for name, library in found.libraries.items()
    )
    return found, frozen_mapping(digests)


def _not_found(project: Project, tried: list[str]) -> ProviderNotFoundError:
    known = policy.built_in_projects()
    about = (
        "" if project in known else f" (and no built-in policy knows it; {', '.join(known)} are)"
    )
    return ProviderNotFoundError(
        f"the provider {project} is not installed{about}; looked in {'; '.join(tried)}",
        hint=f"pip install {project} into that Python, or give --provider-wheel FILE or "
        "--provider-python PYTHON, or --fetch",
    )


def _pythons(sources: Sources) -> Iterator[str]:
    if sources.python is not None:
        yield sources.python
        return
    yield from dict.fromkeys((*process.pythons_on_path(), process.python()))


def _installed(project: Project, python: str) -> _InstalledFiles | str:
    """Return the files of an installed distribution, or the reason why there are none."""
    try:
        done = process.run([python, "-c", _ASK, project])
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    *_, last_line = ["", *done.stdout.splitlines()]
    try:
        answer = json.loads(last_line)
    except json.JSONDecodeError:
        return done.last_words
    if isinstance(answer, str):
        return "not there" if answer.startswith("PackageNotFoundError") else answer
    root, version, paths = answer
    return _InstalledFiles(project, version, Path(root), paths, python)


class _WheelFiles:
    """The files of a provider's wheel."""

    def __init__(self, wheel: WheelFile) -> None:
        self._wheel = wheel
        text = wheel.read(wheel.dist_info_file("METADATA"))
        self.project = Project(canonicalize_name(metadata.header(text, "Name")))
        self.version = metadata.header(text, "Version")
        self.platforms = wheel.name.platforms
        self.source = wheel.path.name
        self.paths = {
            place: Member(entry.name)
            for entry in wheel.archive.entries
            if not entry.is_folder
            if (place := layout.installed(Member(entry.name))) is not None
        }

    def read(self, path: SitePath) -> bytes:
        return self._wheel.read(self.paths[path])


class _InstalledFiles:
    """The files of an installed distribution, as its RECORD lists them."""

    def __init__(
        self, project: Project, version: str, root: Path, paths: Sequence[str], python: str
    ) -> None:
        self.project = project
        self.version = version
        self.source = f"installed for {python}"
        self._root = root
        known = (path.replace("\\", "/") for path in paths)
        self.paths = frozenset(SitePath(p) for p in known if not p.startswith(("..", "/")))

    @functools.cached_property
    def platforms(self) -> tuple[str, ...]:
        wheel = _in_dist_info(self, "WHEEL")
        return metadata.platforms(self.read(wheel)) if wheel else ()

    def read(self, path: SitePath) -> bytes:
        try:
            return (self._root / path).read_bytes()
        except OSError as error:
            raise ProviderMismatchError(
                f"{self.project} {self.version} ({self.source}) lists {path}, which cannot be "
                f"read: {error.strerror}",
                hint=f"reinstall it: pip install --force-reinstall {self.project}",
            ) from None


def _in_dist_info(files: _Files, name: str) -> SitePath | None:
    """Return the path of a file in the ``.dist-info`` folder at the root, not in a vendored one."""
    places = (p for p in files.paths if p.endswith(f".dist-info/{name}"))
    return next((place for place in places if place.count("/") == 1), None)


def _provider(files: _Files, sources: Sources, system: System, arch: str) -> Provider:
    label = f"{files.project} {files.version} ({files.source})"
    _refuse_bad_version(files, label)
    _refuse_other_platform(files, label, system, arch)
    rules = _policy(files, sources)
    if rules is None:
        libraries = dict(_libraries_of_record(files))
    else:
        libraries = dict(_libraries_of_policy(files, rules, label, system, arch))
    return _assembled(files, rules, libraries)


def _assembled(
    files: _Files, rules: Policy | None, libraries: Mapping[str, ProviderLibrary]
) -> Provider:
    names = {layout.basename(path) for path in files.paths if _LIBRARY.fullmatch(path)}
    return Provider(
        project=files.project,
        version=files.version,
        platforms=files.platforms,
        libraries=frozen_mapping(libraries.items()),
        private=frozenset(n for n in names if _HASHED.fullmatch(n) and n not in libraries),
        carried=frozenset(names),
        requires_python=_requires_python(files),
        purelib=_is_purelib(files),
        policy=rules,
        source=files.source,
    )


def _refuse_bad_version(files: _Files, label: str) -> None:
    try:
        Version(files.version)
    except InvalidVersion:
        raise ProviderMismatchError(
            f"{label}: {files.version!r} is not a version that a requirement can name"
        ) from None


def _refuse_other_platform(files: _Files, label: str, system: System, arch: str) -> None:
    known = [tags.parse(tag) for tag in files.platforms]
    if any(p.system is system and tags.holds_for(p, arch) for p in known):
        return
    if all(p.system is System.ANY for p in known):
        return
    raise ProviderMismatchError(
        f"{label} is for {', '.join(files.platforms)}, and the consumer for {system} {arch}",
        hint="give the provider's wheel for the consumer's platform: --provider-wheel FILE",
    )


def _policy(files: _Files, sources: Sources) -> Policy | None:
    """Return what is stated about a provider: by the user, by itself, by us."""
    for path in sources.policies:
        given = policy.load(path)
        if given.project == files.project:
            return given
    own = _in_dist_info(files, policy.OWN_FILE)
    if own is None:
        return policy.built_in(files.project)
    source = f"{policy.OWN_FILE} of {files.project} {files.version}"
    stated = policy.parse(files.read(own).decode("utf-8", "replace"), source)
    if stated.project != files.project:
        raise PolicyError(f"{source}: project is {stated.project!r}, which is another one")
    return stated


def _libraries_of_policy(
    files: _Files, rules: Policy, label: str, system: System, arch: str
) -> Iterator[tuple[str, ProviderLibrary]]:
    stated = policy.libraries_for(rules, system, arch)
    if not stated:
        raise ProviderMismatchError(
            f"the policy of {rules.project} ({rules.source}) states no library for {system} {arch}"
        )
    for library in stated:
        path = SitePath(f"{library.directory}/{library.name}".lstrip("/"))
        if path not in files.paths:
            there = [layout.basename(p) for p in files.paths if _LIBRARY.fullmatch(p)]
            raise ProviderMismatchError(
                f"{label} does not hold {path}, which its policy ({rules.source}) states; it "
                f"holds {', '.join(sorted(there)) or 'no library'}",
                hint="use a release that does, or give a --policy for this one",
            )
        yield library.name, _library(files, path, label)


def _libraries_of_record(files: _Files) -> Iterator[tuple[str, ProviderLibrary]]:
    """Yield the shared libraries of a provider that nothing is stated about.

    Extension modules supply nothing to others, and a hash in a name marks a private copy. A name
    that is there twice says nothing, and is left out.
    """
    seen: dict[str, list[SitePath]] = {}
    for path in sorted(files.paths):
        name = layout.basename(path)
        if _LIBRARY.fullmatch(name) and not _HASHED.fullmatch(name):
            seen.setdefault(name, []).append(path)
    for name, paths in seen.items():
        data = files.read(paths[0]) if len(paths) == 1 else b""
        if binary.sniff(data) is None:
            continue
        library = _library(files, paths[0], f"{files.project} {files.version}", data)
        if library.image.kind is Kind.SHARED_LIBRARY:
            yield name, library


def _library(
    files: _Files, path: SitePath, label: str, data: bytes | None = None
) -> ProviderLibrary:
    try:
        first, *more = binary.read(files.read(path) if data is None else data).images
    except (BadBinaryError, BadWheelError) as error:
        raise ProviderMismatchError(f"{label}: {path}: {error}") from None
    return ProviderLibrary(
        name=layout.basename(path), directory=layout.folder(path), image=first, more=tuple(more)
    )


def _requires_python(files: _Files) -> str:
    text = _in_dist_info(files, "METADATA")
    return metadata.header(files.read(text), "Requires-Python") if text else ""


def _is_purelib(files: _Files) -> bool:
    wheel = _in_dist_info(files, "WHEEL")
    return metadata.is_purelib(files.read(wheel)) if wheel else False
