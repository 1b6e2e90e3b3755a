"""Environments: what is read of what was said inside, and what runs inside."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from extlib_repair import installing, probe, process
from extlib_repair.errors import UsageError
from extlib_repair.interpreters import Interpreter
from extlib_repair.model import Imported

if TYPE_CHECKING:
    from collections.abc import Sequence

PROBE = Path(probe.__file__)
HERE = Interpreter(
    command=(sys.executable,), name="CPython", version=sys.version_info[:3], tags=frozenset()
)


@pytest.fixture
def environment(tmp_path: Path) -> installing.Environment:
    """Our own Python, as if it were an environment."""
    return installing.Environment(
        interpreter=HERE, folder=tmp_path / "environment", python=(sys.executable,)
    )


def lines(*rows: object) -> list[str]:
    return [json.dumps(row) for row in rows]


WHOLE = (
    {"begins": "a"},
    {"module": "a"},
    {"begins": "b"},
    {"module": "b", "error": "no\n  such", "kind": "ImportError", "absent": "c"},
    {"mapped": ["x.so"]},
)
FAILED = Imported(module="b", error="no such", kind="ImportError", absent="c")


def test_what_a_process_wrote_is_read() -> None:
    found = installing._read(lines(*WHOLE), "")

    assert found.results == {"a": Imported(module="a"), "b": FAILED}
    assert (found.mapped, found.is_whole, found.end) == (("x.so",), True, "")


@pytest.mark.parametrize("cut", ["", '{"module": "b", "er'])
def test_a_process_that_died_in_a_module_is_read(cut: str) -> None:
    found = installing._read([*lines(*WHOLE[:3]), *([cut] if cut else [])], "SIGSEGV")

    assert found.results["b"] == Imported(module="b", error="the process dies: SIGSEGV")
    assert (found.mapped, found.is_whole, found.end) == ((), False, "dies in b: SIGSEGV")


def test_a_process_that_died_at_its_end_is_read() -> None:
    several = installing._read(lines(*WHOLE), "exit code 3")
    one = installing._read(lines(*WHOLE[:2], *WHOLE[4:]), "exit code 3")

    assert several.end == "dies at its end: exit code 3"
    assert several.results["a"].error == ""
    assert one.results["a"].error == "the process dies at its end: exit code 3"


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        (
            "WARNING: old\nERROR: Could not find x (from versions: none)\nERROR: No match for x\n",
            "Could not find x (from versions: none) No match for x",
        ),
        (
            "  \N{MULTIPLICATION SIGN} No solution found:\n  ╰─▶ Because x is not there\n  no.\n\n",
            "No solution found: Because x is not there no.",
        ),
        ("", ""),
        ("x " * 400, "x " * 250 + " ..."),
    ],
)
def test_an_installers_words_are_one_line(stderr: str, words: str) -> None:
    assert installing._words(stderr) == words


@pytest.mark.parametrize(("code", "said"), [(-6, "SIGABRT"), (3, "exit code 3"), (-99, "code -99")])
def test_an_end_is_named(code: int, said: str) -> None:
    assert installing._end(code).endswith(said)


def test_uv_is_a_program_or_a_module_or_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find", lambda name: f"/bin/{name}")
    assert installing.uv_command() == ("/bin/uv",)
    monkeypatch.setattr(process, "find", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    assert installing.uv_command() == (process.python(), "-m", "uv")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert installing.uv_command() == ()


def test_modules_are_imported_and_failures_tried_again(
    environment: installing.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    original = installing.Environment._probe

    def counted(self: installing.Environment, modules: Sequence[str]) -> Any:
        asked.append(list(modules))
        return original(self, modules)

    monkeypatch.setattr(installing.Environment, "_probe", counted)

    seen = environment.observe(("json", "no_such_module", "csv"))

    assert [one.module for one in seen.modules] == ["json", "no_such_module", "csv"]
    assert [one.absent for one in seen.modules] == ["", "no_such_module", ""]
    assert asked == [["json", "no_such_module", "csv"], ["no_such_module"]]
    assert len(seen.processes) == 2
    assert seen.died == ""
    assert environment.observe(()).processes == ()


def test_a_python_that_does_not_work_is_refused(tmp_path: Path) -> None:
    broken = installing.Environment(
        interpreter=HERE, folder=tmp_path / "environment", python=("/bin/false",)
    )

    with pytest.raises(UsageError, match=r"CPython .* does not work: exit code 1"):
        broken.observe(("json",))


def test_an_environment_that_cannot_be_made_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "uv_command", lambda: ("/bin/false",))

    with (
        pytest.raises(UsageError, match="no environment can be made for CPython"),
        installing.environment(HERE),
    ):
        pass


def test_a_command_runs_away_from_the_callers_variables(
    environment: installing.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    program = "import os; print(os.listdir(), '/nowhere' in os.environ.values())"

    assert environment.run(f'python -c "{program}"') == ("", "[] False\n")
    why, said = environment.run("sh -c 'exit 4'")
    assert why == "exit code 4"
    assert said.startswith("note: sh is not in the environment: /")


def test_the_probe_is_for_old_pythons() -> None:
    ast.parse(PROBE.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_the_probe_lets_modules_do_what_they_like(tmp_path: Path) -> None:
    """They print, exit, and leave odd things in ``sys.modules``."""
    (tmp_path / "odd.py").write_text(
        "import sys\nprint('noise')\nsys.modules['x'] = 3\nraise SystemExit('bye')\n"
    )
    request = {"modules": ["odd"], "sites": [str(tmp_path)], "result": str(tmp_path / "result")}
    (tmp_path / "request").write_text(json.dumps(request))

    subprocess.run([sys.executable, "-I", PROBE, tmp_path / "request"], check=True)

    begins, odd, mapped = map(json.loads, (tmp_path / "result").read_text().splitlines())
    assert begins == {"begins": "odd"}
    assert odd == {"module": "odd", "error": "bye", "kind": "SystemExit", "absent": ""}
    assert not [path for path in mapped["mapped"] if path.endswith(".py")]


def test_paths_below_site_packages_are_relative() -> None:
    assert probe._below("/v/lib/a/b.so", ["/v/lib64", "/v/lib"]) == "a/b.so"
    assert probe._below("/v/library/b.so", ["/v/lib"]) == "/v/library/b.so"
