"""The wheel's tag decides, not the host: consumers of other machines are repaired here."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from wheels import make_wheel
from workbench import PLATFORM, TAG, Workshop, download, repair

from extlib_repair.wheelfile import WheelFile


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_the_demos_consumer_is_repaired_for_every_machine(arch: str, tmp_path: Path) -> None:
    demo = Path(str(resources.files("extlib_repair") / "data" / "demo"))
    (provider,) = demo.glob(f"extlib_demo_matrix-*_{arch}.whl")
    (consumer,) = demo.glob(f"extlib_demo-*_{arch}.whl")

    done = repair(
        *(consumer, "--provided-by", "extlib-demo-matrix", "--provider-wheel", provider),
        *("-w", tmp_path / "out"),
    )

    assert done.code == 0, done.err
    (output,) = (tmp_path / "out").iterdir()
    assert output.name.endswith(f"-manylinux2014_{arch}.manylinux_2_17_{arch}.whl")
    with WheelFile(output) as wheel:
        facts = wheel.facts()
    (image,) = facts.image_map.values()
    assert image.arch == arch
    assert image.search == ("$ORIGIN/../extlib_demo_matrix/lib",)
    assert facts.requirements == ("extlib-demo-matrix>=1.0",)


def test_a_provider_for_another_c_library_is_refused(tmp_path: Path, workshop: Workshop) -> None:
    consumer = make_wheel(
        tmp_path, {"_mod.so": workshop.module("_mod")}, tag=f"{TAG}-{TAG}-{PLATFORM}"
    )
    musl = download(tmp_path / "in", "scipy-openblas64", "--platform", "musllinux_1_2_x86_64")

    done = repair(
        *(consumer, "--provided-by", "scipy-openblas64", "--provider-wheel", musl),
        *("-w", tmp_path / "out"),
    )

    assert done.code == 4
    assert "the wheel is for glibc, and scipy-openblas64" in done.err
    assert not list(tmp_path.glob("out/*"))


def test_a_provider_for_another_machine_is_refused(tmp_path: Path, workshop: Workshop) -> None:
    consumer = make_wheel(
        tmp_path, {"_mod.so": workshop.module("_mod")}, tag=f"{TAG}-{TAG}-{PLATFORM}"
    )
    other = download(tmp_path / "in", "scipy-openblas64", "--platform", "manylinux_2_27_aarch64")

    done = repair(
        *(consumer, "--provided-by", "scipy-openblas64", "--provider-wheel", other),
        *("-w", tmp_path / "out"),
    )

    assert done.code == 4
    assert "and the consumer for linux x86_64" in done.err
    assert not (tmp_path / "out").exists()
