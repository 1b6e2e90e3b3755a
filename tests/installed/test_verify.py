"""``verify``, for real: wheels are installed in fresh environments, imported, and judged."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from macho_files import FILES
from pythons import pythons
from wheels import make_wheel, read_wheel
from workbench import PLATFORM, TAG, Workshop, repair

from extlib_repair import cli, installing, interpreters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mingw import WindowsWorkshop
    from wine import WindowsPython

EXTENSION = f"{TAG}-{TAG}-{PLATFORM}"
SONAME = "libscipy_openblas64_.so"
PLACE = f"scipy_openblas64/lib/{SONAME}"
LOAD_FIRST = b"""
import ctypes, os
ctypes.CDLL(os.path.join(os.path.dirname(__file__), "first", "libscipy_openblas64_.so"))
"""


@dataclasses.dataclass(frozen=True)
class Said:
    """What a command line said."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads("[" + self.out.replace("}\n{", "},{") + "]")
        return rows

    @property
    def codes(self) -> list[str]:
        return [finding["code"] for row in self.data for finding in row["findings"]]


@pytest.fixture
def verify(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    openblas64: Path,
) -> Callable[..., Said]:
    """Run the verb with nothing but the provider's folder to install from."""
    for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(tmp_path / "uv"),  # what others have left there is an index, too
    }.items():
        monkeypatch.setenv(name, value)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, links: bool = True) -> Said:
        more = ("--find-links", openblas64.parent) if links else ()
        code = cli.main(["verify", "--json", *map(str, (*arguments, *more))])
        assert not list(scratch.iterdir())
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture(params=["uv", "pip"])
def installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "pip":
        monkeypatch.setattr(installing, "uv_command", tuple)
    return name


@pytest.fixture
def repaired(tmp_path: Path, workshop: Workshop, openblas64: Path) -> Callable[..., Path]:
    def make(files: Mapping[str, bytes], name: str = "demo") -> Path:
        wheel = make_wheel(tmp_path / "in", files, name=name, tag=EXTENSION)
        done = repair(
            *(wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", openblas64),
            *("-w", tmp_path / "out"),
            env=workshop.env,
        )
        assert done.code == 0, done.err
        (output,) = (tmp_path / "out").glob(f"{name}-*.whl")
        return output

    return make


def package(workshop: Workshop, init: bytes = b"", name: str = "pkg") -> dict[str, bytes]:
    return {f"{name}/__init__.py": init, f"{name}/deep/_mod.so": workshop.module("_mod")}


def test_a_good_wheel_maps_the_providers_library_once(
    installer: str,
    verify: Callable[..., Said],
    repaired: Callable[..., Path],
    workshop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(workshop.openblas))

    done = verify(repaired(package(workshop)))

    assert done.code == 0, done.err
    (row,) = done.data
    assert row["ok"]
    assert row["installed"]
    assert f"installed by {installer} for CPython 3." in row["how"]
    assert row["imported"] == ["pkg.deep._mod"]
    assert [path for path in row["libraries"] if "openblas" in path] == [PLACE]
    assert any(path.startswith("/") and "libc.so" in path for path in row["libraries"])
    assert not any("_mod" in path for path in row["libraries"])


def test_several_consumers_share_one_library(
    verify: Callable[..., Said], repaired: Callable[..., Path], workshop: Workshop
) -> None:
    one = repaired(package(workshop, name="one"), name="one")
    two = repaired(package(workshop, name="two"), name="two")

    done = verify(one, two)

    assert done.code == 0, done.err
    assert [row["imported"] for row in done.data] == [["one.deep._mod"], ["two.deep._mod"]]
    for row in done.data:
        assert [path for path in row["libraries"] if "openblas" in path] == [PLACE]


def test_a_copy_that_is_loaded_first_is_told(
    verify: Callable[..., Said], repaired: Callable[..., Path], workshop: Workshop
) -> None:
    copy = (workshop.openblas / SONAME).read_bytes()
    files = {**package(workshop), "other/first/" + SONAME: copy, "other/__init__.py": LOAD_FIRST}
    files["pkg/__init__.py"] = b"import other\n"

    done = verify(repaired(files))

    assert done.code == 1
    assert done.codes == ["mapped-from-elsewhere"]
    assert f"is mapped from other/first/{SONAME}" in done.out
    assert "does not do what it promises" in done.err


@pytest.mark.usefixtures("installer")
def test_a_provider_that_cannot_be_installed_is_a_finding(
    verify: Callable[..., Said],
    repaired: Callable[..., Path],
    workshop: Workshop,
) -> None:
    done = verify(repaired(package(workshop)), links=False)

    assert done.code == 1
    assert done.codes == ["install-failed"]
    assert "scipy-openblas64" in done.data[0]["findings"][0]["message"]


def test_a_providers_wheel_can_be_given(
    verify: Callable[..., Said], repaired: Callable[..., Path], workshop: Workshop, openblas64: Path
) -> None:
    wheel = repaired(package(workshop))

    done = verify(wheel, "--provider-wheel", openblas64, links=False)

    assert done.code == 0, done.err


def test_a_wheel_that_was_not_repaired_is_refused(
    verify: Callable[..., Said], workshop: Workshop, tmp_path: Path
) -> None:
    done = verify(make_wheel(tmp_path, package(workshop), tag=EXTENSION))

    assert (done.code, done.out) == (2, "")
    assert "was never repaired with a provider" in done.err
    assert "hint: repair it first" in done.err


def test_a_wheel_for_another_python_is_refused_and_the_next_one_is_verified(
    verify: Callable[..., Said], repaired: Callable[..., Path], workshop: Workshop, tmp_path: Path
) -> None:
    good = repaired(package(workshop))
    info = "other-1.0.dist-info/extlib-repair.json"
    files = {info: read_wheel(good)[info.replace("other", "demo")], **package(workshop)}
    other = make_wheel(tmp_path, files, name="other", tag=f"cp399-cp399-{PLATFORM}")

    stops = verify(other, good)
    done = verify(other, good, "--keep-going")

    assert (stops.code, stops.out) == (2, "")
    assert done.code == 2
    assert [row["ok"] for row in done.data] == [True]
    assert f"error: {other.name} cannot be installed by CPython 3." in done.err
    assert "hint: it is for cp399-cp399: name such an interpreter" in done.err


def test_a_module_that_needs_an_absent_package_is_listed(
    verify: Callable[..., Said], repaired: Callable[..., Path], workshop: Workshop
) -> None:
    files = {**package(workshop), "plugin/__init__.py": b"import no_such_package.x\n"}
    files["plugin/_other.so"] = workshop.module("_other")

    done = verify(wheel := repaired(files))
    named = verify(wheel, "--import", "plugin._other")

    assert done.code == 0, done.err
    reasons = {"plugin._other": "needs the Python package no_such_package"}
    assert done.data[0]["not-importable-alone"] == reasons
    assert named.code == 1
    assert named.codes == ["import-failed", "not-mapped"]


def test_one_that_dies_does_not_hide_the_others(
    verify: Callable[..., Said], repaired: Callable[..., Path], workshop: Workshop
) -> None:
    files = {
        **package(workshop),
        "crash/__init__.py": b"import os\nos.abort()\n",
        "crash/_other.so": workshop.module("_other"),
        "fail/__init__.py": b"raise OSError('libother.so: no such file')\n",
        "fail/_third.so": workshop.module("_third"),
    }

    done = verify(repaired(files))

    assert done.code == 1
    assert done.data[0]["imported"] == ["pkg.deep._mod"]
    messages = [finding["message"] for finding in done.data[0]["findings"]]
    assert messages == [
        "crash._other cannot be imported: the process dies: SIGABRT",
        "fail._third cannot be imported: OSError: libother.so: no such file",
        "the process that imports all modules one after the other dies in crash._other: SIGABRT",
    ]


def test_what_fails_before_the_repair_too_is_listed(
    verify: Callable[..., Said], repaired: Callable[..., Path], workshop: Workshop, tmp_path: Path
) -> None:
    odd = {"odd/__init__.py": b"raise OSError(f'odd {__file__}')\n"}
    odd["odd/_other.so"] = workshop.module("_other")
    before = make_wheel(tmp_path / "before", odd, tag=EXTENSION)
    files = {**package(workshop), **odd}
    wheel = repaired(files)

    assert verify(wheel).codes == ["import-failed"]
    done = verify(wheel, "--compare", before)
    assert done.code == 0, done.err
    assert "before the repair too" in done.data[0]["not-importable-alone"]["odd._other"]


@pytest.mark.usefixtures("installer")
def test_a_command_runs_in_the_environment_and_decides(
    verify: Callable[..., Said],
    repaired: Callable[..., Path],
    workshop: Workshop,
) -> None:
    wheel = repaired(package(workshop))
    use = (
        "from pkg.deep._mod import product; print(product(1, [6], [7]), __import__('os').listdir())"
    )

    good = verify(wheel, "--run", f'python -c "{use}"')
    bad = verify(wheel, "--run", "python -c \"print('out'); raise SystemExit('no good')\"")
    absent = verify(wheel, "--run", "no-such-program at all")

    assert good.code == 0, good.err
    assert "[42.0] []\n" in good.err
    assert (bad.code, bad.codes) == (1, ["run-failed"])
    assert "exit code 1: no good" in bad.out
    assert (absent.code, absent.codes) == (1, ["run-failed"])
    assert "cannot be started: No such file" in absent.out


@pytest.mark.usefixtures("installer")
def test_more_can_be_installed_for_the_command(
    verify: Callable[..., Said], repaired: Callable[..., Path], workshop: Workshop, tmp_path: Path
) -> None:
    code = b"import pkg.deep._mod\ndef main():\n    print('tested', pkg.deep._mod.answer())\n"
    entry = b"[console_scripts]\ntester = tester:main\n"
    files = {"tester.py": code, "tester-1.0.dist-info/entry_points.txt": entry}
    make_wheel(tmp_path / "more", files, name="tester", tag="py3-none-any")
    wheel = repaired(package(workshop))

    done = verify(
        *(wheel, "--find-links", tmp_path / "more"),
        *("--install", "tester>=1", "--run", "tester"),
    )
    other = verify(wheel, "--run", "sh -c true")

    assert done.code == 0, done.err
    assert "tested 41\n" in done.err
    assert "note: sh is not in the environment: /" in other.err


@pytest.mark.parametrize("command", [" ", "python 'x"])
def test_a_command_that_is_none_is_refused(
    command: str, verify: Callable[..., Said], repaired: Callable[..., Path], workshop: Workshop
) -> None:
    done = verify(repaired(package(workshop)), "--run", command)

    assert (done.code, done.out) == (2, "")
    assert "--run" in done.err


def test_a_wheel_of_another_platform_is_checked_by_model(
    verify: Callable[..., Said], tmp_path: Path
) -> None:
    names = ("libprov.dylib", "libpriv.dylib", "libreexporting.dylib")
    held = {f"prov/lib/{name}": FILES[name] for name in names}
    provider = make_wheel(tmp_path, held, name="prov", tag="py3-none-macosx_11_0_universal2")
    files = {"demo/__init__.py": b"", "demo/_core.so": FILES["opcodes_arm64.so"]}
    wheel = make_wheel(tmp_path, files, tag="cp311-cp311-macosx_11_0_arm64")
    done = repair(wheel, "--provided-by", "prov", "--provider-wheel", provider, "-w", "out")
    assert done.code == 0, done.err
    (output,) = tmp_path.glob("out/*.whl")

    good = verify(output, "--run", "python -c pass")

    assert good.code == 0, good.err
    assert "by model, nothing was installed" in good.data[0]["how"]
    assert not good.data[0]["installed"]


def test_the_probe_runs_in_old_pythons() -> None:
    answers = [interpreters._asked((str(python),)) for python in pythons()]
    found = [one for one in answers if isinstance(one, interpreters.Interpreter)]
    assert found

    for one in found:
        with installing.environment(one) as environment:
            seen = environment.observe(("json.decoder", "no_such_module"))

        assert [module.kind for module in seen.modules] == ["", "ModuleNotFoundError"]
        assert seen.modules[1].absent == "no_such_module"
        assert any("libc.so" in path for path in seen.processes[0])


def test_a_wheel_for_windows_is_installed_for_a_python_under_wine(
    verify: Callable[..., Said],
    windows: WindowsPython,
    windows_workshop: WindowsWorkshop,
    windows_openblas: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {"pkg/__init__.py": b"", "pkg/_mod.pyd": windows_workshop.module("_mod", "DOT")}
    wheel = make_wheel(tmp_path, files, tag="cp312-cp312-win_amd64")
    provider = ("--provided-by", "scipy-openblas64", "--provider-wheel", windows_openblas)
    assert repair(wheel, *provider, "-w", tmp_path / "out").code == 0
    (output,) = tmp_path.glob("out/*.whl")
    for name, value in windows.environment.items():
        monkeypatch.setenv(name, value)
    python = ("--python", windows.home / "python.exe", "--find-links", windows_openblas.parent)
    use = 'python -c "import pkg._mod as m; print(m.ddot())"'

    done = verify(output, *python, "--run", use, links=False)
    model = verify(output, links=False)

    assert done.code == 0, done.err
    assert done.data[0]["imported"] == ["pkg._mod"]
    found = [path for path in done.data[0]["libraries"] if "openblas" in path]
    assert found == ["scipy_openblas64/lib/libscipy_openblas64_.dll"]
    assert "14.0\n" in done.err
    assert model.code == 0
    assert "by model" in model.data[0]["how"]
