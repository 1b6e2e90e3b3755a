"""Which libraries the loader binds an image's imports to."""

import pytest
from facts import LIB32, LIB64, OPENBLAS32, OPENBLAS64, elf, images, library, provider

from extlib_repair.linkage import Linkage
from extlib_repair.model import Kind, Member

EXTENSION = Member("demo/_e.so")
OTHER = Member("demo/_other.so")
MIDDLE = Member("demo.libs/libmid.so.2")


def test_an_image_needs_the_provided_libraries_that_it_names_once_each() -> None:
    linkage = Linkage(
        images({EXTENSION: elf([LIB64, "libc.so.6", LIB64, LIB32])}), [OPENBLAS64, OPENBLAS32]
    )

    assert [li.name for li in linkage.needs(EXTENSION)] == [LIB64, LIB32]


def test_providers_are_used_when_any_image_names_one_of_their_libraries() -> None:
    linkage = Linkage(
        images({EXTENSION: elf(["libmid.so.2"]), MIDDLE: library(needed=[LIB64])}),
        [OPENBLAS32, OPENBLAS64],
    )

    assert linkage.used() == (OPENBLAS64,)
    assert linkage.providers_in_scope(EXTENSION) == {"scipy-openblas64"}


def test_the_scope_goes_through_vendored_libraries() -> None:
    middle = library(["mid"], needed=[LIB64])
    linkage = Linkage(images({EXTENSION: elf(["libmid.so.2"]), MIDDLE: middle}), [OPENBLAS64])

    scope = linkage.scope(EXTENSION)

    assert scope.others == (middle,)
    assert [li.name for li in scope.provided] == [LIB64]
    assert scope.unread == frozenset()


def test_a_vendored_library_sees_what_any_of_its_roots_brings_in() -> None:
    first, second = elf(["libmid.so.2", LIB64], exports=["a"]), elf(["libmid.so.2", "libz.so.1"])
    linkage = Linkage(
        images({EXTENSION: first, OTHER: second, MIDDLE: library(["mid"])}), [OPENBLAS64]
    )

    scope = linkage.scope(MIDDLE)

    assert scope.others == (first, second)
    assert [li.name for li in scope.provided] == [LIB64]
    assert scope.unread == {"libz.so.1"}


def test_roots_do_not_see_each_other() -> None:
    linkage = Linkage(
        images({EXTENSION: elf([LIB64]), OTHER: elf(["libc.so.6"], exports=["x"])}), [OPENBLAS64]
    )

    assert linkage.scope(EXTENSION).others == ()
    assert linkage.scope(OTHER).provided == ()


def test_libraries_that_need_each_other_end() -> None:
    linkage = Linkage(
        images(
            {"d/liba.so": library(needed=["libb.so"]), "d/libb.so": library(needed=["liba.so"])}
        ),
        [],
    )

    assert len(linkage.scope(Member("d/liba.so")).others) == 1


def test_a_provider_brings_in_the_libraries_of_providers_that_it_needs() -> None:
    both = provider(
        "both",
        {
            "both/liba.so": library(["a"], needed=["libb.so", "libprivate.so", "libc.so.6"]),
            "both/libb.so": library(["b"], needed=["liba.so"]),
        },
    )
    linkage = Linkage(images({EXTENSION: elf(["liba.so"])}), [both])

    scope = linkage.scope(EXTENSION)

    assert [li.name for li in scope.provided] == ["liba.so", "libb.so"]
    assert scope.unread == frozenset()


@pytest.mark.parametrize(
    "needed",
    [
        "libc.so.6",
        "libm.so.6",
        "libmvec.so.1",
        "libpthread.so.0",
        "ld-linux-x86-64.so.2",
        "ld-linux-aarch64.so.1",
        "ld64.so.2",
        "libc.musl-x86_64.so.1",
        "libstdc++.so.6",
        "libgcc_s.so.1",
    ],
)
def test_libraries_of_the_compiler_hide_nothing(needed: str) -> None:
    assert Linkage(images({EXTENSION: elf([needed])}), []).scope(EXTENSION).unread == frozenset()


@pytest.mark.parametrize("needed", ["libz.so.1", "libcfoo.so.6", "libgfortran.so.5"])
def test_a_library_that_is_not_in_the_wheel_could_define_anything(needed: str) -> None:
    assert Linkage(images({EXTENSION: elf([needed])}), []).scope(EXTENSION).unread == {needed}


def test_the_cxx_library_of_musl_has_no_versions_and_could_define_anything() -> None:
    linkage = Linkage(images({EXTENSION: elf(["libstdc++.so.6", "libc.musl-x86_64.so.1"])}), [])

    assert linkage.scope(EXTENSION).unread == {"libstdc++.so.6"}


def test_what_is_never_loaded_is_no_image() -> None:
    linkage = Linkage(images({"demo/x.debug": elf([LIB64], kind=Kind.OTHER)}), [OPENBLAS64])

    assert dict(linkage.images) == {}
    assert linkage.used() == ()


def test_the_exports_of_a_wheel_are_those_of_all_its_binaries() -> None:
    linkage = Linkage(images({EXTENSION: elf(exports=["a"]), MIDDLE: library(["b"])}), [])

    assert linkage.exports == {"a", "b"}
