"""Command line -> request; report -> text; error -> exit code. No decisions."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extlib_repair import __version__, commandline, reporting
from extlib_repair.errors import (
    BROKEN_PIPE_EXIT_CODE,
    BUG_EXIT_CODE,
    ExtlibRepairError,
    RefusedError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from extlib_repair.commandline import Line
    from extlib_repair.loaders import Mode
    from extlib_repair.model import Checked
    from extlib_repair.pipeline import Request, Wishes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (``| head``); Python must not try to write the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE_EXIT_CODE
    except KeyboardInterrupt:
        reporting.say("interrupted")
        return 130
    except ExtlibRepairError as error:
        if "--debug" in arguments:
            raise
        reporting.show_error(error)
        return error.exit_code
    except Exception as error:
        if "--debug" in arguments:
            raise
        reporting.show_bug(error)
        return BUG_EXIT_CODE
    return code


def run(arguments: Sequence[str]) -> int:
    """Do what a command line says; failures are exceptions."""
    line = commandline.sort(arguments)
    if "--help" in line.flags:
        reporting.show_text(commandline.HELP)
    elif "--version" in line.flags:
        reporting.show_text(f"extlib-repair {__version__}\n")
    elif line.verb == "demo":
        from extlib_repair import demo

        demo.run(reporting.say)
    elif line.verb == "verify":
        commandline.refuse_nothing_to_do(line)
        return _verify(line)
    elif line.verb == "recheck":
        commandline.refuse_nothing_against(line)
        return _recheck(line)
    elif line.verb == "doctor":
        _doctor(line)
    elif line.verb == "providers":
        _learn(line)
    else:
        commandline.refuse_nothing_to_do(line)
        return _for_each_wheel(line, {"repair": _repair, "show": _show, "check": _check}[line.verb])
    return 0


def _for_each_wheel(line: Line, action: Callable[[Path, Request, Line], None]) -> int:
    """Do one thing with every wheel; the exit code is that of the first failure."""
    request = _request(line)
    failures = _Failures(line)
    for wheel in _expanded(line.wheels):
        try:
            action(wheel, request, line)
        except ExtlibRepairError as error:
            failures.hear(error)
    return failures.first


class _Failures:
    """Shows failures with ``--keep-going``, and raises the first one without."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.first = 0

    def hear(self, error: ExtlibRepairError) -> None:
        """Take note of a failure."""
        if "--keep-going" not in self._line.flags:
            raise error
        reporting.show_error(error)
        self.first = self.first or error.exit_code


def _expanded(wheels: Sequence[Path]) -> Iterator[Path]:
    """Yield the wheels that patterns stand for, in their order; raises UsageError.

    Windows' own shell leaves ``*`` to the programs, and delvewheel expands it.
    """
    for wheel in wheels:
        if "*" not in str(wheel) or wheel.exists():
            yield wheel
            continue
        found = sorted(Path(wheel.anchor).glob(str(wheel.relative_to(wheel.anchor))))
        if not found:
            raise UsageError(f"no wheel matches {wheel}", hint="is the path right?")
        yield from found


def _repair(wheel: Path, request: Request, line: Line) -> None:
    from extlib_repair import pipeline

    log = reporting.say if "--verbose" in line.flags else _silent
    report = pipeline.repair(wheel, request, reporting.show_finding, log)
    reporting.show_report(report, as_json="--json" in line.flags)


def _show(wheel: Path, request: Request, line: Line) -> None:
    from extlib_repair import pipeline, showing

    data = pipeline.show(wheel, request)
    reporting.show_result(data, showing.text, as_json="--json" in line.flags)


def _check(wheel: Path, request: Request, line: Line) -> None:
    from extlib_repair import pipeline

    _show_checked(wheel, pipeline.check(wheel, request), line)


def _show_checked(wheel: Path, checked: Checked, line: Line) -> None:
    reporting.show_check(checked, as_json="--json" in line.flags)
    if checked.errors:
        raise RefusedError(f"{wheel.name} does not keep its promises")


def _verify(line: Line) -> int:
    """Verify all wheels; the exit code is that of the first failure."""
    from extlib_repair import pipeline, showing

    failures, as_json = _Failures(line), "--json" in line.flags
    request, wheels = _request(line), tuple(_expanded(line.wheels))
    for one in pipeline.verify(wheels, request, _wishes(line), _say, failures.hear):
        for finding in () if as_json else one.findings:
            reporting.show_finding(finding)
        reporting.show_result(showing.of_verified(one), showing.verified_text, as_json=as_json)
        if one.errors:
            failures.hear(RefusedError(f"{one.wheel} does not do what it promises"))
    return failures.first


def _recheck(line: Line) -> int:
    """Check all wheels against other releases of their providers."""
    from extlib_repair import pipeline

    against = line.all("--against")
    for folder in line.all("--all-consumers"):
        line.wheels += pipeline.consumers(Path(folder), against)

    def one(wheel: Path, request: Request, line: Line) -> None:
        _show_checked(wheel, pipeline.recheck(wheel, request, against), line)

    return _for_each_wheel(line, one)


def _wishes(line: Line) -> Wishes:
    from extlib_repair import pipeline

    # Other programs read them, and in another folder; an address stays as it is.
    links = [
        text if "://" in text else str(Path(text).absolute()) for text in line.all("--find-links")
    ]
    return pipeline.Wishes(
        python=line.last("--python", ""),
        find_links=tuple(links),
        requirements=tuple(line.all("--install")),
        modules=tuple(line.all("--import")),
        command=line.last("--run", ""),
        compare=tuple(map(Path, line.all("--compare"))),
    )


def _doctor(line: Line) -> None:
    from extlib_repair import pipeline, telling

    folder = commandline.folder_of_doctor(line)
    data = pipeline.doctor(line.last("--python", "") or None, folder)
    reporting.show_result(data, telling.text, as_json="--json" in line.flags)
    if not data["ok"]:
        raise RefusedError(f"not every consumer in {data['environment']} has its provider")


def _learn(line: Line) -> None:
    from extlib_repair import learning, pipeline

    name, folder = commandline.learned_of(line), line.last("--wheels", "")
    wish = learning.wanted(
        name,
        line.last("--versions", ""),
        Path(folder) if folder else None,
        line.last("--output", ""),
    )
    reporting.say(pipeline.learn(wish, reporting.say))


def _request(line: Line) -> Request:
    from extlib_repair import config, dependency, pipeline, planning, provider, reaching
    from extlib_repair.archive import MOST_EXPANSION
    from extlib_repair.model import RunPathKind

    configuration = config.read(line.last("--config", ""), planning.CODES)
    reporting.say(configuration.said)
    line.add(configuration.values, configuration.switches)
    named = [dependency.parse_request(text) for text in line.all("--provided-by")]
    expansion = line.last("--most-expansion", str(MOST_EXPANSION))
    if not expansion.isdigit():
        raise UsageError(f"--most-expansion {expansion!r} is not a number", hint="for example: 200")
    return pipeline.Request(
        providers=dependency.with_built_against(named, line.all("--built-against")),
        wheel_dir=Path(line.last("--wheel-dir", "wheelhouse")),
        engine_options=tuple(line.engine),
        configured_options=configuration.engine_options,
        sources=provider.Sources(
            wheels=tuple(map(Path, line.all("--provider-wheel"))),
            python=line.last("--provider-python", "") or None,
            policies=tuple(map(Path, line.all("--policy"))),
            fetch="--fetch" in line.flags,
        ),
        style=reaching.Style(
            kind=RunPathKind.RUNPATH if "--runpath" in line.flags else RunPathKind.RPATH,
            sanitize="--sanitize-rpaths" in line.flags,
        ),
        add_needed="--add-needed" in line.flags,
        resign="--resign" in line.flags,
        drop_signature="--drop-signature" in line.flags,
        loader=_mode(line.last("--loader", "auto")),
        require_provided="--require-provided" in line.flags,
        dry_run="--dry-run" in line.flags,
        acknowledged=configuration.acknowledged,
        most_expansion=int(expansion),
    )


def _mode(word: str) -> Mode:
    from extlib_repair.loaders import Mode

    if word not in tuple(Mode):
        raise UsageError(f"--loader {word!r} is none of {', '.join(Mode)}")
    return Mode(word)


def _say(text: str) -> None:
    """Say what there is to say."""
    if text:
        reporting.say(text.rstrip())


def _silent(_: str) -> None:
    """Say nothing."""
