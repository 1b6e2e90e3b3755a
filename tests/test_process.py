"""Processes: which programs are found, and what is said of those that end."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from extlib_repair import process

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_every_python_on_the_path_is_found_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner of tools puts its own environment in front of the one that builds."""
    pythons = []
    for name in ("tool", "empty", "target"):
        folder = tmp_path / name
        folder.mkdir()
        if name != "empty":
            (folder / "python").symlink_to(sys.executable)
            pythons.append(str(folder / "python"))
    path = os.pathsep.join(str(tmp_path / n) for n in ("tool", "empty", "target", "gone"))
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}")

    assert list(process.pythons_on_path()) == pythons


def test_the_last_words_are_the_last_line_that_is_not_empty() -> None:
    code = "import sys; sys.stderr.write('first\\nlast words\\n\\n'); sys.exit(3)"

    done = process.run([sys.executable, "-c", code])

    assert (done.returncode, done.last_words) == (3, "last words")


def test_a_process_without_a_word_is_described_by_its_exit_code() -> None:
    done = process.run([sys.executable, "-c", "raise SystemExit(4)"])

    assert done.last_words == "exit code 4, without a word"


def test_a_process_gets_no_standard_input_and_more_environment() -> None:
    code = "import os, sys; print(repr(sys.stdin.read()), os.environ['EXTRA'])"

    assert process.run([sys.executable, "-c", code], env={"EXTRA": "x"}).stdout == "'' x\n"


def test_a_variable_can_be_taken_out_and_a_folder_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXTRA", "x")
    code = "import os; print(os.environ.get('EXTRA'), os.getcwd())"

    done = process.run([sys.executable, "-c", code], env={"EXTRA": None}, cwd=tmp_path)

    assert done.stdout == f"None {tmp_path.resolve()}\n"
