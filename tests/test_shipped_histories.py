"""The histories that are shipped, against what was found in the wheels before, by other means.

The numbers were counted in wheels from PyPI, those of Linux with pyelftools; the hashes and ids are
those of copies in published wheels of NumPy, SciPy and slycot.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import histories
import pytest

from extlib_repair import history, shipped
from extlib_repair.history import History
from extlib_repair.learning import PLACES
from extlib_repair.model import Project

if TYPE_CHECKING:
    from extlib_repair.history import Library, Place

OPENBLAS64, OPENBLAS32 = Project("scipy-openblas64"), Project("scipy-openblas32")
BY_KEY = {place.key: place for place in PLACES}
X86_64 = BY_KEY["linux-glibc-x86_64"]
NEWEST = "0.3.34.481.3"
BUILT_WITH = "0.3.34.237.2"


def known(project: Project) -> History:
    found = shipped.history(project)
    assert found is not None
    return found


def libraries(project: Project, key: str, version: str) -> tuple[Library, ...]:
    wheels = known(project).at(BY_KEY[key]).wheels
    return next(wheel.libraries for wheel in wheels if wheel.version == version)


def openblas(key: str, version: str) -> tuple[str, frozenset[str]]:
    """Return the name of the library with OpenBLAS in it, and what it exports."""
    (name,) = (lib.name for lib in libraries(OPENBLAS64, key, version) if "openblas" in lib.name)
    names = history.exports_of(known(OPENBLAS64), version, BY_KEY[key], name)
    assert names is not None
    return name, names


def test_only_what_is_asked_for_is_there_and_read_once() -> None:
    assert shipped.history(Project("numpy")) is None
    assert shipped.history(OPENBLAS64) is shipped.history(OPENBLAS64)
    assert known(OPENBLAS64).project == OPENBLAS64
    assert known(OPENBLAS32).project == OPENBLAS32


@pytest.mark.parametrize("project", [OPENBLAS32, OPENBLAS64])
def test_every_release_was_looked_at_or_is_known_to_be_absent(project: Project) -> None:
    there = known(project)

    assert set(there.places) == set(PLACES)
    assert len(there.releases) >= 50
    for version, place in itertools.product(there.releases, PLACES):
        assert there.knows(version, place)


@pytest.mark.parametrize(
    ("version", "count", "name"),
    [
        ("0.3.23.293.2", 14489, "libopenblas_python.so"),
        ("0.3.24.95.1", 14489, "libscipy_openblas64_p-r0.3.24.dev.so"),
        ("0.3.26.0.4", 14509, "libscipy_openblas64_.so"),
        ("0.3.27.0.1", 14521, "libscipy_openblas64_.so"),
        ("0.3.27.44.6", 9429, "libscipy_openblas64_.so"),
        ("0.3.28.0.2", 9439, "libscipy_openblas64_.so"),
        ("0.3.29.0.0", 11315, "libscipy_openblas64_.so"),
        ("0.3.29.265.1", 11330, "libscipy_openblas64_.so"),
        ("0.3.30.443.1", 11346, "libscipy_openblas64_.so"),
        ("0.3.33.0.0", 11352, "libscipy_openblas64_.so"),
        ("0.3.34.0.0", 11359, "libscipy_openblas64_.so"),
        (BUILT_WITH, 5226, "libscipy_openblas64_.so"),
        (NEWEST, 5222, "libscipy_openblas64_.so"),
    ],
)
def test_releases_export_as_many_names_as_pyelftools_counts(
    version: str, count: int, name: str
) -> None:
    found, names = openblas(X86_64.key, version)

    assert (found, len(names)) == (name, count)


@pytest.mark.parametrize(
    ("key", "count", "public"),
    [
        ("linux-glibc-aarch64", 14773, 5110),
        ("linux-musl-x86_64", 5224, 5156),
        ("macos-x86_64", 5157, 5156),
        ("macos-arm64", 5114, 5110),
        ("windows-amd64", 10084, 9592),
        ("windows-arm64", 10108, 9584),
    ],
)
def test_one_release_differs_between_platforms(key: str, count: int, public: int) -> None:
    _, all_names = openblas(key, NEWEST)
    names = [name for name in all_names if not name.startswith("#")]  # Windows' ordinals

    assert (len(names), sum(name.startswith("scipy_") for name in names)) == (count, public)


@pytest.mark.parametrize(
    ("project", "key", "version", "sha256", "uuid"),
    [
        (
            *(OPENBLAS64, "linux-glibc-x86_64", BUILT_WITH, "4b78795a"),
            "35bfe3faf208da944fbb5880c8172cbf70208488",
        ),
        (
            *(OPENBLAS64, "linux-glibc-aarch64", BUILT_WITH, "1b7162d6"),
            "ba19a258d2a6a4f926f6633d50fcf0b907da8b70",
        ),
        (
            *(OPENBLAS64, "linux-musl-x86_64", BUILT_WITH, "58ffbbde"),
            "a76edcde7f339ef27e10b40598a4e78299e8db2e",
        ),
        (OPENBLAS64, "macos-arm64", BUILT_WITH, "", "1b5057270b463e9b9449c1f9f13e81dd"),
        (OPENBLAS64, "macos-x86_64", BUILT_WITH, "", "40d1e7f71537306e9afa32f9b5509256"),
        (OPENBLAS64, "windows-amd64", BUILT_WITH, "4e39871015dc1470c682dc512497ee22", ""),
        (OPENBLAS32, "windows-arm64", BUILT_WITH, "ff6d319c52b3e1955d73aac19764c8c0", ""),
        (OPENBLAS32, "linux-glibc-x86_64", "0.3.31.22.0", "5f890258", ""),
        (OPENBLAS32, "linux-glibc-x86_64", "0.3.31.22.1", "8f949217", ""),
    ],
)
def test_vendored_copies_are_known_by_hash_or_id(
    project: Project, key: str, version: str, sha256: str, uuid: str
) -> None:
    """Those in NumPy 2.5.5, SciPy 1.18.1 and slycot 0.7.1, in the order of these wheels."""
    (found,) = (lib for lib in libraries(project, key, version) if "openblas" in lib.name)

    assert found.sha256.startswith(sha256)
    assert not uuid or found.uuid == uuid


@pytest.mark.parametrize("place", [p for p in PLACES if p.key != "windows-x86"])
def test_what_numpy_imports_is_there_since_the_prefix_is(place: Place) -> None:
    wanted = ["scipy_cblas_dgemm64_", "scipy_dgesv_64_", "scipy_zheevd_64_", "scipy_dgelsd_64_"]
    there = known(OPENBLAS64)
    first = history.first_with(there, place, wanted)

    if place is X86_64:
        assert first == "0.3.24.95.0"
    assert first is not None
    assert history.removed_after(there, place, wanted, first) is None


@pytest.mark.parametrize("place", [p for p in PLACES if p.key != "windows-x86"])
def test_removals_and_additions_are_known_on_every_platform(place: Place) -> None:
    there = known(OPENBLAS64)

    gone = history.removed_after(there, place, ["scipy_cblas_icmax64_"], "0.3.31.188.0")
    added = history.first_with(there, place, ["scipy_cblas_dgemm_batch_strided64_"])

    assert (gone, added) == (NEWEST, NEWEST)


def test_which_releases_install_into_purelib_is_known() -> None:
    pure = [wheel.version for wheel in known(OPENBLAS64).at(X86_64).wheels if wheel.purelib]

    assert "0.3.29.265.1" in pure
    assert "0.3.30.0.8" not in pure


def test_which_tags_a_release_has_is_known() -> None:
    wheels = {wheel.version: wheel.platforms for wheel in known(OPENBLAS64).at(X86_64).wheels}

    assert "manylinux_2_17_x86_64" in wheels["0.3.31.188.0"]
    assert set(wheels["0.3.33.0.0"]) == {"manylinux_2_27_x86_64", "manylinux_2_28_x86_64"}


SAMPLE = (
    *("0.3.23.293.2", "0.3.24.95.1", "0.3.26.0.4", "0.3.27.0.1", "0.3.27.44.6", "0.3.28.0.2"),
    *("0.3.29.0.0", "0.3.29.265.1", "0.3.30.0.8", "0.3.30.443.1", "0.3.31.22.1", "0.3.31.188.0"),
    *("0.3.33.0.0", "0.3.34.0.0", NEWEST),
)
GROUPS = {
    "0.3.23.293.2": [
        *(("0.3.23.293.2", 4966), ("0.3.26.0.4", 49), ("0.3.27.0.1", 5092), ("0.3.28.0.2", 7)),
        *(("0.3.31.188.0", 2), ("0.3.34.0.0", 4347), (NEWEST, 26)),
    ],
    "0.3.24.95.1": [("0.3.34.0.0", 5), (NEWEST, 4961)],
    "0.3.26.0.4": [("0.3.26.0.4", 12), ("0.3.28.0.2", 8)],
    "0.3.27.0.1": [("0.3.34.0.0", 2), (NEWEST, 71)],
    "0.3.28.0.2": [("0.3.30.0.8", 1), ("0.3.34.0.0", 5), (NEWEST, 4)],
    "0.3.29.0.0": [("0.3.34.0.0", 1770), (NEWEST, 121)],
    "0.3.29.265.1": [("0.3.34.0.0", 15)],
    "0.3.30.443.1": [("0.3.34.0.0", 16), (NEWEST, 1)],
    "0.3.33.0.0": [(NEWEST, 8)],
    "0.3.34.0.0": [("0.3.34.0.0", 2), (NEWEST, 5)],
    NEWEST: [(NEWEST, 25)],
}
"""First release of the sample with a symbol -> last one, and how many: made with pyelftools."""


def test_the_ranges_of_a_sample_are_those_that_were_counted_otherwise() -> None:
    there = History(project=histories.PROJECT)
    for version in SAMPLE:
        _, names = openblas(X86_64.key, version)
        looked = histories.looked(version, {"libopenblas.so": names})
        there = history.add(there, looked)

    groups = there.at(histories.GLIBC).exports["libopenblas.so"]

    assert {(*ranges[0], len(names)) for ranges, names in groups.items()} == {
        (first, last, count) for first, rows in GROUPS.items() for last, count in rows
    }
    assert all(len(ranges) == 1 for ranges in groups)
