"""``--fetch``: the provider comes from PyPI, for the consumer's platform and not the host's."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import pytest
from wheels import make_wheel
from workbench import PLATFORM, TAG, Workshop, repair

from extlib_repair import fetching
from extlib_repair.errors import ProviderNotFoundError
from extlib_repair.model import Libc, Project, ProviderRequest
from extlib_repair.wheelfile import parse_name


def request(specifier: str = "") -> ProviderRequest:
    return ProviderRequest(project=Project("scipy-openblas64"), specifier=specifier)


@pytest.mark.parametrize(
    ("tag", "libc", "fetched"),
    [
        ("cp312-cp312-linux_x86_64", Libc.GLIBC, "manylinux_2_27_x86_64"),
        ("cp312-cp312-linux_x86_64", Libc.MUSL, "musllinux_1_2_x86_64"),
        ("cp312-abi3-manylinux2014_aarch64", Libc.GLIBC, "manylinux_2_27_aarch64"),
        ("cp38-cp38-musllinux_1_1_aarch64", Libc.MUSL, "musllinux_1_2_aarch64"),
        ("py3-none-linux_s390x", Libc.GLIBC, "manylinux_2_27_s390x"),
    ],
)
def test_the_wheel_is_for_the_consumers_platform(
    tag: str, libc: Libc, fetched: str, tmp_path: Path
) -> None:
    consumer = parse_name(f"demo-1.0-{tag}.whl")

    wheel = fetching.fetch(request(), consumer, libc, tmp_path)

    assert fetched in wheel.name


def test_the_range_holds_whatever_the_platform_version(tmp_path: Path) -> None:
    """The consumer says manylinux1 here, and gets a provider of manylinux2014."""
    consumer = parse_name("demo-1.0-cp312-cp312-manylinux1_x86_64.whl")

    wheel = fetching.fetch(request(">=0.3.31,<0.3.32"), consumer, Libc.GLIBC, tmp_path)

    assert wheel.name.startswith("scipy_openblas64-0.3.31.")
    assert "manylinux_2_17_x86_64" in wheel.name


def test_what_is_not_there_is_said_with_pips_words(tmp_path: Path) -> None:
    consumer = parse_name("demo-1.0-cp312-cp312-linux_x86_64.whl")

    with pytest.raises(ProviderNotFoundError, match="pip finds no wheel of scipy-openblas64>99"):
        fetching.fetch(request(">99"), consumer, Libc.GLIBC, tmp_path)


def test_a_consumer_is_repaired_with_a_provider_that_is_not_installed(
    tmp_path: Path, workshop: Workshop
) -> None:
    wheel = make_wheel(
        tmp_path, {"pkg/_mod.so": workshop.module("_mod")}, tag=f"{TAG}-{TAG}-{PLATFORM}"
    )
    arguments = (wheel, "--provided-by", "scipy-openblas64", "-w", tmp_path / "out")
    env = {"PATH": "/usr/bin:/bin"}

    without = repair(*arguments, "--provider-python", sys.executable, env=env)
    done = repair(*arguments, "--provider-python", sys.executable, "--fetch", env=env)

    assert (without.code, done.code) == (4, 0), done.err
    assert "or --fetch" in without.err
    assert "manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl) [floor]" in done.err


def test_a_provider_for_another_machine_is_fetched_though_one_is_given(tmp_path: Path) -> None:
    demo = Path(str(resources.files("extlib_repair") / "data" / "demo"))
    (consumer,) = demo.glob("extlib_demo-*_aarch64.whl")
    (other,) = demo.glob("extlib_demo_matrix-*_x86_64.whl")

    done = repair(
        *(consumer, "--provided-by", "extlib-demo-matrix", "--provider-wheel", other),
        *("--fetch", "-w", tmp_path / "out"),
    )

    assert done.code == 4
    assert "pip finds no wheel of extlib-demo-matrix" in done.err
