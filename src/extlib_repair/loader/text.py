"""The lines that a consumer runs before its extension modules are loaded. Pure.

Windows: CPython loads an extension module with LOAD_LIBRARY_SEARCH_DEFAULT_DIRS and
LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR: neither PATH nor the current folder is searched
(https://docs.python.org/3/library/os.html#os.add_dll_directory). A DLL of the same base name that
is in the process already is taken before any folder is searched
(https://learn.microsoft.com/windows/win32/dlls/dynamic-link-library-search-order). So the lines do
two things:

- the provider's library is loaded by its full path. That also serves delayed imports, which are
  bound with a plain LoadLibrary, and wins over a stale copy beside the extension module;
- the provider's folder is added for whatever the library itself asks for later.

Elsewhere a run path leads to the library, and where its file exists the lines do nothing but see
that. It does not exist where the two wheels lie in different folders (two ``--target`` folders, a
user's site, a symlinked package). Then the library is loaded by its full path, never for others to
see (RTLD_LOCAL): glibc takes a library whose SONAME is the needed name, dyld one whose install name
is (dyld-1378, ``Loader::getLoader``). musl remembers only under which name it searched for a
library: there the lines can but explain.

The texts are ASCII, so that they may stand in a file of any encoding that Python accepts, and use
nothing that Python 3.6 does not know.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from enum import StrEnum
from string import Template
from typing import TYPE_CHECKING

from extlib_repair import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import SitePath

START = "# extlib-repair: start of the loader"
END = "# extlib-repair: end of the loader"
_ROW = re.compile(r"^ {8}(\((?:'[^'\n]*', ){2}'[^'\n]*'\)),$", re.MULTILINE)


class Way(StrEnum):
    """How a system's loader can be made to find a library."""

    GLIBC = "glibc"
    MACOS = "macos"
    MUSL = "musl"
    WINDOWS = "windows"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A library that must be in the process before the consumer's extension modules."""

    library: str
    """The file name, which is the needed name of the consumers."""

    directory: SitePath
    """Its folder, where the provider is installed."""

    requirement: str
    """What ``pip install`` is to be told, such as ``scipy-openblas64>=0.3.30``."""


def block(at: SitePath, consumer: str, sought: Sequence[Sought], way: Way) -> str:
    """Return the lines for a Python file that will be installed at ``at``.

    The consumer, as ``numpy 2.3.0``, is named when a library cannot be loaded.
    """
    values = {
        "CONSUMER": ascii(consumer),
        "UP": ascii("/".join(".." for _ in range(at.count("/"))) or "."),
        "SOUGHT": "".join(map(_row, sought)),
    }
    parts = _WINDOWS if way is Way.WINDOWS else _WITH_RUN_PATH
    text = "".join((_HEAD, parts[0], _FIND, parts[1] if way is not Way.MUSL else _MUSL, _TAIL))
    needed = '"@rpath/" + library' if way is Way.MACOS else "library"
    return Template(text).substitute(values, NEEDED=needed)


def package(
    at: SitePath, consumer: str, sought: Sequence[Sought], module_file: str, way: Way
) -> str:
    """Return the ``__init__.py`` of a package that stands before an extension module.

    In a folder of ``sys.path`` Python prefers a package to a module of its name: the package runs
    the loader, then puts the extension module itself into its own place.
    """
    shim = _SHIM.substitute(MODULE=ascii(layout.basename(module_file)))
    return _SHIM_HEAD + block(at, consumer, sought, way) + shim


def libraries(block: str) -> tuple[str, ...]:
    """Return the libraries that a loader's lines look for, in their order."""
    return tuple(ast.literal_eval(row)[0] for row in _ROW.findall(block))


def _row(one: Sought) -> str:
    values = (one.library, str(one.directory), one.requirement)
    return f"        ({', '.join(map(ascii, values))}),\n"


_HEAD = (
    f"{START}\n"
    """\
# Made by extlib-repair, which may make it anew: changes between the two marks get lost.
def _extlib_repair_load():
    import os
    import sys

"""
)

_SOUGHT = """\
    consumer = $CONSUMER
    site = $UP
    sought = [
        # library, its folder below site-packages, the requirement that brings it
${SOUGHT}    ]

"""

_FIND = """\
    def packages(top):
        try:
            from importlib.util import find_spec

            # Nothing is imported: the name has no dot.
            return list(find_spec(top).submodule_search_locations or ())
        except (ImportError, AttributeError, ValueError):
            return []

    def folders(directory):
        if file:
            yield os.path.join(os.path.dirname(file), site, directory)
        top, _, rest = directory.partition("/")
        if top.isidentifier():
            for place in packages(top):
                yield os.path.join(place, rest)
        for entry in sys.path:
            if isinstance(entry, str):
                yield os.path.join(entry, directory)

    def find(library, directory):
        looked = []
        for folder in map(os.path.abspath, folders(directory)):
            path = os.path.join(folder, library)
            if os.path.isfile(path):
                return path, looked
            if folder not in looked:
                looked.append(folder)
        return None, looked

    def attempt(names, opened):
        # Return why the first of the names cannot be opened, or None when one of them can.
        errors = []
        for name in names:
            try:
                opened(name)
            except OSError as error:
                errors.append(error)
            else:
                return None
        return errors[0]

"""

_WINDOWS = (
    """\
    if sys.platform != "win32":
        return
    import ctypes

    file = globals().get("__file__")
"""
    + _SOUGHT
    + """\
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.GetModuleHandleW.argtypes = [ctypes.c_wchar_p]
    kernel32.GetModuleHandleW.restype = ctypes.c_void_p

""",
    """\
    def load(library, directory, requirement):
        # Return what is in the way, or None.
        loaded = kernel32.GetModuleHandleW(library)
        path, looked = find(library, directory)
        if path and hasattr(os, "add_dll_directory"):
            try:
                os.add_dll_directory(os.path.dirname(path))
            except OSError:
                pass
        # A library of this name that is there already is what Windows takes; a second one, from
        # another folder, would only be a second copy.
        if loaded:
            return None
        # Frozen applications keep libraries where only the name leads.
        error = attempt([path, library] if path else [library], ctypes.WinDLL)
        return error and explained(library, directory, requirement, path, error, looked)

""",
)

_WITH_RUN_PATH = (
    """\
    file = globals().get("__file__")
"""
    + _SOUGHT
    + """\
    # The run path leads from folder to folder as the system follows links: no path is changed.
    here = os.path.join(os.path.dirname(file), site) if file else None
    if here:
        sought = [row for row in sought if not os.path.exists(os.path.join(here, row[1], row[0]))]
    if not sought:
        return
    import ctypes

""",
    """\
    def load(library, directory, requirement):
        # Return what is in the way, or None.
        try:
            # Is it in the process already? A second copy, from another folder, is not wanted.
            ctypes.CDLL($NEEDED, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
            return None
        except OSError:
            pass
        path, looked = find(library, directory)
        error = attempt([path, library] if path else [library], opened)
        return error and explained(library, directory, requirement, path, error, looked)

    def opened(name):
        if is_cut(name):
            raise OSError("%s: file too short" % name)
        ctypes.CDLL(name)

    def is_cut(name):
        # glibc maps a segment that the file does not hold whole; to touch it ends the process.
        if not os.path.isfile(name):
            return False
        from struct import error, unpack_from

        with open(name, "rb") as binary:
            head = binary.read(64)
            if head[:4] != b"\\x7fELF":
                return False
            order = "<" if head[5:6] == b"\\x01" else ">"
            # e_phoff, e_phentsize and e_phnum; p_offset and p_filesz
            layout, start, rows, row = ("Q", 32, 54, "8xQ16xQ")
            if head[4:5] == b"\\x01":
                layout, start, rows, row = ("I", 28, 42, "4xI8xI")
            try:
                (at,) = unpack_from(order + layout, head, start)
                size, count = unpack_from(order + "HH", head, rows)
                binary.seek(at)
                table = binary.read(size * count)
                spans = [unpack_from(order + row, table, size * i) for i in range(count)]
            except error:
                return True
        return any(sum(span) > os.path.getsize(name) for span in spans)

""",
)

_MUSL = """\
    def load(library, directory, requirement):
        # Return what is in the way, or None. What is loaded from elsewhere is not found again by
        # its name: musl, unlike glibc, looks for it anew.
        error = attempt([library], ctypes.CDLL)
        path, looked = find(library, directory) if error else (None, [])
        if error and path:
            return elsewhere(library, requirement, path)
        return error and explained(library, directory, requirement, path, error, looked)

    def elsewhere(library, requirement, path):
        return "\\n".join(
            [
                "%s needs %s of %s, which is there:" % (consumer, library, requirement),
                "  " + path,
                "but not in the site-packages of %s, and musl looks nowhere else." % consumer,
                "Install both into one:",
                '  "%s" -m pip install --force-reinstall --no-deps "%s" "%s"'
                % (python(), consumer.replace(" ", "=="), requirement),
                more(),
            ]
        )

"""

_TAIL = (
    """\
    def python():
        return sys.executable or "python"

    def more():
        return 'To see more: extlib-repair doctor --python "%s"' % python()

    def explained(library, directory, requirement, path, error, looked):
        top = directory.partition("/")[0]
        lines = ["%s needs %s of %s" % (consumer, library, requirement)]
        if path:
            lines[0] += ", which is there but cannot be loaded:"
            lines += ["  " + path, "  %s" % error, guess(path, error)]
        else:
            why = "its installed package lacks" if packages(top) else "was not found"
            lines[0] += ", which %s. Looked in:" % why
            lines += ["  " + folder + archive(folder) for folder in looked]
        if getattr(sys, "frozen", False):
            lines += ["Collect it when the application is made. PyInstaller:"]
            lines += ["  --collect-binaries %s" % top]
            return "\\n".join(lines)
        # What pip takes for installed, it installs anew only when it is told to.
        again = path or packages(top)
        lines += ["Install it %sfor this Python:" % ("anew " if again else "")]
        options = "--force-reinstall --no-deps " if again else ""
        lines += ['  "%s" -m pip install %s"%s"' % (python(), options, requirement)]
        return "\\n".join([line for line in lines if line] + [more()])

    def archive(folder):
        while folder and not os.path.exists(folder):
            folder = os.path.dirname(folder)
        within = os.path.isfile(folder)
        return " (in an archive, from which no library can be loaded)" if within else ""

    def guess(path, error):
        import sysconfig

        kind = "for another kind of Python (this one is %s)" % sysconfig.get_platform()
        code, text = getattr(error, "winerror", None), str(error)
        if code == 193:
            return "The file is probably %s or damaged." % kind
        if code == 126 or isinstance(error, FileNotFoundError):
            return "Something that the file needs is missing, or it is %s or damaged." % kind
        if any(words in text for words in ("header", "too short", "truncated", "past end of")):
            return "The file is damaged."
        if "ELF class" in text or "architecture" in text or text.startswith(path + ": cannot open"):
            return "The file is %s." % kind
        return "Something that the file needs is missing." if "cannot open" in text else ""

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
