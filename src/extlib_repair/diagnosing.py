"""Does every repaired consumer of an environment find its provider, and does that fit? Pure.

A consumer says in its ``.dist-info`` what was examined (:mod:`extlib_repair.examined`); its
binaries say where the loader looks. First the paths are collected that a loader would try, then,
with the files that are there, it is judged what comes of it. Python finds a distribution in the
first folder of ``sys.path`` that has it; a run path leads from the consumer's own folder, whatever
stands elsewhere.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from extlib_repair import examined, layout
from extlib_repair.binary import elf_run_path, macho_run_path
from extlib_repair.errors import BadWheelError
from extlib_repair.model import Finding, Format, Libc, Project, Severity
from extlib_repair.platform_tag import c_libraries
from extlib_repair.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from extlib_repair.model import (
        Chosen,
        Distribution,
        Environment,
        Image,
        InstalledFile,
        Provider,
        ProviderLibrary,
        SitePath,
    )

CODES = frozenset(
    {
        "provider-damaged",
        "provider-elsewhere",
        "provider-missing",
        "provider-other-platform",
        "provider-out-of-range",
        "provider-shadowed",
        "provider-too-old",
        "several-copies",
    }
)
"""Codes of what ``doctor`` finds."""

Files = dict[str, "InstalledFile"]
"""The files that are there, by their paths."""


def consumers(environment: Environment) -> tuple[Distribution, ...]:
    """Return the distributions that extlib-repair repaired and that Python finds."""
    first = {d.project: d for d in reversed(environment.distributions)}
    return tuple(d for d in environment.distributions if d.examined and first[d.project] is d)


def asked(environment: Environment) -> tuple[str, ...]:
    """Return every path that must be looked at before it can be judged."""
    paths = [path for case in _cases(environment) for path in case.paths()]
    return tuple(dict.fromkeys(paths))


def findings(environment: Environment, files: Mapping[str, InstalledFile]) -> tuple[Finding, ...]:
    """Return what is wrong with the consumers, in their order."""
    damaged = [f for d in consumers(environment) for f in _damaged_record(d)]
    of_cases = (f for case in _cases(environment) for f in _of_provider(case, dict(files)))
    return (*damaged, *dict.fromkeys(of_cases))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A consumer, and one of its providers."""

    environment: Environment
    consumer: Distribution
    choice: Chosen
    installed: Distribution | None
    """The provider that Python finds."""

    @property
    def provider(self) -> Provider:
        return self.choice.provider

    @property
    def specifier(self) -> SpecifierSet:
        """What the consumer requires; lines under a marker do not always hold."""
        wanted = SpecifierSet(self.choice.request.specifier)
        for line in self.consumer.requirements:
            try:
                one = Requirement(line)
            except InvalidRequirement:
                continue
            name = Project(canonicalize_name(one.name))
            if name == self.provider.project and one.marker is None:
                wanted &= one.specifier
        return wanted

    @property
    def requirement(self) -> str:
        return f"{self.provider.project}{self.specifier}"

    def expected(self, library: ProviderLibrary) -> str:
        """Return where the provider that Python finds has a library."""
        return f"{self.installed.folder}/{library.place}" if self.installed else ""

    def routes(self, library: ProviderLibrary) -> tuple[tuple[str, ...], ...]:
        """Return, for each binary that names a library, the paths that are tried in order."""
        heals = library.name in self.consumer.loads and not self._is_on_musl()
        fixed = [self.consumer.folder, *self.environment.folders]
        by_loader = [f"{folder}/{library.place}" for folder in fixed] if heals else []
        found = [
            (*own, *by_loader)
            for place, images in self.consumer.images.items()
            for image in images
            if (name := _needed_name(image, library))
            and ((own := tuple(_tried(self.consumer.folder, place, image, name))) or by_loader)
        ]
        return tuple(dict.fromkeys(found))

    def paths(self) -> Iterator[str]:
        for library in self.provider.libraries.values():
            yield from (path for route in self.routes(library) for path in route)
            yield from [self.expected(library)] if self.installed else []

    def _is_on_musl(self) -> bool:
        """Whether a library that a loader has loaded does not satisfy a needed name."""
        return self.c_libraries() == {Libc.MUSL}

    def c_libraries(self) -> frozenset[Libc]:
        images = [image for images in self.consumer.images.values() for image in images]
        return c_libraries(self.consumer.platforms, images)


def _cases(environment: Environment) -> Iterator[_Case]:
    first = {d.project: d for d in reversed(environment.distributions)}
    for consumer in consumers(environment):
        try:
            chosen = examined.parse(consumer.examined)
        except BadWheelError:
            continue
        for choice in chosen:
            yield _Case(
                environment=environment,
                consumer=consumer,
                choice=choice,
                installed=first.get(choice.provider.project),
            )


def _needed_name(image: Image, library: ProviderLibrary) -> str:
    """Return how an image names a library, or the empty string; Windows does not heed case."""
    for name in image.needed:
        if image.format is Format.PE:
            same = name.lower() == library.name.lower()
        else:
            same = layout.basename(name) == library.name or name in _names(library)
        if same:
            return name
    return ""


def _names(library: ProviderLibrary) -> frozenset[str]:
    return frozenset(image.name for image in library.slices if image.name)


def _tried(folder: str, place: SitePath, image: Image, name: str) -> Iterator[str]:
    """Yield the paths that a binary's own names and run path lead to."""
    if image.format is Format.PE:
        return
    if image.format is Format.MACHO and not name.startswith("@rpath/"):
        target = macho_run_path.target(name, place)
        if not isinstance(target, macho_run_path.Stray):
            yield f"{folder}/{target}"
        return
    file = layout.basename(name)
    for entry in image.search:
        if entry.startswith("/"):
            yield f"{entry.rstrip('/')}/{file}"
        elif image.format is Format.MACHO:
            found = macho_run_path.target(entry, place)
            if not isinstance(found, macho_run_path.Stray):
                yield f"{folder}/{found}/{file}"
        else:
            lead = elf_run_path.target(entry, place)
            if not isinstance(lead, elf_run_path.Stray):
                yield f"{folder}/{lead}/{file}"


def _of_provider(case: _Case, files: Files) -> Iterator[Finding]:
    libraries = [li for li in case.provider.libraries.values() if case.routes(li)]
    reached = [files[p] for li in libraries for r in case.routes(li) for p in r if p in files]
    if case.installed is None and not reached:
        yield _missing(case)
        return
    if case.installed is not None:
        yield from _out_of_range(case, case.installed)
    for library in libraries:
        yield from _of_library(case, library, files)


def _of_library(case: _Case, library: ProviderLibrary, files: Files) -> Iterator[Finding]:
    """Judge the files that the routes of a library end at."""
    ends = [next((files[p] for p in route if p in files), None) for route in case.routes(library)]
    reached = {file.path: file for file in ends if file is not None}
    expected = files.get(case.expected(library))
    if None in ends:
        if expected is not None:
            yield _elsewhere(case, library, expected)
            reached.setdefault(expected.path, expected)
        elif case.installed is not None:
            yield _not_there(case, case.installed, library)
        else:
            yield _missing(case)
    for file in reached.values():
        is_other = expected is not None and file.node != expected.node
        if not is_other or file.project == case.provider.project:
            yield from _of_file(case, library, file)
        if expected is not None and is_other:
            yield _shadowed(case, library, file, expected)


def _of_file(case: _Case, library: ProviderLibrary, file: InstalledFile) -> Iterator[Finding]:
    """Judge a file of the provider: the first thing that is wrong with it."""
    if file.damage:
        yield _damaged(case, file)
        return
    if not file.images:
        return
    users = [
        image
        for images in case.consumer.images.values()
        for image in images
        if _needed_name(image, library)
    ]
    wanted = sorted({image.arch for image in users} - {image.arch for image in file.images})
    if wanted or file.images[0].format is not library.image.format:
        yield _other_platform(case, file, f"is for {_platform(file)}")
        return
    own, other = case.c_libraries(), c_libraries((), file.images)
    if own and other and not own & other:
        yield _other_platform(case, file, f"is for {', '.join(sorted(other))}")
        return
    for image in file.images:
        lacking = _lacking(case, library, image)
        if lacking:
            yield _too_old(case, file, lacking)
            return


def _lacking(case: _Case, library: ProviderLibrary, image: Image) -> list[str]:
    """Return the symbols that were the provider's and that a file of it does not export.

    A loader takes a library without symbol versions for one that has them all.
    """
    then = library.slice_for(image.arch)
    own = [i for images in case.consumer.images.values() for i in images]
    strong = {i for one in own for i in one.imports if not i.weak}
    theirs = frozenset[str]().union(*(one.exports for one in own))
    known = then.exports if then else frozenset[str]()
    return sorted(
        i.key
        for i in strong
        if i.key in known
        and i.key not in theirs
        and i.key not in image.exports
        and (image.versions or i.name not in image.exports)
    )


def _platform(file: InstalledFile) -> str:
    return ", ".join(f"{image.format} {image.arch}" for image in file.images)


def _missing(case: _Case) -> Finding:
    return _error(
        "provider-missing",
        f"{case.consumer.label} needs {_libraries(case)} of {case.requirement}, which is not "
        "installed",
        _command(case, case.requirement),
    )


def _out_of_range(case: _Case, installed: Distribution) -> Iterator[Finding]:
    try:
        version = Version(installed.version)
    except InvalidVersion:
        return
    if case.specifier.contains(version, prereleases=True):
        return
    yield _error(
        "provider-out-of-range",
        f"{case.consumer.label} requires {case.requirement}, and {installed.label} is installed "
        f"in {installed.folder}",
        _command(case, case.requirement, anew=True),
    )


def _elsewhere(case: _Case, library: ProviderLibrary, file: InstalledFile) -> Finding:
    return _error(
        "provider-elsewhere",
        f"{case.consumer.label} is in {case.consumer.folder}, from where its run path leads to "
        f"{library.place}, which is not there; {_label(case, file)} is in another folder: "
        f"{file.path}",
        _command(case, case.requirement, anew=True),
    )


def _not_there(case: _Case, installed: Distribution, library: ProviderLibrary) -> Finding:
    """Say that a provider does not have the file: it got lost, or was never in it."""
    path = case.expected(library)
    message = f"{case.consumer.label} needs {library.name} of {case.provider.project}; "
    if library.place in installed.files:
        return _error(
            "provider-damaged",
            f"{message}{path} of {installed.label} is gone, and its RECORD lists it",
            _command(case, case.requirement, anew=True),
        )
    if installed.platforms and not set(installed.platforms) & _fitting(case):
        tags = ", ".join(installed.platforms)
        return _error(
            "provider-other-platform",
            f"{message}{installed.label}, which is installed, is for {tags} and does not have it",
            _command(case, case.requirement, anew=True),
        )
    return _error(
        "provider-too-old",
        f"{message}{installed.label}, which is installed, does not have it",
        _command(case, _better(case, installed.version), anew=True),
    )


def _fitting(case: _Case) -> frozenset[str]:
    """Return tags that say nothing against a provider: the consumer's, and those examined."""
    return frozenset((*case.consumer.platforms, *case.provider.platforms, "any"))


def _damaged(case: _Case, file: InstalledFile) -> Finding:
    return _error(
        "provider-damaged",
        f"{case.consumer.label} loads {file.path} of {_label(case, file)}, which is damaged: "
        f"{file.damage}",
        _command(case, case.requirement, anew=True),
    )


def _other_platform(case: _Case, file: InstalledFile, why: str) -> Finding:
    return _error(
        "provider-other-platform",
        f"{case.consumer.label} needs {file.path} of {_label(case, file)}, which {why}",
        _command(case, case.requirement, anew=True),
    )


def _too_old(case: _Case, file: InstalledFile, lacking: list[str]) -> Finding:
    return _error(
        "provider-too-old",
        f"{case.consumer.label} imports {count(lacking, 'symbol')} that {_label(case, file)} "
        f"({file.path}) does not export, the first is {lacking[0]}; it was repaired with "
        f"{case.provider.version}",
        _command(case, _better(case, file.version), anew=True),
    )


def _better(case: _Case, there: str) -> str:
    """Return a requirement that excludes what is there and allows what was examined.

    A newer release that lost something is named away by the release that had it.
    """
    project, known = case.provider.project, case.provider.version
    try:
        is_older = not there or Version(there) < Version(known)
    except InvalidVersion:
        is_older = True
    return f"{project}>={known}" if is_older else f"{project}=={known}"


def _shadowed(
    case: _Case, library: ProviderLibrary, file: InstalledFile, expected: InstalledFile
) -> Finding:
    """Say that another file is loaded than Python finds: a warning if it is the provider's, too."""
    is_other_copy = file.project == case.provider.project
    message = (
        f"{case.consumer.label} loads {library.name} from {file.path} ({_whose(file)}), and the "
        f"one that Python finds is {expected.path} ({expected.label})"
    )
    if is_other_copy:
        message += "; both are loaded when something else loads that one"
        where = expected.path.removesuffix(f"/{library.place}")
        hint = f"one is enough: remove {expected.label} from {where}"
    else:
        hint = f"{_command(case, case.consumer.project, anew=True)}, or remove the file"
    return Finding(
        code="provider-shadowed",
        severity=Severity.WARNING if is_other_copy else Severity.ERROR,
        message=message,
        hint=hint,
    )


def _label(case: _Case, file: InstalledFile) -> str:
    """Return whose a provider's file is; its RECORD may not list it."""
    return file.label or (case.installed.label if case.installed else case.provider.project)


def _whose(file: InstalledFile) -> str:
    return file.label if file.project else "no distribution lists it"


def _damaged_record(consumer: Distribution) -> Iterator[Finding]:
    try:
        examined.parse(consumer.examined)
    except BadWheelError as error:
        yield _error("record", f"{consumer.label}: {error}", str(error.hint))


def _error(code: str, message: str, hint: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, message=message, hint=hint)


def _libraries(case: _Case) -> str:
    return ", ".join(sorted(case.provider.libraries))


def _command(case: _Case, requirement: str, *, anew: bool = False) -> str:
    """Return the command that installs something beside the consumer, for any shell.

    ``anew``: although the installer may think that all is well. In a folder, pip is told the
    platform, which need not be that of the Python that runs it.
    """
    environment, folder = case.environment, case.consumer.folder
    words = [environment.installer]
    home = environment.homes.get(folder)
    if home is None:
        words += [f"--target {_quoted(folder)}", "--upgrade --no-deps"]
        if environment.is_folder:
            words += ["--only-binary=:all:", *(f"--platform {t}" for t in _platforms(case))]
    else:
        words += [home] if home else []
        words += ["--force-reinstall --no-deps"] if anew else []
    return " ".join([*words, f'"{requirement}"'])


def _platforms(case: _Case) -> tuple[str, ...]:
    return tuple(tag for tag in case.provider.platforms if tag != "any")


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
