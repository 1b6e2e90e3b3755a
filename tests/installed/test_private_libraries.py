"""What a provider carries for its own use: scipy-openblas64 0.3.31 still has a libgfortran."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from wheels import make_wheel, read_wheel
from workbench import PLATFORM, TAG, Environment, Workshop, download, repair

OLD = "scipy-openblas64==0.3.31.22.1"
PRIVATE = "libgfortran-040039e1.so.5.0.0"
SYSTEM_FORTRAN = Path("/usr/lib/x86_64-linux-gnu/libgfortran.so.5")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Workshop]:
    """The old provider, and a workshop that compiles against it."""
    folder = tmp_path_factory.mktemp("old")
    wheel = download(folder, OLD)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if ".so" in name:
                archive.extract(name, folder / "unpacked")
    return wheel, Workshop(folder, folder / "unpacked" / "scipy_openblas64" / "lib")


def consumer(folder: Path, module: bytes) -> Path:
    return make_wheel(folder, {"_mod.so": module}, tag=f"{TAG}-{TAG}-{PLATFORM}")


def vendored(wheel: Path) -> list[str]:
    return [name.rpartition("/")[2] for name in read_wheel(wheel) if name.startswith("demo.libs/")]


def test_what_only_the_provider_needs_is_not_vendored(
    tmp_path: Path, old: tuple[Path, Workshop], environment: Environment
) -> None:
    provider, shop = old
    wheel = consumer(tmp_path, shop.module("_mod"))

    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64==0.3.31.22.1", "--provider-wheel", provider),
        *("-w", tmp_path / "out"),
        env=shop.env,
    )

    assert done.code == 0, done.err
    (output,) = (tmp_path / "out").iterdir()
    assert "manylinux_2_17_x86_64" in output.name
    assert vendored(output) == []
    environment.install(output)
    assert "41" in environment.run("import _mod; print(_mod.answer())")
    maps = environment.run(
        "import _mod; _mod.product(1, [2], [3]); print(open('/proc/self/maps').read())"
    )
    assert f"scipy_openblas64/lib/{PRIVATE}" in maps


def test_what_the_consumer_needs_itself_is_vendored(
    tmp_path: Path, old: tuple[Path, Workshop], environment: Environment
) -> None:
    if not SYSTEM_FORTRAN.exists():
        pytest.skip("libgfortran5 is not there")
    provider, shop = old
    module = shop.module("_mod", extra=("-Wl,--no-as-needed", str(SYSTEM_FORTRAN)))
    wheel = consumer(tmp_path, module)

    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", provider),
        *("-w", tmp_path / "out"),
        env=shop.env,
    )

    assert done.code == 0, done.err
    (output,) = (tmp_path / "out").iterdir()
    assert [name.partition("-")[0] for name in vendored(output)][:1] == ["libgfortran"]
    environment.install(output)
    maps = environment.run(
        "import _mod; _mod.product(1, [2], [3]); print(open('/proc/self/maps').read())"
    )
    assert "demo.libs/libgfortran-" in maps


def test_a_private_copy_of_the_provider_that_is_needed_directly_is_refused(
    tmp_path: Path, old: tuple[Path, Workshop]
) -> None:
    provider, shop = old
    module = shop.module("_mod", extra=("-Wl,--no-as-needed", f"-l:{PRIVATE}"))
    wheel = consumer(tmp_path, module)

    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", provider),
        *("-w", tmp_path / "out"),
        env=shop.env,
    )

    assert done.code == 4
    assert f"_mod.so: needs {PRIVATE}, which scipy-openblas64 0.3.31.22.1 carries" in done.err
    assert not (tmp_path / "out").exists()


def test_a_provider_that_demands_more_than_an_explicit_tag_is_refused(
    tmp_path: Path, workshop: Workshop, openblas64: Path
) -> None:
    wheel = consumer(tmp_path, workshop.module("_mod"))

    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", openblas64),
        *("-w", tmp_path / "out", "--plat", "manylinux_2_17_x86_64"),
    )

    assert done.code == 4
    assert "manylinux_2_17_x86_64 is promised" in done.err
    assert not list(tmp_path.glob("out/*"))
