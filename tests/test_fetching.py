"""What pip is told when it is to find a provider for a consumer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from extlib_repair import fetching, process, tags
from extlib_repair.errors import FetchingError, ProviderNotFoundError
from extlib_repair.model import Libc, Project
from extlib_repair.wheelfile import parse_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FOO = Project("foo")
WINDOWS = tags.parse("win_amd64")


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


class Pip:
    """Says what pip 26.3 says, and remembers what it was asked."""

    def __init__(self, returncode: int = 0, stdout: str = "", stderr: str = "") -> None:
        self.done = process.Completed(returncode=returncode, stdout=stdout, stderr=stderr)
        self.asked: list[str] = []
        self.files: list[Path] = []

    def run(self, arguments: Sequence[str]) -> process.Completed:
        if "--version" in arguments:
            return process.Completed(returncode=0, stdout="", stderr="")
        self.asked = list(arguments[3:])
        for file in self.files:
            file.touch()
        return self.done


NONE = "ERROR: No matching distribution found for foo\n"
YANKED = "WARNING: The candidate selected for download or install is a yanked version: 'foo'\n"


def test_the_releases_of_a_platform_are_pips(monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Pip(stdout="foo (1.1)\nAvailable versions: 1.1, 1.0, 0.9\n  INSTALLED: 1.0\n")
    monkeypatch.setattr(process, "run", pip.run)

    assert fetching.versions(FOO, WINDOWS) == ("1.1", "1.0", "0.9")
    assert pip.asked[:4] == ["index", "versions", "-vv", "foo"]
    assert pip.asked[-2:] == ["--platform", "win_amd64"]


def test_a_platform_without_a_wheel_has_no_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "Could not fetch URL /simple/foo/: 404 Client Error: Not Found - skipping\n"
    monkeypatch.setattr(process, "run", Pip(1, missing, NONE).run)

    assert fetching.versions(FOO, WINDOWS) == ()


@pytest.mark.parametrize(
    ("pip", "last"),
    [
        (Pip(1, "Could not fetch URL /foo/: no route - skipping\n", NONE), "no route"),
        (Pip(0, "Could not fetch URL /foo/: 503 - skipping\nAvailable versions: 1.0\n"), "503"),
        (Pip(2, stderr="ERROR: unknown command\n"), "ERROR: unknown command"),
    ],
)
def test_an_index_that_does_not_answer_is_no_empty_one(
    pip: Pip, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another index lists is not enough: the rest would be taken for absent."""
    monkeypatch.setattr(process, "run", pip.run)

    with pytest.raises(FetchingError) as caught:
        fetching.versions(FOO, WINDOWS)

    assert str(caught.value) == f"pip cannot list the releases of foo: {last}"


@pytest.mark.parametrize("words", ["", YANKED])
def test_a_download_says_whether_the_release_is_yanked(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = Pip(stderr=words)
    pip.files = [tmp_path / "foo-1.0-py3-none-win_amd64.whl"]
    monkeypatch.setattr(process, "run", pip.run)

    assert fetching.download(FOO, "1.0", WINDOWS, tmp_path) == (pip.files[0], bool(words))
    assert "foo==1.0" in pip.asked


def test_a_download_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "run", Pip(1, stderr="ERROR: no route\n").run)

    with pytest.raises(FetchingError) as caught:
        fetching.download(FOO, "1.0", WINDOWS, tmp_path)

    assert str(caught.value) == "pip cannot download foo 1.0 for win_amd64: ERROR: no route"
