"""``providers learn`` from PyPI: the history says what the wheels themselves say."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from elf_files import second_reading
from wheels import read_wheel
from workbench import download

from extlib_repair import cli, history, learning, shipped
from extlib_repair.history import Place
from extlib_repair.model import Libc, Project, System

if TYPE_CHECKING:
    from pathlib import Path

PLACE = Place(System.LINUX, "x86_64", Libc.GLIBC)
OTHER = Place(System.WINDOWS, "x86")
NAME = "libscipy_openblas64_.so"


def test_a_release_is_learned_as_pyelftools_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "PLACES", {p: learning.PLACES[p] for p in (PLACE, OTHER)})
    file = tmp_path / "h.json.xz"
    release = "0.3.30.0.8"

    code = cli.main(
        ["providers", "learn", "scipy-openblas64", "--versions", f"=={release}", "-o", str(file)]
    )

    known = learning.read(file)
    platform = ("--platform", "manylinux2014_x86_64")
    wheel = download(tmp_path / "in", f"scipy-openblas64=={release}", *platform)
    data = read_wheel(wheel)[f"scipy_openblas64/lib/{NAME}"]
    second = second_reading(data)
    (one,) = known.at(PLACE).wheels
    (library,) = one.libraries
    assert code == 0
    assert one.filename == wheel.name
    assert library.sha256 == hashlib.sha256(data).hexdigest()
    assert (library.name, library.own_name) == (NAME, second.name)
    assert library.needed == second.needed
    assert history.exports_of(known, release, PLACE, NAME) == second.exports
    assert known.at(OTHER).absent == {release}
    assert not one.purelib


@pytest.mark.parametrize(
    ("project", "version", "platform", "key"),
    [
        ("scipy-openblas64", "0.3.24.95.1", "musllinux_1_1_x86_64", "linux-musl-x86_64"),
        ("scipy-openblas32", "0.3.29.0.0", "manylinux2014_aarch64", "linux-glibc-aarch64"),
        ("scipy-openblas64", "0.3.34.237.2", "macosx_11_0_arm64", "macos-arm64"),
        ("scipy-openblas32", "0.3.31.22.0", "win32", "windows-x86"),
        ("scipy-openblas32", "0.3.33.112.0", "win_arm64", "windows-arm64"),
    ],
)
def test_what_is_shipped_is_what_the_wheel_says(
    project: str, version: str, platform: str, key: str, tmp_path: Path
) -> None:
    known = shipped.history(Project(project))
    wheel = download(tmp_path, f"{project}=={version}", "--platform", platform)

    (looked,) = learning.read_wheel(wheel)

    assert known is not None
    assert looked.place.key == key
    assert looked.wheel in known.at(looked.place).wheels
    assert looked.exports
    for library, names in looked.exports.items():
        assert history.exports_of(known, version, looked.place, library) == names
