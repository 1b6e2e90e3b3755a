"""The second reader: what pyelftools says of an ELF file that was edited.

Our own reader and our own editor could share a wrong idea of the format; this one has been written
by others. It follows the loader's way (program headers, the dynamic table), since sections may be
stale in a file that loads.

A good file must never be refused because pyelftools cannot read it, so two of its limits are kept
out of the way: it decodes names as strict UTF-8 where there are no sections, so that names are cut
out of the file here; and it counts symbols by a hash table whose words it takes for 32 bits, which
those of s390x are not, so that symbols are not asked for. What it still cannot read is not
compared.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
from typing import TYPE_CHECKING, Any

from extlib_repair.model import RunPath, RunPathKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extlib_repair.model import Image


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an edit can change in an ELF file; the fields are those of :class:`Image`."""

    name: str = ""
    needed: tuple[str, ...] = ()
    run_path: RunPath | None = None
    ignored_run_path: tuple[str, ...] = ()


def expected(image: Image) -> Reading:
    """Return what :func:`read` should find in a file with these facts."""
    return Reading(
        name=image.name,
        needed=image.needed,
        run_path=image.run_path,
        ignored_run_path=image.ignored_run_path,
    )


def read(data: bytes) -> Reading | None:
    """Read an ELF file with pyelftools; None when pyelftools cannot."""
    from elftools.elf.dynamic import Dynamic
    from elftools.elf.elffile import ELFFile

    stream = io.BytesIO(data)
    try:
        elf: Any = ELFFile(stream)
        segment: Any = next(elf.iter_segments(type="PT_DYNAMIC"), None)
        if segment is None:
            return Reading()
        # Not the segment's own tags: they come with names, from a section's string table.
        at = next(elf.address_offsets(segment["p_vaddr"]))
        table: Any = Dynamic(stream, elf, _NoStrings(), at, not segment["p_filesz"])
        count = segment["p_filesz"] // elf.structs.Elf_Dyn.sizeof()
        tags = [(t["d_tag"], t["d_val"]) for t in itertools.islice(table.iter_tags(), count)]
        strings = next(elf.address_offsets(dict(tags)["DT_STRTAB"]))
        return _reading(tags, data, strings)
    except Exception:  # noqa: BLE001 - of many types; our own reader has read the file by then
        return None


class _NoStrings:
    """A string table without strings, so that tags stay offsets."""

    def get_string(self, _: int) -> str:
        return ""


def _reading(tags: Sequence[tuple[str, int]], data: bytes, strings: int) -> Reading:
    """Look the names up; of two entries with the same tag, the loader uses the last."""
    last: Mapping[str, str] = {
        tag: _string(data, strings + value) for tag, value in tags if tag in _SINGLE
    }
    kind = RunPathKind.RUNPATH if RunPathKind.RUNPATH in last else RunPathKind.RPATH
    used = last.get(kind)
    ignored = last.get(RunPathKind.RPATH, "") if kind is RunPathKind.RUNPATH else ""
    return Reading(
        name=last.get("DT_SONAME", ""),
        needed=tuple(_string(data, strings + value) for tag, value in tags if tag == "DT_NEEDED"),
        run_path=None if used is None else RunPath(entries=_entries(used), kind=kind),
        ignored_run_path=_entries(ignored),
    )


_SINGLE = frozenset({"DT_SONAME", RunPathKind.RPATH.value, RunPathKind.RUNPATH.value})


def _string(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("utf-8", "surrogateescape")


def _entries(text: str) -> tuple[str, ...]:
    return tuple(text.split(":")) if text else ()
