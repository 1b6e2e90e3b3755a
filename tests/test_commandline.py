"""argv: what is ours, what is the engine's, and which words nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from extlib_repair import commandline
from extlib_repair.errors import UsageError

WHEEL = "demo-1.0-py3-none-any.whl"
VERBS = "repair, show, check, verify, recheck, doctor, providers, demo"


def sorted_line(*arguments: str) -> tuple[str, list[str], dict[str, list[str]], list[str]]:
    line = commandline.sort(arguments)
    return line.verb, [str(w) for w in line.wheels], line.values, line.engine


@pytest.mark.parametrize(
    "spelling",
    [["-w", "d"], ["-wd"], ["-w=d"], ["--wheel-dir", "d"], ["--wheel-dir=d"], ["--w", "d"]],
)
def test_the_output_folder_is_ours_in_every_spelling(spelling: list[str]) -> None:
    assert sorted_line(*spelling, WHEEL) == ("repair", [WHEEL], {"--wheel-dir": ["d"]}, [])


def test_abbreviations_belong_to_the_engine_but_for_its_wheel_dir() -> None:
    assert sorted_line("--prov", "x", "--wheel-d", "d", WHEEL) == (
        "repair",
        [WHEEL],
        {"--wheel-dir": ["d"]},
        ["--prov", "x"],
    )


def test_what_is_not_ours_keeps_its_order() -> None:
    assert sorted_line(
        "repair", "--plat", "p", WHEEL, "-z", "9", "--provided-by", "x", "--strip"
    ) == (
        "repair",
        [WHEEL],
        {"--provided-by": ["x"]},
        ["--plat", "p", "-z", "9", "--strip"],
    )


def test_behind_two_dashes_nothing_is_ours_but_the_wheels() -> None:
    assert sorted_line("--provided-by=x", "--", "--provided-by", "y", "--", "-w", WHEEL) == (
        "repair",
        [WHEEL],
        {"--provided-by": ["x"]},
        ["--provided-by", "y", "--", "-w"],
    )


@pytest.mark.parametrize("verb", commandline.VERBS)
def test_a_first_word_that_is_a_verb_is_the_verb(verb: str) -> None:
    assert commandline.sort([verb]).verb == verb
    assert commandline.sort(["-v", "--provided-by", "x", verb, WHEEL]).verb == verb
    assert commandline.sort([WHEEL, verb]).engine == [verb]
    assert commandline.sort(["--plat", verb, WHEEL]).engine == ["--plat", verb]


def test_only_one_word_is_the_verb() -> None:
    assert sorted_line("check", "show", WHEEL) == ("check", [WHEEL], {}, ["show"])


def test_a_first_word_that_is_no_verb_means_repair() -> None:
    assert sorted_line(WHEEL) == ("repair", [WHEEL], {}, [])


def test_flags_are_ours_in_both_spellings_and_without_a_value() -> None:
    line = commandline.sort(["-v", "-V", "-h", "--json", "--dry-run", "--json=1", WHEEL])

    assert line.flags == {"--verbose", "--version", "--help", "--json", "--dry-run"}
    assert line.engine == ["--json=1"]


def test_every_value_of_an_option_is_kept() -> None:
    line = commandline.sort(["--provided-by", "a", "--provided-by=b==1", "-w", "c", "-wd"])

    assert line.all("--provided-by") == ["a", "b==1"]
    assert line.last("--wheel-dir", "x") == "d"
    assert line.all("--policy") == []
    assert line.last("--config", "x") == "x"


@pytest.mark.parametrize("arguments", [["--config"], ["--config="], ["--config", ""], ["-w"]])
def test_an_option_without_its_value_is_refused(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="needs a value"):
        commandline.sort(arguments)


def test_what_is_stated_elsewhere_fills_the_gaps() -> None:
    line = commandline.sort(["--provided-by", "a", "--json"])

    line.add({"--provided-by": ("b", "c"), "--policy": ("p",)}, frozenset({"--runpath"}))

    assert line.values == {"--provided-by": ["a"], "--policy": ["p"]}
    assert line.flags == {"--json", "--runpath"}


def test_every_option_is_in_the_help() -> None:
    for option in commandline.VALUED | commandline.FLAGS:
        assert option in commandline.HELP
    for verb in commandline.VERBS:
        assert verb in commandline.HELP


def test_the_help_is_at_most_100_columns() -> None:
    assert max(map(len, commandline.HELP.splitlines())) <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no wheel is given"),
        (["check"], "no wheel is given"),
        (["--json"], "no wheel is given"),
        (["--plat"], "no wheel is given"),
        (
            ["shwo"],
            f"'shwo' is neither a wheel (*.whl) nor one of {VERBS}",
        ),
        (
            ["show", "dist"],
            f"'dist' is neither a wheel (*.whl) nor one of {VERBS}",
        ),
        (["show", WHEEL, "--plat", "x"], "show does not know '--plat'"),
        (["check", WHEEL, "more"], "check does not know 'more'"),
        (["check", "--strip", WHEEL], "check does not know '--strip'"),
        (["verify", WHEEL, "--plat", "x"], "verify does not know '--plat'"),
    ],
)
def test_words_that_nobody_knows_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        commandline.refuse_nothing_to_do(commandline.sort(arguments))

    assert str(caught.value) == message
    assert caught.value.hint == "extlib-repair --help"


@pytest.mark.parametrize("option", sorted(commandline.OF_VERIFY))
def test_what_only_verify_understands_is_refused_elsewhere(option: str) -> None:
    for verb in ("repair", "show", "check"):
        with pytest.raises(UsageError, match=f"{option} is for verify.*, and not for {verb}"):
            commandline.refuse_nothing_to_do(commandline.sort([verb, WHEEL, option, "x"]))
    commandline.refuse_nothing_to_do(commandline.sort(["verify", WHEEL, option, "x"]))


def test_recheck_needs_a_release_and_a_wheel_or_a_folder_of_them() -> None:
    for words in (["--against", "prov==2", WHEEL], ["--against", "x.whl", "--all-consumers", "d"]):
        commandline.refuse_nothing_against(commandline.sort(["recheck", *words]))
    for words, said in (
        ([WHEEL], "recheck needs --against"),
        (["--against", "prov==2"], "no wheel is given"),
        (["--against", "prov==2", WHEEL, "--plat"], "recheck does not know '--plat'"),
    ):
        with pytest.raises(UsageError, match=said):
            commandline.refuse_nothing_against(commandline.sort(["recheck", *words]))
    for option in commandline.OF_RECHECK:
        with pytest.raises(UsageError, match=f"{option} is for recheck, and not for check"):
            commandline.refuse_nothing_to_do(commandline.sort(["check", WHEEL, option, "x"]))


@pytest.mark.parametrize(
    "arguments", [[WHEEL], [WHEEL, "--plat", "x"], ["show", WHEEL, "--json"], ["check", WHEEL]]
)
def test_what_can_be_done_is_not_refused(arguments: list[str]) -> None:
    commandline.refuse_nothing_to_do(commandline.sort(arguments))


def test_the_help_says_whose_options_are_accepted() -> None:
    for engine in ("auditwheel", "delocate", "delvewheel"):
        assert engine in commandline.HELP


def test_doctor_looks_at_an_interpreter_or_at_a_folder() -> None:
    def folder(*arguments: str) -> Path | None:
        return commandline.folder_of_doctor(commandline.sort(["doctor", *arguments]))

    assert folder() is None
    assert folder("--python", "python3.9", "--json") is None
    assert folder("lib/site-packages") == Path("lib/site-packages")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "b"], "doctor looks at one folder, and 'b' is a second"),
        (["a", "--plat", "x"], "doctor does not know '--plat'"),
        (["a", "--python", "x"], "doctor looks at an interpreter or at a folder"),
    ],
)
def test_other_words_for_doctor_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        commandline.folder_of_doctor(commandline.sort(["doctor", *arguments]))

    assert str(caught.value) == message


def test_what_only_providers_understands_is_the_engines_elsewhere() -> None:
    assert sorted_line(WHEEL, "-o", "x", "--versions", "y")[3] == ["-o", "x", "--versions", "y"]
    assert sorted_line("providers", "learn", "foo", "-o", "x", "--versions=y") == (
        "providers",
        [],
        {"--output": ["x"], "--versions": ["y"]},
        ["learn", "foo"],
    )


def test_providers_learns_one_project() -> None:
    def learned(*arguments: str) -> str:
        return commandline.learned_of(commandline.sort(["providers", *arguments]))

    assert learned("learn", "foo", "--wheels", "dist") == "foo"
    for words in ([], ["learn"], ["foo"], ["learn", "foo", "bar"], ["learn", "foo", WHEEL]):
        with pytest.raises(UsageError, match="providers takes 'learn' and the name of one"):
            learned(*words)
    with pytest.raises(UsageError, match="providers does not know '--plat'"):
        learned("learn", "foo", "--plat", "x")
