"""Which Python can install a wheel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from extlib_repair import interpreters, process
from extlib_repair.errors import UsageError
from extlib_repair.model import WheelName

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OWN = f"cp{sys.version_info[0]}{sys.version_info[1]}"


def name(python: str, platform: str) -> WheelName:
    return WheelName(
        distribution="demo", version="1.0", pythons=(python,), abis=(python,), platforms=(platform,)
    )


@pytest.fixture
def own_platform() -> str:
    found = interpreters._asked((sys.executable,))
    assert isinstance(found, interpreters.Interpreter)
    return next(tag for tag in sorted(found.tags) if tag.startswith(f"{OWN}-{OWN}-")).split("-")[2]


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    """Make a program that is no Python."""

    def make(text: str, file: str = "python") -> str:
        path = tmp_path / file
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return make


def test_an_interpreter_says_what_it_is(own_platform: str) -> None:
    found = interpreters.for_wheel(name(OWN, own_platform), sys.executable)

    assert found is not None
    assert found.version == sys.version_info[:3]
    assert found.label.startswith(f"CPython {'.'.join(map(str, found.version))} (/")
    assert not found.is_foreign


def test_the_first_python_on_path_that_fits_is_taken(
    own_platform: str, monkeypatch: pytest.MonkeyPatch, script: Callable[[str], str], tmp_path: Path
) -> None:
    script("echo this is no Python")
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{tmp_path}:{tmp_path / 'second'}")

    found = interpreters.for_wheel(name(OWN, own_platform), "")

    assert found is not None
    assert found.command == (str(tmp_path / "second" / "python"),)


def test_a_wheel_for_another_platform_has_none() -> None:
    assert interpreters.for_wheel(name(OWN, "macosx_11_0_riscv64"), "") is None
    assert interpreters.for_wheel(name(OWN, "macosx_11_0_riscv64"), sys.executable) is None


def test_a_wheel_for_another_python_is_refused(own_platform: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be installed by CPython 3\.") as caught:
        interpreters.for_wheel(name("cp399", own_platform), "")

    assert caught.value.hint is not None
    assert "it is for cp399-cp399" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo 'not found' >&2; exit 3", "not found"),
        ("echo no JSON", "says something else"),
        ("exit 3", "exit code 3"),
    ],
)
def test_what_is_no_python_is_refused(
    text: str, message: str, script: Callable[[str], str], own_platform: str
) -> None:
    with pytest.raises(UsageError, match=f"does not answer: {message}"):
        interpreters.for_wheel(name(OWN, own_platform), script(text))


def test_what_is_not_there_is_refused(own_platform: str) -> None:
    with pytest.raises(UsageError, match="cannot be run: No such file"):
        interpreters.for_wheel(name(OWN, own_platform), "/nowhere/python")


def test_a_python_for_windows_wants_wine_and_a_wheel_for_windows(
    monkeypatch: pytest.MonkeyPatch, own_platform: str, script: Callable[..., str]
) -> None:
    monkeypatch.setattr(process, "find", lambda _: None)
    windows = name("cp312", "win_amd64")
    assert interpreters.for_wheel(windows, "python.exe") is None

    answer = '{"executable": "x", "platform": "win-amd64", "name": "CPython", "version": [3,12,1]}'
    wine = script(f"echo '{answer}'", "wine")
    monkeypatch.setattr(process, "find", lambda _: wine)
    found = interpreters.for_wheel(windows, "python.exe")
    assert found is not None
    assert found.is_foreign
    assert found.command[0] == wine
    assert interpreters.for_wheel(name(OWN, own_platform), "python.exe") is None
    with pytest.raises(UsageError, match="cannot be installed by CPython"):
        interpreters.for_wheel(name("cp311", "win_amd64"), "python.exe")

    other = script("echo 'no prefix' >&2; exit 1", "other-wine")
    monkeypatch.setattr(process, "find", lambda _: other)
    with pytest.raises(UsageError, match="does not answer under Wine: no prefix"):
        interpreters.for_wheel(windows, "python.exe")
