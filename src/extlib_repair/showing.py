"""What ``show`` tells of a wheel: as data, and as text for a terminal. Pure."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from typing import TYPE_CHECKING, Any

from extlib_repair import layout
from extlib_repair.loading import Supplier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from extlib_repair.checking import AnyLoading, Loader
    from extlib_repair.loading import Found
    from extlib_repair.model import Chosen, Verified, WheelFacts

SCHEMA = 1
WIDTH = 80
_MANY = 10
"""More binaries than this that need only the system's libraries are counted, and not listed."""

_UNDER_EXTRA = re.compile(r".*;.*\bextra\b", re.DOTALL)
_GAP = "\N{NO-BREAK SPACE}"
"""Stands for a space at which no line ends while lines are filled."""


def described(
    facts: WheelFacts, chosen: Sequence[Chosen], loading: AnyLoading, loaders: Iterable[Loader]
) -> dict[str, Any]:
    """Return everything that is shown, in the form of JSON; paths are below site-packages."""
    return {
        "schema": SCHEMA,
        "wheel": facts.name.filename,
        "requirements": list(facts.requirements),
        "providers": [
            {
                "project": choice.provider.project,
                "version": choice.provider.version,
                "source": choice.provider.source,
                "libraries": sorted(choice.provider.libraries),
            }
            for choice in chosen
        ],
        "loaders": [
            {
                "member": one.member,
                "libraries": list(one.libraries),
                "first": one.is_first,
                "current": one.is_current,
            }
            for one in loaders
        ],
        "binaries": [
            {
                "member": member,
                "kind": image.kind,
                "architecture": image.arch,
                "name": image.name,
                "run-path": list(image.search),
                "run-path-kind": image.run_path.kind if image.run_path else None,
                "needed": [
                    _needed(name, loading.found[member].get(name), weak=name in image.weak_needed)
                    for name in image.needed
                ],
            }
            for member, binary in sorted(facts.binaries.items())
            for image in binary.images
        ],
    }


def _needed(name: str, found: Found | None, *, weak: bool) -> dict[str, Any]:
    """Describe a needed library; what is never loaded (a debug file) has no supplier."""
    return {
        "name": name,
        "weak": weak,
        "supplier": found.supplier if found else None,
        "provider": found.project or None if found else None,
        "place": found.place if found else None,
    }


def text(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines for a description, at most 80 columns where names allow it.

    Binaries of which the same is to be said stand together.
    """
    binaries = data["binaries"]
    plain = [b for b in binaries if _needs_system_only(b)]
    many = len(plain) > _MANY
    listed = (b for b in binaries if not (many and _needs_system_only(b)))
    yield from _head(data)
    for said, members in _grouped(listed).items():
        yield ""
        yield from (*map(_printable, members), *said)
    if many:
        yield ""
        yield from _counted(plain, len(binaries))


def of_verified(verified: Verified) -> dict[str, Any]:
    """Return what a verification found, in the form of JSON."""
    return {
        "schema": SCHEMA,
        "wheel": verified.wheel,
        "ok": not verified.errors,
        "how": verified.how,
        "installed": verified.installed,
        "providers": [provider.label for provider in verified.providers],
        "imported": list(verified.imported),
        "not-importable-alone": dict(verified.left_out),
        "libraries": list(verified.libraries),
        "findings": [dataclasses.asdict(finding) for finding in verified.findings],
    }


def verified_text(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines for a verification, at most 80 columns where names allow it."""
    verdict = "good" if data["ok"] else "NOT good"
    yield from _labelled(data["wheel"], [f"{verdict} with {', '.join(data['providers'])}"])
    yield from _labelled("how", [data["how"]], "  ")
    if not data["installed"]:
        return
    modules = data["imported"]
    shown = modules if len(modules) <= _MANY else [f"{len(modules)} modules"]
    yield from _labelled("imported", shown, "  ")
    for module, reason in data["not-importable-alone"].items():
        yield from _labelled(f"not importable alone: {module}", [reason], "  ")
    folders: dict[str, list[str]] = {}
    for path in data["libraries"]:
        folders.setdefault(layout.folder(path), []).append(layout.basename(path))
    for folder, names in folders.items():
        yield from _labelled(f"mapped from {folder or 'site-packages'}", names, "  ")


def _head(data: Mapping[str, Any]) -> Iterator[str]:
    yield _printable(data["wheel"])
    lines = data["requirements"]
    always = [line for line in lines if not _UNDER_EXTRA.match(line)]
    extra = f"{len(lines) - len(always)} under extras"
    yield from _labelled("requires", [*always, *([extra] if len(always) < len(lines) else [])])
    for provider in data["providers"]:
        label = f"{provider['project']} {provider['version']}"
        yield from _labelled("provider", [f"{label} ({provider['source']})"])
        yield from _labelled("supplies", provider["libraries"], "  ")
    for loader in data["loaders"]:
        yield from _labelled(f"loader in {loader['member']}", _loader(loader))
    nobodys = (row for b in data["binaries"] for row in _missing(b["needed"], weak=False))
    if names := sorted({row["name"] for row in nobodys}):
        yield from _labelled("NOBODY supplies", names)


def _loader(row: Mapping[str, Any]) -> list[str]:
    """Return what a loader loads, and what is wrong with it."""
    late = [] if row["first"] else ["NOT FIRST in its file"]
    return [*row["libraries"], *late, *([] if row["current"] else ["OUTDATED"])]


def _grouped(binaries: Iterable[dict[str, Any]]) -> dict[tuple[str, ...], list[str]]:
    """Return members by the lines that describe them."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for binary in binaries:
        groups.setdefault(tuple(_described(binary)), []).append(binary["member"])
    return groups


def _described(binary: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is to be said of a binary; what is not loaded (a debug file) needs nothing."""
    yield f"  {binary['kind']}, {binary['architecture']}"
    if binary["run-path"]:
        yield from _labelled(binary["run-path-kind"], binary["run-path"], "  ")
    needed = binary["needed"]
    yield from _names("NOBODY supplies", _missing(needed, weak=False))
    yield from _names("not there, and may be absent", _missing(needed, weak=True))
    yield from _places(_of(needed, Supplier.PROVIDER))
    yield from _places(_of(needed, Supplier.WHEEL))
    yield from _names("the system", _of(needed, Supplier.SYSTEM))
    yield from _names("never loaded, would need", _of(needed, None))


def _of(needed: Iterable[dict[str, Any]], supplier: Supplier | None) -> list[dict[str, Any]]:
    return [row for row in needed if row["supplier"] == supplier]


def _missing(needed: Iterable[dict[str, Any]], *, weak: bool) -> list[dict[str, Any]]:
    """Return what nobody supplies; a library that is needed weakly may be absent."""
    return [row for row in _of(needed, Supplier.NOBODY) if row["weak"] is weak]


def _names(label: str, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    if rows:
        yield from _labelled(label, sorted(row["name"] for row in rows), "  ")


def _places(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the libraries of each folder, with the file's name where it is another."""
    folders: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: (row["place"] or "", row["name"])):
        place = row["place"] or row["name"]
        folder = layout.folder(place)
        file = layout.basename(place)
        said = row["name"]
        if layout.basename(said) != file:
            said = f"{said} ({file})"
        where = f"{row['provider'] or row['supplier']}{f' in {folder}' if folder else ''}"
        folders.setdefault(where, []).append(said)
    for where, names in folders.items():
        yield from _labelled(where, names, "  ")


def _needs_system_only(binary: Mapping[str, Any]) -> bool:
    return not binary["run-path"] and _of(binary["needed"], Supplier.SYSTEM) == binary["needed"]


def _counted(binaries: Sequence[dict[str, Any]], total: int) -> Iterator[str]:
    yield f"{len(binaries)} of {total} binaries need only the system (--json lists them)"
    yield from _labelled(
        "the system", sorted({row["name"] for b in binaries for row in b["needed"]}), "  "
    )


def _printable(text: str) -> str:
    """Escape what a terminal would obey, or could not show; names are anybody's."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _labelled(label: str, values: Sequence[str], indent: str = "") -> Iterator[str]:
    """Yield ``label: value, value``, filled; a short value is not broken."""
    shown = [_printable(value) for value in values]
    held = [value.replace(" ", _GAP) if len(value) < WIDTH // 2 else value for value in shown]
    lines = textwrap.wrap(
        f"{_printable(label)}: {', '.join(held) or 'nothing'}",
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield from (line.replace(_GAP, " ") for line in lines)
