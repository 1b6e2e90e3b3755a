"""Is what was seen in an environment as it should be?"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from facts import (
    DLL,
    LIB64,
    OPENBLAS64,
    SITE64,
    WINDOWS,
    chosen,
    codes,
    elf,
    library,
    pe,
    wheel,
    windows_wheel,
)

from extlib_repair import judging
from extlib_repair.model import Imported, Kind, Observed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import Image, WheelFacts

MODULE = "demo/_e.cpython-311-x86_64-linux-gnu.so"
USER = elf([LIB64])
HASHED = f"demo.libs/{LIB64.replace('.so', '-0123abcd.so')}"


def subject(
    facts: WheelFacts | None = None, *, image: Image = USER, files: Sequence[str] = (), **more: Any
) -> judging.Subject:
    made = facts or wheel({MODULE: image}, files=files)
    return judging.Subject(wheel="in/demo.whl", facts=made, chosen=(chosen(OPENBLAS64),), **more)


def seen(*paths: str, error: str = "", kind: str = "ImportError", absent: str = "") -> Observed:
    one = Imported(module="demo._e", error=error, kind=kind if error else "", absent=absent)
    return Observed(modules=(one,), processes=(paths,))


def found(one: judging.Subject, observed: Observed) -> list[str]:
    return codes(judging.findings(one, observed))


def test_modules_have_their_full_names() -> None:
    facts = wheel(
        {
            "demo-1.0.data/platlib/demo/deep/_d.abi3.so": USER,
            "demo/_e.cpython-311-x86_64-linux-gnu.so": USER,
            "demo/_e.cpython-312-x86_64-linux-gnu.so": USER,
            "other/__init__.cpython-311-x86_64-linux-gnu.so": USER,
            "top.so": USER,
            "demo/libplugin.so": library(),
            "demo-1.0.data/scripts/_s.so": USER,
        }
    )

    names = list(judging.extension_modules(facts))

    assert names == ["demo.deep._d", "demo._e", "other", "top"]
    assert subject(facts).modules == tuple(names)
    assert subject(facts, named=("x",)).modules == ("x",)


def test_once_and_from_the_provider_is_good() -> None:
    assert found(subject(), seen(SITE64, "/lib/libc.so.6")) == []


def test_windows_knows_no_case() -> None:
    facts = windows_wheel({"demo/_e.pyd": pe([DLL.upper()])})
    one = judging.Subject(wheel="demo.whl", facts=facts, chosen=(chosen(WINDOWS),))

    assert found(one, seen(f"Prov/LIB/{DLL.upper()}")) == []
    assert found(one, seen(f"C:/Windows/{DLL}")) == ["error mapped-from-elsewhere"]
    assert found(one, seen()) == ["error not-mapped"]


def test_every_copy_too_many_is_found() -> None:
    other = f"/usr/lib/{LIB64}"

    assert found(subject(), seen(other)) == ["error mapped-from-elsewhere"]
    assert found(subject(), seen(SITE64, other)) == ["error mapped-twice"]
    assert found(subject(), seen(SITE64, HASHED)) == ["warning mapped-twice"]
    assert found(subject(files=[HASHED]), seen(SITE64, HASHED)) == ["error mapped-twice"]


def test_each_process_is_judged_and_the_same_is_said_once() -> None:
    other = f"/usr/lib/{LIB64}"
    processes = ((SITE64,), (other,), (other,), ())

    assert found(subject(), dataclasses.replace(seen(), processes=processes)) == [
        "error mapped-from-elsewhere"
    ]


def test_what_nothing_needs_need_not_be_mapped() -> None:
    program = elf([LIB64], kind=Kind.EXECUTABLE)

    assert found(subject(), seen("/lib/libc.so.6")) == ["error not-mapped"]
    assert found(subject(image=elf(["libc.so.6"])), seen()) == []
    assert found(subject(image=program), seen()) == ["warning not-mapped"]


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        (seen(SITE64, error="no", absent="pandas.core"), "needs the Python package pandas"),
        (seen(SITE64, error="must be imported from demo"), "must be imported from demo"),
        (
            seen(SITE64, error="cannot import name x from partially initialized module demo"),
            "cannot import name x from partially initialized module demo",
        ),
        (seen(SITE64, error="as before"), "fails in the wheel before the repair too: as before"),
    ],
)
def test_what_has_nothing_to_do_with_libraries_is_listed(observed: Observed, reason: str) -> None:
    one = subject(compared={"demo._e": "as before"})

    assert found(one, observed) == []
    assert judging.left_out(one, observed) == {"demo._e": reason}
    assert found(subject(named=("demo._e",)), observed) == ["error import-failed"]


@pytest.mark.parametrize(
    "observed",
    [
        seen(SITE64, error="libother.so.1: cannot open shared object file"),
        seen(SITE64, error="no module", absent="demo.gone"),
        seen(SITE64, error=f"{LIB64}: cannot open shared object file"),
        seen(SITE64, error="RuntimeError: the sanity check fails"),
    ],
)
def test_every_other_failure_is_one(observed: Observed) -> None:
    one = subject(compared={"demo._e": f"{LIB64}: cannot open shared object file"})

    assert found(one, observed) == ["error import-failed"]


def test_a_process_that_died_is_found() -> None:
    died = dataclasses.replace(seen(SITE64), died="dies in demo._e: SIGSEGV")

    assert found(subject(), died) == ["error import-failed"]


def test_the_verdict_is_about_one_wheel() -> None:
    modules = (Imported(module="demo._e"), Imported(module="other._x", error="no"))
    observed = Observed(modules=modules, processes=((SITE64, "b.so"), (SITE64, "/a.so")))

    verdict = judging.verdict(subject(), "by uv", observed, (judging.run_failed("x", "y"),))

    assert verdict.wheel == "demo-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    assert (verdict.how, verdict.installed) == ("installed by uv", True)
    assert verdict.imported == ("demo._e",)
    assert verdict.libraries == ("/a.so", "b.so", SITE64)
    assert [p.label for p in verdict.providers] == ["scipy-openblas64 0.3.30"]
    assert codes(verdict.errors) == ["error run-failed"]


def test_what_cannot_be_installed_has_a_verdict_too() -> None:
    verdict = judging.not_installed(subject(), "by pip", judging.install_failed("no"))

    assert codes(verdict.errors) == ["error install-failed"]
    assert (verdict.how, verdict.installed) == ("not installed by pip", False)
