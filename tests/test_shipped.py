"""Names that are shipped as data."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from extlib_repair import policy, shipped
from extlib_repair.model import PolicyLibrary, SitePath, System

if TYPE_CHECKING:
    import pytest


def test_names_are_read_once() -> None:
    assert shipped.names() is shipped.names()


def test_no_name_is_empty_or_a_comment_or_has_a_space() -> None:
    names = shipped.names()

    for name in names.c_names | names.system_libraries:
        assert name
        assert not name.startswith("#")
        assert name.split() == [name]


def test_the_system_libraries_are_those_of_every_platform_tag() -> None:
    found = shipped.names().system_libraries

    assert {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libz.so.1"} <= found
    assert len(found) == 25
    assert found.isdisjoint({"libgfortran.so.5", "libopenblas.so.0", "libgomp.so.1"})


def test_the_c_library_defines_what_it_defines() -> None:
    assert {"malloc", "memcpy", "dlopen"} <= shipped.names().c_names
    assert "scipy_cblas_dgemm64_" not in shipped.names().c_names


def test_suppliers_are_known_by_the_names_of_their_files() -> None:
    assert shipped.names().suppliers == {
        "libscipy_openblas.dylib": "scipy-openblas32",
        "libscipy_openblas64_.dylib": "scipy-openblas64",
        "libscipy_openblas.dll": "scipy-openblas32",
        "libscipy_openblas64_.dll": "scipy-openblas64",
        "scipy_openblas.dll": "scipy-openblas32",
        "scipy_openblas_64.dll": "scipy-openblas64",
        "libscipy_openblas.so": "scipy-openblas32",
        "libscipy_openblas64_.so": "scipy-openblas64",
    }


def test_libraries_of_other_systems_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    (first, *_) = policy.all_built_in()
    made = dataclasses.replace(
        first,
        libraries=tuple(
            PolicyLibrary(name=f"lib.{system}", directory=SitePath("x"), system=system)
            for system in (System.MACOS, System.LINUX, System.WINDOWS, System.ANDROID)
        ),
    )
    monkeypatch.setattr(policy, "all_built_in", lambda: (made,))

    assert shipped.names.__wrapped__().suppliers == {
        "lib.linux": first.project,
        "lib.macos": first.project,
        "lib.windows": first.project,
    }
