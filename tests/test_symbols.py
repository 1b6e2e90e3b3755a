"""Whose a consumer's imports are, and which the provider lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from facts import (
    C_NAMES,
    DGEMM32,
    DGEMM64,
    LIB32,
    LIB64,
    OPENBLAS32,
    OPENBLAS64,
    PLAIN,
    codes,
    elf,
    images,
    library,
    provider,
    wheel,
)
from facts import planned as plan

from extlib_repair import symbols, wording
from extlib_repair.linkage import Linkage
from extlib_repair.model import AddNeeded, Import, Member, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extlib_repair.model import Finding, Image, Provider

MEMBER = Member("demo/_e.so")
MIDDLE = Member("demo.libs/libmid.so.2")
VERSIONED = provider(
    "versioned",
    {
        "omp/libomp.so": elf(
            ["libc.so.6"],
            exports=["omp", "omp@OMP_1.0"],
            name="libomp.so.9",
            versions=["OMP_1.0"],
        )
    },
)


def findings(of: Mapping[str, Image], *providers: Provider) -> list[Finding]:
    return list(symbols.findings(Linkage(images(of), providers), providers, C_NAMES))


def judged(image: Image, *providers: Provider) -> list[tuple[str, str]]:
    """Return code and message of what is said about one image."""
    return [(f"{f.severity} {f.code}", f.message) for f in findings({MEMBER: image}, *providers)]


def test_what_the_provider_exports_is_fine() -> None:
    assert judged(elf([LIB64], imports=[DGEMM64]), OPENBLAS64) == []


def test_an_image_that_does_not_use_a_provider_is_not_judged() -> None:
    assert judged(elf(["libc.so.6"], imports=["nobodys"]), OPENBLAS64) == []


def test_one_missing_symbol_is_named_with_provider_and_version() -> None:
    image = elf([LIB64, "libz.so.1"], imports=[DGEMM64, "scipy_cblas_new64_"])

    assert judged(image, OPENBLAS64) == [
        (
            "error missing-symbols",
            "imports 1 symbol that scipy-openblas64 0.3.30 does not export: scipy_cblas_new64_",
        )
    ]


def test_many_missing_symbols_are_counted() -> None:
    (finding,) = findings(
        {MEMBER: elf([LIB64], imports=[f"scipy_{i:02}64_" for i in range(12)])}, OPENBLAS64
    )

    assert finding.message.startswith("imports 12 symbols that")
    assert finding.message.endswith("scipy_0864_, scipy_0964_ and 2 more")


def test_without_marks_a_symbol_of_nobody_is_an_error_when_all_else_is_known() -> None:
    image = elf(["libfoo.so.5", "libstdc++.so.6", "libm.so.6"], imports=["foo", "gone"])

    assert judged(image, PLAIN) == [
        (
            "error unknown-symbols",
            (
                "imports 1 symbol that neither plain-foo 1.0 nor any other library it needs "
                "exports: gone"
            ),
        )
    ]


def test_without_marks_a_symbol_of_nobody_is_a_warning_when_a_library_is_not_known() -> None:
    (finding,) = findings(
        {MEMBER: elf(["libfoo.so.5", "libz.so.1"], imports=["foo", "gone"])}, PLAIN
    )

    assert (finding.severity, finding.code) == (Severity.WARNING, "unknown-symbols")
    assert finding.hint == "they may come from what could not be read: libz.so.1"


def test_a_symbol_that_only_a_binary_out_of_reach_exports_is_a_warning() -> None:
    found = findings(
        {
            MEMBER: elf(["libfoo.so.5"], imports=["gone", "preloaded"]),
            MIDDLE: library(["preloaded"]),
        },
        PLAIN,
    )

    assert [(str(f.severity), f.message.rpartition(": ")[2]) for f in found] == [
        ("error", "gone"),
        ("warning", "preloaded"),
    ]


@pytest.mark.parametrize(
    "symbol",
    [
        Import("gone", weak=True),
        Import("scipy_gone64_", weak=True),
        Import("PyErr_SetString"),
        Import("_Py_NoneStruct"),
        Import("dladdr"),
        Import("malloc", "GLIBC_2.2.5", "libc.so.6"),
        Import("_ZNSs4swapERSs", "GLIBCXX_3.4", "libstdc++.so.6"),
    ],
)
def test_imports_that_cannot_be_the_providers_are_set_aside(symbol: Import) -> None:
    assert judged(elf([LIB64], imports=[symbol]), OPENBLAS64) == []


@pytest.mark.parametrize("name", ["Pyramid", "PyerrLike", "_pyx", "mallocate"])
def test_names_that_only_look_like_pythons_or_the_c_librarys_are_judged(name: str) -> None:
    assert [code for code, _ in judged(elf([LIB64], imports=[name]), OPENBLAS64)] == [
        "error unknown-symbols"
    ]


@pytest.mark.parametrize("owner", ["libomp.so", "libomp.so.9"])
def test_a_version_that_the_provider_defines_is_fine(owner: str) -> None:
    image = elf(["libomp.so"], imports=[Import("omp", "OMP_1.0", owner)])

    assert judged(image, VERSIONED) == []


@pytest.mark.parametrize("owner", ["libomp.so", "libomp.so.9"])
def test_a_version_that_the_provider_does_not_define_is_missing(owner: str) -> None:
    image = elf(["libomp.so", "libz.so.1"], imports=[Import("omp", "OMP_5.0", owner)])

    assert judged(image, VERSIONED) == [
        (
            "error missing-symbols",
            "imports 1 symbol that versioned 1.0 does not export: omp@OMP_5.0",
        )
    ]


def test_a_provider_without_versions_satisfies_a_versioned_import() -> None:
    image = elf(["libfoo.so.5"], imports=[Import("foo", "FOO_1", "libfoo.so.5")])

    assert judged(image, PLAIN) == []


def test_a_library_without_versions_does_not_speak_for_one_with_versions() -> None:
    both = provider(
        "both",
        {
            "both/libplain.so": library(["a"]),
            "both/libver.so": elf(exports=["v", "v@V_1"], versions=["V_1"]),
        },
    )
    image = elf(["libplain.so", "libver.so"], imports=[Import("v", "V_2", "libver.so")])

    assert [code for code, _ in judged(image, both)] == ["error missing-symbols"]


def test_symbols_are_found_in_a_vendored_library() -> None:
    found = findings(
        {
            MEMBER: elf([LIB64, "libmid.so.2"], imports=[DGEMM64, "mid", "scipy_mine64_"]),
            MIDDLE: library(["mid", "scipy_mine64_"]),
        },
        OPENBLAS64,
    )

    assert found == []


def test_symbols_that_a_library_leaves_to_its_loader_are_found_there() -> None:
    found = findings(
        {
            MEMBER: elf(["libmid.so.2"], exports=["xerbla"]),
            MIDDLE: elf([LIB64], imports=[DGEMM64, "xerbla"]),
        },
        OPENBLAS64,
    )

    assert found == []


def test_a_symbol_that_two_export_is_noted() -> None:
    found = findings(
        {
            MEMBER: elf([LIB64, "libmid.so.2"], imports=[DGEMM64]),
            MIDDLE: library([DGEMM64]),
        },
        OPENBLAS64,
    )

    assert codes(found) == ["note symbols-twice"]


def test_two_providers_each_answer_for_their_own_symbols() -> None:
    image = elf([LIB64, LIB32], imports=[DGEMM64, DGEMM32, "scipy_new64_", "scipy_new", "gone"])

    assert judged(image, OPENBLAS64, OPENBLAS32) == [
        (
            "error missing-symbols",
            "imports 1 symbol that scipy-openblas64 0.3.30 does not export: scipy_new64_",
        ),
        (
            "error missing-symbols",
            "imports 1 symbol that scipy-openblas32 0.3.29 does not export: scipy_new",
        ),
        (
            "error unknown-symbols",
            (
                "imports 1 symbol that neither scipy-openblas64 0.3.30 nor scipy-openblas32 0.3.29 "
                "nor any other library it needs exports: gone"
            ),
        ),
    ]


def test_the_shorter_marks_do_not_claim_the_symbols_of_the_longer() -> None:
    assert wording.is_spelled_for("scipy_new64_", OPENBLAS64, [OPENBLAS32, OPENBLAS64])
    assert not wording.is_spelled_for("scipy_new64_", OPENBLAS32, [OPENBLAS32, OPENBLAS64])
    assert wording.is_spelled_for("scipy_new64_", OPENBLAS32, [OPENBLAS32, PLAIN])
    assert not wording.is_spelled_for("dgemm_", OPENBLAS32, [OPENBLAS32, PLAIN])
    assert not wording.is_spelled_for("scipy_", OPENBLAS32, [OPENBLAS32])


def test_the_error_of_one_provider_is_not_the_preloading_of_another() -> None:
    facts = wheel({MEMBER: elf([LIB64], imports=["scipy_new64_"])})

    assert codes(plan(facts, OPENBLAS64, OPENBLAS32).findings) == [
        "note nothing-provided",
        "error missing-symbols",
    ]


def test_the_versions_of_one_provider_are_not_the_preloading_of_another() -> None:
    facts = wheel({MEMBER: elf(["libomp.so"], imports=[Import("omp", "OMP_1.0", "libomp.so")])})

    assert codes(plan(facts, VERSIONED, OPENBLAS64).findings) == [
        "note nothing-provided",
        "warning other-soname",
    ]


def test_a_library_of_another_architecture_is_an_error() -> None:
    assert judged(elf([LIB64], arch="aarch64"), OPENBLAS64) == [
        (
            "error other-architecture",
            f"is for aarch64, and {LIB64} of scipy-openblas64 0.3.30 for x86_64",
        )
    ]


def test_use_without_naming_the_library_is_preloading() -> None:
    facts = wheel({MEMBER: elf(["libc.so.6", "libz.so.1"], imports=[DGEMM64])})

    result = plan(facts, OPENBLAS64)

    assert codes(result.findings) == ["error preloading"]
    assert result.findings[0].message == (
        "uses 1 symbol of scipy-openblas64 0.3.30 but does not name its library, so that it only "
        f"loads after it: {DGEMM64}"
    )


def test_preloading_without_marks_is_an_error_when_all_else_is_known() -> None:
    facts = wheel({MEMBER: elf(["libc.so.6"], imports=["foo"])})

    assert codes(plan(facts, PLAIN).findings) == ["error preloading"]


def test_preloading_without_marks_is_a_warning_when_a_library_is_not_known() -> None:
    facts = wheel({MEMBER: elf(["libz.so.1"], imports=["foo"])})

    assert codes(plan(facts, PLAIN).findings) == ["note nothing-provided", "warning preloading"]


def test_a_symbol_that_the_wheel_defines_is_no_preloading() -> None:
    facts = wheel({MEMBER: elf(["libmid.so.2"], imports=["foo"]), MIDDLE: library(["foo"])})

    assert codes(plan(facts, PLAIN).findings) == ["note nothing-provided"]


def test_the_preloaded_symbols_of_another_provider_are_reported_once() -> None:
    facts = wheel({MEMBER: elf([LIB64], imports=[DGEMM64, "foo", DGEMM32])})

    result = plan(facts, OPENBLAS64, PLAIN, OPENBLAS32)

    assert codes(result.findings) == ["error preloading", "error preloading"]


def test_libraries_are_added_that_export_what_is_used() -> None:
    two = provider("two", {"two/liba.so": library(["a"]), "two/libb.so": library(["b"])})
    linkage = Linkage(images({MEMBER: elf(["libc.so.6"], imports=["b", DGEMM64])}), [two])

    found = list(symbols.preloading(linkage, [two, OPENBLAS64], C_NAMES))

    assert symbols.additions(found) == {
        MEMBER: (AddNeeded(library="libb.so"), AddNeeded(library=LIB64))
    }


def test_a_library_is_added_even_if_it_lacks_what_is_used() -> None:
    linkage = Linkage(images({MEMBER: elf(["libc.so.6"], imports=["scipy_new64_"])}), [])

    found = list(symbols.preloading(linkage, [OPENBLAS64], C_NAMES))

    assert symbols.additions(found) == {MEMBER: (AddNeeded(library=LIB64),)}


def test_added_libraries_are_judged_like_named_ones() -> None:
    facts = wheel({MEMBER: elf(["libc.so.6"], imports=[DGEMM64, "scipy_new64_"])})

    assert codes(plan(facts, OPENBLAS64, add_needed=True).findings) == ["error missing-symbols"]


def test_adding_needed_names_leaves_doubtful_ones_alone_and_says_so() -> None:
    """``libz.so.1`` could not be read: the symbol may well be its own."""
    facts = wheel({MEMBER: elf(["libz.so.1"], imports=["foo"])})

    found = plan(facts, PLAIN, add_needed=True)

    assert codes(found.findings) == ["note nothing-provided", "warning preloading"]
    assert found.edits == ()
