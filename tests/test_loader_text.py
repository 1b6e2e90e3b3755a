"""The lines that are put into consumers, run on a Windows that only notes what is asked of it.

How the real loader of Windows answers is tested in tests/installed.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import os
import subprocess
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pythons import pythons, with_headers

from extlib_repair import loader
from extlib_repair.loader import Sought, Way
from extlib_repair.model import SitePath

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

block = functools.partial(loader.block, way=Way.WINDOWS)
package = functools.partial(loader.package, way=Way.WINDOWS)

DLL = "libscipy_openblas64_.dll"
FOLDER = "scipy_openblas64/lib"
REQUIREMENT = "scipy-openblas64>=0.3.30"
SOUGHT = Sought(library=DLL, directory=SitePath(FOLDER), requirement=REQUIREMENT)
HOOK = SitePath("numpy/_distributor_init.py")
CONSUMER = "numpy 2.3.0"


@dataclasses.dataclass
class Windows:
    """What the lines see of a Windows: files, loaded libraries; and what they do."""

    root: Path
    loaded: set[str] = dataclasses.field(default_factory=set)
    by_name: set[str] = dataclasses.field(default_factory=set)
    """Libraries that are found by their name alone."""

    broken: dict[str, OSError] = dataclasses.field(default_factory=dict)
    does: list[str] = dataclasses.field(default_factory=list)
    kernel32: SimpleNamespace = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.kernel32 = SimpleNamespace(GetModuleHandleW=Handle(self.loaded))

    def WinDLL(self, name: str) -> object:  # noqa: N802 - as ctypes calls it
        if name == "kernel32":
            return self.kernel32
        self.does.append(f"load {self.short(name)}")
        base = Path(name).name
        if base in self.broken and name != base:
            raise self.broken[base]
        if name == base and name not in self.by_name:
            raise FileNotFoundError(f"Could not find module '{name}'")
        return object()

    def add_dll_directory(self, folder: str) -> None:
        assert Path(folder).is_absolute()
        assert Path(folder).is_dir()
        self.does.append(f"add {self.short(folder)}")

    def short(self, path: str) -> str:
        return path.replace(str(self.root), "ROOT")

    def put(self, path: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")

    def run(self, text: str, at: str = f"site/{HOOK}") -> dict[str, Any]:
        """Run a file and return the names that it leaves."""
        names = {"__name__": "consumer", "__file__": str(self.root / at)}
        exec(compile(text, at, "exec"), names)  # noqa: S102
        return {n: v for n, v in names.items() if n not in {"__name__", "__file__", "__builtins__"}}

    def error(self, text: str) -> str:
        """Run a file that cannot find its libraries and return what it says."""
        with pytest.raises(ImportError) as caught:
            self.run(text)
        assert caught.value.__suppress_context__
        return self.short(str(caught.value))


class Handle:
    """A function of kernel32."""

    argtypes: Sequence[object] = ()
    restype: object = None

    def __init__(self, loaded: set[str]) -> None:
        self._loaded = loaded

    def __call__(self, name: str) -> int | None:
        assert self.argtypes == ["a string"]
        assert self.restype == "a pointer"  # an int would cut a handle of 64 bits
        return 0x7FF0_0000_0000 if name in self._loaded else None


@pytest.fixture
def windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Windows:
    made = Windows(root=tmp_path)
    ctypes = ModuleType("ctypes")
    vars(ctypes).update(WinDLL=made.WinDLL, c_wchar_p="a string", c_void_p="a pointer")
    monkeypatch.setitem(sys.modules, "ctypes", ctypes)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "add_dll_directory", made.add_dll_directory, raising=False)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "executable", "C:\\Python\\python.exe")
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "win-amd64")
    return made


TEXT = block(HOOK, CONSUMER, [SOUGHT])


def test_nothing_is_done_elsewhere(tmp_path: Path) -> None:
    assert Windows(root=tmp_path).run(TEXT) == {}


def test_the_fixed_place_is_taken(windows: Windows) -> None:
    windows.put(f"site/{FOLDER}/{DLL}")
    windows.put(f"other/{FOLDER}/{DLL}")
    sys.path[:] = [str(windows.root / "other")]

    assert windows.run(TEXT) == {}
    assert windows.does == [f"add ROOT/site/{FOLDER}", f"load ROOT/site/{FOLDER}/{DLL}"]


@pytest.mark.parametrize("at", ["top.py", "a/__init__.py", "a/b/c/__init__.py"])
@pytest.mark.parametrize("directory", ["prov/lib", "prov.libs", ""])
def test_the_fixed_place_is_found_from_every_depth(
    windows: Windows, at: str, directory: str
) -> None:
    sought = dataclasses.replace(SOUGHT, directory=SitePath(directory))
    windows.put(f"site/{directory}/{DLL}")
    place = f"ROOT/site/{directory}".rstrip("/")

    windows.run(block(SitePath(at), CONSUMER, [sought]), f"site/{at}")

    assert windows.does == [f"add {place}", f"load {place}/{DLL}"]


def test_a_symlinked_file_is_not_followed(windows: Windows) -> None:
    windows.put(f"site/{FOLDER}/{DLL}")
    windows.put("cache/numpy/_distributor_init.py")
    (windows.root / "site/numpy").symlink_to(windows.root / "cache/numpy")

    windows.run(TEXT)

    assert windows.does[-1] == f"load ROOT/site/{FOLDER}/{DLL}"


def test_the_provider_is_found_where_python_finds_its_package(windows: Windows) -> None:
    windows.put("empty/scipy_openblas64.txt")
    windows.put("second/scipy_openblas64/__init__.py")
    (windows.root / "second/scipy_openblas64/__init__.py").write_text("raise SystemExit")
    windows.put(f"second/{FOLDER}/{DLL}")
    sys.path[:] = [str(windows.root / name) for name in ("empty", "second")]

    windows.run(TEXT)

    assert windows.does == [f"add ROOT/second/{FOLDER}", f"load ROOT/second/{FOLDER}/{DLL}"]
    assert "scipy_openblas64" not in sys.modules


def test_a_package_of_several_folders_is_searched_whole(windows: Windows) -> None:
    windows.put("first/scipy_openblas64/x.py")
    windows.put(f"second/{FOLDER}/{DLL}")
    sys.path[:] = [str(windows.root / name) for name in ("first", "second")]

    windows.run(TEXT)

    assert windows.does == [f"add ROOT/second/{FOLDER}", f"load ROOT/second/{FOLDER}/{DLL}"]


def test_an_editable_provider_is_found_by_its_own_finder(
    windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows.put(f"work/src/lib/{DLL}")

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> ModuleSpec | None:
            assert "." not in name
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [str(windows.root / "work/src")]
            return spec

    monkeypatch.setattr(sys, "meta_path", [Finder])

    windows.run(TEXT)

    assert windows.does[-1] == f"load ROOT/work/src/lib/{DLL}"


@pytest.mark.parametrize("spec", [None, ModuleSpec("scipy_openblas64", None), "no spec", "error"])
def test_a_package_that_python_cannot_place_is_passed_over(
    windows: Windows, monkeypatch: pytest.MonkeyPatch, spec: object
) -> None:
    windows.put(f"second/{FOLDER}/{DLL}")
    sys.path[:] = [str(windows.root / "second")]
    if spec == "no spec":
        monkeypatch.setitem(sys.modules, "scipy_openblas64", SimpleNamespace(__spec__=None))

    class Finder:
        @staticmethod
        def find_spec(*_: object) -> object:
            if spec == "error":
                raise ImportError
            return spec

    monkeypatch.setattr(sys, "meta_path", [Finder])

    windows.run(TEXT)

    assert windows.does[-1] == f"load ROOT/second/{FOLDER}/{DLL}"


@pytest.mark.parametrize("directory", ["prov.libs", ""])
def test_a_folder_that_is_no_package_is_searched_along_sys_path(
    windows: Windows, monkeypatch: pytest.MonkeyPatch, directory: str
) -> None:
    windows.put(f"second/{directory}/{DLL}")
    sys.path[:] = [b"bytes", str(windows.root / "first"), str(windows.root / "second")]  # type: ignore[list-item]
    monkeypatch.setattr(sys, "meta_path", [])  # nobody is asked
    sought = dataclasses.replace(SOUGHT, directory=SitePath(directory))

    windows.run(block(HOOK, CONSUMER, [sought]))

    place = f"ROOT/second/{directory}".rstrip("/")
    assert windows.does == [f"add {place}", f"load {place}/{DLL}"]


def test_a_file_without_a_place_still_finds_the_provider(windows: Windows) -> None:
    windows.put(f"second/{FOLDER}/{DLL}")
    sys.path[:] = [str(windows.root / "second")]

    exec(TEXT, {"__name__": "frozen"})  # noqa: S102

    assert windows.does[-1] == f"load ROOT/second/{FOLDER}/{DLL}"


def test_a_library_that_is_loaded_already_is_not_loaded_again(windows: Windows) -> None:
    windows.put(f"site/{FOLDER}/{DLL}")
    windows.loaded.add(DLL)

    windows.run(TEXT)

    assert windows.does == [f"add ROOT/site/{FOLDER}"]


def test_a_library_that_is_loaded_already_need_not_be_found(windows: Windows) -> None:
    windows.loaded.add(DLL)

    windows.run(TEXT)

    assert windows.does == []


def test_the_same_lines_twice_do_the_same_twice(windows: Windows) -> None:
    windows.put(f"site/{FOLDER}/{DLL}")

    windows.run(TEXT)
    windows.loaded.add(DLL)
    windows.run(TEXT)

    assert windows.does.count(f"load ROOT/site/{FOLDER}/{DLL}") == 1


def test_a_python_without_added_folders_loads(
    windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows.put(f"site/{FOLDER}/{DLL}")
    monkeypatch.delattr(os, "add_dll_directory")

    windows.run(TEXT)

    assert windows.does == [f"load ROOT/site/{FOLDER}/{DLL}"]


def test_a_folder_that_cannot_be_added_does_no_harm(
    windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: str) -> None:
        raise OSError

    windows.put(f"site/{FOLDER}/{DLL}")
    monkeypatch.setattr(os, "add_dll_directory", fails)

    windows.run(TEXT)

    assert windows.does == [f"load ROOT/site/{FOLDER}/{DLL}"]


def test_a_frozen_application_finds_the_library_by_its_name(windows: Windows) -> None:
    windows.by_name.add(DLL)

    windows.run(TEXT)

    assert windows.does == [f"load {DLL}"]


def test_a_broken_file_does_not_hide_one_that_the_name_finds(windows: Windows) -> None:
    windows.put(f"site/{FOLDER}/{DLL}")
    windows.broken[DLL] = OSError("no")
    windows.by_name.add(DLL)

    windows.run(TEXT)

    assert windows.does[-1] == f"load {DLL}"


def test_every_library_is_loaded_in_order(windows: Windows) -> None:
    other = Sought(library="b.dll", directory=SitePath("prov.libs"), requirement="prov")
    windows.put(f"site/{FOLDER}/{DLL}")
    windows.put("site/prov.libs/b.dll")

    windows.run(block(HOOK, CONSUMER, [other, SOUGHT]))

    assert [d for d in windows.does if d.startswith("load")] == [
        "load ROOT/site/prov.libs/b.dll",
        f"load ROOT/site/{FOLDER}/{DLL}",
    ]


def windows_error(code: int, text: str) -> OSError:
    error = OSError(f"[WinError {code}] {text}")
    error.winerror = code  # type: ignore[attr-defined]
    return error


ERRORS = {
    "193": windows_error(193, "%1 is not a valid Win32 application"),
    "126": windows_error(126, "The specified module could not be found"),
    "126 as ctypes says it": FileNotFoundError("Could not find module 'X' (or its dependencies)."),
    "1114": windows_error(1114, "A dynamic link library initialization routine failed"),
}


def test_what_is_said_when_a_library_cannot_be_loaded(
    windows: Windows, monkeypatch: pytest.MonkeyPatch, golden: Callable[[str, str], None]
) -> None:
    sys.path[:] = [str(windows.root / name) for name in ("site", "second")]
    other = Sought(library="b.dll", directory=SitePath("prov.libs"), requirement="prov==1.0")
    said = ["== not found", windows.error(TEXT)]
    said += ["== two not found", windows.error(block(HOOK, CONSUMER, [SOUGHT, other]))]
    windows.put(f"site/{FOLDER}/{DLL}")
    for name, error in ERRORS.items():
        windows.broken[DLL] = error
        said += [f"== {name}", windows.error(TEXT)]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    said += ["== frozen", windows.error(block(HOOK, CONSUMER, [other]))]
    monkeypatch.setattr(sys, "frozen", False)
    monkeypatch.setattr(sys, "executable", None)
    said += ["== embedded", windows.error(block(HOOK, CONSUMER, [other]))]

    golden("loader/errors.txt", "\n".join([*said, ""]))


@pytest.mark.parametrize("value", ['a"b', "a'b", "$CONSUMER", "\\", "\N{SNOWMAN}", "a\nb", "%s {}"])
def test_values_stand_as_they_are(windows: Windows, value: str) -> None:
    sought = Sought(library=f"{value}.dll", directory=SitePath("no"), requirement=f"{value} req")

    text = block(HOOK, f"{value} con", [sought])

    assert text.isascii()
    assert f"{value} con needs {value}.dll of {value} req, which" in windows.error(text)


def test_the_texts_as_they_are(golden: Callable[[str, str], None]) -> None:
    other = Sought(library="b.dll", directory=SitePath(""), requirement="prov")
    texts: dict[str, str] = {
        "hook": TEXT,
        "nested": block(SitePath("a/b/__init__.py"), "a 1.0", [SOUGHT, other]),
        "package": package(SitePath("X/__init__.py"), "X 1.0", [SOUGHT], "X.cp312-win_amd64.pyd"),
        **{way: loader.block(HOOK, CONSUMER, [SOUGHT], way) for way in Way if way != Way.WINDOWS},
    }
    for name, text in texts.items():
        golden(f"loader/{name}.py.txt", text)
        assert text.isascii()
        assert max(map(len, text.splitlines())) <= 100
        ast.parse(text, feature_version=(3, 7))


def version(python: Path) -> str:
    return python.resolve().name


ON_EVERY_PYTHON = f"""\
import os, sys, types
text, shim, root = sys.argv[1:]
path = os.path.join(root, "numpy", "_distributor_init.py")
before = set(sys.modules)
names = {{"__name__": "n", "__file__": path}}
exec(compile(text, path, "exec"), names)
assert set(names) <= {{"__name__", "__file__", "__builtins__"}}, names
assert set(sys.modules) == before
compile(shim, "shim", "exec")
does = []
def load(name):
    if name != "kernel32":
        does.append(name)
        if name == "{DLL}":
            raise OSError("no")
    return types.SimpleNamespace(GetModuleHandleW=Handle())
class Handle:
    def __call__(self, name):
        return None
ctypes = types.ModuleType("ctypes")
ctypes.WinDLL, ctypes.c_wchar_p, ctypes.c_void_p = load, None, None
sys.modules["ctypes"] = ctypes
sys.platform = "win32"
os.add_dll_directory = does.append
exec(compile(text, path, "exec"), names)
folder = os.path.join(root, "scipy_openblas64", "lib")
assert does == [folder, os.path.join(folder, "{DLL}")], does
try:
    names["__file__"] = "elsewhere"
    exec(compile(text, path, "exec"), names)
except ImportError as error:
    assert "needs {DLL} of {REQUIREMENT}, which was not found" in str(error), error
else:
    raise SystemExit("found elsewhere")
"""


@pytest.mark.parametrize("python", pythons(), ids=version)
def test_every_python_runs_it(tmp_path: Path, python: Path) -> None:
    windows = Windows(root=tmp_path)
    windows.put(f"{FOLDER}/{DLL}")
    shim = package(SitePath("X/__init__.py"), "X 1.0", [SOUGHT], "X.pyd")

    subprocess.run(
        [python, "-W", "error", "-IS", "-c", ON_EVERY_PYTHON, TEXT, shim, tmp_path],
        check=True,
        timeout=60,
    )


SINGLE_PHASE = """
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *none) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, "6 * 7"}, {0}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "X", "one", -1, methods};
PyMODINIT_FUNC PyInit_X(void) { return PyModule_Create(&def); }
"""
MULTI_PHASE = """
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *none) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, "6 * 7"}, {0}};
static int execute(PyObject *module) {
    /* Cython's modules look for themselves while they are made. */
    PyObject *there = PyDict_GetItemString(
        PyImport_GetModuleDict(), PyModule_GetName(module));
    return there == module ? 0 : (PyErr_SetString(PyExc_ImportError, "not there"), -1);
}
static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "X", "many", 0, methods, slots};
PyMODINIT_FUNC PyInit_X(void) { return PyModuleDef_Init(&def); }
"""

USE = """\
import importlib, os, pickle, subprocess, sys, sysconfig, threading
folder, name, source = sys.argv[1:]
place = os.path.join(folder, *name.split(".")[:-1])
file = os.path.join(place, "X" + sysconfig.get_config_var("EXT_SUFFIX"))
include = "-I" + sysconfig.get_paths()["include"]
subprocess.check_call(["cc", "-shared", "-fPIC", include, source, "-o", file])
sys.path.insert(0, folder)
found = []
def imports():
    found.append(importlib.import_module(name).answer)
threads = [threading.Thread(target=imports) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
X = importlib.import_module(name)
assert found == [X.answer] * 4
assert X.answer() == 42 and sys.modules[name] is X
assert X.__file__ == file and X.__name__ == name, (X.__file__, X.__name__)
assert X.__spec__.origin == file and X.__spec__.name == name
assert X.__spec__.loader.__class__.__name__ == "ExtensionFileLoader"
assert X.__package__ == name.rpartition(".")[0] and not hasattr(X, "__path__")
assert not [n for n in vars(X) if "extlib" in n]
if "." in name:
    from ns import X as again
    assert importlib.import_module("ns").X is X
else:
    import X as again
assert again is X
assert pickle.loads(pickle.dumps(X.answer)) is X.answer
try:
    importlib.reload(X)
except ImportError as error:
    print("reload:", error)
again = importlib.import_module(name)
assert again.answer() == 42
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [SINGLE_PHASE, MULTI_PHASE], ids=["single phase", "multi-phase"])
@pytest.mark.parametrize("name", ["X", "ns.X"])
@pytest.mark.parametrize("python", with_headers(), ids=version)
def test_a_package_gives_the_extension_module_itself(
    tmp_path: Path, python: Path, name: str, code: str
) -> None:
    suffix = subprocess.check_output(
        [python, "-c", "import sysconfig as s; print(s.get_config_var('EXT_SUFFIX'), end='')"],
        text=True,
    )
    place = name.replace(".", "/")
    init = tmp_path / place / "__init__.py"
    init.parent.mkdir(parents=True)
    init.write_text(package(SitePath(f"{place}/__init__.py"), "X 1", [SOUGHT], f"X{suffix}"))
    source = tmp_path / "x.c"
    source.write_text(code)

    subprocess.run([python, "-IS", "-c", USE, tmp_path, name, source], check=True, timeout=60)
