"""``[tool.extlib-repair]``: its keys, its faults, and who wins over whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from extlib_repair import cli, commandline, config, planning
from extlib_repair.engines import engine_for
from extlib_repair.errors import UsageError
from extlib_repair.model import RunPathKind, System

if TYPE_CHECKING:
    from collections.abc import Callable

    from extlib_repair.config import Configuration
    from extlib_repair.pipeline import Request

NOT_KEYS = {"--config", "--dry-run", "--json", "--verbose", "--debug", "--version", "--help"}
NOT_KEYS |= commandline.OF_VERIFY | commandline.OF_RECHECK | commandline.OF_PROVIDERS
"""What is said for one run, and so has no key."""


def read(folder: Path, text: str) -> Configuration:
    """Read the lines of the table from a file."""
    path = folder / "some.toml"
    path.write_text(f"[tool.extlib-repair]\n{text}\n", encoding="utf-8")
    return config.read(str(path), planning.CODES)


def refused(folder: Path, text: str) -> tuple[str, str | None]:
    with pytest.raises(UsageError) as caught:
        read(folder, text)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(f"{folder}/", ""), caught.value.hint


def requested(folder: Path, text: str, *arguments: str) -> Request:
    """Return what a command line with a file asks for."""
    (folder / "some.toml").write_text(f"[tool.extlib-repair]\n{text}\n", encoding="utf-8")
    return cli._request(commandline.sort(["--config", str(folder / "some.toml"), *arguments]))


def test_every_option_that_is_for_more_than_one_run_is_a_key() -> None:
    options = commandline.VALUED | commandline.FLAGS

    others = {"--acknowledge", *(f"--{engine}-options" for engine in config.ENGINES.values())}
    assert {f"--{key}" for key in config.KEYS} - others == options - NOT_KEYS


def test_every_key_is_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        provided-by = ["a>=1", "b"]
        provider-wheel = "wheels/a.whl"
        provider-python = "python3.12"
        policy = ["/etc/a.toml", "b.toml"]
        built-against = "a==1.2"
        most-expansion = 200
        wheel-dir = "out"
        require-provided = true
        runpath = true
        sanitize-rpaths = true
        add-needed = true
        drop-signature = true
        keep-going = false
        acknowledge = { own-copy = "we want it", record = "signed later" }
        """,
    )

    assert found.said == f"configuration: {tmp_path}/some.toml: [tool.extlib-repair]"
    assert found.values == {
        "--provided-by": ("a>=1", "b"),
        "--provider-wheel": (f"{tmp_path}/wheels/a.whl",),
        "--provider-python": ("python3.12",),
        "--policy": ("/etc/a.toml", f"{tmp_path}/b.toml"),
        "--built-against": ("a==1.2",),
        "--most-expansion": ("200",),
        "--wheel-dir": ("out",),
    }
    assert found.switches == {
        "--require-provided",
        "--runpath",
        "--sanitize-rpaths",
        "--add-needed",
        "--drop-signature",
    }
    assert found.acknowledged == {"own-copy": "we want it", "record": "signed later"}


def test_an_empty_table_says_nothing_but_was_read(tmp_path: Path) -> None:
    found = read(tmp_path, "")

    assert found.said == f"configuration: {tmp_path}/some.toml: [tool.extlib-repair]"
    assert (found.values, found.switches, found.acknowledged) == ({}, frozenset(), {})


def test_the_pyproject_of_the_working_directory_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text(
        '[tool.extlib-repair]\nprovided-by = "a"\npolicy = "p.toml"\n', encoding="utf-8"
    )

    found = config.read("", planning.CODES)

    assert found.said == "configuration: pyproject.toml: [tool.extlib-repair]"
    assert found.values == {"--provided-by": ("a",), "--policy": ("p.toml",)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no configuration: there is no pyproject.toml here"),
        ("", "no configuration: pyproject.toml has no [tool.extlib-repair]"),
        (
            "[project]\nname = 'x'\n[tool.other]\n",
            "no configuration: pyproject.toml has no [tool.extlib-repair]",
        ),
    ],
)
def test_that_nothing_was_read_is_said(
    text: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("pyproject.toml").write_text(text, encoding="utf-8")

    assert config.read("", planning.CODES) == config.Configuration(said=said)


def test_a_file_that_is_stated_is_read_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text("[tool.extlib-repair]\nwrong = 1\n", encoding="utf-8")

    assert read(tmp_path, 'provided-by = "a"').values == {"--provided-by": ("a",)}


FAULTS = {
    "unknown key": 'provided-py = "a"',
    "unknown key like none": "xyzzy = 1",
    "an underscore": 'provided_by = "a"',
    "a key for one run": "dry-run = true",
    "a number for a list": "provided-by = 1",
    "a number in a list": 'provided-by = ["a", 1]',
    "a table for a list": "policy = { a = 1 }",
    "a list for a string": 'wheel-dir = ["a"]',
    "a number for a string": "provider-python = 3.12",
    "a string for a number": 'most-expansion = "50"',
    "true for a number": "most-expansion = true",
    "a fraction for a number": "most-expansion = 1.5",
    "a string for a switch": 'runpath = "true"',
    "a number for a switch": "keep-going = 1",
    "a string to acknowledge": 'acknowledge = "own-copy"',
    "a list to acknowledge": 'acknowledge = ["own-copy"]',
    "an unknown code": 'acknowledge = { own-cpy = "a reason" }',
    "a code like none": 'acknowledge = { xyzzy = "a reason" }',
    "an empty reason": 'acknowledge = { own-copy = "" }',
    "a reason of spaces": 'acknowledge = { own-copy = "  " }',
    "a reason that is none": "acknowledge = { own-copy = true }",
}


NO_TABLES = {
    "tool is no table": "tool = 1",
    "tool is a list": "[[tool]]\nextlib-repair = 1",
    "the table is none": "[tool]\nextlib-repair = 'x'",
    "the table is a list": "[[tool.extlib-repair]]",
}


def refused_file(folder: Path, data: bytes) -> tuple[str, str | None]:
    (folder / "some.toml").write_bytes(data)
    with pytest.raises(UsageError) as caught:
        config.read(str(folder / "some.toml"), planning.CODES)
    return str(caught.value).replace(f"{folder}/", ""), caught.value.hint


@pytest.mark.parametrize("data", [b"[tool.extlib-repair\n", b"# \xff\n", b"a = " + b"[" * 100_000])
def test_what_is_not_toml_is_said_to_be_none(data: bytes, tmp_path: Path) -> None:
    message, hint = refused_file(tmp_path, data)

    assert message.startswith("some.toml is not TOML: ")
    assert hint == "mend the file first"


def test_every_fault_names_the_file_and_the_key(
    tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    shown = []
    for name, text in FAULTS.items():
        message, hint = refused(tmp_path, text)
        assert message.startswith("some.toml: [tool.extlib-repair]: ")
        assert text.partition(" =")[0] in message
        shown.append(f"# {name}\n{text}\nerror: {message}\n{f'hint: {hint}' if hint else ''}\n")
    for name, text in NO_TABLES.items():
        message, hint = refused_file(tmp_path, text.encode())
        shown.append(f"# {name}\n{text}\nerror: {message}\nhint: {hint}\n")

    golden("errors/config.txt", "\n".join(shown))


@pytest.mark.parametrize(
    ("name", "why"), [("gone.toml", "No such file or directory"), (".", "Is a directory")]
)
def test_a_file_that_cannot_be_read_is_an_error(name: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(UsageError) as caught:
        config.read(str(path), planning.CODES)

    assert str(caught.value) == f"cannot read the configuration {path}: {why}"
    assert caught.value.hint == (
        "--config takes the path of a TOML file; in cibuildwheel: {package}/pyproject.toml"
    )


FILE = """
provided-by = ["a>=1", "b"]
provider-wheel = "a.whl"
provider-python = "python3.12"
policy = "a.toml"
built-against = "a==1.2"
most-expansion = 200
wheel-dir = "out"
runpath = true
acknowledge = { own-copy = "we want it" }
"""


def test_what_the_command_line_does_not_say_comes_from_the_file(tmp_path: Path) -> None:
    request = requested(tmp_path, FILE)

    assert [(r.project, r.specifier, r.built_against) for r in request.providers] == [
        ("a", ">=1", "1.2"),
        ("b", "", ""),
    ]
    assert request.sources.wheels == (tmp_path / "a.whl",)
    assert request.sources.python == "python3.12"
    assert request.sources.policies == (tmp_path / "a.toml",)
    assert request.most_expansion == 200
    assert request.wheel_dir == Path("out")
    assert request.style.kind is RunPathKind.RUNPATH
    assert request.acknowledged == {"own-copy": "we want it"}
    assert (request.add_needed, request.require_provided, request.dry_run) == (False, False, False)


def test_the_command_line_wins_key_by_key(tmp_path: Path) -> None:
    request = requested(
        tmp_path,
        FILE,
        *("--provided-by", "a", "-w", "mine", "--policy=b.toml", "--most-expansion", "7"),
        *("--built-against", "2", "--add-needed"),
    )

    assert [(r.project, r.specifier, r.built_against) for r in request.providers] == [
        ("a", "", "2")
    ]
    assert request.wheel_dir == Path("mine")
    assert request.sources.policies == (Path("b.toml"),)
    assert request.sources.wheels == (tmp_path / "a.whl",)
    assert request.sources.python == "python3.12"
    assert request.most_expansion == 7
    assert request.style.kind is RunPathKind.RUNPATH
    assert request.add_needed


def test_switches_of_the_file_are_those_of_the_command_line(tmp_path: Path) -> None:
    text = "require-provided = true\nsanitize-rpaths = true\nadd-needed = true\nrunpath = false"

    request = requested(tmp_path, text)

    assert request.require_provided
    assert request.add_needed
    assert request.style.sanitize
    assert request.style.kind is RunPathKind.RPATH


def test_keep_going_of_the_file_reaches_the_line(tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_text("[tool.extlib-repair]\nkeep-going = true\n")
    line = commandline.sort(["--config", str(tmp_path / "some.toml"), "x-1-py3-none-any.whl"])

    cli._request(line)

    assert "--keep-going" in line.flags


def test_what_was_read_is_said_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    requested(tmp_path, "")

    assert capsys.readouterr() == (
        "",
        f"configuration: {tmp_path}/some.toml: [tool.extlib-repair]\n",
    )


@pytest.mark.parametrize("engine", ["auditwheel", "delocate", "delvewheel"])
def test_options_of_an_engine_are_words_of_its_command_line(engine: str, tmp_path: Path) -> None:
    text = f'{engine}-options = ["--exclude", "libcuda.so.1", "--only-plat"]'

    request = requested(tmp_path, text, "--plat", "manylinux_2_28_x86_64", "x-1-py3-none-any.whl")

    assert request.configured_options == {engine: ("--exclude", "libcuda.so.1", "--only-plat")}
    assert request.engine_options == ("--plat", "manylinux_2_28_x86_64")


def test_every_engine_with_options_has_its_key() -> None:
    systems = (System.LINUX, System.MACOS, System.WINDOWS)
    names = [engine_for(system, has_binaries=True).NAME for system in systems]

    assert list(config.ENGINES.items()) == [(f"{name}-options", name) for name in names]


def test_signatures_are_dropped_when_the_line_or_the_file_says_so(tmp_path: Path) -> None:
    assert not requested(tmp_path, "").drop_signature
    assert requested(tmp_path, "", "--drop-signature").drop_signature
    assert requested(tmp_path, "drop-signature = true").drop_signature
