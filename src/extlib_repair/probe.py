"""Runs inside a fresh environment: imports modules, and lists the shared libraries in the process.

It is copied there and run by an interpreter that may be older than ours: plain Python 3.8, and
nothing but the standard library. What it finds goes into a file, a line of JSON each, at once:
modules may print, and may take the process with them.

Sources: proc_pid_maps(5); dyld(3) of macOS, ``_dyld_image_count`` and ``_dyld_get_image_name``;
https://learn.microsoft.com/en-us/windows/win32/api/psapi/nf-psapi-enumprocessmodules
"""

from __future__ import annotations

import importlib
import json
import os
import site
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

_FIELDS = 6
"""A line of ``/proc/self/maps`` about a file has so many."""

_MANY = 4096


def main(request: Path) -> None:
    """Do what a file asks for: modules, more folders of packages, the file for the results."""
    asked = json.loads(request.read_text(encoding="utf-8"))
    for folder in asked["sites"]:
        site.addsitedir(folder)
    with Path(asked["result"]).open("w", encoding="utf-8") as out:
        for name in asked["modules"]:
            _say(out, {"begins": name})
            _say(out, {"module": name, **_failure(name)})
        roots = [sysconfig.get_path("platlib"), sysconfig.get_path("purelib"), *asked["sites"]]
        _say(out, {"mapped": _mapped(roots)})


def _say(out: TextIO, data: object) -> None:
    out.write(json.dumps(data) + "\n")
    out.flush()


def _failure(name: str) -> dict[str, str]:
    """Import a module; return nothing, or what it raised: some raise no Exception (Rust)."""
    try:
        importlib.import_module(name)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        absent = error.name if isinstance(error, ModuleNotFoundError) else ""
        kind = type(error).__name__
        return {"error": str(error) or kind, "kind": kind, "absent": absent or ""}
    return {}


def _mapped(roots: Iterable[str]) -> list[str]:
    """Return the paths of shared libraries, relative where they lie below one of the roots."""
    files = [vars(m).get("__file__") for m in list(sys.modules.values()) if hasattr(m, "__dict__")]
    known = {_real(file) for file in [sys.executable, *files] if isinstance(file, str)}
    folders = [_real(root) for root in roots]
    return sorted({_below(path, folders) for path in map(_real, _loaded()) if path not in known})


def _real(path: str) -> str:
    return os.path.realpath(path)  # noqa: PTH


def _below(path: str, folders: Sequence[str]) -> str:
    same = os.path.normcase
    for folder in folders:
        if same(path).startswith(same(folder + os.sep)):
            return path[len(folder) + 1 :].replace(os.sep, "/")
    return path.replace(os.sep, "/")


def _loaded() -> set[str]:
    """Return the paths of all that is loaded; Windows has no ``/proc``, but under Wine it shows."""
    if os.sep == "\\":
        return _modules_of_windows()
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return _images_of_macos()
    lines = [line.split(None, _FIELDS - 1) for line in maps.read_text(errors="replace").split("\n")]
    return {f[-1] for f in lines if len(f) == _FIELDS and "x" in f[1] and f[-1].startswith("/")}


def _images_of_macos() -> set[str]:
    import ctypes

    dyld = ctypes.CDLL(None)
    count, name = dyld["_dyld_image_count"], dyld["_dyld_get_image_name"]
    name.argtypes, name.restype = [ctypes.c_uint32], ctypes.c_char_p
    found = [name(index) for index in range(count())]
    return {path.decode("utf-8", "replace") for path in found if path}


def _modules_of_windows() -> set[str]:
    import ctypes as any_ctypes
    from ctypes import wintypes

    ctypes: Any = any_ctypes  # what is there depends on the system
    kernel32, psapi = ctypes.WinDLL("kernel32"), ctypes.WinDLL("psapi")
    kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    of_process, name_of = psapi.EnumProcessModules, kernel32.GetModuleFileNameW
    of_process.argtypes = [
        *(wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD, ctypes.POINTER(wintypes.DWORD)),
    ]
    name_of.argtypes = [wintypes.HMODULE, wintypes.LPWSTR, wintypes.DWORD]
    handles, size = (wintypes.HMODULE * _MANY)(), wintypes.DWORD()
    process = kernel32.GetCurrentProcess()
    if not of_process(process, handles, ctypes.sizeof(handles), ctypes.byref(size)):
        raise OSError(ctypes.FormatError())
    found, text = set(), ctypes.create_unicode_buffer(_MANY)
    for handle in handles[: size.value // ctypes.sizeof(wintypes.HMODULE)]:
        if name_of(handle, text, _MANY):
            found.add(text.value)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
