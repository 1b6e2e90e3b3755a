"""What the command line shows: talk on standard error, results on standard output."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from extlib_repair import loader
from extlib_repair.model import (
    AddNeeded,
    AddPackage,
    ClearLoadFlags,
    EditBinary,
    InsertLoader,
    MoveToScripts,
    RenameNeeded,
    SetPlatforms,
    SetRequirements,
    SetRunPath,
    Severity,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from extlib_repair.errors import ExtlibRepairError
    from extlib_repair.model import BinaryEdit, Checked, Edit, Finding, Plan, Report

_COLOURS = {
    Severity.NOTE.value: "36",
    Severity.WARNING.value: "33",
    Severity.ERROR.value: "31",
    "hint": "32",
}


def say(text: str) -> None:
    """Print a line of talk."""
    print(text, file=sys.stderr)


def show_text(text: str) -> None:
    """Print a text that was asked for."""
    print(text, end="")


def show_finding(finding: Finding) -> None:
    """Print a finding: severity, member, message, code, and the hint below."""
    where = f"{finding.member}: " if finding.member else ""
    _labelled(finding.severity.value, f"{where}{finding.message} [{finding.code}]")
    if finding.hint:
        _labelled("hint", finding.hint)


def show_error(error: ExtlibRepairError) -> None:
    """Print why nothing came of it."""
    _labelled("error", str(error))
    if error.hint:
        _labelled("hint", error.hint)


def show_bug(error: BaseException) -> None:
    """Print that something went wrong that we did not foresee."""
    _labelled("error", f"internal: {type(error).__name__}: {error}")
    _labelled("hint", "this is a defect of extlib-repair: please report it, with --debug")


def show_report(report: Report, *, as_json: bool) -> None:
    """Print what was done, and the path of the result; or what would be done."""
    if report.written:
        if not report.plan.edits:
            how = "as it is" if report.engine == "none" else f"as {report.engine} left it"
            say(f"passed through, {how}: nothing in it was to be changed")
        print(report.output)
    elif as_json:
        print(report.plan.as_json(), end="")
    else:
        print("\n".join(_plan_lines(report.plan)))


def show_result(
    data: dict[str, Any], text: Callable[[dict[str, Any]], Iterable[str]], *, as_json: bool
) -> None:
    """Print a result as JSON, or as text."""
    if as_json:
        print(json.dumps(data, indent=1))
    else:
        print("\n".join(text(data)))


def show_check(checked: Checked, *, as_json: bool) -> None:
    """Print what a check found."""
    if as_json:
        data = {
            "schema": 1,
            "wheel": checked.wheel,
            "ok": not checked.errors,
            "providers": [provider.label for provider in checked.providers],
            "findings": [dataclasses.asdict(finding) for finding in checked.findings],
        }
        print(json.dumps(data, indent=1))
        return
    for finding in checked.findings:
        show_finding(finding)
    if not checked.errors:
        labels = ", ".join(provider.label for provider in checked.providers)
        print(f"{checked.wheel}: good{f' with {labels}' if labels else ', needs no provider'}")


def _plan_lines(plan: Plan) -> Iterator[str]:
    yield f"would write {plan.output.filename}"
    for edit in plan.edits:
        yield from _edit_lines(edit)
    if not plan.edits:
        yield "  as the engine leaves it"


def _edit_lines(edit: Edit) -> Iterator[str]:
    if isinstance(edit, EditBinary):
        yield from (f"  {edit.member}: {_change(change)}" for change in edit.edits)
    elif isinstance(edit, MoveToScripts):
        yield f"  {edit.member}: moves to {edit.target}, a starter takes its place"
    elif isinstance(edit, InsertLoader):
        yield f"  {edit.member}: loads {', '.join(loader.libraries(edit.lines))} first"
    elif isinstance(edit, AddPackage):
        loaded = ", ".join(loader.libraries(edit.text))
        yield f"  {edit.member}: new, loads {loaded} and then the module beside it"
    elif isinstance(edit, SetRequirements):
        yield from (f"  Requires-Dist: {line}" for line in edit.requirements)
    elif isinstance(edit, SetPlatforms):
        yield f"  platform tag {'.'.join(edit.platforms)}"
    else:
        yield "  .dist-info: what was examined"


def _change(change: BinaryEdit) -> str:
    if isinstance(change, SetRunPath):
        kind = change.run_path.kind if change.run_path else "run path"
        return f"{kind} {':'.join(change.run_path.entries) if change.run_path else 'none'}"
    if isinstance(change, AddNeeded):
        return f"needs {change.library}"
    if isinstance(change, RenameNeeded):
        return f"needs {change.new} instead of {change.old}"
    if isinstance(change, ClearLoadFlags):
        return "no DependentLoadFlags"
    return "no signature"


def _labelled(label: str, text: str) -> None:
    say(f"{_coloured(label)}: {text}")


def _coloured(label: str) -> str:
    if "NO_COLOR" in os.environ or not sys.stderr.isatty():
        return label
    return f"\x1b[{_COLOURS[label]}m{label}\x1b[0m"
