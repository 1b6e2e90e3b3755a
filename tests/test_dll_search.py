"""The model of where Windows finds what the binaries of a wheel need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from facts import DLL, SHIPPED, WINDOWS, chosen, codes, dll, elf, pe, planned, windows_wheel

from extlib_repair import checking, dll_search, planning
from extlib_repair.loading import Supplier
from extlib_repair.model import Kind, Member

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extlib_repair.model import Image, WheelFacts

MODULE = Member("demo/_e.pyd")
INIT = "demo/__init__.py"
USER = pe([DLL, "KERNEL32.dll"], {DLL: ["prov_add"]})


def repaired(of: Mapping[str, Image], sources: Mapping[str, str] | None = None) -> WheelFacts:
    facts = windows_wheel(of, sources={INIT: '"""Doc."""\nimport os\n'} | dict(sources or {}))
    plan = planned(facts, WINDOWS)
    assert plan.errors == ()
    return planning.expected(facts, plan)


def suppliers(facts: WheelFacts, member: str = MODULE) -> dict[str, str]:
    loading = dll_search.Loading(facts, [WINDOWS], SHIPPED.windows_libraries)
    return {name: found.supplier.name for name, found in loading.found[Member(member)].items()}


def missing(facts: WheelFacts) -> list[tuple[str, str]]:
    return list(dll_search.Loading(facts, [WINDOWS], SHIPPED.windows_libraries).missing())


def test_a_repaired_wheel_finds_everything() -> None:
    facts = repaired({MODULE: USER})

    assert suppliers(facts) == {DLL: "PROVIDER", "KERNEL32.dll": "SYSTEM"}
    assert missing(facts) == []


def test_without_a_loader_nobody_supplies_the_library() -> None:
    facts = windows_wheel({MODULE: USER}, sources={INIT: ""})

    assert suppliers(facts)[DLL] == "NOBODY"
    assert missing(facts) == [(MODULE, DLL)]
    loading = dll_search.Loading(facts, [WINDOWS], SHIPPED.windows_libraries)
    assert loading.tried(MODULE, DLL) == (
        "DLL load failed: no loader has loaded prov.dll before demo/_e.pyd"
    )


@pytest.mark.parametrize(
    ("name", "supplier"),
    [
        ("kernel32.dll", "SYSTEM"),
        ("API-MS-WIN-CRT-heap-l1-1-0.dll", "SYSTEM"),
        ("python3.dll", "SYSTEM"),
        ("python313t.dll", "SYSTEM"),
        ("python312_d.dll", "SYSTEM"),
        ("VCRUNTIME140_1.dll", "SYSTEM"),
        ("libpypy3.11-c.dll", "SYSTEM"),
        ("msvcp140.dll", "NOBODY"),
        ("own.dll", "WHEEL"),
        ("OWN.dll", "WHEEL"),
        ("pythonic.dll", "NOBODY"),
    ],
)
def test_who_supplies_what(name: str, supplier: str) -> None:
    facts = windows_wheel({MODULE: pe([name]), "demo.libs/Own.dll": dll()}, sources={})

    assert suppliers(facts) == {name: supplier}


def test_what_neither_the_wheel_nor_windows_has_is_told() -> None:
    facts = windows_wheel({MODULE: pe(["libgone.dll"])}, sources={})
    loading = dll_search.Loading(facts, [], SHIPPED.windows_libraries)

    assert list(loading.missing()) == [(MODULE, "libgone.dll")]
    assert loading.tried(MODULE, "libgone.dll") == (
        "DLL load failed: neither the wheel nor Windows has libgone.dll"
    )


def test_every_module_that_reaches_a_library_must_have_loaded_its_provider() -> None:
    images = {
        "demo/a/_e.pyd": pe(["mid.dll"]),
        "demo/b/_e.pyd": pe(["mid.dll"]),
        "demo.libs/mid.dll": dll(needed=[DLL]),
    }
    sources = {"demo/a/__init__.py": "", "demo/b/__init__.py": ""}
    facts = repaired(images, sources)
    assert missing(facts) == []

    without = dict(facts.sources) | {Member("demo/b/__init__.py"): b""}
    broken = windows_wheel(images, sources={str(m): s.decode() for m, s in without.items()})

    assert missing(broken) == [("demo.libs/mid.dll", DLL)]
    loading = dll_search.Loading(broken, [WINDOWS], SHIPPED.windows_libraries)
    assert loading.tried(Member("demo.libs/mid.dll"), DLL).endswith("before demo/b/_e.pyd")


def test_the_loader_of_a_package_around_serves_too() -> None:
    facts = repaired({"demo/sub/_e.pyd": USER})

    assert suppliers(facts, "demo/sub/_e.pyd")[DLL] == "PROVIDER"


def test_what_is_never_loaded_needs_nothing() -> None:
    facts = windows_wheel({MODULE: pe(["gone.dll"], kind=Kind.OTHER)}, sources={})

    assert suppliers(facts) == {}


def test_scripts_have_no_loader_before_them() -> None:
    script = "demo-1.0.data/scripts/tool.exe"
    facts = windows_wheel({script: pe([DLL], kind=Kind.EXECUTABLE)}, sources={INIT: ""})

    assert missing(facts) == [(script, DLL)]


def check(facts: WheelFacts) -> list[str]:
    return codes(checking.findings(facts, [chosen(WINDOWS)], SHIPPED, []))


def test_a_repaired_wheel_is_good() -> None:
    assert check(repaired({MODULE: USER})) == []


def test_a_loader_that_is_missing_outdated_or_late_is_an_error() -> None:
    facts = repaired({MODULE: USER})
    source = facts.sources[Member(INIT)].decode()

    def said(text: str) -> list[str]:
        wheel = windows_wheel({MODULE: USER}, sources={INIT: text}, requires=facts.requirements)
        findings = checking.findings(wheel, [chosen(WINDOWS)], SHIPPED, [])
        return [f.message for f in findings if f.code == "loader"]

    assert said(source) == []
    assert said("") == [
        "has no loader, which must load the provider's library before what needs it"
    ]
    assert said(source.replace("prov>=1.0", "prov>=0.1")) == [
        "has another loader than a repair writes now"
    ]
    assert said(f"import x\n{source}") == [
        "has code in front of its loader, which may need the provider's library"
    ]


def test_flags_that_were_not_cleared_are_an_error() -> None:
    facts = repaired({MODULE: USER})
    sources = {str(m): s.decode() for m, s in facts.sources.items()}
    flagged = pe([DLL], {DLL: ["prov_add"]}, load_flags=0x800)

    wheel = windows_wheel({MODULE: flagged}, sources=sources, requires=facts.requirements)

    assert check(wheel) == ["error loader"]


def test_binaries_for_other_systems_are_not_windows_business() -> None:
    facts = windows_wheel({MODULE: elf(["libc.so.6"])}, sources={})

    assert suppliers(facts) == {}
    assert Supplier.NOBODY not in suppliers(facts).values()
