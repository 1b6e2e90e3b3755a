"""Stands in for Apple's command-line tools, in as far as delocate-wheel calls them.

The output has the text form that delocate reads. Editing and signing are those of
:mod:`extlib_repair.binary.macho_edit`: a header without room is refused, and an edited file has a
valid signature at once. As on a Mac, where delocate calls ``codesign --force`` after every change,
the signature of an identity is replaced by an ad-hoc one. What differs from Apple's tools, on
purpose:

* ``-delete_rpath`` deletes a run path from every slice that has it, however often it is there
  (Apple's deletes one from each, and fails when a slice has none);
* ``-change`` refuses to make two needed names equal, since dyld refuses such a file;
* ``codesign`` leaves a file unsigned that is not signed and need not be (x86_64).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from extlib_repair.binary import codesign, macho_edit, macho_fat
from extlib_repair.binary.macho_file import MachO, arch_name
from extlib_repair.errors import ExtlibRepairError
from extlib_repair.model import RenameNeeded, RunPath, RunPathKind, SetRunPath, Signature
from extlib_repair.process import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAMES = ("otool", "install_name_tool", "lipo", "codesign")

_VERSIONS = "(compatibility version 0.0.0, current version 0.0.0)"
"""delocate wants to see them, and does not use them."""


class ToolError(ExtlibRepairError):
    """What Apple's tool would refuse."""


def run(cmd: Sequence[str | os.PathLike[str]], *, check: bool) -> Completed:
    """Do what a command would; the shape is that of ``delocate.tools._run``.

    Raises RuntimeError with the reason when a command fails, if ``check`` is true or the file
    cannot be read: delocate knows no words of ``otool`` for that.
    """
    tool, *words = [os.fspath(word) for word in cmd]
    try:
        return _TOOLS[tool](words)
    except ExtlibRepairError as error:
        reason = f"{words[-1]}: {error}" + (f" ({error.hint})" if error.hint else "")
        if check or tool == "otool":
            raise RuntimeError(reason) from error
        return _failed(reason)


def _said(text: str) -> Completed:
    return Completed(returncode=0, stdout=text, stderr="")


def _failed(reason: str) -> Completed:
    return Completed(returncode=1, stdout="", stderr=f"{reason}\n")


def _otool(words: Sequence[str]) -> Completed:
    *options, what, name = words
    if options != ["-arch", "all", "-m"] or what not in _SHOWN:
        raise _unknown("otool", words)
    data = Path(name).read_bytes()
    if macho_fat.is_java(data):
        return _said(f"{Path(name)}: is not an object file\n")
    lines = []
    for part in macho_fat.slices(data):
        if not isinstance(part, MachO):
            return _said(f"Archive : {Path(name)}\n")
        arch = f" (architecture {part.arch})" if data[:4] in macho_fat.FAT else ""
        lines += [f"{Path(name)}{arch}:", *_SHOWN[what](part)]
    return _said("\n".join(lines) + "\n")


def _names(image: MachO) -> list[str]:
    names = [image.name] if image.name else []
    return [f"\t{name} {_VERSIONS}" for name in (*names, *(d.name for d in image.dylibs))]


def _own_name(image: MachO) -> list[str]:
    return [image.name] if image.name else []


def _run_paths(image: MachO) -> list[str]:
    found = []
    for path in image.rpaths:
        found += ["          cmd LC_RPATH", "      cmdsize 0", f"         path {path} (offset 12)"]
    return found


_SHOWN: dict[str, Callable[[MachO], list[str]]] = {
    "-L": _names,
    "-D": _own_name,
    "-l": _run_paths,
}


def _install_name_tool(words: Sequence[str]) -> Completed:
    option, *values, name = words
    data = _renewable(Path(name).read_bytes())
    match option, values:
        case "-change", [old, new]:
            data = macho_edit.edit(data, [RenameNeeded(old=old, new=new)])
        case "-id", [new]:
            data = macho_edit.rename(data, new)
        case "-add_rpath", [path]:
            data = macho_fat.mapped(data, lambda part: _with_run_path(part, path))
        case "-delete_rpath", [path]:
            if not any(path in image.rpaths for image in _images(data)):
                raise ToolError(f"no LC_RPATH load command with path: {path}")
            data = macho_fat.mapped(data, lambda part: _without_run_path(part, path))
        case _:
            raise _unknown("install_name_tool", words)
    Path(name).write_bytes(data)
    return _said("")


def _renewable(data: bytes) -> bytes:
    """Return a file with signatures that an edit can renew."""
    kinds = {codesign.kind(image) for image in _images(data)}
    if Signature.IDENTITY in kinds or codesign.problems(data):
        return macho_edit.sign(data)
    return data


def _with_run_path(data: bytes, path: str) -> bytes:
    paths = MachO(data).rpaths
    if path in paths:
        raise ToolError(f"the file already has LC_RPATH for: {path}")
    return _set_run_path(data, (*paths, path))


def _without_run_path(data: bytes, path: str) -> bytes:
    paths = MachO(data).rpaths
    if path not in paths:
        return data
    return _set_run_path(data, tuple(p for p in paths if p != path))


def _set_run_path(data: bytes, paths: tuple[str, ...]) -> bytes:
    run_path = RunPath(entries=paths, kind=RunPathKind.LC_RPATH)
    return macho_edit.edit(data, [SetRunPath(run_path=run_path)])


def _lipo(words: Sequence[str]) -> Completed:
    if words[:-1] != ["-info"]:
        raise _unknown("lipo", words)
    name = words[-1]
    data = Path(name).read_bytes()
    rows = macho_fat.pieces(data)
    if rows is None:
        return _said(f"Non-fat file: {name} is architecture: {MachO(data).arch}\n")
    archs = " ".join(arch_name(row.cputype, row.subtype) for row in rows)
    return _said(f"Architectures in the fat file: {name} are: {archs}\n")


def _codesign(words: Sequence[str]) -> Completed:
    *options, name = words
    data = Path(name).read_bytes()
    unsigned = [image.arch for image in _images(data) if codesign.kind(image) is Signature.NONE]
    problems = codesign.problems(data)
    if options == ["--verify"]:
        if len(unsigned) == len(_images(data)):
            return _failed(f"{name}: code object is not signed at all")
        return _failed(f"{name}: {'; '.join(problems)}") if problems else _said("")
    if options != ["--force", "--sign", "-"]:
        raise _unknown("codesign", words)
    if problems or any(arch.startswith("arm64") for arch in unsigned):
        Path(name).write_bytes(macho_edit.sign(data))
    return _said("")


def _images(data: bytes) -> list[MachO]:
    return [part for part in macho_fat.slices(data) if isinstance(part, MachO)]


def _unknown(tool: str, words: Sequence[str]) -> ToolError:
    return ToolError(f"no stand-in for: {tool} {' '.join(words[:-1])}")


_TOOLS: dict[str, Callable[[Sequence[str]], Completed]] = {
    "otool": _otool,
    "install_name_tool": _install_name_tool,
    "lipo": _lipo,
    "codesign": _codesign,
}
