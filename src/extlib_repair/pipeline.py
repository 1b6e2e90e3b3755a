"""The one place that knows the order of the steps."""

from __future__ import annotations

import dataclasses
import fnmatch
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from extlib_repair import (
    engines,
    planning,
    platform_tag,
    provider,
    reaching,
    tags,
    verifying,
    writing,
)
from extlib_repair.archive import MOST_EXPANSION
from extlib_repair.errors import (
    EngineError,
    ExtlibRepairError,
    ProviderMismatchError,
    RefusedError,
    UsageError,
)
from extlib_repair.model import (
    Finding,
    Plan,
    Provider,
    ProviderRequest,
    Report,
    Severity,
    System,
    WheelFacts,
)
from extlib_repair.wheelfile import WheelFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extlib_repair.engines import Arguments


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that a repair is asked to do, apart from the wheel."""

    providers: tuple[ProviderRequest, ...] = ()
    wheel_dir: Path = Path("wheelhouse")
    engine_options: tuple[str, ...] = ()
    sources: provider.Sources = dataclasses.field(default_factory=provider.Sources)
    style: reaching.Style = dataclasses.field(default_factory=reaching.Style)
    add_needed: bool = False
    require_provided: bool = False
    most_expansion: int = MOST_EXPANSION


def repair(
    wheel: Path, request: Request, tell: Callable[[Finding], None], log: Callable[[str], None]
) -> Report:
    """Repair one wheel into ``request.wheel_dir``.

    Every finding goes to ``tell`` as soon as it is known, the engine's own words to ``log``.
    Raises a subclass of :class:`ExtlibRepairError`; then nothing was written.
    """
    with WheelFile(wheel, most_expansion=request.most_expansion) as file:
        facts = file.facts()
    engine = engines.engine_for(
        tags.system_of(facts.name.platforms), has_binaries=bool(facts.binaries)
    )
    arguments = engine.parse(request.engine_options)
    chosen = _choose(facts, request)
    providers = [c.provider for c in chosen]
    _refuse(planning.private_library_findings(facts, providers), tell)
    arguments = dataclasses.replace(
        arguments,
        leave_out=tuple(sorted({name for p in providers for name in p.libraries})),
        platform_hint=platform_tag.hint(facts, providers),
    )
    with tempfile.TemporaryDirectory(prefix="extlib-repair-") as folder:
        try:
            result = engine.run(wheel, arguments, Path(folder))
        except EngineError as error:
            log(error.log)
            raise
        log(result.log)
        _refuse((*_unmatched(facts, result, arguments.excluded), *result.findings), tell)
        with WheelFile(result.wheel, most_expansion=request.most_expansion) as file:
            facts = file.facts()
            plan = _plan(facts, arguments, chosen, request)
            _refuse(plan.findings, tell)
            written = _write(file, facts, plan, request.wheel_dir, arguments.level)
    return Report(plan=plan, engine=engine.NAME, output=str(written), size=written.stat().st_size)


def _write(file: WheelFile, facts: WheelFacts, plan: Plan, target: Path, level: int) -> Path:
    """Apply the plan, read the output again, publish it."""
    with writing.staging(target) as stage:
        if plan.edits:
            staged = writing.apply(plan, file, stage, level=level)
            verifying.verify(staged, planning.expected(facts, plan))
        else:
            staged = writing.copy(file.path, stage)
        return writing.publish(staged, target)


def _choose(facts: WheelFacts, request: Request) -> tuple[planning.Chosen, ...]:
    """Find the provider of every request."""
    projects = [r.project for r in request.providers]
    doubled = {project for project in projects if projects.count(project) > 1}
    if doubled:
        raise UsageError(
            f"--provided-by names {', '.join(sorted(doubled))} twice",
            hint="one specifier can hold several bounds: 'NAME>=1,<2'",
        )
    provider.check_sources(projects, request.sources)
    platforms = [tags.parse(tag) for tag in facts.name.platforms]
    system, arch = platforms[0].system, platforms[0].arch
    if system is System.ANY:
        return ()
    chosen = tuple(
        planning.Chosen(provider=provider.find(r.project, request.sources, system, arch), request=r)
        for r in request.providers
    )
    _refuse_rivals([c.provider for c in chosen])
    return chosen


def _refuse_rivals(providers: Sequence[Provider]) -> None:
    """Refuse two libraries of one name: no loader can tell them apart."""
    owners: dict[str, Provider] = {}
    for one in providers:
        for name in one.libraries:
            if name in owners:
                raise ProviderMismatchError(
                    f"both {owners[name].label} and {one.label} supply {name}",
                    hint="name one of them",
                )
            owners[name] = one


def _plan(
    facts: WheelFacts,
    arguments: Arguments,
    chosen: Sequence[planning.Chosen],
    request: Request,
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
    )
    plan = planning.plan(facts, chosen, options, c_library_names())
    if request.providers and not chosen:
        return dataclasses.replace(plan, findings=_pure(request))
    return plan


def _pure(request: Request) -> tuple[Finding, ...]:
    names = ", ".join(r.project for r in request.providers)
    severity = Severity.ERROR if request.require_provided else Severity.NOTE
    message = f"the wheel holds no binary: nothing in it needs {names}"
    return (Finding(code="nothing-provided", severity=severity, message=message),)


def _unmatched(
    facts: WheelFacts, result: engines.Result, patterns: Sequence[str]
) -> tuple[Finding, ...]:
    """Warn of patterns of the user that left nothing out, of what the wheel needed at first."""
    needed = {name for image in facts.image_map.values() for name in image.needed} | result.matched
    return tuple(
        Finding(
            code="unmatched-exclude",
            severity=Severity.WARNING,
            message=f"--exclude {pattern} matches nothing that the wheel needs",
            hint=f"it needs {', '.join(near)}"
            if (near := planning.near_misses([pattern], needed))
            else "",
        )
        for pattern in patterns
        if not any(fnmatch.fnmatchcase(name, pattern) for name in needed)
    )


def _refuse(findings: Sequence[Finding], tell: Callable[[Finding], None]) -> None:
    """Tell all findings; raise when some of them are errors."""
    for finding in findings:
        tell(finding)
    errors = [f for f in findings if f.severity is Severity.ERROR]
    if not errors:
        return
    kind: type[ExtlibRepairError] = RefusedError
    if any(f.code in planning.PROVIDER_CODES for f in errors):
        kind = ProviderMismatchError
    count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    raise kind(f"{count}; nothing was written")


def c_library_names() -> frozenset[str]:
    """Return the shipped names that the C libraries define."""
    file = resources.files("extlib_repair") / "data" / "c-library-names.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
