"""What is there in several copies."""

from __future__ import annotations

import dataclasses

import pytest
from environments import HOME, NUMPY, SCIPY, consumer, environment, file, openblas, provided
from facts import OPENBLAS64, elf, macho

from extlib_repair import copies, policy, shipped, telling
from extlib_repair.model import Family, InstalledFile

FAMILIES = shipped.families()
POLICIES = policy.all_built_in()
PLAIN = openblas(
    "scs.libs/libopenblas-r0-11edc3fa.3.15.so", "scs", "openblas_get_config", size=37_000_000
)


def found(*files: InstalledFile) -> tuple[copies.Copies, ...]:
    return copies.find(files, FAMILIES, POLICIES)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("libscipy_openblas64_-4b78795a.so", "OpenBLAS"),
        ("libscipy_openblas64_-4e39871015dc1470c682dc512497ee22.dll", "OpenBLAS"),
        ("scipy_openblas.dll", "OpenBLAS"),
        ("libopenblas-r0-11edc3fa.3.15.so", "OpenBLAS"),
        ("libopenblas.0.3.dylib", "OpenBLAS"),
        ("libgomp-e985bcbb.so.1.0.0", "OpenMP runtime"),
        ("libgomp.so.1", "OpenMP runtime"),
        ("libomp.dylib", "OpenMP runtime"),
        ("libomp140.x86_64.dll", "OpenMP runtime"),
        ("libiomp5md.dll", "OpenMP runtime"),
        ("libiomp5.so", "OpenMP runtime"),
        ("vcomp140-0123456789abcdef0123456789abcdef.dll", "OpenMP runtime"),
        ("libompd.so", ""),
        ("libgfortran-040039e1-0352e75f.so.5.0.0", "gfortran runtime"),
        ("libgfortran.5.dylib", "gfortran runtime"),
        ("libquadmath-96973f99-934c22de.so.0.0.0", "quadmath"),
        ("libgcc_s.1.1.dylib", "libgcc"),
        ("libgcc_s_seh-1.dll", "libgcc"),
        ("libstdc++-0123abcd.so.6.0.30", "C++ library"),
        ("msvcp140-0123456789abcdef0123456789abcdef.dll", "C++ library"),
        ("libtbb.so.12", "TBB"),
        ("tbb12.dll", "TBB"),
        ("libmkl_rt.so.3", "MKL"),
        ("libcrypto-0123abcd.so.3", "OpenSSL"),
        ("libcrypto-3-x64.dll", "OpenSSL"),
        ("libfoo.so", ""),
    ],
)
def test_families_are_known_by_the_names_of_their_files(name: str, family: str) -> None:
    one = copies.family_of(file(f"/site/{name}"), FAMILIES)

    assert (one.name if one else "") == family


def test_a_family_is_known_by_its_symbols_where_the_name_says_nothing() -> None:
    one = copies.family_of(file("/site/libblas.so", elf(exports=["openblas_get_config"])), FAMILIES)

    assert one is not None
    assert one.name == "OpenBLAS"


def test_two_openblas_are_two_builds_each_with_its_provider() -> None:
    (one,) = found(NUMPY, SCIPY)

    assert (one.name, one.builds, one.further_bytes) == ("OpenBLAS", 2, 23_000_000)
    assert [c.supplier for c in one.copies] == ["scipy-openblas64", "scipy-openblas32"]
    assert (one.further_threads(8), one.further_threads(1)) == (7, 0)


def test_no_provider_is_known_for_plain_names_or_other_platforms() -> None:
    other = dataclasses.replace(
        NUMPY,
        path=f"{HOME}/x/scipy_openblas.dll",
        node=(1, 5),
        images=tuple(dataclasses.replace(i, format=macho().format) for i in NUMPY.images),
    )
    (one,) = found(PLAIN, other, file(f"{HOME}/y/openblas.dll", of="y"))

    assert [c.supplier for c in one.copies] == ["", "scipy-openblas64", ""]


def test_one_copy_and_one_file_under_two_names_are_not_several() -> None:
    assert found(NUMPY, dataclasses.replace(NUMPY, path=f"{HOME}/libopenblas.so")) == ()
    assert found(NUMPY) == ()
    assert found() == ()


def test_equal_builds_are_known_by_their_identifier_whatever_the_bytes() -> None:
    image = dataclasses.replace(elf(), uuid="ab")
    a = file("/s/a.libs/libfoo-11111111.so.1", image, of="a", sha256="1" * 64, size=500_000)
    b = file("/s/b.libs/libfoo-22222222.so.1", image, of="b", sha256="2" * 64, size=700_000)
    (one,) = found(a, b)

    assert (one.name, one.builds, one.further_bytes) == ("libfoo.so.1", 1, 500_000)


def test_small_copies_of_unknown_libraries_are_not_worth_a_line() -> None:
    assert found(*(file(f"/s/{n}/libx.so", of=n, sha256="1" * 64, size=99) for n in "ab")) == ()


def test_without_an_identifier_the_hash_in_the_name_tells_the_original() -> None:
    original = file("/s/prov/libfoo.so", elf(), of="prov", sha256="1234abcd" + "0" * 56)
    copy = file("/s/a.libs/libfoo-1234abcd.so", elf(), of="a", sha256="9" * 64)
    other = file("/s/b.libs/libfoo-1234abce.so", elf(), of="b", sha256="9" * 64)
    giants = [file(f"/s/{n}/libbig.so", of=n, size=900_000) for n in ("c", "d")]

    first, second = found(original, copy, other, *giants)

    assert [c.file.project for c in first.copies] == ["prov", "a"]
    assert [c.file.project for c in second.copies] == ["c", "d"]


def test_what_is_said_names_cost_and_way_out() -> None:
    own = dataclasses.replace(NUMPY, project=OPENBLAS64.project, path="/s/l.so", node=(2, 2))
    where = environment(consumer(), provided(OPENBLAS64), cores=8)
    (one,) = copies.find([own, NUMPY, SCIPY, PLAIN], FAMILIES, POLICIES)

    said = copies.finding(one, where)

    assert "OpenBLAS is there 4 times (4 different builds): scipy-openblas64 1.0" in said.message
    assert "here 3 x (8 - 1) = 21" in said.message
    assert said.hint == (
        "scipy-openblas64 could supply that of numpy (scipy-openblas64 0.3.30 is installed); "
        "scipy-openblas32 could supply that of scipy (not installed); "
        "no provider is known for that of scs"
    )


def test_the_files_are_told_by_folder() -> None:
    where = environment()
    several = found(NUMPY, SCIPY, file("/elsewhere/libopenblas.so", of="x"))
    said = [copies.finding(one, where) for one in several]

    lines = list(telling.text(telling.described(where, several, said)))

    assert lines[-6:] == [
        f"  {HOME}/",
        "    24.0 MB  numpy.libs/libscipy_openblas64_-4b78795a.so",
        "    23.0 MB  scipy.libs/libscipy_openblas-5f890258.so",
        "     1.0 MB  /elsewhere/libopenblas.so",
        "",
        "all is well",
    ]


def test_families_are_values() -> None:
    assert all(isinstance(family, Family) for family in FAMILIES)
    assert [f.name for f in FAMILIES if f.threads] == ["OpenBLAS", "OpenMP runtime", "MKL"]
