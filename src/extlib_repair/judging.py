"""Is what was seen in a fresh environment as it should be? Pure.

Each library of a provider that a wheel's modules need must be mapped once, from the file that the
provider installed. One that nothing in the wheel needs (a provider may supply many) need not be
mapped, but where it is, the same holds. Another wheel's private copy, which a repair tool gave a
name of its own, is a warning: nothing in this wheel can help it.

A module that cannot be imported is a failure, unless its own words say clearly that this has
nothing to do with shared libraries: another Python package is not there, or it wants to be imported
from somewhere else; or unless it fails in the same words in the wheel that it is compared with. An
error that names a provider's library is always a failure, and so is a module that the user named.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from extlib_repair import layout, tags
from extlib_repair.model import Finding, Kind, Severity, System, Verified

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from extlib_repair.model import (
        Chosen,
        Imported,
        Member,
        Observed,
        Provider,
        ProviderLibrary,
        WheelFacts,
    )

CODES = frozenset(
    {
        "import-failed",
        "install-failed",
        "mapped-from-elsewhere",
        "mapped-twice",
        "not-mapped",
        "run-failed",
    }
)

_ALONE = re.compile(
    r"\bmust be imported (from|by|via|through|after)\b"
    r"|\b(cannot|can't|should not|must not) be imported (alone|directly|on its own)\b"
    r"|\bpartially initialized module\b"
)
"""What modules say that are parts of others; the last is Python's own, of an import in a circle."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A wheel that was installed, with its providers."""

    wheel: str
    """The path, as it was given."""

    facts: WheelFacts
    chosen: tuple[Chosen, ...]
    named: tuple[str, ...] = ()
    """The modules that the user named, instead of all."""

    compared: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The errors of the same modules in the wheel that this one is compared with."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules to import."""
        return self.named or tuple(extension_modules(self.facts))

    @property
    def providers(self) -> tuple[Provider, ...]:
        """The providers, as they were examined."""
        return tuple(choice.provider for choice in self.chosen)


def extension_modules(facts: WheelFacts) -> dict[str, Member]:
    """Return the extension modules of a wheel by their full names.

    One that is there for several versions of Python has one name.
    """
    found: dict[str, Member] = {}
    for member, binary in sorted(facts.binaries.items()):
        place = layout.installed(member)
        if place and any(i.kind is Kind.EXTENSION_MODULE for i in binary.images):
            name = layout.module_folder(place).replace("/", ".").removesuffix(".__init__")
            found.setdefault(name, member)
    return found


def verdict(
    subject: Subject, how: str, observed: Observed, more: tuple[Finding, ...] = ()
) -> Verified:
    """Return what was found about one of the wheels that were observed together."""
    modules = tuple(one for one in observed.modules if one.module in subject.modules)
    observed = dataclasses.replace(observed, modules=modules)
    paths = {path for process in observed.processes for path in process}
    return Verified(
        wheel=subject.facts.name.filename,
        how=f"installed {how}",
        installed=True,
        findings=(*findings(subject, observed), *more),
        providers=subject.providers,
        imported=tuple(one.module for one in modules if not one.error),
        left_out=left_out(subject, observed),
        libraries=tuple(sorted(paths)),
    )


def not_installed(subject: Subject, how: str, failed: Finding) -> Verified:
    """Return that a wheel could not be installed."""
    return Verified(
        wheel=subject.facts.name.filename,
        how=f"not installed {how}",
        installed=False,
        findings=(failed,),
        providers=subject.providers,
    )


def left_out(subject: Subject, observed: Observed) -> dict[str, str]:
    """Return the modules that cannot be imported alone, with the reason."""
    if subject.named:
        return {}
    reasons = {one.module: _excuse(subject, one) for one in observed.modules if one.error}
    return {module: reason for module, reason in reasons.items() if reason}


def findings(subject: Subject, observed: Observed) -> tuple[Finding, ...]:
    """Return everything that is wrong, and what else is to be said."""
    return (*_of_imports(subject, observed), *_of_libraries(subject, observed))


def install_failed(words: str) -> Finding:
    """Say that nothing could be installed."""
    return Finding(
        code="install-failed",
        severity=Severity.ERROR,
        message=f"the wheel cannot be installed: {words}",
        hint="name the folder with the provider's wheel: --find-links DIR",
    )


def run_failed(command: str, words: str) -> Finding:
    """Say that the user's command failed."""
    return Finding(
        code="run-failed",
        severity=Severity.ERROR,
        message=f"{command!r} fails in the environment: {words}",
        hint="it runs in an empty folder: paths must be absolute",
    )


def _excuse(subject: Subject, failed: Imported) -> str:
    """Return why a failure has nothing to do with shared libraries; empty where it may have."""
    libraries = (library for p in subject.providers for library in p.libraries.values())
    if any(library.name in failed.error for library in libraries):
        return ""
    package = failed.absent.partition(".")[0]
    own = {member.partition("/")[0].partition(".")[0] for member in subject.facts.members}
    if package and package not in own:
        return f"needs the Python package {package}"
    if _ALONE.search(failed.error):
        return failed.error
    if subject.compared.get(failed.module) == failed.error:
        return f"fails in the wheel before the repair too: {failed.error}"
    return ""


def _of_imports(subject: Subject, observed: Observed) -> Iterator[Finding]:
    members = extension_modules(subject.facts)
    excused = left_out(subject, observed)
    for one in observed.modules:
        if one.error and one.module not in excused:
            kind = f"{one.kind}: " if one.kind else ""
            yield Finding(
                code="import-failed",
                severity=Severity.ERROR,
                member=members.get(one.module),
                message=f"{one.module} cannot be imported: {kind}{one.error}",
                hint="if it fails in the wheel before the repair too, show that: --compare WHEEL",
            )
    if observed.died:
        yield Finding(
            code="import-failed",
            severity=Severity.ERROR,
            message=f"the process that imports all modules one after the other {observed.died}",
            hint="name the modules that belong together: --import NAME",
        )


def _of_libraries(subject: Subject, observed: Observed) -> Iterator[Finding]:
    for provider in subject.providers:
        for _, library in sorted(provider.libraries.items()):
            yield from _of_library(subject, provider, library, observed)


def _of_library(
    subject: Subject, provider: Provider, library: ProviderLibrary, observed: Observed
) -> Iterator[Finding]:
    """Judge each process, and say what several show once."""
    processes = observed.processes
    yield from dict.fromkeys(
        finding for p in processes for finding in _of_process(subject, provider, library, p)
    )
    if not any(_has_name(path, library) for process in processes for path in process):
        yield from _not_mapped(subject, provider, library)


def _of_process(
    subject: Subject, provider: Provider, library: ProviderLibrary, process: Sequence[str]
) -> Iterator[Finding]:
    copies = [path for path in process if _is_copy(path, library)]
    of_name = [path for path in copies if _has_name(path, library)]
    strange = [p for p in of_name if _folded(subject, p) != _folded(subject, library.place)]
    if strange and len(strange) == len(of_name):
        yield _from_elsewhere(provider, library, strange)
    elif strange:
        yield _twice(provider, library, strange, Severity.ERROR)
    own = {_folded(subject, layout.installed(m) or "") for m in subject.facts.members}
    for path in copies:
        if path not in of_name:
            is_own = _folded(subject, path) in own
            severity = Severity.ERROR if is_own else Severity.WARNING
            yield _twice(provider, library, [path], severity)


def _from_elsewhere(provider: Provider, library: ProviderLibrary, paths: Sequence[str]) -> Finding:
    return Finding(
        code="mapped-from-elsewhere",
        severity=Severity.ERROR,
        message=f"{library.name} is mapped from {', '.join(paths)}, and not from {library.place} "
        f"of {provider.label}",
        hint="something loads another copy first, or it lies where the loader looks first",
    )


def _twice(
    provider: Provider, library: ProviderLibrary, paths: Sequence[str], severity: Severity
) -> Finding:
    return Finding(
        code="mapped-twice",
        severity=severity,
        message=f"{library.name} of {provider.label} has another copy in the process: "
        f"{', '.join(paths)}",
        hint="two copies do not share their threads and their state; what brings the other can be "
        "repaired to use the provider too",
    )


def _not_mapped(
    subject: Subject, provider: Provider, library: ProviderLibrary
) -> Iterator[Finding]:
    """Say that a library was not mapped, if anything needs it."""
    kinds = {
        image.kind
        for binary in subject.facts.binaries.values()
        for image in binary.images
        if any(_has_name(name, library) for name in image.needed)
    }
    if not kinds:
        return
    only_programs = kinds == {Kind.EXECUTABLE}
    who = "only programs need it, which were not run" if only_programs else "nothing loaded it"
    yield Finding(
        code="not-mapped",
        severity=Severity.WARNING if only_programs else Severity.ERROR,
        message=f"{library.name} of {provider.label} was not mapped: {who}",
        hint="run such a program: --run COMMAND"
        if only_programs
        else "no module that could be imported needs it: name one that does with --import",
    )


def _has_name(path: str, library: ProviderLibrary) -> bool:
    """Whether a path, or a needed name, is of a library's name; Windows knows no case."""
    names = {library.name, layout.basename(library.image.name)}
    return layout.basename(path).lower() in {name.lower() for name in names}


def _is_copy(path: str, library: ProviderLibrary) -> bool:
    return _has_name(layout.REPAIR_HASH.sub("", path.lower()), library)


def _folded(subject: Subject, path: str) -> str:
    """Return a path as the file system of the wheel's platform compares it."""
    is_windows = tags.system_of(subject.facts.name.platforms) is System.WINDOWS
    return path.lower() if is_windows else path
