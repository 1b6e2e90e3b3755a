"""What ``doctor`` tells of an environment: as data, and as text for a terminal. Pure."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import TYPE_CHECKING, Any

from extlib_repair import copies, diagnosing
from extlib_repair.model import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from extlib_repair.copies import Copies
    from extlib_repair.model import Environment, Finding

SCHEMA = 1
WIDTH = 80


def described(
    environment: Environment, found: Sequence[Copies], findings: Sequence[Finding]
) -> dict[str, Any]:
    """Return everything that is told, in the form of JSON."""
    return {
        "schema": SCHEMA,
        "environment": environment.name,
        "folders": list(environment.folders),
        "cores": environment.cores,
        "distributions": len(environment.distributions),
        "libraries": len(environment.libraries),
        "consumers": [d.label for d in diagnosing.consumers(environment)],
        "ok": not any(f.severity is Severity.ERROR for f in findings),
        "copies": [_copies(one, environment) for one in found],
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }


def _copies(found: Copies, environment: Environment) -> dict[str, Any]:
    return {
        "name": found.name,
        "builds": found.builds,
        "further-bytes": found.further_bytes,
        "further-threads": found.further_threads(environment.cores),
        "files": [
            {
                "path": copy.file.path,
                "distribution": copy.file.project,
                "version": copy.file.version,
                "bytes": copy.file.size,
                "sha256": copy.file.sha256,
                "build-ids": [image.uuid for image in copy.file.images if image.uuid],
                "supplier": copy.supplier or None,
            }
            for copy in found.copies
        ],
    }


def text(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines for a description, at most 80 columns where names allow it."""
    consumers = data["consumers"]
    yield _printable(data["environment"])
    yield from _filled(
        f"  {_count(data['distributions'], 'distribution')}, "
        f"{_count(data['libraries'], 'native library', 'native libraries')}, "
        f"{_count(len(consumers), 'repaired consumer')}"
        f"{': ' if consumers else ''}{', '.join(consumers)}"
    )
    files = iter(data["copies"])
    for finding in data["findings"]:
        yield ""
        yield from _finding(finding)
        if finding["code"] == "several-copies":
            yield from _files(next(files), data["folders"])
    yield ""
    yield "all is well" if data["ok"] else "not all is well: see the errors above"


def _finding(finding: Mapping[str, Any]) -> Iterator[str]:
    yield from _filled(f"{finding['severity']}: {finding['message']} [{finding['code']}]")
    yield from _filled(f"  hint: {finding['hint']}")


def _files(found: Mapping[str, Any], folders: Iterable[str]) -> Iterator[str]:
    """Yield where the copies are, by folder."""
    last = ""
    longest = sorted(folders, key=len, reverse=True)
    for file in found["files"]:
        path = file["path"]
        folder = next((f for f in longest if path.startswith(f"{f}/")), "")
        if folder and folder != last:
            yield _printable(f"  {folder}/")
        last = folder
        place = path.removeprefix(f"{folder}/") if folder else path
        yield _printable(f"  {copies.megabytes(file['bytes']):>9}  {place}")


def _filled(line: str) -> list[str]:
    """Fill a line; what follows the first is indented by four."""
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(
        _printable(line),
        WIDTH,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _printable(text: str) -> str:
    """Escape what a terminal would obey, or could not show; names are anybody's."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
