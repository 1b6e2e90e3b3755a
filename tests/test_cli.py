"""The command line as a whole: results, and what bad input gets."""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from wheels import make_wheel, read_wheel

from extlib_repair import cli, pipeline
from extlib_repair.errors import UsageError
from extlib_repair.model import Finding, Severity, Verified

FIXTURES = Path(__file__).parent / "fixtures" / "elf"
SMALL = (FIXTURES / "libprov.so").read_bytes()
UNCONFIGURED = "no configuration: there is no pyproject.toml here\n"

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def test_help_and_version_are_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: extlib-repair")
    assert cli.main(["-V"]) == 0
    assert capsys.readouterr().out == "extlib-repair 0.1.0\n"


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
    macho = lzma.decompress((FIXTURES.parent / "macho" / "chained_arm64.so.xz").read_bytes())
    mac = make_wheel(folder, {"pkg/_m.so": macho}, name="mac", tag="cp311-cp311-macosx_11_0_arm64")
    android = make_wheel(folder, {"pkg/x.py": b""}, name="a", tag="cp311-cp311-android_24_x86_64")
    windows = make_wheel(folder, {"pkg/x.py": b""}, name="w", tag="cp311-cp311-win_amd64")
    two = make_wheel(folder, {"pkg/x.py": b""}, name="two", tag="py3-none-win32.win_amd64")
    policy = folder / "policy.toml"
    policy.write_text('schema = 1\nproject = "x"\nlibrary = []\n')
    bare = folder / "bare-1.0-py3-none-any.whl"
    files = {m: d for m, d in read_wheel(good).items() if ".dist-info" not in m}
    import zipfile

    with zipfile.ZipFile(bare, "w") as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    (folder / "folder-1.0-py3-none-any.whl").mkdir()
    (folder / "dist").mkdir()
    known = make_wheel(folder, {"lib.so": SMALL}, name="scipy_openblas64")
    own = {"mylib-1.0.dist-info/extlib-repair.toml": b"", "lib.so": SMALL}
    declared = make_wheel(folder, own, name="mylib")
    elf_wheel = make_wheel(folder, {"pkg/_m.so": SMALL}, name="plain")
    damaged = {"damaged-1.0.dist-info/extlib-repair.json": b"[]", "lib.so": SMALL}
    examined = make_wheel(folder, damaged, name="damaged")
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
        "Android": [str(android)],
        "two platforms of Windows": [str(two)],
        "a folder that delvewheel would delete": [str(windows), "--extract-dir", "build"],
        "a name that delvewheel would refuse": [str(windows), "--exclude", "lib/x.dll"],
        "left out and copied in": [str(windows), "--include=x.dll", "--exclude=y.dll;X*"],
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
        "show without a wheel": ["show"],
        "show a directory": ["show", str(folder / "dist")],
        "check a folder that is called like a wheel": [
            *("check", str(folder / "folder-1.0-py3-none-any.whl"))
        ],
        "show what is missing": ["show", "missing-1.0-py3-none-any.whl"],
        "check what is no wheel": ["check", str(text)],
        "show a pure wheel": ["show", str(good)],
        "check a pure wheel": ["check", str(good)],
        "verify a pure wheel": ["verify", str(good)],
        "verify what was never repaired": ["verify", str(elf_wheel)],
        "verify a known provider": ["verify", str(known)],
        "verify with a stray word": ["verify", str(known), "stray"],
        "repair with what verify understands": [str(good), "--run", "pytest"],
        "show a wheel without a binary": ["show", str(linux)],
        "check a wheel for Android": ["check", str(android)],
        "check a wheel for Windows without a binary": ["check", str(windows)],
        "a provider for macOS that is not there": [
            *(str(mac), "--provided-by", "scipy-openblas64", "--provider-python", str(empty)),
        ],
        "show a damaged binary": ["show", str(elf)],
        "show a known provider": ["show", str(known)],
        "check a known provider": ["check", str(known)],
        "check a provider that says so itself": ["check", str(declared)],
        "check where what was examined is damaged": ["check", str(examined)],
        "show with the engine's options": ["show", str(known), "--plat", "x"],
        "check with a stray word": ["check", str(known), "stray"],
        "providers alone": ["providers"],
        "learn nothing": ["providers", "learn"],
        "learn what is no range": ["providers", "learn", "foo", "--versions", "latest"],
        "learn from no folder": ["providers", "learn", "foo", "--wheels", str(folder / "none")],
        "learn into what is no history": ["providers", "learn", "foo", "-o", str(text)],
        "configuration that is missing": [str(good), "--config", str(folder / "none.toml")],
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

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "repair", broken)
    wheel = str(make_wheel(tmp_path, {}, tag="py3-none-any"))

    assert cli.main([wheel]) == 70
    assert capsys.readouterr().err == (
        f"{UNCONFIGURED}error: internal: ZeroDivisionError: by design of this test\n"
        "hint: this is a defect of extlib-repair: please report it, with --debug\n"
    )
    with pytest.raises(ZeroDivisionError):
        cli.main([wheel, "--debug"])


def test_an_interrupt_ends_with_its_own_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "repair", interrupted)

    assert cli.main([str(make_wheel(tmp_path, {}, tag="py3-none-any"))]) == 130
    assert capsys.readouterr().err == f"{UNCONFIGURED}interrupted\n"


CONSUMER = (FIXTURES / "crowded.so").read_bytes()


def test_show_tells_as_text_and_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    wheel = make_wheel(tmp_path, {"demo/_e.so": CONSUMER})

    assert cli.main(["show", str(wheel)]) == 0
    text = capsys.readouterr()
    assert cli.main(["show", "--json", str(wheel)]) == 0
    data = json.loads(capsys.readouterr().out)

    assert text.err == UNCONFIGURED
    assert text.out.splitlines()[0] == data["wheel"] == wheel.name
    assert [binary["member"] for binary in data["binaries"]] == ["demo/_e.so"]


def test_check_says_with_its_exit_code_whether_promises_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    good = make_wheel(tmp_path, {"demo/_e.so": SMALL}, name="good")
    bad = make_wheel(tmp_path, {"demo/_e.so": CONSUMER}, name="bad")
    wheels = [str(good), str(bad)]

    assert cli.main(["check", *wheels]) == 1
    text = capsys.readouterr()
    assert cli.main(["check", "--json", "--keep-going", *reversed(wheels)]) == 1
    data = capsys.readouterr().out.replace("}\n{", "}\n---\n{").split("\n---\n")

    assert text.out == f"{good.name}: good, needs no provider\n"
    assert text.err.splitlines()[-1] == f"error: {bad.name} does not keep its promises"
    assert "[not-found]" in text.err
    assert [json.loads(one)["ok"] for one in data] == [False, True]


def verified(wheel: str, *findings: Finding) -> Verified:
    return Verified(wheel=wheel, how="by model", installed=False, findings=findings)


@pytest.mark.parametrize("keep_going", [False, True])
def test_verify_says_with_its_exit_code_whether_wheels_do_what_they_promise(
    keep_going: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    bad = Finding(code="run-failed", severity=Severity.ERROR, message="no good")
    asked: list[Any] = []

    def verify(wheels: Any, _: object, wishes: Any, log: Any, refuse: Any) -> Iterator[Verified]:
        asked.extend([wheels, wishes])
        log("said\n")
        log("")
        yield verified("a.whl", bad)
        refuse(UsageError("refused"))
        yield verified("b.whl")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "verify", verify)
    options = ["--python", "py", "--import", "a", "--import", "b", "--run", "c d", "--compare", "x"]
    options += ["--find-links", "dir", "--find-links", "file:///y", "--install", "pytest"]

    code = cli.main(["verify", "a.whl", *options, *(["--keep-going"] if keep_going else [])])

    said = capsys.readouterr()
    assert code == 1
    assert said.out.startswith("a.whl: NOT good")
    assert ("b.whl: good" in said.out) == keep_going
    assert ("error: refused\n" in said.err) == keep_going
    assert "said\nerror: no good [run-failed]\n" in said.err
    assert asked == [
        (Path("a.whl"),),
        pipeline.Wishes(
            python="py",
            find_links=(str(tmp_path / "dir"), "file:///y"),
            requirements=("pytest",),
            modules=("a", "b"),
            command="c d",
            compare=(Path("x"),),
        ),
    ]


def test_a_reader_that_has_seen_enough_is_no_defect(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, {"pkg/_m.so": FIXTURES.joinpath("plain.so").read_bytes()})
    command = f"{sys.executable} -m extlib_repair show {wheel}"

    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} --json | true"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode in {0, 141}
    assert "internal" not in done.stderr
    assert "Broken" not in done.stderr


def test_a_pattern_stands_for_the_wheels_that_it_matches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As ``delvewheel repair dist\\*.whl`` does where the shell does not."""
    for name in ("b", "a"):
        make_wheel(tmp_path / "in", {f"{name}/__init__.py": b""}, name=name, tag="py3-none-any")
    literal = make_wheel(tmp_path / "x*", {"c/__init__.py": b""}, name="c", tag="py3-none-any")

    assert cli.main([str(tmp_path / "i*" / "*.whl"), str(literal), "-w", str(tmp_path / "o")]) == 0
    assert [Path(line).name[0] for line in capsys.readouterr().out.splitlines()] == ["a", "b", "c"]
    monkeypatch.chdir(tmp_path)
    assert cli.main(["in/b*.whl", "-w", "o"]) == 0
    assert cli.main(["none*.whl"]) == 2
    assert "no wheel matches none*.whl" in capsys.readouterr().err
