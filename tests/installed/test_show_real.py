"""``show`` on wheels that everybody knows; and their binaries, held against the loader."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from workbench import checked, download, repair, run

from extlib_repair import checking, choosing, provider, shipped
from extlib_repair.dependency import parse_request
from extlib_repair.loading import Loading, Supplier
from extlib_repair.model import Kind, Member
from extlib_repair.wheelfile import WheelFile

if TYPE_CHECKING:
    from collections.abc import Callable

REQUIREMENTS = {
    "numpy": "numpy==2.5.5",
    "scipy": "scipy==1.18.1",
    "pyarrow": "pyarrow==26.0.1",
    "pyside6-essentials": "PySide6_Essentials==6.12.0",
    "shiboken6": "shiboken6==6.12.0",
}
PROVIDERS = {"pyside6-essentials": "shiboken6"}
SHOWN = ("numpy", "scipy", "pyarrow", "pyside6-essentials")


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Download wheels for CPython 3.12 on x86_64, each once."""
    wheels: dict[str, Path] = {}
    platforms = ("manylinux_2_28_x86_64", "manylinux_2_34_x86_64")
    options = [word for platform in platforms for word in ("--platform", platform)]

    def get(name: str) -> Path:
        if name not in wheels:
            folder = tmp_path_factory.mktemp(name)
            wheels[name] = download(folder, REQUIREMENTS[name], "--python-version=3.12", *options)
        return wheels[name]

    return get


def options_for(name: str, real: Callable[[str], Path]) -> list[object]:
    supplier = PROVIDERS.get(name)
    return ["--provided-by", supplier, "--provider-wheel", real(supplier)] if supplier else []


@pytest.mark.parametrize("name", SHOWN)
def test_the_text_is_the_one_that_was_reviewed(
    name: str, real: Callable[[str], Path], golden: Callable[[str, str], None]
) -> None:
    done = repair("show", real(name), *options_for(name, real))

    assert done.code == 0, done.err
    golden(f"show/{name}.txt", done.out)
    for line in done.out.splitlines():
        assert len(line) <= 80 or " " not in line.strip()


@pytest.mark.parametrize("name", SHOWN)
def test_the_data_holds_every_binary(name: str, real: Callable[[str], Path]) -> None:
    done = repair("show", "--json", real(name), *options_for(name, real))

    assert done.code == 0, done.err
    with zipfile.ZipFile(real(name)) as archive:
        binaries = [n for n in archive.namelist() if archive.open(n).read(4) == b"\x7fELF"]
    assert [b["member"] for b in json.loads(done.out)["binaries"]] == sorted(binaries)


MISSING, SYSTEM = "missing", "the system"


def as_the_loader_says(binary: Path, site: Path) -> dict[str, str]:
    """Ask glibc where it finds everything that an image brings in."""
    found = {}
    for line in run(["ldd", binary], {"LD_LIBRARY_PATH": ""}).out.splitlines():
        name, arrow, where = line.strip().partition(" => ")
        if where.startswith("not found"):
            found[name] = MISSING
        elif arrow:
            path = Path(where.rpartition(" (")[0]).resolve()
            inside = path.is_relative_to(site)
            found[name] = path.relative_to(site).as_posix() if inside else SYSTEM
    return found


def as_the_model_says(loading: Loading, member: Member) -> dict[str, str]:
    """Load one image alone."""
    loading.found = {other: {} for other in loading.found}
    loading._load(member)
    return {
        name: MISSING if found.supplier is Supplier.NOBODY else str(found.place or SYSTEM)
        for needs in loading.found.values()
        for name, found in needs.items()
    }


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("ldd") is None, reason="needs ldd")
@pytest.mark.parametrize("name", SHOWN)
def test_the_model_finds_what_the_loader_finds(
    name: str, real: Callable[[str], Path], tmp_path: Path
) -> None:
    wheels = [real(name), *([real(PROVIDERS[name])] if name in PROVIDERS else [])]
    for wheel in wheels:
        checked([sys.executable, "-m", "zipfile", "-e", wheel, tmp_path])
    with WheelFile(wheels[0]) as file:
        facts = file.facts()
    requests = [parse_request(PROVIDERS[name])] if name in PROVIDERS else []
    chosen = choosing.for_check(facts, requests, provider.Sources(wheels=tuple(wheels[1:])))
    loading = checking.loading(facts, chosen, shipped.names())
    assert isinstance(loading, Loading)
    images = {m: i for m, i in facts.image_map.items() if i.kind is not Kind.OTHER}

    compared = 0
    for member in images:
        real_answers = as_the_loader_says(tmp_path / member, tmp_path.resolve())
        for needed, answer in as_the_model_says(loading, member).items():
            compared += 1
            if answer in {MISSING, SYSTEM}:  # this host's own libraries are not the model's
                assert real_answers.get(needed, SYSTEM) in {MISSING, SYSTEM}, (member, needed)
            else:
                assert real_answers[needed] == answer, (member, needed)

    assert compared > len(images)
