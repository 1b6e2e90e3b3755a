"""The main job, for Windows: repaired here, laid out by this machine's pip, imported under Wine."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import sys
from typing import TYPE_CHECKING

import mingw
import pytest
from mingw import LIBRARY, WindowsWorkshop
from wheels import make_wheel, read_wheel
from wine import MODULES, WindowsPython, install_for_windows, unix_path, windows_path
from workbench import checked, download, repair

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

TAG = "cp312-cp312-win_amd64"
PYD = "_mod.cp312-win_amd64.pyd"
OPENBLAS = f"scipy_openblas64/lib/{LIBRARY}"

SIZE = 5
SOURCE = random.Random(20261124)
A, B = ([SOURCE.uniform(-1, 1) for _ in range(SIZE * SIZE)] for _ in range(2))
PRODUCT = [
    sum(A[row * SIZE + k] * B[k * SIZE + column] for k in range(SIZE))
    for row in range(SIZE)
    for column in range(SIZE)
]

USE = f"""
import importlib, json, sys
module = importlib.import_module({{module!r}})
said = {{{{
    "dot": module.ddot() if hasattr(module, "ddot") else None,
    "config": module.config() if hasattr(module, "config") else "",
    "product": module.product({SIZE}, {A}, {B}),
    "answer": module.answer(),
}}}}
{MODULES.replace("{", "{{").replace("}", "}}")}
print(json.dumps({{{{**said, "files": modules()}}}}))
"""


@dataclasses.dataclass(frozen=True)
class Used:
    """What a consumer said, and the files in its process."""

    dot: float | None
    config: str
    product: list[float]
    answer: int
    files: list[str]

    @property
    def openblas(self) -> list[str]:
        return [path for path in self.files if "openblas" in path.rpartition("/")[2].lower()]


def used(windows: WindowsPython, module: str, *sites: Path, before: str = "") -> Used:
    done = windows.run(before + USE.format(module=module), pythonpath=sites)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    files = [unix_path(path) for path in said.pop("files")]
    return Used(**said, files=files)


def assert_right(result: Used, openblas: Path) -> None:
    """Compare with the right answers, which OpenBLAS gave that lies in this folder of packages."""
    assert result.dot in {14.0, None}
    assert result.product == pytest.approx(PRODUCT)
    assert result.answer == 41
    assert result.openblas == [str(openblas / OPENBLAS)]


def repaired(folder: Path, wheel: Path, provider: Path, *options: object) -> Path:
    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", provider),
        *("-w", folder / "wheelhouse", *options),
    )

    assert done.code == 0, done.err
    (output,) = (folder / "wheelhouse").glob(f"{wheel.name.partition('-')[0]}-*.whl")
    assert done.out == f"{output}\n"
    return output


def requirement(wheel: Path) -> str:
    """Return the only requirement of a wheel."""
    (metadata,) = (d for n, d in read_wheel(wheel).items() if n.endswith(".dist-info/METADATA"))
    (found,) = re.findall(r"^Requires-Dist: (.*)$", metadata.decode(), re.MULTILINE)
    return str(found)


def package(module: bytes, name: str = "pkg", init: bytes = b"") -> dict[str, bytes]:
    return {f"{name}/__init__.py": init, f"{name}/{PYD}": module}


@dataclasses.dataclass(frozen=True)
class Consumer:
    """A repaired wheel with one package, ``pkg``, and the provider that it was repaired with."""

    wheel: Path
    provider: Path

    def install(self, folder: Path) -> Path:
        """Install both into one folder."""
        install_for_windows(folder, self.wheel, index=self.provider.parent)
        return folder

    def install_alone(self, folder: Path) -> Path:
        install_for_windows(folder, self.wheel)
        return folder


@pytest.fixture(scope="module")
def consumer(
    tmp_path_factory: pytest.TempPathFactory,
    windows_workshop: WindowsWorkshop,
    windows_openblas: Path,
) -> Consumer:
    folder = tmp_path_factory.mktemp("consumer")
    wheel = make_wheel(folder, package(windows_workshop.module("_mod", "DOT")), tag=TAG)
    return Consumer(repaired(folder, wheel, windows_openblas), windows_openblas)


# --- kinds of consumers ---------------------------------------------------------------------------


def plain(shop: WindowsWorkshop) -> bytes:
    return shop.module("_mod", "DOT")


VARIANTS: dict[str, tuple[str, Callable[[WindowsWorkshop], dict[str, bytes]]]] = {
    "a package": ("pkg._mod", lambda w: package(plain(w))),
    "nested packages": (
        "pkg.deep.deeper._mod",
        lambda w: {
            "pkg/__init__.py": b"",
            "pkg/deep/__init__.py": b"",
            **package(plain(w), "pkg/deep/deeper"),
        },
    ),
    "a folder of a package without an __init__": (
        "pkg.deep._mod",
        lambda w: {"pkg/__init__.py": b"", f"pkg/deep/{PYD}": plain(w)},
    ),
    "a top-level module": ("_mod", lambda w: {PYD: plain(w)}),
    "a namespace package": ("space.sub._mod", lambda w: package(plain(w), "space/sub")),
    "below .data/platlib": (
        "pkg.deep._mod",
        lambda w: {
            "demo-1.0.data/platlib/pkg/__init__.py": b"",
            **package(plain(w), "demo-1.0.data/platlib/pkg/deep"),
        },
    ),
    "the package imports it at once": (
        "pkg",
        lambda w: package(
            plain(w),
            init=b'"""Docs."""\nfrom __future__ import annotations\nfrom pkg._mod import *\n',
        ),
    ),
    "abi3": (
        "pkg._mod",
        lambda w: {
            "pkg/__init__.py": b"",
            "pkg/_mod.pyd": w.module("_mod", "DOT", link=("openblas", "python3")),
        },
    ),
    "a private library": (
        "pkg._mod",
        lambda w: package(w.module("_mod", "DOT", "PRIVATE", link=("openblas", "private"))),
    ),
    "both it and a private library need it": (
        "pkg._mod",
        lambda w: package(w.module("_mod", "DOT", "MIDDLE", link=("openblas", "middle"))),
    ),
    "only a private library needs it": (
        "pkg._mod",
        lambda w: package(w.module("_mod", "MIDDLE", link=("middle",))),
    ),
    "a delayed import": (
        "pkg._mod",
        lambda w: package(w.module("_mod", "DOT", link=("delayed",))),
    ),
    "load flags": (
        "pkg._mod",
        lambda w: package(w.module("_mod", "DOT", system32_only=True)),
    ),
}
VENDORED = {
    "a private library": ["libprivate"],
    "both it and a private library need it": ["libmiddle"],
    "only a private library needs it": ["libmiddle"],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_repaired_consumer_uses_the_providers_library(
    variant: str,
    tmp_path: Path,
    windows: WindowsPython,
    windows_workshop: WindowsWorkshop,
    windows_openblas: Path,
) -> None:
    module, members = VARIANTS[variant]
    tag = "cp39-abi3-win_amd64" if variant == "abi3" else TAG
    wheel = make_wheel(tmp_path, members(windows_workshop), tag=tag)
    options = ("--add-path", windows_workshop.folder) if variant in VENDORED else ()

    output = repaired(tmp_path, wheel, windows_openblas, *options)
    site = tmp_path / "site"
    install_for_windows(site, output, index=windows_openblas.parent)
    result = used(windows, module, site)

    assert_right(result, site)
    libs = f"{site}/demo.libs/"
    vendored = [path.removeprefix(libs) for path in result.files if path.startswith(libs)]
    assert [name.rpartition("-")[0] for name in vendored] == VENDORED.get(variant, [])
    checking = repair("check", output)
    assert checking.code == 0, checking.out + checking.err


def test_load_flags_are_cleared(
    tmp_path: Path, windows_workshop: WindowsWorkshop, windows_openblas: Path
) -> None:
    """Wine does not heed them; Windows would look for the library in System32 alone."""
    module = windows_workshop.module("_mod", "DOT", system32_only=True)
    wheel = make_wheel(tmp_path, package(module), tag=TAG)

    output = read_wheel(repaired(tmp_path, wheel, windows_openblas))[f"pkg/{PYD}"]

    assert mingw.load_flags(module) == mingw.SYSTEM32_ONLY
    assert mingw.load_flags(output) == 0
    assert LIBRARY in mingw.imports(output)
    assert len(output) == len(module)


def test_the_repaired_wheel_requires_the_provider(consumer: Consumer, tmp_path: Path) -> None:
    site = consumer.install(tmp_path)

    assert requirement(consumer.wheel).startswith("scipy-openblas64>=0.3.")
    assert (site / OPENBLAS).is_file()
    assert consumer.wheel.name == f"demo-1.0-{TAG}.whl"


def test_the_module_itself_stays_byte_for_byte(
    consumer: Consumer, windows_workshop: WindowsWorkshop
) -> None:
    assert read_wheel(consumer.wheel)[f"pkg/{PYD}"] == windows_workshop.module("_mod", "DOT")


def test_a_provider_for_another_machine_is_refused(
    tmp_path: Path, windows_workshop: WindowsWorkshop
) -> None:
    wheel = make_wheel(tmp_path, package(windows_workshop.module("_mod", "DOT")), tag=TAG)
    arm = download(tmp_path / "in", "scipy-openblas64", "--platform", "win_arm64")

    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", arm),
        *("-w", tmp_path / "out"),
    )

    assert done.code == 4
    assert not list(tmp_path.glob("out/*"))


# --- where the provider is, and what else there is ------------------------------------------------


@pytest.mark.parametrize("provider_first", [False, True])
def test_provider_and_consumer_may_lie_in_different_folders(
    provider_first: bool,  # noqa: FBT001
    tmp_path: Path,
    windows: WindowsPython,
    windows_site: Path,
    consumer: Consumer,
) -> None:
    sites = [consumer.install_alone(tmp_path), windows_site]

    result = used(windows, "pkg._mod", *(reversed(sites) if provider_first else sites))

    assert_right(result, windows_site)


FINDER = """
import sys
from importlib.machinery import PathFinder
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [{folder!r}]) if name == "scipy_openblas64" else None
sys.meta_path.append(Finder)
"""


def test_the_provider_may_be_where_only_an_import_finds_it(
    tmp_path: Path, windows: WindowsPython, windows_site: Path, consumer: Consumer
) -> None:
    site = consumer.install_alone(tmp_path)
    before = FINDER.format(folder=windows_path(windows_site))

    assert_right(used(windows, "pkg._mod", site, before=before), windows_site)


def test_the_providers_package_may_be_imported_before(
    tmp_path: Path, windows: WindowsPython, consumer: Consumer
) -> None:
    site = consumer.install(tmp_path)

    assert_right(used(windows, "pkg._mod", site, before="import scipy_openblas64\n"), site)


def test_the_providers_package_may_be_imported_later(
    tmp_path: Path, windows: WindowsPython, consumer: Consumer
) -> None:
    site = consumer.install(tmp_path)
    before = "import pkg._mod, scipy_openblas64\n"

    assert_right(used(windows, "pkg._mod", site, before=before), site)


def test_the_consumer_does_not_import_the_provider(
    tmp_path: Path, windows: WindowsPython, consumer: Consumer
) -> None:
    site = consumer.install(tmp_path)

    done = windows.run(
        "import pkg._mod, sys; print('scipy_openblas64' in sys.modules)", pythonpath=[site]
    )

    assert done.out == "False\n", done.err


def test_a_missing_provider_is_named_with_what_to_do(
    tmp_path: Path, windows: WindowsPython, consumer: Consumer
) -> None:
    site = consumer.install_alone(tmp_path)

    done = windows.run("import pkg", pythonpath=[site])

    needed = requirement(consumer.wheel)
    said = done.err[done.err.index("ImportError: ") :]
    assert done.code == 1
    assert "demo 1.0" in said
    assert LIBRARY in said
    assert re.search(rf'-m pip install "?{re.escape(needed)}"?$', said, re.MULTILINE)
    assert "DLL load failed" not in said


@pytest.mark.parametrize("size", [0, 1000, 500_000])
def test_a_damaged_provider_is_named_with_what_to_do(
    size: int, tmp_path: Path, windows: WindowsPython, consumer: Consumer
) -> None:
    site = consumer.install(tmp_path)
    (site / OPENBLAS).write_bytes((site / OPENBLAS).read_bytes()[:size])

    done = windows.run("import pkg", pythonpath=[site])

    said = done.err[done.err.index("ImportError: ") :]
    assert done.code == 1
    assert windows_path(site / OPENBLAS) in said
    assert "-m pip install --force-reinstall" in said
    assert requirement(consumer.wheel) in said


def test_of_two_libraries_of_the_name_the_one_that_is_loaded_already_wins(
    tmp_path: Path,
    windows: WindowsPython,
    windows_workshop: WindowsWorkshop,
    consumer: Consumer,
) -> None:
    """So it is on Windows, whatever we do; a second copy is not loaded in vain."""
    fake = windows_workshop.fake(tmp_path / "fake")
    site = consumer.install(tmp_path / "site")
    before = f"import ctypes; ctypes.WinDLL({windows_path(fake)!r})\n"

    result = used(windows, "pkg._mod", site, before=before)

    assert (result.dot, result.config) == (-1.0, "fake")
    assert result.openblas == [str(fake)]


def test_a_stale_library_beside_the_module_does_not_win(
    tmp_path: Path,
    windows: WindowsPython,
    windows_workshop: WindowsWorkshop,
    consumer: Consumer,
) -> None:
    site = consumer.install(tmp_path)
    windows_workshop.fake(site / "pkg")

    assert_right(used(windows, "pkg._mod", site), site)


def test_a_stale_library_in_the_wheel_does_not_win(
    tmp_path: Path,
    windows: WindowsPython,
    windows_workshop: WindowsWorkshop,
    windows_openblas: Path,
) -> None:
    stale = windows_workshop.fake(tmp_path / "fake").read_bytes()
    members = {**package(plain(windows_workshop)), f"pkg/{LIBRARY}": stale}
    wheel = make_wheel(tmp_path, members, tag=TAG)

    site = Consumer(repaired(tmp_path, wheel, windows_openblas), windows_openblas).install(
        tmp_path / "site"
    )

    assert (site / "pkg" / LIBRARY).read_bytes() == stale
    assert_right(used(windows, "pkg._mod", site), site)


def test_two_consumers_share_one_provider(
    tmp_path: Path,
    windows: WindowsPython,
    windows_workshop: WindowsWorkshop,
    windows_openblas: Path,
) -> None:
    site = tmp_path / "site"
    wheels = []
    for name in ("one", "two"):
        wheel = make_wheel(tmp_path, package(plain(windows_workshop), name), name=name, tag=TAG)
        wheels.append(repaired(tmp_path, wheel, windows_openblas))
    install_for_windows(site, *wheels, index=windows_openblas.parent)

    result = used(windows, "two._mod", site, before="import one._mod; assert one._mod.ddot() == 14")

    assert_right(result, site)


THREADS = """
import threading
results, start = [], threading.Barrier(8)
def work():
    start.wait()
    import pkg._mod
    results.append([pkg._mod.ddot() for _ in range(50)])
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert results == [[14.0] * 50] * 8, results
"""


def test_threads_may_import_it_at_once(
    tmp_path: Path, windows: WindowsPython, consumer: Consumer
) -> None:
    site = consumer.install(tmp_path)

    assert_right(used(windows, "pkg._mod", site, before=THREADS), site)


AGAIN = f"""
{MODULES}
import importlib, json, pkg._mod, sys, time
before, names, path = modules(), sorted(vars(pkg)), list(sys.path)
start = time.perf_counter()
for _ in range(100):
    importlib.reload(pkg)
took = time.perf_counter() - start
print(json.dumps([took, modules() == before, sorted(vars(pkg)) == names, sys.path == path]))
"""


def test_to_run_the_loader_again_costs_nothing(
    tmp_path: Path, windows: WindowsPython, consumer: Consumer
) -> None:
    site = consumer.install(tmp_path)

    done = windows.run(AGAIN, pythonpath=[site])

    assert done.code == 0, done.err
    took, *same = json.loads(done.out)
    assert same == [True, True, True]
    assert took / 100 < 0.05


def test_the_loader_leaves_no_name_in_the_package(
    tmp_path: Path, windows: WindowsPython, consumer: Consumer
) -> None:
    site = consumer.install(tmp_path)

    done = windows.run(
        "import pkg; print([n for n in vars(pkg) if not n.startswith('__')])", pythonpath=[site]
    )

    assert done.out == "[]\n", done.err


def test_elsewhere_the_package_is_as_it_was(tmp_path: Path, consumer: Consumer) -> None:
    """The Python files alone, on this machine: nothing is looked for, nothing fails."""
    site = consumer.install_alone(tmp_path)

    assert checked([sys.executable, "-c", "import pkg"], {"PYTHONPATH": str(site)}) == ""


# --- NumPy from PyPI, un-vendored and repaired ----------------------------------------------------

SOLVE = f"""
import json, numpy, numpy.linalg
a = numpy.array({A}).reshape({SIZE}, {SIZE})
b = numpy.array({B}).reshape({SIZE}, {SIZE})
x = numpy.linalg.solve(a, b)
print(json.dumps([(a @ b).ravel().tolist(), float(abs(a @ x - b).max())]))
{MODULES}
print(json.dumps(modules()))
"""
PATCH = re.compile(rb"(?ms)^# start delvewheel patch\r?\n.*?^# end delvewheel patch\r?\n")


def as_built(files: Mapping[str, bytes]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the files of a published wheel as its build had made them, and the libraries.

    Those get their own names again, within the modules too.
    """
    vendored = {name: d for name, d in files.items() if name.startswith("numpy.libs/")}
    original = {
        name.rpartition("/")[2]: name.rpartition("/")[2].rpartition("-")[0] + ".dll"
        for name in vendored
    }
    built = {}
    for name, data in files.items():
        if name in vendored or ".dist-info/" in name:
            continue
        built[name] = PATCH.sub(b"", data) if name.endswith(".py") else data
        if name.endswith(".pyd"):
            for old, new in original.items():
                new_name = LIBRARY if "openblas" in new else new
                built[name] = mingw.renamed(built[name], old, new_name)
    libraries = {original[name.rpartition("/")[2]]: data for name, data in vendored.items()}
    return built, libraries


def test_numpy_computes_with_the_providers_library(
    tmp_path: Path, windows: WindowsPython, windows_openblas: Path
) -> None:
    published = download(
        tmp_path / "pypi", "numpy==2.5.5", "--platform", "win_amd64", "--python-version", "3.12"
    )
    built, libraries = as_built(read_wheel(published))
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "msvcp140.dll").write_bytes(libraries["msvcp140.dll"])
    wheel = make_wheel(tmp_path, built, name="numpy", version="2.5.5", tag=TAG)

    output = repaired(tmp_path, wheel, windows_openblas, "--add-path", tmp_path / "system")
    site = tmp_path / "site"
    install_for_windows(site, output, index=windows_openblas.parent)
    done = windows.run(SOLVE, pythonpath=[site])

    assert done.code == 0, done.err
    (product, worst), files = map(json.loads, done.out.splitlines())
    assert product == pytest.approx(PRODUCT)
    assert worst < 1e-9
    paths = [unix_path(path) for path in files]
    assert [p for p in paths if "openblas" in p.rpartition("/")[2]] == [str(site / OPENBLAS)]
    assert any(p.startswith(f"{site}/numpy.libs/msvcp140-") for p in paths)
    changed = {n for n, d in read_wheel(output).items() if n.endswith(".py") and d != built.get(n)}
    assert changed == {"numpy/__init__.py", "numpy/_distributor_init.py"}
