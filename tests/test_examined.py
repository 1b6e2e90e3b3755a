"""What was examined is written into the consumer, and read back."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from facts import (
    DGEMM32,
    DGEMM64,
    LIB32,
    LIB64,
    OPENBLAS32,
    OPENBLAS64,
    PLAIN,
    SITE64,
    chosen,
    dylib,
    elf,
    library,
    macos_provider,
    planned,
    policy,
    provider,
    wheel,
)
from hypothesis import given
from hypothesis import strategies as st

from extlib_repair import examined, planning
from extlib_repair.errors import BadWheelError
from extlib_repair.layout import basename
from extlib_repair.model import Chosen, Import, Kind, SetExamined

if TYPE_CHECKING:
    from extlib_repair.model import Provider

IMPORTED = {DGEMM64, DGEMM32, "foo", "foo@V_1"}
VERSIONED = provider(
    "versioned",
    {
        "v/libv.so.1": elf(
            ["libw.so", "libc.so.6"],
            exports=["foo", "foo@V_1", "other"],
            name="libv.so.1",
            versions=["V_1", "V_2"],
            kind=Kind.SHARED_LIBRARY,
        ),
        "libw.so": library(),
    },
    version="1.0rc1+local.2",
    platforms=["linux_x86_64"],
)
CARRIED = dataclasses.replace(
    VERSIONED, carried=frozenset({"libv.so.1", "libw.so"}), requires_python=">=3.9"
)
PURE = dataclasses.replace(PLAIN, purelib=True)
CORE = "@loader_path/libcore.dylib"
FAT = macos_provider(
    "fat",
    dylib(
        ["foo"],
        name="@rpath/libprov.dylib",
        arch="x86_64",
        minimum_os=(10, 13, 2),
        compatibility=(1, 2, 3),
    ),
    dylib(["foo", "other"], name="@rpath/libprov.dylib", needed=[CORE], reexported=[CORE]),
    platforms=["macosx_11_0_universal2"],
)
EMPTY = provider("empty", {}, rules=policy("empty", prefix="e_"))


def text_of(*choices: Chosen) -> str:
    return examined.as_json(choices, IMPORTED)


GOOD = text_of(chosen(OPENBLAS64, ">=0.3,<1", built_against="0.3.29"))


@pytest.mark.parametrize(
    "choices",
    [
        [],
        [chosen(OPENBLAS64)],
        [chosen(OPENBLAS64, ">= 0.3, <1", built_against="0.3.29"), chosen(OPENBLAS32)],
        [chosen(VERSIONED, "~=1.0rc0")],
        [chosen(CARRIED)],
        [chosen(PURE, "==1.*")],
        [chosen(EMPTY)],
        [chosen(FAT), chosen(OPENBLAS64)],
    ],
    ids=["none", "one", "two", "versioned", "carried", "pure", "empty", "fat"],
)
def test_what_is_written_is_read_back(choices: list[Chosen]) -> None:
    text = text_of(*choices)

    assert text_of(*examined.parse(text)) == text


def test_a_provider_is_as_it_was_seen_apart_from_what_nobody_imports() -> None:
    """What it carries beside its libraries was judged at the repair, and counts as there."""
    (found,) = examined.parse(text_of(chosen(CARRIED, ">=1.0rc1")))

    seen = VERSIONED.libraries["libv.so.1"]
    assert found.request == chosen(VERSIONED, ">=1.0rc1").request
    assert found.provider == dataclasses.replace(
        CARRIED,
        carried=frozenset({"libw.so", "libc.so.6"}),
        requires_python="",
        libraries={
            "libv.so.1": dataclasses.replace(
                seen, image=dataclasses.replace(seen.image, exports=frozenset({"foo", "foo@V_1"}))
            ),
            "libw.so": VERSIONED.libraries["libw.so"],
        },
        source="as examined when the wheel was repaired",
    )


def test_a_fat_file_is_a_row_for_each_slice() -> None:
    rows = json.loads(text_of(chosen(FAT)))["providers"][0]["libraries"]

    assert [(row["name"], row["directory"], row["architecture"]) for row in rows] == [
        ("libprov.dylib", "prov/lib", "x86_64"),
        ("libprov.dylib", "prov/lib", "arm64"),
    ]
    assert [row["reexported"] for row in rows] == [[], [CORE]]
    assert {row["format"] for row in rows} == {"Mach-O"}


def test_the_slices_of_a_fat_file_are_put_together() -> None:
    found = provider_of(text_of(chosen(FAT)))
    (seen,) = found.libraries.values()

    assert (seen.name, seen.place) == ("libprov.dylib", "prov/lib/libprov.dylib")
    assert [image.arch for image in seen.slices] == ["x86_64", "arm64"]
    assert [image.reexported for image in seen.slices] == [frozenset(), {CORE}]
    assert [image.exports for image in seen.slices] == [{"foo"}, {"foo"}]
    assert [image.minimum_os for image in seen.slices] == [(10, 13, 2), None]
    assert [image.compatibility for image in seen.slices] == [(1, 2, 3), (0, 0, 0)]
    assert found.carried == {"libSystem.B.dylib", basename(CORE)}


def test_equal_names_in_two_folders_are_two_files() -> None:
    """The later one counts, as in the mapping of a provider."""
    data = json.loads(GOOD)
    rows = data["providers"][0]["libraries"]
    rows.append({**rows[0], "directory": "elsewhere"})

    (seen,) = provider_of(json.dumps(data)).libraries.values()

    assert (seen.directory, seen.more) == ("elsewhere", ())


def test_the_spelling_of_symbols_is_kept_and_a_policy_without_one_is_none() -> None:
    marked, plain, empty = examined.parse(text_of(chosen(OPENBLAS64), chosen(PLAIN), chosen(EMPTY)))

    assert marked.provider.policy is not None
    assert marked.provider.policy.marks("scipy_new64_")
    assert not marked.provider.policy.marks("scipy_new")
    assert plain.provider.policy is None
    assert empty.provider.policy is not None


def test_the_text_is_the_one_that_other_versions_read() -> None:
    assert GOOD == (
        '{\n "providers": [\n  {\n   "built-against": "0.3.29",\n   "libraries": [\n    {\n'
        '     "architecture": "x86_64",\n     "directory": "scipy_openblas64/lib",\n'
        '     "format": "ELF",\n     "name": "libscipy_openblas64_.so",\n'
        '     "needed": [\n      "libc.so.6"\n     ],\n     "soname": "",\n'
        '     "symbols": [\n      "scipy_cblas_dgemm64_"\n     ],\n     "versions": []\n    }\n'
        '   ],\n   "platforms": [\n    "manylinux_2_27_x86_64",\n    "manylinux_2_28_x86_64"\n'
        '   ],\n   "prefix": "scipy_",\n   "project": "scipy-openblas64",\n   "purelib": false,\n'
        '   "specifier": ">=0.3,<1",\n   "suffix": "64_",\n   "version": "0.3.30"\n  }\n ],\n'
        ' "schema": 1\n}\n'
    )


IMAGES = st.fixed_dictionaries(
    {
        "needed": st.lists(
            st.sampled_from([LIB64, LIB32, "libv.so.1", "libfoo.so.5", "libc.so.6"]), unique=True
        ),
        "search": st.lists(st.sampled_from(["$ORIGIN", "/build", "$ORIGIN/../demo.libs"])),
        "imports": st.lists(
            st.sampled_from([DGEMM64, DGEMM32, "foo", Import("foo", "V_1", "libv.so.1"), "malloc"])
        ),
    }
)
MEMBERS = st.sampled_from(
    ["demo/_e.so", "_top.so", "demo/a/_deep.so", "demo.libs/libx.so", "demo-1.0.data/platlib/_p.so"]
)
PROVIDERS = st.lists(
    st.sampled_from(
        [
            chosen(OPENBLAS64),
            chosen(OPENBLAS64, ">=0.3", built_against="0.3.27"),
            chosen(OPENBLAS32, ">=0.3.29"),
            chosen(VERSIONED),
            chosen(PURE, built_against="0.9"),
        ]
    ),
    unique_by=lambda choice: choice.provider.project,
)


@given(
    st.dictionaries(MEMBERS, IMAGES, min_size=1),
    PROVIDERS,
    st.lists(st.sampled_from(["numpy", "scipy-openblas64>=0.3", "scipy-openblas32; extra=='x'"])),
    st.sampled_from([["manylinux1_x86_64"], ["manylinux_2_28_x86_64"], ["linux_x86_64"]]),
)
def test_planning_again_with_what_was_written_changes_nothing(
    of: dict[str, dict[str, Any]],
    choices: list[Chosen],
    requires: list[str],
    platforms: list[str],
) -> None:
    made = {member: elf(**arguments) for member, arguments in of.items()}
    facts = wheel(made, requires=requires, platforms=platforms)
    plan = planned(facts, *choices, add_needed=True)
    if plan.errors:
        return

    repaired = planning.expected(facts, plan)
    known = examined.parse(repaired.examined) if repaired.examined else ()

    assert {c.provider.project for c in known} <= {c.provider.project for c in choices}
    assert planned(repaired, *known).edits == ()


def test_what_was_examined_is_an_edit_that_is_made_once() -> None:
    facts = wheel({"demo/_e.so": elf([LIB64], imports=[DGEMM64])})

    plan = planned(facts, OPENBLAS64, OPENBLAS32)

    text = examined.as_json([chosen(OPENBLAS64)], {DGEMM64})
    assert [e for e in plan.edits if isinstance(e, SetExamined)] == [SetExamined(text=text)]
    assert planning.expected(facts, plan).examined == text


def without(key: str, *, inner: bool = False) -> str:
    data = json.loads(GOOD)
    row = data["providers"][0]
    del (row["libraries"][0] if inner else row)[key]
    return json.dumps(data)


def changed(key: str, value: object, *, inner: bool = False, good: str = GOOD) -> str:
    data = json.loads(good)
    row = data["providers"][0]
    (row["libraries"][0] if inner else row)[key] = value
    return json.dumps(data)


OUTER = tuple(json.loads(GOOD)["providers"][0])
INNER = tuple(json.loads(GOOD)["providers"][0]["libraries"][0])
OF_MACHO = text_of(chosen(FAT))
OTHER: tuple[object, ...] = (None, 7, {}, [7])
DAMAGED = {
    "empty": "",
    "not JSON": "{",
    "a word": '"word"',
    "a number": "1",
    "null": "null",
    "a list": "[]",
    "no schema": '{"providers": []}',
    "no providers": '{"schema": 1}',
    "schema is true": '{"schema": true, "providers": []}',
    "schema is a text": '{"schema": "1", "providers": []}',
    "providers is a table": '{"schema": 1, "providers": {}}',
    "providers holds a number": '{"schema": 1, "providers": [7]}',
    "providers holds a list": '{"schema": 1, "providers": [[]]}',
    "deep nesting": '{"schema": 1, "providers": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "a long number": '{"schema": ' + "9" * 10_000 + "}",
    "not UTF-8": "\N{REPLACEMENT CHARACTER}" + GOOD,
    "cut off": GOOD[:-20],
    **{f"without {key}": without(key) for key in OUTER},
    **{f"without {key} of a library": without(key, inner=True) for key in INNER},
    **{
        f"{key} is {value!r}": changed(key, value)
        for key in OUTER
        for value in (*OTHER, "\ud800 \x1b[31m")
        if not (isinstance(value, str) and key in {"prefix", "suffix"})
    },
    **{
        f"{key} of a library is {value!r}": changed(key, value, inner=True)
        for key in INNER
        for value in (*OTHER, True)
    },
    **{
        f"{key} of a Mach-O library is {value!r}": changed(key, value, inner=True, good=OF_MACHO)
        for key in ("minimum-os", "compatibility")
        for value in (*OTHER, True, [1, 2], [1, 2, 3, 4], [1, 2, "3"], [1, 2, True], [1, 2, 3.0])
    },
    "a project that is no name": changed("project", "../x"),
    "a version that is none": changed("version", "new"),
    "no version": changed("version", ""),
    "built against no version": changed("built-against", "new"),
    "a specifier that is none": changed("specifier", ">>1"),
    "a specifier of no version": changed("specifier", "===new"),
    "a Mach-O file without what it re-exports": changed("format", "Mach-O", inner=True),
    "an unknown format": changed("format", "COFF", inner=True),
    "a folder above": changed("directory", "../x", inner=True),
    "a folder above on the way": changed("directory", "a/../../x", inner=True),
    "a folder with an empty part": changed("directory", "a//x", inner=True),
    "an absolute folder": changed("directory", "/usr/lib", inner=True),
    "a name with a folder": changed("name", "a/b.so", inner=True),
    "no name": changed("name", "", inner=True),
    "the name of a folder": changed("name", "..", inner=True),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_is_damaged_is_a_bad_wheel(case: str) -> None:
    with pytest.raises(BadWheelError) as caught:
        examined.parse(DAMAGED[case])

    assert caught.value.exit_code == 3
    assert caught.value.hint in {
        "repair the wheel again",
        "a newer extlib-repair may understand it",
    }


def test_the_message_names_the_file_and_what_is_wrong_in_it() -> None:
    with pytest.raises(BadWheelError) as caught:
        examined.parse(changed("purelib", "no"))

    assert str(caught.value) == (
        "extlib-repair.json in the wheel is damaged: TypeError: 'purelib' is a str"
    )


def test_another_schema_is_said_to_be_newer() -> None:
    with pytest.raises(BadWheelError, match="has schema 2, and 1 is the one") as caught:
        examined.parse('{"schema": 2}')

    assert caught.value.hint == "a newer extlib-repair may understand it"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.data())
def test_no_damage_is_another_exception(data: st.DataObject) -> None:
    """A value anywhere in the text becomes another one."""
    tree = json.loads(GOOD)
    at: Any = tree
    while True:
        keys = range(len(at)) if isinstance(at, list) else sorted(at)
        key: Any = data.draw(st.sampled_from(keys))
        inner = at[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        at = inner
    at[key] = data.draw(JSON)

    try:
        found = examined.parse(json.dumps(tree))
    except BadWheelError:
        return
    facts = wheel({"demo/_e.so": elf([LIB64], ["$ORIGIN"], imports=[DGEMM64])})
    planned(facts, *found)


def provider_of(text: str) -> Provider:
    (found,) = examined.parse(text)
    return found.provider


def test_the_root_of_site_packages_is_a_folder_like_others() -> None:
    assert provider_of(changed("directory", "", inner=True)).libraries[LIB64].directory == ""
    assert provider_of(GOOD).libraries[LIB64].directory == SITE64.rpartition("/")[0]
