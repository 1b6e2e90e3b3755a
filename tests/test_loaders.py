"""Which consumers get a loader, and what is said of those that cannot have one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from facts import (
    LIB64,
    OPENBLAS64,
    PROV,
    SHIPPED,
    WINDOWS,
    chosen,
    codes,
    elf,
    library,
    macho,
    macos_wheel,
    pe,
    planned,
    wheel,
    windows_wheel,
)

from extlib_repair import checking, loader, planning
from extlib_repair.loaders import Mode
from extlib_repair.model import AddPackage, InsertLoader, Kind, Member, frozen_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extlib_repair.model import Image, Plan, WheelFacts

MODULE = "demo/_e.so"
INIT = "demo/__init__.py"
USER = elf([LIB64, "libc.so.6"])


def linux(
    of: Mapping[str, Image] | None = None,
    sources: Mapping[str, str] | None = None,
    platform: str = "manylinux_2_28_x86_64",
) -> WheelFacts:
    texts = {INIT: ""} if sources is None else sources
    facts = wheel(of or {MODULE: USER}, platforms=[platform], files=list(texts))
    return with_sources(facts, texts)


def with_sources(facts: WheelFacts, texts: Mapping[str, str]) -> WheelFacts:
    sources = frozen_mapping((Member(m), text.encode()) for m, text in texts.items())
    return dataclasses.replace(facts, sources=sources)


def loaders(plan: Plan) -> dict[str, str]:
    return {e.member: e.lines for e in plan.edits if isinstance(e, InsertLoader)}


@pytest.mark.parametrize("mode", Mode)
def test_the_mode_decides(mode: Mode) -> None:
    plan = planned(linux(), OPENBLAS64, mode=mode)

    assert list(loaders(plan)) == ([] if mode is Mode.NEVER else [INIT])
    assert codes(plan.findings) == []


def test_a_wheel_that_needs_no_provider_gets_no_loader() -> None:
    facts = linux({MODULE: elf(["libc.so.6"])})

    assert loaders(planned(facts, OPENBLAS64, mode=Mode.ALWAYS)) == {}


def test_a_vendored_library_that_needs_the_provider_makes_its_users_importers() -> None:
    facts = linux(
        {
            "demo/a/_e.so": elf(["libmid-0123abcd.so"], ["$ORIGIN/../../demo.libs"]),
            "demo/b/_e.so": elf(["libc.so.6"]),
            "demo.libs/libmid-0123abcd.so": library(needed=[LIB64]),
        },
        {INIT: "", "demo/a/__init__.py": "", "demo/b/__init__.py": ""},
    )

    assert list(loaders(planned(facts, OPENBLAS64, mode=Mode.AUTO))) == ["demo/a/__init__.py"]


def test_what_is_added_to_a_binary_is_loaded_too() -> None:
    facts = linux({MODULE: elf(["libc.so.6"], imports=["scipy_cblas_dgemm64_"])})

    plan = planned(facts, OPENBLAS64, mode=Mode.AUTO, add_needed=True)

    assert LIB64 in loaders(plan)[INIT]


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ("manylinux_2_28_x86_64", "RTLD_NOLOAD"),
        ("linux_x86_64", "RTLD_NOLOAD"),
        ("musllinux_1_2_x86_64", "musl looks nowhere else"),
    ],
)
def test_the_text_is_for_the_c_library(platform: str, words: str) -> None:
    assert words in loaders(planned(linux(platform=platform), OPENBLAS64, mode=Mode.AUTO))[INIT]


def test_the_text_for_macos_asks_for_the_install_name() -> None:
    needed = "/build/libprov.dylib"
    facts = with_sources(macos_wheel({MODULE: macho([needed])}, files=[INIT]), {INIT: ""})

    lines = loaders(planned(facts, PROV, mode=Mode.AUTO))[INIT]

    assert '"@rpath/" + library' in lines
    assert "'libprov.dylib'" in lines


TOP = {"_top.so": USER}
EXTENSION = {"demo/__init__.so": USER}


@pytest.mark.parametrize("of", [TOP, EXTENSION])
def test_without_a_place_the_run_path_alone_is_a_note(of: Mapping[str, Image]) -> None:
    plan = planned(linux(of, {}), OPENBLAS64, mode=Mode.AUTO)

    assert codes(plan.findings) == ["note no-place-for-loader"]
    assert loaders(plan) == {}


def test_always_puts_a_package_in_front_of_a_module_without_one() -> None:
    facts = linux(TOP, {})

    plan = planned(facts, OPENBLAS64, mode=Mode.ALWAYS)

    assert [e.member for e in plan.edits if isinstance(e, AddPackage)] == ["_top/__init__.py"]
    assert codes(plan.findings) == []


def test_always_is_refused_where_it_cannot_be() -> None:
    plan = planned(linux(EXTENSION, {}), OPENBLAS64, mode=Mode.ALWAYS)

    assert codes(plan.findings) == ["error no-place-for-loader"]


def test_a_file_that_cannot_take_the_loader_is_a_warning_where_it_is_no_must() -> None:
    facts = linux(sources={INIT: "# coding: none-such\n"})

    auto, always = (planned(facts, OPENBLAS64, mode=m) for m in (Mode.AUTO, Mode.ALWAYS))

    assert codes(auto.findings) == ["warning unreadable-source"]
    assert codes(always.findings) == ["error unreadable-source"]


def test_never_on_windows_is_a_warning() -> None:
    facts = windows_wheel({"demo/_e.pyd": pe(["prov.dll"])}, sources={INIT: ""})

    plan = planned(facts, WINDOWS, mode=Mode.NEVER)

    assert codes(plan.findings) == ["warning no-place-for-loader"]
    assert loaders(plan) == {}


def test_a_program_that_moves_is_told() -> None:
    script = "demo-1.0.data/scripts/prog"
    facts = linux({script: elf([LIB64], kind=Kind.EXECUTABLE)}, {})

    plan = planned(facts, OPENBLAS64, mode=Mode.AUTO)

    assert codes(plan.findings) == ["note no-place-for-loader"]


def checked(facts: WheelFacts, mode: Mode, change: str = "") -> list[str]:
    """Repair, perhaps change the loader afterwards, and check."""
    plan = planned(facts, OPENBLAS64, mode=mode)
    repaired = planning.expected(facts, plan)
    if change:
        sources = {m: s.replace(b">=0.3.30", change.encode()) for m, s in repaired.sources.items()}
        repaired = dataclasses.replace(repaired, sources=frozen_mapping(sources.items()))
    findings = checking.findings(repaired, [chosen(OPENBLAS64)], SHIPPED, [])
    return codes(findings)


@pytest.mark.parametrize("mode", Mode)
def test_a_repaired_wheel_is_good_whatever_the_mode(mode: Mode) -> None:
    assert checked(linux(), mode) == []


def test_a_package_in_front_of_a_module_is_good() -> None:
    assert checked(linux(TOP, {}), Mode.ALWAYS) == []


def test_an_outdated_loader_is_a_warning_where_a_run_path_leads_too() -> None:
    assert checked(linux(), Mode.AUTO, ">=0.1") == ["warning loader"]


def test_loaders_are_shown() -> None:
    facts = linux()
    repaired = planning.expected(facts, planned(facts, OPENBLAS64, mode=Mode.AUTO))

    (one,) = checking.loaders(repaired, [chosen(OPENBLAS64)], SHIPPED)

    assert (one.member, one.libraries) == (INIT, (LIB64,))
    assert one.is_first
    assert one.is_current
    assert loader.found(repaired.sources[Member(INIT)]) is not None
