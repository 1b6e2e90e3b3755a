"""What ``show`` tells of a wheel, as data and as text."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from facts import (
    DLL,
    LIB64,
    OPENBLAS64,
    PROV,
    SITE64,
    WINDOWS,
    chosen,
    elf,
    library,
    macho,
    macos_wheel,
    pe,
    provider,
    wheel,
    windows_wheel,
)

from extlib_repair import checking, loader, shipped, showing
from extlib_repair.model import Finding, Kind, RunPathKind, Severity, SitePath, Verified

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extlib_repair.model import Chosen, WheelFacts

LONG = "libwith_a_name_that_is_longer_than_a_line_of_a_terminal_which_nobody_can_help.so.2600.1"
LIBS = "$ORIGIN/../demo.libs"
MAC_NAME, MAC_SYSTEM = "@rpath/libprov.dylib", "/usr/lib/libSystem.B.dylib"
MAC_ENTRY = "@loader_path/../prov/lib"


def shown(facts: WheelFacts, *choices: Chosen) -> dict[str, Any]:
    loading = checking.loading(facts, choices, shipped.names())
    loaders = checking.loaders(facts, choices, shipped.names())
    return showing.described(facts, choices, loading, loaders)


def text(facts: WheelFacts, *choices: Chosen) -> str:
    return "".join(f"{line}\n" for line in showing.text(shown(facts, *choices)))


def block(at: str) -> str:
    directory = SitePath("prov/lib")
    sought = [loader.Sought(library=DLL, directory=directory, requirement="prov>=1.0")]
    return loader.block(SitePath(at), "demo 1.0", sought, loader.Way.WINDOWS)


SHIBOKEN = provider(
    "shiboken6", {"shiboken6/libshiboken6.abi3.so.6.12": library()}, version="6.12.0"
)
ROOT = provider("root", {"libroot.so": library()})
WHEELS: dict[str, tuple[WheelFacts, Sequence[Chosen]]] = {
    "repaired": (
        wheel(
            {
                "demo/linalg/_e.so": elf(
                    [LIB64, "libmid-0123abcd.so.2", "libm.so.6", "libc.so.6"],
                    ["$ORIGIN/../../demo.libs", "$ORIGIN/../../scipy_openblas64/lib"],
                ),
                "demo/_plain.so": elf(["libc.so.6"]),
                "demo/_same.so": elf(["libmid-0123abcd.so.2"], [LIBS], style=RunPathKind.RUNPATH),
                "demo/_too.so": elf(["libmid-0123abcd.so.2"], [LIBS], style=RunPathKind.RUNPATH),
                "demo.libs/libmid-0123abcd.so.2": library(
                    needed=[LIB64, "libc.so.6"], name="libmid-0123abcd.so.2"
                ),
                "demo-1.0.data/scripts/prog": elf(
                    ["libc.so.6", LIB64], ["/build"], kind=Kind.EXECUTABLE
                ),
                "demo/_e.debug": elf(["libc.so.6"], kind=Kind.OTHER),
            },
            requires=["numpy>=2", "scipy-openblas64>=0.3.30", "pytest>=8 ; extra == 'test'"],
        ),
        [chosen(OPENBLAS64)],
    ),
    "unrepaired": (
        wheel(
            {
                "_top.so": elf(
                    [LIB64, "libroot.so", "libself.so", "liba.so.1"], ["$ORIGIN"], name="libself.so"
                ),
                "libfile.so": library(name="liba.so.1"),
                "libroot.so": library(),
                "_two.so": elf(["libfile.so", "liba.so.1"], ["$ORIGIN"]),
            }
        ),
        [],
    ),
    "many": (
        wheel(
            {
                **{f"demo/_m{i:02}.so": elf(["libm.so.6", "libc.so.6"]) for i in range(11)},
                "demo/_none.so": elf(),
                "demo/_qt.so": elf(
                    ["libshiboken6.abi3.so.6.12", *(f"libQt6Module{i}.so.6" for i in range(9))],
                    ["$ORIGIN/../shiboken6", "$ORIGIN/Qt/lib"],
                ),
                **{f"demo/Qt/lib/libQt6Module{i}.so.6": library() for i in range(9)},
                "demo/_long.so": elf([LONG, "libx.so"]),
            },
            requires=["shiboken6==6.12.0", *(f"p{i}; extra == 'doc'" for i in range(40))],
        ),
        [chosen(SHIBOKEN)],
    ),
    "odd": (
        wheel(
            {
                "demo/_\x1b[31mred.so": elf(
                    ["lib\udcff.so", "a b.so", "libroot.so"], ["$ORIGIN/..", "$ORIGIN/\n"]
                )
            },
            requires=["a; python_version < '3'", "b @ file:///x ; extra == 'y'"],
        ),
        [chosen(ROOT)],
    ),
    "macos": (
        macos_wheel(
            {
                "demo/_fat.so": [
                    macho([MAC_NAME, MAC_SYSTEM], [MAC_ENTRY], arch="x86_64"),
                    macho([MAC_SYSTEM]),
                ],
                "demo/_weak.so": dataclasses.replace(
                    macho(["@rpath/libgone.dylib", MAC_NAME], [MAC_ENTRY]),
                    weak_needed=frozenset({"@rpath/libgone.dylib"}),
                ),
                "demo/_lost.so": macho(["@rpath/libgone.dylib"]),
            },
            platforms=["macosx_11_0_universal2"],
        ),
        [chosen(PROV)],
    ),
    "windows": (
        windows_wheel(
            {
                "demo/_e.pyd": pe([DLL, "KERNEL32.dll"]),
                "late/_e.pyd": pe([DLL]),
                "old/_e.pyd": pe([DLL]),
                "none/_e.pyd": pe([DLL, "gone.dll"]),
            },
            sources={
                "demo/__init__.py": block("demo/__init__.py"),
                "late/__init__.py": f"import os\n{block('late/__init__.py')}",
                "old/__init__.py": block("old/__init__.py").replace("prov>=1.0", "prov>=0.1"),
                "none/__init__.py": "",
            },
        ),
        [chosen(WINDOWS)],
    ),
    "no binary": (wheel({}), []),
}


@pytest.mark.parametrize("name", WHEELS)
def test_the_text_is_the_one_that_was_reviewed(
    name: str, golden: Callable[[str, str], None]
) -> None:
    facts, choices = WHEELS[name]

    golden(f"show/{name.replace(' ', '-')}.txt", text(facts, *choices))


@pytest.mark.parametrize("name", WHEELS)
def test_lines_are_at_most_80_columns_where_names_allow_it(name: str) -> None:
    facts, choices = WHEELS[name]

    too_long = [line for line in text(facts, *choices).splitlines() if len(line) > 80]

    assert [line.strip(" ,") for line in too_long] == ([LONG, LONG] if name == "many" else [])


@pytest.mark.parametrize("name", WHEELS)
def test_the_text_can_be_printed_anywhere_and_commands_no_terminal(name: str) -> None:
    facts, choices = WHEELS[name]

    assert all(c.isprintable() or c == "\n" for c in text(facts, *choices))


def test_the_data_has_everything() -> None:
    facts, choices = WHEELS["repaired"]

    data = shown(facts, *choices)

    assert json.loads(json.dumps(data)) == data
    assert data["schema"] == 1
    assert data["wheel"] == "demo-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    assert data["requirements"] == [
        "numpy>=2",
        "scipy-openblas64>=0.3.30",
        "pytest>=8 ; extra == 'test'",
    ]
    assert data["providers"] == [
        {
            "project": "scipy-openblas64",
            "version": "0.3.30",
            "source": "a test",
            "libraries": [LIB64],
        }
    ]
    assert [binary["member"] for binary in data["binaries"]] == sorted(facts.binaries)
    by_member = {binary["member"]: binary for binary in data["binaries"]}
    assert by_member["demo/linalg/_e.so"] == {
        "member": "demo/linalg/_e.so",
        "kind": "extension module",
        "architecture": "x86_64",
        "name": "",
        "run-path": ["$ORIGIN/../../demo.libs", "$ORIGIN/../../scipy_openblas64/lib"],
        "run-path-kind": "DT_RPATH",
        "needed": [
            {
                "name": LIB64,
                "weak": False,
                "supplier": "provider",
                "provider": "scipy-openblas64",
                "place": f"scipy_openblas64/lib/{LIB64}",
            },
            {
                "name": "libmid-0123abcd.so.2",
                "weak": False,
                "supplier": "this wheel",
                "provider": None,
                "place": "demo.libs/libmid-0123abcd.so.2",
            },
            {
                "name": "libm.so.6",
                "weak": False,
                "supplier": "the system",
                "provider": None,
                "place": None,
            },
            {
                "name": "libc.so.6",
                "weak": False,
                "supplier": "the system",
                "provider": None,
                "place": None,
            },
        ],
    }
    assert by_member["demo-1.0.data/scripts/prog"]["needed"][1] == {
        "name": LIB64,
        "weak": False,
        "supplier": "nobody",
        "provider": None,
        "place": None,
    }
    assert by_member["demo/_e.debug"]["needed"] == [
        {"name": "libc.so.6", "weak": False, "supplier": None, "provider": None, "place": None}
    ]
    assert by_member["demo/_plain.so"]["run-path-kind"] is None


def test_up_to_ten_binaries_that_need_only_the_system_are_listed() -> None:
    ten = {f"demo/_m{i:02}.so": elf(["libc.so.6"]) for i in range(10)}

    assert "demo/_m09.so" in text(wheel(ten))
    assert text(wheel({**ten, "demo/_m10.so": elf(["libm.so.6"])})).splitlines()[-2:] == [
        "11 of 11 binaries need only the system (--json lists them)",
        "  the system: libc.so.6, libm.so.6",
    ]


VERIFIED = Verified(
    wheel="demo-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    how="installed by uv for CPython 3.11.7 (/usr/bin/python3.11)",
    installed=True,
    findings=(),
    providers=(OPENBLAS64,),
    imported=("demo._e", "demo.deep._d"),
    left_out={"demo._plugin": "needs the Python package pandas"},
    libraries=("/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libm.so.6", SITE64),
)
BAD = Finding(code="not-mapped", severity=Severity.ERROR, message="no")


def test_a_verification_is_told(golden: Callable[[str, str], None]) -> None:
    many = tuple(f"demo._{index}" for index in range(11))
    versions = [
        VERIFIED,
        dataclasses.replace(VERIFIED, imported=many, libraries=("libroot.so",), findings=(BAD,)),
        dataclasses.replace(VERIFIED, installed=False, how="by model, nothing was installed"),
    ]

    said = [showing.verified_text(showing.of_verified(one)) for one in versions]

    lines = [line for one in said for line in [*one, ""]]
    assert max(map(len, lines)) <= showing.WIDTH
    golden("show/verified.txt", "\n".join(lines))


def test_a_verification_is_data() -> None:
    data = json.loads(
        json.dumps(showing.of_verified(dataclasses.replace(VERIFIED, findings=(BAD,))))
    )

    assert data["ok"] is False
    assert data["providers"] == ["scipy-openblas64 0.3.30"]
    assert data["libraries"][-1] == SITE64
    assert data["findings"][0]["code"] == "not-mapped"
