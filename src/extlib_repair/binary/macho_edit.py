"""Mach-O: edit run paths and needed names, slice by slice.

Load commands change within the free space of the header, and the signature is made to fit; every
other byte stays. No command that names a library is ever removed: symbols count them. dyld refuses
two equal run paths and two equal needed names in files made with new SDKs
(``validSemanticsRPath``, ``validSemanticsLinkedDylibs``), so that no edit may leave them.

Sources: Apple's ``mach-o/loader.h``; ``mach_o/Header.cpp`` and ``mach_o/Policy.cpp`` of dyld-1378.
"""

from __future__ import annotations

import collections
import struct
from typing import TYPE_CHECKING

from extlib_repair.binary import codesign, macho
from extlib_repair.binary.macho_fat import ARCHIVE, mapped, slices
from extlib_repair.binary.macho_file import (
    DYLIB_FIXED,
    NEEDS,
    RPATH_FIXED,
    Command,
    Lc,
    MachO,
)
from extlib_repair.errors import BadBinaryError, CannotEditError
from extlib_repair.model import Kind, Signature, applied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import BinaryEdit, Image

ROOM_HINT = "link it with -Wl,-headerpad_max_install_names (1000 bytes and more for such edits)"

_TIME_STAMP = 2
"""What linkers write, so that builds can be repeated."""


def edit(data: bytes, edits: Sequence[BinaryEdit], *, resign: bool = False) -> bytes:
    """Return the file with the edits applied; the same bytes when they hold already.

    ``resign`` allows to replace the signature of an identity by an ad-hoc one. Raises
    :class:`BadBinaryError` and :class:`CannotEditError`.
    """

    def change(part: bytes) -> bytes:
        return part if part.startswith(ARCHIVE) else _edited(part, edits, resign=resign)

    slices(data)
    return mapped(data, change)


def sign(data: bytes) -> bytes:
    """Return the file with whole new ad-hoc signatures, as ``codesign --force --sign -``."""

    def change(part: bytes) -> bytes:
        if part.startswith(ARCHIVE) or not MachO(part).is_loadable:
            raise CannotEditError("only programs and libraries can be signed")
        file = MachO(part)
        commands = [c.raw for c in file.commands]
        return codesign.signed(MachO(_with_commands(file, _with_signature(file, commands))))

    return mapped(data, change)


def rename(data: bytes, name: str) -> bytes:
    """Return the file with another install name, as ``install_name_tool -id``.

    Files without one stay as they are: dyld refuses an install name in a bundle.
    """
    _checked([name])

    def change(part: bytes) -> bytes:
        file = MachO(part)
        commands = [
            _renamed(file, c, name) if c.cmd == Lc.ID_DYLIB else c.raw for c in file.commands
        ]
        return _written(file, commands, resign=False)

    return mapped(data, change)


def _edited(part: bytes, edits: Sequence[BinaryEdit], *, resign: bool) -> bytes:
    file = MachO(part)
    image = macho.image_of(file)
    wanted = applied(image, edits)
    if wanted == image:
        return part
    _check(image, wanted, edits)
    edited = _written(file, _commands(file, image, wanted), resign=resign)
    try:
        found = macho.image_of(MachO(edited))
    except BadBinaryError as error:
        raise CannotEditError(
            f"the Mach-O file would be damaged by the edit: {error}", hint=ROOM_HINT
        ) from error
    if found != wanted:
        raise CannotEditError(
            "the edited Mach-O file would not say what was asked for",
            hint="this file is laid out in an unusual way: link it anew",
        )
    return edited


def _check(image: Image, wanted: Image, edits: Sequence[BinaryEdit]) -> None:
    """Refuse what no slice can hold, or dyld would not load."""
    if image.kind is Kind.OTHER:
        raise CannotEditError(
            "the Mach-O file is not one that dyld loads",
            hint="only programs, libraries and bundles can be edited",
        )
    _checked([*wanted.needed, *wanted.search])
    if _doubles(wanted) > _doubles(image):
        twice = sorted(collections.Counter(wanted.needed) - collections.Counter({*wanted.needed}))
        raise CannotEditError(
            f"the Mach-O file would need {', '.join(twice)} twice, which dyld refuses",
            hint="two libraries of this file became one: link it with that one alone",
        )
    if applied(wanted, edits) != wanted:
        raise CannotEditError("the edits of the Mach-O file contradict each other")


def _doubles(image: Image) -> int:
    """Return how many needed names are there already; lld writes such files for re-exports."""
    return len(image.needed) - len(set(image.needed))


def _checked(names: Sequence[str]) -> None:
    for name in names:
        if not name or "\0" in name:
            raise CannotEditError(f"{name!a} cannot be stored as a name in a Mach-O file")


def _encoded(name: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise CannotEditError(f"{name!a} cannot be stored as bytes") from None


def _commands(file: MachO, image: Image, wanted: Image) -> list[bytes]:
    """Return the load commands as they shall be, in their old order.

    New run paths stand where the first old one stood; what is added stands at the end.
    """
    names = iter(wanted.needed)
    rpaths = [_rpath(file, entry) for entry in wanted.search]
    keeps_rpaths = image.run_path == wanted.run_path
    commands: list[bytes] = []
    for command in file.commands:
        if command.cmd in NEEDS:
            commands.append(_renamed(file, command, next(names)))
        elif command.cmd == Lc.RPATH and not keeps_rpaths:
            commands += rpaths
            rpaths = []
        else:
            commands.append(command.raw)
    if not keeps_rpaths:
        commands += rpaths
    commands += [_dylib(file, name) for name in names]
    return commands


def _padded(file: MachO, command: bytes) -> bytes:
    """Return a command filled up to its alignment, with its size in it."""
    align = 8 if file.wide else 4
    command += bytes(1 + -(len(command) + 1) % align)
    return command[:4] + struct.pack(file.order + "I", len(command)) + command[8:]


def _renamed(file: MachO, command: Command, name: str) -> bytes:
    """Return a command that names another library; versions, flags and time stamp stay."""
    dylib = file.dylib(command)
    if dylib.name == name:
        return command.raw
    return _padded(file, command.raw[: dylib.fixed] + _encoded(name))


def _rpath(file: MachO, entry: str) -> bytes:
    return _padded(
        file, struct.pack(file.order + "III", Lc.RPATH, 0, RPATH_FIXED) + _encoded(entry)
    )


def _dylib(file: MachO, name: str) -> bytes:
    """Return a command that needs a library, of whatever version."""
    fixed = struct.pack(file.order + "6I", Lc.LOAD_DYLIB, 0, DYLIB_FIXED, _TIME_STAMP, 0, 0)
    return _padded(file, fixed + _encoded(name))


def _with_signature(file: MachO, commands: list[bytes]) -> list[bytes]:
    """Return the commands with one that leads to a signature, which is still to be written."""
    if file.first(Lc.CODE_SIGNATURE) is not None:
        return commands
    empty = struct.pack(file.order + "4I", Lc.CODE_SIGNATURE, codesign.COMMAND_SIZE, 0, 0)
    return [*commands, empty]


def _with_commands(file: MachO, commands: Sequence[bytes]) -> bytes:
    """Return the slice with other load commands; raises where the header has no room for them."""
    table = b"".join(commands)
    old_size = file.commands_end - file.header_size
    if len(table) > old_size + file.header_room:
        raise CannotEditError(
            f"the load commands of the Mach-O file need {len(table) - old_size} bytes more, and "
            f"its header has {file.header_room} bytes of room",
            hint=ROOM_HINT,
        )
    out = bytearray(file.data)
    struct.pack_into(file.order + "II", out, 16, len(commands), len(table))
    end = file.header_size + max(len(table), old_size)
    out[file.header_size : end] = table.ljust(end - file.header_size, b"\0")
    return bytes(out)


def _written(file: MachO, commands: list[bytes], *, resign: bool) -> bytes:
    """Return the slice with other load commands and a signature that fits them."""
    if commands == [c.raw for c in file.commands]:
        return file.data
    signature = codesign.kind(file)
    if signature is Signature.NONE:
        if not file.arch.startswith("arm64"):
            return _with_commands(file, commands)
        return codesign.signed(MachO(_with_commands(file, _with_signature(file, commands))))
    if signature is Signature.IDENTITY and not resign:
        raise CannotEditError(
            "the Mach-O file is signed by an identity, which an edit would break",
            hint="--resign replaces the signature by an ad-hoc one",
        )
    out = bytearray(_with_commands(file, commands))
    touched = max(file.commands_end, file.header_size + len(b"".join(commands)))
    if signature is Signature.AD_HOC and codesign.renew(file, out, touched):
        return bytes(out)
    if not resign:
        raise CannotEditError(
            "the ad-hoc signature of the Mach-O file does not cover it, and cannot be renewed",
            hint="--resign replaces the signature by a new one",
        )
    return codesign.signed(MachO(bytes(out)))
