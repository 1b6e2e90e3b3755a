"""The lines that are put into consumers whose run path leads to the provider: Linux and macOS.

Here they run with a ``ctypes`` that only notes what is asked of it; tests/installed runs them for
real.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import sys
import sysconfig
import zipfile
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from elf_files import FILES

from extlib_repair.binary.elf_file import ElfFile
from extlib_repair.loader import Sought, Way, block
from extlib_repair.model import SitePath

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIBRARY = "libscipy_openblas64_.so"
FOLDER = "scipy_openblas64/lib"
SOUGHT = Sought(library=LIBRARY, directory=SitePath(FOLDER), requirement="scipy-openblas64>=0.3.30")
AT = SitePath("numpy/_distributor_init.py")
TEXT = {way: block(AT, "numpy 2.3.0", [SOUGHT], way) for way in Way}
ARCHES = ["i686", "armv7l", "ppc64", "s390x", "aarch64"]
ELSEWHERE = [Way.GLIBC, Way.MACOS, Way.MUSL]


@dataclasses.dataclass
class Host:
    """What the lines see of a system: files, loaded libraries; and what they do."""

    root: Path
    loaded: set[str] = dataclasses.field(default_factory=set)
    by_name: set[str] = dataclasses.field(default_factory=set)
    broken: dict[str, str] = dataclasses.field(default_factory=dict)
    does: list[str] = dataclasses.field(default_factory=list)

    def CDLL(self, name: str, mode: int = ctypes.DEFAULT_MODE) -> object:  # noqa: N802
        if mode & os.RTLD_NOLOAD:
            assert not mode & os.RTLD_GLOBAL
            self.does.append(f"is {name} loaded?")
            if name not in self.loaded:
                raise OSError("not loaded")
            return object()
        assert mode == ctypes.RTLD_LOCAL
        self.does.append(f"load {self.short(name)}")
        if name in self.broken:
            raise OSError(self.broken[name])
        if "/" not in name and name not in self.by_name:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        return object()

    def short(self, text: str) -> str:
        return text.replace(str(self.root), "ROOT")

    def put(self, path: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        return file

    def run(self, way: Way = Way.GLIBC, file: str = f"site/{AT}") -> dict[str, Any]:
        names = {"__name__": "consumer", "__file__": str(self.root / file)}
        exec(compile(TEXT[way], file, "exec"), names)  # noqa: S102
        return {n: v for n, v in names.items() if n not in {"__name__", "__file__", "__builtins__"}}

    def error(self, way: Way = Way.GLIBC) -> str:
        with pytest.raises(ImportError) as caught:
            self.run(way)
        assert caught.value.__suppress_context__
        return self.short(str(caught.value))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(root=tmp_path)
    fake = ModuleType("ctypes")
    vars(fake).update(CDLL=made.CDLL)
    monkeypatch.setitem(sys.modules, "ctypes", fake)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "executable", "/env/bin/python")
    monkeypatch.setattr(sysconfig, "get_platform", lambda: "linux-x86_64")
    return made


@pytest.mark.parametrize("way", ELSEWHERE)
def test_where_the_run_path_leads_to_the_file_nothing_is_done(
    way: Way, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.put(f"site/{FOLDER}/{LIBRARY}")
    (host.root / "site/numpy").mkdir()
    monkeypatch.setitem(sys.modules, "ctypes", None)  # to import it would be an error
    asked: list[str] = []
    exists = os.path.exists

    def noted(path: str) -> bool:
        asked.append(path)
        return exists(path)

    monkeypatch.setattr(os.path, "exists", noted)

    assert host.run(way) == {}
    assert [host.short(path) for path in asked] == [f"ROOT/site/numpy/../{FOLDER}/{LIBRARY}"]


@pytest.mark.parametrize("way", [Way.GLIBC, Way.MACOS])
def test_elsewhere_the_provider_is_loaded_by_its_full_path(way: Way, host: Host) -> None:
    host.put(f"other/{FOLDER}/{LIBRARY}")
    sys.path[:] = [str(host.root / "other")]

    assert host.run(way) == {}
    name = f"@rpath/{LIBRARY}" if way is Way.MACOS else LIBRARY
    assert host.does == [f"is {name} loaded?", f"load ROOT/other/{FOLDER}/{LIBRARY}"]


def test_a_library_that_is_loaded_already_is_not_loaded_again(host: Host) -> None:
    host.put(f"other/{FOLDER}/{LIBRARY}")
    sys.path[:] = [str(host.root / "other")]
    host.loaded.add(LIBRARY)

    assert host.run() == {}
    assert host.does == [f"is {LIBRARY} loaded?"]


def test_links_are_followed_as_the_system_follows_them(host: Host) -> None:
    """``abspath`` would see a provider beside the link, where no run path leads."""
    (host.root / "store/numpy").mkdir(parents=True)
    (host.root / "site").mkdir()
    (host.root / "site/numpy").symlink_to(host.root / "store/numpy")
    host.put(f"site/{FOLDER}/{LIBRARY}")

    assert host.run() == {}
    assert host.does[-1] == f"load ROOT/site/{FOLDER}/{LIBRARY}"


def test_a_library_that_the_system_has_is_taken_by_its_name(host: Host) -> None:
    host.by_name.add(LIBRARY)

    for way in ELSEWHERE:
        assert host.run(way) == {}
    assert host.does[-1] == f"load {LIBRARY}"


def test_a_file_without_a_place_still_finds_the_provider(host: Host) -> None:
    host.put(f"other/{FOLDER}/{LIBRARY}")
    sys.path[:] = [str(host.root / "other")]
    names: dict[str, Any] = {"__name__": "consumer"}

    exec(compile(TEXT[Way.GLIBC], "frozen", "exec"), names)  # noqa: S102

    assert host.does[-1] == f"load ROOT/other/{FOLDER}/{LIBRARY}"


def test_musl_only_explains(host: Host) -> None:
    host.put(f"other/{FOLDER}/{LIBRARY}")
    sys.path[:] = [str(host.root / "other")]

    said = host.error(Way.MUSL)

    assert host.does == [f"load {LIBRARY}"]
    assert "musl looks nowhere else" in said


def test_every_text_of_a_failure(host: Host, golden: Callable[[str, str], None]) -> None:
    said = ["== not found", host.error()]
    with zipfile.ZipFile(host.root / "all.zip", "w") as archive:
        archive.writestr(f"{FOLDER}/{LIBRARY}", b"")
    sys.path[:] = [str(host.root / "all.zip")]
    said += ["== in an archive", host.error()]
    said += ["== musl, not found", host.error(Way.MUSL)]
    path = str(host.put(f"other/{FOLDER}/{LIBRARY}"))
    sys.path[:] = [str(host.root / "other")]
    said += ["== musl, elsewhere", host.error(Way.MUSL)]
    for text in (
        f"{path}: file too short",
        f"{path}: invalid ELF header",
        f"{path}: wrong ELF class: ELFCLASS32",
        f"{path}: cannot open shared object file: No such file or directory",
        "libgfortran.so.5: cannot open shared object file: No such file or directory",
        f"dlopen({path}): (mach-o file, but is an incompatible architecture (have 'arm64'))",
        f"dlopen({path}): (slice is not valid mach-o file)",
    ):
        host.broken[path] = text
        said += ["== not loadable", host.error()]

    golden("loader/failures-with-run-path.txt", "".join(f"{line}\n" for line in said))


@pytest.mark.parametrize("name", ["libprov.so", "gold.so", *(f"versions.{a}.so" for a in ARCHES)])
def test_a_file_that_is_cut_is_never_opened(name: str, host: Host) -> None:
    """glibc would map it and end the process with SIGBUS."""
    path = host.put(f"other/{FOLDER}/{LIBRARY}")
    sys.path[:] = [str(host.root / "other")]
    path.write_bytes(FILES[name])
    host.run()
    assert host.does[-1] == f"load ROOT/other/{FOLDER}/{LIBRARY}"

    end = max(s.offset + s.filesz for s in ElfFile(FILES[name]).segments)
    for length in (end - 1, end // 2, 70, 40):
        host.does.clear()
        path.write_bytes(FILES[name][:length])
        said = host.error()
        assert "file too short\nThe file is damaged." in said
        assert host.does == [f"is {LIBRARY} loaded?", f"load {LIBRARY}"]


def test_a_frozen_application_is_told_to_collect_the_library(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)

    assert host.error().splitlines()[-2:] == [
        "Collect it when the application is made. PyInstaller:",
        "  --collect-binaries scipy_openblas64",
    ]


def test_a_package_without_the_library_is_installed_anew(host: Host) -> None:
    (host.root / "other/scipy_openblas64").mkdir(parents=True)
    sys.path[:] = [str(host.root / "other")]

    said = host.error()

    assert ", which its installed package lacks. Looked in:" in said
    assert "-m pip install --force-reinstall --no-deps " in said
