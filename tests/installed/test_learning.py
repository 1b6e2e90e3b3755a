"""``providers learn`` from PyPI: the history says what the wheels themselves say."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from elf_files import second_reading
from wheels import read_wheel
from workbench import download

from extlib_repair import cli, history, learning
from extlib_repair.history import Place
from extlib_repair.model import Libc, System

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

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
