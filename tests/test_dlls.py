"""What is to be done about the PE files of a consumer, and about its Python files."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from facts import DLL, WINDOWS, chosen, codes, dll, pe, planned, provider, windows_wheel

from extlib_repair import loader, planning
from extlib_repair.model import (
    AddPackage,
    ClearLoadFlags,
    DropSignature,
    EditBinary,
    Finding,
    Image,
    InsertLoader,
    Kind,
    Plan,
    Signature,
    SitePath,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extlib_repair.model import BinaryEdit, Chosen, Provider

MODULE = "demo/_e.cp311-win_amd64.pyd"
INIT = "demo/__init__.py"
USER = pe([DLL, "KERNEL32.dll", "python311.dll"], {DLL: ["prov_add"]})
SOUGHT = loader.Sought(library=DLL, directory=SitePath("prov/lib"), requirement="prov>=1.0")


def plan_of(
    of: Image | Mapping[str, Image],
    *providers: Provider | Chosen,
    sources: Mapping[str, str] | None = None,
    files: Sequence[str] = (),
    drop_signature: bool = False,
) -> Plan:
    images = {MODULE: of} if isinstance(of, Image) else of
    facts = windows_wheel(images, sources={INIT: ""} if sources is None else sources, files=files)
    return planned(facts, *(providers or (WINDOWS,)), drop_signature=drop_signature)


def edited(plan: Plan) -> dict[str, tuple[BinaryEdit, ...]]:
    return {e.member: e.edits for e in plan.edits if isinstance(e, EditBinary)}


def loaders(plan: Plan) -> dict[str, str]:
    return {e.member: e.lines for e in plan.edits if isinstance(e, InsertLoader)}


def packages(plan: Plan) -> dict[str, str]:
    return {e.member: e.text for e in plan.edits if isinstance(e, AddPackage)}


def found(plan: Plan, code: str) -> Finding:
    (one,) = (finding for finding in plan.findings if finding.code == code)
    return one


def test_the_package_of_the_importer_gets_the_loader() -> None:
    plan = plan_of(USER)

    block = loader.block(SitePath(INIT), "demo 1.0", [SOUGHT], loader.Way.WINDOWS)
    assert loaders(plan) == {INIT: block}
    assert edited(plan) == {}
    assert codes(plan.findings) == []


@pytest.mark.parametrize("needed", [DLL, "PROV.DLL", "Prov.dll"])
def test_names_are_compared_as_windows_compares_them(needed: str) -> None:
    plan = plan_of(pe([needed], {needed: ["prov_add"]}))

    assert list(loaders(plan)) == [INIT]
    assert codes(plan.findings) == []


def test_a_stated_requirement_stands_in_the_loader() -> None:
    assert "'prov>=0.9,<2'" in loaders(plan_of(USER, chosen(WINDOWS, ">=0.9,<2")))[INIT]


def test_planning_again_changes_nothing_more() -> None:
    facts = windows_wheel(
        {MODULE: dataclasses.replace(USER, load_flags=0x800)}, sources={INIT: '"""Doc."""\n'}
    )

    plan = planned(facts, WINDOWS)

    assert plan.errors == ()
    assert planned(planning.expected(facts, plan), WINDOWS).edits == ()


PRIVATE = "private-0123456789abcdef0123456789abcdef.dll"


def test_modules_that_need_it_only_through_a_vendored_library_are_importers() -> None:
    plan = plan_of(
        {
            "demo/a/_e.pyd": pe([PRIVATE]),
            "demo/b/_e.pyd": pe(["KERNEL32.dll"]),
            f"demo.libs/{PRIVATE}": dll(needed=[DLL]),
        },
        sources={f"demo/{folder}__init__.py": "" for folder in ("", "a/", "b/")},
    )

    assert list(loaders(plan)) == ["demo/a/__init__.py"]
    assert codes(plan.findings) == []


def test_libraries_that_need_each_other_end_the_walk() -> None:
    plan = plan_of(
        {
            "demo/_e.pyd": pe(["a.dll"]),
            "demo/a.dll": dll(needed=["b.dll"]),
            "demo/b.dll": dll(needed=["A.dll", DLL]),
        }
    )

    assert list(loaders(plan)) == [INIT]


def test_a_library_that_nothing_names_is_opened_by_python_code() -> None:
    assert list(loaders(plan_of({"demo/plugin.dll": dll(needed=[DLL])}))) == [INIT]


def test_the_hook_of_numpy_and_scipy_serves_all_packages() -> None:
    plan = plan_of(
        {"demo/a/_e.pyd": USER, "demo/b/_e.pyd": USER},
        sources={
            INIT: "from . import _distributor_init\n",
            "demo/_distributor_init.py": "try:\n    import x\nexcept ImportError:\n    pass\n",
            "demo/a/__init__.py": "",
            "demo/b/__init__.py": "",
        },
    )

    assert list(loaders(plan)) == ["demo/_distributor_init.py"]


def test_a_module_in_no_package_gets_one_in_front_of_it() -> None:
    facts = windows_wheel({"_top.cp311-win_amd64.pyd": USER}, sources={})

    plan = planned(facts, WINDOWS)

    assert list(packages(plan)) == ["_top/__init__.py"]
    assert "_top.cp311-win_amd64.pyd" in packages(plan)["_top/__init__.py"]
    assert planned(planning.expected(facts, plan), WINDOWS).edits == ()


def test_a_package_that_is_an_extension_module_is_refused() -> None:
    plan = plan_of({"demo/__init__.cp311-win_amd64.pyd": USER}, sources={})

    assert codes(plan.findings) == ["error no-place-for-loader"]


def test_a_program_is_refused() -> None:
    plan = plan_of({"demo/tool.exe": pe([DLL], kind=Kind.EXECUTABLE)})

    assert codes(plan.findings) == ["error no-place-for-loader"]
    assert loaders(plan) == {}


@pytest.mark.parametrize("text", ["# coding: ebcdic-xyz\n", '"""Doc."""; import _e\n'])
def test_a_file_that_cannot_take_the_loader_is_named(text: str) -> None:
    plan = plan_of(USER, sources={INIT: text})

    assert codes(plan.findings) == ["error unreadable-source"]
    assert found(plan, "unreadable-source").member == INIT


def test_flags_that_hide_added_folders_are_cleared_in_what_needs_the_provider() -> None:
    plan = plan_of(
        {
            MODULE: dataclasses.replace(USER, load_flags=0x800),
            "demo/_other.pyd": pe(["KERNEL32.dll"], load_flags=0x800),
        }
    )

    assert edited(plan) == {MODULE: (ClearLoadFlags(),)}


def test_a_signature_is_only_dropped_on_request() -> None:
    signed = dataclasses.replace(USER, load_flags=0x800, signature=Signature.IDENTITY)

    kept, dropped = plan_of(signed), plan_of(signed, drop_signature=True)

    assert codes(kept.findings) == ["error signed-by-identity"]
    assert "--drop-signature" in found(kept, "signed-by-identity").hint
    assert edited(dropped) == {MODULE: (DropSignature(), ClearLoadFlags())}
    assert codes(dropped.findings) == []


def test_a_signature_stays_where_nothing_is_edited() -> None:
    plan = plan_of(dataclasses.replace(USER, signature=Signature.IDENTITY), drop_signature=True)

    assert edited(plan) == {}
    assert codes(plan.findings) == []


def test_a_missing_symbol_is_an_error() -> None:
    plan = plan_of(pe([DLL, "x.dll"], {DLL: ["prov_new"], "x.dll": ["x_new"]}))

    assert codes(plan.findings) == ["error missing-symbols"]
    assert "prov_new" in found(plan, "missing-symbols").message


def test_a_provider_for_another_machine_is_an_error() -> None:
    other = provider("prov", {f"prov/lib/{DLL}": dll(arch="arm64")}, platforms=["win_amd64"])

    assert codes(plan_of(USER, other).findings) == ["error other-architecture"]


def test_a_copy_in_the_wheel_is_not_used_and_that_is_said() -> None:
    plan = plan_of({MODULE: USER, f"demo/{DLL.upper()}": dll()})

    assert codes(plan.findings) == ["warning own-copy"]
    assert list(loaders(plan)) == [INIT]


def test_what_nothing_needs_is_a_note_with_what_comes_near() -> None:
    plan = plan_of(pe([f"prov-{'0' * 32}.dll"]))

    assert codes(plan.findings) == ["note nothing-provided"]
    assert f"prov-{'0' * 32}.dll" in found(plan, "nothing-provided").hint


def test_debugging_information_is_nothing_to_load() -> None:
    plan = plan_of(pe([DLL], kind=Kind.OTHER))

    assert codes(plan.findings) == ["note nothing-provided"]


@pytest.mark.parametrize(
    ("needed", "is_odd"),
    [("api-ms-win-crt-math-l1-1-0.dll", False), ("libgcc_s_seh-1.dll", True), ("more.dll", False)],
)
def test_what_a_provider_needs_and_does_not_carry_is_told(needed: str, *, is_odd: bool) -> None:
    library = dll(["prov_add"], ["kernel32.dll", needed])
    one = provider("prov", {f"prov/lib/{DLL}": library}, platforms=["win_amd64"])
    more = provider("more", {"more/more.dll": dll()}, platforms=["win_amd64"])

    assert ("warning provider-incomplete" in codes(plan_of(USER, one, more).findings)) is is_odd


def test_two_providers_of_one_module_are_loaded_by_one_loader() -> None:
    more = provider("more", {"more/more.dll": dll(["m"])}, platforms=["win_amd64"])

    lines = loaders(plan_of(pe([DLL, "more.dll"]), WINDOWS, more))

    assert [name in lines[INIT] for name in (DLL, "more.dll")] == [True, True]
