"""delocate-wheel's options as they are, and what its last words become."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from extlib_repair import process
from extlib_repair.engines import Arguments, apple_tools, delocate, delocate_driver, engine_for
from extlib_repair.errors import EngineError, UnsupportedError, UsageError
from extlib_repair.model import System

UNPACKED = f"{Path(tempfile.gettempdir()).resolve()}/xy12/wheel"


def test_macos_wheels_are_for_delocate_with_and_without_binaries() -> None:
    for has_binaries in (True, False):
        assert engine_for(System.MACOS, has_binaries=has_binaries).NAME == "delocate"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--require-archs arm64",
        "--require-archs=x86_64,arm64 -w dest -v",
        "-k -d -L .libs --ignore-missing-dependencies",
        "-kdvv",
        "-Llibs -wdest",
        "--executable-path /opt/bin --no-sanitize-rpaths --sanitize-rpaths",
        "--require-target-macos-version 11.0",
        "--require-a universal2 --lib .libs --dyl --no-san --ign --check",
        "--some-newer-option value --another=value",
    ],
)
def test_options_go_to_delocate_as_they_stand(line: str) -> None:
    assert delocate.parse(line.split()) == Arguments(tokens=tuple(line.split()))


@pytest.mark.parametrize(
    "line", ["-e libx.dylib -e y", "--exclude=libx.dylib -ey", "--exc libx.dylib --exclude y"]
)
def test_what_the_user_excludes_is_known_to_us(line: str) -> None:
    assert delocate.parse(line.split()).excluded == ("libx.dylib", "y")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--ex x", "ambiguous option: --ex could match --exclude, --executable-path"),
        ("--require x", "ambiguous option: --require could match --require-archs, --require-t"),
        ("-e", "argument -e/--exclude: expected one argument"),
        ("stray", "'stray' is neither a wheel"),
    ],
)
def test_options_that_delocate_would_refuse_are_refused_at_once(line: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        delocate.parse(line.split())


def answer(
    monkeypatch: pytest.MonkeyPatch, *, code: int = 0, err: str = "", out: str = ""
) -> list[list[str]]:
    """Let every process give this answer; return the commands."""
    commands: list[list[str]] = []

    def run(command: list[str], *, env: dict[str, str]) -> process.Completed:
        assert env == {"PYTHONHASHSEED": "0"}
        commands.append(command)
        return process.Completed(returncode=code, stdout=out, stderr=err)

    monkeypatch.setattr(process, "run", run)
    return commands


def test_the_child_gets_exact_names_and_our_folder_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands = answer(monkeypatch)
    (tmp_path / "x.whl").touch()
    arguments = Arguments(tokens=("-w", "theirs", "-v"), leave_out=("libx.dylib",))

    result = delocate.run(Path("/in/x.whl"), arguments, tmp_path)

    driver = ["-P", "-m", "extlib_repair.engines.delocate_driver", "libx.dylib", "--"]
    options = ["-w", "theirs", "-v", "-v", "-w", str(tmp_path), "/in/x.whl"]
    assert commands == [[process.python(), *driver, *options]]
    assert result.wheel == tmp_path / "x.whl"


def test_a_host_with_other_separators_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands = answer(monkeypatch)
    monkeypatch.setattr(os, "sep", "\\")

    with pytest.raises(UnsupportedError, match="path separators"):
        delocate.run(Path("x.whl"), Arguments(), tmp_path)

    assert not commands


@pytest.mark.parametrize("names", [[], ["a.whl", "b.whl"]])
def test_one_wheel_must_come_out(
    names: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(monkeypatch)
    for name in names:
        (tmp_path / name).touch()

    with pytest.raises(EngineError, match=f"wrote {len(names)} wheels"):
        delocate.run(Path("x.whl"), Arguments(), tmp_path)


DELOCATION = "delocate.libsana.DelocationError:"
TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in main\n    go()\n'
NOT_FOUND = (
    f"ERROR:delocate.libsana:\n@rpath/libb.dylib not found:\n  Needed by: {UNPACKED}/p/_x.so\n"
    "  Search path:\n    arm64\n"
)
OTHER_NOT_FOUND = NOT_FOUND.replace("libb", "liba")


@pytest.mark.parametrize(
    ("err", "message"),
    [
        ("", "exit code 1, without a word"),
        ("one\ndelocate-wheel: error: no\n", "delocate-wheel: error: no"),
        (f"{TRACEBACK}FileNotFoundError: x.whl\n", "x.whl"),
        (f"{TRACEBACK}\n", TRACEBACK.splitlines()[-1].strip()),
        (f"{TRACEBACK}KeyError: 'Tag'\n\nDuring:\n\n{TRACEBACK}a.b.OddError: why\n", "why"),
        (
            f"{TRACEBACK}{DELOCATION} Some missing\nRequired arch missing from p/_x.so\n",
            "Some missing Required arch missing from p/_x.so",
        ),
        (
            f"{TRACEBACK}{DELOCATION} too new:\n{UNPACKED}/p/_x.so has 14.0\n",
            "too new: p/_x.so has 14.0",
        ),
        (
            f"{NOT_FOUND}{TRACEBACK}{DELOCATION} Could not find all dependencies.\n",
            "@rpath/libb.dylib, which p/_x.so needs, could not be found",
        ),
        (
            f"{NOT_FOUND}{OTHER_NOT_FOUND}{TRACEBACK}{DELOCATION} Could not find all dependencies.",
            "@rpath/liba.dylib, which p/_x.so needs, could not be found (and 1 more)",
        ),
    ],
)
def test_a_traceback_becomes_one_line_that_names_the_wheels_own_files(
    err: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(monkeypatch, code=1, err=err)

    with pytest.raises(EngineError) as caught:
        delocate.run(Path("x.whl"), Arguments(), tmp_path)

    assert str(caught.value) == f"delocate: {message}"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("if another" if "libb" in err else "run with -v")
    assert caught.value.log == err


def test_the_drivers_words_are_a_warning_and_the_hint_of_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "x.whl").touch()
    notice = "delocate 9.9 runs as it is"
    answer(monkeypatch, err=f"{delocate.NOTICE}{notice}\n")
    warned = delocate.run(Path("x.whl"), Arguments(), tmp_path).findings
    answer(monkeypatch, code=1, err=f"{delocate.NOTICE}{notice}\n{TRACEBACK}OSError: otool\n")
    with pytest.raises(EngineError) as caught:
        delocate.run(Path("x.whl"), Arguments(), tmp_path)

    assert [(f.code, f.message) for f in warned] == [("engine-not-tested", notice)]
    assert caught.value.hint == notice


def excluded(path: str, rule: str) -> str:
    return f"INFO:delocate.cmd.common:{path} excluded because of exclude {rule!r} rule.\n"


def test_rules_of_the_user_that_hit_are_told_from_those_that_hit_the_wheel_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "x.whl").touch()
    err = excluded("/opt/lib/libfoo[1].dylib", "foo[1]") + "INFO:delocate:other\n"
    err += "".join(
        2 * excluded(f"{UNPACKED}/own/{name}", "own") for name in ("_m.so", "a.py", "_b.so")
    )
    err += excluded(f"{UNPACKED}/own/none.so", "none")
    answer(monkeypatch, err=err)
    arguments = delocate.parse(["-e", "foo[1]", "-e", "own", "-e", "prov", "-e", "none"])
    arguments = dataclasses.replace(arguments, leave_out=("libprov.dylib",))

    result = delocate.run(Path("x.whl"), arguments, tmp_path)

    assert result.matched == {"foo[1]", "prov"}
    assert {f.code for f in result.findings} == {"engine-skipped-members"}
    assert [
        f.message.partition("--exclude ")[2].partition(" made")[0] for f in result.findings
    ] == [
        "none",
        "own",
    ]
    assert [f.message.rpartition(": ")[2] for f in result.findings] == [
        "own/none.so",
        "own/_b.so and 1 more",
    ]


def test_outside_of_the_tested_versions_the_names_become_ends_of_paths() -> None:
    assert delocate_driver.plain(["libx.dylib"]) == ["-e", "/libx.dylib"]


def test_provided_libraries_are_hidden_from_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    from delocate import libsana

    found = {"x86_64": ["@rpath/libp.dylib", "/a/libq.dylib", "libp.dylib"], "arm64": ["@rpath/x"]}
    monkeypatch.setattr(libsana, "_get_install_names", lambda _: found)

    delocate_driver.leave_out(frozenset({"libp.dylib", "@rpath/x", "q.dylib", ""}))

    assert vars(libsana)["_get_install_names"]("any") == {"x86_64": ["/a/libq.dylib"], "arm64": []}


@pytest.mark.parametrize("missing", [*apple_tools.NAMES, "none"])
@pytest.mark.parametrize("version", ["0.13.0", "0.99"])
def test_the_driver_adjusts_delocate_and_calls_it(
    version: str, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import delocate as theirs
    from delocate import libsana, tools
    from delocate.cmd import delocate_wheel

    called: list[list[str]] = []
    run, walk = vars(tools)["_run"], vars(libsana)["_get_install_names"]
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(theirs, "__version__", version)
    monkeypatch.setattr(tools, "_run", run)
    monkeypatch.setattr(libsana, "_get_install_names", walk)
    monkeypatch.setattr(delocate_wheel, "main", lambda: called.append(sys.argv))
    monkeypatch.setattr(shutil, "which", lambda name: None if name == missing else f"/bin/{name}")

    delocate_driver.main(["libp.dylib", "--", "-v", "--", "x.whl"])

    adjusted = version == "0.13.0"
    plainly = [] if adjusted else ["-e", "/libp.dylib"]
    assert called == [["delocate-wheel", *plainly, "-v", "--", "x.whl"]]
    stands_in = adjusted and missing != "none"
    assert vars(tools)["_run"] is (apple_tools.run if stands_in else run)
    assert (vars(libsana)["_get_install_names"] is not walk) is adjusted
    assert ("delocate 0.99 runs as it is" in capsys.readouterr().err) is not adjusted


def test_the_installed_delocate_is_the_expected_one() -> None:
    assert not delocate_driver.unexpected()


def test_another_version_or_another_function_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import delocate as theirs
    from delocate import tools

    with monkeypatch.context() as patch:
        patch.setattr(theirs, "__version__", "0.99")
        assert "delocate 0.99 runs as it is" in delocate_driver.unexpected()
    with monkeypatch.context() as patch:
        patch.setattr(tools, "_run", lambda command: command)
        assert "delocate.tools._run is not the expected one" in delocate_driver.unexpected()
    monkeypatch.delattr(tools, "_run")
    assert "delocate.tools._run is not the expected one" in delocate_driver.unexpected()
