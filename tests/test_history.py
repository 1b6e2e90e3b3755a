"""What releases supplied, against a plain dictionary; and the questions that floors need."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from histories import GLIBC, LIBRARY, MACOS, MUSL, PROJECT, looked, simple
from hypothesis import given
from hypothesis import strategies as st

from extlib_repair import history
from extlib_repair.history import History, Place, Range
from extlib_repair.model import Libc, System

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.history import Looked

VERSIONS = ("0.3.9", "0.3.31.22.1", "0.3.31.188.0", "1.0rc1", "1.0")
SYMBOLS = "abcde"

exports = st.frozensets(st.sampled_from(SYMBOLS))
wheels = st.lists(
    st.tuples(
        st.sampled_from(VERSIONS),
        st.sampled_from((GLIBC, MACOS)),
        st.dictionaries(st.sampled_from(("libone.so", "libtwo.so")), exports),
        st.sampled_from(("cp311", "cp312")),
        st.booleans(),
    ),
    unique_by=lambda row: (row[0], row[1], row[3]),
    max_size=12,
)


def learned(facts: Sequence[Looked]) -> History:
    known = History(project=PROJECT)
    for one in facts:
        known = history.add(known, one)
    return known


def made(rows: list[tuple[str, Place, dict[str, frozenset[str]], str, bool]]) -> list[Looked]:
    return [
        looked(version, there, place, python=python, yanked=yanked)
        for version, place, there, python, yanked in rows
    ]


@given(wheels, st.integers())
def test_the_order_of_adding_does_not_matter(
    rows: list[tuple[str, Place, dict[str, frozenset[str]], str, bool]], seed: int
) -> None:
    facts = made(rows)
    shuffled = random.Random(seed).sample(facts, len(facts))

    assert learned(shuffled) == learned(facts)
    assert learned([*facts, *shuffled]) == learned(facts)


@given(wheels)
def test_a_history_says_what_a_dictionary_of_all_wheels_says(
    rows: list[tuple[str, Place, dict[str, frozenset[str]], str, bool]],
) -> None:
    known = learned(made(rows))

    for place in (GLIBC, MACOS):
        for version in VERSIONS:
            there = [row[2] for row in rows if row[:2] == (version, place)]
            assert known.knows(version, place) is bool(there)
            for library in ("libone.so", "libtwo.so"):
                held = [names[library] for names in there if library in names]
                plain = frozenset.intersection(*held) if held else None
                assert history.exports_of(known, version, place, library) == plain
    assert known.yanked == {row[0] for row in rows if row[4]}


@given(st.dictionaries(st.sampled_from(VERSIONS), exports), exports, st.sampled_from(VERSIONS))
def test_runs_are_those_of_a_plain_list(
    there: dict[str, frozenset[str]], wanted: frozenset[str], version: str
) -> None:
    known = simple(there)
    ordered = [v for v in VERSIONS if v in there]
    good = [wanted <= there[v] for v in ordered]

    runs = history.runs_with(known, GLIBC, wanted)
    inside = {
        v for first, last in runs for v in ordered[ordered.index(first) : ordered.index(last) + 1]
    }

    assert inside == {v for v, fits in zip(ordered, good, strict=True) if fits}
    first = next((v for v, fits in zip(ordered, good, strict=True) if fits), None)
    assert history.first_with(known, GLIBC, wanted) == first
    removed = [
        v
        for v, fits in zip(ordered, good, strict=True)
        if not fits and VERSIONS.index(v) > VERSIONS.index(version)
    ]
    assert history.removed_after(known, GLIBC, wanted, version) == next(iter(removed), None)


def test_a_symbol_that_vanished_and_returned_has_two_ranges() -> None:
    known = simple({"1": {"f", "g"}, "2": {"g"}, "3": {"f", "g"}, "10": {"f", "g"}})

    assert known.at(GLIBC).exports[LIBRARY] == {
        (Range("1", "1"), Range("3", "10")): {"f"},
        (Range("1", "10"),): {"g"},
    }
    assert history.first_with(known, GLIBC, ["f"]) == "1"
    assert history.removed_after(known, GLIBC, ["f"], "1") == "2"
    assert history.removed_after(known, GLIBC, ["f"], "2.5") is None


def test_a_release_between_two_others_splits_what_they_have_in_common() -> None:
    known = simple({"1": {"f"}, "3": {"f"}})
    assert history.runs_with(known, GLIBC, ["f"]) == (Range("1", "3"),)

    known = history.add(known, looked("2", {LIBRARY: set()}))

    assert history.runs_with(known, GLIBC, ["f"]) == (Range("1", "1"), Range("3", "3"))


def test_what_was_not_looked_at_is_no_bound() -> None:
    """The symbol came with 2: the bound is the first release that was read."""
    assert history.first_with(simple({"1": set(), "3": {"f"}}), GLIBC, ["f"]) == "3"


def test_a_library_that_is_renamed_takes_its_symbols_along() -> None:
    known = learned([looked("1", {"libold.so": {"f"}}), looked("2", {"libnew.so": {"f"}})])

    assert history.exports_of(known, "2", GLIBC, "libold.so") is None
    assert known.at(GLIBC).exports["libold.so"] == {(Range("1", "1"),): {"f"}}
    assert history.runs_with(known, GLIBC, ["f"]) == (Range("1", "2"),)


def test_symbols_may_be_spread_over_libraries() -> None:
    known = learned([looked("1", {"liba.so": {"f"}, "libb.so": {"g"}})])

    assert history.first_with(known, GLIBC, ["f", "g"]) == "1"
    assert history.first_with(known, GLIBC, ["f", "h"]) is None
    assert history.first_with(known, MUSL, ["f"]) is None


def test_no_symbols_are_there_in_every_release() -> None:
    assert history.runs_with(simple({"1": {"f"}, "2": set()}), GLIBC, []) == (Range("1", "2"),)


def test_places_do_not_mix() -> None:
    known = learned([looked("1", {LIBRARY: {"f"}}), looked("2", {LIBRARY: {"g"}}, MUSL)])

    assert history.first_with(known, MUSL, ["f"]) is None
    assert known.at(GLIBC).releases == ("1",)
    assert known.releases == ("1", "2")


def test_that_there_is_no_wheel_is_known_too() -> None:
    known = history.add_absent(simple({"1": {"f"}}), GLIBC, ["1", "2"])

    assert known.at(GLIBC).absent == {"2"}
    assert known.knows("2", GLIBC)
    assert not known.knows("3", GLIBC)
    assert history.add(known, looked("2", {LIBRARY: {"f"}})).at(GLIBC).absent == frozenset()


@pytest.mark.parametrize(
    ("tags", "keys"),
    [
        (["manylinux2014_x86_64", "manylinux_2_17_x86_64"], ["linux-glibc-x86_64"]),
        (["musllinux_1_2_aarch64"], ["linux-musl-aarch64"]),
        (["linux_armv7l"], ["linux-musl-armv7l"]),
        (["macosx_11_0_universal2"], ["macos-arm64", "macos-x86_64"]),
        (["win32"], ["windows-x86"]),
        (["win_amd64"], ["windows-amd64"]),
        (["any"], []),
    ],
)
def test_a_wheel_is_for_places(tags: list[str], keys: list[str]) -> None:
    assert [place.key for place in history.places_of(tags, Libc.MUSL)] == keys


def test_a_place_outside_linux_has_no_c_library() -> None:
    assert history.places_of(["win_amd64"], Libc.GLIBC) == (Place(System.WINDOWS, "amd64"),)
