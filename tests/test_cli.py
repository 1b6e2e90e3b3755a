"""The command line: what is ours, what is the engine's, and what bad input gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wheels import make_wheel, read_wheel

from extlib_repair import cli, pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

WHEEL = "demo-1.0-py3-none-any.whl"


def sorted_line(*arguments: str) -> tuple[str, list[str], dict[str, list[str]], list[str]]:
    line = cli.sort(arguments)
    return line.verb, [str(w) for w in line.wheels], line.values, line.engine


@pytest.mark.parametrize(
    "spelling", [["-w", "d"], ["-wd"], ["--wheel-dir", "d"], ["--wheel-dir=d"]]
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
    assert sorted_line("--provided-by=x", "--", "--provided-by", "y", WHEEL) == (
        "repair",
        [WHEEL],
        {"--provided-by": ["x"]},
        ["--provided-by", "y"],
    )


def test_a_first_word_that_is_a_verb_is_the_verb() -> None:
    assert cli.sort(["demo"]).verb == "demo"
    assert cli.sort(["-v", "repair", WHEEL]).verb == "repair"
    assert cli.sort([WHEEL, "demo"]).engine == ["demo"]


def test_help_and_version_are_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: extlib-repair")
    assert cli.main(["-V"]) == 0
    assert capsys.readouterr().out == "extlib-repair 0.1.0\n"


def test_every_option_is_in_the_help() -> None:
    for option in cli._VALUED | cli._FLAGS:
        assert option in cli.HELP


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "extlib_repair", "--version"], capture_output=True, check=True
    )

    assert done.stdout == b"extlib-repair 0.1.0\n"


def bad_inputs(folder: Path) -> dict[str, list[str]]:
    """Return command lines that cannot be carried out; all wheels are in ``folder``."""
    good = make_wheel(folder, {"pkg/__init__.py": b""}, tag="py3-none-any")
    text = folder / "text-1.0-py3-none-any.whl"
    text.write_text("this is no archive\n")
    elf = make_wheel(folder, {"pkg/_m.so": b"\x7fELF\x02\x01\x01"}, name="broken")
    other = make_wheel(folder, {"prov/lib/libx.so": b""}, name="other", tag="py3-none-win_amd64")
    linux = make_wheel(folder, {"pkg/data": b""}, name="linux")
    windows = make_wheel(folder, {"pkg/x.py": b""}, name="w", tag="cp311-cp311-win_amd64")
    policy = folder / "policy.toml"
    policy.write_text('schema = 1\nproject = "x"\nlibrary = []\n')
    bare = folder / "bare-1.0-py3-none-any.whl"
    files = {m: d for m, d in read_wheel(good).items() if ".dist-info" not in m}
    import zipfile

    with zipfile.ZipFile(bare, "w") as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    (folder / "folder-1.0-py3-none-any.whl").mkdir()
    empty = folder / "empty-python"
    empty.write_text("#!/bin/sh\nexit 3\n")
    empty.chmod(0o755)
    return {
        "no wheel": [],
        "not a verb": ["shwo"],
        "a stray word": [str(good), "stray"],
        "missing file": ["missing-1.0-py3-none-any.whl"],
        "missing value": [str(good), "--provided-by"],
        "not a wheel name": ["foo.whl"],
        "a folder": [str(folder / "folder-1.0-py3-none-any.whl")],
        "not a zip": [str(text)],
        "no dist-info": [str(bare)],
        "truncated ELF": [str(elf)],
        "Windows": [str(windows)],
        "bad specifier": [str(good), "--provided-by", "scipy-openblas64=>1"],
        "extras": [str(good), "--provided-by", "scipy-openblas64[x]"],
        "named twice": [str(linux), "--provided-by", "a", "--provided-by", "A>1"],
        "unknown provider": [
            *(str(linux), "--provided-by", "no-such-provider-at-all"),
            *("--provider-python", sys.executable),
        ],
        "provider not installed": [
            *(str(linux), "--provided-by", "scipy-openblas32", "--provider-python", str(empty)),
        ],
        "no such python": [
            *(str(linux), "--provided-by", "scipy-openblas64", "--provider-python", "/nowhere/py"),
        ],
        "provider for another platform": [
            *(str(linux), "--provided-by", "other", "--provider-wheel", str(other)),
        ],
        "provider wheel nobody names": [str(linux), "--provider-wheel", str(other)],
        "unknown policy key": [
            *(str(linux), "--provided-by", "x", "--policy", str(policy)),
            *("--provider-wheel", str(make_wheel(folder, {}, name="x", tag="py3-none-any"))),
        ],
        "missing policy": [
            *(str(linux), "--provided-by", "x", "--policy", "none.toml"),
            *("--provider-wheel", str(folder / "x-1.0-py3-none-any.whl")),
        ],
        "bad built-against": [str(good), "--provided-by", "x", "--built-against", "new"],
        "ambiguous built-against": [str(good), "--built-against", "1.0"],
        "bad expansion": [str(good), "--most-expansion", "many"],
        "bad engine option": [str(linux), "-z", "much"],
    }


def test_bad_input_gets_one_line_a_hint_and_its_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    golden: Callable[[str, str], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUDITWHEEL_PLAT", raising=False)
    shown = []
    for name, arguments in bad_inputs(tmp_path / "in").items():
        code = cli.main(arguments)
        said = capsys.readouterr()
        text = said.err.replace(f"{tmp_path}/in/", "").replace(sys.executable, "PYTHON")
        shown.append(f"# {name}: exit {code}\n{text}")

        assert code in {2, 3, 4}
        assert said.out == ""
        assert "Traceback" not in said.err
        assert not Path("wheelhouse").exists()

    golden("errors/command-line.txt", "\n".join(shown))


def test_a_defect_of_ours_is_said_to_be_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by design of this test")

    monkeypatch.setattr(pipeline, "repair", broken)
    wheel = str(make_wheel(tmp_path, {}, tag="py3-none-any"))

    assert cli.main([wheel]) == 70
    assert capsys.readouterr().err == (
        "error: internal: ZeroDivisionError: by design of this test\n"
        "hint: this is a defect of extlib-repair: please report it, with --debug\n"
    )
    with pytest.raises(ZeroDivisionError):
        cli.main([wheel, "--debug"])


def test_an_interrupt_ends_with_its_own_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "repair", interrupted)

    assert cli.main([str(make_wheel(tmp_path, {}, tag="py3-none-any"))]) == 130
    assert capsys.readouterr().err == "interrupted\n"
