"""What the command line shows: text on standard error, results on standard output."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from extlib_repair.model import Severity

if TYPE_CHECKING:
    from extlib_repair.errors import ExtlibRepairError
    from extlib_repair.model import Finding, Report

_COLOURS = {
    Severity.NOTE.value: "36",
    Severity.WARNING.value: "33",
    Severity.ERROR.value: "31",
    "hint": "32",
}


def say(text: str) -> None:
    """Print a line of talk."""
    print(text, file=sys.stderr)


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


def show_report(report: Report) -> None:
    """Print what was done, and the path of the result."""
    if not report.plan.edits:
        how = "as it is" if report.engine == "none" else f"as {report.engine} left it"
        say(f"passed through, {how}: nothing in it was to be changed")
    print(report.output)


def _labelled(label: str, text: str) -> None:
    say(f"{_coloured(label)}: {text}")


def _coloured(label: str) -> str:
    if "NO_COLOR" in os.environ or not sys.stderr.isatty():
        return label
    return f"\x1b[{_COLOURS[label]}m{label}\x1b[0m"
