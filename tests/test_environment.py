"""What is read of an interpreter's environment, or of a folder."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest
from environments import consumer
from facts import OPENBLAS64
from wheels import make_wheel

from extlib_repair import cli, environment, examined
from extlib_repair.errors import UsageError
from extlib_repair.loader.text import END, START
from extlib_repair.model import InstalledFile, Kind

FIXTURES = Path(__file__).parent / "fixtures" / "elf"
LIBRARY = (FIXTURES / "libprov.so").read_bytes()
LOADER = f"""{START}
def _extlib_repair_load():
    sought = [
        ('prov.dll', 'prov', 'prov'),
    ]
{END}
"""


def installed(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """Unpack a wheel, as installers do."""
    with zipfile.ZipFile(make_wheel(folder.parent, files, name=name)) as archive:
        for member in archive.namelist():
            target = folder / member
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))
    return folder


def script(path: Path, line: str) -> str:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


def test_libraries_are_those_that_record_lists_and_that_are_some(tmp_path: Path) -> None:
    files = {
        "demo/__init__.py": b"",
        "demo/libprov.so": LIBRARY,
        "demo/_e.cpython-311-x86_64-linux-gnu.so": LIBRARY,
        "demo/libscript.so": b"INPUT(libprov.so)",
        "demo/notes.dll": b"MZ" + bytes(62),
    }
    site = installed(tmp_path / "site", "demo", files)
    (site / "demo" / "libstray.so").write_bytes(LIBRARY)

    there = environment.of_folder(site)

    (one,) = there.libraries
    assert (one.path, one.project, one.version) == (f"{site}/demo/libprov.so", "demo", "1.0")
    assert (one.size, len(one.sha256), one.damage) == (len(LIBRARY), 64, "")
    assert [i.kind for i in one.images] == [Kind.SHARED_LIBRARY]
    assert (there.is_folder, there.installer) == (True, "python -m pip install")
    (distribution,) = there.distributions
    assert (distribution.project, distribution.examined, distribution.images) == ("demo", "", {})


def test_a_file_of_another_size_or_of_no_sense_is_damaged(tmp_path: Path) -> None:
    files = {"demo/liba.so": LIBRARY, "demo/libb.so": LIBRARY[:100], "demo/libc.so": LIBRARY}
    site = installed(tmp_path / "site", "demo", files)
    (site / "demo" / "liba.so").write_bytes(LIBRARY[:100])
    (site / "demo" / "libc.so").write_bytes(b"")

    found = {Path(f.path).name: f.damage for f in environment.of_folder(site).libraries}

    assert found["liba.so"] == f"it has 100 bytes, and RECORD says {len(LIBRARY)}"
    assert found["libb.so"].startswith("the ELF file ends")
    assert found["libc.so"] == f"it has 0 bytes, and RECORD says {len(LIBRARY)}"


def test_of_a_repaired_consumer_binaries_and_loaders_are_read(tmp_path: Path) -> None:
    files = {
        "demo/__init__.py": LOADER.encode(),
        "demo/_e.so": LIBRARY,
        f"demo-1.0.dist-info/{examined.FILE}": consumer().distribution.examined.encode(),
    }
    site = installed(tmp_path / "site", "demo", files)

    (one,) = environment.of_folder(site).distributions

    assert [c.provider.project for c in examined.parse(one.examined)] == [OPENBLAS64.project]
    assert list(one.images) == ["demo/_e.so"]
    assert one.loads == {"prov.dll"}


def test_a_giant_is_known_by_its_name_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = installed(tmp_path / "site", "demo", {"demo/libprov.so": LIBRARY})
    monkeypatch.setattr(environment, "_LARGEST", 100)

    (one,) = environment.of_folder(site).libraries

    assert (one.size, one.images, one.sha256, one.damage) == (len(LIBRARY), (), "", "")


def test_without_a_record_or_a_name_little_is_known(tmp_path: Path) -> None:
    site = installed(tmp_path / "site", "demo", {"demo/libprov.so": LIBRARY})
    (site / "demo-1.0.dist-info" / "RECORD").write_bytes(b"one,two\n")
    (site / "empty-1.dist-info").mkdir()

    there = environment.of_folder(site)

    assert [d.label for d in there.distributions] == ["demo 1.0"]
    assert there.libraries == ()


def test_data_files_lie_above_the_folder(tmp_path: Path) -> None:
    site = installed(tmp_path / "lib" / "site", "demo", {"demo/x.py": b""})
    (tmp_path / "lib" / "libtbb.so.12").write_bytes(LIBRARY)
    (site / "demo-1.0.dist-info" / "RECORD").write_text("../libtbb.so.12,,\n..\\gone.so,,\n")

    assert [f.path for f in environment.of_folder(site).libraries] == [
        f"{tmp_path}/lib/libtbb.so.12"
    ]


def test_what_was_asked_for_is_looked_at_whoever_lists_it(tmp_path: Path) -> None:
    site = installed(tmp_path / "site", "demo", {"demo/libprov.so": LIBRARY, "demo/x.so": b"text"})
    (site / "libstray.so").write_bytes(LIBRARY)
    (site / "libfolder.so").mkdir()
    there = environment.of_folder(site)
    names = ["demo/libprov.so", "demo/x.so", "libstray.so", "libfolder.so", "gone.so", "demo"]

    found = environment.look(there, [f"{site}/{name}" for name in names])

    assert {Path(p).name: (f.project, f.damage) for p, f in found.items()} == {
        "libprov.so": ("demo", ""),
        "x.so": ("demo", "it is no binary"),
        "libstray.so": ("", ""),
    }


def test_our_own_interpreter_can_be_asked() -> None:
    there = environment.of_python(sys.executable)

    assert "extlib-repair-none" not in there.name
    assert any(d.project == "packaging" for d in there.distributions)
    assert there.installer == f"{sys.executable} -m pip install"
    assert "" in there.homes.values()
    assert there.cores >= 1


def test_where_a_process_is_not_bound_to_cores_all_of_them_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = installed(tmp_path / "site", "demo", {})
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 5)

    assert environment.of_folder(site).cores == 5


def test_the_first_python_on_path_is_asked_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = ["/my python", [str(tmp_path), "/gone"], [str(tmp_path), str(tmp_path)], "", False]
    script(tmp_path / "python", f"echo chatter; echo '{json.dumps(answer)}'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    there = environment.of_python(None)

    assert (there.name, there.folders) == ("/my python", (str(tmp_path),))
    assert there.installer == 'uv pip install --python "/my python"'


def test_without_a_python_on_path_it_is_the_one_that_runs_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert environment.of_python(None).name == sys.executable


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    silent = script(tmp_path / "silent", "echo no; echo broken >&2; exit 1")

    with pytest.raises(UsageError, match="cannot be run"):
        environment.of_python(str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="does not say where it looks for modules: broken"):
        environment.of_python(silent)
    with pytest.raises(UsageError, match=r"holds no \.dist-info folder"):
        environment.of_folder(tmp_path)
    with pytest.raises(UsageError, match="is no folder"):
        environment.of_folder(tmp_path / "gone")


def test_the_command_line_says_all_is_well_or_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = consumer().distribution.examined.encode()
    good = installed(tmp_path / "good", "demo", {"demo/libprov.so": LIBRARY})
    bad = installed(tmp_path / "bad", "demo", {f"demo-1.0.dist-info/{examined.FILE}": text})

    assert cli.main(["doctor", str(good)]) == 0
    assert capsys.readouterr().out.endswith("all is well\n")
    assert cli.main(["doctor", str(bad), "--json"]) == 1
    captured = capsys.readouterr()
    assert [f["code"] for f in json.loads(captured.out)["findings"]] == ["provider-missing"]
    assert captured.err == f"error: not every consumer in {bad} has its provider\n"
    assert cli.main(["doctor", str(tmp_path)]) == 2


def test_a_file_without_a_distribution_has_no_label() -> None:
    assert not InstalledFile(path="/x", size=0, node=(0, 0)).label
