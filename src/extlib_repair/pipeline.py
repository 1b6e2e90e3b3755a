"""The one place that knows the order of the steps."""

from __future__ import annotations

import dataclasses
import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from extlib_repair import (
    checking,
    choosing,
    copies,
    dependency,
    diagnosing,
    engines,
    environment,
    examined,
    installing,
    interpreters,
    judging,
    learning,
    loaders,
    planning,
    platform_tag,
    policy,
    provider,
    reaching,
    shipped,
    showing,
    tags,
    telling,
    verifying,
    writing,
)
from extlib_repair.archive import MOST_EXPANSION
from extlib_repair.errors import (
    CannotEditError,
    EngineError,
    ExtlibRepairError,
    ProviderMismatchError,
    RefusedError,
    UsageError,
)
from extlib_repair.model import (
    Checked,
    EditBinary,
    Finding,
    Plan,
    Project,
    ProviderRequest,
    Report,
    Severity,
    Verified,
)
from extlib_repair.wheelfile import WheelFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from extlib_repair.engines import Arguments
    from extlib_repair.interpreters import Interpreter
    from extlib_repair.judging import Subject
    from extlib_repair.model import Chosen, Observed, WheelFacts


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that is asked for, apart from the wheel."""

    providers: tuple[ProviderRequest, ...] = ()
    wheel_dir: Path = Path("wheelhouse")
    engine_options: tuple[str, ...] = ()
    configured_options: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Name of an engine -> options that come before ``engine_options``, for that engine only."""

    sources: provider.Sources = dataclasses.field(default_factory=provider.Sources)
    style: reaching.Style = dataclasses.field(default_factory=reaching.Style)
    add_needed: bool = False
    resign: bool = False
    drop_signature: bool = False
    loader: loaders.Mode = loaders.Mode.AUTO
    require_provided: bool = False
    dry_run: bool = False
    acknowledged: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Code of a finding -> the reason why it is no error here."""

    most_expansion: int = MOST_EXPANSION


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is asked for when a wheel is verified."""

    python: str = ""
    find_links: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    """What is installed besides, for the command."""

    modules: tuple[str, ...] = ()
    """The modules to import, instead of all extension modules."""

    command: str = ""
    """What to run after the imports."""

    compare: tuple[Path, ...] = ()
    """Wheels from before the repair: what cannot be imported there need not be here."""


def repair(
    wheel: Path, request: Request, tell: Callable[[Finding], None], log: Callable[[str], None]
) -> Report:
    """Repair one wheel into ``request.wheel_dir``.

    Every finding goes to ``tell`` as soon as it is known, the engine's own words to ``log``.
    Raises a subclass of :class:`ExtlibRepairError`; then nothing was written.
    """
    judge = _Judge(request.acknowledged, tell)
    with WheelFile(wheel, most_expansion=request.most_expansion) as file:
        facts = file.facts()
    engine = engines.engine_for(
        tags.system_of(facts.name.platforms), has_binaries=bool(facts.binaries)
    )
    configured = request.configured_options.get(engine.NAME, ())
    arguments = engine.parse((*configured, *request.engine_options))
    chosen = choosing.for_repair(facts, request.providers, request.sources)
    providers = [c.provider for c in chosen]
    judge.hear(planning.private_library_findings(facts, providers))
    arguments = dataclasses.replace(
        arguments,
        leave_out=tuple(sorted({name for p in providers for name in p.libraries})),
        platform_hint=platform_tag.hint(facts, providers),
    )
    with writing.workspace() as folder:
        try:
            result = engine.run(wheel, arguments, folder)
        except EngineError as error:
            log(error.log)
            raise
        log(result.log)
        judge.hear((*_unmatched(facts, result, arguments), *result.findings))
        with WheelFile(result.wheel, most_expansion=request.most_expansion) as file:
            facts = file.facts()
            plan = _plan(facts, arguments, chosen, request)
            judge.hear(plan.findings)
            output = request.wheel_dir / plan.output.filename
            if not request.dry_run:
                _write(file, facts, plan, request.wheel_dir, arguments.level)
    return Report(plan=plan, engine=engine.NAME, output=str(output), written=not request.dry_run)


def show(wheel: Path, request: Request) -> dict[str, Any]:
    """Return what each binary of a wheel needs, who supplies it and where it will be found."""
    facts, _ = _read(wheel, request)
    chosen = choosing.for_check(facts, request.providers, request.sources)
    names = shipped.names()
    loading = checking.loading(facts, chosen, names)
    return showing.described(facts, chosen, loading, checking.loaders(facts, chosen, names))


def check(wheel: Path, request: Request) -> Checked:
    """Return what is wrong with a repaired wheel; nothing is run."""
    facts, record_problems = _read(wheel, request)
    chosen = choosing.for_check(facts, request.providers, request.sources)
    findings = checking.findings(facts, chosen, shipped.names(), record_problems)
    return Checked(
        wheel=wheel.name,
        findings=tuple(_acknowledged(f, request.acknowledged) for f in findings),
        providers=tuple(choice.provider for choice in chosen),
    )


def recheck(wheel: Path, request: Request, against: Sequence[str]) -> Checked:
    """Return whether a repaired wheel would work with other releases of its providers.

    Each of ``against`` is a wheel file, or a requirement whose wheel is fetched for the consumer.
    """
    facts, _ = _read(wheel, request)
    with writing.workspace() as folder:
        given = [
            Path(one) if one.endswith(".whl") else _of_index(facts, one, folder / str(index))
            for index, one in enumerate(against)
        ]
        sources = dataclasses.replace(request.sources, wheels=tuple(given), fetch=False)
        return check(wheel, dataclasses.replace(request, sources=sources))


def _of_index(facts: WheelFacts, requirement: str, folder: Path) -> Path:
    folder.mkdir()
    return choosing.fetched(facts, dependency.parse_request(requirement, "--against"), folder)


def consumers(folder: Path, against: Sequence[str]) -> Iterator[Path]:
    """Yield the wheels of a folder that were repaired with one of some providers, by their names.

    Raises :class:`UsageError` when there is none.
    """
    names = {_project_of(one) for one in against}
    found = [path for path in sorted(folder.glob("*.whl")) if _providers_of(path) & names]
    if not found:
        raise UsageError(
            f"{folder} holds no wheel that was repaired with {' or '.join(sorted(names))}",
            hint="--all-consumers takes a folder of repaired wheels",
        )
    yield from found


def _project_of(against: str) -> Project:
    """Return the project of a wheel file, or of a requirement."""
    if not against.endswith(".whl"):
        return dependency.parse_request(against, "--against").project
    with WheelFile(Path(against)) as file:
        return Project(canonicalize_name(file.name.distribution))


def _providers_of(wheel: Path) -> set[Project]:
    with WheelFile(wheel) as file:
        examined_text = file.examined()
    known = examined.parse(examined_text) if examined_text else ()
    return {choice.provider.project for choice in known}


def verify(
    wheels: Sequence[Path],
    request: Request,
    wishes: Wishes,
    log: Callable[[str], None],
    refuse: Callable[[ExtlibRepairError], None],
) -> Iterator[Verified]:
    """Install repaired wheels, import what they hold, and say what was seen.

    Wheels that one interpreter fits are installed together; those of another platform are checked
    by model. What cannot be verified goes to ``refuse``, what the user's command says to ``log``.
    """
    groups: dict[Interpreter | None, list[Subject]] = {}
    for wheel in wheels:
        try:
            subject = _subject(wheel, request, wishes)
            interpreter = interpreters.for_wheel(subject.facts.name, wishes.python)
            groups.setdefault(interpreter, []).append(subject)
        except ExtlibRepairError as error:
            refuse(error)
    for interpreter, subjects in groups.items():
        try:
            if interpreter is None:
                found = [_by_model(subject, request) for subject in subjects]
            else:
                found = _installed(interpreter, subjects, request, wishes, log)
        except ExtlibRepairError as error:
            refuse(error)
        else:
            yield from (_judged(verified, request) for verified in found)


def _subject(wheel: Path, request: Request, wishes: Wishes) -> Subject:
    facts, _ = _read(wheel, request)
    chosen = choosing.for_check(facts, request.providers, request.sources)
    if not facts.examined:
        raise UsageError(
            f"{wheel.name} was never repaired with a provider: it names no library to look for",
            hint="repair it first: extlib-repair WHEEL --provided-by NAME",
        )
    return judging.Subject(wheel=str(wheel), facts=facts, chosen=chosen, named=wishes.modules)


def _by_model(subject: Subject, request: Request) -> Verified:
    checked = check(Path(subject.wheel), request)
    return Verified(
        wheel=checked.wheel,
        how="by model, nothing was installed or run: the wheel is for another platform",
        installed=False,
        findings=checked.findings,
        providers=checked.providers,
    )


def _installed(
    interpreter: Interpreter,
    subjects: Sequence[Subject],
    request: Request,
    wishes: Wishes,
    log: Callable[[str], None],
) -> list[Verified]:
    """Install wheels together, import, run; and judge each wheel by what was seen."""
    with installing.environment(interpreter) as environment:
        wheels = [*(Path(subject.wheel) for subject in subjects), *request.sources.wheels]
        if words := environment.install(wheels, wishes.find_links, wishes.requirements):
            failed = judging.install_failed(words)
            return [judging.not_installed(s, environment.how, failed) for s in subjects]
        modules = dict.fromkeys(module for subject in subjects for module in subject.modules)
        observed = environment.observe(tuple(modules))
        why, said = environment.run(wishes.command) if wishes.command else ("", "")
        how = environment.how
    log(said)
    if wishes.compare:
        before = _before(interpreter, observed, wishes)
        subjects = [dataclasses.replace(s, compared=before) for s in subjects]
    more = (judging.run_failed(wishes.command, why),) if why else ()
    return [judging.verdict(subject, how, observed, more) for subject in subjects]


def _before(interpreter: Interpreter, observed: Observed, wishes: Wishes) -> dict[str, str]:
    """Return how the modules that cannot be imported fail in the wheels from before the repair."""
    failing = [one.module for one in observed.modules if one.error]
    if not failing:
        return {}
    with installing.environment(interpreter) as environment:
        if words := environment.install(wishes.compare, wishes.find_links):
            raise UsageError(f"--compare: the wheel cannot be installed: {words}")
        return {one.module: one.error for one in environment.observe(failing).modules}


def _judged(verified: Verified, request: Request) -> Verified:
    findings = tuple(_acknowledged(f, request.acknowledged) for f in verified.findings)
    return dataclasses.replace(verified, findings=findings)


def doctor(python: str | None, folder: Path | None) -> dict[str, Any]:
    """Return what is wrong in an installed environment; nothing is run but the interpreter."""
    there = environment.of_folder(folder) if folder else environment.of_python(python)
    several = copies.find(there.libraries, shipped.families(), policy.all_built_in())
    files = environment.look(there, diagnosing.asked(there))
    found = (
        *(copies.finding(one, there) for one in several),
        *diagnosing.findings(there, files),
    )
    return telling.described(there, several, found)


def learn(wish: learning.Wanted, tell: Callable[[str], None]) -> str:
    """Extend the history of a provider, and return what it now knows in a line."""
    known = learning.learn(wish, tell)
    wheels = sum(len(chronicle.wheels) for chronicle in known.places.values())
    return (
        f"{wish.file}: {known.project}, releases {len(known.releases)}, wheels {wheels}, "
        f"platform families {len(known.places)}"
    )


def _read(wheel: Path, request: Request) -> tuple[WheelFacts, tuple[str, ...]]:
    """Return the facts of a wheel that has binaries, and what is wrong with its RECORD."""
    with WheelFile(wheel, most_expansion=request.most_expansion) as file:
        facts = file.facts()
        engines.engine_for(tags.system_of(facts.name.platforms), has_binaries=bool(facts.binaries))
        if not facts.binaries:
            raise UsageError(
                f"{wheel.name} holds no binary: there is nothing to look at",
                hint="a pure wheel needs no repair",
            )
        return facts, tuple(verifying.record_problems(file))


def _write(file: WheelFile, facts: WheelFacts, plan: Plan, target: Path, level: int) -> None:
    """Apply the plan, read the output again, publish it."""
    with writing.staging(target) as stage:
        if plan.edits:
            staged = writing.apply(plan, file, stage, level=level)
            edited = [e.member for e in plan.edits if isinstance(e, EditBinary)]
            verifying.verify(staged, planning.expected(facts, plan), edited)
        else:
            staged = writing.copy(file.path, stage)
        writing.publish(staged, target)


def _plan(
    facts: WheelFacts, arguments: Arguments, chosen: Sequence[Chosen], request: Request
) -> Plan:
    options = planning.Options(
        style=request.style,
        promise=platform_tag.Promise(
            stated=arguments.platform,
            default=arguments.default_platform,
            keep=arguments.keep_platforms,
        ),
        add_needed=request.add_needed,
        require_provided=request.require_provided,
        resign=request.resign,
        drop_signature=request.drop_signature,
        loader=request.loader,
    )
    plan = planning.plan(facts, chosen, options, shipped.names())
    if request.providers and not chosen:
        return dataclasses.replace(plan, findings=_pure(request))
    return plan


def _pure(request: Request) -> tuple[Finding, ...]:
    names = ", ".join(r.project for r in request.providers)
    severity = Severity.ERROR if request.require_provided else Severity.NOTE
    message = f"the wheel holds no binary: nothing in it needs {names}"
    return (Finding(code="nothing-provided", severity=severity, message=message),)


def _unmatched(
    facts: WheelFacts, result: engines.Result, arguments: Arguments
) -> tuple[Finding, ...]:
    """Warn of patterns of the user that left nothing out, of what the wheel needed at first."""
    same = str.lower if arguments.any_case else str
    needed = {same(name) for name in {name for _, name in facts.needs} | result.matched}
    return tuple(
        Finding(
            code="unmatched-exclude",
            severity=Severity.WARNING,
            message=f"--exclude {pattern} matches nothing that the wheel needs",
            hint=f"it needs {', '.join(near)}"
            if (near := planning.near_misses([same(pattern)], needed))
            else "",
        )
        for pattern in arguments.excluded
        if not any(fnmatch.fnmatchcase(name, same(pattern)) for name in needed)
    )


def _acknowledged(finding: Finding, reasons: Mapping[str, str]) -> Finding:
    """Return a finding that is no error where its code was acknowledged with a reason."""
    if finding.severity is not Severity.ERROR or finding.code not in reasons:
        return finding
    return dataclasses.replace(
        finding, severity=Severity.WARNING, hint=f"acknowledged: {reasons[finding.code]}"
    )


class _Judge:
    """Hears findings, tells them, and stops the repair at errors."""

    def __init__(self, acknowledged: Mapping[str, str], tell: Callable[[Finding], None]) -> None:
        self._acknowledged = acknowledged
        self._tell = tell

    def hear(self, findings: Sequence[Finding]) -> None:
        """Tell all findings; raise when some of them are errors."""
        judged = [_acknowledged(finding, self._acknowledged) for finding in findings]
        for finding in judged:
            self._tell(finding)
        errors = [f for f in judged if f.severity is Severity.ERROR]
        if not errors:
            return
        kind: type[ExtlibRepairError] = RefusedError
        if any(f.code in planning.PROVIDER_CODES for f in errors):
            kind = ProviderMismatchError
        elif any(f.code in planning.EDIT_CODES for f in errors):
            kind = CannotEditError
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        raise kind(f"{count}; nothing was written")
