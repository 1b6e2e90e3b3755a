"""The line of Requires-Dist, and why it says what it says."""

from __future__ import annotations

import dataclasses

import pytest
from facts import OPENBLAS64, chosen, codes, rendered
from hypothesis import given
from hypothesis import strategies as st

from extlib_repair import dependency
from extlib_repair.errors import UsageError
from extlib_repair.model import Project, Provider, ProviderRequest

LOCAL = dataclasses.replace(OPENBLAS64, version="1.0+cu12")


def request(name: str, specifier: str = "", built_against: str = "") -> ProviderRequest:
    return ProviderRequest(project=Project(name), specifier=specifier, built_against=built_against)


def said(provider: Provider, specifier: str = "", built: str = "") -> tuple[str, str]:
    """Return the specifier and the rendered findings."""
    choice = chosen(provider, specifier, built)
    result = dependency.of(choice.provider, choice.request)
    return result.specifier, rendered(result.findings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scipy-openblas64", request("scipy-openblas64")),
        ("Scipy_OpenBLAS64>=0.3", request("scipy-openblas64", ">=0.3")),
        (" a >= 1 , <2 ", request("a", ">= 1 , <2")),
        ("a (>=1,<2)", request("a", ">=1,<2")),
        ("a~=1.4", request("a", "~=1.4")),
    ],
)
def test_a_request_keeps_the_specifier_as_it_was_typed(
    text: str, expected: ProviderRequest
) -> None:
    assert dependency.parse_request(text) == expected


@pytest.mark.parametrize("text", ["", "a=>1", "a>=1\nb", "a>=x", "-a"])
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a name with a version specifier"):
        dependency.parse_request(text)


@pytest.mark.parametrize("text", ["a[x]", "a; python_version>'3'", "a @ file:///x"])
def test_extras_markers_and_addresses_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="only a name and a version specifier"):
        dependency.parse_request(text)


def test_a_single_provider_needs_no_name_for_built_against() -> None:
    assert dependency.with_built_against([request("a")], ["1.5"]) == (request("a", "", "1.5"),)


def test_built_against_goes_to_the_provider_that_it_names() -> None:
    requests = [request("scipy-openblas64", ">=1"), request("b")]

    assert dependency.with_built_against(requests, ["Scipy_OpenBLAS64 == 1.5"]) == (
        request("scipy-openblas64", ">=1", "1.5"),
        request("b"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.5", "--built-against 1.5 does not say which provider is meant"),
        ("c==1.5", "--built-against c==1.5 names a project that --provided-by does not"),
        ("a==new", "--built-against a==new: 'new' is not a version"),
    ],
)
def test_a_bad_built_against_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        dependency.with_built_against([request("a"), request("b")], [text])

    assert str(caught.value) == message


def test_the_floor_is_the_examined_release_with_its_reason() -> None:
    assert said(OPENBLAS64) == (
        ">=0.3.30",
        (
            "note: requires scipy-openblas64>=0.3.30: it is the release that was examined (a test) "
            "[floor]\n"
        ),
    )


def test_what_it_was_built_against_is_the_better_floor() -> None:
    assert said(OPENBLAS64, built="0.3.27") == (
        ">=0.3.27",
        "note: requires scipy-openblas64>=0.3.27: the consumer was built against it [floor]\n",
    )


@pytest.mark.parametrize(
    ("version", "built", "specifier"),
    [
        ("1.0+cu12", "", ">=1.0"),
        ("1.0", "1.0+cu12", ">=1.0"),
        ("1.0+cu12", "1.0+cu11", ">=1.0"),
        ("0.3.31.dev3", "", ">=0.3.31.dev3"),
    ],
)
def test_a_floor_has_no_local_version(version: str, built: str, specifier: str) -> None:
    provider = dataclasses.replace(OPENBLAS64, version=version)

    assert said(provider, built=built)[0] == specifier


@pytest.mark.parametrize("specifier", ["", ">=0.3.20"])
def test_an_examined_release_older_than_built_against_is_refused(specifier: str) -> None:
    assert said(OPENBLAS64, specifier, "0.3.31") == (
        "",
        (
            "error: scipy-openblas64 0.3.30 was examined, and the consumer was built against "
            "0.3.31 [floor-above-examined]\n  hint: give a release from 0.3.31 on\n"
        ),
    )


@pytest.mark.parametrize(
    "specifier",
    [
        ">=0.3.30",
        "==0.3.30",
        "===0.3.30",
        "~=0.3.30",
        "<0.4, >= 0.3.30",
        ">=0.3.30,!=0.3.31",
    ],
)
def test_the_users_specifier_is_written_verbatim(specifier: str) -> None:
    assert said(OPENBLAS64, specifier) == (specifier, "")


@pytest.mark.parametrize("specifier", [">=0.3", "<1", "!=0.3.29", "==0.3.*", "~=0.3.29", ">0.3.29"])
def test_a_specifier_that_allows_older_releases_is_noted(specifier: str) -> None:
    assert said(OPENBLAS64, specifier) == (
        specifier,
        (
            f"note: scipy-openblas64{specifier} allows releases older than 0.3.30, the one that "
            "was examined: nothing is known of them [unexamined-releases]\n"
        ),
    )


def test_built_against_is_the_release_to_compare_a_specifier_with() -> None:
    assert said(OPENBLAS64, ">=0.3.27", "0.3.27") == (">=0.3.27", "")
    assert said(OPENBLAS64, ">=0.3.27", "0.3.28")[1] == (
        "note: scipy-openblas64>=0.3.27 allows releases older than 0.3.28, the one that was built "
        "against: nothing is known of them [unexamined-releases]\n"
    )


@pytest.mark.parametrize("specifier", [">=1.0", "==1.0", "==1.0+cu12", "==1.*"])
def test_a_local_version_is_in_the_range_of_its_public_one(specifier: str) -> None:
    assert said(LOCAL, specifier)[0] == specifier


def test_a_local_version_does_not_make_its_public_one_older() -> None:
    assert said(LOCAL, ">=1.0") == (">=1.0", "")


def test_an_examined_release_out_of_range_is_refused() -> None:
    assert said(OPENBLAS64, "<0.3") == (
        "",
        (
            "error: scipy-openblas64 0.3.30 was examined, which scipy-openblas64<0.3 does "
            "not allow [out-of-range]\n  hint: give a release in the range, or another range\n"
        ),
    )


def test_an_examined_prerelease_is_in_range() -> None:
    provider = dataclasses.replace(OPENBLAS64, version="0.4.0rc1")

    assert said(provider, ">=0.3.30")[0] == ">=0.3.30"


@pytest.mark.parametrize(
    ("existing", "specifier", "expected"),
    [
        ([], ">=0.3.30", ["scipy-openblas64>=0.3.30"]),
        ([], ">= 0.3 , <1", ["scipy-openblas64>= 0.3 , <1"]),
        (["numpy>=2"], ">=0.3.30", ["numpy>=2", "scipy-openblas64>=0.3.30"]),
        (["scipy_openblas64"], ">=0.3.30", ["scipy_openblas64>=0.3.30"]),
        (["scipy-openblas64<1", "b"], ">=0.3.30", ["scipy-openblas64<1,>=0.3.30", "b"]),
        (["scipy-openblas64[x]>=0.3"], ">=0.3.30", ["scipy-openblas64[x]>=0.3,>=0.3.30"]),
        (["scipy-openblas64>=0.3.30"], ">=0.3.30", ["scipy-openblas64>=0.3.30"]),
        (["scipy-openblas64==0.3.30"], ">=0.3.27", ["scipy-openblas64==0.3.30"]),
        (["scipy-openblas64>=0.3.29"], ">=0.3.27", ["scipy-openblas64>=0.3.29"]),
        (["scipy-openblas64>=0.3"], "~=0.3.27", ["scipy-openblas64>=0.3,~=0.3.27"]),
        (["scipy-openblas64<1", "scipy-openblas64>=0.3.30"], ">=0.3.30", None),
        (["scipy-openblas64 @ file:///x"], ">=0.3.30", None),
        (
            ["scipy-openblas64>=1; extra == 'x'"],
            ">=0.3.30",
            ["scipy-openblas64>=1; extra == 'x'", "scipy-openblas64>=0.3.30"],
        ),
        (
            ["scipy-openblas64>=1; python_version < '3.12'"],
            ">=0.3.30",
            ["scipy-openblas64>=1; python_version < '3.12'", "scipy-openblas64>=0.3.30"],
        ),
        (["not a requirement"], ">=0.3.30", ["not a requirement", "scipy-openblas64>=0.3.30"]),
    ],
)
def test_existing_lines_are_merged_and_not_doubled(
    existing: list[str], specifier: str, expected: list[str] | None
) -> None:
    lines, findings = dependency.merged(existing, OPENBLAS64, specifier)

    assert list(lines) == (existing if expected is None else expected)
    assert findings == ()


@pytest.mark.parametrize(
    "existing",
    [
        ["scipy-openblas64<0.3"],
        ["scipy-openblas64>=0.3", "scipy-openblas64===0.3.29"],
        ["scipy-openblas64>=0.3.30", "scipy-openblas64!=0.3.30"],
    ],
)
def test_an_existing_line_that_excludes_the_examined_release_is_an_error(
    existing: list[str],
) -> None:
    lines, findings = dependency.merged(existing, OPENBLAS64, ">=0.3.30")

    assert list(lines) == existing
    assert codes(findings) == ["error conflicting-requirement"]
    assert findings[0].message == (
        f"the wheel already requires {existing[-1]}, which does not allow the examined "
        "scipy-openblas64 0.3.30"
    )


VERSIONS = st.sampled_from(["0.3", "0.3.29", "0.3.30"])
BOUNDS = st.tuples(st.sampled_from([">=", "~=", "==", "!=", "<", ">"]), VERSIONS).map("".join)
RANGES = st.lists(BOUNDS, min_size=1, max_size=3).map(",".join)
LINES = st.one_of(
    st.just("numpy>=2"),
    RANGES.map("scipy-openblas64{}".format),
    RANGES.map("Scipy.OpenBLAS64[a,b] {}".format),
    RANGES.map("scipy_openblas64{}; extra == 'x'".format),
)


@given(existing=st.lists(LINES, max_size=3), specifier=RANGES)
def test_merging_twice_is_merging_once(existing: list[str], specifier: str) -> None:
    once, _ = dependency.merged(existing, OPENBLAS64, specifier)

    assert dependency.merged(once, OPENBLAS64, specifier)[0] == once
