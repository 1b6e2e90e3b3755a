"""Consumers for Windows, compiled with mingw, the same bytes each time."""

from __future__ import annotations

import importlib
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import SOURCES, checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GCC = "x86_64-w64-mingw32-gcc"
DLLTOOL = "x86_64-w64-mingw32-dlltool"
NM = "x86_64-w64-mingw32-nm"
STRIP = "x86_64-w64-mingw32-strip"
SHARED = ("-O2", "-shared", "-Wl,--no-insert-timestamp")
TOOLS = (GCC, DLLTOOL, NM, STRIP)

FIXTURES = SOURCES.parent / "windows"
LIBRARY = "libscipy_openblas64_.dll"
SYMBOLS = ("scipy_cblas_ddot64_", "scipy_cblas_dgemm64_", "scipy_openblas_get_config64_")
SYSTEM32_ONLY = 0x0800
"""LOAD_LIBRARY_SEARCH_SYSTEM32, which load_flags.c asks for."""

LOAD_CONFIGURATION, DELAY_IMPORTS = 10, 13
DELAY_DESCRIPTOR = 32

PYTHON3 = (
    *("PyArg_ParseTuple", "PyFloat_AsDouble", "PyFloat_FromDouble", "PyList_Append", "PyList_New"),
    *("PyLong_FromLong", "PyModule_Create2", "PySequence_GetItem", "PyUnicode_FromString"),
    "Py_DecRef",
)
"""What Python.h of the fixtures declares, all of it in the stable ABI."""


def pe(data: bytes) -> Any:
    """Read a binary with pefile, tables of any size."""
    pefile: Any = importlib.import_module("pefile")
    return pefile.PE(data=data, fast_load=True, max_symbol_exports=1 << 20)


def exports(data: bytes) -> list[str]:
    """List the names that a DLL exports."""
    image = pe(data)
    image.parse_data_directories(directories=[0])
    return [s.name.decode() for s in image.DIRECTORY_ENTRY_EXPORT.symbols if s.name]


def imports(data: bytes, *, delayed: bool = False) -> list[str]:
    """List the DLLs that a binary needs at once, or those that it needs at the first call."""
    image = pe(data)
    image.parse_data_directories(directories=[DELAY_IMPORTS if delayed else 1])
    attribute = "DIRECTORY_ENTRY_DELAY_IMPORT" if delayed else "DIRECTORY_ENTRY_IMPORT"
    return [entry.dll.decode() for entry in getattr(image, attribute, ())]


def load_flags(data: bytes) -> int:
    """Return DependentLoadFlags, 0 where there is no load configuration."""
    image = pe(data)
    directory = image.OPTIONAL_HEADER.DATA_DIRECTORY[LOAD_CONFIGURATION]
    if not directory.VirtualAddress:
        return 0
    place = image.get_offset_from_rva(directory.VirtualAddress)
    flags: int = struct.unpack_from("<H", data, place + 78)[0]
    return flags


def renamed(data: bytes, old: str, new: str) -> bytes:
    """Give an imported DLL another name, no longer than the old one, where the old one stands."""
    assert len(new) <= len(old)
    image = pe(data)
    image.parse_data_directories(directories=[1, DELAY_IMPORTS])
    out = bytearray(data)
    entries = [
        *getattr(image, "DIRECTORY_ENTRY_IMPORT", ()),
        *getattr(image, "DIRECTORY_ENTRY_DELAY_IMPORT", ()),
    ]
    for entry in entries:
        if entry.dll.decode() == old:
            pointer = entry.struct.szName if hasattr(entry.struct, "szName") else entry.struct.Name
            place = image.get_offset_from_rva(pointer)
            assert out[place : place + len(old)] == old.encode()
            out[place : place + len(old)] = new.encode().ljust(len(old), b"\0")
    return bytes(out)


def import_library(folder: Path, dll: str, names: Iterable[str], option: str = "-l") -> Path:
    """Make the library that a linker is given for a DLL."""
    stem = f"{Path(dll).stem}{option.strip('-').replace('-', '_')}"
    definition, library = folder / f"{stem}.def", folder / f"lib{stem}.a"
    definition.write_text("\n".join([f"LIBRARY {dll}", "EXPORTS", *names, ""]))
    checked([DLLTOOL, "-d", definition, option, library])
    return library


def python_exe(target: Path) -> None:
    """Compile python.exe for python312.dll, which it must lie beside."""
    libpython = target.with_name("python312.dll")
    checked([GCC, "-municode", "-O2", "-s", FIXTURES / "python.c", libpython, "-o", target])


def python3_dll(target: Path, libpython: Path) -> None:
    """Make python3.dll, which hands everything on to python312.dll."""
    definition, source = target.with_suffix(".def"), target.with_suffix(".c")
    names = exports(libpython.read_bytes())
    lines = [f"{name}={libpython.stem}.{name}" for name in names]
    definition.write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *lines, ""]))
    source.write_text("int nothing;\n")
    flags = ("-s", "-nostdlib", "-Wl,-e,0")
    checked([GCC, *SHARED, *flags, "-o", target, source, definition])
    definition.unlink()
    source.unlink()


class WindowsWorkshop:
    """Compiles consumers of scipy-openblas64 for Windows; its folder holds what can be vendored."""

    def __init__(self, folder: Path, libpython: Path, openblas: Path) -> None:
        self.folder = folder
        """What ``--add-path`` names."""

        self.openblas = openblas
        """The folder with the provider's DLL."""

        self.work = folder / "work"
        self.work.mkdir()
        names = exports(libpython.read_bytes())
        self.python = import_library(self.work, libpython.name, names)
        self.python3 = import_library(self.work, "python3.dll", PYTHON3)
        self.delayed = import_library(self.work, LIBRARY, SYMBOLS, "--output-delaylib")
        self._library("private")
        self._library("middle", openblas / LIBRARY)

    def module(
        self,
        name: str,
        *defines: str,
        link: Sequence[str] = ("openblas",),
        system32_only: bool = False,
    ) -> bytes:
        """Compile an extension module; ``link`` names what it is linked with.

        Beside the Workshop's: ``delayed`` is OpenBLAS at the first call, ``python3`` is python3.dll
        instead of python312.dll.
        """
        libraries = {
            "openblas": self.openblas / LIBRARY,
            "delayed": self.delayed,
            "private": self.folder / "libprivate.dll",
            "middle": self.folder / "libmiddle.dll",
            "python3": self.python3,
        }
        target = self.work / f"{name}.pyd"
        command: list[object] = [GCC, *SHARED, f"-I{FIXTURES}", "-o", target]
        command += [f"-D{define}" for define in (f"MODULE={name}", *defines)]
        command += [SOURCES / "module.c"]
        command += [FIXTURES / "load_flags.c"] if system32_only else []
        command += [libraries[what] for what in link]
        checked(command if "python3" in link else [*command, self.python])
        places = _places(target)
        checked([STRIP, "-s", "-p", target])
        data = target.read_bytes()
        if "delayed" in link:
            (place,) = (a for s, a in places.items() if s.startswith("__DELAY_IMPORT_DESCRIPTOR"))
            data = with_delay_directory(data, place)
        if system32_only:
            data = with_directory(data, LOAD_CONFIGURATION, places["load_configuration"], 112)
        return data

    def fake(self, folder: Path) -> Path:
        """Compile a DLL with the provider's name, whose answers are wrong."""
        folder.mkdir(parents=True, exist_ok=True)
        checked([GCC, *SHARED, "-s", FIXTURES / "fake.c", "-o", folder / LIBRARY])
        return folder / LIBRARY

    def _library(self, source: str, *libraries: Path) -> None:
        target = self.folder / f"lib{source}.dll"
        checked([GCC, *SHARED, "-s", SOURCES / f"{source}.c", *libraries, "-o", target])


def _places(path: Path) -> dict[str, int]:
    """Return the addresses of symbols, relative to where the image is loaded."""
    base = pe(path.read_bytes()).OPTIONAL_HEADER.ImageBase
    lines = [line.split() for line in checked([NM, path]).splitlines()]
    return {words[2]: int(words[0], 16) - base for words in lines if len(words) == 3}


def with_directory(data: bytes, index: int, place: int, size: int) -> bytes:
    """Write one data directory, which mingw's linker leaves empty."""
    header = pe(data).OPTIONAL_HEADER
    entry = header.DATA_DIRECTORY[index].get_file_offset()
    return data[:entry] + struct.pack("<II", place, size) + data[entry + 8 :]


def with_delay_directory(data: bytes, place: int) -> bytes:
    """Let the data directory name the delay descriptor.

    It stands between code, so that the zeros that end a table are not behind it: a copy goes where
    there is room for them, behind what a section holds.
    """
    image = pe(data)
    start = image.get_offset_from_rva(place)
    table = data[start : start + DELAY_DESCRIPTOR].ljust(2 * DELAY_DESCRIPTOR, b"\0")
    for section in image.sections:
        used = -(-section.Misc_VirtualSize // 8) * 8
        if section.SizeOfRawData - used >= len(table):
            break
    else:
        raise AssertionError("no room for the delay descriptor")
    out = bytearray(data)
    where = section.PointerToRawData + used
    out[where : where + len(table)] = table
    struct.pack_into("<I", out, section.get_file_offset() + 8, used + len(table))
    rva = section.VirtualAddress + used
    return with_directory(bytes(out), DELAY_IMPORTS, rva, len(table))
