"""The lines that a consumer runs before its extension modules are loaded. Pure.

CPython loads an extension module with LOAD_LIBRARY_SEARCH_DEFAULT_DIRS and
LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR: neither PATH nor the current folder is searched
(https://docs.python.org/3/library/os.html#os.add_dll_directory). A DLL of the same base name that
is in the process already is taken before any folder is searched
(https://learn.microsoft.com/windows/win32/dlls/dynamic-link-library-search-order). So the lines do
two things:

- the provider's library is loaded by its full path. That also serves delayed imports, which are
  bound with a plain LoadLibrary, and wins over a stale copy beside the extension module;
- the provider's folder is added for whatever the library itself asks for later.

The texts are ASCII, so that they may stand in a file of any encoding that Python accepts, and use
nothing that Python 3.6 does not know.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from string import Template
from typing import TYPE_CHECKING

from extlib_repair import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import SitePath

START = "# extlib-repair: start of the loader"
END = "# extlib-repair: end of the loader"
_ROW = re.compile(r"^ {8}(\((?:'[^'\n]*', ){2}'[^'\n]*'\)),$", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A library that must be in the process before the consumer's extension modules."""

    library: str
    """The file name, which is the needed name of the consumers."""

    directory: SitePath
    """Its folder, where the provider is installed."""

    requirement: str
    """What ``pip install`` is to be told, such as ``scipy-openblas64>=0.3.30``."""


def block(at: SitePath, consumer: str, sought: Sequence[Sought]) -> str:
    """Return the lines for a Python file that will be installed at ``at``.

    The consumer, as ``numpy 2.3.0``, is named when a library cannot be loaded.
    """
    values = {
        "CONSUMER": ascii(consumer),
        "UP": ascii("/".join(".." for _ in range(at.count("/"))) or "."),
        "SOUGHT": "".join(map(_row, sought)),
    }
    return _LOADER.substitute(values)


def package(at: SitePath, consumer: str, sought: Sequence[Sought], module_file: str) -> str:
    """Return the ``__init__.py`` of a package that stands before an extension module.

    In a folder of ``sys.path`` Python prefers a package to a module of its name: the package runs
    the loader, then puts the extension module itself into its own place.
    """
    shim = _SHIM.substitute(MODULE=ascii(layout.basename(module_file)))
    return _SHIM_HEAD + block(at, consumer, sought) + shim


def libraries(block: str) -> tuple[str, ...]:
    """Return the libraries that a loader's lines look for, in their order."""
    return tuple(ast.literal_eval(row)[0] for row in _ROW.findall(block))


def _row(one: Sought) -> str:
    values = (one.library, str(one.directory), one.requirement)
    return f"        ({', '.join(map(ascii, values))}),\n"


_LOADER = Template(
    f"{START}\n"
    """\
# Made by extlib-repair, which may make it anew: changes between the two marks get lost.
def _extlib_repair_load():
    import sys

    if sys.platform != "win32":
        return
    import ctypes
    import os

    consumer = $CONSUMER
    site = $UP
    sought = [
        # library, its folder below site-packages, the requirement that brings it
${SOUGHT}    ]

    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.GetModuleHandleW.argtypes = [ctypes.c_wchar_p]
    kernel32.GetModuleHandleW.restype = ctypes.c_void_p

    def folders(directory):
        file = globals().get("__file__")
        if file:
            yield os.path.join(os.path.dirname(file), site, directory)
        top, _, rest = directory.partition("/")
        if top.isidentifier():
            try:
                from importlib.util import find_spec

                # Nothing is imported: the name has no dot.
                places = list(find_spec(top).submodule_search_locations or ())
            except (ImportError, AttributeError, ValueError):
                places = []
            for place in places:
                yield os.path.join(place, rest)
        for entry in sys.path:
            if isinstance(entry, str):
                yield os.path.join(entry, directory)

    def load(library, directory, requirement):
        # Return what is in the way, or None.
        loaded = kernel32.GetModuleHandleW(library)
        looked = []
        # Frozen applications keep libraries where only the name leads.
        names = [library]
        for folder in map(os.path.abspath, folders(directory)):
            path = os.path.join(folder, library)
            if os.path.isfile(path):
                names.insert(0, path)
                if hasattr(os, "add_dll_directory"):
                    try:
                        os.add_dll_directory(folder)
                    except OSError:
                        pass
                break
            if folder not in looked:
                looked.append(folder)
        # A library of this name that is there already is what Windows takes; a second one, from
        # another folder, would only be a second copy.
        if loaded:
            return None
        errors = []
        for name in names:
            try:
                ctypes.WinDLL(name)
            except OSError as error:
                errors.append(error)
            else:
                return None
        return explained(library, requirement, names, errors[0], looked)

    def explained(library, requirement, names, error, looked):
        python = "python" if getattr(sys, "frozen", False) else sys.executable or "python"
        lines = ["%s needs %s of %s" % (consumer, library, requirement)]
        if len(names) == 1:
            lines[0] += ", which was not found. Looked in:"
            lines += ["  " + folder for folder in looked]
            lines += ["Install it for this Python:"]
            options = ""
        else:
            import sysconfig

            lines[0] += ", which is there but cannot be loaded:"
            lines += ["  " + names[0], "  %s" % error]
            kind = "for another kind of Python (this one is %s) or damaged" % (
                sysconfig.get_platform()
            )
            code = getattr(error, "winerror", None)
            if code == 193:
                lines += ["The file is probably %s." % kind]
            elif code == 126 or isinstance(error, FileNotFoundError):
                lines += ["Something that the file needs is missing, or it is %s." % kind]
            lines += ["Install it anew for this Python:"]
            options = "--force-reinstall --no-deps "
        lines += ['  "%s" -m pip install %s"%s"' % (python, options, requirement)]
        return "\\n".join(lines)

    problems = [problem for problem in (load(*row) for row in sought) if problem]
    if problems:
        raise ImportError("\\n".join(problems)) from None


_extlib_repair_load()
del _extlib_repair_load
"""
    f"{END}\n"
)

_SHIM_HEAD = '''\
"""The extension module of this name, which lies beside this folder, behind what it needs."""

'''

_SHIM = Template("""

def _extlib_repair_module():
    import os
    import sys
    from importlib.machinery import ExtensionFileLoader
    from importlib.util import module_from_spec, spec_from_file_location

    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.path.join(folder, $MODULE)
    loader = ExtensionFileLoader(__name__, path)
    spec = spec_from_file_location(__name__, path, loader=loader)
    module = module_from_spec(spec)
    # Other threads wait for a module whose specification says that it is being made.
    spec._initializing = True
    try:
        sys.modules[__name__] = module
        loader.exec_module(module)
    finally:
        spec._initializing = False


_extlib_repair_module()
del _extlib_repair_module
""")
