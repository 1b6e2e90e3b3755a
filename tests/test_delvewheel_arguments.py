"""delvewheel-repair's options as they are, and what its last words become."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from facts import elf, wheel

from extlib_repair import cli, commandline, pipeline, process
from extlib_repair.engines import Arguments, Result, delvewheel, engine_for
from extlib_repair.errors import EngineError, UnsupportedError, UsageError
from extlib_repair.model import System

WHEEL = "demo-1.0-cp312-cp312-win_amd64.whl"
posix = pytest.mark.skipif(os.pathsep != ":", reason="this host separates paths as Windows does")


def test_windows_wheels_are_for_delvewheel_with_and_without_binaries() -> None:
    for has_binaries in (True, False):
        assert engine_for(System.WINDOWS, has_binaries=has_binaries).NAME == "delvewheel"


@pytest.mark.parametrize("system", [s for s in System if s is not System.WINDOWS])
def test_no_other_wheel_is_given_to_delvewheel(system: System) -> None:
    try:
        name = engine_for(system, has_binaries=True).NAME
    except UnsupportedError:
        name = "none"

    assert name != "delvewheel"


LINES = [
    "",
    "--add-path vendor/bin;deps --add-path=more",
    "--include a.dll;b.dll --add-dll c.dll",
    "--no-mangle a*.dll --no-mangle=b.dll;c.dll --no-mangle-all",
    "--ignore-existing --with-mangle",
    "--ignore-in-wheel --with-m",
    "--analyze-existing --analyze-existing-exes -vv",
    "-w dest -v --wheel-d dest",
    "--strip --no-diagnostic -L .libs",
    "-L.dlls --lib-sdir=.libs --lib .dlls",
    "--namespace-pkg a;b.c",
    "--custom-patch --include-symbols --include-imports --test no_compress",
    "--some-newer-option value --another=value",
]


@pytest.mark.parametrize("line", LINES)
def test_options_are_kept_as_they_stand(line: str) -> None:
    assert delvewheel.parse(line.split()) == Arguments(tokens=tuple(line.split()), any_case=True)


@pytest.mark.parametrize(
    "line",
    [
        "--exclude A*.dll;b[1].dll --no-dll c.dll",
        "--exc A*.dll --no-dll=b[1].dll --exclude=c.dll",
        pytest.param("--exclude A*.dll:b[1].dll --no-dl c.dll", marks=posix),
    ],
)
def test_what_the_user_excludes_is_known_to_us(line: str) -> None:
    assert delvewheel.parse(line.split()).excluded == ("A*.dll", "b[[]1].dll", "c.dll")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--ex x", "ambiguous option: --ex could match --exclude, --extract-dir"),
        ("--no-m x", "ambiguous option: --no-m could match --no-mangle, --no-mangle-all"),
        ("--exclude", "argument --exclude/--no-dll: expected one argument"),
        ("--exclude a/b.dll", "'a/b.dll' is no name of a DLL"),
        ("--exclude a?.dll", r"'a\?.dll' is no name of a DLL"),
        ("--no-mangle a.dll;b|c.dll", r"'b\|c.dll' is no name of a DLL"),
        ("--include a*.dll", r"'a\*.dll' must be names, without wildcards"),
        ("--custom-patch --namespace-pkg x", "not allowed with argument --custom-patch"),
        ("--no-mangle-all --with-mangle", "not allowed with argument --no-mangle-all"),
        ("--with-mangle", "--with-mangle requires --ignore-existing"),
        ("--include a.dll --exclude b.dll;A.DLL", "--include a.dll asks for a copy of what --excl"),
        ("--include Libfoo.dll --exclude libF*", "--include Libfoo.dll asks for a copy of what"),
        ("--extract-dir build/x", "--extract-dir build/x: delvewheel deletes that folder"),
        ("stray", "'stray' is neither a wheel"),
    ],
)
def test_options_that_delvewheel_would_refuse_are_refused_at_once(line: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        delvewheel.parse(line.split())


def test_brackets_are_letters_and_no_pattern() -> None:
    parsed = delvewheel.parse(["--include", "libx.dll", "--exclude", "lib[xyz].dll"])

    assert parsed.excluded == ("lib[[]xyz].dll",)


@posix
@pytest.mark.parametrize("paths", [r"C:\vcpkg\bin", r"C:\vcpkg\bin;deps", "deps;a:b"])
def test_a_folder_that_this_host_cannot_be_told_is_refused(paths: str) -> None:
    """A drive letter's colon is no separator; but delvewheel would take it for one."""
    with pytest.raises(UsageError, match="cannot be searched on this host, where ':' separates"):
        delvewheel.parse(["--add-path", paths])


@pytest.mark.parametrize("excluded", [("LibX*",), ("libx.DLL",), ("libx.dl",)])
def test_patterns_that_hit_in_another_case_hit(excluded: tuple[str, ...]) -> None:
    result = Result(wheel=Path(WHEEL), log="", matched=frozenset({"libx.dll"}))
    facts = wheel({"pkg/_x.pyd": elf("KERNEL32.dll")})

    found = pipeline._unmatched(facts, result, Arguments(excluded=excluded, any_case=True))
    exactly = pipeline._unmatched(facts, result, Arguments(excluded=excluded))

    assert len(found) == (excluded == ("libx.dl",))
    assert len(exactly) == 1


def answer(
    monkeypatch: pytest.MonkeyPatch, *, code: int = 0, err: str = "", out: str = ""
) -> list[list[str]]:
    """Let every process give this answer; return the commands."""
    commands: list[list[str]] = []

    def run(command: list[str], *, env: dict[str, str]) -> process.Completed:
        assert env == {"PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8"}
        commands.append(command)
        return process.Completed(returncode=code, stdout=out, stderr=err)

    monkeypatch.setattr(process, "run", run)
    return commands


def told(monkeypatch: pytest.MonkeyPatch, folder: Path, line: str, *leave_out: str) -> list[str]:
    """Return the options that delvewheel gets, without those that it always gets."""
    commands = answer(monkeypatch)
    (folder / WHEEL).touch()
    arguments = dataclasses.replace(delvewheel.parse(line.split()), leave_out=leave_out)
    wheel = Path("/in") / WHEEL

    result = delvewheel.run(wheel, arguments, folder)

    ((*begin, module, verb), options) = commands[0][:5], commands[0][5:]
    assert (begin, module, verb) == ([process.python(), "-P", "-m"], "delvewheel", "repair")
    assert options[-4:] == ["--no-diagnostic", "-w", str(folder), str(wheel.absolute())]
    assert result.wheel == folder / WHEEL
    return options[:-4]


@posix
@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("", ""),
        ("--add-path a/b;c --add-path=d:e", "--add-path=a/b:c:d:e"),
        ("--add-dll a.dll;b.dll --add-d c.dll", "--include=a.dll:b.dll:c.dll"),
        ("--exclude a*.dll;b.dll --no-dll c:d", "--exclude=a*.dll:b.dll:c:d"),
        ("--exclude ;", ""),
        ("--no-mangle=a.dll;b.dll", "--no-mangle=a.dll:b.dll"),
        ("--namespace-pkg a;b.c", "--namespace-pkg=a:b.c"),
        ("-L .dlls --strip", "--lib-sdir=.dlls --strip"),
        ("--ignore-in --with-m", "--ignore-existing --with-mangle"),
        ("--analyze-existing-e --no-diag", "--analyze-existing-exes --no-diagnostic"),
        ("--test no_compress --custom", "--test=no_compress --custom-patch"),
        ("-w theirs --wheel-d theirs", ""),
    ],
)
def test_lists_are_written_for_this_host(
    line: str, options: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert told(monkeypatch, tmp_path, line) == [*options.split(), "-v"]


def test_on_windows_the_separator_is_the_semicolon_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "pathsep", ";")

    options = told(monkeypatch, tmp_path, r"--add-path C:\a;D:\b --add-path E:c --exclude a;b")

    assert options == [r"--add-path=C:\a;D:\b;E:c", "--exclude=a;b", "-v"]
    with pytest.raises(UsageError, match="'a:b' is no name of a DLL"):
        delvewheel.parse(["--exclude", "a:b"])


def test_options_that_only_newer_versions_know_pass_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = told(monkeypatch, tmp_path, "--newer a;b --strip --other=c", "libx.dll")

    assert options == ["--strip", "-v", "--newer", "a;b", "--other=c", "--exclude=libx.dll"]


@pytest.mark.parametrize(("line", "given"), [("", 1), ("-v", 1), ("-vv", 2), ("-vvv -v", 2)])
def test_it_says_what_it_does_and_never_complains_of_verbosity(
    line: str, given: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert told(monkeypatch, tmp_path, line) == ["-v"] * given


def test_the_child_gets_the_exact_names_of_what_is_provided(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = told(monkeypatch, tmp_path, "--exclude b*.dll", "libX.dll", "y.dll")

    assert options == ["--exclude=b*.dll", "-v", "--exclude=libX.dll", "--exclude=y.dll"]


def test_a_copy_of_what_is_provided_cannot_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"--include LIBX.dll asks for a copy of what a provider"):
        told(monkeypatch, tmp_path, "--include LIBX.dll", "libx.dll")


def test_an_asterisk_in_the_path_of_a_wheel_is_no_pattern(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands = answer(monkeypatch)
    (tmp_path / WHEEL).touch()

    for folder in ("/a*b[1]", "/ab[1]"):
        delvewheel.run(Path(folder) / WHEEL, Arguments(tokens=()), tmp_path)

    expected = ["/a[*]b[[]1]", "/ab[1]"]
    assert [command[-1] for command in commands] == [
        str((Path(folder) / WHEEL).absolute()) for folder in expected
    ]


@pytest.mark.parametrize("platforms", ["win32.win_amd64", "win_amd64.win_amd64"])
def test_a_wheel_for_several_platforms_is_refused_before_delvewheel_runs(
    platforms: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands = answer(monkeypatch)

    with pytest.raises(UnsupportedError, match="delvewheel repairs wheels for one") as caught:
        delvewheel.run(Path(f"demo-1.0-py3-none-{platforms}.whl"), Arguments(), tmp_path)

    assert not commands
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("win_amd64")


@pytest.mark.parametrize("said", ["delvewheel 1.13.2 has", "Delvewheel (unknown version) has"])
def test_a_wheel_that_delvewheel_has_repaired_is_passed_on_as_it_is(
    said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(monkeypatch, out=f"repairing x\n{said} already repaired this wheel.\n")
    wheel = tmp_path / WHEEL
    wheel.write_bytes(b"as it is")
    (tmp_path / "out").mkdir()

    result = delvewheel.run(wheel, Arguments(), tmp_path / "out")

    assert result.wheel == tmp_path / "out" / WHEEL
    assert result.wheel.read_bytes() == b"as it is"
    assert "already repaired" in result.log
    assert not result.findings


@pytest.mark.parametrize("names", [[], ["a.whl", "b.whl"]])
def test_one_wheel_must_come_out(
    names: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(monkeypatch, out="said something else\n")
    for name in names:
        (tmp_path / name).touch()

    with pytest.raises(EngineError, match=f"wrote {len(names)} wheels"):
        delvewheel.run(Path(WHEEL), Arguments(), tmp_path)


LEFT_OUT = """\
External dependencies to copy into the wheel are
{'liba.dll'}
External dependencies not to copy into the wheel are
{   'kernel32.dll',
    'it\\'s.dll',
    'a name with so many letters that it is broken where there are '
    'spaces.dll'}
copying DLLs into demo.libs
copying {'x'}
"""


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("no external dependencies are needed\n", set()),
        (LEFT_OUT.replace("{   'kernel32", "set()\ncopying {   'kernel32"), set()),
        (
            LEFT_OUT,
            {
                "kernel32.dll",
                "it's.dll",
                "a name with so many letters that it is broken where there are spaces.dll",
            },
        ),
    ],
)
def test_what_is_not_copied_in_is_heard(
    said: str, names: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(monkeypatch, out=said)
    (tmp_path / WHEEL).touch()

    assert delvewheel.run(Path(WHEEL), Arguments(), tmp_path).matched == names


def test_warnings_of_delvewheel_are_warnings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    warning = "/lib/x.py:12: UserWarning: pkg does not contain __init__.py.\n  warnings.warn(\n"
    answer(monkeypatch, err=warning * 2)
    (tmp_path / WHEEL).touch()

    findings = delvewheel.run(Path(WHEEL), Arguments(), tmp_path).findings

    assert [(f.code, f.severity.value, f.message) for f in findings] == [
        ("engine-warned", "warning", "delvewheel: pkg does not contain __init__.py.")
    ]


TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in main\n    go()\n'
ANALYZING = "finding DLL dependencies\nanalyzing package-level extension module pkg/_x.pyd\n"
OVERLAY = """\
RuntimeError: Unable to rename the dependencies of my-
lib.dll because this DLL does not contain enough
internal padding to fit the new dependency names, and it contains an overlay.
Commonly, the overlay consists of symbols.
- Use the --strip flag.
"""
CANNOT_RENAME = (
    "Unable to rename the dependencies of my-lib.dll because this DLL does not contain enough "
    "internal padding to fit the new dependency names, and it contains an overlay"
)


@pytest.mark.parametrize(
    ("out", "err", "message", "hint"),
    [
        ("", "", "exit code 1, without a word", "run with -v to see"),
        (
            "",
            "usage: x\n__main__.py repair: error: argument -L/--lib-sdir: Invalid directory\n",
            "argument -L/--lib-sdir: Invalid directory",
            "run with -v to see",
        ),
        ("", f"{TRACEBACK}KeyError: 'x.dll'\n", "KeyError: 'x.dll'", "run with -v to see"),
        (
            ANALYZING,
            f"{TRACEBACK}FileNotFoundError: Unable to find library: libfoo.dll\n",
            "libfoo.dll could not be found: pkg/_x.pyd, or a DLL that it needs, asks for it",
            "if another wheel supplies it, name that with --provided-by; else name its folder",
        ),
        (
            "",
            f"{TRACEBACK}FileNotFoundError: Unable to find library: libfoo.dll\n",
            "libfoo.dll could not be found",
            "if another wheel supplies it",
        ),
        (
            ANALYZING,
            f"{TRACEBACK}FileNotFoundError: libbar.dll not found\n",
            "libbar.dll not found",
            "name the folder that holds it with --add-path",
        ),
        (
            ANALYZING,
            f"{TRACEBACK}RuntimeError: pkg/_y.pyd has a CPU architecture that is not compatible",
            "pkg/_y.pyd has a CPU architecture that is not compatible",
            "a wheel holds binaries of the one machine",
        ),
        (
            "analyzing top-level extension module a\\_x.pyd\n",
            f"{TRACEBACK}pefile.PEFormatError: 'DOS Header magic not found.'\n",
            "a/_x.pyd: 'DOS Header magic not found.'",
            "run with -v to see",
        ),
        (
            f"{ANALYZING}patching pkg/__init__.py\n",
            f'{TRACEBACK}  File "<unknown>", line 1\n    def\n    ^\nSyntaxError: invalid syntax',
            "pkg/__init__.py: invalid syntax",
            "run with -v to see",
        ),
        (
            f"{ANALYZING}mangling DLL names\n",
            TRACEBACK + OVERLAY,
            CANNOT_RENAME,
            "--strip removes what GNU strip can remove of it; --no-mangle NAME leaves",
        ),
        (
            "mangling DLL names\n",
            TRACEBACK + OVERLAY + "The GNU strip utility was run automatically.\n",
            CANNOT_RENAME,
            "--no-mangle NAME leaves",
        ),
        (
            "mangling DLL names\n",
            f"{TRACEBACK}RuntimeError: '# delvewheel: patch' comment not found\n",
            "'# delvewheel: patch' comment not found",
            "with --custom-patch a Python file must have the line",
        ),
    ],
)
def test_a_traceback_becomes_one_line_that_names_the_wheels_own_files(
    out: str, err: str, message: str, hint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(monkeypatch, code=1, out=out, err=err)

    with pytest.raises(EngineError) as caught:
        delvewheel.run(Path(WHEEL), Arguments(), tmp_path)

    assert str(caught.value) == f"delvewheel: {message}"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(hint)
    assert caught.value.log == out + err


def test_the_default_line_of_cibuildwheel_can_be_replaced() -> None:
    """``delvewheel repair -w {dest_dir} {wheel}``, of cibuildwheel 4 (pypa/cibuildwheel#2831)."""
    options = ["-w", "dest", f"built/{WHEEL}"]

    line = commandline.sort(["repair", *options, "--provided-by", "scipy-openblas64"])

    request = cli._request(line)
    assert line.verb == "repair"
    assert line.wheels == [Path("built", WHEEL)]
    assert request.wheel_dir == Path("dest")
    assert [provider.project for provider in request.providers] == ["scipy-openblas64"]
    assert delvewheel.parse(request.engine_options) == Arguments(tokens=(), any_case=True)


def test_a_line_of_delvewheel_with_options_can_be_replaced() -> None:
    line = commandline.sort(
        ["repair", "-v", "--add-path", "deps;more", "--no-mangle-all", "-w", "d", WHEEL, "-vv"]
    )

    assert line.flags == {"--verbose"}
    assert delvewheel.parse(line.engine).tokens == (
        *("--add-path", "deps;more", "--no-mangle-all", "-vv"),
    )
