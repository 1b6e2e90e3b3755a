"""Histories as text: nothing is lost, and nothing that is damaged is taken."""

from __future__ import annotations

import contextlib
import json
import lzma
from typing import TYPE_CHECKING, Any

import pytest
from histories import GLIBC, LIBRARY, MACOS, MUSL, PROJECT, looked, simple
from hypothesis import given
from hypothesis import strategies as st

from extlib_repair import history, history_text
from extlib_repair.errors import HistoryError
from extlib_repair.history import History

if TYPE_CHECKING:
    from collections.abc import Callable

VERSIONS = ("0.9", "1.0", "1.1", "1.10", "2.0")
names = st.frozensets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(VERSIONS),
            st.sampled_from((GLIBC, MUSL, MACOS)),
            st.dictionaries(st.sampled_from(("liba.so", "libb.so")), names),
            st.booleans(),
        ),
        max_size=8,
    ),
    st.sets(st.sampled_from(VERSIONS)),
)
def test_what_is_written_reads_back_the_same(
    rows: list[tuple[str, Any, dict[str, frozenset[str]], bool]], absent: set[str]
) -> None:
    known = history.add_absent(History(project=PROJECT), MUSL, absent)
    for version, place, exports, yanked in rows:
        known = history.add(known, looked(version, exports, place, yanked=yanked))

    text = history_text.dump(known)

    assert history_text.parse(text, "x.json") == known
    assert history_text.dump(history_text.parse(text, "x.json")) == text


def test_a_history_can_be_compressed() -> None:
    known = simple({"1": {"f"}, "2": {"g"}})

    assert history_text.unpack(history_text.pack(known), "x") == known
    assert history_text.pack(known) == history_text.pack(known)


def test_the_text_groups_symbols_and_leaves_the_newest_end_open() -> None:
    known = simple({"1": {"f", "g"}, "2": {"h"}, "3": {"f", "g", "h"}})

    data = json.loads(history_text.dump(known))

    assert data["places"]["linux-glibc-x86_64"]["exports"][LIBRARY] == [
        [[["1", "1"], ["3", None]], [0]],
        [[["2", None]], [1]],
    ]
    assert data["symbols"] == [["f", "g"], ["h"]]


def test_symbols_that_differ_anywhere_stand_apart() -> None:
    known = history.add(simple({"1": {"f", "g", "h"}}), looked("1", {LIBRARY: {"f", "h"}}, MUSL))

    assert json.loads(history_text.dump(known))["symbols"] == [["f", "h"], ["g"]]


def place(data: dict[str, Any]) -> Any:
    return data["places"]["linux-glibc-x86_64"]


def wheel(data: dict[str, Any]) -> Any:
    return place(data)["wheels"][0]


def library(data: dict[str, Any]) -> Any:
    return wheel(data)["libraries"][0]


def groups(data: dict[str, Any]) -> Any:
    return place(data)["exports"][LIBRARY]


def renamed(data: dict[str, Any]) -> None:
    data["places"]["solaris-sparc"] = data["places"].pop("linux-glibc-x86_64")


WHERE = "x.json: places.linux-glibc-x86_64"
EXPORTS = f"{WHERE}.exports.libfoo.so"
DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "schema": (
        lambda d: d.update(schema=2),
        "x.json: schema is 2, and 1 is the one that is understood",
    ),
    "schema type": (lambda d: d.update(schema="1"), "x.json: schema must be a number"),
    "unknown key": (lambda d: d.update(more=1), "x.json: unknown key 'more'"),
    "missing key": (lambda d: d.pop("yanked"), "x.json: the key 'yanked' is missing"),
    "project": (
        lambda d: d.update(project="My_Foo"),
        "x.json: project 'My_Foo' is not the canonical name of a project",
    ),
    "yanked": (
        lambda d: d.update(yanked=["01"]),
        "x.json: yanked: '01' is not a version in its normal form",
    ),
    "no version": (
        lambda d: d.update(yanked=["x"]),
        "x.json: yanked: 'x' is not a version in its normal form",
    ),
    "yanked order": (
        lambda d: d.update(yanked=["2", "1"]),
        "x.json: yanked: the versions are not in order",
    ),
    "yanked type": (lambda d: d.update(yanked=[1]), "x.json: yanked: must be a list of strings"),
    "family": (
        renamed,
        "x.json: places: 'solaris-sparc' is not the name of a platform family",
    ),
    "place": (
        lambda d: d["places"].update({"linux-glibc-x86_64": []}),
        f"{WHERE}: must be an object",
    ),
    "wheel order": (
        lambda d: place(d)["wheels"].reverse(),
        f"{WHERE}: the wheels are not in order",
    ),
    "absent": (
        lambda d: place(d).update(absent=["1"]),
        f"{WHERE}.absent: names a release that has a wheel there",
    ),
    "libraries": (
        lambda d: place(d).update(exports={}),
        f"{WHERE}.exports: not the libraries of the wheels",
    ),
    "purelib": (
        lambda d: wheel(d).update(purelib=0),
        f"{WHERE}.wheels[0]: purelib must be true or false",
    ),
    "library order": (
        lambda d: wheel(d)["libraries"].append(library(d)),
        f"{WHERE}.wheels[0]: the libraries are not in order",
    ),
    "digest": (
        lambda d: library(d).update(sha256="ab"),
        f"{WHERE}.wheels[0].libraries[0].sha256: not a SHA-256",
    ),
    "uuid": (
        lambda d: library(d).update(uuid="abc"),
        f"{WHERE}.wheels[0].libraries[0].uuid: not hexadecimal",
    ),
    "exports": (lambda d: place(d)["exports"].update({LIBRARY: {}}), f"{EXPORTS}: must be a list"),
    "group": (lambda d: groups(d).append([]), f"{EXPORTS}[2]: must be a pair"),
    "no names": (
        lambda d: groups(d)[0].__setitem__(1, []),
        f"{EXPORTS}[0]: is empty, or there twice",
    ),
    "same ranges": (
        lambda d: groups(d).append([groups(d)[0][0], [1]]),
        f"{EXPORTS}[2]: is empty, or there twice",
    ),
    "same group": (
        lambda d: groups(d)[1][1].append(0),
        f"{EXPORTS}[1]: the group 0 is there twice",
    ),
    "no group": (
        lambda d: groups(d)[1][1].append(2),
        f"{EXPORTS}[1]: 2 is not the number of a group",
    ),
    "no number": (
        lambda d: groups(d)[1][1].append(True),
        f"{EXPORTS}[1]: True is not the number of a group",
    ),
    "numbers": (lambda d: groups(d)[1].__setitem__(1, "f"), f"{EXPORTS}[1]: must be a list"),
    "same symbol": (
        lambda d: d["symbols"][0].append("g"),
        "x.json: symbols: names a symbol twice",
    ),
    "empty group": (lambda d: d["symbols"].append([]), "x.json: symbols: a group is empty"),
    "symbol": (
        lambda d: d["symbols"].append([1]),
        "x.json: symbols[2]: must be a list of strings",
    ),
    "no ranges": (lambda d: groups(d)[0].__setitem__(0, []), f"{EXPORTS}[0]: has no ranges"),
    "ranges type": (lambda d: groups(d)[0].__setitem__(0, 1), f"{EXPORTS}[0]: must be a list"),
    "range": (lambda d: groups(d)[0][0].append(["1"]), f"{EXPORTS}[0]: not a range"),
    "unknown end": (
        lambda d: groups(d)[0].__setitem__(0, [["1", "7"]]),
        f"{EXPORTS}[0]: '7' was not looked at there",
    ),
    "range order": (
        lambda d: groups(d)[0].__setitem__(0, [["2", "1"]]),
        f"{EXPORTS}[0]: the ranges are not in order",
    ),
    "no gap": (
        lambda d: groups(d)[0].__setitem__(0, [["1", "1"], ["2", None]]),
        f"{EXPORTS}[0]: the ranges are not in order",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_with_file_and_key(name: str) -> None:
    damage, message = DAMAGE[name]
    data = json.loads(history_text.dump(simple({"1": {"f"}, "2": {"f", "g"}})))
    damage(data)

    with pytest.raises(HistoryError) as caught:
        history_text.parse(json.dumps(data), "x.json")

    assert str(caught.value) == message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "1"])
def test_what_is_no_history_at_all_is_refused(text: str) -> None:
    with pytest.raises(HistoryError, match=r"x\.json( is not JSON|: must be an object)"):
        history_text.parse(text, "x.json")


WHOLE = history_text.pack(simple({"1": {"f"}}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no xz file at all", "x is not an xz file"),
        (WHOLE[:-1], "x: the xz file does not end where it should"),
        (WHOLE + b"more", "x: the xz file does not end where it should"),
        (WHOLE[:40] + b"!" + WHOLE[41:], "x is not an xz file"),
        (lzma.compress(b"\xff"), "x: the text is not UTF-8"),
    ],
)
def test_a_damaged_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(HistoryError, match=message):
        history_text.unpack(data, "x")


def test_a_file_that_expands_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_text, "_MOST_TEXT", 10)

    with pytest.raises(HistoryError, match="does not end"):
        history_text.unpack(WHOLE, "x")


@given(st.binary(max_size=40), st.integers(0, len(WHOLE)))
def test_whatever_is_read_ends_in_a_history_or_a_refusal(noise: bytes, at: int) -> None:
    with contextlib.suppress(HistoryError):
        history_text.unpack(WHOLE[:at] + noise + WHOLE[at + len(noise) :], "x")
