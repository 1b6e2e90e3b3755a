"""What of a provider makes it less certain that a consumer will load."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from facts import DGEMM64, LIB64, OPENBLAS64, SITE64, codes, elf, library, planned, provider, wheel

if TYPE_CHECKING:
    from extlib_repair.model import Provider, WheelFacts

USER = {"demo/_e.so": elf([LIB64], imports=[DGEMM64])}


def for_pythons(*tags: str) -> WheelFacts:
    facts = wheel(USER)
    return dataclasses.replace(facts, name=dataclasses.replace(facts.name, pythons=tags))


def requiring(python: str) -> Provider:
    return dataclasses.replace(OPENBLAS64, requires_python=python)


def needing(*names: str, carried: tuple[str, ...] = ()) -> Provider:
    one = provider("my-blas", {SITE64: library([DGEMM64], needed=names)})
    return dataclasses.replace(one, carried=frozenset(carried))


@pytest.mark.parametrize(
    ("requires", "tags", "warned"),
    [
        (">=3.9", ("cp311",), False),
        (">=3.12", ("cp311",), True),
        (">=3.12", ("cp312", "cp311"), True),
        (">=3.8.5", ("cp38",), False),
        ("", ("cp311",), False),
        (">=3.12", ("py3",), False),
        ("no specifier", ("cp311",), False),
        ("<3.11", ("pp311",), True),
    ],
)
def test_a_provider_that_shuts_a_python_out_is_a_warning(
    requires: str, tags: tuple[str, ...], *, warned: bool
) -> None:
    found = codes(planned(for_pythons(*tags), requiring(requires)).findings)

    assert ("warning other-python" in found) is warned


def test_the_python_that_is_shut_out_is_named() -> None:
    (text,) = [
        f.message
        for f in planned(for_pythons("cp312", "cp311"), requiring(">=3.12")).findings
        if f.code == "other-python"
    ]

    assert text == (
        "scipy-openblas64 0.3.30 requires Python >=3.12, and the wheel is for cp311: it cannot be "
        "installed there"
    )


@pytest.mark.parametrize(
    ("one", "warned"),
    [
        (needing("libc.so.6", "ld-linux-x86-64.so.2"), False),
        (needing("libgfortran.so.5"), True),
        (needing("libgfortran.so.5", carried=("libgfortran.so.5",)), False),
    ],
)
def test_a_provider_that_lacks_what_it_needs_is_a_warning(one: Provider, *, warned: bool) -> None:
    found = planned(wheel(USER), one)

    assert ("warning provider-incomplete" in codes(found.findings)) is warned
    assert found.errors == ()


def test_another_provider_can_supply_what_one_needs() -> None:
    other = provider("my-fortran", {"fortran/libgfortran.so.5": library([])})

    found = planned(wheel(USER), needing("libgfortran.so.5"), other)

    assert "warning provider-incomplete" not in codes(found.findings)


def test_a_library_that_nobody_needs_is_not_judged() -> None:
    found = planned(wheel({"demo/_e.so": elf(["libc.so.6"])}), needing("libgfortran.so.5"))

    assert codes(found.findings) == ["note nothing-provided"]
