"""The main job: compiled consumers are repaired, installed by pip, imported, and right."""

from __future__ import annotations

import json
import random
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from wheels import make_wheel
from workbench import (
    FOREIGN_RUN_PATH,
    PLATFORM,
    TAG,
    Environment,
    Workshop,
    checked,
    repair,
    retried,
)

from extlib_repair.binary import elf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

SIZE = 7
OPENBLAS = "scipy_openblas64/lib/libscipy_openblas64_.so"

USE = """
import importlib, json, sys
module = importlib.import_module({module!r})
n, a, b = json.loads({numbers!r})
product, answer = module.product(n, a, b), module.answer()
with open("/proc/self/maps") as maps:
    files = {{line.split()[-1] for line in maps if ".so" in line.split()[-1]}}
print(json.dumps([product, answer, sorted(files)]))
"""

NUMPY = """
import json, numpy, sys
n, a, b = json.loads(sys.argv[1])
a, b = numpy.array(a).reshape(n, n), numpy.array(b).reshape(n, n)
print(json.dumps((a @ b).ravel().tolist()))
"""


@pytest.fixture(scope="session")
def numbers() -> str:
    source = random.Random(20261124)
    values = [[source.uniform(-1, 1) for _ in range(SIZE * SIZE)] for _ in range(2)]
    return json.dumps([SIZE, *values])


@pytest.fixture(scope="session")
def numpy_answer(tmp_path_factory: pytest.TempPathFactory, numbers: str) -> list[float]:
    """NumPy's product of the same matrices, from a process of its own."""
    folder = tmp_path_factory.mktemp("numpy")
    retried([sys.executable, "-m", "pip", "install", "-q", "--target", folder, "numpy"])
    said = checked([sys.executable, "-c", NUMPY, numbers], {"PYTHONPATH": str(folder)})
    answer: list[float] = json.loads(said)
    return answer


def repaired(
    tmp_path: Path, workshop: Workshop, wheel: Path, openblas64: Path, *options: str
) -> Path:
    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", openblas64),
        *("-w", tmp_path / "wheelhouse", *options),
        env=workshop.env,
    )

    assert done.code == 0, done.err
    (output,) = (tmp_path / "wheelhouse").glob(f"{wheel.name.partition('-')[0]}-*.whl")
    assert done.out == f"{output}\n"
    return output


def used(environment: Environment, module: str, numbers: str) -> tuple[list[float], int, list[str]]:
    """Return product, answer and the shared libraries below site-packages."""
    product, answer, files = json.loads(environment.run(USE.format(module=module, numbers=numbers)))
    root = f"{environment.site_packages}/"
    return product, answer, [f.removeprefix(root) for f in files if f.startswith(root)]


def with_private(workshop: Workshop, name: str = "_mod", *defines: str) -> bytes:
    return workshop.module(
        name,
        "PRIVATE",
        *defines,
        link=("openblas", "private"),
        extra=(f"-Wl,-rpath,{FOREIGN_RUN_PATH}",),
    )


VARIANTS: dict[str, tuple[str, Callable[[Workshop], dict[str, bytes]]]] = {
    "a package": ("pkg._mod", lambda w: {"pkg/__init__.py": b"", "pkg/_mod.so": with_private(w)}),
    "nested packages": (
        "pkg.deep.deeper._mod",
        lambda w: {
            "pkg/__init__.py": b"",
            "pkg/deep/__init__.py": b"",
            "pkg/deep/deeper/__init__.py": b"",
            "pkg/deep/deeper/_mod.so": with_private(w),
        },
    ),
    "a top-level module": ("_mod", lambda w: {"_mod.so": with_private(w)}),
    "only the vendored library needs it": (
        "pkg._mod",
        lambda w: {
            "pkg/__init__.py": b"",
            "pkg/_mod.so": w.module("_mod", "MIDDLE", link=("middle",)),
        },
    ),
    "both need it": (
        "pkg._mod",
        lambda w: {
            "pkg/__init__.py": b"",
            "pkg/_mod.so": w.module(
                "_mod",
                "MIDDLE",
                link=("middle", "openblas"),
                extra=(
                    "-Wl,--no-as-needed",
                    "-lscipy_openblas64_",
                ),
            ),
        },
    ),
    "below .data/platlib": (
        "pkg.deep._mod",
        lambda w: {
            "demo-1.0.data/platlib/pkg/__init__.py": b"",
            "demo-1.0.data/platlib/pkg/deep/__init__.py": b"",
            "demo-1.0.data/platlib/pkg/deep/_mod.so": with_private(w),
        },
    ),
    "abi3": (
        "pkg._mod",
        lambda w: {
            "pkg/__init__.py": b"",
            "pkg/_mod.abi3.so": with_private(w, "_mod", "LIMITED"),
        },
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_repaired_consumer_uses_the_providers_library(
    variant: str,
    tmp_path: Path,
    workshop: Workshop,
    openblas64: Path,
    environment: Environment,
    numbers: str,
    numpy_answer: list[float],
) -> None:
    module, members = VARIANTS[variant]
    tag = f"{TAG}-abi3-{PLATFORM}" if variant == "abi3" else f"{TAG}-{TAG}-{PLATFORM}"
    wheel = make_wheel(tmp_path, members(workshop), tag=tag)

    environment.install(repaired(tmp_path, workshop, wheel, openblas64))
    product, answer, files = used(environment, module, numbers)

    assert product == pytest.approx(numpy_answer)
    assert answer == 41
    assert [f for f in files if "openblas" in f] == [OPENBLAS]
    vendored = [f.rpartition("-")[0] for f in files if f.startswith("demo.libs/")]
    assert vendored == ["demo.libs/" + ("libmiddle" if "need" in variant else "libprivate")]


def test_pip_brings_the_provider_because_the_wheel_requires_it(
    tmp_path: Path, workshop: Workshop, openblas64: Path, environment: Environment
) -> None:
    wheel = make_wheel(tmp_path, {"_mod.so": with_private(workshop)}, tag=f"{TAG}-{TAG}-{PLATFORM}")

    environment.install(repaired(tmp_path, workshop, wheel, openblas64))

    assert (environment.site_packages / OPENBLAS).is_file()
    checked([environment.python, "-m", "pip", "check"])


def test_two_consumers_share_one_provider(
    tmp_path: Path,
    workshop: Workshop,
    openblas64: Path,
    environment: Environment,
    numbers: str,
    numpy_answer: list[float],
) -> None:
    for name in ("one", "two"):
        files = {f"{name}/__init__.py": b"", f"{name}/_mod.so": with_private(workshop)}
        wheel = make_wheel(tmp_path, files, name=name, tag=f"{TAG}-{TAG}-{PLATFORM}")
        environment.install(repaired(tmp_path, workshop, wheel, openblas64))
    both = environment.run(
        "import one._mod\n"
        + USE.format(module="two._mod", numbers=numbers)
        + "print(json.dumps(one._mod.product(n, a, b)))"
    )
    first, second = map(json.loads, both.splitlines())

    assert first[0] == second == pytest.approx(numpy_answer)
    assert len([f for f in first[2] if "openblas" in f]) == 1


def test_a_library_of_the_same_name_on_the_library_path_does_not_win(
    tmp_path: Path,
    workshop: Workshop,
    openblas64: Path,
    environment: Environment,
    numbers: str,
    numpy_answer: list[float],
) -> None:
    fake = tmp_path / "fake"
    fake.mkdir()
    soname = "libscipy_openblas64_.so"
    (tmp_path / "fake.c").write_text("void scipy_cblas_dgemm64_(void) {}\n")
    flags = ["-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", fake / soname]
    checked(["gcc", *flags, tmp_path / "fake.c"])
    wheel = make_wheel(tmp_path, {"_mod.so": with_private(workshop)}, tag=f"{TAG}-{TAG}-{PLATFORM}")

    environment.install(repaired(tmp_path, workshop, wheel, openblas64))
    said = environment.run(
        USE.format(module="_mod", numbers=numbers), {"LD_LIBRARY_PATH": str(fake)}
    )

    assert json.loads(said)[0] == pytest.approx(numpy_answer)


def test_build_time_run_paths_are_gone(
    tmp_path: Path, workshop: Workshop, openblas64: Path
) -> None:
    wheel = make_wheel(
        tmp_path, {"pkg/_mod.so": with_private(workshop)}, tag=f"{TAG}-{TAG}-{PLATFORM}"
    )

    output = repaired(tmp_path, workshop, wheel, openblas64)
    with zipfile.ZipFile(output) as archive:
        (image,) = elf.read(archive.read("pkg/_mod.so")).images

    assert image.search == (
        "$ORIGIN/keepme",
        "$ORIGIN/../demo.libs",
        "$ORIGIN/../scipy_openblas64/lib",
    )


def test_a_program_in_scripts_runs_from_a_fixed_place(
    tmp_path: Path, workshop: Workshop, openblas64: Path, environment: Environment
) -> None:
    members: Mapping[str, bytes] = {
        "pkg/__init__.py": b"",
        "demo-1.0.data/scripts/multiply": workshop.program(),
    }
    wheel = make_wheel(tmp_path, members, tag=f"py3-none-{PLATFORM}")

    environment.install(repaired(tmp_path, workshop, wheel, openblas64))

    program = environment.folder / "bin" / "multiply"
    assert checked([program, "argument"]) == "19 22 43 50 argument\n"


def test_a_consumer_built_for_preloading_is_refused_and_can_be_mended(
    tmp_path: Path,
    workshop: Workshop,
    openblas64: Path,
    environment: Environment,
    numbers: str,
    numpy_answer: list[float],
) -> None:
    members = {"_mod.so": workshop.module("_mod", link=())}
    wheel = make_wheel(tmp_path, members, tag=f"{TAG}-{TAG}-{PLATFORM}")
    options = (wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", openblas64)

    refused = repair(*options, "-w", tmp_path / "none")

    assert refused.code == 4
    assert "scipy_cblas_dgemm64_" in refused.err
    assert not list(tmp_path.glob("none/*"))

    environment.install(repaired(tmp_path, workshop, wheel, openblas64, "--add-needed"))
    product, _, files = used(environment, "_mod", numbers)

    assert product == pytest.approx(numpy_answer)
    assert [f for f in files if "openblas" in f] == [OPENBLAS]


@pytest.mark.parametrize("symbol", ["scipy_no_such_routine_64_", "no_such_routine"])
def test_a_missing_symbol_is_refused_by_name(
    symbol: str, tmp_path: Path, workshop: Workshop, openblas64: Path
) -> None:
    members = {"pkg/_mod.so": workshop.module("_mod", f"SYMBOL={symbol}")}
    wheel = make_wheel(tmp_path, members, tag=f"{TAG}-{TAG}-{PLATFORM}")

    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", openblas64),
        *("-w", tmp_path / "none"),
    )

    assert done.code == 4
    assert done.out == ""
    assert symbol in done.err
    assert "pkg/_mod.so" in done.err
    assert "scipy-openblas64 0.3" in done.err
    assert not list(tmp_path.glob("none/*"))


def test_runpath_on_request(tmp_path: Path, workshop: Workshop, openblas64: Path) -> None:
    members = {"pkg/_mod.so": workshop.module("_mod")}
    wheel = make_wheel(tmp_path, members, tag=f"{TAG}-{TAG}-{PLATFORM}")

    output = repaired(tmp_path, workshop, wheel, openblas64, "--runpath")
    with zipfile.ZipFile(output) as archive:
        archive.extract("pkg/_mod.so", tmp_path)

    said = checked(["readelf", "-d", tmp_path / "pkg" / "_mod.so"])
    assert "Library runpath: [$ORIGIN/../scipy_openblas64/lib]" in said


def test_the_installed_provider_of_another_python_is_found(
    tmp_path: Path, workshop: Workshop, environment: Environment
) -> None:
    environment.install("scipy-openblas64")
    members = {"pkg/_mod.so": workshop.module("_mod")}
    wheel = make_wheel(tmp_path, members, tag=f"{TAG}-{TAG}-{PLATFORM}")
    arguments = (wheel, "--provided-by", "scipy-openblas64", "-w", tmp_path / "wheelhouse")
    path = f"{environment.python.parent}:/usr/bin:/bin"

    named = repair(*arguments, "--provider-python", environment.python)
    first_on_path = repair(*arguments, env={"PATH": path})

    assert (named.code, first_on_path.code) == (0, 0), named.err + first_on_path.err
