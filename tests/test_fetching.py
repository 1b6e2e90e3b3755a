"""What pip is told when it is to find a provider for a consumer."""

from __future__ import annotations

import pytest

from extlib_repair import fetching, process
from extlib_repair.errors import ProviderNotFoundError
from extlib_repair.model import Libc
from extlib_repair.wheelfile import parse_name


def target(tag: str, libc: Libc = Libc.GLIBC) -> list[str]:
    return list(fetching._target(parse_name(f"demo-1.0-{tag}.whl"), libc))


def test_every_version_of_a_platform_is_named_and_the_old_names_too() -> None:
    words = target("py3-none-linux_x86_64")

    assert words[:4] == ["--platform", "manylinux_2_5_x86_64", "--platform", "manylinux_2_6_x86_64"]
    assert words[-6:] == [
        *("--platform", "manylinux1_x86_64"),
        *("--platform", "manylinux2010_x86_64"),
        *("--platform", "manylinux2014_x86_64"),
    ]


def test_the_python_and_what_it_can_load_are_named() -> None:
    assert target("cp312-abi3-musllinux_1_2_aarch64")[-10:] == [
        *("--implementation", "cp", "--python-version", "3.12"),
        *("--abi", "abi3", "--abi", "cp312", "--abi", "none"),
    ]


def test_musl_is_a_platform_of_its_own() -> None:
    assert target("py3-none-linux_x86_64", Libc.MUSL)[:2] == [
        "--platform",
        "musllinux_1_1_x86_64",
    ]


def test_macos_takes_wheels_for_both_machines() -> None:
    words = target("py3-none-macosx_11_0_arm64")

    assert "macosx_10_9_universal2" in words
    assert "macosx_14_0_arm64" in words
    assert "macosx_14_0_x86_64" not in words


def test_other_platforms_are_taken_as_they_are() -> None:
    assert target("py3-none-win_amd64") == ["--platform", "win_amd64"]


def test_no_pip_anywhere_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real program that is no Python stands for interpreters without pip."""
    monkeypatch.setattr(process, "python", lambda: "false")
    monkeypatch.setattr(process, "pythons_on_path", lambda: ["false"])

    with pytest.raises(ProviderNotFoundError, match="pip is needed"):
        fetching.python_with_pip()
