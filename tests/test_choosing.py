"""Which providers a consumer has, for a repair and for a check."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from facts import DGEMM64, LIB64, OPENBLAS64, chosen, elf, planned, provider, wheel
from wheels import make_wheel

from extlib_repair import checking, choosing, examined, planning, shipped
from extlib_repair import provider as providers
from extlib_repair.dependency import parse_request
from extlib_repair.errors import (
    BadWheelError,
    ProviderMismatchError,
    ProviderNotFoundError,
    UsageError,
)
from extlib_repair.model import Member, Project, System

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extlib_repair.model import Chosen, Provider, ProviderRequest, WheelFacts

UNREPAIRED = wheel({"demo/_e.so": elf([LIB64, "libc.so.6"], imports=[DGEMM64])})


def repaired(specifier: str = "", built_against: str = "") -> WheelFacts:
    return planning.expected(
        UNREPAIRED, planned(UNREPAIRED, chosen(OPENBLAS64, specifier, built_against))
    )


def requests(*texts: str) -> list[ProviderRequest]:
    return [parse_request(text) for text in texts]


Asked = list[tuple[Project, System, str]]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Provider], Asked]:
    """Put providers where :func:`provider.find` finds them, and note who was asked for."""
    there: dict[str, Provider] = {OPENBLAS64.project: OPENBLAS64}
    asked: Asked = []

    def find(project: Project, _: object, system: System, arch: str) -> Provider:
        asked.append((project, system, arch))
        if project not in there:
            raise ProviderNotFoundError(f"{project} is nowhere")
        return there[project]

    monkeypatch.setattr(providers, "find", find)
    monkeypatch.setattr(providers, "check_sources", lambda *_: None)
    monkeypatch.setattr(
        providers, "projects_of_wheels", lambda sources: dict.fromkeys(map(str, sources.wheels))
    )
    return there, asked


NOTHING = providers.Sources()
PYTHON = providers.Sources(python="python")


def test_every_request_of_a_repair_gets_its_provider(
    shelf: tuple[dict[str, Provider], Asked],
) -> None:
    there, asked = shelf
    there["other"] = provider("other", {"other/libx.so": elf()})
    wanted = requests("other<2", "scipy-openblas64")

    found = choosing.for_repair(UNREPAIRED, wanted, NOTHING)

    assert [(c.provider.label, c.request.specifier) for c in found] == [
        ("other 1.0", "<2"),
        ("scipy-openblas64 0.3.30", ""),
    ]
    assert asked == [("other", "linux", "x86_64"), ("scipy-openblas64", "linux", "x86_64")]


def test_a_wheel_of_no_platform_has_no_providers(
    shelf: tuple[dict[str, Provider], Asked],
) -> None:
    facts = wheel({}, platforms=["any"])

    assert choosing.for_repair(facts, requests("scipy-openblas64"), NOTHING) == ()
    assert shelf[1] == []


def test_a_provider_that_is_nowhere_is_an_error(
    shelf: tuple[dict[str, Provider], Asked],
) -> None:
    with pytest.raises(ProviderNotFoundError, match="gone is nowhere"):
        choosing.for_repair(UNREPAIRED, requests("gone"), NOTHING)

    assert len(shelf[1]) == 1


def test_a_provider_that_is_named_twice_is_an_error() -> None:
    with pytest.raises(UsageError, match="--provided-by names a, b twice"):
        choosing.for_repair(UNREPAIRED, requests("a", "B", "A>1", "b", "c"), NOTHING)


def test_a_wheel_is_not_its_own_provider() -> None:
    with pytest.raises(UsageError, match="is a provider itself, and not a consumer of one"):
        choosing.for_repair(UNREPAIRED, requests("other", "Demo"), NOTHING)


def test_two_providers_of_one_name_are_rivals(
    shelf: tuple[dict[str, Provider], Asked],
) -> None:
    shelf[0]["rival"] = provider("rival", {f"rival/{LIB64}": elf()})

    with pytest.raises(
        ProviderMismatchError,
        match=r"both scipy-openblas64 0\.3\.30 and rival 1\.0 supply libscipy_openblas64_\.so",
    ):
        choosing.for_repair(UNREPAIRED, requests("scipy-openblas64", "rival"), NOTHING)


@pytest.mark.parametrize("project", ["scipy-openblas64", "scipy-openblas32"])
def test_the_wheel_of_a_known_provider_is_no_consumer(project: str) -> None:
    facts = dataclasses.replace(UNREPAIRED, project=Project(project))

    with pytest.raises(UsageError) as caught:
        choosing.for_check(facts, [], NOTHING)

    assert caught.value.exit_code == 2
    assert caught.value.hint == "name the wheel that uses its library"


def test_a_wheel_that_carries_a_policy_is_no_consumer() -> None:
    own = Member("demo-1.0.dist-info/extlib-repair.toml")
    facts = dataclasses.replace(UNREPAIRED, members=(*UNREPAIRED.members, own))

    with pytest.raises(UsageError, match="is a provider itself"):
        choosing.for_check(facts, [], NOTHING)


def test_a_check_takes_what_was_examined(shelf: tuple[dict[str, Provider], Asked]) -> None:
    facts = repaired()

    found = choosing.for_check(facts, [], NOTHING)

    assert found == examined.parse(facts.examined)
    assert [c.provider.label for c in found] == ["scipy-openblas64 0.3.30"]
    assert shelf[1] == []


def test_a_wheel_that_was_never_repaired_has_none(
    shelf: tuple[dict[str, Provider], Asked],
) -> None:
    assert choosing.for_check(UNREPAIRED, requests("scipy-openblas64"), NOTHING) == ()
    assert shelf[1] == []


def test_what_was_examined_and_damaged_is_a_bad_wheel() -> None:
    with pytest.raises(BadWheelError):
        choosing.for_check(dataclasses.replace(UNREPAIRED, examined="{"), [], NOTHING)


def test_only_the_projects_of_given_wheels_are_taken_from_them(
    shelf: tuple[dict[str, Provider], Asked],
) -> None:
    there, asked = shelf
    there["other"] = provider("other", {"other/libx.so": elf()})
    sources = providers.Sources(wheels=(Path("other"),))

    found = choosing.for_check(repaired(), requests("other"), sources)

    assert [c.provider.source for c in found] == [
        "as examined when the wheel was repaired",
        "a test",
    ]
    assert [project for project, *_ in asked] == ["other"]


def release(version: str) -> Provider:
    return dataclasses.replace(OPENBLAS64, version=version)


def codes_with(
    facts: WheelFacts, one: Provider, shelf: dict[str, Provider], named: Sequence[str]
) -> list[str]:
    shelf[one.project] = one
    found: tuple[Chosen, ...] = choosing.for_check(facts, requests(*named), PYTHON)
    assert [c.provider.version for c in found] == [one.version]
    return [f.code for f in checking.findings(facts, found, shipped.names(), ())]


@pytest.mark.parametrize("named", [[], ["scipy-openblas64"]])
@pytest.mark.parametrize(
    ("specifier", "built_against", "version", "expected"),
    [
        ("", "", "0.3.30", []),
        ("", "", "0.3.31", []),
        ("", "", "0.3.29", ["out-of-range"]),
        ("", "0.3.28", "0.3.29", []),
        ("", "0.3.28", "0.3.27", ["out-of-range"]),
        (">=0.3,<0.4", "", "0.3.1", []),
        (">=0.3,<0.4", "0.3.28", "0.3.1", []),
        (">=0.3,<0.4", "", "0.4", ["out-of-range"]),
    ],
)
def test_another_release_is_good_where_the_requirement_allows_it(
    named: list[str],
    specifier: str,
    built_against: str,
    version: str,
    expected: list[str],
    shelf: tuple[dict[str, Provider], Asked],
) -> None:
    facts = repaired(specifier, built_against)

    assert codes_with(facts, release(version), shelf[0], named) == expected


def test_a_range_that_is_stated_is_what_the_wheel_must_require(
    shelf: tuple[dict[str, Provider], Asked],
) -> None:
    named = ["scipy-openblas64>=0.3.31"]

    assert codes_with(repaired(), release("0.3.31"), shelf[0], named) == ["requirement-missing"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["scipy-openblas64>=0.3.20"], []),
        (["not a requirement", "numpy", "Scipy_OpenBLAS64 <1,>=0.3"], []),
        (["scipy-openblas64>=0.3.31"], ["out-of-range"]),
        ([], ["requirement-missing"]),
        (["scipy-openblas64"], ["requirement-missing"]),
        (["scipy-openblas64>=0.3.20; extra == 'x'"], ["requirement-missing"]),
    ],
)
def test_a_wheel_that_was_repaired_otherwise_is_held_to_what_it_requires(
    lines: list[str], expected: list[str], shelf: tuple[dict[str, Provider], Asked]
) -> None:
    facts = dataclasses.replace(repaired(), examined="", requirements=tuple(lines))

    assert codes_with(facts, OPENBLAS64, shelf[0], ["scipy-openblas64"]) == expected


def test_provider_wheels_are_read(tmp_path: Path) -> None:
    made = make_wheel(tmp_path, {"other/readme": b""}, name="other", tag="py3-none-any")
    sources = providers.Sources(wheels=(made,))

    found = choosing.for_check(UNREPAIRED, requests("other"), sources)

    assert [(c.provider.label, dict(c.provider.libraries)) for c in found] == [("other 1.0", {})]
