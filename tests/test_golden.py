"""Whole plans and all finding texts, as files that show every change of them.

Look at the difference after ``pytest --update-golden`` before you commit it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from environments import HOME, NUMPY, OTHER, SCIPY, consumer, environment, file, judged, provided
from facts import (
    DGEMM32,
    DGEMM64,
    DLL,
    LIB32,
    LIB64,
    MARKED,
    OPENBLAS32,
    OPENBLAS64,
    PLAIN,
    PROV,
    SHIPPED,
    SITE64,
    WINDOWS,
    chosen,
    dll,
    dylib,
    elf,
    library,
    macho,
    macos_provider,
    macos_wheel,
    pe,
    planned,
    provider,
    rendered,
    wheel,
    windows_wheel,
)

from extlib_repair import checking, copies, judging, planning, policy, shipped
from extlib_repair.model import (
    Chosen,
    Finding,
    Import,
    Imported,
    Kind,
    Member,
    Observed,
    Plan,
    Signature,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from environments import There

    from extlib_repair.model import Image, InstalledFile, Provider

SOURCE = Path(planning.__file__).parent
DOCUMENTED = Path(__file__).parents[1] / "docs" / "errors.md"
LOW = ("manylinux1_x86_64", "manylinux_2_5_x86_64")
MODULE = "demo/_e.so"
INIT = "demo/__init__.py"
BUILD, MAC_SYSTEM = "/build/lib/libprov.dylib", "/usr/lib/libSystem.B.dylib"


PLANS: dict[str, Callable[[], Plan]] = {
    "nested-packages": lambda: planned(
        wheel(
            {
                "_top.abi3.so": elf([LIB64, "libc.so.6"], imports=[DGEMM64]),
                "demo/linalg/deep/_umath.so": elf(
                    ["libm.so.6", LIB64], ["/build/openblas/lib", "$ORIGIN/../../../demo.libs"]
                ),
                "demo/_other.so": elf(["libc.so.6"], ["/build/lib"]),
            },
            platforms=LOW,
            requires=["numpy>=2", "Scipy_OpenBLAS64>=0.3.20", "scipy-openblas64; extra == 'x'"],
        ),
        OPENBLAS64,
    ),
    "vendored-library-only": lambda: planned(
        wheel(
            {
                MODULE: elf(["libmid-0123abcd.so.2"], ["$ORIGIN/../demo.libs"], imports=["mid"]),
                "demo.libs/libmid-0123abcd.so.2": library(["mid"], needed=[LIB64, "libc.so.6"]),
            }
        ),
        chosen(OPENBLAS64, built_against="0.3.27"),
    ),
    "data-platlib": lambda: planned(
        wheel(
            {
                "demo-1.0.data/platlib/demo/_e.so": elf(
                    [LIB64, "libp-0123abcd.so"], ["$ORIGIN/../../../demo.libs"]
                ),
                "demo-1.0.data/platlib/demo/_private.so": elf(
                    ["libp-0123abcd.so"], ["$ORIGIN/../../../demo.libs"]
                ),
                "demo.libs/libp-0123abcd.so": library(["p"]),
            }
        ),
        OPENBLAS64,
    ),
    "scripts": lambda: planned(
        wheel(
            {
                "demo-1.0.data/scripts/prog": elf(
                    [LIB64, "libc.so.6"], ["/build/lib"], imports=[DGEMM64], kind=Kind.EXECUTABLE
                ),
                "demo-1.0.data/scripts/alone": elf(["libc.so.6"], kind=Kind.EXECUTABLE),
            }
        ),
        chosen(OPENBLAS64, ">=0.3.30,<0.4"),
    ),
    "add-needed": lambda: planned(
        wheel({MODULE: elf(["libc.so.6"], ["$ORIGIN"], imports=[DGEMM64, DGEMM32])}),
        OPENBLAS64,
        OPENBLAS32,
        add_needed=True,
    ),
    "two-providers": lambda: planned(
        wheel(
            {
                MODULE: elf([LIB32, LIB64, "libc.so.6"], imports=[DGEMM32, DGEMM64]),
                "demo/_lp64.so": elf([LIB32], imports=[DGEMM32]),
            },
            platforms=["musllinux_1_1_x86_64", "manylinux_2_17_x86_64"],
        ),
        OPENBLAS64,
        OPENBLAS32,
    ),
    "refused": lambda: planned(
        wheel({MODULE: elf([LIB64], imports=[DGEMM64, "scipy_new64_", "gone"])}),
        chosen(OPENBLAS64, ">=0.4"),
        plat="manylinux_2_17_x86_64",
    ),
    "windows": lambda: planned(
        windows_wheel(
            {
                "demo/_e.cp311-win_amd64.pyd": pe([DLL, "KERNEL32.dll"], load_flags=0x800),
                "demo/sub/_deep.pyd": pe(["private.dll"]),
                "demo.libs/private.dll": dll(needed=[DLL]),
                "_top.cp311-win_amd64.pyd": pe([DLL.upper()], {DLL.upper(): ["prov_add"]}),
                "other/_e.pyd": pe(["KERNEL32.dll"], load_flags=0x800),
            },
            sources={INIT: "", "demo/sub/__init__.py": "", "other/__init__.py": ""},
        ),
        WINDOWS,
    ),
    "macos": lambda: planned(
        macos_wheel(
            {
                MODULE: macho([BUILD, MAC_SYSTEM], ["/build/lib"], {BUILD: ["prov_add"]}),
                "demo/deep/_fat.so": [
                    macho([BUILD], ["@loader_path/../.dylibs"], arch="x86_64"),
                    macho([MAC_SYSTEM]),
                ],
                "demo/_full.so": macho([BUILD], header_room=24),
                "demo/_other.so": macho([MAC_SYSTEM], ["/build/lib"]),
            },
            platforms=["macosx_10_13_universal2"],
        ),
        macos_provider(
            "prov",
            dylib(["prov_add"], name="@rpath/libprov.dylib", arch="x86_64"),
            dylib(["prov_add"], name="@rpath/libprov.dylib"),
            platforms=["macosx_11_0_universal2"],
        ),
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_the_plan_is_the_one_that_was_reviewed(
    name: str, golden: Callable[[str, str], None]
) -> None:
    text = PLANS[name]().as_json()

    assert json.loads(text)["output"].startswith("demo-1.0-cp311-cp311-")
    golden(f"plans/{name}.json", text)


def of_one(
    image: Image,
    *providers: Provider | Chosen,
    member: str = MODULE,
    requires: tuple[str, ...] = (),
    platforms: tuple[str, ...] = ("manylinux_2_28_x86_64",),
    files: tuple[str, ...] = (),
    plat: str = "",
    keep: bool = False,
    default: str = "",
    require: bool = False,
) -> tuple[Finding, ...]:
    facts = wheel({member: image}, requires=requires, platforms=platforms, files=files)
    return planned(
        facts, *providers, plat=plat, keep=keep, default=default, require=require
    ).findings


def of_dylib(
    images: Image | Sequence[Image],
    one: Provider = PROV,
    *,
    member: str = MODULE,
    platforms: Sequence[str] = ("macosx_11_0_arm64",),
    keep: bool = False,
) -> tuple[Finding, ...]:
    return planned(macos_wheel({member: images}, platforms=platforms), one, keep=keep).findings


def of_dll(
    image: Image, *, member: str = MODULE, sources: Mapping[str, str] | None = None
) -> tuple[Finding, ...]:
    texts = {INIT: ""} if sources is None else sources
    return planned(windows_wheel({member: image}, sources=texts), WINDOWS).findings


def of_check_of_windows(*texts: str, load_flags: int = 0) -> tuple[Finding, ...]:
    """Return what is wrong with the loaders; ``SOURCE`` stands for the repaired file."""
    image = pe([DLL])
    facts = windows_wheel({MODULE: image}, sources={INIT: ""})
    good = planning.expected(facts, planned(facts, WINDOWS))
    source = good.sources[Member(INIT)].decode()
    flagged = {MODULE: pe([DLL], load_flags=load_flags)}
    wheels = [windows_wheel(flagged, sources={INIT: t.replace("SOURCE", source)}) for t in texts]
    checks = [checking.findings(one, [chosen(WINDOWS)], SHIPPED, []) for one in wheels]
    return tuple(finding for found in checks for finding in found)


def tagged(*platforms: str) -> Provider:
    return dataclasses.replace(OPENBLAS64, platforms=platforms)


def of_check(
    image: Image,
    *providers: Chosen,
    requires: tuple[str, ...] = (),
    platforms: tuple[str, ...] = ("manylinux_2_28_x86_64",),
    problems: tuple[str, ...] = (),
) -> tuple[Finding, ...]:
    """Return what is wrong with a wheel; the providers are those of its repair."""
    facts = wheel({MODULE: image}, requires=requires, platforms=platforms)
    names = dataclasses.replace(SHIPPED, suppliers={LIB64: OPENBLAS64.project})
    return checking.findings(facts, providers, names, problems)


def of_verify(
    *paths: str, error: str = "", died: str = "", image: Image | None = None
) -> tuple[Finding, ...]:
    """Return what is wrong with a wheel that was installed; a process has these paths mapped."""
    facts = wheel({MODULE: image or elf([LIB64])})
    subject = judging.Subject(wheel="demo.whl", facts=facts, chosen=(chosen(OPENBLAS64),))
    kind = "ImportError" if error else ""
    seen = Imported(module="demo._e", error=error, kind=kind)
    return judging.findings(subject, Observed(modules=(seen,), processes=(paths,), died=died))


def of_doctor(*there: There, more: Sequence[InstalledFile] = ()) -> tuple[Finding, ...]:
    return judged(environment(*there), *more)


def of_copies(*files: InstalledFile) -> tuple[Finding, ...]:
    found = copies.find(files, shipped.families(), policy.all_built_in())
    return tuple(copies.finding(one, environment(provided(OPENBLAS64))) for one in found)


USER = elf([LIB64], imports=[DGEMM64])
STALE = elf([LIB64], ["/build/lib", "$ORIGIN/../scipy_openblas64/lib"], [DGEMM64])
REPAIRED = elf([LIB64], ["$ORIGIN/../scipy_openblas64/lib"], [DGEMM64])
TEXTS: dict[str, Callable[[], list[tuple[Finding, ...]]]] = {
    "compatibility-version": lambda: [
        of_dylib(macho([BUILD], asking={BUILD: (1, 2, 0)})),
        of_dylib(macho([BUILD], asking={BUILD: (1, 2, 0)}, minimum_os=(12, 0, 0))),
    ],
    "conflicting-requirement": lambda: [
        of_one(USER, OPENBLAS64, requires=("scipy-openblas64<0.3",))
    ],
    "floor": lambda: [
        of_one(USER, OPENBLAS64),
        of_one(USER, chosen(OPENBLAS64, built_against="0.3.27")),
    ],
    "floor-above-examined": lambda: [of_one(USER, chosen(OPENBLAS64, built_against="0.3.31"))],
    "import-failed": lambda: [
        of_verify(SITE64, error="libother.so.1: cannot open shared object file"),
        of_verify(SITE64, died="dies in demo._e: SIGSEGV"),
    ],
    "install-failed": lambda: [(judging.install_failed("no matching distribution for x>=1"),)],
    "loader": lambda: [
        of_check_of_windows(""),
        of_check_of_windows("SOURCE", "import os\nSOURCE"),
        of_check_of_windows("SOURCE", load_flags=0x800),
    ],
    "mapped-from-elsewhere": lambda: [of_verify(f"/usr/lib/{LIB64}", f"demo/{LIB64}")],
    "mapped-twice": lambda: [
        of_verify(SITE64, f"/usr/lib/{LIB64}"),
        of_verify(SITE64, f"numpy.libs/{LIB64.replace('.so', '-0123abcd.so')}"),
    ],
    "minimum-os": lambda: [of_dylib(macho([BUILD], minimum_os=(13, 2, 0)))],
    "missing-symbols": lambda: [
        of_one(elf([LIB64], imports=["scipy_new64_"]), OPENBLAS64),
        of_one(elf([LIB64], imports=[f"scipy_{i:02}64_" for i in range(30)]), OPENBLAS64),
        of_one(elf(["libfoo.so.5"], imports=[Import("a", "V_1", "libfoo.so.5")]), PLAIN),
        of_dylib(macho([BUILD], imports={BUILD: ["prov_add", "prov_new"]})),
    ],
    "named-twice": lambda: [
        of_dylib(macho([BUILD, "/other/libprov.dylib"])),
        of_dylib(macho([BUILD, MAC_SYSTEM, MAC_SYSTEM])),
    ],
    "no-fixed-place": lambda: [
        of_one(USER, OPENBLAS64, member="demo-1.0.data/data/lib/libx.so"),
        of_dylib(macho([BUILD]), member="demo-1.0.data/scripts/prog"),
    ],
    "no-header-room": lambda: [of_dylib(macho([BUILD], header_room=0))],
    "no-place-for-loader": lambda: [
        of_dll(pe([DLL]), member="demo/__init__.cp311-win_amd64.pyd", sources={}),
        of_dll(pe([DLL], kind=Kind.EXECUTABLE), member="demo/tool.exe"),
    ],
    "not-found": lambda: [of_check(USER), of_check(elf(["libfoo.so.5"]))],
    "not-mapped": lambda: [of_verify(), of_verify(image=elf([LIB64], kind=Kind.EXECUTABLE))],
    "nothing-provided": lambda: [
        of_one(elf(["libc.so.6"]), OPENBLAS64),
        of_one(elf(["libfoo.so", "libfoo-0123abcd.so.5"]), PLAIN),
        of_one(elf(["libc.so.6"]), OPENBLAS64, require=True),
    ],
    "other-architecture": lambda: [
        of_one(elf([LIB64], arch="i686"), OPENBLAS64),
        of_dylib(
            [macho([BUILD], arch="x86_64"), macho([BUILD])], platforms=["macosx_11_0_universal2"]
        ),
    ],
    "other-c-library": lambda: [of_one(USER, tagged("musllinux_1_2_x86_64"))],
    "other-python": lambda: [
        of_one(USER, dataclasses.replace(OPENBLAS64, requires_python=">=3.12")),
    ],
    "other-soname": lambda: [
        planned(
            wheel({MODULE: elf(["libfoo.so.5"])}),
            provider("my-foo", {"foo/libfoo.so.5": library([], name="libfoo.so.5.0")}),
        ).findings
    ],
    "out-of-range": lambda: [of_one(USER, chosen(OPENBLAS64, ">=0.4"))],
    "own-copy": lambda: [
        of_one(elf([LIB64], ["$ORIGIN"]), OPENBLAS64, files=(f"demo/{LIB64}",)),
        of_dll(dll(needed=[DLL]), member=f"demo/{DLL}"),
    ],
    "platform-tag": lambda: [
        of_one(USER, OPENBLAS64, platforms=LOW),
        of_one(USER, OPENBLAS64, platforms=LOW, plat="manylinux_2_17_x86_64"),
        of_one(USER, OPENBLAS64, platforms=LOW, keep=True),
        of_one(USER, OPENBLAS64, platforms=LOW, default="manylinux2014_x86_64"),
        of_one(USER, tagged("linux_x86_64")),
        of_dylib(macho([BUILD]), platforms=["macosx_10_9_arm64"]),
        of_dylib(macho([BUILD]), platforms=["macosx_10_9_arm64"], keep=True),
    ],
    "preloading": lambda: [
        of_one(elf(["libc.so.6"], imports=[DGEMM64]), OPENBLAS64),
        of_one(elf(["libz.so.1"], imports=["foo"]), PLAIN),
        of_dylib(macho([MAC_SYSTEM], imports={"": ["prov_add"]}), MARKED),
    ],
    "private-library": lambda: [
        planning.private_library_findings(
            wheel({MODULE: elf(["libgfortran-040039e1.so.5.0.0"])}),
            [provider("my-foo", {}, private=["libgfortran-040039e1.so.5.0.0"])],
        )
    ],
    "provider-damaged": lambda: [
        of_doctor(
            consumer(), provided(OPENBLAS64, damage="it has 1000 bytes, and RECORD says 25287152")
        ),
        of_doctor(consumer(), provided(OPENBLAS64, gone=True)),
    ],
    "provider-elsewhere": lambda: [of_doctor(consumer(), provided(OPENBLAS64, folder=OTHER))],
    "provider-incomplete": lambda: [
        planned(
            wheel({MODULE: elf(["libfoo.so.5"])}),
            provider("my-foo", {"foo/libfoo.so.5": library(needed=["libbar.so.1", "libc.so.6"])}),
        ).findings
    ],
    "provider-missing": lambda: [
        of_doctor(consumer()),
        judged(environment(consumer(), homes={}, is_folder=True)),
    ],
    "provider-other-platform": lambda: [
        of_doctor(consumer(), provided(OPENBLAS64, library=elf(arch="aarch64"))),
        of_doctor(
            consumer(), provided(OPENBLAS64, library=library(needed=["libc.musl-x86_64.so.1"]))
        ),
        of_doctor(
            consumer(),
            provided(OPENBLAS64, gone=True, recorded=False, platforms=["macosx_11_0_arm64"]),
        ),
    ],
    "provider-out-of-range": lambda: [
        of_doctor(consumer(), provided(OPENBLAS64, version="0.3.27"))
    ],
    "provider-shadowed": lambda: [
        of_doctor(
            consumer(images={MODULE: STALE}),
            provided(OPENBLAS64),
            more=[file(f"/build/lib/{LIB64}", library())],
        ),
        judged(
            environment(
                provided(OPENBLAS64, folder=OTHER, version="0.3.31"),
                consumer(),
                provided(OPENBLAS64),
                folders=(OTHER, HOME),
            )
        ),
    ],
    "provider-too-old": lambda: [
        of_doctor(consumer(requires=[]), provided(OPENBLAS64, version="0.3.27", library=library())),
        of_doctor(consumer(), provided(OPENBLAS64, version="0.3.40", library=library())),
        of_doctor(consumer(), provided(OPENBLAS64, gone=True, recorded=False)),
    ],
    "purelib-provider": lambda: [
        of_one(USER, dataclasses.replace(OPENBLAS64, purelib=True)),
    ],
    "record": lambda: [
        of_check(elf(["libc.so.6"]), problems=("RECORD lacks demo/a.py", "RECORD names gone.py")),
        of_doctor(consumer(text="{}")),
    ],
    "requirement-missing": lambda: [
        of_check(REPAIRED, chosen(OPENBLAS64)),
        of_check(
            REPAIRED, chosen(OPENBLAS64, ">=0.3,<1"), requires=("scipy-openblas64; extra=='x'",)
        ),
        of_check(REPAIRED, chosen(OPENBLAS64), requires=("scipy-openblas64>=0.3.20",)),
    ],
    "run-failed": lambda: [(judging.run_failed("pytest --pyargs demo", "exit code 1: 1 failed"),)],
    "several-copies": lambda: [
        of_copies(NUMPY, SCIPY),
        of_copies(
            *(file(f"{HOME}/{n}.libs/libz-0123abcd.so.1", of=n, size=190_000) for n in "ab"),
        ),
    ],
    "signed-by-identity": lambda: [
        of_dylib(macho([BUILD], signature=Signature.IDENTITY)),
        of_dll(pe([DLL], load_flags=0x800, signature=Signature.IDENTITY)),
    ],
    "straight-name": lambda: [of_dylib(macho([BUILD], header_room=24))],
    "stray-run-path": lambda: [
        of_one(elf(["libc.so.6"], ["/build/lib", "$ORIGIN/../../x", ""])),
        of_dylib(macho([MAC_SYSTEM], ["/build/lib", "@executable_path/x"])),
    ],
    "symbols-twice": lambda: [
        planned(
            wheel(
                {
                    MODULE: elf([LIB64, "libmid.so"], imports=[DGEMM64]),
                    "demo.libs/libmid.so": library([DGEMM64]),
                }
            ),
            OPENBLAS64,
        ).findings
    ],
    "tag-too-permissive": lambda: [
        of_check(
            REPAIRED,
            chosen(OPENBLAS64),
            requires=("scipy-openblas64>=0.3.30",),
            platforms=("manylinux_2_17_x86_64", "manylinux2014_x86_64"),
        )
    ],
    "unreadable-source": lambda: [
        of_dll(pe([DLL]), sources={INIT: "# coding: none-such\n"}),
        of_dll(pe([DLL]), sources={INIT: "'doc'; import x\n"}),
    ],
    "unexamined-releases": lambda: [
        of_one(USER, chosen(OPENBLAS64, ">=0.3")),
        of_one(USER, chosen(OPENBLAS64, ">=0.3", built_against="0.3.28")),
    ],
    "unknown-symbols": lambda: [
        of_one(elf(["libfoo.so.5"], imports=["gone"]), PLAIN),
        of_one(elf(["libfoo.so.5", "libz.so.1"], imports=["gone"]), PLAIN),
        of_one(elf(["libfoo.so.5", LIB64], imports=["gone"]), PLAIN, OPENBLAS64),
        planned(
            wheel(
                {
                    MODULE: elf(["libfoo.so.5"], imports=["late"]),
                    "demo/libown.so": library(["late"]),
                }
            ),
            PLAIN,
        ).findings,
    ],
}


@pytest.mark.parametrize("code", TEXTS)
def test_every_finding_has_the_text_that_was_reviewed(
    code: str, golden: Callable[[str, str], None]
) -> None:
    shown = [rendered(f for f in found if f.code == code) for found in TEXTS[code]()]

    assert all(shown)
    golden(f"errors/{code}.txt", "\n".join(shown))


def codes_of_findings() -> set[str]:
    """Return the codes that stand in the sources of findings."""
    texts = [path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")]
    patterns = (r'code="([a-z-]+)"', r'_(?:refused|warning|error)\(\s*"([a-z-]+)"')
    return {code for text in texts for pattern in patterns for code in re.findall(pattern, text)}


def test_there_is_a_text_for_every_code() -> None:
    of_engines = {code for code in planning.CODES if code.startswith("engine-")}
    assert set(TEXTS) == codes_of_findings() - {"unmatched-exclude"} - of_engines


def test_every_code_is_documented() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", DOCUMENTED.read_text(encoding="utf-8"), re.MULTILINE)

    assert {code for row in rows for code in re.findall("`([a-z-]+)`", row)} == codes_of_findings()


def test_the_codes_that_can_be_acknowledged_are_all_that_there_are() -> None:
    assert codes_of_findings() == planning.CODES
    assert planning.CODES > planning.PROVIDER_CODES
